//! What a server says while it works on a call, as much of it as its agent is passed: a server that floods loses its
//! own progress and log lines, and the agent neither its answer nor its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::upstream::{Notice, StreamNews};

/// Progress and log lines of one call that are passed on at once.
const BURST: u64 = 256;

/// One more is passed on after so long.
const PACE: Duration = Duration::from_millis(10);

/// The notices of one call.
#[derive(Debug)]
pub(super) struct Heard {
    notices: mpsc::Receiver<Notice>,
    clock: Arc<dyn Clock>,
    room: Room,
    passed: u64,
    missed: Arc<AtomicU64>,
}

/// How much a server said in the course of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Progress and log lines that were passed on.
    pub(super) passed: u64,
    /// Those that came too fast.
    pub(super) missed: u64,
}

impl Heard {
    /// `missed` counts what is dropped, here and on the way here.
    pub(super) fn new(
        notices: mpsc::Receiver<Notice>,
        clock: Arc<dyn Clock>,
        missed: Arc<AtomicU64>,
    ) -> Self {
        Self {
            room: Room::new(clock.monotonic()),
            notices,
            clock,
            passed: 0,
            missed,
        }
    }

    /// The next one to pass on.
    pub(super) async fn recv(&mut self) -> Option<Notice> {
        loop {
            let notice = self.notices.recv().await?;
            if self.admits(&notice) {
                return Some(notice);
            }
        }
    }

    /// The next one to pass on, of those that are there.
    pub(super) fn try_recv(&mut self) -> Option<Notice> {
        loop {
            let notice = self.notices.try_recv().ok()?;
            if self.admits(&notice) {
                return Some(notice);
            }
        }
    }

    /// How much there was so far.
    pub(super) fn said(&self) -> Said {
        Said {
            passed: self.passed,
            missed: self.missed.load(Ordering::Relaxed),
        }
    }

    fn admits(&mut self, notice: &Notice) -> bool {
        match notice {
            Notice::At(_, notice) => return self.admits(notice),
            // Their number is bounded where they come from, and their server waits.
            Notice::Ask(_) => return true,
            // Neither comes often, and the agent waits for them.
            Notice::Stream(StreamNews::Answer(_) | StreamNews::Closed) => return true,
            Notice::Stream(StreamNews::Here(_) | StreamNews::Retry(_)) => {
                return self.room.take(self.clock.monotonic());
            }
            Notice::Progress(_) | Notice::Log(_) => {}
        }
        let has_room = self.room.take(self.clock.monotonic());
        if has_room {
            self.passed = self.passed.saturating_add(1);
        } else {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }
}

/// Room for a burst, which comes back with time.
#[derive(Debug)]
struct Room {
    left: u64,
    /// Up to when it was given back.
    since: Duration,
}

impl Room {
    fn new(now: Duration) -> Self {
        Self {
            left: BURST,
            since: now,
        }
    }

    fn take(&mut self, now: Duration) -> bool {
        let back = now.saturating_sub(self.since).as_nanos() / PACE.as_nanos();
        if back > 0 {
            let back = u64::try_from(back).unwrap_or(u64::MAX);
            self.left = BURST.min(self.left.saturating_add(back));
            self.since = now;
        }
        let has_room = self.left > 0;
        self.left = self.left.saturating_sub(1);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_a_steady_pace() {
        let now = Duration::from_secs(5);
        let mut room = Room::new(now);
        let passed = |room: &mut Room, now| (0..1_000).filter(|_| room.take(now)).count();
        assert_eq!(passed(&mut room, now), 256);
        assert_eq!(passed(&mut room, now + PACE / 2), 0);
        assert_eq!(passed(&mut room, now + PACE * 3), 3);
        assert_eq!(passed(&mut room, now + PACE * 1_000), 256);
        assert_eq!(passed(&mut room, now), 0, "a clock that went back");
    }
}
