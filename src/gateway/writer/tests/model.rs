//! The rules of the ledger, written down once more as naively as they can be, against the real writer on a real file:
//! random histories of calls, of every way in which they end, of clocks that step and gateways that crash. Whoever is
//! let through, and what everything costs, is the same in both, at every step.
//!
//! `HAYWARD_HISTORIES` says how many histories; many share one file, so that a step is one batch of the writer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::super::super::recorder::{OpenCall, QUEUE, Recorder};
use super::super::*;
use crate::audit::{self, Entry, Kind, Redactor};
use crate::budget::{Ending, Reported};
use crate::clock::ManualClock;
use crate::db::{self, Durability, Readers};
use crate::policy::{Charge, Place, Refund};
use crate::types::{BudgetKey, MICROS};

const START: Timestamp = Timestamp::from_micros(1_795_172_400_000_000);

/// Histories in one file.
const TOGETHER: usize = 50;

/// Histories where nobody says how many.
const HISTORIES: u32 = 500;

const HOUR_US: i64 = 3_600_000_000;

/// What a budget of a history is.
#[derive(Debug, Clone)]
struct Rule {
    window: &'static str,
    limit: u64,
    /// Whether the server reports what a call cost; the hold is two millionths then, and otherwise one call.
    reports: bool,
    refund: Refund,
}

/// One thing that happens in a history.
#[derive(Debug, Clone)]
enum Step {
    /// A call comes.
    Call,
    /// The oldest open call ends so.
    End(Way),
    /// The newest does.
    EndNewest(Way),
    /// The limit of the first budget is another from here on.
    Limit(u64),
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Done,
    /// The server reports this many millionths, which may be more than it may.
    Reports(u64),
    /// It should report and does not.
    Silent,
    Failed,
    TurnedAway,
    Lost,
    Unsent,
    /// It wants to know more; the next call goes on with this one.
    Asks,
}

/// One thing that happens to all histories of a file at once.
#[derive(Debug, Clone)]
enum Event {
    Advance(u64),
    ClockBack(u64),
    ClockAhead,
    Crash,
    Restart,
}

/// What was taken from a budget, as the naive model has it.
#[derive(Debug, Clone)]
struct Taken {
    call: u64,
    at: i64,
    amount: u64,
    overrun: u64,
}

/// A call that is open, or whose hold is kept.
#[derive(Debug)]
struct Open {
    /// Under this the model knows what it took, over all its rounds.
    number: u64,
    id: CallId,
    /// Whether it goes on with another, which reached the server.
    goes_on: bool,
    call: OpenCall,
}

/// One history, and what the model knows of it.
struct History {
    name: String,
    rules: Vec<Rule>,
    taken: Vec<Vec<Taken>>,
    open: Vec<Open>,
    /// A call that was asked to come back, with the number under which the model knows it.
    kept: Option<(CallId, u64)>,
    calls: u64,
}

impl History {
    fn charges(&self) -> Vec<Charge> {
        let rules = self.rules.iter().enumerate();
        let charges = rules.map(|(index, rule)| {
            let unit = if rule.reports { "USD" } else { "calls" };
            let zone = if ["hour", "day"].contains(&rule.window) {
                "@UTC"
            } else {
                ""
            };
            let place = format!("{}.b{index}", self.name);
            let amount = if rule.reports { 2 } else { 1 };
            Charge {
                key: BudgetKey::new(&format!("{place} {unit}/{}{zone}", rule.window)),
                limit: limit(rule),
                amount,
                reported: rule.reports.then(|| "/cost".into()),
                refund: rule.refund,
                place: Place {
                    path: place.as_str().into(),
                    line: 1,
                },
            }
        });
        charges.collect()
    }

    /// Whether there is room, as a person would count it.
    fn has_room(&self, now: i64) -> bool {
        self.rules.iter().zip(&self.taken).all(|(rule, taken)| {
            let counts = taken.iter().filter(|taken| counts(rule, taken.at, now));
            let (sum, frozen) = counts.fold((0, false), |(sum, frozen), taken| {
                (sum + taken.amount, frozen || taken.overrun > 0)
            });
            let amount = if rule.reports { 2 } else { 1 };
            !frozen && sum + amount <= rule.limit
        })
    }

    fn take(&mut self, number: u64, now: i64) {
        for (rule, taken) in self.rules.iter().zip(&mut self.taken) {
            taken.push(Taken {
                call: number,
                at: now,
                amount: if rule.reports { 2 } else { 1 },
                overrun: 0,
            });
        }
    }

