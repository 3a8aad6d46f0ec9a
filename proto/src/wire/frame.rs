//! Every frame, and what its receiver does with it.

mod admin;
mod gossip;
mod rendezvous;
mod topics;

pub use admin::*;
pub use gossip::*;
pub use rendezvous::*;
pub use topics::*;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, RequestId, Topic};
use crate::wire::record::SignedRecord;

/// The version of the protocol that a [`Hello`] declares; another one is refused.
pub const PROTOCOL_VERSION: u16 = 2;
/// The longest cluster name, in bytes.
pub const CLUSTER_BYTES_MAX: usize = 64;
/// The most topic hashes in a [`Hello`]: keeps the first frame under 4 KiB.
pub const WANTED_MAX: usize = 256;
/// The most peers in any list on the wire (design: sample of 64).
pub const SAMPLE_MAX: usize = 64;
/// The most interests in one frame.
pub const INTERESTS_MAX: usize = 128;
/// The most stream heads in one frame.
pub const HEADS_MAX: usize = 900;
/// The most ranges in one pull.
pub const RANGES_MAX: usize = 256;
/// The most bytes of batches sent in answer to one pull; the rest is pulled again. A batch more may
/// follow.
pub const PULL_BYTES_MAX: usize = 1 << 20;
/// The most batches or origins in an announcement or a graft.
pub const NAMES_MAX: usize = 1_000;
/// The most records in one frame.
pub const RECORDS_MAX: usize = 128;
/// The most filters that a peer watches. Each is compared with each new topic at each seed that
/// it has joined. Guess: an application has a few, a bridge hundreds.
pub const FILTERS_MAX: usize = 1_000;
/// The ranges of keys in which seeds compare a table (design §6.23).
pub const RANGE_HASHES_MAX: usize = 256;
/// The most leases in one frame.
pub const LEASES_MAX: usize = 1_000;
/// The most items in one page of a list.
pub const PAGE_MAX: usize = 128;
/// The longest text in a [`Goodbye`] or a filter, in bytes.
pub const TEXT_BYTES_MAX: usize = 255;

/// What travels on a link.
///
/// The order of the variants is the kind on the wire: new ones go right before [`Frame::Batch`],
/// none is ever removed or moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    /// The first frame on every link, from both ends. Check version, cluster and purpose; answer
    /// a wrong one with [`Frame::Goodbye`].
    Hello(Box<Hello>),
    /// The last frame on a link. The sender closes after it; the link is not suspect.
    Goodbye(Goodbye),
    /// Answer with [`Frame::Pong`] and the same nonce at once.
    Ping(u64),
    /// Proof of life, as any other frame.
    Pong(u64),
    /// The sender takes the receiver as a neighbour. Active once sent and received.
    Accept,
    /// The sender has no room. Close, and try the alternatives.
    Refuse(Vec<PeerEntry>),
    /// What the sender wants from topics on this link; replaces what it said of them before.
    Interests(Vec<Interest>),
    /// Some of the sender's neighbours and known peers. Keep, and answer with as many.
    Shuffle(Vec<PeerEntry>),
    /// The answer to a shuffle.
    ShuffleReply(Vec<PeerEntry>),
    /// A hash of the sender's stream heads of a topic. When yours differs, answer with
    /// [`Frame::Heads`].
    Digest(Digest),
    /// How far the sender is in the streams of a topic. Pull what you miss; where you hold more,
    /// answer with your own heads unless this is an answer.
    Heads(Heads),
    /// Send what you retain of these ranges, then [`Frame::PullDone`].
    Pull(Pull),
    /// All that the sender retains of the pulled ranges has been sent.
    PullDone(PullDone),

    /// Peer to seed: check, keep and spread the peer's record; answer with
    /// [`Frame::Registered`] or [`Frame::RegisterRefused`].
    Register(Box<Register>),
    /// The peer is listed until the lease ends.
    Registered(Registered),
    /// That life of the peer has been declared dead: return with a higher incarnation.
    RegisterRefused(Incarnation),
    /// Peer to seed: prolong the lease; answer with [`Frame::Renewed`].
    Renew(Renew),
    /// The answer to a renewal. When the seed does not know the peer (any more), the peer
    /// registers again and repeats its records.
    Renewed(Renewed),
    /// Keep and spread these records; answer with [`Frame::PutDone`].
    Put(Put),
    /// The records are kept, but for those refused.
    PutDone(PutDone),
    /// Answer with [`Frame::Sample`].
    SampleRequest(SampleRequest),
    /// Random live peers.
    Sample(Sample),
    /// Answer with [`Frame::Found`].
    Lookup(Lookup),
    /// What the seed knows of a topic.
    Found(Box<Found>),
    /// Answer with [`Frame::PeerPage`] or [`Frame::TopicPage`].
    List(List),
    /// A page of the peers that the seed knows.
    PeerPage(PeerPage),
    /// A page of the topics that the seed knows.
    TopicPage(TopicPage),
    /// Peer to seed: a neighbour missed three replies or was lost; or that is withdrawn.
    Report(Report),
    /// Seed to peer: this life of a node was declared dead. Drop it and all it owned.
    Dead(Dead),

    /// Seed to seed: merge, spread nothing further.
    Records(Vec<SignedRecord>),
    /// Seed to seed: leases renewed at the sender.
    Leases(Vec<Lease>),
    /// Seed to seed: a hash of all records. When yours differs, answer with
    /// [`Frame::RecordsRequest`].
    TableDigest([u8; 32]),
    /// Seed to seed: send the records of all ranges in which your hash differs from this one.
    RecordsRequest(Box<RangeHashes>),

    /// Batches that the sender has and does not push on this link. Graft what does not come.
    Announce(Announce),
    /// Push no more of this origin's batches on this link: announce them.
    Prune(Prune),
    /// Push batches of these origins on this link, and send those that are named now.
    Graft(Graft),
    /// Push everything of the topic on this link: the sender has just come.
    GraftAll(Topic),

    /// Send what you retain of this selection, then [`Frame::HistoryDone`].
    History(Box<History>),
    /// A part of the selection, or the rest of it, has been sent.
    HistoryDone(HistoryDone),

    /// Peer to seed: have the seeds agree on this record of a topic; answer with
    /// [`Frame::Proposed`].
    Propose(Box<Propose>),
    /// The end of a proposal.
    Proposed(Proposed),
    /// Peer to seed: tell me of these topics, with [`Frame::TopicNews`] and [`Frame::Watched`].
    Watch(Watch),
    /// All news that there were when the watch came have been sent.
    Watched(RequestId),
    /// Seed to peer: records of topics that it watches, and that it may not know.
    TopicNews(Vec<SignedRecord>),
    /// Seed to seed: a step of an agreement.
    Decree(Decree),
    /// Seed to seed: the sender has lost its memory. Accept nothing below a ballot above all that
    /// was promised, and answer with [`Frame::Votes`].
    VotesRequest,
    /// Seed to seed: what was accepted.
    Votes(Votes),

    /// Seed to seed: the sender votes no more that this life of a node is over.
    VoteWithdrawn(NodeId, Incarnation),

    /// Seed to seed: does the receiver still vote that this life of a node is over?
    VoteAsked(NodeId, Incarnation, RequestId),

    /// Seed to seed: the answer, with the round of the question. The other one is
    /// [`Frame::VoteWithdrawn`].
    VoteStands(NodeId, Incarnation, RequestId),

    /// A seed tells which seeds there are: a [`crate::wire::record::SeedSetRecord`] on which the
    /// seeds have agreed.
    SeedSet(Box<SignedRecord>),
    /// Seed to seed: while the set of this version changes, the sender has seen to it that all
    /// that it holds is held by majorities of the sets before and after.
    Settled(u64),
    /// An operator, who has the key of the receiver, asks something of it; answer with
    /// [`Frame::AdminDone`].
    Admin(RequestId, AdminCommand),
    /// The answer.
    AdminDone(RequestId, Box<AdminAnswer>),
    /// Seeds to each other: a peer is to be forgotten.
    Forgetting(Forgetting),

    /// To the neighbour that pushes a stream here: how far it has come, here and behind.
    Reached(Reached),

    /// A batch. Not encoded as the rest is: see [`crate::wire::codec`].
    #[serde(skip)]
    Batch(BatchFrame),
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Carries messages.
    Peer,
    /// Lets peers meet.
    Seed,
}

