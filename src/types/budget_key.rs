//! Which budget: its place in the file, its tools, its window, its split.

use std::fmt;
use std::sync::Arc;

/// The identity of one count: place, tools, unit, window and zone, and the instance `each` made.
///
/// Neither the limit nor the position in the file is part of it, so changing a limit keeps the use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey(Arc<str>);

impl BudgetKey {
    /// Takes the canonical text that `policy` composed.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BudgetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
