//! Mistakes about who may do what: tokens, roles, grants, denials.

use super::said;

#[test]
fn a_truncated_hash() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:9f86d081884c7d65"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P010]: token_hash has 16 hexadecimal digits, a SHA-256 needs 64
     --> permissions.yaml:2:24
      |
    2 |   clawd: {token_hash: "sha256:9f86d081884c7d65"}
      |                        ^^^^^^^^^^^^^^^^^^^^^^^ truncated?
      |
      = note: `hayward token new NAME` makes a token and prints its hash
    "###);
}

#[test]
fn a_token_where_its_hash_belongs_is_never_shown() {
    let text = r#"
        agents:
          clawd: {token_hash: hwd_0123456789abcdefghij, servers: []}
          bo: {token_hash: "my own secret words"}
          al: {token_hash: "sha256:hwd_0123456789abcdefghij"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P011]: this looks like a token, not a hash
     --> permissions.yaml:2:23
      |
    2 |   clawd: {token_hash: ************************, servers: []}
      |                       ^^^^^^^^^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `sha256:` and the hash that `hayward token hash` prints for it
      = note: whoever has read this file knows the token: make a new one

    error[P011]: this looks like a token, not a hash
     --> permissions.yaml:3:21
      |
    3 |   bo: {token_hash: "*******************"}
      |                     ^^^^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `sha256:` and the hash that `hayward token hash` prints for it
      = note: whoever has read this file knows the token: make a new one

    error[P011]: this looks like a token, not a hash
     --> permissions.yaml:4:21
      |
    4 |   al: {token_hash: "*******************************"}
      |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `sha256:` and the hash that `hayward token hash` prints for it
      = note: whoever has read this file knows the token: make a new one
    "###);
}

#[test]
fn a_hash_of_another_kind_or_without_its_prefix() {
    let text = r#"
        agents:
          a: {token_hash: "sha512:zz"}
          b: {token_hash: "5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P010]: `sha512` is not used for token hashes, only `sha256`
     --> permissions.yaml:2:20
      |
    2 |   a: {token_hash: "*********"}
      |                    ^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P010]: a hash begins with `sha256:`
     --> permissions.yaml:3:20
      |
    3 |   b: {token_hash: "****************************************************************"}
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash
    "###);
}

#[test]
fn the_hash_of_a_placeholder() {
    let text = r#"
        agents:
          a: {token_hash: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
          b: {token_hash: "sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b"}
          c: {token_hash: "sha256:057ba03d6c44104863dc7361fe4578965d1887360f90a0895882e58a6248fc86"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P010]: this is the hash of the empty text, which anyone can guess
     --> permissions.yaml:2:20
      |
    2 |   a: {token_hash: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P010]: this is the hash of a lone line break, which anyone can guess
     --> permissions.yaml:3:20
      |
    3 |   b: {token_hash: "sha256:01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b"}
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P010]: this is the hash of the placeholder `changeme`, which anyone can guess
     --> permissions.yaml:4:20
      |
    4 |   c: {token_hash: "sha256:057ba03d6c44104863dc7361fe4578965d1887360f90a0895882e58a6248fc86"}
      |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash
    "###);
}

#[test]
fn an_agent_without_a_token() {
    let text = r#"
        agents:
          a: {servers: ["*"]}
          b: {token_hash: ""}
          c: {token_hash: []}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P010]: agent `a` has no `token_hash`, so nobody could ever use it
     --> permissions.yaml:2:3
      |
    2 |   a: {servers: ["*"]}
      |   ^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P010]: an empty token hash lets nobody in
     --> permissions.yaml:3:7
      |
    3 |   b: {token_hash: ""}
      |       ^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash

    error[P010]: an empty `token_hash` list lets nobody in
     --> permissions.yaml:4:7
      |
    4 |   c: {token_hash: []}
      |       ^^^^^^^^^^
      |
      = note: `hayward token new NAME` makes a token and prints its hash
    "###);
}

#[test]
fn one_token_for_two() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
        viewers:
          team: {token_hash: ["sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P012]: viewer `team` has the same token hash as agent `clawd`
     --> permissions.yaml:4:99
      |
    2 | ...: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"}
      |       ----------------------------------------------------------------------- first here
    3 | ...
    4 | ... ["sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"]}
      |                                                                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ same hash
      |
      = note: a token says who is calling, so each belongs to one
    "###);
}

#[test]
fn an_unknown_server_with_a_suggestion() {
    let text = r#"
        servers:
          outline: {url: "http://mcp-outline:3000/mcp"}
        agents:
          clawd:
            token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"
            servers: ["outlne"]
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P020]: server `outlne` is not defined
     --> permissions.yaml:6:16
      |
    6 |     servers: ["outlne"]
      |                ^^^^^^ no server with this name
      |
    help: a similar one exists
      |
    6 |     servers: ["outline"]
      |                    +
    "###);
}

