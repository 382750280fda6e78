//! Orders of an operator, given to a gateway that runs and to the file of one that does not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as DeadListener;

use serde_json::{Value, json};
use sqlx::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::agent::Agent;
use super::gateway::{Ended, Gateway, Site};
use super::records::{self, Event, Records};
use super::truth::Truth;

/// One agent, and a server where it may call twice a day.
struct Office {
    site: Site,
    agent: Agent,
    truth: std::sync::Arc<Truth>,
}

impl Office {
    async fn open() -> Self {
        let truth = Truth::start().await;
        let agent = Agent::new("a-token-of-a-test");
        let policy = format!(
            "servers: {{truth: {{url: \"{}\", budgets: [2/day]}}}}\nagents:\n  clawd: {{token_hash: \"{}\", servers: [truth]}}\n",
            truth.url(),
            agent.token_hash()
        );
        let site = Site::new(&policy);
        Self { site, agent, truth }
    }

    async fn call(&self, gateway: &Gateway, tool: &str, tag: &str) -> Option<bool> {
        let answer = self
            .agent
            .call(&gateway.url(), "truth", tool, json!({"tag": tag}))
            .await;
        answer.map(|answer| answer.is_done(tag))
    }

    async fn refund(&self, call: &str) -> Ended {
        let line = ["budget", "refund", call, "--why", "the picture was empty"];
        self.site.run(&line).await
    }

    /// Ids of calls of tools, as the file says them, also while a gateway has it.
    async fn calls(&self, kind: &str) -> Vec<String> {
        let records = Records::read(&self.site.db()).await;
        let events = records.events.into_iter();
        // The gateway also lists tools for itself, which costs nothing.
        let of_kind = events.filter(|event| event.kind == kind && event.meta["tool"].is_string());
        of_kind.filter_map(|event| event.call).collect()
    }

    async fn verified(&self) {
        let ended = self.site.run(&["audit", "verify"]).await;
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
}

fn refunded(records: &Records) -> Vec<&Event> {
    let events = records.events.iter();
    events.filter(|event| event.kind == "refunded").collect()
}

#[tokio::test]
async fn a_refund_gives_back_once_what_a_call_cost_while_the_gateway_runs() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    for (tag, done) in [("1", true), ("2", true), ("3", false)] {
        assert_eq!(office.call(&gateway, "echo", tag).await, Some(done));
    }
    let calls = office.calls("settled").await;
    let once = office.refund(&calls[0]).await;
    once.says(0, &["written down as event"]);
    assert!(
        once.out.contains("1 calls back to servers.truth"),
        "{once:?}"
    );
    office.refund(&calls[0]).await.says(1, &["refunded before"]);
    assert_eq!(office.call(&gateway, "echo", "4").await, Some(true));
    assert_eq!(office.call(&gateway, "echo", "5").await, Some(false));

    office.verified().await;
    gateway.stop().await.says(0, &[]);
    office.verified().await;
    assert!(!office.site.path("hayward.db.sock").exists());
    let records = Records::read(&office.site.db()).await;
    let [event] = refunded(&records)[..] else {
        panic!("{records:?}");
    };
    assert_eq!(event.meta["refunds"], json!(calls[0]));
    assert_eq!(event.meta["why"], json!("the picture was empty"));
    assert!(event.meta["uid"].is_u64());
    assert_eq!(event.meta["budgets"][0]["refunded"], json!(1));
}

#[tokio::test]
async fn a_refund_is_carried_out_when_no_gateway_runs() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    for tag in ["1", "2"] {
        assert_eq!(office.call(&gateway, "echo", tag).await, Some(true));
    }
    // What it leaves behind listens to nobody.
    gateway.kill().await;
    assert!(office.site.path("hayward.db.sock").exists());
    let calls = office.calls("settled").await;
    office.refund(&calls[1]).await.says(0, &[]);
    office.refund(&calls[1]).await.says(1, &["refunded before"]);
    office.verified().await;
    let records = Records::read(&office.site.db()).await;
    let kinds = records.kinds();
    assert_eq!(
        kinds[kinds.len() - 5..],
        ["started", "refunded", "stopped", "started", "stopped"]
    );

    let gateway = office.site.serve(&[]).await;
    assert_eq!(office.call(&gateway, "echo", "3").await, Some(true));
    assert_eq!(office.call(&gateway, "echo", "4").await, Some(false));
    gateway.stop().await.says(0, &[]);
    office.verified().await;
}

