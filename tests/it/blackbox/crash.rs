//! kill -9 under load, again and again on one database: what was answered is recorded, no budget is overspent.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::agent::{Agent, Answer};
use super::gateway::Site;
use super::records::{Call, Records};
use super::truth::{Execution, Truth};
use crate::support::{Random, seed};

/// How often it is killed where HAYWARD_TEST_KILLS says nothing else.
const CYCLES: u64 = 50;
const AGENTS: u64 = 4;
const CALLERS: u64 = 16;

/// Calls of one agent to one tight tool, of all agents to it, and of all agents to all of them.
const TIGHT_EACH: usize = 2;
const TIGHT: usize = 5;
const POOL: usize = 200;

/// The longest time between two kills; the count of answers ends most cycles much sooner.
const CYCLE: Duration = Duration::from_secs(4);

/// What became of one call, as its caller saw it.
struct Asked {
    tag: String,
    /// `None` when the gateway died before it answered.
    answer: Option<Answer>,
}

/// How the test goes on, as callers see it.
#[derive(Clone)]
enum Phase {
    /// A gateway serves here, in this cycle.
    Up(String, u64),
    /// There is none now.
    Down,
    /// It was the last.
    Over,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_forgets_nothing_and_overspends_nothing() {
    let seed = seed();
    let kills = std::env::var_os("HAYWARD_TEST_KILLS");
    let cycles = kills.map_or(CYCLES, |kills| kills.to_str().unwrap().parse().unwrap());
    let truth = Truth::start().await;
    let agents: Vec<Agent> = (0..AGENTS)
        .map(|number| Agent::new(&format!("token-of-agent-{number}")))
        .collect();
    let site = Site::new(&rules(&truth, &agents));
    let key = site.run(&["audit", "key", "secret"]).await;
    key.says(0, &[]);
    let (phase, phases) = watch::channel(Phase::Down);
    let (progress, mut answered) = watch::channel(0_u64);
    let progress = Arc::new(progress);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let agent = agents[usize::try_from(number % AGENTS).unwrap()].clone();
        let random = Random::new(seed, number + 1);
        let (phases, progress) = (phases.clone(), Arc::clone(&progress));
        callers.spawn(hammer(number, agent, random, phases, progress));
    }

    let mut random = Random::new(seed, 0);
    let mut patience_lost = 0;
    for cycle in 0..cycles {
        let durability = if cycle % 5 == 4 { "power" } else { "process" };
        let arguments = [&EXPORTS[..], &["--durability", durability]].concat();
        if cycle % 10 == 9 {
            // Killed while it starts, with whatever the last one left open.
            let starting = site.launch(&arguments, &[]);
            sleep(Duration::from_millis(random.below(120))).await;
            starting.kill().await;
            raises_no_alarm(&site, &key.out).await;
        }
        let gateway = site.serve(&arguments).await;
        let target = *answered.borrow() + random.below(90);
        phase.send_replace(Phase::Up(gateway.url(), cycle));
        // A cycle that gets no further in time is killed as well.
        drop(timeout(CYCLE, answered.wait_for(|count| *count >= target)).await);
        let killed = gateway.kill().await;
        phase.send_replace(Phase::Down);
        patience_lost += killed.err.matches("before its closing event").count();
    }
    phase.send_replace(Phase::Over);
    let asked: Vec<Asked> = callers.join_all().await.into_iter().flatten().collect();

    let last = site.serve(&EXPORTS).await;
    last.stop().await.says(0, &["stopped"]);
    raises_no_alarm(&site, &key.out).await;
    let records = Records::read(&site.db()).await;
    let checked = Checked::new(&records, &asked, truth.executions());
    checked.nothing_is_left_open();
    checked.answers_are_recorded(patience_lost);
    checked.executions_were_admitted();
    checked.budgets_hold();
    checked.it_was_hard(cycles, seed);
}

/// Checkpoints are signed and exported, for a crash must look like nothing else.
const EXPORTS: [&str; 4] = ["--checkpoints", "kept.jsonl", "--signing-key", "secret"];

async fn raises_no_alarm(site: &Site, key: &str) {
    let known = ["--public-key", key.trim(), "--checkpoints", "kept.jsonl"];
    let line = [&["audit", "verify"], &known[..]].concat();
    site.run(&line).await.says(0, &[]);
}

