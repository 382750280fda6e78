//! The report of a month.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use futures_util::FutureExt;

use super::sample::{Made, NOW, Sample, VIEWER, before, parts};
use super::{get, get_with, log_in};
use crate::audit::{Accessed, Deed, Entry, Kind};
use crate::config;
use crate::dashboard::{Access, Month, Recording, gather};
use crate::policy::Permissions;
use crate::types::{Timestamp, Zone};

/// So long before now was 10 October 2026.
const IN_OCTOBER: Duration = Duration::from_secs(41 * 86_400);

fn october(minutes: u64) -> Duration {
    IN_OCTOBER - Duration::from_secs(minutes * 60)
}

fn made(minutes: u64) -> Made {
    Made {
        ago: october(minutes),
        ..Made::default()
    }
}

/// A log with an October and nothing after it.
async fn october_only() -> Sample {
    let mut sample = Sample::empty().await;
    let started = Entry::new(Kind::Started)
        .text("head", &"0".repeat(64))
        .number("through", 0);
    let policy = |revision: &str, commit: &str| {
        let entry = Entry::new(Kind::Policy).text("policy", &revision.repeat(32));
        entry.text("commit", commit)
    };
    let at = |minutes| before(october(minutes));
    let mut entries = vec![(at(0), started.clone()), (at(0), policy("a1", "first"))];
    for minutes in [1, 2] {
        entries.extend(sample.allowed(&made(minutes), Some((Kind::Settled, "ok"))));
    }
    entries.extend(sample.allowed(&made(3), Some((Kind::Failed, "broken"))));
    entries.extend(sample.denied(&made(4), "budget", "2 of 2 used"));
    entries.push((at(5), Entry::new(Kind::Stopped)));
    entries.push((at(95), started));
    entries.push((at(95), policy("b2", "second")));
    let tools = format!(
        r#"[{{"name":"draw","hash":"{}","was":"{}"}}]"#,
        "c".repeat(64),
        "d".repeat(64)
    );
    let mut seen = Entry::new(Kind::Tools)
        .text("protocol", "modern")
        .json("tools", tools);
    seen.server = Some("images".parse().unwrap());
    entries.push((at(96), seen));
    let login = Accessed {
        viewer: Some("governance".parse().unwrap()),
        ..Accessed::new(Deed::Login)
    };
    entries.push((at(97), login.to_entry()));
    sample.write(entries).await;
    sample
}

fn body(page: &str) -> &str {
    let (_, rest) = page.split_once("<article class=\"report\">").unwrap();
    rest.split_once("</article>").unwrap().0
}

