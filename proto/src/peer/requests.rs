//! Questions to the seeds and who waits for the answers.
//!
//! A question goes to all joined seeds, also to those that join while it is open. It ends when a
//! quorum has answered, or at its deadline with what is known by then; later, when a quorum can be
//! reached and is only slow. Where one seed answers for all, one is asked, and another one as well
//! when it takes longer than usual.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::filter::TopicFilter;
use crate::id::{LinkId, NodeId, RequestId, Topic};
use crate::peer::event::From;
use crate::peer::hedging::RoundTrips;
use crate::time::Instant;
use crate::wire::frame::{Frame, Hosting, PeerEntry};
use crate::wire::record::{Record, SignedRecord, TopicPolicy, TopicRecord};

/// The most questions open at once.
pub(crate) const REQUESTS_MAX: usize = 16_384;

/// A seed that has not answered for so long is replaced: within a second, with the dial.
pub(crate) const SILENT: Duration = Duration::from_millis(400);

/// So long after its deadline a question still waits where a majority of the seeds can be reached:
/// machines that are busy stall for some seconds. With the deadline, two questions one after the
/// other end before the 15 s in which an application is answered.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// How a topic is to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    /// It may be there already, if this peer hosts it.
    pub(crate) exist_ok: bool,
    /// How its messages are kept.
    pub(crate) policy: TopicPolicy,
    /// How often it was proposed.
    pub(crate) attempts: u32,
}

/// What a question is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Tell the application about the topic.
    Info(RequestId),
    /// Subscribe if the topic exists.
    Subscribe(RequestId, From),
    /// Create the topic if it does not exist.
    Create { request: RequestId, creation: Creation },
    /// Delete the topic if this peer hosts it.
    Delete(RequestId),
    /// Let waiting publications go, or refuse them.
    Publish,
    /// Nobody waits: refresh what is known.
    Refresh,
    /// The topic is made for this one, which goes on when it is there.
    Made(Box<Self>, SignedRecord),
    /// The topics that a filter selects are known.
    Watched(RequestId, TopicFilter),
    /// The record of a created topic is stored.
    Created { request: RequestId, record: SignedRecord, creation: Creation },
    /// The record of a deleted topic is stored.
    Deleted { request: RequestId, record: SignedRecord },
    /// The record of a subscription is stored; the topic had so many subscribers before.
    Subscribed(RequestId, u32),
    /// The record of an ended subscription is stored.
    Unsubscribed,
    /// Candidates for neighbours.
    Sample,
    /// A page for the application.
    List(RequestId),
}

/// What is known of a topic when a question ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// The newest record that was found or that stands against the one put.
    pub(crate) record: Option<SignedRecord>,
    /// Subscribers.
    pub(crate) subscribers: Vec<PeerEntry>,
    /// How many subscribers there are in all, this peer included if it is one.
    pub(crate) total: u32,
    /// How many seeds answered without a refusal.
    pub(crate) answers: usize,
    /// How many seeds refused the records that were put.
    pub(crate) refusals: usize,
    /// Where the topic's host is.
    pub(crate) hosting: Hosting,
    /// So many topics is what the seeds allow, and they are there.
    pub(crate) full: Option<u32>,
}

impl Findings {
    /// The record, if it is one of a topic.
    pub(crate) fn topic_record(&self) -> Option<&TopicRecord> {
        match &self.record.as_ref()?.record {
            Record::Topic(record) => Some(record),
            _ => None,
        }
    }

    /// Keeps the better news of the host: a seed that lists it knows best, and one that saw it
    /// die knows more than one that has just started.
    pub(crate) fn offer_hosting(&mut self, hosting: Hosting) {
        let weight = |hosting: &Hosting| match hosting {
            Hosting::None => 0,
            Hosting::Away(absence) => 1 + u128::from(absence.gone_ms),
            Hosting::Orphaned(absence) => 1 << 64 | u128::from(absence.gone_ms),
            Hosting::Dropped => 1 << 65,
            Hosting::Here(_) => u128::MAX,
        };
        if weight(&hosting) > weight(&self.hosting) {
            self.hosting = hosting;
        }
    }

    /// Keeps the newer of the known record and this one.
    pub(crate) fn offer(&mut self, record: SignedRecord) {
        let order = |signed: &SignedRecord| match &signed.record {
            Record::Topic(record) => Some(record.rank()),
            _ => None,
        };
        if self.record.as_ref().is_none_or(|known| order(known) < order(&record)) {
            self.record = Some(record);
        }
    }
}

