//! Refusals that repeat: the first few are written down one by one, the rest are counted, and written down as one
//! event with the exact number, so that an agent in a loop cannot fill the disk. Pure.
//!
//! The writer alone has them. What is counted here it keeps in a row of its own, in the same transaction as the
//! events, so that no refusal is forgotten in a crash either.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::types::{AgentName, ServerName, Timestamp};

use super::Entry;

/// Refusals alike within [`SPAN`] that are each an event of their own.
const ALIKE: u64 = 10;

/// How long refusals count as repeats of the first one.
const SPAN: Duration = Duration::from_secs(10);

/// Different subjects of one agent that are told apart within [`SPAN`]. An agent that makes names up has the rest
/// counted by reason alone.
const SUBJECTS: usize = 100;

/// What makes two refusals alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Likeness {
    agent: Option<AgentName>,
    reason: Option<String>,
    /// Server and tool; `None` for everything beyond [`SUBJECTS`].
    subject: Option<(Option<ServerName>, Option<String>)>,
}

/// Refusals alike since the first of them.
#[derive(Debug)]
struct Alike {
    since: Timestamp,
    written: u64,
    /// The row of those that were only counted.
    counted: Option<i64>,
}

/// Refusals that were counted and not written down yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeats {
    /// What is known of the first.
    pub entry: Entry,
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: Timestamp,
    /// When the last came.
    pub last: Timestamp,
}

/// What changed in the rows: those to be written, those to be taken away.
#[derive(Debug, Default)]
pub struct Changes {
    /// New or with another count.
    pub counted: Vec<(i64, Repeats)>,
    /// Written down as events.
    pub gone: Vec<i64>,
}

/// All that was refused lately.
#[derive(Debug, Default)]
pub struct Folds {
    alike: HashMap<Likeness, Alike>,
    subjects: HashMap<Option<AgentName>, usize>,
    rows: BTreeMap<i64, Repeats>,
    last: i64,
    touched: BTreeSet<i64>,
    gone: Vec<i64>,
}

impl Folds {
    /// Counts that were read from the file: all are due.
    pub fn new(rows: BTreeMap<i64, Repeats>) -> Self {
        Self {
            last: rows.keys().next_back().copied().unwrap_or(0),
            rows,
            ..Self::default()
        }
    }

    /// Whether a refusal is to be written down by itself; it is counted otherwise.
    pub fn keeps(&mut self, refusal: &Entry, at: Timestamp) -> bool {
        let likeness = self.likeness(refusal);
        let fresh = Alike {
            since: at,
            written: 0,
            counted: None,
        };
        let alike = self.alike.entry(likeness).or_insert(fresh);
        if at >= alike.since.after(SPAN) {
            // Its row stays until it is taken.
            (alike.since, alike.written, alike.counted) = (at, 0, None);
        }
        let keeps = alike.written < ALIKE;
        if keeps {
            alike.written = alike.written.saturating_add(1);
        } else {
            let id = *alike.counted.get_or_insert_with(|| {
                self.last = self.last.saturating_add(1);
                self.last
            });
            self.touched.insert(id);
            Repeats::count(self.rows.entry(id), refusal, at);
        }
        keeps
    }

    /// Takes the counts whose time is over, or all.
    pub fn take(&mut self, at: Timestamp, all: bool) -> Vec<Repeats> {
        let is_over = |alike: &Alike| all || at >= alike.since.after(SPAN);
        let over = self.alike.extract_if(|_, alike| is_over(alike));
        let over: Vec<Likeness> = over.map(|(likeness, _)| likeness).collect();
        for likeness in over.iter().filter(|likeness| likeness.subject.is_some()) {
            forget_subject(&mut self.subjects, &likeness.agent);
        }
        let growing: BTreeSet<i64> = self.alike.values().filter_map(|a| a.counted).collect();
        let due = self.rows.extract_if(.., |id, _| !growing.contains(id));
        let (ids, repeats): (Vec<i64>, Vec<Repeats>) = due.unzip();
        self.touched.retain(|id| growing.contains(id));
        self.gone.extend(ids);
        repeats
    }

    /// What changed since the last call of this function.
    pub fn take_changes(&mut self) -> Changes {
        let touched = std::mem::take(&mut self.touched).into_iter();
        let counted = touched.filter_map(|id| Some((id, self.rows.get(&id)?.clone())));
        Changes {
            counted: counted.collect(),
            gone: std::mem::take(&mut self.gone),
        }
    }

    fn likeness(&mut self, refusal: &Entry) -> Likeness {
        let mut likeness = Likeness {
            agent: refusal.agent.clone(),
            reason: refusal.reason.as_deref().map(str::to_owned),
            subject: Some((refusal.server.clone(), refusal.tool.clone())),
        };
        if self.alike.contains_key(&likeness) {
            return likeness;
        }
        let subjects = self.subjects.entry(refusal.agent.clone()).or_default();
        if *subjects < SUBJECTS {
            *subjects = subjects.saturating_add(1);
        } else {
            likeness.subject = None;
        }
        likeness
    }
}

fn forget_subject(subjects: &mut HashMap<Option<AgentName>, usize>, agent: &Option<AgentName>) {
    if let Some(known) = subjects.get_mut(agent) {
        *known = known.saturating_sub(1);
        if *known == 0 {
            subjects.remove(agent);
        }
    }
}

