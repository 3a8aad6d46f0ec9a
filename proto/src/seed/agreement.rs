//! How the seeds agree on the record of a topic: what a peer proposes to this seed it proposes to
//! all, and a majority decides.

use core::time::Duration;
use std::collections::VecDeque;

use rand::RngExt as _;

use crate::id::{LinkId, NodeId, Topic};
use crate::seed::Seed;
use crate::seed::memory::Key;
use crate::seed::ownership::{Judged, is_plausible, judge};
use crate::seed::proposals::{Proposal, Purpose, WAITING_MAX};
use crate::seed::register::{Current, Proposer, Refusal};
use crate::time::Instant;
use crate::wire::frame::{Ballot, Decree, Frame, Lookup, Outcome, Propose, Proposed, Step, Vote};
use crate::wire::record::{Record, SignedRecord, TopicRecord};

/// An attempt without an outcome is followed by another after this: three round trips across
/// continents. Each further one has twice the time, up to the last of these: seeds that are busy
/// need it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(700);
const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_millis(2_800);
/// After this the peer is told that there is no majority, where fewer seeds are linked.
const GIVE_UP_AFTER: Duration = Duration::from_millis(2_000);
/// And after this in any case: about as long as the peer waits.
const GIVE_UP_AT_LAST: Duration = Duration::from_millis(6_500);
/// An attempt that is refused, but may still find a majority, has this long for it.
const REFUSED_TIMEOUT: Duration = Duration::from_millis(150);
/// The first wait after an attempt that met another one, doubled with each further one, and drawn
/// at random from half of it on: a duel ends when one is left alone for two round trips.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// A record that is accepted and not known to be chosen is usually chosen within this; otherwise
/// the seed that is asked for it settles it.
const SETTLE_AFTER: Duration = Duration::from_millis(100);
/// Rounds that are written down before the first of them is used: a write for so many attempts.
const ROUNDS_RESERVED: u64 = 1_000;

impl Seed {
    /// A peer wants a record of a topic to be kept.
    pub(super) fn propose(&mut self, now: Instant, link: LinkId, node: NodeId, asked: Propose) {
        let Propose { request, record: signed } = asked;
        let Record::Topic(record) = &signed.record else {
            return self.violation(now, link, "a proposal without a topic");
        };
        if record.host != node || !signed.verify(self.config.identity.scheme) {
            self.stats.records_refused += 1;
            return self.violation(now, link, "a proposal that its sender did not sign");
        }
        let topic = record.topic.clone();
        let known = self.index.get(&topic).and_then(|entry| entry.record());
        if known == Some(record) {
            return self.proposed(link, request, Outcome::Kept);
        }
        if known.is_none() && !is_plausible(None, record) {
            return self.violation(now, link, "a topic with more changes than can have been");
        }
        if let Some(outcome) = self.lacks_room(record) {
            self.stats.records_shed += 1;
            return self.proposed(link, request, outcome);
        }
        let purpose = Purpose::Write { link, request, record: signed };
        if let Some(open) = self.proposals.get_mut(&topic) {
            if open.waiting.len() < WAITING_MAX {
                return open.waiting.push_back(purpose);
            }
        } else if self.proposals.has_room() && self.sync.has_quorum() {
            return self.begin(now, topic, purpose, VecDeque::new());
        }
        self.proposed(link, request, Outcome::NoQuorum);
    }

    /// Why a new topic does not fit, if it does not.
    fn lacks_room(&self, record: &TopicRecord) -> Option<Outcome> {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let entry = self.index.get(&record.topic).and_then(|entry| entry.record());
        let is_hosted = entry.is_some_and(|old| old.host == record.host && !old.deleted);
        if is_hosted {
            return None;
        }
        if self.registry.peer(&record.host).is_none() {
            return Some(Outcome::NoQuorum);
        }
        if record.deleted {
            return None;
        }
        if self.index.hosted(&record.host) >= self.config.records_per_peer_max {
            return Some(Outcome::Full(count(self.config.records_per_peer_max)));
        }
        let is_full = entry.is_none()
            && self.index.live() + self.index.deleted() >= self.config.records_max
            && self.index.deleted() == 0;
        is_full.then(|| Outcome::Full(count(self.config.records_max)))
    }

