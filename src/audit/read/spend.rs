//! Why calls were refused and what calls cost between two instants: by agent, server, tool, and reason or unit.

use std::cmp::Reverse;
use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::fresh::Fresh;
use super::names::Texts;
use super::sums::{Pieces, Span};
use crate::db::DbError;

/// Combinations that are given at most, the largest ones: as many as a hundred agents and three hundred tools make.
pub const LARGEST: usize = 30_000;

/// How often an agent was refused a tool for a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Who was; `None` without a number.
    pub agent: Option<String>,
    /// The server; `None` when none was named, or one without a number.
    pub server: Option<String>,
    /// The tool; `None` when none was named, or one that was only ever refused: its name may be invented.
    pub tool: Option<String>,
    /// Why.
    pub reason: String,
    /// How often.
    pub times: i64,
}

/// What the calls of an agent to a tool cost in one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Who called; `None` without a number.
    pub agent: Option<String>,
    /// The server; `None` without a number.
    pub server: Option<String>,
    /// The tool; `None` without a number.
    pub tool: Option<String>,
    /// The unit: `USD`, `tokens`.
    pub unit: String,
    /// How much, in millionths of the unit. What was refunded later is not taken off.
    pub micros: i64,
}

/// Agent, server and tool, and a text.
type Key = ([i64; 3], String);

/// Why calls were refused, the most frequent first; at most [`LARGEST`].
///
/// # Errors
/// When SQLite refuses.
pub async fn refusals_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
) -> Result<Vec<Refused>, DbError> {
    let days = "SELECT agent_id, server_id, tool_id, reason, sum(refused) FROM refusal_day
        WHERE day_us >= $1 AND day_us < $2 GROUP BY agent_id, server_id, tool_id, reason";
    let quarters = "SELECT agent_id, server_id, tool_id, reason, sum(refused) FROM rollup_refusal
        WHERE quarter_us >= $1 AND quarter_us < $2 GROUP BY agent_id, server_id, tool_id, reason";
    let mut sums = ask(db, span, [days, quarters]).await?;
    for noted in fresh.of(span) {
        if let Some(reason) = &noted.reason {
            add(&mut sums, (noted.ids, reason.clone()), noted.counts.refused);
        }
    }
    let (rows, texts) = largest(db, sums).await?;
    let rows = rows.into_iter();
    let rows = rows.map(|(([agent, server, tool], reason), times)| Refused {
        agent: texts.get(agent),
        server: texts.get(server),
        tool: texts.get(tool),
        reason,
        times,
    });
    Ok(rows.collect())
}

/// What calls cost, the dearest first; at most [`LARGEST`]. A call counts when it ended.
///
/// # Errors
/// When SQLite refuses.
pub async fn spend_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
) -> Result<Vec<Spent>, DbError> {
    let days = "SELECT agent_id, server_id, tool_id, unit, sum(amount) FROM spend_day
        WHERE day_us >= $1 AND day_us < $2 GROUP BY agent_id, server_id, tool_id, unit";
    let quarters = "SELECT agent_id, server_id, tool_id, unit, sum(amount) FROM spend_quarter
        WHERE quarter_us >= $1 AND quarter_us < $2 GROUP BY agent_id, server_id, tool_id, unit";
    let mut sums = ask(db, span, [days, quarters]).await?;
    for noted in fresh.of(span) {
        for (unit, amount) in &noted.spent {
            add(&mut sums, (noted.ids, unit.clone()), *amount);
        }
    }
    let (rows, texts) = largest(db, sums).await?;
    let rows = rows.into_iter();
    let rows = rows.map(|(([agent, server, tool], unit), micros)| Spent {
        agent: texts.get(agent),
        server: texts.get(server),
        tool: texts.get(tool),
        unit,
        micros,
    });
    Ok(rows.collect())
}

async fn ask(
    db: &mut SqliteConnection,
    span: Span,
    [by_day, by_quarter]: [&'static str; 2],
) -> Result<HashMap<Key, i64>, DbError> {
    let Pieces { days, rest } = span.pieces();
    let pieces = [(by_day, days), (by_quarter, rest[0]), (by_quarter, rest[1])];
    let mut sums = HashMap::new();
    for (text, (from, to)) in pieces.into_iter().filter(|(_, (from, to))| from < to) {
        let rows: Vec<(i64, i64, i64, String, i64)> = sqlx::query_as(text)
            .bind(from)
            .bind(to)
            .fetch_all(&mut *db)
            .await?;
        for (agent, server, tool, text, value) in rows {
            add(&mut sums, ([agent, server, tool], text), value);
        }
    }
    Ok(sums)
}

fn add(sums: &mut HashMap<Key, i64>, key: Key, value: i64) {
    let sum = sums.entry(key).or_default();
    *sum = sum.saturating_add(value);
}

async fn largest(
    db: &mut SqliteConnection,
    sums: HashMap<Key, i64>,
) -> Result<(Vec<(Key, i64)>, Texts), DbError> {
    let texts = Texts::load(db, sums.keys().flat_map(|(ids, _)| *ids)).await?;
    let mut rows: Vec<(Key, i64)> = sums.into_iter().collect();
    rows.sort_unstable_by(|one, other| {
        let (one, other) = ((Reverse(one.1), &one.0), (Reverse(other.1), &other.0));
        one.cmp(&other)
    });
    rows.truncate(LARGEST);
    Ok((rows, texts))
}
