//! Numbers that follow from a seed alone.

/// A stream of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of `seed` that has this name: another for each name, so that one actor's draws
    /// do not shift another's.
    pub fn new(seed: u64, name: u64) -> Self {
        let mut first = Self(seed ^ name.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        first.next();
        first
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `from` up to and without `to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0, len as u64)).unwrap()
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.within(0, 100) < percent
    }
}
