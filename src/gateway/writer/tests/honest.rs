//! Many honest lives of a log: calls of every ending, crashes, restarts, clocks that are moved, refunds, and bodies that
//! are deleted. The proof finds nothing in any of them, and finds whatever is changed in one afterwards, and where.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

use super::super::super::operator::{By, Instruction, Order};
use super::super::super::recorder::{OpenCall, QUEUE, Recorder};
use super::super::*;
use crate::audit::{
    Body, BodyKind, Checkpoint, Fault, Known, Redactor, SigningKey, Verified, verify_against,
};
use crate::clock::ManualClock;
use crate::db::{self, Durability, Readers};
use crate::policy::{Place, Refund};
use crate::types::{BudgetKey, KeyNames};

const HISTORIES: u64 = 50;
/// Lives of one log before its last, each ended by a crash or in order.
const LIVES: u64 = 2;
/// What happens in one life, at most.
const DOINGS: u64 = 25;

const LOG: [u8; 16] = [7; 16];
const MINUTE: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // Numerical Recipes' multiplier; the high bits are good enough for choosing.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(8)).unwrap() % of.len()]
    }
}

/// One log, and what is kept elsewhere of it.
struct History {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    dice: Dice,
    calls: u64,
    /// A call whose hold another may go on with.
    kept: Option<CallId>,
}

