//! The text of a policy file on its way into the log.

use std::fmt;
use std::sync::Arc;

use super::Revision;

/// The text of a policy file, without what looks like a secret in it. Placeholders stand in it as they were written.
/// No `Display`, and a `Debug` that hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct RulesText {
    revision: Revision,
    text: Arc<str>,
    is_whole: bool,
}

impl RulesText {
    /// The text of a file, and how much of it may be shown.
    pub fn new(file: &str, shown: &str) -> Self {
        Self {
            revision: Revision::of(file.as_bytes()),
            text: shown.into(),
            is_whole: file == shown,
        }
    }

    /// The same with even less in it.
    pub fn with_text(&self, shown: &str) -> Self {
        Self {
            revision: self.revision,
            text: shown.into(),
            is_whole: self.is_whole && *self.text == *shown,
        }
    }

    /// Which version of the file it is: the digest of all of it, also of what is not shown.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What may be shown.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether that is all.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }
}

impl fmt::Debug for RulesText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RulesText({})", self.revision.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_something_taken_out_is_not_whole_and_none_of_it_is_printed() {
        let whole = RulesText::new("key: abc", "key: abc");
        assert!(whole.is_whole() && whole.with_text("key: abc").is_whole());
        assert!(!whole.with_text("key: ***").is_whole());
        let part = RulesText::new("key: abc", "key: ***");
        assert!(!part.is_whole() && !part.with_text("key: ***").is_whole());
        assert_eq!(part.revision(), whole.revision());
        assert!(!format!("{whole:?}").contains("abc"));
    }
}
