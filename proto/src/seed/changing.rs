//! The set of seeds changes: what this seed does when it hears of another one, and how it sees to
//! it that nothing is lost between two sets.
//!
//! Everybody adopts a set on which the seeds have agreed, and takes part in no decision in which
//! majorities are counted by another one. While the set is joint each seed has all that it
//! accepted before held by both majorities, register by register. Once a majority of the seeds
//! before has done so, nothing that was ever decided rests on seeds that may go, and the change
//! is finished.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;

use rand::RngExt as _;

use crate::id::{LinkId, NodeId, Topic};
use crate::seed::admin::Asker;
use crate::seed::event::Notice;
use crate::seed::memory::Key;
use crate::seed::proposals::{Purpose, WAITING_MAX};
use crate::seed::register::Current;
use crate::seed::set::{Change, SeedSet};
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{AdminAnswer, Frame, MemberState, Outcome, Reason, SetMember, SetView};
use crate::wire::record::{Record, SeedPlace, SignedRecord};

/// Registers that are settled at once: few beside what peers want at the same time.
const SETTLING_MAX: usize = 64;
/// What could not be settled is tried again after this: seeds that are away are back, or not.
const AGAIN: Duration = Duration::from_millis(500);
/// The seeds that see that a change can be finished wait for a random part of this, so that one
/// of them does it.
const FINISH_WITHIN_MS: u32 = 200;

/// How far this seed is in settling what it holds, in the joint set of a version.
#[derive(Debug, Default)]
pub(super) struct Settling {
    version: u64,
    /// The last register that was begun; `None` when none was.
    last: Option<Topic>,
    /// All were begun.
    at_end: bool,
    /// Under way.
    open: BTreeSet<Topic>,
    /// To be tried again.
    again: BTreeSet<Topic>,
    /// Seeds that have settled all that they held, this one included.
    settled: BTreeSet<NodeId>,
}

impl Seed {
    /// A row with the set. Returns whether it could be what was once written.
    pub(super) fn restore_set_row(&mut self, signed: &SignedRecord) -> bool {
        let Record::SeedSet(record) = &signed.record else { return false };
        self.sync.set = SeedSet::from(record);
        self.seed_set = Some(signed.clone());
        true
    }

    /// The set that was on disk holds, whatever the configuration says.
    pub(super) fn restore_set(&mut self, now: Instant) {
        if self.seed_set.is_none() {
            return;
        }
        for slot in &mut self.sync.slots {
            slot.member = self.sync.set.contains(slot.address);
        }
        self.sync.make_slots();
        let is_member = self.sync.is_member();
        for slot in 0..self.sync.slots.len() {
            if is_member && self.sync.slots[slot].member {
                self.timers.set(Timer::DialSeed(slot), now);
            } else {
                self.timers.cancel(Timer::DialSeed(slot));
            }
        }
        self.timers.set(Timer::Digest, now + self.config.sync_interval);
        let configured: BTreeSet<_> = self.config.seeds.iter().copied().collect();
        let stored: BTreeSet<_> = self.sync.set.all().into_iter().map(|s| s.address).collect();
        if configured != stored {
            let (version, seeds) = (self.sync.set.version, stored.into_iter().collect());
            self.notice(Notice::ConfigDiffers { version, seeds, is_member });
        }
    }

    /// Tells who the seeds are, when that differs from the configuration.
    pub(super) fn tell_set(&mut self, link: LinkId) {
        if let Some(signed) = self.seed_set.clone() {
            self.send(link, Frame::SeedSet(Box::new(signed)));
            let me = self.me();
            if self.settling.settled.contains(&me) {
                self.send(link, Frame::Settled(self.settling.version));
            }
        }
    }

