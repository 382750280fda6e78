//! Two agents that do everything alike, at the same time: neither ever gets a byte of what is the other's, and what
//! was given to one is nothing to the other.

use std::io::Write;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::support::{
    Client, FakeUpstream, Random, Reply, Sending, Session, World, find, rpc, seed,
};

/// The agents; each writes its name into everything it sends.
const AGENTS: [&str; 2] = ["amber", "cobalt"];

/// Each agent comes in every way a client can, so often at once.
const LANES: usize = 4;

/// Calls of one lane: more than ten thousand in all.
const CALLS: u64 = 420;

const SERVERS: [&str; 4] = ["old", "plain", "new", "pipe"];

const POLICY: &str = r#"
servers:
  old: {url: "@old"}
  plain: {url: "@plain"}
  new: {url: "@new"}
  pipe: {command: "/bin/sh", args: ["SCRIPT"]}
agents:
  amber: {token_hash: "@amber", servers: ["*"]}
  cobalt: {token_hash: "@cobalt", servers: ["*"]}
"#;

/// A child process of 2026-07-28, which all agents share: says the marker of the call in a notice of each kind and in
/// its answer.
const PIPE: &str = r#"
say() { printf '%s\n' "{\"jsonrpc\":\"2.0\",$1}"; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  marker=${line#*\"marker\":\"}; marker=${marker%%\"*}
  token=${line#*\"progressToken\":}; token=${token%%[,\}]*}
  case $line in
    *'"method":"server/discover"'*)
      say "\"id\":$id,\"result\":{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}}}" ;;
    *'"method":"tools/call"'*)
      case $line in
        *'"progressToken"'*)
          say "\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$token,\"progress\":1,\"message\":\"$marker\"}" ;;
      esac
      say "\"id\":$id,\"result\":{\"resultType\":\"complete\",\"content\":[],\"structuredContent\":{\"marker\":\"$marker\"}}" ;;
  esac
done
"#;

async fn world(script: &NamedTempFile) -> World {
    let policy = POLICY.replace("SCRIPT", script.path().to_str().unwrap());
    World::builder()
        .server("old", FakeUpstream::legacy())
        .server("plain", FakeUpstream::sessionless())
        .server("new", FakeUpstream::modern())
        .start(&policy)
        .await
}

fn script() -> NamedTempFile {
    let mut script = NamedTempFile::new().unwrap();
    script.write_all(PIPE.as_bytes()).unwrap();
    script
}

/// One client of an agent, which makes one call after the other.
struct Lane {
    agent: &'static str,
    /// What no other lane writes into its calls.
    name: String,
    client: Client,
    way: Way,
    random: Random,
}

enum Way {
    /// Bare, with the label that everybody uses.
    Bare,
    Session(Box<Session>),
    Modern,
}

/// What its client does with a call.
enum Fate {
    Finish,
    /// Leaves in the middle of it, after so many turns of the scheduler.
    HangUp(u64),
    /// Cancels it and reads on.
    Cancel,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_ten_thousand_calls_of_two_agents_nothing_of_one_reaches_the_other() {
    let script = script();
    let mut world = world(&script).await;
    world.let_clients_leave();
    let mut lanes = Vec::new();
    for agent in AGENTS {
        for number in 0..LANES {
            let client = world.agent(agent);
            let session = client.session("/mcp", "2025-11-25").await;
            for way in [Way::Bare, Way::Session(Box::new(session)), Way::Modern] {
                lanes.push(Lane {
                    agent,
                    name: format!("{agent}-{}", lanes.len()),
                    client: client.clone(),
                    way,
                    // The same numbers for the lanes of both agents, so that they do the same.
                    random: Random::new(seed(), u64::try_from(number).unwrap()),
                });
            }
        }
    }
    let walks = lanes
        .into_iter()
        .map(|lane| tokio::spawn(lane.walk()))
        .collect::<Vec<_>>();
    let finished: u64 = join_all(walks).await.into_iter().map(Result::unwrap).sum();

    let begun = u64::try_from(AGENTS.len() * LANES * 3).unwrap() * CALLS;
    assert!(begun > 10_000 && finished > begun * 8 / 10, "{finished}");
    let stopped = world.stop().await;
    let events = super::support::events(&stopped.file).await;
    assert!(find(&events, "admitted").len() as u64 > finished);
}

impl Lane {
    /// Makes its calls; yields how many were answered.
    async fn walk(mut self) -> u64 {
        let mut finished = 0;
        for number in 0..CALLS {
            // Every lane uses the same ids and tokens; every second one is a text.
            let id = match self.random.below(2) {
                0 => json!(number),
                _ => json!(number.to_string()),
            };
            let marker = format!("{}-{number};", self.name);
            let sending = self.sending(&id, &marker);
            let sending = sending.with_id(&id);
            let fate = match self.random.below(20) {
                0 => Fate::HangUp(self.random.below(60)),
                1 => Fate::Cancel,
                _ => Fate::Finish,
            };
            let answered = match (fate, &self.way) {
                (Fate::HangUp(turns), _) => tokio::select! {
                    reply = sending.send() => Some(reply),
                    () = take(turns) => None,
                },
                (Fate::Cancel, Way::Session(session)) => {
                    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                        "params": {"requestId": id}});
                    let cancelling = session.post(cancelled.to_string()).send();
                    let (reply, cancelled) = tokio::join!(sending.send(), cancelling);
                    assert_eq!(cancelled.status, 202);
                    self.assert_own(&reply.body, &marker);
                    // It may have been too late, and then it is answered.
                    None
                }
                (Fate::Cancel | Fate::Finish, _) => Some(sending.send().await),
            };
            // On a busy machine the log is not always written in time; then nothing was done.
            let answered = answered.filter(|reply| !reply.body.contains("audit_unavailable"));
            if let Some(reply) = answered {
                self.assert_answered(&reply, &id, &marker);
                finished += 1;
            }
        }
        finished
    }

    fn sending(&mut self, id: &Value, marker: &str) -> Sending {
        let server = SERVERS[usize::try_from(self.random.below(4)).unwrap()];
        let params = json!({
            "name": format!("{server}__anything"),
            "arguments": {"do": "chatter", "marker": marker,
                "says": self.random.below(3), "turns": self.random.below(8)},
            "_meta": {"progressToken": id, "io.modelcontextprotocol/logLevel": "debug"},
        });
        match &self.way {
            Way::Bare => {
                let body = rpc("tools/call", &params);
                self.client.post("/mcp", body).header("x-session-id", "run")
            }
            Way::Session(session) => session.post(rpc("tools/call", &params)),
            Way::Modern => self.client.modern("/mcp", "tools/call", params),
        }
    }

    /// Whatever it is, it is of this call.
    fn assert_own(&self, body: &str, marker: &str) {
        for agent in AGENTS {
            for (at, _) in body.match_indices(agent) {
                let is_own = agent == self.agent && body[at..].starts_with(marker);
                assert!(is_own, "{marker} was answered {body}");
            }
        }
    }

    fn assert_answered(&self, reply: &Reply, id: &Value, marker: &str) {
        assert_eq!(reply.status, 200, "{marker}: {reply:?}");
        self.assert_own(&reply.body, marker);
        let mut messages = reply.messages();
        let answer = messages.pop().unwrap();
        assert_eq!(&answer["id"], id, "{marker}: {reply:?}");
        let result = &answer["result"];
        assert_eq!(result["structuredContent"]["marker"], marker, "{reply:?}");
        for notice in messages {
            assert_eq!(notice.get("id"), None, "{marker}: {reply:?}");
            if notice["method"] == "notifications/progress" {
                assert_eq!(&notice["params"]["progressToken"], id, "{reply:?}");
            }
        }
    }
}

