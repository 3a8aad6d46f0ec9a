//! The peers: who is listed, for how long, what each subscribes to, and whose life is over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rand_chacha::ChaCha8Rng;

use crate::crypto::Signature;
use crate::id::{Incarnation, NodeId, Topic};
use crate::seed::arena::Arena;
use crate::seed::digest::TableHash;
use crate::seed::listed::{
    AddressKey, Peer, Subscription, address_key, entry, first_address, number_of,
};
use crate::seed::memory::Key;
use crate::seed::sampler::pick;
use crate::time::Instant;
use crate::wire::frame::{PeerEntry, PeerState};
use crate::wire::record::{PeerRecord, Record, SignedRecord};

/// A peer whose life is over, remembered so that nothing of that life is taken again.
#[derive(Debug)]
pub(super) struct Ended {
    /// The last record of it.
    pub(super) record: PeerRecord,
    pub(super) signature: Signature,
    /// The votes, if it was declared dead; `None` when it left.
    pub(super) votes: Option<Vec<SignedRecord>>,
    /// People do not see it among the dead any more.
    pub(super) forgotten: bool,
    until: Instant,
}

/// A listed or dead peer, as people see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) entry: PeerEntry,
    pub(super) name: &'a str,
    pub(super) state: PeerState,
    /// `None` for a dead one.
    pub(super) peer: Option<&'a Peer>,
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
    /// Listed peers. Everything else refers to them by their numbers.
    slots: Arena<Peer>,
    peers: BTreeMap<NodeId, u32>,
    /// Their numbers in a row, for samples.
    row: Vec<u32>,
    /// Listed peers in the order in which people see them, and the dead in the same.
    by_address: BTreeSet<AddressKey>,
    dead_by_address: BTreeSet<(SocketAddr, NodeId)>,
    leases: BTreeSet<(Instant, u32)>,
    ended: BTreeMap<NodeId, Ended>,
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
    /// As others pass it on.
    pub(super) fn entry(&self) -> PeerEntry {
        entry(&self.record)
    }

    /// The record as its owner signed it.
    pub(super) fn signed(&self) -> SignedRecord {
        SignedRecord { record: Record::Peer(self.record.clone()), signature: self.signature }
    }
}

impl Registry {
    pub(super) fn peer(&self, node: &NodeId) -> Option<&Peer> {
        self.slots.get(*self.peers.get(node)?)
    }

    fn peer_mut(&mut self, node: &NodeId) -> Option<&mut Peer> {
        self.slots.get_mut(*self.peers.get(node)?)
    }

