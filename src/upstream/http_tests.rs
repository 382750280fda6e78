//! HTTP servers of both eras, well-behaved and not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::types::{Contact, EraChoice};

use super::testing::*;
use super::{Era, Health, UpstreamError, limits};

/// What the server does, and what comes of it.
type Case = (fn(&Seen) -> Act, &'static str);
/// A server of one era.
type Make = fn(fn(&Seen) -> Act) -> Peer;

fn log(level: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":"x"}}}}"#
    )
}

#[tokio::test]
async fn a_modern_server_gets_everything_in_the_request_and_nothing_else() {
    let peer = modern(|seen| json(200, "", &result(&seen.id(), r#"{"content": []}"#)));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let (reply, _) = bench
        .send(
            "a",
            tool_call(r#"{"traceparent":"00-x","progressToken":"t"}"#),
        )
        .await;
    let reply = reply.unwrap();
    assert_eq!((reply.era, reply.status), (Era::Modern, 200));
    assert_eq!(reply.outcome.unwrap().get(), r#"{"content": []}"#);
    assert_eq!(text(bench.call().await), r#"{"content": []}"#);

    assert_eq!(peer.calls("server/discover").len(), 1);
    let call = peer.calls("tools/call").remove(0);
    assert_eq!(call.id(), "2");
    assert_eq!(
        call.body,
        format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"echo","arguments":{{"a": 1.0}},"_meta":{{"traceparent":"00-x","progressToken":2,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"hayward","version":"{}"}},"io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/logLevel":"info"}}}}}}"#,
            env!("CARGO_PKG_VERSION")
        )
    );
    let headers: Vec<String> = call
        .headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    assert_eq!(
        headers,
        [
            "accept: application/json, text/event-stream".to_owned(),
            "authorization: Bearer ours".into(),
            format!("content-length: {}", call.body.len()),
            "content-type: application/json".into(),
            "mcp-method: tools/call".into(),
            "mcp-name: echo".into(),
            "mcp-protocol-version: 2026-07-28".into(),
        ]
    );
    let description = bench.upstream().describe(&lane("a")).await.unwrap();
    assert_eq!(description.era, Era::Modern);
    assert_eq!(
        description.server_info.as_ref().unwrap().get(),
        r#"{"name":"peer"}"#
    );
}

#[tokio::test]
async fn a_legacy_server_gets_one_session_for_each_agent() {
    let peer = legacy(|seen| json(200, "", &result(&seen.id(), "{}")));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    for agent in ["a", "a", "b"] {
        let (reply, _) = bench.send(agent, tool_call("{}")).await;
        assert_eq!(reply.unwrap().era, Era::Legacy);
    }
    let initialize = &peer.calls("initialize")[0];
    assert_eq!(
        initialize.body,
        format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"initialize","params":{{"protocolVersion":"2025-11-25","capabilities":{{}},"clientInfo":{{"name":"hayward","version":"{}"}}}}}}"#,
            initialize.id(),
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(initialize.header("mcp-protocol-version"), None);
    let sessions: Vec<_> = peer
        .calls("tools/call")
        .iter()
        .map(|seen| seen.header("mcp-session-id").unwrap().to_owned())
        .collect();
    assert_eq!(sessions, ["s-1", "s-1", "s-2"]);
    let call = peer.calls("tools/call").remove(0);
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(call.header("mcp-method"), None);
    assert!(!call.body.contains("modelcontextprotocol"));
    assert_eq!(peer.calls("notifications/initialized").len(), 2);

    bench.upstream().end_session(&lane("a")).await;
    peer.until(|peer| peer.seen().iter().any(|seen| seen.verb == "DELETE"))
        .await;
    let delete = peer
        .seen()
        .into_iter()
        .find(|seen| seen.verb == "DELETE")
        .unwrap();
    assert_eq!(delete.header("mcp-session-id"), Some("s-1"));
    let description = bench.upstream().describe(&lane("a")).await.unwrap();
    assert_eq!(description.era, Era::Legacy);
    assert_eq!(peer.calls("initialize").len(), 3);
    bench.upstreams.close().await;
    let deletes = peer
        .seen()
        .into_iter()
        .filter(|seen| seen.verb == "DELETE")
        .count();
    assert_eq!(deletes, 3);
    assert!(bench.call().await.unwrap_err().nothing_sent());
}

