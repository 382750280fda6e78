//! Who is there? All agents of the rules and of the log, with what they did, and who depends on which tool.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use askama::Template;
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::audit::Counts;
use crate::audit::filter::{Back, Key, Period};
use crate::audit::read::{self, By, Of, Span, Spent};
use crate::db::PageReader;
use crate::policy::{Agent, Permissions, Token};
use crate::types::{Timestamp, shown};

use super::chart::Heat;
use super::failure::{Failure, html};
use super::figures::{Watch, When};
use super::filters::{self, Filters, Offer};
use super::frame::Frame;
use super::pairs::Map;
use super::twins::{self, Datum, Table, Twin};
use super::unused;
use super::visit::{Stretch, Visit};
use super::who::{self, Links, Number, Tag, in_time, things};

/// Who called what is read for so long at most: a row for each agent, tool and day.
const PAIRS: Back = Back::days(31);

/// `GET /agents`.
pub(super) async fn page(visit: Visit) -> Result<Response, Failure> {
    let found = find(&visit).await?;
    let known = known(&visit, &found);
    let (links, watch) = (Links::new(&visit), visit.watch());
    let offer = Offer {
        keys: &[Key::Agent],
        ranges: filters::LONG,
        default: Period::Last(Back::MONTH),
    };
    let is_short = found.pairs_from.is_some();
    let rows = known.iter().map(|agent| row(agent, &links, watch));
    Ok(html(&Agents {
        frame: visit.frame("agents"),
        filters: Filters::new(&visit, offer),
        twins: twins::of(&visit),
        lead: lead(&known, visit.permissions.agents().len(), &in_time(&visit)),
        unused_in: match found.pairs_from {
            Some(_) => "the last 31 days of this time".into(),
            None => "this time".into(),
        },
        missing: found.missing.map(|(from, to)| {
            let (from, to) = (watch.tell_minutes(from), watch.tell_minutes(to));
            (from.line(), to.line())
        }),
        is_filtered: !visit.filter.picks.is_empty(),
        heat: found.map.heat(
            &links,
            if is_short {
                " Of the last 31 days of this time."
            } else {
                ""
            },
        ),
        rows: rows.collect(),
    }))
}

/// The same list for programs.
pub(super) fn table(visit: Visit) -> BoxFuture<'static, Result<Table, Failure>> {
    async move {
        let found = find(&visit).await?;
        let known = known(&visit, &found);
        let rows = known.iter().map(|agent| data(agent, visit.now));
        Ok(Table {
            columns: &[
                "agent",
                "owner",
                "in_rules",
                "disabled",
                "last_seen",
                "calls",
                "refused",
                "errors",
                "spend",
                "grants",
                "unused_grants",
                "tokens",
                "next_expiry",
            ],
            rows: rows.collect(),
        })
    }
    .boxed()
}

/// What the log says.
#[derive(Debug, Default)]
struct Found {
    counts: Vec<(String, Counts)>,
    seen: Vec<(String, Timestamp)>,
    spent: Vec<Spent>,
    /// How many grants of an agent let nothing through.
    unused: HashMap<String, usize>,
    map: Map,
    /// Where the time begins that they are of, unless it is all of it.
    pairs_from: Option<Timestamp>,
    missing: Option<(Timestamp, Timestamp)>,
}

async fn find(visit: &Visit) -> Result<Found, Failure> {
    let stretch = visit.stretch(Back::MONTH);
    who::at_one_moment(visit, async |db| gather(db, visit, stretch).await).await
}

async fn gather(db: &mut PageReader, visit: &Visit, stretch: Stretch) -> Result<Found, Failure> {
    let fresh = who::fresh(db).await?;
    let span = Span::new(stretch.from, stretch.to);
    let longest = PAIRS.before(stretch.to);
    let pairs_from = Some(longest).filter(|longest| *longest > stretch.from);
    let asked = visit.filter.wanted(visit.now).agents;
    let recent = Span::new(pairs_from.unwrap_or(stretch.from), stretch.to);
    let counts = read::agents_between(db, &fresh, span).await?;
    let recently = match pairs_from {
        Some(_) => read::agents_between(db, &fresh, recent).await?,
        None => counts.clone(),
    };
    Ok(Found {
        counts,
        seen: read::agents_last_seen(db, &fresh).await?,
        spent: read::spend_between(db, &fresh, span, (Of::All, By::Agents)).await?,
        unused: unused::count(db, &fresh, visit, recent).await?,
        map: Map::read(db, &fresh, (recent, recently), &asked).await?,
        pairs_from,
        missing: fresh.missing(),
    })
}

