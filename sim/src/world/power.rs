//! What happens to nodes and paths from outside: start, crash, pause, disks, cuts, partitions.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_proto::wire::frame::Frame;
use tidings_proto::{Class, Input, Instant, NodeId};

use super::{Actor, Cargo, Happening, Held, Host, Node, World};
use crate::clock::Clock;
use crate::network::{EndKey, EndState, Item};
use crate::slab::Key;
use crate::trace::Tag;

/// A write reaches the disk within this (group commit of an ordinary SSD) ...
const WRITE_US_MAX: u64 = 4_000;
/// ... but for these, per million, which wait for others.
const SLOW_WRITE_PPM: u32 = 5_000;
const SLOW_WRITE_US_MAX: u64 = 300_000;

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process dies; its host closes the connections and refuses new ones.
    Process,
    /// The host vanishes: nothing answers, nobody is told.
    Host,
}

impl<M: Actor, H: Host<M>> World<M, H> {
    /// Adds a node that is not running. Nodes are numbered from 0.
    pub fn add(&mut self, id: NodeId) -> u32 {
        let index = u32::try_from(self.nodes.len()).expect("fewer than 2^24 nodes");
        self.nodes.push(Node {
            id,
            machine: None,
            clock: Clock::default(),
            life: 0,
            paused: false,
            vanished: false,
            wake: None,
            wakes_now: (Instant::ZERO, 0),
            links: Vec::new(),
            held: Vec::new(),
            input_us: 0,
            busy_until: Instant::ZERO,
            backlog: VecDeque::new(),
            bytes_per_s: None,
            writes: VecDeque::new(),
            written_at: Instant::ZERO,
        });
        index
    }

    /// Starts a node that is not running, with a clock that begins at zero now.
    pub fn start(&mut self, node: u32, skew_ppm: i32, machine: M) {
        let clock = Clock { born: self.now, skew_ppm };
        let slot = &mut self.nodes[node as usize];
        assert!(slot.machine.is_none(), "node {node} runs already");
        slot.life += 1;
        slot.clock = clock;
        slot.vanished = false;
        slot.wake = None;
        slot.machine = Some(machine);
        let life = slot.life;
        self.record(node, Tag::Start, u64::from(life), 0);
        if self.trace.has_text() {
            self.trace.line(self.now, node, Tag::Start, format_args!("life {life}"));
        }
        self.settle(node);
    }

    /// Ends a node without warning; false when it is not running.
    pub fn crash(&mut self, node: u32, how: Crash) -> bool {
        let slot = &mut self.nodes[node as usize];
        if slot.machine.take().is_none() {
            return false;
        }
        slot.paused = false;
        slot.wake = None;
        slot.vanished = how == Crash::Host;
        let held = std::mem::take(&mut slot.held);
        let links = std::mem::take(&mut slot.links);
        for held in held {
            match held {
                Held::Cargo(key) => {
                    // A connection that nobody accepted, or that nobody will read any more, is
                    // answered as one to a dead process.
                    if let Some(Cargo::Item { to, item: Item::Up }) = self.cargo.remove(key) {
                        self.end_by_crash(to, how);
                    }
                }
                Held::Dial(key, stage) => self.dial_step(key, stage),
            }
        }
        for end in links {
            self.end_by_crash(end, how);
        }
        self.lose_writes(node);
        self.record(node, Tag::Crash, how as u64, 0);
        if self.trace.has_text() {
            self.trace.line(self.now, node, Tag::Crash, format_args!("{how:?}"));
        }
        true
    }

    fn end_by_crash(&mut self, end: EndKey, how: Crash) {
        match how {
            Crash::Process => {
                self.counts.reset += 1;
                self.transmit(end, Item::Reset, 0, Class::Control);
                self.leave(end, EndState::Closed);
            }
            Crash::Host => {
                // What its host had not sent yet is gone.
                if let Some(link) = self.links.get_mut(end.link)
                    && let Some(stalled) = &mut link.flows[usize::from(end.side)].stalled
                {
                    stalled.items.clear();
                }
                self.leave(end, EndState::Vanished);
            }
        }
    }

    /// Stops a node's process: links stay up, nothing is handled. False when not running.
    pub fn pause(&mut self, node: u32) -> bool {
        let running = self.is_running(node);
        if running {
            self.nodes[node as usize].paused = true;
        }
        running
    }

    /// Lets a stopped process go on: it finds its clock advanced, and all that came meanwhile.
    pub fn resume(&mut self, node: u32) {
        let slot = &mut self.nodes[node as usize];
        if !slot.paused {
            return;
        }
        slot.paused = false;
        let held = std::mem::take(&mut slot.held);
        let life = slot.life;
        // A driver may look at its timers first or at its links first.
        if self.rng.chance(500_000) && self.is_late(node) {
            self.record(node, Tag::Tick, 0, 0);
            self.handle(node, Input::Tick);
        }
        for held in held {
            if self.nodes[node as usize].life != life {
                break;
            }
            match held {
                Held::Cargo(key) => self.arrive(key),
                Held::Dial(key, stage) => self.dial_step(key, stage),
            }
        }
        self.nodes[node as usize].wake = None;
        self.rearm(node);
    }

    /// From now on each input keeps a node's processor busy this long; 0 ends it.
    pub fn slow_down(&mut self, node: u32, input_us: u32) {
        self.nodes[node as usize].input_us = input_us;
    }

    /// From now on each link of a node carries this much each way; `None` ends it.
    pub fn throttle(&mut self, node: u32, bytes_per_s: Option<u64>) {
        self.nodes[node as usize].bytes_per_s = bytes_per_s;
    }

