//! Builds lookups and sums behind the writer, slice by slice, with a mark that moves in the same commit.
//!
//! The events come from the writer's hands while they are there, and are read from the file otherwise: after a
//! start, and after an upgrade of a file that never had lookups.

use std::collections::VecDeque;

use sqlx::SqliteConnection;

use super::log::{Chained, load_openings, load_piece};
use super::lookups::Lists;
use super::rollups::Rollups;
use super::row::{self, EventRow};
use super::seen::{Openings, closes};
use super::{Head, Kind};
use crate::db::{DbError, WriteTx};
use crate::types::CallId;

/// Events in one slice; a batch that comes meanwhile waits a few milliseconds for it.
const SLICE: usize = 1_024;

/// Events kept in memory for the next slices; of more, all are read from the file when their turn comes.
const KEPT: usize = 16_384;

/// How far lookups and sums have come.
#[derive(Debug, Default)]
pub struct Behind {
    /// The last event they cover.
    mark: i64,
    /// The newest events, without a gap up to the end of the log.
    kept: VecDeque<Chained>,
}

impl Behind {
    /// Reads how far they have come.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn load(db: &mut SqliteConnection) -> Result<Self, DbError> {
        let mark = load_mark(db).await?;
        let kept = VecDeque::new();
        Ok(Self { mark, kept })
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

    /// Builds the next slice. Returns the mark, for [`Behind::built`] after the commit.
    ///
    /// # Errors
    /// When SQLite refuses or an event cannot be read; nothing of the transaction may be kept then.
    pub async fn build(&self, tx: &mut WriteTx<'_>) -> Result<i64, DbError> {
        let due = self.mark.saturating_add(1);
        let first_kept = self.kept.front().map(Chained::seq);
        if first_kept == Some(due) {
            let rows: Vec<_> = self.kept.iter().take(SLICE).map(Chained::row).collect();
            return build(tx, &rows).await;
        }
        let until = first_kept.map_or(i64::MAX, |seq| seq.saturating_sub(1));
        let at_most = i64::try_from(SLICE).unwrap_or(i64::MAX);
        let piece = load_piece(tx.connection(), self.mark, until, at_most).await?;
        let Some((_, piece)) = piece else {
            return Ok(self.mark);
        };
        let rows = row::all(&piece).ok_or_else(|| {
            let text = format!("an event after {} cannot be read", self.mark);
            sqlx::Error::Decode(text.into())
        })?;
        build(tx, &rows).await
    }

    /// Moves on after the commit of a slice.
    pub fn built(&mut self, mark: i64) {
        self.mark = mark;
        let covered = |event: &Chained| event.seq() <= mark;
        while self.kept.front().is_some_and(covered) {
            self.kept.pop_front();
        }
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

async fn build(tx: &mut WriteTx<'_>, rows: &[EventRow<'_>]) -> Result<i64, DbError> {
    let mut openings = Openings::default();
    openings.add(load_openings(tx.connection(), &opened_earlier(rows)).await?);
    let (mut lists, mut rollups) = (Lists::default(), Rollups::default());
    for seen in rows.iter().filter_map(|row| openings.see(row)) {
        lists.add(&seen);
        rollups.add(&seen);
    }
    lists.write(tx).await?;
    rollups.write(tx).await?;
    let mark = rows.last().map_or(0, |row| row.seq);
    sqlx::query("UPDATE lookup_mark SET seq = $1 WHERE one = 1")
        .bind(mark)
        .execute(tx.connection())
        .await?;
    Ok(mark)
}

/// The calls that close in these events and were opened before them.
fn opened_earlier(rows: &[EventRow<'_>]) -> Vec<CallId> {
    let mut earlier = Vec::new();
    let mut here = std::collections::HashSet::new();
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
