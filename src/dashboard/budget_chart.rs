//! What was left of a budget over its window, beside the windows before. Pure.

use std::time::Duration;

use crate::budget::{PastWindow, Span};
use crate::types::{Timestamp, Window};

use super::budget::Found;
use super::budget_row::{amount, is_rolling};
use super::chart::{Line, Lines, Point, Told};
use super::figures::Watch;
use super::label::{Label, label};

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_US: i64 = 3_600_000_000;

/// Windows before this one that are drawn.
const EARLIER: usize = 6;

/// How much was left from an instant on.
type Left = (Timestamp, i64);

/// What is drawn.
#[derive(Debug)]
pub(super) struct Steps {
    /// From the left edge to the right one.
    axis: Span,
    limit: i64,
    now: Vec<Left>,
    /// Windows before, each with its own span.
    before: Vec<(Span, Vec<Left>)>,
    /// What the steps are made from.
    how: &'static str,
}

impl Steps {
    /// What the ledger and the calls of the window tell.
    pub(super) fn new(found: &Found, watch: Watch<'_>) -> Self {
        let label = label(found.key.as_str());
        if is_rolling(&label.window) {
            return Self::rolling(found, &label, watch.now);
        }
        let last = found.windows.first().copied();
        let window = found.window.or(last).unwrap_or(PastWindow {
            span: Span {
                starts: watch.now,
                ends: watch.now,
            },
            limit: 0,
            used: 0,
            held: 0,
            overrun: 0,
            is_frozen: false,
        });
        let mut axis = window.span;
        if axis.never_ends() {
            axis = Span {
                starts: found.hours.first().map_or(watch.now, |(hour, _)| *hour),
                ends: watch.now,
            };
        }
        let until = axis.ends.min(watch.now);
        let charged = found.calls.iter().map(|(_, charged)| *charged);
        let is_exact = found.is_complete && charged.fold(0, i64::saturating_add) == window.used;
        let taken: Vec<(Timestamp, i64)> = if is_exact {
            let calls = found.calls.iter().rev();
            calls.map(|(row, charged)| (row.at, *charged)).collect()
        } else {
            by_hour(&found.hours, axis)
        };
        let before = found.windows.iter().skip(1).take(EARLIER);
        Self {
            now: stairs(axis.starts, until, window.limit, &taken),
            before: before
                .map(|window| {
                    let (span, hours) = (window.span, by_hour(&found.hours, window.span));
                    (span, stairs(span.starts, span.ends, window.limit, &hours))
                })
                .collect(),
            axis,
            limit: window.limit,
            how: if is_exact {
                "each step is a call"
            } else {
                "steps are hours of UTC"
            },
        }
    }

    /// What counts at each moment is what was taken in the time before it.
    fn rolling(found: &Found, label: &Label, now: Timestamp) -> Self {
        let length = rolling_us(label);
        let limit = found.windows.first().map_or(0, |window| window.limit);
        let starts = back(now, length.saturating_mul(2));
        let mut moves: Vec<(Timestamp, i64)> = Vec::new();
        for (hour, used) in &found.hours {
            let taken = hour.after(HOUR);
            let given = Timestamp::from_micros(taken.micros().saturating_add(length));
            moves.push((taken, *used));
            moves.push((given, used.saturating_neg()));
        }
        moves.sort();
        let before = moves.iter().filter(|(at, _)| *at <= starts);
        let before = before.map(|(_, used)| *used).fold(0, i64::saturating_add);
        let within = moves
            .iter()
            .filter(|(at, _)| *at > starts && *at < now)
            .copied()
            .collect::<Vec<_>>();
        Self {
            axis: Span { starts, ends: now },
            limit,
            now: stairs_from(starts, now, limit, limit.saturating_sub(before), &within),
            before: Vec::new(),
            how: "steps are hours of UTC",
        }
    }
}

/// From when on a budget that rolls is read, so that what counted at the left edge is known.
pub(super) fn rolling_since(label: &Label, now: Timestamp) -> Timestamp {
    back(now, rolling_us(label).saturating_mul(3))
}

fn rolling_us(label: &Label) -> i64 {
    match label.window.parse() {
        Ok(Window::Rolling(length)) => length.micros(),
        Ok(Window::Calendar(..) | Window::Total) | Err(_) => HOUR_US,
    }
}

fn back(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_sub(micros))
}

/// What was taken by the end of each hour that lies in a span; the parts of hours at its edges are whole ones.
fn by_hour(hours: &[(Timestamp, i64)], span: Span) -> Vec<(Timestamp, i64)> {
    let within = hours.iter().filter(|(hour, _)| {
        let middle = Timestamp::from_micros(hour.micros().saturating_add(HOUR_US / 2));
        span.contains(middle)
    });
    within
        .map(|(hour, used)| (hour.after(HOUR).min(span.ends), *used))
        .collect()
}

fn stairs(from: Timestamp, until: Timestamp, limit: i64, taken: &[(Timestamp, i64)]) -> Vec<Left> {
    stairs_from(from, until, limit, limit, taken)
}

