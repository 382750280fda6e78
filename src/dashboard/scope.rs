//! Viewers of some agents' calls only (`agents:` of a viewer): which pages they may open, and what is left of a filter.
//! Pure.

use std::collections::BTreeSet;

use crate::audit::filter::{Filter, Key};
use crate::types::AgentName;

use super::filter::VALUES;

/// Agents whose calls alone may be seen.
pub(super) type Only = BTreeSet<AgentName>;

/// Whether a page, by its path without the base, is about no more than the calls of these agents. What is not known to be
/// is not.
pub(super) fn may_open(path: &str, only: &Only) -> bool {
    let fixed = [
        "/calls",
        "/calls.csv",
        "/calls.json",
        "/calls.jsonl",
        "/connect",
        "/help",
        "/openapi.json",
    ];
    let of_agent = path.strip_prefix("/agents/");
    fixed.contains(&path)
        || path.starts_with("/calls/")
        || of_agent.is_some_and(|name| only.iter().any(|agent| agent.as_str() == name))
}

/// The filter with these agents alone; `None` when it asks for nothing that may be seen.
pub(super) fn narrowed(filter: &Filter, only: &Only) -> Option<Filter> {
    if filter.call.is_some() {
        return None;
    }
    let mut filter = filter.clone();
    filter.along.remove(VALUES);
    let is_asked = |filter: &Filter| {
        let mut picks = filter.picks.iter();
        picks.any(|pick| pick.key == Key::Agent && !pick.not)
    };
    if is_asked(&filter) {
        filter.picks.retain(|pick| {
            let is_theirs = only.iter().any(|agent| agent.as_str() == pick.value);
            pick.key != Key::Agent || pick.not || is_theirs
        });
    } else {
        let cursor = filter.cursor;
        let all = only.iter();
        filter = all.fold(filter, |filter, agent| {
            filter.with(Key::Agent, agent.as_str())
        });
        filter = filter.at(cursor);
    }
    is_asked(&filter).then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(names: &[&str]) -> Only {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn pages_about_everybody_stay_closed_whatever_comes_to_be() {
        let only = only(&["ci"]);
        for open in ["/calls", "/calls/tail", "/calls.csv", "/agents/ci", "/help"] {
            assert!(may_open(open, &only), "{open}");
        }
        let closed = crate::dashboard::pages().into_iter().map(|(path, _)| path);
        let closed = closed.filter(|path| !path.starts_with("/calls"));
        let known = ["/connect", "/help", "/openapi.json"];
        for path in closed.filter(|path| !known.contains(path)) {
            assert!(!may_open(path, &only), "{path}");
        }
        for path in ["/agents/clawd", "/agents/ci/more", "/agents.csv", "/new"] {
            assert!(!may_open(path, &only), "{path}");
        }
    }

    #[test]
    fn a_filter_keeps_to_the_agents_that_may_be_seen() {
        let ours = only(&["ci", "clawd"]);
        let of = |words: &[(Key, &str)]| {
            words
                .iter()
                .fold(Filter::default(), |filter, (key, value)| {
                    filter.with(*key, value)
                })
        };
        let table = [
            (of(&[]), Some("?agent=ci&agent=clawd")),
            (of(&[(Key::Agent, "ci")]), Some("?agent=ci")),
            (
                of(&[(Key::Agent, "ci"), (Key::Agent, "other")]),
                Some("?agent=ci"),
            ),
            (of(&[(Key::Agent, "other")]), None),
            (
                of(&[(Key::Tool, "x")]),
                Some("?agent=ci&agent=clawd&tool=x"),
            ),
        ];
        for (filter, expected) in table {
            let left = narrowed(&filter, &ours).map(|filter| filter.to_string());
            assert_eq!(left.as_deref(), expected, "{filter}");
            assert_eq!(narrowed(&filter, &only(&[])), None, "{filter}");
        }
    }
}
