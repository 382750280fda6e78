//! One event and the exact text that is hashed.

use std::borrow::Cow;
use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{AgentName, CallId, DefinitionText, RulesText, ServerName, Timestamp};

use super::{Body, Texts};

/// Bytes of the names and numbers that most events begin with.
const USUAL: usize = 256;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The gateway opened the file.
    Started,
    /// The gateway closed the file in good order.
    Stopped,
    /// The log did not verify at a start, and somebody said to go on all the same.
    Accepted,
    /// A policy revision came into force.
    Policy,
    /// The end of the chain was noted; so it is when the gateway starts and stops.
    Checkpoint,
    /// A call was let through; its holds were taken in the same transaction.
    Admitted,
    /// A call was refused. It has no other event.
    Denied,
    /// The server answered; the call costs what it held.
    Settled,
    /// It is not clear what the server did; the call costs what it held.
    Failed,
    /// The server never saw the request; the call costs nothing, unless an earlier round of it did.
    Released,
    /// The gateway stopped in the middle of the call; it costs what it held.
    Abandoned,
    /// Bodies of calls were deleted, by whom and why.
    Redacted,
    /// A new count begins with what earlier ones of its rule have used.
    Seeded,
    /// Nobody went on with a call in time whose hold was kept for that; it costs what it held.
    Expired,
    /// The wall clock jumped ahead and is not followed, or is followed again.
    Clock,
    /// An operator gave back what a closed call had cost.
    Refunded,
    /// An operator had the counts put right after the events.
    Repaired,
    /// An operator let a budget be used again that was frozen.
    Unfrozen,
    /// A checkpoint stands in the file elsewhere.
    Exported,
    /// Events, or bodies of events, that were too old are gone; they stand in an archive.
    Pruned,
    /// Definitions of a server's tools were seen that were not known, or are other ones than before.
    Tools,
    /// Somebody used the dashboard: logged in or out, was refused, opened a body, took a list or a report away.
    Accessed,
}

impl Kind {
    const ALL: &[Self] = &[
        Self::Started,
        Self::Stopped,
        Self::Accepted,
        Self::Policy,
        Self::Checkpoint,
        Self::Admitted,
        Self::Denied,
        Self::Settled,
        Self::Failed,
        Self::Released,
        Self::Abandoned,
        Self::Redacted,
        Self::Seeded,
        Self::Expired,
        Self::Clock,
        Self::Refunded,
        Self::Repaired,
        Self::Unfrozen,
        Self::Exported,
        Self::Pruned,
        Self::Tools,
        Self::Accessed,
    ];

