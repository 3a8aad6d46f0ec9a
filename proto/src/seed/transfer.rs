//! What a seed knows, sent to another seed that differs, of the ranges of keys in which they do: a
//! few frames at a time, so that the link's queue holds them.

use std::ops::Bound;

use core::time::Duration;

use crate::id::{LinkId, NodeId, Topic};
use crate::seed::digest::Ranges;
use crate::seed::registry::range;
use crate::seed::sync::PROVISIONAL_PART;
use crate::seed::{Seed, Timer, index};
use crate::time::Instant;
use crate::wire::frame::{Dead, Frame, Lease, RECORDS_MAX, RangeHashes};
use crate::wire::record::{Record, SignedRecord};

/// Chunks sent at once: 16 x 50 kB at most, a tenth of a link's queue of 8 MiB.
const BURST: usize = 16;
/// The pause between bursts. With the burst, at most 16 MB/s.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Names of topics that are looked at for one chunk: they are not in the order of their ranges.
const TOPICS_SEEN_MAX: usize = 4_096;

/// The parts of the tables that a transfer is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    peers: Ranges,
    subscriptions: Ranges,
    topics: Ranges,
}

/// How far a transfer is: the kind of record, and the last one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    Peers(Bound<NodeId>),
    Ended(Bound<NodeId>),
    Topics(Bound<Topic>),
    Subscriptions(Bound<(NodeId, Topic)>),
}

impl Wanted {
    /// All of the tables.
    pub(super) const ALL: Self =
        Self { peers: Ranges::ALL, subscriptions: Ranges::ALL, topics: Ranges::ALL };
}

impl Seed {
    /// Begins to send what another seed lacks or has otherwise, unless that is under way.
    pub(super) fn transfer_differing(
        &mut self,
        now: Instant,
        slot: usize,
        id: LinkId,
        theirs: &RangeHashes,
    ) {
        let [peers, subscriptions] = self.registry.hashes();
        let wanted = Wanted {
            peers: Ranges::differing(peers.ranges(), &theirs.peers),
            subscriptions: Ranges::differing(subscriptions.ranges(), &theirs.subscriptions),
            topics: Ranges::differing(self.index.hash().ranges(), &theirs.topics),
        };
        self.transfer(now, slot, id, wanted);
    }

    fn transfer(&mut self, now: Instant, slot: usize, id: LinkId, wanted: Wanted) {
        let state = &mut self.sync.slots[slot];
        if state.link != Some(id) || state.cursor.is_some() {
            return;
        }
        state.cursor = Some(Cursor::Peers(Bound::Unbounded));
        state.wanted = wanted;
        self.stats.table_transfers += 1;
        self.transfer_more(now, id);
    }

    pub(super) fn transfer_more(&mut self, now: Instant, id: LinkId) {
        let mut slots = self.sync.slots.iter_mut();
        let Some(slot) = slots.position(|slot| slot.link == Some(id)) else { return };
        let wanted = self.sync.slots[slot].wanted;
        let mut cursor = self.sync.slots[slot].cursor.take();
        for _ in 0..BURST {
            let Some(at) = cursor else { break };
            let (frames, next) = self.chunk(now, at, &wanted);
            for frame in frames {
                self.send(id, frame);
            }
            cursor = next;
        }
        // The last of the votes says that the tables were sent as well.
        let mut votes = self.sync.slots[slot].votes.take();
        for _ in 0..BURST {
            let Some(telling) = votes.take_if(|_| cursor.is_none()) else { break };
            let (frame, next) = self.votes_chunk(telling);
            votes = next;
            self.send(id, Frame::Votes(frame));
        }
        if cursor.is_some() || votes.is_some() {
            self.timers.set(Timer::Transfer(id), now + PAUSE);
        }
        self.sync.slots[slot].cursor = cursor;
        self.sync.slots[slot].votes = votes;
    }

    /// The frames after `cursor`, and where to go on.
    fn chunk(&self, now: Instant, at: Cursor, wanted: &Wanted) -> (Vec<Frame>, Option<Cursor>) {
        match at {
            Cursor::Peers(from) => {
                let (frames, last) = self.peers_chunk(now, from, wanted.peers);
                let next = last.map_or(Cursor::Ended(Bound::Unbounded), Cursor::Peers);
                (frames, Some(next))
            }
            Cursor::Ended(from) => {
                let ranges = wanted.peers.union(wanted.subscriptions);
                let (frames, last) = self.ended_chunk(from, ranges);
                let next = last.map_or(Cursor::Topics(Bound::Unbounded), Cursor::Ended);
                (frames, Some(next))
            }
            Cursor::Topics(from) => {
                let (records, last) = self.topics_chunk(from, wanted.topics);
                let next = last.map_or(Cursor::Subscriptions(Bound::Unbounded), Cursor::Topics);
                (frame(records), Some(next))
            }
            Cursor::Subscriptions(from) => {
                let (records, last) = self.subscriptions_chunk(from, wanted.subscriptions);
                (frame(records), last.map(Cursor::Subscriptions))
            }
        }
    }

