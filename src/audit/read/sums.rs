//! Who called and what was called between two instants, in sum, however long that is.
//!
//! Whole days of UTC come from the sums by the day, which are packed when a day is over, what is left at both ends from
//! those by the quarter of an hour, and events without sums one by one. All of it is exact to the quarter of an hour.
//! Within 366 days a page reads about 40,000 sums of a hundred agents, and 110,000 of three hundred tools.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::Fresh;
use super::latency::{Took, took};
use super::names::{Texts, number};
use super::packed::{Selected, days_with_rows, each_counts};
use crate::audit::coarse::{DAY_US, Table, begins};
use crate::audit::counts::{COUNTS, Counts};
use crate::audit::rollups::{QUARTER_US, quarter};
use crate::db::DbError;
use crate::types::Timestamp;

/// The sums of all counts, in the order of the tables.
pub(super) const SUMMED: &str =
    "sum(admitted), sum(refused), sum(ok), sum(errors), sum(failed), sum(released),
    sum(abandoned), sum(latency_us)";

/// The time from one instant up to, not including, another, both at the beginning of a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    /// The time between two instants; each goes on to the next quarter of an hour if it does not begin one.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        let (from, to) = (countable(from), countable(to));
        Self { from, to }
    }

    /// Its beginning.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// Its end.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// All days of UTC that it touches, in microseconds since 1970.
    pub(super) fn days_touched(&self) -> (i64, i64) {
        let from = begins(self.from.micros(), DAY_US);
        (from, day_after(self.to.micros()))
    }

    /// As long as the day of UTC that it ends in.
    pub(super) fn to_the_end_of_its_day(self) -> Self {
        let to = Timestamp::from_micros(day_after(self.to.micros()));
        Self { to, ..self }
    }

    /// The whole days of UTC in it, and what is left before and after these.
    pub(super) fn pieces(&self) -> Pieces {
        let (from, to) = (self.from.micros(), self.to.micros());
        let days = (day_after(from), begins(to, DAY_US));
        if days.0 < days.1 {
            let rest = [(from, days.0), (days.1, to)];
            Pieces { days, rest }
        } else {
            let rest = [(from, to), (to, to)];
            Pieces {
                days: (to, to),
                rest,
            }
        }
    }
}

/// The pieces of a span, each from one instant up to, not including, another, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pieces {
    pub(super) days: (i64, i64),
    pub(super) rest: [(i64, i64); 2],
}

/// The first instant at or after this one that sums can begin with: they are kept by the quarter of an hour.
fn countable(at: Timestamp) -> Timestamp {
    let begins = quarter(at.micros().saturating_sub(1));
    Timestamp::from_micros(begins.saturating_add(QUARTER_US))
}

/// The first beginning of a day of UTC that is not before an instant.
fn day_after(at_us: i64) -> i64 {
    begins(at_us.saturating_add(DAY_US).saturating_sub(1), DAY_US)
}

/// What was called, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCounts {
    /// The server.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// How often.
    pub counts: Counts,
    /// How long its calls took: of all days of UTC that the time touches.
    pub took: Took,
}

/// One question: the table of days that it is about, and the statements about rows of days, and about quarters of an hour.
/// Both are given the beginning, the end and then the names, and give up to three numbers of names and the counts.
pub(super) struct Question<'a> {
    pub(super) table: Table,
    /// The numbers with which the key behind the time begins, where only some are asked for.
    pub(super) among: &'a [i64],
    pub(super) days: &'a str,
    pub(super) quarters: &'a str,
    pub(super) ids: &'a [i64],
}

type Row = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64, i64);

/// Reads rows of three numbers and counts.
pub(super) async fn rows(
    db: &mut SqliteConnection,
    text: String,
    ids: &[i64],
) -> Result<Vec<([i64; 3], Counts)>, DbError> {
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as::<_, Row>(AssertSqlSafe(text));
    let query = ids.iter().fold(query, |query, id| query.bind(*id));
    let rows = query.fetch_all(db).await?.into_iter();
    Ok(rows.map(counted).collect())
}

