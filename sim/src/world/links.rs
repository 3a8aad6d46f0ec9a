//! What machines send each other: from output, over the network, to input.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidings_proto::machine::SHED_BATCHES_MAX;
use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::frame::{BatchFrame, Cause, Frame, Goodbye};
use tidings_proto::{Class, Input, LinkDown};

use super::{Actor, Cargo, Happening, Held, Host, World};
use crate::network::{EndKey, EndState, Item, Stalled, address};
use crate::slab::Key;
use crate::trace::Tag;
use crate::wire;

/// The shortest time after which a transport repeats a packet when nothing else came after it
/// (Linux: 200 ms).
const RETRANSMIT_MS: u64 = 200;
/// Once a stopped path is open again, the transport tries at most this much later.
const PROBE_MS: u64 = 1_000;

impl<M: Actor, H: Host<M>> World<M, H> {
    /// Queues a frame at an end that the machine knows.
    pub(super) fn send(&mut self, end: EndKey, class: Class, frame: Frame) {
        let Some(link) = self.links.get(end.link) else { return };
        let own = &link.ends[usize::from(end.side)];
        if own.state != EndState::Open {
            return;
        }
        let node = own.node;
        let size = wire::size(&frame);
        self.record(node, Tag::Send, end.id().0, fingerprint(&frame, size));
        if self.trace.has_text() {
            let text = format_args!("{:?} {class:?} {frame:?}", end.id());
            self.trace.line(self.now, node, Tag::Send, text);
        }
        let damaged = self.damage_ppm > 0 && self.rng.chance(self.damage_ppm);
        if self.config.duplicate_ppm > 0 && self.rng.chance(self.config.duplicate_ppm) {
            self.counts.duplicated += 1;
            let copy = Item::Frame(frame.clone(), u32::try_from(size).unwrap_or(u32::MAX));
            self.transmit(end, copy, size, class);
        }
        let item = if damaged || self.config.encode {
            let mut bytes = BytesMut::with_capacity(size);
            wire::append(&mut bytes, &frame);
            if damaged {
                self.counts.damaged += 1;
                wire::damage(&mut bytes, &mut self.rng);
            }
            Item::Bytes(bytes)
        } else {
            Item::Frame(frame, u32::try_from(size).unwrap_or(u32::MAX))
        };
        self.transmit(end, item, size, class);
    }

    /// Puts an item on its way from `end` to the other end, behind all that is on its way.
    pub(super) fn transmit(&mut self, end: EndKey, item: Item, size: usize, class: Class) {
        let Some(link) = self.links.get_mut(end.link) else { return };
        let [from, to] = [end, end.other()].map(|end| link.ends[usize::from(end.side)].node);
        let flow = &mut link.flows[usize::from(end.side)];
        if flow.stalled.is_none() && self.weather.blocks(from, to) {
            let since = self.now;
            flow.stalled = Some(Box::new(Stalled { since, items: VecDeque::new(), bytes: 0 }));
            self.counts.stalled += 1;
            self.stalled.push(end);
            let limit = Duration::from_millis(self.config.break_after_ms);
            self.queue.push(self.now + limit, Happening::Stalled(end));
        }
        if let Some(stalled) = &mut flow.stalled {
            if matches!(item, Item::Frame(..) | Item::Bytes(_)) {
                if stalled.bytes + size > self.config.queue_bytes_max {
                    self.counts.shed += 1;
                    self.overflows.push((end, class, new_batch(item)));
                    return;
                }
                stalled.bytes += size;
            }
            stalled.items.push_back(item);
            return;
        }
        let mut departure = self.now;
        let rates = [from, to].map(|node| self.nodes[node as usize].bytes_per_s);
        if let Some(rate) = rates.into_iter().flatten().min() {
            let waiting = u128::from(rate) * flow.sent.since(self.now).as_micros() / 1_000_000;
            if size > 0 && waiting + size as u128 > self.config.queue_bytes_max as u128 {
                self.counts.shed += 1;
                self.overflows.push((end, class, new_batch(item)));
                return;
            }
            let takes_us = size as u64 * 1_000_000 / rate.max(1);
            departure = departure.max(flow.sent) + Duration::from_micros(takes_us);
            flow.sent = departure;
        }
        let mut arrival = departure + Duration::from_micros(u64::from(flow.latency_us));
        if self.config.jitter_us > 0 {
            let jitter_us = self.rng.below(u64::from(self.config.jitter_us));
            arrival = arrival + Duration::from_micros(jitter_us);
        }
        if self.loss_ppm > 0 && self.rng.chance(self.loss_ppm) {
            // Half of the losses are noticed by what comes after them, after a round trip.
            self.counts.retransmitted += 1;
            let round_trip = Duration::from_micros(2 * u64::from(flow.latency_us));
            let silence =
                Duration::from_millis(RETRANSMIT_MS) * u32::from(self.rng.chance(500_000));
            arrival = arrival + round_trip + silence;
        }
        arrival = arrival.max(flow.last_arrival);
        flow.last_arrival = arrival;
        let key = self.cargo.insert(Cargo::Item { to: end.other(), item });
        self.queue.push(arrival, Happening::Arrive(key));
    }

