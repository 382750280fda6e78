//! Is anything wrong? Who uses what? The page to open first.

use askama::Template;
use axum::response::Response;
use std::time::Duration;

use crate::audit::filter::{Back, Filter, Key, Period};
use crate::audit::read::{self, CallRow, Day, Hour, Newest, Totals};
use crate::budget::{OpenWindow, open_windows};
use crate::db::PageReader;
use crate::types::{Timestamp, shown};

use super::BASE;
use super::budget_row::BudgetRow;
use super::chart::{Bar, Stack};
use super::failure::{Failure, html};
use super::figures::{Watch, When, change, count};
use super::frame::{Frame, Link};
use super::visit::{Visit, reading};

const DAY: Duration = Duration::from_secs(86_400);

/// Rows of a table on this page.
const ROWS: usize = 8;
const REFUSALS: i64 = 8;
const BUDGETS: i64 = 12;

/// `GET /`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let now = visit.now;
    let found = reading(&visit, async |db| gather(db, now).await).await?;
    let permissions = &visit.permissions;
    let watch = visit.watch();
    let total = found.today.total();
    let remarks = visit.dashboard.remarks();
    Ok(html(&Overview {
        frame: visit.frame("overview"),
        shadow: remarks.shadow,
        no_calls_yet: !found.has_calls,
        summary: summary(&found.today),
        counted_from: found
            .today
            .counted_from
            .map(|at| watch.tell_minutes(at).line()),
        counted: count(read::COUNTED),
        figures: figures(&found.today, found.before),
        chart: chart(&found.today, found.from, watch),
        calls_allowed: count(total.calls.saturating_sub(total.refused)),
        budgets: found
            .budgets
            .iter()
            .map(|window| BudgetRow::new(window, &Filter::default(), watch))
            .collect(),
        refusals: found
            .refusals
            .iter()
            .map(|row| refusal(row, watch))
            .collect(),
        all_refusals: address(&with_day(Filter::just(Key::Decision, "denied"))),
        agents: top_agents(&found.today),
        tools: top_tools(&found.today),
        policy_size: format!(
            "{}, {}",
            plural(permissions.agents().len(), "agent", "agents"),
            plural(permissions.servers().len(), "server", "servers")
        ),
        events: found.events.map(count).unwrap_or_default(),
        newest: found.newest.map(|newest| head(&newest, watch)),
    }))
}

/// What the database says.
#[derive(Debug, Default)]
struct Found {
    /// Where the day begins.
    from: Timestamp,
    today: Day,
    before: Totals,
    refusals: Vec<CallRow>,
    budgets: Vec<OpenWindow>,
    newest: Option<Newest>,
    events: Option<i64>,
    has_calls: bool,
}

async fn gather(db: &mut PageReader, now: Timestamp) -> Result<Found, Failure> {
    let mut found = Found {
        from: read::countable(earlier(now, DAY)),
        budgets: open_windows(db, now, BUDGETS).await?,
        newest: read::newest(db).await?,
        ..Found::default()
    };
    if let Some(extent) = read::extent(db).await? {
        let yesterday = found.from;
        found.events = Some(extent.events());
        found.has_calls = read::has_calls(db, extent).await?;
        found.today = read::day(db, extent, yesterday, now).await?;
        found.before = read::totals(db, extent, earlier(yesterday, DAY), yesterday).await?;
        found.refusals = read::refusals(db, REFUSALS, yesterday).await?;
    }
    Ok(found)
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_sub(micros))
}

#[derive(Debug, Template)]
#[template(path = "overview.html", whitespace = "minimize")]
struct Overview {
    frame: Frame,
    /// What rules that are only compared with would have decided otherwise.
    shadow: Option<String>,
    no_calls_yet: bool,
    summary: String,
    counted_from: Option<String>,
    counted: String,
    figures: Vec<Figure>,
    chart: Stack,
    calls_allowed: String,
    budgets: Vec<BudgetRow>,
    refusals: Vec<Refusal>,
    all_refusals: String,
    agents: Vec<Top>,
    tools: Vec<Top>,
    policy_size: String,
    events: String,
    newest: Option<Head>,
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
    calls: String,
    refused: String,
    /// Of a bar 100 units wide.
    width: i64,
}

#[derive(Debug)]
struct Head {
    seq: String,
    hash: String,
    when: When,
}

fn summary(today: &Day) -> String {
    let total = today.total();
    let agents = plural(today.agents.len(), "agent", "agents");
    if total.calls == 0 {
        return "No calls in the last 24 hours.".into();
    }
    let rest = match (total.refused, total.errors) {
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
    let calls = if total.calls == 1 { "call" } else { "calls" };
    format!(
        "{agents} made {} {calls} in the last 24 hours. {rest}",
        count(total.calls)
    )
}

fn was(number: i64) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("{} {verb}", count(number))
}

