//! Speaks MCP to the servers behind the gateway: HTTP of every era and transport, and child processes.
//!
//! Knows nothing of grants, budgets or the log. Only `gateway::forward` calls [`Upstream::send`].

mod asking;
mod audience;
mod backoff;
mod body;
mod channel;
mod child;
mod codec;
mod contacts;
mod deadline;
mod dial;
mod ears;
mod era;
mod exchange;
mod finding;
mod handshake;
mod http;
mod keeper;
mod legacy;
mod limits;
mod lines;
mod link;
mod listen_modern;
mod listener;
mod modern;
mod opening;
mod pending;
mod pool;
mod registry;
mod reply;
mod seat;
mod server;
mod session;
mod sse;
mod standing;
mod stdio;
mod streamable;
mod wire;

#[cfg(test)]
mod ask_tests;
#[cfg(test)]
mod dual_tests;
#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod listen_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod sse_tests;
#[cfg(test)]
mod stdio_tests;
#[cfg(test)]
mod testing;

pub use exchange::{
    Ask, Description, Era, EventId, Interests, Lane, List, Listening, News, Notice, Outgoing,
    Reply, StreamNews, UpstreamError,
};
pub use registry::{SetupError, Upstreams};
pub use server::{Health, Upstream};
