//! How the definitions of tools came and changed, as rows of a table.

use crate::audit::read::DefinitionRow;
use crate::types::{CallId, shown};

use super::figures::{Watch, When};
use super::frame::Link;
use super::who::Links;

/// Digits of a hash that are shown; all of them stand in the title.
const DIGITS: usize = 12;

/// A definition that was seen for the first time, or changed.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) when: When,
    pub(super) tool: Link,
    /// `first seen`, `new`, `changed`.
    pub(super) what: &'static str,
    /// The class of its tag.
    pub(super) class: &'static str,
    /// The life cycle its server spoke: `modern`, `legacy`.
    pub(super) protocol: String,
    pub(super) hash: String,
    pub(super) whole_hash: String,
    pub(super) was: Option<String>,
    /// The call in which it was seen.
    pub(super) call: Option<String>,
}

/// The newest changes, at most so many.
pub(super) fn changes(
    rows: &[DefinitionRow],
    links: &Links,
    watch: Watch<'_>,
    at_most: usize,
) -> Vec<Change> {
    rows.iter()
        .take(at_most)
        .map(|row| change(row, links, watch))
        .collect()
}

fn change(row: &DefinitionRow, links: &Links, watch: Watch<'_>) -> Change {
    let (what, class) = match (&row.was, row.is_first) {
        (Some(_), _) => ("changed", "bad"),
        (None, true) => ("first seen", ""),
        (None, false) => ("new", "good"),
    };
    let call = row
        .of
        .as_deref()
        .and_then(|call| call.parse::<CallId>().ok());
    Change {
        when: watch.tell(row.at),
        tool: Link {
            href: links.tool(&row.server, &row.tool),
            text: shown::name(&row.tool).to_string(),
        },
        what,
        class,
        protocol: shown::name(&row.protocol).to_string(),
        hash: short(&row.hash),
        whole_hash: shown::sentence(&row.hash).to_string(),
        was: row.was.as_deref().map(short),
        call: call.map(|call| links.one_call(call)),
    }
}

/// The beginning of a hash, as it stands in the log.
pub(super) fn short(hash: &str) -> String {
    let digits: String = hash.chars().take(DIGITS).collect();
    shown::name(&digits).to_string()
}
