//! What an agent may do, grant by grant, and which grants it used.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::audit::read::{Span, ToolDay};
use crate::dashboard::visit::Visit;
use crate::dashboard::who;
use crate::policy::{Agent, GrantRule, Pattern, deciding};
use crate::types::{ServerName, Timestamp, shown};

use super::days::of_utc;

/// The width of the strip of days, in its own units.
const STRIP: i64 = 120;

/// One grant.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) server: String,
    /// Patterns of tools.
    pub(super) tools: Vec<String>,
    /// Whether it grants prompts and resources as well.
    pub(super) is_whole: bool,
    pub(super) conditions: Vec<String>,
    /// Budgets and rates.
    pub(super) limits: Vec<String>,
    pub(super) until: Option<String>,
    pub(super) has_ended: bool,
    pub(super) from_role: bool,
    /// The rule path and the line.
    pub(super) path: String,
    pub(super) line: u32,
    /// Calls that it let through in the time of the page.
    pub(super) calls: i64,
    pub(super) calls_text: String,
    /// The last day of UTC it did, of that time.
    pub(super) last: String,
    /// Where on the strip the days are on which it did, and how wide a day is.
    pub(super) dots: Vec<i64>,
    pub(super) dot_width: i64,
}

/// One rule that forbids something whatever is granted.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) whose: &'static str,
    pub(super) path: String,
    pub(super) line: u32,
}

/// The grants of an agent in the order of the rules, and what each let through.
pub(super) fn granted(visit: &Visit, agent: &Agent, days: &[ToolDay], span: Span) -> Vec<Granted> {
    let called = days
        .iter()
        .map(|day| (&*day.server, &*day.tool, day.counts.admitted));
    let uses = who::grant_uses(agent, called, visit.now);
    let used_on = used_on(agent, days, visit.now);
    let nothing = BTreeSet::new();
    let grants = agent.grants.iter().map(|grant| {
        let days = used_on.get(&grant.place.path).unwrap_or(&nothing);
        let calls = uses.get(&grant.place.path).copied().unwrap_or(0);
        one(visit, grant, calls, days, span)
    });
    grants.collect()
}

/// The days of UTC on which each grant let something through, by its path.
fn used_on(
    agent: &Agent,
    days: &[ToolDay],
    now: Timestamp,
) -> HashMap<Arc<str>, BTreeSet<Timestamp>> {
    let mut deciders: HashMap<(&str, &str), Vec<&GrantRule>> = HashMap::new();
    let mut used: HashMap<Arc<str>, BTreeSet<Timestamp>> = HashMap::new();
    for day in days.iter().filter(|day| day.counts.admitted > 0) {
        let (server, tool) = (day.server.as_str(), day.tool.as_str());
        let grants = deciders.entry((server, tool)).or_insert_with(|| {
            let server = server.parse::<ServerName>().ok();
            server
                .map(|server| deciding(agent, &server, tool, now))
                .unwrap_or_default()
        });
        for grant in grants {
            used.entry(Arc::clone(&grant.place.path))
                .or_default()
                .insert(day.day);
        }
    }
    used
}

fn one(
    visit: &Visit,
    grant: &GrantRule,
    calls: i64,
    days: &BTreeSet<Timestamp>,
    span: Span,
) -> Granted {
    let watch = visit.watch();
    let budgets = grant.budgets.iter().map(|budget| budget.limit.to_string());
    let rate = grant
        .rate
        .iter()
        .map(|rate| format!("at most {}", rate.rate));
    let tools = grant.tools.as_deref().unwrap_or_default();
    let conditions = grant
        .when
        .iter()
        .map(|it| shown::sentence(&it.to_string()).to_string());
    let (dots, dot_width) = dots(days, span);
    Granted {
        server: pattern(&grant.server),
        tools: tools.iter().map(pattern).collect(),
        is_whole: grant.tools.is_none(),
        conditions: conditions.collect(),
        limits: budgets.chain(rate).collect(),
        until: grant.expires.map(|end| watch.tell_minutes(end).line()),
        has_ended: grant.expires.is_some_and(|end| end <= visit.now),
        from_role: grant.from_role,
        path: shown::name(&grant.place.path).to_string(),
        line: grant.place.line,
        calls,
        calls_text: crate::dashboard::figures::count(calls),
        last: days.last().map(|day| of_utc(*day)).unwrap_or_default(),
        dots,
        dot_width,
    }
}

/// Days on a strip that is as long as a span.
fn dots(days: &BTreeSet<Timestamp>, span: Span) -> (Vec<i64>, i64) {
    const DAY_US: i64 = 86_400_000_000;
    let first = span.from().micros().div_euclid(DAY_US);
    let last = span.to().micros().div_euclid(DAY_US);
    let all = last.saturating_sub(first).saturating_add(1).max(1);
    let place = |day: &Timestamp| {
        let day = day.micros().div_euclid(DAY_US).saturating_sub(first);
        day.saturating_mul(STRIP).checked_div(all).unwrap_or(0)
    };
    (days.iter().map(place).collect(), (STRIP / all).max(2))
}

fn pattern(pattern: &Pattern) -> String {
    shown::name(pattern.as_str()).to_string()
}

/// What is forbidden to an agent, to everybody first.
pub(super) fn denied(visit: &Visit, agent: &Agent) -> Vec<Denied> {
    let everybody = visit
        .permissions
        .deny()
        .iter()
        .map(|rule| (rule, "everybody"));
    let own = agent.deny.iter().map(|rule| (rule, "this agent"));
    let rules = everybody.chain(own).map(|(rule, whose)| Denied {
        server: pattern(&rule.server),
        tool: pattern(&rule.tool),
        whose,
        path: shown::name(&rule.place.path).to_string(),
        line: rule.place.line,
    });
    rules.collect()
}
