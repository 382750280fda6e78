//! Streams of events with places: what of them is told, and how they are taken up again.

use crate::types::EraChoice;

use super::testing::*;
use super::{Notice, limits};

/// What a call heard, in words, and its outcome.
async fn heard(peer: &Peer) -> (String, Vec<String>) {
    let bench = Bench::http(&peer.url, EraChoice::Legacy);
    let request = tool_call(r#"{"progressToken":1}"#);
    let (reply, notices) = bench.send("a", request).await;
    (text(reply), notices.iter().map(notice_text).collect())
}

fn progress(seen: &Seen, number: u32) -> String {
    let token = seen.progress_token();
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{number}}}}}"#
    )
}

/// A server that says this to a call, with `P1` and `P2` for progress and `A` for the answer.
fn says(stream: &'static str) -> Peer {
    legacy(move |seen| match seen.verb.as_str() {
        "POST" => {
            let stream = stream.replace("P1", &progress(seen, 1));
            let stream = stream.replace("P2", &progress(seen, 2));
            let stream = stream.replace("A\n", &format!("{}\n", result(&seen.id(), "{}")));
            Act::WriteAndClose(format!("{EVENT_STREAM}{stream}"))
        }
        _ => status(405),
    })
}

#[tokio::test]
async fn every_place_of_a_stream_is_told_with_what_was_said_there() {
    let peer =
        says("id: 1\nretry: 500\ndata:\n\nid: 2\ndata: P1\n\ndata: P2\n\nid: 4\ndata: A\n\n");
    let (outcome, heard) = heard(&peer).await;
    assert_eq!(outcome, "{}");
    assert_eq!(
        heard,
        [
            "Retry(500)",
            r#"Here(EventId("1"))"#,
            r#"progress {"progressToken":1,"progress":1} at 2"#,
            r#"progress {"progressToken":1,"progress":2}"#,
            r#"Answer(EventId("4"))"#,
        ]
    );
}

#[tokio::test]
async fn a_stream_without_places_tells_none() {
    for stream in [
        "retry: 5\n\ndata: P1\n\ndata: A\n\n",
        "id:\ndata:\n\ndata: P1\n\ndata: A\n\n",
    ] {
        let (outcome, heard) = heard(&says(stream)).await;
        assert_eq!(outcome, "{}");
        assert_eq!(heard, [r#"progress {"progressToken":1,"progress":1}"#]);
    }
}

#[tokio::test]
async fn an_id_beyond_the_limit_is_no_place() {
    let peer = legacy(|seen| {
        let id = "x".repeat(limits::EVENT_ID + 1);
        let answer = result(&seen.id(), "{}");
        Act::WriteAndClose(format!(
            "{EVENT_STREAM}id: {id}\ndata:\n\nid: {id}\ndata: {answer}\n\n"
        ))
    });
    let (outcome, heard) = heard(&peer).await;
    assert_eq!((outcome.as_str(), heard.as_slice()), ("{}", &[][..]));
}

#[tokio::test]
async fn a_stream_that_a_server_closes_is_taken_up_from_its_last_place_and_that_is_told() {
    let peer = legacy(
        |seen| match (seen.verb.as_str(), seen.header("last-event-id")) {
            ("POST", _) => {
                let progress = progress(seen, 1);
                let id = seen.id();
                Act::WriteAndClose(format!(
                    "{EVENT_STREAM}id: {id}.1\ndata:\n\nid: {id}.2\nretry: 60\ndata: {progress}\n\nretry: 70\n\n"
                ))
            }
            ("GET", Some(event)) if event.ends_with(".2") => Act::WriteAndClose(format!(
                "{EVENT_STREAM}id: {}3\ndata:\n\n",
                event.trim_end_matches('2')
            )),
            ("GET", Some(event)) => {
                let id = event.trim_end_matches(".3");
                events(&[result(id, r#"{"late":true}"#)])
            }
            _ => status(405),
        },
    );
    let (outcome, heard) = heard(&peer).await;
    assert_eq!(outcome, r#"{"late":true}"#);
    let words: Vec<&str> = heard
        .iter()
        .map(|heard| heard.split(['(', ' ']).next().unwrap())
        .collect();
    assert_eq!(
        words,
        ["Retry", "Here", "progress", "Closed", "Here", "Closed"],
        "{heard:?}"
    );
    assert_eq!(heard[0], "Retry(70)", "the last that was said by then");
    assert_eq!(peer.calls("tools/call").len(), 1, "nothing is repeated");
}

#[tokio::test]
async fn a_question_carries_its_place() {
    let peer = legacy(|seen| match seen.method().as_str() {
        "tools/call" => {
            let question = r#"{"jsonrpc":"2.0","id":9,"method":"roots/list"}"#;
            let answer = result(&seen.id(), "{}");
            Act::WriteAndClose(format!(
                "{EVENT_STREAM}id: q\ndata: {question}\n\nid: a\ndata: {answer}\n\n"
            ))
        }
        _ => status(202),
    });
    let bench = Bench::http(&peer.url, EraChoice::Legacy);
    let mut request = tool_call("{}");
    request.capabilities = crate::protocol::Object::parse(r#"{"roots":{}}"#).unwrap();
    let (_, notices) = bench.send("a", request).await;
    let Some(Notice::At(id, asked)) = notices.into_iter().next() else {
        panic!("a question with its place");
    };
    assert_eq!(id.0, "q");
    assert!(matches!(*asked, Notice::Ask(_)));
}