    /// Whether a node has to take its inputs in turn.
    pub(super) fn is_slow(&self, node: u32) -> bool {
        let slot = &self.nodes[node as usize];
        slot.input_us > 0 || !slot.backlog.is_empty()
    }

    /// Whether a slow node takes an input now; otherwise it will, in order.
    pub(super) fn take_turn(&mut self, node: u32, key: Key) -> bool {
        let now = self.now;
        let slot = &mut self.nodes[node as usize];
        if slot.busy_until <= now && slot.backlog.is_empty() {
            slot.busy_until = now + Duration::from_micros(u64::from(slot.input_us));
            return true;
        }
        slot.backlog.push_back(key);
        if slot.backlog.len() == 1 {
            let at = slot.busy_until;
            self.queue.push(at, Happening::Free(node));
        }
        false
    }

    /// A slow node takes its next input.
    pub(super) fn free(&mut self, node: u32) {
        let now = self.now;
        let slot = &mut self.nodes[node as usize];
        let Some(key) = slot.backlog.pop_front() else { return };
        slot.busy_until = now + Duration::from_micros(u64::from(slot.input_us));
        if slot.paused {
            slot.held.push(Held::Cargo(key));
        } else {
            self.arrive_now(key);
        }
        let slot = &self.nodes[node as usize];
        if !slot.backlog.is_empty() {
            let at = slot.busy_until;
            self.queue.push(at, Happening::Free(node));
        }
    }

    fn is_late(&self, node: u32) -> bool {
        let slot = &self.nodes[node as usize];
        let deadline = slot.machine.as_ref().and_then(M::next_deadline);
        deadline.is_some_and(|deadline| deadline <= slot.clock.local(self.now))
    }

    /// Stops packets from `from` to `to`; what is under way still arrives.
    pub fn cut(&mut self, from: u32, to: u32) {
        self.weather.cut(from, to);
    }

    /// Ends a cut.
    pub fn mend(&mut self, from: u32, to: u32) {
        self.weather.mend(from, to);
        self.clear_up();
    }

    /// Parts `group` from all other nodes. Partitions have numbers, and overlap.
    pub fn split(&mut self, number: u32, group: &[u32]) {
        self.weather.split(number, group);
    }

    /// Ends a partition.
    pub fn join(&mut self, number: u32) {
        self.weather.join(number);
        self.clear_up();
    }

    /// Resets one link, the first one at place `index` or after it; false when there is none.
    pub fn reset_a_link(&mut self, index: u64) -> bool {
        let places = self.links.capacity().max(1) as u64;
        let at = usize::try_from(index % places).expect("below a usize");
        let Some(link) = self.links.key_from(at) else { return false };
        self.counts.reset += 1;
        for side in [0, 1] {
            self.transmit(EndKey { link, side }, Item::Reset, 0, Class::Control);
        }
        true
    }

    /// The ends of a node's links, as node numbers: where it could be cut off.
    pub fn linked(&self, node: u32) -> Vec<u32> {
        let ends = self.nodes[node as usize].links.iter();
        ends.filter_map(|end| {
            let link = self.links.get(end.link)?;
            Some(link.ends[usize::from(end.other().side)].node)
        })
        .collect()
    }

    /// A node that does not what its machine says sends a frame to another one, on each link that
    /// they have. Returns whether there is one.
    pub fn say(&mut self, from: u32, to: u32, frame: &Frame) -> bool {
        if !self.is_running(from) {
            return false;
        }
        let ends = self.nodes[from as usize].links.clone();
        let leads = |end: &EndKey| {
            let link = self.links.get(end.link);
            link.is_some_and(|link| link.ends[usize::from(end.other().side)].node == to)
        };
        let ends: Vec<EndKey> = ends.into_iter().filter(leads).collect();
        ends.iter().for_each(|end| self.send(*end, Class::Control, frame.clone()));
        !ends.is_empty()
    }

    pub(super) fn persist(&mut self, node: u32, token: u64, record: M::Durable) {
        let slow = self.rng.chance(SLOW_WRITE_PPM);
        let takes = self.rng.between(1, if slow { SLOW_WRITE_US_MAX } else { WRITE_US_MAX });
        let key = self.cargo.insert(Cargo::Write { node, token, record });
        let slot = &mut self.nodes[node as usize];
        slot.written_at = slot.written_at.max(self.now + Duration::from_micros(takes));
        slot.writes.push_back(key);
        self.queue.push(slot.written_at, Happening::Arrive(key));
    }

    /// A write is on the disk, whatever its process does; the machine hears of it when it can.
    pub(super) fn written(&mut self, node: u32, token: u64, record: M::Durable) {
        let slot = &mut self.nodes[node as usize];
        slot.writes.pop_front();
        let life = slot.life;
        self.host.persisted(node, record);
        let key = self.cargo.insert(Cargo::Persisted { node, life, token });
        self.arrive(key);
    }

    /// Of the writes under way, the disk has got the first few, or none. The one that was being
    /// made is torn, which its reader notices: it is void.
    fn lose_writes(&mut self, node: u32) {
        let writes = std::mem::take(&mut self.nodes[node as usize].writes);
        if writes.is_empty() {
            return;
        }
        let done = self.rng.index(writes.len() + 1);
        for (number, key) in writes.into_iter().enumerate() {
            let Some(Cargo::Write { record, .. }) = self.cargo.remove(key) else { continue };
            if number < done {
                self.host.persisted(node, record);
            } else {
                self.counts.writes_lost += 1;
            }
        }
    }

    pub(super) fn arrive_persisted(&mut self, node: u32, life: u32, token: u64) {
        let slot = &self.nodes[node as usize];
        if slot.life != life || slot.machine.is_none() {
            return;
        }
        self.record(node, Tag::Persisted, token, 0);
        self.handle(node, Input::Persisted(token));
    }
}
