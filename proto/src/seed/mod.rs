//! The role that lets peers meet.
//!
//! A seed knows which peers live and what they subscribe to, tells the other seeds, and judges
//! reports of deaths together with them. No publication passes through it.
//!
//! Pure tables and rules: `registry` (peers, leases, subscriptions), `index` (topics),
//! `ownership` (whose a topic is), `set` and `slots` (who the seeds are, and how each is
//! reached), `register` and `proposals` (agreements of seeds), `overlay`
//! (reported neighbours), `heads` (how far streams are), `held` (what waits for the disk),
//! `listed` and `arena` (a peer in few bytes), `sampler`, `digest`, `timers`. What is on disk is
//! said by `memory`. What
//! happens to them: `links` (who may connect), `sessions` (what peers ask), `merge` (which
//! records are taken), `keep` (what is written down), `learning` (a seed without a memory),
//! `agreement` (topics are created and deleted), `changing` and `admin` (who the seeds are,
//! and operators who change that), `hosts` and `watches`
//! (topics without a host, peers that want to hear of topics), `deserted` (topics that nobody
//! wants), `liveness` (silent links),
//! `reports`, `probes` and `verdicts` (who is dead), `forgetting`
//! (who is to be), `sync` and `transfer` (what seeds tell each
//! other). This file only composes them.

mod admin;
mod agreement;
mod arena;
mod changing;
mod confirm;
mod deserted;
mod digest;
pub mod event;
mod forgetting;
mod heads;
mod held;
mod hosts;
mod index;
mod keep;
mod learning;
mod links;
mod listed;
mod liveness;
pub mod memory;
mod merge;
mod overlay;
mod ownership;
mod probes;
mod proposals;
mod register;
mod registry;
mod reports;
mod sampler;
mod sessions;
mod set;
mod slots;
pub mod status;
mod sync;
mod timers;
mod transfer;
mod verdicts;
mod views;
mod watches;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use core::time::Duration;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::config::SeedConfig;
use crate::crypto::Signer;
use crate::id::{DialId, Incarnation, LinkId, NodeId, Topic};
use crate::machine::{Class, Input, Machine, Output};
use crate::stats::SeedStats;
use crate::time::Instant;
use crate::wire::frame::Frame;
use crate::wire::record::SignedRecord;
use changing::Settling;
use deserted::Deserted;
use event::{Command, Durable, Event, Notice};
use forgetting::Forgets;
use heads::KnownHeads;
use held::Held;
use hosts::HostsGone;
use index::Index;
use links::Links;
use memory::{Key, Memory};
use overlay::Overlay;
use proposals::Proposals;
use register::Acceptors;
use registry::Registry;
use reports::Reports;
use slots::Sync;
use timers::Timers;
use watches::Watches;

/// A seed's protocol.
#[derive(Debug)]
pub struct Seed {
    config: SeedConfig,
    signer: Signer,
    rng: ChaCha8Rng,
    stats: SeedStats,
    /// What this input wants done.
    out: VecDeque<Output<Event, Durable>>,
    /// What waits for the disk.
    held: Held,
    /// What is to be done now.
    ready: VecDeque<Output<Event, Durable>>,
    /// Rows that the disk does not hold as they are here; each table has others.
    touched: BTreeSet<Key>,
    /// The end of the leases of peers that were on disk when this seed started, and have not
    /// renewed since.
    restored_until: Instant,
    /// Rows that are still to be written anew.
    rewriting: BTreeSet<Key>,
    timers: Timers<Timer>,
    heads: KnownHeads,
    links: Links,
    dials: BTreeMap<DialId, Dialed>,
    dials_begun: u64,
    registry: Registry,
    index: Index,
    overlay: Overlay,
    reports: Reports,
    sync: Sync,
    /// What the seeds have agreed on about topics, or are about to.
    acceptors: Acceptors<Topic, SignedRecord>,
    proposals: Proposals,
    /// The highest round of an attempt that is known here.
    round: u64,
    /// The highest generation of a topic whose mark of deletion was forgotten here.
    forgotten: u64,
    /// Rounds up to this one are written down as used.
    rounds_reserved: u64,
    /// With whom this seed founded the cluster in this life, and in which life of theirs.
    founders: BTreeMap<NodeId, Incarnation>,
    /// The set of seeds as it was agreed on, when it differs from the configuration.
    seed_set: Option<SignedRecord>,
    settling: Settling,
    /// Rounds of asking voters so far.
    confirmations: u64,
    forgets: Forgets,
    hosts_gone: HostsGone,
    deserted: Deserted,
    watches: Watches,
    started: Instant,
    now: Instant,
    left: bool,
}

/// What is to be done at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A link without a first frame is closed.
    FirstFrame(LinkId),
    /// A link is looked at for silence.
    Idle(LinkId),
    /// Another seed is dialled.
    DialSeed(usize),
    /// Renewed leases are told to the other seeds.
    Leases,
    /// The hash of the tables is told to the other seeds.
    Digest,
    /// The next records of a full transfer go out.
    Transfer(LinkId),
    /// An accused peer is dialled, judged, or its case closed.
    Case(NodeId),
    /// Voters are asked again whether their votes stand.
    Confirm(NodeId),
    /// A peer that is to be forgotten was not, in time.
    Forget(NodeId),
    /// A seed that has never voted waits no longer for others.
    Learn,
    /// Topics are looked at that nobody hosts.
    Deserted,
    /// Some more rows are written anew.
    Rewrite,
    /// Some more registers are settled, while the set of seeds changes.
    Settle,
    /// The change of the set of seeds is finished.
    Finish,
}

