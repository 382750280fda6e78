//! What the writer does with a file that goes away, and with a caller that does.

mod honest;
mod model;
mod news;

use std::path::{Path, PathBuf};

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::super::recorder::{QUEUE, Recorder};
use super::*;
use crate::audit::{self, Redactor};
use crate::clock::ManualClock;
use crate::db::{self, Durability};
use crate::policy::{Place, Refund};
use crate::types::BudgetKey;

/// A writer on a file of its own, and the way to it.
struct Desk {
    folder: TempDir,
    recorder: Recorder,
    news: watch::Receiver<i64>,
    writing: JoinHandle<Result<Head, DbError>>,
}

impl Desk {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = db::open(&folder.path().join("log.db"), Durability::Process)
            .await
            .unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(
            1_795_172_400_000_000,
        )));
        let first = vec![Entry::new(Kind::Started)];
        let writer = Writer::start(database, clock, [7; 16], first, Checkpoints::default())
            .await
            .unwrap();
        let (jobs, job_queue) = mpsc::channel(QUEUE);
        let (closings, closing_queue) = mpsc::unbounded_channel();
        Self {
            folder,
            recorder: Recorder::new(
                jobs,
                closings,
                writer.health(),
                Arc::new(Redactor::new(Vec::new())),
            ),
            news: writer.news(),
            writing: tokio::spawn(writer.run(job_queue, closing_queue)),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A call against a budget of two a day.
    async fn admit(&self, number: u8) -> Result<super::super::recorder::OpenCall, NotAdmitted> {
        let (entry, call, charges) = wish(number);
        let (wanted, zone) = ((charges, None), Zone::utc());
        self.recorder.admit(entry, call, wanted, zone, None).await
    }

    async fn until_recording(&self) {
        let recording = async {
            while !self.recorder.is_recording() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), recording)
            .await
            .expect("the log can be written again");
    }

    async fn close(self) -> (TempDir, Head) {
        drop(self.recorder);
        (self.folder, self.writing.await.unwrap().unwrap())
    }
}

fn wish(number: u8) -> (Entry, CallId, Vec<Charge>) {
    let call = CallId::new(Timestamp::from_micros(0), [number; 10]);
    let mut entry = Entry::new(Kind::Admitted);
    entry.call = Some(call);
    let charge = Charge {
        key: BudgetKey::new("two"),
        limit: "2/day".parse().unwrap(),
        amount: 1,
        reported: None,
        refund: Refund::default(),
        place: Place {
            path: "two".into(),
            line: 1,
        },
    };
    (entry, call, vec![charge])
}

fn failed(number: u8) -> Entry {
    let mut entry = Entry::new(Kind::Failed);
    entry.call = Some(wish(number).1);
    entry
}

/// The kinds of all events, what the budget has used, and what it holds.
async fn contents(file: &Path) -> (Vec<String>, i64, i64) {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let kinds = sqlx::query_scalar("SELECT kind FROM event ORDER BY seq")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let (used, held) = sqlx::query_as("SELECT sum(used), sum(held) FROM budget_window")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    (kinds, used, held)
}

#[tokio::test]
async fn nothing_is_admitted_into_a_file_that_was_removed_until_it_is_back() {
    let desk = Desk::open().await;
    let open = desk.admit(1).await.unwrap();
    let names = ["log.db", "log.db-wal", "log.db-shm"];
    let away = desk.folder.path().join("away");
    std::fs::create_dir(&away).unwrap();
    for name in names {
        std::fs::rename(desk.file(name), away.join(name)).unwrap();
    }
    let refused = desk.admit(2).await;
    assert!(matches!(refused, Err(NotAdmitted::Unrecorded)));
    assert!(!desk.recorder.is_recording());
    for name in names {
        std::fs::rename(away.join(name), desk.file(name)).unwrap();
    }
    desk.until_recording().await;
    open.close(failed(1), Ending::Unclear).await;
    desk.admit(3)
        .await
        .unwrap()
        .close(failed(3), Ending::Unclear)
        .await;
    assert!(matches!(desk.admit(4).await, Err(NotAdmitted::Full(..))));
    let (folder, _) = desk.close().await;
    let (kinds, used, held) = contents(&folder.path().join("log.db")).await;
    assert_eq!((used, held), (2, 0));
    // The second call was written before anyone saw that the file was gone; nobody forwarded it.
    let expected = "started admitted admitted released failed admitted failed denied stopped";
    assert_eq!(kinds.join(" "), expected);
}

