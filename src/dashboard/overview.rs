//! Is anything wrong? Who uses what? The page to open first.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;

use crate::audit::Counts;
use crate::audit::filter::{Back, Filter, Key, Period};
use crate::audit::read::{
    self, By, CallRow, Fresh, Of, PolicyRow, Span, Spent, Trust, agents_between, series_all,
    spend_between, tool_counts_between,
};
use crate::budget::{OpenWindow, open_windows};
use crate::db::PageReader;
use crate::types::{ServerState, Timestamp, Unit, shown};

use super::BASE;
use super::budget_row::BudgetRow;
use super::chart::Stack;
use super::failure::{Failure, html};
use super::figures::{Watch, When, change, count};
use super::filter::encode;
use super::filters::{self, Filters, Offer};
use super::frame::{Frame, Link};
use super::servers::State;
use super::slices::Slices;
use super::visit::{Stretch, Visit, reading};
use super::who::{Links, fresh, in_time, things};

/// Rows of a table on this page.
const ROWS: usize = 8;
const REFUSALS: i64 = 8;
const BUDGETS: i64 = 12;

/// What the page goes by: the time and nothing else.
const OFFER: Offer = Offer {
    keys: &[],
    ranges: filters::LONG,
    default: Period::Last(Back::DAY),
};

/// `GET /`.
pub(super) async fn page(mut visit: Visit) -> Result<Response, Failure> {
    let filters = Filters::new(&visit, OFFER);
    let stretch = visit.stretch(Back::DAY);
    let slices = Slices::of(stretch, &visit.zone);
    let now = visit.now;
    let found = reading(&visit, async |db| gather(db, stretch, &slices, now).await).await?;
    let frame = visit.frame("overview");
    // From here on the time is the one that is shown, so that every link goes to just these calls.
    if visit.filter.period == Period::Ever {
        visit.filter = visit.filter.during(OFFER.default);
    }
    let calls = visit.filter.time_only();
    let links = Links::new(&visit);
    let (watch, time) = (visit.watch(), in_time(&visit));
    let remarks = visit.dashboard.remarks();
    let total = found.total;
    Ok(html(&Overview {
        frame,
        filters,
        shadow: remarks.shadow,
        no_calls_yet: !found.has_calls,
        summary: summary(total, found.agents.len(), &time),
        uncounted: found.fresh.missing().map(|(from, to)| {
            (
                watch.tell_minutes(from).line(),
                watch.tell_minutes(to).line(),
            )
        }),
        figures: figures(&found, &calls),
        chart: slices.stack(&found.series, watch, |period| {
            address(&calls.during(period))
        }),
        calls_allowed: count(total.admitted),
        budgets: found
            .budgets
            .iter()
            .map(|window| BudgetRow::new(window, &calls, watch))
            .collect(),
        refusals: found
            .refusals
            .iter()
            .map(|row| refusal(row, &calls, watch))
            .collect(),
        all_refusals: format!("{BASE}/denials{calls}"),
        agents: top_agents(&found.agents, &links),
        tools: top_tools(&found.tools, &links),
        servers: visit
            .dashboard
            .servers()
            .iter()
            .map(|state| health(state, &links, watch))
            .collect(),
        policy_size: format!(
            "{}, {}",
            things(visit.permissions.agents().len(), "agent", "agents"),
            things(visit.permissions.servers().len(), "server", "servers")
        ),
        policy: found
            .policy
            .as_ref()
            .map(|row| in_force(row, watch, &calls)),
        trust: found.trust.as_ref().and_then(|trust| head(trust, watch)),
        time,
    }))
}

/// What the database says.
#[derive(Debug, Default)]
struct Found {
    has_calls: bool,
    fresh: Fresh,
    total: Counts,
    before: Counts,
    series: Vec<Counts>,
    agents: Vec<(String, Counts)>,
    tools: Vec<((String, String), Counts)>,
    spent: Vec<Spent>,
    spent_before: Vec<Spent>,
    refusals: Vec<CallRow>,
    budgets: Vec<OpenWindow>,
    policy: Option<PolicyRow>,
    trust: Option<Trust>,
}

async fn gather(
    db: &mut PageReader,
    stretch: Stretch,
    slices: &Slices,
    now: Timestamp,
) -> Result<Found, Failure> {
    let mut found = Found {
        budgets: open_windows(db, now, BUDGETS).await?,
        trust: read::trust(db).await?,
        policy: read::policies(db).await?.into_iter().next(),
        ..Found::default()
    };
    let Some(extent) = read::extent(db).await? else {
        return Ok(found);
    };
    let fresh = fresh(db).await?;
    let (span, before) = (span(stretch), span(stretch.before()));
    let units = (Of::All, By::Nothing);
    found.has_calls = read::has_calls(db, extent).await?;
    found.total = total(db, &fresh, span).await?;
    found.before = total(db, &fresh, before).await?;
    found.series = series_all(db, &fresh, &slices.edges).await?;
    found.agents = agents_between(db, &fresh, span).await?;
    found.tools = tool_counts_between(db, &fresh, span).await?;
    found.spent = spend_between(db, &fresh, span, units).await?;
    found.spent_before = spend_between(db, &fresh, before, units).await?;
    found.refusals = read::refusals(db, REFUSALS, stretch.from).await?;
    found.fresh = fresh;
    Ok(found)
}

