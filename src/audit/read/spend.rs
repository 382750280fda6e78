//! Why calls were refused and what calls cost between two instants: by agent, server, tool, and reason or unit.

use std::cmp::Reverse;
use std::collections::HashMap;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::Fresh;
use super::names::{Texts, number};
use super::packed::{Selected, each};
use super::sums::{Pieces, Span};
use crate::audit::coarse::Table;
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

/// Which calls are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// All of them.
    All,
    /// Those of one agent.
    Agent(&'a str),
    /// Those to one tool of a server.
    Tool(&'a str, &'a str),
}

/// What is told apart; the less it is, the faster is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Agent, server and tool.
    Pairs,
    /// Agents; servers and tools are not told.
    Agents,
    /// Nothing but the reason, or the unit.
    Nothing,
}

impl By {
    /// Agent, server and tool, as far as they are told, and what stands before the text in the grouping.
    fn columns(self) -> (&'static str, &'static str) {
        match self {
            Self::Pairs => (
                "agent_id, server_id, tool_id",
                "agent_id, server_id, tool_id, ",
            ),
            Self::Agents => ("agent_id, 0, 0", "agent_id, "),
            Self::Nothing => ("0, 0, 0", ""),
        }
    }

    fn of(self, [agent, server, tool]: [i64; 3]) -> [i64; 3] {
        match self {
            Self::Pairs => [agent, server, tool],
            Self::Agents => [agent, 0, 0],
            Self::Nothing => [0; 3],
        }
    }
}

/// The numbers of the names that are asked about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    agent: Option<i64>,
    tool: Option<(i64, i64)>,
}

impl Asked {
    /// `None` when the log knows no such name.
    async fn of(db: &mut SqliteConnection, of: Of<'_>) -> Result<Option<Self>, DbError> {
        let all = Self {
            agent: None,
            tool: None,
        };
        Ok(match of {
            Of::All => Some(all),
            Of::Agent(name) => number(db, name).await?.map(|agent| Self {
                agent: Some(agent),
                ..all
            }),
            Of::Tool(server, tool) => {
                let ids = number(db, server).await?.zip(number(db, tool).await?);
                ids.map(|tool| Self {
                    tool: Some(tool),
                    ..all
                })
            }
        })
    }

    fn keeps(self, [agent, server, tool]: [i64; 3]) -> bool {
        self.agent.is_none_or(|asked| asked == agent)
            && self.tool.is_none_or(|asked| asked == (server, tool))
    }
}

/// The tables that hold one thing by the day and by the quarter of an hour, its text and its number.
struct Tables {
    days: Table,
    quarters: Table,
    text: &'static str,
    value: &'static str,
}

const REFUSALS: Tables = Tables {
    days: Table::RefusalDay,
    quarters: Table::RollupRefusal,
    text: "reason",
    value: "refused",
};

const SPEND: Tables = Tables {
    days: Table::SpendDay,
    quarters: Table::SpendQuarter,
    text: "unit",
    value: "amount",
};

/// Why calls were refused, the most frequent first; at most [`LARGEST`].
///
/// # Errors
/// When SQLite refuses.
pub async fn refusals_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
    (of, by): (Of<'_>, By),
) -> Result<Vec<Refused>, DbError> {
    let Some(asked) = Asked::of(db, of).await? else {
        return Ok(Vec::new());
    };
    let mut sums = ask(db, (fresh, span), &REFUSALS, (asked, by)).await?;
    for noted in fresh.of(span).filter(|noted| asked.keeps(noted.ids)) {
        if let Some(reason) = &noted.reason {
            let key = (by.of(noted.ids), reason.clone());
            add(&mut sums, key, noted.counts.refused);
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
    (of, by): (Of<'_>, By),
) -> Result<Vec<Spent>, DbError> {
    let Some(asked) = Asked::of(db, of).await? else {
        return Ok(Vec::new());
    };
    let mut sums = ask(db, (fresh, span), &SPEND, (asked, by)).await?;
    for noted in fresh.of(span).filter(|noted| asked.keeps(noted.ids)) {
        for (unit, amount) in &noted.spent {
            add(&mut sums, (by.of(noted.ids), unit.clone()), *amount);
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
    (fresh, span): (&Fresh, Span),
    tables: &Tables,
    (asked, by): (Asked, By),
) -> Result<HashMap<Key, i64>, DbError> {
    let Pieces { days, rest } = fresh.pieces(span);
    let pieces = [
        (tables.days, "day_us", days),
        (tables.quarters, "quarter_us", rest[0]),
        (tables.quarters, "quarter_us", rest[1]),
    ];
    let mut sums = HashMap::new();
    for (table, at, (from, to)) in pieces.into_iter().filter(|(_, _, (from, to))| from < to) {
        add_packed(&mut sums, &mut *db, (table, (from, to)), (asked, by)).await?;
        let (name, Tables { text, value, .. }) = (table.shape().name, tables);
        let (columns, group) = by.columns();
        // The text is put together from constants of this program alone.
        let text = format!(
            "SELECT {columns}, {text}, sum({value}) FROM {name} WHERE {at} >= $1 AND {at} < $2
            AND ($3 IS NULL OR agent_id = $3) AND ($4 IS NULL OR (server_id = $4 AND tool_id = $5))
            GROUP BY {group}{text}"
        );
        let rows: Vec<(i64, i64, i64, String, i64)> = sqlx::query_as(AssertSqlSafe(text))
            .bind(from)
            .bind(to)
            .bind(asked.agent)
            .bind(asked.tool.map(|(server, _)| server))
            .bind(asked.tool.map(|(_, tool)| tool))
            .fetch_all(&mut *db)
            .await?;
        for (agent, server, tool, text, value) in rows {
            add(&mut sums, ([agent, server, tool], text), value);
        }
    }
    Ok(sums)
}

/// Adds what is packed of a table and a time.
async fn add_packed(
    sums: &mut HashMap<Key, i64>,
    db: &mut SqliteConnection,
    (table, time): (Table, (i64, i64)),
    (asked, by): (Asked, By),
) -> Result<(), DbError> {
    let among = asked.agent.as_slice();
    // There are few texts, and no copy of one is made for each row.
    let mut by_text: HashMap<[i64; 3], Vec<(String, i64)>> = HashMap::new();
    let packed = each::<1>(db, Selected { table, time, among }, |row| {
        if asked.keeps(row.ids) {
            let texts = by_text.entry(by.of(row.ids)).or_default();
            let [value] = *row.values;
            match texts.iter_mut().find(|(known, _)| known == row.text) {
                Some((_, sum)) => *sum = sum.saturating_add(value),
                None => texts.push((row.text.to_owned(), value)),
            }
        }
    });
    packed.await?;
    for (ids, texts) in by_text {
        for (text, value) in texts {
            add(sums, (ids, text), value);
        }
    }
    Ok(())
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
