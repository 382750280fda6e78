//! Packs the sums of days of UTC that are over, piece by piece: see [`super::packed`].
//!
//! What is packed of a day and what stands in its rows add up, so a piece may end anywhere, and whatever should come late
//! for a day is a row like any other.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::coarse::{DAY_US, Shape, Table, begins};
use super::packed::{Row, pack};
use crate::db::{DbError, ToSql, WriteTx, params, params_from_iter};

/// Rows that are packed in one transaction; a batch that comes meanwhile waits some milliseconds for it.
const PACKED_AT_ONCE: u32 = 512;

/// Some rows of a day, to be packed.
#[derive(Debug)]
pub struct Piece {
    table: Table,
    day_us: i64,
    rows: Vec<Row>,
}

/// Reads the next rows that can be packed: the first ones of a table that begin before an instant. `None` when all are.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn next(
    db: &mut SqliteConnection,
    before_us: i64,
) -> Result<Option<Piece>, DbError> {
    for table in Table::PACKED {
        let shape = table.shape();
        let (name, key) = (shape.name, shape.whole_key());
        let time = shape.key.first().copied().unwrap_or_default();
        // The texts are put together from constants of this program alone.
        let oldest = AssertSqlSafe(format!("SELECT min({time}) FROM {name}"));
        let oldest: Option<i64> = sqlx::query_scalar(oldest).fetch_one(&mut *db).await?;
        let Some(oldest) = oldest.filter(|oldest| *oldest < before_us) else {
            continue;
        };
        let day_us = begins(oldest, DAY_US);
        let rows = AssertSqlSafe(format!(
            "SELECT {} FROM {name} WHERE {time} < $1 ORDER BY {} LIMIT $2",
            shape.columns().join(", "),
            key.join(", "),
        ));
        let until = before_us.min(day_us.saturating_add(DAY_US));
        let rows = sqlx::query(rows).bind(until).bind(PACKED_AT_ONCE);
        let rows = rows.fetch_all(&mut *db).await?;
        let rows: Result<Vec<Row>, _> = rows.iter().map(|row| of_row(&shape, row)).collect();
        return Ok(Some(Piece {
            table,
            day_us,
            rows: rows?,
        }));
    }
    Ok(None)
}

fn of_row(shape: &Shape, row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let mut columns = 0..;
    let mut next = || columns.next().unwrap_or_default();
    let at_us = row.try_get(next())?;
    let mut numbers = [0; 3];
    let behind_time = shape.key.len().saturating_sub(1);
    for number in numbers.iter_mut().take(behind_time) {
        *number = row.try_get(next())?;
    }
    let text = match shape.text {
        Some(_) => Some(row.try_get(next())?),
        None => None,
    };
    let values = (0..shape.values.width()).map(|_| row.try_get(next()));
    Ok(Row {
        at_us,
        ids: shape.ids(numbers),
        text,
        values: values.collect::<Result<_, _>>()?,
    })
}

