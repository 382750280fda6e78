//! Sums of every kind beside a plain count over the events, wherever the mark stands.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::date;
use jiff::tz::TimeZone;
use sqlx::{AssertSqlSafe, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::audit::coarse::Table;
use crate::audit::packing;
use crate::audit::{
    Behind, Carried, Chained, Counts, Entry, Head, Kind, Names, Pruned, Seam, append, write_pruned,
};
use crate::db::{self, Durability, Readers, Writer};
use crate::types::CallId;

const QUARTER: i64 = 900_000_000;
const HOUR: i64 = 4 * QUARTER;
const DAY: i64 = 24 * HOUR;

/// 2026-10-23T00:00:00Z: the clocks of Berlin go back two days later.
const BEGIN: i64 = 1_792_713_600_000_000;
/// How long there are events.
const LENGTH: i64 = 5 * DAY;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % end
    }
}

/// What an event says, in plain words.
#[derive(Debug, Clone, Default)]
struct Fact {
    at_us: i64,
    agent: String,
    server: String,
    /// None for a name that was made up.
    tool: Option<String>,
    counts: Counts,
    latency_us: Option<i64>,
    bytes: [i64; 2],
    reason: Option<String>,
    spent: BTreeMap<&'static str, i64>,
}

/// A log and what stands in it.
struct World {
    _folder: TempDir,
    writer: Writer,
    events: Vec<Chained>,
    facts: Vec<Fact>,
    readers: Readers,
}

fn event(kind: Kind, call: CallId, fact: &Fact, tool: &str) -> Entry {
    let mut entry = Entry::new(kind);
    entry.call = Some(call);
    entry.agent = Some(fact.agent.parse().unwrap());
    entry.server = Some(fact.server.parse().unwrap());
    entry.tool = Some(tool.into());
    entry
}

/// Three thousand events: calls of five agents to nine tools of three servers that end some minutes later, refusals
/// alike that are one event, names that are made up, and events that belong to no call.
fn happenings(dice: &mut Dice) -> Vec<(i64, Entry, Fact)> {
    let mut all = Vec::new();
    let mut known = BTreeSet::new();
    for number in 0..1_500_u64 {
        let at_us = BEGIN + LENGTH * i64::try_from(number).unwrap() / 1_500 + dice.below(1_000);
        let mut entropy = [0; 10];
        entropy[..8].copy_from_slice(&number.to_be_bytes());
        let call = CallId::new(Timestamp::from_micros(at_us), entropy);
        let (agent, tool) = (dice.below(5), dice.below(9));
        let mut fact = Fact {
            at_us,
            agent: format!("agent-{agent}"),
            server: format!("server-{}", tool / 3),
            tool: Some(format!("tool-{tool}")),
            ..Fact::default()
        };
        let tool = fact.tool.clone().unwrap();
        if dice.below(50) == 0 {
            let fact = Fact {
                at_us,
                ..Fact::default()
            };
            all.push((at_us, Entry::new(Kind::Policy), fact));
        }
        if dice.below(5) == 0 {
            let made_up = dice.below(3) == 0;
            let tool = if made_up {
                format!("made-up-{number}")
            } else {
                tool
            };
            let times = if dice.below(4) == 0 { 7 } else { 1 };
            fact.tool = known.contains(&tool).then(|| tool.clone());
            fact.counts.refused = times;
            let reason = ["budget", "not_granted"][usize::try_from(dice.below(2)).unwrap()];
            fact.reason = Some(reason.into());
            let mut entry = event(Kind::Denied, call, &fact, &tool);
            entry.reason = Some(reason.into());
            if times > 1 {
                entry = entry.number("count", u64::try_from(times).unwrap());
            }
            all.push((at_us, entry, fact));
            continue;
        }
        known.insert(tool.clone());
        let mut end = fact.clone();
        fact.counts.admitted = 1;
        fact.bytes[0] = dice.below(900);
        let entry = event(Kind::Admitted, call, &fact, &tool);
        let bytes_in = u64::try_from(fact.bytes[0]).unwrap();
        all.push((at_us, entry.number("bytes_in", bytes_in), fact));
        if dice.below(20) > 0 {
            end.at_us = at_us + dice.below(2 * HOUR);
            all.push((end.at_us, ending(dice, call, &mut end), end));
        }
    }
    all.sort_by_key(|(at_us, ..)| *at_us);
    all
}

