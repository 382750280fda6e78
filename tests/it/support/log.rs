//! The log as it stands in the file.

use std::path::Path;

use hayward::db::Readers;
use serde_json::Value;

/// One event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) seq: i64,
    pub(crate) kind: String,
    pub(crate) reason: Option<String>,
    /// The text that is hashed.
    pub(crate) meta: Value,
}

impl Event {
    /// A text of the event, empty when it is not there.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.meta[key].as_str().unwrap_or_default()
    }

    /// Whether it is one of these kinds.
    pub(crate) fn is(&self, kinds: &[&str]) -> bool {
        kinds.contains(&self.kind.as_str())
    }
}

/// All events of a file, in order.
pub(crate) async fn events(file: &Path) -> Vec<Event> {
    let readers = Readers::open(file).await.unwrap();
    let all = "SELECT seq, kind, reason, meta FROM event ORDER BY seq";
    let rows: Vec<(i64, String, Option<String>, String)> =
        sqlx::query_as(all).fetch_all(readers.pool()).await.unwrap();
    readers.close().await;
    let event = |(seq, kind, reason, meta): (i64, String, Option<String>, String)| Event {
        seq,
        kind,
        reason,
        meta: serde_json::from_str(&meta).unwrap(),
    };
    rows.into_iter().map(event).collect()
}

/// The events of one kind.
pub(crate) fn find<'a>(events: &'a [Event], kind: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

/// All but the looks at lists and what they brought, which the gateway takes by itself before a first call.
pub(crate) fn without_lists(mut events: Vec<Event>) -> Vec<Event> {
    let is_list = |event: &&Event| event.meta["method"] == "tools/list";
    let lists: Vec<_> = events
        .iter()
        .filter(is_list)
        .map(|event| event.meta["call"].clone())
        .collect();
    events.retain(|event| {
        let is_of_list = !event.meta["call"].is_null() && lists.contains(&event.meta["call"]);
        event.kind != "tools" && !is_of_list
    });
    events
}
