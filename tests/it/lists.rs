//! Lists and what hangs on them: headers that repeat arguments, cursors, names, URIs, and servers that do not answer.

use std::time::Duration;

use serde_json::{Value, json};

use hayward::clock::Clock;
use hayward::config;
use hayward::policy::{Question, Target, decide};

use super::support::{FakeUpstream, Random, World, find, rpc, seed};

const POLICY: &str = r#"
servers: {images: {url: "@images"}}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  other: {token_hash: "@other", servers: [images]}
"#;

const PATH: &str = "/mcp/images";

/// A schema of which one argument stands in the header `Mcp-Param-City`, and one in `Mcp-Param-Days`.
fn travel() -> Value {
    json!({"type": "object", "properties": {
        "city": {"type": "string", "x-mcp-header": "City"},
        "stay": {"type": "object", "properties": {"days": {"type": "integer", "x-mcp-header": "Days"}}},
    }})
}

async fn annotated() -> World {
    let server = FakeUpstream::modern()
        .tools(["imagine", "travel", "broken"])
        .schema("travel", travel())
        .schema(
            "broken",
            json!({"properties": {"x": {"type": "number", "x-mcp-header": "X"}}}),
        );
    World::builder()
        .server("images", server)
        .start(POLICY)
        .await
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

fn param_headers(world: &World) -> Vec<(String, String)> {
    let seen = world.server("images").asked("tools/call").pop().unwrap();
    let names = seen.headers.keys().map(|name| name.as_str());
    let params = names.filter(|name| name.starts_with("mcp-param-"));
    let mut params: Vec<(String, String)> = params
        .map(|name| (name.into(), seen.header(name).unwrap().into()))
        .collect();
    params.sort();
    params
}

#[tokio::test]
async fn param_headers_of_an_agent_say_what_its_arguments_say_or_the_call_never_leaves() {
    let world = annotated().await;
    let clawd = world.agent("clawd");
    let send = |arguments: Value, headers: &[(&str, &str)]| {
        let sending = clawd.modern(PATH, "tools/call", call("travel", arguments));
        let sending = headers.iter().fold(sending, |sending, (name, value)| {
            sending.header(name, value)
        });
        async { sending.send().await.code() }
    };
    let rome = || json!({"city": "Rom"});
    for (arguments, headers) in [
        (rome(), vec![]),
        (rome(), vec![("mcp-param-city", "Paris")]),
        (rome(), vec![("mcp-param-city", "=?base64?Um9?=")]),
        (json!({}), vec![("mcp-param-city", "Rom")]),
        (json!({"city": null}), vec![("mcp-param-city", "Rom")]),
        (json!({"stay": {"days": 3}}), vec![("mcp-param-days", "4")]),
    ] {
        assert_eq!(
            send(arguments.clone(), &headers).await,
            (400, -32020),
            "{arguments} {headers:?}"
        );
    }
    assert_eq!(world.server("images").calls(), 0);
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert_eq!(denied.len(), 6);
    assert!(
        denied
            .iter()
            .all(|event| event.reason.as_deref() == Some("header_mismatch"))
    );
    for (arguments, headers) in [
        (rome(), vec![("mcp-param-city", " Rom ")]),
        (rome(), vec![("MCP-PARAM-CITY", "=?base64?Um9t?=")]),
        (
            json!({"stay": {"days": 3}}),
            vec![("mcp-param-days", "3.0")],
        ),
        (json!({}), vec![("mcp-param-other", "passes")]),
    ] {
        assert_eq!(send(arguments, &headers).await, (200, 0));
    }
    assert_eq!(world.server("images").calls(), 4);
    assert_eq!(
        param_headers(&world),
        [("mcp-param-other".into(), "passes".into())]
    );
    // One list told all that.
    assert_eq!(world.server("images").asked("tools/list").len(), 1);
    world.stop().await;
}

#[tokio::test]
async fn param_headers_are_written_anew_for_every_agent() {
    let world = annotated().await;
    let clawd = world.agent("clawd");
    let written = [
        ("mcp-param-city".into(), "=?base64?S8O2bG4=?=".into()),
        ("mcp-param-days".into(), "3".into()),
    ];
    let travel = || call("travel", json!({"city": "Köln", "stay": {"days": 3.0}}));
    for path in ["/mcp", PATH] {
        let called = clawd.bare(path, "tools/call", travel()).await;
        assert_eq!(called["result"]["content"][0]["text"], "done");
        assert_eq!(param_headers(&world), written, "bare at {path}");
        let session = clawd.session(path, "2025-11-25").await;
        session.ask("tools/call", travel()).await;
        assert_eq!(param_headers(&world), written, "session at {path}");
        let modern = clawd
            .modern(path, "tools/call", travel())
            .header("mcp-param-city", "=?base64?S8O2bG4=?=")
            .header("mcp-param-days", "3.00")
            .send()
            .await;
        assert_eq!(modern.status, 200);
        assert_eq!(param_headers(&world), written, "modern at {path}");
    }
    clawd
        .bare(PATH, "tools/call", call("imagine", json!({"city": "Rom"})))
        .await;
    assert_eq!(param_headers(&world), []);
    world.stop().await;
}

#[tokio::test]
async fn a_tool_whose_headers_nobody_could_send_is_not_there() {
    let world = annotated().await;
    let clawd = world.agent("clawd");
    for path in ["/mcp", PATH] {
        let list = clawd.bare(path, "tools/list", json!({})).await;
        assert_eq!(names(&list).len(), 2, "{list}");
        let refused = clawd
            .bare(path, "tools/call", call("broken", json!({})))
            .await;
        assert_eq!(refused["error"]["code"], -32602);
        assert_eq!(refused["error"]["message"], "Unknown tool: broken");
    }
    assert_eq!(world.server("images").calls(), 0);
    world.stop().await;
}

#[tokio::test]
async fn calls_that_come_first_together_share_one_list_and_a_legacy_server_is_asked_for_none() {
    let policy = r#"
servers: {images: {url: "@images"}, notes: {url: "@notes"}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::modern());
    let world = builder
        .server("notes", FakeUpstream::legacy())
        .start(policy)
        .await;
    let clawd = world.agent("clawd");
    let calls = (0..9).map(|_| clawd.call("images__imagine", json!({})));
    for called in futures_util::future::join_all(calls).await {
        assert_eq!(called["result"]["content"][0]["text"], "done");
    }
    clawd.call("notes__imagine", json!({})).await;
    assert_eq!(world.server("images").asked("tools/list").len(), 1);
    assert_eq!(world.server("notes").asked("tools/list").len(), 0);
    // What an agent listed by itself is not asked for again, and what is old is.
    world.clock().advance(Duration::from_secs(60));
    clawd.bare(PATH, "tools/list", json!({})).await;
    clawd.call("images__imagine", json!({})).await;
    assert_eq!(world.server("images").asked("tools/list").len(), 2);
    world.clock().advance(Duration::from_secs(60));
    clawd.call("images__imagine", json!({})).await;
    assert_eq!(world.server("images").asked("tools/list").len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_tool_that_changed_is_looked_up_again_when_something_does_not_fit() {
    let world = annotated().await;
    let clawd = world.agent("clawd");
    clawd
        .bare(PATH, "tools/call", call("travel", json!({"city": "Rom"})))
        .await;
    let town = json!({"properties": {"town": {"type": "string", "x-mcp-header": "Town"}}});
    world.server("images").change_schema("travel", town);
    let send = || {
        let params = call("travel", json!({"city": "Rom", "town": "Ostia"}));
        let sending = clawd.modern(PATH, "tools/call", params);
        async {
            sending
                .header("mcp-param-town", "Ostia")
                .send()
                .await
                .code()
        }
    };
    // At first that could as well be the agent's mistake, and it could make it all day long.
    assert_eq!(send().await, (400, -32020));
    assert_eq!(world.server("images").asked("tools/list").len(), 1);
    world.clock().advance(Duration::from_secs(20));
    assert_eq!(send().await, (200, 0));
    assert_eq!(world.server("images").asked("tools/list").len(), 2);

    // A server that says so is believed, too.
    world.clock().advance(Duration::from_secs(20));
    let gone = call("travel", json!({"do": "rpc_error", "code": -32602}));
    clawd.bare(PATH, "tools/call", gone).await;
    clawd
        .bare(PATH, "tools/call", call("travel", json!({})))
        .await;
    assert_eq!(world.server("images").asked("tools/list").len(), 3);
    world.stop().await;
}

#[tokio::test]
async fn a_tool_that_was_not_granted_is_not_looked_up() {
    let policy = r#"
servers: {images: {url: "@images"}}
agents: {clawd: {token_hash: "@clawd", servers: [{server: images, tools: [imagine]}]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::modern());
    let world = builder.start(policy).await;
    let refused = world.agent("clawd").call("images__blend", json!({})).await;
    assert_eq!(refused["result"]["isError"], true);
    assert_eq!(world.server("images").requests().len(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_header_that_stands_twice_is_refused() {
    let world = annotated().await;
    let twice = world
        .agent("clawd")
        .modern(PATH, "tools/call", call("travel", json!({"city": "Rom"})))
        .and("mcp-param-city", "Rom")
        .and("mcp-param-city", "Rom");
    assert_eq!(twice.send().await.code(), (400, -32020));
    let plain = rpc("tools/call", &call("travel", json!({"city": "Rom"})));
    let ignored = world
        .agent("clawd")
        .post(PATH, plain)
        .header("mcp-param-city", "Paris");
    assert_eq!(ignored.send().await.code(), (200, 0));
    assert_eq!(
        param_headers(&world),
        [("mcp-param-city".into(), "Rom".into())]
    );
    world.stop().await;
}

/// Both servers, `long` with more tools than a page has.
const TWO: &str = r#"
servers: {long: {url: "@long"}, notes: {url: "@notes"}}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;

/// The tools on a list, without those of the gateway's own server.
fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("no list: {list}"));
    let names = tools.iter().map(|tool| tool["name"].as_str().unwrap());
    let of_servers = names.filter(|name| !name.starts_with("hayward__"));
    of_servers.map(String::from).collect()
}

#[tokio::test]
async fn a_servers_own_cursor_comes_back_to_it_byte_for_byte_and_only_from_its_agent() {
    let builder =
        World::builder().server("images", FakeUpstream::legacy().pages_of(1).empty_cursor());
    let world = builder.start(POLICY).await;
    let clawd = world.agent("clawd");
    let list = async |cursor: &Value| {
        clawd
            .bare(PATH, "tools/list", json!({"cursor": cursor}))
            .await
    };
    let first = clawd.bare(PATH, "tools/list", json!({})).await;
    let second = list(&first["result"]["nextCursor"]).await;
    assert_eq!(world.server("images").requests()[1].param("cursor"), "");
    let third = list(&second["result"]["nextCursor"]).await;
    assert_eq!(world.server("images").requests()[2].param("cursor"), "2");
    let all = [&first, &second, &third].map(|page| names(page)[0].clone());
    assert_eq!(all, ["imagine", "describe", "blend"]);
    assert_eq!(third["result"].get("nextCursor"), None);

    let cursor = first["result"]["nextCursor"].as_str().unwrap().to_string();
    let mut changed = cursor.clone().into_bytes();
    changed[9] = if changed[9] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    let before = world.server("images").requests().len();
    for wrong in [json!(changed), json!(""), json!("1"), json!(1), json!({})] {
        assert_eq!(list(&wrong).await["error"]["code"], -32602, "{wrong}");
    }
    let params = json!({"cursor": cursor});
    let other = world
        .agent("other")
        .bare(PATH, "tools/list", params.clone())
        .await;
    assert_eq!(other["error"]["code"], -32602, "another agent");
    for (path, method) in [(PATH, "prompts/list"), ("/mcp", "tools/list")] {
        let elsewhere = clawd.bare(path, method, params.clone()).await;
        assert_eq!(elsewhere["error"]["code"], -32602, "{path} {method}");
    }
    let modern = clawd.modern(PATH, "tools/list", json!({"cursor": "x"}));
    assert_eq!(modern.send().await.code(), (200, -32602));
    world.clock().advance(Duration::from_secs(3_600));
    assert_eq!(
        list(&json!(cursor)).await["error"]["code"],
        -32602,
        "too old"
    );
    assert_eq!(world.server("images").requests().len(), before);
    // A cursor that is null is none.
    assert_eq!(names(&list(&Value::Null).await), ["imagine"]);
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert_eq!(denied.len(), 10);
    assert!(
        denied
            .iter()
            .all(|event| event.reason.as_deref() == Some("malformed"))
    );
    world.stop().await;
}

#[tokio::test]
async fn a_joined_list_comes_in_pages_that_bring_every_tool_once_and_says_that_it_is_long() {
    let world = World::builder()
        .server("long", FakeUpstream::legacy().many_tools(620).pages_of(200))
        .server("notes", FakeUpstream::modern())
        .start(TWO)
        .await;
    let clawd = world.agent("clawd");
    let first = clawd.bare("/mcp", "tools/list", json!({})).await;
    // Three are the gateway's own.
    assert_eq!(names(&first).len(), 497);
    let note = first["result"]["_meta"]["dev.hayward/note"]
        .as_str()
        .unwrap();
    assert!(
        note.starts_with("626 tools are more than the 128"),
        "{note}"
    );
    let cursor = &first["result"]["nextCursor"];
    let params = json!({"cursor": cursor});
    let second = clawd.bare("/mcp", "tools/list", params.clone()).await;
    assert_eq!(second["result"].get("nextCursor"), None);
    assert_eq!(second["result"].get("_meta"), None);
    let all: Vec<String> = names(&first).into_iter().chain(names(&second)).collect();
    let mut expected: Vec<String> = (0..620)
        .map(|number| format!("long__tool-{number:04}"))
        .collect();
    expected.extend(["imagine", "describe", "blend"].map(|tool| format!("notes__{tool}")));
    assert_eq!(all, expected);
    let foreign = world
        .agent("other")
        .bare("/mcp", "tools/list", params)
        .await;
    assert_eq!(foreign["error"]["code"], -32602);
    world.stop().await;
}

#[tokio::test]
async fn names_that_models_refuse_are_changed_for_good_and_call_what_they_stand_for() {
    let long = "paint_a_very_long_hedge_in_the_style_of_a_master_of_the_seventeenth_century";
    let policy = r#"
servers: {a: {url: "@a"}, a__b: {url: "@a__b"}, notes: {url: "@notes"}}
agents: {clawd: {token_hash: "@clawd", servers: [a, a__b]}}
"#;
    let mut world = World::builder()
        .server(
            "a",
            FakeUpstream::legacy().tools([long, "mix paint", "b__x", "x"]),
        )
        .server("a__b", FakeUpstream::modern().tools(["x"]))
        .server("notes", FakeUpstream::legacy())
        .start(policy)
        .await;
    let tools = names(
        &world
            .agent("clawd")
            .bare("/mcp", "tools/list", json!({}))
            .await,
    );
    assert_eq!(tools.len(), 5);
    for name in &tools {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(name.len() <= 64 && name.chars().all(legal), "{name}");
    }
    assert_eq!(tools[3..], ["a__x", "a__b__x"]);
    world.restart(policy).await;
    // Nothing is remembered, and no list was asked for: the names are looked up.
    let clawd = world.agent("clawd");
    let meant = [
        ("a", long),
        ("a", "mix paint"),
        ("a", "b__x"),
        ("a", "x"),
        ("a__b", "x"),
    ];
    for (name, (server, own)) in tools.iter().zip(meant) {
        let called = clawd.call(name, json!({})).await;
        assert_eq!(
            called["result"]["content"][0]["text"], "done",
            "{name}: {called}"
        );
        let seen = world.server(server).asked("tools/call").pop().unwrap();
        assert_eq!(seen.param("name"), own);
    }
    // The list that told the first of them told all.
    assert_eq!(world.server("a").asked("tools/list").len(), 2);
    assert_eq!(
        names(&clawd.bare("/mcp", "tools/list", json!({})).await),
        tools
    );
    for unknown in ["a__mix_paint_00000000", "zzz__x", "zzz_0123abcd"] {
        let refused = clawd.call(unknown, json!({})).await;
        let is_refused = refused["error"]["code"] == -32602 || unknown.starts_with("a__");
        assert!(is_refused, "{unknown}: {refused}");
    }
    assert_eq!(world.server("notes").requests().len(), 0);
    world.stop().await;
}

#[tokio::test]
async fn a_joined_list_is_kept_no_longer_than_the_least_of_its_servers_says() {
    let policy = r#"
servers: {images: {url: "@images"}, old: {url: "@old"}, gone: {url: "@gone"}}
agents:
  clawd: {token_hash: "@clawd", servers: [images]}
  mixed: {token_hash: "@mixed", servers: [images, old]}
  broken: {token_hash: "@broken", servers: [images, gone]}
"#;
    let world = World::builder()
        .server("images", FakeUpstream::modern())
        .server("old", FakeUpstream::legacy())
        .dead_server("gone")
        .start(policy)
        .await;
    for (agent, ttl) in [("clawd", 60_000), ("mixed", 0), ("broken", 0)] {
        let list = world.agent(agent).modern("/mcp", "tools/list", json!({}));
        let result = &list.send().await.json()["result"];
        assert_eq!(result["ttlMs"], ttl, "{agent}");
        assert_eq!(result["cacheScope"], "private", "{agent}");
    }
    let bare = world
        .agent("clawd")
        .bare("/mcp", "tools/list", json!({}))
        .await;
    assert_eq!(bare["result"].get("ttlMs"), None);
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_answers_no_list_in_time_is_left_out_and_named() {
    let world = World::builder()
        .server("long", FakeUpstream::legacy().slow_lists())
        .server("notes", FakeUpstream::modern())
        .start(TWO)
        .await;
    let clawd = world.agent("clawd");
    let list = clawd.bare("/mcp", "tools/list", json!({})).await;
    assert_eq!(names(&list).len(), 3);
    assert_eq!(
        list["result"]["_meta"]["dev.hayward/unavailable"],
        json!(["long"])
    );
    world.server("long").until_dropped(1).await;
    // On its own endpoint it has the time that its server has.
    world.server("long").release(1);
    let own = clawd.bare("/mcp/long", "tools/list", json!({})).await;
    assert_eq!(names(&own).len(), 3);
    let events = world.events().await;
    assert_eq!(find(&events, "failed")[0].text("outcome"), "cancelled");
    world.stop().await;
}

#[tokio::test]
async fn wherever_a_resource_is_named_on_the_common_endpoint_it_can_be_read_by_that_name() {
    let policy = r#"
servers: {notes: {url: "@notes"}, Other_1: {url: "@Other_1"}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let page = "https://example.com/page";
    let world = World::builder()
        .server(
            "notes",
            FakeUpstream::legacy().resources(["note://1", "ui://board/main"]),
        )
        .server(
            "Other_1",
            FakeUpstream::modern().resources(["note://1", page]),
        )
        .start(policy)
        .await;
    let clawd = world.agent("clawd");
    let list = clawd.bare("/mcp", "resources/list", json!({})).await;
    let uris = list["result"]["resources"].as_array().unwrap();
    let uris: Vec<&str> = uris
        .iter()
        .map(|item| item["uri"].as_str().unwrap())
        .collect();
    assert_eq!(uris[1..], [page, "notes+note://1", "ui://notes+board/main"]);
    // A server's name that is no scheme becomes one.
    assert!(
        uris[0].starts_with("s-other-1-") && uris[0].ends_with("+note://1"),
        "{uris:?}"
    );
    let meant = [
        ("Other_1", "note://1"),
        ("Other_1", page),
        ("notes", "note://1"),
        ("notes", "ui://board/main"),
    ];
    for (uri, (server, own)) in uris.iter().zip(meant) {
        let read = clawd
            .bare("/mcp", "resources/read", json!({"uri": uri}))
            .await;
        assert_eq!(read["result"]["contents"][0]["uri"], **uri, "{read}");
        assert_eq!(
            world
                .server(server)
                .asked("resources/read")
                .pop()
                .unwrap()
                .param("uri"),
            own
        );
        let completion = json!({"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": "a", "value": ""}});
        clawd.bare("/mcp", "completion/complete", completion).await;
        let seen = world
            .server(server)
            .asked("completion/complete")
            .pop()
            .unwrap();
        assert_eq!(seen.param("ref")["uri"], own);
    }
    let nobodys = clawd
        .bare(
            "/mcp",
            "resources/read",
            json!({"uri": "https://example.com/no"}),
        )
        .await;
    assert_eq!(nobodys["error"]["code"], -32002);

    let said = r#"{"content":[{"type":"resource_link","uri":"note://1","name":"n"},{ "type":"text", "text":"note://1"}],"structuredContent":{"type":"resource_link","uri":"note://1"}}"#;
    let body = |tool: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"result":{said}}}}}}}"#
        )
    };
    let joined = clawd.post("/mcp", body("notes__say")).send().await.body;
    let expected = said.replacen("note://1", "notes+note://1", 1);
    assert_eq!(
        joined,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#)
    );
    let own = clawd.post("/mcp/notes", body("say")).send().await.body;
    assert_eq!(
        own,
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{said}}}"#)
    );
    for (path, name, uri) in [
        ("/mcp", "notes__show", "notes+note://1"),
        ("/mcp/notes", "show", "note://1"),
    ] {
        let prompt = clawd.bare(path, "prompts/get", json!({"name": name})).await;
        assert_eq!(
            prompt["result"]["messages"][0]["content"]["resource"]["uri"], uri,
            "{path}"
        );
    }
    world.stop().await;
}

