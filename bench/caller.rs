//! One connection that is kept, and what comes back on it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wire::{end_of_message, find};

/// The longest one answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The end of the tool's result, wherever the server said it.
const RESULT: &[u8] = b"search\"}]";

/// What the gateway adds after the result is no longer than this, in bytes.
const ADDED: usize = 2_048;

/// The first room for an answer, in bytes; it grows with the answers.
const ROOM: usize = 4 * 1_024;

/// A connection that is used again and again.
#[derive(Debug)]
pub(super) struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    /// Opens one.
    pub(super) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; ROOM],
        })
    }

    /// Sends a request and returns the whole answer to it.
    pub(super) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<&[u8]> {
        timeout(PATIENCE, self.stream.write_all(request)).await??;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let reading = self.stream.read(&mut self.buffer[filled..]);
            let read = timeout(PATIENCE, reading).await??;
            ensure!(read > 0, "the connection was closed");
            filled += read;
            if let Some(end) = end_of_message(&self.buffer[..filled]) {
                return Ok(&self.buffer[..end]);
            }
        }
    }

    /// One call; an error unless the tool's result came back.
    pub(super) async fn call(&mut self, request: &[u8]) -> anyhow::Result<()> {
        let answer = self.exchange(request).await?;
        ensure!(is_result(answer), "{}", String::from_utf8_lossy(answer));
        Ok(())
    }
}

/// Whether the result of the server's tool is in an answer: at its end, or before what the gateway says of budgets.
pub(super) fn is_result(answer: &[u8]) -> bool {
    let end = &answer[answer.len().saturating_sub(ADDED)..];
    answer.starts_with(b"HTTP/1.1 200") && find(end, RESULT).is_some()
}
