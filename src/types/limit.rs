//! How much, per what: budgets (`2/day`) and rates (`120/minute`).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Why a text is not a limit or a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no `/` between a count and a period.
    #[error("write a count and a period, such as `2/day`")]
    Shape,
    /// The count is not a whole number in range.
    #[error("`{0}` is not a whole number")]
    Count(String),
    /// The period is none of the known ones.
    #[error("`{0}` is not a period: use {1}")]
    Period(String, &'static str),
    /// A rate of zero would refuse everything; leaving the grant away says that better.
    #[error("a rate needs a count of at least 1")]
    Zero,
}

/// The calendar period in which a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// An hour of the local clock.
    Hour,
    /// A local calendar day; 23 or 25 hours long when the clocks change.
    Day,
    /// Monday to Sunday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar year.
    Year,
}

impl Window {
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

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Window {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let all = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];
        all.into_iter()
            .find(|window| window.as_str() == text)
            .ok_or_else(|| LimitError::Period(text.into(), "hour, day, week, month or year"))
    }
}

/// At most so many calls in one window: `2/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Calls; zero refuses every call.
    pub amount: u64,
    /// The period after which a new count begins.
    pub window: Window,
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (count, period) = split(text)?;
        let amount = count
            .parse::<u32>()
            .map_err(|_| LimitError::Count(count.into()))?;
        Ok(Self {
            amount: u64::from(amount),
            window: period.parse()?,
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.window)
    }
}

/// The period of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RatePeriod {
    /// Per second.
    Second,
    /// Per minute.
    Minute,
    /// Per hour.
    Hour,
}

impl RatePeriod {
    /// The word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

impl FromStr for RatePeriod {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        [Self::Second, Self::Minute, Self::Hour]
            .into_iter()
            .find(|period| period.as_str() == text)
            .ok_or_else(|| LimitError::Period(text.into(), "second, minute or hour"))
    }
}

/// Smoothing over seconds or minutes: `120/minute`, forgotten when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Calls per period.
    pub count: NonZeroU32,
    /// The period.
    pub period: RatePeriod,
    /// How many calls may come at once; the count where the file says nothing.
    pub burst: NonZeroU32,
}

impl FromStr for Rate {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (count, period) = split(text)?;
        let number = count
            .parse::<u32>()
            .map_err(|_| LimitError::Count(count.into()))?;
        let count = NonZeroU32::new(number).ok_or(LimitError::Zero)?;
        Ok(Self {
            count,
            period: period.parse()?,
            burst: count,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.period.as_str())
    }
}

fn split(text: &str) -> Result<(&str, &str), LimitError> {
    let (count, period) = text.split_once('/').ok_or(LimitError::Shape)?;
    Ok((count.trim(), period.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_and_print_the_same() {
        for text in [
            "0/day",
            "2/day",
            "10/hour",
            "3/week",
            "40/month",
            "4294967295/year",
        ] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_limit_is_said_plainly() {
        let error = |text: &str| text.parse::<Limit>().unwrap_err().to_string();
        assert_eq!(error("2"), "write a count and a period, such as `2/day`");
        assert_eq!(error("-1/day"), "`-1` is not a whole number");
        assert_eq!(error("1.5/day"), "`1.5` is not a whole number");
        assert_eq!(
            error("2/fortnight"),
            "`fortnight` is not a period: use hour, day, week, month or year"
        );
    }

    #[test]
    fn a_rate_of_zero_is_refused() {
        assert_eq!("0/minute".parse::<Rate>(), Err(LimitError::Zero));
        assert_eq!(
            "120/minute".parse::<Rate>().unwrap().to_string(),
            "120/minute"
        );
    }
}
