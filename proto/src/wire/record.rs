//! Records: facts that one node owns, signs and versions, and that seeds keep and merge by
//! maximum. Whoever holds the higher version of a record holds the truth.

use core::cmp::Reverse;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::crypto::{Scheme, Signature, Signer};
use crate::id::{Incarnation, NodeId, Topic};

/// The most addresses a peer may register.
pub const ADDRESSES_MAX: usize = 8;
/// The longest node name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

const DOMAIN: &str = "tidings record 1";

/// A peer as others know it. Owner: the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// The peer.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Rises with each change within one life.
    pub version: u64,
    /// Where it can be dialled, best first; 1 to [`ADDRESSES_MAX`].
    pub addresses: Vec<SocketAddr>,
    /// A name for people, at most [`NAME_BYTES_MAX`] bytes, perhaps empty.
    pub name: String,
    /// The peer has left gracefully.
    pub left: bool,
}

/// That a peer wants, or no longer wants, a topic. Owner: the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionRecord {
    /// The subscriber.
    pub node: NodeId,
    /// Its life: subscriptions of a former life are void.
    pub incarnation: Incarnation,
    /// The topic.
    pub topic: Topic,
    /// Rises with each change within one life.
    pub version: u64,
    /// Whether the peer wants the topic.
    pub subscribed: bool,
}

/// The longest age of retained messages that a topic may ask for, in milliseconds: ten years.
pub const RETENTION_AGE_MS_MAX: u64 = 10 * 366 * 86_400_000;
/// The most bytes of retained messages that a topic may ask for: 1 TiB.
pub const RETENTION_BYTES_MAX: u64 = 1 << 40;

/// The highest generation or version of a topic: what follows one more never wraps.
pub const TOPIC_ORDINAL_MAX: u64 = 1 << 48;

/// The highest generation that seeds remember of topics whose marks of deletion they forgot. No
/// topic comes to more in centuries, and a seed that lies of it makes nobody ask for what others
/// refuse.
pub const FORGOTTEN_MAX: u64 = 1 << 31;

/// What a topic's host asks of those who keep its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopicPolicy {
    /// At most so many bytes of the topic's messages are kept, at most [`RETENTION_BYTES_MAX`];
    /// `None` leaves it to each peer.
    pub retention_bytes: Option<u64>,
    /// Messages are kept at most so long, in milliseconds, at most [`RETENTION_AGE_MS_MAX`];
    /// `None` leaves it to each peer.
    pub retention_age_ms: Option<u64>,
    /// The host, and subscribers that ask for it, keep the messages on disk.
    pub durable: bool,
}

impl TopicPolicy {
    /// Whether it is within limits.
    pub fn is_legal(&self) -> bool {
        self.retention_bytes.is_none_or(|bytes| bytes <= RETENTION_BYTES_MAX)
            && self.retention_age_ms.is_none_or(|age_ms| age_ms <= RETENTION_AGE_MS_MAX)
    }
}

/// A topic. Owner: its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The name.
    pub topic: Topic,
    /// Which creation of this name it is, from 1 to [`TOPIC_ORDINAL_MAX`]. Batches of an older one
    /// are void.
    pub generation: u64,
    /// Rises with each change of this generation, to [`TOPIC_ORDINAL_MAX`] at most.
    pub version: u64,
    /// The peer that created it and may delete it.
    pub host: NodeId,
    /// When it was created, in microseconds since 1970 by the host's clock. Information only.
    pub created_at_us: i64,
    /// How its messages are kept.
    pub policy: TopicPolicy,
    /// The host deleted it.
    pub deleted: bool,
}

impl TopicRecord {
    /// Of two records of one topic the one with the greater rank is true. Ranks are equal only
    /// without seeds, where nobody decides between hosts that create a topic at once: then the
    /// smaller host is meant.
    pub fn rank(&self) -> (u64, u64, Reverse<NodeId>) {
        (self.generation, self.version, Reverse(self.host))
    }
}

/// The most seeds of a cluster. Each decision asks all of them; nobody is known to run more than
/// a dozen of such.
pub const SEEDS_MAX: usize = 32;

/// A seed of the set of seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeedPlace {
    /// Its overlay address, which is what it is known by.
    pub address: SocketAddr,
    /// Where it serves HTTP, as far as that was said.
    pub http: Option<SocketAddr>,
}

