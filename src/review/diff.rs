//! What a changed file changes: who gains and loses what, and which limits, servers and readers are others.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::read::Use;
use crate::config::Loaded;
use crate::policy::{Agent, GrantRule, Permissions, Target, Viewer, ViewerScope};
use crate::types::{AgentName, ServerName, Timestamp};

use super::access::{Access, access, grant_of};
use super::change::{About, Change, Effect, Sign};
use super::limits::{budgets, concurrency, rate};
use super::servers::servers;
use super::tests::run_tests;
use super::universe::SeenTools;

/// Names that one line lists, at most; the rest is counted.
const LISTED: usize = 12;

/// What is known of the past.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Tools that somebody has seen.
    pub tools: SeenTools,
    /// How often each agent called each tool lately.
    pub calls: BTreeMap<(AgentName, ServerName, String), u64>,
}

impl Past {
    /// Adds what agents called lately. A name that was good once and is not any more belongs to no file.
    pub fn remember(&mut self, uses: impl IntoIterator<Item = Use>) {
        for used in uses {
            let (Ok(agent), Ok(server)) = (used.agent.parse(), used.server.parse::<ServerName>())
            else {
                continue;
            };
            let tools = self.tools.entry(server.clone()).or_default();
            tools.insert(used.tool.clone());
            self.calls.insert((agent, server, used.tool), used.calls);
        }
    }
}

/// All differences, those first that somebody should look at twice.
pub fn diff(old: &Loaded, new: &Loaded, past: &Past, at: Timestamp) -> Vec<Change> {
    let files = [&old.permissions, &new.permissions];
    let mut changes: Vec<Change> = Vec::new();
    for access in access(files, &past.tools, at) {
        changes.extend(reached(&access, files, past, at));
    }
    changes.extend(agents(files));
    changes.extend(denials(files));
    changes.extend(pools(files));
    changes.extend(servers(old, new));
    changes.extend(viewers(files));
    changes.extend(defaults(files));
    changes.extend(tests(old, new, at));
    changes.sort_by(|one, other| {
        let rank = |change: &Change| (change.high.is_none(), change.about.clone(), change.sign);
        rank(one)
            .cmp(&rank(other))
            .then_with(|| one.what.cmp(&other.what))
    });
    changes
}

/// What an agent gains and loses at one server.
fn reached(access: &Access, files: [&Permissions; 2], past: &Past, at: Timestamp) -> Vec<Change> {
    let about = || About::Agent(access.agent.clone());
    let server = &access.server;
    let mut changes = Vec::new();
    // One line for all that come under the same terms.
    let mut by_terms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in access.gained_shown() {
        let [_, after] = files;
        let plain = name.split(' ').next().unwrap_or_default();
        let terms = terms(after, &access.agent, server, plain, at);
        by_terms.entry(terms).or_default().push(name);
    }
    for (terms, names) in by_terms {
        let whole = names.iter().any(|name| name.split(' ').next() == Some("*"));
        let what = format!("may call {}", listed(server, &names));
        let change = Change::new(about(), Sign::Added, what)
            .detail(terms)
            .effect(Effect::Loosened);
        changes.push(if whole {
            change.high("a whole server")
        } else {
            change
        });
    }
    let lost = access.lost_shown();
    if !lost.is_empty() {
        let what = format!("loses {}", listed(server, &lost));
        let change = Change::new(about(), Sign::Removed, what).effect(Effect::Tightened);
        changes.push(change.detail(calls_to(access, past)));
    }
    if let Some(came) = access.beside {
        let (sign, effect, verb) = match came {
            true => (Sign::Added, Effect::Loosened, "may use"),
            false => (Sign::Removed, Effect::Tightened, "loses"),
        };
        let what = format!("{verb} prompts and resources of {server}");
        changes.push(Change::new(about(), sign, what).effect(effect));
    }
    changes
}

/// How often the agent called what it loses.
fn calls_to(access: &Access, past: &Past) -> String {
    let calls = past.calls.iter().filter(|((agent, server, tool), _)| {
        *agent == access.agent && *server == access.server && access.lost.contains(tool)
    });
    match calls.map(|(_, calls)| *calls).sum::<u64>() {
        0 => String::new(),
        1 => "1 call in the last 30 days".into(),
        calls => format!("{calls} calls in the last 30 days"),
    }
}

