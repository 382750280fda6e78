//! A world for tests: the real gateway on a temporary file, scripted servers, clients of every era.
//!
//! Nothing sleeps. What has to happen is awaited, and everything that is awaited has a deadline.

mod client;
mod fake;
mod log;
mod newsroom;
mod random;
mod streams;
mod world;

use std::time::Duration;

pub(crate) use client::{BOTH, Client, Reply, Sending, Session, SseEvent, Stream, rpc};
pub(crate) use fake::{ANSWER, FakeUpstream, Seen};
pub(crate) use log::{Event, events, find, without_lists};
pub(crate) use random::{Random, seed};
pub(crate) use streams::FakeStream;
pub(crate) use world::{PAGE, Stopped, World, token};

/// Far beyond what anything here takes, so that it passes only when something hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for something that is bound to happen.
pub(crate) async fn soon<T>(what: &str, happening: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, happening).await {
        Ok(happened) => happened,
        Err(_) => panic!("did not happen within {} s: {what}", DEADLINE.as_secs()),
    }
}
