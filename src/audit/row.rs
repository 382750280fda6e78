//! One event as it stands in the file, taken from a piece of many. Pure.
//!
//! A row costs the library more than SQLite needs to read it, so the statement puts thousands of events into one
//! value: numbers with commas between them, then the texts, whose lengths are known by then. Whatever the texts
//! hold, they can be read in one way only.

use super::seen::Told;
use crate::types::CallId;

/// The columns of one event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventRow<'a> {
    pub(super) seq: i64,
    pub(super) at_us: i64,
    /// The numbers of agent, server and tool.
    pub(super) ids: [Option<i64>; 3],
    pub(super) call: Option<CallId>,
    pub(super) kind: &'a str,
    pub(super) reason: Option<&'a str>,
    /// The text that is hashed.
    pub(super) meta: &'a str,
    pub(super) hash: [u8; 32],
    /// What lookups and sums take from the text, where whoever wrote it still knows.
    pub(super) told: Option<&'a Told>,
}

/// Takes the next event off a piece; `None` when what stands there is none.
pub(super) fn next<'a>(piece: &mut &'a [u8]) -> Option<EventRow<'a>> {
    let seq = number(field(piece)?)?;
    let at_us = number(field(piece)?)?;
    let ids = [
        optional(field(piece)?)?,
        optional(field(piece)?)?,
        optional(field(piece)?)?,
    ];
    let call = match field(piece)? {
        [] => None,
        digits => CallId::from_slice(&unhex::<16>(digits)?),
    };
    let hash = unhex(field(piece)?)?;
    // Whether text and hash are stored as what they are.
    let is_typed = field(piece)? == b"1";
    let kind = optional(field(piece)?)?;
    let reason = optional(field(piece)?)?;
    let meta = optional(field(piece)?)?;
    let kind = text(piece, kind?)?;
    let reason = match reason {
        None => None,
        Some(length) => Some(text(piece, length)?),
    };
    let meta = text(piece, meta?)?;
    is_typed.then_some(EventRow {
        seq,
        at_us,
        ids,
        call,
        kind,
        reason,
        meta,
        hash,
        told: None,
    })
}

/// All events of a piece; `None` when one of them is none.
pub(super) fn all(mut piece: &[u8]) -> Option<Vec<EventRow<'_>>> {
    let mut rows = Vec::new();
    while !piece.is_empty() {
        rows.push(next(&mut piece)?);
    }
    Some(rows)
}

/// The sequence of the event that stands next on a piece, even when the rest of it cannot be read.
pub(super) fn peek(piece: &[u8]) -> Option<i64> {
    number(field(&mut { piece })?)
}

fn field<'a>(piece: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = piece.iter().position(|byte| *byte == b',')?;
    let (field, rest) = piece.split_at_checked(end)?;
    *piece = rest.get(1..)?;
    Some(field)
}

fn text<'a>(piece: &mut &'a [u8], length: i64) -> Option<&'a str> {
    let (text, rest) = piece.split_at_checked(usize::try_from(length).ok()?)?;
    *piece = rest;
    std::str::from_utf8(text).ok()
}

fn optional(field: &[u8]) -> Option<Option<i64>> {
    match field {
        [] => Some(None),
        digits => number(digits).map(Some),
    }
}

fn number(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Bytes from the capital digits that SQLite writes.
fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let mut read = [0; N];
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(read)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_follow_one_another_whatever_their_texts_hold() {
        let hash = "0A".repeat(32);
        let call = "11".repeat(16);
        let piece = format!(
            "7,5,1,,3,{call},{hash},1,8,,12,admitted{{\"a\":\"1,2\"}} 8,6,,,,,{hash},1,6,3,2,denied1,2{{}}"
        );
        let mut rest = piece.as_bytes();
        let first = next(&mut rest).unwrap();
        assert_eq!((first.seq, first.at_us), (7, 5));
        assert_eq!(first.ids, [Some(1), None, Some(3)]);
        assert_eq!((first.kind, first.reason), ("admitted", None));
        assert_eq!(first.meta, "{\"a\":\"1,2\"} ");
        assert_eq!(peek(rest), Some(8));
        let second = next(&mut rest).unwrap();
        assert_eq!((second.reason, second.meta), (Some("1,2"), "{}"));
        assert_eq!(second.hash, [10; 32]);
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_no_event_is_none() {
        let hash = "0A".repeat(32);
        for wrong in [
            String::new(),
            "7".into(),
            format!("7,5,,,,,{hash},0,1,,2,x{{}}"),
            format!("7,5,,,,,{hash},1,1,,3,x{{}}"),
            format!("7,5,,,,,{},1,1,,2,x{{}}", &hash[2..]),
            format!("7,5,,,,,{hash},1,1,,-2,x{{}}"),
        ] {
            assert_eq!(next(&mut wrong.as_bytes()), None, "{wrong}");
        }
    }
}
