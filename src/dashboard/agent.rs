//! What may an agent do, and what did it do?

mod days;
mod grants;
mod limits;

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::Counts;
use crate::audit::filter::{Back, Filter, Key, Period};
use crate::audit::read::{self, By, CallRow, Of, Refused, Span, Spent, ToolDay};
use crate::budget::{CountAt, counts_at};
use crate::db::PageReader;
use crate::policy::{Agent, Token};
use crate::types::{AgentName, Timestamp, shown};

use super::chart::{Calendar, Stack};
use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filters::{self, Filters, Offer};
use super::frame::{Frame, Link};
use super::slices::Slices;
use super::visit::Visit;
use super::who::{self, Links, Number, Tag, calls_word, in_time, things};

use days::Days;
use grants::{Denied, Granted};
use limits::Limited;

/// The newest refusals that are shown.
const REFUSALS: usize = 8;
/// Tools that are shown, the busiest ones.
const TOOLS: usize = 25;

/// `GET /agents/{name}`.
pub(super) async fn page(Path(name): Path<String>, visit: Visit) -> Result<Response, Failure> {
    let links = Links::new(&visit);
    let times = Times::of(&visit);
    let found =
        who::at_one_moment(&visit, async |db| gather(db, &visit, &name, &times).await).await?;
    let permissions = &visit.permissions;
    let agent = name
        .parse::<AgentName>()
        .ok()
        .and_then(|name| permissions.agents().get(&name));
    let agent = agent.map(|agent| &**agent);
    if agent.is_none() && found.seen.is_none() {
        let known = permissions.agents().keys().map(AgentName::as_str);
        let known = known.chain(found.names.iter().map(String::as_str));
        return Ok(who::nobody(
            &visit,
            ("agents", "agent"),
            &name,
            known,
            |name| links.agent(name),
        ));
    }
    Ok(html(&view(&visit, &links, &name, agent, &times, &found)))
}

/// The longest time of which is told what an agent called on which day.
const BY_DAY: Back = Back::days(93);

/// The times the page is about.
#[derive(Debug)]
struct Times {
    span: Span,
    slices: Slices,
    days: Days,
}

impl Times {
    fn of(visit: &Visit) -> Self {
        let stretch = visit.stretch(Back::MONTH);
        Self {
            span: Span::new(stretch.from, stretch.to),
            slices: Slices::of(stretch, &visit.zone),
            days: Days::until(visit.now, &visit.zone),
        }
    }
}

impl Times {
    /// The part of the time of which is told what it called on which day.
    fn recent(&self) -> Span {
        let (from, to) = (self.span.from(), self.span.to());
        Span::new(BY_DAY.before(to).max(from), to)
    }
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    /// All agents of the log.
    names: Vec<String>,
    seen: Option<Timestamp>,
    counts: Counts,
    series: Vec<Counts>,
    by_day: Vec<Counts>,
    tool_days: Vec<ToolDay>,
    spent: Vec<Spent>,
    refused: Vec<Refused>,
    refusals: Vec<CallRow>,
    budgets: Vec<CountAt>,
}

async fn gather(
    db: &mut PageReader,
    visit: &Visit,
    name: &str,
    times: &Times,
) -> Result<Found, Failure> {
    let fresh = who::fresh(db).await?;
    let seen = read::agents_last_seen(db, &fresh).await?;
    let agents = read::agents_between(db, &fresh, times.span).await?;
    let counts = agents.into_iter().find(|(agent, _)| agent == name);
    let denied = Filter::just(Key::Agent, name).with(Key::Decision, "denied");
    let denied = denied.during(who::period(visit)).wanted(visit.now);
    let asked = (Of::Agent(name), By::Pairs);
    let spent = read::spend_between(db, &fresh, times.span, asked).await?;
    let refused = read::refusals_between(db, &fresh, times.span, asked).await?;
    Ok(Found {
        seen: seen
            .iter()
            .find(|(agent, _)| agent == name)
            .map(|(_, at)| *at),
        names: seen.into_iter().map(|(agent, _)| agent).collect(),
        counts: counts.map(|(_, counts)| counts).unwrap_or_default(),
        series: read::series_agent(db, &fresh, name, &times.slices.edges).await?,
        by_day: read::series_agent(db, &fresh, name, &times.days.edges).await?,
        tool_days: read::agent_tool_days(db, &fresh, name, times.recent()).await?,
        spent,
        refusals: if refused.is_empty() {
            Vec::new()
        } else {
            read::calls(db, &denied).await?.rows
        },
        refused,
        budgets: counts_at(db, visit.now).await?,
    })
}

