//! The database as somebody with SQLite would read it.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// What happened.
    pub(super) kind: String,
    /// The call.
    pub(super) call: Option<String>,
    /// The recorded text.
    pub(super) meta: Value,
}

/// What a database holds.
#[derive(Debug)]
pub(super) struct Records {
    /// All events, in order.
    pub(super) events: Vec<Event>,
    /// Calls that nobody closed.
    pub(super) open: i64,
    /// What they hold: rows, and the counters of all windows.
    pub(super) held: (i64, i64),
}

/// One call: how it began and how it ended.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// `admitted` or `denied`.
    pub(super) opening: Event,
    /// The kinds of the events after that.
    pub(super) closings: Vec<String>,
}

/// Opens a database for reading, or for doing what nobody should.
pub(super) async fn open(path: &Path, writable: bool) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(!writable);
    SqliteConnection::connect_with(&options).await.unwrap()
}

impl Records {
    /// Reads a database that no gateway has open.
    pub(super) async fn read(path: &Path) -> Self {
        let mut file = open(path, false).await;
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT kind, meta FROM event ORDER BY seq")
                .fetch_all(&mut file)
                .await
                .unwrap();
        let events = rows.into_iter().map(|(kind, meta)| {
            let meta: Value = serde_json::from_str(&meta).unwrap();
            let call = meta["call"].as_str().map(ToOwned::to_owned);
            Event { kind, call, meta }
        });
        let records = Self {
            events: events.collect(),
            open: number(&mut file, "SELECT count(*) FROM open_call").await,
            held: (
                number(&mut file, "SELECT count(*) FROM hold").await,
                number(
                    &mut file,
                    "SELECT coalesce(sum(held), 0) FROM budget_window",
                )
                .await,
            ),
        };
        file.close().await.unwrap();
        records
    }

    /// The kinds, in order.
    pub(super) fn kinds(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event.kind.as_str())
            .collect()
    }

    /// How many events of a kind there are.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.events
            .iter()
            .filter(|event| event.kind == kind)
            .count()
    }

    /// All calls by id.
    pub(super) fn calls(&self) -> HashMap<&str, Call> {
        let mut calls: HashMap<&str, Call> = HashMap::new();
        for event in &self.events {
            let Some(id) = event.call.as_deref() else {
                continue;
            };
            if matches!(event.kind.as_str(), "admitted" | "denied") {
                let call = Call {
                    opening: event.clone(),
                    closings: Vec::new(),
                };
                assert!(calls.insert(id, call).is_none(), "{id} opens twice");
            } else {
                let call = calls.get_mut(id).expect("it opened before");
                call.closings.push(event.kind.clone());
            }
        }
        calls
    }
}

async fn number(file: &mut SqliteConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(file)
        .await
        .unwrap()
}
