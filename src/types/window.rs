//! The period in which a budget counts.

use std::fmt;
use std::str::FromStr;

use super::LimitError;

const MINUTE_US: i64 = 60_000_000;
const HOUR_MINUTES: u32 = 60;
const DAY_MINUTES: u32 = 24 * HOUR_MINUTES;

/// The longest rolling window, in minutes: a leap year.
const LONGEST: u32 = 366 * DAY_MINUTES;

/// What a period may be called.
const PERIODS: &str = "hour, day, week, month, year, or a length such as 24h or 7d";

/// When a count begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// With a period of the calendar, in the zone of the policy.
    Calendar(Period, Start),
    /// Never all at once: what counts is the time up to now, so long.
    Rolling(Length),
    /// Never.
    Total,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// An hour of the local clock.
    Hour,
    /// A local calendar day; 23 or 25 hours long when the clocks change.
    Day,
    /// Seven days.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Period {
    const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A day of the week, as the policy file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Weekday {
    /// The first day of a week where nothing else is said (ISO 8601).
    #[default]
    Monday,
    /// The day after.
    Tuesday,
    /// The day after.
    Wednesday,
    /// The day after.
    Thursday,
    /// The day after.
    Friday,
    /// The day after.
    Saturday,
    /// The day after.
    Sunday,
}

impl Weekday {
    /// All, Monday first.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// The word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }
}

/// Where a calendar period begins, other than at midnight and with a Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Start {
    /// The time of day, in minutes after midnight.
    pub minutes: u16,
    /// The first day of a week.
    pub weekday: Weekday,
}

impl Start {
    /// The hour and the minute of the day.
    pub fn time(self) -> (u16, u16) {
        (self.minutes / 60 % 24, self.minutes % 60)
    }
}

/// A number of minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Length(u32);

impl Length {
    /// In microseconds.
    pub fn micros(self) -> i64 {
        i64::from(self.0).saturating_mul(MINUTE_US)
    }
}

impl FromStr for Length {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let wrong = || LimitError::Period(text.into(), PERIODS);
        let unit = match text.chars().next_back() {
            Some('m') => 1,
            Some('h') => HOUR_MINUTES,
            Some('d') => DAY_MINUTES,
            _ => return Err(wrong()),
        };
        let count = text.get(..text.len() - 1).unwrap_or_default();
        let count = count.parse::<u32>().map_err(|_| wrong())?;
        let minutes = count
            .checked_mul(unit)
            .filter(|all| (1..=LONGEST).contains(all));
        minutes
            .map(Self)
            .ok_or_else(|| LimitError::Length(text.into()))
    }
}

/// As days from two days on, as hours or minutes below: one spelling for each length.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            all if all > DAY_MINUTES && all % DAY_MINUTES == 0 => {
                write!(f, "{}d", all / DAY_MINUTES)
            }
            all if all % HOUR_MINUTES == 0 => write!(f, "{}h", all / HOUR_MINUTES),
            all => write!(f, "{all}m"),
        }
    }
}

impl Window {
    /// A calendar period from midnight, with weeks from Monday.
    pub const fn calendar(period: Period) -> Self {
        let weekday = Weekday::Monday;
        let minutes = 0;
        Self::Calendar(period, Start { minutes, weekday })
    }
}

impl FromStr for Window {
    type Err = LimitError;

    /// Reads what stands behind the `/` of a limit.
    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (word, start) = match text.split_once(" from ") {
            Some((word, start)) => (word.trim(), Some(start.trim())),
            None => (text, None),
        };
        let mut periods = Period::ALL.into_iter();
        match (periods.find(|period| period.as_str() == word), start) {
            (Some(period), None) => Ok(Self::calendar(period)),
            (Some(period), Some(start)) => {
                let wrong = || LimitError::Start(start.into(), period.as_str());
                let start = read_start(period, start).ok_or_else(wrong)?;
                Ok(Self::Calendar(period, start))
            }
            (None, None) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                Ok(Self::Rolling(word.parse()?))
            }
            (None, _) => Err(LimitError::Period(text.into(), PERIODS)),
        }
    }
}

/// `06:00`, `sunday`, `sunday 06:00`; an hour of the clock begins with itself.
fn read_start(period: Period, text: &str) -> Option<Start> {
    let (day, time) = match text.split_once(' ') {
        Some((day, time)) => (Some(day), Some(time.trim())),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let weekday = match day {
        None => Weekday::Monday,
        Some(day) if period == Period::Week => Weekday::ALL
            .into_iter()
            .find(|known| known.as_str() == day)?,
        Some(_) => return None,
    };
    let minutes = match time {
        None => 0,
        Some(time) if period != Period::Hour => read_time(time)?,
        Some(_) => return None,
    };
    Some(Start { minutes, weekday })
}

fn read_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, below: u16| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|number| is_plain && *number < below)
    };
    Some(number(hour, 24)? * 60 + number(minute, 60)?)
}

/// `day`, `week from sunday 06:00`, `24h`, `total`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Total => f.write_str("total"),
            Self::Rolling(length) => length.fmt(f),
            Self::Calendar(period, start) => {
                f.write_str(period.as_str())?;
                let weekday = Some(start.weekday)
                    .filter(|day| *period == Period::Week && *day != Weekday::Monday);
                if weekday.is_some() || start.minutes > 0 {
                    f.write_str(" from")?;
                }
                if let Some(day) = weekday {
                    write!(f, " {}", day.as_str())?;
                }
                if start.minutes > 0 {
                    let (hour, minute) = start.time();
                    write!(f, " {hour:02}:{minute:02}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_one_spelling_each() {
        let table = [
            ("day", "day"),
            ("24h", "24h"),
            ("1d", "24h"),
            ("1440m", "24h"),
            ("48h", "2d"),
            ("7d", "7d"),
            ("90m", "90m"),
            ("36h", "36h"),
        ];
        for (written, expected) in table {
            assert_eq!(written.parse::<Window>().unwrap().to_string(), expected);
        }
        assert_eq!(
            "week from monday 00:00".parse(),
            Ok(Window::calendar(Period::Week))
        );
        let minutes = 6 * 60 + 5;
        let weekday = Weekday::Sunday;
        let early = Window::Calendar(Period::Week, Start { minutes, weekday });
        assert_eq!(early.to_string(), "week from sunday 06:05");
    }

    #[test]
    fn a_beginning_fits_its_period() {
        for wrong in [
            "day from sunday",
            "hour from 06:00",
            "day from 6:00",
            "day from 24:00",
            "day from 06:60",
            "week from someday",
            "week from sunday noon",
            "day from +1:00",
        ] {
            let error = wrong.parse::<Window>().unwrap_err();
            assert!(matches!(error, LimitError::Start(..)), "{wrong}: {error}");
        }
        assert!("24h from 06:00".parse::<Window>().is_err());
    }

    #[test]
    fn what_is_no_length_is_said_plainly() {
        let error = |text: &str| text.parse::<Window>().unwrap_err().to_string();
        assert!(error("24x").contains("`24x` is not a period"));
        assert!(error("").contains("is not a period"));
        assert!(error("1.5h").contains("is not a period"));
        assert_eq!(error("0h"), "`0h` is not between a minute and 366 days");
        assert_eq!(error("367d"), "`367d` is not between a minute and 366 days");
        assert_eq!(
            error("99999999d"),
            "`99999999d` is not between a minute and 366 days"
        );
    }
}
