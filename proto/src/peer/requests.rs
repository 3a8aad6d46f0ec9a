//! Questions to the seeds and who waits for the answers.
//!
//! A question goes to all joined seeds, also to those that join while it is open. It ends when a
//! quorum has answered, or at its deadline with what is known by then.

use std::collections::BTreeMap;

use crate::filter::TopicFilter;
use crate::id::{LinkId, RequestId, Topic};
use crate::peer::event::From;
use crate::time::Instant;
use crate::wire::frame::{Frame, Hosting, PeerEntry};
use crate::wire::record::{Record, SignedRecord, TopicPolicy, TopicRecord};

/// The most questions open at once.
pub(crate) const REQUESTS_MAX: usize = 16_384;

/// What a question is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Tell the application about the topic.
    Info(RequestId),
    /// Subscribe if the topic exists.
    Subscribe(RequestId, From),
    /// Create the topic if it does not exist.
    Create { request: RequestId, exist_ok: bool, policy: TopicPolicy },
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
    Created { request: RequestId, record: SignedRecord },
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
    /// The frame to send to seeds that join meanwhile; `None` when one seed is enough.
    pub(crate) frame: Option<Frame>,
    /// One seed answers for all; when it cannot, another one is asked.
    alone: bool,
    /// Seeds that were asked and have not answered.
    asked: Vec<LinkId>,
    /// Seeds that were asked alone.
    tried: Vec<LinkId>,
    /// What is known so far.
    pub(crate) findings: Findings,
    deadline: Instant,
}

