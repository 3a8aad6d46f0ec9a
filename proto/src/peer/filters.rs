//! Topics that appear, vanish or change hands: what seeds push, and filters of the application.

use super::Peer;
use super::event::{Answer, CommandError, Event};
use super::requests::Goal;
use crate::filter::TopicFilter;
use crate::id::{LinkId, RequestId, Topic};
use crate::wire::frame::{FILTERS_MAX, Frame, KnownTopic, RECORDS_MAX, Watch};
use crate::wire::record::SignedRecord;

impl Peer {
    /// The application wants to hear of all topics that a filter selects.
    pub(super) fn watch_filter(&mut self, request: RequestId, filter: TopicFilter) {
        let is_known = self.filters.contains(&filter);
        if (!is_known && self.filters.len() >= FILTERS_MAX) || !self.requests.has_room() {
            let error = CommandError::Limit { what: "filters", limit: FILTERS_MAX };
            return self.out.answer(request, Err(error));
        }
        self.filters.insert(filter.clone());
        let watch = Watch {
            request: self.requests.next_id(),
            topics: Vec::new(),
            filters: vec![filter.clone()],
            dropped: Vec::new(),
        };
        let overlay = self.overlay.clone();
        self.ask(watch.request, &overlay, Goal::Watched(request, filter), Frame::Watch(watch));
    }

    /// The seeds have told of the topics that a filter selects, or there are too few seeds.
    pub(super) fn watched(&mut self, request: RequestId, filter: &TopicFilter) {
        let topics = self.topics.directory.matching(filter);
        self.out.answer(request, Ok(Answer::Matching(topics)));
    }

    /// The application wants to hear no more of them.
    pub(super) fn unwatch_filter(&mut self, request: RequestId, filter: &TopicFilter) {
        if self.filters.remove(filter) {
            let sessions: Vec<_> = self.rendezvous.sessions().collect();
            for id in sessions {
                let watch = Watch {
                    request: self.requests.next_id(),
                    topics: Vec::new(),
                    filters: Vec::new(),
                    dropped: vec![filter.clone()],
                };
                self.out.control(id, Frame::Watch(watch));
            }
        }
        self.out.answer(request, Ok(Answer::Done));
    }

    /// Tells a seed that was just joined which topics concern this peer, and what it knows of
    /// them: the seed answers with what has changed meanwhile.
    pub(super) fn watch_on(&mut self, id: LinkId) {
        let concerned = self.topics.concerned();
        let known = concerned.into_iter().map(|topic| {
            let record = self.topics.directory.record(&topic);
            let is_heard = self.topics.directory.is_provisional(&topic);
            let record = record.filter(|_| !is_heard);
            let (generation, version) = record.map_or((0, 0), |r| (r.generation, r.version));
            KnownTopic { topic, generation, version }
        });
        let known: Vec<KnownTopic> = known.collect();
        let filters: Vec<TopicFilter> = self.filters.iter().cloned().collect();
        let topics = known.chunks(RECORDS_MAX).map(|some| (some.to_vec(), Vec::new()));
        let filters = filters.chunks(RECORDS_MAX).map(|some| (Vec::new(), some.to_vec()));
        for (topics, filters) in topics.chain(filters) {
            let request = self.requests.next_id();
            let watch = Watch { request, topics, filters, dropped: Vec::new() };
            self.out.control(id, Frame::Watch(watch));
        }
    }

    /// A seed tells of topics.
    pub(super) fn on_seed_news(&mut self, id: LinkId, records: &[SignedRecord]) {
        for record in records {
            if !record.verify(self.config.identity.scheme) {
                return self.violation(id, "forged record");
            }
            self.on_topic_record(record, Some(self.now));
        }
    }

    /// A topic is there that was not known to be.
    pub(super) fn tell_match(&mut self, topic: &Topic) {
        let is_for_all = topic.reserved_name().is_none();
        if is_for_all && self.filters.iter().any(|filter| filter.matches(topic)) {
            self.out.event(Event::TopicAppeared { topic: topic.clone() });
        }
    }
}
