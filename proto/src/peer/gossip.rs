//! Batches in and out.

use core::time::Duration;
use std::sync::Arc;

use super::Peer;
use super::announced::Wanted;
use super::event::{Event, Notice};
use super::links::Phase;
use super::proven::Finding;
use super::streams::{Ready, Reception, is_after};
use super::topics::TopicLink;
use super::trees::{self, NO_TREE, ORIGIN_TREE};
use crate::config::Dissemination;
use crate::id::LinkId;
use crate::machine::Class;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{BatchFrame, BatchName, Cause, Frame, Reason};

/// Clocks of publisher and receiver may differ by this much before a batch of an unknown stream
/// counts as a replay of an old one. Design §6.25: one hour is the longest duration believed.
const CLOCK_SKEW_MAX_US: i64 = 3_600_000_000;

impl Peer {
    pub(super) fn on_batch(&mut self, id: LinkId, frame: BatchFrame) {
        let Some(link) = self.links.get(id) else { return };
        if link.phase != Phase::Active {
            return self.violation(id, "batch out of turn");
        }
        let BatchFrame { cause, hop, tree, age_ms, batch } = frame;
        let (header, topic) = (batch.header(), batch.header().topic.clone());
        self.stats.batch_bytes_received += batch.bytes().len() as u64;
        let retention = self.retention_of(&topic);
        let void = self.topics.void_generation(&topic);
        let oldest = self.oldest_credible_us(retention.age_max);
        let Some(local) = self.topics.get(&topic).filter(|l| l.subscribed_at.is_some()) else {
            self.stats.batches_unwanted += 1;
            return;
        };
        if !topic.is_internal() && header.generation <= void {
            self.stats.batches_deleted_topic += 1;
            return;
        }
        if local.streams.is_duplicate(&batch) {
            self.stats.batches_duplicate += 1;
            if cause == Cause::Push {
                self.note_push(id, &batch);
                self.on_duplicate(id, &batch, hop, tree);
            }
            return;
        }
        let is_new = !local.streams.contains(&header.origin);
        if is_new && header.published_at_us < oldest {
            self.stats.batches_stale += 1;
            return;
        }
        if !self.is_trusted(&batch, cause, is_new) && !self.is_genuine(&batch) {
            return self.forged(id, &batch);
        }
        let Some(local) = self.topics.get_mut(&topic) else { return };
        let deliver = is_after(local.horizon, self.now, age_ms);
        let history = !is_after(local.subscribed_at.unwrap_or_default(), self.now, age_ms);
        let published = self.now.minus_millis(age_ms);
        match local.streams.receive(&batch, deliver) {
            Reception::New(ready) => {
                self.stats.batches_received += 1;
                self.stats.headers_malformed += u64::from(batch.malformed_headers());
                local.keep(self.now, &batch, published, &retention);
                self.pass_on(id, (cause, hop, tree), &batch, published, history);
                self.deliver(ready);
                self.look_for_holes(&topic, header.origin, id);
                self.note_frontier(&batch);
            }
            Reception::Duplicate => self.stats.batches_duplicate += 1,
            Reception::BeyondWindow => {
                self.stats.batches_beyond_window += 1;
                self.note_high(&topic, header.origin, header.last_seq(), id);
            }
            // The origin signed two batches for one number. Its fault, not that of the link, which
            // may have seen the other one only.
            Reception::Overlap => self.stats.batches_overlapping += 1,
        }
    }

    /// A batch has come for the first time: it is told, and goes on to others. What was published
    /// before this peer subscribed is of no interest to them, unless it is pushed.
    fn pass_on(
        &mut self,
        id: LinkId,
        (cause, hop, tree): (Cause, u8, u8),
        batch: &Arc<Batch>,
        published: Instant,
        history: bool,
    ) {
        let Some(from) = self.links.get(id).map(|link| link.node) else { return };
        if !batch.header().topic.is_internal() {
            let batch = Arc::clone(batch);
            self.out.notice(Notice::FirstReceipt { batch, from, hop });
        }
        let wanted = self.take_wanted(batch);
        if !history {
            self.note_live(batch, (from, id), cause, wanted.as_ref());
        }
        if cause == Cause::Push {
            self.note_push(id, batch);
        }
        if cause == Cause::Push || !history {
            let from = Some((id, cause, tree));
            self.forward(batch, from, hop.saturating_add(1), published, wanted);
        }
    }

    /// Whether a batch is taken on the word of the neighbour that sent it.
    fn is_trusted(&mut self, batch: &Batch, cause: Cause, stream_is_new: bool) -> bool {
        let may_be = cause == Cause::Push
            && !stream_is_new
            && !batch.header().topic.is_internal()
            && batch.retained().is_none();
        let trusted = may_be && self.trust.takes(self.now, &mut self.rng);
        self.stats.batches_trusted += u64::from(trusted);
        trusted
    }

