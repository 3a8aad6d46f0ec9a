//! Sessions with a majority of the seeds: whom to dial, when to renew, whom to replace.

use std::net::SocketAddr;

use core::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::config::quorum;
use crate::id::{DialId, LinkId, NodeId};
use crate::peer::seed_set::KnownSeeds;
use crate::peer::status::{SeedState, SeedStatus};
use crate::time::Instant;

/// The first wait after a failed dial; doubled with each further one. Guess: a restarted seed is
/// up within a second.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// A seed that is dialled or registered with has so long before another one is tried beside it,
/// so that a failed one is replaced within a second.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// At most one session too many is ended in this time: where all seeds are slow now and then, as
/// on a busy machine, some more sessions cost less than new ones again and again. Guess: a stalled
/// disk is well again by then.
const SURPLUS_EVERY: Duration = Duration::from_secs(5);
/// Leases on the wire are taken as at least this long, so that no seed can make a peer renew
/// without pause, and at most one hour (design §6.25).
const LEASE_MIN_MS: u32 = 3_000;
const LEASE_MAX_MS: u32 = 3_600_000;

/// One seed.
#[derive(Debug)]
struct Slot {
    address: SocketAddr,
    /// Of how many seeds it said that there are.
    sized: Option<usize>,
    node: Option<NodeId>,
    state: State,
    failures: u32,
    retry_at: Instant,
    /// The keys that it named as those of seeds.
    named: Vec<NodeId>,
    /// Since when it is silent and to be replaced.
    silent_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Dialing {
        dial: DialId,
        since: Instant,
    },
    /// Linked; the registration is not answered yet.
    Registering {
        link: LinkId,
        since: Instant,
    },
    Joined {
        link: LinkId,
        renew_at: Instant,
    },
}

/// The sessions with the seeds.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    version: u64,
    slots: Vec<Slot>,
    backoff_max: Duration,
    /// When a session too many was ended last.
    surplus_ended: Option<Instant>,
}

impl Rendezvous {
    /// No session yet.
    pub(crate) fn new(seeds: &[SocketAddr], backoff_max: Duration) -> Self {
        let slots = seeds.iter().copied().map(Slot::new).collect();
        Self { version: 0, slots, backoff_max, surplus_ended: None }
    }

    /// How many decisions on the set of seeds are known.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The seeds are these from now on. Returns links with those that are none any more.
    pub(crate) fn adopt(&mut self, known: &KnownSeeds) -> Vec<LinkId> {
        self.version = known.version;
        let (stay, go): (Vec<Slot>, Vec<Slot>) = std::mem::take(&mut self.slots)
            .into_iter()
            .partition(|slot| known.seeds.contains(&slot.address));
        self.slots = stay;
        for &address in &known.seeds {
            if self.slots.iter().all(|slot| slot.address != address) {
                self.slots.push(Slot::new(address));
            }
        }
        self.slots.sort_by_key(|slot| slot.address);
        go.iter().filter_map(Slot::link).collect()
    }

    /// A seed said of how many seeds it counts majorities. Returns its address.
    pub(crate) fn sized(&mut self, link: LinkId, seeds: usize) -> Option<SocketAddr> {
        let slot = self.by_link(link)?;
        slot.sized = Some(seeds);
        Some(slot.address)
    }

    /// How many votes a seed needs for a verdict, as far as it has told.
    pub(crate) fn quorum_at(&self, link: LinkId) -> usize {
        let slot = self.slots.iter().find(|slot| slot.link() == Some(link));
        slot.and_then(|slot| slot.sized).map_or_else(|| self.quorum(), quorum)
    }

    /// floor(n/2)+1.
    pub(crate) fn quorum(&self) -> usize {
        quorum(self.slots.len())
    }

    /// How many seeds are configured.
    pub(crate) fn total(&self) -> usize {
        self.slots.len()
    }