/// Takes a row apart.
pub(super) fn counted(row: Row) -> ([i64; 3], Counts) {
    let (x, y, z, a, b, c, d, e, f, g, h) = row;
    let columns: [i64; COUNTS] = [a, b, c, d, e, f, g, h];
    ([x, y, z], Counts::from(columns))
}

/// Adds counts to those of a key.
pub(super) fn add<K: Hash + Eq>(sums: &mut HashMap<K, Counts>, key: K, counts: &Counts) {
    sums.entry(key).or_default().add(counts);
}

/// Sums of a span by what is made of the numbers of agent, server and tool, where that is anything: from days, packed and
/// not, quarters of an hour, and events without sums.
pub(super) async fn ask(
    db: &mut SqliteConnection,
    (fresh, span): (&Fresh, Span),
    question: Question<'_>,
    key: impl Fn([i64; 3]) -> Option<[i64; 3]>,
) -> Result<HashMap<[i64; 3], Counts>, DbError> {
    let mut sums = HashMap::new();
    let Pieces { days, rest } = fresh.pieces(span);
    let Question { table, among, .. } = question;
    let pieces = [
        (table, question.days, days),
        (Table::Rollup, question.quarters, rest[0]),
        (Table::Rollup, question.quarters, rest[1]),
    ];
    let pieces = pieces.into_iter();
    for (table, text, (from, to)) in pieces.filter(|(_, _, (from, to))| from < to) {
        let time = (from, to);
        let packed = each_counts(db, Selected { table, time, among }, |_, ids, counts| {
            if let Some(key) = key(ids) {
                add(&mut sums, key, &counts);
            }
        });
        packed.await?;
        let ids = [&[from, to], question.ids].concat();
        for (key, counts) in rows(db, text.replace("COUNTS", SUMMED), &ids).await? {
            add(&mut sums, key, &counts);
        }
    }
    for noted in fresh.of(span) {
        if let Some(key) = key(noted.ids) {
            add(&mut sums, key, &noted.counts);
        }
    }
    Ok(sums)
}

/// All agents with a number, the busiest first. An agent that made no call in this time is among them when one of its
/// calls ended in it.
///
/// # Errors
/// When SQLite refuses.
pub async fn agents_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
) -> Result<Vec<(String, Counts)>, DbError> {
    let question = Question {
        table: Table::AgentDay,
        among: &[],
        days: "SELECT agent_id, 0, 0, COUNTS FROM agent_day WHERE day_us >= $1 AND day_us < $2 GROUP BY agent_id",
        quarters:
            "SELECT agent_id, 0, 0, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            GROUP BY agent_id",
        ids: &[],
    };
    let key = |[agent, ..]: [i64; 3]| Some([agent, 0, 0]);
    let sums = ask(db, (fresh, span), question, key).await?;
    agents(db, sums).await
}

/// The agents that called one tool, the busiest first.
///
/// # Errors
/// When SQLite refuses.
pub async fn tool_agents_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    (server, tool): (&str, &str),
    span: Span,
) -> Result<Vec<(String, Counts)>, DbError> {
    let ids = number(db, server).await?.zip(number(db, tool).await?);
    let Some((server, tool)) = ids else {
        return Ok(Vec::new());
    };
    let question = Question {
        table: Table::PairDay,
        among: &[],
        days: "SELECT agent_id, 0, 0, COUNTS FROM pair_day WHERE day_us >= $1 AND day_us < $2
            AND server_id = $3 AND tool_id = $4 GROUP BY agent_id",
        quarters:
            "SELECT agent_id, 0, 0, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            AND server_id = $3 AND tool_id = $4 GROUP BY agent_id",
        ids: &[server, tool],
    };
    let key = |[agent, its_server, its_tool]: [i64; 3]| {
        (its_server == server && its_tool == tool).then_some([agent, 0, 0])
    };
    let sums = ask(db, (fresh, span), question, key).await?;
    agents(db, sums).await
}