#[tokio::test]
async fn what_cannot_be_refunded_is_told_apart_and_changes_nothing() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    let waiting = office.call(&gateway, "wait", "open");
    let refusing = async {
        office.truth.executed("open").await;
        let open = office.calls("admitted").await.remove(0);
        office.refund(&open).await.says(1, &["still open"]);
        assert_eq!(office.call(&gateway, "echo", "2").await, Some(true));
        assert_eq!(office.call(&gateway, "echo", "3").await, Some(false));
        let denied = office.calls("denied").await.remove(0);
        office.refund(&denied).await.says(1, &["cost nothing"]);
        let unknown = "01a1f8d3-ea00-74c6-bc73-47dd154b6f42";
        office.refund(unknown).await.says(1, &["no call", unknown]);
        office.refund("imagine").await.says(2, &["imagine"]);
        let silent = ["budget", "refund", unknown, "--why", " "];
        office.site.run(&silent).await.says(1, &["say why"]);
        office.truth.let_go();
    };
    let (waited, ()) = tokio::join!(waiting, refusing);
    assert_eq!(waited, Some(true));
    gateway.stop().await.says(0, &[]);
    let records = Records::read(&office.site.db()).await;
    assert_eq!(refunded(&records).len(), 0);
    office.verified().await;
    let nowhere = [
        "budget",
        "refund",
        "01a1f8d3-ea00-74c6-bc73-47dd154b6f42",
        "--why",
        "x",
        "--db",
        "no.db",
    ];
    office
        .site
        .run(&nowhere)
        .await
        .says(4, &["no database at `no.db`"]);
    let time = ["time", "accept", "--why", "x"];
    office.site.run(&time).await.says(4, &["no gateway has"]);
    assert!(!office.site.path("no.db").exists());
}

/// Changes the tables of the ledger behind the gateway's back: both counters of all windows, an open call of nobody, and
/// a refund that was none.
async fn tamper(office: &Office) {
    let mut file = records::open(&office.site.db(), true).await;
    for change in [
        "UPDATE budget_window SET used = 0",
        "INSERT INTO open_call VALUES (randomblob(16), 3)",
        "INSERT INTO refund VALUES (randomblob(16), 3)",
        "DELETE FROM hold",
    ] {
        sqlx::query(change).execute(&mut file).await.unwrap();
    }
    file.close().await.unwrap();
}

#[tokio::test]
async fn counts_that_were_changed_are_found_and_put_right_while_the_gateway_runs() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    assert_eq!(office.call(&gateway, "echo", "1").await, Some(true));
    let waiting = office.call(&gateway, "wait", "open");
    let repairing = async {
        office.truth.executed("open").await;
        let sound = office.site.run(&["budget", "verify"]).await;
        sound.says(0, &[]);
        assert!(sound.out.contains("1 calls open"), "{sound:?}");
        tamper(&office).await;
        let found = office.site.run(&["budget", "verify"]).await;
        found.says(6, &[]);
        for word in [
            "counts 0, its events add up to 1",
            "open calls",
            "holds",
            "refunded calls",
        ] {
            assert!(found.out.contains(word), "{word}: {found:?}");
        }
        let line = [
            "budget",
            "verify",
            "--repair",
            "--why",
            "somebody was in the file",
        ];
        let repaired = office.site.run(&line).await;
        repaired.says(0, &["written down as event"]);
        assert!(repaired.out.contains("used 0 -> 1"), "{repaired:?}");
        office.truth.let_go();
    };
    let (waited, ()) = tokio::join!(waiting, repairing);
    assert_eq!(waited, Some(true));
    assert_eq!(
        office.call(&gateway, "echo", "3").await,
        Some(false),
        "both are used"
    );
    office.verified().await;
    gateway.stop().await.says(0, &[]);
    office.verified().await;
    let records = Records::read(&office.site.db()).await;
    assert_eq!((records.open, records.held), (0, (0, 0)));
    let repaired = records.events.iter().find(|event| event.kind == "repaired");
    let meta = &repaired.unwrap().meta;
    assert_eq!(meta["counts"][0]["used"], json!([0, 1]));
    assert_eq!(meta["why"], json!("somebody was in the file"));
}

