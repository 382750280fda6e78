//! Every call opens once and closes once, and the budgets count what closed calls cost. Pure.

use std::collections::HashMap;

use super::Fault;
use super::columns::call;
use super::meta::{Meta, MetaBudget};
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
    /// Set when there were events before the first one here.
    is_part: bool,
}

impl Calls {
    /// From here on, calls may close that opened earlier, and budgets may count more.
    pub(super) fn resume(&mut self) {
        self.is_part = true;
    }

    /// Calls that did not close yet.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Takes one event in.
    pub(super) fn event(&mut self, seq: i64, meta: &Meta<'_>) -> Option<Fault> {
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
        if let Some(number) = self.keys.get(&*budget.key) {
            return (*number, budget.window);
        }
        let number = self.keys.len();
        self.keys.insert(budget.key.to_string(), number);
        (number, budget.window)
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
            windows.push(window);
        }
        windows
    }

    fn use_up(&mut self, window: WindowId, amount: i64) {
        let used = self.used.entry(window).or_default();
        *used = used.saturating_add(amount);
    }

    /// Compares the tables with the events, after the last of them; `seq` is its number.
    pub(super) fn ledger(&mut self, seq: i64, tables: LedgerTables) -> Vec<Fault> {
        let mut held: HashMap<WindowId, i64> = HashMap::new();
        for holding in self.open.values().chain(self.kept.values()).flatten() {
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
        let listed = usize::try_from(tables.open_calls).unwrap_or(usize::MAX);
        if listed < self.open.len() || listed > self.open.len() && !self.is_part {
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

/// Whether these are the same amounts of the same windows, in whatever order.
fn are_same(one: &[Holding], other: &[Holding]) -> bool {
    one.len() == other.len() && one.iter().all(|holding| other.contains(holding))
}
