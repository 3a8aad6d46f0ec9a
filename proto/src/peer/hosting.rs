//! Topics that this peer creates, hosts and deletes, and what becomes known of topics.

use core::time::Duration;

use super::Peer;
use super::event::{Answer, CommandError, Durable, Event, LocalInfo, TopicInfo};
use super::requests::{Creation, Findings, Goal};
use crate::id::{RequestId, Topic};
use crate::time::Instant;
use crate::wire::frame::Hosting;
use crate::wire::record::{Record, SignedRecord, TopicPolicy, TopicRecord};

/// Records of own topics are written at most this often.
const PERSIST_EVERY: Duration = Duration::from_secs(1);
/// The rate of a topic is that of so many last seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// A topic is proposed so often, each time because somebody was faster and has deleted it since.
/// Guess: whoever loses that often had better ask again later.
pub(super) const ATTEMPTS_MAX: u32 = 8;

impl Peer {
    pub(super) fn create(
        &mut self,
        request: RequestId,
        topic: &Topic,
        creation: Creation,
        found: &Findings,
        quorum: bool,
    ) {
        let Creation { exist_ok, policy, attempts } = creation;
        let creation = Creation { attempts: attempts + 1, ..creation };
        let live = self.topics.directory.live(topic).map(|(record, _)| record.clone());
        if let Some(record) = &live {
            let is_mine = record.host == self.node;
            if !quorum && is_mine && exist_ok && self.topics.hosts(topic) {
                // Nothing is created: without seeds the host goes on as it was.
                let info = self.topic_info(record, found, false);
                return self.out.answer(request, Ok(Answer::topic(info)));
            }
            if is_mine && (exist_ok || !self.topics.hosts(topic)) {
                // A record of a former life of this host, or one that was only half stored.
                let signed = SignedRecord::sign(Record::Topic(record.clone()), &self.signer);
                let goal = Goal::Created { request, record: signed.clone(), creation };
                return self.propose(topic, goal, signed);
            }
            // What is only remembered may have been deleted since.
            if quorum && (is_mine || !matches!(found.hosting, Hosting::Orphaned(_))) {
                let host = record.host;
                let error = CommandError::TopicExists { topic: topic.clone(), host };
                return self.out.answer(request, Err(error));
            }
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
        let record = self.new_record(topic, policy);
        let goal = Goal::Created { request, record: record.clone(), creation };
        self.propose(topic, goal, record);
    }

    /// A record by which this peer becomes the topic's host: of a new generation, or, when the
    /// topic has lost its host, the next one of the same.
    fn new_record(&self, topic: &Topic, policy: TopicPolicy) -> SignedRecord {
        let known = self.topics.directory.record(topic);
        let new = TopicRecord {
            topic: topic.clone(),
            generation: self.topics.directory.next_generation(topic),
            version: 1,
            host: self.node,
            created_at_us: self.wall_us(self.now),
            policy,
            deleted: false,
        };
        let is_live = self.topics.directory.live(topic).is_some();
        let record = match known.filter(|_| is_live) {
            None => new,
            Some(orphan) => {
                // A topic goes on as it was. A name is that of somebody else from now on.
                let is_name = topic.reserved_name().is_some();
                let created_at_us = if is_name { new.created_at_us } else { orphan.created_at_us };
                let (host, version) = (self.node, orphan.version + 1);
                TopicRecord { host, version, created_at_us, ..orphan.clone() }
            }
        };
        SignedRecord::sign(Record::Topic(record), &self.signer)
    }

    /// Makes a topic that is not there, for who wants to use it. Returns what is wanted when it
    /// may not be made.
    pub(super) fn make(&mut self, topic: &Topic, goal: Goal) -> Option<Goal> {
        let room = self.topics.hosted_count() < self.config.topics_max;
        if !self.config.auto_create || !room || topic.is_internal() {
            return Some(goal);
        }
        let record = self.new_record(topic, TopicPolicy::default());
        self.propose(topic, Goal::Made(Box::new(goal), record.clone()), record);
        None
    }

    /// The topic was made, here or by somebody else at the same time: what it was made for goes
    /// on.
    pub(super) fn made(&mut self, topic: &Topic, goal: Goal, record: &SignedRecord, ended: bool) {
        if ended && self.topics.directory.live(topic).is_none() {
            self.on_topic_record(record, Some(self.now));
            self.spread_news(record);
            self.topics.host(topic, record.clone());
        }
        self.look_up(topic, goal);
    }

    pub(super) fn created(
        &mut self,
        request: RequestId,
        topic: &Topic,
        (signed, creation): (SignedRecord, Creation),
        found: &Findings,
        quorum: bool,
    ) {
        let Record::Topic(record) = &signed.record else { return };
        let record = record.clone();
        let against = found.refusals > 0 && found.full.is_none();
        let is_over = found.topic_record().is_some_and(|other| {
            other.deleted && (other.host, other.generation) == (self.node, record.generation)
        });
        if against && is_over {
            // It was created, and another application of this peer has deleted it since.
            let info = self.topic_info(&record, found, true);
            return self.out.answer(request, Ok(Answer::topic(info)));
        }
        if quorum && against && creation.attempts < ATTEMPTS_MAX {
            // Somebody was faster, perhaps an application of this peer: what is there now counts.
            return self.create(request, topic, creation, found, quorum);
        }
        if let Some(error) = self.not_kept(topic, found, quorum) {
            return self.out.answer(request, Err(error));
        }
        self.on_topic_record(&signed, Some(self.now));
        // Who cannot ask a majority of the seeds knows of topics only what is spread.
        self.spread_news(&signed);
        self.topics.host(topic, signed);
        let info = self.topic_info(&record, found, true);
        self.out.answer(request, Ok(Answer::topic(info)));
    }

    /// Why the seeds do not hold a record of this peer, if they do not.
    fn not_kept(&self, topic: &Topic, found: &Findings, quorum: bool) -> Option<CommandError> {
        if let Some(limit) = found.full {
            return Some(CommandError::Limit {
                what: "topics at the seeds",
                limit: limit as usize,
            });
        }
        match found.topic_record().filter(|_| found.refusals > 0) {
            Some(other) if other.host != self.node && !other.deleted => {
                Some(CommandError::TopicExists { topic: topic.clone(), host: other.host })
            }
            _ if !quorum || found.refusals > 0 => Some(self.no_quorum()),
            _ => None,
        }
    }

    pub(super) fn delete(&mut self, request: RequestId, topic: &Topic, quorum: bool) {
        let live = self.topics.directory.live(topic).map(|(record, _)| record.clone());
        let error = match &live {
            None if quorum => Some(CommandError::TopicNotFound(topic.clone())),
            None => Some(self.no_quorum()),
            // What is only remembered may have changed hands.
            Some(record) if record.host != self.node && !quorum => Some(self.no_quorum()),
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
                self.propose(topic, Goal::Deleted { request, record: record.clone() }, record);
            }
            (error, _) => {
                let error = error.unwrap_or_else(|| CommandError::TopicNotFound(topic.clone()));
                self.out.answer(request, Err(error));
            }
        }
    }

