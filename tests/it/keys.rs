//! Repeats: a call that comes again with its key, or with its arguments where the rules say so, is never made and
//! never charged twice.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use hayward::db::Readers;
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::support::{Client, Event, FakeUpstream, Sending, World, find, rpc, without_lists};

const PATH: &str = "/mcp/images";

const DAY: Duration = Duration::from_secs(86_400);

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 90/day, each: agent}]}
  notes: {url: "@notes"}
  gone: {url: "@gone", budgets: [9/day]}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;

const BUDGET: &str = "servers.images calls/day@UTC each agent=clawd";

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .dead_server("gone")
        .start(POLICY)
        .await
}

fn params(tool: &str, arguments: &Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

/// A bare call with a key in its header.
fn keyed(agent: &Client, path: &str, tool: &str, arguments: &Value, key: &str) -> Sending {
    let sending = agent.post(path, rpc("tools/call", &params(tool, arguments)));
    sending.header("idempotency-key", key)
}

async fn call(agent: &Client, tool: &str, arguments: Value, key: &str) -> Value {
    keyed(agent, PATH, tool, &arguments, key)
        .send()
        .await
        .json()
}

/// The machine fields of a refusal.
fn refusal(answer: &Value) -> &Value {
    &answer["result"]["_meta"]["dev.hayward/refusal"]
}

fn reason(answer: &Value) -> &str {
    refusal(answer)["reason"].as_str().unwrap_or("none")
}

/// The events of calls, in order: the kind and the reason.
fn told(events: &[Event]) -> Vec<&str> {
    let of_calls = events.iter().filter(|event| !event.text("call").is_empty());
    of_calls
        .map(|event| event.reason.as_deref().unwrap_or(&event.kind))
        .collect()
}

async fn rows(world: &World) -> i64 {
    let readers = Readers::open(world.file()).await.unwrap();
    let rows = sqlx::query_scalar("SELECT count(*) FROM call_key")
        .fetch_one(readers.pool())
        .await
        .unwrap();
    readers.close().await;
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_at_once_one_reaches_the_server_and_is_paid() {
    for tool in ["imagine", "slow"] {
        let world = world().await;
        let clawd = world.agent("clawd");
        let calls = join_all((0..50).map(|_| call(&clawd, tool, json!({"n": 1}), "k")));
        let server = world.server("images");
        let release = async {
            if tool == "slow" {
                // One is in the middle of its work while all others ask for it.
                server.until_calls(1).await;
                world.until_denied(49).await;
                server.release(50);
            }
        };
        let (answers, ()) = tokio::join!(calls, release);
        assert_eq!(server.calls(), 1);
        assert_eq!(world.used(BUDGET).await, 1);
        let reasons = answers.iter().map(reason);
        let (done, repeats): (Vec<&str>, Vec<&str>) = reasons.partition(|reason| *reason == "none");
        assert_eq!((done.len(), repeats.len()), (1, 49));
        let expected = BTreeSet::from(["already_executed", "in_progress"]);
        assert!(
            repeats.iter().all(|reason| expected.contains(reason)),
            "{repeats:?}"
        );
        if tool == "slow" {
            let repeat = answers
                .iter()
                .find(|it| reason(it) == "in_progress")
                .unwrap();
            assert_eq!(refusal(repeat)["retry_after_ms"], 2_000);
            let first = refusal(repeat)["first_call_id"].as_str().unwrap();
            assert_ne!(refusal(repeat)["call_id"], first);
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn what_became_of_a_call_decides_what_its_repeat_is_told() {
    let table = [
        ("ok", "already_executed", "ok"),
        ("fail", "already_executed", "tool_error"),
        ("rpc_error", "already_executed", "rpc_error"),
        ("hang_up", "outcome_unknown", "broken"),
        ("cut", "outcome_unknown", "broken"),
        ("no_json", "outcome_unknown", "broken"),
        ("http_500", "outcome_unknown", "broken"),
        ("http_429", "outcome_unknown", "rejected"),
        ("huge", "outcome_unknown", "too_large"),
    ];
    let mut world = world().await;
    let clawd = world.agent("clawd");
    for (what, _, _) in table {
        call(&clawd, "imagine", json!({"do": what}), what).await;
    }
    let made = table.len();
    for round in ["in the same run", "after a restart"] {
        let clawd = world.agent("clawd");
        for (what, expected, outcome) in table {
            let repeat = call(&clawd, "imagine", json!({"do": what}), what).await;
            assert_eq!(reason(&repeat), expected, "{what} {round}: {repeat}");
            assert_eq!(refusal(&repeat)["outcome"], outcome, "{what}");
            let other = call(&clawd, "imagine", json!({"do": "ok", "n": what}), what).await;
            assert_eq!(reason(&other), "key_reused", "{what} {round}: {other}");
        }
        if round == "in the same run" {
            world.restart(POLICY).await;
        }
    }
    assert_eq!(world.server("images").calls(), made);
    assert_eq!(world.used(BUDGET).await, i64::try_from(made).unwrap());
    let clawd = world.agent("clawd");
    let done = call(&clawd, "imagine", json!({"do": "cut"}), "a-fresh-one").await;
    assert_eq!(
        reason(&done),
        "upstream_unavailable",
        "a fresh key is another call"
    );
    assert_eq!(world.server("images").calls(), made + 1);
    world.stop().await;
}

#[tokio::test]
async fn a_call_that_never_left_gives_its_key_back() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for arguments in [json!({}), json!({"n": 1})] {
        let answer = keyed(&clawd, "/mcp", "gone__x", &arguments, "k")
            .send()
            .await
            .json();
        assert_eq!(reason(&answer), "upstream_unavailable", "{answer}");
    }
    assert_eq!(rows(&world).await, 0);
    assert_eq!(world.used("servers.gone").await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_refused_call_takes_no_key() {
    let policy = r#"
servers: {images: {url: "@images", budgets: [1/day], rate: {limit: 60, per: minute, burst: 1}}}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  nobody: {token_hash: "@nobody", servers: []}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let clawd = world.agent("clawd");
    let second = Duration::from_secs(1);
    assert_eq!(
        reason(&call(&clawd, "imagine", json!({}), "first").await),
        "none"
    );
    assert_eq!(
        reason(&call(&clawd, "imagine", json!({}), "k").await),
        "rate"
    );
    world.clock().advance(second);
    assert_eq!(
        reason(&call(&clawd, "imagine", json!({}), "k").await),
        "budget"
    );
    let nobody = world.agent("nobody");
    let denied = keyed(&nobody, "/mcp", "images__imagine", &json!({}), "k")
        .send()
        .await;
    assert_eq!(reason(&denied.json()), "not_granted");
    assert_eq!(rows(&world).await, 1);
    world.set_clock(Duration::ZERO, "2026-11-21T00:00:00Z");
    let other = call(&clawd, "imagine", json!({"n": 1}), "k").await;
    assert_eq!(reason(&other), "none", "{other}");
    // A repeat is told so, though the budget is full again.
    world.clock().advance(second);
    let repeat = call(&clawd, "imagine", json!({"n": 1}), "k").await;
    assert_eq!(reason(&repeat), "already_executed");
    world.stop().await;
}

#[tokio::test]
async fn keys_of_other_agents_tools_and_servers_never_match() {
    let world = world().await;
    for agent in ["clawd", "other"] {
        let client = world.agent(agent);
        for tool in ["images__imagine", "images__blend", "notes__search"] {
            let done = keyed(&client, "/mcp", tool, &json!({}), "k")
                .send()
                .await
                .json();
            assert_eq!(reason(&done), "none", "{agent} {tool}: {done}");
        }
    }
    assert_eq!(world.server("images").calls(), 4);
    // The same tool by its name on its own endpoint is the same tool.
    let repeat = call(&world.agent("clawd"), "imagine", json!({}), "k").await;
    assert_eq!(reason(&repeat), "already_executed");
    let events = world.events().await;
    let admitted = find(&events, "admitted");
    let calls = admitted
        .iter()
        .filter(|event| event.text("method") == "tools/call");
    let first = calls
        .clone()
        .find(|event| event.text("agent") == "clawd")
        .unwrap();
    let denied = find(&events, "denied")[0];
    assert_eq!(denied.text("first_call"), first.text("call"));
    assert_eq!(
        denied.text("idempotency_key"),
        first.text("idempotency_key")
    );
    let in_log: BTreeSet<&str> = calls.map(|event| event.text("idempotency_key")).collect();
    assert_eq!(
        in_log.len(),
        6,
        "nobody can tell from the log who else has the same key"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_arguments_are_the_same_however_they_are_written() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let send = async |arguments: &str, key: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"imagine"{arguments}}}}}"#
        );
        let sending = clawd.post(PATH, body).header("idempotency-key", key);
        sending.send().await.json()
    };
    for (first, same, other) in [
        (
            r#","arguments":{"a":[1,2],"b":{"c":"\u00e9"}}"#,
            r#","arguments": { "b" : {"c":"é"}, "\u0061":[ 1 ,2 ] }"#,
            r#","arguments":{"a":[2,1],"b":{"c":"é"}}"#,
        ),
        (
            r#","arguments":{"n":1}"#,
            r#","arguments":{ "n":1 }"#,
            r#","arguments":{"n":1.0}"#,
        ),
        ("", r#","arguments":{}"#, r#","arguments":{"a":null}"#),
    ] {
        let key = format!("k{}", first.len());
        assert_eq!(reason(&send(first, &key).await), "none", "{first}");
        assert_eq!(
            reason(&send(same, &key).await),
            "already_executed",
            "{same}"
        );
        assert_eq!(reason(&send(other, &key).await), "key_reused", "{other}");
    }
    assert_eq!(world.server("images").calls(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_key_holds_for_a_day_or_as_long_as_the_window_it_was_charged_in() {
    for (budget, held, free) in [
        ("9/hour", "2026-11-21T11:59:59Z", "2026-11-21T12:00:00Z"),
        ("9/day", "2026-11-21T11:59:59Z", "2026-11-21T12:00:00Z"),
        ("9/7d", "2026-11-27T11:59:59Z", "2026-11-27T12:00:00Z"),
        ("9/month", "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"),
        ("9 total", "2030-01-01T00:00:00Z", ""),
    ] {
        let world = World::small(&format!("budgets: [\"{budget}\"]")).await;
        let clawd = world.agent("clawd");
        assert_eq!(
            reason(&call(&clawd, "imagine", json!({}), "k").await),
            "none"
        );
        world.set_clock(Duration::ZERO, held);
        let repeat = call(&clawd, "imagine", json!({}), "k").await;
        assert_eq!(reason(&repeat), "already_executed", "{budget}");
        if !free.is_empty() {
            world.set_clock(Duration::ZERO, free);
            // Other arguments are fine as well: it is a key like any new one.
            let anew = call(&clawd, "imagine", json!({"n": 2}), "k").await;
            assert_eq!(reason(&anew), "none", "{budget}");
            let repeat = call(&clawd, "imagine", json!({"n": 2}), "k").await;
            assert_eq!(reason(&repeat), "already_executed", "{budget}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn keys_whose_time_is_over_are_taken_away() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for key in ["a", "b", "c"] {
        call(&clawd, "imagine", json!({}), key).await;
    }
    world.clock().advance(DAY / 2);
    call(&clawd, "imagine", json!({}), "d").await;
    assert_eq!(rows(&world).await, 4);
    world.clock().advance(DAY / 2);
    for _ in 0..2 {
        // The second one is answered after what came between the two.
        call(&clawd, "imagine", json!({}), "e").await;
    }
    assert_eq!(rows(&world).await, 2);
    world.stop().await;
}

/// The same call in every way that there is to send it.
fn ways(agent: &Client, path: &str, key: &str) -> Vec<Sending> {
    let plain = params("imagine", &json!({}));
    let mut with_meta = plain.clone();
    with_meta["_meta"]["dev.hayward/idempotency_key"] = key.into();
    let post = |params: &Value| agent.post(path, rpc("tools/call", params));
    vec![
        post(&plain).header("idempotency-key", key),
        post(&plain).header("idempotency-key", &format!("\"{key}\"")),
        post(&with_meta),
        post(&with_meta).header("idempotency-key", key),
        agent
            .modern(path, "tools/call", plain)
            .header("idempotency-key", key),
        agent.modern(path, "tools/call", with_meta),
    ]
}

#[tokio::test]
async fn a_key_is_one_in_every_era_and_no_server_gets_it() {
    for (server, script) in [
        ("images", FakeUpstream::legacy()),
        ("images", FakeUpstream::modern()),
    ] {
        let builder = World::builder().server(server, script);
        let world = builder
            .start(&World::small_policy("budgets: [99/day]"))
            .await;
        let clawd = world.agent("clawd");
        let mut made = 0;
        let ways_there_are = ways(&clawd, PATH, "").len();
        for first in 0..ways_there_are {
            let key = format!("key-{first}");
            let all = ways(&clawd, PATH, &key);
            let done = all[first].clone().send().await.json();
            assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
            made += 1;
            for again in all {
                let repeat = again.send().await.json();
                assert_eq!(reason(&repeat), "already_executed", "{repeat}");
            }
            let in_session = clawd.session(PATH, "2025-06-18").await;
            let sending = in_session.post(rpc("tools/call", &params("imagine", &json!({}))));
            let repeat = sending.header("idempotency-key", &key).send().await.json();
            assert_eq!(reason(&repeat), "already_executed", "{repeat}");
        }
        let seen = world.server("images").requests();
        assert_eq!(world.server("images").calls(), made);
        for seen in seen {
            assert!(!seen.body.contains("key-"), "{}", seen.body);
            assert_eq!(seen.header("idempotency-key"), None);
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_client_of_two_endpoints_has_keys() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut stream = clawd
        .get("/sse/images")
        .header("accept", "text/event-stream")
        .open()
        .await;
    let place = stream.next_data().await.unwrap();
    let post = async |params: &Value| {
        let sending = clawd.post(&place, rpc("tools/call", params));
        let sent = sending.header("idempotency-key", "k").send().await;
        assert_eq!(sent.status, 202);
    };
    post(&params("imagine", &json!({}))).await;
    let done = stream.next().await.unwrap();
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    post(&params("imagine", &json!({}))).await;
    assert_eq!(reason(&stream.next().await.unwrap()), "already_executed");
    assert_eq!(world.server("images").calls(), 1);
    world.stop().await;
}

#[tokio::test]
async fn what_is_no_key_is_refused_and_so_are_two() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let plain = params("imagine", &json!({}));
    let mut with_meta = plain.clone();
    with_meta["_meta"]["dev.hayward/idempotency_key"] = "a".into();
    let post = |params: &Value| clawd.post(PATH, rpc("tools/call", params));
    let element = rpc("tools/call", &plain);
    for (sending, code) in [
        (post(&plain).header("idempotency-key", ""), (200, -32602)),
        (post(&plain).header("idempotency-key", "a b"), (200, -32602)),
        (
            post(&plain).header("idempotency-key", &"k".repeat(256)),
            (200, -32602),
        ),
        (
            post(&with_meta).header("idempotency-key", "b"),
            (200, -32602),
        ),
        (
            post(&plain)
                .header("idempotency-key", "a")
                .and("idempotency-key", "a"),
            (400, -32020),
        ),
        (
            clawd
                .post(PATH, format!("[{element}]"))
                .header("idempotency-key", "a"),
            (400, -32600),
        ),
    ] {
        let refused = sending.send().await;
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    assert_eq!(world.server("images").calls(), 0);
    assert_eq!(find(&world.events().await, "denied").len(), 6);
    // In a batch each call has its own.
    let of_batch = |id: u8, key: &str| {
        let mut params = plain.clone();
        params["_meta"]["dev.hayward/idempotency_key"] = key.into();
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let batch = json!([of_batch(1, "x"), of_batch(2, "y"), of_batch(3, "x")]).to_string();
    let answers = clawd.post(PATH, batch).send().await.json();
    let repeats = answers.as_array().unwrap().iter().map(reason);
    assert_eq!(
        repeats.filter(|reason| *reason != "none").count(),
        1,
        "{answers}"
    );
    assert_eq!(world.server("images").calls(), 2);
    // Nothing but a call of a tool has a key.
    let listed = clawd.post(PATH, rpc("tools/list", &json!({})));
    let listed = listed.header("idempotency-key", "a b").send().await.json();
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    world.stop().await;
}

#[tokio::test]
async fn the_same_arguments_are_a_key_where_the_rules_say_so() {
    let policy = r#"
servers:
  images: {url: "@images", dedupe: {imagine: 10m, "ble*": 1h}, budgets: [{limit: 9/day, each: agent}]}
  notes: {url: "@notes", dedupe: 5m}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;
    let mut world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::legacy())
        .start(policy)
        .await;
    let clawd = world.agent("clawd");
    let cat = json!({"prompt": "a cat"});
    assert_eq!(
        reason(&clawd.call("images__imagine", cat.clone()).await),
        "none"
    );
    assert_eq!(
        reason(&clawd.call("images__blend", cat.clone()).await),
        "none"
    );
    assert_eq!(
        reason(&clawd.call("notes__search", cat.clone()).await),
        "none"
    );
    let repeat = clawd.call("images__imagine", cat.clone()).await;
    assert_eq!(reason(&repeat), "already_executed");
    assert_eq!(refusal(&repeat)["retry_after_ms"], 600_000);
    let text = repeat["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("wait until 2026-11-20T12:10:00"), "{text}");
    // Models make up a fresh key for each attempt.
    let repeat = call(&clawd, "imagine", cat.clone(), "fresh").await;
    assert_eq!(reason(&repeat), "already_executed");
    let dog = json!({"prompt": "a dog"});
    assert_eq!(reason(&clawd.call("images__imagine", dog).await), "none");
    assert_eq!(
        reason(&clawd.call("images__describe", cat.clone()).await),
        "none"
    );
    assert_eq!(
        reason(&clawd.call("images__describe", cat.clone()).await),
        "none"
    );
    let other = world.agent("other");
    assert_eq!(
        reason(&other.call("images__imagine", cat.clone()).await),
        "none"
    );
    world.restart(policy).await;
    let clawd = world.agent("clawd");
    world.clock().advance(Duration::from_secs(599));
    assert_eq!(
        reason(&clawd.call("images__imagine", cat.clone()).await),
        "already_executed"
    );
    assert_eq!(
        reason(&clawd.call("notes__search", cat.clone()).await),
        "none"
    );
    world.clock().advance(Duration::from_secs(1));
    assert_eq!(
        reason(&clawd.call("images__imagine", cat.clone()).await),
        "none"
    );
    assert_eq!(
        reason(&clawd.call("images__blend", cat.clone()).await),
        "already_executed"
    );
    assert_eq!(world.used(BUDGET).await, 6);
    // Without the rule it is a call like any other.
    world.restart(&policy.replace("imagine: 10m, ", "")).await;
    let clawd = world.agent("clawd");
    assert_eq!(reason(&clawd.call("images__imagine", cat).await), "none");
    world.stop().await;
}

fn elicit() -> Value {
    params("imagine", &json!({"do": "elicit"}))
}

/// A call of a client that can be asked, with the same key each time.
async fn round(agent: &Client, params: Value) -> Value {
    let can = json!({"elicitation": {}});
    let sending = agent.modern_that_can(PATH, "tools/call", params, can);
    sending.header("idempotency-key", "k").send().await.json()
}

fn with_answers(mut params: Value, asked: &Value, key: &str) -> Value {
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    params["requestState"] = asked["result"]["requestState"].clone();
    params["inputResponses"] = json!({key: {"action": "accept", "content": {"name": "Ada"}}});
    params
}

#[tokio::test]
async fn the_next_round_of_a_call_is_no_repeat() {
    for script in [FakeUpstream::modern(), FakeUpstream::legacy()] {
        // The one asks with its result, the other in the middle of its call.
        let builder = World::builder().server("images", script);
        let policy = World::small_policy("budgets: [9/day], dedupe: 1h");
        let world = builder.start(&policy).await;
        let clawd = world.agent("clawd");
        let is_modern = world.server("images").is_modern();
        let (call, question) = if is_modern {
            (elicit(), "name")
        } else {
            let rounds = json!({"do": "push", "ask": [["elicitation/create"]]});
            (params("imagine", &rounds), "in-1")
        };
        let asked = round(&clawd, call.clone()).await;
        let repeat = round(&clawd, call.clone()).await;
        assert_eq!(reason(&repeat), "in_progress", "{repeat}");
        let answered = with_answers(call.clone(), &asked, question);
        let done = round(&clawd, answered.clone()).await;
        assert_eq!(done["result"]["resultType"], "complete", "{done}");
        assert_eq!(reason(&done), "none", "{done}");
        assert_eq!(reason(&round(&clawd, call).await), "already_executed");
        // The same answers once more buy nothing.
        let again = round(&clawd, answered).await;
        assert!(
            reason(&again) == "already_executed" || again["error"]["code"] == -32602,
            "{again}"
        );
        let rounds = if is_modern { 2 } else { 1 };
        assert_eq!(world.server("images").calls(), rounds);
        assert_eq!(world.used("servers.images").await, 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn an_agent_with_a_session_is_asked_in_the_middle_and_its_key_is_kept() {
    let builder = World::builder().server("images", FakeUpstream::modern());
    let world = builder
        .start(&World::small_policy("budgets: [9/day], dedupe: 1h"))
        .await;
    let can = json!({"elicitation": {}});
    let clawd = world.agent("clawd");
    let session = clawd.session_that_can(PATH, "2025-11-25", can).await;
    let sending = || {
        let sending = session.post(rpc("tools/call", &elicit()));
        sending.header("idempotency-key", "k")
    };
    let mut stream = sending().open().await;
    let question = stream.next().await.unwrap();
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(session.post(answer.to_string()).send().await.status, 202);
    let done = stream.next().await.unwrap();
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    let repeat = sending().with_id(&json!(2)).send().await;
    assert_eq!(reason(&repeat.messages()[0]), "already_executed");
    assert_eq!(world.used("servers.images").await, 1);
    world.stop().await;
}

#[tokio::test]
async fn every_repeat_is_written_down_with_the_call_it_repeats() {
    let world = world().await;
    let clawd = world.agent("clawd");
    call(&clawd, "imagine", json!({}), "secret-key").await;
    call(&clawd, "imagine", json!({}), "secret-key").await;
    call(&clawd, "imagine", json!({"n": 1}), "secret-key").await;
    call(&clawd, "imagine", json!({"do": "cut"}), "second").await;
    call(&clawd, "imagine", json!({"do": "cut"}), "second").await;
    let events = without_lists(world.events().await);
    let expected = "admitted settled already_executed key_reused admitted failed outcome_unknown";
    assert_eq!(told(&events).join(" "), expected);
    let denied = find(&events, "denied");
    let first = find(&events, "admitted")[0].text("call");
    assert_eq!(denied[0].text("first_call"), first);
    assert_eq!(denied[0].text("first_outcome"), "ok");
    assert_eq!(denied[1].text("first_call"), first);
    assert_eq!(denied[2].text("first_outcome"), "broken");
    let stopped = world.stop().await;
    let bytes = std::fs::read(&stopped.file).unwrap();
    let is_there = bytes.windows(10).any(|part| part == b"secret-key");
    assert!(!is_there, "a key stands in the file only as a digest");
}

#[tokio::test]
async fn a_repeat_gets_the_result_where_the_log_keeps_it_whole() {
    for (script, speaks) in [
        (FakeUpstream::legacy(), "legacy"),
        (FakeUpstream::modern(), "modern"),
    ] {
        let policy = World::small_policy("budgets: [99/day], capture: full, dedupe: 1h");
        let policy = policy.replace("servers: [\"*\"]", "servers: [\"*\"], capture: full");
        let builder = World::builder().server("images", script);
        let mut world = builder.start(&policy).await;
        let arguments = json!({"prompt": "a cat", "n": 1});
        let clawd = world.agent("clawd");
        let mut first = call(&clawd, "imagine", arguments.clone(), "k").await;
        // A repeat costs nothing, so it has nothing to say of budgets.
        let meta = first["result"].as_object_mut().unwrap().remove("_meta");
        assert_eq!(meta.unwrap()["dev.hayward/budget"][0]["used"], 1, "{first}");
        for round in ["in the same run", "after a restart"] {
            let clawd = world.agent("clawd");
            let again = call(&clawd, "imagine", arguments.clone(), "k").await;
            let fresh = call(&clawd, "imagine", arguments.clone(), "made-up").await;
            let events = without_lists(world.events().await);
            let admitted = find(&events, "admitted")[0].text("call").to_owned();
            for mut repeat in [again, fresh] {
                let meta =
                    json!({"dev.hayward/replayed": true, "dev.hayward/first_call_id": admitted});
                assert_eq!(repeat["result"]["_meta"], meta, "{round}: {repeat}");
                repeat["result"].as_object_mut().unwrap().remove("_meta");
                assert_eq!(repeat, first, "{round}");
            }
            let modern = clawd.modern(PATH, "tools/call", params("imagine", &arguments));
            let modern = modern.send().await.json();
            assert_eq!(modern["result"]["resultType"], "complete", "{modern}");
            assert_eq!(modern["result"]["_meta"]["dev.hayward/replayed"], true);
            world.restart(&policy).await;
        }
        let events = without_lists(world.events().await);
        assert_eq!(find(&events, "settled")[0].text("replays"), speaks);
        let denied = find(&events, "denied");
        assert_eq!(denied.len(), 6);
        let admitted = find(&events, "admitted")[0].text("call");
        for event in denied {
            assert_eq!(
                (event.text("reason"), event.text("first_call")),
                ("replayed", admitted)
            );
        }
        assert_eq!(world.server("images").calls(), 1);
        assert_eq!(world.used("servers.images").await, 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_result_that_is_not_kept_as_it_came_is_not_given_again() {
    let policy = World::small_policy("capture: full");
    let policy = policy.replace("servers: [\"*\"]", "servers: [\"*\"], capture: full");
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(&policy).await;
    let clawd = world.agent("clawd");
    for (what, arguments, expected) in [
        ("small", json!({"n": "x".repeat(9_000)}), None),
        (
            "large",
            json!({"n": "x".repeat(20_000)}),
            Some("already_executed"),
        ),
        (
            "secret",
            json!({"password": "hunter2"}),
            Some("already_executed"),
        ),
        ("failed", json!({"do": "fail"}), None),
        (
            "error",
            json!({"do": "rpc_error"}),
            Some("already_executed"),
        ),
    ] {
        call(&clawd, "imagine", arguments.clone(), what).await;
        let repeat = call(&clawd, "imagine", arguments, what).await;
        match expected {
            Some(expected) => assert_eq!(reason(&repeat), expected, "{what}: {repeat}"),
            None => {
                let is_replayed = &repeat["result"]["_meta"]["dev.hayward/replayed"];
                assert_eq!(*is_replayed, true, "{what}: {repeat}");
            }
        }
    }
    assert_eq!(world.server("images").calls(), 5);
    // Once the log has it no more, nobody gets it.
    let failed = "SELECT result_seq FROM call_key WHERE outcome = 'tool_error'";
    let mut file =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(world.file()))
            .await
            .unwrap();
    let seq: i64 = sqlx::query_scalar(failed)
        .fetch_one(&mut file)
        .await
        .unwrap();
    for (from, to, expected) in [(seq, -seq, "already_executed"), (-seq, seq, "none")] {
        let moved = sqlx::query("UPDATE body SET seq = $1 WHERE seq = $2")
            .bind(to)
            .bind(from);
        moved.execute(&mut file).await.unwrap();
        let repeat = call(&clawd, "imagine", json!({"do": "fail"}), "failed").await;
        assert_eq!(reason(&repeat), expected, "{repeat}");
    }
    file.close().await.unwrap();
    world.stop().await;
}
