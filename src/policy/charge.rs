//! Which budgets a call draws on, and the identity of each count.

use crate::types::{BudgetKey, Limit, Window, Zone};

use super::{
    Agent, BudgetRule, Each, GrantRule, Pattern, Permissions, Place, Question, ServerRule, Target,
};

/// One budget that a call must fit into, already split by `each`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which count.
    pub key: BudgetKey,
    /// How much per window.
    pub limit: Limit,
    /// How much this call takes, in calls.
    pub amount: u64,
    /// The rule that asks for it.
    pub place: Place,
}

/// Every budget that counts this call, each once. Only calls of tools cost anything.
pub(super) fn charges(
    permissions: &Permissions,
    question: &Question<'_>,
    server: &ServerRule,
    rule: &GrantRule,
) -> Vec<Charge> {
    let Target::Tool(tool) = question.target else {
        return Vec::new();
    };
    let agent = question.agent;
    let budgets = rule
        .budgets
        .iter()
        .chain(&agent.budgets)
        .chain(&server.budgets);
    let mut charges: Vec<Charge> = Vec::new();
    for budget in budgets.filter(|budget| counts(budget, tool)) {
        let charge = charge(permissions, budget, agent, tool);
        // A pool that several of the rules name is drawn on once.
        if !charges.contains(&charge) {
            charges.push(charge);
        }
    }
    charges
}

fn counts(budget: &BudgetRule, tool: &str) -> bool {
    budget.tools.is_empty() || budget.tools.iter().any(|pattern| pattern.matches(tool))
}

pub(super) fn charge(
    permissions: &Permissions,
    budget: &BudgetRule,
    agent: &Agent,
    tool: &str,
) -> Charge {
    Charge {
        key: key(permissions, budget, agent, tool),
        limit: budget.limit,
        amount: 1,
        place: budget.place.clone(),
    }
}

/// The identity of one count: `agents.clawd/images[imagine] calls/day@Europe/Berlin each tool=imagine`.
///
/// The name of the tool comes from the agent, so it stands last, where it can imitate nothing.
fn key(permissions: &Permissions, budget: &BudgetRule, agent: &Agent, tool: &str) -> BudgetKey {
    let mut key = String::with_capacity(128);
    key.push_str(&budget.scope);
    push_tools(&mut key, &budget.tools);
    push_window(&mut key, budget.limit.window, permissions.zone());
    let (by_agent, by_tool) = match budget.each {
        Each::Shared => (false, false),
        Each::Agent => (true, false),
        Each::Tool => (false, true),
        Each::AgentAndTool => (true, true),
    };
    if by_agent || by_tool {
        key.push_str(" each");
    }
    if by_agent {
        key.push_str(" agent=");
        key.push_str(agent.name.as_str());
    }
    if by_tool {
        key.push_str(" tool=");
        key.push_str(tool);
    }
    BudgetKey::new(&key)
}

/// Adds what is counted and when it begins anew; only the calendar depends on the zone.
fn push_window(key: &mut String, window: Window, zone: &Zone) {
    key.push_str(" calls/");
    key.push_str(&window.to_string());
    match window {
        Window::Calendar(..) => {
            key.push('@');
            key.push_str(zone.name());
        }
        Window::Rolling(_) | Window::Total => {}
    }
}

/// Adds the tools a budget counts, sorted, so that their order in the file changes nothing.
fn push_tools(key: &mut String, tools: &[Pattern]) {
    if tools.is_empty() {
        return;
    }
    let mut texts: Vec<&str> = tools.iter().map(Pattern::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    key.push('[');
    key.push_str(&texts.join(","));
    key.push(']');
}
