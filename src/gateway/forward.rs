//! The only place that sees servers, the gateway's own among them. What reaches one as a request of an agent passes
//! [`Forwarder::forward`].

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::protocol::{Object, raw};
use crate::types::{Connection, ServerName};
use crate::upstream::{
    Description, Era, Interests, Lane, Listening, News, Outgoing, Reply, SetupError, Upstream,
    UpstreamError, Upstreams,
};

use super::built_in::{self, BuiltIn};
use super::flood::{Heard, Said};
use super::listener::Listener;
use super::stages::{Forwarded, Outcome, Reserved};

/// Notices that wait for a slow agent; more are dropped, the answer never is.
const NOTICES: usize = 64;

/// Holds the servers.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: RwLock<Arc<Upstreams>>,
    built_in: BuiltIn,
    clock: Arc<dyn Clock>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Arc<Upstreams>, built_in: BuiltIn, clock: Arc<dyn Clock>) -> Self {
        Self {
            upstreams: RwLock::new(upstreams),
            built_in,
            clock,
        }
    }

    /// The servers there are now.
    pub(super) fn upstreams(&self) -> Arc<Upstreams> {
        Arc::clone(
            &self
                .upstreams
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The servers there would be with these connections.
    pub(super) fn reconfigured(
        &self,
        connections: BTreeMap<ServerName, Connection>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Arc<Upstreams>, (ServerName, SetupError)> {
        let now = self.upstreams();
        let next = now.reconfigured(connections, environment, Arc::clone(&self.clock));
        next.map(Arc::new)
    }

    /// Calls go to these servers from now on. What those before had open ends, when nobody uses it any more.
    pub(super) fn replace(&self, next: Arc<Upstreams>) {
        let mut upstreams = self
            .upstreams
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *upstreams, Arc::clone(&next));
        drop(upstreams);
        before.retire(&next);
    }

    /// The server that the rules of a request meant by this name.
    fn meant(&self, server: &ServerName, edition: u64) -> Result<Arc<Upstream>, UpstreamError> {
        let gone = |why: &str| UpstreamError::Unreachable(why.into());
        match self.upstreams().get(server) {
            // Its rules spoke of another one; what they allowed there says nothing about this one.
            Some(upstream) if upstream.edition() > edition => {
                Err(gone("its settings changed at this very moment"))
            }
            Some(upstream) => Ok(Arc::clone(upstream)),
            None => Err(gone("it is not connected")),
        }
    }

    /// Gives an admitted request to its server and waits for what comes of it.
    pub(super) async fn forward(&self, reserved: Reserved, agent: &Listener) -> Forwarded {
        let Reserved {
            mut request,
            keeping,
            open,
        } = reserved;
        let started = self.clock.monotonic();
        let missed = Arc::<AtomicU64>::default();
        let outgoing = Outgoing {
            params: std::mem::take(&mut request.wish.request.params),
            missed: Arc::clone(&missed),
            ..request.wish.request.clone()
        };
        let lane = request.caller.lane();
        let agent = agent.asked_with(outgoing.method);
        let (notices, heard) = mpsc::channel(NOTICES);
        let mut heard = Heard::new(heard, Arc::clone(&self.clock), missed);
        let outcome = match self.meant(&request.wish.server, request.caller.edition) {
            _ if agent.has_cancelled() => Outcome::Withdrawn,
            _ if request.wish.server.is_built_in() => {
                let answering = self.built_in.answer(&request.caller, &outgoing);
                Outcome::Answered(Box::pin(answering).await)
            }
            Ok(upstream) => {
                let sending = pin!(upstream.send(&lane, outgoing, &notices));
                exchange(sending, &mut heard, &agent).await
            }
            Err(error) => Outcome::Unanswered(error),
        };
        Forwarded {
            request,
            keeping,
            open,
            outcome,
            rounds: agent.rounds(),
            said: heard.said(),
            latency: self.clock.monotonic().saturating_sub(started),
        }
    }

    /// Opens an ear for what a server says outside of requests; it is open when the server has agreed.
    pub(super) async fn listen(
        &self,
        reserved: Reserved,
        interests: Interests,
        capabilities: Object,
        news: mpsc::Sender<News>,
    ) -> (Forwarded, Result<Listening, UpstreamError>) {
        let Reserved {
            request,
            keeping,
            open,
        } = reserved;
        let started = self.clock.monotonic();
        let lane = request.caller.lane();
        let listening = match self.meant(&request.wish.server, request.caller.edition) {
            Ok(upstream) => upstream.listen(&lane, interests, capabilities, news).await,
            Err(error) => Err(error),
        };
        let forwarded = Forwarded {
            request,
            keeping,
            open,
            outcome: match &listening {
                Ok(_) => Outcome::Answered(agreed()),
                Err(error) => Outcome::Unanswered(error.clone()),
            },
            rounds: Vec::new(),
            said: Said::default(),
            latency: self.clock.monotonic().saturating_sub(started),
        };
        (forwarded, listening)
    }

    /// What a server says about itself; opens the connection, sends no request of an agent.
    pub(super) async fn describe(
        &self,
        server: &ServerName,
        lane: &Lane,
    ) -> Result<Arc<Description>, UpstreamError> {
        match self.upstreams().get(server) {
            _ if server.is_built_in() => Ok(Arc::new(built_in::description())),
            Some(upstream) => upstream.describe(lane).await,
            None => Err(UpstreamError::Unreachable("it is not connected".into())),
        }
    }

    /// How many calls of one agent, of those that its server may ask about, a server takes at once.
    pub(super) fn leases(&self, server: &ServerName) -> usize {
        self.upstreams()
            .get(server)
            .map_or(0, |server| server.leases())
    }

    /// What is spoken to a server; sends no request of an agent.
    pub(super) async fn era(&self, server: &ServerName, lane: &Lane) -> Result<Era, UpstreamError> {
        match self.upstreams().get(server) {
            _ if server.is_built_in() => Ok(Era::Legacy),
            Some(upstream) => upstream.era(lane).await,
            None => Err(UpstreamError::Unreachable("it is not connected".into())),
        }
    }

    /// Tells servers that the roots of an agent changed, as far as they know of any. This is no request.
    pub(super) async fn roots_changed(&self, servers: &[ServerName], lane: &Lane) {
        let upstreams = self.upstreams();
        let told = servers.iter().filter_map(|server| upstreams.get(server));
        join_all(told.map(|upstream| upstream.roots_changed(lane))).await;
    }

    /// Ends what a finished session of an agent holds open.
    pub(super) async fn end_session(&self, lane: &Lane) {
        for (_, upstream) in self.upstreams().iter() {
            upstream.end_session(lane).await;
        }
    }
}

/// What a server says when it agrees to be listened to: nothing but that.
fn agreed() -> Reply {
    Reply {
        era: Era::Legacy,
        status: 200,
        outcome: Ok(raw("{}".into())),
    }
}

/// One request and its answer.
async fn exchange(
    sending: Pin<&mut impl Future<Output = Result<Reply, UpstreamError>>>,
    heard: &mut Heard,
    agent: &Listener,
) -> Outcome {
    let outcome = tokio::select! {
        biased;
        answer = sending => ended(answer),
        () = agent.relay(heard) => Outcome::GivenUp(agent.why_gone()),
    };
    // What came right before the answer goes out before it.
    while let Some(notice) = heard.try_recv() {
        agent.pass(notice);
    }
    outcome
}

fn ended(answer: Result<Reply, UpstreamError>) -> Outcome {
    match answer {
        Ok(reply) => Outcome::Answered(reply),
        Err(error) => Outcome::Unanswered(error),
    }
}
