//! The rules change back and forth under load: no call is decided by half a file, no use of a budget is lost, no child
//! process is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::agent::Agent;
use super::gateway::{Gateway, PATIENCE, Site};
use super::records::Records;
use super::truth::Truth;

/// How often the rules change where HAYWARD_TEST_RELOADS says nothing else.
const RELOADS: usize = 60;

const CALLERS: usize = 6;

/// Calls of the tight tool there are, under either rules.
const TIGHT: usize = 25;

/// The pause between two looks at something that is bound to happen.
const BREATH: Duration = Duration::from_millis(3);

/// Which tool the rules allow; the other one is forbidden.
const TOOLS: [&str; 2] = ["odd", "even"];

struct Bench {
    site: Site,
    gateway: Gateway,
    agent: Agent,
    truth: Arc<Truth>,
}

impl Bench {
    /// The rules of which these are the ones with this number. `steady` is the same in both, `moving` is not.
    fn rules(&self, number: usize) -> String {
        rules(
            &self.truth,
            &self.agent,
            self.site.path("").as_path(),
            number,
        )
    }

    async fn health(&self) -> Value {
        let url = format!("{}/health", self.gateway.url());
        let request = hyper::Request::get(url).body("".into()).unwrap();
        self.agent.send(request).await.expect("it answers").body
    }