/// An open question.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The topic it is about.
    pub(crate) topic: Topic,
    /// What it is for.
    pub(crate) goal: Goal,
    /// The frame to send to seeds that join meanwhile.
    frame: Frame,
    /// One seed answers for all; when it cannot, another one is asked.
    alone: bool,
    /// Seeds that were asked and have not answered, and when.
    asked: Vec<(LinkId, Instant)>,
    /// Seeds that were asked alone.
    tried: Vec<LinkId>,
    /// Who has answered. A seed that is joined anew meanwhile has no second voice.
    answered: Vec<NodeId>,
    /// What is known so far.
    pub(crate) findings: Findings,
    deadline: Instant,
    /// When it takes too long.
    late_at: Instant,
}

/// All open questions.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<RequestId, Pending>,
    /// When each takes too long.
    late: BTreeSet<(Instant, RequestId)>,
    round_trips: RoundTrips,
    last: u64,
}

impl Requests {
    /// The number of the next question.
    pub(crate) fn next_id(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    /// Whether one more question can be asked.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < REQUESTS_MAX
    }

    /// A question was sent to `asked`.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        id: RequestId,
        (topic, goal, frame): (Topic, Goal, Frame),
        asked: &[LinkId],
        deadline: Instant,
    ) {
        let late_at = now + self.round_trips.delay();
        let pending = Pending {
            topic,
            goal,
            frame,
            alone: false,
            asked: asked.iter().map(|link| (*link, now)).collect(),
            tried: Vec::new(),
            answered: Vec::new(),
            findings: Findings::default(),
            deadline,
            late_at,
        };
        self.late.insert((late_at, id));
        self.open.insert(id, pending);
    }

    /// A question that one seed answers for all is to be sent: see [`Self::next_seed`].
    pub(crate) fn open_alone(
        &mut self,
        now: Instant,
        id: RequestId,
        question: (Topic, Goal, Frame),
        deadline: Instant,
    ) {
        self.open(now, id, question, &[], deadline);
        if let Some(pending) = self.open.get_mut(&id) {
            pending.alone = true;
        }
    }

    /// Chooses the seed that is asked next by a question that one seed answers for all: one of
    /// `sessions`, in this order, that was not asked before; `anew`: or else one that is not asked
    /// now, because it could not answer.
    pub(crate) fn next_seed(
        &mut self,
        now: Instant,
        id: RequestId,
        sessions: &[LinkId],
        anew: bool,
    ) -> Option<(LinkId, Frame)> {
        let pending = self.open.get_mut(&id)?;
        let is_new = |link: &&LinkId| !pending.tried.contains(link);
        let is_idle = |link: &&LinkId| anew && !pending.asked.iter().any(|(l, _)| l == *link);
        let link = *sessions.iter().find(is_new).or_else(|| sessions.iter().find(is_idle))?;
        pending.tried.push(link);
        pending.asked.push((link, now));
        Some((link, pending.frame.clone()))
    }

    /// A question that takes longer than usual, whether another seed is to be asked as well, and
    /// who has been silent for [`SILENT`]. It is late again after as long. A proposal goes to
    /// another seed only when the first is silent: two that propose at once disturb each other.
    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<(RequestId, bool, Vec<LinkId>)> {
        let (at, id) = *self.late.first().filter(|(at, _)| *at <= now)?;
        self.late.remove(&(at, id));
        let pending = self.open.get_mut(&id)?;
        let last = pending.deadline + PATIENCE;
        if last > now {
            let deadline = if pending.deadline > now { pending.deadline } else { last };
            pending.late_at = deadline.min(now + self.round_trips.delay());
            self.late.insert((pending.late_at, id));
        }
        let silent = pending.asked.iter().filter(|(_, at)| now.since(*at) >= SILENT);
        let silent: Vec<LinkId> = silent.map(|(link, _)| *link).collect();
        let again = pending.alone
            && match pending.frame {
                Frame::Propose(_) => silent.len() == pending.asked.len(),
                _ => true,
            };
        Some((id, again, silent))
    }

    /// Ends a question whatever was answered.
    pub(crate) fn end(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.open.remove(&id)?;
        self.late.remove(&(pending.late_at, id));
        Some(pending)
    }

    /// Ends all open questions about a topic that are for such a goal.
    pub(crate) fn end_all(&mut self, topic: &Topic, is_such: impl Fn(&Goal) -> bool) -> Vec<Goal> {
        let such = |pending: &Pending| pending.topic == *topic && is_such(&pending.goal);
        let open = self.open.iter().filter(|(_, pending)| such(pending));
        let open: Vec<RequestId> = open.map(|(id, _)| *id).collect();
        open.into_iter().filter_map(|id| Some(self.end(id)?.goal)).collect()
    }

    /// Whether a question of this kind is open.
    pub(crate) fn is_open(&self, topic: &Topic, goal: &Goal) -> bool {
        self.open.values().any(|pending| pending.topic == *topic && pending.goal == *goal)
    }

    /// The seed `node` answered: its question, to be updated. `None` for an answer to no open
    /// question, from a seed that was not asked, or from one that has answered before.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        id: RequestId,
        (link, node): (LinkId, NodeId),
    ) -> Option<&mut Pending> {
        let pending = self.open.get_mut(&id)?;
        let at = pending.asked.iter().position(|(asked, _)| *asked == link)?;
        let (_, asked_at) = pending.asked.swap_remove(at);
        self.round_trips.answered(now.since(asked_at));
        if pending.answered.contains(&node) {
            return None;
        }
        pending.answered.push(node);
        Some(pending)
    }

    /// The seed `node` answered that it cannot say: it may be asked once more.
    pub(crate) fn could_not(&mut self, id: RequestId, node: &NodeId) {
        if let Some(pending) = self.open.get_mut(&id) {
            pending.answered.retain(|answered| answered != node);
        }
    }

    /// Ends a question if as many seeds have answered as it needs, or if one refuses.
    pub(crate) fn finish(&mut self, id: RequestId, quorum: usize) -> Option<Pending> {
        let pending = self.open.get(&id)?;
        let enough = if pending.alone { 1 } else { quorum };
        let over = pending.findings.answers >= enough || pending.findings.refusals > 0;
        over.then(|| self.end(id)).flatten()
    }

    /// Who the seeds are has changed: from now on only the voices of those count that the peer has
    /// a session with, as others may be no seeds any more. Returns all open questions, as fewer
    /// voices than before may be enough.
    pub(crate) fn recount(&mut self, has_session: impl Fn(&NodeId) -> bool) -> Vec<RequestId> {
        for pending in self.open.values_mut().filter(|pending| !pending.alone) {
            pending.answered.retain(&has_session);
            pending.findings.answers = pending.findings.answers.min(pending.answered.len());
        }
        self.open.keys().copied().collect()
    }

    /// Questions whose time is over; longer, where a majority `is_there` and only slow.
    pub(crate) fn expired(&mut self, now: Instant, is_there: bool) -> Vec<Pending> {
        let patience = if is_there { PATIENCE } else { Duration::ZERO };
        let over = self.open.iter().filter(|(_, pending)| pending.deadline + patience <= now);
        let over: Vec<RequestId> = over.map(|(id, _)| *id).collect();
        over.into_iter().filter_map(|id| self.end(id)).collect()
    }

    /// When the next question takes too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.late.first().map(|(at, _)| *at)
    }

    /// A seed joined: questions to put to it too.
    pub(crate) fn ask_also(&mut self, now: Instant, link: LinkId) -> Vec<Frame> {
        let mut frames = Vec::new();
        for pending in self.open.values_mut() {
            // One that was asked alone and is late is asked beside another one.
            let waits = pending.alone
                && pending.asked.iter().any(|(_, at)| now.since(*at) < self.round_trips.delay());
            if waits || pending.asked.iter().any(|(asked, _)| *asked == link) {
                continue;
            }
            pending.asked.push((link, now));
            if pending.alone {
                pending.tried.push(link);
            }
            frames.push(pending.frame.clone());
        }
        frames
    }

    /// A seed is lost: it will not answer. Returns questions that another one is to be asked.
    pub(crate) fn lost(&mut self, link: LinkId) -> Vec<RequestId> {
        let mut again = Vec::new();
        for (id, pending) in &mut self.open {
            let before = pending.asked.len();
            pending.asked.retain(|(asked, _)| *asked != link);
            if pending.alone && pending.asked.len() < before {
                again.push(*id);
            }
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;
    use crate::wire::frame::Propose;
    use crate::wire::record::DeathVote;

    const LATER: Instant = Instant::from_millis(9_000);

    fn seed(n: u8) -> (LinkId, NodeId) {
        (LinkId(n.into()), NodeId([n; 32]))
    }

    fn question() -> (Topic, Goal, Frame) {
        (Topic::overlay(), Goal::Publish, Frame::Accept)
    }

    #[test]
    fn a_question_ends_with_a_quorum_of_different_seeds() {
        let mut requests = Requests::default();
        let (now, id) = (Instant::ZERO, requests.next_id());
        requests.open(now, id, question(), &[LinkId(1)], LATER);
        assert_eq!(requests.ask_also(now, LinkId(2)).len(), 1);
        requests.answered(now, id, seed(1)).expect("asked").findings.answers += 1;
        assert!(requests.answered(now, id, seed(1)).is_none(), "only once");
        assert_eq!(requests.ask_also(now, LinkId(3)).len(), 1);
        let again = requests.answered(now, id, (LinkId(3), NodeId([1; 32])));
        assert!(again.is_none(), "on another link either");
        assert!(requests.finish(id, 2).is_none());
        requests.answered(now, id, seed(2)).expect("asked").findings.answers += 1;
        assert!(requests.finish(id, 2).is_some());
        assert_eq!(requests.next_deadline(), None);
    }

    #[test]
    fn when_the_seeds_change_only_those_count_that_are_left() {
        let mut requests = Requests::default();
        let now = Instant::ZERO;
        let ids = [requests.next_id(), requests.next_id()];
        for (id, by) in ids.into_iter().zip([[1, 2], [2, 3]]) {
            requests.open(now, id, question(), &[1, 2, 3, 4].map(LinkId), LATER);
            for n in by {
                requests.answered(now, id, seed(n)).expect("asked").findings.answers += 1;
            }
            assert!(requests.finish(id, 3).is_none(), "three of four are needed");
        }
        // The first seed is removed: of those that are left two are enough.
        requests.lost(LinkId(1));
        let left: Vec<NodeId> = (2..=4).map(|n| seed(n).1).collect();
        assert_eq!(requests.recount(|node| left.contains(node)), ids);
        assert!(requests.finish(ids[0], 2).is_none(), "one of them answered it");
        assert!(requests.finish(ids[1], 2).is_some());
        requests.answered(now, ids[0], seed(4)).expect("asked").findings.answers += 1;
        assert!(requests.finish(ids[0], 2).is_some());
    }

    #[test]
    fn a_question_that_one_answers_for_all_goes_to_one_after_the_other() {
        let mut requests = Requests::default();
        let (now, id) = (Instant::ZERO, requests.next_id());
        requests.open_alone(now, id, question(), LATER);
        let seeds = [LinkId(1), LinkId(2)];
        let next = |requests: &mut Requests| {
            requests.next_seed(now, id, &seeds, false).map(|(link, _)| link)
        };
        assert_eq!(next(&mut requests), Some(LinkId(1)));
        assert!(requests.ask_also(now, LinkId(3)).is_empty(), "one is asked already");
        assert_eq!(requests.lost(LinkId(1)), [id]);
        assert_eq!((next(&mut requests), next(&mut requests)), (Some(LinkId(2)), None));
        assert!(requests.next_seed(now, id, &[LinkId(2)], true).is_none(), "it is asked now");
        let anew = requests.next_seed(now, id, &[LinkId(1), LinkId(2)], true);
        assert_eq!(anew.map(|(link, _)| link), Some(LinkId(1)));
        requests.lost(LinkId(1));
        requests.answered(now, id, seed(2)).expect("asked").findings.answers += 1;
        assert!(requests.finish(id, 9).is_some(), "its answer counts for all");
    }

    #[test]
    fn a_late_proposal_goes_to_another_seed_only_when_the_first_is_silent() {
        let mut requests = Requests::default();
        let (now, id) = (Instant::ZERO, requests.next_id());
        let vote = DeathVote {
            voter: NodeId([1; 32]),
            node: NodeId([2; 32]),
            incarnation: Incarnation(1),
        };
        let record = SignedRecord::sign(
            Record::DeathVote(vote),
            &crate::crypto::Signer::Checksum(NodeId([1; 32])),
        );
        let frame = Frame::Propose(Box::new(Propose { request: id, record }));
        requests.open_alone(now, id, (Topic::overlay(), Goal::Publish, frame), LATER);
        requests.next_seed(now, id, &[LinkId(1)], false).expect("asked");
        let late_at = requests.next_deadline().expect("open");
        assert_eq!(requests.pop_late(late_at), Some((id, false, vec![])));
        let next = requests.next_deadline().expect("open");
        assert_eq!(requests.pop_late(next), Some((id, true, vec![LinkId(1)])));
    }

    #[test]
    fn a_late_question_says_who_does_not_answer_until_it_is_over() {
        let mut requests = Requests::default();
        let (now, id) = (Instant::ZERO, requests.next_id());
        requests.open(now, id, question(), &[LinkId(1), LinkId(2)], LATER);
        let late_at = requests.next_deadline().expect("open");
        assert_eq!(requests.pop_late(now), None);
        requests.answered(now, id, seed(2)).expect("asked").findings.answers += 1;
        assert_eq!(requests.pop_late(late_at), Some((id, false, vec![])));
        assert_eq!(requests.pop_late(late_at), None, "not before as long again");
        let next = requests.next_deadline().expect("open");
        assert!(next > late_at);
        assert_eq!(requests.pop_late(next), Some((id, false, vec![LinkId(1)])));
        assert!(requests.expired(LATER, true).is_empty(), "a majority is there");
        assert_eq!(requests.expired(LATER, false).len(), 1);
        assert_eq!((requests.next_deadline(), requests.pop_late(LATER)), (None, None));
    }
}