    /// The word in the column and in the hashed text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Accepted => "accepted",
            Self::Policy => "policy",
            Self::Checkpoint => "checkpoint",
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
            Self::Redacted => "redacted",
            Self::Seeded => "seeded",
            Self::Expired => "expired",
            Self::Clock => "clock",
            Self::Refunded => "refunded",
            Self::Repaired => "repaired",
            Self::Unfrozen => "unfrozen",
            Self::Exported => "exported",
            Self::Pruned => "pruned",
            Self::Tools => "tools",
            Self::Accessed => "accessed",
        }
    }

    /// Whether it ends an admitted call.
    pub fn closes(self) -> bool {
        match self {
            Self::Settled | Self::Failed | Self::Released | Self::Abandoned => true,
            Self::Started
            | Self::Stopped
            | Self::Accepted
            | Self::Policy
            | Self::Checkpoint
            | Self::Admitted
            | Self::Denied
            | Self::Redacted
            | Self::Seeded
            | Self::Expired
            | Self::Clock
            | Self::Refunded
            | Self::Repaired
            | Self::Unfrozen
            | Self::Exported
            | Self::Pruned
            | Self::Tools
            | Self::Accessed => false,
        }
    }

    /// Whether it begins a call; one that is denied has no other event.
    pub fn opens(self) -> bool {
        match self {
            Self::Admitted | Self::Denied => true,
            Self::Started
            | Self::Stopped
            | Self::Accepted
            | Self::Policy
            | Self::Checkpoint
            | Self::Settled
            | Self::Failed
            | Self::Released
            | Self::Abandoned
            | Self::Redacted
            | Self::Seeded
            | Self::Expired
            | Self::Clock
            | Self::Refunded
            | Self::Repaired
            | Self::Unfrozen
            | Self::Exported
            | Self::Pruned
            | Self::Tools
            | Self::Accessed => false,
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// An event on its way into the log; it gets its sequence and its hash from the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happened.
    pub kind: Kind,
    /// Which call it belongs to.
    pub call: Option<CallId>,
    /// Who called.
    pub agent: Option<AgentName>,
    /// Which server was meant.
    pub server: Option<ServerName>,
    /// Which tool, by the server's own name.
    pub tool: Option<String>,
    /// Why it was refused; set exactly for `denied`.
    pub reason: Option<Cow<'static, str>>,
    /// Everything else: pairs of a key and a JSON text, in the order they are written.
    pub details: Vec<(Cow<'static, str>, String)>,
    /// What is kept of the arguments or the result, beside the chain; the event covers it.
    pub body: Option<Arc<Body>>,
    /// What is kept beside the chain; the event names it by its digest.
    pub texts: Option<Box<Texts>>,
}

impl Entry {
    /// An event of this kind with nothing else known yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            call: None,
            agent: None,
            server: None,
            tool: None,
            reason: None,
            details: Vec::new(),
            body: None,
            texts: None,
        }
    }

    /// Adds a text.
    pub fn text(mut self, key: &'static str, value: &str) -> Self {
        self.details.push((key.into(), quoted(value)));
        self
    }

    /// Adds a number.
    pub fn number(mut self, key: &'static str, value: u64) -> Self {
        self.details.push((key.into(), value.to_string()));
        self
    }

    /// Adds a value that is JSON already.
    pub fn json(mut self, key: &'static str, value: String) -> Self {
        self.details.push((key.into(), value));
        self
    }

    /// Has the text of these rules kept.
    pub fn with_rules(mut self, rules: RulesText) -> Self {
        self.texts = Some(Box::new(Texts::Rules(rules)));
        self
    }

    /// Has the texts of these definitions kept.
    pub fn with_definitions(mut self, definitions: Vec<DefinitionText>) -> Self {
        self.texts = Some(Box::new(Texts::Definitions(definitions)));
        self
    }

    /// Takes a detail away.
    pub fn without(mut self, key: &str) -> Self {
        self.details.retain(|(known, _)| known != key);
        self
    }

    /// The text that is hashed and stored: one JSON object with its keys in this order.
    pub fn to_meta(&self, at: Timestamp) -> String {
        let details = self.details.iter();
        let length: usize = details
            .map(|(key, value)| key.len() + value.len() + 4)
            .sum();
        let mut meta = String::with_capacity(length + USUAL);
        // Writing to a String cannot fail.
        let _ = write!(
            meta,
            "{{\"at_us\":{},\"kind\":\"{}\"",
            at.micros(),
            self.kind.as_str()
        );
        let call = self.call.map(|call| quoted(&call.to_string()));
        let agent = self.agent.as_ref().map(|agent| quoted(agent.as_str()));
        let server = self.server.as_ref().map(|server| quoted(server.as_str()));
        let tool = self.tool.as_deref().map(quoted);
        let reason = self.reason.as_deref().map(quoted);
        let known = [
            ("call", call),
            ("agent", agent),
            ("server", server),
            ("tool", tool),
            ("reason", reason),
        ];
        let known = known
            .iter()
            .filter_map(|(key, value)| Some((*key, value.as_ref()?)));
        let details = self.details.iter().map(|(key, value)| (&**key, value));
        let body = self.body.as_ref();
        let body = body.map(|body| (body.kind.as_str(), body.to_json()));
        let body = body.iter().map(|(key, value)| (*key, value));
        for (key, value) in known.chain(details).chain(body) {
            for part in [",\"", key, "\":", value] {
                meta.push_str(part);
            }
        }
        meta.push('}');
        meta
    }
}

/// A refusal on disk, before it is an event.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    agent: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    reason: Option<String>,
    details: Vec<(String, String)>,
}

impl Entry {
    /// What is kept of a refusal that is only counted.
    pub(super) fn to_stored(&self) -> Stored {
        let text = |text: &str| text.to_owned();
        Stored {
            agent: self.agent.as_ref().map(|agent| text(agent.as_str())),
            server: self.server.as_ref().map(|server| text(server.as_str())),
            tool: self.tool.clone(),
            reason: self.reason.as_deref().map(text),
            details: self
                .details
                .iter()
                .map(|(key, value)| (text(key), value.clone()))
                .collect(),
        }
    }

    /// The same as a `denied` event; a name that is none any more is left out.
    pub(super) fn from_stored(stored: Stored) -> Self {
        Self {
            kind: Kind::Denied,
            call: None,
            agent: stored.agent.and_then(|agent| agent.parse().ok()),
            server: stored.server.and_then(|server| server.parse().ok()),
            tool: stored.tool,
            reason: stored.reason.map(Cow::Owned),
            details: stored
                .details
                .into_iter()
                .map(|(key, value)| (Cow::Owned(key), value))
                .collect(),
            body: None,
            texts: None,
        }
    }
}

fn quoted(text: &str) -> String {
    // Texts can always be written.
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashed_text_is_json_in_a_fixed_order() {
        let mut entry = Entry::new(Kind::Denied)
            .text("method", "tools/call")
            .number("bytes_in", 12);
        entry.agent = Some("clawd".parse().unwrap());
        entry.tool = Some("say \"hi\"".into());
        entry.reason = Some("budget".into());
        assert_eq!(
            entry.to_meta(Timestamp::from_micros(5)),
            r#"{"at_us":5,"kind":"denied","agent":"clawd","tool":"say \"hi\"","reason":"budget","method":"tools/call","bytes_in":12}"#
        );
    }

    #[test]
    fn kinds_read_and_print_the_same() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
    }
}