#[tokio::test]
async fn first_calls_that_come_together_open_one_session() {
    let peer = legacy(|seen| json(200, "", &result(&seen.id(), "{}")));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let (one, two, three) = tokio::join!(bench.call(), bench.call(), bench.call());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(
        (
            peer.calls("server/discover").len(),
            peer.calls("initialize").len()
        ),
        (1, 1)
    );
}

#[tokio::test]
async fn notices_of_the_call_arrive_with_the_agents_token() {
    for make in [modern, legacy] as [Make; 2] {
        let peer = make(|seen| {
            let token = seen.progress_token();
            events(&[
                progress(&token, 1),
                log("debug"),
                progress("99", 2),
                log("error"),
                progress(&token, 1),
                progress(&token, 5),
                result(&seen.id(), r#"{"ok":1}"#),
            ])
        });
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        let (reply, notices) = bench
            .send("a", tool_call(r#"{"progressToken":"mine"}"#))
            .await;
        assert_eq!(text(reply), r#"{"ok":1}"#);
        let notices: Vec<String> = notices.iter().map(notice_text).collect();
        assert_eq!(
            notices,
            [
                r#"progress {"progressToken":"mine","progress":1}"#,
                r#"log {"level":"error","data":"x"}"#,
                r#"progress {"progressToken":"mine","progress":5}"#
            ]
        );
    }
}

#[tokio::test]
async fn what_is_not_exactly_one_answer_breaks_the_call() {
    let cases: [Case; 14] = [
        (|_| json(200, "", &result("99", "{}")), "another request"),
        (
            |seen| json(200, "", &result(&format!("\"{}\"", seen.id()), "{}")),
            "another request",
        ),
        (
            |seen| json(200, "", &format!("[{}]", result(&seen.id(), "{}"))),
            "no single message",
        ),
        (
            |seen| {
                json(
                    200,
                    "",
                    &format!(
                        r#"{{"jsonrpc":"2.0","id":{},"result":{{}},"error":{{}}}}"#,
                        seen.id()
                    ),
                )
            },
            "either",
        ),
        (
            |seen| {
                json(
                    200,
                    "",
                    &format!(
                        r#"{{"jsonrpc":"2.0","id":{},"result":1,"result":2}}"#,
                        seen.id()
                    ),
                )
            },
            "twice",
        ),
        (|_| json(200, "", &log("error")), "no response"),
        (|_| json(200, "", "<html>"), "not JSON"),
        (|_| status(202), "without an answer"),
        (
            |_| {
                Act::WriteAndClose("HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{".into())
            },
            "cut off",
        ),
        (|_| events(&[log("error")]), "ended without an answer"),
        (
            |seen| events(&[result(&seen.id(), "{}"), result(&seen.id(), "{}")]),
            "answered twice",
        ),
        (
            |seen| events(&[result("99", "{}"), result(&seen.id(), "{}")]),
            "another request",
        ),
        (
            |_| {
                Act::WriteAndClose("HTTP/1.1 307 X\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".into())
            },
            "redirect (HTTP 307)",
        ),
        (
            |seen| json(200, "content-encoding: gzip\r\n", &result(&seen.id(), "{}")),
            "compressed",
        ),
    ];
    for era in [modern, legacy] as [Make; 2] {
        for (script, expected) in cases {
            let peer = era(script);
            let error = Bench::http(&peer.url, EraChoice::Auto)
                .call()
                .await
                .unwrap_err();
            assert!(
                matches!(&error, UpstreamError::Broken(why) if why.contains(expected)),
                "{expected}: {error}"
            );
            assert!(!error.nothing_sent());
            assert_eq!(
                peer.calls("tools/call").len(),
                1,
                "{expected}: never repeated"
            );
        }
    }
}

#[tokio::test]
async fn an_error_status_is_an_answer_only_with_a_json_rpc_error() {
    let cases: [Case; 7] = [
        (
            |seen| json(400, "", &error(&seen.id(), -32602, "no")),
            r#"400 error {"code":-32602,"message":"no"}"#,
        ),
        (
            |_| json(400, "", &error("null", -32600, "no")),
            r#"400 error {"code":-32600,"message":"no"}"#,
        ),
        (|_| status(401), "server answered HTTP 401"),
        (|_| json(422, "", "{}"), "server answered HTTP 422"),
        (
            |_| json(400, "", &error("99", -32602, "of another")),
            "server answered HTTP 400",
        ),
        (
            |seen| json(503, "", &error(&seen.id(), -32603, "busy")),
            r#"503 error {"code":-32603,"message":"busy"}"#,
        ),
        (|_| status(502), "server broke off: it answers HTTP 502"),
    ];
    for era in [modern, legacy] as [Make; 2] {
        for (script, expected) in cases {
            let peer = era(script);
            let reply = Bench::http(&peer.url, EraChoice::Auto).call().await;
            assert!(
                reply
                    .as_ref()
                    .err()
                    .is_none_or(|error| !error.nothing_sent())
            );
            assert_eq!(text(reply), expected);
        }
    }
}

/// An answer that begins with `head` and goes on with more pieces than any limit allows.
fn endless(head: &str, piece: String) -> Peer {
    let head = head.to_owned();
    modern(move |_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(head.clone()).unwrap();
        for _ in 0..=limits::STREAM / piece.len() {
            sender.send(piece.clone()).unwrap();
        }
        Act::Stream(receiver)
    })
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_cut() {
    const JSON: &str = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n";
    let mebibyte = "x".repeat(1024 * 1024);
    let declared = format!("{JSON}content-length: {}\r\n\r\n", limits::ANSWER + 1);
    let declared = modern(move |_| Act::Write(declared.clone()));
    let undeclared = endless(&format!("{JSON}\r\n"), mebibyte.clone());
    let one_event = endless(&format!("{EVENT_STREAM}data: "), mebibyte.clone());
    let comments = endless(EVENT_STREAM, format!(": {mebibyte}\n\n"));
    for (peer, limit) in [
        (declared, limits::ANSWER),
        (undeclared, limits::ANSWER),
        (one_event, limits::EVENT),
        (comments, limits::STREAM),
    ] {
        let reply = Bench::http(&peer.url, EraChoice::Modern).call().await;
        assert!(
            matches!(reply, Err(UpstreamError::TooLarge(at)) if at == limit),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn a_call_that_was_handed_over_once_is_never_said_to_be_unsent() {
    let opened = AtomicUsize::new(0);
    let peer = Peer::start(move |seen| match seen.method().as_str() {
        "initialize" if opened.fetch_add(1, Ordering::SeqCst) > 0 => status(401),
        "initialize" => json(
            200,
            "mcp-session-id: s-1\r\n",
            &result(
                &seen.id(),
                r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"x","version":"1"}}"#,
            ),
        ),
        "notifications/initialized" => status(202),
        _ => status(404),
    });
    let error = Bench::http(&peer.url, EraChoice::Legacy)
        .call()
        .await
        .unwrap_err();
    assert!(!error.nothing_sent(), "{error}");
    assert_eq!(peer.calls("tools/call").len(), 1);
}

#[tokio::test]
async fn a_session_the_server_forgot_is_opened_again_and_the_call_repeated_once() {
    let peer = legacy(|seen| match seen.header("mcp-session-id") {
        Some("s-1") => json(
            404,
            "",
            &error("\"server-error\"", -32600, "Session not found"),
        ),
        _ => json(200, "", &result(&seen.id(), "{}")),
    });
    assert_eq!(
        text(Bench::http(&peer.url, EraChoice::Auto).call().await),
        "{}"
    );
    assert_eq!(peer.calls("tools/call").len(), 2);

    let peer = legacy(|_| status(404));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert!(matches!(
        bench.call().await,
        Err(UpstreamError::Rejected(404))
    ));
    assert_eq!(
        (
            peer.calls("tools/call").len(),
            peer.calls("initialize").len()
        ),
        (2, 2)
    );

    let peer = legacy(|seen| json(404, "", &error(&seen.id(), -32602, "no such tool")));
    let reply = Bench::http(&peer.url, EraChoice::Auto).call().await;
    assert_eq!(
        text(reply),
        r#"404 error {"code":-32602,"message":"no such tool"}"#
    );
}

#[tokio::test]
async fn a_400_about_the_session_is_not_repeated_but_the_session_is_left() {
    let peer = legacy(|seen| match seen.header("mcp-session-id") {
        Some("s-1") => json(
            400,
            "",
            &error("null", -32600, "Bad Request: No valid session ID"),
        ),
        _ => json(200, "", &result(&seen.id(), "{}")),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert!(text(bench.call().await).starts_with("400 error"));
    assert_eq!(peer.calls("tools/call").len(), 1);
    assert_eq!(text(bench.call().await), "{}");
}

#[tokio::test]
async fn a_stream_that_ends_early_is_resumed_and_the_call_not_repeated() {
    let peer = legacy(
        |seen| match (seen.verb.as_str(), seen.header("last-event-id")) {
            ("POST", _) => {
                Act::WriteAndClose(format!("{EVENT_STREAM}id: e-{}\ndata:\n\n", seen.id()))
            }
            ("GET", Some(event)) => {
                let id = event.trim_start_matches("e-");
                events(&[progress(id, 1), result(id, r#"{"late":true}"#)])
            }
            _ => status(405),
        },
    );
    let (reply, notices) = Bench::http(&peer.url, EraChoice::Auto)
        .send("a", tool_call(r#"{"progressToken":1}"#))
        .await;
    assert_eq!(text(reply), r#"{"late":true}"#);
    let said: Vec<String> = notices.iter().map(notice_text).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("Here(EventId(\"e-"), "{said:?}");
    assert_eq!(said[1], "Closed");
    assert_eq!(said[2], r#"progress {"progressToken":1,"progress":1}"#);
    assert_eq!(peer.calls("tools/call").len(), 1);
}

#[tokio::test]
async fn refused_credentials_are_no_evidence_and_nothing_was_sent() {
    for code in [401, 403] {
        let peer = Peer::start(move |_| status(code));
        for era in [EraChoice::Auto, EraChoice::Legacy] {
            let bench = Bench::http(&peer.url, era);
            let failure = bench.call().await.unwrap_err();
            assert!(matches!(failure, UpstreamError::Refused(_)) && failure.nothing_sent());
            assert!(matches!(bench.upstream().health(), Health::Down { .. }));
            let state = bench.upstream().state();
            assert_eq!((state.transport, state.processes), ("http", None));
            assert_eq!((state.contact, state.answered), (Contact::Down, None));
            let (at, why) = state.failed.unwrap();
            assert_eq!(state.since, Some(at));
            assert_eq!(why, failure.to_string());
        }
        assert!(peer.calls("tools/call").is_empty());
        assert_eq!(
            peer.calls("initialize").len(),
            1,
            "only where the era was configured"
        );
    }
}

#[tokio::test]
async fn trouble_while_probing_is_no_evidence() {
    for act in [
        (|| status(503)) as fn() -> Act,
        || status(429),
        || Act::WriteAndClose(String::new()),
    ] {
        let peer = Peer::start(move |_| act());
        let failure = Bench::http(&peer.url, EraChoice::Auto)
            .call()
            .await
            .unwrap_err();
        assert!(
            matches!(failure, UpstreamError::Unreachable(_)),
            "{failure}"
        );
        assert!(peer.calls("initialize").is_empty());
    }
}

#[tokio::test]
async fn a_connection_refused_means_nothing_was_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", free.local_addr().unwrap());
    drop(free);
    for era in [EraChoice::Auto, EraChoice::Modern, EraChoice::Legacy] {
        let failure = Bench::http(&url, era).call().await.unwrap_err();
        assert!(
            matches!(failure, UpstreamError::Unreachable(_)),
            "{failure}"
        );
    }
    let failure = Bench::http("http://no-such-host.invalid/mcp", EraChoice::Modern)
        .call()
        .await
        .unwrap_err();
    assert!(
        matches!(failure, UpstreamError::Unreachable(_)),
        "{failure}"
    );
}

#[tokio::test]
async fn a_tls_failure_means_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 X\r\n\r\n").await;
        }
    });
    let failure = Bench::http(&url, EraChoice::Modern).call().await;
    assert!(
        matches!(failure, Err(UpstreamError::Unreachable(_))),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_connection_that_dies_after_the_request_is_broken_and_not_repeated() {
    let peer = modern(|_| Act::WriteAndClose(String::new()));
    let failure = Bench::http(&peer.url, EraChoice::Modern)
        .call()
        .await
        .unwrap_err();
    assert!(matches!(failure, UpstreamError::Broken(_)), "{failure}");
    assert_eq!(peer.calls("tools/call").len(), 1);
}

#[tokio::test]
async fn idle_connections_closed_by_the_server_lose_and_double_no_call() {
    let peer = modern(|seen| {
        let body = result(&seen.id(), "{}");
        Act::WriteAndClose(format!(
            "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    let bench = Bench::http(&peer.url, EraChoice::Modern);
    for round in 1..=50 {
        assert_eq!(text(bench.call().await), "{}");
        peer.until(|peer| peer.closed().len() == round).await;
    }
    assert_eq!(peer.calls("tools/call").len(), 50);
}

#[tokio::test]
async fn a_kept_connection_is_used_again_after_json_and_after_events() {
    let peer = modern(|seen| {
        let body = format!("data: {}\n\n", result(&seen.id(), "{}"));
        Act::Write(format!(
            "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    for _ in 0..5 {
        assert_eq!(text(bench.call().await), "{}");
    }
    assert!(peer.seen().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn a_passed_deadline_closes_the_stream_of_a_modern_call() {
    let peer = modern(|_| Act::Hang);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let call = bench.start("a", tool_call("{}"));
    peer.until(|peer| !peer.calls("tools/call").is_empty())
        .await;
    tokio::time::pause();
    let failure = call.await.unwrap().unwrap_err();
    assert!(matches!(failure, UpstreamError::TimedOut) && !failure.nothing_sent());
    tokio::time::resume();
    let connection = peer.calls("tools/call")[0].connection;
    peer.until(|peer| peer.closed().contains(&connection)).await;
}

#[tokio::test]
async fn a_dropped_call_cancels_with_the_servers_id_on_the_same_session() {
    for by_deadline in [false, true] {
        let peer = legacy(|seen| match seen.method().as_str() {
            "tools/call" => Act::Hang,
            _ => status(202),
        });
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        let call = bench.start("a", tool_call("{}"));
        peer.until(|peer| !peer.calls("tools/call").is_empty())
            .await;
        if by_deadline {
            tokio::time::pause();
            assert!(matches!(call.await.unwrap(), Err(UpstreamError::TimedOut)));
            tokio::time::resume();
        } else {
            call.abort();
        }
        peer.until(|peer| !peer.calls("notifications/cancelled").is_empty())
            .await;
        let (call, cancelled) = (
            peer.calls("tools/call").remove(0),
            peer.calls("notifications/cancelled").remove(0),
        );
        assert!(
            cancelled
                .body
                .contains(&format!(r#""requestId":{}"#, call.id()))
        );
        assert_eq!(
            cancelled.header("mcp-session-id"),
            call.header("mcp-session-id")
        );
    }
}

#[tokio::test]
async fn a_dropped_modern_call_closes_its_stream() {
    let peer = modern(|_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        sender.send(format!("{EVENT_STREAM}: open\n\n")).unwrap();
        std::mem::forget(sender);
        Act::Stream(receiver)
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let call = bench.start("a", tool_call("{}"));
    peer.until(|peer| !peer.calls("tools/call").is_empty())
        .await;
    call.abort();
    let connection = peer.calls("tools/call")[0].connection;
    peer.until(|peer| peer.closed().contains(&connection)).await;
    assert!(peer.calls("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn requests_of_a_legacy_server_are_answered_on_the_session() {
    let peer = legacy(|seen| match seen.method().as_str() {
        "tools/call" => events(&[
            r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#.into(),
            r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{}}"#.into(),
            result(&seen.id(), "{}"),
        ]),
        _ => status(202),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(text(bench.call().await), "{}");
    let answers = |peer: &Peer| {
        peer.calls("")
            .into_iter()
            .filter(|seen| seen.verb == "POST")
            .collect::<Vec<_>>()
    };
    peer.until(|peer| answers(peer).len() == 2).await;
    let mut answers: Vec<_> = answers(&peer)
        .iter()
        .map(|seen| {
            (
                seen.body.clone(),
                seen.header("mcp-session-id").map(str::to_owned),
            )
        })
        .collect();
    answers.sort();
    let session = Some("s-1".to_owned());
    assert_eq!(
        answers,
        [
            (r#"{"jsonrpc":"2.0","id":"p","result":{}}"#.to_owned(), session.clone()),
            (r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"this client offers no `sampling/createMessage`"}}"#.to_owned(), session),
        ]
    );
}

#[tokio::test]
async fn a_server_without_sessions_that_asks_the_client_fails_at_once() {
    let peer = Peer::start(|seen| match seen.method().as_str() {
        "initialize" => json(
            200,
            "",
            &result(
                &seen.id(),
                r#"{"protocolVersion":"2025-03-26","capabilities":{}}"#,
            ),
        ),
        "tools/call" => {
            let (sender, receiver) = mpsc::unbounded_channel();
            sender.send(format!("{EVENT_STREAM}data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"elicitation/create\"}}\n\n")).unwrap();
            std::mem::forget(sender);
            Act::Stream(receiver)
        }
        _ => status(202),
    });
    let failure = Bench::http(&peer.url, EraChoice::Legacy)
        .call()
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, UpstreamError::Broken(why) if why.contains("no session")),
        "{failure}"
    );
    assert_eq!(
        peer.calls("tools/call")[0].header("mcp-protocol-version"),
        None
    );
}

#[tokio::test]
async fn a_flood_of_notices_holds_nothing_up() {
    let peer = modern(|seen| {
        let token = seen.progress_token();
        let mut messages: Vec<String> = (0..2_000).map(|count| progress(&token, count)).collect();
        messages.push(result(&seen.id(), "{}"));
        events(&messages)
    });
    let (reply, notices) = Bench::http(&peer.url, EraChoice::Auto)
        .send("a", tool_call(r#"{"progressToken":1}"#))
        .await;
    assert_eq!(text(reply), "{}");
    assert_eq!(notices.len(), 64);
}

#[tokio::test]
async fn agents_with_the_same_ids_never_get_each_others_answers() {
    let peer = legacy(|seen| {
        let body = crate::protocol::Object::parse(&seen.body).unwrap();
        let who = body
            .get_object("params")
            .unwrap()
            .get("arguments")
            .unwrap()
            .get()
            .to_owned();
        json(200, "", &result(&seen.id(), &who))
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let calls = (0..64).map(|number| {
        let agent = format!("agent-{}", number % 4);
        let mut request = tool_call(r#"{"progressToken":1}"#);
        let marker = format!(r#"{{"marker":"{agent}-{number}"}}"#);
        request
            .params
            .set("arguments", crate::protocol::raw(marker.clone()));
        let bench = &bench;
        async move {
            let (reply, _) = bench.send(&agent, request).await;
            assert_eq!(text(reply), marker);
        }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(peer.calls("initialize").len(), 4);
}

#[tokio::test]
async fn a_session_nobody_used_for_long_is_ended() {
    let peer = legacy(|seen| json(200, "", &result(&seen.id(), "{}")));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert!(bench.call().await.is_ok());
    bench.clock.advance(limits::IDLE + Duration::from_secs(1));
    tokio::time::pause();
    tokio::time::advance(limits::IDLE_CHECK).await;
    tokio::time::resume();
    peer.until(|peer| peer.seen().iter().any(|seen| seen.verb == "DELETE"))
        .await;
}

#[tokio::test]
async fn a_server_that_went_back_to_legacy_is_found_out() {
    let went_back = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = went_back.clone();
    let peer = Peer::start(move |seen| {
        let is_legacy = flag.load(std::sync::atomic::Ordering::SeqCst);
        match (seen.method().as_str(), is_legacy) {
            ("server/discover", false) => json(
                200,
                "",
                &result(&seen.id(), r#"{"supportedVersions":["2026-07-28"]}"#),
            ),
            ("initialize", true) => json(
                200,
                "mcp-session-id: s\r\n",
                &result(&seen.id(), r#"{"protocolVersion":"2025-06-18"}"#),
            ),
            ("tools/call", true) if seen.header("mcp-session-id").is_none() => status(400),
            ("tools/call", _) => json(200, "", &result(&seen.id(), "{}")),
            ("notifications/initialized", _) => status(202),
            _ => status(400),
        }
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(
        bench.send("a", tool_call("{}")).await.0.unwrap().era,
        Era::Modern
    );
    went_back.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(
        bench.call().await,
        Err(UpstreamError::Rejected(400))
    ));
    assert!(bench.call().await.is_err());
    peer.until(|peer| peer.calls("server/discover").len() == 2)
        .await;
    let changed = async {
        while bench.call().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), changed)
        .await
        .unwrap();
    assert_eq!(
        bench.send("a", tool_call("{}")).await.0.unwrap().era,
        Era::Legacy
    );
}
