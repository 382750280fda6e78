//! Messages that are no requests, and the fine print of the front door.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::{
    ANSWER, Event, FakeUpstream, PAGE, Reply, Seen, Sending, Session, World, events, find, rpc,
    soon,
};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [99/day]}
  notes: {url: "@notes", budgets: [99/day]}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .start(POLICY)
        .await
}

fn request(id: Value, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn slow(id: Value, server: &str) -> String {
    request(
        id,
        "tools/call",
        &json!({"name": format!("{server}__slow")}),
    )
}

fn notification(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string()
}

fn cancelled(id: Value) -> String {
    notification(
        "notifications/cancelled",
        json!({"requestId": id, "reason": "enough"}),
    )
}

#[tokio::test]
async fn a_client_cancels_its_own_request_by_its_id_and_nobody_elses() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let sister = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let images = world.server("images");
    let calls = [
        session.post(slow(json!(7), "images")),
        session.post(slow(json!("7"), "images")),
        sister.post(slow(json!("7"), "images")),
        world
            .agent("clawd")
            .post("/mcp", slow(json!("7"), "images")),
    ];
    let mut answers = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        answers.push(tokio::spawn(call.send()));
        images.until_requests(number + 1).await;
    }
    // Neither an id nobody has, nor one without a session, nor no id at all is anybody's.
    for (what, sending) in [
        ("unknown", session.post(cancelled(json!(8)))),
        ("no id", session.post(cancelled(json!({})))),
        (
            "nothing",
            session.post(notification("notifications/cancelled", json!({}))),
        ),
        (
            "bare",
            world.agent("clawd").post("/mcp", cancelled(json!("7"))),
        ),
        ("its own", session.post(cancelled(json!("7")))),
        ("again", session.post(cancelled(json!("7")))),
    ] {
        assert_eq!(sending.send().await.status, 202, "{what}");
    }
    // The stream ends with nothing on it: a client that cancelled waits for no answer.
    let ended = soon("the end of it", answers.remove(1)).await.unwrap();
    assert_eq!((ended.status, ended.body.as_str()), (200, ""), "{ended:?}");
    assert_eq!(ended.header("content-type"), Some("text/event-stream"));

    images.until_aside("notifications/cancelled").await;
    let given_up = images.requests()[1].clone();
    let told: Vec<_> = images.asides();
    let told: Vec<_> = told
        .iter()
        .filter(|seen| seen.method == "notifications/cancelled")
        .collect();
    assert_eq!(told.len(), 1);
    let id = serde_json::from_str::<Value>(&given_up.body).unwrap()["id"].clone();
    assert_eq!(told[0].param("requestId"), id);
    let of = |seen: &Seen| seen.header("mcp-session-id").unwrap().to_owned();
    assert_eq!(of(told[0]), of(&given_up));

    images.release(3);
    for answer in answers {
        let answer = soon("an answer", answer).await.unwrap();
        assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
    }
    assert_eq!(world.used("servers.images calls/day@UTC").await, 4);
    let events = world.events().await;
    let failed = find(&events, "failed");
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].text("outcome"), "cancelled");
    assert_eq!(failed[0].meta["budgets"][0]["charged"], 1);
    world.stop().await;
}

#[tokio::test]
async fn a_cancelled_request_ends_for_every_kind_of_client_and_server() {
    let world = world().await;
    for server in ["images", "notes"] {
        let session = world.agent("clawd").session("/mcp", "2025-06-18").await;
        let upstream = world.server(server);
        let before = upstream.calls();
        // One that takes no stream has to be told something.
        let json_only = session
            .post(slow(json!(1), server))
            .header("accept", "application/json");
        let answer = tokio::spawn(json_only.send());
        upstream.until_calls(before + 1).await;
        session.post(cancelled(json!(1))).send().await;
        let answer = soon("an answer", answer).await.unwrap();
        assert_eq!(answer.code(), (200, -32603), "{answer:?}");
        assert_eq!(answer.json()["id"], 1);
        upstream.until_dropped(1).await;

        // A stream that is open ends; the id can be used again.
        let narrate = json!({"name": format!("{server}__narrate"), "_meta": {"progressToken": 1}});
        let mut stream = session
            .post(request(json!(1), "tools/call", &narrate))
            .open()
            .await;
        assert_eq!(
            stream.next().await.unwrap()["method"],
            "notifications/progress"
        );
        session.post(cancelled(json!(1))).send().await;
        assert_eq!(stream.next().await, None, "{server}");
        let pong = session.post(rpc("ping", &json!({}))).send().await;
        assert_eq!(pong.json()["result"], json!({}));
    }
    world.stop().await;
}

