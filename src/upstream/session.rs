//! One session with an HTTP server of 2025-11-25 or before.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::mpsc;

use crate::protocol::{
    Json, Method, Object, RequestId, SseParser, Version, code, error_response, notification, raw,
    request, result_response,
};

use super::body::collect;
use super::codec::{Outcome, error_code, not_offered};
use super::handshake::{as_opening, initialize_params, read_initialize};
use super::listener::{Listener, cancellation};
use super::modern::VERSION;
use super::reply::{Ending, content_type, read_reply};
use super::wire::{Sent, Wire};
use super::{Description, UpstreamError, limits};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// The longest session id we keep, in bytes.
const SESSION_ID: usize = 1024;

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    wire: Arc<Wire>,
    /// The negotiated version and the session id, as far as the server gave one.
    headers: HeaderMap,
    pub(super) description: Arc<Description>,
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
    pub(super) async fn open(wire: Arc<Wire>, id: u64) -> Result<Self, UpstreamError> {
        let opening = Self::initialize(wire.clone(), id);
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

    async fn initialize(wire: Arc<Wire>, id: u64) -> Result<Self, UpstreamError> {
        let body = request(
            &RequestId::number(id),
            Method::Initialize.as_str(),
            Some(&initialize_params()),
        );
        let response = wire
            .post(body.into(), HeaderMap::new(), &Sent::default())
            .await?;
        let session_id = read_session_id(response.headers())?;
        let (nobody, _) = mpsc::channel(1);
        let mut listener = Listener::new(id, None, None, &nobody);
        let ending = read_reply(response, id, &mut listener, &mut |_, _| Ok(()), None).await?;
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
        let session = Self {
            wire,
            headers: session_headers(version, session_id),
            description: Arc::new(description),
        };
        session
            .post(notification("notifications/initialized", None))
            .await?;
        Ok(session)
    }

    fn has_id(&self) -> bool {
        self.headers.contains_key(SESSION)
    }

    /// One call, without a deadline. When it is dropped or given up before its answer came, the server is told.
    pub(super) async fn call(
        self: &Arc<Self>,
        id: u64,
        body: Bytes,
        listener: &mut Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let mut giving_up = GivingUp {
            session: self.clone(),
            id,
            sent: sent.clone(),
            is_over: false,
        };
        let called = self.exchange(id, body, listener, sent).await;
        giving_up.is_over = !matches!(called, Err(UpstreamError::TooLarge(_)));
        called
    }

    async fn exchange(
        self: &Arc<Self>,
        id: u64,
        body: Bytes,
        listener: &mut Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let mut asked = 0;
        let mut on_request = |id: RequestId, method: &str| {
            asked += 1;
            if asked > limits::COUNTER_REQUESTS {
                return Ok(());
            }
            self.answer(&id, method)
        };
        let response = self.wire.post(body, self.headers.clone(), sent).await?;
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
        let mut headers = self.headers.clone();
        headers.insert(
            LAST_EVENT,
            HeaderValue::from_str(last_event).map_err(|_| broken())?,
        );
        let response = self.wire.get(headers).await.map_err(|_| broken())?;
        let is_stream = response.status() == StatusCode::OK
            && content_type(response.headers()) == "text/event-stream";
        if is_stream {
            Ok(response)
        } else {
            Err(broken())
        }
    }

    /// Answers a request of the server: we are alive, and offer nothing. Without a session no answer can reach
    /// the server, and waiting until the deadline would help nobody.
    fn answer(self: &Arc<Self>, id: &RequestId, method: &str) -> Result<(), UpstreamError> {
        if !self.has_id() {
            return match method {
                "ping" => Ok(()),
                _ => Err(UpstreamError::Broken(
                    "it asked the client for something, and opened no session to take the answer"
                        .into(),
                )),
            };
        }
        let answer = answer_to(id, method);
        let session = self.clone();
        tokio::spawn(async move { session.post_aside(answer).await });
        Ok(())
    }

    /// Sends what has no answer.
    async fn post(&self, message: String) -> Result<(), UpstreamError> {
        let response = self
            .wire
            .post(message.into(), self.headers.clone(), &Sent::default())
            .await?;
        if response.status().is_success() {
            // Read to the end, so that the connection can be used again.
            collect(response, limits::AFTERTHOUGHT).await?;
        }
        Ok(())
    }

    async fn post_aside(&self, message: String) {
        let posting = tokio::time::timeout(limits::SIDE, self.post(message)).await;
        if !matches!(posting, Ok(Ok(()))) {
            tracing::debug!("a message on the side did not reach the server");
        }
    }

    /// Tells the server that the session is over; many do not want to know.
    pub(super) async fn end(&self) {
        if self.has_id() {
            let ending = self.wire.delete(self.headers.clone());
            let _ = tokio::time::timeout(limits::SIDE, ending).await;
        }
    }
}

/// The answer to a request of a server, over any transport.
pub(super) fn answer_to(id: &RequestId, method: &str) -> String {
    if method == Method::Ping.as_str() {
        let nothing: Json = raw("{}".into());
        return result_response(id, &nothing);
    }
    error_response(Some(id), &not_offered(method), false)
}

/// A status 404 that speaks of our method and not of the session.
fn is_unknown_method(ending: &Result<Ending, UpstreamError>) -> bool {
    matches!(ending, Ok(Ending::Answered { outcome: Err(error), .. }) if error_code(error) == Some(code::METHOD_NOT_FOUND))
}

fn read_session_id(headers: &HeaderMap) -> Result<Option<HeaderValue>, UpstreamError> {
    let Some(id) = headers.get(SESSION) else {
        return Ok(None);
    };
    let is_visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
    if id.is_empty() || id.len() > SESSION_ID || !is_visible {
        return Err(UpstreamError::Refused(
            "its session id is not made of visible ASCII characters".into(),
        ));
    }
    Ok(Some(id.clone()))
}

fn session_headers(version: Version, session_id: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    if version >= Version::V2025_06_18 {
        headers.insert(VERSION, HeaderValue::from_static(version.as_str()));
    }
    if let Some(mut id) = session_id {
        id.set_sensitive(true);
        headers.insert(SESSION, id);
    }
    headers
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
    session: Arc<Session>,
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
            let session = self.session.clone();
            runtime.spawn(async move { session.post_aside(message).await });
        }
    }
}
