//! Clients as they come: bare JSON-RPC posts, sessions, 2026-07-28, and plain bytes.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

pub(crate) const BOTH: &str = "application/json, text/event-stream";

/// One client with its connections, and perhaps a token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    token: Option<String>,
}

/// A request of JSON-RPC with id 1.
pub(crate) fn rpc(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: Option<String>) -> Self {
        Self {
            http: Http::builder(TokioExecutor::new()).build(HttpConnector::new()),
            address,
            token,
        }
    }

    /// A request with nothing but the token.
    pub(crate) fn request(&self, method: &str, path: &str) -> Sending {
        let sending = Sending {
            client: self.clone(),
            method: method.into(),
            path: path.into(),
            headers: HeaderMap::new(),
            body: String::new(),
        };
        match &self.token {
            Some(token) => sending.header("authorization", &format!("Bearer {token}")),
            None => sending,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Sending {
        self.request("GET", path)
    }

    /// A post of JSON with a bearer token and nothing else, as the first clients sent it.
    pub(crate) fn post(&self, path: &str, body: impl Into<String>) -> Sending {
        let sending = self.request("POST", path);
        Sending {
            body: body.into(),
            ..sending.header("content-type", "application/json")
        }
    }

    /// A bare request, and what came of it.
    pub(crate) async fn bare(&self, path: &str, method: &str, params: Value) -> Value {
        self.post(path, rpc(method, &params)).send().await.json()
    }

    /// A bare call on the common endpoint, and what came of it.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.bare("/mcp", "tools/call", params).await
    }

    /// A request of 2026-07-28 with everything that is asked of it.
    pub(crate) fn modern(&self, path: &str, method: &str, params: Value) -> Sending {
        self.modern_that_can(path, method, params, json!({}))
    }

    /// The same, of a client that can be asked something.
    pub(crate) fn modern_that_can(
        &self,
        path: &str,
        method: &str,
        mut params: Value,
        capabilities: Value,
    ) -> Sending {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
        let name = params.get("name").or(params.get("uri"));
        let name = name.or(params.get("taskId"));
        let name = name.and_then(Value::as_str).map(String::from);
        let sending = self
            .post(path, rpc(method, &params))
            .header("accept", BOTH)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        match name {
            Some(name) => sending.header("mcp-name", &name),
            None => sending,
        }
    }

    /// Opens a session of an earlier revision.
    pub(crate) async fn session(&self, path: &str, version: &str) -> Session {
        self.session_that_can(path, version, json!({})).await
    }

    /// The same, of a client that can be asked something.
    pub(crate) async fn session_that_can(
        &self,
        path: &str,
        version: &str,
        capabilities: Value,
    ) -> Session {
        let params = json!({
            "protocolVersion": version,
            "capabilities": capabilities,
            "clientInfo": {"name": "tester", "version": "7"},
        });
        let sending = self.post(path, rpc("initialize", &params));
        let opened = sending.header("accept", BOTH).send().await;
        assert_eq!(opened.status, 200, "{opened:?}");
        let id = opened.header("mcp-session-id").unwrap().to_string();
        let session = Session {
            client: self.clone(),
            path: path.into(),
            version: version.into(),
            id,
            opened: opened.json(),
        };
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(session.post(initialized).send().await.status, 202);
        session
    }

    /// Sends bytes on a connection of its own and reads until the gateway closes it. A gateway that has heard
    /// enough may close before everything is sent.
    pub(crate) async fn raw(&self, bytes: impl Into<Vec<u8>>) -> String {
        let bytes = bytes.into();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let writing = tokio::spawn(async move {
            drop(to.write_all(&bytes).await);
            to
        });
        let mut answer = Vec::new();
        let mut chunk = vec![0; 16 * 1024];
        soon("the gateway closes the connection", async {
            // A reset after the answer is an end like any other.
            while let Ok(length @ 1..) = from.read(&mut chunk).await {
                answer.extend_from_slice(&chunk[..length]);
            }
        })
        .await;
        writing.abort();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A session that is open.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    client: Client,
    path: String,
    version: String,
    pub(crate) id: String,
    pub(crate) opened: Value,
}

impl Session {
    pub(crate) fn request(&self, method: &str) -> Sending {
        self.client
            .request(method, &self.path)
            .header("mcp-session-id", &self.id)
    }

    /// A post as the SDKs send it.
    pub(crate) fn post(&self, body: impl Into<String>) -> Sending {
        self.client
            .post(&self.path, body)
            .header("accept", BOTH)
            .header("mcp-session-id", &self.id)
            .header("mcp-protocol-version", &self.version)
    }

    /// Opens its standing stream.
    pub(crate) async fn stand(&self) -> Stream {
        let opening = self.request("GET").header("accept", "text/event-stream");
        let stream = opening.open().await;
        assert_eq!(stream.status, 200);
        stream
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.post(rpc(method, &params)).send().await.json()
    }
}

/// A request that can still be changed.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    client: Client,
    method: String,
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Sending {
    /// Sets a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    /// Adds a header beside one that is there.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Gives the request of JSON-RPC in the body another id.
    pub(crate) fn with_id(mut self, id: &Value) -> Self {
        let mut message: Value = serde_json::from_str(&self.body).unwrap();
        message["id"] = id.clone();
        self.body = message.to_string();
        self
    }

    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the whole answer.
    pub(crate) async fn send(self) -> Reply {
        let answering = self.begin();
        soon("an answer", async {
            let (parts, body) = answering.await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body: String::from_utf8(body.to_vec()).unwrap(),
            }
        })
        .await
    }

    /// Sends it and reads the answer as it comes.
    pub(crate) async fn open(self) -> Stream {
        let response = soon("the head of an answer", self.begin()).await;
        Stream {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.into_body(),
            text: String::new(),
        }
    }

    async fn begin(self) -> Response<Incoming> {
        let method: Method = self.method.parse().unwrap();
        let mut request = Request::new(Full::new(Bytes::from(self.body)));
        *request.method_mut() = method;
        let uri = format!("http://{}{}", self.client.address, self.path);
        *request.uri_mut() = uri.parse().unwrap();
        *request.headers_mut() = self.headers;
        self.client.http.request(request).await.unwrap()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The messages in it: of a stream of events, or the one that it is.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if self.header("content-type") != Some("text/event-stream") {
            return vec![self.json()];
        }
        let data = self
            .body
            .lines()
            .filter_map(|line| line.strip_prefix("data:"));
        data.filter(|data| !data.trim().is_empty())
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }

    /// Status and error code, for tables.
    pub(crate) fn code(&self) -> (u16, i64) {
        let code = self.json()["error"]["code"].as_i64();
        (self.status, code.unwrap_or_default())
    }
}

