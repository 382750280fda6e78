//! A server that speaks both eras: which one each agent gets, and what that leaves open at the server.

use serde_json::json;

use super::support::{FakeUpstream, World};

const POLICY: &str = r#"
servers:
  images: {url: "@images"}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
"#;

const PATH: &str = "/mcp/images";

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::both())
        .start(POLICY)
        .await
}

#[tokio::test]
async fn each_agent_is_served_in_its_own_era() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let call = json!({"name": "imagine", "arguments": {}});
    let answer = clawd.modern(PATH, "tools/call", call.clone()).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = clawd.bare(PATH, "tools/call", call.clone()).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    assert_eq!(world.server("images").sessions(), 0);

    let session = clawd.session(PATH, "2025-11-25").await;
    assert!(
        session.opened["result"]["capabilities"]["logging"].is_object(),
        "what the server says of itself in that era: {}",
        session.opened
    );
    let answer = session.ask("tools/call", call).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");

    let requests = world.server("images").asked("tools/call");
    let eras: Vec<_> = requests
        .iter()
        .map(|seen| {
            let modern = seen.header("mcp-protocol-version") == Some("2026-07-28");
            (modern, seen.header("mcp-session-id").is_some())
        })
        .collect();
    assert_eq!(eras, [(true, false), (true, false), (false, true)]);
    world.stop().await;
}

#[tokio::test]
async fn a_session_of_an_agent_is_one_session_at_the_server_and_ends_with_it() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, "2025-06-18").await;
    for _ in 0..2 {
        session.ask("tools/list", json!({})).await;
    }
    let server = world.server("images");
    // One was opened to find out, and is ended without anyone waiting.
    server.until_sessions(1).await;
    let requests = server.requests();
    assert_eq!(
        requests[0].header("mcp-session-id"),
        requests[1].header("mcp-session-id")
    );
    assert_eq!(session.request("DELETE").send().await.status, 200);
    server.until_sessions(0).await;
    world.stop().await;
}
