//! The agents of the demo: they call tools over HTTP like anybody else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::{Screen, plain};
use crate::types::Secret;

/// The longest one call may take; the first starts a child process.
const DEADLINE: Duration = Duration::from_secs(30);

/// An agent with a token.
pub(super) struct Visitor {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    name: &'static str,
    token: Secret,
}

/// What came of a call.
pub(super) struct Said {
    /// Whether the tool did what it was asked.
    pub(super) went_well: bool,
    /// The first text of the answer.
    pub(super) text: String,
}

impl Visitor {
    pub(super) fn new(address: SocketAddr, name: &'static str, token: Secret) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: format!("http://{address}/mcp"),
            name,
            token,
        }
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> anyhow::Result<Said> {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        });
        let request = Request::post(&self.url)
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", self.token.expose()),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .header("X-Session-ID", format!("demo-{}", self.name))
            .body(Full::from(message.to_string()))?;
        let answer = tokio::time::timeout(DEADLINE, self.client.request(request));
        let answer = answer
            .await
            .context("the gateway of the demo does not answer")??;
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(read(&serde_json::from_slice(&body)?))
    }
}

fn read(message: &Value) -> Said {
    let result = &message["result"];
    let texts = result["content"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| part["text"].as_str());
    let error = message["error"]["message"].as_str();
    Said {
        went_well: error.is_none() && result["isError"] != json!(true),
        text: texts.chain(error).next().unwrap_or_default().to_owned(),
    }
}

/// Tells what an agent did and what it heard.
pub(super) fn tell(screen: &mut Screen, what: &str, said: &Said) {
    let mark = if said.went_well { "ok     " } else { "refused" };
    let line = plain(said.text.lines().next().unwrap_or_default());
    let cut: String = line.chars().take(220).collect();
    screen.note(&format!("  {mark}  {what}\n           {cut}"));
}
