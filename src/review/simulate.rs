//! What other rules would have made of calls that were made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::audit::read::replay::{Ended, Happened, Opening, Outcome, Step, Told};
use crate::budget::{Ending, Hold, Reported, span};
use crate::policy::{Agent, BudgetRule, Permissions, Target};
use crate::types::{AgentName, CallId, ServerName, Timestamp, Unit, Window};

use super::judge::{Call, Judge, Verdict};

/// Why the rules refuse; refusals for other reasons are not theirs.
const BY_RULES: &[&str] = &[
    "disabled",
    "unknown_server",
    "not_granted",
    "denied_rule",
    "expired",
    "condition",
    "cost_invalid",
    "budget",
];

/// Reasons that depend on arguments, which the log does not keep of refused calls.
const BY_ARGUMENTS: &[&str] = &["condition", "cost_invalid"];

/// The word for an agent that the rules do not have.
const NO_AGENT: &str = "no_agent";

/// Refusals alike that one event stands for, tried at most.
const MOST_ALIKE: u64 = 10_000;

/// Calls after which windows that are over are forgotten.
const FORGET: u64 = 4_096;

/// What came of it.
#[derive(Debug, Default)]
pub struct Simulation {
    /// Calls that were decided.
    pub calls: u64,
    /// Calls that were let through and would be refused.
    pub refused: BTreeMap<Flip, Times>,
    /// Calls that were refused and would be let through.
    pub allowed: BTreeMap<Flip, Times>,
    /// Budgets without room, by their key.
    pub dry: BTreeMap<String, Dry>,
    /// Refused for what is not decided here: rates, repeats, calls in flight, addresses, changed tools.
    pub left_out: u64,
    /// Decided without their arguments, which the rules ask about and the log does not have.
    pub without_arguments: u64,
}

/// Calls that fare alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flip {
    /// Who called.
    pub agent: String,
    /// The server.
    pub server: String,
    /// The tool, prompt or resource.
    pub name: String,
    /// Why it is refused now, or was.
    pub reason: String,
}

/// How often.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// So many calls.
    pub calls: u64,
    /// The first of them.
    pub first: Timestamp,
    /// Some of them.
    pub samples: Vec<CallId>,
}

/// A budget without room.
#[derive(Debug, Clone, Default)]
pub struct Dry {
    /// Its windows in which that was so, by their start.
    pub windows: BTreeSet<Timestamp>,
    /// When it was so first.
    pub first: Timestamp,
    /// Calls that had no room.
    pub calls: u64,
}

impl Simulation {
    /// Calls that would be refused.
    pub fn refused_calls(&self) -> u64 {
        self.refused.values().map(|times| times.calls).sum()
    }

    /// Calls that would be let through.
    pub fn allowed_calls(&self) -> u64 {
        self.allowed.values().map(|times| times.calls).sum()
    }
}

/// Takes the log in, event by event.
#[derive(Debug)]
pub struct Simulator<'a> {
    permissions: &'a Permissions,
    judge: Judge<'a>,
    names: HashMap<i64, String>,
    servers: HashMap<String, Option<ServerName>>,
    asking: BTreeSet<AgentName>,
    open: HashMap<CallId, Hold>,
    kept: HashMap<CallId, CallId>,
    from: Timestamp,
    only: Option<AgentName>,
    samples: usize,
    found: Simulation,
}

/// Which calls are told.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// From when on; earlier ones only fill budgets.
    pub from: Timestamp,
    /// Of this agent alone.
    pub only: Option<AgentName>,
    /// Calls that are named, of those that fare alike.
    pub samples: usize,
}

/// The instant from which on calls must be known, so that every budget that runs at another has counted all it counts.
pub fn counts_from(permissions: &Permissions, at: Timestamp) -> Timestamp {
    let zone = permissions.zone();
    let starts = all_budgets(permissions).map(|rule| match rule.limit.window {
        Window::Total => Timestamp::default(),
        Window::Calendar(..) => span(rule.limit.window, rule.limit.amount, zone, at).starts,
        Window::Rolling(length) => {
            Timestamp::from_micros(at.micros().saturating_sub(length.micros()))
        }
    });
    starts.min().map_or(at, |first| first.min(at))
}

/// Whether any rule asks about arguments.
pub fn asks_arguments(permissions: &Permissions) -> bool {
    permissions
        .agents()
        .values()
        .any(|agent| asks(permissions, agent))
}

fn all_budgets(permissions: &Permissions) -> impl Iterator<Item = &BudgetRule> {
    let agents = permissions.agents().values();
    let of_agents = agents.flat_map(|agent| {
        let of_grants = agent.grants.iter().flat_map(|grant| &grant.budgets);
        agent.budgets.iter().chain(of_grants)
    });
    let of_servers = permissions
        .servers()
        .values()
        .flat_map(|server| &server.budgets);
    of_agents.chain(of_servers).map(AsRef::as_ref)
}

