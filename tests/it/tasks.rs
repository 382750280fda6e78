//! Tasks on the endpoint of one server, in both eras: the id is the agent's own, what is asked about it is part of
//! the call that made it, and nothing of it crosses from one era to the other.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, FakeUpstream, Reply, Session, World, find, rpc, without_lists};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 1/day, each: agent}], rate: 100/second}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  other: {token_hash: "@other", servers: [images]}
"#;

const DAY: Duration = Duration::from_secs(24 * 3_600);
const PATH: &str = "/mcp/images";
const EXTENSION: &str = "io.modelcontextprotocol/tasks";
const RELATED: &str = "io.modelcontextprotocol/related-task";

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::both().tasks())
        .start(POLICY)
        .await
}

/// A request that declares the extension.
async fn ask(client: &Client, path: &str, method: &str, params: Value) -> Reply {
    let can = json!({"extensions": {EXTENSION: {}, "com.example/other": {}}});
    client
        .modern_that_can(path, method, params, can)
        .send()
        .await
}

fn work(what: &str) -> Value {
    json!({"name": "imagine", "arguments": {"do": what}})
}

fn task_work(what: &str) -> Value {
    json!({"name": "imagine", "arguments": {"do": what}, "task": {"ttl": 60_000}})
}

async fn made(client: &Client, what: &str) -> String {
    let answer = ask(client, PATH, "tools/call", work(what)).await;
    let result = &answer.json()["result"];
    assert_eq!(result["resultType"], "task", "{answer:?}");
    result["taskId"].as_str().unwrap().to_owned()
}

async fn made_in(session: &Session, what: &str) -> String {
    let answer = session.ask("tools/call", task_work(what)).await;
    let task = &answer["result"]["task"];
    assert_eq!(task["ttl"], 60_000, "{answer}");
    task["taskId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_modern_task_is_followed_by_a_sealed_id_to_its_end() {
    // Time stands still, so there is one call and no other; what is asked about its task is part of it.
    let world = World::builder()
        .server("images", FakeUpstream::both().tasks())
        .start(&POLICY.replace("100/second", "1/second"))
        .await;
    let clawd = world.agent("clawd");
    let id = made(&clawd, "ask_later").await;
    assert!(!id.contains("own-task"), "{id}");

    let stands = ask(&clawd, PATH, "tasks/get", json!({"taskId": id})).await;
    let stands = stands.json()["result"].clone();
    assert_eq!(stands["taskId"], id.as_str());
    assert_eq!(stands["status"], "input_required");
    assert_eq!(
        stands["inputRequests"]["name"]["method"],
        "elicitation/create"
    );
    let answers = json!({"taskId": id, "inputResponses": {"name": {"action": "accept"}}});
    let update = ask(&clawd, PATH, "tasks/update", answers).await.json();
    assert_eq!(update["result"], json!({"resultType": "complete"}));
    let stands = ask(&clawd, PATH, "tasks/get", json!({"taskId": id})).await;
    let result = &stands.json()["result"]["result"];
    assert_eq!(
        result["structuredContent"]["answer"]["name"]["action"],
        "accept"
    );
    let cancel = ask(&clawd, PATH, "tasks/cancel", json!({"taskId": id})).await;
    assert_eq!(cancel.json()["result"], json!({"resultType": "complete"}));

    let mut requests = world.server("images").requests();
    // The list of tools is looked at before the first call.
    requests.retain(|seen| seen.method != "tools/list");
    assert_eq!(requests.len(), 5);
    for seen in &requests[1..] {
        assert_eq!(seen.param("taskId"), "own-task-0");
        assert_eq!(seen.header("mcp-name"), Some("own-task-0"));
    }
    let declared = &requests[0].param("_meta")["io.modelcontextprotocol/clientCapabilities"];
    assert_eq!(*declared, json!({"extensions": {EXTENSION: {}}}));
    // The budget of one call a day is used up by the first, which pays for all.
    assert_eq!(
        world
            .used("servers.images calls/day@UTC each agent=clawd")
            .await,
        1
    );
    let events = without_lists(world.events().await);
    let admitted = find(&events, "admitted");
    for later in &admitted[1..] {
        assert_eq!(later.text("continues"), admitted[0].text("call"));
        assert_eq!(later.text("tool"), "imagine");
    }
    world.stop().await;
}

#[tokio::test]
async fn the_id_of_another_is_one_that_does_not_exist() {
    let world = world().await;
    let (clawd, other) = (world.agent("clawd"), world.agent("other"));
    let id = made(&clawd, "work").await;
    // The budget of the next day.
    world.clock().advance(DAY);
    let session = clawd.session(PATH, "2025-11-25").await;
    let in_session = made_in(&session, "work").await;
    let others_session = other.session(PATH, "2025-11-25").await;
    let before = world.server("images").requests().len();

    let unknown = ask(&clawd, PATH, "tasks/get", json!({"taskId": "own-task-0"})).await;
    assert_eq!(unknown.code(), (400, -32602));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let foreign = ask(&other, PATH, method, json!({"taskId": id})).await;
        assert_eq!(foreign.body, unknown.body);
        let crossed = ask(&clawd, PATH, method, json!({"taskId": in_session})).await;
        assert_eq!(crossed.body, unknown.body, "of the other era");
        let none = ask(&clawd, PATH, method, json!({"taskId": "x"})).await;
        assert_eq!(none.body, unknown.body);
    }
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let params = json!({"taskId": in_session});
        let foreign = others_session.ask(method, params).await;
        assert_eq!(foreign["error"], unknown.json()["error"]);
        let crossed = session.ask(method, json!({"taskId": id})).await;
        assert_eq!(crossed["error"], unknown.json()["error"]);
    }
    let listed = others_session.ask("tasks/list", json!({})).await;
    assert_eq!(listed["result"]["tasks"], json!([]));
    assert_eq!(
        world.server("images").requests().len(),
        before + 1,
        "nothing but the list reached the server"
    );
    // Too old.
    world.clock().advance(8 * DAY);
    let old = ask(&clawd, PATH, "tasks/get", json!({"taskId": id})).await;
    assert_eq!(old.body, unknown.body);
    world.stop().await;
}

