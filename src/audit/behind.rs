//! Builds lookups and sums behind the writer, slice by slice, with a mark that moves in the same commit.
//!
//! The events come from the writer's hands while they are there, and are read from the file otherwise: after a
//! start, and after an upgrade of a file that never had lookups. Sums of days that are over are packed afterwards.

use std::collections::{HashSet, VecDeque};

use sqlx::SqliteConnection;

use super::coarse::{Coarse, DAY_US, begins};
use super::log::{Chained, load_openings, load_piece};
use super::lookups::Lists;
use super::packing::{self, Piece};
use super::rollups::Rollups;
use super::row::{self, EventRow};
use super::seen::{Opened, Openings, closes};
use super::{Head, Kind};
use crate::db::{DbError, WriteTx};
use crate::types::CallId;

/// Events kept in memory for the next slices; of more, all are read from the file when their turn comes.
const KEPT: usize = 16_384;

/// How far lookups and sums have come.
#[derive(Debug, Default)]
pub struct Behind {
    /// The last event they cover.
    mark: i64,
    /// The beginning of the day of UTC that it lies in.
    day_us: i64,
    /// All sums of days before this one are packed.
    packed_us: i64,
    /// The newest events, without a gap up to the end of the log.
    kept: VecDeque<Chained>,
}

/// How far lookups and sums come with a slice.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    seq: i64,
    /// When that event was written; `None` when the slice has none.
    at_us: Option<i64>,
}

impl Behind {
    /// Reads how far they have come.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn load(db: &mut SqliteConnection) -> Result<Self, DbError> {
        let mark = load_mark(db).await?;
        let at_us = sqlx::query_scalar("SELECT at_us FROM event WHERE seq = $1");
        let at_us: Option<i64> = at_us.bind(mark).fetch_optional(db).await?;
        Ok(Self {
            mark,
            day_us: at_us.map_or(i64::MIN, |at_us| begins(at_us, DAY_US)),
            packed_us: i64::MIN,
            kept: VecDeque::new(),
        })
    }

    /// Takes events whose commit held.
    pub fn note(&mut self, events: Vec<Chained>) {
        self.kept.extend(events);
        if self.kept.len() > KEPT {
            self.kept.clear();
        }
    }

    /// Events that are not covered yet.
    pub fn waiting(&self, head: &Head) -> i64 {
        head.seq.saturating_sub(self.mark)
    }

    /// Works out the next slice, of at most so many events, with what stands in the file.
    ///
    /// # Errors
    /// When SQLite refuses or an event cannot be read.
    pub async fn next(&self, db: &mut SqliteConnection, at_most: usize) -> Result<Slice, DbError> {
        let due = self.mark.saturating_add(1);
        let first_kept = self.kept.front().map(Chained::seq);
        if first_kept == Some(due) {
            let rows: Vec<_> = self.kept.iter().take(at_most).map(Chained::row).collect();
            return Slice::of(db, &rows, self.mark).await;
        }
        let until = first_kept.map_or(i64::MAX, |seq| seq.saturating_sub(1));
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let piece = load_piece(db, self.mark, until, at_most).await?;
        let piece = piece.map(|(_, piece)| piece).unwrap_or_default();
        let rows = row::all(&piece).ok_or_else(|| {
            let text = format!("an event after {} cannot be read", self.mark);
            sqlx::Error::Decode(text.into())
        })?;
        Slice::of(db, &rows, self.mark).await
    }

    /// Moves on after the commit of a slice.
    pub fn built(&mut self, mark: Mark) {
        self.mark = mark.seq;
        if let Some(at_us) = mark.at_us {
            self.day_us = begins(at_us, DAY_US);
        }
        let covered = |event: &Chained| event.seq() <= mark.seq;
        while self.kept.front().is_some_and(covered) {
            self.kept.pop_front();
        }
    }

    /// Whether there may be sums of days that are over and are not packed.
    pub fn has_to_pack(&self) -> bool {
        self.packed_us < self.day_us
    }

    /// Reads the next sums that can be packed. `None` when all are, which is remembered.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn next_to_pack(
        &mut self,
        db: &mut SqliteConnection,
    ) -> Result<Option<Piece>, DbError> {
        let piece = packing::next(db, self.day_us).await?;
        if piece.is_none() {
            self.packed_us = self.day_us;
        }
        Ok(piece)
    }
}

