//! What a machine is told at its start. Every value is legal: the shell parses and checks what
//! people type. Defaults stand here and nowhere else, each with its origin.

use core::time::Duration;
use std::net::SocketAddr;

use crate::crypto::Scheme;
use crate::id::Incarnation;
use crate::peer::seed_set::KnownSeeds;
use crate::wire::frame::PeerEntry;
use crate::wire::record::SignedRecord;

/// Who a node is and where; the same for both roles.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Nodes of another cluster are refused.
    pub cluster: String,
    /// A name for people, perhaps empty.
    pub name: String,
    /// Where others dial this node.
    pub address: SocketAddr,
    /// This life.
    pub incarnation: Incarnation,
    /// How signatures are made and checked.
    pub scheme: Scheme,
    /// Microseconds from 1970 to the driver's origin of time, for what people read.
    pub wall_origin_us: i64,
    /// All randomness of the machine comes from this.
    pub rng_seed: [u8; 32],
}

/// When a silent neighbour becomes suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessConfig {
    /// A link that was silent this long is pinged. Default 1 s: three misses are noticed in 3 to
    /// 4 s, and a ping per idle link and second is about 100 bytes (design §5.18).
    pub interval: Duration,
    /// Unanswered pings in a row that make a neighbour suspect. Default 3: the users' rule.
    pub misses: u32,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), misses: 3 }
    }
}

/// The bounds of a peer's views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewsConfig {
    /// A topic with fewer neighbours looks for more. Default 8: with 30% of all peers lost at
    /// once, a peer is cut off with probability 0.3^8 = 0.007% (design §3.3).
    pub degree_target: usize,
    /// A topic with as many neighbours takes no more. Default 12 (GossipSub's D_high for D = 8).
    pub degree_max: usize,
    /// Links in all. Default 48: six topics of disjoint neighbours (design §3.3).
    pub links_max: usize,
    /// Known addresses without a link. Default 48, six times the degree (HyParView: 6 x active).
    pub passive_max: usize,
    /// Dials under way at once. Default 4 (design §3.5).
    pub dials_max: usize,
    /// A dial is given up after this. Default 2 s: two retransmissions of a lost SYN are not
    /// worth waiting for when there are other candidates.
    pub dial_timeout: Duration,
    /// Passive views are mixed with a neighbour this often. Default 30 s (design §3.3).
    pub shuffle_interval: Duration,
}

impl Default for ViewsConfig {
    fn default() -> Self {
        Self {
            degree_target: 8,
            degree_max: 12,
            links_max: 48,
            passive_max: 48,
            dials_max: 4,
            dial_timeout: Duration::from_secs(2),
            shuffle_interval: Duration::from_secs(30),
        }
    }
}

/// How much of a topic a subscriber keeps to answer pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Bytes per topic. Default 64 MiB (design §4.15).
    pub bytes_max: usize,
    /// Age. Default 10 min (design §4.15).
    pub age_max: Duration,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, age_max: Duration::from_secs(600) }
    }
}

/// How holes in streams are noticed and filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairConfig {
    /// A hole is pulled after this. Default 150 ms: the slowest tree path of the model takes
    /// 138 ms, so what is only late is not pulled (design §4.13).
    pub delay: Duration,
    /// A pull without an answer goes to the next neighbour after this. Default 500 ms, a slow
    /// round trip across continents.
    pub timeout: Duration,
    /// Heads are compared with a random neighbour this often. Default 5 s (design §4.14).
    pub digest_interval: Duration,
    /// A hole that nobody filled is reported as a gap after this. Default 30 s (design §4.15).
    pub gap_after: Duration,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(150),
            timeout: Duration::from_millis(500),
            digest_interval: Duration::from_secs(5),
            gap_after: Duration::from_secs(30),
        }
    }
}

/// Which batches of others a peer checks before it passes them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Verify {
    /// All: no peer has to trust another one.
    #[default]
    Every,
    /// A share of what authenticated neighbours push: a cluster whose peers all trust each other.
    /// What is asked for, what a topic retains, the first batch of a stream and the protocol's own
    /// news are always checked.
    Links,
}

/// How far batches of others are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipConfig {
    /// Which are checked. Default every one (design §4.8, §7.30).
    pub verify: Verify,
    /// Under [`Verify::Links`], the share of pushed batches that each peer checks, in per cent, 0
    /// to 100. Default 5: among 64 peers a forgery is found by somebody with a probability of 96%,
    /// and a check of 35 us costs 2 us a batch, a tenth of all that is done with it.
    pub verify_share: u8,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self { verify: Verify::Every, verify_share: 5 }
    }
}

/// How batches spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Dissemination {
    /// On a tree per origin, with announcements beside it.
    #[default]
    Trees,
    /// On all links, with duplicate detection: the fastest and most wasteful way, to compare
    /// with.
    Flood,
}

