//! What happened to the gateway and its log, and what operators did: events that are few among those of calls.

use serde_json::Value;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::audit::Kind;
use crate::db::DbError;
use crate::types::Timestamp;

/// The kinds that can be read so: an index has them.
pub const RARE: [Kind; 11] = [
    Kind::Started,
    Kind::Stopped,
    Kind::Accepted,
    Kind::Clock,
    Kind::Exported,
    Kind::Refunded,
    Kind::Repaired,
    Kind::Unfrozen,
    Kind::Seeded,
    Kind::Pruned,
    Kind::Redacted,
];

/// The most of one kind.
const MAX_ROWS: u32 = 1_000;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct RareEvent {
    /// Its sequence number.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// Its text, taken apart; `null` when it is none.
    pub meta: Value,
}

impl RareEvent {
    /// A text in it.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.meta.get(key)?.as_str()
    }

    /// A whole number in it.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.meta.get(key)?.as_i64()
    }
}

/// The newest events of some kinds of [`RARE`], newest first; others are passed over. `at_most` of each kind are read,
/// 1,000 at most.
///
/// # Errors
/// When SQLite refuses.
pub async fn rare_events(
    db: &mut SqliteConnection,
    kinds: &[Kind],
    at_most: u32,
) -> Result<Vec<RareEvent>, DbError> {
    let mut events = Vec::new();
    for kind in kinds.iter().filter(|kind| RARE.contains(kind)) {
        // The kind stands in the text, so that SQLite sees that the index has all of it
        // (sqlite.org/partialindex.html); it is a constant of this program.
        let rows: Vec<(i64, i64, String)> = sqlx::query_as(AssertSqlSafe(statement(*kind)))
            .bind(at_most.min(MAX_ROWS))
            .fetch_all(&mut *db)
            .await?;
        let rows = rows.into_iter();
        events.extend(rows.map(|(seq, at_us, meta)| RareEvent {
            seq,
            at: Timestamp::from_micros(at_us),
            kind: *kind,
            meta: serde_json::from_str(&meta).unwrap_or_default(),
        }));
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.seq));
    Ok(events)
}

fn statement(kind: Kind) -> String {
    format!(
        "SELECT seq, at_us, meta FROM event WHERE kind = '{}' ORDER BY seq DESC LIMIT $1",
        kind.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Chained, Entry, Head, Names, append};
    use crate::db::{Durability, LogId, open};

    #[tokio::test]
    async fn rare_events_come_newest_first_and_each_kind_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = open(&path, Durability::Process).await.unwrap();
        let log = LogId([7; 16]);
        let (mut head, mut names) = (Head::empty(log), Names::default());
        let kinds = [
            Kind::Started,
            Kind::Policy,
            Kind::Clock,
            Kind::Stopped,
            Kind::Started,
        ];
        let at = Timestamp::from_micros(5);
        let events: Vec<_> = kinds
            .map(|kind| Entry::new(kind).text("clock", "suspect").number("n", 3))
            .iter()
            .map(|entry| Chained::after(&mut head, log, &mut names, entry, at))
            .collect();
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let db = writer.connection();
        let wanted = [Kind::Clock, Kind::Started, Kind::Policy];
        let found = rare_events(db, &wanted, 5).await.unwrap();
        let told: Vec<_> = found.iter().map(|event| (event.seq, event.kind)).collect();
        assert_eq!(
            told,
            [(5, Kind::Started), (3, Kind::Clock), (1, Kind::Started)]
        );
        assert_eq!(found[1].text("clock"), Some("suspect"));
        assert_eq!((found[1].number("n"), found[1].at), (Some(3), at));
        assert_eq!(rare_events(db, &wanted, 1).await.unwrap().len(), 2);
        for kind in RARE {
            let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement(kind)));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan)
                .bind(9)
                .fetch_all(&mut *db)
                .await
                .unwrap();
            let steps: Vec<_> = plan.iter().map(|(_, _, _, step)| step.as_str()).collect();
            let by_index = steps.iter().any(|step| step.contains("event_rare (kind=?"));
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(by_index && !sorts, "{kind:?}: {steps:?}");
        }
    }
}
