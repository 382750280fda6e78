//! The tables of the ledger: budgets, windows, open calls and their holds.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;

use crate::db::{Bulk, DbError, WriteTx};
use crate::types::{BudgetKey, CallId, Timestamp};

use super::Span;
use super::books::{Books, Count, Held, Hold, Row, WindowId};

const NEW_BUDGETS: Bulk = Bulk {
    head: "INSERT INTO budget (id, key) VALUES",
    columns: 2,
    tail: "",
    single: None,
};
const WINDOWS: Bulk = Bulk {
    head: "INSERT INTO budget_window
        (budget_id, starts_at_us, ends_at_us, limit_calls, limit_high, used, held) VALUES",
    columns: 7,
    tail: "ON CONFLICT (budget_id, starts_at_us) DO UPDATE SET
        ends_at_us = excluded.ends_at_us, limit_calls = excluded.limit_calls, limit_high = excluded.limit_high,
        used = excluded.used, held = excluded.held",
    single: None,
};
const NEW_CALLS: Bulk = Bulk {
    head: "INSERT INTO open_call (call_id, admitted_seq) VALUES",
    columns: 2,
    tail: "",
    single: None,
};
const NEW_HOLDS: Bulk = Bulk {
    head: "INSERT INTO hold (call_id, budget_id, starts_at_us, amount) VALUES",
    columns: 4,
    tail: "",
    single: None,
};
const CLOSED_CALLS: Bulk = Bulk {
    head: "DELETE FROM open_call WHERE call_id IN (VALUES",
    columns: 1,
    tail: ")",
    single: Some("DELETE FROM open_call WHERE call_id = ?"),
};
const CLOSED_HOLDS: Bulk = Bulk {
    head: "DELETE FROM hold WHERE (call_id, budget_id) IN (VALUES",
    columns: 2,
    tail: ")",
    single: Some("DELETE FROM hold WHERE call_id = ? AND budget_id = ?"),
};

/// What one batch did to the ledger, besides what the books themselves remember.
#[derive(Debug, Default)]
pub struct LedgerRows {
    /// Calls let through: id and the sequence of their `admitted` event.
    pub admitted: Vec<(CallId, i64)>,
    /// What they hold.
    pub holds: Vec<(CallId, Held)>,
    /// Calls ended.
    pub closed: Vec<CallId>,
    /// What they held: the call and the row of the budget.
    pub released: Vec<(CallId, i64)>,
}

impl LedgerRows {
    /// Notes a call that was let through.
    pub fn admit(&mut self, hold: &Hold, seq: i64) {
        self.admitted.push((hold.call(), seq));
        self.holds
            .extend(hold.held().iter().map(|held| (hold.call(), held.clone())));
    }
}

/// Writes the changes of one batch.
///
/// # Errors
/// When SQLite refuses; a CHECK that fails means the books were wrong, and nothing of the batch stays.
pub async fn write(
    tx: &mut WriteTx<'_>,
    books: &mut Books,
    rows: &LedgerRows,
) -> Result<(), DbError> {
    let (fresh, windows) = books.take_changes();
    NEW_BUDGETS
        .run(tx, &fresh, |q, (id, key)| q.bind(*id).bind(key.as_str()))
        .await?;
    WINDOWS
        .run(tx, &windows, |q, ((id, starts), row)| {
            let q = q
                .bind(*id)
                .bind(starts.micros())
                .bind(row.span.ends.micros());
            let q = q
                .bind(stored(row.count.limit))
                .bind(stored(row.count.limit_high));
            q.bind(stored(row.count.used)).bind(stored(row.count.held))
        })
        .await?;
    NEW_CALLS
        .run(tx, &rows.admitted, |q, (call, seq)| {
            q.bind(call.as_bytes().as_slice()).bind(*seq)
        })
        .await?;
    NEW_HOLDS
        .run(tx, &rows.holds, |q, (call, held)| {
            let q = q.bind(call.as_bytes().as_slice()).bind(held.budget_id);
            q.bind(held.starts.micros()).bind(stored(held.amount))
        })
        .await?;
    CLOSED_HOLDS
        .run(tx, &rows.released, |q, (call, id)| {
            q.bind(call.as_bytes().as_slice()).bind(*id)
        })
        .await?;
    CLOSED_CALLS
        .run(tx, &rows.closed, |q, call| {
            q.bind(call.as_bytes().as_slice())
        })
        .await
}

