//! The only place that sees servers. What reaches one as a request of an agent passes [`Forwarder::forward`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::protocol::Object;
use crate::types::ServerName;
use crate::upstream::{Description, Lane, Outgoing, Reply, Upstream, UpstreamError, Upstreams};

use super::listener::Listener;
use super::shape::needs_input;
use super::stages::{Forwarded, Outcome, Reserved};

/// Notices that wait for a slow agent; more are dropped, the answer never is.
const NOTICES: usize = 64;

/// How often a server may ask for more in one call.
const MAX_ROUNDS: usize = 8;

/// Pause before a request is repeated of which the server only wants the repetition.
const AGAIN: Duration = Duration::from_millis(200);

/// Holds the servers.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Arc<Upstreams>,
    clock: Arc<dyn Clock>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Arc<Upstreams>, clock: Arc<dyn Clock>) -> Self {
        Self { upstreams, clock }
    }

    /// Gives an admitted request to its server and waits for what comes of it.
    pub(super) async fn forward(&self, reserved: Reserved, agent: &Listener) -> Forwarded {
        let Reserved { mut request, open } = reserved;
        let started = self.clock.monotonic();
        let outgoing = std::mem::take(&mut request.wish.request.params);
        let outgoing = Outgoing {
            params: outgoing,
            ..request.wish.request.clone()
        };
        let lane = request.caller.lane();
        let outcome = match self.upstreams.get(&request.wish.server) {
            Some(upstream) => exchange(upstream, &lane, outgoing, agent).await,
            None => Outcome::Unanswered(UpstreamError::Unreachable("it is not connected".into())),
        };
        Forwarded {
            request,
            open,
            outcome,
            latency: self.clock.monotonic().saturating_sub(started),
        }
    }

    /// What a server says about itself; opens the connection, sends no request of an agent.
    pub(super) async fn describe(
        &self,
        server: &ServerName,
        lane: &Lane,
    ) -> Result<Arc<Description>, UpstreamError> {
        match self.upstreams.get(server) {
            Some(upstream) => upstream.describe(lane).await,
            None => Err(UpstreamError::Unreachable("it is not connected".into())),
        }
    }

    /// Ends what a finished session of an agent holds open.
    pub(super) async fn end_session(&self, lane: &Lane) {
        for (_, upstream) in self.upstreams.iter() {
            upstream.end_session(lane).await;
        }
    }
}

/// One request and its answer. A server that wants to know more before it answers is told, as often as it may
/// ask, where the agent can be asked while its request is open; the repetition is the same call.
async fn exchange(
    upstream: &Upstream,
    lane: &Lane,
    request: Outgoing,
    agent: &Listener,
) -> Outcome {
    let mut next = request.clone();
    for _ in 0..MAX_ROUNDS {
        let outcome = once(upstream, lane, next, agent).await;
        let wanted = match &outcome {
            Outcome::Answered(reply) if agent.can_push() => reply
                .outcome
                .as_ref()
                .ok()
                .filter(|result| needs_input(result))
                .cloned(),
            Outcome::Answered(_) | Outcome::Unanswered(_) | Outcome::Cancelled => None,
        };
        let Some(wanted) = wanted.and_then(|wanted| Object::parse(wanted.get()).ok()) else {
            return outcome;
        };
        let questions = wanted.get_object("inputRequests").unwrap_or_default();
        if questions.is_empty() {
            // A server that only wants to be asked again gets a moment.
            tokio::time::sleep(AGAIN).await;
        }
        let Some(answers) = agent.answers(&questions).await else {
            return outcome;
        };
        next = repeated(&request, &wanted, &answers);
    }
    Outcome::Unanswered(UpstreamError::Broken(format!(
        "it asked for input {MAX_ROUNDS} times"
    )))
}

async fn once(upstream: &Upstream, lane: &Lane, request: Outgoing, agent: &Listener) -> Outcome {
    let (notices, mut heard) = mpsc::channel(NOTICES);
    let outcome = tokio::select! {
        biased;
        answer = upstream.send(lane, request, &notices) => ended(answer),
        () = agent.relay(&mut heard) => Outcome::Cancelled,
    };
    // What came right before the answer goes out before it.
    while let Ok(notice) = heard.try_recv() {
        agent.pass(notice);
    }
    outcome
}

/// The request again, with the answers and the state the server gave for it (2026-07-28, multi-round requests).
fn repeated(request: &Outgoing, wanted: &Object, answers: &Object) -> Outgoing {
    let mut request = request.clone();
    if !answers.is_empty() {
        request.params.set("inputResponses", answers.to_json());
    }
    match wanted.get("requestState") {
        Some(state) => request.params.set("requestState", state.to_owned()),
        None => drop(request.params.remove("requestState")),
    }
    request
}

fn ended(answer: Result<Reply, UpstreamError>) -> Outcome {
    match answer {
        Ok(reply) => Outcome::Answered(reply),
        Err(error) => Outcome::Unanswered(error),
    }
}
