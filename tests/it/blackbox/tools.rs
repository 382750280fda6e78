//! `hayward tools` with real servers as child processes: listed, locked, compared, and what a gateway does with it.

use serde_json::{Value, json};

use super::agent::Agent;
use super::gateway::Site;

fn site() -> Site {
    let program = json!(env!("CARGO_BIN_EXE_hayward"));
    Site::new(&format!(
        "servers:\n  images: {{command: {program}, args: [example-server, images]}}\n  \
         notes: {{command: {program}, args: [example-server, notes]}}\n\
         agents:\n  clawd: {{token_hash: \"{}\", servers: [images, notes]}}\n",
        Agent::new("clawd").token_hash()
    ))
}

#[tokio::test]
async fn tools_are_listed_locked_and_compared() {
    let site = site();
    let listed = site.run(&["tools"]).await;
    assert_eq!(listed.code, Some(0), "{listed:#?}");
    assert!(
        listed.out.lines().all(|line| line.starts_with("sha256:")),
        "{listed:#?}"
    );
    assert!(listed.out.contains("  notes/search\n"), "{listed:#?}");
    let json = site
        .run(&["tools", "--server", "notes", "--format", "json"])
        .await;
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["servers"].as_array().unwrap().len(), 1);
    assert_eq!(json["servers"][0]["server"], "notes");
    assert!(json["servers"][0]["tools"][0]["definition"]["inputSchema"].is_object());

    let check = site.run(&["tools", "--check-lock"]).await;
    check.says(1, &["there is no", "tools.lock", "--write-lock"]);
    site.run(&["tools", "--write-lock"])
        .await
        .says(0, &["tools.lock", "git"]);
    let lock = std::fs::read_to_string(site.path("tools.lock")).unwrap();
    let lines: Vec<&str> = lock.lines().filter(|line| !line.starts_with('#')).collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(lines, sorted);
    assert_eq!(lines.len(), listed.out.lines().count());
    site.run(&["tools", "--check-lock"]).await.says(0, &[]);

    let changed = lock.replace("notes/search sha256:", "notes/search sha256:0");
    let (before, after) = changed.split_once("notes/search sha256:0").unwrap();
    let (hash, rest) = after.split_once(' ').unwrap();
    let rest = rest.replacen("description:", "description:0", 1);
    let other = format!("{before}notes/search sha256:0{} {rest}", &hash[1..]);
    let without = other
        .lines()
        .filter(|line| !line.starts_with("images/blend"));
    let without: Vec<&str> = without.collect();
    std::fs::write(site.path("tools.lock"), without.join("\n")).unwrap();
    let check = site.run(&["tools", "--check-lock"]).await;
    assert_eq!(check.code, Some(1), "{check:#?}");
    assert_eq!(
        check.out,
        "+ images/blend\n~ notes/search  description changed\n"
    );
    let check = site
        .run(&["tools", "--check-lock", "--format", "json"])
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&check.out).unwrap(),
        json!({"added": ["images/blend"], "removed": [],
            "changed": [{"tool": "notes/search", "parts": {"description": "changed"}}]})
    );
    // Only one server is written anew; the lines of the other stay.
    site.run(&["tools", "--write-lock", "--server", "notes"])
        .await
        .says(0, &[]);
    let check = site.run(&["tools", "--check-lock"]).await;
    assert_eq!(check.out, "+ images/blend\n", "{check:#?}");
    // A server that is switched off stays pinned for the day it is switched on again.
    let rules = std::fs::read_to_string(site.path("permissions.yaml")).unwrap();
    site.write_policy(&rules.replacen("notes]}", "notes], disabled: true}", 1));
    site.run(&["tools", "--write-lock"])
        .await
        .says(0, &["`notes` is switched off"]);
    let kept = std::fs::read_to_string(site.path("tools.lock")).unwrap();
    assert_eq!(kept, lock);
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_ends_with_4_and_no_lock_is_written() {
    let site = Site::new(
        "servers:\n  gone: {url: \"http://127.0.0.1:1/mcp\"}\n  off: {url: \"http://127.0.0.1:1/mcp\", disabled: true}\n",
    );
    let ended = site.run(&["tools", "--write-lock"]).await;
    ended.says(
        4,
        &[
            "server `gone` could not be asked",
            "nothing was written",
            "`off` is switched off",
        ],
    );
    assert!(!site.path("tools.lock").exists());
    let unknown = site.run(&["tools", "--server", "other"]).await;
    unknown.says(2, &["no server `other`"]);
}

