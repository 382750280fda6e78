//! Budgets that count something else than calls, and what gives back what a call held: exact to the millionth, never
//! guessed, never cut to fit.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, FakeUpstream, Sending, World, find};

/// The machine fields of a refusal; `None` for a call that was let through.
fn refusal(answer: &Value) -> Option<&Value> {
    let data = &answer["result"]["_meta"]["dev.hayward/refusal"];
    data.is_object().then_some(data)
}

async fn call(world: &World, tool: &str, arguments: Value) -> Value {
    world.agent("clawd").call(tool, arguments).await
}

/// What one budget has used and holds, what was overrun, and whether it is frozen, in the window of the last call.
async fn figures(world: &World, key: &str) -> (i64, i64, i64, bool) {
    let readers = hayward::db::Readers::open(world.file()).await.unwrap();
    let figures =
        "SELECT used, held, overrun, frozen FROM budget_window JOIN budget ON id = budget_id
        WHERE key LIKE $1 || '%' ORDER BY starts_at_us DESC LIMIT 1";
    let figures = sqlx::query_as(figures)
        .bind(key)
        .fetch_one(readers.pool())
        .await
        .unwrap();
    readers.close().await;
    figures
}

#[tokio::test]
async fn costs_per_tool_are_counted_to_the_millionth() {
    let costs =
        r#"costs: {imagine: 0.08, "up*": 0.02, free: 0}, cost_unit: USD, budgets: [0.2 USD/month]"#;
    let world = World::small(costs).await;
    for (tool, used) in [
        ("imagine", 80_000),
        ("upscale", 100_000),
        ("imagine", 180_000),
    ] {
        assert_eq!(refusal(&call(&world, tool, json!({})).await), None);
        assert_eq!(world.used("servers.images USD/month").await, used);
    }
    let refused = call(&world, "imagine", json!({})).await;
    let data = refusal(&refused).unwrap();
    let figures = ["limit", "used", "remaining"].map(|key| data[key].clone());
    assert_eq!(figures, [json!(0.2), json!(0.18), json!(0.02)]);
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("0.18 of 0.2 USD used this month"), "{text}");
    // What fits still fits, and what costs nothing always does.
    assert_eq!(refusal(&call(&world, "upscale", json!({})).await), None);
    assert_eq!(refusal(&call(&world, "free", json!({})).await), None);
    assert_eq!(world.used("servers.images USD/month").await, 200_000);
    // Of a tool of which nobody says what it costs, nobody knows whether it fits.
    let unknown = call(&world, "other", json!({})).await;
    assert_eq!(refusal(&unknown).unwrap()["reason"], "cost_invalid");
    let text = unknown["result"]["content"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("nobody says what `other` costs in USD"),
        "{text}"
    );
    assert_eq!(world.server("images").calls(), 5);
    world.stop().await;
}

#[tokio::test]
async fn a_weight_is_the_number_in_an_argument_or_a_refusal() {
    let world =
        World::small("budgets: [{limit: 10/day, weight: {argument: count}, max_cost: 6}]").await;
    let key = "servers.images argument:count/day";
    assert_eq!(
        refusal(&call(&world, "imagine", json!({"count": 4})).await),
        None
    );
    assert_eq!(world.used(key).await, 4);
    for wrong in [
        json!({}),
        json!({"count": 0}),
        json!({"count": -1}),
        json!({"count": 1.5}),
        json!({"count": "3"}),
        json!({"count": null}),
        json!({"count": 7}),
        json!({"count": 9_223_372_036_854_775_808_u64}),
        json!({"Count": 1}),
    ] {
        let answer = call(&world, "imagine", wrong.clone()).await;
        assert_eq!(
            refusal(&answer).unwrap()["reason"],
            "cost_invalid",
            "{wrong}"
        );
    }
    let refused = call(&world, "imagine", json!({"count": 6, "more": true})).await;
    assert_eq!(refusal(&refused), None);
    let refused = call(&world, "imagine", json!({"count": 1})).await;
    assert_eq!(refusal(&refused).unwrap()["reason"], "budget");
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("10 of 10 count used today"), "{text}");
    assert_eq!(world.server("images").calls(), 2);
    world.stop().await;
}

