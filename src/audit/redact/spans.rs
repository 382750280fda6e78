//! Pieces of a text that are to be taken out.

/// A piece of a text, in bytes, and what it was found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: &'static str,
}

/// Pieces in their order; those that touch the same byte are one.
#[derive(Debug, Default)]
pub(super) struct Spans(Vec<Span>);

impl Spans {
    /// Adds a piece. It may lie anywhere, but most come in the order of their ends.
    pub(super) fn add(&mut self, mut span: Span) {
        let mut after = Vec::new();
        while let Some(last) = self.0.pop() {
            if last.start >= span.end {
                after.push(last);
            } else if last.end > span.start {
                span = Span {
                    start: last.start.min(span.start),
                    end: last.end.max(span.end),
                    rule: last.rule,
                };
            } else {
                self.0.push(last);
                break;
            }
        }
        self.0.push(span);
        self.0.extend(after.into_iter().rev());
    }

    /// Whether a byte lies in the last piece.
    pub(super) fn covers(&self, at: usize) -> bool {
        self.0
            .last()
            .is_some_and(|last| at < last.end && at >= last.start)
    }

    /// The text without the pieces; nothing when there are none.
    pub(super) fn take_out_of(&self, text: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut left = String::with_capacity(text.len());
        let mut at = 0;
        for span in &self.0 {
            left.push_str(text.get(at..span.start).unwrap_or_default());
            left.push_str(&marker(span.rule, span.end - span.start));
            at = span.end;
        }
        left.push_str(text.get(at..).unwrap_or_default());
        Some(left)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }
}

/// What stands in the place of so many bytes.
pub(super) fn marker(rule: &str, bytes: usize) -> String {
    format!("[redacted:{rule}:{bytes}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_overlap_are_one_and_the_others_keep_their_order() {
        let mut spans = Spans::default();
        for (start, end) in [(2, 4), (6, 8), (0, 1), (3, 5), (7, 9), (9, 9)] {
            let rule = "x";
            spans.add(Span { start, end, rule });
        }
        let found = spans.take_out_of("0123456789").unwrap();
        assert_eq!(
            found,
            "[redacted:x:1]1[redacted:x:3]5[redacted:x:3][redacted:x:0]9"
        );
    }
}
