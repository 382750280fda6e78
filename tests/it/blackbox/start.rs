//! What a stranger reads when the gateway cannot start, is asked how it is, or has its log checked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use sqlx::Connection;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::agent::Agent;
use super::gateway::{PATIENCE, Site};
use super::records;
use super::truth::Truth;

const NOBODY: &str = "servers: {}\nagents: {}\n";

#[tokio::test]
async fn a_policy_that_cannot_be_read_ends_with_4() {
    let site = Site::new(NOBODY);
    let missing = site.serve_in_vain(&["--policy", "absent.yaml"]).await;
    missing.says(4, &["`absent.yaml`", "there is no such file"]);
    let folder = site.serve_in_vain(&["--policy", "."]).await;
    folder.says(4, &["`.`", "it is a folder"]);
    fs::write(site.path("permissions.yaml"), b"# caf\xe9\n").unwrap();
    let latin = site.serve_in_vain(&[]).await;
    latin.says(4, &["permissions.yaml", "not UTF-8"]);
    assert!(!site.db().exists(), "nothing was made");
}

#[tokio::test]
async fn a_wrong_policy_ends_with_3_and_shows_the_place() {
    let site = Site::new("servers: {}\nagents:\n  clawd: {token_hsh: 'x', servers: [imges]}\n");
    let ended = site.serve_in_vain(&[]).await;
    ended.says(
        3,
        &[
            "permissions.yaml:3:",
            "clawd: {token_hsh: 'x', servers: [imges]}",
            "token_hash",
            "imges",
        ],
    );
    site.write_policy("agents: [\n");
    site.serve_in_vain(&[])
        .await
        .says(3, &["permissions.yaml:"]);
    assert!(!site.db().exists(), "nothing was made");
}

#[tokio::test]
async fn viewers_by_header_without_a_trusted_proxy_are_told_at_the_start_and_when_the_rules_change()
{
    const WORDS: &str = "cannot come in by it";
    let by_header =
        |name: &str| format!("{NOBODY}viewers: {{{name}: {{header: {{x-groups: a}}}}}}\n");
    let site = Site::new(&by_header("auditors"));
    let mut gateway = site.serve(&[]).await;
    let line = gateway.line(WORDS).await;
    assert!(
        line.contains("auditors") && line.contains("--trusted-proxy"),
        "{line}"
    );
    site.write_policy(&by_header("controllers"));
    gateway.signal("HUP").await;
    gateway.line("controllers").await;
    let ended = gateway.stop().await;
    assert_eq!(ended.err.matches(WORDS).count(), 2, "{ended:#?}");
    // With one nothing is said, whether a flag names it or the variable.
    let site = Site::new(&by_header("auditors"));
    let flag = site.serve(&["--trusted-proxy", "127.0.0.1"]).await;
    let ended = flag.stop().await;
    assert!(!ended.err.contains(WORDS), "{ended:#?}");
    let variable = [("HAYWARD_TRUSTED_PROXY", "127.0.0.1,10.0.0.0/8")];
    let mut gateway = site.serve_with(&[], &variable).await;
    site.write_policy(&by_header("controllers"));
    gateway.signal("HUP").await;
    gateway.line("new rules are in force").await;
    let ended = gateway.stop().await;
    assert!(!ended.err.contains(WORDS), "{ended:#?}");
    let wrong = site
        .serve_in_vain(&["--trusted-proxy", "proxy.internal"])
        .await;
    wrong.says(
        2,
        &[
            "proxy.internal",
            "--trusted-proxy",
            "write an address or a network",
        ],
    );
}

#[tokio::test]
async fn a_missing_variable_ends_with_3_and_is_named() {
    let site = Site::new(
        "servers:\n  wiki:\n    url: http://127.0.0.1:1/mcp\n    headers:\n      Authorization: 'Bearer ${WIKI_TOKEN}'\nagents: {}\n",
    );
    let ended = site.serve_in_vain(&[]).await;
    ended.says(3, &["permissions.yaml:5:", "WIKI_TOKEN", "Authorization:"]);
    let gateway = site.serve_with(&[], &[("WIKI_TOKEN", "x")]).await;
    gateway.stop().await.says(0, &["permissions.yaml"]);
}

