//! The log as calls in their order, for whoever wants to know what other rules would have made of them.

use std::collections::HashMap;

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::audit::log::load_piece;
use crate::audit::row::{EventRow, all};
use crate::db::DbError;
use crate::types::{CallId, Timestamp};

/// Events that are read at once.
const PIECE: i64 = 4_096;

/// One event of a call.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its sequence.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Which call; none for refusals that were counted together.
    pub call: Option<CallId>,
    /// What happened.
    pub what: Happened<'a>,
}

/// What happened to a call.
#[derive(Debug)]
pub enum Happened<'a> {
    /// It was let through, or refused.
    Opened(Opening<'a>),
    /// It ended.
    Closed(Ended<'a>),
    /// What it held for its next round was charged, because none came.
    Expired,
}

/// A call that was decided.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The numbers of agent, server and tool, where they have some.
    pub ids: [Option<i64>; 3],
    /// Why it was refused; `None` when it was let through.
    pub refused: Option<&'a str>,
    /// Everything else the event says.
    pub meta: &'a str,
}

/// What an opening event says beside its columns.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The method, such as `tools/call`.
    pub method: String,
    /// The agent, where it has no number.
    pub agent: Option<String>,
    /// The server.
    pub server: Option<String>,
    /// The tool.
    pub tool: Option<String>,
    /// The prompt or resource.
    pub target: Option<String>,
    /// The call that it goes on with.
    pub continues: Option<String>,
    /// How many refusals alike it stands for.
    pub count: Option<u64>,
}

impl Opening<'_> {
    /// What the event says; nothing where it cannot be read.
    pub fn told(&self) -> Told {
        serde_json::from_str(self.meta).unwrap_or_default()
    }

    /// Whether it may go on with another call. Cheap, and true too often rather than too seldom.
    pub fn may_continue(&self) -> bool {
        self.meta.contains("\"continues\"")
    }
}

/// The end of a call.
#[derive(Debug)]
pub struct Ended<'a> {
    kind: &'a str,
    meta: &'a str,
}

/// How a call ended, as its event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server never saw it.
    Unsent,
    /// The server turned it away.
    Rejected,
    /// The tool says that it failed.
    ToolError,
    /// The server wants to know more.
    AsksInput,
    /// It is done.
    Done,
    /// Nobody knows.
    Unclear,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Closing {
    outcome: String,
    asks: Option<String>,
    budgets: Vec<Charged>,
}

#[derive(Debug, Deserialize)]
struct Charged {
    #[serde(default)]
    key: String,
    #[serde(default)]
    charged: u64,
}

impl Ended<'_> {
    /// How it ended, and what each of its budgets was charged.
    pub fn outcome(&self) -> (Outcome, HashMap<String, u64>) {
        let told: Closing = serde_json::from_str(self.meta).unwrap_or_default();
        let is_free = !told.budgets.is_empty() && told.budgets.iter().all(|one| one.charged == 0);
        let outcome = match (self.kind, told.outcome.as_str()) {
            ("released", _) => Outcome::Unsent,
            _ if told.asks.as_deref() == Some("input") => Outcome::AsksInput,
            ("settled", "ok") => Outcome::Done,
            ("settled", "tool_error") => Outcome::ToolError,
            ("failed", "rejected") => Outcome::Rejected,
            // Of an error of the protocol the log has no code; that it cost nothing tells.
            ("settled", _) if is_free => Outcome::Rejected,
            _ => Outcome::Unclear,
        };
        let charged = told.budgets.into_iter();
        let charged = charged.map(|one| (one.key, one.charged));
        (outcome, charged.collect())
    }
}

/// A piece of the log.
#[derive(Debug)]
pub struct Piece {
    /// The last event in it.
    pub last: i64,
    events: Vec<u8>,
    arguments: HashMap<i64, String>,
}

impl Piece {
    /// Its steps, in their order; `None` when something in it is no event.
    pub fn steps(&self) -> Option<Vec<Step<'_>>> {
        let rows = all(&self.events)?;
        Some(rows.iter().filter_map(step).collect())
    }

    /// The arguments of a call, where the log has kept them whole.
    pub fn arguments(&self, seq: i64) -> Option<&str> {
        self.arguments.get(&seq).map(String::as_str)
    }
}

fn step<'a>(row: &EventRow<'a>) -> Option<Step<'a>> {
    let what = match row.kind {
        "admitted" | "denied" => Happened::Opened(Opening {
            ids: row.ids,
            refused: row.reason,
            meta: row.meta,
        }),
        "settled" | "failed" | "released" | "abandoned" => Happened::Closed(Ended {
            kind: row.kind,
            meta: row.meta,
        }),
        "expired" => Happened::Expired,
        _ => return None,
    };
    Some(Step {
        seq: row.seq,
        at: Timestamp::from_micros(row.at_us),
        call: row.call,
        what,
    })
}

/// Reads the events after one, up to another, with the arguments that were kept of them where they are wanted. `None` at the end.
///
/// # Errors
/// When SQLite refuses.
pub async fn load_steps(
    db: &mut SqliteConnection,
    (after, until): (i64, i64),
    with_arguments: bool,
) -> Result<Option<Piece>, DbError> {
    let Some((last, events)) = load_piece(db, after, until, PIECE).await? else {
        return Ok(None);
    };
    let mut arguments = HashMap::new();
    if with_arguments {
        let text = "SELECT seq, bytes FROM body WHERE seq > $1 AND seq <= $2 AND kind = 'arguments' AND truncated = 0";
        let kept: Vec<(i64, Vec<u8>)> = sqlx::query_as(text)
            .bind(after)
            .bind(last)
            .fetch_all(db)
            .await?;
        let kept = kept.into_iter();
        arguments
            .extend(kept.filter_map(|(seq, bytes)| Some((seq, String::from_utf8(bytes).ok()?))));
    }
    Ok(Some(Piece {
        last,
        events,
        arguments,
    }))
}

/// The names behind the numbers.
///
/// # Errors
/// When SQLite refuses.
pub async fn names(db: &mut SqliteConnection) -> Result<HashMap<i64, String>, DbError> {
    let names: Vec<(i64, String)> = sqlx::query_as("SELECT id, text FROM name")
        .fetch_all(db)
        .await?;
    Ok(names.into_iter().collect())
}
