//! One batch: what waits is decided in order against the books, written in one transaction, and answered after its
//! commit.

use tokio::sync::oneshot;

use super::super::entries;
use super::super::refusal::denied_by_budget;
use super::super::repeats::denied_as_repeat;
use super::orders::Ordered;
use super::{Budgets, Closing, Job, NotAdmitted, Writer};
use crate::audit::{self, Chained, Checkpoint, Entry, Kind, Pruned};
use crate::budget::{self, Correction, Ending, Hold, LedgerRows, Shortage, Standing};
use crate::db::DbError;
use crate::policy::Charge;
use crate::types::{CallId, Timestamp, Zone};

pub(super) enum Reply {
    Admitted(oneshot::Sender<Result<Hold, NotAdmitted>>, Hold),
    Refused(oneshot::Sender<Result<Hold, NotAdmitted>>, NotAdmitted),
    Noted(oneshot::Sender<()>),
    Looked(oneshot::Sender<Vec<Standing>>, Vec<Standing>),
}

#[derive(Default)]
pub(super) struct Batch {
    events: Vec<Chained>,
    pub(super) ledger: LedgerRows,
    pub(super) replies: Vec<Reply>,
    pub(super) closed: Vec<Closing>,
    /// A refusal was only counted, which is to be written too.
    has_counted: bool,
    /// Taken in this batch, with the sequence of its event.
    pub(super) checkpoint: Option<(i64, Checkpoint)>,
    /// The last event that the file elsewhere covers, when this batch says so.
    exported: Option<i64>,
    /// Orders of an operator, for afterwards: each is a batch of its own.
    pub(super) orders: Vec<Ordered>,
    /// What goes after an event of this batch.
    pub(super) pruned: Option<Pruned>,
    /// Calls that were refunded, with the sequence of the event.
    pub(super) refunds: Vec<(CallId, i64)>,
    /// Events whose bodies are deleted.
    pub(super) forgotten: Vec<i64>,
    /// Rows of the ledger that are put right; the books are to be read back afterwards.
    pub(super) corrections: Option<Vec<Correction>>,
}

impl Writer {
    /// A batch, which begins with a checkpoint when one is due: no event is further than that from one, not even the one
    /// that tells what was exported meanwhile.
    pub(super) fn begin(&mut self, at: Timestamp) -> Batch {
        let mut batch = Batch::default();
        if self.checkpoints.is_due(self.head, at) {
            self.checkpoint(&mut batch, Entry::new(Kind::Checkpoint), at);
        }
        if let Some((through, entry)) = self.checkpoints.exported() {
            self.chain(&mut batch, &entry, at);
            batch.exported = Some(through);
        }
        if let Some(turn) = self.turn.take() {
            let entry = entries::of_clock(turn);
            tracing::warn!(
                ?turn,
                "the wall clock jumped, or agrees again; budgets follow the running time meanwhile"
            );
            self.chain(&mut batch, &entry, at);
        }
        batch
    }

    pub(super) fn job(&mut self, batch: &mut Batch, job: Job, at: Timestamp) {
        match job {
            Job::Admit { reply, .. } if reply.is_closed() => {}
            Job::Admit {
                entry,
                call,
                charges,
                continues,
                zone,
                keys,
                reply,
            } => {
                let claims = keys.as_deref();
                if let Some(repeated) = claims.and_then(|keys| self.keys.find_repeat(keys, at)) {
                    self.note(batch, &denied_as_repeat(*entry, &repeated), at);
                    let refused = NotAdmitted::Repeated(Box::new(repeated));
                    batch.replies.push(Reply::Refused(reply, refused));
                    return;
                }
                match self.reserve(batch, (call, &charges, &zone), continues, at) {
                    Ok(hold) => {
                        let seq = self.chain(batch, &entries::admitted(*entry, hold.held()), at);
                        batch.ledger.admit(&hold, seq);
                        self.take_keys(claims, call, (&charges, &zone), at);
                        batch.replies.push(Reply::Admitted(reply, hold));
                    }
                    Err(shortage) => {
                        let entry = denied_by_budget(*entry, &shortage, &zone);
                        self.note(batch, &entry, at);
                        let standings = self.standings(&Budgets { charges, zone }, at);
                        let refused = NotAdmitted::Full(shortage, standings);
                        batch.replies.push(Reply::Refused(reply, refused));
                    }
                }
            }
            Job::Note { entry, reply } => {
                if entry.kind == Kind::Policy {
                    // What was refused under the rules before is not counted among what these refuse.
                    self.unfold(batch, at, true);
                }
                self.note(batch, &entry, at);
                batch.replies.push(Reply::Noted(reply));
            }
            Job::Look { budgets, reply } => {
                let standings = self.standings(&budgets, at);
                batch.replies.push(Reply::Looked(reply, standings));
            }
            Job::Order(ordered) => batch.orders.push(*ordered),
            Job::Tick => {
                self.unfold(batch, at, false);
                self.expire(batch, at, at);
            }
        }
    }

