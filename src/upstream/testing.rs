//! A scripted HTTP server on loopback, for tests: it answers with the bytes the script says, right or wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, ManualClock};
use crate::protocol::{LogLevel, Method, Object};
use crate::types::{Connection, Endpoint, EraChoice, ServerName, Template, Timestamp};

mod talk;

pub(super) use talk::*;

use super::{Era, Lane, Notice, Outgoing, Reply, Upstream, UpstreamError, Upstreams};

/// Long enough for a machine under load; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// One request that arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) verb: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
    /// On which connection, counted from 0.
    pub(super) connection: usize,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn method(&self) -> String {
        let body = Object::parse(&self.body).unwrap_or_default();
        body.get_str("method").unwrap_or_default().into_owned()
    }

    pub(super) fn id(&self) -> String {
        let body = Object::parse(&self.body).unwrap_or_default();
        body.get("id")
            .map(|id| id.get().to_owned())
            .unwrap_or_default()
    }

    pub(super) fn progress_token(&self) -> String {
        let body = Object::parse(&self.body).unwrap_or_default();
        let meta = body
            .get_object("params")
            .and_then(|params| params.get_object("_meta"));
        meta.unwrap_or_default()
            .get("progressToken")
            .map(|token| token.get().to_owned())
            .unwrap_or_default()
    }
}

/// What the script does with a request.
pub(super) enum Act {
    /// Writes these bytes and keeps the connection.
    Write(String),
    /// Writes these bytes and closes the connection.
    WriteAndClose(String),
    /// Writes what comes, and closes when the sender is gone.
    Stream(mpsc::UnboundedReceiver<String>),
    /// Answers nothing and keeps the connection.
    Hang,
}

/// A JSON answer.
pub(super) fn json(status: u16, headers: &str, body: &str) -> Act {
    Act::Write(format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    ))
}

/// An answer of events that ends with the connection.
pub(super) fn events(messages: &[String]) -> Act {
    let data: String = messages
        .iter()
        .map(|message| format!("data: {message}\n\n"))
        .collect();
    Act::WriteAndClose(format!("{EVENT_STREAM}{data}"))
}

pub(super) const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

pub(super) fn status(status: u16) -> Act {
    Act::Write(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"))
}

pub(super) fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

pub(super) fn error(id: &str, code: i32, message: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
}

/// A server that opens sessions `s-1`, `s-2`, … and leaves everything else to `calls`.
pub(super) fn legacy(calls: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Peer {
    let sessions = Mutex::new(0);
    Peer::start(move |seen| match seen.method().as_str() {
        "server/discover" => json(
            400,
            "",
            &error(
                "\"server-error\"",
                -32600,
                "Bad Request: Missing session ID",
            ),
        ),
        "initialize" => {
            let mut count = sessions.lock().unwrap();
            *count += 1;
            let answer = result(
                &seen.id(),
                r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"peer"}}"#,
            );
            json(200, &format!("mcp-session-id: s-{count}\r\n"), &answer)
        }
        "notifications/initialized" => status(202),
        _ => calls(seen),
    })
}

/// A modern server that leaves everything but discovery to `calls`.
pub(super) fn modern(calls: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Peer {
    Peer::start(move |seen| match seen.method().as_str() {
        "server/discover" => {
            let found = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"peer"}}}"#;
            json(200, "", &result(&seen.id(), found))
        }
        _ => calls(seen),
    })
}

/// The scripted server.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) url: String,
    state: Arc<State>,
    changed: watch::Receiver<()>,
}

#[derive(Debug)]
struct State {
    seen: Mutex<Vec<Seen>>,
    closed: Mutex<Vec<usize>>,
    changed: watch::Sender<()>,
}

type Script = Arc<dyn Fn(&Seen) -> Act + Send + Sync>;

impl Peer {
    pub(super) fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let (sender, changed) = watch::channel(());
        let state = Arc::new(State {
            seen: Mutex::default(),
            closed: Mutex::default(),
            changed: sender,
        });
        let (shared, script): (_, Script) = (state.clone(), Arc::new(script));
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, script) = (shared.clone(), script.clone());
                tokio::spawn(async move {
                    state.serve(stream, connection, &script).await;
                    state.closed.lock().unwrap().push(connection);
                    state.changed.send_replace(());
                });
            }
        });
        Self {
            url,
            state,
            changed,
        }
    }

    /// Everything that arrived, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The requests and notifications of one method.
    pub(super) fn calls(&self, method: &str) -> Vec<Seen> {
        self.seen()
            .into_iter()
            .filter(|seen| seen.method() == method)
            .collect()
    }

    /// Connections that are over.
    pub(super) fn closed(&self) -> Vec<usize> {
        self.state.closed.lock().unwrap().clone()
    }

    /// Waits until something holds.
    pub(super) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.clone();
        let waiting = async {
            while !holds(self) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the condition comes true");
    }
}

