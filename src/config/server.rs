//! `servers:`: what the rules say about each, and how to reach it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::policy::{Disabled, Keeping, Place, ServerRule};
use crate::types::{Connection, EraChoice, ServerName};

use super::budget::{self, Pools};
use super::capture::keeping;
use super::concurrency::max_concurrent;
use super::cost::{self, find_unpriced};
use super::dedupe;
use super::endpoint;
use super::fields::{Fields, choice, mark};
use super::keys;
use super::names::Known;
use super::node::{Entry, Node, Value};
use super::placeholder::Values;
use super::problem::{Code, Finding, Findings, quote};
use super::rate;
use super::time;
use super::token::place;

const ERAS: &[(&str, EraChoice)] = &[
    ("auto", EraChoice::Auto),
    ("modern", EraChoice::Modern),
    ("legacy", EraChoice::Legacy),
    ("sse", EraChoice::Sse),
];

/// What servers take from the rest of the file.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) values: Values<'a>,
    pub(super) timeout: Duration,
    pub(super) pools: &'a Pools,
    pub(super) keeping: &'a Keeping,
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
    let transport = old_transport(entry);
    let mut known = keys::SERVER.to_vec();
    known.extend(transport.map(|_| "transport"));
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
        max_concurrent: max_concurrent(&fields, &path, findings),
        dedupe: dedupe::dedupe(&fields, findings),
        keeping: keeping(&fields, around.keeping, findings),
        costs: cost::costs(&fields, &path, findings),
    };
    let this = std::iter::once(&rule);
    let subject = format!("{} has no costs", fields.subject());
    find_unpriced(&budgets, this, None, &subject, findings);
    let era = era(&fields, transport, findings);
    let timeout = fields.text("timeout", findings);
    let timeout = timeout.and_then(|text| time::span(text, findings));
    let connection = Connection {
        endpoint: endpoint::endpoint(&fields, entry.key_span, &around.values, findings)?,
        era,
        timeout: timeout.unwrap_or(around.timeout),
    };
    Some((rule, connection))
}

/// `transport: sse`, as earlier gateways wrote what is `protocol: sse` here.
fn old_transport(entry: &Entry) -> Option<&Entry> {
    let Value::Map(entries) = &entry.node.value else {
        return None;
    };
    let is_sse = |node: &Node| matches!(&node.value, Value::Text(text) if text == "sse");
    let mut entries = entries.iter();
    entries.find(|entry| entry.key == "transport" && is_sse(&entry.node))
}

fn era(fields: &Fields<'_>, transport: Option<&Entry>, findings: &mut Findings) -> EraChoice {
    let written = choice(fields.text("protocol", findings), ERAS, findings);
    let is_sse = written.is_none_or(|era| era == EraChoice::Sse);
    if let Some(transport) = transport.filter(|_| !is_sse) {
        let title = "`transport: sse` and `protocol` say different things";
        let finding = Finding::new(Code::Shape, mark(transport), title);
        findings.add(finding.note("leave one of them away; `protocol: sse` means the same"));
    }
    let era = transport.map_or(written, |_| Some(EraChoice::Sse));
    let sse = transport.or(fields.entry("protocol"));
    if let (Some(EraChoice::Sse), Some(sse), Some(_)) = (era, sse, fields.entry("command")) {
        let title = "the transport `sse` is for servers with `url`";
        let finding = Finding::new(Code::Shape, mark(sse), title);
        findings.add(finding.note("leave it away here"));
    }
    era.unwrap_or_default()
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
