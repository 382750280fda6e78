//! Checkpoints: what the end of the chain is at a moment, in an event of the log, signed when there is a key, and
//! exported line by line to a file elsewhere. Pure.
//!
//! The chain alone shows nothing that was cut off its end or computed anew. A signed checkpoint shows what was
//! computed anew, and one that was exported shows both, up to the last exported one.

use std::fmt;
use std::time::Duration;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::db::LogId;
use crate::types::{Timestamp, hex};

use super::{Entry, Head};

/// A checkpoint is due after so long, whether anything happened or not.
pub const EVERY: Duration = Duration::from_secs(3_600);

/// A checkpoint is due after so many events.
pub const EVENTS: i64 = 100_000;

/// The first line of what is signed.
const TAG: &str = "hayward/checkpoint/v1";

/// The end of the chain at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub log: LogId,
    /// The last event it covers, and its hash.
    pub head: Head,
    /// When it was taken.
    pub at: Timestamp,
    /// Who vouches for it.
    pub signed: Option<Signed>,
}

/// A signature (Ed25519, RFC 8032) over [`Checkpoint::text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The public key.
    pub key: PublicKey,
    /// The signature.
    pub signature: [u8; 64],
}

/// A public key that checkpoints are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

/// The key that signs. It never shows itself.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", hex(&self.public().0))
    }
}

impl SigningKey {
    /// The key that grows from these bytes; the same bytes make the same key.
    ///
    /// # Errors
    /// When the bytes make no key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, &'static str> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        pair.map(Self).map_err(|_| "the seed makes no key")
    }

    /// The half that everybody may know.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    fn sign(&self, text: &str) -> Signed {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(text.as_bytes()).as_ref());
        let key = self.public();
        Signed { key, signature }
    }
}

/// One line of the exported file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    log: String,
    seq: i64,
    head: String,
    at_us: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl Checkpoint {
    /// The end of the chain as it is, signed when there is a key.
    pub fn take(log: LogId, head: Head, at: Timestamp, key: Option<&SigningKey>) -> Self {
        let signed = None;
        let mut taken = Self {
            log,
            head,
            at,
            signed,
        };
        taken.signed = key.map(|key| key.sign(&taken.text()));
        taken
    }

    /// What is signed.
    pub fn text(&self) -> String {
        let (log, head) = (hex(&self.log.0), self.head.hex());
        let (seq, at) = (self.head.seq, self.at.micros());
        format!("{TAG}\n{log}\n{seq}\n{head}\n{at}\n")
    }

    /// Whether its signature is what its key made of this very text; without one there is nothing to doubt.
    pub fn is_genuine(&self) -> bool {
        self.signed.as_ref().is_none_or(|signed| {
            let key = UnparsedPublicKey::new(&ED25519, signed.key.0);
            key.verify(self.text().as_bytes(), &signed.signature)
                .is_ok()
        })
    }

    /// Adds it to an event.
    pub fn in_entry(&self, entry: Entry) -> Entry {
        let entry = entry
            .json("through", self.head.seq.to_string())
            .text("head", &self.head.hex());
        match &self.signed {
            None => entry,
            Some(signed) => entry
                .text("key", &hex(&signed.key.0))
                .text("signature", &hex(&signed.signature)),
        }
    }

    /// As a line of the exported file, without its end.
    pub fn to_line(&self) -> String {
        let line = Line {
            log: hex(&self.log.0),
            seq: self.head.seq,
            head: self.head.hex(),
            at_us: self.at.micros(),
            key: self.signed.as_ref().map(|signed| hex(&signed.key.0)),
            signature: self.signed.as_ref().map(|signed| hex(&signed.signature)),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// Reads a line of the exported file.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let signed = match (line.key, line.signature) {
            (None, None) => None,
            (Some(key), Some(signature)) => Some(read_signed(&key, &signature)?),
            (Some(_), None) | (None, Some(_)) => {
                return Err("`key` and `signature` belong together".into());
            }
        };
        let log = LogId(bytes(&line.log).ok_or("`log` is no 32 hexadecimal digits")?);
        let hash = bytes(&line.head).ok_or("`head` is no 64 hexadecimal digits")?;
        Ok(Self {
            log,
            head: Head {
                seq: line.seq,
                hash,
            },
            at: Timestamp::from_micros(line.at_us),
            signed,
        })
    }
}

/// Reads key and signature as they stand in events and lines.
///
/// # Errors
/// When one of them is none.
pub(super) fn read_signed(key: &str, signature: &str) -> Result<Signed, String> {
    let key = PublicKey(bytes(key).ok_or("`key` is no 64 hexadecimal digits")?);
    let signature = bytes(signature).ok_or("`signature` is no 128 hexadecimal digits")?;
    Ok(Signed { key, signature })
}

/// Bytes from hexadecimal digits, two for each.
pub fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == N.saturating_mul(2))?;
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(digits.chunks(2)) {
        let both = pair.iter().fold(0, |all, digit| all * 16 + digit);
        *byte = u8::try_from(both).ok()?;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(key: Option<&SigningKey>) -> Checkpoint {
        let head = Head {
            seq: 7,
            hash: [9; 32],
        };
        Checkpoint::take(LogId([3; 16]), head, Timestamp::from_micros(5), key)
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32]).unwrap()
    }

    #[test]
    fn a_line_reads_as_what_was_written() {
        for taken in [taken(None), taken(Some(&key()))] {
            assert_eq!(Checkpoint::from_line(&taken.to_line()), Ok(taken.clone()));
            assert!(taken.is_genuine());
        }
    }

    #[test]
    fn every_part_is_signed() {
        let good = taken(Some(&key()));
        let mut others = [
            good.clone(),
            good.clone(),
            good.clone(),
            good.clone(),
            good.clone(),
        ];
        others[0].log = LogId([4; 16]);
        others[1].head.seq = 8;
        others[2].head.hash[31] = 0;
        others[3].at = Timestamp::from_micros(6);
        others[4].signed.as_mut().unwrap().key = SigningKey::from_seed(&[2; 32]).unwrap().public();
        assert!(others.iter().all(|other| !other.is_genuine()));
    }

    #[test]
    fn the_signed_text_and_the_line_never_change() {
        // What this version exported must verify with every later one.
        let signed = taken(Some(&key()));
        assert_eq!(
            signed.text(),
            format!(
                "hayward/checkpoint/v1\n{}\n7\n{}\n5\n",
                "03".repeat(16),
                "09".repeat(32)
            )
        );
        assert_eq!(
            taken(None).to_line(),
            format!(
                r#"{{"log":"{}","seq":7,"head":"{}","at_us":5}}"#,
                "03".repeat(16),
                "09".repeat(32)
            )
        );
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let good = taken(Some(&key())).to_line();
        for wrong in [
            "",
            "{}",
            &good.replace("\"seq\":7", "\"seq\":\"7\""),
            &good.replace("0303", "03"),
            &good.replace("\"log\"", "\"lag\""),
            &good.replace("\"at_us\":5", "\"at_us\":5,\"more\":1"),
            &taken(None).to_line().replace('}', r#","key":"00"}"#),
        ] {
            assert!(Checkpoint::from_line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_signing_key_does_not_show_itself() {
        let shown = format!("{:?}", key());
        assert!(!shown.contains(&"01".repeat(8)), "{shown}");
    }
}
