//! What must hold of any two files.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::{self, Loaded};
use crate::policy::{Pattern, Permissions, Question, Target, decide};
use crate::types::{AgentName, ServerName};

const PATTERNS: &[&str] = &["*", "a*", "*b", "ab", "a", "*x*", "aab", "ax*", "b*"];
const NAMES: &[&str] = &[
    "a", "b", "ab", "aab", "axb", "ba", "x", "xb", "bxa", "axxb", "c",
];
const SERVERS: &[&str] = &["one", "two", "*"];
const NOW: Timestamp = Timestamp::from_micros(1_795_262_400_000_000);

/// A server, and the tools that are granted there; none for all of it.
type Granted = (&'static str, Option<BTreeSet<&'static str>>);

#[derive(Debug, Clone)]
struct Rules {
    deny: Vec<String>,
    agents: Vec<Vec<Granted>>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let server = || prop::sample::select(SERVERS);
    let pattern = || prop::sample::select(PATTERNS);
    let tools = prop::option::of(prop::collection::btree_set(pattern(), 0..3));
    let grants = prop::collection::vec((server(), tools), 0..3);
    let deny = (server(), pattern()).prop_map(|(server, tool)| format!("{server}/{tool}"));
    (
        prop::collection::btree_set(deny, 0..3),
        prop::collection::vec(grants, 2),
    )
        .prop_map(|(deny, agents)| Rules {
            deny: deny.into_iter().collect(),
            agents,
        })
}

impl Rules {
    /// The text of the file; backwards, with everything in the other order.
    fn text(&self, backwards: bool) -> String {
        let turn = |mut lines: Vec<String>| {
            if backwards {
                lines.reverse();
            }
            lines.join("\n")
        };
        let agents = self.agents.iter().enumerate().map(|(number, grants)| {
            let grants = grants.iter().map(|(server, tools)| match tools {
                None => format!("'{server}'"),
                Some(tools) => {
                    let tools: Vec<String> = tools.iter().map(|tool| format!("'{tool}'")).collect();
                    format!("{{server: '{server}', tools: [{}]}}", tools.join(", "))
                }
            });
            let grants = turn(grants.collect()).replace('\n', ", ");
            let hash = format!("{number}").repeat(64);
            format!("  agent-{number}: {{token_hash: 'sha256:{hash}', servers: [{grants}]}}")
        });
        let deny = self.deny.iter().map(|rule| format!("'{rule}'"));
        let deny = turn(deny.collect()).replace('\n', ", ");
        let sections = vec![
            "servers: {one: {url: 'http://one/'}, two: {url: 'http://two/'}}".to_owned(),
            format!("deny: [{deny}]"),
            format!("agents:\n{}", turn(agents.collect())),
        ];
        turn(sections)
    }

    /// The file, unless it is one that is refused.
    fn loaded(&self, backwards: bool) -> Option<Loaded> {
        config::review("permissions.yaml", &self.text(backwards)).ok()
    }
}

/// Whether an agent may call a tool.
fn allows(file: &Permissions, agent: &AgentName, server: &ServerName, tool: &str) -> bool {
    let agent = file.agents().get(agent).unwrap();
    let question = Question {
        agent,
        server,
        target: Target::Tool(tool),
        arguments: None,
        at: NOW,
        peer: None,
    };
    decide(file, &question).is_allowed()
}

/// Every agent, server and tool there is.
fn each(file: &Permissions, mut check: impl FnMut(&AgentName, &ServerName, &str)) {
    for agent in file.agents().keys() {
        for server in file.servers().keys() {
            for tool in NAMES {
                check(agent, server, tool);
            }
        }
    }
}

/// Every tool of both servers, as if somebody had called it.
fn all_seen() -> SeenTools {
    let names: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let servers = ["one", "two"].map(|server| (server.parse().unwrap(), names.clone()));
    servers.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_file_does_not_differ_from_itself_however_it_is_ordered(rules in rules()) {
        let (Some(old), Some(new)) = (rules.loaded(false), rules.loaded(true)) else {
            return Err(TestCaseError::reject("refused"));
        };
        let changes = diff(&old, &new, &Past::default(), NOW);
        prop_assert!(changes.is_empty(), "{changes:?}");
        let files = [&old.permissions, &new.permissions];
        each(files[0], |agent, server, tool| {
            let [one, other] = files.map(|file| allows(file, agent, server, tool));
            assert_eq!(one, other, "{agent} {server}/{tool}");
        });
    }

    #[test]
    fn what_is_gained_and_lost_is_what_is_newly_allowed_and_refused(old in rules(), new in rules()) {
        let (Some(old), Some(new)) = (old.loaded(false), new.loaded(false)) else {
            return Err(TestCaseError::reject("refused"));
        };
        let files = [&old.permissions, &new.permissions];
        let (seen, unseen) = (
            access(files, &all_seen(), NOW),
            access(files, &SeenTools::new(), NOW),
        );
        let lists = |all: &[Access], agent: &AgentName, server: &ServerName| {
            let found = all.iter().find(|one| one.agent == *agent && one.server == *server);
            found.map(|one| (one.gained.clone(), one.lost.clone())).unwrap_or_default()
        };
        each(files[0], |agent, server, tool| {
            let [before, after] = files.map(|file| allows(file, agent, server, tool));
            // Of tools that were seen, exactly these.
            let (gained, lost) = lists(&seen, agent, server);
            assert_eq!(gained.contains(tool), !before && after, "{agent} {server}/{tool}");
            assert_eq!(lost.contains(tool), before && !after, "{agent} {server}/{tool}");
            // Of those that nobody has seen, nothing is missed.
            let (gained, lost) = lists(&unseen, agent, server);
            let is_among = |names: &BTreeSet<String>| {
                names.iter().any(|name| Pattern::new(name).matches(tool))
            };
            assert!(before || !after || is_among(&gained), "{agent} gains {server}/{tool}: {gained:?}");
            assert!(!before || after || is_among(&lost), "{agent} loses {server}/{tool}: {lost:?}");
        });
    }

    #[test]
    fn another_deny_allows_nothing(rules in rules(), more in prop::sample::select(PATTERNS)) {
        let mut stricter = rules.clone();
        stricter.deny.push(format!("one/{more}"));
        stricter.deny.sort();
        stricter.deny.dedup();
        let (Some(old), Some(new)) = (rules.loaded(false), stricter.loaded(false)) else {
            return Err(TestCaseError::reject("refused"));
        };
        for one in access([&old.permissions, &new.permissions], &all_seen(), NOW) {
            prop_assert!(one.gained.is_empty() && one.beside != Some(true), "{one:?}");
        }
    }
}
