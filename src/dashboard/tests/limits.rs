//! What happens when more people come than the pages take at once.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::watch;

use super::get;
use super::sample::{Sample, permissions};
use crate::dashboard::{Access, call_export, call_tail, mount};

#[tokio::test]
async fn more_lists_and_watchers_than_there_are_places_for_are_told_so() {
    let sample = Sample::busy().await;
    let (_tell, news) = watch::channel(0);
    let dashboard = sample.dashboard(Access::Open, permissions()).await;
    let dashboard = dashboard.with_news(news);
    let all = |places: usize| u32::try_from(places).unwrap();
    let exports = Arc::clone(&dashboard.exports);
    let exports = exports.try_acquire_many_owned(all(call_export::EXPORTS));
    let watchers = Arc::clone(&dashboard.watchers);
    let watchers = watchers.try_acquire_many_owned(all(call_tail::WATCHERS));
    let router = mount(dashboard.clone());
    let refused = get(&router, "/audit/calls.csv").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        refused.body.contains("Too many at once"),
        "{}",
        refused.body
    );
    // A script is told by an event; what a browser says of other answers it never hears.
    let full = get(&router, "/audit/calls/tail").await;
    assert_eq!(full.body, "event: full\ndata: 32\n\n");
    drop((exports, watchers));
    let taken = get(&router, "/audit/calls.csv").await;
    assert_eq!(taken.status, StatusCode::OK);
    assert_eq!(dashboard.exports.available_permits(), call_export::EXPORTS);
}

#[tokio::test]
async fn a_page_that_comes_to_no_turn_says_so_and_holds_none_back() {
    let sample = Sample::busy().await;
    let dashboard = sample.dashboard(Access::Open, permissions()).await;
    let turns = dashboard.turns.available_permits();
    let router = mount(dashboard.clone());
    for path in ["/audit", "/audit/calls", "/audit/agents"] {
        assert_eq!(get(&router, path).await.status, StatusCode::OK);
    }
    assert_eq!(dashboard.turns.available_permits(), turns);
    dashboard.turns.close();
    let busy = get(&router, "/audit/calls").await;
    assert_eq!(busy.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        busy.body.contains("Many people are reading"),
        "{}",
        busy.body
    );
}
