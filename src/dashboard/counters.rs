//! Which agents' calls a count of the rules in force counts.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Drawn, Permissions, budgets_of};
use crate::types::{AgentName, BudgetKey, Timestamp};

/// Every count that some agent can draw on, by its key; of one that counts each tool apart, by what its keys begin with.
#[derive(Debug, Default)]
pub(super) struct Counters(BTreeMap<String, Counter>);

/// One of them.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) drawn: Drawn,
    /// Whose calls it counts, in the order of their names.
    pub(super) agents: Vec<AgentName>,
}

impl Counters {
    /// Those of the rules at an instant.
    pub(super) fn new(permissions: &Permissions, now: Timestamp) -> Self {
        let mut counters = BTreeMap::<String, Counter>::new();
        for agent in permissions.agents().values() {
            for drawn in budgets_of(permissions, agent, now) {
                let key = drawn.charge.key.as_str().to_owned();
                let agents = Vec::new();
                let counter = counters.entry(key).or_insert(Counter { drawn, agents });
                counter.agents.push(agent.name.clone());
            }
        }
        Self(counters)
    }

    /// The count of this key; `None` when no agent can draw on it by the rules in force.
    pub(super) fn get(&self, key: &BudgetKey) -> Option<&Counter> {
        if let Some(counter) = self.0.get(key.as_str()) {
            return Some(counter);
        }
        let tool = key.parts().tool?;
        let beginning = key.as_str().strip_suffix(tool)?;
        self.0.get(beginning)
    }

    /// Those of which none of these keys is a count.
    pub(super) fn unused<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a BudgetKey>,
    ) -> impl Iterator<Item = &'a Counter> {
        let used: BTreeSet<&str> = keys
            .filter_map(|key| self.get(key))
            .map(|counter| counter.drawn.charge.key.as_str())
            .collect();
        let all = self.0.values();
        all.filter(move |counter| !used.contains(counter.drawn.charge.key.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const RULES: &str = "
defaults: {timezone: UTC}
servers:
  images: {url: 'http://images.internal/mcp', budgets: [{limit: 5/day, each: tool}]}
  notes: {url: 'http://notes.internal/mcp'}
agents:
  a: {token_hash: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', budgets: [9/day], servers: [images]}
  b: {token_hash: 'sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', servers: [images, notes]}
";

    #[test]
    fn a_count_is_known_by_its_rule_and_those_of_tools_by_what_they_begin_with() {
        let loaded = config::review("permissions.yaml", RULES).unwrap();
        let counters = Counters::new(&loaded.permissions, Timestamp::default());
        let agents = |key: &str| {
            let counter = counters.get(&BudgetKey::new(key))?;
            let names = counter.agents.iter().map(|agent| agent.as_str());
            Some(names.collect::<Vec<_>>().join(" "))
        };
        let of_tool = BudgetKey::new("servers.images calls/day@UTC each tool=a tool=b");
        assert_eq!(agents(of_tool.as_str()).as_deref(), Some("a b"));
        assert_eq!(agents("agents.a calls/day@UTC").as_deref(), Some("a"));
        assert_eq!(agents("agents.b calls/day@UTC"), None);
        let unused = |keys: &[BudgetKey]| counters.unused(keys.iter()).count();
        assert_eq!((unused(&[]), unused(&[of_tool])), (2, 1));
    }
}
