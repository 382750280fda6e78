//! After a commit that failed, and at the start: the file is read back, and what nobody waits for is closed.

use std::sync::atomic::Ordering;

use super::super::entries;
use super::Writer;
use super::batch::Batch;
use crate::audit::{self, Behind, Entry, Kind};
use crate::budget;
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
            self.sweep(&mut batch, at, entries::never_forwarded);
            self.write(&mut batch).await
        };
        match read_back.await {
            Ok(()) => {
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
        let mut tx = self.database.begin().await?;
        let (head, last_at) = audit::load_head(tx.connection(), self.log).await?;
        // INVARIANT: what a caller was told is written stays written. A budget would begin anew in an older file.
        if !audit::contains(tx.connection(), &self.written).await? {
            return Err(not_ours);
        }
        self.names = audit::load_names(tx.connection()).await?;
        self.books = budget::load(tx.connection(), now.max(last_at)).await?;
        self.folds = audit::load_repeats(tx.connection()).await?;
        self.checkpoints.last = audit::load_checkpoint(tx.connection()).await?;
        self.building.behind = Behind::load(tx.connection()).await?;
        self.pruning.has_rest = audit::is_pruning(tx.connection()).await?;
        self.head = head;
        self.last_at = last_at;
        Ok(())
    }

    /// Closes calls that are open in the file but that no caller of this process waits for.
    pub(super) fn sweep(&mut self, batch: &mut Batch, at: Timestamp, ending: fn(CallId) -> Entry) {
        let lost: Vec<CallId> = self
            .books
            .open_calls()
            .filter(|call| !self.live.contains(call))
            .collect();
        for call in lost {
            let entry = ending(call);
            let costs = entry.kind != Kind::Released;
            let held = self.books.budgets_of(call);
            if let Some(charged) = self.books.close(call, costs) {
                self.chain(batch, &entries::with_charges(entry, &charged), at);
                batch.ledger.closed.push(call);
                batch
                    .ledger
                    .released
                    .extend(held.into_iter().map(|id| (call, id)));
            }
        }
    }

    pub(super) fn set_suspect(&mut self, suspect: bool) {
        self.suspect = suspect;
        self.healthy.store(!suspect, Ordering::Relaxed);
    }
}
