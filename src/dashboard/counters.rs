//! Which agents' calls a count of the rules in force counts.

use std::collections::BTreeMap;

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
        let used: Vec<&BudgetKey> = keys
            .filter_map(|key| self.get(key))
            .map(|counter| &counter.drawn.charge.key)
            .collect();
        let all = self.0.values();
        all.filter(move |counter| !used.contains(&&counter.drawn.charge.key))
    }
}
