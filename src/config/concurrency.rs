//! `max_concurrent:`: how many calls may be in flight at once.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::policy::ConcurrencyRule;
use crate::types::BudgetKey;

use super::fields::Fields;
use super::problem::{Code, Finding, Findings, quote};
use super::token::place;

/// Reads it. `path` is that of the server or agent, and what the count is known by.
pub(super) fn max_concurrent(
    fields: &Fields<'_>,
    path: &str,
    findings: &mut Findings,
) -> Option<Arc<ConcurrencyRule>> {
    let written = fields.text("max_concurrent", findings)?;
    let Ok(most) = written.text.parse::<NonZeroU32>() else {
        let title = format!(
            "{} is not a whole number of at least 1",
            quote(written.text)
        );
        let note = "`max_concurrent` is how many calls may run at once; `disabled: true` lets none through";
        findings.add(Finding::new(Code::BadAmount, written.span, title).note(note));
        return None;
    };
    Some(Arc::new(ConcurrencyRule {
        place: place(format!("{path}.max_concurrent"), written.span),
        key: BudgetKey::new(path),
        most,
    }))
}