fn span(stretch: Stretch) -> Span {
    Span::new(stretch.from, stretch.to)
}

async fn total(db: &mut PageReader, fresh: &Fresh, span: Span) -> Result<Counts, Failure> {
    let sums = series_all(db, fresh, &[span.from(), span.to()]).await?;
    Ok(sums.first().copied().unwrap_or_default())
}

#[derive(Debug, Template)]
#[template(path = "overview.html", whitespace = "minimize")]
struct Overview {
    frame: Frame,
    filters: Filters,
    /// What rules that are only compared with would have decided otherwise.
    shadow: Option<String>,
    no_calls_yet: bool,
    summary: String,
    /// From when to when calls are not all counted yet.
    uncounted: Option<(String, String)>,
    figures: Vec<Figure>,
    chart: Stack,
    calls_allowed: String,
    budgets: Vec<BudgetRow>,
    refusals: Vec<Refusal>,
    all_refusals: String,
    agents: Vec<Top>,
    tools: Vec<Top>,
    servers: Vec<Health>,
    policy_size: String,
    policy: Option<InForce>,
    trust: Option<Head>,
    /// `in the last 24 hours`.
    time: String,
}

/// One of the four numbers.
#[derive(Debug)]
struct Figure {
    name: &'static str,
    /// Where its calls are listed.
    href: String,
    number: String,
    change: String,
    /// Whether it is something to look at.
    bad: bool,
}

#[derive(Debug)]
struct Refusal {
    when: When,
    agent: Option<Link>,
    target: Option<Link>,
    reason: Option<Link>,
    message: String,
    times: Option<u64>,
}

#[derive(Debug)]
struct Top {
    name: Link,
    calls: Link,
    refused: String,
    /// Of a bar 100 units wide.
    width: i64,
}

/// How a server does, as far as calls to it tell.
#[derive(Debug)]
struct Health {
    name: Link,
    state: State,
}

/// The rules in force.
#[derive(Debug)]
struct InForce {
    since: When,
    commit: String,
    href: String,
}

/// The end of the log.
#[derive(Debug)]
struct Head {
    seq: String,
    hash: String,
    when: When,
    events: String,
    checkpoint: Option<(&'static str, When)>,
}

fn summary(total: Counts, agents: usize, time: &str) -> String {
    let agents = things(agents, "agent", "agents");
    if total.calls() == 0 {
        return format!("No calls {time}.");
    }
    let rest = match (total.refused, total.bad()) {
        (0, 0) => "None was refused and none failed.".into(),
        (0, errors) => format!("None was refused; {} ended in an error.", count(errors)),
        (refused, 0) => format!("{} refused by the rules; none failed.", was(refused)),
        (refused, errors) => {
            format!(
                "{} refused by the rules and {} ended in an error.",
                was(refused),
                count(errors)
            )
        }
    };
    let calls = if total.calls() == 1 { "call" } else { "calls" };
    format!(
        "{agents} made {} {calls} {time}. {rest}",
        count(total.calls())
    )
}

fn was(number: i64) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} {verb}", count(number))
}

fn address(filter: &Filter) -> String {
    format!("{BASE}/calls{filter}")
}

fn figures(found: &Found, calls: &Filter) -> Vec<Figure> {
    let (now, then) = (found.total, found.before);
    let figure = |name, filter: &Filter, now, then, bad| Figure {
        name,
        href: address(filter),
        number: count(now),
        change: change(now, then),
        bad,
    };
    let denied = calls.with(Key::Decision, "denied");
    let bad = ["error", "failed", "released", "abandoned"];
    let errors = bad.iter().fold(calls.clone(), |filter, word| {
        filter.with(Key::Decision, word)
    });
    vec![
        figure("Calls", calls, now.calls(), then.calls(), false),
        figure(
            "Refused",
            &denied,
            now.refused,
            then.refused,
            now.refused > 0,
        ),
        figure("Errors", &errors, now.bad(), then.bad(), now.bad() > 0),
        money(found, calls).unwrap_or_else(|| Figure {
            name: "Agents active",
            href: format!("{BASE}/agents{calls}"),
            number: things(found.agents.len(), "", "").trim().into(),
            change: "nothing was spent".into(),
            bad: false,
        }),
    ]
}

