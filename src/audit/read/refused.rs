//! Refusals one by one, newest first, with the names as they came: those that were only ever refused have no number,
//! and no sum names them.

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::Timestamp;

use super::row::{CallRow, load};
use super::{extent, first_since};

/// Refusals that are looked at, at most.
pub const REFUSALS: usize = 2_000;

/// One refusal, or several alike that are one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneRefusal {
    /// When.
    pub at: Timestamp,
    /// Who was refused; nobody knows without a token.
    pub agent: Option<String>,
    /// Which server was meant.
    pub server: Option<String>,
    /// Which tool, by the server's own name.
    pub tool: Option<String>,
    /// Why.
    pub reason: String,
    /// How many it stands for.
    pub times: i64,
    /// The rule that decided, and its line.
    pub rule: Option<(String, u32)>,
}

/// The newest refusals of some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewestRefusals {
    /// Newest first.
    pub rows: Vec<OneRefusal>,
    /// The oldest that was looked at, when there are more before it.
    pub cut_at: Option<Timestamp>,
}

type Columns = (
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    Option<i64>,
    Option<String>,
    Option<i64>,
);

/// The newest refusals from one instant up to, not including, another; at most [`REFUSALS`].
///
/// # Errors
/// When SQLite refuses.
pub async fn newest_refusals(
    db: &mut SqliteConnection,
    (from, to): (Timestamp, Timestamp),
) -> Result<NewestRefusals, DbError> {
    let Some(all) = extent(db).await? else {
        return Ok(NewestRefusals::default());
    };
    let first = first_since(db, all, from).await?;
    let end = first_since(db, all, to).await?;
    // The index `event_denied` finds them; the text of the event has every name.
    let text = "SELECT at_us, meta ->> '$.agent', meta ->> '$.server', meta ->> '$.tool', reason,
            meta ->> '$.count', meta ->> '$.rule', meta ->> '$.line'
        FROM event WHERE kind = 'denied' AND seq >= $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
    let rows: Vec<Columns> = sqlx::query_as(text)
        .bind(first)
        .bind(end)
        .bind(
            i64::try_from(REFUSALS)
                .unwrap_or(i64::MAX)
                .saturating_add(1),
        )
        .fetch_all(db)
        .await?;
    let rows = rows.into_iter();
    let mut rows: Vec<OneRefusal> = rows
        .map(
            |(at_us, agent, server, tool, reason, count, rule, line)| OneRefusal {
                at: Timestamp::from_micros(at_us),
                agent,
                server,
                tool,
                reason,
                times: count.unwrap_or(1),
                rule: rule.map(|rule| {
                    (
                        rule,
                        line.and_then(|line| line.try_into().ok()).unwrap_or(0),
                    )
                }),
            },
        )
        .collect();
    let is_cut = rows.len() > REFUSALS;
    rows.truncate(REFUSALS);
    let cut_at = rows.last().map(|row| row.at).filter(|_| is_cut);
    Ok(NewestRefusals { rows, cut_at })
}

/// The newest refused calls, so many at most, since an instant; newest first.
///
/// # Errors
/// When SQLite refuses.
pub async fn refusals(
    db: &mut SqliteConnection,
    at_most: i64,
    since: Timestamp,
) -> Result<Vec<CallRow>, DbError> {
    let text = "SELECT seq FROM event WHERE kind = 'denied' ORDER BY seq DESC LIMIT $1";
    let seqs: Vec<i64> = sqlx::query_scalar(text)
        .bind(at_most)
        .fetch_all(&mut *db)
        .await?;
    let mut rows = load(db, &seqs).await?;
    rows.retain(|row| row.at >= since);
    Ok(rows)
}
