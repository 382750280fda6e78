//! Measures the gateway against a fast server, direct, through nginx and through it, side by side in one run.
//!
//! `scripts/bench` builds and runs it. The figures are for comparing versions on one machine, not a test:
//! server, gateway and callers share its cores.

mod caller;
mod cases;
mod child;
mod figures;
mod footprint;
mod gateway;
mod load;
mod nginx;
mod pressure;
mod rules;
mod server;
mod table;
mod target;
mod ways;
mod wire;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Parser, ValueEnum};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use caller::Caller;
use cases::Case;
use gateway::Gateway;
use rules::Era;
use server::Manner;
use ways::Setting;

#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; by default everything
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Case>,
    /// How often everything is measured; the tables have the medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for one figure
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Numbers of connections of `small`, `legacy` and `stdio`
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    connections: Vec<usize>,
    /// Callers of `pressure`, fewer where the limit on open files is lower
    #[arg(long, default_value_t = 2_000)]
    pressed: usize,
    /// A database that `fill` made: one gateway more is measured that goes on with it
    #[arg(long)]
    filled: Option<PathBuf>,
    /// The gateway's binary; by default the one built beside this program
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Make exactly so many calls, one after the other, and measure nothing: for those who count instructions
    #[arg(long)]
    calls: Option<usize>,
    /// Be the server that a gateway starts as a child process
    #[arg(long, hide = true)]
    stdio_server: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.stdio_server {
        return Ok(server::serve_lines()?);
    }
    Runtime::new()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        // Whoever breaks this off must not be left with its children; they end when the run is dropped.
        tokio::select! {
            done = run(arguments) => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            _ = terminate.recv() => bail!("terminated"),
        }
    })
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let setting = Setting {
        binary: match arguments.gateway {
            Some(path) => path.canonicalize()?,
            None => gateway::beside_this_program()?,
        },
        filled: arguments.filled,
        rounds: arguments.rounds.max(1),
        time: Duration::from_secs_f64(arguments.seconds),
        pressed: arguments.pressed,
    };
    if let Some(calls) = arguments.calls {
        return only_call(&setting, calls).await;
    }
    let cases = match arguments.only.as_slice() {
        [] => Case::value_variants(),
        only => only,
    };
    say("tools/call, audit and two budgets on; medians; shares in per cent\n")?;
    let (mut figures, mut failed) = (Vec::new(), false);
    for case in cases {
        match case.run(&setting, &arguments.connections).await {
            Ok(outcome) => {
                say(&outcome.text)?;
                figures.extend(outcome.figures);
            }
            // The others are worth their time all the same.
            Err(error) => {
                failed = true;
                say(&format!("{case:?} failed: {error:#}\n"))?;
            }
        }
    }
    if !figures.is_empty() {
        say(&figures::render(&figures))?;
    }
    ensure!(!failed, "not everything could be measured");
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

async fn only_call(setting: &Setting, calls: usize) -> anyhow::Result<()> {
    let server = server::start(Manner::Small).await?;
    let rules = rules::ordinary(server, Era::Modern);
    let gateway = Gateway::start(setting.plan(&rules)).await?;
    let target = cases::target(&gateway);
    let mut caller = Caller::connect(gateway.address).await?;
    let request = target.request();
    for _ in 0..calls {
        caller.call(request.as_bytes()).await?;
    }
    gateway.stop().await
}
