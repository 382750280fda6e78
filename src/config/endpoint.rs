//! Where a server is: `url` with `headers`, or `command` with `args`, `env`, `cwd` and `instances`.

use std::path::PathBuf;

use http::uri::Authority;
use http::{HeaderName, HeaderValue, Uri};

use crate::types::{Endpoint, Instances, Template};

use super::fields::{Fields, choice};
use super::mask::{self, looks_like_token};
use super::node::{Node, Value};
use super::placeholder::Values;
use super::problem::{Code, Finding, Findings, Span, quote};

const ONLY_URL: &[&str] = &["headers"];
const ONLY_COMMAND: &[&str] = &["args", "env", "cwd", "instances"];

const INSTANCES: &[(&str, Instances)] = &[
    ("per_agent", Instances::PerAgent),
    ("shared", Instances::Shared),
];

/// Headers that the connection or the protocol sets itself (RFC 9110, section 7.6.1; MCP, "Transports").
const OURS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Parts of a name that say its value is a secret.
const SECRET_WORDS: &[&str] = &[
    "authorization",
    "apikey",
    "auth",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passwd",
    "password",
    "pat",
    "secret",
    "token",
];

/// Reads the one way to reach a server.
pub(super) fn endpoint(
    fields: &Fields<'_>,
    owner: Span,
    values: &Values<'_>,
    findings: &mut Findings,
) -> Option<Endpoint> {
    let subject = fields.subject();
    match (
        fields.entry("url").is_some(),
        fields.entry("command").is_some(),
    ) {
        (true, false) => http(fields, values, findings),
        (false, true) => stdio(fields, values, findings),
        (has_both, _) => {
            let title = if has_both {
                format!("{subject} has both `url` and `command`")
            } else {
                format!("{subject} has neither `url` nor `command`")
            };
            let note = "give `url` for a server on the network, `command` for one to be started";
            findings.add(Finding::new(Code::Shape, owner, title).note(note));
            None
        }
    }
}

fn http(fields: &Fields<'_>, values: &Values<'_>, findings: &mut Findings) -> Option<Endpoint> {
    refuse(fields, ONLY_COMMAND, "command", findings);
    let written = fields.text("url", findings);
    let url = written.and_then(|written| {
        warn_of_secret("url", written.text, written.span, findings);
        let url = values.fill(written.text, written.span, findings)?;
        // Without the values nobody can say whether it is an address.
        if !(values.review && url.has_placeholder()) {
            check_url(&url, written.span, findings)?;
        }
        Some(url)
    });
    let mut headers = Vec::new();
    for entry in fields.map("headers", findings) {
        let known = |(name, _): &(String, Template)| name.eq_ignore_ascii_case(&entry.key);
        if headers.iter().any(known) {
            let title = format!("header {} is given twice", quote(&entry.key));
            findings.add(Finding::new(Code::DuplicateKey, entry.key_span, title));
        }
        let template = template(&entry.key, &entry.node, entry.key_span, values, findings);
        let name = header_name(&entry.key, entry.key_span, findings);
        if let (Some(template), Some(name)) = (template, name) {
            check_header(&template, &entry.key, entry.node.span, findings);
            headers.push((name, template));
        }
    }
    Some(Endpoint::Http { url: url?, headers })
}

fn stdio(fields: &Fields<'_>, values: &Values<'_>, findings: &mut Findings) -> Option<Endpoint> {
    refuse(fields, ONLY_URL, "url", findings);
    let command = fields.text("command", findings)?;
    if command.text.contains(char::is_whitespace) && !command.text.contains(['/', '\\']) {
        let title = format!("{} is not one program", quote(command.text));
        let note = "no shell takes it apart: write the program as `command`, the rest as `args`";
        findings.add(Finding::new(Code::Address, command.span, title).note(note));
    }
    let mut args = Vec::new();
    for item in fields.list("args", findings) {
        args.extend(template("args", item, item.span, values, findings));
    }
    let mut env = Vec::new();
    for entry in fields.map("env", findings) {
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let title = format!("{} is not the name of a variable", quote(&entry.key));
            findings.add(Finding::new(Code::Address, entry.key_span, title));
        }
        let value = template(&entry.key, &entry.node, entry.key_span, values, findings);
        env.extend(value.map(|value| (entry.key.clone(), value)));
    }
    let instances = choice(fields.text("instances", findings), INSTANCES, findings);
    Some(Endpoint::Stdio {
        command: command.text.to_owned(),
        args,
        env,
        cwd: fields
            .text("cwd", findings)
            .map(|text| PathBuf::from(text.text)),
        instances: instances.unwrap_or_default(),
    })
}

