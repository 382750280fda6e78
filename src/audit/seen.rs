//! One event as lookups and sums see it. Pure.
//!
//! What belongs to a call counts for whoever opened it: a closing event may name nobody.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::Entry;
use super::row::EventRow;
use crate::types::{CallId, KeyParts, Unit};

/// The event that opened a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    /// Its sequence.
    pub(super) seq: i64,
    /// The numbers of agent, server and tool.
    pub(super) ids: [Option<i64>; 3],
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Ok,
    Error,
    Failed,
    Released,
    Abandoned,
}

impl Ending {
    /// The word of pages and lookups.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
        }
    }

    fn of(kind: &str, is_ok: bool) -> Option<Self> {
        match (kind, is_ok) {
            ("settled", true) => Some(Self::Ok),
            ("settled", false) => Some(Self::Error),
            ("failed", _) => Some(Self::Failed),
            ("released", _) => Some(Self::Released),
            ("abandoned", _) => Some(Self::Abandoned),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// A call was let through.
    Admitted {
        /// Whether agent, server and tool have names.
        named: [bool; 3],
        /// Bytes of what was asked.
        bytes_in: i64,
    },
    /// A call was refused, or several alike.
    Denied {
        /// Why.
        reason: &'a str,
        /// How many.
        times: i64,
        /// Whether agent, server and tool have names.
        named: [bool; 3],
    },
    /// A call ended.
    Closed {
        /// The sequence of the event that opened it.
        opened: i64,
        /// How.
        ending: Ending,
        /// How long it took, in microseconds, when that is known.
        latency_us: Option<i64>,
        /// What its budgets were charged, together.
        charged: i64,
        /// Bytes of the answer.
        bytes_out: i64,
        /// What it cost, by unit, in millionths: the most that one of its budgets in this unit was charged.
        spent: Vec<(String, i64)>,
    },
    /// No event of a call.
    Other {
        /// Its kind.
        kind: &'a str,
    },
}

/// An event that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    pub(super) seq: i64,
    pub(super) at_us: i64,
    /// The numbers of agent, server and tool.
    pub(super) ids: [Option<i64>; 3],
    pub(super) what: What<'a>,
}

/// What stands in the text of an event and in no column, as far as it counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Whether agent, server and tool have names.
    named: [bool; 3],
    /// Whether an answer was an error.
    is_error: bool,
    latency_us: Option<i64>,
    count: Option<i64>,
    bytes_in: Option<i64>,
    bytes_out: Option<i64>,
    charged: i64,
    spent: Vec<(String, i64)>,
}

/// The same in the text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Text<'a> {
    #[serde(borrow)]
    agent: Option<Word<'a>>,
    #[serde(borrow)]
    server: Option<Word<'a>>,
    #[serde(borrow)]
    tool: Option<Word<'a>>,
    #[serde(borrow)]
    outcome: Option<Word<'a>>,
    latency_us: Option<i64>,
    count: Option<i64>,
    bytes_in: Option<i64>,
    bytes_out: Option<i64>,
    #[serde(borrow)]
    budgets: Vec<Charge<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Word<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Debug, Deserialize)]
struct Charge<'a> {
    #[serde(borrow)]
    key: Option<Word<'a>>,
    #[serde(default)]
    charged: i64,
}

impl Told {
    /// As the text of an event says. One that cannot be read tells nothing; that it was changed is for `verify` to say.
    fn read(meta: &str) -> Self {
        let text: Text<'_> = serde_json::from_str(meta).unwrap_or_default();
        Self {
            named: [&text.agent, &text.server, &text.tool].map(Option::is_some),
            is_error: text.outcome.is_some_and(|word| word.0 != "ok"),
            latency_us: text.latency_us,
            count: text.count,
            bytes_in: text.bytes_in,
            bytes_out: text.bytes_out,
            ..Self::default()
        }
        .charging(&text.budgets)
    }

