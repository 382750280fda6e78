//! Reads the log for the verifier, in pieces.
//!
//! What is written is never changed, so most of it is read piece by piece without a snapshot: one that stayed open
//! for a minute would keep the write-ahead log from being moved into the file. Only the end, and the tables that
//! must agree with it, are read in one.

use std::pin::pin;

use futures_util::TryStreamExt;
use sqlx::{Acquire, SqliteConnection};
use tokio::sync::mpsc::Sender;

use super::check::Piece;
use super::derived::Lookup;
use super::ledger::{Asked, LedgerTables, Refunded, Sums};
use super::texts::{TextOf, TextRow};
use crate::audit::behind::load_mark;
use crate::audit::bodies::{deleted, stored};
use crate::audit::load_pruned;
use crate::audit::log::{load_checkpoint, load_piece};
use crate::audit::trace;
use crate::db::DbError;
use crate::types::CallId;

mod coarse;

/// Events in one piece.
const CHUNK: i64 = 2_048;

/// Bytes of bodies in one piece, about.
const BODIES: usize = 1024 * 1024;

/// Microseconds of sums in one piece.
const HOURS_US: i64 = 6 * 3_600 * 1_000_000;

/// Whether the check wants more.
type Wanted = Result<bool, DbError>;

/// Reads everything, in order, until the check wants no more.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn read(
    db: &mut SqliteConnection,
    pieces: &Sender<Piece>,
    mut progress: impl FnMut(i64),
) -> Result<(), DbError> {
    let pruned = load_pruned(db).await?;
    let mut after = pruned.as_ref().map_or(0, |pruned| pruned.last.seq);
    let pruned = pruned.map(|pruned| Piece::Pruned(Box::new(pruned)));
    // Up to here lookups and sums are final; what comes after may be covered by the time it is read.
    let mark = load_mark(db).await?;
    let wanted = names(db, pieces).await?
        && send_some(pieces, pruned).await?
        && gone(db, pieces).await?
        && send(pieces, Piece::Mark(mark)).await?
        && events(db, pieces, (&mut after, mark), &mut progress).await?;
    if !wanted {
        return Ok(());
    }
    let mut snapshot = db.begin().await?;
    // Names that came up meanwhile, with the first reading that fixes what the snapshot holds.
    let wanted = names(&mut snapshot, pieces).await?
        && send(pieces, Piece::Mark(load_mark(&mut snapshot).await?)).await?
        && events(&mut snapshot, pieces, (&mut after, i64::MAX), &mut progress).await?
        // What was deleted while the rest was read, and bodies of events that do not exist.
        && gone(&mut snapshot, pieces).await?
        && bodies(&mut snapshot, pieces, (after, i64::MAX)).await?
        && noted(&mut snapshot, pieces).await?
        && ledger(&mut snapshot, pieces).await?
        && lookups(&mut snapshot, pieces).await?
        && sums(&mut snapshot, pieces).await?
        && refusals(&mut snapshot, pieces).await?
        && coarse::send_all(&mut snapshot, pieces).await?
        && texts(&mut snapshot, (TextOf::Rules, RULES), pieces).await?
        && texts(&mut snapshot, (TextOf::Definition, DEFINITIONS), pieces).await?;
    if wanted {
        send(pieces, Piece::End).await?;
    }
    Ok(())
}

async fn send(pieces: &Sender<Piece>, piece: Piece) -> Wanted {
    Ok(pieces.send(piece).await.is_ok())
}

async fn send_some(pieces: &Sender<Piece>, piece: Option<Piece>) -> Wanted {
    match piece {
        Some(piece) => send(pieces, piece).await,
        None => Ok(true),
    }
}

async fn names(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let names = load_names(db).await?;
    send(pieces, Piece::Names(names)).await
}

/// The table of names.
pub(super) async fn load_names(db: &mut SqliteConnection) -> Result<Vec<(i64, String)>, DbError> {
    let names = sqlx::query_as("SELECT id, text FROM name").fetch_all(db);
    Ok(names.await?)
}

async fn events(
    db: &mut SqliteConnection,
    pieces: &Sender<Piece>,
    (after, until): (&mut i64, i64),
    progress: &mut impl FnMut(i64),
) -> Wanted {
    loop {
        let Some((last, events)) = load_piece(db, *after, until, CHUNK).await? else {
            return Ok(true);
        };
        let given = send(pieces, Piece::Events(events)).await?
            && bodies(db, pieces, (*after, last)).await?;
        if !given {
            return Ok(false);
        }
        *after = last;
        progress(last);
    }
}

async fn noted(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let (checkpoint, _) = load_checkpoint(db).await?;
    send(pieces, Piece::Noted(checkpoint)).await
}

