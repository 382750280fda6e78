//! The one way to write: a transaction, in the thread of whoever writes.

use rusqlite::{CachedStatement, Connection, Params};

use super::DbError;

/// A deferred transaction that turns into a writer fails at once where an immediate one waits.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// A transaction that may write. What comes of it is decided by [`super::Writer::transact`].
#[derive(Debug)]
pub struct WriteTx<'a> {
    connection: &'a Connection,
}

impl<'a> WriteTx<'a> {
    // The library's own transactions have their begin and their end read anew each time.
    pub(super) fn begin(connection: &'a mut Connection) -> Result<Self, DbError> {
        let tx = Self { connection };
        tx.execute(BEGIN, ())?;
        Ok(tx)
    }

    /// Makes a statement ready, to be run for any number of rows. The connection keeps it for the next time.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn prepare(&self, text: &str) -> Result<Prepared<'_>, DbError> {
        let statement = self.connection.prepare_cached(text)?;
        Ok(Prepared { statement })
    }

    /// Runs a statement for each of some rows, which must change one row each; where there are none, it is not made ready.
    ///
    /// # Errors
    /// When SQLite refuses, or `change` fails.
    pub fn each<T>(
        &self,
        text: &str,
        rows: impl IntoIterator<Item = T>,
        mut change: impl FnMut(&mut Prepared<'_>, T) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut statement = self.prepare(text)?;
        rows.try_for_each(|row| change(&mut statement, row))
    }

    /// Runs a statement once. Says how many rows changed.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn execute(&self, text: &str, values: impl Params) -> Result<u64, DbError> {
        self.prepare(text)?.execute(values)
    }

    pub(super) fn commit(self) -> Result<(), DbError> {
        self.execute("COMMIT", ())?;
        Ok(())
    }
}

impl Drop for WriteTx<'_> {
    fn drop(&mut self) {
        // A commit that failed may have left it open, too.
        if !self.connection.is_autocommit() {
            // Whoever writes next fails to begin, if this does.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// A statement of a transaction.
pub struct Prepared<'a> {
    statement: CachedStatement<'a>,
}

impl Prepared<'_> {
    /// Runs it. Says how many rows changed.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn execute(&mut self, values: impl Params) -> Result<u64, DbError> {
        let changed = self.statement.execute(values)?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    /// Runs it for what is one row of its table: rows that are not there to be removed are no error to SQLite.
    ///
    /// # Errors
    /// When SQLite refuses, or not exactly one row changed.
    pub fn change(&mut self, values: impl Params) -> Result<(), DbError> {
        match self.execute(values)? {
            1 => Ok(()),
            changed => Err(DbError::RowCount {
                expected: 1,
                changed,
            }),
        }
    }

    /// Runs it for the texts it gives back: those of its first column.
    ///
    /// # Errors
    /// When SQLite refuses, or there is something else than a text.
    pub fn texts(&mut self, values: impl Params) -> Result<Vec<String>, DbError> {
        let rows = self.statement.query_map(values, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::db::{Durability, Writer, open};

    const ADD: &str = "INSERT INTO thing (id, word, sum) VALUES (?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET sum = sum + excluded.sum";
    const REMOVE: &str = "DELETE FROM thing WHERE id = ?";

    type Thing = (i64, Option<String>, i64);

    async fn writer(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("things.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let table = "CREATE TABLE thing (id INTEGER PRIMARY KEY, word TEXT, sum INTEGER CHECK (sum < 1000)) STRICT";
        writer.transact(|tx| tx.execute(table, ())).unwrap();
        writer
    }

    async fn things(writer: &mut Writer) -> Vec<Thing> {
        let rows = sqlx::query_as("SELECT id, word, sum FROM thing ORDER BY id");
        rows.fetch_all(writer.connection()).await.unwrap()
    }

    fn add(writer: &mut Writer, rows: &[(i64, Option<&str>, i64)]) -> Result<(), DbError> {
        writer.transact(|tx| {
            tx.each(ADD, rows, |add, (id, word, sum)| {
                add.change(params![id, word, sum])
            })
        })
    }

    #[tokio::test]
    async fn what_is_written_is_read_by_the_other_connection_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        let rows = [(1, Some("a"), 10), (2, None, 20)];
        add(&mut writer, &rows).unwrap();
        add(&mut writer, &rows).unwrap();
        let both = [(1, Some("a".to_owned()), 20), (2, None, 40)];
        assert_eq!(things(&mut writer).await, both);
        let gone = writer.transact(|tx| {
            let gone = "DELETE FROM thing WHERE sum > ? RETURNING coalesce(word, 'none')";
            tx.prepare(gone)?.texts([25])
        });
        assert_eq!(gone.unwrap(), ["none"]);
        writer
            .transact(|tx| tx.prepare(REMOVE)?.change([1]))
            .unwrap();
        assert_eq!(things(&mut writer).await, []);
    }

    #[tokio::test]
    async fn what_fails_leaves_nothing_and_the_next_one_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder).await;
        let failed = add(&mut writer, &[(1, None, 1), (2, None, 1_000)]);
        assert!(failed.is_err(), "a CHECK fails");
        assert_eq!(things(&mut writer).await, []);
        let missing = writer.transact(|tx| {
            tx.execute(ADD, params![1, None::<&str>, 1])?;
            tx.prepare(REMOVE)?.change([7])
        });
        let missing = missing.unwrap_err();
        let counted = matches!(
            missing,
            DbError::RowCount {
                expected: 1,
                changed: 0
            }
        );
        assert!(counted, "{missing}");
        assert_eq!(things(&mut writer).await, []);
        add(&mut writer, &[(6, None, 1)]).unwrap();
        assert_eq!(things(&mut writer).await, [(6, None, 1)]);
    }

    #[test]
    fn what_takes_long_is_done_in_a_runtime_of_many_threads_and_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let one = tokio::runtime::Builder::new_current_thread().build();
        let many = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        for (id, runtime) in [(1, one.unwrap()), (2, many.unwrap())] {
            runtime.block_on(async {
                let path = folder.path().join(format!("{id}.db"));
                let mut writer = open(&path, Durability::Power).await.unwrap();
                let add = "INSERT INTO budget (id, key) VALUES (?, 'a')";
                tokio::spawn(
                    async move { writer.transact_long(|tx| tx.execute(add, [1])).unwrap() },
                )
                .await
                .unwrap();
            });
        }
    }
}
