//! Which life cycle a server speaks: asked once, remembered, and asked again when there is reason to.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::types::{EraChoice, ServerName};

use super::finding::Finding;
use super::{Description, Era, Lane, UpstreamError, limits};

/// What a probe found.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) era: Era,
    /// What a modern server says about itself; a legacy one says it when a session opens.
    pub(super) description: Option<Arc<Description>>,
}

/// What a modern server makes of `initialize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Older {
    /// It opens, and could be answered when it asks something.
    Opens,
    /// It does not, or not so that it could be answered: then 2026-07-28 serves everyone better.
    Refuses,
    /// It could not be asked, which is no evidence.
    Unclear,
}

/// What to speak to a server for one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// This and nothing else.
    Only(Era),
    /// It speaks both, and the lane prefers legacy: modern only where that does not open.
    Both,
}

/// The verdict on one server.
#[derive(Debug)]
pub(super) struct EraCell {
    server: ServerName,
    choice: EraChoice,
    verdict: Finding<Verdict>,
    older: Finding<Older>,
}

impl Spoken {
    /// What is tried first.
    pub(super) fn first(self) -> Era {
        match self {
            Self::Only(era) => era,
            Self::Both => Era::Legacy,
        }
    }
}

impl EraCell {
    pub(super) fn new(server: &ServerName, choice: EraChoice, clock: &Arc<dyn Clock>) -> Self {
        Self {
            server: server.clone(),
            choice,
            verdict: Finding::new(Arc::clone(clock), keep_verdict),
            older: Finding::new(Arc::clone(clock), keep_older),
        }
    }

    /// Which era the server is of; asks it only when that was neither configured nor found out.
    pub(super) async fn era<F>(&self, probe: impl FnOnce() -> F) -> Result<Era, UpstreamError>
    where
        F: Future<Output = Result<Verdict, UpstreamError>> + Send + 'static,
    {
        match self.choice {
            EraChoice::Modern => Ok(Era::Modern),
            EraChoice::Legacy | EraChoice::Sse => Ok(Era::Legacy),
            EraChoice::Auto => Ok(self.verdict(probe).await?.era),
        }
    }

    /// What to speak for a lane to a server of this era. Whether a modern one opens with `initialize` too is asked
    /// only for a lane that prefers that.
    pub(super) async fn spoken<F>(
        &self,
        era: Era,
        lane: &Lane,
        initialize: impl FnOnce() -> F,
    ) -> Spoken
    where
        F: Future<Output = Older> + Send + 'static,
    {
        let is_found = self.choice == EraChoice::Auto && era == Era::Modern;
        if !is_found || lane.prefers != Some(Era::Legacy) {
            return Spoken::Only(era);
        }
        let asking = self.older.get(|| {
            let initialize = initialize();
            async { Ok(initialize.await) }
        });
        match asking.await.as_deref() {
            Ok(Older::Opens) => Spoken::Both,
            Ok(Older::Refuses | Older::Unclear) | Err(_) => Spoken::Only(era),
        }
    }

    /// What is known; asks when nothing is. A verdict that is due for a check stays in force meanwhile.
    pub(super) async fn verdict<F>(
        &self,
        probe: impl FnOnce() -> F,
    ) -> Result<Arc<Verdict>, UpstreamError>
    where
        F: Future<Output = Result<Verdict, UpstreamError>> + Send + 'static,
    {
        let before = self.verdict.known();
        self.verdict
            .get(|| {
                let (server, probe) = (self.server.clone(), probe());
                async move {
                    let verdict = probe.await?;
                    if let Some(known) = before.filter(|known| known.era != verdict.era) {
                        tracing::warn!(%server, was = ?known.era, is = ?verdict.era, "server changed its protocol era");
                    }
                    Ok(verdict)
                }
            })
            .await
    }