#[tokio::test]
async fn a_task_of_a_session_is_followed_listed_and_cancelled() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, "2025-11-25").await;
    assert_eq!(
        session.opened["result"]["capabilities"]["tasks"],
        json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}})
    );
    let other = world.agent("other").session(PATH, "2025-11-25").await;
    made_in(&other, "work").await;
    let id = made_in(&session, "work").await;
    assert!(!id.contains("own-task"), "{id}");

    let stands = session.ask("tasks/get", json!({"taskId": id})).await;
    assert_eq!(stands["result"]["taskId"], id.as_str());
    assert_eq!(stands["result"]["status"], "working");
    let result = session.ask("tasks/result", json!({"taskId": id})).await;
    assert_eq!(result["result"]["content"][0]["text"], "done");
    assert_eq!(result["result"]["_meta"][RELATED]["taskId"], id.as_str());
    let listed = session.ask("tasks/list", json!({})).await;
    let tasks = listed["result"]["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 1, "{listed}");
    assert_eq!(tasks[0]["taskId"], id.as_str());
    let cancelled = session.ask("tasks/cancel", json!({"taskId": id})).await;
    assert_eq!(cancelled["result"]["taskId"], id.as_str());
    assert_eq!(cancelled["result"]["status"], "cancelled");

    let last = world.server("images").requests().pop().unwrap();
    assert_eq!(last.param("taskId"), "own-task-1");
    world.stop().await;
}

#[tokio::test]
async fn what_a_task_wants_to_know_is_asked_under_the_agents_id() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let clawd = world.agent("clawd");
    let session = clawd.session_that_can(PATH, "2025-11-25", can).await;
    let id = made_in(&session, "ask_later").await;
    let wait = rpc("tasks/result", &json!({"taskId": id}));
    let mut stream = session.post(wait).open().await;
    let question = stream.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["_meta"][RELATED]["taskId"], id.as_str());

    // Meanwhile it is asked for on the connection where the server knows it.
    let asked = json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/get", "params": {"taskId": id}});
    let stands = session.post(asked.to_string()).send().await.json();
    assert_eq!(stands["result"]["status"], "input_required", "{stands}");

    let related = json!({RELATED: {"taskId": id}});
    let answer = json!({"jsonrpc": "2.0", "id": question["id"],
        "result": {"action": "accept", "_meta": related}});
    assert_eq!(session.post(answer.to_string()).send().await.status, 202);
    let done = stream.next().await.unwrap();
    let told = &done["result"]["structuredContent"]["answer"];
    assert_eq!(told["action"], "accept", "{done}");
    assert_eq!(told["_meta"][RELATED]["taskId"], "own-task-0");
    world.stop().await;
}

