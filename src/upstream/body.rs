//! Takes the body of an HTTP response, whole or as events, and never more of it than the limits allow.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::protocol::{SseEvent, SseParser};

use super::wire::innermost;
use super::{UpstreamError, limits};

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn collect(
    response: Response<Incoming>,
    limit: usize,
) -> Result<Bytes, UpstreamError> {
    let declared = response
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    if declared
        .and_then(|length| length.parse().ok())
        .is_some_and(|length: usize| length > limit)
    {
        return Err(UpstreamError::TooLarge(limit));
    }
    let mut body = response.into_body();
    let mut first = Bytes::new();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(UpstreamError::TooLarge(limit));
        }
        // Most answers are one chunk, and are not copied.
        if first.is_empty() {
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

async fn next_chunk(body: &mut Incoming) -> Result<Option<Bytes>, UpstreamError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            UpstreamError::Broken(format!("the answer was cut off: {}", innermost(&error)))
        })?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Cuts a body into events.
pub(super) struct EventReader {
    body: Incoming,
    parser: SseParser,
    ready: VecDeque<SseEvent>,
    /// Bytes so far.
    pub(super) taken: usize,
    /// The id of the last event that had one.
    pub(super) last_event: Option<String>,
}

impl EventReader {
    pub(super) fn new(body: Incoming, last_event: Option<String>) -> Self {
        Self {
            body,
            parser: SseParser::new(limits::EVENT),
            ready: VecDeque::new(),
            taken: 0,
            last_event,
        }
    }

    /// How long the server wants to be left alone before its stream is asked for again, in milliseconds.
    pub(super) fn retry(&self) -> Option<u64> {
        self.parser.retry()
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<SseEvent>, UpstreamError> {
        self.next_named("message").await
    }

    /// The next event with this name, and with data.
    pub(super) async fn next_named(
        &mut self,
        name: &str,
    ) -> Result<Option<SseEvent>, UpstreamError> {
        loop {
            match self.next_any().await? {
                Some(event) if !is_named(&event, name) => {}
                found => return Ok(found),
            }
        }
    }

    /// The next event, also one that only names a place in the stream.
    pub(super) async fn next_any(&mut self) -> Result<Option<SseEvent>, UpstreamError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Some(id) = &event.id {
                    // An empty id takes back the one before (WHATWG HTML, section 9.2.6).
                    self.last_event = Some(id.clone()).filter(|id| !id.is_empty());
                }
                return Ok(Some(event));
            }
            let Some(chunk) = next_chunk(&mut self.body).await? else {
                return Ok(None);
            };
            self.taken = self.taken.saturating_add(chunk.len());
            if self.taken > limits::STREAM {
                return Err(UpstreamError::TooLarge(limits::STREAM));
            }
            let events = self.parser.push(&chunk);
            self.ready
                .extend(events.map_err(|error| UpstreamError::TooLarge(error.limit))?);
        }
    }
}

/// Whether an event has this name, and data: one without only carries an id, to resume from.
pub(super) fn is_named(event: &SseEvent, name: &str) -> bool {
    let named = if event.name.is_empty() {
        "message"
    } else {
        &event.name
    };
    named == name && !event.data.is_empty()
}
