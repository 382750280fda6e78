//! The tables of what was pruned: where the chain goes on, and the removal of what is before it, in pieces.

use sqlx::SqliteConnection;

use crate::db::{DbError, WriteTx, params};
use crate::types::Timestamp;

use super::Head;
use super::lookups::CHUNK;

/// Rows that are deleted in one transaction; a batch that comes meanwhile waits some milliseconds for it.
pub const PRUNED_AT_ONCE: i64 = 500;

/// Where the log goes on after what was pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The last event that went.
    pub last: Head,
    /// The sequence of the event that says so.
    pub event_seq: i64,
    /// Everything before this instant went.
    pub until: Timestamp,
    /// What goes on from there: the text of a [`super::Seam`].
    pub seam: String,
}

/// What stands in the way of pruning up to an event, and what must be as it was when the archive was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// The oldest event that is there.
    pub first: Option<i64>,
    /// The hash of the last one to go.
    pub hash: Option<Vec<u8>>,
    /// Calls that were let through up to there and are not over.
    pub open_calls: i64,
}

/// Reads what was pruned; `None` when nothing ever was.
///
/// # Errors
/// When SQLite refuses or the row cannot be understood.
pub async fn load_pruned(db: &mut SqliteConnection) -> Result<Option<Pruned>, DbError> {
    let text = "SELECT last_seq, head, event_seq, until_us, seam FROM pruned WHERE last_seq > 0";
    let row: Option<(i64, Vec<u8>, i64, i64, String)> =
        sqlx::query_as(text).fetch_optional(db).await?;
    let Some((seq, head, event_seq, until, seam)) = row else {
        return Ok(None);
    };
    let hash =
        <[u8; 32]>::try_from(head.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(Pruned {
        last: Head { seq, hash },
        event_seq,
        until: Timestamp::from_micros(until),
        seam,
    }))
}

/// The table of names, to compute again which events gave them their numbers.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_name_table(db: &mut SqliteConnection) -> Result<Vec<(i64, String)>, DbError> {
    let names = sqlx::query_as("SELECT id, text FROM name");
    Ok(names.fetch_all(db).await?)
}

/// Notes what is to go, in the transaction of the event that says so.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn write_pruned(tx: &mut WriteTx<'_>, pruned: &Pruned) -> Result<(), DbError> {
    let text = "UPDATE pruned SET last_seq = ?, head = ?, event_seq = ?, until_us = ?, seam = ?
        WHERE one = 1";
    let until = pruned.until.micros();
    let Pruned {
        last,
        event_seq,
        seam,
        ..
    } = pruned;
    tx.prepare(text)?
        .change(params![last.seq, last.hash, event_seq, until, seam])
}

/// Looks at what is to be pruned.
///
/// # Errors
/// When SQLite refuses.
pub async fn prunable(db: &mut SqliteConnection, last: i64) -> Result<Prunable, DbError> {
    let text = "SELECT (SELECT min(seq) FROM event), (SELECT hash FROM event WHERE seq = $1),
        (SELECT count(*) FROM open_call WHERE admitted_seq <= $1)";
    let (first, hash, open_calls) = sqlx::query_as(text).bind(last).fetch_one(db).await?;
    Ok(Prunable {
        first,
        hash,
        open_calls,
    })
}

/// How many arguments and results are kept of events before one.
///
/// # Errors
/// When SQLite refuses.
pub async fn bodies_before(db: &mut SqliteConnection, seq: i64) -> Result<i64, DbError> {
    let text = "SELECT count(*) FROM body WHERE seq < $1";
    Ok(sqlx::query_scalar(text).bind(seq).fetch_one(db).await?)
}

/// Whether events that were pruned are still to be deleted.
///
/// # Errors
/// When SQLite refuses.
pub async fn is_pruning(db: &mut SqliteConnection) -> Result<bool, DbError> {
    let text =
        "SELECT coalesce((SELECT min(seq) FROM event) <= (SELECT last_seq FROM pruned), FALSE)";
    Ok(sqlx::query_scalar(text).fetch_one(db).await?)
}