const REPORTED: &str = r#"costs: {"*": {cost_from: result./structuredContent/usd, max_cost: 0.5}}, cost_unit: USD,
    budgets: [1.2 USD/day]"#;

#[tokio::test]
async fn a_reported_cost_is_charged_and_the_rest_given_back() {
    let world = World::small(REPORTED).await;
    let key = "servers.images USD/day";
    for (arguments, used) in [
        (json!({"usd": 0.1}), 100_000),
        (json!({"usd": 0}), 100_000),
        (json!({"usd": 0.000_000_4}), 100_001),
    ] {
        assert_eq!(refusal(&call(&world, "imagine", arguments).await), None);
        assert_eq!(figures(&world, key).await, (used, 0, 0, false));
    }
    // What is not reported, or not readably, costs the whole hold.
    for (arguments, used) in [(json!({}), 600_001), (json!({"usd": "cheap"}), 1_100_001)] {
        assert_eq!(refusal(&call(&world, "imagine", arguments).await), None);
        assert_eq!(figures(&world, key).await, (used, 0, 0, false));
    }
    let refused = call(&world, "imagine", json!({"usd": 0})).await;
    assert_eq!(
        refusal(&refused).unwrap()["reason"],
        "budget",
        "the most it can be must fit"
    );
    let events = world.events().await;
    let closings = find(&events, "settled");
    let flags: Vec<bool> = closings
        .iter()
        .map(|event| event.meta["budgets"][0]["unreported"] == true)
        .collect();
    assert_eq!(flags, [false, false, false, true, true]);
    world.stop().await;
}

#[tokio::test]
async fn more_than_was_held_is_an_overrun_and_freezes_the_budget_for_its_window() {
    let mut world = World::small(REPORTED).await;
    let key = "servers.images USD/day";
    assert_eq!(
        refusal(&call(&world, "imagine", json!({"usd": 0.75})).await),
        None
    );
    assert_eq!(figures(&world, key).await, (500_000, 0, 250_000, true));
    let refused = call(&world, "imagine", json!({"usd": 0})).await;
    let data = refusal(&refused).unwrap();
    assert_eq!(
        (&data["reason"], &data["frozen"]),
        (&json!("budget"), &json!(true))
    );
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("frozen"), "{text}");
    // Also for who comes after a restart, until the window ends.
    world.restart(&World::small_policy(REPORTED)).await;
    assert!(refusal(&call(&world, "imagine", json!({"usd": 0})).await).is_some());
    world.set_clock(Duration::ZERO, "2026-11-21T00:00:00Z");
    assert_eq!(
        refusal(&call(&world, "imagine", json!({"usd": 0})).await),
        None
    );
    assert_eq!(world.server("images").calls(), 2);
    world.stop().await;
}

#[tokio::test]
async fn refund_gives_back_what_the_file_says_and_no_more() {
    let failures = [
        ("fail", json!({})),
        ("rpc_error", json!({"code": -32602})),
        ("refuse", json!({"status": 429, "code": -32000})),
        ("http_429", json!({})),
        ("rpc_error", json!({"code": -32603})),
        ("http_500", json!({})),
        ("cut", json!({})),
    ];
    for (refund, costs) in [
        ("", [1, 1, 1, 1, 1, 1, 1]),
        (", refund: [unreachable]", [1, 1, 1, 1, 1, 1, 1]),
        (", refund: [rejected]", [1, 0, 0, 0, 1, 1, 1]),
        (", refund: [tool_error]", [0, 1, 1, 1, 1, 1, 1]),
        (", refund: [tool_error, rejected]", [0, 0, 0, 0, 1, 1, 1]),
    ] {
        let world = World::small(&format!("budgets: [{{limit: 99/day{refund}}}]")).await;
        let mut used = 0;
        for ((what, mut arguments), cost) in failures.clone().into_iter().zip(costs) {
            arguments["do"] = what.into();
            call(&world, "imagine", arguments).await;
            used += cost;
            let found = world.used("servers.images").await;
            assert_eq!(found, used, "{what} with `{refund}`");
        }
        world.stop().await;
    }
}

fn in_rounds(agent: &Client, state: Option<&str>, arguments: &Value) -> Sending {
    let mut params = json!({"name": "imagine", "arguments": arguments});
    if let Some(state) = state {
        params["requestState"] = state.into();
        params["inputResponses"] =
            json!({"name": {"action": "accept", "content": {"name": "Ada"}}});
    }
    let can = json!({"elicitation": {}});
    agent.modern_that_can("/mcp/images", "tools/call", params, can)
}

