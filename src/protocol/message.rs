//! The JSON-RPC envelope: a request, a notification, or a response.

use serde_json::value::RawValue;

use super::{Json, Object, json_string, raw};

const ENVELOPE_KEYS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// The id of a request as the bytes that came: a string or an integer (MCP, base protocol).
#[derive(Debug, Clone)]
pub struct RequestId(Json);

impl RequestId {
    /// The bytes, to be echoed.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// An integer id of our own.
    pub fn number(number: u64) -> Self {
        Self(raw(number.to_string()))
    }

    /// Reads an id that stands as a parameter; `None` when it is none.
    pub fn read(json: &RawValue) -> Option<Self> {
        read_id(json.to_owned()).ok()
    }

    /// The same for all spellings of one id, and for no other: a string keeps its quotes, so that `1` and `"1"`
    /// differ.
    pub fn key(&self) -> String {
        match serde_json::from_str::<String>(self.as_json()) {
            Ok(text) => json_string(&text),
            Err(_) => self.as_json().to_owned(),
        }
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

/// Why a body is not a message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON at all, or not UTF-8.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not one message.
    #[error("{0}")]
    NotAMessage(String),
}

/// One message.
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request {
        /// Echoed in the answer.
        id: RequestId,
        /// What is wanted.
        method: String,
        /// Its parameters; empty when there were none.
        params: Object,
    },
    /// Wants none.
    Notification {
        /// What happened.
        method: String,
        /// Its parameters; empty when there were none.
        params: Object,
    },
    /// An answer to a request; `error` is the whole error object.
    Response {
        /// The id of the request; `None` when the peer could not read it.
        id: Option<RequestId>,
        /// What came of it.
        outcome: Result<Json, Json>,
    },
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// When the bytes are no JSON, no single message, or hold a key twice or in another case, in the envelope
    /// or in `params`: what this gateway checks and what a server reads must be the same.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let text =
            std::str::from_utf8(body).map_err(|error| MessageError::NotJson(error.to_string()))?;
        let mut envelope = Object::parse(text).map_err(|error| {
            // What is no JSON at all has another code than JSON that is no message.
            match serde_json::from_str::<&RawValue>(text) {
                Ok(_) => not_a_message(error.to_string()),
                Err(error) => MessageError::NotJson(error.to_string()),
            }
        })?;
        if let Some(key) = envelope.look_alike(ENVELOPE_KEYS) {
            return Err(not_a_message(format!(
                "the key {key:?} differs from a known one only in case"
            )));
        }
        if envelope.get_str("jsonrpc").as_deref() != Some("2.0") {
            return Err(not_a_message("`jsonrpc` must be \"2.0\"".into()));
        }
        let id = envelope.remove("id");
        if envelope.get("method").is_some() {
            return read_call(&mut envelope, id);
        }
        read_response(&mut envelope, id)
    }
}

/// The id of a request that is no message, as far as it can be made out: whoever sent it waits for the answer.
pub fn readable_id(body: &[u8]) -> Option<RequestId> {
    let mut envelope = Object::parse(std::str::from_utf8(body).ok()?).ok()?;
    envelope.get("method")?;
    read_id(envelope.remove("id")?).ok()
}

fn read_call(envelope: &mut Object, id: Option<Json>) -> Result<Message, MessageError> {
    let method = envelope
        .get_str("method")
        .ok_or_else(|| not_a_message("`method` must be a string".into()))?
        .into_owned();
    if envelope.get("result").is_some() || envelope.get("error").is_some() {
        return Err(not_a_message(
            "a request carries neither `result` nor `error`".into(),
        ));
    }
    let params = match envelope.remove("params") {
        None => Object::default(),
        Some(params) => Object::parse(params.get())
            .map_err(|error| not_a_message(format!("`params` must be an object: {error}")))?,
    };
    Ok(match id {
        Some(id) => Message::Request {
            id: read_id(id)?,
            method,
            params,
        },
        None => Message::Notification { method, params },
    })
}

fn read_response(envelope: &mut Object, id: Option<Json>) -> Result<Message, MessageError> {
    let outcome = match (envelope.remove("result"), envelope.remove("error")) {
        (Some(result), None) => Ok(result),
        (None, Some(error)) => Err(error),
        (Some(_), Some(_)) => {
            return Err(not_a_message(
                "a response carries either `result` or `error`".into(),
            ));
        }
        (None, None) => return Err(not_a_message("there is no `method`".into())),
    };
    let id = id
        .filter(|id| id.get() != "null")
        .map(read_id)
        .transpose()?;
    Ok(Message::Response { id, outcome })
}

