//! What an operator can have done to the ledger and the log. An order takes the way of every event, through the
//! writer, and is an event itself: it says who ordered it, and why.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::audit::Proof;
use crate::db::{DbError, Readers};
use crate::types::CallId;

use super::Gateway;
use super::recorder::Recorder;
use super::writer::Prune;

/// The longest reason an order may have, in characters.
pub(super) const MAX_WHY: usize = 1_000;

/// The longest name of an operator that is kept, in characters.
pub(super) const MAX_NAME: usize = 100;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Give back what a closed call cost.
    Refund {
        /// Which call.
        #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
        call: CallId,
        /// Why; written down.
        why: String,
    },
    /// Let a budget be used again that is frozen for what a server reported.
    Unfreeze {
        /// Its name, as pages and `hayward budget show` have it.
        key: String,
        /// Why; written down.
        why: String,
    },
    /// Delete what is kept of the arguments and the result of a call.
    RedactCall {
        /// Which call.
        #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
        call: CallId,
        /// Why; written down.
        why: String,
    },
    /// Delete what is kept of the arguments and results of calls before an instant.
    RedactBefore {
        /// The instant, in microseconds since 1970.
        before_us: i64,
        /// Why; written down.
        why: String,
    },
    /// Follow the wall clock again, which jumped ahead and is right all the same.
    AcceptTime {
        /// Why; written down.
        why: String,
    },
    /// Put the counts right after the events.
    Repair {
        /// Why; written down.
        why: String,
    },
    /// Let events go that are too old and stand in an archive.
    Prune(Box<Prune>),
    /// Let the arguments and results go of calls before an instant; their events stay.
    PruneBodies {
        /// The instant, in microseconds since 1970.
        before_us: i64,
        /// Why; written down.
        why: String,
    },
}

impl Order {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refund { .. } => "refund",
            Self::Prune(_) | Self::PruneBodies { .. } => "prune",
            Self::Unfreeze { .. } => "unfreeze",
            Self::RedactCall { .. } | Self::RedactBefore { .. } => "redact",
            Self::AcceptTime { .. } => "accept_time",
            Self::Repair { .. } => "repair",
        }
    }

    /// Why it is given.
    pub fn why(&self) -> &str {
        match self {
            Self::RedactCall { why, .. }
            | Self::RedactBefore { why, .. }
            | Self::PruneBodies { why, .. }
            | Self::Refund { why, .. }
            | Self::Unfreeze { why, .. }
            | Self::AcceptTime { why }
            | Self::Repair { why } => why,
            Self::Prune(order) => &order.why,
        }
    }
}

/// Who gives an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// The name of the user, as the program that asks says it.
    pub name: String,
    /// The number of the user, as the system says it.
    pub uid: u32,
}

/// An order and who gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What is to be done.
    pub order: Order,
    /// Who wants it.
    pub by: By,
}

/// What became of an order that was carried out. It is durable when this is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What a call had cost was given back.
    Refunded {
        /// The sequence of the event.
        seq: i64,
        /// What was given back, and where.
        budgets: Vec<GivenBack>,
    },
    /// Events are gone; they are deleted between calls.
    Pruned {
        /// The sequence of the event.
        seq: i64,
        /// How many.
        events: i64,
    },
    /// A budget is not frozen any more.
    Unfrozen {
        /// The sequence of the event.
        seq: i64,
        /// How many of its windows were frozen.
        windows: usize,
        /// What servers had reported beyond what was held in them.
        overrun: u64,
    },
    /// Bodies were deleted.
    Redacted {
        /// The sequence of the event; none when there was nothing to delete.
        seq: Option<i64>,
        /// How many.
        bodies: usize,
        /// Whether there is more than one order may delete.
        more: bool,
    },
    /// The wall clock is followed again.
    TimeAccepted {
        /// The sequence of the event.
        seq: i64,
        /// What it shows, in microseconds since 1970.
        wall: i64,
    },
    /// The counts are what the events say.
    Repaired {
        /// The sequence of the event; none when there was nothing to repair.
        seq: Option<i64>,
        /// The counters that were put right.
        counts: Vec<PutRight>,
        /// How many open calls, holds and refunds were listed, or taken off the list.
        rows: usize,
        /// Whether there is more than one order may repair.
        more: bool,
    },
}

/// A counter that was put right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRight {
    /// Which count.
    pub key: String,
    /// The start of the window, in microseconds since 1970.
    pub window: i64,
    /// What was used, before and after.
    pub used: [i64; 2],
    /// What was held, before and after.
    pub held: [i64; 2],
    /// What servers reported beyond that, before and after.
    pub overrun: [i64; 2],
    /// Whether the budget was frozen for it, before and after.
    pub frozen: [bool; 2],
}

