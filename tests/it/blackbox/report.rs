//! `hayward audit report`: the same document at the terminal as on the dashboard.

use std::time::Duration;

use hayward::dashboard::Access;
use serde_json::json;

use super::gateway::Site;
use crate::support::{FakeUpstream, World};

const POLICY: &str = r#"
servers: {images: {url: "@images", budgets: [2/day]}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"], deny: ["images/blend"]}}
"#;

fn article(page: &str) -> &str {
    let (_, rest) = page.split_once("<article class=\"report\">").unwrap();
    rest.split_once("</article>").unwrap().0.trim()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_the_command_make_the_same_document_of_a_month_that_is_over() {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let mut world = builder.access(Access::Open).start(POLICY).await;
    world.set_clock(Duration::ZERO, "2027-01-20T12:00:00Z");
    let clawd = world.agent("clawd");
    for tool in ["imagine", "describe", "imagine", "blend"] {
        clawd.call(tool, json!({})).await;
    }
    world.set_clock(Duration::ZERO, "2027-02-03T12:00:00Z");
    world.restart(POLICY).await;
    let clawd = world.agent("clawd");
    clawd.call("imagine", json!({})).await;
    let path = "/audit/report/2027-01";
    let page = world.stranger().get(path).send().await;
    assert_eq!(page.status, 200, "{}", page.body);
    let again = world.stranger().get(path).send().await;
    assert_eq!(article(&page.body), article(&again.body));

    let site = Site::new(&world.filled(POLICY));
    let stopped = world.stop().await;
    let file = &stopped.file;
    let report = async |words: &[&str]| {
        let line = ["audit", "report", "--db", file.to_str().unwrap()];
        site.run(&[&line, words].concat()).await
    };
    let january = ["--month", "2027-01"];
    let html = report(&[&january[..], &["--format", "html"]].concat()).await;
    html.says(0, &[]);
    assert_eq!(article(&html.out), article(&page.body));
    assert!(html.out.starts_with("<!doctype html>") && html.out.contains("<style>"));
    assert!(!html.out.contains("<script") && !html.out.contains("So far"));

    let markdown = report(&january).await;
    markdown.says(0, &[]);
    for said in [
        "# Report for January 2027\n",
        "1 agent made 4 calls; 2 refused and 0 ended in an error.",
        "| `budget` | 1 |",
        "## Signatures",
    ] {
        assert!(markdown.out.contains(said), "{said}: {}", markdown.out);
    }
    assert_eq!(report(&january).await.out, markdown.out);
    let head = markdown.out.split("--expect-head ").nth(1).unwrap();
    let head = head.split('`').next().unwrap();
    let line = [
        "audit",
        "verify",
        "--expect-head",
        head,
        "--db",
        file.to_str().unwrap(),
    ];
    site.run(&line).await.says(0, &[]);

    let february = report(&["--month", "2027-02"]).await;
    assert!(
        february.out.contains("So far, up to event "),
        "{}",
        february.out
    );
    report(&["--month", "2020-01"])
        .await
        .says(0, &["no event of January 2020"]);
}
