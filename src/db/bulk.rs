//! One statement for many rows.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Encode, Sqlite, Type};

use super::{DbError, WriteTx};

/// Rows in one statement, smallest first. Few, so that a handful of statements makes up any number and stays ready; what
/// there are fewer of is filled up with rows of NULL, which change nothing.
const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, LARGEST];

/// The most rows in one statement; SQLite joins at most 500 (sqlite.org/limits.html, "SQLITE_MAX_COMPOUND_SELECT").
pub(super) const LARGEST: usize = 256;

/// Of so many rows there are statements of exactly their number.
const EXACT: usize = 2;

/// Bytes of a row in a statement beside its values.
const EXTRA: usize = 32;

/// One statement for many rows: `head (…),(…) tail`. A statement costs more than the rows in it. The first value of a row
/// is never NULL.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    /// The text up to the rows: `INSERT INTO t (a, b) VALUES`, or `DELETE FROM t WHERE a IN (VALUES`.
    pub head: &'static str,
    /// Values in a row.
    pub columns: usize,
    /// The text after the rows.
    pub tail: &'static str,
    /// The whole text for a single row, where another is cheaper: `IN` makes a temporary table.
    pub single: Option<&'static str>,
}

impl Bulk {
    /// Runs the statement for all rows; in a transaction that gathers, at its end at the latest.
    ///
    /// # Errors
    /// When SQLite refuses, or another number of rows changed than there are.
    pub async fn run<T>(
        &self,
        tx: &mut WriteTx<'_>,
        rows: &[T],
        bind: impl Fn(Values, &T) -> Values,
    ) -> Result<(), DbError> {
        if rows.len() > LARGEST {
            // What is gathered is prepared as a whole, and no large one is like another.
            tx.stop_gathering().await?;
        }
        for piece in rows.chunks(LARGEST) {
            tx.add(self, piece, &bind).await?;
        }
        Ok(())
    }

    /// Whether it takes rows away.
    pub(super) fn removes(&self) -> bool {
        self.head.starts_with("DELETE")
    }

    /// The statement for at least so many rows.
    pub(super) fn statement(&self, rows: usize) -> Statement {
        let size = SIZES.into_iter().find(|size| *size >= rows);
        let size = size.unwrap_or(LARGEST);
        if let (1, Some(single)) = (size, self.single) {
            return Statement {
                text: single.into(),
                size,
                has_flags: false,
            };
        }
        let filled = self.head.strip_suffix("VALUES");
        let filled = filled.filter(|_| size > EXACT && !self.removes());
        let places = self.columns.saturating_mul(2);
        let length = places.saturating_add(EXTRA).saturating_mul(size);
        let length = length.saturating_add(self.head.len() + self.tail.len());
        let mut text = String::with_capacity(length);
        text.push_str(filled.unwrap_or(self.head));
        // Rows of VALUES under a condition would be kept in a temporary table first.
        let (first, next, end) = match filled {
            Some(_) => ("SELECT ", " UNION ALL SELECT ", " WHERE ?"),
            None => (" (", ",(", ")"),
        };
        for row in 0..size {
            text.push_str(if row == 0 { first } else { next });
            for column in 0..self.columns {
                text.push_str(if column == 0 { "?" } else { ",?" });
            }
            text.push_str(end);
        }
        text.push(' ');
        text.push_str(self.tail);
        Statement {
            text,
            size,
            has_flags: filled.is_some(),
        }
    }

    /// Binds rows to a statement of this kind.
    pub(super) fn bind<T>(
        &self,
        statement: &Statement,
        values: Values,
        rows: &[T],
        bind: impl Fn(Values, &T) -> Values,
    ) -> Values {
        let (before, flags) = (values.len(), usize::from(statement.has_flags));
        let values = rows.iter().fold(values, |values, row| {
            let values = bind(values, row);
            if statement.has_flags {
                values.bind(true)
            } else {
                values
            }
        });
        let places = self.columns.saturating_add(flags);
        values.fill(before.saturating_add(statement.size.saturating_mul(places)))
    }
}

/// A statement for a number of rows.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) text: String,
    size: usize,
    /// Whether each row ends with a value that says that it is one.
    has_flags: bool,
}

/// The values of a statement, in their order.
#[derive(Debug, Default)]
pub struct Values {
    arguments: SqliteArguments,
    /// Why one of them cannot be written.
    error: Option<sqlx::Error>,
}

