//! Which calls belong to an agent, a server, a tool, a reason, a state: lists of places, built in sorted runs.
//!
//! An index that is kept with every event touches a page for each agent and tool in each commit, which costs three
//! times as much as the event. Here all lists of one stretch of the log lie side by side, and a run of events adds
//! to them at once.

use std::collections::BTreeMap;

use super::seen::{Seen, What};
use crate::db::{DbError, WriteTx, params};

/// Sequence numbers that one stretch of the lists covers. A place in it has two bytes.
pub(super) const CHUNK: i64 = 16_384;

/// A name that the log has no number for.
pub(super) const UNNUMBERED: &str = "?";

// Putting two values together makes a text of them, with the same bytes.
const NEW_PLACES: &str = "INSERT INTO lookup (chunk, dimension, term, places) VALUES (?, ?, ?, ?)
    ON CONFLICT (chunk, dimension, term) DO UPDATE SET places = CAST(places || excluded.places AS BLOB)";

/// What calls are looked up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Dimension {
    /// Who called.
    Agent,
    /// Which server.
    Server,
    /// Which tool.
    Tool,
    /// Why refused; nothing for a call that was let through.
    Reason,
    /// How it ended, or `denied`.
    State,
    /// Events that belong to no call, by their kind.
    Kind,
}

impl Dimension {
    /// The word in the column.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Reason => "reason",
            Self::State => "state",
            Self::Kind => "kind",
        }
    }
}

/// Names the lists that an event stands in, and the place: that of the event which opened its call.
pub(super) fn places(seen: &Seen<'_>, mut each: impl FnMut(Dimension, &str, i64)) {
    let seq = seen.seq;
    let (reason, named) = match seen.what {
        What::Admitted { named, .. } => ("", named),
        What::Denied { reason, named, .. } => {
            each(Dimension::State, "denied", seq);
            (reason, named)
        }
        What::Closed { opened, ending, .. } => {
            return each(Dimension::State, ending.as_str(), opened);
        }
        What::Other { kind } => return each(Dimension::Kind, kind, seq),
    };
    each(Dimension::Reason, reason, seq);
    let dimensions = [Dimension::Agent, Dimension::Server, Dimension::Tool];
    for ((dimension, id), named) in dimensions.into_iter().zip(seen.ids).zip(named) {
        match id {
            Some(id) => each(dimension, &id.to_string(), seq),
            None => each(dimension, if named { UNNUMBERED } else { "" }, seq),
        }
    }
}

/// The stretch of the lists that a sequence number lies in, and its place there.
pub(super) fn place(seq: i64) -> (i64, u16) {
    let place = u16::try_from(seq.rem_euclid(CHUNK)).unwrap_or(u16::MAX);
    (seq.div_euclid(CHUNK), place)
}

/// The sequence numbers of a list.
pub(super) fn seqs(chunk: i64, places: &[u8]) -> impl Iterator<Item = i64> {
    let first = chunk.saturating_mul(CHUNK);
    places.chunks_exact(2).filter_map(move |pair| {
        let place = u16::from_le_bytes(pair.try_into().ok()?);
        Some(first.saturating_add(i64::from(place)))
    })
}

/// What a run of events adds to the lists.
#[derive(Debug, Default)]
pub(super) struct Lists(BTreeMap<(i64, Dimension, String), Vec<u8>>);

impl Lists {
    /// Takes one event in.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        places(seen, |dimension, term, seq| {
            let (chunk, place) = place(seq);
            let list = self.0.entry((chunk, dimension, term.to_owned()));
            list.or_default().extend(place.to_le_bytes());
        });
    }

    /// Adds all of it to the table.
    ///
    /// # Errors
    /// When SQLite refuses; nothing of the transaction may be kept then.
    pub(super) fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        tx.each(
            NEW_PLACES,
            &self.0,
            |add, ((chunk, dimension, term), places)| {
                add.change(params![chunk, dimension.as_str(), term, places])
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_back_to_its_sequence_number() {
        for seq in [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 10_000_000] {
            let (chunk, place) = place(seq);
            let found: Vec<i64> = seqs(chunk, &place.to_le_bytes()).collect();
            assert_eq!(found, [seq]);
        }
    }

    #[test]
    fn every_opening_stands_in_one_list_of_each_dimension() {
        let named = [true, true, false];
        let what = What::Denied {
            reason: "budget",
            times: 3,
            named,
        };
        let seen = Seen {
            seq: 9,
            at_us: 0,
            ids: [Some(4), None, None],
            what,
        };
        let mut found = Vec::new();
        places(&seen, |dimension, term, seq| {
            found.push(format!("{} {term} {seq}", dimension.as_str()));
        });
        let expected = [
            "state denied 9",
            "reason budget 9",
            "agent 4 9",
            "server ? 9",
            "tool  9",
        ];
        assert_eq!(found, expected);
    }
}
