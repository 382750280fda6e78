//! Whole gateways, from the first event of their log to the last.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::audit::verify;
use crate::clock::ManualClock;
use crate::config;
use crate::types::{Timestamp, TokenHash};

const TOKEN: &str = "hwd_the_secret_token_of_clawd";

async fn running(folder: &std::path::Path, url: &str) -> Running {
    let hash = TokenHash::of(TOKEN).to_policy_form();
    let policy = format!(
        "servers: {{silent: {{url: \"{url}\", budgets: [2/day]}}}}
agents: {{clawd: {{token_hash: \"{hash}\", servers: [{{server: silent, tools: [a, imagine]}}]}}}}"
    );
    let settings = Settings {
        policy: config::parse("permissions.yaml", &policy, &|_| None).unwrap(),
        shadow: None,
        source: None,
        db: folder.join("hayward.db"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        durability: Durability::Process,
        access: Access::Viewers,
        trusted_proxies: Vec::new(),
        guard: Guard::default(),
        limits: Limits {
            drain: Duration::from_millis(50),
            ..Limits::default()
        },
        environment: BTreeMap::new(),
        clock: Arc::new(ManualClock::at(Timestamp::from_micros(
            1_795_172_400_000_000,
        ))),
        signing_key: None,
        checkpoints: None,
        accept_mismatch: false,
    };
    start(settings).await.unwrap()
}

/// A server of the older era that answers every list with these bytes.
async fn listing(result: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4_096];
            let mut length = 0;
            while !asked[..length].ends_with(b"}") {
                length += stream.read(&mut asked[length..]).await.unwrap();
            }
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            let (_, body) = asked.split_once("\r\n\r\n").unwrap();
            let asked: serde_json::Value = serde_json::from_str(body).unwrap();
            let result = match asked["method"].as_str() {
                Some("initialize") => {
                    r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#
                }
                _ => result,
            };
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#,
                asked["id"]
            );
            let status = match (asked["method"].as_str(), asked.get("id")) {
                (Some("server/discover"), _) => "400 Bad Request",
                (_, None) => "202 Accepted",
                (_, Some(_)) => "200 OK",
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    url
}

async fn events(running: &Running) -> Vec<String> {
    sqlx::query_scalar("SELECT kind FROM event ORDER BY seq")
        .fetch_all(running.readers.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_end_is_in_order_though_a_call_and_a_client_would_never_end() {
    let folder = tempfile::tempdir().unwrap();
    // Connections to it are made by the system; nobody ever takes one.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let running = running(folder.path(), &url).await;

    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"imagine"}}"#;
    let mut agent = TcpStream::connect(running.address).await.unwrap();
    let head = format!(
        "POST /mcp/silent HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: {}\r\n\r\n{call}",
        call.len()
    );
    agent.write_all(head.as_bytes()).await.unwrap();
    let mut half = TcpStream::connect(running.address).await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nho").await.unwrap();
    while events(&running).await.len() < 3 {
        tokio::task::yield_now().await;
    }
    running.stop.cancel();
    running.gateway.drain(Duration::from_millis(50)).await;
    let head = running.stop().await.unwrap();

    let readers = Readers::open(&folder.path().join("hayward.db"))
        .await
        .unwrap();
    let log = verify(&readers, Some(head.hash), |_| ()).await.unwrap();
    assert_eq!((log.faults, log.open_calls), (Vec::new(), 0));
    let ends: Vec<String> = sqlx::query_scalar("SELECT meta FROM event WHERE seq > 3 ORDER BY seq")
        .fetch_all(readers.pool())
        .await
        .unwrap();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert!(ends[0].contains(r#""kind":"failed""#), "{ends:?}");
    assert!(
        ends[0].contains(r#""outcome":"gateway_stopped""#),
        "{ends:?}"
    );
    assert!(ends[1].contains(r#""kind":"stopped""#), "{ends:?}");
}

#[tokio::test]
async fn all_of_the_log_is_in_its_file_when_the_gateway_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let running = running(folder.path(), "http://127.0.0.1:9/mcp").await;
        running.stop().await.unwrap();
        let rest = folder.path().join("hayward.db-wal");
        assert!(!rest.exists(), "whoever copies the file alone loses this");
    }
}

/// Sends a body with these lines of headers besides; the whole answer as text.
async fn post(running: &Running, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_no_request_is_answered_in_the_words_of_its_era() {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path(), "http://127.0.0.1:9/mcp").await;
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let modern = format!("{bearer}mcp-protocol-version: 2026-07-28\r\n");
    let no_params = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":[]}"#;
    let table = [
        (&bearer, "{", r#"{"jsonrpc":"2.0","id":null,"error""#),
        (&modern, "{", r#"{"jsonrpc":"2.0","error""#),
        (&bearer, no_params, r#"{"jsonrpc":"2.0","id":7,"error""#),
        (&modern, no_params, r#"{"jsonrpc":"2.0","id":7,"error""#),
    ];
    for (headers, body, expected) in table {
        let answer = post(&running, "/mcp", headers, body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(expected), "{answer}");
    }
    let stranger = post(&running, "/mcp/%ff", "", "{}").await;
    assert!(stranger.starts_with("HTTP/1.1 401 "), "{stranger}");
    let nowhere = post(&running, "/mcp/%ff", &bearer, "{}").await;
    assert!(nowhere.starts_with("HTTP/1.1 404 "), "{nowhere}");
    assert!(nowhere.contains("there is no server"), "{nowhere}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn no_name_an_agent_makes_up_fills_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let running = running(folder.path(), "http://127.0.0.1:9/mcp").await;
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let long = "x".repeat(100_000);
    let named = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    };
    let prompt = format!(r#"{{"ref":{{"type":"ref/prompt","name":"{long}"}}}}"#);
    for body in [
        named(&long, "{}"),
        named("tools/call", &format!(r#"{{"name":"{long}"}}"#)),
        named("prompts/get", &format!(r#"{{"name":"{long}"}}"#)),
        named("resources/read", &format!(r#"{{"uri":"{long}"}}"#)),
        named("completion/complete", &prompt),
    ] {
        post(&running, "/mcp", &bearer, &body).await;
        post(&running, "/mcp/silent", &bearer, &body).await;
    }
    post(
        &running,
        &format!("/mcp/{}", &long[..50_000]),
        &bearer,
        "{}",
    )
    .await;
    let longest: i64 = sqlx::query_scalar("SELECT max(length(meta)) FROM event")
        .fetch_one(running.readers.pool())
        .await
        .unwrap();
    assert!(longest < 3_000, "{longest} characters");
    let keys: Vec<String> = sqlx::query_scalar("SELECT key FROM budget")
        .fetch_all(running.readers.pool())
        .await
        .unwrap();
    assert_eq!(keys, [] as [&str; 0], "no budget was asked for");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_list_that_cannot_be_read_cannot_be_filtered_and_shows_nothing() {
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    for result in [
        r#"{"tools":[{"name":"a"}],"tools":[{"name":"hidden_one"}]}"#,
        r#"{"tools":{"0":{"name":"hidden_one"}}}"#,
        r#"[{"name":"hidden_one"}]"#,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let running = running(folder.path(), &listing(result).await).await;
        for path in ["/mcp", "/mcp/silent"] {
            let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
            let answer = post(&running, path, &bearer, list).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(!answer.contains("hidden_one"), "{answer}");
        }
        assert!(events(&running).await.contains(&"settled".into()));
        running.stop().await.unwrap();
    }
}