    /// The same of an event that is about to be written, without reading what was just put together.
    pub(super) fn of(entry: &Entry) -> Self {
        let mut told = Self {
            named: [
                entry.agent.is_some(),
                entry.server.is_some(),
                entry.tool.is_some(),
            ],
            ..Self::default()
        };
        let mut charges = Vec::new();
        for (key, value) in &entry.details {
            match &**key {
                "outcome" => told.is_error = value != r#""ok""#,
                "latency_us" => told.latency_us = value.parse().ok(),
                "count" => told.count = value.parse().ok(),
                "bytes_in" => told.bytes_in = value.parse().ok(),
                "bytes_out" => told.bytes_out = value.parse().ok(),
                "budgets" => charges = serde_json::from_str(value).unwrap_or_default(),
                _ => {}
            }
        }
        told.charging(&charges)
    }

    fn charging(self, budgets: &[Charge<'_>]) -> Self {
        let charged = budgets.iter().map(|budget| budget.charged);
        Self {
            charged: charged.fold(0, i64::saturating_add),
            spent: spent(budgets),
            ..self
        }
    }
}

/// The calls that were opened and not closed yet.
#[derive(Debug, Default)]
pub(super) struct Openings(HashMap<CallId, Opened>);

impl Openings {
    /// Adds calls that were opened earlier.
    pub(super) fn add(&mut self, earlier: impl IntoIterator<Item = (CallId, Opened)>) {
        self.0.extend(earlier);
    }

    /// Takes the next event in; `None` for a closing event of a call that never opened, which counts nowhere.
    pub(super) fn see<'a>(&mut self, row: &EventRow<'a>) -> Option<Seen<'a>> {
        let mut ids = row.ids;
        let what = match row.kind {
            "admitted" => {
                let opened = Opened { seq: row.seq, ids };
                self.0.extend(row.call.map(|call| (call, opened)));
                let told = told(row);
                What::Admitted {
                    named: told.named,
                    bytes_in: told.bytes_in.unwrap_or(0),
                }
            }
            "denied" => {
                let told = told(row);
                What::Denied {
                    reason: row.reason.unwrap_or_default(),
                    times: told.count.unwrap_or(1),
                    named: told.named,
                }
            }
            kind if closes(kind) => {
                let opened = self.0.remove(&row.call?)?;
                ids = opened.ids;
                closed(row, opened.seq)?
            }
            kind => What::Other { kind },
        };
        let (seq, at_us) = (row.seq, row.at_us);
        Some(Seen {
            seq,
            at_us,
            ids,
            what,
        })
    }
}

/// Whether events of this kind end a call.
pub(super) fn closes(kind: &str) -> bool {
    Ending::of(kind, true).is_some()
}

fn closed<'a>(row: &EventRow<'_>, opened: i64) -> Option<What<'a>> {
    let told = told(row);
    Some(What::Closed {
        opened,
        ending: Ending::of(row.kind, !told.is_error)?,
        latency_us: told.latency_us,
        charged: told.charged,
        bytes_out: told.bytes_out.unwrap_or(0),
        spent: told.spent.clone(),
    })
}

