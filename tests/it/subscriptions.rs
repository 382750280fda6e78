//! What servers say outside of requests: each agent hears what it asked to hear and may see, on its own stream, in
//! its own words, and nothing else.

use std::time::Duration;

use hayward::http::Limits;
use serde_json::{Value, json};

use super::support::{ANSWER, Client, FakeUpstream, Session, Stream, World, find, rpc};

const POLICY: &str = r#"
servers:
  images: {url: "@images", budgets: [{limit: 5/day, each: agent}]}
  notes: {url: "@notes"}
agents:
  clawd: {token_hash: "@clawd", servers: [images, notes]}
  narrow: {token_hash: "@narrow", servers: [{server: images, tools: [imagine]}]}
"#;

const IMAGES: &str = "/mcp/images";

/// The same servers, once of each era.
async fn worlds() -> [World; 2] {
    let older = World::builder()
        .server("images", FakeUpstream::legacy().with_news())
        .server("notes", FakeUpstream::legacy().with_news());
    let younger = World::builder()
        .server("images", FakeUpstream::modern().with_news())
        .server("notes", FakeUpstream::modern().with_news());
    [older.start(POLICY).await, younger.start(POLICY).await]
}

/// A world whose servers speak 2026-07-28, and that waits for its streams for ever.
async fn patient_world() -> World {
    let limits = Limits {
        drain: Duration::from_secs(3_600),
        ..Limits::default()
    };
    World::builder()
        .server("images", FakeUpstream::modern().with_news())
        .server("notes", FakeUpstream::legacy().with_news())
        .limits(limits)
        .start(POLICY)
        .await
}

async fn session(world: &World, agent: &str, path: &str) -> Session {
    world.agent(agent).session(path, "2025-11-25").await
}

fn uri(uri: &str) -> Value {
    json!({"uri": uri})
}

