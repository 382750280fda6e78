//! Orders of an operator: one at a time, each in a transaction of its own, for it may have to read the file first.

use tokio::sync::oneshot;

use super::super::operator::{By, GivenBack, Instruction, Order, Outcome, Refused};
use super::Writer;
use super::batch::Batch;
use crate::audit::{self, Closed, Entry, Kind};
use crate::budget;
use crate::db::DbError;
use crate::protocol::json_string;
use crate::types::{CallId, Timestamp};

/// An order on its way to the writer.
#[derive(Debug)]
pub(in super::super) struct Ordered {
    /// What is to be done, and for whom.
    pub(in super::super) instruction: Instruction,
    /// Hears what became of it, after the commit; dropped when nobody knows.
    pub(in super::super) reply: oneshot::Sender<Result<Outcome, Refused>>,
}

/// Why an order goes no further.
pub(super) enum Stop {
    Refused(Refused),
    Failed(DbError),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<DbError> for Stop {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

impl Writer {
    /// Carries an order out and answers it after the commit.
    pub(super) async fn obey(&mut self, ordered: Ordered) {
        let Ordered { instruction, reply } = ordered;
        // Whoever asked has given up, or the file has to be read back first.
        if reply.is_closed() || self.suspect {
            return;
        }
        let at = self.now();
        let mut batch = self.begin(at);
        let decided = match self.decide(&mut batch, &instruction, at).await {
            Err(Stop::Failed(error)) => Err(error),
            decided => self.write(&mut batch).await.map(|()| decided),
        };
        match decided {
            Err(error) | Ok(Err(Stop::Failed(error))) => {
                tracing::error!(%error, "an order was not written; calls are refused until the log can be");
                self.set_suspect(true);
            }
            Ok(Err(Stop::Refused(refused))) => {
                self.deliver(batch);
                let _ = reply.send(Err(refused));
            }
            Ok(Ok(outcome)) => {
                let (order, by) = (instruction.order.word(), instruction.by.name);
                tracing::warn!(order, by, "an operator's order was carried out");
                self.deliver(batch);
                // Whoever asked may have gone; it is written either way.
                let _ = reply.send(Ok(outcome));
            }
        }
    }

    /// INVARIANT: an order that is refused has changed nothing in the books.
    async fn decide(
        &mut self,
        batch: &mut Batch,
        instruction: &Instruction,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let entry = |kind| signed(Entry::new(kind), &instruction.by, instruction.order.why());
        match &instruction.order {
            Order::Refund { call, .. } => {
                self.refund(batch, *call, entry(Kind::Refunded), at).await
            }
            Order::Prune(order) => self.prune(batch, order, entry(Kind::Pruned)).await,
        }
    }

    async fn refund(
        &mut self,
        batch: &mut Batch,
        call: CallId,
        entry: Entry,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let closed = self.refundable(call).await?;
        let mut given = Vec::new();
        for cost in closed.costs {
            let counter = || Refused::Counter(cost.key.to_string());
            let budget = self.books.id_of(&cost.key).ok_or_else(counter)?;
            let used = self.used((budget, cost.starts)).await?;
            if used.is_none_or(|used| used < cost.amount) {
                return Err(counter().into());
            }
            given.push((budget, cost));
        }
        for (budget, cost) in &given {
            self.books.refund(*budget, cost.starts, cost.amount);
        }
        let budgets = given.into_iter().map(|(_, cost)| GivenBack {
            key: cost.key.to_string(),
            window: cost.starts.micros(),
            refunded: cost.amount,
        });
        let budgets: Vec<GivenBack> = budgets.collect();
        let entry = entry
            .text("refunds", &call.to_string())
            .json("budgets", list(&budgets));
        let seq = self.chain(batch, &entry, at);
        batch.refunds.push((call, seq));
        Ok(Outcome::Refunded { seq, budgets })
    }

    /// The end of a call that cost something and was not refunded yet.
    async fn refundable(&mut self, call: CallId) -> Result<Closed, Stop> {
        let mut tx = self.database.begin().await?;
        let traced = audit::trace(tx.connection(), call).await?;
        let before = budget::refund_of(tx.connection(), call).await?;
        drop(tx);
        if let Some(seq) = before {
            return Err(Refused::RefundedCall { call, seq }.into());
        }
        let traced = traced.ok_or(Refused::UnknownCall(call))?;
        match traced.closing {
            None if traced.opening == Kind::Denied => Err(Refused::FreeCall(call).into()),
            None => Err(Refused::OpenCall(call).into()),
            Some(closed) if closed.costs.is_empty() => Err(Refused::FreeCall(call).into()),
            Some(closed) => Ok(closed),
        }
    }

    /// What a window has used, whether it is still in memory or not; `None` when there is no such window.
    async fn used(&mut self, id: budget::WindowId) -> Result<Option<u64>, DbError> {
        if let Some(used) = self.books.used(id) {
            return Ok(Some(used));
        }
        let mut tx = self.database.begin().await?;
        let row = budget::load_window(tx.connection(), id).await?;
        drop(tx);
        let used = row.map(|row| row.count.used);
        if let Some(row) = row {
            self.books.remember(id.0, row);
        }
        Ok(used)
    }
}

/// Adds who gave an order, and why.
fn signed(entry: Entry, by: &By, why: &str) -> Entry {
    entry
        .text("by", &by.name)
        .number("uid", u64::from(by.uid))
        .text("why", why.trim())
}

fn list(budgets: &[GivenBack]) -> String {
    let each = budgets.iter().map(|one| {
        let (key, window, refunded) = (json_string(&one.key), one.window, one.refunded);
        format!(r#"{{"key":{key},"window":{window},"refunded":{refunded}}}"#)
    });
    format!("[{}]", each.collect::<Vec<_>>().join(","))
}
