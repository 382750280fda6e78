//! The counts in memory, as they stand after the last commit plus the batch at hand. Pure.
//!
//! The writer alone has them. What it changes here it writes in the same transaction; when that fails, the
//! books are thrown away and read back from the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Charge;
use crate::types::{BudgetKey, CallId, Timestamp, Window, Zone};

use super::count::{
    Charged, Count, Ending, Held, Hold, Hours, NewBudgets, Row, Shortage, WindowId, settle,
};
use super::rings::{Rings, frees};
use super::seed::{self, Relatives};
use super::{Span, Standing, span};

mod corrections;

/// What the books are read from: budgets, their windows, open calls, and holds that wait for the call that goes on with
/// them.
#[derive(Debug, Default)]
pub struct Contents {
    /// The row of each budget.
    pub budgets: HashMap<BudgetKey, i64>,
    /// Windows that have not ended or hold something.
    pub windows: BTreeMap<WindowId, Row>,
    /// Calls that are not closed.
    pub open: HashMap<CallId, Vec<Held>>,
    /// Calls that are closed and whose holds are kept.
    pub kept: HashMap<CallId, Kept>,
}

/// A hold that waits for the call that goes on with its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What is held.
    pub held: Vec<Held>,
    /// Until when.
    pub until: Timestamp,
}

/// All open windows and all open calls.
#[derive(Debug, Default)]
pub struct Books {
    contents: Contents,
    next_budget: i64,
    touched: BTreeSet<WindowId>,
    fresh: NewBudgets,
    hours: BTreeMap<(i64, Timestamp), i64>,
    frozen: BTreeSet<WindowId>,
    rings: Rings,
}

