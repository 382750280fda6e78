//! Characters that a reviewer cannot see, but a parser can.
//!
//! Source: Unicode Technical Standard 39 and CVE-2021-42574 ("Trojan Source").

use super::problem::{Code, Finding, Findings, Span, quote};

/// Whether a character shows nothing, or changes the order in which others are shown.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{85}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Reports every invisible character of the file, comments included, and every lone carriage return.
pub(super) fn find_in_file(text: &str, findings: &mut Findings) {
    const MOST: usize = 20;
    let mut line = 1;
    let mut characters = text.char_indices().peekable();
    let mut found = 0;
    while let Some((start, c)) = characters.next() {
        if c == '\n' {
            line += 1;
        }
        let lone_return = c == '\r' && characters.peek().is_none_or(|(_, next)| *next != '\n');
        if (is_invisible(c) || lone_return) && found < MOST {
            found += 1;
            let end = start + c.len_utf8();
            findings.add(finding(c, Span { start, end, line }));
        }
    }
}

/// The text with a mark of the same length in place of every invisible character.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.len_utf8() {
            _ if !is_invisible(c) => shown.push(c),
            3 => shown.push(char::REPLACEMENT_CHARACTER),
            length => shown.extend(std::iter::repeat_n('?', length)),
        }
    }
    shown
}

/// Reports a character that an escape such as `"\u202e"` brought into a value.
///
/// `written` is the value as the file has it; what stands there raw was reported with the file.
pub(super) fn find_in_value(value: &str, written: &str, span: Span, findings: &mut Findings) {
    let is_bad = |c: &char| is_invisible(*c) || (c.is_control() && *c != '\n' && *c != '\t');
    let found = value.chars().find(is_bad);
    if let Some(c) = found.filter(|c| !written.contains(*c)) {
        findings.add(finding(c, span));
    }
}

fn finding(c: char, span: Span) -> Finding {
    let title = format!(
        "the character U+{:04X} cannot be seen by a reviewer",
        u32::from(c)
    );
    let note = format!(
        "remove {}; rules hold only what can be read",
        quote(&c.to_string())
    );
    Finding::new(Code::Invisible, span, title)
        .label("here")
        .note(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invisible_character_is_reported_with_its_line() {
        let mut findings = Findings::default();
        find_in_file("a: b\n# x\u{200b}\r\nc\u{202e}: d\re", &mut findings);
        let lines: Vec<u32> = findings.list.iter().map(|found| found.span.line).collect();
        assert_eq!(lines, [2, 3, 3]);
    }
}
