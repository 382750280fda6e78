//! A server that answers as fast as this machine can: no HTTP library, no JSON parser, one write an answer.
//!
//! Understands exactly what the gateway and `target.rs` send. It is no example of a server.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::wire::{end_of_message, find, value_after};

/// The largest request.
const ROOM: usize = 64 * 1024;

/// Text of a large result, in bytes.
const LARGE: usize = 1_000_000;

/// How long a slow answer takes.
const SLOW: Duration = Duration::from_secs(2);

/// How often a stream says how far it is before the result.
pub(super) const PROGRESS: usize = 4;

const CALLED: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"a result of some hundred bytes, as of a small search"}]}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#;
const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;

/// How a server answers a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// At once, with some hundred bytes.
    Small,
    /// At once, with a megabyte.
    Large,
    /// With events of progress and the result after them.
    Stream,
    /// After two seconds.
    Slow,
}

/// Starts one, for as long as the program runs.
pub(super) async fn start(manner: Manner) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let result: Arc<str> = match manner {
        Manner::Small | Manner::Stream | Manner::Slow => CALLED.into(),
        Manner::Large => {
            let text = "a megabyte of words ".repeat(LARGE / 20);
            CALLED
                .replace("a result", &format!("{text} a result"))
                .into()
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let result = Arc::clone(&result);
            // A caller that leaves ends its connection and nothing else.
            tokio::spawn(async move { drop(serve(stream, manner, &result).await) });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, manner: Manner, result: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ROOM];
    let mut filled = 0;
    let mut answer = String::with_capacity(1_024);
    loop {
        let end = loop {
            if let Some(end) = end_of_message(&buffer[..filled]) {
                break end;
            }
            let read = stream.read(&mut buffer[filled..]).await?;
            if read == 0 {
                return Ok(());
            }
            filled += read;
        };
        let request = &buffer[..end];
        let is_call = find(request, b"\"tools/call\"").is_some();
        if is_call && manner == Manner::Slow {
            tokio::time::sleep(SLOW).await;
        }
        if is_call && manner == Manner::Stream {
            write_events(&mut stream, request).await?;
        } else {
            write_answer(request, result, &mut answer);
            stream.write_all(answer.as_bytes()).await?;
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// Events in pieces of their own, as a server sends them that says each when it is there.
async fn write_events(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let token = value_after(request, "\"progressToken\":").unwrap_or("0");
    for progress in 1..=PROGRESS {
        let event = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":\
             {{\"progressToken\":{token},\"progress\":{progress}}}}}\n\n"
        );
        stream.write_all(piece(&event).as_bytes()).await?;
    }
    let id = value_after(request, "\"id\":").unwrap_or("0");
    let event = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{CALLED}}}\n\n");
    let last = format!("{}0\r\n\r\n", piece(&event));
    stream.write_all(last.as_bytes()).await
}

fn piece(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn write_answer(request: &[u8], called: &str, answer: &mut String) {
    answer.clear();
    // The id stands before anything that could look like one.
    let Some(id) = value_after(request, "\"id\":") else {
        answer.push_str("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        return;
    };
    let result = result(request, called);
    let length = r#"{"jsonrpc":"2.0","id":,"result":}"#.len() + id.len() + result.len();
    answer.push_str("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ");
    answer.push_str(&length.to_string());
    answer.push_str("\r\n\r\n");
    push_message(answer, id, result);
}

fn push_message(answer: &mut String, id: &str, result: &str) {
    answer.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
    answer.push_str(id);
    answer.push_str(",\"result\":");
    answer.push_str(result);
    answer.push('}');
}

fn result<'a>(request: &[u8], called: &'a str) -> &'a str {
    let has = |word: &[u8]| find(request, word).is_some();
    if has(b"\"tools/call\"") {
        called
    } else if has(b"\"server/discover\"") {
        DISCOVERED
    } else {
        INITIALIZED
    }
}

/// The same as a child process: a line in, a line out, until standard input ends.
pub(super) fn serve_lines() -> std::io::Result<()> {
    let mut lines = BufReader::new(std::io::stdin().lock());
    let mut out = std::io::stdout().lock();
    let (mut line, mut answer) = (Vec::new(), String::new());
    while lines.read_until(b'\n', &mut line)? > 0 {
        if let Some(id) = value_after(&line, "\"id\":") {
            answer.clear();
            push_message(&mut answer, id, result(&line, CALLED));
            answer.push('\n');
            out.write_all(answer.as_bytes())?;
            out.flush()?;
        }
        line.clear();
    }
    Ok(())
}