#[test]
fn a_glob_that_matches_nothing() {
    let text = r#"
        servers:
          outline: {url: "http://mcp-outline:3000/mcp"}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["out-*"], deny: ["git*/x"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P021]: `out-*` matches no server
     --> permissions.yaml:4:109
      |
    4 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["out-*"], deny: ["git*/x"]}
      |                                                                                                             ^^^^^
      |
      = note: patterns are case-sensitive and match the whole name

    error[P021]: `git*` matches no server
     --> permissions.yaml:4:126
      |
    4 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["out-*"], deny: ["git*/x"]}
      |                                                                                                                              ^^^^^^
      |
      = note: patterns are case-sensitive and match the whole name
    "###);
}

#[test]
fn an_unknown_role_and_an_unknown_pool() {
    let text = r#"
        roles: {reader: {}}
        budgets: {image-team: 2/day}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [raeder], budgets: [image-taem, image-team]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P020]: role `raeder` is not defined
     --> permissions.yaml:4:106
      |
    4 | ...7a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [raeder], budgets: [image-taem, image-team]}
      |                                                      ^^^^^^ no role with this name
      |
    help: a similar one exists
      |
    4 -   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [raeder], budgets: [image-taem, image-team]}
    4 +   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [reader], budgets: [image-taem, image-team]}
      |

    error[P020]: pool `image-taem` is not defined
     --> permissions.yaml:4:125
      |
    4 | ...13bae98ce93c43d0ee", roles: [raeder], budgets: [image-taem, image-team]}
      |                                                    ^^^^^^^^^^ no pool with this name
      |
      = note: a limit is written as `2/day`; pools stand under `budgets` at the top level
    help: a similar one exists
      |
    4 -   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [raeder], budgets: [image-taem, image-team]}
    4 +   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", roles: [raeder], budgets: [image-team, image-team]}
      |
    "###);
}

#[test]
fn a_tool_where_a_server_belongs() {
    let text = r#"
        servers: {github: {url: "http://github/"}}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["github/get_*"], deny: [github]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `github/get_*` names a tool, a grant names servers
     --> permissions.yaml:3:109
      |
    3 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["github/get_*"], deny: [gi...
      |                                                                                                             ^^^^^^^^^^^^
      |
      = note: write `{server: github, tools: ["get_*"]}`

    error[P006]: `github` is not written as `server/tool`
     --> permissions.yaml:3:132
      |
    3 | ...c2ac76b13bae98ce93c43d0ee", servers: ["github/get_*"], deny: [github]}
      |                                                                  ^^^^^^
      |
    help: to deny all of a server, write
      |
    3 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["github/get_*"], deny: [github/*]}
      |                                                                                                                                          ++
    "###);
}

#[test]
fn two_grants_of_which_none_is_more_exact() {
    let text = r#"
        servers: {github: {url: "http://github/"}}
        agents:
          clawd:
            token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"
            servers:
              - {server: github, tools: ["get_*"], budgets: 2/day}
              - {server: github, tools: ["*_all"]}
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P025]: two grants of agent `clawd` cover the same call equally exactly
     --> permissions.yaml:7:18
      |
    6 |       - {server: github, tools: ["get_*"], budgets: 2/day}
      |                  ------ the other
    7 |       - {server: github, tools: ["*_all"]}
      |                  ^^^^^^ as exact as the other
      |
      = note: the more exact grant decides: join the two, make one more exact, or give each a `when`
    "#);
}

#[test]
fn the_built_in_server_needs_no_grant() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [hayward]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P020]: `hayward` is the built-in server, which every agent may use
     --> permissions.yaml:2:108
      |
    2 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [hayward]}
      |                                                                                                            ^^^^^^^
      |
      = note: leave it away
    "###);
}

#[test]
fn a_word_that_is_none_of_the_known_ones() {
    let text = r#"
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", refusals: rpc-error, ungranted: show, disabled: yes}
        viewers:
          team: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", see: [argumnts]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `rpc-error` is none of tool_error, rpc_error
     --> permissions.yaml:2:108
      |
    2 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", refusals: rpc-error, ungranted: show...
      |                                                                                                            ^^^^^^^^^
      |
    help: a similar one exists
      |
    2 -   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", refusals: rpc-error, ungranted: show, disabled: yes}
    2 +   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", refusals: rpc_error, ungranted: show, disabled: yes}
      |

    error[P006]: `show` is none of explain, hide
     --> permissions.yaml:2:130
      |
    2 | ...014c2ac76b13bae98ce93c43d0ee", refusals: rpc-error, ungranted: show, disabled: yes}
      |                                                                   ^^^^

    error[P006]: `yes` is neither true, false, nor a reason
     --> permissions.yaml:2:146
      |
    2 | ...8ce93c43d0ee", refusals: rpc-error, ungranted: show, disabled: yes}
      |                                                                   ^^^
      |
      = note: write `true` or `false`

    error[P006]: `argumnts` is none of metadata, arguments, results
     --> permissions.yaml:4:103
      |
    4 |   team: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", see: [argumnts]}
      |                                                                                                       ^^^^^^^^
      |
    help: a similar one exists
      |
    4 |   team: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3", see: [arguments]}
      |                                                                                                            +
    "###);
}
