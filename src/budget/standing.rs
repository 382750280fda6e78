//! How a budget stands, as agents are told. Pure.

use std::sync::Arc;
use std::time::Duration;

use crate::types::{Limit, Timestamp, Unit, Window};

/// The figures of one budget at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The path of the rule, by which people know it.
    pub name: Arc<str>,
    /// How much per window, in the unit of the budget.
    pub limit: Limit,
    /// What was charged.
    pub used: u64,
    /// What calls in flight hold.
    pub held: u64,
    /// Whether nothing more is let through until people have looked at it: more was used than was held.
    pub frozen: bool,
    /// When it begins anew, or the first of what counts now counts no more; `None` when that never happens.
    pub resets_at: Option<Timestamp>,
    /// How long the window is; `None` when it never ends.
    pub length: Option<Duration>,
    /// The instant of these figures.
    pub at: Timestamp,
}

impl Standing {
    /// What is left; what calls in flight hold is counted as gone.
    pub fn remaining(&self) -> u64 {
        if self.frozen {
            return 0;
        }
        let taken = self.used.saturating_add(self.held);
        self.limit.amount.saturating_sub(taken)
    }

    /// What the amounts count.
    pub fn unit(&self) -> &Unit {
        &self.limit.unit
    }

    /// The window as the rules write it: `day`, `24h`, `total`.
    pub fn window(&self) -> Window {
        self.limit.window
    }

    /// How long until it begins anew.
    pub fn resets_in(&self) -> Option<Duration> {
        self.resets_at.map(|resets| resets.since(self.at))
    }
}
