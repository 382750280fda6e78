//! A table whose cells are darker the greater their number is: who depends on what.

use askama::Template;

use crate::dashboard::figures::count;
use crate::dashboard::frame::Link;

/// The darkest shade.
pub(super) const SHADES: i64 = 8;

/// A table of shaded numbers. It is its own table for whoever does not see shades.
#[derive(Debug, Template)]
#[template(path = "chart_heat.html", whitespace = "minimize")]
pub(in crate::dashboard) struct Heat {
    title: String,
    /// One sentence that says what there is to see.
    summary: String,
    /// What the rows are.
    corner: &'static str,
    columns: Vec<Link>,
    rows: Vec<Drawn>,
}

/// A row that is wanted. The text of a link without an address leads nowhere.
#[derive(Debug)]
pub(in crate::dashboard) struct HeatRow {
    pub(in crate::dashboard) name: Link,
    /// A number for each column, and where what it counts is listed; without an address it is the rest of something
    /// and has no shade.
    pub(in crate::dashboard) cells: Vec<(i64, String)>,
}

#[derive(Debug)]
struct Drawn {
    name: Link,
    cells: Vec<Cell>,
}

#[derive(Debug)]
struct Cell {
    shade: i64,
    text: String,
    is_none: bool,
    href: String,
}

impl Heat {
    /// Shades numbers by the square root of their share of the greatest one.
    pub(in crate::dashboard) fn new(
        title: &str,
        summary: String,
        corner: &'static str,
        columns: Vec<Link>,
        rows: Vec<HeatRow>,
    ) -> Self {
        let all = rows.iter().flat_map(|row| &row.cells);
        let single = all.filter(|(_, href)| !href.is_empty());
        let most = single.map(|(number, _)| *number).max().unwrap_or(0);
        let rows = rows.into_iter().map(|row| Drawn {
            name: row.name,
            cells: row
                .cells
                .into_iter()
                .map(|(number, href)| Cell {
                    shade: if href.is_empty() {
                        0
                    } else {
                        shade(number, most)
                    },
                    text: count(number),
                    is_none: number == 0,
                    href,
                })
                .collect(),
        });
        Self {
            title: title.into(),
            summary,
            corner,
            columns,
            rows: rows.collect(),
        }
    }
}

/// From 0 for nothing to 8 for the most, by the square root of the share: otherwise one busy cell would hide all others.
pub(super) fn shade(number: i64, most: i64) -> i64 {
    if number <= 0 {
        return 0;
    }
    let share = number.saturating_mul(SHADES * SHADES).checked_div(most);
    share.unwrap_or(0).max(0).isqrt().clamp(1, SHADES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_grow_with_the_square_root_and_whatever_happened_has_one() {
        let table = [
            (0, 0),
            (1, 1),
            (100, 2),
            (400, 4),
            (900, 6),
            (1_599, 7),
            (1_600, 8),
        ];
        for (number, expected) in table {
            assert_eq!(shade(number, 1_600), expected, "{number}");
        }
        assert_eq!(shade(1, 1_000_000), 1);
        assert_eq!(shade(0, 0), 0);
    }
}