    /// Whether the origin signed the batch.
    pub(super) fn is_genuine(&mut self, batch: &Batch) -> bool {
        let finding = self.proven.check(self.config.identity.scheme, batch);
        match finding {
            Finding::Checked => self.stats.signatures_checked += 1,
            Finding::Known => {}
            Finding::Forged => self.stats.batches_forged += 1,
        }
        finding != Finding::Forged
    }

    /// A neighbour sent a batch that its origin did not sign.
    pub(super) fn forged(&mut self, id: LinkId, batch: &Arc<Batch>) {
        let Some(link) = self.links.get(id) else { return };
        self.out.notice(Notice::Forged { batch: Arc::clone(batch), from: link.node });
        self.stats.violations += 1;
        self.trust.alarm(self.now);
        self.refuse_link(id, Reason::Forged, "forged batch");
    }

    /// Whether a batch that is kept here may be given to others: it may have been taken unchecked
    /// from a neighbour that was deceived.
    pub(super) fn may_pass_on(&mut self, batch: &Batch) -> bool {
        !self.trust.is_alarmed(self.now) || self.is_genuine(batch)
    }

    /// Batches of unknown streams published before this are replays: nobody retains them.
    fn oldest_credible_us(&self, retained: Duration) -> i64 {
        let kept = retained.as_micros();
        let kept = i64::try_from(kept).unwrap_or(i64::MAX).saturating_add(CLOCK_SKEW_MAX_US);
        self.wall_us(self.now).saturating_sub(kept)
    }

    /// Sends a batch on: pushes it on the links of its tree, announces it on the others. Returns
    /// on how many links it was pushed.
    pub(super) fn forward(
        &mut self,
        batch: &Arc<Batch>,
        from: Option<(LinkId, Cause, u8)>,
        hop: u8,
        published: Instant,
        wanted: Option<Wanted>,
    ) -> u32 {
        let header = batch.header();
        let Some(local) = self.topics.get_mut(&header.topic) else { return 0 };
        let origin = local.streams.name(&header.origin);
        let slot = from.and_then(|(link, ..)| local.slot(link));
        let wave = from.map(|(_, _, tree)| tree);
        // A link that was grafted is eager at its other end: it must be so here.
        let grafted = slot.filter(|_| wave != Some(NO_TREE)).map_or(0, trees::slot_bit);
        let have = wanted.as_ref().map_or(0, |wanted| wanted.slots) & !grafted;
        let parent = slot.filter(|_| from.is_some_and(|(_, cause, _)| cause == Cause::Push));
        let pushes_min = local.trees.own_pushes_min(origin);
        let mut route = local.trees.route(origin, parent, have, wave);
        if self.config.dissemination == Dissemination::Flood {
            route.lazy = 0;
        }
        let mut pushes_left = if from.is_none() { pushes_min } else { 0 };
        let mut pushed = 0;
        let age_ms = self.now.millis_since(published);
        let class = if from.is_some() { Class::Forward } else { Class::Own };
        // Eager links first, so that an origin pushes on lazy ones only for want of others.
        let is_lazy = |link: &TopicLink| route.lazy & trees::slot_bit(link.slot) != 0;
        let eager = local.links.iter().filter(|link| !is_lazy(link));
        for link in eager.chain(local.links.iter().filter(|link| is_lazy(link))) {
            let needless = have & trees::slot_bit(link.slot) != 0
                || link.node == header.origin.node
                || from.is_some_and(|(from, ..)| from == link.link);
            if needless {
                continue;
            }
            if !is_lazy(link) || pushes_left > 0 {
                pushes_left = pushes_left.saturating_sub(1);
                pushed += 1;
                let (mut tree, batch) = (route.tree, Arc::clone(batch));
                if is_lazy(link) {
                    // The other end takes this link for one of the tree: so it is from now on,
                    // but of the origin's own only.
                    tree = ORIGIN_TREE;
                    local.trees.graft(origin, link.slot, tree);
                }
                let frame = BatchFrame { cause: Cause::Push, hop, tree, age_ms, batch };
                self.out.send(link.link, class, Frame::Batch(frame));
                self.announcing.ride(self.now, link.link);
            } else {
                let name = BatchName { origin, first_seq: header.first_seq };
                self.announcing.note(self.now, link.link, &header.topic, name);
            }
        }
        self.stats.batches_pushed += u64::from(pushed);
        self.stats.batch_bytes_sent += u64::from(pushed) * batch.bytes().len() as u64;
        if let Some(parent) = parent {
            self.shorten(&header.topic, origin, parent, wanted.as_ref());
        }
        pushed
    }

    /// Hands batches to the application, or takes in the protocol's own news.
    pub(super) fn deliver(&mut self, ready: Ready) {
        for (batch, from_seq) in ready {
            let topic = &batch.header().topic;
            if topic.is_internal() {
                self.take_news(&batch);
                continue;
            }
            if self.topics.get(topic).is_some_and(|local| !local.wanted) {
                // It is received for the sake of others.
                continue;
            }
            self.stats.delivered += batch.header().last_seq() - from_seq + 1;
            self.out.event(Event::Deliver { batch, from_seq });
        }
    }
}
