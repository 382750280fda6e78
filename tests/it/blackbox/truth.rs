//! A real MCP server over HTTP that remembers what it was made to do. It outlives the gateways before it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::gateway::PATIENCE;

/// One time a tool did its work.
#[derive(Debug, Clone)]
pub(super) struct Execution {
    /// Which tool.
    pub(super) tool: String,
    /// The mark of the caller, from the arguments.
    pub(super) tag: String,
}

/// The server. `wait` is a tool that works until [`Truth::let_go`], `never` one that never ends,
/// `leak` and `leak_error` say all they know; every other tool works for `delay_ms`.
#[derive(Debug)]
pub(super) struct Truth {
    address: SocketAddr,
    executions: watch::Sender<Vec<Execution>>,
    authorizations: Mutex<Vec<String>>,
    gate: Semaphore,
}

impl Truth {
    /// Starts to serve, for as long as the test runs.
    pub(super) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let truth = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            executions: watch::Sender::new(Vec::new()),
            authorizations: Mutex::default(),
            gate: Semaphore::new(0),
        });
        let server = Arc::clone(&truth);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let server = Arc::clone(&server);
                let service = service_fn(move |request| Arc::clone(&server).serve(request));
                let io = TokioIo::new(stream);
                // Gateways are killed in the middle of it.
                tokio::spawn(async move {
                    drop(http1::Builder::new().serve_connection(io, service).await)
                });
            }
        });
        truth
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// What was done so far.
    pub(super) fn executions(&self) -> Vec<Execution> {
        self.executions.borrow().clone()
    }

    /// The Authorization headers that came.
    pub(super) fn authorizations(&self) -> Vec<String> {
        self.authorizations.lock().unwrap().clone()
    }

    /// Waits until so many executions began.
    pub(super) async fn reached(&self, count: usize) {
        let mut seen = self.executions.subscribe();
        let waited = timeout(PATIENCE, seen.wait_for(|all| all.len() >= count)).await;
        waited.expect("the server is reached").unwrap();
    }

    /// Waits until the execution with this mark began.
    pub(super) async fn executed(&self, tag: &str) {
        let mut seen = self.executions.subscribe();
        // It is one of the last, and there are thousands.
        let began = seen.wait_for(|all| all.iter().rev().take(1_000).any(|one| one.tag == tag));
        let waited = timeout(PATIENCE, began).await;
        waited.expect("the server is reached").unwrap();
    }

    /// Lets one call of `wait` finish.
    pub(super) fn let_go(&self) {
        self.gate.add_permits(1);
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if let Some(value) = request.headers().get("authorization") {
            let value = value.to_str().unwrap().to_owned();
            self.authorizations.lock().unwrap().push(value);
        }
        let body = request.into_body().collect().await;
        let Ok(body) = body else {
            return Ok(respond(400, None));
        };
        let message: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let Some(id) = message.get("id").cloned() else {
            return Ok(respond(202, None));
        };
        let what = match message["params"]["name"].as_str() {
            Some("leak_error") => "error",
            _ => "result",
        };
        let outcome = self.result(&message).await;
        Ok(respond(
            200,
            Some(json!({"jsonrpc": "2.0", "id": id, what: outcome})),
        ))
    }

    async fn result(&self, message: &Value) -> Value {
        let info = json!({"name": "truth", "version": "1"});
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": info,
            }),
            "server/discover" => json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo": info},
            }),
            "tools/call" => self.execute(&message["params"]).await,
            _ => json!({"resultType": "complete", "tools": []}),
        }
    }

    async fn execute(&self, params: &Value) -> Value {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tool = text(&params["name"]);
        let tag = text(&params["arguments"]["tag"]);
        if tool.starts_with("leak") {
            return self.leak(params);
        }
        let done = format!("done {tag}");
        self.executions.send_modify(|all| {
            all.push(Execution {
                tool: tool.clone(),
                tag,
            });
        });
        if tool == "never" {
            std::future::pending::<()>().await;
        } else if tool == "wait" {
            self.gate.acquire().await.unwrap().forget();
        } else if let Some(delay) = params["arguments"]["delay_ms"].as_u64() {
            sleep(Duration::from_millis(delay)).await;
        }
        json!({"resultType": "complete", "content": [{"type": "text", "text": done}]})
    }

    /// All it was given, as careless servers repeat it: as it came, and in encodings.
    fn leak(&self, params: &Value) -> Value {
        let given = format!("{:?} {}", self.authorizations().last(), params["arguments"]);
        let escaped = given.bytes().map(|byte| format!("%{byte:02x}"));
        let said = [
            given.clone(),
            escaped.collect(),
            STANDARD.encode(&given),
            URL_SAFE_NO_PAD.encode(format!("x{given}")),
            STANDARD.encode(format!("xy{given}")),
        ];
        let content = said.map(|text| json!({"type": "text", "text": text}));
        // An error needs the first two, a result the others.
        json!({"code": -32050, "message": given, "resultType": "complete", "content": content})
    }
}

fn respond(status: u16, message: Option<Value>) -> Response<Full<Bytes>> {
    let body = message.map(|message| message.to_string());
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.unwrap_or_default().into())
        .unwrap()
}
