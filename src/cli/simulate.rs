//! `hayward simulate`: what changed rules would have made of the calls of the last weeks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::args::{LogFile, PolicyFile};
use super::budget::unit_of;
use super::findings::counted;
use super::progress::Progress;
use super::query::time;
use super::rules::load_rules;
use super::show::Format;
use super::{Exit, Failure, Screen, plain};
use crate::audit::read::replay::{Piece, load_steps, names};
use crate::audit::read::{extent, first_since};
use crate::clock::{Clock, SystemClock};
use crate::db::{DbError, Readers};
use crate::policy::Permissions;
use crate::review::{Flip, Simulation, Simulator, Times, Wanted, asks_arguments, counts_from};
use crate::types::{AgentName, Timestamp, Zone};

/// Pieces of the log that are read ahead.
const AHEAD: usize = 4;

/// Lines of one list, at most, for people.
const LISTED: usize = 40;

/// Exit codes, for scripts.
const CODES: &str = "\
Exit codes:
  0  the answer is above
  1  more calls would be refused than --fail-if-denied allows
  3  the rules are not in order
  4  a file cannot be read";

/// Flags of `hayward simulate`.
#[derive(Debug, Clone, Args)]
#[command(after_help = CODES)]
pub struct SimulateArguments {
    /// Which rules.
    #[command(flatten)]
    pub rules: PolicyFile,
    /// Which log.
    #[command(flatten)]
    pub log: LogFile,
    /// The calls since then: 30d, 12h, 2026-11-01, an instant
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub since: String,
    /// Tell of this agent only; the calls of others still count in budgets that they share
    #[arg(long, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// Name so many calls of each kind of change
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub sample: usize,
    /// End with 1 when more calls than this would be refused
    #[arg(long, value_name = "N")]
    pub fail_if_denied: Option<u64>,
    /// How to answer
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
}

/// Tries the rules on the log.
pub(super) async fn simulate(
    arguments: &SimulateArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let loaded = load_rules(&arguments.rules.policy, screen)?;
    let permissions = &loaded.permissions;
    let now = SystemClock::start().now();
    let from = time(&arguments.since, permissions.zone(), now).map_err(Failure::usage)?;
    let readers = Readers::open(&arguments.log.db).await?;
    let found = replay(arguments, permissions, from, &readers, screen).await;
    readers.close().await;
    let found = found?;
    let span = (from, now);
    screen.answer(&match arguments.format {
        Format::Table => text(&found, span, permissions.zone()),
        Format::Json => as_json(&found, span).to_string(),
    })?;
    let most = arguments.fail_if_denied.unwrap_or(u64::MAX);
    Ok(if found.refused_calls() > most {
        Exit::No
    } else {
        Exit::Yes
    })
}

/// Reads the log in one task and decides in another.
async fn replay(
    arguments: &SimulateArguments,
    permissions: &Permissions,
    from: Timestamp,
    readers: &Readers,
    screen: &Screen,
) -> Result<Simulation, Failure> {
    let mut db = readers.pool().acquire().await?;
    let wanted = Wanted {
        from,
        only: arguments.agent.clone(),
        samples: arguments.sample,
    };
    let mut simulator = Simulator::new(permissions, names(&mut db).await?, wanted);
    let Some(extent) = extent(&mut db).await? else {
        return Ok(simulator.finish());
    };
    let first = first_since(&mut db, extent, counts_from(permissions, from)).await?;
    let with_arguments = asks_arguments(permissions);
    let (pieces, mut ready) = mpsc::channel::<Result<Piece, DbError>>(AHEAD);
    // A gateway that goes on writing does not keep it from ending.
    let last = extent.last;
    let reader = tokio::spawn(async move {
        let mut after = first.saturating_sub(1);
        loop {
            match load_steps(&mut db, (after, last), with_arguments).await {
                Ok(None) => return,
                Ok(Some(piece)) => {
                    after = piece.last;
                    if pieces.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = pieces.send(Err(error)).await;
                    return;
                }
            }
        }
    });
    let mut progress = Progress::new(screen, extent.last.saturating_sub(first));
    while let Some(piece) = ready.recv().await {
        let piece = piece?;
        let Some(steps) = piece.steps() else {
            return Err(anyhow::anyhow!(
                "the log before event {} cannot be read as events: `hayward audit verify` says more",
                piece.last
            )
            .into());
        };
        for step in &steps {
            simulator.step(step, piece.arguments(step.seq));
        }
        progress.at(piece.last.saturating_sub(first));
    }
    progress.end();
    // It has ended, or there would be more to come.
    reader.await?;
    Ok(simulator.finish())
}

