//! The events that no sums cover yet, as sums see them: a page counts them in, so that it is never behind.

use sqlx::SqliteConnection;

use crate::audit::behind::{load_earlier, load_mark};
use crate::audit::counts::Counts;
use crate::audit::log::load_piece;
use crate::audit::rollups::Sums;
use crate::audit::row;
use crate::audit::seen::{Openings, Seen, What};
use crate::db::DbError;
use crate::types::Timestamp;

use super::sums::{Pieces, Span};
use super::{Extent, at_of};

/// Events without sums that are counted at most, the newest ones. While calls go on some 5,000 wait; more only after
/// a start or an upgrade.
pub const FRESH: i64 = 20_000;

/// Events that are read at once.
const PIECE: i64 = 2_048;

/// The events that no sums cover yet.
#[derive(Debug, Default)]
pub struct Fresh {
    events: Vec<Noted>,
    missing: Option<(Timestamp, Timestamp)>,
    /// When the last event came that sums cover, when that is known.
    summed: Option<Timestamp>,
}

/// What one of them adds.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) at_us: i64,
    /// The numbers of agent, server and tool; 0 for none.
    pub(super) ids: [i64; 3],
    pub(super) counts: Counts,
    pub(super) latency_us: Option<i64>,
    pub(super) bytes_in: i64,
    pub(super) bytes_out: i64,
    /// Why it was refused.
    pub(super) reason: Option<String>,
    /// What it cost, by unit, in millionths.
    pub(super) spent: Vec<(String, i64)>,
}

impl Fresh {
    /// Reads them. Whatever is read with them must be read in the same transaction: what gets its sums in between
    /// would count twice.
    ///
    /// # Errors
    /// When SQLite refuses or an event cannot be read.
    pub async fn load(db: &mut SqliteConnection, extent: Extent) -> Result<Self, DbError> {
        let mark = load_mark(db).await?;
        let first = mark.saturating_add(1).max(extent.first);
        let near = extent.last.saturating_sub(FRESH).saturating_add(1);
        let mut fresh = Self {
            summed: at_of(db, mark).await?,
            ..Self::default()
        };
        if first < near {
            let since = at_of(db, first).await?;
            fresh.missing = since.zip(at_of(db, near).await?);
        }
        let mut openings = Openings::default();
        let mut after = first.max(near).saturating_sub(1);
        while let Some((last, piece)) = load_piece(db, after, extent.last, PIECE).await? {
            let rows = row::all(&piece).ok_or_else(|| {
                let text = format!("an event after {after} cannot be read");
                sqlx::Error::Decode(text.into())
            })?;
            openings.add(load_earlier(db, &rows).await?);
            let seen = rows.iter().filter_map(|row| openings.see(row));
            fresh.events.extend(seen.filter_map(Noted::of));
            after = last;
        }
        Ok(fresh)
    }

    /// The time of which not everything is counted, because sums are still being built; `None` when nothing is
    /// missing.
    pub fn missing(&self) -> Option<(Timestamp, Timestamp)> {
        self.missing
    }

    /// The pieces of a time. Nothing is summed up after the last event, so a time that ends later has all of the sum of its
    /// last day: one row for many quarters of an hour.
    pub(super) fn pieces(&self, span: Span) -> Pieces {
        match self.summed {
            Some(last) if last < span.to() => span.to_the_end_of_its_day().pieces(),
            Some(_) | None => span.pieces(),
        }
    }

    /// Those of a time.
    pub(super) fn of(&self, span: Span) -> impl Iterator<Item = &Noted> {
        self.between(span.from().micros(), span.to().micros())
    }

    /// Those from one instant up to, not including, another, in microseconds since 1970.
    pub(super) fn between(&self, from_us: i64, to_us: i64) -> impl Iterator<Item = &Noted> {
        let events = self.events.iter();
        events.filter(move |event| (from_us..to_us).contains(&event.at_us))
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Noted> {
        self.events.iter()
    }
}

impl Noted {
    fn of(seen: Seen<'_>) -> Option<Self> {
        let counts = Counts::from(&Sums::of(&seen)?);
        let mut noted = Self {
            at_us: seen.at_us,
            ids: seen.ids.map(Option::unwrap_or_default),
            counts,
            latency_us: None,
            bytes_in: 0,
            bytes_out: 0,
            reason: None,
            spent: Vec::new(),
        };
        match seen.what {
            What::Admitted { bytes_in, .. } => noted.bytes_in = bytes_in,
            What::Denied { reason, .. } => noted.reason = Some(reason.into()),
            What::Closed {
                latency_us,
                bytes_out,
                spent,
                ..
            } => {
                noted.latency_us = latency_us;
                noted.bytes_out = bytes_out;
                noted.spent = spent;
            }
            What::Other { .. } => {}
        }
        Some(noted)
    }
}
