//! What exported and signed checkpoints prove: whoever may write the file and computes all hashes anew is found out.

use std::path::{Path, PathBuf};

use hayward::audit::{genesis, next_hash};
use hayward::db::LogId;
use hayward::types::hex;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};

use super::agent::Agent;
use super::gateway::{PATIENCE, Site};
use super::records;
use super::start::open_rules;
use super::truth::Truth;

/// A log of a gateway that signed and exported its checkpoints, and what a reviewer keeps of it.
struct Reviewed {
    site: Site,
    log: String,
    key: String,
}

const FLAGS: [&str; 4] = ["--checkpoints", "kept.jsonl", "--signing-key", "secret"];

impl Reviewed {
    async fn start(truth: &Truth) -> Self {
        let agent = Agent::new("a-token-of-a-test");
        let site = Site::new(&open_rules(truth, &agent));
        let key = site.run(&["audit", "key", "secret"]).await;
        key.says(0, &[]);
        let reviewed = Self {
            log: String::new(),
            key: key.out.trim().to_owned(),
            site,
        };
        reviewed.serve(&agent).await;
        reviewed.serve(&agent).await;
        let said = reviewed.site.run(&["audit", "verify"]).await;
        let log = said.out.split("log ").nth(1).unwrap();
        let log = log.split(',').next().unwrap().to_owned();
        Self { log, ..reviewed }
    }

    /// One run of the gateway, with two calls.
    async fn serve(&self, agent: &Agent) {
        let gateway = self.site.serve(&FLAGS).await;
        for tag in ["1", "2"] {
            let done = agent
                .call(&gateway.url(), "truth", "echo", json!({"tag": tag}))
                .await;
            assert!(done.unwrap().is_done(tag));
        }
        gateway.stop().await.says(0, &["stopped    log head "]);
    }

    /// What `verify` says of a changed copy: with nothing to compare, with the key, with the exported file.
    async fn verdicts(&self, sql: &[&str], forges: bool) -> [Option<i32>; 3] {
        let copy = self.copy();
        let mut thief = records::open(&copy, true).await;
        for statement in [
            "DROP TRIGGER event_never_changes",
            "DROP TRIGGER event_never_goes",
        ]
        .iter()
        .chain(sql)
        {
            let statement = AssertSqlSafe((*statement).to_owned());
            sqlx::raw_sql(statement).execute(&mut thief).await.unwrap();
        }
        if forges {
            forge(&mut thief).await;
        }
        thief.close().await.unwrap();
        self.verify_all("copy.db").await
    }

    fn copy(&self) -> PathBuf {
        let copy = self.site.db().with_file_name("copy.db");
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", copy.display())));
        }
        std::fs::copy(self.site.db(), &copy).unwrap();
        copy
    }

    async fn verify_all(&self, db: &str) -> [Option<i32>; 3] {
        let with = async |flags: &[&str]| {
            let line = [&["audit", "verify", "--db", db], flags].concat();
            self.site.run(&line).await.code
        };
        [
            with(&[]).await,
            with(&["--public-key", &self.key]).await,
            with(&[
                "--public-key",
                &self.key,
                "--log-id",
                &self.log,
                "--checkpoints",
                "kept.jsonl",
            ])
            .await,
        ]
    }
}

