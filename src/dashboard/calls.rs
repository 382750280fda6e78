//! What happened? The list of calls, with everything about it in its address.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::audit::filter::{Back, Filter, Key, Period, Pick};
use crate::audit::read::{self, CallRow, CallState, CallsPage, Cursor, Unknown};
use crate::policy::Permissions;
use crate::types::{Timestamp, shown};

use super::failure::{Failure, html};
use super::figures::{Watch, When, count, size, span};
use super::filter::{self, Ignored};
use super::frame::{Frame, Guest, Link};
use super::{BASE, Dashboard, within};

/// Names offered while somebody types.
const OFFERED: usize = 200;

/// `GET /calls`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    Extension(guest): Extension<Guest>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let permissions = dashboard.permissions();
    let now = dashboard.clock.now();
    let read = filter::read(query.as_deref().unwrap_or_default(), permissions.zone());
    if read.has_blanks && read.ignored.is_empty() {
        return Ok(Redirect::to(&address(&read.filter)).into_response());
    }
    let found = within(gather(&dashboard, &read.filter, now)).await?;
    let watch = Watch {
        zone: permissions.zone(),
        now,
    };
    let filter = &read.filter;
    Ok(html(&Calls {
        frame: Frame::new("calls", &guest, &permissions, now).with(dashboard.remarks().complaints),
        is_everything: filter.is_everything(),
        ignored: read.ignored.iter().map(ignored).collect(),
        chips: chips(filter, watch),
        ranges: ranges(filter),
        form: form(filter, &permissions, watch),
        days: days(&found.rows, filter, watch),
        empty: found.rows.is_empty().then(|| empty(filter, &found)),
        newer: found.newer.map(|cursor| relative(&filter.at(cursor))),
        older: found.older.map(|cursor| relative(&filter.at(cursor))),
        newest: (filter.cursor != Cursor::Newest).then(|| relative(&filter.at(Cursor::Newest))),
        stopped: found.stopped.map(|stopped| Link {
            href: relative(&filter.at(stopped.rest)),
            text: watch.tell(stopped.at).line(),
        }),
        at_once: count(read::SCAN),
        is_last: found.older.is_none() && found.stopped.is_none(),
    }))
}

async fn gather(
    dashboard: &Dashboard,
    filter: &Filter,
    now: Timestamp,
) -> Result<CallsPage, Failure> {
    let mut db = dashboard.readers.page().await?;
    Ok(read::calls(&mut db, &filter.wanted(now)).await?)
}

#[derive(Debug, Template)]
#[template(path = "calls.html", whitespace = "minimize")]
struct Calls {
    frame: Frame,
    is_everything: bool,
    ignored: Vec<(String, &'static str)>,
    chips: Vec<Chip>,
    ranges: Vec<Range>,
    form: Form,
    days: Vec<OneDay>,
    empty: Option<Empty>,
    newer: Option<String>,
    older: Option<String>,
    newest: Option<String>,
    stopped: Option<Link>,
    at_once: String,
    is_last: bool,
}

/// A condition in force, and how to turn or remove it.
#[derive(Debug)]
struct Chip {
    key: &'static str,
    /// `is`, `is not`, or nothing to turn.
    verb: &'static str,
    turned: Option<String>,
    value: String,
    without: String,
    /// The same time as fixed instants, for sharing.
    pinned: Option<String>,
}

/// A choice of time.
#[derive(Debug)]
struct Range {
    name: &'static str,
    href: String,
    is_chosen: bool,
}

/// The fields of the form, filled with what is in force.
#[derive(Debug)]
struct Form {
    agent: String,
    server: String,
    tool: String,
    reason: String,
    decision: String,
    /// The words of the address, and those for people.
    decisions: Vec<(&'static str, &'static str)>,
    from: String,
    to: String,
    /// What the fields cannot show, kept all the same.
    hidden: Vec<(String, String)>,
    agents: Vec<String>,
    servers: Vec<String>,
}

/// The calls of one day and one offset.
#[derive(Debug)]
struct OneDay {
    name: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    when: When,
    agent: Option<Link>,
    server: Option<Link>,
    /// Tool, or method and target.
    tool: Option<Link>,
    method: Option<String>,
    state: Link,
    class: &'static str,
    reason: Option<Link>,
    message: Option<String>,
    times: Option<u64>,
    rule: Option<String>,
    duration: String,
    bytes_in: String,
    bytes_out: String,
    client: String,
    call: Option<Link>,
}

/// Why there is nothing, and what to do.
#[derive(Debug)]
struct Empty {
    title: &'static str,
    text: &'static str,
    hints: Vec<Hint>,
}

#[derive(Debug)]
struct Hint {
    what: &'static str,
    name: String,
    /// The same with the name that was meant.
    meant: Option<Link>,
}

fn address(filter: &Filter) -> String {
    format!("{BASE}/calls{filter}")
}

/// An address from this very page; a hundred rows of links are shorter so.
fn relative(filter: &Filter) -> String {
    let query = filter.to_string();
    if query.is_empty() {
        "calls".into()
    } else {
        query
    }
}

fn ignored(part: &Ignored) -> (String, &'static str) {
    (shown::name(&part.text).to_string(), part.why)
}

fn chips(filter: &Filter, watch: Watch<'_>) -> Vec<Chip> {
    let mut chips: Vec<_> = filter.picks.iter().map(|pick| chip(filter, pick)).collect();
    if let Some(call) = filter.call {
        chips.push(Chip {
            key: "call",
            verb: "is",
            turned: None,
            value: call.to_string(),
            without: relative(&filter.any_call()),
            pinned: None,
        });
    }
    let value = match filter.period {
        Period::Ever => return chips,
        Period::Last(back) => format!("the last {back}"),
        Period::Between { from, to } => between(from, to, watch),
    };
    let (from, to) = filter.instants(watch.now);
    let pinned = Filter::during(
        filter,
        Period::Between {
            from,
            to: to.or(Some(watch.now)),
        },
    );
    chips.push(Chip {
        key: "time",
        verb: "is",
        turned: None,
        value,
        without: relative(&filter.during(Period::Ever)),
        pinned: matches!(filter.period, Period::Last(_)).then(|| relative(&pinned)),
    });
    chips
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>, watch: Watch<'_>) -> String {
    let tell = |at: Timestamp| watch.tell(at).line();
    match (from, to) {
        (Some(from), Some(to)) => format!("{} to {}", tell(from), tell(to)),
        (Some(from), None) => format!("since {}", tell(from)),
        (None, Some(to)) => format!("before {}", tell(to)),
        (None, None) => "any".into(),
    }
}

fn chip(filter: &Filter, pick: &Pick) -> Chip {
    Chip {
        key: pick.key.as_str(),
        verb: if pick.not { "is not" } else { "is" },
        turned: Some(relative(&filter.turned(pick))),
        value: told(pick),
        without: relative(&filter.without(pick)),
        pinned: None,
    }
}

/// The value of a condition; decisions in the words of the list.
fn told(pick: &Pick) -> String {
    let mut known =
        decisions().filter(|(word, _)| pick.key == Key::Decision && *word == pick.value);
    known.next().map_or_else(
        || shown::name(&pick.value).to_string(),
        |(_, told)| told.into(),
    )
}

/// The words that `decision` takes, and what they are called.
fn decisions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let states = CallState::ALL.into_iter();
    [("allowed", "allowed")]
        .into_iter()
        .chain(states.map(|state| (state.as_str(), called(state))))
}

