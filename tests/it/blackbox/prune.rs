//! `hayward audit prune`: old events go in good order, and what is left still proves itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};

use super::agent::Agent;
use super::gateway::{Ended, Site};
use super::records;
use super::start::open_rules;
use super::truth::Truth;
use crate::support::{FakeUpstream, Stopped, World, events};

pub(super) const BUDGETS: &str = "budgets: [{limit: 3/day, tools: [imagine]}, 40 total]";

/// A log that no gateway has open, and the place where commands are run on it.
pub(super) struct Old {
    pub(super) site: Site,
    pub(super) file: PathBuf,
    /// What keeps its folder.
    _log: Option<Stopped>,
}

/// A call that is let through on one day and ends on the next.
pub(super) async fn over_midnight(world: &World, midnight: &str) {
    world.set_clock(Duration::from_secs(1), midnight);
    let images = world.server("images");
    let before = images.calls();
    let agent = world.agent("clawd");
    let slow = agent.call("slow", json!({}));
    let ends = async {
        images.until_calls(before + 1).await;
        world.clock().advance(Duration::from_secs(2));
        images.release(1);
    };
    let (answer, ()) = tokio::join!(slow, ends);
    assert!(answer["result"].is_object(), "{answer}");
}

impl Old {
    /// Of a gateway that ran on four days, some calls of which lasted over midnight.
    async fn start() -> Self {
        let mut world = World::builder()
            .server("images", FakeUpstream::legacy())
            .start(&World::small_policy(BUDGETS))
            .await;
        for day in ["21", "22", "23", "24"] {
            for _ in 0..4 {
                world.agent("clawd").call("imagine", json!({})).await;
            }
            over_midnight(&world, &format!("2026-11-{day}T00:00:00Z")).await;
            world.set_clock(Duration::ZERO, &format!("2026-11-{day}T12:00:00Z"));
            world.restart(&World::small_policy(BUDGETS)).await;
        }
        let old = Self::of(world.stop().await);
        old.keep_checkpoints("kept").await;
        old
    }

    /// The log that a gateway left.
    fn of(log: Stopped) -> Self {
        let old = Self::at(&log.file);
        Self {
            _log: Some(log),
            ..old
        }
    }

    /// The log in a file of somebody else's.
    pub(super) fn at(file: &Path) -> Self {
        let site = Site::new("");
        std::fs::create_dir(site.path("archive")).unwrap();
        Self {
            site,
            file: file.into(),
            _log: None,
        }
    }

