//! How a server behind the gateway does, for people.

use super::{ServerName, Timestamp};

/// How the last contact with a server went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contact {
    /// Nobody has called it since the gateway started, or its settings were changed.
    Unknown,
    /// It answered.
    Up,
    /// It gave no answer.
    Down,
}

impl Contact {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What is known of a server from contacts with it. Nobody asks it for this: a server that is not called may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// Its name.
    pub name: ServerName,
    /// How it is reached, as its settings say: `http`, `sse` or `stdio`.
    pub transport: &'static str,
    /// How the last contact went.
    pub contact: Contact,
    /// Since when contacts have gone like that.
    pub since: Option<Timestamp>,
    /// When it last answered.
    pub answered: Option<Timestamp>,
    /// When it last gave no answer, and why, in words for people. No secret is in them.
    pub failed: Option<(Timestamp, String)>,
    /// The life cycle it spoke last: `modern` (2026-07-28) or `legacy` (opens with `initialize`).
    pub era: Option<&'static str>,
    /// The revision of the protocol that was agreed on last, such as `2025-11-25`.
    pub protocol: Option<&'static str>,
    /// Child processes of it that are open; nothing for a server at a URL.
    pub processes: Option<usize>,
}
