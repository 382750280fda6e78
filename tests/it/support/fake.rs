//! A scripted MCP server on loopback, of either era, that remembers every request it looked at.
//!
//! What a call does is said by its argument `do`, and without one by the name of the tool.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::newsroom::{self, Hearer};
use super::soon;
use super::streams::{FakeStream, Streams};

mod pushing;
mod tasks;

pub(super) type Body = BoxBody<Bytes, io::Error>;

/// More than the gateway takes of one answer.
const HUGE: usize = 17 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// 2026-07-28, stateless.
    Modern,
    /// `initialize`, with sessions.
    Sessions,
    /// `initialize`, without.
    NoSessions,
    /// 2026-07-28, and `initialize` with sessions.
    Both,
}

/// A request that the server looked at, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// The exact bytes of `params`.
    pub(crate) params: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn param(&self, key: &str) -> Value {
        serde_json::from_str::<Value>(&self.params).unwrap()[key].clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Requests of agents.
    requests: Vec<Seen>,
    /// Handshakes, pings, notifications, answers, and at an older server what belongs to listening.
    pub(super) asides: Vec<Seen>,
    /// Requests whose connection went away before they were answered.
    dropped: usize,
    /// Whoever hears its news now.
    pub(super) hearers: Vec<Hearer>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) speaks: Speaks,
    /// Whether it has news.
    pub(super) tells: bool,
    pub(super) tools: Mutex<Vec<String>>,
    page: usize,
    schemas: Mutex<HashMap<String, Value>>,
    empty_cursor: bool,
    slow_lists: bool,
    resources: Vec<String>,
    memory: Mutex<Memory>,
    changed: watch::Sender<()>,
    gate: Semaphore,
    crowd: Mutex<Vec<oneshot::Sender<()>>>,
    sessions: Mutex<HashSet<String>>,
    questions: pushing::Questions,
    has_tasks: bool,
    tasks: Mutex<Vec<tasks::Task>>,
    /// Streams that the test writes, when it answers all requests itself.
    streams: Option<Streams>,
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FakeUpstream {
    address: SocketAddr,
    pub(super) state: Arc<State>,
    serving: JoinHandle<()>,
}

/// What stands for the method of an answer to a question of the server, among the asides.
pub(crate) const ANSWER: &str = "(answer)";

/// Requests that belong to a connection and not to an agent.
const CONNECTION: [&str; 4] = ["initialize", "server/discover", "ping", "logging/setLevel"];

const TOOLS: [&str; 3] = ["imagine", "describe", "blend"];

/// What is set before a server starts.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    speaks: Speaks,
    tells: bool,
    tools: Vec<String>,
    page: usize,
    has_tasks: bool,
    schemas: HashMap<String, Value>,
    empty_cursor: bool,
    slow_lists: bool,
    resources: Vec<String>,
    is_by_hand: bool,
}

impl Script {
    fn new(speaks: Speaks) -> Self {
        Self {
            speaks,
            tells: false,
            tools: TOOLS.map(String::from).to_vec(),
            page: usize::MAX,
            has_tasks: false,
            is_by_hand: false,
            schemas: HashMap::new(),
            empty_cursor: false,
            slow_lists: false,
            resources: ["note://1", "note://2"].map(String::from).to_vec(),
        }
    }

    /// So many tools, `tool-0000` and on.
    pub(crate) fn many_tools(mut self, number: usize) -> Self {
        self.tools = (0..number)
            .map(|number| format!("tool-{number:04}"))
            .collect();
        self
    }

    /// The cursor of the second page is the empty string, which is one like any other.
    pub(crate) fn empty_cursor(mut self) -> Self {
        self.empty_cursor = true;
        self
    }

    /// The resources it lists. It reads any.
    pub(crate) fn resources<const N: usize>(mut self, uris: [&str; N]) -> Self {
        self.resources = uris.map(String::from).to_vec();
        self
    }

    /// Lists are answered only when they are let go on.
    pub(crate) fn slow_lists(mut self) -> Self {
        self.slow_lists = true;
        self
    }

    /// The `inputSchema` of one of its tools.
    pub(crate) fn schema(mut self, tool: &str, schema: Value) -> Self {
        self.schemas.insert(tool.into(), schema);
        self
    }

    /// Every request of an agent opens a stream that the test writes; see [`FakeUpstream::stream`].
    pub(crate) fn by_hand(mut self) -> Self {
        self.is_by_hand = true;
        self
    }

