//! Who looked at the log, newest first.

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::Timestamp;

/// The most rows of one page.
const MAX_ROWS: u32 = 1_000;

/// One use of the dashboard, as its event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    /// The sequence of the event.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What was done: `login`, `logout`, `refused_login`, `body`, `export` or `report`.
    pub what: String,
    /// By whom.
    pub viewer: Option<String>,
    /// The id of the call whose body was opened.
    pub of: Option<String>,
    /// The address of the list or report that was taken away.
    pub path: Option<String>,
    /// In which form: `csv`, `jsonl` or `json`.
    pub form: Option<String>,
    /// Where the request came from.
    pub address: Option<String>,
}

/// What the text of the event says; what is missing was not known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Meta {
    what: String,
    viewer: Option<String>,
    of: Option<String>,
    path: Option<String>,
    form: Option<String>,
    address: Option<String>,
}

const ROWS: &str = "SELECT seq, at_us, meta FROM event
    WHERE kind = 'accessed' AND seq < $1 ORDER BY seq DESC LIMIT $2";

/// The last uses of the dashboard, newest first, at most 1,000; `before` is the sequence of the event that they came
/// before.
///
/// # Errors
/// When SQLite refuses.
pub async fn accesses(
    db: &mut SqliteConnection,
    limit: u32,
    before: Option<i64>,
) -> Result<Vec<AccessRow>, DbError> {
    let rows: Vec<(i64, i64, String)> = sqlx::query_as(ROWS)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit.min(MAX_ROWS))
        .fetch_all(db)
        .await?;
    let rows = rows.into_iter().map(|(seq, at_us, meta)| {
        let meta: Meta = serde_json::from_str(&meta).unwrap_or_default();
        AccessRow {
            seq,
            at: Timestamp::from_micros(at_us),
            what: meta.what,
            viewer: meta.viewer,
            of: meta.of,
            path: meta.path,
            form: meta.form,
            address: meta.address,
        }
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Accessed, Chained, Deed, Entry, Head, Kind, Names, append};
    use crate::db::{Durability, LogId, open};

    #[tokio::test]
    async fn uses_come_newest_first_page_by_page_and_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = open(&folder.path().join("log.db"), Durability::Process)
            .await
            .unwrap();
        let log = LogId([7; 16]);
        let (mut head, mut names) = (Head::empty(log), Names::default());
        let entries = (0..9).map(|number| match number % 3 {
            0 => Entry::new(Kind::Started),
            1 => Accessed::new(Deed::RefusedLogin).to_entry(),
            _ => Accessed {
                viewer: Some("governance".parse().unwrap()),
                ..Accessed::new(Deed::Login)
            }
            .to_entry(),
        });
        let at = Timestamp::from_micros(5);
        let events: Vec<_> = entries
            .map(|entry| Chained::after(&mut head, log, &mut names, &entry, at))
            .collect();
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let db = writer.connection();
        let page = accesses(db, 4, None).await.unwrap();
        let told: Vec<_> = page.iter().map(|row| (row.seq, &*row.what)).collect();
        let (login, refused) = ("login", "refused_login");
        assert_eq!(told, [(9, login), (8, refused), (6, login), (5, refused)]);
        assert_eq!(page[0].viewer.as_deref(), Some("governance"));
        assert_eq!((page[1].viewer.as_deref(), page[1].at), (None, at));
        let rest = accesses(db, 4, Some(5)).await.unwrap();
        assert_eq!(rest.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 2]);
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {ROWS}"));
        let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(plan).fetch_all(db).await.unwrap();
        assert!(
            plan.iter()
                .any(|(_, _, _, step)| step.contains("event_accessed")),
            "{plan:?}"
        );
    }
}
