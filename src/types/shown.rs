//! Text that somebody untrusted wrote, made visible.
//!
//! Tool names, messages and client names come from agents and servers. The templates escape them and put
//! them inside `<bdi>`; here every character that would not show, or would move others, gets a visible mark. A
//! terminal and a table for a spreadsheet need the same.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Characters shown of a name.
const NAME: usize = 64;

/// Characters shown of a sentence.
const SENTENCE: usize = 240;
/// And of a text as it is kept; nothing longer is.
const WHOLE: usize = 20_000;

/// A text and how much of it to show; prints with marks, and is still to be escaped.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    text: &'a str,
    at_most: usize,
}

/// A name: of an agent, a tool, a client.
pub fn name(text: &str) -> Shown<'_> {
    Shown {
        text,
        at_most: NAME,
    }
}

/// A sentence, such as what an agent was told.
pub fn sentence(text: &str) -> Shown<'_> {
    Shown {
        text,
        at_most: SENTENCE,
    }
}

/// A text as it is kept: an event, arguments, a result.
pub fn whole(text: &str) -> Shown<'_> {
    Shown {
        text,
        at_most: WHOLE,
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.text.chars();
        for character in characters.by_ref().take(self.at_most) {
            write_visible(f, character)?;
        }
        match characters.count() {
            0 => Ok(()),
            more => write!(f, "… ({more} more)"),
        }
    }
}

fn write_visible(f: &mut fmt::Formatter<'_>, character: char) -> fmt::Result {
    let code = u32::from(character);
    match character {
        '\0'..='\u{1f}' => f.write_char(char::from_u32(0x2400 + code).unwrap_or('␦')),
        '\u{7f}' => f.write_char('␡'),
        _ if is_invisible(character) => write!(f, "⟨U+{code:04X}⟩"),
        _ => f.write_char(character),
    }
}

/// Characters without a shape of their own (Unicode: Cc, Cf, line breaks, fillers, variation selectors, tags).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}'
        | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}'
        | '\u{1680}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with every character that steers a terminal, ends a line or does not show written as JSON would:
/// `\n`, `\u001b`, `\u202e`. JSON that was escaped like this is still the same JSON.
pub fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| !c.is_control() && !is_invisible(c);
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_plain(character) => safe.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_invisible() {
        assert_eq!(name("a\tb\nc\u{7f}").to_string(), "a␉b␊c␡");
        assert_eq!(name("user\u{202e}nimda").to_string(), "user⟨U+202E⟩nimda");
        assert_eq!(name("zero\u{200b}width").to_string(), "zero⟨U+200B⟩width");
        assert_eq!(name("tag\u{e0041}").to_string(), "tag⟨U+E0041⟩");
        assert_eq!(name("Grüße, 世界 🐙").to_string(), "Grüße, 世界 🐙");
    }

    #[test]
    fn escaped_json_is_the_same_json_without_anything_that_steers() {
        let wild = "a\u{9b}31m\u{202e}b\u{e0041}c\u{7f}d\u{1b}[2J\n";
        let json = serde_json::Value::from(wild).to_string();
        let safe = escaped(&json);
        assert!(safe.is_ascii(), "{safe}");
        let back: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(back, wild);
        assert_eq!(escaped("a\tb\r\n"), "a\\tb\\r\\n");
        assert!(matches!(escaped("Grüße, 世界 🐙"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let shown = name(&"ä".repeat(70)).to_string();
        assert_eq!(shown, format!("{}… (6 more)", "ä".repeat(64)));
    }
}
