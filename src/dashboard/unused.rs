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
/// week, is read only for agents that did not use each of their grants since. Of each server one tool is read first: most
/// grants are for whole servers. All tools are read only for agents that called a server of a grant that is still unused.
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
        let holders = unused.holders();
        if holders.is_empty() || from >= to {
            break;
        }
        let span = Span::new(from, to);
        let some = read::let_through(db, fresh, &holders, (Tools::One, span)).await?;
        unused.note(&some);
        let undecided = unused.undecided(&some);
        if !undecided.is_empty() {
            let all = read::let_through(db, fresh, &undecided, (Tools::Each, span)).await?;
            unused.note(&all);
        }
        to = from;
    }
    Ok(unused.numbers())
}

/// Grants by which nothing was let through, as far as is known.
#[derive(Debug)]
struct Unused<'a> {
    agents: HashMap<&'a str, Holder<'a>>,
    now: Timestamp,
}

impl<'a> Unused<'a> {
    /// All of them, at first.
    fn of(agents: impl Iterator<Item = (&'a str, &'a Agent)>, now: Timestamp) -> Self {
        let grants = |agent: &'a Agent| agent.grants.iter().map(|grant| &*grant.place.path);
        let agents = agents.map(|(name, agent)| {
            let unused = grants(agent).collect();
            (name, Holder { agent, unused })
        });
        Self {
            agents: agents.collect(),
            now,
        }
    }

    /// Agents that hold some.
    fn holders(&self) -> Vec<&'a str> {
        let agents = self.agents.iter();
        let holders = agents.filter(|(_, holder)| !holder.unused.is_empty());
        holders.map(|(name, _)| *name).collect()
    }

    /// Agents that called servers of such grants by these calls, of which not all tools are known.
    fn undecided(&self, calls: &[[String; 3]]) -> Vec<&'a str> {
        let undecided = calls.iter().filter_map(|[agent, server, _]| {
            let (name, holder) = self.agents.get_key_value(agent.as_str())?;
            holder.holds_for(server).then_some(*name)
        });
        undecided.collect::<HashSet<_>>().into_iter().collect()
    }

    /// These calls were let through: agent, server and tool.
    fn note(&mut self, calls: &[[String; 3]]) {
        for [agent, server, tool] in calls {
            let Some(Holder { agent, unused }) = self.agents.get_mut(agent.as_str()) else {
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
            .map(|(name, holder)| (name.to_owned(), holder.unused.len()))
            .collect()
    }
}

/// An agent, and the paths of its grants by which nothing was let through.
#[derive(Debug)]
struct Holder<'a> {
    agent: &'a Agent,
    unused: HashSet<&'a str>,
}

impl Holder<'_> {
    /// Whether such a grant is for this server.
    fn holds_for(&self, server: &str) -> bool {
        let grants = self.agent.grants.iter();
        let mut unused = grants.filter(|grant| self.unused.contains(&*grant.place.path));
        unused.any(|grant| grant.server.matches(server))
    }
}
