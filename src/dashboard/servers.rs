//! Are the servers well, and what do they offer?

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::filter::{Back, Key, Period};
use crate::audit::read::{self, DefinitionRow, Span, ToolCounts};
use crate::audit::{Counts, Histogram};
use crate::db::PageReader;
use crate::policy::ServerRule;
use crate::types::{Contact, ServerState, Timestamp, shown};

use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filters::{self, Filters, Offer};
use super::frame::Frame;
use super::twins::{self, Datum, Table, Twin};
use super::visit::{Stretch, Visit};
use super::who::{self, Links, Number, Tag, in_time, percent, percentiles, things};

/// `GET /servers`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let found = find(&visit).await?;
    let known = known(&visit, &found);
    let (links, watch) = (Links::new(&visit), visit.watch());
    let offer = Offer {
        keys: &[Key::Server],
        ranges: filters::LONG,
        default: Period::Last(Back::MONTH),
    };
    Ok(html(&Servers {
        frame: visit.frame("servers"),
        filters: Filters::new(&visit, offer),
        twins: twins::of(&visit),
        lead: lead(&known, &in_time(&visit)),
        is_filtered: !visit.filter.picks.is_empty(),
        rows: known
            .iter()
            .map(|server| row(server, &links, watch))
            .collect(),
    }))
}

/// The same list for programs.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let found = find(&visit).await?;
        Ok(Table {
            columns: &[
                "server",
                "in_rules",
                "disabled",
                "transport",
                "state",
                "last_call",
                "tools",
                "calls",
                "refused",
                "errors",
                "p50_us",
                "p95_us",
                "p99_us",
                "definitions_changed",
                "definitions_new",
            ],
            rows: known(&visit, &found).iter().map(data).collect(),
        })
    }
    .boxed()
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    tools: Vec<ToolCounts>,
    seen: Vec<((String, String), Timestamp)>,
    definitions: Vec<DefinitionRow>,
}

async fn find(visit: &Visit) -> Result<Found, Failure> {
    let stretch = visit.stretch(Back::MONTH);
    who::at_one_moment(visit, async |db| gather(db, stretch).await).await
}

async fn gather(db: &mut PageReader, stretch: Stretch) -> Result<Found, Failure> {
    let fresh = who::fresh(db).await?;
    let span = Span::new(stretch.from, stretch.to);
    Ok(Found {
        tools: read::tools_between(db, &fresh, span, timed(span)).await?,
        seen: read::tools_last_seen(db, &fresh).await?,
        definitions: read::definition_rows(db, None).await?,
    })
}

/// The part of a time of which pages tell how long calls took: its last 31 days.
pub(super) fn timed(span: Span) -> Span {
    Span::new(Back::days(31).before(span.to()).max(span.from()), span.to())
}

/// One server, with all that is known of it.
#[derive(Debug, Default)]
struct Known<'a> {
    name: &'a str,
    rule: Option<&'a ServerRule>,
    /// What is known of contacts with it since the gateway started.
    state: Option<ServerState>,
    seen: Option<Timestamp>,
    /// Tools that it listed.
    listed: BTreeSet<&'a str>,
    /// Tools that were called, ever.
    called: BTreeSet<&'a str>,
    counts: Counts,
    times: Histogram,
    changed: usize,
    new: usize,
}

impl Known<'_> {
    /// How many tools it has, as far as anybody saw.
    fn tools(&self) -> usize {
        if self.listed.is_empty() {
            self.called.len()
        } else {
            self.listed.len()
        }
    }
}

/// All servers that are asked for, the busiest first.
fn known<'a>(visit: &'a Visit, found: &'a Found) -> Vec<Known<'a>> {
    let mut servers: BTreeMap<&str, Known<'a>> = BTreeMap::new();
    for (name, rule) in visit.permissions.servers() {
        servers.entry(name.as_str()).or_default().rule = Some(rule);
    }
    for ((server, tool), at) in &found.seen {
        let server = servers.entry(server).or_default();
        server.seen = server.seen.max(Some(*at));
        server.called.insert(tool);
    }
    for tool in &found.tools {
        let server = servers.entry(&tool.server).or_default();
        server.counts.add(&tool.counts);
        server.times.add(&tool.took.times);
    }
    let stretch = visit.stretch(Back::MONTH);
    for row in &found.definitions {
        let server = servers.entry(&row.server).or_default();
        server.listed.insert(&row.tool);
        let is_shown = row.at >= stretch.from && row.at < stretch.to;
        match row.was {
            Some(_) if is_shown => server.changed = server.changed.saturating_add(1),
            None if is_shown && !row.is_first => server.new = server.new.saturating_add(1),
            Some(_) | None => {}
        }
    }
    for state in visit.dashboard.servers() {
        if let Some(server) = servers.get_mut(state.name.as_str()) {
            server.state = Some(state);
        }
    }
    let asked = visit.filter.wanted(visit.now).servers;
    let servers = servers
        .into_iter()
        .filter(|(name, _)| who::keeps(&asked, name));
    let mut known: Vec<Known<'a>> = servers
        .map(|(name, known)| Known { name, ..known })
        .collect();
    known.sort_by_key(|server| std::cmp::Reverse(server.counts.calls()));
    known
}

