//! Which budgets a call draws on, how much it takes from each, and the identity of each count.

use std::sync::Arc;

use crate::types::{BudgetKey, Limit, Unit, Window, Zone};

use super::weigh::weight;
use super::{
    Agent, BudgetRule, Cost, Each, GrantRule, Pattern, Permissions, Place, Question, Refund,
    ServerRule, Target,
};

/// One budget that a call must fit into, already split by `each`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Which count.
    pub key: BudgetKey,
    /// How much per window.
    pub limit: Limit,
    /// How much this call takes, in the unit of the limit; where the server reports it, the most it can be.
    pub amount: u64,
    /// Where in its result the server reports what the call cost (JSON Pointer, RFC 6901); otherwise it is `amount`.
    pub reported: Option<Arc<str>>,
    /// What gives it back.
    pub refund: Refund,
    /// The rule that asks for it.
    pub place: Place,
}

/// Why nobody can say what a call costs. It is refused then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpriced {
    /// The budget that counts it.
    pub place: Place,
    /// What is wrong, for whoever made the call.
    pub why: String,
}

/// Every budget that counts this call, each once. Only calls of tools cost anything.
///
/// # Errors
/// When one of them cannot tell how much this call takes.
pub(super) fn charges(
    permissions: &Permissions,
    question: &Question<'_>,
    server: &ServerRule,
    rules: &[&GrantRule],
) -> Result<Vec<Charge>, Unpriced> {
    let Target::Tool(tool) = question.target else {
        return Ok(Vec::new());
    };
    let agent = question.agent;
    let budgets = rules
        .iter()
        .flat_map(|rule| &rule.budgets)
        .chain(&agent.budgets)
        .chain(&server.budgets);
    let mut charges: Vec<Charge> = Vec::new();
    for budget in budgets.filter(|budget| counts(budget, tool)) {
        let Some(price) = price(budget, question, server, tool)? else {
            continue;
        };
        let charge = Charge {
            key: key(permissions, budget, agent, tool),
            limit: budget.limit.clone(),
            amount: price.amount,
            reported: price.reported,
            refund: budget.refund,
            place: budget.place.clone(),
        };
        // A pool that several of the rules name is drawn on once.
        if !charges.contains(&charge) {
            charges.push(charge);
        }
    }
    Ok(charges)
}

fn counts(budget: &BudgetRule, tool: &str) -> bool {
    budget.tools.is_empty() || budget.tools.iter().any(|pattern| pattern.matches(tool))
}

struct Price {
    amount: u64,
    reported: Option<Arc<str>>,
}

/// What a call takes from one budget; `None` when it takes nothing.
fn price(
    budget: &BudgetRule,
    question: &Question<'_>,
    server: &ServerRule,
    tool: &str,
) -> Result<Option<Price>, Unpriced> {
    let unpriced = |why: String| Unpriced {
        place: budget.place.clone(),
        why,
    };
    let price = match &budget.limit.unit {
        Unit::Calls => fixed(1),
        Unit::Argument(name) => match question.arguments {
            Some(arguments) => fixed(weight(arguments, name).map_err(unpriced)?),
            // Nobody calls: whatever a call will take is not known yet.
            None => return Ok(None),
        },
        unit @ Unit::Cost(_) => {
            let costs = server.costs.as_ref().filter(|costs| costs.unit == *unit);
            // What costs nothing in this unit is not counted in it.
            let Some(costs) = costs else {
                return Ok(None);
            };
            match costs.of(tool) {
                Some(Cost::Fixed(0)) => return Ok(None),
                Some(Cost::Fixed(amount)) => fixed(*amount),
                Some(Cost::Reported { pointer, most }) => Price {
                    amount: *most,
                    reported: Some(Arc::clone(pointer)),
                },
                None => {
                    let why = format!("nobody says what `{tool}` costs in {}", unit.word());
                    return Err(unpriced(why));
                }
            }
        }
    };
    match budget.max_cost {
        Some(most) if price.amount > most => {
            let unit = &budget.limit.unit;
            let (asked, most) = (unit.number(price.amount), unit.number(most));
            let why = format!(
                "it asks for {asked} {}, and one call may take {most}",
                unit.word()
            );
            Err(unpriced(why))
        }
        Some(_) | None => Ok(Some(price)),
    }
}

fn fixed(amount: u64) -> Price {
    Price {
        amount,
        reported: None,
    }
}

/// The identity of one count: `agents.clawd/images[imagine] calls/day@Europe/Berlin each tool=imagine`.
///
/// The name of the tool comes from the agent, so it stands last, where it can imitate nothing.
pub(super) fn key(
    permissions: &Permissions,
    budget: &BudgetRule,
    agent: &Agent,
    tool: &str,
) -> BudgetKey {
    let mut key = String::with_capacity(128);
    key.push_str(&budget.scope);
    push_tools(&mut key, &budget.tools);
    key.push(' ');
    key.push_str(&budget.limit.unit.to_string());
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

/// Adds when the count begins anew; only the calendar depends on the zone.
fn push_window(key: &mut String, window: Window, zone: &Zone) {
    key.push('/');
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