/// The end of a call; its event names nobody.
fn ending(dice: &mut Dice, call: CallId, fact: &mut Fact) -> Entry {
    let which = dice.below(12);
    let (kind, outcome) = match which {
        0 => (Kind::Settled, "tool_error"),
        1 => (Kind::Failed, "timed_out"),
        2 => (Kind::Released, "unreachable"),
        3 => (Kind::Abandoned, "abandoned"),
        _ => (Kind::Settled, "ok"),
    };
    let counts = &mut fact.counts;
    match which {
        0 => counts.errors = 1,
        1 => counts.failed = 1,
        2 => counts.released = 1,
        3 => counts.abandoned = 1,
        _ => counts.ok = 1,
    }
    let latency_us = dice.below(9) * dice.below(9) * dice.below(2_000_000);
    fact.latency_us = Some(latency_us);
    fact.counts.latency_us = latency_us;
    fact.bytes[1] = dice.below(90_000);
    let cents = 10_000 * (1 + dice.below(40));
    let mut budgets = vec![serde_json::json!({"key": "agents.a calls/day@UTC", "charged": 1})];
    if fact.server == "server-1" {
        for (key, charged) in [
            ("agents.a USD/day@UTC", cents),
            ("servers.s USD/month@UTC", cents / 2),
        ] {
            budgets.push(serde_json::json!({"key": key, "charged": charged}));
        }
        budgets.push(serde_json::json!({"key": "pool tokens/total", "charged": 17}));
        fact.spent = BTreeMap::from([("USD", cents), ("tokens", 17)]);
    }
    let mut entry = Entry::new(kind)
        .text("outcome", outcome)
        .number("latency_us", u64::try_from(latency_us).unwrap())
        .number("bytes_out", u64::try_from(fact.bytes[1]).unwrap())
        .json("budgets", serde_json::Value::from(budgets).to_string());
    entry.call = Some(call);
    entry
}

async fn build_next(writer: &mut Writer, behind: &mut Behind) {
    let slice = behind.next(writer.connection(), 1_024).await.unwrap();
    let mark = writer.transact(|tx| slice.write(tx)).unwrap();
    behind.built(mark);
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut writer = db::open(&path, Durability::Process).await.unwrap();
        let id = writer
            .identity([3; 16], Timestamp::default())
            .await
            .unwrap();
        let (mut head, mut names) = (Head::empty(id), Names::default());
        let (mut events, mut facts) = (Vec::new(), Vec::new());
        for (at_us, entry, fact) in happenings(&mut Dice(seed)) {
            let at = Timestamp::from_micros(at_us);
            events.push(Chained::after(&mut head, id, &mut names, &entry, at));
            facts.push(fact);
        }
        writer
            .transact(|tx| append(tx, &mut names, &events))
            .unwrap();
        let readers = Readers::open(&path).await.unwrap();
        Self {
            _folder: folder,
            writer,
            events,
            facts,
            readers,
        }
    }

    /// Builds sums of so many events, handed over as they came.
    async fn build(&mut self, behind: &mut Behind, until: usize) {
        let done = usize::try_from(self.mark().await).unwrap();
        behind.note(self.events[done..until].to_vec());
        while usize::try_from(self.mark().await).unwrap() < until {
            build_next(&mut self.writer, behind).await;
        }
    }

    /// Packs so many pieces of sums at most, of whatever day: also of one that goes on.
    async fn pack(&mut self, pieces: usize) {
        for _ in 0..pieces {
            let next = packing::next(self.writer.connection(), i64::MAX);
            let Some(piece) = next.await.unwrap() else {
                break;
            };
            self.writer.transact(|tx| piece.write(tx)).unwrap();
        }
    }

    async fn mark(&self) -> i64 {
        let mut page = self.readers.page().await.unwrap();
        crate::audit::behind::load_mark(&mut page).await.unwrap()
    }

    fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &Fact> {
        let facts = self.facts.iter();
        facts.filter(move |fact| (from..to).contains(&fact.at_us) && !fact.agent.is_empty())
    }

    fn sum<'a>(&'a self, from: i64, to: i64, is_meant: impl Fn(&Fact) -> bool + 'a) -> Counts {
        let mut sum = Counts::default();
        self.between(from, to)
            .filter(|fact| is_meant(fact))
            .for_each(|fact| sum.add(&fact.counts));
        sum
    }

    /// Sums by whatever a fact is given.
    fn by<K: Ord>(&self, span: Span, key: impl Fn(&Fact) -> Option<K>) -> BTreeMap<K, Counts> {
        let mut sums = BTreeMap::<K, Counts>::new();
        for fact in self.between(span.from().micros(), span.to().micros()) {
            if let Some(key) = key(fact) {
                sums.entry(key).or_default().add(&fact.counts);
            }
        }
        sums
    }

    fn took(&self, from: i64, to: i64, is_meant: impl Fn(&Fact) -> bool) -> Took {
        let mut took = Took::default();
        for fact in self.between(from, to).filter(|fact| is_meant(fact)) {
            if let Some(latency_us) = fact.latency_us {
                took.times.count(latency_us);
            }
            took.bytes_in += fact.bytes[0];
            took.bytes_out += fact.bytes[1];
        }
        took
    }
}

