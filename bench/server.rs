//! A server that answers as fast as this machine can: no HTTP library, no JSON parser, one write an answer.
//!
//! Understands exactly what the gateway and `load.rs` send. It is no example of a server.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The largest request.
const ROOM: usize = 64 * 1024;

const CALLED: &str = r#"{"resultType":"complete","content":[{"type":"text","text":"a result of some hundred bytes, as of a small search"}]}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}"#;
const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;

/// Starts it, for as long as the program runs.
pub(super) async fn start() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A caller that leaves ends its connection and nothing else.
            tokio::spawn(async move { drop(serve(stream).await) });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
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
        write_answer(&buffer[..end], &mut answer);
        stream.write_all(answer.as_bytes()).await?;
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

/// Where the first whole message ends, requests and answers alike.
pub(super) fn end_of_message(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let length = bytes[..head]
        .split(|byte| *byte == b'\n')
        .find_map(|line| {
            let (name, value) = line.split_at_checked(15)?;
            name.eq_ignore_ascii_case(b"content-length:")
                .then_some(value)
        })
        .and_then(|value| str::from_utf8(value).ok()?.trim().parse::<usize>().ok())
        .unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

fn write_answer(request: &[u8], answer: &mut String) {
    answer.clear();
    let Some(id) = id(request) else {
        answer.push_str("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n");
        return;
    };
    let has = |word: &[u8]| find(request, word).is_some();
    let result = if has(b"\"tools/call\"") {
        CALLED
    } else if has(b"\"server/discover\"") {
        DISCOVERED
    } else {
        INITIALIZED
    };
    let length = r#"{"jsonrpc":"2.0","id":,"result":}"#.len() + id.len() + result.len();
    answer.push_str("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ");
    answer.push_str(&length.to_string());
    answer.push_str("\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":");
    answer.push_str(id);
    answer.push_str(",\"result\":");
    answer.push_str(result);
    answer.push('}');
}

/// The id, which stands before anything that could look like one.
fn id(request: &[u8]) -> Option<&str> {
    let key = b"\"id\":";
    let start = find(request, key)? + key.len();
    let length = request[start..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'}'))?;
    str::from_utf8(&request[start..start + length]).ok()
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}
