//! Topics at a peer: those it takes part in, and what it knows of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use core::time::Duration;

use crate::config::{PeerConfig, RetentionConfig};
use crate::id::{LinkId, NodeId, Topic};
use crate::peer::degree::Degree;
use crate::peer::directory::Directory;
use crate::peer::own_topics::OwnTopics;
use crate::peer::retention::Retention;
use crate::peer::streams::Streams;
use crate::peer::trees::Trees;
use crate::peer::value::TopicValue;
use crate::peer::window::InFlight;
use crate::time::Instant;
use crate::wire::batch::Batch;
use crate::wire::frame::{Mode, PeerEntry, SAMPLE_MAX};
use crate::wire::record::SignedRecord;

/// A peer that publishes without subscribing keeps its links to the topic's subscribers for this
/// long after its last publication. Guess: a script that publishes once a minute stays linked.
pub(crate) const PUBLISHING_FOR: Duration = Duration::from_secs(60);

/// A topic in which this peer takes part.
#[derive(Debug)]
pub(crate) struct LocalTopic {
    /// A short name in greetings.
    pub(crate) hash: u64,
    /// Since when it is received.
    pub(crate) subscribed_at: Option<Instant>,
    /// Only what was published after this is delivered.
    pub(crate) horizon: Instant,
    /// What was published since then was missed by a former life, and is delivered.
    pub(crate) missed_since: Option<Instant>,
    /// The application publishes to it, at least until then.
    pub(crate) publishing_until: Option<Instant>,
    /// Neighbours that subscribe, in order of their links.
    pub(crate) links: Vec<TopicLink>,
    /// Subscribers that seeds named and that are not linked yet.
    pub(crate) candidates: Vec<PeerEntry>,
    /// How many subscribers there are beside this peer, when a seed has said so.
    pub(crate) others: Option<usize>,
    /// When seeds may be asked for candidates again.
    pub(crate) sample_at: Instant,
    /// Nobody could be reached: publications do not wait for a neighbour until then.
    pub(crate) alone_until: Instant,
    /// How many neighbours it looks for.
    pub(crate) degree: Degree,
    /// How often running a seed knew of streams that are further.
    pub(crate) behind: u8,
    /// Positions in its streams.
    pub(crate) streams: Streams,
    /// Which links carry its batches on.
    pub(crate) trees: Trees,
    /// What this peer publishes to it and is on its way.
    pub(crate) in_flight: InFlight,
    /// Recent batches.
    pub(crate) retention: Retention,
    /// The message that the topic retains.
    pub(crate) value: TopicValue,
    /// The application receives it.
    pub(crate) wanted: bool,
    /// It has subscribed more than once: what one subscription is given as history, another may
    /// have to get as news.
    pub(crate) shared: bool,
    /// It is received for the sake of the message that it retains.
    pub(crate) held: bool,
}

/// A neighbour that subscribes to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicLink {
    /// The link.
    pub(crate) link: LinkId,
    /// Who is at the other end.
    pub(crate) node: NodeId,
    /// The link's place in sets of links.
    pub(crate) slot: u8,
    /// This end dialled it.
    pub(crate) outbound: bool,
}

impl LocalTopic {
    fn new(now: Instant, topic: &Topic, config: &PeerConfig) -> Self {
        Self {
            hash: hash(topic),
            subscribed_at: None,
            horizon: Instant::ZERO,
            missed_since: None,
            publishing_until: None,
            links: Vec::new(),
            candidates: Vec::new(),
            others: None,
            sample_at: Instant::ZERO,
            alone_until: Instant::ZERO,
            degree: Degree::new(now),
            behind: 0,
            streams: Streams::new(config.streams_max),
            trees: Trees::new(config.streams_max),
            in_flight: InFlight::default(),
            retention: Retention::default(),
            value: TopicValue::default(),
            wanted: false,
            shared: false,
            held: false,
        }
    }