/// Lets others go first, so often.
async fn take(turns: u64) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// What there is to say of an answer but for ids, which differ from call to call.
fn without_ids(reply: &Reply) -> (u16, Vec<String>, String) {
    let mut body = String::new();
    let is_of_id = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    let mut rest = reply.body.as_str();
    while let Some(start) = rest.find(is_of_id) {
        let length = rest[start..].find(|letter| !is_of_id(letter));
        let word = &rest[start..start + length.unwrap_or(rest.len() - start)];
        body.push_str(&rest[..start]);
        body.push_str(if word.len() >= 16 { "#" } else { word });
        rest = &rest[start + word.len()..];
    }
    body.push_str(rest);
    let mut headers: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    (reply.status, headers, body)
}

/// Everything that was given to one agent is to the other what nobody was given.
#[tokio::test]
async fn what_one_agent_was_given_is_unknown_to_the_other() {
    let script = script();
    let world = world(&script).await;
    let (amber, cobalt) = (world.agent("amber"), world.agent("cobalt"));
    let session = amber.session("/mcp", "2025-11-25").await.id;
    let elicit = json!({"name": "elicit", "arguments": {}});
    let call = |agent: &Client, params: Value| {
        let can = json!({"elicitation": {}});
        agent.modern_that_can("/mcp/new", "tools/call", params, can)
    };
    let asked = call(&amber, elicit.clone()).send().await.json();
    let state = asked["result"]["requestState"].as_str();
    let state = state
        .unwrap_or_else(|| panic!("no state: {asked}"))
        .to_owned();

    let with_session = |method: &'static str| {
        let cobalt = cobalt.clone();
        move |id: &str| {
            let sending = match method {
                "POST" => cobalt.post("/mcp", rpc("tools/list", &json!({}))),
                _ => cobalt
                    .request(method, "/mcp")
                    .header("accept", "text/event-stream"),
            };
            sending.header("mcp-session-id", id)
        }
    };
    let with_state = |state: &str| {
        let mut params = elicit.clone();
        params["requestState"] = state.into();
        params["inputResponses"] = json!({"name": {"action": "decline"}});
        call(&cobalt, params)
    };
    type Use<'a> = Box<dyn Fn(&str) -> Sending + 'a>;
    let table: [(&str, &str, Use<'_>); 4] = [
        (
            "a session, to post in",
            &session,
            Box::new(with_session("POST")),
        ),
        (
            "a session, to listen in",
            &session,
            Box::new(with_session("GET")),
        ),
        (
            "a session, to end",
            &session,
            Box::new(with_session("DELETE")),
        ),
        ("a state", &state, Box::new(with_state)),
    ];
    for (what, handle, using) in &table {
        let foreign = using(handle).send().await;
        let mut unknown: Vec<char> = handle.chars().collect();
        let last = unknown.last_mut().unwrap();
        *last = if *last == '0' { '1' } else { '0' };
        let unknown: String = unknown.into_iter().collect();
        let unknown = using(&unknown).send().await;
        assert!(foreign.status >= 400, "{what}: {foreign:?}");
        assert_eq!(without_ids(&foreign), without_ids(&unknown), "{what}");
    }
    // And all of it is still there for whom it was given to.
    let ping = amber.post("/mcp", rpc("ping", &json!({})));
    assert_eq!(
        ping.header("mcp-session-id", &session).send().await.status,
        200
    );
    let mut params = elicit.clone();
    params["requestState"] = state.into();
    params["inputResponses"] = json!({"name": {"action": "decline"}});
    let done = call(&amber, params).send().await;
    assert_eq!(
        done.json()["result"]["content"][0]["text"],
        "done",
        "{done:?}"
    );
    world.stop().await;
}
