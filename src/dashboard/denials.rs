//! What is refused, and is the policy right? By reason, by agent and tool, and what would allow it.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::filter::{Back, Filter, Key, Period};
use crate::audit::read::{self, By, Fresh, NewestRefusals, Of, OneRefusal, Span};
use crate::types::{Timestamp, shown};

use super::BASE;
use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filter::encode;
use super::filters::{self, Filters, Offer};
use super::frame::{Frame, Link};
use super::reasons::meaning;
use super::twins::{self, Datum, Table, Twin};
use super::visit::{Visit, reading};

mod advice;

use advice::{Advice, Asked, advise};

/// Rows of the table by agent and tool.
const ROWS: usize = 100;

/// Different tools that one agent was refused before it counts as probing.
const PROBING: usize = 5;

/// Rows of the small tables.
const FEW: usize = 8;

const OFFER: Offer = Offer {
    keys: &[Key::Agent, Key::Server, Key::Tool, Key::Reason],
    ranges: filters::LONG,
    default: Period::Last(Back::MONTH),
};

/// `GET /denials`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let found = find(&visit).await?;
    let (watch, links) = (visit.watch(), Links::of(&visit));
    let rows = found.groups.iter().take(ROWS);
    Ok(html(&Denials {
        frame: visit.frame("denials"),
        filters: Filters::new(&visit, OFFER),
        lead: lead(&found),
        is_empty: found.groups.is_empty() && found.total == 0,
        is_filtered: !visit.filter.picks.is_empty(),
        looked_at: count(i64::try_from(read::REFUSALS).unwrap_or(i64::MAX)),
        cut_at: found.cut_at.map(|at| watch.tell(at).line()),
        missing: found.is_missing,
        reasons: reasons(&found, &links),
        probing: probing(&found.groups, &links, watch),
        spent: spent(&found.groups, &links, watch),
        more: found.groups.len().saturating_sub(ROWS),
        rows: rows
            .zip(0_usize..)
            .map(|(group, at)| row(group, at, &visit, &links))
            .collect(),
        all: links.calls(&links.filter),
        twins: twins::of(&visit),
    }))
}

/// The rows of the table, for its twins.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let found = find(&visit).await?;
        let rows = found.groups.iter().map(|group| {
            let text = |text: &Option<String>| Datum::some_text(text.as_deref());
            let advice = group.advise(&visit);
            vec![
                text(&group.agent),
                text(&group.server),
                text(&group.tool),
                Datum::text(&group.reason),
                Datum::Number(group.times),
                Datum::Time(group.first),
                Datum::Time(group.last),
                Datum::some_text(advice.as_ref().map(|advice| advice.words.as_str())),
            ]
        });
        Ok(Table {
            columns: &[
                "agent",
                "server",
                "tool",
                "reason",
                "times",
                "first_seen",
                "last_seen",
                "what_would_allow_it",
            ],
            rows: rows.collect(),
        })
    }
    .boxed()
}

#[derive(Debug, Template)]
#[template(path = "denials.html", whitespace = "minimize")]
struct Denials {
    frame: Frame,
    filters: Filters,
    lead: String,
    is_empty: bool,
    is_filtered: bool,
    looked_at: String,
    /// Since when the tables by agent are made, when not all could be looked at.
    cut_at: Option<String>,
    /// Whether sums are still being built.
    missing: bool,
    reasons: Vec<Reason>,
    probing: Vec<Suspect>,
    spent: Vec<Suspect>,
    rows: Vec<Row>,
    more: usize,
    all: String,
    twins: Vec<Twin>,
}

#[derive(Debug)]
struct Reason {
    code: Link,
    means: &'static str,
    times: String,
    /// Of a bar 100 units wide.
    width: i64,
}

/// An agent that stands out.
#[derive(Debug)]
struct Suspect {
    agent: Link,
    tools: usize,
    times: Link,
    last: When,
}

#[derive(Debug)]
struct Row {
    agent: Option<Link>,
    server: Option<Link>,
    tool: Link,
    reason: Link,
    times: String,
    first: When,
    last: When,
    advice: Option<Advice>,
    /// The name of its snippet on the page.
    id: String,
}

/// Refusals of one agent at one tool for one reason.
#[derive(Debug)]
struct Group {
    agent: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    reason: String,
    times: i64,
    first: Timestamp,
    last: Timestamp,
}

impl Group {
    fn advise(&self, visit: &Visit) -> Option<Advice> {
        let asked = Asked {
            agent: self.agent.as_deref()?,
            server: self.server.as_deref()?,
            tool: self.tool.as_deref(),
            reason: &self.reason,
        };
        advise(&visit.permissions, asked, visit.now)
    }
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    total: i64,
    by_reason: Vec<(String, i64)>,
    /// The most frequent first.
    groups: Vec<Group>,
    cut_at: Option<Timestamp>,
    is_missing: bool,
}