#[tokio::test]
async fn counts_are_put_right_when_no_gateway_runs_and_only_if_the_log_is_sound() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    assert_eq!(office.call(&gateway, "echo", "1").await, Some(true));
    gateway.stop().await.says(0, &[]);
    tamper(&office).await;
    let mut file = records::open(&office.site.db(), true).await;
    let gone = "DELETE FROM budget_window; DELETE FROM used_hour; DELETE FROM budget";
    sqlx::raw_sql(gone).execute(&mut file).await.unwrap();
    office.site.run(&["budget", "verify"]).await.says(6, &[]);
    let line = ["budget", "verify", "--repair", "--why", "x"];
    office.site.run(&line).await.says(0, &["written down"]);
    office.site.run(&line).await.says(0, &["nothing to repair"]);
    office.verified().await;

    let gateway = office.site.serve(&[]).await;
    assert_eq!(office.call(&gateway, "echo", "2").await, Some(true));
    assert_eq!(office.call(&gateway, "echo", "3").await, Some(false));
    gateway.stop().await.says(0, &[]);

    for change in [
        "DROP TRIGGER event_never_changes",
        "UPDATE event SET meta = replace(meta, 'echo', 'eggo') WHERE kind = 'settled'",
    ] {
        sqlx::query(change).execute(&mut file).await.unwrap();
    }
    file.close().await.unwrap();
    office.site.run(&["budget", "verify"]).await.says(2, &[]);
    office.site.run(&line).await.says(1, &["not sound"]);
}

#[tokio::test]
async fn what_is_used_and_left_is_shown_for_every_agent() {
    let office = Office::open().await;
    let show = async |flags: &[&str]| {
        let line = [&["budget", "show", "--format", "json"], flags].concat();
        let shown = office.site.run(&line).await;
        shown.says(0, &[]);
        serde_json::from_str::<Value>(&shown.out).unwrap()["budgets"].clone()
    };
    let gateway = office.site.serve(&[]).await;
    assert_eq!(show(&[]).await, json!([]));
    assert_eq!(office.call(&gateway, "echo", "1").await, Some(true));
    let shown = show(&[]).await;
    let figures = ["limit", "used", "held", "left"].map(|name| shown[0][name].clone());
    assert_eq!(figures, [2, 1, 0, 1].map(Value::from));
    assert_eq!(shown[0]["budget"], json!("servers.truth calls/day@UTC"));
    assert_eq!(
        show(&["--agent", "clawd"]).await,
        json!([]),
        "everybody draws on it"
    );
    assert_eq!(show(&["--at", "2020-01-01T00:00:00Z"]).await, json!([]));
    let table = office.site.run(&["budget", "show"]).await;
    assert!(table.out.starts_with("LEFT  LIMIT"), "{table:?}");
    gateway.stop().await.says(0, &[]);
    let nowhere = ["budget", "show", "--db", "no.db"];
    office.site.run(&nowhere).await.says(4, &["no database"]);
}

/// Sends one line to the socket and reads what is answered.
async fn say(office: &Office, line: &[u8]) -> Value {
    let path = office.site.path("hayward.db.sock");
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(line).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test]
async fn the_socket_belongs_to_one_user_and_takes_one_line_of_a_kind_it_knows() {
    let office = Office::open().await;
    // What a gateway that was killed left behind is replaced.
    drop(DeadListener::bind(office.site.path("hayward.db.sock")).unwrap());
    let gateway = office.site.serve(&[]).await;
    let socket = office.site.path("hayward.db.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let newer = br#"{"hayward":"9.9.9","user":"x","order":{"paint":{"why":"blue"}}}"#;
    let refused = say(&office, &[newer, &b"\n"[..]].concat()).await;
    let refused = refused["refused"].as_str().unwrap();
    assert!(
        refused.contains("does not know this order of version 9.9.9"),
        "{refused}"
    );
    for nonsense in [&b"GET / HTTP/1.1\n"[..], b"\n", b"{}\n"] {
        let refused = say(&office, nonsense).await;
        assert!(
            refused["refused"]
                .as_str()
                .unwrap()
                .contains("this is no order")
        );
    }
    let refused = say(&office, &[b'x'; 64 * 1024]).await;
    assert!(refused["refused"].as_str().unwrap().contains("too long"));
    gateway.stop().await.says(0, &[]);
}

#[tokio::test]
async fn a_gateway_that_cannot_be_asked_is_named() {
    let office = Office::open().await;
    let gateway = office.site.serve(&[]).await;
    assert_eq!(office.call(&gateway, "echo", "1").await, Some(true));
    let call = office.calls("settled").await.remove(0);
    let socket = office.site.path("hayward.db.sock");
    std::fs::remove_file(&socket).unwrap();
    let busy = office.refund(&call).await;
    busy.says(4, &["another program has", "hayward.db.sock"]);

    // A gateway of another version, which answers in its own way.
    let listener = UnixListener::bind(&socket).unwrap();
    let other = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut line = vec![0; 1024];
        let read = stream.read(&mut line).await.unwrap();
        assert!(read > 0);
        let answer = b"{\"hayward\":\"9.9.9\",\"painted\":\"blue\"}\n";
        stream.write_all(answer).await.unwrap();
    };
    let (refused, ()) = tokio::join!(office.refund(&call), other);
    refused.says(4, &["the gateway is of version 9.9.9"]);
    gateway.stop().await.says(0, &[]);
}
