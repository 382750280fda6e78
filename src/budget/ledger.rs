//! The tables of the ledger: budgets, windows, open calls and their holds.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;

use crate::db::{DbError, WriteTx, params};
use crate::policy::{Charge, Refund};
use crate::types::{BudgetKey, CallId, Timestamp, Zone};

use super::books::{Books, Contents, Kept};
use super::count::{Count, Held, Hold, Row, WindowId};
use super::{Span, seed, span};

const NEW_BUDGET: &str = "INSERT INTO budget (id, key) VALUES (?, ?)";
const WINDOW: &str = "INSERT INTO budget_window
        (budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held, overrun, frozen)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (budget_id, starts_at_us) DO UPDATE SET
        ends_at_us = excluded.ends_at_us, limit_amount = excluded.limit_amount, limit_high = excluded.limit_high,
        used = excluded.used, held = excluded.held, overrun = excluded.overrun, frozen = excluded.frozen";
/// A window that is as long as it was. Its end is in an index, of which another page would be written each time.
const COUNTED_WINDOW: &str = "UPDATE budget_window SET
        limit_amount = ?4, limit_high = ?5, used = ?6, held = ?7, overrun = ?8, frozen = ?9
    WHERE budget_id = ?1 AND starts_at_us = ?2 AND ends_at_us = ?3";
const HOUR: &str = "INSERT INTO used_hour (budget_id, hour_us, used) VALUES (?, ?, ?)
    ON CONFLICT (budget_id, hour_us) DO UPDATE SET used = used + excluded.used";
const NEW_CALL: &str = "INSERT INTO open_call (call_id, admitted_seq) VALUES (?, ?)";
const NEW_HOLD: &str = "INSERT INTO hold
        (call_id, budget_id, starts_at_us, amount, taken_at_us, kept_until_us) VALUES (?, ?, ?, ?, ?, ?)";
const CLOSED_CALL: &str = "DELETE FROM open_call WHERE call_id = ?";
const CLOSED_HOLD: &str = "DELETE FROM hold WHERE call_id = ? AND budget_id = ?";

/// What one batch did to the ledger, besides what the books themselves remember.
#[derive(Debug, Default)]
pub struct LedgerRows {
    /// Calls let through: id and the sequence of their `admitted` event.
    pub admitted: Vec<(CallId, i64)>,
    /// What they hold, and what closed calls keep: until when.
    pub holds: Vec<(CallId, Held, Option<Timestamp>)>,
    /// Calls ended.
    pub closed: Vec<CallId>,
    /// Holds that are gone: the call and the row of the budget.
    pub released: Vec<(CallId, i64)>,
}

impl LedgerRows {
    /// Notes a call that was let through.
    pub fn admit(&mut self, hold: &Hold, seq: i64) {
        self.admitted.push((hold.call(), seq));
        let held = hold.held().iter();
        self.holds
            .extend(held.map(|held| (hold.call(), held.clone(), None)));
    }

    /// Notes that a call is closed; what it keeps waits for the call that goes on with it.
    pub fn close(&mut self, hold: &Hold, kept_until: Option<Timestamp>) {
        self.closed.push(hold.call());
        self.release(hold.call(), hold.held());
        if kept_until.is_some() {
            let held = hold.held().iter();
            self.holds
                .extend(held.map(|held| (hold.call(), held.clone(), kept_until)));
        }
    }

    /// Notes that a call holds nothing more.
    pub fn release(&mut self, call: CallId, held: &[Held]) {
        self.released
            .extend(held.iter().map(|held| (call, held.budget_id)));
    }
}

