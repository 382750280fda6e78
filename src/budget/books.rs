//! The counts in memory, as they stand after the last commit plus the batch at hand. Pure.
//!
//! The writer alone has them. What it changes here it writes in the same transaction; when that fails, the
//! books are thrown away and read back from the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::policy::Charge;
use crate::types::{BudgetKey, CallId, Timestamp, Zone};

use super::{Span, span};

/// What one call holds in one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which count.
    pub key: BudgetKey,
    /// The row of the count.
    pub budget_id: i64,
    /// The window it was taken in; it is settled there however late.
    pub starts: Timestamp,
    /// How many calls.
    pub amount: u64,
    /// The state of the window right after it was taken.
    pub after: Count,
}

/// A reservation in all budgets of one call. Made only by [`Books::reserve`]; closing a call consumes it.
#[derive(Debug)]
pub struct Hold {
    call: CallId,
    held: Vec<Held>,
}

impl Hold {
    /// The call that holds.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// What it holds, one entry a budget.
    pub fn held(&self) -> &[Held] {
        &self.held
    }
}

/// The figures of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The limit in force at the last reservation.
    pub limit: u64,
    /// The highest limit that was in force in this window.
    pub limit_high: u64,
    /// Calls that cost.
    pub used: u64,
    /// Calls in flight.
    pub held: u64,
}

/// Why a call does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The budget that has no room; of several, the one that resets last.
    pub charge: Charge,
    /// Its window.
    pub span: Span,
    /// Its figures.
    pub count: Count,
}

/// What closing a call did to one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// Which count.
    pub key: BudgetKey,
    /// The window.
    pub starts: Timestamp,
    /// What it costs; 0 when it was released.
    pub charged: u64,
    /// What was given back.
    pub released: u64,
}

/// One window of one budget, by the row of the budget and the start.
pub type WindowId = (i64, Timestamp);

/// Budgets that were never counted before, with the rows they get.
pub type NewBudgets = Vec<(i64, BudgetKey)>;

/// A window in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its bounds.
    pub span: Span,
    /// Its figures.
    pub count: Count,
}

/// All open windows and all open calls.
#[derive(Debug, Default)]
pub struct Books {
    budgets: HashMap<BudgetKey, i64>,
    next_budget: i64,
    windows: BTreeMap<WindowId, Row>,
    open: HashMap<CallId, Vec<Held>>,
    touched: BTreeSet<WindowId>,
    fresh: Vec<(i64, BudgetKey)>,
}

impl Books {
    /// Books as they were read from the file.
    pub fn new(
        budgets: HashMap<BudgetKey, i64>,
        windows: BTreeMap<WindowId, Row>,
        open: HashMap<CallId, Vec<Held>>,
    ) -> Self {
        let next_budget = budgets
            .values()
            .max()
            .map_or(1, |last| last.saturating_add(1));
        Self {
            budgets,
            next_budget,
            windows,
            open,
            touched: BTreeSet::new(),
            fresh: Vec::new(),
        }
    }

    /// Takes what a call needs from every budget, or from none.
    ///
    /// # Errors
    /// When a budget has no room.
    pub fn reserve(
        &mut self,
        call: CallId,
        charges: &[Charge],
        zone: &Zone,
        at: Timestamp,
    ) -> Result<Hold, Box<Shortage>> {
        let places: Vec<(i64, Span)> = charges
            .iter()
            .map(|charge| self.place(charge, zone, at))
            .collect();
        let short = charges
            .iter()
            .zip(&places)
            .filter_map(|(charge, place)| self.shortage(charge, *place));
        if let Some(shortage) = short.max_by_key(|shortage| shortage.span.ends) {
            return Err(Box::new(shortage));
        }
        let held: Vec<Held> = charges
            .iter()
            .zip(places)
            .map(|(charge, place)| self.take(charge, place))
            .collect();
        self.open.insert(call, held.clone());
        Ok(Hold { call, held })
    }

    /// Ends a call: it costs what it held, or nothing. `None` when it was ended before.
    pub fn close(&mut self, call: CallId, costs: bool) -> Option<Vec<Charged>> {
        let held = self.open.remove(&call)?;
        Some(
            held.into_iter()
                .map(|held| self.give_back(held, costs))
                .collect(),
        )
    }

    /// The rows of the budgets in which an open call holds something.
    pub fn budgets_of(&self, call: CallId) -> Vec<i64> {
        self.open
            .get(&call)
            .into_iter()
            .flatten()
            .map(|held| held.budget_id)
            .collect()
    }

