//! Hayward.
pub mod audit;
pub mod budget;
pub mod clock;
pub mod db;
pub mod gateway;
pub mod http;
pub mod policy;
pub mod protocol;
pub mod types;
pub mod upstream;
