//! Refunds against the calls they are about. Pure.

use std::collections::{BTreeMap, HashSet};

use super::Fault;
use super::columns::call;
use super::ledger::LedgerTables;
use super::meta::Meta;
use crate::audit::Closed;
use crate::types::CallId;

/// The refunds of one log on the way through it; they are few.
#[derive(Debug, Default)]
pub(super) struct Refunds {
    noted: BTreeMap<CallId, Noted>,
    /// The last event that was pruned; 0 when none was.
    pruned: i64,
}

#[derive(Debug)]
struct Noted {
    seq: i64,
    /// Of each budget and window, how much.
    budgets: Vec<(String, i64, i64)>,
}

impl Refunds {
    /// Goes on after events that were pruned, up to this one.
    pub(super) fn go_on(&mut self, last: i64) {
        self.pruned = last;
    }

    /// Whether an event was pruned.
    pub(super) fn is_pruned(&self, seq: i64) -> bool {
        seq <= self.pruned
    }

    /// An event that refunds. Says what is wrong with it by itself.
    pub(super) fn note(&mut self, seq: i64, meta: &Meta<'_>) -> Option<&'static str> {
        let Some(call) = call(meta.refunds.as_ref()) else {
            return Some("it refunds no call");
        };
        let budgets = meta.budgets.iter();
        let budgets = budgets.map(|one| (one.key.to_string(), one.window, one.refunded));
        let budgets = budgets.collect();
        match self.noted.insert(call, Noted { seq, budgets }) {
            Some(_) => Some("it refunds a call that was refunded before"),
            None => None,
        }
    }

    /// The calls that were refunded, each with the sequence of its event.
    pub(super) fn calls(&self) -> BTreeMap<CallId, i64> {
        let calls = self.noted.iter();
        calls.map(|(call, noted)| (*call, noted.seq)).collect()
    }

    /// What is wrong with them beside the ends of their calls, as the list of refunds has them.
    pub(super) fn faults(&self, tables: &LedgerTables) -> Vec<Fault> {
        let listed = tables.refunds.iter();
        let faults = listed.filter_map(|(call, _, closed)| {
            let noted = self.noted.get(call)?;
            // What a call cost that was pruned stands in the archive.
            if closed.is_none() && self.pruned > 0 {
                return None;
            }
            let what = noted.doubt(closed.as_ref())?;
            Some(Fault::Call {
                seq: noted.seq,
                what,
            })
        });
        let overspent = tables.overspent.iter().cloned();
        faults
            .chain(overspent.map(|key| Fault::Overspent { key }))
            .collect()
    }
}

impl Noted {
    fn doubt(&self, closed: Option<&Closed>) -> Option<&'static str> {
        let Some(closed) = closed.filter(|closed| closed.seq < self.seq) else {
            return Some("it refunds a call that was not over");
        };
        let is_covered = |(key, window, refunded): &(String, i64, i64)| {
            let mut costs = closed.costs.iter();
            let cost =
                costs.find(|cost| cost.key.as_str() == key && cost.starts.micros() == *window);
            let refunded = u64::try_from(*refunded);
            cost.is_some_and(|cost| refunded.is_ok_and(|refunded| refunded <= cost.amount))
        };
        let places = self.budgets.iter().map(|(key, window, _)| (key, window));
        let places: HashSet<_> = places.collect();
        let is_covered = places.len() == self.budgets.len() && self.budgets.iter().all(is_covered);
        (!is_covered).then_some("it refunds more than the call cost")
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Refunded;
    use super::*;
    use crate::audit::Cost;
    use crate::types::{BudgetKey, Timestamp};

    const CALL: &str = "01a1f8d3-ea00-74c6-bc73-47dd154b6f42";

    fn event(budgets: &str) -> String {
        format!(r#"{{"at_us":5,"kind":"refunded","refunds":"{CALL}","budgets":[{budgets}]}}"#)
    }

    /// A call that cost two of one budget, and ended with this event.
    fn listed(seq: i64) -> Refunded {
        let cost = Cost {
            key: BudgetKey::new("a"),
            starts: Timestamp::from_micros(0),
            amount: 2,
        };
        let costs = vec![cost];
        (CALL.parse().unwrap(), 9, Some(Closed { seq, costs }))
    }

    fn faults(budgets: &str, listed: Refunded) -> usize {
        let mut refunds = Refunds::default();
        let text = event(budgets);
        assert_eq!(refunds.note(9, &serde_json::from_str(&text).unwrap()), None);
        let tables = LedgerTables {
            refunds: vec![listed],
            ..LedgerTables::default()
        };
        refunds.faults(&tables).len()
    }

    #[test]
    fn a_refund_is_covered_by_what_its_call_cost() {
        let two = r#"{"key":"a","window":0,"refunded":2}"#;
        for (budgets, closed, wrong) in [
            (two.to_owned(), 8, 0),
            (two.replace(":2}", ":1}"), 8, 0),
            (two.replace(":2}", ":3}"), 8, 1),
            (two.replace(":2}", ":-1}"), 8, 1),
            (two.replace("\"a\"", "\"b\""), 8, 1),
            (two.replace("\"window\":0", "\"window\":1"), 8, 1),
            (format!("{two},{two}"), 8, 1),
            (two.to_owned(), 10, 1),
        ] {
            assert_eq!(
                faults(&budgets, listed(closed)),
                wrong,
                "{budgets} {closed}"
            );
        }
        let (call, seq, _) = listed(8);
        assert_eq!(faults(two, (call, seq, None)), 1, "it was not over");
    }

    #[test]
    fn a_call_is_refunded_once() {
        let mut refunds = Refunds::default();
        let text = event("");
        let meta = serde_json::from_str(&text).unwrap();
        assert_eq!(refunds.note(9, &meta), None);
        assert!(refunds.note(10, &meta).is_some());
        let nobody = r#"{"at_us":5,"kind":"refunded"}"#;
        assert!(
            refunds
                .note(11, &serde_json::from_str(nobody).unwrap())
                .is_some()
        );
    }
}
