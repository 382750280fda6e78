//! Where a calendar window begins and ends, in a named zone. Pure.
//!
//! Windows are half-open and leave no gap: every instant lies in exactly one window of a kind.

use jiff::civil::{Date, Weekday};
use jiff::{ToSpan, Zoned};

use crate::types::{Timestamp, Window, Zone};

const HOUR_US: i64 = 3_600_000_000;

/// One window: from `starts` up to, not including, `ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first instant of the window.
    pub starts: Timestamp,
    /// The first instant after it: when the count begins anew.
    pub ends: Timestamp,
}

impl Span {
    /// Whether an instant lies in the window.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.starts <= at && at < self.ends
    }
}

/// The window of a kind that contains `at`.
pub fn span(window: Window, zone: &Zone, at: Timestamp) -> Span {
    let local = at.in_zone(zone);
    let today = local.date();
    let (first, next) = match window {
        Window::Hour => return hour(&local, zone, at),
        Window::Day => (today, today.saturating_add(1.day())),
        Window::Week => {
            let back = i64::from(today.weekday().since(Weekday::Monday));
            let monday = today.saturating_sub(back.days());
            (monday, monday.saturating_add(7.days()))
        }
        Window::Month => (
            today.first_of_month(),
            today.last_of_month().saturating_add(1.day()),
        ),
        Window::Year => (
            today.first_of_year(),
            today.last_of_year().saturating_add(1.day()),
        ),
    };
    Span {
        starts: first_instant(first, zone, at),
        ends: first_instant(next, zone, at),
    }
}

/// The first instant whose local date is `date`: where midnight stands twice, the first; where it is
/// skipped, the moment the clocks jump to.
fn first_instant(date: Date, zone: &Zone, fallback: Timestamp) -> Timestamp {
    let midnight = date.to_zoned(zone.rules().clone());
    // Only dates at the ends of the calendar have no instant.
    midnight.map_or(fallback, |midnight| {
        Timestamp::from_jiff(midnight.timestamp())
    })
}

/// An hour of the local clock; one that a change of the clocks cuts ends there.
fn hour(local: &Zoned, zone: &Zone, at: Timestamp) -> Span {
    let offset_us = i64::from(local.offset().seconds()).saturating_mul(1_000_000);
    let into = at.micros().saturating_add(offset_us).rem_euclid(HOUR_US);
    let starts = Timestamp::from_micros(at.micros().saturating_sub(into));
    let ends = Timestamp::from_micros(starts.micros().saturating_add(HOUR_US));
    let before = zone.rules().preceding(local.timestamp()).next();
    let after = zone.rules().following(local.timestamp()).next();
    let before = before.map(|change| Timestamp::from_jiff(change.timestamp()));
    let after = after.map(|change| Timestamp::from_jiff(change.timestamp()));
    // `preceding` leaves out a change at this very instant.
    let before = if zone_changes_at(local, zone) {
        Some(at)
    } else {
        before
    };
    Span {
        starts: before.map_or(starts, |change| starts.max(change)),
        ends: after.map_or(ends, |change| ends.min(change)),
    }
}

