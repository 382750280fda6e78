//! The one function that says yes or no, with its reasons.
//!
//! `serve`, list filtering and the pages all call [`decide`]; nothing else makes a [`Grant`].

// An address is a number like another; `core` has it without any socket.
use core::net::IpAddr;
use std::sync::Arc;

use crate::types::{AgentName, ServerName, Timestamp};

use super::capture::{Keeping, keeping};
use super::charge::{Charge, Unpriced, charges};
use super::condition::Unmet;
use super::permissions::is_live;
use super::{
    Agent, ConcurrencyRule, DenyRule, GrantRule, Pattern, Permissions, Place, RateRule, ServerRule,
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
    /// The arguments of a call, as JSON text; `None` when nobody calls and the question is only whether one may.
    pub arguments: Option<&'a str>,
    /// The instant of the decision.
    pub at: Timestamp,
    /// The address it is asked from; `None` when that is not known, which speaks against nobody.
    pub peer: Option<IpAddr>,
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
    concurrency: Vec<Arc<ConcurrencyRule>>,
    keeping: Keeping,
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

    /// How many may be in flight at once, as far as the rules say.
    pub fn concurrency(&self) -> &[Arc<ConcurrencyRule>] {
        &self.concurrency
    }

    /// What the log keeps of it.
    pub fn keeping(&self) -> &Keeping {
        &self.keeping
    }
}

/// Why the rules say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// The agent is switched off.
    AgentDisabled,
    /// The agent may not be used from the address.
    Address,
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
    /// The arguments are not as the grant asks.
    Condition,
    /// Nobody can say what it costs.
    CostInvalid,
}

impl DenialReason {
    /// The word in the log, in machine fields and in the tests of a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AgentDisabled | Self::ServerDisabled => "disabled",
            Self::UnknownServer => "unknown_server",
            Self::NotGranted => "not_granted",
            Self::DeniedRule => "denied_rule",
            Self::Expired => "expired",
            Self::CostInvalid => "cost_invalid",
            Self::Address => "address",
            Self::Condition => "condition",
        }
    }
}

/// A refusal by the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The rules that had a part; empty when it is the lack of one.
    pub reasons: Vec<Reason>,
    /// What the agent can change about it, where the reason alone does not say that.
    pub detail: Option<String>,
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

mod built_in;

/// Decides one question under one snapshot of the rules. Pure; the order of the file does not matter.
pub fn decide(permissions: &Permissions, question: &Question<'_>) -> Decision {
    if question.server.is_built_in() {
        return match built_in::check(permissions, question) {
            Ok(()) => Decision::Allowed(Box::new(built_in::grant(permissions, question))),
            Err(denial) => Decision::Denied(denial),
        };
    }
    let granted = find_grants(permissions, question)
        .and_then(|(server, rules)| grant(permissions, question, server, &rules));
    match granted {
        Ok(grant) => Decision::Allowed(Box::new(grant)),
        Err(denial) => Decision::Denied(denial),
    }
}

/// Whether the rules allow it, without composing the grant; lists are filtered with this.
pub fn is_granted(permissions: &Permissions, question: &Question<'_>) -> bool {
    if question.server.is_built_in() {
        return built_in::check(permissions, question).is_ok();
    }
    find_grants(permissions, question).is_ok()
}

/// The grants that say whether an agent may call a tool: the most exact of those that cover it, also when nothing comes
/// of it because something is forbidden or switched off.
pub fn deciding<'a>(
    agent: &'a Agent,
    server: &ServerName,
    tool: &str,
    at: Timestamp,
) -> Vec<&'a GrantRule> {
    let question = Question {
        agent,
        server,
        target: Target::Tool(tool),
        arguments: None,
        at,
        peer: None,
    };
    most_specific(&agent.grants, &question)
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
        arguments: None,
        at,
        peer: None,
    };
    is_granted(permissions, &question)
}