    /// Another seed says who the seeds are.
    pub(super) fn take_set(&mut self, now: Instant, link: LinkId, signed: SignedRecord) {
        let Record::SeedSet(record) = &signed.record else {
            return self.violation(now, link, "a set of seeds that is none");
        };
        if record.version <= self.sync.set.version {
            return;
        }
        if !signed.verify(self.config.identity.scheme) {
            return self.violation(now, link, "a set of seeds that nobody signed");
        }
        self.adopt_set(now, signed);
    }

    /// Who the seeds are from now on.
    pub(super) fn adopt_set(&mut self, now: Instant, signed: SignedRecord) {
        let Record::SeedSet(record) = &signed.record else { return };
        if record.version <= self.sync.set.version {
            return;
        }
        let was_member = self.sync.is_member();
        self.sync.set = SeedSet::from(record);
        self.seed_set = Some(signed.clone());
        self.touched.insert(Key::SeedSet);
        self.settling = Settling::default();
        self.timers.cancel(Timer::Settle);
        self.timers.cancel(Timer::Finish);
        // An attempt counts majorities of the set in which it began.
        self.proposals.restart(now);
        self.tell_seeds(&Frame::SeedSet(Box::new(signed)));
        let is_member = self.sync.is_member();
        self.notice_set(is_member);
        if self.sync.set.before.is_none() {
            self.tell_sessions_of_set();
        }
        self.renew_slots(now, is_member);
        if was_member && !is_member {
            self.resign(now);
        }
        if self.acceptors.is_learning() {
            // What was told before does not say what was decided by other seeds since.
            self.acceptors.learn_anew();
            self.tell_seeds(&Frame::VotesRequest);
        }
        self.begin_settling(now);
    }

    fn notice_set(&mut self, is_member: bool) {
        let SeedSet { version, seeds, before } = &self.sync.set;
        let addresses =
            |seeds: &[SeedPlace]| seeds.iter().map(|seed| seed.address).collect::<Vec<_>>();
        let (version, seeds) = (*version, addresses(seeds));
        let before = before.as_deref().map(addresses);
        self.notice(Notice::SeedSet { version, seeds, before, is_member });
    }

    /// Links with seeds that are none any more end, and new ones are dialled.
    fn renew_slots(&mut self, now: Instant, is_member: bool) {
        for slot in 0..self.sync.slots.len() {
            let stays = self.sync.set.contains(self.sync.slots[slot].address);
            let state = &mut self.sync.slots[slot];
            if state.member && !stays {
                state.member = false;
                let links = [state.link, state.held, state.greeting];
                self.timers.cancel(Timer::DialSeed(slot));
                for link in links.into_iter().flatten() {
                    self.close(now, link, Reason::NotInSet, "that seed was removed from the set");
                }
            }
        }
        let mut wanted = self.sync.make_slots();
        if !is_member {
            return;
        }
        let lonely = |slot: &usize| {
            let slot = &self.sync.slots[*slot];
            slot.member && slot.link.is_none() && !slot.dialing
        };
        wanted.extend((0..self.sync.slots.len()).filter(lonely));
        for slot in wanted {
            self.timers.set(Timer::DialSeed(slot), now);
        }
        self.timers.set(Timer::Digest, now + self.config.sync_interval);
    }

    /// This seed is none any more: it votes on nothing and serves no peer.
    fn resign(&mut self, now: Instant) {
        self.acceptors.learn_anew();
        self.touched.insert(Key::Membership);
        for link in self.session_links() {
            self.close(now, link, Reason::NotInSet, "this seed was removed from the set");
        }
        for slot in 0..self.sync.slots.len() {
            self.timers.cancel(Timer::DialSeed(slot));
            if let Some(link) = self.sync.slots[slot].link {
                self.close(now, link, Reason::NotInSet, "this seed was removed from the set");
            }
        }
    }

    fn session_links(&self) -> Vec<LinkId> {
        self.links.sessions().map(|(_, link)| link).collect()
    }

    fn tell_sessions_of_set(&mut self) {
        let Some(signed) = self.seed_set.clone() else { return };
        for link in self.session_links() {
            self.send(link, Frame::SeedSet(Box::new(signed.clone())));
        }
    }

