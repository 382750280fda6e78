//! Streams that are closed or break before the answer, and agents that come back for the rest (MCP 2025-11-25,
//! transports, resumability): everything after the place they name, to the one they belong to, and nobody else.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{
    ANSWER, FakeStream, FakeUpstream, Session, SseEvent, Stream, World, find, rpc, soon,
};

const POLICY: &str = r#"
servers:
  images: {url: "@images"}
  notes: {url: "@notes"}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
"#;

const PATH: &str = "/mcp/images";
const LATEST: &str = "2025-11-25";

/// `images` is written by the test, `notes` is like any server without event ids.
async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy().by_hand())
        .server("notes", FakeUpstream::legacy())
        .start(POLICY)
        .await
}

fn call() -> String {
    let params = json!({"name": "imagine", "arguments": {}, "_meta": {"progressToken": "mine"}});
    rpc("tools/call", &params)
}

/// The same request with another id.
fn renamed(request: &str, id: u32) -> String {
    let mut request: Value = serde_json::from_str(request).unwrap();
    request["id"] = id.into();
    request.to_string()
}

/// Comes back to a stream after an event.
async fn come_back(session: &Session, last_event: &str) -> Stream {
    let get = session.request("GET").header("accept", "text/event-stream");
    let stream = get.header("last-event-id", last_event).open().await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    stream
}

/// Comes back in vain.
async fn refused(session: &Session, last_event: &str) -> (u16, i64) {
    let get = session.request("GET").header("accept", "text/event-stream");
    get.header("last-event-id", last_event).send().await.code()
}

/// The next event, with its id.
async fn placed(stream: &mut Stream) -> (String, SseEvent) {
    let event = stream.next_event().await.unwrap();
    (event.id.clone().unwrap(), event)
}

async fn progress(stream: &mut Stream) -> (String, u64) {
    let (id, event) = placed(stream).await;
    let message = event.json();
    assert_eq!(message["method"], "notifications/progress", "{message}");
    assert_eq!(message["params"]["progressToken"], "mine");
    (id, message["params"]["progress"].as_u64().unwrap())
}

/// The answer, and nothing after it.
async fn answer(stream: &mut Stream) -> String {
    answer_to(1, stream).await
}

async fn answer_to(id: u32, stream: &mut Stream) -> String {
    let (_, event) = placed(stream).await;
    let answer = event.json();
    assert_eq!(answer["id"], id, "{answer}");
    assert_eq!(stream.next_event().await, None, "nothing after the answer");
    let text = &answer["result"]["content"][0]["text"];
    text.as_str().unwrap().to_owned()
}

/// A call whose stream is open on both sides: the agent's, the id of its first event, and the server's.
async fn begun(world: &World, session: &Session) -> (Stream, String, FakeStream) {
    begun_as(1, world, session).await
}

async fn begun_as(id: u32, world: &World, session: &Session) -> (Stream, String, FakeStream) {
    let opening = tokio::spawn(session.post(renamed(&call(), id)).open());
    let server = world.server("images").stream().await;
    server.prime("first").await;
    let mut stream = opening.await.unwrap();
    let (first, event) = placed(&mut stream).await;
    assert_eq!(
        (event.data.as_str(), event.retry.as_deref()),
        ("", Some("60"))
    );
    (stream, first, server)
}

/// One call was admitted, and closed once.
async fn assert_one_call(world: &World) {
    let events = world.events().await;
    assert_eq!(find(&events, "admitted").len(), 1);
    assert_eq!(find(&events, "settled").len(), 1);
    assert_eq!(world.server("images").calls(), 1, "nothing is repeated");
}

#[tokio::test]
async fn what_a_server_opens_with_opens_the_agents_stream_at_once() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let mut open = Vec::new();
    for id in 1..=3 {
        let list = renamed(&rpc("tools/list", &json!({})), id);
        let opening = tokio::spawn(session.post(list).open());
        let server = world.server("images").stream().await;
        server.prime("an id of the server").await;
        let mut stream = opening.await.unwrap();
        let (id, _) = placed(&mut stream).await;
        assert!(
            id.bytes().all(|byte| byte.is_ascii_graphic()),
            "an id fits into a header: {id}"
        );
        open.push((stream, server, id));
    }
    assert_ne!(open[0].2, open[1].2, "streams are told apart");
    for (mut stream, server, _) in open {
        let request = server.request.clone();
        server.answer("second", &request, "").await;
        let (_, event) = placed(&mut stream).await;
        assert!(event.json()["result"]["tools"].is_array());
        assert_eq!(stream.next_event().await, None);
    }
    world.stop().await;
}

