//! The one way to write: a transaction, run statement by statement or gathered into one go.

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, Either, Executor, Sqlite, SqliteConnection, Transaction};

use super::DbError;
use super::bulk::{Bulk, Values};

/// A deferred transaction that turns into a writer fails at once where an immediate one waits.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Ends a go unless the statement before it changed so many rows: what comes after it, the commit, is not run then.
const GUARD: &str = "SELECT 1 WHERE iif(changes() = ?, 0, json('not ' || changes()))";

/// A transaction that may write. Dropped without [`WriteTx::commit`], it leaves nothing behind.
///
/// SQLite runs in a thread of its own, and going there and back for every statement of a small transaction takes longer
/// than all of them. So a transaction can gather what its end runs in one go, begin and commit included.
#[derive(Debug)]
pub struct WriteTx<'a> {
    state: State<'a>,
    gathered: Gathered,
    /// Whether statements for many rows wait for the end.
    is_gathering: bool,
}

#[derive(Debug)]
enum State<'a> {
    /// SQLite knows nothing of it yet.
    Before(&'a mut SqliteConnection),
    Begun(Transaction<'a, Sqlite>),
    /// It could not be begun.
    Nowhere,
}

impl<'a> WriteTx<'a> {
    pub(super) async fn begin(connection: &'a mut SqliteConnection) -> Result<Self, DbError> {
        Ok(Self {
            state: State::Begun(connection.begin_with(BEGIN).await?),
            gathered: Gathered::default(),
            is_gathering: false,
        })
    }

    pub(super) fn gather(connection: &'a mut SqliteConnection) -> Self {
        Self {
            state: State::Before(connection),
            gathered: Gathered::default(),
            is_gathering: true,
        }
    }

    /// The connection, for statements of the room that owns the table. What was gathered is run before.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.state = match std::mem::replace(&mut self.state, State::Nowhere) {
            State::Before(connection) => State::Begun(connection.begin_with(BEGIN).await?),
            state @ (State::Begun(_) | State::Nowhere) => state,
        };
        let State::Begun(tx) = &mut self.state else {
            return Err(DbError::Sql(sqlx::Error::BeginFailed));
        };
        std::mem::take(&mut self.gathered).run(tx).await?;
        Ok(tx)
    }

    /// Runs a statement for some rows, or gathers it.
    pub(super) async fn add<T>(
        &mut self,
        bulk: &Bulk,
        rows: &[T],
        bind: impl Fn(Values, &T) -> Values,
    ) -> Result<(), DbError> {
        self.gathered.add(bulk, rows, bind);
        if !self.is_gathering {
            self.connection().await?;
        }
        Ok(())
    }

    /// Runs what was gathered, and what comes from here on at once.
    pub(super) async fn stop_gathering(&mut self) -> Result<(), DbError> {
        self.is_gathering = false;
        self.connection().await?;
        Ok(())
    }

    /// Makes everything since the begin durable.
    ///
    /// # Errors
    /// When SQLite refuses; nobody knows then whether it is written.
    pub async fn commit(mut self) -> Result<(), DbError> {
        if let State::Before(connection) = self.state {
            return self.gathered.run_whole(connection).await;
        }
        self.connection().await?;
        match self.state {
            State::Begun(tx) => Ok(tx.commit().await?),
            State::Before(_) | State::Nowhere => Err(DbError::Sql(sqlx::Error::BeginFailed)),
        }
    }
}

/// Statements that are to be run one after the other.
#[derive(Debug, Default)]
struct Gathered {
    text: String,
    values: Values,
    /// How many rows each must change; `None` of those that change none.
    expected: Vec<Option<u64>>,
}

impl Gathered {
    fn add<T>(&mut self, bulk: &Bulk, rows: &[T], bind: impl Fn(Values, &T) -> Values) {
        let statement = bulk.statement(rows.len());
        let number = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        self.values = bulk.bind(&statement, std::mem::take(&mut self.values), rows, bind);
        self.push(&statement.text, Some(number));
        // Rows that are not there to be removed change nothing and are no error to SQLite.
        if bulk.removes() {
            let number = i64::try_from(rows.len()).unwrap_or(i64::MAX);
            self.values = std::mem::take(&mut self.values).bind(number);
            self.push(GUARD, None);
        }
    }

    fn push(&mut self, text: &str, expected: Option<u64>) {
        self.text.push_str(text);
        self.text.push(';');
        self.expected.push(expected);
    }

    /// Runs all of them in the transaction that was begun.
    async fn run(self, db: &mut SqliteConnection) -> Result<(), DbError> {
        if self.expected.is_empty() {
            return Ok(());
        }
        let mut expected = self.expected.into_iter();
        // The text is put together from constants of this program alone.
        let query = sqlx::query_with(AssertSqlSafe(self.text), self.values.finish()?);
        let mut done = db.fetch_many(query);
        while let Some(done) = done.try_next().await? {
            let Either::Left(done) = done else { continue };
            if let Some(Some(expected)) = expected.next() {
                ensure_changed(done.rows_affected(), expected)?;
            }
        }
        Ok(())
    }

    /// Runs all of them as a transaction, if there are any.
    async fn run_whole(self, db: &mut SqliteConnection) -> Result<(), DbError> {
        if self.expected.is_empty() {
            return Ok(());
        }
        let mut whole = Self {
            values: self.values,
            ..Self::default()
        };
        whole.push(BEGIN, None);
        whole.text.push_str(&self.text);
        whole.expected.extend(self.expected);
        whole.push("COMMIT", None);
        let ran = whole.run(&mut *db).await;
        if ran.is_err() {
            // Where nothing is left to take back, SQLite says so, which is what is wanted.
            let _ = sqlx::query("ROLLBACK").execute(db).await;
        }
        ran
    }
}

fn ensure_changed(changed: u64, expected: u64) -> Result<(), DbError> {
    if changed == expected {
        Ok(())
    } else {
        Err(DbError::RowCount { expected, changed })
    }
}
