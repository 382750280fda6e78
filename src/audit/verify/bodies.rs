//! Whether every body is the one that its event covers, and none is missing without a word. Pure.

use std::collections::BTreeMap;

use super::Fault;
use super::meta::{Meta, MetaBody};
use crate::audit::bodies::{Deleted, Stored};
use crate::audit::body::digest;
use crate::audit::{BodyKind, bytes};

/// The bodies of one log on the way through it.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// What the events say whose bodies were not given yet.
    covered: BTreeMap<i64, Covered>,
    /// Events whose bodies are not there. The file goes on meanwhile: that they were deleted in good order may be
    /// said by an event that was read later.
    missing: Vec<i64>,
    /// Events say so that are believed before the chain comes to them; one that is not what was written is found then.
    /// From which event to which, in order, none touching another.
    deleted: Vec<(i64, i64)>,
    /// Whether bodies are read at all; the short check and a check of the counts do without.
    are_read: bool,
}

/// What an event says of its body.
#[derive(Debug)]
struct Covered {
    kind: BodyKind,
    /// `None` when it is none, which fits no body.
    digest: Option<[u8; 32]>,
    full_bytes: i64,
    stored: usize,
    is_truncated: bool,
}

impl Bodies {
    /// One event whose text is what the chain says.
    pub(super) fn event(&mut self, seq: i64, meta: &Meta<'_>) {
        if !self.are_read {
            return;
        }
        let of = |kind, body: &Option<MetaBody<'_>>| {
            body.as_ref().map(|body| Covered {
                kind,
                digest: bytes(&body.digest),
                full_bytes: body.bytes,
                stored: body.stored,
                is_truncated: body.truncated,
            })
        };
        let arguments = of(BodyKind::Arguments, &meta.arguments);
        let covered = arguments.or_else(|| of(BodyKind::Result, &meta.result));
        self.covered.extend(covered.map(|covered| (seq, covered)));
    }

    /// Some bodies of the events so far. Returns what is wrong with them.
    pub(super) fn given(&mut self, rows: &[Stored]) -> Vec<Fault> {
        let mut wrong = Vec::new();
        for row in rows {
            let covered = self.covered.remove(&row.seq);
            if !covered.is_some_and(|covered| covered.is(row)) {
                wrong.push(Fault::Body { seq: row.seq });
            }
        }
        wrong
    }

    /// That was all up to this event.
    pub(super) fn all_given(&mut self, through: i64) {
        let later = self.covered.split_off(&through.saturating_add(1));
        let missing = std::mem::replace(&mut self.covered, later).into_keys();
        let missing: Vec<i64> = missing.filter(|seq| !self.was_deleted(*seq)).collect();
        self.missing.extend(missing);
    }

    /// What was deleted in good order, as far as is known by now. Comes first of all, and once more at the end.
    pub(super) fn set_deleted(&mut self, deleted: Vec<Deleted>) {
        self.are_read = true;
        // What was deleted was there before.
        let spans = deleted
            .iter()
            .map(|said| (said.first, said.last.min(said.by.saturating_sub(1))));
        let mut spans: Vec<(i64, i64)> = spans.collect();
        spans.sort_unstable();
        self.deleted.clear();
        for (first, last) in spans {
            match self.deleted.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => self.deleted.push((first, last)),
            }
        }
    }

    /// After the last event.
    pub(super) fn missing(&self) -> Vec<Fault> {
        let missing = self.missing.iter().filter(|seq| !self.was_deleted(**seq));
        missing
            .map(|seq| Fault::BodyMissing { seq: *seq })
            .collect()
    }

    fn was_deleted(&self, seq: i64) -> bool {
        let before = self.deleted.partition_point(|(first, _)| *first <= seq);
        let span = before.checked_sub(1).and_then(|at| self.deleted.get(at));
        span.is_some_and(|(_, last)| seq <= *last)
    }
}

impl Covered {
    fn is(&self, row: &Stored) -> bool {
        row.kind == self.kind.as_str()
            && row.truncated == self.is_truncated
            && row.full_bytes == self.full_bytes
            && row.bytes.len() == self.stored
            && self.digest == Some(digest(&row.salt, &row.bytes))
    }
}
