//! How calls ended over time: a bar a piece of time, of three pieces.

use askama::Template;

use super::scaled;

/// The height of the tallest bar, in units of the chart.
pub(super) const HEIGHT: i64 = 56;

/// The width of a bar with the gap beside it, in the same.
const STEP: usize = 10;

/// Marks under the chart, at most.
const MARKS: usize = 6;

/// Bars over time, the oldest first.
#[derive(Debug, Template)]
#[template(path = "chart_stack.html", whitespace = "minimize")]
pub(in crate::dashboard) struct Stack {
    title: String,
    /// One sentence that says what there is to see.
    summary: String,
    /// What a bar is: `Hour`, `Day`.
    unit: &'static str,
    bars: Vec<Drawn>,
    marks: Vec<String>,
    width: usize,
    tallest: String,
}

/// A bar that is wanted.
#[derive(Debug, Clone, Default)]
pub(in crate::dashboard) struct Bar {
    /// The piece of time: `14:00 to 15:00`, `Mon 3 Nov`.
    pub(in crate::dashboard) name: String,
    /// What stands under the chart where there is room.
    pub(in crate::dashboard) mark: String,
    /// Where its calls are listed.
    pub(in crate::dashboard) href: String,
    pub(in crate::dashboard) fine: i64,
    pub(in crate::dashboard) errors: i64,
    pub(in crate::dashboard) refused: i64,
}

#[derive(Debug)]
struct Drawn {
    bar: Bar,
    x: usize,
    fine: Piece,
    errors: Piece,
    refused: Piece,
}

#[derive(Debug)]
struct Piece {
    y: i64,
    height: i64,
}

impl Bar {
    fn total(&self) -> i64 {
        self.fine
            .saturating_add(self.errors)
            .saturating_add(self.refused)
    }
}

impl Stack {
    /// Draws bars; `unit` is what one is.
    pub(in crate::dashboard) fn new(title: &str, unit: &'static str, bars: Vec<Bar>) -> Self {
        let tallest = bars.iter().map(Bar::total).max().unwrap_or(0);
        let busiest = bars.iter().max_by_key(|bar| bar.total());
        let busiest = busiest.filter(|bar| bar.total() > 0);
        let summary = busiest.map_or("No calls in this time.".into(), |bar| {
            let (total, calls) = (bar.total(), if bar.total() == 1 { "call" } else { "calls" });
            let total = crate::dashboard::figures::count(total);
            format!("Most in {}: {total} {calls}.", bar.name)
        });
        let every = bars.len().div_ceil(MARKS).max(1);
        let marks = bars.iter().step_by(every).map(|bar| bar.mark.clone());
        Self {
            title: title.into(),
            summary,
            unit,
            marks: marks.collect(),
            width: bars.len().max(1).saturating_mul(STEP),
            tallest: crate::dashboard::figures::count(tallest),
            bars: bars
                .into_iter()
                .enumerate()
                .map(|(at, bar)| Drawn::new(at, bar, tallest.max(1)))
                .collect(),
        }
    }
}

impl Drawn {
    fn new(at: usize, bar: Bar, tallest: i64) -> Self {
        let mut top = HEIGHT;
        let mut piece = |number: i64| {
            let height = scaled(number, tallest, HEIGHT);
            top = top.saturating_sub(height).max(0);
            Piece { y: top, height }
        };
        Self {
            x: at.saturating_mul(STEP),
            fine: piece(bar.fine),
            errors: piece(bar.errors),
            refused: piece(bar.refused),
            bar,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, fine: i64, errors: i64, refused: i64) -> Bar {
        Bar {
            name: name.into(),
            mark: name.into(),
            fine,
            errors,
            refused,
            ..Bar::default()
        }
    }

    #[test]
    fn pieces_stand_on_each_other_and_the_smallest_can_be_seen() {
        let stack = Stack::new(
            "Calls",
            "Hour",
            vec![bar("9:00", 1_000, 1, 0), bar("10:00", 0, 0, 0)],
        );
        let [first, second] = stack.bars.as_slice() else {
            panic!("two bars");
        };
        assert_eq!((first.fine.y, first.fine.height), (1, 55));
        assert_eq!((first.errors.y, first.errors.height), (0, 1));
        assert_eq!(first.refused.height, 0);
        assert_eq!((second.x, second.fine.height), (10, 0));
        assert_eq!(stack.summary, "Most in 9:00: 1\u{202f}001 calls.");
    }
}
