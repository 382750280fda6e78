//! Who uses a server, how well does it work, and what became of its tools' definitions?

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::filter::{Back, Key, Period};
use crate::audit::read::{self, DefinitionRow, Span, Took, ToolCounts};
use crate::audit::{Counts, Histogram};
use crate::db::PageReader;
use crate::policy::{Permissions, ServerRule};
use crate::types::{ServerName, Timestamp, shown};

use super::changes::{Change, changes};
use super::chart::{Lines, Stack};
use super::failure::{Failure, html};
use super::figures::{self, When};
use super::filters::{self, Filters, Offer};
use super::frame::{Frame, Link};
use super::latency;
use super::servers::State;
use super::slices::Slices;
use super::twins::{self, Datum, Table, Twin};
use super::visit::Visit;
use super::who::{self, Links, Number, Tag, calls_word, in_time, percent, percentiles};

/// Tools that are shown, the busiest ones.
const TOOLS: usize = 200;
/// Changes of definitions that are shown, the newest ones.
const CHANGES: usize = 30;

/// `GET /servers/{name}`.
pub(super) async fn page(Path(name): Path<String>, visit: Visit) -> Result<Response, Failure> {
    let links = Links::new(&visit);
    let stretch = visit.stretch(Back::MONTH);
    let span = Span::new(stretch.from, stretch.to);
    let slices = Slices::of(stretch, &visit.zone);
    let found =
        who::at_one_moment(&visit, async |db| gather(db, &name, span, &slices).await).await?;
    let permissions = &visit.permissions;
    let rule = rule(permissions, &name);
    let is_logged = found.seen.iter().any(|((server, _), _)| *server == name);
    if rule.is_none() && !is_logged && found.definitions.is_empty() {
        let known = permissions.servers().keys().map(ServerName::as_str);
        let known = known.chain(found.seen.iter().map(|((server, _), _)| server.as_str()));
        return Ok(who::nobody(
            &visit,
            ("servers", "server"),
            &name,
            known,
            |name| links.server(name),
        ));
    }
    let watch = visit.watch();
    let states = visit.dashboard.servers();
    let tools = found.tools(&name);
    let (counts, times) = sums(&tools);
    let offer = Offer {
        keys: &[Key::Tool],
        ranges: filters::LONG,
        default: Period::Last(Back::MONTH),
    };
    let asked = visit.filter.wanted(visit.now).tools;
    let rows = tools.iter().filter(|tool| who::keeps(&asked, &tool.tool));
    let rows: Vec<Row> = rows
        .take(TOOLS)
        .map(|tool| row(tool, &found, &links))
        .collect();
    let last = found
        .seen
        .iter()
        .filter(|((server, _), _)| *server == name)
        .map(|(_, at)| *at)
        .max();
    let text = |text: Option<&String>| {
        text.map(|text| shown::sentence(text).to_string())
            .unwrap_or_default()
    };
    let href = |period| links.calls_during(period, &[(Key::Server, &name)]);
    let off = rule.and_then(|rule| rule.disabled.as_ref());
    Ok(html(&OneServer {
        frame: visit.frame("servers"),
        filters: Filters::new(&visit, offer),
        name: shown::name(&name).to_string(),
        tags: super::servers::tags(rule),
        state: State::of(
            states.iter().find(|state| state.name.as_str() == name),
            watch,
        ),
        is_known: rule.is_some(),
        off_note: text(off.and_then(|off| off.note.as_ref())),
        description: text(rule.and_then(|rule| rule.description.as_ref())),
        place: rule
            .map(|rule| format!("{}, line {}", rule.place.path, rule.place.line))
            .unwrap_or_default(),
        lead: lead(&counts, &times, tools.len(), &in_time(&visit)),
        all: links.list("servers"),
        twins: twins::at(&format!("{}/tools", visit.path), &visit),
        seen: last.map(|at| watch.tell_last(at)),
        numbers: links.numbers(&counts, &[(Key::Server, &name)]),
        took: percentiles(&times),
        chart: slices.stack(&found.series, watch, href),
        latency: latency::lines(&found.days, span),
        more_tools: tools.len() > TOOLS,
        is_filtered: rows.len() < tools.len().min(TOOLS),
        rows,
        changes: changes(&found.definitions, &links, watch, CHANGES),
        is_pinned: name
            .parse()
            .is_ok_and(|name| permissions.tool_lock().is_some_and(|lock| lock.pins(&name))),
    }))
}