    /// How many seeds hold the registration.
    pub(crate) fn joined(&self) -> usize {
        self.sessions().count()
    }

    /// Links of the joined seeds.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.slots.iter().filter_map(|slot| match slot.state {
            State::Joined { link, .. } => Some(link),
            _ => None,
        })
    }

    /// Seeds to dial now, so that a quorum is joined or on its way, not counting those that take
    /// too long. The caller dials each and says so with [`Self::dialing`].
    pub(crate) fn to_dial(&self, now: Instant, rng: &mut ChaCha8Rng) -> Vec<SocketAddr> {
        let lacking = self.lacking(now);
        let idle: Vec<_> = self
            .slots
            .iter()
            .filter(|slot| slot.state == State::Idle && slot.retry_at <= now)
            .map(|slot| slot.address)
            .collect();
        super::views::pick(&idle, lacking, rng)
    }

    /// The seed at this address is dialled.
    pub(crate) fn dialing(&mut self, now: Instant, address: SocketAddr, dial: DialId) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.address == address) {
            slot.state = State::Dialing { dial, since: now };
        }
    }

    /// The dial became a link; the registration goes out.
    pub(crate) fn registering(&mut self, now: Instant, dial: DialId, link: LinkId, node: NodeId) {
        let mut slots = self.slots.iter_mut();
        if let Some(slot) = slots.find(|slot| slot.is_dialed(dial)) {
            slot.state = State::Registering { link, since: now };
            slot.node = Some(node);
        }
    }

    /// The seed took the registration or a renewal. Returns its address and whether it is newly
    /// joined.
    pub(crate) fn joined_by(
        &mut self,
        now: Instant,
        link: LinkId,
        lease_ms: u32,
        rng: &mut ChaCha8Rng,
    ) -> Option<(SocketAddr, bool)> {
        let slot = self.by_link(link)?;
        let new = matches!(slot.state, State::Registering { .. });
        // A third of the lease, +-20% so that peers that joined together do not renew together.
        let third = u64::from(lease_ms.clamp(LEASE_MIN_MS, LEASE_MAX_MS)) / 3;
        let renew_ms = third * rng.random_range(80..=120u64) / 100;
        slot.state = State::Joined { link, renew_at: now + Duration::from_millis(renew_ms) };
        slot.failures = 0;
        Some((slot.address, new))
    }

    /// The seed must be registered with again.
    pub(crate) fn unregistered(&mut self, now: Instant, link: LinkId) {
        if let Some(slot) = self.by_link(link) {
            slot.state = State::Registering { link, since: now };
        }
    }

    /// The dial failed or the session ended. Returns the seed's address and whether that is news:
    /// the first failure since it was joined, or at all.
    pub(crate) fn lost(
        &mut self,
        now: Instant,
        which: impl Into<Session>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(SocketAddr, bool)> {
        let backoff_max = self.backoff_max;
        let slot = match which.into() {
            Session::Dial(dial) => self.slots.iter_mut().find(|slot| slot.is_dialed(dial))?,
            Session::Link(link) => self.by_link(link)?,
        };
        let news = slot.failures == 0;
        let backoff = (BACKOFF_MIN * (1 << slot.failures.min(8))).min(backoff_max);
        let percent = rng.random_range(50..=100u32);
        slot.state = State::Idle;
        slot.silent_at = None;
        slot.failures = slot.failures.saturating_add(1);
        slot.retry_at = now + backoff * percent / 100;
        Some((slot.address, news))
    }

    /// Sessions whose lease is to be renewed now. Each is returned once per renewal.
    pub(crate) fn take_renewals(&mut self, now: Instant, timeout: Duration) -> Vec<LinkId> {
        let mut due = Vec::new();
        for slot in &mut self.slots {
            if let State::Joined { link, renew_at } = &mut slot.state
                && *renew_at <= now
            {
                due.push(*link);
                // Repeated if it is not answered; the link's own liveness ends a dead session.
                *renew_at = now + timeout * 5;
            }
        }
        due
    }

    /// Sessions whose registration was not answered for `limit`.
    pub(crate) fn unanswered(&self, now: Instant, limit: Duration) -> Vec<LinkId> {
        let unanswered = self.slots.iter().filter_map(|slot| match slot.state {
            State::Registering { link, since } if now.since(since) >= limit => Some(link),
            _ => None,
        });
        unanswered.collect()
    }

    /// A seed said who the seeds are.
    pub(crate) fn named(&mut self, link: LinkId, keys: &[NodeId]) {
        if let Some(slot) = self.by_link(link).filter(|_| !keys.is_empty()) {
            slot.named = keys.to_vec();
        }
    }

    /// Whether a node is a seed: it answered at the address of one, or a majority of the seeds
    /// says so. No minority of them can make up another one.
    pub(crate) fn is_seed(&self, node: &NodeId) -> bool {
        let names = |slot: &&Slot| slot.named.contains(node);
        self.slots.iter().any(|slot| slot.node == Some(*node))
            || self.slots.iter().filter(names).count() >= self.quorum()
    }

    /// How many more sessions are needed. Only as many silent ones are replaced as may fail: where
    /// more are slow, the machine or the network is.
    fn lacking(&self, now: Instant) -> usize {
        let prompt = self.slots.iter().filter(|slot| slot.is_prompt(now)).count();
        let silent = self.slots.iter().filter(|slot| slot.silent_at.is_some()).count();
        let may = self.slots.len().saturating_sub(self.quorum());
        self.quorum().saturating_sub(prompt + silent.saturating_sub(may))
    }

    /// A joined seed is silent: another one is joined beside it.
    pub(crate) fn silent(&mut self, now: Instant, link: LinkId) {
        if let Some(slot) = self.by_link(link).filter(|slot| slot.silent_at.is_none()) {
            slot.silent_at = Some(now);
        }
    }

    /// A seed answers after all.
    pub(crate) fn heard(&mut self, link: LinkId) {
        if let Some(slot) = self.by_link(link) {
            slot.silent_at = None;
        }
    }

    /// Whether the seed of a session is silent.
    pub(crate) fn is_silent(&self, link: LinkId) -> bool {
        self.slots.iter().any(|slot| slot.link() == Some(link) && slot.silent_at.is_some())
    }

    /// Whether a majority of the seeds may be asked: they are joined, or nothing is known against
    /// them.
    pub(crate) fn is_majority_there(&self) -> bool {
        let there = |slot: &&Slot| slot.failures == 0 || matches!(slot.state, State::Joined { .. });
        self.slots.iter().filter(there).count() >= self.quorum()
    }

    /// A session too many, to be ended now: that of the seed which was silent the longest.
    pub(crate) fn take_surplus(&mut self, now: Instant) -> Option<LinkId> {
        let is_soon = |at: Instant| now.since(at) < SURPLUS_EVERY;
        let joined = |slot: &&Slot| matches!(slot.state, State::Joined { .. });
        let prompt = self.slots.iter().filter(joined).filter(|slot| slot.is_prompt(now)).count();
        let is_surplus = prompt >= self.quorum() && self.joined() > self.quorum();
        if !is_surplus || self.surplus_ended.is_some_and(is_soon) {
            return None;
        }
        self.surplus_ended = Some(now);
        let rank = |slot: &&Slot| (slot.silent_at.is_none(), slot.silent_at);
        self.slots.iter().filter(joined).min_by_key(rank)?.link()
    }

    /// When something is to be done.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let lacking = self.lacking(now) > 0;
        let deadlines = self.slots.iter().filter_map(|slot| match slot.state {
            State::Idle => lacking.then_some(slot.retry_at),
            State::Joined { renew_at, .. } => Some(renew_at),
            State::Dialing { since, .. } | State::Registering { since, .. } => {
                Some(since + ANSWER_WITHIN).filter(|at| *at > now)
            }
        });
        deadlines.min()
    }

    /// Whether a link is a session.
    pub(crate) fn is_session(&self, link: LinkId) -> bool {
        self.slots.iter().any(|slot| slot.link() == Some(link))
    }

    /// For people.
    pub(crate) fn status(&self) -> Vec<SeedStatus> {
        let state = |slot: &Slot| match slot.state {
            State::Joined { .. } => SeedState::Joined,
            State::Dialing { .. } | State::Registering { .. } => SeedState::Connecting,
            State::Idle if slot.failures > 0 => SeedState::Unreachable,
            State::Idle => SeedState::Spare,
        };
        let status =
            |slot: &Slot| SeedStatus { address: slot.address, node: slot.node, state: state(slot) };
        self.slots.iter().map(status).collect()
    }

    fn by_link(&mut self, link: LinkId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.link() == Some(link))
    }
}

