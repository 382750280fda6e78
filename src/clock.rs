//! What time is it. The only file that asks the system.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::types::Timestamp;

mod guard;

pub use guard::{Guard, Turn};

/// Tells the time. Pure code takes the instant instead.
pub trait Clock: Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// Running time since some fixed moment; never goes back. It stands still while the machine sleeps.
    fn monotonic(&self) -> Duration;

    /// How long the machine has been up, also asleep; `None` where nobody knows.
    fn since_boot(&self) -> Option<Duration>;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose running time starts now.
    #[expect(clippy::disallowed_methods, reason = "this file is where time is read")]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this file is where time is read")]
    fn now(&self) -> Timestamp {
        Timestamp::from_jiff(jiff::Timestamp::now())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    /// The first number in `/proc/uptime` (proc_uptime(5)): seconds, time in suspend included.
    fn since_boot(&self) -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds = text.split_whitespace().next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A clock that stands still until it is moved: for tests and for replaying the past.
#[derive(Debug)]
pub struct ManualClock {
    start_us: i64,
    now_us: AtomicI64,
    /// How far the wall clock is ahead of the running time.
    ahead_us: AtomicI64,
    asleep_us: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self {
            start_us: start.micros(),
            now_us: AtomicI64::new(start.micros()),
            ahead_us: AtomicI64::new(0),
            asleep_us: AtomicI64::new(0),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, span: Duration) {
        self.now_us.fetch_add(micros(span), Ordering::SeqCst);
    }

    /// Moves the wall clock forward alone.
    pub fn jump(&self, span: Duration) {
        self.ahead_us.fetch_add(micros(span), Ordering::SeqCst);
        self.advance(span);
    }

    /// Moves the wall clock back alone.
    pub fn jump_back(&self, span: Duration) {
        self.now_us.fetch_sub(micros(span), Ordering::SeqCst);
        self.ahead_us.fetch_sub(micros(span), Ordering::SeqCst);
    }

    /// Lets the machine sleep: the wall clock goes on, the running time stands still.
    pub fn sleep(&self, span: Duration) {
        self.asleep_us.fetch_add(micros(span), Ordering::SeqCst);
        self.jump(span);
    }

    /// Sets the wall clock, also backwards; running time then stands still.
    pub fn set(&self, now: Timestamp) {
        self.now_us.store(now.micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now_us.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let ahead = self.ahead_us.load(Ordering::SeqCst);
        let start = Timestamp::from_micros(self.start_us.saturating_add(ahead));
        self.now().since(start)
    }

    fn since_boot(&self) -> Option<Duration> {
        let asleep = u64::try_from(self.asleep_us.load(Ordering::SeqCst)).ok()?;
        Some(
            self.monotonic()
                .saturating_add(Duration::from_micros(asleep)),
        )
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
