//! The world: machines, their clocks, and one queue of what will happen to them.
//!
//! The world is a driver, as the one under tokio is: it hands a machine what happened, drains
//! what it wants done and wakes it at its deadline. It knows nothing of what the machines are
//! for; what they tell their applications goes to a [`Host`].

mod dials;
mod links;
mod power;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;

use tidings_proto::wire::batch::Batch;
use tidings_proto::wire::frame::Frame;
use tidings_proto::{Class, Input, Instant, Machine, NodeId, Output};

use crate::clock::Clock;
use crate::network::{EndKey, Item, Link, NetworkConfig, Weather};
use crate::queue::Queue;
use crate::rng::Rng;
use crate::slab::{Key, Slab};
use crate::trace::{Tag, Trace};
use dials::{Dial, Stage};
pub use power::Crash;

/// A machine wakes at most this often in one instant: more means that its deadline is never in
/// the future.
const WAKES_PER_INSTANT_MAX: u32 = 100;
/// A machine wants at most this many things done after one input.
const OUTPUTS_PER_INPUT_MAX: u32 = 1_000_000;

/// Machines that can be traced.
pub trait Actor: Machine<Command: Debug, Event: Debug, Durable: Debug> {}

impl<M: Machine<Command: Debug, Event: Debug, Durable: Debug>> Actor for M {}

/// The outside of the machines: applications, logs, disks, judges.
pub trait Host<M: Actor> {
    /// What the host schedules for itself.
    type Token: Copy;

    /// A machine told its application or the log something. Returns what tells this event from
    /// others, for the hash of the trace.
    fn event(&mut self, timers: &mut Timers<'_, Self::Token>, node: u32, event: M::Event) -> u64;

    /// A record of a node is on its disk.
    fn persisted(&mut self, node: u32, record: M::Durable);

    /// The machine of a node is about to be given a frame of the node `from`, which took `bytes`
    /// on the link.
    fn received(&mut self, now: Instant, node: u32, from: u32, frame: &Frame, bytes: u32);
}

/// Lets a host schedule things.
pub struct Timers<'a, T> {
    queue: &'a mut Queue<Happening<T>>,
    now: Instant,
}

impl<T> Timers<'_, T> {
    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// [`World::run`] returns `token` at this time.
    pub fn at(&mut self, at: Instant, token: T) {
        self.queue.push(at, Happening::Token(token));
    }
}

/// How often things happened that the machines did not ask for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Inputs handled by machines.
    pub inputs: u64,
    /// Frames that arrived late because a packet was repeated.
    pub retransmitted: u64,
    /// Frames damaged on purpose.
    pub damaged: u64,
    /// Frames sent twice on purpose.
    pub duplicated: u64,
    /// Streams stopped by a cut or a partition.
    pub stalled: u64,
    /// Links that broke because they were stopped too long or their other end vanished.
    pub broken: u64,
    /// Links reset by a crash or on purpose.
    pub reset: u64,
    /// Frames shed by full queues.
    pub shed: u64,
    /// Links made.
    pub links: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Writes that a crash took along.
    pub writes_lost: u64,
}

/// A simulated universe.
#[derive(Debug)]
pub struct World<M: Actor, H: Host<M>> {
    /// The outside of the machines.
    pub host: H,
    /// What happened so far.
    pub trace: Trace,
    /// How often what happened.
    pub counts: Counts,
    /// Frames damaged on their way, per million; makes them bytes.
    pub damage_ppm: u32,
    /// Frames that are late because a packet was lost, per million.
    pub loss_ppm: u32,
    config: NetworkConfig,
    seed: u64,
    rng: Rng,
    now: Instant,
    queue: Queue<Happening<H::Token>>,
    nodes: Vec<Node<M>>,
    links: Slab<Link>,
    dials: Slab<Dial>,
    cargo: Slab<Cargo<M::Durable>>,
    weather: Weather,
    stalled: Vec<EndKey>,
    /// What queues shed during a draining; the machine is told after it.
    overflows: Vec<(EndKey, Class, Option<Arc<Batch>>)>,
    position: Rc<Cell<(Instant, u32)>>,
}