fn zone_changes_at(local: &Zoned, zone: &Zone) -> bool {
    let just_before = local.timestamp().saturating_sub(1.microsecond());
    just_before.is_ok_and(|before| before.to_zoned(zone.rules().clone()).offset() != local.offset())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn instant(text: &str) -> Timestamp {
        Timestamp::from_jiff(text.parse().unwrap())
    }

    fn around(window: Window, zone: &str, at: &str) -> (String, String) {
        let zone = Zone::named(zone).unwrap();
        let span = span(window, &zone, instant(at));
        (span.starts.rfc3339(&zone), span.ends.rfc3339(&zone))
    }

    #[test]
    fn days_begin_at_the_first_instant_of_the_date() {
        // Resets as the zones' own rules give them; the awkward days of the calendar.
        let table = [
            (
                "Europe/Berlin",
                "2026-11-20T10:00:00Z",
                "2026-11-20T00:00:00+01:00",
                "2026-11-21T00:00:00+01:00",
            ),
            (
                "Europe/Zurich",
                "2026-10-25T12:00:00Z",
                "2026-10-25T00:00:00+02:00",
                "2026-10-26T00:00:00+01:00",
            ),
            (
                "Africa/Cairo",
                "2026-04-24T12:00:00Z",
                "2026-04-24T01:00:00+03:00",
                "2026-04-25T00:00:00+03:00",
            ),
            (
                "Asia/Beirut",
                "2026-03-29T12:00:00Z",
                "2026-03-29T01:00:00+03:00",
                "2026-03-30T00:00:00+03:00",
            ),
            (
                "America/Santiago",
                "2026-09-06T12:00:00Z",
                "2026-09-06T01:00:00-03:00",
                "2026-09-07T00:00:00-03:00",
            ),
            (
                "America/Havana",
                "2026-11-01T12:00:00Z",
                "2026-11-01T00:00:00-04:00",
                "2026-11-02T00:00:00-05:00",
            ),
            (
                "Australia/Lord_Howe",
                "2026-04-05T00:00:00Z",
                "2026-04-05T00:00:00+11:00",
                "2026-04-06T00:00:00+10:30",
            ),
            (
                "Pacific/Apia",
                "2011-12-30T09:00:00Z",
                "2011-12-29T00:00:00-10:00",
                "2011-12-31T00:00:00+14:00",
            ),
            (
                "Asia/Kathmandu",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00+05:45",
                "2026-01-02T00:00:00+05:45",
            ),
        ];
        for (zone, at, starts, ends) in table {
            assert_eq!(
                around(Window::Day, zone, at),
                (starts.into(), ends.into()),
                "{zone}"
            );
        }
    }

    #[test]
    fn weeks_months_and_years_begin_where_people_expect() {
        let berlin = |window| around(window, "Europe/Berlin", "2026-11-20T10:00:00Z");
        let from_to = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(
            berlin(Window::Week),
            from_to("2026-11-16T00:00:00+01:00", "2026-11-23T00:00:00+01:00")
        );
        assert_eq!(
            berlin(Window::Month),
            from_to("2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00")
        );
        assert_eq!(
            berlin(Window::Year),
            from_to("2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00")
        );
    }

    #[test]
    fn hours_follow_the_local_clock_and_end_where_it_changes() {
        let kathmandu = around(Window::Hour, "Asia/Kathmandu", "2026-01-01T00:20:00Z");
        assert_eq!(
            kathmandu,
            (
                "2026-01-01T06:00:00+05:45".into(),
                "2026-01-01T07:00:00+05:45".into()
            )
        );
        // 02:00 becomes 01:30: the second half hour is a window of its own.
        let first = around(Window::Hour, "Australia/Lord_Howe", "2026-04-04T14:30:00Z");
        assert_eq!(
            first,
            (
                "2026-04-05T01:00:00+11:00".into(),
                "2026-04-05T01:30:00+10:30".into()
            )
        );
        let second = around(Window::Hour, "Australia/Lord_Howe", "2026-04-04T15:00:00Z");
        assert_eq!(
            second,
            (
                "2026-04-05T01:30:00+10:30".into(),
                "2026-04-05T02:00:00+10:30".into()
            )
        );
    }

    const ZONES: [&str; 8] = [
        "UTC",
        "Europe/Berlin",
        "Africa/Cairo",
        "America/Havana",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kathmandu",
    ];
    const WINDOWS: [Window; 5] = [
        Window::Hour,
        Window::Day,
        Window::Week,
        Window::Month,
        Window::Year,
    ];

    proptest! {
        #[test]
        fn every_instant_lies_in_exactly_one_window(
            seconds in 1_262_304_000i64..2_208_988_800,
            zone in proptest::sample::select(ZONES.as_slice()),
            window in proptest::sample::select(WINDOWS.as_slice()),
        ) {
            let zone = Zone::named(zone).unwrap();
            let at = Timestamp::from_micros(seconds * 1_000_000);
            let here = span(window, &zone, at);
            prop_assert!(here.contains(at));
            prop_assert_eq!(span(window, &zone, here.starts), here);
            let last = Timestamp::from_micros(here.ends.micros() - 1);
            prop_assert_eq!(span(window, &zone, last), here);
            prop_assert_eq!(span(window, &zone, here.ends).starts, here.ends);
        }
    }
}
