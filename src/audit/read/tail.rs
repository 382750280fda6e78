//! Calls as they end, for whoever watches the log.

use std::collections::HashMap;

use sqlx::SqliteConnection;

use crate::audit::Kind;
use crate::db::DbError;

use super::CallRow;
use super::row::load;

/// Events that are looked at in one go.
const AT_ONCE: i64 = 500;

/// What ended after some event.
#[derive(Debug, Default)]
pub struct Ended {
    /// Calls that were refused or closed, in that order.
    pub rows: Vec<CallRow>,
    /// The last event that was looked at; where to go on.
    pub seq: i64,
    /// Whether there may be more already.
    pub has_more: bool,
    /// Whether the last of these events closed the log.
    pub is_closed: bool,
}

/// The calls that were refused or closed after an event.
///
/// # Errors
/// When SQLite refuses.
pub async fn ended_since(db: &mut SqliteConnection, seq: i64) -> Result<Ended, DbError> {
    let text = "SELECT e.seq, e.kind, coalesce(o.seq, e.seq) FROM event AS e
        LEFT JOIN event AS o ON o.call_id = e.call_id AND (o.kind IN ('admitted', 'denied')) = 1
        WHERE e.seq > $1 ORDER BY e.seq LIMIT $2";
    let events: Vec<(i64, String, i64)> = sqlx::query_as(text)
        .bind(seq)
        .bind(AT_ONCE)
        .fetch_all(&mut *db)
        .await?;
    let ends = |kind: &str| {
        kind.parse()
            .is_ok_and(|kind: Kind| kind.closes() || kind == Kind::Denied)
    };
    let opened: Vec<i64> = events
        .iter()
        .filter(|(_, kind, _)| ends(kind))
        .map(|(_, _, opened)| *opened)
        .collect();
    let rows = load(db, &opened).await?;
    let mut rows: HashMap<i64, CallRow> = rows.into_iter().map(|row| (row.seq, row)).collect();
    let last = events.last();
    Ok(Ended {
        rows: opened
            .iter()
            .filter_map(|opened| rows.remove(opened))
            .collect(),
        seq: last.map_or(seq, |(seq, _, _)| *seq),
        has_more: i64::try_from(events.len()).is_ok_and(|events| events == AT_ONCE),
        is_closed: last.is_some_and(|(_, kind, _)| kind == Kind::Stopped.as_str()),
    })
}