fn tool_of(fact: &Fact) -> Option<(String, String)> {
    Some((fact.server.clone(), fact.tool.clone()?))
}

/// The days of UTC that a time touches.
fn touched(span: Span) -> (i64, i64) {
    let (from, to) = (span.from().micros(), span.to().micros());
    (from - from % DAY, to + (DAY - to % DAY) % DAY)
}

/// Times that begin and end within days, at their ends, before and after everything, and within one day.
fn spans(dice: &mut Dice) -> Vec<Span> {
    let mut spans = vec![
        (BEGIN, BEGIN + LENGTH),
        (BEGIN - DAY, BEGIN + 9 * DAY),
        (BEGIN + DAY, BEGIN + 3 * DAY),
        (BEGIN + DAY + 5 * QUARTER, BEGIN + DAY + 9 * QUARTER),
        (BEGIN + DAY, BEGIN + DAY),
    ];
    for _ in 0..6 {
        let (one, other) = (dice.below(LENGTH), dice.below(LENGTH));
        spans.push((BEGIN + one.min(other), BEGIN + one.max(other)));
    }
    let at = Timestamp::from_micros;
    let spans = spans.into_iter();
    spans
        .map(|(from, to)| Span::new(at(from), at(to)))
        .collect()
}

async fn compare_lists(world: &World, db: &mut SqliteConnection, fresh: &Fresh, span: Span) {
    let agents = agents_between(db, fresh, span).await.unwrap();
    assert!(agents.is_sorted_by(|one, next| one.1.calls() >= next.1.calls()));
    let expected = world.by(span, |fact| Some(fact.agent.clone()));
    assert_eq!(
        agents.into_iter().collect::<BTreeMap<_, _>>(),
        expected,
        "{span:?}"
    );

    let tools = tools_between(db, fresh, span, span).await.unwrap();
    assert!(tools.is_sorted_by(|one, next| one.counts.calls() >= next.counts.calls()));
    let days = touched(span);
    for tool in &tools {
        let name = Some((tool.server.clone(), tool.tool.clone()));
        let expected = world.took(days.0, days.1, |fact| tool_of(fact) == name);
        assert_eq!(tool.took, expected, "{span:?}");
    }
    let tools = tools
        .into_iter()
        .map(|tool| ((tool.server, tool.tool), tool.counts));
    let expected = world.by(span, tool_of);
    assert_eq!(tools.collect::<BTreeMap<_, _>>(), expected, "{span:?}");

    let tools = agent_tools_between(db, fresh, "agent-2", span)
        .await
        .unwrap();
    let expected = world.by(span, |fact| {
        tool_of(fact).filter(|_| fact.agent == "agent-2")
    });
    assert_eq!(
        tools.into_iter().collect::<BTreeMap<_, _>>(),
        expected,
        "{span:?}"
    );

    let one = ("server-1", "tool-4");
    let agents = tool_agents_between(db, fresh, one, span).await.unwrap();
    let is_one = |fact: &Fact| tool_of(fact) == Some((one.0.into(), one.1.into()));
    let expected = world.by(span, |fact| is_one(fact).then(|| fact.agent.clone()));
    assert_eq!(
        agents.into_iter().collect::<BTreeMap<_, _>>(),
        expected,
        "{span:?}"
    );
}

