//! One difference of two files: whom it is about, what it is, and whether it opens something.

use std::fmt;

use crate::types::AgentName;

/// Whom or what a change is about, in the order in which people read them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// One agent.
    Agent(AgentName),
    /// All agents.
    Everyone,
    /// Servers behind the gateway.
    Servers,
    /// Who reads the pages.
    Viewers,
    /// What holds where nothing else is said.
    Defaults,
    /// Tests that stand in the file.
    Tests,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Agent(name) => name.as_str(),
            Self::Everyone => "everyone",
            Self::Servers => "servers",
            Self::Viewers => "viewers",
            Self::Defaults => "defaults",
            Self::Tests => "tests",
        })
    }
}

/// Whether something came, went, or is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// It was not there.
    Added,
    /// It is there no more.
    Removed,
    /// It is not what it was.
    Changed,
}

impl Sign {
    /// `+`, `-` or `~`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "+",
            Self::Removed => "-",
            Self::Changed => "~",
        }
    }
}

/// What a change does to what is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// More is possible than before.
    Loosened,
    /// Less is.
    Tightened,
    /// Neither, or nobody can say.
    Neutral,
}

impl Effect {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loosened => "loosened",
            Self::Tightened => "tightened",
            Self::Neutral => "neutral",
        }
    }

    /// Of an amount of which more means more is possible.
    pub(super) fn of_amounts<T: PartialOrd>(before: &T, after: &T) -> Self {
        if after > before {
            Self::Loosened
        } else if after < before {
            Self::Tightened
        } else {
            Self::Neutral
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whom it is about.
    pub about: About,
    /// Whether something came, went, or is another.
    pub sign: Sign,
    /// What, such as `may call github/create_issue`.
    pub what: String,
    /// From what to what, or under which terms; may be empty.
    pub detail: String,
    /// What it does.
    pub effect: Effect,
    /// Why somebody should look twice, if so.
    pub high: Option<&'static str>,
}

impl Change {
    /// A change that opens and closes nothing.
    pub(super) fn new(about: About, sign: Sign, what: impl Into<String>) -> Self {
        Self {
            about,
            sign,
            what: what.into(),
            detail: String::new(),
            effect: Effect::Neutral,
            high: None,
        }
    }

    /// With what it was and is.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With what it does.
    pub(super) fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// With why somebody should look twice.
    pub(super) fn high(mut self, why: &'static str) -> Self {
        self.high = Some(why);
        self
    }
}
