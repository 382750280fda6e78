//! Who looked? The dashboard writes down its readers: here is what they did, and who may come.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::filter::Period;
use crate::audit::read::{self, AccessRow, Cursor};
use crate::policy::{Viewer, ViewerScope};
use crate::types::{CallId, Timestamp, shown};

use super::Access;
use super::BASE;
use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filters::{Filters, Offer};
use super::frame::Frame;
use super::twins::{self, Datum, Table, Twin};
use super::visible::visible;
use super::visit::{Visit, reading};

/// Uses on a page, in a file, and those that are looked through for the last login of a viewer.
const ROWS: u32 = 100;
const TABLE_ROWS: u32 = 1_000;

/// Characters of an address that are shown.
const CHARACTERS: usize = 300;

/// This page goes by nothing.
const OFFER: Offer = Offer {
    keys: &[],
    ranges: &[],
    default: Period::Ever,
};

/// `GET /access`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let before = before(&visit);
    let (newest, rows) = reading(&visit, async |db| {
        let newest = read::accesses(db, TABLE_ROWS, None).await?;
        let rows = match before {
            Some(_) => read::accesses(db, ROWS, before).await?,
            None => newest.iter().take(usize_of(ROWS)).cloned().collect(),
        };
        Ok((newest, rows))
    })
    .await?;
    let mut filters = Filters::new(&visit, OFFER);
    for chip in filters.chips.iter_mut().filter(|chip| chip.key == "time") {
        chip.is_used = false;
    }
    let watch = visit.watch();
    let is_full = rows.len() >= usize_of(ROWS);
    let here = |cursor| format!("{BASE}/access{}", visit.filter.at(cursor));
    let older = rows.last().filter(|_| is_full);
    Ok(html(&AccessPage {
        frame: visit.frame("access"),
        filters,
        summary: summary(&newest, visit.now),
        is_open: visit.dashboard.access == Access::Open,
        viewers: viewers(visit.permissions.viewers().values(), &newest, watch),
        most: count(i64::from(TABLE_ROWS)),
        older: older.map(|row| here(Cursor::Before(row.seq))),
        newest: before.map(|_| here(Cursor::Newest)),
        rows: rows.iter().map(|access| row(access, watch)).collect(),
        twins: twins::of(&visit),
    }))
}

/// The same for programs: the last 1,000 uses, or those before `before`.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let before = before(&visit);
        let rows = reading(&visit, async |db| {
            Ok(read::accesses(db, TABLE_ROWS, before).await?)
        })
        .await?;
        let data = |row: &AccessRow| {
            vec![
                Datum::Number(row.seq),
                Datum::Time(row.at),
                Datum::text(&row.what),
                Datum::some_text(row.viewer.as_deref()),
                Datum::some_text(row.of.as_deref()),
                Datum::some_text(row.path.as_deref()),
                Datum::some_text(row.form.as_deref()),
                Datum::some_text(row.address.as_deref()),
            ]
        };
        Ok(Table {
            columns: &[
                "seq", "at", "what", "viewer", "call", "path", "form", "address",
            ],
            rows: rows.iter().map(data).collect(),
        })
    }
    .boxed()
}

