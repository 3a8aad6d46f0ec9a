//! What a seed keeps over restarts: rows, each with a key. A disk is a map of these.
//!
//! The machine says with [`crate::Output::Persist`] what is to be changed on the disk, and is told
//! with [`crate::Input::Persisted`] when that is safe against the loss of power. Nothing that
//! depends on a change leaves the machine before. A machine that starts is handed what its disk
//! holds as a [`Memory`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{Incarnation, NodeId, Topic};
use crate::seed::status::Death;
use crate::wire::frame::{Ballot, Vote};
use crate::wire::record::{Record, SignedRecord};

/// Names a row. Rows of one kind are a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A listed peer. Its subscriptions go with it, and those of its former lives when it is put
    /// anew.
    Peer(NodeId),
    /// A peer whose life is over, remembered for a while.
    Ended(NodeId),
    /// What a listed peer wants, or no longer wants.
    Subscription(NodeId, Topic),
    /// A topic's record, deleted or not.
    Topic(Topic),
    /// What this seed has promised and accepted for a topic, or for [`Topic::seeds`].
    Register(Topic),
    /// What this seed has promised for all topics, and whether it votes. One row.
    Membership,
    /// Who the seeds are, when that differs from the configuration. One row.
    SeedSet,
    /// Why a life of a peer was taken for over; for people.
    Death(NodeId, Incarnation),
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// A listed peer; its lease begins anew with each start of the seed.
    Peer(SignedRecord),
    /// A peer whose life is over.
    Ended {
        /// The last record of that life.
        record: SignedRecord,
        /// The votes, if it was declared dead; `None` when it left.
        votes: Option<Vec<SignedRecord>>,
        /// People do not see it among the dead any more: it was to be forgotten.
        forgotten: bool,
    },
    /// A subscription.
    Subscription(SignedRecord),
    /// A topic.
    Topic(SignedRecord),
    /// A register.
    Register {
        /// The topic.
        topic: Topic,
        /// Nothing below is accepted.
        promised: Ballot,
        /// What was accepted last.
        accepted: Option<Vote>,
    },
    /// The seed itself.
    Membership(Membership),
    /// Who the seeds are.
    SeedSet(SignedRecord),
    /// A verdict that this seed came to.
    Death(Death),
}

/// What a seed remembers of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Nothing below is promised or accepted, whatever the topic.
    pub floor: Ballot,
    /// Rounds up to this one may have been used by attempts of this seed.
    pub rounds: u64,
    /// The highest generation of a topic whose mark of deletion was forgotten.
    pub forgotten: u64,
    /// It has learned what others know, or founded the cluster with them, and votes since. A disk
    /// of which any row was lost must not say so.
    pub votes: bool,
}

/// A change of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all changes put a row")]
pub enum Change {
    /// The row takes the place of the one with its key.
    Put(Row),
    /// The row goes, if it is there.
    Remove(Key),
}

/// What a disk holds when a seed starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The rows that are whole, in any order; each kind within the limit of its table.
    pub rows: Vec<Row>,
    /// Some were not: what is missing is learned from the other seeds before this one votes.
    pub damaged: bool,
}

impl Row {
    /// The row as bytes, for a disk.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("rows contain nothing that postcard cannot write")
    }

    /// The row in these bytes, if they are one and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((row, [])) => Some(row),
            _ => None,
        }
    }

    /// Its key; none when it holds a record of another kind, and is no row.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Peer(signed) => match &signed.record {
                Record::Peer(record) => Some(Key::Peer(record.node)),
                _ => None,
            },
            Self::Ended { record, .. } => match &record.record {
                Record::Peer(record) => Some(Key::Ended(record.node)),
                _ => None,
            },
            Self::Subscription(signed) => match &signed.record {
                Record::Subscription(of) => Some(Key::Subscription(of.node, of.topic.clone())),
                _ => None,
            },
            Self::Topic(signed) => match &signed.record {
                Record::Topic(record) => Some(Key::Topic(record.topic.clone())),
                _ => None,
            },
            Self::Register { topic, accepted, .. } => {
                let is_of = |vote: &Vote| vote.record.record.register().as_ref() == Some(topic);
                accepted.as_ref().is_none_or(is_of).then(|| Key::Register(topic.clone()))
            }
            Self::Membership(_) => Some(Key::Membership),
            Self::SeedSet(signed) => match &signed.record {
                Record::SeedSet(_) => Some(Key::SeedSet),
                _ => None,
            },
            Self::Death(death) => Some(death.key()),
        }
    }
}

/// Makes a change: what a disk does, in words of a map.
pub fn apply(disk: &mut BTreeMap<Key, Row>, change: Change) {
    let (key, row) = match change {
        Change::Remove(key) => (Some(key), None),
        Change::Put(row) => (row.key(), Some(row)),
    };
    let Some(key) = key else { return };
    if let Key::Peer(node) = key {
        let life = |row: &Row| match row {
            Row::Peer(SignedRecord { record: Record::Peer(of), .. }) => Some(of.incarnation),
            Row::Subscription(SignedRecord { record: Record::Subscription(of), .. }) => {
                Some(of.incarnation)
            }
            _ => None,
        };
        let kept = row.as_ref().and_then(life);
        // No name sorts before it: there are no control characters in names.
        let first = Topic::new(" ").expect("legal");
        let of_node = |key: &Key| matches!(key, Key::Subscription(of, _) if *of == node);
        let all = disk.range(Key::Subscription(node, first)..);
        let void = all.take_while(|(key, _)| of_node(key)).filter(|(_, row)| life(row) != kept);
        let void: Vec<Key> = void.map(|(key, _)| key.clone()).collect();
        void.iter().for_each(|key| {
            disk.remove(key);
        });
    }
    match row {
        Some(row) => disk.insert(key, row),
        None => disk.remove(&key),
    };
}
