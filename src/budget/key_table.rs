//! The table of keys: written in the transaction of the events, looked up before a batch, swept between batches.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use crate::db::{DbError, WriteTx, params};
use crate::types::{AgentName, CallId, Timestamp};

use super::keys::{KeyId, Keys, Record, State, StoredResult};

/// Rows that one sweep takes away for each reason; the next one takes the rest.
const SWEPT: i64 = 1_000;

/// How many values a look-up asks for at once. Few sizes, so that few statements have to be remembered.
const SIZES: [usize; 3] = [64, 8, 1];

const PUT: &str = "INSERT INTO call_key
        (id, agent, given, arguments, call_id, state, outcome, result_seq, result_modern, kept_us, ends_us)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        agent = excluded.agent, given = excluded.given, arguments = excluded.arguments, call_id = excluded.call_id,
        state = excluded.state, outcome = excluded.outcome, result_seq = excluded.result_seq,
        result_modern = excluded.result_modern, kept_us = excluded.kept_us, ends_us = excluded.ends_us";
const GONE: &str = "DELETE FROM call_key WHERE id = ?";

const ROWS: &str = "SELECT id, agent, given, arguments, call_id, state, outcome, result_seq, result_modern, kept_us,
    ends_us FROM call_key";

/// A row as it stands.
struct Stored(KeyId, Record);

impl FromRow<'_, SqliteRow> for Stored {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let id = bytes(row.try_get("id")?)?;
        let call: Vec<u8> = row.try_get("call_id")?;
        let outcome: Option<String> = row.try_get("outcome")?;
        let outcome = outcome.unwrap_or_default().into();
        let state: String = row.try_get("state")?;
        let state = match state.as_str() {
            "running" => State::Running,
            "asked" => State::Asked,
            "done" => State::Done(outcome),
            "unknown" => State::Unknown(outcome),
            _ => return Err(unreadable("the state of a key")),
        };
        let event: Option<i64> = row.try_get("result_seq")?;
        let is_modern: Option<bool> = row.try_get("result_modern")?;
        let result = event.zip(is_modern);
        let record = Record {
            agent: agent(row.try_get("agent")?)?,
            is_given: row.try_get("given")?,
            arguments: bytes(row.try_get("arguments")?)?,
            call: CallId::from_slice(&call).ok_or_else(|| unreadable("a call id"))?,
            state,
            result: result.map(|(event, is_modern)| StoredResult { event, is_modern }),
            kept: Timestamp::from_micros(row.try_get("kept_us")?),
            ends: Timestamp::from_micros(row.try_get("ends_us")?),
        };
        Ok(Self(KeyId::from_bytes(id), record))
    }
}

/// Writes what changed in one batch.
///
/// # Errors
/// When SQLite refuses; nothing of the batch may be kept then.
pub fn write_keys(tx: &mut WriteTx<'_>, keys: &mut Keys) -> Result<(), DbError> {
    let (put, gone) = keys.take_changes();
    tx.each(GONE, &gone, |forget, id| forget.change([id.as_bytes()]))?;
    tx.each(PUT, &put, |write, (id, record)| {
        let (state, outcome) = match &record.state {
            State::Running => ("running", None),
            State::Asked => ("asked", None),
            State::Done(outcome) => ("done", Some(&**outcome)),
            State::Unknown(outcome) => ("unknown", Some(&**outcome)),
        };
        write.change(params![
            id.as_bytes(),
            record.agent.as_str(),
            record.is_given,
            record.arguments,
            record.call.as_bytes(),
            state,
            outcome,
            record.result.map(|result| result.event),
            record.result.map(|result| result.is_modern),
            record.kept.micros(),
            record.ends.micros(),
        ])
    })
}

/// Reads back the keys of open calls, and how many each agent has.
///
/// # Errors
/// When SQLite refuses or a row cannot be understood.
pub async fn load_keys(connection: &mut SqliteConnection) -> Result<Keys, DbError> {
    let open = AssertSqlSafe(format!("{ROWS} WHERE state = 'running'"));
    let open: Vec<Stored> = sqlx::query_as(open).fetch_all(&mut *connection).await?;
    let open = open.into_iter().map(|Stored(id, record)| (id, record));
    let counts = "SELECT agent, count(*) FROM call_key GROUP BY agent";
    let counts: Vec<(String, i64)> = sqlx::query_as(counts).fetch_all(connection).await?;
    let mut by_agent = HashMap::new();
    for (name, count) in counts {
        by_agent.insert(agent(name)?, u64::try_from(count).unwrap_or(0));
    }
    Ok(Keys::new(open.collect(), by_agent))
}

