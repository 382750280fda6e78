//! Hayward: a gateway between AI agents and the MCP servers they share.

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
pub mod telemetry;
pub mod types;
pub mod upstream;
