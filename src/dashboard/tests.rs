//! The pages through their real router, over a real file.

mod budgets;
mod connect;
mod denials;
mod help;
mod limits;
mod policies;
mod recorded;
mod report;
mod sample;
mod trust;
mod who;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::audit::{Entry, Kind};
use crate::policy::{Parts, Permissions, ProxyHeader, Viewer};
use crate::types::{Network, Peer, Timestamp, ViewerName};

use super::twins::Form;
use super::{Access, headers};
use sample::{AGENT, Made, Sample, VIEWER, before, parts};

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn get_with(router: &Router, path: &str, name: header::HeaderName, value: &str) -> Answer {
    let request = Request::get(path).header(name, value);
    send(router, request.body(Body::empty()).unwrap()).await
}

async fn log_in(router: &Router, token: &str, next: &str) -> Answer {
    let request = Request::post("/audit/login")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("token={token}&next={next}")));
    send(router, request.unwrap()).await
}

fn rows(page: &str) -> usize {
    page.matches("<td class=\"time\">").count()
}

fn links(page: &str) -> Vec<String> {
    let parts = page.split("href=\"").skip(1);
    let links = parts.filter_map(|part| part.split_once('"'));
    links.map(|(link, _)| link.replace("&#38;", "&")).collect()
}

#[tokio::test]
async fn every_link_of_a_page_leads_to_a_page() {
    let router = Sample::busy().await.router(Access::Open).await;
    let mut followed = BTreeSet::from(["#main".to_owned()]);
    for page in ["/audit", "/audit/calls?agent=clawd&range=3h&-tool=imagine"] {
        let answer = get(&router, page).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}: {}", answer.body);
        for link in links(&answer.body) {
            let is_choice = link.starts_with("/audit/look?");
            if is_choice || !followed.insert(link.clone()) {
                continue;
            }
            let path = match link.as_str() {
                query if query.starts_with('?') => format!("/audit/calls{query}"),
                "calls" => "/audit/calls".into(),
                call if is_call(call) => format!("/audit/{call}"),
                absolute => absolute.into(),
            };
            let mut next = get(&router, &path).await;
            // The way to the report goes on to the last full month.
            if next.status == StatusCode::SEE_OTHER {
                next = get(&router, next.header(header::LOCATION)).await;
            }
            assert_eq!(next.status, StatusCode::OK, "{page} leads to {path}");
            assert!(
                !next.body.contains("Ignored filter"),
                "{page} leads to {path}"
            );
        }
    }
}

#[tokio::test]
async fn links_keep_the_filters_in_force() {
    let router = Sample::busy().await.router(Access::Open).await;
    let page = get(&router, "/audit/calls?-agent=ci&range=48h").await.body;
    let links = links(&page);
    assert!(
        links.contains(&"?agent=clawd&-agent=ci&range=48h".into()),
        "{links:?}"
    );
    assert!(
        links.contains(&"?-agent=ci&decision=ok&range=48h".into()),
        "{links:?}"
    );
    let older = links.iter().find(|link| link.contains("before=")).unwrap();
    assert!(older.starts_with("?-agent=ci&range=48h&before="), "{older}");
    assert!(page.contains("<input type=\"hidden\" name=\"-agent\" value=\"ci\">"));
    assert!(page.contains("<input type=\"hidden\" name=\"range\" value=\"48h\">"));
}

#[tokio::test]
async fn paging_shows_every_call_once_in_both_directions() {
    let mut sample = Sample::busy().await;
    let everyone = "/audit/calls?agent=ci&agent=clawd&agent=designer";
    for path in ["/audit/calls", everyone] {
        assert_pages(&sample, path.to_owned()).await;
    }
    sample.build().await;
    for path in [everyone, "/audit/calls?-agent=nobody&-decision=open"] {
        assert_pages(&sample, path.to_owned()).await;
    }
}

/// Whether a link of the list leads to one call.
fn is_call(link: &str) -> bool {
    link.starts_with("calls/")
}

