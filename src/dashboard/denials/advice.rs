//! What would allow a call that was refused: a rule to paste, or the line that says no. Pure.
//!
//! It asks the rules in force, which may not be those that refused the call.

use std::fmt::Write;

use crate::policy::{
    Agent, Decision, DenialReason, Grant, GrantRule, Permissions, Place, Question, Target, decide,
};
use crate::types::{ServerName, Timestamp};

/// A call that was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) agent: &'a str,
    pub(super) server: &'a str,
    /// Nothing for a prompt, a resource or a list.
    pub(super) tool: Option<&'a str>,
    pub(super) reason: &'a str,
}

/// What would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Advice {
    /// A sentence of our own, with places of the rules in it.
    pub(super) words: String,
    /// A piece of permissions.yaml to add, where that is the answer.
    pub(super) snippet: Option<String>,
}

impl Advice {
    fn say(words: impl Into<String>) -> Option<Self> {
        Some(Self {
            words: words.into(),
            snippet: None,
        })
    }
}

/// Says what would allow a call; nothing where no rule is the answer.
pub(super) fn advise(permissions: &Permissions, asked: Asked<'_>, at: Timestamp) -> Option<Advice> {
    let by_rule = [
        "not_granted",
        "denied_rule",
        "expired",
        "condition",
        "disabled",
        "budget",
        "rate",
        "concurrency",
    ];
    if !by_rule.contains(&asked.reason) {
        return None;
    }
    let server: ServerName = asked.server.parse().ok()?;
    let mut agents = permissions.agents().values();
    let Some(agent) = agents.find(|agent| agent.name.as_str() == asked.agent) else {
        return Advice::say("The rules no longer name this agent.");
    };
    let question = Question {
        agent,
        server: &server,
        target: asked.tool.map_or(Target::Listing, Target::Tool),
        arguments: None,
        at,
        peer: None,
    };
    match decide(permissions, &question) {
        Decision::Allowed(grant) => allowed(&grant, agent, asked),
        Decision::Denied(denial) => {
            let place = denial.reasons.first().map(|reason| &reason.place);
            refused(denial.reason, place, &question, asked)
        }
    }
}

/// The rules let it through, but not always.
fn allowed(grant: &Grant, agent: &Agent, asked: Asked<'_>) -> Option<Advice> {
    match asked.reason {
        "budget" => {
            let limits = grant.charges().iter();
            let limits = limits.map(|charge| format!("{} at {}", charge.limit, charge.place));
            Advice::say(listed(
                "It waits for the next window, or for a higher limit",
                limits,
            )?)
        }
        "rate" => {
            let places = grant.rates().iter().map(|rate| rate.place.to_string());
            Advice::say(listed("It waits a moment, or for a higher rate", places)?)
        }
        "concurrency" => {
            let places = grant
                .concurrency()
                .iter()
                .map(|rule| rule.place.to_string());
            Advice::say(listed(
                "It waits for another call to end, or for a higher number",
                places,
            )?)
        }
        "condition" => {
            let rules = agent.grants.iter().filter(|rule| covers(rule, asked));
            let conditions = rules.flat_map(|rule| rule.when.iter());
            let conditions =
                conditions.map(|it| format!("{} at {}", it.argument.as_str(), it.place));
            Advice::say(listed(
                "Other arguments, or other conditions on",
                conditions,
            )?)
        }
        _ => Advice::say("The rules in force allow it by now."),
    }
}

fn listed(what: &str, places: impl Iterator<Item = String>) -> Option<String> {
    /// More places than that nobody reads.
    const NAMED: usize = 4;
    let places: Vec<String> = places.take(NAMED).collect();
    (!places.is_empty()).then(|| format!("{what}: {}.", places.join("; ")))
}

fn covers(rule: &GrantRule, asked: Asked<'_>) -> bool {
    let fits = |tool: &str| {
        let tools = rule.tools.as_ref();
        tools.is_none_or(|tools| tools.iter().any(|pattern| pattern.matches(tool)))
    };
    rule.server.matches(asked.server) && asked.tool.is_some_and(fits)
}

fn refused(
    reason: DenialReason,
    place: Option<&Place>,
    question: &Question<'_>,
    asked: Asked<'_>,
) -> Option<Advice> {
    let at = place
        .map(|place| format!(" at {place}"))
        .unwrap_or_default();
    match reason {
        DenialReason::NotGranted if asked.reason == "not_granted" => grant(question.agent, asked),
        DenialReason::NotGranted => Advice::say("The rules in force do not grant it any more."),
        DenialReason::Expired => Advice::say(format!("A later end for the grant{at}.")),
        DenialReason::DeniedRule => {
            Advice::say(format!("Nothing overrides a deny; it stands{at}."))
        }
        DenialReason::AgentDisabled => Advice::say(format!("The agent is switched off{at}.")),
        DenialReason::ServerDisabled => Advice::say(format!("The server is switched off{at}.")),
        DenialReason::UnknownServer => Advice::say("The rules no longer name this server."),
        DenialReason::Condition | DenialReason::Address | DenialReason::CostInvalid => {
            Advice::say(format!("It is refused{at}."))
        }
    }
}

