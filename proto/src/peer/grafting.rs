//! Trees in motion: prunes, grafts, announcements.

use core::time::Duration;

use super::Peer;
use super::announced::{Due, Key, Wanted};
use super::flow::Pace;
use super::links::Phase;
use super::silence::STALL_MAX;
use super::trees::{self, GRAFT_MIN, NO_TREE, ORIGIN_TREE};
use crate::config::Dissemination;
use crate::id::{LinkId, Topic};
use crate::machine::Class;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{
    Announce, BatchFrame, Cause, Frame, Graft, GraftItem, NAMES_MAX, Prune, Range,
};

impl Peer {
    /// The announcements of a batch that has come.
    pub(super) fn take_wanted(&mut self, batch: &Batch) -> Option<Wanted> {
        let header = batch.header();
        let local = self.topics.get(&header.topic)?;
        self.announced.came((local.hash, local.streams.name(&header.origin), header.first_seq))
    }

    /// A batch was pushed here that had come before: this link is not needed for its tree.
    pub(super) fn on_duplicate(&mut self, id: LinkId, batch: &Batch, hop: u8, tree: u8) {
        let header = batch.header();
        // An origin pushes its own on some links whatever its tree says.
        let for_safety = hop <= 1 && tree == ORIGIN_TREE;
        if for_safety || self.config.dissemination == Dissemination::Flood {
            return;
        }
        let Some(local) = self.topics.get_mut(&header.topic) else { return };
        let Some(slot) = local.slot(id) else { return };
        let origin = local.streams.name(&header.origin);
        let Some((tree, news)) = local.trees.duplicate(origin, header.first_seq, slot, tree) else {
            return;
        };
        if news {
            self.retell_named(&header.topic, origin);
        }
        let Some(link) = self.links.get_mut(id) else { return };
        // The other end may have pushed before it heard of the last prune.
        if !news && self.now.since(link.pruned_at) < link.round_trip {
            return;
        }
        link.pruned_at = self.now;
        self.stats.prunes_sent += 1;
        let prune = Prune { topic: header.topic.clone(), origin, tree };
        self.out.control(id, Frame::Prune(prune));
    }

    pub(super) fn on_prune(&mut self, id: LinkId, prune: &Prune) {
        self.stats.prunes_received += 1;
        let Some(local) = self.topics.get_mut(&prune.topic) else { return };
        if let Some(slot) = local.slot(id) {
            local.trees.prune(prune.origin, slot, prune.tree);
            self.retell_named(&prune.topic, prune.origin);
        }
    }

    pub(super) fn on_graft(&mut self, id: LinkId, graft: &Graft) {
        let Some(local) = self.topics.get_mut(&graft.topic) else { return };
        let Some(slot) = local.slot(id) else { return };
        self.stats.grafts_received += graft.items.len() as u64;
        let mut wanted = Vec::new();
        for item in &graft.items {
            if item.tree != NO_TREE {
                local.trees.graft(item.origin, slot, item.tree);
            }
            let Some(origin) = local.streams.named(item.origin).filter(|_| item.first_seq > 0)
            else {
                continue;
            };
            let range = Range { origin, from: item.first_seq, to: item.first_seq };
            let Some(kept) = local.retention.range(&range).next() else { continue };
            let age_ms = self.now.millis_since(kept.published);
            let (tree, batch) = (item.tree, kept.batch.clone());
            wanted.push(BatchFrame { cause: Cause::Pull, hop: 1, tree, age_ms, batch });
        }
        for frame in wanted {
            if self.may_pass_on(&frame.batch) {
                self.stats.batches_repaired += 1;
                self.stats.batch_bytes_sent += frame.batch.bytes().len() as u64;
                self.out.send(id, Class::Repair, Frame::Batch(frame));
            }
        }
    }

