//! A text as the value of an attribute, whole: a field that is sent back has to hold what was asked for to the
//! character, so what would not show, or would move others, stands there as a reference to its character.

use std::borrow::Cow;
use std::fmt::{self, Write};

use askama::filters::HtmlSafe;

use crate::types::shown;

/// Prints escaped; a browser reads the text as it was, but for characters that HTML has no way to write (U+0000).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute(pub(super) String);

impl HtmlSafe for Attribute {}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            let is_special = matches!(character, '&' | '"' | '\'' | '<' | '>');
            if is_special || !shows(character.encode_utf8(&mut [0; 4])) {
                write!(f, "&#x{:x};", u32::from(character))?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Whether all of a text shows as it is.
pub(super) fn shows(text: &str) -> bool {
    matches!(shown::escaped(text), Cow::Borrowed(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_ends_nowhere_and_turns_nothing_round() {
        let text = "a\"b'<c>&d\u{202e}e\n Gr\u{fc}\u{df}e";
        let expected = "a&#x22;b&#x27;&#x3c;c&#x3e;&#x26;d&#x202e;e&#xa; Gr\u{fc}\u{df}e";
        assert_eq!(Attribute(text.into()).to_string(), expected);
        assert!(shows("Gr\u{fc}\u{df}e, imagine"));
        assert!(!shows("tool\u{202e}loot"));
        assert!(!shows("a\u{0}b"));
    }
}