impl State {
    async fn serve(&self, mut stream: TcpStream, connection: usize, script: &Script) {
        let mut buffer = Vec::new();
        while let Some(seen) = read_request(&mut stream, &mut buffer, connection).await {
            self.seen.lock().unwrap().push(seen.clone());
            self.changed.send_replace(());
            match script(&seen) {
                Act::Write(bytes) => {
                    if stream.write_all(bytes.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Act::WriteAndClose(bytes) => {
                    let _ = stream.write_all(bytes.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                Act::Stream(mut bytes) => {
                    let mut scrap = [0; 64];
                    loop {
                        tokio::select! {
                            next = bytes.recv() => match next {
                                Some(next) => { let _ = stream.write_all(next.as_bytes()).await; }
                                None => { let _ = stream.shutdown().await; return; }
                            },
                            read = stream.read(&mut scrap) => if !matches!(read, Ok(1..)) { return },
                        }
                    }
                }
                Act::Hang => {}
            }
        }
    }
}

async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    connection: usize,
) -> Option<Seen> {
    loop {
        if let Some((seen, length)) = cut_request(buffer, connection) {
            buffer.drain(..length);
            return Some(seen);
        }
        let mut chunk = [0; 65_536];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

fn cut_request(buffer: &[u8], connection: usize) -> Option<(Seen, usize)> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.lines();
    let mut request = lines.next()?.split(' ');
    let (verb, path) = (request.next()?.to_owned(), request.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let body = buffer.get(end..end + length)?;
    let body = String::from_utf8_lossy(body).into_owned();
    Some((
        Seen {
            verb,
            path,
            headers,
            body,
            connection,
        },
        end + length,
    ))
}

/// One server behind a gateway, and what a test needs to call it.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) upstreams: Upstreams,
    pub(super) clock: Arc<ManualClock>,
}

impl Bench {
    pub(super) fn new(endpoint: Endpoint, era: EraChoice) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
        let timeout = PATIENCE;
        let connection = Connection {
            endpoint,
            era,
            timeout,
        };
        let name: ServerName = "peer".parse().unwrap();
        let environment = std::env::vars().collect();
        let shared: Arc<dyn Clock> = clock.clone();
        let upstreams =
            Upstreams::new(BTreeMap::from([(name, connection)]), &environment, shared).unwrap();
        Self { upstreams, clock }
    }

    pub(super) fn http(url: &str, era: EraChoice) -> Self {
        let headers = vec![("Authorization".to_owned(), Template::literal("Bearer ours"))];
        Self::new(
            Endpoint::Http {
                url: Template::literal(url),
                headers,
            },
            era,
        )
    }

    /// Takes up a new configuration.
    pub(super) fn reconfigure(&mut self, change: impl Fn(&mut Connection)) {
        let connections = self.upstreams.iter().map(|(name, upstream)| {
            let mut connection = upstream.connection().clone();
            change(&mut connection);
            (name.clone(), connection)
        });
        let environment = std::env::vars().collect();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let changed = self
            .upstreams
            .reconfigured(connections.collect(), &environment, clock);
        self.upstreams = changed.unwrap();
    }

    pub(super) fn upstream(&self) -> Arc<Upstream> {
        self.upstreams.iter().next().unwrap().1.clone()
    }

    pub(super) async fn call(&self) -> Result<Reply, UpstreamError> {
        self.send("a", tool_call("{}")).await.0
    }

    /// Sends for an agent, and collects what was said meanwhile.
    pub(super) async fn send(
        &self,
        agent: &str,
        request: Outgoing,
    ) -> (Result<Reply, UpstreamError>, Vec<Notice>) {
        let (sender, mut receiver) = mpsc::channel(64);
        let reply = self.upstream().send(&lane(agent), request, &sender).await;
        drop(sender);
        let notices = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        (reply, notices)
    }

    /// A call that runs in the background.
    pub(super) fn start(
        &self,
        agent: &str,
        request: Outgoing,
    ) -> tokio::task::JoinHandle<Result<Reply, UpstreamError>> {
        let (upstream, lane) = (self.upstream(), lane(agent));
        tokio::spawn(async move {
            let (sender, _receiver) = mpsc::channel(64);
            upstream.send(&lane, request, &sender).await
        })
    }
}

pub(super) fn lane(agent: &str) -> Lane {
    Lane {
        agent: agent.parse().unwrap(),
        session: None,
        prefers: None,
    }
}

/// The lane of an agent with a session, or of a modern one.
pub(super) fn lane_of(agent: &str, prefers: Era) -> Lane {
    Lane {
        prefers: Some(prefers),
        ..lane(agent)
    }
}

pub(super) fn tool_call(meta: &str) -> Outgoing {
    let params = format!(r#"{{"name":"echo","arguments":{{"a": 1.0}},"_meta":{meta}}}"#);
    Outgoing {
        method: Method::ToolsCall,
        params: Object::parse(&params).unwrap(),
        log_level: Some(LogLevel::Info),
        session_level: None,
        missed: Arc::default(),
        param_headers: Vec::new(),
        capabilities: Object::default(),
        client_info: None,
    }
}

/// The text of an outcome.
pub(super) fn text(reply: Result<Reply, UpstreamError>) -> String {
    match reply.map(|reply| (reply.status, reply.outcome)) {
        Ok((200, Ok(result))) => result.get().to_owned(),
        Ok((status, Ok(result))) => format!("{status} {}", result.get()),
        Ok((status, Err(error))) => format!("{status} error {}", error.get()),
        Err(error) => error.to_string(),
    }
}

pub(super) fn notice_text(notice: &Notice) -> String {
    match notice {
        Notice::Progress(params) => format!("progress {}", params.to_text()),
        Notice::Log(params) => format!("log {}", params.to_text()),
        Notice::Ask(ask) => format!("{} {}", ask.method, ask.params.to_text()),
        Notice::At(id, notice) => format!("{} at {}", notice_text(notice), id.0),
        Notice::Stream(news) => format!("{news:?}"),
    }
}
