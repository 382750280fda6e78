//! Hayward.
pub mod audit;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod db;
pub mod example;
pub mod policy;
pub mod protocol;
pub mod telemetry;
pub mod types;
pub mod upstream;
