//! What an operator asks of a seed, on a link that proves that the operator has the seed's key.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, RequestId};
use crate::wire::frame::PeerItem;
use crate::wire::record::SeedPlace;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminCommand {
    /// Which seeds there are.
    ShowSet,
    /// One more seed.
    AddSeed(SeedPlace),
    /// One seed less. A seed that is being added is not added after all.
    RemoveSeed(SocketAddr),
    /// A peer that does not answer any more is taken off the lists: one that is named by its id,
    /// or the first digits of it, by its address, or by its name. Peers may ask for that too.
    Forget(String),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminAnswer {
    /// The set, as the seed knows it; after a change, with the change begun.
    Set(SetView),
    /// It may not be; the text says why.
    Refused(String),
    /// Too few seeds could be asked. It may be done all the same, now or later.
    NoQuorum,
    /// That peer is listed no more, with what it was before.
    Forgotten(PeerItem),
}

/// What seeds say to each other of a peer that is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgetting {
    /// The peer.
    pub node: NodeId,
    /// The life that is to be over; a later one is not concerned.
    pub incarnation: Incarnation,
    /// Which request of the seed that asks it is; echoed.
    pub round: RequestId,
    /// What is said.
    pub step: ForgetStep,
}

/// What a seed says of a peer that is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ForgetStep {
    /// Look whether it answers, vote if it does not, and list it no more.
    Ask,
    /// It is not listed here.
    Gone,
    /// It answers, or has come back with another life.
    Answers,
}

/// The set of seeds, as one of them knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetView {
    /// The seed that answers.
    pub own: SocketAddr,
    /// Rises with each decision; 0 while the set is that of the configuration.
    pub version: u64,
    /// The seeds, or those that there will be.
    pub seeds: Vec<SetMember>,
    /// The set is being changed.
    pub changing: bool,
}

/// A seed of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMember {
    /// Where it is.
    pub place: SeedPlace,
    /// The seed that answers has a link with it, or is it.
    pub reachable: bool,
    /// While the set changes: it is about to be added, to be removed, or stays.
    pub state: MemberState,
    /// While the set changes: all that it holds is safe with the seeds before and after.
    pub settled: bool,
}

/// What becomes of a seed while the set changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// It is a member and stays one.
    Stays,
    /// It is being added.
    Joins,
    /// It is being removed.
    Goes,
}