    pub(super) fn deleted(
        &mut self,
        request: RequestId,
        topic: &Topic,
        signed: &SignedRecord,
        found: &Findings,
        quorum: bool,
    ) {
        if !quorum {
            let error = self.no_quorum();
            return self.out.answer(request, Err(error));
        }
        let Record::Topic(own) = &signed.record else { return };
        // Somebody else's later creation can only be because the deletion took effect.
        let is_followed = found.topic_record().is_some_and(|other| {
            other.generation > own.generation && (other.host != self.node || other.deleted)
        });
        if found.refusals > 0 && !is_followed {
            // The seeds know a newer record: of this host, or of one that took the topic over.
            return self.delete(request, topic, quorum);
        }
        self.spread_news(signed);
        self.on_topic_record(signed, Some(self.now));
        self.out.answer(request, Ok(Answer::Done));
        self.end_with(topic, signed, own.generation);
    }

    /// Other applications of this peer wait for what has happened with a deletion.
    fn end_with(&mut self, topic: &Topic, deletion: &SignedRecord, generation: u64) {
        let ended = self.requests.end_all(topic, |goal| match goal {
            Goal::Deleted { record, .. } => record == deletion,
            Goal::Created { record: SignedRecord { record: Record::Topic(of), .. }, .. } => {
                of.generation == generation
            }
            _ => false,
        });
        for goal in ended {
            match goal {
                // It happens once, and these were too late.
                Goal::Deleted { request, .. } => {
                    let error = CommandError::TopicNotFound(topic.clone());
                    self.out.answer(request, Err(error));
                }
                // What was deleted had been created.
                Goal::Created { request, record, .. } => {
                    let Record::Topic(record) = &record.record else { continue };
                    let info = self.topic_info(record, &Findings::default(), true);
                    self.out.answer(request, Ok(Answer::topic(info)));
                }
                _ => {}
            }
        }
    }

