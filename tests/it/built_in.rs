//! The gateway's own server `hayward`: who may use it, what it tells, and that it is in nobody's way.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, FakeUpstream, World, find, rpc};

const POLICY: &str = r#"
defaults: {timezone: Europe/Berlin}
servers:
  images:
    url: "@images"
    description: "Draws pictures"
    budgets: [{limit: 2/day, tools: [imagine], each: agent}, {limit: 9/week, each: tool}]
    rate: 1000/minute
  notes: {url: "@notes"}
  secret: {url: "@secret", description: "Nobody's business"}
budgets: {team: 40/month}
deny: ["*/drop_*"]
agents:
  clawd:
    token_hash: [{hash: "@clawd", label: laptop, expires: 2026-12-31}]
    description: "Draws"
    owner: "images-team@example.com"
    servers: [{server: images, budgets: [team]}, {server: notes, tools: ["get_*"], expires: 2026-12-01}]
    rate: 100/minute
  other: {token_hash: "@other", servers: [{server: images, budgets: [team]}]}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .server("secret", FakeUpstream::legacy())
        .start(POLICY)
        .await
}

/// What a tool of the gateway's own tells, which it says twice.
fn told(answer: &Value) -> Value {
    let result = &answer["result"];
    assert_eq!(result["isError"], Value::Null, "{answer}");
    let text = result["content"][0]["text"].as_str().unwrap();
    let read: Value = serde_json::from_str(text).unwrap();
    assert_eq!(read, result["structuredContent"], "{answer}");
    read
}

async fn ask(agent: &Client, tool: &str) -> Value {
    told(&agent.call(&format!("hayward__{tool}"), json!({})).await)
}

fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array();
    let tools = tools.unwrap_or_else(|| panic!("no list: {list}"));
    let names = tools.iter().map(|tool| tool["name"].as_str().unwrap());
    names.map(String::from).collect()
}

#[tokio::test]
async fn agents_of_every_era_ask_about_themselves_at_both_endpoints() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for (path, prefix) in [("/mcp", "hayward__"), ("/mcp/hayward", "")] {
        let tools = ["whoami", "budgets", "recent_calls"].map(|tool| format!("{prefix}{tool}"));
        let call = json!({"name": tools[0]});
        let bare = [
            clawd.bare(path, "tools/list", json!({})).await,
            clawd.bare(path, "tools/call", call.clone()).await,
        ];
        let session = clawd.session(path, "2025-11-25").await;
        let in_session = [
            session.ask("tools/list", json!({})).await,
            session.ask("tools/call", call.clone()).await,
        ];
        let modern = [
            clawd
                .modern(path, "tools/list", json!({}))
                .send()
                .await
                .json(),
            clawd.modern(path, "tools/call", call).send().await.json(),
        ];
        assert_eq!(modern[1]["result"]["resultType"], "complete");
        for [list, called] in [bare, in_session, modern] {
            let listed = names(&list);
            let own: Vec<&String> = listed.iter().filter(|name| tools.contains(name)).collect();
            assert_eq!(own, tools.each_ref(), "{path}: {list}");
            for tool in list["result"]["tools"].as_array().unwrap() {
                if tools.iter().any(|own| tool["name"] == **own) {
                    assert_eq!(tool["annotations"]["readOnlyHint"], true);
                    assert_eq!(tool["inputSchema"]["additionalProperties"], false);
                    assert_eq!(tool["outputSchema"]["type"], "object");
                }
            }
            assert_eq!(told(&called)["agent"], "clawd");
        }
    }
    let events = world.events().await;
    let of_own = |kind| {
        let events = find(&events, kind).into_iter();
        let own = events.filter(|event| event.text("server") == "hayward");
        own.cloned().collect::<Vec<_>>()
    };
    // Six calls, and three lists of its own endpoint; in a list of all servers nobody is asked for its tools.
    for kind in ["admitted", "settled"] {
        let events = of_own(kind);
        assert_eq!(events.len(), 9, "{kind}");
        assert!(
            events
                .iter()
                .all(|event| event.meta.get("budgets").is_none())
        );
    }
    assert_eq!(of_own("admitted")[0].text("rule"), "agents.clawd");
    for server in ["images", "notes"] {
        assert_eq!(world.server(server).calls(), 0);
    }
    world.stop().await;
}

