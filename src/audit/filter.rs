//! The words of a filter: `agent=clawd`, `-tool=imagine`, `range=24h`. The address of a page and the command line
//! speak them alike. Pure.
//!
//! A key that repeats means "or", different keys mean "and", a leading minus leaves out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime};

use crate::types::{CallId, Timestamp, Zone};

use super::read::{CallRow, CallState, Cursor, Picks, Wanted};

/// Conditions in one filter; one more is refused.
pub const MAX_PICKS: usize = 40;

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Who called.
    Agent,
    /// Which server was meant.
    Server,
    /// Which tool.
    Tool,
    /// How the call stands.
    Decision,
    /// Why it was refused.
    Reason,
}

impl Key {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Agent,
        Self::Server,
        Self::Tool,
        Self::Decision,
        Self::Reason,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Decision => "decision",
            Self::Reason => "reason",
        }
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|key| key.as_str() == text)
            .ok_or(())
    }
}

/// The words that `decision` knows besides those of [`CallState`]: everything that was let through.
const ALLOWED: &str = "allowed";

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// What it is about.
    pub key: Key,
    /// Whether it leaves out instead of keeping.
    pub not: bool,
    /// The value.
    pub value: String,
}

/// Which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Period {
    /// All of it.
    #[default]
    Ever,
    /// The last minutes, hours or days.
    Last(Back),
    /// From one instant up to, not including, another.
    Between {
        /// The first instant; `None` for all before.
        from: Option<Timestamp>,
        /// The end; `None` for all after.
        to: Option<Timestamp>,
    },
}

/// A count of minutes, hours or days: `30m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Back {
    count: u16,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Minutes,
    Hours,
    Days,
}

impl Back {
    /// One hour.
    pub const HOUR: Self = Self::of(1, Unit::Hours);
    /// 24 hours.
    pub const DAY: Self = Self::of(24, Unit::Hours);
    /// Seven days.
    pub const WEEK: Self = Self::of(7, Unit::Days);
    /// Thirty days.
    pub const MONTH: Self = Self::of(30, Unit::Days);
    /// Ninety days.
    pub const QUARTER: Self = Self::of(90, Unit::Days);
    /// 365 days.
    pub const YEAR: Self = Self::of(365, Unit::Days);

    const fn of(count: u16, unit: Unit) -> Self {
        Self { count, unit }
    }

    /// A count of days.
    pub const fn days(count: u16) -> Self {
        Self::of(count, Unit::Days)
    }

    /// A count of minutes.
    pub const fn minutes(count: u16) -> Self {
        Self::of(count, Unit::Minutes)
    }

    /// A count of hours.
    pub const fn hours(count: u16) -> Self {
        Self::of(count, Unit::Hours)
    }

    /// The instant so long before another.
    pub fn before(self, now: Timestamp) -> Timestamp {
        let micros = i64::try_from(self.duration().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(now.micros().saturating_sub(micros))
    }

    fn duration(self) -> Duration {
        let seconds = match self.unit {
            Unit::Minutes => 60,
            Unit::Hours => 3_600,
            Unit::Days => 86_400,
        };
        Duration::from_secs(u64::from(self.count).saturating_mul(seconds))
    }
}

impl FromStr for Back {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (count, unit) = text
            .split_at_checked(text.len().saturating_sub(1))
            .ok_or(())?;
        let unit = match unit {
            "m" => Unit::Minutes,
            "h" => Unit::Hours,
            "d" => Unit::Days,
            _ => return Err(()),
        };
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        match count.parse() {
            Ok(0) | Err(_) => Err(()),
            Ok(count) => Ok(Self { count, unit }),
        }
    }
}

impl fmt::Display for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Minutes => 'm',
            Unit::Hours => 'h',
            Unit::Days => 'd',
        };
        write!(f, "{}{unit}", self.count)
    }
}

/// Which calls are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In order, without repeats.
    pub picks: Vec<Pick>,
    /// This very call.
    pub call: Option<CallId>,
    /// Of this time.
    pub period: Period,
    /// Where the list begins.
    pub cursor: Cursor,
    /// Words of a page that travel along and choose no calls, such as the zone of its times.
    pub along: BTreeMap<&'static str, String>,
}

impl Filter {
    /// Whether there is such a word, with or without its minus.
    pub fn knows(key: &str) -> bool {
        let name = key.strip_prefix('-').unwrap_or(key);
        name.parse::<Key>().is_ok()
            || ["call", "range", "from", "to", "before", "after"].contains(&key)
    }

