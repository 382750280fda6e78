//! What a budget counts, and how its amounts are written.

use std::fmt;
use std::sync::Arc;

use super::LimitError;

/// Parts of one unit of cost: amounts of cost are whole millionths, so that nothing is ever rounded.
pub const MICROS: u64 = 1_000_000;

/// Digits behind the point that a millionth needs.
const DIGITS: usize = 6;

/// The longest word for a unit of cost, in characters.
const LONGEST: usize = 12;

/// What a budget counts. Amounts are calls, whole numbers of an argument, or millionths of a cost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// Calls.
    Calls,
    /// The number in this argument of a call.
    Argument(Arc<str>),
    /// What calls cost, in this unit: `USD`, `tokens`.
    Cost(Arc<str>),
}

impl Unit {
    /// A unit of cost.
    ///
    /// # Errors
    /// When the text is no short word of ASCII letters, digits, `.`, `_` and `-` that begins with a letter.
    pub fn cost(text: &str) -> Result<Self, LimitError> {
        let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.len() <= LONGEST
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let is_taken = ["calls", "total"].contains(&text);
        if is_word && !is_taken {
            Ok(Self::Cost(text.into()))
        } else {
            Err(LimitError::Unit(text.into()))
        }
    }

    /// The unit that the name of a budget gives.
    pub fn of_key(text: &str) -> Self {
        match (text, text.strip_prefix("argument:")) {
            ("calls", _) => Self::Calls,
            (_, Some(name)) => Self::Argument(name.into()),
            (_, None) => Self::Cost(text.into()),
        }
    }

    /// The unit as people say it: `calls`, the name of the argument, `USD`.
    pub fn word(&self) -> &str {
        match self {
            Self::Calls => "calls",
            Self::Argument(name) | Self::Cost(name) => name,
        }
    }

    /// An amount in this unit, without the unit: `2`, `12.4`.
    pub fn number(&self, amount: u64) -> String {
        match self {
            Self::Calls | Self::Argument(_) => amount.to_string(),
            Self::Cost(_) => decimal(amount),
        }
    }

    /// An amount in this unit as a JSON number.
    pub fn json(&self, amount: u64) -> serde_json::Value {
        match self {
            Self::Calls | Self::Argument(_) => amount.into(),
            // Written by `decimal`, so it is a number; nothing else could stand for it.
            Self::Cost(_) => serde_json::from_str(&decimal(amount)).unwrap_or(amount.into()),
        }
    }

    /// Reads an amount as it is written in this unit.
    ///
    /// # Errors
    /// When it is no number that the unit can hold exactly.
    pub fn amount(&self, text: &str) -> Result<u64, LimitError> {
        let whole = || text.parse::<u32>().ok().map(u64::from);
        let read = match self {
            Self::Calls | Self::Argument(_) => whole(),
            Self::Cost(_) => micros(text),
        };
        read.ok_or_else(|| match self {
            Self::Calls | Self::Argument(_) => LimitError::Count(text.into()),
            Self::Cost(_) => LimitError::Cost(text.into()),
        })
    }
}

/// The unit in the identity of a budget: `calls`, `argument:count`, `USD`.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls => f.write_str("calls"),
            Self::Argument(name) => write!(f, "argument:{name}"),
            Self::Cost(name) => f.write_str(name),
        }
    }
}

/// Millionths in a decimal number with at most six digits behind the point; `None` for every other text.
pub fn micros(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > DIGITS {
        return None;
    }
    let whole = u64::from(whole.parse::<u32>().ok()?).checked_mul(MICROS)?;
    let part: u64 = format!("{part:0<DIGITS$}").parse().ok()?;
    whole.checked_add(part)
}

fn decimal(amount: u64) -> String {
    let (whole, part) = (amount / MICROS, amount % MICROS);
    if part == 0 {
        return whole.to_string();
    }
    let part = format!("{part:0DIGITS$}");
    format!("{whole}.{}", part.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_exactly_or_not_at_all() {
        let table = [
            ("0", Some(0)),
            ("40", Some(40_000_000)),
            ("0.08", Some(80_000)),
            ("0.000001", Some(1)),
            ("4294967295.999999", Some(4_294_967_295_999_999)),
            ("0.0000001", None),
            ("4294967296", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            (".5", None),
            ("5.", None),
            ("", None),
            ("NaN", None),
            ("1_000", None),
        ];
        for (text, expected) in table {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    #[test]
    fn amounts_print_as_they_are_read() {
        let usd = Unit::cost("USD").unwrap();
        for text in ["0", "40", "0.08", "12.4", "0.000001"] {
            assert_eq!(usd.number(usd.amount(text).unwrap()), text);
        }
        assert_eq!(usd.json(12_400_000).to_string(), "12.4");
        assert_eq!(usd.json(40_000_000).to_string(), "40");
        assert_eq!(Unit::Calls.number(7), "7");
    }

    #[test]
    fn a_unit_of_cost_is_a_short_word() {
        for text in ["USD", "tokens", "x-1", "GPU.s"] {
            assert_eq!(Unit::cost(text).unwrap().word(), text);
        }
        for text in [
            "",
            "1x",
            "a b",
            "$",
            "calls",
            "total",
            "abcdefghijklm",
            "a/b",
        ] {
            assert!(Unit::cost(text).is_err(), "{text}");
        }
    }
}