async fn find(visit: &Visit) -> Result<Found, Failure> {
    let stretch = visit.stretch(Back::MONTH);
    let span = Span::new(stretch.from, stretch.to);
    let filter = &visit.filter;
    let names = [Key::Agent, Key::Server, Key::Tool];
    let is_about_names = filter.picks.iter().any(|pick| names.contains(&pick.key));
    let by = if is_about_names {
        By::Pairs
    } else {
        By::Nothing
    };
    reading(visit, async |db| {
        let newest = read::newest_refusals(db, (span.from(), span.to())).await?;
        let (sums, is_missing) = match read::extent(db).await? {
            None => (Vec::new(), false),
            Some(extent) => {
                let fresh = Fresh::load(db, extent).await?;
                let sums = read::refusals_between(db, &fresh, span, (Of::All, by)).await?;
                (sums, fresh.missing().is_some())
            }
        };
        let names_tools = filter.picks.iter().any(|pick| pick.key == Key::Tool);
        let mut found = grouped(newest, filter);
        found.is_missing = is_missing;
        let mut by_reason = BTreeMap::<String, i64>::new();
        let mut add = |reason: &str, times: i64| {
            let sum = by_reason.entry(reason.into()).or_default();
            *sum = sum.saturating_add(times);
        };
        if names_tools || found.cut_at.is_none() {
            // No sum names a tool that was only ever refused.
            found
                .groups
                .iter()
                .for_each(|group| add(&group.reason, group.times));
        } else {
            let names = |of: &read::Refused| {
                fits(
                    filter,
                    [
                        of.agent.as_deref(),
                        of.server.as_deref(),
                        of.tool.as_deref(),
                    ],
                    &of.reason,
                )
            };
            let sums = sums.iter().filter(|of| names(of));
            sums.for_each(|of| add(&of.reason, of.times));
        }
        found.total = by_reason
            .values()
            .fold(0, |sum, times| sum.saturating_add(*times));
        found.by_reason = by_reason.into_iter().collect();
        found
            .by_reason
            .sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        Ok(found)
    })
    .await
}

fn fits(filter: &Filter, [agent, server, tool]: [Option<&str>; 3], reason: &str) -> bool {
    let fits = |key, value| filter.fits(key, value);
    fits(Key::Agent, agent)
        && fits(Key::Server, server)
        && fits(Key::Tool, tool)
        && fits(Key::Reason, Some(reason))
}

/// Puts refusals together that are alike, the most frequent first.
fn grouped(newest: NewestRefusals, filter: &Filter) -> Found {
    type Alike = (Option<String>, Option<String>, Option<String>, String);
    let mut groups = BTreeMap::<Alike, Group>::new();
    let is_meant = |one: &OneRefusal| {
        let names = [
            one.agent.as_deref(),
            one.server.as_deref(),
            one.tool.as_deref(),
        ];
        fits(filter, names, &one.reason)
    };
    for one in newest.rows.into_iter().filter(is_meant) {
        let alike = (one.agent, one.server, one.tool, one.reason);
        let group = groups.entry(alike.clone()).or_insert_with(|| Group {
            agent: alike.0,
            server: alike.1,
            tool: alike.2,
            reason: alike.3,
            times: 0,
            first: one.at,
            last: one.at,
        });
        group.times = group.times.saturating_add(one.times);
        group.first = group.first.min(one.at);
        group.last = group.last.max(one.at);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse((group.times, group.last)));
    Found {
        groups,
        cut_at: newest.cut_at,
        ..Found::default()
    }
}

/// Addresses of lists of calls, with what is in force.
struct Links {
    filter: Filter,
    /// Only the time, for pages about one name.
    time: Filter,
}

impl Links {
    fn of(visit: &Visit) -> Self {
        let filter = &visit.filter;
        let period = match filter.period {
            Period::Ever => OFFER.default,
            period @ (Period::Last(_) | Period::Between { .. }) => period,
        };
        let mut filter = filter.during(period);
        filter.picks.retain(|pick| pick.key != Key::Decision);
        Self {
            time: filter.time_only(),
            filter: filter.with(Key::Decision, "denied"),
        }
    }

    fn calls(&self, filter: &Filter) -> String {
        format!("{BASE}/calls{filter}")
    }

    /// Refused calls of these names only, whatever names are in force.
    fn to(&self, names: &[(Key, Option<&str>)]) -> String {
        let mut filter = self.filter.clone();
        for (key, value) in names {
            if let Some(value) = value {
                filter.picks.retain(|pick| pick.key != *key);
                filter = filter.with(*key, value);
            }
        }
        self.calls(&filter)
    }

