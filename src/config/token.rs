//! `token_hash:` of agents and viewers: hashes only, never a token, never the hash of a placeholder.

use std::collections::HashMap;
use std::sync::Arc;

use crate::policy::{Place, Token};
use crate::types::{TokenHash, Zone};

use super::fields::{Fields, Text, text};
use super::keys;
use super::mask::looks_like_token;
use super::node::{Entry, Node, Value};
use super::problem::{Code, Finding, Findings, Span};
use super::time;

/// What people write before they have a token, with and without the line break that `echo` adds.
const PLACEHOLDERS: &[&str] = &[
    "",
    "changeme",
    "change-me",
    "change_me",
    "token",
    "secret",
    "password",
    "your-token",
    "your-token-here",
    "hwd_",
];

/// Which hash was seen where, so that one token cannot stand for two.
#[derive(Debug, Default)]
pub(super) struct SeenHashes(HashMap<TokenHash, (String, Span)>);

/// Reads `token_hash:`; whoever has none is reported.
pub(super) fn tokens(
    fields: &Fields<'_>,
    owner: Span,
    path: &str,
    zone: &Zone,
    seen: &mut SeenHashes,
    findings: &mut Findings,
) -> Vec<Token> {
    let subject = fields.subject();
    let Some(entry) = fields.entry("token_hash") else {
        let title = format!("{subject} has no `token_hash`, so nobody could ever use it");
        findings.add(Finding::new(Code::BadHash, owner, title).note(MAKE_ONE));
        return Vec::new();
    };
    let found = match &entry.node.value {
        Value::List(items) => listed(items, entry, path, zone, findings),
        Value::Broken => return Vec::new(),
        Value::Empty | Value::Text(_) | Value::Map(_) => {
            let path = format!("{path}.token_hash");
            one(&entry.node, entry.key_span, path, zone, findings)
                .into_iter()
                .collect()
        }
    };
    for (token, span) in &found {
        seen.enter(token.hash, subject, *span, findings);
    }
    found.into_iter().map(|(token, _)| token).collect()
}

fn listed(
    items: &[Node],
    entry: &Entry,
    path: &str,
    zone: &Zone,
    findings: &mut Findings,
) -> Vec<(Token, Span)> {
    if items.is_empty() {
        let title = "an empty `token_hash` list lets nobody in";
        findings.add(Finding::new(Code::BadHash, entry.key_span, title).note(MAKE_ONE));
    }
    let numbered = items.iter().enumerate();
    let tokens = numbered.filter_map(|(index, item)| {
        let path = format!("{path}.token_hash[{index}]");
        one(item, item.span, path, zone, findings)
    });
    tokens.collect()
}

fn one(
    node: &Node,
    key: Span,
    path: String,
    zone: &Zone,
    findings: &mut Findings,
) -> Option<(Token, Span)> {
    if node.is_blank() {
        let title = "an empty token hash lets nobody in";
        findings.add(Finding::new(Code::BadHash, key, title).note(MAKE_ONE));
        return None;
    }
    let (written, label, expires) = if let Value::Map(_) = node.value {
        let fields = Fields::open(node, "a token", keys::TOKEN, findings)?;
        let label = fields.prose("label", findings);
        let expires = time::expires(&fields, zone, findings)?;
        if fields.entry("hash").is_none() {
            let title = "a token without `hash`";
            findings.add(Finding::new(Code::BadHash, node.span, title).note(MAKE_ONE));
        }
        (fields.text("hash", findings)?, label, expires)
    } else {
        (text(node, key, "`token_hash`", findings)?, None, None)
    };
    let hash = hash(written, findings)?;
    let token = Token {
        hash,
        label,
        expires,
        place: Place {
            path: path.into(),
            line: written.span.line,
        },
    };
    Some((token, written.span))
}

fn hash(written: Text<'_>, findings: &mut Findings) -> Option<TokenHash> {
    let digits = written.text.strip_prefix("sha256:");
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bare = digits.unwrap_or(written.text);
    if !hexadecimal(bare) || looks_like_token(written.text) {
        findings.hide(written.span);
        findings.add(not_a_hash(written));
        return None;
    }
    let Some(digits) = digits else {
        let title = "a hash begins with `sha256:`";
        findings.hide(written.span);
        findings.add(Finding::new(Code::BadHash, written.span, title).note(MAKE_ONE));
        return None;
    };
    let Some(bytes) = decode(digits) else {
        let count = digits.len();
        let title = format!("token_hash has {count} hexadecimal digits, a SHA-256 needs 64");
        let label = if count < 64 { "truncated?" } else { "too long" };
        findings.add(
            Finding::new(Code::BadHash, written.span, title)
                .label(label)
                .note(MAKE_ONE),
        );
        return None;
    };
    let hash = TokenHash::from_bytes(bytes);
    if let Some(text) = guessable(hash) {
        let title = format!("this is the hash of {text}, which anyone can guess");
        findings.add(Finding::new(Code::BadHash, written.span, title).note(MAKE_ONE));
        return None;
    }
    Some(hash)
}

fn not_a_hash(written: Text<'_>) -> Finding {
    let method = written.text.split_once(':').map(|(method, _)| method);
    let known = method.filter(|name| matches!(*name, "sha1" | "sha512" | "md5" | "bcrypt"));
    if let Some(name) = known {
        let title = format!("`{name}` is not used for token hashes, only `sha256`");
        return Finding::new(Code::BadHash, written.span, title).note(MAKE_ONE);
    }
    Finding::new(
        Code::TokenWritten,
        written.span,
        "this looks like a token, not a hash",
    )
    .label("hidden here")
    .note("write `sha256:` and the hash that `hayward token hash` prints for it")
    .note("whoever has read this file knows the token: make a new one")
}

fn decode(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Names the placeholder whose hash this is, if it is one: a text that anyone can guess.
pub fn guessable(hash: TokenHash) -> Option<String> {
    let with_break = |text: &str| TokenHash::of(&format!("{text}\n")) == hash;
    let text = PLACEHOLDERS
        .iter()
        .find(|text| TokenHash::of(text) == hash || with_break(text))?;
    Some(match (*text, with_break(text)) {
        ("", false) => "the empty text".into(),
        ("", true) => "a lone line break".into(),
        (text, _) => format!("the placeholder `{text}`"),
    })
}

impl SeenHashes {
    fn enter(&mut self, hash: TokenHash, subject: &str, span: Span, findings: &mut Findings) {
        let Some((other, first)) = self.0.get(&hash) else {
            self.0.insert(hash, (subject.to_owned(), span));
            return;
        };
        let title = if other == subject {
            format!("{subject} lists the same token hash twice")
        } else {
            format!("{subject} has the same token hash as {other}")
        };
        let finding = Finding::new(Code::SharedHash, span, title)
            .label("same hash")
            .context(*first, "first here")
            .note("a token says who is calling, so each belongs to one");
        findings.add(finding);
    }
}

pub(super) const MAKE_ONE: &str = "`hayward token new NAME` makes a token and prints its hash";

/// A rule path in its shared form.
pub(super) fn place(path: impl Into<Arc<str>>, span: Span) -> Place {
    Place {
        path: path.into(),
        line: span.line,
    }
}
