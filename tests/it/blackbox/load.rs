//! Sixteen callers that do not stop, and what must hold of all they did whatever happens to the disk meanwhile.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::agent::Agent;
use super::gateway::{Gateway, PATIENCE, Site};
use super::records::{self, Call, Records};
use super::start::open_rules;
use super::truth::Truth;

const CALLERS: usize = 16;

/// How long a caller that was refused leaves the gateway alone.
const BREATH: Duration = Duration::from_millis(10);

/// What one caller was answered.
struct Asked {
    tag: String,
    is_done: bool,
    took: Duration,
}

/// How many answers came so far.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    done: usize,
    refused: usize,
}

/// A gateway under load.
pub(super) struct Load {
    pub(super) site: Site,
    pub(super) gateway: Gateway,
    truth: Arc<Truth>,
    pub(super) agent: Agent,
    callers: JoinSet<Vec<Asked>>,
    count: Arc<watch::Sender<Count>>,
    over: watch::Sender<bool>,
}

impl Load {
    /// The rules of these trials: one agent, one server.
    pub(super) fn rules(truth: &Truth) -> String {
        open_rules(truth, &agent())
    }

    /// Starts a gateway with these variables, and the callers.
    pub(super) async fn start(site: Site, truth: Arc<Truth>, variables: &[(&str, &str)]) -> Self {
        let gateway = site.serve_with(&[], variables).await;
        let mut load = Self {
            gateway,
            site,
            truth,
            agent: agent(),
            callers: JoinSet::new(),
            count: Arc::new(watch::Sender::new(Count::default())),
            over: watch::Sender::new(false),
        };
        for number in 0..CALLERS {
            let (agent, url) = (load.agent.clone(), load.gateway.url());
            let (count, over) = (Arc::clone(&load.count), load.over.subscribe());
            load.callers.spawn(call_on(number, agent, url, count, over));
        }
        load.until_done(100).await;
        load
    }

    /// Waits until so many more calls were let through and answered.
    pub(super) async fn until_done(&self, more: usize) {
        let enough = self.count.borrow().done + more;
        self.until("calls go through", |count| count.done >= enough)
            .await;
    }

    /// Waits until so many more calls were refused, because nothing can be recorded.
    pub(super) async fn until_refused(&self, more: usize) {
        let enough = self.count.borrow().refused + more;
        self.until("calls are refused", |count| count.refused >= enough)
            .await;
    }

    async fn until(&self, what: &str, enough: impl FnMut(&Count) -> bool) {
        let mut count = self.count.subscribe();
        let waited = timeout(PATIENCE, count.wait_for(enough)).await;
        assert!(waited.is_ok(), "never: {what}: {:?}", *self.count.borrow());
    }

    /// Waits until `/health` has this status.
    pub(super) async fn until_health(&self, status: u16) {
        let health = format!("{}/health", self.gateway.url());
        let asking = async {
            loop {
                let request = hyper::Request::get(&health).body("".into()).unwrap();
                let answer = self.agent.send(request).await.expect("it answers");
                if answer.status == status {
                    let word = ["unhealthy", "healthy"][usize::from(status == 200)];
                    assert_eq!(answer.body["status"], word, "{answer:?}");
                    return;
                }
                sleep(BREATH).await;
            }
        };
        let waited = timeout(PATIENCE, asking).await;
        assert!(waited.is_ok(), "/health never says {status}");
    }

    /// While nothing can be recorded: whatever the server was made to do stands in the file as admitted by now.
    pub(super) async fn nothing_passes_unrecorded(&self, file: Option<&Path>) {
        self.until_health(503).await;
        self.until_refused(2 * CALLERS).await;
        let executed = self.truth.executions();
        let file = match file {
            Some(file) => file.into(),
            None => self.log().await,
        };
        let mut reader = records::open(&file, false).await;
        let admitted = "SELECT json_extract(meta, '$.client') FROM event
            WHERE kind = 'admitted' AND json_extract(meta, '$.method') = 'tools/call'";
        let admitted: Vec<Option<String>> = sqlx::query_scalar(admitted)
            .fetch_all(&mut reader)
            .await
            .unwrap();
        let admitted: HashSet<String> = admitted.into_iter().flatten().collect();
        for execution in executed {
            let tag = execution.tag;
            assert!(admitted.contains(&tag), "{tag} was let through unrecorded");
        }
    }

