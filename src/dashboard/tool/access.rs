//! Who may call a tool by the rules in force, and whether its definition was reviewed. Pure.

use std::collections::BTreeSet;

use crate::audit::read::DefinitionRow;
use crate::dashboard::changes::short;
use crate::dashboard::frame::Link;
use crate::dashboard::visit::Visit;
use crate::dashboard::who::Links;
use crate::policy::{Decision, Permissions, Pinned, Question, Target, decide, deciding};
use crate::types::{DefinitionHash, ServerName, shown};

/// An agent that may call the tool, or that has a grant which does not help it.
#[derive(Debug)]
pub(in crate::dashboard) struct May {
    pub(in crate::dashboard) agent: Link,
    pub(in crate::dashboard) is_allowed: bool,
    /// Why not, in the word of the log.
    pub(in crate::dashboard) reason: &'static str,
    pub(in crate::dashboard) conditions: Vec<String>,
    /// The rule that decides, and its line.
    pub(in crate::dashboard) path: String,
    pub(in crate::dashboard) line: u32,
}

/// Every agent with a grant that names the tool, and what the rules decide.
pub(in crate::dashboard) fn who_may(
    visit: &Visit,
    (server, tool): (&str, &str),
    links: &Links,
) -> Vec<May> {
    let Ok(server) = server.parse::<ServerName>() else {
        return Vec::new();
    };
    let permissions = &visit.permissions;
    let agents = permissions.agents().values().filter_map(|agent| {
        let grants = deciding(agent, &server, tool, visit.now);
        let first = grants.first()?;
        let question = Question {
            agent,
            server: &server,
            target: Target::Tool(tool),
            arguments: None,
            at: visit.now,
            peer: None,
        };
        let (is_allowed, reason, place) = match decide(permissions, &question) {
            Decision::Allowed(grant) => (true, "", grant.rule().clone()),
            Decision::Denied(denial) => {
                let by = denial.reasons.first().map(|reason| reason.place.clone());
                (
                    false,
                    denial.reason.as_str(),
                    by.unwrap_or_else(|| first.place.clone()),
                )
            }
        };
        let conditions = grants.iter().flat_map(|grant| grant.when.iter());
        let conditions: BTreeSet<String> = conditions.map(ToString::to_string).collect();
        Some(May {
            agent: Link {
                href: links.agent(agent.name.as_str()),
                text: shown::name(agent.name.as_str()).to_string(),
            },
            is_allowed,
            reason,
            conditions: conditions
                .iter()
                .map(|it| shown::sentence(it).to_string())
                .collect(),
            path: shown::name(&place.path).to_string(),
            line: place.line,
        })
    });
    let mut may: Vec<May> = agents.collect();
    may.sort_by_key(|one| !one.is_allowed);
    may
}

/// The tools of a server that the rules or the lock name in full.
pub(in crate::dashboard) fn named(permissions: &Permissions, server: &str) -> BTreeSet<String> {
    let Ok(server) = server.parse::<ServerName>() else {
        return BTreeSet::new();
    };
    let grants = permissions
        .agents()
        .values()
        .flat_map(|agent| &agent.grants);
    let grants = grants.filter(|grant| grant.server.matches(server.as_str()));
    let patterns = grants.flat_map(|grant| grant.tools.as_deref().unwrap_or_default());
    let exact = patterns
        .filter(|tool| tool.is_exact())
        .map(|tool| tool.as_str().to_owned());
    let locked = permissions.tool_lock().into_iter();
    let locked = locked
        .flat_map(|lock| lock.tools(&server))
        .map(|(tool, _)| tool.to_owned());
    exact.chain(locked).collect()
}

/// How the definition stands to `tools.lock`.
#[derive(Debug)]
pub(in crate::dashboard) struct Pin {
    pub(in crate::dashboard) word: &'static str,
    pub(in crate::dashboard) class: &'static str,
    pub(in crate::dashboard) text: &'static str,
    /// The definition that was seen last, and all of its digits.
    pub(in crate::dashboard) seen: Option<(String, String)>,
    /// What was reviewed: a definition, and the beginning of the hash of each of its parts.
    pub(in crate::dashboard) locked: Vec<(String, String)>,
}

/// Compares the definition that was seen last with the one that was reviewed.
pub(in crate::dashboard) fn pin(
    permissions: &Permissions,
    (server, tool): (&str, &str),
    definitions: &[DefinitionRow],
) -> Pin {
    let last = definitions.first();
    let hash = last.and_then(|row| DefinitionHash::from_hex(&row.hash));
    let server = server.parse::<ServerName>().ok();
    let lock = permissions.tool_lock().zip(server);
    let lock = lock.filter(|(lock, server)| lock.pins(server));
    let judged = lock.as_ref().map(|(lock, server)| match hash {
        Some(hash) => lock.judge(server, tool, hash),
        None if lock.has(server, tool) => Pinned::Good,
        None => Pinned::New,
    });
    let (word, class, text) = match judged {
        None => (
            "not pinned",
            "",
            "No tool of its server stands in tools.lock, so a changed definition is let through.",
        ),
        Some(Pinned::Good) => (
            "pinned",
            "good",
            "Its definition is the one that tools.lock has.",
        ),
        Some(Pinned::Changed) => (
            "changed",
            "bad",
            "Its definition is another one than tools.lock has; calls are refused.",
        ),
        Some(Pinned::New) => (
            "not reviewed",
            "bad",
            "Its server stands in tools.lock, the tool does not; calls are refused.",
        ),
    };
    let locked = lock.iter().flat_map(|(lock, server)| lock.tools(server));
    let locked = locked
        .filter(|(name, _)| *name == tool)
        .flat_map(|(_, locked)| locked);
    let locked = locked.map(|one| {
        let parts = one
            .parts
            .iter()
            .map(|(part, hash)| format!("{} {}", shown::name(part), shown::name(hash)));
        (one.hash.short(), parts.collect::<Vec<_>>().join(", "))
    });
    Pin {
        word,
        class,
        text,
        seen: last.map(|row| (short(&row.hash), shown::sentence(&row.hash).to_string())),
        locked: locked.collect(),
    }
}