    /// The page about an agent or a server.
    fn about(&self, what: &str, name: &str) -> Link {
        Link {
            href: format!("{BASE}/{what}/{}{}", encode(name), self.time),
            text: shown::name(name).to_string(),
        }
    }

    fn link(&self, key: Key, value: &str) -> Link {
        Link {
            href: self.to(&[(key, Some(value))]),
            text: shown::name(value).to_string(),
        }
    }
}

fn lead(found: &Found) -> String {
    let Some((most, times)) = found.by_reason.first() else {
        return "No call was refused in this time.".into();
    };
    let (calls, were) = if found.total == 1 {
        ("call", "was")
    } else {
        ("calls", "were")
    };
    let because = match found.by_reason.len() {
        1 => format!("because of {}", shown::name(most)),
        reasons => format!(
            "for {reasons} reasons, most often {} ({})",
            shown::name(most),
            count(*times)
        ),
    };
    format!(
        "{} {calls} {were} refused in this time, {because}.",
        count(found.total)
    )
}

fn reasons(found: &Found, links: &Links) -> Vec<Reason> {
    let most = found
        .by_reason
        .first()
        .map_or(1, |(_, times)| *times)
        .max(1);
    let reasons = found.by_reason.iter().map(|(reason, times)| Reason {
        code: links.link(Key::Reason, reason),
        means: meaning(reason).map_or("", |(_, means)| means),
        times: count(*times),
        width: times.saturating_mul(100).checked_div(most).unwrap_or(0),
    });
    reasons.collect()
}

/// Reasons for which an agent that tries names is refused.
const TRIED: [&str; 4] = [
    "not_granted",
    "denied_rule",
    "unknown_server",
    "unknown_target",
];

/// Agents that were refused many different tools: they try what there is.
fn probing(groups: &[Group], links: &Links, watch: Watch<'_>) -> Vec<Suspect> {
    let tried = groups
        .iter()
        .filter(|group| TRIED.contains(&group.reason.as_str()));
    let mut suspects = by_agent(tried, links, watch);
    suspects.retain(|suspect| suspect.tools >= PROBING);
    suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.tools));
    suspects.truncate(FEW);
    suspects
}

/// Agents that used a budget up: they may do what they do, and did it too often.
fn spent(groups: &[Group], links: &Links, watch: Watch<'_>) -> Vec<Suspect> {
    let spent = groups.iter().filter(|group| group.reason == "budget");
    let mut suspects = by_agent(spent, links, watch);
    suspects.truncate(FEW);
    suspects
}

/// In the order in which the agents come first.
fn by_agent<'a>(
    groups: impl Iterator<Item = &'a Group>,
    links: &Links,
    watch: Watch<'_>,
) -> Vec<Suspect> {
    let mut agents: Vec<(&str, &str, Vec<&Group>)> = Vec::new();
    for group in groups {
        let Some(agent) = group.agent.as_deref() else {
            continue;
        };
        match agents.iter_mut().find(|(name, _, _)| *name == agent) {
            Some((_, _, its)) => its.push(group),
            None => agents.push((agent, &group.reason, vec![group])),
        }
    }
    let suspects = agents.into_iter().map(|(agent, reason, groups)| {
        let is_one = groups.iter().all(|group| group.reason == reason);
        let names = [
            (Key::Agent, Some(agent)),
            (Key::Reason, Some(reason).filter(|_| is_one)),
        ];
        let times = groups
            .iter()
            .fold(0_i64, |sum, group| sum.saturating_add(group.times));
        let last = groups
            .iter()
            .map(|group| group.last)
            .max()
            .unwrap_or_default();
        Suspect {
            agent: links.about("agents", agent),
            tools: groups.len(),
            times: Link {
                href: links.to(&names),
                text: count(times),
            },
            last: watch.tell(last),
        }
    });
    suspects.collect()
}

fn row(group: &Group, at: usize, visit: &Visit, links: &Links) -> Row {
    let about = |what, name: &Option<String>| name.as_deref().map(|name| links.about(what, name));
    let all = [
        (Key::Agent, group.agent.as_deref()),
        (Key::Server, group.server.as_deref()),
        (Key::Tool, group.tool.as_deref()),
        (Key::Reason, Some(group.reason.as_str())),
    ];
    let watch = visit.watch();
    Row {
        agent: about("agents", &group.agent),
        server: about("servers", &group.server),
        tool: Link {
            href: links.to(&all),
            text: group
                .tool
                .as_deref()
                .map_or_else(|| "no tool".into(), |tool| shown::name(tool).to_string()),
        },
        reason: links.link(Key::Reason, &group.reason),
        times: count(group.times),
        first: watch.tell(group.first),
        last: watch.tell(group.last),
        advice: group.advise(visit),
        id: format!("rule-{at}"),
    }
}
