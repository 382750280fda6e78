//! Names that sections define, and the mistakes that can be made with them.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::types::{BUILT_IN, NameError};

use super::node::Entry;
use super::problem::{Code, Finding, Findings, Span, quote};

/// All names of one section, also of entries that have other mistakes.
#[derive(Debug, Default)]
pub(super) struct Known {
    places: BTreeMap<String, Span>,
    lower: BTreeMap<String, (String, Span)>,
}

impl Known {
    /// Checks the name of an entry and remembers it. `kind` is the word for what it names.
    pub(super) fn enter<N: FromStr<Err = NameError>>(
        &mut self,
        entry: &Entry,
        kind: &str,
        findings: &mut Findings,
    ) -> Option<N> {
        let (name, span) = (&entry.key, entry.key_span);
        self.places.insert(name.clone(), span);
        if kind == "server" && name.eq_ignore_ascii_case(BUILT_IN) {
            let title = "the name `hayward` belongs to the built-in server";
            findings.add(Finding::new(Code::Name, span, title).note("choose another name"));
            return None;
        }
        if let Some((other, first)) = self.lower.get(&name.to_lowercase()) {
            let title = format!(
                "{kind}s {} and {} differ only in case",
                quote(other),
                quote(name)
            );
            findings
                .add(Finding::new(Code::NameCase, span, title).context(*first, "the other one"));
        }
        self.lower.insert(name.to_lowercase(), (name.clone(), span));
        match name.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let title = format!("{} cannot be the name of this {kind}", quote(name));
                findings.add(Finding::new(Code::Name, span, title).note(error.to_string()));
                None
            }
        }
    }

    /// Whether some entry has this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// All names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// All names with their places.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, Span)> {
        self.places
            .iter()
            .map(|(name, span)| (name.as_str(), *span))
    }
}
