//! A month of the calendar, in a zone. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use crate::types::{Timestamp, Zone};

/// A month: `2026-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    /// The month of an instant on the clocks of a zone.
    pub fn of(at: Timestamp, zone: &Zone) -> Self {
        Self(at.in_zone(zone).date().first_of_month())
    }

    /// The month after.
    pub fn next(self) -> Self {
        let day = self.0.last_of_month().tomorrow();
        Self(day.unwrap_or(self.0))
    }

    /// The month before.
    pub fn previous(self) -> Self {
        let day = self.0.yesterday().map(Date::first_of_month);
        Self(day.unwrap_or(self.0))
    }

    /// Its first instant in a zone.
    pub fn begins(self, zone: &Zone) -> Timestamp {
        let start = self.0.to_zoned(zone.rules().clone());
        // Every date of four digits has a beginning in every zone.
        start.map_or_else(
            |_| Timestamp::default(),
            |start| Timestamp::from_jiff(start.timestamp()),
        )
    }

    /// The month in words: `October 2026`.
    pub fn name(self) -> String {
        self.0.strftime("%B %Y").to_string()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m"))
    }
}

impl FromStr for Month {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "not a month; write one like 2026-10";
        let (year, month) = text.split_once('-').ok_or(wrong)?;
        let is_digits =
            |part: &str, long| part.len() == long && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(year, 4) || !is_digits(month, 2) {
            return Err(wrong);
        }
        let year = year.parse().map_err(|_| wrong)?;
        let month = month.parse().map_err(|_| wrong)?;
        if year < 1970 {
            return Err(wrong);
        }
        Date::new(year, month, 1).map(Self).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_midnight_of_its_zone_and_they_follow_one_another() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let month: Month = "2026-10".parse().unwrap();
        assert_eq!(
            month.begins(&berlin).rfc3339(&berlin),
            "2026-10-01T00:00:00+02:00"
        );
        assert_eq!(
            month.next().begins(&berlin).rfc3339(&berlin),
            "2026-11-01T00:00:00+01:00"
        );
        assert_eq!(
            (month.to_string(), month.name()),
            ("2026-10".into(), "October 2026".into())
        );
        let december: Month = "2026-12".parse().unwrap();
        assert_eq!(december.next().to_string(), "2027-01");
        assert_eq!(december.next().previous(), december);
        assert_eq!(Month::of(month.begins(&berlin), &berlin), month);
        assert_eq!(
            Month::of(month.begins(&berlin), &Zone::utc()),
            month.previous()
        );
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for wrong in [
            "",
            "2026",
            "2026-13",
            "2026-1",
            "2026-00",
            "26-10",
            "2026-10-01",
            "+026-10",
            "1969-12",
            "x",
        ] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong}");
        }
    }
}
