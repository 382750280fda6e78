//! Mistakes about how to reach a server: addresses, headers, commands, placeholders.

use super::said;

#[test]
fn a_variable_that_is_not_set_is_named() {
    let text = r#"
        servers:
          github:
            url: https://api.example.com/mcp/
            headers: {Authorization: "Bearer ${GITHUB_TOKEN}"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P050]: the variable `GITHUB_TOKEN` is not set, or is empty
     --> permissions.yaml:4:31
      |
    4 |     headers: {Authorization: "Bearer ${GITHUB_TOKEN}"}
      |                               ^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: set it where the gateway starts, or write `${GITHUB_TOKEN:-default}`
    "###);
}

#[test]
fn a_placeholder_in_the_wrong_place() {
    let text = r#"
        servers:
          a: {command: "${SHELL}"}
        agents:
          clawd: {token_hash: "${HASH}", servers: ["${SERVERS}"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P050]: a placeholder cannot stand here
     --> permissions.yaml:2:17
      |
    2 |   a: {command: "${SHELL}"}
      |                 ^^^^^^^^
      |
      = note: placeholders are for `url`, `headers`, `env` and `args` of a server; who may do what does not depend on the environment

    error[P050]: a placeholder cannot stand here
     --> permissions.yaml:4:24
      |
    4 |   clawd: {token_hash: "${HASH}", servers: ["${SERVERS}"]}
      |                        ^^^^^^^
      |
      = note: placeholders are for `url`, `headers`, `env` and `args` of a server; who may do what does not depend on the environment

    error[P050]: a placeholder cannot stand here
     --> permissions.yaml:4:45
      |
    4 |   clawd: {token_hash: "${HASH}", servers: ["${SERVERS}"]}
      |                                             ^^^^^^^^^^
      |
      = note: placeholders are for `url`, `headers`, `env` and `args` of a server; who may do what does not depend on the environment
    "###);
}

#[test]
fn a_placeholder_that_is_malformed() {
    let text = r#"
        servers:
          a: {url: "http://${agent.name}/", headers: {X-A: "$HOME", X-B: "${HOME"}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P050]: `agent.name` is not the name of a variable
     --> permissions.yaml:2:13
      |
    2 |   a: {url: "http://${agent.name}/", headers: {X-A: "$HOME", X-B: "${HOME"}}
      |             ^^^^^^^^^^^^^^^^^^^^^
      |
      = note: write `${NAME}`, `${NAME:-default}` or `${file:PATH}`, and `$$` for a dollar sign

    error[P050]: a `$` that begins no placeholder
     --> permissions.yaml:2:53
      |
    2 |   a: {url: "http://${agent.name}/", headers: {X-A: "$HOME", X-B: "${HOME"}}
      |                                                     ^^^^^
      |
      = note: write `${NAME}`, `${NAME:-default}` or `${file:PATH}`, and `$$` for a dollar sign

    error[P050]: a `$` that begins no placeholder
     --> permissions.yaml:2:67
      |
    2 |   a: {url: "http://${agent.name}/", headers: {X-A: "$HOME", X-B: "${HOME"}}
      |                                                                   ^^^^^^
      |
      = note: write `${NAME}`, `${NAME:-default}` or `${file:PATH}`, and `$$` for a dollar sign
    "###);
}

#[test]
fn a_secret_file_that_is_not_there() {
    let text = r#"
        servers:
          a: {url: "http://a/", headers: {X-A: "${file:no/such/file}"}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P050]: the file `no/such/file` cannot be read: No such file or directory (os error 2)
     --> permissions.yaml:2:41
      |
    2 |   a: {url: "http://a/", headers: {X-A: "${file:no/such/file}"}}
      |                                         ^^^^^^^^^^^^^^^^^^^^
      |
      = note: it holds one value; a line break at its end is left out
    "###);
}

#[test]
fn a_secret_written_out_is_a_warning_and_hidden() {
    let text = r#"
        servers:
          a:
            url: "http://me:pass@a/"
            headers: {X-Api-Key: abcdef0123, X-Auth: "${AUTH:-hunter2}"}
          b: {command: npx, args: [--token, ghp_0123456789abcdef0123], env: {DEBUG: "1"}}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: ["*"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    warning[P051]: the value of `url` looks like a secret that is written out
     --> permissions.yaml:3:11
      |
    3 |     url: "*****************"
      |           ^^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `${NAME}` or `${file:PATH}` and keep the value out of the file

    warning[P051]: the value of `X-Api-Key` looks like a secret that is written out
     --> permissions.yaml:4:26
      |
    4 |     headers: {X-Api-Key: **********, X-Auth: "****************"}
      |                          ^^^^^^^^^^ hidden here
      |
      = note: write `${NAME}` or `${file:PATH}` and keep the value out of the file

    warning[P051]: the value of `X-Auth` looks like a secret that is written out
     --> permissions.yaml:4:47
      |
    4 |     headers: {X-Api-Key: **********, X-Auth: "****************"}
      |                                               ^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `${NAME}` or `${file:PATH}` and keep the value out of the file

    warning[P051]: the value of `args` looks like a secret that is written out
     --> permissions.yaml:5:37
      |
    5 |   b: {command: npx, args: [--token, ************************], env: {DEBUG: "1"}}
      |                                     ^^^^^^^^^^^^^^^^^^^^^^^^ hidden here
      |
      = note: write `${NAME}` or `${file:PATH}` and keep the value out of the file
    "###);
}

#[test]
fn neither_or_both_ways_to_reach_a_server() {
    let text = r#"
        servers:
          a: {description: x}
          b: {url: "http://b/", command: b}
          c: {url: "http://c/", args: [x]}
          d: {command: d, headers: {X-A: b}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: server `a` has neither `url` nor `command`
     --> permissions.yaml:2:3
      |
    2 |   a: {description: x}
      |   ^
      |
      = note: give `url` for a server on the network, `command` for one to be started

    error[P006]: server `b` has both `url` and `command`
     --> permissions.yaml:3:3
      |
    3 |   b: {url: "http://b/", command: b}
      |   ^
      |
      = note: give `url` for a server on the network, `command` for one to be started

    error[P006]: `args` is for servers with `command`
     --> permissions.yaml:4:25
      |
    4 |   c: {url: "http://c/", args: [x]}
      |                         ^^^^
      |
      = note: leave it away here

    error[P006]: `headers` is for servers with `url`
     --> permissions.yaml:5:19
      |
    5 |   d: {command: d, headers: {X-A: b}}
      |                   ^^^^^^^
      |
      = note: leave it away here
    "###);
}

#[test]
fn an_address_that_cannot_be_used() {
    let text = r#"
        servers:
          a: {url: "ftp://a/"}
          b: {url: "/mcp"}
          c: {url: "http://c/#x"}
          d: {command: "npx -y server"}
          e: {url: "http://e:99999/"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P052]: the url does not begin with http:// or https://, or is not a url
     --> permissions.yaml:2:13
      |
    2 |   a: {url: "ftp://a/"}
      |             ^^^^^^^^
      |
      = note: such as `http://notes:3000/mcp`; placeholders were filled in before this check

    error[P052]: the url does not begin with http:// or https://, or is not a url
     --> permissions.yaml:3:13
      |
    3 |   b: {url: "/mcp"}
      |             ^^^^
      |
      = note: such as `http://notes:3000/mcp`; placeholders were filled in before this check

    error[P052]: the url has a fragment, which is never sent
     --> permissions.yaml:4:13
      |
    4 |   c: {url: "http://c/#x"}
      |             ^^^^^^^^^^^
      |
      = note: such as `http://notes:3000/mcp`; placeholders were filled in before this check

    error[P052]: `npx -y server` is not one program
     --> permissions.yaml:5:17
      |
    5 |   d: {command: "npx -y server"}
      |                 ^^^^^^^^^^^^^
      |
      = note: no shell takes it apart: write the program as `command`, the rest as `args`

    error[P052]: the port of the url is no number up to 65535
     --> permissions.yaml:6:13
      |
    6 |   e: {url: "http://e:99999/"}
      |             ^^^^^^^^^^^^^^^
      |
      = note: such as `http://notes:3000/mcp`; placeholders were filled in before this check
    "###);
}

#[test]
fn headers_that_cannot_be_set() {
    let text = r#"
        servers:
          a:
            url: "http://a/"
            headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "1\r\nX-F: 2", x-e: f}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P052]: the header `Host` cannot be set here
     --> permissions.yaml:4:15
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |               ^^^^
      |
      = note: leave it away; the gateway writes this header itself

    error[P052]: `X A` is not the name of a header
     --> permissions.yaml:4:25
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |                         ^^^
      |
      = note: such as `X-Api-Key`

    error[P052]: the header `Mcp-Session-Id` cannot be set here
     --> permissions.yaml:4:34
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |                                  ^^^^^^^^^^^^^^
      |
      = note: leave it away; the gateway writes this header itself

    error[P005]: the character U+000D cannot be seen by a reviewer
     --> permissions.yaml:4:58
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |                                                          ^^^^^^^^^^^^^ here
      |
      = note: remove `\u{d}`; rules hold only what can be read

    error[P052]: the value of header `X-E` cannot be sent
     --> permissions.yaml:4:59
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |                                                           ^^^^^^^^^^^
      |
      = note: it holds a line break, another control character, or something else than ASCII

    error[P003]: header `x-e` is given twice
     --> permissions.yaml:4:73
      |
    4 |     headers: {Host: b, "X A": c, Mcp-Session-Id: d, X-E: "***********", x-e: f}
      |                                                                         ^^^
    "###);
}

#[test]
fn the_old_transport_is_for_urls_and_said_once() {
    let text = r#"
        servers:
          a: {url: "http://a/sse", transport: sse, protocol: legacy}
          b: {command: b, protocol: sse}
          c: {url: "http://c/", protocol: morden}
          d: {url: "http://d/", transport: http}
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P006]: `transport: sse` and `protocol` say different things
     --> permissions.yaml:2:39
      |
    2 |   a: {url: "http://a/sse", transport: sse, protocol: legacy}
      |                                       ^^^
      |
      = note: leave one of them away; `protocol: sse` means the same

    error[P006]: the transport `sse` is for servers with `url`
     --> permissions.yaml:3:29
      |
    3 |   b: {command: b, protocol: sse}
      |                             ^^^
      |
      = note: leave it away here

    error[P006]: `morden` is none of auto, modern, legacy, sse
     --> permissions.yaml:4:35
      |
    4 |   c: {url: "http://c/", protocol: morden}
      |                                   ^^^^^^
      |
    help: a similar one exists
      |
    4 -   c: {url: "http://c/", protocol: morden}
    4 +   c: {url: "http://c/", protocol: modern}
      |

    error[P002]: unknown key `transport` in server `d`
     --> permissions.yaml:5:25
      |
    5 |   d: {url: "http://d/", transport: http}
      |                         ^^^^^^^^^
      |
      = note: the keys are url, command, description, headers, protocol, timeout, args, env, cwd, instances, budgets, rate, max_concurrent, dedupe, costs, cost_unit, disabled, capture, redact
    "#);
}
