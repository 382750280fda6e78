//! JSON-RPC and MCP on the wire, as text. Knows no socket, no policy, no time.
//!
//! Messages stay raw slices: the envelope, `params`, `result` and `_meta` are taken apart one level at a
//! time and put together again; `arguments` and results pass byte for byte.

mod canonical;
mod definition;
mod header_value;
mod json;
mod message;
mod meta;
mod method;
mod param_headers;
mod posted;
mod splice;
mod sse;
mod version;

pub use canonical::canonical;
pub use definition::Definition;
pub use header_value::{from_header, to_header};
pub use json::{Json, JsonError, Object, array_items, json_string, raw, to_raw, write_array};
pub use message::{
    Message, MessageError, RequestId, error_code, error_response, notification, readable_id,
    request, result_response,
};
pub use meta::{
    CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, LogLevel, META, PROGRESS_TOKEN, PROTOCOL_VERSION,
    SERVER_INFO, SUBSCRIPTION_ID, TRACE_KEYS, is_reserved_key,
};
pub use method::Method;
pub use param_headers::{
    BadAnnotation, HeaderDiffers, MAX_PARAM_HEADERS, PARAM_PREFIX, ParamHeaders,
};
pub use posted::{Element, MAX_BATCH, Posted};
pub use splice::with_meta;
pub use sse::{SseEvent, SseParser, SseTooLarge, write_event, write_event_at, write_retry};
pub use version::{LATEST_LEGACY, Version};

/// JSON-RPC and MCP error codes that the specification fixes (JSON-RPC 2.0 section 5.1; MCP 2026-07-28).
pub mod code {
    /// The body is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The body is JSON but no message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// The method is unknown, removed or not offered.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// A parameter is missing, unknown or of the wrong type.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something failed inside.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// Unknown resource, before 2026-07-28 only.
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// The user has to visit a page first (2025-11-25 only).
    pub const URL_ELICITATION_REQUIRED: i32 = -32042;
    /// A header and the body differ (2026-07-28).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// The client lacks a capability (2026-07-28).
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// The version is not served (2026-07-28).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}
