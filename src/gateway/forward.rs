//! The only place that sees servers. What reaches one as a request of an agent passes [`Forwarder::forward`].

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::types::ServerName;
use crate::upstream::{Description, Lane, Outgoing, Reply, Upstream, UpstreamError, Upstreams};

use super::listener::Listener;
use super::stages::{Forwarded, Outcome, Reserved};

/// Notices that wait for a slow agent; more are dropped, the answer never is.
const NOTICES: usize = 64;

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
        let agent = agent.about(outgoing.method);
        let outcome = match self.upstreams.get(&request.wish.server) {
            _ if agent.has_cancelled() => Outcome::Withdrawn,
            Some(upstream) => exchange(upstream, &lane, outgoing, &agent).await,
            None => Outcome::Unanswered(UpstreamError::Unreachable("it is not connected".into())),
        };
        Forwarded {
            request,
            open,
            outcome,
            rounds: agent.rounds(),
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

    /// How many calls of one agent, of those that its server may ask about, a server takes at once.
    pub(super) fn leases(&self, server: &ServerName) -> usize {
        self.upstreams
            .get(server)
            .map_or(0, |server| server.leases())
    }

    /// Tells servers that the roots of an agent changed, as far as they know of any. This is no request.
    pub(super) async fn roots_changed(&self, servers: &[ServerName], lane: &Lane) {
        let upstreams = servers
            .iter()
            .filter_map(|server| self.upstreams.get(server));
        join_all(upstreams.map(|upstream| upstream.roots_changed(lane))).await;
    }

    /// Ends what a finished session of an agent holds open.
    pub(super) async fn end_session(&self, lane: &Lane) {
        for (_, upstream) in self.upstreams.iter() {
            upstream.end_session(lane).await;
        }
    }
}

/// One request and its answer.
async fn exchange(
    upstream: &Upstream,
    lane: &Lane,
    request: Outgoing,
    agent: &Listener,
) -> Outcome {
    let (notices, mut heard) = mpsc::channel(NOTICES);
    let outcome = tokio::select! {
        biased;
        answer = upstream.send(lane, request, &notices) => ended(answer),
        () = agent.relay(&mut heard) => Outcome::GivenUp(agent.why_gone()),
    };
    // What came right before the answer goes out before it.
    while let Ok(notice) = heard.try_recv() {
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
