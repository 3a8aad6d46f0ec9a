//! The peers: who is listed, for how long, what each subscribes to, and whose life is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::crypto::Signature;
use crate::id::{Incarnation, NodeId, Topic};
use crate::seed::digest::TableHash;
use crate::seed::memory::Key;
use crate::seed::sampler::Sampler;
use crate::time::Instant;
use crate::wire::frame::{PeerEntry, PeerState};
use crate::wire::record::{PeerRecord, Record, SignedRecord, SubscriptionRecord};

/// A listed peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) record: PeerRecord,
    pub(super) signature: Signature,
    /// Alive or suspect.
    pub(super) state: PeerState,
    /// When it is dropped unless it renews.
    pub(super) lease: Instant,
    /// What it wants, and what it has said it no longer wants.
    pub(super) subscriptions: BTreeMap<Topic, Subscription>,
}

/// What is kept of a subscription record; the rest is its peer's.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) version: u64,
    pub(super) subscribed: bool,
    pub(super) signature: Signature,
}

/// A peer whose life is over, remembered so that nothing of that life is taken again.
#[derive(Debug)]
pub(super) struct Ended {
    /// The last record of it.
    pub(super) record: PeerRecord,
    pub(super) signature: Signature,
    /// The votes, if it was declared dead; `None` when it left.
    pub(super) votes: Option<Vec<SignedRecord>>,
    until: Instant,
}

/// How a record stands to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The peer is not listed; `returned` when its last life was declared dead.
    New { returned: bool },
    /// Of a later life than the listed one, whose subscriptions are void.
    NewLife,
    /// Of the listed life, and newer.
    Newer,
    /// Nothing new.
    Known,
    /// Of a life that is over, or followed by this one.
    Over(Incarnation),
}

/// The tables of peers.
#[derive(Debug, Default)]
pub(super) struct Registry {
    peers: BTreeMap<NodeId, Peer>,
    ended: BTreeMap<NodeId, Ended>,
    live: Sampler,
    /// Listed peers and the dead, in the order in which people see them.
    by_address: BTreeSet<(SocketAddr, NodeId)>,
    leases: BTreeSet<(Instant, NodeId)>,
    forget: BTreeSet<(Instant, NodeId)>,
    dead: usize,
    suspects: usize,
    subscriptions: usize,
    peers_hash: TableHash,
    subscriptions_hash: TableHash,
    /// Rows that the disk does not hold as they are here.
    pub(super) touched: BTreeSet<Key>,
}

impl Ended {
    /// The record as its owner signed it.
    pub(super) fn signed(&self) -> SignedRecord {
        SignedRecord { record: Record::Peer(self.record.clone()), signature: self.signature }
    }
}

impl Peer {
    pub(super) fn entry(&self) -> PeerEntry {
        entry(&self.record)
    }

    /// The record as its owner signed it.
    pub(super) fn signed(&self) -> SignedRecord {
        SignedRecord { record: Record::Peer(self.record.clone()), signature: self.signature }
    }

    /// A subscription as its owner signed it.
    pub(super) fn signed_subscription(&self, topic: &Topic, of: &Subscription) -> SignedRecord {
        let record = SubscriptionRecord {
            node: self.record.node,
            incarnation: self.record.incarnation,
            topic: topic.clone(),
            version: of.version,
            subscribed: of.subscribed,
        };
        SignedRecord { record: Record::Subscription(record), signature: of.signature }
    }

    /// Topics that it wants, ordered.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> + '_ {
        self.subscriptions.iter().filter(|(_, s)| s.subscribed).map(|(topic, _)| topic)
    }
}

/// A peer as others pass it on.
pub(super) fn entry(record: &PeerRecord) -> PeerEntry {
    PeerEntry { node: record.node, incarnation: record.incarnation, address: first_address(record) }
}

fn first_address(record: &PeerRecord) -> SocketAddr {
    *record.addresses.first().expect("a legal record has an address")
}