    fn proposed(&mut self, link: LinkId, request: crate::id::RequestId, outcome: Outcome) {
        self.send(link, Frame::Proposed(Proposed { request, outcome }));
    }

    pub(super) fn begin(
        &mut self,
        now: Instant,
        topic: Topic,
        purpose: Purpose,
        then: VecDeque<Purpose>,
    ) {
        self.proposals.open(now, topic.clone(), purpose, then);
        self.attempt(now, topic);
    }

    /// Makes the next attempt of an agreement.
    fn attempt(&mut self, now: Instant, topic: Topic) {
        self.round = self.round.max(self.acceptors.highest().round).saturating_add(1);
        if self.round > self.rounds_reserved {
            // No attempt of a later life has the ballot of this one.
            self.rounds_reserved = self.round.saturating_add(ROUNDS_RESERVED);
            self.touched.insert(Key::Membership);
        }
        let ballot = Ballot { round: self.round, seed: self.me() };
        let Some(proposal) = self.proposals.get_mut(&topic) else { return };
        proposal.attempts += 1;
        proposal.refused.clear();
        proposal.value = None;
        proposal.proposer = Some(Proposer::new(ballot));
        let timeout = attempt_timeout(proposal.attempts);
        self.proposals.set_due(&topic, now + timeout);
        self.stats.agreement_attempts += 1;
        let prepare = Decree {
            topic: topic.clone(),
            set: self.sync.set.version,
            ballot,
            step: Step::Prepare,
        };
        self.tell_seeds(&Frame::Decree(prepare.clone()));
        let own = self.acceptor_answers(prepare);
        self.take_answer(now, self.me(), own);
    }

    /// Agreements whose time has come, and topics with questions that have not settled.
    pub(super) fn tend_agreements(&mut self, now: Instant) {
        while let Some(topic) = self.proposals.pop_parked_due(now) {
            if !self.acceptors.is_learning() && !self.proposals.is_open(&topic) {
                self.begin(now, topic, Purpose::Read, VecDeque::new());
            }
        }
        while let Some(topic) = self.proposals.due(now) {
            let is_there = self.sync.reachable() >= self.sync.quorum();
            let limit = if is_there { GIVE_UP_AT_LAST } else { GIVE_UP_AFTER };
            let Some(proposal) = self.proposals.get_mut(&topic) else { break };
            if now.since(proposal.begun) >= limit {
                self.conclude(now, &topic, None);
            } else {
                self.attempt(now, topic);
            }
        }
    }

    /// A seed is lost: attempts that count on it begin again.
    pub(super) fn acceptor_lost(&mut self, now: Instant, node: NodeId) {
        for topic in self.proposals.counting_on(&node) {
            self.proposals.set_due_by(&topic, now);
        }
    }

    /// A step of an agreement from another seed.
    pub(super) fn decree(&mut self, now: Instant, link: LinkId, from: NodeId, decree: Decree) {
        if let Step::Accept(signed) = &decree.step {
            let is_of = signed.record.register().as_ref() == Some(&decree.topic);
            if !is_of || !signed.verify(self.config.identity.scheme) {
                return self.violation(now, link, "a decree without a record of its register");
            }
        }
        match decree.step {
            Step::Prepare | Step::Accept(_) => {
                let answer = self.acceptor_answers(decree);
                self.send(link, Frame::Decree(answer));
            }
            _ => self.take_answer(now, from, decree),
        }
    }

