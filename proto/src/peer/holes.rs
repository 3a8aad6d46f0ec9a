//! What was missed and how it came after all, for the log and for people.

use super::Peer;
use super::announced::Wanted;
use super::event::Notice;
use crate::id::{LinkId, NodeId, Origin, Topic};
use crate::wire::batch::Batch;
use crate::wire::frame::{Cause, Range};

impl Peer {
    /// A batch published since the subscription is here for the first time.
    pub(super) fn note_live(
        &mut self,
        batch: &Batch,
        (by, link): (NodeId, LinkId),
        cause: Cause,
        wanted: Option<&Wanted>,
    ) {
        let header = batch.header();
        let (topic, origin) = (&header.topic, header.origin);
        let received_us = self.wall_us(self.now);
        let stream = self.topics.get_mut(topic).and_then(|local| local.streams.get_mut(&origin));
        if let Some(stream) = stream {
            stream.lag.sample(header.published_at_us, received_us);
            if cause == Cause::Push {
                stream.flow.pushed(self.now, link, header.last_seq());
            }
        }
        let late = cause == Cause::Push;
        let asked = wanted.is_some_and(|wanted| wanted.asked)
            || self.repair.was_pulled(topic, origin, header.first_seq);
        if late && !asked {
            return;
        }
        match late {
            true => self.stats.repairs_late += 1,
            false => self.stats.repairs += 1,
        }
        let (topic, from, to) = (topic.clone(), header.first_seq, header.last_seq());
        self.out.notice(Notice::Repaired { topic, origin, from, to, by, late });
    }

    /// A neighbour is asked for ranges of a stream.
    pub(super) fn tell_hole(
        &mut self,
        topic: &Topic,
        origin: Origin,
        ranges: &[Range],
        to: LinkId,
    ) {
        for range in ranges {
            self.tell(topic, Some(origin), (range.from, range.to), to, false);
        }
    }

    /// A neighbour is asked for a batch that it announced.
    pub(super) fn tell_graft(
        &mut self,
        topic: &Topic,
        origin: Option<Origin>,
        first_seq: u64,
        to: LinkId,
    ) {
        self.tell(topic, origin, (first_seq, first_seq), to, true);
    }

    fn tell(
        &mut self,
        topic: &Topic,
        origin: Option<Origin>,
        (from, to): (u64, u64),
        link: LinkId,
        graft: bool,
    ) {
        let Some(asked) = self.links.get(link).map(|link| link.node) else { return };
        // The protocol's own news concern nobody who reads the log.
        if topic.is_internal() || from > to {
            return;
        }
        let topic = topic.clone();
        self.out.notice(Notice::Hole { topic, origin, from, to, asked, graft });
    }
}
