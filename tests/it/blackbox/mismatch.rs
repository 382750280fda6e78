//! A start on a file that is not what was written: it ends there, or goes on and says so.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection};

use super::agent::Agent;
use super::gateway::Site;
use super::records::{self, Records};
use super::start::open_rules;
use super::truth::Truth;

/// Changes the file behind the gateway's back.
async fn tamper(site: &Site, sql: &str) {
    let mut file = records::open(&site.db(), true).await;
    for statement in [
        "DROP TRIGGER IF EXISTS event_never_changes",
        "DROP TRIGGER IF EXISTS event_never_goes",
        sql,
    ] {
        let statement = AssertSqlSafe(statement.to_owned());
        sqlx::raw_sql(statement).execute(&mut file).await.unwrap();
    }
    file.close().await.unwrap();
}

#[tokio::test]
async fn a_changed_log_or_a_changed_count_is_no_start_until_somebody_accepts_it() {
    let truth = Truth::start().await;
    let agent = Agent::new("a-token-of-a-test");
    let rules = open_rules(&truth, &agent).replace("servers: [", "budgets: [9/day], servers: [");
    for (sql, words) in [
        (
            "UPDATE budget_window SET used = 0",
            "its events add up to 2",
        ),
        (
            "UPDATE event SET meta = replace(meta, 'echo', 'eggo') WHERE kind = 'settled'",
            "is not what was written",
        ),
        (
            "DELETE FROM lookup WHERE dimension = 'agent'",
            "calls may be hidden",
        ),
    ] {
        let site = Site::new(&rules);
        let gateway = site.serve(&[]).await;
        for tag in ["1", "2"] {
            let done = agent
                .call(&gateway.url(), "truth", "echo", json!({"tag": tag}))
                .await;
            assert!(done.unwrap().is_done(tag));
        }
        gateway.stop().await.says(0, &[]);
        site.run(&["audit", "verify", "--quick"]).await.says(0, &[]);
        tamper(&site, sql).await;
        let refused = site.serve_in_vain(&[]).await;
        refused.says(4, &[words, "--accept-mismatch"]);
        let quick = site.run(&["audit", "verify", "--quick"]).await;
        assert_ne!(quick.code, Some(0), "{sql}: {quick:?}");
        let gateway = site.serve(&["--accept-mismatch"]).await;
        gateway.stop().await.says(0, &[]);
        let events = Records::read(&site.db()).await.events;
        let accepted = events.iter().find(|event| event.kind == "accepted");
        let what = accepted.unwrap().meta["mismatch"].as_str().unwrap();
        assert!(what.contains(words), "{what}");
    }
}
