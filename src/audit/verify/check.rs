//! The check itself: takes the log in pieces, in the order they are read, and says what is wrong. Pure.

use super::bodies::Bodies;
use super::calls::Calls;
use super::columns::{self, Columns};
use super::derived::{Derived, Lookup, Packed, Refusal};
use super::ledger::{Asked, Difference, LedgerTables};
use super::marks::Marks;
use super::meta::Meta;
use super::seam::{Carried, Said, Seam, sha256_of};
use super::texts::{TextOf, TextRow, Texts};
use super::{Fault, Known, Verified};
use crate::audit::bodies::{Deleted, Stored};
use crate::audit::chain::{Head, next_hash};
use crate::audit::coarse::Table;
use crate::audit::row::{self, EventRow};
use crate::audit::{Kind, Pruned};
use crate::db::LogId;

/// Faults that are told; whoever changed every event is found out by the first of them.
const MAX_FAULTS: usize = 100;

/// What is read from the file.
#[derive(Debug)]
pub(super) enum Piece {
    /// The table of names, as it is from here on.
    Names(Vec<(i64, String)>),
    /// Where the log goes on after what was pruned; before the first event.
    Pruned(Box<Pruned>),
    /// Some events in a row, as [`row`] takes them apart.
    Events(Vec<u8>),
    /// Bodies of the events so far, in order.
    Bodies(Vec<Stored>),
    /// All bodies of events up to this one were given.
    BodiesThrough(i64),
    /// Which bodies were deleted in good order, as far as is known by now.
    Deleted(Vec<Deleted>),
    /// The last event that lookups and sums cover.
    Mark(i64),
    /// After the last event, that of the last checkpoint as the file itself notes it.
    Noted(i64),
    /// The tables of the ledger, after that.
    Ledger(LedgerTables),
    /// Rows of the lookups.
    Lookups(Vec<Lookup>),
    /// Rows of the sums, as lines of numbers.
    Sums(String),
    /// Rows of the sums of refusals.
    Refusals(Vec<Refusal>),
    /// Rows of a table of coarse sums, as lines.
    Coarse(Table, String),
    /// Packed rows of such tables.
    Packed(Vec<Packed>),
    /// Texts of policy files, or of definitions.
    Texts(TextOf, Vec<TextRow>),
    /// That was all of it.
    End,
}

/// A log on the way through it.
#[derive(Debug)]
pub(super) struct Check {
    log: LogId,
    expected: Option<[u8; 32]>,
    head: Head,
    broken: bool,
    marks: Marks,
    columns: Columns,
    calls: Calls,
    bodies: Bodies,
    derived: Derived,
    texts: Texts,
    /// What was pruned, until the event comes that says so.
    pruned: Option<(i64, Head, String)>,
    begins_after: i64,
    /// Whether the tables that follow from the events were read to their end.
    has_tables: bool,
    faults: Vec<Fault>,
}

impl Check {
    /// Before the first event of a log.
    pub(super) fn new(log: LogId, known: Known) -> Self {
        let head = Head::empty(log);
        let expected = known.head.filter(|hash| *hash != head.hash);
        let (marks, faults) = Marks::new(log, known);
        Self {
            log,
            expected,
            head,
            // Of another log nothing else is worth saying.
            broken: faults
                .iter()
                .any(|fault| matches!(fault, Fault::OtherLog { .. })),
            marks,
            faults,
            columns: Columns::default(),
            calls: Calls::default(),
            bodies: Bodies::default(),
            derived: Derived::default(),
            texts: Texts::default(),
            pruned: None,
            begins_after: 0,
            has_tables: false,
        }
    }

    /// After an event, whose hash is taken as it stands: what was written before it is not known.
    pub(super) fn resume(log: LogId, known: Known, head: Head) -> Self {
        let mut check = Self::new(log, known);
        check.head = head;
        check.columns.resume();
        check.calls.resume();
        check
    }

    /// Takes a piece in. Says whether more are wanted: past the first break nothing can be said about the chain.
    pub(super) fn piece(&mut self, piece: Piece) -> bool {
        match piece {
            Piece::Names(texts) => self.columns.set_texts(texts),
            Piece::Pruned(pruned) => self.go_on(*pruned),
            Piece::Events(events) => self.events(&events),
            Piece::Bodies(rows) => {
                let faults = self.bodies.given(&rows);
                self.report(faults);
            }
            Piece::BodiesThrough(seq) => self.bodies.all_given(seq),
            Piece::Deleted(deleted) => self.bodies.set_deleted(deleted),
            Piece::Mark(mark) => self.derived.set_mark(mark),
            // What is missing is told first: counters that do not fit may follow from it.
            Piece::Noted(checkpoint) => self.end(checkpoint),
            Piece::Ledger(tables) => {
                let seq = self.head.seq;
                let faults = self.calls.refunds.faults(&tables);
                self.report(faults);
                let differences = self.calls.differences(tables);
                self.report(differences.iter().flat_map(|differs| differs.faults(seq)));
            }
            Piece::Lookups(rows) => self.derived.lookups(&rows),
            Piece::Sums(rows) => {
                // Rows that are none are missed where they should be.
                let _ = self.derived.sums(&rows);
            }
            Piece::Coarse(table, rows) => self.derived.coarse(table, &rows),
            Piece::Packed(rows) => self.derived.packed(&rows),
            Piece::Refusals(rows) => {
                self.derived.refusals(&rows);
            }
            Piece::Texts(of, rows) => {
                let faults = self.texts.faults(of, &rows);
                self.report(faults);
            }
            Piece::End => {
                self.has_tables = true;
                let faults = self.bodies.missing();
                self.report(faults);
            }
        }
        !self.broken
    }

