//! Sums over the windows of rolling budgets. Pure.
//!
//! What is taken in a rolling window is a row of its own that ends when it counts no more, so the figure that must
//! stay within the limit is a sum. It is kept here, and moved on with the time.

use std::collections::{BTreeMap, HashMap};

use crate::types::Timestamp;

use super::count::{Count, Row, WindowId};

/// All windows in memory, by budget and start.
pub(super) type Windows = BTreeMap<WindowId, Row>;

/// The sums that were asked for so far; they can be forgotten at any time.
#[derive(Debug, Default)]
pub(super) struct Rings(HashMap<i64, Ring>);

/// The sum of one budget.
#[derive(Debug, Clone, Copy)]
struct Ring {
    used: u64,
    held: u64,
    /// Rows that start before this count no more.
    from: Timestamp,
}

impl Rings {
    /// What counts at an instant.
    pub(super) fn count(&mut self, windows: &Windows, budget: i64, at: Timestamp) -> Count {
        let ring = self
            .0
            .entry(budget)
            .or_insert_with(|| Ring::sum(windows, budget));
        for ((_, starts), row) in windows.range((budget, ring.from)..(budget, at)) {
            if at < row.span.ends {
                break;
            }
            ring.used = ring.used.saturating_sub(row.count.used);
            ring.held = ring.held.saturating_sub(row.count.held);
            ring.from = Timestamp::from_micros(starts.micros().saturating_add(1));
        }
        Count {
            used: ring.used,
            held: ring.held,
            ..Count::default()
        }
    }

    /// Moves a sum along with a row of it; one that is not kept stays so.
    pub(super) fn change(&mut self, (budget, starts): WindowId, before: Count, after: Count) {
        let Some(ring) = self.0.get_mut(&budget).filter(|ring| ring.from <= starts) else {
            return;
        };
        let moved =
            |sum: u64, before: u64, after: u64| sum.saturating_add(after).saturating_sub(before);
        ring.used = moved(ring.used, before.used, after.used);
        ring.held = moved(ring.held, before.held, after.held);
    }

    /// Forgets all sums: rows are about to go.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Ring {
    fn sum(windows: &Windows, budget: i64) -> Self {
        let first = (budget, Timestamp::from_micros(i64::MIN));
        let last = (budget, Timestamp::from_micros(i64::MAX));
        let rows = windows.range(first..=last).map(|(_, row)| row.count);
        let (used, held) = rows.fold((0u64, 0u64), |(used, held), count| {
            (
                used.saturating_add(count.used),
                held.saturating_add(count.held),
            )
        });
        let from = first.1;
        Self { used, held, from }
    }
}

/// When so much of what counts now will count no more: `None` when it never does.
pub(super) fn frees(
    windows: &Windows,
    budget: i64,
    at: Timestamp,
    amount: u64,
) -> Option<Timestamp> {
    let first = (budget, Timestamp::from_micros(i64::MIN));
    let last = (budget, Timestamp::from_micros(i64::MAX));
    let rows = windows.range(first..=last).map(|(_, row)| row);
    let mut left = amount;
    for row in rows.filter(|row| at < row.span.ends) {
        left = left.saturating_sub(row.count.used.saturating_add(row.count.held));
        if left == 0 {
            return Some(row.span.ends);
        }
    }
    None
}
