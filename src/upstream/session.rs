//! One session with an HTTP server of 2025-11-25 or before.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use crate::protocol::{Method, Object, RequestId, SseParser, code, notification, request};

use super::asking::{Asker, Declared, refusal};
use super::channel::{Channel, is_stream, read_session_id};
use super::codec::{Outcome, error_code};
use super::handshake::{as_opening, initialize_params, read_initialize};
use super::listener::{Listener, cancellation};
use super::reply::{Ending, content_type, read_reply};
use super::standing::{Floor, Standing};
use super::wire::{Sent, Wire};
use super::{Description, UpstreamError, limits};

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    channel: Arc<Channel>,
    pub(super) description: Arc<Description>,
    /// What the server was told about the agent; nothing when several calls may share the session.
    pub(super) declared: Option<Arc<Declared>>,
    floor: Floor,
    _standing: Option<Standing>,
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
    /// Opens a session (MCP 2025-11-25, lifecycle).
    pub(super) async fn open(
        wire: Arc<Wire>,
        id: u64,
        declared: Option<Arc<Declared>>,
    ) -> Result<Self, UpstreamError> {
        let opening = Self::initialize(wire.clone(), id, declared);
        let opened = tokio::time::timeout(limits::HANDSHAKE, opening).await;
        match opened.unwrap_or(Err(UpstreamError::TimedOut)) {
            Err(UpstreamError::Rejected(status @ (400 | 404 | 405)))
                if speaks_old_sse(&wire).await =>
            {
                Err(UpstreamError::Refused(format!(
                    "it speaks only the HTTP+SSE transport of 2024-11-05 (HTTP {status} to `initialize`), which is not spoken here"
                )))
            }
            opened => opened.map_err(|error| as_opening(error, "`initialize`")),
        }
    }

    async fn initialize(
        wire: Arc<Wire>,
        id: u64,
        declared: Option<Arc<Declared>>,
    ) -> Result<Self, UpstreamError> {
        let body = request(
            &RequestId::number(id),
            Method::Initialize.as_str(),
            Some(&initialize_params(declared.as_deref())),
        );
        let response = wire
            .post(body.into(), HeaderMap::new(), &Sent::default())
            .await?;
        let session_id = read_session_id(response.headers())?;
        let (nobody, _) = mpsc::channel(1);
        let mut listener = Listener::new(id, None, None, &nobody);
        let ending = read_reply(response, id, &mut listener, &mut |_, _, _| Ok(()), None).await?;
        let outcome = match ending {
            Ending::Answered {
                status,
                outcome: Err(_),
            } if status >= 400 => return Err(UpstreamError::Rejected(status)),
            Ending::Answered { outcome, .. } => outcome,
            Ending::Cut { .. } => {
                return Err(UpstreamError::Broken(
                    "the stream ended without an answer".into(),
                ));
            }
        };
        let (version, description) = read_initialize(outcome)?;
        let channel = Channel::new(wire, version, session_id);
        channel
            .post(notification("notifications/initialized", None))
            .await?;
        // Without something to ask for there is nothing to hear on it.
        let (floor, mut standing) = (Floor::default(), None);
        if declared.is_some() && channel.has_id() {
            standing = Some(Standing::open(channel.clone(), floor.clone()).await);
        }
        Ok(Self {
            channel,
            description: Arc::new(description),
            declared,
            floor,
            _standing: standing,
        })
    }

    /// Whether the server could be answered when it asks something.
    pub(super) fn has_id(&self) -> bool {
        self.channel.has_id()
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
            channel: self.channel.clone(),
            id,
            sent: sent.clone(),
            is_over: false,
        };
        let called = self.exchange(id, body, listener, sent).await;
        giving_up.is_over = !matches!(called, Err(UpstreamError::TooLarge(_)));
        called
    }

    async fn exchange(
        &self,
        id: u64,
        body: Bytes,
        listener: &mut Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let asker = listener.asker().filter(|_| self.declared.is_some());
        let _on_floor = asker.clone().map(|asker| self.floor.enter(id, asker));
        let mut refused = 0;
        let mut on_request = |id: RequestId, method: &str, params: Object| {
            if self.pass_up(&asker, &id, method, params) {
                return Ok(());
            }
            refused += 1;
            if refused > limits::COUNTER_REQUESTS {
                return Ok(());
            }
            self.refuse(&id, method)
        };
        let response = self.channel.call(body, sent).await?;
        let status = response.status();
        let mut ending = read_reply(response, id, listener, &mut on_request, None).await;
        let mut pause = limits::RESUME_FIRST;
        while let Ok(Ending::Cut { last_event }) = ending {
            tokio::time::sleep(pause).await;
            pause = limits::RESUME_LAST.min(pause * 2);
            let response = self.resume(&last_event).await?;
            ending = read_reply(response, id, listener, &mut on_request, Some(last_event)).await;
        }
        if status == StatusCode::NOT_FOUND && self.has_id() && !is_unknown_method(&ending) {
            return Ok(Called::SessionGone(ending));
        }
        match ending? {
            Ending::Answered { status, outcome } => Ok(Called::Answered { status, outcome }),
            Ending::Cut { .. } => Err(UpstreamError::Broken(
                "the stream ended without an answer".into(),
            )),
        }
    }

    /// Takes up a stream that ended early (MCP 2025-11-25, transports, resumability). This repeats nothing: it
    /// asks for the rest of what the server has to say about a request it has.
    async fn resume(
        &self,
        last_event: &str,
    ) -> Result<http::Response<hyper::body::Incoming>, UpstreamError> {
        let broken = || {
            UpstreamError::Broken("the stream ended without an answer and cannot be resumed".into())
        };
        let response = self.channel.stream(Some(last_event)).await;
        response.ok().filter(is_stream).ok_or_else(broken)
    }

    /// Passes a question of the server up to the agent; `false` when it is not one for the agent.
    fn pass_up(&self, asker: &Option<Asker>, id: &RequestId, method: &str, params: Object) -> bool {
        let question = asker.as_ref().and_then(|asker| asker.ask(method, params));
        let is_asked = question.is_some();
        if let Some(question) = question {
            self.channel.carry_back(id.clone(), method, question);
        }
        is_asked
    }

    /// Answers a request of the server: we are alive, and offer nothing. Without a session no answer can reach
    /// the server, and waiting until the deadline would help nobody.
    fn refuse(&self, id: &RequestId, method: &str) -> Result<(), UpstreamError> {
        if !self.has_id() {
            return match method {
                "ping" => Ok(()),
                _ => Err(UpstreamError::Broken(
                    "it asked the client for something, and opened no session to take the answer"
                        .into(),
                )),
            };
        }
        let answer = refusal(id, method);
        let channel = self.channel.clone();
        tokio::spawn(async move { channel.post_aside(answer).await });
        Ok(())
    }

    /// Tells the server that the session is over.
    pub(super) async fn end(&self) {
        self.channel.end().await;
    }
}

/// A status 404 that speaks of our method and not of the session.
fn is_unknown_method(ending: &Result<Ending, UpstreamError>) -> bool {
    matches!(ending, Ok(Ending::Answered { outcome: Err(error), .. }) if error_code(error) == Some(code::METHOD_NOT_FOUND))
}

/// Whether the stream behind this URL opens as that of 2024-11-05 does: with an event `endpoint`.
async fn speaks_old_sse(wire: &Wire) -> bool {
    let asking = async {
        use http_body_util::BodyExt;
        let mut response = wire.get(HeaderMap::new()).await.ok()?;
        if content_type(response.headers()) != "text/event-stream" {
            return None;
        }
        let mut parser = SseParser::new(limits::AFTERTHOUGHT);
        loop {
            let chunk = response.body_mut().frame().await?.ok()?.into_data().ok()?;
            if let Some(event) = parser.push(&chunk).ok()?.first() {
                return Some(event.name == "endpoint");
            }
        }
    };
    let asked = tokio::time::timeout(limits::SIDE, asking).await;
    matches!(asked, Ok(Some(true)))
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