/// The server and the grants that decide together; there is at least one.
fn find_grants<'a>(
    permissions: &'a Permissions,
    question: &Question<'a>,
) -> Result<(&'a ServerRule, Vec<&'a GrantRule>), Denial> {
    let server = switched_on(permissions, question)?;
    not_forbidden(permissions, question)?;
    let covering = most_specific(&question.agent.grants, question);
    let Some(first) = covering.first() else {
        return Err(denial(DenialReason::NotGranted, None));
    };
    if !is_live(first.expires, question.at) {
        let reason = DenialReason::Expired;
        return Err(denial(reason, Some((&first.place, "has ended"))));
    }
    Ok((server, holding(covering, question)?))
}

/// Those of equally specific grants whose conditions hold. Where nobody calls, all could.
fn holding<'a>(
    covering: Vec<&'a GrantRule>,
    question: &Question<'_>,
) -> Result<Vec<&'a GrantRule>, Denial> {
    let Some(arguments) = question.arguments else {
        return Ok(covering);
    };
    let mut unmet = Vec::new();
    let mut holding = Vec::new();
    for rule in covering {
        let mut conditions = rule.when.iter();
        let failing = conditions.find_map(|it| Some((&it.place, it.check(arguments).err()?)));
        match failing {
            Some(failing) => unmet.push(failing),
            None => holding.push(rule),
        }
    }
    if holding.is_empty() {
        return Err(conditions_fail(&unmet));
    }
    Ok(holding)
}

/// Names what would be right for each of the grants; more than a few of them nobody reads.
fn conditions_fail(unmet: &[(&Place, Unmet)]) -> Denial {
    const NAMED: usize = 3;
    let mut details: Vec<String> = Vec::new();
    for (_, unmet) in unmet {
        let detail = unmet.to_string();
        if details.len() < NAMED && !details.contains(&detail) {
            details.push(detail);
        }
    }
    let reasons = unmet.iter().map(|(place, _)| Reason {
        place: (*place).clone(),
        effect: "does not hold",
    });
    Denial {
        reason: DenialReason::Condition,
        reasons: reasons.collect(),
        detail: Some(details.join(", or ")),
    }
}

fn not_forbidden(permissions: &Permissions, question: &Question<'_>) -> Result<(), Denial> {
    let mut denials = permissions.deny().iter().chain(&question.agent.deny);
    match denials.find(|rule| forbids(rule, question)) {
        Some(rule) => {
            let reason = DenialReason::DeniedRule;
            Err(denial(reason, Some((&rule.place, "forbids it"))))
        }
        None => Ok(()),
    }
}

/// Whether the agent may ask anything at all: it is not switched off, and asks from where it may.
fn agent_may_ask(question: &Question<'_>) -> Result<(), Denial> {
    let agent = question.agent;
    if let Some(off) = &agent.disabled {
        let reason = DenialReason::AgentDisabled;
        return Err(denial(reason, Some((&off.place, "switches the agent off"))));
    }
    match question.peer {
        Some(peer) if !agent.may_come_from(peer) => {
            let part = (&agent.place, "names other addresses");
            Err(denial(DenialReason::Address, Some(part)))
        }
        Some(_) | None => Ok(()),
    }
}

/// The server, if it is there and neither it nor the agent is switched off.
fn switched_on<'a>(
    permissions: &'a Permissions,
    question: &Question<'_>,
) -> Result<&'a ServerRule, Denial> {
    agent_may_ask(question)?;
    let Some(server) = permissions.servers().get(question.server) else {
        return Err(denial(DenialReason::UnknownServer, None));
    };
    if let Some(off) = &server.disabled {
        let reason = DenialReason::ServerDisabled;
        return Err(denial(
            reason,
            Some((&off.place, "switches the server off")),
        ));
    }
    Ok(server)
}