impl Registry {
    pub(super) fn peer(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    /// The peer, if it is listed with this life.
    pub(super) fn life(&self, node: &NodeId, incarnation: Incarnation) -> Option<&Peer> {
        self.peers.get(node).filter(|peer| peer.record.incarnation == incarnation)
    }

    /// An ended life that is remembered.
    pub(super) fn ended(&self, node: &NodeId) -> Option<&Ended> {
        self.ended.get(node)
    }

    /// All rows that are kept of these tables.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let of = |(node, peer): (&NodeId, &'_ Peer)| {
            let node = *node;
            let topics: Vec<Topic> = peer.subscriptions.keys().cloned().collect();
            let wanted = topics.into_iter().map(move |topic| Key::Subscription(node, topic));
            std::iter::once(Key::Peer(node)).chain(wanted)
        };
        let ended = self.ended.keys().map(|node| Key::Ended(*node));
        self.peers.iter().flat_map(of).chain(ended)
    }

    /// How many peers are listed.
    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn suspects(&self) -> usize {
        self.suspects
    }

    pub(super) fn dead(&self) -> usize {
        self.dead
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// Listed peers, for samples.
    pub(super) fn live(&self) -> &Sampler {
        &self.live
    }

    /// Listed peers after `node`, ordered by id.
    pub(super) fn peers_from(
        &self,
        from: std::ops::Bound<NodeId>,
    ) -> impl Iterator<Item = (&NodeId, &Peer)> + '_ {
        self.peers.range((from, std::ops::Bound::Unbounded))
    }

    /// Ended lives after `node`, ordered by id.
    pub(super) fn ended_from(
        &self,
        from: std::ops::Bound<NodeId>,
    ) -> impl Iterator<Item = (&NodeId, &Ended)> + '_ {
        self.ended.range((from, std::ops::Bound::Unbounded))
    }

    /// How many peers are listed or dead.
    pub(super) fn listed_count(&self) -> usize {
        self.by_address.len()
    }

    /// Records of listed and dead peers with their states, ordered by address, without the first
    /// `skipped`.
    pub(super) fn listed(
        &self,
        skipped: usize,
    ) -> impl Iterator<Item = (&PeerRecord, PeerState)> + '_ {
        self.by_address.iter().skip(skipped).filter_map(|(_, node)| match self.peers.get(node) {
            Some(peer) => Some((&peer.record, peer.state)),
            None => self.ended.get(node).map(|ended| (&ended.record, PeerState::Dead)),
        })
    }

    /// Those of the peers, and of their subscriptions.
    pub(super) fn hashes(&self) -> [&TableHash; 2] {
        [&self.peers_hash, &self.subscriptions_hash]
    }

    /// How a record stands to what is known.
    pub(super) fn standing(&self, record: &PeerRecord, signature: &Signature) -> Standing {
        if let Some(peer) = self.peers.get(&record.node) {
            let known = &peer.record;
            return match record.incarnation.cmp(&known.incarnation) {
                std::cmp::Ordering::Less => Standing::Over(known.incarnation),
                std::cmp::Ordering::Greater => Standing::NewLife,
                // Only a lying owner makes two records of one version. All seeds then keep the
                // same one: that which says it left, or else that with the greater signature.
                std::cmp::Ordering::Equal
                    if (record.version, record.left, signature.0)
                        > (known.version, known.left, peer.signature.0) =>
                {
                    Standing::Newer
                }
                std::cmp::Ordering::Equal => Standing::Known,
            };
        }
        let Some(ended) = self.ended.get(&record.node) else {
            return Standing::New { returned: false };
        };
        let known = &ended.record;
        if ended.votes.is_some() {
            return match record.incarnation > known.incarnation {
                true => Standing::New { returned: true },
                false => Standing::Over(known.incarnation),
            };
        }
        match (record.incarnation, record.version).cmp(&(known.incarnation, known.version)) {
            std::cmp::Ordering::Greater => Standing::New { returned: false },
            _ if record.left => Standing::Known,
            _ => Standing::Over(known.incarnation),
        }
    }

    /// Lists a peer that is not listed.
    pub(super) fn insert(&mut self, record: PeerRecord, signature: Signature, lease: Instant) {
        debug_assert!(!self.peers.contains_key(&record.node), "the former life is removed first");
        let node = record.node;
        self.forget(&node);
        self.touched.insert(Key::Peer(node));
        self.peers_hash.add(range(&record.node), &record);
        self.by_address.insert((first_address(&record), node));
        self.leases.insert((lease, node));
        self.live.insert(node);
        let subscriptions = BTreeMap::new();
        let state = PeerState::Alive;
        self.peers.insert(node, Peer { record, signature, state, lease, subscriptions });
    }

    /// Replaces the record of a listed peer by a newer one of the same life.
    pub(super) fn update(&mut self, record: PeerRecord, signature: Signature) {
        let Some(peer) = self.peers.get_mut(&record.node) else { return };
        self.touched.insert(Key::Peer(record.node));
        self.peers_hash.remove(range(&peer.record.node), &peer.record);
        self.peers_hash.add(range(&record.node), &record);
        self.by_address.remove(&(first_address(&peer.record), record.node));
        self.by_address.insert((first_address(&record), record.node));
        peer.record = record;
        peer.signature = signature;
    }

    /// Unlists a peer and returns what was known of it.
    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Peer> {
        let peer = self.peers.remove(node)?;
        self.touched.insert(Key::Peer(*node));
        self.peers_hash.remove(range(&peer.record.node), &peer.record);
        for (topic, subscription) in &peer.subscriptions {
            self.subscriptions -= 1;
            if subscription.subscribed {
                self.subscriptions_hash
                    .remove(range(node), &hashed(&peer.record, topic, subscription));
            }
        }
        self.by_address.remove(&(first_address(&peer.record), *node));
        self.leases.remove(&(peer.lease, *node));
        self.live.remove(node);
        self.suspects -= usize::from(peer.state == PeerState::Suspect);
        Some(peer)
    }

    /// Remembers an ended life of a peer that is no longer listed, until `until`; with `votes`
    /// it is listed as dead. More than `max` are not kept: the one that would be forgotten first
    /// goes.
    pub(super) fn end(
        &mut self,
        signed: (PeerRecord, Signature),
        votes: Option<Vec<SignedRecord>>,
        until: Instant,
        max: usize,
    ) {
        let (record, signature) = signed;
        let node = record.node;
        self.forget(&node);
        while self.ended.len() >= max.max(1) {
            let Some((_, oldest)) = self.forget.first().copied() else { break };
            self.forget(&oldest);
        }
        if votes.is_some() {
            self.dead += 1;
            self.by_address.insert((first_address(&record), node));
        }
        self.forget.insert((until, node));
        self.touched.insert(Key::Ended(node));
        self.ended.insert(node, Ended { record, signature, votes, until });
    }

    /// Whether this life, or a later one, was declared dead.
    pub(super) fn is_dead(&self, node: &NodeId, life: Incarnation) -> bool {
        let dead = self.ended.get(node).filter(|ended| ended.votes.is_some());
        dead.is_some_and(|ended| ended.record.incarnation >= life)
    }

    fn forget(&mut self, node: &NodeId) {
        let Some(ended) = self.ended.remove(node) else { return };
        self.touched.insert(Key::Ended(*node));
        self.forget.remove(&(ended.until, *node));
        if ended.votes.is_some() {
            self.dead -= 1;
            self.by_address.remove(&(first_address(&ended.record), *node));
        }
    }

    /// Forgets ended lives whose time has come.
    pub(super) fn forget_until(&mut self, now: Instant) {
        while let Some((_, node)) = self.forget.first().filter(|(at, _)| *at <= now).copied() {
            self.forget(&node);
        }
    }

    pub(super) fn set_state(&mut self, node: &NodeId, state: PeerState) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        self.suspects -= usize::from(peer.state == PeerState::Suspect);
        self.suspects += usize::from(state == PeerState::Suspect);
        peer.state = state;
    }

    /// Moves the end of a lease to `until`, if that is later. Returns whether it was.
    pub(super) fn extend_lease(&mut self, node: &NodeId, until: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(node).filter(|peer| peer.lease < until) else {
            return false;
        };
        self.leases.remove(&(peer.lease, *node));
        self.leases.insert((until, *node));
        peer.lease = until;
        true
    }

    /// A peer whose lease has run out.
    pub(super) fn expired(&self, now: Instant) -> Option<NodeId> {
        self.leases.first().filter(|(at, _)| *at <= now).map(|(_, node)| *node)
    }

    /// When the next lease runs out or the next ended life is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |set: &BTreeSet<(Instant, NodeId)>| set.first().map(|(at, _)| *at);
        first(&self.leases).into_iter().chain(first(&self.forget)).min()
    }

    /// Keeps a subscription of a listed peer.
    pub(super) fn set_subscription(&mut self, node: &NodeId, topic: Topic, new: Subscription) {
        self.remove_subscription(node, &topic);
        let Some(peer) = self.peers.get_mut(node) else { return };
        if new.subscribed {
            self.subscriptions_hash.add(range(node), &hashed(&peer.record, &topic, &new));
        }
        self.subscriptions += 1;
        self.touched.insert(Key::Subscription(*node, topic.clone()));
        peer.subscriptions.insert(topic, new);
    }

    pub(super) fn remove_subscription(&mut self, node: &NodeId, topic: &Topic) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        let Some(old) = peer.subscriptions.remove(topic) else { return };
        self.subscriptions -= 1;
        self.touched.insert(Key::Subscription(*node, topic.clone()));
        if old.subscribed {
            self.subscriptions_hash.remove(range(node), &hashed(&peer.record, topic, &old));
        }
    }
}

/// Where a node's records stand in the hashes of the tables: by its first byte, so that the
/// records of a range are neighbours in the table too.
pub(super) fn range(node: &NodeId) -> u8 {
    node.0[0]
}

/// What the hash of the table says of a subscription.
fn hashed<'a>(
    of: &PeerRecord,
    topic: &'a Topic,
    subscription: &Subscription,
) -> (NodeId, Incarnation, &'a Topic, u64) {
    (of.node, of.incarnation, topic, subscription.version)
}
