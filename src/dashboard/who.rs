//! What the pages about agents, servers and tools have in common: addresses, numbers that lead to their calls, words
//! for times, and what is said when there is nothing of a name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use crate::audit::filter::{Back, Filter, Key, Period};
use crate::audit::read::{self, Fresh, Picks, Spent};
use crate::audit::{Counts, Histogram};
use crate::db::PageReader;
use crate::policy::{Agent, deciding};
use crate::types::{CallId, ServerName, Timestamp, Unit, shown};

use super::BASE;
use super::failure::{Failure, html};
use super::figures::{count, span};
use super::filter::{COLUMNS, REFRESH, encode};
use super::frame::{Frame, Link};
use super::visit::{Visit, reading};

/// Names alike enough to suggest one for the other (Jaro-Winkler, from 0 to 1).
const ALIKE: f64 = 0.8;

/// Reads everything as it was at one moment: sums and the events that have none yet must belong together, or some count
/// twice.
pub(super) async fn at_one_moment<T>(
    visit: &Visit,
    read: impl AsyncFnOnce(&mut PageReader) -> Result<T, Failure>,
) -> Result<T, Failure> {
    reading(visit, async |db| read(db).await).await
}

/// The events that no sums cover yet; none of an empty log.
pub(super) async fn fresh(db: &mut PageReader) -> Result<Fresh, Failure> {
    Ok(match read::extent(db).await? {
        Some(extent) => Fresh::load(db, extent).await?,
        None => Fresh::default(),
    })
}

/// Addresses that keep what is in force.
#[derive(Debug)]
pub(super) struct Links {
    kept: Filter,
    /// The same with the time written down that these pages show when none is asked for.
    dated: Filter,
}

impl Links {
    pub(super) fn new(visit: &Visit) -> Self {
        let kept = visit.filter.any_call().leaving(REFRESH).leaving(COLUMNS);
        Self {
            dated: kept.during(period(visit)),
            kept,
        }
    }

    /// All agents, or all servers: `agents`, `servers`.
    pub(super) fn list(&self, pages: &str) -> String {
        format!("{BASE}/{pages}{}", self.kept)
    }

    /// The page of an agent.
    pub(super) fn agent(&self, name: &str) -> String {
        format!("{BASE}/agents/{}{}", segment(name), self.kept)
    }

    /// The page of a server.
    pub(super) fn server(&self, name: &str) -> String {
        format!("{BASE}/servers/{}{}", segment(name), self.kept)
    }

    /// The page of a tool.
    pub(super) fn tool(&self, server: &str, tool: &str) -> String {
        let (server, tool) = (segment(server), segment(tool));
        format!("{BASE}/servers/{server}/tools/{tool}{}", self.kept)
    }

    /// The list of calls with these conditions, of the time that is shown.
    pub(super) fn calls(&self, which: &[(Key, &str)]) -> String {
        calls(&self.dated, which)
    }

    /// One very call.
    pub(super) fn one_call(&self, call: CallId) -> String {
        let filter = Filter {
            call: Some(call),
            ..self.kept.time_only().during(Period::Ever)
        };
        format!("{BASE}/calls{filter}")
    }

    /// The same of another time.
    pub(super) fn calls_during(&self, period: Period, which: &[(Key, &str)]) -> String {
        calls(&self.dated.during(period), which)
    }

