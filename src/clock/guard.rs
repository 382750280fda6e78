//! The time of the ledger, guarded against a wall clock that jumps forward.
//!
//! A clock that runs ahead would open tomorrow's windows today, and what is spent in them is spent. So a step that the
//! running time does not explain is not followed: the ledger's time goes on as the running time does, until the wall
//! clock agrees with it again, or somebody says that it is right. Backwards nothing needs to be done here: the time of
//! the ledger never goes back, and windows are found by it.

use std::time::Duration;

use crate::types::Timestamp;

use super::Clock;

/// A step of the wall clock that is followed: what is less is put right every day by whatever keeps it.
const STEP: Duration = Duration::from_secs(2 * 60);

/// How long the clocks must agree before the wall clock is believed again.
const AGREES: Duration = Duration::from_secs(60);

/// How often it is noted how long the machine has run, time asleep included.
const ANCHOR: Duration = Duration::from_secs(10);

/// What became of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It jumped ahead and is not followed.
    Suspect {
        /// What it shows.
        wall: Timestamp,
    },
    /// It agrees again and is followed.
    Agrees,
}

/// Follows the wall clock as far as the running time explains it.
#[derive(Debug)]
pub struct Guard {
    /// Where the ledger's time was, and the running time then.
    reference: (Timestamp, Duration),
    /// The wall clock and how long the machine had run, at one and the same moment.
    anchor: Option<(Timestamp, Duration)>,
    /// When the anchor was set, in running time.
    anchored: Duration,
    suspect: Option<Suspect>,
}

#[derive(Debug, Clone, Copy)]
struct Suspect {
    /// Since when the clocks agree again, in running time.
    agrees_since: Option<Duration>,
}

impl Guard {
    /// Believes the clock as it is.
    pub fn start(clock: &dyn Clock) -> Self {
        let (wall, running) = (clock.now(), clock.monotonic());
        Self {
            reference: (wall, running),
            anchor: clock.since_boot().map(|boot| (wall, boot)),
            anchored: running,
            suspect: None,
        }
    }

    /// The time of the ledger, and what changed about it.
    pub fn read(&mut self, clock: &dyn Clock) -> (Timestamp, Option<Turn>) {
        let (wall, running) = (clock.now(), clock.monotonic());
        let (reference, at) = self.reference;
        let expected = reference.after(running.saturating_sub(at));
        if wall <= expected.after(STEP) {
            return self.agrees(clock, (wall, running), expected);
        }
        if self.was_asleep(clock, wall) {
            self.believe(clock);
            return (wall, None);
        }
        let turn = self.suspect.is_none().then_some(Turn::Suspect { wall });
        self.suspect = Some(Suspect { agrees_since: None });
        (expected, turn)
    }

    /// Follows the wall clock from here on, whatever it shows.
    pub fn believe(&mut self, clock: &dyn Clock) {
        *self = Self::start(clock);
    }

    /// Whether the wall clock is ahead and not followed.
    pub fn is_suspect(&self) -> bool {
        self.suspect.is_some()
    }

    fn agrees(
        &mut self,
        clock: &dyn Clock,
        (wall, running): (Timestamp, Duration),
        expected: Timestamp,
    ) -> (Timestamp, Option<Turn>) {
        if let Some(suspect) = &mut self.suspect {
            let since = *suspect.agrees_since.get_or_insert(running);
            if running.saturating_sub(since) < AGREES {
                return (wall.min(expected), None);
            }
            self.believe(clock);
            return (wall, Some(Turn::Agrees));
        }
        // A clock that was put back does not make it an earlier time: what comes is measured from where we were.
        if wall.after(STEP) >= expected {
            self.reference = (wall, running);
            if running.saturating_sub(self.anchored) >= ANCHOR {
                self.anchor = clock.since_boot().map(|boot| (wall, boot));
                self.anchored = running;
            }
        }
        (wall, None)
    }

    /// Whether the machine slept meanwhile: then it ran for as long as the wall clock says.
    fn was_asleep(&self, clock: &dyn Clock, wall: Timestamp) -> bool {
        let Some(((then, before), boot)) = self.anchor.zip(clock.since_boot()) else {
            return false;
        };
        wall <= then.after(boot.saturating_sub(before)).after(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_jump_forward_is_not_followed_until_the_clocks_agree_for_a_minute() {
        let clock = ManualClock::at(START);
        let mut guard = Guard::start(&clock);
        clock.advance(HOUR);
        assert_eq!(guard.read(&clock), (START.after(HOUR), None));
        clock.jump(HOUR * 24);
        let wall = START.after(HOUR * 25);
        assert_eq!(
            guard.read(&clock),
            (START.after(HOUR), Some(Turn::Suspect { wall }))
        );
        clock.advance(MINUTE);
        assert_eq!(guard.read(&clock), (START.after(HOUR + MINUTE), None));
        clock.jump_back(HOUR * 24);
        assert_eq!(guard.read(&clock), (START.after(HOUR + MINUTE), None));
        clock.advance(MINUTE - Duration::from_micros(1));
        assert_eq!(guard.read(&clock).1, None);
        assert!(guard.is_suspect());
        clock.advance(Duration::from_micros(1));
        assert_eq!(
            guard.read(&clock),
            (START.after(HOUR + MINUTE * 2), Some(Turn::Agrees))
        );
        assert!(!guard.is_suspect());
    }

    #[test]
    fn small_steps_and_sleep_are_followed() {
        let clock = ManualClock::at(START);
        let mut guard = Guard::start(&clock);
        clock.jump(STEP);
        assert_eq!(guard.read(&clock), (START.after(STEP), None));
        clock.sleep(HOUR * 9);
        assert_eq!(guard.read(&clock), (START.after(STEP + HOUR * 9), None));
        clock.jump(STEP + Duration::from_micros(1));
        assert!(matches!(guard.read(&clock).1, Some(Turn::Suspect { .. })));
    }

    #[test]
    fn a_clock_that_went_back_and_came_forward_again_is_followed() {
        let clock = ManualClock::at(START);
        let mut guard = Guard::start(&clock);
        clock.jump_back(HOUR);
        guard.read(&clock);
        clock.advance(MINUTE);
        guard.read(&clock);
        clock.jump(HOUR);
        assert_eq!(guard.read(&clock), (START.after(MINUTE), None));
    }

    #[test]
    fn somebody_can_say_that_it_is_right() {
        let clock = ManualClock::at(START);
        let mut guard = Guard::start(&clock);
        clock.jump(HOUR * 24);
        guard.read(&clock);
        guard.believe(&clock);
        assert_eq!(guard.read(&clock), (START.after(HOUR * 24), None));
    }

    proptest! {
        #[test]
        fn the_ledgers_time_is_never_further_ahead_than_the_running_time_explains(
            steps in proptest::collection::vec((0u8..4, 0u64..200_000), 1..60),
        ) {
            let clock = ManualClock::at(START);
            let mut guard = Guard::start(&clock);
            let mut explained = START;
            for (step, seconds) in steps {
                let span = Duration::from_secs(seconds);
                match step {
                    0 => clock.jump(span),
                    1 => clock.jump_back(span),
                    _ => {
                        clock.advance(span);
                        explained = explained.after(span);
                    }
                }
                let before = explained;
                let (time, _) = guard.read(&clock);
                prop_assert!(time <= before.after(STEP));
                // What was followed is the truth from here on.
                explained = explained.max(time);
            }
        }
    }
}