#[tokio::test]
async fn a_port_in_use_ends_with_4_and_is_named() {
    let site = Site::new(NOBODY);
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = site.serve_in_vain(&["--listen", &address]).await;
    ended.says(4, &[&address, "in use"]);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_ends_with_4_and_is_left_alone() {
    let site = Site::new(NOBODY);
    let nowhere = site.serve_in_vain(&["--db", "absent/hayward.db"]).await;
    nowhere.says(4, &["absent/hayward.db"]);

    let letter = b"Dear diary, this is no database, whatever its name says.\n".repeat(40);
    fs::write(site.path("letter.db"), &letter).unwrap();
    let garbage = site.serve_in_vain(&["--db", "letter.db"]).await;
    garbage.says(4, &["`letter.db`", "not a database"]);
    assert_eq!(fs::read(site.path("letter.db")).unwrap(), letter);

    fs::create_dir(site.path("folder.db")).unwrap();
    let folder = site.serve_in_vain(&["--db", "folder.db"]).await;
    folder.says(4, &["`folder.db`"]);

    let closed = unwritable_folder(&site).join("hayward.db");
    let closed = closed.to_str().unwrap();
    let ended = site.serve_in_vain(&["--db", closed]).await;
    ended.says(4, &[closed]);
}

/// A folder in which nothing can be made. Permissions do not hold root back; /sys does.
fn unwritable_folder(site: &Site) -> std::path::PathBuf {
    let folder = site.path("closed");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        return Path::new("/sys").into();
    }
    folder
}

#[tokio::test]
async fn a_second_gateway_on_one_database_ends_with_4() {
    let site = Site::new(NOBODY);
    let first = site.serve(&[]).await;
    let second = site.serve_in_vain(&[]).await;
    second.says(4, &["hayward.db`", "in use by another gateway"]);
    // The first one is none the worse for it.
    let health = site.run(&["health", "--url", &first.url()]).await;
    assert_eq!(health.out, "healthy (agents: 0, servers: 0)\n");
    first.stop().await.says(0, &[]);
    site.serve(&[]).await.stop().await.says(0, &[]);
}

#[tokio::test]
async fn a_command_line_that_makes_no_sense_ends_with_2() {
    let site = Site::new(NOBODY);
    let flag = site.serve_in_vain(&["--polcy", "x"]).await;
    flag.says(2, &["--polcy", "--policy"]);
    for nonsense in ["here", "127.0.0.1", "127.0.0.1:99999", ":3100"] {
        let ended = site.serve_in_vain(&["--listen", nonsense]).await;
        ended.says(2, &[nonsense, "such as 127.0.0.1:3100"]);
    }
    let durability = site.serve_in_vain(&["--durability", "always"]).await;
    durability.says(2, &["always", "power", "process"]);
}

#[tokio::test]
async fn health_tells_a_running_from_an_absent_gateway() {
    let site = Site::new("servers: {}\nagents: {}\n");
    let gateway = site.serve(&[]).await;
    let url = gateway.url();
    let running = site.run(&["health", "--url", &url]).await;
    running.says(0, &[]);
    assert_eq!(running.out, "healthy (agents: 0, servers: 0)\n");
    gateway.stop().await.says(0, &[]);
    let absent = site.run(&["health", "--url", &url]).await;
    absent.says(4, &["nothing listens at", &url, "hayward serve"]);
    assert_eq!(absent.out, "");
}

#[tokio::test]
async fn while_the_log_cannot_be_written_calls_are_refused_and_health_says_so() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let site = Site::new(&open_rules(&truth, &agent));
    let gateway = site.serve(&[]).await;
    let url = gateway.url();

    let mut thief = records::open(&site.db(), true).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut thief)
        .await
        .unwrap();
    let refused = agent
        .call(&url, "truth", "echo", json!({"tag": "1"}))
        .await
        .unwrap();
    assert_eq!(
        refused.refusal("reason"),
        Some("audit_unavailable"),
        "{refused:?}"
    );
    until_health_is(&site, &url, 4, "unhealthy: the log cannot be written").await;
    thief.close().await.unwrap();
    until_health_is(&site, &url, 0, "healthy").await;

    let done = agent
        .call(&url, "truth", "echo", json!({"tag": "2"}))
        .await
        .unwrap();
    assert!(done.is_done("2"), "{done:?}");
    let tags: Vec<String> = truth
        .executions()
        .into_iter()
        .map(|done| done.tag)
        .collect();
    assert_eq!(tags, ["2"], "nothing is forwarded unrecorded");
    gateway.stop().await.says(0, &[]);
    site.run(&["audit", "verify"]).await.says(0, &[]);
}

