//! Something about a server that is found out by asking: asked once however many want to know, remembered, and
//! asked again when there is reason to.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::Clock;

use super::opening::{Opening, locked, open};
use super::{UpstreamError, limits};

/// What was found out, and when to ask again.
#[derive(Debug)]
pub(super) struct Finding<T> {
    clock: Arc<dyn Clock>,
    /// How long a finding is good for; for ever when this says nothing.
    keep: fn(&T) -> Option<Duration>,
    state: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    known: Option<Arc<T>>,
    probing: Option<Opening<T>>,
    /// When to ask again, in running time.
    ask_again: Option<Duration>,
    /// When it was last asked again, in running time.
    asked_again: Option<Duration>,
}

impl<T: fmt::Debug + Clone + Send + Sync + 'static> Finding<T> {
    pub(super) fn new(clock: Arc<dyn Clock>, keep: fn(&T) -> Option<Duration>) -> Self {
        Self {
            clock,
            keep,
            state: Arc::default(),
        }
    }

    /// What is known; asks when nothing is. What is due for a check stays in force meanwhile. `probe` makes the
    /// question under the lock, so it asks nothing of this itself.
    pub(super) async fn get<F>(&self, probe: impl FnOnce() -> F) -> Result<Arc<T>, UpstreamError>
    where
        F: Future<Output = Result<T, UpstreamError>> + Send + 'static,
    {
        let opening = {
            let mut state = locked(&self.state);
            let now = self.clock.monotonic();
            if let Some(known) = state.known.clone() {
                let is_due = state.ask_again.is_some_and(|at| now >= at);
                if is_due && !state.is_probing() {
                    state.asked_again = Some(now);
                    state.ask_again = Some(now + limits::VERDICT_RETRY);
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

    /// Runs a probe and keeps what it found. A failure is never evidence: what is known so far stays.
    async fn ask(
        self,
        probe: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let found = probe.await?;
        let mut state = locked(&self.state);
        state.ask_again = (self.keep)(&found).map(|span| self.clock.monotonic() + span);
        state.known = Some(Arc::new(found.clone()));
        Ok(found)
    }

    /// What is known now.
    pub(super) fn known(&self) -> Option<Arc<T>> {
        locked(&self.state).known.clone()
    }

    /// Something else would explain what just happened: asks again soon, at most once a minute.
    pub(super) fn doubt(&self) {
        let mut state = locked(&self.state);
        if state.known.is_none() {
            return;
        }
        let now = self.clock.monotonic();
        let earliest = state.asked_again.map(|at| at + limits::VERDICT_RETRY);
        let again = earliest.map_or(now, |earliest| earliest.max(now));
        state.ask_again = Some(state.ask_again.map_or(again, |at| at.min(again)));
    }

    /// Waits until nobody asks any more.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        let probing = locked(&self.state).probing.clone();
        if let Some(probing) = probing {
            drop(probing.await);
        }
    }

    /// What is known has no ground any more.
    pub(super) fn forget(&self) {
        *locked(&self.state) = State::default();
    }
}

impl<T> Clone for Finding<T> {
    fn clone(&self) -> Self {
        Self {
            clock: Arc::clone(&self.clock),
            keep: self.keep,
            state: Arc::clone(&self.state),
        }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            known: None,
            probing: None,
            ask_again: None,
            asked_again: None,
        }
    }
}

impl<T> State<T> {
    fn is_probing(&self) -> bool {
        self.probing
            .as_ref()
            .is_some_and(|probing| probing.peek().is_none())
    }
}
