//! How many calls there were and how they ended: what every table of sums has in common. Pure.

use super::rollups::{self, Sums};

/// Columns of a [`Counts`].
pub(super) const COUNTS: usize = 8;

/// Their names, in the order of the tables.
pub(super) const COLUMNS: [&str; COUNTS] = [
    "admitted",
    "refused",
    "ok",
    "errors",
    "failed",
    "released",
    "abandoned",
    "latency_us",
];

/// How many calls were made in some time, and how those ended that came to their end in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that were let through.
    pub admitted: i64,
    /// Calls that were refused.
    pub refused: i64,
    /// Calls that ended well.
    pub ok: i64,
    /// Calls whose answer was an error.
    pub errors: i64,
    /// Calls of which nobody knows what became.
    pub failed: i64,
    /// Calls that never reached their server.
    pub released: i64,
    /// Calls that were under way when the gateway ended.
    pub abandoned: i64,
    /// Microseconds that the calls which ended took, together.
    pub latency_us: i64,
}

impl Counts {
    /// Calls that were made, also refused ones.
    pub fn calls(&self) -> i64 {
        self.admitted.saturating_add(self.refused)
    }

    /// Calls that ended otherwise than well.
    pub fn bad(&self) -> i64 {
        let bad = [self.errors, self.failed, self.released, self.abandoned];
        bad.into_iter().fold(0, i64::saturating_add)
    }

    /// Calls that ended.
    pub fn ended(&self) -> i64 {
        self.ok.saturating_add(self.bad())
    }

    /// The average time of a call that ended, in microseconds; `None` when none did.
    pub fn average_us(&self) -> Option<i64> {
        self.latency_us.checked_div(self.ended())
    }

    /// Adds others.
    pub fn add(&mut self, more: &Self) {
        let mut sums = self.columns();
        for (sum, more) in sums.iter_mut().zip(more.columns()) {
            *sum = sum.saturating_add(more);
        }
        *self = Self::from(sums);
    }

    /// The columns, in the order of the tables.
    pub(super) fn columns(&self) -> [i64; COUNTS] {
        [
            self.admitted,
            self.refused,
            self.ok,
            self.errors,
            self.failed,
            self.released,
            self.abandoned,
            self.latency_us,
        ]
    }
}

impl From<[i64; COUNTS]> for Counts {
    fn from(columns: [i64; COUNTS]) -> Self {
        let [
            admitted,
            refused,
            ok,
            errors,
            failed,
            released,
            abandoned,
            latency_us,
        ] = columns;
        Self {
            admitted,
            refused,
            ok,
            errors,
            failed,
            released,
            abandoned,
            latency_us,
        }
    }
}

impl From<&Sums> for Counts {
    fn from(sums: &Sums) -> Self {
        Self::from(sums.columns())
    }
}

impl From<[i64; rollups::WIDTH]> for Counts {
    fn from(columns: [i64; rollups::WIDTH]) -> Self {
        let [
            admitted,
            refused,
            ok,
            errors,
            failed,
            released,
            abandoned,
            _charged,
            latency_us,
            ..,
        ] = columns;
        Self {
            admitted,
            refused,
            ok,
            errors,
            failed,
            released,
            abandoned,
            latency_us,
        }
    }
}