fn rules(truth: &Truth, agents: &[Agent]) -> String {
    let url = truth.url();
    let mut text = format!(
        "defaults: {{timezone: UTC, timeout: 20s}}
servers:
  modern:
    url: {url}
    budgets:
      - {{limit: {TIGHT_EACH}/hour, tools: ['tight_*'], each: agent+tool}}
      - {{limit: {TIGHT}/hour, tools: ['tight_*'], each: tool}}
  legacy: {{url: {url}, protocol: legacy, budgets: [{{limit: 100000/day, each: agent}}]}}
budgets:
  pool: {POOL}/week
agents:
"
    );
    for (number, agent) in agents.iter().enumerate() {
        let hash = agent.token_hash();
        write!(
            text,
            "  agent-{number}:
    token_hash: {hash}
    servers:
      - legacy
      - {{server: modern, tools: [free]}}
      - {{server: modern, tools: ['tight_*'], budgets: [pool]}}
"
        )
        .unwrap();
    }
    text
}

/// Calls one tool after the other until it is over, and notes every answer.
async fn hammer(
    number: u64,
    agent: Agent,
    mut random: Random,
    mut phases: watch::Receiver<Phase>,
    progress: Arc<watch::Sender<u64>>,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    loop {
        let phase = phases.wait_for(|phase| !matches!(phase, Phase::Down));
        let phase = phase.await.unwrap().clone();
        let Phase::Up(url, cycle) = phase else {
            return asked;
        };
        let tag = format!("{number}-{}", asked.len());
        let (server, tool) = match random.below(10) {
            0..3 => ("modern", "free".to_owned()),
            3..5 => ("legacy", "free".to_owned()),
            5..8 => ("modern", format!("tight_{cycle}")),
            _ => ("modern", format!("tight_{}", cycle.saturating_sub(1))),
        };
        let arguments = json!({"tag": tag, "delay_ms": random.below(12)});
        let answer = agent.call(&url, server, &tool, arguments).await;
        if answer.is_some() {
            progress.send_modify(|count| *count += 1);
        } else {
            // Not before this gateway is known to be gone: a second request to a dead one says nothing.
            let gone = |phase: &Phase| !matches!(phase, Phase::Up(up, _) if *up == url);
            phases.wait_for(gone).await.unwrap();
        }
        asked.push(Asked { tag, answer });
    }
}

/// Everything that is known at the end.
struct Checked<'a> {
    records: &'a Records,
    asked: &'a [Asked],
    executions: Vec<Execution>,
    calls: HashMap<&'a str, Call>,
    /// Calls by the mark of their caller.
    by_tag: HashMap<String, &'a str>,
}

impl<'a> Checked<'a> {
    fn new(records: &'a Records, asked: &'a [Asked], executions: Vec<Execution>) -> Self {
        let calls = records.calls();
        let mut by_tag = HashMap::new();
        // The gateway itself asks for a list before the first call; that is nobody's.
        let of_agents = calls
            .iter()
            .filter(|(_, call)| call.opening.meta["method"] != "tools/list");
        for (id, call) in of_agents {
            let tag = call.opening.meta["client"]
                .as_str()
                .expect("every call has a mark");
            assert!(
                by_tag.insert(tag.to_owned(), *id).is_none(),
                "{tag} is recorded twice"
            );
        }
        Self {
            records,
            asked,
            executions,
            calls,
            by_tag,
        }
    }

    fn of(&self, tag: &str) -> &Call {
        let id = self.by_tag.get(tag);
        &self.calls[*id.unwrap_or_else(|| panic!("no event of {tag}"))]
    }

    fn nothing_is_left_open(&self) {
        assert_eq!((self.records.open, self.records.held), (0, (0, 0)));
        for (id, call) in &self.calls {
            let closings = usize::from(call.opening.kind == "admitted");
            assert_eq!(call.closings.len(), closings, "{id}: {call:?}");
        }
    }

