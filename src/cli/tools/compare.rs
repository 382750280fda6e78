//! What servers say now against what was reviewed. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Found, Tools};
use crate::policy::{Locked, ToolLock};
use crate::types::ServerName;

/// One tool that is not as it was reviewed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// `server/tool`.
    tool: String,
    what: What,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Added,
    Removed,
    /// Which parts of its definition are other ones, each with a word for how.
    Changed(BTreeMap<String, &'static str>),
}

impl Difference {
    pub(super) fn line(&self) -> String {
        let tool = &self.tool;
        match &self.what {
            What::Added => format!("+ {tool}"),
            What::Removed => format!("- {tool}"),
            What::Changed(parts) => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(part, how)| format!("{part} {how}"))
                    .collect();
                format!("~ {tool}  {}", parts.join(", "))
            }
        }
    }

    /// All differences for programs. Stable.
    pub(super) fn json(all: &[Self]) -> Value {
        let with = |wanted: What| {
            let tools = all.iter().filter(|one| one.what == wanted);
            tools.map(|one| one.tool.as_str()).collect::<Vec<_>>()
        };
        let changed = all.iter().filter_map(|one| match &one.what {
            What::Changed(parts) => Some(json!({"tool": one.tool, "parts": parts})),
            What::Added | What::Removed => None,
        });
        json!({
            "added": with(What::Added),
            "removed": with(What::Removed),
            "changed": changed.collect::<Vec<_>>(),
        })
    }
}

/// Compares what was asked with the lock; `gone` are servers of the lock that the rules no longer have.
pub(super) fn compare<'a>(
    lock: &ToolLock,
    found: &Tools,
    gone: impl Iterator<Item = &'a ServerName>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (server, tools) in found {
        let mut now: BTreeMap<&str, Vec<&Found>> = BTreeMap::new();
        for tool in tools {
            now.entry(&tool.definition.name).or_default().push(tool);
        }
        let before: BTreeMap<&str, &[Locked]> = lock.tools(server).collect();
        let names: BTreeSet<&str> = now.keys().chain(before.keys()).copied().collect();
        differences.extend(names.into_iter().filter_map(|name| {
            let what = match (before.get(name), now.get(name)) {
                (None, _) => What::Added,
                (Some(_), None) => What::Removed,
                (Some(before), Some(now)) => What::Changed(changed(before, now)?),
            };
            let tool = format!("{server}/{name}");
            Some(Difference { tool, what })
        }));
    }
    for server in gone {
        differences.extend(lock.tools(server).map(|(name, _)| Difference {
            tool: format!("{server}/{name}"),
            what: What::Removed,
        }));
    }
    differences
}

/// The parts that are other ones than in the definition of the lock that is nearest; `None` when all are in the lock.
fn changed(before: &[Locked], now: &[&Found]) -> Option<BTreeMap<String, &'static str>> {
    let is_known = |found: &&&Found| before.iter().any(|one| one.hash == found.definition.hash);
    let other = now.iter().find(|found| !is_known(found))?;
    let against = |old: &Locked| parts(&old.parts, &other.definition.parts);
    before.iter().map(against).min_by_key(BTreeMap::len)
}

fn parts(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> BTreeMap<String, &'static str> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let parts = names.into_iter().filter_map(|name| {
        let how = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) if old == new => return None,
            (Some(_), Some(_)) => "changed",
            (None, _) => "added",
            (Some(_), None) => "removed",
        };
        Some((name.clone(), how))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Definition, Object};

    fn found(text: &str) -> Found {
        Found {
            definition: Definition::of(&Object::parse(text).unwrap()).unwrap(),
            text: text.into(),
        }
    }

    fn tools(texts: &[&str]) -> Tools {
        let tools = texts.iter().map(|text| found(text)).collect();
        Tools::from([("notes".parse().unwrap(), tools)])
    }

    fn lock(texts: &[&str]) -> ToolLock {
        let servers = tools(texts).into_iter();
        ToolLock::new(
            servers
                .map(|(name, tools)| (name, super::super::locked(&tools)))
                .collect(),
        )
    }

    fn lines(before: &[&str], now: &[&str]) -> Vec<String> {
        let differences = compare(&lock(before), &tools(now), std::iter::empty());
        differences.iter().map(Difference::line).collect()
    }

    const SEARCH: &str =
        r#"{"name":"search","description":"Find","inputSchema":{"type":"object"}}"#;
    const DELETE: &str = r#"{"name":"delete","inputSchema":{}}"#;

    #[test]
    fn what_was_added_removed_and_changed_is_told_by_its_parts() {
        assert_eq!(lines(&[SEARCH], &[SEARCH]), [""; 0]);
        assert_eq!(lines(&[SEARCH], &[SEARCH, DELETE]), ["+ notes/delete"]);
        assert_eq!(lines(&[SEARCH, DELETE], &[SEARCH]), ["- notes/delete"]);
        let other = r#"{"name":"search","inputSchema":{"type":"string"},"annotations":{}}"#;
        assert_eq!(
            lines(&[SEARCH], &[other]),
            ["~ notes/search  annotations added, description removed, inputSchema changed"]
        );
    }

    #[test]
    fn a_definition_that_stands_twice_is_good_in_either_form() {
        let other = SEARCH.replace("Find", "Look");
        assert_eq!(lines(&[SEARCH, &other], &[&other]), [""; 0]);
        let third = SEARCH.replace("Find", "Seek");
        assert_eq!(
            lines(&[SEARCH, &other], &[&other, &third]),
            ["~ notes/search  description changed"]
        );
    }

    #[test]
    fn servers_that_are_gone_take_their_tools_along() {
        let lock = lock(&[SEARCH]);
        let gone: Vec<ServerName> = vec!["notes".parse().unwrap()];
        let all = compare(&lock, &Tools::new(), gone.iter());
        assert_eq!(
            Difference::json(&all),
            json!({"added": [], "removed": ["notes/search"], "changed": []})
        );
    }
}