/// Why this seed dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialed {
    /// To share tables with the configured seed of this number.
    Seed(usize),
    /// To see whether this accused peer answers.
    Probe(NodeId),
}

impl Seed {
    /// A seed that starts with what it kept: nothing, when it starts for the first time.
    pub fn new(config: SeedConfig, signer: Signer, memory: Memory, now: Instant) -> Self {
        let sync = Sync::new(&config);
        let mut timers = Timers::new();
        for slot in 0..sync.slots.len() {
            timers.set(Timer::DialSeed(slot), now);
        }
        timers.set(Timer::Deserted, now);
        timers.set(Timer::Learn, now + learning::FOUNDING_WAIT);
        if !sync.slots.is_empty() {
            timers.set(Timer::Digest, now + config.sync_interval);
        }
        let mut seed = Self {
            rng: ChaCha8Rng::from_seed(config.identity.rng_seed),
            config,
            signer,
            stats: SeedStats::default(),
            out: VecDeque::new(),
            held: Held::default(),
            ready: VecDeque::new(),
            touched: BTreeSet::new(),
            restored_until: Instant::ZERO,
            rewriting: BTreeSet::new(),
            timers,
            heads: KnownHeads::new(),
            links: Links::default(),
            dials: BTreeMap::new(),
            dials_begun: 0,
            registry: Registry::default(),
            index: Index::default(),
            overlay: Overlay::default(),
            acceptors: Acceptors::new(sync.total()),
            proposals: Proposals::default(),
            round: 0,
            rounds_reserved: 0,
            forgotten: 0,
            founders: BTreeMap::new(),
            seed_set: None,
            settling: Settling::default(),
            confirmations: 0,
            forgets: Forgets::default(),
            hosts_gone: HostsGone::new(),
            deserted: Deserted::default(),
            watches: Watches::default(),
            started: now,
            now,
            reports: Reports::default(),
            sync,
            left: false,
        };
        seed.restore(now, memory);
        seed
    }

    fn tick(&mut self, now: Instant) {
        // Each is handled once: one that sets itself again at once waits for the next tick.
        for _ in 0..self.timers.len() {
            let Some((due, timer)) = self.timers.pop(now) else { break };
            match timer {
                Timer::FirstFrame(link) => self.no_first_frame(now, link),
                Timer::Idle(link) => self.look_at_silence(now, due, link),
                Timer::DialSeed(slot) => self.dial_seed(slot),
                Timer::Leases => self.tell_leases(now),
                Timer::Digest => self.tell_digest(now),
                Timer::Transfer(link) => self.transfer_more(now, link),
                Timer::Case(node) => self.case_due(now, due, node),
                Timer::Confirm(node) => self.confirm_again(now, node),
                Timer::Forget(node) => self.forget_in_vain(node),
                Timer::Learn => self.graduate(now),
                Timer::Deserted => self.look_for_deserted(now),
                Timer::Rewrite => self.rewrite_more(now),
                Timer::Settle => self.settle_more(now),
                Timer::Finish => self.finish_change(now),
            }
        }
        while let Some(node) = self.registry.expired(now) {
            self.expire(node);
        }
        self.registry.forget_until(now);
        self.tend_agreements(now);
    }

    fn leave(&mut self, now: Instant) {
        for link in self.links.ids() {
            self.close(now, link, crate::wire::frame::Reason::Leaving, "the seed stops");
        }
        self.left = true;
    }

    fn me(&self) -> NodeId {
        self.signer.node()
    }

    fn send(&mut self, link: LinkId, frame: Frame) {
        self.out.push_back(Output::Send { link, class: Class::Control, frame });
    }

    fn notice(&mut self, notice: Notice) {
        self.out.push_back(Output::Event(Event::Notice(notice)));
    }

    fn dial(&mut self, purpose: Dialed, address: SocketAddr, timeout: Duration) -> DialId {
        self.dials_begun += 1;
        let dial = DialId(self.dials_begun);
        self.dials.insert(dial, purpose);
        self.out.push_back(Output::Dial { dial, address, timeout_ms: millis(timeout) });
        dial
    }
}

impl Machine for Seed {
    type Command = Command;
    type Event = Event;
    type Durable = Durable;

    fn handle(&mut self, now: Instant, input: Input<Command>) {
        if let Input::Persisted(token) = input {
            return self.persisted(token);
        }
        if self.left {
            return;
        }
        self.now = now;
        match input {
            Input::LinkUp { link, node, remote, dialed } => {
                self.link_up(now, link, node, remote, dialed);
            }
            Input::LinkDown { link, cause } => self.end_link(now, link, links::End::Lost(cause)),
            Input::DialFailed { dial, .. } => self.dial_failed(now, dial),
            Input::Received { link, frame } => self.received(now, link, frame),
            Input::Shed { frames, .. } => self.stats.frames_shed += u64::from(frames),
            Input::Command(Command::Leave { request }) => {
                self.leave(now);
                self.out.push_back(Output::Event(Event::Left { request }));
            }
            Input::Command(Command::Rewrite) => self.rewrite_all(now),
            Input::Command(Command::Admin { request, command }) => {
                self.administer(now, admin::Asker::Command(request), command);
            }
            // Taken above: it is heard also when this seed has left.
            Input::Persisted(_) => {}
            Input::Tick => self.tick(now),
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output<Event, Durable>> {
        self.ready.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let others = [self.registry.next_deadline(), self.proposals.next_deadline()];
        self.timers.next().into_iter().chain(others.into_iter().flatten()).min()
    }
}

/// Milliseconds for the wire.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
