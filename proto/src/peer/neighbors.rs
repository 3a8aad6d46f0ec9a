//! Neighbours: found, linked, watched, suspected, lost, replaced.

use core::time::Duration;

use super::event::{Durable, Notice};
use super::links::Phase;
use super::liveness::Verdict;
use super::topics::TopicLink;
use super::{Intent, Peer};
use crate::id::{LinkId, NodeId, Topic};
use crate::machine::Class;
use crate::time::Instant;
use crate::wire::frame::{
    Frame, INTERESTS_MAX, Interest, Mode, PeerEntry, Reason, Report, SampleRequest,
};

use super::requests::Goal;

/// A suspect link is kept this long for the neighbour to come back on it. Longer than a verdict
/// of the seeds takes, and than any pause that a laptop's scheduler causes.
const PARKED_MAX: Duration = Duration::from_secs(30);
/// The most suspects remembered: more than all links together.
const SUSPECTS_MAX: usize = 128;
/// Dials under way in all, as a multiple of those that are fresh. Guess: with four of five
/// candidates dead, the living ones are found within a second.
const STALE_DIALS_FACTOR: usize = 4;
/// Entries in a shuffle (design §3.3).
const SHUFFLE: usize = 8;
/// Known peers are written at most this often.
const PERSIST_EVERY: Duration = Duration::from_secs(5);
/// Seeds are asked for candidates again after this: without any neighbour, with too few, and
/// with all that exist.
const SAMPLE_EVERY_ALONE: Duration = Duration::from_millis(500);
const SAMPLE_EVERY_LACKING: Duration = Duration::from_secs(2);
const SAMPLE_EVERY_COMPLETE: Duration = Duration::from_secs(10);

/// A node that this peer has reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    peer: PeerEntry,
    since: Instant,
}

impl Peer {
    /// A frame came on a link. Returns whether the link is known.
    pub(super) fn hear(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.get_mut(id) else { return false };
        let answered = link.liveness.heard(self.now);
        link.silence.heard(self.now);
        let was_suspect = link.suspect_since.take().is_some();
        let Some(peer) = link.peer else { return true };
        if answered {
            self.out.notice(Notice::LivenessReply { from: peer.address });
        }
        if was_suspect {
            self.seen_alive(peer);
            self.share_topics(id);
            let neighbors = self.links.healthy().count();
            self.out.notice(Notice::NeighborUp { peer, neighbors });
        }
        true
    }

    /// Both ends accepted.
    pub(super) fn activate(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let Some(peer) = link.peer else { return };
        self.links.activate(id);
        self.stats.links_opened += 1;
        self.views.forget(&peer.node);
        self.views.note_changed();
        let neighbors = self.links.healthy().count();
        self.out.notice(Notice::NeighborUp { peer, neighbors });
        let interests: Vec<_> = self
            .topics
            .local()
            .map(|(topic, local)| Interest { topic: topic.clone(), mode: local.mode() })
            .filter(|interest| interest.mode != Mode::None)
            .collect();
        self.out.control(id, Frame::Ping(self.now.as_micros()));
        for chunk in interests.chunks(INTERESTS_MAX) {
            self.out.control(id, Frame::Interests(chunk.to_vec()));
        }
    }

    /// Tells all neighbours what this peer wants of a topic now.
    pub(super) fn announce_interest(&mut self, topic: &Topic, mode: Mode) {
        let active: Vec<_> = self.links.active().map(|(id, _)| id).collect();
        for id in active {
            let interest = Interest { topic: topic.clone(), mode };
            self.out.control(id, Frame::Interests(vec![interest]));
        }
    }

    pub(super) fn on_interests(&mut self, id: LinkId, interests: Vec<Interest>) {
        for Interest { topic, mode } in interests {
            let Some(link) = self.links.get_mut(id) else { return };
            if link.phase != Phase::Active {
                return self.violation(id, "interests out of turn");
            }
            link.told = true;
            if mode == Mode::None {
                link.interests.remove(&topic);
            } else if link.interests.len() < self.config.topics_max {
                link.interests.insert(topic.clone(), mode);
            } else {
                return self.violation(id, "too many interests");
            }
            self.share_topic(id, &topic, mode);
        }
    }

