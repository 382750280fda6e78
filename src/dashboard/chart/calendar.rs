//! Days as small squares, a column a week: on which days somebody called.

use askama::Template;

use crate::dashboard::figures::count;

use super::heat::shade;

/// The side of a square with the gap beside it, in units of the chart.
const STEP: usize = 12;

/// Days of weeks, the oldest week first.
#[derive(Debug, Template)]
#[template(path = "chart_calendar.html", whitespace = "minimize")]
pub(in crate::dashboard) struct Calendar {
    title: String,
    /// One sentence that says what there is to see.
    summary: String,
    width: usize,
    weeks: Vec<Drawn>,
}

/// A week that is wanted, from Monday on; days that are still to come are left out.
#[derive(Debug)]
pub(in crate::dashboard) struct Week {
    /// Its first day: `16 Nov`.
    pub(in crate::dashboard) name: String,
    pub(in crate::dashboard) days: Vec<Day>,
}

/// A day that is wanted.
#[derive(Debug)]
pub(in crate::dashboard) struct Day {
    /// `Fri 20 Nov`.
    pub(in crate::dashboard) name: String,
    pub(in crate::dashboard) calls: i64,
    /// Where they are listed.
    pub(in crate::dashboard) href: String,
}

#[derive(Debug)]
struct Drawn {
    week: Week,
    x: usize,
    squares: Vec<Square>,
}

#[derive(Debug)]
struct Square {
    y: usize,
    shade: i64,
    title: String,
}

impl Calendar {
    pub(in crate::dashboard) fn new(title: &str, summary: String, weeks: Vec<Week>) -> Self {
        let days = weeks.iter().flat_map(|week| &week.days);
        let most = days.map(|day| day.calls).max().unwrap_or(0);
        let drawn = weeks.into_iter().enumerate().map(|(at, week)| {
            let days = week.days.iter().enumerate();
            let squares = days.map(|(down, day)| Square {
                y: down.saturating_mul(STEP),
                shade: shade(day.calls, most),
                title: format!("{}: {}", day.name, count(day.calls)),
            });
            Drawn {
                x: at.saturating_mul(STEP),
                squares: squares.collect(),
                week,
            }
        });
        let weeks: Vec<Drawn> = drawn.collect();
        Self {
            title: title.into(),
            summary,
            width: weeks.len().max(1).saturating_mul(STEP),
            weeks,
        }
    }
}
