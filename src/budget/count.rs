//! What the books are made of: counts, holds, and how calls end. Pure.

use std::sync::Arc;

use crate::policy::{Charge, Refund};
use crate::types::{BudgetKey, CallId, Timestamp};

use super::Span;
use super::reported::reported;

/// What one call holds in one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which count.
    pub key: BudgetKey,
    /// The row of the count.
    pub budget_id: i64,
    /// The window it was taken in; it is settled there however late.
    pub starts: Timestamp,
    /// When it was taken.
    pub taken: Timestamp,
    /// How much, in the unit of the budget.
    pub amount: u64,
    /// Whether an earlier round took it. That one reached the server, so it costs even where this one did not.
    pub inherited: bool,
    /// Where the server reports what it cost.
    pub reported: Option<Arc<str>>,
    /// What gives it back.
    pub refund: Refund,
    /// The state of the window right after it was taken.
    pub after: Count,
}

/// A reservation in all budgets of one call. Made only by the books; closing a call consumes it.
#[derive(Debug)]
pub struct Hold {
    pub(super) call: CallId,
    pub(super) held: Vec<Held>,
}

impl Hold {
    /// The call that holds.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// What it holds, one entry a budget.
    pub fn held(&self) -> &[Held] {
        &self.held
    }

    /// What a server reports in this result, one entry a budget.
    pub fn read_costs(&self, result: &str) -> Vec<Reported> {
        let read = self.held.iter().map(|held| match &held.reported {
            None => Reported::Fixed,
            Some(pointer) => reported(result, pointer).map_or(Reported::Missing, Reported::Cost),
        });
        read.collect()
    }
}

/// What a server says that a call cost in one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// Nothing, for nobody asked: the call costs what it holds.
    Fixed,
    /// So much, in millionths.
    Cost(u64),
    /// It should have said, and did not, or not readably: the call costs what it holds.
    Missing,
}

/// How a call ended, as far as its budgets care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Not one byte of it was handed to the server: it costs nothing.
    Unsent,
    /// The server turned it away: HTTP 4xx, or JSON-RPC -32600 to -32602.
    Rejected,
    /// The tool says that it failed.
    ToolError(Vec<Reported>),
    /// It is done; one entry a budget, or none where nothing was asked for.
    Answered(Vec<Reported>),
    /// Nobody knows what the server did: it costs what it held.
    Unclear,
    /// The server wants to know more. The call that goes on with it takes the hold over, up to this instant.
    Kept(Timestamp),
}

/// The figures of one window, in the unit of the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The limit in force at the last reservation.
    pub limit: u64,
    /// The highest limit that was in force in this window, or what it began with.
    pub limit_high: u64,
    /// What calls cost.
    pub used: u64,
    /// What calls in flight may cost.
    pub held: u64,
}

/// A window in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its bounds.
    pub span: Span,
    /// Its figures.
    pub count: Count,
    /// What servers reported beyond what was held for it. It is known too late to be kept from happening, so it is no
    /// use of the budget; it freezes it.
    pub overrun: u64,
    /// Nothing more is taken from the budget while this window counts.
    pub frozen: bool,
}

impl Row {
    /// A window in which nothing was taken yet.
    pub fn empty(span: Span) -> Self {
        Self {
            span,
            count: Count::default(),
            overrun: 0,
            frozen: false,
        }
    }
}

/// Why a call does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The budget that has no room; of several, the one that resets last.
    pub charge: Charge,
    /// Its window; it ends when there is room for this call, as far as that is known now.
    pub span: Span,
    /// Its figures.
    pub count: Count,
    /// Whether it is frozen, whatever room there is.
    pub frozen: bool,
}

/// What closing a call did to one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// Which count.
    pub key: BudgetKey,
    /// The window.
    pub starts: Timestamp,
    /// What it costs; 0 when it was given back.
    pub charged: u64,
    /// What was given back.
    pub released: u64,
    /// What the server reported beyond the hold.
    pub overrun: u64,
    /// What stays held for the call that goes on with it.
    pub kept: u64,
    /// Set when the server should have reported a cost and did not.
    pub unreported: bool,
}

/// One window of one budget, by the row of the budget and the start.
pub type WindowId = (i64, Timestamp);

/// Budgets that were never counted before, with the rows they get.
pub type NewBudgets = Vec<(i64, BudgetKey)>;

/// What was charged in an hour of the clock (UTC): by the row of the budget and the start of the hour.
pub type Hours = Vec<((i64, Timestamp), i64)>;

/// The part of a hold that a call costs, by how it ended.
pub(super) fn settle(held: &Held, ending: &Ending, index: usize) -> Charged {
    let whole = |charged: u64| Charged {
        key: held.key.clone(),
        starts: held.starts,
        charged,
        released: held.amount.saturating_sub(charged),
        overrun: 0,
        kept: 0,
        unreported: false,
    };
    let costs = |reported: &[Reported]| match reported.get(index) {
        Some(Reported::Cost(cost)) => Charged {
            overrun: cost.saturating_sub(held.amount),
            ..whole(held.amount.min(*cost))
        },
        Some(Reported::Missing) => Charged {
            unreported: true,
            ..whole(held.amount)
        },
        Some(Reported::Fixed) | None => whole(held.amount),
    };
    match ending {
        Ending::Unsent if !held.inherited => whole(0),
        Ending::Rejected if held.refund.rejected => whole(0),
        Ending::ToolError(_) if held.refund.tool_error => whole(0),
        Ending::Unsent | Ending::Rejected | Ending::Unclear => whole(held.amount),
        Ending::ToolError(reported) | Ending::Answered(reported) => costs(reported),
        Ending::Kept(_) => Charged {
            released: 0,
            kept: held.amount,
            ..whole(0)
        },
    }
}