#[derive(Debug)]
struct Node<M> {
    id: NodeId,
    machine: Option<M>,
    clock: Clock,
    /// Rises with each start: what was meant for an earlier life is dropped.
    life: u32,
    paused: bool,
    /// The host is gone, not only the process: nothing answers.
    vanished: bool,
    /// When the live wake happens, and its place in the queue; older ones are void.
    wake: Option<(Instant, u64)>,
    wakes_now: (Instant, u32),
    /// Ends of links that the machine knows.
    links: Vec<EndKey>,
    /// What came while the process was stopped.
    held: Vec<Held>,
    /// An input keeps the processor busy this long, in microseconds: 0 for a machine that is as
    /// fast as the model assumes.
    input_us: u32,
    busy_until: Instant,
    /// What came while the processor was busy.
    backlog: VecDeque<Key>,
    /// How much each of its links carries each way, if that is little.
    bytes_per_s: Option<u64>,
    /// Writes that are not on the disk yet, in order, and when the last of them will be.
    writes: VecDeque<Key>,
    written_at: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Held {
    Cargo(Key),
    Dial(Key, Stage),
}

#[derive(Clone, Copy, Debug)]
enum Happening<T> {
    Wake(u32),
    Arrive(Key),
    Dial(Key, Stage),
    /// A slow node is done with an input.
    Free(u32),
    /// The stream from this end, if it is still the same stall.
    Stalled(EndKey),
    /// The other end of this one vanished.
    Vanished(EndKey),
    Token(T),
}

/// What is on its way to a node.
#[derive(Debug)]
enum Cargo<D> {
    Item {
        to: EndKey,
        item: Item,
    },
    /// A write on its way to the disk.
    Write {
        node: u32,
        token: u64,
        record: D,
    },
    /// The machine hears of it.
    Persisted {
        node: u32,
        life: u32,
        token: u64,
    },
}

impl<M: Actor, H: Host<M>> World<M, H> {
    /// An empty world at time zero.
    pub fn new(seed: u64, config: NetworkConfig, trace: Trace, host: H) -> Self {
        Self {
            host,
            trace,
            counts: Counts::default(),
            damage_ppm: 0,
            loss_ppm: config.loss_ppm,
            config,
            seed,
            rng: Rng::new(seed, "network"),
            now: Instant::ZERO,
            queue: Queue::new(),
            nodes: Vec::new(),
            links: Slab::new(),
            dials: Slab::new(),
            cargo: Slab::new(),
            weather: Weather::default(),
            stalled: Vec::new(),
            overflows: Vec::new(),
            position: Rc::new(Cell::new((Instant::ZERO, 0))),
        }
    }

    /// The world's time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// When and to whom something happened last: still readable after a panic.
    pub fn position(&self) -> Rc<Cell<(Instant, u32)>> {
        Rc::clone(&self.position)
    }

    /// A node's machine, if it is running or paused.
    pub fn machine(&self, node: u32) -> Option<&M> {
        self.nodes.get(node as usize)?.machine.as_ref()
    }

    /// What a node's clock shows.
    pub fn local_now(&self, node: u32) -> Instant {
        self.nodes[node as usize].clock.local(self.now)
    }

    /// Links at this moment.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// Schedules something of the host's: [`Self::run`] returns it then.
    pub fn at(&mut self, at: Instant, token: H::Token) {
        self.queue.push(at, Happening::Token(token));
    }

    /// Lets time pass until something of the host's is due, which is returned, or until `limit`.
    pub fn run(&mut self, limit: Instant) -> Option<H::Token> {
        while let Some((at, sequence, what)) = self.queue.pop(limit) {
            self.now = at;
            match what {
                Happening::Wake(node) => self.wake(node, sequence),
                Happening::Arrive(key) => self.arrive(key),
                Happening::Dial(key, stage) => self.dial_step(key, stage),
                Happening::Free(node) => self.free(node),
                Happening::Stalled(end) => self.stalled_too_long(end),
                Happening::Vanished(end) => self.break_link(end.link),
                Happening::Token(token) => return Some(token),
            }
        }
        self.now = limit;
        None
    }

    /// Gives a command to a node's machine; false when its process is not running.
    pub fn command(&mut self, node: u32, command: M::Command) -> bool {
        if !self.is_running(node) {
            return false;
        }
        self.record(node, Tag::Command, 0, 0);
        if self.trace.has_text() {
            self.trace.line(self.now, node, Tag::Command, format_args!("{command:?}"));
        }
        self.handle(node, Input::Command(command));
        true
    }

