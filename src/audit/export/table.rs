//! Events as rows for spreadsheets. Pure.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::audit::csv::{Cell, row};
use crate::types::{Timestamp, hex};

/// The columns. What an event says beside these stands in the other form alone.
const COLUMNS: [&str; 23] = [
    "seq",
    "at",
    "kind",
    "call",
    "agent",
    "server",
    "tool",
    "reason",
    "method",
    "target",
    "message",
    "policy",
    "rule",
    "line",
    "client",
    "bytes_in",
    "count",
    "outcome",
    "error",
    "latency_us",
    "bytes_out",
    "budgets",
    "hash",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Known<'a> {
    at_us: i64,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    call: Option<Cow<'a, str>>,
    agent: Option<Cow<'a, str>>,
    server: Option<Cow<'a, str>>,
    tool: Option<Cow<'a, str>>,
    reason: Option<Cow<'a, str>>,
    method: Option<Cow<'a, str>>,
    target: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
    policy: Option<Cow<'a, str>>,
    rule: Option<Cow<'a, str>>,
    line: Option<u64>,
    client: Option<Cow<'a, str>>,
    bytes_in: Option<u64>,
    count: Option<u64>,
    outcome: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    latency_us: Option<u64>,
    bytes_out: Option<u64>,
    #[serde(borrow)]
    budgets: Option<&'a RawValue>,
}

/// The names of the columns, as the first row.
pub(super) fn add_head(out: &mut String) {
    row(out, COLUMNS.map(Cell::Text));
}

/// Adds an event. What cannot be understood is left empty, but never the event left out.
pub(super) fn add_row(out: &mut String, seq: i64, hash: &[u8; 32], meta: &str) {
    let known: Known<'_> = serde_json::from_str(meta).unwrap_or_default();
    let at = Timestamp::from_micros(known.at_us).rfc3339_utc();
    let hash = hex(hash);
    row(
        out,
        [
            Cell::Number(seq),
            Cell::Text(&at),
            Cell::Text(&known.kind),
            Cell::text(known.call.as_deref()),
            Cell::text(known.agent.as_deref()),
            Cell::text(known.server.as_deref()),
            Cell::text(known.tool.as_deref()),
            Cell::text(known.reason.as_deref()),
            Cell::text(known.method.as_deref()),
            Cell::text(known.target.as_deref()),
            Cell::text(known.message.as_deref()),
            Cell::text(known.policy.as_deref()),
            Cell::text(known.rule.as_deref()),
            Cell::number(known.line),
            Cell::text(known.client.as_deref()),
            Cell::number(known.bytes_in),
            Cell::number(known.count),
            Cell::text(known.outcome.as_deref()),
            Cell::text(known.error.as_deref()),
            Cell::number(known.latency_us),
            Cell::number(known.bytes_out),
            Cell::text(known.budgets.map(RawValue::get)),
            Cell::Text(&hash),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_row_whatever_it_says() {
        let mut out = String::new();
        add_head(&mut out);
        let denied =
            r#"{"at_us":5,"kind":"denied","tool":"=cmd\n\"x\"","reason":"budget","budgets":[1]}"#;
        add_row(&mut out, 7, &[1; 32], denied);
        add_row(&mut out, 8, &[2; 32], r#"["another version"]"#);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), COLUMNS.len());
        let start = "7,1970-01-01T00:00:00.000005Z,denied,,,,\"'=cmd\\n\"\"x\"\"\",budget,";
        assert!(lines[1].starts_with(start), "{}", lines[1]);
        assert!(
            lines[1].ends_with(&format!(",[1],{}", "01".repeat(32))),
            "{}",
            lines[1]
        );
        assert!(lines[2].starts_with("8,"), "{}", lines[2]);
    }
}