    /// The tools it lists. It calls any.
    pub(crate) fn tools<const N: usize>(mut self, tools: [&str; N]) -> Self {
        self.tools = tools.map(String::from).to_vec();
        self
    }

    /// It tells when its lists and resources change.
    pub(crate) fn with_news(mut self) -> Self {
        self.tells = true;
        self
    }

    /// Lists come in pages of so many.
    pub(crate) fn pages_of(mut self, items: usize) -> Self {
        self.page = items;
        self
    }

    /// It makes tasks for who asks for them, and says so.
    pub(crate) fn tasks(mut self) -> Self {
        self.has_tasks = true;
        self
    }

    pub(crate) async fn start(self) -> FakeUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            speaks: self.speaks,
            tells: self.tells,
            tools: Mutex::new(self.tools),
            page: self.page,
            schemas: Mutex::new(self.schemas),
            empty_cursor: self.empty_cursor,
            slow_lists: self.slow_lists,
            resources: self.resources,
            memory: Mutex::default(),
            changed: watch::Sender::new(()),
            gate: Semaphore::new(0),
            crowd: Mutex::default(),
            sessions: Mutex::default(),
            questions: pushing::Questions::default(),
            has_tasks: self.has_tasks,
            tasks: Mutex::default(),
            streams: self.is_by_hand.then(Streams::default),
        });
        FakeUpstream {
            address,
            serving: tokio::spawn(accept(listener, Arc::clone(&state))),
            state,
        }
    }
}

impl FakeUpstream {
    /// A server of 2026-07-28 and nothing else.
    pub(crate) fn modern() -> Script {
        Script::new(Speaks::Modern)
    }

    /// A server that wants `initialize` and a session.
    pub(crate) fn legacy() -> Script {
        Script::new(Speaks::Sessions)
    }

    /// A server that wants `initialize` and gives no session.
    pub(crate) fn sessionless() -> Script {
        Script::new(Speaks::NoSessions)
    }

