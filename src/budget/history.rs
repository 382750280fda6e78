//! One budget over time, for people: its windows, and what it used by the hour. Never writes.

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{BudgetKey, Timestamp};

use super::Span;

/// One window of one budget; of a rolling one, a piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastWindow {
    /// From when to when.
    pub span: Span,
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
}

type Columns = (i64, i64, i64, i64, i64, i64, bool);

fn window((starts, ends, limit, used, held, overrun, is_frozen): Columns) -> PastWindow {
    PastWindow {
        span: Span {
            starts: Timestamp::from_micros(starts),
            ends: Timestamp::from_micros(ends),
        },
        limit,
        used,
        held,
        overrun,
        is_frozen,
    }
}

/// What the budget with a number in the ledger counts; `None` when there is none.
///
/// # Errors
/// When SQLite refuses.
pub async fn key_of(db: &mut SqliteConnection, id: i64) -> Result<Option<BudgetKey>, DbError> {
    let key: Option<String> = sqlx::query_scalar("SELECT key FROM budget WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(key.as_deref().map(BudgetKey::new))
}

/// What counts of a budget at an instant, in one; of a rolling one from the oldest that counts to when that counts no
/// more. `None` when nothing was taken of it.
///
/// # Errors
/// When SQLite refuses.
pub async fn running(
    db: &mut SqliteConnection,
    id: i64,
    now: Timestamp,
) -> Result<Option<PastWindow>, DbError> {
    let text = "SELECT first, ends, limit_amount, used, held, overrun, frozen FROM (
            SELECT min(starts_at_us) AS first, min(ends_at_us) AS ends, max(starts_at_us) AS newest, sum(used) AS used,
                sum(held) AS held, sum(overrun) AS overrun, max(frozen) AS frozen
            FROM budget_window WHERE budget_id = $1 AND ends_at_us > $2)
        JOIN (SELECT starts_at_us, limit_amount FROM budget_window WHERE budget_id = $1) ON starts_at_us = newest";
    let row: Option<Columns> = sqlx::query_as(text)
        .bind(id)
        .bind(now.micros())
        .fetch_optional(db)
        .await?;
    Ok(row.map(window))
}

/// The last windows of a budget, newest first.
///
/// # Errors
/// When SQLite refuses.
pub async fn past_windows(
    db: &mut SqliteConnection,
    id: i64,
    at_most: u32,
) -> Result<Vec<PastWindow>, DbError> {
    let text = "SELECT starts_at_us, ends_at_us, limit_amount, used, held, overrun, frozen FROM budget_window
        WHERE budget_id = $1 ORDER BY starts_at_us DESC LIMIT $2";
    let rows: Vec<Columns> = sqlx::query_as(text)
        .bind(id)
        .bind(at_most)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(window).collect())
}

/// What was charged in each hour (UTC) that lies in a span at least in part, oldest first: the beginning of the hour,
/// and how much. A call counts in the hour in which it was let through. The newest hours when there are more.
///
/// # Errors
/// When SQLite refuses.
pub async fn used_by_hour(
    db: &mut SqliteConnection,
    id: i64,
    span: Span,
    at_most: u32,
) -> Result<Vec<(Timestamp, i64)>, DbError> {
    let text = "SELECT hour_us, used FROM used_hour
        WHERE budget_id = $1 AND hour_us > $2 - 3600000000 AND hour_us < $3 ORDER BY hour_us DESC LIMIT $4";
    let rows: Vec<(i64, i64)> = sqlx::query_as(text)
        .bind(id)
        .bind(span.starts.micros())
        .bind(span.ends.micros())
        .bind(at_most)
        .fetch_all(db)
        .await?;
    let rows = rows.into_iter().rev();
    let rows = rows.map(|(hour, used)| (Timestamp::from_micros(hour), used));
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, open};

    const HOUR: i64 = 3_600_000_000;

    #[tokio::test]
    async fn a_budget_is_told_by_its_windows_and_hours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let db = writer.connection();
        for text in [
            "INSERT INTO budget (id, key) VALUES (7, 'agents.clawd calls/day@UTC')",
            "INSERT INTO budget_window (budget_id, starts_at_us, ends_at_us, limit_amount, limit_high, used, held)
                VALUES (7, 0, 86400000000, 5, 5, 5, 0), (7, 86400000000, 172800000000, 9, 9, 2, 1)",
            "INSERT INTO used_hour (budget_id, hour_us, used) VALUES (7, 0, 3), (7, 82800000000, 2), (7, 86400000000, 2)",
        ] {
            sqlx::query(text).execute(&mut *db).await.unwrap();
        }
        let key = key_of(db, 7).await.unwrap().unwrap();
        assert_eq!(key.as_str(), "agents.clawd calls/day@UTC");
        assert_eq!(key_of(db, 8).await.unwrap(), None);
        let windows = past_windows(db, 7, 9).await.unwrap();
        let told: Vec<_> = windows.iter().map(|w| (w.limit, w.used, w.held)).collect();
        assert_eq!(told, [(9, 2, 1), (5, 5, 0)]);
        let at = Timestamp::from_micros(24 * HOUR);
        let now = running(db, 7, at).await.unwrap();
        assert_eq!(now, windows.first().copied());
        let later = Timestamp::from_micros(48 * HOUR);
        assert_eq!(running(db, 7, later).await.unwrap(), None);
        let hours = used_by_hour(db, 7, windows[1].span, 9).await.unwrap();
        let hours: Vec<_> = hours
            .iter()
            .map(|(at, used)| (at.micros() / HOUR, *used))
            .collect();
        assert_eq!(hours, [(0, 3), (23, 2)]);
        let newest = used_by_hour(db, 7, windows[1].span, 1).await.unwrap();
        assert_eq!(newest.len(), 1);
    }
}
