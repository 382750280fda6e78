//! What happened between two instants: totals by the hour, who called, what was called.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::SqliteConnection;

use crate::audit::behind::load_mark;
use crate::audit::rollups;
use crate::db::DbError;
use crate::types::Timestamp;

use super::row::load;
use super::{CallRow, Extent, at_of, first_since};

mod sums;

const HOUR: Duration = Duration::from_secs(3_600);

/// Events of one period that are counted at most.
pub const COUNTED: i64 = 100_000;

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

impl Hour {
    fn and(self, more: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(more.calls),
            refused: self.refused.saturating_add(more.refused),
            errors: self.errors.saturating_add(more.errors),
        }
    }
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
        let hours = self.hours.iter();
        hours.fold(Hour::default(), |sum, hour| sum.and(*hour))
    }
}

/// What happened between two instants, in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Calls, refusals, errors.
    pub counted: Hour,
    /// How many agents called.
    pub agents: i64,
}

/// The first instant at or after this one that sums can begin with: they are kept by the quarter of an hour.
pub fn countable(at: Timestamp) -> Timestamp {
    let begins = rollups::quarter(at.micros().saturating_sub(1));
    Timestamp::from_micros(begins.saturating_add(rollups::QUARTER_US))
}

/// Reads what happened from one instant, a [`countable`] one, up to, not including, another, by the hour and by name.
///
/// # Errors
/// When SQLite refuses.
pub async fn day(
    db: &mut SqliteConnection,
    extent: Extent,
    from: Timestamp,
    to: Timestamp,
) -> Result<Day, DbError> {
    let (part, counted_from) = part(db, extent, from, to).await?;
    let hours = to.since(from).as_micros().div_ceil(HOUR.as_micros());
    let mut day = Day {
        hours: vec![Hour::default(); usize::try_from(hours).unwrap_or(0)],
        counted_from,
        ..Day::default()
    };
    if part.has_sums {
        sums::hours(db, &mut day.hours, from, to).await?;
    }
    count_hours(db, &mut day.hours, part.rest, from).await?;
    let mut combinations = combinations(db, part.rest).await?;
    if part.has_sums {
        combinations.extend(sums::combinations(db, from, to).await?);
    }
    count_names(&mut day, combinations);
    Ok(day)
}

/// Reads the same in sum, which is quicker.
///
/// # Errors
/// When SQLite refuses.
pub async fn totals(
    db: &mut SqliteConnection,
    extent: Extent,
    from: Timestamp,
    to: Timestamp,
) -> Result<Totals, DbError> {
    let (part, _) = part(db, extent, from, to).await?;
    let mut counted = count(db, part.rest).await?;
    if !part.has_sums {
        let agents = sqlx::query_scalar(
            "SELECT count(DISTINCT agent_id) FROM event WHERE seq BETWEEN $1 AND $2",
        );
        let agents = agents.bind(part.rest.first).bind(part.rest.last);
        let agents = agents.fetch_one(&mut *db).await?;
        return Ok(Totals { counted, agents });
    }
    counted = counted.and(sums::total(db, from, to).await?);
    let agents = sums::agents(db, from, to, part.rest).await?;
    Ok(Totals { counted, agents })
}

/// What has to be counted event by event.
#[derive(Debug)]
struct Part {
    /// The events that are.
    rest: Extent,
    /// Whether everything before them has sums.
    has_sums: bool,
}

/// The events that no sums cover yet; all of them, as far as a page may read, while the sums are far behind.
async fn part(
    db: &mut SqliteConnection,
    extent: Extent,
    from: Timestamp,
    to: Timestamp,
) -> Result<(Part, Option<Timestamp>), DbError> {
    let mark = load_mark(db).await?;
    if extent.last.saturating_sub(mark) > COUNTED {
        let (rest, counted_from) = reach(db, extent, from, to).await?;
        let has_sums = false;
        return Ok((Part { rest, has_sums }, counted_from));
    }
    let first = mark.saturating_add(1).max(extent.first);
    let tail = Extent { first, ..extent };
    let rest = Extent {
        first: first_since(db, tail, from).await?,
        last: first_since(db, tail, to).await?.saturating_sub(1),
    };
    let has_sums = true;
    Ok((Part { rest, has_sums }, None))
}

