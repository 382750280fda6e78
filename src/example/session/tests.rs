//! What clients of each revision get.

use super::*;
use crate::example::{images, notes};

fn parse(lines: Vec<String>) -> Vec<Value> {
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn opened(server: &'static Server, version: &str) -> Session {
    let mut session = Session::new(server);
    let opening = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}});
    session.receive(opening.to_string().as_bytes());
    session
}

/// Everything a client before 2026-07-28 gets for one request.
fn legacy(server: &'static Server, method: &str, params: Value) -> Vec<Value> {
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    let mut session = opened(server, "2025-06-18");
    parse(session.receive(request.to_string().as_bytes()))
}

/// Everything a client of 2026-07-28 gets for one request.
fn modern(server: &'static Server, method: &str, mut params: Value) -> Vec<Value> {
    params["_meta"][PROTOCOL_VERSION] = "2026-07-28".into();
    params["_meta"][CLIENT_CAPABILITIES] = json!({});
    let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
    parse(Session::new(server).receive(request.to_string().as_bytes()))
}

fn only(mut lines: Vec<Value>) -> Value {
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn a_session_opens_with_the_version_asked_for_or_the_latest_before_2026() {
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let params = json!({"protocolVersion": asked, "capabilities": {}});
        let answer = only(legacy(&images::SERVER, "initialize", params));
        let result = &answer["result"];
        assert_eq!(result["protocolVersion"], agreed);
        assert_eq!(result["serverInfo"]["name"], "images");
        assert_eq!(result["capabilities"]["prompts"], Value::Null);
    }
}

#[test]
fn discover_tells_what_the_server_is() {
    let result = only(modern(&notes::SERVER, "server/discover", json!({})))["result"].take();
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["cacheScope"], "public");
    assert_eq!(result["ttlMs"], TTL_MS);
    assert_eq!(result["_meta"][SERVER_INFO]["name"], "notes");
    assert_eq!(result["capabilities"]["prompts"], json!({}));
}

#[test]
fn a_request_says_its_revision_or_belongs_to_a_session() {
    let meta = |meta: Value| json!({"_meta": meta});
    for (params, code) in [
        (json!({}), -32602),
        (meta(json!({PROTOCOL_VERSION: "2026-07-28"})), -32602),
        (
            meta(json!({PROTOCOL_VERSION: 20260728, CLIENT_CAPABILITIES: {}})),
            -32602,
        ),
        (
            meta(json!({PROTOCOL_VERSION: "2025-11-25", CLIENT_CAPABILITIES: {}})),
            -32022,
        ),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params});
        let answer = parse(Session::new(&notes::SERVER).receive(request.to_string().as_bytes()));
        assert_eq!(only(answer)["error"]["code"], code, "{params}");
    }
}