    /// What this seed's acceptor says to a proposer.
    fn acceptor_answers(&mut self, decree: Decree) -> Decree {
        let Decree { topic, set, ballot, step } = decree;
        if set != self.sync.set.version {
            // Majorities of another set say nothing here. Whoever is behind is told.
            let step = Step::Refuse(Ballot::default());
            return Decree { topic, set, ballot, step };
        }
        if !self.acceptors.is_learning() {
            self.make_room_for_register(&topic);
            self.touched.insert(Key::Register(topic.clone()));
        }
        let done = match step {
            Step::Prepare => {
                let promised = self.acceptors.prepare(&topic, ballot);
                let vote = |(ballot, record)| Box::new(Vote { ballot, record });
                promised.map(|accepted| Step::Promise(accepted.map(vote)))
            }
            Step::Accept(record) => {
                self.acceptors.accept(&topic, ballot, *record).map(|()| Step::Accepted)
            }
            other => Ok(other),
        };
        let step = done.unwrap_or_else(|refusal| match refusal {
            Refusal::Promised(promised) => Step::Refuse(promised),
            Refusal::Learning => Step::Refuse(Ballot::default()),
        });
        Decree { topic, set, ballot, step }
    }

    /// Topics that were asked for and never made leave promises behind, until there are too many.
    fn make_room_for_register(&mut self, topic: &Topic) {
        let is_new = self.acceptors.cell(topic).is_none();
        if is_new && self.acceptors.len() >= self.config.records_max.saturating_mul(2) {
            let void = self.acceptors.forget_promises();
            self.touched.extend(void.into_iter().map(Key::Register));
            self.touched.insert(Key::Membership);
        }
    }

    /// What an acceptor says to an attempt of this seed.
    fn take_answer(&mut self, now: Instant, from: NodeId, decree: Decree) {
        let Decree { topic, ballot, step, .. } = decree;
        let takes_back = self.is_taken_back(&topic);
        let (me, sync) = (self.me(), &self.sync);
        let is_quorum = |has: &dyn Fn(&NodeId) -> bool| match takes_back {
            true => sync.knows_all(me, has),
            false => sync.is_majority(me, has),
        };
        let Some(proposal) = self.proposals.get_mut(&topic) else { return };
        let Some(proposer) = &mut proposal.proposer else { return };
        if proposer.ballot != ballot {
            return;
        }
        match step {
            Step::Promise(vote) => {
                let accepted = vote.map(|vote| (vote.ballot, vote.record));
                if let Some(current) = proposer.promised(from, accepted, is_quorum) {
                    self.decide(now, topic, current);
                }
            }
            Step::Accepted => {
                if proposer.accepted(from, is_quorum)
                    && let Some((record, outcome)) = proposal.value.take()
                {
                    self.conclude(now, &topic, Some((Some(record), outcome)));
                }
            }
            Step::Refuse(promised) => self.refused(now, from, topic, promised),
            Step::Prepare | Step::Accept(_) => {}
        }
    }

    /// Whether what is being agreed on takes back a change of the seeds, for which those before
    /// it are enough: what is to be accepted, or, until that is known, what is wanted.
    fn is_taken_back(&self, topic: &Topic) -> bool {
        let Some(proposal) = self.proposals.get(topic) else { return false };
        match (&proposal.value, &proposal.purpose) {
            (Some((signed, _)), _) => match &signed.record {
                Record::SeedSet(of) => self.sync.set.takes_back(&of.seeds, of.before.as_deref()),
                _ => false,
            },
            (None, Purpose::Change { change, .. }) => self.takes_back(*change),
            (None, _) => false,
        }
    }

