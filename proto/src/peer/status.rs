//! What a peer shows of itself to people and metrics.

use std::net::SocketAddr;

use crate::id::{Incarnation, NodeId, Origin, Topic};
use crate::stats::PeerStats;
use crate::wire::frame::PeerEntry;

/// A peer, as of now.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its identity.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Seeds that hold its registration.
    pub joined: usize,
    /// floor(n/2)+1.
    pub quorum: usize,
    /// All configured seeds.
    pub seeds: Vec<SeedStatus>,
    /// Active links to peers.
    pub neighbors: Vec<NeighborStatus>,
    /// Known addresses without a link.
    pub passive: usize,
    /// Topics that it subscribes to, hosts or publishes to.
    pub topics: Vec<TopicStatus>,
    /// Counters.
    pub stats: PeerStats,
}

/// A configured seed, as this peer sees it.
#[derive(Clone, Debug)]
pub struct SeedStatus {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity, once it was reached.
    pub node: Option<NodeId>,
    /// How far the session is.
    pub state: SeedState,
}

/// How far a session with a seed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedState {
    /// Holds this peer's registration.
    Joined,
    /// Dialled, or the registration is under way.
    Connecting,
    /// The last attempt failed; another follows.
    Unreachable,
    /// Not needed: enough others are joined.
    Spare,
}

/// A neighbour.
#[derive(Clone, Debug)]
pub struct NeighborStatus {
    /// Who it is.
    pub peer: PeerEntry,
    /// Its name.
    pub name: String,
    /// This peer dialled it.
    pub outbound: bool,
    /// Topics shared with it.
    pub topics: usize,
}

/// A topic at this peer.
#[derive(Clone, Debug)]
pub struct TopicStatus {
    /// The topic.
    pub topic: Topic,
    /// The application receives it.
    pub subscribed: bool,
    /// This peer hosts it.
    pub hosted: bool,
    /// Neighbours that share it.
    pub neighbors: usize,
    /// Batches retained.
    pub retained_batches: usize,
    /// Bytes retained.
    pub retained_bytes: usize,
    /// It has the message that the topic retains.
    pub retains: bool,
    /// Streams known.
    pub streams: usize,
}

/// What was received of one publisher in one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    /// The topic.
    pub topic: Topic,
    /// The publisher and its life.
    pub origin: Origin,
    /// The highest sequence number up to which nothing is missing.
    pub high: u64,
    /// The highest sequence number that is known to exist.
    pub known_high: u64,
    /// Batches held back because an earlier one is missing.
    pub held_batches: usize,
    /// Their bytes.
    pub held_bytes: usize,
    /// Messages known to exist that are not here.
    pub missing: u64,
    /// The smoothed time between publication and first receipt, in microseconds, by the clocks
    /// of both nodes; `None` before the first receipt.
    pub lag_us: Option<i64>,
}