/// The bodies of events behind one and up to another.
async fn bodies(
    db: &mut SqliteConnection,
    pieces: &Sender<Piece>,
    (behind, through): (i64, i64),
) -> Wanted {
    let mut rows = pin!(stored(db, behind, through));
    let (mut piece, mut size) = (Vec::new(), 0_usize);
    while let Some(row) = rows.try_next().await? {
        size = size.saturating_add(row.bytes.len());
        piece.push(row);
        if size > BODIES && !send(pieces, Piece::Bodies(std::mem::take(&mut piece))).await? {
            return Ok(false);
        }
        size = if piece.is_empty() { 0 } else { size };
    }
    Ok(send(pieces, Piece::Bodies(piece)).await?
        && send(pieces, Piece::BodiesThrough(through)).await?)
}

async fn gone(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let deleted = deleted(db).await?;
    send(pieces, Piece::Deleted(deleted)).await
}

async fn ledger(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let tables = load_ledger(db, Asked::All).await?;
    send(pieces, Piece::Ledger(tables)).await
}

/// The tables of the ledger, with the windows that are asked for.
pub(super) async fn load_ledger(
    db: &mut SqliteConnection,
    asked: Asked,
) -> Result<LedgerTables, DbError> {
    let overspent = "SELECT key FROM budget_window JOIN budget ON id = budget_id WHERE used + held > limit_high";
    Ok(LedgerTables {
        windows: windows(db, asked).await?,
        open_calls: open_calls(db).await?,
        holds: holds(db).await?,
        refunds: refunds(db).await?,
        overspent: sqlx::query_scalar(overspent).fetch_all(db).await?,
    })
}

/// A budget, and its windows: of each the start, what is used, held and overrun, and whether it is frozen.
type WindowColumns = (String, String);

/// All windows of a budget are one value: a year of them are many rows, and each costs the library more than SQLite.
async fn windows(
    db: &mut SqliteConnection,
    asked: Asked,
) -> Result<Vec<((String, i64), Sums)>, DbError> {
    // A window in which nothing is used or held is as good as none.
    let later = "SELECT key, group_concat(concat_ws(',', starts_at_us, used, held, overrun, frozen), ';')
        FROM budget JOIN budget_window ON budget_id = id
        WHERE starts_at_us > $1 AND (used <> 0 OR held <> 0 OR overrun <> 0 OR frozen <> 0) GROUP BY id";
    let these = "SELECT budget.key, concat_ws(',', starts_at_us, used, held, overrun, frozen)
        FROM json_each($1) AS told CROSS JOIN budget ON budget.key = told.value ->> 0
        CROSS JOIN budget_window ON budget_id = budget.id AND starts_at_us = told.value ->> 1
        WHERE starts_at_us <= $2 AND (used <> 0 OR held <> 0 OR overrun <> 0 OR frozen <> 0)";
    let (told, after) = match asked {
        Asked::All => (Vec::new(), i64::MIN),
        Asked::Some { told, after } => (told, after),
    };
    let mut rows: Vec<WindowColumns> = sqlx::query_as(later)
        .bind(after)
        .fetch_all(&mut *db)
        .await?;
    if !told.is_empty() {
        let told = serde_json::json!(told).to_string();
        let these = sqlx::query_as(these).bind(told).bind(after);
        rows.extend(these.fetch_all(db).await?);
    }
    let mut windows = Vec::new();
    for (key, of_budget) in rows {
        for window in of_budget.split(';') {
            let (starts, sums) = read_window(window).ok_or_else(|| {
                sqlx::Error::Decode(format!("a window of `{key}` cannot be read").into())
            })?;
            windows.push(((key.clone(), starts), sums));
        }
    }
    Ok(windows)
}

fn read_window(text: &str) -> Option<(i64, Sums)> {
    let mut numbers = text.split(',').map(str::parse::<i64>);
    let mut next = || numbers.next()?.ok();
    let starts = next()?;
    let sums = Sums {
        used: next()?,
        held: next()?,
        overrun: next()?,
        frozen: next()? != 0,
    };
    Some((starts, sums))
}

async fn open_calls(db: &mut SqliteConnection) -> Result<Vec<CallId>, DbError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT call_id FROM open_call")
        .fetch_all(db)
        .await?;
    rows.iter().map(|call| call_id(call)).collect()
}

type HoldRows = Vec<((CallId, String, i64), i64)>;

async fn holds(db: &mut SqliteConnection) -> Result<HoldRows, DbError> {
    let rows = "SELECT call_id, coalesce(key, CAST(budget_id AS TEXT)), starts_at_us, amount
        FROM hold LEFT JOIN budget ON id = budget_id";
    let rows: Vec<(Vec<u8>, String, i64, i64)> = sqlx::query_as(rows).fetch_all(db).await?;
    rows.into_iter()
        .map(|(call, key, starts, amount)| Ok(((call_id(&call)?, key, starts), amount)))
        .collect()
}