/// Looks up keys, and those of calls that wait for answers of their agents.
///
/// # Errors
/// When SQLite refuses or a row cannot be understood.
pub async fn look_up_keys(
    connection: &mut SqliteConnection,
    keys: &mut Keys,
    ids: &[KeyId],
    asked: &[CallId],
) -> Result<(), DbError> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let calls: Vec<&[u8]> = asked
        .iter()
        .map(|call| call.as_bytes().as_slice())
        .collect();
    let of_calls = "state = 'asked' AND call_id";
    let mut found = rows(connection, "id", &ids).await?;
    found.extend(rows(connection, of_calls, &calls).await?);
    for Stored(id, record) in found {
        keys.learn(id, record);
    }
    Ok(())
}

async fn rows(
    connection: &mut SqliteConnection,
    column: &str,
    values: &[&[u8]],
) -> Result<Vec<Stored>, DbError> {
    let mut found = Vec::new();
    let mut rest = values;
    for size in SIZES {
        while rest.len() >= size {
            let (piece, tail) = rest.split_at(size);
            let places = &",?".repeat(size)[1..];
            // The text is put together from constants of this program alone.
            let text = AssertSqlSafe(format!("{ROWS} WHERE {column} IN ({places})"));
            let statement = piece
                .iter()
                .fold(sqlx::query_as(text), |q, value| q.bind(*value));
            let more: Vec<Stored> = statement.fetch_all(&mut *connection).await?;
            found.extend(more);
            rest = tail;
        }
    }
    Ok(found)
}

/// Takes away keys whose time is over, and of agents that have too many those that need not be kept; says whether
/// there may be more.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn sweep_keys(tx: &mut WriteTx<'_>, keys: &mut Keys, at: Timestamp) -> Result<bool, DbError> {
    let over = "DELETE FROM call_key WHERE id IN (
        SELECT id FROM call_key WHERE ends_us <= ? AND state <> 'running' LIMIT ?) RETURNING agent";
    let mut gone = tx.prepare(over)?.texts([at.micros(), SWEPT])?;
    let mut is_more = is_full(gone.len());
    for crowded in keys.crowded() {
        let oldest = "DELETE FROM call_key WHERE id IN (
            SELECT id FROM call_key WHERE agent = ? AND kept_us <= ? AND state <> 'running'
            ORDER BY kept_us LIMIT ?) RETURNING agent";
        let values = params![crowded.as_str(), at.micros(), SWEPT];
        let older = tx.prepare(oldest)?.texts(values)?;
        is_more = is_more || is_full(older.len());
        gone.extend(older);
    }
    let gone: Result<Vec<AgentName>, sqlx::Error> = gone.into_iter().map(agent).collect();
    keys.swept(gone?);
    Ok(is_more)
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= SWEPT)
}

fn agent(name: String) -> Result<AgentName, sqlx::Error> {
    name.parse().map_err(|_| unreadable("the name of an agent"))
}