impl Books {
    /// Books as they were read from the file.
    pub fn new(contents: Contents) -> Self {
        let next_budget = contents
            .budgets
            .values()
            .max()
            .map_or(1, |last| last.saturating_add(1));
        let frozen = contents.windows.iter().filter(|(_, row)| row.frozen);
        Self {
            frozen: frozen.map(|(id, _)| *id).collect(),
            contents,
            next_budget,
            ..Self::default()
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
        self.contents.open.insert(call, held.clone());
        Ok(Hold { call, held })
    }

    /// Ends a call. `None` when it was ended before.
    pub fn close(&mut self, hold: &Hold, ending: &Ending) -> Option<Vec<Charged>> {
        self.contents.open.remove(&hold.call)?;
        if let Ending::Kept(until) = ending {
            let (held, until) = (hold.held.clone(), *until);
            if !held.is_empty() {
                self.contents.kept.insert(hold.call, Kept { held, until });
            }
        }
        Some(self.settle(&hold.held, ending))
    }

    /// Ends a call of which nobody knows more than what it holds. `None` when it was ended before.
    pub fn abandon(&mut self, call: CallId, ending: &Ending) -> Option<Vec<Charged>> {
        let held = self.contents.open.remove(&call)?;
        Some(self.settle(&held, ending))
    }

    /// Takes over what a closed call keeps, for the call that goes on with it. Without a hold that waits there is
    /// nothing to take, and nothing to pay: it was paid when its time was over.
    pub fn take_over(&mut self, from: CallId, call: CallId) -> Hold {
        let kept = self.contents.kept.remove(&from);
        let mut held = kept.map(|kept| kept.held).unwrap_or_default();
        for held in &mut held {
            held.inherited = true;
        }
        self.contents.open.insert(call, held.clone());
        Hold { call, held }
    }

    /// Ends what is kept and whose time is over: it costs what it holds.
    pub fn expire(&mut self, at: Timestamp) -> Vec<(CallId, Vec<Held>, Vec<Charged>)> {
        let late = self.contents.kept.extract_if(|_, kept| kept.until <= at);
        let mut late: Vec<(CallId, Kept)> = late.collect();
        late.sort_unstable_by_key(|(call, kept)| (kept.until, *call));
        late.into_iter()
            .map(|(call, kept)| {
                let charged = self.settle(&kept.held, &Ending::Unclear);
                (call, kept.held, charged)
            })
            .collect()
    }

    /// Whether this count was there before.
    pub fn knows(&self, key: &BudgetKey) -> bool {
        self.contents.budgets.contains_key(key)
    }

    /// Earlier counts of the rule that a new one belongs to.
    pub(super) fn relatives(&self, key: &BudgetKey, beside: &[Charge]) -> Relatives {
        let known = self.contents.budgets.iter();
        seed::relatives(key, beside, known.map(|(key, id)| (key, *id)))
    }

    /// What is held in these counts, in windows that overlap a span.
    pub fn held_in(&self, budgets: &[i64], during: Span) -> u64 {
        let rows = budgets.iter().flat_map(|id| self.rows(*id));
        let rows =
            rows.filter(|(_, row)| row.span.starts < during.ends && during.starts < row.span.ends);
        rows.fold(0, |sum, (_, row)| sum.saturating_add(row.count.held))
    }

    /// Begins a count with what was used before it was there.
    pub fn begin(&mut self, charge: &Charge, used: &[(Span, u64)]) {
        let id = self.budget_id(&charge.key);
        for (span, used) in used {
            let place = (id, span.starts);
            let row = self.contents.windows.entry(place);
            let row = row.or_insert(Row::empty(*span));
            let before = row.count;
            row.count.used = row.count.used.saturating_add(*used);
            let taken = row.count.used.saturating_add(row.count.held);
            row.count.limit = charge.limit.amount;
            row.count.limit_high = row.count.limit_high.max(charge.limit.amount).max(taken);
            self.rings.change(place, before, row.count);
            self.touched.insert(place);
        }
    }

    /// How a budget stands at an instant. One in which nothing was ever counted is not entered for that.
    pub fn standing(&mut self, charge: &Charge, zone: &Zone, at: Timestamp) -> Standing {
        let limit = charge.limit.clone();
        let known = self.knows(&charge.key);
        let place = known.then(|| self.place(charge, zone, at));
        let count = place.map(|place| self.count(charge, place, at));
        let count = count.unwrap_or_default();
        let (resets_at, length) = match limit.window {
            Window::Calendar(..) => {
                let fresh = || span(limit.window, limit.amount, zone, at);
                let span = place.map_or_else(fresh, |(_, span)| span);
                (Some(span.ends), Some(span.ends.since(span.starts)))
            }
            Window::Rolling(length) => {
                let windows = &self.contents.windows;
                let first = place.and_then(|(id, _)| frees(windows, id, at, 1));
                let micros = u64::try_from(length.micros()).unwrap_or_default();
                (first, Some(Duration::from_micros(micros)))
            }
            Window::Total => (None, None),
        };
        Standing {
            name: Arc::clone(&charge.place.path),
            limit,
            used: count.used,
            held: count.held,
            frozen: place.is_some_and(|(id, _)| self.frozen_at(id, at).is_some()),
            resets_at,
            length,
            at,
        }
    }

    /// The rows of the budgets in which an open call holds something.
    pub fn budgets_of(&self, call: CallId) -> Vec<i64> {
        let held = self.contents.open.get(&call).into_iter().flatten();
        held.map(|held| held.budget_id).collect()
    }

    /// Calls that are open.
    pub fn open_calls(&self) -> impl Iterator<Item = CallId> {
        self.contents.open.keys().copied()
    }

    /// How many calls are open.
    pub fn open_count(&self) -> usize {
        self.contents.open.len()
    }

    /// What changed since the last call of this function: new budgets, the windows to be written, and what was charged
    /// by the hour.
    pub fn take_changes(&mut self) -> (NewBudgets, Vec<(WindowId, Row)>, Hours) {
        let touched = std::mem::take(&mut self.touched);
        let rows = touched
            .into_iter()
            .filter_map(|id| Some((id, *self.contents.windows.get(&id)?)));
        let rows = rows.collect();
        let hours = std::mem::take(&mut self.hours).into_iter();
        let hours = hours.filter(|(_, charged)| *charged != 0).collect();
        (std::mem::take(&mut self.fresh), rows, hours)
    }

    /// Forgets windows that ended and hold nothing; their rows stay in the file.
    pub fn forget_ended(&mut self, at: Timestamp) {
        self.rings.forget();
        let windows = &mut self.contents.windows;
        windows.retain(|_, row| at < row.span.ends || row.count.held > 0);
        self.frozen.retain(|id| windows.contains_key(id));
    }

    fn place(&mut self, charge: &Charge, zone: &Zone, at: Timestamp) -> (i64, Span) {
        let id = self.budget_id(&charge.key);
        let fresh = || span(charge.limit.window, charge.limit.amount, zone, at);
        if let Window::Rolling(_) = charge.limit.window {
            return (id, fresh());
        }
        let latest = self
            .contents
            .windows
            .range((id, Timestamp::from_micros(i64::MIN))..=(id, at))
            .next_back();
        match latest {
            Some((_, row)) if row.span.contains(at) => (id, row.span),
            _ => (id, fresh()),
        }
    }

    fn budget_id(&mut self, key: &BudgetKey) -> i64 {
        if let Some(id) = self.contents.budgets.get(key) {
            return *id;
        }
        let id = self.next_budget;
        self.next_budget = id.saturating_add(1);
        self.contents.budgets.insert(key.clone(), id);
        self.fresh.push((id, key.clone()));
        id
    }

    /// What must stay within the limit: the figures of the window, or of all that a rolling one counts now.
    fn count(&mut self, charge: &Charge, place: (i64, Span), at: Timestamp) -> Count {
        let (id, span) = place;
        let count = match charge.limit.window {
            Window::Rolling(_) => self.rings.count(&self.contents.windows, id, at),
            Window::Calendar(..) | Window::Total => self
                .contents
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
        if let Some(span) = self.frozen_at(place.0, at) {
            return Some(Shortage {
                charge: charge.clone(),
                span,
                count,
                frozen: true,
            });
        }
        let taken = count.used.checked_add(count.held);
        let wanted = taken.and_then(|taken| taken.checked_add(charge.amount));
        if wanted.is_some_and(|wanted| wanted <= count.limit) {
            return None;
        }
        let too_many = wanted.map_or(u64::MAX, |wanted| wanted.saturating_sub(count.limit));
        Some(Shortage {
            charge: charge.clone(),
            span: self.room_after(charge, place, at, too_many),
            count,
            frozen: false,
        })
    }

    /// The window that ends when so much more has room.
    fn room_after(&self, charge: &Charge, place: (i64, Span), at: Timestamp, more: u64) -> Span {
        match charge.limit.window {
            Window::Calendar(..) | Window::Total => place.1,
            Window::Rolling(length) => {
                // A call that never fits is told the end of all that counts now.
                let ends = frees(&self.contents.windows, place.0, at, more);
                let starts = at.micros().saturating_sub(length.micros());
                Span {
                    starts: Timestamp::from_micros(starts),
                    ends: ends.unwrap_or(place.1.ends),
                }
            }
        }
    }

    /// The window that keeps a budget frozen for longest.
    fn frozen_at(&self, id: i64, at: Timestamp) -> Option<Span> {
        let all = (id, Timestamp::from_micros(i64::MIN))..=(id, Timestamp::from_micros(i64::MAX));
        let rows = self.frozen.range(all);
        let spans = rows.filter_map(|id| Some(self.contents.windows.get(id)?.span));
        spans
            .filter(|span| at < span.ends)
            .max_by_key(|span| span.ends)
    }

    fn rows(&self, id: i64) -> impl Iterator<Item = (&WindowId, &Row)> {
        let all = (id, Timestamp::from_micros(i64::MIN))..=(id, Timestamp::from_micros(i64::MAX));
        self.contents.windows.range(all)
    }

    fn take(&mut self, charge: &Charge, place: (i64, Span), at: Timestamp) -> Held {
        let (id, span) = place;
        let row = self.contents.windows.entry((id, span.starts));
        let row = row.or_insert(Row::empty(span));
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
            taken: at,
            amount: charge.amount,
            inherited: false,
            reported: charge.reported.clone(),
            refund: charge.refund,
            after: sum,
        }
    }

    fn settle(&mut self, held: &[Held], ending: &Ending) -> Vec<Charged> {
        let numbered = held.iter().enumerate();
        let charged = numbered.map(|(index, held)| {
            let charged = settle(held, ending, index);
            self.book(held, &charged);
            charged
        });
        charged.collect()
    }

    fn book(&mut self, held: &Held, charged: &Charged) {
        let id = (held.budget_id, held.starts);
        if charged.kept > 0 {
            return;
        }
        if let Some(row) = self.contents.windows.get_mut(&id) {
            let before = row.count;
            // INVARIANT: a hold lies in its window until it is closed.
            debug_assert!(row.count.held >= held.amount);
            row.count.held = row.count.held.saturating_sub(held.amount);
            row.count.used = row.count.used.saturating_add(charged.charged);
            row.overrun = row.overrun.saturating_add(charged.overrun);
            if charged.overrun > 0 {
                row.frozen = true;
                self.frozen.insert(id);
            }
            self.rings.change(id, before, row.count);
            self.touched.insert(id);
        }
        let hour = (held.budget_id, seed::hour_of(held.taken));
        let amount = i64::try_from(charged.charged).unwrap_or(i64::MAX);
        let sum = self.hours.entry(hour).or_default();
        *sum = sum.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Place, Refund};
    use crate::types::Period;
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp::from_micros(1_795_172_400_000_000);

    fn charge(key: &str, limit: &str) -> Charge {
        Charge {
            key: BudgetKey::new(key),
            limit: limit.parse().unwrap(),
            amount: 1,
            reported: None,
            refund: Refund::default(),
            place: Place {
                path: key.into(),
                line: 1,
            },
        }
    }

    fn ending(costs: bool) -> &'static Ending {
        if costs {
            &Ending::Unclear
        } else {
            &Ending::Unsent
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
        assert_eq!(
            books.abandon(id(1), &Ending::Unsent).unwrap()[0].released,
            1
        );
        books.reserve(id(3), &charges, &zone, NOON).unwrap();
        assert_eq!(
            books.abandon(id(2), &Ending::Unclear).unwrap()[0].charged,
            1
        );
        assert!(
            books.abandon(id(2), &Ending::Unclear).is_none(),
            "a call closes once"
        );
        assert!(books.reserve(id(4), &charges, &zone, NOON).is_err());
    }

    #[test]
    fn a_round_that_never_left_costs_what_an_earlier_one_took() {
        let mut books = Books::default();
        let charges = [charge("a", "2/day")];
        let first = books.reserve(id(1), &charges, &Zone::utc(), NOON).unwrap();
        let kept = books.close(&first, &Ending::Kept(NOON)).unwrap();
        assert_eq!((kept[0].charged, kept[0].released, kept[0].kept), (0, 0, 1));
        let second = books.take_over(id(1), id(2));
        let charged = books.close(&second, &Ending::Unsent).unwrap();
        assert_eq!((charged[0].charged, charged[0].released), (1, 0));
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
        let (_, rows, _) = books.take_changes();
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
        let late = books.abandon(id(1), &Ending::Unclear).unwrap();
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
    fn a_standing_says_what_is_left_and_when_it_begins_anew_and_enters_nothing() {
        let mut books = Books::default();
        let zone = Zone::utc();
        let day = std::time::Duration::from_secs(86_400);
        let charges = [
            charge("a", "3/day"),
            charge("b", "3/24h"),
            charge("c", "3 total"),
        ];
        let figures = |books: &mut Books, at: Timestamp| {
            charges.each_ref().map(|charge| {
                let standing = books.standing(charge, &zone, at);
                let resets = standing.resets_in().map(|left| left.as_secs());
                (standing.used, standing.held, standing.remaining(), resets)
            })
        };
        let rest = Some(46_800);
        let unused = [(0, 0, 3, rest), (0, 0, 3, None), (0, 0, 3, None)];
        assert_eq!(figures(&mut books, NOON), unused);
        assert_eq!(books.take_changes(), (Vec::new(), Vec::new(), Vec::new()));
        let hold = books.reserve(id(1), &charges, &zone, NOON).unwrap();
        books.close(&hold, ending(true)).unwrap();
        let later = NOON.after(std::time::Duration::from_secs(60));
        let hold = books.reserve(id(2), &charges, &zone, later).unwrap();
        let taken = [
            (1, 1, 1, Some(46_740)),
            (1, 1, 1, Some(86_340)),
            (1, 1, 1, None),
        ];
        assert_eq!(figures(&mut books, later), taken);
        books.close(&hold, ending(false)).unwrap();
        let tomorrow = [(0, 0, 3, rest), (0, 0, 3, None), (1, 0, 2, None)];
        assert_eq!(figures(&mut books, NOON.after(day)), tomorrow);
        let lengths = charges
            .each_ref()
            .map(|charge| books.standing(charge, &zone, NOON.after(day)).length);
        assert_eq!(lengths, [Some(day), Some(day), None]);
    }

    #[test]
    fn a_rolling_budget_has_room_again_as_its_oldest_call_counts_no_more() {
        let mut books = Books::default();
        let zone = Zone::utc();
        let charges = [charge("a", "2/24h")];
        let hours = |hours: u64| NOON.after(std::time::Duration::from_secs(hours * 3_600));
        books.reserve(id(1), &charges, &zone, NOON).unwrap();
        books.abandon(id(1), &Ending::Unclear).unwrap();
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
        books.abandon(id(2), &Ending::Unsent).unwrap();
        books.reserve(id(4), &charges, &zone, hours(25)).unwrap();
    }

    #[test]
    fn a_total_is_never_given_back_by_time() {
        let mut books = Books::default();
        let charges = [charge("a", "1 total")];
        books.reserve(id(1), &charges, &Zone::utc(), NOON).unwrap();
        books.abandon(id(1), &Ending::Unclear).unwrap();
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
                        prop_assert!(books.abandon(call, ending(costs)).is_some());
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
                        prop_assert!(books.abandon(call, ending(costs)).is_some());
                        *spent.entry((which, starts)).or_default() += u64::from(costs);
                    }
                }
                prop_assert_eq!(books.open_count(), open.len());
            }
        }
    }
}