    /// Adds one word. `zone` is where times without an offset are read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add(&mut self, key: &str, value: &str, zone: &Zone) -> Result<(), &'static str> {
        let (not, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key),
        };
        if let Ok(key) = name.parse::<Key>() {
            return self.pick(key, not, value);
        }
        match key {
            "call" => {
                let call = value.parse().map_err(|_| "not the id of a call")?;
                self.call = Some(call);
                Ok(())
            }
            "range" | "from" | "to" => self.time(key, value, zone),
            "before" => self.begin(value, Cursor::Before),
            "after" => self.begin(value, Cursor::After),
            _ => Err("no such filter"),
        }
    }

    fn pick(&mut self, key: Key, not: bool, value: &str) -> Result<(), &'static str> {
        if value.is_empty() {
            return Err("it says nothing");
        }
        if key == Key::Decision && value != ALLOWED && value.parse::<CallState>().is_err() {
            return Err(
                "not a decision; there are allowed, denied, ok, error, failed, open, \
                released and abandoned",
            );
        }
        if self.picks.len() >= MAX_PICKS {
            return Err("one filter too many");
        }
        self.picks.push(Pick {
            key,
            not,
            value: value.into(),
        });
        Ok(())
    }

    fn time(&mut self, key: &str, value: &str, zone: &Zone) -> Result<(), &'static str> {
        if key == "range" {
            let back = value.parse();
            let back = back.map_err(|()| "not a range; write 30m, 24h or 7d")?;
            // Both at once come from the form: the instants say more.
            if !matches!(self.period, Period::Between { .. }) {
                self.period = Period::Last(back);
            }
            return Ok(());
        }
        let at = instant(value, zone);
        let at = at.ok_or(
            "not a time; write 2026-11-21, 2026-11-21T09:00 or an instant with its offset",
        )?;
        let (from, to) = match self.period {
            Period::Between { from, to } => (from, to),
            Period::Ever | Period::Last(_) => (None, None),
        };
        self.period = if key == "from" {
            Period::Between { from: Some(at), to }
        } else {
            Period::Between { from, to: Some(at) }
        };
        Ok(())
    }

    fn begin(&mut self, value: &str, cursor: fn(i64) -> Cursor) -> Result<(), &'static str> {
        let seq = value.parse().ok().filter(|seq| *seq >= 0);
        self.cursor = cursor(seq.ok_or("not a place in the log")?);
        Ok(())
    }

    /// Nothing but one condition.
    pub fn just(key: Key, value: &str) -> Self {
        Self::default().with(key, value)
    }

    /// One more condition, from the newest call on.
    pub fn with(&self, key: Key, value: &str) -> Self {
        let pick = Pick {
            key,
            not: false,
            value: value.into(),
        };
        let mut filter = self.newest_first();
        filter.picks.push(pick);
        filter.picks.sort();
        filter.picks.dedup();
        filter
    }

    /// Without one condition.
    pub fn without(&self, pick: &Pick) -> Self {
        let mut filter = self.newest_first();
        filter.picks.retain(|kept| kept != pick);
        filter
    }

    /// With one condition turned round: left out what was kept, or the other way.
    pub fn turned(&self, pick: &Pick) -> Self {
        let mut filter = self.without(pick);
        filter.picks.push(Pick {
            not: !pick.not,
            ..pick.clone()
        });
        filter.picks.sort();
        filter.picks.dedup();
        filter
    }

    /// The same calls of another time.
    pub fn during(&self, period: Period) -> Self {
        Self {
            period,
            ..self.newest_first()
        }
    }

    /// The same calls, from another place on.
    pub fn at(&self, cursor: Cursor) -> Self {
        Self {
            cursor,
            ..self.clone()
        }
    }

    /// Without the one call.
    pub fn any_call(&self) -> Self {
        Self {
            call: None,
            ..self.newest_first()
        }
    }

    /// With a word that travels along.
    pub fn along_with(&self, word: &'static str, value: &str) -> Self {
        let mut filter = self.newest_first();
        filter.along.insert(word, value.into());
        filter
    }

    /// Without a word that travels along.
    pub fn leaving(&self, word: &str) -> Self {
        let mut filter = self.newest_first();
        filter.along.retain(|kept, _| *kept != word);
        filter
    }

    /// Only the time and what travels along.
    pub fn time_only(&self) -> Self {
        Self {
            picks: Vec::new(),
            call: None,
            ..self.newest_first()
        }
    }

    fn newest_first(&self) -> Self {
        self.at(Cursor::Newest)
    }

    /// Whether it asks for everything.
    pub fn is_everything(&self) -> bool {
        self.picks.is_empty() && self.call.is_none() && self.period == Period::Ever
    }

    /// The instants between which it looks.
    pub fn instants(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        match self.period {
            Period::Ever => (None, None),
            Period::Last(back) => (Some(back.before(now)), None),
            Period::Between { from, to } => (from, to),
        }
    }

    /// The question to the log.
    pub fn wanted(&self, now: Timestamp) -> Wanted {
        let (from, to) = self.instants(now);
        Wanted {
            agents: self.picks_of(Key::Agent),
            servers: self.picks_of(Key::Server),
            tools: self.picks_of(Key::Tool),
            reasons: self.picks_of(Key::Reason),
            states: self.states(),
            from,
            to,
            call: self.call,
            cursor: self.cursor,
        }
    }

    /// Whether a call is one of these; where the list begins is no matter.
    pub fn keeps(&self, row: &CallRow, now: Timestamp) -> bool {
        let (from, to) = self.instants(now);
        let opening = &row.opening;
        let fits = |key, value: &Option<String>| {
            let picks = self.picks_of(key);
            let is = |values: &[String]| value.as_ref().is_some_and(|value| values.contains(value));
            (picks.only.is_empty() || is(&picks.only)) && !is(&picks.not)
        };
        from.is_none_or(|from| row.at >= from)
            && to.is_none_or(|to| row.at < to)
            && self.call.is_none_or(|call| row.call == Some(call))
            && self
                .states()
                .is_none_or(|states| states.contains(&row.state))
            && fits(Key::Agent, &opening.agent)
            && fits(Key::Server, &opening.server)
            && fits(Key::Tool, &opening.tool)
            && fits(Key::Reason, &opening.reason)
    }

    /// Whether a value fits the conditions on one key; nothing known fits no condition that keeps.
    pub fn fits(&self, key: Key, value: Option<&str>) -> bool {
        let picks = self.picks_of(key);
        let is = |values: &[String]| value.is_some_and(|value| values.iter().any(|it| it == value));
        (picks.only.is_empty() || is(&picks.only)) && !is(&picks.not)
    }

    fn picks_of(&self, key: Key) -> Picks {
        let of = |not: bool| {
            let picks = self.picks.iter();
            let picks = picks.filter(|pick| pick.key == key && pick.not == not);
            picks.map(|pick| pick.value.clone()).collect()
        };
        Picks {
            only: of(false),
            not: of(true),
        }
    }

    /// The states that are asked for; `None` for any.
    pub fn states(&self) -> Option<Vec<CallState>> {
        let picks = self.picks_of(Key::Decision);
        if picks == Picks::default() {
            return None;
        }
        let named = |words: &[String], state: CallState| {
            let is = |word: &String| {
                word == state.as_str() || (word == ALLOWED && state != CallState::Denied)
            };
            words.iter().any(is)
        };
        let states = CallState::ALL.into_iter();
        let states = states.filter(|state| picks.only.is_empty() || named(&picks.only, *state));
        Some(states.filter(|state| !named(&picks.not, *state)).collect())
    }

    /// Its pairs of key and value, in the one order they are always written in.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for pick in &self.picks {
            let minus = if pick.not { "-" } else { "" };
            pairs.push((format!("{minus}{}", pick.key.as_str()), pick.value.clone()));
        }
        let mut add = |key: &str, value: Option<String>| {
            pairs.extend(value.map(|value| (key.into(), value)));
        };
        add("call", self.call.map(|call| call.to_string()));
        match self.period {
            Period::Ever => {}
            Period::Last(back) => add("range", Some(back.to_string())),
            Period::Between { from, to } => {
                add("from", from.map(printed));
                add("to", to.map(printed));
            }
        }
        match self.cursor {
            Cursor::Newest => {}
            Cursor::Before(seq) => add("before", Some(seq.to_string())),
            Cursor::After(seq) => add("after", Some(seq.to_string())),
        }
        for (word, value) in &self.along {
            add(word, Some(value.clone()));
        }
        pairs
    }
}

