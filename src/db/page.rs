//! One connection for one page: when the page is given up, so is the statement it waits for.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};
use tokio::time::Instant;

use super::{DbError, Readers};

/// Steps of SQLite's machine between two looks at the flag; some tens of microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

/// The longest use of one connection; its statements fail after that. Pages have a shorter deadline of their own,
/// and this one is for whoever forgets it: a reader that goes on for ever keeps the write-ahead log from being moved
/// into the file.
const LONGEST: Duration = Duration::from_secs(5);

/// A reading connection that stops its statement when dropped.
///
/// A page that runs into its deadline, or whose browser hung up, is a dropped future. Without this its
/// statement would go on in the connection's thread and keep the next page waiting.
#[derive(Debug)]
pub struct PageReader {
    connection: PoolConnection<Sqlite>,
    stop: Arc<AtomicBool>,
}

impl Readers {
    /// Takes a connection for one page, waiting for one while all are busy. Put a timeout around its use.
    ///
    /// # Errors
    /// When no connection comes free or SQLite refuses.
    pub async fn page(&self) -> Result<PageReader, DbError> {
        let mut connection = self.pool().acquire().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let ends = Instant::now() + LONGEST;
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS_BETWEEN_LOOKS, move || {
                // A kernel may let a thread that computes keep its processor for a whole tick, milliseconds, whatever its
                // priority is and whoever waits for it.
                std::thread::yield_now();
                !stopped.load(Ordering::Relaxed) && Instant::now() < ends
            });
        Ok(PageReader { connection, stop })
    }

    /// The same, and everything that is read through it is of one instant.
    ///
    /// # Errors
    /// When no connection comes free or SQLite refuses.
    pub async fn snapshot(&self) -> Result<PageReader, DbError> {
        let mut page = self.page().await?;
        sqlx::query("BEGIN").execute(&mut *page).await?;
        Ok(page)
    }
}

/// Makes a connection that comes back to the pool as it was: without the flag, or it would stop its next user too, and
/// without a transaction, or the write-ahead log could not be moved into the file.
pub(super) async fn clear(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.lock_handle().await?.remove_progress_handler();
    // Without a transaction SQLite says so, which is what is wanted.
    let _ = sqlx::query("ROLLBACK").execute(connection).await;
    Ok(true)
}

impl Deref for PageReader {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for PageReader {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for PageReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, open};
    use crate::types::Timestamp;

    const FOR_EVER: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    #[tokio::test]
    async fn a_page_that_is_given_up_stops_its_statement_and_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        writer
            .identity([1; 16], Timestamp::default())
            .await
            .unwrap();
        let readers = Readers::open(&path).await.unwrap();
        // More often than there are connections: each comes back in working order.
        for _ in 0..6 {
            let mut page = readers.page().await.unwrap();
            let query = sqlx::query_scalar::<_, i64>(FOR_EVER).fetch_one(&mut *page);
            let given_up = tokio::time::timeout(Duration::from_millis(50), query).await;
            assert!(given_up.is_err());
            drop(page);
        }
        let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM gateway");
        let rows = rows.fetch_one(readers.pool()).await.unwrap();
        assert_eq!(rows, 1);
    }

    #[tokio::test]
    async fn a_snapshot_ends_with_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        writer
            .identity([1; 16], Timestamp::default())
            .await
            .unwrap();
        let readers = Readers::open(&path).await.unwrap();
        // More often than there are connections: one that was left in a transaction could not begin the next.
        for _ in 0..6 {
            let mut page = readers.snapshot().await.unwrap();
            let rows = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM gateway");
            assert_eq!(rows.fetch_one(&mut *page).await.unwrap(), 1);
        }
    }

    #[tokio::test]
    async fn a_statement_that_nobody_stops_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        writer
            .identity([1; 16], Timestamp::default())
            .await
            .unwrap();
        let readers = Readers::open(&path).await.unwrap();
        let mut page = readers.page().await.unwrap();
        let endless = sqlx::query_scalar::<_, i64>(FOR_EVER).fetch_one(&mut *page);
        let ended = tokio::time::timeout(LONGEST * 6, endless).await;
        assert!(ended.expect("it ends by itself").is_err());
    }
}