    /// A majority has promised: what the register holds is known, and what it is to hold.
    fn decide(&mut self, now: Instant, topic: Topic, current: Current<SignedRecord>) {
        let abandoned = self.abandoned(now, current.value.as_ref());
        let Some(proposal) = self.proposals.get_mut(&topic) else { return };
        let (value, outcome) = match (&proposal.purpose, current.value) {
            (Purpose::Read | Purpose::Settle, None) => {
                return self.conclude(now, &topic, Some((None, Outcome::Kept)));
            }
            (Purpose::Read | Purpose::Settle, Some(value)) => (value, Outcome::Kept),
            (Purpose::Change { .. }, value) => {
                return self.decide_set(now, Current { value, is_chosen: current.is_chosen });
            }
            (Purpose::Write { record, .. }, value) => {
                let Record::Topic(new) = &record.record else { return };
                if value.is_none() && new.deleted {
                    // What is not there needs no mark that it is gone.
                    return self.conclude(now, &topic, Some((None, Outcome::Kept)));
                }
                match (judge(value.as_ref().and_then(topic_of), new, abandoned), value) {
                    (Judged::Accepted, _) | (Judged::Known, None) => {
                        let record = record.clone();
                        return self.ask_to_accept(now, &topic, record, Outcome::Kept);
                    }
                    (Judged::Known, Some(value)) => (value, Outcome::Kept),
                    (Judged::Against, Some(value)) => {
                        (value.clone(), Outcome::Against(Box::new(value)))
                    }
                    (Judged::Against, None) => return,
                }
            }
        };
        self.settle_value(now, &topic, (value, current.is_chosen), outcome);
    }

    /// What a register holds is accepted again, unless it is chosen.
    pub(super) fn settle_value(
        &mut self,
        now: Instant,
        topic: &Topic,
        (value, is_chosen): (SignedRecord, bool),
        outcome: Outcome,
    ) {
        if is_chosen {
            self.conclude(now, topic, Some((Some(value), outcome)));
        } else {
            self.ask_to_accept(now, topic, value, outcome);
        }
    }

    pub(super) fn ask_to_accept(
        &mut self,
        now: Instant,
        topic: &Topic,
        record: SignedRecord,
        outcome: Outcome,
    ) {
        let Some(proposal) = self.proposals.get_mut(topic) else { return };
        let Some(proposer) = &proposal.proposer else { return };
        let (ballot, acceptors) = (proposer.ballot, proposer.acceptors().collect::<Vec<_>>());
        proposal.value = Some((record.clone(), outcome));
        let timeout = attempt_timeout(proposal.attempts);
        self.proposals.set_due(topic, now + timeout);
        let step = Step::Accept(Box::new(record));
        let decree = Decree { topic: topic.clone(), set: self.sync.set.version, ballot, step };
        for node in &acceptors {
            if let Some(link) = self.sync.slot_of(node).and_then(|slot| slot.link) {
                self.send(link, Frame::Decree(decree.clone()));
            }
        }
        if acceptors.contains(&self.me()) {
            let own = self.acceptor_answers(decree);
            self.take_answer(now, self.me(), own);
        }
    }

    /// An acceptor has promised more to somebody else, or may not vote. When too few are left,
    /// the attempt ends, and the next one waits for a moment that others do not choose.
    fn refused(&mut self, now: Instant, from: NodeId, topic: Topic, promised: Ballot) {
        self.round = self.round.max(promised.round);
        let me = self.me();
        let takes_back = self.is_taken_back(&topic);
        let Some(proposal) = self.proposals.get_mut(&topic) else { return };
        proposal.refused.insert(from);
        let sync = &self.sync;
        let is_linked = |node: &NodeId| {
            *node == me || sync.slot_of(node).is_some_and(|slot| slot.link.is_some())
        };
        let refused = &proposal.refused;
        let is_left = |node: &NodeId| is_linked(node) && !refused.contains(node);
        let may_succeed = match takes_back {
            true => sync.knows_all(me, is_left),
            false => sync.is_majority(me, is_left),
        };
        let counted = proposal.proposer.as_ref();
        let is_counted = counted.is_some_and(|p| p.acceptors().any(|acceptor| acceptor == from));
        let is_accepting = proposal.value.is_some() && is_counted;
        if may_succeed && !is_accepting {
            let is_outbid = counted.is_some_and(|proposer| proposer.ballot < promised);
            if is_outbid && proposal.value.is_none() {
                self.proposals.set_due_by(&topic, now + REFUSED_TIMEOUT);
            }
            return;
        }
        proposal.proposer = None;
        // The first refusal may only say that this seed's ballot was too low.
        let again = proposal.attempts > 1;
        let backoff = (BACKOFF_MIN * (1 << proposal.attempts.min(8))).min(BACKOFF_MAX);
        let percent = self.rng.random_range(50..=100u32);
        let wait = if again { backoff * percent / 100 } else { Duration::ZERO };
        self.proposals.set_due(&topic, now + wait);
    }

