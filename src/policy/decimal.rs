//! Numbers as JSON writes them, compared exactly: what lies a hair above a maximum is above it.

use std::cmp::Ordering;

/// A number: its sign, its digits without zeros at either end, and how many of them stand before the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    digits: String,
    magnitude: i64,
}

impl Decimal {
    /// Reads a JSON number (RFC 8259, section 6); `None` for anything else, or with an exponent beyond all use.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
        let are_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
        if !are_digits(whole) || !are_digits(fraction) || has_leading_zero {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let leading = i64::try_from(all.len() - significant.len()).ok()?;
        let before = i64::try_from(whole.len()).ok()?.checked_sub(leading)?;
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self {
                is_negative: false,
                digits: String::new(),
                magnitude: 0,
            });
        }
        Some(Self {
            is_negative: unsigned.len() < text.len(),
            digits: digits.to_owned(),
            magnitude: before.checked_add(exponent)?,
        })
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Compares without the signs; neither is zero.
    fn cmp_size(&self, other: &Self) -> Ordering {
        // Without zeros at their start, digits compare like the texts they are.
        (self.magnitude, &self.digits).cmp(&(other.magnitude, &other.digits))
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = digits.parse::<i32>().ok().filter(|_| is_whole)?.into();
    Some(if text.starts_with('-') {
        -number
    } else {
        number
    })
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.is_zero(), number.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let by_sign = sign(self).cmp(&sign(other));
        if by_sign != Ordering::Equal || self.is_zero() {
            by_sign
        } else if self.is_negative {
            other.cmp_size(self)
        } else {
            self.cmp_size(other)
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(left: &str, right: &str) -> Ordering {
        let number = |text| Decimal::parse(text).unwrap();
        number(left).cmp(&number(right))
    }

    #[test]
    fn numbers_are_compared_to_the_last_digit() {
        for (less, more) in [
            ("4", "4.0000000000000000000001"),
            ("9007199254740992", "9007199254740993"),
            ("-2", "-1"),
            ("-1", "0"),
            ("0", "1e-300"),
            ("99", "1e2"),
            ("0.09", "0.1"),
            ("-1e9", "-999999999"),
            ("9", "10"),
            ("12", "121"),
            ("1e999999", "1e1000000"),
        ] {
            assert_eq!(compared(less, more), Ordering::Less, "{less} {more}");
            assert_eq!(compared(more, less), Ordering::Greater, "{more} {less}");
        }
        for (one, two) in [
            ("4", "4.0"),
            ("-0", "0"),
            ("1e2", "100"),
            ("0.10E+1", "1"),
            ("0e99", "0.00"),
        ] {
            assert_eq!(compared(one, two), Ordering::Equal, "{one} {two}");
        }
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            ".5",
            "5.",
            "1e",
            "1e+",
            "1.2.3",
            "0x1",
            "1 ",
            "NaN",
            "1e99999999999",
            "1_0",
            "--1",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn small_numbers_compare_as_they_do_elsewhere(left in -9999_i32..9999, right in -9999_i32..9999, point in 0..4) {
            let text = |number: i32| format!("{number}e-{point}");
            proptest::prop_assert_eq!(compared(&text(left), &text(right)), left.cmp(&right));
        }
    }
}
