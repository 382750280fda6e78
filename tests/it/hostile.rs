//! Servers that do what no server should, on every transport: whatever it is, the agent whose call it was gets exactly
//! one answer, the call is closed once and paid for, what is read has an end, and nobody else notices.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::support::{Reply, Sending, Session, World, find, rpc, soon};

type Body = BoxBody<Bytes, Infallible>;

const MIB: usize = 1024 * 1024;
/// Far more than anything that is read of a server.
const WITHOUT_END: usize = 400 * MIB;
/// What may lie in buffers between the server and who reads it.
const UNDERWAY: usize = 14 * MIB;
/// Requests of a server's own during one call.
const REQUESTS: usize = 1_000;
/// Longer than the gateway waits before it starts a process again.
const A_PAUSE: Duration = Duration::from_secs(60);
/// How many of them are answered at most.
const MOST_ANSWERED: usize = 32;

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// Streamable HTTP, 2026-07-28.
    Modern,
    /// Streamable HTTP with sessions.
    Sessions,
    /// 2024-11-05: one stream for everything.
    Old,
    /// A child process.
    Child,
}

/// What comes of a misdeed: the outcome in the log, and words of the answer.
type Fate = (&'static str, &'static str);

/// The misdeed concerns nobody.
const ANSWERED: Fate = ("ok", "done");
const BROKEN: Fate = ("broken", "broke off or answered unreadably");
const LATE: Fate = ("timed_out", "did not answer in time");
const LARGE: Fate = ("too_large", "answered with more than");

