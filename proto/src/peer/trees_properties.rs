//! Trees against a model in which a tree is a set of links.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Origins that occur: three buckets, two or three origins each.
const ORIGINS: [u64; 8] = [1, 33, 65, 2, 34, 66, 3, 35];
const LINKS: u8 = 5;
/// Fewer than occur: the oldest is forgotten.
const ORIGINS_MAX: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    /// A batch is new, from this link or published here; these links have it. It came on the
    /// origin's own tree, or on its bucket's.
    Route(u64, Option<u8>, BTreeSet<u8>, bool),
    Prune(u64, u8, bool),
    Graft(u64, u8, bool),
    GraftShared(u8, u64),
    GraftAll(u8),
    LinkUp(u8),
    LinkDown(u8),
    /// A batch came so many milliseconds after this link announced it.
    Learn(u64, u8, Option<u8>, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let origin = || proptest::sample::select(&ORIGINS[..]);
    let link = || 0..LINKS;
    let have = proptest::collection::btree_set(0..LINKS, 0..3);
    prop_oneof![
        6 => (origin(), proptest::option::of(link()), have, any::<bool>())
            .prop_map(|(origin, from, have, own)| Step::Route(origin, from, have, own)),
        3 => (origin(), link(), any::<bool>()).prop_map(|(o, l, own)| Step::Prune(o, l, own)),
        3 => (origin(), link(), any::<bool>()).prop_map(|(o, l, own)| Step::Graft(o, l, own)),
        1 => (link(), origin()).prop_map(|(link, origin)| Step::GraftShared(link, origin)),
        1 => link().prop_map(Step::GraftAll),
        1 => link().prop_map(Step::LinkUp),
        1 => link().prop_map(Step::LinkDown),
        4 => (origin(), link(), proptest::option::of(link()), 0..30u64)
            .prop_map(|(origin, parent, first, ms)| Step::Learn(origin, parent, first, ms)),
    ]
}

/// A tree as a set of links that only hear of batches.
#[derive(Clone, Default)]
struct Plain {
    lazy: BTreeSet<u8>,
    parent: Option<u8>,
    backup: Option<u8>,
    /// Links that were faster than the parent, the last batches running.
    faster: Vec<u8>,
    stands: bool,
}

#[derive(Default)]
struct Model {
    buckets: [Plain; BUCKETS as usize],
    /// In order of their first batch.
    origins: Vec<(u64, Plain)>,
}

fn bucket(origin: u64) -> usize {
    usize::try_from(origin % 32).expect("below 32")
}

impl Model {
    fn known(&mut self, origin: u64) -> Option<&mut Plain> {
        self.origins.iter_mut().find(|(known, _)| *known == origin).map(|(_, tree)| tree)
    }

