//! Values that cross the gateway twice, bound to the agent that got them. Pure.
//!
//! A server sees one client, us, so its own checks cannot keep two agents apart. What it hands out to be
//! brought back is wrapped here: agent, server, purpose and expiry are authenticated (HMAC-SHA-256, RFC 2104),
//! and a value that another agent brings, or that was changed, is as good as unknown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::types::{CallId, Timestamp};

/// Bytes of the authentication code.
const TAG: usize = 32;

/// Bytes before the server's own value: expiry and call.
const HEAD: usize = 24;

/// What a value is bound to; every part must be the same when it comes back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Binding<'a> {
    /// Whose it is.
    pub(super) agent: &'a str,
    /// The server that made it, or the endpoint where it was given out.
    pub(super) server: &'a str,
    /// What it is for: the method and what that is about.
    pub(super) purpose: &'a str,
}

/// A value that came back intact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsealed {
    /// The call it was made in, the round it is good for, or the stream.
    pub(super) call: CallId,
    /// The server's own value.
    pub(super) value: String,
}

/// Seals and checks. The key lives as long as the process.
pub(super) struct Sealer(Hmac<Sha256>);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    pub(super) fn new(key: [u8; 32]) -> Self {
        // HMAC fills a short key with zeros to the size of a block (RFC 2104, section 2).
        let mut block = [0; 64];
        let (head, _) = block.split_at_mut(key.len());
        head.copy_from_slice(&key);
        Self(<Hmac<Sha256> as KeyInit>::new(&block.into()))
    }

    /// Wraps a server's value.
    pub(super) fn seal(
        &self,
        binding: &Binding<'_>,
        call: CallId,
        expires: Timestamp,
        value: &str,
    ) -> String {
        let mut body = expires.micros().to_be_bytes().to_vec();
        body.extend_from_slice(call.as_bytes());
        body.extend_from_slice(value.as_bytes());
        let tag = self.code(binding, &body).finalize().into_bytes();
        body.splice(0..0, tag);
        URL_SAFE_NO_PAD.encode(body)
    }

    /// Unwraps a value; `None` when it is another's, changed, or too old.
    pub(super) fn unseal(
        &self,
        binding: &Binding<'_>,
        sealed: &str,
        now: Timestamp,
    ) -> Option<Unsealed> {
        let whole = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (tag, body) = whole.split_at_checked(TAG)?;
        self.code(binding, body).verify_slice(tag).ok()?;
        let (head, value) = body.split_at_checked(HEAD)?;
        let (expires, call) = head.split_at_checked(8)?;
        let expires = i64::from_be_bytes(expires.try_into().ok()?);
        if now >= Timestamp::from_micros(expires) {
            return None;
        }
        Some(Unsealed {
            call: CallId::from_slice(call)?,
            value: String::from_utf8(value.to_vec()).ok()?,
        })
    }

    fn code(&self, binding: &Binding<'_>, body: &[u8]) -> Hmac<Sha256> {
        // Every part with its length in front: no two bindings read the same.
        let parts = [
            binding.agent.as_bytes(),
            binding.server.as_bytes(),
            binding.purpose.as_bytes(),
            body,
        ];
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINE: Binding<'_> = Binding {
        agent: "a",
        server: "s",
        purpose: "tools/call imagine",
    };

    fn sealed(value: &str) -> (Sealer, CallId, String) {
        let sealer = Sealer::new([7; 32]);
        let call = CallId::new(Timestamp::from_micros(1_000), [1; 10]);
        let text = sealer.seal(&MINE, call, Timestamp::from_micros(2_000), value);
        (sealer, call, text)
    }

    #[test]
    fn a_value_comes_back_only_to_whom_and_for_what_it_was_given_and_in_time() {
        let (sealer, call, text) = sealed("state");
        let now = Timestamp::from_micros(1_999);
        let value = Some(Unsealed {
            call,
            value: "state".into(),
        });
        assert_eq!(sealer.unseal(&MINE, &text, now), value);
        assert_eq!(
            sealer.unseal(&MINE, &text, Timestamp::from_micros(2_000)),
            None
        );
        let others = [
            Binding { agent: "b", ..MINE },
            Binding {
                server: "t",
                ..MINE
            },
            Binding {
                purpose: "tools/call blend",
                ..MINE
            },
            Binding {
                agent: "as",
                server: "",
                ..MINE
            },
        ];
        for other in others {
            assert_eq!(sealer.unseal(&other, &text, now), None, "{other:?}");
        }
        assert_eq!(Sealer::new([8; 32]).unseal(&MINE, &text, now), None);
    }

    proptest! {
        #[test]
        fn a_changed_character_is_noticed(at in 0usize..200, to in "[A-Za-z0-9_-]") {
            let (sealer, call, text) = sealed("some state of a server");
            let at = at % text.len();
            let mut changed = text.clone();
            changed.replace_range(at..=at, &to);
            let found = sealer.unseal(&MINE, &changed, Timestamp::from_micros(1_500));
            // The last character carries bits that mean nothing; an equal value may be spelled twice.
            prop_assert!(found.is_none() || found.is_some_and(|found| found.call == call && found.value == "some state of a server"));
        }
    }
}
