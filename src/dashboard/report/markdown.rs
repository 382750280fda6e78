//! A document as Markdown, with tables as GitHub reads them. Words of anybody else stand in code spans, where nothing
//! in them means anything. Pure.

use super::section::{Block, Cell, Section, Table};

/// Writes the document.
pub(super) fn write(title: &str, lead: &str, sections: &[Section]) -> String {
    let mut out = format!("# {title}\n\n{lead}\n");
    for section in sections {
        out.push_str(&format!("\n## {}\n", section.title));
        for block in &section.blocks {
            out.push('\n');
            write_block(block, &mut out);
        }
    }
    out
}

fn write_block(block: &Block, out: &mut String) {
    match block {
        Block::Text(text) => {
            out.push_str(text);
            out.push('\n');
        }
        Block::Facts(facts) => {
            for (name, cell) in facts {
                out.push_str(&format!("- {name}: {}\n", written(cell, false)));
            }
        }
        Block::Table(table) => write_table(table, out),
    }
}

fn write_table(table: &Table, out: &mut String) {
    out.push_str(&format!("{}:\n\n|", table.caption));
    for (head, _) in &table.columns {
        out.push_str(&format!(" {head} |"));
    }
    out.push_str("\n|");
    for (_, is_number) in &table.columns {
        out.push_str(if *is_number { " ---: |" } else { " --- |" });
    }
    out.push('\n');
    for row in &table.rows {
        out.push('|');
        for cell in row {
            out.push_str(&format!(" {} |", written(cell, true)));
        }
        out.push('\n');
    }
}

fn written(cell: &Cell, is_in_table: bool) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Name(text) | Cell::Code(text) => {
            let span = code(text);
            if is_in_table {
                // A bar ends the cell even within a span of code (GFM 0.29, section 4.10).
                span.replace('|', "\\|")
            } else {
                span
            }
        }
    }
}

/// A span of code, fenced by more backticks than stand together in it (CommonMark 0.31, section 6.1).
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.saturating_add(1));
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_mean_nothing_in_a_table() {
        let mut table = Table::new("Names", &["Name", "#Calls"]);
        table.row([Cell::name("a|b](https://x) `c`"), Cell::text("1")]);
        table.row([Cell::name("<b>\nx``y"), Cell::none()]);
        let section = Section {
            title: "Use",
            blocks: vec![
                Block::Table(table),
                Block::Facts(vec![("Log", Cell::code("0|7"))]),
                Block::Text("Done.".into()),
            ],
        };
        let expected = "# T\n\nL\n\n## Use\n\nNames:\n\n| Name | Calls |\n| --- | ---: |\n\
            | `` a\\|b](https://x) `c` `` | 1 |\n| ```<b>␊x``y``` |  |\n\n- Log: `0|7`\n\nDone.\n";
        assert_eq!(write("T", "L", &[section]), expected);
    }
}
