//! `hayward audit redact`: what is kept of calls goes, for good and with a word, and nothing else does.

use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::agent::Agent;
use super::gateway::{Ended, Gateway, Site};
use super::records::{self, Event, Records};
use super::truth::Truth;

/// One agent and one server, of whose calls everything is kept.
struct Archive {
    site: Site,
    agent: Agent,
    truth: Arc<Truth>,
}

impl Archive {
    async fn open() -> Self {
        let truth = Truth::start().await;
        let agent = Agent::new("a-token-of-a-test");
        let policy = format!(
            "defaults: {{capture: full}}\nservers: {{truth: {{url: '{}'}}}}\nagents: {{a: {{token_hash: '{}', servers: [truth]}}}}\n",
            truth.url(),
            agent.token_hash()
        );
        let site = Site::new(&policy);
        Self { site, agent, truth }
    }

    async fn serve(&self) -> Gateway {
        self.site.serve(&["--durability", "process"]).await
    }

    async fn call(&self, gateway: &Gateway, tool: &str, tag: &str) {
        let given = json!({"tag": tag, "prompt": format!("a picture of {tag}")});
        let answer = self.agent.call(&gateway.url(), "truth", tool, given).await;
        assert!(answer.unwrap().is_done(tag), "{tag}");
    }

    async fn redact(&self, flags: &[&str]) -> Ended {
        let line = ["audit", "redact", "--why", "a person asked for it"];
        self.site.run(&[&line, flags].concat()).await
    }

    /// The id of the call with this mark, which its client is named after. The gateway also lists tools for itself.
    async fn id(&self, tag: &str) -> String {
        let events = Records::read(&self.site.db()).await.events.into_iter();
        let mut found = events.filter(|event| {
            let client = event.meta["client"].as_str().unwrap_or_default();
            client.contains(tag) && event.meta["tool"].is_string()
        });
        found.next().unwrap().call.unwrap()
    }

    async fn redacted(&self) -> Vec<Event> {
        let events = Records::read(&self.site.db()).await.events.into_iter();
        events.filter(|event| event.kind == "redacted").collect()
    }

    /// Whether these words stand in any file.
    fn stands(&self, words: &str) -> bool {
        let files = std::fs::read_dir(self.site.db().parent().unwrap()).unwrap();
        let files = files
            .map(|file| file.unwrap().path())
            .filter(|path| path.is_file());
        let mut texts = files.map(|path| std::fs::read(path).unwrap());
        texts.any(|text| {
            text.windows(words.len())
                .any(|part| part == words.as_bytes())
        })
    }

    /// How many bodies are kept.
    async fn bodies(&self) -> i64 {
        let mut file = records::open(&self.site.db(), false).await;
        let count = sqlx::query_scalar("SELECT count(*) FROM body");
        let count = count.fetch_one(&mut file).await.unwrap();
        sqlx::Connection::close(file).await.unwrap();
        count
    }

    async fn verify(&self) -> Ended {
        self.site.run(&["audit", "verify"]).await
    }
}

#[tokio::test]
async fn what_is_kept_of_one_call_goes_for_good_while_the_gateway_runs() {
    let archive = Archive::open().await;
    let gateway = archive.serve().await;
    for tag in ["hawthorn", "limestone"] {
        archive.call(&gateway, "echo", tag).await;
    }
    assert!(archive.stands("a picture of hawthorn"));
    let id = archive.id("hawthorn").await;
    let done = archive.redact(&[&id]).await;
    done.says(0, &["written down as event"]);
    assert_eq!(done.out, "2 arguments and results deleted\n");
    assert!(!archive.stands("a picture of hawthorn") && !archive.stands("done hawthorn"));
    assert!(archive.stands("a picture of limestone"));
    let again = archive.redact(&[&id]).await;
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "0 arguments and results deleted\n")
    );
    archive.call(&gateway, "echo", "again").await;
    gateway.stop().await.says(0, &[]);
    archive.verify().await.says(0, &[]);

    let [event] = &archive.redacted().await[..] else {
        panic!("one event says so");
    };
    assert_eq!(event.meta["redacts"], json!(id));
    assert_eq!(event.meta["why"], json!("a person asked for it"));
    assert!(event.meta["uid"].is_u64() && event.meta["by"].is_string());
    let pairs = event.meta["bodies"].as_array().unwrap();
    assert!(
        pairs.len() == 2 && pairs.iter().all(|pair| pair[0] == pair[1]),
        "{pairs:?}"
    );
}

