//! What peers and seeds say to each other.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, RequestId, Topic};
use crate::wire::frame::PeerEntry;
use crate::wire::record::SignedRecord;

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
    /// Random live peers, at most [`super::SAMPLE_MAX`], without the asker.
    pub peers: Vec<PeerEntry>,
    /// How many live peers the seed knows, the asker included.
    pub total: u32,
    /// The keys of the configured seeds as far as the sender knows them, its own among them.
    pub seeds: Vec<NodeId>,
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
    /// As in [`Registered`].
    pub seeds: Vec<NodeId>,
}

/// Records to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Echoed in the answer.
    pub request: RequestId,
    /// At most [`super::RECORDS_MAX`], all owned by the sender.
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
    /// At most [`super::SAMPLE_MAX`], without the asker.
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
    /// The highest generation of a topic, this one or another, whose mark of deletion the seed
    /// forgot: who creates the topic begins above it, as a seed that was away may still know of
    /// that deletion.
    pub forgotten: u64,
    /// Random live subscribers, at most [`super::SAMPLE_MAX`], without the asker.
    pub subscribers: Vec<PeerEntry>,
    /// How many subscribers there are in all.
    pub total: u32,
    /// Where its host is.
    pub hosting: Hosting,
}

/// Where a topic's host is, as a seed sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hosting {
    /// The seed knows no such topic, or it is deleted.
    #[default]
    None,
    /// The host is listed.
    Here(PeerEntry),
    /// The host has died or left.
    Away(Absence),
    /// As long ago that another peer may take the topic over.
    Orphaned(Absence),
    /// Nobody hosted it or subscribed to it for so long that it is there no more.
    Dropped,
}

/// How long a topic has been without its host, and what becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The host died or left so many milliseconds ago.
    pub gone_ms: u64,
    /// In so many milliseconds another peer may take the topic over; 0 when it may.
    pub takeover_in_ms: u64,
    /// In so many milliseconds the topic is dropped, unless somebody subscribes or the host
    /// returns; `None` while it has subscribers.
    pub drop_in_ms: Option<u64>,
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
    /// The most items wanted; at most [`super::PAGE_MAX`] come.
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

/// Hashes of the ranges of each table. A range that is left out is taken to differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeHashes {
    /// Of listed peers, by the first byte of their key.
    pub peers: Vec<u64>,
    /// Of their subscriptions, by the same.
    pub subscriptions: Vec<u64>,
    /// Of topics, by the first byte of the hash of their name.
    pub topics: Vec<u64>,
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
