//! What other rules would have made of a log, told by the real binary.

use std::time::Duration;

use serde_json::{Value, json};

use super::gateway::{Ended, Site};
use crate::support::{FakeUpstream, Random, Stopped, World, events, seed};

const RULES: &str = "
defaults: {timezone: Europe/Berlin, capture: arguments}
servers:
  images:
    url: \"@images\"
    costs: {imagine: 0.5, blend: 0.25}
    cost_unit: USD
    budgets: [{limit: 4/day, each: agent+tool}, 6 USD/week, {limit: 20/day, weight: {argument: count}}]
  notes: {url: \"@notes\", budgets: [{limit: 3/24h, tools: [describe], refund: [tool_error, rejected]}]}
budgets: {team: 9/day}
deny: [\"notes/cut\"]
agents:
  clawd: {token_hash: \"@clawd\", servers: [\"*\"]}
  designer:
    token_hash: \"@designer\"
    servers:
      - {server: images, tools: [imagine, fail], budgets: [team], when: {count: {max: 3}}}
      - {server: notes, tools: [describe, fail], budgets: [team]}
";

/// A log of a day of calls of two agents, and the rules it was made under.
async fn recorded() -> (Stopped, String) {
    let mut dice = Random::new(seed(), 77);
    let builder = World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern());
    let world = builder.start(RULES).await;
    let pick = |dice: &mut Random, words: &[&'static str]| {
        words[usize::try_from(dice.below(u64::try_from(words.len()).unwrap())).unwrap()]
    };
    for _ in 0..150 {
        let agent = pick(&mut dice, &["clawd", "designer"]);
        let server = pick(&mut dice, &["images", "notes"]);
        let tool = pick(
            &mut dice,
            &["imagine", "blend", "describe", "fail", "cut", "absent"],
        );
        let arguments = json!({"count": dice.below(5)});
        let name = format!("{server}__{tool}");
        world.agent(agent).call(&name, arguments).await;
        let pause = Duration::from_secs(dice.below(1_200));
        world.clock().advance(pause);
    }
    let filled = world.filled(RULES);
    (world.stop().await, filled)
}

/// Tries rules on all calls of a log.
async fn run(log: &Stopped, rules: &str, words: &[&str]) -> Ended {
    let site = Site::new(rules);
    let db = log.file.to_str().unwrap();
    let given = ["simulate", "--db", db, "--since", "2026-01-01"];
    site.run(&[&given, words].concat()).await
}

/// What the command says of a log under some rules.
async fn simulated(log: &Stopped, rules: &str, words: &[&str]) -> Value {
    let ended = run(log, rules, &[&["--format", "json"], words].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    serde_json::from_str(&ended.out).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_replayed_under_the_rules_that_were_in_force_fare_as_they_did() {
    let (log, rules) = recorded().await;
    let found = simulated(&log, &rules, &["--sample", "3"]).await;
    assert_eq!(found["refused"], 0, "{found:#}");
    assert_eq!(found["allowed"], 0, "{found:#}");
    let made = events(&log.file).await;
    let decided = made
        .iter()
        .filter(|event| event.is(&["admitted", "denied"]));
    assert!(found["calls"].as_u64().unwrap() > 100, "{found:#}");
    assert!(found["calls"].as_u64().unwrap() <= u64::try_from(decided.count()).unwrap());
    let refused = made
        .iter()
        .filter(|event| event.reason.as_deref() == Some("budget"));
    assert!(refused.count() > 5, "budgets had a part");
    assert!(!found["dry"].as_array().unwrap().is_empty(), "{found:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_limit_and_a_grant_that_goes_are_told_with_their_calls() {
    let world = World::small("budgets: [3/day]").await;
    let agent = world.agent("clawd");
    for _ in 0..5 {
        agent.call("imagine", json!({})).await;
    }
    agent.call("describe", json!({})).await;
    let less = world.filled(&World::small_policy("budgets: [1/day]"));
    let more = world.filled(&World::small_policy("budgets: [10/day]"));
    let none = more.replace("servers: [\"*\"]", "servers: []");
    let log = world.stop().await;

    let found = simulated(&log, &less, &["--sample", "1"]).await;
    assert_eq!(
        (&found["refused"], &found["allowed"]),
        (&json!(2), &json!(0)),
        "{found:#}"
    );
    let flip = &found["would_be_refused"][0];
    assert_eq!(
        (&flip["name"], &flip["reason"]),
        (&json!("imagine"), &json!("budget"))
    );
    assert_eq!(flip["samples"].as_array().unwrap().len(), 1);
    assert_eq!(found["dry"][0]["calls"], 5);

    let found = simulated(&log, &more, &[]).await;
    assert_eq!(
        (&found["refused"], &found["allowed"]),
        (&json!(0), &json!(3)),
        "{found:#}"
    );
    let found = simulated(&log, &none, &[]).await;
    assert_eq!(found["refused"], 3, "{found:#}");
    assert_eq!(found["would_be_refused"][0]["reason"], "not_granted");

    for (most, code) in [("2", 1), ("3", 0)] {
        let ended = run(&log, &none, &["--fail-if-denied", most]).await;
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert!(ended.out.contains("would be refused: 3"), "{ended:#?}");
    }
}
