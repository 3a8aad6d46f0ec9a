//! A hash of a set of records that is kept up to date record by record, so that comparing two
//! tables costs the seeds nothing while they agree.
//!
//! It is the sum of the hashes of the members, in four lanes. Only what is listed takes part:
//! marks of what has ended would make seeds that forget them at different times disagree.

use serde::Serialize;

/// The hash of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TableHash([u64; 4]);

impl TableHash {
    pub(super) fn add(&mut self, item: &impl Serialize) {
        let lanes = lanes(item);
        for (sum, lane) in self.0.iter_mut().zip(lanes) {
            *sum = sum.wrapping_add(lane);
        }
    }

    pub(super) fn remove(&mut self, item: &impl Serialize) {
        let lanes = lanes(item);
        for (sum, lane) in self.0.iter_mut().zip(lanes) {
            *sum = sum.wrapping_sub(lane);
        }
    }

    /// The hash of several sets of different kinds.
    pub(super) fn of(parts: &[Self]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for lane in parts.iter().flat_map(|part| part.0) {
            hasher.update(&lane.to_be_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

fn lanes(item: &impl Serialize) -> [u64; 4] {
    let bytes = postcard::to_allocvec(item).expect("records can be written");
    let hash = blake3::hash(&bytes);
    let mut lanes = [0; 4];
    for (lane, chunk) in lanes.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
        *lane = chunk.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_removal_undoes() {
        let (mut one, mut two) = (TableHash::default(), TableHash::default());
        for n in [1u64, 2, 3] {
            one.add(&n);
        }
        for n in [3u64, 9, 1, 2] {
            two.add(&n);
        }
        assert_ne!(one, two);
        two.remove(&9u64);
        assert_eq!(one, two);
        let other = TableHash::default();
        assert_ne!(TableHash::of(&[one, other]), TableHash::of(&[other, one]));
    }
}
