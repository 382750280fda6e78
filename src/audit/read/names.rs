//! The numbers that stand for names, and back.

use std::collections::{BTreeSet, HashMap};

use sqlx::SqliteConnection;

use crate::db::DbError;

/// Names by their numbers.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<i64, String>);

impl Texts {
    /// Reads the names of some numbers.
    pub(super) async fn load(
        db: &mut SqliteConnection,
        ids: impl Iterator<Item = i64>,
    ) -> Result<Self, DbError> {
        let ids: BTreeSet<i64> = ids.collect();
        let ids = serde_json::Value::from_iter(ids).to_string();
        let text = "SELECT id, text FROM name WHERE id IN (SELECT value FROM json_each($1))";
        let rows: Vec<(i64, String)> = sqlx::query_as(text).bind(ids).fetch_all(db).await?;
        Ok(Self(rows.into_iter().collect()))
    }

    /// The name; `None` for 0, which stands for a name without a number and for none.
    pub(super) fn get(&self, id: i64) -> Option<String> {
        self.0.get(&id).cloned()
    }
}

/// The number of a name; `None` when it has none.
pub(super) async fn number(db: &mut SqliteConnection, name: &str) -> Result<Option<i64>, DbError> {
    let text = "SELECT id FROM name WHERE text = $1";
    Ok(sqlx::query_scalar(text)
        .bind(name)
        .fetch_optional(db)
        .await?)
}

/// The numbers of names, of those that have one.
pub(super) async fn numbers(
    db: &mut SqliteConnection,
    names: impl Iterator<Item = &str>,
) -> Result<HashMap<String, i64>, DbError> {
    let names = serde_json::Value::from_iter(names).to_string();
    let text = "SELECT text, id FROM name WHERE text IN (SELECT value FROM json_each($1))";
    let rows: Vec<(String, i64)> = sqlx::query_as(text).bind(names).fetch_all(db).await?;
    Ok(rows.into_iter().collect())
}
