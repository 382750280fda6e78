//! What an operator may change in the books. Pure.

use super::super::count::{Row, WindowId};
use super::Books;
use crate::types::{BudgetKey, Timestamp};

impl Books {
    /// The row of a budget; `None` when it was never counted.
    pub fn id_of(&self, key: &BudgetKey) -> Option<i64> {
        self.contents.budgets.get(key).copied()
    }

    /// What a window has used; `None` when it is not in memory.
    pub fn used(&self, id: WindowId) -> Option<u64> {
        self.contents.windows.get(&id).map(|row| row.count.used)
    }

    /// Takes a window in again that ended and was forgotten.
    pub fn remember(&mut self, budget: i64, row: Row) {
        // A sum that begins earlier would miss it, and subtract it all the same when it is past.
        self.rings.forget();
        let id = (budget, row.span.starts);
        if row.frozen {
            self.frozen.insert(id);
        }
        self.contents.windows.entry(id).or_insert(row);
    }

    /// Gives back what a closed call cost, in the window it was admitted in. Says whether the window had used so
    /// much; if not, nothing changes.
    pub fn refund(&mut self, budget: i64, starts: Timestamp, amount: u64) -> bool {
        let id = (budget, starts);
        let Some(row) = self.contents.windows.get_mut(&id) else {
            return false;
        };
        let before = row.count;
        let Some(used) = before.used.checked_sub(amount) else {
            return false;
        };
        row.count.used = used;
        self.rings.change(id, before, row.count);
        self.touched.insert(id);
        true
    }

    /// Lets a budget be used again. Returns the windows that were frozen, with what servers had reported beyond what
    /// was held in them.
    pub fn unfreeze(&mut self, budget: i64) -> Vec<(Timestamp, u64)> {
        let ids = self.frozen.extract_if(.., |(id, _)| *id == budget);
        let ids: Vec<WindowId> = ids.collect();
        let mut thawed = Vec::new();
        for id in ids {
            if let Some(row) = self.contents.windows.get_mut(&id) {
                row.frozen = false;
                self.touched.insert(id);
                thawed.push((id.1, row.overrun));
            }
        }
        thawed
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::count::Count;
    use super::super::super::{Contents, Span};
    use super::*;

    const STARTS: Timestamp = Timestamp::from_micros(1_795_132_800_000_000);

    fn row(used: u64, frozen: bool) -> Row {
        let ends = STARTS.after(std::time::Duration::from_secs(86_400));
        Row {
            count: Count {
                limit: 5,
                limit_high: 5,
                used,
                held: 0,
            },
            overrun: u64::from(frozen),
            frozen,
            ..Row::empty(Span {
                starts: STARTS,
                ends,
            })
        }
    }

    fn books() -> Books {
        let mut contents = Contents::default();
        contents
            .budgets
            .insert(BudgetKey::new("a calls/day@UTC"), 7);
        Books::new(contents)
    }

    #[test]
    fn a_refund_never_gives_back_more_than_was_used() {
        let mut books = books();
        let id = books.id_of(&BudgetKey::new("a calls/day@UTC")).unwrap();
        assert!(!books.refund(id, STARTS, 1), "there is no such window");
        books.remember(id, row(2, false));
        assert!(!books.refund(id, STARTS, 3));
        assert_eq!(books.used((id, STARTS)), Some(2));
        assert!(books.refund(id, STARTS, 2));
        let (_, rows, _) = books.take_changes();
        assert_eq!(rows, [((id, STARTS), row(0, false))]);
    }

    #[test]
    fn what_is_unfrozen_is_written_once() {
        let mut books = books();
        assert_eq!(books.unfreeze(7), []);
        books.remember(7, row(2, true));
        assert_eq!(books.unfreeze(7), [(STARTS, 1)]);
        assert_eq!(books.unfreeze(7), []);
        let (_, rows, _) = books.take_changes();
        assert!(!rows[0].1.frozen);
    }
}
