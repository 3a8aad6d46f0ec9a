//! The topics: who hosts each, and who subscribes to it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::crypto::{SIGNATURE_BYTES, Signature};
use crate::filter::TopicFilter;
use crate::id::{NodeId, Topic};
use crate::seed::digest::TableHash;
use crate::seed::memory::Key;
use crate::seed::sampler::Sampler;
use crate::wire::record::{Record, SignedRecord, TopicRecord};

/// What is known of one name.
#[derive(Debug, Default)]
pub(super) struct Entry {
    record: Option<(TopicRecord, Signature)>,
    /// Live subscribers.
    pub(super) subscribers: Sampler,
    /// Its place among the deleted and dropped.
    buried: Option<u64>,
}

/// The table of topics.
#[derive(Debug, Default)]
pub(super) struct Index {
    topics: BTreeMap<Topic, Entry>,
    live: usize,
    /// Marks of deleted and dropped topics, the oldest first.
    deleted: BTreeMap<u64, Topic>,
    burials: u64,
    /// Live topics of each host.
    hosted: BTreeMap<NodeId, usize>,
    hash: TableHash,
    /// Rows that the disk does not hold as they are here.
    pub(super) touched: BTreeSet<Key>,
}

impl Entry {
    /// The topic's record, deleted or not.
    pub(super) fn record(&self) -> Option<&TopicRecord> {
        self.record.as_ref().map(|(record, _)| record)
    }

    /// Whether nobody wanted it for so long that it is there no more.
    pub(super) fn is_dropped(&self) -> bool {
        self.buried.is_some() && self.record().is_some_and(|record| !record.deleted)
    }

    /// The topic's record, if it is there.
    fn listed(&self) -> Option<&TopicRecord> {
        self.record().filter(|_| self.buried.is_none())
    }

    /// The topic's record as its host signed it.
    pub(super) fn signed(&self) -> Option<SignedRecord> {
        let (record, signature) = self.record.as_ref()?;
        Some(SignedRecord { record: Record::Topic(record.clone()), signature: *signature })
    }
}

impl Index {
    pub(super) fn get(&self, topic: &Topic) -> Option<&Entry> {
        self.topics.get(topic)
    }

    /// How many topics are neither deleted nor dropped.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// How many marks of deleted and dropped topics are kept.
    pub(super) fn deleted(&self) -> usize {
        self.deleted.len()
    }

    /// How many live topics this node hosts.
    pub(super) fn hosted(&self, node: &NodeId) -> usize {
        self.hosted.get(node).copied().unwrap_or(0)
    }

    pub(super) fn hash(&self) -> &TableHash {
        &self.hash
    }

