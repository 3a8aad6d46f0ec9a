//! Where the hosts of topics are: a topic outlives its host's process, for a while.

use std::collections::BTreeMap;

use crate::id::{NodeId, Topic};
use crate::seed::Seed;
use crate::time::Instant;
use crate::wire::frame::Hosting;
use crate::wire::record::{Record, SignedRecord, TopicRecord};

impl Seed {
    /// A peer is not listed any more: its topics have no host.
    pub(super) fn host_is_gone(&mut self, now: Instant, host: NodeId) {
        if self.index.hosted(&host) > 0 && self.registry.peer(&host).is_none() {
            self.hosts_gone.entry(host).or_insert(now);
        }
    }

    /// A peer is listed (again).
    pub(super) fn host_is_back(&mut self, host: &NodeId) {
        self.hosts_gone.remove(host);
    }

    /// A topic's record has changed: what was remembered of its former host's absence is
    /// forgotten when that has no topic left.
    pub(super) fn host_has_changed(&mut self, now: Instant, old: Option<NodeId>, new: NodeId) {
        self.host_is_gone(now, new);
        if let Some(old) = old.filter(|old| self.index.hosted(old) == 0) {
            self.hosts_gone.remove(&old);
        }
    }

    /// Where a topic's host is.
    pub(super) fn hosting(&self, now: Instant, topic: &Topic) -> Hosting {
        let record = self.index.get(topic).and_then(|entry| entry.record());
        let Some(record) = record.filter(|record| !record.deleted) else { return Hosting::None };
        if let Some(peer) = self.registry.peer(&record.host) {
            return Hosting::Here(peer.entry());
        }
        let gone_ms = self.gone_ms(now, record);
        if gone_ms >= u64::try_from(self.config.topic_orphan_after.as_millis()).unwrap_or(u64::MAX)
        {
            Hosting::Orphaned(gone_ms)
        } else {
            Hosting::Away(gone_ms)
        }
    }

    fn gone_ms(&self, now: Instant, record: &TopicRecord) -> u64 {
        let since = self.hosts_gone.get(&record.host).copied().unwrap_or(now);
        u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether anybody may take over a topic with this record.
    pub(super) fn is_orphaned(&self, now: Instant, current: Option<&SignedRecord>) -> bool {
        let Some(Record::Topic(record)) = current.map(|signed| &signed.record) else {
            return false;
        };
        let since = self.hosts_gone.get(&record.host);
        let is_gone = since.is_some_and(|at| now.since(*at) >= self.config.topic_orphan_after);
        is_gone && self.registry.peer(&record.host).is_none()
    }
}

/// Since when hosts of topics are not listed; at most as many as there are topics.
pub(super) type HostsGone = BTreeMap<NodeId, Instant>;
