//! Mistakes of writing: YAML itself, keys, kinds of values, characters that cannot be seen.

use super::said;

#[test]
fn an_agent_defined_twice() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
          bo: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"}
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["*"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P003]: agent `clawd` is defined twice
     --> permissions.yaml:4:3
      |
    2 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
      |   ----- first here
    3 |   bo: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"}
    4 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["*"]}
      |   ^^^^^ again here
      |
      = note: keep one of the two; which one was meant cannot be guessed
    "###);
}

#[test]
fn every_unknown_key_is_reported_with_the_nearest_known_one() {
    let text = r#"
        agents:
          clawd:
            token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"
            sevrers: ["*"]
            budget: 2/day
        rolls: {}
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P002]: unknown key `sevrers` in agent `clawd`
     --> permissions.yaml:4:5
      |
    4 |     sevrers: ["*"]
      |     ^^^^^^^
      |
      = note: the keys are token_hash, servers, roles, description, owner, from, deny, budgets, rate, max_concurrent, disabled, refusals, ungranted, capture
    help: a similar one exists
      |
    4 -     sevrers: ["*"]
    4 +     servers: ["*"]
      |

    error[P002]: unknown key `budget` in agent `clawd`
     --> permissions.yaml:5:5
      |
    5 |     budget: 2/day
      |     ^^^^^^
      |
      = note: the keys are token_hash, servers, roles, description, owner, from, deny, budgets, rate, max_concurrent, disabled, refusals, ungranted, capture
    help: a similar one exists
      |
    5 |     budgets: 2/day
      |           +

    error[P002]: unknown key `rolls` in a policy file
     --> permissions.yaml:6:1
      |
    6 | rolls: {}
      | ^^^^^
      |
      = note: the keys are version, defaults, servers, roles, budgets, deny, agents, viewers, tests
    help: a similar one exists
      |
    6 - rolls: {}
    6 + roles: {}
      |
    "#);
}

#[test]
fn an_anchor_an_alias_a_merge_key_and_a_tag() {
    let text = r#"
        servers:
          a: &base {url: "http://a/"}
          b: *base
          c:
            <<: *base
          d: {url: !!str "http://d/"}
          e: *missing
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P004]: anchors are not used in policy files
     --> permissions.yaml:2:12
      |
    2 |   a: &base {url: "http://a/"}
      |            ^ on this value
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time

    error[P004]: aliases are not used in policy files
     --> permissions.yaml:3:6
      |
    3 |   b: *base
      |      ^^^^^ on this value
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time

    error[P006]: server `c` has neither `url` nor `command`
     --> permissions.yaml:4:3
      |
    4 |   c:
      |   ^
      |
      = note: give `url` for a server on the network, `command` for one to be started

    error[P004]: merge keys are not used in policy files
     --> permissions.yaml:5:5
      |
    5 |     <<: *base
      |     ^^
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time

    error[P004]: aliases are not used in policy files
     --> permissions.yaml:5:9
      |
    5 |     <<: *base
      |         ^^^^^ on this value
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time

    error[P004]: tags are not used in policy files
     --> permissions.yaml:6:18
      |
    6 |   d: {url: !!str "http://d/"}
      |                  ^^^^^^^^^^^ on this value
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time

    error[P004]: aliases are not used in policy files
     --> permissions.yaml:7:6
      |
    7 |   e: *missing
      |      ^^^^^^^^ on this value
      |
      = note: write the values out, or use a role or a named pool; a reviewer reads one place at a time
    "###);
}

#[test]
fn a_bracket_that_never_closes() {
    let text = r#"
        servers:
          a: {url: "http://a/"
        agents: {}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P001]: not YAML: while parsing a flow mapping, did not find expected ',' or '}'
     --> permissions.yaml:3:1
      |
    3 | agents: {}
      | ^
      |
      = note: reading stopped here; what follows was not checked
    "###);
}