#[tokio::test]
async fn in_the_old_transport_a_cancelled_request_leaves_nothing_on_the_stream() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut stream = clawd.get("/sse").open().await;
    let address = stream.next_data().await.unwrap();
    let post = async |body: String| clawd.post(&address, body).send().await.status;
    let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}});
    assert_eq!(post(request(json!(0), "initialize", &hello)).await, 202);
    assert_eq!(stream.next().await.unwrap()["id"], 0);
    assert_eq!(post(slow(json!(1), "images")).await, 202);
    world.server("images").until_requests(1).await;
    assert_eq!(post(slow(json!(1), "images")).await, 400, "in hand");
    assert_eq!(post(cancelled(json!(0))).await, 202);
    assert_eq!(post(cancelled(json!(1))).await, 202);
    world.server("images").until_dropped(1).await;
    assert_eq!(post(request(json!(2), "ping", &json!({}))).await, 202);
    assert_eq!(stream.next().await.unwrap()["id"], 2);
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn an_id_that_is_in_hand_is_not_taken_twice() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let sister = world.agent("clawd").session("/mcp", "2025-11-25").await;
    let first = tokio::spawn(session.post(slow(json!("a"), "images")).send());
    world.server("images").until_requests(1).await;
    let again = session.post(slow(json!("a"), "images")).send().await;
    assert_eq!(again.code(), (400, -32600), "{again:?}");
    assert_eq!(again.json()["id"], "a");
    let ping = |session: &Session| session.post(request(json!("a"), "ping", &json!({})));
    assert_eq!(ping(&session).send().await.status, 400);
    assert_eq!(ping(&sister).send().await.status, 200);
    world.server("images").release(1);
    assert_eq!(soon("an answer", first).await.unwrap().status, 200);
    assert_eq!(ping(&session).send().await.status, 200, "free again");
    let events = world.events().await;
    assert_eq!(find(&events, "denied").len(), 2, "each is written down");
    world.stop().await;
}

#[tokio::test]
async fn who_is_asked_and_cancels_is_asked_no_more() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let session = world
        .agent("clawd")
        .session_that_can("/mcp/notes", "2025-11-25", can)
        .await;
    let elicit = json!({"name": "imagine", "arguments": {"do": "elicit"}});
    let mut stream = session
        .post(request(json!("e"), "tools/call", &elicit))
        .open()
        .await;
    let question = stream.next().await.unwrap();
    assert_eq!(question["method"], "elicitation/create");
    session.post(cancelled(json!("e"))).send().await;
    assert_eq!(stream.next().await, None);
    let late = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(session.post(late.to_string()).send().await.status, 400);
    assert_eq!(world.server("notes").calls(), 1, "not repeated");
    let stopped = world.stop().await;
    let events = events(&stopped.file).await;
    let mut settled = find(&events, "settled");
    settled.retain(|event| event.text("tool") == "imagine");
    assert_eq!(settled.len(), 1, "the round it was in");
}

