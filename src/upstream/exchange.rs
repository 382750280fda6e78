//! What goes to a server and what comes back, in terms every transport and era shares.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::protocol::{Json, LogLevel, Method, Object, Version};
use crate::types::AgentName;

/// Whose connection to use. A connection that remembers anything belongs to one lane alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The agent.
    pub agent: AgentName,
    /// The agent's own session: the id this gateway gave it, or the label a bare client sent.
    pub session: Option<Arc<str>>,
    /// What it would rather speak to a server that speaks both.
    pub prefers: Option<Era>,
}

/// Which life cycle a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Opens with `initialize`: 2025-11-25 and before.
    Legacy,
    /// Stateless: 2026-07-28.
    Modern,
}

/// One request for a server, as the agent meant it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Its parameters with the server's own names in them; `_meta` as the agent sent it. The transport takes
    /// out what belongs to the agent's revision, puts in what the server's asks for, and mints its own
    /// progress token in place of the agent's.
    pub params: Object,
    /// The least severe log line the agent wants; `None` for none at all.
    pub log_level: Option<LogLevel>,
    /// The level that the agent set for its whole session; a legacy server that logs is told it before the request.
    pub session_level: Option<LogLevel>,
    /// Counts what the server says meanwhile that is dropped because it comes too fast.
    pub missed: Arc<AtomicU64>,
    /// `Mcp-Param-*` headers by full name, as a modern server is to get them.
    pub param_headers: Vec<(String, String)>,
    /// What the agent can be asked, as it declared it (`sampling`, `elicitation`, `roots`); empty when it cannot be
    /// asked anything.
    pub capabilities: Object,
    /// The agent's own `clientInfo`, passed on where the agent's session is the server's session; ours otherwise.
    pub client_info: Option<Json>,
}

impl Outgoing {
    /// A request of the gateway's own, for which no agent stands.
    pub fn own(method: Method, params: Object) -> Self {
        Self {
            method,
            params,
            log_level: None,
            session_level: None,
            missed: Arc::default(),
            param_headers: Vec::new(),
            capabilities: Object::default(),
            client_info: None,
        }
    }

    /// Whether it makes a task, or is about one. Of 2026-07-28 only the latter can be seen.
    pub(super) fn concerns_tasks(&self) -> bool {
        let asks_for_one = self.method == Method::ToolsCall && self.params.get("task").is_some();
        asks_for_one || self.method.is_about_tasks()
    }

    /// Whether a server may ask the agent something for it. How a task stands is told without; what a task wants to
    /// know is asked while its result is waited for (2025-11-25, tasks).
    pub(super) fn may_ask(&self) -> bool {
        !self.method.is_about_tasks() || self.method == Method::TasksResult
    }
}

/// Something a server says while a call runs.
#[derive(Debug)]
pub enum Notice {
    /// `notifications/progress` of this call; the parameters carry the agent's own token again.
    Progress(Object),
    /// `notifications/message`: a log line that arrived on this call's stream.
    Log(Object),
    /// The server asks the agent something in the middle of the call. Dropping the reply refuses it (-32601 to the
    /// server).
    Ask(Ask),
    /// The same at a place of the server's stream of events.
    At(EventId, Box<Notice>),
    /// Where the stream of events of this call stands.
    Stream(StreamNews),
}

/// A server's own name for a place in its stream of events, from which the rest can be asked for (MCP 2025-11-25,
/// transports, resumability).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventId(pub String);

/// What a server lets know about the stream of events of one call; only of a stream that has places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamNews {
    /// The stream is at this place, and nothing is said there.
    Here(EventId),
    /// The answer, which comes next, is at this place.
    Answer(EventId),
    /// The wait before the stream is asked for again, in milliseconds.
    Retry(u64),
    /// The server closed the stream before its answer. The rest is asked for; the call goes on.
    Closed,
}

