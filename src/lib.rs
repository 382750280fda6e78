//! Hayward.
pub mod audit;
pub mod clock;
pub mod example;
pub mod policy;
pub mod protocol;
pub mod types;
pub mod upstream;
