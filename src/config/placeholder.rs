//! `${NAME}`, `${NAME:-default}`, `${file:PATH}` and `$$`: secrets by name, in the four places that allow it.
//!
//! Who may do what must not depend on the environment, so a placeholder anywhere else is an error.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::types::{Secret, Template, TemplatePart};

use super::node::{Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};

/// The longest file behind `${file:PATH}`, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where placeholders get their values from.
pub(super) struct Values<'a> {
    /// The value of a variable, if it is set.
    pub(super) environment: &'a dyn Fn(&str) -> Option<String>,
    /// The folder that paths in `${file:PATH}` start from: that of the policy file.
    pub(super) folder: &'a Path,
    /// Whether the file is only reviewed: no value is needed then, and none is asked for.
    pub(super) review: bool,
}

impl fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

impl Values<'_> {
    /// Puts the values of its placeholders into a text; reports those that are wrong or have none.
    pub(super) fn fill(&self, text: &str, span: Span, findings: &mut Findings) -> Option<Template> {
        match self.parts(text) {
            Ok(parts) => Some(Template::new(parts)),
            Err(Unfilled { title, note }) => {
                findings.add(Finding::new(Code::Placeholder, span, title).note(note));
                None
            }
        }
    }

    fn parts(&self, text: &str) -> Result<Vec<TemplatePart>, Unfilled> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(behind) = after.strip_prefix('$') {
                literal.push('$');
                rest = behind;
                continue;
            }
            let (inner, behind) = after
                .strip_prefix('{')
                .and_then(|open| open.split_once('}'))
                .ok_or_else(|| Unfilled::malformed("a `$` that begins no placeholder"))?;
            if !literal.is_empty() {
                parts.push(TemplatePart::Text(std::mem::take(&mut literal)));
            }
            let value = Secret::new(self.value(inner)?);
            let written = format!("${{{inner}}}");
            parts.push(TemplatePart::Secret { written, value });
            rest = behind;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Text(literal));
        }
        Ok(parts)
    }

    fn value(&self, inner: &str) -> Result<String, Unfilled> {
        if let Some(path) = inner.strip_prefix("file:") {
            return if self.review {
                Ok(String::new())
            } else {
                self.file(path)
            };
        }
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_variable(name) {
            let title = format!("{} is not the name of a variable", quote(name));
            return Err(Unfilled::malformed(&title));
        }
        if self.review {
            return Ok(String::new());
        }
        // As in a shell: with `:-`, an empty variable counts as one that is not set.
        let set = (self.environment)(name).filter(|value| !value.is_empty());
        set.or_else(|| default.map(str::to_owned))
            .ok_or_else(|| Unfilled {
                title: format!("the variable `{name}` is not set, or is empty"),
                note: format!("set it where the gateway starts, or write `${{{name}:-default}}`"),
            })
    }

    fn file(&self, path: &str) -> Result<String, Unfilled> {
        let text = read_short(&self.folder.join(path)).map_err(|error| Unfilled {
            title: format!("the file {} cannot be read: {error}", quote(path)),
            note: "it holds one value; a line break at its end is left out".into(),
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

struct Unfilled {
    title: String,
    note: String,
}

impl Unfilled {
    fn malformed(title: &str) -> Self {
        Self {
            title: title.into(),
            note:
                "write `${NAME}`, `${NAME:-default}` or `${file:PATH}`, and `$$` for a dollar sign"
                    .into(),
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn read_short(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE) {
        return Ok(text);
    }
    Err(io::Error::other("it is longer than 64 KB"))
}

/// Reports every `${…}` outside `servers.*.url`, `headers`, `env` and `args`, and takes it out of the tree,
/// so that nothing else is said about it.
pub(super) fn remove_misplaced(root: &mut Node, findings: &mut Findings) {
    walk(root, &mut Vec::new(), findings);
}

fn walk(node: &mut Node, path: &mut Vec<String>, findings: &mut Findings) {
    match &mut node.value {
        Value::Text(text) => {
            if text.contains("${") && !is_allowed(path) {
                findings.add(misplaced(node.span));
                node.value = Value::Broken;
            }
        }
        Value::List(items) => {
            for item in items {
                walk(item, path, findings);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                if entry.key.contains("${") {
                    findings.add(misplaced(entry.key_span));
                }
                path.push(entry.key.clone());
                walk(&mut entry.node, path, findings);
                path.pop();
            }
        }
        Value::Empty | Value::Broken => {}
    }
}

fn is_allowed(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["servers", _, key] => matches!(*key, "url" | "args"),
        ["servers", _, key, _] => matches!(*key, "headers" | "env"),
        _ => false,
    }
}

fn misplaced(span: Span) -> Finding {
    let note = "placeholders are for `url`, `headers`, `env` and `args` of a server; \
                who may do what does not depend on the environment";
    Finding::new(Code::Placeholder, span, "a placeholder cannot stand here").note(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let environment = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let values = Values {
            environment: &environment,
            folder: Path::new(""),
            review: false,
        };
        let mut findings = Findings::default();
        let span = Span {
            start: 0,
            end: 0,
            line: 1,
        };
        match values.fill(text, span, &mut findings) {
            Some(template) => Ok(template.expose().expose().to_owned()),
            None => Err(findings.list.remove(0).title),
        }
    }

    #[test]
    fn placeholders_are_filled() {
        let table = [
            ("plain", "plain"),
            ("Bearer ${SET}", "Bearer value"),
            ("${SET}${SET}", "valuevalue"),
            ("${UNSET:-http://x:1/y}", "http://x:1/y"),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-}", ""),
            ("5$$ $${SET}", "5$ ${SET}"),
        ];
        for (text, expected) in table {
            assert_eq!(fill(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_names_the_variable() {
        let table = [
            ("${UNSET}", "the variable `UNSET` is not set, or is empty"),
            ("${EMPTY}", "the variable `EMPTY` is not set, or is empty"),
            ("$SET", "a `$` that begins no placeholder"),
            ("${SET", "a `$` that begins no placeholder"),
            (
                "${agent.token}",
                "`agent.token` is not the name of a variable",
            ),
            ("${}", "`` is not the name of a variable"),
        ];
        for (text, expected) in table {
            assert_eq!(fill(text), Err(expected.to_owned()), "{text}");
        }
        assert!(fill("${file:no/such/file}").is_err());
    }

    #[test]
    fn whoever_reviews_a_file_needs_no_value_and_still_learns_what_is_malformed() {
        let values = Values {
            environment: &|_| Some("secret".into()),
            folder: Path::new(""),
            review: true,
        };
        let span = Span {
            start: 0,
            end: 0,
            line: 1,
        };
        for text in ["${SET}", "${UNSET:-x}", "${file:no/such/file}"] {
            let filled = values.fill(text, span, &mut Findings::default()).unwrap();
            assert_eq!(filled.expose().expose(), "", "{text}");
            assert_eq!(filled.written(), text);
        }
        let mut findings = Findings::default();
        assert!(values.fill("${no name}", span, &mut findings).is_none());
        assert_eq!(findings.list.len(), 1);
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "s3cret\n").unwrap();
        let values = Values {
            environment: &|_| None,
            folder: folder.path(),
            review: false,
        };
        let span = Span {
            start: 0,
            end: 0,
            line: 1,
        };
        let filled = values
            .fill("${file:key}", span, &mut Findings::default())
            .unwrap();
        assert_eq!(filled.expose().expose(), "s3cret");
        assert_eq!(filled.masked(), "${file:key} (set)");
    }
}
