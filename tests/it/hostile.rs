//! Servers that do what no server should, on every transport: whatever it is, the agent whose call it was gets exactly
//! one answer, the call is closed once and paid for, what is read has an end, and nobody else notices.

mod server;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use self::server::Hostile;
use super::support::{Reply, Sending, Session, World, find, rpc, soon};

const MIB: usize = 1024 * 1024;
/// What may lie in buffers between the server and who reads it.
const UNDERWAY: usize = 14 * MIB;
/// How many requests of a server are answered during one call.
const MOST_ANSWERED: usize = 32;
/// Longer than the gateway waits before it starts a process again.
const A_PAUSE: Duration = Duration::from_secs(60);

/// How a server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// Streamable HTTP, 2026-07-28.
    Modern,
    /// Streamable HTTP with sessions.
    Sessions,
    /// 2024-11-05: one stream for everything.
    Old,
    /// A child process.
    Child,
}

/// What comes of a misdeed: the outcome in the log, and words of the answer.
type Fate = (&'static str, &'static str);

/// The misdeed concerns nobody.
const ANSWERED: Fate = ("ok", "done");
const BROKEN: Fate = ("broken", "broke off or answered unreadably");
const LATE: Fate = ("timed_out", "did not answer in time");
const LARGE: Fate = ("too_large", "answered with more than");

