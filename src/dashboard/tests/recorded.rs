//! Who comes and goes is written down.

use std::sync::{Arc, Mutex};

use axum::Extension;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::FutureExt;

use super::sample::{AGENT, Sample, VIEWER};
use super::{get_with, log_in, send};
use crate::audit::{Accessed, Deed};
use crate::dashboard::Recording;
use crate::types::Peer;

/// What was written down, and a pen that writes or does not.
fn pen(writes: bool) -> (Arc<Mutex<Vec<Accessed>>>, Recording) {
    let written = Arc::<Mutex<Vec<Accessed>>>::default();
    let paper = Arc::clone(&written);
    let recording: Recording = Arc::new(move |accessed| {
        paper.lock().unwrap().push(accessed);
        async move { writes }.boxed()
    });
    (written, recording)
}

async fn log_out(router: &axum::Router, cookie: &str) -> super::Answer {
    let request = Request::post("/audit/logout").header(header::COOKIE, cookie);
    send(router, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn logins_refused_logins_and_logouts_are_written_down_with_where_they_came_from() {
    let (written, recording) = pen(true);
    let router = Sample::empty().await.recording_router(recording).await;
    let peer = Peer("10.0.0.7".parse().unwrap());
    let router = router.layer(Extension(peer));
    for wrong in [AGENT, "hwd_nobody"] {
        let refused = log_in(&router, wrong, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    let answer = log_in(&router, VIEWER, "").await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookie = answer.header(header::SET_COOKIE).to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let page = get_with(&router, "/audit", header::COOKIE, cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(log_out(&router, cookie).await.status, StatusCode::SEE_OTHER);
    let written = written.lock().unwrap();
    let viewer = Some("governance".parse().unwrap());
    let did = |what, viewer| Accessed {
        viewer,
        address: Some(peer.0),
        ..Accessed::new(what)
    };
    let expected = [
        did(Deed::RefusedLogin, None),
        did(Deed::RefusedLogin, None),
        did(Deed::Login, viewer.clone()),
        did(Deed::Logout, viewer),
    ];
    assert_eq!(*written, expected);
}

#[tokio::test]
async fn a_login_that_cannot_be_written_down_is_refused_and_everything_else_goes_on() {
    let (_, recording) = pen(true);
    let sample = Sample::empty().await;
    let router = sample.recording_router(recording).await;
    let cookie = log_in(&router, VIEWER, "").await;
    let cookie = cookie.header(header::SET_COOKIE).to_owned();
    let cookie = cookie.split(';').next().unwrap();
    let (written, recording) = pen(false);
    let router = sample.recording_router(recording).await;
    let refused = log_in(&router, VIEWER, "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header(header::SET_COOKIE), "");
    assert!(refused.body.contains("cannot be written down"));
    let wrong = log_in(&router, "hwd_nobody", "").await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    let left = log_out(&router, cookie).await;
    assert!(left.header(header::SET_COOKIE).contains("Max-Age=0"));
    assert_eq!(written.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn whoever_is_not_logged_in_or_guesses_on_and_on_fills_no_log() {
    let (written, recording) = pen(true);
    let router = Sample::empty().await.recording_router(recording).await;
    for _ in 0..30 {
        log_out(&router, "hayward-viewer=made.up").await;
        log_in(&router, "hwd_nobody", "").await;
    }
    let written = written.lock().unwrap();
    assert_eq!(written.len(), 20);
    assert!(written.iter().all(|did| did.what == Deed::RefusedLogin));
}
