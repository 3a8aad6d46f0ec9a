//! Which records are taken into the tables, and what follows from each.

use core::time::Duration;

use crate::crypto::Signature;
use crate::id::NodeId;
use crate::seed::Seed;
use crate::seed::agreement::topic_of;
use crate::seed::event::Notice;
use crate::seed::listed::{Peer, Subscription, entry};
use crate::seed::memory::Key;
use crate::seed::registry::Standing;
use crate::time::Instant;
use crate::wire::record::{
    FORGOTTEN_MAX, PeerRecord, Record, SignedRecord, SubscriptionRecord, TopicRecord,
};

/// What became of a record.
#[derive(Debug)]
pub(super) enum Merged {
    /// The tables changed.
    Changed,
    /// It says nothing new.
    Known,
    /// Its owner is not listed with that life.
    Unlisted,
    /// A table, or the owner's share of it, is full.
    Full,
}

impl Seed {
    /// Ended lives and deleted topics that are remembered: a tenth of a table.
    pub(super) fn ended_max(&self) -> usize {
        (self.config.records_max / 10).max(1)
    }

    /// Takes a record of a peer, of which `standing` says what it is here.
    pub(super) fn merge_peer(
        &mut self,
        now: Instant,
        record: PeerRecord,
        signature: Signature,
        lease: Duration,
    ) -> Merged {
        let standing = self.registry.standing(&record, &signature);
        let is_new = match standing {
            Standing::Over(_) | Standing::Known => return Merged::Known,
            Standing::New { .. } => true,
            Standing::NewLife | Standing::Newer => false,
        };
        if record.left {
            self.peer_left(now, record, signature);
            return self.merged();
        }
        if is_new && self.registry.count() >= self.config.records_max {
            return self.full();
        }
        if standing == Standing::Newer {
            self.registry.update(record, signature);
            return self.merged();
        }
        if standing == Standing::NewLife {
            self.drop_peer(&record.node);
            self.lives_on(record.node);
        }
        let (peer, incarnation) = (entry(&record), record.incarnation);
        self.host_is_back(&record.node);
        self.registry.insert(record, signature, now + lease);
        if standing == (Standing::New { returned: true }) {
            self.notice(Notice::Returned { peer, incarnation });
        }
        self.merged()
    }

    fn peer_left(&mut self, now: Instant, record: PeerRecord, signature: Signature) {
        let was_listed = self.drop_peer(&record.node).is_some();
        let peer = entry(&record);
        let until = now + self.config.dead_kept;
        self.registry.end((record, signature), None, until, self.ended_max());
        if was_listed {
            self.notice(Notice::Left { peer, peers: self.registry.count() });
        }
        self.is_gone(peer.node);
    }

    /// Unlists a peer with all that depends on its life. The topics that it hosts remain.
    pub(super) fn drop_peer(&mut self, node: &NodeId) -> Option<Peer> {
        let peer = self.registry.remove(node)?;
        self.host_is_gone(self.now, *node);
        for topic in peer.topics() {
            self.index.unsubscribe(topic, node);
        }
        self.overlay.remove(node);
        self.sync.renewed.remove(node);
        self.close_case(node);
        Some(peer)
    }

    pub(super) fn expire(&mut self, node: NodeId) {
        let Some(peer) = self.drop_peer(&node) else { return };
        self.stats.leases_expired += 1;
        self.notice(Notice::Expired { peer: peer.entry(), peers: self.registry.count() });
        self.is_gone(node);
    }

    pub(super) fn merge_subscription(
        &mut self,
        record: SubscriptionRecord,
        signature: Signature,
    ) -> Merged {
        let SubscriptionRecord { node, incarnation, topic, version, subscribed } = record;
        let Some(peer) = self.registry.peer(&node) else { return Merged::Unlisted };
        match incarnation.cmp(&peer.incarnation) {
            std::cmp::Ordering::Less => return Merged::Known,
            std::cmp::Ordering::Greater => return Merged::Unlisted,
            std::cmp::Ordering::Equal => {}
        }
        let known = peer.subscriptions.get(&topic);
        let wanted = known.is_some_and(|known| known.subscribed);
        if known.is_some_and(|k| (version, signature.0) <= (k.version, k.signature.0)) {
            return Merged::Known;
        }
        if known.is_none() && !self.make_room_for_subscription(&node) {
            return self.full();
        }
        let subscription = Subscription { version, subscribed, signature };
        self.registry.set_subscription(&node, topic.clone(), subscription);
        if subscribed && !wanted {
            self.revive(&topic);
            let subscribers = self.index.subscribe(&topic, node);
            self.notice(Notice::Subscribed { node, topic, subscribers });
        } else if wanted && !subscribed {
            let subscribers = self.index.unsubscribe(&topic, &node);
            self.notice(Notice::Unsubscribed { node, topic, subscribers });
        }
        self.merged()
    }