    pub(super) fn on_graft_all(&mut self, id: LinkId, topic: &Topic) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        if let Some(slot) = local.slot(id) {
            local.trees.graft_all(slot);
        }
    }

    pub(super) fn on_announce(&mut self, id: LinkId, announce: &Announce) {
        let Some(local) = self.topics.get(&announce.topic) else { return };
        let Some(slot) = local.slot(id).filter(|_| local.subscribed_at.is_some()) else { return };
        self.stats.announces_received += announce.batches.len() as u64;
        for name in &announce.batches {
            if local.streams.has(name.origin, name.first_seq) {
                self.announcing.leave_out(id, &announce.topic, *name);
                continue;
            }
            let key = (local.hash, name.origin, name.first_seq);
            let parent = local.trees.parent(name.origin).and_then(|slot| local.by_slot(slot));
            let parent = parent.and_then(|id| self.links.get(id));
            let is_silent = parent.is_some_and(|link| link.silence.is_unusual(self.now));
            let after = if is_silent { GRAFT_MIN } else { local.trees.graft_after(name.origin) };
            let noted = self.announced.note(self.now, key, &announce.topic, (id, slot), after);
            self.stats.announces_shed += u64::from(!noted);
        }
    }

    /// Grafts announced batches that did not come in time.
    pub(super) fn graft_due(&mut self) {
        loop {
            let links = &self.links;
            let round_trip = |id: LinkId| {
                let link = links.get(id)?;
                let fit = link.phase == Phase::Active && link.suspect_since.is_none();
                fit.then_some(link.round_trip)
            };
            let (topics, now) = (&self.topics, self.now);
            let coming = |(_, origin, first_seq): Key, wanted: &Wanted, is_crowd| {
                let local = topics.get(&wanted.topic)?;
                let stream = local.streams.get(&local.streams.named(origin)?)?;
                // Who announces does not push any more.
                let pushes = |slot: &u8| wanted.slots & trees::slot_bit(*slot) == 0;
                let pace = |id| match (local.slot(id).filter(pushes), links.get(id)) {
                    (Some(_), Some(link)) if is_crowd && !link.silence.is_unusual(now) => {
                        Pace::Crowded
                    }
                    (Some(_), Some(_)) => Pace::Usual,
                    _ => Pace::Out,
                };
                let is_behind = stream.flow.brings(now, (first_seq, wanted.since), pace);
                is_behind.then(|| local.trees.graft_after(origin))
            };
            let due = self.announced.pop_due(now, round_trip, coming);
            let Some(Due { key, topic, announcer, again }) = due else { return };
            match announcer {
                Some((link, _)) if !self.has_place(key, &topic) => {
                    if self.pull_later(key, &topic, Some(link)) {
                        self.announced.came(key);
                    }
                }
                Some(from) => self.graft(key, &topic, from, again),
                None => drop(self.pull_later(key, &topic, None)),
            }
        }
    }

    fn graft(
        &mut self,
        (_, origin, first_seq): Key,
        topic: &Topic,
        (link, slot): (LinkId, u8),
        again: bool,
    ) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let parent = local.trees.parent(origin).and_then(|slot| local.by_slot(slot));
        let heard = parent.and_then(|id| self.links.get(id)).map(|link| link.liveness.heard_at());
        // A parent that announces does not push any more.
        let only_late =
            parent != Some(link) && heard.is_some_and(|heard| self.now.since(heard) < STALL_MAX);
        let tree = match again {
            false => local.trees.miss(origin, first_seq, only_late),
            true => local.trees.missed_on(origin, first_seq),
        };
        local.trees.graft_shared(slot, tree);
        let stream = local.streams.named(origin);
        self.tell_graft(topic, stream, first_seq, link);
        self.stats.grafts_sent += 1;
        let items = vec![GraftItem { origin, tree, first_seq }];
        self.out.control(link, Frame::Graft(Graft { topic: topic.clone(), items }));
    }

    /// Whether a batch would be delivered, or held back, if it came now.
    fn has_place(&self, (_, origin, first_seq): Key, topic: &Topic) -> bool {
        let streams = self.topics.get(topic).map(|local| &local.streams);
        let stream = streams.and_then(|streams| streams.get(&streams.named(origin)?));
        stream.is_none_or(|stream| stream.room() > 0 || first_seq <= stream.high() + 1)
    }

    /// No announcer supplied the batch, or it has no place yet: it is a hole like others now, of
    /// which `source` has an end. Returns whether it is remembered.
    fn pull_later(
        &mut self,
        (_, origin, first_seq): Key,
        topic: &Topic,
        source: Option<LinkId>,
    ) -> bool {
        let Some(local) = self.topics.get_mut(topic) else { return false };
        let Some(origin) = local.streams.named(origin) else { return false };
        let Some(stream) = local.streams.get_mut(&origin) else { return false };
        stream.note_high(self.now, first_seq);
        let (high, is_known) = (stream.high(), stream.known_high() >= first_seq);
        self.repair.note(self.now, (topic, origin), high, source, self.now) && is_known
    }

    /// These links take the place of a lost parent.
    pub(super) fn promote(&mut self, topic: &Topic, promoted: &[(u64, LinkId)]) {
        let mut by_link: std::collections::BTreeMap<LinkId, Vec<GraftItem>> = Default::default();
        for &(origin, link) in promoted {
            let item = GraftItem { origin, tree: ORIGIN_TREE, first_seq: 0 };
            by_link.entry(link).or_default().push(item);
        }
        for (link, items) in by_link {
            for items in items.chunks(NAMES_MAX) {
                self.stats.grafts_sent += items.len() as u64;
                let graft = Graft { topic: topic.clone(), items: items.to_vec() };
                self.out.control(link, Frame::Graft(graft));
            }
        }
    }

    /// Learns from when a batch was announced and when it came, and changes the parent if another
    /// link is faster.
    pub(super) fn shorten(
        &mut self,
        topic: &Topic,
        origin: u64,
        parent: u8,
        wanted: Option<&Wanted>,
    ) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        let stream = local.streams.named(origin).and_then(|id| local.streams.get_mut(&id));
        let Some(flow) = stream.map(|stream| &mut stream.flow) else { return };
        let announcer = wanted.filter(|_| flow.may_change(self.now));
        let announcer = announcer.map(|wanted| wanted.first);
        let lag = wanted.map_or(Duration::ZERO, |wanted| self.now.since(wanted.since));
        let Some(swap) = local.trees.learn(origin, parent, announcer, lag) else { return };
        flow.change(self.now);
        let (Some(faster), Some(slower)) = (local.by_slot(swap.graft), local.by_slot(swap.prune))
        else {
            return;
        };
        self.stats.grafts_sent += 1;
        self.stats.prunes_sent += 1;
        let topic = topic.clone();
        let items = vec![GraftItem { origin, tree: ORIGIN_TREE, first_seq: 0 }];
        self.out.control(faster, Frame::Graft(Graft { topic: topic.clone(), items }));
        self.out.control(slower, Frame::Prune(Prune { topic, origin, tree: ORIGIN_TREE }));
    }

    /// Sends the announcements whose time has come.
    pub(super) fn flush_announcements(&mut self) {
        while let Some((link, frames)) = self.announcing.take(self.now) {
            for announce in frames {
                self.stats.announces_sent += announce.batches.len() as u64;
                self.out.send(link, Class::Announce, Frame::Announce(announce));
            }
        }
    }

    /// A ping was answered; its nonce is when it was sent.
    pub(super) fn on_pong(&mut self, id: LinkId, nonce: u64) {
        let now = self.now;
        let sent = Instant::from_micros(nonce);
        if let Some(link) = self.links.get_mut(id)
            && sent <= now
        {
            link.measured(now, sent);
        }
    }
}
