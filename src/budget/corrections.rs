//! The tables of the ledger, where an operator corrects them: refunds, and windows that were forgotten.

use sqlx::SqliteConnection;

use crate::db::{Bulk, DbError, WriteTx};
use crate::types::{CallId, Timestamp};

use super::books::{Row, WindowId};
use super::{Count, Span};

const NEW_REFUNDS: Bulk = Bulk {
    head: "INSERT INTO refund (call_id, seq) VALUES",
    columns: 2,
    tail: "",
    single: None,
};

/// Notes which calls were refunded, with the sequence of the event that says so.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub async fn write_refunds(tx: &mut WriteTx<'_>, refunds: &[(CallId, i64)]) -> Result<(), DbError> {
    NEW_REFUNDS
        .run(tx, refunds, |q, (call, seq)| {
            q.bind(call.as_bytes().as_slice()).bind(*seq)
        })
        .await
}

/// The sequence of the event that refunded a call; `None` when none did.
///
/// # Errors
/// When SQLite refuses.
pub async fn refund_of(
    connection: &mut SqliteConnection,
    call: CallId,
) -> Result<Option<i64>, DbError> {
    let seq = sqlx::query_scalar("SELECT seq FROM refund WHERE call_id = $1")
        .bind(call.as_bytes().as_slice())
        .fetch_optional(connection)
        .await?;
    Ok(seq)
}

/// Reads one window; `None` when there is no such row.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_window(
    connection: &mut SqliteConnection,
    (budget, starts): WindowId,
) -> Result<Option<Row>, DbError> {
    let row = "SELECT ends_at_us, limit_calls, limit_high, used, held FROM budget_window
        WHERE budget_id = $1 AND starts_at_us = $2";
    let row: Option<(i64, i64, i64, i64, i64)> = sqlx::query_as(row)
        .bind(budget)
        .bind(starts.micros())
        .fetch_optional(connection)
        .await?;
    let amount = |stored: i64| u64::try_from(stored).unwrap_or(0);
    Ok(row.map(|(ends, limit, high, used, held)| Row {
        span: Span {
            starts,
            ends: Timestamp::from_micros(ends),
        },
        count: Count {
            limit: amount(limit),
            limit_high: amount(high),
            used: amount(used),
            held: amount(held),
        },
    }))
}
