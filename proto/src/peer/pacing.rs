//! Publishers that wait for those who receive: what peers tell up the trees of how far a stream
//! has come, and what a publisher does about it.

use super::Peer;
use super::topics::LocalTopic;
use super::trees::slot_bit;
use super::window;
use crate::id::{LinkId, Origin, Topic};
use crate::wire::batch::Batch;
use crate::wire::frame::{Frame, Reached};

impl Peer {
    /// A neighbour pushed a batch, which need not be new: it is to hear how far the stream is.
    pub(super) fn note_push(&mut self, id: LinkId, batch: &Batch) {
        let header = batch.header();
        let local = self.topics.get_mut(&header.topic);
        let stream = local.and_then(|local| local.streams.get_mut(&header.origin));
        if let Some(stream) = stream.filter(|_| !header.topic.is_internal()) {
            stream.frontier.pushed(self.now, id);
        }
    }

    /// A batch has come.
    pub(super) fn note_frontier(&mut self, batch: &Batch) {
        let header = batch.header();
        let local = self.topics.get_mut(&header.topic);
        let stream = local.and_then(|local| local.streams.get_mut(&header.origin));
        let Some(stream) = stream.filter(|_| !header.topic.is_internal()) else { return };
        stream.frontier.came(batch.bytes().len());
        self.retell(&header.topic, header.origin);
    }

    /// Messages of this peer are about to go out, the last of them with this number.
    pub(super) fn take_off(&mut self, topic: &Topic, last_seq: u64, bytes: usize) {
        if let Some(local) = self.topics.get_mut(topic) {
            local.in_flight.send(self.now, last_seq, bytes);
        }
    }

    /// A batch of this peer went to nobody: nobody is waited for.
    pub(super) fn landed(&mut self, batch: &Batch) {
        if let Some(local) = self.topics.get_mut(&batch.header().topic) {
            local.in_flight.forget(batch.header().last_seq());
        }
    }

    /// A neighbour tells how far a stream is at itself and behind it.
    pub(super) fn on_reached(&mut self, id: LinkId, reached: &Reached) {
        let Some(local) = self.topics.get_mut(&reached.topic) else { return };
        let Some(origin) = local.streams.named(reached.origin) else { return };
        let Some(slot) = local.slot(id) else { return };
        if local.trees.lazy(reached.origin) & slot_bit(slot) != 0 {
            return;
        }
        if let Some(stream) = local.streams.get_mut(&origin) {
            stream.frontier.hear(self.now, id, reached.seq);
            self.tell_frontier(&reached.topic, origin);
        }
    }

    /// More of a stream may be here, or others may have a say: who is to be told hears it at once,
    /// for the next batch may be waiting for just that.
    pub(super) fn retell(&mut self, topic: &Topic, origin: Origin) {
        let stream = self.topics.get(topic).and_then(|local| local.streams.get(&origin));
        let is_due = stream.is_some_and(|stream| stream.frontier.is_due(stream.held().1));
        if is_due || origin.node == self.node {
            self.tell_frontier(topic, origin);
        }
    }

    /// The tree of the origin with this short name has changed.
    pub(super) fn retell_named(&mut self, topic: &Topic, name: u64) {
        let origin = self.topics.get(topic).and_then(|local| local.streams.named(name));
        if let Some(origin) = origin {
            self.retell(topic, origin);
        }
    }

    /// All trees of a topic have changed, or many streams.
    pub(super) fn retell_all(&mut self, topic: &Topic) {
        let Some(local) = self.topics.get(topic) else { return };
        let due = local.streams.iter().filter(|(origin, stream)| {
            stream.frontier.is_due(stream.held().1) || origin.node == self.node
        });
        let due: Vec<Origin> = due.map(|(origin, _)| *origin).collect();
        due.into_iter().for_each(|origin| self.tell_frontier(topic, origin));
    }

    /// Tells those who push a stream here how far it is, when there is news of that; of an own
    /// stream the publisher takes note.
    fn tell_frontier(&mut self, topic: &Topic, origin: Origin) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let LocalTopic { links, streams, trees, in_flight, .. } = local;
        let name = streams.name(&origin);
        let Some(stream) = streams.get_mut(&origin) else { return };
        let lazy = trees.lazy(name);
        // An origin has no parent, though its tree may be a copy of one that has.
        let parent = trees.parent(name).filter(|_| origin.node != self.node);
        let is_pushed = |id: LinkId| {
            let at = links.binary_search_by_key(&id, |link| link.link);
            at.is_ok_and(|at| {
                let slot = links[at].slot;
                lazy & slot_bit(slot) == 0 && parent != Some(slot)
            })
        };
        let (high, held) = (stream.high(), stream.held().1);
        // A publisher to which nobody tells anything knows nothing.
        let alone = if origin.node == self.node { 0 } else { high };
        let Some(seq) = stream.frontier.advance(self.now, (high, held), alone, is_pushed) else {
            return;
        };
        if origin.node == self.node {
            // A stream of a former life has no window.
            if origin.incarnation == self.incarnation {
                in_flight.reached(self.now, seq);
            }
            return;
        }
        let all = &self.links;
        let is_heard = |id: &LinkId| all.get(*id).is_some_and(|link| link.suspect_since.is_none());
        for link in stream.frontier.above(self.now).filter(is_heard) {
            self.stats.frontiers_sent += 1;
            let reached = Reached { topic: topic.clone(), origin: name, seq };
            self.out.control(link, Frame::Reached(reached));
        }
    }

    /// Looks after the windows of own streams: how wide they are, and whether they are stuck.
    pub(super) fn tend_windows(&mut self) {
        let now = self.now;
        let own = Origin { node: self.node, incarnation: self.incarnation };
        let flying = self.topics.local().filter(|(_, local)| local.in_flight.bytes() > 0);
        let flying: Vec<Topic> = flying.map(|(topic, _)| topic.clone()).collect();
        for topic in flying {
            let retained = self.retention_of(&topic).bytes_max;
            // Who is pushed to no more, or silent, has no say any more.
            self.tell_frontier(&topic, own);
            let Some(local) = self.topics.get_mut(&topic) else { continue };
            let others = local.streams.iter().filter(|(_, stream)| stream.flow.is_active(now));
            let width_max = window::width_max(retained, 1 + others.count());
            local.in_flight.limit(width_max);
            self.stats.windows_stuck += u64::from(local.in_flight.give_up(now));
        }
    }
}