fn called(state: CallState) -> &'static str {
    match state {
        CallState::Denied => "refused",
        CallState::Open => "under way",
        CallState::Ok => "ok",
        CallState::Error => "answered with an error",
        CallState::Failed => "failed",
        CallState::Released => "never arrived",
        CallState::Abandoned => "abandoned",
    }
}

fn ranges(filter: &Filter) -> Vec<Range> {
    let choices = [
        ("1 h", Period::Last(Back::HOUR)),
        ("24 h", Period::Last(Back::DAY)),
        ("7 d", Period::Last(Back::WEEK)),
        ("30 d", Period::Last(Back::MONTH)),
        ("All", Period::Ever),
    ];
    let ranges = choices.into_iter().map(|(name, period)| Range {
        name,
        href: relative(&filter.during(period)),
        is_chosen: filter.period == period,
    });
    ranges.collect()
}

fn form(filter: &Filter, permissions: &Permissions, watch: Watch<'_>) -> Form {
    let first = |key| {
        let mut picks = filter.picks.iter();
        picks.find(|pick| pick.key == key && !pick.not)
    };
    let in_fields: Vec<_> = Key::ALL.into_iter().filter_map(first).collect();
    let field = |key| {
        first(key)
            .map(|pick| pick.value.clone())
            .unwrap_or_default()
    };
    let mut hidden = filter.at(Cursor::Newest);
    hidden.picks.retain(|pick| !in_fields.contains(&pick));
    let (from, to) = match filter.period {
        Period::Between { from, to } => {
            hidden.period = Period::Ever;
            (from, to)
        }
        Period::Ever | Period::Last(_) => (None, None),
    };
    let local = |at: Option<Timestamp>| {
        at.map(|at| {
            at.in_zone(watch.zone)
                .strftime("%Y-%m-%dT%H:%M:%S")
                .to_string()
        })
        .unwrap_or_default()
    };
    let names = permissions.agents().keys().take(OFFERED);
    let servers = permissions.servers().keys().take(OFFERED);
    Form {
        agent: field(Key::Agent),
        server: field(Key::Server),
        tool: field(Key::Tool),
        reason: field(Key::Reason),
        decision: field(Key::Decision),
        decisions: decisions().collect(),
        from: local(from),
        to: local(to),
        hidden: hidden.pairs(),
        agents: names.map(ToString::to_string).collect(),
        servers: servers.map(ToString::to_string).collect(),
    }
}

