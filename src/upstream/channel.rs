//! The way to one legacy session: the headers that go with everything, and messages that have no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;

use crate::protocol::{RequestId, Version};

use super::asking::{Question, Told};
use super::audience::Audience;
use super::body::collect;
use super::modern::VERSION;
use super::reply::content_type;
use super::wire::{Sent, Wire};
use super::{UpstreamError, limits};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// The longest session id we keep, in bytes.
const SESSION_ID: usize = 1024;

/// The way to one session.
#[derive(Debug)]
pub(super) struct Channel {
    wire: Arc<Wire>,
    /// The negotiated version and the session id, as far as the server gave one.
    headers: HeaderMap,
    audience: Arc<Audience>,
    /// Whether the server does not know the session any more.
    is_lost: AtomicBool,
}

impl Channel {
    pub(super) fn new(
        wire: Arc<Wire>,
        version: Option<Version>,
        session_id: Option<HeaderValue>,
        audience: Arc<Audience>,
    ) -> Arc<Self> {
        let headers = session_headers(version, session_id);
        Arc::new(Self {
            wire,
            headers,
            audience,
            is_lost: AtomicBool::new(false),
        })
    }

    /// The session is of no use any more: whoever listened to it must know.
    pub(super) fn lose(&self) {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            self.audience.shake();
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    pub(super) fn has_id(&self) -> bool {
        self.headers.contains_key(SESSION)
    }

    /// Sends a request.
    pub(super) async fn call(
        &self,
        body: Bytes,
        sent: &Sent,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.wire.post(body, self.headers.clone(), sent).await
    }

    /// Asks for a stream of events, from where one left off.
    pub(super) async fn stream(
        &self,
        last_event: Option<&str>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let mut headers = self.headers.clone();
        if let Some(last_event) = last_event {
            let value = HeaderValue::from_str(last_event)
                .map_err(|_| UpstreamError::Broken("its event id is no header value".into()))?;
            headers.insert(LAST_EVENT, value);
        }
        self.wire.get(headers).await
    }

    /// Sends what has no answer.
    pub(super) async fn post(&self, message: String) -> Result<(), UpstreamError> {
        let sent = Sent::default();
        let response = self.call(message.into(), &sent).await?;
        if response.status().is_success() {
            // Read to the end, so that the connection can be used again.
            collect(response, limits::AFTERTHOUGHT).await?;
        }
        Ok(())
    }

    /// Sends a request whose answer comes on another way.
    pub(super) async fn deliver(&self, body: Bytes, sent: &Sent) -> Result<(), UpstreamError> {
        let response = self.call(body, sent).await?;
        let status = response.status();
        // Read to the end, so that the connection can be used again; what it says is of no interest.
        let _ = collect(response, limits::AFTERTHOUGHT).await;
        match status.as_u16() {
            200..300 => Ok(()),
            400..500 => Err(UpstreamError::Rejected(status.as_u16())),
            status => Err(UpstreamError::Broken(format!("it answers HTTP {status}"))),
        }
    }

    pub(super) async fn post_aside(&self, message: String) {
        let posting = tokio::time::timeout(limits::SIDE, self.post(message)).await;
        if !matches!(posting, Ok(Ok(()))) {
            tracing::debug!("a message on the side did not reach the server");
        }
    }

    /// Carries the answer to a question back, whenever the agent gives it.
    pub(super) fn carry_back(
        self: &Arc<Self>,
        id: RequestId,
        method: &str,
        mut question: Question,
    ) {
        let (channel, method) = (self.clone(), method.to_owned());
        tokio::spawn(async move {
            let answer = loop {
                match question.next(&id, &method).await {
                    Told::Progress(message) => channel.post_aside(message).await,
                    Told::Answer(message) => break message,
                }
            };
            // It is answered, whether or not that arrives.
            drop(question);
            channel.post_aside(answer).await;
        });
    }

    /// Tells the server that the session is over; many do not want to know.
    pub(super) async fn end(&self) {
        if self.has_id() {
            let ending = self.wire.delete(self.headers.clone());
            let _ = tokio::time::timeout(limits::SIDE, ending).await;
        }
    }
}

/// Whether a response is a stream of events.
pub(super) fn is_stream(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::OK && content_type(response.headers()) == "text/event-stream"
}

pub(super) fn read_session_id(headers: &HeaderMap) -> Result<Option<HeaderValue>, UpstreamError> {
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

fn session_headers(version: Option<Version>, session_id: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    if let Some(version) = version.filter(|version| *version >= Version::V2025_06_18) {
        headers.insert(VERSION, HeaderValue::from_static(version.as_str()));
    }
    if let Some(mut id) = session_id {
        id.set_sensitive(true);
        headers.insert(SESSION, id);
    }
    headers
}