/// What a call cost in each unit of cost. Several budgets may count the same money: it was paid once.
fn spent(budgets: &[Charge<'_>]) -> Vec<(String, i64)> {
    let mut spent: Vec<(String, i64)> = Vec::new();
    for Charge { key, charged } in budgets {
        let Some(key) = key.as_ref().filter(|_| *charged > 0) else {
            continue;
        };
        let unit = match Unit::of_key(KeyParts::of(&key.0).unit) {
            Unit::Cost(unit) if !unit.is_empty() => unit,
            Unit::Calls | Unit::Argument(_) | Unit::Cost(_) => continue,
        };
        match spent.iter_mut().find(|(known, _)| **known == *unit) {
            Some((_, most)) => *most = (*most).max(*charged),
            None => spent.push((unit.to_string(), *charged)),
        }
    }
    spent
}

fn told<'a>(row: &EventRow<'a>) -> Cow<'a, Told> {
    match row.told {
        Some(told) => Cow::Borrowed(told),
        None => Cow::Owned(Told::read(row.meta)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;
    use crate::types::Timestamp;

    fn row<'a>(seq: i64, kind: &'a str, meta: &'a str) -> EventRow<'a> {
        EventRow {
            seq,
            at_us: 5,
            ids: [Some(1), Some(2), None],
            call: Some(CallId::new(Timestamp::default(), [9; 10])),
            kind,
            reason: None,
            meta,
            hash: [0; 32],
            told: None,
        }
    }

    #[test]
    fn an_event_tells_before_it_is_written_what_its_text_tells_afterwards() {
        let charges = r#"[{"key":"agents.a USD/day@UTC","charged":20000},{"key":"b","charged":2},{"charged":1}]"#;
        let plain = Entry::new(Kind::Settled);
        let whole = Entry {
            agent: Some("clawd".parse().unwrap()),
            server: Some("art".parse().unwrap()),
            tool: Some("ima\"gine".into()),
            ..Entry::new(Kind::Settled)
        };
        let whole = whole
            .number("latency_us", 1_234)
            .number("bytes_in", 17)
            .number("bytes_out", 4_096)
            .number("count", 3)
            .json("budgets", charges.into())
            .text("client", "ok");
        for (entry, is_error) in [
            (plain.clone(), false),
            (plain.text("outcome", "ok"), false),
            (whole.clone().text("outcome", "ok"), false),
            (whole.text("outcome", "tool_error"), true),
        ] {
            let told = Told::of(&entry);
            assert_eq!(told.is_error, is_error);
            assert_eq!(told, Told::read(&entry.to_meta(Timestamp::default())));
        }
    }

    #[test]
    fn a_closing_event_counts_for_whoever_opened_the_call() {
        let mut openings = Openings::default();
        let opening = row(3, "admitted", r#"{"agent":"a","server":"b"}"#);
        let seen = openings.see(&opening).unwrap();
        let named = [true, true, false];
        let bytes_in = 0;
        assert_eq!(seen.what, What::Admitted { named, bytes_in });
        let meta =
            r#"{"outcome":"tool_error","latency_us":7,"budgets":[{"charged":2},{"charged":3}]}"#;
        let closing = EventRow {
            ids: [None; 3],
            ..row(4, "settled", meta)
        };
        let seen = openings.see(&closing).unwrap();
        assert_eq!(seen.ids, opening.ids);
        let what = What::Closed {
            opened: 3,
            ending: Ending::Error,
            latency_us: Some(7),
            charged: 5,
            bytes_out: 0,
            spent: Vec::new(),
        };
        assert_eq!(seen.what, what);
        assert_eq!(openings.see(&closing), None, "a call closes once");
    }

    #[test]
    fn a_call_cost_what_the_dearest_of_its_budgets_of_a_unit_was_charged() {
        let mut openings = Openings::default();
        openings.see(&row(3, "admitted", "{}")).unwrap();
        let meta = r#"{"bytes_out":9,"budgets":[
            {"key":"agents.a USD/day@UTC","charged":20000},{"key":"servers.b USD/month@UTC each agent=a","charged":30000},
            {"key":"servers.b[c] calls/day@UTC","charged":1},{"key":"agents.a argument:pages/day@UTC","charged":7},
            {"key":"agents.a tokens/total","charged":5},{"key":"agents.a EUR/day@UTC","charged":0},{"charged":8}]}"#;
        let seen = openings.see(&row(4, "settled", meta)).unwrap();
        let What::Closed {
            spent, bytes_out, ..
        } = seen.what
        else {
            panic!("{seen:?}");
        };
        assert_eq!(spent, [("USD".into(), 30_000), ("tokens".into(), 5)]);
        assert_eq!(bytes_out, 9);
    }

    #[test]
    fn refusals_count_as_often_as_they_say() {
        let meta = r#"{"tool":"made up","count":12}"#;
        let row = EventRow {
            reason: Some("budget"),
            ..row(3, "denied", meta)
        };
        let what = What::Denied {
            reason: "budget",
            times: 12,
            named: [false, false, true],
        };
        assert_eq!(Openings::default().see(&row).unwrap().what, what);
    }
}
