//! `when:` of grants: what is read, and what is said about conditions that are wrong.

use super::super::*;
use super::{dedented, said};
use crate::policy::{self, Decision, DenialReason, Question, Target};
use crate::types::Timestamp;

const HASH: &str = "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee";

fn file(when: &str) -> String {
    format!(
        "servers: {{a: {{url: 'http://a/'}}}}\nagents:\n  x:\n    token_hash: {HASH}\n    servers:\n      - server: a\n        tools: [t]\n        when: {when}\n"
    )
}

/// Why a call is refused under a condition; empty when it is not.
fn refused(when: &str, arguments: &str) -> String {
    let loaded = parse("permissions.yaml", &file(when), &|_| None);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let rules = &loaded.permissions;
    let question = Question {
        agent: rules.agents().values().next().unwrap(),
        server: &"a".parse().unwrap(),
        target: Target::Tool("t"),
        arguments: Some(arguments),
        at: Timestamp::from_micros(0),
        peer: None,
    };
    match policy::decide(rules, &question) {
        Decision::Allowed(_) => String::new(),
        Decision::Denied(denial) => {
            assert_eq!(denial.reason, DenialReason::Condition);
            assert!(
                denial.reasons[0]
                    .place
                    .path
                    .starts_with("agents.x.servers[0].when.")
            );
            denial.detail.unwrap()
        }
    }
}