#[tokio::test]
async fn a_notification_is_taken_where_a_request_would_be() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp", "2025-06-18").await;
    let foreign = world.agent("other").session("/mcp", "2025-06-18").await;
    let hello = notification("notifications/initialized", json!({}));
    let claim = |version: &str| {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": version});
        notification("notifications/x", json!({"_meta": meta}))
    };
    let version = "mcp-protocol-version";
    let modern = |body: &str| clawd.post("/mcp", body).header(version, "2026-07-28");
    let table = [
        ("bare", clawd.post("/mcp", &*hello), 202),
        ("in its session", session.post(&*hello), 202),
        (
            "of any name",
            session.post(notification("x/y", json!({}))),
            202,
        ),
        ("modern by its header", modern(&hello), 202),
        ("modern", modern(&claim("2026-07-28")), 202),
        (
            "modern, with the session of somebody",
            modern(&hello).header("mcp-session-id", &foreign.id),
            202,
        ),
    ];
    for (what, sending, expected) in table {
        let answer = sending.send().await;
        assert_eq!((answer.status, &*answer.body), (expected, ""), "{what}");
    }
    let table = [
        (
            "of somebody else",
            session.post(&*hello).header("mcp-session-id", &foreign.id),
            (404, -32600),
        ),
        (
            "of nobody",
            session.post(&*hello).header("mcp-session-id", "x"),
            (404, -32600),
        ),
        (
            "of no version",
            session.post(&*hello).header(version, "tomorrow"),
            (400, -32600),
        ),
        (
            "of a version not served",
            clawd
                .post("/mcp", claim("2031-01-01"))
                .header(version, "2031-01-01"),
            (400, -32022),
        ),
        (
            "of two versions",
            clawd
                .post("/mcp", claim("2026-07-28"))
                .header(version, "2025-06-18"),
            (400, -32020),
        ),
    ];
    let number = table.len();
    for (what, sending, expected) in table {
        let answer = sending.send().await;
        assert_eq!(answer.code(), expected, "{what}: {answer:?}");
    }
    assert_eq!(find(&world.events().await, "denied").len(), number);
    world.stop().await;
}

#[tokio::test]
async fn changed_roots_are_told_to_servers_that_know_of_them_and_to_no_other() {
    let mut world = world().await;
    let clawd = world.agent("clawd");
    let with_roots = async |path| {
        let can = json!({"roots": {"listChanged": true}});
        clawd.session_that_can(path, "2025-11-25", can).await
    };
    let session = with_roots("/mcp").await;
    let sister = with_roots("/mcp/images").await;
    let without = clawd.session("/mcp/images", "2025-11-25").await;
    let changed = notification("notifications/roots/list_changed", json!({}));
    // Nothing is open yet, and nothing is opened for it.
    assert_eq!(session.post(&*changed).send().await.status, 202);
    for server in ["images", "notes"] {
        let params = json!({"name": format!("{server}__imagine")});
        session.ask("tools/call", params).await;
    }
    for session in [&sister, &without] {
        session.ask("tools/call", json!({"name": "imagine"})).await;
    }
    for from in [&without, &session] {
        assert_eq!(from.post(&*changed).send().await.status, 202);
    }
    let bare = clawd.post("/mcp", &*changed).send().await;
    assert_eq!(bare.status, 202);
    let method = "notifications/roots/list_changed";
    let images = world.server("images");
    images.until_aside(method).await;
    // After its end no other can be on its way.
    world.restart(POLICY).await;
    let (images, notes) = (world.server("images"), world.server("notes"));
    let told = |server: &FakeUpstream| {
        let asides = server.asides().into_iter();
        asides
            .filter(|seen| seen.method == method)
            .collect::<Vec<_>>()
    };
    assert_eq!((told(images).len(), told(notes).len()), (1, 0));
    let of = |seen: &Seen| seen.header("mcp-session-id").unwrap().to_owned();
    assert_eq!(of(&told(images)[0]), of(&images.requests()[0]));
    world.stop().await;
}

#[tokio::test]
async fn progress_on_a_question_reaches_the_server_that_asked() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let session = world
        .agent("clawd")
        .session_that_can("/mcp/images", "2025-11-25", can)
        .await;
    let ask = request(json!(1), "tools/call", &json!({"name": "inquire"}));
    let mut stream = session.post(ask).open().await;
    let question = stream.next().await.unwrap();
    let token = &question["params"]["_meta"]["progressToken"];
    assert_eq!(
        *token, question["id"],
        "ours: servers know nothing of each other"
    );
    let progress = |token: &Value| {
        let params = json!({"progressToken": token, "progress": 1});
        session.post(notification("notifications/progress", params))
    };
    for token in [&json!("theirs"), &json!(99), token] {
        assert_eq!(progress(token).send().await.status, 202);
    }
    let images = world.server("images");
    images.until_aside("notifications/progress").await;
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(session.post(answer.to_string()).send().await.status, 202);
    images.until_aside(ANSWER).await;
    images.release(1);
    assert_eq!(stream.next().await.unwrap()["id"], 1);
    let asides = images.asides();
    let told: Vec<&Seen> = asides
        .iter()
        .filter(|seen| seen.method == "notifications/progress")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].param("progressToken"), "theirs");
    world.stop().await;
}

