//! The one writer. Callers queue; everything that waits is decided in order and committed in one transaction.
//!
//! Closings go before new calls, so that budgets and memory come free under load. A caller learns the answer
//! only after the commit. When a commit fails nobody knows what became of it: the file is opened anew, books
//! and chain are read back from it, and only then are calls let through again.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{sleep, timeout};

use crate::audit::{Entry, Folds, Head, Kind, Names};
use crate::budget::{Books, Claims, Ending, Hold, Keys, Repeated, Shortage, Standing};
use crate::clock::{Clock, Guard, Turn};
use crate::db::{DbError, LogId, Writer as Database};
use crate::policy::Charge;
use crate::types::{CallId, Timestamp, Zone};

use super::checkpoints::Checkpoints;
use super::entries;
use super::health::Health;

mod batch;
mod behind;
mod keys;
mod orders;
mod pruning;
mod recover;
mod repair;

use batch::Batch;
use behind::Building;
pub(super) use orders::Ordered;
pub use pruning::Prune;
use pruning::Pruning;

/// Requests in one transaction. Twice as many rows, of calls with two budgets, still go to SQLite in one go; larger batches
/// would take longer by the call.
const MAX_BATCH: usize = 128;

/// After so many events the write-ahead log is moved into the file: most of it beside the writer, the rest between two
/// batches.
const CHECKPOINT_EVENTS: usize = 4_096;

/// How often the file is looked at while there is nothing to write.
const LOOK: Duration = Duration::from_secs(2);

/// Pages of the write-ahead log that cannot be moved before that is worth a warning: 256 MiB.
const WAL_LARGE: i64 = 65_536;

/// Pause between attempts to open the file again.
const REOPEN_PAUSE: Duration = Duration::from_millis(250);

/// Something to be written that callers wait for; the queue of these is bounded.
#[derive(Debug)]
pub(super) enum Job {
    /// Let a call through if every budget has room; refuse it otherwise. Either way it is written down.
    Admit {
        /// What is known of the call.
        entry: Box<Entry>,
        /// Whose id it has.
        call: CallId,
        /// The budgets it needs; of a call that goes on with another, none: that one's hold is taken over.
        charges: Vec<Charge>,
        /// The call that this one goes on with.
        continues: Option<CallId>,
        /// The zone of the rules in force.
        zone: Zone,
        /// The keys it comes with; a call that was made before is refused.
        keys: Option<Box<Claims>>,
        /// Hears the answer, after the commit.
        reply: oneshot::Sender<Result<Hold, NotAdmitted>>,
    },
    /// Write an event down; a refusal that repeats others is only counted.
    Note {
        /// The event.
        entry: Box<Entry>,
        /// Hears about it after the commit; dropped when it was not written.
        reply: oneshot::Sender<()>,
    },
    /// Say how budgets stand.
    Look {
        /// Which budgets.
        budgets: Budgets,
        /// Hears it after the commit of what was decided before.
        reply: oneshot::Sender<Vec<Standing>>,
    },
    /// Carry out what an operator ordered.
    Order(Box<Ordered>),
    /// See whether something is due: counts of refusals, a checkpoint.
    Tick,
}

/// The end of an admitted call. Never dropped: it is tried again until it is written.
#[derive(Debug)]
pub(super) struct Closing {
    /// What the call holds.
    pub(super) hold: Hold,
    /// How it ended.
    pub(super) entry: Entry,
    /// What that means for its budgets.
    pub(super) ending: Ending,
    /// Hears about it after the commit.
    pub(super) reply: Option<Closed>,
}

/// Whoever waits for the end of a call to be written.
#[derive(Debug)]
pub(super) struct Closed {
    /// The budgets that the call had to fit into.
    pub(super) budgets: Budgets,
    /// How they stand right after it; filled in by the writer.
    pub(super) standings: Vec<Standing>,
    /// Hears that, after the commit.
    pub(super) heard: oneshot::Sender<Vec<Standing>>,
}

/// Budgets, and the zone of their windows.
#[derive(Debug, Clone)]
pub(super) struct Budgets {
    /// Which.
    pub(super) charges: Vec<Charge>,
    /// The zone of the rules in force.
    pub(super) zone: Zone,
}

