//! Reads the ledger for people. Never writes.

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{BudgetKey, Timestamp};

use super::Span;

/// One budget in the window that runs now; of a rolling one, everything that counts now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Its number in the ledger.
    pub id: i64,
    /// Which count.
    pub key: BudgetKey,
    /// The limit at the last reservation, in the unit of the budget.
    pub limit: i64,
    /// What was charged.
    pub used: i64,
    /// What calls under way may cost.
    pub held: i64,
    /// What servers reported beyond what was held.
    pub overrun: i64,
    /// Whether nothing more is taken for it.
    pub is_frozen: bool,
    /// The window; of a rolling one from the oldest call that counts to the moment it counts no more.
    pub span: Span,
}

/// Counts whose key begins like this, those that were made last first.
///
/// # Errors
/// When SQLite refuses.
pub async fn keys_beginning(
    db: &mut SqliteConnection,
    beginning: &str,
    at_most: i64,
) -> Result<Vec<BudgetKey>, DbError> {
    // The index on keys finds them; the last character there is comes behind all that go on.
    let text = "SELECT key FROM budget WHERE key > $1 AND key < $1 || $2 ORDER BY id DESC LIMIT $3";
    let keys = sqlx::query_scalar::<_, String>(text)
        .bind(beginning)
        .bind(char::MAX.to_string())
        .bind(at_most)
        .fetch_all(db)
        .await?;
    Ok(keys.iter().map(|key| BudgetKey::new(key)).collect())
}

/// The windows that run at an instant, the one nearest its limit first.
///
/// # Errors
/// When SQLite refuses.
pub async fn open_windows(
    db: &mut SqliteConnection,
    now: Timestamp,
    at_most: i64,
) -> Result<Vec<OpenWindow>, DbError> {
    let text = "
        WITH running AS (
            SELECT budget_id, sum(used) AS used, sum(held) AS held, sum(overrun) AS overrun, max(frozen) AS frozen,
                min(starts_at_us) AS starts, max(starts_at_us) AS newest, min(ends_at_us) AS ends
            FROM budget_window WHERE ends_at_us > $1 GROUP BY budget_id
        )
        SELECT b.id, b.key, w.limit_amount, r.used, r.held, r.overrun, r.frozen, r.starts, r.ends
        FROM running AS r
        JOIN budget AS b ON b.id = r.budget_id
        JOIN budget_window AS w ON w.budget_id = r.budget_id AND w.starts_at_us = r.newest
        ORDER BY (r.used + r.held) * 1.0 / max(w.limit_amount, 1) DESC, r.used DESC, b.key
        LIMIT $2";
    let windows = sqlx::query_as::<_, Open>(text)
        .bind(now.micros())
        .bind(at_most)
        .fetch_all(db)
        .await?;
    Ok(windows.into_iter().map(window).collect())
}

type Open = (i64, String, i64, i64, i64, i64, bool, i64, i64);

fn window((id, key, limit, used, held, overrun, is_frozen, starts, ends): Open) -> OpenWindow {
    OpenWindow {
        id,
        key: BudgetKey::new(&key),
        limit,
        used,
        held,
        overrun,
        is_frozen,
        span: Span {
            starts: Timestamp::from_micros(starts),
            ends: Timestamp::from_micros(ends),
        },
    }
}

/// What a budget has used and holds in the window of an instant; of a rolling one, in everything that counted then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountAt {
    /// Which count.
    pub key: BudgetKey,
    /// The limit at the last reservation, in the unit of the budget.
    pub limit: u64,
    /// What was charged.
    pub used: u64,
    /// What calls under way may cost.
    pub held: u64,
    /// What servers reported beyond what was held.
    pub overrun: u64,
    /// Whether nothing more is taken for it.
    pub is_frozen: bool,
    /// The window; a rolling one ends when something of it counts no more.
    pub span: Span,
}

impl CountAt {
    /// What is left; nothing of a budget that is frozen.
    pub fn left(&self) -> u64 {
        if self.is_frozen {
            return 0;
        }
        self.limit
            .saturating_sub(self.used)
            .saturating_sub(self.held)
    }
}