fn before(visit: &Visit) -> Option<i64> {
    match visit.filter.cursor {
        Cursor::Before(seq) => Some(seq),
        Cursor::Newest | Cursor::After(_) => None,
    }
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[derive(Debug, Template)]
#[template(path = "access.html", whitespace = "minimize")]
struct AccessPage {
    frame: Frame,
    filters: Filters,
    summary: String,
    /// Whether everybody may look who reaches the listener.
    is_open: bool,
    viewers: Vec<ViewerRow>,
    /// Uses that are looked through for viewers.
    most: String,
    rows: Vec<Row>,
    older: Option<String>,
    newest: Option<String>,
    twins: Vec<Twin>,
}

/// Somebody who may look.
#[derive(Debug)]
struct ViewerRow {
    name: String,
    line: u32,
    see: &'static str,
    tokens: usize,
    /// When the last of the tokens expires.
    expires: Option<When>,
    is_expired: bool,
    last: Option<When>,
    logins: String,
}

/// One use.
#[derive(Debug)]
struct Row {
    when: When,
    viewer: Option<String>,
    class: &'static str,
    what: String,
    /// The call whose body was opened.
    call: Option<(String, String)>,
    /// What was taken away.
    path: Option<String>,
    form: String,
    address: String,
}

fn viewers<'a>(
    viewers: impl Iterator<Item = &'a Viewer>,
    uses: &[AccessRow],
    watch: Watch<'_>,
) -> Vec<ViewerRow> {
    let mut logins = BTreeMap::<&str, (Timestamp, i64)>::new();
    // The newest comes first.
    for row in uses.iter().filter(|row| row.what == "login") {
        if let Some(viewer) = row.viewer.as_deref() {
            let (_, times) = logins.entry(viewer).or_insert((row.at, 0));
            *times = times.saturating_add(1);
        }
    }
    let row = |viewer: &Viewer| {
        let seen = logins.get(viewer.name.as_str());
        let is_for_ever = viewer.tokens.iter().any(|token| token.expires.is_none());
        let last = viewer.tokens.iter().filter_map(|token| token.expires).max();
        let expires = last.filter(|_| !is_for_ever);
        ViewerRow {
            name: shown::name(viewer.name.as_str()).to_string(),
            line: viewer.place.line,
            see: sees(&viewer.see),
            tokens: viewer.tokens.len(),
            is_expired: expires.is_some_and(|at| at <= watch.now),
            expires: expires.map(|at| watch.tell_minutes(at)),
            last: seen.map(|(at, _)| watch.tell_minutes(*at)),
            logins: seen.map(|(_, times)| count(*times)).unwrap_or_default(),
        }
    };
    viewers.map(row).collect()
}

fn sees(scopes: &[ViewerScope]) -> &'static str {
    let sees = |scope| scopes.contains(&scope);
    match (sees(ViewerScope::Arguments), sees(ViewerScope::Results)) {
        (false, false) => "who called what",
        (true, false) => "who called what, with arguments",
        (false, true) => "who called what, with results",
        (true, true) => "who called what, with arguments and results",
    }
}

fn row(access: &AccessRow, watch: Watch<'_>) -> Row {
    let (class, what) = match access.what.as_str() {
        "login" => ("ok", "logged in".to_owned()),
        "logout" => ("released", "logged out".into()),
        "refused_login" => ("denied", "login refused".into()),
        "body" => ("open", "opened a body".into()),
        "export" => ("abandoned", "took a list away".into()),
        "report" => ("abandoned", "made a report".into()),
        other => ("open", shown::name(other).to_string()),
    };
    // Only what is the id of a call becomes a link.
    let call = access
        .of
        .as_deref()
        .and_then(|of| of.parse::<CallId>().ok());
    Row {
        when: watch.tell(access.at),
        viewer: access
            .viewer
            .as_deref()
            .map(|viewer| shown::name(viewer).to_string()),
        class,
        what,
        call: call.map(|call| (format!("{BASE}/calls?call={call}"), call.to_string())),
        path: access.path.as_deref().map(|path| visible(path, CHARACTERS)),
        form: access
            .form
            .as_deref()
            .map(|form| shown::name(form).to_string())
            .unwrap_or_default(),
        address: access
            .address
            .as_deref()
            .map(|address| shown::name(address).to_string())
            .unwrap_or_default(),
    }
}

/// What the last thirty days were like.
fn summary(uses: &[AccessRow], now: Timestamp) -> String {
    let since = crate::audit::filter::Back::MONTH.before(now);
    let lately: Vec<&AccessRow> = uses.iter().filter(|row| row.at >= since).collect();
    let of = |what: &str| lately.iter().filter(|row| row.what == what).count();
    let mut names: Vec<&str> = lately
        .iter()
        .filter_map(|row| row.viewer.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    let told = |number: usize, one: &str, many: &str| {
        let word = if number == 1 { one } else { many };
        format!(
            "{} {word}",
            count(i64::try_from(number).unwrap_or(i64::MAX))
        )
    };
    if lately.is_empty() {
        return "Nobody logged in during the last 30 days.".into();
    }
    format!(
        "In the last 30 days {} looked: {}, {}, {}, {}.",
        told(names.len(), "viewer", "viewers"),
        told(of("login"), "login", "logins"),
        told(of("refused_login"), "refused", "refused"),
        told(of("body"), "body opened", "bodies opened"),
        told(
            of("export") + of("report"),
            "list taken away",
            "lists taken away"
        ),
    )
}
