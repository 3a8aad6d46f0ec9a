//! Votes, and what a majority of them does.

use std::collections::{BTreeMap, BTreeSet};

use core::time::Duration;

use crate::id::{LinkId, NodeId};
use crate::seed::Seed;
use crate::seed::event::Notice;
use crate::seed::listed::Peer;
use crate::seed::memory::Key;
use crate::seed::reports::{Case, Reports};
use crate::seed::status::Death;
use crate::time::Instant;
use crate::wire::frame::{Dead, Frame, SAMPLE_MAX};
use crate::wire::record::{DeathVote, Record, SignedRecord};

/// Verdicts that are kept for people.
const DEATHS_MAX: usize = 256;
/// A seed that suspects many peers within this time suspects itself (design §5.20).
const BRAKE_WINDOW: Duration = Duration::from_secs(10);
/// It then casts no vote for this long (design §5.20).
const BRAKE_TIME: Duration = Duration::from_secs(10);
/// Many is more than a fifth of the table (design §5.20) ...
const BRAKE_PART: usize = 5;
/// ... and at least so many: two of three peers may well crash together.
const BRAKE_PEERS_MIN: usize = 5;

/// Stops a seed that is itself cut off from judging those that it cannot reach.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Peers that did not answer a probe of this seed lately.
    suspected: BTreeMap<NodeId, Instant>,
    until: Instant,
}

impl Brake {
    pub(super) fn suspected(&mut self, now: Instant, node: NodeId) {
        self.suspected.retain(|_, at| now.since(*at) < BRAKE_WINDOW);
        self.suspected.insert(node, now);
    }

    pub(super) fn refuted(&mut self, node: &NodeId) {
        self.suspected.remove(node);
    }

    /// Whether this seed must not vote, `peers` being listed.
    fn holds(&mut self, now: Instant, peers: usize) -> bool {
        self.suspected.retain(|_, at| now.since(*at) < BRAKE_WINDOW);
        let suspected = self.suspected.len();
        if suspected >= BRAKE_PEERS_MIN && suspected * BRAKE_PART > peers {
            self.until = now + BRAKE_TIME;
            // The same peers are counted once: when the brake is off, they are judged.
            self.suspected.clear();
        }
        now < self.until
    }
}

impl Seed {
    /// The accused did not answer: this seed votes, unless it has reason to doubt itself.
    /// Repeated after each further probe, for seeds that did not get the vote.
    pub(super) fn vote(&mut self, now: Instant, node: NodeId) {
        let quorum = self.sync.quorum();
        self.reports.count_silent(now, self.config.probe_timeout / 2);
        let braked = self.reports.brake.holds(now, self.registry.count());
        let knows_all = !self.acceptors.is_learning();
        if braked || !knows_all || !self.sync.has_quorum() {
            return;
        }
        let (me, kept) = (self.me(), self.votes_kept());
        let Some(peer) = self.registry.peer(&node).map(Peer::entry) else { return };
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        let vote = DeathVote { voter: me, node, incarnation: case.incarnation };
        let signed = SignedRecord::sign(Record::DeathVote(vote), &self.signer);
        let first = case.votes.insert(me, (signed.clone(), now)).is_none();
        case.drop_old_votes(now, kept);
        let votes = case.votes.len();
        if first {
            self.stats.votes += 1;
            self.notice(Notice::Voted { peer, votes, quorum });
        }
        self.tell_seeds(&Frame::Records(vec![signed]));
        self.judge(now, node);
        self.consider_forgotten(node);
    }

    /// A vote of another seed counts, and makes this seed look for itself. One that this seed
    /// cast in a former run only makes it look. A vote on a later life is one on all lives before
    /// it.
    pub(super) fn take_vote(&mut self, now: Instant, vote: &DeathVote, signed: SignedRecord) {
        let voter = vote.voter;
        if voter != self.me() && self.sync.slot_of(&voter).is_none() {
            self.stats.records_refused += 1;
            return;
        }
        let Some(listed) = self.registry.peer(&vote.node) else { return };
        let life = listed.incarnation;
        if vote.incarnation < life {
            return;
        }
        self.accuse(now, vote.node, life, voter);
        let own = voter == self.me();
        let Some(case) = self.reports.cases.get_mut(&vote.node).filter(|_| !own) else { return };
        case.votes.insert(voter, (signed, now));
        self.judge(now, vote.node);
    }

    /// Declares a peer dead when a majority of votes is known to stand.
    pub(super) fn judge(&mut self, now: Instant, node: NodeId) {
        let (kept, me) = (self.votes_kept(), self.me());
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        case.drop_old_votes(now, kept);
        if !self.sync.is_majority(me, |voter| case.votes.contains_key(voter)) {
            return;
        }
        let standing = self.confirm_votes(now, node);
        if !self.sync.is_majority(me, |voter| standing.contains(voter)) {
            return;
        }
        let Some(case) = self.reports.cases.remove(&node) else { return };
        let votes = case.votes.values().map(|(vote, _)| vote.clone()).take(SAMPLE_MAX).collect();
        if let Some(peer) = self.drop_peer(&node) {
            self.declare_dead(now, peer, votes, case);
        }
    }

