//! One session over streamable HTTP, of 2025-11-25 or before.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::mpsc;

use crate::protocol::{Object, RequestId, code, notification};

use super::asking::{Asker, refusal};
use super::channel::{Channel, is_stream, read_session_id};
use super::codec::error_code;
use super::handshake::{Opener, read_initialize};
use super::listener::Listener;
use super::reply::{Ending, read_reply};
use super::session::Called;
use super::standing::Stand;
use super::wire::{Sent, Wire};
use super::{Description, EventId, UpstreamError, limits};

/// An open session.
#[derive(Debug)]
pub(super) struct Streamable {
    pub(super) channel: Arc<Channel>,
    stand: Arc<Stand>,
}

impl Streamable {
    /// Opens a session (MCP 2025-11-25, lifecycle).
    pub(super) async fn open(
        wire: Arc<Wire>,
        opener: &Opener,
    ) -> Result<(Self, Description), UpstreamError> {
        let id = opener.id;
        let response = wire
            .post(opener.initialize(), HeaderMap::new(), &Sent::default())
            .await?;
        let session_id = read_session_id(response.headers())?;
        let (nobody, _) = mpsc::channel(1);
        let mut listener = Listener::new(id, None, None, &nobody);
        let ending =
            read_reply(response, id, &mut listener, &mut |_, _, _, _| Ok(()), None).await?;
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
        let audience = opener.audience.clone();
        let channel = Channel::new(wire, Some(version), session_id, audience);
        channel
            .post(notification("notifications/initialized", None))
            .await?;
        let stand = Stand::new(channel.clone(), opener.hearers()).await;
        let session = Self { channel, stand };
        Ok((session, description))
    }

    /// One call.
    pub(super) async fn call(
        &self,
        id: u64,
        body: Bytes,
        listener: &mut Listener,
        sent: &Sent,
    ) -> Result<Called, UpstreamError> {
        let asker = listener.asker();
        let _on_floor = asker.clone().map(|asker| self.stand.floor.enter(id, asker));
        let mut refused = 0;
        let mut on_request = |id: RequestId, method: &str, params: Object, at: Option<EventId>| {
            if self.pass_up(&asker, &id, method, params, at) {
                return Ok(());
            }
            refused += 1;
            if refused > limits::COUNTER_REQUESTS {
                return Ok(());
            }
            self.refuse(&id, method)
        };
        listener.tell_places();
        let response = self.channel.call(body, sent).await?;
        let status = response.status();
        let mut ending = read_reply(response, id, listener, &mut on_request, None).await;
        let (mut pause, mut wanted) = (limits::RESUME_FIRST, None);
        while let Ok(Ending::Cut { last_event, retry }) = ending {
            wanted = retry.map(wanted_pause).or(wanted);
            tokio::time::sleep(wanted.unwrap_or(pause)).await;
            pause = limits::RESUME_LAST.min(pause * 2);
            let response = self.resume(&last_event).await?;
            ending = read_reply(response, id, listener, &mut on_request, Some(last_event)).await;
        }
        if status == StatusCode::NOT_FOUND && self.channel.has_id() && !is_unknown_method(&ending) {
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
    fn pass_up(
        &self,
        asker: &Option<Asker>,
        id: &RequestId,
        method: &str,
        params: Object,
        at: Option<EventId>,
    ) -> bool {
        let asker = asker.as_ref();
        let question = asker.and_then(|asker| asker.ask_at(method, params, at));
        let is_asked = question.is_some();
        if let Some(question) = question {
            self.channel.carry_back(id.clone(), method, question);
        }
        is_asked
    }

    /// Answers a request of the server: we are alive, and offer nothing. Without a session no answer can reach
    /// the server, and waiting until the deadline would help nobody.
    fn refuse(&self, id: &RequestId, method: &str) -> Result<(), UpstreamError> {
        if !self.channel.has_id() {
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
}

/// How long a server wants to be left alone (MCP 2025-11-25, transports: the client must respect `retry`). One that
/// wants no pause at all gets a short one.
fn wanted_pause(retry: u64) -> Duration {
    limits::RESUME_LEAST.max(Duration::from_millis(retry))
}

/// A status 404 that speaks of our method and not of the session.
fn is_unknown_method(ending: &Result<Ending, UpstreamError>) -> bool {
    matches!(ending, Ok(Ending::Answered { outcome: Err(error), .. }) if error_code(error) == Some(code::METHOD_NOT_FOUND))
}
