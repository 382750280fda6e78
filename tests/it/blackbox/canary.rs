//! Secrets planted wherever one can come from, and then looked for in everything the program leaves behind.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::Request;
use serde_json::json;

use super::agent::Agent;
use super::gateway::Site;
use super::records::Records;
use super::truth::Truth;

/// The token of the agent, made by hand, so that it cannot be known by its looks.
const TOKEN: &str = "kestrel/over-the+meadow";
/// Stands in a header to the server.
const HEADER: &str = "wren:in=the?thicket";
/// Stands in the environment of a child process.
const CHILD: &str = "lapwing \"near\" the pond";
/// Stands in the arguments under a key that says so.
const PASSWORD: &str = "plover5";
/// Stands in the arguments, and is known by its looks: a token of ours that belongs to nobody here.
const FOREIGN: &str = "hwd_tBnfaudbV1ZIM5og8jwr4TYggPtR377fieku5v271mrXI3";

const CANARIES: [&str; 5] = [TOKEN, HEADER, CHILD, PASSWORD, FOREIGN];

fn rules(truth: &Truth, agent: &Agent) -> String {
    // The child says its secret on standard error, on standard output where a message belongs, and in what it wants.
    let says = r#"printf '%s\n' "$SECRET" >&2; printf '%s\n' "$SECRET"; while read -r line; do printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"%s"}}\n' "$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')" "$QUOTED"; done"#;
    json!({
        "defaults": {"capture": "full", "timezone": "UTC"},
        "servers": {
            "truth": {"url": truth.url(), "headers": {"Authorization": "Bearer ${HEADER}"}, "budgets": ["9/day"]},
            "child": {
                "command": "/bin/sh", "args": ["-c", says.replace('$', "$$")], "protocol": "legacy",
                "env": {"SECRET": "${CHILD}", "QUOTED": "${QUOTED}", "PATH": "/usr/bin:/bin"},
            },
        },
        "deny": ["truth/forbidden*"],
        "agents": {"a": {"token_hash": agent.token_hash(), "servers": ["truth", "child"]}},
    })
    .to_string()
}

/// Everything in the folder but the rules.
fn left_behind(site: &Site) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(site.db().parent().unwrap()).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let kept = paths.filter(|path| !path.ends_with("permissions.yaml") && path.is_file());
    kept.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

/// All that can be found of a secret in a text, whatever stands around it.
fn forms(secret: &str) -> Vec<String> {
    let escape = |upper: bool| {
        let bytes = secret.bytes();
        let escaped = bytes.map(|byte| {
            if upper {
                format!("%{byte:02X}")
            } else {
                format!("%{byte:02x}")
            }
        });
        escaped.collect::<String>()
    };
    let quoted = serde_json::Value::from(secret).to_string();
    let mut forms = vec![
        secret.to_owned(),
        quoted.trim_matches('"').to_owned(),
        escape(true),
        escape(false),
    ];
    for before in 0..3 {
        let whole = format!("{}{secret}", "x".repeat(before));
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let text = engine.encode(&whole);
            // Without the characters that also hold something of what stands around it.
            let first = (before * 8).div_ceil(6);
            forms.push(text[first..whole.len() * 8 / 6].to_owned());
        }
    }
    forms
}

fn assert_clean(what: &str, bytes: &[u8]) {
    for form in CANARIES.into_iter().flat_map(forms) {
        let found = bytes
            .windows(form.len())
            .any(|part| part == form.as_bytes());
        assert!(
            !found,
            "`{form}` stands in {what}: {}",
            String::from_utf8_lossy(bytes)
        );
    }
}

fn assert_nothing_left_behind(site: &Site) {
    let files = left_behind(site);
    let has = |end: &str| files.iter().any(|(path, _)| Path::new(path).ends_with(end));
    assert!(has("hayward.db"), "{files:?}");
    for (path, bytes) in files {
        assert_clean(&path, &bytes);
    }
}

#[tokio::test]
async fn no_secret_stays_in_files_or_log_lines_in_any_encoding_and_every_answer_is_whole() {
    let truth = Truth::start().await;
    let agent = Agent::new(TOKEN);
    let site = Site::new(&rules(&truth, &agent));
    let quoted = serde_json::Value::from(CHILD).to_string();
    let variables = [
        ("HEADER", HEADER),
        ("CHILD", CHILD),
        ("QUOTED", quoted.trim_matches('"')),
    ];
    let gateway = site.serve_with(&["--log-level", "trace"], &variables).await;
    let arguments = json!({
        "tag": format!("client {HEADER}"),
        "password": PASSWORD,
        "deep": {"said": format!("my token is {TOKEN}, another {FOREIGN}")},
        "nested": json!({"Password": PASSWORD, "token": TOKEN}).to_string(),
    });
    // Keys are told apart in JSON alone: what the server makes of the text is its own.
    for tool in ["leak", "leak_error"] {
        let mut given = arguments.clone();
        let without = ["password", "nested"].map(|key| given.as_object_mut().unwrap().remove(key));
        assert!(without.iter().all(Option::is_some));
        let answer = agent
            .call(&gateway.url(), "truth", tool, given)
            .await
            .unwrap();
        let answer = answer.body.to_string();
        for secret in [TOKEN, HEADER, FOREIGN] {
            assert!(
                answer.contains(secret),
                "answers pass as they are: {answer}"
            );
        }
    }
    agent
        .call(&gateway.url(), "truth", "echo", arguments.clone())
        .await
        .unwrap();
    let odd = format!("forbidden {FOREIGN}");
    agent
        .call(&gateway.url(), "truth", &odd, json!({"tag": TOKEN}))
        .await
        .unwrap();
    agent
        .call(&gateway.url(), "child", "any", arguments)
        .await
        .unwrap();
    let stray = Request::post(format!("{}/mcp", gateway.url()))
        .header("authorization", format!("Bearer {TOKEN}"))
        .header("content-type", "application/json")
        .header("x-session-id", "a-session-hwd_0123456789abcdef")
        .body(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"no/{FOREIGN}"}}"#).into());
    agent.send(stray.unwrap()).await.unwrap();
    assert_nothing_left_behind(&site);
    let ended = gateway.stop().await;
    ended.says(0, &["[redacted:secret:"]);
    assert_clean(
        "the log of the process",
        format!("{}{}", ended.out, ended.err).as_bytes(),
    );
    assert_nothing_left_behind(&site);

    let records = Records::read(&site.db()).await;
    let texts: Vec<String> = records
        .events
        .iter()
        .map(|event| event.meta.to_string())
        .collect();
    for said in ["client", "error", "message", "method", "session"] {
        let of_key = format!("\"{said}\":");
        let found = texts.iter().filter(|text| text.contains(&of_key));
        let mut found = found.filter(|text| text.contains("[redacted:"));
        assert!(
            found.next().is_some(),
            "nothing was taken out of `{said}`: {texts:#?}"
        );
    }
    site.run(&["audit", "verify"]).await.says(0, &[]);
}
