//! The stages of one call. Each consumes the one before, so no check can be left out or made twice.
//!
//! `Received` (in `http`) -> [`Authenticated`] -> [`Authorized`] -> [`Reserved`] -> [`Forwarded`] -> [`Settled`].
//! A [`Grant`] is made only by `policy`, a [`Hold`](crate::budget::Hold) only by `budget`; [`Reserved`] needs both.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::budget::Permits;
use crate::policy::{
    Agent, Decision, Denial, Grant, Keeping, Permissions, Question, Target, decide,
};
use crate::protocol::{Method, Version};
use crate::types::{CallId, ServerName, Timestamp, TokenHash};
use crate::upstream::{Era, Lane, Outgoing, Reply, UpstreamError};

use super::exchange::Round;
use super::figures::Figures;
use super::flood::Said;
use super::recorder::OpenCall;
use super::shadow::Shadow;

/// How an agent speaks to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentEra {
    /// Bare JSON-RPC, without `initialize`.
    Bare,
    /// Opened with `initialize`, with the version agreed on.
    Session(Version),
    /// 2026-07-28: stateless.
    Modern,
}

impl AgentEra {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Session(_) => "session",
            Self::Modern => "modern",
        }
    }

    /// Whether the agent speaks 2026-07-28.
    pub fn is_modern(self) -> bool {
        self == Self::Modern
    }
}

/// Who sent a request, under which rules, and how. One snapshot of the rules for the whole request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent whose token it was.
    pub agent: Arc<Agent>,
    /// The rules in force when the request came.
    pub permissions: Arc<Permissions>,
    /// Rules to compare with.
    pub(super) shadow: Option<Arc<Shadow>>,
    /// The configuration of the servers that the rules are about.
    pub(super) edition: u64,
    /// What it was recognized by.
    pub(super) token: TokenHash,
    /// How it speaks.
    pub era: AgentEra,
    /// Who the client says it is (unverified).
    pub client: Option<String>,
    /// The agent's session or the label it sent.
    pub session: Option<Arc<str>>,
    /// Size of the request's body, in bytes.
    pub bytes_in: u64,
    /// The address of whoever holds the other end of the connection; a proxy's, when there is one.
    pub peer: Option<IpAddr>,
}

impl Caller {
    /// The session as the log has it: the whole label that a bare client chose, the start of an id of ours.
    pub(super) fn session_label(&self) -> Option<&str> {
        let session = self.session.as_deref()?;
        match self.era {
            AgentEra::Session(_) => session.get(..8),
            AgentEra::Bare | AgentEra::Modern => Some(session),
        }
    }

    /// The connections of this caller to servers.
    pub fn lane(&self) -> Lane {
        Lane {
            agent: self.agent.name.clone(),
            session: self.session.clone(),
            // A server of 2026-07-28 cannot push a question to an agent with a session, nor the other way round.
            prefers: match self.era {
                AgentEra::Bare => None,
                AgentEra::Session(_) => Some(Era::Legacy),
                AgentEra::Modern => Some(Era::Modern),
            },
        }
    }
}

/// What is wanted of which server.
#[derive(Debug)]
pub(super) struct Wish {
    /// The server.
    pub server: ServerName,
    /// What of it, by the server's own name.
    pub subject: Subject,
    /// The request as the server is to get it.
    pub request: Outgoing,
    /// What the request is, so that a state of the server given for it fits no other.
    pub purpose: String,
    /// The key it came with; only calls of tools have one.
    pub key: Option<String>,
    /// The call that this one continues with answers to the server's questions; what that one cost pays for
    /// this one too.
    pub continues: Option<CallId>,
}

impl Wish {
    /// What a tool is called with; `None` when none is called.
    fn arguments(&self) -> Option<&str> {
        let is_call = self.request.method == Method::ToolsCall;
        let given = self.request.params.get("arguments").map(RawValue::get);
        is_call.then(|| given.unwrap_or("{}"))
    }
}

/// What a request is about, as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A tool.
    Tool(String),
    /// A prompt.
    Prompt(String),
    /// A resource or a template, by URI.
    Resource(String),
    /// A list.
    Listing,
}

