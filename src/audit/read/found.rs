//! Finds calls with the lookups: lists of sequence numbers that are put together and cut with one another.
//!
//! They may name a call too many, because a name has no number or because a state changed since; whoever asks
//! looks at each of them. They never name one too few, up to the mark.

use std::collections::BTreeSet;

use sqlx::SqliteConnection;

use super::{CallState, Extent};
use crate::audit::behind::load_mark;
use crate::audit::lookups::{CHUNK, Dimension, UNNUMBERED, seqs};
use crate::db::DbError;

/// Stretches of the lists that are read at once, at most; the first reading takes one, each next twice as many.
pub(super) const CHUNKS_AT_ONCE: i64 = 64;

/// One condition on a dimension: one of these terms, and none of those.
#[derive(Debug)]
pub(super) struct Condition {
    dimension: Dimension,
    only: Option<String>,
    not: Option<String>,
}

impl Condition {
    /// By the numbers of names, as a list in JSON. Names without a number may be any.
    pub(super) fn on_names(
        dimension: Dimension,
        only: Option<&[i64]>,
        not: Option<&[i64]>,
    ) -> Option<Self> {
        let terms = |ids: &[i64], more: Option<&str>| {
            let ids = ids.iter().map(ToString::to_string);
            let all = ids.chain(more.map(ToOwned::to_owned));
            serde_json::Value::from_iter(all).to_string()
        };
        (only.is_some() || not.is_some()).then(|| Self {
            dimension,
            only: only.map(|ids| terms(ids, Some(UNNUMBERED))),
            not: not.map(|ids| terms(ids, None)),
        })
    }

    /// By words.
    pub(super) fn on_words(dimension: Dimension, only: &[String], not: &[String]) -> Option<Self> {
        let terms = |words: &[String]| {
            (!words.is_empty()).then(|| serde_json::Value::from(words).to_string())
        };
        let (only, not) = (terms(only), terms(not));
        (only.is_some() || not.is_some()).then_some(Self {
            dimension,
            only,
            not,
        })
    }

    /// By how calls stand. No list has those that are open: the ledger knows them.
    pub(super) fn on_states(states: &[CallState]) -> Self {
        let closed = states.iter().filter(|state| **state != CallState::Open);
        let words = closed.map(|state| state.as_str());
        Self {
            dimension: Dimension::State,
            only: Some(serde_json::Value::from_iter(words).to_string()),
            not: None,
        }
    }

    /// Where it stands among others: those first that mostly leave the fewest calls, and last those that read all lists
    /// but a few.
    fn rank(&self) -> (bool, u8) {
        let rank = match self.dimension {
            Dimension::Tool => 0,
            Dimension::Reason => 1,
            Dimension::Agent => 2,
            Dimension::State => 3,
            Dimension::Server => 4,
            Dimension::Kind => 5,
        };
        (self.only.is_none(), rank)
    }

    /// The calls of some stretches that meet it.
    async fn calls(
        &self,
        db: &mut SqliteConnection,
        chunks: &BTreeSet<i64>,
    ) -> Result<BTreeSet<i64>, DbError> {
        let chunks = serde_json::Value::from_iter(chunks.iter().copied()).to_string();
        let text = match self.only {
            Some(_) => {
                "SELECT chunk, places FROM json_each($1) AS c CROSS JOIN json_each($3) AS t CROSS JOIN lookup
                    ON chunk = c.value AND dimension = $2 AND term = t.value
                WHERE $4 IS NULL OR term NOT IN (SELECT value FROM json_each($4))"
            }
            None => {
                "SELECT chunk, places FROM json_each($1) AS c CROSS JOIN lookup
                    ON chunk = c.value AND dimension = $2
                WHERE $3 IS NULL AND term NOT IN (SELECT value FROM json_each($4))"
            }
        };
        let lists: Vec<(i64, Vec<u8>)> = sqlx::query_as(text)
            .bind(chunks)
            .bind(self.dimension.as_str())
            .bind(self.only.as_deref())
            .bind(self.not.as_deref())
            .fetch_all(db)
            .await?;
        let calls = lists.iter().flat_map(|(chunk, list)| seqs(*chunk, list));
        Ok(calls.collect())
    }
}

/// What a search with lookups goes by.
#[derive(Debug)]
pub(super) struct Found {
    /// The last event that the lookups cover.
    pub(super) mark: i64,
    conditions: Vec<Condition>,
    /// Calls that are open, or were when the lookups were built; their lists do not say how they stand.
    unsettled: BTreeSet<i64>,
}

impl Found {
    /// Prepares a search. `None` when it needs no lookups, or they are too far behind to be of use.
    pub(super) async fn prepare(
        db: &mut SqliteConnection,
        mut conditions: Vec<Condition>,
        states: Option<&[CallState]>,
        extent: Extent,
    ) -> Result<Option<Self>, DbError> {
        conditions.sort_by_key(Condition::rank);
        let mark = load_mark(db).await?;
        let is_behind = extent.last.saturating_sub(mark) > super::SCAN;
        if conditions.is_empty() || is_behind || mark < extent.first {
            return Ok(None);
        }
        let unsettled = match states {
            None => BTreeSet::new(),
            Some(_) => unsettled(db, mark).await?,
        };
        Ok(Some(Self {
            mark,
            conditions,
            unsettled,
        }))
    }

    /// Calls of these stretches that may be meant.
    pub(super) async fn calls(
        &self,
        db: &mut SqliteConnection,
        first: i64,
        last: i64,
    ) -> Result<BTreeSet<i64>, DbError> {
        let mut chunks: BTreeSet<i64> = (first..=last).collect();
        let reach = first.saturating_mul(CHUNK)..last.saturating_add(1).saturating_mul(CHUNK);
        let mut found: Option<BTreeSet<i64>> = None;
        for condition in &self.conditions {
            let mut calls = condition.calls(db, &chunks).await?;
            if condition.dimension == Dimension::State {
                calls.extend(self.unsettled.range(reach.clone()));
            }
            let left = match found {
                None => calls,
                Some(before) => before.intersection(&calls).copied().collect(),
            };
            // Of the next lists only those of stretches that have a call left are read.
            chunks = left.iter().map(|seq| seq.div_euclid(CHUNK)).collect();
            found = Some(left);
            if chunks.is_empty() {
                break;
            }
        }
        Ok(found.unwrap_or_default())
    }
}

/// Calls that are open, and those that were opened before the mark and closed after it.
async fn unsettled(db: &mut SqliteConnection, mark: i64) -> Result<BTreeSet<i64>, DbError> {
    // The comparison is written as in the index `event_of_call`, or SQLite would not use it whole.
    let text = "SELECT admitted_seq FROM open_call WHERE admitted_seq <= $1
        UNION SELECT o.seq FROM event AS c CROSS JOIN event AS o
            ON o.call_id = c.call_id AND (o.kind IN ('admitted', 'denied')) = 1
        WHERE c.seq > $1 AND c.kind IN ('settled', 'failed', 'released', 'abandoned') AND o.seq <= $1";
    let seqs: Vec<i64> = sqlx::query_scalar(text).bind(mark).fetch_all(db).await?;
    Ok(seqs.into_iter().collect())
}