    fn answers_are_recorded(&self, patience_lost: usize) {
        let (mut unsettled, mut counted, mut unknown) = (0, 0, 0);
        for Asked { tag, answer } in self.asked {
            let Some(answer) = answer else {
                unknown += usize::from(!self.by_tag.contains_key(tag.as_str()));
                continue;
            };
            if answer.refusal("reason") == Some("audit_unavailable") {
                continue; // The disk was too slow; this answer says that nothing was recorded.
            }
            if answer.refusal("reason") == Some("budget") && !self.by_tag.contains_key(tag.as_str())
            {
                counted += 1; // One of many alike.
                continue;
            }
            let call = self.of(tag);
            if let Some(id) = answer.refusal("call_id") {
                assert_eq!(answer.refusal("reason"), Some("budget"), "{answer:?}");
                assert_eq!(self.by_tag[tag], id);
                assert_eq!(call.opening.kind, "denied");
            } else {
                assert!(answer.is_done(tag), "{tag}: {answer:?}");
                assert_eq!(call.opening.kind, "admitted", "{tag}");
                unsettled += usize::from(call.closings != ["settled"]);
            }
        }
        let folded = self
            .records
            .events
            .iter()
            .filter(|event| event.call.is_none());
        let folded: u64 = folded
            .filter_map(|event| event.meta["count"].as_u64())
            .sum();
        let possible = u64::try_from(counted).unwrap()..=u64::try_from(counted + unknown).unwrap();
        assert!(
            possible.contains(&folded),
            "{folded} refusals were counted, {possible:?} came"
        );
        // An answer waits two seconds for its closing event, and then goes out with a word in the log.
        assert!(
            unsettled <= patience_lost,
            "{unsettled} answers went out before they were settled"
        );
    }

    fn executions_were_admitted(&self) {
        let mut seen = HashSet::new();
        for Execution { tool, tag } in &self.executions {
            assert!(seen.insert(tag), "{tag} was executed twice");
            let call = self.of(tag);
            assert_eq!(call.opening.kind, "admitted", "{tag} was executed");
            assert_eq!(call.opening.meta["tool"], tool.as_str());
            assert_ne!(
                call.closings,
                ["released"],
                "{tag} was executed and given back"
            );
        }
    }

    /// Counts what the server did, by the budgets and windows that the log names for it, and by tool alone.
    fn budgets_hold(&self) {
        let mut by_window: HashMap<(&str, i64), u64> = HashMap::new();
        let mut windows: HashMap<&str, HashSet<i64>> = HashMap::new();
        let mut by_tool: HashMap<&str, usize> = HashMap::new();
        let opening = |tag: &str| &self.of(tag).opening.meta;
        for Execution { tool, tag } in &self.executions {
            let budgets = opening(tag)["budgets"].as_array();
            let budgets = budgets.map(Vec::as_slice).unwrap_or_default();
            let expected = match tool.as_str() {
                "free" => usize::from(opening(tag)["server"] == "legacy"),
                _ => 3,
            };
            assert_eq!(budgets.len(), expected, "{}", opening(tag));
            for budget in budgets {
                let key = budget["key"].as_str().unwrap();
                let window = budget["window"].as_i64().unwrap();
                windows.entry(key).or_default().insert(window);
                let count = by_window.entry((key, window)).or_default();
                *count += 1;
                assert!(
                    *count <= budget["limit"].as_u64().unwrap(),
                    "{key} is overspent"
                );
            }
            *by_tool.entry(tool).or_default() += 1;
        }
        let most = windows.values().map(HashSet::len).max().unwrap_or(1);
        let tight = by_tool
            .iter()
            .filter(|(tool, _)| tool.starts_with("tight_"));
        let mut all = 0;
        for (tool, count) in tight {
            assert!(*count <= TIGHT * most, "{tool} ran {count} times");
            all += count;
        }
        assert!(all <= POOL * most, "the pool gave {all}");
    }

    /// The test is worth something only if calls were in flight, refused and answered.
    fn it_was_hard(&self, cycles: u64, seed: u64) {
        let answers = self
            .asked
            .iter()
            .filter(|asked| asked.answer.is_some())
            .count();
        let lost = self.asked.len() - answers;
        let (abandoned, denied) = (
            self.records.count("abandoned"),
            self.records.count("denied"),
        );
        assert!(abandoned > 20, "{abandoned} abandoned, seed {seed}");
        assert!(lost >= abandoned / 2, "{lost} lost, seed {seed}");
        assert!(
            denied > 50 && answers > 500,
            "{denied} denied, {answers} answers, seed {seed}"
        );
        let starts = u64::try_from(self.records.count("started")).unwrap();
        assert!(starts > cycles, "{starts} starts");
        let done = self.executions.len();
        eprintln!(
            "{cycles} kills: {answers} answers, {lost} calls without one, {done} executions, {abandoned} abandoned, \
             {denied} denied"
        );
        assert_eq!(self.records.kinds().last(), Some(&"stopped"));
    }
}