fn read_id(id: Json) -> Result<RequestId, MessageError> {
    let text = id.get();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer || text.starts_with('"') {
        return Ok(RequestId(id));
    }
    Err(not_a_message("`id` must be a string or an integer".into()))
}

fn not_a_message(why: String) -> MessageError {
    MessageError::NotAMessage(why)
}

/// The `code` of an error object.
pub fn error_code(error: &RawValue) -> Option<i32> {
    Object::parse(error.get())
        .ok()?
        .get("code")?
        .get()
        .parse()
        .ok()
}

/// Writes a request.
pub fn request(id: &RequestId, method: &str, params: Option<&Object>) -> String {
    let params = params
        .map(|params| format!(",\"params\":{}", params.to_text()))
        .unwrap_or_default();
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":{}{params}}}",
        id.as_json(),
        json_string(method)
    )
}

/// Writes a notification.
pub fn notification(method: &str, params: Option<&Object>) -> String {
    let params = params
        .map(|params| format!(",\"params\":{}", params.to_text()))
        .unwrap_or_default();
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":{}{params}}}",
        json_string(method)
    )
}

/// Writes a successful response.
pub fn result_response(id: &RequestId, result: &RawValue) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{}}}",
        id.as_json(),
        result.get()
    )
}

/// Writes an error response around a whole error object. Without an id, `null` stands in its place when
/// `null_id` says so; newer revisions leave it out.
pub fn error_response(id: Option<&RequestId>, error: &RawValue, null_id: bool) -> String {
    let id = match id {
        Some(id) => format!("\"id\":{},", id.as_json()),
        None if null_id => "\"id\":null,".into(),
        None => String::new(),
    };
    format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{}}}", error.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        Message::parse(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_three_kinds_are_told_apart() {
        let parse = |body: &str| Message::parse(body.as_bytes()).unwrap();
        let Message::Request { id, method, params } = parse(
            r#"{"jsonrpc":"2.0","id":12345678901234567890,"method":"tools/call","params":{"name":"x"}}"#,
        ) else {
            panic!("a request");
        };
        assert_eq!(
            (id.as_json(), method.as_str()),
            ("12345678901234567890", "tools/call")
        );
        assert_eq!(params.get_str("name").as_deref(), Some("x"));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","method":"ping"}"#),
            Message::Notification { .. }
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":"a","error":{"code":1}}"#),
            Message::Response {
                outcome: Err(_),
                ..
            }
        ));
    }

    #[test]
    fn an_id_is_the_same_however_it_is_written() {
        let key = |id: &str| RequestId::read(&raw(id.into())).map(|id| id.key());
        assert_eq!(key(r#""\u0061""#), key(r#""a""#));
        assert_ne!(key("1"), key(r#""1""#));
        assert_eq!(
            key("12345678901234567890").as_deref(),
            Some("12345678901234567890")
        );
        assert_eq!(key("1.0"), None);
        assert_eq!(key("null"), None);
    }

    #[test]
    fn the_id_of_what_is_no_message_is_still_read() {
        let id = |body: &str| readable_id(body.as_bytes()).map(|id| id.as_json().to_string());
        let wrong = r#"{"jsonrpc":"2.0","id":"a","method":"x","params":[]}"#;
        assert_eq!(id(wrong), Some("\"a\"".into()));
        assert_eq!(id(r#"{"id":null,"method":"x"}"#), None);
        assert_eq!(id(r#"{"id":1,"result":{},"error":{}}"#), None);
        assert_eq!(id(r#"{"id":1,"id":2,"method":"x"}"#), None);
        assert_eq!(id("["), None);
    }

    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        assert!(refusal("{").starts_with("the body is not JSON"));
        assert!(refusal("[]").contains("a JSON object"));
        assert_eq!(
            refusal(r#"{"id":1,"method":"x"}"#),
            "`jsonrpc` must be \"2.0\""
        );
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#),
            "`id` must be a string or an integer"
        );
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":1.0,"method":"x"}"#),
            "`id` must be a string or an integer"
        );
        assert!(
            refusal(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}"#).contains("stands twice")
        );
        assert!(
            refusal(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":2}}"#)
                .contains("stands twice")
        );
        assert!(
            refusal(r#"{"jsonrpc":"2.0","id":1,"method":"x","Params":{}}"#)
                .contains("only in case")
        );
        assert!(
            refusal(r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}"#)
                .contains("must be an object")
        );
        assert_eq!(
            refusal(r#"{"jsonrpc":"2.0","id":1}"#),
            "there is no `method`"
        );
    }
}