/// Why a call was not let through.
#[derive(Debug)]
pub(super) enum NotAdmitted {
    /// A budget has no room; the refusal is written down. With it, how all budgets of the call stand.
    Full(Box<Shortage>, Vec<Standing>),
    /// It was made before; the refusal is written down.
    Repeated(Box<Repeated>),
    /// It was made before, and this is what it came to; that is written down.
    Replayed(Box<Replay>),
    /// Nothing can be written.
    Unrecorded,
}

/// What a call came to that was made before.
#[derive(Debug)]
pub(super) struct Replay {
    /// That call.
    pub(super) first: CallId,
    /// Whether its server spoke 2026-07-28.
    pub(super) is_modern: bool,
    /// Its result, as it came from the server.
    pub(super) result: String,
}

/// The state that one task owns.
pub(super) struct Writer {
    database: Database,
    clock: Arc<dyn Clock>,
    log: LogId,
    head: Head,
    /// The end of the chain at the last commit that held; whatever is read back must have it.
    written: Head,
    /// Tells whoever watches how far that is.
    news: watch::Sender<i64>,
    names: Names,
    books: Books,
    last_at: Timestamp,
    guard: Guard,
    /// What became of the wall clock and is not written down yet.
    turn: Option<Turn>,
    /// Calls whose caller was told to go ahead and that are not closed yet.
    live: HashSet<CallId>,
    /// Closings that could not be written yet.
    unwritten: Vec<Closing>,
    /// Set when a commit failed, until the file was read back.
    suspect: bool,
    /// There was little room on the disk when it was last looked at.
    is_scarce: bool,
    /// What of this everyone else may see.
    health: Health,
    events_since_checkpoint: usize,
    /// The write-ahead log is being moved into the file.
    moving: Option<JoinHandle<()>>,
    folds: Folds,
    checkpoints: Checkpoints,
    building: Building,
    keys: Keys,
    /// When the table of keys was last swept.
    keys_swept: Timestamp,
    pruning: Pruning,
    is_wal_large: bool,
}

/// What there is to do where nothing waits.
enum Next {
    Closing(Closing),
    Job(Job),
    /// Nobody can ask for anything any more.
    Last,
    /// Nobody asked for a while.
    Quiet,
    /// The file is not in its place.
    Lost,
}

impl Writer {
    /// Reads the file, closes what a crash left open, and notes that the gateway started.
    pub(super) async fn start(
        database: Database,
        clock: Arc<dyn Clock>,
        fresh_log: [u8; 16],
        first: Vec<Entry>,
        checkpoints: Checkpoints,
    ) -> Result<Self, DbError> {
        let opened = Self::open(database, clock, fresh_log, first, checkpoints).await?;
        let (mut writer, mut batch) = opened;
        let at = writer.last_at;
        // The states that would bring them back died with the process that sealed them.
        writer.expire(&mut batch, Timestamp::LAST, at);
        writer.sweep(&mut batch, at, entries::abandoned).await?;
        writer.write(&mut batch)?;
        writer.deliver(batch);
        Ok(writer)
    }

    /// The same without closing anything: the list of open calls is to be put right first.
    pub(super) async fn start_unswept(
        database: Database,
        clock: Arc<dyn Clock>,
        fresh_log: [u8; 16],
        first: Vec<Entry>,
        checkpoints: Checkpoints,
    ) -> Result<Self, DbError> {
        let opened = Self::open(database, clock, fresh_log, first, checkpoints).await?;
        let (mut writer, mut batch) = opened;
        writer.write(&mut batch)?;
        writer.deliver(batch);
        Ok(writer)
    }

    async fn open(
        mut database: Database,
        clock: Arc<dyn Clock>,
        fresh_log: [u8; 16],
        first: Vec<Entry>,
        checkpoints: Checkpoints,
    ) -> Result<(Self, Batch), DbError> {
        let log = database.identity(fresh_log, clock.now()).await?;
        let mut writer = Self {
            database,
            log,
            head: Head::empty(log),
            written: Head::empty(log),
            news: watch::Sender::new(0),
            names: Names::default(),
            books: Books::default(),
            last_at: Timestamp::from_micros(i64::MIN),
            guard: Guard::start(&*clock),
            turn: None,
            clock,
            live: HashSet::new(),
            unwritten: Vec::new(),
            suspect: false,
            is_scarce: false,
            health: Health::new(),
            events_since_checkpoint: 0,
            moving: None,
            folds: Folds::default(),
            checkpoints,
            building: Building::default(),
            keys: Keys::default(),
            keys_swept: Timestamp::from_micros(i64::MIN),
            pruning: Pruning::default(),
            is_wal_large: false,
        };
        writer.read_back().await?;
        let mut batch = Batch::default();
        let at = writer.now();
        for entry in first {
            if entry.kind == Kind::Started {
                writer.checkpoint(&mut batch, entry, at);
            } else {
                writer.chain(&mut batch, &entry, at);
            }
        }
        writer.unfold(&mut batch, at, true);
        Ok((writer, batch))
    }

