//! What a peer knows of topics: the newest record of each, and when the seeds were last asked
//! about it. What concerns the peer's own topics survives a restart, so that it can go on
//! without seeds.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::Signature;
use crate::filter::TopicFilter;
use crate::id::Topic;
use crate::peer::own_topics::{OwnTopics, Unsaved};
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
    /// What may make room, the longest unasked for first. Of topics that are not the peer's own it
    /// has all; of its own it may have some, which are found out when their turn comes.
    idle: BTreeSet<(Option<Instant>, Topic)>,
    unsaved: Unsaved,
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
        self.generation(topic).max(self.forgotten) + 1
    }

    /// Which creation of the topic is known; 0 when none is.
    pub(crate) fn generation(&self, topic: &Topic) -> u64 {
        self.record(topic).map_or(0, |known| known.generation)
    }

    /// The seeds have dropped the topic.
    pub(crate) fn set_dropped(&mut self, topic: &Topic) {
        if let Some(known) = self.known.get_mut(topic) {
            known.mark = Mark::Dropped;
            self.unsaved.note(topic);
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
            self.remove(topic);
            self.unsaved.note(topic);
        }
    }

    /// Live topics that a filter selects, ordered by name.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> Vec<Topic> {
        let selected = self.known.iter().filter(|(topic, known)| {
            known.is_live() && topic.reserved_name().is_none() && filter.matches(topic)
        });
        selected.map(|(topic, _)| topic.clone()).collect()
    }

    /// Takes in a topic's record whose signature was checked; `asked_at` when the seeds said so.
    /// Where there is no room, the topic unasked for the longest that is not the peer's `own` goes.
    /// Returns whether the record is news.
    pub(crate) fn learn(
        &mut self,
        signed: &SignedRecord,
        asked_at: Option<Instant>,
        topics_max: usize,
        own: impl Fn(&Topic) -> bool,
    ) -> bool {
        let Record::Topic(record) = &signed.record else { return false };
        let (record, signature) = (record.clone(), signed.signature);
        if let Some(known) = self.known.get_mut(&record.topic) {
            let is_settled = asked_at.is_some() && known.mark == Mark::Provisional;
            if record.rank() < known.record.rank() && !is_settled {
                return false;
            }
            let news = record != known.record || known.mark == Mark::Dropped;
            let topic = record.topic.clone();
            let asked_at = asked_at.max(known.asked_at);
            let before = core::mem::replace(&mut known.asked_at, asked_at);
            *known = Known { record, signature, asked_at, mark: Mark::Plain };
            self.move_idle(&topic, before, asked_at);
            if news && own(&topic) {
                self.unsaved.note(&topic);
            }
            return news;
        }
        if self.known.len() >= topics_max && !self.make_room(&own) {
            return false;
        }
        let (topic, mark) = (record.topic.clone(), Mark::Plain);
        if own(&topic) {
            self.unsaved.note(&topic);
        } else {
            self.idle.insert((asked_at, topic.clone()));
        }
        self.known.insert(topic, Known { record, signature, asked_at, mark });
        true
    }

    /// Forgets the topic that was unasked for the longest and is not the peer's own. Returns
    /// whether there was one.
    fn make_room(&mut self, own: impl Fn(&Topic) -> bool) -> bool {
        while let Some((_, topic)) = self.idle.pop_first() {
            if !own(&topic) {
                self.known.remove(&topic);
                return true;
            }
        }
        false
    }

    fn remove(&mut self, topic: &Topic) {
        if let Some(known) = self.known.remove(topic) {
            self.idle.remove(&(known.asked_at, topic.clone()));
        }
    }

    fn move_idle(&mut self, topic: &Topic, before: Option<Instant>, now: Option<Instant>) {
        if before != now && self.idle.remove(&(before, topic.clone())) {
            self.idle.insert((now, topic.clone()));
        }
    }

    /// The seeds were asked again, and either said the same or did not answer: what is known
    /// holds until somebody says otherwise. That they know nothing of a topic is no evidence of
    /// its deletion, which leaves a record.
    pub(crate) fn asked(&mut self, now: Instant, topic: &Topic) {
        if let Some(known) = self.known.get_mut(topic) {
            let before = known.asked_at.replace(now);
            self.move_idle(topic, before, Some(now));
        }
    }

    /// The peer's part in a topic has changed: it has become its own, or is so no more.
    pub(crate) fn touch(&mut self, topic: &Topic) {
        self.unsaved.note(topic);
        if let Some(known) = self.known.get(topic) {
            self.idle.insert((known.asked_at, topic.clone()));
        }
    }

    /// What is to be kept of the live topics that are the peer's `own`, `count` at most; `None`
    /// when all is.
    pub(crate) fn take_unsaved(
        &mut self,
        own: impl Fn(&Topic) -> bool,
        count: usize,
    ) -> Option<OwnTopics> {
        if self.unsaved.is_empty() {
            return None;
        }
        let kept = |topic: &Topic, known: &Known| known.is_live() && own(topic);
        let Some(topics) = self.unsaved.take(count) else {
            let kept = self.known.iter().filter(|(topic, known)| kept(topic, known));
            return Some(OwnTopics::All(kept.map(|(_, known)| known.signed()).collect()));
        };
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        for topic in topics {
            match self.known.get(&topic).filter(|known| kept(&topic, known)) {
                Some(known) => records.push(known.signed()),
                None => gone.push(topic),
            }
        }
        Some(OwnTopics::Changed { records, gone })
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
        assert_eq!(directory.take_unsaved(kept, 1), None, "none is its own");
        directory.touch(&topic("a"));
        let all = OwnTopics::All(vec![record("a", 1, 1, 1, false)]);
        assert_eq!(directory.take_unsaved(kept, 1), Some(all));
        assert_eq!(directory.take_unsaved(kept, 1), None);
        assert!(!directory.learn(&record("e", 1, 1, 1, false), None, 3, |_| true), "no room");
        for name in ["b", "d"] {
            directory.touch(&topic(name));
        }
        assert!(directory.learn(&record("e", 1, 1, 1, false), Some(at(9)), 3, kept));
        assert!(directory.record(&topic("b")).is_none(), "it is its own no more");
    }

    #[test]
    fn what_has_changed_is_kept_one_by_one() {
        let mut directory = Directory::default();
        let own = |topic: &Topic| topic.as_str() != "c";
        let mut kept = BTreeMap::new();
        for name in ["a", "b", "c"] {
            let signed = record(name, 1, 1, 1, false);
            directory.learn(&signed, Some(Instant::ZERO), 10, own);
        }
        let mut save = |directory: &mut Directory| {
            let unsaved = directory.take_unsaved(own, 2)?;
            let count = match &unsaved {
                OwnTopics::All(records) => (records.len(), 0),
                OwnTopics::Changed { records, gone } => (records.len(), gone.len()),
            };
            unsaved.apply(&mut kept);
            Some((count, kept.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
        };
        assert_eq!(save(&mut directory), Some(((2, 0), "a b".to_owned())));
        directory.learn(&record("c", 1, 2, 1, false), Some(Instant::ZERO), 10, own);
        assert_eq!(save(&mut directory), None, "it is not its own");
        directory.learn(&record("d", 1, 1, 1, false), Some(Instant::ZERO), 10, own);
        directory.learn(&record("a", 1, 2, 1, true), Some(Instant::ZERO), 10, own);
        assert_eq!(save(&mut directory), Some(((1, 1), "b d".to_owned())));
        directory.set_dropped(&topic("b"));
        assert_eq!(save(&mut directory), Some(((0, 1), "d".to_owned())));
    }
}