/// A question of a server to the agent whose call it works on.
#[derive(Debug)]
pub struct Ask {
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub method: String,
    /// Its parameters.
    pub params: Object,
    /// Takes the result, or the whole JSON-RPC error object. It is closed when the call ended meanwhile.
    pub reply: oneshot::Sender<Result<Json, Json>>,
    /// Takes the parameters of `notifications/progress` on this question, with the server's own token in them.
    pub progress: mpsc::Sender<Object>,
}

/// What of a server's own news an agent wants to hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interests {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// Resources, by the server's own URI: `notifications/resources/updated`.
    pub uris: BTreeSet<String>,
}

impl Interests {
    /// Whether nothing is wanted at all.
    pub fn is_empty(&self) -> bool {
        self.lists().next().is_none() && self.uris.is_empty()
    }

    /// The lists of which changes are wanted.
    pub fn lists(&self) -> impl Iterator<Item = List> {
        List::ALL.into_iter().filter(|list| self.wants(*list))
    }

    /// Whether changes of this list are wanted.
    pub fn wants(&self, list: List) -> bool {
        match list {
            List::Tools => self.tools,
            List::Prompts => self.prompts,
            List::Resources => self.resources,
        }
    }
}

/// A list of a server that may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Its tools.
    Tools,
    /// Its prompts.
    Prompts,
    /// Its resources.
    Resources,
}

impl List {
    const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];
}

/// Something a server says that belongs to no request.
#[derive(Debug)]
pub enum News {
    /// A list changed, or may have: the connection was lost and is there again.
    Changed(List),
    /// `notifications/resources/updated`, its parameters as the server wrote them, without the tag of our own request.
    /// The `uri` alone when it may have changed: the connection was lost and is there again, or the parameters were
    /// too large to wait for a slow listener.
    Updated(Object),
    /// A legacy server asks the agent something outside of any call. Dropping the reply refuses it.
    Ask(Ask),
}

/// An open ear; dropping it ends it at the server too. When the server can be heard no more, the channel of the news
/// is closed.
#[derive(Debug)]
pub struct Listening {
    /// What the server agreed to; nothing when it has no news for anyone.
    pub granted: Interests,
    /// `None` when there is nothing to end.
    pub(super) _open: Option<DropGuard>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    /// In whose shape the outcome is.
    pub era: Era,
    /// HTTP status of the answer; 200 for a child process.
    pub status: u16,
    /// The result, or the whole JSON-RPC error object.
    pub outcome: Result<Json, Json>,
}

/// What a server says about itself when the connection opens.
#[derive(Debug, Clone)]
pub struct Description {
    /// The life cycle it speaks.
    pub era: Era,
    /// The revision that was agreed on.
    pub version: Version,
    /// Its `capabilities`.
    pub capabilities: Object,
    /// Its `serverInfo` (unverified).
    pub server_info: Option<Json>,
    /// Its `instructions` (text of a third party).
    pub instructions: Option<String>,
}

/// Why there is no answer. What counts is whether the server may have done the work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// Not one byte of the request was handed over: nothing happened there.
    #[error("server cannot be reached: {0}")]
    Unreachable(String),
    /// The server refused our credentials, or the opening handshake, before the request was sent.
    #[error("server refused the connection: {0}")]
    Refused(String),
    /// The server answered this HTTP status without a JSON-RPC message (4xx only).
    #[error("server answered HTTP {0}")]
    Rejected(u16),
    /// The deadline passed after the request was handed over.
    #[error("server did not answer in time")]
    TimedOut,
    /// The connection broke, the answer was cut off, unreadable, of another request, or HTTP 5xx.
    #[error("server broke off: {0}")]
    Broken(String),
    /// The answer is larger than the limit.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl UpstreamError {
    /// Whether it is certain that the server never saw the request.
    pub fn nothing_sent(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Refused(_) => true,
            Self::Rejected(_) | Self::TimedOut | Self::Broken(_) | Self::TooLarge(_) => false,
        }
    }
}