fn batch(elements: &[String]) -> String {
    format!("[{}]", elements.join(","))
}

/// The entries of an answer to a batch, by id.
fn by_id(answer: &Reply) -> BTreeMap<String, Value> {
    let entries: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
    let entry = |entry: Value| (entry["id"].to_string(), entry);
    entries.into_iter().map(entry).collect()
}

fn imagine(id: Value) -> String {
    request(id, "tools/call", &json!({"name": "images__imagine"}))
}

#[tokio::test]
async fn each_element_of_a_batch_is_a_request_of_its_own() {
    let world = World::builder()
        .server("images", FakeUpstream::legacy())
        .start(
            r#"
servers:
  images: {url: "@images", budgets: [2/day]}
agents:
  clawd: {token_hash: "@clawd", servers: [{server: images, tools: [imagine]}]}
"#,
        )
        .await;
    let clawd = world.agent("clawd");
    let elements = [
        imagine(json!(1)),
        imagine(json!("1")),
        imagine(json!(3)),
        request(json!(4), "tools/call", &json!({"name": "images__blend"})),
        request(json!(5), "no/such", &json!({})),
        request(json!(6), "ping", &json!({})),
        notification("notifications/x", json!({})),
        r#"{"id":8,"method":"ping"}"#.into(),
        "7".into(),
    ];
    let answer = clawd.post("/mcp", batch(&elements)).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let entries = by_id(&answer);
    assert_eq!(entries.len(), 8, "{entries:?}");
    let calls = ["1", "\"1\"", "3"].map(|id| entries[id]["result"]["isError"] == json!(true));
    let refused = calls.iter().filter(|refused| **refused).count();
    assert_eq!(refused, 1, "two of them have room: {entries:?}");
    let reason = &entries["4"]["result"]["_meta"]["dev.hayward/refusal"]["reason"];
    assert_eq!(*reason, "not_granted");
    assert_eq!(entries["5"]["error"]["code"], -32601);
    assert_eq!(entries["6"]["result"], json!({}));
    assert_eq!(entries["8"]["error"]["code"], -32600);
    assert_eq!(entries["null"]["error"]["code"], -32600);

    let events = world.events().await;
    assert_eq!(find(&events, "settled").len(), 2);
    assert_eq!(find(&events, "denied").len(), 5, "each is written down");
    let whole = u64::try_from(batch(&elements).len()).unwrap();
    let bytes = |event: &&Event| event.meta["bytes_in"].as_u64().unwrap();
    let sizes = find(&events, "admitted");
    assert!(sizes.iter().all(|event| bytes(event) < whole / 2));
    world.stop().await;
}

