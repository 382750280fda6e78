//! Refunds against the calls they are about. Few, so the call of each is looked up.

use std::collections::{BTreeMap, HashSet};

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::CallId;

use super::super::{Closed, trace};
use super::{Fault, MetaBudget};

/// The refunds of one log on the way through it.
#[derive(Default)]
pub(super) struct Refunds {
    noted: Vec<Noted>,
}

struct Noted {
    seq: i64,
    call: Option<CallId>,
    budgets: Vec<MetaBudget>,
}

impl Refunds {
    /// One event that refunds.
    pub(super) fn note(&mut self, seq: i64, call: Option<String>, budgets: Vec<MetaBudget>) {
        let call = call.and_then(|call| call.parse().ok());
        self.noted.push(Noted { seq, call, budgets });
    }

    /// The calls that were refunded, each with the sequence of its event; of several, the first.
    pub(super) fn calls(&self) -> BTreeMap<CallId, i64> {
        let calls = self.noted.iter().rev();
        calls
            .filter_map(|noted| Some((noted.call?, noted.seq)))
            .collect()
    }

    /// What is wrong with them, now that the whole log is known to be what was written.
    pub(super) async fn check(self, db: &mut SqliteConnection) -> Result<Vec<Fault>, DbError> {
        let mut faults = Vec::new();
        let mut refunded = HashSet::new();
        for noted in &self.noted {
            let seq = noted.seq;
            let closed = match noted.call {
                Some(call) => trace(db, call).await?.and_then(|traced| traced.closing),
                None => None,
            };
            let what = if !noted.call.is_some_and(|call| refunded.insert(call)) {
                Some("it refunds no call, or one that was refunded before")
            } else {
                noted.doubt(closed.as_ref())
            };
            faults.extend(what.map(|what| Fault::Call { seq, what }));
        }
        Ok(faults)
    }
}

impl Noted {
    fn doubt(&self, closed: Option<&Closed>) -> Option<&'static str> {
        let Some(closed) = closed.filter(|closed| closed.seq < self.seq) else {
            return Some("it refunds a call that was not over");
        };
        let is_covered = |one: &MetaBudget| {
            let cost = closed
                .costs
                .iter()
                .find(|cost| cost.key.as_str() == one.key && cost.starts.micros() == one.window);
            let refunded = u64::try_from(one.refunded);
            cost.is_some_and(|cost| refunded.is_ok_and(|refunded| refunded <= cost.amount))
        };
        let keys: HashSet<_> = self
            .budgets
            .iter()
            .map(|one| (&one.key, one.window))
            .collect();
        let is_covered = keys.len() == self.budgets.len() && self.budgets.iter().all(is_covered);
        (!is_covered).then_some("it refunds more than the call cost")
    }
}
