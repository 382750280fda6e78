//! Sums of days that are over, as they are packed: a value for some hundred rows.

use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};

use crate::audit::coarse::{DAY_US, Table, Values, WIDEST, begins};
use crate::audit::counts::{COUNTS, Counts};
use crate::audit::packed::{Unpacked, unpack};
use crate::audit::rollups::WIDTH;
use crate::db::DbError;

/// Which packed sums are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected<'a> {
    /// Of this table.
    pub(super) table: Table,
    /// From one instant up to, not including, another, in microseconds since 1970.
    pub(super) time: (i64, i64),
    /// The numbers with which the key behind the time begins, where only some are asked for, and nothing where all are:
    /// others are passed over where that is cheap, and must still be expected.
    pub(super) among: &'a [i64],
}

/// As many numbers are looked for in each value; of more, nearly all values have one.
const AMONG: usize = 32;

/// Gives all packed rows of some time.
///
/// # Errors
/// When SQLite refuses or what is packed cannot be read.
pub(super) async fn each<const COLUMNS: usize>(
    db: &mut SqliteConnection,
    wanted: Selected<'_>,
    mut each: impl FnMut(Unpacked<'_, COLUMNS>),
) -> Result<(), DbError> {
    let (from, to) = wanted.time;
    let text = "SELECT day_us, packed FROM packed_day
        WHERE sums = $1 AND day_us >= $2 AND day_us < $3
            AND ($4 IS NULL OR EXISTS (SELECT 1 FROM json_each($4) WHERE value BETWEEN first AND last))";
    let is_short = (1..=AMONG).contains(&wanted.among.len());
    let among = is_short.then(|| serde_json::Value::from(wanted.among).to_string());
    let mut values = sqlx::query(text)
        .bind(wanted.table.shape().name)
        .bind(begins(from, DAY_US))
        .bind(to)
        .bind(among)
        .fetch(db);
    while let Some(value) = values.try_next().await? {
        let (day_us, packed): (i64, &[u8]) = (value.try_get(0)?, value.try_get(1)?);
        let read = unpack(day_us, packed, |row| {
            if (from..to).contains(&row.at_us) {
                each(row);
            }
        });
        read.ok_or_else(|| {
            let text = "packed sums of a day cannot be read; `hayward audit verify` says which";
            sqlx::Error::Decode(text.into())
        })?;
        // As between steps of SQLite: the next values wait already, and calls may want this processor.
        std::thread::yield_now();
    }
    Ok(())
}

/// The same of a table that counts calls, with the counts alone: the instant, the numbers of agent, server and tool, and they.
///
/// # Errors
/// As there.
pub(super) async fn each_counts(
    db: &mut SqliteConnection,
    wanted: Selected<'_>,
    mut give: impl FnMut(i64, [i64; 3], Counts),
) -> Result<(), DbError> {
    match wanted.table.shape().values {
        Values::Counts => {
            each::<COUNTS>(db, wanted, |row| {
                give(row.at_us, row.ids, Counts::from(*row.values));
            })
            .await
        }
        Values::Wide => {
            each::<WIDEST>(db, wanted, |row| {
                if let Some(counts) = row.values.first_chunk::<COUNTS>() {
                    give(row.at_us, row.ids, Counts::from(*counts));
                }
            })
            .await
        }
        Values::Rollup => {
            each::<WIDTH>(db, wanted, |row| {
                give(row.at_us, row.ids, Counts::from(*row.values));
            })
            .await
        }
        Values::One(_) => Ok(()),
    }
}

/// The days from $1 up to, not including, $2 of which a table of sums by the day has rows, to seek in it with each of them.
pub(super) fn days_with_rows(table: Table) -> String {
    let name = table.shape().name;
    format!(
        "WITH RECURSIVE day(begins) AS (
            SELECT min(day_us) FROM {name} WHERE day_us >= $1 AND day_us < $2
            UNION ALL
            SELECT (SELECT min(day_us) FROM {name} WHERE day_us > begins AND day_us < $2) FROM day WHERE begins IS NOT NULL)"
    )
}
