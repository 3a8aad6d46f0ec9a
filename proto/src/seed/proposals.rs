//! Agreements of the seeds that this one has begun, and who waits for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{LinkId, NodeId, RequestId, Topic};
use crate::seed::admin::Asker;
use crate::seed::register::Proposer;
use crate::seed::set::Change;
use crate::time::Instant;
use crate::wire::frame::{Lookup, Outcome};
use crate::wire::record::SignedRecord;

/// Topics that are agreed on at once; one more is refused. About 20 MB.
pub(super) const OPEN_MAX: usize = 16_384;
/// Proposals that wait for another one of their topic.
pub(super) const WAITING_MAX: usize = 64;
/// Questions that wait until a topic's record is settled.
pub(super) const PARKED_MAX: usize = 4_096;

/// What an agreement is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A peer wants this record.
    Write { link: LinkId, request: RequestId, record: SignedRecord },
    /// Questions wait for what is kept.
    Read,
    /// What is kept is to be held by majorities of the sets before and after a change.
    Settle,
    /// The set of seeds is to change.
    Change { asker: Asker, change: Change },
}

/// An agreement under way.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) purpose: Purpose,
    /// The attempt; `None` while waiting for the next one.
    pub(super) proposer: Option<Proposer<SignedRecord>>,
    /// What is to be accepted, and what that means for who asked.
    pub(super) value: Option<(SignedRecord, Outcome)>,
    /// Who refused this attempt.
    pub(super) refused: BTreeSet<NodeId>,
    pub(super) attempts: u32,
    pub(super) begun: Instant,
    due: Instant,
    /// What follows it.
    pub(super) waiting: VecDeque<Purpose>,
}

/// Questions, with who asks on which link.
type Questions = Vec<(LinkId, NodeId, Lookup)>;

/// All agreements that this seed has begun.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    open: BTreeMap<Topic, Proposal>,
    due: BTreeSet<(Instant, Topic)>,
    /// Questions, by the topic that has to be settled first; and when that is begun.
    parked: BTreeMap<Topic, (Instant, Questions)>,
    parked_due: BTreeSet<(Instant, Topic)>,
    parked_count: usize,
}

impl Proposals {
    pub(super) fn get(&self, topic: &Topic) -> Option<&Proposal> {
        self.open.get(topic)
    }

    pub(super) fn get_mut(&mut self, topic: &Topic) -> Option<&mut Proposal> {
        self.open.get_mut(topic)
    }

    pub(super) fn is_open(&self, topic: &Topic) -> bool {
        self.open.contains_key(topic)
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.len() < OPEN_MAX
    }

    /// Begins an agreement of a topic that is not open.
    pub(super) fn open(
        &mut self,
        now: Instant,
        topic: Topic,
        purpose: Purpose,
        waiting: VecDeque<Purpose>,
    ) {
        let proposal = Proposal {
            purpose,
            proposer: None,
            value: None,
            refused: BTreeSet::new(),
            attempts: 0,
            begun: now,
            due: now,
            waiting,
        };
        self.due.insert((now, topic.clone()));
        self.open.insert(topic, proposal);
    }

    /// Sets when an agreement is looked at again.
    pub(super) fn set_due(&mut self, topic: &Topic, at: Instant) {
        let Some(proposal) = self.open.get_mut(topic) else { return };
        self.due.remove(&(proposal.due, topic.clone()));
        proposal.due = at;
        self.due.insert((at, topic.clone()));
    }

    /// Every attempt ends, and another one follows at once.
    pub(super) fn restart(&mut self, now: Instant) {
        let topics: Vec<Topic> = self.open.keys().cloned().collect();
        for topic in topics {
            if let Some(proposal) = self.open.get_mut(&topic) {
                proposal.proposer = None;
                proposal.value = None;
                proposal.refused.clear();
            }
            self.set_due(&topic, now);
        }
    }

    /// The same, unless that is sooner already.
    pub(super) fn set_due_by(&mut self, topic: &Topic, at: Instant) {
        if self.open.get(topic).is_some_and(|proposal| proposal.due > at) {
            self.set_due(topic, at);
        }
    }

    /// Topics of which an attempt counts on this seed: it may accept only what it promised.
    pub(super) fn counting_on(&self, node: &NodeId) -> Vec<Topic> {
        let counts = |proposal: &Proposal| {
            let proposer = proposal.proposer.as_ref();
            proposer.is_some_and(|proposer| proposer.acceptors().any(|of| of == *node))
        };
        let counting = self.open.iter().filter(|(_, proposal)| counts(proposal));
        counting.map(|(topic, _)| topic.clone()).collect()
    }

    /// Ends an agreement.
    pub(super) fn close(&mut self, topic: &Topic) -> Option<Proposal> {
        let proposal = self.open.remove(topic)?;
        self.due.remove(&(proposal.due, topic.clone()));
        Some(proposal)
    }

    /// An agreement that is to be looked at.
    pub(super) fn due(&self, now: Instant) -> Option<Topic> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, topic)| topic.clone())
    }

    /// Lets a question wait until its topic is settled, which is begun at `due`. Returns whether
    /// there is room.
    pub(super) fn park(&mut self, due: Instant, link: LinkId, node: NodeId, asked: Lookup) -> bool {
        if self.parked_count >= PARKED_MAX {
            return false;
        }
        self.parked_count += 1;
        let topic = asked.topic.clone();
        let (_, parked) = self.parked.entry(topic.clone()).or_insert_with(|| {
            self.parked_due.insert((due, topic));
            (due, Vec::new())
        });
        parked.push((link, node, asked));
        true
    }

    /// The questions about a topic that is settled now, or will not be.
    pub(super) fn unpark(&mut self, topic: &Topic) -> Vec<(LinkId, NodeId, Lookup)> {
        let Some((due, parked)) = self.parked.remove(topic) else { return Vec::new() };
        self.parked_due.remove(&(due, topic.clone()));
        self.parked_count -= parked.len();
        parked
    }

    /// Topics with questions.
    pub(super) fn parked(&self) -> Vec<Topic> {
        self.parked.keys().cloned().collect()
    }

    /// A topic with questions that has not settled by itself. It is returned once.
    pub(super) fn pop_parked_due(&mut self, now: Instant) -> Option<Topic> {
        let first = self.parked_due.first().filter(|(at, _)| *at <= now).cloned()?;
        self.parked_due.remove(&first);
        Some(first.1)
    }

    /// When something is to be done.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let first = |due: &BTreeSet<(Instant, Topic)>| due.first().map(|(at, _)| *at);
        first(&self.due).into_iter().chain(first(&self.parked_due)).min()
    }
}
