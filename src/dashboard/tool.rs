//! Who uses a tool, who may, how well does it work, and is it what it was?

mod access;
mod definition;

use std::collections::{BTreeMap, HashMap};

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::filter::{Back, Key, Period};
use crate::audit::read::{self, By, DefinitionRow, DefinitionSaid, Of, Refused, Span, Took};
use crate::audit::{Counts, Histogram};
use crate::db::PageReader;
use crate::types::{Timestamp, shown};

use super::changes::{Change, changes};
use super::chart::{Lines, Stack};
use super::failure::{Failure, html};
use super::figures::{self, When, size};
use super::filters::{self, Filters, Offer};
use super::frame::{Frame, Link};
use super::latency::{self, Class};
use super::slices::Slices;
use super::visit::Visit;
use super::who::{self, Links, Number, Tag, in_time, percent, percentiles, things};

use access::{May, Pin};
use definition::{Differs, Said};

/// Changes of the definition that are shown, the newest ones.
const CHANGES: usize = 50;
/// Agents that are shown, the busiest ones.
const AGENTS: usize = 12;

/// `GET /servers/{name}/tools/{tool}`.
pub(super) async fn page(
    Path((server, tool)): Path<(String, String)>,
    visit: Visit,
) -> Result<Response, Failure> {
    let links = Links::new(&visit);
    let stretch = visit.stretch(Back::MONTH);
    let span = Span::new(stretch.from, stretch.to);
    let slices = Slices::of(stretch, &visit.zone);
    let asked = (server.as_str(), tool.as_str());
    let found =
        who::at_one_moment(&visit, async |db| gather(db, asked, span, &slices).await).await?;
    let mut definitions = found.definitions.clone();
    definitions.retain(|row| row.tool == tool);
    let names = access::named(&visit.permissions, &server);
    if found.seen.is_none() && definitions.is_empty() && !names.contains(&tool) {
        let listed = found.definitions.iter().map(|row| row.tool.as_str());
        let known = found.names.iter().map(String::as_str).chain(listed);
        let known = known.chain(names.iter().map(String::as_str));
        let href = |name: &str| links.tool(&server, name);
        return Ok(who::nobody(&visit, ("servers", "tool"), &tool, known, href));
    }
    Ok(html(&view(
        &visit,
        &links,
        asked,
        &found,
        &definitions,
        (span, &slices),
    )))
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    /// All tools of the server that were called.
    names: Vec<String>,
    seen: Option<Timestamp>,
    series: Vec<Counts>,
    days: Vec<(Timestamp, Took)>,
    agents: Vec<(String, Counts)>,
    refused: Vec<Refused>,
    /// Of all tools of the server.
    definitions: Vec<DefinitionRow>,
    /// What those of this tool say, by their hashes.
    texts: HashMap<String, DefinitionSaid>,
}

async fn gather(
    db: &mut PageReader,
    (server, tool): (&str, &str),
    span: Span,
    slices: &Slices,
) -> Result<Found, Failure> {
    let fresh = who::fresh(db).await?;
    let mut seen = read::tools_last_seen(db, &fresh).await?;
    seen.retain(|((its, _), _)| its == server);
    let asked = (Of::Tool(server, tool), By::Pairs);
    let refused = read::refusals_between(db, &fresh, span, asked).await?;
    let definitions = read::definition_rows(db, Some(server)).await?;
    let mut own = definitions.clone();
    own.retain(|row| row.tool == tool);
    Ok(Found {
        texts: read::definition_texts(db, &definition::shown_hashes(&own)).await?,
        definitions,
        seen: seen
            .iter()
            .find(|((_, its), _)| its == tool)
            .map(|(_, at)| *at),
        names: seen.into_iter().map(|((_, its), _)| its).collect(),
        series: read::series_tool(db, &fresh, (server, Some(tool)), &slices.edges).await?,
        days: read::latency_by_day(db, &fresh, (server, Some(tool)), span).await?,
        agents: read::tool_agents_between(db, &fresh, (server, tool), span).await?,
        refused,
    })
}

#[derive(Debug, Template)]
#[template(path = "tool.html", whitespace = "minimize")]
struct OneTool {
    frame: Frame,
    filters: Filters,
    name: String,
    server: Link,
    all: String,
    tags: Vec<Tag>,
    is_server_known: bool,
    lead: String,
    seen: Option<When>,
    numbers: [Number; 3],
    took: [String; 3],
    asked: String,
    answered: String,
    pin: Pin,
    chart: Stack,
    latency: Option<Lines>,
    classes: Vec<Class>,
    may: Vec<May>,
    did: Vec<Did>,
    /// How many called less often, and all calls.
    more: Option<Link>,
    ends: Vec<End>,
    reasons: Vec<(String, Number)>,
    said: Vec<Said>,
    differences: Vec<Differs>,
    changes: Vec<Change>,
}

/// An agent that called.
#[derive(Debug)]
struct Did {
    agent: Link,
    numbers: [Number; 3],
    share: String,
    average: String,
}

/// A way for calls to end.
#[derive(Debug)]
struct End {
    class: &'static str,
    name: &'static str,
    what: &'static str,
    number: Number,
    share: String,
}

