//! The other seeds: who they are, how they are reached, and what they are told.
//!
//! A seed is whoever answers at a configured address: nobody else's tables or votes are taken.
//! Two seeds keep one link, the one that the smaller node id dialled.

use core::time::Duration;

use rand::RngExt as _;

use crate::id::{LinkId, NodeId};
use crate::seed::digest::TableHash;
use crate::seed::event::Notice;
use crate::seed::links::Phase;
use crate::seed::slots::Slot;
use crate::seed::{Dialed, Seed, Timer, millis};
use crate::time::Instant;
use crate::wire::frame::{Frame, Hello, LEASES_MAX, Lease, Purpose, RangeHashes, Reason};
use crate::wire::record::{Record, SignedRecord};

/// The first wait after a failed dial; doubled with each further one. Guess: a restarted seed is
/// up within a second.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait between two dials, so that seeds are whole again soon after they are up.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A dial is given up after this, as those of peers are.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Renewed leases are gathered this long: with 1,000 peers renewing every 30 s, 33 in one frame.
const LEASES_INTERVAL: Duration = Duration::from_secs(1);
/// A record that comes without its lease is kept for this part of a lease; the lease follows in
/// the next frame.
pub(super) const PROVISIONAL_PART: u32 = 32;
/// Differing hashes in a row that start a transfer: what is just on its way is not missing.
const MISMATCHES: u32 = 2;

impl Seed {
    pub(super) fn dial_seed(&mut self, slot: usize) {
        let Slot { address, link, held, dialing, .. } = self.sync.slots[slot];
        if dialing || !self.sync.slots[slot].member || (link.is_some() && held.is_none()) {
            return;
        }
        self.sync.slots[slot].dialing = true;
        self.timers.cancel(Timer::DialSeed(slot));
        self.dial(Dialed::Seed(slot), address, DIAL_TIMEOUT);
    }

    /// The dial failed, or the link it became ended before it was of use.
    pub(super) fn seed_unreachable(&mut self, now: Instant, slot: usize) {
        let percent = self.rng.random_range(50..=100u32);
        let state = &mut self.sync.slots[slot];
        state.dialing = false;
        state.greeting = None;
        let backoff = (BACKOFF_MIN * (1 << state.failures.min(8))).min(BACKOFF_MAX);
        state.failures = state.failures.saturating_add(1);
        if state.link.is_none() && state.member && self.sync.is_member() {
            self.timers.set(Timer::DialSeed(slot), now + backoff * percent / 100);
        }
    }

    /// The handshake proved who lives at the configured address; who else claimed to is judged
    /// by it.
    pub(super) fn seed_answered(&mut self, now: Instant, slot: usize, id: LinkId, node: NodeId) {
        self.sync.slots[slot].dialing = false;
        if !self.sync.slots[slot].member {
            return self.close(now, id, Reason::NotInSet, "that seed was removed meanwhile");
        }
        if node == self.me() {
            return self.refuse(now, id, Reason::Yourself, "a configured seed is this seed itself");
        }
        if self.sync.slots[slot].node != Some(node) {
            if let Some(old) = self.sync.slots[slot].link {
                self.close(now, old, Reason::Unexpected, "another node answers at its address");
            }
            if let Some(former) = self.sync.slots[slot].node.replace(node) {
                self.acceptors.unlearn(&former);
            }
        }
        self.sync.slots[slot].greeting = Some(id);
        if let Some(held) = self.sync.slots[slot].held.take() {
            self.judge_held(now, slot, held, node);
        }
        self.send_hello(id, Purpose::Table);
    }

    /// Whether the link that will be kept is about to be one dialled from here.
    pub(super) fn is_greeting(&self, slot: usize, node: &NodeId) -> bool {
        self.me() < *node && self.sync.slots[slot].greeting.is_some()
    }

    fn judge_held(&mut self, now: Instant, slot: usize, id: LinkId, proven: NodeId) {
        if self.links.get(id).is_none_or(|link| link.node != proven) {
            return self.refuse(now, id, Reason::Unexpected, "another node answers there");
        }
        if self.is_greeting(slot, &proven) {
            return self.close(now, id, Reason::Duplicate, "another link is kept");
        }
        let Some(link) = self.links.get_mut(id) else { return };
        let Phase::Held(_, hello) = std::mem::replace(&mut link.phase, Phase::Greeting) else {
            return;
        };
        self.send_hello(id, Purpose::Table);
        self.establish(now, slot, id, &hello);
    }

