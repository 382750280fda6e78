//! `hayward audit export`: a file that proves itself, whatever interrupts its making.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hayward::audit::{Chained, Entry, Head, Kind, Names, append};
use hayward::db::{self, Durability};
use hayward::types::Timestamp;
use serde_json::{Value, json};

use super::gateway::{Ended, Site};
use crate::support::{Stopped, World};

/// The log of a gateway that ran on four days.
struct Handed {
    site: Site,
    log: Stopped,
}

impl Handed {
    async fn start() -> Self {
        let mut world = World::small("budgets: [3/day, 40 total]").await;
        let rules = World::small_policy("budgets: [3/day, 40 total]");
        for day in ["21", "22", "23", "24"] {
            for _ in 0..4 {
                world.agent("clawd").call("imagine", json!({})).await;
            }
            world.set_clock(Duration::ZERO, &format!("2026-11-{day}T12:00:00Z"));
            world.restart(&rules).await;
        }
        Self {
            site: Site::new(""),
            log: world.stop().await,
        }
    }

    async fn run(&self, words: &[&str]) -> Ended {
        let db = ["--db", self.log.file.to_str().unwrap()];
        self.site.run(&[&["audit"], words, &db].concat()).await
    }

    async fn export(&self, name: &str, words: &[&str]) -> PathBuf {
        let written = self
            .run(&[&["export", "--out", name], words].concat())
            .await;
        written.says(0, &["events, "]);
        self.site.path(name)
    }

    async fn verify(&self, files: &[&str], words: &[&str]) -> Ended {
        let line = [&["audit", "verify", "--export"], files, words].concat();
        self.site.run(&line).await
    }
}

