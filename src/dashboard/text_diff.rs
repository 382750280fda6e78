//! What differs between two texts, line by line. Pure.

/// Lines around a difference that are shown.
const AROUND: usize = 3;

/// Pairs of lines that are compared at most; where more differ, all lines between are told as others.
const PAIRS: usize = 4_000_000;

/// Whether a line came, went, or stands in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It stands in both.
    Same,
    /// It is new.
    Added,
    /// It is gone.
    Removed,
}

/// A line of the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Differs<'a> {
    pub(super) mark: Mark,
    /// Its numbers in the old and the new text.
    pub(super) old: Option<usize>,
    pub(super) new: Option<usize>,
    pub(super) text: &'a str,
}

/// Stretches of lines that differ, with some lines around each; none when the texts are alike.
pub(super) fn hunks<'a>(old: &'a str, new: &'a str) -> Vec<Vec<Differs<'a>>> {
    let lines = compare(old, new);
    let differs = |at: usize| {
        let line = lines.get(at);
        line.is_some_and(|line| line.mark != Mark::Same)
    };
    let is_near = |at: usize| {
        let first = at.saturating_sub(AROUND);
        (first..=at.saturating_add(AROUND)).any(differs)
    };
    let mut hunks: Vec<Vec<Differs<'a>>> = Vec::new();
    let mut is_open = false;
    for (at, line) in lines.iter().enumerate() {
        if !is_near(at) {
            is_open = false;
            continue;
        }
        match hunks.last_mut() {
            Some(hunk) if is_open => hunk.push(line.clone()),
            _ => hunks.push(vec![line.clone()]),
        }
        is_open = true;
    }
    hunks
}

/// All lines of both.
fn compare<'a>(old: &'a str, new: &'a str) -> Vec<Differs<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tails = old.iter().rev().zip(new.iter().rev());
    let shorter = old.len().min(new.len()).saturating_sub(head);
    let tail = tails.take(shorter).take_while(|(a, b)| a == b).count();
    let middle = |lines: &[&'a str]| -> Vec<&'a str> {
        let end = lines.len().saturating_sub(tail);
        lines.get(head..end).unwrap_or_default().to_vec()
    };
    let marks = marks(&middle(&old), &middle(&new));
    let same = |count: usize| std::iter::repeat_n(Mark::Same, count);
    let all = same(head).chain(marks).chain(same(tail));
    let (mut a, mut b) = (0_usize, 0_usize);
    let mut lines = Vec::new();
    for mark in all {
        let (of_old, of_new) = (mark != Mark::Added, mark != Mark::Removed);
        let text = if of_old { old.get(a) } else { new.get(b) };
        a = a.saturating_add(usize::from(of_old));
        b = b.saturating_add(usize::from(of_new));
        lines.push(Differs {
            mark,
            old: of_old.then_some(a),
            new: of_new.then_some(b),
            text: text.copied().unwrap_or_default(),
        });
    }
    lines
}

/// How one text becomes the other, keeping the longest common run of lines.
fn marks(old: &[&str], new: &[&str]) -> Vec<Mark> {
    let width = new.len().saturating_add(1);
    let pairs = old.len().saturating_add(1).saturating_mul(width);
    if pairs > PAIRS {
        let gone = std::iter::repeat_n(Mark::Removed, old.len());
        return gone
            .chain(std::iter::repeat_n(Mark::Added, new.len()))
            .collect();
    }
    // longest[a * width + b]: lines that the rests from a and b on have in common.
    let mut longest = vec![0_u32; pairs];
    let at = |longest: &[u32], a: usize, b: usize| {
        let place = a.saturating_mul(width).saturating_add(b);
        longest.get(place).copied().unwrap_or(0)
    };
    for (a, one) in old.iter().enumerate().rev() {
        for (b, other) in new.iter().enumerate().rev() {
            let (down, right) = (a.saturating_add(1), b.saturating_add(1));
            let length = if one == other {
                at(&longest, down, right).saturating_add(1)
            } else {
                at(&longest, down, b).max(at(&longest, a, right))
            };
            if let Some(place) = longest.get_mut(a.saturating_mul(width).saturating_add(b)) {
                *place = length;
            }
        }
    }
    let (mut a, mut b) = (0_usize, 0_usize);
    let mut marks = Vec::new();
    while a < old.len() || b < new.len() {
        let (down, right) = (a.saturating_add(1), b.saturating_add(1));
        if a < old.len() && b < new.len() && old.get(a) == new.get(b) {
            marks.push(Mark::Same);
            (a, b) = (down, right);
        } else if a < old.len()
            && (b >= new.len() || at(&longest, down, b) >= at(&longest, a, right))
        {
            marks.push(Mark::Removed);
            a = down;
        } else {
            marks.push(Mark::Added);
            b = right;
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(old: &str, new: &str) -> Vec<String> {
        let hunks = hunks(old, new);
        let hunks = hunks.iter().map(|hunk| {
            let lines = hunk.iter().map(|line| {
                let sign = match line.mark {
                    Mark::Same => ' ',
                    Mark::Added => '+',
                    Mark::Removed => '-',
                };
                format!("{sign}{}", line.text)
            });
            lines.collect::<Vec<_>>().join("|")
        });
        hunks.collect()
    }

    #[test]
    fn lines_that_differ_are_told_with_some_around() {
        assert_eq!(told("a\nb", "a\nb"), Vec::<String>::new());
        assert_eq!(told("a\nb\nc", "a\nx\nc"), [" a|-b|+x| c"]);
        assert_eq!(told("", "a"), ["+a"]);
        assert_eq!(told("a\nb", ""), ["-a|-b"]);
        assert_eq!(told("a\na", "a"), [" a|-a"]);
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12";
        let new = "0\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11";
        assert_eq!(
            told(old, new),
            ["-1|+0| 2| 3| 4", " 9| 10| 11|-12"],
            "two places far apart"
        );
    }

    #[test]
    fn lines_have_the_numbers_they_stand_at() {
        let all = hunks("a\nb\nc", "b\nc\nd");
        let numbers: Vec<_> = all[0].iter().map(|line| (line.old, line.new)).collect();
        let expected = [
            (Some(1), None),
            (Some(2), Some(1)),
            (Some(3), Some(2)),
            (None, Some(3)),
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn very_different_long_texts_are_told_without_comparing_every_pair() {
        let old: String = (0..3_000).map(|n| format!("a{n}\n")).collect();
        let new: String = (0..3_000).map(|n| format!("b{n}\n")).collect();
        assert_eq!(hunks(&old, &new)[0].len(), 6_000);
    }

    proptest! {
        #[test]
        fn the_lines_that_are_not_gone_are_the_new_text(old in "[ab\n]{0,30}", new in "[ab\n]{0,30}") {
            let lines = compare(&old, &new);
            let of = |left: Mark| lines.iter().filter(|l| l.mark != left).map(|l| l.text).collect::<Vec<_>>();
            prop_assert_eq!(of(Mark::Removed), new.lines().collect::<Vec<_>>());
            prop_assert_eq!(of(Mark::Added), old.lines().collect::<Vec<_>>());
        }
    }
}
