//! What a seed shows of itself to people, metrics and the HTTP views.

use std::net::SocketAddr;

use crate::id::{Incarnation, NodeId, Topic};
use crate::stats::SeedStats;
use crate::wire::frame::PeerState;

/// A seed, as of now.
#[derive(Clone, Debug)]
pub struct SeedStatus {
    /// Its identity.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Seeds that are reachable, this one included.
    pub reachable: usize,
    /// floor(n/2)+1.
    pub quorum: usize,
    /// All configured seeds, in configured order.
    pub seeds: Vec<OtherSeed>,
    /// Peers that are alive or suspect.
    pub peers: usize,
    /// Of those, suspect ones.
    pub suspects: usize,
    /// Peers declared dead and still remembered.
    pub dead: usize,
    /// Topics that are not deleted.
    pub topics: usize,
    /// Peers with a session here.
    pub sessions: usize,
    /// Counters.
    pub stats: SeedStats,
}

/// A configured seed, as this seed sees it.
#[derive(Clone, Debug)]
pub struct OtherSeed {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity, once it was reached.
    pub node: Option<NodeId>,
    /// It is this seed.
    pub own: bool,
    /// A link to it stands.
    pub reachable: bool,
}

/// A peer, as this seed sees it.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Who it is.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its first address.
    pub address: SocketAddr,
    /// Its name.
    pub name: String,
    /// What the seed believes.
    pub state: PeerState,
    /// What it subscribes to.
    pub topics: Vec<Topic>,
    /// Its neighbours, when it has a session with this seed or told one that shares tables.
    pub neighbors: Vec<NodeId>,
    /// It has a session here.
    pub session: bool,
    /// The rest of its lease, in milliseconds.
    pub lease_ms: u32,
}

/// A topic, as this seed sees it.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// The name.
    pub topic: Topic,
    /// Its host.
    pub host: NodeId,
    /// Which creation of the name it is.
    pub generation: u64,
    /// When it was created, in microseconds since 1970.
    pub created_at_us: i64,
    /// Live subscribers.
    pub subscribers: Vec<NodeId>,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// How many match.
    pub total: usize,
    /// The page.
    pub items: Vec<T>,
}
