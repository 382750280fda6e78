//! Lookups and sums must be what the events make them, or a call could be hidden from the pages. Pure.
//!
//! Each place in a list and each count in a row is a number that only this run knows, times how often it stands
//! there. The numbers are added up for each stretch of the log and each quarter of an hour, once from the events
//! and once from the tables: without knowing them nobody can make two different tables add up alike.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::RangeInclusive;

use super::Fault;
use crate::audit::coarse::{self, DAY_US, Key, Table, WIDEST};
use crate::audit::lookups::{self, CHUNK};
use crate::audit::packed::unpack;
use crate::audit::rollups::{self, Sums};
use crate::audit::row::EventRow;
use crate::audit::seen::{Openings, What};
use crate::types::hex;

/// One row of the lookups: stretch, dimension, term, places.
pub(super) type Lookup = (i64, String, String, Vec<u8>);

/// One row of the sums of refusals: quarter of an hour, agent, server, tool, reason, how many.
pub(super) type Refusal = (i64, i64, i64, i64, String, i64);

/// One row of what is packed: its number, whose rows, of which day, from and to which number, and the rows.
pub(super) type Packed = (i64, String, i64, i64, i64, Vec<u8>);

/// What the events and the tables add up to, and what is wrong where they do not agree.
#[derive(Debug)]
pub(super) struct Derived {
    secret: RandomState,
    /// The last event that the tables cover.
    mark: i64,
    /// The last event that was pruned, and the instant before which all were: what stands in the tables about
    /// earlier ones may be gone, or not yet.
    pruned: (i64, i64),
    openings: Openings,
    /// By stretch of the log: the events less the tables.
    places: BTreeMap<i64, u64>,
    /// By quarter of an hour: the events less the tables.
    sums: BTreeMap<i64, u64>,
    /// By table and by hour or day: the events less the tables.
    coarse: BTreeMap<(Table, i64), u64>,
    /// Days of packed rows that belong to no table.
    strays: BTreeSet<i64>,
}

impl Default for Derived {
    fn default() -> Self {
        Self {
            secret: RandomState::new(),
            mark: 0,
            pruned: (0, i64::MIN),
            openings: Openings::default(),
            places: BTreeMap::new(),
            sums: BTreeMap::new(),
            coarse: BTreeMap::new(),
            strays: BTreeSet::new(),
        }
    }
}

impl Derived {
    /// Says up to which event the tables go.
    pub(super) fn set_mark(&mut self, mark: i64) {
        self.mark = mark;
    }

    /// Goes on after events that were pruned, before an instant in microseconds since 1970.
    pub(super) fn go_on(&mut self, last: i64, until_us: i64) {
        self.pruned = (last, until_us);
    }

    /// Takes in the event that opened a call and was pruned.
    pub(super) fn carried(&mut self, row: &EventRow<'_>) {
        let _ = self.openings.see(row);
    }

    /// Takes one event in.
    pub(super) fn event(&mut self, row: &EventRow<'_>) {
        if row.seq > self.mark {
            return;
        }
        let Some(seen) = self.openings.see(row) else {
            return;
        };
        let (secret, places, pruned) = (&self.secret, &mut self.places, self.pruned.0);
        lookups::places(&seen, |dimension, term, seq| {
            if seq <= pruned {
                return;
            }
            let sum = places.entry(seq.div_euclid(CHUNK)).or_default();
            *sum = sum.wrapping_add(secret.hash_one((dimension.as_str(), term, seq)));
        });
        let Some(sums) = Sums::of(&seen) else { return };
        let cell = rollups::cell(&seen);
        for (column, value) in sums.columns().into_iter().enumerate() {
            self.count(cell.0, (cell.1, column), value);
        }
        if let What::Denied { reason, times, .. } = seen.what {
            self.count(cell.0, (cell.1, reason), times);
        }
        coarse::parts(&seen, |table, key, text, added| {
            let text = hex(text.as_bytes());
            for (column, value) in added.values(table.shape().values) {
                self.count_coarse(table, key, &text, (column, value));
            }
        });
    }

    /// The text is given as the digits of its bytes.
    fn count_coarse(&mut self, table: Table, key: Key, text: &str, (column, value): (usize, i64)) {
        let Some(begins) = key.get(table.shape().time).copied() else {
            return;
        };
        if value != 0 && begins >= self.pruned.1 {
            let number = self.secret.hash_one((table, key, text, column));
            let sum = self.coarse.entry((table, begins)).or_default();
            *sum = sum.wrapping_add(number.wrapping_mul(value.cast_unsigned()));
        }
    }

    /// Takes rows of a table of coarse sums off: numbers, then the digits of the text, then numbers, with commas
    /// between them, one row a line. What cannot be read stays and is missed.
    pub(super) fn coarse(&mut self, table: Table, rows: &str) {
        for row in rows.lines() {
            let _ = self.coarse_row(table, row);
        }
    }

    fn coarse_row(&mut self, table: Table, row: &str) -> Option<()> {
        let shape = table.shape();
        let mut fields = row.split(',');
        let mut key = Key::default();
        for number in key.iter_mut().take(shape.key.len()) {
            *number = fields.next()?.parse().ok()?;
        }
        let text = match shape.text {
            Some(_) => fields.next()?,
            None => "",
        };
        for column in 0..shape.values.width() {
            let value: i64 = fields.next()?.parse().ok()?;
            self.count_coarse(table, key, text, (column, value.wrapping_neg()));
        }
        Some(())
    }

