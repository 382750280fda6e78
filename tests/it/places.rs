//! From where an agent may ask, and how many of its calls may run at once.

use serde_json::json;

use super::support::{FakeUpstream, Sending, World, find};

fn rules(of_agent: &str, of_server: &str) -> String {
    format!(
        "servers: {{images: {{url: \"@images\"{of_server}}}}}
agents:
  clawd: {{token_hash: \"@clawd\", servers: [\"*\"]{of_agent}}}
  other: {{token_hash: \"@other\", servers: [\"*\"]}}"
    )
}

#[tokio::test]
async fn an_agent_is_turned_away_from_an_address_that_is_not_among_its_own() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(&rules(", from: [10.20.0.0/16]", "")).await;
    let clawd = world.agent("clawd");
    let call = json!({"name": "imagine", "arguments": {}});
    let opening = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let ways = [
        clawd.post("/mcp", super::support::rpc("tools/call", &call)),
        clawd.post("/mcp/images", super::support::rpc("tools/list", &json!({}))),
        clawd.post("/mcp", super::support::rpc("initialize", &opening)),
        clawd.post("/mcp", super::support::rpc("ping", &json!({}))),
        clawd.modern("/mcp", "tools/call", call.clone()),
        clawd.get("/mcp").and("accept", "text/event-stream"),
        clawd.get("/sse").and("accept", "text/event-stream"),
        clawd.post("/messages?session=x", "{}"),
        // Whoever can send a request can send any header.
        clawd
            .post("/mcp", super::support::rpc("ping", &json!({})))
            .header("x-forwarded-for", "10.20.0.7"),
    ];
    let number = ways.len();
    for (at, way) in ways.into_iter().enumerate() {
        let reply = way.send().await;
        assert_eq!(reply.status, 403, "{at}: {}", reply.body);
        assert!(
            reply
                .body
                .contains("agent `clawd` may not be used from 127.0.0.1"),
            "{at}: {}",
            reply.body
        );
    }
    assert_eq!(
        world.agent("other").call("imagine", json!({})).await["result"]["isError"],
        json!(null)
    );
    assert_eq!(world.server("images").calls(), 1);
    let events = world.events().await;
    let refused = find(&events, "denied");
    assert_eq!(refused.len(), number);
    assert!(
        refused
            .iter()
            .all(|event| event.reason.as_deref() == Some("address"))
    );
    world.stop().await;
}

#[tokio::test]
async fn an_agent_is_served_at_its_own_address_and_an_empty_list_has_none() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let mut world = builder
        .start(&rules(", from: [10.0.0.0/8, 127.0.0.0/8]", ""))
        .await;
    let answer = world.agent("clawd").call("imagine", json!({})).await;
    assert!(
        answer["result"]["_meta"]["dev.hayward/refusal"].is_null(),
        "{answer}"
    );
    world.restart(&rules(", from: []", "")).await;
    let reply = world
        .agent("clawd")
        .post("/mcp", super::support::rpc("ping", &json!({})))
        .send()
        .await;
    assert_eq!(reply.status, 403);
    world.stop().await;
}

fn sending(world: &World, agent: &str) -> Sending {
    let call = json!({"name": "slow", "arguments": {}});
    world
        .agent(agent)
        .post("/mcp", super::support::rpc("tools/call", &call))
}

/// Starts a call and returns when its server has it.
async fn running(
    world: &World,
    agent: &str,
    nth: usize,
) -> tokio::task::JoinHandle<super::support::Reply> {
    let call = tokio::spawn(sending(world, agent).send());
    world.server("images").until_calls(nth).await;
    call
}

#[tokio::test]
async fn no_more_calls_of_an_agent_run_at_once_than_its_entry_says() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(&rules(", max_concurrent: 2", "")).await;
    let first = running(&world, "clawd", 1).await;
    let second = running(&world, "clawd", 2).await;
    let third = sending(&world, "clawd").send().await.json();
    let refusal = &third["result"]["_meta"]["dev.hayward/refusal"];
    assert_eq!(refusal["reason"], "concurrency");
    assert_eq!(refusal["limit"], 2);
    assert_eq!(refusal["name"], "agents.clawd.max_concurrent");
    // Lists run nothing, and others have their own count.
    let list = world
        .agent("clawd")
        .bare("/mcp/hayward", "tools/list", json!({}))
        .await;
    assert!(list["result"]["tools"].is_array(), "{list}");
    let of_other = running(&world, "other", 3).await;
    world.server("images").release(3);
    for call in [first, second, of_other] {
        assert_eq!(call.await.unwrap().status, 200);
    }
    let fourth = running(&world, "clawd", 4).await;
    world.server("images").release(1);
    let fourth = fourth.await.unwrap().json();
    assert!(
        fourth["result"]["_meta"]["dev.hayward/refusal"].is_null(),
        "{fourth}"
    );
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].reason.as_deref(), Some("concurrency"));
    assert_eq!(denied[0].text("rule"), "agents.clawd.max_concurrent");
    world.stop().await;
}

#[tokio::test]
async fn a_server_is_given_no_more_calls_at_once_than_its_entry_says_whoever_calls() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder
        .start(&rules("", ", max_concurrent: 1, budgets: [5/day]"))
        .await;
    let first = running(&world, "clawd", 1).await;
    let refused = sending(&world, "other").send().await.json();
    let refusal = &refused["result"]["_meta"]["dev.hayward/refusal"];
    assert_eq!(refusal["reason"], "concurrency");
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("no more than 1 calls may be in flight at once"),
        "{text}"
    );
    world.server("images").release(1);
    assert_eq!(first.await.unwrap().status, 200);
    let second = running(&world, "other", 2).await;
    world.server("images").release(1);
    assert_eq!(second.await.unwrap().status, 200);
    // What was refused cost nothing.
    assert_eq!(world.used("servers.images").await, 2);
    world.stop().await;
}

#[tokio::test]
async fn a_call_whose_agent_left_gives_its_room_back_when_it_is_closed() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(&rules(", max_concurrent: 1", "")).await;
    let left = running(&world, "clawd", 1).await;
    left.abort();
    assert!(left.await.is_err());
    // It goes on at its server, and counts.
    let refused = sending(&world, "clawd").send().await.json();
    assert_eq!(
        refused["result"]["_meta"]["dev.hayward/refusal"]["reason"],
        "concurrency"
    );
    world.server("images").release(1);
    super::support::soon("the end of the call", async {
        while find(&world.events().await, "settled").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let next = running(&world, "clawd", 2).await;
    world.server("images").release(1);
    assert_eq!(next.await.unwrap().status, 200);
    world.stop().await;
}