async fn compare_pairs(world: &World, db: &mut SqliteConnection, fresh: &Fresh, span: Span) {
    let named = |pairs: Vec<Pair>| -> BTreeMap<[String; 3], Counts> {
        let pairs = pairs.into_iter();
        pairs
            .map(|it| ([it.agent, it.server, it.tool], it.counts))
            .collect()
    };
    let names = |fact: &Fact| Some([fact.agent.clone(), fact.server.clone(), fact.tool.clone()?]);
    let all = server_pairs_between(db, fresh, "server-1", span)
        .await
        .unwrap();
    let expected = world.by(span, |fact| {
        names(fact).filter(|_| fact.server == "server-1")
    });
    assert_eq!(named(all), expected, "{span:?}");

    let some = (
        &["agent-1", "agent-2", "nobody"][..],
        &[("server-1", "tool-4"), ("server-0", "tool-1")][..],
    );
    let found = calls_among(db, fresh, some, span).await.unwrap();
    let is_meant = |[agent, server, tool]: &[String; 3]| {
        some.0.contains(&agent.as_str()) && some.1.contains(&(server, tool))
    };
    let expected = world.by(span, |fact| names(fact).filter(is_meant));
    let expected = expected.into_iter();
    let expected: BTreeMap<[String; 3], i64> = expected
        .map(|(names, counts)| (names, counts.calls()))
        .collect();
    assert!(found.is_sorted_by(|one, next| one.1 >= next.1), "{span:?}");
    assert_eq!(
        found.into_iter().collect::<BTreeMap<_, _>>(),
        expected,
        "{span:?}"
    );

    let tools = tool_counts_between(db, fresh, span).await.unwrap();
    let expected = world.by(span, tool_of);
    assert_eq!(
        tools.into_iter().collect::<BTreeMap<_, _>>(),
        expected,
        "{span:?}"
    );

    let (from, to) = touched(span);
    let days = agent_tool_days(db, fresh, "agent-1", span).await.unwrap();
    assert!(days.is_sorted_by_key(|day| day.day));
    let days = days
        .into_iter()
        .map(|it| ((it.day.micros(), it.server, it.tool), it.counts));
    let mut expected = BTreeMap::<_, Counts>::new();
    let mut through = BTreeSet::new();
    for fact in world
        .between(from, to)
        .filter(|fact| fact.agent == "agent-1")
    {
        let Some((server, tool)) = tool_of(fact) else {
            continue;
        };
        if fact.counts.admitted > 0 {
            through.insert([fact.agent.clone(), server.clone(), tool.clone()]);
        }
        let day = fact.at_us - fact.at_us % DAY;
        expected
            .entry((day, server, tool))
            .or_default()
            .add(&fact.counts);
    }
    assert_eq!(days.collect::<BTreeMap<_, _>>(), expected, "{span:?}");
    let agents = ["agent-1", "nobody"];
    let found = let_through(db, fresh, &agents, (Tools::Each, span)).await;
    let found: BTreeSet<_> = found.unwrap().into_iter().collect();
    assert_eq!(found, through, "{span:?}");
    let some = let_through(db, fresh, &agents, (Tools::One, span)).await;
    let some: BTreeSet<_> = some.unwrap().into_iter().collect();
    assert!(some.is_subset(&through), "{span:?}");
    let servers = |of: &BTreeSet<[String; 3]>| -> BTreeSet<String> {
        of.iter().map(|[_, server, _]| server.clone()).collect()
    };
    assert_eq!(servers(&some), servers(&through), "{span:?}");
}

async fn compare_spend(world: &World, db: &mut SqliteConnection, fresh: &Fresh, span: Span) {
    let (from, to) = (span.from().micros(), span.to().micros());
    let (mut refused, mut spent) = (BTreeMap::new(), BTreeMap::new());
    for fact in world.between(from, to) {
        let who = (fact.agent.clone(), fact.server.clone(), fact.tool.clone());
        if let Some(reason) = &fact.reason {
            *refused.entry((who.clone(), reason.clone())).or_insert(0) += fact.counts.refused;
        }
        for (unit, amount) in &fact.spent {
            *spent.entry((who.clone(), (*unit).to_owned())).or_insert(0) += amount;
        }
    }
    let found = refusals_between(db, fresh, span, (Of::All, By::Pairs))
        .await
        .unwrap()
        .into_iter();
    let found = found.map(|row| {
        let who = (row.agent.unwrap(), row.server.unwrap(), row.tool);
        ((who, row.reason), row.times)
    });
    assert_eq!(found.collect::<BTreeMap<_, _>>(), refused, "{span:?}");
    let found = spend_between(db, fresh, span, (Of::All, By::Pairs))
        .await
        .unwrap()
        .into_iter();
    let found = found.map(|row| {
        let who = (row.agent.unwrap(), row.server.unwrap(), row.tool);
        ((who, row.unit), row.micros)
    });
    assert_eq!(found.collect::<BTreeMap<_, _>>(), spent, "{span:?}");
    compare_coarser(db, fresh, span, (&refused, &spent)).await;
}

