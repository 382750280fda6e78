//! The table of events: appended to by the writer, never changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::db::{DbError, LogId, WriteTx, params};
use crate::types::{AgentName, CallId, ServerName, Timestamp, hex};

use super::folds::{Folds, Repeats};
use super::row::EventRow;
use super::seen::{Opened, Told};
use super::{Body, Entry, Head, Kind, Texts, bodies, texts};

/// Names the log numbers. Whatever comes beyond stands only in an event's text, so that an agent that makes
/// names up cannot fill the memory.
const MAX_NAMES: usize = 50_000;

const NEW_NAME: &str = "INSERT INTO name (id, text) VALUES (?, ?)";
const NEW_EVENT: &str = "INSERT INTO event
    (seq, at_us, kind, call_id, agent_id, server_id, tool_id, reason, meta, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The events that `event_of_gateway` finds; written as in that index, or SQLite would not use it.
pub(super) const OF_GATEWAY: &str = "(kind = 'started' OR kind = 'stopped' OR kind = 'accepted' OR kind = 'checkpoint' OR kind = 'clock' OR
    kind = 'refunded' OR kind = 'repaired' OR kind = 'unfrozen')";

const REPEAT: &str =
    "INSERT INTO repeat (id, refusal, times, first_us, last_us) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        refusal = excluded.refusal, times = excluded.times, last_us = excluded.last_us";
const NOTED_REPEAT: &str = "DELETE FROM repeat WHERE id = ?";

/// An event with its place in the chain.
#[derive(Debug, Clone)]
pub struct Chained {
    seq: i64,
    at: Timestamp,
    kind: Kind,
    call: Option<CallId>,
    agent: Option<i64>,
    server: Option<i64>,
    tool: Option<i64>,
    reason: Option<Cow<'static, str>>,
    meta: String,
    hash: [u8; 32],
    body: Option<Arc<Body>>,
    texts: Option<Box<Texts>>,
    told: Told,
}

/// The numbers that stand for names in the log.
#[derive(Debug, Default)]
pub struct Names {
    ids: HashMap<String, i64>,
    last: i64,
    fresh: Vec<(i64, String)>,
}

impl Names {
    /// The numbers up to one of them, as they stand in the table.
    pub(super) fn up_to<'a>(table: impl Iterator<Item = (i64, &'a str)>, last: i64) -> Self {
        let known = table.filter(|(id, _)| *id <= last);
        Self {
            ids: known.map(|(id, text)| (text.to_owned(), id)).collect(),
            last,
            fresh: Vec::new(),
        }
    }

    /// How many numbers were given.
    pub(super) fn count(&self) -> i64 {
        self.last
    }

    fn known(&self, text: &str) -> Option<i64> {
        self.ids.get(text).copied()
    }

    fn number(&mut self, text: &str) -> Option<i64> {
        if let Some(id) = self.known(text) {
            return Some(id);
        }
        if self.ids.len() >= MAX_NAMES {
            return None;
        }
        self.last = self.last.saturating_add(1);
        self.ids.insert(text.into(), self.last);
        self.fresh.push((self.last, text.into()));
        Some(self.last)
    }

    /// The numbers of an event's agent, server and tool. Tool names of refused calls are the agent's own
    /// invention; they get a number only if they have one.
    ///
    /// INVARIANT: decided by the events so far and nothing else, so that a check of the log finds a name or a
    /// number that was changed or taken away.
    pub(super) fn of_event(
        &mut self,
        is_refusal: bool,
        [agent, server, tool]: [Option<&str>; 3],
    ) -> [Option<i64>; 3] {
        [
            agent.and_then(|agent| self.number(agent)),
            server.and_then(|server| self.number(server)),
            tool.and_then(|tool| {
                if is_refusal {
                    self.known(tool)
                } else {
                    self.number(tool)
                }
            }),
        ]
    }
}

impl Chained {
    /// Gives an event its sequence and its hash, and moves the head.
    pub fn after(
        head: &mut Head,
        log: LogId,
        names: &mut Names,
        entry: &Entry,
        at: Timestamp,
    ) -> Self {
        let meta = entry.to_meta(at);
        *head = head.next(log, &meta);
        let agent = entry.agent.as_ref().map(AgentName::as_str);
        let server = entry.server.as_ref().map(ServerName::as_str);
        let [agent, server, tool] = names.of_event(
            entry.kind == Kind::Denied,
            [agent, server, entry.tool.as_deref()],
        );
        Self {
            seq: head.seq,
            at,
            kind: entry.kind,
            call: entry.call,
            agent,
            server,
            tool,
            reason: entry.reason.clone(),
            meta,
            hash: head.hash,
            body: entry.body.clone(),
            texts: entry.texts.clone(),
            told: Told::of(entry),
        }
    }