    /// What a call that ended so cost.
    fn settle(&mut self, number: u64, goes_on: bool, way: Way) {
        for (rule, taken) in self.rules.iter().zip(&mut self.taken) {
            let Some(taken) = taken.iter_mut().find(|taken| taken.call == number) else {
                continue;
            };
            match way {
                Way::Unsent if !goes_on => taken.amount = 0,
                Way::Failed if rule.refund.tool_error => taken.amount = 0,
                Way::TurnedAway if rule.refund.rejected => taken.amount = 0,
                Way::Reports(cost) if rule.reports => {
                    taken.overrun = cost.saturating_sub(taken.amount);
                    taken.amount = taken.amount.min(cost);
                }
                Way::Unsent
                | Way::Reports(_)
                | Way::Done
                | Way::Silent
                | Way::Failed
                | Way::TurnedAway
                | Way::Lost
                | Way::Asks => {}
            }
        }
    }
}

/// Whether what was taken then counts now.
fn counts(rule: &Rule, then: i64, now: i64) -> bool {
    match rule.window {
        "hour" => then.div_euclid(HOUR_US) == now.div_euclid(HOUR_US),
        "day" => then.div_euclid(24 * HOUR_US) == now.div_euclid(24 * HOUR_US),
        "2h" => now < then + 2 * HOUR_US,
        _ => true,
    }
}

fn limit(rule: &Rule) -> crate::types::Limit {
    let amount = if rule.reports {
        format!("{}.{:06} USD", rule.limit / MICROS, rule.limit % MICROS)
    } else {
        rule.limit.to_string()
    };
    let text = match rule.window {
        "total" => format!("{amount} total"),
        window => format!("{amount}/{window}"),
    };
    text.parse().unwrap()
}

/// What the writer is told of the end of a call.
fn ending(way: Way, rules: &[Rule], now: Timestamp) -> (Kind, Ending) {
    let read = |cost: Option<u64>| -> Vec<Reported> {
        let each = rules.iter().map(|rule| match (rule.reports, cost) {
            (false, _) => Reported::Fixed,
            (true, Some(cost)) => Reported::Cost(cost),
            (true, None) => Reported::Missing,
        });
        each.collect()
    };
    match way {
        Way::Done | Way::Silent => (Kind::Settled, Ending::Answered(read(None))),
        Way::Reports(cost) => (Kind::Settled, Ending::Answered(read(Some(cost)))),
        Way::Failed => (Kind::Settled, Ending::ToolError(read(None))),
        Way::TurnedAway => (Kind::Failed, Ending::Rejected),
        Way::Lost => (Kind::Failed, Ending::Unclear),
        Way::Unsent => (Kind::Released, Ending::Unsent),
        Way::Asks => (
            Kind::Settled,
            Ending::Kept(now.after(Duration::from_secs(900))),
        ),
    }
}

/// A writer on a file, that can crash.
struct Desk {
    file: std::path::PathBuf,
    clock: Arc<ManualClock>,
    recorder: Recorder,
    writing: JoinHandle<Result<Head, DbError>>,
}

impl Desk {
    async fn open(file: std::path::PathBuf, clock: Arc<ManualClock>) -> Self {
        let database = db::open(&file, Durability::Process).await.unwrap();
        let first = vec![Entry::new(Kind::Started)];
        let writer = Writer::start(
            database,
            clock.clone(),
            [7; 16],
            first,
            Checkpoints::default(),
        );
        let writer = writer.await.unwrap();
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (closings, closing_queue) = mpsc::unbounded_channel();
        let recorder = Recorder::new(
            jobs,
            closings,
            writer.health(),
            Arc::new(Redactor::new(Vec::new())),
        );
        let writing = tokio::spawn(writer.run(job_queue, closing_queue));
        Self {
            file,
            clock,
            recorder,
            writing,
        }
    }

    /// Ends in the middle of everything, and starts anew.
    async fn crash(self) -> Self {
        self.writing.abort();
        drop(self.writing.await);
        Self::open(self.file, self.clock).await
    }

    async fn restart(self) -> Self {
        drop(self.recorder);
        self.writing.await.unwrap().unwrap();
        Self::open(self.file, self.clock).await
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let windows = prop_oneof![Just("hour"), Just("day"), Just("2h"), Just("total")];
    (windows, 0u64..7, any::<[bool; 3]>()).prop_map(
        |(window, limit, [reports, rejected, tool_error])| Rule {
            window,
            limit,
            reports,
            refund: Refund {
                rejected,
                tool_error,
            },
        },
    )
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => Just(Way::Done),
        2 => (0u64..5).prop_map(Way::Reports),
        1 => Just(Way::Silent),
        1 => Just(Way::Failed),
        1 => Just(Way::TurnedAway),
        1 => Just(Way::Lost),
        1 => Just(Way::Unsent),
        1 => Just(Way::Asks),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Call),
        2 => way().prop_map(Step::End),
        2 => way().prop_map(Step::EndNewest),
        1 => (0u64..7).prop_map(Step::Limit),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0u64..3_000).prop_map(Event::Advance),
        1 => (3_000u64..90_000).prop_map(Event::Advance),
        1 => (1u64..9_000).prop_map(Event::ClockBack),
        1 => Just(Event::ClockAhead),
        1 => Just(Event::Crash),
        1 => Just(Event::Restart),
    ]
}

