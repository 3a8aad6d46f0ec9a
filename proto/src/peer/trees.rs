//! Which links carry a batch on: a tree per origin, inherited from warm shared ones.
//!
//! Each topic has 32 bucket trees, shared by all origins whose short name falls into the bucket,
//! and remembers a tree for each origin that it heard. A tree is a set of lazy links; all others
//! are eager. Lazy links get announcements only. The first batch ever floods and leaves a tree
//! behind, because every duplicate makes its link lazy at both ends. The first batch of a further
//! origin travels on its bucket's tree, of which it then gets a copy. That copy is improved by
//! time: a link that announces earlier than the parent delivers becomes the parent.
//!
//! A bucket's tree has no direction: any of its origins may be anywhere. An origin's own tree has
//! one: nothing is pushed towards the parent, so a change of parents costs one duplicate at most.
//!
//! What an origin pushes beside its bucket's tree, for safety, runs ahead of the wave on the tree
//! and meets it. Frames of both waves name their tree, so that where they meet only the origin's
//! own tree is cut: the shared one stays the tree of shortest paths that its first flood left.
//!
//! Links are numbered by slot, so that a set of links is an integer.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use crate::id::Origin;

/// Shared trees per topic (design §4.10).
pub(crate) const BUCKETS: u8 = 32;
/// In a batch frame: it travels on its origin's own tree.
pub(crate) const ORIGIN_TREE: u8 = 255;
/// In a graft: the batch is wanted, the tree stays as it is.
pub(crate) const NO_TREE: u8 = 254;
/// Links on which an origin pushes its own batches at least, whatever is lazy (design §4.10):
/// fast spread is durability when nodes die.
pub(crate) const OWN_PUSHES_MIN: u32 = 3;
/// The same for its first batch. The shared tree that it travels on may have the origin at its
/// edge; from more places the wave has less far to go. Measured with 1,000 one-shot origins: the
/// last receiver after 2.0 times what flooding takes, after 2.3 times with three.
const FIRST_PUSHES_MIN: u32 = 6;

/// A missing batch is grafted after this at the earliest and at the latest (design §4.12).
pub(crate) const GRAFT_MIN: Duration = Duration::from_millis(40);
const GRAFT_MAX: Duration = Duration::from_millis(150);
/// On a shared tree, whose paths are up to twice as long as the shortest, after this. Measured
/// with 1,000 one-shot origins on links of 10 to 50 ms: 6.9% redundancy with 150 ms, 2.3% with
/// 200, 1.9% with 250, and the last receiver earlier each time.
const GRAFT_SHARED: Duration = Duration::from_millis(200);
/// An announcement must beat the parent by this much to count (design §4.11).
const FASTER_BY: Duration = Duration::from_millis(10);
/// And so many times running.
const FASTER_TIMES: u8 = 2;

/// A set of links by slot.
pub(crate) type Slots = u64;

/// One tree, as seen from this node.
#[derive(Clone, Copy, Debug, Default)]
struct Tree {
    lazy: Slots,
    /// The link that brought the last batch.
    parent: Option<u8>,
    /// The other link that announced the last batch first.
    backup: Option<u8>,
    /// A link that was faster than the parent, and how often running.
    faster: Option<(u8, u8)>,
    /// How much later than the first announcement the payload comes: smoothed, and its variance,
    /// in microseconds (as TCP learns its timeout, RFC 6298).
    lag_us: u32,
    variance_us: u32,
    used: bool,
    /// The last batch came on this tree.
    wave: u8,
    /// The parent failed to bring the last batch in time.
    missed: bool,
    /// A batch that was fetched elsewhere though the tree stays: the parent's copy is no sign of
    /// a needless link.
    fetched: u64,
}

/// How a batch goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Links that get the announcement only.
    pub(crate) lazy: Slots,
    /// The tree to name in the frame.
    pub(crate) tree: u8,
}

