//! What a report of some time is made from beside sums: the events of the gateway itself, by sequence numbers.
//!
//! Everything here reads from one event to another and never beyond, so that what was said of a time stays as it was
//! when more events come.

use serde::Deserialize;
use sqlx::{Connection, SqliteConnection};

use super::{Extent, at_of, extent, first_since};
use crate::audit::Kind;
use crate::audit::log::OF_GATEWAY;
use crate::db::DbError;
use crate::types::{Timestamp, hex};

/// Rows of one kind that are read at most.
const MAX_ROWS: i64 = 2_000;

/// Reads several things in one state of the file, whatever is written meanwhile.
///
/// # Errors
/// When SQLite refuses, and as `read`.
pub async fn snapshot<T, E: From<DbError>>(
    db: &mut SqliteConnection,
    read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E> {
    let mut state = db.begin().await.map_err(DbError::from)?;
    let found = read(&mut state).await?;
    state.rollback().await.map_err(DbError::from)?;
    Ok(found)
}

/// When the oldest and the newest event that are kept were written; `None` while the log is empty.
///
/// # Errors
/// When SQLite refuses.
pub async fn ends(db: &mut SqliteConnection) -> Result<Option<(Timestamp, Timestamp)>, DbError> {
    let Some(extent) = extent(db).await? else {
        return Ok(None);
    };
    let first = at_of(db, extent.first).await?;
    Ok(first.zip(at_of(db, extent.last).await?))
}

/// The events from one instant up to, not including, another; `None` when there are none.
///
/// # Errors
/// When SQLite refuses.
pub async fn extent_between(
    db: &mut SqliteConnection,
    (from, to): (Timestamp, Timestamp),
) -> Result<Option<Extent>, DbError> {
    let Some(all) = extent(db).await? else {
        return Ok(None);
    };
    let first = first_since(db, all, from).await?;
    let last = first_since(db, all, to).await?.saturating_sub(1);
    Ok((first <= last).then_some(Extent { first, last }))
}

/// What the gateway noted about itself, or an operator did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The sequence of the event.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// `started`, `stopped`, `accepted`, `clock`, `refunded`, `repaired` or `unfrozen`.
    pub kind: Kind,
    /// When the event before it was written that is not of the writer's own housekeeping.
    pub before: Option<Timestamp>,
    /// Whether this start was only for the order of an operator: nobody could call.
    pub is_for_order: bool,
    /// What is said of the clock: `suspect`, `agrees`, `accepted`.
    pub clock: Option<String>,
    /// Why an operator did it.
    pub why: Option<String>,
}

type NoteRow = (
    i64,
    i64,
    String,
    Option<i64>,
    bool,
    Option<String>,
    Option<String>,
);

/// The notes of the gateway about itself, the oldest first; at most 2,000.
///
/// # Errors
/// When SQLite refuses.
pub async fn notes_in(db: &mut SqliteConnection, extent: Extent) -> Result<Vec<Note>, DbError> {
    notes(db, extent, "ASC", MAX_ROWS).await
}

/// The last `started` or `stopped` before an event, as far as one is kept.
///
/// # Errors
/// When SQLite refuses.
pub async fn known_at(db: &mut SqliteConnection, seq: i64) -> Result<Option<Known>, DbError> {
    // Each of the two by the index that has its kind; the one of both would be passed checkpoint after checkpoint.
    let text = "SELECT kind, meta -> '$.for' IS NOT NULL FROM event WHERE seq = max(
            coalesce((SELECT max(seq) FROM event WHERE kind = 'started' AND seq < $1), 0),
            coalesce((SELECT max(seq) FROM event WHERE kind = 'stopped' AND seq < $1), 0))";
    let query = sqlx::query_as::<_, (String, bool)>(text).bind(seq);
    let found = query.fetch_optional(db).await?;
    Ok(found.map(|(kind, is_for_order)| {
        if kind == Kind::Started.as_str() && !is_for_order {
            Known::Running
        } else {
            Known::Stopped
        }
    }))
}

