//! Sums by the hour and the day: what pages about weeks and years count with. Kept like [`super::rollups`], with
//! which they share the mark.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::counts::{COLUMNS, COUNTS, Counts};
use super::histogram::{BUCKETS, bucket};
use super::rollups::{self, Sums, quarter};
use super::seen::{Seen, What};
use crate::db::{DbError, ToSql, WriteTx, params_from_iter};

mod statements;

/// Microseconds of an hour.
pub(super) const HOUR_US: i64 = 3_600 * 1_000_000;

/// Microseconds of a day of UTC.
pub(super) const DAY_US: i64 = 24 * HOUR_US;

/// Columns of sums in front of those by class of time: the counts, bytes in, bytes out.
pub(super) const SUMS: usize = COUNTS + 2;

/// The most columns that a table has.
pub(super) const WIDEST: usize = SUMS + BUCKETS;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Table {
    AllQuarter,
    AgentHour,
    ToolHour,
    AgentDay,
    ToolDay,
    PairDay,
    RefusalDay,
    SpendQuarter,
    SpendDay,
    /// Those of [`super::rollups`], which are written there.
    Rollup,
    RollupRefusal,
}

/// The numbers of a primary key, in its order, and nothing behind them.
pub(super) type Key = [i64; 4];

/// How a table looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Its name.
    pub(super) name: &'static str,
    /// The numbers of its key.
    pub(super) key: &'static [&'static str],
    /// Which of them is the time.
    pub(super) time: usize,
    /// The text at the end of its key.
    pub(super) text: Option<&'static str>,
    /// What is summed up.
    pub(super) values: Values,
}

/// What a table sums up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// Calls and their ends.
    Counts,
    /// The same with bytes and classes of time.
    Wide,
    /// Calls, their ends, what they were charged, and six classes of time.
    Rollup,
    /// One number, in the column of this name.
    One(&'static str),
}

impl Table {
    /// All that are written here.
    pub(super) const ALL: [Self; 9] = [
        Self::AllQuarter,
        Self::AgentHour,
        Self::ToolHour,
        Self::AgentDay,
        Self::ToolDay,
        Self::PairDay,
        Self::RefusalDay,
        Self::SpendQuarter,
        Self::SpendDay,
    ];

    /// Those whose key begins with the time and then has names: they are packed when a day of UTC is over.
    pub(super) const PACKED: [Self; 8] = [
        Self::AgentDay,
        Self::ToolDay,
        Self::PairDay,
        Self::RefusalDay,
        Self::SpendDay,
        Self::SpendQuarter,
        Self::Rollup,
        Self::RollupRefusal,
    ];

    /// How it looks.
    pub(super) fn shape(self) -> Shape {
        let shape = |name, key, time| Shape {
            name,
            key,
            time,
            text: None,
            values: Values::Counts,
        };
        let by_text = |name, key, text, value| Shape {
            text: Some(text),
            values: Values::One(value),
            ..shape(name, key, 0)
        };
        const PAIR: &[&str] = &["day_us", "agent_id", "server_id", "tool_id"];
        const QUARTER: &[&str] = &["quarter_us", "agent_id", "server_id", "tool_id"];
        match self {
            Self::AllQuarter => shape("all_quarter", &["quarter_us"], 0),
            Self::AgentHour => shape("agent_hour", &["agent_id", "hour_us"], 1),
            Self::ToolHour => shape("tool_hour", &["server_id", "tool_id", "hour_us"], 2),
            Self::AgentDay => shape("agent_day", &["day_us", "agent_id"], 0),
            Self::ToolDay => Shape {
                values: Values::Wide,
                ..shape("tool_day", &["day_us", "server_id", "tool_id"], 0)
            },
            Self::PairDay => shape("pair_day", PAIR, 0),
            Self::RefusalDay => by_text("refusal_day", PAIR, "reason", "refused"),
            Self::SpendQuarter => by_text("spend_quarter", QUARTER, "unit", "amount"),
            Self::SpendDay => by_text("spend_day", PAIR, "unit", "amount"),
            Self::Rollup => Shape {
                values: Values::Rollup,
                ..shape("rollup", QUARTER, 0)
            },
            Self::RollupRefusal => by_text("rollup_refusal", QUARTER, "reason", "refused"),
        }
    }
}