/// Which seeds there are. Owner: the seed that proposed it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeedSetRecord {
    /// Rises with each decision on the set, from 1; the set of the configuration is 0.
    pub version: u64,
    /// The seeds, or those that there will be; 1 to [`SEEDS_MAX`], ordered by address.
    pub seeds: Vec<SeedPlace>,
    /// While the set changes: the seeds so far. One was added or removed.
    pub before: Option<Vec<SeedPlace>>,
    /// The seed that proposed it.
    pub author: NodeId,
}

impl SeedSetRecord {
    /// The last set that was not changing, with its version: what concerns peers.
    pub fn stable(&self) -> (u64, &[SeedPlace]) {
        match &self.before {
            Some(before) => (self.version - 1, before),
            None => (self.version, &self.seeds),
        }
    }

    fn is_legal(&self) -> bool {
        let ordered = |seeds: &[SeedPlace]| {
            (1..=SEEDS_MAX).contains(&seeds.len())
                && seeds.windows(2).all(|pair| pair[0].address < pair[1].address)
        };
        self.version > 0 && ordered(&self.seeds) && self.before.as_deref().is_none_or(ordered)
    }
}

/// A seed's word that a life of a node has ended. Owner: the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeathVote {
    /// The seed that votes.
    pub voter: NodeId,
    /// The accused.
    pub node: NodeId,
    /// The life that has ended; a later one is not concerned.
    pub incarnation: Incarnation,
}

/// Any record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// A peer.
    Peer(PeerRecord),
    /// A subscription.
    Subscription(SubscriptionRecord),
    /// A topic.
    Topic(TopicRecord),
    /// A vote.
    DeathVote(DeathVote),
    /// Which seeds there are.
    SeedSet(SeedSetRecord),
}

impl Record {
    /// The node whose signature makes this record valid.
    pub fn owner(&self) -> NodeId {
        match self {
            Self::Peer(record) => record.node,
            Self::Subscription(record) => record.node,
            Self::Topic(record) => record.host,
            Self::DeathVote(record) => record.voter,
            Self::SeedSet(record) => record.author,
        }
    }

    /// The name of the register in which the seeds agree on this record; none when they do not.
    pub fn register(&self) -> Option<Topic> {
        match self {
            Self::Topic(record) => Some(record.topic.clone()),
            Self::SeedSet(_) => Some(Topic::seeds()),
            Self::Peer(_) | Self::Subscription(_) | Self::DeathVote(_) => None,
        }
    }

    /// Whether its counts and lengths are within limits.
    pub fn is_legal(&self) -> bool {
        match self {
            Self::Peer(record) => {
                let addresses = record.addresses.len();
                (1..=ADDRESSES_MAX).contains(&addresses) && record.name.len() <= NAME_BYTES_MAX
            }
            Self::Topic(record) => {
                let owned = record.topic.requester().is_none_or(|node| node == record.host);
                let ordered = (1..=TOPIC_ORDINAL_MAX).contains(&record.generation)
                    && record.version <= TOPIC_ORDINAL_MAX;
                ordered && owned && !record.topic.is_internal() && record.policy.is_legal()
            }
            Self::Subscription(record) => !record.topic.is_internal(),
            Self::DeathVote(_) => true,
            Self::SeedSet(record) => record.is_legal(),
        }
    }
}

/// A record and its owner's signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// What is claimed.
    pub record: Record,
    /// The owner's signature over it.
    pub signature: Signature,
}

impl SignedRecord {
    /// Signs `record`; `signer` is its owner.
    pub fn sign(record: Record, signer: &Signer) -> Self {
        debug_assert_eq!(record.owner(), signer.node(), "only the owner signs a record");
        let signature = signer.sign(DOMAIN, &encode(&record));
        Self { record, signature }
    }

    /// The record as bytes, for a disk or a message.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("records contain nothing that postcard cannot write")
    }

    /// The record in these bytes, if they are one and nothing else; it is not verified.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((record, [])) => Some(record),
            _ => None,
        }
    }

    /// Whether the record is within limits and its owner signed it.
    pub fn verify(&self, scheme: Scheme) -> bool {
        let owner = self.record.owner();
        self.record.is_legal()
            && scheme.verify(&owner, DOMAIN, &encode(&self.record), &self.signature)
    }
}

fn encode(record: &Record) -> Vec<u8> {
    postcard::to_allocvec(record).expect("records contain nothing that postcard cannot write")
}
