//! Proves the log from its content: the chain, the columns beside it, the pairing of calls, the ledger.
//!
//! Reads only, in one snapshot, and trusts no stored hash: everything is computed again.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Acquire, FromRow, Row, SqliteConnection};

use crate::db::{DbError, LogId, Readers, read_identity};
use crate::types::{CallId, Timestamp, hex};

use super::chain::{Head, next_hash};
use super::{Checkpoint, Names, PublicKey};

mod export;
mod marks;

pub use export::{UnreadableExport, VerifiedExport, verify_exports};
use marks::Marks;

/// Events read at once.
const CHUNK: i64 = 4_096;

/// What is wrong with a log; the sequence is the first one at which it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The text or the hash of an event is not what was written.
    Changed {
        /// Where.
        seq: i64,
    },
    /// An event is missing.
    Missing {
        /// Which.
        seq: i64,
    },
    /// A column differs from the hashed text.
    Column {
        /// Where.
        seq: i64,
        /// Which column.
        column: &'static str,
    },
    /// A call opens or closes twice, closes without having opened, or was forgotten.
    Call {
        /// Where; the last event when the call is one that never closed.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A counter is not what the events add up to.
    Ledger {
        /// Which budget.
        key: String,
        /// What the row says.
        counted: i64,
        /// What the events say.
        events: i64,
    },
    /// The head that was kept elsewhere is nowhere in this log.
    HeadNotFound,
    /// An exported checkpoint covers events that this log does not have any more.
    CutOff {
        /// The last event that was exported.
        seq: i64,
    },
    /// An event is not the one whose hash was exported.
    Rewritten {
        /// Which.
        seq: i64,
    },
    /// This is another log than the one that was asked for or exported.
    OtherLog {
        /// The one that was meant.
        meant: LogId,
    },
    /// A checkpoint is not signed with the key that was asked for, or its signature does not fit.
    NotSigned {
        /// Where.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An export is not the file that was written, or does not join the one before it.
    Export {
        /// Where.
        seq: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A checkpoint was due and is not there.
    Stale {
        /// The first event without one; the last when there is none at all since.
        seq: i64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { seq } => write!(f, "event {seq} is not what was written"),
            Self::Missing { seq } => write!(f, "event {seq} is missing"),
            Self::Column { seq, column } => {
                write!(
                    f,
                    "event {seq}: column `{column}` differs from the recorded text"
                )
            }
            Self::Call { seq, what } => write!(f, "event {seq}: {what}"),
            Self::Ledger {
                key,
                counted,
                events,
            } => {
                write!(
                    f,
                    "budget `{key}` counts {counted}, its events add up to {events}"
                )
            }
            Self::HeadNotFound => f.write_str(
                "the expected head is not in this log: it was cut, rolled back or replaced",
            ),
            Self::CutOff { seq } => write!(
                f,
                "event {seq} was exported and is gone: the log was cut or rolled back"
            ),
            Self::Rewritten { seq } => write!(
                f,
                "event {seq} is not the one that was exported: the log was rewritten, or rolled back and continued"
            ),
            Self::OtherLog { meant } => {
                write!(f, "this is not the log {}: it was replaced", hex(&meant.0))
            }
            Self::NotSigned { seq, what } => write!(f, "checkpoint {seq}: {what}"),
            Self::Export { seq, what } => write!(f, "event {seq}: {what}"),
            Self::Stale { seq } => write!(
                f,
                "event {seq}: no checkpoint for more than an hour: some were taken out, or the gateway ended without \
                 a word"
            ),
        }
    }
}

/// A log that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Which log.
    pub log: LogId,
    /// Its head.
    pub head: Head,
    /// Calls that are in flight, or were when the gateway stopped.
    pub open_calls: usize,
    /// The last event that a checkpoint covers, signed as asked for; 0 when there is none.
    pub checkpoint: i64,
    /// What is wrong; empty for a sound log.
    pub faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct Meta {
    at_us: i64,
    kind: String,
    call: Option<String>,
    agent: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    budgets: Vec<MetaBudget>,
    through: Option<i64>,
    head: Option<String>,
    key: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct MetaBudget {
    key: String,
    window: i64,
    #[serde(default)]
    charged: i64,
    #[serde(default)]
    amount: i64,
}

struct EventRow {
    seq: i64,
    at_us: i64,
    kind: String,
    call_id: Option<Vec<u8>>,
    /// Agent, server and tool: the numbers, and the texts they stand for.
    ids: [Option<i64>; 3],
    names: [Option<String>; 3],
    reason: Option<String>,
    meta: String,
    hash: Vec<u8>,
}

impl FromRow<'_, SqliteRow> for EventRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            at_us: row.try_get("at_us")?,
            kind: row.try_get("kind")?,
            call_id: row.try_get("call_id")?,
            ids: [
                row.try_get("agent_id")?,
                row.try_get("server_id")?,
                row.try_get("tool_id")?,
            ],
            names: [
                row.try_get("agent")?,
                row.try_get("server")?,
                row.try_get("tool")?,
            ],
            reason: row.try_get("reason")?,
            meta: row.try_get("meta")?,
            hash: row.try_get("hash")?,
        })
    }
}

