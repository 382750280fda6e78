//! The door: a viewer's token is pasted once, a signed cookie keeps it open for twelve hours. Whoever comes through a
//! trusted reverse proxy needs neither: its header says who it is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use serde::Deserialize;

use crate::audit::{Accessed, Deed};
use crate::policy::Permissions;
use crate::types::{Peer, Timestamp, TokenHash, ViewerName};

use super::failure::{Failure, Message, html};
use super::filter::encode;
use super::frame::{Came, Guest};
use super::headers::STYLE_NAME;
use super::scope;
use super::session::{LASTS, Session};
use super::visit::only;
use super::{Access, BASE, Dashboard};

/// The cookie where the browser speaks https; the prefix makes it refuse a cookie set from elsewhere.
const SECURE_COOKIE: &str = "__Host-hayward-viewer";
/// The cookie on plain http, where browsers refuse secure ones.
const PLAIN_COOKIE: &str = "hayward-viewer";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Wrong tokens in a minute, from everybody together.
const MAX_FAILURES: u32 = 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts wrong tokens.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    began: Duration,
    failures: u32,
}

impl Attempts {
    /// How long to wait, when there were too many.
    fn wait(&self, now: Duration) -> Option<Duration> {
        let minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = (minute.began + MINUTE).checked_sub(now)?;
        (minute.failures >= MAX_FAILURES && !left.is_zero()).then_some(left)
    }

    fn note_failure(&self, now: Duration) {
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(minute.began) >= MINUTE {
            *minute = Minute {
                began: now,
                failures: 0,
            };
        }
        minute.failures = minute.failures.saturating_add(1);
    }
}

/// Lets viewers pass and shows everybody else the door.
pub(super) async fn guard(
    State(dashboard): State<Dashboard>,
    mut request: Request,
    next: Next,
) -> Response {
    let permissions = dashboard.permissions();
    let guest = match dashboard.access {
        Access::Open => Guest::Anybody,
        Access::Viewers if permissions.viewers().is_empty() => return no_viewers(),
        Access::Viewers => {
            let (headers, extensions) = (request.headers(), request.extensions());
            match viewer(&dashboard, &permissions, headers, extensions) {
                Some((name, came)) => Guest::Viewer(name, came),
                None => return to_login(&request),
            }
        }
    };
    if let Some(only) = only(&guest, &permissions) {
        let path = request.uri().path();
        if path == "/" {
            return Redirect::to(&format!("{BASE}/calls")).into_response();
        }
        if !scope::may_open(path, &only) {
            return Failure::NotTheirs.into_response();
        }
    }
    request.extensions_mut().insert(guest);
    next.run(request).await
}

#[derive(Debug, Template)]
#[template(path = "viewers.html", whitespace = "minimize")]
struct NoViewers {
    style: &'static str,
}

fn no_viewers() -> Response {
    let page = html(&NoViewers { style: &STYLE_NAME });
    (StatusCode::FORBIDDEN, page).into_response()
}

fn to_login(request: &Request) -> Response {
    // Axum takes the base off the address of a nested route.
    let asked = request.uri().path_and_query();
    let asked = asked.map_or("", |asked| asked.as_str());
    let asked = format!("{BASE}{}", asked.strip_suffix('/').unwrap_or(asked));
    let login = format!("{BASE}/login?next={}", encode(&asked));
    let site = request.headers().get(SEC_FETCH_SITE);
    if site.is_some_and(|site| site == "cross-site") {
        // A strict cookie is not sent along a link from another site, but it is from a page of our own.
        return html(&Bounce { login });
    }
    Redirect::to(&login).into_response()
}

#[derive(Debug, Template)]
#[template(path = "bounce.html", whitespace = "minimize")]
struct Bounce {
    login: String,
}

/// Who comes, and how. A login goes before what a proxy says: it was made on purpose.
fn viewer(
    dashboard: &Dashboard,
    permissions: &Permissions,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Option<(ViewerName, Came)> {
    let now = dashboard.clock.now();
    if let Some(session) = session(dashboard, permissions, headers, now) {
        return Some((session.viewer, Came::ByToken));
    }
    // Without a peer nobody can say who sent the header.
    let peer = extensions.get::<Peer>()?;
    if !peer.is_within(&dashboard.trusted_proxies) {
        return None;
    }
    introduced(permissions, headers).map(|name| (name.clone(), Came::ByHeader))
}

/// The viewer whose header this is; of several the first by name.
fn introduced<'p>(permissions: &'p Permissions, headers: &HeaderMap) -> Option<&'p ViewerName> {
    let mut viewers = permissions.viewers().values();
    let found = viewers.find(|viewer| {
        viewer.header.as_ref().is_some_and(|header| {
            let lines = headers.get_all(header.name.as_str());
            header.is_said_by(lines.iter().map(HeaderValue::as_bytes))
        })
    });
    found.map(|viewer| &viewer.name)
}