    /// Takes the link into the topic, or out of it.
    fn share_topic(&mut self, id: LinkId, topic: &Topic, mode: Mode) {
        let Some(link) = self.links.get(id) else { return };
        let wants = mode == Mode::Subscribes && link.suspect_since.is_none();
        if !wants {
            return self.part(id, topic);
        }
        let new =
            TopicLink { link: id, node: link.node, slot: link.slot, outbound: link.dial.is_some() };
        let Some(local) = self.topics.get_mut(topic) else { return };
        let first = local.links.is_empty() && local.subscribed_at.is_some();
        if local.add_link(new) {
            local.degree.has(local.links.len(), self.config.views.degree_target);
            self.send_heads(id, topic, true);
            self.send_value(id, topic);
            self.release_waiting(topic);
            if first {
                self.out.control(id, Frame::GraftAll(topic.clone()));
            }
        }
    }

    /// Takes the link out of the topic. What came over it comes over others from now on.
    fn part(&mut self, id: LinkId, topic: &Topic) {
        let Some(local) = self.topics.get_mut(topic) else { return };
        if local.slot(id).is_none() {
            return;
        }
        let promoted = local.remove_link(id);
        self.promote(topic, &promoted);
        self.retell_all(topic);
    }

    /// Takes the link into all topics that both ends want.
    fn share_topics(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        let interests: Vec<_> =
            link.interests.iter().map(|(topic, mode)| (topic.clone(), *mode)).collect();
        for (topic, mode) in interests {
            self.share_topic(id, &topic, mode);
        }
    }

    /// Takes what neighbours want into a topic that this peer has just entered.
    pub(super) fn adopt_links(&mut self, topic: &Topic) {
        let wanting: Vec<_> = self
            .links
            .healthy()
            .filter_map(|(id, link)| link.interests.get(topic).map(|mode| (id, *mode)))
            .collect();
        for (id, mode) in wanting {
            self.share_topic(id, topic, mode);
        }
    }

    /// The connection is gone.
    pub(super) fn on_link_down(&mut self, id: LinkId, cause: &str) {
        let Some(link) = self.links.get(id) else { return };
        let lost = (link.phase == Phase::Active && link.suspect_since.is_none())
            .then_some(link.peer)
            .flatten();
        self.link_ended(id, cause);
        if let Some(peer) = lost {
            // A reset connection is suspicion, but a living peer has a fresh one at once.
            let dial = self.out.dial(peer.address, self.config.liveness.interval);
            self.stats.dials += 1;
            self.links.dialing(self.now, dial, Intent::Confirm(peer, cause.to_owned()));
        }
        self.seek_neighbors();
    }

    /// Forgets a link and all that hung on it.
    pub(super) fn link_ended(&mut self, id: LinkId, cause: &str) {
        if self.rendezvous.is_session(id) {
            self.session_ended(id, cause);
        }
        let Some(link) = self.links.remove(id) else { return };
        self.announcing.forget(id);
        for topic in link.interests.keys() {
            self.part(id, topic);
        }
        if link.phase != Phase::Active {
            return;
        }
        self.stats.links_closed += 1;
        self.views.note_changed();
        let neighbors = self.links.healthy().count();
        let Some(peer) = link.peer else { return };
        self.learn(&[peer]);
        if link.suspect_since.is_none() {
            self.out.notice(Notice::NeighborDown { peer, cause: cause.to_owned(), neighbors });
        }
    }

    /// Pings silent links, and suspects those that stay silent. `lateness` is this node's own.
    pub(super) fn watch_links(&mut self, lateness: Duration) {
        let config = self.config.liveness;
        let stalled = lateness >= config.interval / 2;
        let mut silent = Vec::new();
        for (id, link) in self.links.iter_mut() {
            if !matches!(link.phase, Phase::Active | Phase::Session) {
                continue;
            }
            if stalled {
                link.liveness.excuse(lateness);
            }
            match link.liveness.poll(self.now, &config) {
                Verdict::Quiet => {}
                verdict => silent.push((id, verdict)),
            }
        }
        for (id, verdict) in silent {
            let Some(link) = self.links.get(id) else { continue };
            let parked = link.suspect_since;
            if verdict == Verdict::Suspect && parked.is_none() {
                self.park(id);
            } else if parked.is_some_and(|since| self.now.since(since) > PARKED_MAX) {
                self.drop_link(id, Reason::Suspect, "silent for too long");
            } else {
                self.ping(id);
            }
        }
    }

