//! Intervals between one instant and the next, and what is counted in each: of whole days of UTC from the sums of days, of
//! what is left at both ends of an interval from finer ones, and events without sums one by one.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::fresh::Fresh;
use super::packed::{Selected, each_counts};
use super::sums::{SUMMED, Span, counted, rows};
use crate::audit::coarse::{Table, begins};
use crate::audit::counts::Counts;
use crate::db::DbError;
use crate::types::Timestamp;

/// Intervals of one series at most: a year of days, eleven weeks of hours. Those beyond stay empty.
pub const INTERVALS: usize = 2_000;

/// The stretches of the list $1, each with the number of its interval.
pub(super) const STRETCHES: &str = "stretch AS (
    SELECT value ->> 0 AS n, value ->> 1 AS begins, value ->> 2 AS ends FROM json_each($1))";

/// Which calls a series is of.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// The statement that counts stretches of quarters of an hour or of hours, given their list and the names.
    pub(super) stretches: String,
    /// The table that counts days.
    pub(super) days: Table,
    /// Which rows of it are meant, where names begin with $3.
    pub(super) which: &'static str,
    /// The numbers with which the key behind the day begins, where only some are asked for.
    pub(super) among: &'a [i64],
    /// The numbers of the names.
    pub(super) ids: &'a [i64],
}

/// The number of an interval, and from when to when, in microseconds since 1970.
type Stretch = (usize, i64, i64);

/// Instants with intervals between them, in microseconds since 1970.
#[derive(Debug)]
pub(super) struct Edges {
    at_us: Vec<i64>,
    /// How many intervals were asked for.
    wanted: usize,
}

impl Edges {
    /// Each instant counts as the beginning of its unit, a quarter of an hour or an hour.
    pub(super) fn new(edges: &[Timestamp], unit: i64) -> Self {
        let at_us = edges.iter().take(INTERVALS.saturating_add(1));
        Self {
            at_us: at_us.map(|at| begins(at.micros(), unit)).collect(),
            wanted: edges.len().saturating_sub(1),
        }
    }

    /// Nothing in any of them.
    pub(super) fn empty(&self) -> Vec<Counts> {
        vec![Counts::default(); self.wanted]
    }

    /// What is counted in each.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub(super) async fn fill(
        &self,
        db: &mut SqliteConnection,
        fresh: &Fresh,
        asked: &Asked<'_>,
        is_meant: impl Fn([i64; 3]) -> bool,
    ) -> Result<Vec<Counts>, DbError> {
        let mut series = Series(self.empty());
        let (stretches, days) = self.pieces();
        series.add_stretches(db, &stretches, asked).await?;
        if !days.is_empty() {
            series.add_days(db, &days, asked, &is_meant).await?;
        }
        for noted in fresh.all().filter(|noted| is_meant(noted.ids)) {
            let after = self.at_us.partition_point(|edge| *edge <= noted.at_us);
            // The last edge begins no interval.
            let n = after.checked_sub(1).filter(|_| after < self.at_us.len());
            series.add(n, &noted.counts);
        }
        Ok(series.0)
    }

    /// The stretches that are less than days of UTC, and the whole days.
    fn pieces(&self) -> (Vec<Stretch>, Vec<Stretch>) {
        let (mut stretches, mut days) = (Vec::new(), Vec::new());
        for (n, interval) in self.at_us.windows(2).enumerate() {
            let [from, to] = [0, 1].map(|end| interval.get(end).copied().unwrap_or_default());
            let [from, to] = [from, to].map(Timestamp::from_micros);
            let pieces = Span::new(from, to).pieces();
            let of_interval = |(from, to)| Some((n, from, to)).filter(|_| from < to);
            stretches.extend(pieces.rest.into_iter().filter_map(of_interval));
            days.extend(of_interval(pieces.days));
        }
        (stretches, days)
    }
}

/// Counts by interval.
struct Series(Vec<Counts>);

impl Series {
    fn add(&mut self, n: Option<usize>, counts: &Counts) {
        if let Some(sum) = n.and_then(|n| self.0.get_mut(n)) {
            sum.add(counts);
        }
    }

    async fn add_stretches(
        &mut self,
        db: &mut SqliteConnection,
        stretches: &[Stretch],
        asked: &Asked<'_>,
    ) -> Result<(), DbError> {
        let stretches = serde_json::json!(stretches).to_string();
        // The text is put together from constants of this program alone.
        let query = sqlx::query_as(AssertSqlSafe(asked.stretches.clone())).bind(stretches);
        let query = asked.ids.iter().fold(query, |query, id| query.bind(*id));
        for row in query.fetch_all(db).await? {
            let ([n, ..], counts) = counted(row);
            self.add(usize::try_from(n).ok(), &counts);
        }
        Ok(())
    }

    async fn add_days(
        &mut self,
        db: &mut SqliteConnection,
        days: &[Stretch],
        asked: &Asked<'_>,
        is_meant: impl Fn([i64; 3]) -> bool,
    ) -> Result<(), DbError> {
        let interval = |day: i64| {
            let after = days.partition_point(|(_, begins, _)| *begins <= day);
            let (n, _, ends) = days.get(after.checked_sub(1)?)?;
            (day < *ends).then_some(*n)
        };
        let begins = days.first().map_or(0, |(_, begins, _)| *begins);
        let ends = days.last().map_or(0, |(_, _, ends)| *ends);
        let wanted = Selected {
            table: asked.days,
            time: (begins, ends),
            among: asked.among,
        };
        let packed = each_counts(&mut *db, wanted, |day, ids, counts| {
            if is_meant(ids) {
                self.add(interval(day), &counts);
            }
        });
        packed.await?;
        // As there.
        let text = format!(
            "SELECT day_us, 0, 0, {SUMMED} FROM {} WHERE day_us >= $1 AND day_us < $2 AND {} GROUP BY day_us",
            asked.days.shape().name,
            asked.which
        );
        let ids = [&[begins, ends], asked.ids].concat();
        for ([day, ..], counts) in rows(db, text, &ids).await? {
            self.add(interval(day), &counts);
        }
        Ok(())
    }
}
