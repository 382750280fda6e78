//! The path of one call, lists, and the words of every answer that is not a result.
//!
//! Knows agents as [`Caller`]s and servers as names; how either speaks is the business of `http` and
//! `upstream`.

mod alone;
mod annotations;
mod answer;
mod asks;
mod audience;
mod audiences;
mod built_in;
mod call;
mod capability;
mod capture;
mod checkpoints;
mod cursors;
mod definitions;
mod door;
mod ears;
mod entries;
mod exchange;
mod expose;
mod failure;
mod figures;
mod flood;
mod for_pages;
mod forward;
mod health;
mod in_force;
mod in_hand;
mod joined;
mod keys;
mod known;
mod listener;
mod lists;
mod names;
mod opening;
mod operator;
mod pages;
mod parked;
mod places;
mod policy_state;
mod recheck;
mod recorder;
mod refusal;
mod repeats;
mod requests;
mod resolve;
mod retell;
mod rounds;
mod seal;
mod shadow;
mod shape;
mod stages;
mod strangers;
mod subscriptions;
mod task_ids;
mod tasks;
mod turns;
mod visits;
mod waiting;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::{Entry, Head, Kind, Redactor, SigningKey, load_definitions};
use crate::budget::{Concurrency, RateLimits};
use crate::clock::Clock;
use crate::db::{DbError, Durability, Readers, Writer as Database};
use crate::policy::{Permissions, UngrantedStyle, may_see_server};
use crate::protocol::{Json, LogLevel, Method, Object, RequestId};
use crate::types::{AgentName, RulesText, ServerName};
use crate::upstream::{Era, Lane, Upstreams};

pub(crate) use opening::client_name;

pub use alone::{Alone, AloneError};
pub use answer::{Addressee, Answer, Unanswered};
pub use audience::NewsStream;
pub use definitions::Deviation;
pub use door::{Door, TokenProblem};
pub use failure::{Failure, REFUSAL};
pub use figures::{Figures, RateLimit};
pub use in_force::{Edition, NotInForce};
pub use in_hand::Place;
pub use listener::Asking;
pub use opening::Opened;
pub use operator::{By, GivenBack, Instruction, Order, Outcome, PutRight, Refused};
pub use places::{Return, StreamId, StreamPlace};
pub use policy_state::{FileState, PolicyFile, PolicyState};
pub use recorder::Unrecorded;
pub use refusal::{Cause, Refusal};
pub use shadow::Differences;
pub use stages::{AgentEra, Caller};

use annotations::Annotations;
use asks::Asks;
use audiences::Audiences;
use built_in::BuiltIn;
use checkpoints::Checkpoints;
use definitions::Definitions;
use forward::Forwarder;
use in_force::InForce;
use in_hand::InHand;
use joined::Crowded;
use listener::{Ear, Listener};
use parked::Parked;
use places::Places;
use policy_state::Complaints;
use recorder::{QUEUE, Recorder};
use resolve::Catalog;
use rounds::Rounds;
use seal::Sealer;
use shadow::Shadow;
use strangers::Strangers;
use task_ids::Tasks;
use turns::Turns;
pub use writer::Prune;
use writer::Writer;

/// Requests of agents in hand at once; more are turned away before anything is done for them.
const MAX_IN_FLIGHT: usize = 2_048;

/// Parts of an answer that wait for a slow agent.
const PARTS: usize = 64;

/// Which servers a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that the agent was granted, at `/mcp`.
    All,
    /// One, at `/mcp/{server}`.
    One(ServerName),
}

/// One request of a known agent.
#[derive(Debug)]
pub struct AgentRequest {
    /// Echoed in the answer.
    pub id: RequestId,
    /// The method, as sent.
    pub method: String,
    /// Its parameters.
    pub params: Object,
    /// Which servers it is about.
    pub scope: Scope,
    /// The least severe log line the agent wants.
    pub log_level: Option<LogLevel>,
    /// The one it set for its whole session.
    pub session_level: Option<LogLevel>,
    /// The `Idempotency-Key` header, as sent.
    pub idempotency_key: Option<String>,
    /// `Mcp-Param-*` headers, by full name.
    pub param_headers: Vec<(String, String)>,
    /// What the agent declared it can do.
    pub capabilities: Object,
    /// How it can be asked something in the middle of the request.
    pub asking: Asking,
    /// Whether hanging up cancels the call (2026-07-28) or lets it finish (before).
    pub hangup_cancels: bool,
    /// Its place among the requests of its session, by which it can be cancelled.
    pub place: Option<Place>,
    /// The stream on which it is answered, when the agent can take that up again.
    pub stream: Option<StreamId>,
}