    /// What the queues of the machine being drained shed, as the input that tells it.
    pub(super) fn next_overflow(&mut self) -> Option<Input<M::Command>> {
        while let Some(&(end, class, _)) = self.overflows.first() {
            let control =
                self.overflows.iter().any(|(other, c, _)| *other == end && *c == Class::Control);
            let shed = self
                .overflows
                .extract_if(.., |(other, c, _)| *other == end && (control || *c == class));
            let shed: Vec<_> = shed.collect();
            let frames = shed.len();
            let Some(link) = self.links.get(end.link) else { continue };
            let own = &link.ends[usize::from(end.side)];
            if own.state != EndState::Open {
                continue;
            }
            let node = own.node;
            self.record(node, Tag::Shed, end.id().0, frames as u64);
            if control {
                self.leave(end, EndState::Closed);
                return Some(Input::LinkDown { link: end.id(), cause: LinkDown::Closed });
            }
            let frames = u32::try_from(frames).unwrap_or(u32::MAX);
            let batches = shed.into_iter().filter_map(|(.., batch)| batch);
            let batches = batches.take(SHED_BATCHES_MAX).collect();
            return Some(Input::Shed { link: end.id(), class, frames, batches });
        }
        None
    }

    /// Something reached its node.
    pub(super) fn arrive(&mut self, key: Key) {
        let node = match self.cargo.get(key) {
            Some(Cargo::Item { to, .. }) => {
                self.links.get(to.link).map(|link| link.ends[usize::from(to.side)].node)
            }
            Some(Cargo::Persisted { node, .. }) => Some(*node),
            Some(Cargo::Write { .. }) => return self.arrive_now(key),
            None => return,
        };
        let paused = node.filter(|&node| self.nodes[node as usize].paused);
        if let Some(node) = paused {
            self.nodes[node as usize].held.push(Held::Cargo(key));
            return;
        }
        if let Some(node) = node
            && self.is_slow(node)
            && !self.take_turn(node, key)
        {
            return;
        }
        self.arrive_now(key);
    }

    /// Something is taken in by its node.
    pub(super) fn arrive_now(&mut self, key: Key) {
        match self.cargo.remove(key) {
            Some(Cargo::Item { to, item }) => self.arrive_item(to, item),
            Some(Cargo::Persisted { node, life, token }) => {
                self.arrive_persisted(node, life, token);
            }
            Some(Cargo::Write { node, token, record }) => self.written(node, token, record),
            None => {}
        }
    }

    fn arrive_item(&mut self, to: EndKey, item: Item) {
        let Some(link) = self.links.get_mut(to.link) else { return };
        let end = &mut link.ends[usize::from(to.side)];
        match (end.state, item) {
            (EndState::Closed, _) => {}
            (EndState::Vanished, Item::Fin | Item::Reset) => self.leave(to, EndState::Closed),
            (EndState::Vanished, _) => self.nobody_there(to),
            (EndState::Opening, Item::Up) => self.arrive_up(to),
            (EndState::Opening, _) => self.leave(to, EndState::Closed),
            (EndState::Open, Item::Up) => {}
            (EndState::Open, Item::Frame(frame, size)) => self.arrive_frame(to, frame, size),
            (EndState::Open, Item::Bytes(bytes)) => self.arrive_bytes(to, &bytes),
            (EndState::Open, Item::Fin | Item::Reset) => self.link_down(to, LinkDown::Closed),
        }
    }

