//! Batches of messages (2025-03-26): each element is a message of its own, and what they yield goes out together.

use std::convert::Infallible;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, SelectAll, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::gateway::{Addressee, AgentEra, Answer, Failure, Part};
use crate::protocol::{Element, Message, Object, Version, write_array, write_event};

use super::classify::{Unclear, is_claimed, named};
use super::delivery::{self, KEEP_ALIVE, stream_of};
use super::mcp::{IDEMPOTENCY_KEY, Visit, failure_of, hints, label};
use super::{Front, json};

const NO_BATCHES: &str = "batches belong to revision 2025-03-26 alone; send one message at a time";

const ONE_KEY: &str = "the Idempotency-Key header is for one call; in a batch, give each its key as \
    `_meta[\"dev.hayward/idempotency_key\"]`";

/// What one element yields, until its answer.
pub(super) struct Yield {
    /// What to answer should the task of the request be gone: it failed, which is logged where it happened.
    lost: Answer,
    pub(super) parts: mpsc::Receiver<Part>,
}

impl Front {
    /// Takes a batch and answers it as a whole.
    pub(super) async fn batch(
        &self,
        visit: Visit,
        elements: Vec<Element>,
    ) -> Result<Response, Response> {
        let streams = delivery::takes_stream(&visit.headers);
        let visit = self.of_batch(visit).await?;
        let yields = self.take_elements(&visit, elements, streams).await?;
        if yields.is_empty() {
            return Ok(StatusCode::ACCEPTED.into_response());
        }
        Ok(deliver(yields, streams).await)
    }

    /// Finds out whose batch it is, and whether that revision has any.
    async fn of_batch(&self, mut visit: Visit) -> Result<Visit, Response> {
        let read = hints(&visit.headers)
            .map_err(Unclear::Failure)
            .and_then(|hints| Ok((named(&hints)?, hints.session.map(str::to_owned))));
        let (version, session) = match read {
            Ok(read) => read,
            Err(unclear) => return Err(self.unclear(&visit, None, "", unclear).await),
        };
        let label = match session.filter(|_| !version.is_some_and(Version::is_modern)) {
            Some(session) => match self.resume(&mut visit, &session) {
                Ok(()) => return Ok(visit),
                Err(door) => return Err(self.turn_away(&visit.caller, door).await),
            },
            None if version.is_some_and(|version| !version.has_batches()) => {
                Err(Failure::NotAMessage(NO_BATCHES.into()))
            }
            None => label(&visit.headers),
        };
        match label {
            Ok(label) => {
                visit.caller.session = label;
                Ok(visit)
            }
            Err(failure) => Err(self.fail(&visit, None, "", failure).await),
        }
    }

    /// Starts on every element; yields what there is to hear of those that want an answer.
    pub(super) async fn take_elements(
        &self,
        visit: &Visit,
        elements: Vec<Element>,
        streams: bool,
    ) -> Result<Vec<Yield>, Response> {
        let has_key = visit.headers.contains_key(IDEMPOTENCY_KEY);
        if let Err(why) = check(visit.caller.era, &elements, has_key) {
            let failure = Failure::NotAMessage(why.into());
            return Err(self.fail(visit, None, "", failure).await);
        }
        let mut yields = Vec::new();
        for element in elements {
            let mut visit = visit.clone();
            visit.caller.bytes_in = u64::try_from(element.bytes).unwrap_or(u64::MAX);
            yields.extend(self.take_element(visit, element, streams).await);
        }
        Ok(yields)
    }

    /// `None` for what wants no answer.
    async fn take_element(&self, visit: Visit, element: Element, streams: bool) -> Option<Yield> {
        let style = visit.caller.agent.refusals;
        let (id, answer) = match element.message {
            Ok(Message::Request { id, method, params }) => {
                let begun = self.begin(visit, id.clone(), method, params, streams).await;
                (Some(id), begun)
            }
            Ok(Message::Notification { method, params }) => {
                self.hear_session(&visit, &method, params);
                return None;
            }
            Ok(Message::Response { id, outcome }) => {
                let session = visit.caller.session.as_deref();
                let is_taken = session
                    .zip(id)
                    .is_some_and(|(session, id)| self.gateway.answer_ask(session, &id, outcome));
                if !is_taken {
                    // Written down; there is nothing in an answer that could say of which response it speaks.
                    self.failed(&visit, None, "", Failure::NothingAsked).await;
                }
                return None;
            }
            Err(error) => {
                let failure = failure_of(error);
                let failed = self.failed(&visit, element.id.as_ref(), "", failure);
                (None, Err(failed.await))
            }
        };
        let parts = answer.unwrap_or_else(|answer| ready(Part::Answer(answer)));
        let lost = Failure::Internal.answer(&Addressee {
            id: id.as_ref(),
            modern: false,
            is_tool_call: false,
            style,
        });
        Some(Yield { lost, parts })
    }
}

