//! The budgets that count an agent's calls, with what is left of each.

use crate::budget::CountAt;
use crate::dashboard::figures::{When, until};
use crate::dashboard::visit::Visit;
use crate::policy::{Agent, Drawn, budgets_of};
use crate::types::{KeyParts, Unit, shown};

/// One count of a budget.
#[derive(Debug)]
pub(super) struct Limited {
    /// What it counts: `images / imagine`.
    pub(super) what: String,
    /// `40/day`.
    pub(super) limit: String,
    /// Who takes from it beside this agent.
    pub(super) is_shared: bool,
    pub(super) used: String,
    pub(super) held: Option<String>,
    pub(super) left: String,
    pub(super) is_spent: bool,
    pub(super) is_frozen: bool,
    /// Of a bar 100 units wide.
    pub(super) used_width: u64,
    pub(super) held_width: u64,
    /// Whether anything was taken in a window that still runs.
    pub(super) is_running: bool,
    pub(super) resets: Option<When>,
    pub(super) resets_in: String,
    pub(super) path: String,
    pub(super) line: u32,
}

/// All budgets that the rules count an agent's calls in; one that counts each tool for itself once for each tool it has
/// counted.
pub(super) fn limited(visit: &Visit, agent: &Agent, counts: &[CountAt]) -> Vec<Limited> {
    let budgets = budgets_of(&visit.permissions, agent, visit.now);
    let mut limited = Vec::new();
    for drawn in &budgets {
        let key = drawn.charge.key.as_str();
        let is_meant = |count: &&CountAt| {
            let found = count.key.as_str();
            found == key || drawn.is_by_tool() && found.starts_with(key)
        };
        let found: Vec<&CountAt> = counts.iter().filter(is_meant).collect();
        if found.is_empty() {
            limited.push(row(visit, drawn, None));
        }
        limited.extend(
            found
                .into_iter()
                .map(|count| row(visit, drawn, Some(count))),
        );
    }
    limited
}

fn row(visit: &Visit, drawn: &Drawn, count: Option<&CountAt>) -> Limited {
    let limit = &drawn.charge.limit;
    let number = |amount: u64| limit.unit.number(amount);
    let (used, held) = count.map_or((0, 0), |count| (count.used, count.held));
    let left = match count {
        Some(count) if count.is_frozen => 0,
        _ => limit.amount.saturating_sub(used).saturating_sub(held),
    };
    let share = |amount: u64| {
        let share = amount.saturating_mul(100).checked_div(limit.amount.max(1));
        share.unwrap_or(0).min(100)
    };
    let (used_width, both) = (share(used), share(used.saturating_add(held)));
    let ends = count
        .map(|count| count.span)
        .filter(|span| !span.never_ends());
    Limited {
        what: what(drawn, count),
        limit: limit.to_string(),
        is_shared: drawn.is_shared,
        used: number(used),
        held: (held > 0).then(|| number(held)),
        left: match &limit.unit {
            Unit::Calls => number(left),
            Unit::Argument(word) | Unit::Cost(word) => {
                format!("{} {}", number(left), shown::name(word))
            }
        },
        is_spent: left == 0,
        is_frozen: count.is_some_and(|count| count.is_frozen),
        used_width,
        held_width: both.saturating_sub(used_width),
        is_running: count.is_some(),
        resets: ends.map(|span| visit.watch().tell_minutes(span.ends)),
        resets_in: ends
            .map(|span| until(visit.now, span.ends))
            .unwrap_or_default(),
        path: shown::name(&drawn.charge.place.path).to_string(),
        line: drawn.charge.place.line,
    }
}

/// What it counts, in words.
fn what(drawn: &Drawn, count: Option<&CountAt>) -> String {
    let key = count.map_or(drawn.charge.key.as_str(), |count| count.key.as_str());
    let parts = KeyParts::of(key);
    let server = match parts.family.split_once('.') {
        Some(("servers", server)) => Some(server),
        Some((_, whose)) => whose.split_once('/').map(|(_, server)| server),
        None => None,
    };
    let server = server.filter(|server| *server != "*");
    let server = server.map(|server| shown::name(server).to_string());
    let tools = match parts.tool {
        Some(tool) => shown::name(tool).to_string(),
        None => {
            let tools = drawn
                .tools
                .iter()
                .map(|tool| shown::name(tool.as_str()).to_string());
            tools.collect::<Vec<_>>().join(", ")
        }
    };
    let each = if drawn.is_by_tool() && count.is_none() {
        "each tool"
    } else {
        "any tool"
    };
    let tools = if tools.is_empty() { each } else { &tools };
    match server {
        Some(server) => format!("{server} / {tools}"),
        None => format!("any server / {tools}"),
    }
}
