//! What a peer keeps of its own topics over a restart, and what of that is still to be written: a
//! peer that hosts thousands of topics changes a few at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::Topic;
use crate::wire::record::{Record, SignedRecord};

/// So many changes are kept beside few topics before all come again. Guess: a file of 200 kB.
const CHANGES_MIN: usize = 1_000;
/// So many topics may wait to be written one by one; of more, all are.
const UNSAVED_MAX: usize = 4_096;

/// Records of the topics that a peer hosts, subscribes or publishes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnTopics {
    /// All of them, whatever was kept before; at most [`crate::config::PeerConfig::topics_max`]
    /// that it hosts, and as many others.
    All(Vec<SignedRecord>),
    /// What has changed since. All come again before the changes are more than the topics, or
    /// than 1,000.
    Changed {
        /// New topics, and such that have a new record.
        records: Vec<SignedRecord>,
        /// Those that are its own no more.
        gone: Vec<Topic>,
    },
}

impl OwnTopics {
    /// Makes of what is `kept` what is to be kept from now on.
    pub fn apply(self, kept: &mut BTreeMap<Topic, SignedRecord>) {
        let named = |signed: SignedRecord| match &signed.record {
            Record::Topic(record) => Some((record.topic.clone(), signed)),
            _ => None,
        };
        match self {
            Self::All(records) => *kept = records.into_iter().filter_map(named).collect(),
            Self::Changed { records, gone } => {
                kept.extend(records.into_iter().filter_map(named));
                gone.iter().for_each(|topic| drop(kept.remove(topic)));
            }
        }
    }
}

/// Topics that are not kept as they are.
#[derive(Debug, Default)]
pub(crate) struct Unsaved {
    topics: BTreeSet<Topic>,
    /// Changes that may be written before all have to be.
    room: usize,
}

impl Unsaved {
    /// A topic has changed, or has become the peer's own, or is so no more.
    pub(crate) fn note(&mut self, topic: &Topic) {
        if self.topics.len() < UNSAVED_MAX {
            self.topics.insert(topic.clone());
        } else {
            self.room = 0;
        }
    }

    /// Whether nothing is to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The topics that are to be written; `None` when it is all, of which there are `own`.
    pub(crate) fn take(&mut self, own: usize) -> Option<BTreeSet<Topic>> {
        let topics = core::mem::take(&mut self.topics);
        match self.room.checked_sub(topics.len()) {
            Some(room) => {
                self.room = room;
                Some(topics)
            }
            None => {
                self.room = own.max(CHANGES_MIN);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(n: usize) -> Topic {
        Topic::new(&n.to_string()).expect("legal")
    }

    #[test]
    fn all_are_written_first_and_again_when_the_changes_are_as_many() {
        let mut unsaved = Unsaved::default();
        assert!(unsaved.is_empty());
        unsaved.note(&topic(1));
        assert_eq!(unsaved.take(1), None, "nothing is known of what is kept");
        assert!(unsaved.is_empty());
        for n in 0..CHANGES_MIN {
            unsaved.note(&topic(n));
            unsaved.note(&topic(n));
            assert_eq!(unsaved.take(9), Some(BTreeSet::from([topic(n)])));
        }
        unsaved.note(&topic(1));
        assert_eq!(unsaved.take(9), None);
    }

    #[test]
    fn of_too_many_all_are_written() {
        let mut unsaved = Unsaved::default();
        unsaved.note(&topic(0));
        assert_eq!(unsaved.take(3 * UNSAVED_MAX), None);
        for n in 0..=UNSAVED_MAX {
            unsaved.note(&topic(n));
        }
        assert_eq!(unsaved.take(UNSAVED_MAX), None);
    }
}
