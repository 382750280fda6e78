//! `costs:` and `cost_unit:` of a server, and whether the budgets that count costs can count anything.

use std::sync::Arc;

use crate::policy::{Cost, Costs, Pattern, Place, ServerRule};
use crate::types::Unit;

use super::budget::Budget;
use super::fields::{Fields, Text, mark, text};
use super::keys;
use super::node::{Entry, Value};
use super::problem::{Code, Finding, Findings, quote};
use super::tool::pattern;

/// What a path into a result begins with; the rest is a JSON Pointer (RFC 6901).
const RESULT: &str = "result.";

/// Reads what the tools of a server cost.
pub(super) fn costs(fields: &Fields<'_>, path: &str, findings: &mut Findings) -> Option<Costs> {
    let (listed, named) = (fields.entry("costs"), fields.entry("cost_unit"));
    let entry = match (listed, named) {
        (None, None) => return None,
        (Some(entry), Some(_)) => entry,
        (Some(entry), None) | (None, Some(entry)) => {
            let title = format!(
                "`costs` and `cost_unit` of {} belong together",
                fields.subject()
            );
            let note = "such as `costs: {imagine: 0.08}` and `cost_unit: USD`";
            findings.add(Finding::new(Code::Shape, mark(entry), title).note(note));
            return None;
        }
    };
    let unit = unit(fields.text("cost_unit", findings)?, findings)?;
    let items = fields.map("costs", findings).iter();
    let tools = items.filter_map(|item| {
        let name = pattern(&item.key, item.key_span, findings)?;
        Some((name, cost(item, &unit, findings)?))
    });
    let tools = tools.collect();
    let place = Place {
        path: format!("{path}.costs").into(),
        line: entry.key_span.line,
    };
    Some(Costs { place, unit, tools })
}

fn unit(written: Text<'_>, findings: &mut Findings) -> Option<Unit> {
    match Unit::cost(written.text) {
        Ok(unit) => Some(unit),
        Err(error) => {
            findings.add(Finding::new(
                Code::BadAmount,
                written.span,
                error.to_string(),
            ));
            None
        }
    }
}

fn cost(entry: &Entry, unit: &Unit, findings: &mut Findings) -> Option<Cost> {
    let subject = format!("the cost of {}", quote(&entry.key));
    if let Value::Map(_) = entry.node.value {
        let fields = Fields::open(&entry.node, subject, keys::COST, findings)?;
        return reported(&fields, entry, unit, findings);
    }
    let written = text(&entry.node, entry.key_span, &subject, findings)?;
    amount(written, unit, findings).map(Cost::Fixed)
}

fn reported(
    fields: &Fields<'_>,
    entry: &Entry,
    unit: &Unit,
    findings: &mut Findings,
) -> Option<Cost> {
    if keys::COST.iter().any(|key| fields.entry(key).is_none()) {
        let title = format!("{} needs `cost_from` and `max_cost`", fields.subject());
        let note = "what a server reports is known too late, so `max_cost` is held meanwhile";
        findings.add(Finding::new(Code::BadAmount, mark(entry), title).note(note));
        return None;
    }
    let from = fields.text("cost_from", findings);
    let most = fields.text("max_cost", findings);
    let (from, most) = (from?, amount(most?, unit, findings)?);
    let pointer = from
        .text
        .strip_prefix(RESULT)
        .filter(|pointer| is_pointer(pointer));
    let Some(pointer) = pointer else {
        let title = format!("{} is no place in a result", quote(from.text));
        let note = "such as `result./structuredContent/cost`: a JSON Pointer behind `result.`";
        findings.add(Finding::new(Code::BadAmount, from.span, title).note(note));
        return None;
    };
    Some(Cost::Reported {
        pointer: Arc::from(pointer),
        most,
    })
}

/// Each `~` of a JSON Pointer stands before 0 or 1 (RFC 6901, section 3).
fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.all(|rest| rest.starts_with(['0', '1']))
}

/// Reads an amount in this unit.
pub(super) fn amount(written: Text<'_>, unit: &Unit, findings: &mut Findings) -> Option<u64> {
    match unit.amount(written.text) {
        Ok(amount) => Some(amount),
        Err(error) => {
            let title = format!("{} is no amount of {}", quote(written.text), unit.word());
            findings
                .add(Finding::new(Code::BadAmount, written.span, title).note(error.to_string()));
            None
        }
    }
}

/// Reports budgets that count a cost which no server they are about has, and tools of which nobody says what they
/// cost: every call of those would be refused. `subject` begins the sentence about the first.
pub(super) fn find_unpriced<'a>(
    budgets: &[Budget],
    servers: impl Iterator<Item = &'a ServerRule> + Clone,
    tools: Option<&[Pattern]>,
    subject: &str,
    findings: &mut Findings,
) {
    for budget in budgets {
        let limit = budget.limit();
        let Unit::Cost(word) = &limit.unit else {
            continue;
        };
        let priced = servers.clone().filter_map(|server| server.costs.as_ref());
        let mut priced = priced.filter(|costs| costs.unit == limit.unit).peekable();
        if priced.peek().is_none() {
            let title = format!("{subject} in {}", quote(word));
            let note =
                format!("say what its tools cost: `costs: {{TOOL: 0.08}}` and `cost_unit: {word}`");
            findings.add(Finding::new(Code::BadAmount, budget.span(), title).note(note));
            continue;
        }
        let exact = tools.into_iter().flatten().filter(|tool| tool.is_exact());
        let priced: Vec<_> = priced.collect();
        for tool in
            exact.filter(|tool| priced.iter().all(|costs| costs.of(tool.as_str()).is_none()))
        {
            let title = format!("nobody says what {} costs in {word}", quote(tool.as_str()));
            let note = "name it under `costs` of its server; `0` for what costs nothing";
            findings.add(Finding::new(Code::BadAmount, budget.span(), title).note(note));
        }
    }
}
