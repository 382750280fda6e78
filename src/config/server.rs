//! `servers:`: what the rules say about each, and how to reach it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::policy::{Disabled, Place, ServerRule};
use crate::types::{Connection, EraChoice, ServerName};

use super::budget::{self, Pools};
use super::endpoint;
use super::fields::{Fields, choice, mark};
use super::names::Known;
use super::node::Entry;
use super::placeholder::Values;
use super::problem::{Code, Finding, Findings, quote};
use super::rate;
use super::time;
use super::token::place;

const KEYS: &[&str] = &[
    "url",
    "command",
    "description",
    "headers",
    "protocol",
    "timeout",
    "args",
    "env",
    "cwd",
    "instances",
    "budgets",
    "rate",
    "disabled",
];

const ERAS: &[(&str, EraChoice)] = &[
    ("auto", EraChoice::Auto),
    ("modern", EraChoice::Modern),
    ("legacy", EraChoice::Legacy),
];

/// What servers take from the rest of the file.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) values: Values<'a>,
    pub(super) timeout: Duration,
    pub(super) pools: &'a Pools,
}

/// All servers of a file.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) names: Known,
    pub(super) rules: BTreeMap<ServerName, ServerRule>,
    pub(super) connections: BTreeMap<ServerName, Connection>,
}

/// Reads the section.
pub(super) fn servers(
    section: &[Entry],
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Servers {
    let mut servers = Servers::default();
    for entry in section {
        let name = servers.names.enter::<ServerName>(entry, "server", findings);
        let Some(name) = name else {
            continue;
        };
        if let Some((rule, connection)) = server(&name, entry, around, findings) {
            servers.rules.insert(name.clone(), rule);
            servers.connections.insert(name, connection);
        }
    }
    servers
}

fn server(
    name: &ServerName,
    entry: &Entry,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<(ServerRule, Connection)> {
    let subject = format!("server `{name}`");
    let asks_for_sse = reports_old_transport(entry, findings);
    let known: Vec<&str> = KEYS
        .iter()
        .copied()
        .chain(asks_for_sse.then_some("transport"))
        .collect();
    let fields = Fields::open(&entry.node, subject, &known, findings)?;
    let path = format!("servers.{name}");
    let budgets = budget::budgets(&fields, &path, around.pools, findings);
    let rule = ServerRule {
        name: name.clone(),
        place: place(path.as_str(), entry.key_span),
        description: fields.prose("description", findings),
        disabled: disabled(&fields, &path, findings),
        budgets: budget::rules(&budgets, &path),
        rate: rate::rate(&fields, &path, findings).map(|draft| draft.rule(&path)),
    };
    let era = choice(era_text(&fields, findings), ERAS, findings).unwrap_or_default();
    let timeout = fields.text("timeout", findings);
    let timeout = timeout.and_then(|text| time::timeout(text, findings));
    let connection = Connection {
        endpoint: endpoint::endpoint(&fields, entry.key_span, &around.values, findings)?,
        era,
        timeout: timeout.unwrap_or(around.timeout),
    };
    Some((rule, connection))
}

/// `transport: sse`, which earlier gateways used, deserves an answer rather than "unknown key".
fn reports_old_transport(entry: &Entry, findings: &mut Findings) -> bool {
    let super::node::Value::Map(entries) = &entry.node.value else {
        return false;
    };
    let is_sse = |entry: &&Entry| {
        let text = matches!(&entry.node.value, super::node::Value::Text(text) if text == "sse");
        entry.key == "transport" && text
    };
    let Some(transport) = entries.iter().find(is_sse) else {
        return false;
    };
    findings.add(old_transport(transport));
    true
}

fn era_text<'n>(fields: &Fields<'n>, findings: &mut Findings) -> Option<super::fields::Text<'n>> {
    let text = fields.text("protocol", findings)?;
    if text.text == "sse" {
        findings.add(old_transport(fields.entry("protocol")?));
        return None;
    }
    Some(text)
}

fn old_transport(entry: &Entry) -> Finding {
    let title = "this version does not speak the old two-endpoint transport (HTTP with SSE) yet";
    Finding::new(Code::Shape, mark(entry), title)
        .note("give the streamable HTTP endpoint of the server as `url`, often `/mcp`")
}

/// Reads `disabled:`: true, false, or the reason as text.
pub(super) fn disabled(
    fields: &Fields<'_>,
    path: &str,
    findings: &mut Findings,
) -> Option<Disabled> {
    let text = fields.text("disabled", findings)?;
    let note = match text.text.to_ascii_lowercase().as_str() {
        "false" => return None,
        "true" => None,
        "yes" | "no" | "on" | "off" => {
            let title = format!("{} is neither true, false, nor a reason", quote(text.text));
            findings
                .add(Finding::new(Code::Shape, text.span, title).note("write `true` or `false`"));
            return None;
        }
        _ => Some(text.text.to_owned()),
    };
    let place = Place {
        path: format!("{path}.disabled").into(),
        line: text.span.line,
    };
    Some(Disabled { place, note })
}
