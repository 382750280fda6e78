//! What was in force when? Every version of the rules, how many calls it decided, and how many of them it refused.

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::Counts;
use crate::audit::filter::{Filter, Period};
use crate::audit::read::{self, Cursor, Fresh, PolicyRow};
use crate::db::{DbError, PageReader};
use crate::types::{Timestamp, shown};

use super::BASE;
use super::budget_row::calls_at;
use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filters::{Filters, Offer};
use super::frame::{Frame, Link};
use super::twins::{self, Datum, Table, Twin};
use super::visit::{Visit, reading};

/// Versions on the page, and in the files.
const ROWS: usize = 100;
const TABLE_ROWS: usize = 1_000;

/// Of these, the newest are counted to the event.
const EXACT: usize = 20;

/// Digits of a revision that people see.
const DIGITS: usize = 12;

/// This page goes by nothing.
const OFFER: Offer = Offer {
    keys: &[],
    ranges: &[],
    default: Period::Ever,
};

/// A span of rules and the calls in it.
#[derive(Debug)]
struct Version {
    row: PolicyRow,
    counts: Counts,
    /// The one before, where its rules are others and the texts of both are kept.
    before: Option<String>,
}

/// `GET /policy`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let (versions, all) = versions(&visit, ROWS).await?;
    let mut filters = Filters::new(&visit, OFFER);
    for chip in filters.chips.iter_mut().filter(|chip| chip.key == "time") {
        chip.is_used = false;
    }
    let base = visit.filter.at(Cursor::Newest);
    let in_force = visit.permissions.revision().to_string();
    let watch = visit.watch();
    Ok(html(&Policies {
        frame: visit.frame("policy"),
        filters,
        summary: summary(&versions, all, &in_force, watch),
        in_force: short(&in_force),
        more: all.saturating_sub(versions.len()),
        rows: versions
            .iter()
            .map(|version| row(version, &in_force, &base, watch))
            .collect(),
        twins: twins::of(&visit),
    }))
}

/// The same for programs.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let (versions, _) = versions(&visit, TABLE_ROWS).await?;
        let data = |version: &Version| {
            vec![
                Datum::Number(version.row.seq),
                Datum::text(&version.row.revision),
                Datum::some_text(version.row.commit.as_deref()),
                Datum::Time(version.row.at),
                Datum::some_time(version.row.until),
                Datum::Number(version.counts.calls()),
                Datum::Number(version.counts.refused),
                Datum::Flag(version.row.text_kept),
            ]
        };
        Ok(Table {
            columns: &[
                "seq",
                "revision",
                "commit",
                "in_force_at",
                "until",
                "calls",
                "refused",
                "text_kept",
            ],
            rows: versions.iter().map(data).collect(),
        })
    }
    .boxed()
}

/// The newest versions, and how many there are.
async fn versions(visit: &Visit, most: usize) -> Result<(Vec<Version>, usize), Failure> {
    let now = visit.now;
    let (rows, counts) = reading(visit, async |db| {
        let rows = read::policies(db).await?;
        let newest = rows.get(..most.min(rows.len())).unwrap_or_default();
        let counts = counted(db, newest, now).await?;
        Ok((rows, counts))
    })
    .await?;
    let all = rows.len();
    let before = |at: usize| {
        let (row, before) = (rows.get(at)?, rows.get(at.saturating_add(1))?);
        let is_other = row.revision != before.revision;
        (is_other && row.text_kept && before.text_kept).then(|| before.revision.clone())
    };
    let versions = rows.iter().take(most).zip(counts).enumerate();
    let versions = versions.map(|(at, (row, counts))| Version {
        row: row.clone(),
        counts,
        before: before(at),
    });
    Ok((versions.collect(), all))
}

