//! From a dial to a link: a round trip for TCP, one for TLS, and what may go wrong in between.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_proto::{Class, DialFailure, DialId, Input, Instant};

use super::{Actor, Happening, Held, Host, World};
use crate::network::{EndKey, Item, Link, address, index_of};
use crate::slab::Key;
use crate::trace::Tag;

/// A dial under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    node: u32,
    life: u32,
    id: DialId,
    target: Option<u32>,
    target_life: u32,
    deadline: Instant,
}

/// How far a dial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The first packet reaches the target's host.
    Request,
    /// The handshake ends at the dialling node.
    Established,
    /// The target's host said no.
    Refused,
    /// The time is over.
    Timeout,
}

impl<M: Actor, H: Host<M>> World<M, H> {
    pub(super) fn dial(&mut self, node: u32, id: DialId, to: SocketAddr, timeout_ms: u32) {
        let target = index_of(to).filter(|&target| (target as usize) < self.nodes.len());
        let deadline = self.now + Duration::from_millis(u64::from(timeout_ms));
        let life = self.nodes[node as usize].life;
        let key = self.dials.insert(Dial { node, life, id, target, target_life: 0, deadline });
        let (after, stage) = match target {
            Some(target) => (self.latency(node, target), Stage::Request),
            None => (Duration::from_millis(1), Stage::Refused),
        };
        self.queue.push(self.now + after, Happening::Dial(key, stage));
    }

    pub(super) fn dial_step(&mut self, key: Key, stage: Stage) {
        let Some(dial) = self.dials.get(key).copied() else { return };
        let dialer = &mut self.nodes[dial.node as usize];
        if dialer.life != dial.life || dialer.machine.is_none() {
            self.dials.remove(key);
            return;
        }
        if dialer.paused && stage != Stage::Request {
            dialer.held.push(Held::Dial(key, stage));
            return;
        }
        match (stage, dial.target) {
            (Stage::Request, Some(target)) => self.dial_request(key, dial, target),
            (Stage::Established, Some(target)) => self.dial_established(key, dial, target),
            (Stage::Timeout, _) => self.dial_failed(key, dial, DialFailure::Timeout),
            _ => self.dial_failed(key, dial, DialFailure::Refused),
        }
    }

    fn dial_request(&mut self, key: Key, dial: Dial, target: u32) {
        let back = self.latency(target, dial.node);
        let blocked = self.blocked_either_way(dial.node, target);
        let slot = &mut self.nodes[target as usize];
        let (at, stage) = if blocked || slot.vanished {
            (dial.deadline, Stage::Timeout)
        } else if slot.machine.is_none() {
            (self.now + back, Stage::Refused)
        } else if slot.paused {
            // The host completes the connection, the process does not answer the handshake.
            slot.held.push(Held::Dial(key, Stage::Request));
            (dial.deadline, Stage::Timeout)
        } else {
            let life = slot.life;
            if let Some(dial) = self.dials.get_mut(key) {
                dial.target_life = life;
            }
            let there = self.latency(dial.node, target);
            (self.now + there + back * 2, Stage::Established)
        };
        let late = at > dial.deadline;
        let (at, stage) = if late { (dial.deadline, Stage::Timeout) } else { (at, stage) };
        self.queue.push(at.max(self.now), Happening::Dial(key, stage));
    }

    fn dial_established(&mut self, key: Key, dial: Dial, target: u32) {
        let slot = &mut self.nodes[target as usize];
        if slot.paused {
            slot.held.push(Held::Dial(key, Stage::Request));
            self.queue.push(dial.deadline.max(self.now), Happening::Dial(key, Stage::Timeout));
            return;
        }
        let same_life = slot.machine.is_some() && slot.life == dial.target_life;
        if self.blocked_either_way(dial.node, target) {
            self.queue.push(dial.deadline.max(self.now), Happening::Dial(key, Stage::Timeout));
            return;
        }
        if !same_life {
            self.dial_failed(key, dial, DialFailure::Refused);
            return;
        }
        self.dials.remove(key);
        let one_way = |from, to| self.config.latency.one_way_us(self.seed, from, to);
        let latencies = [one_way(dial.node, target), one_way(target, dial.node)];
        let link = self.links.insert(Link::new(dial.node, target, latencies));
        self.counts.links += 1;
        let end = EndKey { link, side: 0 };
        self.nodes[dial.node as usize].links.push(end);
        self.transmit(end, Item::Up, 0, Class::Control);
        self.record(dial.node, Tag::LinkUp, end.id().0, u64::from(target));
        let node = self.nodes[target as usize].id;
        let remote = address(target);
        let up = Input::LinkUp { link: end.id(), node, remote, dialed: Some(dial.id) };
        self.handle(dial.node, up);
    }

    fn dial_failed(&mut self, key: Key, dial: Dial, cause: DialFailure) {
        self.dials.remove(key);
        self.counts.dials_failed += 1;
        self.record(dial.node, Tag::DialFailed, dial.id.0, cause as u64);
        self.handle(dial.node, Input::DialFailed { dial: dial.id, cause });
    }

    fn blocked_either_way(&self, a: u32, b: u32) -> bool {
        self.weather.blocks(a, b) || self.weather.blocks(b, a)
    }

    fn latency(&self, from: u32, to: u32) -> Duration {
        let micros = self.config.latency.one_way_us(self.seed, from, to);
        Duration::from_micros(u64::from(micros))
    }
}
