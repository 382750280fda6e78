//! The days of half a year, week by week. Pure.

use jiff::ToSpan;
use jiff::civil::Date;

use crate::audit::Counts;
use crate::audit::filter::Period;
use crate::dashboard::chart::{Calendar, Day, Week};
use crate::dashboard::figures::{Watch, count};
use crate::dashboard::slices::beginning;
use crate::types::{Timestamp, Zone};

/// Weeks that are shown, with the one that runs.
const WEEKS: i64 = 26;

/// Whole days from a Monday up to today.
#[derive(Debug)]
pub(super) struct Days {
    /// The beginning of each, and the end of today.
    pub(super) edges: Vec<Timestamp>,
}

impl Days {
    /// The weeks up to an instant.
    pub(super) fn until(now: Timestamp, zone: &Zone) -> Self {
        let today = now.in_zone(zone).date();
        let since_monday = i64::from(today.weekday().to_monday_zero_offset());
        let back = since_monday.saturating_add((WEEKS - 1) * 7);
        let first = today.checked_sub(back.days()).unwrap_or(today);
        let count = back.saturating_add(2);
        let dates = (0..count).filter_map(|day| first.checked_add(day.days()).ok());
        Self {
            edges: dates
                .filter_map(|date: Date| beginning(date, zone))
                .collect(),
        }
    }

    /// The chart; `href` leads to the calls of a day.
    pub(super) fn calendar(
        &self,
        series: &[Counts],
        watch: Watch<'_>,
        href: impl Fn(Period) -> String,
    ) -> Calendar {
        let pieces = self.edges.windows(2).zip(series);
        let days = pieces.filter_map(|(edges, counts)| match edges {
            [from, to] => Some(Day {
                name: told(*from, watch, "%a %-d %b"),
                calls: counts.calls(),
                href: href(Period::Between {
                    from: Some(*from),
                    to: Some(*to),
                }),
            }),
            _ => None,
        });
        let mut weeks: Vec<Week> = Vec::new();
        for (at, day) in days.enumerate() {
            if at % 7 == 0 {
                let name = self.edges.get(at).map(|from| told(*from, watch, "%-d %b"));
                weeks.push(Week {
                    name: name.unwrap_or_default(),
                    days: Vec::new(),
                });
            }
            if let Some(week) = weeks.last_mut() {
                week.days.push(day);
            }
        }
        let summary = summary(&weeks);
        Calendar::new("Days of the last half year", summary, weeks)
    }
}

fn summary(weeks: &[Week]) -> String {
    let days = || weeks.iter().flat_map(|week| &week.days);
    let active = days().filter(|day| day.calls > 0).count();
    let busiest = days()
        .max_by_key(|day| day.calls)
        .filter(|day| day.calls > 0);
    busiest.map_or("It called on none of these days.".into(), |day| {
        let on = if active == 1 { "day" } else { "days" };
        format!(
            "It called on {active} {on}, most on {}: {}.",
            day.name,
            count(day.calls)
        )
    })
}

/// A day of UTC, as sums know it.
pub(super) fn of_utc(day: Timestamp) -> String {
    day.in_zone(&Zone::utc()).strftime("%-d %b %Y").to_string()
}

fn told(at: Timestamp, watch: Watch<'_>, form: &str) -> String {
    at.in_zone(watch.zone).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::filter::instant;

    #[test]
    fn half_a_year_begins_with_a_monday_and_ends_today_also_over_a_change_of_clocks() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| instant(text, &zone).unwrap();
        let days = Days::until(at("2026-11-20T15:20"), &zone);
        assert_eq!(days.edges.len(), 25 * 7 + 5 + 1);
        assert_eq!(days.edges[0], at("2026-05-25"));
        assert_eq!(days.edges.last(), Some(&at("2026-11-21")));
        let now = at("2026-11-20T15:20");
        let watch = Watch { zone: &zone, now };
        let counts = |calls| Counts {
            admitted: calls,
            ..Counts::default()
        };
        let mut series = vec![counts(0); 180];
        series[179] = counts(3);
        let text = days.calendar(&series, watch, |_| "x".into()).to_string();
        assert!(
            text.contains("It called on 1 day, most on Fri 20 Nov: 3."),
            "{text}"
        );
        assert!(text.contains("<title>Fri 20 Nov: 3</title>"));
    }
}
