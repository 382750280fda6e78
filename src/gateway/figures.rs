//! How budgets stand, as an agent is told: in `_meta` of a result, and in the headers of a JSON answer. Pure.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::budget::Standing;
use crate::protocol::{Json, json_string, raw, with_meta};
use crate::types::{Rate, Unit, Zone};

/// The key of `_meta` under which a result says how the budgets of its call stand.
pub(super) const BUDGET: &str = "dev.hayward/budget";

/// Bytes of a budget as it usually is.
const USUAL: usize = 192;

/// Items of one header. Clients and proxies in between take headers of some kilobytes.
const MAX_ITEMS: usize = 16;

/// The greatest number that a structured field holds (RFC 9651, section 3.3.1).
const MAX_NUMBER: u64 = 999_999_999_999_999;

/// How the budgets of one call stand right after it.
#[derive(Debug, Clone)]
pub struct Figures {
    list: Json,
    rate_limit: RateLimit,
}

/// The values of two headers (draft-ietf-httpapi-ratelimit-headers-10): `RateLimit-Policy`, which says what there is
/// in a window, and `RateLimit`, which says what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// What there is: `"servers.images.budgets[0]";q=2;w=86400`.
    pub policy: String,
    /// What is left: `"servers.images.budgets[0]";r=1;t=43200`.
    pub left: String,
}

impl Figures {
    /// `None` for a call that no budget counts.
    pub(super) fn of(standings: &[Standing], zone: &Zone) -> Option<Arc<Self>> {
        if standings.is_empty() {
            return None;
        }
        let mut list = String::with_capacity(standings.len().saturating_mul(USUAL));
        for standing in standings {
            list.push(if list.is_empty() { '[' } else { ',' });
            push_entry(&mut list, standing, zone);
        }
        list.push(']');
        Some(Arc::new(Self {
            list: raw(list),
            rate_limit: RateLimit::of(standings),
        }))
    }

    /// The result with these figures in its `_meta`.
    pub(super) fn put_in(&self, result: Json) -> Json {
        with_meta(result, BUDGET, &self.list)
    }

    /// The same for headers.
    pub(super) fn rate_limit(&self) -> &RateLimit {
        &self.rate_limit
    }
}

/// One budget as agents read it.
pub(super) fn entry(standing: &Standing, zone: &Zone) -> Map<String, Value> {
    let mut text = String::new();
    push_entry(&mut text, standing, zone);
    // It was written as an object.
    serde_json::from_str(&text).unwrap_or_default()
}

