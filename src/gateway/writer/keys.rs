//! What the writer does with the keys of calls: looks them up, lets no repeat through, notes how calls end, and takes
//! away those whose time is over.

use std::time::Duration;

use super::super::entries::MODERN;
use super::super::repeats::denied_as_replayed;
use super::batch::{Batch, Reply};
use super::{Job, NotAdmitted, Replay, Writer};
use crate::audit::{self, Entry, Kind};
use crate::budget::{self, Claims, KeyEnding, StoredResult};
use crate::db::DbError;
use crate::policy::Charge;
use crate::types::{CallId, Timestamp, Zone};

/// Pause between two sweeps of the table of keys, in the time of the ledger.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

impl Writer {
    /// Looks up the keys that these calls come with, as far as they are not in memory.
    pub(super) async fn look_up_keys(&mut self, jobs: &[Job]) -> Result<(), DbError> {
        let claims = || jobs.iter().filter_map(Job::claims);
        let ids: Vec<_> = claims()
            .flat_map(|claims| self.keys.unknown(claims))
            .collect();
        let asked: Vec<_> = claims().filter_map(|claims| claims.continues).collect();
        if ids.is_empty() && asked.is_empty() {
            return Ok(());
        }
        let connection = self.database.connection();
        budget::look_up_keys(connection, &mut self.keys, &ids, &asked).await
    }

    /// Gives a call that is let through its keys.
    pub(super) fn take_keys(
        &mut self,
        claims: Option<&Claims>,
        call: CallId,
        (charges, zone): (&[Charge], &Zone),
        at: Timestamp,
    ) {
        let Some(claims) = claims else { return };
        let ends = charges.iter().map(|charge| {
            let limit = &charge.limit;
            budget::span(limit.window, limit.amount, zone, at).ends
        });
        self.keys.take(claims, call, ends.max().unwrap_or(at), at);
    }

    /// Notes how a call ended, and where its result is kept.
    pub(super) fn close_keys(&mut self, call: CallId, closing: &Entry, event: i64) {
        if let Some(era) = detail(closing, "replays") {
            let is_modern = era == MODERN;
            self.keys
                .note_result(call, StoredResult { event, is_modern });
        }
        self.keys.close(call, &ending(closing));
    }

    /// Answers a call that was made before with what it came to then; gives back a job that is anything else.
    ///
    /// A result that was kept in this very batch is not there yet: its repeat hears only that the call was made.
    pub(super) async fn replay(
        &mut self,
        batch: &mut Batch,
        job: Job,
        at: Timestamp,
    ) -> Result<Option<Job>, DbError> {
        let claims = job.claims();
        let found = claims.and_then(|claims| self.keys.find_repeat(claims, at));
        let Some((first, stored)) = found.and_then(|found| found.first.zip(found.result)) else {
            return Ok(Some(job));
        };
        let connection = self.database.connection();
        let result = audit::whole_result(connection, stored.event).await?;
        match (result, job) {
            (Some(result), Job::Admit { entry, reply, .. }) if !reply.is_closed() => {
                self.note(batch, &denied_as_replayed(*entry, first), at);
                let is_modern = stored.is_modern;
                let replay = Replay {
                    first,
                    is_modern,
                    result,
                };
                let replayed = NotAdmitted::Replayed(Box::new(replay));
                batch.replies.push(Reply::Refused(reply, replayed));
                Ok(None)
            }
            (_, job) => Ok(Some(job)),
        }
    }

    /// Takes away keys whose time is over. No caller waits for it but those that come meanwhile.
    pub(super) fn sweep_keys_when_due(&mut self) {
        let at = self.now();
        if self.suspect || self.keys.is_empty() || at < self.keys_swept.after(SWEEP_PAUSE) {
            return;
        }
        match self.sweep_keys(at) {
            Ok(true) => {}
            Ok(false) => self.keys_swept = at,
            Err(error) => {
                tracing::error!(%error, "keys of calls could not be taken away; calls are refused until they can");
                self.set_suspect(true);
            }
        }
    }

    /// Says whether there may be more to take away.
    fn sweep_keys(&mut self, at: Timestamp) -> Result<bool, DbError> {
        let keys = &mut self.keys;
        self.database
            .transact_long(|tx| budget::sweep_keys(tx, keys, at))
    }
}

impl Job {
    fn claims(&self) -> Option<&Claims> {
        match self {
            Self::Admit { keys, .. } => keys.as_deref(),
            Self::Note { .. } | Self::Look { .. } | Self::Order(_) | Self::Tick => None,
        }
    }
}

/// A text in an event.
fn detail(entry: &Entry, name: &str) -> Option<String> {
    let found = entry.details.iter().find(|(key, _)| key == name);
    found.and_then(|(_, value)| serde_json::from_str(value).ok())
}

/// How a call ended, by its closing event.
fn ending(closing: &Entry) -> KeyEnding {
    let outcome = detail(closing, "outcome").unwrap_or_default().into();
    if closing.kind == Kind::Released {
        return KeyEnding::Free;
    }
    if closing.kind != Kind::Settled {
        return KeyEnding::Unknown(outcome);
    }
    match detail(closing, "asks").as_deref() {
        // The server did nothing and says so: it waits for its user.
        Some("visit") => KeyEnding::Free,
        Some(_) => KeyEnding::Asked,
        None => KeyEnding::Done(outcome),
    }
}
