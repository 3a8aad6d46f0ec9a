//! The overlay as peers report it with each renewal, and who is outside its largest part.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::id::NodeId;
use crate::time::Instant;

/// The parts are computed at most this often while peers are few: design §10 wants a split
/// overlay whole within 10 s.
const PARTS_INTERVAL: Duration = Duration::from_secs(5);
/// With more peers they are computed more rarely, so that the share of the processor stays: one
/// more interval for each so many peers.
const PARTS_INTERVAL_PEERS: usize = 20_000;
/// A peer is handed targets at most this often: time enough to dial them and to report.
const TARGETS_INTERVAL: Duration = Duration::from_secs(10);
/// Targets in one answer: one may be gone.
const TARGETS: usize = 2;

/// What one peer reported.
#[derive(Debug, Default)]
struct Reported {
    neighbors: Box<[NodeId]>,
    targets_at: Option<Instant>,
}

/// The reported graph.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    reported: BTreeMap<NodeId, Reported>,
    /// The members of the largest part, ordered.
    main: Vec<NodeId>,
    computed_at: Option<Instant>,
}

impl Overlay {
    /// A peer told its neighbours.
    pub(super) fn report(&mut self, node: NodeId, neighbors: Vec<NodeId>) {
        self.reported.entry(node).or_default().neighbors = neighbors.into_boxed_slice();
    }

    pub(super) fn remove(&mut self, node: &NodeId) {
        self.reported.remove(node);
    }

    /// What a peer last reported.
    pub(super) fn neighbors(&self, node: &NodeId) -> &[NodeId] {
        self.reported.get(node).map_or(&[], |reported| &reported.neighbors)
    }

    /// Links between these nodes, each once, ordered. `nodes` is ordered.
    pub(super) fn edges(&self, nodes: &[NodeId]) -> BTreeSet<(NodeId, NodeId)> {
        let has = |node: &NodeId| nodes.binary_search(node).is_ok();
        let reported = nodes.iter().flat_map(|a| self.neighbors(a).iter().map(move |b| (*a, *b)));
        let between = reported.filter(|(a, b)| a != b && has(b));
        between.map(|(a, b)| (a.min(b), a.max(b))).collect()
    }

    /// Peers with which `asker` is to link because it is outside the largest part of the
    /// overlay; none otherwise. `live` lists all peers, ordered.
    pub(super) fn targets(
        &mut self,
        now: Instant,
        asker: NodeId,
        live: impl ExactSizeIterator<Item = NodeId>,
        rng: &mut ChaCha8Rng,
    ) -> Vec<NodeId> {
        let scale = u32::try_from(1 + live.len() / PARTS_INTERVAL_PEERS).unwrap_or(u32::MAX);
        let interval = PARTS_INTERVAL.saturating_mul(scale);
        if self.computed_at.is_none_or(|at| now.since(at) >= interval) {
            self.compute(&live.collect::<Vec<_>>());
            self.computed_at = Some(now);
        }
        let inside = |node: &NodeId| self.main.binary_search(node).is_ok();
        if inside(&asker) || self.neighbors(&asker).iter().any(inside) {
            return Vec::new();
        }
        let Some(reported) = self.reported.get_mut(&asker) else { return Vec::new() };
        if reported.targets_at.is_some_and(|at| now.since(at) < TARGETS_INTERVAL) {
            return Vec::new();
        }
        let targets = draw(&self.main, rng);
        if !targets.is_empty() {
            reported.targets_at = Some(now);
        }
        targets
    }

    /// Finds the largest part; of equals, the one with the smallest member.
    fn compute(&mut self, live: &[NodeId]) {
        let mut parts = Parts::new(live.len());
        for (node, reported) in &self.reported {
            let Ok(a) = live.binary_search(node) else { continue };
            for neighbor in &reported.neighbors {
                if let Ok(b) = live.binary_search(neighbor) {
                    parts.union(a, b);
                }
            }
        }
        let mut sizes = vec![0usize; live.len()];
        let roots: Vec<usize> = (0..live.len()).map(|n| parts.root(n)).collect();
        roots.iter().for_each(|root| sizes[*root] += 1);
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let main = roots.iter().copied().find(|root| sizes[*root] == largest);
        let members = live.iter().zip(&roots).filter(|(_, root)| Some(**root) == main);
        self.main = members.map(|(node, _)| *node).collect();
    }
}

fn draw(from: &[NodeId], rng: &mut ChaCha8Rng) -> Vec<NodeId> {
    let Ok(count) = u32::try_from(from.len()) else { return Vec::new() };
    let mut drawn = BTreeSet::new();
    // A few more draws than targets, since one may repeat another.
    for _ in 0..TARGETS * 2 {
        if count > 0 && drawn.len() < TARGETS {
            drawn.insert(from[rng.random_range(0..count) as usize]);
        }
    }
    drawn.into_iter().collect()
}

/// Union-find with path halving.
struct Parts(Vec<usize>);

impl Parts {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, mut n: usize) -> usize {
        while self.0[n] != n {
            self.0[n] = self.0[self.0[n]];
            n = self.0[n];
        }
        n
    }

    fn union(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        self.0[high] = low;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn ask(overlay: &mut Overlay, ms: u64, asker: u8, live: u8) -> Vec<NodeId> {
        let mut rng = ChaCha8Rng::seed_from_u64(ms);
        let now = Instant::from_millis(ms);
        let live: Vec<_> = (0..live).map(node).collect();
        overlay.targets(now, node(asker), live.into_iter(), &mut rng)
    }

    #[test]
    fn who_is_outside_gets_targets_inside_and_not_again_at_once() {
        let mut overlay = Overlay::default();
        overlay.report(node(0), vec![node(1), node(2)]);
        overlay.report(node(2), vec![node(3)]);
        overlay.report(node(4), vec![node(5), node(99)]);
        overlay.report(node(5), Vec::new());
        assert_eq!(ask(&mut overlay, 0, 3, 6), []);
        let targets = ask(&mut overlay, 0, 4, 6);
        assert!(!targets.is_empty() && targets.iter().all(|t| *t < node(4)), "{targets:?}");
        assert_eq!(ask(&mut overlay, 9_000, 4, 6), []);
        assert!(!ask(&mut overlay, 9_000, 5, 6).is_empty());
        assert!(!ask(&mut overlay, 10_000, 4, 6).is_empty());
        // Once it reports a neighbour inside, it is inside, before the parts are computed again.
        overlay.report(node(4), vec![node(1)]);
        assert_eq!(ask(&mut overlay, 20_100, 4, 6), []);
    }

    #[test]
    fn of_two_strangers_one_is_sent_to_the_other() {
        let mut overlay = Overlay::default();
        overlay.report(node(0), Vec::new());
        overlay.report(node(1), Vec::new());
        assert_eq!(ask(&mut overlay, 0, 0, 2), []);
        assert_eq!(ask(&mut overlay, 0, 1, 2), [node(0)]);
        assert_eq!(ask(&mut overlay, 0, 1, 0), []);
    }

    #[test]
    fn edges_are_listed_once() {
        let mut overlay = Overlay::default();
        overlay.report(node(0), vec![node(1), node(0), node(7)]);
        overlay.report(node(1), vec![node(0)]);
        let edges = overlay.edges(&[node(0), node(1)]);
        assert_eq!(edges.into_iter().collect::<Vec<_>>(), [(node(0), node(1))]);
    }
}