impl Shape {
    /// The columns, in the order of the table.
    pub(super) fn columns(&self) -> Vec<Cow<'static, str>> {
        let key = self.key.iter().copied().chain(self.text);
        let counts = COLUMNS.into_iter();
        let mut columns: Vec<Cow<'static, str>> = key.map(Cow::from).collect();
        match self.values {
            Values::Counts => columns.extend(counts.map(Cow::from)),
            Values::Wide => {
                columns.extend(counts.chain(["bytes_in", "bytes_out"]).map(Cow::from));
                columns.extend((0..BUCKETS).map(|class| Cow::from(format!("b{class:02}"))));
            }
            Values::Rollup => columns.extend(rollups::columns().map(Cow::from)),
            Values::One(column) => columns.push(column.into()),
        }
        columns
    }

    /// The columns of the key.
    pub(super) fn whole_key(&self) -> Vec<&'static str> {
        self.key.iter().copied().chain(self.text).collect()
    }

    /// Agent, server and tool of the numbers behind the time; 0 for what the table does not have.
    pub(super) fn ids(&self, [first, second, third]: [i64; 3]) -> [i64; 3] {
        match self.key {
            [_, "server_id", ..] => [0, first, second],
            _ => [first, second, third],
        }
    }

    /// The other way round.
    pub(super) fn numbers(&self, [agent, server, tool]: [i64; 3]) -> [i64; 3] {
        match self.key {
            [_, "server_id", ..] => [server, tool, 0],
            _ => [agent, server, tool],
        }
    }
}

impl Values {
    /// How many columns that is.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Counts => COUNTS,
            Self::Wide => WIDEST,
            Self::Rollup => rollups::WIDTH,
            Self::One(_) => 1,
        }
    }
}

/// What one event adds to a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Added {
    sums: [i64; SUMS],
    class: Option<usize>,
}

impl Added {
    fn one(value: i64) -> Self {
        let mut added = Self::default();
        added.sums[0] = value;
        added
    }

    fn of(seen: &Seen<'_>) -> Option<Self> {
        let sums = Sums::of(seen)?;
        let mut added = Self::default();
        for (sum, count) in added.sums.iter_mut().zip(Counts::from(&sums).columns()) {
            *sum = count;
        }
        let (bytes_in, bytes_out) = match seen.what {
            What::Admitted { bytes_in, .. } => (bytes_in, 0),
            What::Closed { bytes_out, .. } => (0, bytes_out),
            What::Denied { .. } | What::Other { .. } => (0, 0),
        };
        added.sums[COUNTS] = bytes_in;
        added.sums[COUNTS + 1] = bytes_out;
        if let What::Closed { latency_us, .. } = seen.what {
            added.class = latency_us.map(bucket);
        }
        Some(added)
    }

    /// The columns of a table that are not nothing.
    pub(super) fn values(&self, values: Values) -> impl Iterator<Item = (usize, i64)> {
        let width = values.width().min(SUMS);
        let sums = self.sums.into_iter().enumerate().take(width);
        let class = self.class.filter(|_| values == Values::Wide);
        let class = class.map(|class| (SUMS + class, 1));
        sums.filter(|(_, value)| *value != 0).chain(class)
    }
}

/// Names the rows that an event stands in: table, key, text, and what it adds there.
pub(super) fn parts(seen: &Seen<'_>, mut each: impl FnMut(Table, Key, &str, &Added)) {
    let Some(added) = Added::of(seen) else { return };
    let [agent, server, tool] = seen.ids.map(Option::unwrap_or_default);
    let quarter = quarter(seen.at_us);
    let [hour, day] = [HOUR_US, DAY_US].map(|unit| begins(seen.at_us, unit));
    let pair = [day, agent, server, tool];
    each(Table::AllQuarter, [quarter, 0, 0, 0], "", &added);
    each(Table::AgentHour, [agent, hour, 0, 0], "", &added);
    each(Table::ToolHour, [server, tool, hour, 0], "", &added);
    each(Table::AgentDay, [day, agent, 0, 0], "", &added);
    each(Table::ToolDay, [day, server, tool, 0], "", &added);
    each(Table::PairDay, pair, "", &added);
    match &seen.what {
        What::Denied { reason, times, .. } => {
            each(Table::RefusalDay, pair, reason, &Added::one(*times));
        }
        What::Closed { spent, .. } => {
            for (unit, amount) in spent {
                let (by_quarter, added) = ([quarter, agent, server, tool], Added::one(*amount));
                each(Table::SpendQuarter, by_quarter, unit, &added);
                each(Table::SpendDay, pair, unit, &added);
            }
        }
        What::Admitted { .. } | What::Other { .. } => {}
    }
}

