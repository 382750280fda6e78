//! The counts in memory, as they stand after the last commit plus the batch at hand. Pure.
//!
//! The writer alone has them. What it changes here it writes in the same transaction; when that fails, the
//! books are thrown away and read back from the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::policy::Charge;
use crate::types::{BudgetKey, CallId, Timestamp, Window, Zone};

use super::rings::{Rings, frees};
use super::{Span, span};

mod corrections;

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
    /// Its window; it ends when there is room for this call, as far as that is known now.
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
    rings: Rings,
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
            rings: Rings::default(),
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
        let short: Vec<Shortage> = charges
            .iter()
            .zip(&places)
            .filter_map(|(charge, place)| self.shortage(charge, *place, at))
            .collect();
        let last = short.into_iter().max_by_key(|shortage| shortage.span.ends);
        if let Some(shortage) = last {
            return Err(Box::new(shortage));
        }
        let held: Vec<Held> = charges
            .iter()
            .zip(places)
            .map(|(charge, place)| self.take(charge, place, at))
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
        self.rings.forget();
        self.windows
            .retain(|_, row| at < row.span.ends || row.count.held > 0);
    }

    fn place(&mut self, charge: &Charge, zone: &Zone, at: Timestamp) -> (i64, Span) {
        let id = self.budget_id(&charge.key);
        let fresh = || span(charge.limit.window, charge.limit.amount, zone, at);
        if let Window::Rolling(_) = charge.limit.window {
            return (id, fresh());
        }
        let latest = self
            .windows
            .range((id, Timestamp::from_micros(i64::MIN))..=(id, at))
            .next_back();
        match latest {
            Some((_, row)) if row.span.contains(at) => (id, row.span),
            _ => (id, fresh()),
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

    /// What must stay within the limit: the figures of the window, or of all that a rolling one counts now.
    fn count(&mut self, charge: &Charge, place: (i64, Span), at: Timestamp) -> Count {
        let (id, span) = place;
        let count = match charge.limit.window {
            Window::Rolling(_) => self.rings.count(&self.windows, id, at),
            Window::Calendar(..) | Window::Total => self
                .windows
                .get(&(id, span.starts))
                .map(|row| row.count)
                .unwrap_or_default(),
        };
        Count {
            limit: charge.limit.amount,
            ..count
        }
    }

    fn shortage(&mut self, charge: &Charge, place: (i64, Span), at: Timestamp) -> Option<Shortage> {
        let count = self.count(charge, place, at);
        let taken = count.used.checked_add(count.held);
        let wanted = taken.and_then(|taken| taken.checked_add(charge.amount));
        if wanted.is_some_and(|wanted| wanted <= count.limit) {
            return None;
        }
        let span = match charge.limit.window {
            Window::Calendar(..) | Window::Total => place.1,
            Window::Rolling(length) => {
                let too_many = wanted.map_or(u64::MAX, |wanted| wanted.saturating_sub(count.limit));
                // A call that never fits is told the end of all that counts now.
                let ends = frees(&self.windows, place.0, at, too_many).unwrap_or(place.1.ends);
                let starts = at.micros().saturating_sub(length.micros());
                let starts = Timestamp::from_micros(starts);
                Span { starts, ends }
            }
        };
        Some(Shortage {
            charge: charge.clone(),
            span,
            count,
        })
    }

    fn take(&mut self, charge: &Charge, place: (i64, Span), at: Timestamp) -> Held {
        let (id, span) = place;
        let count = Count::default();
        let row = self
            .windows
            .entry((id, span.starts))
            .or_insert(Row { span, count });
        let before = row.count;
        // A rolling window whose limit was raised may count in longer pieces from now on.
        row.span.ends = row.span.ends.max(span.ends);
        row.count.limit = charge.limit.amount;
        row.count.limit_high = row.count.limit_high.max(charge.limit.amount);
        row.count.held = row.count.held.saturating_add(charge.amount);
        let after = row.count;
        self.rings.change((id, span.starts), before, after);
        self.touched.insert((id, span.starts));
        let mut sum = self.count(charge, place, at);
        sum.limit_high = after.limit_high;
        // INVARIANT: never more than the limit, at no committed instant.
        debug_assert!(sum.used + sum.held <= sum.limit);
        Held {
            key: charge.key.clone(),
            budget_id: id,
            starts: span.starts,
            amount: charge.amount,
            after: sum,
        }
    }

    fn give_back(&mut self, held: Held, costs: bool) -> Charged {
        let id = (held.budget_id, held.starts);
        if let Some(row) = self.windows.get_mut(&id) {
            let before = row.count;
            // INVARIANT: a hold lies in its window until it is closed.
            debug_assert!(row.count.held >= held.amount);
            row.count.held = row.count.held.saturating_sub(held.amount);
            if costs {
                row.count.used = row.count.used.saturating_add(held.amount);
            }
            self.rings.change(id, before, row.count);
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
    use crate::types::Period;
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
            span(Window::calendar(Period::Day), 1, &zone, NOON).starts
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

    #[test]
    fn a_rolling_budget_has_room_again_as_its_oldest_call_counts_no_more() {
        let mut books = Books::default();
        let zone = Zone::utc();
        let charges = [charge("a", "2/24h")];
        let hours = |hours: u64| NOON.after(std::time::Duration::from_secs(hours * 3_600));
        books.reserve(id(1), &charges, &zone, NOON).unwrap();
        books.close(id(1), true).unwrap();
        books.reserve(id(2), &charges, &zone, hours(6)).unwrap();
        let shortage = books.reserve(id(3), &charges, &zone, hours(7)).unwrap_err();
        assert_eq!((shortage.count.used, shortage.count.held), (1, 1));
        assert_eq!(shortage.span.ends, hours(24));
        let just_before = Timestamp::from_micros(hours(24).micros() - 1);
        assert!(books.reserve(id(3), &charges, &zone, just_before).is_err());
        books.forget_ended(hours(24));
        books.reserve(id(3), &charges, &zone, hours(24)).unwrap();
        let shortage = books
            .reserve(id(4), &charges, &zone, hours(25))
            .unwrap_err();
        assert_eq!(shortage.span.ends, hours(30));
        books.close(id(2), false).unwrap();
        books.reserve(id(4), &charges, &zone, hours(25)).unwrap();
    }

    #[test]
    fn a_total_is_never_given_back_by_time() {
        let mut books = Books::default();
        let charges = [charge("a", "1 total")];
        books.reserve(id(1), &charges, &Zone::utc(), NOON).unwrap();
        books.close(id(1), true).unwrap();
        let later = NOON.after(std::time::Duration::from_secs(100 * 366 * 86_400));
        books.forget_ended(later);
        let shortage = books
            .reserve(id(2), &charges, &Zone::utc(), later)
            .unwrap_err();
        assert!(shortage.span.never_ends());
    }

    proptest! {
        #[test]
        fn a_rolling_budget_is_exact_at_every_instant(
            steps in proptest::collection::vec((0u8..4, 0u64..40), 1..200),
            limit in 1u64..6,
        ) {
            let mut books = Books::default();
            let zone = Zone::utc();
            let charges = [charge("a", &format!("{limit}/1h"))];
            let hour = std::time::Duration::from_secs(3_600);
            let mut now = NOON;
            // What is taken and not given back, by the instant it was taken.
            let mut taken: Vec<(CallId, Timestamp)> = Vec::new();
            let mut open: Vec<CallId> = Vec::new();
            for (number, (step, minutes)) in (0u8..).zip(steps) {
                now = now.after(std::time::Duration::from_secs(minutes * 60));
                match step {
                    0 | 1 => {
                        let counted = taken.iter().filter(|(_, at)| now < at.after(hour)).count();
                        let call = CallId::new(now, [number; 10]);
                        let answer = books.reserve(call, &charges, &zone, now);
                        prop_assert_eq!(answer.is_ok(), (counted as u64) < limit);
                        if let Err(shortage) = answer {
                            let oldest = taken.iter().filter(|(_, at)| now < at.after(hour));
                            let room = oldest.map(|(_, at)| at.after(hour)).min();
                            prop_assert_eq!(Some(shortage.span.ends), room);
                        } else {
                            taken.push((call, now));
                            open.push(call);
                        }
                    }
                    2 => if let Some(call) = open.pop() {
                        let costs = minutes % 2 == 0;
                        prop_assert!(books.close(call, costs).is_some());
                        if !costs {
                            taken.retain(|(other, _)| *other != call);
                        }
                    },
                    _ => books.forget_ended(now),
                }
            }
        }

        #[test]
        fn a_rolling_budget_of_many_is_never_over(
            minutes in proptest::collection::vec(0u64..5, 1..60),
        ) {
            let mut books = Books::default();
            let zone = Zone::utc();
            let mut each = charge("a", "5000/1h");
            each.amount = 700;
            let hour = std::time::Duration::from_secs(3_600);
            let mut now = NOON;
            let mut taken: Vec<Timestamp> = Vec::new();
            for (number, minutes) in (0u8..).zip(minutes) {
                now = now.after(std::time::Duration::from_secs(minutes * 60));
                let call = CallId::new(now, [number; 10]);
                let fits = books.reserve(call, std::slice::from_ref(&each), &zone, now).is_ok();
                if fits {
                    taken.push(now);
                }
                let counted = taken.iter().filter(|at| now < at.after(hour)).count();
                prop_assert!(counted * 700 <= 5_000);
                // At most one piece of a minute is counted for longer than it has to be.
                let sure = taken.iter().filter(|at| now < at.after(hour + hour / 60)).count();
                prop_assert!(fits || sure >= 7, "{} of 7, and room was refused", sure);
            }
        }

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
                let starts = span(charge.limit.window, 1, &zone, now).starts;
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
