//! Every frame, and what its receiver does with it.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, Origin, RequestId, Topic};
use crate::wire::batch::Batch;
use crate::wire::record::SignedRecord;

/// The version of the protocol that a [`Hello`] declares; another one is refused.
pub const PROTOCOL_VERSION: u16 = 1;
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
/// The most batches or origins in an announcement or a graft.
pub const NAMES_MAX: usize = 1_000;
/// The most records in one frame.
pub const RECORDS_MAX: usize = 128;
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
    /// Seed to seed: send all records.
    RecordsRequest,

    /// Batches that the sender has and does not push on this link. Graft what does not come.
    Announce(Announce),
    /// Push no more of this origin's batches on this link: announce them.
    Prune(Prune),
    /// Push batches of these origins on this link, and send those that are named now.
    Graft(Graft),
    /// Push everything of the topic on this link: the sender has just come.
    GraftAll(Topic),

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

/// What a node wants from a topic on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing any more.
    None,
    /// To push its own publications; wants no batches.
    Publishes,
    /// To receive and to pass on.
    Subscribes,
}

/// A topic and what the sender wants from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// The topic.
    pub topic: Topic,
    /// What is wanted.
    pub mode: Mode,
}

/// A hash of the heads of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The topic.
    pub topic: Topic,
    /// Hash over (origin, highest sequence number) of all streams.
    pub hash: [u8; 32],
}

/// How far a node is in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The stream.
    pub origin: Origin,
    /// The lowest sequence number that is retained.
    pub low: u64,
    /// The highest sequence number up to which nothing is missing.
    pub high: u64,
    /// Age of the newest batch, in milliseconds since it was published, as well as known.
    pub age_ms: u32,
}

/// How far a node is in the streams of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heads {
    /// The topic.
    pub topic: Topic,
    /// Newest first, at most [`HEADS_MAX`].
    pub heads: Vec<Head>,
    /// Whether this answers heads or a digest, and so wants no answer.
    pub answer: bool,
}

/// A part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The stream.
    pub origin: Origin,
    /// First sequence number.
    pub from: u64,
    /// Last sequence number.
    pub to: u64,
}

/// A request for retained batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Echoed in [`PullDone`].
    pub request: RequestId,
    /// The topic.
    pub topic: Topic,
    /// What is missing, at most [`RANGES_MAX`].
    pub ranges: Vec<Range>,
    /// Only batches published at most this long ago.
    pub age_max_ms: u32,
}

/// The end of the answer to a pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullDone {
    /// That of the pull.
    pub request: RequestId,
    /// The topic.
    pub topic: Topic,
    /// Not all was sent, because it is too much for one answer: pull again.
    pub more: bool,
    /// The first number of the first pulled stream that is no older than was asked, or the one
    /// after the last when all are older; `None` when the answerer does not know.
    pub begin: Option<u64>,
}

/// A peer introduces itself to a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// A [`crate::wire::record::PeerRecord`] of the sender.
    pub record: SignedRecord,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The peer stays listed this long without a renewal.
    pub lease_ms: u32,
    /// Random live peers, at most [`SAMPLE_MAX`], without the asker.
    pub peers: Vec<PeerEntry>,
    /// How many live peers the seed knows, the asker included.
    pub total: u32,
}

/// A lease is prolonged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The peer's life.
    pub incarnation: Incarnation,
    /// Its neighbours, at most 48; how seeds see a split overlay.
    pub neighbors: Vec<NodeId>,
}

/// The answer to a renewal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// The new lease; 0 when the seed does not know the peer.
    pub lease_ms: u32,
    /// Peers to link with, because the asker is outside the largest part of the overlay.
    pub targets: Vec<PeerEntry>,
}

/// Records to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Echoed in the answer.
    pub request: RequestId,
    /// At most [`RECORDS_MAX`], all owned by the sender.
    pub records: Vec<SignedRecord>,
}

/// The answer to [`Put`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PutDone {
    /// That of the put.
    pub request: RequestId,
    /// The records that stand against refused ones; empty when all were kept.
    pub refused: Vec<SignedRecord>,
}

/// A request for random live peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRequest {
    /// Echoed in the answer.
    pub request: RequestId,
    /// Subscribers of this topic; [`Topic::overlay`] for any peer.
    pub topic: Topic,
}

/// Random live peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// That of the request.
    pub request: RequestId,
    /// That of the request.
    pub topic: Topic,
    /// At most [`SAMPLE_MAX`], without the asker.
    pub peers: Vec<PeerEntry>,
    /// How many there are in all, the asker included.
    pub total: u32,
}

