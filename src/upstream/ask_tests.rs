//! Legacy servers that ask the agent something in the middle of a call.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::protocol::raw;
use crate::types::EraChoice;

use super::testing::*;
use super::{Era, Notice, Outgoing, UpstreamError, limits};

/// A server that puts these questions on the stream of a call, and answers the call with what it was told.
fn asks_on_the_call(questions: &'static [&'static str]) -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let told = Mutex::new(Vec::new());
    let peer = legacy(move |seen| match (seen.verb.as_str(), &*seen.method()) {
        ("POST", "tools/call") => {
            let questions = questions.iter().zip(1..);
            let questions =
                questions.map(|(method, number)| question(&format!("q{number}"), method));
            open.open(&seen.id(), &questions.collect::<Vec<_>>())
        }
        ("POST", "") => {
            let mut told = told.lock().unwrap();
            told.push(seen.body.clone());
            if told.len() == questions.len() {
                open.finish(&format!("[{}]", told.join(",")));
            }
            status(202)
        }
        ("POST", _) => status(202),
        _ => status(405),
    });
    (peer, streams)
}

/// A server that asks on the session's own stream, and answers the call with what it was told.
fn asks_on_the_session() -> (Peer, Streams) {
    let streams = Streams::default();
    let open = streams.clone();
    let peer = legacy(move |seen| match (seen.verb.as_str(), &*seen.method()) {
        ("GET", _) => open.open("GET", &[]),
        ("POST", "tools/call") => {
            let stream = open.open(&seen.id(), &[]);
            open.say("GET", &question("g", "roots/list"));
            stream
        }
        ("POST", "") if seen.body.contains(r#""id":"g""#) => {
            open.finish(&seen.body);
            status(202)
        }
        _ => status(202),
    });
    (peer, streams)
}

