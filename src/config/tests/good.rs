//! Files that are right: what they grant, what they charge, and how their servers are reached.

use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::dedented;
use crate::policy::{self, Decision, DenialReason, Question, Target, ViewerScope};
use crate::types::{AgentName, Endpoint, EraChoice, Instances, Timestamp, TokenHash};

/// 2026-09-21, in seconds since 1970.
const SEPTEMBER: i64 = 1_790_000_000;
/// The 14th of November 2028.
const YEARS_LATER: i64 = 1_857_700_000;

const HASH: &str = "sha256:5301106ff4b7f7727a6c54be77a6a3eacea8014c2ac76b13bae98ce93c43d0ee";
const TOKEN: &str = "ghp_0123456789abcdefghij";

fn loaded(text: &str) -> Loaded {
    let environment = |name: &str| (name == "GITHUB_TOKEN").then(|| TOKEN.to_owned());
    let text = dedented(text).replace("HASH", HASH);
    parse("permissions.yaml", &text, &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

fn decided(loaded: &Loaded, agent: &str, call: &str, at: i64) -> Decision {
    let rules = &loaded.permissions;
    let agent: AgentName = agent.parse().unwrap();
    let (server, tool) = call.split_once('/').unwrap();
    let question = Question {
        agent: &rules.agents()[&agent],
        server: &server.parse().unwrap(),
        target: Target::Tool(tool),
        arguments: None,
        at: Timestamp::from_micros(at * 1_000_000),
        peer: None,
    };
    policy::decide(rules, &question)
}

/// The rule that allowed a call and what it charges, or why it was refused.
fn answer(loaded: &Loaded, agent: &str, call: &str, at: i64) -> Result<String, DenialReason> {
    match decided(loaded, agent, call, at) {
        Decision::Denied(denial) => Err(denial.reason),
        Decision::Allowed(grant) => {
            let charges = grant.charges().iter();
            let charges = charges.map(|charge| format!("\n{} {}", charge.limit, charge.key));
            let rates = grant.rates().iter();
            let rates = rates.map(|rule| format!("\n{} {}", rule.rate, rule.key));
            let all: String = charges.chain(rates).collect();
            Ok(format!("{}{all}", grant.rule()))
        }
    }
}

#[test]
fn the_form_of_the_first_deployment_stays_valid() {
    let text = "agents:\n  clawd: {token_hash: \"HASH\", servers: [\"*\"]}\nservers:\n  outline: {url: \"http://mcp-outline:3000/mcp\", description: \"Outline wiki search\"}\n";
    let file = loaded(text);
    assert!(file.warnings.is_empty());
    assert_eq!(file.permissions.zone().name(), "UTC");
    let allowed = answer(&file, "clawd", "outline/search", SEPTEMBER);
    assert_eq!(allowed.as_deref(), Ok("agents.clawd.servers[0] (line 2)"));
    let server = &file.permissions.servers()["outline"];
    assert_eq!(server.description.as_deref(), Some("Outline wiki search"));
    assert_eq!(file.connections["outline"].timeout, Duration::from_secs(60));
}

#[test]
fn the_example_loads_without_a_warning() {
    let example = loaded(EXAMPLE);
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
    assert!(EXAMPLE.lines().count() < 100, "it fits on two screens");
}

#[test]
fn the_example_grants_what_it_says() {
    let example = loaded(EXAMPLE);
    let ask = |agent, call, at| answer(&example, agent, call, at);
    insta::assert_snapshot!(ask("designer", "images/imagine", SEPTEMBER).unwrap(), @"
    agents.designer.servers[0] (line 67)
    2/day agents.designer/images[describe,imagine] calls/day@Europe/Berlin
    40/month budgets.image-team calls/month@Europe/Berlin
    5/day servers.images calls/day@Europe/Berlin each agent=designer
    20/minute agents.designer
    ");
    insta::assert_snapshot!(ask("designer", "github/create_issue", SEPTEMBER).unwrap(), @"
    agents.designer.servers[1] (line 70)
    20/week agents.designer/github[create_issue] calls/week@Europe/Berlin
    20/minute agents.designer
    ");
    insta::assert_snapshot!(ask("designer", "github/get_issue", SEPTEMBER).unwrap(), @"
    roles.reader.servers[1] (line 42)
    20/minute agents.designer
    ");
    insta::assert_snapshot!(ask("clawd", "images/upscale", SEPTEMBER).unwrap(), @"
    agents.clawd.servers[0] (line 54)
    5/day servers.images calls/day@Europe/Berlin each agent=clawd
    120/minute agents.clawd
    ");
    let refused = [
        (
            "designer",
            "images/upscale",
            SEPTEMBER,
            DenialReason::NotGranted,
        ),
        (
            "designer",
            "github/delete_repository",
            SEPTEMBER,
            DenialReason::DeniedRule,
        ),
        (
            "clawd",
            "github/delete_repository",
            SEPTEMBER,
            DenialReason::DeniedRule,
        ),
        (
            "designer",
            "github/create_issue",
            YEARS_LATER,
            DenialReason::Expired,
        ),
        (
            "clawd",
            "calendar/list",
            SEPTEMBER,
            DenialReason::ServerDisabled,
        ),
        (
            "nightly-report",
            "outline/search",
            SEPTEMBER,
            DenialReason::AgentDisabled,
        ),
    ];
    for (agent, call, at, reason) in refused {
        assert_eq!(ask(agent, call, at), Err(reason), "{agent} {call}");
    }
}

#[test]
fn tokens_and_viewers_are_known_until_they_expire() {
    let file = loaded(
        r#"
        agents:
          a: {token_hash: {hash: "HASH", label: laptop, expires: 2026-12-01}}
        viewers:
          v:
            token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"
            see: [results, arguments, results]
        "#,
    );
    let rules = &file.permissions;
    let agent = rules.agents().values().next().unwrap();
    let token = &agent.tokens[0];
    assert_eq!(token.label.as_deref(), Some("laptop"));
    assert_eq!(token.hash.to_policy_form(), HASH);
    let last = Timestamp::from_micros(1_796_169_599_999_999);
    let after = Timestamp::from_micros(1_796_169_600_000_000);
    assert!(rules.agent_by_token(&token.hash, last).is_some());
    assert!(rules.agent_by_token(&token.hash, after).is_none());
    assert!(rules.agent_by_token(&TokenHash::of(""), last).is_none());
    let viewer = rules.viewers().values().next().unwrap();
    let all = [
        ViewerScope::Metadata,
        ViewerScope::Arguments,
        ViewerScope::Results,
    ];
    assert_eq!(viewer.see, all);
}

#[test]
fn a_viewer_has_a_token_or_a_header_or_both() {
    let file = loaded(
        r#"
        viewers:
          auditors: {header: {X-Forwarded-Groups: audit}, see: [results]}
          board: {token_hash: "HASH", header: {x-forwarded-groups: 007}}
          governance: {token_hash: "sha256:8a5f6b18c95838cbb9bd15d18b5b585378a83cf28ec03c6cab16d4d878f439a3"}
        "#,
    );
    let viewers = file.permissions.viewers().values().map(|viewer| {
        let header = viewer.header.as_ref().map(ToString::to_string);
        (viewer.tokens.len(), header.unwrap_or_default())
    });
    let viewers: Vec<_> = viewers.collect();
    let wanted = [
        (0, "x-forwarded-groups: audit"),
        (1, "x-forwarded-groups: 007"),
        (1, ""),
    ];
    assert_eq!(
        viewers,
        wanted.map(|(tokens, header)| (tokens, header.to_owned()))
    );
    let opened = file
        .permissions
        .viewer_by_token(&TokenHash::of(""), Timestamp::default());
    assert!(opened.is_none(), "no token opens where there is none");
}

/// Lesson of other gateways: an empty list that meant everything.
#[test]
fn what_is_empty_or_missing_grants_nothing() {
    let table = [
        "",
        "servers: []",
        "servers:",
        "servers: [{server: a, tools: []}]",
        "servers: [{server: a, tools: }]",
        "roles: []",
        "roles: [nothing]",
        "deny: []",
    ];
    for grants in table {
        let text = format!(
            "servers: {{a: {{url: 'http://a/'}}}}\nroles: {{nothing: {{servers: }}}}\nagents:\n  x:\n    token_hash: HASH\n    {grants}\n"
        );
        let refused = answer(&loaded(&text), "x", "a/tool", SEPTEMBER);
        assert_eq!(refused, Err(DenialReason::NotGranted), "{grants}");
    }
    for text in [
        "",
        "# nothing\n",
        "version: 1\n",
        "agents:\nservers:\nroles:\ndeny:\nbudgets:\nviewers:\ndefaults:\n",
    ] {
        let file = loaded(text);
        assert_eq!(
            file.permissions.agents().len() + file.connections.len(),
            0,
            "{text}"
        );
    }
}

#[test]
fn every_way_to_write_a_budget_is_read() {
    let file = loaded(
        r#"
        defaults: {timezone: Europe/Berlin, rate: 60/minute}
        budgets:
          plain: 9/week
          split: {limit: 8/year, tools: [y, x], each: agent+tool}
        servers:
          a: {url: "http://a/", budgets: 7/month, rate: 5/second}
        roles:
          reader: {servers: [{server: "a*", tools: [y, x], budgets: [1/day, plain], rate: 3/hour}]}
        agents:
          x:
            token_hash: HASH
            roles: [reader]
            budgets: [{limit: 6/hour, tools: [x], each: tool}, {pool: split}, plain]
        "#,
    );
    insta::assert_snapshot!(answer(&file, "x", "a/x", SEPTEMBER).unwrap(), @"
    roles.reader.servers[0] (line 8)
    1/day agents.x/a*[x,y] calls/day@Europe/Berlin
    9/week budgets.plain calls/week@Europe/Berlin
    6/hour agents.x[x] calls/hour@Europe/Berlin each tool=x
    8/year budgets.split[x,y] calls/year@Europe/Berlin each agent=x tool=x
    7/month servers.a calls/month@Europe/Berlin
    3/hour agents.x/a*[x,y]
    60/minute agents.x
    5/second servers.a
    ");
}

#[test]
fn two_roles_may_grant_the_same_without_limits() {
    let file = loaded(
        r#"
        servers: {a: {url: "http://a/"}}
        roles: {one: {servers: [a]}, two: {servers: [a]}}
        agents: {x: {token_hash: HASH, roles: [one, two]}}
        "#,
    );
    assert!(answer(&file, "x", "a/tool", SEPTEMBER).is_ok());
}

#[test]
fn a_server_is_reached_as_written() {
    let file = loaded(
        r#"
        servers:
          http:
            url: "https://${HOST:-api.example.com}/mcp"
            headers: {Authorization: "Bearer ${GITHUB_TOKEN}", X-Price: "5$$"}
            protocol: legacy
            timeout: 5m
          child:
            description: ""
            command: npx
            args: [-y, "server", ""]
            env: {NODE_ENV: production, EMPTY: ""}
            cwd: work
            instances: shared
        agents: {x: {token_hash: HASH, servers: ["*"]}}
        "#,
    );
    assert!(file.warnings.is_empty(), "{:?}", file.warnings);
    let Endpoint::Http { url, headers } = &file.connections["http"].endpoint else {
        panic!("a url");
    };
    assert_eq!(url.expose().expose(), "https://api.example.com/mcp");
    assert_eq!(headers[0].1.expose().expose(), format!("Bearer {TOKEN}"));
    assert_eq!(headers[0].1.masked(), "Bearer ${GITHUB_TOKEN} (set)");
    assert_eq!(headers[1].1.masked(), "5$");
    assert_eq!(file.connections["http"].timeout, Duration::from_secs(300));
    let Endpoint::Stdio {
        args,
        env,
        instances,
        ..
    } = &file.connections["child"].endpoint
    else {
        panic!("a command");
    };
    assert_eq!((args.len(), env.len()), (3, 2));
    assert_eq!(*instances, Instances::Shared);
    assert!(!format!("{file:?}").contains(TOKEN));
}

/// YAML 1.1 would read these as false, a number and nothing; here they are names.
#[test]
fn a_name_is_what_is_written() {
    let text =
        "servers: {no: {url: 'http://a/'}, 1e3: {url: 'http://b/'}, 'null': {url: 'http://c/'}}\n";
    let file = loaded(text);
    let names: Vec<&str> = file.connections.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["1e3", "no", "null"]);
}

#[test]
fn many_agents_are_no_burden() {
    let mut text = String::from("servers:\n");
    for n in 0..300 {
        text.push_str(&format!("  s{n}: {{url: 'http://s{n}/'}}\n"));
    }
    text.push_str("agents:\n");
    for n in 0..1000 {
        let hash = TokenHash::of(&format!("token {n}")).to_policy_form();
        text.push_str(&format!(
            "  a{n}: {{token_hash: '{hash}', servers: [s{}, 's1*']}}\n",
            n % 300
        ));
    }
    assert_eq!(loaded(&text).permissions.agents().len(), 1000);
}

#[test]
fn the_old_transport_can_be_said_in_two_ways() {
    let text = r#"
        servers:
          a: {url: "http://a/sse", protocol: sse}
          b: {url: "http://b/sse", transport: sse}
          c: {url: "http://c/sse", transport: sse, protocol: sse}
        "#;
    for connection in loaded(text).connections.values() {
        assert_eq!(connection.era, EraChoice::Sse);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fall_over(text in "[a-z:{}\\[\\]\"'&*!<>|$#,\\- \n\t\u{e9}]{0,80}") {
        if let Err(problems) = parse("p", &text, &|_| None) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn a_token_is_never_shown_wherever_it_was_pasted(at in 0..EXAMPLE.len(), colour in any::<bool>()) {
        let token = "hwd_0123456789abcdefghijABCDEFGHIJ0123456789abcdef";
        prop_assume!(EXAMPLE.is_char_boundary(at));
        let (head, tail) = EXAMPLE.split_at(at);
        let shown = match parse("p", &format!("{head}{token}{tail}"), &|_| None) {
            Err(problems) => problems.render(colour) + &format!("{problems:?}"),
            Ok(loaded) => format!("{:?}", loaded.warnings),
        };
        prop_assert!(!shown.contains("0123456789abcdefghijABCDEFGHIJ"), "{}", shown);
    }
}

#[test]
fn the_rule_that_names_a_tool_most_exactly_says_how_long_its_calls_are_told_apart() {
    let file = loaded(
        "
        servers:
          a: {url: http://a/mcp, dedupe: 10m}
          b: {url: http://b/mcp, dedupe: {imagine: 1h, 'render_*': 2h, 'r*': 24h, '*_image': 30s, '*_imago': 1m}}
          c: {url: http://c/mcp}
        ",
    );
    let minutes = |server: &str, tool: &str| {
        let span = file.permissions.servers()[server].dedupe_of(tool);
        span.map(|span| span.as_secs_f64() / 60.0)
    };
    assert_eq!(minutes("a", "anything"), Some(10.0));
    assert_eq!(minutes("b", "imagine"), Some(60.0));
    assert_eq!(minutes("b", "render_image"), Some(120.0));
    assert_eq!(minutes("b", "rewrite"), Some(1_440.0));
    assert_eq!(minutes("b", "draw_image"), Some(0.5));
    assert_eq!(minutes("b", "describe"), None);
    assert_eq!(minutes("c", "imagine"), None);
}
