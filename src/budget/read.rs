//! Reads the ledger for people. Never writes.

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::{BudgetKey, Timestamp};

use super::Span;

/// One budget in the window that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWindow {
    /// Which count.
    pub key: BudgetKey,
    /// The limit at the last reservation, in calls.
    pub limit: i64,
    /// Calls charged.
    pub used: i64,
    /// Calls under way, which may still be charged.
    pub held: i64,
    /// The window.
    pub span: Span,
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
        SELECT b.key, w.limit_calls, w.used, w.held, w.starts_at_us, w.ends_at_us
        FROM budget AS b JOIN budget_window AS w ON w.budget_id = b.id
        WHERE w.starts_at_us = (
            SELECT max(newest.starts_at_us) FROM budget_window AS newest WHERE newest.budget_id = b.id
        ) AND w.ends_at_us > $1
        ORDER BY (w.used + w.held) * 1.0 / max(w.limit_calls, 1) DESC, w.used DESC, b.key
        LIMIT $2";
    let windows = sqlx::query_as::<_, (String, i64, i64, i64, i64, i64)>(text)
        .bind(now.micros())
        .bind(at_most)
        .fetch_all(db)
        .await?;
    Ok(windows.into_iter().map(window).collect())
}

fn window((key, limit, used, held, starts, ends): (String, i64, i64, i64, i64, i64)) -> OpenWindow {
    OpenWindow {
        key: BudgetKey::new(&key),
        limit,
        used,
        held,
        span: Span {
            starts: Timestamp::from_micros(starts),
            ends: Timestamp::from_micros(ends),
        },
    }
}