/// How many calls there were in each of the newest spans.
async fn counted(
    db: &mut PageReader,
    rows: &[PolicyRow],
    now: Timestamp,
) -> Result<Vec<Counts>, DbError> {
    let Some(extent) = read::extent(db).await? else {
        return Ok(Vec::new());
    };
    let fresh = Fresh::load(db, extent).await?;
    read::calls_under(db, &fresh, rows, EXACT, now).await
}

#[derive(Debug, Template)]
#[template(path = "policies.html", whitespace = "minimize")]
struct Policies {
    frame: Frame,
    filters: Filters,
    summary: String,
    in_force: String,
    more: usize,
    rows: Vec<Row>,
    twins: Vec<Twin>,
}

#[derive(Debug)]
struct Row {
    revision: Link,
    is_in_force: bool,
    commit: String,
    from: When,
    until: Option<When>,
    calls: Link,
    refused: Link,
    share: String,
    diff: Option<String>,
    text_kept: bool,
}

fn row(version: &Version, in_force: &str, base: &Filter, watch: Watch<'_>) -> Row {
    let (row, counts) = (&version.row, &version.counts);
    let during = base.time_only().during(Period::Between {
        from: Some(row.at),
        to: row.until,
    });
    let denied = during.with(crate::audit::filter::Key::Decision, "denied");
    Row {
        revision: Link {
            href: format!("{BASE}/policy/{}{base}", short(&row.revision)),
            text: short(&row.revision),
        },
        is_in_force: row.until.is_none() && row.revision == in_force,
        commit: row
            .commit
            .as_deref()
            .map(|commit| shown::name(&short(commit)).to_string())
            .unwrap_or_default(),
        from: watch.tell(row.at),
        until: row.until.map(|at| watch.tell(at)),
        calls: Link {
            href: calls_at(&during),
            text: count(counts.calls()),
        },
        refused: Link {
            href: calls_at(&denied),
            text: count(counts.refused),
        },
        share: share(counts.refused, counts.calls()),
        diff: version.before.as_ref().map(|before| {
            let (before, this) = (short(before), short(&row.revision));
            format!("{BASE}/policy/diff/{before}..{this}{base}")
        }),
        text_kept: row.text_kept,
    }
}

/// The first digits of a revision or a commit.
pub(super) fn short(digits: &str) -> String {
    digits.chars().take(DIGITS).collect()
}

/// A part in hundredths: `12 %`, `under 1 %`, which no line breaks.
pub(super) fn share(part: i64, whole: i64) -> String {
    let percent = part.saturating_mul(100).checked_div(whole);
    match (part, percent) {
        (_, None) => String::new(),
        (1.., Some(0)) => "under 1\u{a0}%".into(),
        (_, Some(percent)) => format!("{percent}\u{a0}%"),
    }
}

fn summary(versions: &[Version], all: usize, in_force: &str, watch: Watch<'_>) -> String {
    let Some(newest) = versions.first() else {
        return String::new();
    };
    let (calls, refused) = (newest.counts.calls(), newest.counts.refused);
    let decided = match (calls, refused) {
        (0, _) => "they have decided no call yet".to_owned(),
        (calls, refused) => format!(
            "of {} calls they refused {} ({})",
            count(calls),
            count(refused),
            share(refused, calls)
        ),
    };
    let known = match all {
        1 => "No other rules are known.".to_owned(),
        all => format!(
            "The rules changed {} times in this log.",
            all.saturating_sub(1)
        ),
    };
    let known = known.replace(" 1 times", " once");
    if newest.row.revision != in_force {
        return format!("The rules in force are not in this log yet. {known}");
    }
    let since = watch.tell_minutes(newest.row.at).line();
    format!("These rules have been in force since {since}; {decided}. {known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_hundredths() {
        let table = [
            (0, 0, ""),
            (0, 9, "0\u{a0}%"),
            (1, 1_000, "under 1\u{a0}%"),
            (1, 8, "12\u{a0}%"),
            (8, 8, "100\u{a0}%"),
        ];
        for (part, whole, told) in table {
            assert_eq!(share(part, whole), told, "{part} of {whole}");
        }
    }
}