/// Whether calls could come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The gateway ran.
    Running,
    /// It did not.
    Stopped,
}

async fn notes(
    db: &mut SqliteConnection,
    extent: Extent,
    order: &'static str,
    limit: i64,
) -> Result<Vec<Note>, DbError> {
    let text = format!(
        "SELECT seq, at_us, kind,
            (SELECT at_us FROM event AS b WHERE b.seq < event.seq
                AND b.kind NOT IN ('checkpoint', 'exported', 'clock') ORDER BY b.seq DESC LIMIT 1),
            meta -> '$.for' IS NOT NULL, meta ->> '$.clock', meta ->> '$.why'
        FROM event WHERE {OF_GATEWAY} AND kind <> 'checkpoint' AND seq BETWEEN $1 AND $2
        ORDER BY seq {order} LIMIT $3"
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as::<_, NoteRow>(sqlx::AssertSqlSafe(text));
    let query = query.bind(extent.first).bind(extent.last).bind(limit);
    let rows = query.fetch_all(db).await?.into_iter();
    let notes = rows.filter_map(|(seq, at_us, kind, before, is_for_order, clock, why)| {
        Some(Note {
            seq,
            at: Timestamp::from_micros(at_us),
            kind: kind.parse().ok()?,
            before: before.map(Timestamp::from_micros),
            is_for_order,
            clock,
            why,
        })
    });
    Ok(notes.collect())
}

/// A revision of the rules that came into force; starts of a gateway with the same file are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// The sequence of the event.
    pub seq: i64,
    /// Since when.
    pub at: Timestamp,
    /// The revision, 64 hexadecimal digits.
    pub revision: String,
    /// The git commit the file was taken from, as far as it was known.
    pub commit: Option<String>,
}

/// Which rules came into force between two events, the oldest first, and before them the one that was in force then;
/// at most 2,000 events.
///
/// # Errors
/// When SQLite refuses.
pub async fn rules_in(
    db: &mut SqliteConnection,
    extent: Extent,
) -> Result<(Option<Taking>, Vec<Taking>), DbError> {
    let before = "SELECT seq, at_us, coalesce(meta ->> '$.policy', ''), meta ->> '$.commit'
        FROM event WHERE kind = 'policy' AND seq < $1 ORDER BY seq DESC LIMIT 1";
    let within = "SELECT seq, at_us, coalesce(meta ->> '$.policy', ''), meta ->> '$.commit'
        FROM event WHERE kind = 'policy' AND seq BETWEEN $1 AND $2 ORDER BY seq LIMIT $3";
    type Row = (i64, i64, String, Option<String>);
    let taking = |(seq, at_us, revision, commit): Row| Taking {
        seq,
        at: Timestamp::from_micros(at_us),
        revision,
        commit,
    };
    let before: Option<Row> = sqlx::query_as(before)
        .bind(extent.first)
        .fetch_optional(&mut *db)
        .await?;
    let before = before.map(taking);
    let rows: Vec<Row> = sqlx::query_as(within)
        .bind(extent.first)
        .bind(extent.last)
        .bind(MAX_ROWS)
        .fetch_all(db)
        .await?;
    let mut changes: Vec<Taking> = Vec::new();
    for row in rows.into_iter().map(taking) {
        let last = changes.last().or(before.as_ref());
        let is_same =
            last.is_some_and(|last| (&last.revision, &last.commit) == (&row.revision, &row.commit));
        if !is_same {
            changes.push(row);
        }
    }
    Ok((before, changes))
}

/// A definition of a tool that was new, or another one than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defining {
    /// When it was seen.
    pub at: Timestamp,
    /// Whose tool it is.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// What it was before, 64 hexadecimal digits; nothing for one that is new.
    pub was: Option<String>,
    /// What it is, the same.
    pub hash: String,
}

#[derive(Deserialize)]
struct Tools {
    server: String,
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    hash: String,
    was: Option<String>,
}

