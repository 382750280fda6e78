//! Servers that speak both eras, and those that only seem to: which one a lane gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::types::{Endpoint, EraChoice, Instances, Template};

use super::testing::*;
use super::{Era, Lane, Outgoing, UpstreamError, limits};

const OPENED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"logging":{}},"serverInfo":{"name":"older"}}"#;

/// A modern server; what it makes of `initialize` is said by the script, with the number of the attempt.
fn peer(initialize: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Peer {
    let attempts = AtomicUsize::new(0);
    modern(move |seen| match seen.method().as_str() {
        "initialize" => initialize(seen, attempts.fetch_add(1, Ordering::SeqCst)),
        "notifications/initialized" => status(202),
        "tools/call" => json(200, "", &result(&seen.id(), "{}")),
        _ => status(405),
    })
}

fn opens(seen: &Seen) -> Act {
    json(200, "mcp-session-id: s\r\n", &result(&seen.id(), OPENED))
}

fn refuses(seen: &Seen) -> Act {
    json(400, "", &error(&seen.id(), -32022, "no"))
}

async fn send(bench: &Bench, lane: &Lane) -> Result<Era, UpstreamError> {
    let (sender, _receiver) = mpsc::channel(8);
    let reply = bench.upstream().send(lane, tool_call("{}"), &sender).await;
    Ok(reply?.era)
}

fn session() -> Lane {
    lane_of("a", Era::Legacy)
}

fn posts_of(peer: &Peer, method: &str) -> usize {
    peer.calls(method).len()
}

#[tokio::test]
async fn who_prefers_legacy_gets_a_session_and_nobody_else_costs_a_handshake() {
    let peer = peer(|seen, _| opens(seen));
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    for lane in [lane("b"), lane_of("m", Era::Modern)] {
        assert_eq!(send(&bench, &lane).await.unwrap(), Era::Modern);
        let described = bench.upstream().describe(&lane).await.unwrap();
        assert_eq!(described.era, Era::Modern);
    }
    assert_eq!(posts_of(&peer, "initialize"), 0);

    let described = bench.upstream().describe(&session()).await.unwrap();
    assert_eq!(described.era, Era::Legacy);
    assert!(described.capabilities.get("logging").is_some());
    for _ in 0..2 {
        assert_eq!(send(&bench, &session()).await.unwrap(), Era::Legacy);
    }
    let last = peer.calls("tools/call").pop().unwrap();
    assert_eq!(last.header("mcp-session-id"), Some("s"));
    assert_eq!(posts_of(&peer, "server/discover"), 1);
    assert_eq!(
        posts_of(&peer, "initialize"),
        2,
        "one to find out, one session"
    );
    let other = lane_of("other", Era::Legacy);
    assert_eq!(send(&bench, &other).await.unwrap(), Era::Legacy);
    assert_eq!(posts_of(&peer, "initialize"), 3, "a session of its own");
    assert_eq!(gets(&peer), 0);
}

#[tokio::test]
async fn a_server_that_speaks_both_may_ask_an_agent_with_a_session() {
    let streams = Streams::default();
    let said = streams.clone();
    let peer = modern(move |seen| match seen.method().as_str() {
        "initialize" => opens(seen),
        "tools/call" => said.open(&seen.id(), &[question("q", "roots/list")]),
        "" if seen.verb == "POST" => {
            said.finish(&seen.body);
            status(202)
        }
        "notifications/initialized" => status(202),
        _ => status(405),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    let (sender, notices) = mpsc::channel(8);
    let upstream = bench.upstream();
    let asked = tokio::spawn(async move { upstream.send(&session(), call(ALL), &sender).await });
    let mut talk = Talk {
        call: asked,
        notices,
    };
    let ask = talk.asked().await;
    assert_eq!(ask.method, "roots/list");
    ask.reply.send(answered("[7]")).unwrap();
    assert_eq!(
        talk.end().await,
        r#"{"jsonrpc":"2.0","id":"q","result":[7]}"#
    );
    let opened = peer.calls("initialize").pop().unwrap();
    assert!(opened.body.contains(ALL), "{}", opened.body);
}

#[tokio::test]
async fn a_server_that_refuses_to_open_is_modern_for_an_hour() {
    let cases: [fn(&Seen) -> Act; 8] = [
        refuses,
        |seen| json(200, "", &error(&seen.id(), -32022, "no")),
        |seen| json(200, "", &error(&seen.id(), -32601, "no")),
        |seen| json(404, "", &error(&seen.id(), -32601, "no")),
        |_| status(400),
        |_| status(405),
        |seen| json(200, "", &result(&seen.id(), r#"{"resultType":"complete"}"#)),
        // It opens without a session: nothing could be answered there.
        |seen| json(200, "", &result(&seen.id(), OPENED)),
    ];
    for (number, refuses) in cases.into_iter().enumerate() {
        let peer = peer(move |seen, attempt| match attempt {
            0 => refuses(seen),
            _ => opens(seen),
        });
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        for _ in 0..2 {
            assert_eq!(
                send(&bench, &session()).await.unwrap(),
                Era::Modern,
                "{number}"
            );
        }
        let described = bench.upstream().describe(&session()).await.unwrap();
        assert_eq!(described.era, Era::Modern);
        assert_eq!(posts_of(&peer, "initialize"), 1, "{number}");
        assert_eq!(gets(&peer), 0, "the old transport is not looked for");

        bench.clock.advance(limits::VERDICT);
        assert_eq!(
            send(&bench, &session()).await.unwrap(),
            Era::Modern,
            "asked again without anyone waiting"
        );
        until_it_is(&bench, Era::Legacy).await;
    }
}

#[tokio::test]
async fn trouble_with_initialize_is_no_evidence_and_the_call_is_made() {
    let cases: [fn(&Seen) -> Act; 5] = [
        |_| status(401),
        |_| status(403),
        |_| status(429),
        |seen| json(503, "", &error(&seen.id(), -32000, "busy")),
        |_| Act::WriteAndClose(String::new()),
    ];
    for (number, fails) in cases.into_iter().enumerate() {
        let peer = peer(move |seen, attempt| match attempt {
            0 => fails(seen),
            _ => opens(seen),
        });
        let bench = Bench::http(&peer.url, EraChoice::Auto);
        for _ in 0..2 {
            assert_eq!(
                send(&bench, &session()).await.unwrap(),
                Era::Modern,
                "{number}"
            );
        }
        assert_eq!(posts_of(&peer, "initialize"), 1, "not with every call");
        bench.clock.advance(limits::VERDICT_RETRY);
        assert_eq!(send(&bench, &session()).await.unwrap(), Era::Modern);
        until_it_is(&bench, Era::Legacy).await;
    }
}

/// Calls until what was found in the background is in force.
async fn until_it_is(bench: &Bench, era: Era) {
    let changed = async {
        while send(bench, &session()).await.unwrap() != era {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), changed)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_that_does_not_open_any_more_falls_back_and_nothing_is_sent_twice() {
    let peer = peer(|seen, attempt| match attempt {
        0 | 1 => opens(seen),
        _ => refuses(seen),
    });
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(send(&bench, &session()).await.unwrap(), Era::Legacy);
    let other = lane_of("other", Era::Legacy);
    assert_eq!(send(&bench, &other).await.unwrap(), Era::Modern);
    assert_eq!(posts_of(&peer, "tools/call"), 2);
    let described = bench.upstream().describe(&other).await.unwrap();
    assert_eq!(described.era, Era::Modern);
    until_it_is(&bench, Era::Modern).await;
}

#[tokio::test]
async fn what_is_configured_is_spoken_to_everyone() {
    let peer = peer(|seen, _| opens(seen));
    let modern_only = Bench::http(&peer.url, EraChoice::Modern);
    assert_eq!(send(&modern_only, &session()).await.unwrap(), Era::Modern);
    assert_eq!(posts_of(&peer, "initialize"), 0);
    let legacy_only = Bench::http(&peer.url, EraChoice::Legacy);
    let modern_lane = lane_of("m", Era::Modern);
    assert_eq!(send(&legacy_only, &modern_lane).await.unwrap(), Era::Legacy);
    assert_eq!(posts_of(&peer, "server/discover"), 0);
}

#[tokio::test]
async fn a_server_silent_at_initialize_is_modern() {
    let peer = peer(|_, _| Act::Hang);
    let bench = Bench::http(&peer.url, EraChoice::Auto);
    assert_eq!(send(&bench, &lane("b")).await.unwrap(), Era::Modern);
    let silent = session();
    let calling = send(&bench, &silent);
    tokio::pin!(calling);
    tokio::select! {
        _ = &mut calling => panic!("the probe waits"),
        () = peer.until(|peer| posts_of(peer, "initialize") == 1) => {}
    }
    tokio::time::pause();
    tokio::time::advance(limits::SECOND_PROBE).await;
    tokio::time::resume();
    assert_eq!(calling.await.unwrap(), Era::Modern);
}

/// A process that answers both; a call is answered with the process and how it was spoken to.
const BOTH: &str = r#"
answer() { printf '%s\n' "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$1}"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"server/discover"'*) answer '{"supportedVersions":["2026-07-28"],"capabilities":{}}' ;;
    *'"method":"initialize"'*) INITIALIZE ;;
    *'"method":"tools/call"'*) answer "$$" ;;
  esac
done
"#;

fn process(initialize: &str, instances: Instances) -> Bench {
    let script = BOTH.replace("INITIALIZE", initialize);
    let endpoint = Endpoint::Stdio {
        command: "sh".into(),
        args: vec![Template::literal("-c"), Template::literal(&script)],
        env: Vec::new(),
        cwd: None,
        instances,
    };
    Bench::new(endpoint, EraChoice::Auto)
}

const OPENS: &str =
    r#"answer '{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"sh"}}'"#;

async fn era_and_process(bench: &Bench, lane: &Lane) -> (Era, String) {
    let (sender, _receiver) = mpsc::channel(8);
    let request: Outgoing = tool_call("{}");
    let reply = bench.upstream().send(lane, request, &sender).await.unwrap();
    (reply.era, reply.outcome.unwrap().get().to_owned())
}

#[tokio::test]
async fn a_process_that_answers_both_is_the_agents_own_where_it_prefers_that() {
    let bench = process(OPENS, Instances::PerAgent);
    let everyones = era_and_process(&bench, &lane("b")).await;
    assert_eq!(everyones.0, Era::Modern);
    let described = bench.upstream().describe(&session()).await.unwrap();
    assert_eq!(described.era, Era::Legacy);
    let own = era_and_process(&bench, &session()).await;
    assert_eq!(own.0, Era::Legacy);
    assert_eq!(era_and_process(&bench, &session()).await, own);
    let other = era_and_process(&bench, &lane_of("other", Era::Legacy)).await;
    let modern = era_and_process(&bench, &lane_of("a", Era::Modern)).await;
    assert_eq!((other.0, &modern), (Era::Legacy, &everyones));
    assert!(own.1 != other.1 && own.1 != everyones.1 && other.1 != everyones.1);
}

#[tokio::test]
async fn a_process_that_does_not_open_or_is_everyones_is_modern() {
    let no = r#"printf '%s\n' "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}""#;
    for (initialize, instances) in [
        (no, Instances::PerAgent),
        ("exit 1", Instances::PerAgent),
        (OPENS, Instances::Shared),
    ] {
        let bench = process(initialize, instances);
        let everyones = era_and_process(&bench, &lane("b")).await;
        for _ in 0..2 {
            assert_eq!(era_and_process(&bench, &session()).await, everyones);
        }
        let described = bench.upstream().describe(&session()).await.unwrap();
        assert_eq!((described.era, everyones.0), (Era::Modern, Era::Modern));
    }
}

#[tokio::test]
async fn agents_that_come_first_together_find_out_once() {
    let peer = peer(|seen, _| refuses(seen));
    let bench = Arc::new(Bench::http(&peer.url, EraChoice::Auto));
    let ask = |agent| {
        let (bench, lane) = (bench.clone(), lane_of(agent, Era::Legacy));
        async move { send(&bench, &lane).await.unwrap() }
    };
    let eras = tokio::join!(ask("a"), ask("b"), ask("c"));
    assert_eq!(eras, (Era::Modern, Era::Modern, Era::Modern));
    assert_eq!(posts_of(&peer, "initialize"), 1);
}