/// Why a batch is none, as a whole.
fn check(era: AgentEra, elements: &[Element], has_key: bool) -> Result<(), &'static str> {
    match era {
        AgentEra::Bare => {}
        AgentEra::Session(version) if version.has_batches() => {}
        AgentEra::Session(_) | AgentEra::Modern => return Err(NO_BATCHES),
    }
    let calls = elements.iter().filter_map(|element| call(element));
    for (method, params) in calls {
        if method == "initialize" {
            return Err("`initialize` stands alone, never in a batch");
        }
        if is_claimed(params) {
            return Err(NO_BATCHES);
        }
        if has_key && method == "tools/call" {
            return Err(ONE_KEY);
        }
    }
    Ok(())
}

fn call(element: &Element) -> Option<(&str, &Object)> {
    match &element.message {
        Ok(Message::Request { method, params, .. } | Message::Notification { method, params }) => {
            Some((method, params))
        }
        Ok(Message::Response { .. }) | Err(_) => None,
    }
}

/// A part that is there already.
pub(super) fn ready(part: Part) -> mpsc::Receiver<Part> {
    let (parts, receiver) = mpsc::channel(1);
    // The channel is new and has room.
    drop(parts.try_send(part));
    receiver
}

type Merged = SelectAll<BoxStream<'static, Part>>;

/// One array when nothing is said before the answers, else a stream on which each answer is an event.
async fn deliver(yields: Vec<Yield>, streams: bool) -> Response {
    let mut merged: Merged =
        stream::select_all(yields.into_iter().map(|one| until_answer(one).boxed()));
    let mut answers: Vec<Answer> = Vec::new();
    let patience = if streams {
        KEEP_ALIVE
    } else {
        std::time::Duration::MAX
    };
    loop {
        match timeout(patience, merged.next()).await {
            Ok(Some(Part::Answer(answer))) => answers.push(answer),
            // Who cancelled waits for no answer.
            Ok(Some(Part::NoAnswer(_) | Part::Event(_) | Part::Retry(_) | Part::Closed)) => {}
            Ok(Some(Part::Notice(notice))) if streams => {
                return stream_from(answers, write_event(&notice), merged);
            }
            Ok(Some(Part::Notice(_))) => {}
            Ok(None) if answers.is_empty() => return StatusCode::ACCEPTED.into_response(),
            Ok(None) => {
                let bodies = answers.iter().map(|answer| answer.body.as_str());
                return json(StatusCode::OK, write_array(bodies).get().into());
            }
            Err(_) => return stream_from(answers, ": keep-alive\n\n".into(), merged),
        }
    }
}

fn until_answer(one: Yield) -> impl Stream<Item = Part> + Send {
    stream::unfold(Some(one), async |one| {
        let mut one = one?;
        match one.parts.recv().await {
            // Streams of several requests have no places.
            Some(part @ (Part::Notice(_) | Part::Event(_) | Part::Retry(_) | Part::Closed)) => {
                Some((part, Some(one)))
            }
            Some(part @ (Part::Answer(_) | Part::NoAnswer(_))) => Some((part, None)),
            None => Some((Part::Answer(one.lost), None)),
        }
    })
}

fn stream_from(answers: Vec<Answer>, first: String, merged: Merged) -> Response {
    let so_far = answers.iter().map(|answer| write_event(&answer.body));
    let so_far: String = so_far.chain([first]).collect();
    stream_of(stream::unfold((Some(so_far), merged), next_event))
}

type Streaming = (Option<String>, Merged);

async fn next_event(
    (so_far, mut merged): Streaming,
) -> Option<(Result<Bytes, Infallible>, Streaming)> {
    if let Some(text) = so_far {
        return Some((Ok(text.into()), (None, merged)));
    }
    let text = loop {
        match timeout(KEEP_ALIVE, merged.next()).await {
            Ok(Some(Part::Notice(text))) => break write_event(&text),
            Ok(Some(Part::Answer(answer))) => break write_event(&answer.body),
            Ok(Some(Part::NoAnswer(_) | Part::Event(_) | Part::Retry(_) | Part::Closed)) => {}
            Ok(None) => return None,
            Err(_) => break ": keep-alive\n\n".into(),
        }
    };
    Some((Ok(text.into()), (None, merged)))
}
