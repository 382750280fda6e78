//! Which rules were in force when, what they said, and what changed between them.

use std::time::Duration;

use axum::http::StatusCode;

use super::budgets::{assert_links_lead_on, rules};
use super::sample::{Made, Sample};
use super::{before, get, links};
use crate::audit::{Entry, Kind};
use crate::dashboard::Access;
use crate::types::{Revision, RulesText, Timestamp};

const OLD: &str = "defaults: {timezone: Europe/Berlin}
servers:
  outline: {url: 'http://outline.internal/mcp', headers: {X-Api-Key: '${KEY}'}}
agents:
  clawd:
    token_hash: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    servers:
      - {server: outline, tools: [search_documents]}
";

const NEW: &str = "defaults: {timezone: Europe/Berlin}
servers:
  outline: {url: 'http://outline.internal/mcp', headers: {X-Api-Key: '${KEY}'}}
agents:
  clawd:
    token_hash: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    servers: [outline]  # <b>bold</b>
";

fn hours(hours: u64) -> Timestamp {
    before(Duration::from_secs(hours * 3_600))
}

fn policy(text: &str) -> Entry {
    let rules = RulesText::new(text, text);
    let revision = rules.revision().to_string();
    Entry::new(Kind::Policy)
        .text("policy", &revision)
        .text("commit", "0123456789abcdef0123")
        .with_rules(rules)
}

fn short(text: &str) -> String {
    Revision::of(text.as_bytes()).short()
}

/// Two versions: one refusal and one call under the old one, three calls under the new.
async fn two_versions() -> Sample {
    let mut sample = Sample::empty().await;
    let made = |hours: u64| Made {
        ago: Duration::from_secs(hours * 3_600),
        ..Made::default()
    };
    let ok = Some((Kind::Settled, "ok"));
    let mut entries = vec![(hours(40), policy(OLD))];
    entries.extend(sample.allowed(&made(30), ok));
    entries.extend(sample.denied(&made(29), "not_granted", "no"));
    entries.push((hours(20), policy(NEW)));
    for ago in [10, 9, 8] {
        entries.extend(sample.allowed(&made(ago), ok));
    }
    sample.write(entries).await;
    sample
}

#[tokio::test]
async fn each_version_is_told_with_its_calls_and_leads_to_what_changed() {
    let sample = two_versions().await;
    let router = sample.router_with(Access::Open, rules(NEW)).await;
    let page = get(&router, "/audit/policy?tz=UTC").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    assert_eq!(page.matches("<tr data-row").count(), 2);
    let lead = "of 3 calls they refused 0 (0\u{a0}%). The rules changed once in this log.";
    assert!(page.contains(lead), "{page}");
    assert!(
        page.contains("50\u{a0}%") && page.contains("0123456789ab"),
        "{page}"
    );
    let (old, new) = (short(OLD), short(NEW));
    let links = links(&page);
    for link in [
        format!("/audit/policy/{new}?tz=UTC"),
        format!("/audit/policy/diff/{old}..{new}?tz=UTC"),
        "/audit/calls?decision=denied&from=2026-11-18T22:20:00Z&to=2026-11-19T18:20:00Z&tz=UTC"
            .into(),
        "/audit/policy.jsonl?tz=UTC".into(),
    ] {
        assert!(links.contains(&link), "{link}: {links:?}");
        assert_eq!(get(&router, &link).await.status, StatusCode::OK, "{link}");
    }
    let csv = get(&router, "/audit/policy.csv").await.body;
    let counts: Vec<_> = csv
        .lines()
        .skip(1)
        .map(|line| line.ends_with(",3,0,true"))
        .collect();
    assert_eq!(counts, [true, false], "{csv}");
}

