//! A server reached over streamable HTTP, whichever era it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::protocol::{Json, Object, RequestId, code, request};
use crate::types::{EraChoice, ServerName};

use super::codec::{Outcome, error_code, prepare};
use super::era::{EraCell, Verdict};
use super::listener::Listener;
use super::modern;
use super::pool::{Lease, Pool};
use super::reply::Ending;
use super::session::{Called, Session};
use super::wire::{Sent, Wire};
use super::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError, limits};

/// One server over HTTP.
#[derive(Debug)]
pub(super) struct Http {
    wire: Arc<Wire>,
    era: EraCell,
    sessions: Arc<Pool<Lane, Session>>,
    ids: AtomicU64,
    timeout: Duration,
}

/// How to speak to the server.
enum Way {
    Modern,
    Legacy(Lease<Session>),
}

impl Http {
    pub(super) fn new(
        server: &ServerName,
        wire: Wire,
        choice: EraChoice,
        timeout: Duration,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            wire: Arc::new(wire),
            era: EraCell::new(server, choice, clock.clone()),
            sessions: Pool::new(limits::SESSIONS, clock.clone(), end_aside),
            ids: AtomicU64::new(1),
            timeout,
        }
    }

    pub(super) async fn describe(&self, lane: &Lane) -> Result<Arc<Description>, UpstreamError> {
        match self.open(lane).await? {
            Way::Legacy(session) => Ok(session.description.clone()),
            Way::Modern => {
                let verdict = self.era.verdict(|| self.discovery()).await?;
                let unknown =
                    || UpstreamError::Refused("it does not answer `server/discover`".into());
                verdict.description.clone().ok_or_else(unknown)
            }
        }
    }

    pub(super) async fn send(
        &self,
        lane: &Lane,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        match self.open(lane).await? {
            Way::Modern => self.send_modern(outgoing, notices).await,
            Way::Legacy(session) => self.send_legacy(lane, session, outgoing, notices).await,
        }
    }

    /// Finds out how to speak to the server. Probe and session are bounded each; this bounds the two together.
    async fn open(&self, lane: &Lane) -> Result<Way, UpstreamError> {
        let opening = async {
            match self.era.era(|| self.discovery()).await? {
                Era::Modern => Ok(Way::Modern),
                Era::Legacy => Ok(Way::Legacy(self.session(lane).await?)),
            }
        };
        let opened = tokio::time::timeout(limits::HANDSHAKE, opening).await;
        opened.unwrap_or_else(|_| Err(UpstreamError::Unreachable("it did not open in time".into())))
    }

    async fn send_modern(
        &self,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let sent = Sent::default();
        let calling = modern::call(&self.wire, self.next_id(), outgoing, notices, &sent);
        let reply = match tokio::time::timeout(self.timeout, calling).await {
            Ok(reply) => reply,
            Err(_) => return Err(sent.timed_out()),
        };
        if sounds_legacy(&reply) {
            self.era.doubt();
        }
        reply
    }

    async fn send_legacy(
        &self,
        lane: &Lane,
        session: Lease<Session>,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let id = self.next_id();
        let level = outgoing.log_level;
        let prepared = prepare(outgoing.params, Era::Legacy, level, id);
        let mut listener = Listener::new(id, prepared.agent_token, level, notices);
        let body = legacy_body(id, &outgoing.method, &prepared.params);

        let deadline = Instant::now() + self.timeout;
        let mut call = async |session: &Lease<Session>| {
            self.call(lane, session, id, &body, &mut listener, deadline)
                .await
        };
        match call(&session).await? {
            Called::Answered { status, outcome } => return Ok(legacy_reply(status, outcome)),
            Called::SessionGone(_) => drop(session),
        }
        // The request was not looked at, so this is its first time.
        let again = async {
            let reopened = timeout_at(deadline, self.session(lane)).await;
            let session = reopened.map_err(|_| Sent::default().timed_out())??;
            call(&session).await
        };
        // The server had the request in its hands once: nothing that goes wrong now makes that undone.
        let again = again.await.map_err(|error| match error.nothing_sent() {
            true => UpstreamError::Rejected(404),
            false => error,
        });
        match again? {
            Called::Answered { status, outcome } => Ok(legacy_reply(status, outcome)),
            Called::SessionGone(said) => match said? {
                Ending::Answered { status, outcome } => Ok(legacy_reply(status, outcome)),
                Ending::Cut { .. } => Err(UpstreamError::Rejected(404)),
            },
        }
    }

    async fn call(
        &self,
        lane: &Lane,
        session: &Lease<Session>,
        id: u64,
        body: &Bytes,
        listener: &mut Listener,
        deadline: Instant,
    ) -> Result<Called, UpstreamError> {
        let sent = Sent::default();
        let calling = session.shared().call(id, body.clone(), listener, &sent);
        let called = match timeout_at(deadline, calling).await {
            Ok(called) => called,
            Err(_) => Err(sent.timed_out()),
        };
        if has_lost_session(&called) {
            self.sessions.discard(lane, session.shared());
        }
        called
    }

    fn discovery(&self) -> impl Future<Output = Result<Verdict, UpstreamError>> + Send + use<> {
        modern::discover(self.wire.clone(), self.next_id())
    }

    async fn session(&self, lane: &Lane) -> Result<Lease<Session>, UpstreamError> {
        let opening = || Session::open(self.wire.clone(), self.next_id());
        let session = self.sessions.get(lane, opening).await;
        if let Err(UpstreamError::Refused(_)) = &session {
            self.era.forget();
        }
        session
    }

    /// Ids are never used twice towards one server, whichever session or connection carries them.
    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn end_session(&self, lane: &Lane) {
        self.sessions.end_key(lane);
    }

    pub(super) async fn close(&self) {
        let ends = self
            .sessions
            .close()
            .into_iter()
            .map(|session| async move { session.end().await });
        futures_util::future::join_all(ends).await;
    }
}

