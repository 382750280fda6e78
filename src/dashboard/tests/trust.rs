//! Whether the log can be trusted, and who looked at it.

use std::time::Duration;

use axum::http::StatusCode;

use super::budgets::assert_links_lead_on;
use super::sample::{Made, Sample};
use super::{before, get, links};
use crate::audit::{Accessed, Deed, Entry, Kind, TakenAs};
use crate::dashboard::Access;
use crate::types::Timestamp;

fn hours(hours: u64) -> Timestamp {
    before(Duration::from_secs(hours * 3_600))
}

fn signed(kind: Kind, why: &str) -> Entry {
    Entry::new(kind).text("by", "ops").text("why", why)
}

#[tokio::test]
async fn the_page_tells_what_happened_to_the_log() {
    let mut sample = Sample::empty().await;
    let wall = hours(1).micros().to_string();
    let pruned = signed(Kind::Pruned, "a year")
        .json("first", "1".into())
        .json("last", "1200".into())
        .text("until", "2026-01-01T00:00:00Z");
    let entries = vec![
        (hours(50), Entry::new(Kind::Started)),
        (hours(40), Entry::new(Kind::Stopped)),
        (hours(30), Entry::new(Kind::Started)),
        (
            hours(29),
            Entry::new(Kind::Clock)
                .text("clock", "suspect")
                .json("wall_us", wall),
        ),
        (hours(28), Entry::new(Kind::Started)),
        (
            hours(28),
            Entry::new(Kind::Accepted).text("mismatch", "event 7 is <b>torn</b>"),
        ),
        (
            hours(20),
            signed(Kind::Repaired, "after a crash").json("counts", "[{},{}]".into()),
        ),
        (hours(19), pruned),
        (
            hours(18),
            signed(Kind::Redacted, "a name in it").text("redacts", "0192"),
        ),
        (
            hours(2),
            Entry::new(Kind::Exported)
                .json("exported", "8".into())
                .text("file", "checkpoints.jsonl"),
        ),
    ];
    sample.write(entries).await;
    let router = sample.router(Access::Open).await;
    let page = get(&router, "/audit/integrity").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    for told in [
        "10 events are chained, each to the one before.",
        "up to event 8",
        "stopped in good order",
        "ended without a word",
        "10 h",
        "the clock jumped and is not followed",
        "it showed Fri 20 Nov 14:20:00 +01:00",
        "event 7 is &#60;b&#62;torn&#60;/b&#62;",
        "2 counts",
        "after a crash",
        "events 1 to 1\u{202f}200",
        "arguments or results were deleted",
        "--log-id 07070707070707070707070707070707 --checkpoints FILE",
    ] {
        let told = told.replace("Fri 20 Nov ", "");
        assert!(page.contains(&told), "no {told}: {page}");
    }
    assert_eq!(page.matches("data-copy=").count(), 3);
}

#[tokio::test]
async fn an_empty_log_claims_nothing() {
    let router = Sample::empty().await.router(Access::Open).await;
    let page = get(&router, "/audit/integrity").await.body;
    assert!(page.contains("This log is empty."), "{page}");
    assert!(page.contains("Nothing was ever deleted"));
    assert!(page.contains("The clock never jumped"));
    let router = Sample::empty().await.router(Access::Viewers).await;
    let page = get(&router, "/audit/integrity").await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "nobody looks unknown");
}

/// Ten uses of the dashboard, and calls between them.
async fn used() -> Sample {
    let mut sample = Sample::empty().await;
    let viewer = Some("governance".parse().unwrap());
    let made = sample.allowed(&Made::default(), None);
    let call = made[0].1.call;
    let did = |what| Accessed {
        viewer: viewer.clone(),
        address: Some("10.0.0.7".parse().unwrap()),
        ..Accessed::new(what)
    };
    let mut entries = vec![
        (hours(60 * 24), did(Deed::Login).to_entry()),
        (hours(9), Accessed::new(Deed::RefusedLogin).to_entry()),
        (hours(8), did(Deed::Login).to_entry()),
        (
            hours(7),
            Accessed {
                of: call,
                ..did(Deed::Body)
            }
            .to_entry(),
        ),
        (
            hours(6),
            Accessed {
                path: Some("/audit/calls.csv?agent=<i>&range=7d".into()),
                form: Some(TakenAs::Csv),
                ..did(Deed::Export)
            }
            .to_entry(),
        ),
        (hours(5), did(Deed::Logout).to_entry()),
    ];
    entries.extend(made);
    sample.write(entries).await;
    sample
}

#[tokio::test]
async fn uses_of_the_dashboard_are_listed_with_what_was_taken_away() {
    let router = used().await.router(Access::Open).await;
    let page = get(&router, "/audit/access?tz=UTC").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let page = page.body;
    let summary = "In the last 30 days 1 viewer looked: 1 login, 1 refused, 1 body opened, 1 list taken away.";
    assert!(page.contains(summary), "{page}");
    assert_eq!(page.matches("<td class=\"time\">").count(), 6);
    for told in [
        "login refused",
        "<bdi>/audit/calls.csv?agent=&#60;i&#62;&#38;range=7d</bdi>",
        "10.0.0.7",
        "nobody known",
        "open to everybody",
        "That is all.",
    ] {
        assert!(page.contains(told), "no {told}: {page}");
    }
    let links = links(&page);
    assert!(
        links
            .iter()
            .any(|link| link.starts_with("/audit/calls?call="))
    );
    let taken = links
        .iter()
        .any(|link| link.starts_with("/audit/calls.csv?agent"));
    assert!(!taken, "what is in the log leads nowhere");
    // The viewer of the rules, with two logins.
    assert!(page.contains("<td>who called what</td>"), "{page}");
    assert!(page.contains("<td class=\"n\">2</td>"), "{page}");
    let csv = get(&router, "/audit/access.csv?tz=UTC").await.body;
    assert_eq!(csv.lines().count(), 7, "{csv}");
    let last = get(&router, "/audit/access?before=3").await.body;
    assert_eq!(last.matches("<td class=\"time\">").count(), 2);
    assert!(last.contains("Newest</a>"));
}

#[tokio::test]
async fn a_dashboard_that_nobody_used_says_what_would_be_here() {
    let router = Sample::empty().await.router(Access::Open).await;
    let page = get(&router, "/audit/access").await.body;
    assert!(page.contains("Nobody logged in during the last 30 days."));
    assert!(page.contains("Nothing was written down."), "{page}");
}

#[tokio::test]
async fn every_link_about_the_log_and_its_readers_leads_to_a_page() {
    let router = used().await.router(Access::Open).await;
    for path in [
        "/audit/integrity?range=7d",
        "/audit/access?agent=clawd&before=5",
    ] {
        assert_links_lead_on(&router, path).await;
    }
}
