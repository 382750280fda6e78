//! The list of calls inside the whole gateway: one call with what was said, lists for programs, and the live tail.

use hayward::dashboard::Access;
use serde_json::{Value, json};

use super::support::{FakeUpstream, World, find, soon, token};

const POLICY: &str = r#"
defaults: {capture: full}
servers: {images: {url: "@images", budgets: ["200/day"]}}
agents:
  clawd: {token_hash: "@clawd", servers: ["*"]}
  other: {token_hash: "@other", servers: ["*"]}
viewers:
  friend: {token_hash: "@friend", see: [arguments, results], agents: [clawd]}
  reader: {token_hash: "@reader"}
  auditor: {token_hash: "@auditor", see: [arguments]}
"#;

/// What somebody wrote who means no good: markup, a script, a picture, marks that turn text round, a formula.
const HOSTILE: &str =
    "<script>alert(1)</script><svg onload=alert(2)>\u{202e}\u{200b}\u{7}javascript:alert(3)";

struct Viewer<'a> {
    world: &'a World,
    cookie: String,
}

impl<'a> Viewer<'a> {
    async fn new(world: &'a World, name: &str) -> Self {
        let form = world.stranger().request("POST", "/audit/login");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let body = format!("token={}&next=/audit", token(name));
        let answer = form.body(body).send().await;
        let cookie = answer.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { world, cookie }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let page = self.world.stranger().get(path);
        let page = page.header("cookie", &self.cookie).send().await;
        (page.status, page.body)
    }
}

async fn world() -> World {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    builder.access(Access::Viewers).start(POLICY).await
}

async fn deeds(world: &World, what: &str) -> Vec<(String, String, String)> {
    let events = world.events().await;
    let accessed = find(&events, "accessed").into_iter();
    let accessed = accessed.filter(|event| event.text("what") == what);
    let told = |event: &super::support::Event| {
        let text = |key: &str| event.text(key).to_owned();
        (text("viewer"), text("of"), text("path"))
    };
    accessed.map(told).collect()
}

#[tokio::test]
async fn what_was_said_is_shown_to_those_who_may_see_it_and_that_is_written_down_first() {
    let world = world().await;
    let said = json!({"prompt": format!("a red boat {HOSTILE}")});
    world.agent("clawd").call("imagine", said).await;
    let events = world.events().await;
    let calls = find(&events, "admitted");
    let call = calls.last().unwrap().text("call").to_owned();
    let path = format!("/audit/calls/{call}");
    let (reader, auditor) = (
        Viewer::new(&world, "reader").await,
        Viewer::new(&world, "auditor").await,
    );
    for viewer in [&reader, &auditor] {
        let (status, page) = viewer.get(&path).await;
        assert_eq!(status, 200);
        assert!(page.contains("clawd called images / imagine and was answered"));
        assert!(!page.contains("a red boat"), "nothing was opened");
    }
    let open = format!("{path}/bodies");
    assert!(!reader.get(&path).await.1.contains(&open));
    let (status, page) = reader.get(&open).await;
    assert_eq!((status, page.contains("a red boat")), (403, false));
    assert_eq!(deeds(&world, "body").await, []);
    assert!(auditor.get(&path).await.1.contains(&open));
    let (status, page) = auditor.get(&open).await;
    assert_eq!(status, 200);
    assert!(page.contains("a red boat &#60;script&#62;"), "{page}");
    for bad in [
        "<script>alert",
        "<svg onload",
        "\u{202e}",
        "\u{200b}",
        "\u{7}",
    ] {
        assert!(!page.contains(bad), "{bad:?} came through");
    }
    assert!(
        !page.contains("<h3>Result</h3>"),
        "results were not granted"
    );
    let written = ("auditor".to_owned(), call, String::new());
    assert_eq!(deeds(&world, "body").await, [written]);
    world.stop().await;
}

