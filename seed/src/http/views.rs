//! The pages as JSON. Converted by hand, so that the machine's types stay free to change.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidings_proto::NodeId;
use tidings_proto::seed::status;
use tidings_proto::wire::frame::PeerState;
use tidings_runtime::NetworkView;

/// A list, or a part of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Items<T> {
    /// How many there are in all.
    pub(crate) total: usize,
    pub(crate) items: Vec<T>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) node: String,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) addr: SocketAddr,
    pub(crate) incarnation: u64,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    /// A majority of the seeds is reachable, and this one votes.
    pub(crate) ready: bool,
    /// It has lost its memory, or never had one, and has yet to learn what the others know.
    pub(crate) learning: bool,
    /// Seeds that are reachable, this one included.
    pub(crate) reachable: usize,
    pub(crate) quorum: usize,
    pub(crate) seeds: usize,
    /// Rises with each decision on the set of seeds; 0 is the set of the configuration.
    pub(crate) set_version: u64,
    /// A seed is being added or removed.
    pub(crate) changing: bool,
    /// This seed is in the set.
    pub(crate) member: bool,
    /// Peers that are alive or suspect.
    pub(crate) peers: usize,
    pub(crate) suspects: usize,
    pub(crate) dead: usize,
    pub(crate) topics: usize,
    pub(crate) sessions: usize,
    pub(crate) counters: BTreeMap<String, u64>,
    /// What its links do and did.
    #[serde(flatten)]
    pub(crate) network: NetworkView,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) node: String,
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    /// `alive`, `suspect` or `dead`.
    pub(crate) state: String,
    pub(crate) topics: Vec<String>,
    pub(crate) neighbors: Vec<String>,
    /// It has a session with this seed.
    pub(crate) session: bool,
    /// The rest of its lease.
    pub(crate) lease_ms: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) topic: String,
    pub(crate) host: String,
    pub(crate) generation: u64,
    /// RFC 3339.
    pub(crate) created_at: String,
    pub(crate) subscribers: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Session {
    pub(crate) node: String,
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    /// Where the connection came from.
    pub(crate) remote: SocketAddr,
    /// RFC 3339.
    pub(crate) since: String,
    /// The life that it registered on this connection.
    pub(crate) registered: Option<u64>,
    pub(crate) unanswered_pings: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct Seed {
    pub(crate) addr: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) node: Option<String>,
    /// It is the one that answers.
    pub(crate) own: bool,
    pub(crate) reachable: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct TopologyNode {
    pub(crate) node: String,
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) neighbors: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Death {
    pub(crate) node: String,
    pub(crate) addr: SocketAddr,
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    /// When this seed had the votes of a majority, RFC 3339.
    pub(crate) at: String,
    /// Who reported it: peers, seeds that voted, this seed itself.
    pub(crate) reporters: Vec<String>,
    /// How this seed's own probe went.
    pub(crate) probe: String,
    pub(crate) voters: Vec<String>,
}

impl From<status::PeerView> for Peer {
    fn from(peer: status::PeerView) -> Self {
        Self {
            node: peer.node.to_string(),
            addr: peer.address,
            name: peer.name,
            incarnation: peer.incarnation.0,
            state: state(peer.state).to_owned(),
            topics: peer.topics.iter().map(ToString::to_string).collect(),
            neighbors: ids(&peer.neighbors),
            session: peer.session,
            lease_ms: peer.lease_ms,
        }
    }
}

impl From<status::TopicView> for Topic {
    fn from(topic: status::TopicView) -> Self {
        Self {
            topic: topic.topic.to_string(),
            host: topic.host.to_string(),
            generation: topic.generation,
            created_at: time(topic.created_at_us),
            subscribers: ids(&topic.subscribers),
        }
    }
}

pub(crate) fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Alive => "alive",
        PeerState::Suspect => "suspect",
        PeerState::Dead => "dead",
    }
}

pub(crate) fn ids(nodes: &[NodeId]) -> Vec<String> {
    nodes.iter().map(ToString::to_string).collect()
}

/// Microseconds since 1970 as RFC 3339 in UTC. What a peer claims may be out of range.
pub(crate) fn time(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