    /// Takes what is packed of tables off. What cannot be read stays and is missed, and what no page would find is too much.
    pub(super) fn packed(&mut self, rows: &[Packed]) {
        for (_, sums, day_us, first, last, packed) in rows {
            let mut tables = Table::PACKED.into_iter();
            let table = tables.find(|table| table.shape().name == sums);
            let numbers = *first..=*last;
            let taken = table.and_then(|table| self.take_packed(table, (*day_us, numbers), packed));
            match (taken, table) {
                (Some(true), _) => {}
                // Perhaps it is still to go.
                _ if *day_us < self.pruned.1 => {}
                (_, Some(table)) => {
                    let sum = self.coarse.entry((table, *day_us)).or_default();
                    *sum = sum.wrapping_add(self.secret.hash_one((day_us, packed)));
                }
                (_, None) => {
                    self.strays.insert(*day_us);
                }
            }
        }
    }

    /// Whether all of it is of that day and between these numbers, by which pages find it; `None` when it cannot be read.
    fn take_packed(
        &mut self,
        table: Table,
        (day_us, numbers): (i64, RangeInclusive<i64>),
        packed: &[u8],
    ) -> Option<bool> {
        let (shape, mut is_in_place) = (table.shape(), true);
        unpack::<WIDEST>(day_us, packed, |row| {
            let [first, second, third] = shape.numbers(row.ids);
            let is_of_day = coarse::begins(row.at_us, DAY_US) == day_us;
            is_in_place &= is_of_day && numbers.contains(&first);
            let columns = row.values.iter().enumerate();
            let key = [row.at_us, first, second, third];
            if table == Table::Rollup {
                columns.for_each(|(column, value)| {
                    self.count(row.at_us, (row.ids, column), value.wrapping_neg());
                });
            } else if table == Table::RollupRefusal {
                let [value, ..] = row.values;
                self.count(row.at_us, (row.ids, row.text), value.wrapping_neg());
            } else {
                let text = hex(row.text.as_bytes());
                columns.for_each(|(column, value)| {
                    self.count_coarse(table, key, &text, (column, value.wrapping_neg()));
                });
            }
        })?;
        Some(is_in_place)
    }

    fn count(&mut self, quarter: i64, what: impl Hash, value: i64) {
        if value != 0 && quarter >= self.pruned.1 {
            let number = self.secret.hash_one((quarter, what));
            let sum = self.sums.entry(quarter).or_default();
            *sum = sum.wrapping_add(number.wrapping_mul(value.cast_unsigned()));
        }
    }

    /// Takes rows of the lookups off.
    pub(super) fn lookups(&mut self, rows: &[Lookup]) {
        for (chunk, dimension, term, list) in rows {
            let sum = self.places.entry(*chunk).or_default();
            let pruned = self.pruned.0;
            for seq in lookups::seqs(*chunk, list).filter(|seq| *seq > pruned) {
                let number = self
                    .secret
                    .hash_one((dimension.as_str(), term.as_str(), seq));
                *sum = sum.wrapping_sub(number);
            }
        }
    }

    /// Takes rows of the sums off: numbers with commas between them, one row a line.
    pub(super) fn sums(&mut self, rows: &str) -> Option<()> {
        for row in rows.lines() {
            let mut numbers = row.split(',').map(str::parse::<i64>);
            let mut next = || numbers.next()?.ok();
            let quarter = next()?;
            let ids = [next()?, next()?, next()?];
            for column in 0..15_usize {
                let value = next()?;
                self.count(quarter, (ids, column), value.wrapping_neg());
            }
        }
        Some(())
    }

    /// Takes rows of the sums of refusals off.
    pub(super) fn refusals(&mut self, rows: &[Refusal]) {
        for (quarter, agent, server, tool, reason, refused) in rows {
            let what = ([*agent, *server, *tool], reason.as_str());
            self.count(*quarter, what, refused.wrapping_neg());
        }
    }

    /// What is left over, after all events and all tables.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let wrong = |sums: &BTreeMap<i64, u64>| -> Vec<i64> {
            let wrong = sums.iter().filter(|(_, sum)| **sum != 0);
            wrong.map(|(key, _)| *key).collect()
        };
        let lookups = wrong(&self.places).into_iter().map(|chunk| {
            let first = chunk.saturating_mul(CHUNK);
            let last = first.saturating_add(CHUNK).saturating_sub(1);
            Fault::Lookup {
                first: first.max(1),
                last,
            }
        });
        let sums = wrong(&self.sums).into_iter();
        let coarse = self.coarse.iter().filter(|(_, sum)| **sum != 0);
        let coarse = coarse.map(|((table, at_us), _)| Fault::CoarseSums {
            table: table.shape().name,
            at_us: *at_us,
        });
        let strays = self.strays.iter().map(|at_us| Fault::CoarseSums {
            table: "packed_day",
            at_us: *at_us,
        });
        lookups
            .chain(sums.map(|at_us| Fault::Rollup { at_us }))
            .chain(coarse)
            .chain(strays)
            .collect()
    }
}