#[tokio::test]
async fn a_stream_that_the_server_closes_goes_on_where_the_agent_takes_it_up() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    let request = server.request.clone();
    server.progress("second", &request, 1).await;
    drop(server);
    let (second, number) = progress(&mut stream).await;
    assert_eq!(number, 1);
    assert_eq!(stream.next_event().await, None, "closed as the server did");

    let server = world.server("images").stream().await;
    assert_eq!(server.last_event.as_deref(), Some("second"));
    let mut back = come_back(&session, &second).await;
    server.progress("third", &request, 2).await;
    assert_eq!(
        progress(&mut back).await.1,
        2,
        "what is said after it came back"
    );
    drop(server);
    assert_eq!(back.next_event().await, None, "closed once more");

    let server = world.server("images").stream().await;
    assert_eq!(server.last_event.as_deref(), Some("third"));
    server.answer("fourth", &request, "late").await;
    let mut back = come_back(&session, &second).await;
    assert_eq!(progress(&mut back).await.1, 2, "sent again");
    assert_eq!(answer(&mut back).await, "late");
    let mut again = come_back(&session, &first).await;
    assert_eq!(progress(&mut again).await.1, 1);
    assert_eq!(progress(&mut again).await.1, 2);
    assert_eq!(answer(&mut again).await, "late", "kept for some time");
    assert_one_call(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_broken_connection_loses_nothing_that_was_said() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, _, server) = begun(&world, &session).await;
    let request = server.request.clone();
    server.progress("second", &request, 1).await;
    let (second, _) = progress(&mut stream).await;
    drop(stream);
    server.progress("third", &request, 2).await;

    let mut back = come_back(&session, &second).await;
    assert_eq!(progress(&mut back).await.1, 2);
    let mut later = come_back(&session, &second).await;
    assert_eq!(
        back.next_event().await,
        None,
        "nothing is said on two streams"
    );
    server.answer("fourth", &request, "all the same").await;
    assert_eq!(progress(&mut later).await.1, 2);
    assert_eq!(answer(&mut later).await, "all the same");
    assert_one_call(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_connection_that_breaks_behind_the_gateway_is_no_matter_of_the_agent() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, _, server) = begun(&world, &session).await;
    let request = server.request.clone();
    server.cut().await;
    let server = world.server("images").stream().await;
    assert_eq!(server.last_event.as_deref(), Some("first"));
    server
        .answer("second", &request, "on the same stream")
        .await;
    assert_eq!(answer(&mut stream).await, "on the same stream");
    assert_one_call(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_go_on_is_heard_of_by_who_comes_back() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    drop(server);
    assert_eq!(stream.next_event().await, None);
    let server = world.server("images").stream().await;
    server.write("data: no message\n\n").await;
    let mut back = come_back(&session, &first).await;
    let failed = back.next().await.unwrap();
    assert_eq!(failed["id"], 1);
    assert_eq!(failed["result"]["isError"], true, "{failed}");
    let events = world.events().await;
    assert_eq!(find(&events, "failed").len(), 1);
    drop(server);
    world.stop().await;
}

#[tokio::test]
async fn a_place_is_nothing_to_another_agent_session_or_endpoint() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session(PATH, LATEST).await;
    let (stream, first, server) = begun(&world, &session).await;

    let other_session = clawd.session(PATH, LATEST).await;
    let elsewhere = clawd.session("/mcp", LATEST).await;
    let other_agent = world.agent("other").session(PATH, LATEST).await;
    let mut changed = first.clone();
    let replaced = if changed.remove(0) == 'A' { 'B' } else { 'A' };
    changed.insert(0, replaced);
    for (who, id) in [
        (&other_session, first.as_str()),
        (&elsewhere, &first),
        (&other_agent, &first),
        (&session, &changed),
        (&session, "first"),
        (&session, "1"),
        (&session, ""),
    ] {
        assert_eq!(refused(who, id).await, (400, -32600), "{id}");
    }
    let foreign_session = world.agent("other").get(PATH);
    let foreign_session = foreign_session
        .header("accept", "text/event-stream")
        .header("mcp-session-id", &session.id)
        .header("last-event-id", &first);
    assert_eq!(foreign_session.send().await.status, 404);
    let events = world.events().await;
    let reasons = find(&events, "denied")
        .iter()
        .filter(|event| event.reason.as_deref() == Some("unknown_place"))
        .count();
    assert!(reasons > 0, "those who try are written down");

    // It is still the agent's own.
    drop(stream);
    let mut back = come_back(&session, &first).await;
    let request = server.request.clone();
    server.answer("second", &request, "mine").await;
    assert_eq!(answer(&mut back).await, "mine");
    world.stop().await;
}

