//! Mistakes in `tests:`.

use super::said;

/// A file with these tests.
fn with_tests(tests: &str) -> String {
    let rules = "defaults: {timezone: Etc/UTC}
servers: {images: {url: 'http://images/'}}
agents: {clawd: {token_hash: 'sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5', servers: [images]}}
";
    format!("{rules}tests:\n{tests}")
}

#[test]
fn a_test_that_names_nobody_and_nothing() {
    insta::assert_snapshot!(said(&with_tests("  - {}\n  - agent: clawdd\n  - agent: clawd\n")), @r###"
    error[P006]: a test names no agent
     --> permissions.yaml:5:5
      |
    5 |   - {}
      |     ^
      |
      = note: write `agent:` and the name of one

    error[P020]: agent `clawdd` is not defined
     --> permissions.yaml:6:12
      |
    6 |   - agent: clawdd
      |            ^^^^^^ no agent with this name
      |
    help: a similar one exists
      |
    6 -   - agent: clawdd
    6 +   - agent: clawd
      |

    error[P006]: a test that tries nothing
     --> permissions.yaml:7:5
      |
    7 |   - agent: clawd
      |     ^^^^^
      |
      = note: give `allow:` or `deny:` with a list of `server/tool`, or `call:` with `expect:`
    "###);
}

#[test]
fn tools_are_named_with_their_server() {
    let tests = "  - {agent: clawd, allow: [imagine], deny: [image/x]}\n";
    insta::assert_snapshot!(said(&with_tests(tests)), @r###"
    error[P006]: `imagine` is not written as `server/tool`
     --> permissions.yaml:5:28
      |
    5 |   - {agent: clawd, allow: [imagine], deny: [image/x]}
      |                            ^^^^^^^

    error[P020]: server `image` is not defined
     --> permissions.yaml:5:45
      |
    5 |   - {agent: clawd, allow: [imagine], deny: [image/x]}
      |                                             ^^^^^^^
      |
    help: a similar one exists
      |
    5 |   - {agent: clawd, allow: [imagine], deny: [images/x]}
      |                                                  +
    "###);
}

#[test]
fn lists_and_calls_do_not_mix() {
    let tests = "  - {agent: clawd, allow: [images/a], expect: deny}
  - {agent: clawd, call: images/a, deny: [images/a]}\n";
    insta::assert_snapshot!(said(&with_tests(tests)), @r###"
    error[P006]: `expect` is for tests with `call`
     --> permissions.yaml:5:39
      |
    5 |   - {agent: clawd, allow: [images/a], expect: deny}
      |                                       ^^^^^^

    error[P006]: a test with `call` needs `expect`
     --> permissions.yaml:6:20
      |
    6 |   - {agent: clawd, call: images/a, deny: [images/a]}
      |                    ^^^^
      |
      = note: write `allow` or `deny`

    error[P006]: `deny` is for tests without `call`
     --> permissions.yaml:6:36
      |
    6 |   - {agent: clawd, call: images/a, deny: [images/a]}
      |                                    ^^^^
    "###);
}

#[test]
fn a_call_says_what_it_must_become() {
    let tests = "  - {agent: clawd, call: images/a, expect: maybe}
  - {agent: clawd, call: images/a, repeat: 3, expect: [allow, deny]}
  - {agent: clawd, call: images/a, repeat: 5000, expect: allow}
  - {agent: clawd, call: images/a, at: 2026-11-20, args: [1], expect: allow}\n";
    insta::assert_snapshot!(said(&with_tests(tests)), @r###"
    error[P006]: `maybe` is none of allow, deny
     --> permissions.yaml:5:44
      |
    5 |   - {agent: clawd, call: images/a, expect: maybe}
      |                                            ^^^^^

    error[P006]: `expect` has 2 items for 3 calls
     --> permissions.yaml:6:47
      |
    6 |   - {agent: clawd, call: images/a, repeat: 3, expect: [allow, deny]}
      |                                               ^^^^^^
      |
      = note: write one word for all of them, or one for each

    error[P030]: `5000` is no number from 1 to 1000
     --> permissions.yaml:7:44
      |
    7 |   - {agent: clawd, call: images/a, repeat: 5000, expect: allow}
      |                                            ^^^^

    error[P030]: `2026-11-20` is no instant
     --> permissions.yaml:8:40
      |
    8 |   - {agent: clawd, call: images/a, at: 2026-11-20, args: [1], expect: allow}
      |                                        ^^^^^^^^^^
      |
      = note: write it with its offset, such as `2027-01-31T12:00:00+01:00`

    error[P006]: `args` of a test must be a mapping, or the text of a JSON object
     --> permissions.yaml:8:52
      |
    8 |   - {agent: clawd, call: images/a, at: 2026-11-20, args: [1], expect: allow}
      |                                                    ^^^^
    "###);
}