/// All open questions.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<RequestId, Pending>,
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
        id: RequestId,
        topic: Topic,
        goal: Goal,
        frame: Option<Frame>,
        asked: Vec<LinkId>,
        deadline: Instant,
    ) {
        let findings = Findings::default();
        let (alone, tried) = (false, Vec::new());
        self.open
            .insert(id, Pending { topic, goal, frame, alone, asked, tried, findings, deadline });
    }

    /// A question that one seed answers for all is to be sent: see [`Self::next_seed`].
    pub(crate) fn open_alone(
        &mut self,
        id: RequestId,
        topic: Topic,
        goal: Goal,
        frame: Frame,
        deadline: Instant,
    ) {
        self.open(id, topic, goal, Some(frame), Vec::new(), deadline);
        if let Some(pending) = self.open.get_mut(&id) {
            pending.alone = true;
        }
    }

    /// Chooses the seed that is asked next by a question that one seed answers for all: one of
    /// `sessions`, in this order, that was not asked before.
    pub(crate) fn next_seed(
        &mut self,
        id: RequestId,
        sessions: &[LinkId],
    ) -> Option<(LinkId, Frame)> {
        let pending = self.open.get_mut(&id)?;
        let link = *sessions.iter().find(|link| !pending.tried.contains(link))?;
        let frame = pending.frame.clone()?;
        pending.tried.push(link);
        pending.asked.push(link);
        Some((link, frame))
    }

    /// Ends a question whatever was answered.
    pub(crate) fn end(&mut self, id: RequestId) -> Option<Pending> {
        self.open.remove(&id)
    }

    /// Whether a question of this kind is open.
    pub(crate) fn is_open(&self, topic: &Topic, goal: &Goal) -> bool {
        self.open.values().any(|pending| pending.topic == *topic && pending.goal == *goal)
    }

    /// A seed answered: its question, to be updated. `None` for an answer to no open question or
    /// from a seed that was not asked.
    pub(crate) fn answered(&mut self, id: RequestId, link: LinkId) -> Option<&mut Pending> {
        let pending = self.open.get_mut(&id)?;
        let at = pending.asked.iter().position(|asked| *asked == link)?;
        pending.asked.swap_remove(at);
        Some(pending)
    }

    /// Ends a question if a quorum has answered, or if nobody is left to answer and no seed can
    /// join any more.
    pub(crate) fn finish(&mut self, id: RequestId, quorum: usize) -> Option<Pending> {
        let pending = self.open.get(&id)?;
        let one_is_enough = pending.alone || pending.frame.is_none();
        let enough = if one_is_enough { 1 } else { quorum };
        (pending.findings.answers >= enough || pending.findings.refusals > 0)
            .then(|| self.open.remove(&id))
            .flatten()
    }

    /// Questions whose time is over.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Pending> {
        self.open.extract_if(.., |_, pending| pending.deadline <= now).map(|(_, p)| p).collect()
    }

    /// When the next question's time is over: all have the same time, so the oldest ends first.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.open.values().next().map(|pending| pending.deadline)
    }

    /// A seed joined: questions to put to it too.
    pub(crate) fn ask_also(&mut self, link: LinkId) -> Vec<Frame> {
        let mut frames = Vec::new();
        for pending in self.open.values_mut() {
            let is_asked =
                pending.asked.contains(&link) || pending.alone && !pending.asked.is_empty();
            if let Some(frame) = &pending.frame
                && !is_asked
            {
                pending.asked.push(link);
                if pending.alone {
                    pending.tried.push(link);
                }
                frames.push(frame.clone());
            }
        }
        frames
    }

    /// A seed is lost: it will not answer. Returns questions that only it could answer, and
    /// those that another one is to be asked.
    pub(crate) fn lost(&mut self, link: LinkId) -> (Vec<Pending>, Vec<RequestId>) {
        let mut again = Vec::new();
        for (id, pending) in &mut self.open {
            let before = pending.asked.len();
            pending.asked.retain(|asked| *asked != link);
            if pending.alone && pending.asked.len() < before {
                again.push(*id);
            }
        }
        let hopeless = |_: &RequestId, p: &mut Pending| p.frame.is_none() && p.asked.is_empty();
        let hopeless = self.open.extract_if(.., hopeless).map(|(_, pending)| pending).collect();
        (hopeless, again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_ends_with_a_quorum_of_different_seeds() {
        let mut requests = Requests::default();
        let (id, topic) = (requests.next_id(), Topic::overlay());
        let asked = vec![LinkId(1)];
        requests.open(id, topic, Goal::Publish, Some(Frame::Accept), asked, Instant::ZERO);
        assert_eq!(requests.ask_also(LinkId(2)).len(), 1);
        requests.answered(id, LinkId(1)).expect("asked").findings.answers += 1;
        assert!(requests.answered(id, LinkId(1)).is_none(), "only once");
        assert!(requests.finish(id, 2).is_none());
        requests.answered(id, LinkId(2)).expect("asked").findings.answers += 1;
        assert!(requests.finish(id, 2).is_some());
    }

    #[test]
    fn a_question_to_one_seed_ends_with_it() {
        let mut requests = Requests::default();
        let id = requests.next_id();
        let goal = Goal::List(RequestId(9));
        requests.open(id, Topic::overlay(), goal, None, vec![LinkId(1)], Instant::ZERO);
        assert_eq!(requests.lost(LinkId(1)).0.len(), 1);
        assert!(requests.expired(Instant::ZERO).is_empty());
    }

    #[test]
    fn a_question_that_one_answers_for_all_goes_to_one_after_the_other() {
        let mut requests = Requests::default();
        let id = requests.next_id();
        let (topic, frame) = (Topic::overlay(), Frame::Accept);
        requests.open_alone(id, topic, Goal::Publish, frame, Instant::ZERO);
        let seeds = [LinkId(1), LinkId(2)];
        let next = |requests: &mut Requests| requests.next_seed(id, &seeds).map(|(link, _)| link);
        assert_eq!(next(&mut requests), Some(LinkId(1)));
        assert!(requests.ask_also(LinkId(3)).is_empty(), "one is asked already");
        let (hopeless, again) = requests.lost(LinkId(1));
        assert!(hopeless.is_empty() && again == [id]);
        assert_eq!((next(&mut requests), next(&mut requests)), (Some(LinkId(2)), None));
        requests.answered(id, LinkId(2)).expect("asked").findings.answers += 1;
        assert!(requests.finish(id, 9).is_some(), "its answer counts for all");
    }
}
