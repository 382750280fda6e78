//! What is measured, one table each.

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::caller::Caller;
use super::figures::{self, Figure, Wanted};
use super::gateway::Gateway;
use super::load::{Load, call_until};
use super::rules::{self, Era};
use super::server::{self, Manner};
use super::table::{self, Row, Way};
use super::target::{Call, Target};
use super::ways::{Setting, Ways};
use super::{footprint, pressure};

/// Callers where their number is not what is asked about.
const CALLERS: usize = 64;

/// Callers that measure a stream, or stand beside those who wait for a slow server.
const FEW_CALLERS: usize = 16;

/// Until everybody who calls a slow server waits for it.
const LEAD: Duration = Duration::from_millis(300);

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// Small results of a server of 2026-07-28
    Small,
    /// The same of a server that wants `initialize`
    Legacy,
    /// Results of a megabyte
    Large,
    /// Results after events of progress
    Stream,
    /// A server that is a child process
    Stdio,
    /// A thousand agents in the file against three
    Crowd,
    /// Ten times the callers that it can serve
    Pressure,
    /// A fast server beside a slow one
    Slow,
    /// Size, memory, and time to start
    Footprint,
}

/// What came of a case.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The figures, to be read.
    pub(super) text: String,
    /// Those that the design has a wish for.
    pub(super) figures: Vec<Figure>,
}

impl Case {
    /// Measures it.
    pub(super) async fn run(
        self,
        setting: &Setting,
        connections: &[usize],
    ) -> anyhow::Result<Outcome> {
        match self {
            Self::Small => small(setting, connections).await,
            Self::Legacy => {
                let rules = |server| rules::ordinary(server, Era::Legacy);
                let question = Question::of("server of 2025-11-25", Manner::Small, connections);
                question.ask(setting, rules).await.map(Outcome::table)
            }
            Self::Large => {
                let question = Question::of("results of 1 MB", Manner::Large, &[1, 8]);
                question.ask(setting, modern).await.map(Outcome::table)
            }
            Self::Stream => {
                let question = Question {
                    call: Call::WithProgress,
                    ..Question::of("progress, then the result", Manner::Stream, &[FEW_CALLERS])
                };
                question.ask(setting, modern).await.map(Outcome::table)
            }
            Self::Stdio => stdio(setting, connections).await,
            Self::Crowd => crowd(setting).await,
            Self::Pressure => pressure::run(setting).await,
            Self::Slow => slow(setting).await,
            Self::Footprint => footprint::run(setting).await,
        }
    }
}

impl Outcome {
    fn table((title, rows): (&str, Vec<Row>)) -> Self {
        Self {
            text: format!("{title}\n{}", table::render(&rows)),
            figures: Vec::new(),
        }
    }
}

/// A comparison of all ways.
#[derive(Debug, Clone, Copy)]
struct Question<'a> {
    title: &'a str,
    manner: Manner,
    call: Call,
    connections: &'a [usize],
}

impl<'a> Question<'a> {
    fn of(title: &'a str, manner: Manner, connections: &'a [usize]) -> Self {
        Self {
            title,
            manner,
            call: Call::Plain,
            connections,
        }
    }

    async fn ask(
        self,
        setting: &Setting,
        rules: impl Fn(SocketAddr) -> String,
    ) -> anyhow::Result<(&'a str, Vec<Row>)> {
        let server = server::start(self.manner).await?;
        let ways = Ways::start(setting, Some(server), &rules(server)).await?;
        let rows = self.rows(setting, &ways).await?;
        ways.stop().await?;
        Ok((self.title, rows))
    }

    async fn rows(self, setting: &Setting, ways: &Ways) -> anyhow::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for &connections in self.connections {
            rows.push(ways.measure(setting, self.call, connections).await?);
        }
        Ok(rows)
    }
}

fn modern(server: SocketAddr) -> String {
    rules::ordinary(server, Era::Modern)
}

