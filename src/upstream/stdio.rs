//! A server that runs as a child process, one for each agent or one for all, whichever era it speaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::protocol::{LogLevel, Method, Object, code};
use crate::types::{AgentName, EraChoice, Instances, ServerName};

use super::asking::{Declared, Questions, ROOTS_CHANGED};
use super::audience::{Audience, Audiences, Hearers};
use super::backoff::Backoff;
use super::child::Program;
use super::codec::{Outcome, error_code, prepare};
use super::deadline::Deadline;
use super::era::{EraCell, Older, Spoken, Verdict};
use super::handshake::{
    Probed, as_opening, discover_params, initialize_params, judge, level_params, logs,
    read_initialize,
};
use super::link::{Label, Link};
use super::listener::Listener;
use super::opening::locked;
use super::pool::{Lease, Pool, Turns};
use super::seat::Seat;
use super::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError, limits};

mod hearing;

/// Whose process: that of one agent, or everyone's.
type Owner = Option<AgentName>;

/// One server as child processes.
#[derive(Debug)]
pub(super) struct Stdio {
    server: ServerName,
    program: Arc<Program>,
    instances: Instances,
    timeout: Duration,
    era: EraCell,
    processes: Arc<Pool<Seat<Owner>, Process>>,
    backoff: Arc<Mutex<Backoff<Owner>>>,
    clock: Arc<dyn Clock>,
    audiences: Audiences<Owner>,
}

/// A process whose opening is done.
#[derive(Debug)]
pub(super) struct Process {
    link: Arc<Link>,
    era: Era,
    /// What a legacy process said about itself.
    description: Option<Arc<Description>>,
    /// Who hears what a legacy process says outside of calls.
    audience: Option<Arc<Audience>>,
    /// How severe a log line must be, as a legacy process was told last.
    level: Mutex<Option<LogLevel>>,
    /// What a legacy process was told about its agent.
    declared: Option<Arc<Declared>>,
    /// Whether anybody used it yet.
    was_used: AtomicBool,
    /// Whether it ever answered a call.
    was_useful: AtomicBool,
}

impl Process {
    fn modern(link: Link) -> Self {
        Self {
            link: Arc::new(link),
            era: Era::Modern,
            description: None,
            audience: None,
            level: Mutex::default(),
            declared: None,
            was_used: AtomicBool::new(false),
            was_useful: AtomicBool::new(false),
        }
    }

    fn legacy(link: Link, description: Description, hearers: Hearers) -> Self {
        Self {
            link: Arc::new(link),
            era: Era::Legacy,
            description: Some(Arc::new(description)),
            declared: hearers.declared,
            audience: Some(hearers.audience),
            was_used: AtomicBool::new(false),
            level: Mutex::default(),
            was_useful: AtomicBool::new(false),
        }
    }
}

impl Stdio {
    pub(super) fn new(
        server: &ServerName,
        program: Program,
        instances: Instances,
        choice: EraChoice,
        timeout: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        // A process that is not used any more is ended by dropping it.
        let processes = Pool::new(limits::PROCESSES, clock.clone(), drop, is_listened_to);
        Self {
            server: server.clone(),
            program: Arc::new(program),
            instances,
            timeout,
            era: EraCell::new(server, choice, clock),
            processes,
            backoff: Arc::default(),
            clock: clock.clone(),
            audiences: Audiences::default(),
        }
    }

    pub(super) async fn describe(&self, lane: &Lane) -> Result<Arc<Description>, UpstreamError> {
        let described = match self.spoken(lane).await? {
            Spoken::Only(Era::Legacy) => self.noted(self.describe_legacy(lane).await)?,
            Spoken::Only(Era::Modern) => self.describe_modern().await?,
            Spoken::Both => match self.describe_legacy(lane).await {
                Ok(described) => described,
                Err(_) => {
                    self.era.doubt_older();
                    self.describe_modern().await?
                }
            },
        };
        described
            .ok_or_else(|| UpstreamError::Refused("it does not answer `server/discover`".into()))
    }

    async fn describe_modern(&self) -> Result<Option<Arc<Description>>, UpstreamError> {
        Ok(self.era.verdict(|| self.probe()).await?.description.clone())
    }

