//! Refusals by the rules, a budget, a rate, or since a call was made before: one sentence for a model, figures for a
//! program.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::audit::Entry;
use crate::budget::{Repeated, Shortage};
use crate::policy::DenialReason;
use crate::types::{CallId, Period, Rate, Timestamp, Window, Zone};

use super::definitions::Deviation;
use super::entries;
use super::figures::{Figures, RateLimit};
use super::repeats;

/// A refusal by the rules, a budget or a rate, or of a repeat.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The call's id in the log.
    pub call: CallId,
    /// What was wanted, as people say it: `images/imagine`.
    pub subject: String,
    /// Why not.
    pub cause: Cause,
}

/// Why a request of a known agent is refused.
#[derive(Debug, Clone)]
pub enum Cause {
    /// The rules say no.
    Policy {
        /// Which rule.
        reason: DenialReason,
        /// The agent.
        agent: String,
        /// Whom to ask.
        owner: Option<String>,
        /// What the agent can change about it.
        detail: Option<String>,
    },
    /// The tool is not the one that was reviewed (`tools.lock`).
    Definition {
        /// In which way.
        deviation: Deviation,
        /// Whom to ask.
        owner: Option<String>,
    },
    /// A budget has no room.
    Budget {
        /// Which, and its figures.
        shortage: Box<Shortage>,
        /// The zone of its reset.
        zone: Zone,
        /// When it was refused.
        at: Timestamp,
        /// How all budgets of the call stand.
        figures: Option<Arc<Figures>>,
    },
    /// Too fast.
    Rate {
        /// How long to wait.
        wait: Duration,
        /// The rate.
        rate: Rate,
        /// The path of its rule.
        name: Arc<str>,
    },
    /// Too many at once.
    Concurrency {
        /// How many there may be.
        most: NonZeroU32,
        /// The path of its rule.
        name: Arc<str>,
    },
    /// It was made before.
    Repeat {
        /// What became of it then.
        repeated: Box<Repeated>,
        /// The zone of the instants it names.
        zone: Zone,
        /// When it was refused.
        at: Timestamp,
    },
}

impl Refusal {
    pub(super) fn sentence(&self) -> String {
        let Self {
            call,
            subject,
            cause,
        } = self;
        let reason = self.reason().replace('_', " ");
        match cause {
            Cause::Policy {
                reason: denial,
                detail: Some(detail),
                ..
            } => {
                let why = detailed(*denial, subject);
                format!(
                    "Refused by policy ({reason}). {why}: {detail}. Retrying the same will not help. Call id {call}."
                )
            }
            Cause::Policy {
                reason: denial,
                agent,
                owner,
                detail: None,
            } => {
                let why = policy_sentence(*denial, agent, subject);
                let ask = whom_to_ask(owner.as_deref());
                format!(
                    "Refused by policy ({reason}). {why} {ask} Retrying will not help. Call id {call}."
                )
            }
            Cause::Definition { deviation, owner } => {
                let why = definition_sentence(*deviation, subject);
                let ask = whom_to_ask(owner.as_deref());
                format!("Refused by policy ({reason}). {why} {ask} Call id {call}.")
            }
            Cause::Budget { shortage, zone, .. } if shortage.frozen => {
                let until = if shortage.span.never_ends() {
                    String::new()
                } else {
                    format!(" before {}", shortage.span.ends.rfc3339(zone))
                };
                format!(
                    "Refused by policy ({reason}). {subject}: its budget is frozen, because a server reported that \
                     a call had cost more than it might. Ask whoever keeps permissions.yaml. Retrying{until} will \
                     not help. Call id {call}."
                )
            }
            Cause::Budget { shortage, zone, .. } => {
                let used = shortage.count.used.saturating_add(shortage.count.held);
                let until = if shortage.span.never_ends() {
                    "It does not reset. Ask whoever keeps permissions.yaml. Retrying will not help."
                        .into()
                } else {
                    let reset = shortage.span.ends.rfc3339(zone);
                    format!("Next call possible at {reset}. Retrying before then will not help.")
                };
                let limit = &shortage.charge.limit;
                format!(
                    "Refused by policy ({reason}). {subject}: {} of {} {} used {}. {until} Call id {call}.",
                    limit.unit.number(used),
                    limit.unit.number(shortage.count.limit),
                    limit.unit.word(),
                    span_words(limit.window),
                )
            }
            Cause::Rate { wait, rate, .. } => format!(
                "Refused by policy ({reason}). {subject}: no more than {rate}. Wait {:.1} s, then try again. \
                 Call id {call}.",
                wait.as_secs_f64(),
            ),
            Cause::Concurrency { most, .. } => format!(
                "Refused by policy ({reason}). {subject}: no more than {most} calls may be in flight at once, and \
                 as many are. Try again when one of them has ended. Call id {call}.",
            ),
            Cause::Repeat { repeated, zone, .. } => {
                let words = repeats::sentence(repeated, subject, zone);
                let ids = match repeated.first {
                    Some(first) => format!("First call id {first}, this call id {call}."),
                    None => format!("Call id {call}."),
                };
                format!("Refused ({reason}). {words} {ids}")
            }
        }
    }

