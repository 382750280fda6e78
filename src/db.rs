//! The one SQLite file: a single writer, read-only readers, migrations. Nobody else begins a transaction.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::OpenFlags;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, block_in_place};

use crate::types::Timestamp;

mod migrations;
mod page;
mod room;
mod tx;

pub use page::PageReader;
pub use room::Room;
/// The values of a statement that writes.
pub use rusqlite::{ToSql, params, params_from_iter};
/// A connection, for those who read with it and hold no statement themselves.
pub use sqlx::sqlite::SqliteConnection;
pub use tx::{Prepared, WriteTx};

/// Older SQLite can lose checkpointed pages in WAL mode (sqlite.org/wal.html, "WAL-reset bug").
const OLDEST_SQLITE: [u32; 3] = [3, 51, 3];

/// How long a statement waits for another process's lock before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the write-ahead log that stay on disk when all of it was moved.
const WAL_KEPT: &str = "67108864";

/// Connections for pages; each holds a thread.
const READERS: u32 = 4;

/// Statements the writer keeps ready; there are some fewer.
const STATEMENTS: usize = 80;

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Loss of power: `synchronous=FULL`, one fsync a commit.
    Power,
    /// The end of the process, also by kill -9: `synchronous=NORMAL`, no fsync a commit.
    Process,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Another gateway has the file.
    #[error("`{0}` is in use by another gateway; stop that one or give this one a file of its own")]
    InUse(PathBuf),
    /// The file cannot be opened or made.
    #[error("cannot open the database `{path}`: {why}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system or SQLite said.
        why: String,
    },
    /// There is no such file, and it was only to be read.
    #[error("there is no database at `{0}`")]
    Missing(PathBuf),
    /// The file is no longer the one that was written.
    #[error(
        "`{0}` is not the file this gateway has written: it was removed, replaced or put back to an older state; \
         put the right one back, or restart to go on with what is there"
    )]
    NotOurs(PathBuf),
    /// The library is too old.
    #[error("SQLite {0} can corrupt this kind of database; 3.51.3 or newer is needed")]
    SqliteTooOld(String),
    /// The schema cannot be brought up to date.
    #[error("cannot bring `{path}` up to date: {why}")]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// A statement failed.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// A statement of the writer failed.
    #[error("database: {0}")]
    Write(#[from] rusqlite::Error),
    /// A statement changed another number of rows than it must.
    #[error("database: a statement changed {changed} rows instead of {expected}")]
    RowCount {
        /// Rows it must change.
        expected: u64,
        /// Rows it changed.
        changed: u64,
    },
}

/// Which log a file holds; part of every hash in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogId(pub [u8; 16]);

/// What writes. There is one, and it has the file to itself.
///
/// It writes in the thread of whoever asks: going to another one and back, for every statement, takes longer than the
/// statements. What it reads between two transactions, it reads with a second connection, as all others do.
#[derive(Debug)]
pub struct Writer {
    options: SqliteConnectOptions,
    durability: Durability,
    writing: rusqlite::Connection,
    reading: SqliteConnection,
    /// Moves the write-ahead log, and nothing else.
    aside: Arc<Mutex<SqliteConnection>>,
    /// Which file is open, whatever stands under its name by now.
    file: Option<FileId>,
    _lock: File,
}

/// What tells one file from another on this machine: device and inode.
type FileId = (u64, u64);

/// Opens the file for writing, alone; makes it when there is none and brings its schema up to date.
///
/// # Errors
/// When the file cannot be opened, belongs to another running gateway, is no database, or was written by a
/// newer version.
pub async fn open(path: &Path, durability: Durability) -> Result<Writer, DbError> {
    let real = real_path(path);
    let lock = lock(&real, path)?;
    let options = SqliteConnectOptions::new()
        .filename(&real)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // They would be timed and looked at one by one; what fails is told by whoever asked.
        .disable_statement_logging()
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        // Migrations delete, too; see below.
        .pragma("secure_delete", "ON");
    let mut reading = connect(path, &options).await?;
    check_version(&mut reading).await?;
    let migrated = migrations::migrator().run(&mut reading).await;
    migrated.map_err(|error| DbError::Migrate {
        path: path.into(),
        why: error.to_string(),
    })?;
    // Made once; should the file be gone one day, an empty one in its place would be no help.
    let options = options.create_if_missing(false);
    Ok(Writer {
        aside: Arc::new(Mutex::new(connect(path, &options).await?)),
        options,
        durability,
        writing: connect_writing(&real, path, durability)?,
        reading,
        file: file_id(&real),
        _lock: lock,
    })
}