#[tokio::test]
async fn a_call_in_rounds_has_one_hold_that_the_last_round_settles() {
    let policy = World::small_policy(REPORTED);
    let mut world = World::builder()
        .server("images", FakeUpstream::modern())
        .start(&policy)
        .await;
    let key = "servers.images USD/day";
    let arguments = json!({"do": "elicit", "usd": 0.2});
    let clawd = world.agent("clawd");
    let ask = async || {
        let asked = in_rounds(&clawd, None, &arguments).send().await.json();
        asked["result"]["requestState"].as_str().unwrap().to_owned()
    };
    let state = ask().await;
    assert_eq!(figures(&world, key).await, (0, 500_000, 0, false));
    in_rounds(&clawd, Some(&state), &arguments).send().await;
    assert_eq!(figures(&world, key).await, (200_000, 0, 0, false));
    // Once more with the same state: a call of its own, with a hold of its own.
    in_rounds(&clawd, Some(&state), &arguments).send().await;
    assert_eq!(figures(&world, key).await, (400_000, 0, 0, false));
    // One that never comes back costs what it holds, when its time is over or the gateway ends.
    ask().await;
    assert_eq!(figures(&world, key).await, (400_000, 500_000, 0, false));
    world.restart(&policy).await;
    assert_eq!(figures(&world, key).await, (900_000, 0, 0, false));
    let events = world.events().await;
    let expired = find(&events, "expired");
    assert_eq!(expired[0].meta["budgets"][0]["charged"], 500_000);
    world.stop().await;
}

#[tokio::test]
async fn a_changed_window_begins_with_what_was_used_in_it() {
    let berlin = "defaults: {timezone: Europe/Berlin}\n";
    for (head, rule, key, used) in [
        ("", "9/week", "servers.images calls/week", 3),
        ("", "9/month", "servers.images calls/month", 3),
        ("", "9/hour", "servers.images calls/hour", 1),
        ("", "9 total", "servers.images calls/total", 3),
        (
            "",
            "{limit: 9/day, each: agent}",
            "servers.images calls/day@UTC each",
            1,
        ),
        (
            "",
            "{limit: 9/day, tools: [imagine]}",
            "servers.images[imagine] calls/day",
            1,
        ),
        (berlin, "9/day", "servers.images calls/day@Europe/Berlin", 1),
    ] {
        let mut world = World::small("budgets: [3/day]").await;
        for (at, times) in [("2026-11-24T10:00:00Z", 2), ("2026-11-26T10:30:00Z", 1)] {
            world.set_clock(Duration::ZERO, at);
            for _ in 0..times {
                assert_eq!(refusal(&call(&world, "imagine", json!({})).await), None);
            }
        }
        let policy = World::small_policy(&format!("budgets: [{rule}]"));
        world.restart(&format!("{head}{policy}")).await;
        assert_eq!(
            refusal(&call(&world, "imagine", json!({})).await),
            None,
            "{rule}"
        );
        assert_eq!(world.used(key).await, used + 1, "{rule}");
        let events = world.events().await;
        let seeded = find(&events, "seeded");
        assert_eq!(seeded[0].meta["budgets"][0]["seeded"], used, "{rule}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_changed_rule_is_no_refill() {
    let mut world = World::small("budgets: [2/day]").await;
    for _ in 0..2 {
        assert_eq!(refusal(&call(&world, "imagine", json!({})).await), None);
    }
    for rules in [
        "budgets: [2/week]",
        "budgets: [{limit: 2/day, each: agent}]",
        "budgets: [{limit: 2/day, each: agent+tool}]",
        "budgets: [{limit: 2/day, tools: [\"im*\"]}]",
        "budgets: [2/24h]",
        "budgets: [2 total]",
        "budgets: [1/hour]",
        "budgets: [2/day]",
    ] {
        world.restart(&World::small_policy(rules)).await;
        let refused = call(&world, "imagine", json!({})).await;
        assert!(refusal(&refused).is_some(), "{rules}");
    }
    assert_eq!(world.server("images").calls(), 2);
    world.stop().await;
}