async fn assert_pages(sample: &Sample, mut path: String) {
    let router = sample.router(Access::Open).await;
    let mut ids = Vec::new();
    let mut last = String::new();
    for _ in 0..20 {
        let page = get(&router, &path).await.body;
        ids.extend(links(&page).into_iter().filter(|link| is_call(link)));
        last.clone_from(&path);
        match links(&page).iter().find(|link| link.contains("before=")) {
            Some(older) => path = format!("/audit/calls{older}"),
            None => break,
        }
    }
    assert!(ids.len() > 200, "{}", ids.len());
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), ids.len());
    let mut back = 0;
    loop {
        let page = get(&router, &last).await.body;
        back += links(&page).iter().filter(|link| is_call(link)).count();
        match links(&page).iter().find(|link| link.contains("after=")) {
            Some(newer) => last = format!("/audit/calls{newer}"),
            None => break,
        }
    }
    assert!(back >= ids.len(), "{back} of {}", ids.len());
}

#[tokio::test]
async fn filters_find_what_they_say() {
    let mut sample = Sample::empty().await;
    let entries = six_calls(&mut sample);
    sample.write(entries).await;
    assert_found(&sample, "no lookups").await;
}

fn six_calls(sample: &mut Sample) -> Vec<(Timestamp, Entry)> {
    let made = |agent, tool| Made {
        agent,
        tool,
        ..Made::default()
    };
    let mut entries = Vec::new();
    entries.extend(sample.allowed(&made("clawd", "imagine"), Some((Kind::Settled, "ok"))));
    entries.extend(sample.allowed(&made("clawd", "blend"), Some((Kind::Settled, "tool_error"))));
    entries.extend(sample.allowed(&made("ci", "imagine"), Some((Kind::Failed, "timed_out"))));
    entries.extend(sample.allowed(&made("ci", "blend"), None));
    entries.extend(sample.denied(&made("ci", "never_seen"), "not_granted", "no"));
    entries.extend(sample.denied(&made("ci", "imagine"), "budget", "no"));
    entries
}

/// What filters find among the calls of [`six_calls`].
async fn assert_found(sample: &Sample, how: &str) {
    let router = sample.router(Access::Open).await;
    let table = [
        ("", 6),
        ("agent=ci", 4),
        ("agent=ci&agent=clawd", 6),
        ("-agent=ci", 2),
        ("tool=imagine", 3),
        ("tool=imagine&agent=ci", 2),
        // A tool that was only ever refused has no number in the log.
        ("tool=never_seen", 1),
        ("-tool=never_seen", 5),
        ("-tool=nothing_like_it", 6),
        ("decision=denied", 2),
        ("decision=allowed", 4),
        ("decision=ok", 1),
        ("decision=error&decision=failed", 2),
        ("decision=open", 1),
        ("-decision=denied&-decision=ok", 3),
        ("decision=ok&-decision=ok", 0),
        ("reason=budget", 1),
        ("-reason=budget", 5),
        ("reason=budget&decision=allowed", 0),
        ("range=1h", 6),
        ("range=1m", 6),
        ("to=2026-11-20", 0),
        ("from=2026-11-20&to=2026-11-21", 6),
        ("server=outline", 6),
        ("-server=outline", 0),
    ];
    for (query, expected) in table {
        let page = get(&router, &format!("/audit/calls?{query}")).await;
        assert_eq!(rows(&page.body), expected, "{query}, {how}");
    }
}

#[tokio::test]
async fn filters_find_the_same_however_far_the_lookups_have_come() {
    // A call closes after the lookups covered its beginning, or before, or is open still.
    for covered in 0..=10 {
        let mut sample = Sample::empty().await;
        let mut entries = six_calls(&mut sample);
        let rest = entries.split_off(covered.min(entries.len()));
        sample.write(entries).await;
        sample.build().await;
        sample.write(rest).await;
        sample.list_open().await;
        assert_found(&sample, &format!("lookups of {covered}")).await;
    }
}