/// A question about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Echoed in the answer.
    pub request: RequestId,
    /// The topic.
    pub topic: Topic,
}

/// What a seed knows of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// That of the request.
    pub request: RequestId,
    /// The topic.
    pub topic: Topic,
    /// The [`crate::wire::record::TopicRecord`], also of a deleted topic.
    pub record: Option<SignedRecord>,
    /// Random live subscribers, at most [`SAMPLE_MAX`], without the asker.
    pub subscribers: Vec<PeerEntry>,
    /// How many subscribers there are in all.
    pub total: u32,
}

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Peers, ordered by address.
    Peers,
    /// Topics that are not deleted, ordered by name.
    Topics,
}

/// A request for a page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Echoed in the answer.
    pub request: RequestId,
    /// What is listed.
    pub kind: Kind,
    /// Topics: an MQTT filter. Peers: a part of name, address or id. Empty for all.
    pub filter: String,
    /// How many matching items to leave out.
    pub offset: u32,
    /// The most items wanted; at most [`PAGE_MAX`] come.
    pub limit: u32,
}

/// What a seed believes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerState {
    /// Nothing speaks against it.
    Alive,
    /// Reported, and not yet judged.
    Suspect,
    /// Declared dead; listed for a while so that people can see it.
    Dead,
}

/// A peer in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerItem {
    /// The peer.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its first address.
    pub address: SocketAddr,
    /// Its name.
    pub name: String,
    /// What the seed believes.
    pub state: PeerState,
}

/// A page of peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPage {
    /// That of the request.
    pub request: RequestId,
    /// How many match.
    pub total: u32,
    /// The page.
    pub items: Vec<PeerItem>,
}

/// A topic in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicItem {
    /// The name.
    pub topic: Topic,
    /// Its host.
    pub host: NodeId,
    /// Its generation.
    pub generation: u64,
    /// When it was created, in microseconds since 1970.
    pub created_at_us: i64,
    /// How many live peers subscribe to it.
    pub subscribers: u32,
}

/// A page of topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPage {
    /// That of the request.
    pub request: RequestId,
    /// How many match.
    pub total: u32,
    /// The page.
    pub items: Vec<TopicItem>,
}

/// A suspicion, or its withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The accused.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Where it was reached.
    pub address: SocketAddr,
    /// The accused was heard again.
    pub withdrawn: bool,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// The node.
    pub node: NodeId,
    /// The life that ended.
    pub incarnation: Incarnation,
    /// Signed [`crate::wire::record::DeathVote`]s of a majority of seeds.
    pub votes: Vec<SignedRecord>,
}

/// How long a peer stays listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The peer.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The rest of the lease, in milliseconds.
    pub remaining_ms: u32,
}

/// A batch by short names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchName {
    /// The first 64 bits of the BLAKE3 hash of the origin's key and incarnation.
    pub origin: u64,
    /// The first sequence number.
    pub first_seq: u64,
}

/// Batches that can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The topic.
    pub topic: Topic,
    /// At most [`NAMES_MAX`].
    pub batches: Vec<BatchName>,
}

/// A link becomes lazy for a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// The topic.
    pub topic: Topic,
    /// Short name of the origin.
    pub origin: u64,
    /// The tree that the duplicate came on: a bucket, or 255 for the origin's own.
    pub tree: u8,
}

/// One origin of a graft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraftItem {
    /// Short name of the origin.
    pub origin: u64,
    /// A bucket, or 255 for the origin's own tree.
    pub tree: u8,
    /// The batch to send now; 0 for none.
    pub first_seq: u64,
}

/// A link becomes eager for trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graft {
    /// The topic.
    pub topic: Topic,
    /// At most [`NAMES_MAX`].
    pub items: Vec<GraftItem>,
}

/// Why a batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is new, and this link is eager for it.
    Push,
    /// It was pulled.
    Pull,
}

/// A batch and the part of it that changes on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchFrame {
    /// Why it was sent.
    pub cause: Cause,
    /// How many links it has crossed, this one included.
    pub hop: u8,
    /// The tree that it travels on.
    pub tree: u8,
    /// How long ago it was published, in milliseconds, as well as known: each holder adds the
    /// time that it held it. A relative age needs no clocks that agree.
    pub age_ms: u32,
    /// The signed bytes.
    pub batch: Arc<Batch>,
}