    /// A server of 2026-07-28 that opens sessions, too.
    pub(crate) fn both() -> Script {
        Script::new(Speaks::Both)
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> usize {
        locked(&self.state.sessions).len()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Requests of agents so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state.memory().requests.clone()
    }

    pub(crate) fn asides(&self) -> Vec<Seen> {
        self.state.memory().asides.clone()
    }

    /// Calls of tools so far.
    pub(crate) fn calls(&self) -> usize {
        let memory = self.state.memory();
        let calls = memory.requests.iter();
        calls.filter(|seen| seen.method == "tools/call").count()
    }

    /// Lets so many calls of `slow` go on, now or when they come.
    pub(crate) fn release(&self, calls: usize) {
        self.state.gate.add_permits(calls);
    }

    /// Waits until so many requests of agents came.
    pub(crate) async fn until_requests(&self, number: usize) {
        let what = format!("{number} requests at the server");
        self.until(&what, |memory| memory.requests.len() >= number)
            .await;
    }

    /// Waits until so many tools were called.
    pub(crate) async fn until_calls(&self, number: usize) {
        let is_call = |seen: &&Seen| seen.method == "tools/call";
        self.until(&format!("{number} calls at the server"), |memory| {
            memory.requests.iter().filter(is_call).count() >= number
        })
        .await;
    }

    /// Waits until so many calls were given up by whoever made them.
    pub(crate) async fn until_dropped(&self, number: usize) {
        let what = format!("{number} calls given up");
        self.until(&what, |memory| memory.dropped >= number).await;
    }

    /// Waits until an aside of this method came.
    pub(crate) async fn until_aside(&self, method: &str) {
        self.until(method, |memory| {
            memory.asides.iter().any(|seen| seen.method == method)
        })
        .await;
    }

    /// Gives one of its tools another `inputSchema`.
    pub(crate) fn change_schema(&self, tool: &str, schema: Value) {
        locked(&self.state.schemas).insert(tool.into(), schema);
    }

    /// Requests of this method so far.
    pub(crate) fn asked(&self, method: &str) -> Vec<Seen> {
        let mut requests = self.requests();
        requests.retain(|seen| seen.method == method);
        requests
    }

    /// The next stream that was opened or taken up again.
    pub(crate) async fn stream(&self) -> FakeStream {
        self.state.streams.as_ref().unwrap().next().await
    }

    /// Waits until so many sessions are open.
    pub(crate) async fn until_sessions(&self, number: usize) {
        self.until(&format!("{number} sessions"), |_| self.sessions() == number)
            .await;
    }

    /// Forgets all sessions, as a server does that was restarted.
    pub(crate) fn forget_sessions(&self) {
        locked(&self.state.sessions).clear();
    }

    /// Whether it speaks 2026-07-28.
    pub(crate) fn is_modern(&self) -> bool {
        self.state.speaks == Speaks::Modern
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn(&Memory) -> bool) {
        let mut changed = self.state.changed.subscribe();
        soon(what, async {
            while !is_so(&self.state.memory()) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        locked(&self.memory)
    }

    pub(super) fn remember(&self, change: impl FnOnce(&mut Memory)) {
        change(&mut self.memory());
        self.changed.send_replace(());
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let state = Arc::clone(&state);
        let serve = service_fn(move |request| serve(Arc::clone(&state), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
        connections.spawn(async move { drop(connection.await) });
        while connections.try_join_next().is_some() {}
    }
}

#[derive(Deserialize)]
struct Rpc<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    /// Without one it is an answer to a question.
    #[serde(default = "answer_method")]
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn answer_method() -> String {
    ANSWER.into()
}

#[derive(Deserialize)]
struct Call<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

/// An answer, or an error that makes hyper drop the connection without one.
async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let session = parts.headers.get("mcp-session-id");
    let session = session.map(|id| id.to_str().unwrap().to_string());
    match parts.method {
        Method::POST => {}
        Method::DELETE => {
            let known = session.is_some_and(|id| locked(&state.sessions).remove(&id));
            state.changed.send_replace(());
            return Ok(empty(if known { 200 } else { 404 }));
        }
        Method::GET if state.tells && state.speaks == Speaks::Sessions => {
            return Ok(newsroom::stand(&state, session));
        }
        Method::GET => {
            let event = parts.headers.get("last-event-id");
            let event = event.map(|id| id.to_str().unwrap());
            let streams = state.streams.as_ref().filter(|_| event.is_some());
            let stream = streams.map(|streams| streams.open("", event));
            return Ok(
                stream.map_or_else(|| empty(405), |body| streamed("text/event-stream", body))
            );
        }
        _ => return Ok(empty(405)),
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let rpc: Rpc<'_> = serde_json::from_str(&body).unwrap();
    let seen = Seen {
        method: rpc.method.clone(),
        params: rpc.params.map_or("{}", RawValue::get).to_string(),
        headers: parts.headers,
        body: body.clone(),
    };
    if rpc.method == ANSWER {
        state
            .questions
            .answer(&serde_json::from_str(&body).unwrap());
    }
    let Some(id) = rpc.id.map(RawValue::get).filter(|_| rpc.method != ANSWER) else {
        state.remember(|memory| memory.asides.push(seen));
        return Ok(empty(202));
    };
    if CONNECTION.contains(&rpc.method.as_str()) {
        state.remember(|memory| memory.asides.push(seen));
        return Ok(handshake(&state, id, &rpc.method, session.as_deref()));
    }
    if let Some(refusal) = out_of_era(&state, id, &seen, session.as_deref()) {
        return Ok(refusal);
    }
    if state.tells && newsroom::is_aside(&seen.method) {
        return Ok(newsroom::subscribe(&state, id, seen, session));
    }
    state.remember(|memory| memory.requests.push(seen.clone()));
    if let Some(streams) = &state.streams {
        return Ok(streamed(
            "text/event-stream",
            streams.open(&seen.body, None),
        ));
    }
    if state.has_tasks
        && let Some(answer) = tasks::answer(&state, id, &seen, session.as_deref())
    {
        return Ok(answer);
    }
    if state.tells && seen.method == "subscriptions/listen" {
        return Ok(newsroom::listen(&state, id, &seen));
    }
    answer(&state, id, &seen).await
}

fn handshake(state: &State, id: &str, method: &str, session: Option<&str>) -> Response<Body> {
    match (state.speaks, method) {
        (Speaks::Modern | Speaks::Both, "server/discover") => {
            let mut result = json!({
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": newsroom::capabilities(state),
                "instructions": "Be brief.",
                "ttlMs": 60_000, "cacheScope": "public",
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "1"}},
            });
            if state.has_tasks {
                tasks::announce(&mut result["capabilities"], true);
            }
            json_answer(200, &ok(id, &result.to_string()))
        }
        (Speaks::Sessions | Speaks::NoSessions | Speaks::Both, "initialize") => {
            let mut result = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": newsroom::capabilities(state),
                "serverInfo": {"name": "fake", "version": "1"},
                "instructions": "Be brief.",
            });
            if state.has_tasks {
                tasks::announce(&mut result["capabilities"], false);
            }
            let mut response = json_answer(200, &ok(id, &result.to_string()));
            if state.speaks != Speaks::NoSessions {
                let mut sessions = locked(&state.sessions);
                let asides = state.memory().asides.len();
                let session = format!("session-{}-{asides}", sessions.len());
                let value = HeaderValue::from_str(&session).unwrap();
                response.headers_mut().insert("mcp-session-id", value);
                sessions.insert(session);
            }
            response
        }
        (Speaks::Modern, "initialize") => unsupported(id, "2025-11-25"),
        (Speaks::Sessions, "server/discover") if session.is_none() => {
            json_answer(400, &error(id, -32000, "Bad Request: no session"))
        }
        (Speaks::Sessions | Speaks::NoSessions | Speaks::Both, "ping" | "logging/setLevel") => {
            json_answer(200, &ok(id, "{}"))
        }
        _ => json_answer(200, &error(id, -32601, "Method not found")),
    }
}

fn out_of_era(
    state: &State,
    id: &str,
    seen: &Seen,
    session: Option<&str>,
) -> Option<Response<Body>> {
    match state.speaks {
        Speaks::NoSessions => None,
        Speaks::Both if session.is_some() => known_session(state, id, session),
        Speaks::Sessions => known_session(state, id, session),
        Speaks::Modern | Speaks::Both => {
            let meta = seen.param("_meta");
            let claims = &meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
                && meta["io.modelcontextprotocol/clientCapabilities"].is_object();
            let agrees = seen.header("mcp-protocol-version") == Some("2026-07-28")
                && seen.header("mcp-method") == Some(seen.method.as_str())
                && session.is_none();
            (!claims || !agrees).then(|| unsupported(id, "none"))
        }
    }
}

fn known_session(state: &State, id: &str, session: Option<&str>) -> Option<Response<Body>> {
    match session {
        None => Some(json_answer(
            400,
            &error(id, -32000, "Bad Request: no session"),
        )),
        Some(known) if locked(&state.sessions).contains(known) => None,
        Some(_) => Some(json_answer(404, &error(id, -32001, "Session not found"))),
    }
}

async fn answer(state: &Arc<State>, id: &str, seen: &Seen) -> Result<Response<Body>, io::Error> {
    if state.slow_lists && seen.method.ends_with("/list") {
        wait(state).await;
    }
    let result = match seen.method.as_str() {
        "tools/call" => return call(state, id, seen).await,
        "tools/list" => {
            let schemas = locked(&state.schemas);
            let plain = json!({"type": "object"});
            let tools = locked(&state.tools).clone();
            let tools = tools.iter().map(|name| {
                let schema = schemas.get(name).unwrap_or(&plain);
                json!({"name": name, "description": "A tool.", "inputSchema": schema})
            });
            list(state, "tools", tools.collect(), &seen.param("cursor"))
        }
        "prompts/list" => {
            let prompts = vec![json!({"name": "greet"}), json!({"name": "part"})];
            list(state, "prompts", prompts, &seen.param("cursor"))
        }
        "resources/list" => {
            let notes = state
                .resources
                .iter()
                .map(|uri| json!({"uri": uri, "name": "one"}));
            list(state, "resources", notes.collect(), &seen.param("cursor"))
        }
        "resources/templates/list" => {
            let templates = vec![json!({"uriTemplate": "note://{id}", "name": "any"})];
            list(state, "resourceTemplates", templates, &Value::Null)
        }
        "prompts/get" if seen.param("arguments")["ask"].is_array() => {
            return Ok(pushing::push(
                state,
                id,
                &seen.param("arguments")["ask"],
                Value::Null,
                false,
                |answers| json!({"messages": [], "description": Value::from(answers).to_string()}),
            ));
        }
        "prompts/get" if seen.param("name") == "show" => json!({"messages": [
            {"role": "user", "content": {"type": "resource", "resource": {"uri": "note://1", "text": "a note"}}}
        ]}),
        "prompts/get" => json!({"messages": [
            {"role": "user", "content": {"type": "text", "text": seen.param("name")}}
        ]}),
        "resources/read" if seen.param("uri") == "note://gone" => {
            return Ok(json_answer(200, &error(id, -32002, "Resource not found")));
        }
        "resources/read" if seen.param("uri") == "note://ask" => {
            let rounds = json!([["elicitation/create"]]);
            return Ok(pushing::push(
                state,
                id,
                &rounds,
                Value::Null,
                false,
                |answers| {
                    let text = Value::from(answers).to_string();
                    json!({"contents": [{"uri": "note://ask", "text": text}]})
                },
            ));
        }
        "resources/read" => json!({"contents": [{"uri": seen.param("uri"), "text": "a note"}]}),
        "completion/complete" if seen.param("argument")["name"] == "ask" => {
            let rounds = json!([["elicitation/create"]]);
            return Ok(pushing::push(
                state,
                id,
                &rounds,
                Value::Null,
                false,
                |answers| json!({"completion": {"values": [answers[0]["error"]["code"].to_string()]}}),
            ));
        }
        "completion/complete" => json!({"completion": {"values": ["one", "two"]}}),
        _ => return Ok(json_answer(200, &error(id, -32601, "Method not found"))),
    };
    let result = finish(state, result.to_string());
    Ok(json_answer(200, &ok(id, &result)))
}

fn list(state: &State, key: &str, items: Vec<Value>, cursor: &Value) -> Value {
    let from = match cursor.as_str() {
        None => 0,
        Some("") => state.page,
        Some(text) => text.parse().unwrap(),
    };
    let rest = items.len().saturating_sub(from);
    let page: Vec<Value> = items.into_iter().skip(from).take(state.page).collect();
    let mut result = json!({});
    if rest > page.len() {
        let next = from + page.len();
        let is_empty = state.empty_cursor && next == state.page;
        result["nextCursor"] = if is_empty {
            String::new()
        } else {
            next.to_string()
        }
        .into();
    }
    result[key] = page.into();
    if state.speaks == Speaks::Modern {
        result["ttlMs"] = 60_000.into();
        result["cacheScope"] = "public".into();
    }
    result
}

/// Adds what the era asks of every result.
fn finish(state: &State, mut result: String) -> String {
    if state.speaks == Speaks::Modern {
        assert_eq!(result.pop(), Some('}'));
        result.push_str(",\"resultType\":\"complete\"}");
    }
    result
}

async fn call(state: &Arc<State>, id: &str, seen: &Seen) -> Result<Response<Body>, io::Error> {
    let call: Call<'_> = serde_json::from_str(&seen.params).unwrap();
    let arguments = call.arguments.map_or("{}", RawValue::get);
    let wanted: Value = serde_json::from_str(arguments).unwrap_or_default();
    let what = wanted["do"].as_str().unwrap_or(&call.name).to_string();
    let echo = format!(
        "{{\"content\":[{{\"type\":\"text\",\"text\":\"done\"}}],\"structuredContent\":{arguments}}}"
    );
    let good = json_answer(200, &ok(id, &finish(state, echo.clone())));
    let gone = || io::Error::other("hangs up");
    Ok(match what.as_str() {
        "fail" => {
            let result = r#"{"content":[{"type":"text","text":"no such font"}],"isError":true}"#;
            json_answer(200, &ok(id, &finish(state, result.into())))
        }
        "rpc_error" => {
            let code = wanted["code"].as_i64().unwrap_or(-32050);
            let error =
                format!(r#"{{"code":{code},"message":"out of paint","data":{{"left":1.10}}}}"#);
            json_answer(
                200,
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
            )
        }
        // An error of the server's own, with this status and code.
        "refuse" => {
            let code = wanted["code"].as_i64().unwrap();
            let data = json!({"requiredCapabilities": {"sampling": {}}});
            let error = json!({"code": code, "message": "no", "data": data});
            let status = u16::try_from(wanted["status"].as_u64().unwrap()).unwrap();
            json_answer(
                status,
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
            )
        }
        // The result is the argument `result`, to the byte.
        "say" => {
            #[derive(Deserialize)]
            struct Said<'a> {
                #[serde(borrow)]
                result: &'a RawValue,
            }
            let said: Said<'_> = serde_json::from_str(arguments).unwrap();
            json_answer(200, &ok(id, said.result.get()))
        }
        "slow" => {
            wait(state).await;
            good
        }
        "crowd" => {
            crowd(
                state,
                usize::try_from(wanted["of"].as_u64().unwrap()).unwrap(),
            )
            .await;
            good
        }
        "hang_up" => return Err(gone()),
        "cut" => {
            let (parts, body) = mpsc::channel(2);
            let head = Frame::data(Bytes::from("{\"jsonrpc\":"));
            parts.send(Ok(head)).await.unwrap();
            parts.send(Err(gone())).await.unwrap();
            streamed("application/json", body)
        }
        "wrong_id" => json_answer(200, &ok("424242", &echo)),
        "no_json" => json_answer(200, "<html>"),
        "http_500" => empty(500),
        "http_429" => empty(429),
        "redirect" => {
            let mut response = empty(307);
            let elsewhere = HeaderValue::from_static("http://169.254.169.254/");
            response.headers_mut().insert("location", elsewhere);
            response
        }
        "huge" => json_answer(200, &ok(id, &format!("{{\"x\":\"{}\"}}", "x".repeat(HUGE)))),
        // Says so many times how far it is, at once.
        "flood" => {
            let token = seen.param("_meta")["progressToken"].clone();
            let events = (0..wanted["times"].as_u64().unwrap()).map(|number| {
                let params = json!({"progressToken": token, "progress": number});
                let progress =
                    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                format!("data: {progress}\n\n")
            });
            let end = format!("data: {}\n\n", ok(id, &finish(state, echo)));
            let all: String = events.chain([end]).collect();
            let (parts, body) = mpsc::channel(1);
            parts.send(Ok(Frame::data(Bytes::from(all)))).await.unwrap();
            streamed("text/event-stream", body)
        }
        "inquire" => inquire(state, ok(id, &finish(state, echo))),
        "narrate" => narrate(state, ok(id, &finish(state, echo)), call.meta),
        "chatter" => chatter(&wanted, ok(id, &finish(state, echo)), call.meta),
        // Wants to know a name first, and brings a state of its own.
        "elicit" if !seen.params.contains("inputResponses") => {
            let question =
                json!({"method": "elicitation/create", "params": {"message": "your name?"}});
            let wanted = json!({"resultType": "input_required", "inputRequests": {"name": question},
                "requestState": "state-of-the-server"});
            json_answer(200, &ok(id, &wanted.to_string()))
        }
        // Asks in the middle of the call: `ask` is a list of rounds, each a list of methods. Told to be impatient,
        // it waits to be let go on instead of for answers.
        "push" => {
            let meta: Value = call.meta.map_or(Value::Null, |meta| {
                serde_json::from_str(meta.get()).unwrap()
            });
            let token = meta["progressToken"].clone();
            if wanted["impatient"] == true {
                return Ok(pushing::push_and_go_on(state, id, echo));
            }
            let is_slow = wanted["slow"] == true;
            pushing::push(state, id, &wanted["ask"], token, is_slow, |answers| {
                let text = Value::from(answers).to_string();
                json!({"content": [{"type": "text", "text": text}]})
            })
        }
        // Refuses before a page was visited, which counts as done when it is called once more.
        "visit"
            if state
                .memory()
                .requests
                .iter()
                .filter(|seen| seen.params.contains("visit"))
                .count()
                == 1 =>
        {
            let page = json!({"mode": "url", "elicitationId": "e-1",
                "url": "https://pay.example/", "message": "pay first"});
            let error = json!({"code": -32042, "message": "URL elicitation required",
                "data": {"elicitations": [page]}});
            json_answer(
                200,
                &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
            )
        }
        "visit_nothing" => json_answer(200, &error(id, -32042, "URL elicitation required")),
        "ask" => json_answer(
            200,
            &ok(id, r#"{"resultType":"input_required","inputRequests":{}}"#),
        ),
        _ => good,
    })
}

/// Asks a question on the stream of the call, and goes on when it is let.
fn inquire(state: &Arc<State>, answer: String) -> Response<Body> {
    let (parts, body) = mpsc::channel(8);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let params = json!({"message": "sure?", "_meta": {"progressToken": "theirs"}});
        let question =
            json!({"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": params});
        let say = async |message: &str| {
            let event = format!("event: message\ndata: {message}\n\n");
            // Whoever listened may have gone.
            drop(parts.send(Ok(Frame::data(Bytes::from(event)))).await);
        };
        say(&question.to_string()).await;
        wait(&state).await;
        say(&answer).await;
    });
    streamed("text/event-stream", body)
}

