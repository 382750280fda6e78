//! Durations, dates and zones as people write them.

use std::time::Duration;

use jiff::civil::Date;

use crate::types::{Timestamp, Zone};

use super::fields::{Fields, Text};
use super::problem::{Code, Finding, Findings, quote};

/// The longest that a call may take, or be told from another.
const MAX_SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `60s`, `5m` or `1h`, from one second to a day.
pub(super) fn span(text: Text<'_>, findings: &mut Findings) -> Option<Duration> {
    let duration = duration(text.text).filter(|it| !it.is_zero() && *it <= MAX_SPAN);
    if duration.is_none() {
        let title = format!("{} is not a duration", quote(text.text));
        let note = "write a whole number and s, m or h, such as `60s`, `5m` or `1h`; from a second to a day";
        findings.add(Finding::new(Code::BadAmount, text.span, title).note(note));
    }
    duration
}

fn duration(text: &str) -> Option<Duration> {
    let unit = text.strip_suffix('s').map(|count| (count, 1));
    let unit = unit.or_else(|| text.strip_suffix('m').map(|count| (count, 60)));
    let unit = unit.or_else(|| text.strip_suffix('h').map(|count| (count, 3600)));
    let (count, seconds) = unit?;
    let count: u64 = count.parse::<u32>().ok()?.into();
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads the name of a zone, spelled as the IANA database spells it.
pub(super) fn zone(text: Text<'_>, findings: &mut Findings) -> Option<Zone> {
    let zone = match Zone::named(text.text) {
        Ok(zone) => zone,
        Err(error) => {
            findings.add(Finding::new(Code::BadAmount, text.span, error.to_string()));
            return None;
        }
    };
    // Budgets are told apart by the name of the zone, so it must not change with somebody's spelling.
    match zone.rules().iana_name() {
        Some(name) if name != text.text => {
            let title = format!("{} is spelled `{name}`", quote(text.text));
            let finding = Finding::new(Code::BadAmount, text.span, title);
            findings.add(finding.suggest("write it so", text.span, name));
            None
        }
        Some(_) | None => Some(zone),
    }
}

/// Reads `expires:`. `None` when it is there and wrong, `Some(None)` when it is not there.
///
/// A date means the end of that day in the zone; an instant (RFC 3339) is exact.
#[expect(
    clippy::option_option,
    reason = "wrong, absent and given are three answers"
)]
pub(super) fn expires(
    fields: &Fields<'_>,
    zone: &Zone,
    findings: &mut Findings,
) -> Option<Option<Timestamp>> {
    if fields.entry("expires").is_none() {
        return Some(None);
    }
    let text = fields.text("expires", findings)?;
    let end = end_of_day(text.text, zone).or_else(|| instant(text.text));
    if end.is_none() {
        let title = format!("{} is neither a date nor an instant", quote(text.text));
        let note = "write `2027-01-31` for the end of that day, or `2027-01-31T12:00:00+01:00`";
        findings.add(Finding::new(Code::BadAmount, text.span, title).note(note));
    }
    end.map(Some)
}

fn end_of_day(text: &str, zone: &Zone) -> Option<Timestamp> {
    if text.len() != "2027-01-31".len() {
        return None;
    }
    let next = text.parse::<Date>().ok()?.tomorrow().ok()?;
    let start = next.to_zoned(zone.rules().clone()).ok()?;
    Some(Timestamp::from_jiff(start.timestamp()))
}

/// Reads an instant (RFC 3339).
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(Timestamp::from_jiff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_minutes_or_hours() {
        let table = [
            ("60s", Some(60)),
            ("5m", Some(300)),
            ("1h", Some(3600)),
            ("90", None),
            ("1.5h", None),
            ("-1s", None),
            ("s", None),
            ("4294967295h", Some(15_461_882_262_000)),
        ];
        for (text, seconds) in table {
            assert_eq!(duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_date_ends_with_its_day_where_the_operator_lives() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let end = end_of_day("2026-10-25", &berlin).unwrap();
        assert_eq!(end.rfc3339(&berlin), "2026-10-26T00:00:00+01:00");
        assert_eq!(end_of_day("2026-02-30", &berlin), None);
        let exact = instant("2027-01-31T12:00:00+01:00").unwrap();
        assert_eq!(exact.rfc3339_utc(), "2027-01-31T11:00:00.000000Z");
        assert_eq!(instant("2027-01-31 12:00"), None);
    }
}
