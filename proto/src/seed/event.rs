//! What crosses the border between a seed's protocol and its shell.

use std::net::SocketAddr;

use crate::id::{Incarnation, NodeId, RequestId, Topic};
use crate::seed::memory::Change;
use crate::wire::frame::{AdminAnswer, AdminCommand, PeerEntry, Reason};

/// What the shell may ask of a seed.
#[derive(Clone, Debug)]
pub enum Command {
    /// Tell everybody that this seed stops. Answered by [`Event::Left`]; then nothing happens.
    Leave {
        /// Echoed.
        request: RequestId,
    },
    /// What an operator asks. Answered by [`Event::Admin`].
    Admin {
        /// Echoed.
        request: RequestId,
        /// What.
        command: AdminCommand,
    },
    /// The disk has lost rows, and what is left of it is trusted no more: all rows are written
    /// anew.
    Rewrite,
}

/// What the log is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The goodbyes are queued.
    Left {
        /// That of the command.
        request: RequestId,
    },
    /// An operator is answered.
    Admin {
        /// That of the command.
        request: RequestId,
        /// The answer.
        answer: AdminAnswer,
    },
    /// For the log.
    Notice(Notice),
}

/// For the log: what happened that people and scripts look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A peer or a seed connected.
    Connection {
        /// Where it can be dialled.
        address: SocketAddr,
        /// Where the connection came from.
        remote: SocketAddr,
        /// Who it is.
        node: NodeId,
        /// `peer` or `seed`.
        role: &'static str,
    },
    /// A connection ended.
    Disconnected {
        /// Where the other end can be dialled.
        address: SocketAddr,
        /// Who it is.
        node: NodeId,
        /// `peer` or `seed`.
        role: &'static str,
        /// Why.
        cause: String,
    },
    /// A peer registered here.
    Registered {
        /// The peer.
        peer: PeerEntry,
        /// Its name.
        name: String,
        /// How many peers are listed now.
        peers: usize,
        /// How many peers the answer named.
        sample: usize,
    },
    /// A peer left gracefully.
    Left {
        /// The peer.
        peer: PeerEntry,
        /// How many peers are listed now.
        peers: usize,
    },
    /// A lease ran out without a renewal.
    Expired {
        /// The peer.
        peer: PeerEntry,
        /// How many peers are listed now.
        peers: usize,
    },
    /// A peer, or this seed itself, accuses a peer.
    Reported {
        /// The accused.
        peer: PeerEntry,
        /// Where the accuser can be dialled.
        reporter: SocketAddr,
    },
    /// A report was withdrawn, or the accused answered a probe.
    Refuted {
        /// The accused.
        peer: PeerEntry,
        /// How.
        cause: &'static str,
    },
    /// The accused did not answer this seed's probe: it votes.
    Voted {
        /// The accused.
        peer: PeerEntry,
        /// How many seeds have voted.
        votes: usize,
        /// How many votes are needed.
        quorum: usize,
    },
    /// A majority of the seeds voted: the peer is dropped, with its subscriptions.
    Dead {
        /// The peer.
        peer: PeerEntry,
        /// How many peers are listed now.
        peers: usize,
    },
    /// An operator wanted it to be forgotten, and it is listed here no more.
    Forgotten {
        /// The peer.
        peer: PeerEntry,
        /// How many peers are listed now.
        peers: usize,
    },
    /// A dead or unknown peer came back.
    Returned {
        /// The peer.
        peer: PeerEntry,
        /// The life it is in now.
        incarnation: Incarnation,
    },
    /// A topic was created.
    TopicCreated {
        /// The topic.
        topic: Topic,
        /// Its host.
        host: NodeId,
    },
    /// A topic was deleted.
    TopicDeleted {
        /// The topic.
        topic: Topic,
        /// Its host.
        host: NodeId,
    },
    /// A topic had neither host nor subscriber for too long, and is there no more.
    TopicDropped {
        /// The topic.
        topic: Topic,
        /// Its last host.
        host: NodeId,
    },
    /// A peer subscribed to a topic.
    Subscribed {
        /// The peer.
        node: NodeId,
        /// The topic.
        topic: Topic,
        /// How many subscribers it has now.
        subscribers: usize,
    },
    /// A peer unsubscribed from a topic.
    Unsubscribed {
        /// The peer.
        node: NodeId,
        /// The topic.
        topic: Topic,
        /// How many subscribers it has now.
        subscribers: usize,
    },
    /// This seed votes from now on.
    Votes {
        /// Others began with it, and none of them had voted before.
        founded: bool,
    },
    /// The seeds have agreed on who the seeds are.
    SeedSet {
        /// Rises with each decision.
        version: u64,
        /// The seeds, or those that there will be.
        seeds: Vec<SocketAddr>,
        /// While the set changes: the seeds so far.
        before: Option<Vec<SocketAddr>>,
        /// This seed is among them. If not, it votes on nothing and serves nobody.
        is_member: bool,
    },
    /// This seed starts with a set that was agreed on, and its configuration names another.
    ConfigDiffers {
        /// The version of the set.
        version: u64,
        /// The seeds, which hold.
        seeds: Vec<SocketAddr>,
        /// This seed is among them.
        is_member: bool,
    },
    /// Another seed is linked (`true`) or lost.
    SeedLink {
        /// The other seed.
        seed: SocketAddr,
        /// Whether it is linked now.
        up: bool,
        /// How many seeds are reachable now, this one included.
        reachable: usize,
        /// How many seeds there are.
        total: usize,
    },
    /// A link was refused or closed for a reason that people should see.
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
}

/// What a seed keeps over restarts: changes of its disk, all or none of which are made.
pub type Durable = Vec<Change>;
