//! Seeds and scripted peers on one virtual clock: every frame takes a millisecond, and passes
//! the codec on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use core::time::Duration;

use bytes::BytesMut;

use crate::config::{Identity, SeedConfig};
use crate::crypto::{Scheme, Signer};
use crate::id::{DialId, Incarnation, LinkId, NodeId, Topic};
use crate::machine::{DialFailure, Input, LinkDown, Machine as _, Output};
use crate::seed::Seed;
use crate::seed::event::{Command, Durable, Event, Notice};
use crate::seed::memory::{self, Key, Memory, Row};
use crate::time::Instant;
use crate::wire::codec::{CONTROL_BYTES_MAX, Decoded, decode, encode};
use crate::wire::frame::{Frame, Goodbye, Purpose};

const LATENCY: Duration = Duration::from_millis(1);
const SYNC: Duration = Duration::from_millis(1);

/// One end of a connection: a seed or a peer, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Seed(usize),
    Peer(usize),
}

/// How a scripted peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Accepts, greets and answers pings.
    Well,
    /// Keeps its connections and does nothing.
    Frozen,
    /// Gone: dials are refused.
    Gone,
}

pub(super) struct FakePeer {
    pub(super) signer: Signer,
    pub(super) address: SocketAddr,
    pub(super) incarnation: Incarnation,
    pub(super) mood: Mood,
    pub(super) inbox: Vec<(usize, Frame)>,
    pub(super) sessions: BTreeMap<usize, LinkId>,
    pub(super) late: Vec<(LinkId, Frame)>,
}

enum Happening {
    /// A seed, its life, and what is on its disk from now on.
    Persisted(usize, u64, u64, Durable),
    Input(usize, Input<Command>),
    ToPeer(usize, LinkId, Frame),
    Down(End, LinkId),
}

pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) seeds: Vec<Option<Seed>>,
    /// What each seed keeps.
    pub(super) disks: Vec<BTreeMap<Key, Row>>,
    /// Disks that never say that anything is safe.
    pub(super) stuck: BTreeSet<usize>,
    lives: Vec<u64>,
    pub(super) configs: Vec<SeedConfig>,
    /// Who each seed is.
    pub(super) keys: Vec<NodeId>,
    pub(super) peers: Vec<FakePeer>,
    pub(super) notices: Vec<(Instant, usize, Notice)>,
    pub(super) events: Vec<(usize, Event)>,
    /// Everything that seeds put out, for comparing runs.
    pub(super) trace: Vec<String>,
    /// Pairs that cannot reach each other.
    pub(super) cut: BTreeSet<(End, End)>,
    pub(super) conns: BTreeMap<LinkId, (End, End)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    number: u64,
}

pub(super) fn seed_address(n: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7_101 + u16::try_from(n).unwrap()))
}

pub(super) fn seed_node(n: usize) -> NodeId {
    NodeId([0xe0 + u8::try_from(n).unwrap(); 32])
}

pub(super) fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub(super) fn config(n: usize, seeds: usize) -> SeedConfig {
    let identity = Identity {
        cluster: "local".into(),
        name: format!("seed-{n}"),
        address: seed_address(n),
        incarnation: Incarnation(1),
        scheme: Scheme::Checksum,
        wall_origin_us: 0,
        rng_seed: [u8::try_from(n).unwrap(); 32],
    };
    SeedConfig::new(identity, (0..seeds).map(seed_address).collect())
}

impl Rig {
    /// So many seeds, linked with each other, and peers that are not connected yet.
    pub(super) fn new(seeds: usize, peers: usize) -> Self {
        Self::with(seeds, peers, |_| {})
    }

    pub(super) fn with(seeds: usize, peers: usize, tune: impl Fn(&mut SeedConfig)) -> Self {
        let mut rig = Self {
            now: Instant::ZERO,
            seeds: (0..seeds).map(|_| None).collect(),
            disks: vec![BTreeMap::new(); seeds],
            stuck: BTreeSet::new(),
            lives: vec![0; seeds],
            configs: (0..seeds).map(|n| config(n, seeds)).collect(),
            keys: (0..seeds).map(seed_node).collect(),
            peers: (0..peers).map(FakePeer::new).collect(),
            notices: Vec::new(),
            events: Vec::new(),
            trace: Vec::new(),
            cut: BTreeSet::new(),
            conns: BTreeMap::new(),
            queue: BTreeMap::new(),
            number: 0,
        };
        rig.configs.iter_mut().for_each(tune);
        (0..seeds).for_each(|n| rig.start_seed(n));
        rig.run(100);
        rig
    }

    pub(super) fn start_seed(&mut self, n: usize) {
        let memory = Memory { rows: self.disks[n].values().cloned().collect(), damaged: false };
        self.start_seed_with(n, memory);
    }

    pub(super) fn start_seed_with(&mut self, n: usize, memory: Memory) {
        let signer = Signer::Checksum(self.keys[n]);
        let incarnation = &mut self.configs[n].identity.incarnation;
        *incarnation = incarnation.next();
        self.seeds[n] = Some(Seed::new(self.configs[n].clone(), signer, memory, self.now));
    }

