//! Deaths that the seeds declare: of others, which end their lives, and of this peer, which goes on
//! in a new life.

use std::collections::BTreeSet;

use super::Peer;
use super::event::{Durable, Notice};
use super::links::Phase;
use crate::id::{Incarnation, LinkId, NodeId};
use crate::wire::frame::{Dead, PeerEntry, Reason};
use crate::wire::record::{Record, SignedRecord};

/// A seed that names a later life of this peer than it knows itself was told of that by the peer,
/// on a disk that is lost, with a clock that was ahead: by 70 years of milliseconds at most.
const INCARNATION_JUMP_MAX: u64 = 1 << 41;

impl Peer {
    /// A verdict counts with the votes of a majority, of seeds that this peer knows to be seeds.
    /// Its own death it believes without knowing the voters: all that follows is another life.
    pub(super) fn on_verdict(&mut self, id: LinkId, dead: &Dead) {
        let voters = self.voters(dead);
        if voters.len() < self.rendezvous.quorum_at(id) {
            return self.violation(id, "a verdict without a majority");
        }
        let known = voters.iter().filter(|voter| self.rendezvous.is_seed(voter)).count();
        if known < self.rendezvous.quorum() && dead.node != self.node {
            self.stats.verdicts_unknown += 1;
            return;
        }
        if dead.node == self.node && !self.may_have_lived(dead.incarnation) {
            return self.violation(id, "a life of this peer that cannot have been");
        }
        self.on_declared_dead(dead.node, dead.incarnation);
    }

    /// The different voters who signed this verdict.
    fn voters(&self, dead: &Dead) -> BTreeSet<NodeId> {
        let scheme = self.config.identity.scheme;
        let voter = |signed: &SignedRecord| match &signed.record {
            Record::DeathVote(vote)
                if vote.node == dead.node
                    && vote.incarnation >= dead.incarnation
                    && signed.verify(scheme) =>
            {
                Some(vote.voter)
            }
            _ => None,
        };
        dead.votes.iter().filter_map(voter).collect()
    }

    /// The seed knows that this life is over.
    pub(super) fn on_register_refused(&mut self, id: LinkId, dead: Incarnation) {
        if !self.may_have_lived(dead) {
            return self.violation(id, "a life of this peer that cannot have been");
        }
        if dead >= self.incarnation {
            self.return_to_life(dead);
        }
        self.rendezvous.unregistered(self.now, id);
        self.register(id);
    }

    fn may_have_lived(&self, life: Incarnation) -> bool {
        life.0.saturating_sub(self.incarnation.0) <= INCARNATION_JUMP_MAX
    }

    /// The seeds declared a life of a node over.
    pub(super) fn on_declared_dead(&mut self, node: NodeId, incarnation: Incarnation) {
        if node == self.node {
            if incarnation >= self.incarnation {
                self.return_to_life(incarnation);
            }
            return;
        }
        self.suspects.remove(&node);
        let known = self.views.passive().iter().find(|peer| peer.node == node).copied();
        let link = self.links.neighbor(&node);
        let linked = link.and_then(|id| self.links.get(id)).and_then(|link| link.peer);
        let Some(peer) = linked.or(known).filter(|peer| peer.incarnation <= incarnation) else {
            return;
        };
        self.views.deny(self.now, PeerEntry { incarnation, ..peer });
        self.out.notice(Notice::DeclaredDead { node, incarnation });
        if let (Some(id), Some(_)) = (link, linked) {
            self.drop_link(id, Reason::DeclaredDead, "declared dead by the seeds");
        }
        self.seek_neighbors();
    }

    /// This node was declared dead, though it lives: it goes on in a new life.
    pub(super) fn return_to_life(&mut self, dead: Incarnation) {
        self.incarnation = dead.max(self.incarnation).next();
        self.record_version = 0;
        self.topics.restart_streams();
        self.out.persist(Durable::Incarnation(self.incarnation));
        self.out.notice(Notice::Returned { incarnation: self.incarnation });
        let neighbors: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(link.phase, Phase::Active | Phase::Deciding))
            .map(|(id, link)| (id, link.peer))
            .collect();
        for (id, peer) in neighbors {
            self.drop_link(id, Reason::NotNeeded, "returns in a new life");
            self.learn(&peer.into_iter().collect::<Vec<_>>());
        }
        let sessions: Vec<_> = self.rendezvous.sessions().collect();
        for id in sessions {
            self.rendezvous.unregistered(self.now, id);
            self.register(id);
        }
        self.seek_neighbors();
    }
}