fn refuse(fields: &Fields<'_>, keys: &[&str], belong_to: &str, findings: &mut Findings) {
    for entry in keys.iter().filter_map(|key| fields.entry(key)) {
        let title = format!("`{}` is for servers with `{belong_to}`", entry.key);
        findings.add(Finding::new(Code::Shape, entry.key_span, title).note("leave it away here"));
    }
}

/// A value that may hold placeholders, and may be an empty text.
fn template(
    name: &str,
    node: &Node,
    key: Span,
    values: &Values<'_>,
    findings: &mut Findings,
) -> Option<Template> {
    match &node.value {
        Value::Text(text) => {
            warn_of_secret(name, text, node.span, findings);
            values.fill(text, node.span, findings)
        }
        Value::Broken => None,
        Value::Empty | Value::List(_) | Value::Map(_) => {
            let title = format!("the value of {} must be text", quote(name));
            findings
                .add(Finding::new(Code::Shape, key, title).note("an empty text is written `\"\"`"));
            None
        }
    }
}

/// Warns of a secret that is written out, and keeps it out of every snippet.
fn warn_of_secret(name: &str, text: &str, span: Span, findings: &mut Findings) {
    let named = names_secret(name);
    // A default stands in the file as well.
    let default = text.split(":-").nth(1);
    let by_name = text.contains("${") && default.is_none_or(|rest| rest.starts_with('}'));
    let written_out = (named && !by_name && text.len() > 3) || has_secret(text);
    if !written_out {
        return;
    }
    findings.hide(span);
    let title = format!(
        "the value of {} looks like a secret that is written out",
        quote(name)
    );
    let finding = Finding::new(Code::SecretWritten, span, title)
        .label("hidden here")
        .note("write `${NAME}` or `${file:PATH}` and keep the value out of the file");
    findings.add(finding);
}

fn names_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower
        .split(['-', '_'])
        .any(|part| SECRET_WORDS.contains(&part))
}

/// Whether a value is a secret by its name, or has something in it that looks like one.
pub fn looks_secret(name: &str, text: &str) -> bool {
    (names_secret(name) && !text.is_empty()) || has_secret(text)
}

fn has_secret(text: &str) -> bool {
    looks_like_token(text) || mask::mask(text) != text
}

fn check_url(url: &Template, span: Span, findings: &mut Findings) -> Option<()> {
    let text = url.expose();
    let text = text.expose();
    let uri: Option<Uri> = text.parse().ok();
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let authority = uri.as_ref().and_then(Uri::authority);
    let title = match scheme {
        Some("http" | "https") if !authority.is_some_and(has_good_port) => {
            "the port of the url is no number up to 65535"
        }
        Some("http" | "https") if host.is_empty() => "the url names no host",
        Some("http" | "https") if text.contains('#') => {
            "the url has a fragment, which is never sent"
        }
        Some("http" | "https") => return Some(()),
        Some(_) | None => "the url does not begin with http:// or https://, or is not a url",
    };
    let note = "such as `http://notes:3000/mcp`; placeholders were filled in before this check";
    findings.add(Finding::new(Code::Address, span, title).note(note));
    None
}

fn has_good_port(authority: &Authority) -> bool {
    let host = authority.host();
    authority.port_u16().is_some() || authority.as_str().ends_with(host)
}

fn header_name(name: &str, span: Span, findings: &mut Findings) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    let (title, note) = if HeaderName::from_bytes(name.as_bytes()).is_err() {
        (
            format!("{} is not the name of a header", quote(name)),
            "such as `X-Api-Key`",
        )
    } else if OURS.contains(&lower.as_str()) {
        let note = "leave it away; the gateway writes this header itself";
        (
            format!("the header {} cannot be set here", quote(name)),
            note,
        )
    } else {
        return Some(name.to_owned());
    };
    findings.add(Finding::new(Code::Address, span, title).note(note));
    None
}

fn check_header(value: &Template, name: &str, span: Span, findings: &mut Findings) {
    if HeaderValue::from_str(value.expose().expose()).is_err() {
        let title = format!("the value of header {} cannot be sent", quote(name));
        let note = "it holds a line break, another control character, or something else than ASCII";
        findings.hide(span);
        findings.add(Finding::new(Code::Address, span, title).note(note));
    }
}
