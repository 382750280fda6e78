//! Speaks MCP to the servers behind the gateway: streamable HTTP of both eras, and child processes.
//!
//! Knows nothing of grants, budgets or the log. Only `gateway::forward` calls [`Upstream::send`].

mod exchange;

pub use exchange::{Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError};
