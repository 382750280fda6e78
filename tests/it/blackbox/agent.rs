//! An agent: calls tools as a client of 2026-07-28 and reads what it is answered.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::gateway::PATIENCE;

/// Someone with a token.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    token: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The message.
    pub(super) body: Value,
}

impl Answer {
    /// The first text of a result.
    pub(super) fn text(&self) -> &str {
        let text = self.body["result"]["content"][0]["text"].as_str();
        text.unwrap_or_default()
    }

    /// Whether the tool was called and says that it did its work.
    pub(super) fn is_done(&self, tag: &str) -> bool {
        let is_error = self.body["result"]["isError"].as_bool();
        self.status == 200 && is_error != Some(true) && self.text() == format!("done {tag}")
    }

    /// A field of the refusal, when it is one.
    pub(super) fn refusal(&self, field: &str) -> Option<&str> {
        self.body["result"]["_meta"]["dev.hayward/refusal"][field].as_str()
    }
}

impl Agent {
    /// An agent with this token.
    pub(super) fn new(token: &str) -> Self {
        // A request that broke off is never sent a second time: it is counted here.
        let client = Client::builder(TokioExecutor::new())
            .retry_canceled_requests(false)
            .build_http();
        Self {
            token: token.into(),
            client,
        }
    }

    /// Its line in the rules, without the servers.
    pub(super) fn token_hash(&self) -> String {
        let digest = Sha256::digest(&self.token);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// What it sends to be known.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Calls a tool of one server. `tag` marks the call in the arguments, and in the log as the client's name.
    /// `None` when no whole answer came.
    pub(super) async fn call(
        &self,
        gateway: &str,
        server: &str,
        tool: &str,
        arguments: Value,
    ) -> Option<Answer> {
        let body = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {
                "name": tool,
                "arguments": arguments,
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {"name": arguments["tag"]},
                },
            },
        });
        let request = Request::post(format!("{gateway}/mcp/{server}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", tool);
        let request = request.body(body.to_string().into()).unwrap();
        self.send(request).await
    }

    /// Sends any request.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let exchange = async {
            let response = self.client.request(request).await.ok()?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.ok()?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            Some(Answer { status, body })
        };
        timeout(PATIENCE, exchange)
            .await
            .expect("an answer or its end")
    }
}
