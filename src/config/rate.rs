//! Rates, wherever they stand: `120/minute`, or a mapping that also says how many may come at once.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::policy::{Place, RateRule};
use crate::types::{BudgetKey, Rate};

use super::fields::Fields;
use super::keys;
use super::node::Value;
use super::problem::{Code, Finding, Findings, Span, quote};

/// A rate as written.
#[derive(Debug, Clone)]
pub(super) struct RateDraft {
    place: Place,
    rate: Rate,
}

impl RateDraft {
    /// The limiter of one place.
    pub(super) fn rule(&self, scope: &str) -> Arc<RateRule> {
        Arc::new(RateRule {
            place: self.place.clone(),
            key: BudgetKey::new(scope),
            rate: self.rate,
        })
    }
}

/// Reads `rate:`: `120/minute` or a mapping.
pub(super) fn rate(fields: &Fields<'_>, path: &str, findings: &mut Findings) -> Option<RateDraft> {
    let entry = fields.entry("rate")?;
    let place = Place {
        path: format!("{path}.rate").into(),
        line: entry.key_span.line,
    };
    let rate = if let Value::Map(_) = entry.node.value {
        let rate = Fields::open(&entry.node, "a rate", keys::RATE, findings)?;
        spelled_out(&rate, entry.key_span, findings)?
    } else {
        let written = fields.text("rate", findings)?;
        parsed_rate(written.text, written.span, findings)?
    };
    Some(RateDraft { place, rate })
}

fn spelled_out(fields: &Fields<'_>, key: Span, findings: &mut Findings) -> Option<Rate> {
    if fields.entry("limit").is_none() || fields.entry("per").is_none() {
        let title = "a rate needs `limit` and `per`";
        let note = "such as `{limit: 20, per: minute}`";
        findings.add(Finding::new(Code::BadAmount, key, title).note(note));
        return None;
    }
    let limit = fields.text("limit", findings)?;
    let per = fields.text("per", findings)?;
    let rate = parsed_rate(
        &format!("{}/{}", limit.text, per.text),
        limit.span,
        findings,
    )?;
    if fields.entry("burst").is_none() {
        return Some(rate);
    }
    let burst = fields.text("burst", findings)?;
    let Ok(count) = burst.text.parse::<NonZeroU32>() else {
        let title = format!("{} is not a whole number of at least 1", quote(burst.text));
        let note = "`burst` is how many calls may come at once";
        findings.add(Finding::new(Code::BadAmount, burst.span, title).note(note));
        return None;
    };
    Some(Rate {
        burst: count,
        ..rate
    })
}

fn parsed_rate(text: &str, span: Span, findings: &mut Findings) -> Option<Rate> {
    let title = |error| format!("{} is not a rate: {error}", quote(text));
    let rate = text.parse::<Rate>().map_err(title);
    let report = |title| {
        let note = "write a count and a period, such as `120/minute`";
        findings.add(Finding::new(Code::BadAmount, span, title).note(note));
    };
    rate.map_err(report).ok()
}
