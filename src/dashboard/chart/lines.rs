//! Lines over time: how long calls took, how a budget was used up.

use std::fmt::Write;

use askama::Template;

/// The size of the picture, in its own units.
const WIDTH: i64 = 600;
const HEIGHT: i64 = 120;

/// Some lines over the same span of time.
#[derive(Debug, Template)]
#[template(path = "chart_lines.html", whitespace = "minimize")]
pub(in crate::dashboard) struct Lines {
    title: String,
    /// One sentence that says what there is to see.
    summary: String,
    drawn: Vec<Drawn>,
    /// The top of the scale, as people read it.
    top: String,
    bottom: String,
    marks: Vec<String>,
    /// The head of the table, and its rows.
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// A level to compare with, such as a limit: its height in the picture.
    level: Option<i64>,
}

/// A line that is wanted.
#[derive(Debug, Clone, Default)]
pub(in crate::dashboard) struct Line {
    /// What it is: `p95`, `today`.
    pub(in crate::dashboard) name: String,
    /// Its look: `first`, `second`, `third`, or `faint`.
    pub(in crate::dashboard) class: &'static str,
    pub(in crate::dashboard) points: Vec<Point>,
    /// Whether the value stays until the next point, instead of going there.
    pub(in crate::dashboard) is_steps: bool,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dashboard) struct Point {
    /// From 0 for the left edge to 1,000,000 for the right one.
    pub(in crate::dashboard) at: i64,
    pub(in crate::dashboard) value: i64,
}

#[derive(Debug)]
struct Drawn {
    name: String,
    class: &'static str,
    path: String,
    /// The only point of a line with no length.
    dot: Option<(i64, i64)>,
}

/// What is said around the lines.
#[derive(Debug, Default)]
pub(in crate::dashboard) struct Told {
    pub(in crate::dashboard) title: String,
    pub(in crate::dashboard) summary: String,
    /// Under the left edge, the right edge, and what is between.
    pub(in crate::dashboard) marks: Vec<String>,
    pub(in crate::dashboard) columns: Vec<String>,
    pub(in crate::dashboard) rows: Vec<Vec<String>>,
}

impl Lines {
    /// Draws lines from nought to the greatest value, or to `level` where that is greater; `tell` says a value.
    pub(in crate::dashboard) fn new(
        told: Told,
        lines: Vec<Line>,
        level: Option<i64>,
        tell: impl Fn(i64) -> String,
    ) -> Self {
        let values = lines.iter().flat_map(|line| &line.points);
        let top = values.map(|point| point.value).chain(level).max();
        let top = top.unwrap_or(0).max(1);
        let y = |value: i64| {
            let height = value.clamp(0, top).saturating_mul(HEIGHT);
            HEIGHT.saturating_sub(height.checked_div(top).unwrap_or(0))
        };
        Self {
            title: told.title,
            summary: told.summary,
            drawn: lines.iter().map(|line| draw(line, y)).collect(),
            top: tell(top),
            bottom: tell(0),
            marks: told.marks,
            columns: told.columns,
            rows: told.rows,
            level: level.map(y),
        }
    }
}

fn draw(line: &Line, y: impl Fn(i64) -> i64) -> Drawn {
    let mut path = String::new();
    for (number, point) in line.points.iter().enumerate() {
        let (x, y) = (x(point.at), y(point.value));
        // Writing to a String cannot fail.
        let _ = match (number, line.is_steps) {
            (0, _) => write!(path, "M{x} {y}"),
            (_, true) => write!(path, "H{x}V{y}"),
            (_, false) => write!(path, "L{x} {y}"),
        };
    }
    let dot = match line.points.as_slice() {
        [only] => Some((x(only.at), y(only.value))),
        _ => None,
    };
    Drawn {
        name: line.name.clone(),
        class: line.class,
        path,
        dot,
    }
}

fn x(at: i64) -> i64 {
    at.clamp(0, 1_000_000).saturating_mul(WIDTH) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_from_edge_to_edge_and_steps_stay_until_the_next_point() {
        let point = |at, value| Point { at, value };
        let line = |is_steps| Line {
            name: "left".into(),
            class: "first",
            points: vec![point(0, 10), point(500_000, 4), point(1_000_000, 0)],
            is_steps,
        };
        let lines = Lines::new(
            Told::default(),
            vec![line(true), line(false)],
            Some(20),
            |v| v.to_string(),
        );
        let paths: Vec<_> = lines
            .drawn
            .iter()
            .map(|drawn| drawn.path.as_str())
            .collect();
        assert_eq!(paths, ["M0 60H300V96H600V120", "M0 60L300 96L600 120"]);
        assert_eq!((lines.level, lines.top.as_str()), (Some(0), "20"));
    }
}