    /// Whether a node's process is there and not stopped.
    pub fn is_running(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.machine.is_some() && !node.paused)
    }

    fn wake(&mut self, node: u32, sequence: u64) {
        let now = self.now;
        let slot = &mut self.nodes[node as usize];
        if slot.wake.is_none_or(|(_, live)| live != sequence) {
            return;
        }
        slot.wake = None;
        let Some(machine) = slot.machine.as_ref().filter(|_| !slot.paused) else { return };
        // A deadline that moved back left its wake where it was: that is cheaper than to
        // schedule another each time.
        if machine.next_deadline().is_none_or(|deadline| deadline > slot.clock.local(now)) {
            self.rearm(node);
            return;
        }
        let wakes = if slot.wakes_now.0 == now { slot.wakes_now.1 + 1 } else { 0 };
        slot.wakes_now = (now, wakes);
        assert!(wakes < WAKES_PER_INSTANT_MAX, "the deadline of node {node} does not move");
        self.record(node, Tag::Tick, 0, 0);
        self.handle(node, Input::Tick);
    }

    /// Hands an input to a machine and does what it wants done.
    fn handle(&mut self, node: u32, input: Input<M::Command>) {
        self.position.set((self.now, node));
        self.counts.inputs += 1;
        let slot = &mut self.nodes[node as usize];
        let Some(machine) = slot.machine.as_mut() else { return };
        machine.handle(slot.clock.local(self.now), input);
        self.settle(node);
    }

    /// Drains a machine, tells it what its queues shed meanwhile, and schedules its wake.
    fn settle(&mut self, node: u32) {
        loop {
            self.drain(node);
            let Some(input) = self.next_overflow() else { break };
            let slot = &mut self.nodes[node as usize];
            let Some(machine) = slot.machine.as_mut() else { return };
            machine.handle(slot.clock.local(self.now), input);
        }
        self.rearm(node);
    }

    fn drain(&mut self, node: u32) {
        let mut outputs = 0;
        loop {
            let Some(machine) = self.nodes[node as usize].machine.as_mut() else { return };
            let Some(output) = machine.poll_output() else { return };
            outputs += 1;
            assert!(outputs < OUTPUTS_PER_INPUT_MAX, "the outputs of node {node} do not end");
            self.output(node, output);
        }
    }

    fn output(&mut self, node: u32, output: Output<M::Event, M::Durable>) {
        match output {
            Output::Send { link, class, frame } => self.send(EndKey::from_id(link), class, frame),
            Output::Event(event) => {
                if self.trace.has_text() {
                    self.trace.line(self.now, node, Tag::Event, format_args!("{event:?}"));
                }
                let mut timers = Timers { queue: &mut self.queue, now: self.now };
                let digest = self.host.event(&mut timers, node, event);
                self.record(node, Tag::Event, digest, 0);
            }
            Output::Dial { dial, address, timeout_ms } => {
                self.record(node, Tag::Dial, dial.0, u64::from(timeout_ms));
                self.dial(node, dial, address, timeout_ms);
            }
            Output::Close { link, goodbye } => {
                self.record(node, Tag::Close, link.0, u64::from(goodbye.is_some()));
                if self.trace.has_text() {
                    let text = format_args!("{link:?} {goodbye:?}");
                    self.trace.line(self.now, node, Tag::Close, text);
                }
                self.close(EndKey::from_id(link), goodbye);
            }
            Output::Persist { token, record } => {
                self.record(node, Tag::Persist, token, 0);
                self.persist(node, token, record);
            }
        }
    }

    /// Schedules the wake of a node, unless one is scheduled that is early enough.
    fn rearm(&mut self, node: u32) {
        let now = self.now;
        let slot = &mut self.nodes[node as usize];
        let Some(machine) = slot.machine.as_ref().filter(|_| !slot.paused) else { return };
        let Some(deadline) = machine.next_deadline() else { return };
        let at = slot.clock.world(deadline).max(now);
        if slot.wake.is_none_or(|(wake_at, _)| at < wake_at) {
            slot.wake = Some((at, self.queue.push(at, Happening::Wake(node))));
        }
    }

    fn record(&mut self, node: u32, tag: Tag, a: u64, b: u64) {
        self.trace.add(self.now, node, tag, a, b);
    }
}
