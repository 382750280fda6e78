//! What happened stands in the log, all of it, once; and whoever changes the file is found out.

use std::path::Path;
use std::time::Duration;

use hayward::audit::{Behind, Fault, Known, verify, verify_against};
use hayward::clock::Clock;
use hayward::db::{self, Durability, Readers};
use serde_json::{Value, json};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::support::{Event, FakeUpstream, World, events, find, rpc};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 9/day, each: agent}]}
  notes: {url: "@notes", budgets: [12/hour]}
  plain: {url: "@plain"}
  gone: {url: "@gone", budgets: [5/day]}
deny: ["images/blend"]
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  painter: {token_hash: "@painter", servers: [{server: images, tools: [imagine, "*"], budgets: [5/week]}, gone]}
  program: {token_hash: "@program", servers: [{server: notes, tools: ["s*"]}, plain], refusals: rpc_error}
  hidden: {token_hash: "@hidden", servers: [plain], ungranted: hide, rate: {limit: 1, per: hour, burst: 9}}
  nobody: {token_hash: "@nobody", servers: []}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy().pages_of(2))
        .server("notes", FakeUpstream::modern())
        .server("plain", FakeUpstream::sessionless())
        .dead_server("gone")
        .start(POLICY)
        .await
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        // Numerical Recipes' multiplier; the high bits are good enough for choosing.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        of[usize::try_from(self.0 >> 33).unwrap() % of.len()]
    }
}

const AGENTS: [&str; 5] = ["clawd", "painter", "program", "hidden", "nobody"];
const PATHS: [&str; 7] = [
    "/mcp",
    "/mcp",
    "/mcp/",
    "/mcp/images",
    "/mcp/notes/",
    "/mcp/gone",
    "/mcp/nowhere",
];
const METHODS: [&str; 12] = [
    "tools/call",
    "tools/call",
    "tools/call",
    "tools/call",
    "tools/list",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "no/such",
];
const NAMES: [&str; 11] = [
    "imagine",
    "blend",
    "images__imagine",
    "images__blend",
    "notes__search",
    "search",
    "plain__x",
    "gone__x",
    "nowhere__x",
    "images__greet",
    "plain+note://1",
];
const DOINGS: [&str; 10] = [
    "ok",
    "ok",
    "fail",
    "rpc_error",
    "hang_up",
    "cut",
    "wrong_id",
    "http_500",
    "http_429",
    "no_json",
];

