//! Calls on the screen: as a table for people, as JSON and CSV for programs.

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::audit::csv::{self, Cell};
use crate::audit::read::CallRow;
use crate::types::Zone;
use crate::types::shown::{escaped, name};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people; may change with every version.
    #[default]
    Table,
    /// One array.
    Json,
    /// One object a line.
    Jsonl,
    /// For spreadsheets.
    Csv,
}

/// The columns of the table. The last is as wide as it is.
const TITLES: [&str; 8] = [
    "TIME", "AGENT", "SERVER", "TOOL", "DECISION", "REASON", "MS", "CALL",
];

/// Writes rows one by one, each as a line without its end.
#[derive(Debug)]
pub(super) struct Rows {
    format: Format,
    zone: Zone,
    widths: [usize; 8],
    written: usize,
}

impl Rows {
    pub(super) fn new(format: Format, zone: Zone) -> Self {
        let widths = TITLES.map(str::len);
        Self {
            format,
            zone,
            widths,
            written: 0,
        }
    }

    /// Makes the columns of the table as wide as these rows need them.
    pub(super) fn fit(&mut self, rows: &[CallRow]) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(self::cells(row, &self.zone)) {
                *width = (*width).max(cell.chars().count());
            }
        }
    }

    /// What stands before the first row.
    pub(super) fn head(&self) -> Option<String> {
        match self.format {
            Format::Table => Some(self.aligned(TITLES.map(Into::into))),
            Format::Json => Some("[".into()),
            Format::Jsonl => None,
            Format::Csv => Some(csv_line(FIELDS.map(Cell::Text))),
        }
    }

    /// What stands after the last.
    pub(super) fn foot(&self) -> Option<&'static str> {
        match self.format {
            Format::Json => Some("]"),
            Format::Table | Format::Jsonl | Format::Csv => None,
        }
    }

    /// One row.
    pub(super) fn row(&mut self, row: &CallRow) -> String {
        let is_first = self.written == 0;
        self.written = self.written.saturating_add(1);
        match self.format {
            Format::Table => self.aligned(cells(row, &self.zone)),
            Format::Json if is_first => json(row),
            // The comma stands before what comes next: nobody knows which row is the last.
            Format::Json => format!(",{}", json(row)),
            Format::Jsonl => json(row),
            Format::Csv => csv_line(values(row).iter().map(csv_cell)),
        }
    }

    fn aligned(&self, cells: [String; 8]) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
            line.push_str(cell);
            let gap = width.saturating_sub(cell.chars().count()).saturating_add(2);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn cells(row: &CallRow, zone: &Zone) -> [String; 8] {
    let opening = &row.opening;
    let text = |text: &Option<String>| {
        text.as_deref()
            .map(|text| name(text).to_string())
            .unwrap_or_default()
    };
    let latency = row.closing.as_ref().and_then(|closing| closing.latency_us);
    let tool = if opening.tool.is_some() {
        text(&opening.tool)
    } else {
        text(&opening.method)
    };
    [
        row.at.rfc3339(zone),
        text(&opening.agent),
        text(&opening.server),
        tool,
        row.state.as_str().into(),
        text(&opening.reason),
        latency
            .map(|us| (us / 1_000).to_string())
            .unwrap_or_default(),
        row.call.map(|call| call.to_string()).unwrap_or_default(),
    ]
}

/// The names of what programs get, in the order of the columns.
const FIELDS: [&str; 21] = [
    "seq",
    "at",
    "call",
    "decision",
    "agent",
    "server",
    "tool",
    "method",
    "target",
    "reason",
    "message",
    "policy",
    "rule",
    "line",
    "client",
    "bytes_in",
    "count",
    "outcome",
    "error",
    "latency_us",
    "bytes_out",
];

/// The values that go with [`FIELDS`]; what is not known is null.
fn values(row: &CallRow) -> [Value; 21] {
    let opening = &row.opening;
    let closing = row.closing.as_ref();
    [
        row.seq.into(),
        row.at.rfc3339_utc().into(),
        row.call.map(|call| call.to_string()).into(),
        row.state.as_str().into(),
        opening.agent.clone().into(),
        opening.server.clone().into(),
        opening.tool.clone().into(),
        opening.method.clone().into(),
        opening.target.clone().into(),
        opening.reason.clone().into(),
        opening.message.clone().into(),
        opening.policy.clone().into(),
        opening.rule.clone().into(),
        opening.line.into(),
        opening.client.clone().into(),
        opening.bytes_in.into(),
        opening.count.into(),
        closing.and_then(|closing| closing.outcome.clone()).into(),
        closing.and_then(|closing| closing.error.clone()).into(),
        closing.and_then(|closing| closing.latency_us).into(),
        closing.and_then(|closing| closing.bytes_out).into(),
    ]
}

