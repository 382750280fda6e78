//! Clients with sessions and clients of 2026-07-28, at servers of either era.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{FakeUpstream, World, find, rpc};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [99/day]}
  notes: {url: "@notes", budgets: [99/day]}
  plain: {url: "@plain"}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .server("plain", FakeUpstream::sessionless())
        .start(POLICY)
        .await
}

const VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

#[tokio::test]
async fn a_session_lives_from_initialize_to_delete() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for version in VERSIONS {
        for path in ["/mcp", "/mcp/", "/mcp/images"] {
            let session = clawd.session(path, version).await;
            assert_eq!(session.opened["result"]["protocolVersion"], version);
            assert_eq!(session.opened["result"]["capabilities"]["tools"], json!({}));
            assert!(
                session.id.len() >= 32 && session.id.bytes().all(|byte| byte.is_ascii_graphic())
            );
            let list = session.ask("tools/list", json!({})).await;
            assert!(list["result"]["tools"].is_array(), "{list}");
            let name = if path == "/mcp/images" {
                "imagine"
            } else {
                "images__imagine"
            };
            let called = session.ask("tools/call", json!({"name": name})).await;
            assert_eq!(called["result"]["content"][0]["text"], "done");
            assert_eq!(session.ask("ping", json!({})).await["result"], json!({}));
            assert_eq!(session.request("DELETE").send().await.status, 200);
            let over = session.post(rpc("tools/list", &json!({}))).send().await;
            assert_eq!(over.status, 404);
            assert_eq!(session.request("DELETE").send().await.status, 404);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_version_nobody_knows_is_answered_with_the_latest() {
    let world = world().await;
    for version in ["1999-01-01", "2026-07-28", ""] {
        let params = json!({"protocolVersion": version, "capabilities": {}});
        let opened = world
            .agent("clawd")
            .bare("/mcp", "initialize", params)
            .await;
        assert_eq!(opened["result"]["protocolVersion"], "2025-11-25");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_session_of_somebody_else_is_one_that_does_not_exist() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp", "2025-06-18").await;
    let other = world.agent("other");
    for method in ["tools/list", "tools/call", "ping"] {
        let body = rpc(method, &json!({"name": "images__imagine"}));
        let with = |id: &str| other.post("/mcp", &*body).header("mcp-session-id", id);
        let foreign = with(&session.id).send().await;
        let unknown = with(&"0".repeat(session.id.len())).send().await;
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.body, unknown.body);
        let names = |headers: &hyper::HeaderMap| headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&foreign.headers), names(&unknown.headers));
    }
    // Nor does it exist on another endpoint, and nobody else can end it.
    let elsewhere = world
        .agent("clawd")
        .post("/mcp/images", rpc("ping", &json!({})));
    let elsewhere = elsewhere.header("mcp-session-id", &session.id).send().await;
    assert_eq!(elsewhere.status, 404);
    let end = other
        .request("DELETE", "/mcp")
        .header("mcp-session-id", &session.id);
    assert_eq!(end.send().await.status, 404);
    assert_eq!(session.ask("ping", json!({})).await["result"], json!({}));

    let events = world.events().await;
    let denied = find(&events, "denied");
    let refused: Vec<_> = denied
        .iter()
        .filter(|event| event.text("agent") == "other")
        .collect();
    assert_eq!(refused.len(), 7, "each attempt is written down");
    assert!(
        refused
            .iter()
            .all(|event| event.reason.as_deref() == Some("unknown_session"))
    );
    world.stop().await;
}

#[tokio::test]
async fn a_server_sees_one_session_for_each_agent() {
    let world = world().await;
    for agent in ["clawd", "other", "clawd", "other"] {
        world.agent(agent).call("images__imagine", json!({})).await;
    }
    let requests = world.server("images").requests();
    let sessions: Vec<_> = requests
        .iter()
        .map(|seen| seen.header("mcp-session-id"))
        .collect();
    assert_eq!(sessions[0], sessions[2]);
    assert_eq!(sessions[1], sessions[3]);
    assert_ne!(sessions[0], sessions[1]);
    world.stop().await;
}

