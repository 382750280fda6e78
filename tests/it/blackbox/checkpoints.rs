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

    /// One run of the gateway, with two calls, whose checkpoints are exported.
    async fn serve(&self, agent: &Agent) {
        self.serve_with(&["--checkpoints", "kept.jsonl"], agent)
            .await;
    }

    /// The same on another file, without export.
    async fn serve_on(&self, db: &str, agent: &Agent) {
        self.serve_with(&["--db", db], agent).await;
    }

    async fn serve_with(&self, flags: &[&str], agent: &Agent) {
        let flags = [&["--signing-key", "secret"], flags].concat();
        let gateway = self.site.serve(&flags).await;
        for tag in ["1", "2"] {
            let done = agent
                .call(&gateway.url(), "truth", "echo", json!({"tag": tag}))
                .await;
            assert!(done.unwrap().is_done(tag));
        }
        gateway.stop().await.says(0, &["stopped    log head "]);
    }

    /// A copy that somebody changed, and perhaps computed all hashes of anew.
    async fn changed(&self, sql: &[&str], forges: bool) {
        let copy = self.copy();
        let mut thief = records::open(&copy, true).await;
        let opened = [
            "DROP TRIGGER event_never_changes",
            "DROP TRIGGER event_never_goes",
        ];
        for statement in opened.iter().chain(sql) {
            let statement = AssertSqlSafe((*statement).to_owned());
            sqlx::raw_sql(statement).execute(&mut thief).await.unwrap();
        }
        if forges {
            forge(&mut thief).await;
        }
        thief.close().await.unwrap();
    }

    fn copy(&self) -> PathBuf {
        let copy = self.site.db().with_file_name("copy.db");
        for end in ["", "-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{end}", copy.display())));
        }
        std::fs::copy(self.site.db(), &copy).unwrap();
        copy
    }

    async fn verify_all(&self, db: &str) -> Verdicts {
        let exported = ["--log-id", &self.log, "--checkpoints", "kept.jsonl"];
        let flags = ["--public-key", &self.key];
        let all = [flags.as_slice(), &exported].concat();
        let mut verdicts = Verdicts::default();
        for (code, flags) in verdicts.codes.iter_mut().zip([&[], &flags[..], &all]) {
            let line = [&["audit", "verify", "--db", db], flags].concat();
            let ended = self.site.run(&line).await;
            *code = ended.code.unwrap();
            verdicts.said = ended.out;
        }
        verdicts
    }
}

/// What `verify` says with nothing to compare, with the key, and with the exported file too.
#[derive(Debug, Default)]
struct Verdicts {
    codes: [i32; 3],
    /// The words of the last.
    said: String,
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

/// Takes all checkpoints out of the events.
const DROP: &str =
    "UPDATE event SET meta = json_remove(meta, '$.through', '$.head', '$.key', '$.signature')";
/// Puts right what the file says elsewhere: of its last checkpoint, of open calls, and what pages find and count with.
const REST: &str =
    "UPDATE gateway SET checkpoint_seq = (SELECT coalesce(max(seq), 0) FROM event WHERE meta LIKE '%\"through\"%');
    DELETE FROM open_call;
    UPDATE lookup_mark SET seq = 0;
    DELETE FROM lookup;
    DELETE FROM rollup;
    DELETE FROM rollup_refusal;
    DELETE FROM all_quarter;
    DELETE FROM agent_hour;
    DELETE FROM tool_hour;
    DELETE FROM agent_day;
    DELETE FROM tool_day;
    DELETE FROM pair_day;
    DELETE FROM refusal_day";

/// What is done, and whether all hashes are computed anew; who notices with which code; what is said of it.
type Row = (&'static str, Vec<String>, bool, [i32; 3], String);

/// Where things stand in a log of two runs.
struct Places {
    /// The first call is admitted here.
    call: i64,
    /// The first run ends here.
    stopped: i64,
    last: i64,
    /// The exported checkpoints cover up to here.
    exported: Vec<i64>,
}

impl Places {
    async fn find(site: &Site) -> Self {
        let records = records::Records::read(&site.db()).await;
        let events = records.events.iter().zip(1..);
        let find = |wanted: &dyn Fn(&records::Event) -> bool| {
            let mut all = events.clone();
            all.find(|(event, _)| wanted(event)).unwrap().1
        };
        let kept = std::fs::read_to_string(site.path("kept.jsonl")).unwrap();
        let lines = kept.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["seq"].as_i64().unwrap()
        });
        Self {
            call: find(&|event| event.kind == "admitted" && event.meta["method"] == "tools/call"),
            stopped: find(&|event| event.kind == "stopped"),
            last: i64::try_from(records.events.len()).unwrap(),
            exported: lines.collect(),
        }
    }

