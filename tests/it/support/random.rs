//! Numbers that look random and repeat with their seed (SplitMix64, prng.di.unimi.it/splitmix64.c).

/// A seed from HAYWARD_TEST_SEED, so that a failure can be looked for again; a fixed one otherwise.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var_os("HAYWARD_TEST_SEED");
    let seed = seed.and_then(|seed| seed.to_str()?.parse().ok());
    seed.unwrap_or(0x6861_7977_6172_6421)
}

/// A stream of numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream number `stream` of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.next();
        random
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
