//! Slow neighbours: what becomes of frames that a link's queue had no room for.
//!
//! Batches are announced instead, and their origins' trees do without the link from then on, so
//! that the neighbour gets them from others. A link that has no room for announcements either is
//! closed in the end. Once the queue has room again, heads tell what may have been missed.

use std::sync::Arc;

use super::Peer;
use super::links::Phase;
use super::overload::Step;
use super::trees::{ORIGIN_TREE, short};
use crate::id::LinkId;
use crate::machine::Class;
use crate::wire::batch::Batch;
use crate::wire::frame::{BatchName, Reason};

/// Topics whose heads are told to a neighbour for which frames were shed.
const SHED_TOPICS_MAX: usize = 64;

impl Peer {
    /// A link's queue was full.
    pub(super) fn on_shed(
        &mut self,
        id: LinkId,
        class: Class,
        frames: u32,
        batches: &[Arc<Batch>],
    ) {
        self.stats.frames_shed += u64::from(frames);
        if class == Class::Announce {
            self.stats.overload_announces += u64::from(frames);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        match link.overload.shed(self.now, class) {
            Step::Lazy => self.announce_instead(id, batches),
            Step::Bear => {}
            Step::Close => self.close_overloaded(id),
        }
    }

    /// The link becomes lazy for the origins of these batches, and announces them.
    fn announce_instead(&mut self, id: LinkId, batches: &[Arc<Batch>]) {
        for batch in batches {
            let header = batch.header();
            let origin = short(&header.origin);
            let Some(local) = self.topics.get_mut(&header.topic) else { continue };
            let Some(slot) = local.slot(id) else { continue };
            if local.trees.prune(origin, slot, ORIGIN_TREE) {
                self.stats.overload_lazy += 1;
                self.retell_named(&header.topic, origin);
            }
            let name = BatchName { origin, first_seq: header.first_seq };
            self.announcing.note(self.now, id, &header.topic, name);
        }
    }

    fn close_overloaded(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let (node, phase) = (link.node, link.phase);
        self.stats.overload_closed += 1;
        self.drop_link(id, Reason::TooSlow, "takes not even announcements in time");
        if phase == Phase::Active {
            self.views.avoid(self.now, node);
        }
        self.seek_neighbors();
    }

    /// Lets neighbours for which frames were shed find out what they missed.
    pub(super) fn tell_what_was_shed(&mut self) {
        let mut told = Vec::new();
        for (id, link) in self.links.iter_mut() {
            if link.overload.has_recovered(self.now) {
                told.extend(link.interests.keys().take(SHED_TOPICS_MAX).map(|t| (id, t.clone())));
            }
        }
        for (id, topic) in told {
            self.send_heads(id, &topic, true);
        }
    }
}
