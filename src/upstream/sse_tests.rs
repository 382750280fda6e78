//! Servers that speak the transport of 2024-11-05, well-behaved and not.

use std::sync::Mutex;
use std::time::Duration;

use crate::protocol::raw;
use crate::types::EraChoice;

use super::testing::*;
use super::{Era, Notice, UpstreamError, limits};

/// A server whose n-th stream takes messages at `/messages?n`, and that leaves everything but the opening to
/// `calls`, with the name of the stream.
fn old(calls: impl Fn(&Seen, &str, &Streams) -> Act + Send + Sync + 'static) -> (Peer, Streams) {
    old_refusing(405, calls)
}

fn old_refusing(
    refusal: u16,
    calls: impl Fn(&Seen, &str, &Streams) -> Act + Send + Sync + 'static,
) -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let count = Mutex::new(0);
    let peer = Peer::start(move |seen| {
        let Some(name) = seen.path.strip_prefix("/messages?") else {
            if seen.verb != "GET" {
                return status(refusal);
            }
            let mut count = count.lock().unwrap();
            *count += 1;
            let act = open.open(&count.to_string(), &[]);
            open.write(&count.to_string(), &endpoint(&format!("/messages?{count}")));
            return act;
        };
        match seen.method().as_str() {
            "initialize" => {
                let opened = r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"old"}}"#;
                open.say(name, &result(&seen.id(), opened));
                status(202)
            }
            "notifications/initialized" => status(202),
            _ => calls(seen, name, &open),
        }
    });
    (peer, streams)
}

fn endpoint(url: &str) -> String {
    format!("event: endpoint\ndata: {url}\n\n")
}

/// Answers every call at once.
fn echo(seen: &Seen, name: &str, streams: &Streams) -> Act {
    if seen.method() == "tools/call" {
        streams.say(name, &result(&seen.id(), &format!("\"{name}\"")));
    }
    status(202)
}

fn bench(peer: &Peer) -> Bench {
    Bench::http(&peer.url, EraChoice::Sse)
}

