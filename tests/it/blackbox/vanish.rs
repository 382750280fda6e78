//! Clients that connect, call once and are never heard of again, a third of them in the middle of their call: what
//! they held is given back.
//!
//! What is kept until an hour of silence has passed (sessions that nobody ended) is kept up to a number; the first
//! round reaches it. `tests/it/sessions.rs` moves the clock for the rest.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::agent::Agent;
use super::gateway::{Gateway, PATIENCE, Site};
use super::truth::Truth;

const TOKEN: &str = "a-token-of-many";
/// Clients of one round, and how many of them are there at once.
const CLIENTS: usize = 2_000;
const AT_ONCE: usize = 40;
/// How much more memory the second round may leave behind than the first: what allocators keep, and no more.
const MARGIN_KIB: u64 = 16 * 1024;

/// How a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bare,
    /// Opens a session, and a stream in it, and ends neither.
    Session,
    /// Opens a session and ends it.
    Deleted,
    Modern,
    /// Comes on the transport of two endpoints.
    Old,
}

/// Of eight clients. Half of all leave a session: as many as one agent may have.
const KINDS: [Kind; 8] = [
    Kind::Bare,
    Kind::Session,
    Kind::Session,
    Kind::Deleted,
    Kind::Modern,
    Kind::Session,
    Kind::Session,
    Kind::Old,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_leave_nothing_behind() {
    let truth = Truth::start().await;
    let site = Site::new(&rules(&truth));
    let gateway = site.serve(&[]).await;
    let pid = gateway.pid();
    // Everything is open that stays open.
    for number in 0..KINDS.len() {
        visit(number, "warm", Arc::clone(&truth), gateway.address).await;
    }
    let before = settled(pid, None).await;

    let first = round("first", &truth, &gateway).await;
    let after_first = settled(pid, Some(before.clone())).await;
    let second = round("second", &truth, &gateway).await;
    let after_second = settled(pid, Some(before)).await;
    assert_eq!(first, second, "both rounds were the same");
    assert!(
        after_second.memory_kib <= after_first.memory_kib + MARGIN_KIB,
        "{after_second:?} after {after_first:?}"
    );

    gateway.stop().await.says(0, &["stopped"]);
    let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
    verified.says(0, &[]);
}

fn rules(truth: &Truth) -> String {
    let (url, hash) = (truth.url(), Agent::new(TOKEN).token_hash());
    let program = env!("CARGO_BIN_EXE_hayward");
    format!(
        "defaults: {{timezone: UTC, timeout: 50s}}
servers:
  truth: {{url: '{url}'}}
  notes: {{command: '{program}', args: [example-server, notes]}}
agents:
  many: {{token_hash: '{hash}', servers: ['*']}}
"
    )
}

/// Lets all clients of a round come and go; yields how often a tool was executed for them.
async fn round(name: &'static str, truth: &Arc<Truth>, gateway: &Gateway) -> usize {
    let before = truth.executions().len();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let place = Arc::clone(&room).acquire_owned().await.unwrap();
        let (truth, address) = (Arc::clone(truth), gateway.address);
        clients.spawn(async move {
            visit(number, name, truth, address).await;
            drop(place);
        });
    }
    clients.join_all().await;
    truth.executions().len() - before
}