/// The last event that lookups and sums cover.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn load_mark(db: &mut SqliteConnection) -> Result<i64, DbError> {
    let mark = "SELECT seq FROM lookup_mark WHERE one = 1";
    Ok(sqlx::query_scalar(mark).fetch_one(db).await?)
}

/// What some events add to lookups and sums, and how far these come with it.
#[derive(Debug)]
pub struct Slice {
    lists: Lists,
    rollups: Rollups,
    coarse: Coarse,
    mark: Mark,
}

impl Slice {
    /// Of events after a mark.
    async fn of(
        db: &mut SqliteConnection,
        rows: &[EventRow<'_>],
        mark: i64,
    ) -> Result<Self, DbError> {
        let mut openings = Openings::default();
        openings.add(load_earlier(db, rows).await?);
        let (mut lists, mut rollups) = (Lists::default(), Rollups::default());
        let mut coarse = Coarse::default();
        for seen in rows.iter().filter_map(|row| openings.see(row)) {
            lists.add(&seen);
            rollups.add(&seen);
            coarse.add(&seen);
        }
        Ok(Self {
            lists,
            rollups,
            coarse,
            mark: Mark {
                seq: rows.last().map_or(mark, |row| row.seq),
                at_us: rows.last().map(|row| row.at_us),
            },
        })
    }

    /// Adds it. Returns the mark, for [`Behind::built`] after the commit.
    ///
    /// # Errors
    /// When SQLite refuses; nothing of the transaction may be kept then.
    pub fn write(&self, tx: &mut WriteTx<'_>) -> Result<Mark, DbError> {
        self.lists.write(tx)?;
        self.rollups.write(tx)?;
        self.coarse.write(tx)?;
        let note = "UPDATE lookup_mark SET seq = ? WHERE one = 1";
        tx.prepare(note)?.change([self.mark.seq])?;
        Ok(self.mark)
    }
}

/// What opened the calls that close in these events and were opened before them, also when that was pruned.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn load_earlier(
    db: &mut SqliteConnection,
    rows: &[EventRow<'_>],
) -> Result<Vec<(CallId, Opened)>, DbError> {
    let earlier = opened_earlier(rows);
    let mut found = load_openings(db, &earlier).await?;
    if found.len() < earlier.len() {
        let known: HashSet<CallId> = found.iter().map(|(call, _)| *call).collect();
        let missing = |call: &CallId| earlier.contains(call) && !known.contains(call);
        let carried = load_carried(db).await?.into_iter();
        found.extend(carried.filter(|(call, _)| missing(call)));
    }
    Ok(found)
}

/// The openings of calls that were under way where the log goes on after what was pruned.
async fn load_carried(db: &mut SqliteConnection) -> Result<Vec<(CallId, Opened)>, DbError> {
    // An opening gave each of its names a number, unless there were too many names.
    let text = "SELECT carried.value ->> 'seq', carried.value ->> 'event' ->> 'call', agent.id, server.id, tool.id
        FROM pruned, json_each(seam, '$.carried') AS carried
        LEFT JOIN name AS agent ON agent.text = carried.value ->> 'event' ->> 'agent'
        LEFT JOIN name AS server ON server.text = carried.value ->> 'event' ->> 'server'
        LEFT JOIN name AS tool ON tool.text = carried.value ->> 'event' ->> 'tool'
        WHERE last_seq > 0 AND carried.value ->> 'event' ->> 'kind' = 'admitted'";
    let rows: Vec<OpeningColumns> = sqlx::query_as(text).fetch_all(db).await?;
    let carried = rows
        .into_iter()
        .filter_map(|(seq, call, agent, server, tool)| {
            let ids = [agent, server, tool];
            Some((call?.parse().ok()?, Opened { seq, ids }))
        });
    Ok(carried.collect())
}

/// Sequence and call of an opening, and the numbers of agent, server and tool.
type OpeningColumns = (i64, Option<String>, Option<i64>, Option<i64>, Option<i64>);

/// The calls that close in these events and were opened before them.
fn opened_earlier(rows: &[EventRow<'_>]) -> Vec<CallId> {
    let mut earlier = Vec::new();
    let mut here = HashSet::new();
    for row in rows {
        let Some(call) = row.call else { continue };
        if row.kind == Kind::Admitted.as_str() {
            here.insert(call);
        } else if closes(row.kind) && !here.contains(&call) {
            earlier.push(call);
        }
    }
    earlier
}
