//! The table of bodies: written with their events, read to be checked, deleted in good order.

use futures_util::{Stream, TryStreamExt};
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use crate::db::{DbError, WriteTx, params};
use crate::types::{CallId, Timestamp};

use super::{Body, read};

/// The most bodies that one event says were deleted, so that deleting many keeps no call waiting for long.
pub const REDACTED_AT_ONCE: usize = 1_000;

const NEW_BODY: &str =
    "INSERT INTO body (seq, kind, salt, bytes, full_bytes, truncated) VALUES (?, ?, ?, ?, ?, ?)";
const GONE_BODY: &str = "DELETE FROM body WHERE seq = ?";

/// Which bodies are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Those of one call.
    OfCall(CallId),
    /// All of events before an instant.
    Before(Timestamp),
}

/// A body as it stands in the table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) kind: String,
    pub(super) salt: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    pub(super) full_bytes: i64,
    pub(super) truncated: bool,
}

impl FromRow<'_, SqliteRow> for Stored {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            seq: row.try_get("seq")?,
            kind: row.try_get("kind")?,
            salt: row.try_get("salt")?,
            bytes: row.try_get("bytes")?,
            full_bytes: row.try_get("full_bytes")?,
            truncated: row.try_get("truncated")?,
        })
    }
}

/// Bodies that an event says were deleted: all of events with a number from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deleted {
    /// The event that says so.
    pub(super) by: i64,
    pub(super) first: i64,
    pub(super) last: i64,
}

/// Which bodies an event says were deleted: all whose events have a number from the first to the second, of each pair.
#[derive(Debug, Deserialize)]
struct Gone {
    #[serde(default)]
    bodies: Vec<(i64, i64)>,
}

/// Writes the bodies of events, in the transaction of the events.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub(super) fn add<'b>(
    tx: &mut WriteTx<'_>,
    bodies: impl Iterator<Item = (i64, &'b Body)>,
) -> Result<(), DbError> {
    tx.each(NEW_BODY, bodies, |add, (seq, body)| {
        let full_bytes = i64::try_from(body.full_bytes).unwrap_or(i64::MAX);
        add.change(params![
            seq,
            body.kind.as_str(),
            body.salt,
            body.kept.as_bytes(),
            full_bytes,
            body.is_truncated,
        ])
    })
}

/// The numbers of the events whose bodies are meant, the first [`REDACTED_AT_ONCE`] of those that are still there.
///
/// # Errors
/// When SQLite refuses.
pub async fn bodies_of(db: &mut SqliteConnection, which: Bodies) -> Result<Vec<i64>, DbError> {
    let limit = i64::try_from(REDACTED_AT_ONCE).unwrap_or(i64::MAX);
    let found = match which {
        Bodies::OfCall(call) => {
            let text = "SELECT body.seq FROM event JOIN body ON body.seq = event.seq
                WHERE call_id = $1 ORDER BY body.seq LIMIT $2";
            let query = sqlx::query_scalar(text).bind(call.as_bytes().to_vec());
            query.bind(limit).fetch_all(db).await?
        }
        Bodies::Before(at) => {
            let Some(extent) = read::extent(&mut *db).await? else {
                return Ok(Vec::new());
            };
            let end = read::first_since(&mut *db, extent, at).await?;
            let text = "SELECT seq FROM body WHERE seq < $1 ORDER BY seq LIMIT $2";
            let query = sqlx::query_scalar(text).bind(end);
            query.bind(limit).fetch_all(db).await?
        }
    };
    Ok(found)
}

/// The result that an event kept, when it is there and whole.
///
/// # Errors
/// When SQLite refuses.
pub async fn whole_result(db: &mut SqliteConnection, seq: i64) -> Result<Option<String>, DbError> {
    let text = "SELECT bytes FROM body WHERE seq = $1 AND kind = 'result' AND truncated = 0";
    let bytes: Option<Vec<u8>> = sqlx::query_scalar(text)
        .bind(seq)
        .fetch_optional(db)
        .await?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// Deletes bodies with their salts.
///
/// # Errors
/// When SQLite refuses, or one of them is not there; nothing of the transaction may be kept then.
pub fn forget(tx: &mut WriteTx<'_>, seqs: &[i64]) -> Result<(), DbError> {
    tx.each(GONE_BODY, seqs, |forget, seq| forget.change([seq]))
}

/// The bodies of events behind one and up to another, in order.
pub(super) fn stored(
    db: &mut SqliteConnection,
    behind: i64,
    through: i64,
) -> impl Stream<Item = Result<Stored, DbError>> {
    let text = "SELECT seq, kind, salt, bytes, full_bytes, truncated FROM body
        WHERE seq > $1 AND seq <= $2 ORDER BY seq";
    let query = sqlx::query_as(text).bind(behind).bind(through);
    query.fetch(db).map_err(DbError::from)
}

/// Everything that events say was deleted.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn deleted(db: &mut SqliteConnection) -> Result<Vec<Deleted>, DbError> {
    let text =
        "SELECT seq, meta FROM event WHERE kind = 'redacted' OR kind = 'pruned' ORDER BY seq";
    let rows: Vec<(i64, String)> = sqlx::query_as(text).fetch_all(db).await?;
    // What cannot be read is found when the chain is.
    let read = rows.into_iter().filter_map(|(by, meta)| {
        let gone: Gone = serde_json::from_str(&meta).ok()?;
        Some(
            gone.bodies
                .into_iter()
                .map(move |(first, last)| Deleted { by, first, last }),
        )
    });
    Ok(read.flatten().collect())
}

/// How an event says which bodies were deleted.
pub fn deleted_json(which: Bodies, seqs: &[i64]) -> String {
    let pairs: Vec<(i64, i64)> = match which {
        // Others lie between those of one call.
        Bodies::OfCall(_) => seqs.iter().map(|seq| (*seq, *seq)).collect(),
        Bodies::Before(_) => seqs
            .first()
            .copied()
            .zip(seqs.last().copied())
            .into_iter()
            .collect(),
    };
    // Numbers can always be written.
    serde_json::to_string(&pairs).unwrap_or_default()
}