/// One agent, with all that is known of it.
#[derive(Debug)]
struct Known<'a> {
    name: String,
    /// What the rules say; `None` when they know it no longer.
    rule: Option<&'a Agent>,
    seen: Option<Timestamp>,
    counts: Counts,
    spend: String,
    unused: usize,
}

/// All agents that are asked for, the busiest first.
fn known<'a>(visit: &'a Visit, found: &Found) -> Vec<Known<'a>> {
    let permissions: &Permissions = &visit.permissions;
    let counts: HashMap<&str, &Counts> = found
        .counts
        .iter()
        .map(|(name, it)| (&**name, it))
        .collect();
    let seen: BTreeMap<&str, Timestamp> =
        found.seen.iter().map(|(name, at)| (&**name, *at)).collect();
    let mut rules: BTreeMap<&str, Option<&Agent>> = seen.keys().map(|name| (*name, None)).collect();
    let in_rules = permissions.agents().iter();
    rules.extend(in_rules.map(|(name, agent)| (name.as_str(), Some(&**agent))));
    let mut spent: HashMap<&str, Vec<&Spent>> = HashMap::new();
    for one in &found.spent {
        let agent = one.agent.as_deref().unwrap_or_default();
        spent.entry(agent).or_default().push(one);
    }
    let asked = visit.filter.wanted(visit.now).agents;
    let asked_for = rules
        .into_iter()
        .filter(|(name, _)| who::keeps(&asked, name));
    let mut known: Vec<Known<'a>> = asked_for
        .map(|(name, rule)| Known {
            name: name.into(),
            rule,
            seen: seen.get(name).copied(),
            counts: counts.get(name).map(|counts| **counts).unwrap_or_default(),
            spend: who::spent(spent.get(name).into_iter().flatten().copied()),
            unused: found.unused.get(name).copied().unwrap_or(0),
        })
        .collect();
    // Those of the same number of calls stay in the order of their names.
    known.sort_by_key(|agent| std::cmp::Reverse(agent.counts.calls()));
    known
}

fn lead(known: &[Known<'_>], in_rules: usize, time: &str) -> String {
    let active = known
        .iter()
        .filter(|agent| agent.counts.calls() > 0)
        .count();
    let off = known
        .iter()
        .filter(|agent| agent.rule.is_some_and(|rule| rule.disabled.is_some()));
    let off = off.count();
    let wide = known.iter().filter(|agent| agent.unused > 0).count();
    let gone = known.iter().filter(|agent| agent.rule.is_none()).count();
    let mut told = format!(
        "The rules know {}; {active} called {time}.",
        things(in_rules, "agent", "agents")
    );
    let also = [
        (off, "is switched off", "are switched off"),
        (
            wide,
            "holds grants that let nothing through",
            "hold grants that let nothing through",
        ),
        (
            gone,
            "is in the log alone, no longer in the rules",
            "are in the log alone, no longer in the rules",
        ),
    ];
    let also = also.into_iter().filter(|(number, ..)| *number > 0);
    let also: Vec<String> = also
        .map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }))
        .collect();
    if !also.is_empty() {
        told.push(' ');
        told.push_str(&also.join(", "));
        told.push('.');
    }
    told
}

#[derive(Debug, Template)]
#[template(path = "agents.html", whitespace = "minimize")]
struct Agents {
    frame: Frame,
    filters: Filters,
    twins: Vec<Twin>,
    lead: String,
    /// The time in which unused grants were not used.
    unused_in: String,
    missing: Option<(String, String)>,
    is_filtered: bool,
    rows: Vec<Row>,
    heat: Option<Heat>,
}