    fn arrive_up(&mut self, to: EndKey) {
        let Some(link) = self.links.get_mut(to.link) else { return };
        let [dialer, acceptor] = [link.ends[0].node, link.ends[1].node];
        if self.nodes[acceptor as usize].machine.is_none() {
            self.leave(to, EndState::Vanished);
            self.nobody_there(to);
            return;
        }
        link.ends[1].state = EndState::Open;
        self.nodes[acceptor as usize].links.push(to);
        let mut remote = address(dialer);
        remote.set_port(u16::try_from(32_768 + to.link.index % 28_000).expect("below 60,768"));
        self.record(acceptor, Tag::LinkUp, to.id().0, u64::from(dialer));
        let node = self.nodes[dialer as usize].id;
        self.handle(acceptor, Input::LinkUp { link: to.id(), node, remote, dialed: None });
    }

    fn arrive_frame(&mut self, to: EndKey, frame: Frame, size: u32) {
        let Some(link) = self.links.get_mut(to.link) else { return };
        let flow = &mut link.flows[usize::from(to.other().side)];
        if flow.received.is_some() {
            // A damaged frame left the beginning of something: this one is read as its rest.
            let mut bytes = BytesMut::new();
            wire::append(&mut bytes, &frame);
            self.arrive_bytes(to, &bytes);
            return;
        }
        flow.greeted = true;
        self.give(to, frame, size);
    }

    fn arrive_bytes(&mut self, to: EndKey, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(to.link) else { return };
        let flow = &mut link.flows[usize::from(to.other().side)];
        let mut buffer = flow.received.take().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        loop {
            // The machine may have closed the link on the frame before.
            let Some(link) = self.links.get_mut(to.link) else { return };
            if link.ends[usize::from(to.side)].state != EndState::Open {
                return;
            }
            let flow = &mut link.flows[usize::from(to.other().side)];
            match wire::take(&mut buffer, !flow.greeted) {
                Ok(Some(frame)) => {
                    flow.greeted = true;
                    let size = u32::try_from(wire::size(&frame)).unwrap_or(u32::MAX);
                    self.give(to, frame, size);
                }
                Ok(None) => {
                    flow.received = (!buffer.is_empty()).then_some(buffer);
                    return;
                }
                Err(what) => {
                    self.transmit(to, Item::Fin, 0, Class::Control);
                    self.link_down(to, LinkDown::Malformed(what));
                    return;
                }
            }
        }
    }

    fn give(&mut self, to: EndKey, frame: Frame, size: u32) {
        let Some(link) = self.links.get(to.link) else { return };
        let [node, from] = [to, to.other()].map(|end| link.ends[usize::from(end.side)].node);
        self.record(node, Tag::Received, to.id().0, fingerprint(&frame, size as usize));
        if self.trace.has_text() {
            let text = format_args!("{:?} {frame:?}", to.id());
            self.trace.line(self.now, node, Tag::Received, text);
        }
        self.host.received(self.now, node, from, &frame, size);
        self.handle(node, Input::Received { link: to.id(), frame });
    }

    /// Something came for a host that had vanished: once it is back it says so, until then
    /// the sender waits for an answer in vain.
    fn nobody_there(&mut self, to: EndKey) {
        let Some(link) = self.links.get(to.link) else { return };
        let node = link.ends[usize::from(to.side)].node;
        let slot = &self.nodes[node as usize];
        if slot.machine.is_some() || !slot.vanished {
            self.transmit(to, Item::Reset, 0, Class::Control);
            self.leave(to, EndState::Closed);
        } else {
            let limit = Duration::from_millis(self.config.break_after_ms);
            self.queue.push(self.now + limit, Happening::Vanished(to));
        }
    }

