//! A connection becomes a neighbour.
//!
//! Dialler: hello. Other end: hello, then accept or refuse. Dialler: accept. Active once accept
//! was sent and received. Between two nodes one link is kept.

use core::time::Duration;
use std::net::SocketAddr;

use super::event::Notice;
use super::links::{Link, Phase};
use super::{Intent, Peer};
use crate::id::{DialId, LinkId, NodeId};
use crate::machine::DialFailure;
use crate::wire::frame::{
    Frame, Goodbye, Hello, PROTOCOL_VERSION, PeerEntry, Purpose, Reason, Role, WANTED_MAX,
};

/// The greeting is over within this, or the link is closed (design §7.29).
const GREETING_MAX: Duration = Duration::from_secs(3);
/// Links that are not active in addition to the active ones: greetings under way.
const GREETINGS_MAX: usize = 64;
/// Links kept free for peers that have no neighbour at all for a topic.
const URGENT_RESERVE: usize = 8;
/// Alternatives named to a refused peer (design §3.4).
const ALTERNATIVES: usize = 3;

impl Peer {
    pub(super) fn on_link_up(
        &mut self,
        id: LinkId,
        node: NodeId,
        remote: SocketAddr,
        dial: Option<DialId>,
    ) {
        let intent = dial.and_then(|dial| self.links.dialed(dial));
        let limit = self.config.views.links_max + URGENT_RESERVE + GREETINGS_MAX;
        if node == self.node {
            self.out.close(id, Reason::Yourself, "this is the same node");
            if let Some(Intent::Seed(_)) = intent {
                self.seed_failed(dial, "this address is the peer's own");
            }
            return;
        }
        if self.links.len() >= limit || (dial.is_some() && intent.is_none()) {
            self.out.close(id, Reason::NotNeeded, "no room for another connection");
            return;
        }
        self.links.insert(self.now, id, node, remote, dial);
        match intent {
            None => {}
            Some(Intent::Seed(_)) => {
                if let Some(dial) = dial {
                    self.rendezvous.registering(self.now, dial, id, node);
                }
                self.send_hello(id, Purpose::Session);
            }
            Some(Intent::Neighbor(peer) | Intent::Confirm(peer, _)) => {
                if peer.node != node {
                    // Somebody else lives at that address now.
                    self.views.forget(&peer.node);
                }
                if self.links.neighbor(&node).is_some() {
                    self.drop_link(id, Reason::Duplicate, "already linked");
                } else {
                    self.send_hello(id, Purpose::Neighbor);
                }
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, dial: DialId, cause: DialFailure) {
        self.stats.dials_failed += 1;
        match self.links.dialed(dial) {
            Some(Intent::Seed(_)) => self.seed_failed(Some(dial), cause.as_str()),
            Some(Intent::Confirm(peer, how)) => {
                self.views.forget(&peer.node);
                self.suspect(peer, &format!("{how}, dial {}", cause.as_str()));
                self.seek_neighbors();
            }
            Some(Intent::Neighbor(peer)) => {
                self.views.avoid(self.now, peer.node);
                self.views.forget(&peer.node);
                self.seek_neighbors();
            }
            None => {}
        }
    }

    fn send_hello(&mut self, id: LinkId, purpose: Purpose) {
        let target = self.config.views.degree_target;
        let lacking = self
            .topics
            .local()
            .filter(|(_, local)| local.links.len() < target || local.lacks(self.now, target) > 0);
        let wanted: Vec<u64> = lacking.map(|(_, local)| local.hash).take(WANTED_MAX).collect();
        let mut local = self.topics.local();
        let urgent = local.any(|(_, local)| local.links.is_empty());
        let identity = &self.config.identity;
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: identity.cluster.clone(),
            role: Role::Peer,
            purpose,
            incarnation: self.incarnation,
            address: identity.address,
            name: identity.name.clone(),
            wanted: if purpose == Purpose::Neighbor { wanted } else { Vec::new() },
            urgent,
        };
        self.out.control(id, Frame::Hello(Box::new(hello)));
    }

    pub(super) fn on_hello(&mut self, id: LinkId, hello: Hello) {
        let Some(link) = self.links.get_mut(id) else { return };
        if link.phase != Phase::Greeting {
            return self.violation(id, "second hello");
        }
        let session = self.rendezvous.is_session(id);
        let dialed = link.dial.is_some();
        let role = if session { Role::Seed } else { Role::Peer };
        let refusal = if hello.version != PROTOCOL_VERSION {
            Some((Reason::WrongVersion, format!("this node speaks version {PROTOCOL_VERSION}")))
        } else if hello.cluster != self.config.identity.cluster {
            let own = &self.config.identity.cluster;
            Some((Reason::WrongCluster, format!("this is cluster '{own}'")))
        } else if hello.purpose != Purpose::Probe && hello.role != role {
            Some((Reason::WrongRole, "this node is a peer".to_owned()))
        } else {
            None
        };
        if let Some((reason, text)) = refusal {
            return self.refuse_link(id, reason, &text);
        }
        let peer =
            PeerEntry { node: link.node, incarnation: hello.incarnation, address: hello.address };
        link.peer = Some(peer);
        link.name.clone_from(&hello.name);
        if session {
            link.phase = Phase::Session;
            return self.register(id);
        }
        self.seen_alive(peer);
        match (dialed, hello.purpose) {
            (false, Purpose::Probe) => {
                self.send_hello(id, Purpose::Probe);
                self.drop_link(id, Reason::NotNeeded, "alive");
            }
            (false, Purpose::Neighbor) => self.decide(id, peer, &hello),
            (true, Purpose::Neighbor) => self.await_decision(id, peer),
            _ => self.refuse_link(id, Reason::WrongRole, "a peer is no seed"),
        }
    }

    /// The other end of a link that this peer dialled has greeted.
    fn await_decision(&mut self, id: LinkId, peer: PeerEntry) {
        if self.links.neighbor(&peer.node).is_some() {
            return self.drop_link(id, Reason::Duplicate, "already linked");
        }
        self.set_phase(id, Phase::Deciding);
        self.links.claim(id);
    }

    /// Another peer wants to be a neighbour.
    fn decide(&mut self, id: LinkId, peer: PeerEntry, hello: &Hello) {
        // Both dialled at once: both keep the link that the smaller id dialled.
        let crossing = self.links.is_dialing(&peer.node)
            || self
                .links
                .neighbor(&peer.node)
                .and_then(|other| self.links.get(other))
                .is_some_and(|link| link.phase == Phase::Deciding && link.dial.is_some());
        if crossing && self.node < peer.node {
            return self.drop_link(id, Reason::Duplicate, "your dial crossed this node's");
        }
        if let Some(other) = self.links.neighbor(&peer.node) {
            // The other end has no link or would not have dialled: the old one is dead there.
            let incarnation = self.links.get(other).and_then(|link| link.peer);
            if incarnation.is_some_and(|old| old.incarnation > peer.incarnation) {
                return self.drop_link(id, Reason::Duplicate, "a newer life is linked");
            }
            self.drop_link(other, Reason::Duplicate, "replaced by a newer connection");
        } else if !self.has_room(hello) {
            let alternatives = self.alternatives(&peer.node);
            self.send_hello(id, Purpose::Neighbor);
            self.out.control(id, Frame::Refuse(alternatives));
            return self.drop_link(id, Reason::NotNeeded, "no room for another neighbour");
        }
        self.set_phase(id, Phase::Deciding);
        self.links.claim(id);
        self.send_hello(id, Purpose::Neighbor);
        self.out.control(id, Frame::Accept);
    }

    /// Whether a neighbour with these wishes can be taken.
    fn has_room(&self, hello: &Hello) -> bool {
        let views = &self.config.views;
        let count = self.links.neighbor_count();
        if count >= views.links_max {
            return hello.urgent && count < views.links_max + URGENT_RESERVE;
        }
        let reserve = if hello.urgent { URGENT_RESERVE } else { 0 };
        // Links that are still deciding may all come to want the same topic.
        let deciding = count - self.links.active().count();
        self.topics.local().any(|(_, local)| {
            let degree = local.links.len() + deciding;
            degree < views.degree_max + reserve && hello.wanted.contains(&local.hash)
        })
    }

    fn alternatives(&mut self, without: &NodeId) -> Vec<PeerEntry> {
        let neighbors = self.links.healthy().filter_map(|(_, link)| link.peer);
        let others = neighbors.chain(self.views.passive().iter().copied());
        let others: Vec<_> = others.filter(|peer| peer.node != *without).collect();
        super::views::pick(&others, ALTERNATIVES, &mut self.rng)
    }

    pub(super) fn on_accept(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        if link.phase != Phase::Deciding {
            return self.violation(id, "accept out of turn");
        }
        if link.dial.is_some() {
            self.out.control(id, Frame::Accept);
        }
        self.activate(id);
    }

    pub(super) fn on_refuse(&mut self, id: LinkId, alternatives: &[PeerEntry]) {
        let Some(link) = self.links.get(id) else { return };
        if link.phase != Phase::Deciding || link.dial.is_none() {
            return self.violation(id, "refusal out of turn");
        }
        let node = link.node;
        self.learn(alternatives);
        let overlay = self.overlay.clone();
        if let Some(local) = self.topics.get_mut(&overlay) {
            local.offer(alternatives, &self.node);
        }
        self.views.avoid(self.now, node);
        self.drop_link(id, Reason::NotNeeded, "refused");
        self.seek_neighbors();
    }

    pub(super) fn on_goodbye(&mut self, id: LinkId, goodbye: Goodbye) {
        let Some(link) = self.links.get(id) else { return };
        let Goodbye { reason, text } = goodbye;
        let (node, remote) = (link.node, link.remote);
        let worth_telling = !matches!(
            reason,
            Reason::Leaving | Reason::Duplicate | Reason::NotNeeded | Reason::Suspect
        );
        if worth_telling {
            self.out.notice(Notice::LinkRefused { remote, node, reason, text: text.clone() });
        }
        if reason == Reason::Forged {
            self.trust.alarm(self.now);
        }
        if worth_telling && reason != Reason::DeclaredDead {
            self.views.avoid(self.now, node);
        }
        self.out.hang_up(id);
        self.link_ended(id, &format!("closed by the other end: {text}"));
        if reason == Reason::Leaving {
            self.views.forget(&node);
            self.suspects.remove(&node);
        }
        self.seek_neighbors();
    }

    /// Ends greetings that take too long.
    pub(super) fn expire_greetings(&mut self) {
        let slow = |link: &Link| {
            matches!(link.phase, Phase::Greeting | Phase::Deciding)
                && self.now.since(link.opened_at) >= GREETING_MAX
        };
        let slow: Vec<_> =
            self.links.iter().filter(|(_, link)| slow(link)).map(|(id, _)| id).collect();
        for id in slow {
            self.refuse_link(id, Reason::Timeout, "no greeting within 3 s");
        }
        for id in self.rendezvous.unanswered(self.now, GREETING_MAX) {
            self.refuse_link(id, Reason::Timeout, "no answer to the registration within 3 s");
        }
    }

    /// The other end broke the protocol.
    pub(super) fn violation(&mut self, id: LinkId, what: &str) {
        self.stats.violations += 1;
        self.refuse_link(id, Reason::Violation, what);
    }

    /// The other end sent bytes that are no frame; the driver has closed the connection.
    pub(super) fn on_malformed(&mut self, id: LinkId, what: &str) {
        let Some(link) = self.links.get(id) else { return };
        let (remote, node) = (link.remote, link.node);
        let text = format!("malformed {what}");
        self.stats.violations += 1;
        self.views.avoid(self.now, node);
        self.link_ended(id, &text);
        let reason = Reason::Violation;
        self.out.notice(Notice::LinkRefused { remote, node, reason, text });
        self.seek_neighbors();
    }

    /// Closes a link for a reason that people should see.
    pub(super) fn refuse_link(&mut self, id: LinkId, reason: Reason, text: &str) {
        let Some(link) = self.links.get(id) else { return };
        let (remote, node) = (link.remote, link.node);
        self.out.notice(Notice::LinkRefused { remote, node, reason, text: text.to_owned() });
        self.views.avoid(self.now, node);
        self.drop_link(id, reason, text);
    }

    /// Closes a link.
    pub(super) fn drop_link(&mut self, id: LinkId, reason: Reason, text: &str) {
        self.out.close(id, reason, text);
        self.link_ended(id, text);
    }

    fn set_phase(&mut self, id: LinkId, phase: Phase) {
        if let Some(link) = self.links.get_mut(id) {
            link.phase = phase;
        }
    }

    pub(super) fn dial_neighbor(&mut self, peer: PeerEntry) {
        let dial = self.out.dial(peer.address, self.config.views.dial_timeout);
        self.stats.dials += 1;
        self.links.dialing(self.now, dial, Intent::Neighbor(peer));
    }
}
