//! A server on HTTP whose tools are misdeeds, on any transport.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::Transport;

type Body = BoxBody<Bytes, Infallible>;

/// Far more than anything that is read of a server, in bytes.
const WITHOUT_END: usize = 400 * 1024 * 1024;
/// Requests of a server's own during one call.
const REQUESTS: usize = 1_000;

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
pub(super) struct Hostile {
    transport: Transport,
    address: SocketAddr,
    /// Bytes that were taken of what it says, by misdeed: the most of one call.
    pub(super) taken: Mutex<HashMap<String, usize>>,
    /// Its own requests that were answered.
    pub(super) answered: AtomicUsize,
    /// The streams of the old transport, by the session in their URL.
    streams: Mutex<Vec<Option<mpsc::Sender<Bytes>>>>,
}

impl Hostile {
    pub(super) async fn start(transport: Transport) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hostile = Arc::new(Self {
            transport,
            address: listener.local_addr().unwrap(),
            taken: Mutex::default(),
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

    pub(super) fn url(&self) -> String {
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
