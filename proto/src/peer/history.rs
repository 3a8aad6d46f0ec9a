//! What was published before: an application that begins in the past gets what this peer and a
//! few neighbours retain, and after it exactly what is delivered live.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Peer;
use super::collect::{
    ANSWER_WITHIN, ASKED_MAX, Collection, LINKS_WITHIN, LOOK_EVERY, SOURCES, arrange, ranges,
};
use super::event::{Answer, CommandError, From, Passage};
use super::links::Phase;
use super::retention::Retained;
use super::value::Value;
use crate::config::RetentionConfig;
use crate::id::{LinkId, Origin, RequestId, Topic};
use crate::machine::Class;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{BatchFrame, Cause, Frame, History, HistoryDone, Mode, Range, Select};

/// The most bytes sent in answer to one question; the rest is asked for again. A batch more may
/// follow.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Ages are measured at both ends and the question travels: what is a little older is sent too,
/// and left out by the asker.
const AGE_SLACK_MS: u32 = 1_000;
/// Whoever only wants to know what a topic retains waits so long for neighbours when it is not
/// known whether there are any. Guess: a link that stands tells within a round trip.
const VALUE_WITHIN: Duration = Duration::from_millis(300);
/// A durable topic whose creator named no age is kept so long: what Kafka keeps by default.
const DURABLE_AGE: Duration = Duration::from_secs(7 * 86_400);

/// Batches, each with its age in milliseconds.
type Aged = Vec<(Arc<Batch>, u32)>;

impl Peer {
    /// How much of a topic is kept: as its creator said, within what this peer allows. Bytes are
    /// this peer's memory, so the topic can only ask for fewer.
    pub(super) fn retention_of(&self, topic: &Topic) -> RetentionConfig {
        let own = self.config.retention;
        let Some(record) = self.topics.directory.record(topic) else { return own };
        let policy = record.policy;
        let bytes =
            policy.retention_bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let default_age = if policy.durable { DURABLE_AGE } else { own.age_max };
        RetentionConfig {
            bytes_max: bytes.unwrap_or(own.bytes_max).min(own.bytes_max),
            age_max: policy.retention_age_ms.map_or(default_age, Duration::from_millis),
        }
    }

    pub(super) fn collect(
        &mut self,
        request: RequestId,
        topic: &Topic,
        from: From,
        received: Vec<(Origin, u64)>,
    ) {
        if self.topics.get(topic).is_none_or(|local| local.subscribed_at.is_none()) {
            let error = CommandError::TopicNotFound(topic.clone());
            return self.out.answer(request, Err(error));
        }
        if !self.collections.has_room() {
            let limit = super::collect::COLLECTIONS_MAX;
            let error = CommandError::Limit { what: "histories collected at once", limit };
            return self.out.answer(request, Err(error));
        }
        let received = received.into_iter().collect();
        let collection = Collection::new(topic.clone(), from, received, self.now);
        self.collections.begin(request, collection);
        self.go_on_collecting(request);
    }

    /// Goes on with collections whose time has come.
    pub(super) fn collect_due(&mut self) {
        while let Some(request) = self.collections.pop_due(self.now) {
            // A neighbour that did not answer in time is not asked again.
            if let Some(collection) = self.collections.get_mut(request) {
                collection.open = None;
            }
            self.go_on_collecting(request);
        }
    }

    /// Asks the next neighbour, waits for one, or ends the collection.
    fn go_on_collecting(&mut self, request: RequestId) {
        let now = self.now;
        let Some(collection) = self.collections.get_mut(request) else { return };
        let Some(local) = self.topics.get(&collection.topic) else {
            return self.end_collecting(request);
        };
        let links = local.links.iter().filter(|link| !collection.asked.contains(&link.node));
        let next = links.map(|link| (link.link, link.node)).next();
        let exist = local.others.unwrap_or(SOURCES).max(local.links.len());
        // Whoever subscribes to the topic knows what it retains.
        let only_value = collection.wants_only_value();
        let enough = collection.answered >= SOURCES.min(exist)
            || collection.is_full()
            || only_value && local.value.newest().is_some();
        let patience = match local.others {
            Some(_) => LINKS_WITHIN,
            None if only_value => VALUE_WITHIN,
            None => LINKS_WITHIN,
        };
        match next {
            _ if enough => self.end_collecting(request),
            Some(_) if collection.asked.len() >= ASKED_MAX => self.end_collecting(request),
            Some((link, node)) => {
                collection.asked.push(node);
                self.ask_for_history(request, link, None);
            }
            None if now.since(collection.since) >= patience => self.end_collecting(request),
            None => collection.due = now + LOOK_EVERY,
        }
    }

