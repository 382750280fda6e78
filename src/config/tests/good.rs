//! Files that are right, and what they grant.

use super::super::*;
use crate::policy::{self, Decision, Question, Target};
use crate::types::{AgentName, ServerName, Timestamp};

fn environment(name: &str) -> Option<String> {
    (name == "GITHUB_TOKEN").then(|| "ghp_0123456789abcdefghij".to_owned())
}

fn loaded(text: &str) -> Loaded {
    parse("permissions.yaml", text, &environment).unwrap_or_else(|problems| panic!("{problems}"))
}

fn decided(loaded: &Loaded, agent: &str, server: &str, tool: &str) -> Decision {
    let rules = &loaded.permissions;
    let agent: AgentName = agent.parse().unwrap();
    let question = Question {
        agent: &rules.agents()[&agent],
        server: &server.parse().unwrap(),
        target: Target::Tool(tool),
        at: Timestamp::from_micros(1_790_000_000_000_000),
    };
    policy::decide(rules, &question)
}

#[test]
fn the_example_loads_without_a_warning() {
    let example = loaded(EXAMPLE);
    assert!(example.warnings.is_empty(), "{:?}", example.warnings);
    eprintln!("{:#?}", example.connections);
}