    /// Puts a file in place in one step, asks for it to be read, and waits until `/health` says what is expected.
    async fn put(&self, text: &str, is_so: impl Fn(&Value) -> bool) {
        let (new, path) = (
            self.site.path("new.yaml"),
            self.site.path("permissions.yaml"),
        );
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, path).unwrap();
        self.gateway.signal("HUP").await;
        let waiting = async {
            while !is_so(&self.health().await) {
                sleep(BREATH).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{text}\n{}", self.health().await);
    }
}

fn rules(truth: &Truth, agent: &Agent, site: &Path, number: usize) -> String {
    let (url, hash, program) = (
        truth.url(),
        agent.token_hash(),
        env!("CARGO_BIN_EXE_hayward"),
    );
    let [allowed, forbidden] = [TOOLS[number % 2], TOOLS[(number + 1) % 2]];
    let site = site.display();
    format!(
        "defaults: {{timezone: UTC}}
servers:
  truth:
    url: '{url}'
    budgets: [{{limit: \"{TIGHT} total\", tools: [tight]}}, \"1000000 total\"]
  steady: {{command: '{program}', args: [example-server, notes], env: {{MARK: '{site}'}}}}
  moving: {{command: '{program}', args: [example-server, notes], env: {{MARK: '{site}', NUMBER: '{}'}}}}
deny: ['truth/{forbidden}']
agents:
  a: {{token_hash: '{hash}', servers: [{{server: truth, tools: [{allowed}, tight]}}, steady, moving]}}
",
        number % 2
    )
}

fn revision(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Child processes of this site that are there now, by number.
fn children(site: &Site) -> BTreeSet<u32> {
    let mark = format!("MARK={}", site.path("").display());
    let numbers = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse::<u32>().ok()?;
        // Some are gone by now, some belong to others.
        let variables = std::fs::read(format!("/proc/{number}/environ")).ok()?;
        let mut variables = variables.split(|byte| *byte == 0);
        variables
            .any(|variable| variable == mark.as_bytes())
            .then_some(number)
    });
    numbers.collect()
}

async fn until_children(site: &Site, number: usize) -> BTreeSet<u32> {
    let waiting = async {
        loop {
            let children = children(site);
            if children.len() == number {
                return children;
            }
            sleep(BREATH * 10).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("{:?} are there, not {number}", children(site)))
}

/// Calls everything there is, again and again.
async fn call_on(number: usize, agent: Agent, url: String, over: watch::Receiver<bool>) -> usize {
    let targets = [
        ("truth", TOOLS[0]),
        ("truth", TOOLS[1]),
        ("steady", "search"),
        ("moving", "search"),
        ("truth", "tight"),
    ];
    let mut count = number;
    while !*over.borrow() {
        let (server, tool) = targets[count % targets.len()];
        let arguments = json!({"tag": format!("{number}-{count}"), "query": "budget"});
        let answer = agent.call(&url, server, tool, arguments).await;
        let answer = answer.expect("the gateway is there and answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        count += 1;
    }
    count - number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_change_all_the_time_are_each_whole() {
    let reloads = std::env::var_os("HAYWARD_TEST_RELOADS");
    let reloads = reloads.map_or(RELOADS, |number| number.to_str().unwrap().parse().unwrap());
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-through-all-rules");
    let site = Site::new("");
    let first = rules(&truth, &agent, site.path("").as_path(), 0);
    site.write_policy(&first);
    let gateway = site.serve(&["--durability", "process"]).await;
    let bench = Bench {
        site,
        gateway,
        agent,
        truth,
    };

    let (over, is_over) = watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (agent, url) = (bench.agent.clone(), bench.gateway.url());
        callers.spawn(call_on(number, agent, url, is_over.clone()));
    }
    bench.truth.reached(50).await;
    let before = children(&bench.site);
    for number in 1..=reloads {
        if number % 10 == 0 {
            let half = bench.rules(number);
            let half = &half[..half.len() * 2 / 3];
            bench
                .put(half, |health| health["policy"]["error"].is_string())
                .await;
        }
        let text = bench.rules(number);
        let wanted = revision(&text);
        let is_in_force = |health: &Value| {
            let policy = &health["policy"];
            policy["revision"] == wanted.as_str() && policy["error"].is_null()
        };
        bench.put(&text, is_in_force).await;
        bench
            .truth
            .reached(bench.truth.executions().len() + 2)
            .await;
    }
    over.send_replace(true);
    let calls: usize = callers.join_all().await.into_iter().sum();
    for server in ["steady", "moving"] {
        let arguments = json!({"tag": "last", "query": "budget"});
        let url = bench.gateway.url();
        let answer = bench.agent.call(&url, server, "search", arguments).await;
        assert_eq!(answer.unwrap().refusal("reason"), None);
    }
    // One of each server; what came before the last change is gone.
    let left = until_children(&bench.site, 2).await;
    let stayed: Vec<&u32> = before.intersection(&left).collect();
    assert_eq!(stayed.len(), 1, "{before:?} {left:?}");

    let Bench {
        site,
        gateway,
        truth,
        ..
    } = bench;
    gateway
        .stop()
        .await
        .says(0, &["new rules are in force", "not in order"]);
    assert_eq!(children(&site), BTreeSet::new());
    let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
    verified.says(0, &[]);
    let budgets = site.run(&["budget", "verify", "--db", "hayward.db"]).await;
    budgets.says(0, &[]);
    let records = Records::read(&site.db()).await;
    check_decisions(&records);
    check_budget(&records, &truth);
    eprintln!(
        "{reloads} reloads, {calls} calls, {} executions",
        truth.executions().len()
    );
}

#[tokio::test]
async fn the_log_names_the_commit_and_the_signal_reads_both_files() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-commit");
    let (url, hash) = (truth.url(), agent.token_hash());
    let text = |allowed: &str| {
        format!(
            "servers: {{truth: {{url: '{url}'}}}}\nagents: {{a: {{token_hash: '{hash}', servers: [{{server: truth, tools: [{allowed}]}}]}}}}\n"
        )
    };
    let site = Site::new(&text("odd"));
    let commit = "0123456789abcdef0123456789abcdef01234567";
    std::fs::create_dir(site.path(".git")).unwrap();
    std::fs::write(site.path(".git/HEAD"), commit).unwrap();
    std::fs::write(site.path("next.yaml"), "agents: [").unwrap();
    let shadow = ["--shadow", "next.yaml"];
    site.serve_in_vain(&shadow).await.says(3, &["next.yaml:1:"]);
    std::fs::write(site.path("next.yaml"), text("even")).unwrap();
    let gateway = site
        .serve_with(&shadow, &[("HAYWARD_POLICY_REVISION", "v1.2")])
        .await;
    let bench = Bench {
        site,
        gateway,
        agent,
        truth,
    };
    let call = async |tool: &str| {
        let url = bench.gateway.url();
        let answer = bench
            .agent
            .call(&url, "truth", tool, json!({"tag": tool}))
            .await;
        answer.unwrap().is_done(tool)
    };
    assert!(call("odd").await && !call("even").await);
    let health = bench.health().await;
    assert_eq!(health["policy"]["commit"], "v1.2");
    assert_eq!(health["shadow"]["would_deny"], 1, "{health}");
    assert_eq!(health["shadow"]["would_allow"], 1, "{health}");
    // What was said of the first rules is not said of others; the shadow comes along.
    std::fs::write(bench.site.path("next.yaml"), text("odd, even")).unwrap();
    let next = text("even");
    let is_new = |health: &Value| health["policy"]["revision"] == revision(&next).as_str();
    bench.put(&next, is_new).await;
    let health = bench.health().await;
    assert_eq!(health["policy"]["commit"], commit);
    assert_eq!(health["shadow"]["revision"], revision(&text("odd, even")));
    assert!(!call("odd").await && call("even").await);
    let Bench { site, gateway, .. } = bench;
    gateway
        .stop()
        .await
        .says(0, &["shadow     next.yaml", "new rules are compared with"]);
    let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
    verified.says(0, &[]);
    let records = Records::read(&site.db()).await;
    let policies = records.events.iter().filter(|event| event.kind == "policy");
    let commits: Vec<&Value> = policies.map(|event| &event.meta["commit"]).collect();
    assert_eq!(
        commits,
        ["v1.2", "v1.2", commit],
        "at the start, with the shadow, and new"
    );
}

#[tokio::test]
async fn rules_wait_for_a_log_that_can_name_them() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-patience");
    let site = Site::new("");
    let text = |number| rules(&truth, &agent, site.path("").as_path(), number);
    let (first, second) = (text(0), text(1));
    site.write_policy(&first);
    let mut gateway = site.serve(&[]).await;
    let files = ["hayward.db", "hayward.db-wal", "hayward.db-shm"];
    let move_all = |site: &Site, from: &str, to: &str| {
        std::fs::create_dir_all(site.path(to)).unwrap();
        for name in files {
            let (from, to) = (site.path(from).join(name), site.path(to).join(name));
            if from.exists() {
                std::fs::rename(from, to).unwrap();
            }
        }
    };
    move_all(&site, ".", "away");
    gateway.line("the log cannot be written").await;
    let bench = Bench {
        site,
        gateway,
        agent,
        truth: Arc::clone(&truth),
    };
    let waits = |health: &Value| {
        let why = health["policy"]["error"].as_str().unwrap_or_default();
        why.contains("cannot be written")
            && health["policy"]["revision"] == revision(&first).as_str()
    };
    bench.put(&second, waits).await;
    move_all(&bench.site, "away", ".");
    let is_new = |health: &Value| {
        health["policy"]["error"].is_null()
            && health["policy"]["revision"] == revision(&second).as_str()
    };
    let waiting = async {
        while !is_new(&bench.health().await) {
            sleep(BREATH * 10).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .expect("they come into force by themselves");
    let Bench { site, gateway, .. } = bench;
    gateway.stop().await.says(0, &["stopped"]);
    let verified = site.run(&["audit", "verify", "--db", "hayward.db"]).await;
    verified.says(0, &[]);
}

#[tokio::test]
async fn rules_that_came_through_a_pipe_stay_in_force() {
    let site = Site::new("");
    let text = "servers: {}\nagents: {}\n";
    std::fs::write(site.path("rules"), text).unwrap();
    let made = tokio::process::Command::new("mkfifo")
        .arg(site.path("pipe"))
        .status();
    assert!(made.await.unwrap().success());
    let pipe = site.path("pipe");
    let writing = tokio::task::spawn_blocking(move || std::fs::write(pipe, text));
    let gateway = site.serve(&["--policy", "pipe"]).await;
    writing.await.unwrap().unwrap();
    gateway.signal("HUP").await;
    let mut gateway = gateway;
    gateway.line("no file is followed").await;
    gateway.stop().await.says(0, &["changes need a restart"]);
}

/// Whatever was decided is what the rules say that it names, and an event said before that they are in force.
fn check_decisions(records: &Records) {
    let mut in_force = BTreeMap::new();
    let mut decided = [[0_usize; 2]; 2];
    for event in &records.events {
        let meta = &event.meta;
        let named = meta["policy"].as_str().map(|named| named[..12].to_owned());
        match event.kind.as_str() {
            "policy" => {
                let next = in_force.len() % 2;
                in_force.entry(named.unwrap()).or_insert(next);
            }
            "admitted" | "denied" if meta["server"] == "truth" => {
                let named = in_force.get(&named.unwrap()).expect("it is in force");
                let tool = meta["tool"].as_str();
                let Some(tool) = TOOLS.iter().position(|one| tool == Some(one)) else {
                    continue;
                };
                let is_allowed = event.kind == "admitted";
                assert_eq!(is_allowed, tool == *named, "{meta}");
                let times = meta["times"].as_u64().unwrap_or(1);
                decided[usize::from(is_allowed)][tool] += usize::try_from(times).unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(in_force.len(), 2, "two files took turns");
    assert!(
        decided.iter().flatten().all(|times| *times > 0),
        "{decided:?}"
    );
}

fn check_budget(records: &Records, truth: &Truth) {
    assert_eq!((records.open, records.held), (0, (0, 0)));
    let executions = truth.executions();
    let tight = executions.iter().filter(|one| one.tool == "tight");
    assert_eq!(tight.count(), TIGHT, "so often, under whichever rules");
    let calls = records.calls();
    let admitted = calls.values().filter(|call| {
        let meta = &call.opening.meta;
        call.opening.kind == "admitted"
            && meta["server"] == "truth"
            && meta["method"] == "tools/call"
            && call.closings != ["released"]
    });
    assert_eq!(
        admitted.count(),
        executions.len(),
        "what was let through was done"
    );
}
