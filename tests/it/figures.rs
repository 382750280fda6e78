//! What agents are told of their budgets: in `_meta` of results, in headers, in refusals, and in the same words to every
//! kind of client.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{BOTH, FakeUpstream, Reply, World, rpc};

const BUDGET: &str = "dev.hayward/budget";

const POLICY: &str = r#"
servers:
  old: {url: "@old", budgets: [100/day]}
  new: {url: "@new", budgets: [100/day]}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"], budgets: [1000 total]}
"#;

async fn world() -> World {
    World::builder()
        .server("old", FakeUpstream::legacy())
        .server("new", FakeUpstream::modern())
        .start(POLICY)
        .await
}

/// The figures of the two budgets after so many calls of a server, and of both servers.
fn figures(server: &str, of_server: u64, of_agent: u64) -> Value {
    json!([
        {"name": "agents.clawd.budgets[0]", "limit": 1000, "used": of_agent, "remaining": 1000 - of_agent,
            "window": "total", "unit": "calls"},
        {"name": format!("servers.{server}.budgets[0]"), "limit": 100, "used": of_server,
            "remaining": 100 - of_server, "window": "day", "unit": "calls",
            "resets_at": "2026-11-21T00:00:00+00:00"},
    ])
}

fn headers(reply: &Reply) -> [Option<&str>; 2] {
    ["ratelimit-policy", "ratelimit"].map(|name| reply.header(name))
}