/// What a server does (the name of its tool), and what comes of it, by transport.
const MISDEEDS: [(&str, [Fate; 4]); 12] = [
    ("wrong_id", [BROKEN; 4]),
    ("id_as_text", [BROKEN; 4]),
    ("two_answers", [BROKEN, BROKEN, ANSWERED, ANSWERED]),
    ("batch", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("no_json", [BROKEN, BROKEN, BROKEN, LATE]),
    ("endless_progress", [LARGE, LARGE, LATE, LATE]),
    ("endless_line", [LARGE, LARGE, BROKEN, LARGE]),
    ("endless_body", [LARGE, LARGE, BROKEN, LARGE]),
    ("own_requests", [ANSWERED; 4]),
    ("closes", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("closes_at_once", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("silence", [LATE, LATE, LATE, LATE]),
];

/// What a server says in answer to one call, piece by piece, in its framing.
type Pieces = Box<dyn Iterator<Item = String> + Send>;

/// The pieces, and whether the stream stays open after them.
fn pieces(misdeed: &str, id: &Value, transport: Transport) -> (Pieces, bool) {
    let event = |message: &str| format!("data: {message}\n\n");
    let good = answer(id, transport);
    let is_old = transport == Transport::Old;
    let all = |messages: &[String]| -> Pieces {
        let events: Vec<String> = messages.iter().map(|message| event(message)).collect();
        Box::new(events.into_iter())
    };
    let padding = "x".repeat(64 * 1024);
    let padded = |pieces: usize| std::iter::repeat_n(padding.clone(), pieces);
    let without_end = WITHOUT_END / padding.len();
    match misdeed {
        "wrong_id" => (all(&[answer(&json!(424_242), transport)]), true),
        "id_as_text" => (all(&[answer(&json!(id.to_string()), transport)]), true),
        // Read at once: what came later would be an afterthought.
        "two_answers" => (Box::new(std::iter::once(event(&good).repeat(2))), is_old),
        "batch" => (all(&[format!("[{good}]")]), true),
        "no_json" => (all(&["<html>".into()]), true),
        "endless_progress" => {
            let params = json!({"progressToken": 1, "progress": 1, "message": padding});
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": params});
            let progress = event(&progress.to_string());
            (Box::new(std::iter::repeat_n(progress, without_end)), true)
        }
        "endless_line" | "endless_body" => {
            let start = std::iter::once("data: {\"jsonrpc\":\"2.0\",\"x\":\"".to_owned());
            (Box::new(start.chain(padded(without_end))), true)
        }
        "own_requests" => {
            let mut messages: Vec<String> = (0..REQUESTS)
                .map(|number| {
                    let method = ["ping", "sampling/createMessage"][number % 2];
                    json!({"jsonrpc": "2.0", "id": number, "method": method, "params": {}})
                        .to_string()
                })
                .collect();
            messages.push(good);
            (all(&messages), is_old)
        }
        "closes" => (
            Box::new(std::iter::once("data: {\"jsonrpc\"".to_owned())),
            false,
        ),
        "closes_at_once" => (Box::new(std::iter::empty()), false),
        "silence" => (Box::new(std::iter::empty()), true),
        _ => (all(&[good]), is_old),
    }
}

fn answer(id: &Value, transport: Transport) -> String {
    let mut result = json!({"content": [{"type": "text", "text": "done"}]});
    if transport == Transport::Modern {
        result["resultType"] = "complete".into();
    }
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

/// A server on HTTP.
#[derive(Debug)]
struct Hostile {
    transport: Transport,
    address: SocketAddr,
    /// Bytes that were taken of what it says, by misdeed: the most of one call.
    taken: Mutex<HashMap<String, usize>>,
    /// Calls that came.
    calls: AtomicUsize,
    /// Its own requests that were answered.
    answered: AtomicUsize,
    /// The streams of the old transport, by the session in their URL.
    streams: Mutex<Vec<Option<mpsc::Sender<Bytes>>>>,
}

impl Hostile {
    async fn start(transport: Transport) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hostile = Arc::new(Self {
            transport,
            address: listener.local_addr().unwrap(),
            taken: Mutex::default(),
            calls: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let server = Arc::clone(&hostile);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&server);
                let serve = service_fn(move |request| Arc::clone(&server).serve(request));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        hostile
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        if parts.method == Method::GET && self.transport == Transport::Old {
            return Ok(self.open_stream());
        }
        if parts.method != Method::POST {
            return Ok(respond(405, "", Full::default().boxed()));
        }
        let Ok(body) = body.collect().await else {
            return Ok(respond(400, "", Full::default().boxed()));
        };
        let message: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        if message["method"].is_null() {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        let (Some(method), Some(id)) = (message["method"].as_str(), message.get("id")) else {
            return Ok(respond(202, "", Full::default().boxed()));
        };
        if method == "tools/call" {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let misdeed = message["params"]["name"].as_str().unwrap();
            return Ok(self.misdeed(misdeed, id, parts.uri.query()));
        }
        let said = self.opening(method, id);
        if self.transport == Transport::Old {
            let stream = self.stream(parts.uri.query());
            drop(stream.send(format!("data: {said}\n\n").into()).await);
            return Ok(respond(202, "", Full::default().boxed()));
        }
        let body = Full::new(Bytes::from(said.to_string()));
        let mut response = respond(200, "application/json", body.boxed());
        if method == "initialize" {
            let headers = response.headers_mut();
            headers.insert("mcp-session-id", "session".parse().unwrap());
        }
        Ok(response)
    }

    fn opening(&self, method: &str, id: &Value) -> Value {
        let result = match (method, self.transport) {
            ("server/discover", Transport::Modern) => json!({"resultType": "complete",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "ttlMs": 0, "cacheScope": "private"}),
            ("initialize", Transport::Sessions | Transport::Old) => json!({
                "protocolVersion": "2025-03-26", "capabilities": {"tools": {}},
                "serverInfo": {"name": "hostile", "version": "1"}}),
            ("tools/list", _) => json!({"tools": []}),
            _ => {
                let error = json!({"code": -32601, "message": "Method not found"});
                return json!({"jsonrpc": "2.0", "id": id, "error": error});
            }
        };
        json!({"jsonrpc": "2.0", "id": id, "result": result})
    }

    fn open_stream(&self) -> Response<Body> {
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let mut streams = self.streams.lock().unwrap();
        let endpoint = format!("event: endpoint\ndata: /mcp?{}\n\n", streams.len());
        sender.try_send(endpoint.into()).unwrap();
        streams.push(Some(sender));
        streamed("text/event-stream", receiver)
    }

    fn stream(&self, query: Option<&str>) -> mpsc::Sender<Bytes> {
        let number: usize = query.unwrap().parse().unwrap();
        let streams = self.streams.lock().unwrap();
        streams[number]
            .clone()
            .expect("a stream that was not closed")
    }

    fn misdeed(self: &Arc<Self>, misdeed: &str, id: &Value, query: Option<&str>) -> Response<Body> {
        let (pieces, stays) = pieces(misdeed, id, self.transport);
        let is_old = self.transport == Transport::Old;
        let (own, receiver) = mpsc::channel(4);
        let sender = if is_old { self.stream(query) } else { own };
        let (server, name) = (Arc::clone(self), misdeed.to_owned());
        let closing = (is_old && !stays).then(|| query.unwrap().parse::<usize>().unwrap());
        tokio::spawn(async move {
            let mut taken = 0;
            for piece in pieces {
                let length = piece.len();
                if sender.send(piece.into()).await.is_err() {
                    break;
                }
                taken += length;
            }
            server.note_taken(name, taken);
            match closing {
                Some(stream) => server.streams.lock().unwrap()[stream] = None,
                None if stays && !is_old => sender.closed().await,
                None => {}
            }
        });
        if is_old {
            return respond(202, "", Full::default().boxed());
        }
        let kind = match misdeed {
            "endless_body" => "application/json",
            _ => "text/event-stream",
        };
        streamed(kind, receiver)
    }

    fn note_taken(&self, misdeed: String, bytes: usize) {
        let mut taken = self.taken.lock().unwrap();
        let most = taken.entry(misdeed).or_default();
        *most = bytes.max(*most);
    }
}

fn respond(status: u16, kind: &str, body: Body) -> Response<Body> {
    let response = Response::builder().status(status);
    response.header("content-type", kind).body(body).unwrap()
}

fn streamed(kind: &str, mut pieces: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = futures_util::stream::poll_fn(move |context| {
        let piece = pieces.poll_recv(context);
        piece.map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    });
    respond(200, kind, BodyExt::boxed(StreamBody::new(frames)))
}

/// The same as a child process.
const CHILD: &str = r#"
say() { printf '%s\n' "{\"jsonrpc\":\"2.0\",$1}"; }
good='"result":{"content":[{"type":"text","text":"done"}]}'
progress='{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}'
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  name=${line##*\"name\":\"}; name=${name%%\"*}
  case $line in
    *'"method":"initialize"'*)
      say "\"id\":$id,\"result\":{\"protocolVersion\":\"2025-03-26\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"child\",\"version\":\"1\"}}" ;;
    *'"method":"tools/list"'*) say "\"id\":$id,\"result\":{\"tools\":[]}" ;;
    *'"method":"tools/call"'*)
      case $name in
        wrong_id) say "\"id\":424242,$good" ;;
        id_as_text) say "\"id\":\"$id\",$good" ;;
        two_answers) say "\"id\":$id,$good"; say "\"id\":$id,$good" ;;
        batch) echo "[{\"jsonrpc\":\"2.0\",\"id\":$id,$good}]" ;;
        no_json) echo '<html>' ;;
        endless_progress) yes "$progress" | head -n 200000 & ;;
        endless_line | endless_body) head -c 100000000 /dev/zero | tr '\0' x; echo ;;
        own_requests)
          for number in $(seq 500); do
            say "\"id\":$number,\"method\":\"ping\""
            say "\"id\":\"$number\",\"method\":\"sampling/createMessage\",\"params\":{}"
          done
          say "\"id\":$id,$good" ;;
        closes) printf '{"jsonrpc"'; exit ;;
        closes_at_once) exit ;;
        silence) ;;
        *) say "\"id\":$id,$good" ;;
      esac ;;
  esac
