//! Events that are too old go: one event says so and what is left of them, then they are deleted between batches.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::operator::{Outcome, Refused};
use super::Writer;
use super::batch::Batch;
use super::behind::LARGE_SLICE;
use super::behind::RETRY;
use super::orders::Stop;
use crate::audit::{self, Entry, Head, Pruned, bytes, sha256_of};
use crate::types::Timestamp;

/// The longest text of a seam, in bytes: a million windows.
const MAX_SEAM: u64 = 256 << 20;

/// Which events are to go, and what vouches for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// The oldest event that is there.
    pub first: i64,
    /// The last to go.
    pub last: i64,
    /// The hash before the first.
    pub previous: String,
    /// The hash of the last.
    pub head: String,
    /// Everything before this instant goes; in microseconds since 1970.
    pub until_us: i64,
    /// The exported checkpoint that covers them, as the line of its file.
    pub checkpoint: String,
    /// The name of the archive, without its folder.
    pub archive: String,
    /// The digest of the archive.
    pub archive_sha256: String,
    /// The file that says what goes on after them.
    pub seam: PathBuf,
    /// The digest of its text.
    pub seam_sha256: String,
    /// Its text, once it was read.
    #[serde(skip)]
    pub seam_text: String,
    /// Why; written down.
    pub why: String,
}

impl Prune {
    /// Reads the file of the seam, before the writer has the order: the disk it is on may be slow.
    ///
    /// # Errors
    /// When it cannot be read or is another one.
    pub(in super::super) async fn read_seam(&mut self) -> Result<(), Refused> {
        let unreadable = |why: String| Refused::Seam(why);
        let about = tokio::fs::metadata(&self.seam).await;
        let about = about.map_err(|error| unreadable(error.to_string()))?;
        if about.len() > MAX_SEAM {
            return Err(unreadable("it is too long".into()));
        }
        let text = tokio::fs::read_to_string(&self.seam).await;
        self.seam_text = text.map_err(|error| unreadable(error.to_string()))?;
        if sha256_of(&self.seam_text) != self.seam_sha256 {
            return Err(unreadable(
                "it is not the one that was made with the archive".into(),
            ));
        }
        Ok(())
    }

    fn last_head(&self) -> Result<Head, Refused> {
        let hash = bytes(&self.head).ok_or(Refused::NotPrunable("`head` is no hash"))?;
        let seq = self.last;
        Ok(Head { seq, hash })
    }
}

/// What the writer knows about events that were pruned and are still there.
#[derive(Debug)]
pub(super) struct Pruning {
    pub(super) has_rest: bool,
    not_before: Instant,
}

impl Default for Pruning {
    fn default() -> Self {
        Self {
            has_rest: false,
            not_before: Instant::now(),
        }
    }
}

impl Pruning {
    /// How long to wait for somebody to call before the next piece; `None` when none is left.
    pub(super) fn pause(&self) -> Option<Duration> {
        let until = self.not_before.saturating_duration_since(Instant::now());
        self.has_rest.then_some(until)
    }
}

impl Writer {
    /// Writes down that events go. They are deleted afterwards, piece by piece.
    pub(super) async fn prune(
        &mut self,
        batch: &mut Batch,
        order: &Prune,
        entry: Entry,
    ) -> Result<Outcome, Stop> {
        let last = order.last_head()?;
        if self.pruning.has_rest {
            let why = "an earlier prune has not deleted everything yet; try again later";
            return Err(Refused::NotPrunable(why).into());
        }
        // Lookups are built from events: after this nothing that closed a call is missing there.
        while self.building.behind.waiting(&self.written) > 0 {
            self.try_build(LARGE_SLICE).await?;
        }
        let found = audit::prunable(self.database.connection(), last.seq).await?;
        let why = if found.first != Some(order.first)
            || found.hash.as_deref() != Some(last.hash.as_slice())
        {
            Some("the log is not the one that was archived")
        } else if found.open_calls > 0 {
            Some("calls that were let through then are not over")
        } else if last.seq >= self.written.seq {
            Some("nothing would be left of the log")
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Refused::NotPrunable(why).into());
        }
        let until = Timestamp::from_micros(order.until_us);
        let archive = serde_json::json!({"file": order.archive, "sha256": order.archive_sha256});
        let entry = entry
            .json("first", order.first.to_string())
            .json("last", order.last.to_string())
            .text("until", &until.rfc3339_utc())
            .text("previous", &order.previous)
            .text("head", &order.head)
            .text("checkpoint", &order.checkpoint)
            .json("archive", archive.to_string())
            .text("seam", &order.seam_sha256);
        let at = self.now();
        let seq = self.chain(batch, &entry, at);
        batch.pruned = Some(Pruned {
            last,
            event_seq: seq,
            until,
            seam: order.seam_text.clone(),
        });
        let events = last.seq.saturating_sub(order.first).saturating_add(1);
        Ok(Outcome::Pruned { seq, events })
    }

    /// Deletes a piece of what was pruned, if anything is left of it.
    pub(super) fn prune_when_due(&mut self) {
        let is_due = self.pruning.pause() == Some(Duration::ZERO);
        if !is_due || self.suspect {
            return;
        }
        match self.database.transact_long(audit::prune_some) {
            Ok(0) => self.pruning.has_rest = false,
            Ok(gone) => {
                let gone = usize::try_from(gone).unwrap_or(usize::MAX);
                self.events_since_checkpoint = self.events_since_checkpoint.saturating_add(gone);
            }
            Err(error) => {
                tracing::warn!(%error, "events that were pruned cannot be deleted now");
                self.pruning.not_before = Instant::now() + RETRY;
            }
        }
    }
}
