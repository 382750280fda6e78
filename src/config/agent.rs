//! `agents:`, `roles:` and `viewers:`: who may ask at all, and for what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::{Agent, DenyRule, RefusalStyle, UngrantedStyle, Viewer, ViewerScope};
use crate::types::{AgentName, RoleName, ViewerName};

use super::budget;
use super::capture::capture;
use super::concurrency::max_concurrent;
use super::cost::find_unpriced;
use super::fields::{Fields, choice, did_you_mean, text};
use super::from::networks;
use super::grant::{Draft, Ground, denials, find_ties, grants};
use super::keys;
use super::names::Known;
use super::node::Entry;
use super::problem::{Code, Finding, Findings, Span, quote};
use super::proxy_header::{SeenHeaders, proxy_header};
use super::rate::{self, RateDraft};
use super::server::disabled;
use super::token::{MAKE_ONE, SeenHashes, place, tokens};

const REFUSALS: &[(&str, RefusalStyle)] = &[
    ("tool_error", RefusalStyle::ToolError),
    ("rpc_error", RefusalStyle::RpcError),
];

const UNGRANTED: &[(&str, UngrantedStyle)] = &[
    ("explain", UngrantedStyle::Explain),
    ("hide", UngrantedStyle::Hide),
];

const SEE: &[(&str, ViewerScope)] = &[
    ("metadata", ViewerScope::Metadata),
    ("arguments", ViewerScope::Arguments),
    ("results", ViewerScope::Results),
];

/// A role as written.
#[derive(Debug, Default)]
pub(super) struct Role {
    grants: Vec<Draft>,
    deny: Vec<DenyRule>,
}

/// All roles of a file.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) names: Known,
    roles: BTreeMap<String, Role>,
    /// Those that some agent has.
    pub(super) used: Vec<String>,
}

/// Reads `roles:`.
pub(super) fn roles(section: &[Entry], ground: Ground<'_>, findings: &mut Findings) -> Roles {
    let mut roles = Roles::default();
    for entry in section {
        let Some(name) = roles.names.enter::<RoleName>(entry, "role", findings) else {
            continue;
        };
        let subject = format!("role `{name}`");
        let Some(fields) = Fields::open(&entry.node, subject, keys::ROLE, findings) else {
            continue;
        };
        // A role has no identity of its own at run time; its description is for readers of the file.
        fields.prose("description", findings);
        let path = format!("roles.{name}");
        let role = Role {
            grants: grants(&fields, &path, ground, findings),
            deny: own_denials(&fields, &path, ground, findings),
        };
        roles.roles.insert(name.as_str().into(), role);
    }
    roles
}

fn own_denials(
    fields: &Fields<'_>,
    path: &str,
    ground: Ground<'_>,
    findings: &mut Findings,
) -> Vec<DenyRule> {
    let items = fields.list("deny", findings);
    denials(items, &format!("{path}.deny"), ground.servers, findings)
}

/// Reads `agents:`.
pub(super) fn agents(
    section: &[Entry],
    ground: Ground<'_>,
    roles: &mut Roles,
    default_rate: Option<&RateDraft>,
    seen: &mut SeenHashes,
    findings: &mut Findings,
) -> BTreeMap<AgentName, Arc<Agent>> {
    let mut known = Known::default();
    let mut agents = BTreeMap::new();
    for entry in section {
        let Some(name) = known.enter::<AgentName>(entry, "agent", findings) else {
            continue;
        };
        let subject = format!("agent `{name}`");
        let Some(fields) = Fields::open(&entry.node, subject, keys::AGENT, findings) else {
            continue;
        };
        let mut agent = plain_agent(&name, entry, &fields, ground, seen, findings);
        if agent.rate.is_none() {
            agent.rate = default_rate.map(|draft| draft.rule(&agent.place.path));
        }
        let own = grants(&fields, &agent.place.path, ground, findings);
        let names = role_names(&fields, roles, findings);
        let of_roles: Vec<&Role> = names
            .iter()
            .filter_map(|name| roles.roles.get(*name))
            .collect();
        fold(
            &mut agent,
            &own,
            &of_roles,
            ground,
            fields.subject(),
            findings,
        );
        roles.used.extend(names.into_iter().map(str::to_owned));
        agents.insert(name, Arc::new(agent));
    }
    agents
}

/// The agent without its grants.
fn plain_agent(
    name: &AgentName,
    entry: &Entry,
    fields: &Fields<'_>,
    ground: Ground<'_>,
    seen: &mut SeenHashes,
    findings: &mut Findings,
) -> Agent {
    let path = format!("agents.{name}");
    let budgets = budget::budgets(fields, &path, ground.pools, findings);
    find_unpriced(
        &budgets,
        ground.rules.values(),
        None,
        "no server has costs",
        findings,
    );
    let refusals = choice(fields.text("refusals", findings), REFUSALS, findings);
    let ungranted = choice(fields.text("ungranted", findings), UNGRANTED, findings);
    Agent {
        name: name.clone(),
        place: place(path.as_str(), entry.key_span),
        description: fields.prose("description", findings),
        owner: fields.prose("owner", findings),
        tokens: tokens(fields, entry.key_span, &path, ground.zone, seen, findings),
        disabled: disabled(fields, &path, findings),
        grants: Vec::new(),
        deny: own_denials(fields, &path, ground, findings),
        budgets: budget::rules(&budgets, &path),
        rate: rate::rate(fields, &path, findings).map(|draft| draft.rule(&path)),
        max_concurrent: max_concurrent(fields, &path, findings),
        from: networks(fields, findings),
        refusals: refusals.unwrap_or_default(),
        ungranted: ungranted.unwrap_or_default(),
        capture: capture(fields, ground.capture, findings),
    }
}

