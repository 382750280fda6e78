//! Sums by the quarter of an hour, agent, server and tool: what pages and reports count with.

use std::collections::BTreeMap;

use super::counts::{COLUMNS, COUNTS};
use super::seen::{Ending, Seen, What};
use crate::db::{DbError, WriteTx, params, params_from_iter};

/// Microseconds that one row sums up. Days and hours begin with a quarter of an hour in every time zone.
pub(super) const QUARTER_US: i64 = 15 * 60 * 1_000_000;

/// How many calls took how long.
const CLASSES: [&str; 6] = [
    "under_10ms",
    "under_100ms",
    "under_1s",
    "under_10s",
    "under_1min",
    "longer",
];

/// Columns that are summed up: those of all tables, what was charged, and the classes.
pub(super) const WIDTH: usize = COUNTS + 1 + CLASSES.len();

/// Their names, in the order of the table.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    let [counts @ .., latency] = COLUMNS;
    let first = counts.into_iter().chain(["charged", latency]);
    first.chain(CLASSES)
}

pub(super) const NEW_SUMS: &str = "INSERT INTO rollup (quarter_us, agent_id, server_id, tool_id,
        admitted, refused, ok, errors, failed, released, abandoned, charged, latency_us,
        under_10ms, under_100ms, under_1s, under_10s, under_1min, longer)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (quarter_us, agent_id, server_id, tool_id) DO UPDATE SET
        admitted = admitted + excluded.admitted, refused = refused + excluded.refused,
        ok = ok + excluded.ok, errors = errors + excluded.errors, failed = failed + excluded.failed,
        released = released + excluded.released, abandoned = abandoned + excluded.abandoned,
        charged = charged + excluded.charged, latency_us = latency_us + excluded.latency_us,
        under_10ms = under_10ms + excluded.under_10ms, under_100ms = under_100ms + excluded.under_100ms,
        under_1s = under_1s + excluded.under_1s, under_10s = under_10s + excluded.under_10s,
        under_1min = under_1min + excluded.under_1min, longer = longer + excluded.longer";
pub(super) const NEW_REFUSALS: &str =
    "INSERT INTO rollup_refusal (quarter_us, agent_id, server_id, tool_id, reason, refused)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (quarter_us, agent_id, server_id, tool_id, reason) DO UPDATE SET
        refused = refused + excluded.refused";

/// The beginning of the quarter of an hour, agent, server and tool.
pub(super) type Cell = (i64, [i64; 3]);

/// The columns that are summed up, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    admitted: i64,
    refused: i64,
    ok: i64,
    errors: i64,
    failed: i64,
    released: i64,
    abandoned: i64,
    charged: i64,
    latency_us: i64,
    /// Under 10 ms, 100 ms, 1 s, 10 s, a minute, and longer.
    took: [i64; 6],
}

impl Sums {
    /// What one event adds; `None` for one that belongs to no call.
    pub(super) fn of(seen: &Seen<'_>) -> Option<Self> {
        let mut sums = Self::default();
        match seen.what {
            What::Admitted { .. } => sums.admitted = 1,
            What::Denied { times, .. } => sums.refused = times,
            What::Closed {
                ending,
                latency_us,
                charged,
                ..
            } => {
                match ending {
                    Ending::Ok => sums.ok = 1,
                    Ending::Error => sums.errors = 1,
                    Ending::Failed => sums.failed = 1,
                    Ending::Released => sums.released = 1,
                    Ending::Abandoned => sums.abandoned = 1,
                }
                sums.charged = charged;
                sums.latency_us = latency_us.unwrap_or(0);
                sums.took = latency_us.map(took).unwrap_or_default();
            }
            What::Other { .. } => return None,
        }
        Some(sums)
    }

