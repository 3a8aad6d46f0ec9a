//! What peers want to be told of on their sessions: topics that they use, and filters.

use std::collections::{BTreeMap, BTreeSet};

use crate::filter::TopicFilter;
use crate::id::{LinkId, Topic};
use crate::seed::Seed;
use crate::seed::links::Phase;
use crate::time::Instant;
use crate::wire::frame::{FILTERS_MAX, Frame, RECORDS_MAX, Watch};
use crate::wire::record::SignedRecord;

/// What one session watches.
#[derive(Debug, Default)]
struct Watched {
    topics: BTreeSet<Topic>,
    filters: BTreeSet<TopicFilter>,
}

/// What all sessions watch. It ends with them; a peer says it again on its next session.
#[derive(Debug, Default)]
pub(super) struct Watches {
    sessions: BTreeMap<LinkId, Watched>,
    topics: BTreeMap<Topic, BTreeSet<LinkId>>,
    filtering: BTreeSet<LinkId>,
}

impl Watches {
    /// The session wants to hear of a topic. Beyond `max` topics the first one goes: the peer
    /// asks again when it uses it.
    fn watch(&mut self, link: LinkId, topic: &Topic, max: usize) {
        let watched = self.sessions.entry(link).or_default();
        if !watched.topics.insert(topic.clone()) {
            return;
        }
        let excess = (watched.topics.len() > max.max(1)).then(|| watched.topics.pop_first());
        self.topics.entry(topic.clone()).or_default().insert(link);
        if let Some(excess) = excess.flatten() {
            self.forget(link, &excess);
        }
    }

    fn forget(&mut self, link: LinkId, topic: &Topic) {
        if let Some(links) = self.topics.get_mut(topic) {
            links.remove(&link);
            if links.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// The session wants to hear of all topics that a filter selects. Returns whether it has
    /// room for it.
    fn watch_filter(&mut self, link: LinkId, filter: TopicFilter) -> bool {
        let watched = self.sessions.entry(link).or_default();
        if watched.filters.len() >= FILTERS_MAX && !watched.filters.contains(&filter) {
            return false;
        }
        watched.filters.insert(filter);
        self.filtering.insert(link);
        true
    }

    fn drop_filter(&mut self, link: LinkId, filter: &TopicFilter) {
        let Some(watched) = self.sessions.get_mut(&link) else { return };
        watched.filters.remove(filter);
        if watched.filters.is_empty() {
            self.filtering.remove(&link);
        }
    }

    /// The session is over.
    pub(super) fn end(&mut self, link: LinkId) {
        let Some(watched) = self.sessions.remove(&link) else { return };
        self.filtering.remove(&link);
        for topic in watched.topics {
            self.forget(link, &topic);
        }
    }

    /// Sessions that want to hear of a topic.
    fn watchers(&self, topic: &Topic) -> Vec<LinkId> {
        let selects = |link: &&LinkId| {
            let filters = self.sessions.get(link).map(|watched| &watched.filters);
            filters.is_some_and(|filters| filters.iter().any(|filter| filter.matches(topic)))
        };
        let mut links = self.topics.get(topic).cloned().unwrap_or_default();
        links.extend(self.filtering.iter().filter(selects));
        links.into_iter().collect()
    }
}

impl Seed {
    /// A peer wants to be told of topics: at once of what it does not know, and of each change.
    pub(super) fn watch(&mut self, now: Instant, link: LinkId, watch: Watch) {
        let mut news = Vec::new();
        for known in &watch.topics {
            self.watch_topic(link, &known.topic);
            let Some(entry) = self.index.get(&known.topic) else { continue };
            let newer = entry.record().is_some_and(|record| {
                (record.generation, record.version) > (known.generation, known.version)
            });
            news.extend(entry.signed().filter(|_| newer));
        }
        for filter in &watch.dropped {
            self.watches.drop_filter(link, filter);
        }
        // Filters that select the same topics are told of each once, and of no more in all than a
        // peer can use.
        let mut selected: BTreeMap<Topic, SignedRecord> = BTreeMap::new();
        for filter in watch.filters {
            let room = self.config.records_per_peer_max - selected.len();
            let matching = self.index.signed_live(&filter);
            let unknown = matching.filter(|(topic, _)| !selected.contains_key(topic)).take(room);
            let unknown: Vec<_> = unknown.map(|(topic, signed)| (topic.clone(), signed)).collect();
            selected.extend(unknown);
            if !self.watches.watch_filter(link, filter) {
                return self.violation(now, link, "more filters than a session may have");
            }
        }
        news.extend(selected.into_values());
        for chunk in news.chunks(RECORDS_MAX) {
            self.send(link, Frame::TopicNews(chunk.to_vec()));
        }
        self.send(link, Frame::Watched(watch.request));
    }

    pub(super) fn watch_topic(&mut self, link: LinkId, topic: &Topic) {
        let is_session =
            self.links.get(link).is_some_and(|link| matches!(link.phase, Phase::Session(_)));
        if is_session {
            self.watches.watch(link, topic, self.config.records_per_peer_max);
        }
    }

    /// A topic's record has changed: who watches it is told.
    pub(super) fn tell_watchers(&mut self, topic: &Topic) {
        let Some(signed) = self.index.get(topic).and_then(|entry| entry.signed()) else { return };
        for link in self.watches.watchers(topic) {
            self.send(link, Frame::TopicNews(vec![signed.clone()]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("legal")
    }

    #[test]
    fn watchers_are_found_by_topic_and_filter_until_their_session_ends() {
        let mut watches = Watches::default();
        let filter = |text: &str| TopicFilter::new(text).expect("legal");
        watches.watch(LinkId(1), &topic("a/b"), 9);
        watches.watch(LinkId(2), &topic("a/b"), 9);
        assert!(watches.watch_filter(LinkId(2), filter("a/#")));
        assert!(watches.watch_filter(LinkId(3), filter("+/b")));
        assert_eq!(watches.watchers(&topic("a/b")), [1, 2, 3].map(LinkId));
        assert_eq!(watches.watchers(&topic("a/c")), [LinkId(2)]);
        watches.end(LinkId(2));
        watches.drop_filter(LinkId(3), &filter("+/b"));
        assert_eq!(watches.watchers(&topic("a/b")), [LinkId(1)]);
        watches.end(LinkId(1));
        assert!(watches.topics.is_empty() && watches.filtering.is_empty());
    }

    #[test]
    fn a_session_watches_a_bounded_number() {
        let mut watches = Watches::default();
        for name in ["a", "b", "c"] {
            watches.watch(LinkId(1), &topic(name), 2);
        }
        assert!(watches.watchers(&topic("a")).is_empty() && watches.topics.len() == 2);
        for n in 0..FILTERS_MAX {
            let filter = TopicFilter::new(&format!("{n}/#")).expect("legal");
            assert!(watches.watch_filter(LinkId(1), filter));
        }
        assert!(!watches.watch_filter(LinkId(1), TopicFilter::new("#").expect("legal")));
        assert!(watches.watch_filter(LinkId(1), TopicFilter::new("1/#").expect("legal")), "known");
    }
}