    /// Its sequence.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// As it stands in the file.
    pub(super) fn row(&self) -> EventRow<'_> {
        EventRow {
            seq: self.seq,
            at_us: self.at.micros(),
            ids: [self.agent, self.server, self.tool],
            call: self.call,
            kind: self.kind.as_str(),
            reason: self.reason.as_deref(),
            meta: &self.meta,
            hash: self.hash,
            told: Some(&self.told),
        }
    }
}

/// Adds events, in order.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn append(tx: &mut WriteTx<'_>, names: &mut Names, events: &[Chained]) -> Result<(), DbError> {
    let fresh = std::mem::take(&mut names.fresh);
    tx.each(NEW_NAME, &fresh, |add, (id, text)| {
        add.change(params![id, text])
    })?;
    tx.each(NEW_EVENT, events, |add, event| {
        let call = event.call.as_ref().map(|call| call.as_bytes().as_slice());
        add.change(params![
            event.seq,
            event.at.micros(),
            event.kind.as_str(),
            call,
            event.agent,
            event.server,
            event.tool,
            event.reason.as_deref(),
            event.meta,
            event.hash,
        ])
    })?;
    let bodies = events
        .iter()
        .filter_map(|event| Some((event.seq, event.body.as_deref()?)));
    bodies::add(tx, bodies)?;
    let kept = events
        .iter()
        .filter_map(|event| Some((event.seq, event.texts.as_deref()?)));
    texts::add(tx, kept)
}

/// Reads the end of the chain, and the time of the last event: time in the log never goes back.
///
/// # Errors
/// When SQLite refuses or the row cannot be understood.
pub async fn load_head(
    connection: &mut SqliteConnection,
    log: LogId,
) -> Result<(Head, Timestamp), DbError> {
    let last = "SELECT seq, hash, at_us FROM event ORDER BY seq DESC LIMIT 1";
    let last: Option<(i64, Vec<u8>, i64)> = sqlx::query_as(last).fetch_optional(connection).await?;
    let Some((seq, hash, at)) = last else {
        return Ok((Head::empty(log), Timestamp::from_micros(i64::MIN)));
    };
    let hash =
        <[u8; 32]>::try_from(hash.as_slice()).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok((Head { seq, hash }, Timestamp::from_micros(at)))
}

/// Whether the log still holds an event that was written. If not, it was replaced or put back.
///
/// # Errors
/// When SQLite refuses.
pub async fn contains(connection: &mut SqliteConnection, head: &Head) -> Result<bool, DbError> {
    if head.seq == 0 {
        return Ok(true);
    }
    let hash: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM event WHERE seq = $1")
        .bind(head.seq)
        .fetch_optional(connection)
        .await?;
    Ok(hash.is_some_and(|hash| hash == head.hash))
}

/// See [`super::row`] for what is made of it. Nothing here is NULL, or the event would be left out and missed.
const PIECE: &str = "SELECT max(seq), group_concat(concat(
        seq, ',', at_us, ',', agent_id, ',', server_id, ',', tool_id, ',', hex(call_id), ',', hex(hash), ',',
        typeof(meta) = 'text' AND typeof(hash) = 'blob', ',',
        octet_length(kind), ',', octet_length(reason), ',', octet_length(meta), ',', kind, reason, meta), '')
    FROM (SELECT * FROM event WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3)";

/// Reads events in one piece, with the sequence of the last of them: those after one event, up to another, at most
/// so many. `None` when there are none.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn load_piece(
    connection: &mut SqliteConnection,
    after: i64,
    until: i64,
    at_most: i64,
) -> Result<Option<(i64, Vec<u8>)>, DbError> {
    let (last, events): (Option<i64>, Option<Vec<u8>>) = sqlx::query_as(PIECE)
        .bind(after)
        .bind(until)
        .bind(at_most)
        .fetch_one(connection)
        .await?;
    Ok(last.zip(events))
}

type OpeningColumns = (Vec<u8>, i64, Option<i64>, Option<i64>, Option<i64>);

