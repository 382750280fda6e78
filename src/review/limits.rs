//! Budgets and rates of one place, before and after.

use std::sync::Arc;

use crate::policy::{BudgetRule, ConcurrencyRule, Each, Pattern, RateRule};
use crate::types::Unit;

use super::change::{About, Change, Effect, Sign};

/// What is another about the budgets of one place. One with the same identity keeps its use when its limit changes.
pub(super) fn budgets(
    about: &About,
    before: &[Arc<BudgetRule>],
    after: &[Arc<BudgetRule>],
) -> Vec<Change> {
    let mut left: Vec<&BudgetRule> = after.iter().map(Arc::as_ref).collect();
    let mut rest = Vec::new();
    let mut changes = Vec::new();
    for old in before {
        match left.iter().position(|new| is_same(old, new)) {
            Some(at) => {
                let new = left.remove(at);
                // A pool is told once, not at everybody who draws on it.
                if *about == About::Everyone || !is_pool(new) {
                    changes.extend(amounts(about, old, new));
                }
            }
            None => rest.push(old.as_ref()),
        }
    }
    for old in rest {
        // Another window, split or unit in the same place is another budget that takes its place.
        match left.iter().position(|new| tools(old) == tools(new)) {
            Some(at) => {
                let new = left.remove(at);
                let change = Change::new(about.clone(), Sign::Changed, name(new));
                changes.push(change.detail(format!("{} -> {}", limit(old), limit(new))));
            }
            None => {
                let change = Change::new(about.clone(), Sign::Removed, name(old));
                changes.push(change.detail(limit(old)).effect(Effect::Loosened));
            }
        }
    }
    for new in left {
        let change = Change::new(about.clone(), Sign::Added, name(new));
        changes.push(change.detail(limit(new)).effect(Effect::Tightened));
    }
    changes
}

fn amounts(about: &About, old: &BudgetRule, new: &BudgetRule) -> Vec<Change> {
    let mut changes = Vec::new();
    let effect = Effect::of_amounts(&old.limit.amount, &new.limit.amount);
    if old.limit.amount != new.limit.amount {
        let change = Change::new(about.clone(), Sign::Changed, name(new));
        let change = change.detail(format!("{} -> {}", limit(old), limit(new)));
        changes.push(change.effect(effect));
    }
    if old.max_cost != new.max_cost {
        let most = |rule: &BudgetRule| match rule.max_cost {
            Some(most) => rule.limit.unit.number(most),
            None => "any".into(),
        };
        let all = |rule: &BudgetRule| rule.max_cost.unwrap_or(u64::MAX);
        let what = format!("most of one call in {}", name(new));
        let change = Change::new(about.clone(), Sign::Changed, what);
        let change = change.detail(format!("{} -> {}", most(old), most(new)));
        changes.push(change.effect(Effect::of_amounts(&all(old), &all(new))));
    }
    if old.refund != new.refund {
        let what = format!("what gives back in {}", name(new));
        changes.push(Change::new(about.clone(), Sign::Changed, what));
    }
    changes
}

/// Whether it is the same count, whatever its limit.
fn is_same(one: &BudgetRule, other: &BudgetRule) -> bool {
    one.limit.window == other.limit.window
        && one.limit.unit == other.limit.unit
        && one.each == other.each
        && tools(one) == tools(other)
        && (one.scope == other.scope || is_of_grant(one) && is_of_grant(other))
}

fn is_pool(rule: &BudgetRule) -> bool {
    rule.scope.starts_with("budgets.")
}

/// A grant whose tools are others is another place for its budgets, and still the same budget for people.
fn is_of_grant(rule: &BudgetRule) -> bool {
    rule.scope.starts_with("agents.") && rule.scope.contains('/')
}

fn tools(rule: &BudgetRule) -> Vec<&str> {
    let mut tools: Vec<&str> = rule.tools.iter().map(Pattern::as_str).collect();
    tools.sort_unstable();
    tools
}

/// `budget agents.clawd/images`.
fn name(rule: &BudgetRule) -> String {
    let tools = tools(rule);
    if tools.is_empty() {
        return format!("budget {}", rule.scope);
    }
    format!("budget {}[{}]", rule.scope, tools.join(","))
}

/// `2/day for each agent`.
fn limit(rule: &BudgetRule) -> String {
    let limit = match &rule.limit.unit {
        Unit::Argument(argument) => format!("{} of {argument}", rule.limit),
        Unit::Calls | Unit::Cost(_) => rule.limit.to_string(),
    };
    match rule.each {
        Each::Shared => limit,
        Each::Agent => format!("{limit} for each agent"),
        Each::Tool => format!("{limit} for each tool"),
        Each::AgentAndTool => format!("{limit} for each agent and tool"),
    }
}

/// What is another about the rate of one place.
pub(super) fn rate(
    about: &About,
    before: Option<&RateRule>,
    after: Option<&RateRule>,
) -> Option<Change> {
    let what = |rule: &RateRule| format!("rate {}", rule.place.path);
    let change = |sign, rule: &RateRule| Change::new(about.clone(), sign, what(rule));
    match (before, after) {
        (None, None) => None,
        (None, Some(new)) => {
            let change = change(Sign::Added, new).detail(new.rate.to_string());
            Some(change.effect(Effect::Tightened))
        }
        (Some(old), None) => {
            let change = change(Sign::Removed, old).detail(old.rate.to_string());
            Some(change.effect(Effect::Loosened))
        }
        (Some(old), Some(new)) if old.rate == new.rate => None,
        (Some(old), Some(new)) => {
            let speed = |rule: &RateRule| {
                f64::from(rule.rate.count.get()) / rule.rate.period.length().as_secs_f64()
            };
            let change = change(Sign::Changed, new).detail(format!("{} -> {}", old.rate, new.rate));
            Some(change.effect(Effect::of_amounts(&speed(old), &speed(new))))
        }
    }
}

/// What is another about how many calls are in flight at once.
pub(super) fn concurrency(
    about: &About,
    whose: &str,
    [before, after]: [Option<&ConcurrencyRule>; 2],
) -> Option<Change> {
    let most = |rule: Option<&ConcurrencyRule>| rule.map_or(u32::MAX, |rule| rule.most.get());
    let word = |rule: Option<&ConcurrencyRule>| match rule {
        Some(rule) => rule.most.to_string(),
        None => "any number".into(),
    };
    let (old, new) = (most(before), most(after));
    let change = Change::new(
        about.clone(),
        Sign::Changed,
        format!("calls of {whose} at once"),
    );
    let change = change.detail(format!("{} -> {}", word(before), word(after)));
    (old != new).then(|| change.effect(Effect::of_amounts(&old, &new)))
}