type Sums = BTreeMap<((String, String, Option<String>), String), i64>;

/// What is told less finely, or of some calls only, adds up to the same.
async fn compare_coarser(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
    (refused, spent): (&Sums, &Sums),
) {
    let all = refusals_between(db, fresh, span, (Of::All, By::Nothing));
    let total: i64 = all.await.unwrap().iter().map(|row| row.times).sum();
    assert_eq!(total, refused.values().sum::<i64>(), "{span:?}");
    for agent in ["agent-1", "nobody"] {
        let sum = |sums: &Sums| -> i64 {
            let of_it = sums.iter().filter(|(((its, ..), _), _)| its == agent);
            of_it.map(|(_, value)| value).sum()
        };
        let asked = (Of::Agent(agent), By::Pairs);
        let found = refusals_between(db, fresh, span, asked).await.unwrap();
        let found: i64 = found.iter().map(|row| row.times).sum();
        assert_eq!(found, sum(refused), "{agent} {span:?}");
        let found = spend_between(db, fresh, span, (Of::All, By::Agents)).await;
        let found = found.unwrap().into_iter();
        let found = found.filter(|row| row.agent.as_deref() == Some(agent));
        let found: i64 = found.map(|row| row.micros).sum();
        assert_eq!(found, sum(spent), "{agent} {span:?}");
    }
    for ((_, server, tool), _) in refused.keys().take(3) {
        let Some(tool) = tool else { continue };
        let of_it = refused.iter().filter(|(((_, s, t), _), _)| {
            (s.as_str(), t.as_deref()) == (server.as_str(), Some(tool.as_str()))
        });
        let expected: i64 = of_it.map(|(_, value)| value).sum();
        let asked = (Of::Tool(server, tool), By::Nothing);
        let found = refusals_between(db, fresh, span, asked).await.unwrap();
        let found: i64 = found.iter().map(|row| row.times).sum();
        assert_eq!(found, expected, "{server}/{tool} {span:?}");
    }
}

async fn compare_series(world: &World, db: &mut SqliteConnection, fresh: &Fresh) {
    // Days of Berlin: the third has 25 hours, and the summer's begin at 22:00 UTC.
    let days = (23..29_i8).map(|day| {
        let day = date(2026, 10, day).to_zoned(TimeZone::get("Europe/Berlin").unwrap());
        Timestamp::from_jiff(day.unwrap().timestamp())
    });
    let days: Vec<Timestamp> = days.collect();
    let lengths: Vec<i64> = days
        .windows(2)
        .map(|two| (two[1].micros() - two[0].micros()) / HOUR)
        .collect();
    assert_eq!(lengths, [24, 24, 25, 24, 24]);
    let hours = (0..=48).map(|hour| Timestamp::from_micros(BEGIN + DAY + hour * HOUR));
    for edges in [days, hours.collect()] {
        let expected = |is_meant: &dyn Fn(&Fact) -> bool| -> Vec<Counts> {
            let pairs = edges.windows(2);
            let sums = pairs.map(|two| world.sum(two[0].micros(), two[1].micros(), is_meant));
            sums.collect()
        };
        let all = series_all(db, fresh, &edges).await.unwrap();
        assert_eq!(all, expected(&|_| true));
        let agent = series_agent(db, fresh, "agent-1", &edges).await.unwrap();
        assert_eq!(agent, expected(&|fact| fact.agent == "agent-1"));
        let server = series_tool(db, fresh, ("server-2", None), &edges)
            .await
            .unwrap();
        assert_eq!(server, expected(&|fact| fact.server == "server-2"));
        let tool = ("server-0", Some("tool-1"));
        let tool = series_tool(db, fresh, tool, &edges).await.unwrap();
        assert_eq!(
            tool,
            expected(&|fact| fact.tool.as_deref() == Some("tool-1"))
        );
        let nobody = series_agent(db, fresh, "nobody", &edges).await.unwrap();
        assert_eq!(nobody, vec![Counts::default(); edges.len() - 1]);
    }
}

