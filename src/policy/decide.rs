//! The one function that says yes or no, with its reasons.
//!
//! `serve`, list filtering and the pages all call [`decide`]; nothing else makes a [`Grant`].

use std::sync::Arc;

use crate::types::{AgentName, BudgetKey, Limit, ServerName, Timestamp};

use super::permissions::is_live;
use super::{
    Agent, BudgetRule, DenyRule, Each, GrantRule, Permissions, Place, RateRule, ServerRule,
    Specificity,
};

/// What a request wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Call a tool, by the server's own name for it.
    Tool(&'a str),
    /// Get a prompt, or complete its arguments.
    Prompt(&'a str),
    /// Read a resource, or complete a template.
    Resource(&'a str),
    /// List what there is; the answer is filtered with this same function.
    Listing,
}

/// Who wants what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// The server.
    pub server: &'a ServerName,
    /// What it wants there.
    pub target: Target<'a>,
    /// The instant of the decision.
    pub at: Timestamp,
}

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

/// A rule that had a part in a decision, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Where the rule stands.
    pub place: Place,
    /// What it did, in a few words.
    pub effect: &'static str,
}

/// Leave to do one thing. Can be made only by [`decide`].
#[derive(Debug, Clone)]
pub struct Grant {
    agent: AgentName,
    server: ServerName,
    rule: Place,
    reasons: Vec<Reason>,
    charges: Vec<Charge>,
    rates: Vec<Arc<RateRule>>,
}

impl Grant {
    /// The agent that has leave.
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The server it may reach.
    pub fn server(&self) -> &ServerName {
        &self.server
    }

    /// The rule that decided.
    pub fn rule(&self) -> &Place {
        &self.rule
    }

    /// All rules that had a part.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The budgets that must all have room.
    pub fn charges(&self) -> &[Charge] {
        &self.charges
    }

    /// The rates that must all have room.
    pub fn rates(&self) -> &[Arc<RateRule>] {
        &self.rates
    }
}

/// Why the rules say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// The agent is switched off.
    AgentDisabled,
    /// The server is switched off.
    ServerDisabled,
    /// No server has this name.
    UnknownServer,
    /// No grant covers it.
    NotGranted,
    /// A `deny` rule covers it.
    DeniedRule,
    /// The grant that would cover it has ended.
    Expired,
}

/// A refusal by the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The rules that had a part; empty when it is the lack of one.
    pub reasons: Vec<Reason>,
}

/// The answer of [`decide`].
#[derive(Debug, Clone)]
pub enum Decision {
    /// Allowed, if budgets and rates have room.
    Allowed(Box<Grant>),
    /// Refused.
    Denied(Denial),
}

impl Decision {
    /// Whether the rules allow it.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Decides one question under one snapshot of the rules. Pure; the order of the file does not matter.
pub fn decide(permissions: &Permissions, question: &Question<'_>) -> Decision {
    match find_grant(permissions, question) {
        Ok((server, rule)) => {
            Decision::Allowed(Box::new(grant(permissions, question, server, rule)))
        }
        Err(denial) => Decision::Denied(denial),
    }
}

/// Whether an agent has any live grant on a server, so that the server's own endpoint is open to it.
pub fn may_see_server(
    permissions: &Permissions,
    agent: &Agent,
    server: &ServerName,
    at: Timestamp,
) -> bool {
    let question = Question {
        agent,
        server,
        target: Target::Listing,
        at,
    };
    find_grant(permissions, &question).is_ok()
}

fn find_grant<'a>(
    permissions: &'a Permissions,
    question: &Question<'a>,
) -> Result<(&'a ServerRule, &'a GrantRule), Denial> {
    let agent = question.agent;
    if let Some(off) = &agent.disabled {
        return Err(denial(
            DenialReason::AgentDisabled,
            Some((&off.place, "switches the agent off")),
        ));
    }
    let Some(server) = permissions.servers().get(question.server) else {
        return Err(denial(DenialReason::UnknownServer, None));
    };
    if let Some(off) = &server.disabled {
        return Err(denial(
            DenialReason::ServerDisabled,
            Some((&off.place, "switches the server off")),
        ));
    }
    let mut denials = permissions.deny().iter().chain(&agent.deny);
    if let Some(rule) = denials.find(|rule| forbids(rule, question)) {
        return Err(denial(
            DenialReason::DeniedRule,
            Some((&rule.place, "forbids it")),
        ));
    }
    let mut covering = agent
        .grants
        .iter()
        .filter_map(|rule| Some((specificity(rule, question)?, rule)));
    let (live, ended): (Vec<_>, Vec<_>) = covering
        .by_ref()
        .partition(|(_, rule)| is_live(rule.expires, question.at));
    if let Some((_, rule)) = live
        .into_iter()
        .max_by_key(|(specificity, rule)| (*specificity, Arc::clone(&rule.place.path)))
    {
        return Ok((server, rule));
    }
    Err(match ended.first() {
        Some((_, rule)) => denial(DenialReason::Expired, Some((&rule.place, "has ended"))),
        None => denial(DenialReason::NotGranted, None),
    })
}

