//! Grants that ask something of the arguments of a call: what passes is forwarded, what does not is explained.

use serde_json::json;

use super::support::{FakeUpstream, World, find};

const RULES: &str = r#"
servers: {images: {url: "@images"}}
agents:
  clawd:
    token_hash: "@clawd"
    servers:
      - {server: images, tools: [imagine], when: {count: {max: 4, optional: true}}, budgets: [2/day]}
      - {server: images, tools: [blend], when: {owner: {equals: acme}}}
      - {server: images, tools: [blend], when: {owner: {equals: beta}}, budgets: [1/day]}
"#;

async fn world() -> World {
    let server = FakeUpstream::legacy().tools(["imagine", "blend"]);
    World::builder().server("images", server).start(RULES).await
}

#[tokio::test]
async fn a_call_whose_arguments_are_not_as_its_grant_asks_is_refused_and_costs_nothing() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let answer = clawd
        .call("imagine", json!({"count": 9, "prompt": "a boat"}))
        .await;
    let refusal = &answer["result"]["_meta"]["dev.hayward/refusal"];
    assert_eq!(refusal["reason"], "condition");
    assert_eq!(refusal["detail"], "argument `count` must be at most 4");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    let expected = "Refused by policy (condition). images/imagine: argument `count` must be at most 4. Retrying the \
                    same will not help.";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(world.server("images").calls(), 0);
    for arguments in [json!({"count": 4}), json!({})] {
        let answer = clawd.call("imagine", arguments).await;
        assert!(answer["result"]["isError"] != true, "{answer}");
    }
    assert_eq!(world.used("agents.clawd/images[imagine]").await, 2);
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert_eq!(denied[0].reason.as_deref(), Some("condition"));
    assert_eq!(denied[0].text("rule"), "agents.clawd.servers[0].when.count");
    assert!(
        denied[0]
            .text("message")
            .contains("argument `count` must be at most 4")
    );
    assert!(!denied[0].text("message").contains("boat"));
    world.stop().await;
}

#[tokio::test]
async fn of_grants_side_by_side_the_one_that_holds_is_charged_and_a_list_shows_the_tool() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let list = clawd.bare("/mcp/images", "tools/list", json!({})).await;
    assert_eq!(
        list["result"]["tools"].as_array().unwrap().len(),
        2,
        "{list}"
    );
    for (owner, is_allowed) in [
        ("acme", true),
        ("beta", true),
        ("beta", false),
        ("acme", true),
        ("evil", false),
    ] {
        let answer = clawd.call("blend", json!({"owner": owner})).await;
        let refusal = &answer["result"]["_meta"]["dev.hayward/refusal"];
        assert_eq!(refusal.is_null(), is_allowed, "{owner} {answer}");
    }
    assert_eq!(world.used("agents.clawd/images[blend]").await, 1);
    let last = clawd.call("blend", json!({})).await;
    assert_eq!(
        last["result"]["_meta"]["dev.hayward/refusal"]["detail"],
        "argument `owner` is missing; it must be `beta`, or argument `owner` is missing; it must be `acme`"
    );
    world.stop().await;
}
