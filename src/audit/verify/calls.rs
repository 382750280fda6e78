//! Every call opens once and closes once, and the budgets count what closed calls cost. Pure.

use std::collections::{BTreeMap, HashMap};

use super::Fault;
use super::columns::call;
use super::ledger::{Asked, Difference, LedgerTables, Sums, Windows, compare};
use super::meta::{Meta, MetaBudget};
use super::refunds::Refunds;
use super::seam::Total;
use crate::types::{BudgetKey, CallId, Timestamp};

/// One window of one budget: the number of its key, and its start.
type WindowId = (usize, i64);

#[derive(Debug, PartialEq, Eq)]
struct Holding {
    window: WindowId,
    amount: i64,
}

/// The calls and the counts so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// The keys of budgets, numbered, so that each is kept once.
    keys: HashMap<String, usize>,
    open: HashMap<CallId, Vec<Holding>>,
    /// What closed calls keep for those that go on with them.
    kept: HashMap<CallId, Vec<Holding>>,
    used: HashMap<WindowId, i64>,
    /// What servers reported beyond what was held, and whether the budget is frozen for it.
    overrun: HashMap<WindowId, (i64, bool)>,
    pub(super) refunds: Refunds,
    /// When the first event was written.
    since: Option<i64>,
    /// Set when there were events before the first one here.
    is_part: bool,
}

impl Calls {
    /// From here on, calls may close that opened earlier, and budgets may count more.
    pub(super) fn resume(&mut self) {
        self.is_part = true;
    }

    /// Goes on after events that were pruned: what they added up to. The calls that were under way come before.
    pub(super) fn go_on(&mut self, totals: &[Total], last: i64) {
        self.used.clear();
        self.overrun.clear();
        for total in totals {
            let window = (self.number(&total.key), total.window);
            self.used.insert(window, total.used);
            if total.overrun != 0 || total.frozen {
                self.overrun.insert(window, (total.overrun, total.frozen));
            }
        }
        self.refunds.go_on(last);
    }

    /// What every window has used, in order.
    pub(super) fn totals(&self) -> Vec<Total> {
        let windows = self.windows().into_iter();
        let totals = windows.map(|((key, window), sums)| Total {
            key,
            window,
            used: sums.used,
            overrun: sums.overrun,
            frozen: sums.frozen,
        });
        totals
            .filter(|total| total.used != 0 || total.overrun != 0 || total.frozen)
            .collect()
    }

    /// Whether a call is open, or something is kept for the one that goes on with it.
    pub(super) fn is_under_way(&self, call: CallId) -> bool {
        self.open.contains_key(&call) || self.kept.contains_key(&call)
    }

    /// Calls that did not close yet.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Takes one event in.
    pub(super) fn event(&mut self, seq: i64, meta: &Meta<'_>) -> Option<Fault> {
        self.since.get_or_insert(meta.at_us);
        let what = match (&*meta.kind, call(meta.call.as_ref())) {
            ("admitted", Some(call)) => self.open(call, meta),
            ("settled" | "failed" | "released" | "abandoned", Some(call)) => self.close(call, meta),
            ("expired", _) => {
                let kept = call(meta.of.as_ref()).and_then(|call| self.kept.remove(&call));
                match kept {
                    Some(held) => self.charge(&held, &meta.budgets),
                    None => self.unknown(&meta.budgets, "what runs out was not kept"),
                }
            }
            ("refunded", _) => {
                for budget in &meta.budgets {
                    let window = self.window(budget);
                    self.use_up(window, budget.refunded.saturating_neg());
                }
                self.refunds.note(seq, meta)
            }
            ("unfrozen", _) => {
                for budget in &meta.budgets {
                    let window = self.window(budget);
                    self.overrun.entry(window).or_default().1 = false;
                }
                None
            }
            ("seeded", _) => {
                for budget in &meta.budgets {
                    let window = self.window(budget);
                    self.use_up(window, budget.seeded);
                }
                None
            }
            _ => None,
        };
        what.map(|what| Fault::Call { seq, what })
    }