    /// Calls that are open.
    pub fn open_calls(&self) -> impl Iterator<Item = CallId> {
        self.open.keys().copied()
    }

    /// How many calls are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// What changed since the last call of this function: new budgets, and the windows to be written.
    pub fn take_changes(&mut self) -> (NewBudgets, Vec<(WindowId, Row)>) {
        let touched = std::mem::take(&mut self.touched);
        let rows = touched
            .into_iter()
            .filter_map(|id| Some((id, *self.windows.get(&id)?)));
        let rows = rows.collect();
        (std::mem::take(&mut self.fresh), rows)
    }

    /// Forgets windows that ended and hold nothing; their rows stay in the file.
    pub fn forget_ended(&mut self, at: Timestamp) {
        self.windows
            .retain(|_, row| at < row.span.ends || row.count.held > 0);
    }

    fn place(&mut self, charge: &Charge, zone: &Zone, at: Timestamp) -> (i64, Span) {
        let id = self.budget_id(&charge.key);
        let latest = self
            .windows
            .range((id, Timestamp::from_micros(i64::MIN))..=(id, at))
            .next_back();
        match latest {
            Some((_, row)) if row.span.contains(at) => (id, row.span),
            _ => (id, span(charge.limit.window, zone, at)),
        }
    }

    fn budget_id(&mut self, key: &BudgetKey) -> i64 {
        if let Some(id) = self.budgets.get(key) {
            return *id;
        }
        let id = self.next_budget;
        self.next_budget = id.saturating_add(1);
        self.budgets.insert(key.clone(), id);
        self.fresh.push((id, key.clone()));
        id
    }

    fn shortage(&self, charge: &Charge, (id, span): (i64, Span)) -> Option<Shortage> {
        let mut count = self
            .windows
            .get(&(id, span.starts))
            .map(|row| row.count)
            .unwrap_or_default();
        count.limit = charge.limit.amount;
        let taken = count.used.checked_add(count.held);
        let taken = taken.and_then(|taken| taken.checked_add(charge.amount));
        let fits = taken.is_some_and(|taken| taken <= charge.limit.amount);
        (!fits).then(|| Shortage {
            charge: charge.clone(),
            span,
            count,
        })
    }

    fn take(&mut self, charge: &Charge, (id, span): (i64, Span)) -> Held {
        let count = Count::default();
        let row = self
            .windows
            .entry((id, span.starts))
            .or_insert(Row { span, count });
        row.count.limit = charge.limit.amount;
        row.count.limit_high = row.count.limit_high.max(charge.limit.amount);
        row.count.held = row.count.held.saturating_add(charge.amount);
        // INVARIANT: never more than the limit, at no committed instant.
        debug_assert!(row.count.used + row.count.held <= row.count.limit);
        self.touched.insert((id, span.starts));
        Held {
            key: charge.key.clone(),
            budget_id: id,
            starts: span.starts,
            amount: charge.amount,
            after: row.count,
        }
    }

