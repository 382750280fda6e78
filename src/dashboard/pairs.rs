//! The map of agents and tools: who depends on what.

use std::collections::HashMap;

use crate::audit::Counts;
use crate::audit::filter::Key;
use crate::audit::read::{self, Fresh, Picks, Span};
use crate::db::PageReader;
use crate::types::shown;

use super::chart::{Heat, HeatRow};
use super::failure::Failure;
use super::figures::count;
use super::frame::Link;
use super::who::{Links, keeps};

/// Agents that have a row of their own.
const ROWS: usize = 20;

/// Tools that have a column of their own: as many as can be told apart on a page.
const COLUMNS: usize = 12;

/// Calls of the busiest agents to the busiest tools, and of all others together.
#[derive(Debug, Default)]
pub(super) struct Map {
    agents: Vec<(String, i64)>,
    tools: Vec<((String, String), i64)>,
    /// Agent, server and tool, and how often.
    pairs: Vec<([String; 3], i64)>,
    /// All calls of agents without a row, to any tool; `None` when only some agents are asked for.
    other_agents: Option<i64>,
}

impl Map {
    /// Reads it, of a time, what all agents called in which is known, and of the agents that are asked for.
    pub(super) async fn read(
        db: &mut PageReader,
        fresh: &Fresh,
        (span, counts): (Span, Vec<(String, Counts)>),
        asked: &Picks,
    ) -> Result<Self, Failure> {
        let mut agents = busiest(counts);
        let is_all = *asked == Picks::default();
        agents.retain(|(name, _)| keeps(asked, name));
        let rest = agents.split_off(agents.len().min(ROWS));
        let mut tools = busiest(read::tool_counts_between(db, fresh, span).await?);
        tools.truncate(COLUMNS);
        let names: Vec<&str> = agents.iter().map(|(name, _)| name.as_str()).collect();
        let wanted: Vec<(&str, &str)> = tools
            .iter()
            .map(|((server, tool), _)| (&**server, &**tool))
            .collect();
        let pairs = read::calls_among(db, fresh, (&names, &wanted), span).await?;
        let others = rest
            .iter()
            .map(|(_, calls)| *calls)
            .fold(0, i64::saturating_add);
        Ok(Self {
            other_agents: Some(others).filter(|others| is_all && *others > 0),
            agents,
            tools,
            pairs,
        })
    }

    /// Draws it; nothing when nobody called. `of` says which time it is of, where that is not the time of the page.
    pub(super) fn heat(&self, links: &Links, of: &str) -> Option<Heat> {
        let ([agent, server, tool], most) = self.pairs.first().filter(|(_, calls)| *calls > 0)?;
        let calls: HashMap<(&str, &str, &str), i64> = self
            .pairs
            .iter()
            .map(|([agent, server, tool], calls)| ((&**agent, &**server, &**tool), *calls))
            .collect();
        let agents = self.agents.iter();
        let mut rows: Vec<HeatRow> = agents.map(|agent| self.row(agent, &calls, links)).collect();
        rows.extend(self.other_agents.map(|others| self.others(others)));
        // Without a rest, the column of the rest would be empty.
        let is_rest = |row: &HeatRow| row.cells.last().is_some_and(|(number, _)| *number > 0);
        let has_rest = rows.iter().any(is_rest);
        if !has_rest {
            for row in &mut rows {
                row.cells.pop();
            }
        }
        let columns = self.tools.iter().map(|((server, tool), _)| Link {
            href: links.tool(server, tool),
            text: format!("{} / {}", shown::name(server), shown::name(tool)),
        });
        let columns = columns.chain(has_rest.then(|| plain("all others")));
        let summary = format!(
            "The most: {} called {} / {} {}.{of}",
            shown::name(agent),
            shown::name(server),
            shown::name(tool),
            times(*most)
        );
        let columns = columns.collect();
        Some(Heat::new(
            "Who depends on what",
            summary,
            "Agent",
            columns,
            rows,
        ))
    }

    fn row(
        &self,
        (agent, all): &(String, i64),
        calls: &HashMap<(&str, &str, &str), i64>,
        links: &Links,
    ) -> HeatRow {
        let mut rest = *all;
        let mut cells: Vec<(i64, String)> = Vec::new();
        for ((server, tool), _) in &self.tools {
            let number = calls.get(&(agent, server, tool)).copied().unwrap_or(0);
            rest = rest.saturating_sub(number);
            let which = [
                (Key::Agent, &**agent),
                (Key::Server, server),
                (Key::Tool, tool),
            ];
            let href = (number > 0).then(|| links.calls(&which));
            cells.push((number, href.unwrap_or_default()));
        }
        cells.push((rest.max(0), String::new()));
        HeatRow {
            name: Link {
                href: links.agent(agent),
                text: shown::name(agent).to_string(),
            },
            cells,
        }
    }

    /// What agents without a row of their own called.
    fn others(&self, all: i64) -> HeatRow {
        let mut rest = all;
        let mut cells: Vec<(i64, String)> = Vec::new();
        for ((server, tool), of_tool) in &self.tools {
            let pairs = self
                .pairs
                .iter()
                .filter(|([_, its_server, its_tool], _)| its_server == server && its_tool == tool);
            let shown = pairs.fold(0, |sum: i64, (_, calls)| sum.saturating_add(*calls));
            let number = of_tool.saturating_sub(shown).max(0);
            rest = rest.saturating_sub(number);
            cells.push((number, String::new()));
        }
        cells.push((rest.max(0), String::new()));
        HeatRow {
            name: plain("all others"),
            cells,
        }
    }
}

/// Those that were called, in their order.
fn busiest<K>(counted: Vec<(K, Counts)>) -> Vec<(K, i64)> {
    let counted = counted
        .into_iter()
        .map(|(name, counts)| (name, counts.calls()));
    counted.filter(|(_, calls)| *calls > 0).collect()
}

fn times(number: i64) -> String {
    match number {
        1 => "once".into(),
        number => format!("{} times", count(number)),
    }
}

fn plain(text: &str) -> Link {
    Link {
        href: String::new(),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_of_the_rest_add_up_to_all_calls() {
        let counts = |admitted| Counts {
            admitted,
            ..Counts::default()
        };
        let tool = ("notes".to_owned(), "read".to_owned());
        let map = Map {
            agents: vec![("a".into(), 9)],
            tools: vec![(tool, 10)],
            pairs: vec![(["a", "notes", "read"].map(String::from), 7)],
            other_agents: Some(5),
        };
        let calls = HashMap::from([(("a", "notes", "read"), 7)]);
        let others = map.others(5);
        let cells: Vec<i64> = others.cells.iter().map(|(number, _)| *number).collect();
        assert_eq!(cells, [3, 2]);
        assert_eq!(calls.values().sum::<i64>() + 2 + 3 + 2, 9 + 5);
        assert_eq!(
            busiest(vec![("x", counts(0)), ("y", counts(2))]),
            [("y", 2)]
        );
    }
}
