//! Every answer that is not a result: its code, its HTTP status, its reason and its words. The only such place.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::audit::Entry;
use crate::budget::Shortage;
use crate::policy::{DenialReason, RefusalStyle};
use crate::protocol::{Json, RequestId, code, error_response, raw, result_response, to_raw};
use crate::types::{CallId, ServerName, Timestamp, Window, Zone};
use crate::upstream::UpstreamError;

use super::entries;

// Our own codes; they lie outside the range that JSON-RPC reserves.
pub(super) const POLICY: i32 = -31_403;
const BUDGET: i32 = -31_429;
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
    /// No such method, or not in this revision.
    #[error("the method `{0}` is not offered here")]
    UnknownMethod(String),
    /// A parameter is missing or wrong.
    #[error("{0}")]
    InvalidParams(String),
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
    /// The rules, a budget or a rate say no.
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
    /// The server answered with an error of its own, which is passed on.
    #[error("the server answered with an error")]
    Relayed {
        /// The HTTP status it came with.
        status: u16,
        /// The whole error object.
        error: Json,
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

/// A refusal by the rules, a budget or a rate.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The call's id in the log.
    pub call: CallId,
    /// What was wanted, as people say it: `images/imagine`.
    pub subject: String,
    /// Why not.
    pub cause: Cause,
}

/// Why a request of a known agent is refused.
#[derive(Debug, Clone)]
pub enum Cause {
    /// The rules say no.
    Policy {
        /// Which rule.
        reason: DenialReason,
        /// The agent.
        agent: String,
        /// Whom to ask.
        owner: Option<String>,
    },
    /// A budget has no room.
    Budget {
        /// Which, and its figures.
        shortage: Box<Shortage>,
        /// The zone of its reset.
        zone: Zone,
        /// When it was refused.
        at: Timestamp,
    },
    /// Too fast.
    Rate {
        /// How long to wait.
        wait: Duration,
        /// The rate, as written.
        rate: String,
    },
}

impl Refusal {
    fn sentence(&self) -> String {
        let Self {
            call,
            subject,
            cause,
        } = self;
        let reason = self.reason().replace('_', " ");
        match cause {
            Cause::Policy {
                reason: denial,
                agent,
                owner,
            } => {
                let why = policy_sentence(*denial, agent, subject);
                let ask = owner.as_deref().map_or_else(
                    || "Ask whoever keeps permissions.yaml.".to_string(),
                    |owner| format!("Ask {owner}."),
                );
                format!(
                    "Refused by policy ({reason}). {why} {ask} Retrying will not help. Call id {call}."
                )
            }
            Cause::Budget { shortage, zone, .. } => {
                let used = shortage.count.used.saturating_add(shortage.count.held);
                format!(
                    "Refused by policy ({reason}). {subject}: {used} of {} calls used {}. Next call possible at \
                     {}. Retrying before then will not help. Call id {call}.",
                    shortage.count.limit,
                    span_words(shortage.charge.limit.window),
                    shortage.span.ends.rfc3339(zone),
                )
            }
            Cause::Rate { wait, rate } => format!(
                "Refused by policy ({reason}). {subject}: no more than {rate}. Wait {:.1} s, then try again. \
                 Call id {call}.",
                wait.as_secs_f64(),
            ),
        }
    }

    /// The word for it in the log and in machine fields.
    pub fn reason(&self) -> &'static str {
        match &self.cause {
            Cause::Policy { reason, .. } => denial_word(*reason),
            Cause::Budget { .. } => "budget",
            Cause::Rate { .. } => "rate",
        }
    }

    fn data(&self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("reason".into(), self.reason().into());
        match &self.cause {
            Cause::Policy { .. } => {
                data.insert("subject".into(), self.subject.clone().into());
            }
            Cause::Budget { shortage, zone, at } => {
                let used = shortage.count.used.saturating_add(shortage.count.held);
                let wait = shortage.span.ends.since(*at);
                data.insert("limit".into(), shortage.count.limit.into());
                data.insert("used".into(), used.into());
                data.insert(
                    "remaining".into(),
                    shortage.count.limit.saturating_sub(used).into(),
                );
                data.insert("resets_at".into(), shortage.span.ends.rfc3339(zone).into());
                data.insert("retry_after_ms".into(), millis(wait).into());
            }
            Cause::Rate { wait, .. } => {
                data.insert("retry_after_ms".into(), millis(*wait).into());
            }
        }
        data.insert("call_id".into(), self.call.to_string().into());
        data
    }
}

/// The `denied` event of a call that a budget had no room for.
pub(super) fn denied_by_budget(entry: Entry, shortage: &Shortage, zone: &Zone) -> Entry {
    let count = shortage.count;
    let message = format!(
        "{} of {} calls used {}, resets at {}",
        count.used.saturating_add(count.held),
        count.limit,
        span_words(shortage.charge.limit.window),
        shortage.span.ends.rfc3339(zone),
    );
    let entry =
        entries::denied(entry, "budget", &message).text("budget", shortage.charge.key.as_str());
    let entry = entry
        .number("limit", count.limit)
        .number("used", count.used)
        .number("held", count.held);
    entry.json("resets_at_us", shortage.span.ends.micros().to_string())
}