    fn ask_for_history(&mut self, request: RequestId, link: LinkId, after: Option<(Origin, u64)>) {
        let now = self.now;
        let question = self.requests.next_id();
        let Some(collection) = self.collections.get_mut(request) else { return };
        collection.open = Some((question, link));
        collection.due = now + ANSWER_WITHIN;
        let select = match collection.from {
            // What of a stream follows what was received may be of any age.
            _ if !collection.received.is_empty() => Select::AgeMs(u32::MAX),
            From::New => Select::Last(0),
            From::All => Select::AgeMs(u32::MAX),
            From::Last(count) => Select::Last(count),
            From::Since(age) => {
                let age_ms = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
                Select::AgeMs(age_ms.saturating_add(AGE_SLACK_MS))
            }
            From::Stream { origin: node, incarnation, seq } => {
                Select::Stream { node, incarnation, seq }
            }
        };
        // A neighbour cannot tell the last messages of all from its own without sending them.
        let have = match (select, self.topics.get(&collection.topic)) {
            (Select::Last(_), _) | (_, None) => Vec::new(),
            (_, Some(local)) => {
                let mut known: BTreeMap<(Origin, u64), &Arc<Batch>> = BTreeMap::new();
                known.extend(local.retention.by_stream().map(|(key, kept)| (key, &kept.batch)));
                known.extend(collection.found.iter().map(|(key, (batch, _))| (*key, batch)));
                ranges(known.into_values(), &collection.received)
            }
        };
        let topic = collection.topic.clone();
        let history = History { request: question, topic, select, have, after };
        self.out.control(link, Frame::History(Box::new(history)));
    }

    /// A neighbour asks for history.
    pub(super) fn on_history(&mut self, id: LinkId, history: &History) {
        if self.links.get(id).is_none_or(|link| link.phase != Phase::Active) {
            return;
        }
        let now = self.now;
        if history.after.is_none() {
            self.send_value(id, &history.topic);
        }
        let mut frames = Vec::new();
        let (mut next, mut holds) = (None, false);
        if let Some(local) = self.topics.get(&history.topic) {
            holds = local.mode() != Mode::None;
            let mut sent = 0;
            let selected = select(local.retention.by_stream(), history, now);
            for (key, kept) in selected.filter(|(key, _)| history.after.is_none_or(|a| *key > a)) {
                if sent >= ANSWER_BYTES_MAX {
                    next = frames.last().map(|frame: &BatchFrame| {
                        (frame.batch.header().origin, frame.batch.header().first_seq)
                    });
                    break;
                }
                sent += kept.batch.bytes().len();
                let (age_ms, batch) = (now.millis_since(kept.published), Arc::clone(&kept.batch));
                debug_assert_eq!(key.1, batch.header().first_seq);
                frames.push(BatchFrame { cause: Cause::History, hop: 0, tree: 0, age_ms, batch });
            }
            self.stats.batch_bytes_sent += sent as u64;
        }
        frames.retain(|frame| self.may_pass_on(&frame.batch));
        self.stats.histories_answered += 1;
        self.stats.batches_replayed += frames.len() as u64;
        for frame in frames {
            self.out.send(id, Class::Repair, Frame::Batch(frame));
        }
        let done = HistoryDone { request: history.request, next, holds };
        self.out.send(id, Class::Repair, Frame::HistoryDone(done));
    }

    /// A batch of the history that was asked for. Its signature is not checked yet.
    pub(super) fn on_history_batch(&mut self, id: LinkId, frame: &BatchFrame) {
        let batch = &frame.batch;
        let topic = &batch.header().topic;
        let published = self.now.minus_millis(frame.age_ms);
        self.stats.batch_bytes_received += batch.bytes().len() as u64;
        let void = self.topics.void_generation(topic);
        if self.collections.asking(topic, id).next().is_none() {
            self.stats.batches_unwanted += 1;
            return;
        }
        if batch.header().generation <= void {
            self.stats.batches_deleted_topic += 1;
            return;
        }
        if !self.is_genuine(batch) {
            return self.forged(id, batch);
        }
        let due = self.now + ANSWER_WITHIN;
        let mut shed = 0;
        for collection in self.collections.asking(topic, id) {
            collection.due = due;
            shed += u64::from(!collection.offer(batch, published));
        }
        self.stats.history_shed += shed;
    }

    pub(super) fn on_history_done(&mut self, id: LinkId, done: &HistoryDone) {
        let Some(request) = self.collections.answered(done.request, id) else { return };
        let Some(collection) = self.collections.get_mut(request) else { return };
        if done.next.is_some() && !collection.is_full() {
            return self.ask_for_history(request, id, done.next);
        }
        collection.open = None;
        collection.answered += usize::from(done.holds);
        self.go_on_collecting(request);
    }

