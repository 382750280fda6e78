//! What can be said of the log as a whole: where it begins and ends, what vouches for it, and when nobody wrote it.

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::audit::{Kind, load_checkpoint};
use crate::db::{DbError, LogId, read_identity};
use crate::types::Timestamp;

use super::rare::rare_events;
use super::{Extent, Newest, at_of, extent, newest};

/// What can be said of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Which log it is.
    pub log: LogId,
    /// Which events there are; `None` while it is empty.
    pub extent: Option<Extent>,
    /// When the oldest of them was written.
    pub first_at: Option<Timestamp>,
    /// The newest event.
    pub newest: Option<Newest>,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpointed>,
    /// What was pruned from its beginning.
    pub cut: Option<Cut>,
}

/// A checkpoint in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpointed {
    /// The event that holds it.
    pub seq: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// The last event it covers.
    pub through: i64,
    /// The public key it is signed with, 64 hexadecimal digits.
    pub key: Option<String>,
}

/// Where the log begins since something was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The last event that went.
    pub last: i64,
    /// Everything before this instant went.
    pub until: Timestamp,
    /// The event that says so.
    pub event: i64,
}

/// A time in which no gateway wrote this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// The `started` event that ended it.
    pub seq: i64,
    /// The last thing that was written before.
    pub from: Timestamp,
    /// When a gateway came again.
    pub to: Timestamp,
    /// Whether the one before had stopped in good order.
    pub is_orderly: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    through: Option<i64>,
    key: Option<String>,
}

/// What can be said of the log; `None` when the file holds none.
///
/// # Errors
/// When SQLite refuses.
pub async fn trust(db: &mut SqliteConnection) -> Result<Option<Trust>, DbError> {
    let log = match read_identity(db).await {
        Ok(log) => log,
        Err(DbError::Sql(sqlx::Error::RowNotFound)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let extent = extent(db).await?;
    let first_at = match extent {
        Some(extent) => at_of(db, extent.first).await?,
        None => None,
    };
    Ok(Some(Trust {
        log,
        first_at,
        newest: newest(db).await?,
        checkpoint: checkpoint(db).await?,
        cut: cut(db).await?,
        extent,
    }))
}

async fn checkpoint(db: &mut SqliteConnection) -> Result<Option<Checkpointed>, DbError> {
    let (seq, at) = load_checkpoint(db).await?;
    let meta: Option<String> = sqlx::query_scalar("SELECT meta FROM event WHERE seq = $1")
        .bind(seq)
        .fetch_optional(db)
        .await?;
    let Some(meta) = meta else {
        return Ok(None);
    };
    let meta: Meta = serde_json::from_str(&meta).unwrap_or_default();
    Ok(meta.through.map(|through| Checkpointed {
        seq,
        at,
        through,
        key: meta.key,
    }))
}

/// The row alone, without what goes on from there: that can be large.
async fn cut(db: &mut SqliteConnection) -> Result<Option<Cut>, DbError> {
    let text = "SELECT last_seq, until_us, event_seq FROM pruned WHERE last_seq > 0";
    let row: Option<(i64, i64, i64)> = sqlx::query_as(text).fetch_optional(db).await?;
    Ok(row.map(|(last, until, event)| Cut {
        last,
        until: Timestamp::from_micros(until),
        event,
    }))
}

/// When no gateway wrote this log, newest first: before each of the last `at_most` starts but the very first one.
///
/// # Errors
/// When SQLite refuses.
pub async fn absences(db: &mut SqliteConnection, at_most: u32) -> Result<Vec<Absence>, DbError> {
    let starts = rare_events(db, &[Kind::Started], at_most).await?;
    let mut absences = Vec::new();
    for start in starts {
        let before = "SELECT at_us, kind FROM event WHERE seq = $1";
        let before: Option<(i64, String)> = sqlx::query_as(before)
            .bind(start.seq.saturating_sub(1))
            .fetch_optional(&mut *db)
            .await?;
        if let Some((at_us, kind)) = before {
            absences.push(Absence {
                seq: start.seq,
                from: Timestamp::from_micros(at_us),
                to: start.at,
                is_orderly: kind == Kind::Stopped.as_str(),
            });
        }
    }
    Ok(absences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{
        Chained, Checkpoint, Entry, Head, Names, SigningKey, append, write_checkpoint,
    };
    use crate::db::{Durability, open};
    use crate::types::hex;

    const LOG: LogId = LogId([7; 16]);

    #[tokio::test]
    async fn a_log_tells_its_ends_its_last_checkpoint_and_when_nobody_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        assert_eq!(trust(writer.connection()).await.unwrap(), None);
        writer.identity(LOG.0, Timestamp::default()).await.unwrap();
        let empty = trust(writer.connection()).await.unwrap().unwrap();
        assert_eq!((empty.extent, empty.checkpoint), (None, None));
        let (mut head, mut names) = (Head::empty(LOG), Names::default());
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let mut events = Vec::new();
        let kinds = [
            Kind::Started,
            Kind::Stopped,
            Kind::Started,
            Kind::Policy,
            Kind::Started,
            Kind::Checkpoint,
        ];
        for (second, kind) in (1..).zip(kinds) {
            let at = Timestamp::from_micros(second);
            let mut entry = Entry::new(kind);
            if kind == Kind::Checkpoint {
                entry = Checkpoint::take(LOG, head, at, Some(&key)).in_entry(entry);
            }
            events.push(Chained::after(&mut head, LOG, &mut names, &entry, at));
        }
        let at = Timestamp::from_micros(6);
        let written = writer.transact(|tx| {
            append(tx, &mut names, &events)?;
            write_checkpoint(tx, (6, at))
        });
        written.unwrap();
        let db = writer.connection();
        let told = trust(db).await.unwrap().unwrap();
        assert_eq!(told.extent, Some(Extent { first: 1, last: 6 }));
        assert_eq!(told.first_at, Some(Timestamp::from_micros(1)));
        assert_eq!(told.newest.map(|newest| newest.seq), Some(6));
        let through = 5;
        let key = Some(hex(&key.public().0));
        assert_eq!(
            told.checkpoint,
            Some(Checkpointed {
                seq: 6,
                at,
                through,
                key
            })
        );
        let absences = absences(db, 9).await.unwrap();
        let told: Vec<_> = absences
            .iter()
            .map(|gap| (gap.seq, gap.from.micros(), gap.to.micros(), gap.is_orderly))
            .collect();
        assert_eq!(told, [(5, 4, 5, false), (3, 2, 3, true)]);
    }
}
