//! How much of a call's arguments and results the log keeps.

use std::sync::Arc;

use crate::types::{KeyNames, ServerName};

use super::{Agent, Permissions};

/// How much is kept, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Capture {
    /// That there was a call; not even how large anything was.
    None,
    /// How large things were, and how they ended.
    #[default]
    Metadata,
    /// Arguments as well.
    Arguments,
    /// Arguments and results.
    Full,
}

/// What is kept of one call, and what is taken out of it before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// How much.
    pub capture: Capture,
    /// Keys whose values are taken out, at any depth.
    pub redact: Arc<KeyNames>,
}

/// What is kept of calls of an agent to a server: the lesser of what either says.
pub fn keeping(permissions: &Permissions, agent: &Agent, server: &ServerName) -> Keeping {
    match permissions.servers().get(server) {
        Some(rule) => Keeping {
            capture: agent.capture.min(rule.keeping.capture),
            redact: Arc::clone(&rule.keeping.redact),
        },
        // The gateway's own server, or one of which nothing is called.
        None => Keeping {
            capture: agent.capture.min(Capture::Metadata),
            redact: Arc::default(),
        },
    }
}