/// Rules made at random: grants and denials by patterns that overlap.
fn random_rules(dice: &mut Random) -> String {
    const PATTERNS: [&str; 8] = ["*", "a*", "*b", "ab", "a", "*x*", "aab", "b*"];
    let mut pick = || PATTERNS[usize::try_from(dice.below(8)).unwrap()];
    let (denied, own) = (pick(), pick());
    let tools = [pick(), pick()];
    let tools = if tools[0] == tools[1] {
        format!("'{}'", tools[0])
    } else {
        format!("'{}', '{}'", tools[0], tools[1])
    };
    format!(
        "servers: {{images: {{url: \"@images\"}}}}
deny: ['images/{denied}x*']
agents:
  clawd: {{token_hash: \"@clawd\", servers: [{{server: images, tools: [{tools}]}}], deny: ['images/{own}b']}}
  other: {{token_hash: \"@other\", servers: [images]}}
"
    )
}

#[tokio::test]
async fn lists_and_decisions_agree_whatever_patterns_the_rules_have() {
    const TOOLS: [&str; 10] = ["a", "b", "ab", "aab", "axb", "ba", "x", "xb", "bxa", "c"];
    let mut dice = Random::new(seed(), 5);
    let (mut shown, mut hidden) = (0, 0);
    for _ in 0..12 {
        let rules = random_rules(&mut dice);
        let world = World::builder()
            .server("images", FakeUpstream::legacy().tools(TOOLS))
            .start(&rules)
            .await;
        let permissions = config::parse("permissions.yaml", &world.filled(&rules), &|_| None);
        let permissions = permissions.unwrap().permissions;
        for agent in ["clawd", "other"] {
            let listed = world
                .agent(agent)
                .post(PATH, rpc("tools/list", &json!({})))
                .send()
                .await
                .json();
            let listed: Vec<&str> = listed["result"]["tools"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tool| tool["name"].as_str().unwrap())
                .collect();
            for tool in TOOLS {
                let question = Question {
                    agent: &permissions.agents()[agent],
                    server: &"images".parse().unwrap(),
                    target: Target::Tool(tool),
                    arguments: None,
                    at: world.clock().now(),
                    peer: None,
                };
                let allowed = decide(&permissions, &question).is_allowed();
                assert_eq!(listed.contains(&tool), allowed, "{agent} {tool}\n{rules}");
                if allowed { shown += 1 } else { hidden += 1 }
            }
        }
        world.stop().await;
    }
    assert!(shown > 20 && hidden > 20, "{shown} {hidden}");
}