    fn open(&mut self, call: CallId, meta: &Meta<'_>) -> Option<&'static str> {
        let held = meta.budgets.iter().map(|budget| self.holding(budget));
        let held: Vec<Holding> = held.collect();
        let before = self::call(meta.continues.as_ref());
        let kept = before.and_then(|before| self.kept.remove(&before));
        let is_other = kept.is_some_and(|kept| !are_same(&kept, &held));
        if self.open.insert(call, held).is_some() {
            return Some("the call opens a second time");
        }
        is_other.then_some("the call goes on with other budgets than were kept for it")
    }

    fn close(&mut self, call: CallId, meta: &Meta<'_>) -> Option<&'static str> {
        let Some(held) = self.open.remove(&call) else {
            return self.unknown(&meta.budgets, "the call closes without being open");
        };
        let fault = self.charge(&held, &meta.budgets);
        if meta.budgets.iter().any(|budget| budget.kept > 0) {
            self.kept.insert(call, held);
        }
        fault
    }

    /// What was charged for something whose beginning was before the first event here, or nowhere.
    fn unknown(&mut self, charged: &[MetaBudget<'_>], what: &'static str) -> Option<&'static str> {
        self.add(charged);
        (!self.is_part).then_some(what)
    }

    fn holding(&mut self, budget: &MetaBudget<'_>) -> Holding {
        Holding {
            window: self.window(budget),
            amount: budget.amount,
        }
    }

    fn window(&mut self, budget: &MetaBudget<'_>) -> WindowId {
        (self.number(&budget.key), budget.window)
    }

    fn number(&mut self, key: &str) -> usize {
        if let Some(number) = self.keys.get(key) {
            return *number;
        }
        let number = self.keys.len();
        self.keys.insert(key.to_owned(), number);
        number
    }

    fn charge(&mut self, held: &[Holding], charged: &[MetaBudget<'_>]) -> Option<&'static str> {
        let windows = self.add(charged);
        let mut pairs = windows.iter().zip(charged);
        let same = held.len() == charged.len()
            && pairs.all(|(window, budget)| {
                held.iter().any(|holding| {
                    holding.window == *window && (0..=holding.amount).contains(&budget.charged)
                })
            });
        (!same).then_some("the call closes with other budgets than it opened with")
    }

    /// Counts what a closed call cost. Returns the windows, in the same order.
    fn add(&mut self, charged: &[MetaBudget<'_>]) -> Vec<WindowId> {
        let mut windows = Vec::with_capacity(charged.len());
        for budget in charged {
            let window = self.window(budget);
            self.use_up(window, budget.charged);
            if budget.overrun > 0 {
                let (over, frozen) = self.overrun.entry(window).or_default();
                *over = over.saturating_add(budget.overrun);
                *frozen = true;
            }
            windows.push(window);
        }
        windows
    }

    fn use_up(&mut self, window: WindowId, amount: i64) {
        let used = self.used.entry(window).or_default();
        *used = used.saturating_add(amount);
    }

    /// Compares the tables with the events, after the last of them. Of a part of the log, only what it is enough for.
    pub(super) fn differences(&self, tables: LedgerTables) -> Vec<Difference> {
        let LedgerTables {
            mut windows,
            open_calls,
            holds,
            refunds,
            ..
        } = tables;
        let said = self.windows();
        if self.is_part {
            self.forget_earlier(&mut windows, &said);
        }
        let mut all = compare(said, windows)
            .map(|((key, starts), events, counted)| Difference::Window {
                key: BudgetKey::new(&key),
                starts: Timestamp::from_micros(starts),
                counted: counted.unwrap_or_default(),
                events: events.unwrap_or_default(),
            })
            .collect::<Vec<_>>();
        let open = self.open.keys().map(|call| (*call, ())).collect();
        let open_calls = open_calls.into_iter().map(|call| (call, ())).collect();
        all.extend(
            compare(open, open_calls).map(|(call, open, _)| Difference::Call {
                call,
                is_open: open.is_some(),
            }),
        );
        let differing = compare(self.holds(), holds);
        all.extend(
            differing.map(|((call, key, starts), amount, _)| Difference::Hold {
                call,
                key: BudgetKey::new(&key),
                starts: Timestamp::from_micros(starts),
                amount: amount.unwrap_or(0),
                is_kept: self.kept.contains_key(&call),
            }),
        );
        // Those of events that were pruned go with them, some later than others.
        let listed = refunds
            .into_iter()
            .filter(|(_, seq, _)| !self.refunds.is_pruned(*seq));
        let listed = listed.map(|(call, seq, _)| (call, seq));
        let differing = compare(self.refunds.calls(), listed.collect());
        all.extend(differing.map(|(call, refunded, _)| Difference::Refund { call, refunded }));
        if self.is_part {
            all.retain(Difference::is_of_known);
        }
        all
    }

    /// Of windows that began before the first event here, not all is known; but never less than these events say.
    fn forget_earlier(&self, windows: &mut [((String, i64), Sums)], said: &Windows) {
        for (id, counted) in windows {
            let events = said.get(id).copied().unwrap_or_default();
            if self.since.is_none_or(|since| id.1 <= since) {
                *counted = Sums {
                    used: counted.used.min(events.used),
                    held: counted.held.min(events.held),
                    ..events
                };
            }
        }
    }

    /// The windows that a part of the log is enough for: those it tells of, and all that began later.
    pub(super) fn known_windows(&self) -> Asked {
        Asked::Some {
            told: self.windows().into_keys().collect(),
            after: self.since.unwrap_or(i64::MAX),
        }
    }

    /// Windows in which anything is used or held.
    fn windows(&self) -> Windows {
        let names = self.names();
        let id = |window: WindowId| Some(((*names.get(&window.0)?).clone(), window.1));
        let mut windows = Windows::new();
        for (window, used) in self.used.iter().filter(|(_, used)| **used != 0) {
            if let Some(id) = id(*window) {
                windows.entry(id).or_default().used = *used;
            }
        }
        let held = self.open.values().chain(self.kept.values()).flatten();
        for holding in held {
            if let Some(id) = id(holding.window) {
                let held = &mut windows.entry(id).or_default().held;
                *held = held.saturating_add(holding.amount);
            }
        }
        for (window, (overrun, frozen)) in &self.overrun {
            if let Some(id) = id(*window) {
                let sums = windows.entry(id).or_default();
                (sums.overrun, sums.frozen) = (*overrun, *frozen);
            }
        }
        windows
    }

    fn holds(&self) -> BTreeMap<(CallId, String, i64), i64> {
        let names = self.names();
        let mut holds = BTreeMap::new();
        for (call, held) in self.open.iter().chain(&self.kept) {
            for holding in held {
                if let Some(key) = names.get(&holding.window.0) {
                    let id = (*call, (*key).clone(), holding.window.1);
                    holds.insert(id, holding.amount);
                }
            }
        }
        holds
    }

    fn names(&self) -> HashMap<usize, &String> {
        let keys = self.keys.iter();
        keys.map(|(key, number)| (*number, key)).collect()
    }
}

/// Whether these are the same amounts of the same windows, in whatever order.
fn are_same(one: &[Holding], other: &[Holding]) -> bool {
    one.len() == other.len() && one.iter().all(|holding| other.contains(holding))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [&str; 2] = [
        "01a1f8d3-ea00-74c6-bc73-47dd154b6f42",
        "01a1f8d3-ea00-79a8-90fd-2153988bc526",
    ];

    /// A closed call and an open one, each in a window that began at 10, when the part of the log began, and one at 20.
    fn part() -> Calls {
        let mut calls = Calls::default();
        calls.resume();
        let budgets = |word: &str| {
            format!(
                r#"[{{"key":"a","window":10,"{word}":1}},{{"key":"a","window":20,"{word}":1}}]"#
            )
        };
        for (kind, call, word) in [
            ("admitted", CALLS[0], "amount"),
            ("settled", CALLS[0], "charged"),
            ("admitted", CALLS[1], "amount"),
        ] {
            let budgets = budgets(word);
            let text =
                format!(r#"{{"at_us":10,"kind":"{kind}","call":"{call}","budgets":{budgets}}}"#);
            assert_eq!(calls.event(1, &serde_json::from_str(&text).unwrap()), None);
        }
        calls
    }

    fn tables(early: (i64, i64), late: (i64, i64)) -> LedgerTables {
        let window = |starts, (used, held)| {
            let sums = Sums {
                used,
                held,
                ..Sums::default()
            };
            (("a".to_owned(), starts), sums)
        };
        let call: CallId = CALLS[1].parse().unwrap();
        let hold = |starts| ((call, "a".to_owned(), starts), 1);
        LedgerTables {
            windows: vec![window(10, early), window(20, late)],
            open_calls: vec![call],
            holds: vec![hold(10), hold(20)],
            ..LedgerTables::default()
        }
    }

    #[test]
    fn a_part_of_the_log_says_nothing_of_what_was_used_before_it() {
        let calls = part();
        for (early, late, differing) in [
            ((1, 1), (1, 1), 0),
            ((700, 9), (1, 1), 0),
            ((1, 0), (1, 1), 1),
            ((1, 1), (2, 1), 1),
            ((1, 1), (0, 1), 1),
            ((1, 1), (1, 2), 1),
        ] {
            let found = calls.differences(tables(early, late));
            assert_eq!(found.len(), differing, "{early:?} {late:?}: {found:?}");
        }
    }

    #[test]
    fn lists_that_are_shorter_than_the_events_are_found_in_a_part_too() {
        let calls = part();
        let mut short = tables((1, 1), (1, 1));
        short.open_calls.clear();
        short.holds.pop();
        assert_eq!(calls.differences(short).len(), 2);
        let mut long = tables((1, 1), (1, 1));
        let earlier: CallId = "01a1f8d3-ea00-7368-a78b-7783d8a47ad3".parse().unwrap();
        long.open_calls.push(earlier);
        long.holds.push(((earlier, "b".to_owned(), 5), 1));
        assert_eq!(calls.differences(long).len(), 0);
    }
}
