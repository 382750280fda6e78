//! What happened between two instants: totals by the hour, who called, what was called.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::Timestamp;

use super::row::load;
use super::{CallRow, Extent, SCAN, at_of, first_since};

const HOUR_US: i64 = 3_600_000_000;

/// Combinations of agent, server and tool that are looked at; the most frequent ones.
const COMBINATIONS: i64 = 5_000;

/// What happened in one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hour {
    /// Calls, also refused ones.
    pub calls: i64,
    /// Refused ones among them.
    pub refused: i64,
    /// Calls that ended in an error; counted when they ended.
    pub errors: i64,
}

/// How often an agent called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Its calls, also refused ones.
    pub calls: i64,
    /// Refused ones among them.
    pub refused: i64,
}

/// How often a tool was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The server it is on.
    pub server: String,
    /// Its name there.
    pub name: String,
    /// Its calls, also refused ones.
    pub calls: i64,
    /// Refused ones among them.
    pub refused: i64,
}

/// What happened between two instants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Day {
    /// By hours after the first instant; as many as there are.
    pub hours: Vec<Hour>,
    /// Agents, the most frequent first.
    pub agents: Vec<Agent>,
    /// Tools, the most frequent first.
    pub tools: Vec<Tool>,
    /// Set when there was more than one page may read: everything here is from this instant on.
    pub counted_from: Option<Timestamp>,
}

impl Day {
    /// All hours together.
    pub fn total(&self) -> Hour {
        self.hours.iter().fold(Hour::default(), |sum, hour| Hour {
            calls: sum.calls.saturating_add(hour.calls),
            refused: sum.refused.saturating_add(hour.refused),
            errors: sum.errors.saturating_add(hour.errors),
        })
    }
}

/// Reads what happened from one instant up to, not including, another.
///
/// # Errors
/// When SQLite refuses.
pub async fn day(
    db: &mut SqliteConnection,
    extent: Extent,
    from: Timestamp,
    to: Timestamp,
) -> Result<Day, DbError> {
    let first = first_since(db, extent, from).await?;
    let high = first_since(db, extent, to).await?.saturating_sub(1);
    let low = first.max(high.saturating_sub(SCAN).saturating_add(1));
    let span = to.micros().saturating_sub(from.micros());
    let hours = usize::try_from(span.saturating_add(HOUR_US - 1) / HOUR_US).unwrap_or(0);
    let mut day = Day {
        hours: vec![Hour::default(); hours],
        ..Day::default()
    };
    if low > first {
        day.counted_from = at_of(db, low).await?;
    }
    count_hours(db, &mut day, from, low, high).await?;
    count_names(db, &mut day, low, high).await?;
    Ok(day)
}

/// The newest refused calls.
///
/// # Errors
/// When SQLite refuses.
pub async fn refusals(
    db: &mut SqliteConnection,
    at_most: i64,
    since: Timestamp,
) -> Result<Vec<CallRow>, DbError> {
    let text = "SELECT seq FROM event WHERE kind = 'denied' ORDER BY seq DESC LIMIT $1";
    let seqs: Vec<i64> = sqlx::query_scalar(text)
        .bind(at_most)
        .fetch_all(&mut *db)
        .await?;
    let mut rows = load(db, &seqs).await?;
    rows.retain(|row| row.at >= since);
    Ok(rows)
}

async fn count_hours(
    db: &mut SqliteConnection,
    day: &mut Day,
    from: Timestamp,
    low: i64,
    high: i64,
) -> Result<(), DbError> {
    // One event may stand for many refusals alike.
    let text = "
        SELECT (at_us - $3) / $4 AS hour, kind, coalesce(meta ->> 'outcome', 'ok') <> 'ok' AS wrong,
            sum(CASE WHEN kind = 'denied' THEN coalesce(meta ->> 'count', 1) ELSE 1 END)
        FROM event WHERE seq BETWEEN $1 AND $2 AND kind NOT IN ('started', 'stopped', 'policy')
        GROUP BY hour, kind, wrong";
    let counted = sqlx::query_as::<_, (i64, String, bool, i64)>(text)
        .bind(low)
        .bind(high)
        .bind(from.micros())
        .bind(HOUR_US)
        .fetch_all(db)
        .await?;
    for (hour, kind, wrong, events) in counted {
        let hour = usize::try_from(hour).ok();
        let Some(hour) = hour.and_then(|hour| day.hours.get_mut(hour)) else {
            continue;
        };
        match kind.as_str() {
            "admitted" => hour.calls = hour.calls.saturating_add(events),
            "denied" => {
                hour.calls = hour.calls.saturating_add(events);
                hour.refused = hour.refused.saturating_add(events);
            }
            "settled" if !wrong => {}
            _ => hour.errors = hour.errors.saturating_add(events),
        }
    }
    Ok(())
}

type Combination = (Option<String>, Option<String>, Option<String>, i64, i64);

async fn count_names(
    db: &mut SqliteConnection,
    day: &mut Day,
    low: i64,
    high: i64,
) -> Result<(), DbError> {
    let text = "
        SELECT agent.text, server.text, tool.text, calls, refused FROM (
            SELECT agent_id, server_id, tool_id,
                sum(CASE WHEN kind = 'denied' THEN coalesce(meta ->> 'count', 1) ELSE 1 END) AS calls,
                sum(CASE WHEN kind = 'denied' THEN coalesce(meta ->> 'count', 1) ELSE 0 END) AS refused
            FROM event WHERE seq BETWEEN $1 AND $2 AND kind IN ('admitted', 'denied')
            GROUP BY agent_id, server_id, tool_id ORDER BY calls DESC LIMIT $3
        )
        LEFT JOIN name AS agent ON agent.id = agent_id
        LEFT JOIN name AS server ON server.id = server_id
        LEFT JOIN name AS tool ON tool.id = tool_id";
    let combinations = sqlx::query_as::<_, Combination>(text)
        .bind(low)
        .bind(high)
        .bind(COMBINATIONS)
        .fetch_all(db)
        .await?;
    let mut agents = BTreeMap::<String, Calls>::new();
    let mut tools = BTreeMap::<(String, String), Calls>::new();
    for (agent, server, tool, calls, refused) in combinations {
        if let Some(name) = agent {
            agents.entry(name).or_default().add(calls, refused);
        }
        // A tool that was only ever refused has no number: its name may be invented.
        if let Some(name) = server.zip(tool) {
            tools.entry(name).or_default().add(calls, refused);
        }
    }
    day.agents = agents.into_iter().map(Agent::from).collect();
    day.tools = tools.into_iter().map(Tool::from).collect();
    // Stable, so that equal ones stay in the order of their names.
    day.agents.sort_by_key(|agent| Reverse(agent.calls));
    day.tools.sort_by_key(|tool| Reverse(tool.calls));
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    all: i64,
    refused: i64,
}

impl Calls {
    fn add(&mut self, calls: i64, refused: i64) {
        self.all = self.all.saturating_add(calls);
        self.refused = self.refused.saturating_add(refused);
    }
}

impl From<(String, Calls)> for Agent {
    fn from((name, calls): (String, Calls)) -> Self {
        Self {
            name,
            calls: calls.all,
            refused: calls.refused,
        }
    }
}

impl From<((String, String), Calls)> for Tool {
    fn from(((server, name), calls): ((String, String), Calls)) -> Self {
        Self {
            server,
            name,
            calls: calls.all,
            refused: calls.refused,
        }
    }
}