#[test]
fn methods_belong_to_their_revision() {
    for method in ["server/discover", "subscriptions/listen", "nonsense"] {
        let answer = only(legacy(&notes::SERVER, method, json!({})));
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for method in ["ping", "initialize", "logging/setLevel", "nonsense"] {
        let answer = only(modern(&notes::SERVER, method, json!({})));
        assert_eq!(answer["error"]["code"], -32601, "{method}");
    }
    for method in ["prompts/list", "prompts/get"] {
        let answer = only(modern(&images::SERVER, method, json!({"name": "x"})));
        assert_eq!(answer["error"]["code"], -32601, "not offered: {method}");
    }
}

#[test]
fn results_have_the_shape_of_their_revision() {
    let list = only(legacy(&images::SERVER, "tools/list", json!({})));
    assert_eq!(list["result"].as_object().unwrap().len(), 1);
    let names: Vec<&Value> = list["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["name"])
        .collect();
    assert_eq!(names, ["imagine", "describe", "blend"]);

    let list = only(modern(&images::SERVER, "tools/list", json!({})));
    assert_eq!(list["result"]["cacheScope"], "public");
    let call = json!({"name": "describe", "arguments": {"image": "picture://rings/sea"}});
    let call = only(modern(&images::SERVER, "tools/call", call));
    assert_eq!(call["result"]["resultType"], "complete");
    assert_eq!(call["result"]["ttlMs"], Value::Null);
}

#[test]
fn imagine_draws_tells_its_progress_and_returns_a_picture() {
    let call = json!({"name": "imagine", "arguments": {"prompt": "a red boat", "style": "waves"},
        "_meta": {"progressToken": 12345678901234567890_u64}});
    for lines in [
        legacy(&images::SERVER, "tools/call", call.clone()),
        modern(&images::SERVER, "tools/call", call),
    ] {
        let (answer, told) = lines.split_last().unwrap();
        let steps: Vec<&Value> = told
            .iter()
            .map(|line| &line["params"]["progress"])
            .collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(
            told[0]["params"]["progressToken"],
            12_345_678_901_234_567_890_u64
        );
        let content = &answer["result"]["content"];
        assert_eq!(
            content[0]["text"],
            "Drew “a red boat” in waves: picture://waves/a%20red%20boat"
        );
        assert_eq!(content[1]["mimeType"], "image/png");
        assert!(
            content[1]["data"]
                .as_str()
                .unwrap()
                .starts_with("iVBORw0KGgo")
        );
    }
}

#[test]
fn a_tool_that_cannot_do_it_says_why_in_a_sentence() {
    for (server, name, arguments, says) in [
        (
            &images::SERVER,
            "imagine",
            json!({}),
            "The argument `prompt` is missing",
        ),
        (
            &images::SERVER,
            "imagine",
            json!({"prompt": 3}),
            "The argument `prompt` must be a text",
        ),
        (
            &images::SERVER,
            "imagine",
            json!({"prompt": ""}),
            "must be a text of 1 to 500",
        ),
        (
            &images::SERVER,
            "imagine",
            json!({"prompt": "x", "stile": "waves"}),
            "There is no argument `stile`; there is `prompt`, `style`.",
        ),
        (
            &images::SERVER,
            "imagine",
            json!({"prompt": "x", "style": "oil"}),
            "There is no style `oil`; there is mosaic, rings, waves.",
        ),
        (
            &images::SERVER,
            "describe",
            json!({"image": "boat.png"}),
            "`boat.png` is no picture",
        ),
        (
            &images::SERVER,
            "blend",
            json!({"images": ["picture://rings/a"]}),
            "a list of 2 to 4 texts",
        ),
        (
            &notes::SERVER,
            "search",
            json!({"query": "?!"}),
            "at least one word",
        ),
        (
            &notes::SERVER,
            "read",
            json!({"id": "nothing"}),
            "There is no note `nothing`; there is hayward, commons,",
        ),
    ] {
        let params = json!({"name": name, "arguments": arguments});
        let result = only(legacy(server, "tools/call", params))["result"].take();
        assert_eq!(result["isError"], true);
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_call_that_makes_no_sense_is_an_error_of_the_protocol() {
    for params in [
        json!({}),
        json!({"name": 1}),
        json!({"name": "paint", "arguments": {}}),
        json!({"name": "imagine", "arguments": []}),
    ] {
        let answer = only(modern(&images::SERVER, "tools/call", params.clone()));
        assert_eq!(answer["error"]["code"], -32602, "{params}");
    }
}

#[test]
fn notes_are_found_and_read() {
    let params = json!({"name": "search", "arguments": {"query": "Limit window"}});
    let result = only(legacy(&notes::SERVER, "tools/call", params))["result"].take();
    let found = result["structuredContent"]["notes"].as_array().unwrap();
    let ids: Vec<&Value> = found.iter().map(|note| &note["id"]).collect();
    assert_eq!(ids, ["refusals"], "only where both words occur: {found:?}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(
        text.starts_with("refusals: How to read a refusal. "),
        "{text}"
    );
    let params = json!({"name": "read", "arguments": {"id": "ostrom"}});
    let result = only(legacy(&notes::SERVER, "tools/call", params))["result"].take();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("Governing the Commons"), "{text}");
}

#[test]
fn a_list_longer_than_a_page_goes_on_where_its_cursor_says() {
    let mut uris = Vec::new();
    let mut params = json!({});
    loop {
        let page = only(legacy(&notes::SERVER, "resources/list", params.clone()))["result"].take();
        let items = page["resources"].as_array().unwrap();
        uris.extend(items.iter().map(|item| item["uri"].clone()));
        match page.get("nextCursor") {
            Some(cursor) => params["cursor"] = cursor.clone(),
            None => break,
        }
    }
    assert_eq!(uris.len(), 7);
    for cursor in [json!("x"), json!("0"), json!("99"), json!(5)] {
        let params = json!({"cursor": cursor});
        let answer = only(legacy(&notes::SERVER, "resources/list", params));
        assert_eq!(answer["error"]["code"], -32602, "{cursor}");
    }
}

#[test]
fn resources_are_read_and_what_is_not_there_has_the_code_of_the_revision() {
    let uri = json!({"uri": "note:///mcp"});
    let contents = only(modern(&notes::SERVER, "resources/read", uri))["result"]["contents"].take();
    assert_eq!(contents[0]["mimeType"], "text/markdown");
    let uri = json!({"uri": "picture://waves/sea"});
    let contents =
        only(legacy(&images::SERVER, "resources/read", uri))["result"]["contents"].take();
    assert!(contents[0]["blob"].is_string());
    let uri = json!({"uri": "note:///nothing"});
    for (answer, code) in [
        (
            legacy(&notes::SERVER, "resources/read", uri.clone()),
            -32002,
        ),
        (
            modern(&notes::SERVER, "resources/read", uri.clone()),
            -32602,
        ),
    ] {
        let error = only(answer)["error"].take();
        assert_eq!((&error["code"], &error["data"]), (&json!(code), &uri));
    }
}

#[test]
fn the_prompt_and_the_completions() {
    let params = json!({"name": "explain", "arguments": {"id": "mcp", "audience": "a cook"}});
    let result = only(modern(&notes::SERVER, "prompts/get", params))["result"].take();
    let text = result["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("to a cook,"), "{text}");
    let params = json!({"name": "explain", "arguments": {}});
    let error = only(modern(&notes::SERVER, "prompts/get", params))["error"].take();
    assert_eq!(error["code"], -32602);
    let params = json!({"ref": {"type": "ref/prompt", "name": "explain"}, "argument": {"name": "id", "value": "co"}});
    let result = only(legacy(&notes::SERVER, "completion/complete", params))["result"].take();
    assert_eq!(result["completion"]["values"], json!(["commons"]));
    let params = json!({"ref": {"type": "ref/prompt", "name": "explain"}, "argument": {"name": "x", "value": ""}});
    let error = only(legacy(&notes::SERVER, "completion/complete", params))["error"].take();
    assert_eq!(error["code"], -32602);
}

#[test]
fn a_log_line_comes_only_to_who_asked_for_it() {
    let call = json!({"name": "read", "arguments": {"id": "mcp"}});
    only(legacy(&notes::SERVER, "tools/call", call.clone()));
    only(modern(&notes::SERVER, "tools/call", call.clone()));
    let mut asking = call.clone();
    asking["_meta"] = json!({LOG_LEVEL: "debug"});
    let lines = modern(&notes::SERVER, "tools/call", asking);
    assert_eq!(lines[0]["method"], "notifications/message");
    let mut session = opened(&notes::SERVER, "2025-11-25");
    let mut lines = |method: &str, params: &Value| {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        session.receive(request.to_string().as_bytes()).len()
    };
    for (level, wanted) in [("info", 2), ("warning", 1), ("debug", 2)] {
        assert_eq!(lines("logging/setLevel", &json!({"level": level})), 1);
        assert_eq!(lines("tools/call", &call), wanted, "{level}");
    }
}

#[test]
fn what_is_no_message_is_refused_and_what_asks_nothing_is_not_answered() {
    for (line, code) in [("{", -32700), ("[]", -32600), (r#"{"id":1}"#, -32600)] {
        for mut session in [
            Session::new(&notes::SERVER),
            opened(&notes::SERVER, "2025-06-18"),
        ] {
            let answer = only(parse(session.receive(line.as_bytes())));
            assert_eq!(answer["error"]["code"], code, "{line}");
            assert_eq!(answer.get("id").is_some(), session.opened.is_some());
        }
    }
    for line in [
        "",
        " \r",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
    ] {
        assert!(
            Session::new(&notes::SERVER)
                .receive(line.as_bytes())
                .is_empty()
        );
    }
}

#[test]
fn batches_are_for_2025_03_26_only() {
    let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":2,"method":"y"}]"#;
    let answers = only(parse(opened(&notes::SERVER, "2025-03-26").receive(batch)));
    assert_eq!(answers.as_array().unwrap().len(), 2);
    assert_eq!(answers[1]["error"]["code"], -32601);
    let answer = only(parse(opened(&notes::SERVER, "2025-11-25").receive(batch)));
    assert_eq!(answer["error"]["code"], -32600);
    let silent = br#"[{"jsonrpc":"2.0","method":"x"}]"#;
    assert!(
        opened(&notes::SERVER, "2025-03-26")
            .receive(silent)
            .is_empty()
    );
    let answer = only(parse(opened(&notes::SERVER, "2025-03-26").receive(b"[]")));
    assert_eq!(answer["error"]["code"], -32600);
}
