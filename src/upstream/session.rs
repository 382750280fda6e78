//! One session with an HTTP server of 2025-11-25 or before, over whichever of the two transports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::protocol::{LogLevel, Method, Object, RequestId, notification, request};

use super::asking::{Declared, ROOTS_CHANGED};
use super::audience::Audience;
use super::channel::Channel;
use super::codec::Outcome;
use super::handshake::{Opener, as_opening, level_params, logs};
use super::listener::{Listener, cancellation};
use super::opening::locked;
use super::reply::Ending;
use super::sse::Sse;
use super::streamable::Streamable;
use super::wire::{Sent, Wire};
use super::{Description, UpstreamError, limits};

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    transport: Transport,
    pub(super) description: Arc<Description>,
    /// What the server was told about the agent; nothing when several calls may share the session.
    pub(super) declared: Option<Arc<Declared>>,
    /// Who hears what the server says outside of calls.
    pub(super) audience: Arc<Audience>,
    /// Whether anybody used it yet.
    pub(super) was_used: AtomicBool,
    /// How severe a log line must be, as the server was told last.
    level: Mutex<Option<LogLevel>>,
}

#[derive(Debug)]
enum Transport {
    Streamable(Streamable),
    /// HTTP with two endpoints, of 2024-11-05.
    Sse(Sse),
}

/// Which transport to open a session with.
#[derive(Debug)]
pub(super) enum Choice {
    /// The old one.
    Sse,
    /// Streamable HTTP: whoever speaks 2026-07-28 too does not speak the old one at the same place.
    Streamable,
    /// Streamable HTTP, and the old one where `initialize` is refused as unknown; holds what was found last.
    Either(AtomicBool),
}

/// How a call on a session ended.
#[derive(Debug)]
pub(super) enum Called {
    /// With an answer.
    Answered { status: u16, outcome: Outcome },
    /// With a status 404: the server does not know the session any more, and so did not look at the request (MCP
    /// 2025-11-25, transports, session management). What it said is kept, for when it says so again.
    SessionGone(Result<Ending, UpstreamError>),
}

impl Session {
    /// Opens a session; what was found out about the transport is kept in `choice`.
    pub(super) async fn open(
        wire: Arc<Wire>,
        opener: Opener,
        choice: &Choice,
    ) -> Result<Self, UpstreamError> {
        let found = match choice {
            Choice::Sse => return Self::open_sse(&wire, opener).await,
            Choice::Streamable => None,
            Choice::Either(found) => Some(found),
        };
        if let Some(found) = found
            && found.load(Ordering::Relaxed)
        {
            let opened = Self::open_sse(&wire, opener).await;
            found.store(opened.is_ok(), Ordering::Relaxed);
            return opened;
        }
        let opening = Streamable::open(wire.clone(), &opener);
        let opened = tokio::time::timeout(limits::HANDSHAKE, opening).await;
        let error = match opened.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok((session, description)) => {
                let transport = Transport::Streamable(session);
                return Ok(Self::new(transport, description, opener));
            }
            Err(error) => error,
        };
        let is_unknown = matches!(error, UpstreamError::Rejected(400 | 404 | 405));
        let error = as_opening(error, "`initialize`");
        let Some(found) = found.filter(|_| is_unknown) else {
            return Err(error);
        };
        if !Sse::is_spoken(&wire).await {
            return Err(error);
        }
        let opened = Self::open_sse(&wire, opener).await;
        found.store(opened.is_ok(), Ordering::Relaxed);
        opened
    }

    async fn open_sse(wire: &Wire, opener: Opener) -> Result<Self, UpstreamError> {
        let (session, description) = Sse::open(wire, &opener).await?;
        Ok(Self::new(Transport::Sse(session), description, opener))
    }

    fn new(transport: Transport, description: Description, opener: Opener) -> Self {
        Self {
            transport,
            description: Arc::new(description),
            declared: opener.declared,
            audience: opener.audience,
            was_used: AtomicBool::new(false),
            level: Mutex::default(),
        }
    }

    /// Whether the server could be answered when it asks something.
    pub(super) fn can_be_answered(&self) -> bool {
        match &self.transport {
            Transport::Streamable(session) => session.channel.has_id(),
            Transport::Sse(_) => true,
        }
    }

    /// Whether nothing can be called on it any more, as far as we know.
    pub(super) fn is_over(&self) -> bool {
        let has_ended = match &self.transport {
            Transport::Streamable(_) => false,
            Transport::Sse(session) => session.is_over(),
        };
        has_ended || self.channel().is_lost()
    }

    /// The server does not know it any more, or it is given up.
    pub(super) fn lose(&self) {
        self.channel().lose();
    }

    /// Whether a call that got no answer puts the whole session in doubt: a stream that is dead without a word
    /// looks like one on which nothing is said.
    pub(super) fn is_doubtful_without_an_answer(&self) -> bool {
        match &self.transport {
            Transport::Streamable(_) => false,
            Transport::Sse(_) => true,
        }
    }

    /// One call, without a deadline. When it is dropped or given up before its answer came, the server is told.
    pub(super) async fn call(
        &self,
        id: u64,
        body: Bytes,
        listener: &mut Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let mut giving_up = GivingUp {
            channel: self.channel().clone(),
            id,
            sent: sent.clone(),
            is_over: false,
        };
        let called = match &self.transport {
            Transport::Streamable(session) => session.call(id, body, listener, sent).await,
            Transport::Sse(session) => session.call(id, body, listener.clone(), sent).await,
        };
        giving_up.is_over = !matches!(called, Err(UpstreamError::TooLarge(_)));
        called
    }

    /// Tells a server that logs how severe a line must be, once. Like the opening this is the connection's own: what
    /// goes wrong with it says nothing about the call that follows.
    pub(super) async fn set_level(&self, level: LogLevel, id: u64) {
        if !logs(&self.description) || *locked(&self.level) == Some(level) {
            return;
        }
        let (nobody, _) = mpsc::channel(1);
        let mut listener = Listener::new(id, None, None, &nobody);
        let params = level_params(level);
        let method = Method::SetLevel.as_str();
        let body = request(&RequestId::number(id), method, Some(&params)).into();
        let sent = Sent::default();
        let telling = self.call(id, body, &mut listener, &sent);
        drop(tokio::time::timeout(limits::SIDE, telling).await);
        *locked(&self.level) = Some(level);
    }

    /// Whether the server was told that the agent has roots.
    pub(super) fn knows_roots(&self) -> bool {
        let declared = self.declared.as_ref();
        declared.is_some_and(|declared| declared.has_roots())
    }

    /// Tells the server that the agent's roots changed.
    pub(super) async fn roots_changed(&self) {
        let message = notification(ROOTS_CHANGED, None);
        self.channel().post_aside(message).await;
    }

    /// Tells the server that the session is over. The old transport says so by closing its stream.
    pub(super) async fn end(&self) {
        self.lose();
        self.channel().end().await;
    }

    fn channel(&self) -> &Arc<Channel> {
        match &self.transport {
            Transport::Streamable(session) => &session.channel,
            Transport::Sse(session) => &session.channel,
        }
    }
}

/// Cancels a call that ends before its answer: its future was dropped, or its deadline passed.
struct GivingUp {
    channel: Arc<Channel>,
    id: u64,
    sent: Sent,
    is_over: bool,
}

impl Drop for GivingUp {
    fn drop(&mut self) {
        if self.is_over || !self.sent.happened() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let params: Object = cancellation(self.id);
            let message = notification("notifications/cancelled", Some(&params));
            let channel = self.channel.clone();
            runtime.spawn(async move { channel.post_aside(message).await });
        }
    }
}