    /// An agreement ended: with what the register holds, or without a majority.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        topic: &Topic,
        end: Option<(Option<SignedRecord>, Outcome)>,
    ) {
        let Some(Proposal { purpose, mut waiting, .. }) = self.proposals.close(topic) else {
            return;
        };
        let is_settled = end.is_some();
        let outcome = match end {
            Some((record, outcome)) => {
                if let Some(signed) = record {
                    self.chosen(now, signed);
                }
                outcome
            }
            None => Outcome::NoQuorum,
        };
        match purpose {
            Purpose::Write { link, request, .. } => self.proposed(link, request, outcome),
            Purpose::Change { asker, .. } => self.set_changed(asker, is_settled),
            Purpose::Settle => self.register_settled(now, topic, is_settled),
            Purpose::Read => {}
        }
        for (link, node, asked) in self.proposals.unpark(topic) {
            // Without a majority nobody knows: others may.
            if is_settled {
                self.answer_lookup(link, node, asked);
            }
        }
        if let Some(next) = waiting.pop_front() {
            self.begin(now, topic.clone(), next, waiting);
        }
    }

    /// A majority has accepted this record.
    fn chosen(&mut self, now: Instant, signed: SignedRecord) {
        let record = match signed.record.clone() {
            Record::SeedSet(_) => return self.adopt_set(now, signed),
            Record::Topic(record) => record,
            _ => return,
        };
        self.stats.agreements += 1;
        self.merge_topic(record, signed.signature);
        self.tell_seeds(&Frame::Records(vec![signed]));
    }

    /// Whether a record of the topic was accepted here that is not known to be chosen, so that
    /// nobody may be told what the topic's record is.
    fn is_unsettled(&self, topic: &Topic) -> bool {
        let accepted = self.acceptors.accepted(topic).and_then(topic_of);
        let known = self.index.get(topic).and_then(|entry| entry.record());
        accepted.is_some_and(|accepted| known.is_none_or(|known| known.rank() < accepted.rank()))
    }

    /// Answers a question about a topic as soon as that can be said.
    pub(super) fn lookup(&mut self, now: Instant, link: LinkId, node: NodeId, asked: Lookup) {
        self.stats.lookups += 1;
        if self.acceptors.is_learning() || self.is_unsettled(&asked.topic) {
            if !self.proposals.park(now + SETTLE_AFTER, link, node, asked) {
                self.stats.records_shed += 1;
            }
            return;
        }
        self.answer_lookup(link, node, asked);
    }

    /// Questions about a topic can be answered now.
    pub(super) fn topic_settled(&mut self, topic: &Topic) {
        if self.acceptors.is_learning() || self.is_unsettled(topic) {
            return;
        }
        for (link, node, asked) in self.proposals.unpark(topic) {
            self.answer_lookup(link, node, asked);
        }
    }
}

/// How long the attempt of this number, from 1, may take.
fn attempt_timeout(number: u32) -> Duration {
    (ATTEMPT_TIMEOUT * (1 << number.clamp(1, 8) >> 1)).min(ATTEMPT_TIMEOUT_MAX)
}

/// The topic's record, if it is one.
pub(super) fn topic_of(signed: &SignedRecord) -> Option<&TopicRecord> {
    match &signed.record {
        Record::Topic(record) => Some(record),
        _ => None,
    }
}