    /// What the server is, from any process of this lane.
    async fn describe_legacy(
        &self,
        lane: &Lane,
    ) -> Result<Option<Arc<Description>>, UpstreamError> {
        let owner = self.owner(Era::Legacy, lane);
        self.bury(Era::Legacy, &owner);
        if let Some((_, process)) = self.processes.open(|seat| seat.whose == owner).pop() {
            return Ok(process.description.clone());
        }
        let process = self.process(Era::Legacy, owner, None).await?;
        Ok(process.description.clone())
    }

    pub(super) async fn send(
        &self,
        lane: &Lane,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let seated = match self.spoken(lane).await? {
            Spoken::Only(era) => self.noted(self.seated(era, lane, &outgoing).await)?,
            Spoken::Both => match self.seated(Era::Legacy, lane, &outgoing).await {
                Ok(seated) => seated,
                Err(_) => {
                    self.era.doubt_older();
                    self.seated(Era::Modern, lane, &outgoing).await?
                }
            },
        };
        let (process, declared) = seated;
        let declared = declared.filter(|_| outgoing.may_ask());
        let era = process.era;
        let questions = declared.map(|declared| Questions::new(declared, notices));
        let mut deadline = Deadline::of(questions.as_ref(), self.timeout);

        let id = process.link.next_id();
        let (method, level) = (outgoing.method.as_str(), outgoing.log_level);
        if let Some(level) = outgoing.session_level {
            self.set_level(&process, level).await;
        }
        let missed = outgoing.missed.clone();
        let prepared = prepare(outgoing, era, id);
        let asker = questions.as_ref().map(Questions::asker);
        let listener = Listener::new(id, prepared.agent_token, level, notices)
            .counting(missed)
            .asking(asker);
        let params = &prepared.params;
        let calling = process
            .link
            .call(id, method, params, listener, &mut deadline);
        let outcome = calling.await?;
        process.was_useful.store(true, Ordering::Relaxed);
        if era == Era::Modern && speaks_of_version(&outcome) {
            self.era.doubt();
        }
        Ok(Reply {
            era,
            status: 200,
            outcome,
        })
    }

    /// What is spoken to the server for a lane.
    pub(super) async fn era(&self, lane: &Lane) -> Result<Era, UpstreamError> {
        Ok(self.spoken(lane).await?.first())
    }

    /// Tells a process that logs how severe a line must be, once; what goes wrong with it says nothing about the
    /// call that follows. One that everyone shares keeps its own level.
    async fn set_level(&self, process: &Process, level: LogLevel) {
        let is_own = self.instances == Instances::PerAgent;
        let logs = process.description.as_deref().is_some_and(logs);
        if !is_own || !logs || *locked(&process.level) == Some(level) {
            return;
        }
        let params = level_params(level);
        drop(ask(&process.link, Method::SetLevel, &params, limits::SIDE).await);
        *locked(&process.level) = Some(level);
    }

    /// What to speak for a lane. Processes that everyone shares speak one era, as nobody could be asked there.
    async fn spoken(&self, lane: &Lane) -> Result<Spoken, UpstreamError> {
        let era = self.era.era(|| self.probe()).await?;
        match self.instances {
            Instances::Shared => Ok(Spoken::Only(era)),
            Instances::PerAgent => {
                let initialize = || self.probe_older(lane);
                Ok(self.era.spoken(era, lane, initialize).await)
            }
        }
    }

    /// The process for one call, and what it may ask the agent.
    async fn seated(
        &self,
        era: Era,
        lane: &Lane,
        outgoing: &Outgoing,
    ) -> Result<(Lease<Process>, Option<Arc<Declared>>), UpstreamError> {
        let owner = self.owner(era, lane);
        // A process that everyone shares, or that is stateless, has nobody to ask.
        let declared = Declared::of(outgoing).filter(|_| owner.is_some());
        let process = self.process(era, owner, declared.as_ref()).await?;
        Ok((process, declared))
    }

    /// `initialize` was refused, so the verdict that led there has no ground.
    fn noted<T>(&self, opened: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        if let Err(UpstreamError::Refused(_)) = &opened {
            self.era.forget();
        }
        opened
    }

    /// Whose process serves a lane. The sessions of one agent share it: it is the agent's, not the session's.
    fn owner(&self, era: Era, lane: &Lane) -> Owner {
        match (era, self.instances) {
            (Era::Legacy, Instances::PerAgent) => Some(lane.agent.clone()),
            // A modern process remembers nothing between requests.
            (Era::Legacy, Instances::Shared) | (Era::Modern, _) => None,
        }
    }

