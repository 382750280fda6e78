//! The events of an export, read piece by piece. No piece keeps a snapshot open for the next, so that a long export
//! keeps nobody from tidying the file up; the chain shows that they belong together.

use sqlx::SqliteConnection;

use crate::audit::read::{extent, first_since};
use crate::audit::{Head, genesis, load_pruned};
use crate::db::{DbError, LogId, Readers, read_identity};
use crate::types::Timestamp;

use super::{Form, Plan};

/// Which events there are of a time: `None` for none. An instant that is missing leaves that end open.
///
/// # Errors
/// When SQLite refuses.
pub async fn plan(
    readers: &Readers,
    form: Form,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
) -> Result<Option<Plan>, DbError> {
    let mut db = readers.page().await?;
    let log = read_identity(&mut db).await?;
    let Some(extent) = extent(&mut db).await? else {
        return Ok(None);
    };
    let pruned = load_pruned(&mut db).await?.map(|pruned| pruned.last);
    // What was pruned and is still being deleted is gone already.
    let oldest = pruned.map_or(0, |last| last.seq).saturating_add(1);
    let first = match since {
        Some(since) => first_since(&mut db, extent, since).await?,
        None => extent.first,
    };
    let first = first.max(oldest);
    let last = match until {
        Some(until) => first_since(&mut db, extent, until).await?.saturating_sub(1),
        None => extent.last,
    };
    if first > last {
        return Ok(None);
    }
    let before = first.saturating_sub(1);
    Ok(Some(Plan {
        form,
        log,
        before: match pruned.filter(|last| last.seq == before) {
            Some(last) => last,
            None => head_at(&mut db, log, before).await?,
        },
        last: head_at(&mut db, log, last).await?,
    }))
}

/// The end of the chain as it was at an event.
pub(super) async fn head_at(
    db: &mut SqliteConnection,
    log: LogId,
    seq: i64,
) -> Result<Head, DbError> {
    if seq == 0 {
        let hash = genesis(log);
        return Ok(Head { seq, hash });
    }
    let hash: Vec<u8> = sqlx::query_scalar("SELECT hash FROM event WHERE seq = $1")
        .bind(seq)
        .fetch_one(db)
        .await?;
    let hash =
        <[u8; 32]>::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Head { seq, hash })
}