#[tokio::test]
async fn a_call_says_what_is_left_to_agents_of_every_era_and_transport() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut of_agent = 0;
    for server in ["old", "new"] {
        let mut of_server = 0;
        for path in ["/mcp".to_owned(), format!("/mcp/{server}")] {
            let name = match path.as_str() {
                "/mcp" => format!("{server}__imagine"),
                _ => "imagine".to_owned(),
            };
            let params = json!({"name": name, "arguments": {}});
            let call = || rpc("tools/call", &params);
            let session = clawd.session(&path, "2025-06-18").await;
            let ways = [
                clawd.post(&path, call()),
                clawd.post(&path, call()).header("accept", BOTH),
                session.post(call()),
                clawd.modern(&path, "tools/call", params.clone()),
            ];
            for way in ways {
                (of_server, of_agent) = (of_server + 1, of_agent + 1);
                let reply = way.send().await;
                let said = &reply.json()["result"];
                assert_eq!(said["content"][0]["text"], "done", "{reply:?}");
                assert_eq!(
                    said["_meta"][BUDGET],
                    figures(server, of_server, of_agent),
                    "{reply:?}"
                );
                let policy = format!(
                    "\"agents.clawd.budgets[0]\";q=1000, \"servers.{server}.budgets[0]\";q=100;w=86400"
                );
                let left = format!(
                    "\"agents.clawd.budgets[0]\";r={}, \"servers.{server}.budgets[0]\";r={};t=43200",
                    1000 - of_agent,
                    100 - of_server
                );
                assert_eq!(headers(&reply), [Some(&*policy), Some(&*left)]);
            }
            // Where something is said before, the answer is an event of a stream.
            (of_server, of_agent) = (of_server + 1, of_agent + 1);
            let chatter = json!({"name": name, "arguments": {"do": "chatter", "says": 2, "turns": 0},
                "_meta": {"progressToken": 7, "io.modelcontextprotocol/logLevel": "debug"}});
            let reply = session.post(rpc("tools/call", &chatter)).send().await;
            let answer = reply.messages().pop().unwrap();
            let said = &answer["result"]["_meta"][BUDGET];
            assert_eq!(*said, figures(server, of_server, of_agent), "{reply:?}");
        }
        // And on the one stream of the first transport.
        let mut stream = clawd.get(&format!("/sse/{server}")).open().await;
        let to = stream.next_data().await.unwrap();
        let call = rpc("tools/call", &json!({"name": "imagine", "arguments": {}}));
        assert_eq!(clawd.post(&to, call).send().await.status, 202);
        (of_server, of_agent) = (of_server + 1, of_agent + 1);
        let answer = stream.next().await.unwrap();
        let said = &answer["result"]["_meta"][BUDGET];
        assert_eq!(*said, figures(server, of_server, of_agent), "{answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn figures_are_put_into_a_result_that_else_passes_byte_for_byte() {
    let policy = r#"
servers: {old: {url: "@old"}, new: {url: "@new"}}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"], budgets: [9 total]}
  free: {token_hash: "@free", servers: ["*"]}
"#;
    let world = World::builder()
        .server("old", FakeUpstream::legacy())
        .server("new", FakeUpstream::modern())
        .start(policy)
        .await;
    let results = [
        (
            r#"{ "content" : [ ], "n":0.10 , "_meta":{ "com.example/x":1.50 } ,"z":"\u00e9" ,"resultType" : "complete"}"#,
            r#"{ "content" : [ ], "n":0.10 , "_meta":{ "com.example/x":1.50 ,BUDGET} ,"z":"\u00e9" ,"resultType" : "complete"}"#,
        ),
        (
            r#"{ "content" : [ ] , "a\/b":1E+2,"resultType":"complete" }"#,
            r#"{ "content" : [ ] , "a\/b":1E+2,"resultType":"complete" ,"_meta":{BUDGET}}"#,
        ),
        // What a server pretends to know of budgets does not come through.
        (
            r#"{"_meta":{"dev.hayward/budget":"all yours"},"content":[],"resultType":"complete"}"#,
            r#"{"_meta":{BUDGET},"content":[],"resultType":"complete"}"#,
        ),
    ];
    let (free, clawd) = (world.agent("free"), world.agent("clawd"));
    let mut used = 0;
    for (result, expected) in results {
        let arguments = json!({"result": 0}).to_string().replace('0', result);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"say","arguments":{arguments}}}}}"#
        );
        let whole = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let untouched = free.post("/mcp/old", &*body).send().await;
        assert_eq!(untouched.body, whole(result));
        assert_eq!(headers(&untouched), [None, None]);
        used += 1;
        let said = clawd.post("/mcp/old", &*body).send().await.body;
        let budget = format!(
            r#""dev.hayward/budget":[{{"limit":9,"name":"agents.clawd.budgets[0]","remaining":{},"unit":"calls","used":{used},"window":"total"}}]"#,
            9 - used
        );
        assert_eq!(said, whole(&expected.replace("BUDGET", &budget)));
        used += 1;
        let modern = json!({"name": "say", "arguments": {"result": 0}});
        let modern = clawd.modern("/mcp/new", "tools/call", modern);
        let said = modern.clone().send().await.body;
        // The number in place of the result is no result, and passes as it is.
        assert_eq!(said, whole("0"));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_crowd_what_is_left_never_grows_and_the_last_call_says_that_nothing_is() {
    let world = World::small("budgets: [150/day]").await;
    let clawd = world.agent("clawd");
    let call = || rpc("tools/call", &json!({"name": "imagine", "arguments": {}}));
    let calls = (0..200).map(|_| clawd.post("/mcp", call()).send());
    let replies = join_all(calls).await;
    let mut left = BTreeMap::new();
    let mut refused = 0;
    for reply in &replies {
        let answer = reply.json();
        let meta = &answer["result"]["_meta"];
        if meta["dev.hayward/refusal"].is_object() {
            refused += 1;
            let [_, said] = headers(reply);
            assert_eq!(said, Some("\"servers.images.budgets[0]\";r=0;t=43200"));
            continue;
        }
        let figures = &meta[BUDGET][0];
        let number = |key: &str| figures[key].as_u64().unwrap_or_default();
        let (used, held, remaining) = (number("used"), number("held"), number("remaining"));
        assert_eq!(used + held + remaining, 150, "{answer}");
        assert_eq!(left.insert(used, remaining), None, "each call is one more");
    }
    assert_eq!((left.len(), refused), (150, 50));
    assert_eq!(
        left.keys().copied().collect::<Vec<u64>>(),
        Vec::from_iter(1..=150)
    );
    let remaining: Vec<u64> = left.into_values().collect();
    assert!(
        remaining.is_sorted_by(|one, next| one >= next),
        "{remaining:?}"
    );
    assert_eq!(remaining.last(), Some(&0));
    world.stop().await;
}

