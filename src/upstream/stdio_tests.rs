//! Child processes of both eras, well-behaved and not: each is a few lines of `sh`.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::protocol::{Method, Object, raw};
use crate::types::{Contact, Endpoint, EraChoice, Instances, Template};

use super::testing::*;
use super::{Era, Health, Notice, Outgoing, UpstreamError, limits};

/// Answers `initialize`; `CALL` is what happens for `tools/call`, `OTHER` for the rest, with `$line` and `$id`.
const LEGACY: &str = r#"
say() { printf '%s\n' "$1"; }
answer() { say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":$1}"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in
    *'"method":"initialize"'*) answer '{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"sh"}}' ;;
    *'"method":"server/discover"'*) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no\"}}" ;;
    *'"method":"tools/call"'*) CALL ;;
    *) OTHER ;;
  esac
done
"#;

fn legacy_script(call: &str, other: &str) -> String {
    LEGACY.replace("CALL", call).replace("OTHER", other)
}

fn modern_script(call: &str) -> String {
    let discovered = r#"answer '{"supportedVersions":["2026-07-28"],"capabilities":{}}'"#;
    let start = LEGACY
        .find("say \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":$id,\\\"error\\\"")
        .unwrap();
    let end = start + LEGACY[start..].find(" ;;").unwrap();
    let script = format!("{}{discovered}{}", &LEGACY[..start], &LEGACY[end..]);
    script.replace("CALL", call).replace("OTHER", ":")
}

fn shell(script: &str, era: EraChoice, instances: Instances) -> Bench {
    let args = ["-c", script, "sh", "a b; $(exit 9) `x` 'q'"];
    let endpoint = Endpoint::Stdio {
        command: "sh".into(),
        args: args.map(Template::literal).to_vec(),
        env: vec![("CONFIGURED".into(), Template::literal("yes"))],
        cwd: None,
        instances,
    };
    Bench::new(endpoint, era)
}

fn legacy_shell(call: &str) -> Bench {
    shell(
        &legacy_script(call, ":"),
        EraChoice::Legacy,
        Instances::PerAgent,
    )
}

async fn pid(bench: &Bench, agent: &str) -> String {
    text(bench.send(agent, tool_call("{}")).await.0)
}

/// Waits until a process is gone, or only waits for whoever started it to notice.
async fn until_gone(pid: &str) {
    let is_gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z")),
        Err(_) => true,
    };
    let waiting = async {
        while !is_gone() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the process is gone");
}

#[tokio::test]
async fn each_agent_has_a_process_and_all_its_calls_go_there() {
    let bench = shell(
        &legacy_script("answer $$", ":"),
        EraChoice::Auto,
        Instances::PerAgent,
    );
    let (one, again, two) = (
        pid(&bench, "a").await,
        pid(&bench, "a").await,
        pid(&bench, "b").await,
    );
    assert_eq!(one, again);
    assert_ne!(one, two);
    let described = bench.upstream().describe(&lane("a")).await.unwrap();
    assert_eq!(described.era, Era::Legacy);
    assert_eq!(
        described.server_info.as_ref().unwrap().get(),
        r#"{"name":"sh"}"#
    );
    assert!(matches!(bench.upstream().health(), Health::Up { .. }));
    let state = bench.upstream().state();
    assert_eq!((state.transport, state.processes), ("stdio", Some(2)));
    assert_eq!((state.contact, state.era), (Contact::Up, Some("legacy")));
    assert_eq!((state.protocol, state.failed), (Some("2025-06-18"), None));
    bench.upstreams.close().await;
    until_gone(&one).await;
    until_gone(&two).await;
    assert_eq!(bench.upstream().state().processes, Some(0));
    assert!(bench.call().await.unwrap_err().nothing_sent());
}

