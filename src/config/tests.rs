//! Files as people write them: good ones and what they grant, wrong ones and what is said about them.

mod advice;
mod capture;
mod conditions;
mod every_key;
mod good;
mod kept;
mod schema;
mod wrong_access;
mod wrong_limits;
mod wrong_servers;
mod wrong_tests;
mod wrong_yaml;

use super::*;

/// Everything that is said about a file without any variable set: problems, or the warnings of a good one.
fn said(text: &str) -> String {
    match parse("permissions.yaml", &dedented(text), &|_| None) {
        Err(problems) => problems.to_string(),
        Ok(loaded) => {
            let each = loaded.warnings.iter().map(Diagnostic::to_string);
            each.collect::<Vec<_>>().join("\n\n")
        }
    }
}

/// A file written inside a test, without the indentation of the test.
fn dedented(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let indent = text.len() - text.trim_start_matches(' ').len();
    let margin = " ".repeat(indent);
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| line.strip_prefix(&margin).unwrap_or(line))
        .collect()
}