    /// Ends a seed, whose disk stays as it is.
    pub(super) fn stop_seed(&mut self, n: usize) {
        self.seeds[n] = None;
        self.lives[n] += 1;
        self.break_links(End::Seed(n));
    }

    /// Ends a seed, and its disk with it.
    pub(super) fn kill_seed(&mut self, n: usize) {
        self.stop_seed(n);
        self.disks[n].clear();
    }

    pub(super) fn seed(&self, n: usize) -> &Seed {
        self.seeds[n].as_ref().unwrap()
    }

    /// Hands an input to a seed and does what it says.
    pub(super) fn input(&mut self, n: usize, input: Input<Command>) {
        let Some(seed) = &mut self.seeds[n] else { return };
        seed.handle(self.now, input);
        while let Some(output) = self.seeds[n].as_mut().unwrap().poll_output() {
            self.trace.push(format!("{:?} {n} {output:?}", self.now));
            self.output(n, output);
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let deadline = |(n, seed): (usize, &Option<Seed>)| {
                seed.as_ref()?.next_deadline().map(|at| (at, n))
            };
            let due = self.seeds.iter().enumerate().filter_map(deadline).min();
            match (queued, due) {
                (Some(at), due) if at <= end && due.is_none_or(|(due, _)| at <= due) => {
                    self.now = self.now.max(at);
                    let (_, happening) = self.queue.pop_first().unwrap();
                    self.happen(happening);
                }
                (_, Some((at, n))) if at <= end => {
                    self.now = self.now.max(at);
                    self.input(n, Input::Tick);
                    let next = self.seed(n).next_deadline();
                    assert!(next.is_none_or(|next| next > self.now), "a tick left work undone");
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        self.number += 1;
        self.queue.insert((self.now + delay, self.number), happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input(n, input) => self.input(n, input),
            Happening::Persisted(n, life, token, changes) => {
                if life == self.lives[n] && !self.stuck.contains(&n) {
                    for change in changes {
                        memory::apply(&mut self.disks[n], change);
                    }
                    self.input(n, Input::Persisted(token));
                }
            }
            Happening::ToPeer(n, link, frame) => self.peer_receives(n, link, frame),
            Happening::Down(End::Seed(n), link) => {
                self.input(n, Input::LinkDown { link, cause: LinkDown::Closed });
            }
            Happening::Down(End::Peer(n), link) => {
                self.peers[n].sessions.retain(|_, session| *session != link);
            }
        }
    }

    fn output(&mut self, n: usize, output: Output<Event, Durable>) {
        match output {
            Output::Dial { dial, address, timeout_ms } => self.dial(n, dial, address, timeout_ms),
            Output::Send { link, frame, .. } => self.carry(End::Seed(n), link, frame),
            Output::Close { link, goodbye } => {
                if let Some(goodbye) = goodbye {
                    self.carry(End::Seed(n), link, Frame::Goodbye(goodbye));
                }
                self.hang_up(End::Seed(n), link);
            }
            Output::Persist { token, record } => {
                let life = self.lives[n];
                self.later(SYNC, Happening::Persisted(n, life, token, record));
            }
            Output::Event(Event::Notice(notice)) => self.notices.push((self.now, n, notice)),
            Output::Event(event) => self.events.push((n, event)),
        }
    }

    fn dial(&mut self, n: usize, dial: DialId, address: SocketAddr, timeout_ms: u32) {
        let is_there = |rig: &Self, end| match end {
            End::Seed(n) => rig.seeds[n].is_some(),
            End::Peer(n) => rig.peers[n].mood != Mood::Gone,
        };
        let seed = (0..self.seeds.len()).find(|n| seed_address(*n) == address).map(End::Seed);
        let peers = &self.peers;
        let peer = (0..peers.len()).find(|n| peers[*n].address == address).map(End::Peer);
        let target = seed.or(peer).filter(|end| is_there(self, *end));
        let from = End::Seed(n);
        let fails = |cause| Happening::Input(n, Input::DialFailed { dial, cause });
        let timeout = Duration::from_millis(timeout_ms.into());
        match target {
            None => self.later(LATENCY, fails(DialFailure::Refused)),
            Some(to) if self.is_cut(from, to) || self.is_frozen(to) => {
                self.later(timeout, fails(DialFailure::Timeout));
            }
            Some(to) => {
                let link = self.connect(from, to);
                let (node, remote) = (self.node(to), address);
                let dialed = Some(dial);
                let up = Input::LinkUp { link, node, remote, dialed };
                self.later(LATENCY, Happening::Input(n, up));
            }
        }
    }

    fn is_frozen(&self, end: End) -> bool {
        matches!(end, End::Peer(n) if self.peers[n].mood == Mood::Frozen)
    }

    fn is_cut(&self, a: End, b: End) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    fn node(&self, end: End) -> NodeId {
        match end {
            End::Seed(n) => self.keys[n],
            End::Peer(n) => self.peers[n].signer.node(),
        }
    }

    /// Makes a connection and tells the accepting end of it, if that is a seed.
    pub(super) fn connect(&mut self, from: End, to: End) -> LinkId {
        self.number += 1;
        let link = LinkId(self.number);
        self.conns.insert(link, (from, to));
        if let End::Seed(n) = to {
            let remote = SocketAddr::from(([127, 0, 0, 1], 40_000));
            let node = self.node(from);
            let up = Input::LinkUp { link, node, remote, dialed: None };
            self.later(LATENCY, Happening::Input(n, up));
        }
        link
    }

    fn other(&self, end: End, link: LinkId) -> Option<End> {
        let (a, b) = *self.conns.get(&link)?;
        Some(if a == end { b } else { a })
    }

    /// Takes a frame through the codec to the other end.
    pub(super) fn carry(&mut self, from: End, link: LinkId, frame: Frame) {
        let Some(to) = self.other(from, link) else { return };
        if self.is_cut(from, to) {
            return;
        }
        let encoded = encode(&frame);
        assert!(encoded.len() <= CONTROL_BYTES_MAX || matches!(frame, Frame::Batch(_)));
        let mut bytes = BytesMut::from(&encoded.head[..]);
        bytes.extend_from_slice(&encoded.tail);
        assert_eq!(decode(&mut bytes, usize::MAX), Ok(Decoded::Frame(frame.clone())));
        let happening = match to {
            End::Seed(n) => Happening::Input(n, Input::Received { link, frame }),
            End::Peer(n) => Happening::ToPeer(n, link, frame),
        };
        self.later(LATENCY, happening);
    }

    pub(super) fn hang_up(&mut self, from: End, link: LinkId) {
        let Some(to) = self.other(from, link) else { return };
        self.conns.remove(&link);
        if let End::Peer(n) = from {
            self.peers[n].sessions.retain(|_, session| *session != link);
        }
        if !self.is_cut(from, to) {
            self.later(LATENCY, Happening::Down(to, link));
        }
    }

    pub(super) fn break_links(&mut self, end: End) {
        let of = |(_, (a, b)): &(&LinkId, &(End, End))| *a == end || *b == end;
        let links: Vec<_> = self.conns.iter().filter(of).map(|(link, _)| *link).collect();
        links.into_iter().for_each(|link| self.hang_up(end, link));
    }

    pub(super) fn peer_receives(&mut self, n: usize, link: LinkId, frame: Frame) {
        let Some(End::Seed(seed)) = self.other(End::Peer(n), link) else {
            // The last words of a closed link are still read.
            if let Frame::Goodbye(_) | Frame::Hello(_) = frame {
                self.peers[n].inbox.push((usize::MAX, frame));
            }
            return;
        };
        match self.peers[n].mood {
            Mood::Gone => return,
            Mood::Frozen => return self.peers[n].late.push((link, frame)),
            Mood::Well => {}
        }
        match &frame {
            Frame::Ping(nonce) => self.carry(End::Peer(n), link, Frame::Pong(*nonce)),
            Frame::Hello(hello) if hello.purpose == Purpose::Probe => {
                let hello = self.hello(n, Purpose::Probe);
                self.carry(End::Peer(n), link, Frame::Hello(Box::new(hello)));
            }
            _ => {}
        }
        self.peers[n].inbox.push((seed, frame));
    }

    /// What a peer got since it was last asked, but for pings.
    pub(super) fn inbox(&mut self, n: usize) -> Vec<Frame> {
        let frames = std::mem::take(&mut self.peers[n].inbox);
        let frames = frames.into_iter().map(|(_, frame)| frame);
        frames.filter(|frame| !matches!(frame, Frame::Ping(_) | Frame::Pong(_))).collect()
    }

    /// The last goodbye that a peer got.
    pub(super) fn goodbye(&mut self, n: usize) -> Option<Goodbye> {
        let last = self.inbox(n).into_iter().rev();
        last.into_iter().find_map(|frame| match frame {
            Frame::Goodbye(goodbye) => Some(goodbye),
            _ => None,
        })
    }

    pub(super) fn noticed(&self, seed: usize, which: impl Fn(&Notice) -> bool) -> Option<Instant> {
        let mut notices = self.notices.iter();
        notices.find(|(_, n, notice)| *n == seed && which(notice)).map(|(at, ..)| *at)
    }

    /// Whether all seeds hold the same.
    pub(super) fn has_same_tables(&self) -> bool {
        let digests: BTreeSet<_> = self.seeds.iter().flatten().map(Seed::digest).collect();
        digests.len() == 1
    }

    pub(super) fn assert_same_tables(&self) {
        assert!(self.has_same_tables(), "the seeds disagree");
    }
}

impl FakePeer {
    fn new(n: usize) -> Self {
        let mut node = [1; 32];
        node[..4].copy_from_slice(&u32::try_from(n).unwrap().to_le_bytes());
        Self {
            signer: Signer::Checksum(NodeId(node)),
            address: SocketAddr::from(([127, 0, 0, 2], 7_200 + u16::try_from(n).unwrap())),
            incarnation: Incarnation(10),
            mood: Mood::Well,
            inbox: Vec::new(),
            sessions: BTreeMap::new(),
            late: Vec::new(),
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.signer.node()
    }
}