/// A piece of an answer.
#[derive(Debug)]
pub enum Part {
    /// A notification or a question, as JSON text.
    Notice(String),
    /// The same on a stream that can be taken up again.
    Event(Event),
    /// How long the server wants to be left alone before a stream of it is taken up again, in milliseconds.
    Retry(u64),
    /// The server closed its stream for now. It goes on where the agent takes it up again.
    Closed,
    /// The answer; the last part.
    Answer(Answer),
    /// The agent cancelled the request and waits for no answer; the last part. Holds what to say where something
    /// has to be said.
    NoAnswer(Answer),
}

/// What is said on a stream that can be taken up again.
#[derive(Debug)]
pub struct Event {
    /// The place it has there, when the server gave it one.
    pub place: Option<StreamPlace>,
    /// The message, as JSON text; none at a place where nothing is said.
    pub text: Option<String>,
    /// Of a question: whether it is still open, which it is while this can be upgraded.
    pub asked: Option<Weak<()>>,
}

/// What a gateway is made of.
#[derive(Debug)]
pub struct Setup {
    /// The rules.
    pub permissions: Arc<Permissions>,
    /// The git commit they are taken from, as far as that is known.
    pub commit: Option<Arc<str>>,
    /// Their file, to be kept.
    pub text: RulesText,
    /// Rules that decide nothing and are only compared with.
    pub shadow: Option<Arc<Permissions>>,
    /// The servers.
    pub upstreams: Arc<Upstreams>,
    /// The file of ledger and log.
    pub database: Database,
    /// The same file for reading: agents ask what they did lately.
    pub readers: Readers,
    /// What its commits survive; written into the log.
    pub durability: Durability,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The key that signs checkpoints.
    pub signing_key: Option<SigningKey>,
    /// The file that checkpoints are exported to.
    pub checkpoints: Option<PathBuf>,
    /// Knows what must never stand in the log.
    pub redactor: Arc<Redactor>,
    /// What is wrong with the log, when somebody said to go on all the same.
    pub accepted: Option<String>,
}

/// The gateway between agents and servers.
#[derive(Debug)]
pub struct Gateway {
    in_force: watch::Sender<Arc<InForce>>,
    /// Held by whoever puts other rules in force.
    swapping: Mutex<()>,
    complaints: Complaints,
    /// The file of ledger and log.
    file: PathBuf,
    forwarder: Forwarder,
    recorder: Recorder,
    news: watch::Receiver<i64>,
    redactor: Arc<Redactor>,
    concurrency: Concurrency,
    catalog: Catalog,
    annotations: Annotations,
    definitions: Definitions,
    crowded: Crowded,
    cursors: Sealer,
    strangers: Strangers,
    asks: Arc<Asks>,
    in_hand: Arc<InHand>,
    rounds: Rounds,
    parked: Parked,
    tasks: Tasks,
    /// Seals places in streams.
    places: Arc<Sealer>,
    audiences: Arc<Audiences>,
    clock: Arc<dyn Clock>,
    in_flight: Arc<Semaphore>,
    turns: Turns,
    calls: TaskTracker,
    /// Ends the calls that are still in hand when the gateway may wait no longer.
    cut: CancellationToken,
}

/// Ends when the gateway and all its calls are gone; yields the head of the log.
pub type WriterTask = JoinHandle<Result<Head, DbError>>;

