//! Tokens and secrets of servers stay where they belong.

use http_body_util::Full;
use hyper::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::agent::{Agent, Answer};
use super::gateway::Site;
use super::truth::Truth;

const TOKEN: &str = "canary-token-of-the-agent";
const STRAY: &str = "canary-token-of-nobody";
const HEADER: &str = "canary-secret-in-a-header";
const QUERY: &str = "canary-secret-in-a-url";

#[tokio::test]
async fn neither_tokens_nor_secrets_of_servers_are_told_to_anyone() {
    let truth = Truth::start().await;
    let agent = Agent::new(TOKEN);
    let site = Site::new(&rules(&truth, &agent, &babbler().await));
    let variables = [("HEADER", HEADER), ("QUERY", QUERY)];
    let gateway = site.serve_with(&["--log-level", "trace"], &variables).await;
    let url = gateway.url();

    let mut answers: Vec<Answer> = Vec::new();
    for (server, tool) in [
        ("truth", "echo"),
        ("truth", "echo"),
        ("closed", "echo"),
        ("babbler", "echo"),
        ("absent", "echo"),
    ] {
        let answer = agent.call(&url, server, tool, json!({"tag": "t"})).await;
        answers.push(answer.unwrap());
    }
    let stray = Agent::new(STRAY);
    answers.push(stray.call(&url, "truth", "echo", json!({})).await.unwrap());
    for request in odd_requests(&url) {
        answers.push(agent.send(request).await.unwrap());
    }
    gateway.terminate().await;
    let ended = gateway.ended().await;
    ended.says(0, &[]);

    assert!(answers[0].is_done("t"), "{:?}", answers[0]);
    let sent = truth.authorizations();
    assert!(sent.iter().all(|sent| *sent == format!("Bearer {HEADER}")) && !sent.is_empty());
    let mut told = vec![ended.out, ended.err];
    told.extend(answers.iter().map(|answer| answer.body.to_string()));
    for name in ["hayward.db", "hayward.db-wal", "hayward.db.lock"] {
        let bytes = std::fs::read(site.path(name)).unwrap_or_default();
        told.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    for canary in [TOKEN, STRAY, HEADER, QUERY] {
        for text in &told {
            let at = text.find(canary);
            let around = at.map(|at| &text[at.saturating_sub(200)..at]);
            assert_eq!(around, None, "{canary} was told");
        }
    }
}

fn rules(truth: &Truth, agent: &Agent, babbler: &str) -> String {
    let (url, hash) = (truth.url(), agent.token_hash());
    format!(
        "defaults: {{timezone: UTC, timeout: 5s}}
servers:
  truth: {{url: '{url}?key=${{QUERY}}', headers: {{Authorization: 'Bearer ${{HEADER}}'}}}}
  closed: {{url: 'http://127.0.0.1:1/mcp?key=${{QUERY}}', headers: {{Authorization: 'Bearer ${{HEADER}}'}}}}
  babbler: {{url: 'http://{babbler}/mcp?key=${{QUERY}}', headers: {{Authorization: 'Bearer ${{HEADER}}'}}}}
agents:
  a: {{token_hash: '{hash}', servers: ['*']}}
"
    )
}

/// Requests that are refused, with the token where it does not belong.
fn odd_requests(url: &str) -> Vec<Request<Full<bytes::Bytes>>> {
    let post = |path: &str| Request::post(format!("{url}{path}"));
    let json = |path: &str| post(path).header("content-type", "application/json");
    let bearer = format!("Bearer {TOKEN}");
    vec![
        post("/mcp").body(Full::default()).unwrap(),
        json("/mcp")
            .header("authorization", &bearer)
            .header("authorization", &bearer)
            .body(Full::default())
            .unwrap(),
        json("/mcp")
            .header("authorization", format!("Basic {TOKEN}"))
            .body(Full::default())
            .unwrap(),
        json("/mcp")
            .header("authorization", &bearer)
            .body("not json".into())
            .unwrap(),
        json("/nowhere")
            .header("authorization", &bearer)
            .body(Full::default())
            .unwrap(),
    ]
}

/// A server that says something other than HTTP.
async fn babbler() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4_096];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            assert!(read > 0);
            drop(stream.write_all(b"EHLO this is no HTTP\r\n\r\n").await);
        }
    });
    address
}
