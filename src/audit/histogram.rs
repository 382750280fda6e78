//! How long calls took, in classes that grow by half, and what can be said of it. Pure.

/// Classes of time: the first is everything under a millisecond, the last everything that is longer than the rest.
pub const BUCKETS: usize = 32;

/// The bound of the first class, in microseconds.
const FIRST_US: u64 = 1_000;

/// The bounds of all classes but the last, in microseconds: each 1.5 times the one before, rounded down.
const BOUNDS: [u64; BUCKETS - 1] = bounds();

const fn bounds() -> [u64; BUCKETS - 1] {
    let mut bounds = [FIRST_US; BUCKETS - 1];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] + bounds[at - 1] / 2;
        at += 1;
    }
    bounds
}

/// The class of a time in microseconds. What took less than nothing took nothing.
pub(super) fn bucket(latency_us: i64) -> usize {
    let latency_us = u64::try_from(latency_us).unwrap_or(0);
    BOUNDS.partition_point(|bound| *bound <= latency_us)
}

/// How many calls took how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    counts: [i64; BUCKETS],
}

impl Histogram {
    /// Takes counts by class.
    pub(super) fn new(counts: [i64; BUCKETS]) -> Self {
        Self { counts }
    }

    /// Counts a call that took so many microseconds.
    pub(super) fn count(&mut self, latency_us: i64) {
        if let Some(count) = self.counts.get_mut(bucket(latency_us)) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds another one.
    pub fn add(&mut self, more: &Self) {
        for (count, more) in self.counts.iter_mut().zip(more.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// How many calls it counts.
    pub fn calls(&self) -> i64 {
        self.counts.iter().copied().fold(0, i64::saturating_add)
    }

    /// The classes, each with its bound in microseconds; the last has none.
    pub fn classes(&self) -> impl Iterator<Item = (Option<u64>, i64)> {
        let bounds = BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// The time in microseconds that so many of a hundred calls did not exceed; `None` when there was none. It lies in
    /// the class of the true value, as if the calls of a class were spread evenly over it; of the last class, whose
    /// end is not known, its beginning is given.
    pub fn percentile(&self, of_hundred: u8) -> Option<u64> {
        let calls = u128::try_from(self.calls())
            .ok()
            .filter(|calls| *calls > 0)?;
        let rank = calls.saturating_mul(u128::from(of_hundred.min(100)));
        let rank = rank.div_ceil(100).max(1);
        let (mut before, mut begins) = (0_u128, 0_u64);
        for (bound, count) in self.classes() {
            let count = u128::try_from(count).unwrap_or(0);
            if before.saturating_add(count) >= rank {
                let Some(bound) = bound else {
                    return Some(begins);
                };
                let inside = rank.saturating_sub(before);
                let wide = u128::from(bound.saturating_sub(begins).saturating_sub(1));
                let offset = wide.saturating_mul(inside) / count.max(1);
                return Some(begins.saturating_add(u64::try_from(offset).unwrap_or(0)));
            }
            before = before.saturating_add(count);
            begins = bound.unwrap_or(begins);
        }
        Some(begins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_time_lies_below_the_bound_of_its_class_and_not_below_the_one_before() {
        for (latency_us, class) in [
            (-5, 0),
            (0, 0),
            (999, 0),
            (1_000, 1),
            (1_499, 1),
            (1_500, 2),
            (2_250, 3),
            (i64::MAX, 31),
        ] {
            assert_eq!(bucket(latency_us), class, "{latency_us}");
        }
        assert!(BOUNDS.is_sorted());
        let two_minutes = 120_000_000;
        assert!(
            BOUNDS[BUCKETS - 2] > two_minutes,
            "most waits are in a class with an end"
        );
    }

    #[test]
    fn of_no_calls_nothing_is_said() {
        assert_eq!(Histogram::default().percentile(50), None);
        let mut one = Histogram::default();
        one.count(1_200);
        assert_eq!(one.percentile(50), Some(1_499));
        assert_eq!(one.percentile(99), Some(1_499));
        let mut long = Histogram::default();
        long.count(i64::MAX);
        assert_eq!(long.percentile(50), Some(BOUNDS[BUCKETS - 2]));
    }

    proptest! {
        #[test]
        fn percentiles_are_in_order_and_in_the_class_of_the_true_value(
            mut times in proptest::collection::vec(0_i64..400_000_000, 1..300),
        ) {
            let mut histogram = Histogram::default();
            for time in &times {
                histogram.count(*time);
            }
            times.sort_unstable();
            let mut last = 0;
            for of_hundred in [1_u8, 50, 95, 99, 100] {
                let found = histogram.percentile(of_hundred).unwrap();
                prop_assert!(found >= last);
                last = found;
                let rank = (times.len() * usize::from(of_hundred)).div_ceil(100).max(1);
                prop_assert_eq!(bucket(i64::try_from(found).unwrap()), bucket(times[rank - 1]));
            }
        }

        #[test]
        fn what_is_added_up_counts_as_if_it_were_one(
            one in proptest::collection::vec(0_i64..400_000_000, 0..50),
            other in proptest::collection::vec(0_i64..400_000_000, 0..50),
        ) {
            let of = |times: &[i64]| {
                let mut histogram = Histogram::default();
                times.iter().for_each(|time| histogram.count(*time));
                histogram
            };
            let mut sum = of(&one);
            sum.add(&of(&other));
            prop_assert_eq!(sum, of(&[one, other].concat()));
        }
    }
}
