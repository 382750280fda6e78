//! The grammar of the address: `?agent=clawd&agent=designer&-tool=imagine&range=24h`.
//!
//! A key that repeats means "or", different keys mean "and", a leading minus leaves out. What cannot be
//! understood is kept aside and shown. The same filter always prints the same address.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::audit::read::{CallState, Cursor, Picks, Wanted};
use crate::types::{CallId, Timestamp, Zone};

/// Conditions in one address; what comes after is ignored, and shown as ignored.
const MAX_PICKS: usize = 40;

/// Characters that stay readable in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b':')
    .remove(b'/');

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Agent,
    Server,
    Tool,
    Decision,
    Reason,
}

impl Key {
    pub(super) const ALL: [Self; 5] = [
        Self::Agent,
        Self::Server,
        Self::Tool,
        Self::Decision,
        Self::Reason,
    ];

    pub(super) fn as_str(self) -> &'static str {
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
pub(super) struct Pick {
    pub(super) key: Key,
    pub(super) not: bool,
    pub(super) value: String,
}

/// Which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Period {
    /// All of it.
    #[default]
    Ever,
    /// The last minutes, hours or days.
    Last(Back),
    /// From one instant up to, not including, another.
    Between {
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    },
}

/// A count of minutes, hours or days: `30m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Back {
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
    pub(super) const HOUR: Self = Self::of(1, Unit::Hours);
    pub(super) const DAY: Self = Self::of(24, Unit::Hours);
    pub(super) const WEEK: Self = Self::of(7, Unit::Days);
    pub(super) const MONTH: Self = Self::of(30, Unit::Days);

    const fn of(count: u16, unit: Unit) -> Self {
        Self { count, unit }
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

/// A part of the address that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) text: String,
    pub(super) why: &'static str,
}

/// Which calls the address asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// In order, without repeats.
    pub(super) picks: Vec<Pick>,
    pub(super) call: Option<CallId>,
    pub(super) period: Period,
    pub(super) cursor: Cursor,
}

/// What was read from an address.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) filter: Filter,
    pub(super) ignored: Vec<Ignored>,
    /// A form was sent with empty fields; the same without them is a better address.
    pub(super) has_blanks: bool,
}

/// Reads a query string. Never fails: what it does not understand, it sets aside.
pub(super) fn read(query: &str, zone: &Zone) -> Read {
    let mut read = Read::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode(key), decode(value));
        let value = value.trim();
        if let Err(why) = read.add(&key, value, zone) {
            read.ignored.push(Ignored {
                text: format!("{key}={value}"),
                why,
            });
        }
    }
    read.filter.picks.sort();
    read.filter.picks.dedup();
    read
}

impl Read {
    fn add(&mut self, key: &str, value: &str, zone: &Zone) -> Result<(), &'static str> {
        let (not, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key),
        };
        if let Ok(key) = name.parse::<Key>() {
            return self.pick(key, not, value);
        }
        match key {
            "call" | "range" | "from" | "to" | "before" | "after" if value.is_empty() => {
                self.has_blanks = true;
                Ok(())
            }
            "call" => {
                let call = value.parse().map_err(|_| "not the id of a call")?;
                self.filter.call = Some(call);
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
            self.has_blanks = true;
            return Ok(());
        }
        if key == Key::Decision && value != ALLOWED && value.parse::<CallState>().is_err() {
            return Err(
                "not a decision; there are allowed, denied, ok, error, failed, open, \
                released and abandoned",
            );
        }
        if self.filter.picks.len() >= MAX_PICKS {
            return Err("one filter too many");
        }
        self.filter.picks.push(Pick {
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
            if !matches!(self.filter.period, Period::Between { .. }) {
                self.filter.period = Period::Last(back);
            }
            return Ok(());
        }
        let at = instant(value, zone);
        let at = at.ok_or(
            "not a time; write 2026-11-21, 2026-11-21T09:00 or an instant with its offset",
        )?;
        let (from, to) = match self.filter.period {
            Period::Between { from, to } => (from, to),
            Period::Ever | Period::Last(_) => (None, None),
        };
        self.filter.period = if key == "from" {
            Period::Between { from: Some(at), to }
        } else {
            Period::Between { from, to: Some(at) }
        };
        Ok(())
    }

    fn begin(&mut self, value: &str, cursor: fn(i64) -> Cursor) -> Result<(), &'static str> {
        let seq = value.parse().ok().filter(|seq| *seq >= 0);
        self.filter.cursor = cursor(seq.ok_or("not a place in the log")?);
        Ok(())
    }
}