    /// How many calls there were, how many were refused and how many ended badly; each leads to them.
    pub(super) fn numbers(&self, counts: &Counts, which: &[(Key, &str)]) -> [Number; 3] {
        let and = |more: &[(Key, &'static str)]| {
            let all: Vec<(Key, &str)> = which.iter().chain(more).copied().collect();
            self.calls(&all)
        };
        [
            Number::new(counts.calls(), and(&[])),
            Number::new(counts.refused, and(&[(Key::Decision, "denied")])),
            Number::new(counts.bad(), and(&BAD)),
        ]
    }
}

/// Calls that ended otherwise than well.
const BAD: [(Key, &str); 4] = [
    (Key::Decision, "error"),
    (Key::Decision, "failed"),
    (Key::Decision, "released"),
    (Key::Decision, "abandoned"),
];

fn calls(filter: &Filter, which: &[(Key, &str)]) -> String {
    let mut filter = filter.clone();
    let is_named = |key: Key| which.iter().any(|(named, _)| *named == key);
    filter.picks.retain(|pick| !is_named(pick.key));
    let filter = which
        .iter()
        .fold(filter, |filter, (key, value)| filter.with(*key, value));
    format!("{BASE}/calls{filter}")
}

/// The name that stands in a path between two texts, as it was meant.
pub(super) fn named_in(path: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = path.split_once(before)?;
    let (name, _) = rest.rsplit_once(after)?;
    Some(percent_decode_str(name).decode_utf8_lossy().into_owned())
}

/// A name as one piece of a path, whatever is in it.
fn segment(name: &str) -> String {
    encode(name).to_string().replace('/', "%2F")
}

/// A number, and where what it counts is listed.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) href: String,
    pub(super) is_none: bool,
}

impl Number {
    pub(super) fn new(number: i64, href: String) -> Self {
        Self {
            text: count(number),
            href,
            is_none: number == 0,
        }
    }
}

/// A word beside a name.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) text: &'static str,
    /// `good`, `bad` or nothing.
    pub(super) class: &'static str,
}

/// The time a page shows.
pub(super) fn period(visit: &Visit) -> Period {
    match visit.filter.period {
        Period::Ever => Period::Last(Back::MONTH),
        period @ (Period::Last(_) | Period::Between { .. }) => period,
    }
}

/// The time a page shows, in words: `in the last 30 days`.
pub(super) fn in_time(visit: &Visit) -> String {
    let watch = visit.watch();
    let told = |at: Timestamp| watch.tell_minutes(at).line();
    match period(visit) {
        Period::Last(back) => format!("in the last {}", spelled(&back.to_string())),
        Period::Between {
            from: Some(from),
            to: Some(to),
        } => format!("from {} to {}", told(from), told(to)),
        Period::Between {
            from: Some(from),
            to: None,
        } => format!("since {}", told(from)),
        Period::Between {
            from: None,
            to: Some(to),
        } => format!("before {}", told(to)),
        Period::Ever | Period::Between { .. } => "so far".into(),
    }
}

/// `30d` as `30 days`.
fn spelled(back: &str) -> String {
    let units = [("m", "minute"), ("h", "hour"), ("d", "day")];
    let found = units
        .into_iter()
        .find_map(|(letter, word)| Some((back.strip_suffix(letter)?, word)));
    match found {
        Some(("1", word)) => word.into(),
        Some((number, word)) => format!("{number} {word}s"),
        None => back.into(),
    }
}

/// A number of things: `1 agent`, `12 agents`.
pub(super) fn things(number: usize, one: &str, many: &str) -> String {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let word = if number == 1 { one } else { many };
    format!("{} {word}", count(number))
}

/// The same of calls.
pub(super) fn calls_word(number: i64) -> String {
    let word = if number == 1 { "call" } else { "calls" };
    format!("{} {word}", count(number))
}

/// A share in percent: `0.4 %`, `12 %`; nothing of nothing.
pub(super) fn percent(part: i64, whole: i64) -> String {
    let tenths = part.max(0).saturating_mul(1_000).checked_div(whole);
    match tenths {
        None => "–".into(),
        Some(0) if part > 0 => "< 0.1 %".into(),
        Some(0) => "0 %".into(),
        Some(tenths @ 1..100) => format!("{}.{} %", tenths / 10, tenths % 10),
        Some(tenths) => format!("{} %", tenths / 10),
    }
}

