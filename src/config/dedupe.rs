//! `dedupe:`: which tools an agent does not call twice with the same arguments, and for how long.

use crate::policy::{DedupeRule, Pattern};

use super::fields::{Fields, text};
use super::node::{Entry, Value};
use super::problem::Findings;
use super::time;
use super::tool;

/// Reads `10m`, which is for all tools of the server, or a mapping of tools to such spans.
pub(super) fn dedupe(fields: &Fields<'_>, findings: &mut Findings) -> Vec<DedupeRule> {
    let Some(entry) = fields.entry("dedupe") else {
        return Vec::new();
    };
    if let Value::Map(tools) = &entry.node.value {
        let rules = tools.iter().filter_map(|entry| of_tools(entry, findings));
        return rules.collect();
    }
    let span = fields.text("dedupe", findings);
    let span = span.and_then(|text| time::span(text, findings));
    let rule = span.map(|span| DedupeRule {
        tools: Pattern::new("*"),
        span,
    });
    rule.into_iter().collect()
}

fn of_tools(entry: &Entry, findings: &mut Findings) -> Option<DedupeRule> {
    let tools = tool::pattern(&entry.key, entry.key_span, findings);
    let subject = format!("`dedupe` of `{}`", entry.key);
    let span = text(&entry.node, entry.key_span, &subject, findings);
    let span = span.and_then(|text| time::span(text, findings));
    let (tools, span) = (tools?, span?);
    Some(DedupeRule { tools, span })
}
