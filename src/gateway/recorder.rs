//! The way to the writer: a bounded queue going in, patience going out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::audit::{Entry, Kind, Proof, Redactor};
use crate::budget::{Claims, Ending, Hold, Permits, Reported, Standing};
use crate::policy::Charge;
use crate::types::{CallId, Zone};

use super::entries;
use super::health::{Health, PATIENCE};
use super::operator::{Instruction, Outcome, Refused};
use super::writer::{Budgets, Closed, Closing, Job, NotAdmitted, Ordered};

/// Requests that wait for the writer. Beyond it, calls are refused before anything is reserved.
pub(super) const QUEUE: usize = 8_192;

/// How long an operator waits for an order: it may read much of the file, behind whatever waits for the writer.
const ORDER_PATIENCE: Duration = Duration::from_secs(60);

/// The log cannot be written now; nothing was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log cannot be written")]
pub struct Unrecorded;

/// Hands requests to the writer.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    jobs: mpsc::Sender<Job>,
    // INVARIANT: holds at most one closing for each call in flight, and those are limited.
    closings: mpsc::UnboundedSender<Closing>,
    health: Health,
    /// Nothing goes to the writer that did not pass it.
    redactor: Arc<Redactor>,
}

impl Recorder {
    pub(super) fn new(
        jobs: mpsc::Sender<Job>,
        closings: mpsc::UnboundedSender<Closing>,
        health: Health,
        redactor: Arc<Redactor>,
    ) -> Self {
        Self {
            jobs,
            closings,
            health,
            redactor,
        }
    }

    /// Whether the last commit held, the disk answers, and the writer is there.
    pub(super) fn is_recording(&self) -> bool {
        self.health.is_good() && !self.jobs.is_closed()
    }

    /// Queues something for the writer, unless it would wait there in vain.
    fn ask(&self, job: Job) -> Result<(), Unrecorded> {
        if self.health.hangs() {
            return Err(Unrecorded);
        }
        self.jobs.try_send(job).map_err(|_| Unrecorded)
    }

    /// Resolves when the writer is no more.
    pub(super) async fn gone(&self) {
        self.jobs.closed().await;
    }

    /// Asks for room in all budgets that count a call, or for what the call holds that it goes on with, and for the
    /// event that says so; returns after both are durable.
    pub(super) async fn admit(
        &self,
        entry: Entry,
        call: CallId,
        (charges, continues): (Vec<Charge>, Option<CallId>),
        zone: Zone,
        keys: Option<Box<Claims>>,
    ) -> Result<OpenCall, NotAdmitted> {
        let (reply, answer) = oneshot::channel();
        let budgets = Budgets {
            charges: charges.clone(),
            zone: zone.clone(),
        };
        let job = Job::Admit {
            entry: Box::new(self.redactor.entry(entry)),
            call,
            // What another call took is held already.
            charges: match continues {
                Some(_) => Vec::new(),
                None => charges,
            },
            continues,
            zone,
            keys,
            reply,
        };
        self.ask(job)
            .map_err(|Unrecorded| NotAdmitted::Unrecorded)?;
        let mut waiting = Waiting {
            answer,
            recorder: self,
        };
        let Ok(Ok(admitted)) = timeout(PATIENCE, &mut waiting.answer).await else {
            return Err(NotAdmitted::Unrecorded);
        };
        Ok(OpenCall {
            hold: Some(admitted?),
            budgets,
            recorder: self.clone(),
            permits: Permits::default(),
        })
    }

    /// Hands the end of a call to the writer; says whether there is one.
    fn close(&self, hold: Hold, (entry, ending): (Entry, Ending), reply: Option<Closed>) -> bool {
        let closing = Closing {
            hold,
            entry: self.redactor.entry(entry),
            ending,
            reply,
        };
        self.closings.send(closing).is_ok()
    }

    /// Has the writer see whether something is due.
    pub(super) fn tick(&self) {
        // With a full queue the next time will do.
        drop(self.jobs.try_send(Job::Tick));
    }

    /// How budgets stand now, with all that is durable; `None` when the writer cannot say.
    pub(super) async fn look(&self, budgets: Budgets) -> Option<Vec<Standing>> {
        let (reply, heard) = oneshot::channel();
        self.jobs.try_send(Job::Look { budgets, reply }).ok()?;
        timeout(PATIENCE, heard).await.ok()?.ok()
    }

    /// Has the writer carry out an order; returns when that is durable.
    pub(super) async fn order(
        &self,
        instruction: Instruction,
        proof: Option<Proof>,
    ) -> Result<Outcome, Refused> {
        let (reply, done) = oneshot::channel();
        let job = Job::Order(Box::new(Ordered {
            instruction,
            proof,
            reply,
        }));
        self.jobs.try_send(job).map_err(|_| Refused::Busy)?;
        match timeout(ORDER_PATIENCE, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(Refused::Unrecorded),
        }
    }

    /// Writes one event, or counts it; returns after that is durable.
    pub(super) async fn note(&self, entry: Entry) -> Result<(), Unrecorded> {
        let (reply, written) = oneshot::channel();
        let job = Job::Note {
            entry: Box::new(self.redactor.entry(entry)),
            reply,
        };
        self.ask(job)?;
        match timeout(PATIENCE, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unrecorded),
        }
    }
}

/// A caller that waits to be let through. Should the commit come after it gave up, the writer finds nobody and
/// releases the hold; should it come in the very moment of giving up, the hold is found here.
struct Waiting<'a> {
    answer: oneshot::Receiver<Result<Hold, NotAdmitted>>,
    recorder: &'a Recorder,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(hold)) = self.answer.try_recv() {
            let entry = entries::never_forwarded(hold.call());
            self.recorder.close(hold, (entry, Ending::Unsent), None);
        }
    }
}

