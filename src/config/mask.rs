//! Hides what looks like a secret before a line of the file is shown to anyone.
//!
//! People do paste tokens into files. Every masked text keeps its length in bytes, so places stay right.

use std::ops::Range;

use super::problem::Span;
use crate::types::{ISSUERS, is_prose, is_rest_of_token, is_token_byte};

/// Words that announce a secret in a header.
const SCHEMES: &[&str] = &["bearer", "basic"];

/// The text with everything that looks like a secret replaced by as many asterisks.
pub(super) fn mask(text: &str) -> String {
    let mut masked = text.to_owned();
    for range in secrets(text) {
        cover(&mut masked, range);
    }
    masked
}

/// The text of a file without these stretches of it, and without everything else that looks like a secret. What
/// cannot be seen stays as it is.
pub(super) fn without_secrets(text: &str, hidden: &[Span]) -> String {
    let mut shown = text.to_owned();
    for span in hidden {
        cover(&mut shown, span.start..span.end);
    }
    mask(&shown)
}

/// Whether some part of the text looks like a token of ours or of a known issuer.
pub(super) fn looks_like_token(text: &str) -> bool {
    words(text).any(|(start, word)| token_in(start, word).is_some())
}

/// Replaces a range by asterisks, line breaks aside; the length in bytes stays.
pub(super) fn cover(text: &mut String, range: Range<usize>) {
    let Some(old) = text.get(range.clone()) else {
        return;
    };
    let asterisks: String = old
        .bytes()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                char::from(byte)
            } else {
                '*'
            }
        })
        .collect();
    text.replace_range(range, &asterisks);
}

fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut before = "";
    for (start, word) in words(text) {
        found.extend(token_in(start, word));
        if is_announced(before, word, text, start) {
            found.push(start..end_of_value(text, start));
        }
        before = word;
    }
    found.extend(passwords_in_urls(text));
    found
}

/// Where the value that begins here ends: at its quote, or at the next thing that cannot be part of it.
fn end_of_value(text: &str, start: usize) -> usize {
    let head = text.get(..start).unwrap_or_default();
    let quote = head.chars().next_back().filter(|c| matches!(c, '"' | '\''));
    let is_end = |c: char| match quote {
        Some(quote) => c == quote || c == '\n',
        None => c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']' | '}'),
    };
    let rest = text.get(start..).unwrap_or_default();
    start + rest.find(is_end).unwrap_or(rest.len())
}

/// Whether the word stands right behind `Bearer ` and the like, or is the value of `token_hash:` and no hash.
fn is_announced(before: &str, word: &str, text: &str, start: usize) -> bool {
    let gap_start = text.get(..start).map_or(0, |head| {
        head.rfind(is_word_character).map_or(0, |at| at + 1)
    });
    let gap = text.get(gap_start..start).unwrap_or_default();
    let rest = text.get(start..).unwrap_or_default();
    let scheme = SCHEMES
        .iter()
        .any(|known| before.eq_ignore_ascii_case(known));
    let after_key = before == "token_hash" && gap.trim_start().starts_with(':');
    (scheme
        && !is_prose(word.as_bytes())
        && !gap.is_empty()
        && gap.bytes().all(|byte| byte == b' '))
        || (after_key
            && gap.trim_matches([':', ' ', '"', '\'']).is_empty()
            && !rest.starts_with("sha256:"))
}

fn passwords_in_urls(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(move |(at, _)| {
        let start = at + 3;
        let rest = text.get(start..)?;
        let authority = rest
            .split(['/', ' ', '"', '\'', '\n', '$', '?', '#'])
            .next()?;
        let end = start + authority.rfind('@')?;
        let colon = text.get(start..end)?.find(':')?;
        Some(start + colon + 1..end)
    })
}

/// The part of a word behind a known prefix, when the whole is long and mixed enough to be a token.
fn token_in(start: usize, word: &str) -> Option<Range<usize>> {
    let end = start + word.len();
    let ours = word.find("hwd_").map(|at| at + "hwd_".len());
    if let Some(at) = ours.filter(|at| word.len() >= at + 8) {
        return Some(start + at..end);
    }
    let prefix = ISSUERS.iter().find(|prefix| word.starts_with(**prefix))?;
    let rest = word.get(prefix.len()..)?;
    is_rest_of_token(rest.as_bytes()).then_some(start + prefix.len()..end)
}

/// The runs of characters that tokens are made of, each with its place.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c| !is_word_character(c))
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr().addr() - text.as_ptr().addr(), word))
}

fn is_word_character(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_hidden_and_rules_are_not() {
        let table = [
            ("x: hwd_abcdefghij", "x: hwd_**********"),
            ("?key=hwd_0123456789", "?key=hwd_**********"),
            ("ghp_0123456789abcdef", "ghp_****************"),
            ("\"Bearer abc1\"", "\"Bearer ****\""),
            ("# a bearer token", "# a bearer token"),
            ("hayward token new NAME", "hayward token new NAME"),
            (
                "token_hash: 'my own
",
                "token_hash: '******
",
            ),
            ("Basic YTpi/Yz0=, x", "Basic *********, x"),
            ("Bearer ${GITHUB_TOKEN}", "Bearer ${GITHUB_TOKEN}"),
            ("http://me:pass@host/x", "http://me:****@host/x"),
            ("token_hash: mine", "token_hash: ****"),
            ("token_hash: \"sha256:ab\"", "token_hash: \"sha256:ab\""),
            ("token_hash:\n  - hash: x", "token_hash:\n  - hash: x"),
            (
                "tools: [npm_install_packages]",
                "tools: [npm_install_packages]",
            ),
            (
                "tools: [secret_list_everything]",
                "tools: [secret_list_everything]",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(mask(text), expected);
            assert_eq!(mask(text).len(), text.len());
        }
    }
}
