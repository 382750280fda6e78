//! Takes mappings apart key by key: known keys, kinds of values, and what to say when they are wrong.

use super::node::{Entry, Node, Value};
use super::problem::{Code, Finding, Findings, Span, nearest, quote};

/// A piece of text and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'n> {
    pub(super) text: &'n str,
    pub(super) span: Span,
}

/// A mapping whose keys were all checked against those that are known.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    subject: String,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Opens a mapping and reports its unknown keys; `None` when it is no mapping.
    ///
    /// `subject` says what it describes, such as "agent `clawd`".
    pub(super) fn open(
        node: &'n Node,
        subject: impl Into<String>,
        known: &[&str],
        findings: &mut Findings,
    ) -> Option<Self> {
        let subject = subject.into();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Broken => return None,
            Value::Empty | Value::Text(_) | Value::List(_) => {
                let title = format!("{subject} must be a mapping, not {}", kind(node));
                let note = format!("its keys are {}", known.join(", "));
                findings.add(Finding::new(Code::Shape, node.span, title).note(note));
                return None;
            }
        };
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            findings.add(unknown_key(entry, &subject, known));
        }
        Some(Self { subject, entries })
    }

    /// All entries, in the order of the file.
    pub(super) fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    /// The value of a key, whatever its kind.
    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of a key that must be text; one without a value is reported.
    pub(super) fn text(&self, key: &str, findings: &mut Findings) -> Option<Text<'n>> {
        let entry = self.entry(key)?;
        let subject = format!("`{key}` of {}", self.subject);
        text(&entry.node, entry.key_span, &subject, findings)
    }

    /// The text of a key that says something to people only; an empty one says nothing.
    pub(super) fn prose(&self, key: &str, findings: &mut Findings) -> Option<String> {
        if self.entry(key)?.node.is_blank() {
            return None;
        }
        self.text(key, findings).map(|text| text.text.to_owned())
    }

    /// The items of a key that must be a list; nothing written is an empty list.
    pub(super) fn list(&self, key: &str, findings: &mut Findings) -> &'n [Node] {
        let Some(entry) = self.entry(key) else {
            return &[];
        };
        match &entry.node.value {
            Value::List(items) => items,
            Value::Empty | Value::Broken => &[],
            Value::Text(_) | Value::Map(_) => {
                let is = kind(&entry.node);
                let title = format!("`{key}` of {} must be a list, not {is}", self.subject);
                let note = "write the items between `[` and `]`, or each on a line behind `-`";
                findings.add(Finding::new(Code::Shape, mark(entry), title).note(note));
                &[]
            }
        }
    }

    /// The entries of a key that must be a mapping; nothing written is an empty mapping.
    pub(super) fn map(&self, key: &str, findings: &mut Findings) -> &'n [Entry] {
        let Some(entry) = self.entry(key) else {
            return &[];
        };
        match &entry.node.value {
            Value::Map(entries) => entries,
            Value::Empty | Value::Broken => &[],
            Value::Text(_) | Value::List(_) => {
                let is = kind(&entry.node);
                let title = format!("`{key}` of {} must be a mapping, not {is}", self.subject);
                findings.add(Finding::new(Code::Shape, mark(entry), title));
                &[]
            }
        }
    }

    /// What this mapping describes.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }
}

/// A value that must be text; `key` is marked when nothing is written.
pub(super) fn text<'n>(
    node: &'n Node,
    key: Span,
    subject: &str,
    findings: &mut Findings,
) -> Option<Text<'n>> {
    let span = node.span;
    let finding = match &node.value {
        Value::Text(text) if !text.is_empty() => return Some(Text { text, span }),
        Value::Broken => return None,
        Value::Text(_) | Value::Empty => {
            let title = format!("{subject} is empty");
            Finding::new(Code::Shape, key, title).label("write a value, or leave the key away")
        }
        Value::List(_) | Value::Map(_) => {
            let title = format!("{subject} must be text, not {}", kind(node));
            Finding::new(Code::Shape, key, title)
        }
    };
    findings.add(finding);
    None
}

/// What to mark for an entry: its value, or its key where the value spans lines or is not there.
pub(super) fn mark(entry: &Entry) -> Span {
    match entry.node.value {
        Value::Text(_) => entry.node.span,
        Value::Empty | Value::List(_) | Value::Map(_) | Value::Broken => entry.key_span,
    }
}

/// A value chosen from a closed set of words.
pub(super) fn choice<T: Copy>(
    text: Option<Text<'_>>,
    words: &[(&str, T)],
    findings: &mut Findings,
) -> Option<T> {
    let text = text?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.text) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let title = format!("{} is none of {}", quote(text.text), known.join(", "));
    let finding = Finding::new(Code::Shape, text.span, title);
    findings.add(did_you_mean(finding, text, known));
    None
}

/// Adds the nearest candidate to a finding as the thing to write instead.
pub(super) fn did_you_mean<'a>(
    finding: Finding,
    text: Text<'_>,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Finding {
    match nearest(text.text, candidates) {
        Some(near) => finding.suggest("a similar one exists", text.span, near),
        None => finding,
    }
}

fn unknown_key(entry: &Entry, subject: &str, known: &[&str]) -> Finding {
    let title = format!("unknown key {} in {subject}", quote(&entry.key));
    let note = format!("the keys are {}", known.join(", "));
    let finding = Finding::new(Code::UnknownKey, entry.key_span, title).note(note);
    let key = Text {
        text: &entry.key,
        span: entry.key_span,
    };
    did_you_mean(finding, key, known.iter().copied())
}

/// What a value is, in words.
pub(super) fn kind(node: &Node) -> &'static str {
    match node.value {
        Value::Empty | Value::Broken => "nothing",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}