/// What the dialling node wants of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Peer to peer: to become neighbours.
    Neighbor,
    /// Peer to seed: to register and ask.
    Session,
    /// Seed to seed: to share tables.
    Table,
    /// To see whether somebody answers; closed after the answer.
    Probe,
    /// An operator to a seed, with the seed's own key.
    Admin,
}

/// Who the sender is and what it wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u16,
    /// Nodes of another cluster are refused. At most [`CLUSTER_BYTES_MAX`].
    pub cluster: String,
    /// What the sender is.
    pub role: Role,
    /// What the dialling end wants; the other end repeats it.
    pub purpose: Purpose,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// Where the sender can be dialled.
    pub address: SocketAddr,
    /// The sender's name for people.
    pub name: String,
    /// Hashes of topics for which the sender lacks neighbours, at most [`WANTED_MAX`].
    pub wanted: Vec<u64>,
    /// The sender has no neighbour at all for one of them.
    pub urgent: bool,
}

/// Why a link ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// For programs.
    pub reason: Reason,
    /// For people, at most [`TEXT_BYTES_MAX`] bytes.
    pub text: String,
}

/// Why a link ends, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The node leaves the cluster.
    Leaving,
    /// Another link between the two is kept.
    Duplicate,
    /// The link serves no topic any more, or was a probe.
    NotNeeded,
    /// Another cluster.
    WrongCluster,
    /// Another version of the protocol.
    WrongVersion,
    /// A seed was asked to be a neighbour, or a peer to be a seed.
    WrongRole,
    /// The other end broke the protocol.
    Violation,
    /// The other end does not read what it is sent.
    TooSlow,
    /// No first frame in time.
    Timeout,
    /// The other end was silent for too long.
    Suspect,
    /// That life of the other end was declared dead.
    DeclaredDead,
    /// The node dialled itself.
    Yourself,
    /// The node that answered is not the one that was dialled.
    Unexpected,
    /// The seed that is dialled, or that dials, is not in the set of seeds.
    NotInSet,
    /// The other end passed on a batch that its origin did not sign.
    Forged,
}

/// A peer as others pass it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PeerEntry {
    /// The peer.
    pub node: NodeId,
    /// Its life, as far as known.
    pub incarnation: Incarnation,
    /// Where it can be dialled.
    pub address: SocketAddr,
}
