//! Rules that decide nothing: what they would have said is compared with what was decided, and written down where it
//! differs. Grants, denials, ends and conditions are compared; their budgets and rates count nothing here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::audit::Entry;
use crate::policy::{Decision, Permissions, Question, decide};
use crate::types::Timestamp;

use super::stages::Authenticated;

/// The rules beside those in force.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) permissions: Arc<Permissions>,
    /// Since when.
    pub(super) since: Timestamp,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    compared: AtomicU64,
    would_allow: AtomicU64,
    would_deny: AtomicU64,
}

/// How often the shadow would have decided otherwise, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differences {
    /// Decisions that were compared.
    pub compared: u64,
    /// Refused by the rules in force, allowed by these.
    pub would_allow: u64,
    /// Let through, and refused by these.
    pub would_deny: u64,
}

/// What the shadow says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It would allow what was refused.
    Allow,
    /// It would refuse what was let through.
    Deny(&'static str),
}

impl Shadow {
    pub(super) fn new(permissions: Arc<Permissions>, since: Timestamp) -> Self {
        Self {
            permissions,
            since,
            counts: Arc::default(),
        }
    }

    /// Other rules that are counted on with.
    pub(super) fn with(&self, permissions: Arc<Permissions>, since: Timestamp) -> Self {
        Self {
            permissions,
            since,
            counts: Arc::clone(&self.counts),
        }
    }

    pub(super) fn differences(&self) -> Differences {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Differences {
            compared: read(&self.counts.compared),
            would_allow: read(&self.counts.would_allow),
            would_deny: read(&self.counts.would_deny),
        }
    }

    /// What it says otherwise about a request that the rules in force allow, or do not.
    fn otherwise(
        &self,
        request: &Authenticated,
        at: Timestamp,
        is_allowed: bool,
    ) -> Option<Otherwise> {
        // A token is the business of the rules in force; here the agent is who it was found to be.
        let agent = self.permissions.agents().get(&request.caller.agent.name);
        let said = agent.map(|agent| {
            let question = Question {
                agent,
                ..request.question(at)
            };
            decide(&self.permissions, &question)
        });
        match (said, is_allowed) {
            (None, true) => Some(Otherwise::Deny("unknown_agent")),
            (Some(Decision::Denied(denial)), true) => Some(Otherwise::Deny(denial.reason.as_str())),
            (Some(Decision::Allowed(_)), false) => Some(Otherwise::Allow),
            (Some(Decision::Allowed(_)), true) | (None | Some(Decision::Denied(_)), false) => None,
        }
    }

    fn count(&self, otherwise: Option<Otherwise>) {
        let add = |count: &AtomicU64| count.fetch_add(1, Ordering::Relaxed);
        add(&self.counts.compared);
        match otherwise {
            Some(Otherwise::Allow) => add(&self.counts.would_allow),
            Some(Otherwise::Deny(_)) => add(&self.counts.would_deny),
            None => 0,
        };
    }

    fn field(&self, otherwise: Otherwise) -> String {
        let revision = self.permissions.revision().short();
        match otherwise {
            Otherwise::Allow => {
                format!("{{\"revision\":\"{revision}\",\"decision\":\"allowed\"}}")
            }
            Otherwise::Deny(reason) => format!(
                "{{\"revision\":\"{revision}\",\"decision\":\"denied\",\"reason\":\"{reason}\"}}"
            ),
        }
    }
}

/// What the shadow of a request's rules says otherwise about it; counted with [`Compared::count`], once it is certain
/// that the decision stands.
#[derive(Debug)]
pub(super) struct Compared {
    shadow: Arc<Shadow>,
    otherwise: Option<Otherwise>,
}

impl Compared {
    /// Compares a decision of the rules in force; `None` without a shadow.
    pub(super) fn of(request: &Authenticated, at: Timestamp, is_allowed: bool) -> Option<Self> {
        let shadow = Arc::clone(request.caller.shadow.as_ref()?);
        let otherwise = shadow.otherwise(request, at, is_allowed);
        Some(Self { shadow, otherwise })
    }

    /// The event with what differs.
    pub(super) fn tell(compared: Option<&Self>, entry: Entry) -> Entry {
        let differs = compared.and_then(|it| Some((&it.shadow, it.otherwise?)));
        match differs {
            Some((shadow, otherwise)) => entry.json(FIELD, shadow.field(otherwise)),
            None => entry,
        }
    }

    pub(super) fn count(&self) {
        self.shadow.count(self.otherwise);
    }
}

/// The key in events.
pub(super) const FIELD: &str = "shadow";
