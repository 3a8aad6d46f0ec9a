//! Topics that this peer receives for the sake of the message that they retain: it published
//! it, or hosts the topic. So the message is there for who subscribes when nobody else is.

use std::sync::Arc;

use super::Peer;
use super::links::Phase;
use super::requests::Goal;
use crate::id::{LinkId, Topic};
use crate::machine::Class;
use crate::wire::frame::{BatchFrame, Cause, Frame, Mode};
use crate::wire::record::{Record, SignedRecord};

impl Peer {
    /// This peer has published a retained message: it keeps it while it runs, and the topic's
    /// host is told, which does so too.
    pub(super) fn hold_own(&mut self, topic: &Topic) {
        let is_held = self.topics.get(topic).is_some_and(|local| local.held);
        if is_held || self.topics.get(topic).is_none_or(|local| local.value.current().is_none()) {
            return;
        }
        self.hold(topic);
        if !self.topics.hosts(topic) {
            let record = self.subscription_record(topic, true);
            self.spread_news(&record);
        }
    }

    /// A peer retains a message of a topic, perhaps one that this peer hosts.
    pub(super) fn on_holder_news(&mut self, signed: &SignedRecord) {
        let Record::Subscription(record) = &signed.record else { return };
        let concerns = record.subscribed && self.topics.hosts(&record.topic);
        if concerns && signed.verify(self.config.identity.scheme) {
            self.hold(&record.topic);
        }
    }

    fn hold(&mut self, topic: &Topic) {
        let now = self.now;
        let Some(local) = self.topics.enter(now, topic, &self.config) else { return };
        local.held = true;
        if local.subscribed_at.is_some() {
            return;
        }
        local.subscribed_at = Some(now);
        local.horizon = now;
        self.announce_interest(topic, Mode::Subscribes);
        self.adopt_links(topic);
        self.seek_neighbors();
        let record = self.subscription_record(topic, true);
        self.put(topic, Goal::Refresh, record);
    }

    /// Where nothing is retained any more, nothing is to be held. What took it away has been
    /// passed on by now.
    pub(super) fn release_held(&mut self) {
        let mut over = Vec::new();
        for (topic, local) in self.topics.local_mut() {
            if local.held && local.value.current().is_none() && local.value.newest().is_some() {
                local.held = false;
                over.extend((!local.wanted).then(|| topic.clone()));
            }
        }
        over.iter().for_each(|topic| self.stop_receiving(topic));
    }

    /// Takes no part in a topic any more, and tells the seeds.
    pub(super) fn stop_receiving(&mut self, topic: &Topic) {
        self.drop_topic(topic);
        let record = self.subscription_record(topic, false);
        self.put(topic, Goal::Unsubscribed, record);
    }

    /// Gives a neighbour the message that a topic retains, also one that took it away.
    pub(super) fn send_value(&mut self, id: LinkId, topic: &Topic) {
        let Some(value) = self.topics.get(topic).and_then(|local| local.value.newest()) else {
            return;
        };
        let age_ms = self.now.millis_since(value.published);
        let batch = Arc::clone(&value.batch);
        self.stats.batches_replayed += 1;
        self.stats.batch_bytes_sent += batch.bytes().len() as u64;
        let frame = BatchFrame { cause: Cause::Retained, hop: 0, tree: 0, age_ms, batch };
        self.out.send(id, Class::Repair, Frame::Batch(frame));
    }

    /// A neighbour gives the message that it knows to be retained. It is no part of its stream
    /// here: neither passed on nor delivered.
    pub(super) fn on_value(&mut self, id: LinkId, frame: &BatchFrame) {
        let batch = &frame.batch;
        let topic = &batch.header().topic;
        let published = self.now.minus_millis(frame.age_ms);
        self.stats.batch_bytes_received += batch.bytes().len() as u64;
        if self.links.get(id).is_none_or(|link| link.phase != Phase::Active) {
            return self.violation(id, "batch out of turn");
        }
        let void = self.topics.void_generation(topic);
        let Some(local) = self.topics.get(topic).filter(|l| l.subscribed_at.is_some()) else {
            self.stats.batches_unwanted += 1;
            return;
        };
        if batch.header().generation <= void {
            self.stats.batches_deleted_topic += 1;
        } else if !local.value.is_news(batch, published) {
            self.stats.batches_duplicate += 1;
        } else if !self.is_genuine(batch) {
            self.forged(id, batch);
        } else if let Some(local) = self.topics.get_mut(topic) {
            local.value.offer(batch, published);
        }
    }
}
