//! One event as a line: its sequence, its hash, and the exact text that was hashed. Pure.
//!
//! `{"seq":7,"hash":"…","event":{…}}`. The text stands there byte for byte, after `"event":` and up to the last brace.
//! One with a line break in it, which no version of ours writes, stands as a string: `"text":"…"`.

use std::borrow::Cow;
use std::fmt::Write;

use crate::audit::bytes;
use crate::types::hex;

/// An event as it stands in an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its sequence.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; 32],
    /// The text that was hashed.
    pub meta: Cow<'a, str>,
}

/// Adds an event and the end of its line.
pub(super) fn add_line(out: &mut String, seq: i64, hash: &[u8; 32], meta: &str) {
    let hash = hex(hash);
    // Writing to a String cannot fail.
    let _ = if meta.contains(['\n', '\r']) {
        let text = serde_json::Value::from(meta);
        write!(out, "{{\"seq\":{seq},\"hash\":\"{hash}\",\"text\":{text}}}")
    } else {
        write!(
            out,
            "{{\"seq\":{seq},\"hash\":\"{hash}\",\"event\":{meta}}}"
        )
    };
    out.push('\n');
}

/// Reads a line, without its end; `None` when it is none of ours.
pub fn read_line(line: &str) -> Option<Line<'_>> {
    let rest = line.strip_prefix("{\"seq\":")?;
    let (seq, rest) = rest.split_once(",\"hash\":\"")?;
    let (hash, rest) = rest.split_once("\",\"")?;
    let rest = rest.strip_suffix('}')?;
    let meta = match rest.strip_prefix("event\":") {
        Some(meta) => Cow::Borrowed(meta),
        None => Cow::Owned(serde_json::from_str(rest.strip_prefix("text\":")?).ok()?),
    };
    Some(Line {
        seq: seq.parse().ok()?,
        hash: bytes(hash)?,
        meta,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_of_a_line_never_changes() {
        // What this version exported must verify with every later one.
        let mut out = String::new();
        add_line(&mut out, 7, &[0xab; 32], r#"{"at_us":5,"kind":"started"}"#);
        let hash = "ab".repeat(32);
        assert_eq!(
            out,
            format!(
                "{{\"seq\":7,\"hash\":\"{hash}\",\"event\":{{\"at_us\":5,\"kind\":\"started\"}}}}\n"
            )
        );
    }

    proptest! {
        #[test]
        fn an_event_is_one_line_of_json_and_reads_as_what_was_recorded(
            tool in ".{0,40}|[\\n\\r\\u{1b}\\u{202e}\"{}\\\\,]{0,12}",
            seq in 1..i64::MAX,
            is_broken in any::<bool>(),
        ) {
            let mut meta = serde_json::json!({"at_us": 5, "tool": tool}).to_string();
            if is_broken {
                meta.push('\n');
            }
            let mut out = String::new();
            add_line(&mut out, seq, &[3; 32], &meta);
            prop_assert_eq!(out.matches('\n').count(), 1);
            let line = out.trim_end_matches('\n');
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(json["seq"].as_i64(), Some(seq));
            let read = read_line(line).unwrap();
            prop_assert_eq!((read.seq, read.hash, &*read.meta), (seq, [3; 32], &*meta));
        }

        #[test]
        fn any_text_can_be_a_line(text in "\\PC{0,200}") {
            drop(read_line(&text));
        }
    }
}