#[tokio::test]
async fn its_endpoint_opens_says_what_it_is_and_has_nothing_but_tools() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp/hayward", "2025-06-18").await;
    let opened = &session.opened["result"];
    assert_eq!(opened["serverInfo"]["name"], "hayward");
    assert_eq!(opened["capabilities"], json!({"tools": {}}));
    assert!(
        opened["instructions"]
            .as_str()
            .unwrap()
            .contains("`budgets`")
    );
    let discovered = clawd.modern("/mcp/hayward", "server/discover", json!({}));
    let discovered = discovered.send().await.json();
    assert_eq!(discovered["result"]["capabilities"], json!({"tools": {}}));
    for (method, params, code) in [
        ("prompts/list", json!({}), -32601),
        ("resources/list", json!({}), -32601),
        ("prompts/get", json!({"name": "greet"}), -31403),
        ("resources/read", json!({"uri": "note://1"}), -31403),
        ("resources/subscribe", json!({"uri": "note://1"}), -31403),
        ("tools/call", json!({"name": "shutdown"}), -32602),
    ] {
        let answer = session.ask(method, params).await;
        assert_eq!(answer["error"]["code"], code, "{method}: {answer}");
    }
    // There is nothing to hear, so a stream that wants to hear it ends at once.
    let params = json!({"notifications": {"toolsListChanged": true}});
    let heard = clawd.modern("/mcp/hayward", "subscriptions/listen", params);
    let messages = heard.send().await.messages();
    assert_eq!(messages.len(), 2, "{messages:?}");
    let stream = session.stand().await;
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn whoami_tells_what_an_agent_may_do_and_nothing_of_others() {
    let world = world().await;
    let mine = ask(&world.agent("clawd"), "whoami").await;
    assert_eq!(
        mine,
        json!({
            "agent": "clawd",
            "description": "Draws",
            "owner": "images-team@example.com",
            "policy": world.permissions.revision().short(),
            "zone": "Europe/Berlin",
            "tokens": [{"label": "laptop", "expires": "2027-01-01T00:00:00+01:00"}],
            "servers": [
                {"name": "images", "description": "Draws pictures", "denied": ["drop_*"],
                    "grants": [{"rule": "agents.clawd.servers[0]", "tools": ["*"], "whole_server": true}]},
                {"name": "notes", "denied": ["drop_*"],
                    "grants": [{"rule": "agents.clawd.servers[1]", "tools": ["get_*"], "whole_server": false,
                        "expires": "2026-12-02T00:00:00+01:00"}]},
            ],
            "rates": [
                {"name": "agents.clawd.rate", "rate": "100/minute", "burst": 100},
                {"name": "servers.images.rate", "rate": "1000/minute", "burst": 1000},
            ],
        })
    );
    world.clock().advance(Duration::from_secs(12 * 86_400));
    let later = ask(&world.agent("clawd"), "whoami").await;
    assert_eq!(later["servers"].as_array().unwrap().len(), 1, "{later}");
    let other = ask(&world.agent("other"), "whoami").await.to_string();
    for foreign in ["clawd", "example.com", "secret", "laptop"] {
        assert!(!other.contains(foreign), "{other}");
    }
    world.stop().await;
}

#[tokio::test]
async fn budgets_tell_how_each_count_of_an_agent_stands_and_never_who_else_used_it() {
    let world = world().await;
    let (clawd, other) = (world.agent("clawd"), world.agent("other"));
    for (agent, tool, times) in [
        (&clawd, "imagine", 3),
        (&clawd, "blend", 1),
        (&other, "imagine", 1),
        (&other, "describe", 2),
    ] {
        for _ in 0..times {
            agent.call(&format!("images__{tool}"), json!({})).await;
        }
    }
    // Of the three pictures one was refused, which no other budget counted.
    let week = |tool: Option<&str>, used: u64| {
        let mut line = json!({"name": "servers.images.budgets[1]", "limit": 9, "used": used,
            "remaining": 9 - used, "window": "week", "unit": "calls",
            "resets_at": "2026-11-23T00:00:00+01:00", "each": "tool", "shared": true});
        if let Some(tool) = tool {
            line["tool"] = tool.into();
        }
        line
    };
    let expected = |imagined: u64| {
        json!({"budgets": [
            {"name": "budgets.team", "limit": 40, "used": 6, "remaining": 34, "window": "month",
                "unit": "calls", "resets_at": "2026-12-01T00:00:00+01:00", "shared": true},
            {"name": "servers.images.budgets[0]", "limit": 2, "used": imagined, "remaining": 2 - imagined,
                "window": "day", "unit": "calls", "resets_at": "2026-11-21T00:00:00+01:00",
                "tools": ["imagine"], "each": "agent", "shared": false},
            week(Some("describe"), 2),
            week(Some("blend"), 1),
            week(Some("imagine"), 3),
            week(None, 0),
        ]})
    };
    let mine = ask(&clawd, "budgets").await;
    assert_eq!(mine, expected(2));
    let theirs = ask(&other, "budgets").await;
    assert_eq!(theirs, expected(1));
    assert!(!mine.to_string().contains("other") && !theirs.to_string().contains("clawd"));
    world.stop().await;
}

