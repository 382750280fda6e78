//! Who called what between two instants: by agent and tool, and for one agent by the day.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::{Fresh, Noted};
use super::names::{Texts, number};
use super::sums::{DAYS, Question, SUMMED, Span, ask, busy, counted, qualified};
use crate::audit::coarse::{DAY_US, begins};
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

/// Who called what, of all servers or of one, the most frequent first. Reads a row for each agent, tool and day: ask for
/// a month at most. Names that were only ever refused have no number and are left out.
///
/// # Errors
/// When SQLite refuses.
pub async fn pairs_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    server: Option<&str>,
    span: Span,
) -> Result<Vec<Pair>, DbError> {
    let sums = match server {
        None => ask(db, (fresh, span), OF_ALL, |noted: &Noted| Some(noted.ids)).await?,
        Some(server) => match number(db, server).await? {
            Some(server) => of_server(db, fresh, server, span).await?,
            None => return Ok(Vec::new()),
        },
    };
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

const OF_ALL: Question<'static> = Question {
    days: "SELECT agent_id, server_id, tool_id, COUNTS FROM pair_day WHERE day_us >= $1 AND day_us < $2
        GROUP BY agent_id, server_id, tool_id",
    quarters: "SELECT agent_id, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
        GROUP BY agent_id, server_id, tool_id",
    ids: &[],
};

/// Looks for the rows of one server under each agent of a day.
async fn of_server(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    server: i64,
    span: Span,
) -> Result<HashMap<[i64; 3], Counts>, DbError> {
    let days = format!(
        "{DAYS} SELECT pair_day.agent_id, server_id, tool_id, COUNTS FROM day
        CROSS JOIN agent_day ON agent_day.day_us = begins
        CROSS JOIN pair_day ON pair_day.day_us = begins AND pair_day.agent_id = agent_day.agent_id AND server_id = $3
        GROUP BY pair_day.agent_id, tool_id"
    )
    .replace("COUNTS", &qualified("pair_day"));
    let question = Question {
        days: &days,
        quarters:
            "SELECT agent_id, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            AND server_id = $3 GROUP BY agent_id, tool_id",
        ids: &[server],
    };
    let key = |noted: &Noted| (noted.ids[1] == server).then_some(noted.ids);
    ask(db, (fresh, span), question, key).await
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
        "{DAYS} SELECT day_us, server_id, tool_id, {SUMMED} FROM day
        CROSS JOIN pair_day ON day_us = begins AND agent_id = $3 GROUP BY day_us, server_id, tool_id"
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as(AssertSqlSafe(text)).bind(from).bind(to);
    let rows = query.bind(agent).fetch_all(&mut *db).await?.into_iter();
    let mut sums: BTreeMap<[i64; 3], Counts> = rows.map(counted).collect();
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