fn listed(server: &ServerName, names: &[String]) -> String {
    let shown = names
        .iter()
        .take(LISTED)
        .map(|name| format!("{server}/{name}"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Until when and how often something that is granted may be called.
fn terms(
    file: &Permissions,
    agent: &AgentName,
    server: &ServerName,
    tool: &str,
    at: Timestamp,
) -> String {
    let Some(agent) = file.agents().get(agent) else {
        return String::new();
    };
    let Some(grant) = grant_of(file, agent, server, Target::Tool(tool), at) else {
        return String::new();
    };
    let rule = agent.grants.iter().find(|rule| rule.place == *grant.rule());
    let until = rule.and_then(|rule| rule.expires);
    let until = until.map(|until| format!("until {}", until.rfc3339(file.zone())));
    let limits = grant
        .charges()
        .iter()
        .map(|charge| charge.limit.to_string());
    let asked = rule.map(conditions).unwrap_or_default();
    let mut parts: Vec<String> = until
        .into_iter()
        .chain(limits)
        .chain(asked.into_values())
        .collect();
    parts.dedup();
    parts.join(", ")
}

fn agents(files: [&Permissions; 2]) -> Vec<Change> {
    let names: BTreeSet<&AgentName> = files.iter().flat_map(|file| file.agents().keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let about = About::Agent(name.clone());
        match files.map(|file| file.agents().get(name)) {
            [None, Some(agent)] => {
                let change = Change::new(about, Sign::Added, "is a new agent");
                let owner = agent.owner.as_ref().map(|owner| format!("owner {owner}"));
                let change = change.detail(owner.unwrap_or_default());
                changes.push(change.effect(Effect::Loosened));
            }
            [Some(_), None] => {
                let change = Change::new(about, Sign::Removed, "is no agent any more");
                changes.push(change.effect(Effect::Tightened));
            }
            [Some(before), Some(after)] => changes.extend(agent(&about, before, after, files)),
            [None, None] => {}
        }
    }
    changes
}

/// What is another about one agent, beside what it may call.
fn agent(about: &About, before: &Agent, after: &Agent, files: [&Permissions; 2]) -> Vec<Change> {
    let mut changes = tokens(about, before, after);
    match (&before.disabled, &after.disabled) {
        (None, Some(off)) => {
            let change = Change::new(about.clone(), Sign::Changed, "is switched off");
            let note = off.note.clone().unwrap_or_default();
            changes.push(change.detail(note).effect(Effect::Tightened));
        }
        (Some(_), None) => {
            let change = Change::new(about.clone(), Sign::Changed, "is switched on");
            changes.push(change.effect(Effect::Loosened));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    changes.extend(budgets(about, &before.budgets, &after.budgets));
    changes.extend(rate(about, before.rate.as_deref(), after.rate.as_deref()));
    let most = [&before.max_concurrent, &after.max_concurrent].map(Option::as_deref);
    changes.extend(concurrency(about, about.to_string().as_str(), most));
    changes.extend(addresses(about, before, after));
    for (old, new) in pairs(&before.grants, &after.grants) {
        changes.extend(budgets(about, &old.budgets, &new.budgets));
        changes.extend(rate(about, old.rate.as_deref(), new.rate.as_deref()));
        changes.extend(expiry(about, old, new, files));
        changes.extend(asked(about, old, new));
    }
    for (what, old, new) in [
        (
            "capture",
            format!("{:?}", before.capture),
            format!("{:?}", after.capture),
        ),
        (
            "refusals",
            format!("{:?}", before.refusals),
            format!("{:?}", after.refusals),
        ),
        (
            "ungranted tools",
            format!("{:?}", before.ungranted),
            format!("{:?}", after.ungranted),
        ),
    ] {
        if old != new {
            let change = Change::new(about.clone(), Sign::Changed, what);
            let arrow = format!("{} -> {}", old.to_lowercase(), new.to_lowercase());
            changes.push(change.detail(arrow));
        }
    }
    changes
}

/// From where the agent may call.
fn addresses(about: &About, before: &Agent, after: &Agent) -> Option<Change> {
    let from = |agent: &Agent| match &agent.from {
        None => "anywhere".to_owned(),
        Some(networks) => {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            networks.join(", ")
        }
    };
    let (old, new) = (from(before), from(after));
    if old == new {
        return None;
    }
    let change = Change::new(about.clone(), Sign::Changed, "may call from");
    let change = change.detail(format!("{old} -> {new}"));
    let among = |some: &Agent, all: &Agent| match (&some.from, &all.from) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(some), Some(all)) => some.iter().all(|network| all.contains(network)),
    };
    Some(match (among(after, before), among(before, after)) {
        (true, _) => change.effect(Effect::Tightened),
        (false, true) => change
            .effect(Effect::Loosened)
            .high("its token works elsewhere, too"),
        (false, false) => change.high("its token works elsewhere"),
    })
}

fn tokens(about: &About, before: &Agent, after: &Agent) -> Vec<Change> {
    let missing = |from: &Agent, token: &crate::policy::Token| {
        !from.tokens.iter().any(|other| other.hash == token.hash)
    };
    let added = after
        .tokens
        .iter()
        .filter(|token| missing(before, token))
        .map(|token| {
            let what = format!("has another token, {}", token.hash.fingerprint());
            let change = Change::new(about.clone(), Sign::Added, what).effect(Effect::Loosened);
            change.high("whoever has it is this agent")
        });
    let removed = before
        .tokens
        .iter()
        .filter(|token| missing(after, token))
        .map(|token| {
            let what = format!("token {} is not valid any more", token.hash.fingerprint());
            Change::new(about.clone(), Sign::Removed, what).effect(Effect::Tightened)
        });
    added.chain(removed).collect()
}

/// Grants that are the same in both files: by their server, tools and conditions, then without those, then by their
/// server alone.
fn pairs<'a>(
    before: &'a [GrantRule],
    after: &'a [GrantRule],
) -> Vec<(&'a GrantRule, &'a GrantRule)> {
    let (mut left, mut rest): (Vec<_>, Vec<_>) = (after.iter().collect(), before.iter().collect());
    let mut found = Vec::new();
    for alike in [is_same, has_same_tools, has_same_server] {
        let mut still = Vec::new();
        for old in rest {
            match left.iter().position(|new| alike(old, new)) {
                Some(at) => found.push((old, left.remove(at))),
                None => still.push(old),
            }
        }
        rest = still;
    }
    found
}

fn has_same_server(one: &GrantRule, other: &GrantRule) -> bool {
    one.server == other.server && one.from_role == other.from_role
}

fn has_same_tools(one: &GrantRule, other: &GrantRule) -> bool {
    let tools = |rule: &GrantRule| {
        let tools = rule
            .tools
            .iter()
            .flatten()
            .map(|tool| tool.as_str().to_owned());
        (rule.tools.is_some(), tools.collect::<BTreeSet<_>>())
    };
    has_same_server(one, other) && tools(one) == tools(other)
}

fn is_same(one: &GrantRule, other: &GrantRule) -> bool {
    has_same_tools(one, other) && conditions(one) == conditions(other)
}

/// All of each condition but its place, and how people read it, which leaves out what is long.
fn conditions(rule: &GrantRule) -> BTreeMap<String, String> {
    let whole = rule.when.iter().map(|one| {
        let whole = format!("{:?} {:?} {}", one.argument, one.tests, one.is_optional);
        (whole, one.to_string())
    });
    whole.collect()
}

/// What is asked of the arguments, before and after.
fn asked(about: &About, old: &GrantRule, new: &GrantRule) -> Option<Change> {
    let (before, after) = (conditions(old), conditions(new));
    let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>| {
        let only = these
            .iter()
            .filter(|(whole, _)| !those.contains_key(*whole));
        only.map(|(_, words)| words.clone()).collect::<Vec<_>>()
    };
    let (gone, come) = (only(&before, &after), only(&after, &before));
    let what = format!("conditions on {}", listed_tools(new));
    let change = Change::new(about.clone(), Sign::Changed, what);
    let (gone_text, come_text) = (gone.join(" and "), come.join(" and "));
    match (gone.is_empty(), come.is_empty()) {
        (true, true) => None,
        (true, false) => Some(change.detail(come_text).effect(Effect::Tightened)),
        (false, true) => {
            let change = change.detail(format!("no more: {gone_text}"));
            Some(change.effect(Effect::Loosened))
        }
        (false, false) => Some(change.detail(format!("{gone_text} -> {come_text}"))),
    }
}

fn listed_tools(rule: &GrantRule) -> String {
    match &rule.tools {
        None => rule.server.to_string(),
        Some(tools) => {
            let names: Vec<String> = tools.iter().map(|tool| tool.as_str().to_owned()).collect();
            format!("{}[{}]", rule.server, names.join(","))
        }
    }
}

fn expiry(
    about: &About,
    old: &GrantRule,
    new: &GrantRule,
    files: [&Permissions; 2],
) -> Option<Change> {
    if old.expires == new.expires {
        return None;
    }
    let [before, after] = files;
    let ends = |expires: Option<Timestamp>, file: &Permissions| match expires {
        Some(end) => end.rfc3339(file.zone()),
        None => "never".into(),
    };
    let arrow = format!(
        "{} -> {}",
        ends(old.expires, before),
        ends(new.expires, after)
    );
    let last = |expires: Option<Timestamp>| expires.unwrap_or(Timestamp::LAST);
    let what = format!("grant of {} ends", new.server);
    let change = Change::new(about.clone(), Sign::Changed, what).detail(arrow);
    Some(change.effect(Effect::of_amounts(&last(old.expires), &last(new.expires))))
}

fn denials(files: [&Permissions; 2]) -> Vec<Change> {
    let [before, after] = files.map(|file| {
        let rules = file
            .deny()
            .iter()
            .map(|rule| format!("{}/{}", rule.server, rule.tool));
        rules.collect::<BTreeSet<_>>()
    });
    let removed = before.difference(&after).map(|rule| {
        let change = Change::new(About::Everyone, Sign::Removed, format!("deny rule {rule}"));
        change
            .effect(Effect::Loosened)
            .high("what it forbade is open to whoever is granted it")
    });
    let added = after.difference(&before).map(|rule| {
        let change = Change::new(About::Everyone, Sign::Added, format!("deny rule {rule}"));
        change.effect(Effect::Tightened)
    });
    removed.chain(added).collect()
}

fn pools(files: [&Permissions; 2]) -> Vec<Change> {
    let [before, after] = files.map(|file| file.pools().values().cloned().collect::<Vec<_>>());
    budgets(&About::Everyone, &before, &after)
}

fn viewers(files: [&Permissions; 2]) -> Vec<Change> {
    let [before, after] = files.map(Permissions::viewers);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let change = |sign, what: String| Change::new(About::Viewers, sign, what);
        match (before.get(name), after.get(name)) {
            (None, Some(viewer)) => {
                let change = change(Sign::Added, format!("{name} reads the pages"));
                let by = viewer
                    .header
                    .iter()
                    .map(|header| format!("comes in by {header}"));
                let whose = whose(viewer).map(|agents| format!("of {agents}"));
                let detail = std::iter::once(sees(viewer)).chain(whose).chain(by);
                let detail: Vec<String> = detail.collect();
                let change = change.detail(detail.join(", ")).effect(Effect::Loosened);
                changes.push(change.high("sees who calls what"));
            }
            (Some(_), None) => {
                let change = change(Sign::Removed, format!("{name} reads the pages"));
                changes.push(change.effect(Effect::Tightened));
            }
            (Some(old), Some(new)) => {
                let hashes = |viewer: &Viewer| {
                    viewer
                        .tokens
                        .iter()
                        .map(|token| token.hash)
                        .collect::<BTreeSet<_>>()
                };
                if hashes(new).difference(&hashes(old)).next().is_some() {
                    let change = change(Sign::Changed, format!("{name} has another token"));
                    changes.push(
                        change
                            .effect(Effect::Loosened)
                            .high("whoever has it reads the pages"),
                    );
                }
                for hash in hashes(old).difference(&hashes(new)) {
                    let token = hash.fingerprint();
                    let what = format!("token {token} of {name} is not valid any more");
                    changes.push(change(Sign::Removed, what).effect(Effect::Tightened));
                }
                changes.extend(introduced(old, new));
                changes.extend(watched(old, new));
                if old.see != new.see {
                    let more = new.see.iter().any(|scope| !old.see.contains(scope));
                    let change = change(Sign::Changed, format!("{name} sees"));
                    let change = change.detail(format!("{} -> {}", sees(old), sees(new)));
                    changes.push(match more {
                        true => change
                            .effect(Effect::Loosened)
                            .high("sees what was sent or answered"),
                        false => change.effect(Effect::Tightened),
                    });
                }
            }
            (None, None) => {}
        }
    }
    changes
}

/// Whose calls a viewer sees.
fn watched(old: &Viewer, new: &Viewer) -> Option<Change> {
    if old.agents == new.agents {
        return None;
    }
    let more = match (&old.agents, &new.agents) {
        (Some(_), None) => true,
        (Some(old), Some(new)) => !new.is_subset(old),
        (None, _) => false,
    };
    let told = |viewer: &Viewer| whose(viewer).unwrap_or_else(|| "all agents".into());
    let change = Change::new(
        About::Viewers,
        Sign::Changed,
        format!("{} sees the calls of", new.name),
    );
    let change = change.detail(format!("{} -> {}", told(old), told(new)));
    Some(match more {
        true => change.effect(Effect::Loosened).high("sees who calls what"),
        false => change.effect(Effect::Tightened),
    })
}

/// The agents whose calls alone a viewer sees.
fn whose(viewer: &Viewer) -> Option<String> {
    let agents = viewer.agents.as_ref()?;
    let names: Vec<&str> = agents.iter().map(|agent| agent.as_str()).collect();
    Some(match names.as_slice() {
        [] => "no agent".into(),
        names => names.join(", "),
    })
}

/// By which header of a reverse proxy a viewer comes in.
fn introduced(old: &Viewer, new: &Viewer) -> Option<Change> {
    let change = |sign, how: &str, detail: String| {
        let what = format!("{} {how}", new.name);
        Change::new(About::Viewers, sign, what).detail(detail)
    };
    let opened = |change: Change| {
        change
            .effect(Effect::Loosened)
            .high("whoever a trusted proxy says this of reads the pages")
    };
    match (&old.header, &new.header) {
        (None, Some(header)) => {
            let change = change(Sign::Added, "comes in by a header", header.to_string());
            Some(opened(change))
        }
        (Some(before), Some(after)) if before != after => {
            let arrow = format!("{before} -> {after}");
            Some(opened(change(
                Sign::Changed,
                "comes in by another header",
                arrow,
            )))
        }
        (Some(header), None) => {
            let how = "comes in by no header any more";
            let change = change(Sign::Removed, how, header.to_string());
            Some(change.effect(Effect::Tightened))
        }
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn sees(viewer: &Viewer) -> String {
    let words = viewer.see.iter().map(|scope| match scope {
        ViewerScope::Metadata => "metadata",
        ViewerScope::Arguments => "arguments",
        ViewerScope::Results => "results",
    });
    words.collect::<Vec<_>>().join(", ")
}

fn defaults(files: [&Permissions; 2]) -> Vec<Change> {
    let [before, after] = files.map(|file| file.zone().name().to_owned());
    if before == after {
        return Vec::new();
    }
    let change = Change::new(About::Defaults, Sign::Changed, "time zone");
    let change = change.detail(format!("{before} -> {after}"));
    vec![change.high("days, weeks and months of budgets begin at other times")]
}

fn tests(old: &Loaded, new: &Loaded, at: Timestamp) -> Vec<Change> {
    // Without their places, which any line above changes.
    let texts = |loaded: &Loaded| {
        loaded
            .tests
            .iter()
            .map(|test| test.text())
            .collect::<BTreeSet<_>>()
    };
    let (before, after) = (texts(old), texts(new));
    let mut changes = Vec::new();
    for (sign, count) in [
        (Sign::Removed, before.difference(&after).count()),
        (Sign::Added, after.difference(&before).count()),
    ] {
        if count > 0 {
            let change = Change::new(
                About::Tests,
                sign,
                format!("{count} of the tests in the file"),
            );
            changes.push(change);
        }
    }
    let failed = run_tests(new, at).len();
    if failed > 0 {
        let what = format!("{failed} of the tests in the file fail");
        let change = Change::new(About::Tests, Sign::Changed, what);
        changes.push(change.high("the file is refused until they pass"));
    }
    changes
}