/// A grant for the agent, to be added to those it has. A name with `*` would be a pattern, some characters
/// cannot stand in one, and what cannot be seen is not to be pasted unread.
fn grant(agent: &Agent, asked: Asked<'_>) -> Option<Advice> {
    let is_plain = |name: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@+".contains(&byte);
        name.len() <= 128 && name.bytes().all(is_plain)
    };
    let mut snippet = format!("agents:\n  {}:\n    servers:\n", agent.name);
    let words = match asked.tool {
        Some(tool) if is_plain(tool) => {
            // A JSON text is a text of YAML (YAML 1.2.2, section 1.2).
            let tool = serde_json::Value::from(tool);
            // Writing to a String cannot fail.
            let _ = writeln!(
                snippet,
                "      - {{server: {}, tools: [{tool}]}}",
                asked.server
            );
            "A grant, if the agent is to have it. Add the last line to those under its servers:"
        }
        Some(_) => {
            return Advice::say("A grant; the name of the tool is too odd to be written here.");
        }
        None => {
            let _ = writeln!(snippet, "      - {{server: {}}}", asked.server);
            "A grant of the whole server: tools, resources and prompts. Add the last line to those under its servers:"
        }
    };
    Some(Advice {
        words: words.into(),
        snippet: Some(snippet),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const RULES: &str = r#"servers:
  images: {url: "http://127.0.0.1:9/mcp", budgets: [50/day]}
  github: {url: "http://127.0.0.1:9/mcp"}
  closed: {url: "http://127.0.0.1:9/mcp", disabled: true}
deny: ["github/delete_*"]
agents:
  clawd:
    token_hash: "sha256:0e1d1c8f5e3a5b4f7b2d6c9a8e7f6d5c4b3a29180716f5e4d3c2b1a0f9e8d7c6"
    rate: 60/minute
    max_concurrent: 4
    servers:
      - {server: images, tools: [imagine], budgets: [2/day]}
      - {server: images, tools: [blend], when: {count: {max: 4}}}
      - {server: images, tools: [old], expires: 2020-01-01}
"#;

    fn rules(text: &str) -> Permissions {
        match config::review("permissions.yaml", text) {
            Ok(loaded) => loaded.permissions,
            Err(problems) => panic!("{}", problems.render(false)),
        }
    }

    fn advice(reason: &str, server: &str, tool: Option<&str>) -> Option<Advice> {
        let asked = Asked {
            agent: "clawd",
            server,
            tool,
            reason,
        };
        advise(
            &rules(RULES),
            asked,
            Timestamp::from_micros(1_795_184_400_000_000),
        )
    }

    #[test]
    fn the_rule_to_paste_allows_the_call_and_is_in_order() {
        for (server, tool) in [
            ("github", Some("create_issue")),
            ("images", Some("a.b-c_d/e:f@g+1")),
            ("github", None),
        ] {
            let snippet = advice("not_granted", server, tool)
                .unwrap()
                .snippet
                .unwrap();
            let (_, line) = snippet.split_once("    servers:\n").unwrap();
            let merged = rules(&format!("{RULES}{line}"));
            let agent = merged.agents().values().next().unwrap();
            let server = server.parse().unwrap();
            let question = Question {
                agent,
                server: &server,
                target: tool.map_or(Target::Listing, Target::Tool),
                arguments: Some("{}"),
                at: Timestamp::default(),
                peer: None,
            };
            assert!(decide(&merged, &question).is_allowed(), "{snippet}");
            // As it stands, it is a file of its own but for the token.
            assert!(snippet.starts_with("agents:\n  clawd:\n    servers:\n      - {server: "));
        }
    }

    #[test]
    fn every_reason_of_the_rules_names_what_to_change() {
        let table = [
            (
                "budget",
                "images",
                "imagine",
                Some("2/day at agents.clawd.servers[0]"),
            ),
            (
                "budget",
                "images",
                "imagine",
                Some("50/day at servers.images"),
            ),
            (
                "rate",
                "images",
                "imagine",
                Some("a higher rate: agents.clawd"),
            ),
            (
                "concurrency",
                "images",
                "imagine",
                Some("a higher number: agents.clawd"),
            ),
            (
                "condition",
                "images",
                "blend",
                Some("count at agents.clawd.servers[1]"),
            ),
            (
                "expired",
                "images",
                "old",
                Some("A later end for the grant at agents.clawd.servers[2]"),
            ),
            (
                "denied_rule",
                "github",
                "delete_repository",
                Some("Nothing overrides a deny; it stands at deny[0]"),
            ),
            (
                "disabled",
                "closed",
                "x",
                Some("The server is switched off"),
            ),
            ("not_granted", "images", "imagine", Some("allow it by now")),
            ("not_granted", "images", "x*", Some("too odd")),
            ("not_granted", "images", "a\"b: [c]", Some("too odd")),
            ("not_granted", "images", "x\u{202e}", Some("too odd")),
            (
                "not_granted",
                "gone",
                "x",
                Some("no longer name this server"),
            ),
            ("unknown_target", "images", "x", None),
            ("malformed", "images", "x", None),
        ];
        for (reason, server, tool, expected) in table {
            let found = advice(reason, server, Some(tool));
            let words = found.as_ref().map(|advice| advice.words.as_str());
            let has = match (words, expected) {
                (Some(words), Some(expected)) => words.contains(expected),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(has, "{reason} {tool}: {words:?}");
            assert!(
                found.is_none_or(|advice| advice.snippet.is_none()),
                "{reason} {tool}"
            );
        }
    }
}