/// One request of any kind and era.
async fn anything(world: &World, dice: &mut Dice) {
    let client = world.agent(dice.pick(&AGENTS));
    let (path, method, name) = (dice.pick(&PATHS), dice.pick(&METHODS), dice.pick(&NAMES));
    let params = json!({
        "name": name, "uri": name,
        "ref": {"type": "ref/prompt", "name": name},
        "arguments": {"do": dice.pick(&DOINGS)},
    });
    let body = rpc(method, &params);
    let sending = match dice.pick(&[0, 0, 0, 1, 1, 2, 3, 4]) {
        0 => client
            .post(path, body)
            .header("x-session-id", dice.pick(&["a", "b"])),
        1 => client.modern(path, method, params),
        2 => client.post(
            path,
            body.replace("\"params\"", dice.pick(&["\"Params\"", "\"id\""])),
        ),
        3 => client
            .modern(path, method, params)
            .header("mcp-name", "another"),
        _ => {
            let path = if path == "/mcp/" { "/mcp" } else { path };
            if path != "/mcp" {
                client.post(path, "[")
            } else {
                client.session(path, "2025-11-25").await.post(body)
            }
        }
    };
    let reply = sending.send().await;
    assert!([200, 400, 403, 404].contains(&reply.status), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_that_reached_a_server_was_admitted_first_and_is_closed_once() {
    let world = world().await;
    for seed in 0..60 {
        let mut dice = [
            Dice(seed),
            Dice(seed + 1_000),
            Dice(seed + 2_000),
            Dice(seed + 3_000),
        ];
        let several = dice.each_mut().map(|dice| async {
            for _ in 0..2 {
                anything(&world, dice).await;
            }
        });
        futures_util::future::join_all(several).await;
    }
    // That servers were asked exactly what was admitted is checked at every stop.
    let stopped = world.stop().await;
    let events = events(&stopped.file).await;
    let calls = |kinds: &[&str]| {
        let mut calls: Vec<&str> = events
            .iter()
            .filter(|event| event.is(kinds))
            .map(|event| event.text("call"))
            .collect();
        calls.sort_unstable();
        calls
    };
    let admitted = calls(&["admitted"]);
    let mut once = admitted.clone();
    once.dedup();
    assert_eq!(admitted, once, "a call opens once");
    assert_eq!(
        calls(&["settled", "failed", "released", "abandoned"]),
        admitted
    );
    assert!(admitted.len() > 150, "{}", admitted.len());
    for kind in ["settled", "failed", "released", "denied"] {
        assert!(
            find(&events, kind).len() > 5,
            "the mix has every ending: {kind}"
        );
    }
    let reasons: std::collections::BTreeSet<&str> = events
        .iter()
        .filter_map(|event| event.reason.as_deref())
        .collect();
    for reason in [
        "budget",
        "rate",
        "denied_rule",
        "not_granted",
        "unknown_server",
        "malformed",
        "header_mismatch",
    ] {
        assert!(
            reasons.contains(reason),
            "the mix has every refusal: {reason} not in {reasons:?}"
        );
    }
}

#[tokio::test]
async fn every_refusal_of_a_known_agent_is_an_event_with_its_reason() {
    let world = world().await;
    let (painter, program) = (world.agent("painter"), world.agent("program"));
    let table = [
        (
            "painter",
            painter.post("/mcp", rpc("tools/call", &json!({"name": "images__blend"}))),
            "denied_rule",
        ),
        (
            "painter",
            painter.post("/mcp", rpc("tools/call", &json!({"name": "notes__search"}))),
            "not_granted",
        ),
        (
            "painter",
            painter.post(
                "/mcp",
                rpc("prompts/get", &json!({"name": "images__greet"})),
            ),
            "not_granted",
        ),
        (
            "painter",
            painter.post("/mcp/notes", rpc("tools/list", &json!({}))),
            "not_granted",
        ),
        (
            "painter",
            painter.post("/mcp/nowhere", rpc("tools/list", &json!({}))),
            "unknown_server",
        ),
        (
            "painter",
            painter.post("/mcp", rpc("tools/call", &json!({"name": "nothing"}))),
            "unknown_target",
        ),
        (
            "painter",
            painter.post("/mcp", rpc("tools/call", &json!({"name": 1}))),
            "malformed",
        ),
        ("painter", painter.post("/mcp", "{"), "malformed"),
        (
            "painter",
            painter.post("/mcp", rpc("no/such", &json!({}))),
            "unknown_method",
        ),
        (
            "painter",
            painter
                .modern("/mcp", "tools/list", json!({}))
                .without("mcp-method"),
            "header_mismatch",
        ),
        (
            "painter",
            painter
                .post("/mcp", rpc("ping", &json!({})))
                .header("mcp-session-id", "x"),
            "unknown_session",
        ),
        (
            "painter",
            painter
                .post("/mcp", rpc("ping", &json!({})))
                .header("mcp-protocol-version", "x"),
            "unsupported_version",
        ),
        (
            "painter",
            painter
                .post("/mcp", "{}")
                .header("content-type", "text/html"),
            "malformed",
        ),
        (
            "program",
            program.post(
                "/mcp",
                rpc("tools/call", &json!({"name": "images__imagine"})),
            ),
            "not_granted",
        ),
    ];
    let mut before = world.events().await.len();
    for (agent, sending, reason) in table {
        let what = format!("{sending:?}");
        sending.send().await;
        let events = world.events().await;
        let fresh: Vec<&Event> = events[before..]
            .iter()
            .filter(|event| event.kind == "denied")
            .collect();
        assert_eq!(fresh.len(), 1, "{what}");
        assert_eq!(fresh[0].reason.as_deref(), Some(reason), "{what}");
        assert_eq!(
            (fresh[0].text("agent"), fresh[0].text("reason")),
            (agent, reason),
            "{what}"
        );
        assert!(!fresh[0].text("message").is_empty(), "{what}");
        before = events.len();
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refusal_names_the_rule_and_its_line() {
    let world = world().await;
    world
        .agent("painter")
        .call("images__blend", json!({}))
        .await;
    world
        .agent("painter")
        .call("images__imagine", json!({}))
        .await;
    let events = world.events().await;
    let denied = find(&events, "denied")[0];
    assert_eq!(
        (denied.text("rule"), &denied.meta["line"]),
        ("deny[0]", &json!(7))
    );
    let admitted = find(&events, "admitted")[0];
    assert_eq!(admitted.text("rule"), "agents.painter.servers[0]");
    assert_eq!(
        admitted.text("policy"),
        world.permissions.revision().short()
    );
    assert_eq!(admitted.text("method"), "tools/call");
    let settled = find(&events, "settled")[0];
    assert_eq!(settled.text("call"), admitted.text("call"));
    assert!(settled.meta["latency_us"].is_u64() && settled.meta["bytes_out"].is_u64());
    world.stop().await;
}

#[tokio::test]
async fn strangers_are_counted_and_cannot_fill_the_log() {
    let world = world().await;
    for _ in 0..150 {
        let answer = world
            .stranger()
            .post("/mcp", rpc("tools/list", &json!({})))
            .send()
            .await;
        assert_eq!(answer.status, 401);
    }
    let stopped = world.stop().await;
    let events = events(&stopped.file).await;
    let strangers = find(&events, "denied");
    assert!(strangers.len() <= 10, "{}", strangers.len());
    assert!(
        strangers
            .iter()
            .all(|event| event.reason.as_deref() == Some("not_authenticated"))
    );
    let counted: u64 = strangers
        .iter()
        .map(|event| event.meta["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 150);
}

#[tokio::test]
async fn refusals_in_a_loop_cannot_fill_the_log_and_each_is_counted() {
    let world = world().await;
    let nobody = world.agent("nobody");
    for _ in 0..120 {
        let refused = nobody.call("images__imagine", json!({})).await;
        assert_eq!(refused["result"]["isError"], true, "{refused}");
    }
    for number in 0..130 {
        let name = format!("images__made_up_{number}");
        nobody.call(&name, json!({})).await;
    }
    let stopped = world.stop().await;
    let events = events(&stopped.file).await;
    let denied = find(&events, "denied");
    assert!(denied.len() <= 10 + 100 + 10 + 2, "{}", denied.len());
    let folded: Vec<_> = denied
        .iter()
        .filter(|event| event.meta.get("count").is_some())
        .collect();
    let counted: u64 = folded
        .iter()
        .map(|event| event.meta["count"].as_u64().unwrap())
        .sum();
    let alone = u64::try_from(denied.len() - folded.len()).unwrap();
    assert_eq!(alone + counted, 250);
    assert_eq!(folded[0].text("tool"), "imagine");
    assert_eq!(folded[0].meta["count"], 110);
    assert!(folded.iter().all(|event| event.text("agent") == "nobody"));
}

#[tokio::test]
async fn starts_stops_and_rules_in_force_are_events_too() {
    let mut world = world().await;
    world.restart(POLICY).await;
    let revision = world.permissions.revision().to_string();
    let stopped = world.stop().await;
    let events = events(&stopped.file).await;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "started", "policy", "stopped", "started", "policy", "stopped"
        ]
    );
    assert_eq!(events[1].text("policy"), revision);
    let seqs: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

/// Changes a copy of the file behind the gateway's back, and tells the first fault.
pub(super) async fn tampered(file: &Path, head: [u8; 32], sql: &'static str) -> Option<Fault> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(file, &copy).unwrap();
    // Whoever closed the file last may only have read it, and left what is not moved into it yet.
    let waiting = file.with_extension("db-wal");
    if waiting.exists() {
        std::fs::copy(&waiting, copy.with_extension("db-wal")).unwrap();
    }
    let options = SqliteConnectOptions::new()
        .filename(&copy)
        .foreign_keys(false);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    for statement in [
        "PRAGMA ignore_check_constraints = ON",
        "DROP TRIGGER event_never_changes",
        "DROP TRIGGER event_never_goes",
        sql,
    ] {
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    let readers = Readers::open(&copy).await.unwrap();
    let found = verify(&readers, Some(head), |_| ()).await.unwrap();
    readers.close().await;
    found.faults.into_iter().next()
}

#[tokio::test]
async fn whoever_changes_the_file_is_found_out() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for tool in [
        "images__imagine",
        "images__blend",
        "plain__search",
        "gone__x",
    ] {
        clawd.call(tool, json!({})).await;
    }
    // started, policy, admitted, settled, denied, admitted, settled, admitted, released, stopped
    let stopped = world.stop().await;
    let kinds: Vec<String> = events(&stopped.file)
        .await
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let expected = [
        "started", "policy", "admitted", "settled", "denied", "admitted", "settled", "admitted",
        "released", "stopped",
    ];
    assert_eq!(kinds, expected);
    let column = |seq, column| Some(Fault::Column { seq, column });
    let changed = |seq| Some(Fault::Changed { seq });
    let missing = |seq| Some(Fault::Missing { seq });
    let ledger = |key: &str, counted, events| {
        Some(Fault::Ledger {
            key: key.into(),
            counted,
            events,
        })
    };
    const HOUR_US: i64 = 3_600_000_000;
    const DAY_US: i64 = 24 * HOUR_US;
    let images = "servers.images calls/day@UTC each agent=clawd";
    let last = 16_383;
    let lookup = Some(Fault::Lookup { first: 1, last });
    let at_us = events(&stopped.file).await[4].meta["at_us"]
        .as_i64()
        .unwrap();
    let coarse = |table, unit| {
        let at_us = at_us - at_us % unit;
        Some(Fault::CoarseSums { table, at_us })
    };
    let at_us = at_us - at_us % 900_000_000;
    let rollup = Some(Fault::Rollup { at_us });
    let table: Vec<(&'static str, Option<Fault>)> = vec![
        ("SELECT 1", None),
        ("UPDATE event SET at_us = at_us + 1 WHERE seq = 4", column(4, "at_us")),
        ("UPDATE event SET kind = 'failed' WHERE seq = 4", column(4, "kind")),
        ("UPDATE event SET call_id = randomblob(16) WHERE seq = 4", column(4, "call_id")),
        ("UPDATE event SET call_id = NULL WHERE seq = 5", column(5, "call_id")),
        ("UPDATE event SET agent_id = agent_id + 1 WHERE seq = 4", column(4, "agent_id")),
        ("UPDATE event SET agent_id = NULL WHERE seq = 4", column(4, "agent_id")),
        ("UPDATE event SET agent_id = 99 WHERE seq = 4", column(4, "agent_id")),
        ("UPDATE event SET server_id = 1 WHERE seq = 6", column(6, "server_id")),
        ("UPDATE event SET server_id = NULL WHERE seq = 6", column(6, "server_id")),
        ("UPDATE event SET tool_id = 1 WHERE seq = 6", column(6, "tool_id")),
        ("UPDATE event SET tool_id = NULL WHERE seq = 6", column(6, "tool_id")),
        ("UPDATE event SET reason = 'rate' WHERE seq = 5", column(5, "reason")),
        ("UPDATE event SET reason = 'rate' WHERE seq = 4", column(4, "reason")),
        ("UPDATE name SET text = 'nobody' WHERE text = 'clawd'", column(3, "agent_id")),
        ("DELETE FROM name WHERE text = 'search'", column(6, "tool_id")),
        (
            "DELETE FROM name WHERE text = 'clawd'; UPDATE event SET agent_id = NULL",
            column(3, "agent_id"),
        ),
        ("UPDATE event SET meta = replace(meta, 'clawd', 'nobod') WHERE seq = 6", changed(6)),
        ("UPDATE event SET meta = meta || ' ' WHERE seq = 6", changed(6)),
        ("UPDATE event SET hash = randomblob(32) WHERE seq = 6", changed(6)),
        ("UPDATE event SET seq = 99 WHERE seq = 6", missing(6)),
        ("DELETE FROM event WHERE seq = 1", missing(1)),
        ("DELETE FROM event WHERE seq = 5", missing(5)),
        (
            "DELETE FROM event WHERE seq = 5; UPDATE event SET seq = seq - 1 WHERE seq > 5",
            changed(5),
        ),
        (
            "UPDATE event SET seq = 99 WHERE seq = 4; UPDATE event SET seq = 4 WHERE seq = 5;
             UPDATE event SET seq = 5 WHERE seq = 99",
            changed(4),
        ),
        ("DELETE FROM event WHERE seq = 10", Some(Fault::HeadNotFound)),
        (
            "INSERT INTO event SELECT 11, at_us, kind, NULL, agent_id, server_id, tool_id, reason, meta, hash
             FROM event WHERE seq = 10",
            changed(11),
        ),
        ("UPDATE gateway SET log_id = randomblob(16)", changed(1)),
        ("UPDATE budget_window SET used = 0 WHERE budget_id = 1", ledger(images, 0, 1)),
        ("UPDATE budget_window SET used = 7 WHERE budget_id = 1", ledger(images, 7, 1)),
        ("UPDATE budget_window SET held = 2 WHERE budget_id = 1", ledger(images, 2, 0)),
        ("DELETE FROM budget_window WHERE budget_id = 1", ledger(images, 0, 1)),
        ("DELETE FROM lookup WHERE dimension = 'agent'", lookup.clone()),
        ("DELETE FROM lookup WHERE dimension = 'kind'", lookup.clone()),
        ("UPDATE lookup SET term = '9' WHERE dimension = 'tool' AND term = '?'", lookup.clone()),
        ("UPDATE lookup SET places = CAST(places || places AS BLOB) WHERE dimension = 'state'", lookup.clone()),
        ("UPDATE lookup SET term = 'failed' WHERE term = 'released'", lookup.clone()),
        ("UPDATE lookup SET chunk = 1 WHERE dimension = 'reason'", lookup.clone()),
        (
            "DELETE FROM rollup; DELETE FROM lookup; UPDATE lookup_mark SET seq = 0",
            rollup.clone(),
        ),
        // Without any of it pages search the log itself.
        (
            "DELETE FROM rollup; DELETE FROM rollup_refusal; DELETE FROM lookup; UPDATE lookup_mark SET seq = 0;
             DELETE FROM all_quarter; DELETE FROM agent_hour; DELETE FROM tool_hour; DELETE FROM agent_day;
             DELETE FROM tool_day; DELETE FROM pair_day; DELETE FROM refusal_day",
            None,
        ),
        ("UPDATE rollup SET admitted = admitted + 1 WHERE ok = 1", rollup.clone()),
        ("UPDATE rollup SET ok = 0, errors = 1 WHERE ok = 1", rollup.clone()),
        ("UPDATE rollup SET agent_id = agent_id + 1", rollup.clone()),
        ("DELETE FROM rollup WHERE refused > 0", rollup.clone()),
        ("UPDATE rollup_refusal SET reason = 'rate'", rollup.clone()),
        ("DELETE FROM rollup_refusal", rollup),
        ("UPDATE all_quarter SET admitted = admitted + 1", coarse("all_quarter", 900_000_000)),
        ("DELETE FROM agent_hour", coarse("agent_hour", HOUR_US)),
        ("UPDATE agent_hour SET agent_id = agent_id + 1", coarse("agent_hour", HOUR_US)),
        ("UPDATE tool_hour SET ok = 0, errors = 1 WHERE ok = 1", coarse("tool_hour", HOUR_US)),
        ("UPDATE agent_day SET latency_us = latency_us + 1", coarse("agent_day", DAY_US)),
        ("UPDATE tool_day SET b00 = b00 + 1", coarse("tool_day", DAY_US)),
        ("UPDATE tool_day SET bytes_in = 0", coarse("tool_day", DAY_US)),
        ("DELETE FROM pair_day WHERE refused > 0", coarse("pair_day", DAY_US)),
        ("UPDATE refusal_day SET reason = reason || ',' || char(10)", coarse("refusal_day", DAY_US)),
        (
            "INSERT INTO spend_quarter SELECT quarter_us, 1, 2, 3, 'USD', 5 FROM all_quarter LIMIT 1",
            coarse("spend_quarter", 900_000_000),
        ),
        ("INSERT INTO spend_day SELECT day_us, 1, 2, 3, 'USD', 5 FROM agent_day", coarse("spend_day", DAY_US)),
        ("UPDATE lookup_mark SET seq = 5", lookup),
        (
            "INSERT INTO open_call VALUES (randomblob(16), 3)",
            Some(Fault::Call { seq: 10, what: "the list of open calls is not that of the events" }),
        ),
    ];
    for (sql, expected) in table {
        assert_eq!(
            tampered(&stopped.file, stopped.head.hash, sql).await,
            expected,
            "{sql}"
        );
    }
}

/// Packs the sums of days that are over, as the writer does.
async fn pack(file: &Path) -> i64 {
    let mut database = db::open(file, Durability::Process).await.unwrap();
    let mut behind = Behind::load(database.connection()).await.unwrap();
    while behind.has_to_pack() {
        if let Some(piece) = behind.next_to_pack(database.connection()).await.unwrap() {
            database.transact(|tx| piece.write(tx)).unwrap();
        }
    }
    let packed = sqlx::query_scalar("SELECT count(*) FROM packed_day");
    let packed = packed.fetch_one(database.connection()).await.unwrap();
    database.close().await.unwrap();
    packed
}

#[tokio::test]
async fn the_gateway_packs_sums_of_a_day_that_is_over_and_no_others() {
    let mut world = world().await;
    world
        .agent("clawd")
        .call("images__imagine", json!({}))
        .await;
    world.agent("clawd").call("images__blend", json!({})).await;
    let midnight = world.clock().now().micros().div_euclid(86_400_000_000) + 1;
    world.clock().advance(Duration::from_secs(86_400));
    world.agent("clawd").call("plain__search", json!({})).await;
    // At its end sums are built of everything, and after the start nobody calls.
    world.restart(POLICY).await;
    let readers = Readers::open(world.file()).await.unwrap();
    let rows = "SELECT (SELECT count(*) FROM rollup WHERE quarter_us < $1),
        (SELECT count(*) FROM rollup_refusal WHERE quarter_us < $1),
        (SELECT count(*) FROM pair_day WHERE day_us < $1),
        (SELECT count(*) FROM pair_day WHERE day_us >= $1), (SELECT count(*) FROM packed_day)";
    let packing = async {
        loop {
            let rows: (i64, i64, i64, i64, i64) = sqlx::query_as(rows)
                .bind(midnight * 86_400_000_000)
                .fetch_one(readers.pool())
                .await
                .unwrap();
            if rows == (0, 0, 0, 1, 6) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let packed = tokio::time::timeout(Duration::from_secs(20), packing).await;
    packed.expect("all sums of the first day, and none of the second, are packed");
    readers.close().await;
    let stopped = world.stop().await;
    assert_eq!(
        tampered(&stopped.file, stopped.head.hash, "SELECT 1").await,
        None
    );
}

#[tokio::test]
async fn whoever_changes_packed_sums_is_found_out() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for tool in ["images__imagine", "images__blend", "plain__search"] {
        clawd.call(tool, json!({})).await;
    }
    world.clock().advance(Duration::from_secs(86_400));
    clawd.call("plain__search", json!({})).await;
    let stopped = world.stop().await;
    let packed = pack(&stopped.file).await;
    assert_eq!(packed, 6, "one of each kind but of spend");
    let at_us = events(&stopped.file).await[2].meta["at_us"]
        .as_i64()
        .unwrap();
    const DAY_US: i64 = 86_400_000_000;
    let quarter = Some(Fault::Rollup {
        at_us: at_us - at_us % 900_000_000,
    });
    let at_us = at_us - at_us % DAY_US;
    let coarse = |table, at_us| Some(Fault::CoarseSums { table, at_us });
    let table = [
        ("SELECT 1", None),
        (
            "DELETE FROM packed_day WHERE sums = 'agent_day'",
            coarse("agent_day", at_us),
        ),
        (
            "INSERT INTO packed_day SELECT 99, sums, day_us, first, last, packed FROM packed_day WHERE sums = 'tool_day'",
            coarse("tool_day", at_us),
        ),
        // Pages would not look there.
        (
            "UPDATE packed_day SET first = 99, last = 99 WHERE sums = 'tool_day'",
            coarse("tool_day", at_us),
        ),
        (
            "UPDATE packed_day SET day_us = day_us - 86400000000 WHERE sums = 'pair_day'",
            coarse("pair_day", at_us - DAY_US),
        ),
        // All rows can be read, and then comes something that is none.
        (
            "UPDATE packed_day SET packed = CAST(packed || x'80' AS BLOB) WHERE sums = 'pair_day'",
            coarse("pair_day", at_us),
        ),
        (
            "UPDATE packed_day SET packed = x'00' WHERE sums = 'refusal_day'",
            coarse("refusal_day", at_us),
        ),
        (
            "DELETE FROM packed_day WHERE sums = 'rollup'",
            quarter.clone(),
        ),
        (
            "UPDATE packed_day SET sums = 'refusal_day' WHERE sums = 'rollup_refusal'",
            quarter,
        ),
        (
            "INSERT INTO packed_day SELECT 99, 'no_day', day_us, 0, 0, packed FROM packed_day LIMIT 1",
            coarse("packed_day", at_us),
        ),
        (
            "UPDATE packed_day SET sums = 'agent_day' WHERE sums = 'pair_day'",
            coarse("agent_day", at_us),
        ),
    ];
    for (sql, expected) in table {
        let found = tampered(&stopped.file, stopped.head.hash, sql).await;
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_and_grown_again_misses_the_head_that_was_kept() {
    let mut world = world().await;
    world.agent("clawd").call("images__search", json!({})).await;
    world.restart(POLICY).await;
    let file = world.file().to_path_buf();
    let stopped = world.stop().await;
    let head = stopped.head;
    let kept: Value = json!(head.hex());
    assert_eq!(kept.as_str().unwrap().len(), 64);
    let cut = tampered(&file, head.hash, "DELETE FROM event WHERE seq > 5").await;
    assert_eq!(cut, Some(Fault::HeadNotFound));
    let earlier = "SELECT hash FROM event WHERE seq = 3";
    let readers = Readers::open(&file).await.unwrap();
    let earlier: Vec<u8> = sqlx::query_scalar(earlier)
        .fetch_one(readers.pool())
        .await
        .unwrap();
    readers.close().await;
    let earlier = earlier.try_into().unwrap();
    assert_eq!(
        tampered(&file, earlier, "SELECT 1").await,
        None,
        "an earlier head is in it"
    );
}

/// What is wrong with the log of a gateway that runs, as the wall clock has it.
async fn faults_now(world: &World) -> Vec<Fault> {
    let readers = Readers::open(world.file()).await.unwrap();
    let known = Known {
        now: Some(world.clock().now()),
        ..Known::default()
    };
    let found = verify_against(&readers, known, |_| ()).await.unwrap();
    readers.close().await;
    found.faults
}

#[tokio::test]
async fn a_log_is_stale_without_a_checkpoint_but_not_for_a_clock_that_nobody_follows() {
    let world = World::small("budgets: [9/day]").await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({})).await;
    world.clock().jump(Duration::from_secs(3 * 3_600));
    assert!(
        matches!(faults_now(&world).await[..], [Fault::Stale { .. }]),
        "nobody has looked at the clock yet"
    );
    clawd.call("imagine", json!({})).await;
    assert_eq!(faults_now(&world).await, []);
    world.clock().jump_back(Duration::from_secs(3 * 3_600));
    for _ in 0..2 {
        clawd.call("imagine", json!({})).await;
        world.clock().advance(Duration::from_secs(60));
    }
    clawd.call("imagine", json!({})).await;
    assert_eq!(faults_now(&world).await, []);
    // Believed again, it says as before when a checkpoint is late.
    world.clock().advance(Duration::from_secs(3 * 3_600));
    assert!(matches!(
        faults_now(&world).await[..],
        [Fault::Stale { .. }]
    ));
    clawd.call("imagine", json!({})).await;
    assert_eq!(faults_now(&world).await, []);
    world.stop().await;
}
