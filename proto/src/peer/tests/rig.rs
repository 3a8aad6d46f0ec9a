//! A few peers on one virtual clock, joined by links of equal latency.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;

use core::time::Duration;

use crate::config::{Identity, PeerConfig};
use crate::crypto::{Scheme, Signer};
use crate::id::{DialId, Incarnation, LinkId, NodeId, RequestId, Topic};
use crate::machine::{Class, DialFailure, Input, LinkDown, Machine as _, Output};
use crate::peer::Peer;
use crate::peer::event::{Answer, Command, CommandError, Event, From, Notice};
use crate::time::Instant;
use crate::wire::batch::Message;
use crate::wire::frame::{BatchFrame, Cause, Frame, PeerEntry};
use crate::wire::record::TopicPolicy;

const LATENCY: Duration = Duration::from_millis(10);

pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) peers: Vec<Peer>,
    /// What each application got: topic, origin, sequence number, body.
    pub(super) delivered: Vec<Vec<(Topic, NodeId, u64, String)>>,
    pub(super) notices: Vec<Vec<Notice>>,
    pub(super) events: Vec<Vec<Event>>,
    pub(super) answers: BTreeMap<RequestId, Result<Answer, CommandError>>,
    /// Stopped peers: nothing reaches them, nothing wakes them.
    pub(super) stopped: BTreeSet<usize>,
    /// Batches between these two are lost.
    pub(super) lossy: BTreeSet<(usize, usize)>,
    /// Every second batch pushed between these two is lost; whether the next one is.
    pub(super) flaky: BTreeMap<(usize, usize), bool>,
    /// Batches that begin with one of these numbers are lost, however they are sent.
    pub(super) lost: BTreeSet<u64>,
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    inputs: BTreeMap<u64, (usize, Input<Command>)>,
    serial: u64,
    requests: u64,
}

pub(super) fn topic() -> Topic {
    Topic::new("t").expect("legal")
}

pub(super) fn address(n: usize) -> SocketAddr {
    ([127, 0, 0, 1], 7_200 + n as u16).into()
}

fn node(n: usize) -> NodeId {
    NodeId([n as u8 + 1; 32])
}

pub(super) fn entry(n: usize) -> PeerEntry {
    PeerEntry { node: node(n), incarnation: Incarnation(1), address: address(n) }
}

