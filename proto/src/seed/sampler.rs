//! A set of nodes from which a few are drawn at random, in time that depends on the few only.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::id::NodeId;

/// The nodes in a row, and where in the row each stands.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    nodes: Vec<NodeId>,
    places: BTreeMap<NodeId, u32>,
}

impl Sampler {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All of them, ordered.
    pub(super) fn ordered(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.places.keys().copied()
    }

    pub(super) fn insert(&mut self, node: NodeId) {
        let place = u32::try_from(self.nodes.len()).expect("tables are capped far below 2^32");
        if let Entry::Vacant(entry) = self.places.entry(node) {
            entry.insert(place);
            self.nodes.push(node);
        }
    }

    pub(super) fn remove(&mut self, node: &NodeId) {
        let Some(place) = self.places.remove(node) else { return };
        self.nodes.swap_remove(place as usize);
        if let Some(moved) = self.nodes.get(place as usize) {
            self.places.insert(*moved, place);
        }
    }

    /// At most `count` different nodes, each set and each order equally likely, without `except`.
    pub(super) fn sample(
        &self,
        rng: &mut ChaCha8Rng,
        count: usize,
        except: Option<NodeId>,
    ) -> Vec<NodeId> {
        let drawn = pick(rng, self.nodes.len(), count.saturating_add(1));
        let nodes = drawn.into_iter().map(|place| self.nodes[place as usize]);
        nodes.filter(|node| Some(*node) != except).take(count).collect()
    }
}

/// At most `count` different numbers below `total`, each set and each order equally likely.
pub(super) fn pick(rng: &mut ChaCha8Rng, total: usize, count: usize) -> Vec<u32> {
    let mut drawn = draw(rng, total, count.min(total));
    shuffle(rng, &mut drawn);
    drawn
}

/// `wanted` different numbers below `total` (Floyd's algorithm: one draw each, no rejection).
fn draw(rng: &mut ChaCha8Rng, total: usize, wanted: usize) -> Vec<u32> {
    let range = |n: usize| u32::try_from(n).expect("tables are capped far below 2^32");
    let mut chosen = BTreeSet::new();
    let mut drawn = Vec::with_capacity(wanted);
    for last in range(total - wanted)..range(total) {
        let number = rng.random_range(0..=last);
        let number = if chosen.insert(number) { number } else { last };
        chosen.insert(number);
        drawn.push(number);
    }
    drawn
}

fn shuffle(rng: &mut ChaCha8Rng, items: &mut [u32]) {
    for last in (1..items.len()).rev() {
        let bound = u32::try_from(last).expect("samples are small");
        items.swap(last, rng.random_range(0..=bound) as usize);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    #[test]
    fn samples_are_distinct_bounded_and_fair() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sampler = Sampler::default();
        (0..20).for_each(|n| sampler.insert(node(n)));
        (0..20).for_each(|n| sampler.insert(node(n)));
        let mut hits = [0u32; 20];
        for _ in 0..2_000 {
            let sample = sampler.sample(&mut rng, 5, Some(node(3)));
            let distinct: BTreeSet<_> = sample.iter().collect();
            assert_eq!((sample.len(), distinct.len()), (5, 5));
            sample.iter().for_each(|node| hits[usize::from(node.0[0])] += 1);
        }
        assert_eq!(hits[3], 0);
        // 10,000 draws over 19 nodes: 526 each, with a standard deviation below 20.
        let others = hits.iter().enumerate().filter(|(n, _)| *n != 3);
        assert!(others.clone().all(|(_, hits)| (430..630).contains(hits)), "{hits:?}");
    }

    #[test]
    fn removal_keeps_every_other_node_reachable() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut sampler = Sampler::default();
        (0..10).for_each(|n| sampler.insert(node(n)));
        for n in [0, 9, 4, 4] {
            sampler.remove(&node(n));
        }
        let mut all = sampler.sample(&mut rng, 64, None);
        all.sort();
        assert_eq!(all, [1, 2, 3, 5, 6, 7, 8].map(node));
        assert!(sampler.ordered().eq(all));
    }
}