#[tokio::test]
async fn an_older_copy_put_in_place_is_no_refill() {
    let desk = Desk::open().await;
    let old = desk.file("old.db");
    let vacuum = format!("VACUUM INTO '{}'", old.display());
    let options = SqliteConnectOptions::new().filename(desk.file("log.db"));
    let mut copying = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(vacuum))
        .execute(&mut copying)
        .await
        .unwrap();
    copying.close().await.unwrap();
    for number in 1..=2 {
        desk.admit(number)
            .await
            .unwrap()
            .close(failed(number), Ending::Unclear)
            .await;
    }
    std::fs::rename(&old, desk.file("log.db")).unwrap();
    std::fs::remove_file(desk.file("log.db-wal")).unwrap();
    std::fs::remove_file(desk.file("log.db-shm")).unwrap();
    for number in 3..=5 {
        let refused = desk.admit(number).await;
        assert!(refused.is_err(), "call {number}");
    }
    assert!(!desk.recorder.is_recording());
    assert!(matches!(desk.admit(6).await, Err(NotAdmitted::Unrecorded)));
    desk.writing.abort();
}

#[tokio::test]
async fn a_caller_that_gives_up_in_the_moment_it_is_let_through_leaves_no_hold() {
    let desk = Desk::open().await;
    let (entry, call, charges) = wish(1);
    let (wanted, zone) = ((charges, None), Zone::utc());
    let mut admitting = Box::pin(desk.recorder.admit(entry, call, wanted, zone, None));
    assert!(futures_util::poll!(&mut admitting).is_pending());
    // The next job is answered after this one was.
    desk.recorder.note(Entry::new(Kind::Policy)).await.unwrap();
    drop(admitting);
    let (folder, _) = desk.close().await;
    let (kinds, used, held) = contents(&folder.path().join("log.db")).await;
    assert_eq!((used, held), (0, 0));
    assert_eq!(kinds.join(" "), "started admitted policy released stopped");
}

#[tokio::test]
async fn a_call_writes_a_page_of_each_table_that_tells_of_it_and_of_one_index() {
    const FRAME: u64 = 4_096 + 24;
    let desk = Desk::open().await;
    let frames = || std::fs::metadata(desk.file("log.db-wal")).unwrap().len() / FRAME;
    // The first one makes the budget and its window.
    let first = desk.admit(1).await.unwrap();
    first.close(failed(1), Ending::Unclear).await;
    let before = frames();
    let second = desk.admit(2).await.unwrap();
    let between = frames();
    second.close(failed(2), Ending::Unclear).await;
    // event, its index by call, open_call, hold, budget_window; afterwards the same, and used_hour.
    assert_eq!((between - before, frames() - between), (5, 6));
}

/// How far lookups have come, and the last event.
async fn lookups(file: &Path) -> (i64, i64) {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let found = "SELECT seq, (SELECT max(seq) FROM event) FROM lookup_mark";
    let found = sqlx::query_as(found)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    found
}

#[tokio::test]
async fn lookups_are_built_between_batches_and_never_fall_far_behind() {
    let desk = Desk::open().await;
    for some in 0..24 {
        let notes = (0..256).map(|_| desk.recorder.note(Entry::new(Kind::Policy)));
        futures_util::future::join_all(notes).await;
        let (mark, last) = lookups(&desk.file("log.db")).await;
        // One run, and what came since the last look at it.
        assert!(
            last - mark <= 4_096 + 1_024,
            "{mark} of {last} after {some}"
        );
    }
    let (mark, _) = lookups(&desk.file("log.db")).await;
    assert!(mark >= 1_024, "{mark}");
    let (folder, head) = desk.close().await;
    let (mark, last) = lookups(&folder.path().join("log.db")).await;
    assert_eq!(
        (mark, last),
        (head.seq, head.seq),
        "the end builds the rest"
    );
}

