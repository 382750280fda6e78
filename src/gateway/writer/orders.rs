//! Orders of an operator: one at a time, each in a transaction of its own, for it may have to read the file first.

use tokio::sync::oneshot;

use super::super::entries;
use super::super::operator::{By, GivenBack, Instruction, Order, Outcome, Refused};
use super::Writer;
use super::batch::Batch;
use crate::audit::{self, Bodies, Closed, Entry, Kind, Proof};
use crate::budget;
use crate::db::DbError;
use crate::protocol::json_string;
use crate::types::{BudgetKey, CallId, Timestamp};

/// An order on its way to the writer.
#[derive(Debug)]
pub(in super::super) struct Ordered {
    /// What is to be done, and for whom.
    pub(in super::super) instruction: Instruction,
    /// The log as far as it was read, for an order that needs all of it.
    pub(in super::super) proof: Option<Proof>,
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
        let Ordered {
            instruction,
            mut proof,
            reply,
        } = ordered;
        // Whoever asked has given up, or the file has to be read back first.
        if reply.is_closed() || self.suspect {
            return;
        }
        let at = self.now();
        let mut batch = self.begin(at);
        let decided = self
            .carry_out(&mut batch, &instruction, proof.as_mut(), at)
            .await;
        let decided = match decided {
            Err(Stop::Failed(error)) => Err(error),
            decided => self.write_order(&mut batch).await.map(|()| decided),
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
                if let Outcome::TimeAccepted { .. } = outcome {
                    self.guard.believe(&*self.clock);
                }
                self.deliver(batch);
                // Whoever asked may have gone; it is written either way.
                let _ = reply.send(Ok(outcome));
            }
        }
    }

    /// INVARIANT: an order that is refused has changed nothing in the books.
    async fn carry_out(
        &mut self,
        batch: &mut Batch,
        instruction: &Instruction,
        proof: Option<&mut Proof>,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let entry = |kind| signed(Entry::new(kind), &instruction.by, instruction.order.why());
        match (&instruction.order, proof) {
            (Order::Refund { call, .. }, _) => {
                self.refund(batch, *call, entry(Kind::Refunded), at).await
            }
            (Order::Prune(order), _) => self.prune(batch, order, entry(Kind::Pruned)).await,
            (Order::Unfreeze { key, .. }, _) => {
                self.unfreeze(batch, key, entry(Kind::Unfrozen), at)
            }
            (Order::RedactCall { call, .. }, _) => {
                let entry = entry(Kind::Redacted).text("redacts", &call.to_string());
                self.redact(batch, Bodies::OfCall(*call), entry, at).await
            }
            (
                order @ (Order::RedactBefore { before_us, .. }
                | Order::PruneBodies { before_us, .. }),
                _,
            ) => {
                let before = Timestamp::from_micros(*before_us);
                let is_prune = matches!(order, Order::PruneBodies { .. });
                let kind = if is_prune {
                    Kind::Pruned
                } else {
                    Kind::Redacted
                };
                let entry = entry(kind).json("before_us", before_us.to_string());
                self.redact(batch, Bodies::Before(before), entry, at).await
            }
            (Order::AcceptTime { .. }, _) => self.accept_time(batch, entry(Kind::Clock), at),
            (Order::Repair { .. }, Some(proof)) => {
                self.repair(batch, proof, entry(Kind::Repaired), at).await
            }
            (Order::Repair { .. }, None) => Err(Refused::Unreadable.into()),
        }
    }

    async fn write_order(&mut self, batch: &mut Batch) -> Result<(), DbError> {
        self.write(batch)?;
        if !batch.forgotten.is_empty() && !self.database.empty_wal()? {
            tracing::warn!(
                "a reader holds an old state of the file: what was deleted stays in the write-ahead log until it is \
                 written over, or the gateway ends"
            );
        }
        if batch.corrections.is_none() {
            return Ok(());
        }
        // The books are those of before; and a call that was forgotten has nobody who would end it.
        self.read_back().await?;
        let at = self.now();
        let mut batch = self.begin(at);
        self.sweep(&mut batch, at, entries::abandoned).await?;
        self.write(&mut batch)?;
        self.deliver(batch);
        Ok(())
    }

    fn accept_time(
        &mut self,
        batch: &mut Batch,
        entry: Entry,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        if !self.guard.is_suspect() {
            return Err(Refused::ClockAgrees.into());
        }
        let wall = self.clock.now().micros();
        let entry = entry.text("clock", "accepted");
        let entry = entry.json("wall_us", wall.to_string());
        Ok(Outcome::TimeAccepted {
            seq: self.chain(batch, &entry, at),
            wall,
        })
    }

    fn unfreeze(
        &mut self,
        batch: &mut Batch,
        key: &str,
        entry: Entry,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let budget = self.books.id_of(&BudgetKey::new(key));
        let budget = budget.ok_or_else(|| Refused::UnknownBudget(key.into()))?;
        let thawed = self.books.unfreeze(budget);
        if thawed.is_empty() {
            return Err(Refused::NotFrozen(key.into()).into());
        }
        let each = thawed.iter().map(|(starts, _)| {
            let (key, window) = (json_string(key), starts.micros());
            format!(r#"{{"key":{key},"window":{window}}}"#)
        });
        let each = each.collect::<Vec<_>>().join(",");
        let overrun = thawed.iter().map(|(_, overrun)| *overrun);
        let overrun = overrun.fold(0, u64::saturating_add);
        let entry = entry
            .number("was_over", overrun)
            .json("budgets", format!("[{each}]"));
        Ok(Outcome::Unfrozen {
            seq: self.chain(batch, &entry, at),
            windows: thawed.len(),
            overrun,
        })
    }

    /// Deletes bodies, as many as one event may say.
    async fn redact(
        &mut self,
        batch: &mut Batch,
        which: Bodies,
        entry: Entry,
        at: Timestamp,
    ) -> Result<Outcome, Stop> {
        let db = self.database.connection();
        if let Bodies::OfCall(call) = which {
            let traced = audit::trace(&mut *db, call).await?;
            let traced = traced.ok_or(Refused::UnknownCall(call))?;
            // Its result may come yet.
            if traced.is_open() {
                return Err(Refused::CallUnderWay(call).into());
            }
        }
        let seqs = audit::bodies_of(&mut *db, which).await?;
        let bodies = seqs.len();
        if seqs.is_empty() {
            let (seq, more) = (None, false);
            return Ok(Outcome::Redacted { seq, bodies, more });
        }
        let entry = entry.json("bodies", audit::deleted_json(which, &seqs));
        let seq = Some(self.chain(batch, &entry, at));
        let more = bodies >= audit::REDACTED_AT_ONCE;
        batch.forgotten = seqs;
        Ok(Outcome::Redacted { seq, bodies, more })
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
        let db = self.database.connection();
        let traced = audit::trace(&mut *db, call).await?;
        let before = budget::refund_of(&mut *db, call).await?;
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
        let db = self.database.connection();
        let row = budget::load_window(&mut *db, id).await?;
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