/// What was spent, in the unit in which the most was; `None` when nothing was, and nothing before.
fn money(found: &Found, calls: &Filter) -> Option<Figure> {
    let (now, before) = (by_unit(&found.spent), by_unit(&found.spent_before));
    let (unit, _) = now
        .iter()
        .chain(&before)
        .max_by_key(|(_, micros)| **micros)?;
    let of = |sums: &BTreeMap<String, u64>| sums.get(unit).copied().unwrap_or(0);
    let told = |micros: u64| Unit::Cost(unit.as_str().into()).number(micros);
    let others = now
        .len()
        .saturating_sub(usize::from(now.contains_key(unit)));
    let others = match others {
        0 => String::new(),
        others => format!(", and {}", things(others, "other unit", "other units")),
    };
    Some(Figure {
        name: "Spent",
        href: format!("{BASE}/agents{calls}"),
        number: format!("{} {}", told(of(&now)), shown::name(unit)),
        change: format!("{} before{others}", told(of(&before))),
        bad: false,
    })
}

fn by_unit(spent: &[Spent]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::<String, u64>::new();
    for one in spent {
        let sum = sums.entry(one.unit.clone()).or_default();
        *sum = sum.saturating_add(u64::try_from(one.micros).unwrap_or(0));
    }
    sums
}

fn refusal(row: &CallRow, calls: &Filter, watch: Watch<'_>) -> Refusal {
    let opening = &row.opening;
    let link = |key, value: &Option<String>| {
        value.as_deref().map(|value| Link {
            href: address(&calls.with(key, value)),
            text: shown::name(value).to_string(),
        })
    };
    let server = opening.server.as_deref();
    let target = opening.tool.as_deref().or(opening.target.as_deref());
    let target = target.or(opening.method.as_deref());
    let names: Vec<_> = [server, target].into_iter().flatten().collect();
    let mut filter = calls.with(Key::Decision, "denied");
    for (key, value) in [(Key::Server, &opening.server), (Key::Tool, &opening.tool)] {
        filter = value
            .iter()
            .fold(filter, |filter, value| filter.with(key, value));
    }
    Refusal {
        when: watch.tell(row.at),
        agent: link(Key::Agent, &opening.agent),
        target: (!names.is_empty()).then(|| Link {
            href: address(&filter),
            text: names
                .iter()
                .map(|name| shown::name(name).to_string())
                .collect::<Vec<_>>()
                .join(" / "),
        }),
        reason: link(Key::Reason, &opening.reason),
        message: opening
            .message
            .as_deref()
            .map(|text| shown::sentence(text).to_string())
            .unwrap_or_default(),
        times: opening.count.filter(|times| *times > 1),
    }
}

fn top_agents(agents: &[(String, Counts)], links: &Links) -> Vec<Top> {
    let most = agents.first().map_or(1, |(_, counts)| counts.calls());
    let top = agents.iter().take(ROWS).map(|(name, counts)| Top {
        name: Link {
            href: links.agent(name),
            text: shown::name(name).to_string(),
        },
        calls: Link {
            href: links.calls(&[(Key::Agent, name)]),
            text: count(counts.calls()),
        },
        refused: count(counts.refused),
        width: part(counts.calls(), most),
    });
    top.collect()
}

fn top_tools(tools: &[((String, String), Counts)], links: &Links) -> Vec<Top> {
    let most = tools.first().map_or(1, |(_, counts)| counts.calls());
    let top = tools.iter().take(ROWS).map(|((server, tool), counts)| Top {
        name: Link {
            href: links.tool(server, tool),
            text: format!("{} / {}", shown::name(server), shown::name(tool)),
        },
        calls: Link {
            href: links.calls(&[(Key::Server, server), (Key::Tool, tool)]),
            text: count(counts.calls()),
        },
        refused: count(counts.refused),
        width: part(counts.calls(), most),
    });
    top.collect()
}

fn health(state: &ServerState, links: &Links, watch: Watch<'_>) -> Health {
    let name = state.name.as_str();
    Health {
        name: Link {
            href: links.server(name),
            text: name.into(),
        },
        state: State::of(Some(state), watch),
    }
}

fn in_force(row: &PolicyRow, watch: Watch<'_>, kept: &Filter) -> InForce {
    InForce {
        since: watch.tell_minutes(row.at),
        commit: row
            .commit
            .as_deref()
            .map(|commit| shown::name(commit).to_string().chars().take(12).collect())
            .unwrap_or_default(),
        href: format!("{BASE}/policy/{}{kept}", encode(&row.revision)),
    }
}

fn part(number: i64, most: i64) -> i64 {
    number
        .saturating_mul(100)
        .checked_div(most.max(1))
        .unwrap_or(0)
}

fn head(trust: &Trust, watch: Watch<'_>) -> Option<Head> {
    let newest = trust.newest.as_ref()?;
    let events = trust.extent.map(|extent| count(extent.events()));
    Some(Head {
        seq: count(newest.seq),
        hash: newest.hash.clone(),
        when: watch.tell(newest.at),
        events: events.unwrap_or_default(),
        checkpoint: trust.checkpoint.as_ref().map(|checkpoint| {
            let signed = if checkpoint.key.is_some() {
                "signed"
            } else {
                "not signed"
            };
            (signed, watch.tell(checkpoint.at))
        }),
    })
}