#[tokio::test]
async fn recent_calls_are_ones_own_newest_first_in_pages_without_those_about_oneself() {
    let world = world().await;
    let (clawd, other) = (world.agent("clawd"), world.agent("other"));
    for _ in 0..3 {
        clawd.call("images__imagine", json!({})).await;
        other.call("images__describe", json!({})).await;
        clawd.bare("/mcp", "tools/list", json!({})).await;
    }
    clawd.call("images__fail", json!({})).await;
    clawd.call("notes__drop_all", json!({})).await;
    let page = async |agent: &Client, arguments: Value| {
        told(&agent.call("hayward__recent_calls", arguments).await)
    };
    let all = page(&clawd, json!({})).await;
    let calls = all["calls"].as_array().unwrap();
    let short = |call: &Value| {
        let [tool, state, reason] = ["tool", "state", "reason"]
            .map(|key| call[key].as_str().unwrap_or_default().to_owned());
        format!(
            "{tool} {state} {reason} {}",
            call["cost"].as_array().unwrap().len()
        )
    };
    let shorts: Vec<String> = calls.iter().map(short).collect();
    assert_eq!(
        shorts,
        [
            "drop_all denied denied_rule 0",
            "fail error  2",
            "imagine denied budget 0",
            "imagine ok  3",
            "imagine ok  3",
        ]
    );
    assert_eq!(
        calls[3]["cost"],
        json!([
            {"name": "budgets.team", "charged": 1, "unit": "calls"},
            {"name": "servers.images.budgets[0]", "charged": 1, "unit": "calls"},
            {"name": "servers.images.budgets[1]", "charged": 1, "unit": "calls"},
        ])
    );
    assert_eq!(calls[0]["at"], "2026-11-20T13:00:00+01:00");
    assert_eq!(all.get("next"), None);

    // Page by page they are the same.
    let mut paged = Vec::new();
    let mut arguments = json!({"limit": 2});
    let mut first_next = Value::Null;
    loop {
        let page = page(&clawd, arguments.clone()).await;
        paged.extend(page["calls"].as_array().unwrap().clone());
        let Some(next) = page.get("next") else { break };
        if first_next.is_null() {
            first_next = next.clone();
        }
        arguments["before"] = next.clone();
    }
    assert_eq!(paged, *calls);
    for (agent, before) in [
        (&other, first_next.clone()),
        (&clawd, json!("7")),
        (&clawd, json!(7)),
    ] {
        let arguments = json!({"before": before});
        let refused = agent.call("hayward__recent_calls", arguments).await;
        assert_eq!(refused["result"]["isError"], true, "{refused}");
    }
    world.clock().advance(Duration::from_secs(3_600));
    let arguments = json!({"before": first_next});
    let refused = clawd.call("hayward__recent_calls", arguments).await;
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("too old"), "{text}");
    world.stop().await;
}

