//! Grants and denials: what an agent or a role may reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::{Capture, Condition, DenyRule, GrantRule, Pattern, Place, ServerRule};
use crate::types::{AgentName, BUILT_IN, ServerName, Timestamp, Zone};

use super::budget::{self, Budget, Pools};
use super::cost::find_unpriced;
use super::fields::{Fields, Text, did_you_mean, text};
use super::keys;
use super::names::Known;
use super::node::{Node, Value};
use super::problem::{Code, Finding, Findings, Span, quote};
use super::rate::{self, RateDraft};
use super::time;
use super::tool::{pattern, server_and_tool, sorted, tool_patterns};
use super::when;

/// What grants refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) servers: &'a Known,
    pub(super) rules: &'a BTreeMap<ServerName, ServerRule>,
    pub(super) pools: &'a Pools,
    pub(super) zone: &'a Zone,
    /// What is kept of an agent's calls where its entry says nothing.
    pub(super) capture: Capture,
}

/// A grant as written, before it is known whose it is.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    place: Place,
    span: Span,
    server: Pattern,
    tools: Option<Vec<Pattern>>,
    when: Arc<[Condition]>,
    expires: Option<Timestamp>,
    budgets: Vec<Budget>,
    rate: Option<RateDraft>,
}

impl Draft {
    /// The grant of one agent; its budgets and rate belong to this agent and this grant.
    pub(super) fn rule(&self, agent: &AgentName, from_role: bool) -> GrantRule {
        let tools = self.tools.as_ref().map(|tools| sorted(tools).join(","));
        let tools = tools.map(|tools| format!("[{tools}]")).unwrap_or_default();
        let scope = format!("agents.{agent}/{}{tools}", self.server);
        GrantRule {
            place: self.place.clone(),
            server: self.server.clone(),
            tools: self.tools.clone(),
            when: Arc::clone(&self.when),
            expires: self.expires,
            budgets: budget::rules(&self.budgets, &scope),
            rate: self.rate.as_ref().map(|draft| draft.rule(&scope)),
            from_role,
        }
    }

    /// Whether it grants for ever and without a limit, so that a second one changes nothing.
    fn is_plain(&self) -> bool {
        self.when.is_empty()
            && self.expires.is_none()
            && self.budgets.is_empty()
            && self.rate.is_none()
    }

    /// Whether both have a limit of their own that is known by the same name: only their conditions tell them apart.
    fn shares_a_count_with(&self, other: &Self) -> bool {
        let tools = |draft: &Self| draft.tools.as_deref().map(|tools| sorted(tools).join(","));
        self.server == other.server
            && tools(self) == tools(other)
            && ((self.rate.is_some() && other.rate.is_some())
                || budget::any_same(&self.budgets, &other.budgets))
    }