fn session(
    dashboard: &Dashboard,
    permissions: &Permissions,
    headers: &HeaderMap,
    now: Timestamp,
) -> Option<Session> {
    cookies(headers)
        .filter_map(|value| dashboard.signer.unseal(value, now))
        .find(|session| session.is_good(permissions, now))
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| [SECURE_COOKIE, PLAIN_COOKIE].contains(name))
        .map(|(_, value)| value)
}

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    next: String,
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

#[derive(Debug, Template)]
#[template(path = "login.html", whitespace = "minimize")]
struct LoginPage<'a> {
    style: &'static str,
    next: &'a str,
    problem: &'static str,
}

fn show(next: &str, problem: &'static str) -> Response {
    html(&LoginPage {
        style: &STYLE_NAME,
        next: ours(next),
        problem,
    })
}

/// An address of this dashboard; anything else becomes the overview, so that a login leads nowhere else.
pub(super) fn ours(next: &str) -> &str {
    let rest = next.strip_prefix(BASE);
    let within = rest.is_some_and(|rest| rest.starts_with(['/', '?']));
    let plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let login = rest.is_some_and(|rest| rest.starts_with("/log"));
    if within && plain && !login {
        next
    } else {
        BASE
    }
}

/// `GET /login`.
pub(super) async fn page(
    State(dashboard): State<Dashboard>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let next = asked.map(|Query(asked)| asked.next).unwrap_or_default();
    let permissions = dashboard.permissions();
    match dashboard.access {
        Access::Open => Redirect::to(ours(&next)).into_response(),
        Access::Viewers if permissions.viewers().is_empty() => no_viewers(),
        Access::Viewers if viewer(&dashboard, &permissions, &headers, &extensions).is_some() => {
            Redirect::to(ours(&next)).into_response()
        }
        Access::Viewers => show(&next, ""),
    }
}

/// `POST /login`.
pub(super) async fn log_in(
    State(dashboard): State<Dashboard>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    typed: Result<Form<Typed>, FormRejection>,
) -> Response {
    let did = |what, viewer: Option<&ViewerName>| did(what, viewer, peer.as_ref());
    if is_from_elsewhere(&headers) {
        return from_elsewhere();
    }
    let running = dashboard.clock.monotonic();
    if let Some(wait) = dashboard.attempts.wait(running) {
        return too_many(wait);
    }
    let Ok(Form(Typed { token, next })) = typed else {
        dashboard.attempts.note_failure(running);
        // The answer is no, whatever becomes of the record.
        dashboard.record(did(Deed::RefusedLogin, None)).await;
        return refused("", UNKNOWN);
    };
    let hash = TokenHash::of(token.trim());
    let permissions = dashboard.permissions();
    let now = dashboard.clock.now();
    if let Some(viewer) = permissions.viewer_by_token(&hash, now) {
        let session = dashboard.signer.seal(&Session::begin(viewer, &hash, now));
        // Nobody reads the log unrecorded.
        if !dashboard.record(did(Deed::Login, Some(&viewer.name))).await {
            return unrecorded();
        }
        tracing::info!(viewer = %viewer.name, "a viewer logged in");
        return with_cookie(Redirect::to(ours(&next)), &headers, &session);
    }
    dashboard.attempts.note_failure(running);
    let problem = if permissions.agent_by_token(&hash, now).is_some() {
        AGENT
    } else {
        UNKNOWN
    };
    tracing::warn!("a token that belongs to no viewer was refused at the dashboard");
    dashboard.record(did(Deed::RefusedLogin, None)).await;
    refused(&next, problem)
}

const UNKNOWN: &str = "No viewer has this token. Check that it was copied whole, or ask whoever keeps \
    permissions.yaml whether it has ended.";
const AGENT: &str = "This token belongs to an agent. Agents use tools; they do not read the log. Ask for a \
    viewer's token instead, and give the agent a new one if this was not the place to paste it.";

/// Who did what, from where.
fn did(what: Deed, viewer: Option<&ViewerName>, peer: Option<&Extension<Peer>>) -> Accessed {
    Accessed {
        viewer: viewer.cloned(),
        address: peer.map(|Extension(Peer(address))| *address),
        ..Accessed::new(what)
    }
}