    /// While the set is joint, a seed that votes settles what it holds.
    pub(super) fn begin_settling(&mut self, now: Instant) {
        let version = self.sync.set.version;
        let is_needed = self.sync.set.before.is_some() && self.sync.is_member();
        if is_needed && !self.acceptors.is_learning() && !self.settling.is_begun(version) {
            let settled = std::mem::take(&mut self.settling.settled);
            self.settling = Settling { version, settled, ..Settling::default() };
            self.timers.set(Timer::Settle, now);
        }
    }

    /// Settles some more registers.
    pub(super) fn settle_more(&mut self, now: Instant) {
        if self.sync.set.before.is_none() || self.settling.version != self.sync.set.version {
            return;
        }
        let mut next = std::mem::take(&mut self.settling.again);
        while self.settling.open.len() + next.len() < SETTLING_MAX && !self.settling.at_end {
            let from = self.settling.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            match self.acceptors.next_key(from).cloned() {
                Some(topic) => {
                    self.settling.last = Some(topic.clone());
                    next.insert(topic);
                }
                None => self.settling.at_end = true,
            }
        }
        for topic in next {
            self.settle_register(now, topic);
        }
        if !self.settling.again.is_empty() {
            self.timers.set(Timer::Settle, now + AGAIN);
        }
        self.settling_is_over(now);
    }

    fn settle_register(&mut self, now: Instant, topic: Topic) {
        if let Some(open) = self.proposals.get_mut(&topic) {
            if open.waiting.len() < WAITING_MAX {
                open.waiting.push_back(Purpose::Settle);
                self.settling.open.insert(topic);
            } else {
                self.settling.again.insert(topic);
            }
        } else if self.proposals.has_room() && self.sync.has_quorum() {
            self.settling.open.insert(topic.clone());
            self.begin(now, topic, Purpose::Settle, VecDeque::new());
        } else {
            self.settling.again.insert(topic);
        }
    }

    /// A register is settled, or could not be.
    pub(super) fn register_settled(&mut self, now: Instant, topic: &Topic, is_settled: bool) {
        if !self.settling.open.remove(topic) {
            return;
        }
        if !is_settled {
            self.settling.again.insert(topic.clone());
        }
        let at = if is_settled { now } else { now + AGAIN };
        self.timers.set(Timer::Settle, at);
    }

    fn settling_is_over(&mut self, now: Instant) {
        let me = self.me();
        let Settling { at_end, open, again, version, .. } = &self.settling;
        let is_over = *at_end && open.is_empty() && again.is_empty();
        let version = *version;
        if is_over && self.settling.settled.insert(me) {
            self.tell_seeds(&Frame::Settled(version));
            self.consider_finish(now);
        }
    }

    /// Another seed has settled all that it holds.
    pub(super) fn take_settled(&mut self, now: Instant, from: NodeId, version: u64) {
        if version == self.sync.set.version && self.sync.set.before.is_some() {
            self.settling.settled.insert(from);
            self.consider_finish(now);
        }
    }

    fn consider_finish(&mut self, now: Instant) {
        let set = &self.sync.set;
        let me = self.me();
        let settled = |address| {
            self.sync.node_at(me, address).is_some_and(|node| self.settling.settled.contains(&node))
        };
        if set.is_settled(settled) && !self.timers.is_set(Timer::Finish) {
            let wait = self.rng.random_range(0..=FINISH_WITHIN_MS);
            self.timers.set(Timer::Finish, now + Duration::from_millis(wait.into()));
        }
    }

    /// The change that is under way is finished, if nobody else has done it.
    pub(super) fn finish_change(&mut self, now: Instant) {
        if self.sync.set.before.is_some() {
            self.change_set(now, Asker::Nobody, Change::Finish(self.sync.set.version));
            self.timers.set(Timer::Finish, now + AGAIN);
        }
    }

