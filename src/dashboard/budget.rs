//! Will it last? One budget over its window and those before, the calls that took it, and what operators put right.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use crate::audit::Kind;
use crate::audit::filter::{Filter, Key};
use crate::audit::read::{self, CallRow, Cursor, RareEvent, Wanted};
use crate::budget::{OpenWindow, PastWindow, Span, key_of, past_windows, running, used_by_hour};
use crate::db::PageReader;
use crate::types::{BudgetKey, Timestamp, shown};

use super::budget_chart::{self, Steps};
use super::budget_row::{BudgetRow, amount, calls_at, calls_of, is_rolling, pace};
use super::budgets;
use super::counters::Counters;
use super::failure::{Failure, html};
use super::figures::{Watch, When, count};
use super::filters::called;
use super::frame::{Frame, Link};
use super::label::{Label, label};
use super::visit::{Visit, reading};

/// Windows in the table, and hours that are read for them.
const WINDOWS: u32 = 30;
const HOURS: u32 = 10_000;

/// Pages of calls that are looked through.
const PAGES: usize = 3;

/// Calls in the table.
const CALLS: usize = 25;

/// Events of one kind that are looked through for those about this budget.
const EVENTS: u32 = 200;

/// What operators do to budgets, and what a changed rule does.
const ABOUT: [Kind; 4] = [Kind::Refunded, Kind::Repaired, Kind::Unfrozen, Kind::Seeded];

/// What the database says.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: BudgetKey,
    pub(super) window: Option<PastWindow>,
    pub(super) windows: Vec<PastWindow>,
    pub(super) hours: Vec<(Timestamp, i64)>,
    /// The calls of the window, newest first, and what each took.
    pub(super) calls: Vec<(CallRow, i64)>,
    /// Whether those are all.
    pub(super) is_complete: bool,
    events: Vec<RareEvent>,
}

/// `GET /budgets/{id}`.
pub(super) async fn page(Path(id): Path<String>, visit: Visit) -> Result<Response, Failure> {
    let unknown = "The ledger has no budget of this number.";
    let id: i64 = id.parse().map_err(|_| Failure::Unknown(unknown))?;
    let counters = Counters::new(&visit.permissions, visit.now);
    let found = reading(&visit, async |db| gather(db, id, &visit, &counters).await).await?;
    let found = found.ok_or(Failure::Unknown(unknown))?;
    let watch = visit.watch();
    let base = visit.filter.at(Cursor::Newest);
    let counter = counters.get(&found.key);
    let open = open_window(id, &found, visit.now);
    let row = BudgetRow::new(&open, &base, watch);
    let forecast = pace(&open, visit.now).map(|pace| budgets::forecast(pace, &row, watch));
    let steps = Steps::new(&found, watch);
    let agents = counter.map(|counter| &counter.agents);
    Ok(html(&Budget {
        frame: visit.frame("budgets"),
        all: budgets::at(&base),
        key: shown::sentence(found.key.as_str()).to_string(),
        summary: summary(&row, &found, forecast.as_ref()),
        is_running: found.window.is_some(),
        forecast,
        rule: counter.map(|counter| shown::name(&counter.drawn.charge.place.path).to_string()),
        line: counter.map(|counter| counter.drawn.charge.place.line),
        agents: agents.map_or_else(Vec::new, |agents| {
            let names = agents.iter().take(20);
            let link = |name: &str| Link {
                href: calls_at(&base.time_only().with(Key::Agent, name)),
                text: shown::name(name).to_string(),
            };
            names.map(|agent| link(agent.as_str())).collect()
        }),
        more_agents: agents.map_or(0, |agents| agents.len().saturating_sub(20)),
        chart: budget_chart::burn_down(&row.label, &steps, watch),
        is_rolling: is_rolling(&row.label.window),
        never_ends: open.span.never_ends(),
        windows: windows(&found, &row.label, &base, watch),
        all_calls: calls_at(&calls_of(&row.label, open.span, &base).with(Key::Decision, "allowed")),
        calls: calls(&found, &row.label, watch),
        is_complete: found.is_complete && found.calls.len() <= CALLS,
        users: users(&found, &row.label, &base),
        events: found
            .events
            .iter()
            .map(|event| event_row(event, &found.key, &row.label, watch))
            .collect(),
        row,
    }))
}

