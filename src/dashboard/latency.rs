//! How long calls took, day by day as lines and in classes of time as bars. Pure.

use crate::audit::Histogram;
use crate::audit::read::{Span, Took};
use crate::types::{Timestamp, Zone};

use super::chart::{Line, Lines, Point, Told};
use super::figures::{count, span};
use super::who::percent;

const MILLION: i64 = 1_000_000;

/// Marks under the chart, at most.
const MARKS: i64 = 6;

/// The lines of the chart: how many of a hundred, the name, the look.
const LINES: [(u8, &str, &str); 3] = [
    (50, "p50", "first"),
    (95, "p95", "third"),
    (99, "p99", "second"),
];

/// Lines of p50, p95 and p99 by days of UTC; nothing when no call ended.
pub(super) fn lines(days: &[(Timestamp, Took)], of: Span) -> Option<Lines> {
    let days: Vec<&(Timestamp, Took)> = days
        .iter()
        .filter(|(_, took)| took.times.calls() > 0)
        .collect();
    let mut all = Histogram::default();
    for (_, took) in &days {
        all.add(&took.times);
    }
    let slowest = days
        .iter()
        .max_by_key(|(_, took)| took.times.percentile(99))?;
    let summary = format!(
        "Of a hundred calls, 50 took no longer than {}, 95 than {} and 99 than {}; slowest on {}.",
        of_hundred(&all, 50),
        of_hundred(&all, 95),
        of_hundred(&all, 99),
        told(slowest.0)
    );
    let first = days.first().map_or(of.from(), |(day, _)| *day);
    let last = days.last().map_or(of.to(), |(day, _)| *day);
    let at = |day: Timestamp| place(day, first, last);
    let lines = LINES.into_iter().map(|(rank, name, class)| Line {
        name: name.into(),
        class,
        points: days
            .iter()
            .map(|(day, took)| Point {
                at: at(*day),
                value: micros(took.times.percentile(rank)),
            })
            .collect(),
        is_steps: false,
    });
    let rows = days.iter().map(|(day, took)| {
        let times = LINES.map(|(rank, ..)| of_hundred(&took.times, rank));
        let calls = count(took.times.calls());
        [told(*day)]
            .into_iter()
            .chain(times)
            .chain([calls])
            .collect()
    });
    let columns = ["Day of UTC", "p50", "p95", "p99", "Calls"].map(String::from);
    let told = Told {
        title: "How long calls took".into(),
        summary,
        marks: marks(first, last),
        columns: columns.into(),
        rows: rows.collect(),
    };
    let tell = |micros: i64| span(u64::try_from(micros).unwrap_or(0));
    Some(Lines::new(told, lines.collect(), None, tell))
}

/// Days under the left edges of equal parts of the chart, at most six.
fn marks(first: Timestamp, last: Timestamp) -> Vec<String> {
    const DAY_US: i64 = 86_400_000_000;
    let days = last.micros().saturating_sub(first.micros()) / DAY_US;
    let parts = days.clamp(1, MARKS);
    let begins = |part: i64| {
        let day = (days.saturating_mul(part) / parts).saturating_mul(DAY_US);
        Timestamp::from_micros(first.micros().saturating_add(day))
    };
    (0..parts).map(|part| told(begins(part))).collect()
}

/// Where a day stands between the first and the last, in millionths; an only one in the middle.
fn place(day: Timestamp, first: Timestamp, last: Timestamp) -> i64 {
    let whole = last.micros().saturating_sub(first.micros());
    let part = day.micros().saturating_sub(first.micros());
    part.saturating_mul(MILLION)
        .checked_div(whole)
        .unwrap_or(MILLION / 2)
}

fn micros(time: Option<u64>) -> i64 {
    time.and_then(|time| i64::try_from(time).ok()).unwrap_or(0)
}

fn of_hundred(times: &Histogram, rank: u8) -> String {
    times.percentile(rank).map_or("–".into(), span)
}

fn told(day: Timestamp) -> String {
    day.in_zone(&Zone::utc()).strftime("%-d %b").to_string()
}

/// Calls of one class of time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// `1.50 ms to 2.25 ms`.
    pub(super) name: String,
    pub(super) calls: String,
    pub(super) share: String,
    /// Of a bar 100 units wide.
    pub(super) width: i64,
}

/// The classes from the first to the last that has a call.
pub(super) fn classes(times: &Histogram) -> Vec<Class> {
    let (all, most) = (times.calls(), times.classes().map(|(_, calls)| calls).max());
    let most = most.unwrap_or(0).max(1);
    let mut begins = 0;
    let mut classes = Vec::new();
    for (bound, calls) in times.classes() {
        let name = match (begins, bound) {
            (0, Some(bound)) => format!("under {}", span(bound)),
            (begins, Some(bound)) => format!("{} to {}", span(begins), span(bound)),
            (begins, None) => format!("{} or more", span(begins)),
        };
        let width = calls.saturating_mul(100).checked_div(most).unwrap_or(0);
        classes.push((
            calls,
            Class {
                name,
                calls: count(calls),
                share: percent(calls, all),
                width: if calls > 0 { width.max(1) } else { 0 },
            },
        ));
        begins = bound.unwrap_or(begins);
    }
    let is_any = |(calls, _): &(i64, Class)| *calls > 0;
    let first = classes.iter().position(is_any).unwrap_or(classes.len());
    let last = classes
        .iter()
        .rposition(is_any)
        .map_or(first, |last| last.saturating_add(1));
    let shown = classes.into_iter().take(last).skip(first);
    shown.map(|(_, class)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_stands_where_it_belongs_between_the_first_and_the_last() {
        let at = Timestamp::from_micros;
        assert_eq!(place(at(5), at(0), at(10)), 500_000);
        assert_eq!(place(at(10), at(0), at(10)), 1_000_000);
        assert_eq!(place(at(7), at(7), at(7)), 500_000);
    }

    #[test]
    fn of_no_calls_there_is_nothing_to_draw() {
        assert_eq!(classes(&Histogram::default()), []);
        let span = Span::new(Timestamp::from_micros(0), Timestamp::from_micros(0));
        assert!(lines(&[(Timestamp::from_micros(0), Took::default())], span).is_none());
    }
}