#[tokio::test]
async fn a_question_reaches_the_agent_and_the_answer_its_server() {
    let (peer, _streams) = asks_on_the_call(&["elicitation/create"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let request = Outgoing {
        client_info: Some(raw(r#"{"name":"agent"}"#.into())),
        ..call(ALL)
    };
    let mut talk = Talk::start(&bench, request);
    let ask = talk.asked().await;
    assert_eq!(
        (ask.method.as_str(), ask.params.to_text().as_str()),
        ("elicitation/create", r#"{"of":"q1"}"#)
    );
    ask.reply.send(answered(r#"{"action": "accept"}"#)).unwrap();
    let answer = r#"{"jsonrpc":"2.0","id":"q1","result":{"action": "accept"}}"#;
    assert_eq!(talk.end().await, format!("[{answer}]"));

    let initialize = peer.calls("initialize").remove(0).body;
    assert!(
        initialize.contains(&format!(
            r#""capabilities":{ALL},"clientInfo":{{"name":"agent"}}"#
        )),
        "{initialize}"
    );
    let (post, call) = (posts(&peer).remove(0), peer.calls("tools/call").remove(0));
    assert_eq!(post.header("mcp-session-id"), Some("s-1"));
    assert_eq!(call.header("mcp-session-id"), Some("s-1"));
}

#[tokio::test]
async fn an_agents_error_reaches_the_server_and_a_dropped_reply_refuses() {
    let (peer, _streams) = asks_on_the_call(&["sampling/createMessage"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(ALL));
    let error = raw(r#"{"code":-1,"message":"the user said no"}"#.into());
    talk.asked().await.reply.send(Err(error)).unwrap();
    assert_eq!(
        talk.end().await,
        r#"[{"jsonrpc":"2.0","id":"q1","error":{"code":-1,"message":"the user said no"}}]"#
    );
    let (peer, _streams) = asks_on_the_call(&["sampling/createMessage"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(ALL));
    drop(talk.asked().await);
    assert!(talk.end().await.contains("-32601"));
}

#[tokio::test]
async fn several_questions_are_open_at_once_and_hold_nothing_up() {
    let (peer, streams) = asks_on_the_call(&["roots/list", "elicitation/create"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(ALL));
    let (first, second) = (talk.asked().await, talk.asked().await);
    let call = peer.calls("tools/call").remove(0);
    assert!(streams.say(&call.id(), &progress(&call.progress_token(), 1)));
    assert!(matches!(
        talk.notices.recv().await,
        Some(Notice::Progress(_))
    ));
    second.reply.send(answered("2")).unwrap();
    peer.until(|peer| posts(peer).len() == 1).await;
    first.reply.send(answered("1")).unwrap();
    let end = talk.end().await;
    assert!(end.find("q2") < end.find("q1"), "{end}");
}

#[tokio::test]
async fn what_was_not_declared_is_refused_at_once_and_pings_are_answered() {
    let (peer, _streams) =
        asks_on_the_call(&["sampling/createMessage", "ping", "roots/list", "x/y"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(r#"{"roots":{}}"#));
    let ask = talk.asked().await;
    assert_eq!(ask.method, "roots/list");
    peer.until(|peer| posts(peer).len() == 3).await;
    ask.reply.send(answered("{}")).unwrap();
    let end = talk.end().await;
    assert_eq!(end.matches("-32601").count(), 2, "{end}");
    assert!(end.contains(r#""id":"q2","result":{}"#), "{end}");
    let initialize = peer.calls("initialize").remove(0).body;
    assert!(
        initialize.contains(r#""capabilities":{"roots":{}}"#),
        "{initialize}"
    );
}

#[tokio::test]
async fn a_question_on_the_sessions_stream_is_that_of_the_call_in_flight() {
    let (peer, streams) = asks_on_the_session();
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(ALL));
    let ask = talk.asked().await;
    ask.reply.send(answered("[]")).unwrap();
    assert_eq!(
        talk.end().await,
        r#"{"jsonrpc":"2.0","id":"g","result":[]}"#
    );
    let get = peer.seen().into_iter().find(|seen| seen.verb == "GET");
    assert_eq!(get.unwrap().header("mcp-session-id"), Some("s-1"));

    // Between two calls it is nobody's, and a ping is a ping.
    streams.say("GET", &question("late", "roots/list"));
    streams.say("GET", &question("alive", "ping"));
    peer.until(|peer| posts(peer).len() == 3).await;
    let answers = posts(&peer);
    assert!(
        answers[1]
            .body
            .contains(r#""id":"late","error":{"code":-32601"#)
    );
    assert!(answers[2].body.contains(r#""id":"alive","result":{}"#));
    assert_eq!((peer.calls("initialize").len(), gets(&peer)), (1, 1));
}

#[tokio::test]
async fn calls_at_once_have_sessions_of_their_own_and_one_after_the_other_share() {
    let (peer, _streams) = asks_on_the_call(&["roots/list", "roots/list"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let (mut one, mut two) = (
        Talk::start(&bench, call(ALL)),
        Talk::start(&bench, call(ALL)),
    );
    let asks = [
        one.asked().await,
        one.asked().await,
        two.asked().await,
        two.asked().await,
    ];
    peer.until(|peer| peer.calls("tools/call").len() == 2).await;
    let mut sessions: Vec<_> = peer
        .calls("tools/call")
        .iter()
        .map(|seen| seen.header("mcp-session-id").unwrap().to_owned())
        .collect();
    sessions.sort();
    assert_eq!(sessions, ["s-1", "s-2"]);
    drop((one, two, asks));

    let peer = legacy(|seen| match seen.verb.as_str() {
        "GET" => status(405),
        _ => json(200, "", &result(&seen.id(), "{}")),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    for capabilities in [ALL, ALL, r#"{"roots":{}}"#, "{}", "{}", ALL] {
        let (reply, _) = bench.send("a", call(capabilities)).await;
        assert_eq!(text(reply), "{}");
    }
    let sessions: Vec<_> = peer
        .calls("tools/call")
        .iter()
        .map(|seen| seen.header("mcp-session-id").unwrap().to_owned())
        .collect();
    assert_eq!(sessions, ["s-1", "s-1", "s-2", "s-3", "s-3", "s-1"]);
    assert_eq!(gets(&peer), 2, "only where there is something to ask for");
    let described = bench.upstream().describe(&lane("a")).await.unwrap();
    assert_eq!(described.era, Era::Legacy);
    assert_eq!(peer.calls("initialize").len(), 3, "any session will do");

    bench.upstream().end_session(&lane("a")).await;
    let deletes = |peer: &Peer| {
        let seen = peer.seen().into_iter();
        seen.filter(|seen| seen.verb == "DELETE").count()
    };
    peer.until(|peer| deletes(peer) == 3).await;
}

#[tokio::test]
async fn a_server_without_sessions_is_told_that_nobody_can_be_asked() {
    let peer = Peer::start(|seen| match seen.method().as_str() {
        "initialize" => {
            let answer = r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#;
            json(200, "", &result(&seen.id(), answer))
        }
        "tools/call" => json(200, "", &result(&seen.id(), "{}")),
        _ => status(202),
    });
    let bench = Bench::http(&peer.url, EraChoice::Legacy);
    for _ in 0..3 {
        assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    }
    let told: Vec<bool> = peer
        .calls("initialize")
        .iter()
        .map(|seen| seen.body.contains(r#""capabilities":{}"#))
        .collect();
    assert_eq!(told, [false, true]);
    assert_eq!(gets(&peer), 0);
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_with_the_same_declaration() {
    let forgotten = Arc::new(Mutex::new(Vec::new()));
    let gone = forgotten.clone();
    let peer = legacy(move |seen| {
        let session = seen.header("mcp-session-id").unwrap_or_default();
        match seen.verb.as_str() {
            "POST" if gone.lock().unwrap().iter().any(|gone| gone == session) => status(404),
            "POST" => json(200, "", &result(&seen.id(), "{}")),
            _ => status(405),
        }
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    forgotten.lock().unwrap().push("s-1".to_owned());
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    let initialize = peer.calls("initialize");
    assert_eq!(initialize.len(), 2);
    assert!(initialize[1].body.contains(ALL));
    assert_eq!(peer.calls("tools/call").len(), 3);
}

#[tokio::test]
async fn a_lost_stream_of_a_session_is_opened_again_from_where_it_ended() {
    let streams = Streams::default();
    let open = streams.clone();
    let peer = legacy(
        move |seen| match (seen.verb.as_str(), seen.header("last-event-id")) {
            ("GET", None) => Act::WriteAndClose(format!("{EVENT_STREAM}id: e-1\ndata:\n\n")),
            ("GET", Some(_)) => open.open("GET", &[]),
            _ => json(200, "", &result(&seen.id(), "{}")),
        },
    );
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(text(bench.send("a", call(ALL)).await.0), "{}");
    peer.until(|peer| gets(peer) == 2).await;
    let again = peer.seen().into_iter().rfind(|seen| seen.verb == "GET");
    assert_eq!(again.unwrap().header("last-event-id"), Some("e-1"));
    bench.upstreams.close().await;
    drop(bench);
    peer.until(|peer| {
        let get = peer.seen().into_iter().rfind(|seen| seen.verb == "GET");
        peer.closed().contains(&get.unwrap().connection)
    })
    .await;
    streams.end("GET");
}

#[tokio::test]
async fn the_deadline_stands_still_while_the_agent_is_asked_but_not_for_ever() {
    let (peer, _streams) = asks_on_the_call(&["elicitation/create"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(ALL));
    let ask = talk.asked().await;
    tokio::time::pause();
    tokio::time::advance(limits::ASK - Duration::from_secs(1)).await;
    tokio::time::resume();
    ask.reply.send(answered("{}")).unwrap();
    assert!(talk.end().await.contains(r#""id":"q1","result":{}"#));

    let mut talk = Talk::start(&bench, call(ALL));
    let ask = talk.asked().await;
    tokio::time::pause();
    assert!(matches!(
        talk.call.await.unwrap(),
        Err(UpstreamError::TimedOut)
    ));
    tokio::time::resume();
    assert!(ask.reply.is_closed());
    peer.until(|peer| !peer.calls("notifications/cancelled").is_empty())
        .await;
}

#[tokio::test]
async fn a_call_dropped_while_a_question_is_open_is_cancelled_and_the_question_refused() {
    let (peer, _streams) = asks_on_the_call(&["elicitation/create", "roots/list", "x"]);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let mut talk = Talk::start(&bench, call(r#"{"elicitation":{}}"#));
    let mut ask = talk.asked().await;
    talk.call.abort();
    ask.reply.closed().await;
    peer.until(|peer| posts(peer).len() == 3 && !peer.calls("notifications/cancelled").is_empty())
        .await;
    let call = peer.calls("tools/call").remove(0);
    let cancelled = peer.calls("notifications/cancelled").remove(0);
    assert!(
        cancelled
            .body
            .contains(&format!(r#""requestId":{}"#, call.id()))
    );
    assert_eq!(cancelled.header("mcp-session-id"), Some("s-1"));
    assert!(posts(&peer).iter().all(|post| post.body.contains("-32601")));
}

#[tokio::test]
async fn a_modern_server_is_told_in_every_request_and_its_questions_are_results() {
    let needed = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}},"requestState":"s"}"#;
    let peer = modern(move |seen| json(200, "", &result(&seen.id(), needed)));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let request = Outgoing {
        client_info: Some(raw(r#"{"name":"agent"}"#.into())),
        ..call(ALL)
    };
    let (one, two) = tokio::join!(bench.send("a", request.clone()), bench.send("b", request));
    assert_eq!((text(one.0), text(two.0)), (needed.into(), needed.into()));
    for seen in peer.calls("tools/call") {
        let meta = format!(
            r#""io.modelcontextprotocol/clientInfo":{{"name":"agent"}},"io.modelcontextprotocol/clientCapabilities":{ALL}"#
        );
        assert!(seen.body.contains(&meta), "{}", seen.body);
    }
    assert_eq!(peer.seen().len(), 3);
}