#[tokio::test]
async fn batches_are_taken_where_a_revision_has_them_and_nowhere_else() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let pings = |number: u32| {
        let pings = (0..number).map(|id| request(json!(id), "ping", &json!({})));
        batch(&pings.collect::<Vec<_>>())
    };
    let claim = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    let version = "mcp-protocol-version";
    let bare = |body: String| clawd.post("/mcp", body);
    let in_session = async |version| clawd.session("/mcp", version).await.post(pings(2));
    let foreign = world.agent("other").session("/mcp", "2025-03-26").await;
    let table = [
        ("bare", bare(pings(20)), 200),
        ("named", bare(pings(2)).header(version, "2025-03-26"), 200),
        ("2025-03-26", in_session("2025-03-26").await, 200),
        (
            "only notices",
            bare(batch(&[notification("x", json!({}))])),
            202,
        ),
        (
            "late answer",
            bare(r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#.into()),
            202,
        ),
        ("2024-11-05", in_session("2024-11-05").await, 400),
        ("2025-06-18", in_session("2025-06-18").await, 400),
        ("2025-11-25", in_session("2025-11-25").await, 400),
        ("named", bare(pings(2)).header(version, "2025-06-18"), 400),
        ("modern", bare(pings(2)).header(version, "2026-07-28"), 400),
        ("unknown", bare(pings(2)).header(version, "tomorrow"), 400),
        ("empty", bare("[]".into()), 400),
        ("too many", bare(pings(21)), 400),
        (
            "initialize",
            bare(batch(&[request(json!(1), "initialize", &json!({}))])),
            400,
        ),
        (
            "a modern claim",
            bare(batch(&[
                imagine(json!(1)),
                request(json!(2), "ping", &claim),
            ])),
            400,
        ),
        (
            "a foreign session",
            bare(pings(2)).header("mcp-session-id", &foreign.id),
            404,
        ),
    ];
    for (what, sending, expected) in table {
        let answer = sending.send().await;
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        if expected == 400 {
            assert_eq!(answer.code(), (400, -32600), "{what}");
        }
        if what == "modern" {
            assert_eq!(
                answer.json().get("id"),
                None,
                "2026-07-28 knows no `id: null`"
            );
        }
        if what == "2025-06-18" {
            assert!(answer.body.contains("2025-03-26"), "{answer:?}");
        }
    }
    assert_eq!(
        world.server("images").calls(),
        0,
        "none of a batch that is none"
    );
    world.stop().await;
}

#[tokio::test]
async fn what_is_said_before_the_answers_of_a_batch_makes_it_a_stream() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let session = world
        .agent("clawd")
        .session_that_can("/mcp", "2025-03-26", can)
        .await;
    let inquire = request(json!(1), "tools/call", &json!({"name": "images__inquire"}));
    let mut stream = session
        .post(batch(&[
            inquire,
            imagine(json!(2)),
            slow(json!(3), "notes"),
        ]))
        .open()
        .await;
    let mut first = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    first.sort_by_key(|message| message["id"] != 2);
    let [done, question] = first;
    assert_eq!(done["result"]["content"][0]["text"], "done", "{done}");
    assert_eq!(question["method"], "elicitation/create");
    // Answers can come in a batch as well, and cancellations.
    world.server("notes").until_calls(1).await;
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    let both = batch(&[answer.to_string(), cancelled(json!(3))]);
    assert_eq!(session.post(both).send().await.status, 202);
    world.server("images").until_aside(ANSWER).await;
    world.server("notes").until_dropped(1).await;
    world.server("images").release(1);
    assert_eq!(stream.next().await.unwrap()["id"], 1);
    assert_eq!(stream.next().await, None, "no answer to what was cancelled");
    world.stop().await;
}

