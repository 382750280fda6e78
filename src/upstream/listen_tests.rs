//! Servers of every era and transport that have news, and agents that listen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::types::{Endpoint, EraChoice, Instances, Template};

use super::testing::*;
use super::{Interests, UpstreamError, limits};

const NEWSY: &str = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}"#;
const ALL_MODERN: &str =
    r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true"#;

/// A message on the stream of a request to listen.
fn tagged(id: &str, method: &str, params: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
    )
}

fn acknowledged(id: &str, filter: &str) -> String {
    let params = format!(r#""notifications":{filter},"#);
    tagged(id, "subscriptions/acknowledged", &params)
}

/// A modern server that agrees to whatever is in `filter`, and keeps its streams open.
fn agreeing(filter: String) -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let peer = modern(move |seen| {
        let acknowledged = acknowledged(&seen.id(), &filter);
        open.open(&seen.id(), &[acknowledged])
    });
    (peer, streams)
}

fn listens(peer: &Peer) -> Vec<Seen> {
    peer.calls("subscriptions/listen")
}

/// A legacy server with sessions `s-1`, `s-2`, … and news, that leaves everything else to `calls`.
fn newsy(calls: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Peer {
    let sessions = Mutex::new(0);
    Peer::start(move |seen| match seen.method().as_str() {
        "server/discover" => status(400),
        "initialize" => {
            let mut count = sessions.lock().unwrap();
            *count += 1;
            let answer = format!(r#"{{"protocolVersion":"2025-11-25","capabilities":{NEWSY}}}"#);
            let answer = result(&seen.id(), &answer);
            json(200, &format!("mcp-session-id: s-{count}\r\n"), &answer)
        }
        "notifications/initialized" => status(202),
        _ => calls(seen),
    })
}

/// One that keeps the stream of each session open under the name of the session, and answers all calls with `{}`.
fn newsy_on_streams() -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let peer = newsy(move |seen| match (seen.verb.as_str(), &*seen.method()) {
        ("GET", _) => open.open(seen.header("mcp-session-id").unwrap(), &[]),
        ("POST", method) if !method.starts_with("notifications/") && !method.is_empty() => {
            json(200, "", &result(&seen.id(), "{}"))
        }
        _ => status(202),
    });
    (peer, streams)
}

fn subjects(peer: &Peer, method: &str) -> Vec<(String, bool)> {
    let seen = peer.calls(method).into_iter();
    seen.map(|seen| {
        let session = seen.header("mcp-session-id").unwrap_or_default();
        (
            session.to_owned(),
            seen.body.contains(r#""params":{"uri":"x:1"}"#),
        )
    })
    .collect()
}

fn stream_of(peer: &Peer, session: &str) -> Option<usize> {
    let mut seen = peer.seen().into_iter();
    seen.find(|seen| seen.verb == "GET" && seen.header("mcp-session-id") == Some(session))
        .map(|seen| seen.connection)
}

async fn advance(span: Duration) {
    tokio::time::pause();
    tokio::time::advance(span).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_modern_server_agrees_first_and_only_its_tagged_news_of_what_was_asked_are_heard() {
    let (peer, streams) = agreeing(format!(
        r#"{ALL_MODERN},"resourceSubscriptions":["x:1","x:9"]}}"#
    ));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let wanted = Interests {
        prompts: false,
        ..all_of(&["x:1", "x:2"])
    };
    let mut hark = Hark::start(&bench, "a", wanted, ALL).await.unwrap();
    let granted = Interests {
        prompts: false,
        ..all_of(&["x:1"])
    };
    assert_eq!(hark.listening.granted, granted);

    let seen = listens(&peer).remove(0);
    assert_eq!(seen.header("mcp-method"), Some("subscriptions/listen"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
    assert!(seen.body.contains(r#""params":{"notifications":{"toolsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["x:1","x:2"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#), "{}", seen.body);
    assert!(
        seen.body.contains(&format!(
            r#""io.modelcontextprotocol/clientCapabilities":{ALL}"#
        )),
        "{}",
        seen.body
    );

    let id = seen.id();
    for message in [
        changed("tools"),
        tagged("99", "tools/list_changed", ""),
        tagged(&format!("\"{id}\""), "tools/list_changed", ""),
        tagged(&id, "prompts/list_changed", ""),
        tagged(&id, "resources/updated", r#""uri":"x:2","#),
        tagged(&id, "message", r#""level":"error","#),
        tagged(&id, "resources/updated", r#""uri":"x:1","title":"T","#),
    ] {
        streams.say(&id, &message);
    }
    assert_eq!(hark.next().await, r#"{"uri":"x:1","title":"T"}"#);
    streams.say(&id, &tagged(&id, "tools/list_changed", ""));
    assert_eq!(hark.next().await, "Tools");

    drop(hark.listening);
    peer.until(|peer| peer.closed().contains(&seen.connection))
        .await;
    assert!(hark.news.recv().await.is_none());
}

#[tokio::test]
async fn a_modern_stream_that_dropped_is_opened_again_and_what_may_have_changed_is_told() {
    let (peer, streams) =
        agreeing(r#"{"promptsListChanged":true,"resourceSubscriptions":["x:1"]}"#.into());
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let first = listens(&peer).remove(0).id();
    streams.end(&first);
    assert_eq!(hark.next().await, "Prompts");
    assert_eq!(hark.next().await, r#"{"uri":"x:1"}"#);
    let second = listens(&peer).remove(1).id();
    assert_ne!(first, second);
    streams.say(&second, &tagged(&first, "prompts/list_changed", ""));
    streams.say(
        &second,
        &tagged(&second, "resources/updated", r#""uri":"x:1","v":2,"#),
    );
    assert_eq!(hark.next().await, r#"{"uri":"x:1","v":2}"#);
    // The server ends it with an answer.
    streams.say(&second, &result(&second, "{}"));
    assert_eq!(hark.next().await, "Prompts");
    assert_eq!(listens(&peer).len(), 3);
}

#[tokio::test]
async fn a_server_that_has_no_news_grants_nothing_and_one_that_says_nothing_is_given_up() {
    let peer = modern(|seen| json(404, "", &error(&seen.id(), -32601, "unknown")));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert!(hark.listening.granted.is_empty());
    assert_eq!(hark.next().await, "over");

    let (peer, _streams) = agreeing("{}".into());
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&[])).await;
    assert_eq!(hark.next().await, "over");
    let connection = listens(&peer).remove(0).connection;
    peer.until(|peer| peer.closed().contains(&connection)).await;

    let streams = Streams::default();
    let peer = modern(move |seen| streams.open(&seen.id(), &[changed("tools")]));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let listening = tokio::spawn(async move { Hark::start(&bench, "a", all_of(&[]), "{}").await });
    peer.until(|peer| listens(peer).len() == 1).await;
    advance(limits::ACKNOWLEDGE).await;
    let given_up = listening.await.unwrap().unwrap_err();
    assert!(matches!(given_up, UpstreamError::TimedOut), "{given_up}");
    let connection = listens(&peer).remove(0).connection;
    peer.until(|peer| peer.closed().contains(&connection)).await;
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_was_sent_nothing() {
    let peer = modern(|_| Act::WriteAndClose(String::new()));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let error = Hark::start(&bench, "a", all_of(&[]), "{}").await;
    assert!(!error.unwrap_err().nothing_sent());
    let bench = Bench::http("http://127.0.0.1:1/mcp", EraChoice::Modern);
    let error = Hark::start(&bench, "a", all_of(&[]), "{}").await;
    assert!(error.unwrap_err().nothing_sent());
}

#[tokio::test]
async fn a_lane_hears_its_sessions_those_that_open_later_too_and_no_foreign_one() {
    let (peer, streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(text(bench.call().await), "{}");
    assert_eq!(gets(&peer), 0, "nobody listens");
    let mut hark = Hark::open(&bench, "a", all_of(&[])).await;
    assert_eq!(hark.listening.granted, all_of(&[]));
    assert_eq!((peer.calls("initialize").len(), gets(&peer)), (1, 1));

    // A session for one call alone, and one of somebody else who listens as well.
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    let mut other = Hark::open(&bench, "b", all_of(&[])).await;
    peer.until(|peer| gets(peer) == 3).await;
    streams.say("s-3", &changed("tools"));
    assert_eq!(other.next().await, "Tools");
    streams.say("s-1", &changed("prompts"));
    assert_eq!(hark.next().await, "Prompts");
    streams.say("s-2", &changed("resources"));
    assert_eq!(hark.next().await, "Resources");
    assert!(hark.news.try_recv().is_err() && other.news.try_recv().is_err());

    // The stream of the shared session was open for the ear alone.
    drop(hark.listening);
    let stream = stream_of(&peer, "s-1").unwrap();
    peer.until(|peer| peer.closed().contains(&stream)).await;
    assert!(!peer.closed().contains(&stream_of(&peer, "s-2").unwrap()));
    assert!(!peer.closed().contains(&stream_of(&peer, "s-3").unwrap()));
}

#[tokio::test]
async fn a_server_without_a_stream_is_heard_on_its_calls_and_one_without_sessions_never() {
    let peer = newsy(|seen| match seen.verb.as_str() {
        "GET" => status(405),
        _ => events(&[
            changed("tools"),
            updated("x:1"),
            result(&seen.id(), r#"{"done":1}"#),
        ]),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert_eq!(hark.listening.granted, all_of(&["x:1"]));
    assert_eq!(hark.next().await, "Tools");
    assert_eq!(hark.next().await, r#"{"uri":"x:1"}"#);
    assert_eq!(text(bench.call().await), r#"{"done":1}"#);
    assert_eq!(hark.next().await, "Tools");
    assert_eq!(gets(&peer), 1);

    let peer = Peer::start(|seen| match seen.method().as_str() {
        "initialize" => {
            let answer = format!(r#"{{"protocolVersion":"2025-06-18","capabilities":{NEWSY}}}"#);
            json(200, "", &result(&seen.id(), &answer))
        }
        _ => status(202),
    });
    let bench = Bench::http(&peer.url, EraChoice::Legacy);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert!(hark.listening.granted.is_empty());
    assert_eq!(hark.next().await, "over");
    assert_eq!(gets(&peer), 0);
}

#[tokio::test]
async fn only_what_the_server_says_that_it_can_do_is_granted() {
    let peer = legacy(|seen| match seen.verb.as_str() {
        "GET" => status(405),
        _ => json(200, "", &result(&seen.id(), "{}")),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert!(hark.listening.granted.is_empty());
    assert!(peer.calls("resources/subscribe").is_empty());
    let peer = newsy(|seen| match (seen.verb.as_str(), &*seen.method()) {
        ("POST", "resources/subscribe") => json(200, "", &error(&seen.id(), -32602, "unknown")),
        _ => status(405),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert_eq!(hark.listening.granted, all_of(&[]));
}

#[tokio::test]
async fn a_resource_is_subscribed_once_and_given_up_with_the_last_ear_that_wants_it() {
    let (peer, streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut one = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let mut two = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let mut three = Hark::open(&bench, "a", all_of(&[])).await;
    assert_eq!(two.listening.granted, all_of(&["x:1"]));
    let once = [("s-1".to_owned(), true)];
    assert_eq!(subjects(&peer, "resources/subscribe"), once);
    streams.say("s-1", &updated("x:1/part"));
    streams.say("s-1", &updated("x:12"));
    streams.say("s-1", &changed("tools"));
    for hark in [&mut one, &mut two] {
        let mut heard = [hark.next().await, hark.next().await];
        heard.sort();
        assert_eq!(heard, ["Tools", r#"{"uri":"x:1/part"}"#]);
    }
    assert_eq!(three.next().await, "Tools");

    one.close().await;
    // Who comes next is served after whoever left was seen to.
    let _four = Hark::open(&bench, "a", all_of(&["x:4"])).await;
    assert!(subjects(&peer, "resources/unsubscribe").is_empty());
    drop(two.listening);
    peer.until(|peer| subjects(peer, "resources/unsubscribe") == once)
        .await;
    assert_eq!(subjects(&peer, "resources/subscribe").len(), 2);
}

#[tokio::test]
async fn a_resource_is_subscribed_where_the_calls_of_its_agent_go() {
    let (peer, streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    peer.until(|peer| !subjects(peer, "resources/unsubscribe").is_empty())
        .await;
    let subscribed = subjects(&peer, "resources/subscribe");
    assert_eq!(subscribed, [("s-1".into(), true), ("s-2".into(), true)]);
    let given_up = subjects(&peer, "resources/unsubscribe");
    assert_eq!(given_up, [("s-1".into(), true)]);
    peer.until(|peer| gets(peer) == 2).await;
    streams.say("s-2", &updated("x:1"));
    assert_eq!(hark.next().await, r#"{"uri":"x:1"}"#);
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    hark.close().await;
    peer.until(|peer| subjects(peer, "resources/unsubscribe").len() == 2)
        .await;
    assert_eq!(subjects(&peer, "resources/subscribe").len(), 2);
}

#[tokio::test]
async fn a_session_that_the_server_forgot_is_subscribed_again_and_told_of() {
    let (streams, gone) = (Streams::default(), Arc::new(Mutex::new(false)));
    let (open, is_gone) = (streams.clone(), gone.clone());
    let peer = newsy(move |seen| {
        let session = seen.header("mcp-session-id").unwrap();
        let is_forgotten = session == "s-1" && *is_gone.lock().unwrap();
        match seen.verb.as_str() {
            _ if is_forgotten => status(404),
            "GET" => open.open(session, &[]),
            _ if seen.method().is_empty() => status(202),
            _ => json(200, "", &result(&seen.id(), "{}")),
        }
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    *gone.lock().unwrap() = true;
    streams.end("s-1");
    for expected in ["Tools", "Prompts", "Resources", r#"{"uri":"x:1"}"#] {
        assert_eq!(hark.next().await, expected);
    }
    let subscribed: Vec<_> = subjects(&peer, "resources/subscribe");
    assert_eq!(subscribed, [("s-1".into(), true), ("s-2".into(), true)]);
    streams.say("s-2", &updated("x:1"));
    assert_eq!(hark.next().await, r#"{"uri":"x:1"}"#);
    assert_eq!(text(bench.call().await), "{}");
    assert_eq!(peer.calls("initialize").len(), 2);
}

#[tokio::test]
async fn a_call_that_finds_its_session_forgotten_moves_the_ears_too() {
    let gone = Arc::new(Mutex::new(false));
    let is_gone = gone.clone();
    let peer = newsy(move |seen| {
        let is_forgotten = seen.header("mcp-session-id") == Some("s-1") && *is_gone.lock().unwrap();
        match seen.verb.as_str() {
            _ if is_forgotten => status(404),
            "POST" => json(200, "", &result(&seen.id(), "{}")),
            _ => status(405),
        }
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    *gone.lock().unwrap() = true;
    assert_eq!(text(bench.call().await), "{}");
    for expected in ["Tools", "Prompts", "Resources", r#"{"uri":"x:1"}"#] {
        assert_eq!(hark.next().await, expected);
    }
    assert_eq!(subjects(&peer, "resources/subscribe").len(), 2);
    assert_eq!(peer.calls("initialize").len(), 2);
}

#[tokio::test]
async fn a_session_that_is_listened_to_does_not_end_for_want_of_calls() {
    let (peer, streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&[])).await;
    assert_eq!(text(bench.send("b", tool_call("{}")).await.0), "{}");
    bench.clock.advance(limits::IDLE + Duration::from_secs(1));
    advance(limits::IDLE_CHECK).await;
    let deleted = |peer: &Peer| -> Vec<String> {
        let seen = peer.seen().into_iter();
        let deletes = seen.filter(|seen| seen.verb == "DELETE");
        deletes
            .filter_map(|seen| seen.header("mcp-session-id").map(str::to_owned))
            .collect()
    };
    peer.until(|peer| deleted(peer) == ["s-2"]).await;
    streams.say("s-1", &changed("tools"));
    assert_eq!(hark.next().await, "Tools");

    hark.close().await;
    advance(limits::IDLE_CHECK).await;
    peer.until(|peer| deleted(peer) == ["s-2", "s-1"]).await;
}

#[tokio::test]
async fn a_question_that_belongs_to_no_call_is_for_the_ear_that_can_be_asked() {
    let (peer, streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    let _deaf = Hark::open(&bench, "a", all_of(&[])).await;
    let roots = r#"{"roots":{}}"#;
    let mut hark = Hark::start(&bench, "a", all_of(&[]), roots).await.unwrap();
    streams.say("s-1", &question("q1", "roots/list"));
    let ask = hark.asked().await;
    assert_eq!(ask.method, "roots/list");
    ask.reply.send(answered(r#"{"roots":[]}"#)).unwrap();
    peer.until(|peer| posts(peer).len() == 1).await;
    let answer = r#"{"jsonrpc":"2.0","id":"q1","result":{"roots":[]}}"#;
    assert_eq!(posts(&peer).remove(0).body, answer);

    streams.say("s-1", &question("q2", "sampling/createMessage"));
    peer.until(|peer| posts(peer).len() == 2).await;
    assert!(posts(&peer).remove(1).body.contains("-32601"));
    streams.say("s-1", &question("q3", "roots/list"));
    let unanswered = hark.asked().await;
    advance(limits::ASK).await;
    peer.until(|peer| posts(peer).len() == 3).await;
    assert!(unanswered.reply.is_closed());
    streams.say("s-1", &question("q4", "roots/list"));
    let open = hark.asked().await;
    drop(hark.listening);
    peer.until(|peer| posts(peer).len() == 4).await;
    assert!(posts(&peer).remove(3).body.contains("-32601"));
    drop(open);
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_ears_and_the_end_of_the_gateway_all() {
    let (peer, _streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut one = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let mut two = Hark::open(&bench, "b", all_of(&[])).await;
    bench.upstream().end_session(&lane("a")).await;
    assert_eq!(one.next().await, "over");
    let stream = stream_of(&peer, "s-1").unwrap();
    peer.until(|peer| peer.closed().contains(&stream)).await;
    assert!(two.news.try_recv().is_err());
    bench.upstreams.close().await;
    assert_eq!(two.next().await, "over");
    assert_eq!(peer.calls("initialize").len(), 2);
    let refused = Hark::start(&bench, "a", all_of(&[]), "{}").await;
    assert!(refused.unwrap_err().nothing_sent());
}

#[tokio::test]
async fn an_ear_outlives_a_new_configuration_with_the_same_connection_and_no_other() {
    let (peer, streams) = newsy_on_streams();
    let mut bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut hark = Hark::open(&bench, "a", all_of(&[])).await;
    bench.reconfigure(|_| {});
    streams.say("s-1", &changed("tools"));
    assert_eq!(hark.next().await, "Tools");
    bench.reconfigure(|connection| connection.timeout = Duration::from_secs(1));
    assert_eq!(hark.next().await, "over");
    let stream = stream_of(&peer, "s-1").unwrap();
    peer.until(|peer| peer.closed().contains(&stream)).await;
}

#[tokio::test]
async fn so_many_ears_are_open_at_once_and_so_many_resources_wanted() {
    let (peer, _streams) = newsy_on_streams();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let uris: Vec<String> = (0..=limits::EAR_URIS)
        .map(|number| format!("x:{number:04}"))
        .collect();
    let uris: Vec<&str> = uris.iter().map(String::as_str).collect();
    let mut open = vec![Hark::open(&bench, "a", all_of(&uris)).await];
    assert_eq!(open[0].listening.granted.uris.len(), limits::EAR_URIS);
    assert_eq!(peer.calls("resources/subscribe").len(), limits::EAR_URIS);
    for _ in 1..limits::LANE_EARS {
        open.push(Hark::open(&bench, "a", all_of(&[])).await);
    }
    let refused = Hark::start(&bench, "a", all_of(&[]), "{}").await;
    assert!(refused.unwrap_err().nothing_sent());
    let _other = Hark::open(&bench, "b", all_of(&[])).await;
    drop(open.pop().unwrap().listening);
    assert_eq!(open.pop().unwrap().listening.granted, all_of(&[]));
}

/// A server of 2024-11-05 with news: it answers on its one stream, and says `GET` on it what a test wants.
fn newsy_sse() -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let peer = Peer::start(move |seen| match (seen.verb.as_str(), &*seen.method()) {
        ("GET", _) => {
            open.end("GET");
            let stream = open.open("GET", &[]);
            open.write("GET", "event: endpoint\ndata: /messages\n\n");
            stream
        }
        ("POST", "initialize") => {
            let answer = format!(r#"{{"protocolVersion":"2024-11-05","capabilities":{NEWSY}}}"#);
            open.say("GET", &result(&seen.id(), &answer));
            status(202)
        }
        ("POST", method) if !method.starts_with("notifications/") && !method.is_empty() => {
            open.say("GET", &result(&seen.id(), "{}"));
            status(202)
        }
        _ => status(202),
    });
    (peer, streams)
}

#[tokio::test]
async fn the_one_stream_of_the_old_transport_carries_news_and_is_opened_again() {
    let (peer, streams) = newsy_sse();
    let bench = Bench::http(&peer.url, EraChoice::Sse);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert_eq!(hark.listening.granted, all_of(&["x:1"]));
    streams.say("GET", &updated("x:1"));
    assert_eq!(hark.next().await, r#"{"uri":"x:1"}"#);
    streams.say("GET", &changed("tools"));
    assert_eq!(hark.next().await, "Tools");
    streams.end("GET");
    for expected in ["Tools", "Prompts", "Resources", r#"{"uri":"x:1"}"#] {
        assert_eq!(hark.next().await, expected);
    }
    assert_eq!(subjects(&peer, "resources/subscribe").len(), 2);
    assert_eq!(text(bench.call().await), "{}");
    assert_eq!(gets(&peer), 2);
    drop(hark);
    peer.until(|peer| subjects(peer, "resources/unsubscribe").len() == 1)
        .await;
}

/// A child process with news. `CALL` is what happens for `tools/call`, with `$id` and `$listen`, the id of the
/// request to listen.
const CHILD: &str = r#"
say() { printf '%s\n' "$1"; }
answer() { say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$1}"; }
note() { say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/$1\",\"params\":{$2\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":$listen}}}"; }
listen=0 seen=
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"initialize"'*) answer '{"protocolVersion":"2025-06-18","capabilities":NEWSY}' ;;
    *'"method":"server/discover"'*) answer '{"supportedVersions":["2026-07-28"],"capabilities":NEWSY}' ;;
    *'"method":"subscriptions/listen"'*) listen=$id; note subscriptions/acknowledged '"notifications":{"toolsListChanged":true},' ;;
    *'"method":"resources/subscribe"'*) seen="$seen+"; answer '{}' ;;
    *'"method":"resources/unsubscribe"'*) seen="$seen-"; answer '{}' ;;
    *'"method":"notifications/cancelled"'*) seen="$seen!" ;;
    *'"method":"tools/call"'*) CALL ;;
  esac
done
"#;

fn child(call: &str, era: EraChoice) -> Bench {
    let script = CHILD.replace("NEWSY", NEWSY).replace("CALL", call);
    Bench::new(
        Endpoint::Stdio {
            command: "sh".into(),
            args: ["-c", &script].map(Template::literal).to_vec(),
            env: Vec::new(),
            cwd: None,
            instances: Instances::PerAgent,
        },
        era,
    )
}

/// The clock that says when a process may be started again stands still in tests, unless it is moved.
async fn while_restarting(bench: &Bench, hearing: impl Future<Output = ()>) {
    let restarting = async {
        loop {
            bench.clock.advance(limits::RESTART_LAST);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = hearing => {}
        () = restarting => {}
    }
}

#[tokio::test]
async fn a_modern_process_is_listened_to_with_a_request_that_is_cancelled_at_the_end() {
    let call = r#"note tools/list_changed; note prompts/list_changed; answer "\"$seen\"""#;
    let bench = child(call, EraChoice::Modern);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let granted = Interests {
        tools: true,
        ..Interests::default()
    };
    assert_eq!(hark.listening.granted, granted);
    let mut other = Hark::open(&bench, "b", all_of(&[])).await;
    assert_eq!(text(bench.call().await), r#""""#);
    // The process tags its news with the request of the second ear.
    assert_eq!(other.next().await, "Tools");
    assert!(hark.news.try_recv().is_err() && other.news.try_recv().is_err());
    other.close().await;
    let mut seen = text(bench.call().await);
    while seen != r#""!""# {
        seen = text(bench.call().await);
    }
}

#[tokio::test]
async fn a_modern_process_that_ended_is_listened_to_again() {
    let bench = child("exit 0", EraChoice::Modern);
    let mut hark = Hark::open(&bench, "a", all_of(&[])).await;
    assert!(bench.call().await.is_err());
    let hearing = async { assert_eq!(hark.next().await, "Tools") };
    while_restarting(&bench, hearing).await;
}

#[tokio::test]
async fn the_process_of_an_agent_is_heard_by_its_ears_alone() {
    let call =
        r#"note tools/list_changed; note resources/updated '"uri":"x:1",'; answer "\"$seen\"""#;
    let bench = child(call, EraChoice::Legacy);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    let mut other = Hark::open(&bench, "b", all_of(&["x:1"])).await;
    assert_eq!(hark.listening.granted, all_of(&["x:1"]));
    assert_eq!(text(bench.call().await), r#""+""#);
    let mut heard = [hark.next().await, hark.next().await];
    heard.sort();
    assert_eq!(heard[0], "Tools");
    assert!(heard[1].starts_with(r#"{"uri":"x:1""#));
    assert!(other.news.try_recv().is_err());
    drop(other);

    hark.close().await;
    let mut seen = text(bench.call().await);
    while seen != r#""+-""# {
        seen = text(bench.call().await);
    }
}

#[tokio::test]
async fn a_process_that_ended_is_started_again_for_its_ears() {
    let bench = child("exit 0", EraChoice::Legacy);
    let mut hark = Hark::open(&bench, "a", all_of(&["x:1"])).await;
    assert!(bench.call().await.is_err());
    let hearing = async {
        for expected in ["Tools", "Prompts", "Resources", r#"{"uri":"x:1"}"#] {
            assert_eq!(hark.next().await, expected);
        }
    };
    while_restarting(&bench, hearing).await;
}