/// The times that 50, 95 and 99 of a hundred calls did not exceed.
pub(super) fn percentiles(times: &Histogram) -> [String; 3] {
    [50, 95, 99].map(|of_hundred| times.percentile(of_hundred).map_or("–".into(), span))
}

/// Money by unit: `12.4 USD, 300 tokens`; empty for none.
pub(super) fn spent<'a>(spent: impl Iterator<Item = &'a Spent>) -> String {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for one in spent {
        let sum = sums.entry(&one.unit).or_default();
        *sum = sum.saturating_add(u64::try_from(one.micros).unwrap_or(0));
    }
    let told = sums.into_iter().map(|(unit, micros)| {
        let number = Unit::Cost(unit.into()).number(micros);
        format!("{number} {}", shown::name(unit))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// Whether a name is among those that are asked for.
pub(super) fn keeps(picks: &Picks, name: &str) -> bool {
    let is = |names: &[String]| names.iter().any(|asked| asked == name);
    (picks.only.is_empty() || is(&picks.only)) && !is(&picks.not)
}

/// How often each grant of an agent, by its path, let a call through, going by the grants as they are now: of calls to a
/// tool, those that name it most exactly.
pub(super) fn grant_uses<'a>(
    agent: &Agent,
    called: impl Iterator<Item = (&'a str, &'a str, i64)>,
    at: Timestamp,
) -> HashMap<Arc<str>, i64> {
    let mut uses = HashMap::new();
    for (server, tool, calls) in called.filter(|(_, _, calls)| *calls > 0) {
        let Ok(server) = server.parse::<ServerName>() else {
            continue;
        };
        for grant in deciding(agent, &server, tool, at) {
            let sum: &mut i64 = uses.entry(Arc::clone(&grant.place.path)).or_default();
            *sum = sum.saturating_add(calls);
        }
    }
    uses
}

/// The page about a name that neither the rules nor the log know.
#[derive(Debug, Template)]
#[template(path = "unknown.html", whitespace = "minimize")]
struct Nobody {
    frame: Frame,
    /// `agent`, `server`, `tool`.
    what: &'static str,
    name: String,
    meant: Option<Link>,
    list: Link,
}

/// Says that there is nothing of a name, and what may be meant. `href` leads to the page of a name that is known.
pub(super) fn nobody<'a>(
    visit: &Visit,
    (here, what): (&'static str, &'static str),
    name: &str,
    known: impl Iterator<Item = &'a str>,
    href: impl Fn(&str) -> String,
) -> Response {
    let alike = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let best = alike.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let best = best.filter(|(score, _)| *score >= ALIKE);
    let page = Nobody {
        frame: visit.frame(here),
        what,
        name: shown::name(name).to_string(),
        meant: best.map(|(_, known)| Link {
            href: href(known),
            text: shown::name(known).to_string(),
        }),
        list: Link {
            href: Links::new(visit).list(here),
            text: format!("All {here}"),
        },
    };
    (StatusCode::NOT_FOUND, html(&page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_told_as_people_say_them() {
        let shares = [
            (0, 0),
            (0, 9),
            (1, 9_999),
            (4, 1_000),
            (99, 1_000),
            (1, 2),
            (9, 9),
        ];
        let told = shares.map(|(part, whole)| percent(part, whole));
        assert_eq!(
            told,
            ["–", "0 %", "< 0.1 %", "0.4 %", "9.9 %", "50 %", "100 %"]
        );
        let spelled = ["1h", "24h", "30d", "1d", "15m"].map(spelled);
        assert_eq!(
            spelled,
            ["hour", "24 hours", "30 days", "day", "15 minutes"]
        );
    }

    #[test]
    fn a_name_is_one_piece_of_a_path_whatever_is_in_it() {
        let names = ["clawd", "a/b", "über ?", "100%", "<i>"].map(segment);
        assert_eq!(
            names,
            ["clawd", "a%2Fb", "%C3%BCber%20%3F", "100%25", "%3Ci%3E"]
        );
    }
}
