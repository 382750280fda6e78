//! Numbers, spans, sizes and instants as people read them.

use crate::types::{Timestamp, Zone};

/// Hours of UTC, by which sums are kept.
const HOUR_US: i64 = 3_600 * 1_000_000;

/// A count with a thin space between thousands: `12 408`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len().saturating_mul(2));
    if number < 0 {
        text.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A span of microseconds with three figures at most: `840 µs`, `12.4 ms`, `3.02 s`, `2 min 5 s`.
pub(super) fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", three_figures(micros)),
        1_000_000..60_000_000 => format!("{} s", three_figures(micros / 1_000)),
        _ => {
            let seconds = micros / 1_000_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// A size: `512 B`, `1.21 kB`, `48.0 MB`.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", three_figures(bytes)),
        1_000_000..1_000_000_000 => format!("{} MB", three_figures(bytes / 1_000)),
        _ => format!("{} GB", three_figures(bytes / 1_000_000)),
    }
}

/// Thousandths as a number of three figures, rounded down.
fn three_figures(thousandths: u64) -> String {
    let (whole, rest) = (thousandths / 1_000, thousandths % 1_000);
    match whole {
        0..10 => format!("{whole}.{:02}", rest / 10),
        10..100 => format!("{whole}.{}", rest / 100),
        _ => whole.to_string(),
    }
}

/// How a number changed: `+12 %`, `−3 %`, `as before`; nothing to compare with is said in words.
pub(super) fn change(now: i64, before: i64) -> String {
    if now == before {
        return "as before".into();
    }
    let before_text = count(before);
    if before == 0 {
        return "none before".into();
    }
    let percent = now
        .saturating_sub(before)
        .saturating_mul(100)
        .checked_div(before)
        .unwrap_or(0);
    let sign = if percent > 0 { "+" } else { "" };
    match percent {
        -999..=999 => format!("{sign}{} % from {before_text}", count(percent)),
        _ => format!("from {before_text} before"),
    }
}

/// An instant on the clocks of a zone.
#[derive(Debug, Clone)]
pub(super) struct When {
    /// For machines: RFC 3339 with offset.
    pub(super) machine: String,
    /// The day, unless it is today: `Thu 19 Nov`.
    pub(super) day: String,
    /// The time: `14:03:22`.
    pub(super) time: String,
    /// The offset: `+01:00`.
    pub(super) offset: String,
}

/// Tells an instant to somebody who reads it at another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch<'a> {
    /// The zone of the policy.
    pub(super) zone: &'a Zone,
    /// The instant of reading.
    pub(super) now: Timestamp,
}

impl Watch<'_> {
    /// To the second.
    pub(super) fn tell(&self, at: Timestamp) -> When {
        self.tell_as(at, "%H:%M:%S")
    }

    /// To the minute, for what is rounded anyway.
    pub(super) fn tell_minutes(&self, at: Timestamp) -> When {
        self.tell_as(at, "%H:%M")
    }

    /// When something happened last, by sums of hours or by an event: what is a full hour was after it, not at it.
    pub(super) fn tell_last(&self, at: Timestamp) -> When {
        let mut told = self.tell_minutes(at);
        if at.micros() % HOUR_US == 0 {
            told.time.insert_str(0, "after ");
        }
        told
    }

    fn tell_as(&self, at: Timestamp, time: &str) -> When {
        let local = at.in_zone(self.zone);
        let now = self.now.in_zone(self.zone);
        let day = if local.date() == now.date() {
            String::new()
        } else if local.year() == now.year() {
            local.strftime("%a %-d %b").to_string()
        } else {
            local.strftime("%-d %b %Y").to_string()
        };
        When {
            machine: at.rfc3339(self.zone),
            day,
            time: local.strftime(time).to_string(),
            offset: local.strftime("%:z").to_string(),
        }
    }
}

impl When {
    /// The instant in one line: `Thu 19 Nov 14:03 +01:00`.
    pub(super) fn line(&self) -> String {
        let parts = [self.day.as_str(), &self.time, &self.offset];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(" ")
    }
}

/// How long until an instant, roughly: `in 9 h`, `in 12 min`.
pub(super) fn until(now: Timestamp, then: Timestamp) -> String {
    let minutes = then.since(now).as_secs() / 60;
    match minutes {
        0 => "in less than a minute".into(),
        1..120 => format!("in {minutes} min"),
        120..2_880 => format!("in {} h", minutes / 60),
        _ => format!("in {} days", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let counts = [0, 999, 1_000, 12_408, 1_234_567].map(count);
        assert_eq!(
            counts,
            [
                "0",
                "999",
                "1\u{202f}000",
                "12\u{202f}408",
                "1\u{202f}234\u{202f}567"
            ]
        );
        let spans = [840, 12_499, 3_020_000, 125_000_000].map(span);
        assert_eq!(spans, ["840 µs", "12.4 ms", "3.02 s", "2 min 5 s"]);
        let sizes = [512, 1_219, 48_000_000, 2_500_000_000].map(size);
        assert_eq!(sizes, ["512 B", "1.21 kB", "48.0 MB", "2.50 GB"]);
    }

    #[test]
    fn a_change_is_told_against_the_time_before() {
        assert_eq!(change(5, 5), "as before");
        assert_eq!(change(5, 0), "none before");
        assert_eq!(change(112, 100), "+12 % from 100");
        assert_eq!(change(97, 100), "−3 % from 100");
        assert_eq!(change(5_000, 1), "from 1 before");
    }

    #[test]
    fn instants_are_told_in_the_zone_with_its_offset() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let now = Timestamp::from_micros(1_795_215_600_000_000);
        let watch = Watch { zone: &zone, now };
        assert_eq!(watch.tell(now).line(), "00:00:00 +01:00");
        let before = Timestamp::from_micros(now.micros() - 1);
        assert_eq!(watch.tell_minutes(before).line(), "Fri 20 Nov 23:59 +01:00");
        assert_eq!(watch.tell_last(before).line(), "Fri 20 Nov 23:59 +01:00");
        let hour = Timestamp::from_micros(now.micros() - HOUR_US);
        assert_eq!(
            watch.tell_last(hour).line(),
            "Fri 20 Nov after 23:00 +01:00"
        );
        let summer = Timestamp::from_micros(1_752_000_000_000_000);
        assert_eq!(watch.tell(summer).line(), "8 Jul 2025 20:40:00 +02:00");
    }
}
