//! Keys of `_meta` and the log levels (MCP 2026-07-28, base protocol).

use std::str::FromStr;

/// The key of `params` and `result` that carries metadata.
pub const META: &str = "_meta";
/// The version a request speaks.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client says it is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// Who the server says it is.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The least severe log line the client wants.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The `subscriptions/listen` request that a message belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// Names the request in its progress notifications; a string or an integer.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// Keys without a prefix that every revision passes on (W3C Trace Context, W3C Baggage).
pub const TRACE_KEYS: &[&str] = &["traceparent", "tracestate", "baggage"];

/// Whether a `_meta` key belongs to the protocol, so that it must not cross from one revision to another.
pub fn is_reserved_key(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    matches!(
        prefix.split('.').nth(1),
        Some("modelcontextprotocol" | "mcp")
    )
}

/// Severity of a log line (RFC 5424, section 6.2.1, as MCP names it); the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Detail for developers.
    Debug,
    /// Ordinary news.
    Info,
    /// Ordinary but significant.
    Notice,
    /// Something may go wrong.
    Warning,
    /// Something went wrong.
    Error,
    /// A part has failed.
    Critical,
    /// Someone must act.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_keys_are_those_of_the_protocol() {
        assert!(is_reserved_key(PROTOCOL_VERSION));
        assert!(is_reserved_key("com.mcp.tools/x"));
        assert!(!is_reserved_key("dev.hayward/budget"));
        assert!(!is_reserved_key("progressToken"));
    }
}
