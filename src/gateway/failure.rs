//! Every answer that is not a result: its code, its HTTP status, its reason and its words. The only such place.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::policy::RefusalStyle;
use crate::protocol::{Json, code, error_response, result_response, to_raw};
use crate::types::{CallId, ServerName};
use crate::upstream::UpstreamError;

use super::answer::{Addressee, Answer};
use super::figures::{Figures, RateLimit};
use super::refusal::{Cause, Refusal};

// Our own codes; they lie outside the range that JSON-RPC reserves.
pub(super) const POLICY: i32 = -31_403;
const BUDGET: i32 = -31_429;
/// A budget that does not reset is used up.
const SPENT: i32 = -31_402;
/// The call was made before.
const REPEATED: i32 = -31_409;
const UNAVAILABLE: i32 = -31_503;
const TIMED_OUT: i32 = -31_504;

/// The key under which a refusal of `tools/call` carries its figures.
pub const REFUSAL: &str = "dev.hayward/refusal";

/// A request that gets no result. Its text is for the agent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The body is no JSON.
    #[error("{0}")]
    NotJson(String),
    /// The body is no single message.
    #[error("{0}")]
    NotAMessage(String),
    /// An answer to a question that nobody put, or that is closed.
    #[error("nothing was asked that this could answer")]
    NothingAsked,
    /// The session has a request of this id in hand.
    #[error("a request of this id is still in hand in this session")]
    IdInUse,
    /// No such method, or not in this revision.
    #[error("the method `{0}` is not offered here")]
    UnknownMethod(String),
    /// A parameter is missing or wrong.
    #[error("{0}")]
    InvalidParams(String),
    /// A cursor was not given to this agent for this list, was changed, or is too old.
    #[error(
        "`cursor` is not one that was given for this list, or is too old; begin the list again"
    )]
    UnknownCursor,
    /// No tool has this name.
    #[error("Unknown tool: {0}")]
    UnknownTool(String),
    /// No prompt has this name.
    #[error("Unknown prompt: {0}")]
    UnknownPrompt(String),
    /// No resource has this URI.
    #[error("Resource not found: {0}")]
    UnknownResource(String),
    /// Several servers have a tool of this name.
    #[error("`{name}` is a tool of several servers; say which: {}", .choices.join(", "))]
    AmbiguousTool {
        /// The bare name.
        name: String,
        /// The full names it could mean.
        choices: Vec<String>,
    },
    /// A header and the body differ, or a required header is missing (2026-07-28).
    #[error("{0}")]
    HeaderMismatch(String),
    /// The revision is not served.
    #[error("protocol version `{requested}` is not served here; use {}", .supported.join(", "))]
    UnsupportedVersion {
        /// What the client asked for.
        requested: String,
        /// What there is.
        supported: Vec<&'static str>,
    },
    /// The rules, a budget or a rate say no, or the call was made before.
    #[error("{}", .0.sentence())]
    Refused(Box<Refusal>),
    /// The server did not answer.
    #[error("{}", upstream_sentence(.server, .error, *.call))]
    Upstream {
        /// Which server.
        server: ServerName,
        /// Why.
        error: UpstreamError,
        /// The call.
        call: CallId,
        /// How its budgets stand: whatever became of it, it may have cost.
        figures: Option<Arc<Figures>>,
    },
    /// The server asks the client for something this version cannot carry between them.
    #[error(
        "server `{server}` asks for input that this gateway cannot carry to the client (call id {call})"
    )]
    NeedsInput {
        /// Which server.
        server: ServerName,
        /// The call.
        call: CallId,
    },
    /// The server needs an answer of its client, which a client of an earlier revision has no way to give.
    #[error(
        "server `{server}` needs an answer of its client that this client cannot give (call id {call})"
    )]
    CannotAnswer {
        /// Which server.
        server: ServerName,
        /// The call.
        call: CallId,
    },
    /// The user did not want to visit a page that the server asks for.
    #[error("server `{0}` does nothing before its user has visited a page, and that was declined")]
    Declined(ServerName),
    /// The server needs something of the client that it did not declare (2026-07-28).
    #[error("the server needs something of the client that it did not declare: {}", .0.get())]
    MissingCapability(Json),
    /// The server answered with an error of its own, which is passed on.
    #[error("the server answered with an error")]
    Relayed {
        /// The HTTP status it came with.
        status: u16,
        /// The whole error object.
        error: Json,
        /// How the budgets of the call stand.
        figures: Option<Arc<Figures>>,
    },
    /// The answer is a stream, and the client does not take one.
    #[error("the answer is a stream: the Accept header must name text/event-stream")]
    NeedsStream,
    /// The agent has as many of these as it may have.
    #[error("there are {limit} {what} already; end one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The call was cancelled by its agent.
    #[error("the call was cancelled")]
    Cancelled,
    /// The log cannot be written, so nothing was let through.
    #[error(
        "Refused: the gateway cannot write its log now, and lets no call through unrecorded. Try again in a \
         few seconds."
    )]
    Unrecorded,
    /// Too many requests at once.
    #[error("the gateway has as many requests in hand as it can serve; try again in a second")]
    Overloaded,
    /// Something failed inside.
    #[error("the gateway failed in the middle of this request")]
    Internal,
}