#[test]
fn every_operator_is_read() {
    let table = [
        ("{x: {equals: acme}}", r#"{"x":"acme"}"#, r#"{"x":"beta"}"#),
        ("{x: {in: [a, 4]}}", r#"{"x":4}"#, r#"{"x":5}"#),
        ("{x: {not_in: [a, 4]}}", r#"{"x":5}"#, r#"{"x":"a"}"#),
        ("{x: {matches: '^a+$'}}", r#"{"x":"aaa"}"#, r#"{"x":"aab"}"#),
        (
            "{x: {not_matches: '(?i)secret'}}",
            r#"{"x":"open"}"#,
            r#"{"x":"a SECRET"}"#,
        ),
        (
            "{x: {starts_with: /data}}",
            r#"{"x":"/data/a"}"#,
            r#"{"x":"/data/../etc"}"#,
        ),
        ("{x: {min: 1}}", r#"{"x":1}"#, r#"{"x":0.9}"#),
        ("{x: {max: 4}}", r#"{"x":4}"#, r#"{"x":4.1}"#),
        ("{x: {max_length: 2}}", r#"{"x":"ab"}"#, r#"{"x":"abc"}"#),
        ("{x: {max_items: 1}}", r#"{"x":[1]}"#, r#"{"x":[1,2]}"#),
        ("{x: {absent: true}}", r#"{"y":1}"#, r#"{"x":1}"#),
        ("{x: {max: 4, optional: true}}", "{}", r#"{"x":5}"#),
        ("{x: {max: 4, optional: false}}", r#"{"x":4}"#, "{}"),
        (
            "{/o/0/n: {equals: 1}}",
            r#"{"o":[{"n":1}]}"#,
            r#"{"o":[{"n":2}]}"#,
        ),
        (
            "{x: {min: 1, max: 2}, y: {max: 3}}",
            r#"{"x":2,"y":3}"#,
            r#"{"x":2,"y":4}"#,
        ),
    ];
    for (when, right, wrong) in table {
        assert_eq!(refused(when, right), "", "{when}");
        assert_ne!(refused(when, wrong), "", "{when}");
    }
    let said = refused("{count: {max: 4, optional: true}}", r#"{"count":9}"#);
    assert_eq!(said, "argument `count` must be at most 4");
}

#[test]
fn conditions_that_are_none() {
    let wrong = [
        "{x: acme}",
        "{x: {}}",
        "{x: {optional: true}}",
        "{x: {maximum: 4}}",
        "{x: {matches: '(a'}}",
        "{x: {matches: '(\\w{1000}){1000}'}}",
        "{x: {max: four}}",
        "{x: {max_length: -1}}",
        "{x: {in: []}}",
        "{x: {absent: false}}",
        "{x: {starts_with: /data/../etc}}",
        "{x: {min: 5, max: 4}}",
        "{x: {absent: true, equals: a}}",
        "{x: {equals: a, not_in: [a]}}",
        "{/x~2: {max: 4}}",
        "{x: {max: 4}, /x: {min: 1}}",
        "{}",
        "[x]",
    ];
    let each: Vec<String> = wrong.iter().map(|when| said(&file(when))).collect();
    insta::assert_snapshot!(each.join("\n\n"), @r"
    error[P006]: the condition on `x` must be a mapping, not text
     --> permissions.yaml:8:19
      |
    8 |         when: {x: acme}
      |                   ^^^^
      |
      = note: if it must be just that, write `{equals: acme}`

    error[P006]: the condition on `x` asks for nothing
     --> permissions.yaml:8:16
      |
    8 |         when: {x: {}}
      |                ^
      |
      = note: its keys are equals, in, not_in, matches, not_matches, starts_with, min, max, max_length, max_items, absent, optional

    error[P006]: the condition on `x` asks for nothing
     --> permissions.yaml:8:16
      |
    8 |         when: {x: {optional: true}}
      |                ^
      |
      = note: its keys are equals, in, not_in, matches, not_matches, starts_with, min, max, max_length, max_items, absent, optional

    error[P002]: unknown key `maximum` in the condition on `x`
     --> permissions.yaml:8:20
      |
    8 |         when: {x: {maximum: 4}}
      |                    ^^^^^^^
      |
      = note: the keys are equals, in, not_in, matches, not_matches, starts_with, min, max, max_length, max_items, absent, optional

    error[P040]: `(a` is not a regular expression: unclosed group
     --> permissions.yaml:8:30
      |
    8 |         when: {x: {matches: '(a'}}
      |                              ^^
      |
      = note: as the Rust crate `regex` has them: no look-around, no back-references

    error[P040]: `(\w{1000}){1000}` is not a regular expression: it is too large once compiled
     --> permissions.yaml:8:30
      |
    8 |         when: {x: {matches: '(\w{1000}){1000}'}}
      |                              ^^^^^^^^^^^^^^^^
      |
      = note: as the Rust crate `regex` has them: no look-around, no back-references

    error[P030]: `four` is not a number
     --> permissions.yaml:8:25
      |
    8 |         when: {x: {max: four}}
      |                         ^^^^
      |
      = note: write it as JSON does, such as `4`, `-0.5` or `1e6`

    error[P030]: `-1` is not a whole number
     --> permissions.yaml:8:32
      |
    8 |         when: {x: {max_length: -1}}
      |                                ^^
      |
      = note: write one from 0 to 4294967295

    error[P040]: `in` of the condition on `x` names no value
     --> permissions.yaml:8:20
      |
    8 |         when: {x: {in: []}}
      |                    ^^
      |
      = note: write the values between `[` and `]`

    error[P040]: `absent` is only ever true
     --> permissions.yaml:8:20
      |
    8 |         when: {x: {absent: false}}
      |                    ^^^^^^
      |
      = note: leave it away where the argument may be there

    error[P040]: nothing may start with `/data/../etc`
     --> permissions.yaml:8:33
      |
    8 |         when: {x: {starts_with: /data/../etc}}
      |                                 ^^^^^^^^^^^^
      |
      = note: a path with `..` in it never passes, nor a URL with `\`, nor control characters: write where it really leads

    error[P040]: the condition on `x` cannot be met by any argument
     --> permissions.yaml:8:16
      |
    8 |         when: {x: {min: 5, max: 4}}
      |                ^ contradicts itself
      |
      = note: all that stands in one condition must hold at once

    error[P040]: the condition on `x` cannot be met by any argument
     --> permissions.yaml:8:16
      |
    8 |         when: {x: {absent: true, equals: a}}
      |                ^ contradicts itself
      |
      = note: all that stands in one condition must hold at once

    error[P040]: the condition on `x` cannot be met by any argument
     --> permissions.yaml:8:16
      |
    8 |         when: {x: {equals: a, not_in: [a]}}
      |                ^ contradicts itself
      |
      = note: all that stands in one condition must hold at once

    error[P040]: `/x~2` is no JSON Pointer
     --> permissions.yaml:8:16
      |
    8 |         when: {/x~2: {max: 4}}
      |                ^^^^
      |
      = note: what begins with `/` is one: `/options/count`; in a name, `~1` stands for `/` and `~0` for `~`

    error[P006]: argument `/x` has conditions twice
     --> permissions.yaml:8:29
      |
    8 |         when: {x: {max: 4}, /x: {min: 1}}
      |                - first here ^^
      |
      = note: join the two

    error[P006]: `when` without a condition
     --> permissions.yaml:8:9
      |
    8 |         when: {}
      |         ^^^^
      |
      = note: name an argument, such as `when: {count: {max: 4}}`, or leave `when` away

    error[P006]: `when` of a grant must be a mapping, not a list
     --> permissions.yaml:8:9
      |
    8 |         when: [x]
      |         ^^^^
    ");
}

#[test]
fn conditions_need_tools() {
    let text = r#"
        servers: {a: {url: "http://a/"}}
        agents:
          x:
            token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"
            servers: [{server: a, when: {x: {max: 4}}}]
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P006]: `when` without `tools`
     --> permissions.yaml:5:27
      |
    5 |     servers: [{server: a, when: {x: {max: 4}}}]
      |                           ^^^^
      |
      = note: conditions are about the arguments of tools: name these, or write `tools: ["*"]`
    "#);
}

fn beside(first: &str, second: &str) -> String {
    let text = format!(
        "
        defaults: {{timezone: UTC}}
        servers: {{a: {{url: \"http://a/\"}}}}
        agents:
          x:
            token_hash: \"{HASH}\"
            servers:
              - {{server: a, tools: [t], {first}}}
              - {{server: a, tools: [t], {second}}}
        "
    );
    said(&dedented(&text))
}

#[test]
fn grants_with_conditions_may_stand_side_by_side() {
    assert_eq!(
        beside(
            "when: {o: {equals: a}}",
            "when: {o: {equals: b}}, budgets: [2/day]"
        ),
        ""
    );
    assert_eq!(
        beside(
            "when: {o: {equals: a}}, budgets: [2/week]",
            "when: {o: {equals: b}}, budgets: [2/day]"
        ),
        ""
    );
    let one = beside("when: {o: {equals: a}}", "budgets: [2/day]");
    assert!(one.starts_with("error[P025]"), "{one}");
    let shared = beside(
        "when: {o: {equals: a}}, budgets: [3/day]",
        "when: {o: {equals: b}}, budgets: [2/day]",
    );
    insta::assert_snapshot!(shared, @"
    error[P033]: two grants of agent `x` that differ only in `when` would share one count
     --> permissions.yaml:8:18
      |
    7 |       - {server: a, tools: [t], when: {o: {equals: a}}, budgets: [3/day]}
      |                  - the other
    8 |       - {server: a, tools: [t], when: {o: {equals: b}}, budgets: [2/day]}
      |                  ^ same server and tools
      |
      = note: give each a pool of its own (`budgets:` at the top level), or put the limit on the agent or the server
    ");
    let rates = beside(
        "when: {o: {equals: a}}, rate: 3/minute",
        "when: {o: {equals: b}}, rate: 2/minute",
    );
    assert!(rates.starts_with("error[P033]"), "{rates}");
}
