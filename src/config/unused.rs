//! What nobody uses, and what nobody said: findings about the file as a whole, all of them warnings.

use std::sync::Arc;

use crate::policy::{BudgetRule, Parts};

use super::agent::Roles;
use super::names::Known;
use super::problem::{Code, Finding, Findings, Span};

/// Reports pools nobody draws on, roles nobody has, servers nobody may use.
pub(super) fn find_unused(
    parts: &Parts,
    servers: &Known,
    pools: &Known,
    roles: &Roles,
    findings: &mut Findings,
) {
    for (name, span) in servers.places() {
        let mut grants = parts.agents.values().flat_map(|agent| &agent.grants);
        if !grants.any(|grant| grant.server.matches(name)) {
            findings.add(unused(span, &format!("no agent may use server `{name}`")));
        }
    }
    for (name, span) in roles.names.places() {
        if !roles.used.iter().any(|used| used == name) {
            findings.add(unused(span, &format!("no agent has role `{name}`")));
        }
    }
    for (name, span) in pools.places() {
        let Some(pool) = parts.pools.get(name) else {
            continue;
        };
        if !all_budgets(parts).any(|budget| Arc::ptr_eq(budget, pool)) {
            findings.add(unused(span, &format!("nothing draws on pool `{name}`")));
        }
    }
}

fn unused(span: Span, title: &str) -> Finding {
    Finding::new(Code::Unused, span, title)
}

/// Reports budgets in a file that names no time zone: `2/day` would follow UTC without anyone saying so.
pub(super) fn find_missing_zone(parts: &Parts, text: &str, findings: &mut Findings) {
    let lines = all_budgets(parts).map(|budget| budget.place.line);
    let Some(line) = lines.min() else {
        return;
    };
    let title = "budgets follow UTC, because the file names no time zone";
    let note =
        "say where days begin: `defaults: {timezone: Europe/Berlin}`, or `UTC` if that is meant";
    findings.add(Finding::new(Code::NoZone, Span::of_line(text, line), title).note(note));
}

fn all_budgets(parts: &Parts) -> impl Iterator<Item = &Arc<BudgetRule>> {
    let of_servers = parts.servers.values().flat_map(|server| &server.budgets);
    let agents = parts.agents.values();
    let of_agents = agents.flat_map(|agent| {
        let of_grants = agent.grants.iter().flat_map(|grant| &grant.budgets);
        agent.budgets.iter().chain(of_grants)
    });
    of_servers.chain(of_agents)
}
