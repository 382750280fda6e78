//! `recent_calls`: what an agent did lately. Read from the file like a page for people, within the same time; the
//! writer is not asked.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::audit::read::{CallRow, CallsPage, Cost, Cursor, Picks, Wanted, calls};
use crate::db::{DbError, PageReader};
use crate::policy::{Drawn, budgets_of};
use crate::protocol::Object;
use crate::types::{BUILT_IN, CallId, Timestamp, Zone};

use super::super::seal::Binding;
use super::super::stages::Caller;
use super::{BuiltIn, Told};

/// Calls of one answer, at most.
pub(super) const MAX_CALLS: usize = 50;

/// Calls of one answer where nobody says how many.
const USUAL_CALLS: usize = 20;

/// Pages of the log that one answer looks through. Lists are no calls in an agent's eyes, and are passed over.
const MAX_PAGES: usize = 5;

/// How long one answer may look.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long the end of a page can be used to go on from.
const NEXT_TIME: Duration = Duration::from_secs(3_600);

/// What was found.
struct Found {
    rows: Vec<CallRow>,
    /// Where the calls before these begin.
    next: Option<i64>,
}

impl BuiltIn {
    /// What the tool says.
    pub(super) async fn recent_calls(&self, caller: &Caller, arguments: &Object) -> Told {
        let limit = limit(arguments)?;
        let before = self.before(caller, arguments)?;
        let found = self
            .look(async |db| find(db, caller.agent.name.as_str(), before, limit).await)
            .await?;
        let permissions = &caller.permissions;
        let drawn = budgets_of(permissions, &caller.agent, self.clock.now());
        let rows = found.rows.iter();
        let calls: Value = rows
            .map(|row| tell(row, &drawn, permissions.zone()))
            .collect();
        let mut told = Map::new();
        told.insert("calls".into(), calls);
        if let Some(next) = found.next {
            told.insert("next".into(), self.seal(caller, next).into());
        }
        Ok(told.into())
    }

    /// Looks into the file with one of few connections and in bounded time.
    pub(super) async fn look<T>(
        &self,
        reading: impl AsyncFnOnce(&mut PageReader) -> Result<T, DbError>,
    ) -> Result<T, String> {
        let looking = async {
            // It is never closed.
            let _place = self.looks.acquire().await;
            let mut page = self.readers.page().await?;
            reading(&mut page).await
        };
        match timeout(DEADLINE, looking).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => {
                tracing::warn!(%error, "an agent's question about itself cannot be answered");
                Err("the log cannot be read now; try again in a few seconds".into())
            }
            Err(_) => Err("the log could not be read in time; try again in a few seconds".into()),
        }
    }

    /// Where the calls begin that are asked for; a place in the log is sealed to its agent, whom it would tell how
    /// much others do.
    fn before(&self, caller: &Caller, arguments: &Object) -> Result<Option<i64>, String> {
        if arguments.get("before").is_none() {
            return Ok(None);
        }
        let sealed = arguments.get_str("before").unwrap_or_default();
        let unsealed = self
            .sealer
            .unseal(&binding(caller), &sealed, self.clock.now());
        let place = unsealed.and_then(|unsealed| unsealed.value.parse().ok());
        let why = "`before` is not a `next` that was given to you, or is too old; leave it away to begin anew";
        place.map(Some).ok_or_else(|| why.into())
    }

    fn seal(&self, caller: &Caller, next: i64) -> String {
        let now = self.clock.now();
        let (call, expires) = (
            CallId::new(now, super::super::random()),
            now.after(NEXT_TIME),
        );
        self.sealer
            .seal(&binding(caller), call, expires, &next.to_string())
    }
}

fn binding(caller: &Caller) -> Binding<'_> {
    Binding {
        agent: caller.agent.name.as_str(),
        server: BUILT_IN,
        purpose: "recent_calls",
    }
}

fn limit(arguments: &Object) -> Result<usize, String> {
    let Some(given) = arguments.get("limit") else {
        return Ok(USUAL_CALLS);
    };
    let number = given.get().parse().ok();
    let number = number.filter(|number| (1..=MAX_CALLS).contains(number));
    number.ok_or_else(|| format!("`limit` must be a whole number from 1 to {MAX_CALLS}"))
}

/// The last calls of an agent before a place in the log, without those about itself.
async fn find(
    db: &mut PageReader,
    agent: &str,
    before: Option<i64>,
    limit: usize,
) -> Result<Found, DbError> {
    let mut found = Found {
        rows: Vec::new(),
        next: before,
    };
    for _ in 0..MAX_PAGES {
        let wanted = Wanted {
            agents: Picks {
                only: vec![agent.into()],
                not: Vec::new(),
            },
            servers: Picks {
                only: Vec::new(),
                not: vec![BUILT_IN.into()],
            },
            cursor: found.next.map_or(Cursor::Newest, Cursor::Before),
            ..Wanted::default()
        };
        let page = calls(db, &wanted).await?;
        found.next = rest(&page);
        for row in page.rows.into_iter().filter(|row| !is_list(row)) {
            if found.rows.len() == limit {
                found.next = found.rows.last().map(|last| last.seq);
                return Ok(found);
            }
            found.rows.push(row);
        }
        if found.next.is_none() {
            return Ok(found);
        }
    }
    Ok(found)
}

/// Where the page after this one begins.
fn rest(page: &CallsPage) -> Option<i64> {
    let stopped = page.stopped.map(|stopped| stopped.rest);
    match page.older.or(stopped)? {
        Cursor::Before(seq) => Some(seq),
        Cursor::Newest | Cursor::After(_) => None,
    }
}

fn is_list(row: &CallRow) -> bool {
    let method = row.opening.method.as_deref();
    method.is_some_and(|method| method.ends_with("/list"))
}

fn tell(row: &CallRow, drawn: &[Drawn], zone: &Zone) -> Value {
    let opening = &row.opening;
    let mut told = Map::new();
    told.insert("at".into(), at(row.at, zone));
    told.insert("state".into(), row.state.as_str().into());
    let texts = [
        ("call_id", row.call.map(|call| call.to_string())),
        ("method", opening.method.clone()),
        ("server", opening.server.clone()),
        ("tool", opening.tool.clone()),
        ("target", opening.target.clone()),
        ("reason", opening.reason.clone()),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            told.insert(key.into(), text.into());
        }
    }
    if let Some(times) = opening.count {
        told.insert("times".into(), times.into());
    }
    let costs = row.closing.iter().flat_map(|closing| &closing.costs);
    let costs = costs.filter(|cost| cost.charged > 0);
    let costs = costs.map(|cost| tell_cost(cost, drawn));
    told.insert("cost".into(), costs.collect());
    told.into()
}

fn at(at: Timestamp, zone: &Zone) -> Value {
    at.rfc3339(zone).into()
}

/// In the words of the rule that makes the budget now. One that no rule makes any more is called by its key, and its
/// amount is what the log has.
fn tell_cost(cost: &Cost, drawn: &[Drawn]) -> Value {
    let is_it = |drawn: &&Drawn| {
        let own = drawn.charge.key.as_str();
        own == cost.key || drawn.is_by_tool() && cost.key.starts_with(own)
    };
    match drawn.iter().find(is_it) {
        Some(Drawn { charge, .. }) => json!({
            "name": &*charge.place.path,
            "charged": charge.limit.unit.json(cost.charged),
            "unit": charge.limit.unit.word(),
        }),
        None => json!({"name": cost.key, "charged": cost.charged}),
    }
}