#[tokio::test]
async fn arguments_it_does_not_know_are_refused_in_words() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for (tool, arguments, words) in [
        ("whoami", json!({"agent": "other"}), "no argument `agent`"),
        ("budgets", json!({"agent": "other"}), "no argument `agent`"),
        (
            "recent_calls",
            json!({"agent": "other"}),
            "`limit` and `before`",
        ),
        ("recent_calls", json!({"limit": 0}), "from 1 to 50"),
        ("recent_calls", json!({"limit": 51}), "from 1 to 50"),
        ("recent_calls", json!({"limit": "9"}), "from 1 to 50"),
        ("whoami", json!([]), "must be an object"),
    ] {
        let answer = clawd.call(&format!("hayward__{tool}"), arguments).await;
        let text = answer["result"]["content"][0]["text"].as_str();
        assert!(text.is_some_and(|text| text.contains(words)), "{answer}");
        assert_eq!(answer["result"]["isError"], true, "{answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn it_is_free_of_budgets_and_rates() {
    let policy = r#"
servers: {images: {url: "@images"}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"], budgets: [1/day], rate: 1/hour}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let clawd = world.agent("clawd");
    for _ in 0..5 {
        let left = ask(&clawd, "budgets").await;
        assert_eq!(left["budgets"][0]["remaining"], 1);
    }
    let called = clawd.call("images__imagine", json!({})).await;
    assert_eq!(called["result"]["content"][0]["text"], "done", "{called}");
    assert_eq!(ask(&clawd, "budgets").await["budgets"][0]["remaining"], 0);
    let reply = clawd.post(
        "/mcp/hayward",
        rpc("tools/call", &json!({"name": "whoami"})),
    );
    let reply = reply.send().await;
    assert_eq!(reply.header("ratelimit"), None);
    assert_eq!(reply.json()["result"].get("_meta"), None);
    world.stop().await;
}

#[tokio::test]
async fn it_is_open_to_who_may_do_anything_until_a_denial_closes_it() {
    let policy = r#"
servers: {images: {url: "@images"}, more: {url: "@more"}, off: {url: "@images", disabled: true}}
agents:
  any: {token_hash: "@any", servers: [{server: images, tools: [imagine]}]}
  none: {token_hash: "@none", servers: []}
  over: {token_hash: "@over", servers: [{server: images, expires: 2026-01-01}]}
  off: {token_hash: "@off", servers: ["off"]}
  closed: {token_hash: "@closed", servers: [images], deny: ["hayward/*"]}
  hidden: {token_hash: "@hidden", servers: [images, more], deny: ["hayward/*"], ungranted: hide}
  partly: {token_hash: "@partly", servers: [images], deny: ["hayward/recent_calls"]}
  switched: {token_hash: "@switched", servers: [images], disabled: true}
"#;
    let builder = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("more", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    for (agent, listed, reason) in [
        ("any", 3, ""),
        ("none", 0, "not_granted"),
        ("over", 0, "not_granted"),
        ("off", 0, "not_granted"),
        ("closed", 0, "denied_rule"),
        ("hidden", 0, "unknown"),
        ("partly", 2, "denied_rule"),
        ("switched", 0, "disabled"),
    ] {
        let client = world.agent(agent);
        let list = client.bare("/mcp", "tools/list", json!({})).await;
        let listed_now = names(&list);
        let own = listed_now
            .iter()
            .filter(|name| name.starts_with("hayward__"));
        assert_eq!(own.count(), listed, "{agent}: {listed_now:?}");
        let called = client.call("hayward__recent_calls", json!({})).await;
        let refused = &called["result"]["_meta"]["dev.hayward/refusal"]["reason"];
        match reason {
            "" => drop(told(&called)),
            "unknown" => assert_eq!(
                called["error"]["message"], "Unknown tool: hayward__recent_calls",
                "{called}"
            ),
            reason => assert_eq!(refused, reason, "{agent}: {called}"),
        }
        let opened = client.post("/mcp/hayward", rpc("tools/list", &json!({})));
        let expected = match agent {
            "any" | "partly" => 200,
            "hidden" => 404,
            _ => 403,
        };
        assert_eq!(opened.send().await.status, expected, "{agent}");
    }
    world.stop().await;
}

#[tokio::test]
async fn names_of_servers_resolve_as_if_it_were_not_there() {
    let policy = r#"
servers: {images: {url: "@images"}, notes: {url: "@notes"}}
agents:
  one: {token_hash: "@one", servers: [images]}
  two: {token_hash: "@two", servers: [images, notes]}
"#;
    let world = World::builder()
        .server(
            "images",
            FakeUpstream::legacy().tools(["imagine", "budgets"]),
        )
        .server("notes", FakeUpstream::legacy().tools(["search"]))
        .start(policy)
        .await;
    let is_own = |answer: &Value| answer["result"]["structuredContent"].get("agent").is_some();
    // With one server every bare name is a name of it.
    for name in ["imagine", "whoami", "hayward_whoami", "hayward__other"] {
        let called = world.agent("one").call(name, json!({"n": 1})).await;
        assert_eq!(
            called["result"]["structuredContent"]["n"], 1,
            "{name}: {called}"
        );
    }
    let two = world.agent("two");
    for name in ["imagine", "budgets", "images__whoami", "search"] {
        let called = two.call(name, json!({"n": 1})).await;
        assert_eq!(
            called["result"]["structuredContent"]["n"], 1,
            "{name}: {called}"
        );
    }
    // And what no server has can be the gateway's own.
    assert!(is_own(&two.call("whoami", json!({})).await));
    assert_eq!(
        two.call("nothing", json!({})).await["error"]["code"],
        -32602
    );
    world.stop().await;
}
