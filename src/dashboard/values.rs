//! The values there are to choose from in the list of calls, each with how often it stands in the log.

use crate::audit::filter::{Filter, Key};
use crate::audit::read::{
    By, Fresh, Of, Span, agents_between, extent, refusals_between, series_all, tool_counts_between,
};
use crate::db::PageReader;
use crate::types::shown;

use super::call_row::relative;
use super::failure::Failure;
use super::figures::count;
use super::frame::Link;
use super::visit::Stretch;

/// Values of one kind.
const MOST: usize = 12;

/// What was counted in some time, without the filters in force.
#[derive(Debug)]
pub(super) struct Values {
    agents: Vec<(String, i64)>,
    servers: Vec<(String, i64)>,
    tools: Vec<(String, i64)>,
    decisions: Vec<(String, i64)>,
    reasons: Vec<(String, i64)>,
}

/// The values of one kind, the most frequent first.
#[derive(Debug)]
pub(super) struct ValueList {
    pub(super) name: &'static str,
    pub(super) values: Vec<(Link, String)>,
    /// How many more there are.
    pub(super) more: usize,
}

impl Values {
    /// Counts a stretch of time.
    pub(super) async fn read(db: &mut PageReader, stretch: Stretch) -> Result<Self, Failure> {
        let fresh = match extent(db).await? {
            Some(extent) => Fresh::load(db, extent).await?,
            None => Fresh::default(),
        };
        let span = Span::new(stretch.from, stretch.to);
        let agents = agents_between(db, &fresh, span).await?;
        let tools = tool_counts_between(db, &fresh, span).await?;
        let refusals = refusals_between(db, &fresh, span, (Of::All, By::Nothing)).await?;
        let all = series_all(db, &fresh, &[span.from(), span.to()]).await?;
        let all = all.first().copied().unwrap_or_default();
        let servers = tools
            .iter()
            .map(|((server, _), counts)| (server.clone(), counts.calls()));
        let reasons = refusals
            .iter()
            .map(|refused| (refused.reason.clone(), refused.times));
        let decisions = [
            ("denied", all.refused),
            ("ok", all.ok),
            ("error", all.errors),
            ("failed", all.failed),
            ("released", all.released),
            ("abandoned", all.abandoned),
        ];
        let tools_counted = tools
            .iter()
            .map(|((_, tool), counts)| (tool.clone(), counts.calls()));
        Ok(Self {
            servers: added(servers),
            reasons: added(reasons),
            tools: added(tools_counted),
            agents: added(
                agents
                    .into_iter()
                    .map(|(name, counts)| (name, counts.calls())),
            ),
            decisions: added(
                decisions
                    .map(|(word, times)| (word.to_owned(), times))
                    .into_iter(),
            ),
        })
    }

    /// The lists, with links that add to the filter in force.
    pub(super) fn lists(&self, filter: &Filter) -> Vec<ValueList> {
        let kinds = [
            ("Agents", Key::Agent, &self.agents),
            ("Servers", Key::Server, &self.servers),
            ("Tools", Key::Tool, &self.tools),
            ("Decisions", Key::Decision, &self.decisions),
            ("Reasons", Key::Reason, &self.reasons),
        ];
        let lists = kinds.into_iter().map(|(name, key, values)| ValueList {
            name,
            values: values
                .iter()
                .take(MOST)
                .map(|(value, times)| {
                    let link = Link {
                        href: relative(&filter.with(key, value)),
                        text: shown::name(value).to_string(),
                    };
                    (link, count(*times))
                })
                .collect(),
            more: values.len().saturating_sub(MOST),
        });
        lists.filter(|list| !list.values.is_empty()).collect()
    }
}

/// Values with the same name added up, the most frequent first; what never happened is left out.
fn added(values: impl Iterator<Item = (String, i64)>) -> Vec<(String, i64)> {
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    for (value, times) in values {
        let sum = sums.entry(value).or_default();
        *sum = sum.saturating_add(times);
    }
    let mut sums: Vec<_> = sums.into_iter().filter(|(_, times)| *times > 0).collect();
    sums.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    sums
}