/// Definitions of tools that were seen between two events for the first time, the oldest first; at most 2,000 events.
///
/// # Errors
/// When SQLite refuses.
pub async fn definitions_in(
    db: &mut SqliteConnection,
    extent: Extent,
) -> Result<Vec<Defining>, DbError> {
    let text = "SELECT at_us, meta FROM event WHERE kind = 'tools' AND seq BETWEEN $1 AND $2 ORDER BY seq LIMIT $3";
    let rows: Vec<(i64, String)> = sqlx::query_as(text)
        .bind(extent.first)
        .bind(extent.last)
        .bind(MAX_ROWS)
        .fetch_all(db)
        .await?;
    let mut found = Vec::new();
    for (at_us, meta) in rows {
        let Ok(seen) = serde_json::from_str::<Tools>(&meta) else {
            continue;
        };
        found.extend(seen.tools.into_iter().map(|tool| Defining {
            at: Timestamp::from_micros(at_us),
            server: seen.server.clone(),
            tool: tool.name,
            was: tool.was,
            hash: tool.hash,
        }));
    }
    Ok(found)
}

/// How often somebody did something with the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Who; nobody knows of a token that was refused, and where the dashboard is open to everybody.
    pub viewer: Option<String>,
    /// What was done, in the word of the events.
    pub what: String,
    /// How often.
    pub times: i64,
    /// For the last time.
    pub last: Timestamp,
}

/// Who did what with the dashboard between two events, by name.
///
/// # Errors
/// When SQLite refuses.
pub async fn looks_in(db: &mut SqliteConnection, extent: Extent) -> Result<Vec<Looked>, DbError> {
    let text = "SELECT meta ->> '$.viewer', coalesce(meta ->> '$.what', ''), count(*), max(at_us) FROM event
        WHERE kind = 'accessed' AND seq BETWEEN $1 AND $2 GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $3";
    let rows: Vec<(Option<String>, String, i64, i64)> = sqlx::query_as(text)
        .bind(extent.first)
        .bind(extent.last)
        .bind(MAX_ROWS)
        .fetch_all(db)
        .await?;
    let rows = rows.into_iter();
    let looked = rows.map(|(viewer, what, times, last_us)| Looked {
        viewer,
        what,
        times,
        last: Timestamp::from_micros(last_us),
    });
    Ok(looked.collect())
}

/// How often bodies of calls were deleted, and how often events were let go, between two events.
///
/// # Errors
/// When SQLite refuses.
pub async fn deletions_in(
    db: &mut SqliteConnection,
    extent: Extent,
) -> Result<(i64, i64), DbError> {
    let text =
        "SELECT count(*) FILTER (WHERE kind = 'redacted'), count(*) FILTER (WHERE kind = 'pruned')
        FROM event WHERE (kind = 'redacted' OR kind = 'pruned') AND seq BETWEEN $1 AND $2";
    Ok(sqlx::query_as(text)
        .bind(extent.first)
        .bind(extent.last)
        .fetch_one(db)
        .await?)
}

/// What the log was at some event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The id of the log, 32 hexadecimal digits.
    pub log: String,
    /// When the event was written.
    pub at: Timestamp,
    /// Its hash, 64 hexadecimal digits: what everything before it is chained to.
    pub hash: String,
    /// The last event up to it with which a checkpoint was taken, and when.
    pub checkpoint: Option<(i64, Timestamp)>,
    /// The key that signed that checkpoint, 64 hexadecimal digits.
    pub key: Option<String>,
}

