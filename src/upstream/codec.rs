//! What a request looks like in the server's era, and what a message that came back means for it. Pure.

use crate::protocol::{
    CLIENT_CAPABILITIES, CLIENT_INFO, Json, LOG_LEVEL, LogLevel, META, Message, MessageError,
    Object, PROGRESS_TOKEN, PROTOCOL_VERSION, RequestId, Version, code, is_reserved_key,
    json_string, raw,
};

use super::{Era, Outgoing, UpstreamError, limits};

pub(super) use crate::protocol::error_code;

/// The result, or the whole JSON-RPC error object.
pub(super) type Outcome = Result<Json, Json>;

/// The parameters of one request in the server's era.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) params: Object,
    /// The progress token the agent chose; in `params` stands ours.
    pub(super) agent_token: Option<Json>,
}

/// Takes out of `_meta` what belongs to the agent's revision and puts in what the server's asks for.
pub(super) fn prepare(outgoing: Outgoing, era: Era, token: u64) -> Prepared {
    let Outgoing {
        mut params,
        log_level,
        capabilities,
        client_info,
        ..
    } = outgoing;
    let mut meta = params
        .remove(META)
        .and_then(|meta| Object::parse(meta.get()).ok())
        .unwrap_or_default();
    meta.retain(|key| !is_reserved_key(key));
    let agent_token = meta.remove(PROGRESS_TOKEN).filter(is_token);
    if agent_token.is_some() {
        meta.set(PROGRESS_TOKEN, raw(token.to_string()));
    }
    match era {
        Era::Legacy => {}
        Era::Modern => declare(&mut meta, log_level, &capabilities, client_info),
    }
    if !meta.is_empty() {
        params.set(META, meta.to_json());
    }
    Prepared {
        params,
        agent_token,
    }
}

/// What every modern request says about its sender.
pub(super) fn declare(
    meta: &mut Object,
    log_level: Option<LogLevel>,
    capabilities: &Object,
    info: Option<Json>,
) {
    meta.set(
        PROTOCOL_VERSION,
        raw(json_string(Version::V2026_07_28.as_str())),
    );
    meta.set(CLIENT_INFO, info.unwrap_or_else(client_info));
    meta.set(CLIENT_CAPABILITIES, capabilities.to_json());
    if let Some(level) = log_level {
        meta.set(LOG_LEVEL, raw(json_string(level.as_str())));
    }
}

/// Our name and version, as `initialize` and `_meta` carry them.
pub(super) fn client_info() -> Json {
    raw(format!(
        "{{\"name\":\"hayward\",\"version\":{}}}",
        json_string(env!("CARGO_PKG_VERSION"))
    ))
}

fn is_token(token: &Json) -> bool {
    let text = token.get();
    text.starts_with('"') || text.parse::<i128>().is_ok()
}

/// What one message on the stream of a call means for it.
#[derive(Debug)]
pub(super) enum Heard {
    /// The answer.
    Answer(Outcome),
    /// A notification.
    Notification { method: String, params: Object },
    /// A request of the server.
    Request {
        id: RequestId,
        method: String,
        params: Object,
    },
}

/// Reads a message that came as the answer, or on the stream, of the request with this id. `is_error` says that
/// the HTTP status already spoke of an error.
///
/// # Errors
/// When it is no message, or the answer to something else.
pub(super) fn hear(body: &[u8], id: u64, is_error: bool) -> Result<Heard, UpstreamError> {
    match read(body)? {
        Message::Response { id: of, outcome } => {
            if is_ours(of.as_ref(), &outcome, id, is_error) {
                return Ok(Heard::Answer(outcome));
            }
            Err(UpstreamError::Broken(
                "the answer carries the id of another request".into(),
            ))
        }
        Message::Notification { method, params } => Ok(Heard::Notification { method, params }),
        Message::Request { id, method, params } => Ok(Heard::Request { id, method, params }),
    }
}

/// An error may come without an id when the server could not read the request, and the Python SDK writes
/// `"id":"server-error"` under an error status: our ids are numbers, so neither belongs to another call.
fn is_ours(of: Option<&RequestId>, outcome: &Outcome, id: u64, is_error: bool) -> bool {
    match of {
        Some(of) if *of == RequestId::number(id) => true,
        Some(of) => outcome.is_err() && is_error && of.as_json().starts_with('"'),
        None => outcome.is_err(),
    }
}

fn read(body: &[u8]) -> Result<Message, UpstreamError> {
    Message::parse(body).map_err(|error| {
        UpstreamError::Broken(match error {
            MessageError::NotJson(_) => "the answer is not JSON".into(),
            MessageError::NotAMessage(why) => no_message(&why),
        })
    })
}

