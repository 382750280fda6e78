//! Read it: the file of one revision as it was, and what each of its lines about agents and servers was used for.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::filter::{Filter, Key, Period};
use crate::audit::read::{self, Cursor, PolicyRow, PolicyText};
use crate::config;
use crate::db::PageReader;
use crate::policy::{Agent, GrantRule, Pattern, Permissions};
use crate::types::Timestamp;

use super::BASE;
use super::budget_row::calls_at;
use super::failure::{Failure, html};
use super::figures::{Watch, When};
use super::frame::{Frame, Link};
use super::policies::short;
use super::visible::visible;
use super::visit::{Visit, reading};

/// Why there is nothing to read.
const UNKNOWN: &str =
    "No rules with this revision came into force here; the page about the policy has all that did.";
const AMBIGUOUS: &str = "Several revisions begin like this. Write more of its digits.";

/// Digits that name a revision, at least.
const FEWEST: usize = 4;

/// The times a revision was in force.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) revision: String,
    pub(super) from: Timestamp,
    pub(super) until: Option<Timestamp>,
    pub(super) commit: Option<String>,
    pub(super) text: Option<PolicyText>,
}

/// The revision that begins with these digits.
pub(super) async fn version(
    db: &mut PageReader,
    rows: &[PolicyRow],
    digits: &str,
) -> Result<Version, Failure> {
    let digits = digits.to_ascii_lowercase();
    if digits.len() < FEWEST || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::Unknown(UNKNOWN));
    }
    let spans: Vec<&PolicyRow> = rows
        .iter()
        .filter(|row| row.revision.starts_with(&digits))
        .collect();
    let (Some(newest), Some(oldest)) = (spans.first(), spans.last()) else {
        return Err(Failure::Unknown(UNKNOWN));
    };
    if spans.iter().any(|row| row.revision != newest.revision) {
        return Err(Failure::Unknown(AMBIGUOUS));
    }
    Ok(Version {
        text: read::policy_text(db, &newest.revision).await?,
        revision: newest.revision.clone(),
        from: oldest.at,
        until: newest.until,
        commit: newest.commit.clone(),
    })
}

/// `GET /policy/{revision}`.
pub(super) async fn page(Path(revision): Path<String>, visit: Visit) -> Result<Response, Failure> {
    let (version, before, kept_since) = reading(&visit, async |db| {
        let rows = read::policies(db).await?;
        let version = version(db, &rows, &revision).await?;
        let kept_since = rows.iter().filter(|row| row.text_kept).map(|row| row.at);
        Ok((before(&rows, &version.revision), kept_since.min(), version))
    })
    .await
    .map(|(before, kept_since, version)| (version, before, kept_since))?;
    let base = visit.filter.at(Cursor::Newest);
    let during = base.time_only().during(Period::Between {
        from: Some(version.from),
        to: version.until,
    });
    let watch = visit.watch();
    let uses = uses(&version, &visit, &during);
    let text = version.text.as_ref();
    Ok(html(&Policy {
        frame: visit.frame("policy"),
        all: format!("{BASE}/policy{base}"),
        short: short(&version.revision),
        summary: summary(&version, watch),
        from: watch.tell(version.from),
        until: version.until.map(|at| watch.tell(at)),
        commit: version.commit.as_deref().map(|commit| visible(commit, 64)),
        calls: calls_at(&during),
        diff: before.map(|before| {
            let this = short(&version.revision);
            format!("{BASE}/policy/diff/{}..{this}{base}", short(&before))
        }),
        is_kept: text.is_some(),
        is_whole: text.is_some_and(|text| text.is_whole),
        is_understood: uses.is_some(),
        kept_since: kept_since.map(|at| watch.tell(at)),
        lines: text.map_or_else(Vec::new, |text| {
            lines(text, uses.as_ref().unwrap_or(&BTreeMap::new()))
        }),
        revision: version.revision,
    }))
}

/// The revision that was in force before another came first, where the texts of both are kept.
fn before(rows: &[PolicyRow], revision: &str) -> Option<String> {
    let first = rows.iter().rposition(|row| row.revision == revision)?;
    let before = rows.get(first.saturating_add(1))?;
    let kept = rows.get(first)?.text_kept && before.text_kept;
    kept.then(|| before.revision.clone())
}

/// Where the calls are that each line was used for; `None` when the text is not understood by this version.
fn uses(version: &Version, visit: &Visit, during: &Filter) -> Option<BTreeMap<u32, Link>> {
    if version.revision == visit.permissions.revision().to_string() {
        return Some(links(&visit.permissions, during));
    }
    let text = version.text.as_ref()?;
    let loaded = config::review("permissions.yaml", &text.text).ok()?;
    Some(links(&loaded.permissions, during))
}

/// A link for each line that is about an agent, a grant or a server.
fn links(permissions: &Permissions, during: &Filter) -> BTreeMap<u32, Link> {
    let mut links = BTreeMap::new();
    let mut add = |line: u32, filter: Filter| {
        let text = "calls".into();
        let href = calls_at(&filter);
        links.entry(line).or_insert(Link { href, text });
    };
    for agent in permissions.agents().values() {
        add(
            agent.place.line,
            during.with(Key::Agent, agent.name.as_str()),
        );
    }
    for (name, server) in permissions.servers() {
        add(server.place.line, during.with(Key::Server, name.as_str()));
    }
    for agent in permissions.agents().values() {
        for grant in &agent.grants {
            add(grant.place.line, granted(agent, grant, during));
        }
    }
    links
}

/// The calls that a grant may have let through; one of a role, by any agent.
fn granted(agent: &Agent, grant: &GrantRule, during: &Filter) -> Filter {
    let exact = |pattern: &&Pattern| !pattern.as_str().contains('*');
    let mut filter = during.clone();
    if !grant.from_role {
        filter = filter.with(Key::Agent, agent.name.as_str());
    }
    if exact(&&grant.server) {
        filter = filter.with(Key::Server, grant.server.as_str());
    }
    let tools: Vec<&Pattern> = grant.tools.iter().flatten().collect();
    // Names of which one is a pattern would leave out what that one let through.
    if tools.len() <= 20 && tools.iter().all(exact) {
        for tool in tools {
            filter = filter.with(Key::Tool, tool.as_str());
        }
    }
    filter.with(Key::Decision, "allowed")
}

#[derive(Debug, Template)]
#[template(path = "policy.html", whitespace = "minimize")]
struct Policy {
    frame: Frame,
    /// The list of versions.
    all: String,
    revision: String,
    short: String,
    summary: String,
    from: When,
    until: Option<When>,
    commit: Option<String>,
    calls: String,
    /// The difference to the one before.
    diff: Option<String>,
    is_kept: bool,
    is_whole: bool,
    is_understood: bool,
    kept_since: Option<When>,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    number: u32,
    text: String,
    /// Whether something that looked like a secret was taken out of it.
    is_masked: bool,
    uses: Option<Link>,
}

fn lines(text: &PolicyText, uses: &BTreeMap<u32, Link>) -> Vec<Line> {
    let lines = (1..).zip(text.text.lines());
    let line = |(number, line): (u32, &str)| Line {
        number,
        is_masked: !text.is_whole && line.contains("****"),
        text: visible(line, usize::MAX),
        uses: uses.get(&number).cloned(),
    };
    lines.map(line).collect()
}

fn summary(version: &Version, watch: Watch<'_>) -> String {
    let from = watch.tell_minutes(version.from).line();
    match version.until {
        None => format!("In force since {from}."),
        Some(until) => format!(
            "In force from {from} until {}.",
            watch.tell_minutes(until).line()
        ),
    }
}