    /// Keeps a batch that has come: among the recent ones, and what the topic retains by it.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        batch: &Arc<Batch>,
        published: Instant,
        config: &RetentionConfig,
    ) {
        self.retention.insert(now, batch, published, config);
        self.value.offer(batch, published);
    }

    /// What this peer wants of the topic.
    pub(crate) fn mode(&self) -> Mode {
        match (self.subscribed_at, self.publishing_until) {
            (Some(_), _) => Mode::Subscribes,
            (None, Some(_)) => Mode::Publishes,
            (None, None) => Mode::None,
        }
    }

    /// How many more neighbours it dials, at most: fewer when fewer exist.
    pub(crate) fn lacks(&self, now: Instant, degree_target: usize) -> usize {
        let links = self.links.len();
        let wanted = match self.mode() {
            Mode::Subscribes => {
                let outbound = self.links.iter().filter(|link| link.outbound).count();
                self.degree.lacks(now, links, outbound, degree_target)
            }
            // An origin pushes its own on at least three links (design §4.10).
            Mode::Publishes => degree_target.min(3).saturating_sub(links),
            Mode::None => 0,
        };
        let available = self.others.map_or(wanted, |others| others.saturating_sub(links));
        wanted.min(available.max(self.candidates.len()))
    }

    /// Keeps peers that a seed named as candidates.
    pub(crate) fn offer(&mut self, peers: &[PeerEntry], own: &NodeId) {
        for peer in peers {
            let known = self.candidates.iter().any(|candidate| candidate.node == peer.node)
                || self.links.iter().any(|link| link.node == peer.node);
            if !known && peer.node != *own && self.candidates.len() < SAMPLE_MAX {
                self.candidates.push(*peer);
            }
        }
    }

    /// A link wants the topic. Returns whether that is news.
    pub(crate) fn add_link(&mut self, new: TopicLink) -> bool {
        let Err(at) = self.links.binary_search_by_key(&new.link, |link| link.link) else {
            return false;
        };
        self.links.insert(at, new);
        self.candidates.retain(|candidate| candidate.node != new.node);
        self.trees.link_up(new.slot);
        true
    }

    /// A link does not want the topic any more. Returns origins that it was the parent for, each
    /// with the link that takes its place.
    pub(crate) fn remove_link(&mut self, gone: LinkId) -> Vec<(u64, LinkId)> {
        let Ok(at) = self.links.binary_search_by_key(&gone, |link| link.link) else {
            return Vec::new();
        };
        let slot = self.links.remove(at).slot;
        self.degree.lost();
        let promoted = self.trees.link_down(slot);
        let with_link = |(origin, slot)| Some((origin, self.by_slot(slot)?));
        promoted.into_iter().filter_map(with_link).collect()
    }

    /// The link with a slot.
    pub(crate) fn by_slot(&self, slot: u8) -> Option<LinkId> {
        self.links.iter().find(|link| link.slot == slot).map(|link| link.link)
    }

    /// The slot of a link.
    pub(crate) fn slot(&self, link: LinkId) -> Option<u8> {
        let at = self.links.binary_search_by_key(&link, |link| link.link).ok()?;
        Some(self.links[at].slot)
    }
}

/// All topics that a peer knows.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    local: BTreeMap<Topic, LocalTopic>,
    /// What is known of them and of others.
    pub(crate) directory: Directory,
    hosted: BTreeMap<Topic, SignedRecord>,
    /// The last number of this peer's own streams. Survives the local topic: numbers of one life
    /// are never used twice.
    own_seq: BTreeMap<Topic, u64>,
    /// Rises with each change of a subscription.
    pub(crate) version: u64,
}

impl Topics {
    pub(crate) fn get(&self, topic: &Topic) -> Option<&LocalTopic> {
        self.local.get(topic)
    }

    pub(crate) fn get_mut(&mut self, topic: &Topic) -> Option<&mut LocalTopic> {
        self.local.get_mut(topic)
    }

    /// The local topic, made if there is room.
    pub(crate) fn enter(
        &mut self,
        now: Instant,
        topic: &Topic,
        config: &PeerConfig,
    ) -> Option<&mut LocalTopic> {
        if !self.local.contains_key(topic) && self.local.len() >= config.topics_max {
            return None;
        }
        if !self.local.contains_key(topic) {
            self.directory.touch(topic);
        }
        let make = || LocalTopic::new(now, topic, config);
        Some(self.local.entry(topic.clone()).or_insert_with(make))
    }

    /// This peer takes no part in the topic any more.
    pub(crate) fn leave(&mut self, topic: &Topic) {
        self.local.remove(topic);
        self.directory.touch(topic);
    }

    /// How many bytes of this peer's own may go out to the topic. One more batch may whatever its
    /// size, while there are any.
    pub(crate) fn room(&self, topic: &Topic) -> usize {
        self.local.get(topic).map_or(usize::MAX, |local| local.in_flight.room())
    }

