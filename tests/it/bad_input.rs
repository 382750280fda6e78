//! Whatever comes in, the answer is clear, nothing reaches a server, and the gateway stays sound.

use std::time::Duration;

use hayward::http::Limits;
use serde_json::{Value, json};

use super::support::{FakeUpstream, World, find, rpc, token};

const POLICY: &str = r#"
servers:
  images: {url: "@images"}
  notes: {url: "@notes"}
agents:
  clawd: {token_hash: "@clawd", servers: [images], owner: "images-team@example.com"}
  hidden: {token_hash: "@hidden", servers: [{server: images, tools: [imagine]}], ungranted: hide}
  two: {token_hash: "@two", servers: [{server: images, tools: [imagine]}, {server: notes, tools: [search]}], ungranted: hide}
  off: {token_hash: "@off", servers: ["*"], disabled: "on holiday"}
"#;

async fn world() -> World {
    World::builder()
        .server("images", FakeUpstream::legacy())
        .server("notes", FakeUpstream::modern())
        .start(POLICY)
        .await
}

#[tokio::test]
async fn what_is_no_message_gets_its_answer_and_its_event() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let call = |inside: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{inside}}}}}"#)
    };
    let table: Vec<(String, (u16, i64), Value)> = vec![
        ("".into(), (400, -32700), Value::Null),
        ("{".into(), (400, -32700), Value::Null),
        ("nonsense".into(), (400, -32700), Value::Null),
        (
            r#"{"jsonrpc":"2.0","id":1} {}"#.into(),
            (400, -32700),
            Value::Null,
        ),
        ("7".into(), (400, -32600), Value::Null),
        ("null".into(), (400, -32600), Value::Null),
        ("[]".into(), (400, -32600), Value::Null),
        (
            format!("[{}]", rpc("initialize", &json!({}))),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"id":1,"method":"tools/list"}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","PARAMS":{}}"#.into(),
            (400, -32600),
            json!(1),
        ),
        (
            call(r#""name":"imagine","name":"blend""#),
            (400, -32600),
            json!(1),
        ),
        (
            call(r#""name":"imagine","n\u0061me":"blend""#),
            (400, -32600),
            json!(1),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#.into(),
            (400, -32600),
            Value::Null,
        ),
        (
            call(r#""name":"imagine","Name":"blend""#),
            (200, -32602),
            json!(1),
        ),
        (
            call(r#""name":"imagine","ARGUMENTS":{}"#),
            (200, -32602),
            json!(1),
        ),
        (call(r#""name":7"#), (200, -32602), json!(1)),
        (call(r#""name":"""#), (200, -32602), json!(1)),
        (call(r#""arguments":{}"#), (200, -32602), json!(1)),
        (rpc("prompts/get", &json!({})), (200, -32602), json!(1)),
        (
            rpc("resources/read", &json!({"uri": []})),
            (200, -32602),
            json!(1),
        ),
        (
            rpc("completion/complete", &json!({"ref": 1})),
            (200, -32602),
            json!(1),
        ),
        (
            rpc("completion/complete", &json!({"ref": {"type": "x"}})),
            (200, -32602),
            json!(1),
        ),
        (
            rpc("Tools/Call", &json!({"name": "imagine"})),
            (200, -32601),
            json!(1),
        ),
        (
            rpc("sampling/createMessage", &json!({})),
            (200, -32601),
            json!(1),
        ),
        (rpc("server/discover", &json!({})), (200, -32601), json!(1)),
    ];
    for (body, expected, id) in &table {
        let answer = clawd.post("/mcp", &**body).send().await;
        assert_eq!(answer.code(), *expected, "{body}: {answer:?}");
        assert_eq!(answer.json()["id"], *id, "{body}");
        assert_eq!(answer.json()["jsonrpc"], "2.0");
        // Not so fast that they are only counted.
        world.clock().advance(Duration::from_secs(2));
    }
    let bytes = [0x7b, 0xff, 0xfe, 0x7d];
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 4\r\nconnection: close\r\n\r\n",
        token("clawd")
    );
    let answer = clawd.raw([head.as_bytes(), &bytes].concat()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("-32700"),
        "{answer}"
    );
    assert_eq!(world.server("images").requests().len(), 0);
    let events = world.events().await;
    let denied = find(&events, "denied");
    assert_eq!(denied.len(), table.len() + 1, "each is written down");
    assert!(denied.iter().all(|event| event.text("agent") == "clawd"));
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_or_not_granted_is_said_so() {
    let world = world().await;
    let list = || rpc("tools/list", &json!({}));
    for path in [
        "/mcp/nowhere",
        "/mcp/nowhere/",
        "/mcp/..",
        "/mcp/%2e%2e",
        "/mcp/%00",
        "/mcp/Images",
    ] {
        let answer = world.agent("clawd").post(path, list()).send().await;
        assert_eq!(answer.status, 404, "{path} {answer:?}");
        assert!(answer.json()["error"]["message"].is_string(), "{path}");
    }
    let foreign = world.agent("clawd").post("/mcp/notes", list()).send().await;
    assert_eq!(foreign.code(), (403, -31403));
    let message = foreign.json()["error"]["message"].to_string();
    assert!(
        message.contains("`notes`") && message.contains("`clawd`"),
        "{message}"
    );
    let off = world.agent("off").post("/mcp/images", list()).send().await;
    assert_eq!(off.status, 403);
    let refused = world.agent("clawd").call("notes__search", json!({})).await;
    let text = refused["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("images-team@example.com"), "{text}");
    let off = world.agent("off").call("imagine", json!({})).await;
    assert!(
        off.get("result")
            .is_none_or(|result| result["isError"] == true),
        "{off}"
    );
    world.stop().await;
}

#[tokio::test]
async fn what_is_hidden_looks_exactly_like_nothing() {
    let world = world().await;
    for agent in ["hidden", "two"] {
        let hidden = world.agent(agent);
        // Of each pair the first exists and was not granted, the second does not exist.
        let pairs = [
            ("/mcp/images", "tools/call", "*", "blend", "blond"),
            ("/mcp", "tools/call", "images__*", "blend", "blond"),
            ("/mcp", "tools/call", "*", "blend", "blond"),
            ("/mcp", "tools/call", "*__describe", "notes", "noses"),
            ("/mcp", "prompts/get", "images__*", "greet", "great"),
            ("/mcp", "prompts/get", "*__greet", "notes", "noses"),
            ("/mcp", "resources/read", "images+*", "note://1", "note://9"),
            ("/mcp", "resources/read", "*+note://1", "notes", "noses"),
        ];
        for (path, method, name, real, unreal) in pairs {
            // To this one the server `notes` is no secret.
            if agent == "two" && real == "notes" {
                continue;
            }
            for is_modern in [false, true] {
                let ask = async |word: &str| {
                    let asked = name.replace('*', word);
                    let key = if method == "resources/read" {
                        "uri"
                    } else {
                        "name"
                    };
                    let sending = if is_modern {
                        hidden.modern(path, method, json!({key: asked}))
                    } else {
                        hidden.post(path, rpc(method, &json!({key: asked})))
                    };
                    let reply = sending.send().await;
                    (reply.status, reply.body.replace(word, "*"))
                };
                let (ungranted, unknown) = (ask(real).await, ask(unreal).await);
                assert_eq!(ungranted, unknown, "{agent} {path} {method} {name} {real}");
                assert!(ungranted.1.contains("\"error\""), "{ungranted:?}");
            }
        }
    }
    let hidden = world.agent("hidden");
    let real = hidden
        .post("/mcp/notes", rpc("tools/list", &json!({})))
        .send()
        .await;
    let unreal = hidden
        .post("/mcp/noses", rpc("tools/list", &json!({})))
        .send()
        .await;
    assert_eq!(
        (real.status, real.body.replace("notes", "noses")),
        (unreal.status, unreal.body)
    );
    assert_eq!(
        world.server("images").calls() + world.server("notes").calls(),
        0
    );
    world.stop().await;
}

#[tokio::test]
async fn a_hidden_server_is_a_word_like_any_other() {
    let policy = r#"
servers: {images: {url: "@images"}, notes: {url: "@notes"}}
agents: {all: {token_hash: "@all", servers: [images], ungranted: hide}}
"#;
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let builder = builder.server("notes", FakeUpstream::modern());
    let world = builder.start(policy).await;
    // The one server it has decides what such a name is, and is asked.
    for (method, key, name) in [
        ("tools/call", "name", "notes__search"),
        ("prompts/get", "name", "notes__greet"),
        ("resources/read", "uri", "notes+note://1"),
    ] {
        world
            .agent("all")
            .bare("/mcp", method, json!({key: name}))
            .await;
        let seen = world.server("images").requests().pop().unwrap();
        assert_eq!(seen.param(key), name);
    }
    world.stop().await;
}

#[tokio::test]
async fn without_exactly_one_good_token_there_is_nothing() {
    let world = world().await;
    let body = rpc("tools/list", &json!({}));
    let good = format!("Bearer {}", token("clawd"));
    let table: Vec<(Vec<&str>, &str)> = vec![
        (vec![], "no token"),
        (vec![""], "no token"),
        (vec!["   "], "no token"),
        (vec!["Bearer"], "nothing after it"),
        (vec!["Bearer "], "nothing after it"),
        (vec!["Basic dXNlcjpwYXNz"], "not of the form"),
        (vec!["Bearer ${HAYWARD_TOKEN}"], "placeholder"),
        (vec!["Bearer wrong"], "not known"),
        (vec!["Bearer ' OR 1=1 --"], "not known"),
        (vec![&good, &good], "several"),
        (vec![&good, "Bearer wrong"], "several"),
    ];
    let stranger = world.stranger();
    for path in ["/mcp", "/mcp/", "/mcp/images", "/mcp/nowhere"] {
        for (values, said) in &table {
            let sending = stranger.post(path, &*body);
            let sending = values.iter().fold(sending, |sending, value| {
                sending.and("authorization", value)
            });
            let answer = sending.send().await;
            assert_eq!(answer.code(), (401, -32600), "{path} {values:?} {answer:?}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(
                challenge.starts_with("Bearer realm=\"hayward\""),
                "{challenge}"
            );
            let error = answer.json()["error"].clone();
            assert!(
                error["message"].as_str().unwrap().contains(said),
                "{values:?} {error}"
            );
            assert_eq!(error["data"]["reason"], "not_authenticated");
        }
    }
    assert_eq!(world.server("images").requests().len(), 0);
    let lower = stranger
        .post("/mcp", &*body)
        .header("authorization", &good.replace("Bearer", "bearer"));
    assert_eq!(lower.send().await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_everywhere() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let own = format!("http://{}", world.address());
    for path in [
        "/",
        "/mcp",
        "/mcp/images",
        "/health",
        "/audit",
        "/audit/calls",
        "/nowhere",
        "/register",
    ] {
        for (name, value) in [
            ("host", "evil.example"),
            ("host", "localhost.evil.example"),
            ("host", "127.0.0.1.evil.example:80"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:1"),
            ("origin", "null"),
        ] {
            let sending = if path.starts_with("/mcp") {
                clawd.post(path, rpc("tools/list", &json!({})))
            } else {
                clawd.get(path)
            };
            let answer = sending.header(name, value).send().await;
            assert_eq!(answer.status, 403, "{path} {name}: {value}");
            let reason = &answer.json()["error"]["data"]["reason"];
            assert_eq!(*reason, format!("foreign_{name}"), "{path}");
        }
    }
    for (name, value) in [
        ("host", "gateway.example"),
        ("host", "localhost:1"),
        ("origin", own.as_str()),
    ] {
        let sending = clawd.post("/mcp", rpc("tools/list", &json!({})));
        assert_eq!(
            sending.header(name, value).send().await.status,
            200,
            "{name}: {value}"
        );
    }
    let no_host = clawd
        .raw("GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
        .await;
    assert!(no_host.starts_with("HTTP/1.1 403 "), "{no_host}");
    assert_eq!(world.server("images").requests().len(), 1 + 2);
    world.stop().await;
}

#[tokio::test]
async fn bodies_and_types_have_their_bounds() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let large = rpc(
        "tools/call",
        &json!({"name": "imagine", "arguments": {"x": "x".repeat(3 << 20)}}),
    );
    assert_eq!(
        clawd.post("/mcp", &*large).send().await.status,
        200,
        "three MiB are not too much"
    );
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        token("clawd")
    );
    let five = "x".repeat(5 << 20);
    let sized = format!("{head}content-length: {}\r\n\r\n{five}", five.len());
    let chunked = format!(
        "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{five}\r\n0\r\n\r\n",
        five.len()
    );
    for whole in [sized, chunked] {
        let answer = clawd.raw(whole).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{:.200}", answer);
        assert!(answer.contains("request_too_large"), "{:.500}", answer);
    }
    for kind in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "",
        "application/jsonp",
    ] {
        let sending = clawd.post("/mcp", rpc("tools/list", &json!({})));
        let answer = sending.header("content-type", kind).send().await;
        assert_eq!(answer.code(), (415, -32600), "{kind}");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let sending = clawd.post("/mcp", rpc("tools/list", &json!({})));
        assert_eq!(
            sending.header("content-type", kind).send().await.status,
            200,
            "{kind}"
        );
    }
    let events = world.events().await;
    let denied = find(&events, "denied");
    let reasons: Vec<&str> = denied
        .iter()
        .map(|event| event.reason.as_deref().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            ["request_too_large"; 2].as_slice(),
            ["malformed"; 5].as_slice()
        ]
        .concat()
    );
    world.stop().await;
}

#[tokio::test]
async fn labels_and_headers_of_clients_have_their_bounds() {
    let world = world().await;
    let clawd = world.agent("clawd");
    let list = || clawd.post("/mcp", rpc("tools/list", &json!({})));
    let long = "x".repeat(129);
    for label in ["", "a b", &long] {
        let answer = list().header("x-session-id", label).send().await;
        assert_eq!(answer.code(), (400, -32600), "{label}");
    }
    let twice = list().header("x-session-id", "a").and("x-session-id", "b");
    assert_eq!(twice.send().await.status, 400);
    assert_eq!(
        list()
            .header("x-session-id", &long[1..])
            .send()
            .await
            .status,
        200
    );
    let unknown = list()
        .header("mcp-protocol-version", "tomorrow")
        .send()
        .await;
    assert_eq!(unknown.code(), (400, -32600));
    assert!(unknown.body.contains("tomorrow"));
    let unknown = list()
        .header("mcp-session-id", "not-a-session")
        .send()
        .await;
    assert_eq!(unknown.status, 404);
    world.stop().await;
}

#[tokio::test]
async fn other_methods_of_http_are_refused_with_what_works() {
    let world = world().await;
    let clawd = world.agent("clawd");
    for path in ["/mcp", "/mcp/images"] {
        for method in ["GET", "PUT", "PATCH", "OPTIONS", "HEAD"] {
            let answer = clawd
                .request(method, path)
                .header("accept", "text/event-stream")
                .send()
                .await;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("POST, DELETE"));
        }
        let nothing = clawd.request("DELETE", path).send().await;
        assert_eq!(nothing.status, 400);
        let modern = clawd
            .request("DELETE", path)
            .header("mcp-protocol-version", "2026-07-28");
        assert_eq!(modern.send().await.status, 405);
    }
    world.stop().await;
}

#[tokio::test]
async fn no_path_leads_a_client_into_oauth() {
    let world = world().await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource/mcp/images",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
        "/authorize",
        "/token",
        "/register",
        "/nowhere",
    ] {
        for method in ["GET", "POST"] {
            let answer = world.stranger().request(method, path).send().await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{path}"
            );
            assert!(answer.json()["error"]["message"].is_string(), "{path}");
            assert_eq!(answer.header("www-authenticate"), None);
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_slow_end_the_connection() {
    let limits = Limits {
        header_time: Duration::from_millis(300),
        ..Limits::default()
    };
    let builder = World::builder().server("images", FakeUpstream::legacy());
    let builder = builder
        .server("notes", FakeUpstream::modern())
        .limits(limits);
    let world = builder.start(POLICY).await;
    let stranger = world.stranger();
    let large = format!(
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(70 << 10)
    );
    let answer = stranger.raw(large).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{:.100}", answer);
    let many = format!(
        "GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        "x: y\r\n".repeat(200)
    );
    let answer = stranger.raw(many).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{:.100}", answer);
    // The gateway ends these by itself: `raw` keeps its side open.
    for slow in ["", "G", "GET /health HTTP/1.1\r\nhost: loc"] {
        let answer = stranger.raw(slow).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    let answer = stranger.raw("NONSENSE\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    world.stop().await;
}