fn stairs_from(
    from: Timestamp,
    until: Timestamp,
    limit: i64,
    mut left: i64,
    taken: &[(Timestamp, i64)],
) -> Vec<Left> {
    let mut steps = vec![(from, left.clamp(0, limit))];
    for (at, used) in taken {
        left = left.saturating_sub(*used);
        steps.push(((*at).clamp(from, until.max(from)), left.clamp(0, limit)));
    }
    steps.push((until.max(from), left.clamp(0, limit)));
    steps
}

/// By when nothing was left of a window, to the hour.
pub(super) fn spent_by(window: &PastWindow, hours: &[(Timestamp, i64)]) -> Option<Timestamp> {
    let mut left = window.limit;
    for (at, used) in by_hour(hours, window.span) {
        left = left.saturating_sub(used);
        if left <= 0 {
            return Some(at);
        }
    }
    None
}

/// The chart; `None` where there is nothing to draw, or hours are too long for the window.
pub(super) fn burn_down(label: &Label, steps: &Steps, watch: Watch<'_>) -> Option<Lines> {
    let length = steps
        .axis
        .ends
        .micros()
        .saturating_sub(steps.axis.starts.micros());
    let too_short = is_rolling(&label.window) && rolling_us(label) < 2 * HOUR_US;
    if length <= 0 || too_short || steps.limit <= 0 {
        return None;
    }
    let tell = |value: i64| amount(&label.unit, value);
    let mut lines: Vec<Line> = steps
        .before
        .iter()
        .rev()
        .map(|(span, lefts)| line("", "faint", *span, lefts))
        .collect();
    if let Some(last) = lines.last_mut() {
        last.name = "windows before".into();
    }
    lines.push(line("left", "first", steps.axis, &steps.now));
    let (first, last) = (steps.now.first(), steps.now.last());
    let left = |step: Option<&Left>| step.map_or_else(String::new, |(_, left)| tell(*left));
    let told = Told {
        title: "What was left".into(),
        summary: format!(
            "From {} at the beginning to {} of {}; {}.",
            left(first),
            left(last),
            tell(steps.limit),
            steps.how
        ),
        marks: marks(steps.axis, length, watch),
        columns: vec!["From".into(), "Left".into()],
        rows: steps
            .now
            .iter()
            .map(|(at, left)| vec![watch.tell(*at).line(), tell(*left)])
            .collect(),
    };
    // Where windows before had a higher one, the limit of now is a level to compare with.
    let tops = steps.before.iter().filter_map(|(_, lefts)| lefts.first());
    let is_lower = tops.map(|(_, left)| *left).any(|top| top > steps.limit);
    let level = is_lower.then_some(steps.limit);
    Some(Lines::new(told, lines, level, tell))
}

fn line(name: &str, class: &'static str, span: Span, lefts: &[Left]) -> Line {
    let length = span.ends.micros().saturating_sub(span.starts.micros());
    let points = lefts.iter().map(|(at, left)| {
        let over = at.micros().saturating_sub(span.starts.micros());
        let share = i128::from(over).saturating_mul(1_000_000);
        let share = share.checked_div(length.max(1).into()).unwrap_or(0);
        Point {
            at: i64::try_from(share).unwrap_or(0),
            value: *left,
        }
    });
    Line {
        name: name.into(),
        class,
        points: points.collect(),
        is_steps: true,
    }
}

fn marks(axis: Span, length: i64, watch: Watch<'_>) -> Vec<String> {
    let quarters = (0..4).map(|quarter: i64| {
        let into = (length / 4).saturating_mul(quarter);
        Timestamp::from_micros(axis.starts.micros().saturating_add(into))
    });
    let told = quarters.map(|at| {
        let local = at.in_zone(watch.zone);
        if length > 48 * HOUR_US {
            local.strftime("%-d %b").to_string()
        } else {
            local.strftime("%H:%M").to_string()
        }
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_micros(hours * HOUR_US)
    }

    #[test]
    fn what_is_left_goes_down_in_steps_and_stays() {
        let taken = [(at(1), 3), (at(2), 9)];
        let steps = stairs(at(0), at(5), 10, &taken);
        assert_eq!(steps, [(at(0), 10), (at(1), 7), (at(2), 0), (at(5), 0)]);
        let none = stairs(at(0), at(5), 10, &[]);
        assert_eq!(none, [(at(0), 10), (at(5), 10)]);
    }

    #[test]
    fn hours_count_in_the_window_that_has_most_of_them() {
        let half = HOUR_US / 2;
        let span = Span {
            starts: Timestamp::from_micros(24 * HOUR_US - half),
            ends: Timestamp::from_micros(48 * HOUR_US - half),
        };
        let hours = [(at(22), 1), (at(23), 2), (at(30), 4), (at(47), 8)];
        let within: Vec<_> = by_hour(&hours, span)
            .into_iter()
            .map(|(_, used)| used)
            .collect();
        assert_eq!(within, [2, 4]);
    }

    #[test]
    fn a_window_is_spent_by_the_end_of_an_hour() {
        let window = PastWindow {
            span: Span {
                starts: at(0),
                ends: at(24),
            },
            limit: 5,
            used: 5,
            held: 0,
            overrun: 0,
            is_frozen: false,
        };
        let hours = [(at(1), 2), (at(6), 3), (at(25), 9)];
        assert_eq!(spent_by(&window, &hours), Some(at(7)));
        assert_eq!(spent_by(&window, &hours[..1]), None);
    }
}