    /// The first exported one that covers this event.
    fn covers(&self, seq: i64) -> i64 {
        let mut all = self.exported.iter().copied();
        all.find(|exported| *exported >= seq).unwrap()
    }

    fn last_exported(&self) -> i64 {
        self.exported.iter().copied().max().unwrap()
    }
}

/// What happens to a log of two runs with two calls each.
fn tamperings(at: &Places) -> Vec<Row> {
    let Places {
        call,
        stopped,
        last,
        ..
    } = at;
    let own = |sql: &[&str]| {
        sql.iter()
            .map(|sql| (*sql).to_owned())
            .collect::<Vec<String>>()
    };
    let exported = at.last_exported();
    let edit = format!("UPDATE event SET meta = replace(meta, 'echo', 'eggo') WHERE seq = {call}");
    let method = format!(
        "UPDATE event SET meta = replace(meta, '\"tools/call\"', '\"tools/calm\"') WHERE seq = {call}"
    );
    let delete = format!("DELETE FROM event WHERE seq = {call}");
    let take_out =
        format!("DELETE FROM event WHERE call_id = (SELECT call_id FROM event WHERE seq = {call})");
    let swap = format!(
        "UPDATE event SET seq = 1000 + seq WHERE seq IN ({call}, {call} + 1);
        UPDATE event SET seq = 1001 + 2 * {call} - seq WHERE seq > 1000"
    );
    let cut = |after: i64| format!("DELETE FROM event WHERE seq > {after}");
    let hours_ago = "UPDATE event SET at_us = at_us - 10800000000;
        UPDATE event SET meta = json_set(meta, '$.at_us', at_us);
        UPDATE event SET meta = json_remove(meta, '$.key', '$.signature')";
    let is_not = format!("event {call} is not what");
    let rewritten = format!(
        "event {} is not the one that was exported",
        at.covers(*call)
    );
    let gone = format!("event {exported} is in a checkpoint and is gone");
    vec![
        (
            "an event is edited",
            own(&[&edit]),
            false,
            [2; 3],
            is_not.clone(),
        ),
        (
            "the name of a column is edited",
            own(&["UPDATE name SET text = 'eggo' WHERE text = 'echo'"]),
            false,
            [2; 3],
            format!("event {call}: column `tool_id` differs"),
        ),
        (
            "edited, and all hashes are computed anew",
            own(&[&method]),
            true,
            [5, 5, 4],
            rewritten.clone(),
        ),
        (
            "... and the checkpoints are dropped",
            own(&[&method, DROP, REST]),
            true,
            [0, 0, 4],
            rewritten.clone(),
        ),
        (
            "an event is taken out",
            own(&[&delete]),
            false,
            [3; 3],
            format!("event {call} is missing"),
        ),
        (
            "a call is taken out, the rest renumbered and computed anew, the checkpoints dropped",
            own(&[&take_out, DROP, REST]),
            true,
            [0, 0, 4],
            rewritten,
        ),
        (
            "two events change places",
            own(&[&swap]),
            false,
            [2; 3],
            is_not,
        ),
        (
            "the end is cut off",
            own(&[&cut(*stopped)]),
            false,
            [4; 3],
            gone.clone(),
        ),
        (
            "the end is cut off, with its checkpoints",
            own(&[&cut(*stopped), REST]),
            false,
            [0, 0, 4],
            gone.clone(),
        ),
        (
            "the end of a call is cut off",
            own(&[&cut(*call), REST]),
            false,
            [6, 6, 4],
            gone,
        ),
        (
            "what is newer than the last export is cut off: the one thing that nobody can know",
            own(&[&cut(exported), REST]),
            false,
            [0; 3],
            format!("ok: {exported} events"),
        ),
        (
            "a call is made up that is open",
            own(&["INSERT INTO open_call VALUES (randomblob(16), 5)"]),
            false,
            [6; 3],
            format!("event {last}: the list of open calls"),
        ),
        (
            "the last checkpoint is made to be hours ago, in a log that is not closed",
            own(&[hours_ago, &cut(exported), REST]),
            true,
            [8, 5, 5],
            "checkpoint 1: it is not signed".into(),
        ),
        (
            "another log is made of it",
            own(&["UPDATE gateway SET log_id = randomblob(16)"]),
            false,
            [2, 2, 5],
            "this is not the log".into(),
        ),
    ]
}