#[tokio::test]
async fn a_stateless_client_is_served_without_a_session() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for path in ["/mcp", "/mcp/notes", "/mcp/images"] {
        let found = clawd
            .modern(path, "server/discover", json!({}))
            .send()
            .await;
        assert_eq!(found.status, 200, "{found:?}");
        let result = found.json()["result"].clone();
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(result["resultType"], "complete");
        assert_eq!(
            (&result["ttlMs"], &result["cacheScope"]),
            (&json!(0), &json!("private"))
        );
        assert!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string());
        assert_eq!(found.header("mcp-session-id"), None);
    }
    for (server, own) in [
        ("images", "imagine"),
        ("notes", "describe"),
        ("plain", "blend"),
    ] {
        let list = clawd
            .modern(&format!("/mcp/{server}"), "tools/list", json!({}))
            .send()
            .await
            .json();
        let result = &list["result"];
        assert_eq!(result["resultType"], "complete", "{server}");
        assert_eq!(result["cacheScope"], "private", "{server}");
        assert!(result["ttlMs"].is_u64(), "{server}");
        let params = json!({"name": format!("{server}__{own}"), "arguments": {"n": 1}});
        let called = clawd
            .modern("/mcp", "tools/call", params)
            .send()
            .await
            .json();
        assert_eq!(called["result"]["resultType"], "complete", "{server}");
        assert_eq!(
            called["result"]["structuredContent"],
            json!({"n": 1}),
            "{server}"
        );
    }
    let read = clawd.modern(
        "/mcp/images",
        "resources/read",
        json!({"uri": "note://gone"}),
    );
    let gone = read.send().await;
    assert_eq!(
        gone.json()["error"]["code"],
        -32602,
        "the newer code for an unknown resource"
    );
    let old = clawd
        .bare(
            "/mcp/images",
            "resources/read",
            json!({"uri": "note://gone"}),
        )
        .await;
    assert_eq!(old["error"]["code"], -32002);
    world.stop().await;
}

#[tokio::test]
async fn a_modern_request_that_contradicts_itself_is_refused() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let call = || clawd.modern("/mcp", "tools/call", json!({"name": "images__imagine"}));
    let plain = rpc("tools/list", &json!({}));
    let other = rpc(
        "tools/list",
        &json!({"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2031-01-01",
            "io.modelcontextprotocol/clientCapabilities": {},
        }}),
    );
    let bare_claim = rpc(
        "tools/list",
        &json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}),
    );
    let list = || clawd.modern("/mcp", "tools/list", json!({}));
    let table = [
        ("no _meta", list().body(plain), (400, -32602)),
        ("no capabilities", list().body(bare_claim), (400, -32602)),
        (
            "version header missing",
            call().without("mcp-protocol-version"),
            (400, -32020),
        ),
        (
            "version header differs",
            call().header("mcp-protocol-version", "2025-11-25"),
            (400, -32020),
        ),
        (
            "method header missing",
            call().without("mcp-method"),
            (400, -32020),
        ),
        (
            "method header differs",
            call().header("mcp-method", "tools/list"),
            (400, -32020),
        ),
        (
            "method header in capitals",
            call().header("mcp-method", "TOOLS/CALL"),
            (400, -32020),
        ),
        (
            "name header missing",
            call().without("mcp-name"),
            (400, -32020),
        ),
        (
            "name header differs",
            call().header("mcp-name", "notes__describe"),
            (400, -32020),
        ),
        (
            "method header twice",
            call().and("mcp-method", "tools/call"),
            (400, -32020),
        ),
        (
            "unknown version",
            list()
                .header("mcp-protocol-version", "2031-01-01")
                .body(other),
            (400, -32022),
        ),
        (
            "removed: initialize",
            clawd.modern("/mcp", "initialize", json!({})),
            (404, -32601),
        ),
        (
            "removed: ping",
            clawd.modern("/mcp", "ping", json!({})),
            (404, -32601),
        ),
        (
            "removed: setLevel",
            clawd.modern("/mcp", "logging/setLevel", json!({})),
            (404, -32601),
        ),
        (
            "unknown method",
            clawd.modern("/mcp", "no/such", json!({})),
            (404, -32601),
        ),
        (
            "no name",
            clawd
                .modern("/mcp", "tools/call", json!({}))
                .header("mcp-name", "x"),
            (400, -32020),
        ),
    ];
    let number = table.len();
    for (what, sending, expected) in table {
        let answer = sending.send().await;
        assert_eq!(answer.code(), expected, "{what}: {answer:?}");
        assert_eq!(answer.json()["id"], 1, "{what}");
    }
    let name = "=?base64?aW1hZ2VzX19pbWFnaW5l?=";
    assert_eq!(call().header("mcp-name", name).send().await.status, 200);
    assert_eq!(
        call()
            .header("mcp-session-id", "ignored")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        find(&world.events().await, "denied").len(),
        number,
        "each is written down"
    );
    world.stop().await;
}