    fn give_back(&mut self, held: Held, costs: bool) -> Charged {
        let id = (held.budget_id, held.starts);
        if let Some(row) = self.windows.get_mut(&id) {
            // INVARIANT: a hold lies in its window until it is closed.
            debug_assert!(row.count.held >= held.amount);
            row.count.held = row.count.held.saturating_sub(held.amount);
            if costs {
                row.count.used = row.count.used.saturating_add(held.amount);
            }
            self.touched.insert(id);
        }
        let (charged, released) = if costs {
            (held.amount, 0)
        } else {
            (0, held.amount)
        };
        Charged {
            key: held.key,
            starts: held.starts,
            charged,
            released,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Place;
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp::from_micros(1_795_172_400_000_000);

    fn charge(key: &str, limit: &str) -> Charge {
        Charge {
            key: BudgetKey::new(key),
            limit: limit.parse().unwrap(),
            amount: 1,
            place: Place {
                path: key.into(),
                line: 1,
            },
        }
    }

    fn id(number: u8) -> CallId {
        CallId::new(NOON, [number; 10])
    }

    #[test]
    fn a_hold_counts_at_once_and_a_release_gives_it_back() {
        let mut books = Books::default();
        let charges = [charge("a", "2/day")];
        let zone = Zone::utc();
        books.reserve(id(1), &charges, &zone, NOON).unwrap();
        books.reserve(id(2), &charges, &zone, NOON).unwrap();
        let shortage = books.reserve(id(3), &charges, &zone, NOON).unwrap_err();
        assert_eq!(
            (
                shortage.count.used,
                shortage.count.held,
                shortage.count.limit
            ),
            (0, 2, 2)
        );
        assert_eq!(books.close(id(1), false).unwrap()[0].released, 1);
        books.reserve(id(3), &charges, &zone, NOON).unwrap();
        assert_eq!(books.close(id(2), true).unwrap()[0].charged, 1);
        assert!(books.close(id(2), true).is_none(), "a call closes once");
        assert!(books.reserve(id(4), &charges, &zone, NOON).is_err());
    }

    #[test]
    fn several_budgets_are_taken_all_or_none() {
        let mut books = Books::default();
        let zone = Zone::utc();
        let both = [charge("wide", "9/day"), charge("narrow", "1/month")];
        books.reserve(id(1), &both, &zone, NOON).unwrap();
        let shortage = books.reserve(id(2), &both, &zone, NOON).unwrap_err();
        assert_eq!(shortage.charge.key.as_str(), "narrow");
        books.reserve(id(3), &both[..1], &zone, NOON).unwrap();
        let (_, rows) = books.take_changes();
        let held: Vec<u64> = rows.iter().map(|(_, row)| row.count.held).collect();
        assert_eq!(held, [2, 1]);
    }

    #[test]
    fn a_late_settlement_lands_in_the_window_of_its_reservation() {
        let mut books = Books::default();
        let zone = Zone::utc();
        let charges = [charge("a", "1/day")];
        books.reserve(id(1), &charges, &zone, NOON).unwrap();
        let tomorrow = NOON.after(std::time::Duration::from_secs(86_400));
        books.forget_ended(tomorrow);
        books.reserve(id(2), &charges, &zone, tomorrow).unwrap();
        let late = books.close(id(1), true).unwrap();
        assert_eq!(
            late[0].starts,
            span(crate::types::Window::Day, &zone, NOON).starts
        );
        assert!(books.reserve(id(3), &charges, &zone, tomorrow).is_err());
    }

    #[test]
    fn a_lowered_limit_admits_nothing_more_and_a_raised_one_at_once() {
        let mut books = Books::default();
        let zone = Zone::utc();
        for number in 1..=3 {
            books
                .reserve(id(number), &[charge("a", "3/day")], &zone, NOON)
                .unwrap();
        }
        assert!(
            books
                .reserve(id(4), &[charge("a", "2/day")], &zone, NOON)
                .is_err()
        );
        books
            .reserve(id(5), &[charge("a", "4/day")], &zone, NOON)
            .unwrap();
    }

    proptest! {
        #[test]
        fn the_books_agree_with_a_naive_count(
            steps in proptest::collection::vec((0u8..3, 0usize..3, 0u64..30), 1..120),
        ) {
            let mut books = Books::default();
            let zone = Zone::utc();
            let limits = ["1/hour", "3/day", "0/day"];
            let mut now = NOON;
            let mut open: Vec<(CallId, usize, Timestamp)> = Vec::new();
            let mut spent: HashMap<(usize, Timestamp), u64> = HashMap::new();
            for (number, (step, which, minutes)) in (0u8..).zip(steps) {
                now = now.after(std::time::Duration::from_secs(minutes * 60));
                let charge = charge(&format!("b{which}"), limits[which]);
                let starts = span(charge.limit.window, &zone, now).starts;
                let taken = spent.get(&(which, starts)).copied().unwrap_or(0)
                    + open.iter().filter(|(_, b, s)| (*b, *s) == (which, starts)).count() as u64;
                match step {
                    0 | 1 if open.len() < 200 => {
                        let call = CallId::new(now, [number; 10]);
                        let fits = taken < charge.limit.amount;
                        prop_assert_eq!(books.reserve(call, &[charge], &zone, now).is_ok(), fits);
                        if fits {
                            open.push((call, which, starts));
                        }
                    }
                    _ => if let Some((call, which, starts)) = open.pop() {
                        let costs = minutes % 2 == 0;
                        prop_assert!(books.close(call, costs).is_some());
                        *spent.entry((which, starts)).or_default() += u64::from(costs);
                    }
                }
                prop_assert_eq!(books.open_count(), open.len());
            }
        }
    }
}