fn text(found: &Simulation, (from, to): (Timestamp, Timestamp), zone: &Zone) -> String {
    let mut text = format!(
        "{} from {} to {}\n",
        counted(found.calls, "call"),
        from.rfc3339(zone),
        to.rfc3339(zone)
    );
    if found.calls == 0 {
        text.push_str("\n  the log has no calls of that time");
        return text;
    }
    section(
        &mut text,
        "would be refused",
        found.refused_calls(),
        &found.refused,
        zone,
    );
    section(
        &mut text,
        "would be let through",
        found.allowed_calls(),
        &found.allowed,
        zone,
    );
    if !found.dry.is_empty() {
        text.push_str("\n  budgets that run dry");
    }
    let mut driest: Vec<_> = found.dry.iter().collect();
    driest.sort_by_key(|(_, dry)| std::cmp::Reverse(dry.calls));
    for (key, dry) in driest.into_iter().take(LISTED) {
        let (first, calls) = (dry.first.rfc3339(zone), counted(dry.calls, "call"));
        let windows = counted(dry.windows.len(), "window");
        let _ = write!(
            text,
            "\n    {}: {calls} without room in {windows}, the first {first}",
            plain(key)
        );
    }
    if found.dry.len() > LISTED {
        let _ = write!(text, "\n    and {} more", found.dry.len() - LISTED);
    }
    if found.refused.is_empty() && found.allowed.is_empty() {
        text.push_str("\n  every call would fare as it did");
    }
    if found.left_out > 0 {
        let _ = write!(
            text,
            "\n  not tried: {} refused for rates, repeats, calls in flight or addresses",
            counted(found.left_out, "call")
        );
    }
    if found.without_arguments > 0 {
        let _ = write!(
            text,
            "\n  not certain: the arguments of {} are not in the log, and these rules ask about them (`capture: arguments` keeps them)",
            counted(found.without_arguments, "call")
        );
    }
    text
}

fn section(text: &mut String, title: &str, calls: u64, flips: &BTreeMap<Flip, Times>, zone: &Zone) {
    if flips.is_empty() {
        return;
    }
    let _ = write!(text, "\n  {title}: {calls}");
    let mut most: Vec<(&Flip, &Times)> = flips.iter().collect();
    most.sort_by_key(|(_, times)| std::cmp::Reverse(times.calls));
    for (flip, times) in most.iter().take(LISTED) {
        let (agent, subject) = (
            plain(&flip.agent),
            plain(&format!("{}/{}", flip.server, flip.name)),
        );
        let first = times.first.rfc3339(zone);
        let _ = write!(
            text,
            "\n    {:>8}  {agent}  {subject}  {}, first {first}",
            times.calls,
            plain(&flip.reason)
        );
        for call in &times.samples {
            let _ = write!(text, "\n              {call}");
        }
    }
    if most.len() > LISTED {
        let _ = write!(text, "\n    and {} more kinds", most.len() - LISTED);
    }
    text.push('\n');
}

fn as_json(found: &Simulation, (from, to): (Timestamp, Timestamp)) -> Value {
    let flips = |flips: &BTreeMap<Flip, Times>| -> Value {
        let each = flips.iter().map(|(flip, times)| {
            json!({
                "agent": flip.agent,
                "server": flip.server,
                "name": flip.name,
                "reason": flip.reason,
                "calls": times.calls,
                "first_at": times.first.rfc3339_utc(),
                "samples": times.samples.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        each.collect()
    };
    let dry = found.dry.iter().map(|(key, dry)| {
        json!({
            "budget": key,
            "unit": unit_of(key).word(),
            "windows": dry.windows.len(),
            "first_at": dry.first.rfc3339_utc(),
            "calls": dry.calls,
        })
    });
    json!({
        "from": from.rfc3339_utc(),
        "to": to.rfc3339_utc(),
        "calls": found.calls,
        "refused": found.refused_calls(),
        "allowed": found.allowed_calls(),
        "would_be_refused": flips(&found.refused),
        "would_be_allowed": flips(&found.allowed),
        "dry": dry.collect::<Vec<_>>(),
        "left_out": found.left_out,
        "without_arguments": found.without_arguments,
    })
}