impl Values {
    /// One more.
    #[must_use]
    pub fn bind<'q, T: Encode<'q, Sqlite> + Type<Sqlite>>(mut self, value: T) -> Self {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(sqlx::Error::Encode(error));
        }
        self
    }

    /// NULL up to so many.
    pub(super) fn fill(mut self, number: usize) -> Self {
        while self.arguments.len() < number && self.error.is_none() {
            self = self.bind(None::<i64>);
        }
        self
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// All of them, for SQLite.
    pub(super) fn finish(self) -> Result<SqliteArguments, sqlx::Error> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, Writer, open};

    const ADD: Bulk = Bulk {
        head: "INSERT INTO thing (id, word, sum) VALUES",
        columns: 3,
        tail: "ON CONFLICT (id) DO UPDATE SET sum = sum + excluded.sum",
        single: None,
    };
    const REMOVE: Bulk = Bulk {
        head: "DELETE FROM thing WHERE (id, word) IN (VALUES",
        columns: 2,
        tail: ")",
        single: Some("DELETE FROM thing WHERE id = ? AND word = ?"),
    };

    type Thing = (i64, Option<String>, i64);

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("things.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let mut tx = writer.begin().await.unwrap();
        let table = "CREATE TABLE thing (id INTEGER PRIMARY KEY, word TEXT, sum INTEGER CHECK (sum < 1000)) STRICT";
        let db = tx.connection().await.unwrap();
        sqlx::query(table).execute(db).await.unwrap();
        tx.commit().await.unwrap();
        writer
    }

    async fn things(writer: &mut Writer) -> Vec<Thing> {
        let rows = sqlx::query_as("SELECT id, word, sum FROM thing ORDER BY id");
        rows.fetch_all(writer.connection()).await.unwrap()
    }

    fn bind(values: Values, (id, word, sum): &Thing) -> Values {
        values.bind(*id).bind(word.as_deref()).bind(*sum)
    }

    #[tokio::test]
    async fn any_number_of_rows_is_written_and_removed_gathered_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        for number in [0, 1, 2, 3, 5, 9, 17, 33, 65, 130, 255, 256, 257, 520] {
            for is_gathered in [true, false] {
                let rows: Vec<Thing> = (0..number)
                    .map(|id| (id, (id % 3 > 0).then(|| format!("w{id}")), id % 7))
                    .collect();
                let mut tx = match is_gathered {
                    true => writer.gather(),
                    false => writer.begin().await.unwrap(),
                };
                ADD.run(&mut tx, &rows, bind).await.unwrap();
                ADD.run(&mut tx, &rows, bind).await.unwrap();
                tx.commit().await.unwrap();
                let twice = rows
                    .iter()
                    .cloned()
                    .map(|(id, word, sum)| (id, word, 2 * sum));
                assert_eq!(
                    things(&mut writer).await,
                    twice.collect::<Vec<_>>(),
                    "{number}"
                );
                let (named, nameless): (Vec<Thing>, Vec<Thing>) =
                    rows.into_iter().partition(|(_, word, _)| word.is_some());
                let mut tx = match is_gathered {
                    true => writer.gather(),
                    false => writer.begin().await.unwrap(),
                };
                let key =
                    |values: Values, (id, word, _): &Thing| values.bind(*id).bind(word.as_deref());
                REMOVE.run(&mut tx, &named, key).await.unwrap();
                let rest = sqlx::query("DELETE FROM thing WHERE word IS NULL");
                let rest = rest.execute(tx.connection().await.unwrap()).await.unwrap();
                assert_eq!(
                    usize::try_from(rest.rows_affected()).unwrap(),
                    nameless.len()
                );
                tx.commit().await.unwrap();
                assert_eq!(things(&mut writer).await, []);
            }
        }
    }

    #[tokio::test]
    async fn what_fails_at_its_end_leaves_nothing_and_the_next_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        let rows = |sums: &[i64]| -> Vec<Thing> {
            let sums = sums.iter().enumerate();
            sums.map(|(id, sum)| (i64::try_from(id).unwrap(), None, *sum))
                .collect()
        };
        let mut tx = writer.gather();
        ADD.run(&mut tx, &rows(&[1, 2]), bind).await.unwrap();
        ADD.run(&mut tx, &rows(&[3, 4, 1_000]), bind).await.unwrap();
        assert!(tx.commit().await.is_err(), "a CHECK fails");
        assert_eq!(things(&mut writer).await, []);
        let mut tx = writer.gather();
        ADD.run(&mut tx, &rows(&[1, 2]), bind).await.unwrap();
        let gone = |values: Values, id: &i64| values.bind(*id).bind("nothing");
        REMOVE.run(&mut tx, &[7], gone).await.unwrap();
        let failed = tx.commit().await.unwrap_err();
        let counted = matches!(
            failed,
            DbError::RowCount {
                expected: 1,
                changed: 0
            }
        );
        assert!(counted, "{failed}");
        assert_eq!(
            things(&mut writer).await,
            [],
            "what was there to remove was not"
        );
        let mut tx = writer.gather();
        ADD.run(&mut tx, &rows(&[5]), bind).await.unwrap();
        drop(tx);
        assert_eq!(things(&mut writer).await, [], "dropped without a commit");
        let mut tx = writer.gather();
        ADD.run(&mut tx, &rows(&[6]), bind).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(things(&mut writer).await, [(0, None, 6)]);
    }
}
