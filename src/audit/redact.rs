//! Takes secrets out of what the log keeps: values of keys that say so, what looks like a token of a known issuer,
//! and the live secrets of this process, however they are encoded. Pure.
//!
//! What was taken out is replaced by `[redacted:RULE:LENGTH]`, the length in bytes of what stood there. What was JSON
//! stays JSON. Nothing of it is applied to what agents and servers get: that passes byte for byte.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::types::{KeyNames, Secret, TokenHash, checksum_holds};

use super::{Entry, Texts};

mod encoded;
mod finder;
mod shapes;
mod spans;
fn redact_texts(finder: &Finder, texts: &mut Texts) {
    match texts {
        Texts::Rules(rules) => {
            if let Some(redacted) = finder.text(rules.text()) {
                *rules = rules.with_text(&redacted);
            }
        }
        Texts::Definitions(definitions) => {
            let theirs = definitions.iter_mut();
            for one in theirs.filter(|one| finder.is_suspect(one.text())) {
                *one = one.with_text(&Walk::new(finder, None, one.text(), false).redact());
            }
        }
    }
}

#[cfg(test)]
mod tests;
mod walk;

use finder::Finder;
use walk::Walk;

/// The longest body that is looked through to its end, in bytes. Of a longer one the rest is not kept, and no digest
/// covers it.
const LOOKED_THROUGH: usize = 1024 * 1024;

/// Details of events that are ours from the first letter to the last; budgets must read as in the ledger.
const OURS: [&str; 19] = [
    "arguments",
    "asks",
    "budget",
    "budgets",
    "commit",
    "continues",
    "era",
    "first_call",
    "first_outcome",
    "idempotency_key",
    "line",
    "outcome",
    "policy",
    "refused",
    "replays",
    "result",
    "rule",
    "shadow",
    "version",
];

/// A text without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// What is left.
    pub text: String,
    /// How long the text was, in bytes.
    pub bytes: usize,
    /// Whether it was looked through to its end.
    pub is_whole: bool,
}

/// Knows the live secrets of this process.
#[derive(Debug)]
pub struct Redactor {
    finder: RwLock<Arc<Finder>>,
    /// Held by whoever adds to it.
    learning: Mutex<()>,
    /// Tokens that were learned or need not be.
    tokens: RwLock<HashSet<TokenHash>>,
}

impl Redactor {
    /// Looks for these secrets, and for all that looks like one.
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self {
            finder: RwLock::new(Arc::new(Finder::new(secrets))),
            learning: Mutex::default(),
            tokens: RwLock::default(),
        }
    }

    /// Looks for one more from now on.
    pub fn learn(&self, secret: Secret) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let finder = Arc::new(self.finder().with(secret));
        *self.finder.write().unwrap_or_else(PoisonError::into_inner) = finder;
    }

    /// Looks for these as well from now on, as far as they are not known.
    pub fn learn_all(&self, secrets: Vec<Secret>) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = self.finder().with_unknown(secrets) else {
            return;
        };
        *self.finder.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(finder);
    }

    /// Looks for the token of an agent from now on.
    ///
    /// INVARIANT: called with tokens of agents in the rules only, so that nobody else can make the list longer.
    pub fn learn_token(&self, hash: &TokenHash, token: &str) {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        if tokens.contains(hash) {
            return;
        }
        drop(tokens);
        // One of our own making is known by its looks. Learned twice does no harm; not yet learned would.
        if !checksum_holds(token) {
            self.learn(Secret::new(token.to_owned()));
        }
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(*hash);
    }

    /// A text without its secrets.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.finder().text(text) {
            None => Cow::Borrowed(text),
            Some(redacted) => Cow::Owned(redacted),
        }
    }

    /// The body of a call, which is JSON, without its secrets and without the values of these keys.
    pub fn body(&self, json: &str, keys: &KeyNames) -> Redacted {
        let looked_through = json.floor_char_boundary(LOOKED_THROUGH);
        let is_whole = looked_through == json.len();
        let json_read = json.get(..looked_through).unwrap_or_default();
        Redacted {
            text: Walk::new(&self.finder(), Some(keys), json_read, !is_whole).redact(),
            bytes: json.len(),
            is_whole,
        }
    }

    /// An event without the secrets in what agents and servers said.
    pub fn entry(&self, mut entry: Entry) -> Entry {
        let finder = self.finder();
        if let Some(tool) = entry.tool.as_mut()
            && let Some(redacted) = finder.text(tool)
        {
            *tool = redacted;
        }
        let theirs = entry.details.iter_mut();
        for (_, json) in theirs.filter(|(key, _)| !OURS.contains(&key.as_ref())) {
            if finder.is_suspect(json) {
                *json = Walk::new(&finder, None, json, false).redact();
            }
        }
        if let Some(texts) = entry.texts.as_deref_mut() {
            redact_texts(&finder, texts);
        }
        entry
    }

    fn finder(&self) -> Arc<Finder> {
        let finder = self.finder.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&finder)
    }
}