done
"#;

/// The same server twice: once with much time for its answers, once with little.
fn policy(place: &str) -> String {
    format!(
        "defaults: {{timezone: UTC}}
servers:
  patient: {{{place}, timeout: 50s, budgets: [{{limit: 1000/day, each: agent}}]}}
  brief: {{{place}, timeout: 2s, budgets: [{{limit: 1000/day, each: agent}}]}}
agents:
  clawd: {{token_hash: \"@clawd\", servers: [\"*\"]}}
  other: {{token_hash: \"@other\", servers: [\"*\"]}}
"
    )
}

/// One call of clawd, bare or in its session, while the other agent has a call at the same server.
struct Trial<'a> {
    world: &'a World,
    clawd: &'a Session,
    other: &'a Session,
}

impl Trial<'_> {
    /// Commits a misdeed; what the agent reads has exactly one answer with these words.
    async fn commit(&self, misdeed: &str, (outcome, words): Fate, in_session: bool) {
        let server = if outcome == LATE.0 {
            "brief"
        } else {
            "patient"
        };
        self.until_well(server, misdeed).await;
        let call = rpc(
            "tools/call",
            &json!({"name": format!("{server}__{misdeed}")}),
        );
        let sending = match in_session {
            true => self.clawd.post(call),
            false => self.world.agent("clawd").post("/mcp", call),
        };
        let meanwhile = json!({"name": format!("{server}__good")});
        let meanwhile = self.other.post(rpc("tools/call", &meanwhile));
        let (reply, meanwhile) = tokio::join!(send(sending), send(meanwhile));
        assert_eq!(text(&meanwhile), "done", "{misdeed}: {meanwhile:?}");
        assert_eq!(reply.status, 200, "{misdeed}: {reply:?}");
        let text = text(&reply);
        assert!(text.contains(words), "{misdeed} {outcome}: {text}");
    }

    /// Waits until clawd is served there: what went wrong before may have ended a process, which is not started again
    /// at once.
    async fn until_well(&self, server: &str, misdeed: &str) {
        let good = rpc("tools/call", &json!({"name": format!("{server}__good")}));
        soon(&format!("a good answer before {misdeed}"), async {
            while text(&self.clawd.post(&*good).send().await) != "done" {
                self.world.clock().advance(A_PAUSE);
            }
        })
        .await;
    }
}

/// Sends a call until it is recorded; on a busy machine the log is not always written in time.
async fn send(sending: Sending) -> Reply {
    loop {
        let reply = sending.clone().send().await;
        if !reply.body.contains("audit_unavailable") {
            return reply;
        }
    }
}

/// The text of the only answer there is.
fn text(reply: &Reply) -> String {
    let messages = reply.messages();
    let answers: Vec<&Value> = messages
        .iter()
        .filter(|message| message["id"] == 1)
        .collect();
    assert_eq!(answers.len(), 1, "one answer: {reply:?}");
    let is_notice = |message: &&Value| message["method"].is_string() && message["id"].is_null();
    assert_eq!(
        messages.iter().filter(is_notice).count() + 1,
        messages.len(),
        "{reply:?}"
    );
    let text = answers[0]["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {reply:?}"))
        .to_owned()
}

/// Commits every misdeed, and reads in the log what came of it.
async fn commit_all(transport: Transport, place: &str) {
    let world = World::builder().start(&policy(place)).await;
    let trial = Trial {
        world: &world,
        clawd: &world.agent("clawd").session("/mcp", "2025-11-25").await,
        other: &world.agent("other").session("/mcp", "2025-11-25").await,
    };
    let column = [
        Transport::Modern,
        Transport::Sessions,
        Transport::Old,
        Transport::Child,
    ];
    let column = column.iter().position(|one| *one == transport).unwrap();
    let mut expected: HashMap<&str, Vec<&str>> = HashMap::new();
    for (misdeed, fates) in MISDEEDS {
        let fate = fates[column];
        // What takes its time needs not take it twice.
        let ways: &[bool] = if fate == LATE {
            &[false]
        } else {
            &[false, true]
        };
        for in_session in ways {
            trial.commit(misdeed, fate, *in_session).await;
            expected.entry(misdeed).or_default().push(fate.0);
        }
    }
    let stopped = world.stop().await;
    let events = super::support::events(&stopped.file).await;
    for (misdeed, expected) in expected {
        let of_misdeed = |kind| {
            let of_kind = find(&events, kind).into_iter();
            of_kind
                .filter(|event| event.text("tool") == misdeed)
                .collect::<Vec<_>>()
        };
        let closed = [of_misdeed("settled"), of_misdeed("failed")].concat();
        let outcomes: Vec<&str> = closed.iter().map(|event| event.text("outcome")).collect();
        assert_eq!(outcomes, expected, "{misdeed}");
        assert_eq!(of_misdeed("admitted").len(), expected.len(), "{misdeed}");
        for event in closed {
            assert_eq!(
                event.meta["budgets"][0]["charged"], 1,
                "{misdeed}: {event:?}"
            );
        }
    }
}

async fn over_http(transport: Transport, protocol: &str) {
    let server = Hostile::start(transport).await;
    commit_all(
        transport,
        &format!("url: \"{}\", protocol: {protocol}", server.url()),
    )
    .await;
    let taken = server.taken.lock().unwrap();
    for (misdeed, limit) in [
        ("endless_line", 16),
        ("endless_body", 16),
        ("endless_progress", 64),
    ] {
        // On the stream of everything there is no end but that of the call, which is not one of the stream.
        if transport == Transport::Old && misdeed == "endless_progress" {
            continue;
        }
        let most = limit * MIB + UNDERWAY;
        assert!(
            taken[misdeed] <= most,
            "{misdeed}: {} bytes",
            taken[misdeed]
        );
    }
    let answered = server.answered.load(Ordering::SeqCst);
    // Where everything is on one stream, so many may wait to be answered; a quick server gets more.
    if transport != Transport::Old {
        assert!(
            answered <= 2 * MOST_ANSWERED,
            "{answered} of its requests were answered"
        );
    }
}

#[tokio::test]
async fn whatever_a_server_of_2026_does_hurts_only_its_call() {
    over_http(Transport::Modern, "modern").await;
}

#[tokio::test]
async fn whatever_a_server_with_sessions_does_hurts_only_its_call() {
    over_http(Transport::Sessions, "legacy").await;
}

#[tokio::test]
async fn whatever_a_server_of_the_old_transport_does_hurts_only_its_call() {
    over_http(Transport::Old, "sse").await;
}

#[tokio::test]
async fn whatever_a_child_process_does_hurts_only_its_call() {
    let mut script = NamedTempFile::new().unwrap();
    script.write_all(CHILD.as_bytes()).unwrap();
    let path = script.path().display();
    let place = format!("command: /bin/sh, args: [\"{path}\"], protocol: legacy");
    commit_all(Transport::Child, &place).await;
}
