//! How an answer goes out: one JSON body, or a stream of events when something is said before it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::gateway::{Answer, Part, Unanswered};
use crate::protocol::write_event;

/// After so long without a word, a stream is opened and kept alive with comments, so that timers of clients
/// and proxies in between do not run out.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether a client can take a stream: only one that says so.
pub(super) fn takes_stream(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

/// Sends what a request yields.
pub(super) async fn deliver(mut parts: mpsc::Receiver<Part>, streams: bool) -> Response {
    if !streams {
        return only_the_answer(parts).await;
    }
    match timeout(KEEP_ALIVE, parts.recv()).await {
        Ok(Some(Part::Answer(answer))) => super::respond(answer),
        Ok(Some(Part::Notice(notice))) => stream_from(Some(notice), parts),
        // A client that cancelled would take even an error for a message about nothing it knows.
        Ok(Some(Part::NoAnswer(_))) => stream_of(stream::empty()),
        Ok(None) => lost(),
        Err(_) => stream_from(None, parts),
    }
}

async fn only_the_answer(mut parts: mpsc::Receiver<Part>) -> Response {
    loop {
        match parts.recv().await {
            Some(Part::Answer(answer) | Part::NoAnswer(answer)) => return super::respond(answer),
            Some(Part::Notice(_)) => {}
            None => return lost(),
        }
    }
}

fn stream_from(first: Option<String>, parts: mpsc::Receiver<Part>) -> Response {
    let first = first.map_or_else(|| ": keep-alive\n\n".into(), |notice| write_event(&notice));
    stream_of(stream::unfold((Some(first), Some(parts)), next_event))
}

/// A stream of events as a response.
pub(super) fn stream_of(
    events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::OK, headers, Body::from_stream(events)).into_response()
}

type Streaming = (Option<String>, Option<mpsc::Receiver<Part>>);

async fn next_event((first, parts): Streaming) -> Option<(Result<Bytes, Infallible>, Streaming)> {
    if let Some(first) = first {
        return Some((Ok(first.into()), (None, parts)));
    }
    let mut parts = parts?;
    let (text, rest) = match timeout(KEEP_ALIVE, parts.recv()).await {
        Ok(Some(Part::Notice(notice))) => (write_event(&notice), Some(parts)),
        Ok(Some(Part::Answer(answer))) => (write_event(&answer.body), None),
        Ok(Some(Part::NoAnswer(_)) | None) => return None,
        Err(_) => (": keep-alive\n\n".into(), Some(parts)),
    };
    Some((Ok(text.into()), (None, rest)))
}

/// The task of the request is gone without an answer: it failed, which is logged where it happened.
fn lost() -> Response {
    super::respond(Answer::refusal(
        500,
        crate::protocol::code::INTERNAL_ERROR,
        "internal",
        "the gateway failed in the middle of this request",
        Unanswered::Nothing,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_says_so_gets_a_stream() {
        let table = [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), false),
            (Some("application/json, text/event-stream"), true),
            (Some("text/event-stream;q=0.9"), true),
        ];
        for (accept, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(takes_stream(&headers), expected, "{accept:?}");
        }
    }
}