impl Writer {
    /// Writes in one transaction: all of it, or nothing when it fails. With power-loss durability the thread waits for the
    /// disk meanwhile.
    ///
    /// # Errors
    /// When SQLite refuses, or what is to be done fails. When the commit fails, nobody knows whether it is written.
    pub fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let mut tx = WriteTx::begin(&mut self.writing)?;
        let done = work(&mut tx)?;
        tx.commit()?;
        Ok(done)
    }

    /// The same for what takes longer than a batch of calls: the other tasks of this thread are given to another one.
    ///
    /// # Errors
    /// As there.
    pub fn transact_long<T>(
        &mut self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        aside(|| self.transact(work))
    }

    /// The connection, to read what stands in the file between two transactions.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.reading
    }

    /// Whether commits from here on wait for the disk, where the durability says so. Between transactions only.
    ///
    /// # Errors
    /// When SQLite refuses; a connection that may not wait is no good for anything that must last.
    pub fn sync_commits(&mut self, sync: bool) -> Result<(), DbError> {
        let level = match (self.durability, sync) {
            (Durability::Process, _) => return Ok(()),
            (Durability::Power, true) => FULL,
            (Durability::Power, false) => NORMAL,
        };
        Ok(self.writing.pragma_update(None, "synchronous", level)?)
    }

    /// Makes sure that the file that was just written is still the one under its name. SQLite goes on writing a
    /// file that was removed, and nobody would ever read what stands in there.
    ///
    /// # Errors
    /// When it is not.
    pub fn ensure_in_place(&self) -> Result<(), DbError> {
        let path = self.options.get_filename();
        if self.file.is_some() && file_id(path) == self.file {
            Ok(())
        } else {
            Err(DbError::NotOurs(path.into()))
        }
    }

    /// How much room there is for more; `None` when the file system does not say.
    pub fn room(&self) -> Option<Room> {
        Room::around(self.options.get_filename())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// The error that says that the file holds something else than was written.
    pub fn not_ours(&self) -> DbError {
        DbError::NotOurs(self.options.get_filename().into())
    }

    /// Drops the connection and opens the file anew, after a commit of which nobody knows what became.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn reopen(&mut self) -> Result<(), DbError> {
        let path = self.options.get_filename();
        let writing = connect_writing(path, path, self.durability)?;
        let fresh = connect(path, &self.options).await?;
        self.aside = Arc::new(Mutex::new(connect(path, &self.options).await?));
        self.file = file_id(path);
        let old = std::mem::replace(&mut self.reading, fresh);
        let failed = std::mem::replace(&mut self.writing, writing);
        // They failed already; what they say on closing changes nothing.
        aside(|| drop(failed));
        drop(old.close().await);
        Ok(())
    }

    /// Moves what the write-ahead log holds into the file, as far as no reader is in the way. Returns how many
    /// pages it could not move.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn checkpoint(&mut self) -> Result<i64, DbError> {
        let (_, pages, moved) = self.move_log("PASSIVE")?;
        Ok(pages.saturating_sub(moved))
    }

    /// Does the same beside the writer, with a connection of its own: commits go on meanwhile, and what they write is not
    /// all moved (sqlite.org/wal.html, "Checkpointing").
    pub fn checkpoint_aside(&self) -> JoinHandle<()> {
        let aside = Arc::clone(&self.aside);
        tokio::spawn(async move {
            let mut connection = aside.lock().await;
            let moving = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)");
            if let Err(error) = moving.execute(&mut *connection).await {
                tracing::warn!(%error, "the write-ahead log could not be moved into the file");
            }
        })
    }

    /// Moves the write-ahead log into the file and empties it, so that nothing is left in it of what was deleted. Says
    /// whether that could be done: no reader is waited for.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub fn empty_wal(&mut self) -> Result<bool, DbError> {
        self.writing.busy_timeout(Duration::ZERO)?;
        let emptied = self.move_log("TRUNCATE");
        self.writing.busy_timeout(BUSY_TIMEOUT)?;
        let (busy, _, _) = emptied?;
        Ok(busy == 0)
    }

    /// Whether somebody was in the way, how many pages there are, and how many of them are moved.
    fn move_log(&mut self, how: &str) -> Result<(i64, i64, i64), DbError> {
        let text = format!("PRAGMA wal_checkpoint({how})");
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(aside(|| self.writing.query_row(&text, (), columns))?)
    }

    /// Which log this file holds; made up when the file is new.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn identity(&mut self, fresh: [u8; 16], at: Timestamp) -> Result<LogId, DbError> {
        let made = "INSERT INTO gateway (one, log_id, created_at_us) VALUES (1, ?, ?) ON CONFLICT (one) DO NOTHING";
        self.transact(|tx| tx.execute(made, params![fresh, at.micros()]))?;
        read_identity(&mut self.reading).await
    }

    /// Closes the file in good order.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn close(self) -> Result<(), DbError> {
        if let Some(aside) = Arc::into_inner(self.aside) {
            aside.into_inner().close().await?;
        }
        self.reading.close().await?;
        let writing = self.writing;
        Ok(aside(|| writing.close().map_err(|(_, error)| error))?)
    }
}