impl History {
    fn new(seed: u64) -> Self {
        let start = Timestamp::from_micros(1_795_172_400_000_000);
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(start)),
            dice: Dice(seed),
            calls: 0,
            kept: None,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32]).unwrap()
    }

    /// One life of the gateway; yields whether it ended in order.
    async fn live(&mut self) -> bool {
        let database = db::open(&self.file("log.db"), Durability::Process).await;
        let kept = Checkpoints::new(Some(Self::key()), Some(self.file("kept.jsonl")));
        let first = vec![Entry::new(Kind::Started), Entry::new(Kind::Policy)];
        let clock: Arc<dyn Clock> = self.clock.clone();
        let writer = Writer::start(database.unwrap(), clock, LOG, first, kept).await;
        let writer = writer.unwrap();
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (closings, closing_queue) = mpsc::unbounded_channel();
        let redactor = Arc::new(Redactor::new(Vec::new()));
        let recorder = Recorder::new(jobs, closings, writer.health(), redactor);
        let writing = tokio::spawn(writer.run(job_queue, closing_queue));
        let mut open = Vec::new();
        for _ in 0..self.dice.below(DOINGS) {
            self.something(&recorder, &mut open).await;
        }
        let ends_in_order = self.dice.below(2) == 0;
        if ends_in_order {
            // Calls that nobody closed are closed as failed when they are dropped.
            drop((open, recorder));
            writing.await.unwrap().unwrap();
        } else {
            writing.abort();
            assert!(writing.await.unwrap_err().is_cancelled());
        }
        ends_in_order
    }

    async fn something(&mut self, recorder: &Recorder, open: &mut Vec<OpenCall>) {
        match self.dice.below(16) {
            0..5 => {
                let Some(call) = self.admit(recorder).await else {
                    return;
                };
                let (kind, ending) = match self.dice.below(5) {
                    0 => (Kind::Failed, Ending::Unclear),
                    1 => (Kind::Released, Ending::Unsent),
                    2 => {
                        self.kept = Some(self.call());
                        let until = self.clock.now().after(MINUTE * self.number(90));
                        (Kind::Settled, Ending::Kept(until))
                    }
                    _ => (Kind::Settled, Ending::Answered(Vec::new())),
                };
                let mut entry = Entry::new(kind);
                entry.call = Some(self.call());
                call.close(entry, ending).await;
            }
            5 => open.extend(self.admit(recorder).await),
            6 => {
                open.pop();
            }
            7 => {
                for _ in 0..self.dice.below(15) {
                    let mut entry = Entry::new(Kind::Denied).text("message", "no");
                    entry.agent = Some(self.dice.pick(&["ada", "bob"]).parse().unwrap());
                    entry.reason = Some("not_granted".into());
                    recorder.note(entry).await.unwrap();
                }
            }
            8 => {
                let minutes = self.number(90);
                self.clock.advance(MINUTE * minutes);
            }
            9 => {
                let hours = self.number(40);
                self.clock.advance(MINUTE * 60 * hours);
            }
            10 => {
                let minutes = self.number(120);
                self.clock.jump_back(MINUTE * minutes);
            }
            11 => {
                let minutes = self.number(600);
                self.clock.sleep(MINUTE * minutes);
            }
            order @ 12..15 => self.order(recorder, order).await,
            _ => recorder.tick(),
        }
        // As the housekeeping does: a checkpoint that is due is taken.
        recorder.tick();
        recorder.note(Entry::new(Kind::Policy)).await.unwrap();
    }

    /// What an operator may order at any time; what cannot be done is refused and changes nothing.
    async fn order(&mut self, recorder: &Recorder, which: u64) {
        let (why, before_us) = ("a test".to_owned(), self.clock.now().micros());
        let order = match which {
            12 => Order::Refund {
                call: self.call(),
                why,
            },
            13 => Order::RedactBefore { before_us, why },
            _ => Order::PruneBodies { before_us, why },
        };
        let by = By {
            name: "ada".into(),
            uid: 0,
        };
        drop(recorder.order(Instruction { order, by }, None).await);
    }

    fn number(&mut self, end: u64) -> u32 {
        u32::try_from(self.dice.below(end)).unwrap()
    }

    fn call(&self) -> CallId {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.calls.to_be_bytes());
        CallId::new(Timestamp::from_micros(0), random)
    }

    /// A call against one to three budgets; `None` when one of them is full.
    async fn admit(&mut self, recorder: &Recorder) -> Option<OpenCall> {
        self.calls += 1;
        let mut entry = Entry::new(Kind::Admitted).text("method", "tools/call");
        entry.call = Some(self.call());
        entry.agent = Some(self.dice.pick(&["ada", "bob"]).parse().unwrap());
        entry.tool = Some(self.dice.pick(&["imagine", "blend"]).into());
        let arguments = format!(r#"{{"number":{}}}"#, self.calls);
        let arguments = Redactor::new(Vec::new()).body(&arguments, &KeyNames::default());
        let body = Body::new(BodyKind::Arguments, arguments, [7; 16]);
        entry.body = Some(Arc::new(body));
        let limits = ["5/hour", "9/24h", "40/day from 06:00"];
        let count = usize::try_from(self.dice.below(3)).unwrap();
        let charges = limits[..=count].iter().map(|limit| Charge {
            key: BudgetKey::new(limit),
            limit: limit.parse().unwrap(),
            amount: 1,
            reported: None,
            refund: Refund::default(),
            place: Place {
                path: "budgets".into(),
                line: 1,
            },
        });
        let mut wanted = (charges.collect(), None);
        if let Some(before) = self.kept.take() {
            entry = entry.text("continues", &before.to_string());
            wanted = (Vec::new(), Some(before));
        }
        let zone = Zone::named("Africa/Cairo").unwrap();
        match recorder.admit(entry, self.call(), wanted, zone, None).await {
            Ok(open) => Some(open),
            Err(NotAdmitted::Full(..)) => None,
            Err(refused) => panic!("the disk is there, and no call has a key: {refused:?}"),
        }
    }

    /// What the proof says against all that is kept elsewhere.
    async fn verify(&self, file: &Path) -> Verified {
        let kept = std::fs::read_to_string(self.file("kept.jsonl")).unwrap_or_default();
        let checkpoints = kept
            .lines()
            .map(|line| Checkpoint::from_line(line).unwrap());
        let known = Known {
            head: None,
            log: Some(LogId(LOG)),
            key: Some(Self::key().public()),
            checkpoints: checkpoints.collect(),
            now: Some(self.clock.now()),
        };
        let readers = Readers::open(file).await.unwrap();
        let found = verify_against(&readers, known, |_| ()).await.unwrap();
        readers.close().await;
        found
    }

    /// The same of a copy that somebody changed.
    async fn verify_changed(&self, sql: &str) -> Option<Fault> {
        let copy = self.file("copy.db");
        for end in ["", "-wal", "-shm"] {
            let (from, to) = (
                self.file(&format!("log.db{end}")),
                self.file(&format!("copy.db{end}")),
            );
            drop(std::fs::remove_file(&to));
            if end != "-shm" && from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
        let options = SqliteConnectOptions::new()
            .filename(&copy)
            .foreign_keys(false);
        let mut thief = SqliteConnection::connect_with(&options).await.unwrap();
        let opened = "PRAGMA ignore_check_constraints = ON; DROP TRIGGER event_never_changes;
            DROP TRIGGER event_never_goes;";
        for statement in [opened, sql] {
            let statement = AssertSqlSafe(statement.to_owned());
            sqlx::raw_sql(statement).execute(&mut thief).await.unwrap();
        }
        thief.close().await.unwrap();
        self.verify(&copy).await.faults.into_iter().next()
    }
}

#[tokio::test]
async fn honest_histories_raise_no_alarm_and_whatever_is_changed_in_one_is_found() {
    let (mut events, mut crashes) = (0, 0);
    for seed in 0..HISTORIES {
        let mut history = History::new(seed);
        for life in 0..LIVES {
            crashes += u64::from(!history.live().await);
            let found = history.verify(&history.file("log.db")).await;
            assert_eq!(found.faults, [], "history {seed}, life {life}");
        }
        history.live().await;
        let found = history.verify(&history.file("log.db")).await;
        assert_eq!(found.faults, [], "history {seed}, the last life");
        assert!(found.checkpoint > 0);
        let head = found.head.seq;
        events += head;
        let last = u64::try_from(head).unwrap();
        // Not the first, nor the last: what a crash left as the last event nobody could miss.
        let seq = 2 + i64::try_from(history.dice.below(last - 2)).unwrap();
        let at = 1 + history.dice.below(20);
        let (sql, fault) = match seed % 3 {
            0 => (
                format!(
                    "UPDATE event SET meta = substr(meta, 1, {at})
                        || char(unicode(substr(meta, {at} + 1, 1)) + 1)
                        || substr(meta, {at} + 2) WHERE seq = {seq}"
                ),
                Fault::Changed { seq },
            ),
            1 => (
                format!("DELETE FROM event WHERE seq = {seq}"),
                Fault::Missing { seq },
            ),
            _ => (
                format!(
                    "UPDATE event SET seq = -1 WHERE seq = {seq};
                     UPDATE event SET seq = {seq} WHERE seq = {seq} - 1;
                     UPDATE event SET seq = {seq} - 1 WHERE seq = -1"
                ),
                Fault::Changed { seq: seq - 1 },
            ),
        };
        let found = history.verify_changed(&sql).await;
        assert_eq!(found, Some(fault), "{seed}: {sql}");
    }
    assert!(events > 2_500 && crashes > 30, "{events}, {crashes}");
}
