//! The bar over a list: which time, which conditions are in force, and how to turn or remove each.

use crate::audit::filter::{Back, Filter, Key, Period, Pick};
use crate::audit::read::{CallState, Cursor};
use crate::types::{Timestamp, shown};

use super::attribute::{Attribute, shows};
use super::figures::Watch;
use super::filter::{COLUMNS, TZ};
use super::visit::Visit;

/// What stands over a list.
#[derive(Debug)]
pub(super) struct Filters {
    pub(super) ranges: Vec<Range>,
    pub(super) chips: Vec<Chip>,
    /// The page without any condition.
    pub(super) clear: String,
}

/// A choice of time.
#[derive(Debug)]
pub(super) struct Range {
    pub(super) name: &'static str,
    pub(super) href: String,
    pub(super) is_chosen: bool,
}

/// A condition in force, and how to turn or remove it.
#[derive(Debug)]
pub(super) struct Chip {
    pub(super) key: &'static str,
    /// `is`, `is not`.
    pub(super) verb: &'static str,
    pub(super) turned: Option<String>,
    pub(super) value: String,
    pub(super) without: String,
    /// The same time as fixed instants, for sharing.
    pub(super) pinned: Option<String>,
    /// Whether this page goes by it; otherwise it is only kept for the next.
    pub(super) is_used: bool,
}

/// Which conditions a page goes by, and which times it offers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) keys: &'static [Key],
    pub(super) ranges: &'static [(&'static str, Period)],
    /// The time when none is asked for.
    pub(super) default: Period,
}

/// The times of a list of single calls.
pub(super) const SHORT: &[(&str, Period)] = &[
    ("1 h", Period::Last(Back::HOUR)),
    ("24 h", Period::Last(Back::DAY)),
    ("7 d", Period::Last(Back::WEEK)),
    ("30 d", Period::Last(Back::MONTH)),
    ("All", Period::Ever),
];

/// The times of sums.
pub(super) const LONG: &[(&str, Period)] = &[
    ("24 h", Period::Last(Back::DAY)),
    ("7 d", Period::Last(Back::WEEK)),
    ("30 d", Period::Last(Back::MONTH)),
    ("90 d", Period::Last(Back::QUARTER)),
    ("1 y", Period::Last(Back::YEAR)),
];

/// A list of single calls.
pub(super) const CALLS: Offer = Offer {
    keys: &Key::ALL,
    ranges: SHORT,
    default: Period::Ever,
};

impl Filters {
    /// The bar of a page.
    pub(super) fn new(visit: &Visit, offer: Offer) -> Self {
        let filter = &visit.filter;
        let here = Here(&visit.path);
        let chosen = match filter.period {
            Period::Ever => offer.default,
            period @ (Period::Last(_) | Period::Between { .. }) => period,
        };
        let ranges = offer.ranges.iter().map(|(name, period)| Range {
            name,
            href: here.at(&filter.during(*period)),
            is_chosen: chosen == *period,
        });
        Self {
            ranges: ranges.collect(),
            chips: chips(filter, here, offer.keys, visit.watch()),
            clear: visit.path.clone(),
        }
    }
}

/// Makes addresses of one page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Here<'a>(pub(super) &'a str);

impl Here<'_> {
    /// This page under a filter: only the query where that is enough, since a hundred rows of links are shorter so.
    pub(super) fn at(self, filter: &Filter) -> String {
        let query = filter.to_string();
        if query.is_empty() {
            self.0.into()
        } else {
            query
        }
    }
}

fn chips(filter: &Filter, here: Here<'_>, keys: &[Key], watch: Watch<'_>) -> Vec<Chip> {
    let picks = filter.picks.iter();
    let mut chips: Vec<_> = picks.map(|pick| chip(filter, here, pick, keys)).collect();
    let plain = |key, value, without: &Filter| Chip {
        key,
        verb: "is",
        turned: None,
        value,
        without: here.at(without),
        pinned: None,
        is_used: true,
    };
    if let Some(call) = filter.call {
        chips.push(plain("call", call.to_string(), &filter.any_call()));
    }
    if let Some(time) = told_period(filter.period, watch) {
        let pinned = matches!(filter.period, Period::Last(_)).then(|| {
            let (from, to) = filter.instants(watch.now);
            let to = to.or(Some(watch.now));
            here.at(&filter.during(Period::Between { from, to }))
        });
        chips.push(Chip {
            pinned,
            ..plain("time", time, &filter.during(Period::Ever))
        });
    }
    if let Some(zone) = filter.along.get(TZ) {
        chips.push(plain("zone", zone.clone(), &filter.leaving(TZ)));
    }
    chips
}

