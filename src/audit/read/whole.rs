//! All that the log says of one call: its events as they are chained, what is kept beside them, and what happened to
//! it later.

use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::audit::{BodyKind, Kind};
use crate::db::DbError;
use crate::types::{CallId, Timestamp};

use super::CallRow;
use super::row::load;

/// Events on either side of a call among which those of the same session are looked for.
const NEAR: i64 = 5_000;

/// Calls of the same session that are told, on either side.
const NEIGHBOURS: i64 = 3;

/// Redactions that are looked through for one of this call, the newest first.
const REDACTIONS: i64 = 1_000;

/// One call, as far as the log knows it.
#[derive(Debug, Clone)]
pub struct WholeCall {
    /// What opened and what closed it.
    pub row: CallRow,
    /// The same events as they are chained, and those that came later about it, in order.
    pub events: Vec<Chain>,
    /// Arguments and result, as far as they are kept; without their text unless it was asked for.
    pub bodies: Vec<KeptBody>,
    /// What else the opening event says.
    pub facts: Facts,
}

/// An event and its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its sequence number.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What happened, in the word of the log.
    pub kind: String,
    /// The text that is hashed.
    pub text: String,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
    /// The hash of the event before it; `None` for the first one there is.
    pub previous: Option<String>,
}

/// What is kept of arguments or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBody {
    /// Which of the two.
    pub kind: BodyKind,
    /// What is kept; `None` unless it was asked for.
    pub text: Option<String>,
    /// How long it was as it came, in bytes.
    pub full_bytes: u64,
    /// Whether more was to be kept than is.
    pub is_truncated: bool,
}

/// What the opening event says that a list does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// How the agent spoke: `bare`, `session`, `modern`.
    pub era: Option<String>,
    /// The revision of the protocol.
    pub version: Option<String>,
    /// What the agent calls its session.
    pub session: Option<String>,
    /// The call that this one goes on with.
    pub continues: Option<String>,
    /// The key against doing it twice.
    pub idempotency_key: Option<String>,
    /// What the budgets were when it was let through.
    pub budgets: Vec<Held>,
    /// Of a refusal by a budget: which.
    pub budget: Option<String>,
    /// Its limit, in its unit.
    pub limit: Option<u64>,
    /// What was used of it.
    pub used: Option<u64>,
    /// What calls under way held of it.
    pub held: Option<u64>,
}

/// A budget as it was when a call was let through; amounts are in its unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Held {
    /// Which count.
    pub key: String,
    /// The start of its window, in microseconds since 1970.
    pub window: i64,
    /// What the call held.
    pub amount: u64,
    /// The limit.
    pub limit: u64,
    /// What was used, without this call.
    pub used: u64,
    /// What was held, this call among it.
    pub held: u64,
}

/// Reads a call; `None` when the log knows none of this id. `with_texts` reads arguments and result as well: whoever
/// asks for that has to write it down first.
///
/// # Errors
/// When SQLite refuses.
pub async fn whole_call(
    db: &mut SqliteConnection,
    call: CallId,
    with_texts: bool,
) -> Result<Option<WholeCall>, DbError> {
    let opened =
        "SELECT seq FROM event WHERE call_id = $1 AND (kind IN ('admitted', 'denied')) = 1";
    let opened: Option<i64> = sqlx::query_scalar(opened)
        .bind(call.as_bytes().as_slice())
        .fetch_optional(&mut *db)
        .await?;
    let Some(opened) = opened else {
        return Ok(None);
    };
    let Some(row) = load(db, &[opened]).await?.pop() else {
        return Ok(None);
    };
    let mut events = chained(db, call).await?;
    events.extend(later(db, call).await?);
    let facts = events.first().map(|event| event.text.as_str());
    let facts = facts.and_then(|text| serde_json::from_str(text).ok());
    Ok(Some(WholeCall {
        bodies: bodies(db, call, with_texts).await?,
        facts: facts.unwrap_or_default(),
        events,
        row,
    }))
}

type Columns = (i64, i64, String, String, String, Option<String>);

