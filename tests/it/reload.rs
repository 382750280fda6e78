//! The policy file changes while the gateway runs: whole or not at all, and nobody in the middle of something notices.

use std::fs;
use std::os::unix::fs::symlink;

use hayward::app::Reloaded;
use hayward::audit::{read, verify};
use hayward::config;
use hayward::db::{self, Durability, Readers};
use hayward::policy::sees_alike;
use hayward::types::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{FakeUpstream, World, find, rpc, soon, token, without_lists};

const SERVERS: &str = r#"servers: {images: {url: "@images"}, notes: {url: "@notes"}}"#;

/// Those servers and these lines under `agents:`.
fn rules(agents: &str) -> String {
    format!("{SERVERS}\nagents:\n  clawd: {{token_hash: \"@clawd\", servers: [{agents}]}}\n")
}

fn granting(tool: &str) -> String {
    rules(&format!("{{server: images, tools: [{tool}]}}, notes"))
}

async fn world(policy: &str) -> World {
    World::builder()
        .server("images", FakeUpstream::modern())
        .server("notes", FakeUpstream::legacy())
        .follows()
        .start(policy)
        .await
}

fn refused(answer: &Value) -> Option<&str> {
    answer["result"]["_meta"]["dev.hayward/refusal"]["reason"].as_str()
}

async fn call(world: &World, path: &str, tool: &str) -> Value {
    let params = json!({"name": tool, "arguments": {}});
    world.agent("clawd").bare(path, "tools/call", params).await
}

async fn images(world: &World, tool: &str) -> Value {
    call(world, "/mcp/images", tool).await
}