    fn ping(&mut self, id: LinkId) {
        self.stats.pings_sent += 1;
        self.out.control(id, Frame::Ping(self.now.as_micros()));
        if let Some(peer) = self.links.get(id).and_then(|link| link.peer) {
            self.out.notice(Notice::LivenessRequest { to: peer.address });
        }
    }

    /// A link missed its last reply: nothing goes over it until it is heard again.
    fn park(&mut self, id: LinkId) {
        let misses = self.config.liveness.misses;
        let cause = format!("missed {misses} replies");
        let Some(link) = self.links.get_mut(id) else { return };
        if link.phase == Phase::Session {
            return self.drop_link(id, Reason::Suspect, &cause);
        }
        link.suspect_since = Some(self.now);
        let Some(peer) = link.peer else { return };
        let topics: Vec<_> = link.interests.keys().cloned().collect();
        for topic in topics {
            self.part(id, &topic);
        }
        let neighbors = self.links.healthy().count();
        self.out.notice(Notice::NeighborDown { peer, cause: cause.clone(), neighbors });
        self.suspect(peer, &cause);
        self.seek_neighbors();
    }

    /// Reports a node to the seeds.
    pub(super) fn suspect(&mut self, peer: PeerEntry, cause: &str) {
        if self.suspects.len() >= SUSPECTS_MAX
            || self.suspects.get(&peer.node).is_some_and(|s| s.peer.incarnation >= peer.incarnation)
        {
            return;
        }
        self.stats.suspects += 1;
        self.suspects.insert(peer.node, Suspect { peer, since: self.now });
        self.out.notice(Notice::DeadNode { peer, cause: cause.to_owned() });
        self.report(peer, false);
    }

    fn report(&mut self, peer: PeerEntry, withdrawn: bool) {
        let PeerEntry { node, incarnation, address } = peer;
        let sessions: Vec<_> = self.rendezvous.sessions().collect();
        for id in sessions {
            self.stats.reports_sent += 1;
            let report = Report { node, incarnation, address, withdrawn };
            self.out.control(id, Frame::Report(report));
        }
    }

    /// Repeats open reports to a seed that has just joined.
    pub(super) fn repeat_reports(&mut self, id: LinkId) {
        let kept = self.config.views.shuffle_interval;
        self.suspects.retain(|_, suspect| self.now.since(suspect.since) < kept);
        let suspects: Vec<_> = self.suspects.values().map(|suspect| suspect.peer).collect();
        for PeerEntry { node, incarnation, address } in suspects {
            self.stats.reports_sent += 1;
            let report = Report { node, incarnation, address, withdrawn: false };
            self.out.control(id, Frame::Report(report));
        }
    }

    /// A node was heard: if it was reported, the report is withdrawn.
    pub(super) fn seen_alive(&mut self, peer: PeerEntry) {
        let Some(suspect) = self.suspects.remove(&peer.node) else { return };
        if suspect.peer.incarnation >= peer.incarnation {
            self.out.notice(Notice::Refuted { peer });
            self.report(suspect.peer, true);
        }
    }

    /// Dials candidates for topics that lack neighbours, and asks for more candidates.
    pub(super) fn seek_neighbors(&mut self) {
        if self.left {
            return;
        }
        let target = self.config.views.degree_target;
        let mut lacking: Vec<_> = self
            .topics
            .local()
            .filter(|(_, local)| {
                // Whoever has none may not be known to be wanting.
                let may_ask = self.now >= local.sample_at && local.links.is_empty();
                local.lacks(self.now, target) > 0 || may_ask
            })
            .map(|(topic, local)| (local.links.len(), topic.clone()))
            .collect();
        lacking.sort_unstable();
        for (_, topic) in lacking {
            let lacks = self.topics.get(&topic).map_or(0, |local| local.lacks(self.now, target));
            self.dial_candidates(&topic, lacks);
            self.ask_for_candidates(&topic);
        }
    }

