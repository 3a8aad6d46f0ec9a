//! Whom a peer knows: the passive view of addresses without a link, and the dials under way.
//!
//! The active view is the set of active links, in [`super::links`].

use std::collections::BTreeMap;

use core::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::config::ViewsConfig;
use crate::id::NodeId;
use crate::time::Instant;
use crate::wire::frame::PeerEntry;

/// A peer that could not be linked is left alone for this long. Long enough not to dial a dead
/// address at every turn, short against the lease after which seeds forget it.
const AVOID: Duration = Duration::from_secs(5);
/// A peer that was declared dead is not taken into the view for this long, unless in a new life:
/// others may still pass it on. Guess: longer than a shuffle takes.
const DENY: Duration = Duration::from_secs(30);
/// The most peers that are avoided at once; the oldest is forgiven first.
const AVOIDED_MAX: usize = 256;

/// Known peers without a link.
#[derive(Debug)]
pub(crate) struct Views {
    own: NodeId,
    passive: Vec<PeerEntry>,
    /// Peers not to be dialled before an instant.
    avoided: BTreeMap<NodeId, Instant>,
    /// Peers declared dead, the life that ended, and until when that matters.
    denied: BTreeMap<NodeId, (PeerEntry, Instant)>,
    changed: bool,
    passive_max: usize,
}

impl Views {
    /// Begins with what is known from a former life.
    pub(crate) fn new(own: NodeId, known: &[PeerEntry], config: &ViewsConfig) -> Self {
        let passive = known.iter().filter(|p| p.node != own).take(config.passive_max);
        Self {
            own,
            passive: passive.copied().collect(),
            avoided: BTreeMap::new(),
            denied: BTreeMap::new(),
            changed: false,
            passive_max: config.passive_max,
        }
    }

    /// Known peers without a link.
    pub(crate) fn passive(&self) -> &[PeerEntry] {
        &self.passive
    }

    /// Takes in peers that others named. A full view forgets random entries; returns how many.
    pub(crate) fn learn(
        &mut self,
        peers: &[PeerEntry],
        linked: impl Fn(&NodeId) -> bool,
        rng: &mut ChaCha8Rng,
    ) -> u64 {
        let mut evicted = 0;
        for peer in peers {
            let denied =
                self.denied.get(&peer.node).is_some_and(|(d, _)| d.incarnation >= peer.incarnation);
            if peer.node == self.own || denied || linked(&peer.node) {
                continue;
            }
            if let Some(known) = self.passive.iter_mut().find(|p| p.node == peer.node) {
                if peer.incarnation > known.incarnation {
                    *known = *peer;
                    self.changed = true;
                }
                continue;
            }
            if self.passive.len() >= self.passive_max {
                let at = rng.random_range(0..self.passive.len() as u64) as usize;
                self.passive.swap_remove(at);
                evicted += 1;
            }
            self.passive.push(*peer);
            self.changed = true;
        }
        evicted
    }

    /// The peer is linked, gone or dead: no candidate any more.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        let before = self.passive.len();
        self.passive.retain(|peer| peer.node != *node);
        self.changed |= self.passive.len() != before;
    }

    /// Linking failed or ended: leave the peer alone for a while.
    pub(crate) fn avoid(&mut self, now: Instant, node: NodeId) {
        if self.avoided.len() >= AVOIDED_MAX {
            self.avoided.retain(|_, until| *until > now);
        }
        if self.avoided.len() >= AVOIDED_MAX {
            self.avoided.pop_first();
        }
        self.avoided.insert(node, now + AVOID);
    }

    /// That life of the peer is over.
    pub(crate) fn deny(&mut self, now: Instant, peer: PeerEntry) {
        self.forget(&peer.node);
        self.denied.retain(|_, (_, until)| *until > now);
        if self.denied.len() < AVOIDED_MAX {
            self.denied.insert(peer.node, (peer, now + DENY));
        }
    }

    /// Whether the peer may be dialled.
    pub(crate) fn may_dial(&self, now: Instant, node: &NodeId) -> bool {
        *node != self.own && self.avoided.get(node).is_none_or(|until| *until <= now)
    }

    /// Random known peers, at most `count`.
    pub(crate) fn pick(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<PeerEntry> {
        pick(&self.passive, count, rng)
    }

    /// Whether the view changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// The set of neighbours changed, which is persisted with the view.
    pub(crate) fn note_changed(&mut self) {
        self.changed = true;
    }
}

/// `count` random elements of `from`, in random order.
pub(crate) fn pick<T: Copy>(from: &[T], count: usize, rng: &mut ChaCha8Rng) -> Vec<T> {
    let mut pool = from.to_vec();
    for i in 0..count.min(pool.len()) {
        let j = rng.random_range(i as u64..pool.len() as u64) as usize;
        pool.swap(i, j);
    }
    pool.truncate(count);
    pool
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;
    use crate::id::Incarnation;

    fn peer(n: u8) -> PeerEntry {
        PeerEntry {
            node: NodeId([n; 32]),
            incarnation: Incarnation(1),
            address: ([127, 0, 0, 1], 7_000 + u16::from(n)).into(),
        }
    }

    fn views() -> (Views, ChaCha8Rng) {
        let config = ViewsConfig { passive_max: 4, ..Default::default() };
        (Views::new(peer(0).node, &[], &config), ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn the_passive_view_is_bounded_and_without_oneself() {
        let (mut views, mut rng) = views();
        let peers: Vec<_> = (0..10).map(peer).collect();
        let evicted = views.learn(&peers, |node| *node == peer(1).node, &mut rng);
        assert_eq!((views.passive().len(), evicted), (4, 4));
        assert!(views.passive().iter().all(|p| p.node != peer(0).node && p.node != peer(1).node));
        assert!(views.take_changed() && !views.take_changed());
    }

    #[test]
    fn the_dead_come_back_only_in_a_new_life() {
        let (mut views, mut rng) = views();
        views.learn(&[peer(1)], |_| false, &mut rng);
        views.deny(Instant::ZERO, peer(1));
        views.learn(&[peer(1)], |_| false, &mut rng);
        assert!(views.passive().is_empty());
        views.learn(&[PeerEntry { incarnation: Incarnation(2), ..peer(1) }], |_| false, &mut rng);
        assert_eq!(views.passive().len(), 1);
    }

    #[test]
    fn a_failed_peer_is_left_alone_for_a_while() {
        let (mut views, _) = views();
        views.avoid(Instant::ZERO, peer(1).node);
        assert!(!views.may_dial(Instant::from_millis(4_999), &peer(1).node));
        assert!(views.may_dial(Instant::from_millis(5_000), &peer(1).node));
        assert!(!views.may_dial(Instant::ZERO, &peer(0).node));
    }
}
