//! The tables of the ledger, and where they are not what the events add up to. Pure.

use std::collections::BTreeMap;

use super::Fault;
use crate::audit::Closed;
use crate::types::{BudgetKey, CallId, Timestamp};

/// Windows by the name of their budget and their start.
pub(super) type Windows = BTreeMap<(String, i64), Sums>;

/// Which windows are to be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of them.
    All,
    /// These, and all that began after an instant.
    Some {
        /// Each by the name of its budget and its start.
        told: Vec<(String, i64)>,
        /// In microseconds since 1970.
        after: i64,
    },
}

/// A call that is listed as refunded, the event that did it, and how the call had ended.
pub(super) type Refunded = (CallId, i64, Option<Closed>);

/// The tables of the ledger, to be compared with what the events add up to.
#[derive(Debug, Default)]
pub(super) struct LedgerTables {
    /// Every window that was asked for and in which anything is used or held.
    pub(super) windows: Vec<((String, i64), Sums)>,
    /// Calls in the list of open ones.
    pub(super) open_calls: Vec<CallId>,
    /// What calls hold: call, name of the budget, start of the window; how much.
    pub(super) holds: Vec<((CallId, String, i64), i64)>,
    /// Calls in the list of refunded ones.
    pub(super) refunds: Vec<Refunded>,
    /// Budgets in which more is taken than any limit allowed that was in force.
    pub(super) overspent: Vec<String>,
}

/// What a window has used and holds, in the unit of its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// What was charged, less what was refunded.
    pub used: i64,
    /// What open calls hold.
    pub held: i64,
    /// What servers reported beyond what was held.
    pub overrun: i64,
    /// Whether nothing more is taken from the budget for it.
    pub frozen: bool,
}

/// One thing that the tables say and the events do not, or the other way around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The counters of a window.
    Window {
        /// Which count.
        key: BudgetKey,
        /// The start of the window.
        starts: Timestamp,
        /// What the row says; zero when there is none.
        counted: Sums,
        /// What the events say.
        events: Sums,
    },
    /// A call is listed as open and is not, or is open and not listed.
    Call {
        /// Which.
        call: CallId,
        /// Whether it is open.
        is_open: bool,
    },
    /// What a call holds of one budget.
    Hold {
        /// Which call.
        call: CallId,
        /// Which count.
        key: BudgetKey,
        /// The start of the window.
        starts: Timestamp,
        /// What the events say; zero when it holds nothing.
        amount: i64,
        /// Whether the call is closed, and keeps it for one that goes on with it.
        is_kept: bool,
    },
    /// A call is listed as refunded and is not, or was refunded and is not listed.
    Refund {
        /// Which.
        call: CallId,
        /// The event that refunded it, when one did.
        refunded: Option<i64>,
    },
}

impl Difference {
    /// As faults of a log whose last event is this one.
    pub(super) fn faults(&self, last: i64) -> Vec<Fault> {
        let call = |seq, what| vec![Fault::Call { seq, what }];
        match self {
            Self::Window {
                key,
                counted,
                events,
                ..
            } => {
                let pairs = [
                    (counted.used, events.used),
                    (counted.held, events.held),
                    (counted.overrun, events.overrun),
                ];
                let differ = pairs
                    .into_iter()
                    .filter(|(counted, events)| counted != events);
                let faults = differ.map(|(counted, events)| Fault::Ledger {
                    key: key.to_string(),
                    counted,
                    events,
                });
                let freeze = (counted.frozen != events.frozen).then(|| Fault::Frozen {
                    key: key.to_string(),
                });
                faults.chain(freeze).collect()
            }
            Self::Call { .. } => call(last, "the list of open calls is not that of the events"),
            Self::Hold { .. } => call(last, "the holds of calls are not those of the events"),
            Self::Refund { refunded, .. } => call(
                refunded.unwrap_or(last),
                "the list of refunded calls is not that of the events",
            ),
        }
    }

    /// Whether a part of the log is enough to say so: what it does not tell of may have been told before.
    pub(super) fn is_of_known(&self) -> bool {
        match self {
            Self::Window { .. } => true,
            Self::Call { is_open, .. } => *is_open,
            Self::Hold { amount, .. } => *amount != 0,
            Self::Refund { refunded, .. } => refunded.is_some(),
        }
    }
}

/// What stands on one side only, or differs: the id, what the events say, what the table says.
pub(super) fn compare<K: Ord, V: PartialEq>(
    mut events: BTreeMap<K, V>,
    table: Vec<(K, V)>,
) -> impl Iterator<Item = (K, Option<V>, Option<V>)> {
    let mut differing = Vec::new();
    for (id, counted) in table {
        let said = events.remove(&id);
        if said.as_ref() != Some(&counted) {
            differing.push((id, said, Some(counted)));
        }
    }
    let missing = events.into_iter().map(|(id, said)| (id, Some(said), None));
    differing.into_iter().chain(missing)
}