/// A change for the better that the other ends must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    /// The link to graft.
    pub(crate) graft: u8,
    /// The link to prune.
    pub(crate) prune: u8,
}

/// The trees of a topic.
#[derive(Debug)]
pub(crate) struct Trees {
    buckets: [Tree; BUCKETS as usize],
    origins: BTreeMap<u64, Tree>,
    /// Origins in order of their first batch; the oldest is forgotten first.
    order: VecDeque<u64>,
    origins_max: usize,
}

/// A short name of an origin: 64 bits of its hash. Two origins with one name would share a tree,
/// and an announcement of one could hide that of the other until the next digest.
pub(crate) fn short(origin: &Origin) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&origin.node.0);
    hasher.update(&origin.incarnation.0.to_be_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// The set of one link.
pub(crate) const fn slot_bit(slot: u8) -> Slots {
    1 << (slot & 63)
}

fn bucket_of(origin: u64) -> u8 {
    (origin % u64::from(BUCKETS)) as u8
}

impl Trees {
    /// No tree yet; at most `origins_max` origins have one of their own.
    pub(crate) fn new(origins_max: usize) -> Self {
        Self {
            buckets: [Tree::default(); BUCKETS as usize],
            origins: BTreeMap::new(),
            order: VecDeque::new(),
            origins_max,
        }
    }

    /// A batch is here for the first time, pushed by the link `from` on the tree `wave`, or
    /// published here. `have` are links that announced it: nothing is to be sent to them.
    pub(crate) fn route(
        &mut self,
        origin: u64,
        from: Option<u8>,
        have: Slots,
        wave: Option<u8>,
    ) -> Route {
        let bucket = bucket_of(origin);
        let known = self.origins.contains_key(&origin);
        let tree = if known || wave == Some(ORIGIN_TREE) { ORIGIN_TREE } else { bucket };
        if !known {
            let shared = &mut self.buckets[usize::from(bucket)];
            if tree == bucket {
                shared.take(from, have);
            }
            let own = Tree { used: true, faster: None, lag_us: 0, variance_us: 0, ..*shared };
            self.remember(origin, own);
        }
        let own = self.origins.entry(origin).or_default();
        own.take(from, have);
        own.lazy |= from.map_or(0, slot_bit);
        own.wave = tree;
        Route { lazy: own.lazy, tree }
    }

    /// The batch `first_seq` came again over the link `slot` on the named tree. Returns the tree
    /// to prune the link from, and whether it was eager there until now; `None` when the link is
    /// needed all the same.
    pub(crate) fn duplicate(
        &mut self,
        origin: u64,
        first_seq: u64,
        slot: u8,
        tree: u8,
    ) -> Option<(u8, bool)> {
        let own = self.own(origin);
        if own.parent == Some(slot) && own.fetched == first_seq {
            return None;
        }
        let tree = if own.wave == ORIGIN_TREE { ORIGIN_TREE } else { tree };
        Some((tree, self.prune(origin, slot, tree)))
    }

    /// A batch that was announced did not come in time. Returns the tree to graft it on: none
    /// when the parent failed for the first time and is `only_late`, so that the batch is fetched
    /// and the tree stays.
    pub(crate) fn miss(&mut self, origin: u64, first_seq: u64, only_late: bool) -> u8 {
        let Some(own) = self.origins.get_mut(&origin) else { return bucket_of(origin) };
        let first = !core::mem::replace(&mut own.missed, true);
        if own.parent.is_some() && first && only_late {
            own.fetched = first_seq;
            return NO_TREE;
        }
        ORIGIN_TREE
    }

    /// The tree to graft a batch on when the first announcer did not supply it.
    pub(crate) fn missed_on(&self, origin: u64, first_seq: u64) -> u8 {
        match self.origins.get(&origin) {
            Some(own) if own.fetched == first_seq => NO_TREE,
            Some(_) => ORIGIN_TREE,
            None => bucket_of(origin),
        }
    }

    /// The link becomes lazy, in the bucket too if that is the tree. Returns whether it was not.
    pub(crate) fn prune(&mut self, origin: u64, slot: u8, tree: u8) -> bool {
        let bit = slot_bit(slot);
        if let Some(shared) = self.buckets.get_mut(usize::from(tree)) {
            shared.lazy |= bit;
            shared.used = true;
        }
        let own = self.own(origin);
        let changed = own.lazy & bit == 0;
        own.lazy |= bit;
        changed
    }

    /// The other end of the link wants the batches of the origin: the link becomes eager, in the
    /// bucket too if that is the tree.
    pub(crate) fn graft(&mut self, origin: u64, slot: u8, tree: u8) {
        if let Some(shared) = self.buckets.get_mut(usize::from(tree)) {
            shared.lazy &= !slot_bit(slot);
        }
        self.own(origin).lazy &= !slot_bit(slot);
    }

    /// A batch is missed on a bucket's tree, which has no direction: the link that it is grafted
    /// from becomes eager at this end too.
    pub(crate) fn graft_shared(&mut self, slot: u8, tree: u8) {
        if let Some(shared) = self.buckets.get_mut(usize::from(tree)) {
            shared.lazy &= !slot_bit(slot);
        }
    }

    /// The link becomes eager in all trees: the other end has just come.
    pub(crate) fn graft_all(&mut self, slot: u8) {
        self.each(|tree| tree.lazy &= !slot_bit(slot));
    }

    /// A new link: lazy in the trees that stand.
    pub(crate) fn link_up(&mut self, slot: u8) {
        self.each(|tree| {
            if tree.used {
                tree.lazy |= slot_bit(slot);
            }
        });
    }

    /// A link is gone. Returns the origins that it was the parent for, each with the link that
    /// takes its place.
    pub(crate) fn link_down(&mut self, slot: u8) -> Vec<(u64, u8)> {
        let mut promoted = Vec::new();
        self.each(|tree| {
            tree.lazy &= !slot_bit(slot);
            if tree.backup == Some(slot) {
                tree.backup = None;
            }
            if tree.faster.is_some_and(|(faster, _)| faster == slot) {
                tree.faster = None;
            }
        });
        for (&origin, tree) in &mut self.origins {
            if tree.parent != Some(slot) {
                continue;
            }
            tree.parent = tree.backup.take();
            promoted.extend(tree.parent.map(|backup| (origin, backup)));
        }
        for tree in &mut self.buckets {
            if tree.parent == Some(slot) {
                tree.parent = None;
            }
        }
        promoted
    }

    /// On how many links an origin pushes a batch of its own at least.
    pub(crate) fn own_pushes_min(&self, origin: u64) -> u32 {
        if self.origins.contains_key(&origin) { OWN_PUSHES_MIN } else { FIRST_PUSHES_MIN }
    }

    /// The links on which batches of an origin are only announced.
    pub(crate) fn lazy(&self, origin: u64) -> Slots {
        self.origins.get(&origin).map_or(0, |tree| tree.lazy)
    }

    /// The link that brought the last batch of an origin.
    pub(crate) fn parent(&self, origin: u64) -> Option<u8> {
        self.origins.get(&origin)?.parent
    }

    /// How long to wait for an announced batch before it is grafted.
    pub(crate) fn graft_after(&self, origin: u64) -> Duration {
        match self.origins.get(&origin) {
            Some(tree) if tree.parent.is_some() => {
                let micros = u64::from(tree.lag_us) + 4 * u64::from(tree.variance_us);
                Duration::from_micros(micros).clamp(GRAFT_MIN, GRAFT_MAX)
            }
            _ => GRAFT_SHARED,
        }
    }

    /// A batch was pushed by the link `parent`, `lag` after `announcer` had announced it first.
    /// Learns, and says when another link should take the parent's place.
    pub(crate) fn learn(
        &mut self,
        origin: u64,
        parent: u8,
        announcer: Option<u8>,
        lag: Duration,
    ) -> Option<Swap> {
        let tree = self.origins.get_mut(&origin)?;
        let lag_us = u32::try_from(lag.as_micros()).unwrap_or(u32::MAX);
        tree.variance_us =
            tree.variance_us - tree.variance_us / 4 + tree.lag_us.abs_diff(lag_us) / 4;
        tree.lag_us = tree.lag_us - tree.lag_us / 8 + lag_us / 8;
        tree.backup = announcer.or(tree.backup).filter(|backup| *backup != parent);
        let Some(faster) = announcer.filter(|faster| *faster != parent && lag > FASTER_BY) else {
            tree.faster = None;
            return None;
        };
        let times = match tree.faster {
            Some((slot, times)) if slot == faster => times + 1,
            _ => 1,
        };
        if times < FASTER_TIMES {
            tree.faster = Some((faster, times));
            return None;
        }
        tree.faster = None;
        tree.lazy |= slot_bit(faster) | slot_bit(parent);
        tree.parent = Some(faster);
        tree.backup = Some(parent);
        Some(Swap { graft: faster, prune: parent })
    }

    /// How many origins have a tree of their own.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.origins.len()
    }

    /// The tree of an origin, made from its bucket if new.
    fn own(&mut self, origin: u64) -> &mut Tree {
        if !self.origins.contains_key(&origin) {
            let shared = self.buckets[usize::from(bucket_of(origin))];
            self.remember(origin, Tree { used: true, ..shared });
        }
        self.origins.entry(origin).or_default()
    }

    fn remember(&mut self, origin: u64, tree: Tree) {
        while self.origins.len() >= self.origins_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.origins.remove(&oldest);
        }
        self.order.push_back(origin);
        self.origins.insert(origin, tree);
    }

    fn each(&mut self, mut change: impl FnMut(&mut Tree)) {
        self.buckets.iter_mut().for_each(&mut change);
        self.origins.values_mut().for_each(change);
    }
}

