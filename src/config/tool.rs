//! Patterns over the names of servers and tools.

use crate::policy::Pattern;

use super::fields::{Fields, Text, text};
use super::problem::{Code, Finding, Findings, Span, quote};

/// The longest pattern, in bytes; tool names end at 128 (MCP 2025-11-25, "Tool Names").
const MAX_PATTERN: usize = 256;

/// Reads `tools:`. `None` when it is there and wrong, `Some(None)` when it is not there.
///
/// An empty list, or nothing behind the colon, is an empty list: it grants nothing.
#[expect(
    clippy::option_option,
    reason = "wrong, absent and given are three answers"
)]
pub(super) fn tool_patterns(
    fields: &Fields<'_>,
    findings: &mut Findings,
) -> Option<Option<Vec<Pattern>>> {
    if fields.entry("tools").is_none() {
        return Some(None);
    }
    let before = findings.list.len();
    let items = fields.list("tools", findings);
    let mut patterns: Vec<Pattern> = Vec::new();
    for item in items {
        let Some(written) = text(item, item.span, "a tool", findings) else {
            continue;
        };
        let Some(pattern) = pattern(written.text, written.span, findings) else {
            continue;
        };
        if patterns.contains(&pattern) {
            let title = format!("tool {} stands twice in one list", quote(written.text));
            findings.add(Finding::new(Code::Shape, written.span, title));
            continue;
        }
        patterns.push(pattern);
    }
    (findings.list.len() == before).then_some(Some(patterns))
}

/// Checks the text of a pattern.
pub(super) fn pattern(text: &str, span: Span, findings: &mut Findings) -> Option<Pattern> {
    // Brackets, commas and spaces separate the parts of a budget's identity.
    let bad = |c: char| c.is_whitespace() || c.is_control() || "[]{},?".contains(c);
    let title = if text.is_empty() {
        "a pattern cannot be empty".to_owned()
    } else if text.len() > MAX_PATTERN {
        format!("a pattern has at most {MAX_PATTERN} bytes")
    } else if let Some(c) = text.chars().find(|c| bad(*c)) {
        format!(
            "{} cannot stand in the name of a tool or server",
            quote(&c.to_string())
        )
    } else {
        return Some(Pattern::new(text));
    };
    let note = "a pattern is a whole name, in which `*` stands for any characters";
    findings.add(Finding::new(Code::Shape, span, title).note(note));
    None
}

/// Splits `server/tool` at the first slash and checks both.
pub(super) fn server_and_tool(
    written: Text<'_>,
    findings: &mut Findings,
) -> Option<(Pattern, Pattern)> {
    let Some((server, tool)) = written.text.split_once('/') else {
        let title = format!("{} is not written as `server/tool`", quote(written.text));
        let finding = Finding::new(Code::Shape, written.span, title);
        let whole = format!("{}/*", written.text);
        findings.add(finding.suggest("to deny all of a server, write", written.span, &whole));
        return None;
    };
    let server = pattern(server, written.span, findings)?;
    Some((server, pattern(tool, written.span, findings)?))
}

/// The texts of patterns in the order a budget's identity uses.
pub(super) fn sorted(patterns: &[Pattern]) -> Vec<&str> {
    let mut texts: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    texts.sort_unstable();
    texts
}