#[tokio::test]
async fn what_a_server_says_meanwhile_streams_through() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp", "2025-11-25").await;
    for server in ["images", "notes", "plain"] {
        for is_modern in [true, false] {
            let params = json!({
                "name": format!("{server}__narrate"),
                "_meta": {"progressToken": "mine", "io.modelcontextprotocol/logLevel": "info"},
            });
            let sending = if is_modern {
                clawd.modern("/mcp", "tools/call", params)
            } else {
                session.post(rpc("tools/call", &params))
            };
            let what = format!("{server} {is_modern}");
            let mut stream = sending.open().await;
            assert_eq!(
                stream.headers["content-type"], "text/event-stream",
                "{what}"
            );
            let first = stream.next().await.unwrap();
            assert_eq!(first["method"], "notifications/progress", "{what}");
            assert_eq!(
                first["params"],
                json!({"progressToken": "mine", "progress": 1, "total": 2})
            );
            // Only now does the server go on: what came did not wait for the answer.
            world.server(server).release(1);
            let log = stream.next().await.unwrap();
            assert_eq!(log["method"], "notifications/message", "{what}: {log}");
            assert_eq!(log["params"]["data"], "nearly there", "{what}");
            assert_eq!(
                stream.next().await.unwrap()["params"]["progress"],
                2,
                "{what}"
            );
            let answer = stream.next().await.unwrap();
            assert_eq!(answer["id"], 1, "{what}");
            assert_eq!(answer["result"]["content"][0]["text"], "done", "{what}");
            assert_eq!(stream.next().await, None, "{what}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn an_answer_alone_is_json_and_notices_reach_only_who_takes_them() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let quick = clawd.modern("/mcp", "tools/call", json!({"name": "images__imagine"}));
    assert_eq!(
        quick.send().await.header("content-type"),
        Some("application/json")
    );
    world.server("images").release(9);
    // A bare client takes no stream; nor does it want to hear of progress it did not ask for.
    let params = json!({"name": "images__narrate", "_meta": {"progressToken": 5}});
    let bare = clawd.post("/mcp", rpc("tools/call", &params)).send().await;
    assert_eq!(bare.header("content-type"), Some("application/json"));
    assert_eq!(bare.json()["result"]["content"][0]["text"], "done");
    // 2026-07-28: no log level, no log lines.
    let params = json!({"name": "images__narrate", "_meta": {"progressToken": 5}});
    let mut stream = clawd.modern("/mcp", "tools/call", params).open().await;
    let mut methods = Vec::new();
    while let Some(message) = stream.next().await {
        methods.push(message["method"].as_str().unwrap_or("answer").to_string());
    }
    assert_eq!(
        methods,
        ["notifications/progress", "notifications/progress", "answer"]
    );
    // A session chooses its level.
    let session = clawd.session("/mcp", "2025-06-18").await;
    session
        .ask("logging/setLevel", json!({"level": "error"}))
        .await;
    let params = json!({"name": "images__narrate"});
    let quiet = session.post(rpc("tools/call", &params)).send().await;
    assert_eq!(quiet.header("content-type"), Some("application/json"));
    assert_eq!(quiet.json()["result"]["content"][0]["text"], "done");
    world.stop().await;
}

#[tokio::test]
async fn a_modern_hang_up_cancels_the_call_and_costs_it() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for server in ["images", "notes"] {
        for accept in ["application/json", "application/json, text/event-stream"] {
            let before = world.server(server).calls();
            let params = json!({"name": format!("{server}__slow")});
            let sending = clawd
                .modern("/mcp", "tools/call", params)
                .header("accept", accept);
            let calling = tokio::spawn(sending.send());
            world.server(server).until_calls(before + 1).await;
            calling.abort();
            drop(calling.await);
        }
        world.server(server).until_dropped(2).await;
    }
    world
        .server("images")
        .until_aside("notifications/cancelled")
        .await;
    let file = world.stop().await;
    let events = super::support::events(&file.file).await;
    let failed = find(&events, "failed");
    assert_eq!(failed.len(), 4);
    for event in failed {
        assert_eq!(event.text("outcome"), "cancelled");
        assert_eq!(event.meta["budgets"][0]["charged"], 1);
    }
}

#[tokio::test]
async fn a_hang_up_of_an_earlier_revision_lets_the_call_finish() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp", "2025-11-25").await;
    let body = rpc("tools/call", &json!({"name": "images__slow"}));
    for (number, sending) in [session.post(&*body), clawd.post("/mcp", &*body)]
        .into_iter()
        .enumerate()
    {
        let calling = tokio::spawn(sending.send());
        world.server("images").until_requests(number + 1).await;
        calling.abort();
        drop(calling.await);
    }
    world.server("images").release(2);
    let stopped = world.stop().await;
    let events = super::support::events(&stopped.file).await;
    let outcomes: Vec<&str> = find(&events, "settled")
        .iter()
        .map(|event| event.text("outcome"))
        .collect();
    assert_eq!(outcomes, ["ok", "ok"]);
}

#[tokio::test]
async fn what_a_server_wants_to_know_is_refused_clearly() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let asked = clawd.call("notes__ask", json!({})).await;
    assert_eq!(asked["result"]["isError"], true, "{asked}");
    let refusal = &asked["result"]["_meta"]["dev.hayward/refusal"];
    assert_eq!(refusal["reason"], "needs_input");
    world.stop().await;
}

#[tokio::test]
async fn session_ids_are_never_twice_the_same() {
    let world = world().await;
    let mut ids = BTreeSet::new();
    for agent in ["clawd", "other"] {
        for _ in 0..20 {
            ids.insert(
                world
                    .agent(agent)
                    .session("/mcp/plain", "2025-11-25")
                    .await
                    .id,
            );
        }
    }
    assert_eq!(ids.len(), 40);
    let value: Value = json!(ids);
    let events = world.events().await;
    for id in value.as_array().unwrap() {
        let whole = id.as_str().unwrap();
        assert!(
            events
                .iter()
                .all(|event| !event.meta.to_string().contains(whole)),
            "the log keeps no session id that could be used"
        );
    }
    world.stop().await;
}
