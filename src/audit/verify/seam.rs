//! What goes on across the place where a log was cut: the names that had numbers, the calls that were under way, and
//! what each window of each budget had used. It is computed from the events that go, twice: when they are archived,
//! and by whoever verifies the archive. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Fault;
use super::calls::Calls;
use super::columns;
use super::meta::Meta;
use crate::audit::{Head, Names};
use crate::types::{CallId, hex};

/// What goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seam {
    /// How many names had numbers.
    pub names: i64,
    /// The digest of those names.
    pub names_sha256: String,
    /// The events of calls that were under way, in order.
    pub carried: Vec<Carried>,
    /// What was used, in order of key and window; only what is not 0.
    pub totals: Vec<Total>,
}

/// An event of a call that was under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// Its sequence.
    pub seq: i64,
    /// Its text.
    pub event: String,
}

/// What one window of one budget had used, in the unit of the budget.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Total {
    /// Which count.
    pub key: String,
    /// The start of the window, in microseconds since 1970.
    pub window: i64,
    /// How much.
    pub used: i64,
    /// What servers reported beyond what was held.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overrun: i64,
    /// Whether the budget is frozen for that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub frozen: bool,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Seam {
    /// As a text; the same events make the same text.
    pub fn to_json(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// The digest of a text, as events name it.
pub fn sha256_of(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    hex(&digest)
}

/// The digest of the names that have these numbers and lower ones.
pub(super) fn names_sha256<'a>(names: impl Iterator<Item = (i64, &'a str)>, count: i64) -> String {
    let mut known: Vec<(i64, &str)> = names.filter(|(id, _)| *id <= count).collect();
    known.sort_unstable();
    let mut digest = Sha256::new();
    for (id, text) in known {
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        digest.update(id.to_be_bytes());
        digest.update(length.to_be_bytes());
        digest.update(text.as_bytes());
    }
    let digest: [u8; 32] = digest.finalize().into();
    hex(&digest)
}

/// Walks through events up to the cut.
#[derive(Debug)]
pub struct SeamMaker {
    table: Vec<(i64, String)>,
    names: Names,
    calls: Calls,
    events: HashMap<CallId, Vec<Carried>>,
    fault: Option<Fault>,
}

impl SeamMaker {
    /// Begins at the first event of a log, or at an earlier cut. `table` is the table of names.
    pub fn new(earlier: Option<&Seam>, table: Vec<(i64, String)>) -> Self {
        let mut maker = Self {
            table,
            names: Names::default(),
            calls: Calls::default(),
            events: HashMap::new(),
            fault: None,
        };
        if let Some(seam) = earlier {
            let table = maker.table.iter().map(|(id, text)| (*id, text.as_str()));
            maker.names = Names::up_to(table, seam.names);
            for carried in &seam.carried {
                maker.event(carried.seq, &carried.event);
            }
            // Where the cut was does not matter: refunds are not compared here.
            maker.calls.go_on(&seam.totals, 0);
        }
        maker
    }

    /// Takes the next event in.
    pub fn event(&mut self, seq: i64, text: &str) {
        let Ok(meta) = serde_json::from_str::<Meta<'_>>(text) else {
            self.fault.get_or_insert(Fault::Changed { seq });
            return;
        };
        let names = [&meta.agent, &meta.server, &meta.tool].map(Option::as_deref);
        self.names.of_event(&*meta.kind == "denied", names);
        if let Some(fault) = self.calls.event(seq, &meta) {
            self.fault.get_or_insert(fault);
        }
        let Some(call) = columns::call(meta.call.as_ref()) else {
            return;
        };
        if self.calls.is_under_way(call) {
            let event = text.to_owned();
            self.events
                .entry(call)
                .or_default()
                .push(Carried { seq, event });
        } else {
            self.events.remove(&call);
        }
    }

    /// What goes on after the last event.
    ///
    /// # Errors
    /// The first thing that is wrong with the calls in them.
    pub fn finish(self) -> Result<Seam, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let names = self.names.count();
        let table = self.table.iter().map(|(id, text)| (*id, text.as_str()));
        let under_way = self
            .events
            .into_iter()
            .filter(|(call, _)| self.calls.is_under_way(*call));
        let mut carried: Vec<Carried> = under_way.flat_map(|(_, events)| events).collect();
        carried.sort_unstable_by_key(|event| event.seq);
        Ok(Seam {
            names,
            names_sha256: names_sha256(table, names),
            carried,
            totals: self.calls.totals(),
        })
    }
}

/// What the event of a prune says, as far as it is checked.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) last: i64,
    pub(super) head: String,
    pub(super) seam: String,
}

impl Said {
    pub(super) fn is_about(&self, last: Head, seam: &str) -> bool {
        self.last == last.seq && self.head == last.hex() && self.seam == seam
    }
}
