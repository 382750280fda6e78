//! What the log says of one call.

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{BudgetKey, CallId, Timestamp};

use super::Kind;

/// One call, from its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// `admitted` or `denied`.
    pub opening: Kind,
    /// The sequence of that event.
    pub opened: i64,
    /// How it ended; none while it is open, and none for one that was denied.
    pub closing: Option<Closed>,
}

impl Traced {
    /// Whether it was let through and is not over.
    pub fn is_open(&self) -> bool {
        self.opening == Kind::Admitted && self.closing.is_none()
    }
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The sequence of its event.
    pub seq: i64,
    /// What it cost, in each budget and window in which it cost something.
    pub costs: Vec<Cost>,
}

/// What a call cost in one window of a budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Which count.
    pub key: BudgetKey,
    /// The start of its window.
    pub starts: Timestamp,
    /// How much, in the unit of the budget.
    pub amount: u64,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    budgets: Vec<MetaBudget>,
}

#[derive(Deserialize)]
struct MetaBudget {
    key: String,
    window: i64,
    #[serde(default)]
    charged: u64,
}

/// Looks a call up; `None` when the log knows none of this id.
///
/// # Errors
/// When SQLite refuses or an event cannot be understood.
pub async fn trace(
    connection: &mut SqliteConnection,
    call: CallId,
) -> Result<Option<Traced>, DbError> {
    let events = "SELECT seq, kind, meta FROM event WHERE call_id = $1 ORDER BY seq";
    let events: Vec<(i64, String, String)> = sqlx::query_as(events)
        .bind(call.as_bytes().as_slice())
        .fetch_all(connection)
        .await?;
    let mut traced = None;
    for (seq, kind, meta) in events {
        let Ok(kind) = kind.parse::<Kind>() else {
            continue;
        };
        if kind.opens() {
            traced = Some(Traced {
                opening: kind,
                opened: seq,
                closing: None,
            });
        } else if let Some(traced) = traced.as_mut().filter(|_| kind.closes()) {
            let costs = costs(&meta)?;
            traced.closing = Some(Closed { seq, costs });
        }
    }
    Ok(traced)
}

fn costs(meta: &str) -> Result<Vec<Cost>, DbError> {
    let meta: Meta =
        serde_json::from_str(meta).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let costs = meta.budgets.into_iter().filter(|cost| cost.charged > 0);
    let costs = costs.map(|cost| Cost {
        key: BudgetKey::new(&cost.key),
        starts: Timestamp::from_micros(cost.window),
        amount: cost.charged,
    });
    Ok(costs.collect())
}

/// Whether the last checkpoint in the log is signed.
///
/// # Errors
/// When SQLite refuses.
pub async fn is_signed(connection: &mut SqliteConnection) -> Result<bool, DbError> {
    let last = "SELECT json_type(meta, '$.signature') IS NOT NULL FROM gateway JOIN event ON seq = checkpoint_seq";
    let signed: Option<bool> = sqlx::query_scalar(last).fetch_optional(connection).await?;
    Ok(signed.unwrap_or(false))
}
