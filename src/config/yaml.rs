//! From text to a tree in which every key and value knows its place. The only file that knows the parser.
//!
//! Plain and quoted scalars are both text: there is no `no` that turns false, no `1e3` that turns a number.
//! Anchors, aliases, merge keys, tags, repeated keys and second documents are reported here.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self as granit, Event, Parser, ScalarStyle, ScanError, StrInput};

use super::invisible;
use super::node::{Entry, Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};

/// The deepest nesting; the format itself needs six.
const MAX_DEPTH: usize = 12;
/// The most values in one file.
const MAX_NODES: usize = 250_000;

/// The parser gave up, or we did; the reason is among the findings.
struct Stopped;

/// Reads a file of one document; `None` when the parser stopped, which is then among the findings.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    let options = granit::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut composer = Composer {
        parser: Parser::new_from_str_with_options(text, options),
        text,
        findings,
        nodes: 0,
        keys: Vec::new(),
    };
    composer.document().ok()
}

struct Composer<'t, 'f> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    findings: &'f mut Findings,
    nodes: usize,
    /// The keys from the top down to the value being read.
    keys: Vec<String>,
}

impl<'t> Composer<'t, '_> {
    fn document(&mut self) -> Result<Node, Stopped> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::StreamEnd {
                break;
            }
            if !event.is_node() {
                continue;
            }
            if root.is_some() {
                let title = "a policy file is one document; this begins a second one";
                self.findings
                    .add(Finding::new(Code::Syntax, span, title).label("remove the `---` above"));
                return Err(Stopped);
            }
            root = Some(self.node(&event, span, 0)?);
        }
        Ok(root.unwrap_or(Node {
            span: Span {
                start: 0,
                end: 0,
                line: 1,
            },
            value: Value::Empty,
        }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stopped> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(&span))),
            Some(Err(error)) => {
                self.findings.add(syntax(&error, self.text));
                Err(Stopped)
            }
            None => Ok((
                Event::StreamEnd,
                Span {
                    start: 0,
                    end: 0,
                    line: 1,
                },
            )),
        }
    }

    fn node(&mut self, event: &Event<'t>, span: Span, depth: usize) -> Result<Node, Stopped> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let title = "the file is nested too deep or holds too many values";
            self.findings.add(Finding::new(Code::Syntax, span, title));
            return Err(Stopped);
        }
        self.report_features(event, span);
        if let Some((text, style)) = event.scalar() {
            return Ok(self.scalar(text, style, span));
        }
        if matches!(event, Event::SequenceStart(..)) {
            return self.list(span, depth);
        }
        if matches!(event, Event::MappingStart(..)) {
            return self.map(span, depth);
        }
        Ok(Node {
            span,
            value: Value::Broken,
        })
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Node {
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        invisible::find_in_value(text, written, span, self.findings);
        let plain = style == ScalarStyle::Plain;
        let value = if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            Value::Empty
        } else {
            Value::Text(text.to_owned())
        };
        let span = if plain {
            span
        } else {
            unquoted(self.text, span)
        };
        Node { span, value }
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Stopped> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(&event, span, depth + 1)?);
        }
        let first = items.first().map(|item: &Node| item.span);
        let span = self.opening(start, first);
        Ok(Node {
            span,
            value: Value::List(items),
        })
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Node, Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(&event, span, depth + 1)?;
            let name = match &key.value {
                Value::Text(text) => text.clone(),
                Value::Empty | Value::List(_) | Value::Map(_) | Value::Broken => String::new(),
            };
            self.keys.push(name);
            let (event, span) = self.next()?;
            let node = self.node(&event, span, depth + 1)?;
            self.keys.pop();
            if let Some(text) = self.accept(key.value, key.span, &mut seen) {
                entries.push(Entry {
                    key: text,
                    key_span: key.span,
                    node,
                });
            }
        }
        let first = entries.first().map(|entry| entry.key_span);
        let span = self.opening(start, first);
        Ok(Node {
            span,
            value: Value::Map(entries),
        })
    }

    /// The text of a key, unless it is no text, the merge key, or there already.
    fn accept(
        &mut self,
        key: Value,
        span: Span,
        seen: &mut HashMap<String, Span>,
    ) -> Option<String> {
        let finding = match key {
            Value::Broken => return None,
            Value::Empty | Value::List(_) | Value::Map(_) => {
                Finding::new(Code::Shape, span, "a key must be text")
            }
            Value::Text(text) if text == "<<" => {
                let title = "merge keys are not used in policy files";
                Finding::new(Code::YamlFeature, span, title).note(WRITE_OUT)
            }
            Value::Text(text) => match seen.get(&text) {
                Some(first) => self.duplicate(&text, span, *first),
                None => {
                    seen.insert(text.clone(), span);
                    return Some(text);
                }
            },
        };
        self.findings.add(finding);
        None
    }

    fn duplicate(&self, key: &str, span: Span, first: Span) -> Finding {
        let title = format!("{} is defined twice", self.described(key));
        Finding::new(Code::DuplicateKey, span, title)
            .label("again here")
            .context(first, "first here")
            .note("keep one of the two; which one was meant cannot be guessed")
    }

    /// What a key names, as far as its parent tells.
    fn described(&self, key: &str) -> String {
        let kind = match self.keys.as_slice() {
            [parent] => match parent.as_str() {
                "agents" => "agent",
                "servers" => "server",
                "roles" => "role",
                "budgets" => "pool",
                "viewers" => "viewer",
                _ => "key",
            },
            _ => "key",
        };
        format!("{kind} {}", quote(key))
    }

    fn report_features(&mut self, event: &Event<'_>, span: Span) {
        let word = if event.is_alias() {
            "aliases"
        } else if event.anchor_id().is_some() {
            "anchors"
        } else if event.tag().is_some() {
            "tags"
        } else {
            return;
        };
        let title = format!("{word} are not used in policy files");
        let finding = Finding::new(Code::YamlFeature, span, title).label("on this value");
        self.findings.add(finding.note(WRITE_OUT));
    }

    /// What to mark for a collection: its bracket, or its first key or item.
    fn opening(&self, start: Span, first: Option<Span>) -> Span {
        let rest = self.text.get(start.start..).unwrap_or_default();
        match first {
            Some(first) if !rest.starts_with(['[', '{']) => first,
            Some(_) | None => Span {
                end: start.start + rest.len().min(1),
                ..start
            },
        }
    }
}

const WRITE_OUT: &str =
    "write the values out, or use a role or a named pool; a reviewer reads one place at a time";

fn place(span: &granit::Span) -> Span {
    let range = span.byte_range().unwrap_or_default();
    Span {
        start: range.start,
        end: range.end,
        line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
    }
}

/// The inside of a quoted scalar; of a block scalar, what the parser says.
fn unquoted(text: &str, span: Span) -> Span {
    let raw = text.get(span.start..span.end).unwrap_or_default();
    let quoted = raw.len() >= 2 && raw.starts_with(['"', '\'']) && raw.ends_with(['"', '\'']);
    if !quoted {
        return span;
    }
    Span {
        start: span.start + 1,
        end: span.end - 1,
        ..span
    }
}

fn syntax(error: &ScanError, text: &str) -> Finding {
    let marker = error.marker();
    let start = marker.byte_offset().unwrap_or(text.len()).min(text.len());
    let next = text.get(start..).and_then(|rest| rest.chars().next());
    let width = next.filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span {
        start,
        end: start + width,
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX),
    };
    let finding = Finding::new(Code::Syntax, span, format!("not YAML: {}", error.info()));
    finding.note("reading stopped here; what follows was not checked")
}
