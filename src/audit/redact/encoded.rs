//! The forms in which a secret may stand in a text, and texts whose characters are written as `%41`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A form of a secret to look for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) text: String,
    /// Whether the character before it holds some bits of it too.
    pub(super) has_before: bool,
    /// Whether the one behind it does.
    pub(super) has_after: bool,
}

impl Form {
    fn plain(text: String) -> Self {
        Self {
            text,
            has_before: false,
            has_after: false,
        }
    }
}

/// All forms of a secret, as far as they are long enough to look for.
pub(super) fn forms(secret: &str, shortest: usize) -> BTreeSet<Form> {
    let mut plain = vec![secret, secret.trim()];
    // Of a key that is written over several lines, one may stand alone.
    plain.extend(
        secret
            .lines()
            .map(str::trim)
            .filter(|line| line.len() >= 2 * shortest),
    );
    let mut forms = BTreeSet::new();
    for text in plain.into_iter().filter(|text| text.len() >= shortest) {
        let quoted = serde_json::Value::from(text).to_string();
        let escaped = quoted.trim_start_matches('"').strip_suffix('"');
        forms.insert(Form::plain(text.to_owned()));
        forms.extend(escaped.map(|escaped| Form::plain(escaped.to_owned())));
        // As browsers write a space in a form.
        forms.insert(Form::plain(text.replace(' ', "+")));
        for alignment in 0..3 {
            forms.extend(in_base64(text.as_bytes(), alignment));
        }
    }
    forms
}

/// The characters of base64 (RFC 4648, sections 4 and 5) that are the same whatever stands around these bytes, when
/// so many bytes (modulo three) stand before them.
pub(super) fn in_base64(bytes: &[u8], alignment: usize) -> [Form; 2] {
    let aligned = [&[0; 2][..alignment.min(2)], bytes].concat();
    let bits = aligned.len() * 8;
    let characters = first_character(alignment)..bits / 6;
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|engine| {
        let whole = engine.encode(&aligned);
        Form {
            text: whole.get(characters.clone()).unwrap_or_default().to_owned(),
            has_before: alignment > 0,
            has_after: bits % 6 != 0,
        }
    })
}

/// The first character of base64 that holds nothing of so many bytes before.
pub(super) fn first_character(alignment: usize) -> usize {
    (alignment * 8).div_ceil(6)
}

/// The six bits of a character of base64.
pub(super) fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// A text whose `%41` were read, with the place each of its bytes has in the text as it was.
#[derive(Debug)]
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    /// One more than bytes: the last is the end of the text.
    pub(super) places: Vec<usize>,
}

impl Unescaped {
    /// Reads the escapes of a text (RFC 3986, section 2.1); nothing when there are none.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let places = (0..=text.len()).collect();
        let bytes = text.to_vec();
        Self { bytes, places }.read_again()
    }

    /// The same for what was escaped twice.
    pub(super) fn read_again(&self) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut places = Vec::with_capacity(self.places.len());
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            places.push(self.places.get(at).copied()?);
            let escaped = self.bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
            match escaped.and_then(hexadecimal) {
                Some(read) => {
                    bytes.push(read);
                    at += 3;
                }
                None => {
                    bytes.push(*byte);
                    at += 1;
                }
            }
        }
        places.push(self.places.last().copied()?);
        (bytes.len() < self.bytes.len()).then_some(Self { bytes, places })
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (high, low) = (
        digits.first().and_then(digit)?,
        digits.get(1).and_then(digit)?,
    );
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_a_secret_is_found_at_every_alignment() {
        for before in 0..9 {
            for after in 0..4 {
                let text = format!("{}sésame{}", "x".repeat(before), "y".repeat(after));
                for (index, engine) in [STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().enumerate() {
                    let form = &in_base64("sésame".as_bytes(), before % 3)[index];
                    let whole = engine.encode(&text);
                    let at = before / 3 * 4 + first_character(before % 3);
                    assert!(whole[at..].starts_with(&form.text), "{whole} {form:?}");
                    assert!(form.text.len() >= 7);
                }
            }
        }
    }

    #[test]
    fn escapes_are_read_and_know_their_places() {
        let read = Unescaped::read(b"a%42%zz%2542").unwrap();
        assert_eq!(read.bytes, b"aB%zz%42");
        assert_eq!(read.places, [0, 1, 4, 5, 6, 7, 10, 11, 12]);
        let again = read.read_again().unwrap();
        assert_eq!(
            (again.bytes.as_slice(), again.places[5]),
            (&b"aB%zzB"[..], 7)
        );
        assert!(again.read_again().is_none() && Unescaped::read(b"100%").is_none());
    }
}