/// A day, a time on the clocks of the zone, or an instant with its own offset.
fn instant(text: &str, zone: &Zone) -> Option<Timestamp> {
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

impl Filter {
    /// Nothing but one condition.
    pub(super) fn just(key: Key, value: &str) -> Self {
        Self::default().with(key, value)
    }

    /// One more condition, from the newest call on.
    pub(super) fn with(&self, key: Key, value: &str) -> Self {
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
    pub(super) fn without(&self, pick: &Pick) -> Self {
        let mut filter = self.newest_first();
        filter.picks.retain(|kept| kept != pick);
        filter
    }

    /// With one condition turned round: left out what was kept, or the other way.
    pub(super) fn turned(&self, pick: &Pick) -> Self {
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
    pub(super) fn during(&self, period: Period) -> Self {
        Self {
            period,
            ..self.newest_first()
        }
    }

    /// The same calls, from another place on.
    pub(super) fn at(&self, cursor: Cursor) -> Self {
        Self {
            cursor,
            ..self.clone()
        }
    }

    /// Without the one call.
    pub(super) fn any_call(&self) -> Self {
        Self {
            call: None,
            ..self.newest_first()
        }
    }

    fn newest_first(&self) -> Self {
        self.at(Cursor::Newest)
    }

    /// Whether it asks for everything.
    pub(super) fn is_everything(&self) -> bool {
        self.picks.is_empty() && self.call.is_none() && self.period == Period::Ever
    }

    /// The instants between which it looks.
    pub(super) fn instants(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        match self.period {
            Period::Ever => (None, None),
            Period::Last(back) => {
                let micros = i64::try_from(back.duration().as_micros()).unwrap_or(i64::MAX);
                let from = now.micros().saturating_sub(micros);
                (Some(Timestamp::from_micros(from)), None)
            }
            Period::Between { from, to } => (from, to),
        }
    }

    /// The question to the log.
    pub(super) fn wanted(&self, now: Timestamp) -> Wanted {
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

    fn states(&self) -> Option<Vec<CallState>> {
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
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
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
        pairs
    }
}

fn printed(at: Timestamp) -> String {
    let text = at.rfc3339_utc();
    text.strip_suffix(".000000Z")
        .map_or(text.clone(), |seconds| format!("{seconds}Z"))
}

/// The query string, with its question mark when there is anything to ask.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mark = '?';
        for (key, value) in self.pairs() {
            write!(f, "{mark}{}={}", encode(&key), encode(&value))?;
            mark = '&';
        }
        Ok(())
    }
}

/// A value as it stands in an address.
pub(super) fn encode(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, ESCAPED)
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").unwrap()
    }

    #[test]
    fn an_address_means_what_it_says() {
        let table = [
            ("", ""),
            ("agent=clawd", "?agent=clawd"),
            ("tool=b&agent=z&tool=a&tool=a", "?agent=z&tool=a&tool=b"),
            ("-agent=clawd&agent=x", "?agent=x&-agent=clawd"),
            ("agent=&tool=imagine&range=", "?tool=imagine"),
            ("tool=caf%C3%A9+au+lait", "?tool=caf%C3%A9%20au%20lait"),
            ("range=24h&before=7", "?range=24h&before=7"),
            ("from=2026-11-21", "?from=2026-11-20T23:00:00Z"),
            ("from=2026-11-21T09:30", "?from=2026-11-21T08:30:00Z"),
            (
                "range=1h&from=2026-11-21T09:30%2B01:00&to=2026-11-22",
                "?from=2026-11-21T08:30:00Z&to=2026-11-21T23:00:00Z",
            ),
            (
                "decision=denied&-decision=open",
                "?decision=denied&-decision=open",
            ),
        ];
        for (address, canonical) in table {
            let read = read(address, &berlin());
            assert_eq!(read.filter.to_string(), canonical, "{address}");
            assert_eq!(read.ignored, [], "{address}");
        }
    }

    #[test]
    fn what_means_nothing_is_kept_for_showing() {
        let address =
            "colour=red&decision=maybe&range=0h&from=soon&call=1&before=-1&agent=clawd&-range=1h";
        let read = read(address, &berlin());
        assert_eq!(read.filter, Filter::just(Key::Agent, "clawd"));
        let ignored: Vec<_> = read.ignored.iter().map(|part| part.text.as_str()).collect();
        let expected = [
            "colour=red",
            "decision=maybe",
            "range=0h",
            "from=soon",
            "call=1",
            "before=-1",
            "-range=1h",
        ];
        assert_eq!(ignored, expected);
    }

    #[test]
    fn decisions_combine() {
        let states = |address: &str| read(address, &Zone::utc()).filter.states();
        assert_eq!(states("agent=x"), None);
        assert_eq!(states("decision=denied"), Some(vec![CallState::Denied]));
        assert_eq!(states("decision=allowed").unwrap().len(), 6);
        assert_eq!(states("-decision=allowed"), Some(vec![CallState::Denied]));
        assert_eq!(states("decision=ok&-decision=ok"), Some(vec![]));
    }

    #[test]
    fn too_many_conditions_are_not_silently_dropped() {
        let address: Vec<_> = (0..50).map(|n| format!("tool=t{n}")).collect();
        let read = read(&address.join("&"), &Zone::utc());
        assert_eq!(read.filter.picks.len(), MAX_PICKS);
        assert_eq!(read.ignored.len(), 10);
    }

    fn pick() -> impl Strategy<Value = Pick> {
        let value = prop_oneof!["[a-z]{1,8}", "\\PC{1,12}", "[&=+%#?/ -]{0,3}x"];
        let named = (0..5_usize, any::<bool>(), value);
        named.prop_filter_map(
            "trimmed, and a word that is a decision",
            |(key, not, value)| {
                let key = Key::ALL[key];
                let value = value.trim().to_owned();
                let value = if key == Key::Decision {
                    "denied".into()
                } else {
                    value
                };
                (!value.is_empty()).then_some(Pick { key, not, value })
            },
        )
    }

    fn period() -> impl Strategy<Value = Period> {
        let instant = || {
            proptest::option::of((0..4_000_000_000_000_000_i64).prop_map(Timestamp::from_micros))
        };
        prop_oneof![
            Just(Period::Ever),
            (1..u16::MAX).prop_map(|count| Period::Last(Back {
                count,
                unit: Unit::Hours
            })),
            (instant(), instant()).prop_filter_map("some end", |(from, to)| {
                (from.is_some() || to.is_some()).then_some(Period::Between { from, to })
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_filter_survives_its_address(
            mut picks in proptest::collection::vec(pick(), 0..8),
            period in period(),
            seq in 0..i64::MAX,
            cursor in 0..3_usize,
        ) {
            picks.sort();
            picks.dedup();
            let cursor = [Cursor::Newest, Cursor::Before(seq), Cursor::After(seq)][cursor];
            let filter = Filter { picks, call: None, period, cursor };
            let address = filter.to_string();
            let back = read(address.trim_start_matches('?'), &Zone::utc());
            prop_assert_eq!(&back.filter, &filter);
            prop_assert_eq!(back.ignored, []);
        }

        #[test]
        fn any_text_can_be_an_address(text in "\\PC{0,200}") {
            let read = read(&text, &Zone::utc());
            let again = super::read(read.filter.to_string().trim_start_matches('?'), &Zone::utc());
            prop_assert_eq!(again.filter, read.filter);
        }
    }
}