    /// The word for it in the log and in machine fields.
    pub fn reason(&self) -> &'static str {
        match &self.cause {
            Cause::Policy { reason, .. } => reason.as_str(),
            Cause::Definition { .. } => "tool_changed",
            Cause::Budget { .. } => "budget",
            Cause::Rate { .. } => "rate",
            Cause::Concurrency { .. } => "concurrency",
            Cause::Repeat { repeated, .. } => repeats::reason(repeated),
        }
    }

    /// What the headers of the answer say.
    pub(super) fn rate_limit(&self) -> Option<RateLimit> {
        match &self.cause {
            Cause::Policy { .. }
            | Cause::Definition { .. }
            | Cause::Concurrency { .. }
            | Cause::Repeat { .. } => None,
            Cause::Budget { figures, .. } => {
                figures.as_ref().map(|figures| figures.rate_limit().clone())
            }
            Cause::Rate { wait, rate, name } => Some(RateLimit::of_rate(name, *rate, *wait)),
        }
    }

    pub(super) fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("reason".into(), self.reason().into());
        match &self.cause {
            Cause::Definition { .. } => {
                data.insert("subject".into(), self.subject.clone().into());
            }
            Cause::Policy { detail, .. } => {
                data.insert("subject".into(), self.subject.clone().into());
                if let Some(detail) = detail {
                    data.insert("detail".into(), detail.clone().into());
                }
            }
            Cause::Budget {
                shortage, zone, at, ..
            } => {
                let used = shortage.count.used.saturating_add(shortage.count.held);
                let wait = shortage.span.ends.since(*at);
                let (unit, limit) = (&shortage.charge.limit.unit, shortage.count.limit);
                data.insert("name".into(), (*shortage.charge.place.path).into());
                data.insert("unit".into(), unit.word().into());
                data.insert("limit".into(), unit.json(limit));
                data.insert("used".into(), unit.json(used));
                let remaining = limit.saturating_sub(used);
                data.insert("remaining".into(), unit.json(remaining));
                if shortage.frozen {
                    data.insert("frozen".into(), true.into());
                }
                if !shortage.span.never_ends() {
                    data.insert("resets_at".into(), shortage.span.ends.rfc3339(zone).into());
                    data.insert("retry_after_ms".into(), millis(wait).into());
                }
            }
            Cause::Rate { wait, .. } => {
                data.insert("retry_after_ms".into(), millis(*wait).into());
            }
            Cause::Concurrency { most, name } => {
                data.insert("name".into(), (**name).into());
                data.insert("limit".into(), most.get().into());
            }
            Cause::Repeat { repeated, at, .. } => data.extend(repeats::data(repeated, *at)),
        }
        data.insert("call_id".into(), self.call.to_string().into());
        data
    }
}