#[tokio::test]
async fn the_file_is_shown_with_its_lines_and_what_they_were_used_for() {
    let sample = two_versions().await;
    let router = sample.router_with(Access::Open, rules(NEW)).await;
    let page = get(&router, &format!("/audit/policy/{}", short(OLD))).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    assert!(page.contains("<span id=\"L8\">"), "{page}");
    assert!(page.contains("X-Api-Key: &#39;${KEY}&#39;"), "{page}");
    let links = links(&page);
    let grant = "/audit/calls?agent=clawd&server=outline&tool=search_documents&decision=allowed&from=2026-11-18T22:20:00Z&to=2026-11-19T18:20:00Z";
    assert!(links.contains(&grant.to_owned()), "{links:?}");
    assert!(!page.contains("taken out"));
    let page = get(&router, &format!("/audit/policy/{}", short(NEW)))
        .await
        .body;
    assert!(page.contains("# &#60;b&#62;bold&#60;/b&#62;"), "{page}");
    assert!(page.contains("now <span class=\"tag good\">in force"));
    for unknown in ["ffff", "0", "zzzz", "0123..4567"] {
        let answer = get(&router, &format!("/audit/policy/{unknown}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{unknown}");
    }
}

#[tokio::test]
async fn a_secret_that_was_taken_out_is_marked_and_a_text_that_is_not_kept_is_explained() {
    let mut sample = Sample::empty().await;
    let file = OLD.replace("${KEY}", "sk-very-secret");
    let text = RulesText::new(&file, &file.replace("sk-very-secret", "**************"));
    let known = text.revision();
    let kept = Entry::new(Kind::Policy).text("policy", &known.to_string());
    let lost = Revision::of(b"lost");
    let entries = vec![
        (
            hours(9),
            Entry::new(Kind::Policy).text("policy", &lost.to_string()),
        ),
        (hours(8), kept.with_rules(text)),
    ];
    sample.write(entries).await;
    let router = sample.router_with(Access::Open, rules(NEW)).await;
    let page = get(&router, &format!("/audit/policy/{}", known.short()))
        .await
        .body;
    assert!(
        page.contains("taken out") && !page.contains("sk-very-secret"),
        "{page}"
    );
    let page = get(&router, &format!("/audit/policy/{lost}")).await.body;
    assert!(
        page.contains("The text of this revision is not kept. Texts are kept"),
        "{page}"
    );
    let pair = format!("/audit/policy/diff/{lost}..{known}");
    let page = get(&router, &pair).await.body;
    assert!(
        page.contains("cannot be compared") && page.contains("text not kept"),
        "{page}"
    );
}

#[tokio::test]
async fn two_versions_are_compared_in_effect_and_line_by_line() {
    let sample = two_versions().await;
    let router = sample.router_with(Access::Open, rules(NEW)).await;
    let (old, new) = (short(OLD), short(NEW));
    let page = get(&router, &format!("/audit/policy/diff/{old}..{new}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    assert!(
        page.contains("1 to look at twice") && page.contains("loosened"),
        "{page}"
    );
    assert!(page.contains("look twice: a whole server"), "{page}");
    assert!(
        page.contains("+ <bdi>    servers: [outline]  # &#60;b&#62;bold"),
        "{page}"
    );
    assert!(page.contains("- <bdi>    servers:</bdi>"), "{page}");
    let back = get(&router, &format!("/audit/policy/diff/{new}..{old}"))
        .await
        .body;
    assert!(back.contains("tightened"), "{back}");
    let same = get(&router, &format!("/audit/policy/diff/{new}..{new}"))
        .await
        .body;
    assert!(same.contains("Nothing changes") && same.contains("Both texts are the same"));
    let wrong = get(&router, "/audit/policy/diff/0123").await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_log_without_rules_says_so() {
    let sample = Sample::empty().await;
    let router = sample.router(Access::Open).await;
    let page = get(&router, "/audit/policy").await.body;
    assert!(page.contains("No rules written down yet"), "{page}");
    let csv = get(&router, "/audit/policy.csv").await.body;
    assert_eq!(csv.lines().count(), 1);
}

#[tokio::test]
async fn every_link_about_rules_leads_to_a_page() {
    let sample = two_versions().await;
    let router = sample.router_with(Access::Open, rules(NEW)).await;
    let (old, new) = (short(OLD), short(NEW));
    for path in [
        "/audit/policy?range=7d&agent=clawd".to_owned(),
        format!("/audit/policy/{old}?range=7d&tz=UTC"),
        format!("/audit/policy/{new}"),
        format!("/audit/policy/diff/{old}..{new}?range=7d"),
    ] {
        assert_links_lead_on(&router, &path).await;
    }
}
