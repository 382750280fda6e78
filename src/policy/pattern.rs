//! Names with `*` in them.

use std::fmt;
use std::sync::Arc;

/// A whole name, case-sensitive, where `*` stands for any run of characters, also none.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Arc<str>,
}

impl Pattern {
    /// Every text is a pattern; one without `*` matches only itself.
    pub fn new(text: &str) -> Self {
        Self { text: text.into() }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it can match only one name.
    pub fn is_exact(&self) -> bool {
        !self.text.contains('*')
    }

    /// Whether it matches every name.
    pub fn is_everything(&self) -> bool {
        !self.text.is_empty() && self.text.bytes().all(|byte| byte == b'*')
    }

    /// Greater for patterns that say more: exact names first, then the longer literal text.
    pub fn weight(&self) -> u32 {
        if self.is_exact() {
            return u32::MAX;
        }
        let literal = self.text.bytes().filter(|byte| *byte != b'*').count();
        u32::try_from(literal).unwrap_or(u32::MAX - 1)
    }

    /// Whether the whole of `name` fits. Takes time proportional to both lengths multiplied, at worst.
    pub fn matches(&self, name: &str) -> bool {
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

    /// Whether some name fits both patterns.
    pub fn overlaps(&self, other: &Self) -> bool {
        let left: Vec<char> = self.text.chars().collect();
        let right: Vec<char> = other.text.chars().collect();
        // reachable[j]: some name fits left[..i] and right[..j].
        let mut reachable = vec![false; right.len() + 1];
        for i in 0..=left.len() {
            let mut next = vec![false; right.len() + 1];
            for j in 0..=right.len() {
                let l = i.checked_sub(1).and_then(|at| left.get(at));
                let r = j.checked_sub(1).and_then(|at| right.get(at));
                let up = reachable.get(j).copied().unwrap_or(false);
                let back = j
                    .checked_sub(1)
                    .and_then(|at| next.get(at))
                    .copied()
                    .unwrap_or(false);
                let both = j
                    .checked_sub(1)
                    .and_then(|at| reachable.get(at))
                    .copied()
                    .unwrap_or(false);
                let fits = match (l, r) {
                    (None, None) => true,
                    (None, Some(r)) => *r == '*' && back,
                    (Some(l), None) => *l == '*' && up,
                    (Some(l), Some(r)) => {
                        (*l == '*' && (up || back))
                            || (*r == '*' && (up || back))
                            || (l == r && both)
                    }
                };
                if let Some(cell) = next.get_mut(j) {
                    *cell = fits;
                }
            }
            reachable = next;
        }
        reachable.last().copied().unwrap_or(false)
    }
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
    fn overlapping_patterns_are_recognised() {
        let table = [
            ("get_*", "*_issue", true),
            ("get_*", "set_*", false),
            ("a*", "b*", false),
            ("*", "x", true),
            ("a*c", "ab*", true),
            ("imagine", "imagine", true),
            ("imagine", "describe", false),
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
}