/// Reads the books back: all budgets, the windows that have not ended or hold something, all open calls.
///
/// # Errors
/// When SQLite refuses or a row cannot be understood.
pub async fn load(connection: &mut SqliteConnection, at: Timestamp) -> Result<Books, DbError> {
    let budgets: Vec<(i64, String)> = sqlx::query_as("SELECT id, key FROM budget")
        .fetch_all(&mut *connection)
        .await?;
    let budgets: HashMap<BudgetKey, i64> = budgets
        .into_iter()
        .map(|(id, key)| (BudgetKey::new(&key), id))
        .collect();
    let windows = load_windows(connection, at).await?;
    let open = load_open(connection, &budgets, &windows).await?;
    Ok(Books::new(budgets, windows, open))
}

async fn load_windows(
    connection: &mut SqliteConnection,
    at: Timestamp,
) -> Result<BTreeMap<WindowId, Row>, DbError> {
    // Each half has an index of its own; with OR there would be none.
    let sql = "SELECT budget_id, starts_at_us, ends_at_us, limit_calls, limit_high, used, held
        FROM budget_window WHERE ends_at_us > $1
        UNION SELECT budget_id, starts_at_us, ends_at_us, limit_calls, limit_high, used, held
        FROM hold JOIN budget_window USING (budget_id, starts_at_us)";
    let rows: Vec<(i64, i64, i64, i64, i64, i64, i64)> = sqlx::query_as(sql)
        .bind(at.micros())
        .fetch_all(connection)
        .await?;
    let windows = rows
        .into_iter()
        .map(|(id, starts, ends, limit, high, used, held)| {
            let starts = Timestamp::from_micros(starts);
            let span = Span {
                starts,
                ends: Timestamp::from_micros(ends),
            };
            let count = Count {
                limit: amount(limit),
                limit_high: amount(high),
                used: amount(used),
                held: amount(held),
            };
            ((id, starts), Row { span, count })
        });
    Ok(windows.collect())
}

async fn load_open(
    connection: &mut SqliteConnection,
    budgets: &HashMap<BudgetKey, i64>,
    windows: &BTreeMap<WindowId, Row>,
) -> Result<HashMap<CallId, Vec<Held>>, DbError> {
    let keys: HashMap<i64, &BudgetKey> = budgets.iter().map(|(key, id)| (*id, key)).collect();
    let calls: Vec<Vec<u8>> = sqlx::query_scalar("SELECT call_id FROM open_call")
        .fetch_all(&mut *connection)
        .await?;
    let mut open: HashMap<CallId, Vec<Held>> = HashMap::new();
    for call in calls {
        open.insert(call_id(&call)?, Vec::new());
    }
    let holds: Vec<(Vec<u8>, i64, i64, i64)> =
        sqlx::query_as("SELECT call_id, budget_id, starts_at_us, amount FROM hold")
            .fetch_all(connection)
            .await?;
    for (call, budget_id, starts, held) in holds {
        let starts = Timestamp::from_micros(starts);
        let key = keys.get(&budget_id).ok_or(sqlx::Error::RowNotFound)?;
        let after = windows
            .get(&(budget_id, starts))
            .map(|row| row.count)
            .unwrap_or_default();
        open.entry(call_id(&call)?).or_default().push(Held {
            key: (*key).clone(),
            budget_id,
            starts,
            amount: amount(held),
            after,
        });
    }
    Ok(open)
}

fn call_id(bytes: &[u8]) -> Result<CallId, DbError> {
    CallId::from_slice(bytes)
        .ok_or_else(|| sqlx::Error::Decode("a call id has 16 bytes".into()).into())
}

// The columns have CHECKs, so neither direction ever meets a number out of range.
fn stored(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn amount(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