    /// Lets a link wait until it is known who lives at the address that it claims.
    pub(super) fn hold(&mut self, now: Instant, slot: usize, id: LinkId, hello: Hello) {
        let Some(link) = self.links.get_mut(id) else { return };
        link.phase = Phase::Held(slot, Box::new(hello));
        if let Some(old) = self.sync.slots[slot].held.replace(id) {
            self.close(now, old, Reason::Duplicate, "replaced by a newer link");
        }
        self.dial_seed(slot);
    }

    /// Both ends said hello: the link shares tables, unless a better one does.
    pub(super) fn establish(&mut self, now: Instant, slot: usize, id: LinkId, hello: &Hello) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (node, remote, outbound) = (link.node, link.remote, link.dialed.is_some());
        link.phase = Phase::Table(slot);
        self.established(now, id);
        if self.sync.slots[slot].greeting == Some(id) {
            self.sync.slots[slot].greeting = None;
        }
        let old = self.sync.slots[slot].link;
        if let Some(old) = old {
            let old_outbound = self.links.get(old).is_some_and(|link| link.dialed.is_some());
            let preferred = self.me() < node;
            if outbound != old_outbound && outbound != preferred {
                return self.close(now, id, Reason::Duplicate, "another link is kept");
            }
        }
        let state = &mut self.sync.slots[slot];
        state.link = Some(id);
        state.failures = 0;
        state.refused = false;
        state.mismatches = MISMATCHES - 1;
        state.cursor = None;
        state.votes = None;
        state.learns = false;
        state.incarnation = hello.incarnation;
        self.timers.cancel(Timer::DialSeed(slot));
        if let Some(old) = old {
            self.close(now, old, Reason::Duplicate, "another link is kept");
        } else {
            let address = hello.address;
            self.notice(Notice::Connection { address, remote, node, role: "seed" });
            self.notice_seed_link(slot, true);
        }
        self.tell_set(id);
        if self.acceptors.is_learning() {
            self.send(id, Frame::VotesRequest);
        }
        self.send(id, Frame::TableDigest(self.digest()));
        self.send_open_votes(id);
    }

    pub(super) fn seed_lost(
        &mut self,
        now: Instant,
        slot: usize,
        id: LinkId,
        node: NodeId,
        cause: String,
    ) {
        if self.sync.slots[slot].link != Some(id) {
            return;
        }
        self.sync.slots[slot].link = None;
        self.sync.slots[slot].cursor = None;
        self.sync.slots[slot].votes = None;
        let address = self.sync.slots[slot].address;
        self.notice(Notice::Disconnected { address, node, role: "seed", cause });
        self.notice_seed_link(slot, false);
        self.acceptor_lost(now, node);
        if !self.sync.slots[slot].dialing {
            self.seed_unreachable(now, slot);
        }
    }

    fn notice_seed_link(&mut self, slot: usize, up: bool) {
        let seed = self.sync.slots[slot].address;
        let (reachable, total) = (self.sync.reachable(), self.sync.total());
        self.notice(Notice::SeedLink { seed, up, reachable, total });
    }

    /// Sends a frame to every linked seed.
    pub(super) fn tell_seeds(&mut self, frame: &Frame) {
        for slot in 0..self.sync.slots.len() {
            if let Some(link) = self.sync.slots[slot].link {
                self.send(link, frame.clone());
            }
        }
    }

    /// A peer's record goes out with its lease, without which the others keep it for a moment
    /// only.
    pub(super) fn tell_seeds_of_peer(&mut self, signed: SignedRecord) {
        let Record::Peer(record) = &signed.record else { return };
        let (node, incarnation, left) = (record.node, record.incarnation, record.left);
        self.tell_seeds(&Frame::Records(vec![signed]));
        if !left {
            let remaining_ms = millis(self.config.lease);
            self.tell_seeds(&Frame::Leases(vec![Lease { node, incarnation, remaining_ms }]));
        }
    }

    pub(super) fn lease_renewed(&mut self, now: Instant, node: NodeId) {
        if self.sync.slots.is_empty() {
            return;
        }
        self.sync.renewed.insert(node);
        if !self.timers.is_set(Timer::Leases) {
            self.timers.set(Timer::Leases, now + LEASES_INTERVAL);
        }
    }

    pub(super) fn tell_leases(&mut self, now: Instant) {
        let renewed = std::mem::take(&mut self.sync.renewed);
        let leases = renewed.iter().filter_map(|node| Some(self.registry.peer(node)?.lease(now)));
        let leases: Vec<Lease> = leases.collect();
        for chunk in leases.chunks(LEASES_MAX) {
            self.tell_seeds(&Frame::Leases(chunk.to_vec()));
        }
    }

    pub(super) fn tell_digest(&mut self, now: Instant) {
        self.timers.set(Timer::Digest, now + self.config.sync_interval);
        let frame = Frame::TableDigest(self.digest());
        self.tell_seeds(&frame);
    }

    /// The hash of everything that is listed here.
    pub(super) fn digest(&self) -> [u8; 32] {
        let [peers, subscriptions] = self.registry.hashes();
        TableHash::of(&[peers, subscriptions, self.index.hash()])
    }

    /// Where it differs from what another seed lists.
    fn range_hashes(&self) -> RangeHashes {
        let [peers, subscriptions] = self.registry.hashes().map(|hash| hash.ranges().to_vec());
        RangeHashes { peers, subscriptions, topics: self.index.hash().ranges().to_vec() }
    }

    pub(super) fn table_frame(&mut self, now: Instant, slot: usize, id: LinkId, frame: Frame) {
        let Some(from) = self.links.get(id).map(|link| link.node) else { return };
        match frame {
            Frame::Decree(decree) => self.decree(now, id, from, decree),
            Frame::SeedSet(signed) => self.take_set(now, id, *signed),
            Frame::Settled(version) => self.take_settled(now, from, version),
            Frame::VotesRequest => self.tell_votes(now, slot, id, from),
            Frame::Votes(votes) => self.take_votes(now, id, from, votes),
            Frame::Records(records) => self.take_records(now, id, records),
            Frame::Dead(dead) => self.take_verdict(now, id, dead),
            Frame::VoteAsked(node, life, round) => self.answer_voter(id, node, life, round),
            Frame::VoteStands(node, _, round) => self.take_standing(now, from, node, round),
            Frame::VoteWithdrawn(node, life) => self.take_withdrawal(from, node, life),
            Frame::Forgetting(of) => self.take_forgetting(now, id, from, of),
            Frame::Leases(leases) => self.take_leases(now, &leases),
            Frame::TableDigest(theirs) => self.compare(slot, id, theirs),
            Frame::RecordsRequest(hashes) => self.transfer_differing(now, slot, id, &hashes),
            _ => self.violation(now, id, "a frame that seeds do not exchange"),
        }
    }

    fn compare(&mut self, slot: usize, id: LinkId, theirs: [u8; 32]) {
        let same = theirs == self.digest();
        let state = &mut self.sync.slots[slot];
        state.mismatches = if same { 0 } else { state.mismatches + 1 };
        if state.mismatches >= MISMATCHES {
            state.mismatches = 0;
            let hashes = self.range_hashes();
            self.send(id, Frame::RecordsRequest(Box::new(hashes)));
        }
    }

    fn take_records(&mut self, now: Instant, id: LinkId, records: Vec<SignedRecord>) {
        for signed in records {
            if !self.is_news(&signed) {
                continue;
            }
            if !signed.verify(self.config.identity.scheme) {
                self.stats.records_refused += 1;
                return self.violation(now, id, "a record that its owner did not sign");
            }
            let signature = signed.signature;
            match signed.record.clone() {
                Record::Peer(record) => {
                    let lease = self.config.lease / PROVISIONAL_PART;
                    self.merge_peer(now, record, signature, lease);
                }
                Record::Subscription(record) => {
                    self.merge_subscription(record, signature);
                }
                Record::Topic(record) => {
                    self.merge_topic(record, signature);
                }
                Record::DeathVote(vote) => self.take_vote(now, &vote, signed),
                // It has a frame of its own.
                Record::SeedSet(_) => {}
            }
        }
    }

    fn take_leases(&mut self, now: Instant, leases: &[Lease]) {
        for lease in leases {
            if self.registry.life(&lease.node, lease.incarnation).is_some() {
                let remaining = Duration::from_millis(lease.remaining_ms.into());
                let until = now + remaining.min(self.config.lease);
                self.registry.extend_lease(&lease.node, until);
            }
        }
    }
}
