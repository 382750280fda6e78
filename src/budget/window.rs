//! Where a calendar window begins and ends, in a named zone. Pure.
//!
//! Windows are half-open and leave no gap: every instant lies in exactly one window of a kind.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::AmbiguousOffset;
use jiff::{ToSpan, Zoned};

use crate::types::{Length, Period, Start, Timestamp, Window, Zone};

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

    /// Whether the count never begins anew.
    pub fn never_ends(&self) -> bool {
        self.ends.micros() == i64::MAX
    }
}

/// Up to so many, a rolling window counts each instant for itself. Beyond it, pieces of a [`PIECES`]th are counted
/// whole: never over the limit, and at most one piece too careful.
const EXACT: u64 = 4_096;

/// Pieces of a rolling window.
const PIECES: i64 = 60;

/// The window of a kind that contains `at`. For a rolling one, of this limit: as long as what is taken now counts.
pub fn span(window: Window, limit: u64, zone: &Zone, at: Timestamp) -> Span {
    match window {
        Window::Calendar(Period::Hour, _) => hour(&at.in_zone(zone), zone, at),
        Window::Calendar(period, start) => calendar(period, start, zone, at),
        Window::Rolling(length) => rolling(length, limit, at),
        Window::Total => Span {
            starts: Timestamp::from_micros(0),
            ends: Timestamp::from_micros(i64::MAX),
        },
    }
}

fn rolling(length: Length, limit: u64, at: Timestamp) -> Span {
    let piece = match limit {
        0..=EXACT => 1,
        _ => (length.micros() / PIECES).max(1),
    };
    let starts = at.micros().div_euclid(piece).saturating_mul(piece);
    // The last instant of a piece is one before the next begins.
    let ends = starts
        .saturating_add(piece - 1)
        .saturating_add(length.micros());
    Span {
        starts: Timestamp::from_micros(starts),
        ends: Timestamp::from_micros(ends),
    }
}

fn calendar(period: Period, start: Start, zone: &Zone, at: Timestamp) -> Span {
    let begins = |date: Date| first_instant(date, start, zone, at);
    let mut today = at.in_zone(zone).date();
    // Before the time of day at which days begin it is still yesterday; a zone that skips or repeats a day may
    // put the two one further apart.
    while at < begins(today) && today > Date::MIN {
        today = today.saturating_sub(1.day());
    }
    while at >= begins(today.saturating_add(1.day())) && today < Date::MAX {
        today = today.saturating_add(1.day());
    }
    let (first, next) = match period {
        Period::Hour | Period::Day => (today, today.saturating_add(1.day())),
        Period::Week => {
            let back = i64::from(today.weekday().since(weekday(start.weekday)));
            let first = today.saturating_sub(back.days());
            (first, first.saturating_add(7.days()))
        }
        Period::Month => (
            today.first_of_month(),
            today.last_of_month().saturating_add(1.day()),
        ),
        Period::Year => (
            today.first_of_year(),
            today.last_of_year().saturating_add(1.day()),
        ),
    };
    Span {
        starts: begins(first),
        ends: begins(next),
    }
}

fn weekday(day: crate::types::Weekday) -> Weekday {
    use crate::types::Weekday as Named;
    match day {
        Named::Monday => Weekday::Monday,
        Named::Tuesday => Weekday::Tuesday,
        Named::Wednesday => Weekday::Wednesday,
        Named::Thursday => Weekday::Thursday,
        Named::Friday => Weekday::Friday,
        Named::Saturday => Weekday::Saturday,
        Named::Sunday => Weekday::Sunday,
    }
}