impl Failure {
    /// The word for it in the log, where it is written down as a refusal.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson(_) | Self::NotAMessage(_) | Self::InvalidParams(_) => "malformed",
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
            Self::Relayed { .. } => "relayed",
            Self::Cancelled => "cancelled",
            Self::Unrecorded => "audit_unavailable",
            Self::Overloaded => "overloaded",
            Self::Internal => "internal",
        }
    }

    fn code(&self) -> i32 {
        match self {
            Self::NotJson(_) => code::PARSE_ERROR,
            Self::NotAMessage(_) => code::INVALID_REQUEST,
            Self::UnknownMethod(_) => code::METHOD_NOT_FOUND,
            Self::InvalidParams(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. } => code::INVALID_PARAMS,
            Self::HeaderMismatch(_) => code::HEADER_MISMATCH,
            Self::UnsupportedVersion { .. } => code::UNSUPPORTED_VERSION,
            Self::Refused(refusal) => match refusal.cause {
                Cause::Policy { .. } => POLICY,
                Cause::Budget { .. } | Cause::Rate { .. } => BUDGET,
            },
            Self::Upstream {
                error: UpstreamError::TimedOut,
                ..
            } => TIMED_OUT,
            Self::Upstream { .. } | Self::Unrecorded | Self::Overloaded => UNAVAILABLE,
            Self::NeedsInput { .. } | Self::Relayed { .. } | Self::Cancelled | Self::Internal => {
                code::INTERNAL_ERROR
            }
        }
    }

    /// The HTTP status. What is decided about one request of a known agent travels on 200: clients of older
    /// revisions give up their whole session on anything else.
    fn status(&self, modern: bool) -> u16 {
        match self {
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::HeaderMismatch(_)
            | Self::UnsupportedVersion { .. } => 400,
            Self::UnknownMethod(_) if modern => 404,
            Self::InvalidParams(_) if modern => 400,
            Self::Relayed { status, .. } if modern => *status,
            Self::Overloaded => 503,
            Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. }
            | Self::Refused(_)
            | Self::Upstream { .. }
            | Self::NeedsInput { .. }
            | Self::Relayed { .. }
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
            Self::Upstream { server, call, .. } | Self::NeedsInput { server, call } => {
                data.insert("reason".into(), self.reason().into());
                data.insert("server".into(), server.as_str().into());
                data.insert("call_id".into(), call.to_string().into());
            }
            Self::AmbiguousTool { choices, .. } => {
                data.insert("choices".into(), choices.clone().into());
            }
            Self::Unrecorded | Self::Overloaded => {
                data.insert("reason".into(), self.reason().into());
                data.insert("retry_after_ms".into(), 1_000.into());
            }
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::HeaderMismatch(_)
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
            | Self::Unrecorded => true,
            Self::NotJson(_)
            | Self::NotAMessage(_)
            | Self::UnknownMethod(_)
            | Self::InvalidParams(_)
            | Self::UnknownTool(_)
            | Self::UnknownPrompt(_)
            | Self::UnknownResource(_)
            | Self::AmbiguousTool { .. }
            | Self::HeaderMismatch(_)
            | Self::UnsupportedVersion { .. }
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
        }
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
        let result = to_raw(&result);
        let body = to.id.map_or_else(
            || error_response(None, &self.error_object(to.modern), true),
            |id| result_response(id, &result),
        );
        Answer { status: 200, body }
    }
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy)]
pub struct Addressee<'a> {
    /// The id to echo; `None` when it could not be read.
    pub id: Option<&'a RequestId>,
    /// Whether the agent speaks 2026-07-28.
    pub modern: bool,
    /// Whether it called a tool.
    pub is_tool_call: bool,
    /// How the agent wants its refusals.
    pub style: RefusalStyle,
}

/// One message for an agent, with its HTTP status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message.
    pub body: String,
}

impl Answer {
    /// The answer with a result.
    pub fn result(id: &RequestId, result: &Json) -> Self {
        Self {
            status: 200,
            body: result_response(id, result),
        }
    }

    /// An error that is decided before there is a request: by the HTTP front door.
    pub fn refusal(status: u16, code: i32, reason: &str, message: &str) -> Self {
        let error = json!({"code": code, "message": message, "data": {"reason": reason}});
        Self {
            status,
            body: error_response(None, &raw(error.to_string()), true),
        }
    }
}

fn policy_sentence(reason: DenialReason, agent: &str, subject: &str) -> String {
    match reason {
        DenialReason::AgentDisabled => format!("Agent `{agent}` is switched off."),
        DenialReason::ServerDisabled => format!("The server of `{subject}` is switched off."),
        DenialReason::UnknownServer => format!("There is no server for `{subject}`."),
        DenialReason::NotGranted => {
            format!(
                "`{subject}` is not granted to agent `{agent}`; it would take a grant for it in permissions.yaml."
            )
        }
        DenialReason::DeniedRule => format!("`{subject}` is forbidden by a deny rule."),
        DenialReason::Expired => format!("The grant of `{subject}` to agent `{agent}` has ended."),
    }
}

/// The word for a denial in the log and in machine fields.
pub(super) fn denial_word(reason: DenialReason) -> &'static str {
    match reason {
        DenialReason::AgentDisabled | DenialReason::ServerDisabled => "disabled",
        DenialReason::UnknownServer => "unknown_server",
        DenialReason::NotGranted => "not_granted",
        DenialReason::DeniedRule => "denied_rule",
        DenialReason::Expired => "expired",
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

fn span_words(window: Window) -> &'static str {
    match window {
        Window::Hour => "this hour",
        Window::Day => "today",
        Window::Week => "this week",
        Window::Month => "this month",
        Window::Year => "this year",
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
