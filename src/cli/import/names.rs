//! Names of servers: as they were, as far as permissions.yaml can have them.

use std::collections::HashSet;

use crate::types::{BUILT_IN, ServerName};

/// Makes names of servers valid and different from one another.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The name to use, and whether it is another than was written.
    pub(super) fn valid(&mut self, written: &str) -> (ServerName, bool) {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let parts = written
            .split(|c| !allowed(c))
            .filter(|part| !part.is_empty());
        let mut base = parts.collect::<Vec<_>>().join("-");
        base.truncate(56);
        if base.is_empty() || base.eq_ignore_ascii_case(BUILT_IN) {
            base = format!("server-{base}").trim_end_matches('-').to_owned();
        }
        let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        let mut free = || names.find(|name| self.0.insert(name.to_ascii_lowercase()));
        let name = free().unwrap_or(base);
        let was_changed = name != written;
        // INVARIANT: only allowed characters, from 1 to 64 of them; the built-in name is one of ours in any case.
        (
            name.parse().unwrap_or_else(|_| ServerName::built_in()),
            was_changed,
        )
    }
}