fn days(rows: &[CallRow], filter: &Filter, watch: Watch<'_>) -> Vec<OneDay> {
    let mut days = Vec::<OneDay>::new();
    for row in rows {
        let local = row.at.in_zone(watch.zone);
        // The offset stands here for all of its rows, so a day on which it changes has two parts.
        let name = local.strftime("%A, %-d %B %Y, UTC%:z").to_string();
        let row = view(row, filter, watch);
        match days.last_mut() {
            Some(day) if day.name == name => day.rows.push(row),
            _ => days.push(OneDay {
                name,
                rows: vec![row],
            }),
        }
    }
    days
}

fn view(row: &CallRow, filter: &Filter, watch: Watch<'_>) -> Row {
    let opening = &row.opening;
    let closing = row.closing.as_ref();
    let link = |key, value: &Option<String>| {
        value.as_deref().map(|value| Link {
            href: relative(&filter.with(key, value)),
            text: shown::name(value).to_string(),
        })
    };
    let tool = link(Key::Tool, &opening.tool);
    let error = closing.and_then(|closing| closing.error.as_deref());
    let message = opening.message.as_deref().or(error);
    let bytes = |bytes: Option<u64>| bytes.map(size).unwrap_or_default();
    let call = row.call.map(|call| Link {
        href: format!("?call={call}"),
        // The end of a time-ordered id is what differs between neighbours.
        text: call.to_string().chars().skip(28).collect(),
    });
    Row {
        when: watch.tell(row.at),
        agent: link(Key::Agent, &opening.agent),
        server: link(Key::Server, &opening.server),
        method: if tool.is_some() { None } else { method(row) },
        tool,
        state: Link {
            href: relative(&filter.with(Key::Decision, row.state.as_str())),
            text: word(row),
        },
        class: row.state.as_str(),
        reason: link(Key::Reason, &opening.reason),
        message: message.map(|text| shown::sentence(text).to_string()),
        times: opening.count.filter(|times| *times > 1),
        rule: rule(row),
        duration: closing
            .and_then(|closing| closing.latency_us)
            .map(span)
            .unwrap_or_default(),
        bytes_in: bytes(opening.bytes_in),
        bytes_out: bytes(closing.and_then(|closing| closing.bytes_out)),
        client: opening
            .client
            .as_deref()
            .map(|name| shown::name(name).to_string())
            .unwrap_or_default(),
        call,
    }
}

/// What was asked for, when it was no tool: `resources/read notes://today`.
fn method(row: &CallRow) -> Option<String> {
    let method = row.opening.method.as_deref()?;
    let method = shown::name(method);
    Some(match row.opening.target.as_deref() {
        Some(target) => format!("{method} {}", shown::name(target)),
        None => method.to_string(),
    })
}

/// How the call ended, in the word of the event where that says more than the state.
fn word(row: &CallRow) -> String {
    let outcome = row
        .closing
        .as_ref()
        .and_then(|closing| closing.outcome.as_deref());
    match (row.state, outcome) {
        (CallState::Error | CallState::Failed | CallState::Released, Some(outcome)) => {
            shown::name(outcome).to_string().replace('_', " ")
        }
        (state, _) => called(state).into(),
    }
}

/// The rule that decided, with its line: `agents.clawd.servers[0]:12`.
fn rule(row: &CallRow) -> Option<String> {
    let rule = shown::name(row.opening.rule.as_deref()?);
    Some(match row.opening.line {
        Some(line) => format!("{rule}, line {line}"),
        None => rule.to_string(),
    })
}

fn empty(filter: &Filter, found: &CallsPage) -> Empty {
    let hints = found
        .unknown
        .iter()
        .map(|unknown| hint(filter, unknown))
        .collect();
    if found.no_calls_yet {
        return Empty {
            title: "No calls yet",
            text: "Nothing was called through this gateway so far. Connect a client with an agent's token, \
                and its first call stands here before it is forwarded.",
            hints,
        };
    }
    if found.stopped.is_some() {
        return Empty {
            title: "Nothing found so far",
            text: "None of the newest events fits. Continue the search further back below, or choose a time.",
            hints,
        };
    }
    let denied = |pick: &Pick| pick.key == Key::Decision && pick.value == "denied" && !pick.not;
    if filter.call.is_some() {
        return Empty {
            title: "No such call",
            text: "No call in this log has this id. It may belong to another gateway, or be older than what is kept.",
            hints,
        };
    }
    if filter.picks.iter().all(denied) && !filter.picks.is_empty() {
        return Empty {
            title: "No refusals in this period",
            text: "Every call that came was let through. Remove the decision to see them, or choose a longer time.",
            hints,
        };
    }
    Empty {
        title: "Nothing matches",
        text: "No call fits all of these filters. Remove one with its ×, or choose a longer time.",
        hints,
    }
}

fn hint(filter: &Filter, unknown: &Unknown) -> Hint {
    let key = unknown.what.parse().unwrap_or(Key::Tool);
    let wrong = Pick {
        key,
        not: false,
        value: unknown.name.clone(),
    };
    Hint {
        what: unknown.what,
        name: shown::name(&unknown.name).to_string(),
        meant: unknown.suggestion.as_deref().map(|meant| Link {
            href: relative(&filter.without(&wrong).with(key, meant)),
            text: shown::name(meant).to_string(),
        }),
    }
}