#[tokio::test]
async fn a_call_that_its_server_failed_says_what_that_cost() {
    let policy = r#"
servers: {images: {url: "@images", budgets: [9/24h]}, gone: {url: "@gone", budgets: [9/24h]}}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  rpc: {token_hash: "@rpc", servers: ["*"], refusals: rpc_error}
"#;
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .dead_server("gone")
        .start(policy)
        .await;
    let broken = world
        .agent("clawd")
        .call("images__hang_up", json!({}))
        .await;
    let meta = &broken["result"]["_meta"];
    assert_eq!(
        meta["dev.hayward/refusal"]["reason"],
        "upstream_unavailable"
    );
    assert_eq!(meta[BUDGET][0]["used"], 1, "{broken}");
    let unsent = world.agent("clawd").call("gone__imagine", json!({})).await;
    assert_eq!(unsent["result"]["_meta"][BUDGET][0]["used"], 0, "{unsent}");
    // A JSON-RPC error is the server's own, or has fixed fields; there the headers say it.
    for (name, used) in [("images__hang_up", 2), ("images__rpc_error", 3)] {
        let params = json!({"name": name, "arguments": {}});
        let failed = world.agent("rpc").post("/mcp", rpc("tools/call", &params));
        let failed = failed.send().await;
        assert!(failed.json()["error"]["code"].is_i64(), "{failed:?}");
        let left = format!("\"servers.images.budgets[0]\";r={};t=86400", 9 - used);
        assert_eq!(headers(&failed)[1], Some(&*left));
    }
    // Of a rolling budget it is the first call that counts no more which makes room.
    world.clock().advance(Duration::from_secs(3_600));
    let told = world
        .agent("clawd")
        .call("images__imagine", json!({}))
        .await;
    let figures = &told["result"]["_meta"][BUDGET][0];
    assert_eq!(figures["resets_at"], "2026-11-21T12:00:00+00:00", "{told}");
    world.stop().await;
}

#[tokio::test]
async fn refusals_name_the_budget_or_the_rate_and_lists_say_nothing_of_either() {
    let policy = r#"
servers: {images: {url: "@images"}}
budgets: {team: 1/month}
agents:
  model: {token_hash: "@model", servers: [{server: images, budgets: [team]}]}
  program: {token_hash: "@program", servers: [{server: images, budgets: [team]}], refusals: rpc_error}
  hasty: {token_hash: "@hasty", servers: [images], rate: 1/minute}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let world = builder.start(policy).await;
    let send = async |agent: &str, method: &str| {
        let params = json!({"name": "imagine", "arguments": {}});
        let sending = world.agent(agent).post("/mcp", rpc(method, &params));
        sending.send().await
    };
    send("model", "tools/call").await;
    let data = |reply: &Reply| {
        let answer = reply.json();
        let of_tool = &answer["result"]["_meta"]["dev.hayward/refusal"];
        match of_tool.is_object() {
            true => of_tool.clone(),
            false => answer["error"]["data"].clone(),
        }
    };
    for agent in ["model", "program"] {
        let refused = send(agent, "tools/call").await;
        let data = data(&refused);
        assert_eq!(
            [&data["name"], &data["unit"], &data["reason"]],
            ["budgets.team", "calls", "budget"]
        );
        assert_eq!(
            headers(&refused),
            [
                Some("\"budgets.team\";q=1;w=2592000"),
                Some("\"budgets.team\";r=0;t=907200")
            ]
        );
    }
    send("hasty", "tools/call").await;
    let refused = send("hasty", "tools/call").await;
    assert_eq!(data(&refused)["reason"], "rate");
    assert_eq!(
        headers(&refused),
        [
            Some("\"agents.hasty.rate\";q=1;w=60"),
            Some("\"agents.hasty.rate\";r=0;t=60")
        ]
    );
    for (agent, method) in [("model", "tools/list"), ("model", "ping")] {
        let reply = send(agent, method).await;
        assert_eq!(headers(&reply), [None, None], "{reply:?}");
    }
    world.stop().await;
}
#[tokio::test]
async fn a_call_in_rounds_is_held_until_its_last_and_says_so() {
    let policy = r#"
servers: {images: {url: "@images", budgets: [9/day]}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let builder = World::builder().server("images", FakeUpstream::modern());
    let world = builder.start(policy).await;
    let mut params = json!({"name": "elicit", "arguments": {}});
    let clawd = world.agent("clawd");
    let send = async |params: &Value| {
        let can = json!({"elicitation": {}});
        let sending = clawd.modern_that_can("/mcp/images", "tools/call", params.clone(), can);
        sending.send().await.json()["result"].clone()
    };
    let asked = send(&params).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let [used, held] = ["used", "held"].map(|key| asked["_meta"][BUDGET][0][key].clone());
    assert_eq!((used, held), (json!(0), json!(1)), "{asked}");
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = json!({"name": {"action": "decline"}});
    let done = send(&params).await;
    assert_eq!(done["content"][0]["text"], "done", "{done}");
    let figures = &done["_meta"][BUDGET][0];
    assert_eq!(
        (&figures["used"], &figures["remaining"]),
        (&json!(1), &json!(8))
    );
    assert_eq!(figures.get("held"), None, "{done}");
    world.stop().await;
}