#[tokio::test]
async fn a_long_search_stops_says_where_and_goes_on() {
    let mut sample = Sample::empty().await;
    let old = Made {
        ago: Duration::from_secs(40_000),
        ..Made::default()
    };
    let mut entries = sample.allowed(&old, Some((Kind::Settled, "ok")));
    entries.extend(sample.denied(&old, "budget", "no"));
    sample.write(entries).await;
    sample.bury(crate::audit::read::SCAN).await;
    let router = sample.router(Access::Open).await;
    let page = get(&router, "/audit/calls?agent=clawd").await.body;
    assert_eq!(rows(&page), 0);
    assert!(page.contains("Nothing found so far") && page.contains("Searched as far as"));
    let links = links(&page);
    let rest = links.iter().find(|link| link.contains("before=")).unwrap();
    let page = get(&router, &format!("/audit/calls{rest}")).await.body;
    assert_eq!(rows(&page), 2);
    // An index leads to refusals, however far back they are.
    let page = get(&router, "/audit/calls?decision=denied").await.body;
    assert_eq!(rows(&page), 1);
    assert!(!page.contains("Searched as far as"));
}

#[tokio::test]
async fn a_call_is_found_by_its_id() {
    let router = Sample::busy().await.router(Access::Open).await;
    let page = get(&router, "/audit/calls").await.body;
    let link = links(&page).into_iter().find(|link| is_call(link)).unwrap();
    let id = link.trim_start_matches("calls/");
    let page = get(&router, &format!("/audit/calls?call={id}")).await.body;
    assert_eq!(rows(&page), 1);
    let page = get(&router, &format!("/audit/{link}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains(id), "{}", page.body);
    let other = "/audit/calls?call=019aa0f0-0000-7000-8000-000000000000";
    assert!(get(&router, other).await.body.contains("No such call"));
}

#[tokio::test]
async fn empty_pages_say_why() {
    let empty = Sample::empty().await.router(Access::Open).await;
    assert!(get(&empty, "/audit").await.body.contains("No calls yet"));
    assert!(
        get(&empty, "/audit/calls")
            .await
            .body
            .contains("No calls yet")
    );
    let mut fresh = Sample::empty().await;
    fresh
        .write(vec![(
            before(Duration::from_secs(9)),
            Entry::new(Kind::Started),
        )])
        .await;
    let fresh = fresh.router(Access::Open).await;
    assert!(get(&fresh, "/audit").await.body.contains("No calls yet"));
    assert!(
        get(&fresh, "/audit/calls")
            .await
            .body
            .contains("No calls yet")
    );
    let busy = Sample::busy().await.router(Access::Open).await;
    let page = get(&busy, "/audit/calls?tool=imagin&range=24h").await.body;
    assert!(page.contains("Nothing matches"));
    assert!(
        links(&page).contains(&"?tool=imagine&range=24h".into()),
        "suggested"
    );
    let page = get(&busy, "/audit/calls?decision=denied&range=1m")
        .await
        .body;
    assert!(page.contains("No refusals in this period"));
}

#[tokio::test]
async fn unknown_filters_are_shown_and_blank_ones_tidied_away() {
    let router = Sample::busy().await.router(Access::Open).await;
    let page = get(&router, "/audit/calls?colour=%3Cred%3E&agent=clawd")
        .await
        .body;
    assert!(
        page.contains(
            "Ignored filter <code><bdi>colour=&#60;red&#62;</bdi></code>: no such filter."
        )
    );
    let tidied = get(&router, "/audit/calls?agent=clawd&server=&tool=&from=").await;
    assert_eq!(tidied.status, StatusCode::SEE_OTHER);
    assert_eq!(tidied.header(header::LOCATION), "/audit/calls?agent=clawd");
}

#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    let mut sample = Sample::empty().await;
    let made = Made {
        tool: "<script>alert(1)</script>",
        client: "\u{202e}evil\u{0}\" onload=\"x",
        ..Made::default()
    };
    let mut entries = sample.allowed(&made, Some((Kind::Settled, "<img src=x>")));
    entries.extend(sample.denied(
        &made,
        "not_granted",
        "<b>bold</b>\n\u{200b}javascript:alert(1)",
    ));
    sample.write(entries).await;
    let key = "agents.clawd/outline[<i>] calls/day@UTC each tool=<script>x</script>";
    sample.budget(key, [2, 1, 0], [1, 1]).await;
    let router = sample.router(Access::Open).await;
    for path in [
        "/audit",
        "/audit/calls",
        "/audit/calls?tool=%3Cscript%3E&-agent=%22%3E%3Cscript%3E",
    ] {
        let page = get(&router, path).await.body;
        for bad in [
            "<script>",
            "<img",
            "<b>bold",
            "<i>]",
            "\u{202e}",
            "\u{0}",
            "\u{200b}",
            " onload=\"x",
        ] {
            assert!(!page.contains(bad), "{path} holds {bad:?}");
        }
    }
    let page = get(&router, "/audit/calls").await.body;
    assert!(page.contains("<bdi>&#60;script&#62;alert(1)&#60;/script&#62;</bdi>"));
    assert!(page.contains("⟨U+202E⟩evil␀"));
    assert!(page.contains("␊⟨U+200B⟩javascript"));
}

#[tokio::test]
async fn no_page_carries_inline_style_or_script() {
    let router = Sample::busy().await.router(Access::Open).await;
    let closed = Sample::empty().await.router(Access::Viewers).await;
    for (router, path) in [
        (&router, "/audit"),
        (&router, "/audit/calls?agent=clawd"),
        (&router, "/audit/nowhere"),
        (&closed, "/audit/login"),
    ] {
        let page = get(router, path).await.body;
        for bad in [
            "style=",
            "<style",
            "javascript:",
            " onclick",
            "http://",
            "https://",
        ] {
            let page = page.replace("http://127.0.0.1:3100/mcp", "");
            assert!(!page.contains(bad), "{path} holds {bad}");
        }
        let scripts = page.matches("<script").count();
        let ours = format!(
            "<script type=\"module\" src=\"/audit/{}\"></script>",
            *headers::SCRIPT_NAME
        );
        assert_eq!(scripts, page.matches(&ours).count(), "{path}");
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
    }
}

/// Every address there is, with names of the sample where a name belongs.
fn routes() -> Vec<String> {
    let pages = super::pages().into_iter().map(|(path, _)| path.to_owned());
    let lists = super::lists().into_iter();
    let twins =
        lists.flat_map(|(path, _)| Form::ALL.map(|form| format!("{path}.{}", form.suffix())));
    let fixed = [
        "/login",
        "/logout",
        "/look?colours=dark",
        "/icon.svg",
        &headers::STYLE_NAME,
        &headers::SCRIPT_NAME,
    ];
    let fixed = fixed.map(|path| format!("/{}", path.trim_start_matches('/')));
    let within = pages.chain(twins).chain(fixed);
    let within = within.map(|path| format!("/audit{}", if path == "/" { "" } else { &path }));
    let astray = ["/", "/audit/"].map(str::to_owned);
    within.chain(astray).map(|path| filled(&path)).collect()
}

/// A route with names of the sample in it.
fn filled(path: &str) -> String {
    let is_server = path.contains("/servers/");
    let whose = if is_server { "outline" } else { "clawd" };
    let id = if path.contains("/calls/") {
        "019aa0f0-0000-7000-8000-000000000000"
    } else {
        "1"
    };
    let names = [
        ("{id}", id),
        ("{name}", whose),
        ("{tool}", "search_documents"),
        ("{revision}", "0123"),
        ("{month}", "2026-11"),
        ("{pair}", "0123..4567"),
    ];
    let path = path.to_owned();
    names
        .into_iter()
        .fold(path, |path, (slot, name)| path.replace(slot, name))
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    for access in [Access::Open, Access::Viewers] {
        let router = Sample::empty().await.router(access).await;
        let astray = ["/audit/nowhere", "/audit/calls/"].map(str::to_owned);
        for path in routes().into_iter().chain(astray) {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let request = Request::builder().method(&method).uri(&path);
                let answer = send(&router, request.body(Body::empty()).unwrap()).await;
                let policy = answer.header(header::CONTENT_SECURITY_POLICY);
                assert!(
                    policy.starts_with("default-src 'none'; style-src 'self';"),
                    "{method} {path}"
                );
                assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
                assert_eq!(answer.header(header::REFERRER_POLICY), "same-origin");
                let kept = answer.header(header::CACHE_CONTROL) != "no-store";
                let is_fixed = [".css", ".js", ".svg"]
                    .iter()
                    .any(|end| path.ends_with(end));
                let is_style = is_fixed && method == Method::GET;
                assert_eq!(kept, is_style, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_but_login_and_logout_takes_anything_but_get() {
    let methods = [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    ];
    let router = Sample::empty().await.router(Access::Open).await;
    for path in routes() {
        for method in methods {
            let request = Request::builder().method(method).uri(&path);
            let answer = send(&router, request.body(Body::empty()).unwrap()).await;
            let may =
                method == "POST" && ["/audit/login", "/audit/logout"].contains(&path.as_str());
            assert_eq!(
                answer.status == StatusCode::METHOD_NOT_ALLOWED,
                !may,
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_viewer_logs_in_once_and_out_again() {
    let sample = Sample::busy().await;
    let router = sample.router(Access::Viewers).await;
    let asked = get(&router, "/audit/calls?agent=clawd&range=7d").await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER);
    let login = asked.header(header::LOCATION);
    assert_eq!(
        login,
        "/audit/login?next=/audit/calls%3Fagent%3Dclawd%26range%3D7d"
    );
    let form = get(&router, login).await.body;
    assert!(
        form.contains("value=\"/audit/calls?agent=clawd&#38;range=7d\""),
        "{form}"
    );
    let answer = log_in(&router, VIEWER, "/audit/calls%3Fagent%3Dclawd").await;
    assert_eq!(answer.header(header::LOCATION), "/audit/calls?agent=clawd");
    let cookie = answer.header(header::SET_COOKIE);
    assert!(
        cookie.ends_with("; Max-Age=43200; Path=/audit; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let (cookie, _) = cookie.split_once(';').unwrap();
    let page = get_with(&router, "/audit", header::COOKIE, cookie).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("governance"));
    let out = send(
        &router,
        Request::post("/audit/logout").body(Body::empty()).unwrap(),
    )
    .await;
    assert!(
        out.header(header::SET_COOKIE)
            .starts_with("hayward-viewer=; Max-Age=0;")
    );
    sample.clock.advance(Duration::from_secs(12 * 3_600));
    let late = get_with(&router, "/audit", header::COOKIE, cookie).await;
    assert_eq!(late.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let router = Sample::empty().await.router(Access::Viewers).await;
    let request = Request::post("/audit/login")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::HOST, "gate.example")
        .header(header::ORIGIN, "https://gate.example")
        .body(Body::from(format!("token={VIEWER}")));
    let answer = send(&router, request.unwrap()).await;
    let cookie = answer.header(header::SET_COOKIE);
    assert!(cookie.starts_with("__Host-hayward-viewer="), "{cookie}");
    assert!(
        cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_removed_viewer_is_logged_out() {
    let sample = Sample::empty().await;
    let before = sample.router(Access::Viewers).await;
    let answer = log_in(&before, VIEWER, "").await;
    let (cookie, _) = answer.header(header::SET_COOKIE).split_once(';').unwrap();
    let mut rules: Parts = parts();
    for viewer in rules.viewers.values_mut() {
        viewer.tokens.clear();
    }
    let after = sample
        .router_with(Access::Viewers, Permissions::new(rules))
        .await;
    let page = get_with(&after, "/audit", header::COOKIE, cookie).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_agents_token_never_opens_the_dashboard() {
    let router = Sample::busy().await.router(Access::Viewers).await;
    let answer = log_in(&router, AGENT, "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.header(header::SET_COOKIE), "");
    assert!(answer.body.contains("This token belongs to an agent."));
    assert!(!answer.body.contains(AGENT));
    let bearer = get_with(
        &router,
        "/audit",
        header::AUTHORIZATION,
        &format!("Bearer {AGENT}"),
    )
    .await;
    assert_eq!(bearer.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn too_many_wrong_tokens_close_the_door_for_a_minute() {
    let sample = Sample::empty().await;
    let router = sample.router(Access::Viewers).await;
    for _ in 0..20 {
        assert_eq!(
            log_in(&router, "wrong", "").await.status,
            StatusCode::FORBIDDEN
        );
    }
    let answer = log_in(&router, VIEWER, "").await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_ne!(answer.header(header::RETRY_AFTER), "");
    sample.clock.advance(Duration::from_secs(60));
    assert_eq!(
        log_in(&router, VIEWER, "").await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn another_site_can_neither_log_in_nor_out() {
    let router = Sample::empty().await.router(Access::Viewers).await;
    for path in ["/audit/login", "/audit/logout"] {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "cross-site")
            .body(Body::from(format!("token={VIEWER}")));
        let answer = send(&router, request.unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.header(header::SET_COOKIE), "");
    }
}

#[tokio::test]
async fn a_link_from_another_site_comes_in_through_a_page_of_our_own() {
    let router = Sample::empty().await.router(Access::Viewers).await;
    let name = header::HeaderName::from_static("sec-fetch-site");
    let page = get_with(&router, "/audit/calls?agent=x", name, "cross-site").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.body
            .contains("url=/audit/login?next=/audit/calls%3Fagent%3Dx"),
        "{}",
        page.body
    );
}

/// The rules of the sample, and viewers whom a proxy lets in by a group.
fn with_groups(groups: &[(&str, &str)]) -> Parts {
    let mut rules = parts();
    let known = rules.viewers.values().next().unwrap().clone();
    for (name, group) in groups {
        let name: ViewerName = name.parse().unwrap();
        let header = ProxyHeader {
            name: "x-groups".into(),
            value: (*group).into(),
        };
        let viewer = Viewer {
            name: name.clone(),
            tokens: Vec::new(),
            header: Some(header),
            ..known.clone()
        };
        rules.viewers.insert(name, viewer);
    }
    rules
}

/// A request that came over a connection from this address, with these lines of the header; `None` for no connection.
async fn from(router: &Router, peer: Option<&str>, path: &str, lines: &[&str]) -> Answer {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        request.headers_mut().append("x-groups", line);
    }
    if let Some(address) = peer {
        let peer = Peer(address.parse().unwrap());
        request.extensions_mut().insert(peer);
    }
    send(router, request).await
}

const PROXY: Option<&str> = Some("10.20.0.7");

#[tokio::test]
async fn a_header_is_believed_from_a_trusted_proxy_alone() {
    let sample = Sample::busy().await;
    let router = async |networks: &[&str]| {
        let networks: Vec<Network> = networks.iter().map(|text| text.parse().unwrap()).collect();
        let rules = Permissions::new(with_groups(&[("auditors", "audit")]));
        sample.router_behind(&networks, rules).await
    };
    let behind = router(&["192.0.2.1", "10.20.0.0/16"]).await;
    let alone = router(&[]).await;
    let table: [(&Router, Option<&str>, &[&str], bool); 11] = [
        (&behind, PROXY, &["audit"], true),
        (&behind, PROXY, &["staff, audit ,board"], true),
        (&behind, PROXY, &["staff", "audit"], true),
        (&behind, Some("::ffff:10.20.0.7"), &["audit"], true),
        (&behind, Some("192.0.2.1"), &["audit"], true),
        (&behind, PROXY, &["auditor"], false),
        (&behind, PROXY, &[], false),
        (&behind, Some("10.21.0.7"), &["audit"], false),
        (&behind, None, &["audit"], false),
        (&alone, PROXY, &["audit"], false),
        (&alone, None, &["audit"], false),
    ];
    for (router, peer, lines, comes_in) in table {
        for path in ["/audit", "/audit/calls?agent=clawd"] {
            let page = from(router, peer, path, lines).await;
            if comes_in {
                assert_eq!(page.status, StatusCode::OK, "{peer:?} {lines:?} {path}");
                assert!(page.body.contains("<bdi>auditors</bdi>"), "{path}");
            } else {
                assert_eq!(page.status, StatusCode::SEE_OTHER, "{peer:?} {lines:?}");
                let login = page.header(header::LOCATION);
                assert!(login.starts_with("/audit/login?next=/audit"), "{login}");
                assert!(!page.body.contains("clawd"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_a_proxy_lets_in_sees_no_login_page_and_no_way_to_log_out() {
    let sample = Sample::busy().await;
    let networks = ["10.20.0.0/16".parse().unwrap()];
    let rules = Permissions::new(with_groups(&[("auditors", "audit")]));
    let router = sample.router_behind(&networks, rules).await;
    let login = "/audit/login?next=/audit/calls%3Fagent%3Dclawd";
    let passed = from(&router, PROXY, login, &["audit"]).await;
    assert_eq!(passed.status, StatusCode::SEE_OTHER);
    assert_eq!(passed.header(header::LOCATION), "/audit/calls?agent=clawd");
    assert_eq!(
        passed.header(header::SET_COOKIE),
        "",
        "the proxy says it again each time"
    );
    let stopped = from(&router, Some("10.21.0.7"), login, &["audit"]).await;
    assert_eq!(stopped.status, StatusCode::OK);
    assert!(stopped.body.contains("name=\"token\""));
    let page = from(&router, PROXY, "/audit", &["audit"]).await.body;
    assert!(!page.contains("/audit/logout"));
}

#[tokio::test]
async fn a_login_goes_before_what_a_proxy_says() {
    let sample = Sample::busy().await;
    let networks = ["10.20.0.0/16".parse().unwrap()];
    let rules = Permissions::new(with_groups(&[("auditors", "audit")]));
    let router = sample.router_behind(&networks, rules).await;
    let answer = log_in(&router, VIEWER, "").await;
    let (cookie, _) = answer.header(header::SET_COOKIE).split_once(';').unwrap();
    let ask = async |cookie: &str| {
        let request = Request::get("/audit").header("x-groups", "audit");
        let request = request.header(header::COOKIE, cookie).body(Body::empty());
        let mut request = request.unwrap();
        let peer = Peer("10.20.0.7".parse().unwrap());
        request.extensions_mut().insert(peer);
        send(&router, request).await.body
    };
    let page = ask(cookie).await;
    assert!(page.contains("<bdi>governance</bdi>") && page.contains("/audit/logout"));
    let page = ask("hayward-viewer=over").await;
    assert!(page.contains("<bdi>auditors</bdi>") && !page.contains("/audit/logout"));
}

#[tokio::test]
async fn of_several_viewers_with_a_header_that_fits_the_first_by_name_comes_in() {
    let sample = Sample::busy().await;
    let networks = ["10.20.0.0/16".parse().unwrap()];
    let rules = with_groups(&[("zoe", "staff"), ("board", "board"), ("auditors", "audit")]);
    let router = sample
        .router_behind(&networks, Permissions::new(rules))
        .await;
    for (line, name) in [
        ("staff, board, audit", "auditors"),
        ("staff, board", "board"),
        ("board, staff", "board"),
        ("staff", "zoe"),
    ] {
        let page = from(&router, PROXY, "/audit", &[line]).await.body;
        assert!(page.contains(&format!("<bdi>{name}</bdi>")), "{line}");
    }
}

#[tokio::test]
async fn without_viewers_the_page_says_how_to_add_one() {
    let sample = Sample::busy().await;
    let mut rules = parts();
    rules.viewers.clear();
    let router = sample
        .router_with(Access::Viewers, Permissions::new(rules))
        .await;
    for path in ["/audit", "/audit/calls", "/audit/login"] {
        let page = get(&router, path).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        assert!(page.body.contains("--open-dashboard"), "{path}");
        assert!(!page.body.contains("clawd"), "{path}");
    }
}

#[tokio::test]
async fn the_overview_counts_a_day_against_the_day_before() {
    let mut sample = Sample::empty().await;
    let hours = |hours: u64| Made {
        ago: Duration::from_secs(hours * 3_600),
        ..Made::default()
    };
    let ok = Some((Kind::Settled, "ok"));
    let mut entries = vec![(
        before(Duration::from_secs(200_000)),
        Entry::new(Kind::Started),
    )];
    for ago in [30, 26, 25] {
        entries.extend(sample.allowed(&hours(ago), ok));
    }
    entries.extend(sample.denied(&hours(20), "budget", "2 of 2 used"));
    entries.extend(sample.allowed(&hours(19), Some((Kind::Failed, "broken"))));
    for ago in [10, 9, 8, 1] {
        entries.extend(sample.allowed(&hours(ago), ok));
    }
    let mut strangers = Entry::new(Kind::Denied).number("count", 14);
    strangers.reason = Some("not_authenticated".into());
    entries.push((before(Duration::from_secs(30)), strangers));
    let entries_of_a_day = entries.len();
    for covered in 0..=entries_of_a_day {
        let mut sample = Sample::empty().await;
        let rest = entries.clone().split_off(covered);
        sample.write(entries[..covered].to_vec()).await;
        sample.build().await;
        sample.write(rest).await;
        assert_counted(&sample).await;
    }
}

async fn assert_counted(sample: &Sample) {
    let page = get(&sample.router(Access::Open).await, "/audit").await.body;
    let summary = "1 agent made 20 calls in the last 24 hours. 15 were refused by the rules and 1 ended in an error.";
    assert!(page.contains(summary), "{page}");
    assert!(
        page.contains(
            "<span class=\"number\">20</span> <span class=\"change\">+566 % from 3</span>"
        )
    );
    assert!(page.contains("14 times"));
}

#[tokio::test]
async fn a_budget_is_told_in_words_with_its_reset() {
    let router = Sample::busy().await.router(Access::Open).await;
    let page = get(&router, "/audit").await.body;
    assert!(page.contains("images / blend, imagine"));
    assert!(
        page.contains("<b>6</b> + 1 under way of 10 an hour"),
        "{page}"
    );
    assert!(
        page.contains(
            "<time datetime=\"2026-11-21T00:00:00+01:00\">Sat 21 Nov 00:00 +01:00</time>"
        )
    );
}

/// How many bytes go over the wire.
async fn sent(router: &Router, path: &str) -> usize {
    let request = Request::get(path).header(header::ACCEPT_ENCODING, "gzip");
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    let encoding = response.headers().get(header::CONTENT_ENCODING);
    assert_eq!(encoding.unwrap(), "gzip", "{path}");
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .len()
}

#[tokio::test]
async fn pages_stay_light() {
    let router = Sample::busy().await.router(Access::Open).await;
    let calls = get(&router, "/audit/calls?range=7d").await.body;
    assert_eq!(rows(&calls), 100);
    assert!(calls.len() < 130_000, "{}", calls.len());
    for (path, _) in super::pages() {
        let is_page = !path.contains('{') && !["/calls/tail", "/report"].contains(&path);
        if is_page {
            let path = format!("/audit{}", path.trim_end_matches('/'));
            let page = get(&router, &path).await.body.len();
            assert!(page < 130_000, "{path}: {page}");
            let sent = sent(&router, &path).await;
            assert!(sent < 60_000, "{path}: {sent}");
        }
    }
    let style = format!("/audit/{}", *headers::STYLE_NAME);
    let script = format!("/audit/{}", *headers::SCRIPT_NAME);
    let (style, script) = (sent(&router, &style).await, sent(&router, &script).await);
    assert!(style < 15_000 && script < 6_000, "{style} {script}");
}

// The compressor asks a stream once more after its end.
#[tokio::test]
async fn a_list_that_is_taken_away_compressed_comes_whole() {
    let router = Sample::busy().await.router(Access::Open).await;
    for form in Form::ALL {
        let path = format!("/audit/calls.{}", form.suffix());
        assert!(sent(&router, &path).await > 1_000, "{path}");
    }
}
