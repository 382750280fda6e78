//! What the log keeps of arguments and results: as much as the rules say, no secret, and nothing that could be changed
//! or taken away without a word.

use hayward::audit::Fault;
use hayward::db::Readers;
use serde_json::{Value, json};

use super::audit::tampered;
use super::support::{FakeUpstream, World, find};

/// The small world with these rules.
async fn start(policy: &str) -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .start(policy)
        .await
}

fn by_default(capture: &str) -> String {
    format!(
        "defaults: {{capture: {capture}}}\n{}",
        World::small_policy("")
    )
}

/// A body as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
struct Body {
    seq: i64,
    kind: String,
    text: String,
    full_bytes: i64,
    is_truncated: bool,
}

async fn bodies(world: &World) -> Vec<Body> {
    let readers = Readers::open(world.file()).await.unwrap();
    let all = "SELECT seq, kind, bytes, full_bytes, truncated FROM body ORDER BY seq";
    let rows: Vec<(i64, String, Vec<u8>, i64, bool)> =
        sqlx::query_as(all).fetch_all(readers.pool()).await.unwrap();
    readers.close().await;
    let body = |(seq, kind, bytes, full_bytes, is_truncated)| Body {
        seq,
        kind,
        text: String::from_utf8(bytes).unwrap(),
        full_bytes,
        is_truncated,
    };
    rows.into_iter().map(body).collect()
}

async fn texts(world: &World) -> Vec<(String, String)> {
    let bodies = bodies(world).await.into_iter();
    bodies.map(|body| (body.kind, body.text)).collect()
}

fn kept(kind: &str, text: &str) -> (String, String) {
    (kind.to_owned(), text.to_owned())
}

#[tokio::test]
async fn only_sizes_are_kept_where_nobody_says_more() {
    let world = World::small("").await;
    world
        .agent("clawd")
        .call("imagine", json!({"prompt": "a hedge"}))
        .await;
    assert_eq!(bodies(&world).await, []);
    let events = world.events().await;
    let (admitted, settled) = (find(&events, "admitted")[0], find(&events, "settled")[0]);
    assert!(admitted.meta["bytes_in"].is_u64() && settled.meta["bytes_out"].is_u64());
    assert_eq!(
        (&admitted.meta["arguments"], &settled.meta["result"]),
        (&Value::Null, &Value::Null)
    );
    world.stop().await;
}