async fn report_of(sample: &Sample, month: &str) -> String {
    let router = sample.router(Access::Open).await;
    let page = get(&router, &format!("/audit/report/{month}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    body(&page.body).to_owned()
}

#[tokio::test]
async fn a_report_tells_the_month_from_its_events() {
    let sample = october_only().await;
    let report = report_of(&sample, "2026-10").await;
    for said in [
        "Report for October 2026",
        "1 agent made 4 calls; 1 refused and 1 ended in an error. The rules changed 2 times.",
        "So far, up to event 14.",
        "1 h 30 min</td><td>stopped",
        "<bdi>second</bdi>",
        "<bdi>draw</bdi></td><td>changed",
        "<bdi>governance</bdi></td><td>logged in",
        "<bdi>outline</bdi></td><td><bdi>search_documents</bdi></td><td class=\"n\">4",
        "event 11, 2026-10-10",
        "To be signed",
    ] {
        assert!(report.contains(said), "{said}: {report}");
    }
    let empty = report_of(&sample, "2026-08").await;
    assert!(empty.contains("no event of this month"), "{empty}");
    let router = sample.router(Access::Open).await;
    let wrong = get(&router, "/audit/report/october").await;
    assert_eq!(wrong.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_month_that_is_over_makes_the_same_bytes_for_ever() {
    let mut sample = october_only().await;
    let november = Made {
        ago: Duration::from_secs(86_400),
        ..Made::default()
    };
    let entries = sample.allowed(&november, Some((Kind::Settled, "ok")));
    sample.write(entries).await;
    let first = report_of(&sample, "2026-10").await;
    assert!(!first.contains("So far"), "{first}");
    assert_eq!(report_of(&sample, "2026-10").await, first);
    // More events, sums instead of events, another rule, another login: all of it after the end of the month.
    let mut entries = sample.denied(&november, "not_granted", "no");
    entries.extend(sample.allowed(&november, Some((Kind::Settled, "tool_error"))));
    entries.push((
        NOW,
        Entry::new(Kind::Policy).text("policy", &"e".repeat(64)),
    ));
    entries.push((NOW, Accessed::new(Deed::RefusedLogin).to_entry()));
    entries.push((NOW, Entry::new(Kind::Stopped)));
    sample.write(entries).await;
    assert_eq!(report_of(&sample, "2026-10").await, first);
    sample.build().await;
    sample.clock.advance(Duration::from_secs(90 * 86_400));
    assert_eq!(report_of(&sample, "2026-10").await, first);
}

#[tokio::test]
async fn the_access_review_tells_unused_grants_ends_and_what_is_off() {
    let text = r#"
defaults: {timezone: Europe/Berlin}
servers:
  outline: {url: "http://127.0.0.1:9/mcp"}
  images: {url: "http://127.0.0.1:9/mcp", disabled: "moved"}
agents:
  clawd:
    token_hash:
      - {hash: "sha256:0e1d1c8f5e3a5b4f7b2d6c9a8e7f6d5c4b3a29180716f5e4d3c2b1a0f9e8d7c6", expires: 2026-11-15}
    servers:
      - {server: outline, tools: [search_documents]}
      - {server: outline, tools: [delete_document]}
      - {server: images, expires: 2026-11-20}
"#;
    let permissions = rules(text);
    let mut sample = october_only().await;
    let entries = sample.allowed(&Made::default(), None);
    sample.write(entries).await;
    let from_events = report_with(&sample, permissions).await;
    sample.build().await;
    let report = report_with(&sample, rules(text)).await;
    assert_eq!(report, from_events, "sums say the same");
    let unused = report.split("in 90 days</caption>").nth(1).unwrap();
    let (unused, rest) = unused.split_once("</table>").unwrap();
    assert!(
        unused.contains("delete_document") && !unused.contains("search_documents"),
        "{unused}"
    );
    let ending = rest.split_once("</table>").unwrap().0;
    assert!(
        ending.contains("ends next month") && ending.contains("<bdi>images</bdi>"),
        "{ending}"
    );
    assert!(
        report.contains("2026-11-16 00:00:00 +01:00</td><td>ends next month"),
        "{report}"
    );
    assert!(
        report.contains("<td>server</td><td><bdi>images</bdi>"),
        "{report}"
    );
}

async fn report_with(sample: &Sample, permissions: Permissions) -> String {
    let router = sample.router_with(Access::Open, permissions).await;
    let page = get(&router, "/audit/report/2026-10").await.body;
    body(&page).to_owned()
}

/// The rules of a file.
pub(super) fn rules(text: &str) -> Permissions {
    match config::review("permissions.yaml", text) {
        Ok(loaded) => loaded.permissions,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

#[tokio::test]
async fn hostile_names_stay_text_in_every_form() {
    let mut sample = Sample::empty().await;
    let made = Made {
        tool: "<script>|`x`</script>",
        ..made(1)
    };
    let entries = sample.allowed(&made, Some((Kind::Settled, "ok")));
    sample.write(entries).await;
    let report = report_of(&sample, "2026-10").await;
    assert!(
        report.contains("<bdi>&#60;script&#62;|`x`&#60;/script&#62;</bdi>"),
        "{report}"
    );
    let mut db = sample.readers().await.pool().acquire().await.unwrap();
    let month: Month = "2026-10".parse().unwrap();
    let (rules, zone) = (Permissions::new(parts()), Zone::utc());
    let told = gather(&mut db, &rules, (month, &zone)).await.unwrap();
    assert!(
        told.markdown().contains("| ``<script>\\|`x`</script>`` |"),
        "{}",
        told.markdown()
    );
    assert_eq!(told.html().unwrap().matches("<script").count(), 0);
}

#[tokio::test]
async fn the_report_leads_to_the_last_full_month_and_to_all_that_have_events() {
    let mut sample = october_only().await;
    let entries = sample.allowed(&Made::default(), None);
    sample.write(entries).await;
    let router = sample.router(Access::Open).await;
    let led = get(&router, "/audit/report?tz=UTC").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert_eq!(led.header(header::LOCATION), "/audit/report/2026-10?tz=UTC");
    let page = get(&router, "/audit/report/2026-10?tz=UTC").await.body;
    assert!(
        page.contains("href=\"/audit/report/2026-11?tz=UTC\">November 2026"),
        "{page}"
    );
    let empty = Sample::empty().await.router(Access::Open).await;
    let led = get(&empty, "/audit/report").await;
    assert_eq!(led.header(header::LOCATION), "/audit/report/2026-11");
}

#[tokio::test]
async fn whoever_opens_a_report_is_written_down_and_nobody_opens_one_unwritten() {
    let sample = october_only().await;
    let (sent, opened) = std::sync::mpsc::channel::<Accessed>();
    let recording: Recording = Arc::new(move |accessed| {
        let is_written = accessed.what != Deed::Report
            || accessed.path.as_deref() != Some("/audit/report/2026-09");
        sent.send(accessed).unwrap();
        async move { is_written }.boxed()
    });
    let router = sample.recording_router(recording).await;
    let cookie = log_in(&router, VIEWER, "").await;
    let cookie = cookie
        .header(header::SET_COOKIE)
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let page = get_with(&router, "/audit/report/2026-10", header::COOKIE, &cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    let page = get_with(&router, "/audit/report/2026-09", header::COOKIE, &cookie).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    let opened: Vec<Accessed> = opened
        .try_iter()
        .filter(|it| it.what == Deed::Report)
        .collect();
    assert_eq!(opened.len(), 2);
    assert_eq!(opened[0].viewer, Some("governance".parse().unwrap()));
    assert_eq!(opened[0].path.as_deref(), Some("/audit/report/2026-10"));
}

#[test]
fn october_is_where_the_tests_think_it_is() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let at: Timestamp = before(october(0));
    assert_eq!(at.rfc3339(&berlin), "2026-10-10T16:20:00+02:00");
}
