//! Finds all secrets of one text at once, in time that grows with the text and not with their number.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::types::Secret;

use super::encoded::{Unescaped, forms, sextet};
use super::shapes::{Looked, Shape, words};
use super::spans::{Span, Spans, marker};

/// The shortest live secret that is looked for, in bytes. What is shorter stands in every other text by chance.
pub(super) const SHORTEST_SECRET: usize = 6;

/// How often a text may be escaped with `%`.
const ESCAPED: usize = 2;

/// Secrets that came last and are looked for by themselves.
const FRESH: usize = 32;

/// What a word that was found means.
#[derive(Debug, Clone, Copy)]
enum Needle {
    /// It is a live secret.
    Secret { has_before: bool, has_after: bool },
    /// It may begin a secret.
    Shape(Shape),
}

/// Words to look for, and what each of them means.
struct Words {
    /// `None` when there are more than can be looked for; no text is kept then.
    automaton: Option<AhoCorasick>,
    needles: Vec<Needle>,
}

impl Words {
    fn new(shapes: Vec<(String, Shape)>, secrets: &[Secret]) -> Self {
        let (mut texts, mut needles) = (Vec::new(), Vec::new());
        for (text, shape) in shapes {
            texts.push(text);
            needles.push(Needle::Shape(shape));
        }
        let forms = |secret: &Secret| forms(secret.expose(), SHORTEST_SECRET);
        for form in secrets.iter().flat_map(forms) {
            texts.push(form.text);
            needles.push(Needle::Secret {
                has_before: form.has_before,
                has_after: form.has_after,
            });
        }
        // Overlapping words are all found with this kind only.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&texts);
        Self {
            automaton: automaton.ok(),
            needles,
        }
    }
}

/// Looks for the secrets of this process and for what looks like one.
#[derive(Clone)]
pub(super) struct Finder {
    secrets: Vec<Secret>,
    /// How many of them are among the settled words.
    settled_secrets: usize,
    settled: Arc<Words>,
    /// Those that came last, so that not all words are taken up anew for each.
    fresh: Arc<Words>,
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finder({} secrets)", self.secrets.len())
    }
}

impl Finder {
    pub(super) fn new(secrets: Vec<Secret>) -> Self {
        Self {
            settled_secrets: secrets.len(),
            settled: Arc::new(Words::new(words(), &secrets)),
            fresh: Arc::new(Words::new(Vec::new(), &[])),
            secrets,
        }
    }

    /// The same with one secret more.
    pub(super) fn with(&self, secret: Secret) -> Self {
        let mut more = self.clone();
        more.secrets.push(secret);
        let fresh = more.secrets.get(self.settled_secrets..).unwrap_or_default();
        if fresh.len() > FRESH {
            return Self::new(more.secrets);
        }
        more.fresh = Arc::new(Words::new(Vec::new(), fresh));
        more
    }

    /// The same with those of these secrets that it does not know; nothing when it knows all.
    pub(super) fn with_unknown(&self, secrets: Vec<Secret>) -> Option<Self> {
        let mut known: HashSet<&str> = self.secrets.iter().map(Secret::expose).collect();
        let mut all = self.secrets.clone();
        for secret in &secrets {
            if known.insert(secret.expose()) {
                all.push(secret.clone());
            }
        }
        (all.len() > self.secrets.len()).then(|| Self::new(all))
    }

    #[cfg(test)]
    pub(super) fn secrets(&self) -> usize {
        self.secrets.len()
    }

    fn all_words(&self) -> impl Iterator<Item = &Words> {
        let all = [&self.settled, &self.fresh].into_iter();
        all.map(Arc::as_ref)
            .filter(|words| !words.needles.is_empty())
    }

    /// Whether a text as it is written may hold a secret: some word of one, or escapes that hide it.
    pub(super) fn is_suspect(&self, text: &str) -> bool {
        let is_escaped = text.bytes().any(|byte| matches!(byte, b'%' | b'\\'));
        is_escaped || self.all_words().any(|words| words.stand_in(text))
    }

    /// The text without its secrets; nothing when it has none.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        if self.all_words().any(|words| words.automaton.is_none()) {
            return Some(marker("unsearched", text.len()));
        }
        let mut spans = Spans::default();
        self.search(text.as_bytes(), &mut spans);
        let mut unescaped = text
            .contains('%')
            .then(|| Unescaped::read(text.as_bytes()))
            .flatten();
        for _ in 0..ESCAPED {
            let Some(read) = unescaped else { break };
            let mut inside = Spans::default();
            self.search(&read.bytes, &mut inside);
            for span in inside.iter() {
                let place = |at: usize| read.places.get(at).copied().unwrap_or(text.len());
                spans.add(Span {
                    start: place(span.start),
                    end: place(span.end),
                    rule: span.rule,
                });
            }
            unescaped = read.read_again();
        }
        spans.take_out_of(text)
    }

    fn search(&self, text: &[u8], spans: &mut Spans) {
        for words in self.all_words() {
            words.search(text, spans);
        }
    }
}

impl Words {
    fn stand_in(&self, text: &str) -> bool {
        let automaton = self.automaton.as_ref();
        automaton.is_none_or(|automaton| automaton.is_match(text))
    }

    fn search(&self, text: &[u8], spans: &mut Spans) {
        let Some(automaton) = &self.automaton else {
            return;
        };
        let mut looked = Looked::default();
        for found in automaton.find_overlapping_iter(text) {
            let (start, end) = (found.start(), found.end());
            match self.needles.get(found.pattern().as_usize()) {
                Some(Needle::Secret {
                    has_before,
                    has_after,
                }) => spans.add(Span {
                    start: if *has_before {
                        before(text, start)
                    } else {
                        start
                    },
                    end: if *has_after { after(text, end) } else { end },
                    rule: "secret",
                }),
                // What lies in a piece that is taken out anyway need not be looked at.
                Some(Needle::Shape(_)) if spans.covers(start) => {}
                Some(Needle::Shape(shape)) => {
                    if let Some(span) = shape.span(text, start, end, &mut looked) {
                        spans.add(span);
                    }
                }
                None => {}
            }
        }
    }
}

/// The place of the character of base64 before this one, if there is one.
fn before(text: &[u8], at: usize) -> usize {
    let place = at.checked_sub(1);
    let byte = place.and_then(|place| text.get(place));
    match (place, byte.and_then(|byte| sextet(*byte))) {
        (Some(place), Some(_)) => place,
        (Some(_) | None, _) => at,
    }
}

/// The end of the character of base64 at this place, if there is one.
fn after(text: &[u8], at: usize) -> usize {
    let character = text.get(at).and_then(|byte| sextet(*byte));
    at + usize::from(character.is_some())
}
