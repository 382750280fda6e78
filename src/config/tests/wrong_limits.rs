//! Mistakes about how much and until when: budgets, rates, durations, dates, zones.

use super::said;

#[test]
fn costs_of_which_nobody_says_what_they_are() {
    let text = r#"
        budgets: {money: 40 USD/month}
        servers:
          a: {url: "http://a/", budgets: ["40 USD/month"]}
          b: {url: "http://b/", costs: {draw: 0.08}, cost_unit: EUR, budgets: [money]}
          c: {url: "http://c/", costs: {draw: 0.08}, cost_unit: USD}
        agents:
          x: {token_hash: "sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5", servers: [{server: c, tools: [draw, paint], budgets: [money]}], budgets: [1 GBP/day]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P030]: server `a` has no costs in `USD`
     --> permissions.yaml:3:36
      |
    3 |   a: {url: "http://a/", budgets: ["40 USD/month"]}
      |                                    ^^^^^^^^^^^^
      |
      = note: say what its tools cost: `costs: {TOOL: 0.08}` and `cost_unit: USD`

    error[P030]: server `b` has no costs in `USD`
     --> permissions.yaml:4:72
      |
    4 |   b: {url: "http://b/", costs: {draw: 0.08}, cost_unit: EUR, budgets: [money]}
      |                                                                        ^^^^^
      |
      = note: say what its tools cost: `costs: {TOOL: 0.08}` and `cost_unit: USD`

    error[P030]: nobody says what `paint` costs in USD
     --> permissions.yaml:7:148
      |
    7 | ...acfc5", servers: [{server: c, tools: [draw, paint], budgets: [money]}], budgets: [1 GBP/day]}
      |                                                                  ^^^^^
      |
      = note: name it under `costs` of its server; `0` for what costs nothing

    error[P030]: no server has costs in `GBP`
     --> permissions.yaml:7:168
      |
    7 | ...ver: c, tools: [draw, paint], budgets: [money]}], budgets: [1 GBP/day]}
      |                                                                ^^^^^^^^^
      |
      = note: say what its tools cost: `costs: {TOOL: 0.08}` and `cost_unit: GBP`
    "###);
}

#[test]
fn what_is_no_cost() {
    let text = r#"
        servers:
          a: {url: "http://a/", costs: {draw: 0.08}}
          b: {url: "http://b/", cost_unit: USD}
          c: {url: "http://c/", cost_unit: $, costs: {draw: 1}}
          d:
            url: "http://d/"
            cost_unit: USD
            costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, max_cost: x}}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `costs` and `cost_unit` of server `a` belong together
     --> permissions.yaml:2:25
      |
    2 |   a: {url: "http://a/", costs: {draw: 0.08}}
      |                         ^^^^^
      |
      = note: such as `costs: {imagine: 0.08}` and `cost_unit: USD`

    error[P006]: `costs` and `cost_unit` of server `b` belong together
     --> permissions.yaml:3:36
      |
    3 |   b: {url: "http://b/", cost_unit: USD}
      |                                    ^^^
      |
      = note: such as `costs: {imagine: 0.08}` and `cost_unit: USD`

    error[P030]: `$` is not a unit of cost: use a short word such as `USD` or `tokens`
     --> permissions.yaml:4:36
      |
    4 |   c: {url: "http://c/", cost_unit: $, costs: {draw: 1}}
      |                                    ^

    error[P030]: `-1` is no amount of USD
     --> permissions.yaml:8:16
      |
    8 |     costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, m...
      |                ^^
      |
      = note: `-1` is not a decimal number with at most six digits behind the point

    error[P030]: `0.0000001` is no amount of USD
     --> permissions.yaml:8:23
      |
    8 |     costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, m...
      |                       ^^^^^^^^^
      |
      = note: `0.0000001` is not a decimal number with at most six digits behind the point

    error[P006]: the cost of `c` is empty
     --> permissions.yaml:8:34
      |
    8 |     costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, m...
      |                                  ^ write a value, or leave the key away

    error[P030]: the cost of `d` needs `cost_from` and `max_cost`
     --> permissions.yaml:8:41
      |
    8 |     costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, m...
      |                                         ^
      |
      = note: what a server reports is known too late, so `max_cost` is held meanwhile

    error[P030]: `args.n` is no place in a result
     --> permissions.yaml:8:83
      |
    8 |     costs: {a: -1, b: 0.0000001, c: "", d: {cost_from: result./x}, e: {cost_from: args.n, max_cost: 1}, f: {cost_from: result./a~2, m...
      |                                                                                   ^^^^^^
      |
      = note: such as `result./structuredContent/cost`: a JSON Pointer behind `result.`

    error[P030]: `x` is no amount of USD
     --> permissions.yaml:8:143
      |
    8 | ...om: args.n, max_cost: 1}, f: {cost_from: result./a~2, max_cost: x}}
      |                                                                    ^
      |
      = note: `x` is not a decimal number with at most six digits behind the point
    "###);
}