/// An admitted call. It has to be closed; should it be dropped instead, because the gateway failed or was stopped
/// in the middle of it, it is closed as failed and costs what it held.
#[derive(Debug)]
pub(super) struct OpenCall {
    hold: Option<Hold>,
    budgets: Budgets,
    recorder: Recorder,
    /// Its room among the calls in flight, given back with this.
    permits: Permits,
}

impl OpenCall {
    /// Keeps its room among the calls in flight until it is closed.
    pub(super) fn with_permits(mut self, permits: Permits) -> Self {
        self.permits = permits;
        self
    }

    /// What a server reports in this result that the call cost, one entry a budget.
    pub(super) fn read_costs(&self, result: &str) -> Vec<Reported> {
        let hold = self.hold.as_ref();
        hold.map(|hold| hold.read_costs(result)).unwrap_or_default()
    }

    /// Ends the call with this event. Returns when it is durable, with how the budgets of the call stand then; or
    /// with nothing when that takes too long: the writer goes on trying, and the agent gets its answer.
    pub(super) async fn close(mut self, entry: Entry, ending: Ending) -> Vec<Standing> {
        let Some(hold) = self.hold.take() else {
            return Vec::new();
        };
        let (heard, written) = oneshot::channel();
        let closed = Closed {
            budgets: self.budgets.clone(),
            standings: Vec::new(),
            heard,
        };
        if !self.recorder.close(hold, (entry, ending), Some(closed)) {
            tracing::error!("the writer has stopped; the next start closes this call as abandoned");
            return Vec::new();
        }
        match timeout(PATIENCE, written).await {
            Ok(standings) => standings.unwrap_or_default(),
            Err(_) => {
                tracing::warn!("an answer goes out before its closing event is written");
                Vec::new()
            }
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        let outcome = if std::thread::panicking() {
            "gateway_error"
        } else {
            "gateway_stopped"
        };
        let mut entry = Entry::new(Kind::Failed).text("outcome", outcome);
        entry.call = Some(hold.call());
        // Without a writer the next start closes it.
        self.recorder.close(hold, (entry, Ending::Unclear), None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::types::Timestamp;

    fn wish() -> (Entry, CallId) {
        let call = CallId::new(Timestamp::from_micros(0), [1; 10]);
        let mut entry = Entry::new(Kind::Admitted);
        entry.call = Some(call);
        (entry, call)
    }

    /// Both queues with nobody at their ends, as if the disk had swallowed the writer.
    struct Stuck {
        recorder: Recorder,
        health: Health,
        jobs: mpsc::Receiver<Job>,
        closings: mpsc::UnboundedReceiver<Closing>,
    }

    fn stuck(queue: usize) -> Stuck {
        let (jobs, waiting) = mpsc::channel(queue);
        let (closings, unclosed) = mpsc::unbounded_channel();
        let health = Health::new();
        let redactor = Arc::new(Redactor::new(Vec::new()));
        Stuck {
            recorder: Recorder::new(jobs, closings, health.clone(), redactor),
            health,
            jobs: waiting,
            closings: unclosed,
        }
    }

    async fn is_refused(recorder: &Recorder) -> Duration {
        let asked = Instant::now();
        let (entry, call) = wish();
        let refused = recorder
            .admit(entry, call, (Vec::new(), None), Zone::utc(), None)
            .await;
        assert!(matches!(refused, Err(NotAdmitted::Unrecorded)));
        asked.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_two_seconds_for_a_disk_that_hangs_and_the_next_one_not_at_all() {
        let stuck = stuck(QUEUE);
        stuck.health.waits();
        assert_eq!(is_refused(&stuck.recorder).await, PATIENCE);
        assert!(!stuck.recorder.is_recording());
        assert_eq!(is_refused(&stuck.recorder).await, Duration::ZERO);
        let asked = Instant::now();
        let noted = stuck.recorder.note(Entry::new(Kind::Policy)).await;
        assert_eq!((noted, asked.elapsed()), (Err(Unrecorded), Duration::ZERO));
        // It answers after all: whoever comes now waits again.
        stuck.health.is_answered();
        assert!(stuck.recorder.is_recording());
        assert_eq!(is_refused(&stuck.recorder).await, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once() {
        let mut stuck = stuck(1);
        assert_eq!(is_refused(&stuck.recorder).await, PATIENCE);
        assert_eq!(is_refused(&stuck.recorder).await, Duration::ZERO);
        drop(stuck.jobs.try_recv());
        assert_eq!(is_refused(&stuck.recorder).await, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_call_waits_two_seconds_and_is_not_lost() {
        let mut stuck = stuck(1);
        let recorder = stuck.recorder.clone();
        let admitting = tokio::spawn(async move {
            let (entry, call) = wish();
            recorder
                .admit(entry, call, (Vec::new(), None), Zone::utc(), None)
                .await
        });
        let Some(Job::Admit { call, reply, .. }) = stuck.jobs.recv().await else {
            panic!("it asks to be admitted");
        };
        let hold = crate::budget::Books::default()
            .reserve(call, &[], &Zone::utc(), Timestamp::from_micros(0))
            .unwrap();
        reply.send(Ok(hold)).unwrap();
        let open = admitting.await.unwrap().unwrap();
        let asked = Instant::now();
        open.close(Entry::new(Kind::Settled), Ending::Answered(Vec::new()))
            .await;
        assert_eq!(asked.elapsed(), PATIENCE);
        assert_eq!(stuck.closings.try_recv().unwrap().hold.call(), call);
    }
}
