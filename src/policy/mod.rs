//! Who may do what: the checked rules, and the one function that decides.
//!
//! Knows no clock, no disk and no socket; the instant is an argument.

mod alike;
mod argument;
mod capture;
mod charge;
mod condition;
mod decide;
mod decimal;
mod location;
mod lock;
mod pattern;
mod permissions;
mod proxy_header;
mod reach;
mod weigh;

pub use alike::sees_alike;
pub use capture::{Capture, Keeping, keeping};
pub use charge::{Charge, Unpriced};
pub use condition::{Argument, Bound, Condition, Expression, Prefix, Scalar, Test};
pub use decide::{
    Decision, Denial, DenialReason, Grant, Question, Reason, Target, decide, deciding, is_granted,
    may_see_server,
};
pub use lock::{LockError, Locked, Pinned, ToolLock};
pub use pattern::Pattern;
pub use permissions::{
    Agent, BudgetRule, ConcurrencyRule, Cost, Costs, DedupeRule, DenyRule, Disabled, Each,
    GrantRule, Parts, Permissions, Place, Pool, RateRule, Refund, RefusalStyle, ServerRule,
    Specificity, Token, UngrantedStyle, Viewer, ViewerScope,
};
pub use proxy_header::ProxyHeader;
pub use reach::{Drawn, Reached, budgets_of, reach};
