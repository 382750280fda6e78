//! Mistakes about how much and until when: budgets, rates, durations, dates, zones.

use super::said;

#[test]
fn budgets_of_a_later_version() {
    let text = r#"
        servers:
          a: {url: "http://a/", budgets: ["10/24h", "100 total", "40 USD/month"]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `40 USD/month` does not count calls
     --> permissions.yaml:2:59
      |
    2 |   a: {url: "http://a/", budgets: ["10/24h", "100 total", "40 USD/month"]}
      |                                                           ^^^^^^^^^^^^
      |
      = note: this version counts calls, such as `2/day`, `10/24h` or `100 total`; no costs
    "###);
}

#[test]
fn what_is_no_budget() {
    let text = r#"
        servers:
          a: {url: "http://a/", budgets: [2/fortnight, "-1/day", {each: agent}, {limit: 1/day, tools: []}]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `2/fortnight` is not a budget
     --> permissions.yaml:2:35
      |
    2 |   a: {url: "http://a/", budgets: [2/fortnight, "-1/day", {each: agent}, {limit: 1/day, tools: []}]}
      |                                   ^^^^^^^^^^^
      |
      = note: `fortnight` is not a period: use hour, day, week, month, year, or a length such as 24h or 7d

    error[P030]: `-1/day` is not a budget
     --> permissions.yaml:2:49
      |
    2 |   a: {url: "http://a/", budgets: [2/fortnight, "-1/day", {each: agent}, {limit: 1/day, tools: []}]}
      |                                                 ^^^^^^
      |
      = note: `-1` is not a whole number

    error[P030]: a budget has no `limit`
     --> permissions.yaml:2:58
      |
    2 |   a: {url: "http://a/", budgets: [2/fortnight, "-1/day", {each: agent}, {limit: 1/day, tools: []}]}
      |                                                          ^
      |
      = note: such as `limit: 2/day`

    error[P030]: a budget counts no tool at all
     --> permissions.yaml:2:73
      |
    2 |   a: {url: "http://a/", budgets: [2/fortnight, "-1/day", {each: agent}, {limit: 1/day, tools: []}]}
      |                                                                         ^
      |
      = note: name the tools, or leave `tools` away to count all of them
    "###);
}

#[test]
fn the_same_budget_twice() {
    let text = r#"
        defaults: {timezone: UTC}
        servers:
          a:
            url: "http://a/"
            budgets:
              - {limit: 2/day, tools: [x, y]}
              - 2/day
              - {limit: 5/day, tools: [y, x]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P033]: server `a` has the same budget twice
     --> permissions.yaml:8:9
      |
    6 |       - {limit: 2/day, tools: [x, y]}
      |         - first here
    7 |       - 2/day
    8 |       - {limit: 5/day, tools: [y, x]}
      |         ^ same tools, window and `each`
      |
      = note: two limits of one count contradict each other: keep the one that is meant
    "###);
}

#[test]
fn a_pool_with_a_limit_of_its_own() {
    let text = r#"
        budgets: {team: 2/day}
        servers:
          a: {url: "http://a/", budgets: {pool: team, limit: 3/day}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: a budget names a pool or sets a limit of its own, not both
     --> permissions.yaml:3:34
      |
    3 |   a: {url: "http://a/", budgets: {pool: team, limit: 3/day}}
      |                                  ^
      |
      = note: limit, tools and each of a pool stand under `budgets` at the top level
    "###);
}

#[test]
fn what_is_no_rate() {
    let text = r#"
        defaults: {rate: 0/minute}
        servers:
          a: {url: "http://a/", rate: {limit: 5}}
          b: {url: "http://b/", rate: {limit: 5, per: fortnight}}
          c: {url: "http://c/", rate: {limit: 5, per: minute, burst: 0}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `0/minute` is not a rate: a rate needs a count of at least 1
     --> permissions.yaml:1:18
      |
    1 | defaults: {rate: 0/minute}
      |                  ^^^^^^^^
      |
      = note: write a count and a period, such as `120/minute`

    error[P030]: a rate needs `limit` and `per`
     --> permissions.yaml:3:25
      |
    3 |   a: {url: "http://a/", rate: {limit: 5}}
      |                         ^^^^
      |
      = note: such as `{limit: 20, per: minute}`

    error[P030]: `5/fortnight` is not a rate: `fortnight` is not a period: use second, minute or hour
     --> permissions.yaml:4:39
      |
    4 |   b: {url: "http://b/", rate: {limit: 5, per: fortnight}}
      |                                       ^
      |
      = note: write a count and a period, such as `120/minute`

    error[P030]: `0` is not a whole number of at least 1
     --> permissions.yaml:5:62
      |
    5 |   c: {url: "http://c/", rate: {limit: 5, per: minute, burst: 0}}
      |                                                              ^
      |
      = note: `burst` is how many calls may come at once
    "###);
}

#[test]
fn zones_durations_and_dates() {
    let text = r#"
        defaults: {timezone: Europe/Berln, timeout: 90}
        servers:
          a: {url: "http://a/", timeout: 0s}
          b: {url: "http://b/", timeout: 25h}
        agents:
          clawd:
            token_hash: {hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", expires: 2026-02-30}
            servers: [{server: a, expires: "2027-01-31 12:00"}]
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `Europe/Berln` is not a time zone: use an IANA name such as `Europe/Berlin` or `UTC`
     --> permissions.yaml:1:22
      |
    1 | defaults: {timezone: Europe/Berln, timeout: 90}
      |                      ^^^^^^^^^^^^

    error[P030]: `90` is not a duration
     --> permissions.yaml:1:45
      |
    1 | defaults: {timezone: Europe/Berln, timeout: 90}
      |                                             ^^
      |
      = note: write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day

    error[P030]: `0s` is not a duration
     --> permissions.yaml:3:34
      |
    3 |   a: {url: "http://a/", timeout: 0s}
      |                                  ^^
      |
      = note: write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day

    error[P030]: `25h` is not a duration
     --> permissions.yaml:4:34
      |
    4 |   b: {url: "http://b/", timeout: 25h}
      |                                  ^^^
      |
      = note: write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day

    error[P030]: `2026-02-30` is neither a date nor an instant
     --> permissions.yaml:7:108
      |
    7 |     token_hash: {hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", expires: 2026-02-30}
      |                                                                                                            ^^^^^^^^^^
      |
      = note: write `2027-01-31` for the end of that day, or `2027-01-31T12:00:00+01:00`

    error[P030]: `2027-01-31 12:00` is neither a date nor an instant
     --> permissions.yaml:8:37
      |
    8 |     servers: [{server: a, expires: "2027-01-31 12:00"}]
      |                                     ^^^^^^^^^^^^^^^^
      |
      = note: write `2027-01-31` for the end of that day, or `2027-01-31T12:00:00+01:00`
    "###);
}

#[test]
fn a_zone_spelled_another_way() {
    let text = "defaults: {timezone: europe/berlin}";
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `europe/berlin` is spelled `Europe/Berlin`
     --> permissions.yaml:1:22
      |
    1 | defaults: {timezone: europe/berlin}
      |                      ^^^^^^^^^^^^^
      |
    help: write it so
      |
    1 - defaults: {timezone: europe/berlin}
    1 + defaults: {timezone: Europe/Berlin}
      |
    "###);
}

#[test]
fn a_budget_without_a_zone_and_what_nobody_uses() {
    let text = r#"
        servers:
          a: {url: "http://a/"}
          b: {url: "http://b/", budgets: 2/day}
        roles: {reader: {servers: [a]}}
        budgets: {team: 5/week}
        agents:
          clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [b]}
          Clawd: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    warning[P032]: no agent may use server `a`
     --> permissions.yaml:2:3
      |
    2 |   a: {url: "http://a/"}
      |   ^

    warning[P031]: budgets follow UTC, because the file names no time zone
     --> permissions.yaml:3:3
      |
    3 |   b: {url: "http://b/", budgets: 2/day}
      |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: say where days begin: `defaults: {timezone: Europe/Berlin}`, or `UTC` if that is meant

    warning[P032]: no agent has role `reader`
     --> permissions.yaml:4:9
      |
    4 | roles: {reader: {servers: [a]}}
      |         ^^^^^^

    warning[P032]: nothing draws on pool `team`
     --> permissions.yaml:5:11
      |
    5 | budgets: {team: 5/week}
      |           ^^^^

    warning[P008]: agents `clawd` and `Clawd` differ only in case
     --> permissions.yaml:8:3
      |
    7 |   clawd: {token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee", servers: [b]}
      |   ----- the other one
    8 |   Clawd: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"}
      |   ^^^^^
    "###);
}

#[test]
fn spans_in_which_a_call_is_not_made_again() {
    let text = "
        servers:
          a: {url: http://a/mcp, dedupe: soon}
          b: {url: http://b/mcp, dedupe: {imagine: 0s, 'ren[der': 10m, blend: , describe: [1h]}}
          c: {url: http://c/mcp, dedupe: [10m]}
          d: {url: http://d/mcp, dedupe: }
        ";
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: `soon` is not a duration
     --> permissions.yaml:2:34
      |
    2 |   a: {url: http://a/mcp, dedupe: soon}
      |                                  ^^^^
      |
      = note: write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day

    error[P030]: `0s` is not a duration
     --> permissions.yaml:3:44
      |
    3 |   b: {url: http://b/mcp, dedupe: {imagine: 0s, 'ren[der': 10m, blend: , describe: [1h]}}
      |                                            ^^
      |
      = note: write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day

    error[P006]: `[` cannot stand in the name of a tool or server
     --> permissions.yaml:3:49
      |
    3 |   b: {url: http://b/mcp, dedupe: {imagine: 0s, 'ren[der': 10m, blend: , describe: [1h]}}
      |                                                 ^^^^^^^
      |
      = note: a pattern is a whole name, in which `*` stands for any characters

    error[P006]: `dedupe` of `blend` is empty
     --> permissions.yaml:3:64
      |
    3 |   b: {url: http://b/mcp, dedupe: {imagine: 0s, 'ren[der': 10m, blend: , describe: [1h]}}
      |                                                                ^^^^^ write a value, or leave the key away

    error[P006]: `dedupe` of `describe` must be text, not a list
     --> permissions.yaml:3:73
      |
    3 |   b: {url: http://b/mcp, dedupe: {imagine: 0s, 'ren[der': 10m, blend: , describe: [1h]}}
      |                                                                         ^^^^^^^^

    error[P006]: `dedupe` of server `c` must be text, not a list
     --> permissions.yaml:4:26
      |
    4 |   c: {url: http://c/mcp, dedupe: [10m]}
      |                          ^^^^^^

    error[P006]: `dedupe` of server `d` is empty
     --> permissions.yaml:5:26
      |
    5 |   d: {url: http://d/mcp, dedupe: }
      |                          ^^^^^^ write a value, or leave the key away
    "###);
}
