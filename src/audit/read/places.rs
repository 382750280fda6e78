//! Which places of one stretch of the lists are meant: a bit for each, so that lists are put together and cut with one
//! another in time that does not depend on how they are sorted.

use crate::audit::lookups::CHUNK;

/// Places in one word.
const WORD: u16 = 64;

/// Words that hold a bit for each of the `CHUNK` places.
const WORDS: usize = 256;

/// Places of one stretch.
#[derive(Debug, Clone)]
pub(super) struct Places(Box<[u64; WORDS]>);

impl Default for Places {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Places {
    /// All there are.
    pub(super) fn all() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    /// Adds one. A place that no stretch has is left out.
    pub(super) fn insert(&mut self, place: u16) {
        if let Some(word) = self.0.get_mut(usize::from(place / WORD)) {
            *word |= 1 << (place % WORD);
        }
    }

    /// Adds those of a list as the table keeps it.
    pub(super) fn add(&mut self, list: &[u8]) {
        for pair in list.chunks_exact(2) {
            if let Ok(pair) = pair.try_into() {
                self.insert(u16::from_le_bytes(pair));
            }
        }
    }

    /// Keeps those that the others have too; whether any are left.
    pub(super) fn keep(&mut self, others: &Self) -> bool {
        for (word, other) in self.0.iter_mut().zip(others.0.iter()) {
            *word &= other;
        }
        self.0.iter().any(|word| *word != 0)
    }

    /// Takes those away that the others have too; whether any are left.
    pub(super) fn take(&mut self, others: &Self) -> bool {
        for (word, other) in self.0.iter_mut().zip(others.0.iter()) {
            *word &= !other;
        }
        self.0.iter().any(|word| *word != 0)
    }

    /// Their sequence numbers, in order, when they are places of this stretch.
    pub(super) fn seqs(&self, chunk: i64) -> impl Iterator<Item = i64> {
        let first = chunk.saturating_mul(CHUNK);
        let words = self.0.iter().zip((first..).step_by(usize::from(WORD)));
        // Most words of a rare list are empty.
        let words = words.filter(|(word, _)| **word != 0);
        words.flat_map(|(word, first)| {
            let set = (0..WORD).filter(move |bit| word >> bit & 1 == 1);
            set.map(move |bit| first.saturating_add(i64::from(bit)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn list(places: &[u16]) -> Vec<u8> {
        places
            .iter()
            .flat_map(|place| place.to_le_bytes())
            .collect()
    }

    proptest! {
        #[test]
        fn lists_are_cut_like_sets(
            one in proptest::collection::vec(0_u16..16_384, 0..200),
            other in proptest::collection::vec(0_u16..16_384, 0..200),
            chunk in 0_i64..1_000,
        ) {
            let (mut these, mut those) = (Places::default(), Places::default());
            these.add(&list(&one));
            those.add(&list(&other));
            let (one, other): (BTreeSet<u16>, BTreeSet<u16>) =
                (one.into_iter().collect(), other.into_iter().collect());
            let in_order = |places: BTreeSet<u16>| -> Vec<i64> {
                places.iter().map(|place| chunk * CHUNK + i64::from(*place)).collect()
            };
            let (both, rest) = (in_order(&one & &other), in_order(&one - &other));
            let mut kept = these.clone();
            prop_assert_eq!(kept.keep(&those), !both.is_empty());
            prop_assert_eq!(kept.seqs(chunk).collect::<Vec<_>>(), both);
            prop_assert_eq!(these.take(&those), !rest.is_empty());
            prop_assert_eq!(these.seqs(chunk).collect::<Vec<_>>(), rest);
        }
    }

    #[test]
    fn all_places_are_those_of_one_stretch_and_no_more() {
        let all: Vec<i64> = Places::all().seqs(3).collect();
        assert_eq!(all, (3 * CHUNK..4 * CHUNK).collect::<Vec<_>>());
        let mut none = Places::default();
        none.add(&list(&[16_384, u16::MAX]));
        assert_eq!(none.seqs(3).count(), 0);
    }
}