/// What everything up to an event is chained to; `None` when there is no such event.
///
/// # Errors
/// When SQLite refuses.
pub async fn sealed_at(db: &mut SqliteConnection, seq: i64) -> Result<Option<Sealed>, DbError> {
    let text =
        "SELECT (SELECT log_id FROM gateway), at_us, lower(hex(hash)) FROM event WHERE seq = $1";
    let found: Option<(Option<Vec<u8>>, i64, String)> = sqlx::query_as(text)
        .bind(seq)
        .fetch_optional(&mut *db)
        .await?;
    let Some((log, at_us, hash)) = found else {
        return Ok(None);
    };
    let text = format!(
        "SELECT seq, at_us, meta ->> '$.key' FROM event WHERE {OF_GATEWAY}
            AND kind IN ('started', 'stopped', 'checkpoint') AND meta -> '$.head' IS NOT NULL AND seq <= $1
        ORDER BY seq DESC LIMIT 1"
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query_as::<_, (i64, i64, Option<String>)>(sqlx::AssertSqlSafe(text));
    let taken = query.bind(seq).fetch_optional(db).await?;
    let checkpoint = taken
        .as_ref()
        .map(|(seq, at_us, _)| (*seq, Timestamp::from_micros(*at_us)));
    Ok(Some(Sealed {
        log: log.map(|id| hex(&id)).unwrap_or_default(),
        at: Timestamp::from_micros(at_us),
        hash,
        checkpoint,
        key: taken.and_then(|(_, _, key)| key),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Accessed, Chained, Deed, Entry, Head, Names, append};
    use crate::db::{Durability, LogId, open};

    #[tokio::test]
    async fn a_time_is_told_from_its_own_events_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let log = LogId([7; 16]);
        writer.identity(log.0, Timestamp::default()).await.unwrap();
        let (mut head, mut names) = (Head::empty(log), Names::default());
        let policy = |text: &str| Entry::new(Kind::Policy).text("policy", text);
        let entries = [
            policy("a"),
            Entry::new(Kind::Started),
            policy("a"),
            Entry::new(Kind::Clock).text("clock", "suspect"),
            policy("b"),
            Accessed::new(Deed::RefusedLogin).to_entry(),
            Entry::new(Kind::Stopped),
            policy("c"),
        ];
        let mut events = Vec::new();
        for (second, entry) in (0..).zip(&entries) {
            let at = Timestamp::from_micros(second);
            events.push(Chained::after(&mut head, log, &mut names, entry, at));
        }
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let db = writer.connection();
        let span = (Timestamp::from_micros(1), Timestamp::from_micros(7));
        let extent = extent_between(db, span).await.unwrap().unwrap();
        assert_eq!(extent, Extent { first: 2, last: 7 });
        let told = notes_in(db, extent).await.unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|note| (note.seq, note.kind, note.before))
            .collect();
        let at = |micros| Some(Timestamp::from_micros(micros));
        assert_eq!(
            told,
            [
                (2, Kind::Started, at(0)),
                (4, Kind::Clock, at(2)),
                (7, Kind::Stopped, at(5))
            ]
        );
        assert_eq!(known_at(db, 2).await.unwrap(), None);
        assert_eq!(known_at(db, 7).await.unwrap(), Some(Known::Running));
        assert_eq!(known_at(db, 8).await.unwrap(), Some(Known::Stopped));
        let (before, changes) = rules_in(db, extent).await.unwrap();
        assert_eq!(before.unwrap().revision, "a");
        let changes: Vec<_> = changes.iter().map(|taking| &*taking.revision).collect();
        assert_eq!(changes, ["b"]);
        let looked = looks_in(db, extent).await.unwrap();
        assert_eq!((looked[0].times, looked[0].viewer.as_deref()), (1, None));
        let sealed = sealed_at(db, 7).await.unwrap().unwrap();
        assert_eq!((sealed.log, sealed.checkpoint), ("07".repeat(16), None));
        assert_eq!(ends(db).await.unwrap(), at(0).zip(at(7)));
        let plan = sqlx::AssertSqlSafe(format!(
            "EXPLAIN QUERY PLAN SELECT seq FROM event WHERE {OF_GATEWAY} AND kind <> 'checkpoint' AND seq BETWEEN 1 AND 9"
        ));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan).fetch_all(db).await.unwrap();
        let by_index =
            |(_, _, _, step): &(i64, i64, i64, String)| step.contains("event_of_gateway");
        assert!(plan.iter().any(by_index), "{plan:?}");
    }
}