impl Subject {
    /// As `policy` asks for it.
    pub(super) fn target(&self) -> Target<'_> {
        match self {
            Self::Tool(name) => Target::Tool(name),
            Self::Prompt(name) => Target::Prompt(name),
            Self::Resource(uri) => Target::Resource(uri),
            Self::Listing => Target::Listing,
        }
    }
}

/// A request of a known agent for one server.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// Its id in the log.
    pub call: CallId,
    /// Who wants it.
    pub caller: Arc<Caller>,
    /// What is wanted.
    pub wish: Wish,
}

impl Authenticated {
    /// As `policy` asks for it.
    pub(super) fn question(&self, at: Timestamp) -> Question<'_> {
        Question {
            agent: &self.caller.agent,
            server: &self.wish.server,
            target: self.wish.subject.target(),
            arguments: self.wish.arguments(),
            at,
            peer: self.caller.peer,
        }
    }

    /// Asks the rules.
    ///
    /// # Errors
    /// When they say no.
    pub(super) fn authorize(self, at: Timestamp) -> Result<Authorized, Box<(Self, Denial)>> {
        match decide(&self.caller.permissions, &self.question(at)) {
            Decision::Allowed(grant) => Ok(Authorized {
                request: self,
                grant,
                permits: Permits::default(),
            }),
            Decision::Denied(denial) => Err(Box::new((self, denial))),
        }
    }
}

/// A request that the rules allow, if there is room for it.
#[derive(Debug)]
pub(super) struct Authorized {
    pub(super) request: Authenticated,
    pub(super) grant: Box<Grant>,
    /// Its room among the calls in flight.
    pub(super) permits: Permits,
}

impl Authorized {
    /// Ends the line here, with what came of the same call when it was made.
    pub(super) fn replayed(self, reply: Reply) -> Settled {
        Settled {
            call: self.request.call,
            wish: self.request.wish,
            outcome: Outcome::Answered(reply),
            // It cost nothing.
            figures: None,
        }
    }

    /// Joins the grant with the hold that the writer took.
    pub(super) fn reserve(self, open: OpenCall) -> Reserved {
        Reserved {
            request: self.request,
            keeping: self.grant.keeping().clone(),
            open: open.with_permits(self.permits),
        }
    }
}

/// What a request is that asked to be let through.
#[derive(Debug)]
pub(super) enum Admission {
    /// It may be forwarded.
    Open(Box<Reserved>),
    /// It was made before; this is what it came to.
    Replayed(Box<Settled>),
}

/// A request whose `admitted` event is durable and whose budgets are held. Only this can be forwarded.
#[derive(Debug)]
pub(super) struct Reserved {
    pub(super) request: Authenticated,
    /// What the log keeps of it.
    pub(super) keeping: Keeping,
    pub(super) open: OpenCall,
}

/// What became of a request at its server.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The server answered.
    Answered(Reply),
    /// It did not, or not readably.
    Unanswered(UpstreamError),
    /// It was cancelled before.
    GivenUp(Why),
    /// The agent cancelled it before anything was sent.
    Withdrawn,
}

/// Why a call is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The agent cancelled it, or went away in a revision where that cancels the call.
    Cancelled,
    /// The agent was asked something and did not come back with the answer in time.
    Expired,
    /// The agent was asked something, and then more elsewhere than may wait at once.
    Displaced,
    /// The gateway stopped while the agent was asked something.
    Stopped,
}

/// A request that a server was given, or could not be.
#[derive(Debug)]
pub(super) struct Forwarded {
    pub(super) request: Authenticated,
    pub(super) keeping: Keeping,
    pub(super) open: OpenCall,
    pub(super) outcome: Outcome,
    /// How its agent was asked in the middle of it, by requests of its own.
    pub(super) rounds: Vec<Round>,
    pub(super) said: Said,
    pub(super) latency: Duration,
}

/// A call that is closed: paid for and written down.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) call: CallId,
    pub(super) wish: Wish,
    pub(super) outcome: Outcome,
    /// How the budgets of the call stand right after it; `None` where none counts it.
    pub(super) figures: Option<Arc<Figures>>,
}

/// A closed call that its server answered.
#[derive(Debug)]
pub(super) struct Replied {
    pub(super) call: CallId,
    pub(super) wish: Wish,
    pub(super) reply: Reply,
    /// How the budgets of the call stand right after it; `None` where none counts it.
    pub(super) figures: Option<Arc<Figures>>,
}