fn told_period(period: Period, watch: Watch<'_>) -> Option<String> {
    match period {
        Period::Ever => None,
        Period::Last(back) => Some(format!("the last {back}")),
        Period::Between { from, to } => Some(between(from, to, watch)),
    }
}

fn between(from: Option<Timestamp>, to: Option<Timestamp>, watch: Watch<'_>) -> String {
    let tell = |at: Timestamp| watch.tell(at).line();
    match (from, to) {
        (Some(from), Some(to)) => format!("{} to {}", tell(from), tell(to)),
        (Some(from), None) => format!("since {}", tell(from)),
        (None, Some(to)) => format!("before {}", tell(to)),
        (None, None) => "any".into(),
    }
}

fn chip(filter: &Filter, here: Here<'_>, pick: &Pick, keys: &[Key]) -> Chip {
    Chip {
        key: pick.key.as_str(),
        verb: if pick.not { "is not" } else { "is" },
        turned: Some(here.at(&filter.turned(pick))),
        value: told(pick),
        without: here.at(&filter.without(pick)),
        pinned: None,
        is_used: keys.contains(&pick.key),
    }
}

/// The value of a condition; decisions in the words of the list.
fn told(pick: &Pick) -> String {
    let mut known =
        decisions().filter(|(word, _)| pick.key == Key::Decision && *word == pick.value);
    known.next().map_or_else(
        || shown::name(&pick.value).to_string(),
        |(_, told)| told.into(),
    )
}

/// The words that `decision` takes, and what they are called.
pub(super) fn decisions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let states = CallState::ALL.into_iter();
    [("allowed", "allowed")]
        .into_iter()
        .chain(states.map(|state| (state.as_str(), called(state))))
}

/// What a state is called on pages.
pub(super) fn called(state: CallState) -> &'static str {
    match state {
        CallState::Denied => "refused",
        CallState::Open => "under way",
        CallState::Ok => "ok",
        CallState::Error => "answered with an error",
        CallState::Failed => "failed",
        CallState::Released => "never arrived",
        CallState::Abandoned => "abandoned",
    }
}

/// The fields of a form, filled with what is in force.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) agent: String,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) reason: String,
    pub(super) decision: String,
    /// The words of the address, and those for people.
    pub(super) decisions: Vec<(&'static str, &'static str)>,
    pub(super) from: String,
    pub(super) to: String,
    /// What the fields cannot show, kept all the same.
    pub(super) hidden: Vec<(String, Attribute)>,
    pub(super) agents: Vec<String>,
    pub(super) servers: Vec<String>,
}

/// Names offered while somebody types.
const OFFERED: usize = 200;

impl Form {
    /// The form of a page.
    pub(super) fn new(visit: &Visit) -> Self {
        let filter = &visit.filter;
        let first = |key| {
            let mut picks = filter.picks.iter();
            picks.find(|pick| pick.key == key && !pick.not && shows(&pick.value))
        };
        let in_fields: Vec<_> = Key::ALL.into_iter().filter_map(first).collect();
        let field = |key| {
            first(key)
                .map(|pick| pick.value.clone())
                .unwrap_or_default()
        };
        let mut hidden = filter.at(Cursor::Newest);
        hidden.picks.retain(|pick| !in_fields.contains(&pick));
        hidden.along.remove(COLUMNS);
        let (from, to) = match filter.period {
            Period::Between { from, to } => {
                hidden.period = Period::Ever;
                (from, to)
            }
            Period::Ever | Period::Last(_) => (None, None),
        };
        let permissions = &visit.permissions;
        let names = permissions.agents().keys();
        let names = names.filter(|name| visit.may_see(Some(name.as_str())));
        let names = names.take(OFFERED);
        let servers = permissions.servers().keys().take(OFFERED);
        Self {
            agent: field(Key::Agent),
            server: field(Key::Server),
            tool: field(Key::Tool),
            reason: field(Key::Reason),
            decision: field(Key::Decision),
            decisions: decisions().collect(),
            from: local(from, visit),
            to: local(to, visit),
            hidden: kept(&hidden),
            agents: names.map(ToString::to_string).collect(),
            servers: servers.map(ToString::to_string).collect(),
        }
    }
}

/// What a form has to send along so that it is not lost.
pub(super) fn kept(filter: &Filter) -> Vec<(String, Attribute)> {
    let pairs = filter.pairs().into_iter();
    pairs.map(|(key, value)| (key, Attribute(value))).collect()
}

/// An instant as a field for a local time takes it.
fn local(at: Option<Timestamp>, visit: &Visit) -> String {
    let told = |at: Timestamp| {
        at.in_zone(&visit.zone)
            .strftime("%Y-%m-%dT%H:%M:%S")
            .to_string()
    };
    at.map(told).unwrap_or_default()
}
