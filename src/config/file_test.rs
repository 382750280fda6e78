//! `tests:`: what a file says of itself, tried before it is used.

use crate::types::{AgentName, ServerName, Timestamp};

use super::fields::{Fields, Text, choice, did_you_mean, text};
use super::keys;
use super::names::Known;
use super::node::{Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};
use super::time;

/// The most calls that one test makes.
const MAX_REPEAT: usize = 1_000;

const OF_LISTS: &[&str] = &["allow", "deny"];
const OF_CALLS: &[&str] = &["call", "args", "at", "repeat", "expect", "reason"];

const VERDICTS: &[(&str, bool)] = &[("allow", true), ("deny", false)];

/// One entry of `tests:`.
#[derive(Debug, Clone)]
pub struct FileTest {
    /// What people call it.
    pub name: Option<String>,
    /// Who calls.
    pub agent: AgentName,
    /// What is tried.
    pub trial: Trial,
    span: Span,
}

/// What a test tries.
#[derive(Debug, Clone)]
pub enum Trial {
    /// Whether there is a grant, whatever budgets and conditions say.
    Reach {
        /// What must be granted.
        allow: Vec<Aim>,
        /// What must not be.
        deny: Vec<Aim>,
    },
    /// Calls one after the other, with nothing used before the first.
    Calls {
        /// What is called.
        aim: Aim,
        /// The arguments, as JSON text.
        arguments: String,
        /// When; at the time of the trial where nobody says.
        at: Option<Timestamp>,
        /// What each call must be: allowed, or not.
        expect: Vec<bool>,
        /// Why those are refused that are.
        reason: Option<String>,
    },
}

/// One tool of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// The server.
    pub server: ServerName,
    /// The tool, by the server's own name for it.
    pub tool: String,
    span: Span,
}

impl FileTest {
    /// What people call it, or what it is about.
    pub fn title(&self) -> String {
        match (&self.name, &self.trial) {
            (Some(name), _) => quote(name),
            (None, Trial::Reach { .. }) => format!("of what {} may reach", self.agent),
            (None, Trial::Calls { aim, .. }) => format!("of {}/{}", aim.server, aim.tool),
        }
    }

    /// All of it in one text, whatever line it stands on.
    pub fn text(&self) -> String {
        let aims = |aims: &[Aim]| {
            let aims = aims
                .iter()
                .map(|aim| format!("{}/{}", aim.server, aim.tool));
            aims.collect::<Vec<_>>().join(" ")
        };
        let trial = match &self.trial {
            Trial::Reach { allow, deny } => format!("allow {} deny {}", aims(allow), aims(deny)),
            Trial::Calls {
                aim,
                arguments,
                at,
                expect,
                reason,
            } => format!(
                "{}/{} {arguments} {at:?} {expect:?} {reason:?}",
                aim.server, aim.tool
            ),
        };
        format!("{:?} {} {trial}", self.name, self.agent)
    }

    /// What is said when it fails: for one of its tools, or for the whole of it.
    pub(super) fn finding(&self, aim: Option<&Aim>, title: String, notes: Vec<String>) -> Finding {
        let span = aim.map_or(self.span, |aim| aim.span);
        let finding = Finding::new(Code::TestFailed, span, title);
        notes.into_iter().fold(finding, Finding::note)
    }
}

/// Who and what tests can name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cast<'a> {
    pub(super) agents: &'a [&'a str],
    pub(super) servers: &'a Known,
    /// The file, where quoted and plain values can be told apart.
    pub(super) source: &'a str,
}

/// Reads `tests:`.
pub(super) fn tests(items: &[Node], cast: Cast<'_>, findings: &mut Findings) -> Vec<FileTest> {
    let tests = items.iter().filter_map(|item| test(item, cast, findings));
    tests.collect()
}

