//! `when:` of a grant: conditions on the arguments of a call, compiled here once.

use std::sync::Arc;

use crate::policy::{Argument, Bound, Condition, Expression, Pattern, Prefix, Scalar, Test};

use super::fields::{Fields, Text, text};
use super::keys;
use super::node::{Entry, Value};
use super::problem::{Code, Finding, Findings, Span, quote};
use super::token::place;

/// The longest name of an argument, or pointer to one, in bytes.
const MAX_NAME: usize = 256;

/// Reads `when:`. `tools` are those of the grant: conditions are about their arguments.
///
/// `None` when something is wrong: a grant without its conditions would grant more than it says.
pub(super) fn when(
    fields: &Fields<'_>,
    tools: Option<&[Pattern]>,
    path: &str,
    findings: &mut Findings,
) -> Option<Arc<[Condition]>> {
    let Some(entry) = fields.entry("when") else {
        return Some([].into());
    };
    let before = findings.list.len();
    let entries = fields.map("when", findings);
    if tools.is_none() && findings.list.len() == before {
        let title = "`when` without `tools`";
        let note =
            "conditions are about the arguments of tools: name these, or write `tools: [\"*\"]`";
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note(note));
    }
    if entries.is_empty() && findings.list.len() == before {
        let title = "`when` without a condition";
        let note = "name an argument, such as `when: {count: {max: 4}}`, or leave `when` away";
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note(note));
    }
    let mut conditions: Vec<(Condition, Span)> = Vec::new();
    for entry in entries {
        let Some(condition) = condition(entry, path, findings) else {
            continue;
        };
        let same = |(other, _): &&(Condition, Span)| other.argument.is_same(&condition.argument);
        if let Some((_, first)) = conditions.iter().find(same) {
            let title = format!("argument {} has conditions twice", quote(&entry.key));
            let finding = Finding::new(Code::Shape, entry.key_span, title);
            findings.add(finding.context(*first, "first here").note("join the two"));
        }
        conditions.push((condition, entry.key_span));
    }
    let conditions = conditions.into_iter().map(|(condition, _)| condition);
    (findings.list.len() == before).then(|| conditions.collect())
}

fn condition(entry: &Entry, path: &str, findings: &mut Findings) -> Option<Condition> {
    let shown = quote(&entry.key);
    let argument = argument(entry, findings);
    let subject = format!("the condition on {shown}");
    if let Value::Text(text) = &entry.node.value {
        let title = format!("{subject} must be a mapping, not text");
        let finding = Finding::new(Code::Shape, entry.node.span, title);
        let wanted = format!("{{equals: {text}}}");
        findings.add(finding.note(format!("if it must be just that, write `{wanted}`")));
        return None;
    }
    let before = findings.list.len();
    let fields = Fields::open(&entry.node, subject, keys::CONDITION, findings)?;
    let mut tests = Vec::new();
    for written in fields.entries() {
        tests.extend(test(written, &fields, findings));
    }
    let is_optional = flag(&fields, "optional", findings).unwrap_or(false);
    if findings.list.len() > before {
        return None;
    }
    if tests.is_empty() {
        let title = format!("{} asks for nothing", fields.subject());
        let note = format!("its keys are {}", keys::CONDITION.join(", "));
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note(note));
        return None;
    }
    let condition = Condition {
        place: place(format!("{path}.when.{}", entry.key), entry.key_span),
        argument: argument?,
        tests,
        is_optional,
    };
    if condition.is_impossible() {
        let title = format!("{} cannot be met by any argument", fields.subject());
        let note = "all that stands in one condition must hold at once";
        let finding = Finding::new(Code::Condition, entry.key_span, title);
        findings.add(finding.label("contradicts itself").note(note));
        return None;
    }
    Some(condition)
}

fn argument(entry: &Entry, findings: &mut Findings) -> Option<Argument> {
    let name = &entry.key;
    let (title, note) = if name.is_empty() || name.len() > MAX_NAME {
        let title = format!("the name of an argument has from 1 to {MAX_NAME} bytes");
        (title, "write the name as the tool has it")
    } else if let Some(argument) = Argument::new(name) {
        return Some(argument);
    } else {
        let title = format!("{} is no JSON Pointer", quote(name));
        let note = "what begins with `/` is one: `/options/count`; in a name, `~1` stands for `/` and `~0` for `~`";
        (title, note)
    };
    findings.add(Finding::new(Code::Condition, entry.key_span, title).note(note));
    None
}