impl Rig {
    /// `count` peers without seeds; each knows all.
    pub(super) fn new(count: usize, adjust: impl Fn(&mut PeerConfig)) -> Self {
        let make = |n: usize| {
            let identity = Identity {
                cluster: "test".into(),
                name: format!("peer-{n}"),
                address: address(n),
                incarnation: Incarnation(1),
                scheme: Scheme::Checksum,
                wall_origin_us: 1_700_000_000_000_000,
                rng_seed: [n as u8; 32],
            };
            let mut config = PeerConfig::new(identity, Vec::new());
            config.known_peers = (0..count).map(entry).collect();
            adjust(&mut config);
            Peer::new(config, Signer::Checksum(node(n)), Instant::ZERO)
        };
        let mut rig = Self {
            now: Instant::ZERO,
            peers: (0..count).map(make).collect(),
            delivered: vec![Vec::new(); count],
            notices: vec![Vec::new(); count],
            events: vec![Vec::new(); count],
            answers: BTreeMap::new(),
            stopped: BTreeSet::new(),
            lossy: BTreeSet::new(),
            flaky: BTreeMap::new(),
            lost: BTreeSet::new(),
            ends: BTreeMap::new(),
            queue: BinaryHeap::new(),
            inputs: BTreeMap::new(),
            serial: 0,
            requests: 0,
        };
        rig.run(3_000);
        rig
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let due = self.queue.peek().map(|Reverse((at, _))| *at);
            let wake = (0..self.peers.len())
                .filter(|n| !self.stopped.contains(n))
                .filter_map(|n| Some((self.peers[n].next_deadline()?, n)))
                .min();
            let next = due.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if due == Some(next) {
                let Some(Reverse((_, serial))) = self.queue.pop() else { break };
                let Some((n, input)) = self.inputs.remove(&serial) else { continue };
                if !self.stopped.contains(&n) {
                    self.feed(n, input);
                }
            } else if let Some((_, n)) = wake {
                self.feed(n, Input::Tick);
            }
        }
        self.now = end;
    }

    /// Asks a peer and waits for the answer.
    pub(super) fn ask(
        &mut self,
        n: usize,
        command: impl FnOnce(RequestId) -> Command,
    ) -> Result<Answer, CommandError> {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.feed(n, Input::Command(command(request)));
        for _ in 0..1_000 {
            if let Some(answer) = self.answers.remove(&request) {
                return answer;
            }
            self.run(10);
        }
        panic!("no answer to request {request:?}");
    }

    pub(super) fn create(&mut self, n: usize) -> Result<Answer, CommandError> {
        let topic = topic();
        let policy = TopicPolicy::default();
        self.ask(n, |request| Command::CreateTopic { request, topic, exist_ok: false, policy })
    }

    pub(super) fn subscribe(&mut self, n: usize, from: From) {
        let answer = self.ask(n, |request| Command::Subscribe { request, topic: topic(), from });
        answer.expect("subscribed");
    }

    pub(super) fn publish(&mut self, n: usize, body: &str) -> Result<Answer, CommandError> {
        let message = Message::new(body.to_owned());
        self.ask(n, |request| Command::Publish { request, topic: topic(), message })
    }

    pub(super) fn bodies(&self, n: usize) -> Vec<&str> {
        self.delivered[n].iter().map(|(.., body)| body.as_str()).collect()
    }

    /// Hands a peer an input and does what it says.
    pub(super) fn feed(&mut self, n: usize, input: Input<Command>) {
        self.peers[n].handle(self.now, input);
        // What a link that closes does not send any more.
        let mut unsent = Vec::new();
        while let Some(output) = self.peers[n].poll_output() {
            match output {
                Output::Dial { dial, address, timeout_ms } => {
                    self.dial(n, dial, address, timeout_ms);
                }
                Output::Send { link, class, frame } => {
                    let before = self.serial;
                    self.send(n, link, frame);
                    if class != Class::Control {
                        unsent.extend((before + 1..=self.serial).map(|serial| (link, serial)));
                    }
                }
                Output::Close { link, goodbye } => {
                    for (_, serial) in unsent.iter().filter(|(of, _)| *of == link) {
                        self.inputs.remove(serial);
                    }
                    if let Some(goodbye) = goodbye {
                        self.send(n, link, Frame::Goodbye(goodbye));
                    }
                    self.break_link(n, link);
                }
                Output::Persist { .. } => {}
                Output::Event(event) => self.take(n, event),
            }
        }
    }

    /// The connection ends: the other end is told, this one is not.
    pub(super) fn break_link(&mut self, n: usize, link: LinkId) {
        if let Some((other, theirs)) = self.ends.remove(&(n, link)) {
            self.ends.remove(&(other, theirs));
            self.later(other, Input::LinkDown { link: theirs, cause: LinkDown::Closed });
        }
    }

    fn dial(&mut self, n: usize, dial: DialId, to: SocketAddr, timeout_ms: u32) {
        let Some(other) = (0..self.peers.len()).find(|other| address(*other) == to) else {
            return self.later(n, Input::DialFailed { dial, cause: DialFailure::Refused });
        };
        if self.stopped.contains(&other) {
            let input = Input::DialFailed { dial, cause: DialFailure::Timeout };
            return self.at(self.now + Duration::from_millis(timeout_ms.into()), n, input);
        }
        self.serial += 1;
        let link = LinkId(self.serial);
        self.ends.insert((n, link), (other, link));
        self.ends.insert((other, link), (n, link));
        let up = |node, remote, dialed| Input::LinkUp { link, node, remote, dialed };
        self.later(n, up(node(other), to, Some(dial)));
        self.later(other, up(node(n), address(n), None));
    }

    fn send(&mut self, n: usize, link: LinkId, frame: Frame) {
        let Some(&(other, theirs)) = self.ends.get(&(n, link)) else { return };
        if let Frame::Batch(BatchFrame { batch, .. }) = &frame
            && !batch.header().topic.is_internal()
            && self.lost.contains(&batch.header().first_seq)
        {
            return;
        }
        let pushed = matches!(&frame, Frame::Batch(frame) if frame.cause == Cause::Push);
        if let Some(lost) = self.flaky.get_mut(&(n, other)).filter(|_| pushed) {
            *lost = !*lost;
            if *lost {
                return;
            }
        }
        if !(matches!(frame, Frame::Batch(_)) && self.lossy.contains(&(n, other))) {
            self.later(other, Input::Received { link: theirs, frame });
        }
    }

    fn later(&mut self, n: usize, input: Input<Command>) {
        self.at(self.now + LATENCY, n, input);
    }

    fn at(&mut self, at: Instant, n: usize, input: Input<Command>) {
        self.serial += 1;
        self.queue.push(Reverse((at, self.serial)));
        self.inputs.insert(self.serial, (n, input));
    }

    fn take(&mut self, n: usize, event: Event) {
        match event {
            Event::Answer { request, result } => {
                self.answers.insert(request, result);
            }
            Event::Notice(notice) => self.notices[n].push(notice),
            Event::Deliver { batch, from_seq } => {
                let header = batch.header();
                for (seq, message) in batch.messages().filter(|(seq, _)| *seq >= from_seq) {
                    let body = String::from_utf8_lossy(&message.body).into_owned();
                    let origin = header.origin.node;
                    self.delivered[n].push((header.topic.clone(), origin, seq, body));
                }
            }
            event => self.events[n].push(event),
        }
    }
}