/// One client, from its first byte to the moment it vanishes.
async fn visit(number: usize, round: &str, truth: Arc<Truth>, address: std::net::SocketAddr) {
    let kind = KINDS[number % KINDS.len()];
    let tag = format!("{round}-{number}");
    let leaves_early = number.is_multiple_of(3);
    let call = match (leaves_early, number % 5) {
        // Leaving ends this call, which nobody else will; the others are finished all the same.
        (true, _) if kind == Kind::Modern => {
            json!({"name": "truth__never", "arguments": {"tag": tag}})
        }
        (true, _) => json!({"name": "truth__wait", "arguments": {"tag": tag}}),
        (false, 0) => json!({"name": "notes__read", "arguments": {"id": "mcp"}}),
        (false, _) => json!({"name": "truth__echo", "arguments": {"tag": tag}}),
    };
    let mut line = Line::open(address).await;
    let mut stream = None;
    match kind {
        Kind::Bare => line.post("/mcp", "", "tools/call", call).await,
        Kind::Modern => line.modern(call).await,
        Kind::Session | Kind::Deleted => {
            let session = line.open_session().await;
            let header = format!(
                "Mcp-Session-Id: {session}\r\nAccept: application/json, text/event-stream\r\n"
            );
            if kind == Kind::Deleted {
                line.send("DELETE", "/mcp", &header, "").await;
                line.until("HTTP/1.1 20").await;
                return;
            }
            let mut listening = Line::open(address).await;
            listening.send("GET", "/mcp", &header, "").await;
            listening.until("\r\n\r\n").await;
            stream = Some(listening);
            line.post("/mcp", &header, "tools/call", call).await;
        }
        Kind::Old => {
            let mut listening = Line::open(address).await;
            listening
                .send("GET", "/sse", "Accept: text/event-stream\r\n", "")
                .await;
            let path = listening.until_between("data: ", "\n").await;
            let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {},
                "clientInfo": {"name": "vanishing", "version": "1"}});
            line.post(&path, "", "initialize", hello).await;
            listening.until("protocolVersion").await;
            line.post(&path, "", "tools/call", call).await;
            stream = Some(listening);
        }
    }
    if leaves_early {
        truth.executed(&tag).await;
        drop((line, stream));
        if kind != Kind::Modern {
            truth.let_go();
        }
        return;
    }
    match (&mut stream, kind) {
        (Some(listening), Kind::Old) => listening.until("\"content\"").await,
        _ => line.until("\"content\"").await,
    };
}

/// A connection of a client.
struct Line {
    stream: TcpStream,
    heard: String,
}

impl Line {
    async fn open(address: std::net::SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            heard: String::new(),
        }
    }

    async fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.heard.clear();
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn post(&mut self, path: &str, headers: &str, method: &str, params: serde_json::Value) {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.send("POST", path, headers, &body.to_string()).await;
    }

    async fn modern(&mut self, mut call: serde_json::Value) {
        let name = call["name"].as_str().unwrap().to_owned();
        call["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let headers = format!(
            "Accept: application/json, text/event-stream\r\nMcp-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: {name}\r\n"
        );
        self.post("/mcp", &headers, "tools/call", call).await;
    }

    async fn open_session(&mut self) -> String {
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "vanishing", "version": "1"}});
        self.post("/mcp", "", "initialize", hello).await;
        let session = self.until_between("mcp-session-id: ", "\r\n").await;
        self.until("\"protocolVersion\"").await;
        session
    }

    /// Reads until these words came.
    async fn until(&mut self, words: &str) {
        let mut chunk = [0; 4_096];
        let reading = async {
            while !self.heard.contains(words) {
                let read = self.stream.read(&mut chunk).await.unwrap();
                assert!(read > 0, "no `{words}` before the end of {}", self.heard);
                self.heard
                    .push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        };
        let read = timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "no `{words}` in {}", self.heard);
    }

    async fn until_between(&mut self, start: &str, end: &str) -> String {
        self.until(start).await;
        let at = self.heard.find(start).unwrap() + start.len();
        while !self.heard[at..].contains(end) {
            let mut byte = [0; 1];
            self.stream.read_exact(&mut byte).await.unwrap();
            self.heard.push(char::from(byte[0]));
        }
        let rest = &self.heard[at..];
        rest[..rest.find(end).unwrap()].to_owned()
    }
}

/// What a process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    files: usize,
    children: usize,
    memory_kib: u64,
}

fn held(pid: u32) -> Held {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|memory| memory.split_whitespace().next());
    let parent = format!("PPid:\t{pid}\n");
    let is_child = |process: &fs::DirEntry| {
        // A process may end while it is looked at.
        let status = fs::read_to_string(process.path().join("status"));
        status.is_ok_and(|status| status.contains(&parent))
    };
    Held {
        files: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        children: fs::read_dir("/proc")
            .unwrap()
            .filter(|process| process.as_ref().is_ok_and(is_child))
            .count(),
        memory_kib: memory.unwrap().parse().unwrap(),
    }
}

/// Waits until it holds no more files and processes than before, or for the first time until no more are given back.
async fn settled(pid: u32, before: Option<Held>) -> Held {
    let mut last = held(pid);
    let mut same = 0;
    let waiting = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            let now = held(pid);
            same = if (now.files, now.children) == (last.files, last.children) {
                same + 1
            } else {
                0
            };
            last = now;
            let is_settled = match &before {
                Some(before) => last.files <= before.files && last.children <= before.children,
                // Longer than connections to servers are kept.
                None => same > 80,
            };
            if is_settled {
                return;
            }
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{last:?} is more than {before:?}");
    last
}
