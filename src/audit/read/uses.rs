//! Which tools agents have called lately, and how often.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use crate::audit::behind::load_mark;
use crate::db::DbError;
use crate::types::Timestamp;

use super::day::countable;
use super::fresh::Fresh;
use super::names::{Texts, number};
use super::sums::{Pieces, Span};

/// How often an agent called a tool; refused calls are not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Who called.
    pub agent: String,
    /// The server.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// How often it was let through.
    pub calls: u64,
}

/// All calls since an instant, to the quarter of an hour, by agent and tool.
///
/// # Errors
/// When SQLite refuses.
pub async fn uses(db: &mut SqliteConnection, since: Timestamp) -> Result<Vec<Use>, DbError> {
    let mark = load_mark(db).await?;
    let since = countable(since).micros();
    let text = "
        WITH counted AS (
            SELECT agent_id, server_id, tool_id, sum(admitted) AS calls
            FROM rollup WHERE quarter_us >= $1 GROUP BY agent_id, server_id, tool_id
            UNION ALL
            SELECT agent_id, server_id, tool_id, count(*)
            FROM event WHERE seq > $2 AND kind = 'admitted' AND at_us >= $1
            GROUP BY agent_id, server_id, tool_id
        )
        SELECT agent.text, server.text, tool.text, sum(calls) FROM counted
        JOIN name AS agent ON agent.id = agent_id
        JOIN name AS server ON server.id = server_id
        JOIN name AS tool ON tool.id = tool_id
        GROUP BY agent_id, server_id, tool_id HAVING sum(calls) > 0
        ORDER BY agent.text, server.text, tool.text";
    let rows: Vec<(String, String, String, i64)> = sqlx::query_as(text)
        .bind(since)
        .bind(mark)
        .fetch_all(db)
        .await?;
    let uses = rows.into_iter().map(|(agent, server, tool, calls)| Use {
        agent,
        server,
        tool,
        calls: u64::try_from(calls).unwrap_or(0),
    });
    Ok(uses.collect())
}

/// Which tools some agents called in some time, as agent, server and tool, in the order of their names; refused calls are
/// not among them.
///
/// # Errors
/// When SQLite refuses.
pub async fn called_between(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    agents: &[&str],
    span: Span,
) -> Result<Vec<[String; 3]>, DbError> {
    let mut ids = Vec::new();
    for agent in agents {
        ids.extend(number(db, agent).await?);
    }
    let listed = serde_json::Value::from(ids.as_slice()).to_string();
    let days = "SELECT DISTINCT agent_id, server_id, tool_id FROM pair_day
        WHERE day_us >= $1 AND day_us < $2 AND admitted > 0 AND agent_id IN (SELECT value FROM json_each($3))";
    let quarters = "SELECT DISTINCT agent_id, server_id, tool_id FROM rollup
        WHERE quarter_us >= $1 AND quarter_us < $2 AND admitted > 0 AND agent_id IN (SELECT value FROM json_each($3))";
    let pieces: Pieces = fresh.pieces(span);
    let [first, last] = pieces.rest;
    let mut called = HashSet::new();
    for (text, (from, to)) in [(days, pieces.days), (quarters, first), (quarters, last)] {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as(text)
            .bind(from)
            .bind(to)
            .bind(&listed)
            .fetch_all(&mut *db)
            .await?;
        called.extend(rows.into_iter().map(<[i64; 3]>::from));
    }
    let fresh = fresh.of(span).filter(|noted| noted.counts.admitted > 0);
    let fresh = fresh.filter(|noted| ids.contains(&noted.ids[0]));
    called.extend(fresh.map(|noted| noted.ids));
    let texts = Texts::load(db, called.iter().flatten().copied()).await?;
    let named = called.into_iter().filter_map(|[agent, server, tool]| {
        Some([texts.get(agent)?, texts.get(server)?, texts.get(tool)?])
    });
    let mut named: Vec<[String; 3]> = named.collect();
    named.sort_unstable();
    Ok(named)
}