async fn until_health_is(site: &Site, url: &str, code: i32, words: &str) {
    let asking = async {
        loop {
            let health = site.run(&["health", "--url", url]).await;
            if health.code == Some(code) {
                assert!(health.out.starts_with(words), "{health:?}");
                return;
            }
            sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, asking).await.expect("its health changes");
}

#[tokio::test]
async fn audit_verify_tells_a_sound_log_from_a_missing_and_from_a_changed_one() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let site = Site::new(&open_rules(&truth, &agent));
    let missing = site.run(&["audit", "verify"]).await;
    missing.says(7, &[]);
    assert!(
        missing.out.contains("no database at `./hayward.db`"),
        "{missing:?}"
    );

    let mut gateway = site.serve(&[]).await;
    let head = gateway.line("log head").await;
    let old = head.rsplit(' ').next().unwrap().to_owned();
    let done = agent
        .call(&gateway.url(), "truth", "echo", json!({"tag": "1"}))
        .await;
    assert!(done.unwrap().is_done("1"));
    gateway.stop().await.says(0, &["stopped    log head 8 "]);

    let sound = site.run(&["audit", "verify"]).await;
    sound.says(0, &[]);
    assert!(sound.out.starts_with("ok: 8 events, head 8 "), "{sound:?}");
    let verify = async |head: &str| site.run(&["audit", "verify", "--expect-head", head]).await;
    verify(&old).await.says(0, &[]);
    let foreign = verify(&"ab".repeat(32)).await;
    assert_eq!(foreign.code, Some(4), "{foreign:?}");
    assert!(
        foreign.out.contains("expected head is not in this log"),
        "{foreign:?}"
    );
    verify("ab").await.says(2, &["64 hexadecimal digits"]);

    let mut thief = records::open(&site.db(), true).await;
    for sql in [
        "DROP TRIGGER event_never_changes",
        "UPDATE event SET meta = replace(meta, 'echo', 'eggo') WHERE seq = 6",
    ] {
        sqlx::query(sql).execute(&mut thief).await.unwrap();
    }
    thief.close().await.unwrap();
    let changed = site.run(&["audit", "verify"]).await;
    assert_eq!(changed.code, Some(2), "{changed:?}");
    assert!(changed.out.contains("broken: event 6 "), "{changed:?}");

    fs::write(site.path("letter.db"), "no database".repeat(100)).unwrap();
    let garbage = site.run(&["audit", "verify", "--db", "letter.db"]).await;
    assert_eq!(garbage.code, Some(7), "{garbage:?}");
    assert!(
        garbage.out.contains("`letter.db`") && garbage.out.contains("not a database"),
        "{garbage:?}"
    );
}

#[tokio::test]
async fn a_new_token_pasted_into_the_rules_opens_the_gate() {
    let truth = Truth::start().await;
    let site = Site::new(NOBODY);
    let made = site.run(&["token", "new", "clawd"]).await;
    made.says(0, &["agents:"]);
    let (token, line) = (made.out.trim(), made.err.lines().last().unwrap());
    let line = line.replace("servers: []", "servers: [truth]");
    site.write_policy(&format!(
        "servers: {{truth: {{url: '{}'}}}}\nagents:\n{line}\n",
        truth.url()
    ));
    let gateway = site.serve(&[]).await;
    let call = async |token: &str| {
        let agent = Agent::new(token);
        agent
            .call(&gateway.url(), "truth", "echo", json!({"tag": "1"}))
            .await
            .unwrap()
    };
    assert!(call(token).await.is_done("1"));
    let cut = call(&token[..token.len() - 1]).await;
    assert_eq!(cut.status, 401, "{cut:?}");
    gateway.stop().await.says(0, &[]);
}

/// One agent that may use one server.
pub(super) fn open_rules(truth: &Truth, agent: &Agent) -> String {
    format!(
        "servers: {{truth: {{url: '{}'}}}}\nagents: {{a: {{token_hash: '{}', servers: [truth]}}}}\n",
        truth.url(),
        agent.token_hash()
    )
}