#[test]
fn what_is_no_weight_and_no_refund() {
    let text = r#"
        defaults: {timezone: UTC}
        servers:
          a:
            url: "http://a/"
            cost_unit: USD
            costs: {"*": 1}
            budgets:
              - {limit: 5/day, weight: count}
              - {limit: 6/day, weight: {}}
              - {limit: 7/day, weight: {argument: "a b"}}
              - {limit: 8 USD/day, weight: {argument: count}}
              - {limit: 9/day, max_cost: 3}
              - {limit: 10/week, weight: {argument: count}, max_cost: 1.5}
              - {limit: 11/month, refund: [tool_errors]}
              - {limit: 12 USD/month, max_cost: 0.5, refund: [unreachable, rejected, tool_error]}
        "#;
    insta::assert_snapshot!(said(text), @r###"
    error[P006]: `weight` of a budget must be a mapping, not text
     --> permissions.yaml:8:32
      |
    8 |       - {limit: 5/day, weight: count}
      |                                ^^^^^
      |
      = note: its keys are argument

    error[P006]: `weight` names no argument
     --> permissions.yaml:9:24
      |
    9 |       - {limit: 6/day, weight: {}}
      |                        ^^^^^^
      |
      = note: such as `weight: {argument: count}`

    error[P030]: `a b` cannot be weighed
      --> permissions.yaml:10:44
       |
    10 |       - {limit: 7/day, weight: {argument: "a b"}}
       |                                            ^^^
       |
       = note: `argument` is the name of a number at the top of the arguments: letters, digits, `.`, `_` and `-`

    error[P030]: a budget of costs takes no `weight`
      --> permissions.yaml:11:47
       |
    11 |       - {limit: 8 USD/day, weight: {argument: count}}
       |                                               ^^^^^
       |
       = note: `argument` is the name of a number at the top of the arguments: letters, digits, `.`, `_` and `-`

    error[P030]: every call counts as one here, so `max_cost` says nothing
      --> permissions.yaml:12:34
       |
    12 |       - {limit: 9/day, max_cost: 3}
       |                                  ^
       |
       = note: it belongs to a budget of costs, or to one with `weight`

    error[P030]: `1.5` is no amount of count
      --> permissions.yaml:13:63
       |
    13 |       - {limit: 10/week, weight: {argument: count}, max_cost: 1.5}
       |                                                               ^^^
       |
       = note: `1.5` is not a whole number

    error[P006]: `tool_errors` is none of unreachable, rejected, tool_error
      --> permissions.yaml:14:36
       |
    14 |       - {limit: 11/month, refund: [tool_errors]}
       |                                    ^^^^^^^^^^^
       |
    help: a similar one exists
       |
    14 -       - {limit: 11/month, refund: [tool_errors]}
    14 +       - {limit: 11/month, refund: [tool_error]}
       |
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
      = note: limit, tools and the rest of a pool stand under `budgets` at the top level
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

#[test]
fn networks_and_numbers_of_calls_that_are_none() {
    let text = r#"
        servers:
          a: {url: "http://a/", max_concurrent: 0}
        agents:
          x:
            token_hash: "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee"
            servers: [a]
            max_concurrent: many
            from: [10.20.3.4/16, localhost, 10.0.0.0/33, "::1", "::1"]
        "#;
    insta::assert_snapshot!(said(text), @r#"
    error[P030]: `0` is not a whole number of at least 1
     --> permissions.yaml:2:41
      |
    2 |   a: {url: "http://a/", max_concurrent: 0}
      |                                         ^
      |
      = note: `max_concurrent` is how many calls may run at once; `disabled: true` lets none through

    error[P030]: `many` is not a whole number of at least 1
     --> permissions.yaml:7:21
      |
    7 |     max_concurrent: many
      |                     ^^^^
      |
      = note: `max_concurrent` is how many calls may run at once; `disabled: true` lets none through

    error[P030]: `10.20.3.4/16` is not a network
     --> permissions.yaml:8:12
      |
    8 |     from: [10.20.3.4/16, localhost, 10.0.0.0/33, "::1", "::1"]
      |            ^^^^^^^^^^^^
      |
      = note: this is one address of a network: write `10.20.0.0/16` for all of it, or leave the `/` away for this one

    error[P030]: `localhost` is not a network
     --> permissions.yaml:8:26
      |
    8 |     from: [10.20.3.4/16, localhost, 10.0.0.0/33, "::1", "::1"]
      |                          ^^^^^^^^^
      |
      = note: write an address or a network, such as `10.20.0.7`, `10.20.0.0/16` or `2001:db8::/32`

    error[P030]: `10.0.0.0/33` is not a network
     --> permissions.yaml:8:37
      |
    8 |     from: [10.20.3.4/16, localhost, 10.0.0.0/33, "::1", "::1"]
      |                                     ^^^^^^^^^^^
      |
      = note: an address of this kind has 32 bits

    error[P006]: `::1` stands twice in one list
     --> permissions.yaml:8:58
      |
    8 |     from: [10.20.3.4/16, localhost, 10.0.0.0/33, "::1", "::1"]
      |                                                          ^^^
    "#);
}
