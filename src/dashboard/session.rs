//! Who is looking: the signed cookie of a viewer. Knows no socket.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::Duration;

use crate::policy::{Permissions, Viewer};
use crate::types::{Timestamp, TokenHash, ViewerName};

/// How long a login lasts.
pub(super) const LASTS: Duration = Duration::from_secs(12 * 3_600);

/// What the signature is for, so that no other signature made with this key fits.
const PURPOSE: &[u8] = b"hayward dashboard session 1\0";

/// Who logged in, with which token, until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) viewer: ViewerName,
    fingerprint: String,
    until: Timestamp,
}

/// Signs sessions and checks them.
#[derive(Clone)]
pub(super) struct Signer(Hmac<Sha256>);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl Signer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // HMAC fills a short key with zeros to the size of a block (RFC 2104, section 2).
        let mut block = [0; 64];
        let (head, _) = block.split_at_mut(key.len());
        head.copy_from_slice(key);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(PURPOSE);
        Self(mac)
    }

    /// The value of the cookie.
    pub(super) fn seal(&self, session: &Session) -> String {
        let text = format!(
            "{}|{}|{}",
            session.until.micros(),
            session.fingerprint,
            session.viewer
        );
        let mac = self.0.clone().chain_update(&text).finalize().into_bytes();
        format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(text),
            URL_SAFE_NO_PAD.encode(mac)
        )
    }

    /// The session in a cookie, if this gateway signed it and it still lasts.
    pub(super) fn unseal(&self, cookie: &str, now: Timestamp) -> Option<Session> {
        let (text, mac) = cookie.split_once('.')?;
        let text = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        self.0.clone().chain_update(&text).verify_slice(&mac).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut parts = text.splitn(3, '|');
        let until = Timestamp::from_micros(parts.next()?.parse().ok()?);
        let fingerprint = parts.next()?.into();
        let viewer = parts.next()?.parse().ok()?;
        (now < until).then_some(Session {
            viewer,
            fingerprint,
            until,
        })
    }
}

impl Session {
    pub(super) fn begin(viewer: &Viewer, token: &TokenHash, now: Timestamp) -> Self {
        Self {
            viewer: viewer.name.clone(),
            fingerprint: token.fingerprint().to_string(),
            until: now.after(LASTS),
        }
    }

    /// Whether the rules in force still know this viewer and this token: taking either away ends the session.
    pub(super) fn is_good(&self, permissions: &Permissions, now: Timestamp) -> bool {
        let Some(viewer) = permissions.viewers().get(&self.viewer) else {
            return false;
        };
        viewer.tokens.iter().any(|token| {
            token.hash.fingerprint().to_string() == self.fingerprint
                && token.expires.is_none_or(|end| now < end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            viewer: "governance".parse().unwrap(),
            fingerprint: "2bb80d53".into(),
            until: Timestamp::from_micros(1_000),
        }
    }

    #[test]
    fn a_cookie_is_good_until_it_ends() {
        let signer = Signer::new(&[7; 32]);
        let cookie = signer.seal(&session());
        let at = |micros| signer.unseal(&cookie, Timestamp::from_micros(micros));
        assert_eq!(at(999), Some(session()));
        assert_eq!(at(1_000), None);
    }

    #[test]
    fn a_cookie_that_was_touched_is_no_cookie() {
        let signer = Signer::new(&[7; 32]);
        let cookie = signer.seal(&session());
        let now = Timestamp::default();
        for at in 0..cookie.len() {
            let mut forged = cookie.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last digit of a base64 text has spare bits, which must be zero.
            assert_eq!(signer.unseal(&forged, now), None, "{forged}");
        }
        assert_eq!(Signer::new(&[8; 32]).unseal(&cookie, now), None);
        assert_eq!(signer.unseal("", now), None);
    }
}