    /// Whether one more subscription of this peer fits. Where it does not, what the peer no
    /// longer wants goes first.
    fn make_room_for_subscription(&mut self, node: &NodeId) -> bool {
        let Some(peer) = self.registry.peer(node) else { return false };
        let fits = peer.subscriptions.len() < self.config.records_per_peer_max
            && self.registry.subscriptions() < self.config.records_max;
        if fits {
            return true;
        }
        let void = peer.subscriptions.iter().find(|(_, s)| !s.subscribed);
        let Some(topic) = void.map(|(topic, _)| topic.clone()) else { return false };
        self.registry.remove_subscription(node, &topic);
        true
    }

    /// Takes a topic that the seeds have agreed on.
    pub(super) fn merge_topic(&mut self, record: TopicRecord, signature: Signature) -> Merged {
        if !self.index.outranks(&record, &signature) {
            return Merged::Known;
        }
        self.set_topic(record, signature)
    }

    fn set_topic(&mut self, record: TopicRecord, signature: Signature) -> Merged {
        let is_new = self.index.get(&record.topic).is_none_or(|entry| entry.record().is_none());
        if is_new && self.index.live() + self.index.deleted() >= self.config.records_max {
            if record.deleted || self.index.deleted() == 0 {
                return self.full();
            }
            self.forget_oldest_deleted();
        }
        let TopicRecord { topic, host, deleted, generation, .. } = record.clone();
        let old = self.index.set(record, signature);
        if let Some(old) = &old {
            self.deserted.forget(&topic, &old.host);
        }
        let former = old.as_ref().map(|old| old.host);
        let old = old.filter(|old| !old.deleted);
        self.host_has_changed(self.now, former, host);
        self.tell_watchers(&topic);
        self.topic_settled(&topic);
        if self.index.deleted() > self.ended_max() {
            self.forget_oldest_deleted();
        }
        match old {
            Some(old) if deleted => self.notice(Notice::TopicDeleted { topic, host: old.host }),
            Some(old) if (old.generation, old.host) == (generation, host) => {}
            _ if deleted => {}
            _ => self.notice(Notice::TopicCreated { topic, host }),
        }
        self.merged()
    }

    pub(super) fn forget_oldest_deleted(&mut self) {
        let Some(record) = self.index.forget_oldest_deleted() else { return };
        self.deserted.forget(&record.topic, &record.host);
        let generation = record.generation.min(FORGOTTEN_MAX);
        if generation > self.forgotten {
            self.forgotten = generation;
            self.touched.insert(Key::Membership);
        }
        // What was accepted since is a topic that is being created again. What was accepted before
        // the deletion, by a seed that had no part in that, must not outlive the mark.
        let accepted = self.acceptors.accepted(&record.topic).and_then(topic_of);
        if accepted.is_none_or(|accepted| accepted.rank() <= record.rank()) {
            self.acceptors.forget(&record.topic);
            self.touched.insert(Key::Register(record.topic));
        }
    }

    /// Whether a record of another seed would change anything; signatures of others need no
    /// check.
    pub(super) fn is_news(&self, signed: &SignedRecord) -> bool {
        let signature = &signed.signature;
        match &signed.record {
            Record::Peer(record) => !matches!(
                self.registry.standing(record, signature),
                Standing::Known | Standing::Over(_)
            ),
            Record::Subscription(record) => {
                let life = self.registry.life(&record.node, record.incarnation);
                life.is_some_and(|peer| match peer.subscriptions.get(&record.topic) {
                    Some(k) => (record.version, signature.0) > (k.version, k.signature.0),
                    None => true,
                })
            }
            Record::Topic(record) => self.index.outranks(record, signature),
            Record::SeedSet(_) => false,
            Record::DeathVote(vote) => {
                let listed = self.registry.peer(&vote.node);
                listed.is_some_and(|peer| peer.incarnation <= vote.incarnation)
            }
        }
    }

    fn merged(&mut self) -> Merged {
        self.stats.records_merged += 1;
        Merged::Changed
    }

    fn full(&mut self) -> Merged {
        self.stats.records_shed += 1;
        Merged::Full
    }
}
