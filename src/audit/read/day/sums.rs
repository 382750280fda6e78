//! What the sums by the quarter of an hour say about a period.

use sqlx::SqliteConnection;

use super::{Combination, Extent, HOUR, Hour};
use crate::db::DbError;
use crate::types::Timestamp;

/// Adds the sums to hours after the first instant.
pub(super) async fn hours(
    db: &mut SqliteConnection,
    hours: &mut [Hour],
    from: Timestamp,
    to: Timestamp,
) -> Result<(), DbError> {
    let text = "SELECT (quarter_us - $1) / $3 AS hour, sum(admitted) + sum(refused), sum(refused),
            sum(errors) + sum(failed) + sum(released) + sum(abandoned)
        FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2 GROUP BY hour";
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(text)
        .bind(from.micros())
        .bind(to.micros())
        .bind(i64::try_from(HOUR.as_micros()).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await?;
    for (hour, calls, refused, errors) in rows {
        let hour = usize::try_from(hour).ok();
        if let Some(hour) = hour.and_then(|hour| hours.get_mut(hour)) {
            *hour = hour.and(Hour {
                calls,
                refused,
                errors,
            });
        }
    }
    Ok(())
}

/// All of it together.
pub(super) async fn total(
    db: &mut SqliteConnection,
    from: Timestamp,
    to: Timestamp,
) -> Result<Hour, DbError> {
    let text = "SELECT coalesce(sum(admitted) + sum(refused), 0), coalesce(sum(refused), 0),
            coalesce(sum(errors) + sum(failed) + sum(released) + sum(abandoned), 0)
        FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2";
    let (calls, refused, errors) = sqlx::query_as(text)
        .bind(from.micros())
        .bind(to.micros())
        .fetch_one(db)
        .await?;
    Ok(Hour {
        calls,
        refused,
        errors,
    })
}

/// How many agents called, also in events that have no sums yet.
pub(super) async fn agents(
    db: &mut SqliteConnection,
    from: Timestamp,
    to: Timestamp,
    rest: Extent,
) -> Result<i64, DbError> {
    let text = "SELECT count(*) FROM (
            SELECT agent_id FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2 AND agent_id <> 0
            UNION SELECT agent_id FROM event WHERE seq BETWEEN $3 AND $4 AND agent_id IS NOT NULL)";
    let agents = sqlx::query_scalar(text)
        .bind(from.micros())
        .bind(to.micros())
        .bind(rest.first)
        .bind(rest.last)
        .fetch_one(db)
        .await?;
    Ok(agents)
}

/// How often each agent called, and each tool was called, all of them.
pub(super) async fn combinations(
    db: &mut SqliteConnection,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Combination>, DbError> {
    let text = "
        WITH counted AS (
            SELECT agent_id, server_id, tool_id, sum(admitted) + sum(refused) AS calls, sum(refused) AS refused
            FROM rollup WHERE quarter_us >= $1 AND quarter_us < $2
            GROUP BY agent_id, server_id, tool_id
        ), apart AS (
            SELECT agent_id, 0 AS server_id, 0 AS tool_id, sum(calls) AS calls, sum(refused) AS refused
            FROM counted GROUP BY agent_id
            UNION ALL
            SELECT 0, server_id, tool_id, sum(calls), sum(refused) FROM counted GROUP BY server_id, tool_id
        )
        SELECT agent.text, server.text, tool.text, calls, refused FROM apart
        LEFT JOIN name AS agent ON agent.id = agent_id
        LEFT JOIN name AS server ON server.id = server_id
        LEFT JOIN name AS tool ON tool.id = tool_id
        WHERE calls > 0";
    let combinations = sqlx::query_as(text)
        .bind(from.micros())
        .bind(to.micros())
        .fetch_all(db)
        .await?;
    Ok(combinations)
}
