//! Two small MCP servers on a pair of byte streams: something real to put behind the gateway.
//!
//! `hayward demo` starts them as child processes, tests run them over a pipe in memory. They know nothing of
//! gateways. Both speak every revision: `initialize` up to 2025-11-25, and 2026-07-28 without it.
//!
//! A session is pure: one line in, the lines to send out. Only this file reads and writes.

mod answer;
mod images;
mod lines;
mod notes;
mod picture;
mod png;
mod server;
mod session;

use std::io;

use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt};

use lines::Line;
use server::Server;
use session::Session;

/// The longest line taken, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Which example server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// Draws small pictures: `imagine`, `describe`, `blend`.
    Images,
    /// Holds a few notes: `search`, `read`.
    Notes,
}

impl Example {
    fn server(self) -> &'static Server {
        match self {
            Self::Images => &images::SERVER,
            Self::Notes => &notes::SERVER,
        }
    }
}

/// Serves one client until its input ends: a message a line in, a message a line out (MCP, stdio transport).
///
/// # Errors
/// When reading or writing fails.
pub async fn serve(
    which: Example,
    input: impl AsyncBufRead,
    output: impl AsyncWrite,
) -> io::Result<()> {
    let (mut input, mut output) = (std::pin::pin!(input), std::pin::pin!(output));
    let mut session = Session::new(which.server());
    while let Some(line) = lines::next(&mut input, MAX_LINE).await? {
        let replies = match line {
            Line::Whole(line) => session.receive(&line),
            Line::TooLong => vec![session.too_long(MAX_LINE)],
        };
        for mut reply in replies {
            reply.push('\n');
            output.write_all(reply.as_bytes()).await?;
        }
        output.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    /// Runs a whole conversation through [`serve`] and returns what came out, line by line.
    async fn converse(which: Example, said: &str) -> Vec<Value> {
        let (client, server) = tokio::io::duplex(256);
        let (from_client, to_client) = tokio::io::split(server);
        let serving = tokio::spawn(serve(which, BufReader::new(from_client), to_client));
        let (from_server, mut to_server) = tokio::io::split(client);
        let said = said.to_owned();
        let speaking = tokio::spawn(async move {
            to_server.write_all(said.as_bytes()).await.unwrap();
            to_server.shutdown().await.unwrap();
        });
        let mut answers = Vec::new();
        let mut lines = BufReader::new(from_server).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            answers.push(serde_json::from_str(&line).unwrap());
        }
        speaking.await.unwrap();
        serving.await.unwrap().unwrap();
        answers
    }

    #[tokio::test]
    async fn a_conversation_from_opening_to_end() {
        let answers = converse(
            Example::Notes,
            concat!(
                r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"t","version":"0"}}}"#,
                "\r\n\n",
                r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
                "\n",
                r#"{"jsonrpc":"2.0","id":"last","method":"tools/call","params":{"name":"read","arguments":{"id":"hayward"}}}"#,
            ),
        )
        .await;
        assert_eq!(answers.len(), 2, "{answers:?}");
        assert_eq!(answers[0]["result"]["protocolVersion"], "2024-11-05");
        assert_eq!(answers[1]["id"], "last", "a last line needs no line end");
        assert_eq!(answers[1]["result"]["content"][0]["type"], "text");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_refused_and_the_next_one_answered() {
        let said = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"}}\n{}\n",
            "x".repeat(MAX_LINE),
            r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#
        );
        let answers = converse(Example::Images, &said).await;
        assert_eq!(answers[0]["error"]["code"], -32600);
        assert_eq!(answers[1], json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    }
}