#[tokio::test]
async fn a_call_goes_to_the_announced_url_and_its_answer_comes_on_the_stream() {
    let (peer, _streams) = old(|seen, name, streams| {
        let answer = result(&seen.id(), r#"{"content": []}"#);
        streams.say(name, &progress(&seen.progress_token(), 1));
        streams.say(name, &answer);
        // Some servers confirm a message only after they have answered it.
        status(200)
    });
    let bench = bench(&peer);
    let (reply, notices) = bench.send("a", call("{}")).await;
    let reply = reply.unwrap();
    assert_eq!((reply.era, reply.status), (Era::Legacy, 200));
    assert_eq!(reply.outcome.unwrap().get(), r#"{"content": []}"#);
    assert_eq!(
        notices.iter().map(notice_text).collect::<Vec<_>>(),
        [r#"progress {"progressToken":"mine","progress":1}"#]
    );
    assert!(bench.send("a", call("{}")).await.0.is_ok());
    let lines: Vec<String> = peer
        .seen()
        .iter()
        .map(|seen| format!("{} {} {}", seen.verb, seen.path, seen.method()))
        .collect();
    assert_eq!(
        lines,
        [
            "GET /mcp ",
            "POST /messages?1 initialize",
            "POST /messages?1 notifications/initialized",
            "POST /messages?1 tools/call",
            "POST /messages?1 tools/call",
        ]
    );
    for seen in peer.seen() {
        assert_eq!(seen.header("authorization"), Some("Bearer ours"));
    }
    let described = bench.upstream().describe(&lane("a")).await.unwrap();
    assert_eq!(
        described.server_info.as_ref().unwrap().get(),
        r#"{"name":"old"}"#
    );
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    let first = Mutex::new(None);
    let (peer, _streams) = old(move |seen, name, streams| {
        let before = first.lock().unwrap().replace(seen.id());
        if let Some(before) = before {
            streams.say(name, &result(&seen.id(), "2"));
            streams.say(name, &result(&before, "1"));
        }
        status(202)
    });
    let bench = bench(&peer);
    let one = bench.start("a", tool_call("{}"));
    peer.until(|peer| peer.calls("tools/call").len() == 1).await;
    let two = bench.start("a", tool_call("{}"));
    assert_eq!(text(one.await.unwrap()), "1");
    assert_eq!(text(two.await.unwrap()), "2");
    assert_eq!(peer.calls("initialize").len(), 1);
}

#[tokio::test]
async fn it_is_found_when_initialize_is_unknown_and_remembered() {
    for refusal in [400, 404, 405] {
        let (peer, _streams) = old_refusing(refusal, echo);
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        // The first stream only showed that there is one.
        assert_eq!(text(bench.call().await), "\"2\"", "{refusal}");
        let (reply, _) = bench.send("b", tool_call("{}")).await;
        assert_eq!(text(reply), "\"3\"");
        let tried = peer.calls("initialize").into_iter();
        let tried = tried.filter(|seen| seen.path == "/mcp").count();
        assert_eq!(tried, 1);
    }
}

#[tokio::test]
async fn a_server_that_speaks_neither_is_refused_with_what_it_said() {
    let peer = Peer::start(|_| status(405));
    let failure = Bench::http(&peer.url, EraChoice::Auto).call().await;
    let why = "server refused the connection: it answers `initialize` with HTTP 405";
    assert_eq!(text(failure), why);
    let failure = bench(&peer).call().await;
    let why = "server refused the connection: it answers the request for its stream with HTTP 405";
    assert_eq!(text(failure), why);
}

#[tokio::test]
async fn messages_go_to_no_other_server() {
    let other = Peer::start(|_| status(202));
    let url = other.url.clone();
    let streams = Streams::default();
    let peer = Peer::start(move |seen| match seen.verb.as_str() {
        "GET" => {
            streams.end("GET");
            let act = streams.open("GET", &[]);
            streams.write("GET", &endpoint(&url));
            act
        }
        _ => status(405),
    });
    for era in [EraChoice::Sse, EraChoice::Auto] {
        let failure = Bench::http(&peer.url, era).call().await.unwrap_err();
        assert!(
            matches!(&failure, UpstreamError::Refused(why) if why.contains("another server")),
            "{failure}"
        );
    }
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_stream_that_names_no_url_is_waited_for_only_so_long() {
    let streams = Streams::default();
    let peer = Peer::start(move |_| streams.open("GET", &[]));
    let bench = bench(&peer);
    let call = bench.start("a", tool_call("{}"));
    peer.until(|peer| !peer.seen().is_empty()).await;
    tokio::time::pause();
    let failure = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&failure, UpstreamError::Unreachable(why) if why.contains("no answer")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_lost_stream_breaks_its_calls_and_the_next_one_opens_another() {
    let (peer, streams) = old(|seen, name, streams| match name {
        "1" => status(202),
        _ => echo(seen, name, streams),
    });
    let bench = bench(&peer);
    let (one, two) = (
        bench.start("a", tool_call("{}")),
        bench.start("a", tool_call("{}")),
    );
    peer.until(|peer| peer.calls("tools/call").len() == 2).await;
    streams.end("1");
    for call in [one, two] {
        let failure = call.await.unwrap().unwrap_err();
        assert!(
            matches!(&failure, UpstreamError::Broken(why) if why.contains("stream ended")),
            "{failure}"
        );
    }
    assert_eq!(text(bench.call().await), "\"2\"");
    assert_eq!(peer.calls("tools/call").len(), 3, "nothing is repeated");
}

#[tokio::test]
async fn what_the_server_does_not_take_is_told_apart() {
    let (peer, _streams) = old(|seen, name, streams| match name {
        "1" => status(404),
        "2" => echo(seen, name, streams),
        _ => status(500),
    });
    let bench = bench(&peer);
    assert_eq!(
        text(bench.call().await),
        "\"2\"",
        "a forgotten session was not asked yet"
    );
    let failure = bench.send("b", tool_call("{}")).await.0.unwrap_err();
    assert!(matches!(failure, UpstreamError::Broken(_)), "{failure}");
    let (peer, _streams) = old(|_, _, _| status(404));
    let failure = self::bench(&peer).call().await.unwrap_err();
    assert!(matches!(failure, UpstreamError::Rejected(404)), "{failure}");
    assert_eq!(peer.calls("tools/call").len(), 2);
}

#[tokio::test]
async fn questions_are_those_of_the_only_call_and_answered_at_the_announced_url() {
    let (peer, streams) = old(|seen, name, streams| {
        match seen.method().as_str() {
            "tools/call" => {
                let id = format!("{name}-{}", seen.id());
                streams.say(name, &question(&id, "roots/list"));
            }
            "" if seen.body.contains("result") => {
                let call = seen.id().replace('"', "");
                let call = call.split('-').nth(1).unwrap().to_owned();
                streams.say(name, &result(&call, "\"asked\""));
            }
            _ => {}
        }
        status(202)
    });
    let bench = bench(&peer);
    let (mut one, mut two) = (
        Talk::start(&bench, call(ALL)),
        Talk::start(&bench, call(ALL)),
    );
    let (first, second) = (one.asked().await, two.asked().await);
    for ask in [first, second] {
        ask.reply.send(Ok(raw("[]".into()))).unwrap();
    }
    assert_eq!(
        (one.end().await, two.end().await),
        ("\"asked\"".into(), "\"asked\"".into())
    );
    assert_eq!(
        peer.calls("initialize").len(),
        2,
        "two at once, two connections"
    );
    assert!(peer.calls("initialize")[0].body.contains(ALL));

    streams.say("1", &question("late", "roots/list"));
    streams.say("1", &question("alive", "ping"));
    peer.until(|peer| posts(peer).len() == 4).await;
    let answers = posts(&peer);
    assert!(
        answers[2]
            .body
            .contains(r#""id":"late","error":{"code":-32601"#)
    );
    assert!(answers[3].body.contains(r#""id":"alive","result":{}"#));
    assert_eq!(answers[3].path, "/messages?1");
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_and_its_late_answer_is_nobodys() {
    let (peer, streams) = old(|_, _, _| status(202));
    let bench = bench(&peer);
    let mut talk = Talk::start(&bench, tool_call(r#"{"progressToken":1}"#));
    peer.until(|peer| peer.calls("tools/call").len() == 1).await;
    let dropped = peer.calls("tools/call").remove(0);
    streams.say("1", &progress(&dropped.progress_token(), 1));
    assert!(matches!(
        talk.notices.recv().await,
        Some(Notice::Progress(_))
    ));
    talk.call.abort();
    peer.until(|peer| !peer.calls("notifications/cancelled").is_empty())
        .await;
    let cancelled = peer.calls("notifications/cancelled").remove(0);
    let named = format!(r#""requestId":{}"#, dropped.id());
    assert!(cancelled.body.contains(&named));

    let next = bench.start("a", tool_call("{}"));
    peer.until(|peer| peer.calls("tools/call").len() == 2).await;
    streams.say("1", &result(&dropped.id(), "\"late\""));
    let id = peer.calls("tools/call")[1].id();
    streams.say("1", &result(&id, "\"mine\""));
    assert_eq!(text(next.await.unwrap()), "\"mine\"");
}

#[tokio::test]
async fn a_connection_that_left_a_call_without_an_answer_is_replaced() {
    let (peer, _streams) = old(|seen, name, streams| match name {
        "1" => status(202),
        _ => echo(seen, name, streams),
    });
    let bench = bench(&peer);
    let call = bench.start("a", tool_call("{}"));
    peer.until(|peer| peer.calls("tools/call").len() == 1).await;
    tokio::time::pause();
    assert!(matches!(call.await.unwrap(), Err(UpstreamError::TimedOut)));
    tokio::time::resume();
    assert_eq!(text(bench.call().await), "\"2\"");
}

#[tokio::test]
async fn what_is_no_message_breaks_the_only_call() {
    let (peer, _streams) = old(|seen, name, streams| {
        if seen.method() == "tools/call" {
            streams.say(name, "[]");
        }
        status(202)
    });
    let failure = bench(&peer).call().await.unwrap_err();
    assert!(
        matches!(&failure, UpstreamError::Broken(why) if why.contains("no single message")),
        "{failure}"
    );
}

#[tokio::test]
async fn the_stream_is_closed_when_the_session_ends_or_nobody_used_it_for_long() {
    let (peer, _streams) = old(echo);
    let bench = bench(&peer);
    assert_eq!(text(bench.call().await), "\"1\"");
    let stream = |peer: &Peer| {
        let get = peer.seen().into_iter().rfind(|seen| seen.verb == "GET");
        get.unwrap().connection
    };
    let first = stream(&peer);
    bench.upstream().end_session(&lane("a")).await;
    peer.until(|peer| peer.closed().contains(&first)).await;

    assert_eq!(text(bench.call().await), "\"2\"");
    let second = stream(&peer);
    bench.clock.advance(limits::IDLE + Duration::from_secs(1));
    tokio::time::pause();
    tokio::time::advance(limits::IDLE_CHECK).await;
    tokio::time::resume();
    peer.until(|peer| peer.closed().contains(&second)).await;
}