#[tokio::test]
async fn capture_arguments_keeps_arguments_and_no_results() {
    let policy = World::small_policy("capture: arguments");
    let policy = policy.replace("servers: [\"*\"]", "servers: [\"*\"], capture: full");
    let world = start(&policy).await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({"prompt": "a hedge"})).await;
    clawd
        .bare(
            "/mcp",
            "prompts/get",
            json!({"name": "greet", "arguments": {"who": "me"}}),
        )
        .await;
    clawd.bare("/mcp", "tools/list", json!({})).await;
    // Nothing was given.
    clawd
        .bare("/mcp", "tools/call", json!({"name": "imagine"}))
        .await;
    let expected = [
        kept("arguments", r#"{"prompt":"a hedge"}"#),
        kept("arguments", r#"{"who":"me"}"#),
    ];
    assert_eq!(texts(&world).await, expected);
    world.stop().await;
}

#[tokio::test]
async fn what_is_kept_is_covered_by_its_event() {
    let world = start(&by_default("full")).await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({"prompt": "a hedge"})).await;
    clawd.call("rpc_error", json!({})).await;
    clawd.call("hang_up", json!({"n": 1})).await;
    clawd.bare("/mcp", "tools/list", json!({})).await;
    let found = bodies(&world).await;
    let events = world.events().await;
    let expected = [
        ("arguments", r#"{"prompt":"a hedge"}"#),
        (
            "result",
            r#"{"content":[{"type":"text","text":"done"}],"structuredContent":{"prompt":"a hedge"}}"#,
        ),
        ("arguments", "{}"),
        (
            "result",
            r#"{"code":-32050,"message":"out of paint","data":{"left":1.10}}"#,
        ),
        ("arguments", r#"{"n":1}"#),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (body, (kind, text)) in found.iter().zip(expected) {
        assert_eq!((body.kind.as_str(), body.text.as_str()), (kind, text));
        let event = events.iter().find(|event| event.seq == body.seq).unwrap();
        let covered = &event.meta[kind];
        assert_eq!(covered["bytes"], json!(text.len()));
        assert_eq!(covered["stored"], json!(text.len()));
        assert_eq!(covered["digest"].as_str().unwrap().len(), 64);
        assert_eq!(event.kind == "admitted", kind == "arguments");
    }
    world.stop().await;
}

#[tokio::test]
async fn capture_none_keeps_not_even_sizes() {
    let mut world = World::small("capture: none, budgets: [1/day]").await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({"prompt": "a hedge"})).await;
    clawd
        .call("imagine", json!({"prompt": "one too many"}))
        .await;
    let policy =
        World::small_policy("").replace("servers: [\"*\"]", "servers: [\"*\"], capture: none");
    world.restart(&policy).await;
    world
        .agent("clawd")
        .call("imagine", json!({"prompt": "a hedge"}))
        .await;
    world
        .agent("clawd")
        .bare("/mcp", "no/such", json!({}))
        .await;
    let events = world.events().await;
    assert_eq!(
        (
            find(&events, "settled").len(),
            find(&events, "denied").len()
        ),
        (2, 2)
    );
    for event in &events {
        let sizes = (&event.meta["bytes_in"], &event.meta["bytes_out"]);
        assert_eq!(sizes, (&Value::Null, &Value::Null), "{event:?}");
    }
    assert_eq!(bodies(&world).await, []);
    world.stop().await;
}

#[tokio::test]
async fn a_refused_call_leaves_nothing_of_its_arguments() {
    let policy = r#"
servers: {images: {url: "@images", capture: full, budgets: [{limit: 1/day, tools: [imagine]}], rate: {limit: 1, per: hour, burst: 2}}}
deny: ["images/blend"]
agents: {clawd: {token_hash: "@clawd", servers: ["*"], capture: full}}
"#;
    let world = start(policy).await;
    let clawd = world.agent("clawd");
    for tool in ["imagine", "imagine", "blend", "describe"] {
        clawd.call(tool, json!({"prompt": tool})).await;
    }
    let events = world.events().await;
    let denied = find(&events, "denied");
    let reasons: Vec<&str> = denied
        .iter()
        .filter_map(|event| event.reason.as_deref())
        .collect();
    assert_eq!(reasons, ["budget", "denied_rule", "rate"]);
    assert!(denied.iter().all(|event| event.meta["arguments"].is_null()));
    assert_eq!(bodies(&world).await.len(), 2, "those of the first call");
    world.stop().await;
}

#[tokio::test]
async fn redacted_keys_and_live_secrets_stay_out_of_the_log_and_pass_to_both_sides() {
    let policy = r#"
defaults: {capture: full, redact: [iban]}
servers:
  images:
    url: "@images"
    headers: {X-Key: "Key ${IMAGES_KEY:-a live secret of ours}"}
    redact: [Kunden-Nummer]
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
"#;
    let world = start(policy).await;
    let arguments = json!({
        "iban": "DE02", "kundenNummer": 7, "deep": [{"API-KEY": "k"}], "prompt": "say a live secret of ours",
    });
    let answer = world
        .agent("clawd")
        .call("imagine", arguments.clone())
        .await;
    assert_eq!(answer["result"]["structuredContent"], arguments);
    assert_eq!(
        world.server("images").asked("tools/call")[0].param("arguments"),
        arguments
    );
    let left = json!({
        "iban": "[redacted:key:6]", "kundenNummer": "[redacted:key:1]", "deep": [{"API-KEY": "[redacted:key:3]"}],
        "prompt": "say [redacted:secret:21]",
    });
    let bodies = bodies(&world).await;
    let read = |body: &Body| serde_json::from_str::<Value>(&body.text).unwrap();
    assert_eq!(read(&bodies[0]), left);
    assert_eq!(read(&bodies[1])["structuredContent"], left);
    world.stop().await;
}

#[tokio::test]
async fn of_a_large_body_the_beginning_is_kept_and_the_whole_is_covered() {
    let world = start(&by_default("arguments")).await;
    let clawd = world.agent("clawd");
    for length in [100_000, 2_000_000] {
        clawd
            .call("imagine", json!({"prompt": "é".repeat(length / 2)}))
            .await;
    }
    let events = world.events().await;
    let admitted = find(&events, "admitted");
    let found = bodies(&world).await;
    assert!(
        found
            .iter()
            .all(|body| body.is_truncated && body.text.len() <= 16 * 1024)
    );
    assert_eq!(found[0].text.len(), 16 * 1024 - 1, "cut between characters");
    assert_eq!(found[0].full_bytes, 100_013);
    assert_eq!(admitted[0].meta["arguments"]["truncated"], true);
    assert_eq!(
        admitted[0].meta["arguments"]["whole"]
            .as_str()
            .unwrap()
            .len(),
        64
    );
    // The second is too long to be looked through: what was cut off could hold a secret.
    assert_eq!(found[1].text, r#"{"prompt":"[redacted:cut:1048565]""#);
    assert_eq!(admitted[1].meta["arguments"].get("whole"), None);
    world.stop().await;
}

#[tokio::test]
async fn a_body_that_was_changed_or_taken_away_is_found_out() {
    let world = start(&by_default("full")).await;
    world
        .agent("clawd")
        .call("imagine", json!({"prompt": "a hedge"}))
        .await;
    // started, policy, admitted, settled, stopped
    let stopped = world.stop().await;
    let changed = |seq| Some(Fault::Body { seq });
    let missing = |seq| Some(Fault::BodyMissing { seq });
    let table: [(&'static str, Option<Fault>); 10] = [
        ("SELECT 1", None),
        ("UPDATE body SET bytes = x'7b7d' WHERE seq = 3", changed(3)),
        (
            "UPDATE body SET bytes = CAST('{\"prompt\":\"a wedge\"}' AS BLOB) WHERE seq = 3",
            changed(3),
        ),
        (
            "UPDATE body SET salt = randomblob(16) WHERE seq = 4",
            changed(4),
        ),
        ("UPDATE body SET kind = 'result' WHERE seq = 3", changed(3)),
        ("UPDATE body SET full_bytes = 1 WHERE seq = 4", changed(4)),
        ("UPDATE body SET truncated = 1 WHERE seq = 4", changed(4)),
        ("DELETE FROM body WHERE seq = 4", missing(4)),
        ("UPDATE body SET seq = 5 WHERE seq = 4", changed(5)),
        (
            "INSERT INTO body SELECT 6, kind, salt, bytes, full_bytes, truncated FROM body WHERE seq = 3",
            changed(6),
        ),
    ];
    for (sql, expected) in table {
        let found = tampered(&stopped.file, stopped.head.hash, sql).await;
        assert_eq!(found, expected, "{sql}");
    }
}