    /// Topics that are there, ordered by name.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&TopicRecord, &Sampler)> + '_ {
        let topics = self.topics.values();
        topics.filter_map(|entry| Some((entry.listed()?, &entry.subscribers)))
    }

    /// At most `count` names after `last`, ordered.
    pub(super) fn after(&self, last: Option<&Topic>, count: usize) -> Vec<Topic> {
        let from = last.map_or(Bound::Unbounded, |last| Bound::Excluded(last.clone()));
        let some = self.topics.range((from, Bound::Unbounded)).take(count);
        some.map(|(topic, _)| topic.clone()).collect()
    }

    /// The host of a topic that is there, and whether anybody subscribes to it.
    pub(super) fn listed_host(&self, topic: &Topic) -> Option<(NodeId, bool)> {
        let entry = self.topics.get(topic)?;
        Some((entry.listed()?.host, !entry.subscribers.is_empty()))
    }

    /// A topic is dropped: it is not listed, and its record goes when there are too many such.
    pub(super) fn bury(&mut self, topic: &Topic) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        if entry.listed().is_some() {
            self.live -= 1;
            self.burials += 1;
            entry.buried = Some(self.burials);
            self.deleted.insert(self.burials, topic.clone());
        }
    }

    /// A topic that was dropped is listed again. Returns whether it was.
    pub(super) fn revive(&mut self, topic: &Topic) -> bool {
        let Some(entry) = self.topics.get_mut(topic).filter(|entry| entry.is_dropped()) else {
            return false;
        };
        if let Some(place) = entry.buried.take() {
            self.deleted.remove(&place);
        }
        self.live += 1;
        true
    }

    /// All rows that are kept of this table.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let kept = self.topics.iter().filter(|(_, entry)| entry.record.is_some());
        kept.map(|(topic, _)| Key::Topic(topic.clone()))
    }

    /// Records after `topic`, those of deleted topics included, ordered by name.
    pub(super) fn signed_from(
        &self,
        from: Bound<Topic>,
    ) -> impl Iterator<Item = (&Topic, SignedRecord)> + '_ {
        let entries = self.topics.range((from, Bound::Unbounded));
        entries.filter_map(|(topic, entry)| entry.signed().map(|signed| (topic, signed)))
    }

    /// Topics that are there and that a filter selects, ordered by name, with their records.
    pub(super) fn signed_live(
        &self,
        filter: &TopicFilter,
    ) -> impl Iterator<Item = (&Topic, SignedRecord)> + '_ {
        let filter = filter.clone();
        let prefix = filter.prefix();
        let from = prefix.clone().map_or(Bound::Unbounded, Bound::Included);
        let begins = move |topic: &Topic| {
            prefix.as_ref().is_none_or(|prefix| topic.as_str().starts_with(prefix.as_str()))
        };
        let topics = self.topics.range((from, Bound::Unbounded));
        let listed = topics
            .take_while(move |(topic, _)| begins(topic))
            .filter(|(_, entry)| entry.listed().is_some());
        let selected = listed.filter(move |(topic, _)| filter.matches(topic));
        selected.filter_map(|(topic, entry)| Some((topic, entry.signed()?)))
    }

    /// Whether the record outranks what is known: the rule by which all seeds end up with the
    /// same one, whatever order they learn of them.
    pub(super) fn outranks(&self, new: &TopicRecord, signature: &Signature) -> bool {
        let known = self.topics.get(&new.topic).and_then(|entry| entry.record.as_ref());
        known.is_none_or(|(old, old_signature)| rank(new, signature) > rank(old, old_signature))
    }

    /// Keeps a record in place of the one that is known, which is returned.
    pub(super) fn set(&mut self, record: TopicRecord, signature: Signature) -> Option<TopicRecord> {
        let topic = record.topic.clone();
        let old = self.unset(&topic);
        self.touched.insert(Key::Topic(topic.clone()));
        let entry = self.topics.entry(topic.clone()).or_default();
        if record.deleted {
            self.burials += 1;
            entry.buried = Some(self.burials);
            self.deleted.insert(self.burials, topic);
        } else {
            self.live += 1;
            *self.hosted.entry(record.host).or_default() += 1;
            self.hash.add(range(&record.topic), &record);
        }
        entry.record = Some((record, signature));
        old
    }

    /// Takes the record of a topic out, and leaves its subscribers.
    fn unset(&mut self, topic: &Topic) -> Option<TopicRecord> {
        let entry = self.topics.get_mut(topic)?;
        let (record, _) = entry.record.take()?;
        self.touched.insert(Key::Topic(topic.clone()));
        match entry.buried.take() {
            Some(place) => drop(self.deleted.remove(&place)),
            None => self.live -= 1,
        }
        if !record.deleted {
            self.hash.remove(range(&record.topic), &record);
            if let Some(count) = self.hosted.get_mut(&record.host) {
                *count -= 1;
                if *count == 0 {
                    self.hosted.remove(&record.host);
                }
            }
        }
        Some(record)
    }

    /// Forgets the mark of the topic that was deleted or dropped the longest ago, and returns its
    /// record.
    pub(super) fn forget_oldest_deleted(&mut self) -> Option<TopicRecord> {
        let (_, topic) = self.deleted.first_key_value()?;
        let topic = topic.clone();
        let record = self.unset(&topic)?;
        self.tidy(&topic);
        Some(record)
    }

    /// Adds a live subscriber; returns how many there are now.
    pub(super) fn subscribe(&mut self, topic: &Topic, node: NodeId) -> usize {
        let entry = self.topics.entry(topic.clone()).or_default();
        entry.subscribers.insert(node);
        entry.subscribers.len()
    }

    /// Takes a subscriber out; returns how many there are now.
    pub(super) fn unsubscribe(&mut self, topic: &Topic, node: &NodeId) -> usize {
        let Some(entry) = self.topics.get_mut(topic) else { return 0 };
        entry.subscribers.remove(node);
        let left = entry.subscribers.len();
        self.tidy(topic);
        left
    }

    fn tidy(&mut self, topic: &Topic) {
        let empty = |entry: &Entry| entry.record.is_none() && entry.subscribers.is_empty();
        if self.topics.get(topic).is_some_and(empty) {
            self.topics.remove(topic);
        }
    }
}

type Rank = ((u64, u64, Reverse<NodeId>), [u8; SIGNATURE_BYTES]);

fn rank(record: &TopicRecord, signature: &Signature) -> Rank {
    (record.rank(), signature.0)
}

/// Where a topic's record stands in the hash of the table: names begin alike, so by their hash.
pub(super) fn range(topic: &Topic) -> u8 {
    blake3::hash(topic.as_str().as_bytes()).as_bytes()[0]
}
