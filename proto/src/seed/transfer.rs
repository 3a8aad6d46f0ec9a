//! Everything that a seed knows, sent to another seed that differs: a few frames at a time, so
//! that the link's queue holds them.

use std::ops::Bound;

use core::time::Duration;

use crate::id::{LinkId, NodeId, Topic};
use crate::seed::sync::PROVISIONAL_PART;
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{Dead, Frame, Lease, RECORDS_MAX};
use crate::wire::record::{Record, SignedRecord};

/// Chunks sent at once: 16 x 50 kB at most, a tenth of a link's queue of 8 MiB.
const BURST: usize = 16;
/// The pause between bursts. With the burst, at most 16 MB/s.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// How far a transfer is: the kind of record, and the last one that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    Peers(Bound<NodeId>),
    Ended(Bound<NodeId>),
    Topics(Bound<Topic>),
    Subscriptions(Bound<(NodeId, Topic)>),
}

impl Seed {
    /// Begins to send everything, unless that is under way.
    pub(super) fn transfer_all(&mut self, now: Instant, slot: usize, id: LinkId) {
        let state = &mut self.sync.slots[slot];
        if state.link != Some(id) || state.cursor.is_some() {
            return;
        }
        state.cursor = Some(Cursor::Peers(Bound::Unbounded));
        self.stats.table_transfers += 1;
        self.transfer_more(now, id);
    }

    pub(super) fn transfer_more(&mut self, now: Instant, id: LinkId) {
        let mut slots = self.sync.slots.iter_mut();
        let Some(slot) = slots.position(|slot| slot.link == Some(id)) else { return };
        let mut cursor = self.sync.slots[slot].cursor.take();
        for _ in 0..BURST {
            let Some(at) = cursor else { break };
            let (frames, next) = self.chunk(now, at);
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
    fn chunk(&self, now: Instant, cursor: Cursor) -> (Vec<Frame>, Option<Cursor>) {
        match cursor {
            Cursor::Peers(from) => {
                let (frames, last) = self.peers_chunk(now, from);
                let next = last.map_or(Cursor::Ended(Bound::Unbounded), Cursor::Peers);
                (frames, Some(next))
            }
            Cursor::Ended(from) => {
                let (frames, last) = self.ended_chunk(from);
                let next = last.map_or(Cursor::Topics(Bound::Unbounded), Cursor::Ended);
                (frames, Some(next))
            }
            Cursor::Topics(from) => {
                let some = self.index.signed_from(from).take(RECORDS_MAX);
                let (names, records): (Vec<_>, Vec<_>) = some.unzip();
                let last = names.last().filter(|_| records.len() == RECORDS_MAX);
                let last = last.map(|topic| Cursor::Topics(Bound::Excluded((*topic).clone())));
                let next = last.unwrap_or(Cursor::Subscriptions(Bound::Unbounded));
                (frame(records), Some(next))
            }
            Cursor::Subscriptions(from) => {
                let (records, last) = self.subscriptions_chunk(from);
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
    ) -> (Vec<Frame>, Option<Bound<NodeId>>) {
        let horizon = now + self.config.lease / PROVISIONAL_PART * 2;
        let (mut records, mut leases, mut last) = (Vec::new(), Vec::new(), None);
        for (node, peer) in self.registry.peers_from(from) {
            if records.len() == RECORDS_MAX {
                break;
            }
            last = Some(*node);
            if peer.lease > horizon {
                records.push(peer.signed());
                leases.push(peer.lease(now));
            }
        }
        let full = records.len() == RECORDS_MAX;
        let mut frames = frame(records);
        frames.extend((!leases.is_empty()).then_some(Frame::Leases(leases)));
        (frames, last.filter(|_| full).map(Bound::Excluded))
    }

    /// Who left, and the verdicts on who died.
    fn ended_chunk(&self, from: Bound<NodeId>) -> (Vec<Frame>, Option<Bound<NodeId>>) {
        let (mut left, mut frames, mut records, mut last) = (Vec::new(), Vec::new(), 0, None);
        for (node, ended) in self.registry.ended_from(from) {
            records += ended.votes.as_ref().map_or(1, Vec::len);
            if records > RECORDS_MAX {
                frames.extend(frame(left));
                return (frames, last.map(Bound::Excluded));
            }
            last = Some(*node);
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
        (frames, None)
    }

    fn subscriptions_chunk(
        &self,
        from: Bound<(NodeId, Topic)>,
    ) -> (Vec<SignedRecord>, Option<Bound<(NodeId, Topic)>>) {
        let (first, after) = match from {
            Bound::Excluded((node, topic)) => (Bound::Included(node), Bound::Excluded(topic)),
            _ => (Bound::Unbounded, Bound::Unbounded),
        };
        let mut after = Some(after);
        let (mut records, mut last) = (Vec::new(), None);
        for (node, peer) in self.registry.peers_from(first) {
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

impl crate::seed::registry::Peer {
    /// The rest of its lease.
    pub(super) fn lease(&self, now: Instant) -> Lease {
        let remaining_ms = self.lease.millis_since(now);
        Lease { node: self.record.node, incarnation: self.record.incarnation, remaining_ms }
    }
}

fn frame(records: Vec<SignedRecord>) -> Vec<Frame> {
    if records.is_empty() { Vec::new() } else { vec![Frame::Records(records)] }
}