async fn gather(
    db: &mut PageReader,
    id: i64,
    visit: &Visit,
    counters: &Counters,
) -> Result<Option<Found>, Failure> {
    let Some(key) = key_of(db, id).await? else {
        return Ok(None);
    };
    let label = label(key.as_str());
    let rolls = is_rolling(&label.window);
    let window = running(db, id, visit.now).await?;
    let windows = past_windows(db, id, if rolls { 1 } else { WINDOWS }).await?;
    let first = windows
        .last()
        .map_or(visit.now, |window| window.span.starts);
    let first = if rolls {
        budget_chart::rolling_since(&label, visit.now)
    } else {
        first
    };
    let whole = Span {
        starts: first,
        ends: visit.now,
    };
    let hours = used_by_hour(db, id, whole, HOURS).await?;
    let during = window.or(windows.first().copied());
    let (calls, is_complete) = match during {
        Some(window) => calls_taken(db, &key, window.span, visit, counters).await?,
        None => (Vec::new(), true),
    };
    let events = read::rare_events(db, &ABOUT, EVENTS).await?;
    Ok(Some(Found {
        events: events
            .into_iter()
            .filter(|event| given(event, &key).is_some())
            .collect(),
        key,
        window,
        windows,
        hours,
        calls,
        is_complete,
    }))
}

/// The calls of a window that took something of a budget, newest first, with how much; and whether those are all.
async fn calls_taken(
    db: &mut PageReader,
    key: &BudgetKey,
    span: Span,
    visit: &Visit,
    counters: &Counters,
) -> Result<(Vec<(CallRow, i64)>, bool), Failure> {
    let label = label(key.as_str());
    let mut filter = calls_of(&label, span, &Filter::default()).with(Key::Decision, "allowed");
    // A pool has no agent in its name; the rules know who shares it.
    if label.agent.is_none()
        && label.server.is_none()
        && let Some(counter) = counters.get(key)
        && counter.agents.len() < 30
    {
        let agents = counter.agents.iter();
        filter = agents.fold(filter, |filter, agent| {
            filter.with(Key::Agent, agent.as_str())
        });
    }
    let mut wanted: Wanted = filter.wanted(visit.now);
    let mut taken = Vec::new();
    for _ in 0..PAGES {
        let page = read::calls(db, &wanted).await?;
        for row in page.rows {
            let costs = row.closing.iter().flat_map(|closing| &closing.costs);
            let charged = costs
                .filter(|cost| cost.key == key.as_str())
                .map(|cost| cost.charged)
                .max();
            if let Some(charged) = charged {
                taken.push((row, i64::try_from(charged).unwrap_or(i64::MAX)));
            }
        }
        let next = page.older.or(page.stopped.map(|stopped| stopped.rest));
        match next {
            Some(cursor) => wanted.cursor = cursor,
            None => return Ok((taken, true)),
        }
    }
    Ok((taken, false))
}

/// What an event says of a budget: how much was given back or taken over; `None` when it is about others.
fn given(event: &RareEvent, key: &BudgetKey) -> Option<i64> {
    let lists = ["budgets", "counts"]
        .iter()
        .filter_map(|name| event.meta.get(name)?.as_array());
    let mut about = lists.flatten().filter(|one| {
        let theirs = one.get("key").and_then(|key| key.as_str());
        theirs == Some(key.as_str())
    });
    let one = about.next()?;
    let amount = ["refunded", "seeded"]
        .iter()
        .find_map(|name| one.get(name)?.as_i64());
    Some(amount.unwrap_or(0))
}

/// The window that runs, or an empty one like the last.
fn open_window(id: i64, found: &Found, now: Timestamp) -> OpenWindow {
    let last = found.windows.first();
    let (limit, span) = last.map_or(
        (
            0,
            Span {
                starts: now,
                ends: now,
            },
        ),
        |last| (last.limit, last.span),
    );
    let window = found.window.unwrap_or(PastWindow {
        span,
        limit,
        used: last.map_or(0, |last| last.used),
        held: 0,
        overrun: last.map_or(0, |last| last.overrun),
        is_frozen: last.is_some_and(|last| last.is_frozen),
    });
    OpenWindow {
        id,
        key: found.key.clone(),
        limit: window.limit,
        used: window.used,
        held: window.held,
        overrun: window.overrun,
        is_frozen: window.is_frozen,
        span: window.span,
    }
}

#[derive(Debug, Template)]
#[template(path = "budget.html", whitespace = "minimize")]
struct Budget {
    frame: Frame,
    /// The list of budgets.
    all: String,
    key: String,
    summary: String,
    is_running: bool,
    row: BudgetRow,
    forecast: Option<(bool, String)>,
    rule: Option<String>,
    line: Option<u32>,
    agents: Vec<Link>,
    more_agents: usize,
    chart: Option<super::chart::Lines>,
    is_rolling: bool,
    never_ends: bool,
    windows: Vec<WindowRow>,
    all_calls: String,
    calls: Vec<TakenRow>,
    is_complete: bool,
    users: Vec<User>,
    events: Vec<EventRow>,
}

/// One window of the past, or the one that runs.
#[derive(Debug)]
struct WindowRow {
    from: When,
    calls: String,
    used: String,
    limit: String,
    /// Of a bar 100 units wide.
    width: i64,
    is_spent: bool,
    is_frozen: bool,
    /// By when nothing was left.
    spent_by: Option<When>,
}

#[derive(Debug)]
struct TakenRow {
    when: When,
    agent: String,
    tool: String,
    class: &'static str,
    state: &'static str,
    charged: String,
    call: Option<String>,
}

