//! The short form of the check, for a start: the last events, the last checkpoints, and the ledger as far as these say.
//!
//! It takes the hash before the last events as it stands, and finds a file that was damaged, torn, or edited where
//! money is counted now. What it cannot find is for the whole check to find.

use sqlx::SqliteConnection;

use super::check::{Check, Piece};
use super::marks::Marks;
use super::meta::Meta;
use super::{Fault, Known, Verified, source, verify_against};
use crate::audit::chain::{Head, next_hash};
use crate::audit::load_pruned;
use crate::audit::log::{load_checkpoint, load_piece};
use crate::audit::lookups::{CHUNK, seqs};
use crate::db::{DbError, LogId, Readers, read_identity};

/// The last events, which are checked like all are by the whole check.
const TAIL: i64 = 10_000;

/// The last checkpoints before these events. Each is a page of the file, which may have to come from the disk.
const CHECKPOINTS: usize = 1_000;

/// Stretches of the lists that are looked through for them at once, from the end.
const CHUNKS: i64 = 64;

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
    let text = "SELECT e.seq, before.hash, e.meta, e.hash FROM json_each($1) AS listed
        CROSS JOIN event AS e ON e.seq = listed.value
        CROSS JOIN event AS before ON before.seq = e.seq - 1 ORDER BY e.seq";
    let listed = listed(db, until).await?;
    let rows: Vec<CheckpointColumns> = sqlx::query_as(text)
        .bind(serde_json::Value::from(listed).to_string())
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

/// The events up to one that carry a checkpoint, as the lookups list them.
async fn listed(db: &mut SqliteConnection, until: i64) -> Result<Vec<i64>, DbError> {
    let text = "SELECT chunk, places FROM json_each($1) AS c
        CROSS JOIN json_each('[\"checkpoint\",\"started\",\"stopped\"]') AS t
        CROSS JOIN lookup ON chunk = c.value AND dimension = 'kind' AND term = t.value";
    let (mut found, mut end) = (Vec::new(), until.div_euclid(CHUNK).saturating_add(1));
    while end > 0 && found.len() < CHECKPOINTS {
        let begin = end.saturating_sub(CHUNKS).max(0);
        let chunks = serde_json::Value::from_iter(begin..end).to_string();
        let lists: Vec<(i64, Vec<u8>)> = sqlx::query_as(text)
            .bind(chunks)
            .fetch_all(&mut *db)
            .await?;
        let listed = lists.iter().flat_map(|(chunk, list)| seqs(*chunk, list));
        // The first event has none before it.
        found.extend(listed.filter(|seq| (2..=until).contains(seq)));
        end = begin;
    }
    found.sort_unstable();
    Ok(found.split_off(found.len().saturating_sub(CHECKPOINTS)))
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