#[tokio::test]
async fn lists_for_programs_hold_what_the_filter_keeps_and_nothing_that_was_said() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for number in 0..120 {
        clawd.call("describe", json!({"said": number})).await;
    }
    clawd.call(&format!("={HOSTILE}"), json!({})).await;
    let auditor = Viewer::new(&world, "auditor").await;
    let lines = async |path: &str| -> Vec<Value> {
        let (status, text) = auditor.get(path).await;
        assert_eq!(status, 200, "{path}");
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    };
    let all = lines("/audit/calls.jsonl").await;
    let described = lines("/audit/calls.jsonl?tool=describe&agent=clawd").await;
    assert_eq!(described.len(), 120, "more than a page");
    let of_denied = lines("/audit/calls.jsonl?decision=denied").await;
    assert!(all.len() > described.len() + of_denied.len() - 1);
    let hostile = format!("={HOSTILE}");
    let found = all.iter().filter(|row| row["tool"] == hostile.as_str());
    assert_eq!(found.count(), 1, "JSON keeps what was written");
    let (_, text) = auditor.get("/audit/calls.json?tool=describe").await;
    let array: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(array, described);
    let (_, csv) = auditor.get("/audit/calls.csv").await;
    assert_eq!(csv.lines().count(), all.len() + 1, "a row is a line");
    assert!(csv.contains("'=<script>"), "no cell is a formula");
    for bad in ["\u{202e}", "\u{200b}", "\u{7}"] {
        assert!(!csv.contains(bad), "{bad:?} came through");
    }
    for text in [csv, text] {
        assert!(!text.contains("\"said\""), "arguments are in no list");
    }
    let taken = deeds(&world, "export").await;
    let paths: Vec<_> = taken.iter().map(|(_, _, path)| path.as_str()).collect();
    let expected = [
        "/audit/calls.jsonl",
        "/audit/calls.jsonl?agent=clawd&tool=describe",
        "/audit/calls.jsonl?decision=denied",
        "/audit/calls.json?tool=describe",
        "/audit/calls.csv",
    ];
    assert_eq!(paths, expected);
    world.stop().await;
}

#[tokio::test]
async fn whoever_watches_is_told_the_calls_of_the_filter_as_they_end() {
    let world = world().await;
    let auditor = Viewer::new(&world, "auditor").await;
    let open = async |path: &str, last: Option<&str>| {
        let request = world.stranger().get(path).header("cookie", &auditor.cookie);
        match last {
            Some(last) => request.header("last-event-id", last).open().await,
            None => request.open().await,
        }
    };
    let mut tail = open("/audit/calls/tail?tool=imagine", None).await;
    let clawd = world.agent("clawd");
    for tool in ["describe", "imagine", "describe"] {
        clawd.call(tool, json!({})).await;
    }
    let told = soon("a call", tail.next_event()).await.unwrap();
    assert!(told.data.contains(">imagine</bdi>"), "{}", told.data);
    assert!(told.data.starts_with("<tr data-row"), "{}", told.data);
    // Whoever comes back is told what happened meanwhile, and nothing twice.
    drop(tail);
    clawd.call("imagine", json!({"n": 2})).await;
    let last = told.id.clone().unwrap();
    let mut tail = open("/audit/calls/tail?tool=imagine", Some(&last)).await;
    let next = soon("the next call", tail.next_event()).await.unwrap();
    assert!(next.data.contains(">imagine</bdi>"));
    assert_ne!(next.id, told.id);
    drop(tail);
    world.stop().await;
}

