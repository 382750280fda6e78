//! Reads the answer to one request from the body of an HTTP response, JSON or a stream of events.

use futures_util::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use hyper::body::Incoming;

use crate::protocol::{Message, Object, RequestId, SseEvent};

use super::body::{EventReader, collect, is_named};
use super::codec::{Heard, Outcome, hear};
use super::listener::Listener;
use super::{EventId, UpstreamError, limits};

/// How a response ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With the answer.
    Answered { status: u16, outcome: Outcome },
    /// The stream ended early, after events that can be taken up again; `retry` is how long the server wants to be
    /// left alone before that, in milliseconds.
    Cut {
        last_event: String,
        retry: Option<u64>,
    },
}

/// What to do with requests of the server that arrive on the stream of a call, at a place of it.
pub(super) type OnRequest<'a> = &'a mut (
            dyn FnMut(RequestId, &str, Object, Option<EventId>) -> Result<(), UpstreamError> + Send
        );

/// Reads until the answer of request `id` is there.
///
/// # Errors
/// `Rejected` for a status 4xx without a message, `TooLarge`, and `Broken` for everything that is not exactly
/// one answer to this request. `last_event` is where a stream that was taken up again left off.
pub(super) async fn read_reply(
    response: Response<Incoming>,
    id: u64,
    listener: &mut Listener,
    on_request: OnRequest<'_>,
    last_event: Option<String>,
) -> Result<Ending, UpstreamError> {
    let status = response.status();
    refuse_unreadable(status, response.headers())?;
    if !status.is_success() {
        return read_failure(response, id).await;
    }
    match content_type(response.headers()).as_str() {
        "text/event-stream" => {
            let events = EventReader::new(response.into_body(), last_event);
            read_events(events, id, listener, on_request).await
        }
        "application/json" | "" => {
            let body = collect(response, limits::ANSWER).await?;
            answered(status, &body, id)
        }
        _ => Err(UpstreamError::Broken(format!(
            "HTTP {} with neither JSON nor events",
            status.as_u16()
        ))),
    }
}

fn refuse_unreadable(status: StatusCode, headers: &HeaderMap) -> Result<(), UpstreamError> {
    if status.is_redirection() {
        return Err(UpstreamError::Broken(format!(
            "it answers with a redirect (HTTP {}), which is not followed: configure the final URL",
            status.as_u16()
        )));
    }
    let is_encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity");
    if is_encoded {
        return Err(UpstreamError::Broken(
            "the answer is compressed, which was not asked for".into(),
        ));
    }
    Ok(())
}

/// A status 4xx or 5xx: with a JSON-RPC error it is an answer like any other.
async fn read_failure(response: Response<Incoming>, id: u64) -> Result<Ending, UpstreamError> {
    let status = response.status();
    let is_json = content_type(response.headers()) == "application/json";
    let body = if is_json {
        collect(response, limits::ERROR_BODY).await.ok()
    } else {
        None
    };
    if let Some(Ok(Heard::Answer(outcome @ Err(_)))) = body.map(|body| hear(&body, id, true)) {
        return Ok(Ending::Answered {
            status: status.as_u16(),
            outcome,
        });
    }
    Err(if status.is_client_error() {
        UpstreamError::Rejected(status.as_u16())
    } else {
        UpstreamError::Broken(format!("it answers HTTP {}", status.as_u16()))
    })
}

fn answered(status: StatusCode, body: &[u8], id: u64) -> Result<Ending, UpstreamError> {
    if body.is_empty() {
        return Err(UpstreamError::Broken(format!(
            "HTTP {} without an answer",
            status.as_u16()
        )));
    }
    match hear(body, id, false)? {
        Heard::Answer(outcome) => Ok(Ending::Answered {
            status: status.as_u16(),
            outcome,
        }),
        Heard::Notification { .. } | Heard::Request { .. } => {
            Err(UpstreamError::Broken("the answer is no response".into()))
        }
    }
}

/// The media type without its parameters; empty when there is none.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

async fn read_events(
    mut events: EventReader,
    id: u64,
    listener: &mut Listener,
    on_request: OnRequest<'_>,
) -> Result<Ending, UpstreamError> {
    loop {
        let event = match events.next_any().await {
            Ok(Some(event)) => event,
            Ok(None) => {
                if events.last_event.is_some() {
                    listener.hear_end(events.retry());
                }
                return cut(
                    events,
                    UpstreamError::Broken("the stream ended without an answer".into()),
                );
            }
            Err(error @ UpstreamError::Broken(_)) => return cut(events, error),
            Err(error) => return Err(error),
        };
        listener.turn_to(event.id.clone(), events.retry());
        if !is_named(&event, "message") {
            listener.hear_nothing();
            continue;
        }
        match hear(&event.data, id, false)? {
            Heard::Notification { method, params } => listener.hear(&method, params),
            Heard::Request { id, method, params } => {
                on_request(id, &method, params, listener.take_place())?;
            }
            Heard::Answer(outcome) => {
                listener.hear_answer();
                finish(events)?;
                return Ok(Ending::Answered {
                    status: 200,
                    outcome,
                });
            }
        }
    }
}

fn cut(events: EventReader, error: UpstreamError) -> Result<Ending, UpstreamError> {
    let retry = events.retry();
    match events.last_event {
        Some(last_event) => Ok(Ending::Cut { last_event, retry }),
        None => Err(error),
    }
}

/// Looks at what came together with the answer, and leaves the rest to a task that reads it out, so that the
/// connection can be used again. An answer is never held back to see whether another follows.
fn finish(mut events: EventReader) -> Result<(), UpstreamError> {
    loop {
        match events.next().now_or_never() {
            Some(Ok(Some(event))) => refuse_second(&event)?,
            Some(Ok(None) | Err(_)) => return Ok(()),
            None => break,
        }
    }
    tokio::spawn(async move {
        let reading = async {
            let end = events.taken.saturating_add(limits::AFTERTHOUGHT);
            while let Ok(Some(_)) = events.next().await {
                if events.taken > end {
                    return;
                }
            }
        };
        // A stream that stays open is dropped, and its connection with it.
        let _ = tokio::time::timeout(limits::SIDE, reading).await;
    });
    Ok(())
}

fn refuse_second(event: &SseEvent) -> Result<(), UpstreamError> {
    match Message::parse(&event.data) {
        Ok(Message::Response { .. }) => Err(UpstreamError::Broken("it answered twice".into())),
        Ok(Message::Request { .. } | Message::Notification { .. }) | Err(_) => Ok(()),
    }
}
