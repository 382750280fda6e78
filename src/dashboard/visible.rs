//! Whole lines of a text, made visible: what [`shown`] cuts, a file must show.

use crate::types::shown;

/// A line with every character that would not show, or would move others, marked; cut at so many characters.
pub(super) fn visible(line: &str, at_most: usize) -> String {
    // Names are cut at 64 characters, so the line goes through in pieces.
    let characters: Vec<char> = line.chars().collect();
    let kept = characters.get(..at_most.min(characters.len()));
    let kept = kept.unwrap_or_default();
    let mut text: String = kept
        .chunks(PIECE)
        .map(|piece| shown::name(&piece.iter().collect::<String>()).to_string())
        .collect();
    let more = characters.len().saturating_sub(kept.len());
    if more > 0 {
        text.push_str(&format!("… ({more} more)"));
    }
    text
}

/// Characters that [`shown::name`] never cuts.
const PIECE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_whole_and_its_hidden_characters_are_seen() {
        let long = "x".repeat(300);
        assert_eq!(visible(&long, usize::MAX), long);
        assert_eq!(visible("a\u{202e}b\u{0}", usize::MAX), "a⟨U+202E⟩b␀");
        assert_eq!(visible("abcdef", 4), "abcd… (2 more)");
        assert_eq!(visible("", 4), "");
    }
}