/// Writes the changes of one batch.
///
/// # Errors
/// When SQLite refuses; a CHECK that fails means the books were wrong, and nothing of the batch stays.
pub fn write(tx: &mut WriteTx<'_>, books: &mut Books, rows: &LedgerRows) -> Result<(), DbError> {
    let (fresh, windows, hours) = books.take_changes();
    tx.each(NEW_BUDGET, &fresh, |write, (id, key)| {
        write.change(params![id, key.as_str()])
    })?;
    write_windows(tx, &windows)?;
    tx.each(HOUR, &hours, |write, ((id, hour), used)| {
        write.change(params![id, hour.micros(), used])
    })?;
    // Before the new ones: what a closed call keeps stands under its own name again, with a time.
    tx.each(CLOSED_HOLD, &rows.released, |forget, (call, id)| {
        forget.change(params![call.as_bytes(), id])
    })?;
    tx.each(CLOSED_CALL, &rows.closed, |forget, call| {
        forget.change([call.as_bytes()])
    })?;
    tx.each(NEW_CALL, &rows.admitted, |write, (call, seq)| {
        write.change(params![call.as_bytes(), seq])
    })?;
    tx.each(NEW_HOLD, &rows.holds, |write, (call, held, kept_until)| {
        write.change(params![
            call.as_bytes(),
            held.budget_id,
            held.starts.micros(),
            stored(held.amount),
            held.taken.micros(),
            kept_until.map(|until| until.micros()),
        ])
    })
}

fn write_windows(tx: &WriteTx<'_>, windows: &[(WindowId, Row)]) -> Result<(), DbError> {
    let mut count = tx.prepare(COUNTED_WINDOW)?;
    for ((id, starts), row) in windows {
        let values = params![
            id,
            starts.micros(),
            row.span.ends.micros(),
            stored(row.count.limit),
            stored(row.count.limit_high),
            stored(row.count.used),
            stored(row.count.held),
            stored(row.overrun),
            row.frozen,
        ];
        if count.execute(values)? == 0 {
            tx.prepare(WINDOW)?.change(values)?;
        }
    }
    Ok(())
}

/// What a new count begins with: the use of earlier counts of its rule in the span that it counts. Empty when there
/// is none.
///
/// # Errors
/// When SQLite refuses.
pub async fn seeds(
    connection: &mut SqliteConnection,
    books: &Books,
    (charge, beside): (&Charge, &[Charge]),
    zone: &Zone,
    at: Timestamp,
) -> Result<Vec<(Span, u64)>, DbError> {
    let limit = &charge.limit;
    let during = seed::counted(limit.window, limit.amount, zone, at);
    let mut most: BTreeMap<Timestamp, u64> = BTreeMap::new();
    for group in books.relatives(&charge.key, beside) {
        let mut used = used_by_hour(connection, &group, during).await?;
        let held = books.held_in(&group, during);
        if held > 0 {
            // What is in flight may still be charged.
            let now = used.entry(seed::hour_of(at)).or_default();
            *now = now.saturating_add(held);
        }
        let sum = |used: &BTreeMap<Timestamp, u64>| {
            used.values().fold(0_u64, |a, b| a.saturating_add(*b))
        };
        if sum(&used) > sum(&most) {
            most = used;
        }
    }
    if most.is_empty() {
        return Ok(Vec::new());
    }
    let running = span(limit.window, limit.amount, zone, at);
    Ok(seed::windows(limit.window, running, &most, at))
}

/// What was charged in the hours that overlap a span.
async fn used_by_hour(
    connection: &mut SqliteConnection,
    budgets: &[i64],
    during: Span,
) -> Result<BTreeMap<Timestamp, u64>, DbError> {
    let sql = "SELECT hour_us, sum(used) FROM used_hour
        WHERE budget_id IN (SELECT value FROM json_each($1)) AND hour_us >= $2 AND hour_us < $3
        GROUP BY hour_us HAVING sum(used) > 0";
    let rows: Vec<(i64, i64)> = sqlx::query_as(sql)
        .bind(serde_json::Value::from(budgets).to_string())
        .bind(seed::hour_of(during.starts).micros())
        .bind(during.ends.micros())
        .fetch_all(connection)
        .await?;
    let rows = rows.into_iter();
    Ok(rows
        .map(|(hour, used)| (Timestamp::from_micros(hour), amount(used)))
        .collect())
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
    let mut contents = Contents {
        budgets,
        windows,
        ..Contents::default()
    };
    load_holds(connection, &mut contents).await?;
    Ok(Books::new(contents))
}