async fn compare_days(world: &World, db: &mut SqliteConnection, fresh: &Fresh, span: Span) {
    for tool in [None, Some("tool-4")] {
        let found = latency_by_day(db, fresh, ("server-1", tool), span)
            .await
            .unwrap();
        let (from, to) = touched(span);
        let is_meant = |fact: &Fact| {
            fact.server == "server-1" && tool.is_none_or(|tool| fact.tool.as_deref() == Some(tool))
        };
        let days = (from..to).step_by(usize::try_from(DAY).unwrap());
        let expected = days.map(|day| {
            (
                Timestamp::from_micros(day),
                world.took(day, day + DAY, is_meant),
            )
        });
        let expected: Vec<_> = expected
            .filter(|(_, took)| *took != Took::default())
            .collect();
        assert_eq!(found, expected, "{span:?}");
    }
}

async fn compare_last_seen(world: &World, db: &mut SqliteConnection, fresh: &Fresh, mark: usize) {
    let mut agents = BTreeMap::new();
    let mut tools = BTreeMap::new();
    for (fact, seq) in world.facts.iter().zip(1..) {
        let at_us = if seq > mark {
            fact.at_us
        } else {
            fact.at_us - fact.at_us % HOUR
        };
        if fact.counts.calls() == 0 {
            continue;
        }
        let at = Timestamp::from_micros(at_us);
        agents.insert(fact.agent.clone(), at);
        if let Some(tool) = tool_of(fact) {
            tools.insert(tool, at);
        }
    }
    let found = agents_last_seen(db, fresh).await.unwrap();
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), agents);
    let found = tools_last_seen(db, fresh).await.unwrap();
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), tools);
}

async fn compare(world: &World, dice: &mut Dice, mark: usize) {
    let mut page = world.readers.page().await.unwrap();
    let extent = extent(&mut page).await.unwrap().unwrap();
    let fresh = Fresh::load(&mut page, extent).await.unwrap();
    assert_eq!(fresh.missing(), None);
    let mut spans = spans(dice);
    // Sums end in the middle of a day: what ends before, and what ends after them on that day.
    if let Some(last) = mark.checked_sub(1).map(|last| world.facts[last].at_us) {
        for (from, to) in [(DAY, -QUARTER), (DAY, QUARTER), (QUARTER, QUARTER)] {
            let [from, to] = [last - from, last + to].map(Timestamp::from_micros);
            spans.push(Span::new(from, to));
        }
    }
    for span in spans {
        compare_lists(world, &mut page, &fresh, span).await;
        compare_pairs(world, &mut page, &fresh, span).await;
        compare_spend(world, &mut page, &fresh, span).await;
        compare_days(world, &mut page, &fresh, span).await;
    }
    compare_series(world, &mut page, &fresh).await;
    compare_last_seen(world, &mut page, &fresh, mark).await;
}

#[tokio::test]
async fn sums_are_those_of_a_plain_count_wherever_the_mark_stands() {
    for seed in 1..3 {
        let mut world = World::new(seed).await;
        let (mut behind, mut dice) = (Behind::default(), Dice(seed + 100));
        let all = world.events.len();
        for mark in [0, 700, 1_900, all] {
            world.build(&mut behind, mark).await;
            compare(&world, &mut dice, mark).await;
        }
    }
}

#[tokio::test]
async fn sums_are_those_of_a_plain_count_however_much_of_them_is_packed() {
    let mut world = World::new(3).await;
    let (mut behind, mut dice) = (Behind::default(), Dice(103));
    let all = world.events.len();
    // More is added to days of which some was packed before.
    for (mark, pieces) in [(900, 3), (1_700, 9), (all, 7), (all, usize::MAX)] {
        world.build(&mut behind, mark).await;
        world.pack(pieces).await;
        compare(&world, &mut dice, mark).await;
    }
    let rows = Table::PACKED.map(|table| format!("SELECT 1 FROM {}", table.shape().name));
    let rows = AssertSqlSafe(format!(
        "SELECT (SELECT count(*) FROM ({})), (SELECT count(*) FROM packed_day)",
        rows.join(" UNION ALL ")
    ));
    let (rows, packed): (i64, i64) = sqlx::query_as(rows)
        .fetch_one(world.writer.connection())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    assert!(packed > 20, "{packed}");
}