fn json(row: &CallRow) -> String {
    let fields = FIELDS.into_iter().zip(values(row));
    let known = fields.filter(|(_, value)| !value.is_null());
    let known: Map<String, Value> = known.map(|(name, value)| (name.into(), value)).collect();
    escaped(&Value::Object(known).to_string()).into_owned()
}

fn csv_line<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> String {
    let mut line = String::new();
    csv::row(&mut line, cells);
    line.pop();
    line
}

fn csv_cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Number(number) => number.as_i64().map_or(Cell::Empty, Cell::Number),
        Value::String(text) => Cell::Text(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Cell::Empty,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::read::{CallState, Opening};
    use crate::types::Timestamp;

    /// What agents may call themselves and their tools (T55).
    const WILD: [&str; 8] = [
        "a\nb\r\nc",
        "\u{1b}[2J\u{1b}]0;owned\u{7}",
        "\u{9b}31m",
        "user\u{202e}nimda",
        "\",\"decision\":\"ok",
        "=HYPERLINK(\"http://x\")",
        "zero\u{200b}width\u{feff}",
        "}\n{\"seq\":1}",
    ];

    fn row(text: &str) -> CallRow {
        CallRow {
            seq: 7,
            at: Timestamp::from_micros(1_795_215_600_000_000),
            call: None,
            state: CallState::Denied,
            opening: Opening {
                agent: Some("clawd".into()),
                tool: Some(text.into()),
                message: Some(text.into()),
                client: Some(text.repeat(2_000)),
                bytes_in: Some(3),
                ..Opening::default()
            },
            closing: None,
        }
    }

    fn rows(format: Format) -> Rows {
        Rows::new(format, Zone::named("Europe/Berlin").unwrap())
    }

    #[test]
    fn no_text_of_an_agent_steers_a_terminal_or_makes_a_second_row() {
        for text in WILD {
            for format in [Format::Table, Format::Json, Format::Jsonl, Format::Csv] {
                let mut rows = rows(format);
                rows.fit(&[row(text)]);
                let line = rows.row(&row(text));
                assert!(!line.contains(char::is_control), "{format:?}: {line:?}");
                assert!(
                    !line.contains(['\u{202e}', '\u{200b}', '\u{feff}']),
                    "{format:?}"
                );
            }
        }
    }

    #[test]
    fn json_says_exactly_what_was_recorded() {
        for text in WILD {
            let line = rows(Format::Jsonl).row(&row(text));
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["tool"], text);
            assert_eq!(read["decision"], "denied");
            assert_eq!(read["at"], "2026-11-20T23:00:00.000000Z");
            assert_eq!(read.get("outcome"), None);
        }
    }

    #[test]
    fn a_table_is_in_the_zone_and_its_columns_stand_below_one_another() {
        let mut rows = rows(Format::Table);
        rows.fit(&[row("imagine")]);
        let shown = [rows.head().unwrap(), rows.row(&row("imagine"))].join("\n");
        insta::assert_snapshot!(shown, @r"
        TIME                       AGENT  SERVER  TOOL     DECISION  REASON  MS  CALL
        2026-11-21T00:00:00+01:00  clawd          imagine  denied
        ");
    }

    #[test]
    fn every_form_is_whole() {
        let written = |format| {
            let mut rows = rows(format);
            let mut lines: Vec<String> = rows.head().into_iter().collect();
            lines.extend([row("a"), row("b")].iter().map(|row| rows.row(row)));
            lines.extend(rows.foot().map(Into::into));
            lines.join("\n")
        };
        let list: Vec<Value> = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(written(Format::Jsonl).lines().count(), 2);
        let table = written(Format::Csv);
        let widths = table.lines().map(|line| line.split(',').count());
        assert!(widths.eq([FIELDS.len(); 3]), "{table}");
    }
}