/// The `denied` event of a call that a budget had no room for.
pub(super) fn denied_by_budget(entry: Entry, shortage: &Shortage, zone: &Zone) -> Entry {
    let count = shortage.count;
    let resets = if shortage.span.never_ends() {
        "never resets".into()
    } else {
        format!("resets at {}", shortage.span.ends.rfc3339(zone))
    };
    let limit = &shortage.charge.limit;
    let message = format!(
        "{} of {} {} used {}, {resets}",
        limit.unit.number(count.used.saturating_add(count.held)),
        limit.unit.number(count.limit),
        limit.unit.word(),
        span_words(limit.window),
    );
    let entry =
        entries::denied(entry, "budget", &message).text("budget", shortage.charge.key.as_str());
    let mut entry = entry
        .number("limit", count.limit)
        .number("used", count.used)
        .number("held", count.held);
    if shortage.frozen {
        entry = entry.json("frozen", "true".into());
    }
    if shortage.span.never_ends() {
        return entry;
    }
    entry.json("resets_at_us", shortage.span.ends.micros().to_string())
}

fn whom_to_ask(owner: Option<&str>) -> String {
    match owner {
        Some(owner) => format!("Ask {owner}."),
        None => "Ask whoever keeps permissions.yaml.".into(),
    }
}

fn definition_sentence(deviation: Deviation, subject: &str) -> String {
    match deviation {
        Deviation::Changed => format!(
            "{subject}: its definition changed since it was reviewed. It may be called again once tools.lock has the \
             new one; retrying before will not help."
        ),
        Deviation::New => format!(
            "{subject}: it is new at its server, and nobody has reviewed its definition. It may be called once \
             tools.lock has it; retrying before will not help."
        ),
        Deviation::Gone => format!(
            "{subject}: its definition changed since it was reviewed: its server does not list it any more. Retrying \
             will not help."
        ),
        Deviation::Unknown => format!(
            "{subject}: whether its definition changed is not known, because its server could not be asked for its \
             tools. Try again later."
        ),
    }
}

fn policy_sentence(reason: DenialReason, agent: &str, subject: &str) -> String {
    match reason {
        DenialReason::AgentDisabled => format!("Agent `{agent}` is switched off."),
        DenialReason::Address => {
            format!("Agent `{agent}` may not be used from this address.")
        }
        DenialReason::ServerDisabled => format!("The server of `{subject}` is switched off."),
        DenialReason::UnknownServer => format!("There is no server for `{subject}`."),
        DenialReason::NotGranted => {
            format!(
                "`{subject}` is not granted to agent `{agent}`; it would take a grant for it in permissions.yaml."
            )
        }
        DenialReason::DeniedRule => format!("`{subject}` is forbidden by a deny rule."),
        DenialReason::CostInvalid => format!("What `{subject}` would cost is not clear."),
        DenialReason::Expired => format!("The grant of `{subject}` to agent `{agent}` has ended."),
        DenialReason::Condition => {
            format!("The arguments of `{subject}` are not as the grant of agent `{agent}` asks.")
        }
    }
}

/// What stands before the detail of a denial.
fn detailed(reason: DenialReason, subject: &str) -> String {
    match reason {
        DenialReason::CostInvalid => format!("What {subject} would cost is not clear"),
        DenialReason::AgentDisabled
        | DenialReason::Address
        | DenialReason::ServerDisabled
        | DenialReason::UnknownServer
        | DenialReason::NotGranted
        | DenialReason::DeniedRule
        | DenialReason::Expired
        | DenialReason::Condition => subject.to_owned(),
    }
}

fn span_words(window: Window) -> String {
    let (period, start) = match window {
        Window::Calendar(period, start) => (period, start),
        Window::Rolling(length) => return format!("in the last {length}"),
        Window::Total => return "in total".into(),
    };
    let word = match period {
        Period::Hour => "this hour",
        // A day that begins at another time than midnight is not what people call today.
        Period::Day if start.minutes > 0 => {
            let (hour, minute) = start.time();
            return format!("since {hour:02}:{minute:02}");
        }
        Period::Day => "today",
        Period::Week => "this week",
        Period::Month => "this month",
        Period::Year => "this year",
    };
    word.into()
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
