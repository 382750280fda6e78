//! What can be wrong with a log, and the sentence that says so.

use std::fmt;

use crate::db::LogId;
use crate::types::{Timestamp, hex};

/// What is wrong with a log; the sequence is the first one at which it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The text or the hash of an event is not what was written.
    Changed {
        /// Where.
        seq: i64,
    },
    /// An event is missing.
    Missing {
        /// Which.
        seq: i64,
    },
    /// A column differs from the hashed text.
    Column {
        /// Where.
        seq: i64,
        /// Which column.
        column: &'static str,
    },
    /// A body is not the one that its event covers.
    Body {
        /// The event.
        seq: i64,
    },
    /// A body is missing, and no event says that it was deleted.
    BodyMissing {
        /// The event.
        seq: i64,
    },
    /// A call opens or closes twice, closes without having opened, or was forgotten.
    Call {
        /// Where; the last event when the call is one that never closed.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A counter is not what the events add up to.
    Ledger {
        /// Which budget.
        key: String,
        /// What the row says.
        counted: i64,
        /// What the events say.
        events: i64,
    },
    /// A budget is frozen that no event froze, or is not although one did.
    Frozen {
        /// Which budget.
        key: String,
    },
    /// A window has used and holds more than its limit ever allowed.
    Overspent {
        /// Which budget.
        key: String,
    },
    /// The lists that pages find calls with are not those of the events.
    Lookup {
        /// The first event they are about.
        first: i64,
        /// The last.
        last: i64,
    },
    /// The sums that pages count with are not those of the events.
    Rollup {
        /// The quarter of an hour, in microseconds since 1970.
        at_us: i64,
    },
    /// Sums by the hour or the day are not those of the events.
    CoarseSums {
        /// The table they stand in.
        table: &'static str,
        /// The beginning of the time they are about, in microseconds since 1970.
        at_us: i64,
    },
    /// The text of a policy file is not the one that its event names.
    Rules {
        /// The event that it says it was kept with.
        seq: i64,
    },
    /// The text of a tool's definition is not one that its event names.
    Definition {
        /// The event that it says it was kept with.
        seq: i64,
    },
    /// The head that was kept elsewhere is nowhere in this log.
    HeadNotFound,
    /// A checkpoint was taken of events that this log does not have any more.
    CutOff {
        /// The last event that it names.
        seq: i64,
    },
    /// An event is not the one whose hash was exported.
    Rewritten {
        /// Which.
        seq: i64,
    },
    /// This is another log than the one that was asked for or exported.
    OtherLog {
        /// The one that was meant.
        meant: LogId,
    },
    /// A checkpoint is not signed with the key that was asked for, or its signature does not fit.
    NotSigned {
        /// Where.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What was pruned is not what an event says.
    Pruned {
        /// The last event that went.
        seq: i64,
        /// What is wrong.
        what: &'static str,
    },
    /// An export is not the file that was written, or does not join the one before it.
    Export {
        /// Where.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A checkpoint was due and is not there.
    Stale {
        /// The first event without one; the last when there is none at all since.
        seq: i64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq } => write!(f, "event {seq} is not what was written"),
            Self::Missing { seq } => write!(f, "event {seq} is missing"),
            Self::Column { seq, column } => {
                write!(
                    f,
                    "event {seq}: column `{column}` differs from the recorded text"
                )
            }
            Self::Body { seq } => write!(
                f,
                "event {seq}: what is kept of its arguments or result is not what was written"
            ),
            Self::BodyMissing { seq } => write!(
                f,
                "event {seq}: what was kept of its arguments or result is missing, and no event says that it was \
                 deleted"
            ),
            Self::Call { seq, what } => write!(f, "event {seq}: {what}"),
            Self::Ledger {
                key,
                counted,
                events,
            } => {
                write!(
                    f,
                    "budget `{key}` counts {counted}, its events add up to {events}"
                )
            }
            Self::Frozen { key } => {
                write!(
                    f,
                    "budget `{key}` is frozen or not, unlike what its events say"
                )
            }
            Self::Overspent { key } => write!(f, "budget `{key}` is used beyond its limit"),
            Self::Lookup { first, last } => write!(
                f,
                "the lookups of events {first} to {last} are not what the events say: calls may be hidden from the pages"
            ),
            Self::CoarseSums { table, at_us } => {
                let at = Timestamp::from_micros(*at_us).rfc3339_utc();
                write!(
                    f,
                    "the sums of `{table}` from {at} are not what the events add up to"
                )
            }
            Self::Rollup { at_us } => {
                let at = Timestamp::from_micros(*at_us).rfc3339_utc();
                write!(
                    f,
                    "the sums of the quarter of an hour from {at} are not what the events add up to"
                )
            }
            Self::Rules { seq } => write!(
                f,
                "event {seq}: the text that is kept of its policy file is not what was in force"
            ),
            Self::Definition { seq } => write!(
                f,
                "event {seq}: the text that is kept of a tool's definition is not what was seen"
            ),
            Self::HeadNotFound => f.write_str(
                "the expected head is not in this log: it was cut, rolled back or replaced",
            ),
            Self::CutOff { seq } => write!(
                f,
                "event {seq} is in a checkpoint and is gone: the log was cut or rolled back"
            ),
            Self::Rewritten { seq } => write!(
                f,
                "event {seq} is not the one that was exported: the log was rewritten, or rolled back and continued"
            ),
            Self::OtherLog { meant } => {
                write!(f, "this is not the log {}: it was replaced", hex(&meant.0))
            }
            Self::NotSigned { seq, what } => write!(f, "checkpoint {seq}: {what}"),
            Self::Pruned { seq, what } => {
                write!(f, "the events up to {seq} are not there, and {what}")
            }
            Self::Export { seq, what } => write!(f, "event {seq}: {what}"),
            Self::Stale { seq } => write!(
                f,
                "event {seq}: no checkpoint for more than an hour: some were taken out, or the gateway ended without \
                 a word"
            ),
        }
    }
}