/// Gives an agent its own grants and all that its roles hold.
fn fold(
    agent: &mut Agent,
    own: &[Draft],
    roles: &[&Role],
    ground: Ground<'_>,
    subject: &str,
    findings: &mut Findings,
) {
    let own = own.iter().map(|draft| (draft, false));
    let given = roles.iter().flat_map(|role| &role.grants);
    let all: Vec<(&Draft, bool)> = own.chain(given.map(|draft| (draft, true))).collect();
    find_ties(subject, &all, ground.servers, findings);
    let rules = all
        .iter()
        .map(|(draft, from_role)| draft.rule(&agent.name, *from_role));
    agent.grants = rules.collect();
    let denied = roles.iter().flat_map(|role| role.deny.iter().cloned());
    agent.deny.extend(denied);
}

fn role_names<'n>(fields: &Fields<'n>, roles: &Roles, findings: &mut Findings) -> Vec<&'n str> {
    let mut names: Vec<&str> = Vec::new();
    for item in fields.list("roles", findings) {
        let Some(written) = text(item, item.span, "a role", findings) else {
            continue;
        };
        if !roles.names.contains(written.text) {
            let title = format!("role {} is not defined", quote(written.text));
            let finding = Finding::new(Code::UnknownName, written.span, title);
            let finding = finding.label("no role with this name");
            findings.add(did_you_mean(finding, written, roles.names.iter()));
        } else if names.contains(&written.text) {
            let title = format!(
                "{} lists role {} twice",
                fields.subject(),
                quote(written.text)
            );
            findings.add(Finding::new(Code::Shape, written.span, title));
        } else {
            names.push(written.text);
        }
    }
    names
}

/// Reads `viewers:`.
pub(super) fn viewers(
    section: &[Entry],
    ground: Ground<'_>,
    agents: &BTreeMap<AgentName, Arc<Agent>>,
    seen: &mut SeenHashes,
    findings: &mut Findings,
) -> BTreeMap<ViewerName, Viewer> {
    let mut known = Known::default();
    let mut headers = SeenHeaders::default();
    let mut viewers = BTreeMap::new();
    for entry in section {
        let Some(name) = known.enter::<ViewerName>(entry, "viewer", findings) else {
            continue;
        };
        let subject = format!("viewer `{name}`");
        let Some(fields) = Fields::open(&entry.node, subject, keys::VIEWER, findings) else {
            continue;
        };
        let path = format!("viewers.{name}");
        let owner = entry.key_span;
        let is_known = |key| fields.entry(key).is_some();
        let tokens = match (is_known("token_hash"), is_known("header")) {
            (false, true) => Vec::new(),
            (false, false) => {
                findings.add(nobody_comes_in(fields.subject(), owner));
                Vec::new()
            }
            (true, _) => tokens(&fields, owner, &path, ground.zone, seen, findings),
        };
        let viewer = Viewer {
            name: name.clone(),
            place: place(path.as_str(), owner),
            tokens,
            header: proxy_header(&fields, &mut headers, findings),
            see: scopes(&fields, findings),
            agents: whose_calls(&fields, agents, findings),
        };
        viewers.insert(name, viewer);
    }
    viewers
}

fn nobody_comes_in(subject: &str, owner: Span) -> Finding {
    let title =
        format!("{subject} has neither `token_hash` nor `header`, so nobody could ever come in");
    Finding::new(Code::BadHash, owner, title)
        .note(MAKE_ONE)
        .note("`header: {X-Forwarded-Groups: audit}` believes a reverse proxy; see `serve --trusted-proxy`")
}

/// Agents whose calls one viewer sees, at most: as many as one filter has conditions.
const MAX_SEEN: usize = 40;

fn whose_calls(
    fields: &Fields<'_>,
    agents: &BTreeMap<AgentName, Arc<Agent>>,
    findings: &mut Findings,
) -> Option<BTreeSet<AgentName>> {
    let entry = fields.entry("agents")?;
    let mut seen = BTreeSet::new();
    for item in fields.list("agents", findings) {
        let Some(written) = text(item, item.span, "an item of `agents`", findings) else {
            continue;
        };
        let known = agents.keys().find(|agent| agent.as_str() == written.text);
        if let Some(agent) = known {
            seen.insert(agent.clone());
            continue;
        }
        let title = format!(
            "{} sees the calls of agent {}, which is not defined",
            fields.subject(),
            quote(written.text)
        );
        let finding = Finding::new(Code::UnknownName, written.span, title);
        let finding = finding.label("no agent with this name");
        let names = agents.keys().map(AgentName::as_str);
        findings.add(did_you_mean(finding, written, names));
    }
    if seen.len() > MAX_SEEN {
        let title = format!(
            "{} sees the calls of {} agents; more than {MAX_SEEN} cannot be named",
            fields.subject(),
            seen.len()
        );
        findings.add(Finding::new(Code::Shape, entry.key_span, title));
    }
    Some(seen)
}

fn scopes(fields: &Fields<'_>, findings: &mut Findings) -> Vec<ViewerScope> {
    let mut see = vec![ViewerScope::Metadata];
    for item in fields.list("see", findings) {
        let written = text(item, item.span, "an item of `see`", findings);
        see.extend(choice(written, SEE, findings));
    }
    see.sort_unstable();
    see.dedup();
    see
}