/// Says how far it is, and goes on when it is let.
fn narrate(state: &Arc<State>, answer: String, meta: Option<&RawValue>) -> Response<Body> {
    let meta: Value = meta.map_or(Value::Null, |meta| {
        serde_json::from_str(meta.get()).unwrap()
    });
    let (parts, body) = mpsc::channel(8);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let say = async |message: &str| {
            let event = format!("event: message\ndata: {message}\n\n");
            // Whoever listened may have gone.
            drop(parts.send(Ok(Frame::data(Bytes::from(event)))).await);
        };
        let progress = |number: u32| {
            let params =
                json!({"progressToken": meta["progressToken"], "progress": number, "total": 2});
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        };
        if !meta["progressToken"].is_null() {
            say(&progress(1).to_string()).await;
        }
        wait(&state).await;
        let params = json!({"level": "warning", "data": "nearly there"});
        let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
        say(&log.to_string()).await;
        if !meta["progressToken"].is_null() {
            say(&progress(2).to_string()).await;
        }
        say(&answer).await;
    });
    streamed("text/event-stream", body)
}

/// Says `says` times how far it is and what it does, each with the argument `marker`, and takes `turns` turns of the
/// scheduler before everything it says, so that calls made together overtake each other.
fn chatter(wanted: &Value, answer: String, meta: Option<&RawValue>) -> Response<Body> {
    let meta: Value = meta.map_or(Value::Null, |meta| {
        serde_json::from_str(meta.get()).unwrap()
    });
    let wanted = wanted.clone();
    let (parts, body) = mpsc::channel(8);
    tokio::spawn(async move {
        let say = async |message: &str| {
            for _ in 0..wanted["turns"].as_u64().unwrap_or(0) {
                tokio::task::yield_now().await;
            }
            let event = format!("data: {message}\n\n");
            // Whoever listened may have gone.
            drop(parts.send(Ok(Frame::data(Bytes::from(event)))).await);
        };
        for number in 1..=wanted["says"].as_u64().unwrap_or(0) {
            let params = json!({"progressToken": meta["progressToken"], "progress": number,
                "message": wanted["marker"]});
            let method = "notifications/progress";
            say(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()).await;
            let params = json!({"level": "error", "data": wanted["marker"]});
            let method = "notifications/message";
            say(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()).await;
        }
        say(&answer).await;
    });
    streamed("text/event-stream", body)
}

