//! Hashes of a set of records that are kept up to date record by record, so that comparing two
//! tables costs the seeds nothing while they agree.
//!
//! The hash of all is the sum of the hashes of the members, in four lanes; beside it stands a sum
//! in one lane for each of 256 ranges of keys, which tells where two tables differ. Only what is
//! listed takes part: marks of what has ended would make seeds that forget them at different
//! times disagree.

use serde::Serialize;

use crate::wire::frame::RANGE_HASHES_MAX;

/// The hashes of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableHash {
    all: [u64; 4],
    ranges: Vec<u64>,
}

impl Default for TableHash {
    fn default() -> Self {
        Self { all: [0; 4], ranges: vec![0; RANGE_HASHES_MAX] }
    }
}

impl TableHash {
    /// Adds a record whose key is in `range`.
    pub(super) fn add(&mut self, range: u8, item: &impl Serialize) {
        let lanes = lanes(item);
        for (sum, lane) in self.all.iter_mut().zip(lanes) {
            *sum = sum.wrapping_add(lane);
        }
        let sum = &mut self.ranges[usize::from(range)];
        *sum = sum.wrapping_add(lanes[0]);
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, range: u8, item: &impl Serialize) {
        let lanes = lanes(item);
        for (sum, lane) in self.all.iter_mut().zip(lanes) {
            *sum = sum.wrapping_sub(lane);
        }
        let sum = &mut self.ranges[usize::from(range)];
        *sum = sum.wrapping_sub(lanes[0]);
    }

    /// The hash of each range.
    pub(super) fn ranges(&self) -> &[u64] {
        &self.ranges
    }

    /// The hash of several sets of different kinds.
    pub(super) fn of(parts: &[&Self]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for lane in parts.iter().flat_map(|part| part.all) {
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

/// Some of the ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges([u64; 4]);

impl Ranges {
    /// All of them.
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    /// Those in which two tables differ. A range that one of them does not speak of differs. From
    /// one that is empty all do: it has no marks of what has ended either, which no hash tells.
    pub(super) fn differing(ours: &[u64], theirs: &[u64]) -> Self {
        if theirs.iter().all(|hash| *hash == 0) {
            return Self::ALL;
        }
        let mut ranges = Self::default();
        for range in 0..=u8::MAX {
            let at = usize::from(range);
            if ours.get(at).is_none() || ours.get(at) != theirs.get(at) {
                ranges.0[at / 64] |= 1 << (at % 64);
            }
        }
        ranges
    }

    pub(super) fn union(self, other: Self) -> Self {
        let mut union = self;
        union.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        union
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    pub(super) fn contains(&self, range: u8) -> bool {
        self.0[usize::from(range) / 64] >> (range % 64) & 1 == 1
    }

    /// The first one that is not before `range`.
    pub(super) fn next(&self, range: u8) -> Option<u8> {
        (range..=u8::MAX).find(|range| self.contains(*range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_removal_undoes() {
        let (mut one, mut two) = (TableHash::default(), TableHash::default());
        for n in [1u8, 2, 3] {
            one.add(n, &n);
        }
        for n in [3u8, 9, 1, 2] {
            two.add(n, &n);
        }
        assert_ne!(one, two);
        let differing = Ranges::differing(one.ranges(), two.ranges());
        assert_eq!((differing.next(0), differing.next(10)), (Some(9), None));
        two.remove(9, &9u8);
        assert_eq!(one, two);
        assert!(Ranges::differing(one.ranges(), two.ranges()).is_empty());
        let other = TableHash::default();
        assert_ne!(TableHash::of(&[&one, &other]), TableHash::of(&[&other, &one]));
    }

    #[test]
    fn what_nobody_speaks_of_differs() {
        assert_eq!(Ranges::differing(&[], &[]), Ranges::ALL);
        assert_eq!(Ranges::differing(&[0; 256], &[0; 256]), Ranges::ALL);
        let ranges = Ranges::differing(&[7; 256], &[7; 255]);
        assert_eq!((ranges.next(0), ranges.contains(254)), (Some(255), false));
        assert_eq!(ranges.union(Ranges::ALL), Ranges::ALL);
    }
}
