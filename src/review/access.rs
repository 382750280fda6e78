//! What each agent may use under one file and not under another, at every name there is.

use std::collections::BTreeSet;

use crate::policy::{Agent, Decision, Grant, Pattern, Permissions, Question, Target, decide};
use crate::types::{AgentName, ServerName, Timestamp};

use super::universe::{SeenTools, universe};

/// What an agent gains and loses at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Which agent.
    pub agent: AgentName,
    /// Which server.
    pub server: ServerName,
    /// Names that are allowed now and were not. One with `*` stands for what a pattern matches.
    pub gained: BTreeSet<String>,
    /// Names that were allowed and are not now.
    pub lost: BTreeSet<String>,
    /// Whether prompts and resources came (`true`) or went.
    pub beside: Option<bool>,
    /// Names that are allowed before and after.
    pub kept: BTreeSet<String>,
    /// Names that are refused before and after.
    pub refused: BTreeSet<String>,
}

impl Access {
    /// What is gained, as people read it.
    pub(super) fn gained_shown(&self) -> Vec<String> {
        shown(&self.gained, &(&self.refused | &self.lost))
    }

    /// What is lost, as people read it.
    pub(super) fn lost_shown(&self) -> Vec<String> {
        shown(&self.lost, &(&self.kept | &self.gained))
    }
}

/// Compares two files at every agent and server that one of them has, and tells where they differ. Nobody calls: conditions on arguments, and what is
/// used of budgets, are not looked at.
pub fn access(files: [&Permissions; 2], seen: &SeenTools, at: Timestamp) -> Vec<Access> {
    let agents: BTreeSet<&AgentName> = files.iter().flat_map(|file| file.agents().keys()).collect();
    let servers: BTreeSet<&ServerName> = files
        .iter()
        .flat_map(|file| file.servers().keys())
        .collect();
    let mut found = Vec::new();
    for server in servers {
        let names = universe(files, server, seen);
        for agent in &agents {
            let [before, after] = files.map(|file| {
                let agent = file.agents().get(*agent)?;
                Some(Side {
                    file,
                    agent,
                    server,
                    at,
                })
            });
            found.extend(compare(agent, server, [before, after], &names));
        }
    }
    found.sort_by(|one, other| (&one.agent, &one.server).cmp(&(&other.agent, &other.server)));
    found
}

/// One agent at one server under one file.
#[derive(Clone, Copy)]
struct Side<'a> {
    file: &'a Permissions,
    agent: &'a Agent,
    server: &'a ServerName,
    at: Timestamp,
}

impl Side<'_> {
    fn allows(self, target: Target<'_>) -> bool {
        grant_of(self.file, self.agent, self.server, target, self.at).is_some()
    }
}

/// The grant by which a target is allowed.
pub(super) fn grant_of(
    file: &Permissions,
    agent: &Agent,
    server: &ServerName,
    target: Target<'_>,
    at: Timestamp,
) -> Option<Box<Grant>> {
    let question = Question {
        agent,
        server,
        target,
        arguments: None,
        at,
        peer: None,
    };
    match decide(file, &question) {
        Decision::Allowed(grant) => Some(grant),
        Decision::Denied(_) => None,
    }
}

fn compare(
    agent: &AgentName,
    server: &ServerName,
    sides: [Option<Side<'_>>; 2],
    names: &BTreeSet<String>,
) -> Option<Access> {
    let allows =
        |target: Target<'_>| sides.map(|side| side.is_some_and(|side| side.allows(target)));
    let mut access = Access {
        agent: agent.clone(),
        server: server.clone(),
        gained: BTreeSet::new(),
        lost: BTreeSet::new(),
        beside: None,
        kept: BTreeSet::new(),
        refused: BTreeSet::new(),
    };
    for name in names {
        let list = match allows(Target::Tool(name)) {
            [false, true] => &mut access.gained,
            [true, false] => &mut access.lost,
            [true, true] => &mut access.kept,
            [false, false] => &mut access.refused,
        };
        list.insert(name.clone());
    }
    access.beside = match allows(Target::Prompt("*")) {
        [false, true] => Some(true),
        [true, false] => Some(false),
        _ => None,
    };
    let is_changed =
        !access.gained.is_empty() || !access.lost.is_empty() || access.beside.is_some();
    is_changed.then_some(access)
}

/// Exceptions of one pattern that are named, at most.
const EXCEPTIONS: usize = 3;

/// Names as people read them: those that a pattern among them stands for are left out, unless it also matches one of
/// the others; then it says so.
fn shown(names: &BTreeSet<String>, others: &BTreeSet<String>) -> Vec<String> {
    let patterns = names.iter().filter(|name| name.contains('*'));
    let patterns: Vec<(Pattern, Vec<&String>)> = patterns
        .map(|name| {
            let pattern = Pattern::new(name);
            let apart = others.iter().filter(|name| pattern.matches(name)).collect();
            (pattern, apart)
        })
        .collect();
    let is_covered = |name: &String| {
        patterns.iter().any(|(pattern, apart)| {
            apart.is_empty() && pattern.as_str() != name && pattern.matches(name)
        })
    };
    let left = names.iter().filter(|name| !is_covered(name));
    let with_exceptions = left.map(|name| {
        let apart = patterns
            .iter()
            .find(|(pattern, _)| pattern.as_str() == name);
        match apart {
            Some((_, apart)) if !apart.is_empty() => {
                format!("{name} (but not {})", exceptions(apart))
            }
            Some(_) | None => name.clone(),
        }
    });
    with_exceptions.collect()
}

/// Some names, those that a pattern among them stands for left out.
fn exceptions(names: &[&String]) -> String {
    let patterns: Vec<Pattern> = names.iter().map(|name| Pattern::new(name)).collect();
    let is_alone = |name: &&&String| {
        let mut others = patterns
            .iter()
            .filter(|pattern| pattern.as_str() != name.as_str());
        !others.any(|pattern| pattern.matches(name))
    };
    let left: Vec<&str> = names
        .iter()
        .filter(is_alone)
        .map(|name| name.as_str())
        .collect();
    let more = if left.len() > EXCEPTIONS {
        " and others"
    } else {
        ""
    };
    let named = left.iter().take(EXCEPTIONS).copied().collect::<Vec<_>>();
    format!("{}{more}", named.join(", "))
}