#[derive(Debug, Template)]
#[template(path = "agent.html", whitespace = "minimize")]
struct OneAgent {
    frame: Frame,
    filters: Filters,
    name: String,
    tags: Vec<Tag>,
    description: String,
    lead: String,
    all: String,
    owner: String,
    seen: Option<When>,
    numbers: [Number; 3],
    spend: String,
    place: String,
    is_known: bool,
    off_note: String,
    chart: Stack,
    calendar: Calendar,
    granted: Vec<Granted>,
    denied: Vec<Denied>,
    budgets: Vec<Limited>,
    tools: Vec<Used>,
    more_tools: Option<String>,
    reasons: Vec<(String, Number)>,
    refusals: Vec<Refusal>,
    all_refusals: String,
    tokens: Vec<OneToken>,
}

/// A tool that was called.
#[derive(Debug)]
struct Used {
    server: Link,
    tool: Link,
    numbers: [Number; 3],
    last: String,
}

#[derive(Debug)]
struct Refusal {
    when: When,
    target: String,
    reason: String,
    message: String,
    href: Option<String>,
}

#[derive(Debug)]
struct OneToken {
    fingerprint: String,
    label: String,
    ends: String,
    has_ended: bool,
    line: u32,
}

fn view(
    visit: &Visit,
    links: &Links,
    name: &str,
    agent: Option<&Agent>,
    times: &Times,
    found: &Found,
) -> OneAgent {
    let watch = visit.watch();
    let offer = Offer {
        keys: &[],
        ranges: filters::LONG,
        default: Period::Last(Back::MONTH),
    };
    let granted = agent.map(|agent| grants::granted(visit, agent, &found.tool_days, times.span));
    let granted = granted.unwrap_or_default();
    let href = |period| links.calls_during(period, &[(Key::Agent, name)]);
    let (tools, more) = tools(name, &found.tool_days, links);
    let text = |text: Option<&String>| {
        text.map(|text| shown::sentence(text).to_string())
            .unwrap_or_default()
    };
    let disabled = agent.and_then(|agent| agent.disabled.as_ref());
    OneAgent {
        frame: visit.frame("agents"),
        filters: Filters::new(visit, offer),
        name: shown::name(name).to_string(),
        tags: tags(agent),
        description: text(agent.and_then(|agent| agent.description.as_ref())),
        lead: lead(
            &found.counts,
            &granted,
            &in_time(visit),
            times.recent() != times.span,
        ),
        all: links.list("agents"),
        owner: text(agent.and_then(|agent| agent.owner.as_ref())),
        seen: found.seen.map(|at| watch.tell_last(at)),
        numbers: links.numbers(&found.counts, &[(Key::Agent, name)]),
        spend: who::spent(found.spent.iter()),
        place: agent
            .map(|agent| format!("{}, line {}", agent.place.path, agent.place.line))
            .unwrap_or_default(),
        is_known: agent.is_some(),
        off_note: text(disabled.and_then(|off| off.note.as_ref())),
        chart: times.slices.stack(&found.series, watch, href),
        calendar: times.days.calendar(&found.by_day, watch, href),
        granted,
        denied: agent
            .map(|agent| grants::denied(visit, agent))
            .unwrap_or_default(),
        budgets: agent
            .map(|agent| limits::limited(visit, agent, &found.budgets))
            .unwrap_or_default(),
        tools,
        more_tools: more,
        reasons: reasons(name, &found.refused, links),
        refusals: found
            .refusals
            .iter()
            .take(REFUSALS)
            .map(|row| refusal(row, links, watch))
            .collect(),
        all_refusals: links.calls(&[(Key::Agent, name), (Key::Decision, "denied")]),
        tokens: agent
            .map(|agent| tokens(&agent.tokens, watch))
            .unwrap_or_default(),
    }
}

fn tags(agent: Option<&Agent>) -> Vec<Tag> {
    let Some(agent) = agent else {
        return vec![Tag {
            text: "not in the rules",
            class: "",
        }];
    };
    let off = agent.disabled.as_ref().map(|_| Tag {
        text: "switched off",
        class: "bad",
    });
    off.into_iter().collect()
}