    /// The peer, if it is listed with this life.
    pub(super) fn life(&self, node: &NodeId, incarnation: Incarnation) -> Option<&Peer> {
        self.peer(node).filter(|peer| peer.incarnation == incarnation)
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
        self.peers_from(std::ops::Bound::Unbounded).flat_map(of).chain(ended)
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

    /// The ids of all listed peers, ordered.
    pub(super) fn ordered(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    /// At most `count` different listed peers, each set equally likely, without `except`.
    pub(super) fn sample(
        &self,
        rng: &mut ChaCha8Rng,
        count: usize,
        except: NodeId,
    ) -> Vec<PeerEntry> {
        let drawn = pick(rng, self.row.len(), count.saturating_add(1));
        let numbers = drawn.into_iter().map(|place| self.row[place as usize]);
        let peers = numbers.filter_map(|number| self.slots.get(number));
        peers.filter(|peer| peer.node != except).take(count).map(Peer::entry).collect()
    }

    /// Listed peers after `node`, ordered by id.
    pub(super) fn peers_from(
        &self,
        from: std::ops::Bound<NodeId>,
    ) -> impl Iterator<Item = (&NodeId, &Peer)> + '_ {
        let some = self.peers.range((from, std::ops::Bound::Unbounded));
        some.filter_map(|(node, number)| Some((node, self.slots.get(*number)?)))
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
        self.by_address.len() + self.dead_by_address.len()
    }

    /// Listed and dead peers, ordered by address, without the first `skipped`.
    pub(super) fn listed(&self, skipped: usize) -> impl Iterator<Item = Seen<'_>> + '_ {
        let mut listed = self.by_address.iter().peekable();
        let mut dead = self.dead_by_address.iter().peekable();
        let next = move || match (listed.peek(), dead.peek()) {
            (Some(key), Some((address, _))) if **key < address_key(*address, u32::MAX) => {
                listed.next().map(|key| Ok(number_of(key)))
            }
            (Some(_), None) => listed.next().map(|key| Ok(number_of(key))),
            _ => dead.next().map(|(_, node)| Err(*node)),
        };
        std::iter::from_fn(next).skip(skipped).filter_map(|one| match one {
            Ok(number) => {
                let peer = self.slots.get(number)?;
                let (entry, name, state) = (peer.entry(), &*peer.name, peer.state);
                Some(Seen { entry, name, state, peer: Some(peer) })
            }
            Err(node) => {
                let record = &self.ended.get(&node)?.record;
                let (entry, state) = (entry(record), PeerState::Dead);
                Some(Seen { entry, name: &record.name, state, peer: None })
            }
        })
    }

    /// Those of the peers, and of their subscriptions.
    pub(super) fn hashes(&self) -> [&TableHash; 2] {
        [&self.peers_hash, &self.subscriptions_hash]
    }

    /// How a record stands to what is known.
    pub(super) fn standing(&self, record: &PeerRecord, signature: &Signature) -> Standing {
        if let Some(known) = self.peer(&record.node) {
            return match record.incarnation.cmp(&known.incarnation) {
                std::cmp::Ordering::Less => Standing::Over(known.incarnation),
                std::cmp::Ordering::Greater => Standing::NewLife,
                // Only a lying owner makes two records of one version. All seeds then keep the
                // same one: that which says it left, or else that with the greater signature.
                std::cmp::Ordering::Equal
                    if (record.version, record.left, signature.0)
                        > (known.version, known.has_left(), known.signature.0) =>
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
        let address = first_address(&record);
        let mut peer = Peer::new(record, signature, lease);
        peer.place = u32::try_from(self.row.len()).expect("tables are capped far below 2^32");
        let number = self.slots.insert(peer);
        self.row.push(number);
        self.by_address.insert(address_key(address, number));
        self.leases.insert((lease, number));
        self.peers.insert(node, number);
    }

    /// Replaces the record of a listed peer by a newer one of the same life.
    pub(super) fn update(&mut self, record: PeerRecord, signature: Signature) {
        let Some(&number) = self.peers.get(&record.node) else { return };
        let Some(peer) = self.slots.get_mut(number) else { return };
        self.touched.insert(Key::Peer(record.node));
        self.peers_hash.remove(range(&record.node), &peer.record());
        self.peers_hash.add(range(&record.node), &record);
        self.by_address.remove(&address_key(peer.address, number));
        self.by_address.insert(address_key(first_address(&record), number));
        peer.set(record, signature);
    }

    /// Unlists a peer and returns what was known of it.
    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Peer> {
        let number = self.peers.remove(node)?;
        let peer = self.slots.remove(number)?;
        self.touched.insert(Key::Peer(*node));
        self.peers_hash.remove(range(node), &peer.record());
        for (topic, subscription) in peer.subscriptions.iter() {
            self.subscriptions -= 1;
            if subscription.subscribed {
                let hashed = hashed(*node, peer.incarnation, topic, subscription);
                self.subscriptions_hash.remove(range(node), &hashed);
            }
        }
        self.by_address.remove(&address_key(peer.address, number));
        self.leases.remove(&(peer.lease, number));
        self.row.swap_remove(peer.place as usize);
        let moved = self.row.get(peer.place as usize).copied();
        if let Some(moved) = moved.and_then(|moved| self.slots.get_mut(moved)) {
            moved.place = peer.place;
        }
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
            self.dead_by_address.insert((first_address(&record), node));
        }
        self.forget.insert((until, node));
        self.touched.insert(Key::Ended(node));
        self.ended.insert(node, Ended { record, signature, votes, forgotten: false, until });
    }

    /// A dead peer is listed no more. That it is dead stays known.
    pub(super) fn hide(&mut self, node: &NodeId) {
        let dead = |ended: &&mut Ended| ended.votes.is_some() && !ended.forgotten;
        let Some(ended) = self.ended.get_mut(node).filter(dead) else { return };
        ended.forgotten = true;
        self.dead -= 1;
        self.dead_by_address.remove(&(first_address(&ended.record), *node));
        self.touched.insert(Key::Ended(*node));
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
        if ended.votes.is_some() && !ended.forgotten {
            self.dead -= 1;
            self.dead_by_address.remove(&(first_address(&ended.record), *node));
        }
    }

    /// Forgets ended lives whose time has come.
    pub(super) fn forget_until(&mut self, now: Instant) {
        while let Some((_, node)) = self.forget.first().filter(|(at, _)| *at <= now).copied() {
            self.forget(&node);
        }
    }

    pub(super) fn set_state(&mut self, node: &NodeId, state: PeerState) {
        let Some(peer) = self.peer_mut(node) else { return };
        let before = std::mem::replace(&mut peer.state, state);
        self.suspects -= usize::from(before == PeerState::Suspect);
        self.suspects += usize::from(state == PeerState::Suspect);
    }

    /// Moves the end of a lease to `until`, if that is later. Returns whether it was.
    pub(super) fn extend_lease(&mut self, node: &NodeId, until: Instant) -> bool {
        let Some(&number) = self.peers.get(node) else { return false };
        let Some(peer) = self.slots.get_mut(number).filter(|peer| peer.lease < until) else {
            return false;
        };
        self.leases.remove(&(peer.lease, number));
        self.leases.insert((until, number));
        peer.lease = until;
        true
    }

    /// A peer whose lease has run out.
    pub(super) fn expired(&self, now: Instant) -> Option<NodeId> {
        let (_, number) = self.leases.first().filter(|(at, _)| *at <= now)?;
        self.slots.get(*number).map(|peer| peer.node)
    }

    /// When the next lease runs out or the next ended life is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let leases = self.leases.first().map(|(at, _)| *at);
        leases.into_iter().chain(self.forget.first().map(|(at, _)| *at)).min()
    }

    /// Keeps a subscription of a listed peer.
    pub(super) fn set_subscription(&mut self, node: &NodeId, topic: Topic, new: Subscription) {
        self.remove_subscription(node, &topic);
        let Some(&number) = self.peers.get(node) else { return };
        let Some(peer) = self.slots.get_mut(number) else { return };
        if new.subscribed {
            let hashed = hashed(*node, peer.incarnation, &topic, &new);
            self.subscriptions_hash.add(range(node), &hashed);
        }
        self.subscriptions += 1;
        self.touched.insert(Key::Subscription(*node, topic.clone()));
        peer.subscriptions.insert(topic, new);
    }

    pub(super) fn remove_subscription(&mut self, node: &NodeId, topic: &Topic) {
        let Some(&number) = self.peers.get(node) else { return };
        let Some(peer) = self.slots.get_mut(number) else { return };
        let Some(old) = peer.subscriptions.remove(topic) else { return };
        self.subscriptions -= 1;
        self.touched.insert(Key::Subscription(*node, topic.clone()));
        if old.subscribed {
            let hashed = hashed(*node, peer.incarnation, topic, &old);
            self.subscriptions_hash.remove(range(node), &hashed);
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
    node: NodeId,
    incarnation: Incarnation,
    topic: &'a Topic,
    subscription: &Subscription,
) -> (NodeId, Incarnation, &'a Topic, u64) {
    (node, incarnation, topic, subscription.version)
}
