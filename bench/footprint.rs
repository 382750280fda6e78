//! What a gateway takes before anybody calls: its size, its memory, its time to start.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::cases::Outcome;
use super::figures::{Figure, Wanted};
use super::gateway::{Gateway, Plan};
use super::rules::{self, Era};
use super::server::{self, Manner};
use super::table::median;
use super::target::post;
use super::ways::Setting;
use super::wire::header;

/// Sessions that are opened, as many as one agent may have.
const SESSIONS: usize = 1_000;

/// Until a gateway that started does nothing more.
const SETTLE: Duration = Duration::from_secs(1);

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Measures it.
pub(super) async fn run(setting: &Setting) -> anyhow::Result<Outcome> {
    let size = count(fs::metadata(&setting.binary)?.len())? / 1e6;
    let server = server::start(Manner::Small).await?;
    let (mut idle, mut sessions) = (Vec::new(), Vec::new());
    let rules = rules::ordinary(server, Era::Modern);
    for _ in 0..setting.rounds {
        let [before, after] = memory(setting.plan(&rules)).await?;
        idle.push(before);
        sessions.push(after);
    }
    let rules = rules::crowd(server, rules::CROWD);
    let plan = setting.plan(&rules);
    let empty = starts(plan, setting.rounds).await?;
    let filled = match &setting.filled {
        Some(file) => {
            let file = Some(file.as_path());
            starts(Plan { file, ..plan }, setting.rounds).await?
        }
        None => None,
    };
    let lines = [
        ("size of the program", "MB", Some(15.0), Some(size)),
        ("memory, idle", "MB", Some(20.0), median(idle)),
        ("memory, 1,000 sessions", "MB", Some(60.0), median(sessions)),
        ("start, 1,000 agents, empty file", "ms", None, empty),
        (
            "start, 1,000 agents, filled file",
            "ms",
            Some(150.0),
            filled,
        ),
    ];
    let mut text = String::from("before anybody calls\n");
    for (what, unit, _, measured) in &lines {
        if let Some(measured) = measured {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what:<42}{measured:>10.1} {unit}");
        }
    }
    let figures = lines
        .into_iter()
        .filter_map(|(what, unit, most, measured)| {
            Figure::of(what, unit, Wanted::AtMost(most?), measured)
        });
    let figures = figures.collect();
    Ok(Outcome { text, figures })
}

/// Memory of a gateway that only started, and with all sessions open, in megabytes.
async fn memory(plan: Plan<'_>) -> anyhow::Result<[f64; 2]> {
    let gateway = Gateway::start(plan).await?;
    sleep(SETTLE).await;
    let idle = gateway.resident().context("the gateway is not running")?;
    let mut caller = Caller::connect(gateway.address).await?;
    for _ in 0..SESSIONS {
        open_session(&gateway, &mut caller).await?;
    }
    let open = gateway.resident().context("the gateway is not running")?;
    gateway.stop().await?;
    Ok([count(idle)? / 1e6, count(open)? / 1e6])
}

async fn open_session(gateway: &Gateway, caller: &mut Caller) -> anyhow::Result<()> {
    let request = post(gateway.address, "/mcp/bench", "", INITIALIZE);
    let answer = caller.exchange(request.as_bytes()).await?;
    let session = header(answer, "mcp-session-id").context("no session")?;
    let headers = format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n");
    let request = post(gateway.address, "/mcp/bench", &headers, INITIALIZED);
    let answer = caller.exchange(request.as_bytes()).await?;
    let is_accepted = answer.starts_with(b"HTTP/1.1 202");
    ensure!(is_accepted, "{}", String::from_utf8_lossy(answer));
    Ok(())
}

/// How long a start takes, in milliseconds. A log that all of them go on with is checked after the last: with years of
/// use in it that takes longer than all else.
async fn starts(plan: Plan<'_>, rounds: usize) -> anyhow::Result<Option<f64>> {
    let mut times = Vec::new();
    for round in 1..=rounds {
        let began = Instant::now();
        let mut gateway = Gateway::start(plan).await?;
        is_healthy(&gateway).await?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if plan.file.is_none() || round == rounds {
            gateway.stop().await?;
        } else {
            gateway.end().await?;
        }
    }
    Ok(median(times))
}

async fn is_healthy(gateway: &Gateway) -> anyhow::Result<()> {
    let request = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
    let mut caller = Caller::connect(gateway.address).await?;
    let answer = caller.exchange(request.as_bytes()).await?;
    let is_healthy = answer.starts_with(b"HTTP/1.1 200");
    ensure!(is_healthy, "{}", String::from_utf8_lossy(answer));
    Ok(())
}

fn count(bytes: u64) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?))
}
