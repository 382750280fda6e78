//! What is kept of the arguments or the result of a call, and the digest that an event covers it with. Pure.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::types::hex;

use super::Redacted;

/// The most that is kept of one body, in bytes.
const KEPT: usize = 16 * 1024;

/// What it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// What the agent gave.
    Arguments,
    /// What the server answered.
    Result,
}

impl BodyKind {
    /// The word in the column, and the key in the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
        }
    }
}

/// A body as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What it was.
    pub kind: BodyKind,
    /// Without it nobody can tell what a digest is of.
    pub salt: [u8; 16],
    /// What is kept.
    pub kept: String,
    /// How long it was as it came, in bytes.
    pub full_bytes: usize,
    /// Whether more was to be kept than is.
    pub is_truncated: bool,
    /// The digest of what is kept.
    digest: [u8; 32],
    /// The digest of all that was to be kept, when that is more and was looked through.
    whole: Option<[u8; 32]>,
}

impl Body {
    /// Keeps what is left of a body; the salt has to be random.
    pub fn new(kind: BodyKind, redacted: Redacted, salt: [u8; 16]) -> Self {
        let Redacted {
            text: mut kept,
            bytes,
            is_whole,
        } = redacted;
        let fits = kept.len() <= KEPT;
        let whole = (!fits && is_whole).then(|| digest(&salt, kept.as_bytes()));
        kept.truncate(kept.floor_char_boundary(KEPT));
        Self {
            kind,
            digest: digest(&salt, kept.as_bytes()),
            salt,
            kept,
            full_bytes: bytes,
            is_truncated: !fits || !is_whole,
            whole,
        }
    }

    /// What an event says of it.
    pub fn to_json(&self) -> String {
        let whole = self
            .whole
            .map(|digest| format!(r#","whole":"{}""#, hex(&digest)));
        let truncated = if self.is_truncated {
            r#","truncated":true"#
        } else {
            ""
        };
        format!(
            r#"{{"digest":"{}","bytes":{},"stored":{}{truncated}{}}}"#,
            hex(&self.digest),
            self.full_bytes,
            self.kept.len(),
            whole.unwrap_or_default(),
        )
    }
}

/// HMAC-SHA-256 (RFC 2104) of a body, with its salt as the key.
pub(super) fn digest(salt: &[u8], body: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(salt) {
        Ok(mac) => mac.chain_update(body).finalize().into_bytes().into(),
        // INVARIANT: a key of any length is taken.
        Err(_) => [0; 32],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str, is_whole: bool) -> Redacted {
        Redacted {
            text: text.to_owned(),
            bytes: text.len(),
            is_whole,
        }
    }

    #[test]
    fn the_digest_never_changes() {
        // Computed with Python's hmac; a body kept by this version must verify with every later one.
        let body = Body::new(BodyKind::Arguments, redacted(r#"{"a":1}"#, true), [7; 16]);
        assert_eq!(
            body.to_json(),
            r#"{"digest":"f2c217563170b67894beb23379ef6d7cdad683978b53912b41b451cc9714ba28","bytes":7,"stored":7}"#
        );
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_covered_whole() {
        let text = format!("{}éé", "x".repeat(KEPT - 1));
        let body = Body::new(BodyKind::Result, redacted(&text, true), [1; 16]);
        assert_eq!((body.kept.len(), body.full_bytes), (KEPT - 1, KEPT + 3));
        let whole = hex(&digest(&[1; 16], text.as_bytes()));
        assert!(body.is_truncated);
        assert!(
            body.to_json()
                .ends_with(&format!(r#""truncated":true,"whole":"{whole}"}}"#))
        );
        let unread = Body::new(BodyKind::Result, redacted(&text, false), [1; 16]);
        assert!(unread.to_json().ends_with(r#""truncated":true}"#));
    }
}