/// Why an answer is none; the reason may quote a key of any length.
pub(super) fn no_message(why: &str) -> String {
    let why = printable(why, limits::QUOTE);
    format!("the answer is no single message: {why}")
}

/// The error object that answers whatever a server asks of us.
pub(super) fn not_offered(method: &str) -> Json {
    raw(format!(
        "{{\"code\":{},\"message\":{}}}",
        code::METHOD_NOT_FOUND,
        json_string(&format!(
            "this client offers no `{}`",
            printable(method, 64)
        ))
    ))
}

/// Text of a third party for our log: cut, and without control characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(escape).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

fn escape(character: char) -> impl Iterator<Item = char> {
    let is_unsafe = character.is_control() || is_invisible(character);
    let (plain, escaped) = if is_unsafe {
        (None, Some(character.escape_unicode()))
    } else {
        (Some(character), None)
    };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// Characters that reorder or hide text: bidirectional controls, zero-width characters, line separators.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::super::testing::tool_call;
    use super::*;

    fn prepared(params: &str, era: Era, level: Option<LogLevel>) -> (String, Option<String>) {
        let outgoing = Outgoing {
            params: Object::parse(params).unwrap(),
            log_level: level,
            ..tool_call("{}")
        };
        let prepared = prepare(outgoing, era, 7);
        (
            prepared.params.to_text(),
            prepared.agent_token.map(|token| token.get().to_owned()),
        )
    }

    #[test]
    fn reserved_keys_stay_behind_and_the_rest_passes() {
        let params = r#"{"name":"x","arguments":{"a": 1.0},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"spy"},"traceparent":"00-1","com.example/k":1,"progressToken":"p\u0031"}}"#;
        let (legacy, token) = prepared(params, Era::Legacy, Some(LogLevel::Info));
        assert_eq!(
            legacy,
            r#"{"name":"x","arguments":{"a": 1.0},"_meta":{"traceparent":"00-1","com.example/k":1,"progressToken":7}}"#
        );
        assert_eq!(token.as_deref(), Some(r#""p\u0031""#));
        let (modern, _) = prepared(params, Era::Modern, Some(LogLevel::Info));
        let info = client_info();
        assert_eq!(
            modern,
            format!(
                r#"{{"name":"x","arguments":{{"a": 1.0}},"_meta":{{"traceparent":"00-1","com.example/k":1,"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{},"io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/logLevel":"info"}}}}"#,
                info.get()
            )
        );
    }

    #[test]
    fn without_meta_a_legacy_request_gets_none_and_a_bad_token_is_dropped() {
        assert_eq!(
            prepared(r#"{"name":"x"}"#, Era::Legacy, None),
            (r#"{"name":"x"}"#.into(), None)
        );
        assert_eq!(
            prepared(r#"{"_meta":{"progressToken":[1]}}"#, Era::Legacy, None),
            ("{}".into(), None)
        );
    }

    #[test]
    fn only_the_answer_to_this_request_is_one() {
        let hears = |body: &str, is_error| match hear(body.as_bytes(), 7, is_error) {
            Ok(Heard::Answer(_)) => "answer".to_owned(),
            Ok(Heard::Notification { .. }) => "notification".into(),
            Ok(Heard::Request { .. }) => "request".into(),
            Err(error) => error.to_string(),
        };
        let other = "server broke off: the answer carries the id of another request";
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, false),
            "answer"
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, false),
            other
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":"7","result":{}}"#, false),
            other
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, false),
            other
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, false),
            "answer"
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":"server-error","error":{}}"#, false),
            other
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","id":"server-error","error":{}}"#, true),
            "answer"
        );
        assert_eq!(
            hears(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#, false),
            "notification"
        );
        assert!(
            hears(r#"[{"jsonrpc":"2.0","id":7,"result":{}}]"#, false).contains("no single message")
        );
        assert!(
            hears(r#"{"jsonrpc":"2.0","id":7,"result":{},"error":{}}"#, false).contains("either")
        );
        assert!(hears(r#"{"jsonrpc":"2.0","id":7,"id":7,"result":{}}"#, false).contains("twice"));
        assert!(hears(r#"{"jsonrpc":"2.0","id":7,"result":{}} x"#, false).contains("not JSON"));
    }

    #[test]
    fn foreign_text_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb", 20), "a\\u{1b}[31mb");
        assert_eq!(printable("abc", 2), "ab…");
        assert_eq!(printable("x\u{202e}y", 9), "x\\u{202e}y");
    }
}