/// Whether a decision about some call of an agent depends on its arguments.
fn asks(permissions: &Permissions, agent: &Agent) -> bool {
    let weighs = |rule: &BudgetRule| match rule.limit.unit {
        Unit::Argument(_) => true,
        Unit::Calls | Unit::Cost(_) => false,
    };
    let mut servers = permissions
        .servers()
        .values()
        .flat_map(|server| &server.budgets);
    let mut grants = agent.grants.iter();
    agent.budgets.iter().any(|rule| weighs(rule))
        || servers.any(|rule| weighs(rule))
        || grants
            .any(|grant| !grant.when.is_empty() || grant.budgets.iter().any(|rule| weighs(rule)))
}

/// Who called what, in names.
struct Named {
    agent: String,
    server: String,
    name: String,
    kind: Asked,
}

/// What was asked for.
#[derive(Clone, Copy)]
enum Asked {
    Tool,
    Prompt,
    Resource,
}

impl<'a> Simulator<'a> {
    /// With the names behind the numbers in the log.
    pub fn new(permissions: &'a Permissions, names: HashMap<i64, String>, told: Wanted) -> Self {
        let agents = permissions.agents().iter();
        let asking = agents.filter(|(_, agent)| asks(permissions, agent));
        Self {
            asking: asking.map(|(name, _)| name.clone()).collect(),
            permissions,
            judge: Judge::new(permissions),
            names,
            servers: HashMap::new(),
            open: HashMap::new(),
            kept: HashMap::new(),
            from: told.from,
            only: told.only,
            samples: told.samples,
            found: Simulation::default(),
        }
    }

    /// Takes the next event in; with the arguments of its call, where they are known.
    pub fn step(&mut self, step: &Step<'_>, arguments: Option<&str>) {
        match &step.what {
            Happened::Opened(opening) => self.opened(step, opening, arguments),
            Happened::Closed(ended) => self.closed(step, ended),
            Happened::Expired => {
                let kept = step.call.and_then(|call| self.kept.remove(&call));
                if let Some(kept) = kept {
                    self.judge.expire(kept, step.at);
                }
            }
        }
    }

    /// What came of it all.
    pub fn finish(self) -> Simulation {
        self.found
    }

    fn opened(&mut self, step: &Step<'_>, opening: &Opening<'_>, arguments: Option<&str>) {
        let is_plain = opening.refused.is_none()
            && opening.ids.iter().all(Option::is_some)
            && !opening.may_continue();
        let told = if is_plain {
            Told::default()
        } else {
            opening.told()
        };
        let Some(named) = self.named(opening, &told) else {
            return;
        };
        if opening
            .refused
            .is_some_and(|reason| !BY_RULES.contains(&reason))
        {
            self.leave_out(step, &named, told.count.unwrap_or(1));
            return;
        }
        let times = match opening.refused {
            None => 1,
            Some(_) => told.count.unwrap_or(1).min(MOST_ALIKE),
        };
        for _ in 0..times {
            self.decide(step, opening, (&named, &told), arguments);
        }
    }

    fn leave_out(&mut self, step: &Step<'_>, named: &Named, times: u64) {
        if self.is_told(step.at, &named.agent) {
            self.found.left_out = self.found.left_out.saturating_add(times);
        }
    }

    fn is_told(&self, at: Timestamp, agent: &str) -> bool {
        at >= self.from && self.only.as_ref().is_none_or(|only| only.as_str() == agent)
    }

    /// What an event names; `None` for what rules do not decide by name, such as tasks.
    fn named(&self, opening: &Opening<'_>, told: &Told) -> Option<Named> {
        let [agent, server, tool] = opening.ids.map(|id| self.names.get(&id?).cloned());
        let tool = tool.or_else(|| told.tool.clone());
        let (kind, name) = match (tool, told.method.as_str()) {
            (Some(tool), "" | "tools/call") => (Asked::Tool, tool),
            (_, "prompts/get") => (Asked::Prompt, told.target.clone()?),
            (_, "resources/read") => (Asked::Resource, told.target.clone()?),
            _ => return None,
        };
        Some(Named {
            agent: agent.or_else(|| told.agent.clone())?,
            server: server.or_else(|| told.server.clone())?,
            name,
            kind,
        })
    }

