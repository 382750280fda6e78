//! Changes as people make them, and what is said about each.

use super::*;
use crate::config;

const OLD: &str = "
defaults: {timezone: Europe/Berlin}
servers:
  images: {url: 'http://images/mcp', budgets: [{limit: 5/day, each: agent}]}
  notes: {command: notes-server, args: [--read]}
budgets: {team: 40/month}
deny: ['notes/delete_*']
agents:
  clawd: {token_hash: 'sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5', servers: [notes]}
  designer:
    token_hash: 'sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae'
    servers:
      - {server: images, tools: [imagine], budgets: [2/day, team]}
viewers:
  governance: {token_hash: 'sha256:18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4'}
tests:
  - {agent: clawd, deny: [notes/delete_all]}
";

/// What is said when this text is replaced.
fn said(from: &str, to: &str) -> String {
    assert!(OLD.contains(from), "{from}");
    let [old, new] = [OLD.to_owned(), OLD.replacen(from, to, 1)]
        .map(|text| config::review("permissions.yaml", &text).unwrap());
    let mut past = Past::default();
    let seen = ["notes/read", "notes/delete_all"].map(|name| name.split_once('/').unwrap());
    for (server, tool) in seen {
        let tools = past.tools.entry(server.parse().unwrap()).or_default();
        tools.insert(tool.to_owned());
        let used = (
            "clawd".parse().unwrap(),
            server.parse().unwrap(),
            tool.to_owned(),
        );
        past.calls.insert(used, 31);
    }
    let changes = diff(
        &old,
        &new,
        &past,
        Timestamp::from_micros(1_795_262_400_000_000),
    );
    let lines = changes.iter().map(|change| {
        let (about, sign, what) = (&change.about, change.sign.as_str(), &change.what);
        let (detail, effect) = (&change.detail, change.effect.as_str());
        format!(
            "{about} {sign} {what} [{detail}] {effect} {}",
            change.high.unwrap_or("-")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_grant_of_more_tools() {
    insta::assert_snapshot!(said("[imagine]", "[imagine, blend, 'up_*']"), @r###"
    designer + may call images/blend, images/up_* [2/day, 40/month, 5/day] loosened -
    "###);
}

#[test]
fn a_limit_that_moves_and_a_window_that_is_another() {
    insta::assert_snapshot!(said("[2/day, team]", "[5/day, team]"), @r###"
    designer ~ budget agents.designer/images[imagine] [2/day -> 5/day] loosened -
    "###);
    insta::assert_snapshot!(said("[2/day, team]", "[5/week, team]"), @r###"
    designer ~ budget agents.designer/images[imagine] [2/day -> 5/week] neutral -
    "###);
    insta::assert_snapshot!(said("team: 40/month", "team: 30/month"), @r###"
    everyone ~ budget budgets.team [40/month -> 30/month] tightened -
    "###);
    insta::assert_snapshot!(said("{limit: 5/day, each: agent}", "5/day"), @r###"
    servers ~ budget servers.images [5/day for each agent -> 5/day] neutral -
    "###);
}

#[test]
fn a_whole_server_is_gained_or_lost() {
    insta::assert_snapshot!(said("servers: [notes]", "servers: [notes, images]"), @r###"
    clawd + may call images/* [5/day] loosened a whole server
    clawd + may use prompts and resources of images [] loosened -
    "###);
    insta::assert_snapshot!(said("servers: [notes]", "servers: []"), @r###"
    clawd - loses notes/* [31 calls in the last 30 days] tightened -
    clawd - loses prompts and resources of notes [] tightened -
    "###);
}

#[test]
fn a_deny_that_goes_opens_what_it_forbade() {
    insta::assert_snapshot!(said("['notes/delete_*']", "[]"), @r###"
    everyone - deny rule notes/delete_* [] loosened what it forbade is open to whoever is granted it
    tests ~ 1 of the tests in the file fail [] neutral the file is refused until they pass
    clawd + may call notes/delete_* [] loosened -
    "###);
}

#[test]
fn a_pattern_that_is_not_open_as_a_whole_says_so() {
    insta::assert_snapshot!(said("['notes/delete_*']", "['notes/delete_all*', 'notes/*_b']"), @r###"
    everyone - deny rule notes/delete_* [] loosened what it forbade is open to whoever is granted it
    clawd + may call notes/delete_* (but not delete_*_b, delete_all*, delete_b) [] loosened -
    clawd - loses notes/*_b [] tightened -
    everyone + deny rule notes/*_b [] tightened -
    everyone + deny rule notes/delete_all* [] tightened -
    "###);
}

#[test]
fn a_grant_that_ends() {
    insta::assert_snapshot!(said("budgets: [2/day, team]}", "budgets: [2/day, team], expires: 2027-01-31}"), @r###"
    designer ~ grant of images ends [never -> 2027-02-01T00:00:00+01:00] tightened -
    "###);
}

#[test]
fn what_is_asked_of_arguments_and_addresses() {
    let grant = "budgets: [2/day, team]}";
    let asking = |when: &str| format!("budgets: [2/day, team], when: {{{when}}}}}");
    insta::assert_snapshot!(said(grant, &asking("count: {max: 4}")), @r###"
    designer ~ conditions on images[imagine] [argument `count` must be at most 4] tightened -
    "###);
    let agent = "    servers:\n      - {server: images";
    let limited = format!("    from: [10.0.0.0/8]\n    max_concurrent: 2\n{agent}");
    insta::assert_snapshot!(said(agent, &limited), @r###"
    designer ~ calls of designer at once [any number -> 2] tightened -
    designer ~ may call from [anywhere -> 10.0.0.0/8] tightened -
    "###);
}

#[test]
fn servers_that_are_others() {
    insta::assert_snapshot!(said("command: notes-server", "command: /opt/notes-server"), @r###"
    servers ~ notes command [notes-server --read -> /opt/notes-server --read] neutral runs as the gateway
    "###);
    insta::assert_snapshot!(said("http://images/mcp", "http://images.example.com/mcp"), @r###"
    servers ~ images url [http://images/mcp -> http://images.example.com/mcp] neutral calls and secrets go somewhere else
    "###);
    insta::assert_snapshot!(said("args: [--read]", "args: [--read], env: {KEY: '${KEY}'}"), @r###"
    servers ~ notes surroundings [KEY] neutral runs as the gateway
    "###);
}

#[test]
fn tokens_and_readers() {
    let (old, new) = ("'sha256:2c26b46b", "'sha256:3c26b46b");
    insta::assert_snapshot!(said(old, new), @r###"
    designer + has another token, 3c26b46b [] loosened whoever has it is this agent
    designer - token 2c26b46b is not valid any more [] tightened -
    "###);
    insta::assert_snapshot!(said("f4f8e4'}", "f4f8e4', see: [results]}"), @r###"
    viewers ~ governance sees [metadata -> metadata, results] loosened sees what was sent or answered
    "###);
}

#[test]
fn readers_of_some_agents() {
    insta::assert_snapshot!(said("f4f8e4'}", "f4f8e4', agents: [designer]}"), @r###"
    viewers ~ governance sees the calls of [all agents -> designer] tightened -
    "###);
    let more = "f4f8e4'}\n  friend: {header: {X-Groups: audit}, agents: []}";
    insta::assert_snapshot!(said("f4f8e4'}", more), @r###"
    viewers + friend reads the pages [metadata, of no agent, comes in by x-groups: audit] loosened sees who calls what
    "###);
}

#[test]
fn readers_that_a_proxy_lets_in() {
    let group = |group: &str| format!("f4f8e4', header: {{X-Groups: {group}}}}}");
    insta::assert_snapshot!(said("f4f8e4'}", &group("audit")), @r###"
    viewers + governance comes in by a header [x-groups: audit] loosened whoever a trusted proxy says this of reads the pages
    "###);
    let gone =
        "{token_hash: 'sha256:18ac3e7343f016890c510e93f935261169d9e3f565436429830faf0934f4f8e4'}";
    insta::assert_snapshot!(said(gone, "{header: {X-Groups: audit}}"), @r###"
    viewers + governance comes in by a header [x-groups: audit] loosened whoever a trusted proxy says this of reads the pages
    viewers - token 18ac3e73 of governance is not valid any more [] tightened -
    "###);
    let more = "f4f8e4'}\n  auditors: {header: {X-Groups: audit}, see: [results]}";
    insta::assert_snapshot!(said("f4f8e4'}", more), @r###"
    viewers + auditors reads the pages [metadata, results, comes in by x-groups: audit] loosened sees who calls what
    "###);
    let headers = |old: &str, new: &str| {
        let [old, new] = [old, new].map(|rest| {
            let text = OLD.replace("f4f8e4'}", &format!("f4f8e4'{rest}}}"));
            config::review("permissions.yaml", &text).unwrap()
        });
        let changes = diff(&old, &new, &Past::default(), Timestamp::default());
        let lines = changes.iter().map(|change| {
            let (sign, what, detail) = (change.sign.as_str(), &change.what, &change.detail);
            let (effect, high) = (change.effect.as_str(), change.high.unwrap_or("-"));
            format!("{sign} {what} [{detail}] {effect} {high}")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (audit, board) = (", header: {X-Groups: audit}", ", header: {X-Groups: board}");
    insta::assert_snapshot!(headers(audit, board), @r###"
    ~ governance comes in by another header [x-groups: audit -> x-groups: board] loosened whoever a trusted proxy says this of reads the pages
    "###);
    insta::assert_snapshot!(headers(audit, ""), @r###"
    - governance comes in by no header any more [x-groups: audit] tightened -
    "###);
    assert_eq!(headers(audit, ", header: {x-groups: audit}"), "");
}

#[test]
fn zones_and_tests() {
    insta::assert_snapshot!(said("Europe/Berlin", "Etc/UTC"), @r###"
    defaults ~ time zone [Europe/Berlin -> Etc/UTC] neutral days, weeks and months of budgets begin at other times
    "###);
    insta::assert_snapshot!(said("deny: [notes/delete_all]", "deny: [notes/read]"), @r###"
    tests ~ 1 of the tests in the file fail [] neutral the file is refused until they pass
    tests + 1 of the tests in the file [] neutral -
    tests - 1 of the tests in the file [] neutral -
    "###);
}

#[test]
fn agents_that_come_and_go() {
    let agent = "  clawd: {token_hash: 'sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5', servers: [notes]}";
    let renamed = agent.replace("clawd", "clawdia");
    let text = OLD.replace("agent: clawd,", "agent: designer,");
    assert!(text.contains(agent));
    let loaded = [text.clone(), text.replace(agent, &renamed)]
        .map(|text| config::review("permissions.yaml", &text).unwrap());
    let changes = diff(
        &loaded[0],
        &loaded[1],
        &Past::default(),
        Timestamp::default(),
    );
    let lines: Vec<String> = changes
        .iter()
        .map(|change| format!("{} {} {}", change.about, change.sign.as_str(), change.what))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r###"
    clawdia + may call notes/* (but not delete_*)
    clawd - is no agent any more
    clawd - loses notes/*
    clawd - loses prompts and resources of notes
    clawdia + is a new agent
    clawdia + may use prompts and resources of notes
    "###);
}
