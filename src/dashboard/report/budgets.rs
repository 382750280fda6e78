//! Budgets in a report: kept, exhausted, changed. Pure.

use std::cmp::Reverse;

use crate::budget::Ended;
use crate::dashboard::figures::count;
use crate::types::Unit;

use super::document::{ROWS, corrected};
use super::section::{Block, Cell, Table};
use super::value::Report;

/// The section about budgets.
pub(super) fn told(report: &Report) -> Vec<Block> {
    let budgets = &report.budgets;
    let full = budgets.iter().filter(|ended| ended.full > 0).count();
    let kept = budgets.len().saturating_sub(full);
    let changed = budgets
        .iter()
        .filter(|ended| ended.limits.0 != ended.limits.1);
    let intro = format!(
        "Of the budgets by the calendar of which a window ended in this month, {} kept within {}, {} used up at least \
         once, and {} another limit. A window is used up when all of its limit was taken; of a budget in money a call \
         may be refused before. The counts are those of the ledger: a refund, or a call under way that turns out to cost \
         nothing, is taken off later. Budgets that roll or never reset show below, by their refusals.",
        verb(kept, "was", "were"),
        if kept == 1 {
            "its limit"
        } else {
            "their limits"
        },
        verb(full, "was", "were"),
        verb(changed.count(), "got", "got"),
    );
    let mut blocks = vec![Block::Text(intro)];
    if !budgets.is_empty() {
        blocks.push(windows(budgets));
    }
    blocks.push(refused(report));
    blocks.extend(corrections(report));
    blocks
}

fn verb(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Those that were used up most often first, then those nearest their limit.
fn windows(budgets: &[Ended]) -> Block {
    let mut table = Table::new(
        "Budgets of which a window ended, those used up most often first",
        &[
            "Budget",
            "#Windows",
            "#Used up",
            "#Limit",
            "#Most in one",
            "#Taken",
        ],
    );
    let share = |ended: &Ended| {
        let taken = ended.most.saturating_mul(1_000);
        taken.checked_div(ended.limits.1).unwrap_or(0)
    };
    let mut sorted: Vec<&Ended> = budgets.iter().collect();
    sorted.sort_by_key(|ended| (Reverse(ended.full), Reverse(share(ended))));
    for ended in sorted.iter().take(ROWS) {
        let unit = Unit::of_key(ended.key.parts().unit);
        let (low, high) = ended.limits;
        let limit = if low == high {
            amount(&unit, low)
        } else {
            format!("{} to {}", amount(&unit, low), amount(&unit, high))
        };
        table.row([
            Cell::code(ended.key.as_str()),
            Cell::text(count(ended.windows)),
            Cell::text(count(ended.full)),
            Cell::text(limit),
            Cell::text(amount(&unit, ended.most)),
            Cell::text(amount(&unit, ended.taken)),
        ]);
    }
    if budgets.len() > ROWS {
        table.caption = format!("{} (the first {ROWS} of {})", table.caption, budgets.len());
    }
    Block::Table(table)
}

/// An amount as people read it, without its unit.
fn amount(unit: &Unit, amount: u64) -> String {
    match unit {
        Unit::Calls | Unit::Argument(_) => count(i64::try_from(amount).unwrap_or(i64::MAX)),
        Unit::Cost(_) => unit.number(amount),
    }
}

fn refused(report: &Report) -> Block {
    let mut table = Table::new(
        "Calls that were refused because a budget was used up",
        &["Agent", "Server", "Tool", "#Times"],
    );
    let name = |name: &Option<String>| {
        let known = name.as_deref();
        known.map_or_else(|| Cell::text("not known"), Cell::name)
    };
    for (names, times) in report.exhausted.iter().take(ROWS) {
        let mut row: Vec<Cell> = names.iter().map(name).collect();
        row.push(Cell::text(count(*times)));
        table.row(row);
    }
    if report.exhausted.len() > ROWS {
        let all = report.exhausted.len();
        table.caption = format!("{} (the first {ROWS} of {all})", table.caption);
    }
    table.or("No call was refused because a budget was used up.")
}

fn corrections(report: &Report) -> Option<Block> {
    let mut table = Table::new(
        "What operators corrected",
        &["Time", "What", "Why", "Event"],
    );
    for note in report.corrections.iter().take(ROWS) {
        table.row([
            Cell::time(note.at, &report.zone),
            Cell::text(corrected(note)),
            Cell::sentence(note.why.as_deref()),
            Cell::text(note.seq.to_string()),
        ]);
    }
    (!table.rows.is_empty()).then_some(Block::Table(table))
}