/// An answer that is still coming.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    text: String,
}

impl Stream {
    /// The next message on it; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let data = self.next_data().await?;
        Some(serde_json::from_str(&data).unwrap())
    }

    /// The data of the next event that has any; `None` at the end.
    pub(crate) async fn next_data(&mut self) -> Option<String> {
        loop {
            let event = self.next_event().await?;
            if !event.data.is_empty() {
                return Some(event.data);
            }
        }
    }

    /// The next event, also one that only names a place; `None` at the end.
    pub(crate) async fn next_event(&mut self) -> Option<SseEvent> {
        soon("an event", async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let event = SseEvent::read(event);
                    self.text = rest.to_string();
                    if event.is_none() {
                        continue;
                    }
                    return event;
                }
                let frame = self.body.frame().await?.unwrap();
                if let Ok(data) = frame.into_data() {
                    self.text.push_str(std::str::from_utf8(&data).unwrap());
                }
            }
        })
        .await
    }
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) data: String,
}

impl SseEvent {
    /// `None` for comments.
    fn read(text: &str) -> Option<Self> {
        let fields = |name: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines.map(|value| value.trim_start().to_string()).collect()
        };
        let event = Self {
            id: fields("id:").pop(),
            retry: fields("retry:").pop(),
            data: fields("data:").join("\n"),
        };
        let says = event.id.is_some() || event.retry.is_some() || !event.data.is_empty();
        says.then_some(event)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