/// Everything a peer is told.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Who and where.
    pub identity: Identity,
    /// Addresses of all seeds; the peer joins floor(n/2)+1 of them. May be empty.
    pub seeds: Vec<SocketAddr>,
    /// The seeds as a former life came to know them, which hold instead of `seeds`.
    pub known_seeds: Option<KnownSeeds>,
    /// Peers known from a former life.
    pub known_peers: Vec<PeerEntry>,
    /// Records of its own topics from a former life.
    pub known_topics: Vec<SignedRecord>,
    /// When a neighbour is suspect.
    pub liveness: LivenessConfig,
    /// The bounds of the views.
    pub views: ViewsConfig,
    /// What is kept of each topic.
    pub retention: RetentionConfig,
    /// How holes are filled.
    pub repair: RepairConfig,
    /// How far batches of others are trusted.
    pub gossip: GossipConfig,
    /// How batches spread.
    pub dissemination: Dissemination,
    /// Topics that this peer subscribes to, publishes to or knows of. Default 10,000 (design §9).
    pub topics_max: usize,
    /// Streams whose position is remembered, per topic. Default 65,536 (design §4.10).
    pub streams_max: usize,
    /// A request to a seed without an answer goes to another after this. Default 1 s.
    pub request_timeout: Duration,
    /// Subscribing and publishing to a topic that does not exist makes this peer its host. Default
    /// false: a mistyped name is an error.
    pub auto_create: bool,
    /// The longest wait between two dials of a seed. Default 5 s, so that a peer is back soon
    /// after the seeds are.
    pub seed_backoff_max: Duration,
}

impl PeerConfig {
    /// The defaults for a peer of this identity and these seeds.
    pub fn new(identity: Identity, seeds: Vec<SocketAddr>) -> Self {
        Self {
            identity,
            seeds,
            known_seeds: None,
            known_peers: Vec::new(),
            known_topics: Vec::new(),
            liveness: LivenessConfig::default(),
            views: ViewsConfig::default(),
            retention: RetentionConfig::default(),
            repair: RepairConfig::default(),
            gossip: GossipConfig::default(),
            dissemination: Dissemination::default(),
            topics_max: 10_000,
            streams_max: 65_536,
            request_timeout: Duration::from_secs(1),
            auto_create: false,
            seed_backoff_max: Duration::from_secs(5),
        }
    }
}

/// Everything a seed is told.
#[derive(Clone, Debug)]
pub struct SeedConfig {
    /// Who and where.
    pub identity: Identity,
    /// Addresses of all seeds, this one included.
    pub seeds: Vec<SocketAddr>,
    /// When a session is suspect.
    pub liveness: LivenessConfig,
    /// A peer is listed this long after its last renewal. Default 90 s: renewals come every
    /// 30 s, so two may be lost.
    pub lease: Duration,
    /// Peers in a sample. Default 64, about 3 kB (design §3.2).
    pub sample: usize,
    /// Records of each kind that the tables hold. Default 1,000,000 (design §9).
    pub records_max: usize,
    /// Subscriptions and topics that one peer may register. Default 10,000 (design §9).
    pub records_per_peer_max: usize,
    /// An accused peer has this long to answer a probe. Default 2 s (design §5.19).
    pub probe_timeout: Duration,
    /// Tables of seeds are compared this often. Default 5 s (design §6.23).
    pub sync_interval: Duration,
    /// The dead stay listed this long. Default 10 min: longer than any
    /// report of a death travels.
    pub dead_kept: Duration,
    /// A topic whose host is dead or has left for this long may be taken over by another peer.
    /// Default 10 min (design §6.24).
    pub topic_orphan_after: Duration,
    /// A topic without host and without subscriber for this long is dropped. Default 24 h (design
    /// §6.24).
    pub topic_drop_after: Duration,
}

impl SeedConfig {
    /// The defaults for a seed of this identity among these seeds.
    pub fn new(identity: Identity, seeds: Vec<SocketAddr>) -> Self {
        Self {
            identity,
            seeds,
            liveness: LivenessConfig::default(),
            lease: Duration::from_secs(90),
            sample: 64,
            records_max: 1_000_000,
            records_per_peer_max: 10_000,
            probe_timeout: Duration::from_secs(2),
            sync_interval: Duration::from_secs(5),
            dead_kept: Duration::from_secs(600),
            topic_orphan_after: Duration::from_secs(600),
            topic_drop_after: Duration::from_secs(86_400),
        }
    }
}

/// floor(n/2)+1: two sets of as many seeds always share one. 0 of 0.
pub const fn quorum(seeds: usize) -> usize {
    if seeds == 0 { 0 } else { seeds / 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::quorum;

    #[test]
    fn two_quorums_always_share_a_seed() {
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(quorum), [0, 1, 2, 2, 3, 3, 4]);
        assert!((1..100).all(|n| 2 * quorum(n) > n));
    }
}