#[tokio::test]
async fn the_end_of_a_long_log_is_sound_whatever_went_before_it() {
    let desk = Desk::open().await;
    let open = desk.admit(1).await.unwrap();
    desk.admit(2)
        .await
        .unwrap()
        .close(failed(2), Ending::Unclear)
        .await;
    let early = Entry::new(Kind::Checkpoint);
    desk.recorder.note(early).await.unwrap();
    for _ in 0..41 {
        let notes = (0..256).map(|_| desk.recorder.note(Entry::new(Kind::Policy)));
        futures_util::future::join_all(notes).await;
    }
    open.close(failed(1), Ending::Unclear).await;
    let (folder, head) = desk.close().await;
    let path = folder.path().join("log.db");
    let readers = db::Readers::open(&path).await.unwrap();
    let quickly = audit::verify_quickly(&readers, audit::Known::default());
    let found = quickly.await.unwrap().unwrap();
    assert_eq!((found.faults, found.head), (vec![], head));
    readers.close().await;
    // One call closed in the last events: the count is at least one.
    let mut database = db::open(&path, Durability::Process).await.unwrap();
    let change = "UPDATE budget_window SET used = 0";
    database.transact(|tx| tx.execute(change, ())).unwrap();
    database.close().await.unwrap();
    let readers = db::Readers::open(&path).await.unwrap();
    let quickly = audit::verify_quickly(&readers, audit::Known::default());
    let found = quickly.await.unwrap().unwrap();
    assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
    readers.close().await;
    // A window that began after them and that none of them tells of.
    let mut database = db::open(&path, Durability::Process).await.unwrap();
    let add = "INSERT INTO budget_window SELECT budget_id, ends_at_us + 1, ends_at_us + 2, 5, 5, 1, 0, 0, 0
        FROM budget_window LIMIT 1";
    database.transact(|tx| tx.execute(add, ())).unwrap();
    database.close().await.unwrap();
    let readers = db::Readers::open(&path).await.unwrap();
    let quickly = audit::verify_quickly(&readers, audit::Known::default());
    let found = quickly.await.unwrap().unwrap();
    assert_eq!(found.faults.len(), 2, "{:?}", found.faults);
    readers.close().await;
    // An event that may carry a checkpoint, long before them.
    let mut database = db::open(&path, Durability::Process).await.unwrap();
    let change = "UPDATE event SET meta = replace(meta, 'checkpoint', 'checkpaint') WHERE kind = 'checkpoint' AND seq < 100";
    database
        .transact(|tx| tx.execute("DROP TRIGGER event_never_changes", ()))
        .unwrap();
    let changed = database.transact(|tx| tx.execute(change, ())).unwrap();
    assert_eq!(changed, 1);
    database.close().await.unwrap();
    let readers = db::Readers::open(&path).await.unwrap();
    let quickly = audit::verify_quickly(&readers, audit::Known::default());
    let found = quickly.await.unwrap().unwrap();
    assert_eq!(found.faults.len(), 3, "{:?}", found.faults);
}

#[tokio::test]
async fn a_log_without_lookups_gets_them_while_calls_go_on() {
    let desk = Desk::open().await;
    for _ in 0..8 {
        let notes = (0..256).map(|_| desk.recorder.note(Entry::new(Kind::Policy)));
        futures_util::future::join_all(notes).await;
    }
    let (folder, _) = desk.close().await;
    let path = folder.path().join("log.db");
    let mut database = db::open(&path, Durability::Process).await.unwrap();
    for text in [
        "DELETE FROM lookup",
        "DELETE FROM rollup",
        "DELETE FROM rollup_refusal",
        "DELETE FROM all_quarter",
        "DELETE FROM agent_hour",
        "DELETE FROM tool_hour",
        "DELETE FROM agent_day",
        "DELETE FROM tool_day",
        "DELETE FROM pair_day",
        "DELETE FROM refusal_day",
        "DELETE FROM spend_quarter",
        "DELETE FROM spend_day",
        "UPDATE lookup_mark SET seq = 0",
    ] {
        database.transact(|tx| tx.execute(text, ())).unwrap();
    }
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(
        1_795_172_500_000_000,
    )));
    let first = vec![Entry::new(Kind::Started)];
    let writer = Writer::start(database, clock, [7; 16], first, Checkpoints::default())
        .await
        .unwrap();
    let (jobs, job_queue) = mpsc::channel(QUEUE);
    let (closings, closing_queue) = mpsc::unbounded_channel();
    let redactor = Arc::new(Redactor::new(Vec::new()));
    let recorder = Recorder::new(jobs, closings, writer.health(), redactor);
    let writing = tokio::spawn(writer.run(job_queue, closing_queue));
    let (entry, call, charges) = wish(9);
    let open = recorder.admit(entry, call, (charges, None), Zone::utc(), None);
    let open = open.await.unwrap();
    open.close(failed(9), Ending::Unclear).await;
    drop(recorder);
    let head = writing.await.unwrap().unwrap();
    assert_eq!(lookups(&path).await, (head.seq, head.seq));
    let readers = db::Readers::open(&path).await.unwrap();
    let verified = audit::verify(&readers, Some(head.hash), |_| ()).await;
    assert_eq!(verified.unwrap().faults, []);
}