#[tokio::test]
async fn tasks_are_told_of_only_within_an_era_and_on_the_servers_own_endpoint() {
    let world = World::builder()
        .server("images", FakeUpstream::both().tasks())
        .server("old", FakeUpstream::legacy().tasks())
        .server("new", FakeUpstream::modern().tasks())
        .start(
            &POLICY
                .replace(
                    "agents:",
                    "  old: {url: \"@old\"}\n  new: {url: \"@new\"}\nagents:",
                )
                .replace("[images]}\n  other", "[images, old, new]}\n  other"),
        )
        .await;
    let clawd = world.agent("clawd");
    let discovered = async |path: &str| {
        let found = ask(&clawd, path, "server/discover", json!({})).await;
        found.json()["result"]["capabilities"].clone()
    };
    let offered = json!({EXTENSION: {"x": 1}});
    for (path, extensions) in [
        (PATH, &offered),
        ("/mcp/new", &offered),
        ("/mcp/old", &Value::Null),
        ("/mcp", &Value::Null),
    ] {
        let capabilities = discovered(path).await;
        assert_eq!(capabilities["extensions"], *extensions, "{path}");
        assert_eq!(capabilities["tasks"], Value::Null, "{path}");
    }
    for (path, version, is_offered) in [
        (PATH, "2025-11-25", true),
        ("/mcp/old", "2025-11-25", true),
        ("/mcp/new", "2025-11-25", false),
        (PATH, "2025-06-18", false),
        ("/mcp", "2025-11-25", false),
    ] {
        let session = clawd.session(path, version).await;
        let capabilities = &session.opened["result"]["capabilities"];
        assert_eq!(
            capabilities["tasks"].is_object(),
            is_offered,
            "{path} {version}"
        );
        assert_eq!(capabilities["extensions"], Value::Null);
        let asked = session.ask("tasks/get", json!({"taskId": "x"})).await;
        let code = if is_offered { -32602 } else { -32601 };
        assert_eq!(asked["error"]["code"], code, "{path} {version}");
    }
    for path in ["/mcp/old", "/mcp"] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let asked = ask(&clawd, path, method, json!({"taskId": "x"})).await;
            assert_eq!(asked.code(), (404, -32601), "{path} {method}");
        }
    }
    for method in ["tasks/result", "tasks/list"] {
        let asked = ask(&clawd, PATH, method, json!({"taskId": "x"})).await;
        assert_eq!(asked.code(), (404, -32601), "{method}");
    }
    let bare = clawd.bare(PATH, "tasks/get", json!({"taskId": "x"})).await;
    assert_eq!(bare["error"]["code"], -32601);
    world.stop().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_followed_is_not_asked_for() {
    let world = world().await;
    let other = world.agent("other");
    // Not declared.
    let plain = other.modern(PATH, "tools/call", work("work")).send().await;
    let done = json!([{"type": "text", "text": "done"}]);
    assert_eq!(plain.json()["result"]["content"], done, "{plain:?}");
    let undeclared = other
        .modern(PATH, "tasks/get", json!({"taskId": "x"}))
        .send()
        .await;
    assert_eq!(undeclared.code(), (400, -32021));
    let data = &undeclared.json()["error"]["data"];
    assert_eq!(
        data["requiredCapabilities"],
        json!({"extensions": {EXTENSION: {}}})
    );

    // On the common endpoint, and in revisions without tasks.
    let clawd = world.agent("clawd");
    let common = clawd.session("/mcp", "2025-11-25").await;
    let answer = common.ask("tools/call", task_work("work")).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    world.clock().advance(DAY);
    let answer = clawd.bare(PATH, "tools/call", task_work("work")).await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    world.clock().advance(DAY);
    let declared = ask(&clawd, "/mcp", "tools/call", work("work")).await;
    assert_eq!(declared.json()["result"]["content"], done, "{declared:?}");
    for seen in world.server("images").requests() {
        assert_eq!(seen.param("task"), Value::Null);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_task_is_followed_only_as_long_as_its_tool_is_granted() {
    for (style, code) in [("explain", -31_403), ("hide", -32_602)] {
        let grants = "[{server: images, tools: [imagine], expires: 2026-11-20T13:00:00Z}, \
                      {server: images, tools: [describe]}]";
        let agent = format!("servers: {grants}, ungranted: {style}}}\n  other");
        let policy = POLICY.replace("servers: [images]}\n  other", &agent);
        let world = World::builder()
            .server("images", FakeUpstream::both().tasks())
            .start(&policy)
            .await;
        let clawd = world.agent("clawd");
        let session = clawd.session(PATH, "2025-11-25").await;
        let id = made_in(&session, "work").await;
        world.clock().advance(Duration::from_secs(3_600));
        let refused = session.ask("tasks/get", json!({"taskId": id})).await;
        assert_eq!(refused["error"]["code"], code, "{refused}");
        let listed = session.ask("tasks/list", json!({})).await;
        assert_eq!(listed["result"]["tasks"], json!([]), "{listed}");
        world.stop().await;
    }
}
