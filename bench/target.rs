//! Whom a caller asks, and for what: the bytes of its request.

use std::net::SocketAddr;

/// The token of the agent that is measured.
pub(super) const TOKEN: &str = "a-token-of-a-measurement";

/// About a hundred bytes of arguments; more of `_meta` goes where the mark is.
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"how many images may the team make before the month ends","limit":10,"lang":"en"},"_meta":{MARK"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The result.
    Plain,
    /// The result, and how far it is until then.
    WithProgress,
}

/// Whom to ask, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The path of its endpoint.
    pub(super) path: &'static str,
    /// What is asked for.
    pub(super) call: Call,
}

impl Target {
    /// The call as it goes over the wire.
    pub(super) fn request(&self) -> String {
        let more = match self.call {
            Call::Plain => "",
            Call::WithProgress => r#""progressToken":"p1","#,
        };
        let headers =
            "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: search\r\n";
        post(
            self.address,
            self.path,
            headers,
            &BODY.replace("MARK", more),
        )
    }
}

/// A message with these headers beside those that every message has.
pub(super) fn post(address: SocketAddr, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         {headers}content-length: {length}\r\n\r\n{body}"
    )
}
