//! `capture:` and `redact:`: the lesser one wins, names add up, and what is said of wrong ones.

use super::super::*;
use super::{dedented, said};
use crate::policy::{Capture, Keeping, keeping};

const FILE: &str = r#"
    defaults: {timezone: UTC, CAPTURE redact: [iban]}
    servers:
      plain: {url: "http://a/"}
      less: {url: "http://b/", capture: metadata}
      more: {url: "http://c/", capture: full, redact: [Kunden-Nummer, IBAN]}
    agents:
      plain: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [plain, less, more]}
      none: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", servers: [plain, less, more], capture: none}
      full: {token_hash: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", servers: [plain, less, more], capture: full}
    "#;

fn kept(default: &str, agent: &str, server: &str) -> Keeping {
    let text = dedented(FILE).replace("CAPTURE", default);
    let loaded = parse("permissions.yaml", &text, &|_| None);
    let rules = loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .permissions;
    keeping(&rules, &rules.agents()[agent], &server.parse().unwrap())
}

#[test]
fn the_lesser_of_agent_and_server_is_kept_and_metadata_where_nobody_says() {
    use Capture::{Arguments, Full, Metadata, None};
    let table = [
        ("", "plain", [Metadata, Metadata, Metadata]),
        ("", "none", [None, None, None]),
        ("", "full", [Metadata, Metadata, Full]),
        (
            "capture: arguments,",
            "plain",
            [Arguments, Metadata, Arguments],
        ),
        ("capture: arguments,", "full", [Arguments, Metadata, Full]),
        ("capture: none,", "plain", [None, None, None]),
    ];
    for (default, agent, expected) in table {
        let found = ["plain", "less", "more"].map(|server| kept(default, agent, server).capture);
        assert_eq!(found, expected, "{default} {agent}");
    }
}

#[test]
fn names_of_the_server_add_to_the_default_ones_and_to_those_on_every_list() {
    for (server, key, expected) in [
        ("plain", "password", true),
        ("plain", "IBAN", true),
        ("plain", "kunden_nummer", false),
        ("more", "iban", true),
        ("more", "kundenNummer", true),
        ("more", "password", true),
    ] {
        let found = kept("", "plain", server).redact.contains(key);
        assert_eq!(found, expected, "{server} {key}");
    }
}

#[test]
fn captures_and_names_that_are_none() {
    let text = r#"
        defaults: {capture: argument, redact: password}
        servers:
          a: {url: "http://a/", capture: everything, redact: ["__", iban, IBAN, {}]}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [a], redact: [x]}
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P006]: `argument` is none of none, metadata, arguments, full
     --> permissions.yaml:1:21
      |
    1 | defaults: {capture: argument, redact: password}
      |                     ^^^^^^^^
      |
    help: a similar one exists
      |
    1 | defaults: {capture: arguments, redact: password}
      |                             +

    error[P006]: `redact` of `defaults` must be a list, not text
     --> permissions.yaml:1:39
      |
    1 | defaults: {capture: argument, redact: password}
      |                                       ^^^^^^^^
      |
      = note: write the items between `[` and `]`, or each on a line behind `-`

    error[P006]: `everything` is none of none, metadata, arguments, full
     --> permissions.yaml:3:34
      |
    3 |   a: {url: "http://a/", capture: everything, redact: ["__", iban, IBAN, {}]}
      |                                  ^^^^^^^^^^

    error[P006]: `__` is no name of a key
     --> permissions.yaml:3:56
      |
    3 |   a: {url: "http://a/", capture: everything, redact: ["__", iban, IBAN, {}]}
      |                                                        ^^
      |
      = note: write whole names of keys, such as `iban`; case, `_` and `-` make no difference

    error[P006]: `IBAN` stands twice in one list
     --> permissions.yaml:3:67
      |
    3 |   a: {url: "http://a/", capture: everything, redact: ["__", iban, IBAN, {}]}
      |                                                                   ^^^^
      |
      = note: write whole names of keys, such as `iban`; case, `_` and `-` make no difference

    error[P006]: a name in `redact` must be text, not a mapping
     --> permissions.yaml:3:73
      |
    3 |   a: {url: "http://a/", capture: everything, redact: ["__", iban, IBAN, {}]}
      |                                                                         ^

    error[P002]: unknown key `redact` in agent `clawd`
     --> permissions.yaml:5:112
      |
    5 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [a], redact: [x]}
      |                                                                                                                ^^^^^^
      |
      = note: the keys are token_hash, servers, roles, description, owner, from, deny, budgets, rate, max_concurrent, disabled, refusals, ungranted, capture
    "#);
}