impl Repeats {
    fn count(row: Place<'_, i64, Self>, refusal: &Entry, at: Timestamp) {
        let repeats = row.or_insert_with(|| Self {
            entry: refusal.clone(),
            count: 0,
            first: at,
            last: at,
        });
        repeats.count = repeats.count.saturating_add(1);
        repeats.last = repeats.last.max(at);
        // One event cannot name the tools of several.
        if repeats.entry.tool != refusal.tool || repeats.entry.server != refusal.server {
            (repeats.entry.tool, repeats.entry.server) = (None, None);
        }
    }

    /// The one event for all of them: what is known of the first, and how many there were. It is no call of its
    /// own.
    pub fn to_entry(&self) -> Entry {
        let mut entry = self.entry.clone();
        entry.call = None;
        entry
            .number("count", self.count)
            .json("first_us", self.first.micros().to_string())
            .json("last_us", self.last.micros().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;

    fn refusal(agent: &str, tool: &str, reason: &'static str) -> Entry {
        let mut entry = Entry::new(Kind::Denied);
        entry.agent = Some(agent.parse().unwrap());
        entry.tool = Some(tool.into());
        entry.reason = Some(reason.into());
        entry
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0).after(Duration::from_secs(seconds))
    }

    /// What was folded: tool and number.
    fn taken(folds: &mut Folds, when: Option<Timestamp>) -> Vec<(Option<String>, u64)> {
        let taken = folds.take(when.unwrap_or(at(0)), when.is_none());
        taken.into_iter().map(|r| (r.entry.tool, r.count)).collect()
    }

    #[test]
    fn the_first_ten_alike_are_kept_and_the_rest_is_counted_exactly() {
        let mut folds = Folds::default();
        let kept = (0..250).filter(|_| folds.keeps(&refusal("a", "t", "budget"), at(1)));
        assert_eq!(kept.count(), 10);
        assert!(
            folds.keeps(&refusal("a", "t", "rate"), at(1)),
            "another reason"
        );
        assert!(
            folds.keeps(&refusal("a", "u", "budget"), at(1)),
            "another tool"
        );
        assert!(
            folds.keeps(&refusal("b", "t", "budget"), at(1)),
            "another agent"
        );
        assert!(
            taken(&mut folds, Some(at(10))).is_empty(),
            "the span goes on"
        );
        assert_eq!(taken(&mut folds, Some(at(11))), [(Some("t".into()), 240)]);
        assert!(taken(&mut folds, None).is_empty(), "taken once");
    }

    #[test]
    fn after_the_span_repeats_are_kept_again_and_none_is_lost() {
        let mut folds = Folds::default();
        let mut kept = 0;
        for second in 0..35 {
            for _ in 0..3 {
                kept += u64::from(folds.keeps(&refusal("a", "t", "budget"), at(second)));
            }
        }
        let counted: u64 = taken(&mut folds, None)
            .into_iter()
            .map(|(_, count)| count)
            .sum();
        assert_eq!((kept, counted), (40, 3 * 35 - 40));
    }

    #[test]
    fn an_agent_that_makes_names_up_is_bounded_and_still_counted() {
        let mut folds = Folds::default();
        let made_up = (0..1_000).map(|n| refusal("a", &format!("t{n}"), "unknown_tool"));
        let kept = made_up.filter(|entry| folds.keeps(entry, at(1))).count();
        assert_eq!(kept, SUBJECTS + 10);
        assert!(folds.keeps(&refusal("b", "t", "unknown_tool"), at(1)));
        assert_eq!(taken(&mut folds, Some(at(11))), [(None, 890)]);
        assert!(folds.subjects.is_empty());
        assert!(folds.keeps(&refusal("a", "t900", "unknown_tool"), at(12)));
    }

    #[test]
    fn the_one_event_says_how_many_and_from_when_to_when() {
        let mut folds = Folds::default();
        for second in 0..9 {
            for _ in 0..5 {
                folds.keeps(&refusal("a", "t", "budget"), at(second));
            }
        }
        let repeats = folds.take(at(9), true);
        let meta = repeats[0].to_entry().to_meta(at(20));
        assert_eq!(
            meta,
            r#"{"at_us":20000000,"kind":"denied","agent":"a","tool":"t","reason":"budget","count":35,"first_us":2000000,"last_us":8000000}"#
        );
    }

    #[test]
    fn rows_say_what_is_counted_and_go_when_it_is_taken() {
        let mut folds = Folds::default();
        for _ in 0..12 {
            folds.keeps(&refusal("a", "t", "budget"), at(1));
        }
        let changes = folds.take_changes();
        let [(id, repeats)] = &changes.counted[..] else {
            panic!("one row: {changes:?}");
        };
        assert_eq!((repeats.count, changes.gone.len()), (2, 0));
        assert!(folds.take_changes().counted.is_empty(), "nothing new");
        folds.keeps(&refusal("a", "t", "budget"), at(2));
        assert_eq!(folds.take(at(11), false)[0].count, 3);
        let changes = folds.take_changes();
        assert!(changes.counted.is_empty());
        assert_eq!(changes.gone, [*id]);
        let read_back = Folds::new([(*id, repeats.clone())].into()).take(at(0), false);
        let [read_back] = &read_back[..] else {
            panic!("what a crash left is due at once: {read_back:?}");
        };
        assert_eq!(read_back, repeats);
    }
}
