//! The tables of the ledger against what the events add up to.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{BudgetKey, CallId, Timestamp};

use super::{Check, Fault};

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
}

type WindowId = (String, i64);
type HoldId = (CallId, String, i64);

impl Check {
    /// Compares every table with the events, which were read to their end.
    pub(super) async fn differences(
        &self,
        db: &mut SqliteConnection,
    ) -> Result<Vec<Difference>, DbError> {
        let mut all = compare(self.windows(), read_windows(db).await?)
            .map(|((key, starts), events, counted)| Difference::Window {
                key: BudgetKey::new(&key),
                starts: Timestamp::from_micros(starts),
                counted: counted.unwrap_or_default(),
                events: events.unwrap_or_default(),
            })
            .collect::<Vec<_>>();
        let calls = compare(self.open_calls(), read_calls(db).await?);
        all.extend(calls.map(|(call, open, _)| Difference::Call {
            call,
            is_open: open.is_some(),
        }));
        let holds = compare(self.holds(), read_holds(db).await?);
        all.extend(
            holds.map(|((call, key, starts), amount, _)| Difference::Hold {
                is_kept: self.kept.contains_key(&call.to_string()),
                call,
                key: BudgetKey::new(&key),
                starts: Timestamp::from_micros(starts),
                amount: amount.unwrap_or(0),
            }),
        );
        let refunds = compare(self.refunds.calls(), read_refunds(db).await?);
        all.extend(refunds.map(|(call, refunded, _)| Difference::Refund { call, refunded }));
        Ok(all)
    }

    /// Windows in which anything is used or held.
    fn windows(&self) -> BTreeMap<WindowId, Sums> {
        let mut windows: BTreeMap<WindowId, Sums> = BTreeMap::new();
        for (id, used) in self.used.iter().filter(|(_, used)| **used != 0) {
            windows.entry(id.clone()).or_default().used = *used;
        }
        for ((_, key, starts), amount) in self.holds() {
            let held = &mut windows.entry((key, starts)).or_default().held;
            *held = held.saturating_add(amount);
        }
        for (id, (overrun, frozen)) in &self.overrun {
            let window = windows.entry(id.clone()).or_default();
            (window.overrun, window.frozen) = (*overrun, *frozen);
        }
        windows
    }

    fn open_calls(&self) -> BTreeMap<CallId, ()> {
        let calls = self.open.keys();
        calls
            .filter_map(|call| Some((call.parse().ok()?, ())))
            .collect()
    }

    fn holds(&self) -> BTreeMap<HoldId, i64> {
        let mut holds = BTreeMap::new();
        for (call, held) in self.open.iter().chain(&self.kept) {
            let Ok(call) = call.parse::<CallId>() else {
                continue;
            };
            for one in held {
                holds.insert((call, one.key.clone(), one.window), one.amount);
            }
        }
        holds
    }
}

/// What stands on one side only, or differs: the id, what the events say, what the table says.
fn compare<K: Ord, V: PartialEq>(
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

/// Windows in which more is taken than any limit allowed that was in force in them.
pub(super) async fn overspent(db: &mut SqliteConnection) -> Result<Vec<Fault>, DbError> {
    let keys = "SELECT key FROM budget_window JOIN budget ON id = budget_id WHERE used + held > limit_high";
    let keys: Vec<String> = sqlx::query_scalar(keys).fetch_all(db).await?;
    Ok(keys
        .into_iter()
        .map(|key| Fault::Overspent { key })
        .collect())
}

async fn read_windows(db: &mut SqliteConnection) -> Result<Vec<(WindowId, Sums)>, DbError> {
    // A window in which nothing is used or held is as good as none.
    let rows = "SELECT key, starts_at_us, used, held, overrun, frozen
        FROM budget_window JOIN budget ON id = budget_id
        WHERE used <> 0 OR held <> 0 OR overrun <> 0 OR frozen <> 0";
    let rows: Vec<(String, i64, i64, i64, i64, bool)> = sqlx::query_as(rows).fetch_all(db).await?;
    let rows = rows
        .into_iter()
        .map(|(key, starts, used, held, overrun, frozen)| {
            let sums = Sums {
                used,
                held,
                overrun,
                frozen,
            };
            ((key, starts), sums)
        });
    Ok(rows.collect())
}

async fn read_calls(db: &mut SqliteConnection) -> Result<Vec<(CallId, ())>, DbError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT call_id FROM open_call")
        .fetch_all(db)
        .await?;
    rows.iter().map(|call| Ok((call_id(call)?, ()))).collect()
}

async fn read_holds(db: &mut SqliteConnection) -> Result<Vec<(HoldId, i64)>, DbError> {
    let rows = "SELECT call_id, coalesce(key, budget_id), starts_at_us, amount
        FROM hold LEFT JOIN budget ON id = budget_id";
    let rows: Vec<(Vec<u8>, String, i64, i64)> = sqlx::query_as(rows).fetch_all(db).await?;
    rows.into_iter()
        .map(|(call, key, starts, amount)| Ok(((call_id(&call)?, key, starts), amount)))
        .collect()
}

async fn read_refunds(db: &mut SqliteConnection) -> Result<Vec<(CallId, i64)>, DbError> {
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as("SELECT call_id, seq FROM refund")
        .fetch_all(db)
        .await?;
    rows.into_iter()
        .map(|(call, seq)| Ok((call_id(&call)?, seq)))
        .collect()
}

fn call_id(bytes: &[u8]) -> Result<CallId, DbError> {
    CallId::from_slice(bytes)
        .ok_or_else(|| sqlx::Error::Decode("a call id has 16 bytes".into()).into())
}
