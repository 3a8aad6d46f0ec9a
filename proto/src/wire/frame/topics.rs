//! What peers and seeds say of topics, and how seeds agree on them.

use serde::{Deserialize, Serialize};

use crate::filter::TopicFilter;
use crate::id::{NodeId, RequestId, Topic};
use crate::wire::record::SignedRecord;

/// A peer wants a topic's record to be what it says: to create, delete or take over the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    /// Echoed in the answer.
    pub request: RequestId,
    /// A [`crate::wire::record::TopicRecord`] whose host is the sender.
    pub record: SignedRecord,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed {
    /// That of the proposal.
    pub request: RequestId,
    /// The outcome.
    pub outcome: Outcome,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A majority of the seeds holds the record.
    Kept,
    /// A majority of the seeds holds this one, which stands against it.
    Against(Box<SignedRecord>),
    /// Too few seeds could be asked. It may be kept all the same, now or later.
    NoQuorum,
    /// The sender, or all peers together, have as many topics as the seed allows.
    Full(u32),
}

/// What a peer wants to be told of from now on, as long as its session lasts. Seeds push what
/// differs from what it knows, and each later change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Echoed in [`super::Frame::Watched`], which follows what differs.
    pub request: RequestId,
    /// Topics, as the peer knows them.
    pub topics: Vec<KnownTopic>,
    /// All topics that these filters select, those created later included.
    pub filters: Vec<TopicFilter>,
    /// Filters that it no longer wants. All three lists together have at most
    /// [`super::RECORDS_MAX`] entries.
    pub dropped: Vec<TopicFilter>,
}

/// A topic and which record of it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownTopic {
    /// The topic.
    pub topic: Topic,
    /// The generation that is known; 0 for none.
    pub generation: u64,
    /// The version that is known; 0 for none.
    pub version: u64,
}

/// Orders the attempts to change a register: each has its own.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ballot {
    /// Rises with each attempt.
    pub round: u64,
    /// Who makes it.
    pub seed: NodeId,
}

/// A step of the agreement of seeds on a record (CASPaxos).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decree {
    /// The topic, or the name of another register: [`Topic::seeds`].
    pub topic: Topic,
    /// The version of the set of seeds in which the sender counts majorities. Who knows another
    /// one takes no part.
    pub set: u64,
    /// The attempt.
    pub ballot: Ballot,
    /// What is asked or answered.
    pub step: Step,
}

/// What a seed asks of another, or answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Promise to accept nothing below the ballot; answer with [`Step::Promise`] or
    /// [`Step::Refuse`].
    Prepare,
    /// Promised; this was accepted last.
    Promise(Option<Box<Vote>>),
    /// Accept this record; answer with [`Step::Accepted`] or [`Step::Refuse`].
    Accept(Box<SignedRecord>),
    /// Accepted.
    Accepted,
    /// Not done: this ballot was promised.
    Refuse(Ballot),
}

/// What a seed has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Under which ballot.
    pub ballot: Ballot,
    /// The record.
    pub record: SignedRecord,
}

/// A part of all that a seed has accepted, for a seed that lost its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// The sender accepts nothing below this any more.
    pub floor: Ballot,
    /// The highest generation of a topic whose mark of deletion the sender forgot.
    pub forgotten: u64,
    /// At most [`super::RECORDS_MAX`].
    pub votes: Vec<Vote>,
    /// What the sender was when it began to tell.
    pub teacher: Teacher,
    /// Nothing follows, and all tables were sent before.
    pub last: bool,
}

/// What a seed is to one that has lost its memory and learns from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Teacher {
    /// It votes: it has lost nothing, or has learned it again.
    Voter,
    /// It has lost something and not learned it again.
    Learner,
    /// It has never voted and knows nobody who does; or it founded the cluster with the receiver
    /// in the receiver's present life.
    New,
}