    /// Somebody wants the set to be changed.
    pub(super) fn change_set(&mut self, now: Instant, asker: Asker, change: Change) {
        let topic = Topic::seeds();
        let purpose = Purpose::Change { asker, change };
        if let Some(open) = self.proposals.get_mut(&topic) {
            if open.waiting.len() < WAITING_MAX {
                return open.waiting.push_back(purpose);
            }
        } else if self.proposals.has_room() && self.may_change(change) {
            return self.begin(now, topic, purpose, VecDeque::new());
        }
        self.answer_admin(asker, AdminAnswer::NoQuorum);
    }

    /// Whether enough seeds are linked for a change.
    fn may_change(&self, change: Change) -> bool {
        let set = &self.sync.set;
        let is_linked = |address| address == self.sync.own() || self.sync.is_linked(address);
        let is_enough =
            if self.takes_back(change) { SeedSet::knows_all } else { SeedSet::is_majority };
        self.sync.is_member() && is_enough(set, is_linked)
    }

    /// Whether a change takes back the one that is under way.
    pub(super) fn takes_back(&self, change: Change) -> bool {
        let set = &self.sync.set;
        let next = set.after(change);
        next.is_ok_and(|next| set.takes_back(&next.seeds, next.before.as_deref()))
    }

    /// A majority has promised: what the set is, and what it is to be.
    pub(super) fn decide_set(&mut self, now: Instant, current: Current<SignedRecord>) {
        let topic = Topic::seeds();
        let Some(proposal) = self.proposals.get_mut(&topic) else { return };
        let Purpose::Change { asker, change } = proposal.purpose else { return };
        let known = match current.value.as_ref().map(|signed| &signed.record) {
            Some(Record::SeedSet(record)) => SeedSet::from(record),
            _ => self.sync.set.clone(),
        };
        let next = match known.version == self.sync.set.version {
            true => known.after(change),
            false => Err("another change is being decided: ask again".to_owned()),
        };
        match (next, current.value) {
            (Ok(next), _) => {
                let record = Record::SeedSet(next.record(self.signer.node()));
                let signed = SignedRecord::sign(record, &self.signer);
                self.ask_to_accept(now, &topic, signed, Outcome::Kept);
            }
            (Err(text), value) => {
                proposal.purpose = Purpose::Read;
                self.answer_admin(asker, AdminAnswer::Refused(text));
                match value {
                    Some(value) => {
                        // Who promised may be fewer than a decision needs.
                        let held = (value, current.is_chosen && !self.takes_back(change));
                        self.settle_value(now, &topic, held, Outcome::Kept);
                    }
                    None => self.conclude(now, &topic, Some((None, Outcome::Kept))),
                }
            }
        }
    }

    /// A change has been decided, or no majority was there for it.
    pub(super) fn set_changed(&mut self, asker: Asker, is_decided: bool) {
        let answer = match is_decided {
            true => AdminAnswer::Set(self.set_view()),
            false => AdminAnswer::NoQuorum,
        };
        self.answer_admin(asker, answer);
    }

    /// The set as people see it.
    pub(super) fn set_view(&self) -> SetView {
        let (set, me) = (&self.sync.set, self.me());
        let own = self.config.identity.address;
        let member = |place: SeedPlace| {
            let node = self.sync.node_at(me, place.address);
            SetMember {
                place,
                reachable: place.address == own || self.sync.is_linked(place.address),
                state: if set.before.is_some() {
                    set.state_of(place.address)
                } else {
                    MemberState::Stays
                },
                settled: node.is_some_and(|node| self.settling.settled.contains(&node)),
            }
        };
        SetView {
            own,
            version: set.version,
            seeds: set.all().into_iter().map(member).collect(),
            changing: set.before.is_some(),
        }
    }
}

impl Settling {
    /// Whether this seed has begun with the set of a version.
    fn is_begun(&self, version: u64) -> bool {
        self.version == version
    }
}
