//! When a process that keeps ending may be started again. Pure: time is given.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use super::limits;

/// The failures of the processes of one server.
#[derive(Debug)]
pub(super) struct Backoff<K> {
    failures: HashMap<K, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    until: Duration,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self {
            failures: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash + Clone> Backoff<K> {
    /// Notes that a process ended `at`, in running time; one that was of use before starts from the shortest pause.
    pub(super) fn failed(&mut self, key: &K, at: Duration, was_useful: bool) {
        self.failures
            .retain(|_, failures| failures.until + limits::IDLE > at);
        let before = self.failures.get(key).map_or(0, |failures| failures.count);
        let count = if was_useful {
            1
        } else {
            before.saturating_add(1)
        };
        let doublings = count.saturating_sub(1).min(16);
        let pause = limits::RESTART_FIRST
            .saturating_mul(1 << doublings)
            .min(limits::RESTART_LAST);
        self.failures.insert(
            key.clone(),
            Failures {
                count,
                until: at + pause,
            },
        );
    }

    /// How long to wait still; `None` when a process may be started.
    pub(super) fn wait(&self, key: &K, now: Duration) -> Option<Duration> {
        let left = self.failures.get(key)?.until.saturating_sub(now);
        Some(left).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_half_a_minute_and_starts_again_after_use() {
        let mut backoff = Backoff::default();
        let at = Duration::from_secs(100);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            backoff.failed(&'a', at, false);
            pauses.push(backoff.wait(&'a', at).unwrap().as_millis());
        }
        assert_eq!(
            pauses,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
        backoff.failed(&'a', at, true);
        assert_eq!(backoff.wait(&'a', at), Some(limits::RESTART_FIRST));
        assert_eq!(backoff.wait(&'a', at + limits::RESTART_FIRST), None);
        assert_eq!(backoff.wait(&'b', at), None);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let mut backoff = Backoff::default();
        backoff.failed(&'a', Duration::ZERO, false);
        backoff.failed(&'b', limits::IDLE * 2, false);
        assert_eq!(backoff.failures.len(), 1);
    }
}
