//! A verdict rests on votes that stand: before a seed declares a peer dead it asks the voters
//! once more, since a vote and what takes it back may be on a slow way for any time.

use std::collections::BTreeSet;

use core::time::Duration;

use crate::id::{Incarnation, LinkId, NodeId, RequestId};
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::Frame;

/// An answer counts so long after the question, so that a verdict is never older. Guess: two
/// round trips of a wide network, and a packet that is repeated.
pub(super) const CONFIRM_WITHIN: Duration = Duration::from_millis(400);

/// A round of asking voters whether their votes stand.
#[derive(Debug)]
pub(super) struct Confirmation {
    round: RequestId,
    begun: Instant,
    asked: BTreeSet<NodeId>,
    stands: BTreeSet<NodeId>,
}

impl Confirmation {
    fn new(round: RequestId, now: Instant) -> Self {
        Self { round, begun: now, asked: BTreeSet::new(), stands: BTreeSet::new() }
    }

    fn is_open(&self, now: Instant) -> bool {
        now.since(self.begun) < CONFIRM_WITHIN
    }
}

impl Seed {
    /// Asks voters that were not asked in this round. Returns whose votes are known to stand.
    pub(super) fn confirm_votes(&mut self, now: Instant, node: NodeId) -> BTreeSet<NodeId> {
        let me = self.me();
        let Some(case) = self.reports.cases.get_mut(&node) else { return BTreeSet::new() };
        let life = case.incarnation;
        if case.confirmation.as_ref().is_none_or(|round| !round.is_open(now)) {
            self.confirmations += 1;
            case.confirmation = Some(Confirmation::new(RequestId(self.confirmations), now));
            self.timers.set(Timer::Confirm(node), now + CONFIRM_WITHIN);
        }
        let Some(confirmation) = &mut case.confirmation else { return BTreeSet::new() };
        let mut asked = Vec::new();
        for voter in case.votes.keys().filter(|voter| **voter != me) {
            let link = self.sync.slot_of(voter).and_then(|slot| slot.link);
            if let Some(link) = link.filter(|_| confirmation.asked.insert(*voter)) {
                asked.push(link);
            }
        }
        let round = confirmation.round;
        let standing = |voter: &&NodeId| **voter == me || confirmation.stands.contains(*voter);
        let standing = case.votes.keys().filter(standing).copied().collect();
        for link in asked {
            self.send(link, Frame::VoteAsked(node, life, round));
        }
        standing
    }

    /// A round is over without enough answers: another one begins while the votes count.
    pub(super) fn confirm_again(&mut self, now: Instant, node: NodeId) {
        if let Some(case) = self.reports.cases.get_mut(&node) {
            case.confirmation = None;
            self.judge(now, node);
        }
    }

    /// Another seed asks whether this one still takes a life for over.
    pub(super) fn answer_voter(
        &mut self,
        id: LinkId,
        node: NodeId,
        life: Incarnation,
        round: RequestId,
    ) {
        let me = self.me();
        let case = self.reports.cases.get(&node);
        let votes =
            case.is_some_and(|case| case.incarnation >= life && case.votes.contains_key(&me));
        let frame = match votes || self.registry.is_dead(&node, life) {
            true => Frame::VoteStands(node, life, round),
            false => Frame::VoteWithdrawn(node, life),
        };
        self.send(id, frame);
    }

    /// A voter keeps to its vote.
    pub(super) fn take_standing(
        &mut self,
        now: Instant,
        from: NodeId,
        node: NodeId,
        round: RequestId,
    ) {
        let Some(case) = self.reports.cases.get_mut(&node) else { return };
        let Some(confirmation) = &mut case.confirmation else { return };
        if confirmation.round == round && confirmation.is_open(now) {
            confirmation.stands.insert(from);
            self.judge(now, node);
        }
    }
}
