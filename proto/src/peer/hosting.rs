//! Topics that this peer creates, hosts and deletes, and what becomes known of topics.

use core::time::Duration;

use super::Peer;
use super::event::{Answer, CommandError, Durable, Event, TopicInfo};
use super::requests::{Findings, Goal};
use crate::id::{RequestId, Topic};
use crate::time::Instant;
use crate::wire::record::{Record, SignedRecord, TopicPolicy, TopicRecord};

/// Records of own topics are written at most this often: each time it is all of them.
const PERSIST_EVERY: Duration = Duration::from_secs(1);

impl Peer {
    pub(super) fn create(
        &mut self,
        request: RequestId,
        topic: &Topic,
        (exist_ok, policy): (bool, TopicPolicy),
        quorum: bool,
    ) {
        if let Some((record, _)) = self.topics.directory.live(topic) {
            let record = record.clone();
            if !quorum && exist_ok && self.topics.hosts(topic) {
                // Nothing is created: without seeds the host goes on as it was.
                let info = TopicInfo { record, subscribers: 0, confirmed: false };
                return self.out.answer(request, Ok(Answer::Topic(info)));
            }
            if record.host == self.node && (exist_ok || !self.topics.hosts(topic)) {
                // A record of a former life of this host, or one that was only half stored.
                let signed = SignedRecord::sign(Record::Topic(record), &self.signer);
                let goal = Goal::Created { request, record: signed.clone() };
                return self.put(topic, goal, signed);
            }
            let host = record.host;
            let error = CommandError::TopicExists { topic: topic.clone(), host };
            return self.out.answer(request, Err(error));
        }
        if !quorum {
            let error = self.no_quorum();
            return self.out.answer(request, Err(error));
        }
        if self.topics.hosted_count() >= self.config.topics_max {
            let limit = self.config.topics_max;
            let error = CommandError::Limit { what: "hosted topics", limit };
            return self.out.answer(request, Err(error));
        }
        let record = TopicRecord {
            topic: topic.clone(),
            generation: self.topics.directory.record(topic).map_or(0, |record| record.generation)
                + 1,
            version: 1,
            host: self.node,
            created_at_us: self.wall_us(self.now),
            policy,
            deleted: false,
        };
        let record = SignedRecord::sign(Record::Topic(record), &self.signer);
        self.put(topic, Goal::Created { request, record: record.clone() }, record);
    }

    pub(super) fn created(
        &mut self,
        request: RequestId,
        topic: &Topic,
        signed: SignedRecord,
        found: &Findings,
        quorum: bool,
    ) {
        if let Some(other) = found.topic_record().filter(|record| record.host != self.node) {
            let error = CommandError::TopicExists { topic: topic.clone(), host: other.host };
            return self.out.answer(request, Err(error));
        }
        if !quorum || found.refusals > 0 {
            let error = self.no_quorum();
            return self.out.answer(request, Err(error));
        }
        let Record::Topic(record) = &signed.record else { return };
        let record = record.clone();
        self.on_topic_record(&signed, Some(self.now));
        if self.rendezvous.total() == 0 {
            // Without seeds to ask, others know of a topic only what is spread.
            self.spread_news(&signed);
        }
        self.topics.host(topic, signed);
        let info = TopicInfo { record, subscribers: found.total, confirmed: true };
        self.out.answer(request, Ok(Answer::Topic(info)));
    }

    pub(super) fn delete(&mut self, request: RequestId, topic: &Topic, quorum: bool) {
        let live = self.topics.directory.live(topic).map(|(record, _)| record.clone());
        let error = match &live {
            None if quorum => Some(CommandError::TopicNotFound(topic.clone())),
            None => Some(self.no_quorum()),
            Some(record) if record.host != self.node => {
                Some(CommandError::NotHost { topic: topic.clone(), host: record.host })
            }
            Some(_) => None,
        };
        match (error, live) {
            (None, Some(record)) => {
                let version = record.version + 1;
                let record = Record::Topic(TopicRecord { version, deleted: true, ..record });
                let record = SignedRecord::sign(record, &self.signer);
                self.put(topic, Goal::Deleted { request, record: record.clone() }, record);
            }
            (error, _) => {
                let error = error.unwrap_or_else(|| CommandError::TopicNotFound(topic.clone()));
                self.out.answer(request, Err(error));
            }
        }
    }

    pub(super) fn deleted(&mut self, request: RequestId, signed: &SignedRecord, quorum: bool) {
        if !quorum {
            let error = self.no_quorum();
            return self.out.answer(request, Err(error));
        }
        self.spread_news(signed);
        self.on_topic_record(signed, Some(self.now));
        self.out.answer(request, Ok(Answer::Done));
    }

    /// Takes in what is known from a former life. Others may have changed it since: seeds are
    /// asked before it is used, and where none answers it holds.
    pub(super) fn remember_topics(&mut self) {
        let scheme = self.config.identity.scheme;
        for signed in core::mem::take(&mut self.config.known_topics) {
            let Record::Topic(record) = &signed.record else { continue };
            if record.deleted || !signed.verify(scheme) {
                continue;
            }
            self.topics.learn(&signed, None, self.config.topics_max);
            if record.host == self.node && self.topics.hosted_count() < self.config.topics_max {
                self.topics.host(&record.topic, signed.clone());
            }
        }
    }

    /// Writes what is known of this peer's own topics when that has changed.
    pub(super) fn persist_topics(&mut self) {
        if self.now < self.schedule.persist_topics {
            return;
        }
        if let Some(records) = self.topics.take_changed() {
            self.schedule.persist_topics = self.now + PERSIST_EVERY;
            self.out.persist(Durable::Topics(records));
        }
    }

    /// Takes in a topic's record that came by gossip. Where there are seeds, they say which
    /// topics there are; what is taken from others is what a topic's own host says of it.
    pub(super) fn on_topic_news(&mut self, signed: &SignedRecord) {
        let Record::Topic(record) = &signed.record else { return };
        let known = self.topics.directory.record(&record.topic);
        let from_host = known.is_some_and(|known| {
            known.host == record.host && known.generation == record.generation
        });
        let credible = from_host || self.rendezvous.total() == 0;
        if credible && signed.verify(self.config.identity.scheme) {
            self.on_topic_record(signed, None);
        }
    }

    /// Takes in a topic's record, and ends what a deletion ends. `asked_at` when seeds said so.
    pub(super) fn on_topic_record(&mut self, signed: &SignedRecord, asked_at: Option<Instant>) {
        let Record::Topic(record) = &signed.record else { return };
        let news = self.topics.learn(signed, asked_at, self.config.topics_max);
        if record.host != self.node || record.deleted {
            let lost =
                self.topics.directory.record(&record.topic).is_some_and(|known| known == record);
            if lost {
                self.topics.unhost(&record.topic);
            }
        }
        if !news || !record.deleted {
            return;
        }
        let topic = &record.topic;
        for publication in self.publisher.release(topic) {
            let error = CommandError::TopicNotFound(topic.clone());
            self.out.answer(publication.request, Err(error));
        }
        let Some(local) = self.topics.get(topic) else { return };
        if local.subscribed_at.is_some() {
            self.out.event(Event::TopicDeleted { topic: topic.clone() });
            let record = self.subscription_record(topic, false);
            self.put(topic, Goal::Unsubscribed, record);
        }
        self.drop_topic(topic);
    }
}