/// What goes with the events, in the order in which it goes. Events go last: as long as one is there, it is known
/// that not everything has gone.
const PIECES: [&str; 16] = [
    "DELETE FROM lookup WHERE id IN (SELECT id FROM lookup
        WHERE chunk < (SELECT last_seq / $2 FROM pruned) LIMIT $1)",
    "DELETE FROM rollup WHERE (quarter_us, agent_id, server_id, tool_id) IN (
        SELECT quarter_us, agent_id, server_id, tool_id FROM rollup
        WHERE quarter_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM rollup_refusal WHERE (quarter_us, agent_id, server_id, tool_id, reason) IN (
        SELECT quarter_us, agent_id, server_id, tool_id, reason FROM rollup_refusal
        WHERE quarter_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM all_quarter WHERE quarter_us IN (
        SELECT quarter_us FROM all_quarter WHERE quarter_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM agent_hour WHERE (agent_id, hour_us) IN (
        SELECT agent_id, hour_us FROM agent_hour
        WHERE hour_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM tool_hour WHERE (server_id, tool_id, hour_us) IN (
        SELECT server_id, tool_id, hour_us FROM tool_hour
        WHERE hour_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM agent_day WHERE (day_us, agent_id) IN (
        SELECT day_us, agent_id FROM agent_day
        WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM tool_day WHERE (day_us, server_id, tool_id) IN (
        SELECT day_us, server_id, tool_id FROM tool_day
        WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM pair_day WHERE (day_us, agent_id, server_id, tool_id) IN (
        SELECT day_us, agent_id, server_id, tool_id FROM pair_day
        WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM refusal_day WHERE (day_us, agent_id, server_id, tool_id, reason) IN (
        SELECT day_us, agent_id, server_id, tool_id, reason FROM refusal_day
        WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM spend_quarter WHERE (quarter_us, agent_id, server_id, tool_id, unit) IN (
        SELECT quarter_us, agent_id, server_id, tool_id, unit FROM spend_quarter
        WHERE quarter_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM spend_day WHERE (day_us, agent_id, server_id, tool_id, unit) IN (
        SELECT day_us, agent_id, server_id, tool_id, unit FROM spend_day
        WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 LIMIT $1)",
    // Each is as long as many rows. Of quarters of an hour, those of the last day stay together: some may be of what stays.
    "DELETE FROM packed_day WHERE id IN (
        SELECT id FROM packed_day WHERE day_us < (SELECT until_us FROM pruned) AND $2 > 0 AND (
            sums IN ('agent_day', 'tool_day', 'pair_day', 'refusal_day', 'spend_day')
            OR day_us <= (SELECT until_us FROM pruned) - 86400000000) LIMIT ($1 + 15) / 16)",
    "DELETE FROM refund WHERE call_id IN (
        SELECT call_id FROM refund WHERE seq <= (SELECT last_seq FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM body WHERE seq IN (
        SELECT seq FROM body WHERE seq <= (SELECT last_seq FROM pruned) AND $2 > 0 LIMIT $1)",
    "DELETE FROM event WHERE seq IN (
        SELECT seq FROM event WHERE seq <= (SELECT last_seq FROM pruned) AND $2 > 0 ORDER BY seq LIMIT $1)",
];

/// Deletes some of what was pruned. Says how many rows went; 0 when nothing is left to go.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn prune_some(tx: &mut WriteTx<'_>) -> Result<u64, DbError> {
    for text in PIECES {
        let gone = tx.execute(text, [PRUNED_AT_ONCE, CHUNK])?;
        if gone > 0 {
            return Ok(gone);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, open};

    const DAY: i64 = 86_400_000_000;

    #[tokio::test]
    async fn packed_sums_go_with_their_day_and_quarters_of_an_hour_stay_where_some_of_them_do() {
        let (days, quarters) = ("pair_day", "rollup");
        let table = [
            // Until a midnight: two whole days go.
            (2 * DAY, vec![(days, 2), (quarters, 2)]),
            // Until the second morning.
            (DAY + DAY / 4, vec![(quarters, 1), (days, 2), (quarters, 2)]),
        ];
        for (until, expected) in table {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log.db");
            let mut writer = open(&path, Durability::Process).await.unwrap();
            let write = writer.transact(|tx| {
                for (day, sums) in (0..3).flat_map(|day| [(day, days), (day, quarters)]) {
                    let add = "INSERT INTO packed_day (sums, day_us, first, last, packed) VALUES (?, ?, 1, 1, x'0100')";
                    tx.prepare(add)?.change(params![sums, day * DAY])?;
                }
                let until = Timestamp::from_micros(until);
                let pruned = Pruned {
                    last: Head { seq: 1, hash: [0; 32] },
                    event_seq: 2,
                    until,
                    seam: "{}".into(),
                };
                write_pruned(tx, &pruned)
            });
            write.unwrap();
            while writer.transact(prune_some).unwrap() > 0 {}
            let left = "SELECT sums, day_us / 86400000000 FROM packed_day ORDER BY day_us, sums";
            let left: Vec<(String, i64)> = sqlx::query_as(left)
                .fetch_all(writer.connection())
                .await
                .unwrap();
            let left: Vec<(&str, i64)> = left.iter().map(|(sums, day)| (&**sums, *day)).collect();
            assert_eq!(left, expected, "{until}");
        }
    }
}
