//! Reads what a report is made from, all of it in one state of the log.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::audit::read::{self, By, Extent, Fresh, Known, Note, Of, Refused, Span, Spent};
use crate::audit::{Counts, Kind};
use crate::budget::ended_between;
use crate::db::{DbError, SqliteConnection};
use crate::policy::{Capture, Permissions};
use crate::types::{Timestamp, Zone};

use super::access::{Access, UNUSED, Used, ends, has_unused};
use super::gaps::gaps;
use super::month::Month;
use super::value::{Log, Quality, Report};

/// Most grants are used in a week.
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Makes the report of a month in a zone, with the rules that the access review is to be about. What it reads must be of
/// one instant.
///
/// # Errors
/// When SQLite refuses.
pub async fn gather(
    db: &mut SqliteConnection,
    permissions: &Permissions,
    (month, zone): (Month, &Zone),
) -> Result<Report, DbError> {
    let mut report = empty(permissions, month, zone);
    if let Some((oldest, newest)) = read::ends(db).await? {
        report.kept_since = Some(oldest);
        let span = (month.begins(zone), month.next().begins(zone));
        report.is_over = newest >= span.1;
        if let Some(extent) = read::extent_between(db, span).await? {
            fill(db, &mut report, permissions, extent).await?;
        }
    }
    Ok(report)
}

fn empty(permissions: &Permissions, month: Month, zone: &Zone) -> Report {
    Report {
        month,
        zone: zone.clone(),
        rules: permissions.revision().to_string(),
        log: None,
        kept_since: None,
        is_over: false,
        quality: Quality {
            capture: capture(permissions),
            ..Quality::default()
        },
        totals: [Counts::default(); 2],
        spend: Vec::new(),
        agents: Vec::new(),
        tools: Vec::new(),
        budgets: Vec::new(),
        exhausted: Vec::new(),
        corrections: Vec::new(),
        refusals: Vec::new(),
        rules_before: None,
        changes: Vec::new(),
        definitions: Vec::new(),
        access: Access::default(),
        looks: Vec::new(),
    }
}

async fn fill(
    db: &mut SqliteConnection,
    report: &mut Report,
    permissions: &Permissions,
    extent: Extent,
) -> Result<(), DbError> {
    let (month, zone) = (report.month, report.zone.clone());
    let [end, _] = ends(month, &zone);
    let spans = Spans {
        now: Span::new(month.begins(&zone), end),
        before: Span::new(month.previous().begins(&zone), month.begins(&zone)),
    };
    let Some(sealed) = read::sealed_at(db, extent.last).await? else {
        return Ok(());
    };
    let told_to = if report.is_over { end } else { sealed.at };
    report.log = Some(Log {
        first: extent.first,
        last: extent.last,
        sealed,
    });
    let notes = read::notes_in(db, extent).await?;
    let known = read::known_at(db, extent.first).await?;
    fill_quality(report, &notes, known, told_to);
    report.quality.deletions = read::deletions_in(db, extent).await?;
    fill_sums(db, report, spans).await?;
    report.budgets = ended_between(db, (spans.now.from(), told_to)).await?;
    (report.rules_before, report.changes) = read::rules_in(db, extent).await?;
    report.definitions = read::definitions_in(db, extent).await?;
    report.looks = read::looks_in(db, extent).await?;
    let used = used(db, permissions, end).await?;
    report.access = Access::of(permissions, &used, ends(month, &zone));
    Ok(())
}

/// The month, and the one before.
#[derive(Clone, Copy)]
struct Spans {
    now: Span,
    before: Span,
}

fn fill_quality(report: &mut Report, notes: &[Note], known: Option<Known>, to: Timestamp) {
    let from = report.month.begins(&report.zone);
    let kinds = |kinds: &[Kind]| -> Vec<Note> {
        let notes = notes.iter().filter(|note| kinds.contains(&note.kind));
        notes.cloned().collect()
    };
    report.quality.is_known = known.is_some() || !kinds(&[Kind::Started, Kind::Stopped]).is_empty();
    report.quality.gaps = gaps(notes, known, (from, to));
    report.quality.clock = kinds(&[Kind::Clock, Kind::Accepted]);
    report.corrections = kinds(&[Kind::Refunded, Kind::Repaired, Kind::Unfrozen]);
}