/// The rules of the histories of one file, and what happens: by turns a step of each of them, and something to all.
type Plan = (Vec<Vec<Rule>>, Vec<(Vec<Step>, Event)>);

fn plan() -> impl Strategy<Value = Plan> {
    let rules = proptest::collection::vec(proptest::collection::vec(rule(), 1..4), TOGETHER);
    let steps = proptest::collection::vec(step(), TOGETHER);
    let rounds = proptest::collection::vec((steps, event()), 8..30);
    (rules, rounds)
}

struct Run {
    desk: Option<Desk>,
    clock: Arc<ManualClock>,
    /// The time of the ledger as the model has it, in microseconds.
    now: i64,
    histories: Vec<History>,
}

impl Run {
    fn desk(&self) -> &Desk {
        self.desk.as_ref().unwrap()
    }

    async fn round(&mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        let recorder = self.desk().recorder.clone();
        let now = self.now;
        let histories = std::mem::take(&mut self.histories);
        let each = histories
            .into_iter()
            .zip(steps)
            .map(async |(mut history, step)| {
                let result = step_of(&recorder, &mut history, step, now).await;
                (history, result)
            });
        let done = futures_util::future::join_all(each).await;
        let (histories, results): (Vec<History>, Vec<_>) = done.into_iter().unzip();
        self.histories = histories;
        results.into_iter().collect()
    }

    async fn event(&mut self, event: &Event) {
        match event {
            Event::Advance(seconds) => {
                self.clock.advance(Duration::from_secs(*seconds));
                self.now += i64::try_from(*seconds).unwrap() * 1_000_000;
            }
            // The time of the ledger stands still until the clock is there again; the running time makes it up.
            Event::ClockBack(seconds) => {
                self.mark().await;
                let span = Duration::from_secs(*seconds);
                self.clock.jump_back(span);
                self.mark().await;
                self.clock.jump(span);
                self.mark().await;
            }
            // Not followed, and put back: for a minute nobody believes it, and then all is as before.
            Event::ClockAhead => {
                self.mark().await;
                let span = Duration::from_secs(100_000);
                self.clock.jump(span);
                self.mark().await;
                self.clock.jump_back(span);
                self.mark().await;
                self.clock.advance(Duration::from_secs(60));
                self.now += 60_000_000;
                self.mark().await;
            }
            Event::Crash | Event::Restart => self.reopen(matches!(event, Event::Crash)).await,
        }
    }

    /// An event in the log, so that the time of the ledger is at least now.
    async fn mark(&self) {
        self.desk()
            .recorder
            .note(Entry::new(Kind::Policy))
            .await
            .unwrap();
    }

    /// What is open is lost with the process, and costs; so is what is kept.
    async fn reopen(&mut self, crash: bool) {
        self.mark().await;
        let desk = self.desk.take().unwrap();
        if crash {
            let desk = desk.crash().await;
            self.forget();
            self.desk = Some(desk);
        } else {
            self.forget();
            self.desk = Some(desk.restart().await);
        }
    }

    fn forget(&mut self) {
        for history in &mut self.histories {
            history.open.clear();
            history.kept = None;
        }
    }

    /// Closes everything, and compares every window of every budget with the model.
    async fn finish(mut self) -> Result<(), TestCaseError> {
        self.reopen(false).await;
        let desk = self.desk.take().unwrap();
        let file = desk.file.clone();
        drop(desk.recorder);
        let head = desk.writing.await.unwrap().unwrap();
        let readers = Readers::open(&file).await.unwrap();
        let verified = audit::verify(&readers, Some(head.hash), |_| ())
            .await
            .unwrap();
        prop_assert_eq!(verified.faults, []);
        let windows = "SELECT key, sum(used), sum(held), sum(overrun), max(used > limit_high)
            FROM budget_window JOIN budget ON id = budget_id GROUP BY key";
        let windows: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(windows)
            .fetch_all(readers.pool())
            .await
            .unwrap();
        readers.close().await;
        let mut counted: BTreeMap<String, (i64, i64, i64, i64)> = windows
            .into_iter()
            .map(|(key, used, held, overrun, over)| (key, (used, held, overrun, over)))
            .collect();
        for history in &self.histories {
            for (charge, taken) in history.charges().iter().zip(&history.taken) {
                let sum = |part: fn(&Taken) -> u64| {
                    i64::try_from(taken.iter().map(part).sum::<u64>()).unwrap()
                };
                let found = counted.remove(charge.key.as_str()).unwrap_or_default();
                let expected = (sum(|taken| taken.amount), 0, sum(|taken| taken.overrun), 0);
                prop_assert_eq!(found, expected, "{}", charge.key);
            }
        }
        Ok(())
    }
}

