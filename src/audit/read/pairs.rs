//! Who called what between two instants: by agent and tool, and for one agent by the day.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::Fresh;
use super::names::{Texts, number, numbers};
use super::packed::{Selected, days_with_rows, each_counts};
use super::sums::{Question, SUMMED, Span, ask, busy, counted};
use crate::audit::coarse::{DAY_US, Table, begins};
use crate::audit::counts::Counts;
use crate::db::DbError;
use crate::types::Timestamp;

/// How often an agent called a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Who called.
    pub agent: String,
    /// The server.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// How often.
    pub counts: Counts,
}

/// What calls are counted by; what came of them is not summed up.
const CALLS: &str = "sum(admitted), sum(refused), 0, 0, 0, 0, 0, 0";

/// How often agents called tools, of some agents and some tools: agent, server and tool, the most frequent first. Looks for
/// each of them on each day: ask for a few of both, and for a month at most.
///
/// # Errors
/// When SQLite refuses.
pub async fn calls_among(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    (agents, tools): (&[&str], &[(&str, &str)]),
    span: Span,
) -> Result<Vec<([String; 3], i64)>, DbError> {
    let named = tools.iter().flat_map(|(server, tool)| [*server, *tool]);
    let known = numbers(db, agents.iter().copied().chain(named)).await?;
    let mut agents: Vec<i64> = agents
        .iter()
        .filter_map(|name| known.get(*name).copied())
        .collect();
    // The same question is the same text, which the connection keeps ready.
    agents.sort_unstable();
    let tools = tools.iter();
    let wanted: Vec<(i64, i64)> = tools
        .filter_map(|(server, tool)| Some((*known.get(*server)?, *known.get(*tool)?)))
        .collect();
    if agents.is_empty() || wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<String> = wanted
        .iter()
        .map(|(server, tool)| format!("({server},{tool})"))
        .collect();
    let (values, listed) = (values.join(","), list(&agents));
    let days = format!(
        "{}, wanted(s, t) AS (VALUES {values}) SELECT agent_id, server_id, tool_id, {CALLS} FROM day
        CROSS JOIN wanted
        CROSS JOIN pair_day ON day_us = begins AND agent_id IN ({listed}) AND server_id = s AND tool_id = t
        GROUP BY agent_id, server_id, tool_id",
        days_with_rows(Table::PairDay)
    );
    let quarters = format!(
        "SELECT agent_id, server_id, tool_id, {CALLS} FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
        AND agent_id IN ({listed}) AND (server_id, tool_id) IN (VALUES {values}) GROUP BY agent_id, server_id, tool_id"
    );
    let question = Question {
        table: Table::PairDay,
        among: &agents,
        days: &days,
        quarters: &quarters,
        ids: &[],
    };
    let key = |ids: [i64; 3]| {
        let [agent, server, tool] = ids;
        let is_meant = agents.binary_search(&agent).is_ok() && wanted.contains(&(server, tool));
        is_meant.then_some(ids)
    };
    let sums = ask(db, (fresh, span), question, key).await?;
    let pairs = pairs(db, sums).await?.into_iter();
    let counted = pairs.map(|pair| ([pair.agent, pair.server, pair.tool], pair.counts.calls()));
    Ok(counted.collect())
}

/// Who called what of one server, the most frequent first. Reads a row for each agent, tool of it and day: ask for a
/// month at most.
///
/// # Errors
/// When SQLite refuses.
pub async fn server_pairs_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    server: &str,
    span: Span,
) -> Result<Vec<Pair>, DbError> {
    let Some(server) = number(db, server).await? else {
        return Ok(Vec::new());
    };
    let question = Question {
        table: Table::PairDay,
        among: &[],
        days: "SELECT agent_id, server_id, tool_id, COUNTS FROM pair_day WHERE day_us >= $1 AND day_us < $2
            AND server_id = $3 GROUP BY agent_id, tool_id",
        quarters:
            "SELECT agent_id, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            AND server_id = $3 GROUP BY agent_id, tool_id",
        ids: &[server],
    };
    let key = |ids: [i64; 3]| (ids[1] == server).then_some(ids);
    let sums = ask(db, (fresh, span), question, key).await?;
    pairs(db, sums).await
}

async fn pairs(
    db: &mut SqliteConnection,
    sums: HashMap<[i64; 3], Counts>,
) -> Result<Vec<Pair>, DbError> {
    let texts = Texts::load(db, sums.keys().flatten().copied()).await?;
    let pairs = sums
        .into_iter()
        .filter_map(|([agent, server, tool], counts)| {
            Some(Pair {
                agent: texts.get(agent)?,
                server: texts.get(server)?,
                tool: texts.get(tool)?,
                counts,
            })
        });
    let mut pairs: Vec<Pair> = pairs.collect();
    pairs.sort_unstable_by(|one, other| {
        let by_calls = busy(&one.counts).cmp(&busy(&other.counts));
        by_calls.then_with(|| names(one).cmp(&names(other)))
    });
    Ok(pairs)
}

fn names(pair: &Pair) -> [&str; 3] {
    [&pair.agent, &pair.server, &pair.tool]
}

/// Numbers as they stand in a statement.
fn list(numbers: &[i64]) -> String {
    let texts: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// Which tools of a server are told that an agent was let through to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// Any one of them: enough to know about the server.
    One,
    /// Every one.
    Each,
}