#[tokio::test]
async fn a_batch_in_the_old_transport_is_answered_on_the_stream() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let mut stream = clawd.get("/sse").open().await;
    let address = stream.next_data().await.unwrap();
    let post = async |body: String| clawd.post(&address, body).send().await.status;
    let pings = batch(&[1, 2].map(|id| request(json!(id), "ping", &json!({}))));
    assert_eq!(post(pings.clone()).await, 400, "2024-11-05");
    let hello = json!({"protocolVersion": "2025-03-26", "capabilities": {}});
    assert_eq!(post(request(json!(0), "initialize", &hello)).await, 202);
    stream.next().await.unwrap();
    assert_eq!(post(pings).await, 202);
    let mut ids = [(); 2].map(|()| Value::Null);
    for id in &mut ids {
        *id = stream.next().await.unwrap()["id"].clone();
    }
    ids.sort_by_key(Value::as_u64);
    assert_eq!(ids, [json!(1), json!(2)]);
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn a_version_header_in_a_session_names_a_revision_that_has_sessions() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp", "2025-06-18").await;
    let mut stream = clawd.get("/sse").open().await;
    let address = stream.next_data().await.unwrap();
    let header = "mcp-protocol-version";
    let ping = || request(json!(1), "ping", &json!({}));
    let hello = || notification("notifications/initialized", json!({}));
    let answer = || r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_string();
    for (version, asked, said, answered, old) in [
        ("2025-06-18", 200, 202, 400, 202),
        ("2025-11-25", 200, 202, 400, 202),
        ("2024-11-05", 200, 202, 400, 202),
        ("2026-07-28", 400, 202, 400, 400),
        ("tomorrow", 400, 400, 400, 400),
        ("", 400, 400, 400, 400),
    ] {
        for (what, sending, expected) in [
            ("request", session.post(ping()), asked),
            ("notification", session.post(hello()), said),
            ("answer", session.post(answer()), answered),
            ("old transport", clawd.post(&address, ping()), old),
        ] {
            let reply = sending.header(header, version).send().await;
            assert_eq!(reply.status, expected, "{version:?} {what}: {reply:?}");
        }
    }
    let without = session.post(ping()).without(header).send().await;
    assert_eq!(without.status, 200);
    for (version, expected) in [("tomorrow", 400), ("2026-07-28", 405), ("2024-11-05", 200)] {
        let end = session.request("DELETE").header(header, version);
        assert_eq!(end.send().await.status, expected, "{version}");
    }
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn what_is_turned_away_names_the_request_it_answers() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let ping = || request(json!("p"), "ping", &json!({}));
    let version = "mcp-protocol-version";
    let modern = |sending: Sending| sending.header(version, "2026-07-28");
    let post = |path: &str| clawd.post(path, ping());
    let none = world.stranger().post("/mcp", ping());
    let foreign = |sending: Sending| sending.header("origin", "https://evil.example");
    let huge = || clawd.post("/mcp", " ".repeat(5 * 1024 * 1024));
    let form = |sending: Sending| sending.header("content-type", "text/plain");
    let (id, null) = (Some(json!("p")), Some(Value::Null));
    let table = [
        (
            "session",
            post("/mcp").header("mcp-session-id", "x"),
            404,
            &id,
        ),
        (
            "version",
            post("/mcp").header(version, "tomorrow"),
            400,
            &id,
        ),
        ("unread", form(post("/mcp")), 415, &null),
        ("unread, modern", modern(form(post("/mcp"))), 415, &None),
        ("too large", huge(), 413, &null),
        ("too large, modern", modern(huge()), 413, &None),
        ("no token", none.clone(), 401, &null),
        ("no token, modern", modern(none), 401, &None),
        ("no server", post("/mcp/nowhere"), 404, &null),
        (
            "no server, modern",
            modern(post("/mcp/nowhere")),
            404,
            &None,
        ),
        ("foreign page", foreign(post("/mcp")), 403, &null),
        (
            "foreign page, modern",
            foreign(modern(post("/mcp"))),
            403,
            &None,
        ),
        ("no JSON", clawd.post("/mcp", "{"), 400, &null),
        (
            "no JSON, modern",
            modern(clawd.post("/mcp", "{")),
            400,
            &None,
        ),
        ("no message", clawd.request("PUT", "/mcp"), 405, &None),
    ];
    for (what, sending, status, id) in table {
        let answer = sending.send().await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert_eq!(answer.json().get("id"), id.as_ref(), "{what}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_page_that_may_use_the_gateway_can_and_no_other() {
    let world = world().await;
    let ask = |path: &str| {
        let asking = world.stranger().request("OPTIONS", path);
        asking.header("access-control-request-method", "POST")
    };
    for path in ["/mcp", "/mcp/images", "/sse", "/messages"] {
        let asked = ask(path).header("origin", PAGE).header(
            "access-control-request-headers",
            "authorization,mcp-param-x",
        );
        let may = asked.send().await;
        assert_eq!(may.status, 204, "{path}: {may:?}");
        let allowed = |name: &str| may.header(name).unwrap_or_default().to_owned();
        assert_eq!(allowed("access-control-allow-origin"), PAGE);
        assert!(allowed("access-control-allow-methods").contains("POST"));
        assert!(allowed("access-control-allow-headers").contains("Authorization"));
        assert!(allowed("access-control-allow-headers").contains("mcp-param-x"));
        assert_eq!(allowed("access-control-allow-credentials"), "");
        let evil = ask(path).header("origin", "https://evil.example");
        let evil = evil.send().await;
        assert_eq!(evil.status, 403);
        assert_eq!(evil.header("access-control-allow-origin"), None);
    }
    let opened = |reply: &Reply| reply.header("access-control-allow-origin").is_some();
    let clawd = world.agent("clawd");
    let ping = || clawd.post("/mcp", request(json!(1), "ping", &json!({})));
    let answer = ping().header("origin", PAGE).send().await;
    assert!(answer.status == 200 && opened(&answer), "{answer:?}");
    assert_eq!(answer.header("vary"), Some("Origin"));
    assert!(!opened(&ping().send().await));
    let refused = world.stranger().post("/mcp", "{}").header("origin", PAGE);
    let refused = refused.send().await;
    assert!(refused.status == 401 && opened(&refused), "{refused:?}");
    // What is for people is for no page of another origin, and no question is answered there.
    for path in ["/audit", "/health", "/"] {
        let seen = clawd.get(path).header("origin", PAGE).send().await;
        assert!(!opened(&seen), "{path}");
        let asked = ask(path).header("origin", PAGE).send().await;
        assert!(asked.status >= 400 && !opened(&asked), "{path}: {asked:?}");
    }
    world.stop().await;
}

#[tokio::test]
async fn other_methods_are_told_which_work() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for path in ["/mcp", "/mcp/", "/mcp/images", "/mcp/images/"] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "PATCH"] {
            let answer = clawd.request(method, path).send().await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allowed = answer.header("allow").unwrap();
            assert!(allowed.contains("POST"), "{method} {path}: {allowed}");
        }
        let ping = clawd.post(path, request(json!(1), "ping", &json!({})));
        assert_eq!(ping.send().await.status, 200, "{path}");
    }
    for (method, path, allowed) in [
        ("POST", "/sse", "GET"),
        ("HEAD", "/sse/images/", "GET"),
        ("GET", "/messages?session=x", "POST"),
        ("DELETE", "/messages/?session=x", "POST"),
        ("POST", "/health", "GET"),
    ] {
        let answer = clawd.request(method, path).send().await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").unwrap().contains(allowed));
    }
    let health = world.stranger().request("HEAD", "/health").send().await;
    assert_eq!((health.status, &*health.body), (200, ""));
    world.stop().await;
}

