//! A pull request as its reviewer sees it: the real binary in a real git repository.

use std::process::Command;

use serde_json::Value;

use hayward::clock::Clock;

use super::gateway::Site;
use crate::support::World;

const RULES: &str = "defaults: {timezone: Europe/Berlin}
servers:
  images: {url: 'http://images/mcp', headers: {Authorization: 'Bearer ${IMAGES_TOKEN}'}}
  notes: {url: 'http://notes/mcp'}
deny: ['notes/delete_*']
agents:
  clawd:
    token_hash: 'sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5'
    servers: [notes]
  designer:
    token_hash: 'sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae'
    servers: [{server: images, tools: [imagine], budgets: [2/day]}]
tests:
  - {agent: clawd, deny: [notes/delete_all]}
";

fn git(site: &Site, words: &[&str]) {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=reviewer",
            "-c",
            "user.email=reviewer@example.com",
        ])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(words)
        .current_dir(site.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A repository with these rules in its only commit.
fn repository() -> Site {
    let site = Site::new(RULES);
    git(&site, &["init", "--quiet"]);
    git(&site, &["add", "permissions.yaml"]);
    git(&site, &["commit", "--quiet", "-m", "rules"]);
    site
}

#[tokio::test]
async fn a_reviewer_reads_who_gains_and_loses_what_from_git() {
    let site = repository();
    let same = ["diff", "HEAD:permissions.yaml", "--exit-code"];
    let ended = site.run(&same).await;
    assert_eq!(
        (ended.code, ended.out.trim()),
        (Some(0), "nothing changes"),
        "{ended:#?}"
    );
    let changed = RULES
        .replace(
            "[imagine], budgets: [2/day]",
            "[imagine, blend], budgets: [5/day]",
        )
        .replace("servers: [notes]", "servers: []")
        .replace("http://images/mcp", "http://elsewhere/mcp");
    std::fs::write(site.path("permissions.yaml"), &changed).unwrap();
    let ended = site.run(&same).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for line in [
        "servers   ~ images url",
        "HIGH: calls and secrets go somewhere else",
        "clawd     - loses notes/*",
        "designer  + may call images/blend",
        "2/day -> 5/day",
    ] {
        assert!(ended.out.contains(line), "{line}\n{}", ended.out);
    }
    let high = ended.out.lines().position(|line| line.contains("HIGH"));
    assert_eq!(high, Some(0), "what is risky stands first\n{}", ended.out);
    let json = site
        .run(&["diff", "HEAD:permissions.yaml", "--format", "json"])
        .await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["high"], 1, "{json:#}");
    let markdown = site
        .run(&["diff", "HEAD:permissions.yaml", "--format", "markdown"])
        .await;
    assert!(
        markdown
            .out
            .contains("| + | `designer` | `may call images/blend` |"),
        "{markdown:#?}"
    );
    site.run(&["diff", "nowhere:permissions.yaml"])
        .await
        .says(4, &["there is no `nowhere:"]);
    std::fs::write(site.path("permissions.yaml"), "agents: [").unwrap();
    site.run(&same).await.says(3, &["P001", "is not in order"]);
}

#[tokio::test]
async fn a_check_needs_no_secret_and_fails_with_the_tests_in_the_file() {
    let site = repository();
    let ended = site.run(&["check"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.out.contains("in order, 1 test passed"), "{ended:#?}");
    std::fs::write(
        site.path("permissions.yaml"),
        RULES.replace("deny: ['notes/delete_*']", "deny: []"),
    )
    .unwrap();
    let ended = site.run(&["check"]).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for words in [
        "error[P070]",
        "notes/delete_all is allowed for clawd",
        "1 error",
    ] {
        assert!(ended.out.contains(words), "{words}\n{}", ended.out);
    }
    let ended = site.run(&["check", "--no-tests"]).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let ended = site.run(&["check", "--format", "sarif"]).await;
    let sarif: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "P070");
    // Such rules start no gateway either, with all secrets in their places.
    let open = std::fs::read_to_string(site.path("permissions.yaml")).unwrap();
    let open = open.replace(", headers: {Authorization: 'Bearer ${IMAGES_TOKEN}'}", "");
    std::fs::write(site.path("permissions.yaml"), open).unwrap();
    let served = site.run(&["serve", "--listen", "127.0.0.1:0"]).await;
    served.says(3, &["P070", "is not in order"]);
    site.run(&["check", "absent.yaml"])
        .await
        .says(4, &["there is no such file"]);
}

#[tokio::test]
async fn an_explanation_names_the_lines_and_what_is_used() {
    let world = World::small("budgets: [2/day]").await;
    let rules = world.filled(&World::small_policy("budgets: [2/day]"));
    let agent = world.agent("clawd");
    for _ in 0..2 {
        agent.call("imagine", serde_json::json!({})).await;
    }
    let now = world.clock().now().rfc3339_utc();
    let log = world.stop().await;
    let site = Site::new(&rules);
    let db = log.file.to_str().unwrap();
    let ask = [
        "explain",
        "clawd",
        "images/imagine",
        "--exit-code",
        "--at",
        &now,
    ];
    let ended = site.run(&ask).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.out.contains("allowed: clawd may use images/imagine"),
        "{ended:#?}"
    );
    assert!(
        ended.out.contains("agents.clawd.servers[0] grants it"),
        "{ended:#?}"
    );
    let ended = site.run(&[&ask[..], &["--db", db]].concat()).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for words in ["denied: budget", "2 used until", "no room"] {
        assert!(ended.out.contains(words), "{words}\n{}", ended.out);
    }
    let ended = site.run(&["explain", "clawd", "--list"]).await;
    assert!(ended.out.contains("everything"), "{ended:#?}");
    site.run(&["explain", "claude", "images/imagine"])
        .await
        .says(2, &["did you mean `clawd`?"]);
}