async fn agents(
    db: &mut SqliteConnection,
    sums: HashMap<[i64; 3], Counts>,
) -> Result<Vec<(String, Counts)>, DbError> {
    let texts = Texts::load(db, sums.keys().map(|[agent, ..]| *agent)).await?;
    let agents = sums.into_iter();
    let agents = agents.filter_map(|([agent, ..], counts)| Some((texts.get(agent)?, counts)));
    let mut agents: Vec<(String, Counts)> = agents.collect();
    agents.sort_by(|one, other| busy(&one.1).cmp(&busy(&other.1)).then(one.0.cmp(&other.0)));
    Ok(agents)
}

/// The order of lists: the most calls first.
pub(super) fn busy(counts: &Counts) -> Reverse<(i64, i64)> {
    Reverse((counts.calls(), counts.ended()))
}

/// All tools with a number, the busiest first. Names that were only ever refused have none: they may be invented. How long
/// their calls took is told of `timed`, which is most of what is read.
///
/// # Errors
/// When SQLite refuses.
pub async fn tools_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
    timed: Span,
) -> Result<Vec<ToolCounts>, DbError> {
    let key = |[_, server, tool]: [i64; 3]| Some([0, server, tool]);
    let sums = ask(db, (fresh, span), TOOLS, key).await?;
    let mut took = took(db, fresh, timed).await?;
    let tools = tools(db, sums).await?.into_iter();
    let tools = tools.map(|(ids, (server, tool), counts)| ToolCounts {
        server,
        tool,
        counts,
        took: took.remove(&ids).unwrap_or_default(),
    });
    Ok(tools.collect())
}

/// The same without how long they took.
///
/// # Errors
/// When SQLite refuses.
pub async fn tool_counts_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
) -> Result<Vec<((String, String), Counts)>, DbError> {
    let key = |[_, server, tool]: [i64; 3]| Some([0, server, tool]);
    let sums = ask(db, (fresh, span), TOOLS, key).await?;
    let tools = tools(db, sums).await?.into_iter();
    Ok(tools.map(|(_, names, counts)| (names, counts)).collect())
}

const TOOLS: Question<'static> = Question {
    table: Table::ToolDay,
    among: &[],
    days: "SELECT 0, server_id, tool_id, COUNTS FROM tool_day WHERE day_us >= $1 AND day_us < $2
        GROUP BY server_id, tool_id",
    quarters:
        "SELECT 0, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
        GROUP BY server_id, tool_id",
    ids: &[],
};

/// The tools that one agent called, by server and tool, the busiest first.
///
/// # Errors
/// When SQLite refuses.
pub async fn agent_tools_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    agent: &str,
    span: Span,
) -> Result<Vec<((String, String), Counts)>, DbError> {
    let Some(agent) = number(db, agent).await? else {
        return Ok(Vec::new());
    };
    let days = format!(
        "{} SELECT 0, server_id, tool_id, COUNTS FROM day
        CROSS JOIN pair_day ON day_us = begins AND agent_id = $3 GROUP BY server_id, tool_id",
        days_with_rows(Table::PairDay)
    );
    let question = Question {
        table: Table::PairDay,
        among: &[agent],
        days: &days,
        quarters: "SELECT 0, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            AND agent_id = $3 GROUP BY server_id, tool_id",
        ids: &[agent],
    };
    let key =
        |[its_agent, server, tool]: [i64; 3]| (its_agent == agent).then_some([0, server, tool]);
    let sums = ask(db, (fresh, span), question, key).await?;
    let tools = tools(db, sums).await?.into_iter();
    Ok(tools.map(|(_, names, counts)| (names, counts)).collect())
}

type NamedTool = ([i64; 2], (String, String), Counts);

async fn tools(
    db: &mut SqliteConnection,
    sums: HashMap<[i64; 3], Counts>,
) -> Result<Vec<NamedTool>, DbError> {
    let ids = sums.keys().flat_map(|[_, server, tool]| [*server, *tool]);
    let texts = Texts::load(db, ids).await?;
    let tools = sums.into_iter().filter_map(|([_, server, tool], counts)| {
        let names = (texts.get(server)?, texts.get(tool)?);
        Some(([server, tool], names, counts))
    });
    let mut tools: Vec<NamedTool> = tools.collect();
    tools.sort_by(|one, other| busy(&one.2).cmp(&busy(&other.2)).then(one.1.cmp(&other.1)));
    Ok(tools)
}