fn view(
    visit: &Visit,
    links: &Links,
    (server, tool): (&str, &str),
    found: &Found,
    definitions: &[DefinitionRow],
    (span, slices): (Span, &Slices),
) -> OneTool {
    let watch = visit.watch();
    let which = [(Key::Server, server), (Key::Tool, tool)];
    let mut counts = Counts::default();
    for (_, more) in &found.agents {
        counts.add(more);
    }
    let mut took = Took::default();
    for (_, day) in &found.days {
        took.times.add(&day.times);
        took.bytes_in = took.bytes_in.saturating_add(day.bytes_in);
        took.bytes_out = took.bytes_out.saturating_add(day.bytes_out);
    }
    let offer = Offer {
        keys: &[Key::Agent],
        ranges: filters::LONG,
        default: Period::Last(Back::MONTH),
    };
    let asked = visit.filter.wanted(visit.now).agents;
    let agents = found.agents.iter();
    let agents = agents.filter(|(name, counts)| who::keeps(&asked, name) && counts.calls() > 0);
    let more = agents.clone().count().saturating_sub(AGENTS);
    let agents = agents
        .take(AGENTS)
        .map(|(name, of_agent)| did(name, of_agent, &counts, &which, links));
    let rule = super::server::rule(&visit.permissions, server);
    let bytes = |bytes: i64| size(u64::try_from(bytes).unwrap_or(0));
    OneTool {
        frame: visit.frame("servers"),
        filters: Filters::new(visit, offer),
        name: shown::name(tool).to_string(),
        server: Link {
            href: links.server(server),
            text: shown::name(server).to_string(),
        },
        all: links.list("servers"),
        tags: super::servers::tags(rule)
            .into_iter()
            .filter(|_| rule.is_some())
            .collect(),
        is_server_known: rule.is_some(),
        lead: lead(&counts, &took.times, found.agents.len(), &in_time(visit)),
        seen: found.seen.map(|at| watch.tell_last(at)),
        numbers: links.numbers(&counts, &which),
        took: percentiles(&took.times),
        asked: bytes(took.bytes_in),
        answered: bytes(took.bytes_out),
        pin: access::pin(&visit.permissions, (server, tool), definitions),
        chart: slices.stack(&found.series, watch, |period| {
            links.calls_during(period, &which)
        }),
        latency: latency::lines(&found.days, span),
        classes: latency::classes(&took.times),
        may: access::who_may(visit, (server, tool), links),
        did: agents.collect(),
        more: (more > 0).then(|| Link {
            href: links.calls(&which),
            text: things(more, "more agent", "more agents"),
        }),
        ends: ends(&counts, &which, links),
        reasons: reasons(&found.refused, &which, links),
        said: definition::said(definitions, &found.texts),
        differences: definition::differences(definitions, &found.texts, watch),
        changes: changes(definitions, links, watch, CHANGES),
    }
}

fn lead(counts: &Counts, times: &Histogram, agents: usize, time: &str) -> String {
    if counts.calls() == 0 {
        return format!("It was not called {time}.");
    }
    let took = times.percentile(50).map(|micros| {
        format!(
            "; half of them took no longer than {}",
            figures::span(micros)
        )
    });
    format!(
        "{} called it {} {time}{}. {} of the calls that ended went wrong.",
        things(agents, "agent", "agents"),
        match counts.calls() {
            1 => "once".into(),
            calls => format!("{} times", figures::count(calls)),
        },
        took.unwrap_or_default(),
        percent(counts.bad(), counts.ended())
    )
}

fn did(name: &str, counts: &Counts, all: &Counts, which: &[(Key, &str)], links: &Links) -> Did {
    let mine: Vec<(Key, &str)> = which.iter().copied().chain([(Key::Agent, name)]).collect();
    let average = counts
        .average_us()
        .and_then(|micros| u64::try_from(micros).ok());
    Did {
        agent: Link {
            href: links.agent(name),
            text: shown::name(name).to_string(),
        },
        numbers: links.numbers(counts, &mine),
        share: percent(counts.calls(), all.calls()),
        average: average.map_or("–".into(), figures::span),
    }
}

/// The ways calls ended.
fn ends(counts: &Counts, which: &[(Key, &str)], links: &Links) -> Vec<End> {
    let ends = [
        ("ok", "ok", "It was answered.", counts.ok),
        (
            "error",
            "error",
            "It was answered, and the answer says that it went wrong.",
            counts.errors,
        ),
        (
            "failed",
            "failed",
            "Nobody knows what became of it; it costs.",
            counts.failed,
        ),
        (
            "released",
            "never arrived",
            "Nothing of it was sent; it costs nothing.",
            counts.released,
        ),
        (
            "abandoned",
            "abandoned",
            "It was under way when the gateway ended.",
            counts.abandoned,
        ),
    ];
    let ends = ends.into_iter().map(|(word, name, what, number)| {
        let these: Vec<(Key, &str)> = which
            .iter()
            .copied()
            .chain([(Key::Decision, word)])
            .collect();
        End {
            class: word,
            name,
            what,
            number: Number::new(number, links.calls(&these)),
            share: percent(number, counts.ended()),
        }
    });
    ends.collect()
}

fn reasons(refused: &[Refused], which: &[(Key, &str)], links: &Links) -> Vec<(String, Number)> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for one in refused {
        let sum = sums.entry(&one.reason).or_default();
        *sum = sum.saturating_add(one.times);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let reasons = sums.into_iter().map(|(reason, times)| {
        let these: Vec<(Key, &str)> = which
            .iter()
            .copied()
            .chain([(Key::Reason, reason)])
            .collect();
        (
            shown::name(reason).to_string(),
            Number::new(times, links.calls(&these)),
        )
    });
    reasons.collect()
}
