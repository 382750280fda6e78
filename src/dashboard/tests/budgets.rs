//! What is left, and whether it lasts.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};

use super::sample::{Made, Sample, permissions};
use super::{get, links};
use crate::audit::{Entry, Kind};
use crate::config;
use crate::dashboard::Access;
use crate::policy::Permissions;
use crate::types::Timestamp;

const RULES: &str = "
defaults: {timezone: Europe/Berlin}
servers:
  images: {url: 'http://images.internal/mcp'}
  outline: {url: 'http://outline.internal/mcp', budgets: [10/week]}
agents:
  clawd:
    token_hash: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    budgets: [500/day]
    servers: [outline]
  designer:
    token_hash: 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'
    servers: [images, outline]
";

/// The rules in a text.
pub(super) fn rules(text: &str) -> Permissions {
    config::review("permissions.yaml", text)
        .unwrap()
        .permissions
}

/// A call of the agent that took this much of a budget.
fn charged(sample: &mut Sample, made: &Made, key: &str, amount: u64) -> Vec<(Timestamp, Entry)> {
    let mut entries = sample.allowed(made, Some((Kind::Settled, "ok")));
    let (at, closing) = entries.pop().unwrap();
    let budgets = serde_json::json!([{"key": key, "window": 0, "charged": amount}]);
    entries.push((at, closing.json("budgets", budgets.to_string())));
    entries
}

/// Follows every link of a page, and finds a page behind each that takes all its filters.
pub(super) async fn assert_links_lead_on(router: &Router, path: &str) {
    let page = get(router, path).await;
    assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
    let here = path.split('?').next().unwrap();
    for link in links(&page.body) {
        if link.starts_with('#') || link.starts_with("/audit/look?") {
            continue;
        }
        let link = match link.strip_prefix('?') {
            Some(query) => format!("{here}?{query}"),
            None => link,
        };
        let mut next = get(router, &link).await;
        // The way to the report goes on to the last full month.
        if next.status == StatusCode::SEE_OTHER {
            next = get(router, next.header(header::LOCATION)).await;
        }
        assert_eq!(next.status, StatusCode::OK, "{path} leads to {link}");
        let is_ignored = next.body.contains("Ignored filter");
        assert!(!is_ignored, "{path} leads to {link}");
    }
}

#[tokio::test]
async fn every_link_about_budgets_leads_to_a_page() {
    let router = Sample::busy().await;
    let router = router.router_with(Access::Open, rules(RULES)).await;
    for path in [
        "/audit/budgets",
        "/audit/budgets?range=7d&agent=clawd&tz=UTC",
        "/audit/budgets/1",
        "/audit/budgets/3?range=7d",
        "/audit/budgets/6",
    ] {
        assert_links_lead_on(&router, path).await;
    }
}

#[tokio::test]
async fn budgets_are_told_driest_first_with_a_forecast_and_whose_calls_they_count() {
    let sample = Sample::busy().await;
    let router = sample.router_with(Access::Open, rules(RULES)).await;
    let page = get(&router, "/audit/budgets?range=7d").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    let summary = "7 budgets count now: 2 used up, 2 will be used up at this pace before counting begins anew, \
        1 not touched.";
    assert!(page.contains(summary), "{page}");
    let at = |text: &str| {
        page.find(text)
            .unwrap_or_else(|| panic!("no {text}: {page}"))
    };
    assert!(at("images / blend, imagine") < at("<b>31</b> of 40 a month"));
    assert!(at("<b>31</b> of 40 a month") < at("<b>12</b> of 200 a week"));
    // 212 were used in 14 h 40 min of a window of 23 h 20 min.
    assert!(page.contains("lasts: about 337 used"), "{page}");
    assert!(page.contains("not in the rules in force"));
    // Nobody has used that one.
    assert!(at("<b>0</b> of 10 a week") > at("<b>12</b> of 200 a week"));
    let links = links(&page);
    for link in [
        "/audit/budgets/4?range=7d",
        "/audit/calls?agent=designer&range=7d",
        "/audit/budgets.csv?range=7d",
    ] {
        assert!(links.contains(&link.to_owned()), "{link}: {links:?}");
    }
    let csv = get(&router, "/audit/budgets.csv?range=7d").await.body;
    assert_eq!(csv.lines().count(), 8, "{csv}");
    let line = csv.lines().find(|line| line.starts_with("4,")).unwrap();
    assert!(
        line.starts_with("4,agents.clawd calls/day@Europe/Berlin,calls,1,500,212,0,0,false,"),
        "{line}"
    );
}