/// The beginning of the hour or the day of UTC that an instant lies in.
pub(super) fn begins(at_us: i64, unit: i64) -> i64 {
    at_us.saturating_sub(at_us.rem_euclid(unit))
}

/// The sums of one row, all columns that any table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row([i64; WIDEST]);

/// What a run of events adds to the tables.
#[derive(Debug, Default)]
pub(super) struct Coarse(BTreeMap<(Table, Key, String), Row>);

impl Coarse {
    /// Takes one event in.
    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        parts(seen, |table, key, text, added| {
            let row = self.0.entry((table, key, text.to_owned()));
            let row = row.or_insert(Row([0; WIDEST]));
            for (column, value) in added.values(table.shape().values) {
                if let Some(sum) = row.0.get_mut(column) {
                    *sum = sum.saturating_add(value);
                }
            }
        });
    }

    /// Adds all of it to the tables.
    ///
    /// # Errors
    /// When SQLite refuses; nothing of the transaction may be kept then.
    pub(super) fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), DbError> {
        for table in Table::ALL {
            let shape = table.shape();
            let (keys, width) = (shape.key.len(), shape.values.width());
            let rows = self.0.iter().filter(|((of, ..), _)| *of == table);
            tx.each(statements::of(table), rows, |add, ((_, key, text), row)| {
                let key = key.iter().take(keys).map(|number| number as &dyn ToSql);
                let text = shape.text.map(|_| text as &dyn ToSql);
                let sums = row.0.iter().take(width).map(|sum| sum as &dyn ToSql);
                add.change(params_from_iter(key.chain(text).chain(sums)))
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_the_columns_of_its_table() {
        for table in Table::ALL.into_iter().chain(Table::PACKED) {
            let shape = table.shape();
            let texts = usize::from(shape.text.is_some());
            let columns = shape.key.len() + texts + shape.values.width();
            assert_eq!(shape.columns().len(), columns, "{table:?}");
            let text = statements::of(table);
            let marks = vec!["?"; columns].join(", ");
            let keys = shape.key.join(", ");
            assert!(text.contains(&format!("VALUES ({marks})")), "{table:?}");
            let head = format!("INSERT INTO {} ({keys}", shape.name);
            assert!(text.starts_with(&head), "{table:?}");
            let (named, _) = text.split_once(')').unwrap();
            assert_eq!(named.matches(',').count() + 1, columns, "{table:?}");
            let named = named.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                named.ends_with(&shape.columns().join(", ")),
                "{table:?}: {named}"
            );
        }
    }

    #[test]
    fn the_numbers_of_a_row_are_told_apart_by_its_table_and_put_together_again() {
        let found = Table::PACKED.map(|table| {
            let shape = table.shape();
            assert_eq!(shape.time, 0, "{table:?}");
            let mut numbers = [7, 8, 9];
            numbers[shape.key.len() - 1..].fill(0);
            let ids = shape.ids(numbers);
            assert_eq!(shape.numbers(ids), numbers, "{table:?}");
            ids
        });
        let pair = [7, 8, 9];
        let [agent, tool, pairs @ ..] = found;
        assert_eq!((agent, tool, pairs), ([7, 0, 0], [0, 7, 8], [pair; 6]));
    }

    #[test]
    fn an_hour_and_a_day_begin_at_or_before_their_instants() {
        assert_eq!(begins(HOUR_US - 1, HOUR_US), 0);
        assert_eq!(begins(HOUR_US, HOUR_US), HOUR_US);
        assert_eq!(begins(-1, DAY_US), -DAY_US);
    }
}