/// What a server does (the name of its tool), and what comes of it, by transport.
const MISDEEDS: [(&str, [Fate; 4]); 12] = [
    ("wrong_id", [BROKEN; 4]),
    ("id_as_text", [BROKEN; 4]),
    ("two_answers", [BROKEN, BROKEN, ANSWERED, ANSWERED]),
    ("batch", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("no_json", [BROKEN, BROKEN, BROKEN, LATE]),
    ("endless_progress", [LARGE, LARGE, LATE, LATE]),
    ("endless_line", [LARGE, LARGE, BROKEN, LARGE]),
    ("endless_body", [LARGE, LARGE, BROKEN, LARGE]),
    ("own_requests", [ANSWERED; 4]),
    ("closes", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("closes_at_once", [BROKEN, BROKEN, BROKEN, BROKEN]),
    ("silence", [LATE, LATE, LATE, LATE]),
];

/// The same server twice: once with much time for its answers, once with little.
fn policy(place: &str) -> String {
    format!(
        "defaults: {{timezone: UTC}}
servers:
  patient: {{{place}, timeout: 50s, budgets: [{{limit: 1000/day, each: agent}}]}}
  brief: {{{place}, timeout: 2s, budgets: [{{limit: 1000/day, each: agent}}]}}
agents:
  clawd: {{token_hash: \"@clawd\", servers: [\"*\"]}}
  other: {{token_hash: \"@other\", servers: [\"*\"]}}
"
    )
}

/// One call of clawd, bare or in its session, while the other agent has a call at the same server.
struct Trial<'a> {
    world: &'a World,
    clawd: &'a Session,
    other: &'a Session,
}

impl Trial<'_> {
    /// Commits a misdeed; what the agent reads has exactly one answer with these words.
    async fn commit(&self, misdeed: &str, (outcome, words): Fate, in_session: bool) {
        let server = if outcome == LATE.0 {
            "brief"
        } else {
            "patient"
        };
        self.until_well(server, misdeed).await;
        let call = rpc(
            "tools/call",
            &json!({"name": format!("{server}__{misdeed}")}),
        );
        let sending = match in_session {
            true => self.clawd.post(call),
            false => self.world.agent("clawd").post("/mcp", call),
        };
        let meanwhile = json!({"name": format!("{server}__good")});
        let meanwhile = self.other.post(rpc("tools/call", &meanwhile));
        let (reply, meanwhile) = tokio::join!(send(sending), send(meanwhile));
        assert_eq!(text(&meanwhile), "done", "{misdeed}: {meanwhile:?}");
        assert_eq!(reply.status, 200, "{misdeed}: {reply:?}");
        let text = text(&reply);
        assert!(text.contains(words), "{misdeed} {outcome}: {text}");
    }

    /// Waits until clawd is served there: what went wrong before may have ended a process, which is not started again
    /// at once.
    async fn until_well(&self, server: &str, misdeed: &str) {
        let good = rpc("tools/call", &json!({"name": format!("{server}__good")}));
        soon(&format!("a good answer before {misdeed}"), async {
            while text(&self.clawd.post(&*good).send().await) != "done" {
                self.world.clock().advance(A_PAUSE);
            }
        })
        .await;
    }
}

/// Sends a call until it is recorded; on a busy machine the log is not always written in time.
async fn send(sending: Sending) -> Reply {
    loop {
        let reply = sending.clone().send().await;
        if !reply.body.contains("audit_unavailable") {
            return reply;
        }
    }
}

/// The text of the only answer there is.
fn text(reply: &Reply) -> String {
    let messages = reply.messages();
    let answers: Vec<&Value> = messages
        .iter()
        .filter(|message| message["id"] == 1)
        .collect();
    assert_eq!(answers.len(), 1, "one answer: {reply:?}");
    let is_notice = |message: &&Value| message["method"].is_string() && message["id"].is_null();
    assert_eq!(
        messages.iter().filter(is_notice).count() + 1,
        messages.len(),
        "{reply:?}"
    );
    let text = answers[0]["result"]["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {reply:?}"))
        .to_owned()
}

/// Commits every misdeed, and reads in the log what came of it.
async fn commit_all(transport: Transport, place: &str) {
    let world = World::builder().start(&policy(place)).await;
    let trial = Trial {
        world: &world,
        clawd: &world.agent("clawd").session("/mcp", "2025-11-25").await,
        other: &world.agent("other").session("/mcp", "2025-11-25").await,
    };
    let column = [
        Transport::Modern,
        Transport::Sessions,
        Transport::Old,
        Transport::Child,
    ];
    let column = column.iter().position(|one| *one == transport).unwrap();
    let mut expected: HashMap<&str, Vec<&str>> = HashMap::new();
    for (misdeed, fates) in MISDEEDS {
        let fate = fates[column];
        // What takes its time needs not take it twice.
        let ways: &[bool] = if fate == LATE {
            &[false]
        } else {
            &[false, true]
        };
        for in_session in ways {
            trial.commit(misdeed, fate, *in_session).await;
            expected.entry(misdeed).or_default().push(fate.0);
        }
    }
    let stopped = world.stop().await;
    let events = super::support::events(&stopped.file).await;
    for (misdeed, expected) in expected {
        let of_misdeed = |kind| {
            let of_kind = find(&events, kind).into_iter();
            of_kind
                .filter(|event| event.text("tool") == misdeed)
                .collect::<Vec<_>>()
        };
        let closed = [of_misdeed("settled"), of_misdeed("failed")].concat();
        let outcomes: Vec<&str> = closed.iter().map(|event| event.text("outcome")).collect();
        assert_eq!(outcomes, expected, "{misdeed}");
        assert_eq!(of_misdeed("admitted").len(), expected.len(), "{misdeed}");
        for event in closed {
            assert_eq!(
                event.meta["budgets"][0]["charged"], 1,
                "{misdeed}: {event:?}"
            );
        }
    }
}

async fn over_http(transport: Transport, protocol: &str) {
    let server = Hostile::start(transport).await;
    commit_all(
        transport,
        &format!("url: \"{}\", protocol: {protocol}", server.url()),
    )
    .await;
    let taken = server.taken.lock().unwrap();
    for (misdeed, limit) in [
        ("endless_line", 16),
        ("endless_body", 16),
        ("endless_progress", 64),
    ] {
        // On the stream of everything there is no end but that of the call, which is not one of the stream.
        if transport == Transport::Old && misdeed == "endless_progress" {
            continue;
        }
        let most = limit * MIB + UNDERWAY;
        assert!(
            taken[misdeed] <= most,
            "{misdeed}: {} bytes",
            taken[misdeed]
        );
    }
    let answered = server.answered.load(Ordering::SeqCst);
    // Where everything is on one stream, so many may wait to be answered; a quick server gets more.
    if transport != Transport::Old {
        assert!(
            answered <= 2 * MOST_ANSWERED,
            "{answered} of its requests were answered"
        );
    }
}

#[tokio::test]
async fn whatever_a_server_of_2026_does_hurts_only_its_call() {
    over_http(Transport::Modern, "modern").await;
}

#[tokio::test]
async fn whatever_a_server_with_sessions_does_hurts_only_its_call() {
    over_http(Transport::Sessions, "legacy").await;
}

#[tokio::test]
async fn whatever_a_server_of_the_old_transport_does_hurts_only_its_call() {
    over_http(Transport::Old, "sse").await;
}

#[tokio::test]
async fn whatever_a_child_process_does_hurts_only_its_call() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile/child.sh");
    let place = format!("command: /bin/sh, args: [\"{path}\"], protocol: legacy");
    commit_all(Transport::Child, &place).await;
}
