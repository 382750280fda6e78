//! Whether the texts of policy files and definitions are those that events name. Pure.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Fault;
use super::meta::Meta;
use crate::audit::Kind;
use crate::types::{DefinitionHash, Revision};

/// One row of a table: digest, sequence of its event, text, whether that is all of it.
pub(super) type TextRow = (String, i64, String, bool);

/// Which texts a row is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextOf {
    /// A policy file.
    Rules,
    /// The definition of a tool.
    Definition,
}

/// The texts that one log names on the way through it; they are few.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Which digests came with which event.
    named: HashMap<i64, HashSet<String>>,
    /// The last event that was pruned; texts outlive their events.
    pruned: i64,
}

#[derive(Deserialize)]
struct Tool {
    hash: String,
}

impl Texts {
    /// Goes on after events that were pruned, up to this one.
    pub(super) fn go_on(&mut self, last: i64) {
        self.pruned = last;
    }

    /// One event whose text is what the chain says.
    pub(super) fn event(&mut self, seq: i64, meta: &Meta<'_>) {
        if &*meta.kind == Kind::Policy.as_str()
            && let Some(policy) = &meta.policy
        {
            self.named
                .entry(seq)
                .or_default()
                .insert(policy.to_string());
        }
        if &*meta.kind == Kind::Tools.as_str() {
            let tools = meta.tools.map_or("[]", RawValue::get);
            let tools: Vec<Tool> = serde_json::from_str(tools).unwrap_or_default();
            let hashes = tools.into_iter().map(|tool| tool.hash);
            self.named.entry(seq).or_default().extend(hashes);
        }
    }

    /// Rows of a table, after the last event. Returns what is wrong with them.
    pub(super) fn faults(&self, of: TextOf, rows: &[TextRow]) -> Vec<Fault> {
        let wrong = rows.iter().filter(|row| !self.is_sound(of, row));
        wrong
            .map(|(_, seq, _, _)| match of {
                TextOf::Rules => Fault::Rules { seq: *seq },
                TextOf::Definition => Fault::Definition { seq: *seq },
            })
            .collect()
    }

    fn is_sound(&self, of: TextOf, (digest, seq, text, is_whole): &TextRow) -> bool {
        let named = self.named.get(seq);
        let is_named = *seq <= self.pruned || named.is_some_and(|named| named.contains(digest));
        let digest_of_text = match of {
            TextOf::Rules => Revision::of(text.as_bytes()).to_string(),
            TextOf::Definition => DefinitionHash::of(text).to_string(),
        };
        is_named && (!is_whole || digest_of_text == *digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(texts: &Texts, of: TextOf, row: (&str, i64, &str, bool)) -> usize {
        let (digest, seq, text, is_whole) = row;
        let row = (digest.to_owned(), seq, text.to_owned(), is_whole);
        texts.faults(of, std::slice::from_ref(&row)).len()
    }

    #[test]
    fn a_text_must_be_the_one_that_its_event_names() {
        let text = "servers: {}";
        let revision = Revision::of(text.as_bytes()).to_string();
        let event = format!(r#"{{"at_us":5,"kind":"policy","policy":"{revision}"}}"#);
        let mut texts = Texts::default();
        texts.event(7, &serde_json::from_str(&event).unwrap());
        let other = "0".repeat(64);
        for (row, pruned, wrong) in [
            ((&*revision, 7, text, true), 0, 0),
            ((&revision, 7, "servers: {a}", true), 0, 1),
            ((&revision, 7, "servers: *", false), 0, 0),
            ((&revision, 8, text, true), 0, 1),
            ((&other, 7, text, false), 0, 1),
            ((&revision, 6, text, true), 6, 0),
            ((&revision, 6, "servers: {a}", true), 6, 1),
        ] {
            texts.go_on(pruned);
            assert_eq!(count(&texts, TextOf::Rules, row), wrong, "{row:?}");
        }
    }

    #[test]
    fn a_definition_must_be_one_of_those_that_its_event_names() {
        let (one, two) = (r#"{"name":"a"}"#, r#"{"name":"b"}"#);
        let [first, second] = [one, two].map(|text| DefinitionHash::of(text).to_string());
        let event = format!(
            r#"{{"at_us":5,"kind":"tools","tools":[{{"name":"a","hash":"{first}"}},{{"name":"b","hash":"{second}","was":"{first}"}}]}}"#
        );
        let mut texts = Texts::default();
        texts.event(7, &serde_json::from_str(&event).unwrap());
        for (row, wrong) in [
            ((&*first, 7, one, true), 0),
            ((&second, 7, two, true), 0),
            ((&second, 7, one, true), 1),
            ((&second, 7, "***", false), 0),
            ((&first, 8, one, true), 1),
        ] {
            assert_eq!(count(&texts, TextOf::Definition, row), wrong, "{row:?}");
        }
    }
}
