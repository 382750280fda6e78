//! How far a long command came: on a terminal only, and only when it takes longer than a second.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::Screen;
use crate::clock::{Clock, SystemClock};

/// What is over before that needs no bar.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The pause between two looks of it.
const EVERY: Duration = Duration::from_millis(200);

/// Characters of the bar.
const WIDTH: i64 = 30;

/// A bar on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    clock: SystemClock,
    total: i64,
    /// When it was drawn last; `None` when it never is.
    next: Option<Duration>,
    is_drawn: bool,
}

impl Progress {
    /// A bar that is full at `total`.
    pub(super) fn new(screen: &Screen, total: i64) -> Self {
        let is_wanted = io::stderr().is_terminal() && !screen.is_quiet();
        Self {
            clock: SystemClock::start(),
            total,
            next: is_wanted.then_some(SHOWN_AFTER),
            is_drawn: false,
        }
    }

    /// So many are done.
    pub(super) fn at(&mut self, done: i64) {
        let passed = self.clock.monotonic();
        if self.next.is_some_and(|next| passed >= next) {
            self.next = Some(passed.saturating_add(EVERY));
            self.is_drawn = true;
            self.put(&format!("\r\x1b[K{}", bar(done, self.total, passed)));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if self.is_drawn {
            self.put("\r\x1b[K");
        }
    }

    fn put(&self, text: &str) {
        let mut terminal = io::stderr();
        // Nobody is left to tell that standard error is closed.
        let _ = terminal.write_all(text.as_bytes());
        let _ = terminal.flush();
    }
}

fn bar(done: i64, total: i64, passed: Duration) -> String {
    let total = total.max(1);
    let done = done.clamp(0, total);
    let full = done.saturating_mul(WIDTH) / total;
    let bar: String = (0..WIDTH)
        .map(|at| if at < full { '#' } else { '.' })
        .collect();
    let percent = done.saturating_mul(100) / total;
    let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
    let rest = match done {
        0 => String::new(),
        _ => format!(
            ", {} s left",
            total.saturating_sub(done).saturating_mul(seconds) / done
        ),
    };
    format!("[{bar}] {percent} %, {done} of {total} events{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_it_is_and_how_long_it_takes() {
        insta::assert_snapshot!(
            bar(250, 1_000, Duration::from_secs(2)),
            @"[#######.......................] 25 %, 250 of 1000 events, 6 s left"
        );
        insta::assert_snapshot!(
            bar(0, 0, Duration::from_secs(2)),
            @"[..............................] 0 %, 0 of 1 events"
        );
    }
}