    /// A call failed in a way that another era would explain: ask again soon, at most once a minute.
    pub(super) fn doubt(&self) {
        if self.choice == EraChoice::Auto {
            self.verdict.doubt();
        }
    }

    /// A modern server that opened with `initialize` did not do so now: ask again soon, at most once a minute.
    pub(super) fn doubt_older(&self) {
        self.older.doubt();
    }

    /// `initialize` was refused, so the verdict that led there has no ground.
    pub(super) fn forget(&self) {
        if self.choice == EraChoice::Auto {
            self.verdict.forget();
        }
    }
}

/// An established modern verdict is never given up without a reason.
fn keep_verdict(verdict: &Verdict) -> Option<Duration> {
    match verdict.era {
        Era::Legacy => Some(limits::VERDICT),
        Era::Modern => None,
    }
}

/// One that opens shows it with every session that does.
fn keep_older(older: &Older) -> Option<Duration> {
    match older {
        Older::Opens => None,
        Older::Refuses => Some(limits::VERDICT),
        Older::Unclear => Some(limits::VERDICT_RETRY),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::ManualClock;
    use crate::types::Timestamp;

    fn cell() -> (EraCell, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
        let shared: Arc<dyn Clock> = clock.clone();
        (
            EraCell::new(&"peer".parse().unwrap(), EraChoice::Auto, &shared),
            clock,
        )
    }

    async fn found(era: Era) -> Result<Verdict, UpstreamError> {
        let description = None;
        Ok(Verdict { era, description })
    }

    async fn settled(cell: &EraCell) {
        cell.verdict.settled().await;
    }

    #[tokio::test]
    async fn calls_that_come_first_together_share_one_probe() {
        let (cell, _) = cell();
        let probes = AtomicUsize::new(0);
        let ask = || {
            cell.era(|| {
                probes.fetch_add(1, Ordering::SeqCst);
                found(Era::Modern)
            })
        };
        let (first, second) = tokio::join!(ask(), ask());
        assert_eq!(
            (first.unwrap(), second.unwrap()),
            (Era::Modern, Era::Modern)
        );
        assert_eq!(probes.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_probe_is_no_verdict() {
        let (cell, _) = cell();
        let down = || async { Err(UpstreamError::Unreachable("down".into())) };
        assert!(cell.era(down).await.is_err());
        assert_eq!(cell.era(|| found(Era::Legacy)).await.unwrap(), Era::Legacy);
    }

    #[tokio::test]
    async fn a_legacy_verdict_is_checked_after_an_hour_without_anyone_waiting() {
        let (cell, clock) = cell();
        cell.era(|| found(Era::Legacy)).await.unwrap();
        clock.advance(limits::VERDICT);
        let down = || async { Err(UpstreamError::Unreachable("down".into())) };
        assert_eq!(cell.era(down).await.unwrap(), Era::Legacy);
        settled(&cell).await;
        assert_eq!(cell.era(|| found(Era::Modern)).await.unwrap(), Era::Legacy);
        clock.advance(limits::VERDICT_RETRY);
        assert_eq!(cell.era(|| found(Era::Modern)).await.unwrap(), Era::Legacy);
        settled(&cell).await;
        assert_eq!(cell.era(|| found(Era::Legacy)).await.unwrap(), Era::Modern);
    }

    #[tokio::test]
    async fn a_modern_verdict_is_checked_only_when_in_doubt() {
        let (cell, clock) = cell();
        cell.era(|| found(Era::Modern)).await.unwrap();
        clock.advance(limits::VERDICT * 100);
        cell.era(|| found(Era::Legacy)).await.unwrap();
        settled(&cell).await;
        assert_eq!(cell.era(|| found(Era::Modern)).await.unwrap(), Era::Modern);
        cell.doubt();
        cell.era(|| found(Era::Legacy)).await.unwrap();
        settled(&cell).await;
        assert_eq!(cell.era(|| found(Era::Legacy)).await.unwrap(), Era::Legacy);
    }
}