async fn small(setting: &Setting, connections: &[usize]) -> anyhow::Result<Outcome> {
    let question = Question::of("small results", Manner::Small, connections);
    let (title, rows) = question.ask(setting, modern).await?;
    let figures = figures::of_small(&rows);
    let outcome = Outcome::table((title, rows));
    Ok(Outcome { figures, ..outcome })
}

async fn stdio(setting: &Setting, connections: &[usize]) -> anyhow::Result<Outcome> {
    let own = std::env::current_exe()?;
    let rules = rules::with_command(&own.display().to_string());
    let ways = Ways::start(setting, None, &rules).await?;
    let title = "server as a child process";
    let rows = Question::of(title, Manner::Small, connections)
        .rows(setting, &ways)
        .await?;
    ways.stop().await?;
    Ok(Outcome::table((title, rows)))
}

async fn crowd(setting: &Setting) -> anyhow::Result<Outcome> {
    let server = server::start(Manner::Small).await?;
    // Three of the same kind, so that nothing but their number differs.
    let (few, many) = (rules::crowd(server, 3), rules::crowd(server, rules::CROWD));
    let gateways = [
        (Way::Process, Gateway::start(setting.plan(&few)).await?),
        (Way::Crowd, Gateway::start(setting.plan(&many)).await?),
    ];
    let mut row = Row::new(CALLERS);
    for _ in 0..setting.rounds {
        for (way, gateway) in &gateways {
            let measured = load(setting, CALLERS).run(target(gateway), || gateway.cpu());
            row.add(*way, measured.await?);
        }
    }
    for (_, gateway) in gateways {
        gateway.stop().await?;
    }
    let part = table::part(row.rate(Way::Crowd), row.rate(Way::Process));
    let title = "1,000 agents with a rule each (crowd) against three";
    let mut outcome = Outcome::table((title, vec![row]));
    outcome.figures.extend(Figure::of(
        "calls a second, 1,000 agents of three",
        "%",
        Wanted::AtLeast(95.0),
        part.map(|part| part * 100.0),
    ));
    Ok(outcome)
}

async fn slow(setting: &Setting) -> anyhow::Result<Outcome> {
    let (fast, slow) = (
        server::start(Manner::Small).await?,
        server::start(Manner::Slow).await?,
    );
    let rules = rules::with_slow(fast, slow);
    let gateway = Gateway::start(setting.plan(&rules)).await?;
    let mut row = Row::new(FEW_CALLERS);
    let measure = || load(setting, FEW_CALLERS).run(target(&gateway), || gateway.cpu());
    for _ in 0..setting.rounds {
        row.add(Way::Process, measure().await?);
        let mut waiting = wait_for_slow(setting, &gateway).await?;
        row.add(Way::Beside, measure().await?);
        while let Some(waited) = waiting.join_next().await {
            waited??;
        }
    }
    gateway.stop().await?;
    let title = "a fast server, alone and beside 64 callers who wait for a slow one";
    Ok(Outcome::table((title, vec![row])))
}

/// Callers who wait for the slow server until the measurement is over.
async fn wait_for_slow(
    setting: &Setting,
    gateway: &Gateway,
) -> anyhow::Result<JoinSet<anyhow::Result<Vec<Duration>>>> {
    let target = Target {
        path: "/mcp/slow",
        ..target(gateway)
    };
    let end = Instant::now() + LEAD + setting.time;
    let mut waiting = JoinSet::new();
    for _ in 0..CALLERS {
        let caller = Caller::connect(gateway.address).await?;
        waiting.spawn(call_until(end, caller, target.request()));
    }
    sleep(LEAD).await;
    Ok(waiting)
}

fn load(setting: &Setting, connections: usize) -> Load {
    Load {
        connections,
        time: setting.time,
    }
}

/// An ordinary call of the server `bench` behind a gateway.
pub(super) fn target(gateway: &Gateway) -> Target {
    Target {
        address: gateway.address,
        path: "/mcp/bench",
        call: Call::Plain,
    }
}
