//! Refunds against the calls they are about. Few, so the call of each is looked up.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::CallId;

use super::super::{Closed, load_pruned, trace};
use super::Fault;
use super::meta::Meta;

/// The refunds of one log on the way through it.
#[derive(Debug, Default)]
pub(super) struct Refunds {
    noted: Vec<Noted>,
}

#[derive(Debug)]
struct Noted {
    seq: i64,
    call: Option<CallId>,
    budgets: Vec<Back>,
}

/// What one budget got back.
#[derive(Debug)]
struct Back {
    key: String,
    window: i64,
    refunded: i64,
}

impl Refunds {
    /// One event that refunds.
    pub(super) fn note(&mut self, seq: i64, meta: &Meta<'_>) {
        let call = meta.refunds.as_ref().and_then(|call| call.parse().ok());
        let budgets = meta.budgets.iter().map(|budget| Back {
            key: budget.key.to_string(),
            window: budget.window,
            refunded: budget.refunded,
        });
        let budgets = budgets.collect();
        self.noted.push(Noted { seq, call, budgets });
    }

    /// What is wrong with them, now that the whole log is known to be what was written.
    pub(super) async fn check(self, db: &mut SqliteConnection) -> Result<Vec<Fault>, DbError> {
        let mut faults = Vec::new();
        let mut refunded = HashSet::new();
        let pruned = load_pruned(&mut *db).await?;
        let (is_pruned, last) = (pruned.is_some(), pruned.map_or(0, |pruned| pruned.last.seq));
        for noted in &self.noted {
            let seq = noted.seq;
            let traced = match noted.call {
                Some(call) => trace(db, call).await?,
                None => None,
            };
            let is_gone = traced.is_none() && is_pruned;
            let closed = traced.and_then(|traced| traced.closing);
            let what = if !noted.call.is_some_and(|call| refunded.insert(call)) {
                Some("it refunds no call, or one that was refunded before")
            } else if is_gone {
                // What it cost stands in the archive.
                None
            } else {
                noted.doubt(closed.as_ref())
            };
            faults.extend(what.map(|what| Fault::Call { seq, what }));
        }
        // Without this list, a call could be refunded twice.
        let listed: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT call_id, seq FROM refund WHERE seq > $1")
                .bind(last)
                .fetch_all(db)
                .await?;
        let listed = listed
            .into_iter()
            .map(|(call, seq)| Some((CallId::from_slice(&call)?, seq)));
        let listed: HashSet<_> = listed.collect();
        let noted = self
            .noted
            .iter()
            .map(|noted| Some((noted.call?, noted.seq)));
        let noted: HashSet<_> = noted.collect();
        faults.extend(listed.symmetric_difference(&noted).map(|one| Fault::Call {
            seq: one.map_or(0, |(_, seq)| seq),
            what: "the list of refunds is not that of the events",
        }));
        Ok(faults)
    }
}

impl Noted {
    fn doubt(&self, closed: Option<&Closed>) -> Option<&'static str> {
        let Some(closed) = closed.filter(|closed| closed.seq < self.seq) else {
            return Some("it refunds a call that was not over");
        };
        let is_covered = |one: &Back| {
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
