//! Randomness of a run: one seeded generator per purpose, so that a change in one part of a run
//! does not shift the draws of the others. Probabilities are integers.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// Parts per million: the unit of every probability.
pub const MILLION: u32 = 1_000_000;

/// A seeded generator.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator for `purpose` in the run numbered `seed`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self(ChaCha8Rng::from_seed(bytes32(seed, purpose, 0)))
    }

    /// Any integer.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// An integer below `bound`; 0 when `bound` is 0. The bias is below 2^-32 for small bounds.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half of a product fits")
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// An integer from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True with a probability of `ppm` parts per million. Always draws.
    pub fn chance(&mut self, ppm: u32) -> bool {
        self.below(u64::from(MILLION)) < u64::from(ppm)
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

/// 32 bytes that depend on all three and look random.
pub fn bytes32(seed: u64, purpose: &str, number: u64) -> [u8; 32] {
    let mut state = mix(seed ^ mix(number));
    for byte in purpose.bytes() {
        state = mix(state ^ u64::from(byte));
    }
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        state = mix(state);
        chunk.copy_from_slice(&state.to_be_bytes());
    }
    bytes
}

/// The finaliser of SplitMix64 after its increment: spreads each bit of `value` over all bits.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_stay_within_bounds() {
        let (mut one, mut two) = (Rng::new(7, "x"), Rng::new(7, "x"));
        assert!((0..100).all(|_| one.any() == two.any()));
        assert_ne!(Rng::new(7, "x").any(), Rng::new(7, "y").any());
        assert_ne!(Rng::new(7, "x").any(), Rng::new(8, "x").any());
        assert!((0..1_000).map(|_| one.between(3, 5)).all(|n| (3..=5).contains(&n)));
        assert_eq!(one.below(0), 0);
        let hits = (0..10_000).filter(|_| one.chance(100_000)).count();
        assert!((800..1_200).contains(&hits), "{hits}");
        assert!(!one.chance(0));
    }
}
