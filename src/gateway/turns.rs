//! Turns on the way to the writer. Calls beyond those in it wait before anything is made of them: what waits further on has
//! to be fetched into the processor's caches again when it goes on, and ten times the callers would get a quarter less done.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Calls between their decision and the commit that lets them through. Half of a batch: the ends of calls fill the other.
const AT_ONCE: usize = 64;

/// The longest wait for a turn; a call that waited so long would not be let through in time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whose turn it is; whoever came first is next.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }

    /// Waits for a turn, which ends when it is dropped; `None` when it did not come in two seconds.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(turn) = self.0.try_acquire() {
            return Some(turn);
        }
        timeout(PATIENCE, self.0.acquire()).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_beyond_waits_in_order_and_two_seconds_at_most() {
        let turns = Turns::new();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(turns.take().await.unwrap());
        }
        let (mut next, mut last) = (Box::pin(turns.take()), Box::pin(turns.take()));
        assert!(poll!(&mut next).is_pending() && poll!(&mut last).is_pending());
        taken.pop();
        assert!(poll!(&mut last).is_pending(), "it is not the next");
        assert!(next.await.is_some());
        // The one that had the turn let it go: the next takes it.
        assert!(last.await.is_some());
        taken.push(turns.take().await.unwrap());
        let began = tokio::time::Instant::now();
        assert!(turns.take().await.is_none());
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
