//! Measures the gateway against a fast server, direct and through it, side by side in one run.
//!
//! `scripts/bench` builds and runs it. The figures are for comparing versions on one machine, not a test:
//! server, gateway and callers share its cores.

mod gateway;
mod load;
mod server;
mod table;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};

use gateway::Gateway;
use load::{Load, Measured};
use table::{Path, Row};

#[derive(Debug, Parser)]
struct Arguments {
    /// How often everything is measured; the table has the medians
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for one figure
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Which revision the server speaks
    #[arg(long, value_enum, default_value = "modern")]
    era: Era,
    /// A database that `fill` made: one gateway more is measured that goes on with it
    #[arg(long)]
    filled: Option<PathBuf>,
    /// The gateway's binary; by default the one built beside this program
    #[arg(long)]
    gateway: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Era {
    /// 2026-07-28.
    Modern,
    /// `initialize`, without a session.
    Legacy,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let binary = match &arguments.gateway {
        Some(path) => path.clone(),
        None => gateway::beside_this_program()?,
    };
    let server = server::start().await?;
    let process = Gateway::start(&binary, server, "process", arguments.era, None).await?;
    let power = Gateway::start(&binary, server, "power", arguments.era, None).await?;
    let filled = match &arguments.filled {
        Some(file) => {
            Some(Gateway::start(&binary, server, "process", arguments.era, Some(file)).await?)
        }
        None => None,
    };
    let mut rows = Vec::new();
    for &connections in &arguments.connections {
        let mut row = Row::new(connections);
        for _ in 0..arguments.rounds.max(1) {
            let load = |address| Load {
                address,
                connections,
                time: Duration::from_secs_f64(arguments.seconds),
            };
            row.add(Path::Direct, load(server).run("/mcp").await?);
            row.add(Path::Process, through(&process, &load).await?);
            if let Some(filled) = &filled {
                row.add(Path::Filled, through(filled, &load).await?);
            }
            row.add(Path::Power, through(&power, &load).await?);
        }
        rows.push(row);
    }
    process.stop().await?;
    power.stop().await?;
    if let Some(filled) = filled {
        filled.stop().await?;
    }
    let mut out = std::io::stdout().lock();
    out.write_all(table::render(&rows).as_bytes())?;
    Ok(())
}

/// Measures through a gateway, with the processor time it took.
async fn through(
    gateway: &Gateway,
    load: &impl Fn(SocketAddr) -> Load,
) -> anyhow::Result<Measured> {
    let before = gateway.cpu().context("the gateway is not running")?;
    let mut measured = load(gateway.address).run("/mcp/bench").await?;
    let after = gateway.cpu().context("the gateway is not running")?;
    measured.cpu = Some(after.saturating_sub(before));
    Ok(measured)
}
