//! Who the seeds are: the configuration says where to begin, the seeds say how that has changed.
//!
//! A majority of the seeds that this peer knows has to say so, which no minority of liars can. A
//! peer that cannot reach a majority, because too many of those that it knows are gone, believes
//! after a while what all say whom it can still reach.

use std::net::SocketAddr;

use core::time::Duration;

use super::Peer;
use super::event::{Durable, Notice};
use crate::id::{LinkId, NodeId};
use crate::time::Instant;
use crate::wire::frame::Reason;
use crate::wire::record::{Record, SignedRecord};

/// A peer without a majority believes those that it can reach after this. Guess: restarted seeds
/// are back by then.
pub(super) const CUT_OFF_AFTER: Duration = Duration::from_secs(5);

/// Seeds, and how many decisions on them there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSeeds {
    /// Rises with each decision; 0 is the set of the configuration.
    pub version: u64,
    /// Their addresses, ordered.
    pub seeds: Vec<SocketAddr>,
}

/// What the seeds have told of themselves.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By the seed that told it: at most one each.
    by: Vec<(SocketAddr, KnownSeeds)>,
    /// Since when fewer than a majority of them is joined.
    lonely_since: Option<Instant>,
}

impl Told {
    /// A seed has told this.
    fn say(&mut self, seed: SocketAddr, told: KnownSeeds) {
        self.by.retain(|(by, _)| *by != seed);
        self.by.push((seed, told));
    }

    /// What is to be believed, if it is newer than `version`, where `quorum` seeds are a
    /// majority.
    fn credible(&self, now: Instant, version: u64, quorum: usize) -> Option<KnownSeeds> {
        let newer = self.by.iter().filter(|(_, told)| told.version > version);
        let newer: Vec<&KnownSeeds> = newer.map(|(_, told)| told).collect();
        let count = |of: &KnownSeeds| newer.iter().filter(|told| **told == of).count();
        let agreed = newer.iter().find(|told| count(told) >= quorum);
        let is_cut_off = self.lonely_since.is_some_and(|at| now.since(at) >= CUT_OFF_AFTER);
        let only = newer.first().filter(|told| is_cut_off && count(told) == newer.len());
        agreed.or(only).map(|told| (*told).clone())
    }

    /// Whether a majority of the seeds is joined.
    fn joined(&mut self, now: Instant, is_joined: bool) {
        match is_joined {
            true => self.lonely_since = None,
            false => drop(self.lonely_since.get_or_insert(now)),
        }
    }
}

impl Peer {
    /// A seed says who the seeds are.
    pub(super) fn on_seed_set(&mut self, id: LinkId, signed: &SignedRecord) {
        let Record::SeedSet(record) = &signed.record else {
            return self.violation(id, "a set of seeds that is none");
        };
        if !signed.verify(self.config.identity.scheme) {
            return self.violation(id, "a set of seeds that nobody signed");
        }
        let (version, seeds) = record.stable();
        let seeds: Vec<SocketAddr> = seeds.iter().map(|place| place.address).collect();
        let Some(seed) = self.rendezvous.sized(id, seeds.len()) else { return };
        self.told.say(seed, KnownSeeds { version, seeds });
        self.believe_seeds();
    }

    /// Follows what the seeds say of themselves as soon as that is credible.
    pub(super) fn believe_seeds(&mut self) {
        let (joined, quorum) = (self.rendezvous.joined(), self.rendezvous.quorum());
        self.told.joined(self.now, joined >= quorum);
        let version = self.rendezvous.version();
        let Some(known) = self.told.credible(self.now, version, quorum) else { return };
        let gone = self.rendezvous.adopt(&known);
        self.told
            .by
            .retain(|(seed, told)| known.seeds.contains(seed) && told.version > known.version);
        let KnownSeeds { version, seeds } = known.clone();
        self.out.notice(Notice::SeedSet { version, seeds });
        self.out.persist(Durable::Seeds(known));
        for link in gone {
            for request in self.requests.lost(link) {
                self.ask_next(request, false);
            }
            self.drop_link(link, Reason::NotNeeded, "no seed any more");
        }
        self.tend_sessions();
        self.tell_quorum();
        let sessions = self.rendezvous.sessions().filter_map(|link| self.links.get(link));
        let nodes: Vec<NodeId> = sessions.map(|link| link.node).collect();
        for request in self.requests.recount(|node| nodes.contains(node)) {
            self.finish(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(version: u64, of: &[u16]) -> KnownSeeds {
        let seeds = of.iter().map(|n| SocketAddr::from(([127, 0, 0, 1], *n))).collect();
        KnownSeeds { version, seeds }
    }

    fn at(n: u16) -> SocketAddr {
        ([127, 0, 0, 1], n).into()
    }

    #[test]
    fn a_majority_is_believed_and_less_only_by_who_is_cut_off() {
        let second = |n: u64| Instant::from_millis(1_000 * n);
        let mut told = Told::default();
        let next = seeds(2, &[1, 2, 3, 4]);
        told.joined(second(0), true);
        told.say(at(1), next.clone());
        told.say(at(1), next.clone());
        assert_eq!(told.credible(second(60), 0, 2), None, "one voice");
        told.say(at(2), seeds(2, &[7]));
        assert_eq!(told.credible(second(60), 0, 2), None, "they differ");
        told.say(at(3), next.clone());
        assert_eq!(told.credible(second(60), 0, 2), Some(next.clone()));
        assert_eq!(told.credible(second(60), 2, 2), None, "known already");
        told.joined(second(60), false);
        told.joined(second(64), false);
        assert_eq!(told.credible(second(65), 0, 3), None, "cut off, and they differ");
        told.say(at(2), next.clone());
        assert_eq!(told.credible(second(64), 0, 4), None);
        assert_eq!(told.credible(second(65), 0, 4), Some(next));
    }
}