#[tokio::test]
async fn two_requests_of_one_session_never_mix() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (one, first_of_one, server_of_one) = begun_as(1, &world, &session).await;
    let (two, first_of_two, server_of_two) = begun_as(2, &world, &session).await;
    drop((one, two));
    for (server, text) in [(server_of_two, "two"), (server_of_one, "one")] {
        let request = server.request.clone();
        server.answer("second", &request, text).await;
    }
    for (id, first, text) in [(1, &first_of_one, "one"), (2, &first_of_two, "two")] {
        let mut back = come_back(&session, first).await;
        assert_eq!(answer_to(id, &mut back).await, text);
    }
    world.stop().await;
}

#[tokio::test]
async fn servers_without_event_ids_are_answered_as_before() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp/notes", LATEST).await;
    let listed = session.post(rpc("tools/list", &json!({}))).send().await;
    assert_eq!(listed.header("content-type"), Some("application/json"));

    let params = json!({"name": "describe", "arguments": {"do": "narrate"}, "_meta": {"progressToken": "mine"}});
    let mut stream = session.post(rpc("tools/call", &params)).open().await;
    world.server("notes").release(1);
    let mut events = Vec::new();
    while let Some(event) = stream.next_event().await {
        assert_eq!((event.id, event.retry), (None, None));
        events.push(event.data);
    }
    assert_eq!(events.len(), 4, "{events:?}");
    world.stop().await;
}

#[tokio::test]
async fn agents_of_other_revisions_get_no_ids_and_the_whole_answer() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let older = clawd.session(PATH, "2025-06-18").await;
    let latest = clawd.session(PATH, LATEST).await;
    for sending in [
        older.post(call()),
        latest.post(call()).header("accept", "application/json"),
        clawd.post(PATH, call()),
        clawd
            .post(PATH, call())
            .header("accept", "text/event-stream"),
    ] {
        let answering = tokio::spawn(sending.send());
        let server = world.server("images").stream().await;
        let request = server.request.clone();
        server.prime("first").await;
        drop(server);
        let server = world.server("images").stream().await;
        assert_eq!(server.last_event.as_deref(), Some("first"));
        server.answer("second", &request, "whole").await;
        let answered = answering.await.unwrap();
        assert_eq!(answered.header("content-type"), Some("application/json"));
        assert_eq!(answered.json()["result"]["content"][0]["text"], "whole");
    }
    assert_eq!(refused(&older, "first").await, (400, -32600));
    world.stop().await;
}

#[tokio::test]
async fn on_the_common_endpoint_a_call_has_places_and_a_joined_list_has_none() {
    let world = world().await;
    let session = world.agent("clawd").session("/mcp", LATEST).await;
    let listing = tokio::spawn(session.post(rpc("tools/list", &json!({}))).send());
    let server = world.server("images").stream().await;
    server.prime("first").await;
    let request = server.request.clone();
    server.answer("second", &request, "").await;
    let listed = listing.await.unwrap();
    assert_eq!(listed.header("content-type"), Some("application/json"));

    let params = json!({"name": "images__imagine", "arguments": {}});
    let opening = tokio::spawn(session.post(rpc("tools/call", &params)).open());
    let server = world.server("images").stream().await;
    server.prime("first").await;
    let mut stream = opening.await.unwrap();
    let (first, _) = placed(&mut stream).await;
    drop(stream);
    let request = server.request.clone();
    server.answer("second", &request, "there").await;
    let mut back = come_back(&session, &first).await;
    assert_eq!(answer(&mut back).await, "there");
    world.stop().await;
}

