//! Instants and time zones.

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The end of time.
    pub const LAST: Self = Self(i64::MAX);

    /// From microseconds since 1970, as stored in columns named `…_us`.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This instant, moved forward; stays at the end of time rather than wrapping.
    pub fn after(self, span: Duration) -> Self {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The instant on the clocks of a zone.
    pub fn in_zone(self, zone: &Zone) -> jiff::Zoned {
        self.to_jiff().to_zoned(zone.rules.clone())
    }

    /// RFC 3339 with the offset of the zone, to the second: `2026-11-21T00:00:00+01:00`.
    pub fn rfc3339(self, zone: &Zone) -> String {
        self.in_zone(zone)
            .strftime("%Y-%m-%dT%H:%M:%S%:z")
            .to_string()
    }

    /// RFC 3339 in UTC, to the microsecond: for machines and exports.
    pub fn rfc3339_utc(self) -> String {
        format!("{:.6}", self.to_jiff())
    }

    /// From the instant of the time library, rounded down to the microsecond.
    pub fn from_jiff(instant: jiff::Timestamp) -> Self {
        Self(instant.as_microsecond())
    }

    fn to_jiff(self) -> jiff::Timestamp {
        // Stored instants lie far inside the range; the ends only stand for "never".
        let fallback = if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        };
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(fallback)
    }
}

/// Why a text names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time zone: use an IANA name such as `Europe/Berlin` or `UTC`")]
pub struct ZoneError(String);

/// A named time zone with its rules.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// Looks up an IANA zone by name.
    ///
    /// # Errors
    /// When no zone has this name. Fixed offsets and `local` are no names.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let rules = TimeZone::get(name).map_err(|_| ZoneError(name.into()))?;
        Ok(Self {
            name: name.into(),
            rules,
        })
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self {
            name: "UTC".into(),
            rules: TimeZone::UTC,
        }
    }

    /// The IANA name as written.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules of the zone, for calendar arithmetic.
    pub fn rules(&self) -> &TimeZone {
        &self.rules
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_prints_in_its_zone() {
        let at = Timestamp::from_micros(1_795_215_600_000_000);
        assert_eq!(
            at.rfc3339(&Zone::named("Europe/Berlin").unwrap()),
            "2026-11-21T00:00:00+01:00"
        );
        assert_eq!(at.rfc3339(&Zone::utc()), "2026-11-20T23:00:00+00:00");
        assert_eq!(at.rfc3339_utc(), "2026-11-20T23:00:00.000000Z");
    }

    #[test]
    fn an_unknown_zone_is_named_in_the_error() {
        let error = Zone::named("Europe/Berln").unwrap_err().to_string();
        assert!(error.contains("`Europe/Berln`"), "{error}");
    }
}
