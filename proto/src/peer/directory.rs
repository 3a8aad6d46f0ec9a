//! What a peer knows of topics: the newest record of each, and when the seeds were last asked
//! about it. What concerns the peer's own topics survives a restart, so that it can go on
//! without seeds.

use std::collections::BTreeMap;

use crate::crypto::Signature;
use crate::filter::TopicFilter;
use crate::id::Topic;
use crate::time::Instant;
use crate::wire::record::{FORGOTTEN_MAX, Record, SignedRecord, TopicRecord};

/// A topic as this peer knows it.
#[derive(Debug)]
struct Known {
    record: TopicRecord,
    signature: Signature,
    /// When the seeds were last asked, whether or not they answered; `None` since the start.
    asked_at: Option<Instant>,
    mark: Mark,
}

/// What else is known of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// It holds.
    Plain,
    /// It came by gossip when no seed could be asked: what they say counts, whatever it is.
    Provisional,
    /// The seeds have dropped the topic: it is there no more.
    Dropped,
}

impl Known {
    fn is_live(&self) -> bool {
        !self.record.deleted && self.mark != Mark::Dropped
    }

    fn signed(&self) -> SignedRecord {
        SignedRecord { record: Record::Topic(self.record.clone()), signature: self.signature }
    }
}

/// The newest records of topics.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    known: BTreeMap<Topic, Known>,
    changed: bool,
    /// The highest generation of which seeds have said that they forgot a deletion.
    forgotten: u64,
}

impl Directory {
    /// The newest record of a topic, deleted or not.
    pub(crate) fn record(&self, topic: &Topic) -> Option<&TopicRecord> {
        self.known.get(topic).map(|known| &known.record)
    }

    /// The record of a topic that is not deleted, and when the seeds were last asked about it.
    pub(crate) fn live(&self, topic: &Topic) -> Option<(&TopicRecord, Option<Instant>)> {
        let known = self.known.get(topic)?;
        known.is_live().then_some((&known.record, known.asked_at))
    }

    /// A seed has forgotten deletions of topics up to this generation.
    pub(crate) fn forgotten(&mut self, generation: u64) {
        self.forgotten = self.forgotten.max(generation.min(FORGOTTEN_MAX));
    }

    /// The generation in which a topic that is not there is created: the majority of the seeds
    /// that was asked, or one that it shares a seed with, knows of no later one, nor has known.
    pub(crate) fn next_generation(&self, topic: &Topic) -> u64 {
        self.record(topic).map_or(0, |known| known.generation).max(self.forgotten) + 1
    }

    /// The seeds have dropped the topic.
    pub(crate) fn set_dropped(&mut self, topic: &Topic) {
        if let Some(known) = self.known.get_mut(topic) {
            known.mark = Mark::Dropped;
            self.changed = true;
        }
    }

    /// What is known of the topic came by gossip, and no seed could be asked.
    pub(crate) fn set_provisional(&mut self, topic: &Topic) {
        if let Some(known) = self.known.get_mut(topic) {
            known.mark = Mark::Provisional;
        }
    }

    /// Whether that is all that is known of the topic.
    pub(crate) fn is_provisional(&self, topic: &Topic) -> bool {
        self.known.get(topic).is_some_and(|known| known.mark == Mark::Provisional)
    }

    /// A majority of the seeds knows nothing of a topic that was only heard of.
    pub(crate) fn forget_provisional(&mut self, topic: &Topic) {
        if self.is_provisional(topic) {
            self.known.remove(topic);
            self.changed = true;
        }
    }