const EVENTS: &str =
    "SELECT event.seq, at_us, kind, call_id, agent_id, agent.text AS agent, server_id, server.text AS server,
        tool_id, tool.text AS tool, reason, meta, hash
    FROM event
    LEFT JOIN name agent ON agent.id = agent_id
    LEFT JOIN name server ON server.id = server_id
    LEFT JOIN name tool ON tool.id = tool_id
    WHERE seq > $1 ORDER BY seq LIMIT $2";

/// What is known about a log from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A head that must be in it.
    pub head: Option<[u8; 32]>,
    /// Its id.
    pub log: Option<LogId>,
    /// The key its checkpoints are signed with.
    pub key: Option<PublicKey>,
    /// Checkpoints that were exported.
    pub checkpoints: Vec<Checkpoint>,
    /// The time: a log that is not closed must have a checkpoint of the last hour.
    pub now: Option<Timestamp>,
}

/// Reads a log from its first event to its last; `expected` is a head kept elsewhere that must be in it.
///
/// # Errors
/// When the file cannot be read. A log that is wrong is not an error: see [`Verified::faults`].
pub async fn verify(
    readers: &Readers,
    expected: Option<[u8; 32]>,
    progress: impl FnMut(i64),
) -> Result<Verified, DbError> {
    let known = Known {
        head: expected,
        ..Known::default()
    };
    verify_against(readers, known, progress).await
}

/// The same against all that is known from elsewhere.
///
/// # Errors
/// When the file cannot be read.
pub async fn verify_against(
    readers: &Readers,
    known: Known,
    mut progress: impl FnMut(i64),
) -> Result<Verified, DbError> {
    let mut connection = readers.pool().acquire().await?;
    let mut snapshot = connection.begin().await?;
    let log = read_identity(&mut snapshot).await?;
    let mut check = Check::new(log, known);
    loop {
        let rows: Vec<EventRow> = sqlx::query_as(EVENTS)
            .bind(check.head.seq)
            .bind(CHUNK)
            .fetch_all(&mut *snapshot)
            .await?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            check.event(&row);
        }
        progress(check.head.seq);
        // Past the first break nothing can be said about the chain any more.
        if check.broken {
            break;
        }
    }
    if !check.broken {
        check.ledger(&mut snapshot).await?;
    }
    Ok(check.finish())
}

struct Check {
    log: LogId,
    expected: Option<[u8; 32]>,
    head: Head,
    broken: bool,
    marks: Marks,
    names: Names,
    open: HashMap<String, Vec<MetaBudget>>,
    used: HashMap<(String, i64), i64>,
    faults: Vec<Fault>,
}

impl Check {
    fn new(log: LogId, known: Known) -> Self {
        let head = Head::empty(log);
        let expected = known.head.filter(|hash| *hash != head.hash);
        let (marks, faults) = Marks::new(log, known);
        Self {
            log,
            expected,
            head,
            // Of another log nothing else is worth saying.
            broken: faults
                .iter()
                .any(|fault| matches!(fault, Fault::OtherLog { .. })),
            marks,
            faults,
            names: Names::default(),
            open: HashMap::new(),
            used: HashMap::new(),
        }
    }

    fn event(&mut self, row: &EventRow) {
        if self.broken {
            return;
        }
        let due = self.head.seq.saturating_add(1);
        if row.seq != due {
            return self.break_off(Fault::Missing { seq: due });
        }
        let hash = next_hash(self.log, due, &self.head.hash, &row.meta);
        let meta = serde_json::from_str::<Meta>(&row.meta);
        let (true, Ok(meta)) = (row.hash == hash, meta) else {
            return self.break_off(Fault::Changed { seq: due });
        };
        let before = std::mem::replace(&mut self.head, Head { seq: due, hash });
        if self.expected == Some(hash) {
            self.expected = None;
        }
        self.faults
            .extend(self.marks.event(before, self.head, &meta));
        if let Some(column) = self.differing_column(row, &meta) {
            self.faults.push(Fault::Column { seq: due, column });
        }
        self.call(due, meta);
    }