    /// The columns from `admitted` to `longer`.
    pub(super) fn columns(&self) -> [i64; WIDTH] {
        let [a, b, c, d, e, f] = self.took;
        [
            self.admitted,
            self.refused,
            self.ok,
            self.errors,
            self.failed,
            self.released,
            self.abandoned,
            self.charged,
            self.latency_us,
            a,
            b,
            c,
            d,
            e,
            f,
        ]
    }

    fn add(&mut self, more: &Self) {
        let pairs = [
            (&mut self.admitted, more.admitted),
            (&mut self.refused, more.refused),
            (&mut self.ok, more.ok),
            (&mut self.errors, more.errors),
            (&mut self.failed, more.failed),
            (&mut self.released, more.released),
            (&mut self.abandoned, more.abandoned),
            (&mut self.charged, more.charged),
            (&mut self.latency_us, more.latency_us),
        ];
        let took = self.took.iter_mut().zip(more.took);
        for (sum, more) in pairs.into_iter().chain(took) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// One in the class of calls that took as long.
fn took(latency_us: i64) -> [i64; 6] {
    match latency_us {
        ..10_000 => [1, 0, 0, 0, 0, 0],
        10_000..100_000 => [0, 1, 0, 0, 0, 0],
        100_000..1_000_000 => [0, 0, 1, 0, 0, 0],
        1_000_000..10_000_000 => [0, 0, 0, 1, 0, 0],
        10_000_000..60_000_000 => [0, 0, 0, 0, 1, 0],
        60_000_000.. => [0, 0, 0, 0, 0, 1],
    }
}

/// The beginning of the quarter of an hour that an instant lies in.
pub(super) fn quarter(at_us: i64) -> i64 {
    at_us.saturating_sub(at_us.rem_euclid(QUARTER_US))
}

/// The row that an event is summed up in.
pub(super) fn cell(seen: &Seen<'_>) -> Cell {
    (quarter(seen.at_us), seen.ids.map(Option::unwrap_or_default))
}

/// What a run of events adds to the sums.
#[derive(Debug, Default)]
pub(super) struct Rollups {
    sums: BTreeMap<Cell, Sums>,
    refusals: BTreeMap<(Cell, String), i64>,
}

impl Rollups {
    /// Takes one event in.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        let Some(sums) = Sums::of(seen) else { return };
        let cell = cell(seen);
        self.sums.entry(cell).or_default().add(&sums);
        if let What::Denied { reason, times, .. } = seen.what {
            let refused = self.refusals.entry((cell, reason.to_owned())).or_default();
            *refused = refused.saturating_add(times);
        }
    }

    /// Adds all of it to the tables.
    ///
    /// # Errors
    /// When SQLite refuses; nothing of the transaction may be kept then.
    pub(super) fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        tx.each(NEW_SUMS, &self.sums, |add, ((quarter, ids), sums)| {
            let key = [*quarter].into_iter().chain(*ids);
            add.change(params_from_iter(key.chain(sums.columns())))
        })?;
        tx.each(NEW_REFUSALS, &self.refusals, |add, (key, refused)| {
            let ((quarter, [agent, server, tool]), reason) = key;
            add.change(params![quarter, agent, server, tool, reason, refused])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_an_hour_begins_at_or_before_its_instants() {
        for (at_us, begins) in [
            (0, 0),
            (QUARTER_US - 1, 0),
            (QUARTER_US, QUARTER_US),
            (-1, -QUARTER_US),
        ] {
            assert_eq!(quarter(at_us), begins, "{at_us}");
        }
    }

    #[test]
    fn every_call_took_one_class_of_time() {
        for (latency_us, class) in [
            (0, 0),
            (9_999, 0),
            (10_000, 1),
            (999_999, 2),
            (1_000_000, 3),
            (59_999_999, 4),
            (60_000_000, 5),
        ] {
            let took = took(latency_us);
            assert_eq!(took.iter().sum::<i64>(), 1, "{latency_us}");
            assert_eq!(took[class], 1, "{latency_us}");
        }
    }
}