#[tokio::test]
async fn a_gateway_refuses_what_its_lock_does_not_have_and_does_not_start_with_half_a_lock() {
    let site = site();
    site.run(&["tools", "--write-lock"]).await.says(0, &[]);
    let lock = std::fs::read_to_string(site.path("tools.lock")).unwrap();
    let other = lock
        .lines()
        .map(|line| match line.strip_prefix("notes/search sha256:") {
            Some(rest) => format!("notes/search sha256:{}{}", "0".repeat(64), &rest[64..]),
            None => line.to_owned(),
        });
    let other: Vec<String> = other.collect();
    std::fs::write(site.path("tools.lock"), other.join("\n")).unwrap();
    let gateway = site.serve(&[]).await;
    let (agent, url) = (Agent::new("clawd"), format!("http://{}", gateway.address));
    let search = agent.call(&url, "notes", "search", json!({"query": "commons"}));
    let search = search.await.unwrap();
    assert_eq!(search.refusal("reason"), Some("tool_changed"), "{search:?}");
    assert!(
        search.text().contains("its definition changed"),
        "{search:?}"
    );
    let imagine = agent.call(&url, "images", "imagine", json!({"prompt": "a field"}));
    let imagine = imagine.await.unwrap();
    assert!(imagine.body["result"]["isError"] != true, "{imagine:?}");
    gateway
        .stop()
        .await
        .says(0, &["refused until tools.lock has it"]);
    let verified = site.run(&["audit", "verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:#?}");

    std::fs::write(site.path("tools.lock"), "notes/search sha256:00\n").unwrap();
    site.serve_in_vain(&[])
        .await
        .says(4, &["tools.lock", "line 1"]);
}

#[tokio::test]
async fn a_check_that_asks_the_servers_finds_what_they_do_not_have() {
    let site = site();
    let rules = std::fs::read_to_string(site.path("permissions.yaml")).unwrap();
    site.run(&["check", "--online", "--allow", "P060"])
        .await
        .says(0, &[]);
    let grants = "servers: [{server: images, tools: [imagin, 'up*', imagine], when: {promt: {max_length: 9}}}, notes]";
    let wrong = rules.replace("servers: [images, notes]", grants);
    assert_ne!(wrong, rules);
    std::fs::write(
        site.path("permissions.yaml"),
        format!("{wrong}deny: ['notes/delete_everything']\n"),
    )
    .unwrap();
    let ended = site
        .run(&["check", "--online", "--fail-level", "warning"])
        .await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for words in [
        "warning[P022]: server `images` has no tool `imagin`",
        "it has `imagine`",
        "has no tool `delete_everything`",
        "warning[P041]: no tool of this grant has an argument `promt`",
        "there is `prompt`",
    ] {
        assert!(ended.out.contains(words), "{words}\n{}", ended.out);
    }
    let gone = rules.replace("example-server, notes", "example-server, nothing");
    std::fs::write(site.path("permissions.yaml"), gone).unwrap();
    let ended = site.run(&["check", "--online"]).await;
    ended.says(4, &["server `notes` could not be asked"]);
}

#[tokio::test]
async fn a_check_by_the_log_finds_what_the_servers_never_listed() {
    let site = site();
    let gateway = site.serve(&[]).await;
    let (agent, url) = (Agent::new("clawd"), format!("http://{}", gateway.address));
    let imagine = agent.call(&url, "images", "imagine", json!({"prompt": "a field"}));
    imagine.await.unwrap();
    gateway.stop().await;
    let rules = std::fs::read_to_string(site.path("permissions.yaml")).unwrap();
    let grants = "servers: [{server: images, tools: [imagin], when: {promt: {max_length: 9}}}, {server: notes, tools: [x]}]";
    std::fs::write(
        site.path("permissions.yaml"),
        rules.replace("servers: [images, notes]", grants),
    )
    .unwrap();
    let db = site.path("hayward.db");
    let db = db.to_str().unwrap();
    let ended = site
        .run(&["check", "--db", db, "--fail-level", "warning"])
        .await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let found = ended.out.matches("[P022]").count();
    let said = "warning[P022]: server `images` has no tool `imagin`";
    assert!(ended.out.contains(said), "{}", ended.out);
    // Nobody knows the arguments, and nothing of a server that nobody called.
    assert_eq!(
        (found, ended.out.contains("P041")),
        (1, false),
        "{ended:#?}"
    );
}
