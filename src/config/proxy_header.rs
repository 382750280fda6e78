//! `header:` of viewers: what a trusted reverse proxy says of those it let through.

use http::HeaderName;

use crate::policy::ProxyHeader;

use super::fields::{Fields, Text, kind, mark, text};
use super::mask::looks_like_token;
use super::node::{Entry, Value};
use super::problem::{Code, Finding, Findings, Span, quote};

/// Headers that clients and connections set themselves, and those to which a proxy only adds: it would hand on what
/// anybody wrote there (RFC 9110, sections 5.6.1, 7.6.1 and 7.6.3; RFC 7239).
const OF_OTHERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];

const SUCH_AS: &str = "such as `header: {X-Forwarded-Groups: audit}`";

/// Which header lets whom in, so that none lets in two.
#[derive(Debug, Default)]
pub(super) struct SeenHeaders(Vec<(ProxyHeader, String, Span)>);

/// Reads it; `None` where nothing is said, or nothing that can be used.
pub(super) fn proxy_header(
    fields: &Fields<'_>,
    seen: &mut SeenHeaders,
    findings: &mut Findings,
) -> Option<ProxyHeader> {
    let only = only(fields, fields.entry("header")?, findings)?;
    let name = name(only, findings);
    let subject = format!("header {}", quote(&only.key));
    let written = text(&only.node, only.key_span, &subject, findings)?;
    let header = ProxyHeader {
        value: value(written, &subject, findings)?,
        name: name?,
    };
    seen.enter(&header, fields.subject(), written.span, findings);
    Some(header)
}

/// The one header that is named.
fn only<'n>(fields: &Fields<'_>, entry: &'n Entry, findings: &mut Findings) -> Option<&'n Entry> {
    let of = fields.subject();
    let title = match &entry.node.value {
        Value::Broken => return None,
        Value::Map(entries) => match entries.as_slice() {
            [only] => return Some(only),
            [] => format!("`header` of {of} names no header"),
            many => format!("`header` of {of} names {} headers, not one", many.len()),
        },
        Value::Empty => format!("`header` of {of} names no header"),
        Value::Text(_) | Value::List(_) => {
            let is = kind(&entry.node);
            format!("`header` of {of} must be a mapping, not {is}")
        }
    };
    findings.add(Finding::new(Code::Shape, mark(entry), title).note(SUCH_AS));
    None
}

fn name(entry: &Entry, findings: &mut Findings) -> Option<String> {
    let written = quote(&entry.key);
    let (title, note) = match HeaderName::from_bytes(entry.key.as_bytes()) {
        Err(_) => (format!("{written} is not the name of a header"), SUCH_AS),
        Ok(name) if is_of_others(name.as_str()) => (
            format!("the header {written} lets nobody in"),
            "clients write it themselves, so a proxy that hands it on or adds to it vouches for nothing; \
             have the proxy set a header of its own",
        ),
        Ok(name) => return Some(name.as_str().to_owned()),
    };
    findings.add(Finding::new(Code::Address, entry.key_span, title).note(note));
    None
}

/// Browsers keep all that begins with `sec-` to themselves.
fn is_of_others(name: &str) -> bool {
    OF_OTHERS.contains(&name) || name.starts_with("sec-")
}

fn value(written: Text<'_>, subject: &str, findings: &mut Findings) -> Option<String> {
    if looks_like_token(written.text) {
        findings.hide(written.span);
        let title = format!("{subject} looks like it holds a token");
        let finding = Finding::new(Code::TokenWritten, written.span, title).label("hidden here");
        let note =
            "write what the proxy says of people, such as a group; secrets do not stand here";
        findings.add(finding.note(note));
        return None;
    }
    let (title, note) = if written.text.contains(',') {
        (
            format!("{subject} holds a comma, so it would never fit"),
            "a header is a list with commas, and one item of it must be this; \
             for several values write several viewers",
        )
    } else if written.text.trim_ascii() != written.text {
        (
            format!("{subject} has blanks at its ends, so it would never fit"),
            "blanks around an item are not compared; leave them away",
        )
    } else if written.text.chars().any(char::is_control) {
        (
            format!("{subject} holds a control character, so it would never fit"),
            "no header can carry one; leave it away",
        )
    } else {
        return Some(written.text.to_owned());
    };
    findings.add(Finding::new(Code::Shape, written.span, title).note(note));
    None
}

impl SeenHeaders {
    fn enter(&mut self, header: &ProxyHeader, subject: &str, span: Span, findings: &mut Findings) {
        let Some((_, other, first)) = self.0.iter().find(|(seen, _, _)| seen == header) else {
            self.0.push((header.clone(), subject.to_owned(), span));
            return;
        };
        let title = format!("{subject} has the same header as {other}");
        let finding = Finding::new(Code::Shape, span, title)
            .label("same header")
            .context(*first, "first here")
            .note("whoever comes with it is the first of the two, and never the other");
        findings.add(finding);
    }
}
