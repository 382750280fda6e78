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

use crate::gateway::{Answer, Event, Part, Unanswered};
use crate::protocol::write_event;

use super::resume::{Owner, Reader};

/// After so long without a word, a stream is opened and kept alive with comments, so that timers of clients
/// and proxies in between do not run out.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What keeps a stream alive.
pub(super) const KEEP_ALIVE_COMMENT: &str = ": keep-alive\n\n";

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
/// Sends what a request yields; with an owner, on a stream that can be taken up again where the server has places
/// for that.
pub(super) async fn deliver(
    parts: mpsc::Receiver<Part>,
    streams: bool,
    owner: Option<Owner>,
) -> Response {
    if !streams {
        return only_the_answer(parts).await;
    }
    let mut flow = Flow::new(parts, owner);
    match flow.step().await {
        Step::Say(text) => stream_of(stream::unfold((Some(text), flow), next_event)),
        Step::Answer(answer) => super::respond(answer),
        // A client that cancelled would take even an error for a message about nothing it knows.
        Step::End => stream_of(stream::empty()),
        Step::Lost => lost(),
    }
}

async fn only_the_answer(mut parts: mpsc::Receiver<Part>) -> Response {
    loop {
        match parts.recv().await {
            Some(Part::Answer(answer) | Part::NoAnswer(answer)) => return super::respond(answer),
            Some(Part::Notice(_) | Part::Event(_) | Part::Retry(_) | Part::Closed) => {}
            None => return lost(),
        }
    }
}

/// Sends what a stream still has to say to an agent that comes back to it.
pub(super) fn resumed(reader: Reader) -> Response {
    stream_of(stream::unfold((None, Flow::Kept(reader)), next_event))
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

async fn next_event(
    (first, mut flow): (Option<String>, Flow),
) -> Option<(Result<Bytes, Infallible>, (Option<String>, Flow))> {
    let text = match first {
        Some(first) => first,
        None => match flow.step().await {
            Step::Say(text) => text,
            Step::Answer(answer) => write_event(&answer.body),
            Step::End | Step::Lost => return None,
        },
    };
    Some((Ok(text.into()), (None, flow)))
}

/// Where what is sent comes from.
enum Flow {
    /// The request itself: when the agent leaves, nobody hears what is said.
    Plain(Plain),
    /// A stream that is kept for an agent that leaves and comes back.
    Kept(Reader),
    /// Nothing more comes.
    Over,
}

struct Plain {
    parts: mpsc::Receiver<Part>,
    owner: Option<Owner>,
    retry: Option<u64>,
}

/// What comes next.
enum Step {
    /// This goes onto the stream.
    Say(String),
    /// The answer, and nothing after it.
    Answer(Answer),
    /// Nothing more.
    End,
    /// Nothing more, and there was no answer.
    Lost,
}

impl Flow {
    fn new(parts: mpsc::Receiver<Part>, owner: Option<Owner>) -> Self {
        Self::Plain(Plain {
            parts,
            owner,
            retry: None,
        })
    }

    async fn step(&mut self) -> Step {
        loop {
            let part = match self {
                Self::Plain(plain) => timeout(KEEP_ALIVE, plain.parts.recv()).await,
                Self::Kept(reader) => return reader.next().await.map_or(Step::End, Step::Say),
                Self::Over => return Step::End,
            };
            match part {
                Ok(Some(Part::Notice(text))) => return Step::Say(write_event(&text)),
                Ok(Some(Part::Answer(answer))) => {
                    *self = Self::Over;
                    return Step::Answer(answer);
                }
                Ok(Some(Part::NoAnswer(_))) => {
                    *self = Self::Over;
                    return Step::End;
                }
                Ok(Some(Part::Event(event))) => {
                    if let Some(text) = self.keep(event) {
                        return Step::Say(write_event(&text));
                    }
                }
                Ok(Some(Part::Retry(retry))) => self.set_retry(retry),
                // An agent without a place could not come back.
                Ok(Some(Part::Closed)) => {}
                Ok(None) => return Step::Lost,
                Err(_) => return Step::Say(KEEP_ALIVE_COMMENT.into()),
            }
        }
    }

    fn set_retry(&mut self, retry: u64) {
        if let Self::Plain(plain) = self {
            plain.retry = Some(retry);
        }
    }

    /// From the first event with a place on, everything is kept. Where there is no room for that, the stream is one
    /// without places; what is to be said on it is returned.
    fn keep(&mut self, event: Event) -> Option<String> {
        if event.place.is_none() {
            return event.text;
        }
        let Self::Plain(Plain {
            parts,
            owner,
            retry,
        }) = std::mem::replace(self, Self::Over)
        else {
            return None;
        };
        let kept = match owner {
            Some(owner) => owner.keep(event, retry, parts),
            None => Err((event, parts)),
        };
        match kept {
            Ok(reader) => {
                *self = Self::Kept(reader);
                None
            }
            Err((event, parts)) => {
                *self = Self::new(parts, None);
                event.text
            }
        }
    }
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
