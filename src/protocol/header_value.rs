//! Values of the body that stand in a header too (MCP 2026-07-28, transports, "Value encoding").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "=?base64?";
const END: &str = "?=";

/// A value as a header carries it: as it is, or in base64 where a header could not carry it, where a reader could
/// take it for base64 already, and where nothing would be left of it.
pub fn to_header(value: &str) -> String {
    let is_plain = !value.is_empty()
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim_matches(' ') == value
        && !(value.starts_with(BEGIN) && value.ends_with(END));
    if is_plain {
        value.into()
    } else {
        format!("{BEGIN}{}{END}", STANDARD.encode(value))
    }
}

/// What a header means: what stands between both marks as base64, anything else as it is. `None` when the base64 is
/// none, is padded wrongly, or is no text.
pub fn from_header(header: &str) -> Option<String> {
    let inner = header
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    match inner {
        None => Some(header.into()),
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_header_cannot_carry_is_encoded() {
        assert_eq!(to_header("echo"), "echo");
        assert_eq!(to_header("grüße"), "=?base64?Z3LDvMOfZQ==?=");
        assert_eq!(to_header(" x"), "=?base64?IHg=?=");
        assert_eq!(to_header("a\r\nb"), "=?base64?YQ0KYg==?=");
        assert_eq!(
            to_header("=?base64?eA==?="),
            "=?base64?PT9iYXNlNjQ/ZUE9PT89?="
        );
        assert_eq!(to_header(""), "=?base64??=");
    }

    #[test]
    fn base64_is_read_strictly_and_only_between_both_marks() {
        assert_eq!(from_header("=?base64?SGVsbG8=?="), Some("Hello".into()));
        assert_eq!(from_header("=?base64?SGVsbG8?="), None, "padding");
        assert_eq!(from_header("=?base64?SGVs!!!bG8=?="), None, "alphabet");
        assert_eq!(from_header("=?base64?/w==?="), None, "no UTF-8");
        assert_eq!(from_header("SGVsbG8="), Some("SGVsbG8=".into()));
        assert_eq!(
            from_header("=?base64?SGVsbG8="),
            Some("=?base64?SGVsbG8=".into())
        );
        assert_eq!(from_header("=?base64?="), Some("=?base64?=".into()));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_through_a_header(text in any::<String>()) {
            let header = to_header(&text);
            prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert_eq!(header.trim(), &header);
            prop_assert_eq!(from_header(&header), Some(text));
        }
    }
}
