//! Sessions with a majority of the seeds: whom to dial, when to renew, whom to replace.

use std::net::SocketAddr;

use core::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::config::quorum;
use crate::id::{DialId, LinkId, NodeId};
use crate::peer::status::{SeedState, SeedStatus};
use crate::time::Instant;

/// The first wait after a failed dial; doubled with each further one. Guess: a restarted seed is
/// up within a second.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Leases on the wire are taken as at least this long, so that no seed can make a peer renew
/// without pause, and at most one hour (design §6.25).
const LEASE_MIN_MS: u32 = 3_000;
const LEASE_MAX_MS: u32 = 3_600_000;

/// One configured seed.
#[derive(Debug)]
struct Slot {
    address: SocketAddr,
    node: Option<NodeId>,
    state: State,
    failures: u32,
    retry_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Dialing(DialId),
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
    slots: Vec<Slot>,
    backoff_max: Duration,
}

impl Rendezvous {
    /// No session yet.
    pub(crate) fn new(seeds: &[SocketAddr], backoff_max: Duration) -> Self {
        let slot = |&address| Slot {
            address,
            node: None,
            state: State::Idle,
            failures: 0,
            retry_at: Instant::ZERO,
        };
        Self { slots: seeds.iter().map(slot).collect(), backoff_max }
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

    /// Seeds to dial now, so that a quorum is joined or on its way. The caller dials each and
    /// says so with [`Self::dialing`].
    pub(crate) fn to_dial(&self, now: Instant, rng: &mut ChaCha8Rng) -> Vec<SocketAddr> {
        let busy = self.slots.iter().filter(|slot| slot.state != State::Idle).count();
        let lacking = self.quorum().saturating_sub(busy);
        let idle: Vec<_> = self
            .slots
            .iter()
            .filter(|slot| slot.state == State::Idle && slot.retry_at <= now)
            .map(|slot| slot.address)
            .collect();
        super::views::pick(&idle, lacking, rng)
    }

    /// The seed at this address is dialled.
    pub(crate) fn dialing(&mut self, address: SocketAddr, dial: DialId) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.address == address) {
            slot.state = State::Dialing(dial);
        }
    }

    /// The dial became a link; the registration goes out.
    pub(crate) fn registering(&mut self, now: Instant, dial: DialId, link: LinkId, node: NodeId) {
        let mut slots = self.slots.iter_mut();
        if let Some(slot) = slots.find(|slot| slot.state == State::Dialing(dial)) {
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

    /// The dial failed or the session ended. Returns the seed's address and whether it was
    /// joined.
    pub(crate) fn lost(
        &mut self,
        now: Instant,
        which: impl Into<Session>,
        rng: &mut ChaCha8Rng,
    ) -> Option<(SocketAddr, bool)> {
        let backoff_max = self.backoff_max;
        let slot = match which.into() {
            Session::Dial(dial) => {
                self.slots.iter_mut().find(|slot| slot.state == State::Dialing(dial))?
            }
            Session::Link(link) => self.by_link(link)?,
        };
        let was_joined = matches!(slot.state, State::Joined { .. });
        let backoff = (BACKOFF_MIN * (1 << slot.failures.min(8))).min(backoff_max);
        let percent = rng.random_range(50..=100u32);
        slot.state = State::Idle;
        slot.failures = slot.failures.saturating_add(1);
        slot.retry_at = now + backoff * percent / 100;
        Some((slot.address, was_joined))
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

    /// When something is to be done.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let busy = self.slots.iter().filter(|slot| slot.state != State::Idle).count();
        let lacking = busy < self.quorum();
        let deadlines = self.slots.iter().filter_map(|slot| match slot.state {
            State::Idle => lacking.then_some(slot.retry_at),
            State::Joined { renew_at, .. } => Some(renew_at),
            _ => None,
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
            State::Dialing(_) | State::Registering { .. } => SeedState::Connecting,
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
    fn link(&self) -> Option<LinkId> {
        match self.state {
            State::Registering { link, .. } | State::Joined { link, .. } => Some(link),
            State::Idle | State::Dialing(_) => None,
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
            rendezvous.dialing(*seed, DialId(id));
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
        let (lost, was_joined) = rendezvous.lost(Instant::ZERO, link, &mut rng).expect("known");
        assert!(was_joined);
        let replacement = rendezvous.to_dial(Instant::ZERO, &mut rng);
        assert!(replacement.len() == 1 && replacement[0] != lost);
    }

    #[test]
    fn failures_back_off_and_renewals_come_at_a_third_of_the_lease() {
        let (mut rendezvous, mut rng) = five_seeds();
        let seed = rendezvous.to_dial(Instant::ZERO, &mut rng)[0];
        for n in 0..20 {
            rendezvous.dialing(seed, DialId(n));
            rendezvous.lost(Instant::ZERO, DialId(n), &mut rng);
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
}