/// Finds the events that opened some calls.
///
/// # Errors
/// When SQLite refuses.
pub(super) async fn load_openings(
    connection: &mut SqliteConnection,
    calls: &[CallId],
) -> Result<Vec<(CallId, Opened)>, DbError> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let calls = calls.iter().map(|call| hex(call.as_bytes()));
    let calls = serde_json::Value::from_iter(calls).to_string();
    // The comparison is written as in the index `event_of_call`, or SQLite would not use it whole.
    let text = "SELECT call_id, seq, agent_id, server_id, tool_id FROM event
        WHERE call_id IN (SELECT unhex(value) FROM json_each($1)) AND (kind IN ('admitted', 'denied')) = 1";
    let rows: Vec<OpeningColumns> = sqlx::query_as(text)
        .bind(calls)
        .fetch_all(connection)
        .await?;
    let found = rows
        .into_iter()
        .filter_map(|(call, seq, agent, server, tool)| {
            let ids = [agent, server, tool];
            Some((CallId::from_slice(&call)?, Opened { seq, ids }))
        });
    Ok(found.collect())
}

/// Reads the names.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_names(connection: &mut SqliteConnection) -> Result<Names, DbError> {
    let rows: Vec<(i64, String)> = sqlx::query_as("SELECT id, text FROM name")
        .fetch_all(connection)
        .await?;
    let last = rows.iter().map(|(id, _)| *id).max().unwrap_or(0);
    Ok(Names {
        ids: rows.into_iter().map(|(id, text)| (text, id)).collect(),
        last,
        fresh: Vec::new(),
    })
}

/// Writes what changed in the counts of refusals.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn write_repeats(tx: &mut WriteTx<'_>, folds: &mut Folds) -> Result<(), DbError> {
    let changes = folds.take_changes();
    tx.each(REPEAT, &changes.counted, |write, (id, repeats)| {
        // Texts and lists of texts can always be written.
        let refusal = serde_json::to_string(&repeats.entry.to_stored()).unwrap_or_default();
        let times = i64::try_from(repeats.count).unwrap_or(i64::MAX);
        let (first, last) = (repeats.first.micros(), repeats.last.micros());
        write.change(params![id, refusal, times, first, last])
    })?;
    for id in &changes.gone {
        // A count that was taken in the batch that began it has no row yet.
        tx.execute(NOTED_REPEAT, [id])?;
    }
    Ok(())
}

/// Reads the counts of refusals that were not written down yet.
///
/// # Errors
/// When SQLite refuses or a row cannot be understood.
pub async fn load_repeats(connection: &mut SqliteConnection) -> Result<Folds, DbError> {
    let rows = "SELECT id, refusal, times, first_us, last_us FROM repeat";
    let rows: Vec<(i64, String, i64, i64, i64)> =
        sqlx::query_as(rows).fetch_all(connection).await?;
    let mut repeats = BTreeMap::new();
    for (id, refusal, times, first, last) in rows {
        let stored =
            serde_json::from_str(&refusal).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let read = Repeats {
            entry: Entry::from_stored(stored),
            count: u64::try_from(times).unwrap_or(0),
            first: Timestamp::from_micros(first),
            last: Timestamp::from_micros(last),
        };
        repeats.insert(id, read);
    }
    Ok(Folds::new(repeats))
}

/// Notes the last checkpoint: the sequence of its event, and when it was taken.
///
/// # Errors
/// When SQLite refuses; nothing of the transaction may be kept then.
pub fn write_checkpoint(tx: &mut WriteTx<'_>, (seq, at): (i64, Timestamp)) -> Result<(), DbError> {
    let note = "UPDATE gateway SET checkpoint_seq = ?, checkpoint_at_us = ? WHERE one = 1";
    tx.prepare(note)?.change(params![seq, at.micros()])
}

/// Reads what [`write_checkpoint`] noted; sequence 0 when there was none.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_checkpoint(
    connection: &mut SqliteConnection,
) -> Result<(i64, Timestamp), DbError> {
    let noted = "SELECT checkpoint_seq, checkpoint_at_us FROM gateway WHERE one = 1";
    let (seq, at): (i64, i64) = sqlx::query_as(noted).fetch_one(connection).await?;
    Ok((seq, Timestamp::from_micros(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::{Durability, open};

    #[tokio::test]
    async fn no_condition_of_the_table_fills_a_temporary_one_for_every_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let text = sqlx::AssertSqlSafe(format!("EXPLAIN {NEW_EVENT}"));
        let steps: Vec<(i64, String)> = sqlx::query_as(text)
            .fetch_all(writer.connection())
            .await
            .unwrap();
        assert!(steps.iter().any(|(_, step)| step == "IdxInsert"));
        assert!(steps.iter().all(|(_, step)| step != "OpenEphemeral"));
    }
}