fn bytes(stored: Vec<u8>) -> Result<[u8; 32], sqlx::Error> {
    <[u8; 32]>::try_from(stored.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn unreadable(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} cannot be read").into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::keys::{Claim, Claims, KeyEnding, Lasts, MAX_KEYS_OF_AGENT, Repeat};
    use super::*;
    use crate::db::{self, Durability, Writer};

    const NOW: Timestamp = Timestamp::from_micros(1_795_176_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    async fn database() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.db");
        let database = db::open(&file, Durability::Process).await.unwrap();
        (folder, database)
    }

    /// A call with a key that is called so.
    fn claims(key: u8) -> Claims {
        let (id, lasts) = (KeyId::from_bytes([key; 32]), Lasts::Kept);
        Claims {
            agent: "clawd".parse().unwrap(),
            arguments: [7; 32],
            continues: None,
            keys: vec![Claim { id, lasts }],
        }
    }

    fn call(number: u8) -> CallId {
        CallId::new(NOW, [number; 10])
    }

    /// The kind of repeat a call is for somebody who reads the file anew.
    async fn found(database: &mut Writer, claims: &Claims, at: Timestamp) -> Option<Repeat> {
        let db = database.connection();
        let mut keys = load_keys(db).await.unwrap();
        let ids: Vec<KeyId> = keys.unknown(claims).collect();
        look_up_keys(db, &mut keys, &ids, &[]).await.unwrap();
        keys.find_repeat(claims, at).map(|found| found.repeat)
    }

    fn write(database: &mut Writer, keys: &mut Keys) {
        database.transact(|tx| write_keys(tx, keys)).unwrap();
        keys.forget_closed();
    }

    #[tokio::test]
    async fn what_was_written_is_read_back_and_looked_up() {
        let (_folder, mut database) = database().await;
        let mut keys = Keys::default();
        let endings = [
            (1, None, Some(Repeat::Running)),
            (2, Some(KeyEnding::Free), None),
            (3, Some(KeyEnding::Asked), Some(Repeat::Asked)),
            (
                4,
                Some(KeyEnding::Done("ok".into())),
                Some(Repeat::Done("ok".into())),
            ),
            (
                5,
                Some(KeyEnding::Unknown("broken".into())),
                Some(Repeat::Unknown("broken".into())),
            ),
        ];
        for (number, _, _) in &endings {
            keys.take(&claims(*number), call(*number), NOW, NOW);
        }
        write(&mut database, &mut keys);
        for (number, ending, _) in &endings {
            if let Some(ending) = ending {
                keys.close(call(*number), ending);
            }
        }
        write(&mut database, &mut keys);
        for (number, _, expected) in endings {
            assert_eq!(found(&mut database, &claims(number), NOW).await, expected);
        }
        // The next round of a call finds its keys by the call.
        let db = database.connection();
        let mut keys = load_keys(db).await.unwrap();
        let asked = [call(3), call(4)];
        look_up_keys(db, &mut keys, &[], &asked).await.unwrap();
        assert_eq!(keys.unknown(&claims(3)).count(), 0);
        assert_eq!(keys.unknown(&claims(4)).count(), 1);
    }

    #[tokio::test]
    async fn as_many_are_looked_up_as_there_are() {
        let (_folder, mut database) = database().await;
        let mut keys = Keys::default();
        for number in 0..150 {
            keys.take(&claims(number), call(number), NOW, NOW);
            keys.close(call(number), &KeyEnding::Done("ok".into()));
        }
        write(&mut database, &mut keys);
        let mut all = claims(0);
        all.keys = (0..200).flat_map(|number| claims(number).keys).collect();
        let ids: Vec<KeyId> = keys.unknown(&all).collect();
        assert_eq!(ids.len(), 200);
        let db = database.connection();
        look_up_keys(db, &mut keys, &ids, &[]).await.unwrap();
        assert_eq!(keys.unknown(&all).count(), 50);
    }

    #[tokio::test]
    async fn an_agent_that_has_too_many_loses_the_oldest_but_none_of_the_last_day() {
        let (_folder, mut database) = database().await;
        // Half of them are a day old; all are charged in a window that never ends.
        let rows = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_KEYS_OF_AGENT})
            INSERT INTO call_key (id, agent, given, arguments, call_id, state, outcome, kept_us, ends_us)
            SELECT unhex(printf('%064x', i + 256)), 'clawd', 1, zeroblob(32), zeroblob(16), 'done', 'ok',
                CASE WHEN i % 2 THEN {} ELSE {} END, {} FROM n",
            NOW.micros() + i64::try_from(MAX_KEYS_OF_AGENT).unwrap(),
            NOW.after(DAY).micros(),
            i64::MAX,
        );
        database.transact(|tx| tx.execute(&rows, ())).unwrap();
        let new = claims(1);
        assert_eq!(found(&mut database, &new, NOW).await, Some(Repeat::TooMany));

        let mut keys = load_keys(database.connection()).await.unwrap();
        let mut sweep = |keys: &mut Keys, at| {
            let swept = database.transact(|tx| sweep_keys(tx, keys, at));
            swept.unwrap()
        };
        assert!(!sweep(&mut keys, NOW));
        assert_eq!(
            keys.find_repeat(&new, NOW).map(|it| it.repeat),
            Some(Repeat::TooMany)
        );
        let later = NOW.after(Duration::from_secs(1));
        assert!(sweep(&mut keys, later));
        assert_eq!(keys.find_repeat(&new, later), None);
        assert!(!sweep(&mut keys, later));
        let left = "SELECT count(*) FROM call_key WHERE kept_us = $1";
        let left: u64 = sqlx::query_scalar(left)
            .bind(NOW.after(DAY).micros())
            .fetch_one(database.connection())
            .await
            .unwrap();
        assert_eq!(left, MAX_KEYS_OF_AGENT / 2);
    }
}
