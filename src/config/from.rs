//! `from:` of agents: the networks that their requests may come from.

use crate::types::Network;

use super::fields::{Fields, text};
use super::problem::{Code, Finding, Findings, quote};

/// Reads it; `None` where the file says nothing, so that any address fits. An empty list fits none.
pub(super) fn networks(fields: &Fields<'_>, findings: &mut Findings) -> Option<Vec<Network>> {
    fields.entry("from")?;
    let mut networks: Vec<Network> = Vec::new();
    for item in fields.list("from", findings) {
        let Some(written) = text(item, item.span, "a network", findings) else {
            continue;
        };
        match written.text.parse() {
            Ok(network) if networks.contains(&network) => {
                let title = format!("{} stands twice in one list", quote(written.text));
                findings.add(Finding::new(Code::Shape, written.span, title));
            }
            Ok(network) => networks.push(network),
            Err(error) => {
                let title = format!("{} is not a network", quote(written.text));
                let finding = Finding::new(Code::BadAmount, written.span, title);
                findings.add(finding.note(error.to_string()));
            }
        }
    }
    Some(networks)
}
