//! The cost that a server reports in its result. Pure.

use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// More than this, in millionths, is taken for this: whoever reports it is not to be believed anyway.
const MOST: u64 = 1 << 53;

/// The longest number that is read, in characters.
const LONGEST: usize = 40;

/// Digits behind the point of a millionth.
const MICRO: i32 = 6;

/// The number at a place of a result (JSON Pointer, RFC 6901), in millionths, rounded up. `None` when there is none, or
/// one below zero.
pub(super) fn reported(result: &str, pointer: &str) -> Option<u64> {
    let mut at = result;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = child(at, &step)?;
    }
    millionths(at.trim())
}

/// One step down, without reading what lies beside.
fn child<'a>(json: &'a str, step: &str) -> Option<&'a str> {
    if json.trim_start().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        return items
            .get(step.parse::<usize>().ok()?)
            .map(|item| item.get());
    }
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
    fields.remove(step).map(RawValue::get)
}

/// A JSON number, exactly: through a float, a millionth would get lost sooner or later.
fn millionths(text: &str) -> Option<u64> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.len() > LONGEST || !digits.bytes().all(|b| b.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    let value: u128 = digits.parse().ok()?;
    let behind = i32::try_from(part.len()).ok()?;
    let shift = exponent.checked_sub(behind)?.checked_add(MICRO)?;
    let power = 10_u128.checked_pow(shift.unsigned_abs());
    let scaled = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.saturating_mul(power),
        Some(power) => value.div_ceil(power),
        None if shift >= 0 => u128::MAX,
        // Less than a millionth is a millionth.
        None => 1,
    };
    Some(u64::try_from(scaled).unwrap_or(MOST).min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_cost_is_read_exactly_and_rounded_up() {
        let table = [
            ("0", Some(0)),
            ("12", Some(12_000_000)),
            ("0.08", Some(80_000)),
            ("0.1234561", Some(123_457)),
            ("1e-5", Some(10)),
            ("1E-9", Some(1)),
            ("2.5e+2", Some(250_000_000)),
            ("0e999999", Some(0)),
            ("1e999", Some(MOST)),
            ("1e-999", Some(1)),
            ("99999999999999999999", Some(MOST)),
            ("-1", None),
            ("-0", None),
            ("\"3\"", None),
            ("null", None),
            ("true", None),
            ("{}", None),
            ("", None),
            ("1e99999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(millionths(text), expected, "{text}");
        }
    }

    #[test]
    fn a_pointer_finds_its_place_and_nothing_else() {
        let result = r#"{"usage":{"a/b":[1,{"~":0.5}],"usd": 2 },"cost":"free"}"#;
        let table = [
            ("/usage/usd", Some(2_000_000)),
            ("/usage/a~1b/1/~0", Some(500_000)),
            ("/usage/a~1b/0", Some(1_000_000)),
            ("/usage/a~1b/2", None),
            ("/usage/a~1b/-", None),
            ("/usage", None),
            ("/cost", None),
            ("/missing", None),
            ("/cost/more", None),
        ];
        for (pointer, expected) in table {
            assert_eq!(reported(result, pointer), expected, "{pointer}");
        }
        assert_eq!(reported("no json", "/a"), None);
    }
}
