//! What a report says, before it is written down in any form.

use crate::audit::Counts;
use crate::audit::read::{Defining, Looked, Note, Sealed, Taking};
use crate::budget::Ended;
use crate::types::{Timestamp, Zone};

use super::access::Access;
use super::gaps::Gap;
use super::month::Month;

/// The report of a month.
#[derive(Debug)]
pub struct Report {
    /// Which month.
    pub month: Month,
    /// The zone in which it begins and ends.
    pub zone: Zone,
    /// The revision of the rules that the access review is about.
    pub rules: String,
    /// The events it is made from; `None` when the log has none of this month.
    pub log: Option<Log>,
    /// Since when the log is kept: the oldest event there is.
    pub kept_since: Option<Timestamp>,
    /// Whether there are later events: nothing can be added to the month any more.
    pub is_over: bool,
    /// What is known of how complete it is.
    pub quality: Quality,
    /// Calls of this month and of the one before.
    pub totals: [Counts; 2],
    /// What calls cost, in millionths, by unit: in this month and in the one before.
    pub spend: Vec<(String, [i64; 2])>,
    /// Calls by agent in this month and the number of the one before.
    pub agents: Vec<(String, Counts, i64)>,
    /// Calls by server and tool.
    pub tools: Vec<((String, String), Counts)>,
    /// Budgets of which a window ended in this month.
    pub budgets: Vec<Ended>,
    /// Refusals because of a budget: agent, server, tool, times.
    pub exhausted: Vec<([Option<String>; 3], i64)>,
    /// What operators corrected: refunds, repairs, budgets that were let go on.
    pub corrections: Vec<Note>,
    /// Refusals by reason, in this month and in the one before.
    pub refusals: Vec<(String, [i64; 2])>,
    /// The rules that were in force at the beginning.
    pub rules_before: Option<Taking>,
    /// Changes of the rules.
    pub changes: Vec<Taking>,
    /// Definitions of tools that were new or changed.
    pub definitions: Vec<Defining>,
    /// Who may do what.
    pub access: Access,
    /// Who used the dashboard.
    pub looks: Vec<Looked>,
}

/// The part of the log that a report is about.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its first event.
    pub first: i64,
    /// Its last one.
    pub last: i64,
    /// What the last one seals.
    pub sealed: Sealed,
}

/// How complete a report is.
#[derive(Debug, Default)]
pub struct Quality {
    /// When the gateway did not run.
    pub gaps: Vec<Gap>,
    /// Whether any start or stop says so.
    pub is_known: bool,
    /// What was noted of the clock, and logs that were accepted as they were.
    pub clock: Vec<Note>,
    /// How often bodies of calls were deleted, and events let go.
    pub deletions: (i64, i64),
    /// The time of which sums are still being built.
    pub missing: Option<(Timestamp, Timestamp)>,
    /// Agents by how much is kept of their calls at most: the level and how many.
    pub capture: Vec<(&'static str, usize)>,
}
