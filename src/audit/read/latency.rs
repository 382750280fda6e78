//! How long the calls of tools took, by days of UTC.

use std::collections::{BTreeMap, HashMap};

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::fresh::{Fresh, Noted};
use super::names::number;
use super::packed::{Selected, days_with_rows, each};
use super::sums::Span;
use crate::audit::coarse::{DAY_US, SUMS, Table, WIDEST, begins};
use crate::audit::histogram::{BUCKETS, Histogram};
use crate::db::DbError;
use crate::types::Timestamp;

/// How long calls took and how much they moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// How many took how long.
    pub times: Histogram,
    /// Bytes that were asked, of calls that were let through.
    pub bytes_in: i64,
    /// Bytes that were answered.
    pub bytes_out: i64,
}

impl Took {
    /// Adds what the columns of a table of wide sums say.
    fn add(&mut self, columns: &[i64; WIDEST]) {
        let Some((sums, classes)) = columns.split_first_chunk::<SUMS>() else {
            return;
        };
        let [.., bytes_in, bytes_out] = *sums;
        self.bytes_in = self.bytes_in.saturating_add(bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(bytes_out);
        if let Some(classes) = classes.first_chunk() {
            self.times.add(&Histogram::new(*classes));
        }
    }

    fn note(&mut self, noted: &Noted) {
        if let Some(latency_us) = noted.latency_us {
            self.times.count(latency_us);
        }
        self.bytes_in = self.bytes_in.saturating_add(noted.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(noted.bytes_out);
    }
}

/// The columns of a [`Took`], summed up.
fn summed() -> String {
    let classes = (0..BUCKETS).map(|class| format!("sum(b{class:02})"));
    let columns = ["sum(bytes_in)", "sum(bytes_out)"].map(String::from);
    let columns: Vec<String> = columns.into_iter().chain(classes).collect();
    columns.join(", ")
}

/// Two numbers and a [`Took`].
fn of_row(row: &SqliteRow) -> Result<([i64; 2], Took), sqlx::Error> {
    let mut counts = [0; BUCKETS];
    for (count, column) in counts.iter_mut().zip(4..) {
        *count = row.try_get(column)?;
    }
    let took = Took {
        times: Histogram::new(counts),
        bytes_in: row.try_get(2)?,
        bytes_out: row.try_get(3)?,
    };
    Ok(([row.try_get(0)?, row.try_get(1)?], took))
}

/// Of all tools in the days of UTC that a time touches, by the numbers of server and tool.
pub(super) async fn took(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    span: Span,
) -> Result<HashMap<[i64; 2], Took>, DbError> {
    let (from, to) = span.days_touched();
    let text = format!(
        "SELECT server_id, tool_id, {} FROM tool_day WHERE day_us >= $1 AND day_us < $2 GROUP BY server_id, tool_id",
        summed()
    );
    // The text is put together from constants of this program alone.
    let query = sqlx::query(AssertSqlSafe(text)).bind(from).bind(to);
    let rows = query.fetch_all(&mut *db).await?;
    let mut took = HashMap::new();
    for row in &rows {
        let (ids, of_tool) = of_row(row)?;
        took.insert(ids, of_tool);
    }
    let wanted = Selected {
        table: Table::ToolDay,
        time: (from, to),
        among: &[],
    };
    let packed = each::<WIDEST>(db, wanted, |row| {
        let [_, server, tool] = row.ids;
        let of_tool: &mut Took = took.entry([server, tool]).or_default();
        of_tool.add(row.values);
    });
    packed.await?;
    for noted in fresh.between(from, to) {
        let [_, server, tool] = noted.ids;
        let of_tool: &mut Took = took.entry([server, tool]).or_default();
        of_tool.note(noted);
    }
    Ok(took)
}

/// How long the calls of a server, or of one tool of it, took, for each day of UTC on which there was anything: all
/// days that the time touches.
///
/// # Errors
/// When SQLite refuses.
pub async fn latency_by_day(
    db: &mut SqliteConnection,
    fresh: &Fresh,
    (server, tool): (&str, Option<&str>),
    span: Span,
) -> Result<Vec<(Timestamp, Took)>, DbError> {
    let Some(server) = number(db, server).await? else {
        return Ok(Vec::new());
    };
    let tool = match tool {
        None => None,
        Some(tool) => match number(db, tool).await? {
            None => return Ok(Vec::new()),
            known => known,
        },
    };
    let (from, to) = span.days_touched();
    let text = format!(
        "{} SELECT day_us, 0, {} FROM day
        CROSS JOIN tool_day ON day_us = begins AND server_id = $3 AND tool_id BETWEEN coalesce($4, 0) AND coalesce($4, $5)
        GROUP BY day_us",
        days_with_rows(Table::ToolDay),
        summed()
    );
    let query = sqlx::query(AssertSqlSafe(text)).bind(from).bind(to);
    let query = query.bind(server).bind(tool).bind(i64::MAX);
    let rows = query.fetch_all(&mut *db).await?;
    let mut days = BTreeMap::new();
    for row in &rows {
        let ([day, _], of_day) = of_row(row)?;
        days.insert(day, of_day);
    }
    let is_meant = |[_, its_server, its_tool]: [i64; 3]| {
        its_server == server && tool.is_none_or(|tool| its_tool == tool)
    };
    let wanted = Selected {
        table: Table::ToolDay,
        time: (from, to),
        among: &[server],
    };
    let packed = each::<WIDEST>(db, wanted, |row| {
        if is_meant(row.ids) {
            let of_day: &mut Took = days.entry(row.at_us).or_default();
            of_day.add(row.values);
        }
    });
    packed.await?;
    let of_tool = fresh.between(from, to).filter(|noted| is_meant(noted.ids));
    for noted in of_tool {
        let day: &mut Took = days.entry(begins(noted.at_us, DAY_US)).or_default();
        day.note(noted);
    }
    let days = days.into_iter();
    let days = days.map(|(day, took)| (Timestamp::from_micros(day), took));
    Ok(days.collect())
}
