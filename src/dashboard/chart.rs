//! Charts as SVG: geometry in attributes, colours in the style sheet, and every number also in a table. Pure.
//!
//! Units of a chart are its own; the picture is stretched to the width there is.

mod calendar;
mod heat;
mod lines;
mod stack;

pub(super) use calendar::{Calendar, Day, Week};
pub(super) use heat::{Heat, HeatRow};
pub(super) use lines::{Line, Lines, Point, Told};
pub(super) use stack::{Bar, Stack};

/// A number as a share of another, in units of a chart. What happened at all can be seen.
fn scaled(number: i64, tallest: i64, height: i64) -> i64 {
    let scaled = number
        .saturating_mul(height)
        .checked_div(tallest)
        .unwrap_or(0);
    if number > 0 {
        scaled.clamp(1, height)
    } else {
        0
    }
}
