//! Callers that each keep one connection busy, and what they saw.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::server::end_of_message;

/// The token of the one agent.
pub(super) const TOKEN: &str = "a-token-of-a-measurement";

/// About a hundred bytes of arguments.
const BODY: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"how many images may the team make before the month ends","limit":10,"lang":"en"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#;

/// Calls before the measurement, one connection each: handshakes and caches.
const WARM_UP: usize = 20;

/// The longest one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Whom to call.
    pub(super) address: SocketAddr,
    /// How many callers.
    pub(super) connections: usize,
    /// For how long.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Calls a second.
    pub(super) rate: f64,
    /// Half of the calls were answered in this time.
    pub(super) p50: Duration,
    /// 99 of 100 were.
    pub(super) p99: Duration,
    /// Calls.
    pub(super) calls: usize,
    /// Processor time of the gateway for all of them.
    pub(super) cpu: Option<Duration>,
}

impl Load {
    /// Calls until the time is over.
    pub(super) async fn run(self, path: &str) -> anyhow::Result<Measured> {
        let request = self.request(path);
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let mut caller = Caller::connect(self.address).await?;
            for _ in 0..WARM_UP {
                caller.call(request.as_bytes()).await?;
            }
            callers.push(caller);
        }
        let started = Instant::now();
        let end = started + self.time;
        let mut tasks = JoinSet::new();
        for mut caller in callers {
            let request = request.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::with_capacity(1 << 16);
                let mut now = Instant::now();
                while now < end {
                    caller.call(request.as_bytes()).await?;
                    let after = Instant::now();
                    latencies.push(after - now);
                    now = after;
                }
                anyhow::Ok(latencies)
            });
        }
        let mut latencies: Vec<Duration> = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done??);
        }
        let elapsed = started.elapsed();
        latencies.sort_unstable();
        ensure!(!latencies.is_empty(), "no call was answered");
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        Ok(Measured {
            rate: f64::from(u32::try_from(latencies.len())?) / elapsed.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            calls: latencies.len(),
            cpu: None,
        })
    }

    fn request(&self, path: &str) -> String {
        let (address, length) = (self.address, BODY.len());
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: search\r\n\
             content-length: {length}\r\n\r\n{BODY}"
        )
    }
}

struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 16 * 1_024],
        })
    }

    /// One call; an error unless the tool's result came back.
    async fn call(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        let answer = loop {
            let reading = self.stream.read(&mut self.buffer[filled..]);
            let read = timeout(PATIENCE, reading).await??;
            ensure!(read > 0, "the connection was closed");
            filled += read;
            if let Some(end) = end_of_message(&self.buffer[..filled]) {
                break &self.buffer[..end];
            }
        };
        let is_result = answer.starts_with(b"HTTP/1.1 200") && has_result(answer);
        ensure!(is_result, "{}", String::from_utf8_lossy(answer));
        Ok(())
    }
}

/// Whether the result of the server's tool is in an answer: at its end, or before what the gateway says of budgets.
fn has_result(answer: &[u8]) -> bool {
    const FIGURES: &[u8] = b"search\"}],\"_meta\":{\"dev.hayward/budget\":";
    answer.ends_with(b"search\"}]}}") || answer.windows(FIGURES.len()).any(|part| part == FIGURES)
}
