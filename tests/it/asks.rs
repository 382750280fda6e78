//! Servers that ask before they answer, and the transport of two endpoints: each question reaches the agent
//! whose call it is, in the way its era has for it, and nobody else.

use serde_json::{Value, json};

use super::support::{Client, FakeUpstream, Sending, World, find, rpc};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 5/day, each: agent}]}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  other: {token_hash: "@other", servers: [images]}
"#;

const PATH: &str = "/mcp/images";

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::modern())
        .start(POLICY)
        .await
}

fn elicit() -> Value {
    json!({"name": "imagine", "arguments": {"do": "elicit"}})
}

/// A call of a 2026-07-28 client that can be asked something.
fn call(agent: &Client, params: Value) -> Sending {
    agent.modern_that_can(PATH, "tools/call", params, json!({"elicitation": {}}))
}

async fn first_round(world: &World) -> String {
    let clawd = world.agent("clawd");
    let asked = call(&clawd, elicit()).send().await;
    let result = &asked.json()["result"];
    assert_eq!(result["resultType"], "input_required", "{asked:?}");
    assert_eq!(
        result["inputRequests"]["name"]["params"]["message"],
        "your name?"
    );
    result["requestState"].as_str().unwrap().to_owned()
}

fn with_answer(state: &str) -> Value {
    let mut params = elicit();
    params["requestState"] = state.into();
    params["inputResponses"] = json!({"name": {"action": "accept", "content": {"name": "Ada"}}});
    params
}

#[tokio::test]
async fn a_call_in_rounds_is_paid_once_and_its_state_is_sealed() {
    let world = world().await;
    let state = first_round(&world).await;
    assert!(!state.contains("state-of-the-server"));
    let clawd = world.agent("clawd");
    let done = call(&clawd, with_answer(&state)).send().await.json();
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    let last = world.server("images").requests().pop().unwrap();
    assert_eq!(last.param("requestState"), "state-of-the-server");
    let key = "servers.images calls/day@UTC each agent=clawd";
    assert_eq!(world.used(key).await, 1);

    // The same state once more is a new call: one answer must not buy any number of them.
    call(&clawd, with_answer(&state)).send().await;
    assert_eq!(world.used(key).await, 2);
    let events = world.events().await;
    let mut admitted = find(&events, "admitted");
    admitted.retain(|event| event.text("method") == "tools/call");
    assert_eq!(admitted[1].text("continues"), admitted[0].text("call"));
    assert_eq!(admitted[2].text("continues"), "");
    world.stop().await;
}

#[tokio::test]
async fn a_state_is_nothing_to_another_agent_or_for_another_request() {
    let world = world().await;
    let state = first_round(&world).await;
    let mut elsewhere = with_answer(&state);
    elsewhere["arguments"]["prompt"] = "something else".into();
    let mut changed = state.clone();
    let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
    changed.insert(0, last);
    for (agent, params) in [
        ("other", with_answer(&state)),
        ("clawd", elsewhere),
        ("clawd", with_answer(&changed)),
        ("clawd", with_answer("")),
    ] {
        let refused = call(&world.agent(agent), params).send().await;
        assert_eq!(refused.code(), (400, -32602), "{refused:?}");
    }
    assert_eq!(
        world.server("images").calls(),
        1,
        "none of them reached the server"
    );
    world.stop().await;
}

#[tokio::test]
async fn an_agent_with_a_session_is_asked_on_its_stream() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let clawd = world
        .agent("clawd")
        .session_that_can(PATH, "2025-11-25", can)
        .await;
    let mut stream = clawd.post(rpc("tools/call", &elicit())).open().await;
    let question = stream.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["message"], "your name?");

    let answer =
        json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}).to_string();
    let stranger = world.agent("other").session(PATH, "2025-11-25").await;
    assert_eq!(
        stranger.post(answer.clone()).send().await.status,
        400,
        "not asked of it"
    );
    assert_eq!(clawd.post(answer.clone()).send().await.status, 202);
    let done = stream.next().await.unwrap();
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    assert_eq!(clawd.post(answer).send().await.status, 400, "answered once");

    let last = world.server("images").requests().pop().unwrap();
    assert_eq!(last.param("inputResponses")["name"]["action"], "accept");
    assert_eq!(
        world
            .used("servers.images calls/day@UTC each agent=clawd")
            .await,
        1
    );
    world.stop().await;
}

#[tokio::test]
async fn an_agent_that_cannot_be_asked_is_told_so_at_once() {
    let world = world().await;
    let refused = world
        .agent("clawd")
        .bare(PATH, "tools/call", elicit())
        .await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(
        refused["result"]["_meta"]["dev.hayward/refusal"]["reason"],
        "needs_input"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_old_transport_carries_everything_on_one_stream() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut stream = clawd.get("/sse/images").open().await;
    let address = stream.next_data().await.unwrap();
    assert!(address.starts_with("/messages?session="), "{address}");
    let post = async |body: String| clawd.post(&address, body).send().await.status;

    let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "old", "version": "1"}});
    assert_eq!(post(rpc("initialize", &hello)).await, 202);
    assert_eq!(
        stream.next().await.unwrap()["result"]["protocolVersion"],
        "2024-11-05"
    );
    assert_eq!(post(rpc("tools/list", &json!({}))).await, 202);
    let listed = stream.next().await.unwrap();
    assert!(listed["result"]["tools"].is_array(), "{listed}");

    assert_eq!(post(rpc("tools/call", &elicit())).await, 202);
    let question = stream.next().await.unwrap();
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(post(answer.to_string()).await, 202);
    assert_eq!(
        stream.next().await.unwrap()["result"]["content"][0]["text"],
        "done"
    );

    let foreign = world
        .agent("other")
        .post(&address, rpc("ping", &json!({})))
        .send()
        .await;
    assert_eq!(foreign.status, 404, "{foreign:?}");
    drop(stream);
    world.stop().await;
}
