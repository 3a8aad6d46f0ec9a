//! The links of a peer: to neighbours and to seeds, from the first frame to the last.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use core::time::Duration;

use crate::id::{DialId, LinkId, NodeId, Topic};
use crate::peer::liveness::Liveness;
use crate::peer::overload::Overload;
use crate::peer::silence::Silence;
use crate::time::Instant;
use crate::wire::frame::{Mode, PeerEntry};

/// The round trip of a link until its first ping is answered. Guess: a continent.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);

/// A dial that is not answered within this does not hold up the next one: of many candidates
/// most may be dead. Three round trips of 100 ms, as connection and handshake take (RFC 8305 has
/// 250 ms for a connection alone).
const DIAL_FRESH: Duration = Duration::from_millis(300);

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    /// Who the handshake proved to be at the other end.
    pub(crate) node: NodeId,
    /// The other end's address, as the connection has it.
    pub(crate) remote: SocketAddr,
    /// The dial that made it; `None` for an accepted link.
    pub(crate) dial: Option<DialId>,
    /// How far it is.
    pub(crate) phase: Phase,
    /// When it came up.
    pub(crate) opened_at: Instant,
    /// How silent it is.
    pub(crate) liveness: Liveness,
    /// How silent it is used to be.
    pub(crate) silence: Silence,
    /// What the other end said of itself.
    pub(crate) peer: Option<PeerEntry>,
    /// The other end's name.
    pub(crate) name: String,
    /// It missed too many replies: kept, but nothing is sent over it but pings.
    pub(crate) suspect_since: Option<Instant>,
    /// The other end has said what it wants of topics.
    pub(crate) told: bool,
    /// What the other end wants of topics.
    pub(crate) interests: BTreeMap<Topic, Mode>,
    /// Its place in sets of links, while it is active.
    pub(crate) slot: u8,
    /// The smoothed round trip of its pings.
    pub(crate) round_trip: Duration,
    /// When a prune was last sent on it.
    pub(crate) pruned_at: Instant,
    /// How its queue has been doing.
    pub(crate) overload: Overload,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The other end has not said who it is.
    Greeting,
    /// The other end has not yet accepted.
    Deciding,
    /// Both ends accepted: neighbours.
    Active,
    /// With a seed.
    Session,
}

/// Why a dial was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// To gain a neighbour.
    Neighbor(PeerEntry),
    /// To see whether a lost neighbour lives. The text says how it was lost.
    Confirm(PeerEntry, String),
    /// To join a seed.
    Seed(SocketAddr),
}

/// All links and dials.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// In ascending order, each with the link at the same place in `links`. Every frame begins
    /// with this search, which is over a few cache lines.
    ids: Vec<LinkId>,
    links: Vec<Link>,
    neighbors: BTreeMap<NodeId, LinkId>,
    dials: BTreeMap<DialId, (Intent, Instant)>,
}

impl Link {
    /// A ping sent at `sent` was answered.
    pub(crate) fn measured(&mut self, now: Instant, sent: Instant) {
        let sample = now.since(sent);
        self.round_trip = match self.round_trip {
            ROUND_TRIP_GUESS => sample,
            smoothed => (smoothed * 7 + sample) / 8,
        };
    }
}