fn unrecorded() -> Response {
    Message::new(
        "This login cannot be written down",
        "The log cannot be written now, and nobody reads it without a line in it that says so. The gateway's own log \
         says why it cannot. Try again in a moment.",
    )
    .then("/audit/login", "Try again")
    .answer(StatusCode::SERVICE_UNAVAILABLE)
}

fn refused(next: &str, problem: &'static str) -> Response {
    (StatusCode::FORBIDDEN, show(next, problem)).into_response()
}

fn too_many(wait: Duration) -> Response {
    let message = Message::new(
        "Too many wrong tokens",
        "There were twenty wrong tokens within a minute. Wait a minute, then try again.",
    )
    .then("/audit/login", "Try again")
    .answer(StatusCode::TOO_MANY_REQUESTS);
    let seconds = wait.as_secs().saturating_add(1);
    ([(header::RETRY_AFTER, seconds.to_string())], message).into_response()
}

/// `POST /logout`.
pub(super) async fn log_out(
    State(dashboard): State<Dashboard>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    if is_from_elsewhere(&headers) {
        return from_elsewhere();
    }
    let (permissions, now) = (dashboard.permissions(), dashboard.clock.now());
    // Whoever is not logged in writes nothing into the log.
    if let Some(session) = session(&dashboard, &permissions, &headers, now) {
        let left = did(Deed::Logout, Some(&session.viewer), peer.as_ref());
        // The cookie goes, whatever becomes of the record.
        dashboard.record(left).await;
    }
    with_cookie(Redirect::to("/audit/login"), &headers, "")
}

fn with_cookie(redirect: Redirect, headers: &HeaderMap, value: &str) -> Response {
    let lasts = if value.is_empty() { 0 } else { LASTS.as_secs() };
    let cookie = if speaks_https(headers) {
        format!(
            "{SECURE_COOKIE}={value}; Max-Age={lasts}; Path=/; Secure; HttpOnly; SameSite=Strict"
        )
    } else {
        format!("{PLAIN_COOKIE}={value}; Max-Age={lasts}; Path={BASE}; HttpOnly; SameSite=Strict")
    };
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The browser itself says in `Origin` whether it speaks https, also behind a proxy that does not.
fn speaks_https(headers: &HeaderMap) -> bool {
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| origin.starts_with("https://"))
}

/// Whether another site sent this form. Browsers say so; what says nothing is no browser.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site != "same-origin" && site != "none";
    }
    let text = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let Some(origin) = text(header::ORIGIN) else {
        return false;
    };
    let host = origin
        .strip_prefix(b"https://")
        .or_else(|| origin.strip_prefix(b"http://"));
    host.is_none() || host != text(header::HOST)
}

fn from_elsewhere() -> Response {
    Message::new(
        "This form came from another site",
        "Nothing was done. Open the login page of the gateway itself and try there.",
    )
    .then("/audit/login", "To the login page")
    .answer(StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_only_to_pages_of_the_dashboard() {
        for good in ["/audit", "/audit/calls?agent=clawd", "/audit?x=1"] {
            assert_eq!(ours(good), good);
        }
        let bad = [
            "//evil.example",
            "https://evil.example",
            "/auditor",
            "/audit/\\evil",
            "",
            "/audit/logout",
        ];
        for bad in bad {
            assert_eq!(ours(bad), BASE, "{bad}");
        }
    }

    #[test]
    fn a_form_from_another_site_is_noticed() {
        let elsewhere = |pairs: &[(HeaderName, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()));
            is_from_elsewhere(&pairs.collect())
        };
        let host = (header::HOST, "gate:3100");
        assert!(!elsewhere(&[]));
        assert!(!elsewhere(&[
            (SEC_FETCH_SITE, "same-origin"),
            (header::ORIGIN, "https://outer")
        ]));
        assert!(elsewhere(&[(SEC_FETCH_SITE, "cross-site")]));
        assert!(elsewhere(&[(SEC_FETCH_SITE, "same-site")]));
        assert!(!elsewhere(&[
            host.clone(),
            (header::ORIGIN, "http://gate:3100")
        ]));
        assert!(elsewhere(&[
            host.clone(),
            (header::ORIGIN, "http://evil:3100")
        ]));
        assert!(elsewhere(&[host, (header::ORIGIN, "null")]));
    }

    #[test]
    fn wrong_tokens_are_counted_by_the_minute() {
        let attempts = Attempts::default();
        let at = Duration::from_secs;
        for _ in 0..MAX_FAILURES {
            assert_eq!(attempts.wait(at(10)), None);
            attempts.note_failure(at(10));
        }
        assert_eq!(attempts.wait(at(11)), Some(at(49)));
        assert_eq!(attempts.wait(at(60)), None);
    }
}