    async fn process(
        &self,
        era: Era,
        owner: Owner,
        declared: Option<&Arc<Declared>>,
    ) -> Result<Lease<Process>, UpstreamError> {
        let turns = Turns {
            most: limits::LEASED_PROCESSES,
            patience: self.timeout,
        };
        let seat = async || {
            self.bury(era, &owner);
            let opening = || self.open(era, owner.clone(), declared.cloned());
            let declared = declared.map(|declared| &**declared);
            self.processes.seat(&owner, declared, turns, opening).await
        };
        let mut process = seat().await;
        // It may have ended while this call waited for the one before it.
        if matches!(&process, Ok(seated) if seated.lease.link.died_at().is_some()) {
            process = seat().await;
        }
        let process = process?.lease;
        // The first to use it: now it can be found among those that run.
        if let Some(audience) = &process.audience
            && !process.was_used.swap(true, Ordering::Relaxed)
        {
            audience.meet();
        }
        Ok(process)
    }

    /// Takes processes out of the pool that ended, or that were opened before the server changed its era.
    fn bury(&self, era: Era, owner: &Owner) {
        for (seat, process) in self.processes.open(|seat| seat.whose == *owner) {
            match process.link.died_at() {
                Some(at) if self.processes.discard(&seat, &process) => {
                    tracing::warn!(server = %self.server, agent = %label(owner), "a child process ended by itself");
                    let was_useful = process.was_useful.load(Ordering::Relaxed);
                    locked(&self.backoff).failed(owner, at, was_useful);
                }
                None if process.era != era => drop(self.processes.discard(&seat, &process)),
                Some(_) | None => {}
            }
        }
    }

    fn open(
        &self,
        era: Era,
        owner: Owner,
        declared: Option<Arc<Declared>>,
    ) -> impl Future<Output = Result<Process, UpstreamError>> + Send + use<> {
        let starting = self.start(&owner);
        let hearers = self.hearers(&owner, declared);
        let (backoff, clock) = (self.backoff.clone(), self.clock.clone());
        async move {
            hold_back(&locked(&backoff), &owner, clock.monotonic())?;
            let opened = match (starting.await, era) {
                (Err(error), _) => Err(error),
                (Ok(link), Era::Legacy) => initialize(link, hearers).await,
                (Ok(link), Era::Modern) => Ok(Process::modern(link)),
            };
            if opened.is_err() {
                locked(&backoff).failed(&owner, clock.monotonic(), false);
            }
            opened
        }
    }

    fn hearers(&self, owner: &Owner, declared: Option<Arc<Declared>>) -> Hearers {
        let audience = self.audiences.of(owner);
        Hearers { audience, declared }
    }

    /// Starts a process when it is polled, which is not while a lock is held.
    fn start(
        &self,
        owner: &Owner,
    ) -> impl Future<Output = Result<Link, UpstreamError>> + Send + use<> {
        let label = Label {
            server: self.server.to_string(),
            agent: label(owner),
        };
        let (program, clock) = (self.program.clone(), self.clock.clone());
        async move { Link::start(&program, clock, label) }
    }

    /// Asks a process of its own what it is: servers built on older SDKs exit at any request before
    /// `initialize` (reference: MCP 2026-07-28, versioning over stdio). A modern one is then kept for calls.
    fn probe(&self) -> impl Future<Output = Result<Verdict, UpstreamError>> + Send + use<> {
        let (starting, processes) = (self.start(&None), self.processes.clone());
        async move {
            let link = starting.await?;
            let params = discover_params();
            let probing = ask(&link, Method::Discover, &params, limits::CHILD_PROBE);
            let outcome = probing.await;
            match outcome.map(|outcome| judge(&outcome)) {
                Ok(Probed::Modern(description)) => {
                    // It remembers nothing of the probe, so it can stay and serve everyone.
                    let opened = async { Ok(Process::modern(link)) };
                    processes.get(&Seat::shared(None), || opened).await?;
                    Ok(Verdict {
                        era: Era::Modern,
                        description: Some(Arc::new(description)),
                    })
                }
                Ok(Probed::Legacy) | Err(_) => Ok(Verdict {
                    era: Era::Legacy,
                    description: None,
                }),
                Ok(Probed::Unknown(versions)) => Err(UpstreamError::Refused(format!(
                    "it speaks only protocol versions we do not: {versions}"
                ))),
            }
        }
    }