fn lead(known: &[Known<'_>], time: &str) -> String {
    let active = known
        .iter()
        .filter(|server| server.counts.calls() > 0)
        .count();
    let calls: i64 = known.iter().map(|server| server.counts.calls()).sum();
    let bad = known.iter().filter(|server| is_bad(&server.counts)).count();
    let changed = known.iter().map(|server| server.changed).sum::<usize>();
    let health = match bad {
        0 => "On none of them did more than one call in twenty go wrong",
        1 => "On one of them more than one call in twenty went wrong",
        _ => "On some of them more than one call in twenty went wrong",
    };
    let changes = match changed {
        0 => "no definition of a tool changed".into(),
        1 => "1 definition of a tool changed".into(),
        changed => format!("{changed} definitions of tools changed"),
    };
    if active == 0 {
        return format!("{} known; none was called {time}.", known_word(known.len()));
    }
    format!(
        "{} known; {active} took {} {time}. {health}, and {changes}.",
        known_word(known.len()),
        who::calls_word(calls)
    )
}

fn known_word(number: usize) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", things(number, "server", "servers"))
}

/// Whether more than one in twenty of the calls that ended went wrong.
fn is_bad(counts: &Counts) -> bool {
    counts.bad().saturating_mul(20) > counts.ended()
}

#[derive(Debug, Template)]
#[template(path = "servers.html", whitespace = "minimize")]
struct Servers {
    frame: Frame,
    filters: Filters,
    twins: Vec<Twin>,
    lead: String,
    is_filtered: bool,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    href: String,
    description: String,
    tags: Vec<Tag>,
    state: State,
    seen: Option<When>,
    numbers: [Number; 3],
    share: String,
    is_bad: bool,
    took: [String; 3],
    tools: String,
    changed: usize,
    new: usize,
    is_listed: bool,
}

fn row(server: &Known<'_>, links: &Links, watch: Watch<'_>) -> Row {
    let description = server.rule.and_then(|rule| rule.description.as_deref());
    Row {
        name: shown::name(server.name).to_string(),
        href: links.server(server.name),
        description: description
            .map(|text| shown::sentence(text).to_string())
            .unwrap_or_default(),
        tags: tags(server.rule),
        state: State::of(server.state.as_ref(), watch),
        seen: server.seen.map(|at| watch.tell_last(at)),
        numbers: links.numbers(&server.counts, &[(Key::Server, server.name)]),
        share: percent(server.counts.bad(), server.counts.ended()),
        is_bad: is_bad(&server.counts),
        took: percentiles(&server.times),
        tools: count(i64::try_from(server.tools()).unwrap_or(i64::MAX)),
        changed: server.changed,
        new: server.new,
        is_listed: !server.listed.is_empty(),
    }
}

/// How the last contact with a server went, in words.
#[derive(Debug)]
pub(super) struct State {
    pub(super) word: &'static str,
    /// Its shape and colour; empty when nothing is known.
    pub(super) class: &'static str,
    /// How it is reached, and what it spoke last: `http`, `2025-11-25`.
    pub(super) by: String,
    pub(super) since: Option<When>,
    /// When it last answered.
    pub(super) answered: Option<When>,
    /// When it last did not, and why.
    pub(super) failed: Option<(When, String)>,
}

impl State {
    pub(super) fn of(state: Option<&ServerState>, watch: Watch<'_>) -> Self {
        let (word, class) = match state.map(|state| state.contact) {
            Some(Contact::Up) => ("up", "ok"),
            Some(Contact::Down) => ("down", "failed"),
            Some(Contact::Unknown) => ("not called yet", ""),
            None => ("not known", ""),
        };
        let tell = |at: Timestamp| watch.tell_minutes(at);
        let spoken = state.and_then(|state| state.protocol);
        let by = state.map(|state| state.transport).into_iter().chain(spoken);
        Self {
            word,
            class,
            by: by.collect::<Vec<_>>().join(", "),
            since: state.and_then(|state| state.since).map(tell),
            answered: state.and_then(|state| state.answered).map(tell),
            failed: state
                .and_then(|state| state.failed.as_ref())
                .map(|(at, why)| (tell(*at), shown::sentence(why).to_string())),
        }
    }
}

/// What is to be said beside the name of a server.
pub(super) fn tags(rule: Option<&ServerRule>) -> Vec<Tag> {
    let Some(rule) = rule else {
        return vec![Tag {
            text: "not in the rules",
            class: "",
        }];
    };
    let off = rule.disabled.as_ref().map(|_| Tag {
        text: "switched off",
        class: "bad",
    });
    off.into_iter().collect()
}

/// A row for programs, in the order of the columns.
fn data(server: &Known<'_>) -> Vec<Datum> {
    let number = |number: usize| Datum::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let time = |of_hundred| Datum::some_number(server.times.percentile(of_hundred));
    vec![
        Datum::text(server.name),
        Datum::Flag(server.rule.is_some()),
        Datum::Flag(server.rule.is_some_and(|rule| rule.disabled.is_some())),
        Datum::some_text(server.state.as_ref().map(|state| state.transport)),
        Datum::some_text(server.state.as_ref().map(|state| state.contact.as_str())),
        Datum::some_time(server.seen),
        number(server.tools()),
        Datum::Number(server.counts.calls()),
        Datum::Number(server.counts.refused),
        Datum::Number(server.counts.bad()),
        time(50),
        time(95),
        time(99),
        number(server.changed),
        number(server.new),
    ]
}
