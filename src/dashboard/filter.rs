//! A filter in the address of a page: `?agent=clawd&agent=designer&-tool=imagine&range=24h`.
//!
//! Beside the words of the filter an address has some of the page: `tz` for the zone of its times, `columns`, `refresh`.
//! What cannot be understood is kept aside and shown. The same filter always prints the same address.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::audit::filter::Filter;
use crate::types::Zone;

/// Characters that stay readable in an address.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b':')
    .remove(b'/');

/// A part of the address that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ignored {
    pub(super) text: String,
    pub(super) why: &'static str,
}

/// What was read from an address.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) filter: Filter,
    pub(super) ignored: Vec<Ignored>,
    /// A form was sent with empty fields; the same without them is a better address.
    pub(super) has_blanks: bool,
}

/// The zone of all times on a page, also of those in its address.
pub(super) const TZ: &str = "tz";
/// Which columns a list has, with commas between them.
pub(super) const COLUMNS: &str = "columns";
/// The columns when none are named.
pub(super) const USUAL: &str = "agent,what,took,in,out,cost,client";
/// Seconds after which a page is loaded anew.
pub(super) const REFRESH: &str = "refresh";

/// Whether a list shows the values there are to choose from: `on`.
pub(super) const VALUES: &str = "values";

/// The shortest and the longest of these.
const REFRESHES: std::ops::RangeInclusive<u32> = 5..=3_600;

/// Reads a query string. Never fails: what it does not understand, it sets aside.
pub(super) fn read(query: &str, zone: &Zone) -> Read {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value).trim().to_owned())
    });
    let pairs: Vec<_> = pairs.collect();
    let mut read = Read::default();
    // The zone says what the other words mean, wherever it stands.
    let named = pairs.iter().find(|(key, _)| key == TZ);
    let named = named.and_then(|(_, name)| Zone::named(name).ok());
    let zone = named.as_ref().unwrap_or(zone);
    for (key, value) in &pairs {
        if let Err(why) = read.add(key, value, zone) {
            read.ignored.push(Ignored {
                text: format!("{key}={value}"),
                why,
            });
        }
    }
    if read
        .filter
        .along
        .get(COLUMNS)
        .is_some_and(|all| all == USUAL)
    {
        read.filter.along.remove(COLUMNS);
        read.has_blanks = true;
    }
    read.filter.picks.sort();
    read.filter.picks.dedup();
    read
}

impl Read {
    fn add(&mut self, key: &str, value: &str, zone: &Zone) -> Result<(), &'static str> {
        let own = [TZ, COLUMNS, REFRESH, VALUES]
            .into_iter()
            .find(|own| *own == key);
        if value.is_empty() && (own.is_some() || Filter::knows(key)) {
            self.has_blanks = true;
            return Ok(());
        }
        let Some(own) = own else {
            return self.filter.add(key, value, zone);
        };
        let mut value = along(own, value)?;
        // A form sends one pair for each box that is ticked.
        if let Some(before) = self.filter.along.get(own).filter(|_| own == COLUMNS) {
            value = format!("{before},{value}");
        }
        self.filter.along.insert(own, value);
        Ok(())
    }

    /// The zone that the address names.
    pub(super) fn zone(&self) -> Option<Zone> {
        Zone::named(self.filter.along.get(TZ)?).ok()
    }
}

/// A word of the page as it stays in the address.
fn along(word: &str, value: &str) -> Result<String, &'static str> {
    match word {
        TZ => {
            let zone = Zone::named(value);
            let zone = zone.map_err(|_| "no such time zone; write one like Europe/Berlin")?;
            Ok(zone.name().into())
        }
        REFRESH => {
            let seconds = value.parse().ok();
            let seconds = seconds.filter(|seconds| REFRESHES.contains(seconds));
            let seconds = seconds.ok_or("not a number of seconds from 5 to 3600")?;
            Ok(seconds.to_string())
        }
        VALUES if value == "on" => Ok(value.into()),
        VALUES => Err("write on, or leave it out"),
        _ => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b',' || byte == b'_';
            if value.len() <= 200 && value.bytes().all(plain) {
                Ok(value.into())
            } else {
                Err("not a list of columns")
            }
        }
    }
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

/// A key or a value of an address as it was meant.
pub(super) fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::audit::filter::{Back, Key, MAX_PICKS, Period, Pick};
    use crate::audit::read::{CallState, Cursor};
    use crate::types::Timestamp;

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
                "from=2026-11-21&tz=America/New_York&refresh=10",
                "?from=2026-11-21T05:00:00Z&refresh=10&tz=America/New_York",
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
        let address = "colour=red&decision=maybe&range=0h&from=soon&call=1&before=-1&agent=clawd&-range=1h&tz=Mars&refresh=1";
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
            "tz=Mars",
            "refresh=1",
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
            (1..u16::MAX).prop_map(|count| Period::Last(Back::hours(count))),
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
            let filter = Filter { picks, period, cursor, ..Filter::default() };
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
