//! Bare clients: what they send works, what they get is theirs, and it is what the server said.

use std::collections::BTreeSet;

use hayward::policy::{Question, Target, decide};
use serde_json::{Value, json};

use super::support::{FakeUpstream, World, find, rpc};

const POLICY: &str = r#"
servers:
  images: {url: "@images"}
  notes: {url: "@notes"}
deny: ["images/blend"]
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  painter: {token_hash: "@painter", servers: [{server: images, tools: [imagine, "b*"]}]}
  reader: {token_hash: "@reader", servers: [notes]}
  nobody: {token_hash: "@nobody", servers: []}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy().pages_of(2))
        .server(
            "notes",
            FakeUpstream::modern().tools(["search", "describe", "imagine_notes"]),
        )
        .start(POLICY)
        .await
}

/// The names on a list, without those of the gateway's own server.
fn names(list: &Value, items: &str) -> Vec<String> {
    let key = if items == "resources" { "uri" } else { "name" };
    let items = list["result"][items].as_array();
    let items = items.unwrap_or_else(|| panic!("no list: {list}"));
    let names = items.iter().map(|item| item[key].as_str().unwrap());
    let of_servers = names.filter(|name| !name.starts_with("hayward__"));
    of_servers.map(String::from).collect()
}

#[tokio::test]
async fn the_first_clients_are_served_as_they_stand() {
    let world = World::small("").await;
    let clawd = world.agent("clawd");
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let call = r#"{"jsonrpc":"2.0","method":"tools/call","id":2,"params":{"name":"imagine","arguments":{"prompt":"a hedge"}}}"#;
    for path in ["/mcp", "/mcp/", "/mcp/images", "/mcp/images/"] {
        for accept in [None, Some("*/*"), Some("application/json")] {
            for session in [None, Some("run-17")] {
                for kind in ["application/json", "application/x-www-form-urlencoded"] {
                    let post = |body: &str| {
                        let mut post = clawd.post(path, body).header("content-type", kind);
                        for (name, value) in [("accept", accept), ("x-session-id", session)] {
                            post = value
                                .into_iter()
                                .fold(post, |post, value| post.header(name, value));
                        }
                        post
                    };
                    let what = format!("{path} {accept:?} {session:?} {kind}");
                    let listed = post(list).send().await;
                    assert_eq!(listed.status, 200, "{what}");
                    assert_eq!(
                        listed.header("content-type"),
                        Some("application/json"),
                        "{what}"
                    );
                    assert_eq!(listed.header("mcp-session-id"), None, "{what}");
                    assert_eq!(names(&listed.json(), "tools").len(), 3, "{what}");
                    let called = post(call).send().await.json();
                    assert_eq!(called["id"], 2, "{what}");
                    assert_eq!(called["result"]["content"][0]["text"], "done", "{what}");
                }
            }
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn the_first_clients_may_initialize_and_then_forget_about_it() {
    let world = World::small("").await;
    let clawd = world.agent("clawd");
    for path in ["/mcp", "/mcp/", "/mcp/images", "/mcp/images/"] {
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "curl"}});
        let opened = clawd.bare(path, "initialize", params).await;
        assert_eq!(opened["result"]["protocolVersion"], "2024-11-05", "{path}");
        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let taken = clawd.post(path, initialized).send().await;
        assert_eq!((taken.status, taken.body.as_str()), (202, ""), "{path}");
        let called = clawd
            .bare(path, "tools/call", json!({"name": "imagine"}))
            .await;
        assert_eq!(called["result"]["content"][0]["text"], "done", "{path}");
        assert_eq!(
            clawd.bare(path, "ping", json!({})).await["result"],
            json!({})
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn arguments_and_results_pass_byte_for_byte() {
    let world = World::small("").await;
    let clawd = world.agent("clawd");
    let odd = r#"{"big":123456789012345678901234567890,"dec":1.10,"e":1E+2,"s":"\u00e9\/", "nested" : {"b":1,"a":[ 1,2 ]},"do":"echo"}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"imagine","arguments":{odd},"later":{{"x":1.0}}}}}}"#
    );
    let echoed = clawd.post("/mcp", &*body).send().await.body;
    assert!(
        echoed.contains(&format!("\"structuredContent\":{odd}}}")),
        "{echoed}"
    );
    let seen = world.server("images").requests().remove(0);
    assert!(
        seen.params.contains(&format!("\"arguments\":{odd}")),
        "{}",
        seen.params
    );
    assert!(
        seen.params.contains(r#""later":{"x":1.0}"#),
        "{}",
        seen.params
    );

    let result = r#"{ "content" : [ ], "structuredContent":{"n":0.10,"n2":12345678901234567890123},"unknown":[1.0e0] , "_meta":{"com.example/x":1.50}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"say","arguments":{{"result":{result}}}}}}}"#
    );
    for path in ["/mcp", "/mcp/images"] {
        let said = clawd.post(path, &*body).send().await.body;
        assert_eq!(
            said,
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#)
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn an_id_comes_back_as_it_was_sent() {
    let world = World::small("").await;
    let clawd = world.agent("clawd");
    let ids = [
        "0",
        "-7",
        "12345678901234567890123",
        r#""""#,
        r#""a\u0062c""#,
        r#""7""#,
    ];
    for id in ids {
        for method in ["tools/list", "tools/call", "ping", "no/such"] {
            let body = format!(
                r#"{{"id":{id},"jsonrpc":"2.0","method":"{method}","params":{{"name":"imagine"}}}}"#
            );
            let answer = clawd.post("/mcp", body).send().await.body;
            let begin = format!(r#"{{"jsonrpc":"2.0","id":{id},"#);
            assert!(answer.starts_with(&begin), "{method}: {answer}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn an_error_of_the_server_passes_as_it_is() {
    let world = World::small("").await;
    let clawd = world.agent("clawd");
    let error = clawd.post("/mcp", rpc("tools/call", &json!({"name": "rpc_error"})));
    assert_eq!(
        error.send().await.body,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"out of paint","data":{"left":1.10}}}"#
    );
    let failed = clawd.call("fail", json!({})).await;
    assert_eq!(
        failed["result"],
        json!({"content": [{"type": "text", "text": "no such font"}], "isError": true})
    );
    world.stop().await;
}

#[tokio::test]
async fn on_the_common_endpoint_names_carry_their_server() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let tools = names(&clawd.bare("/mcp", "tools/list", json!({})).await, "tools");
    assert_eq!(
        tools,
        [
            "images__imagine",
            "images__describe",
            "notes__search",
            "notes__describe",
            "notes__imagine_notes"
        ]
    );
    let prompts = names(
        &clawd.bare("/mcp", "prompts/list", json!({})).await,
        "prompts",
    );
    assert_eq!(
        prompts,
        [
            "images__greet",
            "images__part",
            "notes__greet",
            "notes__part"
        ]
    );
    let notes = names(
        &clawd.bare("/mcp", "resources/list", json!({})).await,
        "resources",
    );
    assert_eq!(
        notes,
        [
            "images+note://1",
            "images+note://2",
            "notes+note://1",
            "notes+note://2"
        ]
    );
    let templates = clawd
        .bare("/mcp", "resources/templates/list", json!({}))
        .await;
    assert_eq!(
        templates["result"]["resourceTemplates"][1]["uriTemplate"],
        "notes+note://{id}"
    );
    for (server, name) in [("images", "images__imagine"), ("notes", "notes__search")] {
        clawd.call(name, json!({})).await;
        let seen = world.server(server).requests().pop().unwrap();
        assert_eq!(seen.param("name"), name.split_once("__").unwrap().1);
    }
    let read = clawd
        .bare("/mcp", "resources/read", json!({"uri": "notes+note://1"}))
        .await;
    assert_eq!(read["result"]["contents"][0]["uri"], "notes+note://1");
    let seen = world.server("notes").requests().pop().unwrap();
    assert_eq!(seen.param("uri"), "note://1");
    let prompt = clawd
        .bare("/mcp", "prompts/get", json!({"name": "images__greet"}))
        .await;
    assert_eq!(prompt["result"]["messages"][0]["content"]["text"], "greet");
    let completed = json!({"ref": {"type": "ref/prompt", "name": "notes__greet"}, "argument": {"name": "a", "value": ""}});
    let completed = clawd.bare("/mcp", "completion/complete", completed).await;
    assert_eq!(
        completed["result"]["completion"]["values"],
        json!(["one", "two"])
    );
    let seen = world.server("notes").requests().pop().unwrap();
    assert_eq!(seen.param("ref")["name"], "greet");
    world.stop().await;
}

#[tokio::test]
async fn a_bare_name_works_while_only_one_server_has_it() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let called = clawd.call("search", json!({})).await;
    assert_eq!(called["result"]["content"][0]["text"], "done");
    let seen = world.server("notes").requests().pop().unwrap();
    assert_eq!(seen.param("name"), "search");

    let before = world.server("images").calls() + world.server("notes").calls();
    let ambiguous = clawd.call("describe", json!({})).await;
    assert_eq!(ambiguous["error"]["code"], -32602);
    assert_eq!(
        ambiguous["error"]["data"]["choices"],
        json!(["images__describe", "notes__describe"])
    );
    let unknown = clawd.call("nothing", json!({})).await;
    assert_eq!(unknown["error"]["message"], "Unknown tool: nothing");
    assert_eq!(
        world.server("images").calls() + world.server("notes").calls(),
        before
    );
    // Where it has one server only, a name is never ambiguous.
    let called = world.agent("reader").call("describe", json!({})).await;
    assert_eq!(called["result"]["content"][0]["text"], "done");
    world.stop().await;
}

#[tokio::test]
async fn a_list_shows_exactly_what_the_rules_allow() {
    let world = world().await;
    let offered = [
        ("images", vec!["imagine", "describe", "blend"]),
        ("notes", vec!["search", "describe", "imagine_notes"]),
    ];
    for (name, agent) in world.permissions.agents() {
        let client = world.agent(name.as_str());
        let mut all = Vec::new();
        for (server, tools) in &offered {
            let server = server.parse().unwrap();
            let allowed = tools.iter().filter(|tool| {
                let question = Question {
                    agent,
                    server: &server,
                    target: Target::Tool(tool),
                    arguments: None,
                    at: hayward::types::Timestamp::default(),
                    peer: None,
                };
                decide(&world.permissions, &question).is_allowed()
            });
            let allowed: Vec<String> = allowed.map(ToString::to_string).collect();
            all.extend(allowed.iter().map(|tool| format!("{server}__{tool}")));
            let path = format!("/mcp/{server}");
            let listed = client
                .post(&path, rpc("tools/list", &json!({})))
                .send()
                .await;
            if listed.status == 403 {
                assert_eq!(allowed, [""; 0], "{name} {server}");
                continue;
            }
            // The server answers in pages here.
            let mut tools = names(&listed.json(), "tools");
            if let Some(cursor) = listed.json()["result"].get("nextCursor") {
                let rest = client
                    .bare(&path, "tools/list", json!({"cursor": cursor}))
                    .await;
                tools.extend(names(&rest, "tools"));
            }
            assert_eq!(tools, allowed, "{name} {server}");
        }
        let listed = client.bare("/mcp", "tools/list", json!({})).await;
        assert_eq!(names(&listed, "tools"), all, "{name}");
        for tool in all {
            let called = client.call(&tool, json!({})).await;
            assert_eq!(
                called["result"]["content"][0]["text"], "done",
                "{name} {tool}"
            );
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_grant_of_tools_grants_nothing_else() {
    let world = world().await;
    let painter = world.agent("painter");
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        let list = painter.bare("/mcp", method, json!({})).await;
        let items = list["result"].as_object().unwrap().values().next().unwrap();
        assert_eq!(items, &json!([]), "{method}");
    }
    let before = world.server("images").requests().len();
    for (method, params) in [
        ("prompts/get", json!({"name": "images__greet"})),
        ("resources/read", json!({"uri": "images+note://1"})),
        ("tools/call", json!({"name": "images__describe"})),
        ("tools/call", json!({"name": "images__blend"})),
        ("tools/call", json!({"name": "notes__search"})),
    ] {
        let answer = painter.bare("/mcp", method, params.clone()).await;
        let is_refused = answer["error"]["code"] == -31403
            || answer["result"]["_meta"]["dev.hayward/refusal"]["reason"].is_string();
        assert!(is_refused, "{method} {params}: {answer}");
    }
    assert_eq!(world.server("images").requests().len(), before);
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_is_down_never_fails_a_list() {
    let policy = r#"
servers: {images: {url: "@images"}, gone: {url: "@gone"}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.dead_server("gone").start(policy).await;
    let clawd = world.agent("clawd");
    for (method, items) in [("tools/list", "tools"), ("prompts/list", "prompts")] {
        let list = clawd.bare("/mcp", method, json!({})).await;
        assert!(!names(&list, items).is_empty(), "{list}");
        assert_eq!(
            list["result"]["_meta"]["dev.hayward/unavailable"],
            json!(["gone"])
        );
    }
    let called = clawd.call("imagine", json!({})).await;
    assert_eq!(called["result"]["content"][0]["text"], "done");
    let called = clawd.call("gone__x", json!({})).await;
    assert_eq!(called["result"]["isError"], true);
    assert!(
        called["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("`gone`")
    );
    world.stop().await;
}

#[tokio::test]
async fn a_server_hears_our_name_and_never_the_agents_token() {
    let policy = r#"
servers: {images: {url: "@images", headers: {X-Api-Key: "ours"}}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let clawd = world.agent("clawd");
    let params = json!({"name": "imagine", "_meta": {"traceparent": "00-1-2-01"}});
    let sending = clawd.post("/mcp", rpc("tools/call", &params));
    let sending = sending
        .header("cookie", "a=b")
        .header("x-forwarded-for", "10.0.0.1");
    let sending = sending
        .header("x-session-id", "run-17")
        .header("x-api-key", "theirs");
    assert_eq!(sending.send().await.status, 200);
    let images = world.server("images");
    for seen in images.requests().iter().chain(&images.asides()) {
        let sent: BTreeSet<&str> = seen.headers.keys().map(|name| name.as_str()).collect();
        let known = [
            "accept",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-protocol-version",
            "mcp-session-id",
            "x-api-key",
        ];
        assert!(sent.is_subset(&known.into()), "{sent:?}");
        assert_eq!(seen.header("x-api-key"), Some("ours"));
        assert!(!seen.body.contains("token_of"), "{}", seen.body);
    }
    let call = images.requests().pop().unwrap();
    assert_eq!(call.param("_meta")["traceparent"], "00-1-2-01");
    let opening = images.asides();
    let opening = opening
        .iter()
        .find(|seen| seen.method == "initialize")
        .unwrap();
    assert_eq!(opening.param("clientInfo")["name"], "hayward");
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_forgot_the_session_is_asked_again() {
    let world = World::small("budgets: [9/day]").await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({})).await;
    world.server("images").forget_sessions();
    let called = clawd.call("imagine", json!({})).await;
    assert_eq!(called["result"]["content"][0]["text"], "done");
    assert_eq!(world.server("images").calls(), 2);
    assert_eq!(world.used("servers.images").await, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_with_equal_ids_never_see_each_others_answers() {
    const CROWD: usize = 12;
    let policy = r#"
servers: {images: {url: "@images"}, notes: {url: "@notes"}}
agents:
  a: {token_hash: "@a", servers: ["*"]}
  b: {token_hash: "@b", servers: ["*"]}
"#;
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .start(policy)
        .await;
    let clients = [world.agent("a"), world.agent("b")];
    for round in 0..15 {
        // All calls of a round wait at the servers for each other, and are answered last come, first served.
        let calls = (0..2 * CROWD).map(|number| {
            let client = clients[number % 2].clone();
            async move {
                let server = ["images", "notes"][number / 2 % 2];
                let mine = format!("{round} {number}");
                let arguments = json!({"do": "crowd", "of": CROWD, "mine": mine});
                let answer = client.call(&format!("{server}__imagine"), arguments).await;
                assert_eq!(answer["id"], 1);
                assert_eq!(answer["result"]["structuredContent"]["mine"], *mine);
            }
        });
        futures_util::future::join_all(calls).await;
    }
    let events = world.events().await;
    let settled = find(&events, "settled");
    let calls = settled
        .iter()
        .filter(|event| event.text("tool") == "imagine");
    assert_eq!(calls.count(), 15 * 2 * CROWD);
    world.stop().await;
}
