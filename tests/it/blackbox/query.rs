//! `hayward audit query`: what people and programs read of the log at the terminal.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

use super::agent::Agent;
use super::gateway::{PATIENCE, Site};
use super::start::open_rules;
use super::truth::Truth;

fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn calls_are_found_with_the_words_of_the_dashboard() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let rules = open_rules(&truth, &agent);
    let site = Site::new(&rules.replacen("'}", "', budgets: [{limit: 2/day, tools: [draw]}]}", 1));
    let gateway = site.serve(&[]).await;
    let url = gateway.url();
    for (tool, tag) in [("echo", "1"), ("draw", "2"), ("draw", "\u{1b}[2J\u{202e}")] {
        let call = agent.call(&url, "truth", tool, json!({"tag": tag}));
        call.await.unwrap();
    }
    let refused = agent.call(&url, "truth", "draw", json!({"tag": "4"}));
    refused.await.unwrap();
    gateway.stop().await.says(0, &[]);

    let query = async |words: &[&str]| {
        let line = [&["audit", "query", "--format", "jsonl"], words].concat();
        let found = site.run(&line).await;
        found.says(0, &[]);
        objects(&found.out)
    };
    let calls = query(&["tool=draw"]).await;
    assert_eq!(calls.len(), 3);
    assert!(
        calls[0]["seq"].as_i64() < calls[1]["seq"].as_i64(),
        "the newest is last"
    );
    assert_eq!(calls[1]["client"], "\u{1b}[2J\u{202e}");
    assert_eq!(query(&["tool=echo", "decision=ok"]).await.len(), 1);
    assert_eq!(query(&["tool=draw", "decision=denied"]).await.len(), 1);
    assert_eq!(
        query(&["tool=draw", "--not", "decision=denied", "--since", "1h"])
            .await
            .len(),
        2
    );
    assert_eq!(
        query(&["--not", "tool=draw", "tool=echo", "--", "-tool=echo"])
            .await
            .len(),
        0
    );
    assert_eq!(query(&["tool=draw", "--until", "1h"]).await.len(), 0);
    assert_eq!(query(&["tool=draw", "--limit", "2"]).await.len(), 2);
    let one = calls[0]["call"].as_str().unwrap();
    assert_eq!(query(&[&format!("call={one}")]).await, [calls[0].clone()]);

    for form in ["table", "json", "jsonl", "csv"] {
        let shown = site.run(&["audit", "query", "--format", form]).await;
        shown.says(0, &[]);
        assert!(
            !shown.out.contains(['\u{1b}', '\u{202e}']),
            "{form}: {}",
            shown.out
        );
    }
    let table = site
        .run(&["audit", "query", "tool=draw", "--tz", "Asia/Kathmandu"])
        .await;
    assert!(table.out.contains("+05:45"), "{}", table.out);
    for wrong in [
        &["agent"][..],
        &["agent="],
        &["decision=maybe"],
        &["before=7"],
        &["--since", "soon"],
        &["--follow", "--format", "json"],
    ] {
        let line = [&["audit", "query"], wrong].concat();
        let refused = site.run(&line).await;
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
    }
    let hint = site.run(&["audit", "query", "tool=dram"]).await;
    hint.says(0, &["no tool `dram`", "there is `draw`"]);
}

#[tokio::test]
async fn a_follower_sees_calls_as_they_end_and_ends_with_the_gateway() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let site = Site::new(&open_rules(&truth, &agent));
    let gateway = site.serve(&[]).await;
    let url = gateway.url();
    let call = async |tool: &str, tag: &str| {
        let call = agent.call(&url, "truth", tool, json!({"tag": tag}));
        assert!(call.await.unwrap().is_done(tag));
    };
    call("before", "1").await;
    let words = [
        "audit",
        "query",
        "--follow",
        "--format",
        "jsonl",
        "--not",
        "tool=left-out",
    ];
    let mut follower = site.spawn(&words);
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("a line in time").unwrap();
        line.map(|line| serde_json::from_str::<Value>(&line).unwrap())
    };
    let mut tools = Vec::new();
    loop {
        let row = next().await.unwrap();
        if row["method"] == "tools/call" {
            tools.push(row["tool"].as_str().unwrap().to_owned());
            break;
        }
    }
    call("left-out", "2").await;
    call("after", "3").await;
    let row = next().await.unwrap();
    assert_eq!(
        (row["tool"].as_str(), row["decision"].as_str()),
        (Some("after"), Some("ok"))
    );
    assert_eq!(tools, ["before"]);
    gateway.stop().await.says(0, &[]);
    assert_eq!(next().await, None);
    let ended = timeout(PATIENCE, follower.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
}