/// The events between two instants; the newest [`COUNTED`] of them, and then since when.
async fn reach(
    db: &mut SqliteConnection,
    extent: Extent,
    from: Timestamp,
    to: Timestamp,
) -> Result<(Extent, Option<Timestamp>), DbError> {
    let first = first_since(db, extent, from).await?;
    let last = first_since(db, extent, to).await?.saturating_sub(1);
    let near = last.saturating_sub(COUNTED).saturating_add(1);
    if first >= near {
        return Ok((Extent { first, last }, None));
    }
    let counted_from = at_of(db, near).await?;
    Ok((Extent { first: near, last }, counted_from))
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

/// One range of the log after the other: to group them in one statement, SQLite would sort their texts.
async fn count_hours(
    db: &mut SqliteConnection,
    hours: &mut [Hour],
    reach: Extent,
    from: Timestamp,
) -> Result<(), DbError> {
    let mut rest = reach;
    let Some(earliest) = at_of(db, rest.first).await? else {
        return Ok(());
    };
    let mut ends = from;
    for hour in hours {
        ends = ends.after(HOUR);
        if rest.first > rest.last {
            break;
        }
        if ends <= earliest {
            continue;
        }
        let next = first_since(db, rest, ends).await?;
        let reach = Extent {
            first: rest.first,
            last: next.saturating_sub(1),
        };
        *hour = hour.and(count(db, reach).await?);
        rest.first = next;
    }
    Ok(())
}

async fn count(db: &mut SqliteConnection, reach: Extent) -> Result<Hour, DbError> {
    // One event may stand for many refusals alike. The outcome is looked for as it is written, because to
    // read every text as JSON takes half as long again.
    let text = r#"
        SELECT coalesce(sum(kind = 'admitted'), 0),
            coalesce(sum(CASE WHEN kind = 'denied' THEN coalesce(meta ->> 'count', 1) END), 0),
            coalesce(sum(CASE kind WHEN 'settled' THEN instr(meta, '"outcome":"ok"') = 0
                ELSE kind IN ('failed', 'released', 'abandoned') END), 0)
        FROM event WHERE seq BETWEEN $1 AND $2"#;
    let (allowed, refused, errors) = sqlx::query_as::<_, (i64, i64, i64)>(text)
        .bind(reach.first)
        .bind(reach.last)
        .fetch_one(db)
        .await?;
    Ok(Hour {
        calls: allowed.saturating_add(refused),
        refused,
        errors,
    })
}

/// Agent, server and tool, calls and refused ones among them.
type Combination = (Option<String>, Option<String>, Option<String>, i64, i64);

async fn combinations(
    db: &mut SqliteConnection,
    reach: Extent,
) -> Result<Vec<Combination>, DbError> {
    // Two statements, so that the many are grouped without their texts: SQLite would sort those along.
    let text = "
        WITH counted AS (
            SELECT agent_id, server_id, tool_id, count(*) AS calls, 0 AS refused
            FROM event WHERE seq BETWEEN $1 AND $2 AND kind = 'admitted'
            GROUP BY agent_id, server_id, tool_id
            UNION ALL
            SELECT agent_id, server_id, tool_id, sum(coalesce(meta ->> 'count', 1)),
                sum(coalesce(meta ->> 'count', 1))
            FROM event WHERE seq BETWEEN $1 AND $2 AND kind = 'denied'
            GROUP BY agent_id, server_id, tool_id
        )
        SELECT agent.text, server.text, tool.text, calls, refused
        FROM (SELECT * FROM counted ORDER BY calls DESC LIMIT $3)
        LEFT JOIN name AS agent ON agent.id = agent_id
        LEFT JOIN name AS server ON server.id = server_id
        LEFT JOIN name AS tool ON tool.id = tool_id";
    let combinations = sqlx::query_as::<_, Combination>(text)
        .bind(reach.first)
        .bind(reach.last)
        .bind(COMBINATIONS)
        .fetch_all(db)
        .await?;
    Ok(combinations)
}

fn count_names(day: &mut Day, combinations: Vec<Combination>) {
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