impl Failure {
    /// The word for it in the log, where it is written down as a refusal.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::NothingAsked
            | Self::IdInUse
            | Self::InvalidParams(_)
            | Self::UnknownCursor => "malformed",
            Self::UnknownMethod(_) => "unknown_method",
            Self::UnknownTool(_) | Self::UnknownPrompt(_) | Self::UnknownResource(_) => {
                "unknown_target"
            }
            Self::AmbiguousTool { .. } => "ambiguous_tool",
            Self::HeaderMismatch(_) => "header_mismatch",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::Refused(refusal) => refusal.reason(),
            Self::Upstream { .. } => "upstream_unavailable",
            Self::NeedsInput { .. } => "needs_input",
            Self::CannotAnswer { .. } => "client_cannot_answer",
            Self::Declined(_) => "declined",
            Self::MissingCapability(_) => "missing_capability",
            Self::Relayed { .. } => "relayed",
            Self::NeedsStream => "not_acceptable",
            Self::TooMany { .. } => "too_many",
            Self::Cancelled => "cancelled",
            Self::Unrecorded => "audit_unavailable",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }

    /// Whether a server says that it knows no such method.
    pub(super) fn is_unknown_method(&self) -> bool {
        let Self::Relayed { error, .. } = self else {
            return false;
        };
        crate::protocol::error_code(error) == Some(code::METHOD_NOT_FOUND)
    }

    fn code(&self) -> i32 {
        match self {
            Self::NotJson(_) => code::PARSE_ERROR,
            Self::NotAMessage(_) | Self::NothingAsked | Self::IdInUse | Self::NeedsStream => {
                code::INVALID_REQUEST
            }
            Self::UnknownMethod(_) => code::METHOD_NOT_FOUND,
            Self::InvalidParams(_)
            | Self::UnknownCursor
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. } => code::INVALID_PARAMS,
            Self::HeaderMismatch(_) => code::HEADER_MISMATCH,
            Self::UnsupportedVersion { .. } => code::UNSUPPORTED_VERSION,
            Self::Refused(refusal) => match &refusal.cause {
                Cause::Policy { .. } | Cause::Definition { .. } => POLICY,
                Cause::Budget { shortage, .. } if shortage.span.never_ends() => SPENT,
                Cause::Budget { .. } | Cause::Rate { .. } | Cause::Concurrency { .. } => BUDGET,
                Cause::Repeat { .. } => REPEATED,
            },
            Self::Upstream {
                error: UpstreamError::TimedOut,
                ..
            } => TIMED_OUT,
            Self::Upstream { .. } | Self::TooMany { .. } | Self::Unrecorded | Self::Overloaded => {
                UNAVAILABLE
            }
            Self::MissingCapability(_) => code::MISSING_CAPABILITY,
            Self::NeedsInput { .. }
            | Self::CannotAnswer { .. }
            | Self::Declined(_)
            | Self::Relayed { .. }
            | Self::Cancelled
            | Self::Internal => code::INTERNAL_ERROR,
        }
    }

    /// The HTTP status. What is decided about one request of a known agent travels on 200: clients of older
    /// revisions give up their whole session on anything else.
    fn status(&self, modern: bool) -> u16 {
        match self {
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::NothingAsked
            // Not on 200: it would be taken for the answer to the request that is in hand.
            | Self::IdInUse
            | Self::HeaderMismatch(_)
            | Self::UnsupportedVersion { .. }
            | Self::MissingCapability(_) => 400,
            Self::UnknownMethod(_) if modern => 404,
            Self::InvalidParams(_) if modern => 400,
            Self::Relayed { status, error, .. } if modern => relayed_status(*status, error),
            Self::NeedsStream => 406,
            Self::Overloaded => 503,
            Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownCursor
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. }
            | Self::Refused(_)
            | Self::Upstream { .. }
            | Self::NeedsInput { .. }
            | Self::CannotAnswer { .. }
            | Self::Declined(_)
            | Self::Relayed { .. }
            | Self::TooMany { .. }
            | Self::Cancelled
            | Self::Unrecorded
            | Self::Internal => 200,
        }
    }

    fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        match self {
            Self::Refused(refusal) => return refusal.data(),
            Self::UnknownResource(uri) => {
                data.insert("uri".into(), uri.clone().into());
            }
            Self::UnsupportedVersion {
                requested,
                supported,
            } => {
                data.insert("requested".into(), requested.clone().into());
                data.insert("supported".into(), supported.clone().into());
            }
            Self::Upstream { server, call, .. }
            | Self::NeedsInput { server, call }
            | Self::CannotAnswer { server, call } => {
                data.insert("reason".into(), self.reason().into());
                data.insert("server".into(), server.as_str().into());
                data.insert("call_id".into(), call.to_string().into());
            }
            Self::Declined(server) => {
                data.insert("reason".into(), self.reason().into());
                data.insert("server".into(), server.as_str().into());
            }
            Self::MissingCapability(required) => {
                let required: Value = serde_json::from_str(required.get()).unwrap_or_default();
                data.insert("requiredCapabilities".into(), required);
            }
            Self::AmbiguousTool { choices, .. } => {
                data.insert("choices".into(), choices.clone().into());
            }
            Self::Unrecorded | Self::Overloaded => {
                data.insert("reason".into(), self.reason().into());
                data.insert("retry_after_ms".into(), 1_000.into());
            }
            Self::TooMany { limit, .. } => {
                data.insert("reason".into(), self.reason().into());
                data.insert("limit".into(), (*limit).into());
            }
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::NothingAsked
            | Self::IdInUse
            | Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownCursor
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::HeaderMismatch(_)
            | Self::NeedsStream
            | Self::Relayed { .. }
            | Self::Cancelled
            | Self::Internal => {}
        }
        data
    }

    /// Whether a model can act on it, so that `tools/call` answers with a result that says `isError`.
    fn is_for_models(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Upstream { .. }
            | Self::NeedsInput { .. }
            | Self::CannotAnswer { .. }
            | Self::Declined(_)
            | Self::Unrecorded => true,
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::NothingAsked
            | Self::IdInUse
            | Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownCursor
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. }
            | Self::HeaderMismatch(_)
            | Self::UnsupportedVersion { .. }
            | Self::NeedsStream
            | Self::TooMany { .. }
            | Self::MissingCapability(_)
            | Self::Relayed { .. }
            | Self::Cancelled
            | Self::Overloaded
            | Self::Internal => false,
        }
    }

    /// The answer to a request.
    pub fn answer(&self, to: &Addressee<'_>) -> Answer {
        if to.is_tool_call && self.is_for_models() && to.style == RefusalStyle::ToolError {
            return self.tool_error(to);
        }
        Answer {
            status: self.status(to.modern),
            body: error_response(to.id, &self.error_object(to.modern), !to.modern),
            place: None,
            rate_limit: self.rate_limit(),
        }
    }

    /// How the budgets of a call stand that its server did not answer, or answered with an error.
    fn figures(&self) -> Option<&Figures> {
        if let Self::Upstream { figures, .. } | Self::Relayed { figures, .. } = self {
            return figures.as_deref();
        }
        None
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        if let Self::Refused(refusal) = self {
            return refusal.rate_limit();
        }
        self.figures().map(|figures| figures.rate_limit().clone())
    }

    fn error_object(&self, modern: bool) -> Json {
        if let Self::Relayed { error, .. } = self {
            return error.clone();
        }
        let is_old_not_found = !modern && matches!(self, Self::UnknownResource(_));
        let code = if is_old_not_found {
            code::RESOURCE_NOT_FOUND
        } else {
            self.code()
        };
        let mut error = json!({"code": code, "message": self.to_string()});
        let data = self.data();
        if let (false, Some(error)) = (data.is_empty(), error.as_object_mut()) {
            error.insert("data".into(), data.into());
        }
        to_raw(&error)
    }

    fn tool_error(&self, to: &Addressee<'_>) -> Answer {
        let mut result = json!({
            "content": [{"type": "text", "text": self.to_string()}],
            "isError": true,
            "_meta": {REFUSAL: self.data()},
        });
        if let (true, Some(result)) = (to.modern, result.as_object_mut()) {
            result.insert("resultType".into(), "complete".into());
        }
        let mut result = to_raw(&result);
        if let Some(figures) = self.figures() {
            result = figures.put_in(result);
        }
        let body = to.id.map_or_else(
            || error_response(None, &self.error_object(to.modern), true),
            |id| result_response(id, &result),
        );
        Answer {
            status: 200,
            body,
            place: None,
            rate_limit: self.rate_limit(),
        }
    }
}