    /// The machine closes its end.
    pub(super) fn close(&mut self, end: EndKey, goodbye: Option<Goodbye>) {
        let Some(link) = self.links.get(end.link) else { return };
        if link.ends[usize::from(end.side)].state != EndState::Open {
            return;
        }
        if let Some(goodbye) = goodbye {
            self.send(end, Class::Control, Frame::Goodbye(goodbye));
        }
        self.transmit(end, Item::Fin, 0, Class::Control);
        self.leave(end, EndState::Closed);
    }

    /// An end is of no use any more; its machine, if it knew it, is told by the caller.
    pub(super) fn leave(&mut self, end: EndKey, state: EndState) {
        let Some(link) = self.links.get_mut(end.link) else { return };
        let own = &mut link.ends[usize::from(end.side)];
        own.state = state;
        let known = &mut self.nodes[own.node as usize].links;
        if let Some(at) = known.iter().position(|known| *known == end) {
            known.swap_remove(at);
        }
        if link.is_over() {
            self.links.remove(end.link);
        }
    }

    fn link_down(&mut self, to: EndKey, cause: LinkDown) {
        let Some(link) = self.links.get(to.link) else { return };
        let node = link.ends[usize::from(to.side)].node;
        self.leave(to, EndState::Closed);
        self.record(node, Tag::LinkDown, to.id().0, u64::from(cause != LinkDown::Closed));
        if self.trace.has_text() {
            let text = format_args!("{:?} {cause:?}", to.id());
            self.trace.line(self.now, node, Tag::LinkDown, text);
        }
        self.handle(node, Input::LinkDown { link: to.id(), cause });
    }

    /// Both ends learn that the link is broken, now.
    pub(super) fn break_link(&mut self, link: Key) {
        if self.links.get(link).is_none() {
            return;
        }
        self.counts.broken += 1;
        for side in [0, 1] {
            let to = EndKey { link, side };
            let key = self.cargo.insert(Cargo::Item { to, item: Item::Reset });
            self.arrive(key);
        }
    }

    /// The stream from `end` may have been stopped for too long.
    pub(super) fn stalled_too_long(&mut self, end: EndKey) {
        let limit = Duration::from_millis(self.config.break_after_ms);
        let due = self.links.get(end.link).is_some_and(|link| {
            let stalled = &link.flows[usize::from(end.side)].stalled;
            stalled.as_ref().is_some_and(|stalled| stalled.since + limit <= self.now)
        });
        if due {
            self.break_link(end.link);
        }
    }

    /// The weather changed: streams whose path is open again go on.
    pub(super) fn clear_up(&mut self) {
        let mut stalled = std::mem::take(&mut self.stalled);
        stalled.retain(|&end| {
            let Some(link) = self.links.get_mut(end.link) else { return false };
            let [from, to] = [end, end.other()].map(|end| link.ends[usize::from(end.side)].node);
            if self.weather.blocks(from, to) {
                return true;
            }
            let flow = &mut link.flows[usize::from(end.side)];
            let Some(held) = flow.stalled.take() else { return false };
            let silent_ms = u64::from(self.now.millis_since(held.since));
            let probe_ms = self.rng.below(silent_ms.clamp(1, PROBE_MS));
            flow.last_arrival = flow.last_arrival.max(self.now + Duration::from_millis(probe_ms));
            for item in held.items {
                self.transmit(end, item, 0, Class::Control);
            }
            false
        });
        self.stalled.append(&mut stalled);
    }
}

/// What tells a frame from others, for the hash of the trace.
fn fingerprint(frame: &Frame, size: usize) -> u64 {
    let number = match frame {
        Frame::Batch(frame) => frame.batch.header().first_seq << 8 | u64::from(frame.hop),
        Frame::Ping(nonce) | Frame::Pong(nonce) => *nonce,
        _ => 0,
    };
    crate::rng::mix(number) ^ (wire::kind(frame) as u64) << 32 ^ size as u64
}

/// The batch that an item pushes, if it does.
fn new_batch(item: Item) -> Option<Arc<Batch>> {
    match item {
        Item::Frame(Frame::Batch(BatchFrame { cause: Cause::Push, batch, .. }), _) => Some(batch),
        _ => None,
    }
}