#[tokio::test]
async fn a_servers_own_error_keeps_its_status_for_who_can_read_it() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp/notes", "2025-11-25").await;
    for (status, code, expected) in [
        (200, -32601, 404),
        (404, -32601, 404),
        (200, -32020, 400),
        (200, -32021, 400),
        (400, -32022, 400),
        (200, -32602, 200),
        (400, -32602, 400),
        (500, -32603, 500),
        (401, -32000, 200),
        (403, -32000, 200),
    ] {
        let arguments = json!({"do": "refuse", "status": status, "code": code});
        let params = json!({"name": "imagine", "arguments": arguments});
        let modern = clawd.modern("/mcp/notes", "tools/call", params.clone());
        let modern = modern.send().await;
        assert_eq!(modern.code(), (expected, code), "{status} {code}");
        let data = &modern.json()["error"]["data"];
        assert_eq!(data["requiredCapabilities"], json!({"sampling": {}}));
        if code == -32021 {
            continue;
        }
        for old in [
            session.post(request(json!(1), "tools/call", &params)),
            clawd.post("/mcp/notes", request(json!(1), "tools/call", &params)),
        ] {
            assert_eq!(old.send().await.code(), (200, code), "{status} {code}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_cannot_give_an_answer_is_told_what_is_missing() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let needs = json!({"do": "refuse", "status": 400, "code": -32021});
    let needs = json!({"name": "imagine", "arguments": needs});
    let session = clawd.session("/mcp/notes", "2025-11-25").await;
    for old in [
        session.post(request(json!(1), "tools/call", &needs)),
        clawd.post("/mcp/notes", request(json!(1), "tools/call", &needs)),
    ] {
        let told = old.send().await;
        assert_eq!(told.status, 200);
        let result = &told.json()["result"];
        assert_eq!(result["isError"], true, "{told:?}");
        let refusal = &result["_meta"]["dev.hayward/refusal"];
        assert_eq!(refusal["reason"], "client_cannot_answer");
        assert_eq!(refusal["server"], "notes");
    }
    // Nor is anyone of 2026-07-28 asked for what it did not declare.
    let elicit = json!({"name": "imagine", "arguments": {"do": "elicit"}});
    let modern = clawd.modern("/mcp/notes", "tools/call", elicit.clone());
    let refused = modern.send().await;
    assert_eq!(refused.code(), (400, -32021), "{refused:?}");
    let data = &refused.json()["error"]["data"];
    assert_eq!(data["requiredCapabilities"], json!({"elicitation": {}}));
    assert_eq!(refused.json()["id"], 1);
    let can = json!({"elicitation": {}});
    let asked = clawd.modern_that_can("/mcp/notes", "tools/call", elicit, can);
    let asked = asked.send().await.json();
    assert_eq!(asked["result"]["resultType"], "input_required");
    world.stop().await;
}

#[tokio::test]
async fn the_level_of_a_session_reaches_every_connection_of_it_once() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session("/mcp", "2025-11-25").await;
    let sister = clawd.session("/mcp", "2025-11-25").await;
    let imagine = async |session: &Session, server: &str| {
        let params = json!({"name": format!("{server}__imagine")});
        let called = session.ask("tools/call", params).await;
        assert_eq!(called["result"]["content"][0]["text"], "done");
    };
    let set = async |level: &str| {
        let set = session
            .ask("logging/setLevel", json!({"level": level}))
            .await;
        assert_eq!(set["result"], json!({}), "{set}");
    };
    imagine(&session, "images").await;
    set("error").await;
    for server in ["images", "images", "notes"] {
        imagine(&session, server).await;
    }
    imagine(&sister, "images").await;
    set("debug").await;
    imagine(&session, "images").await;
    // A server that was restarted hears it again.
    world.server("images").forget_sessions();
    imagine(&session, "images").await;
    let told = |server: &str| {
        let asides = world.server(server).asides().into_iter();
        let told = asides.filter(|seen| seen.method == "logging/setLevel");
        told.map(|seen| {
            let session = seen.header("mcp-session-id").unwrap().to_owned();
            (seen.params, session)
        })
        .collect::<Vec<_>>()
    };
    let requests = world.server("images").requests();
    let of = |at: usize| requests[at].header("mcp-session-id").unwrap().to_owned();
    let (error, debug) = (r#"{"level":"error"}"#, r#"{"level":"debug"}"#);
    let (first, second) = (of(0), of(requests.len() - 1));
    assert_ne!(first, second);
    assert_eq!(
        told("images"),
        [
            (error.to_owned(), first.clone()),
            (debug.to_owned(), first),
            (debug.to_owned(), second)
        ]
    );
    assert_eq!(told("notes"), [], "2026-07-28 has it in each request");
    let wrong = session
        .ask("logging/setLevel", json!({"level": "shouting"}))
        .await;
    assert_eq!(wrong["error"]["code"], -32602);
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_floods_loses_its_own_words_and_the_log_counts_them() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp", "2025-11-25").await;
    for (server, times) in [("images", 3), ("images", 5_000), ("notes", 5_000)] {
        let params = json!({
            "name": format!("{server}__flood"),
            "arguments": {"times": times},
            "_meta": {"progressToken": "t"},
        });
        let mut stream = session.post(rpc("tools/call", &params)).open().await;
        let mut heard = 0;
        while let Some(message) = stream.next().await {
            if message["method"] == "notifications/progress" {
                heard += 1;
            } else {
                assert_eq!(message["result"]["content"][0]["text"], "done");
            }
        }
        assert!(heard <= 256 && heard <= times, "{heard} of {times}");
        let events = world.events().await;
        let closed = find(&events, "settled").pop().unwrap().meta.clone();
        let number = |key: &str| closed[key].as_i64().unwrap_or_default();
        assert!(number("notices") >= heard && number("notices") <= 256);
        assert_eq!(number("notices") + number("notices_dropped"), times);
    }
    world.stop().await;
}
