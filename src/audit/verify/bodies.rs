//! Whether every body is the one that its event covers, and none is missing without a word.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::db::DbError;
use crate::types::hex;

use super::super::bodies::{Stored, deleted, stored};
use super::super::body::digest;
use super::{Fault, Meta};

/// What an event says of its body.
#[derive(Debug, Deserialize)]
pub(super) struct Covered {
    digest: String,
    bytes: i64,
    stored: usize,
    #[serde(default)]
    truncated: bool,
}

/// The bodies of one log on the way through it.
#[derive(Debug)]
pub(super) struct Bodies {
    /// Which events say that the bodies from one number to another were deleted. They are believed in advance:
    /// one that is not what was written is found when the chain comes to it.
    deleted: Vec<(i64, i64, i64)>,
    /// What the events since the last check say.
    covered: BTreeMap<i64, (&'static str, Covered)>,
    /// The last event that was checked.
    checked: i64,
}

impl Bodies {
    /// Reads what was deleted in good order.
    pub(super) async fn of(snapshot: &mut SqliteConnection) -> Result<Self, DbError> {
        let deleted = deleted(snapshot).await?.into_iter();
        let spans = deleted.flat_map(|(by, pairs)| {
            pairs
                .into_iter()
                .map(move |(first, last)| (by, first, last))
        });
        Ok(Self {
            deleted: spans.collect(),
            covered: BTreeMap::new(),
            checked: 0,
        })
    }

    /// One event whose text is what the chain says.
    pub(super) fn event(&mut self, seq: i64, meta: &mut Meta) {
        let arguments = meta.arguments.take().map(|covered| ("arguments", covered));
        let result = meta.result.take().map(|covered| ("result", covered));
        self.covered
            .extend(arguments.or(result).map(|covered| (seq, covered)));
    }

    /// Checks the bodies of the events so far.
    pub(super) async fn check(
        &mut self,
        snapshot: &mut SqliteConnection,
        through: i64,
    ) -> Result<Vec<Fault>, DbError> {
        let mut faults = Vec::new();
        let mut rows = pin!(stored(snapshot, self.checked, through));
        while let Some(row) = rows.try_next().await? {
            let covered = self.covered.remove(&row.seq);
            let is_same = covered.is_some_and(|(kind, covered)| covered.is(kind, &row));
            faults.extend((!is_same).then_some(Fault::Body { seq: row.seq }));
        }
        let missing = std::mem::take(&mut self.covered).into_keys();
        let missing = missing.filter(|seq| !self.was_deleted(*seq));
        faults.extend(missing.map(|seq| Fault::BodyMissing { seq }));
        self.checked = through;
        Ok(faults)
    }

    fn was_deleted(&self, seq: i64) -> bool {
        let mut deleted = self.deleted.iter();
        // What was deleted was there before.
        deleted.any(|(by, first, last)| seq < *by && (*first..=*last).contains(&seq))
    }
}

impl Covered {
    fn is(&self, kind: &str, row: &Stored) -> bool {
        row.kind == kind
            && row.truncated == self.truncated
            && row.full_bytes == self.bytes
            && row.bytes.len() == self.stored
            && hex(&digest(&row.salt, &row.bytes)) == self.digest
    }
}
