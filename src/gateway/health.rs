//! Whether the log can be written: the writer says what it is at, and everyone else may ask.
//!
//! A disk that hangs says nothing at all. So what counts is how long the writer waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long anyone waits for the log, in either direction. A disk that hangs is a disk that fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What the writer says about itself.
#[derive(Debug, Clone)]
pub(super) struct Health(Arc<Said>);

#[derive(Debug)]
struct Said {
    made: Instant,
    /// A commit failed, and the file was not read back yet.
    has_failed: AtomicBool,
    /// What room the disk has is for closing what is open.
    is_full: AtomicBool,
    /// Since when the writer waits for the disk, in milliseconds since just before `made`; 0 when it does not.
    waits_since_ms: AtomicU64,
}

impl Health {
    pub(super) fn new() -> Self {
        Self(Arc::new(Said {
            made: Instant::now(),
            has_failed: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            waits_since_ms: AtomicU64::new(0),
        }))
    }

    /// A commit failed; or the file was read back after one.
    pub(super) fn set_failed(&self, failed: bool) {
        self.0.has_failed.store(failed, Ordering::Relaxed);
    }

    /// Too little room is left on the disk to let calls through; or there is enough. Yields what was said before.
    pub(super) fn set_full(&self, full: bool) -> bool {
        self.0.is_full.swap(full, Ordering::Relaxed)
    }

    /// The writer turns to the disk.
    pub(super) fn waits(&self) {
        self.0
            .waits_since_ms
            .store(self.now_ms(), Ordering::Relaxed);
    }

    /// The disk has answered, whatever it said.
    pub(super) fn is_answered(&self) {
        self.0.waits_since_ms.store(0, Ordering::Relaxed);
    }

    /// Whether the disk has not answered for longer than anyone waits. Whoever asks for something now would wait in
    /// vain.
    pub(super) fn hangs(&self) -> bool {
        let since = self.0.waits_since_ms.load(Ordering::Relaxed);
        let waited = Duration::from_millis(self.now_ms().saturating_sub(since));
        since > 0 && waited >= PATIENCE
    }

    /// Whether the last commit held, the disk answers, and there is room on it.
    pub(super) fn is_good(&self) -> bool {
        let is_bad = [&self.0.has_failed, &self.0.is_full];
        !is_bad.iter().any(|bad| bad.load(Ordering::Relaxed)) && !self.hangs()
    }

    fn now_ms(&self) -> u64 {
        let ms = self.0.made.elapsed().as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_in_two_seconds_hangs_until_it_does() {
        let health = Health::new();
        assert!(health.is_good());
        tokio::time::advance(Duration::from_secs(60)).await;
        health.waits();
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        assert!(health.is_good() && !health.hangs());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(health.hangs() && !health.is_good());
        health.is_answered();
        assert!(health.is_good());
        health.set_failed(true);
        assert!(!health.is_good() && !health.hangs());
        health.set_failed(false);
        assert!(!health.set_full(true) && !health.is_good() && !health.hangs());
        assert!(health.set_full(false) && health.is_good());
    }
}