#[tokio::test]
async fn a_viewer_of_some_agents_sees_nothing_of_the_others() {
    let world = world().await;
    let (clawd, other) = (world.agent("clawd"), world.agent("other"));
    clawd.call("imagine", json!({"prompt": "ours"})).await;
    other.call("describe", json!({"prompt": "theirs"})).await;
    let events = world.events().await;
    let admitted = find(&events, "admitted").into_iter();
    let calls = admitted.filter(|event| event.text("method") == "tools/call");
    let of = |name: &str| {
        let mut calls = calls.clone().filter(|event| event.text("agent") == name);
        calls.next().unwrap().text("call").to_owned()
    };
    let friend = Viewer::new(&world, "friend").await;
    assert_eq!(friend.get("/audit").await.0, 303, "to the calls");
    for path in [
        "/audit/calls",
        "/audit/calls?agent=clawd&agent=other&values=on",
        "/audit/calls?-agent=nobody",
        "/audit/calls.csv",
        "/audit/calls.jsonl?agent=other&agent=clawd",
        "/audit/agents/clawd",
        &format!("/audit/calls/{}", of("clawd")),
        &format!("/audit/calls/{}/bodies", of("clawd")),
    ] {
        let (status, page) = friend.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        assert!(page.contains("clawd"), "{path}");
        for theirs in [
            "other<",
            "\"other\"",
            ",other,",
            "describe",
            "theirs",
            &of("other"),
        ] {
            assert!(!page.contains(theirs), "{path} tells {theirs}: {page}");
        }
    }
    let theirs = of("other");
    for (path, expected) in [
        ("/audit/calls?agent=other", 403),
        (&format!("/audit/calls?call={theirs}"), 403),
        (&format!("/audit/calls/{theirs}"), 404),
        (&format!("/audit/calls/{theirs}/bodies"), 404),
        ("/audit/agents/other", 403),
        ("/audit/agents", 403),
        ("/audit/agents.csv", 403),
        ("/audit/denials", 403),
        ("/audit/report/2026-11", 403),
        ("/audit/budgets", 403),
    ] {
        assert_eq!(friend.get(path).await.0, expected, "{path}");
    }
    let opened = deeds(&world, "body").await;
    assert_eq!(opened.len(), 1, "what nobody was shown is not written down");
    let tail = world.stranger().get("/audit/calls/tail");
    let mut tail = tail.header("cookie", &friend.cookie).open().await;
    other.call("describe", json!({})).await;
    clawd.call("imagine", json!({"n": 3})).await;
    let told = soon("a call", tail.next_event()).await.unwrap();
    assert!(told.data.contains(">clawd</bdi>"), "{}", told.data);
    drop(tail);
    world.stop().await;
}

#[tokio::test]
async fn whoever_is_taken_out_of_the_rules_watches_no_longer() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let builder = builder.access(Access::Viewers).follows();
    let world = builder.start(POLICY).await;
    let auditor = Viewer::new(&world, "auditor").await;
    let tail = world.stranger().get("/audit/calls/tail");
    let mut tail = tail.header("cookie", &auditor.cookie).open().await;
    world.agent("clawd").call("imagine", json!({})).await;
    soon("a call", tail.next_event()).await.unwrap();
    let without = POLICY.replace("  auditor:", "  another:");
    assert_ne!(without, POLICY);
    world.reload(&without).await;
    world.agent("clawd").call("imagine", json!({"n": 2})).await;
    let rest = soon("the end of the stream", async {
        let mut told = 0;
        while tail.next_event().await.is_some() {
            told += 1;
        }
        told
    });
    assert_eq!(rest.await, 0, "nothing is told under the new rules");
    assert_eq!(
        auditor.get("/audit/calls/tail").await.0,
        303,
        "to the login"
    );
    world.stop().await;
}

#[tokio::test]
async fn whoever_watches_much_at_once_is_told_twenty_rows_and_how_many_more_there_were() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for number in 0..30 {
        clawd.call("imagine", json!({"n": number})).await;
    }
    let auditor = Viewer::new(&world, "auditor").await;
    let tail = world.stranger().get("/audit/calls/tail?tool=imagine");
    let tail = tail.header("cookie", &auditor.cookie);
    // Who comes back after all of them is told them in one look.
    let mut tail = tail.header("last-event-id", "0").open().await;
    let mut rows = 0;
    let more = loop {
        let told = soon("an event", tail.next_event()).await.unwrap();
        if !told.data.starts_with("<tr data-row") {
            break told;
        }
        rows += 1;
    };
    assert_eq!((rows, more.data.as_str()), (20, "10"));
    assert!(more.id.is_some(), "where to go on");
    drop(tail);
    world.stop().await;
}