    /// The tree of an origin, inherited from its bucket if new.
    fn own(&mut self, origin: u64) -> &mut Plain {
        if self.known(origin).is_none() {
            if self.origins.len() == ORIGINS_MAX {
                self.origins.remove(0);
            }
            let inherited = Plain { stands: true, ..self.buckets[bucket(origin)].clone() };
            self.origins.push((origin, inherited));
        }
        self.known(origin).expect("made")
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Plain> {
        self.buckets.iter_mut().chain(self.origins.iter_mut().map(|(_, tree)| tree))
    }

    fn route(
        &mut self,
        origin: u64,
        from: Option<u8>,
        have: &BTreeSet<u8>,
        wave: bool,
    ) -> BTreeSet<u8> {
        if self.known(origin).is_none() && !wave {
            self.buckets[bucket(origin)].take(from, have);
        }
        let own = self.own(origin);
        own.take(from, have);
        // Nothing goes back to where it came from.
        own.lazy.extend(from);
        own.lazy.clone()
    }

    fn link_down(&mut self, link: u8) -> Vec<(u64, u8)> {
        let mut promoted = Vec::new();
        for tree in self.all() {
            tree.lazy.remove(&link);
            tree.backup = tree.backup.filter(|backup| *backup != link);
            if tree.faster.contains(&link) {
                tree.faster.clear();
            }
        }
        for tree in &mut self.buckets {
            tree.parent = tree.parent.filter(|parent| *parent != link);
        }
        for (origin, tree) in &mut self.origins {
            if tree.parent == Some(link) {
                tree.parent = tree.backup.take();
                promoted.extend(tree.parent.map(|backup| (*origin, backup)));
            }
        }
        promoted.sort_unstable();
        promoted
    }

    fn learn(&mut self, origin: u64, parent: u8, first: Option<u8>, ms: u64) -> Option<(u8, u8)> {
        let tree = self.known(origin)?;
        tree.backup = first.or(tree.backup).filter(|backup| *backup != parent);
        let faster = first.filter(|first| *first != parent && ms > 10);
        match faster {
            None => tree.faster.clear(),
            Some(link) => {
                tree.faster.retain(|before| *before == link);
                tree.faster.push(link);
            }
        }
        if tree.faster.len() < 2 {
            return None;
        }
        let link = tree.faster[0];
        tree.faster.clear();
        tree.lazy.extend([link, parent]);
        (tree.parent, tree.backup) = (Some(link), Some(parent));
        Some((link, parent))
    }
}

impl Plain {
    fn take(&mut self, from: Option<u8>, have: &BTreeSet<u8>) {
        self.stands = true;
        self.lazy.extend(have);
        if let Some(from) = from {
            self.parent = Some(from);
            self.lazy.remove(&from);
        }
    }
}

fn mask(links: &BTreeSet<u8>) -> Slots {
    links.iter().map(|link| slot_bit(*link)).sum()
}

/// The number of the tree in a frame: the origin's own, or its bucket's.
fn tree(origin: u64, own: bool) -> u8 {
    if own { ORIGIN_TREE } else { bucket_of(origin) }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masks_are_sets_of_links(steps in proptest::collection::vec(step(), 1..150)) {
        let mut trees = Trees::new(ORIGINS_MAX);
        let mut model = Model::default();
        for step in steps {
            match step.clone() {
                Step::Route(origin, from, have, own) => {
                    let wave = from.map(|_| tree(origin, own));
                    let lazy = trees.route(origin, from, mask(&have), wave).lazy;
                    let expected = model.route(origin, from, &have, own && from.is_some());
                    prop_assert_eq!(lazy, mask(&expected), "{:?}", step);
                }
                Step::Prune(origin, link, own) => {
                    let changed = trees.prune(origin, link, tree(origin, own));
                    // First the bucket: an origin that is not known inherits what it is told.
                    if !own {
                        let shared = &mut model.buckets[bucket(origin)];
                        shared.lazy.insert(link);
                        shared.stands = true;
                    }
                    let eager = model.own(origin).lazy.insert(link);
                    prop_assert_eq!(changed, eager);
                }
                Step::Graft(origin, link, own) => {
                    trees.graft(origin, link, tree(origin, own));
                    if !own {
                        model.buckets[bucket(origin)].lazy.remove(&link);
                    }
                    model.own(origin).lazy.remove(&link);
                }
                Step::GraftShared(link, origin) => {
                    trees.graft_shared(link, tree(origin, false));
                    model.buckets[bucket(origin)].lazy.remove(&link);
                }
                Step::GraftAll(link) => {
                    trees.graft_all(link);
                    model.all().for_each(|tree| {
                        tree.lazy.remove(&link);
                    });
                }
                Step::LinkUp(link) => {
                    trees.link_up(link);
                    model.all().filter(|tree| tree.stands).for_each(|tree| {
                        tree.lazy.insert(link);
                    });
                }
                Step::LinkDown(link) => {
                    prop_assert_eq!(trees.link_down(link), model.link_down(link));
                }
                Step::Learn(origin, parent, first, ms) => {
                    let lag = Duration::from_millis(ms);
                    let swap = trees.learn(origin, parent, first, lag);
                    let swap = swap.map(|swap| (swap.graft, swap.prune));
                    prop_assert_eq!(swap, model.learn(origin, parent, first, ms), "{:?}", step);
                }
            }
            prop_assert_eq!(trees.len(), model.origins.len());
            for origin in ORIGINS {
                let parent = model.known(origin).and_then(|tree| tree.parent);
                prop_assert_eq!(trees.parent(origin), parent, "{} after {:?}", origin, step);
            }
        }
    }
}