async fn fill_sums(
    db: &mut SqliteConnection,
    report: &mut Report,
    spans: Spans,
) -> Result<(), DbError> {
    let Some(all) = read::extent(db).await? else {
        return Ok(());
    };
    let fresh = Fresh::load(db, all).await?;
    report.quality.missing = fresh
        .missing()
        .filter(|(from, to)| *from < spans.now.to() && *to > spans.before.from());
    let edges = [spans.before.from(), spans.now.from(), spans.now.to()];
    if let [before, now] = read::series_all(db, &fresh, &edges).await?.as_slice() {
        report.totals = [*now, *before];
    }
    let earlier = read::agents_between(db, &fresh, spans.before).await?;
    let earlier: BTreeMap<String, i64> = earlier
        .into_iter()
        .map(|(name, counts)| (name, counts.calls()))
        .collect();
    let agents = read::agents_between(db, &fresh, spans.now).await?;
    let agents = agents.into_iter().map(|(name, counts)| {
        let before = earlier.get(&name).copied().unwrap_or(0);
        (name, counts, before)
    });
    report.agents = agents.collect();
    report.tools = read::tool_counts_between(db, &fresh, spans.now).await?;
    let units = (Of::All, By::Nothing);
    let spent = |spent: Vec<Spent>| spent.into_iter().map(|it| (it.unit, it.micros));
    report.spend = by_word([
        spent(read::spend_between(db, &fresh, spans.now, units).await?).collect(),
        spent(read::spend_between(db, &fresh, spans.before, units).await?).collect(),
    ]);
    let refused = read::refusals_between(db, &fresh, spans.now, (Of::All, By::Pairs)).await?;
    let times = |refused: &[Refused]| -> Vec<(String, i64)> {
        let refused = refused.iter();
        refused.map(|it| (it.reason.clone(), it.times)).collect()
    };
    let before = read::refusals_between(db, &fresh, spans.before, units).await?;
    report.refusals = by_word([times(&refused), times(&before)]);
    report.exhausted = refused
        .into_iter()
        .filter(|it| it.reason == "budget")
        .map(|it| ([it.agent, it.server, it.tool], it.times))
        .collect();
    report
        .exhausted
        .sort_by(|one, other| (other.1, &one.0).cmp(&(one.1, &other.0)));
    Ok(())
}

/// Adds up by word, now and before; the greatest of now first.
fn by_word(both: [Vec<(String, i64)>; 2]) -> Vec<(String, [i64; 2])> {
    let mut sums: BTreeMap<String, [i64; 2]> = BTreeMap::new();
    for (index, amounts) in both.into_iter().enumerate() {
        for (word, amount) in amounts {
            if let Some(sum) = sums.entry(word).or_default().get_mut(index) {
                *sum = sum.saturating_add(amount);
            }
        }
    }
    let mut sums: Vec<(String, [i64; 2])> = sums.into_iter().collect();
    sums.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    sums
}

/// What each agent called in the ninety days before the end of the month; no more than the last week of those that used
/// each of their grants in it.
async fn used(
    db: &mut SqliteConnection,
    permissions: &Permissions,
    end: Timestamp,
) -> Result<Used, DbError> {
    let Some(all) = read::extent(db).await? else {
        return Ok(Used::new());
    };
    let fresh = Fresh::load(db, all).await?;
    let mut used = Used::new();
    let mut rest: Vec<_> = permissions.agents().values().collect();
    for back in [WEEK, UNUSED] {
        let names: Vec<&str> = rest.iter().map(|agent| agent.name.as_str()).collect();
        let span = Span::new(earlier(end, back), end);
        for [agent, server, tool] in read::called_between(db, &fresh, &names, span).await? {
            used.entry(agent).or_default().push((server, tool));
        }
        rest.retain(|agent| has_unused(agent, used.get(agent.name.as_str())));
    }
    Ok(used)
}

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_sub(micros))
}

/// Agents by how much is kept of their calls at most.
fn capture(permissions: &Permissions) -> Vec<(&'static str, usize)> {
    let levels = [
        Capture::None,
        Capture::Metadata,
        Capture::Arguments,
        Capture::Full,
    ];
    let agents = || permissions.agents().values();
    let counted = levels.into_iter().map(|level| {
        let word = match level {
            Capture::None => "none",
            Capture::Metadata => "metadata",
            Capture::Arguments => "arguments",
            Capture::Full => "full",
        };
        (
            word,
            agents().filter(|agent| agent.capture == level).count(),
        )
    });
    counted.filter(|(_, agents)| *agents > 0).collect()
}