/// Computes all that has no key anew: sequences, hashes, and the heads that checkpoints name.
async fn forge(thief: &mut sqlx::sqlite::SqliteConnection) {
    let log: Vec<u8> = sqlx::query_scalar("SELECT log_id FROM gateway")
        .fetch_one(&mut *thief)
        .await
        .unwrap();
    let log = LogId(log.try_into().unwrap());
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT seq, meta FROM event ORDER BY seq")
        .fetch_all(&mut *thief)
        .await
        .unwrap();
    let mut head = genesis(log);
    for (index, (seq, meta)) in rows.into_iter().enumerate() {
        let due = i64::try_from(index).unwrap() + 1;
        let mut event: serde_json::Value = serde_json::from_str(&meta).unwrap();
        let mut meta = meta;
        for (key, new) in [("head", hex(&head)), ("through", (due - 1).to_string())] {
            if let Some(old) = event.get_mut(key).map(serde_json::Value::take) {
                let old = old
                    .as_str()
                    .map_or_else(|| old.to_string(), ToOwned::to_owned);
                let quote = if key == "head" { "\"" } else { "" };
                let from = format!("\"{key}\":{quote}{old}{quote}");
                meta = meta.replace(&from, &format!("\"{key}\":{quote}{new}{quote}"));
            }
        }
        head = next_hash(log, due, &head, &meta);
        sqlx::query("UPDATE event SET seq = $1, meta = $2, hash = $3 WHERE seq = $4")
            .bind(due)
            .bind(meta)
            .bind(head.as_slice())
            .bind(seq)
            .execute(&mut *thief)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_the_chain_cannot_show_the_signature_and_the_exported_file_do() {
    let truth = Truth::start().await;
    let reviewed = Reviewed::start(&truth).await;
    assert_eq!(
        reviewed.verify_all("hayward.db").await,
        [Some(0); 3],
        "an honest log"
    );

    // Two runs of two calls each. What is done, and who notices with which code.
    let edit = "UPDATE event SET meta = replace(meta, 'echo', 'eggo')
        WHERE seq = (SELECT min(seq) FROM event WHERE kind = 'settled' AND tool_id IS NOT NULL)";
    let swap = "UPDATE event SET seq = 1000 + seq WHERE seq IN (5, 6);
        UPDATE event SET seq = 1011 - seq WHERE seq > 1000";
    let table: [(&str, &[&str], bool, [i32; 3]); 7] = [
        ("an event is edited", &[edit], false, [2, 2, 2]),
        (
            "the name of a column is edited",
            &["UPDATE name SET text = 'eggo' WHERE text = 'echo'"],
            false,
            [2, 2, 2],
        ),
        (
            "an event is taken out",
            &["DELETE FROM event WHERE seq = 5"],
            false,
            [3, 3, 3],
        ),
        ("two events change places", &[swap], false, [2, 2, 2]),
        (
            "the end is cut off",
            &["DELETE FROM event WHERE seq > (SELECT min(seq) FROM event WHERE kind = 'stopped')"],
            false,
            [0, 0, 4],
        ),
        (
            "the method of a call is edited, and all hashes are computed anew",
            &[
                "UPDATE event SET meta = replace(meta, '\"method\":\"tools/call\"', '\"method\":\"tools/calm\"')",
            ],
            true,
            [5, 5, 4],
        ),
        (
            "a whole run is cut off, and all hashes are computed anew",
            &["DELETE FROM event WHERE seq > (SELECT min(seq) FROM event WHERE kind = 'stopped')"],
            true,
            [0, 0, 4],
        ),
    ];
    for (what, sql, forges, codes) in table {
        let mut sql = sql.to_vec();
        // Whoever cuts off calls also puts the counters right: here there are none. And the lookups.
        sql.push(
            "DELETE FROM open_call; DELETE FROM lookup; DELETE FROM rollup; DELETE FROM rollup_refusal;
            UPDATE lookup_mark SET seq = 0",
        );
        let found = reviewed.verdicts(&sql, forges).await;
        assert_eq!(found, codes.map(Some), "{what}");
    }
}

#[tokio::test]
async fn another_log_or_key_or_an_unreadable_file_of_checkpoints_is_refused() {
    let truth = Truth::start().await;
    let (reviewed, other) = (Reviewed::start(&truth).await, Reviewed::start(&truth).await);
    let verify = async |flags: &[&str]| {
        let line = [&["audit", "verify"], flags].concat();
        reviewed.site.run(&line).await
    };
    assert_eq!(verify(&["--public-key", &other.key]).await.code, Some(5));
    assert_eq!(verify(&["--log-id", &other.log]).await.code, Some(5));
    let foreign = other.site.db().with_file_name("kept.jsonl");
    let foreign = foreign.to_str().unwrap();
    assert_eq!(verify(&["--checkpoints", foreign]).await.code, Some(5));

    let beside = |name: &str| reviewed.site.db().with_file_name(name);
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    write(&beside("empty"), "");
    write(&beside("torn"), "{\"log\":\"00");
    for file in ["empty", "torn", "nowhere"] {
        let refused = verify(&["--checkpoints", file]).await;
        assert_eq!(refused.code, Some(7), "{file}: {refused:?}");
    }
}

/// Calls until the log says that the file elsewhere covers something.
async fn exported(reviewed: &Reviewed, agent: &Agent) -> serde_json::Value {
    let gateway = reviewed.site.serve(&FLAGS).await;
    let telling = async {
        for tag in 0_u64.. {
            let tag = tag.to_string();
            let tags = json!({"tag": tag});
            let done = agent.call(&gateway.url(), "truth", "echo", tags).await;
            assert!(done.unwrap().is_done(&tag));
            let records = records::Records::read(&reviewed.site.db()).await;
            let mut events = records.events.iter().rev();
            let told = events.find(|event| event.kind == "exported" || event.kind == "started");
            if let Some(told) = told.filter(|event| event.kind == "exported") {
                return told.meta.clone();
            }
        }
        unreachable!()
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    gateway.kill().await;
    told.expect("the log says what was exported")
}

#[tokio::test]
async fn the_log_says_what_was_exported_and_half_a_line_is_no_tampering() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let reviewed = Reviewed::start(&truth).await;
    let told = exported(&reviewed, &agent).await;
    assert_eq!(told["file"], json!("kept.jsonl"));
    assert!(told["exported"].as_i64().unwrap() > 0);

    // Killed in the middle of a line, and between the log and the file.
    let kept = reviewed.site.path("kept.jsonl");
    let whole = std::fs::read_to_string(&kept).unwrap();
    std::fs::write(&kept, format!("{whole}{{\"log\":\"")).unwrap();
    assert_eq!(reviewed.verify_all("hayward.db").await, [Some(0); 3]);
    let lines: Vec<&str> = whole.lines().collect();
    let behind = lines[..lines.len() - 1].join("\n");
    std::fs::write(&kept, behind).unwrap();
    assert_eq!(reviewed.verify_all("hayward.db").await, [Some(0); 3]);

    // The next start exports again what covers all of it.
    let before = records::Records::read(&reviewed.site.db())
        .await
        .events
        .len();
    let told = exported(&reviewed, &agent).await;
    let through = told["exported"].as_u64().unwrap();
    assert!(through >= u64::try_from(before).unwrap(), "{told}");
    let mended = std::fs::read_to_string(&kept).unwrap();
    assert!(mended.ends_with('\n'), "{mended}");
    assert_eq!(reviewed.verify_all("hayward.db").await, [Some(0); 3]);
}
