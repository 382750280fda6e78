//! The names that two files are compared at: tools that were seen, tools that the files name, and for each pattern, and
//! what several have in common, a name that stands for all that they match.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Pattern, Permissions};
use crate::types::ServerName;

/// Names of one server, at most; two files that need more are compared at the first of them.
const MOST: usize = 2_000;

/// Names that are made of what patterns have in common, at most.
const MOST_MEETINGS: usize = 300;

/// Tools by server that somebody has seen.
pub type SeenTools = BTreeMap<ServerName, BTreeSet<String>>;

/// The names of one server. A name with `*` in it stands for what a pattern matches.
pub(super) fn universe(
    files: [&Permissions; 2],
    server: &ServerName,
    seen: &SeenTools,
) -> BTreeSet<String> {
    let mut patterns: BTreeSet<String> = BTreeSet::from(["*".to_owned()]);
    for permissions in files {
        let agents = permissions.agents().values();
        let granted = agents.clone().flat_map(|agent| &agent.grants);
        let granted = granted.filter(|grant| grant.server.matches(server.as_str()));
        let granted = granted.flat_map(|grant| grant.tools.iter().flatten());
        let denied = permissions.deny().iter();
        let denied = denied.chain(agents.flat_map(|agent| &agent.deny));
        let denied = denied.filter(|rule| rule.server.matches(server.as_str()));
        let costs = permissions.servers().get(server).into_iter();
        let costs = costs
            .flat_map(|rule| &rule.costs)
            .flat_map(|costs| &costs.tools);
        let all = granted
            .chain(denied.map(|rule| &rule.tool))
            .chain(costs.map(|(tool, _)| tool));
        patterns.extend(all.map(|pattern| pattern.as_str().to_owned()));
    }
    let meetings = meetings(&patterns);
    let seen = seen.get(server).into_iter().flatten().cloned();
    let all = patterns.into_iter().chain(meetings).chain(seen);
    all.take(MOST).collect()
}

/// Names for what several patterns match together, of three of them and more in turns.
fn meetings(patterns: &BTreeSet<String>) -> BTreeSet<String> {
    let with_star = |text: &&String| text.contains('*');
    let first: Vec<Pattern> = patterns
        .iter()
        .filter(with_star)
        .map(|text| Pattern::new(text))
        .collect();
    let mut all: BTreeSet<String> = BTreeSet::new();
    let mut latest = first.clone();
    while !latest.is_empty() && all.len() < MOST_MEETINGS {
        let mut next = Vec::new();
        let pairs = latest
            .iter()
            .flat_map(|one| first.iter().map(move |other| (one, other)));
        for name in pairs.flat_map(|(one, other)| meeting(one, other)) {
            let is_new = !patterns.contains(&name) && all.len() < MOST_MEETINGS;
            if is_new && all.insert(name.clone()) {
                next.push(Pattern::new(&name));
            }
        }
        latest = next;
    }
    all
}

/// Patterns that match only what both match, as far as they can be put together from their parts; and names in which the
/// beginning of one and the end of the other share some letters.
fn meeting(one: &Pattern, other: &Pattern) -> Vec<String> {
    let ends = |pattern: &Pattern| {
        let (head, _) = pattern.as_str().split_once('*')?;
        let (_, tail) = pattern.as_str().rsplit_once('*')?;
        Some((head.to_owned(), tail.to_owned()))
    };
    let (Some((head, tail)), Some((other_head, other_tail))) = (ends(one), ends(other)) else {
        return Vec::new();
    };
    let longer = |a: String, b: String| if a.len() >= b.len() { a } else { b };
    let (head, tail) = (longer(head, other_head), longer(tail, other_tail));
    let (inner, other_inner) = (middle(one), middle(other));
    let apart = format!("{head}*{inner}{other_inner}{tail}");
    let shared = (1..=head.len().min(tail.len())).filter_map(|length| {
        let (joint, rest) = tail.split_at_checked(length)?;
        head.ends_with(joint).then(|| format!("{head}{rest}"))
    });
    let both = |name: &String| one.matches(name) && other.matches(name);
    std::iter::once(apart).chain(shared).filter(both).collect()
}

/// What stands between the first and the last star, with a star behind each piece.
fn middle(pattern: &Pattern) -> String {
    let pieces: Vec<&str> = pattern.as_str().split('*').collect();
    let inner = pieces.get(1..pieces.len().saturating_sub(1));
    let inner = inner.unwrap_or_default().iter();
    inner.map(|piece| format!("{piece}*")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_patterns_have_in_common_has_a_name() {
        for (one, other, names) in [
            ("a*", "*b", &["a*b"][..]),
            ("get_*", "*", &["get_*"]),
            ("get_*", "get_is*", &["get_is*"]),
            ("a*", "b*", &[]),
            ("*x*", "a*", &["a*x*"]),
            ("b*", "*b", &["b*b", "b"]),
            ("aba*", "*aba", &["aba*aba", "ababa", "aba"]),
        ] {
            let mut found = meeting(&Pattern::new(one), &Pattern::new(other));
            found.sort_by_key(|name| std::cmp::Reverse(name.len()));
            assert_eq!(found, names, "{one} {other}");
        }
    }

    #[test]
    fn three_patterns_meet_too() {
        let patterns = ["a*", "*b", "*x*"].map(str::to_owned);
        let found = meetings(&BTreeSet::from(patterns));
        assert!(found.contains("a*x*b"), "{found:?}");
    }
}
