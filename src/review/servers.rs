//! What is another about the servers behind the gateway.

use std::collections::BTreeSet;

use crate::config::Loaded;
use crate::policy::{Costs, ServerRule};
use crate::types::{Connection, Endpoint, ServerName, Template};

use super::change::{About, Change, Effect, Sign};
use super::limits::{budgets, concurrency, rate};

/// Why a changed program is looked at twice.
const RUNS: &str = "runs as the gateway";

/// Why a changed address is.
const ELSEWHERE: &str = "calls and secrets go somewhere else";

/// Compares the servers of two files.
pub(super) fn servers(old: &Loaded, new: &Loaded) -> Vec<Change> {
    let files = [&old.permissions, &new.permissions];
    let names: BTreeSet<&ServerName> = files
        .iter()
        .flat_map(|file| file.servers().keys())
        .collect();
    let mut changes = Vec::new();
    for name in names {
        match files.map(|file| file.servers().get(name)) {
            [None, Some(_)] => {
                let change = Change::new(About::Servers, Sign::Added, name.as_str());
                let connection = new.connections.get(name);
                let change = change.detail(connection.map(place).unwrap_or_default());
                changes.push(match connection.is_some_and(is_program) {
                    true => change.high(RUNS),
                    false => change,
                });
            }
            [Some(_), None] => {
                changes.push(Change::new(About::Servers, Sign::Removed, name.as_str()))
            }
            [Some(before), Some(after)] => {
                changes.extend(rules(name, before, after));
                let connections = (old.connections.get(name), new.connections.get(name));
                if let (Some(before), Some(after)) = connections {
                    changes.extend(connection(name, before, after));
                }
            }
            [None, None] => {}
        }
    }
    changes
}

fn rules(name: &ServerName, before: &ServerRule, after: &ServerRule) -> Vec<Change> {
    let mut changes = budgets(&About::Servers, &before.budgets, &after.budgets);
    changes.extend(rate(
        &About::Servers,
        before.rate.as_deref(),
        after.rate.as_deref(),
    ));
    let most = [&before.max_concurrent, &after.max_concurrent].map(Option::as_deref);
    changes.extend(concurrency(&About::Servers, name.as_str(), most));
    let change = |what: &str| Change::new(About::Servers, Sign::Changed, format!("{name} {what}"));
    match (&before.disabled, &after.disabled) {
        (None, Some(_)) => changes.push(change("is switched off").effect(Effect::Tightened)),
        (Some(_), None) => changes.push(change("is switched on").effect(Effect::Loosened)),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let costs = |rule: &ServerRule| rule.costs.as_ref().map(costs);
    if costs(before) != costs(after) {
        changes.push(change("costs are others"));
    }
    if before.dedupe != after.dedupe {
        changes.push(change("repeats are others"));
    }
    if before.keeping.capture != after.keeping.capture {
        let arrow = format!(
            "{:?} -> {:?}",
            before.keeping.capture, after.keeping.capture
        );
        changes.push(change("capture").detail(arrow.to_lowercase()));
    }
    changes
}

/// Costs without their place.
fn costs(costs: &Costs) -> String {
    format!("{:?} {:?}", costs.unit, costs.tools)
}

fn connection(name: &ServerName, before: &Connection, after: &Connection) -> Vec<Change> {
    let change = |what: &str| Change::new(About::Servers, Sign::Changed, format!("{name} {what}"));
    let mut changes = Vec::new();
    let places = [place(before), place(after)];
    if let [old, new] = &places
        && old != new
    {
        let why = if is_program(after) { RUNS } else { ELSEWHERE };
        let what = if is_program(after) { "command" } else { "url" };
        changes.push(change(what).detail(format!("{old} -> {new}")).high(why));
    }
    let around = [before, after].map(surroundings);
    if let [old, new] = &around
        && old != new
    {
        let named: Vec<&str> = old
            .symmetric_difference(new)
            .map(|(name, _)| name.as_str())
            .collect();
        let named: BTreeSet<&str> = named.into_iter().collect();
        let named = named.into_iter().collect::<Vec<_>>().join(", ");
        let change = change("surroundings").detail(named);
        changes.push(if is_program(after) {
            change.high(RUNS)
        } else {
            change
        });
    }
    if before.era != after.era {
        changes.push(change("protocol").detail(format!("{:?} -> {:?}", before.era, after.era)));
    }
    if before.timeout != after.timeout {
        let arrow = format!("{:?} -> {:?}", before.timeout, after.timeout);
        let effect = Effect::of_amounts(&before.timeout, &after.timeout);
        changes.push(change("timeout").detail(arrow).effect(effect));
    }
    changes
}

/// The address, or the program with its arguments, as written.
fn place(connection: &Connection) -> String {
    match &connection.endpoint {
        Endpoint::Http { url, .. } => url.written(),
        Endpoint::Stdio { command, args, .. } => {
            let words = std::iter::once(command.clone()).chain(args.iter().map(Template::written));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

fn is_program(connection: &Connection) -> bool {
    match connection.endpoint {
        Endpoint::Http { .. } => false,
        Endpoint::Stdio { .. } => true,
    }
}

/// Headers or variables as written, and where a program runs.
fn surroundings(connection: &Connection) -> BTreeSet<(String, String)> {
    match &connection.endpoint {
        Endpoint::Http { headers, .. } => {
            let headers = headers.iter();
            headers
                .map(|(name, value)| (name.clone(), value.written()))
                .collect()
        }
        Endpoint::Stdio {
            env,
            cwd,
            instances,
            ..
        } => {
            let env = env
                .iter()
                .map(|(name, value)| (name.clone(), value.written()));
            let cwd = cwd
                .iter()
                .map(|cwd| ("cwd".to_owned(), cwd.display().to_string()));
            let instances = ("instances".to_owned(), format!("{instances:?}"));
            env.chain(cwd).chain([instances]).collect()
        }
    }
}
