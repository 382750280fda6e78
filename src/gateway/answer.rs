//! One message for an agent.

use serde_json::json;

use crate::policy::RefusalStyle;
use crate::protocol::{Json, RequestId, error_response, raw, result_response};

use super::figures::RateLimit;
use super::places::StreamPlace;

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

/// What it is that an error answers, as far as it could be made out.
#[derive(Debug, Clone, Copy)]
pub enum Unanswered<'a> {
    /// A request with this id.
    Request(&'a RequestId),
    /// Something with an id that was not read: `null` stands in its place (JSON-RPC 2.0, section 5).
    Unread,
    /// The same of an agent of 2026-07-28, which knows no `null` there; or nothing that could have an id.
    Nothing,
}

/// One message for an agent, with its HTTP status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON-RPC message.
    pub body: String,
    /// Its place in the stream of its request, when the server gave it one.
    pub place: Option<StreamPlace>,
    /// What the headers say of the budgets of a call, where the answer is no stream.
    pub rate_limit: Option<RateLimit>,
}

impl Answer {
    /// The answer with a result.
    pub fn result(id: &RequestId, result: &Json) -> Self {
        Self {
            status: 200,
            body: result_response(id, result),
            place: None,
            rate_limit: None,
        }
    }

    /// An error that is decided before there is a request: by the HTTP front door.
    pub fn refusal(
        status: u16,
        code: i32,
        reason: &str,
        message: &str,
        to: Unanswered<'_>,
    ) -> Self {
        let error = json!({"code": code, "message": message, "data": {"reason": reason}});
        let error = raw(error.to_string());
        Self {
            status,
            body: match to {
                Unanswered::Request(id) => error_response(Some(id), &error, false),
                Unanswered::Unread => error_response(None, &error, true),
                Unanswered::Nothing => error_response(None, &error, false),
            },
            place: None,
            rate_limit: None,
        }
    }
}