#[tokio::test]
async fn budgets_are_chosen_by_agent_and_server() {
    let sample = Sample::busy().await;
    let router = sample.router_with(Access::Open, rules(RULES)).await;
    for (query, expected) in [
        ("", 7),
        ("?agent=clawd", 3),
        ("?-agent=clawd", 4),
        ("?server=images", 2),
        ("?server=images&agent=designer", 1),
        ("?server=nothing", 0),
    ] {
        let page = get(&router, &format!("/audit/budgets{query}")).await.body;
        assert_eq!(page.matches("<tr data-row").count(), expected, "{query}");
    }
    let none = get(&router, "/audit/budgets?server=nothing").await.body;
    assert!(none.contains("No budget fits"));
}

#[tokio::test]
async fn without_any_budget_the_page_says_how_to_write_one() {
    let sample = Sample::empty().await;
    let router = sample.router_with(Access::Open, permissions()).await;
    let page = get(&router, "/audit/budgets").await.body;
    assert!(
        page.contains("No budgets") && page.contains("budgets: [100/day]"),
        "{page}"
    );
    assert!(!page.contains("budgets.csv"));
    for path in ["/audit/budgets/1", "/audit/budgets/x"] {
        let answer = get(&router, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_budget_is_told_with_the_calls_that_took_from_it() {
    let mut sample = Sample::empty().await;
    let key = "agents.clawd calls/day@Europe/Berlin";
    let hours = |hours: u64| Made {
        ago: Duration::from_secs(hours * 3_600),
        ..Made::default()
    };
    let mut entries = Vec::new();
    for ago in [9, 4] {
        entries.extend(charged(&mut sample, &hours(ago), key, 1));
    }
    entries.extend(charged(
        &mut sample,
        &hours(3),
        "agents.clawd calls/hour@UTC",
        1,
    ));
    let refund = Entry::new(Kind::Refunded)
        .text("by", "ops")
        .text("why", "the <b>server</b> was down")
        .json(
            "budgets",
            serde_json::json!([{"key": key, "window": 0, "refunded": 1}]).to_string(),
        );
    entries.push((super::before(Duration::from_secs(60)), refund));
    sample.write(entries).await;
    sample.budget(key, [3, 2, 0], [15, 9]).await;
    let router = sample.router_with(Access::Open, rules(RULES)).await;
    let page = get(&router, "/audit/budgets/1?tz=UTC").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    assert!(page.contains("2 of 3 a day used, 1 left"), "{page}");
    assert_eq!(page.matches("<tr data-row").count(), 2, "{page}");
    assert!(page.contains("each step is a call"), "{page}");
    assert!(page.contains("From 3 at the beginning to 1 of 3"), "{page}");
    assert!(page.contains("given back"));
    assert!(page.contains("the &#60;b&#62;server&#60;/b&#62; was down"));
    let links = links(&page);
    let calls = links.iter().find(|link| link.contains("decision=allowed"));
    assert_eq!(
        calls.map(String::as_str),
        Some(
            "/audit/calls?agent=clawd&decision=allowed&from=2026-11-19T23:40:00Z&to=2026-11-20T23:00:00Z&tz=UTC"
        )
    );
    for link in links.iter().filter(|link| link.starts_with("/audit/calls")) {
        let next = get(&router, link).await;
        assert_eq!(next.status, StatusCode::OK, "{link}");
        assert!(!next.body.contains("Ignored filter"), "{link}");
    }
}

#[tokio::test]
async fn a_hostile_name_of_a_budget_is_shown_as_text() {
    let mut sample = Sample::empty().await;
    let key = "agents.clawd/outline[<i>] calls/day@UTC each tool=<script>x</script>";
    sample.budget(key, [2, 1, 0], [1, 1]).await;
    let router = sample.router(Access::Open).await;
    for path in ["/audit/budgets", "/audit/budgets/1"] {
        let page = get(&router, path).await.body;
        assert!(
            !page.contains("<script>x") && !page.contains("<i>]"),
            "{path}"
        );
        assert!(page.contains("&#60;script&#62;x"), "{path}");
    }
}
