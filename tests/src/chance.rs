//! Random choices that a seed repeats.

/// The generator splitmix64 with its seed.
#[derive(Debug, Clone)]
pub struct Chance(pub u64);

impl Chance {
    /// A number from 0 to `limit`, excluding `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// True in half of all cases.
    pub fn toss(&mut self) -> bool {
        self.below(2) == 1
    }
}
