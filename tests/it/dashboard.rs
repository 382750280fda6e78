//! The pages inside the whole gateway: what agents did shows up, and every address takes only its methods.

use std::collections::BTreeSet;
use std::path::Path;

use hayward::audit::read;
use hayward::dashboard::Access;
use hayward::db::Readers;
use serde_json::json;

use super::support::{FakeUpstream, World, find, token};

const POLICY: &str = r#"
servers: {images: {url: "@images", budgets: [2/day]}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"], deny: ["images/blend"]}}
viewers: {governance: {token_hash: "@governance"}}
"#;

async fn world(access: Access) -> World {
    let builder = World::builder().server("images", FakeUpstream::legacy());
    builder.access(access).start(POLICY).await
}

#[tokio::test]
async fn whoever_comes_to_the_root_is_shown_to_the_log() {
    let world = world(Access::Open).await;
    let stranger = world.stranger();
    let root = stranger.get("/").send().await;
    assert!([303, 307, 308].contains(&root.status), "{root:?}");
    assert_eq!(root.header("location"), Some("/audit"));
    let page = stranger.get("/audit").send().await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    world.stop().await;
}

#[tokio::test]
async fn the_calls_made_show_up() {
    let world = world(Access::Open).await;
    let clawd = world.agent("clawd");
    for tool in [
        "imagine",
        "describe",
        "imagine",
        "blend",
        "<script>alert(1)</script>",
    ] {
        clawd.call(tool, json!({})).await;
    }
    let page = async |path: &str| {
        let page = world.stranger().get(path).send().await;
        assert_eq!(page.status, 200, "{path}");
        page.body
    };
    let overview = page("/audit").await;
    for shown in ["clawd", "images", "imagine", "2"] {
        assert!(overview.contains(shown), "{shown} is not on the overview");
    }
    let calls = page("/audit/calls").await;
    for shown in [
        "clawd",
        "imagine",
        "describe",
        "blend",
        "denied_rule",
        "budget",
    ] {
        assert!(calls.contains(shown), "{shown} is not on the list of calls");
    }
    assert!(!calls.contains("<script>"), "what agents write is text");
    let denied = page("/audit/calls?tool=describe").await;
    assert!(denied.contains("describe") && !denied.contains("blend"));
    world.stop().await;
}

#[tokio::test]
async fn a_viewer_gets_in_and_an_agent_does_not() {
    let world = world(Access::Viewers).await;
    let stranger = world.stranger();
    let log_in = async |name: &str| {
        let form = stranger.request("POST", "/audit/login");
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        form.body(format!("token={}&next=/audit/calls", token(name)))
            .send()
            .await
    };
    let no_cookie = stranger.get("/audit/calls").send().await;
    assert_eq!(no_cookie.status, 303);
    assert!(
        no_cookie
            .header("location")
            .unwrap()
            .starts_with("/audit/login")
    );
    let agent = log_in("clawd").await;
    assert_eq!((agent.status, agent.header("set-cookie")), (403, None));
    let bearer = world.agent("clawd").get("/audit").send().await;
    assert_eq!(bearer.status, 303, "nor does its header open anything");
    let viewer = log_in("governance").await;
    assert_eq!(viewer.header("location"), Some("/audit/calls"));
    let cookie = viewer
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_string();
    let page = stranger
        .get("/audit/calls")
        .header("cookie", &cookie)
        .send()
        .await;
    assert_eq!(page.status, 200);
    // A viewer's token is no agent's.
    let viewer = world.agent("governance").post("/mcp", "{}").send().await;
    assert_eq!(viewer.status, 401);
    world.stop().await;
}

const BY_HEADER: &str = r#"
servers: {images: {url: "@images"}}
agents: {clawd: {token_hash: "@clawd", servers: ["*"]}}
viewers: {auditors: {header: {X-Forwarded-Groups: audit}}}
"#;

#[tokio::test]
async fn a_viewer_comes_in_by_a_header_that_a_trusted_proxy_sends_and_nobody_else() {
    let world = async |proxies: &[&str]| {
        let builder = World::builder().server("images", FakeUpstream::legacy());
        let builder = builder.access(Access::Viewers);
        let builder = proxies
            .iter()
            .fold(builder, |builder, proxy| builder.trusted_proxy(proxy));
        builder.start(BY_HEADER).await
    };
    // Everybody here is on this machine.
    for (proxies, comes_in) in [
        (&["127.0.0.0/8"][..], true),
        (&["10.0.0.0/8", "127.0.0.1"], true),
        (&["10.0.0.0/8", "::1"], false),
        (&[], false),
    ] {
        let world = world(proxies).await;
        let ask = async |line: &str| {
            let page = world.stranger().get("/audit/calls");
            let page = page.header("x-forwarded-groups", line);
            // Whom the client says it is counts for nothing.
            let page = page.header("x-forwarded-for", "10.0.0.1");
            page.send().await
        };
        let page = ask("staff, audit").await;
        let expected = if comes_in { 200 } else { 303 };
        assert_eq!(page.status, expected, "{proxies:?}");
        assert_eq!(page.body.contains("auditors"), comes_in, "{proxies:?}");
        assert_eq!(ask("staff").await.status, 303, "{proxies:?}");
        // What opens the pages opens nothing for agents.
        let call = world.stranger().post("/mcp", "{}");
        let call = call.header("x-forwarded-groups", "audit").send().await;
        assert_eq!(call.status, 401, "{proxies:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn who_looks_stands_in_the_log_and_is_no_call() {
    let mut world = world(Access::Viewers).await;
    let stranger = world.stranger();
    let post = async |path: &str, cookie: &str, body: String| {
        let form = stranger.request("POST", path).header("cookie", cookie);
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        form.body(body).send().await
    };
    let log_in = async |name: &str| {
        let body = format!("token={}", token(name));
        post("/audit/login", "", body).await
    };
    assert_eq!(log_in("nobody").await.status, 403);
    let viewer = log_in("governance").await;
    let cookie = viewer.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_string();
    let page = stranger.get("/audit/calls").header("cookie", &cookie);
    assert_eq!(page.send().await.status, 200);
    post("/audit/logout", &cookie, String::new()).await;
    let events = world.events().await;
    let told: Vec<_> = find(&events, "accessed")
        .iter()
        .map(|event| {
            [
                event.text("what"),
                event.text("viewer"),
                event.text("address"),
            ]
        })
        .map(|told| told.join(" "))
        .collect();
    assert_eq!(
        told,
        [
            "refused_login  127.0.0.1",
            "login governance 127.0.0.1",
            "logout governance 127.0.0.1"
        ]
    );
    // It verifies, too: see `halt`.
    world.halt().await;
    let readers = Readers::open(world.file()).await.unwrap();
    let mut connection = readers.pool().acquire().await.unwrap();
    let ended = read::ended_since(&mut connection, 0).await.unwrap();
    assert_eq!((ended.rows.len(), ended.is_closed), (0, true));
    let told = read::accesses(&mut connection, 1, None).await.unwrap();
    assert_eq!(told[0].what, "logout");
    drop(connection);
    readers.close().await;
}

#[tokio::test]
async fn health_says_how_many_there_are() {
    let world = world(Access::Viewers).await;
    let health = world.stranger().get("/health").send().await;
    assert_eq!(health.status, 200);
    let revision = world.permissions.revision();
    assert_eq!(
        health.body,
        format!(
            r#"{{"status":"healthy","agents":1,"servers":1,"policy":{{"loaded_at":"2026-11-20T12:00:00.000000Z","revision":"{revision}"}}}}"#
        )
    );
    world.stop().await;
}

/// Every route of the gateway, with the methods it takes. What is not listed is refused with 405, or is no route.
const ROUTES: [(&str, &[&str]); 19] = [
    ("/", &["GET"]),
    ("/mcp", &["POST", "DELETE"]),
    ("/mcp/", &["POST", "DELETE"]),
    ("/mcp/{server}", &["POST", "DELETE"]),
    ("/mcp/{server}/", &["POST", "DELETE"]),
    ("/sse", &["GET"]),
    ("/sse/", &["GET"]),
    ("/sse/{server}", &["GET"]),
    ("/sse/{server}/", &["GET"]),
    ("/messages", &["POST"]),
    ("/messages/", &["POST"]),
    ("/health", &["GET"]),
    ("/audit", &["GET"]),
    ("/audit/", &["GET"]),
    ("/audit/calls", &["GET"]),
    ("/audit/login", &["GET", "POST"]),
    ("/audit/logout", &["POST"]),
    ("/audit/look", &["GET"]),
    ("/audit/icon.svg", &["GET"]),
];

#[tokio::test]
async fn every_route_answers_only_its_methods() {
    let world = world(Access::Open).await;
    for (route, takes) in ROUTES {
        let path = route.replace("{server}", "images");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if method == "GET" && route.starts_with("/sse") {
                continue; // A stream without an end; `asks.rs` opens it.
            }
            // The token decides nothing here but lets requests past the door of agents.
            let answer = world.agent("clawd").request(method, &path).send().await;
            let is_taken = answer.status != 405;
            assert_eq!(
                is_taken,
                takes.contains(&method),
                "{method} {route}: {answer:?}"
            );
            assert!(
                is_taken || answer.header("allow").is_some(),
                "{method} {route}"
            );
            // Messages belong to a stream, which nobody opened.
            let expects = !route.starts_with("/messages") || !is_taken;
            assert_eq!(answer.status != 404, expects, "{method} {route}");
        }
    }
    world.stop().await;
}

#[test]
fn the_inventory_of_routes_is_complete() {
    let known: BTreeSet<String> = ROUTES
        .iter()
        .map(|(route, _)| route.replace("/audit", ""))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in ["app.rs", "http/mod.rs", "dashboard/mod.rs"] {
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        let routes = source.split(".route(\"").skip(1);
        for route in routes.map(|rest| rest.split('"').next().unwrap()) {
            assert!(
                known.contains(route),
                "src/{file}: {route} is in no test of routes"
            );
        }
    }
}
