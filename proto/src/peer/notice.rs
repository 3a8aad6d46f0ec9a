//! What a peer tells its log.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::{Incarnation, NodeId, Origin, Topic};
use crate::wire::batch::Batch;
use crate::wire::frame::{PeerEntry, Reason};

/// For the log: what happened that people and scripts look for.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A batch was received for the first time, with each of its messages.
    FirstReceipt {
        /// The batch.
        batch: Arc<Batch>,
        /// The neighbour that brought it.
        from: NodeId,
        /// How many links it crossed.
        hop: u8,
    },
    /// Messages of this peer were signed and sent.
    Published {
        /// The batch.
        batch: Arc<Batch>,
    },
    /// A seed took the registration and answered with a list of peers.
    SeedJoined {
        /// The seed's address.
        seed: SocketAddr,
        /// How many seeds are joined now.
        joined: usize,
        /// How many are needed.
        quorum: usize,
        /// The list.
        peers: Vec<PeerEntry>,
    },
    /// A seed is lost.
    SeedLost {
        /// The seed's address.
        seed: SocketAddr,
        /// Why.
        cause: String,
        /// How many seeds are joined now.
        joined: usize,
    },
    /// A majority of the seeds is joined now (`true`), or not any more.
    Quorum(bool),
    /// A neighbour is linked.
    NeighborUp {
        /// The neighbour.
        peer: PeerEntry,
        /// How many neighbours there are now.
        neighbors: usize,
    },
    /// A neighbour is gone.
    NeighborDown {
        /// The neighbour.
        peer: PeerEntry,
        /// Why.
        cause: String,
        /// How many neighbours there are now.
        neighbors: usize,
    },
    /// A neighbour missed too many replies, or was lost and cannot be reached: reported.
    DeadNode {
        /// The neighbour.
        peer: PeerEntry,
        /// Why.
        cause: String,
    },
    /// A reported neighbour was heard again: the report is withdrawn.
    Refuted {
        /// The neighbour.
        peer: PeerEntry,
    },
    /// A majority of the seeds declared a node dead.
    DeclaredDead {
        /// The node.
        node: NodeId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// This node itself had been declared dead, and goes on with a new incarnation.
    Returned {
        /// The new life.
        incarnation: Incarnation,
    },
    /// A ping goes to a silent neighbour.
    LivenessRequest {
        /// The neighbour's address.
        to: SocketAddr,
    },
    /// A neighbour answered a ping.
    LivenessReply {
        /// The neighbour's address.
        from: SocketAddr,
    },
    /// A link was refused, dropped or closed for a reason that people should see.
    LinkRefused {
        /// The other end.
        remote: SocketAddr,
        /// Who it is.
        node: NodeId,
        /// Why.
        reason: Reason,
        /// In words.
        text: String,
    },
    /// A neighbour sent a batch that its origin did not sign; the link is closed.
    Forged {
        /// The batch.
        batch: Arc<Batch>,
        /// The neighbour.
        from: NodeId,
    },
    /// The seeds are others than the configuration says, or than they were.
    SeedSet {
        /// Rises with each decision of the seeds.
        version: u64,
        /// Their addresses, ordered.
        seeds: Vec<SocketAddr>,
    },
    /// A batch is known to exist and did not come in time: a neighbour is asked for it.
    Hole {
        /// The topic.
        topic: Topic,
        /// The stream; `None` while nothing else of it was received.
        origin: Option<Origin>,
        /// First sequence number.
        from: u64,
        /// Last sequence number that is asked for; the batch that is asked for may end later.
        to: u64,
        /// The neighbour that is asked.
        asked: NodeId,
        /// By a graft, because the neighbour announced it; else by a pull.
        graft: bool,
    },
    /// A batch that was asked for is here.
    Repaired {
        /// The topic.
        topic: Topic,
        /// The stream.
        origin: Origin,
        /// First sequence number.
        from: u64,
        /// Last sequence number.
        to: u64,
        /// The neighbour that supplied it.
        by: NodeId,
        /// It came by itself, before the neighbour that was asked supplied it.
        late: bool,
    },
}
