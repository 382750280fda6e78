//! How much, per what: budgets (`2/day`) and rates (`120/minute`).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use super::{Unit, Window};

/// Why a text is not a limit or a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// There is no `/` between a count and a period.
    #[error("write a count and a period, such as `2/day`")]
    Shape,
    /// What stands after `from` is no beginning of this period.
    #[error(
        "`{0}` is no beginning of {1}: write `from 06:00` for a time of day, and `from sunday` or `from sunday 06:00` for a week"
    )]
    Start(String, &'static str),
    /// A rolling window is too short or too long.
    #[error("`{0}` is not between a minute and 366 days")]
    Length(String),
    /// The count is not a whole number in range.
    #[error("`{0}` is not a whole number")]
    Count(String),
    /// The cost is no decimal number in range.
    #[error("`{0}` is not a decimal number with at most six digits behind the point")]
    Cost(String),
    /// The word is no unit of cost.
    #[error("`{0}` is not a unit of cost: use a short word such as `USD` or `tokens`")]
    Unit(String),
    /// The period is none of the known ones.
    #[error("`{0}` is not a period: use {1}")]
    Period(String, &'static str),
    /// A rate of zero would refuse everything; leaving the grant away says that better.
    #[error("a rate needs a count of at least 1")]
    Zero,
}

/// At most so much in one window: `2/day`, `10/24h`, `100 total`, `40 USD/month`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limit {
    /// How much, in the unit; zero refuses every call.
    pub amount: u64,
    /// What is counted.
    pub unit: Unit,
    /// The period after which a new count begins.
    pub window: Window,
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let (count, window) = match text.trim_end().strip_suffix(" total") {
            Some(count) => (count.trim(), Window::Total),
            None => {
                let (count, period) = split(text)?;
                (count, period.parse()?)
            }
        };
        let (count, unit) = match count.split_once(' ') {
            Some((count, unit)) => (count, Unit::cost(unit.trim())?),
            None => (count, Unit::Calls),
        };
        Ok(Self {
            amount: unit.amount(count)?,
            unit,
            window,
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unit.number(self.amount))?;
        if let Unit::Cost(name) = &self.unit {
            write!(f, " {name}")?;
        }
        match self.window {
            Window::Total => f.write_str(" total"),
            Window::Calendar(..) | Window::Rolling(_) => write!(f, "/{}", self.window),
        }
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

impl RatePeriod {
    /// How long it is.
    pub fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        })
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
            "10/24h",
            "5/7d",
            "100 total",
            "2/day from 06:00",
            "5/week from sunday 18:30",
            "5/week from saturday",
            "9/month from 00:01",
            "40 USD/month",
            "0.5 USD/24h",
            "12.000001 tokens total",
        ] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_limit_is_said_plainly() {
        let error = |text: &str| text.parse::<Limit>().unwrap_err().to_string();
        assert_eq!(error("2"), "write a count and a period, such as `2/day`");
        assert_eq!(error("x total"), "`x` is not a whole number");
        assert_eq!(error("-1/day"), "`-1` is not a whole number");
        assert_eq!(error("1.5/day"), "`1.5` is not a whole number");
        assert_eq!(
            error("1,5 USD/day"),
            "`1,5` is not a decimal number with at most six digits behind the point"
        );
        assert_eq!(
            error("2 $/day"),
            "`$` is not a unit of cost: use a short word such as `USD` or `tokens`"
        );
        assert_eq!(
            error("2/fortnight"),
            "`fortnight` is not a period: use hour, day, week, month, year, or a length such as 24h or 7d"
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
