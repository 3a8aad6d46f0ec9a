//! A peer is to be forgotten: somebody who sees that it is gone does not want to wait until
//! neighbours miss it, or until a dead one is listed no more.
//!
//! That is a report like others, and decides no more than those do: the seeds look for
//! themselves, all at once, and only what a majority of them gets no answer from goes. So anybody
//! may ask. A seed tells the one that asks when the peer is not listed there; a majority of such
//! seeds is what the asker waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::id::{Incarnation, LinkId, NodeId, RequestId};
use crate::seed::admin::Asker;
use crate::seed::event::Notice;
use crate::seed::probes::Probe;
use crate::seed::registry::Seen;
use crate::seed::{Seed, Timer};
use crate::time::Instant;
use crate::wire::frame::{AdminAnswer, ForgetStep, Forgetting, Frame, PeerEntry, PeerItem};

/// Peers that are to be forgotten at once. Guess: more than a person names.
const OPEN_MAX: usize = 64;
/// Of these, by one session or operator.
const OPEN_PER_LINK_MAX: usize = 8;
/// Who waits for one peer: the seeds, and some people.
const ASKERS_MAX: usize = 64;
/// So many times that of a probe the seeds have: one that waits for its next probe, the probe,
/// and the question whether votes stand.
const PROBES: u32 = 3;
/// The first digits of an id are enough, when they are so many: what lists show has ten.
const DIGITS_MIN: usize = 8;

/// Peers that are to be forgotten.
#[derive(Debug, Default)]
pub(super) struct Forgets {
    open: BTreeMap<NodeId, Forget>,
    rounds: u64,
}

/// A peer that is to be forgotten.
#[derive(Debug)]
struct Forget {
    incarnation: Incarnation,
    /// Operators and peers that wait here, and what they are told of it.
    askers: Vec<(Asker, PeerItem)>,
    /// Seeds that wait, with the number that they gave it.
    seeds: BTreeMap<NodeId, RequestId>,
    round: RequestId,
    /// Where it is not listed.
    gone: BTreeSet<NodeId>,
    /// Whom it answers.
    answers: BTreeSet<NodeId>,
}

impl Forgets {
    fn of_asker(&self, asker: Asker) -> usize {
        let same = |by: &Asker| match (by, asker) {
            (Asker::Link(a, _), Asker::Link(b, _)) => *a == b,
            (Asker::Command(_), Asker::Command(_)) => true,
            _ => false,
        };
        let askers = self.open.values().flat_map(|forget| &forget.askers);
        askers.filter(|(by, _)| same(by)).count()
    }

    /// What is open of a peer, begun now if there is room.
    fn entry(&mut self, node: NodeId, incarnation: Incarnation) -> Option<&mut Forget> {
        if !self.open.contains_key(&node) && self.open.len() >= OPEN_MAX {
            return None;
        }
        self.rounds += 1;
        let round = RequestId(self.rounds);
        let forget = self.open.entry(node).or_insert_with(|| Forget {
            incarnation,
            askers: Vec::new(),
            seeds: BTreeMap::new(),
            round,
            gone: BTreeSet::new(),
            answers: BTreeSet::new(),
        });
        (forget.askers.len() + forget.seeds.len() < ASKERS_MAX).then_some(forget)
    }
}