/// The same as text, written straight: each call needs it. `resets_at` is absent when it never begins anew.
// Writing to a String cannot fail.
fn push_entry(text: &mut String, standing: &Standing, zone: &Zone) {
    let unit = standing.unit();
    text.push('{');
    if standing.frozen {
        text.push_str(r#""frozen":true,"#);
    }
    if standing.held > 0 {
        let _ = write!(text, r#""held":{},"#, unit.number(standing.held));
    }
    let _ = write!(
        text,
        r#""limit":{},"name":{},"remaining":{}"#,
        unit.number(standing.limit.amount),
        json_string(&standing.name),
        unit.number(standing.remaining()),
    );
    if let Some(resets_at) = standing.resets_at {
        let _ = write!(text, r#","resets_at":"{}""#, resets_at.rfc3339(zone));
    }
    let _ = write!(
        text,
        r#","unit":{},"used":{},"window":"{}"}}"#,
        json_string(unit.word()),
        unit.number(standing.used),
        standing.window(),
    );
}
impl RateLimit {
    fn of(standings: &[Standing]) -> Self {
        let mut fields = Self::default();
        for standing in standings.iter().take(MAX_ITEMS) {
            fields.add(Item {
                name: &standing.name,
                quota: standing.limit.amount,
                unit: standing.unit(),
                window: standing.length,
                left: standing.remaining(),
                resets_in: standing.resets_in(),
            });
        }
        fields
    }

    /// Those of a rate that has no room for so long.
    pub(super) fn of_rate(name: &str, rate: Rate, wait: Duration) -> Self {
        let mut fields = Self::default();
        fields.add(Item {
            name,
            quota: rate.count.get().into(),
            unit: &Unit::Calls,
            window: Some(rate.period.length()),
            left: 0,
            resets_in: Some(wait),
        });
        fields
    }

    // Writing to a String cannot fail.
    fn add(&mut self, item: Item<'_>) {
        for field in [&mut self.policy, &mut self.left] {
            if !field.is_empty() {
                field.push_str(", ");
            }
            push_text(field, item.name);
        }
        let _ = write!(self.policy, ";q={}", item.quota.min(MAX_NUMBER));
        let unit = match item.unit {
            // What the headers mean where they name none.
            Unit::Calls => None,
            Unit::Argument(_) => Some(item.unit.to_string()),
            Unit::Cost(name) => Some(format!("millionths of {name}")),
        };
        if let Some(unit) = unit {
            self.policy.push_str(";qu=");
            push_text(&mut self.policy, &unit);
        }
        if let Some(window) = item.window {
            let _ = write!(self.policy, ";w={}", seconds(window));
        }
        let _ = write!(self.left, ";r={}", item.left.min(MAX_NUMBER));
        if let Some(resets_in) = item.resets_in {
            let _ = write!(self.left, ";t={}", seconds(resets_in));
        }
    }
}

struct Item<'a> {
    name: &'a str,
    quota: u64,
    unit: &'a Unit,
    window: Option<Duration>,
    left: u64,
    resets_in: Option<Duration>,
}

/// Whole seconds, rounded up: whoever waits so long has waited long enough.
fn seconds(span: Duration) -> u64 {
    let more = u64::from(span.subsec_nanos() > 0);
    span.as_secs().saturating_add(more).min(MAX_NUMBER)
}

/// A string of a structured field, which holds visible ASCII and spaces (RFC 9651, section 3.3.3).
fn push_text(field: &mut String, text: &str) {
    field.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => field.extend(['\\', c]),
            ' '..='~' => field.push(c),
            _ => field.push('?'),
        }
    }
    field.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Timestamp;

    fn standing(name: &str, limit: &str, used: u64, held: u64) -> Standing {
        let at = Timestamp::from_micros(1_795_176_000_000_000);
        Standing {
            name: name.into(),
            limit: limit.parse().unwrap(),
            used,
            held,
            frozen: false,
            resets_at: (!limit.contains("total")).then(|| at.after(Duration::from_millis(1_500))),
            length: (!limit.contains("total")).then(|| Duration::from_secs(86_400)),
            at,
        }
    }

    #[test]
    fn figures_are_said_in_a_list_and_in_headers() {
        let standings = [
            standing("servers.images.budgets[0]", "2/day", 1, 0),
            standing("agents.c \"é\\", "5.5 USD total", 2_000_000, 3_250_000),
        ];
        let figures = Figures::of(&standings, &Zone::named("Europe/Berlin").unwrap()).unwrap();
        assert_eq!(
            figures.list.get(),
            concat!(
                r#"[{"limit":2,"name":"servers.images.budgets[0]","remaining":1,"#,
                r#""resets_at":"2026-11-20T13:00:01+01:00","unit":"calls","used":1,"window":"day"},"#,
                r#"{"held":3.25,"limit":5.5,"name":"agents.c \"é\\","remaining":0.25,"unit":"USD","used":2,"#,
                r#""window":"total"}]"#
            )
        );
        let fields = figures.rate_limit();
        assert_eq!(
            fields.policy,
            r#""servers.images.budgets[0]";q=2;w=86400, "agents.c \"?\\";q=5500000;qu="millionths of USD""#
        );
        assert_eq!(
            fields.left,
            r#""servers.images.budgets[0]";r=1;t=2, "agents.c \"?\\";r=250000"#
        );
        assert!(Figures::of(&[], &Zone::utc()).is_none());
    }

    #[test]
    fn a_header_names_only_so_many_budgets_and_no_greater_numbers_than_there_are() {
        let mut huge = standing("a", "2/day", 0, 0);
        huge.limit.amount = u64::MAX;
        let many = vec![huge; MAX_ITEMS + 5];
        let figures = Figures::of(&many, &Zone::utc()).unwrap();
        let items: Vec<&str> = figures.rate_limit().policy.split(", ").collect();
        assert_eq!(items, vec!["\"a\";q=999999999999999;w=86400"; MAX_ITEMS]);
    }

    #[test]
    fn a_rate_says_how_long_to_wait() {
        let rate = "40/minute".parse().unwrap();
        let fields = RateLimit::of_rate("agents.a.rate", rate, Duration::from_millis(1_500));
        assert_eq!(fields.policy, "\"agents.a.rate\";q=40;w=60");
        assert_eq!(fields.left, "\"agents.a.rate\";r=0;t=2");
    }
}
