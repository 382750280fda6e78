//! Answers given before there is a request: wrong host, no token, no such place. The words for them.

use std::fmt;

use crate::protocol::code;
use crate::types::{AgentName, ServerName};

use super::answer::{Answer, Unanswered};

/// What is wrong with an `Authorization` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenProblem {
    /// There is none.
    Missing,
    /// There are several.
    Several,
    /// It is not `Bearer …`.
    NotBearer,
    /// Nothing stands after `Bearer`.
    Empty,
    /// A placeholder such as `${HAYWARD_TOKEN}` came instead of what it stands for.
    Placeholder,
    /// Nobody has this token, or it has ended.
    Unknown,
}

impl fmt::Display for TokenProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no token: send `Authorization: Bearer <token>`",
            Self::Several => "several Authorization headers: send exactly one",
            Self::NotBearer => "the Authorization header is not of the form `Bearer <token>`",
            Self::Empty => "Authorization was `Bearer ` with nothing after it: the client's token setting is empty",
            Self::Placeholder => {
                "a placeholder such as `${HAYWARD_TOKEN}` arrived unexpanded: the client did not fill in its variable"
            }
            Self::Unknown => "this token is not known here, or has ended: ask whoever keeps permissions.yaml",
        })
    }
}

/// Why a request gets no further than the door.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Door {
    /// The `Host` header names a host this gateway does not go by (DNS rebinding).
    #[error("host `{0}` is not one of this gateway's; start it with `--allowed-host {0}` if it is")]
    ForeignHost(String),
    /// A page of another origin sent the request.
    #[error(
        "origin `{0}` may not use this gateway; start it with `--allowed-origin {0}` if it may"
    )]
    ForeignOrigin(String),
    /// The token is missing or wrong.
    #[error("{0}")]
    Token(TokenProblem),
    /// The agent may not be used from the address that the request came from.
    #[error(
        "agent `{agent}` may not be used from {address}; it would take another `from` in permissions.yaml"
    )]
    Address {
        /// Which agent.
        agent: AgentName,
        /// Where the request came from, as far as that is known.
        address: String,
    },
    /// No server has this name.
    #[error("there is no server `{0}` here")]
    UnknownServer(String),
    /// The agent has no grant on the server.
    #[error(
        "server `{server}` is not granted to agent `{agent}`; it would take a grant in permissions.yaml"
    )]
    ServerNotGranted {
        /// Which server.
        server: ServerName,
        /// Which agent.
        agent: AgentName,
    },
    /// No session has this id, or it is another agent's.
    #[error("this session is not known or has ended; send `initialize` again")]
    UnknownSession,
    /// The request needs a session.
    #[error("the `Mcp-Session-Id` header is missing")]
    MissingSession,
    /// No stream of the session can be taken up where the request says.
    #[error(
        "no stream goes on after this `Last-Event-ID`: it was not given in this session, or is too old"
    )]
    UnknownPlace,
    /// Only these methods of HTTP work here.
    #[error("only {0} works here")]
    MethodNotAllowed(&'static str),
    /// The answer is a stream, and the client does not take one.
    #[error("the answer is a stream: the Accept header must name text/event-stream")]
    NeedsStream,
    /// The body is not JSON by its own word.
    #[error("the Content-Type must be application/json")]
    NotJsonType,
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body came too slowly.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The revision named in a header is unknown.
    #[error("protocol version `{0}` is not known here")]
    UnknownVersion(String),
    /// Nothing is here.
    #[error("nothing is here; agents use /mcp, people /audit")]
    NotFound,
}

impl Door {
    /// The word for it in the log and in machine fields.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ForeignHost(_) => "foreign_host",
            Self::ForeignOrigin(_) => "foreign_origin",
            Self::Token(_) => "not_authenticated",
            Self::Address { .. } => "address",
            Self::UnknownServer(_) => "unknown_server",
            Self::ServerNotGranted { .. } => "not_granted",
            Self::UnknownSession | Self::MissingSession => "unknown_session",
            Self::UnknownPlace => "unknown_place",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::NeedsStream => "not_acceptable",
            Self::NotJsonType => "malformed",
            Self::TooLarge(_) => "request_too_large",
            Self::TooSlow => "request_too_slow",
            Self::UnknownVersion(_) => "unsupported_version",
            Self::NotFound => "not_found",
        }
    }

    /// The answer, with an error body: clients without one report something else than what happened.
    pub fn answer(&self, to: Unanswered<'_>) -> Answer {
        let (status, code) = match self {
            Self::ForeignHost(_) | Self::ForeignOrigin(_) => (403, code::INVALID_REQUEST),
            Self::Token(_) => (401, code::INVALID_REQUEST),
            Self::Address { .. } | Self::ServerNotGranted { .. } => (403, super::failure::POLICY),
            Self::UnknownServer(_) | Self::UnknownSession | Self::NotFound => {
                (404, code::INVALID_REQUEST)
            }
            Self::MissingSession | Self::UnknownPlace | Self::UnknownVersion(_) => {
                (400, code::INVALID_REQUEST)
            }
            Self::MethodNotAllowed(_) => (405, code::INVALID_REQUEST),
            Self::NeedsStream => (406, code::INVALID_REQUEST),
            Self::NotJsonType => (415, code::INVALID_REQUEST),
            Self::TooLarge(_) => (413, code::INVALID_REQUEST),
            Self::TooSlow => (408, code::INVALID_REQUEST),
        };
        Answer::refusal(status, code, self.reason(), &self.to_string(), to)
    }
}