#[derive(Debug)]
struct User {
    name: Link,
    used: String,
    calls: usize,
    width: i64,
}

#[derive(Debug)]
struct EventRow {
    when: When,
    what: &'static str,
    amount: String,
    by: String,
    why: String,
}

fn summary(row: &BudgetRow, found: &Found, forecast: Option<&(bool, String)>) -> String {
    let of = format!("{} of {} {}", row.used, row.limit, row.per);
    if found.window.is_none() {
        return "Nothing was taken in the window that runs now.".into();
    }
    let left = if row.is_frozen {
        "it is frozen, because a server reported more than was held".to_owned()
    } else if row.is_spent {
        "nothing is left".to_owned()
    } else {
        format!("{} left", row.left)
    };
    let pace = match forecast {
        Some((true, text)) => format!("; at this pace {text}"),
        Some((false, _)) => "; at this pace it lasts".into(),
        None => String::new(),
    };
    format!("{} used, {left}{pace}.", of.trim())
}

fn windows(found: &Found, label: &Label, base: &Filter, watch: Watch<'_>) -> Vec<WindowRow> {
    let windows = found.windows.iter();
    let row = |window: &PastWindow| {
        let spoken = window.used.saturating_add(window.held);
        let width = spoken.saturating_mul(100);
        let is_spent = spoken >= window.limit;
        WindowRow {
            from: watch.tell_minutes(window.span.starts),
            calls: calls_at(&calls_of(label, window.span, base)),
            used: amount(&label.unit, window.used),
            limit: amount(&label.unit, window.limit),
            width: width.checked_div(window.limit).unwrap_or(100).min(100),
            is_spent,
            is_frozen: window.is_frozen,
            spent_by: budget_chart::spent_by(window, &found.hours)
                .map(|at| watch.tell_minutes(at.min(watch.now))),
        }
    };
    windows.map(row).collect()
}

fn calls(found: &Found, label: &Label, watch: Watch<'_>) -> Vec<TakenRow> {
    let rows = found.calls.iter().take(CALLS);
    let row = |(row, charged): &(CallRow, i64)| {
        let names = [row.opening.server.as_deref(), row.opening.tool.as_deref()];
        let names = names.into_iter().flatten();
        TakenRow {
            when: watch.tell(row.at),
            agent: row
                .opening
                .agent
                .as_deref()
                .map(|agent| shown::name(agent).to_string())
                .unwrap_or_default(),
            tool: names
                .map(|name| shown::name(name).to_string())
                .collect::<Vec<_>>()
                .join(" / "),
            class: row.state.as_str(),
            state: called(row.state),
            charged: amount(&label.unit, *charged),
            call: row.call.map(|call| {
                format!(
                    "{}?call={call}",
                    super::budget_row::calls_at(&Filter::default())
                )
            }),
        }
    };
    rows.map(row).collect()
}

/// Who took how much, the most first.
fn users(found: &Found, label: &Label, base: &Filter) -> Vec<User> {
    let mut sums = std::collections::BTreeMap::<&str, (i64, usize)>::new();
    for (row, charged) in &found.calls {
        if let Some(agent) = row.opening.agent.as_deref() {
            let (sum, calls) = sums.entry(agent).or_default();
            *sum = sum.saturating_add(*charged);
            *calls = calls.saturating_add(1);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, (sum, _))| std::cmp::Reverse(*sum));
    let most = sums.first().map_or(1, |(_, (sum, _))| (*sum).max(1));
    let user = |(name, (sum, calls)): (&str, (i64, usize))| User {
        name: Link {
            href: calls_at(&base.time_only().with(Key::Agent, name)),
            text: shown::name(name).to_string(),
        },
        used: amount(&label.unit, sum),
        calls,
        width: sum.saturating_mul(100).checked_div(most).unwrap_or(0),
    };
    sums.into_iter().take(20).map(user).collect()
}

fn event_row(event: &RareEvent, key: &BudgetKey, label: &Label, watch: Watch<'_>) -> EventRow {
    let text = |name| {
        let text = event.text(name).unwrap_or_default();
        shown::sentence(text).to_string()
    };
    EventRow {
        when: watch.tell(event.at),
        what: if event.kind == Kind::Refunded {
            "given back"
        } else if event.kind == Kind::Repaired {
            "put right after the events"
        } else if event.kind == Kind::Unfrozen {
            "may be used again"
        } else {
            "began with what earlier counts of this rule had used"
        },
        amount: given(event, key)
            .filter(|given| *given > 0)
            .map(|given| amount(&label.unit, given))
            .unwrap_or_default(),
        by: if event.kind == Kind::Seeded {
            "the gateway".into()
        } else {
            text("by")
        },
        why: text("why"),
    }
}

impl Budget {
    /// How many calls the table has, in words.
    fn told_calls(&self) -> String {
        let number = i64::try_from(self.calls.len()).unwrap_or(i64::MAX);
        count(number)
    }
}