fn test(node: &Node, cast: Cast<'_>, findings: &mut Findings) -> Option<FileTest> {
    let fields = Fields::open(node, "a test", keys::TEST, findings)?;
    let name = fields.prose("name", findings);
    let agent = agent(&fields, node.span, cast, findings)?;
    let is_call = fields.entry("call").is_some();
    let misplaced = if is_call { OF_LISTS } else { OF_CALLS };
    for entry in misplaced.iter().filter_map(|key| fields.entry(key)) {
        let title = format!(
            "`{}` is for tests {} `call`",
            entry.key,
            if is_call { "without" } else { "with" }
        );
        findings.add(Finding::new(Code::Shape, entry.key_span, title));
    }
    let trial = if is_call {
        calls(&fields, cast, findings)?
    } else {
        reach(&fields, node.span, cast, findings)?
    };
    Some(FileTest {
        name,
        agent,
        trial,
        span: node.span,
    })
}

fn agent(
    fields: &Fields<'_>,
    owner: Span,
    cast: Cast<'_>,
    findings: &mut Findings,
) -> Option<AgentName> {
    if fields.entry("agent").is_none() {
        let note = "write `agent:` and the name of one";
        findings.add(Finding::new(Code::Shape, owner, "a test names no agent").note(note));
        return None;
    }
    let written = fields.text("agent", findings)?;
    if cast.agents.contains(&written.text) {
        return written.text.parse().ok();
    }
    let title = format!("agent {} is not defined", quote(written.text));
    let finding = Finding::new(Code::UnknownName, written.span, title);
    let finding = finding.label("no agent with this name");
    findings.add(did_you_mean(finding, written, cast.agents.iter().copied()));
    None
}

fn reach(
    fields: &Fields<'_>,
    owner: Span,
    cast: Cast<'_>,
    findings: &mut Findings,
) -> Option<Trial> {
    let mut aims = |key: &str| -> Vec<Aim> {
        let items = fields.list(key, findings);
        let written = items.iter().filter_map(|item| {
            let written = text(item, item.span, "a tool", findings)?;
            aim(written, cast, findings)
        });
        written.collect()
    };
    let (allow, deny) = (aims("allow"), aims("deny"));
    let is_empty = OF_LISTS.iter().all(|key| fields.entry(key).is_none());
    if is_empty {
        let title = "a test that tries nothing";
        let note =
            "give `allow:` or `deny:` with a list of `server/tool`, or `call:` with `expect:`";
        findings.add(Finding::new(Code::Shape, owner, title).note(note));
        return None;
    }
    Some(Trial::Reach { allow, deny })
}

fn calls(fields: &Fields<'_>, cast: Cast<'_>, findings: &mut Findings) -> Option<Trial> {
    let aim = aim(fields.text("call", findings)?, cast, findings);
    let arguments = arguments(fields, cast.source, findings);
    let at = at(fields, findings);
    let expect = expect(fields, findings);
    let reason = fields.text("reason", findings);
    Some(Trial::Calls {
        aim: aim?,
        arguments: arguments?,
        at: at?,
        expect: expect?,
        reason: reason.map(|reason| reason.text.to_owned()),
    })
}

fn aim(written: Text<'_>, cast: Cast<'_>, findings: &mut Findings) -> Option<Aim> {
    let Some((server, tool)) = written.text.split_once('/') else {
        let title = format!("{} is not written as `server/tool`", quote(written.text));
        findings.add(Finding::new(Code::Shape, written.span, title));
        return None;
    };
    if !cast.servers.contains(server) {
        let title = format!("server {} is not defined", quote(server));
        let finding = Finding::new(Code::UnknownName, written.span, title);
        let name = Text {
            text: server,
            span: written.span,
        };
        findings.add(match super::problem::nearest(server, cast.servers.iter()) {
            Some(near) => {
                let whole = format!("{near}/{tool}");
                finding.suggest("a similar one exists", name.span, &whole)
            }
            None => finding,
        });
        return None;
    }
    Some(Aim {
        server: server.parse().ok()?,
        tool: tool.to_owned(),
        span: written.span,
    })
}

