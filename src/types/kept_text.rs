//! Texts on their way into the log, which names them by a digest.

use std::fmt;
use std::sync::Arc;

use super::{DefinitionHash, Revision};

/// A text without what looks like a secret in it, and the digest of all of it. No `Display`, and a `Debug` that hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptText<D> {
    digest: D,
    text: Arc<str>,
    is_whole: bool,
}

/// The text of a policy file. Placeholders stand in it as they were written.
pub type RulesText = KeptText<Revision>;

/// The definition of a tool in its canonical form.
pub type DefinitionText = KeptText<DefinitionHash>;

impl RulesText {
    /// The text of a file, and how much of it may be shown.
    pub fn new(file: &str, shown: &str) -> Self {
        Self {
            digest: Revision::of(file.as_bytes()),
            text: shown.into(),
            is_whole: file == shown,
        }
    }

    /// Which version of the file it is: the digest of all of it, also of what is not shown.
    pub fn revision(&self) -> Revision {
        self.digest
    }
}

impl DefinitionText {
    /// A definition in its canonical form.
    pub fn of(canonical: &str) -> Self {
        Self {
            digest: DefinitionHash::of(canonical),
            text: canonical.into(),
            is_whole: true,
        }
    }

    /// Which definition it is.
    pub fn hash(&self) -> DefinitionHash {
        self.digest
    }
}

impl<D: Copy> KeptText<D> {
    /// The same with even less in it.
    pub fn with_text(&self, shown: &str) -> Self {
        Self {
            digest: self.digest,
            text: shown.into(),
            is_whole: self.is_whole && *self.text == *shown,
        }
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

impl<D: fmt::Debug> fmt::Debug for KeptText<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptText({:?})", self.digest)
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
        let definition = DefinitionText::of(r#"{"name":"x"}"#);
        let hidden = definition.with_text(r#"{"name":"*"}"#);
        assert_eq!(hidden.hash(), DefinitionHash::of(r#"{"name":"x"}"#));
        assert!(definition.is_whole() && !hidden.is_whole());
    }
}
