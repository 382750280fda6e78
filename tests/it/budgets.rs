//! Budgets hold exactly: under a crowd, over resets and restarts, and for every way a call can end.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{Client, FakeUpstream, World, find, rpc};

/// The machine fields of a refusal, whichever way it is answered; `None` for a call that was let through.
fn refusal(answer: &Value) -> Option<&Value> {
    let of_tool = &answer["result"]["_meta"]["dev.hayward/refusal"];
    let of_rpc = &answer["error"]["data"];
    [of_tool, of_rpc].into_iter().find(|data| data.is_object())
}

/// Calls until the log answers. A crowd on a machine that is busy with other things may be slower than the gateway
/// waits, and what it says then is no word about a budget.
async fn call_in_a_crowd(agent: &Client) -> Value {
    for _ in 0..100 {
        let answer = agent.call("imagine", json!({})).await;
        let reason = refusal(&answer).map(|refused| &refused["reason"]);
        if reason != Some(&json!("audit_unavailable")) {
            return answer;
        }
    }
    panic!("the log cannot be written for minutes");
}

async fn is_refused(world: &World, agent: &str, tool: &str) -> bool {
    let answer = world.agent(agent).call(tool, json!({})).await;
    let refused = refusal(&answer);
    if let Some(refused) = refused {
        assert_eq!(refused["reason"], "budget", "{answer}");
    }
    refused.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_callers_at_once_exactly_two_reach_the_server() {
    for round in 0..10 {
        let world = World::small("budgets: [2/day]").await;
        let clawd = world.agent("clawd");
        let calls = (0..200).map(|_| call_in_a_crowd(&clawd));
        let answers = join_all(calls).await;
        assert_eq!(world.server("images").calls(), 2, "round {round}");
        let refusals: Vec<&Value> = answers.iter().filter_map(refusal).collect();
        assert_eq!(refusals.len(), 198, "round {round}");
        for refused in refusals {
            assert_eq!(refused["limit"], 2);
            assert_eq!(
                (&refused["used"], &refused["remaining"]),
                (&json!(2), &json!(0))
            );
            assert_eq!(refused["resets_at"], "2026-11-21T00:00:00+00:00");
        }
        let text = answers
            .iter()
            .find(|answer| refusal(answer).is_some())
            .unwrap();
        let text = text["result"]["content"][0]["text"].as_str().unwrap();
        assert!(
            text.contains("2 of 2 calls") && text.contains("2026-11-21T00:00:00"),
            "{text}"
        );
        assert_eq!(world.used("servers.images").await, 2);
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_gets_exactly_what_there_is_in_every_kind_of_window() {
    let windows = [
        "/hour",
        "/day from 06:00",
        "/week from sunday",
        "/month",
        "/year",
        "/24h",
        "/7d",
        " total",
    ];
    // 200 callers at once, each so many times in a row.
    for (limit, times) in [(2, 1), (10, 1), (777, 4)] {
        for window in windows {
            let budget = format!("{limit}{window}");
            let world = World::small(&format!("budgets: [\"{budget}\"]")).await;
            let clawd = world.agent("clawd");
            let callers = (0..200).map(async |_| {
                let mut full = 0;
                for _ in 0..times {
                    let answer = call_in_a_crowd(&clawd).await;
                    let used = refusal(&answer).map(|refused| refused["used"].clone());
                    full += usize::from(used == Some(json!(limit)));
                }
                full
            });
            let full: usize = join_all(callers).await.into_iter().sum();
            assert_eq!(world.server("images").calls(), limit, "{budget}");
            assert_eq!(full, 200 * times - limit, "{budget}");
            world.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_budgets_the_tightest_gives_a_crowd_exactly_what_it_has() {
    // Every call needs room in all of them, wherever they are written.
    for (limit, times) in [(2, 1), (10, 1), (777, 4)] {
        let policy = format!(
            r#"
servers: {{images: {{url: "@images", budgets: ["{limit}/week", "2000/day from 06:00", {{limit: 1500/year, each: tool}}]}}}}
budgets: {{team: 1200 total}}
agents:
  a: {{token_hash: "@a", budgets: [1100/24h], servers: [{{server: images, budgets: [team, 1300/hour]}}]}}
  b: {{token_hash: "@b", budgets: [1100/7d], servers: [{{server: images, budgets: [team, 1300/month]}}]}}
"#
        );
        let builder = World::builder().server("images", FakeUpstream::modern());
        let world = builder.start(&policy).await;
        let agents = [world.agent("a"), world.agent("b")];
        let callers = (0..200).map(async |number| {
            let mut full = 0;
            for _ in 0..times {
                let agent = &agents[number % agents.len()];
                let answer = call_in_a_crowd(agent).await;
                let refused = refusal(&answer).map(|refused| (&refused["limit"], &refused["used"]));
                if let Some((of, used)) = refused {
                    assert_eq!((of, used), (&json!(limit), &json!(limit)), "{answer}");
                    full += 1;
                }
            }
            full
        });
        let full: usize = join_all(callers).await.into_iter().sum();
        assert_eq!(world.server("images").calls(), limit, "limit {limit}");
        assert_eq!(full, 200 * times - limit, "limit {limit}");
        let limit = i64::try_from(limit).unwrap();
        for key in ["servers.images calls/week", "budgets.team"] {
            assert_eq!(world.used(key).await, limit, "{key}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_total_does_not_reset_and_survives_a_restart() {
    let mut world = World::small("budgets: [1 total]").await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world
        .restart(&World::small_policy("budgets: [1 total]"))
        .await;
    world.clock().advance(Duration::from_secs(900 * 86_400));
    let answer = world.agent("clawd").call("imagine", json!({})).await;
    let refused = refusal(&answer).unwrap();
    assert_eq!(
        (&refused["used"], &refused["limit"]),
        (&json!(1), &json!(1))
    );
    assert!(refused.get("resets_at").is_none() && refused.get("retry_after_ms").is_none());
    assert!(
        !is_refused_under(&mut world, "budgets: [2 total]").await,
        "a raised limit"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_rolling_budget_survives_a_restart_to_the_microsecond() {
    let mut world = World::small("budgets: [2/24h]").await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.clock().advance(Duration::from_secs(6 * 3_600));
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world
        .restart(&World::small_policy("budgets: [2/24h]"))
        .await;
    world
        .clock()
        .advance(Duration::from_micros(18 * 3_600_000_000 - 1));
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.clock().advance(Duration::from_micros(1));
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.stop().await;
}

/// Whether a call is refused after a restart with these rules.
async fn is_refused_under(world: &mut World, rules: &str) -> bool {
    world.restart(&World::small_policy(rules)).await;
    is_refused(world, "clawd", "imagine").await
}

#[tokio::test]
async fn every_window_opens_again_at_the_instant_it_names() {
    let windows = [
        ("hour", "2026-11-20T14:00:00+01:00"),
        ("day", "2026-11-21T00:00:00+01:00"),
        ("week", "2026-11-23T00:00:00+01:00"),
        ("month", "2026-12-01T00:00:00+01:00"),
        ("year", "2027-01-01T00:00:00+01:00"),
        ("day from 06:00", "2026-11-21T06:00:00+01:00"),
        ("week from sunday 18:30", "2026-11-22T18:30:00+01:00"),
        ("24h", "2026-11-21T13:00:00+01:00"),
        ("7d", "2026-11-27T13:00:00+01:00"),
    ];
    for (window, resets_at) in windows {
        let policy = format!(
            "defaults: {{timezone: Europe/Berlin}}
servers: {{images: {{url: \"@images\", budgets: [2/{window}]}}}}
agents: {{clawd: {{token_hash: \"@clawd\", servers: [images]}}}}"
        );
        let builder = World::builder().server("images", FakeUpstream::legacy());
        let world = builder.start(&policy).await;
        let clawd = world.agent("clawd");
        for _ in 0..2 {
            assert_eq!(
                refusal(&clawd.call("imagine", json!({})).await),
                None,
                "{window}"
            );
        }
        let refused = clawd.call("imagine", json!({})).await;
        assert_eq!(
            refusal(&refused).unwrap()["resets_at"],
            resets_at,
            "{window}"
        );
        world.set_clock(Duration::from_millis(1), resets_at);
        let refused = clawd.call("imagine", json!({})).await;
        assert_eq!(refusal(&refused).unwrap()["retry_after_ms"], 1, "{window}");
        world.set_clock(Duration::ZERO, resets_at);
        for _ in 0..2 {
            assert_eq!(
                refusal(&clawd.call("imagine", json!({})).await),
                None,
                "{window}"
            );
        }
        assert!(is_refused(&world, "clawd", "imagine").await, "{window}");
        assert_eq!(world.server("images").calls(), 4, "{window}");
        world.stop().await;
    }
}

#[tokio::test]
async fn budgets_count_where_they_are_written() {
    let policy = r#"
servers:
  images: {url: "@images", budgets: [{limit: 5/day, tools: [imagine]}]}
  notes: {url: "@notes"}
budgets: {team: 3/month}
agents:
  agent: {token_hash: "@agent", servers: ["*"], budgets: [2/day]}
  grant: {token_hash: "@grant", servers: [{server: images, tools: [describe], budgets: [1/week]}, images]}
  one: {token_hash: "@one", servers: [{server: notes, budgets: [team]}]}
  two: {token_hash: "@two", servers: [{server: notes, budgets: [team]}]}
  free: {token_hash: "@free", servers: ["*"]}
"#;
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .start(policy)
        .await;
    // An agent's budget counts whatever it calls.
    assert!(!is_refused(&world, "agent", "images__imagine").await);
    assert!(!is_refused(&world, "agent", "notes__search").await);
    assert!(is_refused(&world, "agent", "notes__search").await);
    // A grant's counts what it grants, and leaves the other grant alone.
    assert!(!is_refused(&world, "grant", "images__describe").await);
    assert!(is_refused(&world, "grant", "images__describe").await);
    assert!(!is_refused(&world, "grant", "images__blend").await);
    // A pool is shared by all who name it.
    assert!(!is_refused(&world, "one", "notes__search").await);
    assert!(!is_refused(&world, "two", "notes__search").await);
    assert!(!is_refused(&world, "one", "notes__search").await);
    assert!(is_refused(&world, "two", "notes__search").await);
    assert!(!is_refused(&world, "free", "notes__search").await);
    // A server's counts everybody, and here only one tool.
    for _ in 0..4 {
        assert!(!is_refused(&world, "free", "images__imagine").await);
    }
    assert!(is_refused(&world, "free", "images__imagine").await);
    assert!(is_refused(&world, "grant", "images__imagine").await);
    assert!(!is_refused(&world, "free", "images__blend").await);
    world.stop().await;
}

#[tokio::test]
async fn each_splits_a_budget_into_separate_counts() {
    let table = [
        ("agent", [false, true, false, true]),
        ("tool", [false, false, true, true]),
        ("agent+tool", [false, false, false, false]),
    ];
    for (each, refused) in table {
        let policy = format!(
            "servers: {{images: {{url: \"@images\", budgets: [{{limit: 1/day, each: {each}}}]}}}}
agents:
  a: {{token_hash: \"@a\", servers: [images]}}
  b: {{token_hash: \"@b\", servers: [images]}}"
        );
        let builder = World::builder().server("images", FakeUpstream::legacy());
        let world = builder.start(&policy).await;
        let order = [
            ("a", "imagine"),
            ("a", "blend"),
            ("b", "imagine"),
            ("b", "blend"),
        ];
        for ((agent, tool), expected) in order.into_iter().zip(refused) {
            assert_eq!(
                is_refused(&world, agent, tool).await,
                expected,
                "{each}: {agent} {tool}"
            );
        }
        for (agent, tool) in order {
            assert!(
                is_refused(&world, agent, tool).await,
                "{each}: {agent} {tool} again"
            );
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn of_several_budgets_all_have_room_or_none_is_touched() {
    let policy = r#"
servers: {images: {url: "@images", budgets: [9/day]}}
budgets: {team: 9/month}
agents:
  a: {token_hash: "@a", budgets: [9/week], servers: [{server: images, budgets: [2/day, team]}]}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    for _ in 0..5 {
        world.agent("a").call("imagine", json!({})).await;
    }
    for key in [
        "servers.images",
        "budgets.team",
        "agents.a calls/week",
        "agents.a/images",
    ] {
        assert_eq!(world.used(key).await, 2, "{key}");
    }
    let events = world.events().await;
    for event in find(&events, "admitted") {
        assert_eq!(event.meta["budgets"].as_array().unwrap().len(), 4);
    }
    world.stop().await;
}

#[tokio::test]
async fn only_a_call_that_never_left_costs_nothing() {
    let policy = r#"
servers:
  images: {url: "@images", budgets: [{limit: 99/day, each: tool}], timeout: 60s}
  notes: {url: "@notes", budgets: [{limit: 99/day, each: tool}]}
  gone: {url: "@gone", budgets: [{limit: 1/day, each: tool}]}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .dead_server("gone")
        .start(policy)
        .await;
    let clawd = world.agent("clawd");
    let charged = [
        ("ok", "settled", "ok"),
        ("fail", "settled", "tool_error"),
        ("rpc_error", "settled", "rpc_error"),
        ("hang_up", "failed", "broken"),
        ("cut", "failed", "broken"),
        ("wrong_id", "failed", "broken"),
        ("no_json", "failed", "broken"),
        ("http_500", "failed", "broken"),
        ("redirect", "failed", "broken"),
        ("http_429", "failed", "rejected"),
        ("huge", "failed", "too_large"),
    ];
    for server in ["images", "notes"] {
        for (tool, _, _) in charged {
            let name = format!("{server}__{tool}");
            let answer = clawd.call(&name, json!({})).await;
            assert!(
                answer["result"].is_object() || tool == "rpc_error",
                "{name}: {answer}"
            );
            let key = format!("servers.{server} calls/day@UTC each tool={tool}");
            assert_eq!(world.used(&key).await, 1, "{name}");
        }
    }
    for _ in 0..3 {
        let answer = clawd.call("gone__x", json!({})).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("nothing was charged"), "{text}");
    }
    assert_eq!(world.used("servers.gone").await, 0);
    let events = world.events().await;
    for server in ["images", "notes"] {
        let closings = events
            .iter()
            .filter(|event| event.is(&["settled", "failed"]) && event.text("server") == server)
            // The gateway itself asks a modern server for a list before the first call.
            .filter(|event| !event.text("tool").is_empty());
        let closings: Vec<_> = closings
            .map(|event| {
                (
                    event.text("tool"),
                    event.kind.as_str(),
                    event.text("outcome"),
                )
            })
            .collect();
        assert_eq!(closings, charged, "{server}");
    }
    let released = find(&events, "released");
    assert_eq!(released.len(), 3);
    assert!(
        released
            .iter()
            .all(|event| event.text("outcome") == "unreachable")
    );
    world.stop().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_costs_what_it_holds() {
    let world = World::small("budgets: [9/day], timeout: 2s").await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({})).await;
    let answer = clawd.call("slow", json!({})).await;
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("did not answer in time"), "{text}");
    assert_eq!(world.server("images").calls(), 2);
    assert_eq!(world.used("servers.images").await, 2);
    let events = world.events().await;
    assert_eq!(find(&events, "failed")[0].text("outcome"), "timed_out");
    world.stop().await;
}

#[tokio::test]
async fn a_call_in_flight_holds_its_place() {
    let world = World::small("budgets: [1/day]").await;
    let clawd = world.agent("clawd");
    let first = tokio::spawn({
        let clawd = clawd.clone();
        async move { clawd.call("slow", json!({})).await }
    });
    world.server("images").until_requests(1).await;
    assert!(is_refused(&world, "clawd", "imagine").await);
    // It straddles midnight, and is settled in the window it was taken in.
    world.set_clock(Duration::ZERO, "2026-11-21T00:00:01Z");
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.server("images").release(1);
    assert_eq!(refusal(&first.await.unwrap()), None);
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.stop().await;
}

#[tokio::test]
async fn a_clock_that_runs_backwards_opens_no_window_again() {
    let world = World::small("budgets: [1/day]").await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.set_clock(Duration::ZERO, "2026-11-19T12:00:00Z");
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_opens_no_window_until_it_is_believed() {
    let world = World::small("budgets: [1/day]").await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.clock().jump(Duration::from_secs(86_400));
    assert!(is_refused(&world, "clawd", "imagine").await);
    // What the running time explains is as good as ever: midnight comes when it comes.
    world.clock().advance(Duration::from_secs(12 * 3_600));
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.clock().jump_back(Duration::from_secs(86_400));
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.clock().advance(Duration::from_secs(60));
    assert!(is_refused(&world, "clawd", "imagine").await);
    let events = world.events().await;
    let clock: Vec<&str> = find(&events, "clock")
        .iter()
        .map(|event| event.text("clock"))
        .collect();
    assert_eq!(clock, ["suspect", "agrees"]);
    // A machine that slept is no clock that jumped.
    world.clock().sleep(Duration::from_secs(86_400));
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.stop().await;
}

#[tokio::test]
async fn lists_and_what_is_refused_cost_nothing() {
    let policy = r#"
servers: {images: {url: "@images", budgets: [1/day]}}
agents: {clawd: {token_hash: "@clawd", servers: [images], deny: ["images/blend"]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let clawd = world.agent("clawd");
    for (method, params) in [
        ("tools/list", json!({})),
        ("prompts/get", json!({"name": "greet"})),
        ("resources/read", json!({"uri": "note://1"})),
        ("tools/call", json!({"name": "blend"})),
        ("tools/call", json!({"name": 7})),
        ("no/such", json!({})),
        ("ping", json!({})),
    ] {
        clawd.bare("/mcp/images", method, params).await;
    }
    assert!(!is_refused(&world, "clawd", "imagine").await);
    for _ in 0..20 {
        assert!(is_refused(&world, "clawd", "imagine").await);
    }
    assert_eq!(world.used("servers.images").await, 1);
    world.set_clock(Duration::ZERO, "2026-11-21T00:00:00Z");
    assert!(
        !is_refused(&world, "clawd", "imagine").await,
        "refusals never delay the reset"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_carries_all_its_figures_in_either_style() {
    let policy = r#"
servers: {images: {url: "@images"}}
agents:
  model: {token_hash: "@model", budgets: [1/day], servers: [images]}
  program: {token_hash: "@program", budgets: [1/day], servers: [images], refusals: rpc_error}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    for agent in ["model", "program"] {
        let client = world.agent(agent);
        client.call("imagine", json!({})).await;
        for is_modern in [false, true] {
            let params = json!({"name": "imagine"});
            let reply = if is_modern {
                client.modern("/mcp", "tools/call", params).send().await
            } else {
                client.post("/mcp", rpc("tools/call", &params)).send().await
            };
            assert_eq!(reply.status, 200);
            let answer = reply.json();
            assert_eq!(answer["id"], 1);
            let is_tool_error = answer["result"]["isError"] == true;
            assert_eq!(is_tool_error, agent == "model", "{answer}");
            if is_tool_error {
                let kind = &answer["result"]["resultType"];
                assert_eq!(*kind == "complete", is_modern, "{answer}");
            } else {
                assert_eq!(answer["error"]["code"], -31429);
            }
            let data = refusal(&answer).unwrap().as_object().unwrap();
            let events = world.events().await;
            let denied = find(&events, "denied").pop().unwrap().clone();
            let expected = json!({
                "reason": "budget", "limit": 1, "used": 1, "remaining": 0,
                "resets_at": "2026-11-21T00:00:00+00:00", "retry_after_ms": 12 * 3_600_000,
                "call_id": denied.text("call"),
                "name": format!("agents.{agent}.budgets[0]"), "unit": "calls",
            });
            assert_eq!(Some(data), expected.as_object());
            assert_eq!(denied.text("agent"), agent);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_rate_refuses_and_recovers_with_the_clock() {
    let policy = r#"
servers: {images: {url: "@images"}}
agents: {clawd: {token_hash: "@clawd", servers: [images], rate: {limit: 60, per: minute, burst: 2}}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let clawd = world.agent("clawd");
    for _ in 0..2 {
        assert_eq!(refusal(&clawd.call("imagine", json!({})).await), None);
    }
    let refused = clawd.call("imagine", json!({})).await;
    let data = refusal(&refused).unwrap();
    assert_eq!(
        (&data["reason"], &data["retry_after_ms"]),
        (&json!("rate"), &json!(1_000))
    );
    world.clock().advance(Duration::from_millis(999));
    assert!(refusal(&clawd.call("imagine", json!({})).await).is_some());
    world.clock().advance(Duration::from_millis(1));
    assert_eq!(refusal(&clawd.call("imagine", json!({})).await), None);
    // Lists are never slowed down.
    for _ in 0..5 {
        let list = clawd.bare("/mcp", "tools/list", json!({})).await;
        assert!(list["result"]["tools"].is_array());
    }
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert!(
        denied
            .iter()
            .all(|event| event.reason.as_deref() == Some("rate"))
    );
    assert_eq!(denied.len(), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_restart_and_a_changed_limit_keep_the_use() {
    let policy = |limit: &str| {
        format!(
            "servers: {{images: {{url: \"@images\", budgets: [{limit}]}}}}
agents: {{clawd: {{token_hash: \"@clawd\", servers: [images]}}}}"
        )
    };
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let mut world = builder.start(&policy("3/day")).await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.restart(&policy("3/day")).await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.restart(&policy("1/day")).await;
    let lowered = world.agent("clawd").call("imagine", json!({})).await;
    let data = refusal(&lowered).unwrap();
    assert_eq!(
        (&data["limit"], &data["used"], &data["remaining"]),
        (&json!(1), &json!(3), &json!(0))
    );
    world.restart(&policy("4/day")).await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    assert!(is_refused(&world, "clawd", "imagine").await);
    // A rule that is taken away and put back finds its count again.
    world.restart(&policy("9/week")).await;
    assert!(!is_refused(&world, "clawd", "imagine").await);
    world.restart(&policy("4/day")).await;
    assert!(is_refused(&world, "clawd", "imagine").await);
    world.stop().await;
}