    fn differing_column(&mut self, row: &EventRow, meta: &Meta) -> Option<&'static str> {
        let call = row.call_id.as_deref().and_then(CallId::from_slice);
        let names = [&meta.agent, &meta.server, &meta.tool].map(Option::as_deref);
        let ids = self.names.of_event(meta.kind == "denied", names);
        // A name without a number stands only in the text.
        let name_differs = |at: usize| {
            row.ids.get(at) != ids.get(at)
                || ids.get(at).is_some_and(Option::is_some)
                    && row.names.get(at).map(Option::as_deref) != names.get(at).copied()
        };
        let checks = [
            ("at_us", row.at_us != meta.at_us),
            ("kind", row.kind != meta.kind),
            ("call_id", call.map(|call| call.to_string()) != meta.call),
            ("agent_id", name_differs(0)),
            ("server_id", name_differs(1)),
            ("tool_id", name_differs(2)),
            ("reason", row.reason != meta.reason),
        ];
        checks
            .into_iter()
            .find_map(|(column, differs)| differs.then_some(column))
    }

    fn break_off(&mut self, fault: Fault) {
        self.broken = true;
        self.faults.push(fault);
    }

    fn call(&mut self, seq: i64, meta: Meta) {
        let Some(call) = meta.call else { return };
        let what = match meta.kind.as_str() {
            "admitted" => self
                .open
                .insert(call, meta.budgets)
                .map(|_| "the call opens a second time"),
            "settled" | "failed" | "released" | "abandoned" => match self.open.remove(&call) {
                Some(held) => self.charge(&held, &meta.budgets),
                None => Some("the call closes without being open"),
            },
            _ => None,
        };
        self.faults
            .extend(what.map(|what| Fault::Call { seq, what }));
    }

    fn charge(&mut self, held: &[MetaBudget], charged: &[MetaBudget]) -> Option<&'static str> {
        for budget in charged {
            let used = self
                .used
                .entry((budget.key.clone(), budget.window))
                .or_default();
            *used = used.saturating_add(budget.charged);
        }
        let same = held.len() == charged.len()
            && charged.iter().all(|c| {
                held.iter().any(|h| {
                    (&h.key, h.window) == (&c.key, c.window) && (0..=h.amount).contains(&c.charged)
                })
            });
        (!same).then_some("the call closes with other budgets than it opened with")
    }

    async fn ledger(&mut self, snapshot: &mut SqliteConnection) -> Result<(), DbError> {
        let windows =
            "SELECT key, starts_at_us, used, held FROM budget_window JOIN budget ON id = budget_id";
        let windows: Vec<(String, i64, i64, i64)> =
            sqlx::query_as(windows).fetch_all(&mut *snapshot).await?;
        let mut held: HashMap<(String, i64), i64> = HashMap::new();
        for budget in self.open.values().flatten() {
            let amount = held.entry((budget.key.clone(), budget.window)).or_default();
            *amount = amount.saturating_add(budget.amount);
        }
        for (key, starts, counted_used, counted_held) in windows {
            let id = (key, starts);
            let used = self.used.remove(&id).unwrap_or(0);
            let holding = held.remove(&id).unwrap_or(0);
            let pairs = [(counted_used, used), (counted_held, holding)];
            self.faults.extend(
                pairs
                    .into_iter()
                    .filter(|(counted, events)| counted != events)
                    .map(|(counted, events)| Fault::Ledger {
                        key: id.0.clone(),
                        counted,
                        events,
                    }),
            );
        }
        let lost = self
            .used
            .drain()
            .chain(held)
            .filter(|(_, events)| *events != 0);
        self.faults
            .extend(lost.map(|((key, _), events)| Fault::Ledger {
                key,
                counted: 0,
                events,
            }));
        let open: i64 = sqlx::query_scalar("SELECT count(*) FROM open_call")
            .fetch_one(snapshot)
            .await?;
        if usize::try_from(open).ok() != Some(self.open.len()) {
            self.faults.push(Fault::Call {
                seq: self.head.seq,
                what: "the list of open calls is not that of the events",
            });
        }
        Ok(())
    }

    fn finish(mut self) -> Verified {
        if self.expected.is_some() && !self.broken {
            self.faults.push(Fault::HeadNotFound);
        }
        if !self.broken {
            self.faults.extend(self.marks.end(self.head));
        }
        Verified {
            log: self.log,
            head: self.head,
            open_calls: self.open.len(),
            checkpoint: self.marks.covered(),
            faults: self.faults,
        }
    }
}