#[tokio::test]
async fn a_shared_process_and_a_modern_one_serve_everyone() {
    let shared = shell(
        &legacy_script("answer $$", ":"),
        EraChoice::Legacy,
        Instances::Shared,
    );
    assert_eq!(pid(&shared, "a").await, pid(&shared, "b").await);
    let modern = shell(
        &modern_script("answer $$"),
        EraChoice::Auto,
        Instances::PerAgent,
    );
    assert_eq!(pid(&modern, "a").await, pid(&modern, "b").await);
    let (reply, _) = modern.send("a", tool_call("{}")).await;
    assert_eq!(reply.unwrap().era, Era::Modern);
    assert_eq!(
        modern.upstream().describe(&lane("a")).await.unwrap().era,
        Era::Modern
    );
}

#[tokio::test]
async fn arguments_pass_no_shell_and_the_environment_is_cleared() {
    let bench =
        legacy_shell(r#"answer "\"$1|$CONFIGURED|${CARGO_MANIFEST_DIR-unset}|${PATH:+path}\"""#);
    assert_eq!(
        text(bench.call().await),
        r#""a b; $(exit 9) `x` 'q'|yes|unset|path""#
    );
}

#[tokio::test]
async fn junk_is_ignored_and_notices_and_pings_find_their_way() {
    let call = r#"
      token=${line#*\"progressToken\":}; token=${token%%[,\}]*}
      say 'starting up...'; say '{"level":"info"}'; say ''
      say '{"jsonrpc":"2.0","id":"p","method":"ping"}'
      IFS= read -r pong
      say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":1}}"
      say '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error"}}'
      echo noise >&2
      answer "$pong""#;
    let (reply, notices) = legacy_shell(call)
        .send("a", tool_call(r#"{"progressToken":"mine"}"#))
        .await;
    assert_eq!(text(reply), r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
    let notices: Vec<String> = notices.iter().map(notice_text).collect();
    assert_eq!(
        notices,
        [
            r#"progress {"progressToken":"mine","progress":1}"#,
            r#"log {"level":"error"}"#
        ]
    );
}

#[tokio::test]
async fn calls_in_flight_are_answered_in_any_order() {
    let call = r#"if [ "$first" ]; then answer '"second"'; id=$first; answer '"first"'; else first=$id; fi"#;
    let bench = legacy_shell(call);
    bench.upstream().describe(&lane("a")).await.unwrap();
    let (one, two) = tokio::join!(bench.call(), bench.call());
    assert_eq!(
        (text(one), text(two)),
        (r#""first""#.into(), r#""second""#.into())
    );
}

#[tokio::test]
async fn what_is_not_exactly_one_answer_breaks_the_call() {
    for (answer, expected) in [
        (
            r#"{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}"#,
            "another request",
        ),
        (
            r#"{\"jsonrpc\":\"2.0\",\"id\":\"$id\",\"result\":1}"#,
            "another request",
        ),
        (
            r#"[{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1}]"#,
            "no single message",
        ),
        (
            r#"{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":1,\"error\":{}}"#,
            "either",
        ),
        (
            r#"{\"jsonrpc\":\"2.0\",\"id\":$id,\"id\":$id,\"result\":1}"#,
            "twice",
        ),
    ] {
        let failure = legacy_shell(&format!("say \"{answer}\""))
            .call()
            .await
            .unwrap_err();
        assert!(
            matches!(&failure, UpstreamError::Broken(why) if why.contains(expected)),
            "{expected}: {failure}"
        );
    }
}

#[tokio::test]
async fn a_line_beyond_the_limit_fails_its_call_and_the_next_one_works() {
    let call = r#"if [ "$first" ]; then answer 1; else first=$id; head -c 16777300 /dev/zero | tr '\0' x; say ''; fi"#;
    let bench = legacy_shell(call);
    assert!(matches!(
        bench.call().await,
        Err(UpstreamError::TooLarge(limits::ANSWER))
    ));
    assert_eq!(text(bench.call().await), "1");
}

#[tokio::test]
async fn a_process_that_dies_breaks_its_calls_and_is_started_again_after_a_pause() {
    let bench = legacy_shell("exit 3");
    let failure = bench.call().await.unwrap_err();
    assert!(
        matches!(&failure, UpstreamError::Broken(why) if why == "the process ended" || why == "the process closed its output"),
        "{failure}"
    );
    for pause in [250, 500, 1000] {
        let failure = bench.call().await.unwrap_err();
        let expected = format!("started again in {pause} ms");
        assert!(
            matches!(&failure, UpstreamError::Unreachable(why) if why.contains(&expected)),
            "{failure}"
        );
        bench.clock.advance(Duration::from_millis(pause));
        assert!(matches!(bench.call().await, Err(UpstreamError::Broken(_))));
    }
}

#[tokio::test]
async fn what_a_process_said_before_it_ended_still_counts() {
    assert_eq!(text(legacy_shell("answer 1; exit 0").call().await), "1");
}

#[tokio::test]
async fn a_program_that_is_not_there_means_nothing_was_sent() {
    let endpoint = Endpoint::Stdio {
        command: "no-such-program-anywhere".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: None,
        instances: Instances::PerAgent,
    };
    for era in [EraChoice::Auto, EraChoice::Legacy, EraChoice::Modern] {
        let failure = Bench::new(endpoint.clone(), era).call().await.unwrap_err();
        assert!(
            matches!(&failure, UpstreamError::Unreachable(why) if why.contains("cannot be started")),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn a_server_that_exits_at_the_probe_is_legacy() {
    let exits = legacy_script("answer 1", ":").replace(
        "*'\"method\":\"server/discover\"'*)",
        "*discover*) exit 1 ;; nothing)",
    );
    let bench = shell(&exits, EraChoice::Auto, Instances::PerAgent);
    assert_eq!(
        bench.send("a", tool_call("{}")).await.0.unwrap().era,
        Era::Legacy
    );
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_with_its_id() {
    let call = r#"if [ "$cancelled" ]; then answer "$cancelled"; else
      say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$id,\"progress\":1}}"; fi"#;
    let other = r#"case $line in *cancelled*) cancelled=$line ;; esac"#;
    let bench = shell(
        &legacy_script(call, other),
        EraChoice::Legacy,
        Instances::PerAgent,
    );
    let (sender, mut receiver) = mpsc::channel::<Notice>(4);
    let upstream = bench.upstream();
    let call = tokio::spawn(async move {
        upstream
            .send(&lane("a"), tool_call(r#"{"progressToken":1}"#), &sender)
            .await
    });
    assert!(receiver.recv().await.is_some());
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(
        text(bench.call().await),
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2,"reason":"the call was given up"}}"#
    );
}

#[tokio::test]
async fn a_process_that_reads_nothing_is_ended_and_only_what_was_begun_counts_as_sent() {
    let bench = legacy_shell("answer 1; exec sleep 600");
    assert_eq!(text(bench.call().await), "1");
    let mut large = tool_call("{}");
    large.params.set(
        "arguments",
        crate::protocol::raw(format!("\"{}\"", "x".repeat(1_000_000))),
    );
    let (stuck, behind) = (bench.start("a", large), bench.start("a", tool_call("{}")));
    tokio::time::pause();
    let stuck = stuck.await.unwrap().unwrap_err();
    assert!(matches!(stuck, UpstreamError::Broken(_)), "{stuck}");
    let behind = behind.await.unwrap().unwrap_err();
    assert!(matches!(behind, UpstreamError::Unreachable(_)), "{behind}");
}

#[tokio::test]
async fn a_process_that_will_not_end_is_killed_with_what_it_started() {
    // Both ignore SIGTERM and the end of their input.
    let call = "trap '' TERM; sleep 600 & answer \"[$$,$!]\"; while :; do sleep 600; done";
    let bench = legacy_shell(call);
    let pids = text(bench.call().await);
    let (leader, child) = pids.trim_matches(['[', ']']).split_once(',').unwrap();
    tokio::time::pause();
    bench.upstreams.close().await;
    tokio::time::resume();
    until_gone(leader).await;
    until_gone(child).await;
}

#[tokio::test]
async fn what_a_process_leaves_behind_is_killed_when_it_ends() {
    let bench = legacy_shell("sleep 600 & answer $!; exit 0");
    let child = text(bench.call().await);
    until_gone(&child).await;
}

#[tokio::test]
async fn dropping_everything_kills_everything() {
    let bench = legacy_shell("sleep 600 & answer \"[$$,$!]\"");
    let pids = text(bench.call().await);
    drop(bench);
    let (leader, child) = pids.trim_matches(['[', ']']).split_once(',').unwrap();
    until_gone(leader).await;
    until_gone(child).await;
}

#[tokio::test]
async fn an_idle_process_is_ended() {
    let bench = legacy_shell("answer $$");
    let process = pid(&bench, "a").await;
    bench.clock.advance(limits::IDLE);
    tokio::time::pause();
    tokio::time::advance(limits::IDLE_CHECK).await;
    tokio::time::resume();
    until_gone(&process).await;
    assert_ne!(pid(&bench, "a").await, process);
}

#[tokio::test]
async fn a_passed_deadline_is_told_from_a_call_never_begun() {
    let bench = legacy_shell(":");
    bench.upstream().describe(&lane("a")).await.unwrap();
    let call = bench.start("a", tool_call("{}"));
    tokio::task::yield_now().await;
    tokio::time::pause();
    assert!(matches!(call.await.unwrap(), Err(UpstreamError::TimedOut)));
}

/// Asks, waits for the answer, and answers the call with it, its process and how it was opened.
const ASKS: &str = r#"say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"roots/list\"}"; IFS= read -r told; answer "[$told,$$]""#;

fn asking() -> Outgoing {
    Outgoing {
        capabilities: Object::parse(r#"{"roots":{}}"#).unwrap(),
        ..tool_call("{}")
    }
}

/// Makes a call whose agent answers what it is asked, when it is let.
async fn converse(bench: &Bench, may_answer: impl Future<Output = ()>) -> String {
    let (sender, mut receiver) = mpsc::channel(8);
    let upstream = bench.upstream();
    let agent = async {
        may_answer.await;
        while let Some(notice) = receiver.recv().await {
            if let Notice::Ask(ask) = notice {
                ask.reply.send(Ok(raw("[7]".into()))).unwrap();
            }
        }
    };
    let lane = lane("a");
    tokio::select! {
        reply = upstream.send(&lane, asking(), &sender) => text(reply),
        () = agent => "the agent ended".into(),
    }
}

#[tokio::test]
async fn a_process_may_ask_the_agent_whose_only_call_it_works_on() {
    let other = r#"case $line in *tools/list*) answer "$opened" ;; esac"#;
    let script = legacy_script(ASKS, other);
    let opens = r#"*'"method":"initialize"'*)"#;
    let script = script.replace(opens, &format!("{opens} opened=$line;"));
    let bench = shell(&script, EraChoice::Legacy, Instances::PerAgent);
    let first = converse(&bench, async {}).await;
    assert!(
        first.starts_with(r#"[{"jsonrpc":"2.0","id":"q","result":[7]},"#),
        "{first}"
    );
    let list = Outgoing {
        method: Method::ToolsList,
        ..asking()
    };
    let opened = text(bench.send("a", list).await.0);
    assert!(
        opened.contains(r#""capabilities":{"roots":{}}"#),
        "{opened}"
    );
    assert_eq!(converse(&bench, async {}).await, first, "the same process");

    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let later = async { drop(gone.await) };
    let other = async {
        let other = converse(&bench, async {}).await;
        drop(go);
        other
    };
    let (held, other) = tokio::join!(converse(&bench, later), other);
    assert_eq!(held, first);
    assert_ne!(other, first, "at the same time, another process");
}

#[tokio::test]
async fn a_process_that_is_shared_has_nobody_to_ask() {
    let script = legacy_script(ASKS, ":");
    let bench = shell(&script, EraChoice::Legacy, Instances::Shared);
    let (reply, notices) = bench.send("a", asking()).await;
    assert!(text(reply).contains("-32601"));
    assert!(notices.is_empty());
}
