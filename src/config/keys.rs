//! The keys of every mapping of the format: what the parser takes, and what the schema says.

/// The file itself.
pub(super) const FILE: &[&str] = &[
    "version", "defaults", "servers", "roles", "budgets", "deny", "agents", "viewers", "tests",
];

/// `defaults`.
pub(super) const DEFAULTS: &[&str] = &["timezone", "timeout", "rate", "capture", "redact"];

/// One server.
pub(super) const SERVER: &[&str] = &[
    "url",
    "command",
    "description",
    "headers",
    "protocol",
    "timeout",
    "args",
    "env",
    "cwd",
    "instances",
    "budgets",
    "rate",
    "max_concurrent",
    "dedupe",
    "costs",
    "cost_unit",
    "disabled",
    "capture",
    "redact",
];

/// What a tool costs, when its server reports that.
pub(super) const COST: &[&str] = &["cost_from", "max_cost"];

/// One role.
pub(super) const ROLE: &[&str] = &["description", "servers", "deny"];

/// One agent.
pub(super) const AGENT: &[&str] = &[
    "token_hash",
    "servers",
    "roles",
    "description",
    "owner",
    "from",
    "deny",
    "budgets",
    "rate",
    "max_concurrent",
    "disabled",
    "refusals",
    "ungranted",
    "capture",
];

/// One token of an agent or viewer.
pub(super) const TOKEN: &[&str] = &["hash", "label", "expires"];

/// One grant.
pub(super) const GRANT: &[&str] = &["server", "tools", "when", "budgets", "rate", "expires"];

/// The condition on one argument.
pub(super) const CONDITION: &[&str] = &[
    "equals",
    "in",
    "not_in",
    "matches",
    "not_matches",
    "starts_with",
    "min",
    "max",
    "max_length",
    "max_items",
    "absent",
    "optional",
];

/// One pool.
pub(super) const POOL: &[&str] = &["limit", "tools", "each", "weight", "max_cost", "refund"];

/// One budget of a server, agent or grant.
pub(super) const BUDGET: &[&str] = &[
    "limit", "tools", "each", "weight", "max_cost", "refund", "pool",
];

/// What a budget counts instead of calls.
pub(super) const WEIGHT: &[&str] = &["argument"];

/// A rate.
pub(super) const RATE: &[&str] = &["limit", "per", "burst"];

/// One viewer.
pub(super) const VIEWER: &[&str] = &["token_hash", "header", "see", "agents"];

/// One test of the file.
pub(super) const TEST: &[&str] = &[
    "name", "agent", "allow", "deny", "call", "args", "at", "repeat", "expect", "reason",
];
