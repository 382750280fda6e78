//! Finds calls with the lookups: lists of sequence numbers that are put together and cut with one another.
//!
//! They may name a call too many, because a name has no number or because a state changed since; whoever asks
//! looks at each of them. They never name one too few, up to the mark.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;

use super::places::Places;
use super::{CallState, Extent};
use crate::audit::behind::load_mark;
use crate::audit::lookups::{CHUNK, Dimension, UNNUMBERED, place};
use crate::db::DbError;

/// Stretches of the lists that are read at once, at most; the first reading takes one, each next twice as many.
pub(super) const CHUNKS_AT_ONCE: i64 = 256;

/// One condition: the lists of some terms of a dimension, and whether a call must stand in one of them or in none.
#[derive(Debug)]
pub(super) struct Condition {
    dimension: Dimension,
    /// As a list in JSON; `None` for all.
    terms: Option<String>,
    keeps: bool,
    /// Whether its lists name a good part of all calls.
    is_long: bool,
}

/// Every call stands in one list of reasons.
const EVERY_CALL: Condition = Condition {
    dimension: Dimension::Reason,
    terms: None,
    keeps: true,
    is_long: true,
};

impl Condition {
    /// By the numbers of names: one of those, and none of these. Names without a number may be any.
    pub(super) fn on_names(
        dimension: Dimension,
        only: Option<&[i64]>,
        not: Option<&[i64]>,
    ) -> impl Iterator<Item = Self> {
        let terms = |ids: &[i64], more: Option<&str>| {
            let ids = ids.iter().map(ToString::to_string);
            let all = ids.chain(more.map(ToOwned::to_owned));
            serde_json::Value::from_iter(all).to_string()
        };
        let only = only.map(|ids| terms(ids, Some(UNNUMBERED)));
        let not = not.map(|ids| terms(ids, None));
        Self::both(dimension, only, not)
    }

    /// By words.
    pub(super) fn on_words(
        dimension: Dimension,
        only: &[String],
        not: &[String],
    ) -> impl Iterator<Item = Self> {
        let terms = |words: &[String]| {
            (!words.is_empty()).then(|| serde_json::Value::from(words).to_string())
        };
        Self::both(dimension, terms(only), terms(not))
    }

    /// By how calls stand. No list has those that are open: the ledger knows them.
    pub(super) fn on_states(states: &[CallState]) -> Self {
        let closed = states.iter().filter(|state| **state != CallState::Open);
        let words = closed.map(|state| state.as_str());
        Self {
            dimension: Dimension::State,
            terms: Some(serde_json::Value::from_iter(words).to_string()),
            keeps: true,
            is_long: states.contains(&CallState::Ok),
        }
    }

    fn both(
        dimension: Dimension,
        only: Option<String>,
        not: Option<String>,
    ) -> impl Iterator<Item = Self> {
        let both = [(only, true), (not, false)].into_iter();
        both.filter_map(move |(terms, keeps)| {
            terms.map(|terms| Self {
                dimension,
                terms: Some(terms),
                keeps,
                is_long: false,
            })
        })
    }

    /// Where it stands among others: those first that mostly leave the fewest calls, and last those that take some away.
    fn rank(&self) -> (bool, bool, u8) {
        let rank = match self.dimension {
            Dimension::Tool => 0,
            Dimension::Reason => 1,
            Dimension::Agent => 2,
            Dimension::State => 3,
            Dimension::Server => 4,
            Dimension::Kind => 5,
        };
        (!self.keeps, self.is_long, rank)
    }

    /// The calls of its lists, of the stretches that have some left.
    async fn calls(&self, db: &mut SqliteConnection, left: &Calls) -> Result<Calls, DbError> {
        let chunks = serde_json::Value::from_iter(left.keys().copied()).to_string();
        let text = match self.terms {
            Some(_) => {
                "SELECT chunk, places FROM json_each($1) AS c CROSS JOIN json_each($3) AS t CROSS JOIN lookup
                    ON chunk = c.value AND dimension = $2 AND term = t.value"
            }
            None => {
                "SELECT chunk, places FROM json_each($1) AS c CROSS JOIN lookup
                    ON chunk = c.value AND dimension = $2 WHERE $3 IS NULL"
            }
        };
        let lists: Vec<(i64, Vec<u8>)> = sqlx::query_as(text)
            .bind(chunks)
            .bind(self.dimension.as_str())
            .bind(self.terms.as_deref())
            .fetch_all(db)
            .await?;
        let mut calls = Calls::new();
        for (chunk, list) in lists {
            calls.entry(chunk).or_default().add(&list);
        }
        Ok(calls)
    }
}

/// Calls by stretch.
type Calls = BTreeMap<i64, Places>;

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
        let mark = load_mark(db).await?;
        let is_behind = extent.last.saturating_sub(mark) > super::SCAN;
        if conditions.is_empty() || is_behind || mark < extent.first {
            return Ok(None);
        }
        if conditions.iter().all(|condition| !condition.keeps) {
            conditions.push(EVERY_CALL);
        }
        conditions.sort_by_key(Condition::rank);
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
        let mut left: Calls = (first..=last).map(|chunk| (chunk, Places::all())).collect();
        let reach = first.saturating_mul(CHUNK)..last.saturating_add(1).saturating_mul(CHUNK);
        for condition in &self.conditions {
            let mut calls = condition.calls(db, &left).await?;
            if condition.dimension == Dimension::State {
                for (chunk, at) in self.unsettled.range(reach.clone()).map(|seq| place(*seq)) {
                    calls.entry(chunk).or_default().insert(at);
                }
            }
            // Of the next lists only those of stretches that have a call left are read.
            left.retain(|chunk, places| match calls.get(chunk) {
                Some(those) if condition.keeps => places.keep(those),
                Some(those) => places.take(those),
                None => !condition.keeps,
            });
            if left.is_empty() {
                break;
            }
        }
        Ok(left
            .iter()
            .flat_map(|(chunk, places)| places.seqs(*chunk))
            .collect())
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
