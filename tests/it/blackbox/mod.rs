//! The real binary as a child process, before a real server in this process: what people who run it rely on.
//!
//! Everything is on loopback and in temporary folders, every wait is bounded, and only processes that a test
//! started are ended by it.

mod agent;
mod canary;
mod checkpoints;
mod crash;
mod disk;
mod gateway;
mod handover;
mod keys;
mod lives;
mod load;
mod mismatch;
mod orders;
mod prune;
mod query;
mod quiet;
mod records;
mod redact;
mod reload;
mod report;
mod review;
mod simulate;
mod small_disk;
mod start;
mod stop;
mod tools;
mod truth;
mod vanish;
