//! The columns beside the hashed text must repeat it. Pure.

use std::collections::HashMap;

use super::Fault;
use super::meta::{Meta, Text};
use super::seam::{Seam, names_sha256};
use crate::audit::Names;
use crate::audit::row::EventRow;
use crate::types::CallId;

/// Compares columns with texts, in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The numbers that the events so far gave to names.
    names: Names,
    /// What the table of names says.
    texts: HashMap<i64, String>,
    /// Set when earlier events may have given numbers that are not known.
    is_part: bool,
}

impl Columns {
    /// Takes the table of names as it stands in the file.
    pub(super) fn set_texts(&mut self, texts: Vec<(i64, String)>) {
        self.texts = texts.into_iter().collect();
    }

    /// Goes on after events that were pruned and had given numbers to so many names. Says whether these are still
    /// the names they were.
    pub(super) fn go_on(&mut self, seam: &Seam) -> bool {
        self.names = Names::up_to(
            self.texts.iter().map(|(id, text)| (*id, text.as_str())),
            seam.names,
        );
        let texts = self.texts.iter().map(|(id, text)| (*id, text.as_str()));
        names_sha256(texts, seam.names) == seam.names_sha256
    }

    /// The numbers of the names in an event of a call, which it had already.
    pub(super) fn ids(&mut self, meta: &Meta<'_>) -> [Option<i64>; 3] {
        let names = [&meta.agent, &meta.server, &meta.tool].map(Option::as_deref);
        self.names.of_event(false, names)
    }

    /// From here on, a number need only stand for the name in the text.
    pub(super) fn resume(&mut self) {
        self.is_part = true;
    }

    /// The first column of an event that differs from its text.
    pub(super) fn event(&mut self, row: &EventRow<'_>, meta: &Meta<'_>) -> Option<Fault> {
        let names = [&meta.agent, &meta.server, &meta.tool].map(Option::as_deref);
        let ids = if self.is_part {
            row.ids
        } else {
            self.names.of_event(&*meta.kind == "denied", names)
        };
        // A name without a number stands only in the text.
        let name_differs = |at: usize| {
            let (id, name) = (ids.get(at).copied().flatten(), names.get(at));
            row.ids.get(at) != ids.get(at)
                || id.is_some_and(|id| {
                    self.texts.get(&id).map(String::as_str) != name.copied().flatten()
                })
        };
        let checks = [
            ("at_us", row.at_us != meta.at_us),
            ("kind", row.kind != &*meta.kind),
            ("call_id", row.call != call(meta.call.as_ref())),
            ("agent_id", name_differs(0)),
            ("server_id", name_differs(1)),
            ("tool_id", name_differs(2)),
            ("reason", row.reason != meta.reason.as_deref()),
        ];
        let seq = row.seq;
        checks
            .into_iter()
            .find_map(|(column, differs)| differs.then_some(Fault::Column { seq, column }))
    }
}

/// The id of the call as the text tells it.
pub(super) fn call(text: Option<&Text<'_>>) -> Option<CallId> {
    text.and_then(|call| call.parse().ok())
}
