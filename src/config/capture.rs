//! `capture:` and `redact:`: how much of arguments and results is kept, and which keys never are.

use std::sync::Arc;

use crate::policy::{Capture, Keeping};
use crate::types::{KeyNames, MAX_KEY_NAME, key_form};

use super::fields::{Fields, choice, text};
use super::problem::{Code, Finding, Findings, quote};

const CAPTURES: &[(&str, Capture)] = &[
    ("none", Capture::None),
    ("metadata", Capture::Metadata),
    ("arguments", Capture::Arguments),
    ("full", Capture::Full),
];

/// Reads `capture:`; what is not there, or wrong, is as `default` says.
pub(super) fn capture(fields: &Fields<'_>, default: Capture, findings: &mut Findings) -> Capture {
    choice(fields.text("capture", findings), CAPTURES, findings).unwrap_or(default)
}

/// Reads both keys; names add to those of `default`.
pub(super) fn keeping(fields: &Fields<'_>, default: &Keeping, findings: &mut Findings) -> Keeping {
    Keeping {
        capture: capture(fields, default.capture, findings),
        redact: redact(fields, &default.redact, findings),
    }
}

/// What is kept where the file says nothing.
pub(super) fn default_keeping() -> Keeping {
    Keeping {
        capture: Capture::default(),
        redact: Arc::default(),
    }
}

fn redact(fields: &Fields<'_>, default: &Arc<KeyNames>, findings: &mut Findings) -> Arc<KeyNames> {
    let items = fields.list("redact", findings);
    if items.is_empty() {
        return Arc::clone(default);
    }
    let mut names = KeyNames::clone(default);
    let mut seen: Vec<String> = Vec::new();
    for item in items {
        let Some(written) = text(item, item.span, "a name in `redact`", findings) else {
            continue;
        };
        let form = key_form(written.text);
        let title = if form.is_empty() {
            format!("{} is no name of a key", quote(written.text))
        } else if written.text.len() > MAX_KEY_NAME {
            format!("a name in `redact` has at most {MAX_KEY_NAME} bytes")
        } else if seen.contains(&form) {
            format!("{} stands twice in one list", quote(written.text))
        } else {
            names.add(written.text);
            seen.push(form);
            continue;
        };
        let note =
            "write whole names of keys, such as `iban`; case, `_` and `-` make no difference";
        findings.add(Finding::new(Code::Shape, written.span, title).note(note));
    }
    Arc::new(names)
}
