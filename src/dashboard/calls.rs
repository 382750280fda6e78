//! What happened? The list of calls, with everything about it in its address.

use askama::Template;
use axum::response::Response;

use crate::audit::filter::{Back, Filter, Key, Pick};
use crate::audit::read::{self, CallRow, CallsPage, Cursor, Unknown};
use crate::types::shown;

use super::BASE;
use super::call_row::{Column, Columns, Row, relative};
use super::failure::{Failure, html};
use super::figures::{Watch, count};
use super::filter::{REFRESH, VALUES};
use super::filters::{self, Filters, Form};
use super::frame::{Frame, Link};
use super::twins::{self, Twin};
use super::values::{ValueList, Values};
use super::visit::{Visit, reading};

/// `GET /calls`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let wanted = visit.filter.wanted(visit.now);
    let is_with_values = visit.filter.along.contains_key(VALUES);
    let stretch = visit.stretch(Back::MONTH);
    let (mut found, values) = reading(&visit, async |db| {
        let found = read::calls(db, &wanted).await?;
        let values = match is_with_values {
            true => Some(Values::read(db, stretch).await?),
            false => None,
        };
        Ok((found, values))
    })
    .await?;
    if visit.only.is_some() {
        // Names that were meant would come from everybody's calls.
        found.unknown.clear();
    }
    let columns = Columns::of(&visit.filter);
    let (filter, watch) = (&visit.filter, visit.watch());
    Ok(html(&Calls {
        frame: visit.frame("calls"),
        is_everything: filter.is_everything(),
        filters: Filters::new(&visit, filters::CALLS),
        form: Form::new(&visit),
        days: days(&found.rows, filter, columns, watch),
        choices: columns.choices(),
        columns,
        values: values.map(|values| values.lists(filter)),
        can_count: visit.only.is_none(),
        with_values: relative(&filter.along_with(VALUES, "on")),
        tail: format!("{BASE}/calls/tail{}", filter.leaving(VALUES)),
        reloading: relative(&filter.along_with(REFRESH, "10")),
        is_newest: filter.cursor == Cursor::Newest && filter.call.is_none(),
        twins: twins::of(&visit),
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
    columns: Columns,
    choices: Vec<(Column, bool)>,
    /// Values to choose from, each with how often it stands in the log.
    values: Option<Vec<ValueList>>,
    with_values: String,
    /// Whether who looks may see what everybody did.
    can_count: bool,
    /// Where new calls of the same filter are told as they end.
    tail: String,
    /// The same without a script: the page loads itself anew.
    reloading: String,
    is_newest: bool,
    twins: Vec<Twin>,
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

fn days(rows: &[CallRow], filter: &Filter, columns: Columns, watch: Watch<'_>) -> Vec<OneDay> {
    let mut days = Vec::<OneDay>::new();
    for row in rows {
        let local = row.at.in_zone(watch.zone);
        // The offset stands here for all of its rows, so a day on which it changes has two parts.
        let name = local.strftime("%A, %-d %B %Y, UTC%:z").to_string();
        let row = Row::new(row, filter, columns, watch);
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