/// Reads which log a file holds.
///
/// # Errors
/// When the file has no identity or SQLite refuses.
pub async fn read_identity(connection: &mut SqliteConnection) -> Result<LogId, DbError> {
    let id: Vec<u8> = sqlx::query_scalar("SELECT log_id FROM gateway WHERE one = 1")
        .fetch_one(connection)
        .await?;
    let id =
        <[u8; 16]>::try_from(id.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(LogId(id))
}

/// Read-only connections for pages and checks.
#[derive(Debug, Clone)]
pub struct Readers {
    pool: SqlitePool,
}

impl Readers {
    /// Opens a file for reading only.
    ///
    /// # Errors
    /// When there is no such file or it is no database of ours.
    pub async fn open(path: &Path) -> Result<Self, DbError> {
        let readers = Self::open_new(path).await?;
        sqlx::query("SELECT 1 FROM gateway")
            .execute(readers.pool())
            .await
            .map_err(|error| cannot_open(path, &error))?;
        Ok(readers)
    }

    /// The same for a file that may have nothing in it yet.
    ///
    /// # Errors
    /// When there is no such file or it is no database.
    pub async fn open_new(path: &Path) -> Result<Self, DbError> {
        if !path.exists() {
            return Err(DbError::Missing(path.into()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging()
            .pragma("query_only", "ON")
            // A page that sorts much would write it to the disk, where commits wait.
            .pragma("temp_store", "MEMORY")
            .pragma("trusted_schema", "OFF");
        let pool = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .after_release(|connection, _| Box::pin(page::clear(connection)))
            .connect_with(options)
            .await
            .map_err(|error| cannot_open(path, &error))?;
        Ok(Self { pool })
    }

    /// The connections.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The path without links, so that a file has one lock whatever ways lead to it. One that does not exist yet is
/// taken as it is written.
fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.into())
}

fn file_id(path: &Path) -> Option<FileId> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

fn lock(real: &Path, path: &Path) -> Result<File, DbError> {
    let side = real.with_added_extension("lock");
    let open = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&side);
    let file = open.map_err(|error| DbError::Open {
        path: path.into(),
        why: format!("its lock file: {error}"),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DbError::InUse(path.into())),
        Err(TryLockError::Error(error)) => Err(DbError::Open {
            path: path.into(),
            why: format!("its lock file: {error}"),
        }),
    }
}

/// Does what takes long. Where other tasks share this thread, they are given to another one before, which costs more than
/// a small commit.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}

/// The values of `PRAGMA synchronous`: with and without an fsync a commit.
const FULL: &str = "FULL";
const NORMAL: &str = "NORMAL";

/// Opens the connection that writes to a file that is there; `path` is what its user calls it.
fn connect_writing(
    real: &Path,
    path: &Path,
    durability: Durability,
) -> Result<rusqlite::Connection, DbError> {
    let open = || {
        // One thread uses it at a time; see `Writer::transact`.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(real, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let synchronous = match durability {
            Durability::Power => FULL,
            Durability::Process => NORMAL,
        };
        for (name, value) in [
            ("synchronous", synchronous),
            ("foreign_keys", "ON"),
            ("trusted_schema", "OFF"),
            ("cell_size_check", "ON"),
            // What is deleted is also written over.
            ("secure_delete", "ON"),
            // The writer checkpoints between batches, so that no caller waits for it inside a commit.
            ("wal_autocheckpoint", "0"),
            // After a reader that kept it from being moved, it does not stay as large as it grew.
            ("journal_size_limit", WAL_KEPT),
        ] {
            // Some of them answer with what is in force, which is no error.
            connection.pragma_update(None, name, value)?;
        }
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| DbError::Open {
        path: path.into(),
        why: error.to_string(),
    })
}

async fn connect(path: &Path, options: &SqliteConnectOptions) -> Result<SqliteConnection, DbError> {
    let connect = SqliteConnection::connect_with(options).await;
    connect.map_err(|error| cannot_open(path, &error))
}

fn cannot_open(path: &Path, error: &sqlx::Error) -> DbError {
    DbError::Open {
        path: path.into(),
        why: error
            .as_database_error()
            .map_or_else(|| error.to_string(), |error| error.message().into()),
    }
}

async fn check_version(connection: &mut SqliteConnection) -> Result<(), DbError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(connection)
        .await?;
    let parts: Vec<u32> = version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect();
    if parts.as_slice() < OLDEST_SQLITE.as_slice() {
        return Err(DbError::SqliteTooOld(version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_has_one_writer_whatever_links_lead_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("log.db"), folder.path().join("link.db"));
        let writer = open(&path, Durability::Process).await.unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let second = open(&link, Durability::Process).await;
        assert!(matches!(second, Err(DbError::InUse(file)) if file == link));
        writer.close().await.unwrap();
        assert!(open(&link, Durability::Process).await.is_ok());
    }

    #[tokio::test]
    async fn connections_share_no_page_cache_and_no_count_of_memory_that_they_would_wait_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let options: Vec<String> = sqlx::query_scalar("PRAGMA compile_options")
            .fetch_all(writer.connection())
            .await
            .unwrap();
        let has = |wanted: &str| options.iter().any(|option| option == wanted);
        let built = [has("ENABLE_MEMORY_MANAGEMENT"), has("DEFAULT_MEMSTATUS=0")];
        assert_eq!(built, [false, true], "see .cargo/config.toml: {options:?}");
    }

    #[tokio::test]
    async fn a_reader_that_holds_an_old_state_delays_nobody_and_what_grew_meanwhile_shrinks_again()
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        writer
            .identity([1; 16], Timestamp::default())
            .await
            .unwrap();
        let readers = Readers::open(&path).await.unwrap();
        let mut reader = readers.pool().acquire().await.unwrap();
        let mut snapshot = reader.begin().await.unwrap();
        let count = "SELECT count(*) FROM budget";
        let before: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *snapshot)
            .await
            .unwrap();
        let kept: u64 = WAL_KEPT.parse().unwrap();
        let size = || {
            std::fs::metadata(folder.path().join("log.db-wal"))
                .unwrap()
                .len()
        };
        let mut written = 0;
        while size() <= kept {
            written += 1;
            write_a_megabyte(&mut writer, written);
            writer.checkpoint().unwrap();
        }
        assert!(writer.checkpoint().unwrap() > 0, "the reader is in the way");
        let after: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *snapshot)
            .await
            .unwrap();
        assert_eq!(before, after, "it reads what it read before");
        snapshot.commit().await.unwrap();
        assert_eq!(writer.checkpoint().unwrap(), 0);
        // The next to write begins anew at the front.
        write_a_megabyte(&mut writer, 0);
        assert!(size() <= kept, "{}", size());
    }

    fn write_a_megabyte(writer: &mut Writer, id: i64) {
        let add = "INSERT INTO budget (id, key) VALUES (?, ?)";
        let key = format!("{id}{}", "x".repeat(1_000_000));
        writer
            .transact(|tx| tx.execute(add, params![id, key]))
            .unwrap();
    }

    #[tokio::test]
    async fn a_file_that_was_removed_is_missed_and_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        assert!(writer.ensure_in_place().is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(writer.ensure_in_place(), Err(DbError::NotOurs(_))));
        assert!(writer.reopen().await.is_err());
        assert!(!path.exists());
    }
}