impl Links {
    /// A connection stands.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        id: LinkId,
        node: NodeId,
        remote: SocketAddr,
        dial: Option<DialId>,
    ) {
        let link = Link {
            node,
            remote,
            dial,
            phase: Phase::Greeting,
            opened_at: now,
            liveness: Liveness::new(now),
            silence: Silence::new(now),
            peer: None,
            name: String::new(),
            suspect_since: None,
            told: false,
            interests: BTreeMap::new(),
            slot: 0,
            round_trip: ROUND_TRIP_GUESS,
            pruned_at: Instant::ZERO,
            overload: Overload::default(),
        };
        match self.ids.binary_search(&id) {
            Ok(at) => self.links[at] = link,
            Err(at) => {
                self.ids.insert(at, id);
                self.links.insert(at, link);
            }
        }
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.ids.binary_search(&id).ok().map(|at| &self.links[at])
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.ids.binary_search(&id).ok().map(|at| &mut self.links[at])
    }

    /// Forgets a link.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let at = self.ids.binary_search(&id).ok()?;
        self.ids.remove(at);
        let link = self.links.remove(at);
        if self.neighbors.get(&link.node) == Some(&id) {
            self.neighbors.remove(&link.node);
        }
        Some(link)
    }

    /// How many connections there are, whatever their phase.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.ids.iter().copied().zip(&self.links)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LinkId, &mut Link)> {
        self.ids.iter().copied().zip(&mut self.links)
    }

    /// The link becomes the one with its node: deciding or active.
    pub(crate) fn claim(&mut self, id: LinkId) {
        if let Some(link) = self.get(id) {
            self.neighbors.insert(link.node, id);
        }
    }

    /// Both ends accepted: the link gets a slot.
    pub(crate) fn activate(&mut self, id: LinkId) {
        let taken = self.active().fold(0u64, |taken, (_, link)| taken | 1 << (link.slot & 63));
        if let Some(link) = self.get_mut(id) {
            link.phase = Phase::Active;
            link.slot = u8::try_from(taken.trailing_ones().min(63)).unwrap_or(63);
        }
    }

    /// The link with a node that is deciding or active.
    pub(crate) fn neighbor(&self, node: &NodeId) -> Option<LinkId> {
        self.neighbors.get(node).copied()
    }

    /// Links that are deciding or active.
    pub(crate) fn neighbor_count(&self) -> usize {
        self.neighbors.len()
    }

    /// Links that are active.
    pub(crate) fn active(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.iter().filter(|(_, link)| link.phase == Phase::Active)
    }

    /// Links that are active and not suspect.
    pub(crate) fn healthy(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.active().filter(|(_, link)| link.suspect_since.is_none())
    }

    /// A dial is under way.
    pub(crate) fn dialing(&mut self, now: Instant, dial: DialId, intent: Intent) {
        self.dials.insert(dial, (intent, now));
    }

    /// A dial ended.
    pub(crate) fn dialed(&mut self, dial: DialId) -> Option<Intent> {
        self.dials.remove(&dial).map(|(intent, _)| intent)
    }

    /// Dials to peers under way.
    pub(crate) fn dials(&self) -> usize {
        self.dials.values().filter(|(intent, _)| !matches!(intent, Intent::Seed(_))).count()
    }

    /// Dials to peers that hold up further ones: where somebody lives, most are over before.
    pub(crate) fn fresh_dials(&self, now: Instant) -> usize {
        let fresh = |(intent, since): &&(Intent, Instant)| {
            !matches!(intent, Intent::Seed(_)) && now.since(*since) < DIAL_FRESH
        };
        self.dials.values().filter(fresh).count()
    }

    /// Neighbours that are about to be: no topic counts them yet.
    pub(crate) fn coming(&self, now: Instant) -> usize {
        let silent = |link: &&Link| match link.phase {
            Phase::Deciding => true,
            Phase::Active => !link.told,
            Phase::Greeting | Phase::Session => false,
        };
        self.fresh_dials(now) + self.links.iter().filter(silent).count()
    }

    /// Whether a dial to this node is under way, or became a link that is not claimed yet.
    pub(crate) fn is_dialing(&self, node: &NodeId) -> bool {
        let dialed = self.dials.values().any(|(intent, _)| match intent {
            Intent::Neighbor(peer) | Intent::Confirm(peer, _) => peer.node == *node,
            Intent::Seed(_) => false,
        });
        dialed
            || self.links.iter().any(|link| {
                link.phase == Phase::Greeting && link.dial.is_some() && link.node == *node
            })
    }
}
