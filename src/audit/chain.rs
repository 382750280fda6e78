//! The hash chain. Pure.
//!
//! Each event's hash covers the log's id, its sequence, the hash before it and its exact text, every part of
//! fixed length or with its length in front. A change, a gap or a swap breaks the chain from there on. There is
//! no key in it: what was cut off the end, or computed anew throughout, shows only against a head that was kept
//! elsewhere.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::db::LogId;
use crate::types::hex;

const GENESIS_TAG: &[u8] = b"hayward/genesis/v1";
const EVENT_TAG: &[u8] = b"hayward/event/v1";

/// The end of the chain: the last sequence and its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The sequence of the last event; 0 when there is none.
    pub seq: i64,
    /// Its hash; the genesis hash when there is none.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of an empty log.
    pub fn empty(log: LogId) -> Self {
        Self {
            seq: 0,
            hash: genesis(log),
        }
    }

    /// The head after one more event.
    pub fn next(&self, log: LogId, meta: &str) -> Self {
        let seq = self.seq.saturating_add(1);
        Self {
            seq,
            hash: next_hash(log, seq, &self.hash, meta),
        }
    }

    /// The hash as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.hash)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} {})", self.seq, self.hex())
    }
}

/// The hash before the first event.
pub fn genesis(log: LogId) -> [u8; 32] {
    Sha256::new()
        .chain_update(GENESIS_TAG)
        .chain_update(log.0)
        .finalize()
        .into()
}

/// The hash of the event at `seq` whose text is `meta`, after an event with hash `previous`.
pub fn next_hash(log: LogId, seq: i64, previous: &[u8; 32], meta: &str) -> [u8; 32] {
    let length = u64::try_from(meta.len()).unwrap_or(u64::MAX);
    Sha256::new()
        .chain_update(EVENT_TAG)
        .chain_update(log.0)
        .chain_update(seq.to_be_bytes())
        .chain_update(previous)
        .chain_update(length.to_be_bytes())
        .chain_update(meta.as_bytes())
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_event_is_in_its_hash() {
        let log = LogId([1; 16]);
        let base = next_hash(log, 7, &[0; 32], "{}");
        assert_ne!(base, next_hash(LogId([2; 16]), 7, &[0; 32], "{}"));
        assert_ne!(base, next_hash(log, 8, &[0; 32], "{}"));
        assert_ne!(base, next_hash(log, 7, &[1; 32], "{}"));
        assert_ne!(base, next_hash(log, 7, &[0; 32], "{ }"));
    }

    #[test]
    fn the_formula_never_changes() {
        // A log written by this version must verify with every later one.
        let head = Head::empty(LogId([7; 16])).next(LogId([7; 16]), r#"{"at_us":1}"#);
        assert_eq!(
            head.hex(),
            "ad78ded287f9a82b2fc4ac959dcae8364b5f6f40e5993903e79e96a68b6a30c2"
        );
    }
}
