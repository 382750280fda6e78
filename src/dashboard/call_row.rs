//! One row of the list of calls, and which columns it has.

use askama::Template;

use crate::audit::filter::{Filter, Key};
use crate::audit::read::{CallRow, CallState};
use crate::types::{KeyParts, Unit, shown};

use super::figures::{Watch, When, size, span};
use super::filter::{COLUMNS, USUAL};
use super::filters::called;
use super::frame::Link;

/// A column that can be left out; time, call and outcome are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Agent,
    What,
    Took,
    In,
    Out,
    Cost,
    Client,
    Rule,
}

impl Column {
    const ALL: [Self; 8] = [
        Self::Agent,
        Self::What,
        Self::Took,
        Self::In,
        Self::Out,
        Self::Cost,
        Self::Client,
        Self::Rule,
    ];

    /// The word in the address.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::What => "what",
            Self::Took => "took",
            Self::In => "in",
            Self::Out => "out",
            Self::Cost => "cost",
            Self::Client => "client",
            Self::Rule => "rule",
        }
    }

    /// The head of the column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::What => "Server and tool",
            Self::Took => "Took",
            Self::In => "In",
            Self::Out => "Out",
            Self::Cost => "Cost",
            Self::Client => "Client",
            Self::Rule => "Rule",
        }
    }
}

/// Which columns a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns([bool; 8]);

impl Columns {
    /// Those that the address names; all but the rule when it names none.
    pub(super) fn of(filter: &Filter) -> Self {
        let named = filter.along.get(COLUMNS).map_or(USUAL, String::as_str);
        let named: Vec<_> = named.split(',').collect();
        Self(Column::ALL.map(|column| named.contains(&column.word())))
    }

    /// Whether a column is there.
    pub(super) fn has(self, word: &str) -> bool {
        let mut all = Column::ALL.into_iter().zip(self.0);
        all.any(|(column, is_there)| is_there && column.word() == word)
    }

    /// All columns, and whether each is there.
    pub(super) fn choices(self) -> Vec<(Column, bool)> {
        Column::ALL.into_iter().zip(self.0).collect()
    }

    /// How many cells a row has.
    pub(super) fn cells(self) -> usize {
        self.0.iter().filter(|is_there| **is_there).count() + 3
    }
}

/// A call as a row.
#[derive(Debug, Template)]
#[template(path = "call_row.html", whitespace = "minimize")]
pub(super) struct Row {
    columns: Columns,
    id: String,
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
    cost: String,
    client: String,
    call: Option<Link>,
}

impl Row {
    pub(super) fn new(row: &CallRow, filter: &Filter, columns: Columns, watch: Watch<'_>) -> Self {
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
            href: format!("calls/{call}{}", filter.at(Default::default())),
            // The end of a time-ordered id is what differs between neighbours.
            text: call.to_string().chars().skip(28).collect(),
        });
        Self {
            columns,
            id: row.call.map(|call| call.to_string()).unwrap_or_default(),
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
            cost: cost(row),
            client: opening
                .client
                .as_deref()
                .map(|name| shown::name(name).to_string())
                .unwrap_or_default(),
            call,
        }
    }
}

/// An address from the page of calls; a hundred rows of links are shorter so.
pub(super) fn relative(filter: &Filter) -> String {
    let query = filter.to_string();
    if query.is_empty() {
        "calls".into()
    } else {
        query
    }
}

/// What a call cost, the most of its budgets in each unit: several may count the same money, which was paid once.
pub(super) fn costs(row: &CallRow) -> Vec<(Unit, u64)> {
    let mut costs = Vec::<(Unit, u64)>::new();
    let charged = row.closing.iter().flat_map(|closing| &closing.costs);
    for cost in charged.filter(|cost| cost.charged > 0) {
        let unit = Unit::of_key(KeyParts::of(&cost.key).unit);
        match costs.iter_mut().find(|(known, _)| *known == unit) {
            Some((_, most)) => *most = cost.charged.max(*most),
            None => costs.push((unit, cost.charged)),
        }
    }
    costs
}

fn cost(row: &CallRow) -> String {
    let costs = costs(row);
    let told = costs.iter().map(|(unit, amount)| match unit {
        Unit::Calls if *amount == 1 => "1 call".into(),
        unit @ (Unit::Calls | Unit::Argument(_) | Unit::Cost(_)) => {
            format!("{} {}", unit.number(*amount), shown::name(unit.word()))
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What was asked for, in short: `images / imagine`, `notes / resources/read notes://today`.
pub(super) fn target(row: &CallRow) -> String {
    let opening = &row.opening;
    let tool = opening.tool.as_deref();
    let tool = tool.map(|tool| shown::name(tool).to_string());
    let what = tool.or_else(|| method(row));
    let what = what.unwrap_or_else(|| "the gateway".into());
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