    /// Takes what a call needs from its budgets, or over what the call holds that it goes on with.
    fn reserve(
        &mut self,
        batch: &mut Batch,
        wanted: (CallId, &[Charge], &Zone),
        continues: Option<CallId>,
        at: Timestamp,
    ) -> Result<Hold, Box<Shortage>> {
        let (call, charges, zone) = wanted;
        match continues {
            Some(before) => {
                let hold = self.books.take_over(before, call);
                batch.ledger.release(before, hold.held());
                Ok(hold)
            }
            None => self.books.reserve(call, charges, zone, at),
        }
    }

    /// Counts that are there for the first time begin with what earlier ones of their rule have used.
    pub(super) async fn seed(
        &mut self,
        batch: &mut Batch,
        job: &Job,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let Job::Admit { charges, zone, .. } = job else {
            return Ok(());
        };
        for charge in charges {
            if self.books.knows(&charge.key) {
                continue;
            }
            let connection = self.database.connection();
            let used = budget::seeds(connection, &self.books, (charge, charges), zone, at).await?;
            if !used.is_empty() {
                self.books.begin(charge, &used);
                self.chain(batch, &entries::seeded(charge, &used), at);
            }
        }
        Ok(())
    }

    /// Charges what was kept up to an instant for calls that nobody went on with.
    pub(super) fn expire(&mut self, batch: &mut Batch, until: Timestamp, at: Timestamp) {
        for (call, held, charged) in self.books.expire(until) {
            self.chain(batch, &entries::expired(call, &charged), at);
            batch.ledger.release(call, &held);
        }
    }

    /// How budgets stand by now, with everything that is decided so far in this batch.
    fn standings(&mut self, budgets: &Budgets, at: Timestamp) -> Vec<Standing> {
        let Budgets { charges, zone } = budgets;
        let each = charges.iter();
        each.map(|charge| self.books.standing(charge, zone, at))
            .collect()
    }

    /// Writes an event down that says what the end of the chain is before it.
    pub(super) fn checkpoint(&mut self, batch: &mut Batch, entry: Entry, at: Timestamp) {
        let taken = self.checkpoints.take(self.log, self.head, at);
        let seq = self.chain(batch, &taken.in_entry(entry), at);
        batch.checkpoint = Some((seq, taken));
    }

    /// Writes an event down, or counts it when it is one more refusal of many.
    pub(super) fn note(&mut self, batch: &mut Batch, entry: &Entry, at: Timestamp) {
        if entry.kind != Kind::Denied || self.folds.keeps(entry, at) {
            self.chain(batch, entry, at);
        } else {
            batch.has_counted = true;
        }
    }

    /// Writes down what was counted, as one event each.
    pub(super) fn unfold(&mut self, batch: &mut Batch, at: Timestamp, all: bool) {
        for repeats in self.folds.take(at, all) {
            self.chain(batch, &repeats.to_entry(), at);
        }
    }

