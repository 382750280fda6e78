//! The map of agents and tools: who depends on what.

use std::collections::HashMap;
use std::hash::Hash;

use crate::audit::filter::Key;
use crate::audit::read::Pair;
use crate::types::shown;

use super::chart::{Heat, HeatRow};
use super::figures::count;
use super::frame::Link;
use super::who::Links;

/// Agents and tools that have a row or a column of their own.
const LARGEST: usize = 20;

/// Draws calls by agent and tool: the busiest of each, and all others together. `of` says which time they are of, where
/// it is not the time of the page.
pub(super) fn heat(pairs: &[Pair], links: &Links, of: &str) -> Option<Heat> {
    let busiest = pairs.first()?;
    let agents = largest(pairs, |pair| pair.agent.as_str());
    let tools = largest(pairs, |pair| (pair.server.as_str(), pair.tool.as_str()));
    let (agent_names, tool_names) = (&agents.0, &tools.0);
    let mut sums: HashMap<(Option<usize>, Option<usize>), i64> = HashMap::new();
    for pair in pairs {
        let agent = agents.1.get(pair.agent.as_str()).copied();
        let tool = tools
            .1
            .get(&(pair.server.as_str(), pair.tool.as_str()))
            .copied();
        let sum = sums.entry((agent, tool)).or_default();
        *sum = sum.saturating_add(pair.counts.calls());
    }
    let sum = |agent, tool| sums.get(&(agent, tool)).copied().unwrap_or(0);
    let others = |known: usize| known.checked_sub(LARGEST).filter(|others| *others > 0);
    let (other_agents, other_tools) = (others(agents.2), others(tools.2));
    let mut rows: Vec<HeatRow> = Vec::new();
    let places = (0..agent_names.len())
        .map(Some)
        .chain(other_agents.map(|_| None));
    for place in places {
        let agent = place.and_then(|place| agent_names.get(place)).copied();
        let cells = tool_names
            .iter()
            .enumerate()
            .map(|(column, (server, tool))| {
                let number = sum(place, Some(column));
                let href = agent.map(|agent| {
                    links.calls(&[
                        (Key::Agent, agent),
                        (Key::Server, server),
                        (Key::Tool, tool),
                    ])
                });
                (number, href.filter(|_| number > 0).unwrap_or_default())
            });
        let rest = other_tools.map(|_| (sum(place, None), String::new()));
        rows.push(HeatRow {
            cells: cells.chain(rest).collect(),
            name: match (agent, other_agents) {
                (Some(agent), _) => link(links.agent(agent), agent),
                (None, others) => plain(others.unwrap_or(0)),
            },
        });
    }
    let columns = tool_names.iter().map(|(server, tool)| Link {
        href: links.tool(server, tool),
        text: format!("{} / {}", shown::name(server), shown::name(tool)),
    });
    let columns = columns.chain(other_tools.map(plain));
    let summary = format!(
        "The most: {} called {} / {} {} times.{of}",
        shown::name(&busiest.agent),
        shown::name(&busiest.server),
        shown::name(&busiest.tool),
        count(busiest.counts.calls())
    );
    Some(Heat::new(
        "Who depends on what",
        summary,
        "Agent",
        columns.collect(),
        rows,
    ))
}

fn link(href: String, name: &str) -> Link {
    Link {
        href,
        text: shown::name(name).to_string(),
    }
}

/// All others together.
fn plain(others: usize) -> Link {
    Link {
        href: String::new(),
        text: format!("{others} other{}", if others == 1 { "" } else { "s" }),
    }
}

/// Those with the most calls in order, the place of each, and how many there are in all.
type Largest<K> = (Vec<K>, HashMap<K, usize>, usize);

fn largest<'a, K: Copy + Hash + Ord>(pairs: &'a [Pair], key: impl Fn(&'a Pair) -> K) -> Largest<K> {
    let mut sums: HashMap<K, i64> = HashMap::new();
    for pair in pairs {
        let sum = sums.entry(key(pair)).or_default();
        *sum = sum.saturating_add(pair.counts.calls());
    }
    let mut sums: Vec<(K, i64)> = sums.into_iter().collect();
    let all = sums.len();
    sums.sort_by(|one, other| (other.1, one.0).cmp(&(one.1, other.0)));
    let names: Vec<K> = sums
        .into_iter()
        .take(LARGEST)
        .map(|(name, _)| name)
        .collect();
    let places = names
        .iter()
        .copied()
        .enumerate()
        .map(|(place, name)| (name, place));
    let places = places.collect();
    (names, places, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Counts;

    #[test]
    fn the_busiest_twenty_come_first_and_ties_go_by_name() {
        let pair = |agent: String, calls| Pair {
            agent,
            server: "notes".into(),
            tool: "read".into(),
            counts: Counts {
                admitted: calls,
                ..Counts::default()
            },
        };
        let mut pairs: Vec<Pair> = (0..22).map(|n| pair(format!("a{n:02}"), 1)).collect();
        pairs.push(pair("a21".into(), 5));
        let (names, places, all) = largest(&pairs, |pair| pair.agent.as_str());
        assert_eq!((all, names.len()), (22, 20));
        assert_eq!(&names[..3], ["a21", "a00", "a01"]);
        assert_eq!((places["a21"], places.get("a20")), (0, None));
    }
}
