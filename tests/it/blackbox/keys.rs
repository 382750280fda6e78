//! Repeats over kill -9: whoever got no answer asks again with the same key, and the server did it once at most.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::agent::{Agent, Answer};
use super::gateway::Site;
use super::records::Records;
use super::truth::Truth;
use crate::support::{Random, seed};

const CYCLES: u64 = 12;
const CALLERS: u64 = 6;

/// The longest time between two kills.
const CYCLE: Duration = Duration::from_secs(4);

fn rules(truth: &Truth, agent: &Agent) -> String {
    format!(
        "servers: {{truth: {{url: \"{}\", protocol: legacy, budgets: [100000/day]}}}}
agents: {{clawd: {{token_hash: {}, servers: [truth]}}}}
",
        truth.url(),
        agent.token_hash()
    )
}

/// A bare call whose mark is its key.
async fn call(agent: &Agent, gateway: &str, tool: &str, tag: &str, delay: u64) -> Option<Answer> {
    let params = json!({"name": tool, "arguments": {"tag": tag, "delay_ms": delay}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let request = Request::post(format!("{gateway}/mcp/truth"))
        .header("authorization", agent.bearer())
        .header("content-type", "application/json")
        .header("idempotency-key", format!("\"{tag}\""));
    agent
        .send(request.body(body.to_string().into()).unwrap())
        .await
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_is_not_made_again_and_neither_is_one_that_was_answered() {
    let truth = Truth::start().await;
    let agent = Agent::new("the-token");
    let site = Site::new(&rules(&truth, &agent));
    let gateway = site.serve(&[]).await;
    let url = gateway.url();
    let answered = call(&agent, &url, "free", "answered", 0).await.unwrap();
    assert!(answered.is_done("answered"), "{answered:?}");
    let cut_off = tokio::spawn({
        let agent = agent.clone();
        async move { call(&agent, &url, "wait", "cut-off", 0).await }
    });
    truth.executed("cut-off").await;
    gateway.kill().await;
    assert!(cut_off.await.unwrap().is_none());
    truth.let_go();

    let gateway = site.serve(&[]).await;
    let url = gateway.url();
    for (tool, tag, reason, outcome) in [
        ("free", "answered", "already_executed", "ok"),
        ("wait", "cut-off", "outcome_unknown", "gateway_stopped"),
    ] {
        let repeat = call(&agent, &url, tool, tag, 0).await.unwrap();
        assert_eq!(repeat.refusal("reason"), Some(reason), "{repeat:?}");
        assert_eq!(repeat.refusal("outcome"), Some(outcome), "{repeat:?}");
    }
    let fresh = call(&agent, &url, "free", "fresh", 0).await.unwrap();
    assert!(fresh.is_done("fresh"), "{fresh:?}");
    assert_eq!(truth.executions().len(), 3);
    gateway.stop().await.says(0, &["stopped"]);
    site.run(&["audit", "verify", "--db", "hayward.db"])
        .await
        .says(0, &[]);
}

/// What a caller knows of one of its calls in the end.
struct Asked {
    tag: String,
    /// The last answer: a result, or why there is none.
    last: Answer,
    /// Requests that brought no answer.
    lost: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_no_key_makes_a_call_twice() {
    let seed = seed();
    let truth = Truth::start().await;
    let agent = Agent::new("the-token");
    let site = Site::new(&rules(&truth, &agent));
    // The gateway that serves; none between two of them; closed when it is over.
    let (up, gateways) = watch::channel(None::<String>);
    let (progress, mut answered) = watch::channel(0_u64);
    let progress = Arc::new(progress);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (agent, gateways) = (agent.clone(), gateways.clone());
        let (progress, random) = (Arc::clone(&progress), Random::new(seed, number + 1));
        callers.spawn(persist(number, agent, random, gateways, progress));
    }
    drop(gateways);
    let mut random = Random::new(seed, 0);
    for _ in 0..CYCLES {
        let gateway = site.serve(&["--durability", "process"]).await;
        up.send_replace(Some(gateway.url()));
        let target = *answered.borrow() + random.below(60);
        drop(timeout(CYCLE, answered.wait_for(|count| *count >= target)).await);
        gateway.kill().await;
        up.send_replace(None);
    }
    let last = site.serve(&[]).await;
    up.send_replace(Some(last.url()));
    drop(up);
    let asked: Vec<Asked> = callers.join_all().await.into_iter().flatten().collect();
    last.stop().await.says(0, &["stopped"]);
    site.run(&["audit", "verify", "--db", "hayward.db"])
        .await
        .says(0, &[]);

    let mut times: HashMap<String, usize> = HashMap::new();
    for execution in truth.executions() {
        *times.entry(execution.tag).or_default() += 1;
    }
    let (mut repeated, mut unknown) = (0, 0);
    for Asked { tag, last, lost } in &asked {
        let made = times.get(tag).copied().unwrap_or(0);
        assert!(made <= 1, "{tag} was made {made} times, seed {seed}");
        match last.refusal("reason") {
            None => assert!(last.is_done(tag) && made == 1, "{tag}: {last:?}"),
            Some("already_executed") => assert_eq!(made, 1, "{tag}"),
            Some("outcome_unknown") => unknown += 1,
            Some(_) => panic!("{tag}: {last:?}, seed {seed}"),
        }
        repeated += usize::from(*lost > 0);
    }
    let records = Records::read(&site.db()).await;
    assert_eq!((records.open, records.held), (0, (0, 0)));
    let released = records.count("released");
    let made: usize = times.values().sum();
    assert!(records.count("admitted") - released >= made);
    assert!(
        repeated > 10 && unknown > 3,
        "{repeated} repeated, {unknown} unknown, seed {seed}"
    );
}

/// Makes one call after the other, each with the same key until it is known what became of it.
async fn persist(
    number: u64,
    agent: Agent,
    mut random: Random,
    mut gateways: watch::Receiver<Option<String>>,
    progress: Arc<watch::Sender<u64>>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    loop {
        let (tag, mut lost) = (format!("{number}-{}", asked.len()), 0);
        let delay = random.below(15);
        let last = loop {
            let is_over = gateways.has_changed().is_err();
            let up = gateways.wait_for(Option::is_some).await;
            let Some(url) = up.ok().and_then(|url| url.clone()) else {
                return asked;
            };
            match call(&agent, &url, "free", &tag, delay).await {
                Some(answer) if answer.refusal("reason") == Some("in_progress") => {}
                Some(answer) if answer.refusal("reason") == Some("audit_unavailable") => {}
                Some(answer) => break Some((answer, is_over)),
                None => {
                    lost += 1;
                    // Not before this gateway is known to be gone.
                    let gone = |up: &Option<String>| up.as_ref() != Some(&url);
                    if gateways.wait_for(gone).await.is_err() {
                        break None;
                    }
                }
            }
        };
        let Some((last, is_over)) = last else {
            return asked;
        };
        progress.send_modify(|count| *count += 1);
        asked.push(Asked { tag, last, lost });
        if is_over {
            return asked;
        }
    }
}
