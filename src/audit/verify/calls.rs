//! Every call opens once and closes once, and the budgets count what closed calls cost. Pure.

use std::collections::HashMap;

use super::Fault;
use super::meta::{Meta, MetaBudget};
use super::seam::Total;
use crate::types::CallId;

/// One window of one budget: the number of its key, and its start.
type WindowId = (usize, i64);

/// The tables of the ledger, to be compared with what the events add up to.
#[derive(Debug, Default)]
pub(super) struct LedgerTables {
    /// Of every window: key, start, used, held.
    pub(super) windows: Vec<(String, i64, i64, i64)>,
    /// Calls in the list of open ones.
    pub(super) open_calls: i64,
}

#[derive(Debug)]
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
    used: HashMap<WindowId, i64>,
}

impl Calls {
    /// Calls that did not close yet.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether a call is open, or something is kept for those that go on with it.
    pub(super) fn is_under_way(&self, call: CallId) -> bool {
        self.open.contains_key(&call)
    }

    /// What every window has used, in order.
    pub(super) fn totals(&self) -> Vec<Total> {
        let names: HashMap<usize, &String> = self
            .keys
            .iter()
            .map(|(key, number)| (*number, key))
            .collect();
        let used = self.used.iter().filter(|(_, used)| **used != 0);
        let total = |((number, window), used): (&WindowId, &i64)| {
            let key = (*names.get(number)?).clone();
            let (window, used) = (*window, *used);
            Some(Total { key, window, used })
        };
        let mut totals: Vec<Total> = used.filter_map(total).collect();
        totals.sort_unstable();
        totals
    }

    /// Begins with what earlier events added up to.
    pub(super) fn set_used(&mut self, totals: &[Total]) {
        self.used.clear();
        for total in totals {
            let window = (self.number(&total.key), total.window);
            self.used.insert(window, total.used);
        }
    }

    /// Takes what an operator gave back off.
    pub(super) fn refund(&mut self, budgets: &[MetaBudget<'_>]) {
        for budget in budgets {
            let window = self.window(budget);
            let used = self.used.entry(window).or_default();
            *used = used.saturating_sub(budget.refunded);
        }
    }

    /// Takes one event in.
    pub(super) fn event(&mut self, seq: i64, call: CallId, meta: &Meta<'_>) -> Option<Fault> {
        let what = match &*meta.kind {
            "admitted" => {
                let held = meta.budgets.iter().map(|budget| self.holding(budget));
                let held = held.collect();
                let twice = self.open.insert(call, held);
                twice.map(|_| "the call opens a second time")
            }
            "settled" | "failed" | "released" | "abandoned" => match self.open.remove(&call) {
                Some(held) => self.charge(&held, &meta.budgets),
                None => Some("the call closes without being open"),
            },
            _ => None,
        };
        what.map(|what| Fault::Call { seq, what })
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
        let mut same = held.len() == charged.len();
        for budget in charged {
            let window = self.window(budget);
            let used = self.used.entry(window).or_default();
            *used = used.saturating_add(budget.charged);
            same &= held.iter().any(|holding| {
                holding.window == window && (0..=holding.amount).contains(&budget.charged)
            });
        }
        (!same).then_some("the call closes with other budgets than it opened with")
    }

    /// Compares the tables with the events, after the last of them; `seq` is its number.
    pub(super) fn ledger(&mut self, seq: i64, tables: LedgerTables) -> Vec<Fault> {
        let mut held: HashMap<WindowId, i64> = HashMap::new();
        for holding in self.open.values().flatten() {
            let amount = held.entry(holding.window).or_default();
            *amount = amount.saturating_add(holding.amount);
        }
        let mut faults = Vec::new();
        for (key, starts, counted_used, counted_held) in tables.windows {
            let window = self.keys.get(&key).map(|number| (*number, starts));
            let take = |sums: &mut HashMap<WindowId, i64>| {
                window.and_then(|window| sums.remove(&window)).unwrap_or(0)
            };
            let pairs = [
                (counted_used, take(&mut self.used)),
                (counted_held, take(&mut held)),
            ];
            let wrong = pairs
                .into_iter()
                .filter(|(counted, events)| counted != events);
            faults.extend(wrong.map(|(counted, events)| Fault::Ledger {
                key: key.clone(),
                counted,
                events,
            }));
        }
        faults.extend(self.lost(held));
        if usize::try_from(tables.open_calls).ok() != Some(self.open.len()) {
            let what = "the list of open calls is not that of the events";
            faults.push(Fault::Call { seq, what });
        }
        faults
    }

    /// Windows that the events know and the tables do not.
    fn lost(&mut self, held: HashMap<WindowId, i64>) -> Vec<Fault> {
        let names: HashMap<usize, &String> = self
            .keys
            .iter()
            .map(|(key, number)| (*number, key))
            .collect();
        let sums = self.used.drain().chain(held);
        let lost = sums.filter(|(_, events)| *events != 0);
        let lost = lost.filter_map(|((number, _), events)| {
            Some(Fault::Ledger {
                key: (*names.get(&number)?).clone(),
                counted: 0,
                events,
            })
        });
        lost.collect()
    }
}