#[tokio::test]
async fn sums_that_are_built_from_the_file_are_those_that_were_built_from_memory() {
    let mut world = World::new(7).await;
    let all = world.events.len();
    let mut behind = Behind::default();
    while usize::try_from(world.mark().await).unwrap() < all {
        build_next(&mut world.writer, &mut behind).await;
    }
    compare(&world, &mut Dice(5), all).await;
}

#[tokio::test]
async fn lists_that_an_agent_asked_for_hide_none_of_the_tools_it_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let mut writer = db::open(&path, Durability::Process).await.unwrap();
    let write = writer.transact(|tx| {
        for text in [
            "INSERT INTO name (id, text) VALUES (1, 'clawd'), (2, 'notes'), (3, 'search')",
            // No tool: its number is 0.
            "INSERT INTO pair_day VALUES (0, 1, 2, 0, 5, 0, 5, 0, 0, 0, 0, 0)",
            "INSERT INTO pair_day VALUES (0, 1, 2, 3, 1, 0, 1, 0, 0, 0, 0, 0)",
        ] {
            tx.execute(text, ())?;
        }
        Ok(())
    });
    write.unwrap();
    let span = Span::new(Timestamp::from_micros(0), Timestamp::from_micros(DAY));
    let expected = [["clawd", "notes", "search"].map(String::from)];
    loop {
        let db = writer.connection();
        for tools in [Tools::One, Tools::Each] {
            let found = let_through(&mut *db, &Fresh::default(), &["clawd"], (tools, span)).await;
            assert_eq!(found.unwrap(), expected, "{tools:?}");
        }
        // The same again when it is packed.
        let Some(piece) = packing::next(db, DAY).await.unwrap() else {
            break;
        };
        writer.transact(|tx| piece.write(tx)).unwrap();
    }
}

#[test]
fn a_time_is_whole_days_and_what_is_left_at_both_ends() {
    let at = |hours: i64| Timestamp::from_micros(hours * HOUR);
    for ((from, to), days, rest) in [
        ((24, 72), (24, 72), [(24, 24), (72, 72)]),
        ((23, 73), (24, 72), [(23, 24), (72, 73)]),
        ((25, 49), (49, 49), [(25, 49), (49, 49)]),
        ((25, 47), (47, 47), [(25, 47), (47, 47)]),
    ] {
        let pieces = Span::new(at(from), at(to)).pieces();
        let hours = |(from, to): (i64, i64)| (from / HOUR, to / HOUR);
        assert_eq!((hours(pieces.days), pieces.rest.map(hours)), (days, rest));
    }
}

#[tokio::test]
async fn a_call_that_was_under_way_where_the_log_was_cut_ends_for_whoever_opened_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let mut writer = db::open(&path, Durability::Process).await.unwrap();
    let id = writer
        .identity([3; 16], Timestamp::default())
        .await
        .unwrap();
    let at = Timestamp::from_micros(BEGIN);
    let call = CallId::new(at, [9; 10]);
    let mut fact = Fact {
        at_us: BEGIN,
        agent: "clawd".into(),
        server: "server-1".into(),
        ..Fact::default()
    };
    let opening = event(Kind::Admitted, call, &fact, "imagine");
    let closing = ending(&mut Dice(1), call, &mut fact);
    let (mut head, mut names) = (Head::empty(id), Names::default());
    let _gone = Chained::after(&mut head, id, &mut names, &opening, at);
    let last = head;
    let kept = Chained::after(&mut head, id, &mut names, &closing, at);
    let carried = Carried {
        seq: last.seq,
        event: opening.to_meta(at),
    };
    let seam = Seam {
        names: 3,
        names_sha256: String::new(),
        carried: vec![carried],
        totals: Vec::new(),
    };
    let pruned = Pruned {
        last,
        event_seq: head.seq,
        until: at,
        seam: seam.to_json(),
    };
    let written = writer.transact(|tx| {
        append(tx, &mut names, &[kept])?;
        write_pruned(tx, &pruned)
    });
    written.unwrap();
    build_next(&mut writer, &mut Behind::default()).await;
    let readers = Readers::open(&path).await.unwrap();
    let mut page = readers.page().await.unwrap();
    let span = Span::new(at, at.after(std::time::Duration::from_secs(3_600)));
    let agents = agents_between(&mut page, &Fresh::default(), span)
        .await
        .unwrap();
    assert_eq!(agents, [("clawd".to_owned(), fact.counts)]);
}
