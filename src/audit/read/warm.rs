//! Reads ahead what pages about a long time read: after a start, most of it is on the disk only.
//!
//! Sums of a day lie where that day's events do, all over the file, so that a page about a year waits for the disk
//! hundreds of times; read once, the system keeps them in memory while it has room.

use crate::audit::coarse::{DAY_US, Table, Values, WIDEST};
use crate::audit::counts::COUNTS;
use crate::db::{DbError, PageReader, Readers};
use crate::types::Timestamp;

use super::packed::{Selected, each};
use super::refused::newest_refusals;

/// The longest time that pages offer, in days.
const DAYS: i64 = 366;

/// Sums by the day, those that are read most first.
const BY_DAY: [Table; 5] = [
    Table::AgentDay,
    Table::ToolDay,
    Table::RefusalDay,
    Table::SpendDay,
    Table::PairDay,
];

/// Reads the packed sums of the year before an instant, what finds calls, and the newest refusals, which a page lists one by
/// one. Says how many rows there are. Each has a connection of its own, and so five seconds at most: on a disk that needs
/// longer the rest is read when it is asked for.
///
/// # Errors
/// When a table cannot be read, or not in that time; what comes after it is not read.
pub async fn warm(readers: &Readers, at: Timestamp) -> Result<i64, DbError> {
    let from = at.micros().saturating_sub(DAYS.saturating_mul(DAY_US));
    let mut rows = 0_i64;
    for table in BY_DAY {
        let wanted = Selected {
            table,
            time: (from, i64::MAX),
            among: &[],
        };
        let db = &mut readers.page().await?;
        let read = match table.shape().values {
            Values::Counts => count::<COUNTS>(db, wanted).await,
            Values::Wide => count::<WIDEST>(db, wanted).await,
            Values::Rollup => Ok(0),
            Values::One(_) => count::<1>(db, wanted).await,
        };
        rows = rows.saturating_add(read?);
    }
    // Its index alone would say how many there are.
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM lookup NOT INDEXED");
    let lookups = count.fetch_one(&mut *readers.page().await?).await?;
    let year = (Timestamp::from_micros(from), at);
    let refused = newest_refusals(&mut *readers.page().await?, year).await?;
    let refused = i64::try_from(refused.rows.len()).unwrap_or(i64::MAX);
    Ok(rows.saturating_add(lookups).saturating_add(refused))
}

async fn count<const COLUMNS: usize>(
    db: &mut PageReader,
    wanted: Selected<'_>,
) -> Result<i64, DbError> {
    let mut rows = 0_i64;
    each::<COLUMNS>(db, wanted, |_| rows = rows.saturating_add(1)).await?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::packing;
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
        let looked = "INSERT INTO lookup VALUES (1, ?, 'agent', '1', x'0001')";
        let write = writer.transact(|tx| {
            let mut spent = tx.prepare(spent)?;
            for day in [1_000, 999, 1_000 - DAYS, 1_000 - DAYS - 1] {
                spent.change(params![day * DAY_US])?;
            }
            for (table, columns) in [("agent_day", 10), ("tool_day", 45), ("pair_day", 12)] {
                let values = vec!["1"; columns - 1].join(", ");
                let add = format!("INSERT INTO {table} VALUES (?, {values})");
                tx.execute(&add, params![999 * DAY_US])?;
            }
            let refused = "INSERT INTO refusal_day VALUES (?, 1, 1, 1, 'budget', 1)";
            tx.execute(refused, params![999 * DAY_US])?;
            let denied = "INSERT INTO event (seq, at_us, kind, reason, meta, hash)
                VALUES (1, ?, 'denied', 'budget', '{}', zeroblob(32))";
            tx.execute(denied, params![999 * DAY_US])?;
            tx.prepare(looked)?.change(params![0])
        });
        write.unwrap();
        while let Some(piece) = packing::next(writer.connection(), i64::MAX).await.unwrap() {
            writer.transact(|tx| piece.write(tx)).unwrap();
        }
        // Of what is spent one is too old; the others are one of each table, a list of places, and a refusal.
        assert_eq!(warm(&readers, now).await.unwrap(), 3 + 4 + 1 + 1);
        let plan = "EXPLAIN QUERY PLAN SELECT packed FROM packed_day WHERE sums = 'pair_day' AND day_us >= 1";
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan)
            .fetch_all(readers.pool())
            .await
            .unwrap();
        let by_day = |(_, _, _, step): &(i64, i64, i64, String)| {
            step.contains("packed_day_of (sums=? AND day_us>?)")
        };
        assert!(plan.iter().all(by_day), "{plan:?}");
    }
}
