//! What is left? Every budget in the window that runs now, and those of the rules that nobody used yet.

use std::cmp::Reverse;

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::filter::{Filter, Key, Period};
use crate::audit::read::Cursor;
use crate::budget::{OpenWindow, open_windows, span};
use crate::policy::Permissions;
use crate::types::{AgentName, BudgetKey, shown};

use super::BASE;
use super::budget_row::{BudgetRow, Pace, about, calls_at, calls_of, pace};
use super::counters::{Counter, Counters};
use super::failure::{Failure, html};
use super::figures::{Watch, count};
use super::filters::{Filters, Offer};
use super::frame::{Frame, Link};
use super::label::label;
use super::twins::{self, Datum, Table, Twin};
use super::visit::{Visit, reading};

/// Windows that are read, and rows that are shown, at most.
const WINDOWS: i64 = 10_000;
const ROWS: usize = 100;

/// Agents that a row names; the rest is counted.
const NAMED: usize = 3;

/// What this page goes by.
const OFFER: Offer = Offer {
    keys: &[Key::Agent, Key::Server],
    ranges: &[],
    default: Period::Ever,
};

/// One budget before it is told.
#[derive(Debug)]
struct Line {
    window: OpenWindow,
    /// Whether anything was ever taken of it in this window.
    is_used: bool,
    /// Whose calls it counts by the rules in force; `None` when these know it no more.
    agents: Option<Vec<AgentName>>,
    /// Whether each tool is counted apart, and none was yet.
    is_by_tool: bool,
    pace: Option<Pace>,
}

/// `GET /budgets`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let lines = lines(&visit).await?;
    let watch = visit.watch();
    let mut filters = Filters::new(&visit, OFFER);
    // What is left now is the same whatever time is asked for.
    for chip in filters.chips.iter_mut().filter(|chip| chip.key == "time") {
        chip.is_used = false;
    }
    let base = visit.filter.at(Cursor::Newest);
    Ok(html(&Budgets {
        frame: visit.frame("budgets"),
        filters,
        summary: summary(&lines),
        has_forecasts: lines.iter().any(|line| line.pace.is_some()),
        is_filtered: !visit.filter.picks.is_empty(),
        more: count_of(lines.len().saturating_sub(ROWS)),
        rows: lines
            .iter()
            .take(ROWS)
            .map(|line| row(line, &base, watch))
            .collect(),
        twins: twins::of(&visit),
    }))
}

/// The same for programs. Amounts are whole numbers; `per_unit` of them make one unit.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let lines = lines(&visit).await?;
        Ok(Table {
            columns: &[
                "id",
                "budget",
                "unit",
                "per_unit",
                "limit",
                "used",
                "held",
                "overrun",
                "frozen",
                "window_starts_at",
                "window_ends_at",
                "gone_at",
                "agents",
            ],
            rows: lines.iter().map(data).collect(),
        })
    }
    .boxed()
}

/// All of them, the driest first.
async fn lines(visit: &Visit) -> Result<Vec<Line>, Failure> {
    let now = visit.now;
    let windows = reading(visit, async |db| Ok(open_windows(db, now, WINDOWS).await?)).await?;
    let counters = Counters::new(&visit.permissions, now);
    let unused: Vec<Line> = counters
        .unused(windows.iter().map(|window| &window.key))
        .map(|counter| unused(counter, &visit.permissions, visit))
        .collect();
    let used = windows.into_iter().map(|window| Line {
        agents: counters
            .get(&window.key)
            .map(|counter| counter.agents.clone()),
        pace: pace(&window, now),
        is_used: true,
        is_by_tool: false,
        window,
    });
    let mut lines: Vec<Line> = used.chain(unused).collect();
    lines.retain(|line| is_meant(line, &visit.filter));
    // Sorting keeps the order of those that are alike: the reading has put the driest first.
    lines.sort_by_key(|line| Reverse(line.window.is_frozen));
    Ok(lines)
}

fn unused(counter: &Counter, permissions: &Permissions, visit: &Visit) -> Line {
    let charge = &counter.drawn.charge;
    let limit = &charge.limit;
    // Without a tool, the key of one that counts each tool apart says what all have in common.
    let key = charge.key.as_str();
    let key = key.strip_suffix(" tool=").unwrap_or(key);
    Line {
        window: OpenWindow {
            id: 0,
            key: BudgetKey::new(key),
            limit: i64::try_from(limit.amount).unwrap_or(i64::MAX),
            used: 0,
            held: 0,
            overrun: 0,
            is_frozen: false,
            span: span(limit.window, limit.amount, permissions.zone(), visit.now),
        },
        is_used: false,
        agents: Some(counter.agents.clone()),
        is_by_tool: counter.drawn.is_by_tool(),
        pace: None,
    }
}

/// Whether a budget fits the conditions about agents and servers.
fn is_meant(line: &Line, filter: &Filter) -> bool {
    let label = label(line.window.key.as_str());
    let counts_agent = |name: &str| {
        let agents = line.agents.iter().flatten();
        label.agent.as_deref() == Some(name)
            || (label.agent.is_none() && agents.into_iter().any(|agent| agent.as_str() == name))
    };
    let fits = |key: Key, is: &dyn Fn(&str) -> bool| {
        let picks = || filter.picks.iter().filter(|pick| pick.key == key);
        let only: Vec<_> = picks().filter(|pick| !pick.not).collect();
        let kept = only.is_empty() || only.iter().any(|pick| is(&pick.value));
        kept && !picks().any(|pick| pick.not && is(&pick.value))
    };
    let is_server = |name: &str| label.server.as_deref() == Some(name);
    fits(Key::Agent, &counts_agent) && fits(Key::Server, &is_server)
}