/// The first instant at which the clocks of a zone show this date and time of day: where it stands twice, the
/// first; where it is skipped, the moment the clocks jump to.
fn first_instant(date: Date, start: Start, zone: &Zone, fallback: Timestamp) -> Timestamp {
    let minutes = i64::from(start.minutes);
    let local = date.to_datetime(Time::midnight());
    let local = local.saturating_add(minutes.minutes());
    let first = match zone.rules().to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        // By the clocks after the jump it would be just before it.
        AmbiguousOffset::Gap { after, .. } => after
            .to_timestamp(local)
            .ok()
            .and_then(|before| zone.rules().following(before).next())
            .map(|jump| jump.timestamp()),
    };
    // Only dates at the ends of the calendar have no instant.
    first.map_or(fallback, Timestamp::from_jiff)
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
        let span = span(window, 1, &zone, instant(at));
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
                "2025-11-02T12:00:00Z",
                "2025-11-02T00:00:00-04:00",
                "2025-11-03T00:00:00-05:00",
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
                around(Window::calendar(Period::Day), zone, at),
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
            berlin(Window::calendar(Period::Week)),
            from_to("2026-11-16T00:00:00+01:00", "2026-11-23T00:00:00+01:00")
        );
        assert_eq!(
            berlin(Window::calendar(Period::Month)),
            from_to("2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00")
        );
        assert_eq!(
            berlin(Window::calendar(Period::Year)),
            from_to("2026-01-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00")
        );
    }

    #[test]
    fn hours_follow_the_local_clock_and_end_where_it_changes() {
        let kathmandu = around(
            Window::calendar(Period::Hour),
            "Asia/Kathmandu",
            "2026-01-01T00:20:00Z",
        );
        assert_eq!(
            kathmandu,
            (
                "2026-01-01T06:00:00+05:45".into(),
                "2026-01-01T07:00:00+05:45".into()
            )
        );
        // 02:00 becomes 01:30: the second half hour is a window of its own.
        let first = around(
            Window::calendar(Period::Hour),
            "Australia/Lord_Howe",
            "2026-04-04T14:30:00Z",
        );
        assert_eq!(
            first,
            (
                "2026-04-05T01:00:00+11:00".into(),
                "2026-04-05T01:30:00+10:30".into()
            )
        );
        let second = around(
            Window::calendar(Period::Hour),
            "Australia/Lord_Howe",
            "2026-04-04T15:00:00Z",
        );
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
    const WINDOWS: [Window; 9] = [
        Window::calendar(Period::Hour),
        Window::calendar(Period::Day),
        Window::calendar(Period::Week),
        Window::calendar(Period::Month),
        Window::calendar(Period::Year),
        Window::Calendar(Period::Day, AT_SIX),
        Window::Calendar(Period::Week, AT_SIX),
        Window::Calendar(Period::Month, AT_HALF_PAST_TWO),
        Window::Total,
    ];
    const AT_SIX: Start = Start {
        minutes: 6 * 60,
        weekday: crate::types::Weekday::Sunday,
    };
    const AT_HALF_PAST_TWO: Start = Start {
        minutes: 2 * 60 + 30,
        weekday: crate::types::Weekday::Monday,
    };

    proptest! {
        #[test]
        fn every_instant_lies_in_exactly_one_window(
            seconds in 1_262_304_000i64..2_208_988_800,
            zone in proptest::sample::select(ZONES.as_slice()),
            window in proptest::sample::select(WINDOWS.as_slice()),
        ) {
            let zone = Zone::named(zone).unwrap();
            let at = Timestamp::from_micros(seconds * 1_000_000);
            let here = span(window, 1, &zone, at);
            prop_assert!(here.contains(at));
            prop_assert_eq!(span(window, 1, &zone, here.starts), here);
            let last = Timestamp::from_micros(here.ends.micros() - 1);
            prop_assert_eq!(span(window, 1, &zone, last), here);
            if window != Window::Total {
                prop_assert_eq!(span(window, 1, &zone, here.ends).starts, here.ends);
            }
        }

        #[test]
        fn what_is_taken_in_a_rolling_window_counts_at_least_so_long_and_at_most_a_piece_longer(
            micros in 0i64..4_000_000_000_000_000,
            length in proptest::sample::select(["1m", "24h", "7d"].as_slice()),
            limit in proptest::sample::select([1u64, 4_096, 4_097, 1_000_000].as_slice()),
        ) {
            let length: Length = length.parse().unwrap();
            let at = Timestamp::from_micros(micros);
            let span = span(Window::Rolling(length), limit, &Zone::utc(), at);
            let counts = span.ends.micros() - micros;
            let more = if limit > EXACT { length.micros() / PIECES } else { 1 };
            prop_assert!(span.starts <= at);
            prop_assert!((length.micros()..length.micros() + more).contains(&counts), "{}", counts);
        }
    }

    #[test]
    fn days_and_weeks_may_begin_at_another_time_and_with_another_day() {
        let from_to = |a: &str, b: &str| (a.to_string(), b.to_string());
        let day = Window::Calendar(Period::Day, AT_SIX);
        assert_eq!(
            around(day, "Europe/Berlin", "2026-11-20T04:59:59Z"),
            from_to("2026-11-19T06:00:00+01:00", "2026-11-20T06:00:00+01:00")
        );
        assert_eq!(
            around(day, "Europe/Berlin", "2026-11-20T05:00:00Z"),
            from_to("2026-11-20T06:00:00+01:00", "2026-11-21T06:00:00+01:00")
        );
        // The night in which the clocks are put back is 25 hours long.
        assert_eq!(
            around(day, "Europe/Berlin", "2026-10-25T00:30:00Z"),
            from_to("2026-10-24T06:00:00+02:00", "2026-10-25T06:00:00+01:00")
        );
        assert_eq!(
            around(
                Window::Calendar(Period::Week, AT_SIX),
                "UTC",
                "2026-11-22T05:00:00Z"
            ),
            from_to("2026-11-15T06:00:00+00:00", "2026-11-22T06:00:00+00:00")
        );
        // 02:30 does not exist on the day the clocks are put forward; it is passed at 03:00.
        assert_eq!(
            around(
                Window::Calendar(Period::Day, AT_HALF_PAST_TWO),
                "Europe/Berlin",
                "2026-03-29T12:00:00Z"
            ),
            from_to("2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00")
        );
    }

    #[test]
    fn a_total_never_ends() {
        let span = span(Window::Total, 1, &Zone::utc(), Timestamp::from_micros(5));
        assert!(span.contains(Timestamp::from_micros(i64::MAX - 1)));
        assert!(span.never_ends());
    }
}
