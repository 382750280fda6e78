//! Counts one after the other, for charts, and when somebody called last.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::{Fresh, Noted};
use super::names::{Texts, number};
use super::sums::{SUMMED, counted};
use crate::audit::coarse::{HOUR_US, begins};
use crate::audit::counts::Counts;
use crate::audit::rollups::QUARTER_US;
use crate::db::DbError;
use crate::types::Timestamp;

/// Intervals of one series at most: a year of days, eleven weeks of hours. Those beyond stay empty.
pub const INTERVALS: usize = 2_000;

/// The intervals between each instant of the list $1 and the next one.
const EDGES: &str = "edge AS (
    SELECT key AS n, value AS begins, lead(value) OVER (ORDER BY key) AS ends FROM json_each($1))";

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
    let text = format!(
        "WITH {EDGES} SELECT n, 0, 0, {SUMMED} FROM edge
        CROSS JOIN all_quarter ON quarter_us >= begins AND quarter_us < ends GROUP BY n"
    );
    let edges = Edges::new(edges, QUARTER_US);
    edges.fill(db, fresh, (text, &[]), |_| true).await
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
    let text = format!(
        "WITH {EDGES} SELECT n, 0, 0, {SUMMED} FROM edge
        CROSS JOIN agent_hour ON agent_id = $2 AND hour_us >= begins AND hour_us < ends GROUP BY n"
    );
    let is_meant = |noted: &Noted| noted.ids[0] == agent;
    edges.fill(db, fresh, (text, &[agent]), is_meant).await
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
        let text = format!(
            "WITH RECURSIVE {EDGES}, {TOOLS} SELECT n, 0, 0, {SUMMED} FROM edge
            CROSS JOIN (SELECT t FROM tool WHERE s = $2 AND t IS NOT NULL)
            CROSS JOIN tool_hour ON server_id = $2 AND tool_id = t AND hour_us >= begins AND hour_us < ends
            GROUP BY n"
        );
        let is_meant = |noted: &Noted| noted.ids[1] == server;
        return edges.fill(db, fresh, (text, &[server]), is_meant).await;
    };
    let Some(tool) = number(db, tool).await? else {
        return Ok(edges.empty());
    };
    let text = format!(
        "WITH {EDGES} SELECT n, 0, 0, {SUMMED} FROM edge
        CROSS JOIN tool_hour ON server_id = $2 AND tool_id = $3 AND hour_us >= begins AND hour_us < ends
        GROUP BY n"
    );
    let is_meant = |noted: &Noted| noted.ids[1] == server && noted.ids[2] == tool;
    edges
        .fill(db, fresh, (text, &[server, tool]), is_meant)
        .await
}

/// Instants with intervals between them, in microseconds since 1970.
struct Edges {
    at_us: Vec<i64>,
    /// How many intervals were asked for.
    wanted: usize,
}

impl Edges {
    fn new(edges: &[Timestamp], unit: i64) -> Self {
        let at_us = edges.iter().take(INTERVALS.saturating_add(1));
        Self {
            at_us: at_us.map(|at| begins(at.micros(), unit)).collect(),
            wanted: edges.len().saturating_sub(1),
        }
    }

    fn empty(&self) -> Vec<Counts> {
        vec![Counts::default(); self.wanted]
    }

    /// What the statement says of each, and what events without sums add to it.
    async fn fill(
        &self,
        db: &mut SqliteConnection,
        fresh: &Fresh,
        (text, ids): (String, &[i64]),
        is_meant: impl Fn(&Noted) -> bool,
    ) -> Result<Vec<Counts>, DbError> {
        let mut series = self.empty();
        let edges = serde_json::Value::from_iter(self.at_us.iter().copied()).to_string();
        // The text is put together from constants of this program alone.
        let query = sqlx::query_as(AssertSqlSafe(text)).bind(edges);
        let query = ids.iter().fold(query, |query, id| query.bind(*id));
        for row in query.fetch_all(db).await? {
            let ([n, ..], counts) = counted(row);
            let n = usize::try_from(n).ok();
            if let Some(sum) = n.and_then(|n| series.get_mut(n)) {
                sum.add(&counts);
            }
        }
        for noted in fresh.all().filter(|noted| is_meant(noted)) {
            let after = self.at_us.partition_point(|edge| *edge <= noted.at_us);
            // The last edge begins no interval.
            let n = after.checked_sub(1).filter(|_| after < self.at_us.len());
            if let Some(sum) = n.and_then(|n| series.get_mut(n)) {
                sum.add(&noted.counts);
            }
        }
        Ok(series)
    }
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