/// Every count that anything was taken of in its window of an instant, by name. Of the past, this is what is known
/// of it now: calls that were under way then have ended since.
///
/// # Errors
/// When SQLite refuses.
pub async fn counts_at(db: &mut SqliteConnection, at: Timestamp) -> Result<Vec<CountAt>, DbError> {
    let text = "
        WITH running AS (
            SELECT budget_id, sum(used) AS used, sum(held) AS held, sum(overrun) AS overrun, max(frozen) AS frozen,
                min(starts_at_us) AS starts, max(starts_at_us) AS newest, min(ends_at_us) AS ends
            FROM budget_window WHERE ends_at_us > $1 AND starts_at_us <= $1 GROUP BY budget_id
        )
        SELECT b.key, w.limit_amount, r.used, r.held, r.overrun, r.frozen, r.starts, r.ends
        FROM running AS r
        JOIN budget AS b ON b.id = r.budget_id
        JOIN budget_window AS w ON w.budget_id = r.budget_id AND w.starts_at_us = r.newest
        ORDER BY b.key";
    let counts = sqlx::query_as::<_, (String, i64, i64, i64, i64, bool, i64, i64)>(text)
        .bind(at.micros())
        .fetch_all(db)
        .await?;
    let amount = |stored: i64| u64::try_from(stored).unwrap_or(0);
    let counts = counts.into_iter();
    let counts = counts.map(
        |(key, limit, used, held, overrun, is_frozen, starts, ends)| CountAt {
            key: BudgetKey::new(&key),
            limit: amount(limit),
            used: amount(used),
            held: amount(held),
            overrun: amount(overrun),
            is_frozen,
            span: Span {
                starts: Timestamp::from_micros(starts),
                ends: Timestamp::from_micros(ends),
            },
        },
    );
    Ok(counts.collect())
}

/// The windows of one calendar budget that ended in some time. Amounts are in the unit of the budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which count.
    pub key: BudgetKey,
    /// How many windows ended in which anything was taken.
    pub windows: i64,
    /// How many of them had nothing left.
    pub full: i64,
    /// What was taken in all of them together, calls that were still under way included.
    pub taken: u64,
    /// The most that was taken in one.
    pub most: u64,
    /// The lowest and the highest limit that was in force in them.
    pub limits: (u64, u64),
}

/// Budgets with windows by the calendar of which one ended from one instant up to, not including, another, by name; at
/// most 5,000. Of rolling ones no window ends. What is refunded later is taken off, and so is a call that was under way
/// and turned out to cost nothing.
///
/// # Errors
/// When SQLite refuses.
pub async fn ended_between(
    db: &mut SqliteConnection,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Ended>, DbError> {
    // Only a window by the calendar has a zone in its name.
    let text = "
        WITH ended AS (
            SELECT budget_id, count(*) AS windows, sum(used + held >= limit_amount AND used + held > 0) AS full,
                sum(used + held) AS taken, max(used + held) AS most, min(limit_amount) AS low, max(limit_high) AS high
            FROM budget_window WHERE ends_at_us > $1 AND ends_at_us <= $2 GROUP BY budget_id
        )
        SELECT key, windows, full, taken, most, low, high FROM ended JOIN budget ON id = budget_id
        WHERE key LIKE '% %/%@%' ORDER BY key LIMIT 5000";
    let rows = sqlx::query_as::<_, (String, i64, i64, i64, i64, i64, i64)>(text)
        .bind(from.micros())
        .bind(to.micros())
        .fetch_all(db)
        .await?;
    let amount = |stored: i64| u64::try_from(stored).unwrap_or(0);
    let rows = rows
        .into_iter()
        .map(|(key, windows, full, taken, most, low, high)| Ended {
            key: BudgetKey::new(&key),
            windows,
            full,
            taken: amount(taken),
            most: amount(most),
            limits: (amount(low), amount(high)),
        });
    // The name of a tool may hold the sign as well.
    Ok(rows
        .filter(|ended| ended.key.parts().window.contains('@'))
        .collect())
}