    /// Whether some call is covered by both, equally exactly, so that neither would decide.
    fn ties_with(&self, other: &Self, servers: &Known) -> bool {
        let both = |name: &str| self.server.matches(name) && other.server.matches(name);
        let same_server = if self.server.is_exact() {
            self.server == other.server
        } else {
            self.server.weight() == other.server.weight() && servers.iter().any(both)
        };
        same_server
            && match (&self.tools, &other.tools) {
                (None, None) => true,
                (Some(mine), Some(theirs)) => mine.iter().any(|one| {
                    let tie = |two: &Pattern| one.weight() == two.weight() && one.overlaps(two);
                    theirs.iter().any(tie)
                }),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }
}

/// Reads `servers:` of an agent or a role.
pub(super) fn grants(
    fields: &Fields<'_>,
    path: &str,
    ground: Ground<'_>,
    findings: &mut Findings,
) -> Vec<Draft> {
    let items = fields.list("servers", findings).iter().enumerate();
    let drafts = items.filter_map(|(index, item)| {
        let path = format!("{path}.servers[{index}]");
        grant(item, &path, ground, findings)
    });
    drafts.collect()
}

fn grant(node: &Node, path: &str, ground: Ground<'_>, findings: &mut Findings) -> Option<Draft> {
    let place = Place {
        path: path.into(),
        line: node.span.line,
    };
    if let Value::Map(_) = node.value {
        let fields = Fields::open(node, "a grant", keys::GRANT, findings)?;
        if fields.entry("server").is_none() {
            let title = "a grant without `server`";
            let note = "such as `{server: github, tools: [\"get_*\"]}`";
            findings.add(Finding::new(Code::Shape, node.span, title).note(note));
        }
        let written = fields.text("server", findings);
        let server = written.and_then(|written| server(written, ground.servers, findings));
        let tools = tool_patterns(&fields, findings);
        let budgets = budget::budgets(&fields, path, ground.pools, findings);
        let rate = rate::rate(&fields, path, findings);
        let expires = time::expires(&fields, ground.zone, findings);
        let listed = tools.as_ref().and_then(Option::as_deref);
        let when = when::when(&fields, listed, path, findings);
        let (server, tools, expires, when) = (server?, tools?, expires?, when?);
        let granted = ground.rules.values();
        let granted = granted.filter(|rule| server.matches(rule.name.as_str()));
        let subject = "no server of this grant has costs";
        find_unpriced(&budgets, granted, tools.as_deref(), subject, findings);
        let span = written?.span;
        return Some(Draft {
            place,
            span,
            server,
            tools,
            when,
            expires,
            budgets,
            rate,
        });
    }
    let written = text(node, node.span, "a grant", findings)?;
    Some(Draft {
        place,
        span: written.span,
        server: server(written, ground.servers, findings)?,
        tools: None,
        when: [].into(),
        expires: None,
        budgets: Vec::new(),
        rate: None,
    })
}

fn server(written: Text<'_>, servers: &Known, findings: &mut Findings) -> Option<Pattern> {
    if let Some((server, tool)) = written.text.split_once('/') {
        let title = format!(
            "{} names a tool, a grant names servers",
            quote(written.text)
        );
        let note = format!("write `{{server: {server}, tools: [\"{tool}\"]}}`");
        findings.add(Finding::new(Code::Shape, written.span, title).note(note));
        return None;
    }
    let pattern = pattern(written.text, written.span, findings)?;
    check_server(&pattern, written, servers, findings).then_some(pattern)
}

/// Whether a pattern names a server of this file; a mere `*` always does.
fn check_server(
    pattern: &Pattern,
    written: Text<'_>,
    servers: &Known,
    findings: &mut Findings,
) -> bool {
    if pattern.is_everything() || servers.iter().any(|name| pattern.matches(name)) {
        return true;
    }
    let shown = quote(pattern.as_str());
    let finding = if pattern.as_str() == BUILT_IN {
        let title = "`hayward` is the built-in server, which every agent may use";
        Finding::new(Code::UnknownName, written.span, title).note("leave it away")
    } else if pattern.is_exact() {
        let title = format!("server {shown} is not defined");
        let finding = Finding::new(Code::UnknownName, written.span, title);
        let name = Text {
            text: pattern.as_str(),
            ..written
        };
        let whole = name.text == written.text;
        let finding = finding.label("no server with this name");
        if whole {
            did_you_mean(finding, name, servers.iter())
        } else {
            finding
        }
    } else {
        Finding::new(
            Code::EmptyGlob,
            written.span,
            format!("{shown} matches no server"),
        )
        .note("patterns are case-sensitive and match the whole name")
    };
    findings.add(finding);
    false
}

/// Reads `deny:` of the file, an agent or a role. `path` is that of the list.
pub(super) fn denials(
    items: &[Node],
    path: &str,
    servers: &Known,
    findings: &mut Findings,
) -> Vec<DenyRule> {
    let numbered = items.iter().enumerate();
    let rules = numbered.filter_map(|(index, item)| {
        let written = text(item, item.span, "a denial", findings)?;
        let (server, tool) = server_and_tool(written, findings)?;
        let is_known =
            server.matches(BUILT_IN) || check_server(&server, written, servers, findings);
        is_known.then_some(())?;
        let path = format!("{path}[{index}]");
        let place = Place {
            path: path.into(),
            line: item.span.line,
        };
        Some(DenyRule {
            place,
            server,
            tool,
        })
    });
    rules.collect()
}

/// Reports grants of one agent of which neither is more specific than the other.
///
/// `drafts` says of each whether a role gave it. Two roles may grant the same without limits: then it makes
/// no difference which of them decides.
pub(super) fn find_ties(
    subject: &str,
    drafts: &[(&Draft, bool)],
    servers: &Known,
    findings: &mut Findings,
) {
    // Only grants that name the same server, or two globs, can tie: this keeps long lists cheap.
    let mut groups: BTreeMap<&str, Vec<(&Draft, bool)>> = BTreeMap::new();
    for (draft, from_role) in drafts {
        let exact = draft.server.is_exact();
        let group = if exact { draft.server.as_str() } else { "*" };
        let earlier = groups.entry(group).or_default();
        for (other, other_from_role) in earlier.iter() {
            let harmless = *from_role && draft.is_plain() && other.is_plain();
            if from_role != other_from_role || harmless || !draft.ties_with(other, servers) {
                continue;
            }
            if draft.when.is_empty() || other.when.is_empty() {
                findings.add(tie(subject, draft, other));
            } else if draft.shares_a_count_with(other) {
                findings.add(shared_count(subject, draft, other));
            }
        }
        earlier.push((draft, *from_role));
    }
}

fn shared_count(subject: &str, draft: &Draft, other: &Draft) -> Finding {
    let title = format!("two grants of {subject} that differ only in `when` would share one count");
    Finding::new(Code::SameBudget, draft.span, title)
        .label("same server and tools")
        .context(other.span, "the other")
        .note("give each a pool of its own (`budgets:` at the top level), or put the limit on the agent or the server")
}

fn tie(subject: &str, draft: &Draft, other: &Draft) -> Finding {
    let title = format!("two grants of {subject} cover the same call equally exactly");
    Finding::new(Code::EqualGrants, draft.span, title)
        .label("as exact as the other")
        .context(other.span, "the other")
        .note("the more exact grant decides: join the two, make one more exact, or give each a `when`")
}