/// The tools of a server for programs: `GET /servers/{name}/tools.csv`.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let name = who::named_in(&visit.path, "/servers/", "/tools.").ok_or(Failure::Astray)?;
        let stretch = visit.stretch(Back::MONTH);
        let span = Span::new(stretch.from, stretch.to);
        let slices = Slices::of(stretch, &visit.zone);
        let found =
            who::at_one_moment(&visit, async |db| gather(db, &name, span, &slices).await).await?;
        let tools = found.tools(&name);
        if tools.is_empty() && rule(&visit.permissions, &name).is_none() {
            return Err(Failure::Unknown(
                "Neither the rules in force nor the log know a server of this name.",
            ));
        }
        let asked = visit.filter.wanted(visit.now).tools;
        let tools = tools.iter().filter(|tool| who::keeps(&asked, &tool.tool));
        Ok(Table {
            columns: &[
                "tool",
                "agents",
                "calls",
                "refused",
                "errors",
                "p50_us",
                "p95_us",
                "p99_us",
                "definition_changes",
            ],
            rows: tools.map(|tool| data(tool, &found)).collect(),
        })
    }
    .boxed()
}

/// A row for programs, in the order of the columns.
fn data(tool: &ToolCounts, found: &Found) -> Vec<Datum> {
    let number = |number: usize| Datum::Number(i64::try_from(number).unwrap_or(i64::MAX));
    let time = |of_hundred| Datum::some_number(tool.took.times.percentile(of_hundred));
    vec![
        Datum::text(&tool.tool),
        number(found.agents_of(&tool.tool)),
        Datum::Number(tool.counts.calls()),
        Datum::Number(tool.counts.refused),
        Datum::Number(tool.counts.bad()),
        time(50),
        time(95),
        time(99),
        number(found.changes_of(&tool.tool)),
    ]
}

/// What the rules say about a server.
pub(super) fn rule<'a>(permissions: &'a Permissions, name: &str) -> Option<&'a ServerRule> {
    let name = name.parse::<ServerName>().ok()?;
    permissions.servers().get(&name)
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    series: Vec<Counts>,
    days: Vec<(Timestamp, Took)>,
    counted: Vec<ToolCounts>,
    /// How many agents called each tool in the last 31 days of the time.
    callers: HashMap<String, usize>,
    seen: Vec<((String, String), Timestamp)>,
    definitions: Vec<DefinitionRow>,
}

async fn gather(
    db: &mut PageReader,
    name: &str,
    span: Span,
    slices: &Slices,
) -> Result<Found, Failure> {
    let fresh = who::fresh(db).await?;
    let recent = super::servers::timed(span);
    let mut counted = read::tools_between(db, &fresh, span, recent).await?;
    counted.retain(|tool| tool.server == name);
    let pairs = read::server_pairs_between(db, &fresh, name, recent).await?;
    let mut callers: HashMap<String, usize> = HashMap::new();
    for pair in pairs {
        let agents = callers.entry(pair.tool).or_default();
        *agents = agents.saturating_add(1);
    }
    Ok(Found {
        series: read::series_tool(db, &fresh, (name, None), &slices.edges).await?,
        days: read::latency_by_day(db, &fresh, (name, None), span).await?,
        counted,
        callers,
        seen: read::tools_last_seen(db, &fresh).await?,
        definitions: read::definition_rows(db, Some(name)).await?,
    })
}

