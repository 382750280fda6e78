//! What happened? The list of calls, with everything about it in its address.

use askama::Template;
use axum::response::Response;

use crate::audit::filter::{Filter, Key, Pick};
use crate::audit::read::{self, CallRow, CallState, CallsPage, Cursor, Unknown};
use crate::types::shown;

use super::failure::{Failure, html};
use super::figures::{Watch, When, count, size, span};
use super::filters::{self, Filters, Form, called};
use super::frame::{Frame, Link};
use super::visit::{Visit, reading};

/// `GET /calls`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let wanted = visit.filter.wanted(visit.now);
    let found = reading(&visit, async |db| Ok(read::calls(db, &wanted).await?)).await?;
    let (filter, watch) = (&visit.filter, visit.watch());
    Ok(html(&Calls {
        frame: visit.frame("calls"),
        is_everything: filter.is_everything(),
        filters: Filters::new(&visit, filters::CALLS),
        form: Form::new(&visit),
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

#[derive(Debug, Template)]
#[template(path = "calls.html", whitespace = "minimize")]
struct Calls {
    frame: Frame,
    is_everything: bool,
    filters: Filters,
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

/// An address from this very page; a hundred rows of links are shorter so.
fn relative(filter: &Filter) -> String {
    let query = filter.to_string();
    if query.is_empty() {
        "calls".into()
    } else {
        query
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

/// What was asked for, in short: `images / imagine`, `notes / resources/read notes://today`.
pub(super) fn target(row: &CallRow) -> String {
    let opening = &row.opening;
    let tool = opening.tool.as_deref().map(|tool| shown::name(tool).to_string());
    let what = tool.or_else(|| method(row)).unwrap_or_else(|| "the gateway".into());
    match opening.server.as_deref() {
        Some(server) => format!("{} / {what}", shown::name(server)),
        None => what,
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
pub(super) fn word(row: &CallRow) -> String {
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