    /// The end of the chain.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Tells the sequence of the last event that is durable, after each commit; the writer waits for nobody who
    /// watches.
    pub(super) fn news(&self) -> watch::Receiver<i64> {
        self.news.subscribe()
    }

    /// Tells whether the log can be written.
    pub(super) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Serves both queues until both are closed, then notes the stop and closes the file.
    pub(super) async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut closings: mpsc::UnboundedReceiver<Closing>,
    ) -> Result<Head, DbError> {
        let mut waiting = Vec::new();
        let mut is_last = false;
        loop {
            if self.suspect && !self.recover_in_sight().await {
                refuse_all(&mut waiting, &mut jobs);
                sleep(REOPEN_PAUSE).await;
                continue;
            }
            if self.unwritten.is_empty() && waiting.is_empty() {
                if is_last {
                    break;
                }
                match self.next(&mut jobs, &mut closings).await {
                    Next::Closing(closing) => self.unwritten.push(closing),
                    Next::Job(job) => waiting.push(job),
                    // Whoever could send a closing is gone as well; what they sent is taken below.
                    Next::Last => is_last = true,
                    Next::Quiet => {
                        self.health.waits();
                        self.prune_when_due();
                        self.build_quietly().await;
                        self.pack_when_due().await;
                        self.health.is_answered();
                        continue;
                    }
                    Next::Lost => continue,
                }
            }
            // Writing keeps this thread. Whoever was answered and goes on in it comes first, and so do those who are about to
            // ask: a batch costs more than what is in it.
            yield_now().await;
            drain(&mut closings, &mut jobs, &mut self.unwritten, &mut waiting);
            // Each is a wait of its own: in between the disk has answered.
            self.health.waits();
            self.commit(std::mem::take(&mut waiting)).await;
            self.health.waits();
            self.build_when_due().await;
            self.prune_when_due();
            self.pack_when_due().await;
            self.health.waits();
            self.checkpoint_when_due();
            self.sweep_keys_when_due();
            self.health.is_answered();
        }
        self.stop().await
    }

    async fn recover_in_sight(&mut self) -> bool {
        self.health.waits();
        let has_recovered = self.recover().await;
        self.health.is_answered();
        has_recovered
    }

    /// Waits for something to do. Sees now and then whether the file is still there meanwhile: better known before the
    /// next call comes.
    async fn next(
        &mut self,
        jobs: &mut mpsc::Receiver<Job>,
        closings: &mut mpsc::UnboundedReceiver<Closing>,
    ) -> Next {
        let pause = self.pause();
        let next = async {
            tokio::select! {
                biased;
                Some(closing) = closings.recv() => Next::Closing(closing),
                job = jobs.recv() => job.map_or(Next::Last, Next::Job),
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => Next::Quiet,
            }
        };
        let mut next = pin!(next);
        loop {
            if let Ok(next) = timeout(LOOK, &mut next).await {
                return next;
            }
            if let Err(error) = self.database.ensure_in_place() {
                tracing::error!(%error, "the log cannot be written; calls are refused until it can");
                self.set_suspect(true);
                return Next::Lost;
            }
            self.is_full();
        }
    }

    async fn commit(&mut self, jobs: Vec<Job>) {
        let at = self.now();
        let mut batch = self.begin(at);
        for closing in std::mem::take(&mut self.unwritten) {
            self.close(&mut batch, closing, at);
        }
        match self.decide(&mut batch, jobs, at).await {
            Ok(()) => {
                let orders = std::mem::take(&mut batch.orders);
                self.deliver(batch);
                for ordered in orders {
                    self.obey(ordered).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the log cannot be written; calls are refused until it can");
                self.set_suspect(true);
                // Waiting callers hear that nothing was recorded when their replies are dropped.
                self.unwritten = batch.closed;
            }
        }
    }

    async fn decide(
        &mut self,
        batch: &mut Batch,
        jobs: Vec<Job>,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let is_full = self.is_full();
        self.look_up_keys(&jobs).await?;
        for job in jobs {
            // Dropped, and so refused: what room is left is for the ends of calls.
            if is_full && matches!(job, Job::Admit { .. }) {
                continue;
            }
            let Some(job) = self.replay(batch, job, at).await? else {
                continue;
            };
            self.seed(batch, &job, at).await?;
            self.job(batch, job, at);
        }
        self.write(batch)
    }

    /// Whether the disk has room for the ends of calls only; says so when that changes.
    fn is_full(&mut self) -> bool {
        let Some(room) = self.database.room() else {
            return false;
        };
        let (free_bytes, is_full) = (room.free, room.is_used_up());
        if room.is_scarce() && !self.is_scarce {
            tracing::warn!(
                free_bytes,
                "the disk of the log is filling up; make room on it"
            );
        }
        self.is_scarce = room.is_scarce();
        match (self.health.set_full(is_full), is_full) {
            (false, true) => {
                let what =
                    "the disk of the log is nearly full; calls are refused until there is room";
                tracing::error!(free_bytes, "{what}");
            }
            (true, false) => tracing::info!(free_bytes, "the disk of the log has room again"),
            (true, true) | (false, false) => {}
        }
        is_full
    }

    fn checkpoint_when_due(&mut self) {
        match &self.moving {
            // Most of it is moved: the little that was written meanwhile takes no time, and only when nothing is left can
            // the log begin anew at its front.
            Some(moving) if moving.is_finished() => self.moving = None,
            Some(_) => return,
            None if self.events_since_checkpoint < CHECKPOINT_EVENTS => return,
            None => {
                self.events_since_checkpoint = 0;
                let at = self.now();
                self.books.forget_ended(at);
                self.moving = Some(self.database.checkpoint_aside());
                return;
            }
        }
        match self.database.checkpoint() {
            Ok(left) => self.note_wal(left),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log could not be moved into the file");
            }
        }
    }

    /// Tells once when something that reads keeps the write-ahead log from being moved. Our own pages cannot: see
    /// [`crate::db::PageReader`].
    fn note_wal(&mut self, left: i64) {
        let is_large = left > WAL_LARGE;
        if is_large && !self.is_wal_large {
            tracing::warn!(
                pages = left,
                "another program has been reading the database for long, and the write-ahead log grows until it ends"
            );
        }
        self.is_wal_large = is_large;
    }

    async fn stop(mut self) -> Result<Head, DbError> {
        let at = self.now();
        let mut batch = self.begin(at);
        self.unfold(&mut batch, at, true);
        self.expire(&mut batch, Timestamp::LAST, at);
        self.checkpoint(&mut batch, Entry::new(Kind::Stopped), at);
        self.write(&mut batch)?;
        self.deliver(batch);
        self.checkpoints.close().await;
        self.build_rest().await;
        if let Some(moving) = self.moving.take() {
            // It tells by itself what goes wrong.
            let _ = moving.await;
        }
        self.database.close().await?;
        Ok(self.head)
    }

    /// The time of the ledger: that of the clock as far as it can be believed, but never before the last event.
    fn now(&mut self) -> Timestamp {
        let (time, turn) = self.guard.read(&*self.clock);
        self.turn = turn.or(self.turn);
        self.last_at = self.last_at.max(time);
        self.last_at
    }
}

fn drain(
    closings: &mut mpsc::UnboundedReceiver<Closing>,
    jobs: &mut mpsc::Receiver<Job>,
    closed: &mut Vec<Closing>,
    waiting: &mut Vec<Job>,
) {
    while closed.len() < MAX_BATCH
        && let Ok(closing) = closings.try_recv()
    {
        closed.push(closing);
    }
    while closed.len() + waiting.len() < MAX_BATCH
        && let Ok(job) = jobs.try_recv()
    {
        waiting.push(job);
    }
}

/// Drops what waits; whoever asked hears at once that nothing was recorded.
fn refuse_all(waiting: &mut Vec<Job>, jobs: &mut mpsc::Receiver<Job>) {
    waiting.clear();
    while jobs.try_recv().is_ok() {}
}

#[cfg(test)]
mod tests;