/// Ends a session without waiting; when the runtime is gone too, the server finds out by itself.
fn end_aside(session: Arc<Session>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { session.end().await });
    }
}

fn legacy_reply(status: u16, outcome: Outcome) -> Reply {
    let era = Era::Legacy;
    Reply {
        era,
        status,
        outcome,
    }
}

fn legacy_body(id: u64, method: &crate::protocol::Method, params: &Object) -> Bytes {
    let params = Some(params).filter(|params| !params.is_empty());
    request(&RequestId::number(id), method.as_str(), params).into()
}

/// What a server that went back to an earlier revision would answer to a modern call.
fn sounds_legacy(reply: &Result<Reply, UpstreamError>) -> bool {
    match reply {
        Err(UpstreamError::Rejected(status)) => matches!(status, 400 | 404 | 405 | 406),
        Ok(Reply {
            status,
            outcome: Err(error),
            ..
        }) if *status >= 400 => speaks_of_version(error),
        Ok(_) | Err(_) => false,
    }
}

fn speaks_of_version(error: &Json) -> bool {
    let known = [
        code::UNSUPPORTED_VERSION,
        code::INVALID_REQUEST,
        code::METHOD_NOT_FOUND,
    ];
    // The SDKs answer a request without a session with -32000.
    error_code(error).is_some_and(|code| known.contains(&code) || code == -32000)
}

/// Whether the session is of no use any more.
fn has_lost_session(called: &Result<Called, UpstreamError>) -> bool {
    match called {
        Ok(Called::SessionGone(_)) | Err(UpstreamError::Rejected(400)) => true,
        Ok(Called::Answered {
            status: 400,
            outcome: Err(error),
        }) => error.get().to_ascii_lowercase().contains("session"),
        Ok(Called::Answered { .. }) | Err(_) => false,
    }
}