/// The status under which a server's own error goes to an agent of 2026-07-28: what the code asks for, and else
/// what the server sent. A status that speaks of credentials is about ours, and would be taken for the agent's.
fn relayed_status(status: u16, error: &Json) -> u16 {
    let number = crate::protocol::error_code(error);
    match number {
        Some(code::METHOD_NOT_FOUND) => 404,
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => 400,
        Some(_) | None if matches!(status, 401 | 403 | 407) => 200,
        Some(_) | None => status,
    }
}

fn upstream_sentence(server: &ServerName, error: &UpstreamError, call: CallId) -> String {
    let consequence = if error.nothing_sent() {
        "Nothing was sent and nothing was charged; it may work in a minute."
    } else {
        "It may have done the work all the same, so the call counts."
    };
    let what = match error {
        UpstreamError::Unreachable(_) => "cannot be reached".to_string(),
        UpstreamError::Refused(_) => "refuses the gateway's connection".to_string(),
        UpstreamError::Rejected(status) => format!("answered HTTP {status}"),
        UpstreamError::TimedOut => "did not answer in time".to_string(),
        UpstreamError::Broken(_) => "broke off or answered unreadably".to_string(),
        UpstreamError::TooLarge(limit) => format!("answered with more than {limit} bytes"),
    };
    format!("Server `{server}` {what}. {consequence} Call id {call}.")
}
