//! Counts one after the other, for charts, and when somebody called last.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::edges::{Asked, Edges, STRETCHES};
use super::fresh::Fresh;
use super::names::{Texts, number};
use super::sums::SUMMED;
use crate::audit::coarse::{HOUR_US, Table};
use crate::audit::counts::Counts;
use crate::audit::rollups::QUARTER_US;
use crate::db::DbError;
use crate::types::Timestamp;

/// The servers and tools of `tool_hour`, each found by a look into its key.
const TOOLS: &str = "server(s) AS (
        SELECT min(server_id) FROM tool_hour
        UNION ALL SELECT (SELECT min(server_id) FROM tool_hour WHERE server_id > s) FROM server WHERE s IS NOT NULL),
    tool(s, t) AS (
        SELECT s, (SELECT min(tool_id) FROM tool_hour WHERE server_id = s) FROM server WHERE s IS NOT NULL
        UNION ALL SELECT s, (SELECT min(tool_id) FROM tool_hour WHERE server_id = s AND tool_id > t)
        FROM tool WHERE t IS NOT NULL)";

/// Counts of the whole gateway in each interval between one instant and the next. Every instant counts as the beginning
/// of its quarter of an hour, with which days begin in every time zone; days of 23 and 25 hours are intervals like all.
///
/// # Errors
/// When SQLite refuses.
pub async fn series_all(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    edges: &[Timestamp],
) -> Result<Vec<Counts>, DbError> {
    let asked = Asked {
        stretches: format!(
            "WITH {STRETCHES} SELECT n, 0, 0, {SUMMED} FROM stretch
            CROSS JOIN all_quarter ON quarter_us >= begins AND quarter_us < ends GROUP BY n"
        ),
        days: Table::AgentDay,
        which: "TRUE",
        among: &[],
        ids: &[],
    };
    let edges = Edges::new(edges, QUARTER_US);
    edges.fill(db, fresh, &asked, |_| true).await
}

/// The same of one agent. Every instant counts as the beginning of its hour of UTC.
///
/// # Errors
/// When SQLite refuses.
pub async fn series_agent(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    agent: &str,
    edges: &[Timestamp],
) -> Result<Vec<Counts>, DbError> {
    let edges = Edges::new(edges, HOUR_US);
    let Some(agent) = number(db, agent).await? else {
        return Ok(edges.empty());
    };
    let asked = Asked {
        stretches: format!(
            "WITH {STRETCHES} SELECT n, 0, 0, {SUMMED} FROM stretch
            CROSS JOIN agent_hour ON agent_id = $2 AND hour_us >= begins AND hour_us < ends GROUP BY n"
        ),
        days: Table::AgentDay,
        which: "agent_id = $3",
        among: &[agent],
        ids: &[agent],
    };
    edges.fill(db, fresh, &asked, |ids| ids[0] == agent).await
}

/// The same of a server, or of one tool of it.
///
/// # Errors
/// When SQLite refuses.
pub async fn series_tool(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    (server, tool): (&str, Option<&str>),
    edges: &[Timestamp],
) -> Result<Vec<Counts>, DbError> {
    let edges = Edges::new(edges, HOUR_US);
    let Some(server) = number(db, server).await? else {
        return Ok(edges.empty());
    };
    let Some(tool) = tool else {
        let asked = Asked {
            stretches: format!(
                "WITH RECURSIVE {STRETCHES}, {TOOLS} SELECT n, 0, 0, {SUMMED} FROM stretch
                CROSS JOIN (SELECT t FROM tool WHERE s = $2 AND t IS NOT NULL)
                CROSS JOIN tool_hour ON server_id = $2 AND tool_id = t AND hour_us >= begins AND hour_us < ends
                GROUP BY n"
            ),
            days: Table::ToolDay,
            which: "server_id = $3",
            among: &[server],
            ids: &[server],
        };
        return edges.fill(db, fresh, &asked, |ids| ids[1] == server).await;
    };
    let Some(tool) = number(db, tool).await? else {
        return Ok(edges.empty());
    };
    let asked = Asked {
        stretches: format!(
            "WITH {STRETCHES} SELECT n, 0, 0, {SUMMED} FROM stretch
            CROSS JOIN tool_hour ON server_id = $2 AND tool_id = $3 AND hour_us >= begins AND hour_us < ends
            GROUP BY n"
        ),
        days: Table::ToolDay,
        which: "server_id = $3 AND tool_id = $4",
        among: &[server],
        ids: &[server, tool],
    };
    let is_meant = |[_, its_server, its_tool]: [i64; 3]| its_server == server && its_tool == tool;
    edges.fill(db, fresh, &asked, is_meant).await
}