    /// Starts a process of the agent, of a program that is known to be modern, and opens it with `initialize`. One
    /// that opens is kept for the agent's calls.
    fn probe_older(&self, lane: &Lane) -> impl Future<Output = Older> + Send + use<> {
        let owner = self.owner(Era::Legacy, lane);
        let hearers = self.hearers(&owner, None);
        let (starting, processes) = (self.start(&owner), self.processes.clone());
        async move {
            let Ok(link) = starting.await else {
                return Older::Unclear;
            };
            match timeout(limits::CHILD_PROBE, initialize(link, hearers)).await {
                Ok(Ok(process)) => {
                    let opened = async { Ok(process) };
                    // Where there is no room, or one is open already, it is ended.
                    drop(processes.get(&Seat::shared(owner), || opened).await);
                    Older::Opens
                }
                // It started before, and answered `server/discover`.
                Ok(Err(_)) | Err(_) => Older::Refuses,
            }
        }
    }

    pub(super) async fn roots_changed(&self, lane: &Lane) {
        let owner = self.owner(Era::Legacy, lane);
        for (_, process) in self.processes.open(|seat| seat.whose == owner) {
            let declared = process.declared.as_ref();
            if declared.is_some_and(|declared| declared.has_roots()) {
                // A process that is gone has no use for it.
                let telling = process.link.tell(ROOTS_CHANGED);
                let _ = tokio::time::timeout(limits::SIDE, telling).await;
            }
        }
    }

    /// Processes that are open and have not ended.
    pub(super) fn running(&self) -> usize {
        let open = self.processes.open(|_| true);
        let running = open
            .iter()
            .filter(|(_, process)| process.link.died_at().is_none());
        running.count()
    }

    pub(super) async fn close(&self) {
        let ends = self
            .processes
            .close()
            .into_iter()
            .map(|process| process.link.clone().end());
        futures_util::future::join_all(ends).await;
    }
}

/// Whether news are expected of a process, so that it must not end.
fn is_listened_to(process: &Process) -> bool {
    process
        .audience
        .as_ref()
        .is_some_and(|audience| audience.is_open())
}

fn hold_back(backoff: &Backoff<Owner>, owner: &Owner, now: Duration) -> Result<(), UpstreamError> {
    match backoff.wait(owner, now) {
        None => Ok(()),
        Some(left) => Err(UpstreamError::Unreachable(format!(
            "the process ended and is started again in {} ms",
            left.as_millis().max(1)
        ))),
    }
}

async fn initialize(link: Link, hearers: Hearers) -> Result<Process, UpstreamError> {
    let params = initialize_params(hearers.declared.as_deref());
    link.listened_by(hearers.clone());
    let opening = ask(&link, Method::Initialize, &params, limits::CHILD_HANDSHAKE);
    let (_, description) = opening
        .await
        .and_then(read_initialize)
        .map_err(|error| as_opening(error, "`initialize`"))?;
    link.tell("notifications/initialized").await?;
    Ok(Process::legacy(link, description, hearers))
}

/// One request of our own.
async fn ask(
    link: &Link,
    method: Method,
    params: &Object,
    most: Duration,
) -> Result<Outcome, UpstreamError> {
    let (nobody, _) = mpsc::channel(1);
    let id = link.next_id();
    let listener = Listener::new(id, None, None, &nobody);
    let mut deadline = Deadline::after(most);
    link.call(id, method.as_str(), params, listener, &mut deadline)
        .await
}

fn label(owner: &Owner) -> String {
    owner
        .as_ref()
        .map_or("everyone".into(), AgentName::to_string)
}

fn speaks_of_version(outcome: &Outcome) -> bool {
    matches!(outcome, Err(error) if error_code(error) == Some(code::UNSUPPORTED_VERSION))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::SystemClock;
    use crate::types::Template;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_says_nothing_to_the_probe_is_legacy() {
        let args = ["-c", "while read -r line; do :; done"].map(Template::literal);
        let program = Program::new("sh", &args, &[], None, &BTreeMap::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let server = "peer".parse().unwrap();
        let timeout = Duration::from_secs(1);
        let instances = Instances::PerAgent;
        let stdio = Stdio::new(
            &server,
            program,
            instances,
            EraChoice::Auto,
            timeout,
            &clock,
        );
        assert_eq!(stdio.probe().await.unwrap().era, Era::Legacy);
    }
}