#[derive(Debug, Template)]
#[template(path = "budgets.html", whitespace = "minimize")]
struct Budgets {
    frame: Frame,
    filters: Filters,
    summary: String,
    has_forecasts: bool,
    is_filtered: bool,
    /// How many more there are.
    more: Option<String>,
    rows: Vec<Row>,
    twins: Vec<Twin>,
}

#[derive(Debug)]
struct Row {
    budget: BudgetRow,
    is_used: bool,
    is_by_tool: bool,
    is_in_rules: bool,
    /// Whether it is gone before it begins anew, and the sentence about it.
    forecast: Option<(bool, String)>,
    agents: Vec<Link>,
    more_agents: usize,
}

fn row(line: &Line, base: &Filter, watch: Watch<'_>) -> Row {
    let mut budget = BudgetRow::new(&line.window, base, watch);
    if !line.is_used {
        let calls = calls_of(&budget.label, line.window.span, base);
        budget.what.href = calls_at(&calls);
    }
    let agents = line.agents.iter().flatten();
    Row {
        forecast: line.pace.map(|pace| forecast(pace, &budget, watch)),
        is_used: line.is_used,
        is_by_tool: line.is_by_tool,
        is_in_rules: line.agents.is_some(),
        more_agents: line
            .agents
            .as_ref()
            .map_or(0, |agents| agents.len().saturating_sub(NAMED)),
        agents: agents
            .take(NAMED)
            .map(|agent| Link {
                href: calls_at(&base.time_only().with(Key::Agent, agent.as_str())),
                text: shown::name(agent.as_str()).to_string(),
            })
            .collect(),
        budget,
    }
}

/// How long it lasts, in words.
pub(super) fn forecast(pace: Pace, budget: &BudgetRow, watch: Watch<'_>) -> (bool, String) {
    match pace {
        Pace::Gone(at) => {
            let when = watch.tell_minutes(at);
            let when = format!("{} {}", when.day, when.time);
            (true, format!("gone at {}", when.trim()))
        }
        Pace::Lasts(used) => {
            let used = about(&budget.label.unit, used);
            (false, format!("lasts: about {used} used"))
        }
    }
}

fn data(line: &Line) -> Vec<Datum> {
    let (window, label) = (&line.window, label(line.window.key.as_str()));
    let agents = line.agents.as_ref().map(|agents| {
        let names: Vec<_> = agents.iter().map(|agent| agent.as_str()).collect();
        names.join(" ")
    });
    let ends = (!window.span.never_ends()).then_some(window.span.ends);
    let gone = line.pace.and_then(|pace| match pace {
        Pace::Gone(at) => Some(at),
        Pace::Lasts(_) => None,
    });
    vec![
        if line.is_used {
            Datum::Number(window.id)
        } else {
            Datum::Empty
        },
        Datum::text(window.key.as_str()),
        Datum::text(label.unit.word()),
        Datum::Number(match label.unit {
            crate::types::Unit::Cost(_) => 1_000_000,
            crate::types::Unit::Calls | crate::types::Unit::Argument(_) => 1,
        }),
        Datum::Number(window.limit),
        Datum::Number(window.used),
        Datum::Number(window.held),
        Datum::Number(window.overrun),
        Datum::Flag(window.is_frozen),
        Datum::Time(window.span.starts),
        Datum::some_time(ends),
        Datum::some_time(gone),
        Datum::some_text(agents.as_deref()),
    ]
}

fn count_of(number: usize) -> Option<String> {
    let number = i64::try_from(number).ok().filter(|number| *number > 0)?;
    Some(count(number))
}

fn summary(lines: &[Line]) -> String {
    let of = |is: &dyn Fn(&Line) -> bool| lines.iter().filter(|line| is(line)).count();
    let taken = |line: &Line| line.window.used.saturating_add(line.window.held);
    let frozen = of(&|line| line.window.is_frozen);
    let spent = of(&|line| !line.window.is_frozen && taken(line) >= line.window.limit);
    let soon = of(&|line| matches!(line.pace, Some(Pace::Gone(_))));
    let unused = of(&|line| !line.is_used);
    let all = match lines.len() {
        0 => return "Nothing limits how often anything may be called.".into(),
        1 => "1 budget counts now".to_owned(),
        many => format!(
            "{} budgets count now",
            count(many.try_into().unwrap_or(i64::MAX))
        ),
    };
    let parts = [
        (frozen, "frozen"),
        (spent, "used up"),
        (
            soon,
            "will be used up at this pace before counting begins anew",
        ),
        (unused, "not touched"),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if parts.is_empty() {
        format!("{all}, and all of them have something left.")
    } else {
        format!("{all}: {}.", parts.join(", "))
    }
}

/// Where the page of a budget is.
pub(super) fn at(filter: &Filter) -> String {
    format!("{BASE}/budgets{filter}")
}
