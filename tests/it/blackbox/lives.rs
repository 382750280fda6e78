//! Logs that live for days, from which events are pruned and bodies deleted at any time, and in which calls are refunded:
//! at no moment does the proof find anything.

use std::time::Duration;

use serde_json::json;

use super::gateway::Ended;
use super::prune::{BUDGETS, Old, over_midnight};
use crate::support::{FakeUpstream, Random, World, events, seed};

/// Lives where nobody says how many.
const LIVES: u64 = 6;

/// Days of one life, of November 2026.
const DAYS: std::ops::Range<u64> = 21..27;

struct Life {
    world: World,
    old: Old,
    dice: Random,
    /// What was done to the log by command, of each kind.
    done: [u32; 4],
}

fn rules() -> String {
    let rules = World::small_policy(BUDGETS);
    format!("defaults: {{capture: full}}\n{rules}")
}

impl Life {
    async fn begin(number: u64) -> Self {
        let builder = World::builder().server("images", FakeUpstream::legacy());
        let mut world = builder.start(&rules()).await;
        world.let_events_go();
        Self {
            old: Old::at(world.file()),
            world,
            dice: Random::new(seed(), number),
            done: [0; 4],
        }
    }

    async fn day(&mut self, day: u64) {
        for number in 0..self.dice.below(6) {
            let tool =
                ["imagine", "fail", "cut", "blend"][usize::try_from(self.dice.below(4)).unwrap()];
            let agent = self.world.agent("clawd");
            agent.call(tool, json!({"number": number})).await;
        }
        let midnight = format!("2026-11-{day}T00:00:00Z");
        if self.dice.below(3) == 0 {
            over_midnight(&self.world, &midnight).await;
        }
        let later = Duration::from_secs(self.dice.below(80_000) + 10);
        self.world.set_clock(Duration::ZERO, &midnight);
        self.world.clock().advance(later);
    }

    /// Works on the log while no gateway has it.
    async fn work(&mut self, day: u64) {
        self.world.halt().await;
        self.old.keep_checkpoints("kept").await;
        for _ in 0..self.dice.below(4) {
            let before = format!(
                "2026-11-{}",
                DAYS.start + self.dice.below(day + 1 - DAYS.start)
            );
            let what = usize::try_from(self.dice.below(4)).unwrap();
            let Some(ended) = self.order(what, &before).await else {
                continue;
            };
            self.done[what] += u32::from(ended.code == Some(0));
            // What came after the checkpoints that were kept.
            self.old.keep_checkpoints("kept").await;
            self.old.is_sound().await;
        }
        self.world.go_on(&rules()).await;
    }

    /// Runs one of the commands that change a log; none for a refund of nothing.
    async fn order(&mut self, what: usize, before: &str) -> Option<Ended> {
        let before = ["--before", before];
        let why = ["--why", "a test"];
        Some(match what {
            0 => self.old.prune(&before).await,
            1 => {
                let bodies = ["prune", "--bodies-only", "--yes"];
                self.old.run(&[&bodies[..], &before].concat()).await
            }
            2 => {
                let redact = [&["redact"][..], &before, &why].concat();
                self.old.run(&redact).await
            }
            _ => {
                let call = self.some_call().await?;
                let refund = ["budget", "refund", &call, "--db", self.old.db()];
                let refund = [&refund[..], &why].concat();
                self.old.site.run(&refund).await
            }
        })
    }

    /// A call that was closed, if the log still has one.
    async fn some_call(&mut self) -> Option<String> {
        let events = events(&self.old.file).await;
        let closed: Vec<&str> = events
            .iter()
            .filter(|event| event.is(&["settled", "failed"]) && !event.text("tool").is_empty())
            .map(|event| event.text("call"))
            .collect();
        let count = u64::try_from(closed.len()).unwrap();
        (count > 0).then(|| closed[usize::try_from(self.dice.below(count)).unwrap()].to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_pruned_redacted_and_refunded_the_proof_finds_nothing() {
    let lives = std::env::var_os("HAYWARD_TEST_LIVES");
    let lives = lives.map_or(LIVES, |lives| lives.to_str().unwrap().parse().unwrap());
    let mut done = [0; 4];
    for number in 0..lives {
        let mut life = Life::begin(number).await;
        for day in DAYS {
            life.day(day).await;
            life.work(day).await;
        }
        for (sum, done) in done.iter_mut().zip(life.done) {
            *sum += done;
        }
        life.world.stop().await;
    }
    eprintln!("{lives} lives: {done:?} prunes, prunes of bodies, redactions, refunds");
    assert!(
        done.iter().all(|done| *done > 0),
        "all of it happened: {done:?}"
    );
}