/// When each agent called last: to the hour of UTC in which it did, and to the microsecond while its call has no sums
/// yet. In the order of their names.
///
/// # Errors
/// When SQLite refuses.
pub async fn agents_last_seen(
    db: &mut SqliteConnection,
    fresh: &Fresh,
) -> Result<Vec<(String, Timestamp)>, DbError> {
    let text = "WITH RECURSIVE agent(a) AS (
            SELECT min(agent_id) FROM agent_hour
            UNION ALL SELECT (SELECT min(agent_id) FROM agent_hour WHERE agent_id > a) FROM agent WHERE a IS NOT NULL)
        SELECT a, (SELECT hour_us FROM agent_hour WHERE agent_id = a AND admitted + refused > 0
            ORDER BY hour_us DESC LIMIT 1) FROM agent WHERE a > 0";
    let rows: Vec<(i64, Option<i64>)> = sqlx::query_as(text).fetch_all(&mut *db).await?;
    let rows = rows.into_iter();
    let rows = rows.filter_map(|(agent, hour)| Some((agent, hour?)));
    let mut seen: HashMap<i64, i64> = rows.collect();
    for noted in fresh.all().filter(|noted| noted.counts.calls() > 0) {
        later(&mut seen, noted.ids[0], noted.at_us);
    }
    let texts = Texts::load(db, seen.keys().copied()).await?;
    let named = seen.into_iter();
    let named =
        named.filter_map(|(agent, at_us)| Some((texts.get(agent)?, Timestamp::from_micros(at_us))));
    let mut named: Vec<(String, Timestamp)> = named.collect();
    named.sort_unstable();
    Ok(named)
}

/// The same of each tool, by server and tool.
///
/// # Errors
/// When SQLite refuses.
pub async fn tools_last_seen(
    db: &mut SqliteConnection,
    fresh: &Fresh,
) -> Result<Vec<((String, String), Timestamp)>, DbError> {
    let text = format!(
        "WITH RECURSIVE {TOOLS}
        SELECT s, t, (SELECT hour_us FROM tool_hour WHERE server_id = s AND tool_id = t AND admitted + refused > 0
            ORDER BY hour_us DESC LIMIT 1) FROM tool WHERE s > 0 AND t > 0"
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as::<_, (i64, i64, Option<i64>)>(AssertSqlSafe(text));
    let rows = query.fetch_all(&mut *db).await?.into_iter();
    let rows = rows.filter_map(|(server, tool, hour)| Some(((server, tool), hour?)));
    let mut seen: HashMap<(i64, i64), i64> = rows.collect();
    for noted in fresh.all().filter(|noted| noted.counts.calls() > 0) {
        later(&mut seen, (noted.ids[1], noted.ids[2]), noted.at_us);
    }
    let ids = seen.keys().flat_map(|(server, tool)| [*server, *tool]);
    let texts = Texts::load(db, ids).await?;
    let named = seen.into_iter().filter_map(|((server, tool), at_us)| {
        let names = (texts.get(server)?, texts.get(tool)?);
        Some((names, Timestamp::from_micros(at_us)))
    });
    let mut named: Vec<((String, String), Timestamp)> = named.collect();
    named.sort_unstable();
    Ok(named)
}

fn later<K: std::hash::Hash + Eq>(seen: &mut HashMap<K, i64>, key: K, at_us: i64) {
    let last = seen.entry(key).or_insert(at_us);
    *last = (*last).max(at_us);
}
