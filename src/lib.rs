//! Hayward: a gateway between AI agents (MCP clients) and the MCP servers they share.
//!
//! One call walks one way: [`http`] finds out who asks and how, [`gateway`] asks [`policy`] whether it may,
//! [`budget`] whether there is room, [`audit`] to write that down, and only then [`upstream`] to send it on;
//! what comes back is settled and written down before the agent has it. [`app`] puts the rooms together,
//! [`cli`] is the program, [`dashboard`] shows people what happened. `ARCHITECTURE.md` is the map.

pub mod app;
pub mod audit;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dashboard;
pub mod db;
pub mod example;
pub mod gateway;
pub mod http;
pub mod policy;
pub mod protocol;
pub mod review;
pub mod telemetry;
pub mod types;
pub mod upstream;
