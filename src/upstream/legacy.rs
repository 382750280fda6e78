//! The sessions of a server of 2025-11-25 or before, and the calls on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::Clock;
use crate::protocol::{Object, RequestId, request};

use super::asking::{Declared, Questions};
use super::audience::Audiences;
use super::codec::prepare;
use super::deadline::Deadline;
use super::era::Older;
use super::handshake::Opener;
use super::listener::{Hearing, Listener};
use super::modern::is_no_evidence;
use super::pool::{Lease, Pool, Turns};
use super::reply::Ending;
use super::seat::{Seat, Seated};
use super::session::{Called, Choice, Session};
use super::streamable::Streamable;
use super::wire::{Sent, Wire};
use super::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError, limits};

mod hearing;

/// The sessions of one server.
#[derive(Debug)]
pub(super) struct Legacy {
    wire: Arc<Wire>,
    ids: Arc<AtomicU64>,
    sessions: Arc<Pool<Seat<Lane>, Session>>,
    timeout: Duration,
    choice: Arc<Choice>,
    /// Whether the last session that was opened had no id, so that nothing a server asks could be answered.
    is_sessionless: AtomicBool,
    audiences: Arc<Audiences<Lane>>,
}

impl Legacy {
    pub(super) fn new(
        wire: Arc<Wire>,
        ids: Arc<AtomicU64>,
        timeout: Duration,
        choice: Choice,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            wire,
            ids,
            sessions: Pool::new(limits::SESSIONS, clock.clone(), end_aside, is_listened_to),
            timeout,
            choice: Arc::new(choice),
            is_sessionless: AtomicBool::new(false),
            audiences: Arc::default(),
        }
    }

    /// The same sessions, of a server known to speak 2026-07-28 too: no other transport is looked for.
    pub(super) fn beside_modern(&self) -> Self {
        Self {
            wire: self.wire.clone(),
            ids: self.ids.clone(),
            sessions: self.sessions.clone(),
            timeout: self.timeout,
            choice: Arc::new(Choice::Streamable),
            is_sessionless: AtomicBool::new(false),
            audiences: self.audiences.clone(),
        }
    }

    /// What a modern server makes of `initialize`. What it opens is ended again.
    pub(super) fn probe(&self) -> impl Future<Output = Older> + Send + use<> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let opener = Opener {
            id,
            declared: None,
            audience: Arc::default(),
        };
        let wire = self.wire.clone();
        async move {
            let opening = Streamable::open(wire, &opener);
            match timeout(limits::SECOND_PROBE, opening).await {
                Ok(Ok((session, _))) => {
                    let can_be_answered = session.channel.has_id();
                    tokio::spawn(async move { session.channel.end().await });
                    if can_be_answered {
                        Older::Opens
                    } else {
                        Older::Refuses
                    }
                }
                Ok(Err(error)) if is_evidence(&error) => Older::Refuses,
                Ok(Err(_)) | Err(_) => Older::Unclear,
            }
        }
    }

    /// What the server is, from any session of this lane.
    pub(super) async fn describe(
        &self,
        lane: &Lane,
        until: Instant,
    ) -> Result<Arc<Description>, UpstreamError> {
        if let Some((_, session)) = self.sessions.open(|seat| seat.whose == *lane).pop() {
            return Ok(session.description.clone());
        }
        let session = self.session(lane, None, until).await?;
        Ok(session.lease.description.clone())
    }

    /// A session for one call. Nothing of the call is sent.
    pub(super) async fn open(
        &self,
        lane: &Lane,
        outgoing: &Outgoing,
        until: Instant,
    ) -> Result<Seated<Lane, Session>, UpstreamError> {
        let declared = Declared::of(outgoing);
        self.session(lane, declared.as_ref(), until).await
    }

    /// One call on the session that was opened for it.
    pub(super) async fn send(
        &self,
        opened: Seated<Lane, Session>,
        outgoing: Outgoing,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Reply, UpstreamError> {
        let Seated { seat, lease } = opened;
        let declared = lease.declared.clone().filter(|_| outgoing.may_ask());
        let questions = declared.map(|declared| Questions::new(declared, notices));
        let mut deadline = Deadline::of(questions.as_ref(), self.timeout);

        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (method, level) = (outgoing.method, outgoing.log_level);
        let session_level = outgoing.session_level;
        let missed = outgoing.missed.clone();
        let prepared = prepare(outgoing, Era::Legacy, id);
        let asker = questions.as_ref().map(Questions::asker);
        let mut listener = Listener::new(id, prepared.agent_token, level, notices)
            .counting(missed)
            .asking(asker)
            .hearing(Hearing::Lane(lease.audience.clone()));
        let params = Some(&prepared.params).filter(|params: &&Object| !params.is_empty());
        let body: Bytes = request(&RequestId::number(id), method.as_str(), params).into();

        let mut call = async |session: &Lease<Session>, deadline: &mut Deadline| {
            let sent = Sent::default();
            let calling = async {
                if let Some(level) = session_level {
                    let id = self.ids.fetch_add(1, Ordering::Relaxed);
                    session.set_level(level, id).await;
                }
                session.call(id, body.clone(), &mut listener, &sent).await
            };
            let called = deadline.bound(calling).await;
            called.unwrap_or_else(|| Err(sent.timed_out()))
        };
        let called = call(&lease, &mut deadline).await;
        if !matches!(called, Ok(Called::SessionGone(_))) {
            return self.read(&seat, &lease, called);
        }
        // The request was not looked at, so this is its first time.
        let again = async {
            let reopened = deadline.bound(self.reopen(&seat, lease)).await;
            let lease = reopened.ok_or_else(|| Sent::default().timed_out())??;
            let called = call(&lease, &mut deadline).await;
            self.read(&seat, &lease, called)
        };
        // The server had the request in its hands once: nothing that goes wrong now makes that undone.
        again.await.map_err(|error| match error.nothing_sent() {
            true => UpstreamError::Rejected(404),
            false => error,
        })
    }

    fn read(
        &self,
        seat: &Seat<Lane>,
        session: &Lease<Session>,
        called: Result<Called, UpstreamError>,
    ) -> Result<Reply, UpstreamError> {
        let is_doubtful = matches!(called, Err(UpstreamError::TimedOut))
            && session.is_doubtful_without_an_answer();
        if is_doubtful || has_lost_session(&called) {
            session.lose();
            self.sessions.discard(seat, session.shared());
        }
        let (status, outcome) = match called? {
            Called::Answered { status, outcome } => (status, outcome),
            Called::SessionGone(said) => match said? {
                Ending::Answered { status, outcome } => (status, outcome),
                Ending::Cut { .. } => return Err(UpstreamError::Rejected(404)),
            },
        };
        Ok(Reply {
            era: Era::Legacy,
            status,
            outcome,
        })
    }

    /// A session of this lane. Where no answer can be carried back the server is told that nobody can be asked.
    async fn session(
        &self,
        lane: &Lane,
        declared: Option<&Arc<Declared>>,
        until: Instant,
    ) -> Result<Seated<Lane, Session>, UpstreamError> {
        let declared = declared.filter(|_| !self.is_sessionless.load(Ordering::Relaxed));
        // Waiting for others to be through is no part of the opening.
        let until = until + declared.map_or(Duration::ZERO, |_| self.timeout);
        let seating = timeout_at(until, self.answerable(lane, declared)).await;
        seating.unwrap_or_else(|_| Err(not_in_time()))
    }

    async fn answerable(
        &self,
        lane: &Lane,
        declared: Option<&Arc<Declared>>,
    ) -> Result<Seated<Lane, Session>, UpstreamError> {
        let seated = self.seat(lane, declared).await?;
        let is_sessionless = !seated.lease.can_be_answered();
        self.is_sessionless.store(is_sessionless, Ordering::Relaxed);
        if declared.is_none() || !is_sessionless {
            return Ok(seated);
        }
        self.sessions.discard(&seated.seat, seated.lease.shared());
        self.seat(lane, None).await
    }

    async fn seat(
        &self,
        lane: &Lane,
        declared: Option<&Arc<Declared>>,
    ) -> Result<Seated<Lane, Session>, UpstreamError> {
        let turns = Turns {
            most: limits::LEASED_SESSIONS,
            patience: self.timeout,
        };
        let opening = || self.opening(lane, declared.cloned());
        let declared = declared.map(|declared| &**declared);
        let seated = self.sessions.seat(lane, declared, turns, opening).await?;
        if !seated.lease.is_over() {
            // The first to use it: now it can be found among those that are open.
            if !seated.lease.was_used.swap(true, Ordering::Relaxed) {
                seated.lease.audience.meet();
            }
            return Ok(seated);
        }
        let Seated { seat, lease } = seated;
        let lease = self.reopen(&seat, lease).await?;
        Ok(Seated { seat, lease })
    }

    /// A new session in the place of one that the server forgot.
    async fn reopen(
        &self,
        seat: &Seat<Lane>,
        gone: Lease<Session>,
    ) -> Result<Lease<Session>, UpstreamError> {
        gone.lose();
        let opening = || self.opening(&seat.whose, gone.declared.clone());
        self.sessions.reopen(seat, gone.shared(), opening).await
    }

    fn opening(
        &self,
        lane: &Lane,
        declared: Option<Arc<Declared>>,
    ) -> impl Future<Output = Result<Session, UpstreamError>> + Send + use<> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (wire, choice) = (self.wire.clone(), self.choice.clone());
        let opener = Opener {
            id,
            declared,
            audience: self.audiences.of(lane),
        };
        async move { Session::open(wire, opener, &choice).await }
    }

    pub(super) async fn roots_changed(&self, lane: &Lane) {
        let open = self.sessions.open(|seat| seat.whose == *lane);
        let told = open.iter().filter(|(_, session)| session.knows_roots());
        futures_util::future::join_all(told.map(|(_, session)| session.roots_changed())).await;
    }

    pub(super) fn end_session(&self, lane: &Lane) {
        self.sessions.end_where(|seat| seat.whose == *lane);
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

pub(super) fn not_in_time() -> UpstreamError {
    UpstreamError::Unreachable("it did not open in time".into())
}

/// Ends a session without waiting; when the runtime is gone too, the server finds out by itself.
fn end_aside(session: Arc<Session>) {
    // Whoever listens to it finds another one, if there is room.
    session.audience.shake();
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move { session.end().await });
    }
}

/// Whether news are expected on a session, so that it must not end.
fn is_listened_to(session: &Session) -> bool {
    session.audience.is_open()
}

/// Whether a failed opening says that the server does not open: neither refused credentials nor trouble do.
fn is_evidence(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Rejected(status) => !is_no_evidence(*status),
        // An error, or something that is no result of `initialize`.
        UpstreamError::Refused(_) => true,
        UpstreamError::Unreachable(_)
        | UpstreamError::TimedOut
        | UpstreamError::Broken(_)
        | UpstreamError::TooLarge(_) => false,
    }
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