const COLUMNS: &str =
    "SELECT e.seq, e.at_us, e.kind, e.meta, lower(hex(e.hash)), lower(hex(before.hash))
    FROM event AS e LEFT JOIN event AS before ON before.seq = e.seq - 1";

async fn chained(db: &mut SqliteConnection, call: CallId) -> Result<Vec<Chain>, DbError> {
    let text = format!("{COLUMNS} WHERE e.call_id = $1 ORDER BY e.seq");
    // The text is put together from constants of this program alone.
    let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(text))
        .bind(call.as_bytes().as_slice())
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Chain::from).collect())
}

/// What was done to the call after it ended: a refund, bodies that were deleted.
async fn later(db: &mut SqliteConnection, call: CallId) -> Result<Vec<Chain>, DbError> {
    let text = format!(
        "{COLUMNS} WHERE e.seq IN (SELECT seq FROM refund WHERE call_id = $1
            UNION SELECT seq FROM (SELECT seq, meta FROM event WHERE kind = 'redacted' OR kind = 'pruned'
                ORDER BY seq DESC LIMIT $3) WHERE meta ->> 'redacts' = $2) ORDER BY e.seq"
    );
    let rows: Vec<Columns> = sqlx::query_as(sqlx::AssertSqlSafe(text))
        .bind(call.as_bytes().as_slice())
        .bind(call.to_string())
        .bind(REDACTIONS)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Chain::from).collect())
}

impl From<Columns> for Chain {
    fn from((seq, at_us, kind, text, hash, previous): Columns) -> Self {
        Self {
            seq,
            at: Timestamp::from_micros(at_us),
            kind,
            text,
            hash,
            previous: previous.filter(|hash| !hash.is_empty()),
        }
    }
}

async fn bodies(
    db: &mut SqliteConnection,
    call: CallId,
    with_texts: bool,
) -> Result<Vec<KeptBody>, DbError> {
    let text = "SELECT body.kind, CASE WHEN $2 THEN body.bytes END, full_bytes, truncated
        FROM event JOIN body ON body.seq = event.seq WHERE call_id = $1 ORDER BY body.seq";
    let rows: Vec<(String, Option<Vec<u8>>, i64, bool)> = sqlx::query_as(text)
        .bind(call.as_bytes().as_slice())
        .bind(with_texts)
        .fetch_all(db)
        .await?;
    let body =
        |(kind, bytes, full_bytes, is_truncated): (String, Option<Vec<u8>>, i64, bool)| KeptBody {
            kind: if kind == BodyKind::Arguments.as_str() {
                BodyKind::Arguments
            } else {
                BodyKind::Result
            },
            text: bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            full_bytes: u64::try_from(full_bytes).unwrap_or(0),
            is_truncated,
        };
    Ok(rows.into_iter().map(body).collect())
}

/// The calls of the same agent and session just before and just after one, newest first. Only near events are looked
/// through.
///
/// # Errors
/// When SQLite refuses.
pub async fn neighbours(
    db: &mut SqliteConnection,
    call: &CallRow,
    session: &str,
) -> Result<Vec<CallRow>, DbError> {
    let opens = [Kind::Admitted.as_str(), Kind::Denied.as_str()];
    let text = "SELECT seq FROM (SELECT seq FROM event WHERE seq > $1 AND seq <= $1 + $2
            AND kind IN ($5, $6) AND meta ->> 'agent' = $3 AND meta ->> 'session' = $4 ORDER BY seq LIMIT $7)
        UNION ALL SELECT seq FROM (SELECT seq FROM event WHERE seq < $1 AND seq >= $1 - $2
            AND kind IN ($5, $6) AND meta ->> 'agent' = $3 AND meta ->> 'session' = $4 ORDER BY seq DESC LIMIT $7)";
    let seqs: Vec<i64> = sqlx::query_scalar(text)
        .bind(call.seq)
        .bind(NEAR)
        .bind(call.opening.agent.as_deref())
        .bind(session)
        .bind(opens[0])
        .bind(opens[1])
        .bind(NEIGHBOURS)
        .fetch_all(&mut *db)
        .await?;
    load(db, &seqs).await
}
