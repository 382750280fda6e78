//! The revisions of MCP.

use std::fmt;
use std::str::FromStr;

/// A published revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP with two endpoints.
    V2024_11_05,
    /// Streamable HTTP, batches.
    V2025_03_26,
    /// No batches, structured output, elicitation.
    V2025_06_18,
    /// Resumable streams, tasks as an experiment.
    V2025_11_25,
    /// Stateless; version and capabilities in every request.
    V2026_07_28,
}

/// What is offered to a peer that opens with `initialize`.
pub const LATEST_LEGACY: Version = Version::V2025_11_25;

impl Version {
    const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];

    /// The date that names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether it is stateless: no `initialize`, no session.
    pub fn is_modern(self) -> bool {
        self >= Self::V2026_07_28
    }

    /// Whether a stream may begin with an event that only names a place in it, from which it can be taken up again.
    pub fn has_places(self) -> bool {
        self == Self::V2025_11_25
    }

    /// Whether it knows batches of messages.
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