    /// Topics in which this peer takes part, by name.
    pub(crate) fn local(&self) -> impl Iterator<Item = (&Topic, &LocalTopic)> {
        self.local.iter()
    }

    pub(crate) fn local_mut(&mut self) -> impl Iterator<Item = (&Topic, &mut LocalTopic)> {
        self.local.iter_mut()
    }

    /// Takes in a topic's record whose signature was checked, see [`Directory::learn`].
    pub(crate) fn learn(
        &mut self,
        signed: &SignedRecord,
        asked_at: Option<Instant>,
        topics_max: usize,
    ) -> bool {
        let Self { local, hosted, directory, .. } = self;
        let own = |topic: &Topic| local.contains_key(topic) || hosted.contains_key(topic);
        directory.learn(signed, asked_at, topics_max, own)
    }

    /// Topics in which this peer takes part or that it hosts, ordered by name.
    pub(crate) fn concerned(&self) -> Vec<Topic> {
        let local = self.local.keys().filter(|topic| !topic.is_internal());
        let topics: BTreeSet<&Topic> = local.chain(self.hosted.keys()).collect();
        topics.into_iter().cloned().collect()
    }

    /// What is to be kept of the topics in which this peer takes part or that it hosts; `None`
    /// when all is.
    pub(crate) fn take_unsaved(&mut self) -> Option<OwnTopics> {
        let Self { local, hosted, directory, .. } = self;
        let own = |topic: &Topic| local.contains_key(topic) || hosted.contains_key(topic);
        directory.take_unsaved(own, local.len() + hosted.len())
    }

    /// Batches of this generation and older ones of the topic are void.
    pub(crate) fn void_generation(&self, topic: &Topic) -> u64 {
        let is_live = self.directory.live(topic).is_some();
        let known = self.directory.record(topic);
        known.map_or(0, |record| record.generation - u64::from(is_live))
    }

    /// This peer hosts the topic.
    pub(crate) fn host(&mut self, topic: &Topic, record: SignedRecord) {
        self.hosted.insert(topic.clone(), record);
        self.directory.touch(topic);
    }

    /// This peer hosts the topic no more.
    pub(crate) fn unhost(&mut self, topic: &Topic) {
        if self.hosted.remove(topic).is_some() {
            self.directory.touch(topic);
        }
    }

    /// Whether this peer hosts the topic.
    pub(crate) fn hosts(&self, topic: &Topic) -> bool {
        self.hosted.contains_key(topic)
    }

    /// Records of the topics that this peer hosts.
    pub(crate) fn hosted(&self) -> impl Iterator<Item = &SignedRecord> {
        self.hosted.values()
    }

    /// How many topics this peer hosts.
    pub(crate) fn hosted_count(&self) -> usize {
        self.hosted.len()
    }

    /// Reserves `count` numbers of this peer's stream of a topic; returns the first.
    pub(crate) fn take_seq(&mut self, topic: &Topic, count: u64) -> u64 {
        let last = self.own_seq.entry(topic.clone()).or_insert(0);
        let first = *last + 1;
        *last += count;
        first
    }

    /// Numbers from this on were used by nobody, and are free again.
    pub(crate) fn give_back(&mut self, topic: &Topic, first_seq: u64) {
        self.own_seq.insert(topic.clone(), first_seq - 1);
    }

    /// Whether this peer may publish to one more topic.
    pub(crate) fn may_publish(&self, topic: &Topic, streams_max: usize) -> bool {
        self.own_seq.contains_key(topic) || self.own_seq.len() < streams_max
    }

    /// A new life begins: numbers begin again.
    pub(crate) fn restart_streams(&mut self) {
        self.own_seq.clear();
        self.local.values_mut().for_each(|local| local.in_flight = InFlight::default());
    }
}

/// The short name of a topic in greetings.
pub(crate) fn hash(topic: &Topic) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(topic.as_str().as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_used_twice() {
        let topic = Topic::new("t").expect("legal");
        let mut topics = Topics::default();
        assert_eq!(topics.take_seq(&topic, 3), 1);
        topics.leave(&topic);
        assert_eq!(topics.take_seq(&topic, 2), 4);
        topics.give_back(&topic, 5);
        assert_eq!(topics.take_seq(&topic, 1), 5);
        assert!(!topics.may_publish(&Topic::new("u").expect("legal"), 1));
    }
}
