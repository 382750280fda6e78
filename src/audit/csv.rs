//! Rows of a table for spreadsheets (RFC 4180), of text that somebody untrusted wrote. Pure.
//!
//! A cell that a spreadsheet would take for a formula begins with an apostrophe. Line breaks and everything else
//! that does not show are written as in JSON, so that a row is a line.

use crate::types::shown::escaped;

/// What a formula begins with (OWASP, "CSV Injection").
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// Adds a row and its end.
pub fn row<'a>(out: &mut String, cells: impl IntoIterator<Item = Cell<'a>>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match cell {
            Cell::Empty => {}
            Cell::Number(number) => out.push_str(&number.to_string()),
            Cell::Text(text) => add_text(out, text),
        }
    }
    out.push('\n');
}

/// What stands in one place of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing.
    Empty,
    /// A number of ours.
    Number(i64),
    /// A text of anybody.
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// A text that may be missing.
    pub fn text(text: Option<&'a str>) -> Self {
        text.map_or(Self::Empty, Self::Text)
    }

    /// A number that may be missing; one that is too large for its place stays as large as it can.
    pub fn number(number: Option<u64>) -> Self {
        number.map_or(Self::Empty, |number| {
            Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
        })
    }
}

fn add_text(out: &mut String, text: &str) {
    let safe = escaped(text);
    let is_formula = text.starts_with(FORMULA);
    let is_quoted = safe.contains([',', '"']) || safe.starts_with(' ') || safe.ends_with(' ');
    if is_quoted {
        out.push('"');
    }
    if is_formula {
        out.push('\'');
    }
    for character in safe.chars() {
        if character == '"' {
            out.push('"');
        }
        out.push(character);
    }
    if is_quoted {
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_a_row_is_always_one_line() {
        let table = [
            ("plain", "plain"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\t=1"),
            ("\r=1", "'\\r=1"),
            ("a\nb", "a\\nb"),
            ("a,b", "\"a,b\""),
            ("=\"x\",1", "\"'=\"\"x\"\",1\""),
            (" a ", "\" a \""),
            ("\u{1b}[2J\u{202e}", "\\u001b[2J\\u202e"),
        ];
        for (text, cell) in table {
            let mut out = String::new();
            row(&mut out, [Cell::Text(text), Cell::Empty, Cell::Number(-5)]);
            assert_eq!(out, format!("{cell},,-5\n"));
        }
    }
}