    /// Notes the checkpoints of the log in a file elsewhere, as a gateway does.
    pub(super) async fn keep_checkpoints(&self, name: &str) {
        let folder = self.site.path("scratch");
        std::fs::create_dir_all(&folder).unwrap();
        let whole = folder.join(name);
        let written = [
            "audit",
            "export",
            "--db",
            self.db(),
            "--out",
            whole.to_str().unwrap(),
        ];
        self.site.run(&written).await.says(0, &[]);
        let manifest =
            std::fs::read_to_string(whole.with_added_extension("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let lines = manifest["checkpoints"].as_array().unwrap().iter();
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        std::fs::write(self.site.path(name), lines).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
    }

    pub(super) fn db(&self) -> &str {
        self.file.to_str().unwrap()
    }

    pub(super) async fn run(&self, words: &[&str]) -> Ended {
        self.site
            .run(&[&["audit"], words, &["--db", self.db()]].concat())
            .await
    }

    pub(super) async fn prune(&self, words: &[&str]) -> Ended {
        let how = [
            "prune",
            "--checkpoints",
            "kept",
            "--archive",
            "archive",
            "--yes",
        ];
        self.run(&[&how, words].concat()).await
    }

    pub(super) async fn verify(&self, words: &[&str]) -> Ended {
        self.run(&[&["verify"], words].concat()).await
    }

    fn archives(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.site.path("archive")).unwrap();
        let files = files.map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files
            .filter(|file| file.extension().is_some_and(|end| end == "jsonl"))
            .collect();
        files.sort();
        files
    }

    pub(super) async fn is_sound(&self) {
        for words in [&[][..], &["--checkpoints", "kept"]] {
            let found = self.verify(words).await;
            assert_eq!(found.code, Some(0), "{found:#?}");
        }
        let counts = ["budget", "verify", "--db", self.db()];
        let counts = self.site.run(&counts).await;
        assert_eq!(counts.code, Some(0), "{counts:#?}");
        let archives = self.archives();
        let archives: Vec<&str> = archives.iter().map(|file| file.to_str().unwrap()).collect();
        if archives.is_empty() {
            return;
        }
        let across = self
            .verify(&[&["--checkpoints", "kept", "--archive"], &archives[..]].concat())
            .await;
        assert_eq!(across.code, Some(0), "{across:#?}");
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut file = records::open(Path::new(self.db()), false).await;
        let count = sqlx::query_scalar(sql).fetch_one(&mut file).await.unwrap();
        file.close().await.unwrap();
        count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_days_go_and_the_rest_proves_itself_and_its_budgets() {
    let old = Old::start().await;
    // One of the calls that go was refunded, and the refund stays.
    let paid: Vec<String> = events(&old.file)
        .await
        .iter()
        .filter(|event| event.kind == "settled" && event.text("tool") == "imagine")
        .map(|event| event.text("call").to_owned())
        .collect();
    let refund = async |call: &str| {
        let line = [
            "budget",
            "refund",
            call,
            "--why",
            "it was empty",
            "--db",
            old.db(),
        ];
        old.site.run(&line).await
    };
    refund(&paid[0]).await.says(0, &[]);
    old.keep_checkpoints("kept").await;
    let all = events(&old.file).await;
    let used = old.count("SELECT sum(used) FROM budget_window").await;
    let told = old
        .run(&["prune", "--before", "2026-11-22", "--checkpoints", "kept"])
        .await;
    told.says(0, &["nothing was changed"]);
    assert!(told.out.contains("would go"), "{told:?}");
    assert_eq!(events(&old.file).await.len(), all.len());

    old.prune(&["--before", "2026-11-22"]).await.says(0, &[]);
    old.is_sound().await;
    let left = events(&old.file).await;
    let gone = all
        .iter()
        .filter(|event| event.meta["at_us"].as_i64().unwrap() < 1_795_305_600_000_000)
        .count();
    let kept = &all[gone..];
    assert!(gone > 10 && kept.len() > 10);
    let same = left
        .iter()
        .zip(kept)
        .all(|(left, kept)| left.seq == kept.seq && left.meta == kept.meta);
    assert!(same, "what was not pruned stands as it stood");
    let pruned: Vec<_> = left.iter().filter(|event| event.kind == "pruned").collect();
    assert_eq!(pruned.len(), 1);
    assert_eq!(pruned[0].meta["last"].as_u64(), u64::try_from(gone).ok());
    assert_eq!(pruned[0].text("why"), "retention");
    assert_eq!(old.count("SELECT sum(used) FROM budget_window").await, used);
    let calls = old
        .run(&["query", "--format", "jsonl", "tool=imagine"])
        .await;
    assert!(
        calls.out.lines().count()
            < all
                .iter()
                .filter(|event| event.text("tool") == "imagine")
                .count()
    );

    refund(&paid[1]).await.says(1, &["there is no call"]);
    let carried = old
        .count("SELECT json_array_length(seam, '$.carried') FROM pruned")
        .await;
    assert_eq!(carried, 1, "the call over midnight");

    // Once more, over what the first left behind.
    old.keep_checkpoints("kept").await;
    old.prune(&["--before", "2026-11-24"]).await.says(0, &[]);
    old.is_sound().await;
    assert_eq!(old.archives().len(), 2);
    let archives = old.archives();
    let names: Vec<&str> = archives.iter().map(|file| file.to_str().unwrap()).collect();
    let joined = old
        .site
        .run(&[&["audit", "verify", "--export"], &names[..]].concat())
        .await;
    assert_eq!(joined.code, Some(0), "{joined:?}");
    let again = old.prune(&["--before", "2026-11-24"]).await;
    assert!(again.out.contains("nothing to prune"), "{again:?}");
    assert_eq!(old.count("SELECT sum(used) FROM budget_window").await, used);
    let exported = old.run(&["export", "--out", "rest"]).await;
    exported.says(0, &[]);
    let rest = [&["audit", "verify", "--export", "rest"], &names[..]].concat();
    assert_eq!(
        old.site.run(&rest).await.code,
        Some(0),
        "archives and the rest join"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_that_is_not_archived_covered_and_over() {
    let old = Old::start().await;
    let count = events(&old.file).await.len();
    let day = ["prune", "--before", "2026-11-22"];
    let with = async |words: &[&str]| old.run(&[&day, words].concat()).await.code;
    assert_eq!(with(&["--yes"]).await, Some(2), "no archive");
    assert_eq!(with(&["--bodies-only"]).await, Some(0), "only tells");
    assert_eq!(with(&[]).await, Some(1), "no checkpoint");
    assert_eq!(
        with(&["--yes", "--archive", "archive"]).await,
        Some(1),
        "no checkpoint"
    );
    let kept = ["--checkpoints", "kept"];
    assert_eq!(
        with(&[&kept[..], &["--yes", "--archive", "nowhere"]].concat()).await,
        Some(4)
    );
    assert_eq!(old.prune(&["--before", "2099-01-01"]).await.code, Some(2));
    assert_eq!(old.prune(&["--keep", "3h"]).await.code, Some(2));
    assert_eq!(
        old.prune(&["--before", "2026-11-22", "--log-id", &"0".repeat(32)])
            .await
            .code,
        Some(5)
    );

    // The checkpoints end before the day does.
    let lines = std::fs::read_to_string(old.site.path("kept")).unwrap();
    let first = lines.lines().next().unwrap();
    std::fs::write(old.site.path("early"), first).unwrap();
    assert_eq!(with(&["--checkpoints", "early"]).await, Some(1));

    // An archive of the same name that is another file.
    let seq = events(&old.file).await;
    let last = seq
        .iter()
        .filter(|event| event.meta["at_us"].as_i64().unwrap() < 1_795_305_600_000_000)
        .count();
    let name = {
        old.run(&[
            "export",
            "--out",
            "archive",
            "--until",
            "2026-11-22",
            "--tz",
            "UTC",
        ])
        .await
        .says(0, &[]);
        old.archives()[0].clone()
    };
    assert!(
        name.to_str()
            .unwrap()
            .ends_with(&format!("-1-{last}.jsonl"))
    );
    let good = std::fs::read_to_string(&name).unwrap();
    std::fs::write(&name, good.replacen("imagine", "imaging", 1)).unwrap();
    let refused = old.prune(&["--before", "2026-11-22"]).await;
    refused.says(4, &["is not what was written"]);
    assert_eq!(events(&old.file).await.len(), count, "nothing went");
    std::fs::write(&name, good).unwrap();
    old.prune(&["--before", "2026-11-22"]).await.says(0, &[]);
    old.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_forges_what_was_pruned_is_found_out() {
    let old = Old::start().await;
    old.prune(&["--before", "2026-11-22"]).await.says(0, &[]);
    let whole = std::fs::read(old.db()).unwrap();
    let table = [
        (
            "a total is another",
            "UPDATE pruned SET seam = replace(seam, '\"used\":3', '\"used\":2')",
            3,
        ),
        (
            "the cut is at another event",
            "UPDATE pruned SET last_seq = last_seq + 1",
            2,
        ),
        (
            "the hash of the cut is another",
            "UPDATE pruned SET head = randomblob(32)",
            2,
        ),
        (
            "a counter is lowered",
            "UPDATE budget_window SET used = used - 1 WHERE used = 3",
            6,
        ),
        (
            "one more event is missing",
            "DROP TRIGGER event_never_goes; DELETE FROM event WHERE seq = (SELECT min(seq) FROM event)",
            3,
        ),
        (
            "another event is said to have pruned",
            "UPDATE pruned SET event_seq = event_seq + 1",
            3,
        ),
        (
            "a name is another",
            "UPDATE name SET text = 'imaging' WHERE text = 'imagine'",
            3,
        ),
    ];
    for (what, sql, code) in table {
        std::fs::write(old.db(), &whole).unwrap();
        for end in ["-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", old.db())));
        }
        let mut thief = records::open(Path::new(old.db()), true).await;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut thief)
            .await
            .unwrap();
        thief.close().await.unwrap();
        let found = old.verify(&[]).await;
        assert_eq!(found.code, Some(code), "{what}: {found:#?}");
    }
    std::fs::write(old.db(), &whole).unwrap();
    let mut thief = records::open(Path::new(old.db()), true).await;
    let refused = sqlx::raw_sql("DELETE FROM event WHERE seq = (SELECT min(seq) FROM event)")
        .execute(&mut thief)
        .await;
    assert!(refused.is_err(), "what was not pruned cannot be deleted");
    let refused = sqlx::raw_sql("UPDATE pruned SET last_seq = 1")
        .execute(&mut thief)
        .await;
    assert!(refused.is_err());
    thief.close().await.unwrap();

    // The archive is another file, or ends elsewhere, or is no proof of the totals.
    let archive = old.archives()[0].clone();
    let name = archive.to_str().unwrap();
    assert_eq!(old.verify(&["--archive", name]).await.code, Some(0));
    let good = std::fs::read_to_string(&archive).unwrap();
    std::fs::write(&archive, good.replacen("imagine", "imaging", 1)).unwrap();
    assert_eq!(old.verify(&["--archive", name]).await.code, Some(2));
    std::fs::write(&archive, good).unwrap();
    old.run(&["export", "--out", "short", "--until", "2026-11-22"])
        .await;
    assert_eq!(old.verify(&["--archive", "nowhere"]).await.code, Some(7));
}

/// Interrupted at any moment, a prune is nothing but not finished: the log verifies, and the next one ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_is_killed_again_and_again_is_finished_by_the_next() {
    let old = Old::start().await;
    let words = [
        "audit",
        "prune",
        "--before",
        "2026-11-23",
        "--checkpoints",
        "kept",
        "--archive",
        "archive",
        "--yes",
        "--db",
        old.db(),
    ];
    let mut kills = 0;
    for patience in 0..40_u64 {
        let mut child = old.site.spawn(&words);
        // Each time a little later; how far it came is a matter of luck. The first is killed at once.
        let waited = tokio::time::timeout(Duration::from_millis(patience * 10), child.wait()).await;
        if waited.is_ok() {
            break;
        }
        kills += 1;
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        let found = old.verify(&["--checkpoints", "kept"]).await;
        assert_eq!(found.code, Some(0), "after {patience}: {found:#?}");
    }
    assert!(kills > 0, "killed {kills} times");
    old.site.run(&words).await.says(0, &[]);
    old.is_sound().await;
    let left = events(&old.file).await;
    assert_eq!(
        left.iter().filter(|event| event.kind == "pruned").count(),
        1
    );
    let first = left[0].meta["at_us"].as_i64().unwrap();
    assert!(first >= 1_795_392_000_000_000, "everything before went");
}

/// The event was written, the deletion was not: what a crash leaves between the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_verifies_at_every_stage_of_the_deletion() {
    let old = Old::start().await;
    let before = std::fs::read(old.db()).unwrap();
    old.prune(&["--before", "2026-11-23"]).await.says(0, &[]);
    let last = old.count("SELECT last_seq FROM pruned").await;
    let mut after = records::open(Path::new(old.db()), true).await;
    let earlier = old.site.path("earlier.db");
    std::fs::write(&earlier, before).unwrap();
    // Puts the events back that went, from some place on, as if they had not gone yet.
    let attach = format!("ATTACH '{}' AS earlier", earlier.display());
    sqlx::raw_sql(AssertSqlSafe(attach))
        .execute(&mut after)
        .await
        .unwrap();
    for from in [last, last - 3, last / 2, 1] {
        let put = format!(
            "INSERT INTO event SELECT * FROM earlier.event WHERE seq BETWEEN {from} AND {last}
                AND seq < (SELECT min(seq) FROM main.event)"
        );
        sqlx::raw_sql(AssertSqlSafe(put))
            .execute(&mut after)
            .await
            .unwrap();
        let found = old.verify(&["--checkpoints", "kept"]).await;
        assert_eq!(found.code, Some(0), "from {from}: {found:#?}");
    }
    after.close().await.unwrap();
    let again = old.prune(&["--before", "2026-11-23"]).await;
    again.says(0, &[]);
    assert_eq!(old.count("SELECT min(seq) FROM event").await, last + 1);
    old.is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_runs_prunes_between_calls() {
    let old = Old::start().await;
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    old.site.write_policy(&open_rules(&truth, &agent));
    let gateway = old
        .site
        .serve(&["--db", old.db(), "--checkpoints", "kept"])
        .await;
    let url = gateway.url();
    let call = async |tag: &str| {
        let call = agent.call(&url, "truth", "echo", json!({"tag": tag}));
        assert!(call.await.unwrap().is_done(tag));
    };
    call("before").await;
    old.prune(&["--before", "2026-11-23"])
        .await
        .says(0, &["the gateway deletes them"]);
    call("meanwhile").await;
    let rest = "SELECT count(*) FROM event WHERE seq <= (SELECT last_seq FROM pruned)";
    while old.count(rest).await > 0 {
        tokio::task::yield_now().await;
    }
    call("after").await;
    old.is_sound().await;
    gateway.stop().await.says(0, &[]);
    old.is_sound().await;
    let by = events(&old.file).await;
    let pruned = by.iter().find(|event| event.kind == "pruned").unwrap();
    assert!(pruned.meta["uid"].is_u64(), "{}", pruned.meta);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_and_results_go_alone_and_their_events_stay() {
    let rules = "defaults: {capture: full}
servers: {images: {url: \"@images\"}}
agents: {clawd: {token_hash: \"@clawd\", servers: [\"*\"]}}";
    let mut world = World::builder()
        .server("images", FakeUpstream::legacy())
        .start(rules)
        .await;
    world
        .agent("clawd")
        .call("imagine", json!({"of": "a hayward"}))
        .await;
    world.set_clock(Duration::ZERO, "2026-11-22T12:00:00Z");
    world.restart(rules).await;
    world
        .agent("clawd")
        .call("imagine", json!({"of": "a fence"}))
        .await;
    let old = Old::of(world.stop().await);
    let bodies = "SELECT count(*) FROM body";
    let all = old.count(bodies).await;
    assert!(all >= 4, "{all}");
    let how = ["prune", "--bodies-only", "--before", "2026-11-21"];
    let told = old.run(&how).await;
    told.says(0, &["nothing was changed"]);
    assert_eq!(old.count(bodies).await, all);
    old.run(&[&how[..], &["--yes"]].concat())
        .await
        .says(0, &["written down"]);
    let left = old.count(bodies).await;
    assert!(left >= 2 && left < all, "{left} of {all}");
    let found = old.verify(&[]).await;
    assert_eq!(found.code, Some(0), "{found:#?}");
    let events = events(&old.file).await;
    let pruned = events.iter().filter(|event| event.kind == "pruned");
    assert_eq!(pruned.count(), 1);
    assert_eq!(events[0].seq, 1, "no event went");
}