impl Found {
    /// How many agents called a tool.
    fn agents_of(&self, tool: &str) -> usize {
        self.callers.get(tool).copied().unwrap_or(0)
    }

    /// How often the definition of a tool changed, as far as it is known.
    fn changes_of(&self, tool: &str) -> usize {
        let rows = self.definitions.iter();
        rows.filter(|row| row.tool == tool && row.was.is_some())
            .count()
    }

    /// All tools of the server: those that were called in this time, the busiest first, then all others by name.
    fn tools(&self, server: &str) -> Vec<ToolCounts> {
        let counted: BTreeSet<&str> = self.counted.iter().map(|tool| tool.tool.as_str()).collect();
        let seen = self.seen.iter().filter(|((its, _), _)| its == server);
        let seen = seen.map(|((_, tool), _)| tool.as_str());
        let listed = self.definitions.iter().map(|row| row.tool.as_str());
        let others: BTreeSet<&str> = seen
            .chain(listed)
            .filter(|tool| !counted.contains(tool))
            .collect();
        let others = others.into_iter().map(|tool| ToolCounts {
            server: server.into(),
            tool: tool.into(),
            counts: Counts::default(),
            took: Took::default(),
        });
        self.counted.iter().cloned().chain(others).collect()
    }
}

fn sums(tools: &[ToolCounts]) -> (Counts, Histogram) {
    let (mut counts, mut times) = (Counts::default(), Histogram::default());
    for tool in tools {
        counts.add(&tool.counts);
        times.add(&tool.took.times);
    }
    (counts, times)
}

fn lead(counts: &Counts, times: &Histogram, tools: usize, time: &str) -> String {
    if counts.calls() == 0 {
        return format!("It was not called {time}. {}.", known_tools(tools));
    }
    let took = match times.percentile(95) {
        Some(micros) => format!(
            "; of a hundred answers, 95 came within {}",
            figures::span(micros)
        ),
        None => String::new(),
    };
    format!(
        "It took {} {time}: {} of those that ended went wrong{took}. {}.",
        calls_word(counts.calls()),
        percent(counts.bad(), counts.ended()),
        known_tools(tools)
    )
}

fn known_tools(tools: usize) -> String {
    let known = i64::try_from(tools).unwrap_or(i64::MAX);
    let known = figures::count(known);
    match tools {
        0 => "No tool of it is known".into(),
        1 => "One tool of it is known".into(),
        _ => format!("{known} tools of it are known"),
    }
}

#[derive(Debug, Template)]
#[template(path = "server.html", whitespace = "minimize")]
struct OneServer {
    frame: Frame,
    filters: Filters,
    name: String,
    tags: Vec<Tag>,
    state: State,
    is_known: bool,
    off_note: String,
    description: String,
    place: String,
    lead: String,
    all: String,
    /// Of the list of tools.
    twins: Vec<Twin>,
    seen: Option<When>,
    numbers: [Number; 3],
    took: [String; 3],
    chart: Stack,
    latency: Option<Lines>,
    rows: Vec<Row>,
    more_tools: bool,
    is_filtered: bool,
    changes: Vec<Change>,
    is_pinned: bool,
}

/// A tool of the server.
#[derive(Debug)]
struct Row {
    tool: Link,
    numbers: [Number; 3],
    took: [String; 3],
    agents: usize,
    changed: usize,
    is_listed: bool,
}

fn row(tool: &ToolCounts, found: &Found, links: &Links) -> Row {
    let (server, name) = (tool.server.as_str(), tool.tool.as_str());
    Row {
        tool: Link {
            href: links.tool(server, name),
            text: shown::name(name).to_string(),
        },
        numbers: links.numbers(&tool.counts, &[(Key::Server, server), (Key::Tool, name)]),
        took: percentiles(&tool.took.times),
        agents: found.agents_of(name),
        changed: found.changes_of(name),
        is_listed: found.definitions.iter().any(|row| row.tool == name),
    }
}