    /// What is shown of a topic.
    pub(super) fn topic_info(
        &self,
        record: &TopicRecord,
        found: &Findings,
        confirmed: bool,
    ) -> TopicInfo {
        let hosting = match found.hosting {
            Hosting::None if record.host == self.node => Hosting::Here(self.entry()),
            hosting => hosting,
        };
        let local = self.topics.get(&record.topic).filter(|local| local.subscribed_at.is_some());
        let local = local.map(|local| {
            let (messages, recent) = local.retention.count(self.now, RATE_WINDOW);
            let window_ms = u64::try_from(RATE_WINDOW.as_millis()).unwrap_or(u64::MAX);
            LocalInfo {
                messages,
                bytes: local.retention.bytes() as u64,
                rate_milli: recent.saturating_mul(1_000_000) / window_ms,
            }
        });
        let record = record.clone();
        TopicInfo { record, subscribers: found.total, confirmed, hosting, local }
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
        if let Some(unsaved) = self.topics.take_unsaved() {
            self.schedule.persist_topics = self.now + PERSIST_EVERY;
            self.out.persist(Durable::Topics(unsaved));
        }
    }

    /// Takes in a topic's record that came by gossip. Where a majority of the seeds can be asked,
    /// they say which topics there are, and what is taken from others is what a topic's own host
    /// says of it. Where it cannot, a topic that is not known is taken for one until they can.
    pub(super) fn on_topic_news(&mut self, signed: &SignedRecord) {
        let Record::Topic(record) = &signed.record else { return };
        let known = self.topics.directory.record(&record.topic);
        let from_host = known.is_some_and(|known| {
            known.host == record.host && known.generation == record.generation
        });
        let is_new =
            known.is_none_or(|known| known.deleted && known.generation < record.generation);
        let is_cut_off = self.rendezvous.joined() < self.rendezvous.quorum();
        let heard_of = !from_host && self.rendezvous.total() > 0;
        let credible = !heard_of || is_cut_off && is_new && !record.deleted;
        if credible && signed.verify(self.config.identity.scheme) {
            self.on_topic_record(signed, None);
            if heard_of {
                self.topics.directory.set_provisional(&record.topic);
            }
        }
    }

    /// The seeds have dropped a topic that nobody hosts or wants.
    pub(super) fn on_dropped(&mut self, signed: &SignedRecord) {
        let Record::Topic(record) = &signed.record else { return };
        self.topics.learn(signed, Some(self.now), self.config.topics_max);
        self.topics.directory.set_dropped(&record.topic);
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
        if news && !record.deleted {
            self.tell_match(&record.topic);
        }
        if !news || !record.deleted {
            return;
        }
        let topic = &record.topic;
        for publication in self.take_back(topic) {
            let error = CommandError::TopicNotFound(topic.clone());
            self.out.answer(publication.request, Err(error));
        }
        let Some(local) = self.topics.get(topic) else { return };
        if local.subscribed_at.is_some() {
            if local.wanted {
                self.out.event(Event::TopicDeleted { topic: topic.clone() });
            }
            let record = self.subscription_record(topic, false);
            self.put(topic, Goal::Unsubscribed, record);
        }
        self.drop_topic(topic);
    }
}
