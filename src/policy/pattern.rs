//! Names with `*` in them.

use std::fmt;
use std::sync::Arc;

/// The weight of a pattern without a star.
const EXACT: u32 = u32::MAX;

/// A whole name, case-sensitive, where `*` stands for any run of characters, also none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
    weight: u32,
}

impl Pattern {
    /// Every text is a pattern; one without `*` matches only itself.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            weight: weight(text),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can match only one name.
    pub fn is_exact(&self) -> bool {
        self.weight == EXACT
    }

    /// Whether it matches every name.
    pub fn is_everything(&self) -> bool {
        !self.text.is_empty() && self.text.bytes().all(|byte| byte == b'*')
    }

    /// Greater for patterns that say more: exact names first, then the longer literal text.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Whether the whole of `name` fits. Takes time proportional to both lengths multiplied, at worst.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_exact() {
            return *self.text == *name;
        }
        let mut pieces = self.text.split('*');
        // `split` yields at least one piece.
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = rest.get(at + piece.len()..).unwrap_or_default();
        }
        rest.len() >= last.len() && rest.ends_with(last)
    }

    /// Whether every name that fits the other fits this one. Says no of some pairs of which that is true.
    pub fn covers(&self, other: &Self) -> bool {
        // A star of theirs can only be taken by a star of ours, which takes whatever it stands for.
        self.matches(&other.text)
    }

    /// Whether some name fits both patterns. Takes time proportional to both lengths multiplied.
    pub fn overlaps(&self, other: &Self) -> bool {
        let theirs = other.text.as_bytes();
        // fits[j]: some name fits both the part of ours read so far and the first j bytes of theirs.
        let mut fits = only_stars(theirs);
        for byte in self.text.bytes() {
            fits = step(byte, theirs, &fits);
        }
        fits.last().copied().unwrap_or(false)
    }
}

fn weight(text: &str) -> u32 {
    if !text.contains('*') {
        return EXACT;
    }
    let literal = text.bytes().filter(|byte| *byte != b'*').count();
    u32::try_from(literal).unwrap_or(EXACT).min(EXACT - 1)
}

/// Which beginnings of a pattern fit the empty name.
fn only_stars(pattern: &[u8]) -> Vec<bool> {
    let mut fits = true;
    let rest = pattern.iter().map(|byte| {
        fits = fits && *byte == b'*';
        fits
    });
    std::iter::once(true).chain(rest).collect()
}

/// Reads one more byte of our pattern.
fn step(ours: u8, theirs: &[u8], before: &[bool]) -> Vec<bool> {
    let star = ours == b'*';
    let mut last = star && before.first().copied().unwrap_or(false);
    let mut fits = vec![last];
    for (byte, pair) in theirs.iter().zip(before.windows(2)) {
        let (diagonal, above) = match pair {
            [diagonal, above] => (*diagonal, *above),
            _ => (false, false),
        };
        // A star, on either side, takes the other's byte or takes nothing.
        last = if star || *byte == b'*' {
            above || last
        } else {
            ours == *byte && diagonal
        };
        fits.push(last);
    }
    fits
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_name() {
        let table = [
            ("imagine", "imagine", true),
            ("imagine", "imagine2", false),
            ("*", "", true),
            ("*", "anything/at all", true),
            ("get_*", "get_issue", true),
            ("get_*", "forget_it", false),
            ("*_issue", "get_issue", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("Get_*", "get_issue", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn weights_order_patterns_by_what_they_say() {
        let weight = |text: &str| Pattern::new(text).weight();
        assert!(weight("get_issue") > weight("get_issue_comments_of_everybody_*"));
        assert!(weight("get_issue*") > weight("get_*"));
        assert!(weight("get_*") > weight("*"));
        assert_eq!(weight("get_*"), weight("*_get"));
    }

    #[test]
    fn overlapping_patterns_are_recognised() {
        let table = [
            ("get_*", "*_issue", true),
            ("get_*", "set_*", false),
            ("a*", "b*", false),
            ("*", "x", true),
            ("a*c", "ab*", true),
            ("imagine", "imagine", true),
            ("imagine", "describe", false),
            ("*", "*", true),
            ("a*b", "b*a", false),
            ("*a*", "*b*", true),
        ];
        for (left, right, expected) in table {
            assert_eq!(
                Pattern::new(left).overlaps(&Pattern::new(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                Pattern::new(right).overlaps(&Pattern::new(left)),
                expected,
                "{right} {left}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn two_patterns_that_fit_one_name_overlap(
            left in "[ab*]{0,6}", right in "[ab*]{0,6}", name in "[ab]{0,6}",
        ) {
            let (left, right) = (Pattern::new(&left), Pattern::new(&right));
            if left.matches(&name) && right.matches(&name) {
                proptest::prop_assert!(left.overlaps(&right));
            }
            if left.covers(&right) && right.matches(&name) {
                proptest::prop_assert!(left.matches(&name));
            }
        }

        #[test]
        fn a_name_fits_itself_and_every_star_put_into_it(name in "[a-c]{1,8}", at in 0_usize..8) {
            let at = at.min(name.len());
            let (head, tail) = name.split_at(at);
            let (exact, starred) = (Pattern::new(&name), Pattern::new(&format!("{head}*{tail}")));
            proptest::prop_assert!(exact.matches(&name));
            proptest::prop_assert!(starred.matches(&name));
            proptest::prop_assert!(starred.weight() < exact.weight());
        }
    }
}