/// The list of refunds, each with the end of its call. They are few.
async fn refunds(db: &mut SqliteConnection) -> Result<Vec<Refunded>, DbError> {
    let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as("SELECT call_id, seq FROM refund")
        .fetch_all(&mut *db)
        .await?;
    let mut refunds = Vec::new();
    for (call, seq) in rows {
        let call = call_id(&call)?;
        let traced = trace(db, call).await?;
        let closed = traced.and_then(|traced| traced.closing);
        refunds.push((call, seq, closed));
    }
    Ok(refunds)
}

fn call_id(bytes: &[u8]) -> Result<CallId, DbError> {
    CallId::from_slice(bytes)
        .ok_or_else(|| sqlx::Error::Decode("a call id has 16 bytes".into()).into())
}

async fn lookups(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let text = "SELECT chunk, dimension, term, places FROM lookup
        WHERE (chunk, dimension, term) > ($1, $2, $3) ORDER BY chunk, dimension, term LIMIT $4";
    let mut after = (-1, String::new(), String::new());
    loop {
        let rows: Vec<Lookup> = sqlx::query_as(text)
            .bind(after.0)
            .bind(after.1)
            .bind(after.2)
            .bind(CHUNK)
            .fetch_all(&mut *db)
            .await?;
        let Some((chunk, dimension, term, _)) = rows.last() else {
            return Ok(true);
        };
        after = (*chunk, dimension.clone(), term.clone());
        if !send(pieces, Piece::Lookups(rows)).await? {
            return Ok(false);
        }
    }
}

/// Some hours at a time, all rows of them in one value: see [`crate::audit::row`].
async fn sums(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let next = "SELECT min(quarter_us) FROM rollup WHERE quarter_us >= $1";
    let text = "SELECT group_concat(concat_ws(',', quarter_us, agent_id, server_id, tool_id, admitted, refused, ok,
            errors, failed, released, abandoned, charged, latency_us, under_10ms, under_100ms, under_1s,
            under_10s, under_1min, longer), char(10))
        FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2";
    let mut from = next_quarter(db, next, i64::MIN).await?;
    while let Some(begins) = from {
        let until = begins.saturating_add(HOURS_US);
        let rows = sqlx::query_scalar(text)
            .bind(begins)
            .bind(until)
            .fetch_one(&mut *db)
            .await?;
        if !send(pieces, Piece::Sums(rows)).await? {
            return Ok(false);
        }
        from = next_quarter(db, next, until).await?;
    }
    Ok(true)
}

async fn refusals(db: &mut SqliteConnection, pieces: &Sender<Piece>) -> Wanted {
    let next = "SELECT min(quarter_us) FROM rollup_refusal WHERE quarter_us >= $1";
    let text =
        "SELECT quarter_us, agent_id, server_id, tool_id, reason, refused FROM rollup_refusal
        WHERE quarter_us >= $1 AND quarter_us < $2";
    let mut from = next_quarter(db, next, i64::MIN).await?;
    while let Some(begins) = from {
        let until = begins.saturating_add(HOURS_US);
        let rows = sqlx::query_as(text)
            .bind(begins)
            .bind(until)
            .fetch_all(&mut *db)
            .await?;
        if !send(pieces, Piece::Refusals(rows)).await? {
            return Ok(false);
        }
        from = next_quarter(db, next, until).await?;
    }
    Ok(true)
}

const RULES: &str = "SELECT revision, seq, text, is_whole FROM policy_file WHERE revision > $1
    ORDER BY revision LIMIT 1";
const DEFINITIONS: &str = "SELECT hash, seq, text, is_whole FROM tool_definition WHERE hash > $1
    ORDER BY hash LIMIT 1";

/// One at a time: each may be a megabyte.
async fn texts(
    db: &mut SqliteConnection,
    (of, text): (TextOf, &'static str),
    pieces: &Sender<Piece>,
) -> Wanted {
    let mut after = String::new();
    loop {
        let row: Option<TextRow> = sqlx::query_as(text)
            .bind(&after)
            .fetch_optional(&mut *db)
            .await?;
        let Some(row) = row else { return Ok(true) };
        after.clone_from(&row.0);
        if !send(pieces, Piece::Texts(of, vec![row])).await? {
            return Ok(false);
        }
    }
}

async fn next_quarter(
    db: &mut SqliteConnection,
    text: &'static str,
    from: i64,
) -> Result<Option<i64>, DbError> {
    Ok(sqlx::query_scalar(text).bind(from).fetch_one(db).await?)
}
