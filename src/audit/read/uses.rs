//! Which tools agents have called lately, and how often.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;

use crate::audit::behind::load_mark;
use crate::audit::coarse::Table;
use crate::db::DbError;
use crate::types::Timestamp;

use super::fresh::Fresh;
use super::names::{Texts, number};
use super::packed::{Selected, each_counts};
use super::sums::{Pieces, Question, Span, ask};

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

/// All calls since an instant, to the quarter of an hour, by agent and tool. All of it must be read in one transaction, as
/// for [`Fresh::load`].
///
/// # Errors
/// When SQLite refuses.
pub async fn uses(db: &mut SqliteConnection, since: Timestamp) -> Result<Vec<Use>, DbError> {
    let span = Span::new(since, Timestamp::LAST);
    let question = Question {
        table: Table::PairDay,
        among: &[],
        days: "SELECT agent_id, server_id, tool_id, COUNTS FROM pair_day WHERE day_us >= $1 AND day_us < $2
            GROUP BY agent_id, server_id, tool_id",
        quarters:
            "SELECT agent_id, server_id, tool_id, COUNTS FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            GROUP BY agent_id, server_id, tool_id",
        ids: &[],
    };
    // Here events without sums are counted however many they are.
    let sums = ask(db, (&Fresh::default(), span), question, Some).await?;
    let summed = sums.into_iter().map(|(ids, counts)| (ids, counts.admitted));
    let mut calls: HashMap<[i64; 3], i64> = summed.collect();
    let text = "SELECT agent_id, server_id, tool_id, count(*)
        FROM event WHERE seq > $1 AND kind = 'admitted' AND at_us >= $2
            AND agent_id IS NOT NULL AND server_id IS NOT NULL AND tool_id IS NOT NULL
        GROUP BY agent_id, server_id, tool_id";
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(text)
        .bind(load_mark(&mut *db).await?)
        .bind(span.from().micros())
        .fetch_all(&mut *db)
        .await?;
    for (agent, server, tool, number) in rows {
        let sum = calls.entry([agent, server, tool]).or_default();
        *sum = sum.saturating_add(number);
    }
    let texts = Texts::load(db, calls.keys().flatten().copied()).await?;
    let uses = calls.into_iter().filter(|(_, calls)| *calls > 0);
    let uses = uses.filter_map(|([agent, server, tool], calls)| {
        Some(Use {
            agent: texts.get(agent)?,
            server: texts.get(server)?,
            tool: texts.get(tool)?,
            calls: u64::try_from(calls).unwrap_or(0),
        })
    });
    let mut uses: Vec<Use> = uses.collect();
    uses.sort_unstable_by(|one, other| names(one).cmp(&names(other)));
    Ok(uses)
}

fn names(of: &Use) -> [&str; 3] {
    [&of.agent, &of.server, &of.tool]
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
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let listed = serde_json::Value::from(ids.as_slice()).to_string();
    let days = "SELECT DISTINCT agent_id, server_id, tool_id FROM pair_day
        WHERE day_us >= $1 AND day_us < $2 AND admitted > 0 AND agent_id IN (SELECT value FROM json_each($3))";
    let quarters = "SELECT DISTINCT agent_id, server_id, tool_id FROM rollup
        WHERE quarter_us >= $1 AND quarter_us < $2 AND admitted > 0 AND agent_id IN (SELECT value FROM json_each($3))";
    let pieces: Pieces = fresh.pieces(span);
    let [first, last] = pieces.rest;
    let mut called = HashSet::new();
    let pieces = [
        (Table::PairDay, days, pieces.days),
        (Table::Rollup, quarters, first),
        (Table::Rollup, quarters, last),
    ];
    for (table, text, (from, to)) in pieces {
        let (time, among) = ((from, to), ids.as_slice());
        let packed = each_counts(db, Selected { table, time, among }, |_, of, counts| {
            if counts.admitted > 0 && ids.contains(&of[0]) {
                called.insert(of);
            }
        });
        packed.await?;
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