impl Gateway {
    /// Reads the file, closes what a crash left open, and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub async fn start(setup: Setup) -> Result<(Arc<Self>, WriterTask, Head), DbError> {
        let Setup {
            permissions,
            commit,
            text,
            shadow,
            upstreams,
            mut database,
            readers,
            durability,
            clock,
            signing_key,
            checkpoints,
            redactor,
            accepted,
        } = setup;
        let file = database.path().to_path_buf();
        let accepted = accepted.map(|what| Entry::new(Kind::Accepted).text("mismatch", &what));
        let first = [started(durability)].into_iter().chain(accepted);
        let in_force = InForce {
            rates: RateLimits::new(&permissions, Arc::clone(&clock)),
            permissions,
            servers: upstreams.edition(),
            commit,
            since: clock.now(),
            shadow: shadow.map(|rules| Arc::new(Shadow::new(rules, clock.now()))),
        };
        let in_force_now = in_force.entry().with_rules(text);
        let first = first.chain([in_force_now]);
        let first = first.map(|entry| redactor.entry(entry)).collect();
        let defined = load_definitions(database.connection()).await?;
        let writer = Writer::start(
            database,
            Arc::clone(&clock),
            random(),
            first,
            Checkpoints::new(signing_key, checkpoints),
        )
        .await?;
        let (head, news) = (writer.head(), writer.news());
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (closings, closing_queue) = mpsc::unbounded_channel();
        let recorder = Recorder::new(jobs, closings, writer.health(), Arc::clone(&redactor));
        let task = tokio::spawn(writer.run(job_queue, closing_queue));
        let built_in = BuiltIn::new(recorder.clone(), readers, Arc::clone(&clock));
        let gateway = Self {
            concurrency: Concurrency::default(),
            in_force: watch::Sender::new(Arc::new(in_force)),
            swapping: Mutex::default(),
            complaints: Complaints::default(),
            forwarder: Forwarder::new(upstreams, built_in, Arc::clone(&clock)),
            file,
            recorder,
            news,
            redactor,
            catalog: Catalog::default(),
            annotations: Annotations::default(),
            definitions: Definitions::new(defined),
            crowded: Crowded::default(),
            cursors: Sealer::new(random()),
            strangers: Strangers::default(),
            asks: Arc::default(),
            in_hand: Arc::default(),
            rounds: Rounds::new(random()),
            parked: Parked::default(),
            tasks: Tasks::new(random()),
            places: Arc::new(Sealer::new(random())),
            audiences: Arc::default(),
            clock,
            turns: Turns::new(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            calls: TaskTracker::new(),
            cut: CancellationToken::new(),
        };
        Ok((Arc::new(gateway), task, head))
    }

    /// The servers of those rules.
    pub fn upstreams(&self) -> Arc<Upstreams> {
        self.forwarder.upstreams()
    }

    /// Whether a server's own endpoint is open to an agent.
    ///
    /// # Errors
    /// When there is no such server, or the agent has no live grant on it and may know that.
    pub fn open_server(&self, caller: &Caller, name: &str) -> Result<ServerName, Door> {
        let (agent, permissions) = (&caller.agent, &caller.permissions);
        let hidden = agent.ungranted == UngrantedStyle::Hide;
        let known = name
            .parse::<ServerName>()
            .ok()
            .filter(|server| server.is_built_in() || permissions.servers().contains_key(server));
        let Some(server) = known else {
            return Err(Door::UnknownServer(name.into()));
        };
        if may_see_server(permissions, agent, &server, self.clock.now()) {
            Ok(server)
        } else if hidden {
            Err(Door::UnknownServer(name.into()))
        } else {
            Err(Door::ServerNotGranted {
                server,
                agent: agent.name.clone(),
            })
        }
    }