#[test]
fn a_quote_that_never_closes() {
    let text = r#"
        agents:
          clawd: {token_hash: "hwd_0123456789abcdef}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P001]: not YAML: unclosed quote
     --> permissions.yaml:2:23
      |
    2 |   clawd: {token_hash: "*********************
      |                       ^
      |
      = note: reading stopped here; what follows was not checked
    "###);
}

#[test]
fn a_tab_as_indentation() {
    let text = "agents:\n\tclawd: {}\n";
    insta::assert_snapshot!(said(text), @r###"
    error[P001]: not YAML: tabs disallowed within this context (block indentation)
     --> permissions.yaml:2:2
      |
    2 |     clawd: {}
      |     ^
      |
      = note: reading stopped here; what follows was not checked
    "###);
}

#[test]
fn a_second_document() {
    let text = r#"
        version: 1
        ---
        version: 1
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P001]: a policy file is one document; this begins a second one
     --> permissions.yaml:3:1
      |
    3 | version: 1
      | ^ remove the `---` above
    "###);
}

#[test]
fn a_list_where_a_mapping_belongs() {
    let text = r#"
        agents:
          - clawd
        servers: outline
        "#;
    insta::assert_snapshot!(said(text), @"
    error[P006]: `agents` of a policy file must be a mapping, not a list
     --> permissions.yaml:1:1
      |
    1 | agents:
      | ^^^^^^

    error[P006]: `servers` of a policy file must be a mapping, not text
     --> permissions.yaml:3:10
      |
    3 | servers: outline
      |          ^^^^^^^
    ");
}

#[test]
fn text_where_a_list_belongs_and_a_mapping_where_text_belongs() {
    let text = r#"
        servers:
          a: {url: {host: a}, description: [x]}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: "*", roles: {a: b}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `url` of server `a` must be text, not a mapping
     --> permissions.yaml:2:7
      |
    2 |   a: {url: {host: a}, description: [x]}
      |       ^^^

    error[P006]: `description` of server `a` must be text, not a list
     --> permissions.yaml:2:23
      |
    2 |   a: {url: {host: a}, description: [x]}
      |                       ^^^^^^^^^^^

    error[P006]: `servers` of agent `clawd` must be a list, not text
     --> permissions.yaml:4:108
      |
    4 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: "*", roles: {a: b}}
      |                                                                                                            ^
      |
      = note: write the items between `[` and `]`, or each on a line behind `-`

    error[P006]: `roles` of agent `clawd` must be a list, not a mapping
     --> permissions.yaml:4:112
      |
    4 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: "*", roles: {a: b}}
      |                                                                                                                ^^^^^
      |
      = note: write the items between `[` and `]`, or each on a line behind `-`
    "###);
}

#[test]
fn a_value_that_is_not_there() {
    let text = r#"
        defaults: {timezone: }
        agents:
          clawd:
            token_hash:
            disabled:
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `timezone` of `defaults` is empty
     --> permissions.yaml:1:12
      |
    1 | defaults: {timezone: }
      |            ^^^^^^^^ write a value, or leave the key away

    error[P010]: an empty token hash lets nobody in
     --> permissions.yaml:4:5
      |
    4 |     token_hash:
      |     ^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P006]: `disabled` of agent `clawd` is empty
     --> permissions.yaml:5:5
      |
    5 |     disabled:
      |     ^^^^^^^^ write a value, or leave the key away
    "###);
}

#[test]
fn text_turned_around_by_an_invisible_character() {
    let text = "deny:\n  - \"*/drop\u{202e}_*\" # \u{200b}ok\n";
    insta::assert_snapshot!(said(text), @r###"
    error[P005]: the character U+202E cannot be seen by a reviewer
     --> permissions.yaml:2:12
      |
    2 |   - "*/drop�_*" # �ok
      |            ^ here
      |
      = note: remove `\u{202e}`; rules hold only what can be read

    error[P005]: the character U+200B cannot be seen by a reviewer
     --> permissions.yaml:2:19
      |
    2 |   - "*/drop�_*" # �ok
      |                   ^ here
      |
      = note: remove `\u{200b}`; rules hold only what can be read
    "###);
}

#[test]
fn an_escape_that_brings_an_invisible_character() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", owner: "a\u200bb"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P005]: the character U+200B cannot be seen by a reviewer
     --> permissions.yaml:2:105
      |
    2 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", owner: "a\u200bb"}
      |                                                                                                         ^^^^^^^^^^ here
      |
      = note: remove `\u{200b}`; rules hold only what can be read
    "###);
}

#[test]
fn a_name_that_is_none() {
    let text = r#"
        agents:
          "my agent": {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
        roles:
          "": {}
        servers:
          hayward: {url: "http://a/"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P007]: `my agent` cannot be the name of this agent
     --> permissions.yaml:2:4
      |
    2 |   "my agent": {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
      |    ^^^^^^^^
      |
      = note: ` ` cannot stand in a name: use ASCII letters, digits, `.`, `_` and `-`

    error[P007]: `` cannot be the name of this role
     --> permissions.yaml:4:4
      |
    4 |   "": {}
      |    ^
      |
      = note: a name cannot be empty

    error[P007]: the name `hayward` belongs to the built-in server
     --> permissions.yaml:6:3
      |
    6 |   hayward: {url: "http://a/"}
      |   ^^^^^^^
      |
      = note: choose another name
    "###);
}

#[test]
fn a_version_from_the_future() {
    let text = "version: 2";
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: version `2` of the format is not known here
     --> permissions.yaml:1:10
      |
    1 | version: 2
      |          ^
      |
      = note: the only version is 1
    "###);
}

#[test]
fn nesting_without_end() {
    let text = "[[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]";
    insta::assert_snapshot!(said(text), @r###"
    error[P001]: not YAML: recursion limit exceeded
     --> permissions.yaml:1:13
      |
    1 | [[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]
      |             ^
      |
      = note: reading stopped here; what follows was not checked
    "###);
}
