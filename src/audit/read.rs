//! Reads the log for people: newest first, by sequence, never more than a stated number of events a page.
//!
//! Time runs forward in the log, so an instant is found by halving the sequence and needs no index. Only
//! [`SCAN`] sequence numbers are searched at once; whoever asks is told how far it went.

mod accesses;
mod calls;
mod definitions;
mod edges;
mod found;
mod fresh;
mod latency;
mod month;
mod names;
mod packed;
mod pairs;
mod places;
mod policies;
mod rare;
mod refused;
pub mod replay;
mod row;
mod series;
mod spend;
mod sums;
mod tail;
#[cfg(test)]
mod tests;
mod trust;
mod uses;
mod warm;
mod whole;

use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::Timestamp;

pub use accesses::{AccessRow, accesses};
pub use calls::{CALLS_A_PAGE, CallsPage, Cursor, Picks, Stopped, Unknown, Wanted, calls};
pub use definitions::{DefinitionRow, DefinitionSaid, definition_rows, definition_texts};
pub use edges::INTERVALS;
pub use fresh::{FRESH, Fresh};
pub use latency::{Took, latency_by_day};
pub use month::{
    Defining, Known, Looked, Note, Sealed, Taking, definitions_in, deletions_in, ends,
    extent_between, known_at, looks_in, notes_in, rules_in, sealed_at, snapshot,
};
pub use pairs::{
    Pair, ToolDay, Tools, agent_tool_days, calls_among, let_through, server_pairs_between,
};
pub use policies::{PolicyRow, PolicyText, calls_under, policies, policy_text, revision_of};
pub use rare::{RARE, RareEvent, rare_events};
pub use refused::{NewestRefusals, OneRefusal, REFUSALS, newest_refusals, refusals};
pub use row::{CallRow, CallState, Closing, Cost, Opening};
pub use series::{agents_last_seen, series_agent, series_all, series_tool, tools_last_seen};
pub use spend::{By, LARGEST, Of, Refused, Spent, refusals_between, spend_between};
pub use sums::{
    Span, ToolCounts, agent_tools_between, agents_between, tool_agents_between,
    tool_counts_between, tools_between,
};
pub use tail::{Ended, ended_since};
pub use trust::{Absence, Checkpointed, Cut, Trust, absences, trust};
pub use uses::{Use, called_between, uses};
pub use warm::warm;
pub use whole::{Chain, Facts, Held, KeptBody, WholeCall, neighbours, whole_call};

/// Sequence numbers that one page searches at most.
pub const SCAN: i64 = 200_000;

/// Which part of the log there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The oldest sequence number.
    pub first: i64,
    /// The newest sequence number.
    pub last: i64,
}

impl Extent {
    /// How many events; sequence numbers leave no gap.
    pub fn events(&self) -> i64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The newest event: what everything before it is chained to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its sequence number.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
}

/// Which part of the log there is; `None` while it is empty.
///
/// # Errors
/// When SQLite refuses.
pub async fn extent(db: &mut SqliteConnection) -> Result<Option<Extent>, DbError> {
    // Two questions, because SQLite answers min and max together by reading everything.
    let ends = "SELECT (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)";
    let (first, last) = sqlx::query_as::<_, (Option<i64>, Option<i64>)>(ends)
        .fetch_one(db)
        .await?;
    Ok(first.zip(last).map(|(first, last)| Extent { first, last }))
}

/// The newest event; `None` while the log is empty.
///
/// # Errors
/// When SQLite refuses.
pub async fn newest(db: &mut SqliteConnection) -> Result<Option<Newest>, DbError> {
    let newest = "SELECT seq, at_us, lower(hex(hash)) FROM event ORDER BY seq DESC LIMIT 1";
    let newest = sqlx::query_as::<_, (i64, i64, String)>(newest)
        .fetch_optional(db)
        .await?;
    Ok(newest.map(|(seq, at_us, hash)| Newest {
        seq,
        at: Timestamp::from_micros(at_us),
        hash,
    }))
}

/// Whether anybody called yet. The gateway's own events, such as its start, are no calls.
///
/// # Errors
/// When SQLite refuses.
pub async fn has_calls(db: &mut SqliteConnection, extent: Extent) -> Result<bool, DbError> {
    let text = "SELECT EXISTS (
        SELECT 1 FROM event WHERE seq <= $1 AND kind IN ('admitted', 'denied'))";
    let has_calls = sqlx::query_scalar(text)
        .bind(extent.first.saturating_add(SCAN))
        .fetch_one(db)
        .await?;
    Ok(has_calls)
}

/// The first event at or after an instant; one beyond the last when all are older.
///
/// # Errors
/// When SQLite refuses.
pub async fn first_since(
    db: &mut SqliteConnection,
    extent: Extent,
    at: Timestamp,
) -> Result<i64, DbError> {
    let mut low = extent.first;
    let mut high = extent.last.saturating_add(1);
    while low < high {
        let middle = low.midpoint(high);
        if is_before(db, middle, at).await? {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    Ok(low)
}

async fn is_before(db: &mut SqliteConnection, seq: i64, at: Timestamp) -> Result<bool, DbError> {
    Ok(at_of(db, seq).await?.is_some_and(|found| found < at))
}

/// When the event with this number, or the next one there is, was written.
async fn at_of(db: &mut SqliteConnection, seq: i64) -> Result<Option<Timestamp>, DbError> {
    let at_us = sqlx::query_scalar("SELECT at_us FROM event WHERE seq >= $1 ORDER BY seq LIMIT 1")
        .bind(seq)
        .fetch_optional(db)
        .await?;
    Ok(at_us.map(Timestamp::from_micros))
}