/// The arguments: a mapping, or JSON text. Without any, `{}`.
fn arguments(fields: &Fields<'_>, source: &str, findings: &mut Findings) -> Option<String> {
    let Some(entry) = fields.entry("args") else {
        return Some("{}".into());
    };
    let value = match &entry.node.value {
        Value::Text(text) => serde_json::from_str(text).ok(),
        Value::Empty | Value::Broken | Value::List(_) | Value::Map(_) => {
            Some(json(&entry.node, source))
        }
    };
    match value {
        Some(value @ serde_json::Value::Object(_)) => Some(value.to_string()),
        Some(_) | None => {
            let title = "`args` of a test must be a mapping, or the text of a JSON object";
            findings.add(Finding::new(Code::Shape, entry.key_span, title));
            None
        }
    }
}

/// A value as JSON: plain words that are numbers, `true`, `false` or nothing are that (YAML 1.2, "Core Schema"), and
/// all else is text.
fn json(node: &Node, source: &str) -> serde_json::Value {
    match &node.value {
        Value::Empty | Value::Broken => serde_json::Value::Null,
        Value::Text(text) => {
            let before = source.get(..node.span.start);
            let is_quoted = before.is_some_and(|before| before.ends_with(['"', '\'']));
            let plain = (!is_quoted).then(|| serde_json::from_str(text).ok());
            match plain.flatten() {
                Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => value,
                Some(_) | None => text.as_str().into(),
            }
        }
        Value::List(items) => items.iter().map(|item| json(item, source)).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter();
            let pairs = pairs.map(|entry| (entry.key.clone(), json(&entry.node, source)));
            serde_json::Value::Object(pairs.collect())
        }
    }
}

#[expect(
    clippy::option_option,
    reason = "wrong, absent and given are three answers"
)]
fn at(fields: &Fields<'_>, findings: &mut Findings) -> Option<Option<Timestamp>> {
    if fields.entry("at").is_none() {
        return Some(None);
    }
    let written = fields.text("at", findings)?;
    let at = time::instant(written.text);
    if at.is_none() {
        let title = format!("{} is no instant", quote(written.text));
        let note = "write it with its offset, such as `2027-01-31T12:00:00+01:00`";
        findings.add(Finding::new(Code::BadAmount, written.span, title).note(note));
    }
    at.map(Some)
}

/// What each of the calls must be: one word for all, or a list with a word for each.
fn expect(fields: &Fields<'_>, findings: &mut Findings) -> Option<Vec<bool>> {
    let repeat = repeat(fields, findings)?;
    let Some(entry) = fields.entry("expect") else {
        let span = fields.entry("call").map(|entry| entry.key_span)?;
        let title = "a test with `call` needs `expect`";
        findings.add(Finding::new(Code::Shape, span, title).note("write `allow` or `deny`"));
        return None;
    };
    let Value::List(items) = &entry.node.value else {
        let verdict = choice(fields.text("expect", findings), VERDICTS, findings)?;
        return Some(vec![verdict; repeat.unwrap_or(1)]);
    };
    let mut expect = Vec::new();
    for item in items {
        let word = text(item, item.span, "an item of `expect`", findings);
        expect.push(choice(word, VERDICTS, findings)?);
    }
    let wanted = repeat.unwrap_or(expect.len());
    if expect.is_empty() || expect.len() != wanted {
        let title = format!("`expect` has {} items for {wanted} calls", expect.len());
        let note = "write one word for all of them, or one for each";
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note(note));
        return None;
    }
    Some(expect)
}

#[expect(
    clippy::option_option,
    reason = "wrong, absent and given are three answers"
)]
fn repeat(fields: &Fields<'_>, findings: &mut Findings) -> Option<Option<usize>> {
    if fields.entry("repeat").is_none() {
        return Some(None);
    }
    let written = fields.text("repeat", findings)?;
    let count = written.text.parse().ok();
    let count = count.filter(|count| (1..=MAX_REPEAT).contains(count));
    if count.is_none() {
        let title = format!(
            "{} is no number from 1 to {MAX_REPEAT}",
            quote(written.text)
        );
        findings.add(Finding::new(Code::BadAmount, written.span, title));
    }
    count.map(Some)
}