impl Tree {
    /// The batch came from `from`, which is eager from now on; `have` need nothing.
    fn take(&mut self, from: Option<u8>, have: Slots) {
        self.used = true;
        self.lazy |= have;
        if let Some(from) = from {
            self.parent = Some(from);
            self.missed = false;
            self.lazy &= !slot_bit(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 32;
    const B: u64 = 64;

    #[test]
    fn the_first_batch_floods_and_leaves_a_tree() {
        let mut trees = Trees::new(10);
        assert_eq!(trees.route(A, Some(0), 0, None), Route { lazy: 0b001, tree: 0 });
        assert_eq!(trees.duplicate(A, 1, 2, 0), Some((0, true)));
        assert_eq!(trees.duplicate(A, 1, 2, 0), Some((0, false)), "lazy already");
        assert_eq!(trees.route(A, Some(0), 0, None), Route { lazy: 0b101, tree: ORIGIN_TREE });
        assert_eq!(trees.route(B, Some(1), 0, None), Route { lazy: 0b110, tree: 0 }, "inherited");
    }

    #[test]
    fn what_is_pruned_on_the_own_tree_stays_out_of_the_shared_one() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0, None);
        trees.prune(A, 1, ORIGIN_TREE);
        assert_eq!(trees.route(B, Some(0), 0, None).lazy, 0b01);
        trees.graft(A, 1, ORIGIN_TREE);
        assert_eq!(trees.route(A, Some(0), 0, None).lazy, 0b01);
    }

    #[test]
    fn where_a_wave_for_safety_meets_the_shared_tree_only_the_own_tree_is_cut() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0, Some(0));
        // It came by the origin's own wave first, and again by the shared tree.
        assert_eq!(trees.route(B, Some(0), 0, Some(ORIGIN_TREE)).tree, ORIGIN_TREE);
        assert_eq!(trees.duplicate(B, 1, 1, 0), Some((ORIGIN_TREE, true)));
        // The other way round: the tree that the duplicate names is no shared one.
        trees.route(96, Some(0), 0, Some(0));
        assert_eq!(trees.duplicate(96, 1, 2, ORIGIN_TREE), Some((ORIGIN_TREE, true)));
        assert_eq!(trees.route(128, Some(0), 0, Some(0)).lazy, 0b1, "the shared tree is whole");
    }

    #[test]
    fn a_parent_that_is_only_late_stays_one_time() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0, None);
        assert_eq!(trees.miss(A, 2, true), NO_TREE);
        assert_eq!(trees.missed_on(A, 2), NO_TREE);
        assert_eq!(trees.duplicate(A, 2, 0, ORIGIN_TREE), None, "the parent's late copy");
        assert_eq!(trees.duplicate(A, 2, 1, ORIGIN_TREE), Some((ORIGIN_TREE, true)));
        assert_eq!(trees.miss(A, 3, true), ORIGIN_TREE, "twice running");
        trees.route(A, Some(0), 0, None);
        assert_eq!(trees.miss(A, 4, false), ORIGIN_TREE, "silent");
        assert_eq!(trees.miss(B, 1, true), 0, "on the shared tree");
    }

    #[test]
    fn nothing_is_pushed_to_those_who_have_it() {
        let mut trees = Trees::new(10);
        assert_eq!(trees.route(A, Some(0), 0b1010, None).lazy, 0b1011);
    }

    #[test]
    fn a_link_that_is_faster_twice_running_becomes_the_parent() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0b10, None);
        let late = Duration::from_millis(15);
        assert_eq!(trees.learn(A, 0, Some(1), late), None);
        assert_eq!(trees.learn(A, 0, None, Duration::ZERO), None, "not running");
        assert_eq!(trees.learn(A, 0, Some(1), late), None);
        assert_eq!(trees.learn(A, 0, Some(1), late), Some(Swap { graft: 1, prune: 0 }));
        assert_eq!(trees.route(A, Some(1), 0, None).lazy, 0b11);
    }

    #[test]
    fn a_lost_parent_is_replaced_by_the_first_announcer() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0b110, None);
        trees.learn(A, 0, Some(2), Duration::from_millis(1));
        assert_eq!(trees.link_down(0), [(A, 2)]);
        assert_eq!(trees.route(A, Some(2), 0, None).lazy, 0b110);
    }

    #[test]
    fn new_links_are_lazy_in_standing_trees_until_grafted() {
        let mut trees = Trees::new(10);
        trees.route(A, Some(0), 0, None);
        trees.link_up(5);
        assert_eq!(trees.route(A, Some(0), 0, None).lazy, 0b10_0001);
        let fresh = trees.route(A + 1, Some(0), 0, None).lazy;
        assert_eq!(fresh, 0b1, "a bucket that never carried");
        trees.graft_all(5);
        assert_eq!(trees.route(A, Some(0), 0, None).lazy, 0b1);
    }

    #[test]
    fn the_graft_timer_learns_and_is_clamped() {
        let mut trees = Trees::new(10);
        assert_eq!(trees.graft_after(A), GRAFT_SHARED);
        trees.route(A, Some(0), 0, None);
        for _ in 0..50 {
            trees.learn(A, 0, Some(1), Duration::from_millis(1));
        }
        assert_eq!(trees.graft_after(A), GRAFT_MIN);
        for _ in 0..90 {
            trees.learn(A, 0, None, Duration::from_millis(400));
        }
        assert_eq!(trees.graft_after(A), GRAFT_MAX);
    }

    #[test]
    fn the_number_of_origins_is_bounded() {
        let mut trees = Trees::new(3);
        for origin in 0..9 {
            trees.route(origin, None, 0, None);
        }
        assert_eq!(trees.len(), 3);
    }
}

#[cfg(test)]
#[path = "trees_properties.rs"]
mod properties;
