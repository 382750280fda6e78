//! A stretch of time in pieces that people count in: hours, days or weeks on the clocks of a zone. Pure.

use jiff::ToSpan;
use jiff::civil::Date;
use std::time::Duration;

use crate::audit::Counts;
use crate::audit::filter::Period;
use crate::types::{Timestamp, Zone};

use super::chart::{Bar, Stack};
use super::figures::Watch;
use super::visit::Stretch;

const HOUR_US: i64 = 3_600_000_000;

/// The longest stretch that is told by the hour.
const BY_HOURS: Duration = Duration::from_secs(49 * 3_600);

/// The longest one that is told by the day; longer ones by the week.
const BY_DAYS: Duration = Duration::from_secs(93 * 86_400);

/// Pieces at most: more than a year of days.
const MOST: usize = 400;

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Hour,
    Day,
    Week,
}

/// Pieces of time, the oldest first.
#[derive(Debug)]
pub(super) struct Slices {
    /// The beginning of each, and the end of the last.
    pub(super) edges: Vec<Timestamp>,
    unit: Unit,
}

impl Slices {
    /// Whole hours, days or weeks, the first of which the stretch begins in.
    pub(super) fn of(stretch: Stretch, zone: &Zone) -> Self {
        let unit = match stretch.to.since(stretch.from) {
            length if length <= BY_HOURS => Unit::Hour,
            length if length <= BY_DAYS => Unit::Day,
            _ => Unit::Week,
        };
        let edges = match unit {
            Unit::Hour => hours(stretch),
            Unit::Day => days(stretch, zone, 1),
            Unit::Week => days(stretch, zone, 7),
        };
        Self { edges, unit }
    }

    /// The chart of how calls ended; `href` leads to the calls of a piece.
    pub(super) fn stack(
        &self,
        series: &[Counts],
        watch: Watch<'_>,
        href: impl Fn(Period) -> String,
    ) -> Stack {
        let pieces = self.edges.windows(2).zip(series);
        let bars = pieces.filter_map(|(edges, counts)| match edges {
            [from, to] => Some(self.bar((*from, *to), counts, watch, &href)),
            _ => None,
        });
        let (title, unit) = match self.unit {
            Unit::Hour => ("Calls by the hour", "Hour"),
            Unit::Day => ("Calls by the day", "Day"),
            Unit::Week => ("Calls by the week", "Week"),
        };
        Stack::new(title, unit, bars.collect())
    }

    fn bar(
        &self,
        (from, to): (Timestamp, Timestamp),
        counts: &Counts,
        watch: Watch<'_>,
        href: impl Fn(Period) -> String,
    ) -> Bar {
        let local = from.in_zone(watch.zone);
        let (name, mark) = match self.unit {
            Unit::Hour => ("%a %-d %b, %H:%M", "%H:%M"),
            Unit::Day => ("%a %-d %b", "%-d %b"),
            Unit::Week => ("the week of %-d %b %Y", "%-d %b"),
        };
        let rest = counts.admitted.saturating_sub(counts.bad());
        Bar {
            name: local.strftime(name).to_string(),
            mark: local.strftime(mark).to_string(),
            href: href(Period::Between {
                from: Some(from),
                to: Some(to),
            }),
            // A call can end in a later piece than it began in.
            fine: rest.max(0),
            errors: counts.bad(),
            refused: counts.refused,
        }
    }
}

fn hours(stretch: Stretch) -> Vec<Timestamp> {
    let from = stretch.from.micros();
    let first = from.saturating_sub(from.rem_euclid(HOUR_US));
    let mut edges = vec![Timestamp::from_micros(first)];
    let mut last = first;
    while last < stretch.to.micros() && edges.len() <= MOST {
        last = last.saturating_add(HOUR_US);
        edges.push(Timestamp::from_micros(last));
    }
    edges
}

fn days(stretch: Stretch, zone: &Zone, step: i64) -> Vec<Timestamp> {
    let first = stretch.from.in_zone(zone).date();
    let mut edges = Vec::new();
    let mut date = Some(first);
    while let Some(at) = date.and_then(|date| beginning(date, zone)) {
        edges.push(at);
        if at >= stretch.to || edges.len() > MOST {
            break;
        }
        date = date.and_then(|date| date.checked_add(step.days()).ok());
    }
    edges
}

/// When a day begins on the clocks of a zone; where they skip midnight, just after.
pub(super) fn beginning(date: Date, zone: &Zone) -> Option<Timestamp> {
    let zoned = date.to_zoned(zone.rules().clone()).ok()?;
    Some(Timestamp::from_jiff(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::filter::instant;

    #[test]
    fn a_day_of_25_hours_is_a_day_and_long_times_are_told_by_the_week() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| instant(text, &zone).unwrap();
        let of = |from: &str, to: &str| {
            let (from, to) = (at(from), at(to));
            Slices::of(Stretch { from, to }, &zone)
        };
        let october = of("2026-10-23T15:20", "2026-10-26T01:00");
        let expected = [
            "2026-10-23",
            "2026-10-24",
            "2026-10-25",
            "2026-10-26",
            "2026-10-27",
        ];
        assert_eq!(october.edges, expected.map(at));
        let length = |pair: &[Timestamp]| pair[1].since(pair[0]).as_secs() / 3_600;
        let lengths: Vec<u64> = october.edges.windows(2).map(length).collect();
        assert_eq!(lengths, [24, 24, 25, 24]);
        let table = [
            (("2026-11-20T14:10", "2026-11-20T16:00"), Unit::Hour, 3),
            (("2026-11-19T15:20", "2026-11-20T15:20"), Unit::Hour, 26),
            (("2026-10-21T15:20", "2026-11-20T15:20"), Unit::Day, 32),
            (("2025-11-20T15:20", "2026-11-20T15:20"), Unit::Week, 54),
        ];
        for ((from, to), unit, edges) in table {
            let slices = of(from, to);
            assert_eq!((slices.unit, slices.edges.len()), (unit, edges), "{from}");
        }
    }
}