#[tokio::test]
async fn what_the_chain_cannot_show_the_signature_and_the_exported_file_do() {
    let truth = Truth::start().await;
    let reviewed = Reviewed::start(&truth).await;
    let at = Places::find(&reviewed.site).await;
    let honest = reviewed.verify_all("hayward.db").await;
    assert_eq!(honest.codes, [0; 3], "{honest:?}");
    for (what, sql, forges, codes, words) in tamperings(&at) {
        let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
        reviewed.changed(&sql, forges).await;
        let found = reviewed.verify_all("copy.db").await;
        assert_eq!(found.codes, codes, "{what}: {found:?}");
        let first = found.said.lines().next().unwrap();
        assert!(first.contains(&words), "{what}: {words}: {found:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_put_back_replaced_or_broken_is_found_out() {
    let truth = Truth::start().await;
    let reviewed = Reviewed::start(&truth).await;
    let agent = Agent::new("a-token-of-a-test");
    let expect = async |what: &str, codes: [i32; 3], words: &str| {
        let found = reviewed.verify_all("copy.db").await;
        assert_eq!(found.codes, codes, "{what}: {found:?}");
        let first = found.said.lines().next().unwrap();
        assert!(first.contains(words), "{what}: {found:?}");
    };

    reviewed.copy();
    reviewed.serve(&agent).await;
    let at = Places::find(&reviewed.site).await;
    let gone = format!(
        "event {} is in a checkpoint and is gone",
        at.last_exported()
    );
    expect("an older honest copy", [0, 0, 4], &gone).await;

    // Cut, and gone on with by the real gateway, with the key.
    let cut = format!("DELETE FROM event WHERE seq > {}", at.stopped);
    reviewed.changed(&[&cut, REST], false).await;
    for _ in 0..2 {
        reviewed.serve_on("copy.db", &agent).await;
    }
    let first = at.covers(at.stopped + 1);
    let rewritten = format!("event {first} is not the one that was exported");
    expect("cut and continued", [0, 0, 4], &rewritten).await;

    let fresh = reviewed.site.serve(&["--db", "fresh.db"]).await;
    fresh.stop().await.says(0, &["stopped"]);
    std::fs::rename(
        reviewed.site.path("fresh.db"),
        reviewed.site.path("copy.db"),
    )
    .unwrap();
    expect("a fresh log", [0, 5, 5], "this is not the log").await;

    let copy = reviewed.copy();
    let mut bytes = std::fs::read(&copy).unwrap();
    for page in (4_096..bytes.len()).step_by(4_096) {
        bytes[page..page + 64].fill(0xee);
    }
    std::fs::write(&copy, bytes).unwrap();
    expect("a broken file", [7; 3], "cannot be verified").await;
    std::fs::write(&copy, b"Dear diary").unwrap();
    expect("no database", [7; 3], "cannot be verified").await;
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
    write(&beside("torn"), "{\"log\":\"00\n");
    write(&beside("half"), "{\"log\":\"00");
    for file in ["empty", "torn", "half", "nowhere"] {
        let refused = verify(&["--checkpoints", file]).await;
        assert_eq!(refused.code, Some(7), "{file}: {refused:?}");
    }
    // Half a line at the end of whole ones is what a machine leaves that went down.
    let kept = std::fs::read_to_string(beside("kept.jsonl")).unwrap();
    write(&beside("half"), &format!("{kept}{}", &kept[..100]));
    let read = verify(&["--checkpoints", "half"]).await;
    assert_eq!(read.code, Some(0), "{read:?}");
    write(&beside("torn"), &format!("{}{kept}", &kept[..100]));
    assert_eq!(verify(&["--checkpoints", "torn"]).await.code, Some(7));
}

/// Calls until the log says that the file elsewhere covers something.
async fn exported(reviewed: &Reviewed, agent: &Agent) -> serde_json::Value {
    let gateway = reviewed
        .site
        .serve(&["--checkpoints", "kept.jsonl", "--signing-key", "secret"])
        .await;
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
    assert_eq!(reviewed.verify_all("hayward.db").await.codes, [0; 3]);
    let lines: Vec<&str> = whole.lines().collect();
    let behind = lines[..lines.len() - 1].join("\n");
    std::fs::write(&kept, behind).unwrap();
    assert_eq!(reviewed.verify_all("hayward.db").await.codes, [0; 3]);

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
    assert_eq!(reviewed.verify_all("hayward.db").await.codes, [0; 3]);
}
