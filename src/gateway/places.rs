//! Places in the stream of an agent's request, from which the agent can take it up again (MCP 2025-11-25).
//!
//! They are those of the server's own stream: its event ids, sealed to the agent, its session, the endpoint and the
//! request. A server without event ids has no places, and neither has what is put together from several servers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::protocol::Method;
use crate::types::{CallId, Timestamp};
use crate::upstream::EventId;

use super::seal::{Binding, Sealer};
use super::stages::Caller;
use super::{AgentRequest, Gateway, Scope};

/// How long a place may be brought back at most: longer than any call takes. Streams are let go long before.
const PLACE_TIME: Duration = Duration::from_secs(25 * 3_600);

/// The stream of one request of an agent. Two are never named the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(pub CallId);

/// A place in the stream of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlace {
    /// Places of one stream are numbered as they come.
    pub number: u64,
    /// What the agent is given for it: visible ASCII.
    pub id: String,
}

/// Where an agent wants to take up a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// Which stream.
    pub stream: StreamId,
    /// The number of the last place it saw.
    pub number: u64,
}

/// The places of one request.
#[derive(Debug)]
pub(super) struct Places {
    sealer: Arc<Sealer>,
    agent: String,
    endpoint: String,
    purpose: String,
    /// What the agent asked. What the gateway asks of servers beside it is not on the agent's stream.
    method: Method,
    stream: StreamId,
    expires: Timestamp,
    last: AtomicU64,
    answer: Mutex<Option<StreamPlace>>,
}

impl Places {
    /// The places of a request; `None` when its stream cannot be taken up again. This is where that is decided: the
    /// agent must be able to, and it must be one server that answers.
    pub(super) fn of(
        sealer: &Arc<Sealer>,
        caller: &Caller,
        request: &AgentRequest,
        now: Timestamp,
    ) -> Option<Arc<Self>> {
        let stream = request.stream?;
        let method = Method::named(&request.method)?;
        let is_joined = request.scope == Scope::All && method.list_key().is_some();
        if is_joined {
            return None;
        }
        Some(Arc::new(Self {
            sealer: Arc::clone(sealer),
            agent: caller.agent.name.as_str().to_owned(),
            endpoint: endpoint(&request.scope).to_owned(),
            purpose: purpose(caller.session.as_deref()?),
            method,
            stream,
            expires: now.after(PLACE_TIME),
            last: AtomicU64::new(0),
            answer: Mutex::default(),
        }))
    }

    /// Whether what a server says about a request with this method is said on the agent's stream.
    pub(super) fn are_of(&self, method: Method) -> bool {
        self.method == method
    }

    /// The next place, with the server's own id for it.
    pub(super) fn next(&self, id: &EventId) -> StreamPlace {
        let number = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let binding = Binding {
            agent: &self.agent,
            server: &self.endpoint,
            purpose: &self.purpose,
        };
        let value = format!("{number} {}", id.0);
        let StreamId(stream) = self.stream;
        let id = self.sealer.seal(&binding, stream, self.expires, &value);
        StreamPlace { number, id }
    }

    /// Keeps the place of the answer until it is sent.
    pub(super) fn keep_answer(&self, id: &EventId) {
        let place = self.next(id);
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// The place of the answer, once.
    pub(super) fn answer(&self) -> Option<StreamPlace> {
        let mut answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        answer.take()
    }
}

impl Gateway {
    /// A name for the stream of a request.
    pub fn name_stream(&self) -> StreamId {
        StreamId(self.new_call())
    }

    /// Where the agent wants to take up which stream; `None` when it was never given this id, or not in this session
    /// or at this endpoint.
    pub fn find_place(&self, caller: &Caller, scope: &Scope, id: &str) -> Option<Return> {
        let binding = Binding {
            agent: caller.agent.name.as_str(),
            server: endpoint(scope),
            purpose: &purpose(caller.session.as_deref()?),
        };
        let unsealed = self.places.unseal(&binding, id, self.clock.now())?;
        let (number, _) = unsealed.value.split_once(' ')?;
        Some(Return {
            stream: StreamId(unsealed.call),
            number: number.parse().ok()?,
        })
    }
}

/// On its own endpoint the server; a stream of the common one is of one server as well, which its name tells.
fn endpoint(scope: &Scope) -> &str {
    match scope {
        Scope::All => "",
        Scope::One(server) => server.as_str(),
    }
}

fn purpose(session: &str) -> String {
    format!("event\n{session}")
}
