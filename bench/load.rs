//! Callers that each keep one connection busy, and what they saw.

use std::time::Duration;

use anyhow::ensure;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::caller::Caller;
use super::server::PROGRESS;
use super::target::{Call, Target};

/// The progress that a call is told of, with its own token.
const PROGRESS_OF_CALL: &[u8] = b"\"progressToken\":\"p1\"";

/// Calls before the measurement, one connection each: handshakes and caches.
const WARM_UP: usize = 20;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// How many callers.
    pub(super) connections: usize,
    /// For how long.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    /// Calls a second.
    pub(super) rate: f64,
    /// Half of the calls were answered in this time.
    pub(super) p50: Duration,
    /// 99 of 100 were.
    pub(super) p99: Duration,
    /// Calls.
    pub(super) calls: usize,
    /// Processor time of what is measured for all of them.
    pub(super) cpu: Option<Duration>,
}

impl Measured {
    /// From the times of the calls that ended in `elapsed`.
    pub(super) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> anyhow::Result<Self> {
        ensure!(!latencies.is_empty(), "no call was answered");
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        Ok(Self {
            rate: f64::from(u32::try_from(latencies.len())?) / elapsed.as_secs_f64(),
            p50: at(50),
            p99: at(99),
            calls: latencies.len(),
            cpu: None,
        })
    }
}

impl Load {
    /// Calls until the time is over. `cpu` is asked before and after for the processor time so far.
    pub(super) async fn run(
        self,
        target: Target,
        cpu: impl Fn() -> Option<Duration>,
    ) -> anyhow::Result<Measured> {
        let request = target.request();
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let mut caller = Caller::connect(target.address).await?;
            warm_up(&mut caller, target.call, request.as_bytes()).await?;
            callers.push(caller);
        }
        let (before, started) = (cpu(), Instant::now());
        let end = started + self.time;
        let mut tasks = JoinSet::new();
        for caller in callers {
            tasks.spawn(call_until(end, caller, request.clone()));
        }
        let mut latencies = Vec::new();
        while let Some(done) = tasks.join_next().await {
            latencies.extend(done??);
        }
        let mut measured = Measured::of(latencies, started.elapsed())?;
        let times = before.zip(cpu());
        measured.cpu = times.map(|(before, after)| after.saturating_sub(before));
        Ok(measured)
    }
}

/// Calls without being measured. Whoever asks for progress must hear all of it, or the figures are those of less.
async fn warm_up(caller: &mut Caller, call: Call, request: &[u8]) -> anyhow::Result<()> {
    for _ in 0..WARM_UP {
        caller.call(request).await?;
    }
    if call == Call::WithProgress {
        let answer = caller.exchange(request).await?;
        let said = answer.windows(PROGRESS_OF_CALL.len());
        let said = said.filter(|part| *part == PROGRESS_OF_CALL).count();
        ensure!(said == PROGRESS, "{said} events of progress");
    }
    Ok(())
}

/// Calls one after the other; how long each took.
pub(super) async fn call_until(
    end: Instant,
    mut caller: Caller,
    request: String,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(1 << 12);
    let mut now = Instant::now();
    while now < end {
        caller.call(request.as_bytes()).await?;
        let after = Instant::now();
        latencies.push(after - now);
        now = after;
    }
    Ok(latencies)
}