fn printed(at: Timestamp) -> String {
    let text = at.rfc3339_utc();
    text.strip_suffix(".000000Z")
        .map_or(text.clone(), |seconds| format!("{seconds}Z"))
}

/// A day, a time on the clocks of the zone, or an instant with its own offset.
pub fn instant(text: &str, zone: &Zone) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_jiff(instant));
    }
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.at(0, 0, 0, 0),
    };
    let zoned = local.to_zoned(zone.rules().clone()).ok()?;
    Some(Timestamp::from_jiff(zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::super::read::Opening;
    use super::*;

    fn row() -> CallRow {
        CallRow {
            seq: 1,
            at: Timestamp::from_micros(1_000_000),
            call: None,
            state: CallState::Denied,
            opening: Opening {
                agent: Some("clawd".into()),
                tool: Some("imagine".into()),
                reason: Some("budget".into()),
                ..Opening::default()
            },
            closing: None,
        }
    }

    #[test]
    fn a_call_is_kept_when_all_words_fit() {
        let now = Timestamp::from_micros(2_000_000);
        let table: [(&[(&str, &str)], bool); 10] = [
            (&[], true),
            (&[("agent", "clawd"), ("agent", "other")], true),
            (&[("agent", "other")], false),
            (&[("-agent", "clawd")], false),
            (&[("server", "images")], false),
            (&[("-server", "images"), ("decision", "denied")], true),
            (&[("decision", "allowed")], false),
            (&[("range", "1m"), ("reason", "budget")], true),
            (&[("from", "1970-01-01T00:00:02Z")], false),
            (&[("to", "1970-01-01T00:00:01Z")], false),
        ];
        for (words, kept) in table {
            let mut filter = Filter::default();
            for (key, value) in words {
                assert_eq!(filter.add(key, value, &Zone::utc()), Ok(()), "{words:?}");
            }
            assert_eq!(filter.keeps(&row(), now), kept, "{words:?}");
        }
    }
}