fn manifest(file: &Path) -> PathBuf {
    file.with_added_extension("manifest.json")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_the_log_to_the_byte_and_proves_itself() {
    let handed = Handed::start().await;
    let file = handed.export("all.jsonl", &[]).await;
    let noted = json_of(&manifest(&file));
    assert_eq!(noted["head"], handed.log.head.hex());
    assert_eq!(noted["last"], handed.log.head.seq);
    assert!(noted["checkpoints"].as_array().unwrap().len() >= 10);
    let text = std::fs::read_to_string(&file).unwrap();
    let events = crate::support::events(&handed.log.file).await;
    assert_eq!(text.lines().count(), events.len());
    for (line, event) in text.lines().zip(&events) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (line["seq"].as_i64(), &line["event"]),
            (Some(event.seq), &event.meta)
        );
    }
    let sound = handed
        .verify(&["all.jsonl"], &["--expect-head", &handed.log.head.hex()])
        .await;
    assert_eq!(sound.code, Some(0), "{sound:?}");
    assert!(
        sound.out.contains(&format!("ok: {} events", events.len())),
        "{sound:?}"
    );

    // Nothing is overwritten, and what is no name of a log is refused.
    handed
        .run(&["export", "--out", "all.jsonl"])
        .await
        .says(4, &["all.jsonl` exists"]);
    handed
        .run(&["export", "--out", "x", "--since", "2099-01-01"])
        .await
        .says(4, &["no events"]);
    handed
        .run(&["export", "--out", "x", "--resume"])
        .await
        .says(4, &["no export to resume"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_of_some_days_join_and_a_gap_between_them_shows() {
    let handed = Handed::start().await;
    let days =
        |from: &'static str, to: &'static str| ["--tz", "UTC", "--since", from, "--until", to];
    handed
        .export("a", &["--until", "2026-11-21T12:00:00Z"])
        .await;
    handed
        .export("b", &days("2026-11-21T12:00Z", "2026-11-23"))
        .await;
    handed
        .export("c", &["--tz", "UTC", "--since", "2026-11-23"])
        .await;
    let verify = async |files: &[&str]| handed.verify(files, &[]).await.code;
    assert_eq!(verify(&["a", "b", "c"]).await, Some(0));
    assert_eq!(verify(&["c", "a", "b"]).await, Some(0), "in any order");
    assert_eq!(verify(&["b"]).await, Some(0), "one alone");
    assert_eq!(verify(&["a", "c"]).await, Some(3), "the middle is missing");
    assert_eq!(verify(&["a", "a"]).await, Some(2), "twice the same");
    assert_eq!(verify(&["a", "nowhere"]).await, Some(7));
    assert_eq!(
        handed
            .verify(&["a"], &["--log-id", &"0".repeat(32)])
            .await
            .code,
        Some(5)
    );

    // What was noted elsewhere about other events proves nothing here, which is said.
    let noted = json_of(&manifest(&handed.site.path("c")));
    let line = noted["checkpoints"][0].to_string();
    std::fs::write(handed.site.path("kept"), line).unwrap();
    let kept = ["--checkpoints", "kept"];
    assert_eq!(handed.verify(&["c"], &kept).await.code, Some(0));
    let other = handed.verify(&["a"], &kept).await;
    assert_eq!(other.code, Some(7), "{other:?}");
    assert_eq!(
        handed
            .verify(&["c"], &["--public-key", &"0".repeat(64)])
            .await
            .code,
        Some(5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_an_export_shows() {
    let handed = Handed::start().await;
    let file = handed.export("good", &[]).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != gone);
        kept.map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };
    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    let table = [
        (
            "a word is another",
            text.replacen("imagine", "imaging", 1),
            2,
        ),
        ("a line is missing", without(4), 3),
        ("the last line is missing", without(lines.len() - 1), 3),
        ("two lines change places", swapped.join("\n") + "\n", 3),
        ("something follows", format!("{text}{}\n", lines[0]), 3),
        (
            "the last line is torn",
            text[..text.len() - 5].to_owned(),
            2,
        ),
        (
            "a blank stands in a line",
            text.replacen("{\"seq\":1,", "{\"seq\": 1,", 1),
            2,
        ),
        ("it is empty", String::new(), 3),
    ];
    std::fs::copy(manifest(&file), manifest(&handed.site.path("bad"))).unwrap();
    for (what, changed, code) in table {
        assert_ne!(changed, text, "{what}");
        std::fs::write(handed.site.path("bad"), changed).unwrap();
        let found = handed.verify(&["bad"], &[]).await;
        assert_eq!(found.code, Some(code), "{what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_has_a_row_for_every_event() {
    let handed = Handed::start().await;
    let file = handed.export("all.csv", &["--format", "csv"]).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let events = crate::support::events(&handed.log.file).await;
    assert_eq!(text.lines().count(), events.len() + 1);
    assert!(text.lines().all(|line| line.len() > 64));
    assert_eq!(
        handed.verify(&["all.csv"], &[]).await.code,
        Some(7),
        "says that it cannot"
    );
}

/// Every state a crash can leave behind, made by hand from a finished export.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_was_interrupted_anywhere_becomes_the_same_file() {
    let handed = Handed::start().await;
    for form in ["jsonl", "csv"] {
        let file = handed.export(form, &["--format", form]).await;
        let whole = std::fs::read(&file).unwrap();
        let described = std::fs::read(manifest(&file)).unwrap();
        let noted = json_of(&manifest(&file));
        let plan = json!({
            "export": "hayward/export/v1", "form": form, "log": noted["log"], "first": noted["first"],
            "last": noted["last"], "previous": noted["previous"], "head": noted["head"],
        });
        let target = handed.site.path("again");
        let with = |end: &str| PathBuf::from(format!("{}.{end}", target.display()));
        let clear = || {
            let ends = ["part", "plan", "manifest.json"].map(with);
            for path in ends.iter().chain([&target]) {
                drop(std::fs::remove_file(path));
            }
        };
        let torn: Vec<Vec<u8>> = [0, 1, 300, whole.len() / 2, whole.len() - 1, whole.len()]
            .iter()
            .map(|length| whole[..*length].to_vec())
            .collect();
        let mut spoilt = whole.clone();
        spoilt[whole.len() / 3] ^= 1;
        let zeros = [&whole[..700], &[0; 4_096][..]].concat();
        let parts = torn
            .into_iter()
            .chain([spoilt, zeros])
            .map(Some)
            .chain([None]);
        for (number, part) in parts.enumerate() {
            clear();
            std::fs::write(with("plan"), plan.to_string()).unwrap();
            if let Some(part) = &part {
                std::fs::write(with("part"), part).unwrap();
                handed
                    .run(&["export", "--out", "again"])
                    .await
                    .says(4, &["--resume"]);
            }
            let resumed = handed.run(&["export", "--out", "again", "--resume"]).await;
            resumed.says(0, &[]);
            assert!(std::fs::read(&target).unwrap() == whole, "{form} {number}");
            assert!(
                std::fs::read(manifest(&target)).unwrap() == described,
                "{form} {number}"
            );
            assert!(!with("part").exists() && !with("plan").exists());
        }
        // The crash came after the file got its name.
        clear();
        std::fs::write(with("plan"), plan.to_string()).unwrap();
        std::fs::write(&target, &whole).unwrap();
        std::fs::write(with("manifest.json"), &described).unwrap();
        handed
            .run(&["export", "--out", "again", "--resume"])
            .await
            .says(0, &[]);
        assert!(std::fs::read(&target).unwrap() == whole);
        clear();
    }
}

/// A log with so many events that an export takes a while.
async fn long_log(path: &Path, events: i64) -> Head {
    let start = Timestamp::from_micros(1_795_176_000_000_000);
    let mut database = db::open(path, Durability::Process).await.unwrap();
    let log = database.identity([7; 16], start).await.unwrap();
    let (mut head, mut names) = (Head::empty(log), Names::default());
    for batch in 0..events / 1_000 {
        let written: Vec<Chained> = (0..1_000)
            .map(|number| {
                let entry = Entry::new(Kind::Policy).text("why", &"so it is ".repeat(40));
                let at = start.after(Duration::from_secs(
                    u64::try_from(batch * 1_000 + number).unwrap(),
                ));
                Chained::after(&mut head, log, &mut names, &entry, at)
            })
            .collect();
        database
            .transact(|tx| append(tx, &mut names, &written))
            .unwrap();
    }
    database.close().await.unwrap();
    head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_killed_again_and_again_becomes_the_same_file() {
    let site = Site::new("");
    long_log(&site.db(), 10_000).await;
    site.run(&["audit", "export", "--out", "whole"])
        .await
        .says(0, &[]);
    let whole = std::fs::read(site.path("whole")).unwrap();
    let part = site.path("killed.part");
    let length = || std::fs::metadata(&part).map_or(0, |part| part.len());
    let mut kills = 0;
    let mut words = vec!["audit", "export", "--out", "killed"];
    while !site.path("killed").exists() {
        let before = length();
        let mut child = site.spawn(&words);
        // Until it wrote something more, or was faster than we.
        while length() <= before && child.try_wait().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        kills += i32::from(child.try_wait().unwrap().is_none());
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        words = vec!["audit", "export", "--out", "killed", "--resume"];
    }
    assert!(kills > 0, "killed {kills} times in the middle");
    if site.path("killed.plan").exists() {
        site.run(&words).await.says(0, &[]);
    }
    assert!(std::fs::read(site.path("killed")).unwrap() == whole);
    assert_eq!(
        site.run(&["audit", "verify", "--export", "killed"])
            .await
            .code,
        Some(0)
    );
}