fn plural(number: usize, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{number} {word}")
}

/// The last 24 hours of some calls.
fn with_day(filter: Filter) -> Filter {
    filter.during(Period::Last(Back::DAY))
}

fn address(filter: &Filter) -> String {
    format!("{BASE}/calls{filter}")
}

fn figures(today: &Day, before: Totals) -> Vec<Figure> {
    let (now, then) = (today.total(), before.counted);
    let seen = i64::try_from(today.agents.len()).unwrap_or(i64::MAX);
    let figure = |name, filter, now, then, bad| Figure {
        name,
        href: address(&with_day(filter)),
        number: count(now),
        change: change(now, then),
        bad,
    };
    let denied = Filter::just(Key::Decision, "denied");
    let errors = Filter::just(Key::Decision, "error")
        .with(Key::Decision, "failed")
        .with(Key::Decision, "released")
        .with(Key::Decision, "abandoned");
    let everything = Filter::default;
    vec![
        figure("Calls", everything(), now.calls, then.calls, false),
        figure(
            "Refused",
            denied,
            now.refused,
            then.refused,
            now.refused > 0,
        ),
        figure("Errors", errors, now.errors, then.errors, now.errors > 0),
        figure("Agents active", everything(), seen, before.agents, false),
    ]
}

fn chart(day: &Day, begin: Timestamp, watch: Watch<'_>) -> Stack {
    let hour = Duration::from_secs(3_600);
    let bars = day.hours.iter().zip(0_u32..).map(|(counted, at)| {
        let from = begin.after(hour * at);
        bar(counted, from, from.after(hour), watch)
    });
    Stack::new("Calls by the hour", "Hour", bars.collect())
}

/// Calls that ended in an hour may have begun in the one before, so errors can exceed the calls.
fn bar(hour: &Hour, from: Timestamp, to: Timestamp, watch: Watch<'_>) -> Bar {
    let rest = hour.calls.saturating_sub(hour.refused);
    let period = Period::Between {
        from: Some(from),
        to: Some(to),
    };
    let (begins, ends) = (watch.tell_minutes(from).time, watch.tell_minutes(to).time);
    Bar {
        href: address(&Filter::default().during(period)),
        name: format!("{begins} to {ends}"),
        mark: begins,
        fine: rest.saturating_sub(hour.errors).max(0),
        errors: hour.errors,
        refused: hour.refused,
    }
}

fn refusal(row: &CallRow, watch: Watch<'_>) -> Refusal {
    let opening = &row.opening;
    let link = |key, value: &Option<String>| {
        value.as_deref().map(|value| Link {
            href: address(&with_day(Filter::just(key, value))),
            text: shown::name(value).to_string(),
        })
    };
    let server = opening.server.as_deref();
    let target = opening.tool.as_deref().or(opening.target.as_deref());
    let target = target.or(opening.method.as_deref());
    let names: Vec<_> = [server, target].into_iter().flatten().collect();
    let mut filter = Filter::just(Key::Decision, "denied");
    for (key, value) in [(Key::Server, &opening.server), (Key::Tool, &opening.tool)] {
        filter = value
            .iter()
            .fold(filter, |filter, value| filter.with(key, value));
    }
    Refusal {
        when: watch.tell(row.at),
        agent: link(Key::Agent, &opening.agent),
        target: (!names.is_empty()).then(|| Link {
            href: address(&with_day(filter)),
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

fn top_agents(day: &Day) -> Vec<Top> {
    let most = day.agents.first().map_or(1, |agent| agent.calls);
    let top = day.agents.iter().take(ROWS).map(|agent| Top {
        name: Link {
            href: address(&with_day(Filter::just(Key::Agent, &agent.name))),
            text: shown::name(&agent.name).to_string(),
        },
        calls: count(agent.calls),
        refused: count(agent.refused),
        width: part(agent.calls, most),
    });
    top.collect()
}

fn top_tools(day: &Day) -> Vec<Top> {
    let most = day.tools.first().map_or(1, |tool| tool.calls);
    let top = day.tools.iter().take(ROWS).map(|tool| {
        let filter = Filter::just(Key::Server, &tool.server).with(Key::Tool, &tool.name);
        Top {
            name: Link {
                href: address(&with_day(filter)),
                text: format!(
                    "{} / {}",
                    shown::name(&tool.server),
                    shown::name(&tool.name)
                ),
            },
            calls: count(tool.calls),
            refused: count(tool.refused),
            width: part(tool.calls, most),
        }
    });
    top.collect()
}

fn part(number: i64, most: i64) -> i64 {
    number
        .saturating_mul(100)
        .checked_div(most.max(1))
        .unwrap_or(0)
}

fn head(newest: &Newest, watch: Watch<'_>) -> Head {
    Head {
        seq: count(newest.seq),
        hash: newest.hash.clone(),
        when: watch.tell(newest.at),
    }
}
