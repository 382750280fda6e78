//! Requests without a valid token: counted in memory, written down as one event every few seconds, so that
//! nobody without a token can fill the disk.

use std::sync::{Mutex, PoisonError};

use crate::audit::{Entry, Kind};
use crate::types::Timestamp;

/// The count since the last event.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Strangers {
    pub(super) fn count(&self, at: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.unwrap_or(Seen {
            count: 0,
            first: at,
            last: at,
        });
        *seen = Some(Seen {
            count: before.count.saturating_add(1),
            last: at,
            ..before
        });
    }

    pub(super) fn take(&self) -> Option<Entry> {
        let seen = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let mut entry = Entry::new(Kind::Denied)
            .text("message", "no valid token")
            .number("count", seen.count);
        entry.reason = Some("not_authenticated".into());
        let entry = entry.json("first_us", seen.first.micros().to_string());
        Some(entry.json("last_us", seen.last.micros().to_string()))
    }
}
