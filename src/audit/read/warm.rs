//! Reads ahead what pages about a long time read: after a start, most of it is on the disk only.
//!
//! Sums of a day lie where that day's events do, all over the file, so that a page about a year waits for the disk thousands
//! of times; read once, the system keeps them in memory while it has room.

use sqlx::AssertSqlSafe;

use crate::audit::coarse::DAY_US;
use crate::db::{DbError, Readers};
use crate::types::Timestamp;

/// The longest time that pages offer, in days.
const DAYS: i64 = 366;

/// Sums by the day, those that are read most first.
const BY_DAY: [&str; 5] = [
    "agent_day",
    "tool_day",
    "refusal_day",
    "spend_day",
    "pair_day",
];

/// Reads the sums of the year before an instant, and what finds calls. Says how many rows there are. Each table has a
/// connection of its own, and so five seconds at most: on a disk that needs longer the rest is read when it is asked for.
///
/// # Errors
/// When a table cannot be read, or not in that time; what comes after it is not read.
pub async fn warm(readers: &Readers, at: Timestamp) -> Result<i64, DbError> {
    let from = at.micros().saturating_sub(DAYS.saturating_mul(DAY_US));
    let mut rows = 0_i64;
    for table in BY_DAY {
        // The text is put together from constants of this program alone.
        let text = AssertSqlSafe(format!("SELECT count(*) FROM {table} WHERE day_us >= $1"));
        let count = sqlx::query_scalar::<_, i64>(text).bind(from);
        rows = rows.saturating_add(count.fetch_one(&mut *readers.page().await?).await?);
    }
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM lookup");
    let lookups = count.fetch_one(&mut *readers.page().await?).await?;
    Ok(rows.saturating_add(lookups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, open, params};

    #[tokio::test]
    async fn the_days_of_a_year_and_all_lookups_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let now = Timestamp::from_micros(1_000 * DAY_US);
        let readers = Readers::open(&path).await.unwrap();
        assert_eq!(warm(&readers, now).await.unwrap(), 0);
        let spent = "INSERT INTO spend_day VALUES (?, 1, 1, 1, 'euros', 5)";
        let looked = "INSERT INTO lookup VALUES (?, 'agent', '1', x'0001')";
        let write = writer.transact(|tx| {
            let mut spent = tx.prepare(spent)?;
            for day in [1_000, 999, 1_000 - DAYS, 1_000 - DAYS - 1] {
                spent.change(params![day * DAY_US])?;
            }
            tx.prepare(looked)?.change(params![0])
        });
        write.unwrap();
        assert_eq!(warm(&readers, now).await.unwrap(), 4, "one is too old");
        // Each of the others is there.
        for table in BY_DAY {
            let text = AssertSqlSafe(format!(
                "EXPLAIN QUERY PLAN SELECT count(*) FROM {table} WHERE day_us >= 1"
            ));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(text)
                .fetch_all(readers.pool())
                .await
                .unwrap();
            let by_day = plan
                .iter()
                .all(|(_, _, _, step)| step.contains("PRIMARY KEY (day_us>?)"));
            assert!(by_day, "{table}: {plan:?}");
        }
    }
}