impl Piece {
    /// Puts the value in the place of its rows.
    ///
    /// # Errors
    /// When SQLite refuses or the rows are others by now; nothing of the transaction may be kept then.
    pub fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        let shape = self.table.shape();
        let named = self.rows.iter().map(|row| shape.numbers(row.ids)[0]);
        let (Some(first), Some(last)) = (named.clone().min(), named.max()) else {
            return Ok(());
        };
        let add =
            "INSERT INTO packed_day (sums, day_us, first, last, packed) VALUES (?, ?, ?, ?, ?)";
        let packed = pack(self.day_us, &self.rows);
        tx.prepare(add)?
            .change(params![shape.name, self.day_us, first, last, packed])?;
        self.remove(tx)
    }

    /// The rows are the first ones of their table: whatever is there up to the last of them goes.
    fn remove(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        let Some(last) = self.rows.last() else {
            return Ok(());
        };
        let shape = self.table.shape();
        let key = shape.whole_key();
        let (columns, marks) = (key.join(", "), vec!["?"; key.len()].join(", "));
        let text = format!("DELETE FROM {} WHERE ({columns}) <= ({marks})", shape.name);
        let numbers = shape.numbers(last.ids);
        let behind_time = shape.key.len().saturating_sub(1);
        let numbers = numbers.iter().take(behind_time);
        let numbers = [&last.at_us].into_iter().chain(numbers);
        let numbers = numbers.map(|number| number as &dyn ToSql);
        let text_of_key = last.text.iter().map(|text| text as &dyn ToSql);
        let changed = tx.execute(&text, params_from_iter(numbers.chain(text_of_key)))?;
        let expected = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        if changed == expected {
            Ok(())
        } else {
            Err(DbError::RowCount { expected, changed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::packed::unpack;
    use crate::db::{Durability, Writer, open};

    /// Two days with 600 rows each of calls and of costs, more than are packed at once.
    async fn two_days(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let write = writer.transact(|tx| {
            for day in [0, DAY_US] {
                for n in 0..600_i64 {
                    let (agent, tool) = (1 + n / 200, n % 200);
                    let pair = "INSERT INTO pair_day VALUES (?, ?, 9, ?, ?, 0, 0, 0, 0, 0, 0, 0)";
                    tx.prepare(pair)?.change(params![day, agent, tool, n])?;
                    let spend = "INSERT INTO spend_quarter VALUES (?, ?, 9, ?, ?, ?)";
                    let unit = if n % 2 == 0 { "USD" } else { "tokens" };
                    let quarter = day + tool / 20 * 900_000_000;
                    tx.prepare(spend)?
                        .change(params![quarter, agent, tool / 2, unit, n])?;
                }
            }
            Ok(())
        });
        write.unwrap();
        writer
    }

    type Packed = (String, i64, i64, i64, Vec<u8>);

    async fn packed(writer: &mut Writer) -> Vec<Packed> {
        let text = "SELECT sums, day_us, first, last, packed FROM packed_day ORDER BY id";
        let rows = sqlx::query_as(text);
        rows.fetch_all(writer.connection()).await.unwrap()
    }

    #[tokio::test]
    async fn days_that_are_over_are_packed_piece_by_piece_and_no_row_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = two_days(&folder).await;
        let mut pieces = 0;
        while let Some(piece) = next(writer.connection(), DAY_US).await.unwrap() {
            assert!(piece.rows.len() <= 512);
            writer.transact(|tx| piece.write(tx)).unwrap();
            pieces += 1;
        }
        let values = packed(&mut writer).await;
        let told: Vec<_> = values
            .iter()
            .map(|(sums, day, first, last, _)| (&**sums, *day, *first, *last))
            .collect();
        let expected = [
            ("pair_day", 0, 1, 3),
            ("pair_day", 0, 3, 3),
            // By the quarter of an hour first, and in each all agents.
            ("spend_quarter", 0, 1, 3),
            ("spend_quarter", 0, 1, 3),
        ];
        assert_eq!((told.as_slice(), pieces), (expected.as_slice(), 4));
        let (mut calls, mut costs) = (Vec::new(), Vec::new());
        for (sums, day, _, _, packed) in &values {
            let read = if sums == "pair_day" {
                unpack::<8>(*day, packed, |row| {
                    calls.push((row.at_us, row.ids, row.values[0]))
                })
            } else {
                unpack::<1>(*day, packed, |row| {
                    costs.push((row.at_us, row.ids, row.text.to_owned(), row.values[0]));
                })
            };
            read.unwrap();
        }
        let numbers = 0..600_i64;
        let expected = numbers
            .clone()
            .map(|n| (0, [1 + n / 200, 9, n % 200], n))
            .collect::<Vec<_>>();
        assert_eq!(calls, expected);
        let expected = numbers.map(|n| {
            let (tool, unit) = (n % 200, if n % 2 == 0 { "USD" } else { "tokens" });
            let ids = [1 + n / 200, 9, tool / 2];
            (tool / 20 * 900_000_000, ids, unit.to_owned(), n)
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort_unstable();
        assert_eq!(costs, expected);
        let left: Vec<(i64, i64)> =
            sqlx::query_as("SELECT day_us, count(*) FROM pair_day GROUP BY day_us")
                .fetch_all(writer.connection())
                .await
                .unwrap();
        assert_eq!(left, [(DAY_US, 600)], "the day that goes on");
    }

    #[tokio::test]
    async fn rows_that_are_others_by_now_are_not_packed() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = two_days(&folder).await;
        let piece = next(writer.connection(), DAY_US).await.unwrap().unwrap();
        let add = "INSERT INTO pair_day VALUES (0, 1, 8, 1, 1, 0, 0, 0, 0, 0, 0, 0)";
        writer.transact(|tx| tx.execute(add, ())).unwrap();
        let late = writer.transact(|tx| piece.write(tx));
        let refused = matches!(
            late,
            Err(DbError::RowCount {
                expected: 512,
                changed: 513
            })
        );
        assert!(refused, "{late:?}");
        assert_eq!(packed(&mut writer).await, []);
    }
}