impl Seed {
    /// Somebody wants a listed peer to be forgotten.
    pub(super) fn forget(&mut self, now: Instant, asker: Asker, who: &str) {
        if !self.sync.is_member() {
            let text = "this seed is not in the set: ask another one".to_owned();
            return self.answer_admin(asker, AdminAnswer::Refused(text));
        }
        if self.acceptors.is_learning() || !self.sync.has_quorum() {
            return self.answer_admin(asker, AdminAnswer::NoQuorum);
        }
        let item = match self.meant(who) {
            Ok(item) => item,
            Err(text) => return self.answer_admin(asker, AdminAnswer::Refused(text)),
        };
        let (node, incarnation) = (item.node, item.incarnation);
        let has_share = self.forgets.of_asker(asker) < OPEN_PER_LINK_MAX;
        let entry = has_share.then(|| self.forgets.entry(node, incarnation)).flatten();
        let Some(forget) = entry else {
            let text = "too many are to be forgotten at once: try again".to_owned();
            return self.answer_admin(asker, AdminAnswer::Refused(text));
        };
        forget.askers.push((asker, item));
        let round = forget.round;
        let ask = Forgetting { node, incarnation, round, step: ForgetStep::Ask };
        self.tell_seeds(&Frame::Forgetting(ask));
        self.timers.set(Timer::Forget(node), now + self.config.probe_timeout * PROBES);
        self.look_for_forgotten(now, node);
    }

    /// Another seed says something of a peer that is to be forgotten.
    pub(super) fn take_forgetting(
        &mut self,
        now: Instant,
        id: LinkId,
        from: NodeId,
        of: Forgetting,
    ) {
        let Forgetting { node, incarnation, round, step } = of;
        if step == ForgetStep::Ask {
            let Some(forget) = self.forgets.entry(node, incarnation) else { return };
            forget.seeds.insert(from, round);
            if !self.timers.is_set(Timer::Forget(node)) {
                self.timers.set(Timer::Forget(node), now + self.config.probe_timeout * PROBES);
            }
            return self.look_for_forgotten(now, node);
        }
        let Some(forget) = self.forgets.open.get_mut(&node) else { return };
        if forget.round != round || self.links.get(id).is_none() {
            return;
        }
        match step {
            ForgetStep::Gone => forget.gone.insert(from),
            _ => forget.answers.insert(from),
        };
        self.consider_forgotten(node);
    }

    /// This seed looks for itself whether the peer answers.
    fn look_for_forgotten(&mut self, now: Instant, node: NodeId) {
        let Some(forget) = self.forgets.open.get(&node) else { return };
        let life = forget.incarnation;
        match self.registry.peer(&node).map(|peer| peer.incarnation) {
            None => self.is_gone(node),
            Some(listed) if listed > life => self.lives_on(node),
            Some(listed) => {
                self.accuse(now, node, listed, self.me());
                let waits = self.reports.cases.get(&node);
                if waits.is_some_and(|case| case.probe == Probe::Waiting) {
                    self.start_probe(now, node);
                }
            }
        }
    }

    /// The peer is not listed here any more.
    pub(super) fn is_gone(&mut self, node: NodeId) {
        let me = self.me();
        let Some(forget) = self.forgets.open.get_mut(&node) else { return };
        forget.gone.insert(me);
        let peer = forget.askers.first().map(|(_, item)| entry_of(item));
        let peer = peer.or_else(|| self.registry.ended(&node).map(|ended| ended.entry()));
        self.registry.hide(&node);
        if let Some(peer) = peer {
            self.notice(Notice::Forgotten { peer, peers: self.registry.count() });
        }
        self.tell_askers(node, ForgetStep::Gone);
        self.consider_forgotten(node);
    }

    /// The peer was heard, or has registered with a later life.
    pub(super) fn lives_on(&mut self, node: NodeId) {
        let me = self.me();
        let Some(forget) = self.forgets.open.get_mut(&node) else { return };
        forget.answers.insert(me);
        self.tell_askers(node, ForgetStep::Answers);
        self.consider_forgotten(node);
    }

    /// Tells the seeds that asked, and forgets the matter if nobody else waits.
    fn tell_askers(&mut self, node: NodeId, step: ForgetStep) {
        let Some(forget) = self.forgets.open.get_mut(&node) else { return };
        let (incarnation, seeds) = (forget.incarnation, std::mem::take(&mut forget.seeds));
        for (seed, round) in seeds {
            let link = self.sync.slot_of(&seed).and_then(|slot| slot.link);
            if let Some(link) = link {
                let told = Forgetting { node, incarnation, round, step };
                self.send(link, Frame::Forgetting(told));
            }
        }
        if self.forgets.open.get(&node).is_some_and(|forget| forget.askers.is_empty()) {
            self.end_forget(node);
        }
    }

