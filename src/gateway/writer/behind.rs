//! Lookups and sums are built between batches: a slice when enough events wait, the rest when nobody calls. What is
//! over is packed in the same way.

use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::audit::Behind;
use crate::db::{DbError, WriteTx};

/// Events that wait before a slice is built between two batches. As many and a slice are searched at most by a page.
const RUN: i64 = 1_024;

/// Events of a slice between batches: the next one waits a millisecond or two for it.
const SLICE: usize = 256;

/// Events of a slice while nobody calls, and where many wait: fewer slices are less work.
pub(super) const LARGE_SLICE: usize = 1_024;

/// Slices at the end of a gateway. More wait only in the middle of an upgrade, and then for the next start.
const LAST_SLICES: usize = 8;

/// How long nobody calls before what waits is built, however little.
const QUIET: Duration = Duration::from_secs(5);

/// The pause after a slice that could not be written.
pub(super) const RETRY: Duration = Duration::from_secs(10);

/// What the writer knows about lookups and sums.
#[derive(Debug)]
pub(super) struct Building {
    pub(super) behind: Behind,
    not_before: Instant,
}

impl Default for Building {
    fn default() -> Self {
        Self {
            behind: Behind::default(),
            not_before: Instant::now(),
        }
    }
}

impl Writer {
    /// Builds a slice after a batch, when enough waits. One at a time: calls would wait for several in a row.
    pub(super) async fn build_when_due(&mut self) {
        let waiting = self.building.behind.waiting(&self.head);
        if waiting >= RUN && Instant::now() >= self.building.not_before {
            self.build(SLICE).await;
        }
    }

    /// How long to wait for somebody to call before the next slice; `None` when none is left.
    pub(super) fn pause(&self) -> Option<Duration> {
        let waiting = self.building.behind.waiting(&self.head);
        if !self.suspect
            && let Some(pause) = self.pruning.pause()
        {
            return Some(pause);
        }
        let has_to_pack = self.building.behind.has_to_pack();
        if self.suspect || (waiting <= 0 && !has_to_pack) {
            return None;
        }
        let quiet = if waiting >= RUN || has_to_pack {
            Duration::ZERO
        } else {
            QUIET
        };
        let retry = self
            .building
            .not_before
            .saturating_duration_since(Instant::now());
        Some(quiet.max(retry))
    }

    /// Builds a slice while nobody calls.
    pub(super) async fn build_quietly(&mut self) {
        self.build(LARGE_SLICE).await;
    }

    /// Builds a slice. Calls need none of it, so a failure is told and tried again later.
    pub(super) async fn build(&mut self, at_most: usize) {
        if self.building.behind.waiting(&self.head) <= 0 {
            return;
        }
        if let Err(error) = self.try_build(at_most).await {
            tracing::warn!(%error, "lookups cannot be built now; pages search the log meanwhile");
            self.building.not_before = Instant::now() + RETRY;
        }
    }

    /// Packs a piece of the sums of days that are over, if there are any. Calls need none of it, either.
    pub(super) async fn pack_when_due(&mut self) {
        let is_due = self.building.behind.has_to_pack();
        if !is_due || self.suspect || Instant::now() < self.building.not_before {
            return;
        }
        if let Err(error) = self.try_pack().await {
            tracing::warn!(%error, "sums of days that are over cannot be packed now");
            self.building.not_before = Instant::now() + RETRY;
        }
    }

    async fn try_pack(&mut self) -> Result<(), DbError> {
        let db = self.database.connection();
        let Some(piece) = self.building.behind.next_to_pack(db).await? else {
            return Ok(());
        };
        self.write_behind(|tx| piece.write(tx))
    }

    /// Writes what follows from events. What a loss of power takes is done again, so its commit need not wait for the disk.
    fn write_behind<T>(
        &mut self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.database.sync_commits(false)?;
        let done = self.database.transact_long(work);
        if let Err(error) = self.database.sync_commits(true) {
            // Nobody's call may be written by a connection that does not wait.
            self.set_suspect(true);
            return Err(error);
        }
        done
    }

    /// Builds what waits before the file is closed.
    pub(super) async fn build_rest(&mut self) {
        for _ in 0..LAST_SLICES {
            if self.building.behind.waiting(&self.head) > 0 {
                self.build(LARGE_SLICE).await;
            }
        }
    }

    pub(super) async fn try_build(&mut self, at_most: usize) -> Result<(), DbError> {
        let db = self.database.connection();
        let slice = self.building.behind.next(db, at_most).await?;
        let mark = self.write_behind(|tx| slice.write(tx))?;
        self.building.behind.built(mark);
        Ok(())
    }
}
