//! Where the hosts of topics are: a topic outlives its host's process, for a while.

use std::collections::BTreeMap;

use core::time::Duration;

use crate::id::{NodeId, Topic};
use crate::seed::Seed;
use crate::seed::ownership::Abandoned;
use crate::time::Instant;
use crate::wire::frame::{Absence, Hosting};
use crate::wire::record::{Record, SignedRecord};

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
        self.revive_all(host);
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
        let Some(entry) = self.index.get(topic) else { return Hosting::None };
        let record = entry.record().filter(|record| !record.deleted);
        let Some(record) = record else { return Hosting::None };
        if entry.is_dropped() {
            return Hosting::Dropped;
        }
        if let Some(peer) = self.registry.peer(&record.host) {
            return Hosting::Here(peer.entry());
        }
        let gone_since = self.hosts_gone.get(&record.host).copied().unwrap_or(now);
        let gone = now.since(gone_since);
        let deserted_since = self.deserted.since(topic).unwrap_or(now).max(gone_since);
        let drop_in = self.config.topic_drop_after.saturating_sub(now.since(deserted_since));
        let absence = Absence {
            gone_ms: millis(gone),
            takeover_in_ms: millis(self.config.topic_orphan_after.saturating_sub(gone)),
            drop_in_ms: entry.subscribers.is_empty().then(|| millis(drop_in)),
        };
        match absence.takeover_in_ms {
            0 => Hosting::Orphaned(absence),
            _ => Hosting::Away(absence),
        }
    }

    /// Whether anybody may take over a topic with this record, or begin it anew.
    pub(super) fn abandoned(&self, now: Instant, current: Option<&SignedRecord>) -> Abandoned {
        let Some(Record::Topic(record)) = current.map(|signed| &signed.record) else {
            return Abandoned::No;
        };
        let entry = self.index.get(&record.topic);
        if entry.is_some_and(|entry| entry.is_dropped() && entry.record() == Some(record)) {
            return Abandoned::Dropped;
        }
        let since = self.hosts_gone.get(&record.host);
        let is_gone = since.is_some_and(|at| now.since(*at) >= self.config.topic_orphan_after);
        match is_gone && self.registry.peer(&record.host).is_none() {
            true => Abandoned::Orphaned,
            false => Abandoned::No,
        }
    }
}

/// For the wire.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Since when hosts of topics are not listed; at most as many as there are topics.
pub(super) type HostsGone = BTreeMap<NodeId, Instant>;