    /// The log, as it stands at one moment.
    pub(super) async fn log(&self) -> PathBuf {
        // What is copied may not be written meanwhile.
        self.gateway.signal("STOP").await;
        let status = format!("/proc/{}/status", self.gateway.pid());
        let stopping = async {
            while !std::fs::read_to_string(&status)
                .unwrap()
                .contains("T (stopped)")
            {
                sleep(BREATH).await;
            }
        };
        timeout(PATIENCE, stopping).await.expect("it stands still");
        let log = self.site.log();
        self.gateway.signal("CONT").await;
        log
    }

    /// Stops callers and gateway, in this order, and looks at what they left.
    pub(super) async fn finish(self) {
        let Self {
            site,
            gateway,
            truth,
            callers,
            over,
            ..
        } = self;
        over.send_replace(true);
        let asked: Vec<Asked> = callers.join_all().await.into_iter().flatten().collect();
        gateway.stop().await.says(0, &["stopped"]);
        let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
        verified.says(0, &[]);
        let records = Records::read(&site.log()).await;
        check(&records, &asked, &truth);
        let refused = asked.iter().filter(|asked| !asked.is_done);
        let slowest = refused.map(|asked| asked.took).max();
        // For whoever measures: no test is decided by it.
        let counts = (asked.len(), truth.executions().len(), slowest);
        eprintln!("calls, executions, slowest refusal: {counts:?}");
    }
}

fn agent() -> Agent {
    Agent::new("a-token-under-load")
}

/// Calls again and again; every answer is that it was done, or that nothing can be recorded.
async fn call_on(
    number: usize,
    agent: Agent,
    url: String,
    count: Arc<watch::Sender<Count>>,
    over: watch::Receiver<bool>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    while !*over.borrow() {
        let tag = format!("{number}-{}", asked.len());
        let began = Instant::now();
        let answer = agent.call(&url, "truth", "echo", json!({"tag": tag})).await;
        let answer = answer.expect("the gateway is there and answers");
        let is_done = answer.is_done(&tag);
        if !is_done {
            let reason = answer.refusal("reason");
            assert_eq!(reason, Some("audit_unavailable"), "{answer:?}");
        }
        let took = began.elapsed();
        asked.push(Asked { tag, is_done, took });
        count.send_modify(|count| {
            count.done += usize::from(is_done);
            count.refused += usize::from(!is_done);
        });
        if !is_done {
            sleep(BREATH).await;
        }
    }
    asked
}

fn check(records: &Records, asked: &[Asked], truth: &Truth) {
    assert_eq!((records.open, records.held), (0, (0, 0)));
    let calls = records.calls();
    let of_agents = calls.values().filter(|call| {
        call.opening.kind == "admitted" && call.opening.meta["method"] == "tools/call"
    });
    let admitted: HashMap<&str, &Call> = of_agents
        .map(|call| (call.opening.meta["client"].as_str().unwrap(), call))
        .collect();
    let mut executed = HashSet::new();
    for execution in truth.executions() {
        let call = admitted.get(execution.tag.as_str());
        let call = call.unwrap_or_else(|| panic!("{} has no event", execution.tag));
        assert_ne!(call.closings, ["released"], "{} was done", execution.tag);
        assert!(executed.insert(execution.tag), "it was done once");
    }
    for call in admitted.values() {
        assert_eq!(call.closings.len(), 1, "{call:?}");
    }
    for Asked { tag, is_done, .. } in asked {
        assert_eq!(executed.contains(tag), *is_done, "{tag}");
        if *is_done {
            assert_eq!(admitted[tag.as_str()].closings, ["settled"], "{tag}");
        }
    }
}