/// The calls of tools by some agents that were let through on the days of UTC that a time touches: agent, server and tool, each
/// once, in no order. Reads all rows of these agents.
///
/// # Errors
/// When SQLite refuses.
pub async fn let_through(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    agents: &[&str],
    (tools, span): (Tools, Span),
) -> Result<Vec<[String; 3]>, DbError> {
    let agents = numbers(db, agents.iter().copied()).await?;
    let mut agents: Vec<i64> = agents.into_values().collect();
    // As above.
    agents.sort_unstable();
    if agents.is_empty() {
        return Ok(Vec::new());
    }
    let (from, to) = span.days_touched();
    let (tool, by) = match tools {
        Tools::One => ("min(tool_id)", "agent_id, server_id"),
        Tools::Each => ("tool_id", "agent_id, server_id, tool_id"),
    };
    // All of an agent is one value: a row costs the library more than SQLite.
    let text = format!(
        "{} SELECT agent_id, group_concat(concat_ws(',', server_id, tool), ';') FROM (
            SELECT agent_id, server_id, {tool} AS tool FROM day
            CROSS JOIN pair_day ON day_us = begins AND agent_id IN ({}) WHERE admitted > 0 AND tool_id > 0 GROUP BY {by})
        GROUP BY agent_id",
        days_with_rows(Table::PairDay),
        list(&agents)
    );
    // The text is put together from constants of this program and numbers alone.
    let query = sqlx::query_as::<_, (i64, String)>(AssertSqlSafe(text));
    let rows = query.bind(from).bind(to).fetch_all(&mut *db).await?;
    let of_agents = rows.iter().flat_map(|(agent, tools)| {
        let tools = tools.split(';').filter_map(|tool| tool.split_once(','));
        tools.filter_map(|(server, tool)| Some([*agent, server.parse().ok()?, tool.parse().ok()?]))
    });
    let mut found: HashSet<[i64; 3]> = of_agents.collect();
    let wanted = Selected {
        table: Table::PairDay,
        time: (from, to),
        among: &agents,
    };
    let mut last = None;
    let packed = each_counts(&mut *db, wanted, |_, ids, counts| {
        let [agent, server, tool] = ids;
        let is_known = tools == Tools::One && last == Some([agent, server]);
        let is_call = counts.admitted > 0 && tool > 0;
        if is_call && !is_known && agents.binary_search(&agent).is_ok() {
            found.insert(ids);
            last = Some([agent, server]);
        }
    });
    packed.await?;
    let of_agents = fresh
        .between(from, to)
        .filter(|noted| agents.contains(&noted.ids[0]));
    let admitted = of_agents.filter(|noted| noted.counts.admitted > 0);
    found.extend(admitted.map(|noted| noted.ids));
    let texts = Texts::load(db, found.iter().flatten().copied()).await?;
    let named = found.into_iter();
    let named = named.filter_map(|[a, s, t]| Some([texts.get(a)?, texts.get(s)?, texts.get(t)?]));
    Ok(named.collect())
}

/// How often an agent called a tool on a day of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDay {
    /// The beginning of the day.
    pub day: Timestamp,
    /// The server.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// How often.
    pub counts: Counts,
}

/// What one agent called on each day of UTC that a time touches, the oldest day first.
///
/// # Errors
/// When SQLite refuses.
pub async fn agent_tool_days(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    agent: &str,
    span: Span,
) -> Result<Vec<ToolDay>, DbError> {
    let Some(agent) = number(db, agent).await? else {
        return Ok(Vec::new());
    };
    let (from, to) = span.days_touched();
    let text = format!(
        "{} SELECT day_us, server_id, tool_id, {SUMMED} FROM day
        CROSS JOIN pair_day ON day_us = begins AND agent_id = $3 GROUP BY day_us, server_id, tool_id",
        days_with_rows(Table::PairDay)
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(from).bind(to);
    let rows = query.bind(agent).fetch_all(&mut *db).await?.into_iter();
    let mut sums: BTreeMap<[i64; 3], Counts> = rows.map(counted).collect();
    let wanted = Selected {
        table: Table::PairDay,
        time: (from, to),
        among: &[agent],
    };
    let packed = each_counts(
        &mut *db,
        wanted,
        |day, [its_agent, server, tool], counts| {
            if its_agent == agent {
                let key = [day, server, tool];
                sums.entry(key).or_default().add(&counts);
            }
        },
    );
    packed.await?;
    let of_agent = fresh.between(from, to);
    for noted in of_agent.filter(|noted| noted.ids[0] == agent) {
        let [_, server, tool] = noted.ids;
        let key = [begins(noted.at_us, DAY_US), server, tool];
        sums.entry(key).or_default().add(&noted.counts);
    }
    let ids = sums.keys().flat_map(|[_, server, tool]| [*server, *tool]);
    let texts = Texts::load(db, ids).await?;
    let days = sums
        .into_iter()
        .filter_map(|([day, server, tool], counts)| {
            Some(ToolDay {
                day: Timestamp::from_micros(day),
                server: texts.get(server)?,
                tool: texts.get(tool)?,
                counts,
            })
        });
    Ok(days.collect())
}