#[tokio::test]
async fn a_question_is_put_again_only_while_it_is_open() {
    let world = world().await;
    let can = json!({"elicitation": {}});
    let clawd = world.agent("clawd");
    let session = clawd.session_that_can(PATH, LATEST, can).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    let request = server.request.clone();
    let question = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create",
        "params": {"message": "your name?"}});
    server.say("second", &question).await;
    let (second, asked) = placed(&mut stream).await;
    assert_eq!(asked.json()["method"], "elicitation/create");
    drop(server);
    assert_eq!(stream.next_event().await, None);

    let server = world.server("images").stream().await;
    assert_eq!(server.last_event.as_deref(), Some("second"));
    let mut back = come_back(&session, &first).await;
    let (_, again) = placed(&mut back).await;
    assert_eq!(again.data, asked.data, "it is still open");
    let reply = json!({"jsonrpc": "2.0", "id": asked.json()["id"], "result": {"action": "accept"}});
    assert_eq!(session.post(reply.to_string()).send().await.status, 202);
    let images = world.server("images");
    images.until_aside(ANSWER).await;
    let answers = images.asides();
    let answered = answers.iter().find(|seen| seen.method == ANSWER).unwrap();
    let answered: Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(
        (&answered["id"], &answered["result"]["action"]),
        (&json!("q"), &json!("accept"))
    );

    server.progress("third", &request, 1).await;
    assert_eq!(progress(&mut back).await.1, 1);
    let mut back = come_back(&session, &first).await;
    assert_eq!(
        progress(&mut back).await.1,
        1,
        "what was answered is not asked again"
    );
    server.answer("fourth", &request, "Ada").await;
    assert_eq!(answer(&mut back).await, "Ada");
    assert_eq!(refused(&session, "second").await, (400, -32600));
    let mut after = come_back(&session, &second).await;
    assert_eq!(progress(&mut after).await.1, 1);
    assert_one_call(&world).await;
    world.stop().await;
}

#[tokio::test]
async fn the_end_of_a_session_and_time_forget_its_streams() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let session = clawd.session(PATH, LATEST).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    let request = server.request.clone();
    server.answer("second", &request, "early").await;
    assert_eq!(answer(&mut stream).await, "early");
    world.clock().advance(Duration::from_secs(5 * 60));
    assert_eq!(
        answer(&mut come_back(&session, &first).await).await,
        "early"
    );
    world.clock().advance(Duration::from_secs(1));
    assert_eq!(refused(&session, &first).await, (400, -32600));

    let (stream, first, server) = begun(&world, &session).await;
    drop(stream);
    let ended = session.request("DELETE").send().await;
    assert_eq!(ended.status, 200);
    assert_eq!(refused(&session, &first).await.0, 404);
    let request = server.request.clone();
    server.answer("second", &request, "to nobody").await;
    let fresh = clawd.session(PATH, LATEST).await;
    assert_eq!(refused(&fresh, &first).await, (400, -32600));
    world.stop().await;
}

#[tokio::test]
async fn a_stream_is_taken_up_only_in_a_session_and_as_a_stream() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (stream, first, server) = begun(&world, &session).await;
    drop(stream);
    let get = |accept: &str| {
        let get = session.request("GET").header("accept", accept);
        get.header("last-event-id", &first)
    };
    let table = [
        get("application/json"),
        get("text/event-stream").without("mcp-session-id"),
        get("text/event-stream").header("mcp-protocol-version", "2026-07-28"),
    ];
    for sending in table {
        let refused = sending.send().await;
        assert_eq!(refused.status, 405, "{refused:?}");
    }
    let twice = get("text/event-stream").and("last-event-id", &first);
    assert_eq!(twice.send().await.code(), (400, -32600));
    let request = server.request.clone();
    server.answer("second", &request, "here").await;
    let mut back = come_back(&session, &first).await;
    assert_eq!(answer(&mut back).await, "here");
    world.stop().await;
}

#[tokio::test]
async fn a_request_that_its_agent_cancels_leaves_nothing_to_come_back_to() {
    let world = world().await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    let params = json!({"requestId": 1});
    let cancelled =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    assert_eq!(session.post(cancelled.to_string()).send().await.status, 202);
    assert_eq!(stream.next_event().await, None, "no answer");
    soon("the stream is let go", async {
        while refused(&session, &first).await != (400, -32600) {}
    })
    .await;
    drop(server);
    world.stop().await;
}

#[tokio::test]
async fn a_server_of_both_eras_is_taken_up_for_the_agent_of_a_session() {
    let world = World::builder()
        .server("images", FakeUpstream::both().by_hand())
        .server("notes", FakeUpstream::legacy())
        .start(POLICY)
        .await;
    let session = world.agent("clawd").session(PATH, LATEST).await;
    let (mut stream, first, server) = begun(&world, &session).await;
    let request = server.request.clone();
    drop(server);
    assert_eq!(stream.next_event().await, None);
    let server = world.server("images").stream().await;
    server.answer("second", &request, "late").await;
    let mut back = come_back(&session, &first).await;
    assert_eq!(answer(&mut back).await, "late");
    world.stop().await;
}
