//! Walks through JSON from token to token and takes the secrets out of each. It has no depth, so nothing can be nested
//! too deeply for it; what is no JSON after all, it walks through as well.

use std::borrow::Cow;

use crate::types::KeyNames;

use super::finder::Finder;
use super::spans::marker;

/// How deep JSON in texts of JSON is looked into; results of tools often hold some.
const NESTED: usize = 3;

/// One walk.
pub(super) struct Walk<'a> {
    finder: &'a Finder,
    keys: Option<&'a KeyNames>,
    text: &'a str,
    /// Whether the text goes on beyond what is walked through.
    is_cut: bool,
    /// Whether no text in it can hold a secret, so that only keys are looked at.
    is_clean: bool,
    depth: usize,
    at: usize,
    out: String,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        finder: &'a Finder,
        keys: Option<&'a KeyNames>,
        text: &'a str,
        is_cut: bool,
    ) -> Self {
        Self {
            finder,
            keys,
            text,
            is_cut,
            is_clean: !finder.is_suspect(text),
            depth: 0,
            at: 0,
            out: String::with_capacity(text.len()),
        }
    }

    /// The text without its secrets.
    pub(super) fn redact(mut self) -> String {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => self.string(),
                b'-' | b'0'..=b'9' => self.number(),
                _ => self.copy(),
            }
        }
        self.out
    }

    /// Everything up to the next text or number.
    fn copy(&mut self) {
        let ends = |byte: u8| matches!(byte, b'"' | b'-' | b'0'..=b'9');
        let end = self.find(self.at, ends);
        self.push(self.at, end);
        self.at = end;
    }

    fn number(&mut self) {
        let end = self.end_of_scalar(self.at);
        let written = self.slice(self.at, end);
        let is_cut = self.is_cut && end == self.text.len();
        let redacted = (!self.is_clean)
            .then(|| self.finder.text(written))
            .flatten();
        match redacted {
            Some(redacted) => self.out.push_str(&quoted(&redacted)),
            None if is_cut => self.mark("cut", self.at, end),
            None => self.out.push_str(written),
        }
        self.at = end;
    }

    /// A text, and when it is a key whose value is a secret, the value too.
    fn string(&mut self) {
        let (start, end) = (self.at, self.end_of_string(self.at));
        let Some(content) = end.and_then(|end| self.text.get(start + 1..end - 1)) else {
            return self.unfinished();
        };
        let end = end.unwrap_or(self.text.len());
        let meant = unescaped(content);
        match self.without_secrets(&meant) {
            Some(redacted) => self.out.push_str(&quoted(&redacted)),
            None => self.push(start, end),
        }
        self.at = end;
        let colon = self.find(end, |byte| !byte.is_ascii_whitespace());
        let is_key = self.text.as_bytes().get(colon) == Some(&b':');
        if is_key && self.keys.is_some_and(|keys| keys.contains(&meant)) {
            let value = self.find(colon + 1, |byte| !byte.is_ascii_whitespace());
            self.push(end, value);
            self.at = value;
            self.secret_value();
        }
    }

    /// The value of a key that says it is a secret. What can be only one of three words says nothing.
    fn secret_value(&mut self) {
        let end = self.end_of_value(self.at);
        let is_word = matches!(self.slice(self.at, end), "null" | "true" | "false" | "");
        if !is_word {
            self.mark("key", self.at, end);
            self.at = end;
        }
    }

    /// A text that ends with what is walked through: cut off, or no JSON.
    fn unfinished(&mut self) {
        let rest = self.slice(self.at, self.text.len());
        if self.is_cut {
            self.mark("cut", self.at, self.text.len());
        } else {
            let meant = unescaped(rest);
            let redacted = self.without_secrets(&meant);
            self.out.push_str(redacted.as_deref().unwrap_or(rest));
        }
        self.at = self.text.len();
    }

    fn without_secrets(&self, text: &str) -> Option<String> {
        if self.is_clean {
            return None;
        }
        let trimmed = text.trim_start();
        let is_json = self.depth < NESTED
            && trimmed.starts_with(['{', '['])
            && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if !is_json {
            return self.finder.text(text);
        }
        let walk = Walk {
            depth: self.depth + 1,
            ..Walk::new(self.finder, self.keys, text, false)
        };
        let inside = walk.redact();
        // A secret may lie across the tokens.
        let redacted = self.finder.text(&inside).unwrap_or(inside);
        (redacted != text).then_some(redacted)
    }

    /// Where the value ends that begins here.
    fn end_of_value(&self, from: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        let mut at = from;
        while let Some(byte) = bytes.get(at) {
            at = match byte {
                b'"' => self.end_of_string(at).unwrap_or(bytes.len()),
                b'{' | b'[' => {
                    depth += 1;
                    at + 1
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    at + 1
                }
                b',' | b':' => at + 1,
                byte if byte.is_ascii_whitespace() => at + 1,
                _ => self.end_of_scalar(at),
            };
            if depth == 0 {
                return at;
            }
        }
        bytes.len()
    }

    /// Behind the closing quote of the text that begins here.
    fn end_of_string(&self, from: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = from + 1;
        loop {
            match bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    fn end_of_scalar(&self, from: usize) -> usize {
        let ends = |byte: u8| byte.is_ascii_whitespace() || b",:]}\"[{".contains(&byte);
        // At least one byte, so that every walk comes to its end.
        self.find(from + 1, ends)
    }

    fn find(&self, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or_default();
        let found = rest.iter().position(|byte| wanted(*byte));
        found.map_or(self.text.len(), |at| from + at)
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn push(&mut self, from: usize, to: usize) {
        self.out.push_str(self.slice(from, to));
    }

    fn mark(&mut self, rule: &str, from: usize, to: usize) {
        self.out.push_str(&quoted(&marker(rule, to - from)));
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the content of a JSON text means (RFC 8259, section 7). Half of a surrogate pair means nothing; no error here
/// may hide what stands beside it.
fn unescaped(content: &str) -> Cow<'_, str> {
    let Some((before, _)) = content.split_once('\\') else {
        return Cow::Borrowed(content);
    };
    let mut meant = before.to_owned();
    let mut rest = content.get(before.len()..).unwrap_or_default();
    while let Some((before, after)) = rest.split_once('\\') {
        meant.push_str(before);
        let (letter, behind) = unescape_one(after);
        meant.extend(letter);
        rest = behind;
    }
    meant.push_str(rest);
    Cow::Owned(meant)
}

/// Reads what stands behind a backslash, and says what is left.
fn unescape_one(text: &str) -> (Option<char>, &str) {
    let mut letters = text.chars();
    let letter = match letters.next() {
        Some('n') => Some('\n'),
        Some('t') => Some('\t'),
        Some('r') => Some('\r'),
        Some('b') => Some('\u{8}'),
        Some('f') => Some('\u{c}'),
        Some('u') => return unescape_unit(letters.as_str()),
        other => other,
    };
    (letter, letters.as_str())
}

fn unescape_unit(text: &str) -> (Option<char>, &str) {
    let Some((high, rest)) = unit(text) else {
        return (Some(char::REPLACEMENT_CHARACTER), text);
    };
    let pair = rest.strip_prefix("\\u").and_then(unit);
    if let Some((low, behind)) = pair {
        let mut read = char::decode_utf16([high, low]);
        if let (Some(Ok(letter)), None) = (read.next(), read.next()) {
            return (Some(letter), behind);
        }
    }
    let letter = char::decode_utf16([high]).next();
    let letter = letter.and_then(Result::ok);
    (Some(letter.unwrap_or(char::REPLACEMENT_CHARACTER)), rest)
}

fn unit(text: &str) -> Option<(u16, &str)> {
    let digits = text.get(..4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    Some((unit, text.get(4..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_mean_what_json_says() {
        for (written, meant) in [
            (r"plain", "plain"),
            (r"\u0073\n\/\\\u00e9", "s\n/\\é"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83dx\ud83d\u0041\udead", "\u{fffd}x\u{fffd}A\u{fffd}"),
            (r"\u12", "\u{fffd}12"),
        ] {
            assert_eq!(unescaped(written), meant, "{written}");
        }
    }
}
