//! The whole file in its order of need: defaults, pools, servers, roles, denials, agents, viewers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::policy::{Keeping, Parts, Permissions};
use crate::types::{Connection, Revision, RulesText, ServerName, Zone};

use super::agent;
use super::budget;
use super::capture::{default_keeping, keeping};
use super::fields::{Fields, Text};
use super::file_test::{self, Aim, Cast, FileTest};
use super::grant::{Ground, denials};
use super::invisible;
use super::keys;
use super::mask::without_secrets;
use super::node::{Node, Value};
use super::placeholder::{self, Values};
use super::problem::{Code, Finding, Findings, quote};
use super::rate::{self, RateDraft};
use super::render::{Diagnostic, Problems, Sheet};
use super::server::{self, Surroundings};
use super::time;
use super::token::SeenHashes;
use super::unused;
use super::yaml;

/// How long a call may take where the file says nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What a policy file says, checked and with its placeholders filled.
#[derive(Debug)]
pub struct Loaded {
    /// Who may do what.
    pub permissions: Permissions,
    /// How to reach each server.
    pub connections: BTreeMap<ServerName, Connection>,
    /// What someone should look at.
    pub warnings: Vec<Diagnostic>,
    /// What the file says of itself.
    pub tests: Vec<FileTest>,
    /// The file as the log may keep it.
    pub text: RulesText,
    sheet: Sheet,
}

impl Loaded {
    /// The file as it may be shown.
    pub(super) fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// What is said of a test that fails: at one of its tools, or at the whole of it.
    pub fn test_failed(
        &self,
        test: &FileTest,
        aim: Option<&Aim>,
        title: String,
        notes: Vec<String>,
    ) -> Diagnostic {
        self.sheet.diagnostic(test.finding(aim, title, notes))
    }
}

/// Reads the text of a policy file. `environment` gives the values of variables; `file_name` is shown in
/// findings, and its folder is where `${file:PATH}` starts.
///
/// # Errors
/// Everything that is wrong with the file; where it is not YAML, only what was found before that point.
pub fn parse(
    file_name: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Problems> {
    let values = Values {
        environment,
        folder: Path::new(file_name).parent().unwrap_or(Path::new("")),
        review: false,
    };
    read(file_name, text, values)
}

/// Reads the text of a policy file for somebody who wants to know what it says and not to run it: no variable need be
/// set and no file of a secret be there. What stands behind placeholders is empty.
///
/// # Errors
/// As [`parse`].
pub fn review(file_name: &str, text: &str) -> Result<Loaded, Problems> {
    let values = Values {
        environment: &|_| None,
        folder: Path::new(""),
        review: true,
    };
    read(file_name, text, values)
}

fn read(file_name: &str, text: &str, values: Values<'_>) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    invisible::find_in_file(text, &mut findings);
    let root = yaml::read(text, &mut findings);
    let read = root.and_then(|mut root| {
        placeholder::remove_misplaced(&mut root, &mut findings);
        document(&root, text, values, &mut findings)
    });
    let failed = findings.any_error();
    let sheet = Sheet::new(file_name, text, &findings.hidden);
    let shown = without_secrets(text, &findings.hidden);
    let found = sheet.diagnostics(findings.list);
    match read {
        Some((parts, connections, tests)) if !failed => Ok(Loaded {
            permissions: Permissions::new(parts),
            connections,
            warnings: found,
            tests,
            text: RulesText::new(text, &shown),
            sheet,
        }),
        Some(_) | None => Err(Problems::new(found)),
    }
}

type Document = (Parts, BTreeMap<ServerName, Connection>, Vec<FileTest>);

/// Reads the tree; `None` only when it is no mapping.
fn document(
    root: &Node,
    text: &str,
    values: Values<'_>,
    findings: &mut Findings,
) -> Option<Document> {
    let nothing = Node {
        span: root.span,
        value: Value::Map(Vec::new()),
    };
    let root = if let Value::Empty = root.value {
        &nothing
    } else {
        root
    };
    let file = Fields::open(root, "a policy file", keys::FILE, findings)?;
    check_version(file.text("version", findings), findings);
    let defaults = defaults(&file, findings);
    let pools = budget::pools(file.map("budgets", findings), findings);
    let timeout = defaults.timeout;
    let around = Surroundings {
        values,
        timeout,
        pools: &pools,
        keeping: &defaults.keeping,
    };
    let servers = server::servers(file.map("servers", findings), &around, findings);
    let zone = defaults.zone.clone().unwrap_or_else(Zone::utc);
    let ground = Ground {
        servers: &servers.names,
        rules: &servers.rules,
        pools: &pools,
        zone: &zone,
        capture: defaults.keeping.capture,
    };
    let mut roles = agent::roles(file.map("roles", findings), ground, findings);
    let deny = denials(
        file.list("deny", findings),
        "deny",
        ground.servers,
        findings,
    );
    let mut seen = SeenHashes::default();
    let section = file.map("agents", findings);
    let named: Vec<&str> = section.iter().map(|entry| entry.key.as_str()).collect();
    let rate = defaults.rate.as_ref();
    let agents = agent::agents(section, ground, &mut roles, rate, &mut seen, findings);
    let section = file.map("viewers", findings);
    let viewers = agent::viewers(section, ground, &agents, &mut seen, findings);
    let cast = Cast {
        agents: &named,
        servers: &servers.names,
        source: text,
    };
    let tests = file_test::tests(file.list("tests", findings), cast, findings);
    let parts = Parts {
        revision: Revision::of(text.as_bytes()),
        zone: zone.clone(),
        servers: servers.rules,
        agents,
        pools: pools.rules.clone(),
        deny,
        viewers,
    };
    // What nobody uses is often only the other side of a mistake that was reported already.
    if !findings.any_error() {
        unused::find_unused(&parts, &servers.names, &pools.names, &roles, findings);
        if defaults.zone.is_none() {
            unused::find_missing_zone(&parts, text, findings);
        }
    }
    Some((parts, servers.connections, tests))
}

struct Defaults {
    zone: Option<Zone>,
    timeout: Duration,
    rate: Option<RateDraft>,
    keeping: Keeping,
}

fn defaults(file: &Fields<'_>, findings: &mut Findings) -> Defaults {
    let mut defaults = Defaults {
        zone: None,
        timeout: DEFAULT_TIMEOUT,
        rate: None,
        keeping: default_keeping(),
    };
    let Some(entry) = file.entry("defaults") else {
        return defaults;
    };
    if let Value::Empty = entry.node.value {
        return defaults;
    }
    let Some(fields) = Fields::open(&entry.node, "`defaults`", keys::DEFAULTS, findings) else {
        return defaults;
    };
    let zone = fields.text("timezone", findings);
    defaults.zone = zone.and_then(|text| time::zone(text, findings));
    let timeout = fields.text("timeout", findings);
    if let Some(timeout) = timeout.and_then(|text| time::span(text, findings)) {
        defaults.timeout = timeout;
    }
    defaults.rate = rate::rate(&fields, "defaults", findings);
    defaults.keeping = keeping(&fields, &defaults.keeping, findings);
    defaults
}

fn check_version(written: Option<Text<'_>>, findings: &mut Findings) {
    let Some(written) = written.filter(|written| written.text != "1") else {
        return;
    };
    let title = format!(
        "version {} of the format is not known here",
        quote(written.text)
    );
    findings.add(Finding::new(Code::Shape, written.span, title).note("the only version is 1"));
}
