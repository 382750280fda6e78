//! The help knows every word there is, and so does what programs are told.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};
use serde_json::Value;

use super::get;
use super::sample::Sample;
use crate::dashboard::help::KEYS;
use crate::dashboard::reasons::{REASONS, meaning};
use crate::dashboard::twins::Form;
use crate::dashboard::{Access, lists, pages};

/// The words in double quotes of a function, from its head to the end of its body.
fn words_of(source: &str, head: &str) -> BTreeSet<String> {
    let (_, rest) = source.split_once(head).unwrap();
    let indent = "\n    }\n";
    let body = rest.split_once(indent).map_or(rest, |(body, _)| body);
    let body = body.split_once("\n}\n").map_or(body, |(body, _)| body);
    let words = body.split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_reason_of_the_program_is_explained_and_no_other() {
    let sources = [
        (
            include_str!("../../gateway/failure.rs"),
            "pub fn reason(&self) -> &'static str {",
        ),
        (
            include_str!("../../gateway/refusal.rs"),
            "pub fn reason(&self) -> &'static str {",
        ),
        (
            include_str!("../../gateway/door.rs"),
            "pub fn reason(&self) -> &'static str {",
        ),
        (
            include_str!("../../gateway/repeats.rs"),
            "fn reason(repeated: &Repeated) -> &'static str {",
        ),
        (
            include_str!("../../policy/decide.rs"),
            "impl DenialReason {",
        ),
    ];
    let mut known: BTreeSet<String> = sources
        .into_iter()
        .flat_map(|(source, head)| words_of(source, head))
        .collect();
    // A result that is given a second time is an event like a refusal.
    known.insert("replayed".into());
    let told: BTreeSet<String> = REASONS
        .iter()
        .map(|(code, _, _)| (*code).to_owned())
        .collect();
    assert_eq!(told, known);
    assert_eq!(told.len(), REASONS.len(), "each once");
    assert!(meaning("budget").is_some() && meaning("of_tomorrow").is_none());
    let router = Sample::empty().await.router(Access::Open).await;
    let page = get(&router, "/audit/help").await.body;
    for (code, _, words) in REASONS {
        assert!(
            page.contains(&format!("<code>{code}</code></a></th><td>{words}")),
            "{code}"
        );
    }
}

#[tokio::test]
async fn the_keys_are_those_of_the_script_and_can_be_switched_off() {
    let script = include_str!("../../../templates/script.js");
    let (_, keys) = script.split_once("const keys = {").unwrap();
    let (keys, _) = keys.split_once("\n  };").unwrap();
    let before_arrow = keys.split(": () =>").filter_map(|part| {
        let word = part
            .rsplit([',', '\n', ' '])
            .find(|word| !word.is_empty())?;
        Some(word.trim_matches('"').to_owned())
    });
    let in_script: BTreeSet<String> = before_arrow.filter(|word| word.len() == 1).collect();
    let told = KEYS.iter().map(|(key, _)| (*key).to_owned());
    // The browser itself opens a link that is focused.
    let told: BTreeSet<String> = told.filter(|key| key != "Enter").collect();
    assert_eq!(
        told,
        &in_script - &BTreeSet::from(["}".to_owned(), ";".to_owned()])
    );
    let router = Sample::empty().await.router(Access::Open).await;
    let page = get(&router, "/audit/help").await.body;
    assert!(page.contains("/audit/look?keys=off&amp;back=/audit/help"));
    let off = super::get_with(&router, "/audit/help", header::COOKIE, "hayward-keys=off").await;
    assert!(
        off.body
            .contains("/audit/look?keys=on&amp;back=/audit/help")
    );
}

#[tokio::test]
async fn the_description_for_programs_has_every_page_and_every_twin_with_its_columns() {
    let sample = Sample::busy().await;
    let router = sample.router(Access::Open).await;
    let answer = get(&router, "/audit/openapi.json").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), pages().len() + lists().len() * Form::ALL.len());
    for (path, _) in lists() {
        for form in Form::ALL {
            let name = format!("/audit{path}.{}", form.suffix());
            let get = &paths[&name]["get"];
            assert!(get["responses"]["503"].is_object(), "{name}");
        }
        let json = &paths[&format!("/audit{path}.json")]["get"]["responses"]["200"]["content"];
        let required = &json["application/json"]["schema"]["items"]["required"];
        if path.contains('{') {
            continue;
        }
        let required: Vec<&str> = required
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        let csv = get(&router, &format!("/audit{path}.csv?range=7d"))
            .await
            .body;
        assert_eq!(csv.lines().next().unwrap(), required.join(","), "{path}");
    }
    let parameters = document["components"]["parameters"].as_object().unwrap();
    for word in [
        "agent",
        "not-agent",
        "reason",
        "decision",
        "range",
        "from",
        "to",
        "tz",
    ] {
        assert!(parameters.contains_key(word), "{word}");
    }
    assert_eq!(parameters["not-tool"]["name"], "-tool");
    let closed = sample.router(Access::Viewers).await;
    let refused = get(&closed, "/audit/openapi.json").await;
    assert_eq!(refused.status, StatusCode::SEE_OTHER);
}