    /// Peers with their leases. A lease that is about to run out is not passed on: seeds that
    /// drop it at slightly different times would hand it to each other for ever.
    fn peers_chunk(
        &self,
        now: Instant,
        from: Bound<NodeId>,
        wanted: Ranges,
    ) -> (Vec<Frame>, Option<Bound<NodeId>>) {
        let horizon = now + self.config.lease / PROVISIONAL_PART * 2;
        let (mut records, mut leases, mut next) = (Vec::new(), Vec::new(), None);
        for (node, peer) in self.registry.peers_from(from) {
            match resume(wanted, node) {
                Resume::Here if records.len() < RECORDS_MAX => {}
                Resume::Here => next = Some(Bound::Included(*node)),
                Resume::At(at) => next = Some(at),
                Resume::Never => {}
            }
            if next.is_some() || !wanted.contains(range(node)) {
                break;
            }
            // A peer that was on disk and has not renewed since may be gone for long: it is not
            // brought back where that is known.
            if peer.lease > horizon && peer.lease != self.restored_until {
                records.push(peer.signed());
                leases.push(peer.lease(now));
            }
        }
        let mut frames = frame(records);
        frames.extend((!leases.is_empty()).then_some(Frame::Leases(leases)));
        (frames, next)
    }

    /// Who left, and the verdicts on who died.
    fn ended_chunk(
        &self,
        from: Bound<NodeId>,
        wanted: Ranges,
    ) -> (Vec<Frame>, Option<Bound<NodeId>>) {
        let (mut left, mut frames, mut records, mut next) = (Vec::new(), Vec::new(), 0, None);
        for (node, ended) in self.registry.ended_from(from) {
            records += ended.votes.as_ref().map_or(1, Vec::len);
            match resume(wanted, node) {
                Resume::Here if records <= RECORDS_MAX => {}
                Resume::Here => next = Some(Bound::Included(*node)),
                Resume::At(at) => next = Some(at),
                Resume::Never => {}
            }
            if next.is_some() || !wanted.contains(range(node)) {
                break;
            }
            match &ended.votes {
                Some(votes) => frames.push(Frame::Dead(Dead {
                    node: *node,
                    incarnation: ended.record.incarnation,
                    votes: votes.clone(),
                })),
                None => left.push(SignedRecord {
                    record: Record::Peer(ended.record.clone()),
                    signature: ended.signature,
                }),
            }
        }
        frames.extend(frame(left));
        (frames, next)
    }

    /// Topics, those that were deleted included.
    fn topics_chunk(
        &self,
        from: Bound<Topic>,
        wanted: Ranges,
    ) -> (Vec<SignedRecord>, Option<Bound<Topic>>) {
        if wanted.is_empty() {
            return (Vec::new(), None);
        }
        let mut records = Vec::new();
        for (seen, (topic, record)) in self.index.signed_from(from).enumerate() {
            if seen >= TOPICS_SEEN_MAX || records.len() == RECORDS_MAX {
                return (records, Some(Bound::Included(topic.clone())));
            }
            if wanted.contains(index::range(topic)) {
                records.push(record);
            }
        }
        (records, None)
    }

    fn subscriptions_chunk(
        &self,
        from: Bound<(NodeId, Topic)>,
        wanted: Ranges,
    ) -> (Vec<SignedRecord>, Option<Bound<(NodeId, Topic)>>) {
        let (first, after) = match from {
            Bound::Excluded((node, topic)) => (Bound::Included(node), Bound::Excluded(topic)),
            _ => (Bound::Unbounded, Bound::Unbounded),
        };
        let (mut start, mut after) = (first, Some(after));
        let (mut records, mut last) = (Vec::new(), None);
        'ranges: loop {
            for (node, peer) in self.registry.peers_from(start) {
                match resume(wanted, node) {
                    Resume::Here => {}
                    Resume::At(at) => {
                        start = at;
                        continue 'ranges;
                    }
                    Resume::Never => break 'ranges,
                }
                let resumed = matches!(&first, Bound::Included(resumed) if resumed == node);
                let from = after.take().filter(|_| resumed).unwrap_or(Bound::Unbounded);
                for (topic, subscription) in peer.subscriptions.range((from, Bound::Unbounded)) {
                    if records.len() == RECORDS_MAX {
                        return (records, last.map(Bound::Excluded));
                    }
                    records.push(peer.signed_subscription(topic, subscription));
                    last = Some((*node, topic.clone()));
                }
            }
            break;
        }
        (records, None)
    }

    /// Votes on peers that are not judged yet, for a seed that was just linked.
    pub(super) fn send_open_votes(&mut self, id: LinkId) {
        let votes: Vec<SignedRecord> = self.reports.votes_of(self.me()).cloned().collect();
        for chunk in votes.chunks(RECORDS_MAX) {
            self.send(id, Frame::Records(chunk.to_vec()));
        }
    }
}

impl crate::seed::listed::Peer {
    /// The rest of its lease.
    pub(super) fn lease(&self, now: Instant) -> Lease {
        let remaining_ms = self.lease.millis_since(now);
        Lease { node: self.node, incarnation: self.incarnation, remaining_ms }
    }
}

/// Where a walk through a table by nodes goes on.
enum Resume {
    /// With this node.
    Here,
    /// With a later range.
    At(Bound<NodeId>),
    /// No range follows.
    Never,
}

/// Whether a node is in one of the ranges, or which of them follows.
fn resume(wanted: Ranges, node: &NodeId) -> Resume {
    match wanted.next(range(node)) {
        Some(next) if next == range(node) => Resume::Here,
        Some(next) => {
            let mut first = [0; 32];
            first[0] = next;
            Resume::At(Bound::Included(NodeId(first)))
        }
        None => Resume::Never,
    }
}

fn frame(records: Vec<SignedRecord>) -> Vec<Frame> {
    if records.is_empty() { Vec::new() } else { vec![Frame::Records(records)] }
}
