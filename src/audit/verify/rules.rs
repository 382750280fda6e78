//! Whether the texts of policy files are those that events name. Pure.

use std::collections::HashMap;

use super::Fault;
use super::meta::Meta;
use crate::audit::Kind;
use crate::types::Revision;

/// One row of the table: revision, sequence of its event, text, whether that is all of the file.
pub(super) type RulesRow = (String, i64, String, bool);

/// The revisions of one log on the way through it; they are few.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Which revision came into force with which event.
    named: HashMap<i64, String>,
    /// The last event that was pruned; texts outlive their events.
    pruned: i64,
}

impl Rules {
    /// Goes on after events that were pruned, up to this one.
    pub(super) fn go_on(&mut self, last: i64) {
        self.pruned = last;
    }

    /// One event whose text is what the chain says.
    pub(super) fn event(&mut self, seq: i64, meta: &Meta<'_>) {
        if &*meta.kind == Kind::Policy.as_str()
            && let Some(policy) = &meta.policy
        {
            self.named.insert(seq, policy.to_string());
        }
    }

    /// Rows of the table, after the last event. Returns what is wrong with them.
    pub(super) fn faults(&self, rows: &[RulesRow]) -> Vec<Fault> {
        let wrong = rows.iter().filter(|row| !self.is_sound(row));
        wrong
            .map(|(_, seq, _, _)| Fault::Rules { seq: *seq })
            .collect()
    }

    fn is_sound(&self, (revision, seq, text, is_whole): &RulesRow) -> bool {
        let is_named = *seq <= self.pruned || self.named.get(seq) == Some(revision);
        is_named && (!is_whole || Revision::of(text.as_bytes()).to_string() == *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_must_be_the_one_that_its_event_names() {
        let text = "servers: {}";
        let revision = Revision::of(text.as_bytes()).to_string();
        let event = format!(r#"{{"at_us":5,"kind":"policy","policy":"{revision}"}}"#);
        let mut rules = Rules::default();
        rules.event(7, &serde_json::from_str(&event).unwrap());
        let other = "0".repeat(64);
        for (row, pruned, wrong) in [
            ((&revision, 7, text, true), 0, 0),
            ((&revision, 7, "servers: {a}", true), 0, 1),
            ((&revision, 7, "servers: *", false), 0, 0),
            ((&revision, 8, text, true), 0, 1),
            ((&other, 7, text, false), 0, 1),
            ((&revision, 6, text, true), 6, 0),
            ((&revision, 6, "servers: {a}", true), 6, 1),
        ] {
            rules.go_on(pruned);
            let (revision, seq, text, is_whole) = row;
            let row = (revision.clone(), seq, text.to_owned(), is_whole);
            assert_eq!(
                rules.faults(std::slice::from_ref(&row)).len(),
                wrong,
                "{row:?}"
            );
        }
    }
}
