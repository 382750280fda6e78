//! What an agent can reach and what counts it, as far as the rules tell without a call. Pure.

use std::collections::HashSet;

use crate::types::{Timestamp, Unit};

use super::charge::{Charge, key};
use super::permissions::is_live;
use super::{Agent, BudgetRule, Each, GrantRule, Pattern, Permissions, ServerRule, may_see_server};

/// One server that an agent has a live grant on.
#[derive(Debug)]
pub struct Reached<'a> {
    /// The server.
    pub server: &'a ServerRule,
    /// The live grants that name it, in the order of the file.
    pub grants: Vec<&'a GrantRule>,
    /// What is forbidden there all the same, to everybody or to this agent.
    pub denied: Vec<&'a Pattern>,
}

/// One budget that can count an agent's calls.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The count. Of a budget that counts each tool for itself, the key is what all its keys begin with, and the
    /// name of the tool follows.
    pub charge: Charge,
    /// The tools it counts; empty for all.
    pub tools: Vec<Pattern>,
    /// How it is split.
    pub each: Each,
    /// Whether calls of other agents count, too.
    pub is_shared: bool,
}

impl Drawn {
    /// Whether it counts each tool for itself.
    pub fn is_by_tool(&self) -> bool {
        match self.each {
            Each::Tool | Each::AgentAndTool => true,
            Each::Shared | Each::Agent => false,
        }
    }
}

/// The servers that an agent can reach, by name.
pub fn reach<'a>(
    permissions: &'a Permissions,
    agent: &'a Agent,
    at: Timestamp,
) -> Vec<Reached<'a>> {
    let servers = permissions.servers().iter();
    let reached = servers.filter(|(name, _)| may_see_server(permissions, agent, name, at));
    reached
        .map(|(name, server)| {
            let grants = agent.grants.iter().filter(|grant| {
                let is_empty = grant.tools.as_ref().is_some_and(Vec::is_empty);
                !is_empty && is_live(grant.expires, at) && grant.server.matches(name.as_str())
            });
            let denials = permissions.deny().iter().chain(&agent.deny);
            let denied = denials.filter(|rule| rule.server.matches(name.as_str()));
            Reached {
                server,
                grants: grants.collect(),
                denied: denied.map(|rule| &rule.tool).collect(),
            }
        })
        .collect()
}

/// Every budget that can count a call of an agent, each once.
pub fn budgets_of(permissions: &Permissions, agent: &Agent, at: Timestamp) -> Vec<Drawn> {
    let mut seen = HashSet::new();
    let mut drawn = Vec::new();
    for reached in reach(permissions, agent, at) {
        let of_grants = reached.grants.iter().flat_map(|grant| &grant.budgets);
        let all = of_grants
            .chain(&agent.budgets)
            .chain(&reached.server.budgets);
        for budget in all {
            // The name of a tool stands last in a key, so without one it is how the key begins.
            let key = key(permissions, budget, agent, "");
            if !has_price(budget, reached.server) || !seen.insert(key.clone()) {
                continue;
            }
            let charge = Charge {
                key,
                limit: budget.limit.clone(),
                amount: 0,
                reported: None,
                refund: budget.refund,
                place: budget.place.clone(),
            };
            let is_of_agent = match budget.each {
                Each::Agent | Each::AgentAndTool => true,
                Each::Shared | Each::Tool => budget.scope.starts_with("agents."),
            };
            drawn.push(Drawn {
                charge,
                tools: budget.tools.clone(),
                each: budget.each,
                is_shared: !is_of_agent,
            });
        }
    }
    drawn
}

/// Whether anything at a server can cost something in the unit of a budget.
fn has_price(budget: &BudgetRule, server: &ServerRule) -> bool {
    let unit = &budget.limit.unit;
    match unit {
        Unit::Calls | Unit::Argument(_) => true,
        Unit::Cost(_) => server
            .costs
            .as_ref()
            .is_some_and(|costs| costs.unit == *unit),
    }
}