/// The most specific live grants; where none is live, the most specific that have ended. Ordered by path, so that
/// the order of the file says nothing.
///
/// `config` refuses two that are equally specific unless both have conditions, or both are alike.
fn most_specific<'a>(grants: &'a [GrantRule], question: &Question<'_>) -> Vec<&'a GrantRule> {
    let mut best: Vec<&GrantRule> = Vec::new();
    let mut rank = None;
    for rule in grants {
        let Some(specificity) = specificity(rule, question) else {
            continue;
        };
        let theirs = Some((is_live(rule.expires, question.at), specificity));
        if theirs > rank {
            rank = theirs;
            best.clear();
        }
        if theirs == rank {
            best.push(rule);
        }
    }
    best.sort_by(|one, two| two.place.path.cmp(&one.place.path));
    best
}

fn denial(reason: DenialReason, part: Option<(&Place, &'static str)>) -> Denial {
    let reasons = part.map(|(place, effect)| Reason {
        place: place.clone(),
        effect,
    });
    Denial {
        reason,
        reasons: reasons.into_iter().collect(),
        detail: None,
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
///
/// A grant with an empty list of tools covers nothing, not even a listing.
fn specificity(rule: &GrantRule, question: &Question<'_>) -> Option<Specificity> {
    if !rule.server.matches(question.server.as_str()) {
        return None;
    }
    let tool = match (&rule.tools, question.target) {
        (None, _) => 0,
        (Some(tools), Target::Listing) if tools.is_empty() => return None,
        (Some(_), Target::Listing) => 1,
        (Some(tools), Target::Tool(name)) => {
            let fitting = tools.iter().filter(|tool| tool.matches(name));
            fitting.map(Pattern::weight).max()?.saturating_add(1)
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
    rules: &[&GrantRule],
) -> Result<Grant, Denial> {
    let Some(first) = rules.first() else {
        return Err(denial(DenialReason::NotGranted, None));
    };
    let charges = charges(permissions, question, server, rules).map_err(unpriced)?;
    let limits = charges.iter().map(|charge| (&charge.place, "limits it"));
    let grants = rules.iter().map(|rule| (&rule.place, "grants it"));
    let parts = grants.chain(limits);
    let reasons = parts.map(|(place, effect)| Reason {
        place: place.clone(),
        effect,
    });
    Ok(Grant {
        agent: question.agent.name.clone(),
        server: question.server.clone(),
        rule: first.place.clone(),
        reasons: reasons.collect(),
        rates: rates(question, server, rules),
        concurrency: concurrency(question, server),
        keeping: keeping(permissions, question.agent, question.server),
        charges,
    })
}

fn unpriced(unpriced: Unpriced) -> Denial {
    let effect = "counts what nobody can say";
    let part = Some((&unpriced.place, effect));
    Denial {
        detail: Some(unpriced.why),
        ..denial(DenialReason::CostInvalid, part)
    }
}

/// Every rate that smooths this request; lists are filtered copies and cost the server nothing.
fn rates(question: &Question<'_>, server: &ServerRule, rules: &[&GrantRule]) -> Vec<Arc<RateRule>> {
    match question.target {
        Target::Listing => Vec::new(),
        Target::Tool(_) | Target::Prompt(_) | Target::Resource(_) => rules
            .iter()
            .filter_map(|rule| rule.rate.as_ref())
            .chain(&question.agent.rate)
            .chain(&server.rate)
            .cloned()
            .collect(),
    }
}

/// Every rule on how many may be in flight; a list is none of them.
fn concurrency(question: &Question<'_>, server: &ServerRule) -> Vec<Arc<ConcurrencyRule>> {
    match question.target {
        Target::Listing => Vec::new(),
        Target::Tool(_) | Target::Prompt(_) | Target::Resource(_) => {
            let rules = question.agent.max_concurrent.iter();
            rules.chain(&server.max_concurrent).cloned().collect()
        }
    }
}

#[cfg(test)]
mod tests;