    fn dial_candidates(&mut self, topic: &Topic, lacks: usize) {
        let under_way = self.links.neighbor_count() + self.links.dials();
        let dials_max = self.config.views.dials_max;
        let room = dials_max
            .saturating_sub(self.links.fresh_dials(self.now))
            .min((dials_max * STALE_DIALS_FACTOR).saturating_sub(self.links.dials()))
            .min(self.config.views.links_max.saturating_sub(under_way))
            // Most of what is under way will serve this topic too.
            .min(lacks.saturating_sub(self.links.coming(self.now)));
        let mut dialed = 0;
        let mut passive = None;
        while dialed < room {
            let named = self.topics.get_mut(topic).and_then(|local| local.candidates.pop());
            // Seeds name subscribers; without them any known peer may be one.
            let any_will_do = *topic == self.overlay || self.rendezvous.joined() == 0;
            let next = named.or_else(|| {
                let all = self.config.views.passive_max;
                let views = &self.views;
                let rng = &mut self.rng;
                any_will_do
                    .then(|| passive.get_or_insert_with(|| views.pick(all, rng)).pop())
                    .flatten()
            });
            let Some(peer) = next else { return };
            let busy = self.links.neighbor(&peer.node).is_some()
                || self.links.is_dialing(&peer.node)
                || !self.views.may_dial(self.now, &peer.node);
            if !busy {
                self.dial_neighbor(peer);
                dialed += 1;
            }
        }
    }

    fn ask_for_candidates(&mut self, topic: &Topic) {
        let target = self.config.views.degree_target;
        let Some(local) = self.topics.get_mut(topic) else { return };
        let enough = local.links.len() >= target && local.lacks(self.now, target) == 0;
        if self.now < local.sample_at || enough {
            return;
        }
        let every = match (local.links.len(), local.lacks(self.now, target)) {
            (0, _) if local.others != Some(0) => SAMPLE_EVERY_ALONE,
            (_, 0) => SAMPLE_EVERY_COMPLETE,
            _ => SAMPLE_EVERY_LACKING,
        };
        local.sample_at = self.now + every;
        if self.rendezvous.joined() == 0 || !self.requests.has_room() {
            return;
        }
        let request = self.requests.next_id();
        let deadline = self.now + self.config.request_timeout * 2;
        let frame = Frame::SampleRequest(SampleRequest { request, topic: topic.clone() });
        self.ask_one(request, (topic.clone(), Goal::Sample, frame), deadline);
    }

    /// Takes in peers that others named.
    pub(super) fn learn(&mut self, peers: &[PeerEntry]) {
        let links = &self.links;
        let linked = |node: &NodeId| links.neighbor(node).is_some();
        self.stats.view_evictions += self.views.learn(peers, linked, &mut self.rng);
    }

    /// Exchanges known peers with a random neighbour.
    pub(super) fn shuffle(&mut self) {
        let neighbors: Vec<_> = self.links.healthy().map(|(id, _)| id).collect();
        let chosen = super::views::pick(&neighbors, 1, &mut self.rng);
        if let Some(&id) = chosen.first() {
            let peers = self.shuffled();
            self.out.send(id, Class::Control, Frame::Shuffle(peers));
        }
    }

    pub(super) fn on_shuffle(&mut self, id: LinkId, peers: &[PeerEntry]) {
        let reply = self.shuffled();
        self.out.control(id, Frame::ShuffleReply(reply));
        self.learn(peers);
    }

    fn shuffled(&mut self) -> Vec<PeerEntry> {
        let neighbors = self.links.healthy().filter_map(|(_, link)| link.peer);
        let known: Vec<_> = neighbors.chain(self.views.passive().iter().copied()).collect();
        let mut peers = super::views::pick(&known, SHUFFLE - 1, &mut self.rng);
        peers.push(self.entry());
        peers
    }

    /// Writes the known peers when they changed.
    pub(super) fn persist_views(&mut self) {
        if self.now < self.schedule.persist || !self.views.take_changed() {
            return;
        }
        self.schedule.persist = self.now + PERSIST_EVERY;
        let neighbors = self.links.healthy().filter_map(|(_, link)| link.peer);
        let known = neighbors.chain(self.views.passive().iter().copied()).collect();
        self.out.persist(Durable::KnownPeers(known));
    }
}
