//! What a seed shows of itself to people, metrics and the HTTP views.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, Topic};
use crate::stats::SeedStats;
use crate::time::Instant;
use crate::wire::frame::{PeerEntry, PeerState};

/// A seed, as of now.
#[derive(Clone, Debug)]
pub struct SeedStatus {
    /// Its identity.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// It has lost its memory, or never had one, and does not vote before it has learned what
    /// others know.
    pub learning: bool,
    /// Frames that wait for the disk.
    pub held: usize,
    /// Seeds that are reachable, this one included.
    pub reachable: usize,
    /// floor(n/2)+1.
    pub quorum: usize,
    /// Enough are reachable to decide; while the set changes, of the seeds before as well.
    pub has_quorum: bool,
    /// The version of the set of seeds; 0 is that of the configuration.
    pub set_version: u64,
    /// The set is being changed.
    pub changing: bool,
    /// This seed is in the set.
    pub member: bool,
    /// All seeds of the set, ordered by address.
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
    /// Where it serves HTTP, if the set says so.
    pub http: Option<SocketAddr>,
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

/// A peer's session with this seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Who it is.
    pub node: NodeId,
    /// Where it says it can be dialled.
    pub address: SocketAddr,
    /// Where the connection came from.
    pub remote: SocketAddr,
    /// Its name.
    pub name: String,
    /// When it connected.
    pub since: Instant,
    /// The life that it registered on this connection, if any.
    pub registered: Option<Incarnation>,
    /// Pings sent since it was last heard.
    pub unanswered_pings: u32,
}

/// A verdict of death. A seed keeps those that it came to over its restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// The peer, and the life that ended.
    pub peer: PeerEntry,
    /// Its name.
    pub name: String,
    /// When this seed had votes of a majority, in microseconds since 1970 by its own clock.
    pub at_us: i64,
    /// Who reported it here: peers, seeds that voted, this seed itself.
    pub reporters: Vec<NodeId>,
    /// How this seed's own probe went, in words.
    pub probe: String,
    /// Seeds that voted.
    pub voters: Vec<NodeId>,
}

/// The overlay as peers report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// How many peers are listed in all.
    pub total: usize,
    /// Peers, ordered by id.
    pub nodes: Vec<TopologyNode>,
    /// Links between them, each once with the smaller id first, ordered.
    pub edges: Vec<(NodeId, NodeId)>,
}

/// A peer in a picture of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyNode {
    /// The peer.
    pub peer: PeerEntry,
    /// Its name.
    pub name: String,
    /// What the seed believes.
    pub state: PeerState,
}