impl Slot {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            sized: None,
            node: None,
            state: State::Idle,
            failures: 0,
            retry_at: Instant::ZERO,
            named: Vec::new(),
            silent_at: None,
        }
    }

    fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Registering { link, .. } | State::Joined { link, .. } => Some(link),
            State::Idle | State::Dialing { .. } => None,
        }
    }

    fn is_dialed(&self, by: DialId) -> bool {
        matches!(self.state, State::Dialing { dial, .. } if dial == by)
    }

    /// Whether it is joined and answers, or was asked to join a moment ago.
    fn is_prompt(&self, now: Instant) -> bool {
        match self.state {
            State::Idle => false,
            State::Dialing { since, .. } | State::Registering { since, .. } => {
                now.since(since) < ANSWER_WITHIN
            }
            State::Joined { .. } => self.silent_at.is_none(),
        }
    }
}

/// What ended: a dial or a link.
pub(crate) enum Session {
    /// A dial.
    Dial(DialId),
    /// A link.
    Link(LinkId),
}

impl From<DialId> for Session {
    fn from(dial: DialId) -> Self {
        Self::Dial(dial)
    }
}

impl From<LinkId> for Session {
    fn from(link: LinkId) -> Self {
        Self::Link(link)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn five_seeds() -> (Rendezvous, ChaCha8Rng) {
        let seeds: Vec<SocketAddr> = (1..=5).map(|n| ([127, 0, 0, 1], 7_100 + n).into()).collect();
        (Rendezvous::new(&seeds, Duration::from_secs(5)), ChaCha8Rng::seed_from_u64(1))
    }

    fn join_all(rendezvous: &mut Rendezvous, now: Instant, rng: &mut ChaCha8Rng) -> usize {
        let seeds = rendezvous.to_dial(now, rng);
        for (n, seed) in seeds.iter().enumerate() {
            let id = seed.port().into();
            rendezvous.dialing(now, *seed, DialId(id));
            rendezvous.registering(now, DialId(id), LinkId(id), NodeId([n as u8; 32]));
            assert_eq!(rendezvous.joined_by(now, LinkId(id), 90_000, rng), Some((*seed, true)));
        }
        seeds.len()
    }

    #[test]
    fn a_quorum_is_joined_and_a_lost_seed_replaced_by_another() {
        let (mut rendezvous, mut rng) = five_seeds();
        assert_eq!(join_all(&mut rendezvous, Instant::ZERO, &mut rng), 3);
        assert!(rendezvous.to_dial(Instant::ZERO, &mut rng).is_empty());
        let link = rendezvous.sessions().next().expect("joined");
        let (lost, news) = rendezvous.lost(Instant::ZERO, link, &mut rng).expect("known");
        assert!(news);
        let replacement = rendezvous.to_dial(Instant::ZERO, &mut rng);
        assert!(replacement.len() == 1 && replacement[0] != lost);
    }

    #[test]
    fn failures_back_off_and_renewals_come_at_a_third_of_the_lease() {
        let (mut rendezvous, mut rng) = five_seeds();
        let seed = rendezvous.to_dial(Instant::ZERO, &mut rng)[0];
        for n in 0..20 {
            rendezvous.dialing(Instant::ZERO, seed, DialId(n));
            let lost = rendezvous.lost(Instant::ZERO, DialId(n), &mut rng);
            assert_eq!(lost, Some((seed, n == 0)), "only the first failure is news");
        }
        let later = Instant::ZERO + Duration::from_secs(5);
        assert!(rendezvous.to_dial(later, &mut rng).len() == 3);
        join_all(&mut rendezvous, later, &mut rng);
        assert!(
            rendezvous.take_renewals(later + Duration::from_secs(23), Duration::ZERO).is_empty()
        );
        let due = rendezvous.take_renewals(later + Duration::from_secs(36), Duration::from_secs(1));
        assert_eq!(due.len(), 3);
    }
    #[test]
    fn a_silent_one_gives_way_once_another_has_joined() {
        let (mut rendezvous, mut rng) = five_seeds();
        join_all(&mut rendezvous, Instant::ZERO, &mut rng);
        let at = Instant::from_millis;
        let links: Vec<LinkId> = rendezvous.sessions().collect();
        rendezvous.silent(at(1_000), links[0]);
        let first = rendezvous.to_dial(at(1_000), &mut rng);
        assert_eq!((first.len(), rendezvous.joined()), (1, 3));
        rendezvous.dialing(at(1_000), first[0], DialId(70));
        assert!(rendezvous.to_dial(at(1_100), &mut rng).is_empty());
        let next = rendezvous.next_deadline(at(1_100)).expect("dialling");
        let second = rendezvous.to_dial(next, &mut rng);
        assert!(second.len() == 1 && second != first, "the replacement does not answer either");
        assert_eq!(rendezvous.take_surplus(next), None);
        rendezvous.dialing(next, second[0], DialId(71));
        rendezvous.registering(next, DialId(71), LinkId(71), NodeId([9; 32]));
        rendezvous.joined_by(next, LinkId(71), 90_000, &mut rng);
        assert!(rendezvous.is_silent(links[0]) && !rendezvous.is_silent(links[1]));
        assert_eq!((rendezvous.joined(), rendezvous.take_surplus(next)), (4, Some(links[0])));
        assert_eq!(rendezvous.take_surplus(next), None, "once");
    }

    #[test]
    fn no_more_than_a_minority_is_replaced_at_a_time_and_again_after_that() {
        let (mut rendezvous, mut rng) = five_seeds();
        join_all(&mut rendezvous, Instant::ZERO, &mut rng);
        let now = Instant::from_millis(1_000);
        let links: Vec<LinkId> = rendezvous.sessions().collect();
        links.iter().for_each(|link| rendezvous.silent(now, *link));
        assert_eq!(rendezvous.to_dial(now, &mut rng).len(), 2);
        links.iter().for_each(|link| rendezvous.heard(*link));
        assert!(rendezvous.to_dial(now, &mut rng).is_empty(), "they only were slow");
        rendezvous.silent(now, links[1]);
        assert_eq!(rendezvous.to_dial(now, &mut rng).len(), 1, "one fails indeed");
    }

    #[test]
    fn a_majority_is_there_until_too_many_do_not_answer() {
        let (mut rendezvous, mut rng) = five_seeds();
        join_all(&mut rendezvous, Instant::ZERO, &mut rng);
        let links: Vec<LinkId> = rendezvous.sessions().collect();
        for (gone, link) in links.iter().enumerate() {
            assert!(rendezvous.is_majority_there(), "{gone} gone");
            rendezvous.lost(Instant::ZERO, *link, &mut rng);
        }
        assert!(!rendezvous.is_majority_there());
    }
}