    /// Writes down that a known agent was turned away at the door.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn note_door(&self, caller: &Caller, door: &Door) -> Result<(), Unrecorded> {
        let entry = entries::of_caller(caller, self.new_call(), "");
        self.recorder
            .note(entries::denied(entry, door.reason(), &door.to_string()))
            .await
    }

    /// Takes a request in hand. It runs in a task of its own: an agent that hangs up leaves nothing half done.
    /// The receiver yields notices and at last the answer.
    pub fn handle(
        self: &Arc<Self>,
        caller: Caller,
        mut request: AgentRequest,
    ) -> mpsc::Receiver<Part> {
        let (parts, answer) = mpsc::channel(PARTS);
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let to = Addressee {
                id: Some(&request.id),
                modern: caller.era.is_modern(),
                is_tool_call: false,
                style: caller.agent.refusals,
            };
            // The channel is new and has room.
            drop(parts.try_send(Part::Answer(Failure::Overloaded.answer(&to))));
            return answer;
        };
        // A stream stays open for hours and is counted by itself.
        let is_stream = Method::named(&request.method) == Some(Method::Listen);
        let permit = (!is_stream).then_some(permit);
        let gateway = Arc::clone(self);
        self.calls.spawn(async move {
            let place = request.place.take();
            let listener = Listener {
                ear: Ear::Request(parts.clone()),
                hangup_cancels: request.hangup_cancels,
                cancelled: place.as_ref().map(Place::cancelled).unwrap_or_default(),
                asking: request.asking.clone(),
                asks: Arc::clone(&gateway.asks),
                task: None,
                until: None,
                places: Places::of(&gateway.places, &caller, &request, gateway.clock.now()),
            };
            // In a place of its own: what is under way is large, and would be moved at each of these steps.
            let answering = Box::pin(async {
                let mut answer = gateway.answer(&Arc::new(caller), request, &listener).await;
                answer.place = listener.places.as_ref().and_then(|places| places.answer());
                // Once the answer is out, its id is free for another request.
                drop((permit, place));
                let part = if listener.cancelled.is_cancelled() {
                    Part::NoAnswer(answer)
                } else {
                    Part::Answer(answer)
                };
                // The agent may have gone; the call is closed and written down either way.
                drop(parts.send(part).await);
            });
            gateway.cut.run_until_cancelled(answering).await;
        });
        answer
    }

    /// Writes down a request of a known agent that is refused before it is a request, such as malformed JSON.
    /// Returns what to answer.
    pub async fn reject(&self, caller: &Caller, method: &str, failure: Failure) -> Failure {
        self.turn_away(caller, method, failure).await
    }

    /// Counts a request without a valid token; see [`Gateway::note_counted`].
    pub fn count_stranger(&self) {
        self.strangers.count(self.clock.now());
    }

    /// Writes down what was only counted: requests without a valid token since the last time, and refusals that
    /// repeated one another.
    pub async fn note_counted(&self) {
        self.recorder.tick();
        if let Some(entry) = self.strangers.take() {
            let count = self.recorder.note(entry).await;
            if count.is_err() {
                tracing::warn!("requests without a valid token came and could not be written down");
            }
        }
    }

    /// Hands an agent's answer to the server's question it is for. Says whether there was such a question, of
    /// this session, still open.
    pub fn answer_ask(&self, session: &str, id: &RequestId, answered: Result<Json, Json>) -> bool {
        self.asks.answer(session, id, answered)
    }

    /// A place for a request among those of its session; `None` where there is no session, so that nothing can be
    /// cancelled by its id.
    ///
    /// # Errors
    /// When the session has a request of this id in hand.
    pub fn place(&self, caller: &Caller, id: &RequestId) -> Result<Option<Place>, Failure> {
        match (caller.era, &caller.session) {
            (AgentEra::Session(_), Some(session)) => {
                let place = self.in_hand.enter(session, id);
                place.map(Some).ok_or(Failure::IdInUse)
            }
            (AgentEra::Session(_) | AgentEra::Bare | AgentEra::Modern, _) => Ok(None),
        }
    }

    /// Cancels a request of a session. One that is over, or never was, is nobody's business.
    pub fn cancel(&self, session: &str, id: &RequestId) {
        self.in_hand.cancel(session, id);
    }

    /// Passes on how far an agent is with a question of a server, as long as it is open.
    pub fn progress_of_ask(&self, session: &str, params: Object) {
        self.asks.progress(session, params);
    }

    /// Passes on that an agent's roots changed, to those servers of an endpoint that were told it has some. It
    /// opens nothing, and is dropped when there is too much in hand.
    pub fn roots_changed(self: &Arc<Self>, caller: &Caller, scope: &Scope) {
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            return;
        };
        let servers = match scope {
            Scope::One(server) => vec![server.clone()],
            Scope::All => self.visible_servers(caller),
        };
        let (gateway, lane) = (Arc::clone(self), caller.lane());
        self.calls.spawn(async move {
            let telling = gateway.forwarder.roots_changed(&servers, &lane);
            gateway.cut.run_until_cancelled(telling).await;
            drop(permit);
        });
    }

    /// Ends what a finished session of an agent holds open at servers.
    pub async fn end_session(&self, agent: AgentName, session: Arc<str>) {
        self.tasks.forget(&session);
        self.audiences.end(&session);
        let lane = Lane {
            agent,
            session: Some(session),
            prefers: Some(Era::Legacy),
        };
        self.forwarder.end_session(&lane).await;
    }

    /// Resolves when the writer has failed, which only a mistake in it can bring about.
    pub async fn writer_gone(&self) {
        self.recorder.gone().await;
    }

    /// Whether the log can be written now: the answer of `/health`.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_recording()
    }

    /// Waits until no call is in hand. Those that wait for answers of their agents are ended at once; those that take longer than `patience` are given up, are closed as failed
    /// and cost what they hold. Nobody may call [`Gateway::handle`] any more.
    pub async fn drain(&self, patience: Duration) {
        self.calls.close();
        self.parked.close();
        if timeout(patience, self.calls.wait()).await.is_err() {
            let calls = self.calls.len();
            tracing::warn!(
                calls,
                "some calls were still in flight at the end; they cost what they hold"
            );
            self.cut.cancel();
            self.calls.wait().await;
        }
    }
}

fn started(durability: Durability) -> Entry {
    let word = match durability {
        Durability::Power => "power",
        Durability::Process => "process",
    };
    Entry::new(Kind::Started)
        .text("hayward", env!("CARGO_PKG_VERSION"))
        .text("durability", word)
}

/// Bytes nobody can guess. Without the system's randomness ids would repeat; the log refuses repeated ids.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system has no randomness");
    }
    bytes
}