/// Waits to be let go on; tells when it was given up instead.
async fn wait(state: &Arc<State>) {
    struct GivenUp<'a>(Option<&'a State>);
    impl Drop for GivenUp<'_> {
        fn drop(&mut self) {
            if let Some(state) = self.0 {
                state.remember(|memory| memory.dropped += 1);
            }
        }
    }
    let mut given_up = GivenUp(Some(state));
    state.gate.acquire().await.unwrap().forget();
    given_up.0 = None;
}

/// Waits until so many are here, and lets the last go first.
async fn crowd(state: &State, of: usize) {
    let (go, going) = oneshot::channel();
    let complete = {
        let mut crowd = locked(&state.crowd);
        crowd.push(go);
        (crowd.len() == of).then(|| std::mem::take(&mut *crowd))
    };
    for go in complete.into_iter().flatten().rev() {
        go.send(()).unwrap();
        tokio::task::yield_now().await;
    }
    // Whoever completed the crowd told itself, too.
    going.await.unwrap();
}

pub(super) fn ok(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn error(id: &str, code: i32, message: &str) -> String {
    let error = json!({"code": code, "message": message});
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

fn unsupported(id: &str, requested: &str) -> Response<Body> {
    let data = json!({"supported": ["2026-07-28"], "requested": requested});
    let error = json!({"code": -32022, "message": "Unsupported protocol version", "data": data});
    json_answer(
        400,
        &format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#),
    )
}

pub(super) fn empty(status: u16) -> Response<Body> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(super) fn json_answer(status: u16, text: &str) -> Response<Body> {
    let mut response = empty(status);
    let body = Full::new(Bytes::from(text.to_string())).map_err(|never| match never {});
    *response.body_mut() = body.boxed();
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn streamed(
    kind: &'static str,
    mut parts: mpsc::Receiver<Result<Frame<Bytes>, io::Error>>,
) -> Response<Body> {
    let parts = futures_util::stream::poll_fn(move |context| parts.poll_recv(context));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(parts)));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