/// One operator; `None` for `optional`, and for what is wrong.
fn test(entry: &Entry, fields: &Fields<'_>, findings: &mut Findings) -> Option<Test> {
    let key = entry.key.as_str();
    match key {
        "in" => scalars(fields, key, findings).map(Test::In),
        "not_in" => scalars(fields, key, findings).map(Test::NotIn),
        "absent" => {
            let is_set = flag(fields, key, findings)?;
            if !is_set {
                let title = "`absent` is only ever true";
                let note = "leave it away where the argument may be there";
                findings.add(Finding::new(Code::Condition, entry.key_span, title).note(note));
            }
            is_set.then_some(Test::Absent)
        }
        "equals" | "matches" | "not_matches" | "starts_with" | "min" | "max" | "max_length"
        | "max_items" => {
            let written = fields.text(key, findings)?;
            of_text(key, written, findings)
        }
        // `optional`, and keys that were reported as unknown.
        _ => None,
    }
}

fn of_text(key: &str, written: Text<'_>, findings: &mut Findings) -> Option<Test> {
    match key {
        "equals" => Some(Test::Equals(Scalar::new(written.text))),
        "matches" => expression(written, findings).map(Test::Matches),
        "not_matches" => expression(written, findings).map(Test::NotMatches),
        "starts_with" => prefix(written, findings).map(Test::StartsWith),
        "min" => bound(written, findings).map(Test::Min),
        "max" => bound(written, findings).map(Test::Max),
        "max_length" => count(written, findings).map(Test::MaxLength),
        "max_items" => count(written, findings).map(Test::MaxItems),
        _ => None,
    }
}

fn scalars(fields: &Fields<'_>, key: &str, findings: &mut Findings) -> Option<Vec<Scalar>> {
    let before = findings.list.len();
    let items = fields.list(key, findings);
    if items.is_empty() && findings.list.len() == before {
        let span = fields.entry(key)?.key_span;
        let title = format!("`{key}` of {} names no value", fields.subject());
        let note = "write the values between `[` and `]`";
        findings.add(Finding::new(Code::Condition, span, title).note(note));
    }
    let texts = items
        .iter()
        .filter_map(|item| text(item, item.span, "a value", findings));
    let scalars: Vec<Scalar> = texts.map(|text| Scalar::new(text.text)).collect();
    (findings.list.len() == before).then_some(scalars)
}

fn expression(written: Text<'_>, findings: &mut Findings) -> Option<Expression> {
    match Expression::new(written.text) {
        Ok(expression) => Some(expression),
        Err(why) => {
            let title = format!("{} is not a regular expression: {why}", quote(written.text));
            let note = "as the Rust crate `regex` has them: no look-around, no back-references";
            findings.add(Finding::new(Code::Condition, written.span, title).note(note));
            None
        }
    }
}

fn prefix(written: Text<'_>, findings: &mut Findings) -> Option<Prefix> {
    let prefix = Prefix::new(written.text);
    if prefix.is_none() {
        let title = format!("nothing may start with {}", quote(written.text));
        let note = "a path with `..` in it never passes, nor a URL with `\\`, nor control characters: write where it \
                    really leads";
        findings.add(Finding::new(Code::Condition, written.span, title).note(note));
    }
    prefix
}

fn bound(written: Text<'_>, findings: &mut Findings) -> Option<Bound> {
    let bound = Bound::new(written.text);
    if bound.is_none() {
        let title = format!("{} is not a number", quote(written.text));
        let note = "write it as JSON does, such as `4`, `-0.5` or `1e6`";
        findings.add(Finding::new(Code::BadAmount, written.span, title).note(note));
    }
    bound
}

fn count(written: Text<'_>, findings: &mut Findings) -> Option<u64> {
    let count = written.text.parse::<u32>().ok().map(u64::from);
    if count.is_none() {
        let title = format!("{} is not a whole number", quote(written.text));
        let note = format!("write one from 0 to {}", u32::MAX);
        findings.add(Finding::new(Code::BadAmount, written.span, title).note(note));
    }
    count
}

fn flag(fields: &Fields<'_>, key: &str, findings: &mut Findings) -> Option<bool> {
    let words = [("true", true), ("false", false)];
    super::fields::choice(fields.text(key, findings), &words, findings)
}