#[tokio::test]
async fn other_rules_decide_from_then_on_and_an_event_says_so_before() {
    let world = world(&granting("imagine")).await;
    assert_eq!(refused(&images(&world, "imagine").await), None);
    assert_eq!(refused(&images(&world, "blend").await), Some("not_granted"));
    assert_eq!(world.reload(&granting("blend")).await, Reloaded::Changed);
    assert_eq!(
        refused(&images(&world, "imagine").await),
        Some("not_granted")
    );
    assert_eq!(refused(&images(&world, "blend").await), None);
    // The same again is no change.
    assert_eq!(world.reload(&granting("blend")).await, Reloaded::Unchanged);
    let health = world.health().await;
    let events = world.events().await;
    let policies = find(&events, "policy");
    let [first, second] = policies.as_slice() else {
        panic!("one at the start and one of the change: {policies:?}");
    };
    assert_eq!(health["policy"]["revision"], second.text("policy"));
    assert_eq!(health["policy"]["error"], Value::Null);
    for event in events
        .iter()
        .filter(|event| event.is(&["admitted", "denied"]))
    {
        let named = [first, second]
            .into_iter()
            .rfind(|policy| policy.seq < event.seq);
        let named = &named.expect("some rules came before").text("policy")[..12];
        assert_eq!(event.text("policy"), named, "{event:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_in_order_changes_nothing_and_is_told() {
    let world = world(&granting("imagine")).await;
    let before = world.health().await;
    let broken = granting("blend").replace("notes]", "nots]");
    let Reloaded::Refused(why) = world.reload(&broken).await else {
        panic!("it names a server that there is not");
    };
    assert!(why.contains("1 mistake"), "{why}");
    assert_eq!(refused(&images(&world, "imagine").await), None);
    let health = world.health().await;
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["policy"]["error"], why);
    assert_eq!(health["policy"]["revision"], before["policy"]["revision"]);
    for page in ["/audit", "/audit/calls"] {
        let page = world.stranger().get(page).send().await;
        assert!(page.body.contains("the policy file is not in order"));
    }
    // Nor does one whose own tests fail, nor half a file, nor none.
    let untrue = format!(
        "{}tests: [{{agent: clawd, deny: [images/blend]}}]",
        granting("blend")
    );
    assert!(matches!(world.reload(&untrue).await, Reloaded::Refused(_)));
    assert!(matches!(
        world.reload("servers: {images: [").await,
        Reloaded::Refused(_)
    ));
    fs::remove_file(world.beside("permissions.yaml")).unwrap();
    let Reloaded::Refused(why) = world.read_rules().await else {
        panic!("there is no file");
    };
    assert!(why.contains("cannot be read"), "{why}");
    assert_eq!(refused(&images(&world, "imagine").await), None);
    // Back to what is in force: nothing to complain about, and nothing new.
    assert_eq!(
        world.reload(&granting("imagine")).await,
        Reloaded::Unchanged
    );
    assert_eq!(world.health().await, before);
    let events = world.events().await;
    let policies = find(&events, "policy");
    let refused: Vec<bool> = policies
        .iter()
        .map(|event| event.meta["refused"].is_string())
        .collect();
    assert_eq!(refused, [false, true, true, true]);
    let in_force: Vec<&str> = policies.iter().map(|event| event.text("policy")).collect();
    assert_eq!(in_force, [in_force[0]; 4], "they say what is in force");
    world.stop().await;
}

#[tokio::test]
async fn a_change_is_found_without_being_told_of_it() {
    let world = world(&granting("imagine")).await;
    let revision = |health: &Value| health["policy"]["revision"].as_str().unwrap().to_owned();
    let first = revision(&world.health().await);
    world.write("permissions.yaml", &granting("blend"));
    let is_other = |health: &Value| revision(health) != first;
    world.until_health("the file was swapped", is_other).await;
    assert_eq!(refused(&images(&world, "blend").await), None);
    // As Kubernetes mounts a config map: a link to a link to a folder, which is swapped.
    for (folder, tool) in [("one", "blend"), ("two", "imagine")] {
        world.write("next.yaml", &granting(tool));
        fs::create_dir(world.beside(folder)).unwrap();
        let inside = world.beside(folder).join("permissions.yaml");
        fs::rename(world.beside("next.yaml"), inside).unwrap();
    }
    symlink("one", world.beside("..data")).unwrap();
    symlink("..data/permissions.yaml", world.beside("linked")).unwrap();
    fs::rename(world.beside("linked"), world.beside("permissions.yaml")).unwrap();
    assert_eq!(world.read_rules().await, Reloaded::Unchanged);
    symlink("two", world.beside("..next")).unwrap();
    fs::rename(world.beside("..next"), world.beside("..data")).unwrap();
    let is_first = |health: &Value| revision(health) == first;
    world.until_health("the link was swapped", is_first).await;
    assert_eq!(refused(&images(&world, "imagine").await), None);
    world.stop().await;
}

#[tokio::test]
async fn budgets_keep_their_use_whatever_becomes_of_their_rule() {
    let limited = |limit: &str| {
        granting("imagine").replace(
            r#"images: {url: "@images"}"#,
            &format!(r#"images: {{url: "@images", budgets: [{limit}]}}"#),
        )
    };
    let world = world(&limited("2/day")).await;
    assert_eq!(refused(&images(&world, "imagine").await), None);
    for (limit, wanted) in [
        ("1/day", Some("budget")),
        ("2/day", None),
        ("2/day", Some("budget")),
        ("3/day", None),
        // Another window begins with what was used in its span.
        ("3/month", Some("budget")),
        ("3/day", Some("budget")),
    ] {
        world.reload(&limited(limit)).await;
        let answer = images(&world, "imagine").await;
        assert_eq!(refused(&answer), wanted, "{limit} {answer}");
    }
    // Removed and added again, it is the same budget.
    world.reload(&granting("imagine")).await;
    assert_eq!(refused(&images(&world, "imagine").await), None);
    world.reload(&limited("3/day")).await;
    assert_eq!(refused(&images(&world, "imagine").await), Some("budget"));
    assert_eq!(world.used("servers.images calls/day").await, 3);
    world.stop().await;
}

#[tokio::test]
async fn a_call_in_flight_ends_under_the_rules_it_came_with() {
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::legacy())
        .follows()
        .start(&rules("images, notes"))
        .await;
    let clawd = world.agent("clawd");
    let params = json!({"name": "wait", "arguments": {}});
    let calling =
        tokio::spawn(async move { clawd.bare("/mcp/images", "tools/call", params).await });
    world.server("images").until_calls(1).await;
    // The server is gone from the rules, and so is the agent's grant.
    let without = "servers: {notes: {url: \"@notes\"}}
agents: {clawd: {token_hash: \"@clawd\", servers: [notes]}}";
    assert_eq!(world.reload(without).await, Reloaded::Changed);
    let late = world.agent("clawd").post("/mcp/images", "{}").send().await;
    assert_eq!(late.status, 404, "{}", late.body);
    world.server("images").release(1);
    let answer = soon("the call ends", calling).await.unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    let events = without_lists(world.events().await);
    let (admitted, settled) = (find(&events, "admitted"), find(&events, "settled"));
    assert_eq!((admitted.len(), settled.len()), (1, 1));
    let first = find(&events, "policy")[0].text("policy").to_owned();
    assert_eq!(admitted[0].text("policy"), &first[..12]);
    // An agent that is gone is a stranger.
    world.reload("servers: {}\nagents: {}").await;
    let gone = world.agent("clawd").post("/mcp", "{}").send().await;
    assert_eq!(gone.status, 401);
    world.stop().await;
}

/// A child process that says its number.
const CHILD: &str = r#"
say() { printf '%s\n' "{\"jsonrpc\":\"2.0\",$1}"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"initialize"'*)
      say "\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"child\",\"version\":\"1\"}}" ;;
    *'"method":"tools/call"'*)
      say "\"id\":$id,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"$$ $1\"}]}" ;;
  esac
done
"#;

async fn child(world: &World, server: &str) -> (u32, String) {
    let answer = call(world, &format!("/mcp/{server}"), "who").await;
    let text = answer["result"]["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{answer}"));
    let (pid, word) = text.split_once(' ').unwrap();
    (pid.parse().unwrap(), word.into())
}

async fn until_gone(pid: u32) {
    soon("the process ends", async {
        while fs::exists(format!("/proc/{pid}")).unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_child_process_stays_as_long_as_nothing_about_it_changes() {
    let script = tempfile::NamedTempFile::new().unwrap();
    fs::write(script.path(), CHILD).unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "first-word").unwrap();
    let path = script.path().to_str().unwrap();
    let rules = |more: &str| {
        format!(
            "servers:
  steady: {{command: /bin/sh, args: [\"{path}\"], protocol: legacy, description: \"{more}\"}}
  secret: {{command: /bin/sh, args: [\"{path}\", \"${{file:{}}}\"], protocol: legacy}}
agents: {{clawd: {{token_hash: \"@clawd\", servers: [\"*\"]}}}}",
            secret.path().to_str().unwrap()
        )
    };
    let world = World::builder().follows().start(&rules("one")).await;
    let (steady, _) = child(&world, "steady").await;
    let first = child(&world, "secret").await;
    assert_eq!(first.1, "first-word");
    assert_eq!(world.reload(&rules("two")).await, Reloaded::Changed);
    assert_eq!(child(&world, "steady").await.0, steady);
    assert_eq!(child(&world, "secret").await, first);
    // The file of rules is the same, the secret behind it another.
    fs::write(secret.path(), "second-word").unwrap();
    assert_eq!(world.read_rules().await, Reloaded::Changed);
    until_gone(first.0).await;
    let second = child(&world, "secret").await;
    assert_eq!(second.1, "second-word");
    assert_ne!(second.0, first.0);
    assert_eq!(child(&world, "steady").await.0, steady);
    world.reload("servers: {}\nagents: {}").await;
    until_gone(steady).await;
    until_gone(second.0).await;
    world.stop().await;
}

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

#[tokio::test]
async fn those_who_listen_hear_of_what_they_may_do_now_and_strangers_hear_no_more() {
    let world = World::builder()
        .server("images", FakeUpstream::legacy().with_news())
        .server("notes", FakeUpstream::legacy().with_news())
        .follows()
        .start(&granting("imagine"))
        .await;
    let session = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let mut stream = session.stand().await;
    let listed = session.ask("tools/list", json!({})).await;
    let has = |listed: &Value, tool: &str| listed.to_string().contains(tool);
    assert!(has(&listed, "images__imagine") && !has(&listed, "images__blend"));
    // What concerns nobody's lists is not told: the next word on the stream is that of the second change.
    let owned = granting("imagine").replace("{token_hash", "{owner: \"x@y.example\", token_hash");
    assert_eq!(world.reload(&owned).await, Reloaded::Changed);
    assert_eq!(world.reload(&granting("blend")).await, Reloaded::Changed);
    let told = stream.next().await.expect("the stream goes on");
    assert_eq!(told["method"], TOOLS_CHANGED);
    let listed = session.ask("tools/list", json!({})).await;
    assert!(!has(&listed, "images__imagine") && has(&listed, "images__blend"));
    // A whole server less.
    assert_eq!(world.reload(&rules("notes")).await, Reloaded::Changed);
    let told = stream.next().await.expect("the stream goes on");
    assert_eq!(told["method"], TOOLS_CHANGED);
    let listed = session.ask("tools/list", json!({})).await;
    assert!(!has(&listed, "images__"), "{listed}");
    // The token is another agent's business now.
    let old = world
        .agent("clawd")
        .get("/sse")
        .header("accept", "text/event-stream")
        .open()
        .await;
    let mut old = old;
    assert!(old.next_data().await.is_some(), "where to post");
    world
        .reload(&rules("notes").replace("@clawd", "@somebody"))
        .await;
    // It was told of more lists before, perhaps.
    soon("the stream ends", async {
        while stream.next().await.is_some() {}
        while old.next_data().await.is_some() {}
    })
    .await;
    assert_eq!(session.post("{}").send().await.status, 401);
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_is_reached_in_another_way_is_heard_there() {
    for script in [FakeUpstream::legacy(), FakeUpstream::modern()] {
        let world = World::builder()
            .server("images", script.with_news())
            .server("notes", FakeUpstream::legacy())
            .follows()
            .start(&rules("images"))
            .await;
        let images = world.server("images");
        let session = world
            .agent("clawd")
            .session("/mcp/images", "2025-11-25")
            .await;
        let mut stream = session.stand().await;
        images.until_hearers(1).await;
        session.ask("tools/list", json!({})).await;
        images.set_tools(["imagine", "erase"]);
        let other =
            rules("images").replace("\"@images\"", "\"@images\", headers: {X-Tenant: other}");
        assert_eq!(world.reload(&other).await, Reloaded::Changed);
        // Nobody told that its list is another one; but who knows what it is there.
        let told = soon("it is told", stream.next()).await.unwrap();
        assert_eq!(told["method"], TOOLS_CHANGED);
        images.until_hearers(1).await;
        let tenants = images.requests().into_iter().chain(images.asides());
        let last = tenants.filter(|seen| seen.header("x-tenant") == Some("other"));
        assert!(last.count() > 0);
        images.set_tools(["imagine"]);
        images.say_changed("tools");
        let told = soon("it is told", stream.next()).await.unwrap();
        assert_eq!(told["method"], TOOLS_CHANGED);
        drop(stream);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_token_it_was_opened_with_and_its_session_goes_on_with_another() {
    let two = |first: &str| {
        granting("imagine").replace(
            "\"@clawd\"",
            &format!("[{{hash: \"{first}\"}}, {{hash: \"@second\"}}]"),
        )
    };
    let world = World::builder()
        .server("images", FakeUpstream::legacy().with_news())
        .server("notes", FakeUpstream::modern().with_news())
        .follows()
        .start(&two("@clawd"))
        .await;
    let session = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let mut stream = session.stand().await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let listen = world
        .agent("clawd")
        .modern("/mcp", "subscriptions/listen", filter);
    let mut younger = listen.open().await;
    let agreed = younger.next().await.unwrap();
    assert_eq!(agreed["params"]["notifications"]["toolsListChanged"], true);
    assert_eq!(world.reload(&two("@third")).await, Reloaded::Changed);
    let last = soon("both streams end", async {
        while stream.next().await.is_some() {}
        let mut last = None;
        while let Some(message) = younger.next().await {
            last = Some(message);
        }
        last
    });
    let last = last.await.expect("it says that it ends");
    assert_eq!(last["result"]["resultType"], "complete", "{last}");
    assert_eq!(session.post("{}").send().await.status, 401);
    let request = world.agent("second").get("/mcp");
    let request = request.header("accept", "text/event-stream");
    let mut again = request.header("mcp-session-id", &session.id).open().await;
    assert_eq!(
        again.status, 200,
        "the session is the agent's, not the token's"
    );
    assert_eq!(
        world
            .reload(&rules("notes").replace("@clawd", "@second"))
            .await,
        Reloaded::Changed
    );
    let told = soon("the stream goes on", again.next()).await.unwrap();
    assert_eq!(told["method"], TOOLS_CHANGED);
    drop(again);
    world.stop().await;
}

/// Sends the head of a request, and its body when its token is known and other rules are in force.
async fn sent_across_a_reload(world: &World, more: &str, body: &str, policy: &str) -> TcpStream {
    let head = format!(
        "POST /mcp/images HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: application/json\r\n{more}expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        token("clawd"),
        body.len()
    );
    let mut agent = TcpStream::connect(world.address()).await.unwrap();
    agent.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 25];
    soon("the body is wanted", agent.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(world.reload(policy).await, Reloaded::Changed);
    agent.write_all(body.as_bytes()).await.unwrap();
    agent
}

#[tokio::test]
async fn who_begins_to_listen_with_a_token_that_is_gone_by_then_hears_nothing() {
    let world = World::builder()
        .server("images", FakeUpstream::modern().with_news())
        .server("notes", FakeUpstream::legacy())
        .follows()
        .start(&rules("images"))
        .await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }});
    let more = "accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
                mcp-method: subscriptions/listen\r\n";
    let gone = rules("images").replace("@clawd", "@somebody");
    let mut agent = sent_across_a_reload(&world, more, &body.to_string(), &gone).await;
    let mut answer = String::new();
    soon("the stream ends", agent.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.contains("\"resultType\":\"complete\""), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn what_was_allowed_at_one_server_is_not_done_at_another_of_its_name() {
    let world = world(&rules("images")).await;
    let body = rpc("tools/call", &json!({"name": "imagine", "arguments": {}}));
    let swapped = rules("images").replace("\"@images\"", "\"@images\", headers: {X-Tenant: other}");
    let mut agent = sent_across_a_reload(&world, "", &body, &swapped).await;
    let mut answer = String::new();
    agent.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("upstream_unavailable"), "{answer}");
    assert_eq!(world.server("images").calls(), 0);
    let events = without_lists(world.events().await);
    let (admitted, released) = (find(&events, "admitted"), find(&events, "released"));
    assert_eq!((admitted.len(), released.len()), (1, 1));
    let why = released[0].text("error");
    assert!(why.contains("its settings changed"), "{why}");
    assert_eq!(refused(&images(&world, "imagine").await), None);
    assert_eq!(world.server("images").calls(), 1);
    world.stop().await;
}

#[test]
fn rules_are_alike_for_a_list_when_they_filter_it_alike() {
    let parse = |text: &str| config::parse("permissions.yaml", text, &|_| None).unwrap();
    let rules = |deny: &str, grants: &str, more: &str| {
        let hash = format!("sha256:{}", "ab".repeat(32));
        parse(&format!(
            "deny: [{deny}]\nservers: {{a: {{url: 'http://a/', {more}}}, b: {{url: 'http://b/'}}}}
agents: {{x: {{token_hash: '{hash}', servers: [{grants}]}}}}"
        ))
        .permissions
    };
    let first = ("b/q", "{server: a, tools: [one, two]}, b", "");
    for (other, is_alike) in [
        (first, true),
        (("b/q", "b, {server: a, tools: [two, one]}", ""), true),
        (("b/*", "{server: a, tools: [one, two]}, b", ""), true),
        (
            (
                "b/q",
                "{server: a, tools: [one, two], budgets: [1/day]}",
                "",
            ),
            true,
        ),
        (
            ("b/q", "{server: a, tools: [one, two]}, b", "description: x"),
            true,
        ),
        (("a/one", "{server: a, tools: [one, two]}, b", ""), false),
        (("b/q", "{server: a, tools: [one]}, b", ""), false),
        (("b/q", "a, b", ""), false),
        (("b/q", "b", ""), false),
        (
            (
                "b/q",
                "{server: a, tools: [one, two], expires: 2020-01-01}, b",
                "",
            ),
            false,
        ),
        (
            ("b/q", "{server: a, tools: [one, two]}, b", "disabled: true"),
            false,
        ),
    ] {
        let (one, two) = (
            rules(first.0, first.1, first.2),
            rules(other.0, other.1, other.2),
        );
        let agent =
            |rules: &hayward::policy::Permissions| rules.agents().values().next().unwrap().clone();
        let (before, after) = (agent(&one), agent(&two));
        let at = Timestamp::from_micros(1_795_176_000_000_000);
        let found = sees_alike((&one, &before), (&two, &after), &"a".parse().unwrap(), at);
        assert_eq!(found, is_alike, "{other:?}");
    }
}

#[tokio::test]
async fn a_shadow_decides_nothing_and_is_counted() {
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::legacy())
        .shadow(&granting("blend"))
        .start(&granting("imagine"))
        .await;
    for (tool, reason) in [
        ("imagine", None),
        ("blend", Some("not_granted")),
        ("other", Some("not_granted")),
    ] {
        assert_eq!(refused(&images(&world, tool).await), reason, "{tool}");
    }
    let health = world.health().await;
    let counts = |health: &Value| {
        let shadow = &health["shadow"];
        [
            &shadow["compared"],
            &shadow["would_deny"],
            &shadow["would_allow"],
        ]
        .map(|n| n.as_u64().unwrap())
    };
    assert_eq!(counts(&health), [3, 1, 1], "{health}");
    let page = world.stranger().get("/audit").send().await;
    assert!(
        page.body.contains("of 3 decisions compared"),
        "{}",
        page.body
    );
    // The shadow is read anew like the rules; what is not in order stays out.
    world.write("shadow.yaml", "agents: [");
    assert_eq!(world.read_rules().await, Reloaded::Unchanged);
    let broken = world.health().await;
    assert!(broken["shadow"]["error"].is_string(), "{broken}");
    assert_eq!(broken["shadow"]["revision"], health["shadow"]["revision"]);
    world.write("shadow.yaml", &granting("imagine"));
    world.read_rules().await;
    images(&world, "imagine").await;
    assert_eq!(counts(&world.health().await), [4, 1, 1]);
    let events = world.events().await;
    let told: Vec<(&str, &Value)> = events
        .iter()
        .filter(|event| event.is(&["admitted", "denied"]))
        .map(|event| (event.text("tool"), &event.meta["shadow"]))
        .collect();
    let revision = &health["shadow"]["revision"].as_str().unwrap()[..12];
    assert_eq!(
        told,
        [
            (
                "imagine",
                &json!({"revision": revision, "decision": "denied", "reason": "not_granted"})
            ),
            (
                "blend",
                &json!({"revision": revision, "decision": "allowed"})
            ),
            ("other", &Value::Null),
            ("imagine", &Value::Null),
        ]
    );
    world.stop().await;
}

#[tokio::test]
async fn every_file_that_came_into_force_is_kept_once_and_verified_with_the_log() {
    let mut world = world(&granting("imagine")).await;
    assert_eq!(world.reload(&granting("blend")).await, Reloaded::Changed);
    assert_eq!(world.reload(&granting("imagine")).await, Reloaded::Changed);
    let broken = granting("blend").replace("notes]", "nots]");
    let refused = world.reload(&broken).await;
    assert!(matches!(refused, Reloaded::Refused(_)));
    let leaked = format!("{}# ghp_0123456789abcdefghij\n", granting("blend"));
    assert_eq!(world.reload(&leaked).await, Reloaded::Changed);
    let head = world.halt().await;

    let readers = Readers::open(world.file()).await.unwrap();
    let mut connection = readers.pool().acquire().await.unwrap();
    let rows = read::policies(&mut connection).await.unwrap();
    let mut kept = Vec::new();
    for row in &rows {
        let text = read::policy_text(&mut connection, &row.revision).await;
        kept.push(text.unwrap().unwrap());
    }
    let texts: Vec<_> = kept.iter().map(|kept| &*kept.text).collect();
    let (imagine, blend) = (
        world.filled(&granting("imagine")),
        world.filled(&granting("blend")),
    );
    assert_eq!(texts[1..], [&*imagine, &*blend, &*imagine]);
    assert!(kept[1..].iter().all(|kept| kept.is_whole));
    assert!(!kept[0].is_whole && !texts[0].contains("0123456789abcdefghij"));
    assert_eq!(
        (rows[3].seq, kept[1].seq),
        (2, 2),
        "kept with its first event"
    );
    assert_eq!((rows[0].until, rows[1].until), (None, Some(rows[0].at)));
    drop(connection);

    for (change, faults) in [
        (
            "UPDATE policy_file SET text = text || ' ' WHERE is_whole = 1",
            2,
        ),
        ("UPDATE policy_file SET seq = 1", 3),
    ] {
        let mut database = db::open(world.file(), Durability::Process).await.unwrap();
        database.transact(|tx| tx.execute(change, ())).unwrap();
        database.close().await.unwrap();
        let verified = verify(&readers, Some(head.hash), |_| ()).await.unwrap();
        assert_eq!(verified.faults.len(), faults, "{:?}", verified.faults);
    }
    readers.close().await;
}