    /// Another seed has declared a peer dead. Votes count only from seeds that are known here.
    pub(super) fn take_verdict(&mut self, now: Instant, id: LinkId, dead: Dead) {
        let Dead { node, incarnation, votes } = dead;
        if self.registry.peer(&node).is_none_or(|peer| peer.incarnation > incarnation) {
            return;
        }
        let mut voters = BTreeSet::new();
        for signed in &votes {
            let Record::DeathVote(vote) = &signed.record else { continue };
            let known = vote.voter == self.me() || self.sync.slot_of(&vote.voter).is_some();
            if !known || vote.node != node || vote.incarnation < incarnation {
                continue;
            }
            if !signed.verify(self.config.identity.scheme) {
                self.stats.records_refused += 1;
                return self.violation(now, id, "a vote that its caster did not sign");
            }
            voters.insert(vote.voter);
        }
        if !self.sync.is_majority(self.me(), |voter| voters.contains(voter)) {
            self.stats.records_refused += 1;
            return;
        }
        let case = self.reports.cases.remove(&node);
        let case = case.unwrap_or_else(|| Case::new(incarnation, now));
        if let Some(peer) = self.drop_peer(&node) {
            self.declare_dead(now, peer, votes, case);
        }
    }

    fn declare_dead(&mut self, now: Instant, peer: Peer, votes: Vec<SignedRecord>, case: Case) {
        let entry = peer.entry();
        let (node, incarnation) = (entry.node, entry.incarnation);
        let voters = votes.iter().filter_map(|vote| match &vote.record {
            Record::DeathVote(vote) => Some(vote.voter),
            _ => None,
        });
        let voters: Vec<NodeId> = voters.collect();
        let since_start = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        self.keep_death(Death {
            peer: entry,
            name: peer.name.to_string(),
            at_us: self.config.identity.wall_origin_us.saturating_add(since_start),
            reporters: case.reporters.into_iter().collect(),
            probe: case.result.to_owned(),
            voters,
        });
        let until = now + self.config.dead_kept;
        let max = self.ended_max();
        self.registry.end((peer.record(), peer.signature), Some(votes.clone()), until, max);
        self.stats.deaths += 1;
        self.notice(Notice::Dead { peer: entry, peers: self.registry.count() });
        self.tell_seeds(&Frame::Dead(Dead { node, incarnation, votes: votes.clone() }));
        let links: Vec<_> = self.links.sessions().map(|(_, link)| link).collect();
        for link in links {
            self.send(link, Frame::Dead(Dead { node, incarnation, votes: votes.clone() }));
        }
        self.is_gone(node);
    }

    /// Keeps a verdict for people, on the disk as well, in the place of the oldest one.
    fn keep_death(&mut self, death: Death) {
        self.touched.insert(death.key());
        self.touched.extend(self.reports.keep_death(death));
    }
}

impl Death {
    /// Names its row.
    pub(super) fn key(&self) -> Key {
        Key::Death(self.peer.node, self.peer.incarnation)
    }
}

impl Reports {
    /// Keeps a verdict. Returns the key of the oldest one if that had to go.
    fn keep_death(&mut self, death: Death) -> Option<Key> {
        let key = death.key();
        self.deaths.retain(|known| known.key() != key);
        self.deaths.push_back(death);
        let is_full = self.deaths.len() > DEATHS_MAX;
        is_full.then(|| self.deaths.pop_front()).flatten().map(|oldest| oldest.key())
    }

    /// The same for those of former runs, in any order.
    pub(super) fn restore_death(&mut self, death: &Death) {
        self.keep_death(death.clone());
        self.deaths.make_contiguous().sort_by_key(|death| death.at_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_holds_when_a_fifth_is_suspect_at_once() {
        let mut brake = Brake::default();
        let second = |n| Instant::from_millis(1_000 * n);
        (0..4).for_each(|n| brake.suspected(second(1), NodeId([n; 32])));
        assert!(!brake.holds(second(1), 10), "four are too few");
        brake.suspected(second(2), NodeId([9; 32]));
        assert!(!brake.holds(second(2), 25), "a fifth is not more than a fifth");
        brake.refuted(&NodeId([9; 32]));
        assert!(!brake.holds(second(2), 10), "who answered does not count");
        brake.suspected(second(2), NodeId([9; 32]));
        assert!(brake.holds(second(2), 10));
        assert!(brake.holds(second(11), 10));
        assert!(!brake.holds(second(12), 10), "it is off after ten seconds");
        (0..5).for_each(|n| brake.suspected(second(20 + 5 * u64::from(n)), NodeId([n; 32])));
        assert!(!brake.holds(second(40), 10), "one after the other is no mass");
    }
}
