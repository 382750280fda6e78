//! What the verifier reads in the text of an event; everything else in it is proven by the hash alone. Pure.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::Deserialize;

/// A text that is borrowed from the event as long as nothing in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An event as its text tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Meta<'a> {
    /// When it was written, in microseconds since 1970.
    pub(super) at_us: i64,
    /// What happened.
    #[serde(borrow)]
    pub(super) kind: Text<'a>,
    /// Which call it belongs to.
    #[serde(borrow)]
    pub(super) call: Option<Text<'a>>,
    /// Who called.
    #[serde(borrow)]
    pub(super) agent: Option<Text<'a>>,
    /// Which server was meant.
    #[serde(borrow)]
    pub(super) server: Option<Text<'a>>,
    /// Which tool.
    #[serde(borrow)]
    pub(super) tool: Option<Text<'a>>,
    /// Why it was refused.
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
    /// The call that this one goes on with.
    #[serde(borrow)]
    pub(super) continues: Option<Text<'a>>,
    /// The closed call that this event is about.
    #[serde(borrow)]
    pub(super) of: Option<Text<'a>>,
    /// The call whose cost this event gives back.
    #[serde(borrow)]
    pub(super) refunds: Option<Text<'a>>,
    /// The revision of the rules.
    #[serde(borrow)]
    pub(super) policy: Option<Text<'a>>,
    /// Definitions of tools that were not known.
    #[serde(borrow)]
    pub(super) tools: Option<&'a serde_json::value::RawValue>,
    /// What became of the wall clock.
    #[serde(borrow)]
    pub(super) clock: Option<Text<'a>>,
    /// What it took from budgets, or cost.
    #[serde(borrow, default)]
    pub(super) budgets: Vec<MetaBudget<'a>>,
    /// The last event that this checkpoint covers.
    pub(super) through: Option<i64>,
    /// The hash of that event.
    #[serde(borrow)]
    pub(super) head: Option<Text<'a>>,
    /// What is kept of the arguments.
    #[serde(borrow)]
    pub(super) arguments: Option<MetaBody<'a>>,
    /// What is kept of the result.
    #[serde(borrow)]
    pub(super) result: Option<MetaBody<'a>>,
    /// The key that signed.
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    /// The signature.
    #[serde(borrow)]
    pub(super) signature: Option<Text<'a>>,
}

/// What the text of an event says of a body.
#[derive(Debug, Deserialize)]
pub(super) struct MetaBody<'a> {
    /// The digest of what is kept.
    #[serde(borrow)]
    pub(super) digest: Text<'a>,
    /// How long it was as it came, in bytes.
    pub(super) bytes: i64,
    /// How much of it is kept.
    pub(super) stored: usize,
    /// Whether more was to be kept than is.
    #[serde(default)]
    pub(super) truncated: bool,
}

/// One budget in the text of an event.
#[derive(Debug, Deserialize)]
pub(super) struct MetaBudget<'a> {
    /// Which count.
    #[serde(borrow)]
    pub(super) key: Text<'a>,
    /// The start of the window, in microseconds since 1970.
    pub(super) window: i64,
    /// What a closed call cost.
    #[serde(default)]
    pub(super) charged: i64,
    /// What an open call holds.
    #[serde(default)]
    pub(super) amount: i64,
    /// What a closed call keeps for the one that goes on with it.
    #[serde(default)]
    pub(super) kept: i64,
    /// What a new count begins with.
    #[serde(default)]
    pub(super) seeded: i64,
    /// What the server reported beyond what was held.
    #[serde(default)]
    pub(super) overrun: i64,
    /// What was given back of the cost of a closed call.
    #[serde(default)]
    pub(super) refunded: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_borrowed_unless_something_in_them_is_escaped() {
        let text =
            r#"{"at_us":5,"kind":"denied","agent":"clawd","tool":"say \"hi\"","novelty":[1]}"#;
        let meta: Meta<'_> = serde_json::from_str(text).unwrap();
        assert!(matches!(meta.agent, Some(Text(Cow::Borrowed("clawd")))));
        assert_eq!(meta.tool.as_deref(), Some("say \"hi\""));
        assert!(serde_json::from_str::<Meta<'_>>(r#"{"at_us":5,"kind":"a","kind":"b"}"#).is_err());
    }
}