    /// Live topics that a filter selects, ordered by name.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<Topic> {
        let selected =
            self.known.iter().filter(|(topic, known)| known.is_live() && filter.matches(topic));
        selected.map(|(topic, _)| topic.clone()).collect()
    }

    /// Takes in a topic's record whose signature was checked; `asked_at` when the seeds said so.
    /// Where there is no room, the topic unasked for the longest that is not `kept` goes.
    /// Returns whether the record is news.
    pub(crate) fn learn(
        &mut self,
        signed: &SignedRecord,
        asked_at: Option<Instant>,
        topics_max: usize,
        kept: impl Fn(&Topic) -> bool,
    ) -> bool {
        let Record::Topic(record) = &signed.record else { return false };
        let (record, signature) = (record.clone(), signed.signature);
        if let Some(known) = self.known.get_mut(&record.topic) {
            let is_settled = asked_at.is_some() && known.mark == Mark::Provisional;
            if record.rank() < known.record.rank() && !is_settled {
                return false;
            }
            let news = record != known.record || known.mark == Mark::Dropped;
            let asked_at = asked_at.max(known.asked_at);
            *known = Known { record, signature, asked_at, mark: Mark::Plain };
            self.changed |= news;
            return news;
        }
        if self.known.len() >= topics_max {
            let idle = self.known.iter().filter(|(topic, _)| !kept(topic));
            let oldest = idle.min_by_key(|(_, known)| known.asked_at);
            let Some(oldest) = oldest.map(|(topic, _)| topic.clone()) else { return false };
            self.known.remove(&oldest);
        }
        let (topic, mark) = (record.topic.clone(), Mark::Plain);
        self.known.insert(topic, Known { record, signature, asked_at, mark });
        self.changed = true;
        true
    }

    /// The seeds were asked again, and either said the same or did not answer: what is known
    /// holds until somebody says otherwise. That they know nothing of a topic is no evidence of
    /// its deletion, which leaves a record.
    pub(crate) fn asked(&mut self, now: Instant, topic: &Topic) {
        if let Some(known) = self.known.get_mut(topic) {
            known.asked_at = Some(now);
        }
    }

    /// The peer's part in a topic has changed.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether anything has changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Records of live topics that are `kept`, ordered by name.
    pub(crate) fn signed(&self, kept: impl Fn(&Topic) -> bool) -> Vec<SignedRecord> {
        let live = self.known.iter().filter(|(topic, known)| known.is_live() && kept(topic));
        live.map(|(_, known)| known.signed()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signer;
    use crate::id::NodeId;
    use crate::wire::record::TopicPolicy;

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("legal")
    }

    fn record(name: &str, generation: u64, version: u64, host: u8, deleted: bool) -> SignedRecord {
        let record = TopicRecord {
            topic: topic(name),
            generation,
            version,
            host: NodeId([host; 32]),
            created_at_us: 0,
            policy: TopicPolicy::default(),
            deleted,
        };
        SignedRecord::sign(Record::Topic(record), &Signer::Checksum(NodeId([host; 32])))
    }

    fn learn(directory: &mut Directory, record: &SignedRecord) -> bool {
        directory.learn(record, Some(Instant::ZERO), 10, |_| false)
    }

    #[test]
    fn the_newest_record_counts() {
        let mut directory = Directory::default();
        assert!(learn(&mut directory, &record("t", 1, 1, 1, false)));
        assert!(!learn(&mut directory, &record("t", 1, 1, 1, false)), "no news");
        assert!(learn(&mut directory, &record("t", 1, 2, 1, true)));
        assert!(!learn(&mut directory, &record("t", 1, 1, 1, false)));
        assert!(directory.live(&topic("t")).is_none());
        assert!(learn(&mut directory, &record("t", 2, 1, 3, false)));
        assert!(learn(&mut directory, &record("t", 2, 1, 2, false)), "smaller host wins");
        let host = |directory: &Directory| directory.live(&topic("t")).map(|(r, _)| r.host);
        assert_eq!(host(&directory), Some(NodeId([2; 32])));
        assert!(learn(&mut directory, &record("t", 2, 2, 9, false)), "another host took over");
        assert_eq!(host(&directory), Some(NodeId([9; 32])));
    }

    #[test]
    fn what_was_heard_without_seeds_gives_way_to_what_they_say() {
        let mut directory = Directory::default();
        assert!(directory.learn(&record("t", 9, 1, 7, false), None, 10, |_| false));
        directory.set_provisional(&topic("t"));
        assert!(directory.live(&topic("t")).is_some() && directory.is_provisional(&topic("t")));
        assert!(learn(&mut directory, &record("t", 1, 1, 1, false)), "though its rank is lower");
        assert!(!directory.is_provisional(&topic("t")));
        directory.forget_provisional(&topic("t"));
        assert!(directory.live(&topic("t")).is_some());
    }

    #[test]
    fn a_dropped_topic_is_not_live_until_it_is_told_of_again() {
        let mut directory = Directory::default();
        learn(&mut directory, &record("t", 1, 1, 1, false));
        directory.set_dropped(&topic("t"));
        assert!(directory.live(&topic("t")).is_none());
        assert!(learn(&mut directory, &record("t", 1, 1, 1, false)), "its host is back");
        assert!(directory.live(&topic("t")).is_some());
    }

    #[test]
    fn what_is_unasked_for_the_longest_makes_room_unless_it_is_kept() {
        let mut directory = Directory::default();
        let at = Instant::from_millis;
        for (n, name) in (0..).zip(["a", "b", "c"]) {
            let signed = record(name, 1, 1, 1, false);
            assert!(directory.learn(&signed, Some(at(n)), 3, |_| false));
        }
        directory.asked(at(9), &topic("b"));
        let kept = |topic: &Topic| topic.as_str() == "a";
        assert!(directory.learn(&record("d", 1, 1, 1, false), Some(at(9)), 3, kept));
        assert!(directory.record(&topic("c")).is_none());
        assert!(directory.take_changed() && !directory.take_changed());
        assert_eq!(directory.signed(kept), [record("a", 1, 1, 1, false)]);
        assert!(!directory.learn(&record("e", 1, 1, 1, false), None, 3, |_| true), "no room");
    }
}
