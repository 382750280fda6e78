//! What the rules name and the servers do not have.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{GrantRule, Pattern, Place};
use crate::types::ServerName;

use super::parse::Loaded;
use super::problem::{Code, Finding, nearest, quote};
use super::render::Diagnostic;

/// The tools that servers were seen to have, each with the names of its arguments.
pub type Offered = BTreeMap<ServerName, BTreeMap<String, BTreeSet<String>>>;

impl Loaded {
    /// Grants and denials of tools that no server has, and conditions on arguments that no tool has. Of servers that are
    /// not in the list nothing is said.
    pub fn missing(&self, offered: &Offered) -> Vec<Diagnostic> {
        self.not_offered(offered, true)
    }

    /// The same of tools whose arguments nobody knows.
    pub fn missing_tools(&self, seen: &BTreeMap<ServerName, BTreeSet<String>>) -> Vec<Diagnostic> {
        let tools = |names: &BTreeSet<String>| {
            let named = names.iter().map(|name| (name.clone(), BTreeSet::new()));
            named.collect()
        };
        let offered = seen
            .iter()
            .map(|(server, names)| (server.clone(), tools(names)));
        self.not_offered(&offered.collect(), false)
    }

    fn not_offered(&self, offered: &Offered, with_arguments: bool) -> Vec<Diagnostic> {
        let mut found: BTreeMap<(u32, String), (Code, String)> = BTreeMap::new();
        let mut add = |place: &Place, (code, title, note): (Code, String, String)| {
            found.insert((place.line, title), (code, note));
        };
        for agent in self.permissions.agents().values() {
            for grant in &agent.grants {
                for tool in grant.tools.iter().flatten() {
                    let missing = no_tool(&grant.server, tool, offered);
                    missing
                        .into_iter()
                        .for_each(|missing| add(&grant.place, missing));
                }
                let unknown = with_arguments.then(|| no_arguments(grant, offered));
                for (place, missing) in unknown.into_iter().flatten() {
                    add(place, missing);
                }
            }
        }
        let own = self
            .permissions
            .agents()
            .values()
            .flat_map(|agent| &agent.deny);
        for rule in self.permissions.deny().iter().chain(own) {
            let missing = no_tool(&rule.server, &rule.tool, offered);
            missing
                .into_iter()
                .for_each(|missing| add(&rule.place, missing));
        }
        let findings = found.into_iter().map(|((line, title), (code, note))| {
            Finding::new(code, self.sheet().line(line), title).note(note)
        });
        self.sheet().diagnostics(findings.collect())
    }
}

type Missing = (Code, String, String);

/// The servers that a pattern stands for, as far as they were asked.
fn servers<'a>(
    pattern: &Pattern,
    offered: &'a Offered,
) -> Vec<(&'a ServerName, &'a BTreeMap<String, BTreeSet<String>>)> {
    let servers = offered.iter();
    servers
        .filter(|(name, _)| pattern.matches(name.as_str()))
        .collect()
}

/// A tool that none of the servers has. A pattern of all tools stands for those to come, too.
fn no_tool(server: &Pattern, tool: &Pattern, offered: &Offered) -> Option<Missing> {
    let asked = servers(server, offered);
    let names = || asked.iter().flat_map(|(_, tools)| tools.keys());
    if asked.is_empty() || tool.is_everything() || names().any(|name| tool.matches(name)) {
        return None;
    }
    let title = match asked.as_slice() {
        [(name, _)] => format!("server `{name}` has no tool {}", quote(tool.as_str())),
        _ => format!(
            "none of the servers {} has a tool {}",
            quote(server.as_str()),
            quote(tool.as_str())
        ),
    };
    let near = nearest(tool.as_str(), names().map(String::as_str));
    let note = match near {
        Some(near) => format!("it has {}", quote(near)),
        None => "a name that is misspelled grants and forbids nothing".into(),
    };
    Some((Code::NoTool, title, note))
}

/// Conditions of a grant on arguments that none of its tools has.
fn no_arguments<'a>(grant: &'a GrantRule, offered: &Offered) -> Vec<(&'a Place, Missing)> {
    let asked = servers(&grant.server, offered);
    let tools = asked.iter().flat_map(|(_, tools)| tools.iter());
    let granted = tools.filter(|(name, _)| {
        let mut patterns = grant.tools.iter().flatten();
        patterns.any(|pattern| pattern.matches(name))
    });
    let granted: Vec<&BTreeSet<String>> = granted.map(|(_, arguments)| arguments).collect();
    if granted.is_empty() {
        return Vec::new();
    }
    let missing = grant.when.iter().filter_map(|condition| {
        let written = condition.argument.as_str();
        // Of a place further inside, the schema of the argument would have to be followed.
        let name = written.strip_prefix('/').unwrap_or(written);
        let name = name.split('/').next().unwrap_or_default();
        if granted.iter().any(|arguments| arguments.contains(name)) {
            return None;
        }
        let title = format!("no tool of this grant has an argument {}", quote(name));
        let all = granted.iter().flat_map(|arguments| arguments.iter());
        let note = match nearest(name, all.map(String::as_str)) {
            Some(near) => format!("there is {}", quote(near)),
            None => "a call that brings it all the same is checked".into(),
        };
        Some((&condition.place, (Code::NoArgument, title, note)))
    });
    missing.collect()
}
