//! Grants that let nothing through in some time: what agents hold and do not need.

use std::collections::{HashMap, HashSet};

use crate::audit::filter::Back;
use crate::audit::read::{self, Fresh, Span, Tools};
use crate::db::PageReader;
use crate::policy::{Agent, deciding};
use crate::types::{ServerName, Timestamp};

use super::failure::Failure;
use super::visit::Visit;

/// How many grants of each agent of the rules let nothing through. The time before its last day, and before its last
/// week, is read only for agents that did not use each of their grants since, and so are tools beyond the first one
/// that was called of a server: most grants are for whole servers.
pub(super) async fn count(
    db: &mut PageReader,
    fresh: &Fresh,
    visit: &Visit,
    span: Span,
) -> Result<HashMap<String, usize>, Failure> {
    let agents = visit.permissions.agents().iter();
    let agents = agents.map(|(name, agent)| (name.as_str(), &**agent));
    let mut unused = Unused::of(agents, visit.now);
    let mut to = span.to();
    for from in [Back::DAY.before(to), Back::WEEK.before(to), span.from()] {
        let from = from.max(span.from());
        for tools in [Tools::One, Tools::Each] {
            let holders = unused.holders();
            if holders.is_empty() || from >= to {
                break;
            }
            let span = Span::new(from, to);
            unused.note(&read::let_through(db, fresh, &holders, (tools, span)).await?);
        }
        to = from;
    }
    Ok(unused.numbers())
}

/// Grants by which nothing was let through, as far as is known.
#[derive(Debug)]
struct Unused<'a> {
    agents: HashMap<&'a str, (&'a Agent, HashSet<&'a str>)>,
    now: Timestamp,
}

impl<'a> Unused<'a> {
    /// All of them, at first.
    fn of(agents: impl Iterator<Item = (&'a str, &'a Agent)>, now: Timestamp) -> Self {
        let grants = |agent: &'a Agent| agent.grants.iter().map(|grant| &*grant.place.path);
        let agents = agents.map(|(name, agent)| (name, (agent, grants(agent).collect())));
        Self {
            agents: agents.collect(),
            now,
        }
    }

    /// Agents that hold some.
    fn holders(&self) -> Vec<&'a str> {
        let agents = self.agents.iter();
        let holders = agents.filter(|(_, (_, unused))| !unused.is_empty());
        holders.map(|(name, _)| *name).collect()
    }

    /// These calls were let through: agent, server and tool.
    fn note(&mut self, calls: &[[String; 3]]) {
        for [agent, server, tool] in calls {
            let Some((agent, unused)) = self.agents.get_mut(agent.as_str()) else {
                continue;
            };
            if unused.is_empty() {
                continue;
            }
            let Ok(server) = server.parse::<ServerName>() else {
                continue;
            };
            for grant in deciding(agent, &server, tool, self.now) {
                unused.remove(&*grant.place.path);
            }
        }
    }

    fn numbers(self) -> HashMap<String, usize> {
        let agents = self.agents.into_iter();
        agents
            .map(|(name, (_, unused))| (name.to_owned(), unused.len()))
            .collect()
    }
}
