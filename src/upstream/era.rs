//! Which life cycle a server speaks: asked once, remembered, and asked again when there is reason to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;
use crate::types::{EraChoice, ServerName};

use super::opening::{Opening, locked, open};
use super::{Description, Era, UpstreamError, limits};

/// What a probe found.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) era: Era,
    /// What a modern server says about itself; a legacy one says it when a session opens.
    pub(super) description: Option<Arc<Description>>,
}

/// The verdict on one server.
#[derive(Debug, Clone)]
pub(super) struct EraCell {
    server: ServerName,
    choice: EraChoice,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Arc<Verdict>>,
    probing: Option<Opening<Verdict>>,
    /// When to ask again, in running time.
    ask_again: Option<Duration>,
}

impl EraCell {
    pub(super) fn new(server: &ServerName, choice: EraChoice, clock: Arc<dyn Clock>) -> Self {
        Self {
            server: server.clone(),
            choice,
            clock,
            state: Arc::default(),
        }
    }

    /// Which era to use for a call; asks the server only when it was neither configured nor found out.
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

    /// What is known; asks when nothing is. A verdict that is due for a check stays in force meanwhile.
    pub(super) async fn verdict<F>(
        &self,
        probe: impl FnOnce() -> F,
    ) -> Result<Arc<Verdict>, UpstreamError>
    where
        F: Future<Output = Result<Verdict, UpstreamError>> + Send + 'static,
    {
        let opening = {
            let mut state = locked(&self.state);
            let due = state
                .ask_again
                .is_some_and(|at| self.clock.monotonic() >= at);
            if let Some(known) = state.known.clone() {
                if due && !state.is_probing() {
                    state.ask_again = Some(self.clock.monotonic() + limits::VERDICT_RETRY);
                    state.probing = Some(open(self.clone().ask(probe())));
                }
                return Ok(known);
            }
            match state
                .probing
                .clone()
                .filter(|probing| probing.peek().is_none())
            {
                Some(probing) => probing,
                None => {
                    let probing = open(self.clone().ask(probe()));
                    state.probing = Some(probing.clone());
                    probing
                }
            }
        };
        opening.await
    }

    /// Runs a probe and keeps what it found. A failure is never evidence: the verdict so far stays.
    async fn ask(
        self,
        probe: impl Future<Output = Result<Verdict, UpstreamError>>,
    ) -> Result<Verdict, UpstreamError> {
        let verdict = probe.await?;
        let mut state = locked(&self.state);
        if let Some(known) = &state.known
            && known.era != verdict.era
        {
            tracing::warn!(server = %self.server, was = ?known.era, is = ?verdict.era, "server changed its protocol era");
        }
        state.ask_again = match verdict.era {
            Era::Legacy => Some(self.clock.monotonic() + limits::VERDICT),
            Era::Modern => None,
        };
        state.known = Some(Arc::new(verdict.clone()));
        Ok(verdict)
    }

    /// A call failed in a way that another era would explain: ask again soon, at most once a minute.
    pub(super) fn doubt(&self) {
        let mut state = locked(&self.state);
        if state.known.is_some() && self.choice == EraChoice::Auto {
            let now = self.clock.monotonic();
            state.ask_again = Some(
                state
                    .ask_again
                    .map_or(now, |at| at.min(now + limits::VERDICT_RETRY)),
            );
        }
    }

    /// `initialize` was refused, so the verdict that led there has no ground.
    pub(super) fn forget(&self) {
        if self.choice == EraChoice::Auto {
            *locked(&self.state) = State::default();
        }
    }
}

impl State {
    fn is_probing(&self) -> bool {
        self.probing
            .as_ref()
            .is_some_and(|probing| probing.peek().is_none())
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
        (
            EraCell::new(&"peer".parse().unwrap(), EraChoice::Auto, clock.clone()),
            clock,
        )
    }

    async fn found(era: Era) -> Result<Verdict, UpstreamError> {
        let description = None;
        Ok(Verdict { era, description })
    }

    async fn settled(cell: &EraCell) {
        let probing = locked(&cell.state).probing.clone();
        if let Some(probing) = probing {
            let _ = probing.await;
        }
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
