//! What neighbours say of topics.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, Origin, RequestId, Topic};
use crate::wire::batch::Batch;

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
    /// Newest first, at most [`super::HEADS_MAX`].
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
    /// What is missing, at most [`super::RANGES_MAX`].
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

/// What is wanted of a topic's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Select {
    /// What was published at most so many milliseconds ago; all for the largest number.
    AgeMs(u32),
    /// The newest so many messages.
    Last(u64),
    /// What one publisher published from a number on.
    Stream {
        /// The publisher.
        node: NodeId,
        /// Its life, any when `None`.
        incarnation: Option<Incarnation>,
        /// The first number.
        seq: u64,
    },
}

/// A question for the history of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Echoed in [`HistoryDone`].
    pub request: RequestId,
    /// The topic.
    pub topic: Topic,
    /// What is wanted.
    pub select: Select,
    /// What the asker has already, at most [`super::RANGES_MAX`].
    pub have: Vec<Range>,
    /// Go on after the batch of this stream that begins with this number.
    pub after: Option<(Origin, u64)>,
}

/// The end of a part of the answer to a question for history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryDone {
    /// That of the question.
    pub request: RequestId,
    /// Ask again from here on; `None` when all was sent.
    pub next: Option<(Origin, u64)>,
    /// The sender takes part in the topic: what it sent is all that it should have received.
    pub holds: bool,
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
    /// At most [`super::NAMES_MAX`].
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

/// How far a stream has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The topic.
    pub topic: Topic,
    /// Short name of the origin.
    pub origin: u64,
    /// Nothing is missing up to this number at the sender, nor at more than half of those to whom
    /// it pushes the stream.
    pub seq: u64,
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
    /// At most [`super::NAMES_MAX`].
    pub items: Vec<GraftItem>,
}

/// Why a batch was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is new, and this link is eager for it.
    Push,
    /// It was pulled.
    Pull,
    /// It is part of the history that was asked for.
    History,
    /// Its topic retains it: who subscribes gets it first.
    Retained,
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
