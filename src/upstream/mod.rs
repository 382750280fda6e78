//! Speaks MCP to the servers behind the gateway: streamable HTTP of both eras, and child processes.
//!
//! Knows nothing of grants, budgets or the log. Only `gateway::forward` calls [`Upstream::send`].

mod backoff;
mod body;
mod child;
mod codec;
mod dial;
mod era;
mod exchange;
mod handshake;
mod http;
mod limits;
mod lines;
mod link;
mod listener;
mod modern;
mod opening;
mod pending;
mod pool;
mod registry;
mod reply;
mod server;
mod session;
mod stdio;
mod wire;

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod stdio_tests;
#[cfg(test)]
mod testing;

pub use exchange::{Ask, Description, Era, Lane, Notice, Outgoing, Reply, UpstreamError};
pub use registry::{SetupError, Upstreams};
pub use server::{Health, Upstream};
