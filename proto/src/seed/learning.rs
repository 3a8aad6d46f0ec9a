//! A seed that has lost its memory, or has none yet, learns what others know before it votes; and
//! what it is told.

use core::time::Duration;
use std::ops::Bound;

use crate::id::{LinkId, NodeId};
use crate::seed::event::Notice;
use crate::seed::memory::Key;
use crate::seed::slots::Telling;
use crate::seed::transfer::{Cursor, Wanted};
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{RECORDS_MAX, Teacher, Vote, Votes};
use crate::wire::record::FORGOTTEN_MAX;

/// A seed that has never voted waits this long to hear from all others. Seeds dial each other at
/// once when they start, so who has not been heard by then is down. Less than a peer waits for an
/// agreement, so that a cluster that is founded without some of its seeds refuses nothing.
pub(super) const FOUNDING_WAIT: Duration = Duration::from_secs(1);

impl Seed {
    /// Another seed has lost its memory: it is told everything that is known and was accepted
    /// here.
    pub(super) fn tell_votes(&mut self, now: Instant, slot: usize, link: LinkId, learner: NodeId) {
        if self.sync.slots[slot].link != Some(link) {
            return;
        }
        let floor = self.acceptors.raise(learner);
        self.touched.insert(Key::Membership);
        let teacher = self.teacher_of(slot);
        let state = &mut self.sync.slots[slot];
        state.learns = true;
        state.votes = Some(Telling { floor, teacher, from: Bound::Unbounded });
        // What no hash tells of is sent as well: who has died or left, which topics are deleted.
        state.cursor = Some(Cursor::Peers(Bound::Unbounded));
        state.wanted = Wanted::ALL;
        self.timers.set(Timer::Transfer(link), now);
    }

    /// What this seed is to the one of a slot. Founders of a cluster hear of each other at
    /// slightly different times; to those that began in the same way each stays what it was.
    fn teacher_of(&self, slot: usize) -> Teacher {
        let slot = &self.sync.slots[slot];
        let life = slot.node.and_then(|node| self.founders.get(&node));
        if life == Some(&slot.incarnation) { Teacher::New } else { self.acceptors.standing() }
    }

    /// The next part of the votes, and where to go on.
    pub(super) fn votes_chunk(&self, telling: Telling) -> (Votes, Option<Telling>) {
        let Telling { floor, teacher, from } = telling;
        let some = self.acceptors.votes(from).take(RECORDS_MAX);
        let (topics, votes): (Vec<_>, Vec<_>) = some
            .map(|(topic, ballot, record)| (topic, Vote { ballot, record: record.clone() }))
            .unzip();
        let more = topics.last().filter(|_| votes.len() == RECORDS_MAX);
        let next =
            more.map(|topic| Telling { floor, teacher, from: Bound::Excluded((*topic).clone()) });
        let forgotten = self.forgotten;
        (Votes { floor, forgotten, votes, teacher, last: next.is_none() }, next)
    }

    /// What another seed has accepted.
    pub(super) fn take_votes(&mut self, now: Instant, link: LinkId, from: NodeId, votes: Votes) {
        if !self.acceptors.is_learning() {
            return;
        }
        for Vote { ballot, record } in votes.votes {
            let Some(topic) = record.record.register() else {
                return self.violation(
                    now,
                    link,
                    "a vote on something on which seeds do not agree",
                );
            };
            if !record.verify(self.config.identity.scheme) {
                return self.violation(now, link, "a vote on a record that its owner did not sign");
            }
            let is_known = self.acceptors.cell(&topic).is_some();
            if !is_known && self.acceptors.len() >= self.config.records_max.saturating_mul(4) {
                return self.violation(now, link, "more votes than seeds keep");
            }
            self.acceptors.learn(&topic, ballot, record);
            self.touched.insert(Key::Register(topic));
        }
        if votes.last {
            self.forgotten = self.forgotten.max(votes.forgotten.min(FORGOTTEN_MAX));
            self.acceptors.learned(from, votes.teacher, votes.floor);
            self.touched.insert(Key::Membership);
            self.graduate(now);
        }
    }

    /// Votes from now on, if this seed has learned enough: from as many voters as any majority
    /// shares a seed with, even without this one; or when there is nobody else to learn from.
    pub(super) fn graduate(&mut self, now: Instant) {
        let (total, me) = (self.sync.total(), self.me());
        let is_late = now.since(self.started) >= FOUNDING_WAIT;
        let is_majority = |has: &dyn Fn(&NodeId) -> bool| self.sync.knows_all(me, has);
        let has_learned = self.acceptors.has_learned(me, (total, is_late), is_majority);
        if !has_learned || !self.sync.is_member() {
            return;
        }
        let others = self.acceptors.begin_to_vote();
        let lives = self.sync.slots.iter().filter_map(|slot| Some((slot.node?, slot.incarnation)));
        self.founders = lives.filter(|(node, _)| others.contains(node)).collect();
        self.touched.insert(Key::Membership);
        self.notice(Notice::Votes { founded: !self.founders.is_empty() });
        self.answer_waiting(now);
        self.begin_settling(now);
        for topic in self.proposals.parked() {
            self.topic_settled(&topic);
        }
        // Those that learn as well have been told by one that did not count.
        for slot in 0..self.sync.slots.len() {
            let crate::seed::slots::Slot { link, node, learns, .. } = self.sync.slots[slot];
            if let (Some(link), Some(node), true) = (link, node, learns) {
                self.tell_votes(now, slot, link, node);
            }
        }
    }
}
