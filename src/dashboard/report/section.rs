//! The pieces a document is made of, whatever form it is written in. Pure.

use crate::types::{Timestamp, Zone, shown};

/// A part of the document with a heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

/// What stands in a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Block {
    /// A sentence or two of our own. Nothing of anybody else is in it.
    Text(String),
    /// Names and what they say.
    Facts(Vec<(&'static str, Cell)>),
    Table(Table),
}

/// A table. Its caption says what its rows are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    pub(super) caption: String,
    /// The heads, and whether numbers stand under them.
    pub(super) columns: Vec<(&'static str, bool)>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Whether people write into it.
    pub(super) is_form: bool,
}

/// What stands in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// Words of our own, and numbers.
    Text(String),
    /// Words of somebody else, with what cannot be seen made visible.
    Name(String),
    /// Digits of a hash, an id or a path of the rules.
    Code(String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A name that somebody else gave.
    pub(super) fn name(text: &str) -> Self {
        Self::Name(shown::name(text).to_string())
    }

    /// A sentence that somebody else wrote.
    pub(super) fn sentence(text: Option<&str>) -> Self {
        text.map_or_else(Self::none, |text| {
            Self::Name(shown::sentence(text).to_string())
        })
    }

    pub(super) fn code(text: &str) -> Self {
        Self::Code(shown::name(text).to_string())
    }

    pub(super) fn none() -> Self {
        Self::Text(String::new())
    }

    /// An instant on the clocks of a zone, to the second.
    pub(super) fn time(at: Timestamp, zone: &Zone) -> Self {
        Self::Text(time(at, zone))
    }
}

/// An instant as the document writes it: `2026-10-03 14:03:22 +02:00`.
pub(super) fn time(at: Timestamp, zone: &Zone) -> String {
    at.in_zone(zone)
        .strftime("%Y-%m-%d %H:%M:%S %:z")
        .to_string()
}

impl Table {
    /// A table of these columns; those whose head begins with `#` hold numbers.
    pub(super) fn new(caption: &str, columns: &[&'static str]) -> Self {
        let columns = columns.iter().map(|head| match head.strip_prefix('#') {
            Some(head) => (head, true),
            None => (*head, false),
        });
        Self {
            caption: caption.into(),
            columns: columns.collect(),
            ..Self::default()
        }
    }

    /// Whether numbers stand in a column.
    pub(super) fn is_number(&self, column: &usize) -> bool {
        self.columns
            .get(*column)
            .is_some_and(|(_, is_number)| *is_number)
    }

    pub(super) fn row(&mut self, row: impl Into<Vec<Cell>>) {
        self.rows.push(row.into());
    }

    /// As a block, or a sentence where there is no row.
    pub(super) fn or(self, nothing: &str) -> Block {
        if self.rows.is_empty() {
            Block::Text(nothing.into())
        } else {
            Block::Table(self)
        }
    }
}