    pub(super) fn close(&mut self, batch: &mut Batch, mut closing: Closing, at: Timestamp) {
        // Not open any more: an earlier commit, of which nobody knew whether it held, did close it.
        if let Some(charged) = self.books.close(&closing.hold, &closing.ending) {
            let entry = entries::with_charges(closing.entry.clone(), &charged);
            let seq = self.chain(batch, &entry, at);
            self.close_keys(closing.hold.call(), &closing.entry, seq);
            let kept_until = match closing.ending {
                Ending::Kept(until) => Some(until),
                Ending::Unsent
                | Ending::Rejected
                | Ending::ToolError(_)
                | Ending::Answered(_)
                | Ending::Unclear => None,
            };
            batch.ledger.close(&closing.hold, kept_until);
        }
        if let Some(closed) = &mut closing.reply {
            closed.standings = self.standings(&closed.budgets, at);
        }
        batch.closed.push(closing);
    }

    pub(super) fn chain(&mut self, batch: &mut Batch, entry: &Entry, at: Timestamp) -> i64 {
        let event = Chained::after(&mut self.head, self.log, &mut self.names, entry, at);
        let seq = event.seq();
        batch.events.push(event);
        seq
    }

    pub(super) fn write(&mut self, batch: &mut Batch) -> Result<(), DbError> {
        if batch.events.is_empty() && !batch.has_counted {
            self.keys.forget_closed();
            return Ok(());
        }
        let (names, books) = (&mut self.names, &mut self.books);
        let (folds, keys) = (&mut self.folds, &mut self.keys);
        self.database.transact(|tx| {
            audit::append(tx, names, &batch.events)?;
            audit::write_repeats(tx, folds)?;
            if let Some((seq, taken)) = &batch.checkpoint {
                audit::write_checkpoint(tx, (*seq, taken.at))?;
            }
            if let Some(corrections) = &batch.corrections {
                budget::correct(tx, corrections)?;
            }
            budget::write(tx, books, &batch.ledger)?;
            budget::write_refunds(tx, &batch.refunds)?;
            budget::write_keys(tx, keys)?;
            audit::forget(tx, &batch.forgotten)?;
            match &batch.pruned {
                Some(pruned) => audit::write_pruned(tx, pruned),
                None => Ok(()),
            }
        })?;
        self.database.ensure_in_place()?;
        self.keys.forget_closed();
        self.written = self.head;
        self.news.send_replace(self.head.seq);
        self.pruning.has_rest |= batch.pruned.is_some();
        self.events_since_checkpoint = self
            .events_since_checkpoint
            .saturating_add(batch.events.len());
        let events = std::mem::take(&mut batch.events);
        self.building.behind.note(events);
        Ok(())
    }

    pub(super) fn deliver(&mut self, batch: Batch) {
        self.checkpoints.written(batch.checkpoint);
        self.checkpoints.noted(batch.exported.unwrap_or_default());
        for closing in batch.closed {
            self.live.remove(&closing.hold.call());
            if let Some(closed) = closing.reply {
                // Whoever waited may have gone; the event is written either way.
                let _ = closed.heard.send(closed.standings);
            }
        }
        for reply in batch.replies {
            match reply {
                Reply::Admitted(reply, hold) => self.let_through(reply, hold),
                Reply::Refused(reply, why) => {
                    let _ = reply.send(Err(why));
                }
                Reply::Noted(reply) => {
                    let _ = reply.send(());
                }
                Reply::Looked(reply, standings) => {
                    let _ = reply.send(standings);
                }
            }
        }
    }

    fn let_through(&mut self, reply: oneshot::Sender<Result<Hold, NotAdmitted>>, hold: Hold) {
        self.live.insert(hold.call());
        // The caller waited too long and told its agent so: nothing was forwarded, nothing is owed.
        if let Err(Ok(hold)) = reply.send(Ok(hold)) {
            let entry = entries::never_forwarded(hold.call());
            self.unwritten.push(Closing {
                hold,
                entry,
                ending: Ending::Unsent,
                reply: None,
            });
        }
    }
}