    /// Which windows of the ledger the events so far are enough for, of a part of a log.
    pub(super) fn known_windows(&self) -> Asked {
        self.calls.known_windows()
    }

    /// Goes on after the last event that was pruned. What is read here is believed until the event comes that
    /// covers it; the chain itself goes on only from the right hash.
    fn go_on(&mut self, pruned: Pruned) {
        let (last, until) = (pruned.last, pruned.until);
        let wrong = |what| Fault::Pruned {
            seq: last.seq,
            what,
        };
        let Ok(seam) = Seam::from_json(&pruned.seam) else {
            return self.break_off(wrong("what goes on after them cannot be read"));
        };
        self.head = last;
        self.begins_after = last.seq;
        self.expected = self.expected.filter(|hash| *hash != last.hash);
        let marks = self.marks.compare(last);
        self.report(marks);
        if !self.columns.go_on(&seam) {
            self.report([wrong("the names in them are not what they were")]);
        }
        self.derived.go_on(last.seq, until.micros());
        self.texts.go_on(last.seq);
        for carried in &seam.carried {
            self.carried(carried);
        }
        self.calls.go_on(&seam.totals, last.seq);
        self.pruned = Some((pruned.event_seq, last, sha256_of(&pruned.seam)));
    }

    /// An event of a call that was under way where the log goes on.
    fn carried(&mut self, carried: &Carried) {
        let Ok(meta) = serde_json::from_str::<Meta<'_>>(&carried.event) else {
            return;
        };
        let row = EventRow {
            seq: carried.seq,
            at_us: meta.at_us,
            ids: self.columns.ids(&meta),
            call: columns::call(meta.call.as_ref()),
            kind: &meta.kind,
            reason: meta.reason.as_deref(),
            meta: &carried.event,
            hash: [0; 32],
            told: None,
        };
        self.derived.carried(&row);
        let fault = self.calls.event(carried.seq, &meta);
        self.report(fault);
    }

    /// An event that says what was pruned.
    fn pruned(&mut self, seq: i64, text: &str) {
        let Some((by, last, seam)) = self.pruned.take() else {
            return;
        };
        if by != seq {
            self.pruned = Some((by, last, seam));
            return;
        }
        let said = serde_json::from_str::<Said>(text);
        if !said.is_ok_and(|said| said.is_about(last, &seam)) {
            let what = "the event that says so says something else";
            self.report([Fault::Pruned {
                seq: last.seq,
                what,
            }]);
        }
    }

    fn events(&mut self, mut piece: &[u8]) {
        while !self.broken && !piece.is_empty() {
            let due = self.head.seq.saturating_add(1);
            if row::peek(piece) != Some(due) {
                return self.break_off(Fault::Missing { seq: due });
            }
            match row::next(&mut piece) {
                Some(row) => self.event(&row),
                None => self.break_off(Fault::Changed { seq: due }),
            }
        }
    }

    fn event(&mut self, row: &EventRow<'_>) {
        let seq = row.seq;
        let hash = next_hash(self.log, seq, &self.head.hash, row.meta);
        let meta = serde_json::from_str::<Meta<'_>>(row.meta);
        let (true, Ok(meta)) = (row.hash == hash, meta) else {
            return self.break_off(Fault::Changed { seq });
        };
        let before = std::mem::replace(&mut self.head, Head { seq, hash });
        if self.expected == Some(hash) {
            self.expected = None;
        }
        if &*meta.kind == Kind::Pruned.as_str() {
            self.pruned(seq, row.meta);
        }
        let marks = self.marks.event(before, self.head, &meta);
        self.report(marks);
        let column = self.columns.event(row, &meta);
        self.report(column);
        self.derived.event(row);
        self.texts.event(seq, &meta);
        self.bodies.event(seq, &meta);
        let fault = self.calls.event(seq, &meta);
        self.report(fault);
    }

    /// The last event that was taken in.
    pub(super) fn last(&self) -> i64 {
        self.head.seq
    }

    /// What is wrong so far.
    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Where the tables of the ledger are not what the events add up to.
    pub(super) fn differences(&self, tables: LedgerTables) -> Vec<Difference> {
        self.calls.differences(tables)
    }

    /// Notes what is wrong.
    pub(super) fn report(&mut self, faults: impl IntoIterator<Item = Fault>) {
        let room = MAX_FAULTS.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
    }

    fn break_off(&mut self, fault: Fault) {
        self.broken = true;
        self.faults.push(fault);
    }

    /// After the last event.
    fn end(&mut self, noted: i64) {
        if self.expected.is_some() {
            self.faults.push(Fault::HeadNotFound);
        }
        self.faults
            .extend(self.pruned.take().map(|(_, last, _)| Fault::Pruned {
                seq: last.seq,
                what: "no event says that they were pruned",
            }));
        self.faults.extend(self.marks.end(self.head, noted));
    }

    /// After the last piece.
    pub(super) fn finish(mut self) -> Verified {
        // Last: a log that was cut off is worse than what it leaves behind in the tables.
        if self.has_tables && !self.broken {
            let faults = self.derived.faults();
            self.report(faults);
        }
        Verified {
            log: self.log,
            pruned: self.begins_after,
            head: self.head,
            open_calls: self.calls.open_count(),
            checkpoint: self.marks.covered(),
            faults: self.faults,
        }
    }
}
