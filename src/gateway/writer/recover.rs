//! After a commit that failed, and at the start: the file is read back, and what nobody waits for is closed.

use super::super::entries;
use super::Writer;
use super::batch::Batch;
use crate::audit::{self, Behind, Entry, Kind};
use crate::budget::{self, Ending};
use crate::db::DbError;
use crate::types::{CallId, Timestamp};

impl Writer {
    pub(super) async fn recover(&mut self) -> bool {
        let read_back = async {
            self.database.reopen().await?;
            self.read_back().await?;
            let at = self.now();
            let mut batch = self.begin(at);
            // Admitted in a commit that seemed to fail: their callers were refused.
            self.sweep(&mut batch, at, entries::never_forwarded).await?;
            self.write(&mut batch)?;
            Ok::<_, DbError>(batch)
        };
        match read_back.await {
            Ok(batch) => {
                self.deliver(batch);
                tracing::info!(seq = self.head.seq, "the log can be written again");
                self.set_suspect(false);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the database is still unusable");
                false
            }
        }
    }

    pub(super) async fn read_back(&mut self) -> Result<(), DbError> {
        let now = self.clock.now();
        let not_ours = self.database.not_ours();
        // A file that can be read and not written is no log.
        self.database.transact(|_| Ok(()))?;
        let db = self.database.connection();
        let (head, last_at) = audit::load_head(&mut *db, self.log).await?;
        // INVARIANT: what a caller was told is written stays written. A budget would begin anew in an older file.
        if !audit::contains(&mut *db, &self.written).await? {
            return Err(not_ours);
        }
        self.names = audit::load_names(&mut *db).await?;
        self.books = budget::load(&mut *db, now.max(last_at)).await?;
        self.keys = budget::load_keys(&mut *db).await?;
        self.folds = audit::load_repeats(&mut *db).await?;
        self.checkpoints.last = audit::load_checkpoint(&mut *db).await?;
        self.building.behind = Behind::load(&mut *db).await?;
        self.pruning.has_rest = audit::is_pruning(&mut *db).await?;
        self.head = head;
        self.last_at = last_at;
        Ok(())
    }

    /// Closes calls that are open in the file but that no caller of this process waits for.
    pub(super) async fn sweep(
        &mut self,
        batch: &mut Batch,
        at: Timestamp,
        ending: fn(CallId) -> Entry,
    ) -> Result<(), DbError> {
        for call in self.lost_calls().await? {
            let entry = ending(call);
            let ending = if entry.kind == Kind::Released {
                Ending::Unsent
            } else {
                Ending::Unclear
            };
            let held = self.books.budgets_of(call);
            if let Some(charged) = self.books.abandon(call, &ending) {
                let entry = entries::with_charges(entry, &charged);
                let seq = self.chain(batch, &entry, at);
                self.close_keys(call, &entry, seq);
                batch.ledger.closed.push(call);
                batch
                    .ledger
                    .released
                    .extend(held.into_iter().map(|id| (call, id)));
            }
        }
        Ok(())
    }

    /// Calls that nobody waits for. One that no event opened, or that an event closed, was put on the list by
    /// somebody else: an event about it would stand in the log for ever.
    async fn lost_calls(&mut self) -> Result<Vec<CallId>, DbError> {
        let lost = self.books.open_calls();
        let lost: Vec<CallId> = lost.filter(|call| !self.live.contains(call)).collect();
        if lost.is_empty() {
            return Ok(lost);
        }
        let db = self.database.connection();
        let mut open = Vec::new();
        for call in lost {
            let traced = audit::trace(&mut *db, call).await?;
            if traced.is_some_and(|traced| traced.is_open()) {
                open.push(call);
            } else {
                let why = "a call is listed as open and is not; see `hayward budget verify`";
                tracing::error!(%call, "{why}");
            }
        }
        Ok(open)
    }

    pub(super) fn set_suspect(&mut self, suspect: bool) {
        self.suspect = suspect;
        self.health.set_failed(suspect);
    }
}
