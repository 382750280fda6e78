//! What is allowed and yet seldom meant.

use super::super::*;
use super::dedented;
use crate::types::Timestamp;

/// 2026-11-20, at noon.
const NOW: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);

const HASH: &str = "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee";
const OTHER: &str = "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3";

fn advised(text: &str) -> Vec<Diagnostic> {
    let text = dedented(text).replace("HASH", HASH).replace("OTHER", OTHER);
    let loaded = parse("permissions.yaml", &text, &|_| Some("x".into()));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    loaded.advice(NOW)
}

fn said(text: &str) -> String {
    let advised = advised(text);
    let each = advised.iter().map(Diagnostic::to_string);
    each.collect::<Vec<_>>().join("\n\n")
}

/// The codes of what is said about the grants of one agent at the servers `a` and `b`.
fn codes(grants: &str, rest: &str) -> Vec<&'static str> {
    let text = format!(
        "defaults: {{timezone: UTC}}\nservers:\n  a: {{url: 'http://a/'}}\n  b: {{url: 'http://b/'}}\n{rest}\nagents:\n  x:\n    token_hash: {HASH}\n    {grants}\n"
    );
    advised(&text)
        .iter()
        .map(|found| found.code().as_str())
        .collect()
}

#[test]
fn each_is_told_with_its_line_and_what_to_do() {
    let text = r#"
        defaults: {timezone: UTC}
        servers:
          open: {url: "http://api.example.com/mcp"}
          files: {command: npx, args: [-y, "@scope/files", /data]}
        deny: ["files/write_*"]
        agents:
          x:
            token_hash: [{hash: "HASH", expires: 2026-11-21}, {hash: "OTHER", expires: 2026-11-19}]
            servers:
              - "*"
              - {server: files, tools: [write_file]}
              - {server: open, tools: [send], budgets: [2/day], expires: 2027-06-30}
        "#;
    insta::assert_snapshot!(said(text), @r#"
    warning[P061]: server `open` is reached by plain http, at a host that is not private
     --> permissions.yaml:3:3
      |
    3 |   open: {url: "http://api.example.com/mcp"}
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: use https: its headers, and all arguments and results, can be read on the way

    warning[P062]: server `files` runs whatever version of `@scope/files` is newest
     --> permissions.yaml:4:3
      |
    4 |   files: {command: npx, args: [-y, "@scope/files", /data]}
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: write the version behind it, such as `name@1.2.3`, so that only a change of this file changes what runs

    warning[P063]: `agents.x.token_hash[0]` ends soon, at 2026-11-22T00:00:00+00:00
     --> permissions.yaml:8:5
      |
    8 |     token_hash: [{hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", expires: 2026-11-21}, {hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", expires: 2026-11-19}]
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: give it a later end, if it is still needed

    warning[P064]: `agents.x.token_hash[1]` ended at 2026-11-20T00:00:00+00:00
     --> permissions.yaml:8:5
      |
    8 |     token_hash: [{hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", expires: 2026-11-21}, {hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", expires: 2026-11-19}]
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: take it away, or give it a later end

    warning[P060]: `agents.x.servers[0]` grants everything on every server, also on those added later
      --> permissions.yaml:10:7
       |
    10 |       - "*"
       |       ^^^^^
       |
       = note: name the servers; if it is meant, check with `--allow P060`

    warning[P023]: `agents.x.servers[1]` grants nothing: all of it is denied
      --> permissions.yaml:11:7
       |
    11 |       - {server: files, tools: [write_file]}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = note: take it away, or the denial

    warning[P024]: when `agents.x.servers[2]` ends, `agents.x.servers[0]` goes on without its budget
      --> permissions.yaml:12:7
       |
    12 |       - {server: open, tools: [send], budgets: [2/day], expires: 2027-06-30}
       |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
       = note: let both end, or put the budget on the agent or the server
    "#);
}

#[test]
fn the_shipped_file_has_one_grant_to_ask_about_and_nothing_else() {
    let loaded = review("permissions.yaml", EXAMPLE).unwrap();
    let codes: Vec<&str> = loaded
        .advice(NOW)
        .iter()
        .map(|found| found.code().as_str())
        .collect();
    assert_eq!(codes, ["P060"]);
}

#[test]
fn a_grant_that_decides_nothing_is_found_and_others_are_left_alone() {
    let table = [
        ("servers: [a]", "deny: ['a/*']", vec!["P023"]),
        ("servers: [a]", "deny: ['a/x*']", vec![]),
        (
            "servers: ['*']",
            "deny: ['a/*', 'b/*']",
            vec!["P060", "P023"],
        ),
        (
            "servers: [{server: a, tools: [xy, xz*]}]",
            "deny: ['*/x*']",
            vec!["P023"],
        ),
        (
            "servers: [{server: a, tools: [xy, z]}]",
            "deny: ['*/x*']",
            vec![],
        ),
        ("servers: [{server: a, tools: []}]", "deny: ['a/*']", vec![]),
        ("servers: ['a*', a]", "", vec!["P023"]),
        ("servers: ['*', a]", "", vec!["P060"]),
        ("servers: [{server: 'a*', tools: [x]}, a]", "", vec!["P023"]),
        ("servers: [{server: a, tools: [x]}, a]", "", vec![]),
        (
            "servers: [{server: a, tools: ['xy*']}, {server: a, tools: ['x*']}]",
            "",
            vec![],
        ),
        (
            "servers: ['a*', {server: a, expires: 2027-01-01}]",
            "",
            vec![],
        ),
        (
            "roles: [r]\n    servers: [a]",
            "roles: {r: {servers: [a]}}",
            vec![],
        ),
    ];
    for (grants, rest, expected) in table {
        assert_eq!(codes(grants, rest), expected, "{grants} {rest}");
    }
}

#[test]
fn a_budget_that_ends_before_its_grant_is_replaced_is_found() {
    let ends = "{server: a, tools: [x], budgets: [2/day], expires: 2027-06-30}";
    let table = [
        (format!("servers: [{ends}, a]"), vec!["P024"]),
        (
            format!("servers: [{ends}, {{server: a, tools: ['x*']}}]"),
            vec!["P024"],
        ),
        (
            format!("servers: [{ends}, {{server: a, tools: ['y*']}}]"),
            vec![],
        ),
        (format!("servers: [{ends}, b]"), vec![]),
        (
            format!("servers: [{ends}, {{server: a, budgets: [9/day]}}]"),
            vec![],
        ),
        (
            format!("servers: [{ends}, {{server: a, expires: 2027-06-30}}]"),
            vec![],
        ),
    ];
    for (grants, expected) in table {
        assert_eq!(codes(&grants, ""), expected, "{grants}");
    }
}

#[test]
fn an_agent_that_is_switched_off_is_left_alone_and_a_role_is_spoken_of_once() {
    let off = codes("disabled: true\n    servers: ['*']", "");
    assert!(off.is_empty(), "{off:?}");
    let text = format!(
        "servers: {{a: {{url: 'http://a/'}}}}\nroles: {{r: {{servers: ['*']}}}}\nagents:\n  x: {{token_hash: {HASH}, roles: [r]}}\n  y: {{token_hash: {OTHER}, roles: [r]}}\n"
    );
    assert_eq!(advised(&text).len(), 1);
}