    /// Answers with everything before what is delivered from now on.
    fn end_collecting(&mut self, request: RequestId) {
        if self.value_is_on_its_way(request) {
            return;
        }
        let Some(collection) = self.collections.end(request) else { return };
        let only_value = collection.wants_only_value();
        let Collection { topic, from, received, mut found, since, .. } = collection;
        let retention = self.retention_of(&topic);
        let Some(local) = self.topics.get_mut(&topic) else {
            let error = CommandError::TopicNotFound(topic);
            return self.out.answer(request, Err(error));
        };
        if only_value {
            found.clear();
        }
        for (key, kept) in local.retention.by_stream().filter(|_| !only_value) {
            found.entry(key).or_insert_with(|| (Arc::clone(&kept.batch), kept.published));
        }
        // What a stream has still to deliver is live.
        found.retain(|_, (batch, _)| local.streams.is_settled(batch));
        let mut settled = local.settle(self.now, &found, &received, &retention);
        // What is so old was so when it was asked for.
        let mut passages = arrange(found, from, &received, since);
        settled.tell(&mut passages);
        if let Some(value) = local.value.current().filter(|v| is_missing(v, &passages, &received)) {
            passages.insert(0, Passage::Retained(Arc::clone(&value.batch)));
        }
        self.out.answer(request, Ok(Answer::History(passages)));
        self.stats.batches_received += settled.news;
        self.deliver(settled.ready);
        for origin in settled.begun {
            self.note_holes(&topic, origin, None);
        }
        self.retell_all(&topic);
    }

    /// Whether what the topic retains may be delivered live, so that it is too early to say that
    /// it is to be given beside that.
    fn value_is_on_its_way(&mut self, request: RequestId) -> bool {
        let now = self.now;
        let Some(collection) = self.collections.get_mut(request) else { return false };
        let Some(local) = self.topics.get_mut(&collection.topic) else { return false };
        let Some(header) = local.value.current().map(|value| value.batch.header()) else {
            return false;
        };
        let (origin, seq) = (header.origin, header.first_seq);
        let stream = local.streams.get_mut(&origin);
        let is_open = stream.is_some_and(|s| !s.is_open() || s.high() < seq);
        let waits = is_open && now.since(collection.since) < LINKS_WITHIN;
        if waits {
            collection.due = now + LOOK_EVERY;
        }
        waits
    }

    /// Takes in what was kept over a restart.
    pub(super) fn restore(
        &mut self,
        request: RequestId,
        topic: &Topic,
        positions: &[(Origin, u64)],
        (batches, retained): (Aged, Aged),
        missed: Duration,
    ) {
        let (now, retention) = (self.now, self.retention_of(topic));
        let Some(local) = self.topics.enter(now, topic, &self.config) else {
            let limit = self.config.topics_max;
            let error = CommandError::Limit { what: "topics", limit };
            return self.out.answer(request, Err(error));
        };
        let missed_ms = u32::try_from(missed.as_millis()).unwrap_or(u32::MAX);
        local.missed_since = Some(now.minus_millis(missed_ms));
        for (batch, age_ms) in batches {
            let (origin, last) = (batch.header().origin, batch.header().last_seq());
            let published = now.minus_millis(age_ms);
            local.retention.insert(published, &batch, published, &retention);
            local.streams.continue_after(origin, last);
            local.value.offer(&batch, published);
        }
        local.retention.trim(now, &retention);
        for (batch, age_ms) in retained {
            local.value.offer(&batch, now.minus_millis(age_ms));
        }
        for &(origin, next) in positions {
            local.streams.continue_after(origin, next.saturating_sub(1));
        }
        self.out.answer(request, Ok(Answer::Done));
    }
}

/// Whether the message that a topic retains is neither part of a history nor known already.
fn is_missing(value: &Value, passages: &[Passage], received: &BTreeMap<Origin, u64>) -> bool {
    let (origin, seq) = (value.batch.header().origin, value.batch.header().first_seq);
    let has = |passage: &Passage| match passage {
        Passage::Batch { batch, from_seq } => {
            batch.header().origin == origin
                && (*from_seq..=batch.header().last_seq()).contains(&seq)
        }
        Passage::Retained(_) | Passage::Gap { .. } | Passage::Known { .. } => false,
    };
    received.get(&origin).is_none_or(|known| *known < seq) && !passages.iter().any(has)
}

/// What of the retained batches a question selects, by stream.
fn select<'a>(
    retained: impl Iterator<Item = ((Origin, u64), &'a Retained)>,
    history: &History,
    now: Instant,
) -> impl Iterator<Item = ((Origin, u64), &'a Retained)> {
    let wanted = |(key, kept): &((Origin, u64), &Retained)| {
        let last = kept.batch.header().last_seq();
        let in_range =
            |range: &Range| range.origin == key.0 && range.from <= key.1 && last <= range.to;
        let selected = match history.select {
            Select::AgeMs(age_ms) => now.millis_since(kept.published) <= age_ms,
            Select::Last(_) => true,
            Select::Stream { node, incarnation, seq } => {
                key.0.node == node
                    && incarnation.is_none_or(|life| life == key.0.incarnation)
                    && last >= seq
            }
        };
        selected && !history.have.iter().any(in_range)
    };
    let mut selected: Vec<_> = retained.filter(wanted).collect();
    if let Select::Last(count) = history.select {
        selected.sort_by_key(|(_, kept)| core::cmp::Reverse(kept.published));
        let mut messages = 0;
        let enough = selected.iter().position(|(_, kept)| {
            let before = messages;
            messages += u64::from(kept.batch.header().count);
            before >= count
        });
        selected.truncate(enough.unwrap_or(selected.len()));
        selected.sort_by_key(|(key, _)| *key);
    }
    selected.into_iter()
}