#[derive(Debug)]
struct Row {
    name: String,
    href: String,
    owner: String,
    tags: Vec<Tag>,
    /// Whether the rules know it no longer.
    is_gone: bool,
    seen: Option<When>,
    numbers: [Number; 3],
    spend: String,
    grants: usize,
    unused: usize,
    tokens: String,
    labels: String,
    /// What is to be said about the end of its tokens.
    expiry: Option<(String, bool)>,
}

fn row(agent: &Known<'_>, links: &Links, watch: Watch<'_>) -> Row {
    let name = agent.name.as_str();
    let rule = agent.rule;
    let mut tags = Vec::new();
    if rule.is_none() {
        tags.push(Tag {
            text: "not in the rules",
            class: "",
        });
    }
    if rule.is_some_and(|rule| rule.disabled.is_some()) {
        tags.push(Tag {
            text: "switched off",
            class: "bad",
        });
    }
    let tokens = rule.map(|rule| rule.tokens.as_slice()).unwrap_or_default();
    let owner = rule.and_then(|rule| rule.owner.as_deref());
    Row {
        name: shown::name(name).to_string(),
        href: links.agent(name),
        owner: owner
            .map(|owner| shown::name(owner).to_string())
            .unwrap_or_default(),
        tags,
        is_gone: rule.is_none(),
        seen: agent.seen.map(|at| watch.tell_last(at)),
        numbers: links.numbers(&agent.counts, &[(Key::Agent, name)]),
        spend: agent.spend.clone(),
        grants: rule.map_or(0, |rule| rule.grants.len()),
        unused: agent.unused,
        tokens: things(tokens.len(), "token", "tokens"),
        labels: labels(tokens),
        expiry: expiry(tokens, watch),
    }
}

/// What people call the tokens.
fn labels(tokens: &[Token]) -> String {
    let labels: BTreeSet<&str> = tokens
        .iter()
        .filter_map(|token| token.label.as_deref())
        .collect();
    let labels: Vec<String> = labels
        .into_iter()
        .map(|label| shown::name(label).to_string())
        .collect();
    labels.join(", ")
}

/// When the next of some tokens ends, or that some have ended; and whether that is something to look at.
fn expiry(tokens: &[Token], watch: Watch<'_>) -> Option<(String, bool)> {
    let ended = tokens
        .iter()
        .filter(|token| token.expires.is_some_and(|end| end <= watch.now))
        .count();
    match (next_expiry(tokens, watch.now), ended) {
        (None, 0) => None,
        (None, ended) => Some((format!("{ended} ended"), true)),
        (Some(next), _) => {
            let soon = next.since(watch.now).as_secs() < 14 * 86_400;
            let day = next.in_zone(watch.zone).strftime("%-d %b %Y").to_string();
            Some((format!("until {day}"), soon))
        }
    }
}

fn next_expiry(tokens: &[Token], now: Timestamp) -> Option<Timestamp> {
    let ends = tokens.iter().filter_map(|token| token.expires);
    ends.filter(|end| *end > now).min()
}

/// A row for programs, in the order of the columns.
fn data(agent: &Known<'_>, now: Timestamp) -> Vec<Datum> {
    let rule = agent.rule;
    let tokens = rule.map(|rule| rule.tokens.as_slice()).unwrap_or_default();
    let number = |number: usize| Datum::Number(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        Datum::text(&agent.name),
        Datum::some_text(rule.and_then(|rule| rule.owner.as_deref())),
        Datum::Flag(rule.is_some()),
        Datum::Flag(rule.is_some_and(|rule| rule.disabled.is_some())),
        Datum::some_time(agent.seen),
        Datum::Number(agent.counts.calls()),
        Datum::Number(agent.counts.refused),
        Datum::Number(agent.counts.bad()),
        Datum::text(&agent.spend),
        number(rule.map_or(0, |rule| rule.grants.len())),
        number(agent.unused),
        number(tokens.len()),
        Datum::some_time(next_expiry(tokens, now)),
    ]
}