    fn decide(
        &mut self,
        step: &Step<'_>,
        opening: &Opening<'_>,
        (named, told): (&Named, &Told),
        arguments: Option<&str>,
    ) {
        let is_told = self.is_told(step.at, &named.agent);
        let agents = self.permissions.agents();
        let agent = named.agent.parse::<AgentName>().ok();
        let agent = agent.and_then(|name| agents.get(&name));
        let server = self.servers.entry(named.server.clone());
        let server = server.or_insert_with(|| named.server.parse().ok()).clone();
        let asks = agent.is_some_and(|agent| self.asking.contains(&agent.name));
        if asks && arguments.is_none() {
            self.found.without_arguments += u64::from(is_told);
            if opening
                .refused
                .is_some_and(|reason| BY_ARGUMENTS.contains(&reason))
            {
                return;
            }
        }
        self.found.calls += u64::from(is_told);
        if self.found.calls.is_multiple_of(FORGET) {
            self.judge.forget_ended(step.at);
        }
        let verdict = match (agent, &server) {
            (Some(agent), Some(server)) => {
                let call = Call {
                    server,
                    target: match named.kind {
                        Asked::Tool => Target::Tool(&named.name),
                        Asked::Prompt => Target::Prompt(&named.name),
                        Asked::Resource => Target::Resource(&named.name),
                    },
                    arguments,
                    at: step.at,
                };
                let from = told.continues.as_ref().and_then(|from| from.parse().ok());
                let from = from.and_then(|from: CallId| self.kept.remove(&from));
                Some(match from {
                    Some(from) => self.judge.go_on(agent, &call, from),
                    None => self.judge.ask(agent, &call),
                })
            }
            (None, _) | (_, None) => None,
        };
        let reason = match &verdict {
            None => Some(NO_AGENT),
            Some(verdict) => verdict.reason(),
        };
        if is_told {
            self.note(step, opening.refused, reason, named, verdict.as_ref());
        }
        if let Some(Verdict::Allowed(_, hold)) = verdict {
            self.keep(step, opening, hold);
        }
    }

    /// Keeps what a call holds until it ends; one that was never made has ended.
    fn keep(&mut self, step: &Step<'_>, opening: &Opening<'_>, hold: Hold) {
        match (opening.refused, step.call) {
            (None, Some(call)) => {
                self.open.insert(call, hold);
            }
            (Some(_), _) | (None, None) => self.judge.end(&hold, &Ending::Answered(Vec::new())),
        }
    }

    fn note(
        &mut self,
        step: &Step<'_>,
        before: Option<&str>,
        now: Option<&str>,
        named: &Named,
        verdict: Option<&Verdict>,
    ) {
        if let Some(Verdict::Short(shortage)) = verdict {
            let dry = self
                .found
                .dry
                .entry(shortage.charge.key.as_str().to_owned());
            let dry = dry.or_insert_with(|| Dry {
                first: step.at,
                ..Dry::default()
            });
            dry.windows.insert(shortage.span.starts);
            dry.calls += 1;
        }
        let (flips, reason) = match (before, now) {
            (None, Some(reason)) => (&mut self.found.refused, reason),
            (Some(reason), None) => (&mut self.found.allowed, reason),
            (None, None) | (Some(_), Some(_)) => return,
        };
        let flip = Flip {
            agent: named.agent.clone(),
            server: named.server.clone(),
            name: named.name.clone(),
            reason: reason.to_owned(),
        };
        let times = flips.entry(flip).or_insert_with(|| Times {
            first: step.at,
            ..Times::default()
        });
        times.calls += 1;
        if times.samples.len() < self.samples {
            times.samples.extend(step.call);
        }
    }

    fn closed(&mut self, step: &Step<'_>, ended: &Ended<'_>) {
        let Some((call, hold)) = step
            .call
            .and_then(|call| Some((call, self.open.remove(&call)?)))
        else {
            return;
        };
        if hold.held().is_empty() {
            self.judge.end(&hold, &Ending::Answered(Vec::new()));
            return;
        }
        let (outcome, charged) = ended.outcome();
        let reported = || {
            let reported = hold.held().iter().map(|held| match &held.reported {
                None => Reported::Fixed,
                Some(_) => charged
                    .get(held.key.as_str())
                    .map_or(Reported::Missing, |cost| Reported::Cost(*cost)),
            });
            reported.collect()
        };
        let ending = match outcome {
            Outcome::Unsent => Ending::Unsent,
            Outcome::Rejected => Ending::Rejected,
            Outcome::ToolError => Ending::ToolError(reported()),
            Outcome::Done => Ending::Answered(reported()),
            Outcome::Unclear => Ending::Unclear,
            Outcome::AsksInput => {
                self.kept.insert(call, hold.call());
                Ending::Kept(step.at.after(KEPT))
            }
        };
        self.judge.end(&hold, &ending);
    }
}

/// How long what waits for its next round is kept here: until the log says what became of it.
const KEPT: Duration = Duration::from_secs(366 * 24 * 60 * 60);