async fn step_of(
    recorder: &Recorder,
    history: &mut History,
    step: &Step,
    now: i64,
) -> Result<(), TestCaseError> {
    match step {
        Step::Call => call(recorder, history, now).await,
        Step::End(way) | Step::EndNewest(way) if !history.open.is_empty() => {
            let newest = matches!(step, Step::EndNewest(_));
            let index = if newest { history.open.len() - 1 } else { 0 };
            let Open {
                number,
                id,
                goes_on,
                call,
            } = history.open.remove(index);
            let at = Timestamp::from_micros(now);
            let (kind, ending) = ending(*way, &history.rules, at);
            let mut entry = Entry::new(kind);
            entry.call = Some(id);
            call.close(entry, ending).await;
            history.settle(number, goes_on, *way);
            if matches!(way, Way::Asks) {
                history.kept = Some((id, number));
            }
            Ok(())
        }
        Step::End(_) | Step::EndNewest(_) => Ok(()),
        Step::Limit(limit) => {
            history.rules[0].limit = *limit;
            Ok(())
        }
    }
}

async fn call(recorder: &Recorder, history: &mut History, now: i64) -> Result<(), TestCaseError> {
    let (continues, number) = match history.kept.take() {
        Some((before, number)) => (Some(before), number),
        None => (None, history.calls),
    };
    history.calls += 1;
    let id = call_id(history, history.calls);
    let mut entry = Entry::new(Kind::Admitted);
    entry.call = Some(id);
    if let Some(before) = continues {
        entry = entry.text("continues", &before.to_string());
    }
    let charges = if continues.is_some() {
        Vec::new()
    } else {
        history.charges()
    };
    let admitted = recorder
        .admit(entry, id, (charges, continues), Zone::utc(), None)
        .await;
    let expected = continues.is_some() || history.has_room(now);
    match admitted {
        Ok(call) => {
            prop_assert!(expected, "let through without room: {}", history.name);
            if continues.is_none() {
                history.take(number, now);
            }
            history.open.push(Open {
                number,
                id,
                goes_on: continues.is_some(),
                call,
            });
        }
        Err(NotAdmitted::Full(..)) => {
            prop_assert!(!expected, "refused with room: {}", history.name);
        }
        // It waited for two seconds in vain: this machine is too busy to say anything of this history.
        Err(NotAdmitted::Unrecorded) => return Err(TestCaseError::reject("too slow")),
        Err(NotAdmitted::Repeated(_) | NotAdmitted::Replayed(_)) => {
            prop_assert!(false, "no call here has a key");
        }
    }
    Ok(())
}

fn call_id(history: &History, number: u64) -> CallId {
    let mut random = [0; 10];
    let name: u64 = history.name[1..].parse().unwrap();
    random[..4].copy_from_slice(&u32::try_from(name).unwrap().to_be_bytes());
    random[6..].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    CallId::new(START, random)
}

async fn run((rules, rounds): Plan) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START));
    let desk = Desk::open(folder.path().join("log.db"), clock.clone()).await;
    let histories = rules.into_iter().enumerate().map(|(index, rules)| History {
        name: format!("h{index}"),
        taken: vec![Vec::new(); rules.len()],
        rules,
        open: Vec::new(),
        kept: None,
        calls: 0,
    });
    let mut run = Run {
        desk: Some(desk),
        clock,
        now: START.micros(),
        histories: histories.collect(),
    };
    for (steps, event) in rounds {
        run.round(&steps).await?;
        run.event(&event).await;
    }
    run.finish().await
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test looks is no setting of the program"
)]
fn cases() -> u32 {
    let asked = std::env::var("HAYWARD_HISTORIES").ok();
    let histories = asked.map_or(HISTORIES, |text| text.parse().unwrap());
    histories.div_ceil(u32::try_from(TOGETHER).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_decides_and_charges_as_the_naive_model_does(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(plan))?;
    }
}
