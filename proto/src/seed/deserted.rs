//! Topics that nobody hosts and nobody wants: after a day they are dropped (design §6.24).
//!
//! A dropped topic is there no more for whoever asks, and anybody may create it anew. Its record
//! is remembered as those of deleted topics are, so that its host, should it return, finds it.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::id::{NodeId, Topic};
use crate::seed::{Seed, Timer};
use crate::time::Instant;

/// So many topics are looked at together; the rest has its turn later.
const LOOKED_AT: usize = 10_000;
/// Topics are looked at this often at most …
const LOOK_MIN: Duration = Duration::from_millis(250);
/// … and this often at least: what is to happen after a day need not be exact.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Since when topics have been deserted, and which were dropped; at most as many as there are.
#[derive(Debug, Default)]
pub(super) struct Deserted {
    since: BTreeMap<Topic, Instant>,
    dropped: BTreeMap<NodeId, BTreeSet<Topic>>,
    /// The last one that was looked at.
    last: Option<Topic>,
}

impl Deserted {
    /// Takes note whether a topic has neither host nor subscriber. Returns since when it has not.
    fn note(&mut self, now: Instant, topic: &Topic, is_deserted: bool) -> Option<Instant> {
        if is_deserted {
            Some(*self.since.entry(topic.clone()).or_insert(now))
        } else {
            self.since.remove(topic);
            None
        }
    }

    /// Since when a topic has been deserted.
    pub(super) fn since(&self, topic: &Topic) -> Option<Instant> {
        self.since.get(topic).copied()
    }

    /// The topic has changed hands, or is not there any more.
    pub(super) fn forget(&mut self, topic: &Topic, host: &NodeId) {
        self.since.remove(topic);
        if let Some(topics) = self.dropped.get_mut(host) {
            topics.remove(topic);
            if topics.is_empty() {
                self.dropped.remove(host);
            }
        }
    }
}

impl Seed {
    /// Looks at a part of the topics, and drops those whose time is over.
    pub(super) fn look_for_deserted(&mut self, now: Instant) {
        let part = self.index.after(self.deserted.last.as_ref(), LOOKED_AT);
        self.deserted.last = part.last().filter(|_| part.len() == LOOKED_AT).cloned();
        for topic in part {
            let Some((host, is_wanted)) = self.index.listed_host(&topic) else { continue };
            let is_deserted = !is_wanted && self.registry.peer(&host).is_none();
            let Some(since) = self.deserted.note(now, &topic, is_deserted) else { continue };
            let since = since.max(self.hosts_gone.get(&host).copied().unwrap_or(since));
            if now.since(since) >= self.config.topic_drop_after {
                self.drop_deserted(&topic, host);
            }
        }
        let pause = (self.config.topic_drop_after / 16).clamp(LOOK_MIN, LOOK_MAX);
        self.timers.set(Timer::Deserted, now + pause);
    }

    fn drop_deserted(&mut self, topic: &Topic, host: NodeId) {
        self.deserted.since.remove(topic);
        self.deserted.dropped.entry(host).or_default().insert(topic.clone());
        self.index.bury(topic);
        self.stats.topics_dropped += 1;
        self.notice(crate::seed::event::Notice::TopicDropped { topic: topic.clone(), host });
        if self.index.deleted() > self.ended_max() {
            self.forget_oldest_deleted();
        }
    }

    /// A topic that was dropped has a host or a subscriber again.
    pub(super) fn revive(&mut self, topic: &Topic) {
        let host = self.index.get(topic).and_then(|entry| entry.record()).map(|of| of.host);
        if let Some(host) = host
            && self.index.revive(topic)
        {
            self.deserted.forget(topic, &host);
        }
    }

    /// A host is back: so are its topics.
    pub(super) fn revive_all(&mut self, host: &NodeId) {
        for topic in self.deserted.dropped.remove(host).unwrap_or_default() {
            self.index.revive(&topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_from_when_both_are_gone_and_begins_again() {
        let mut deserted = Deserted::default();
        let (topic, at) = (Topic::new("t").expect("legal"), Instant::from_millis);
        assert_eq!(deserted.note(at(1), &topic, false), None);
        assert_eq!(deserted.note(at(2), &topic, true), Some(at(2)));
        assert_eq!(deserted.note(at(9), &topic, true), Some(at(2)));
        assert_eq!(deserted.note(at(10), &topic, false), None);
        assert_eq!(deserted.note(at(11), &topic, true), Some(at(11)));
        assert_eq!(deserted.since(&topic), Some(at(11)));
        deserted.forget(&topic, &NodeId([1; 32]));
        assert_eq!(deserted.since(&topic), None);
    }
}