    /// Whether enough seeds have said what becomes of it.
    pub(super) fn consider_forgotten(&mut self, node: NodeId) {
        let me = self.me();
        let Some(forget) = self.forgets.open.get(&node) else { return };
        if forget.askers.is_empty() {
            return;
        }
        let is_gone = self.sync.is_majority(me, |seed| forget.gone.contains(seed));
        if is_gone && forget.gone.contains(&me) {
            return self.answer_forget(node, AdminAnswer::Forgotten);
        }
        // Nobody else lists it, so there will be no verdict: it goes as if its lease were over.
        let voted = self.reports.cases.get(&node).is_some_and(|case| case.votes.contains_key(&me));
        if voted && self.sync.is_majority(me, |seed| *seed == me || forget.gone.contains(seed)) {
            return self.expire(node);
        }
        let may_go = self.sync.is_majority(me, |seed| !forget.answers.contains(seed));
        if forget.answers.contains(&me) || !may_go {
            self.answer_forget(node, |item| AdminAnswer::Refused(alive(&item)));
        }
    }

    /// Not enough seeds have said so in time.
    pub(super) fn forget_in_vain(&mut self, node: NodeId) {
        let Some(forget) = self.forgets.open.get(&node) else { return };
        let is_alive = !forget.answers.is_empty();
        self.answer_forget(node, |item| match is_alive {
            true => AdminAnswer::Refused(alive(&item)),
            false => AdminAnswer::NoQuorum,
        });
    }

    fn answer_forget(&mut self, node: NodeId, answer: impl Fn(PeerItem) -> AdminAnswer) {
        let Some(forget) = self.end_forget(node) else { return };
        for (asker, item) in forget.askers {
            self.answer_admin(asker, answer(item));
        }
    }

    fn end_forget(&mut self, node: NodeId) -> Option<Forget> {
        self.timers.cancel(Timer::Forget(node));
        self.forgets.open.remove(&node)
    }

    /// The one listed peer with this id, address or name.
    fn meant(&self, who: &str) -> Result<PeerItem, String> {
        let address: Option<SocketAddr> = who.parse().ok();
        if address.is_some_and(|address| self.sync.set.contains(address)) {
            return Err(format!("{who} is a seed: 'seed set remove' takes it out of the set"));
        }
        let digits = who.to_ascii_lowercase();
        let is_id = who.len() >= DIGITS_MIN && who.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_meant = |seen: &Seen<'_>| {
            (!who.is_empty() && seen.name == who)
                || address == Some(seen.entry.address)
                || (is_id && seen.entry.node.to_string().starts_with(&digits))
        };
        let mut found = self.registry.listed(0).filter(is_meant);
        let Some(Seen { entry, name, state, .. }) = found.next() else {
            return Err(format!("no peer is listed with the id, address or name '{who}'"));
        };
        let others = found.count();
        if others > 0 {
            let count = others + 1;
            return Err(format!("{count} peers are listed as '{who}': say which by its id"));
        }
        let PeerEntry { node, incarnation, address } = entry;
        Ok(PeerItem { node, incarnation, address, name: name.to_owned(), state })
    }
}

fn entry_of(item: &PeerItem) -> PeerEntry {
    PeerEntry { node: item.node, incarnation: item.incarnation, address: item.address }
}

fn alive(item: &PeerItem) -> String {
    let PeerItem { node, address, name, .. } = item;
    match name.is_empty() {
        true => format!("the peer {node:?} at {address} answers: it is not gone"),
        false => format!("'{name}' at {address} answers: it is not gone"),
    }
}