fn denial(reason: DenialReason, part: Option<(&Place, &'static str)>) -> Denial {
    let reasons = part.map(|(place, effect)| Reason {
        place: place.clone(),
        effect,
    });
    Denial {
        reason,
        reasons: reasons.into_iter().collect(),
    }
}

fn forbids(rule: &DenyRule, question: &Question<'_>) -> bool {
    if !rule.server.matches(question.server.as_str()) {
        return false;
    }
    match question.target {
        Target::Tool(name) => rule.tool.matches(name),
        // `server/*` shuts the whole server; a pattern over tool names says nothing about the rest.
        Target::Prompt(_) | Target::Resource(_) | Target::Listing => rule.tool.is_everything(),
    }
}

/// How exactly a grant covers the question; `None` when it does not.
fn specificity(rule: &GrantRule, question: &Question<'_>) -> Option<Specificity> {
    if !rule.server.matches(question.server.as_str()) {
        return None;
    }
    let tool = match (&rule.tools, question.target) {
        (None, _) => 0,
        (Some(_), Target::Listing) => 1,
        (Some(tools), Target::Tool(name)) => {
            let best = tools
                .iter()
                .filter(|tool| tool.matches(name))
                .map(|tool| tool.weight())
                .max()?;
            best.saturating_add(1)
        }
        (Some(_), Target::Prompt(_) | Target::Resource(_)) => return None,
    };
    Some(Specificity {
        server: rule.server.weight(),
        tool,
        own: !rule.from_role,
    })
}

fn grant(
    permissions: &Permissions,
    question: &Question<'_>,
    server: &ServerRule,
    rule: &GrantRule,
) -> Grant {
    let agent = question.agent;
    let mut reasons = vec![Reason {
        place: rule.place.clone(),
        effect: "grants it",
    }];
    let mut charges = Vec::new();
    if let Target::Tool(tool) = question.target {
        let rules = rule
            .budgets
            .iter()
            .chain(&agent.budgets)
            .chain(&server.budgets);
        for budget in rules.filter(|budget| counts(budget, tool)) {
            let charge = charge(permissions, budget, agent, tool);
            if !charges.contains(&charge) {
                reasons.push(Reason {
                    place: budget.place.clone(),
                    effect: "limits it",
                });
                charges.push(charge);
            }
        }
    }
    let rates = match question.target {
        Target::Listing => Vec::new(),
        Target::Tool(_) | Target::Prompt(_) | Target::Resource(_) => rule
            .rate
            .iter()
            .chain(&agent.rate)
            .chain(&server.rate)
            .cloned()
            .collect(),
    };
    Grant {
        agent: agent.name.clone(),
        server: question.server.clone(),
        rule: rule.place.clone(),
        reasons,
        charges,
        rates,
    }
}

fn counts(budget: &BudgetRule, tool: &str) -> bool {
    budget.tools.is_empty() || budget.tools.iter().any(|pattern| pattern.matches(tool))
}

fn charge(permissions: &Permissions, budget: &BudgetRule, agent: &Agent, tool: &str) -> Charge {
    let mut tools: Vec<&str> = budget.tools.iter().map(super::Pattern::as_str).collect();
    tools.sort_unstable();
    let tools = if tools.is_empty() {
        String::new()
    } else {
        format!("[{}]", tools.join(","))
    };
    let instance = match budget.each {
        Each::Shared => String::new(),
        Each::Agent => format!(" each agent={}", agent.name),
        Each::Tool => format!(" each tool={tool}"),
        Each::AgentAndTool => format!(" each agent={} tool={tool}", agent.name),
    };
    let key = format!(
        "{}{tools} calls/{}@{}{instance}",
        budget.scope,
        budget.limit.window,
        permissions.zone().name(),
    );
    Charge {
        key: BudgetKey::new(&key),
        limit: budget.limit,
        amount: 1,
        place: budget.place.clone(),
    }
}
