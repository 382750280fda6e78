//! What is refused, why, and what would allow it.

use std::time::Duration;

use super::report::rules;
use super::sample::{Made, Sample};
use super::{get, links};
use crate::dashboard::Access;

const RULES: &str = r#"
defaults: {timezone: Europe/Berlin}
servers:
  github: {url: "http://127.0.0.1:9/mcp"}
  images: {url: "http://127.0.0.1:9/mcp"}
agents:
  clawd:
    token_hash: "sha256:0e1d1c8f5e3a5b4f7b2d6c9a8e7f6d5c4b3a29180716f5e4d3c2b1a0f9e8d7c6"
    servers:
      - {server: images, tools: [imagine], budgets: [2/day]}
"#;

async fn sample() -> Sample {
    let mut sample = Sample::empty().await;
    let made = |agent, server, tool, minutes: u64| Made {
        agent,
        server,
        tool,
        ago: Duration::from_secs(minutes * 60),
        ..Made::default()
    };
    let mut entries = Vec::new();
    for minutes in [40, 30, 20] {
        entries.extend(sample.denied(
            &made("clawd", "github", "create_issue", minutes),
            "not_granted",
            "no",
        ));
    }
    for minutes in [15, 14] {
        entries.extend(sample.denied(
            &made("clawd", "images", "imagine", minutes),
            "budget",
            "2 of 2",
        ));
    }
    for tool in ["a", "b", "c", "d", "<script>"] {
        entries.extend(sample.denied(&made("prober", "github", tool, 10), "not_granted", "no"));
    }
    sample.write(entries).await;
    sample
}

#[tokio::test]
async fn refusals_are_told_by_reason_by_agent_and_tool_with_what_would_allow_them() {
    let mut sample = sample().await;
    for is_built in [false, true] {
        if is_built {
            sample.build().await;
        }
        let router = sample.router_with(Access::Open, rules(RULES)).await;
        let page = get(&router, "/audit/denials").await.body;
        let lead = "10 calls were refused in this time, for 2 reasons, most often not_granted (8).";
        assert!(page.contains(lead), "{page}");
        let rows = page.matches("<tr data-row>").count();
        assert_eq!(rows, 7);
        let first = page.split("<tr data-row>").nth(1).unwrap();
        assert!(
            first.contains("create_issue") && first.contains("<td class=\"n\">3</td>"),
            "{first}"
        );
        assert!(
            first.contains("14:40:00 +01:00") && first.contains("15:00:00 +01:00"),
            "{first}"
        );
        assert!(
            first.contains("- {server: github, tools: [&#34;create_issue&#34;]}"),
            "{first}"
        );
        assert!(page.contains("2/day at agents.clawd.servers[0]"));
        assert!(page.contains("The rules no longer name this agent."));
        let (_, probing) = page.split_once("Trying many tools").unwrap();
        let (probing, spent) = probing.split_once("Budgets used up").unwrap();
        let (spent, _) = spent.split_once("By agent and tool").unwrap();
        assert!(
            probing.contains("<bdi>prober</bdi>") && !probing.contains("<bdi>clawd</bdi>"),
            "{probing}"
        );
        assert!(
            spent.contains("<bdi>clawd</bdi>") && !spent.contains("prober"),
            "{spent}"
        );
        assert!(page.contains("<bdi>&#60;script&#62;</bdi>") && !page.contains("<script>"));
    }
}

#[tokio::test]
async fn links_from_refusals_keep_the_time_and_filters_choose_the_rows() {
    let router = sample().await.router_with(Access::Open, rules(RULES)).await;
    let page = get(&router, "/audit/denials?range=7d&tz=UTC").await.body;
    let links = links(&page);
    let one = "/audit/calls?agent=clawd&server=github&tool=create_issue&decision=denied&reason=not_granted&range=7d&tz=UTC";
    assert!(links.contains(&one.into()), "{links:?}");
    assert!(
        links.contains(&"/audit/agents/clawd?range=7d&tz=UTC".into()),
        "{links:?}"
    );
    let found = get(&router, one).await.body;
    assert_eq!(super::rows(&found), 3);
    for (query, rows) in [
        ("agent=clawd", 2),
        ("-agent=clawd", 5),
        ("reason=budget", 1),
        ("tool=create_issue", 1),
        ("server=github&-tool=create_issue", 5),
        ("range=1m", 0),
        ("tool=nothing", 0),
    ] {
        let page = get(&router, &format!("/audit/denials?{query}")).await.body;
        assert_eq!(page.matches("<tr data-row>").count(), rows, "{query}");
        let csv = get(&router, &format!("/audit/denials.csv?{query}"))
            .await
            .body;
        assert_eq!(csv.lines().count(), rows + 1, "{query}: {csv}");
        assert_eq!(page.contains("<h2>No refusals</h2>"), rows == 0, "{query}");
    }
    let csv = get(&router, "/audit/denials.csv?agent=clawd&reason=budget")
        .await
        .body;
    let row =
        "clawd,images,imagine,budget,2,2026-11-20T14:05:00.000000Z,2026-11-20T14:06:00.000000Z,";
    assert!(csv.lines().nth(1).unwrap().starts_with(row), "{csv}");
}
