//! The short form of the check, for a start: the last events, the last checkpoints, and the ledger as far as these say.
//!
//! It takes the hash before the last events as it stands, and finds a file that was damaged, torn, or edited where
//! money is counted now. What it cannot find is for the whole check to find.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::check::{Check, Piece};
use super::marks::Marks;
use super::meta::Meta;
use super::{Fault, Known, Verified, source, verify_against};
use crate::audit::chain::{Head, next_hash};
use crate::audit::load_pruned;
use crate::audit::log::{OF_GATEWAY, load_checkpoint, load_piece};
use crate::db::{DbError, LogId, Readers, read_identity};

/// The last events, which are checked like all are by the whole check.
const TAIL: i64 = 10_000;

/// The last checkpoints before these events. Each is a page of the file, which may have to come from the disk.
const CHECKPOINTS: i64 = 1_000;

/// Events in one piece.
const PIECE: i64 = 2_048;

/// Checks the end of a log. `None` for a file that holds no log yet.
///
/// # Errors
/// When the file cannot be read.
pub async fn verify_quickly(readers: &Readers, known: Known) -> Result<Option<Verified>, DbError> {
    let mut connection = readers.pool().acquire().await?;
    let db = &mut *connection;
    let log = match read_identity(db).await {
        Ok(log) => log,
        Err(DbError::Sql(sqlx::Error::RowNotFound)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let last: i64 = sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM event")
        .fetch_one(&mut *db)
        .await?;
    let pruned = load_pruned(&mut *db).await?.map(|pruned| pruned.last);
    let gone = pruned.map_or(0, |last| last.seq);
    // Where the log was cut, the whole check begins with what was counted there.
    if last.saturating_sub(gone) <= TAIL {
        drop(connection);
        return verify_against(readers, known, |_| ()).await.map(Some);
    }
    let before = last.saturating_sub(TAIL);
    let Some(hash) = hash_of(db, before).await? else {
        let seq = before;
        return Ok(Some(missing(log, seq)));
    };
    let early = checkpoints(db, log, &known, (gone, before)).await?;
    let mut check = Check::resume(log, known, Head { seq: before, hash });
    check.report(early);
    check.piece(Piece::Names(source::load_names(db).await?));
    let mut after = before;
    while let Some((last, events)) = load_piece(db, after, i64::MAX, PIECE).await? {
        after = last;
        if !check.piece(Piece::Events(events)) {
            break;
        }
    }
    let (noted, _) = load_checkpoint(db).await?;
    check.piece(Piece::Noted(noted));
    check.report(holds(db).await?);
    let tables = source::load_ledger(db, check.known_windows()).await?;
    check.piece(Piece::Ledger(tables));
    Ok(Some(check.finish()))
}

fn missing(log: LogId, seq: i64) -> Verified {
    Verified {
        log,
        pruned: 0,
        head: Head::empty(log),
        open_calls: 0,
        checkpoint: 0,
        faults: vec![Fault::Missing { seq }],
    }
}

async fn hash_of(db: &mut SqliteConnection, seq: i64) -> Result<Option<[u8; 32]>, DbError> {
    let hash: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM event WHERE seq = $1")
        .bind(seq)
        .fetch_optional(db)
        .await?;
    Ok(hash.and_then(|hash| hash.try_into().ok()))
}

type CheckpointColumns = (i64, Vec<u8>, String, Vec<u8>);

/// What is wrong with the checkpoints up to an event, in the log and exported: whether the events they name have
/// the hashes they name.
async fn checkpoints(
    db: &mut SqliteConnection,
    log: LogId,
    known: &Known,
    (gone, until): (i64, i64),
) -> Result<Vec<Fault>, DbError> {
    let key = Known {
        key: known.key,
        ..Known::default()
    };
    let (mut marks, mut faults) = Marks::new(log, key);
    let rows: Vec<CheckpointColumns> = sqlx::query_as(AssertSqlSafe(checkpoints_until()))
        .bind(until)
        .bind(CHECKPOINTS)
        .fetch_all(&mut *db)
        .await?;
    for (seq, before, meta, hash) in rows {
        let changed = Fault::Changed { seq };
        let (Ok(before), Ok(told)) = (
            <[u8; 32]>::try_from(before),
            serde_json::from_str::<Meta<'_>>(&meta),
        ) else {
            faults.push(changed);
            continue;
        };
        let computed = next_hash(log, seq, &before, &meta);
        if hash != computed {
            faults.push(changed);
            continue;
        }
        let before = Head {
            seq: seq.saturating_sub(1),
            hash: before,
        };
        faults.extend(marks.event(
            before,
            Head {
                seq,
                hash: computed,
            },
            &told,
        ));
    }
    for exported in known
        .checkpoints
        .iter()
        .filter(|exported| exported.head.seq > gone && exported.head.seq <= until)
    {
        let seq = exported.head.seq;
        if seq > 0 && hash_of(db, seq).await? != Some(exported.head.hash) {
            faults.push(Fault::Rewritten { seq });
        }
    }
    Ok(faults)
}

/// The last events up to one that may carry a checkpoint, with the hash before each. The first event has none before it.
/// Found by their index: a search in lookups reads whole lists of places to compare two keys.
fn checkpoints_until() -> String {
    format!(
        "SELECT e.seq, before.hash, e.meta, e.hash FROM
            (SELECT seq FROM event WHERE {OF_GATEWAY} AND kind IN ('checkpoint', 'started', 'stopped')
                AND seq BETWEEN 2 AND $1 ORDER BY seq DESC LIMIT $2) AS listed
        CROSS JOIN event AS e ON e.seq = listed.seq
        CROSS JOIN event AS before ON before.seq = e.seq - 1 ORDER BY e.seq"
    )
}

/// Windows that hold something else than their open calls do.
async fn holds(db: &mut SqliteConnection) -> Result<Vec<Fault>, DbError> {
    let text = "WITH held AS (
            SELECT budget_id, starts_at_us, sum(amount) AS amount FROM hold GROUP BY budget_id, starts_at_us
        )
        SELECT key, w.held, coalesce(held.amount, 0) FROM budget_window AS w JOIN budget ON budget.id = w.budget_id
        LEFT JOIN held ON held.budget_id = w.budget_id AND held.starts_at_us = w.starts_at_us
        WHERE w.held <> coalesce(held.amount, 0)";
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(text).fetch_all(db).await?;
    let faults = rows
        .into_iter()
        .map(|(key, counted, events)| Fault::Ledger {
            key,
            counted,
            events,
        });
    Ok(faults.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{self, Durability};

    #[tokio::test]
    async fn checkpoints_are_found_by_their_index_and_not_by_reading_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let database = db::open(&path, Durability::Process).await.unwrap();
        database.close().await.unwrap();
        let readers = Readers::open(&path).await.unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {}", checkpoints_until());
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(plan))
            .bind(9)
            .bind(CHECKPOINTS)
            .fetch_all(readers.pool())
            .await
            .unwrap();
        let steps: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
        let by_index = |step: &&String| step.contains("event_of_gateway (seq");
        assert_eq!(steps.iter().filter(by_index).count(), 1, "{steps:?}");
        let scans = |step: &String| step.starts_with("SCAN event");
        assert!(!steps.iter().any(scans), "{steps:?}");
    }
}
