//! Who may do what, for somebody who reviews it: what ends, what was not used, what is switched off. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::policy::{Agent, Disabled, GrantRule, Pattern, Permissions, Place, Token};
use crate::types::{Timestamp, Zone};

use super::month::Month;

/// A grant of which no call was made so long may no longer be needed.
pub(super) const UNUSED: Duration = Duration::from_secs(90 * 86_400);

/// What each agent called within [`UNUSED`]: server and tool.
pub(super) type Used = BTreeMap<String, Vec<(String, String)>>;

/// What a review of access is about.
#[derive(Debug, Default)]
pub struct Access {
    /// All tokens of agents and viewers.
    pub tokens: Vec<TokenRow>,
    /// Grants that were not used.
    pub unused: Vec<GrantRow>,
    /// Grants that end in the month after, or have ended.
    pub ending: Vec<GrantRow>,
    /// Agents and servers that are switched off.
    pub disabled: Vec<DisabledRow>,
}

/// A token.
#[derive(Debug)]
pub struct TokenRow {
    /// Whose.
    pub who: String,
    /// Whether it opens the dashboard instead of tools.
    pub is_viewer: bool,
    /// What people call it.
    pub label: Option<String>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// What is to be said of its end: `ended`, `next month`, or nothing.
    pub remark: Remark,
    /// Its line.
    pub line: u32,
}

/// What is to be said of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// It came before the month was over.
    Ended,
    /// It comes in the month after.
    NextMonth,
    /// It comes later, or never.
    Nothing,
}

/// A grant.
#[derive(Debug)]
pub struct GrantRow {
    /// Whose.
    pub agent: String,
    /// Which servers.
    pub server: String,
    /// Which tools; nothing for all of the server.
    pub tools: Option<String>,
    /// Until when.
    pub expires: Option<Timestamp>,
    /// Whether that is over.
    pub remark: Remark,
    /// Where it stands.
    pub place: Place,
}

/// An agent or a server that is switched off.
#[derive(Debug)]
pub struct DisabledRow {
    /// `agent` or `server`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// Why, as it stands beside it.
    pub note: Option<String>,
    /// Its line.
    pub line: u32,
}

impl Access {
    /// Reviews rules at the end of a month; `ends` are the ends of it and of the month after.
    pub(super) fn of(permissions: &Permissions, used: &Used, ends: [Timestamp; 2]) -> Self {
        let mut access = Self::default();
        for agent in permissions.agents().values() {
            let name = agent.name.as_str();
            access.note_tokens(name, false, &agent.tokens, ends);
            access.note_grants(agent, used.get(name), ends);
            access.note_disabled("agent", name, agent.disabled.as_ref());
        }
        for server in permissions.servers().values() {
            access.note_disabled("server", server.name.as_str(), server.disabled.as_ref());
        }
        for viewer in permissions.viewers().values() {
            access.note_tokens(viewer.name.as_str(), true, &viewer.tokens, ends);
        }
        access
    }

    fn note_tokens(&mut self, who: &str, is_viewer: bool, tokens: &[Token], ends: [Timestamp; 2]) {
        self.tokens.extend(tokens.iter().map(|token| TokenRow {
            who: who.into(),
            is_viewer,
            label: token.label.clone(),
            expires: token.expires,
            remark: remark(token.expires, ends),
            line: token.place.line,
        }));
    }

    fn note_grants(
        &mut self,
        agent: &Agent,
        used: Option<&Vec<(String, String)>>,
        ends: [Timestamp; 2],
    ) {
        for rule in &agent.grants {
            let row = || row(agent, rule, remark(rule.expires, ends));
            if remark(rule.expires, ends) != Remark::Nothing {
                self.ending.push(row());
            }
            let has_ended = remark(rule.expires, ends) == Remark::Ended;
            if !is_used(rule, used) && !has_ended && agent.disabled.is_none() {
                self.unused.push(row());
            }
        }
    }

    fn note_disabled(&mut self, what: &'static str, name: &str, disabled: Option<&Disabled>) {
        self.disabled.extend(disabled.map(|off| DisabledRow {
            what,
            name: name.into(),
            note: off.note.clone(),
            line: off.place.line,
        }));
    }
}

fn remark(expires: Option<Timestamp>, [end, next]: [Timestamp; 2]) -> Remark {
    match expires {
        Some(at) if at <= end => Remark::Ended,
        Some(at) if at <= next => Remark::NextMonth,
        Some(_) | None => Remark::Nothing,
    }
}

/// Whether an agent has a grant that no call may have been made because of.
pub(super) fn has_unused(agent: &Agent, used: Option<&Vec<(String, String)>>) -> bool {
    agent.grants.iter().any(|rule| !is_used(rule, used))
}

fn is_used(rule: &GrantRule, used: Option<&Vec<(String, String)>>) -> bool {
    let mut used = used.into_iter().flatten();
    used.any(|(server, tool)| covers(rule, server, tool))
}

/// Whether a call may have been made because of this grant.
fn covers(rule: &GrantRule, server: &str, tool: &str) -> bool {
    let names = |tools: &Vec<Pattern>| tools.iter().any(|it| it.matches(tool));
    rule.server.matches(server) && rule.tools.as_ref().is_none_or(names)
}

fn row(agent: &Agent, rule: &GrantRule, remark: Remark) -> GrantRow {
    let tools = rule.tools.as_ref().map(|tools| {
        let tools: Vec<&str> = tools.iter().map(Pattern::as_str).collect();
        tools.join(", ")
    });
    GrantRow {
        agent: agent.name.to_string(),
        server: rule.server.as_str().into(),
        tools,
        expires: rule.expires,
        remark,
        place: rule.place.clone(),
    }
}

/// The ends of a month and of the one after it.
pub(super) fn ends(month: Month, zone: &Zone) -> [Timestamp; 2] {
    let next = month.next();
    [next.begins(zone), next.next().begins(zone)]
}
