//! When nobody could call: the times between a stop of the gateway and its next start. Pure.

use crate::audit::Kind;
use crate::audit::read::{Known, Note};
use crate::types::Timestamp;

/// A time in which the gateway did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Since when; of a gateway that ended without saying so, the last event before.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Whether the gateway was stopped in good order.
    pub is_orderly: bool,
}

/// The gaps between two instants. `before` says whether the gateway ran at the first; nothing when no event says so.
/// A start for the order of an operator ends no gap.
pub(super) fn gaps(
    notes: &[Note],
    before: Option<Known>,
    (from, to): (Timestamp, Timestamp),
) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut down = match before {
        Some(Known::Stopped) => Some((from, true)),
        Some(Known::Running) | None => None,
    };
    // The very first start of a log ends no gap: nothing was there before.
    let mut has_run = before.is_some();
    for note in notes {
        match note.kind {
            Kind::Stopped => {
                down = down.or(Some((note.at, true)));
                has_run = true;
            }
            Kind::Started => {
                let crashed = note.before.filter(|_| has_run);
                down = down.or(crashed.map(|at| (at.max(from), false)));
                has_run = true;
                if note.is_for_order {
                    continue;
                }
                if let Some((since, is_orderly)) = down.take() {
                    gaps.push(Gap {
                        from: since,
                        to: note.at,
                        is_orderly,
                    });
                }
            }
            Kind::Accepted
            | Kind::Policy
            | Kind::Checkpoint
            | Kind::Admitted
            | Kind::Denied
            | Kind::Settled
            | Kind::Failed
            | Kind::Released
            | Kind::Abandoned
            | Kind::Redacted
            | Kind::Seeded
            | Kind::Expired
            | Kind::Clock
            | Kind::Refunded
            | Kind::Repaired
            | Kind::Unfrozen
            | Kind::Exported
            | Kind::Pruned
            | Kind::Tools
            | Kind::Accessed => {}
        }
    }
    if let Some((since, is_orderly)) = down.filter(|(since, _)| *since < to) {
        gaps.push(Gap {
            from: since,
            to,
            is_orderly,
        });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn note(kind: Kind, second: i64) -> Note {
        Note {
            seq: second,
            at: at(second),
            kind,
            before: Some(at(second - 5)),
            is_for_order: false,
            clock: None,
            why: None,
        }
    }

    fn gap(from: i64, to: i64, is_orderly: bool) -> Gap {
        Gap {
            from: at(from),
            to: at(to),
            is_orderly,
        }
    }

    #[test]
    fn a_gap_goes_from_a_stop_or_the_last_event_to_the_next_start() {
        let order = Note {
            is_for_order: true,
            ..note(Kind::Started, 44)
        };
        let notes = [
            note(Kind::Stopped, 20),
            note(Kind::Started, 30),
            note(Kind::Clock, 35),
            note(Kind::Stopped, 40),
            order,
            note(Kind::Stopped, 45),
            note(Kind::Started, 50),
            // Killed: nobody wrote down that it stopped.
            note(Kind::Started, 70),
            note(Kind::Stopped, 90),
        ];
        let found = gaps(&notes, Some(Known::Running), (at(10), at(100)));
        assert_eq!(
            found,
            [
                gap(20, 30, true),
                gap(40, 50, true),
                gap(65, 70, false),
                gap(90, 100, true)
            ]
        );
    }

    #[test]
    fn what_came_before_the_time_counts_from_its_beginning_and_a_new_log_has_no_gap() {
        let span = (at(10), at(100));
        let started = [note(Kind::Started, 12)];
        assert_eq!(
            gaps(&started, Some(Known::Stopped), span),
            [gap(10, 12, true)]
        );
        assert_eq!(
            gaps(&started, Some(Known::Running), span),
            [gap(10, 12, false)]
        );
        let first = [note(Kind::Started, 12)];
        assert_eq!(gaps(&first, None, span), []);
        assert_eq!(gaps(&[], Some(Known::Stopped), span), [gap(10, 100, true)]);
        assert_eq!(gaps(&[], Some(Known::Running), span), []);
    }
}