/// A stream of 2026-07-28 under this id.
async fn listen(agent: &Client, path: &str, id: Value, filter: Value) -> Stream {
    let params = json!({"notifications": filter});
    let sending = agent.modern(path, "subscriptions/listen", params.clone());
    let mut body: Value = serde_json::from_str(&rpc("subscriptions/listen", &params)).unwrap();
    body["id"] = id;
    body["params"]["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    sending.body(body.to_string()).open().await
}

fn tag(message: &Value) -> &Value {
    &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
}

async fn next(stream: &mut Stream) -> Value {
    stream.next().await.expect("the stream goes on")
}

async fn method(stream: &mut Stream) -> String {
    next(stream).await["method"].as_str().unwrap().to_string()
}

const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";

#[tokio::test]
async fn what_can_be_heard_is_announced() {
    for world in worlds().await {
        let clawd = session(&world, "clawd", IMAGES).await;
        let announced = &clawd.opened["result"]["capabilities"];
        assert_eq!(announced["tools"], json!({"listChanged": true}));
        assert_eq!(announced["prompts"], json!({"listChanged": true}));
        let resources = json!({"listChanged": true, "subscribe": true});
        assert_eq!(announced["resources"], resources);
        let modern = world
            .agent("clawd")
            .modern("/mcp", "server/discover", json!({}));
        let discovered = &modern.send().await.json()["result"]["capabilities"];
        assert_eq!(discovered["tools"], json!({"listChanged": true}));
        assert_eq!(discovered["resources"], resources);
        world.stop().await;
    }
    let world = World::small("").await;
    let clawd = session(&world, "clawd", IMAGES).await;
    let announced = &clawd.opened["result"]["capabilities"];
    assert_eq!(announced["tools"], json!({}), "its server tells nothing");
    assert_eq!(announced["resources"], json!({}));
    let subscribed = clawd.ask("resources/subscribe", uri("note://1")).await;
    assert_eq!(subscribed["error"]["code"], -32601, "{subscribed}");
    world.stop().await;
}

#[tokio::test]
async fn a_stream_belongs_to_a_session_of_its_agent_on_its_endpoint() {
    let [world, other] = worlds().await;
    let clawd = session(&world, "clawd", IMAGES).await;
    let stream = |agent: &str, path: &str, id: &str| {
        let get = world.agent(agent).get(path);
        get.header("accept", "text/event-stream")
            .header("mcp-session-id", id)
    };
    for (agent, path, id) in [
        ("narrow", IMAGES, clawd.id.as_str()),
        ("clawd", "/mcp", clawd.id.as_str()),
        ("clawd", "/mcp/notes", clawd.id.as_str()),
        ("clawd", IMAGES, "no-such-session"),
    ] {
        let refused = stream(agent, path, id).send().await;
        assert_eq!(refused.status, 404, "{agent} {path} {id}: {refused:?}");
    }
    let without = stream("clawd", IMAGES, &clawd.id).without("mcp-session-id");
    assert_eq!(without.send().await.status, 405);
    let modern = stream("clawd", IMAGES, &clawd.id).header("mcp-protocol-version", "2026-07-28");
    assert_eq!(modern.send().await.status, 405);
    for accept in ["application/json", "*/*"] {
        let refused = stream("clawd", IMAGES, &clawd.id).header("accept", accept);
        assert_eq!(refused.send().await.status, 406, "{accept}");
    }
    let opened = clawd.stand().await;
    assert_eq!(opened.headers["content-type"], "text/event-stream");
    drop(opened);
    world.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_session_hears_of_the_resources_it_subscribed_to() {
    for world in worlds().await {
        let images = world.server("images");
        let one = session(&world, "clawd", IMAGES).await;
        let two = session(&world, "clawd", IMAGES).await;
        let (mut first, mut second) = (one.stand().await, two.stand().await);
        for (session, note) in [(&one, "note://1"), (&two, "note://2")] {
            let done = session.ask("resources/subscribe", uri(note)).await;
            assert_eq!(done["result"], json!({}), "{done}");
            images.until_heard(note, true).await;
        }
        images.say_updated("note://1");
        images.say_updated("note://2");
        let told = next(&mut first).await;
        assert_eq!(told["method"], "notifications/resources/updated");
        assert_eq!(
            told["params"],
            json!({"uri": "note://1", "title": "a note"})
        );
        assert_eq!(next(&mut second).await["params"]["uri"], "note://2");

        // Of one that is not wanted any more nothing is heard, while the other one is.
        one.ask("resources/subscribe", uri("note://2")).await;
        let done = one.ask("resources/unsubscribe", uri("note://1")).await;
        assert_eq!(done["result"], json!({}), "{done}");
        images.until_heard("note://1", false).await;
        images.say_updated("note://1");
        images.say_updated("note://2");
        assert_eq!(next(&mut first).await["params"]["uri"], "note://2");

        let events = world.events().await;
        let admitted = find(&events, "admitted").into_iter();
        let subscribed: Vec<&str> = admitted
            .filter(|event| event.text("method") == "resources/subscribe")
            .map(|event| event.text("target"))
            .collect();
        assert_eq!(subscribed, ["note://1", "note://2", "note://2"]);
        drop((first, second));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_subscription_costs_nothing_and_is_refused_like_a_read() {
    for world in worlds().await {
        let clawd = session(&world, "clawd", IMAGES).await;
        for _ in 0..6 {
            let done = clawd.ask("resources/subscribe", uri("note://1")).await;
            assert_eq!(done["result"], json!({}), "{done}");
        }
        let called = clawd.ask("tools/call", json!({"name": "imagine"})).await;
        assert!(called["result"]["isError"].is_null(), "{called}");
        let key = "servers.images calls/day@UTC each agent=clawd";
        assert_eq!(world.used(key).await, 1, "the call alone is paid");

        let gone = clawd.ask("resources/subscribe", uri("note://gone")).await;
        assert_eq!(gone["error"]["code"], -32002, "{gone}");
        let wrong = clawd.ask("resources/subscribe", json!({})).await;
        assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
        let all = session(&world, "clawd", "/mcp").await;
        let nowhere = all.ask("resources/subscribe", uri("note://1")).await;
        assert_eq!(nowhere["error"]["code"], -32002, "of no server: {nowhere}");

        let narrow = session(&world, "narrow", IMAGES).await;
        let read = narrow.ask("resources/read", uri("note://1")).await;
        let subscribed = narrow.ask("resources/subscribe", uri("note://1")).await;
        assert_eq!(read["error"]["code"], subscribed["error"]["code"]);
        assert_eq!(subscribed["error"]["code"], -31403, "{subscribed}");
        let bare = world.agent("clawd");
        let bare = bare.bare(IMAGES, "resources/subscribe", uri("note://1"));
        assert_eq!(bare.await["error"]["code"], -32601);
        world.stop().await;
    }
}

#[tokio::test]
async fn on_the_common_endpoint_a_resource_has_the_agents_form_of_its_uri() {
    for world in worlds().await {
        let clawd = session(&world, "clawd", "/mcp").await;
        let mut stream = clawd.stand().await;
        for asked in ["images+note://1", "notes+note://1"] {
            let done = clawd.ask("resources/subscribe", uri(asked)).await;
            assert_eq!(done["result"], json!({}), "{done}");
        }
        world.server("notes").until_heard("note://1", true).await;
        world.server("notes").say_updated("note://1");
        assert_eq!(next(&mut stream).await["params"]["uri"], "notes+note://1");
        world.server("images").until_heard("note://1", true).await;
        world.server("images").say_updated("note://1");
        assert_eq!(next(&mut stream).await["params"]["uri"], "images+note://1");
        drop(stream);
        world.stop().await;
    }
}

#[tokio::test]
async fn only_a_change_that_an_agent_can_see_is_told() {
    for world in worlds().await {
        let images = world.server("images");
        let clawd = session(&world, "clawd", IMAGES).await;
        let narrow = session(&world, "narrow", IMAGES).await;
        let (mut wide, mut few) = (clawd.stand().await, narrow.stand().await);
        images.until_hearers(2).await;
        clawd.ask("tools/list", json!({})).await;
        narrow.ask("tools/list", json!({})).await;
        let listed = images.requests().len();

        images.set_tools(["imagine", "describe", "blend", "erase"]);
        images.say_changed("tools");
        assert_eq!(method(&mut wide).await, TOOLS_CHANGED);
        // Both were looked at with the eyes of their agents; what comes next is told after that.
        images.until_requests(listed + 2).await;
        images.say_changed("prompts");
        assert_eq!(method(&mut wide).await, PROMPTS_CHANGED);
        assert_eq!(method(&mut few).await, PROMPTS_CHANGED);

        images.set_tools(["describe", "blend", "erase"]);
        images.say_changed("tools");
        assert_eq!(method(&mut few).await, TOOLS_CHANGED);
        assert_eq!(method(&mut wide).await, TOOLS_CHANGED);
        drop((wide, few));
        world.stop().await;
    }
}

#[tokio::test]
async fn who_never_asked_for_a_list_is_told_without_asking_the_server() {
    for world in worlds().await {
        let images = world.server("images");
        let clawd = session(&world, "clawd", IMAGES).await;
        let mut stream = clawd.stand().await;
        images.until_hearers(1).await;
        // However often it is said at once, it is told once.
        for _ in 0..5 {
            images.say_changed("tools");
        }
        assert_eq!(method(&mut stream).await, TOOLS_CHANGED);
        images.say_changed("prompts");
        assert_eq!(method(&mut stream).await, PROMPTS_CHANGED);
        let asked = images.requests();
        assert!(
            asked
                .iter()
                .all(|seen| seen.method == "subscriptions/listen"),
            "{asked:?}"
        );
        drop(stream);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_list_in_pages_is_compared_as_a_whole() {
    let server = FakeUpstream::modern().with_news().pages_of(2);
    let world = World::builder()
        .server("images", server)
        .server("notes", FakeUpstream::legacy());
    let world = world.start(POLICY).await;
    let images = world.server("images");
    let clawd = session(&world, "clawd", IMAGES).await;
    let mut stream = clawd.stand().await;
    images.until_hearers(1).await;
    let first = clawd.ask("tools/list", json!({})).await;
    let cursor = first["result"]["nextCursor"].clone();
    clawd.ask("tools/list", json!({"cursor": cursor})).await;
    let listed = images.requests().len();
    images.say_changed("tools");
    images.until_requests(listed + 2).await;
    images.say_changed("prompts");
    assert_eq!(method(&mut stream).await, PROMPTS_CHANGED, "the same list");
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn a_stream_of_2026_hears_what_it_asked_for_under_its_own_id() {
    for world in worlds().await {
        let images = world.server("images");
        let clawd = world.agent("clawd");
        let wanted = json!({
            "toolsListChanged": true,
            "promptsListChanged": false,
            "resourceSubscriptions": ["images+note://1", "images+note://gone", "nowhere+x://1"],
        });
        for id in [json!("listen:7"), json!(7)] {
            let mut stream = listen(&clawd, "/mcp", id.clone(), wanted.clone()).await;
            assert_eq!(stream.headers["content-type"], "text/event-stream");
            let agreed = next(&mut stream).await;
            assert_eq!(agreed["method"], "notifications/subscriptions/acknowledged");
            let expected =
                json!({"toolsListChanged": true, "resourceSubscriptions": ["images+note://1"]});
            assert_eq!(agreed["params"]["notifications"], expected);
            assert_eq!(*tag(&agreed), id);

            images.say_changed("prompts");
            images.say_updated("note://1");
            let told = next(&mut stream).await;
            assert_eq!(told["params"]["uri"], "images+note://1", "{told}");
            assert_eq!(*tag(&told), id);
            images.say_changed("tools");
            let told = next(&mut stream).await;
            assert_eq!((&told["method"], tag(&told)), (&json!(TOOLS_CHANGED), &id));
            drop(stream);
            images.until_hearers(0).await;
            world.server("notes").until_hearers(0).await;
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_filter_hears_nothing_that_is_not_granted() {
    let [world, other] = worlds().await;
    let narrow = world.agent("narrow");
    let wanted = json!({"resourceSubscriptions": ["note://1"]});
    let mut stream = listen(&narrow, IMAGES, json!(3), wanted).await;
    assert_eq!(
        next(&mut stream).await["params"]["notifications"],
        json!({})
    );
    let end = next(&mut stream).await;
    assert_eq!(end["result"]["resultType"], "complete", "{end}");
    assert!(stream.next().await.is_none(), "there is nothing to hear");
    assert_eq!(world.server("images").requests().len(), 0);

    let refused = |params: Value| narrow.modern(IMAGES, "subscriptions/listen", params);
    for filter in [json!(null), json!([]), json!({"toolsListChanged": 1})] {
        let params = json!({"notifications": filter});
        assert_eq!(refused(params).send().await.code(), (400, -32602));
    }
    let many: Vec<String> = (0..257).map(|number| format!("note://{number}")).collect();
    let many = json!({"notifications": {"resourceSubscriptions": many}});
    assert_eq!(refused(many).send().await.code(), (400, -32602));
    let one_body = refused(json!({"notifications": {}})).header("accept", "application/json");
    let one_body = one_body.send().await;
    assert_eq!(
        (one_body.code(), &one_body.json()["id"]),
        ((406, -32600), &json!(1))
    );
    let older = session(&world, "clawd", IMAGES).await;
    let older = older.ask("subscriptions/listen", json!({"notifications": {}}));
    assert_eq!(older.await["error"]["code"], -32601);
    world.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn an_agent_has_only_so_many_streams() {
    let world = patient_world().await;
    let clawd = world.agent("clawd");
    let wanted = json!({"toolsListChanged": true});
    let mut streams = Vec::new();
    for number in 0..64 {
        let mut stream = listen(&clawd, IMAGES, json!(number), wanted.clone()).await;
        next(&mut stream).await;
        streams.push(stream);
    }
    let params = json!({"notifications": wanted});
    let again = || clawd.modern(IMAGES, "subscriptions/listen", params.clone());
    let refused = again().send().await;
    assert_eq!(refused.code(), (200, -31503), "{refused:?}");
    assert_eq!(refused.json()["error"]["data"]["reason"], "too_many");
    let mut other = listen(&world.agent("narrow"), IMAGES, json!(1), wanted.clone()).await;
    assert_eq!(
        *tag(&next(&mut other).await),
        1,
        "another agent has its own"
    );
    drop(streams.pop());
    world.server("images").until_hearers(64).await;
    let mut stream = listen(&clawd, IMAGES, json!(1), wanted.clone()).await;
    assert_eq!(*tag(&next(&mut stream).await), 1);
    drop((streams, stream, other));
    world.stop().await;
}

#[tokio::test]
async fn a_session_has_only_so_many_subscriptions() {
    let [world, other] = worlds().await;
    let clawd = session(&world, "clawd", IMAGES).await;
    for number in 0..256 {
        let note = uri(&format!("note://{number}"));
        let done = clawd.ask("resources/subscribe", note).await;
        assert_eq!(done["result"], json!({}), "{done}");
    }
    let one_more = clawd.ask("resources/subscribe", uri("note://256")).await;
    assert_eq!(one_more["error"]["data"]["reason"], "too_many");
    let again = clawd.ask("resources/subscribe", uri("note://7")).await;
    assert_eq!(again["result"], json!({}), "it is subscribed already");
    clawd.ask("resources/unsubscribe", uri("note://7")).await;
    let other_one = clawd.ask("resources/subscribe", uri("note://256")).await;
    assert_eq!(other_one["result"], json!({}), "{other_one}");
    world.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_question_outside_of_calls_reaches_a_client_that_can_be_asked() {
    let world = World::builder()
        .server("images", FakeUpstream::legacy().with_news())
        .server("notes", FakeUpstream::modern());
    let world = world.start(POLICY).await;
    let images = world.server("images");
    let can = json!({"elicitation": {}});
    let asked = world
        .agent("clawd")
        .session_that_can(IMAGES, "2025-11-25", can)
        .await;
    let mut stream = asked.stand().await;
    // What its client can be asked is told to a server with the first call of the session.
    asked
        .ask("tools/call", json!({"name": "imagine", "arguments": {}}))
        .await;
    images.until_hearers(2).await;
    images.ask("elicitation/create", &json!({"message": "your name?"}));
    let question = next(&mut stream).await;
    assert_eq!(question["method"], "elicitation/create", "{question}");
    assert_eq!(question["params"]["message"], "your name?");
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}});
    assert_eq!(asked.post(answer.to_string()).send().await.status, 202);
    images.until_answers(2).await;
    let answers = |images: &FakeUpstream| -> Vec<Value> {
        let asides = images.asides().into_iter();
        let answers = asides.filter(|seen| seen.method == ANSWER);
        answers
            .map(|seen| serde_json::from_str(&seen.body).unwrap())
            .collect()
    };
    let accepted = answers(images)
        .into_iter()
        .filter(|answer| answer["result"] == json!({"action": "accept"}));
    assert_eq!(
        accepted.count(),
        1,
        "the connection that knows nobody is refused"
    );
    asked.request("DELETE").send().await;
    images.until_hearers(0).await;

    let mute = session(&world, "clawd", IMAGES).await;
    let stream = mute.stand().await;
    images.until_hearers(1).await;
    images.ask("elicitation/create", &json!({"message": "your name?"}));
    images.until_answers(3).await;
    assert_eq!(answers(images)[2]["error"]["code"], -32601);
    drop(stream);
    world.stop().await;
}

#[tokio::test]
async fn what_was_open_for_a_stream_ends_with_it() {
    for world in worlds().await {
        let images = world.server("images");
        let clawd = session(&world, "clawd", IMAGES).await;
        let mut stream = clawd.stand().await;
        images.until_hearers(1).await;
        clawd.ask("resources/subscribe", uri("note://1")).await;
        images.until_heard("note://1", true).await;
        drop(stream);
        images.until_heard("note://1", false).await;
        images.until_hearers(0).await;

        // A new stream hears of it again, and that it may have changed meanwhile.
        stream = clawd.stand().await;
        let told = next(&mut stream).await;
        assert_eq!(told["params"], json!({"uri": "note://1"}), "{told}");
        images.until_heard("note://1", true).await;

        let mut newer = clawd.stand().await;
        assert!(stream.next().await.is_none(), "it was replaced");
        assert_eq!(next(&mut newer).await["params"]["uri"], "note://1");
        images.say_updated("note://1");
        let told = next(&mut newer).await;
        assert_eq!(told["params"]["title"], "a note", "{told}");

        assert_eq!(clawd.request("DELETE").send().await.status, 200);
        assert!(newer.next().await.is_none(), "the session is over");
        images.until_hearers(0).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_makes_room_takes_its_stream_along() {
    let world = patient_world().await;
    let images = world.server("images");
    let clawd = session(&world, "clawd", IMAGES).await;
    let mut stream = clawd.stand().await;
    images.until_hearers(1).await;
    world.clock().advance(Duration::from_secs(2 * 3_600));
    let _newer = session(&world, "clawd", IMAGES).await;
    assert!(stream.next().await.is_none(), "the old session is over");
    images.until_hearers(0).await;
    world.stop().await;
}

#[tokio::test]
async fn the_old_transport_hears_on_its_one_stream() {
    for world in worlds().await {
        let images = world.server("images");
        let clawd = world.agent("clawd");
        let mut stream = clawd.get("/sse/images").open().await;
        let address = stream.next_data().await.unwrap();
        let post = async |method: &str, params: Value| {
            clawd
                .post(&address, rpc(method, &params))
                .send()
                .await
                .status
        };
        let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {},
            "clientInfo": {"name": "old", "version": "1"}});
        assert_eq!(post("initialize", hello).await, 202);
        let opened = next(&mut stream).await;
        let announced = &opened["result"]["capabilities"]["tools"];
        assert_eq!(*announced, json!({"listChanged": true}));
        images.until_hearers(1).await;
        images.say_changed("tools");
        assert_eq!(method(&mut stream).await, TOOLS_CHANGED);
        assert_eq!(post("resources/subscribe", uri("note://2")).await, 202);
        assert_eq!(next(&mut stream).await["result"], json!({}));
        images.until_heard("note://2", true).await;
        images.say_updated("note://2");
        assert_eq!(next(&mut stream).await["params"]["uri"], "note://2");
        drop(stream);
        images.until_hearers(0).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn open_streams_do_not_hold_up_the_end() {
    let world = patient_world().await;
    let clawd = session(&world, "clawd", "/mcp").await;
    let mut standing = clawd.stand().await;
    let mut old = world.agent("clawd").get("/sse").open().await;
    old.next_data().await.unwrap();
    let wanted = json!({"toolsListChanged": true});
    let mut listening = listen(&world.agent("clawd"), "/mcp", json!("last"), wanted).await;
    next(&mut listening).await;
    world.server("notes").until_hearers(2).await;
    world.stop().await;
    assert!(standing.next().await.is_none());
    assert!(old.next().await.is_none());
    let end = next(&mut listening).await;
    assert_eq!(
        (&end["id"], &end["result"]["resultType"]),
        (&json!("last"), &json!("complete"))
    );
    let tag = &end["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(tag, "last");
    assert!(listening.next().await.is_none());
}