/// A row of a window: budget, start, end, limit, highest limit, used, held, overrun, frozen.
type WindowRow = (i64, i64, i64, i64, i64, i64, i64, i64, bool);

/// A row of a hold: call, budget, start of the window, amount, when it was taken, until when it is kept.
/// Last, whether an earlier round took it.
type HoldRow = (Vec<u8>, i64, i64, i64, i64, Option<i64>, bool);

async fn load_windows(
    connection: &mut SqliteConnection,
    at: Timestamp,
) -> Result<BTreeMap<WindowId, Row>, DbError> {
    // Each half has an index of its own; with OR there would be none.
    let sql = "SELECT budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held, overrun, frozen
        FROM budget_window WHERE ends_at_us > $1
        UNION SELECT budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held, overrun, frozen
        FROM hold JOIN budget_window USING (budget_id, starts_at_us)";
    let rows: Vec<WindowRow> = sqlx::query_as(sql)
        .bind(at.micros())
        .fetch_all(connection)
        .await?;
    let windows = rows.into_iter().map(
        |(id, starts, ends, limit, high, used, held, overrun, frozen)| {
            let starts = Timestamp::from_micros(starts);
            let ends = Timestamp::from_micros(ends);
            let count = Count {
                limit: amount(limit),
                limit_high: amount(high),
                used: amount(used),
                held: amount(held),
            };
            let row = Row {
                count,
                overrun: amount(overrun),
                frozen,
                ..Row::empty(Span { starts, ends })
            };
            ((id, starts), row)
        },
    );
    Ok(windows.collect())
}

/// Reads open calls and what they hold, and what closed ones keep. What settles them is not in the file: a call that is
/// closed by what stands there costs what it holds.
async fn load_holds(
    connection: &mut SqliteConnection,
    contents: &mut Contents,
) -> Result<(), DbError> {
    let keys: HashMap<i64, &BudgetKey> = contents
        .budgets
        .iter()
        .map(|(key, id)| (*id, key))
        .collect();
    let calls: Vec<Vec<u8>> = sqlx::query_scalar("SELECT call_id FROM open_call")
        .fetch_all(&mut *connection)
        .await?;
    for call in calls {
        contents.open.insert(call_id(&call)?, Vec::new());
    }
    // A hold from before its call was let through was taken by an earlier round.
    let holds = "SELECT hold.call_id, budget_id, starts_at_us, amount, taken_at_us, kept_until_us,
            coalesce(taken_at_us < at_us, FALSE)
        FROM hold LEFT JOIN open_call USING (call_id) LEFT JOIN event ON seq = admitted_seq";
    let holds: Vec<HoldRow> = sqlx::query_as(holds).fetch_all(connection).await?;
    for (call, budget_id, starts, held, taken, kept_until, inherited) in holds {
        let starts = Timestamp::from_micros(starts);
        let key = keys.get(&budget_id).ok_or(sqlx::Error::RowNotFound)?;
        let row = contents.windows.get(&(budget_id, starts));
        let held = Held {
            key: (*key).clone(),
            budget_id,
            starts,
            taken: Timestamp::from_micros(taken),
            amount: amount(held),
            inherited,
            reported: None,
            refund: Refund::default(),
            after: row.map(|row| row.count).unwrap_or_default(),
        };
        let call = call_id(&call)?;
        match kept_until {
            None => contents.open.entry(call).or_default().push(held),
            Some(until) => {
                let until = Timestamp::from_micros(until);
                let kept = contents.kept.entry(call);
                let nothing = Kept {
                    held: Vec::new(),
                    until,
                };
                kept.or_insert(nothing).held.push(held);
            }
        }
    }
    Ok(())
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
