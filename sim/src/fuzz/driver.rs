//! A machine that is told whatever a script says, the way that drivers tell it: known links,
//! open dials, time that does not go back.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tidings_proto::machine::SHED_BATCHES_MAX;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{Frame, Purpose};
use tidings_proto::{
    Class, DialFailure, DialId, Input, Instant, LinkDown, LinkId, Machine, NodeId, Output,
};

use super::{Reach, Script, check, make};
use crate::network::{address, index_of};

/// A machine has at most this much to do after one input.
const OUTPUTS_MAX: usize = 100_000;
/// A machine whose deadline has come at most this often in one instant has it in the future.
const WAKES_MAX: u32 = 100;
/// Wakes on the way to another time: a script is no soak test.
const STEPS_MAX: u32 = 2_000;
/// Bytes of frames that a script spells itself.
const RAW_MAX: usize = 200;

/// A machine and what its driver knows.
pub(super) struct Driver<M: Machine> {
    pub(super) machine: M,
    pub(super) now: Instant,
    pub(super) reach: Reach,
    /// What other ends mostly want of a link.
    purpose: Purpose,
    links: BTreeMap<LinkId, u8>,
    dials: VecDeque<(DialId, SocketAddr)>,
    tokens: VecDeque<u64>,
    last_link: u64,
}

impl<M: Machine> Driver<M> {
    pub(super) fn new(machine: M, purpose: Purpose) -> Self {
        Self {
            machine,
            purpose,
            now: Instant::ZERO,
            reach: Reach::default(),
            links: BTreeMap::new(),
            dials: VecDeque::new(),
            tokens: VecDeque::new(),
            last_link: 0,
        }
    }

    /// Does what the script says next. `command` makes commands; `event` is told all events.
    pub(super) fn step(
        &mut self,
        script: &mut Script<'_>,
        command: &mut impl FnMut(&mut Script<'_>) -> Option<M::Command>,
        event: &mut impl FnMut(M::Event),
    ) {
        match script.below(24) {
            0 => self.pass(u64::from(script.number()) * 10, event),
            1 | 2 => self.pass(script.byte().into(), event),
            3 | 4 => self.link_up(script, None, event),
            5 => {
                if let Some(dial) = self.dials.pop_front() {
                    self.link_up(script, Some(dial), event);
                }
            }
            6 => {
                if let Some((dial, _)) = self.dials.pop_front() {
                    let causes =
                        [DialFailure::Refused, DialFailure::Timeout, DialFailure::Handshake];
                    let cause = causes[script.below(causes.len())];
                    self.tell(Input::DialFailed { dial, cause }, event);
                }
            }
            7 => {
                if let Some(link) = self.link(script) {
                    self.links.remove(&link);
                    let causes = [LinkDown::Closed, LinkDown::Malformed("noise")];
                    let cause = causes[script.below(causes.len())];
                    self.tell(Input::LinkDown { link, cause }, event);
                }
            }
            8 => {
                let length = script.below(RAW_MAX);
                let mut bytes = bytes::BytesMut::from(&script.bytes(length)[..]);
                if let Ok(Decoded::Frame(frame)) = codec::decode(&mut bytes, FRAME_BYTES_MAX)
                    && let Some(link) = self.link(script)
                {
                    self.tell(Input::Received { link, frame }, event);
                }
            }
            9 => {
                if let Some(link) = self.link(script) {
                    let class = Class::ALL[1 + script.below(Class::ALL.len() - 1)];
                    let frames = u32::from(script.byte()) + 1;
                    let batches = (0..script.below(SHED_BATCHES_MAX.min(3)))
                        .map(|_| make::batch(script))
                        .collect();
                    self.tell(Input::Shed { link, class, frames, batches }, event);
                }
            }
            10 => {
                if let Some(token) = self.tokens.pop_front() {
                    self.tell(Input::Persisted(token), event);
                }
            }
            11 | 12 => {
                if let Some(command) = command(script) {
                    self.tell(Input::Command(command), event);
                }
            }
            _ => {
                if let Some(link) = self.link(script) {
                    let who = self.links.get(&link).copied().unwrap_or_default();
                    let frame = make::frame(script, who, self.purpose);
                    self.tell(Input::Received { link, frame }, event);
                }
            }
        }
    }

    /// One of the links.
    fn link(&self, script: &mut Script<'_>) -> Option<LinkId> {
        let at = script.below(self.links.len());
        self.links.keys().nth(at).copied()
    }

    fn link_up(
        &mut self,
        script: &mut Script<'_>,
        dialed: Option<(DialId, SocketAddr)>,
        event: &mut impl FnMut(M::Event),
    ) {
        // Mostly it is who was dialled.
        let right = dialed.and_then(|(_, to)| u8::try_from(index_of(to)?).ok());
        let right = right.filter(|who| *who < make::NODES && script.below(8) > 0);
        let who = right.unwrap_or_else(|| script.byte() % make::NODES);
        self.connect(script, who, dialed.map(|(dial, _)| dial), event);
    }

    /// A link with this node, which says who it is.
    pub(super) fn connect(
        &mut self,
        script: &mut Script<'_>,
        who: u8,
        dialed: Option<DialId>,
        event: &mut impl FnMut(M::Event),
    ) -> LinkId {
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.links.insert(link, who);
        let (node, remote): (NodeId, _) = (make::node(who), address(who.into()));
        self.tell(Input::LinkUp { link, node, remote, dialed }, event);
        // Most links are greeted: without, nothing but a goodbye follows.
        if script.below(8) > 0 {
            let frame = make::hello(script, who, self.purpose);
            self.tell(Input::Received { link, frame }, event);
        }
        if self.purpose == Purpose::Neighbor && script.below(4) > 0 {
            self.tell(Input::Received { link, frame: Frame::Accept }, event);
        }
        link
    }

    /// Lets time pass: every deadline on the way is met.
    fn pass(&mut self, millis: u64, event: &mut impl FnMut(M::Event)) {
        let end = self.now + Duration::from_millis(millis);
        for _ in 0..STEPS_MAX {
            let Some(due) = self.machine.next_deadline().filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.tell(Input::Tick, event);
        }
        self.now = end;
    }

    /// Hands the machine an input and takes what it wants done.
    pub(super) fn tell(&mut self, input: Input<M::Command>, event: &mut impl FnMut(M::Event)) {
        self.reach.inputs += 1;
        self.machine.handle(self.now, input);
        self.drain(event);
        for wake in 0.. {
            if self.machine.next_deadline().is_none_or(|due| due > self.now) {
                break;
            }
            assert!(wake < WAKES_MAX, "the deadline does not move");
            self.machine.handle(self.now, Input::Tick);
            self.drain(event);
        }
    }

    fn drain(&mut self, event: &mut impl FnMut(M::Event)) {
        for outputs in 0.. {
            let Some(output) = self.machine.poll_output() else { return };
            assert!(outputs < OUTPUTS_MAX, "the outputs do not end");
            match output {
                Output::Dial { dial, address, .. } => self.dials.push_back((dial, address)),
                Output::Send { frame, .. } => {
                    self.reach.sent += 1;
                    // Whatever a machine sends, another one can read.
                    check(&frame);
                }
                Output::Close { link, .. } => drop(self.links.remove(&link)),
                Output::Persist { token, .. } => self.tokens.push_back(token),
                Output::Event(told) => event(told),
            }
        }
    }
}