/// What one budget got back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Which count.
    pub key: String,
    /// The start of the window, in microseconds since 1970.
    pub window: i64,
    /// How much, in the unit of the budget.
    pub refunded: u64,
}

/// Why an order was not carried out. Nothing was changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not say why.
    #[error("say why, in up to {MAX_WHY} characters: whoever reads the log will want to know")]
    Why,
    /// The log knows no such call.
    #[error("there is no call `{0}` in this log; `hayward audit query` and the dashboard show ids")]
    UnknownCall(CallId),
    /// The call is not over.
    #[error("call `{0}` is still open; what it costs is known when it is over")]
    OpenCall(CallId),
    /// The call is not over.
    #[error("call `{0}` is still open; what is kept of it is deleted when it is over")]
    CallUnderWay(CallId),
    /// It was not let through, or the server never saw it, or no budget is about it.
    #[error("call `{0}` cost nothing, so there is nothing to give back")]
    FreeCall(CallId),
    /// It was refunded before.
    #[error("call `{call}` was refunded before, by event {seq}; a call is refunded once")]
    RefundedCall {
        /// Which call.
        call: CallId,
        /// The sequence of the event.
        seq: i64,
    },
    /// The ledger is not what the events say.
    #[error(
        "budget `{0}` has used less than the call cost, so it is not what the events add up to; \
         see `hayward budget verify`"
    )]
    Counter(String),
    /// There is no such budget.
    #[error("there is no budget `{0}`; `hayward budget show` has the names")]
    UnknownBudget(String),
    /// It is not frozen.
    #[error("budget `{0}` is not frozen")]
    NotFrozen(String),
    /// The clock did not jump.
    #[error("the wall clock is followed; there is nothing to accept")]
    ClockAgrees,
    /// The events contradict one another, so nothing can be put right after them.
    #[error(
        "the log itself is not sound ({0}), so nothing can be put right after it; see `hayward audit verify`"
    )]
    Unsound(String),
    /// The events cannot go.
    #[error("these events cannot go: {0}")]
    NotPrunable(&'static str),
    /// What goes on after them cannot be read.
    #[error("the file that says what goes on after the archive cannot be used: {0}")]
    Seam(String),
    /// Too many wait for the writer, or it has stopped.
    #[error("the gateway takes no orders now; nothing was changed, try again")]
    Busy,
    /// The file cannot be read.
    #[error("the log cannot be read; nothing was changed, and the gateway's own log says more")]
    Unreadable,
    /// The commit failed or takes too long.
    #[error(
        "the log cannot be written, and nobody knows whether the order still will be; \
         look before you try again"
    )]
    Unrecorded,
}

impl Gateway {
    /// Carries an order out. Returns when it is durable.
    ///
    /// # Errors
    /// When it cannot be carried out, and why.
    pub async fn obey(&self, instruction: Instruction) -> Result<Outcome, Refused> {
        obey(&self.recorder, &self.file, instruction).await
    }
}

/// Looks whether an order can be carried out at all, and has the writer do it.
pub(super) async fn obey(
    recorder: &Recorder,
    file: &Path,
    mut instruction: Instruction,
) -> Result<Outcome, Refused> {
    let why = instruction.order.why().trim();
    if why.is_empty() || why.chars().count() > MAX_WHY {
        return Err(Refused::Why);
    }
    if let Order::Prune(order) = &mut instruction.order {
        order.read_seam().await?;
    }
    let name = instruction.by.name.chars().take(MAX_NAME).collect();
    instruction.by.name = name;
    let proof = match instruction.order {
        Order::Refund { .. }
        | Order::Unfreeze { .. }
        | Order::RedactCall { .. }
        | Order::RedactBefore { .. }
        | Order::Prune(_)
        | Order::PruneBodies { .. }
        | Order::AcceptTime { .. } => None,
        Order::Repair { .. } => Some(prove(file).await.map_err(unreadable)?),
    };
    recorder.order(instruction, proof).await
}

/// Reads the whole log beside the writer, which then has only to read on from its end.
async fn prove(file: &Path) -> Result<Proof, DbError> {
    let readers = Readers::open(file).await?;
    let proof = async {
        let mut db = readers.pool().acquire().await?;
        let mut proof = Proof::begin(&mut db).await?;
        proof.read(&mut db).await?;
        Ok(proof)
    };
    let proof = proof.await;
    readers.close().await;
    proof
}

fn unreadable(error: DbError) -> Refused {
    tracing::error!(%error, "the log cannot be read for an operator's order");
    Refused::Unreadable
}

fn as_text<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

fn from_text<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}