#[tokio::test]
async fn what_is_older_than_a_day_goes_when_no_gateway_runs_however_much_it_is() {
    let archive = Archive::open().await;
    let gateway = archive.serve().await;
    // One order deletes a thousand. A call that a slow disk refuses is made up for by another.
    for number in 0.. {
        let given = json!({"tag": "stone", "prompt": format!("a picture of stone {number}")});
        let url = gateway.url();
        let answer = archive.agent.call(&url, "truth", "echo", given).await;
        assert!(answer.is_some());
        if number % 50 == 0 && archive.bodies().await > 1_000 {
            break;
        }
    }
    gateway.stop().await.says(0, &[]);
    let bodies = archive.bodies().await;
    let none = archive.redact(&["--before", "2020-01-01"]).await;
    assert_eq!(
        (none.code, none.out.as_str()),
        (Some(0), "0 arguments and results deleted\n")
    );
    let all = archive.redact(&["--before", "2999-01-01"]).await;
    let expected = format!("{bodies} arguments and results deleted\n");
    assert_eq!((all.code, &all.out), (Some(0), &expected), "{all:?}");
    assert_eq!(archive.bodies().await, 0);
    assert!(!archive.stands("a picture of stone"));
    archive.verify().await.says(0, &[]);
    let said = archive.redacted().await;
    let pairs: Vec<&Value> = said.iter().map(|event| &event.meta["bodies"]).collect();
    assert_eq!(pairs.len(), 2, "{pairs:?}");
    assert!(
        pairs
            .iter()
            .all(|pairs| pairs.as_array().unwrap().len() == 1)
    );
}

#[tokio::test]
async fn a_body_that_goes_without_a_word_or_comes_back_changed_is_told_apart() {
    let archive = Archive::open().await;
    let gateway = archive.serve().await;
    for tag in ["hawthorn", "limestone"] {
        archive.call(&gateway, "echo", tag).await;
    }
    gateway.stop().await.says(0, &[]);
    archive
        .redact(&[&archive.id("hawthorn").await])
        .await
        .says(0, &[]);
    for (sql, code, word) in [
        (
            "UPDATE body SET bytes = CAST(bytes || x'20' AS BLOB)",
            2,
            "not what was written",
        ),
        (
            "DELETE FROM body WHERE kind = 'result'",
            3,
            "no event says that it was deleted",
        ),
    ] {
        let mut thief = records::open(&archive.site.db(), true).await;
        let statements = format!("SAVEPOINT it; {sql}; RELEASE it");
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut thief)
            .await
            .unwrap();
        sqlx::Connection::close(thief).await.unwrap();
        let found = archive.verify().await;
        assert_eq!(found.code, Some(code), "{sql}: {found:?}");
        assert!(found.out.contains(word), "{found:?}");
        if code == 2 {
            let mut thief = records::open(&archive.site.db(), true).await;
            let back = "UPDATE body SET bytes = substr(bytes, 1, length(bytes) - 1)";
            sqlx::raw_sql(AssertSqlSafe(back.to_owned()))
                .execute(&mut thief)
                .await
                .unwrap();
            sqlx::Connection::close(thief).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_cannot_be_redacted_is_told_apart_and_changes_nothing() {
    let archive = Archive::open().await;
    let gateway = archive.serve().await;
    let waiting = archive.call(&gateway, "wait", "open");
    let refusing = async {
        archive.truth.executed("open").await;
        let open = archive.id("open").await;
        archive.redact(&[&open]).await.says(1, &["still open"]);
        let unknown = "01a1f8d3-ea00-74c6-bc73-47dd154b6f42";
        archive
            .redact(&[unknown])
            .await
            .says(1, &["no call", unknown]);
        for line in [
            &["imagine"][..],
            &[],
            &["--before", "tomorrow"],
            &[unknown, "--before", "2026-01-01"],
        ] {
            assert_eq!(archive.redact(line).await.code, Some(2), "{line:?}");
        }
        let silent = ["audit", "redact", unknown, "--why", " "];
        archive.site.run(&silent).await.says(1, &["say why"]);
        archive.truth.let_go();
    };
    tokio::join!(waiting, refusing);
    gateway.stop().await.says(0, &[]);
    assert!(archive.redacted().await.is_empty());
    archive.verify().await.says(0, &[]);
}