fn lead(counts: &Counts, granted: &[Granted], time: &str, is_cut: bool) -> String {
    let lately = if is_cut { " in its last 93 days" } else { "" };
    let unused = granted.iter().filter(|grant| grant.calls == 0).count();
    let did = match (counts.calls(), counts.refused) {
        (0, _) => format!("It made no call {time}."),
        (calls, 0) => format!("It made {} {time}; none was refused.", calls_word(calls)),
        (calls, refused) => format!(
            "It made {} {time}; {} refused.",
            calls_word(calls),
            if refused == 1 {
                "1 was".into()
            } else {
                format!("{} were", count(refused))
            }
        ),
    };
    match (granted.len(), unused) {
        (0, _) => did,
        (all, 0) => format!(
            "{did} It used each of its {}{lately}.",
            things(all, "grant", "grants")
        ),
        (all, unused) => format!(
            "{did} Of its {}, {unused} let nothing through{lately}.",
            things(all, "grant", "grants")
        ),
    }
}

/// The busiest tools, and how many more there are.
fn tools(name: &str, days: &[ToolDay], links: &Links) -> (Vec<Used>, Option<String>) {
    let mut sums: BTreeMap<(&str, &str), (Counts, Timestamp)> = BTreeMap::new();
    for day in days {
        let sum = sums.entry((&day.server, &day.tool)).or_default();
        sum.0.add(&day.counts);
        sum.1 = sum.1.max(day.day);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (counts, _))| std::cmp::Reverse(counts.calls()));
    let more = sums.len().saturating_sub(TOOLS);
    let used = sums
        .into_iter()
        .take(TOOLS)
        .map(|((server, tool), (counts, last))| Used {
            server: Link {
                href: links.server(server),
                text: shown::name(server).to_string(),
            },
            tool: Link {
                href: links.tool(server, tool),
                text: shown::name(tool).to_string(),
            },
            numbers: links.numbers(
                &counts,
                &[(Key::Agent, name), (Key::Server, server), (Key::Tool, tool)],
            ),
            last: days::of_utc(last),
        });
    let more = (more > 0).then(|| things(more, "tool", "tools"));
    (used.collect(), more)
}

fn reasons(name: &str, refused: &[Refused], links: &Links) -> Vec<(String, Number)> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for one in refused {
        let sum = sums.entry(&one.reason).or_default();
        *sum = sum.saturating_add(one.times);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let reasons = sums.into_iter().map(|(reason, times)| {
        let href = links.calls(&[(Key::Agent, name), (Key::Reason, reason)]);
        (shown::name(reason).to_string(), Number::new(times, href))
    });
    reasons.collect()
}

fn refusal(row: &CallRow, links: &Links, watch: Watch<'_>) -> Refusal {
    let opening = &row.opening;
    let target = opening.tool.as_deref().or(opening.target.as_deref());
    let names = [
        opening.server.as_deref(),
        target.or(opening.method.as_deref()),
    ];
    let names = names
        .into_iter()
        .flatten()
        .map(|name| shown::name(name).to_string());
    let message = opening.message.as_deref();
    let reason = opening.reason.as_deref().unwrap_or_default();
    let times = opening.count.filter(|times| *times > 1);
    Refusal {
        when: watch.tell(row.at),
        target: names.collect::<Vec<_>>().join(" / "),
        reason: match times {
            Some(times) => format!("{}, {times} times", shown::name(reason)),
            None => shown::name(reason).to_string(),
        },
        message: message
            .map(|text| shown::sentence(text).to_string())
            .unwrap_or_default(),
        href: row.call.map(|call| links.one_call(call)),
    }
}

fn tokens(tokens: &[Token], watch: Watch<'_>) -> Vec<OneToken> {
    let tokens = tokens.iter().map(|token| OneToken {
        fingerprint: token.hash.fingerprint().to_string(),
        label: token
            .label
            .as_deref()
            .map(|label| shown::name(label).to_string())
            .unwrap_or_default(),
        ends: token
            .expires
            .map_or("never".into(), |end| watch.tell_minutes(end).line()),
        has_ended: token.expires.is_some_and(|end| end <= watch.now),
        line: token.place.line,
    });
    tokens.collect()
}
