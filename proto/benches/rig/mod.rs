//! Peers on one virtual clock, as real as machines are without a network: their links carry bytes,
//! and what they sign and check is Ed25519.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidings_proto::config::{GossipConfig, Identity};
use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::peer::event::{Command, CommandError, Event, From};
use tidings_proto::wire::batch::Message;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{Frame, PeerEntry};
use tidings_proto::wire::record::TopicPolicy;
use tidings_proto::{
    DialFailure, DialId, Incarnation, Input, Instant, LinkDown, LinkId, Machine as _, NodeId,
    Output, Peer, PeerConfig, RequestId, Topic,
};

/// From one peer to the next.
const LATENCY: Duration = Duration::from_millis(1);
/// Messages of each peer before anything is measured. The first ones go on all links.
const SETTLING_ROUNDS: usize = 2;
/// Steps of 10 ms after which a peer must have answered: a question to seeds takes 5 s at most.
const ANSWER_STEPS_MAX: usize = 1_000;
/// More than a peer wants at once.
const WANTED_USUAL: usize = 1_024;

/// What reaches a peer.
#[derive(Debug)]
pub(crate) enum Arriving {
    Input(Input<Command>),
    /// What an application asked for since the peer ran last.
    Commands(Vec<Command>),
    Bytes {
        link: LinkId,
        bytes: BytesMut,
    },
}

/// What a peer wants, with frames as they go out.
#[derive(Debug)]
pub(crate) enum Wanted {
    Dial { dial: DialId, address: SocketAddr },
    Bytes { link: LinkId, encoded: codec::Encoded },
    Close { link: LinkId },
    Delivered { messages: u64 },
    Answered { request: RequestId, result: Result<(), CommandError> },
}

/// A few peers, all linked.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) now: Instant,
    pub(crate) peers: Vec<Peer>,
    pub(crate) signers: Vec<Signer>,
    /// Messages handed to applications, those of the publisher included.
    pub(crate) delivered: u64,
    /// Whether what the peers do is counted: see [`counted_step`].
    pub(crate) counting: bool,
    /// Batches that each peer has sent.
    pub(crate) sent: Vec<u64>,
    /// The batch that came last at each peer, and on which link.
    pub(crate) latest: Vec<Option<(LinkId, Bytes)>>,
    answers: BTreeMap<RequestId, Result<(), CommandError>>,
    wanted: Vec<Wanted>,
    ends: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    arriving: BTreeMap<u64, (usize, Arriving)>,
    serial: u64,
}

pub(crate) fn topic() -> Topic {
    Topic::new("bench").expect("legal")
}

fn address(n: usize) -> SocketAddr {
    ([127, 0, 0, 1], 7_200 + u16::try_from(n).expect("few peers")).into()
}

fn signer(n: usize) -> Signer {
    Signer::ed25519(&[u8::try_from(n + 1).expect("few peers"); 32])
}

/// What one peer does about one thing, under a name by which a profiler finds it.
#[inline(never)]
pub(crate) fn counted_step(
    peer: &mut Peer,
    now: Instant,
    arriving: Arriving,
    wanted: &mut Vec<Wanted>,
) {
    step(peer, now, arriving, wanted);
    // Without something to do after it, the two functions would be one.
    std::hint::black_box(wanted);
}

/// Reads, handles, and appends what comes of it, as bytes where it goes to others. `wanted` is the
/// caller's, so that what it takes is not paid for here.
#[inline(never)]
pub(crate) fn step(peer: &mut Peer, now: Instant, arriving: Arriving, wanted: &mut Vec<Wanted>) {
    match arriving {
        Arriving::Input(input) => peer.handle(now, input),
        Arriving::Commands(commands) => {
            commands.into_iter().for_each(|command| peer.handle(now, Input::Command(command)));
        }
        Arriving::Bytes { link, mut bytes } => {
            let decoded = codec::decode(&mut bytes, FRAME_BYTES_MAX).expect("a frame");
            let Decoded::Frame(frame) = decoded else { panic!("whole frames are sent") };
            peer.handle(now, Input::Received { link, frame });
        }
    }
    while let Some(output) = peer.poll_output() {
        match output {
            Output::Dial { dial, address, .. } => wanted.push(Wanted::Dial { dial, address }),
            Output::Send { link, frame, .. } => {
                wanted.push(Wanted::Bytes { link, encoded: codec::encode(&frame) });
            }
            Output::Close { link, goodbye } => {
                let goodbye = goodbye.map(|goodbye| codec::encode(&Frame::Goodbye(goodbye)));
                wanted.extend(goodbye.map(|encoded| Wanted::Bytes { link, encoded }));
                wanted.push(Wanted::Close { link });
            }
            Output::Event(Event::Deliver { batch, from_seq }) => {
                let messages = batch.header().last_seq() + 1 - from_seq;
                wanted.push(Wanted::Delivered { messages });
            }
            Output::Event(Event::Answer { request, result }) => {
                wanted.push(Wanted::Answered { request, result: result.map(|_| ()) });
            }
            Output::Persist { .. } | Output::Event(_) => {}
        }
    }
}

impl Rig {
    /// So many peers, which know each other and have subscribed to the topic.
    ///
    /// # Panics
    /// When a peer refuses that, or what is published does not reach all of them.
    pub(crate) fn new(count: usize, gossip: GossipConfig) -> Self {
        let signers: Vec<_> = (0..count).map(signer).collect();
        let entry = |n: usize| PeerEntry {
            node: signers[n].node(),
            incarnation: Incarnation(1),
            address: address(n),
        };
        let make = |n: usize| {
            let identity = Identity {
                cluster: "bench".into(),
                name: format!("peer-{n}"),
                address: address(n),
                incarnation: Incarnation(1),
                scheme: Scheme::Ed25519,
                wall_origin_us: 1_700_000_000_000_000,
                rng_seed: [u8::try_from(n).expect("few peers"); 32],
            };
            let mut config = PeerConfig::new(identity, Vec::new());
            config.known_peers = (0..count).map(entry).collect();
            config.gossip = gossip;
            Peer::new(config, signers[n].clone(), Instant::ZERO)
        };
        let mut rig = Self {
            now: Instant::ZERO,
            peers: (0..count).map(make).collect(),
            signers: signers.clone(),
            delivered: 0,
            counting: false,
            sent: vec![0; count],
            latest: vec![None; count],
            answers: BTreeMap::new(),
            wanted: Vec::with_capacity(WANTED_USUAL),
            ends: BTreeMap::new(),
            queue: BinaryHeap::new(),
            arriving: BTreeMap::new(),
            serial: 0,
        };
        rig.run(Duration::from_secs(3));
        let policy = TopicPolicy::default();
        let create =
            |request| Command::CreateTopic { request, topic: topic(), exist_ok: false, policy };
        rig.ask(0, create);
        // Without seeds the others hear of the topic from their neighbours.
        rig.run(Duration::from_secs(1));
        for n in 0..count {
            let from = From::New;
            rig.ask(n, |request| Command::Subscribe { request, topic: topic(), from });
        }
        rig.run(Duration::from_secs(10));
        // Who passes messages on to whom settles with these.
        for n in 0..SETTLING_ROUNDS * count {
            rig.publish(n % count, 1, 100);
            rig.run(Duration::from_millis(200));
        }
        assert_eq!(rig.delivered, (SETTLING_ROUNDS * count * count) as u64, "everybody got all");
        rig.delivered = 0;
        rig
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.queue.peek().map(|Reverse((at, _))| *at);
            let deadline = |n: usize| Some((self.peers[n].next_deadline()?, n));
            let wake = (0..self.peers.len()).filter_map(deadline).min();
            let next = due.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(next);
            if due == Some(next) {
                let Some(Reverse((_, serial))) = self.queue.pop() else { break };
                let (n, arriving) = self.arriving.remove(&serial).expect("queued");
                self.feed(n, arriving);
            } else if let Some((_, n)) = wake {
                self.feed(n, Arriving::Input(Input::Tick));
            }
        }
        self.now = end;
    }

    /// So many messages of so many bytes from one peer, which finds them all at once.
    pub(crate) fn publish(&mut self, n: usize, count: usize, bytes: usize) {
        let message = Message::new(vec![b'x'; bytes]);
        let publish = |serial| Command::Publish {
            request: RequestId(self.serial + serial),
            topic: topic(),
            message: message.clone(),
        };
        let commands = (1..=count as u64).map(publish).collect();
        self.serial += count as u64;
        self.feed(n, Arriving::Commands(commands));
    }

    /// Has a peer do something, and waits until it has.
    fn ask(&mut self, n: usize, command: impl FnOnce(RequestId) -> Command) {
        self.serial += 1;
        let request = RequestId(self.serial);
        self.feed(n, Arriving::Commands(vec![command(request)]));
        for _ in 0..ANSWER_STEPS_MAX {
            match self.answers.remove(&request) {
                Some(Ok(())) => return,
                Some(Err(error)) => panic!("peer {n} refuses: {error}"),
                None => self.run(Duration::from_millis(10)),
            }
        }
        panic!("peer {n} does not answer");
    }

    fn feed(&mut self, n: usize, arriving: Arriving) {
        if let Arriving::Bytes { link, bytes } = &arriving
            && is_batch(bytes)
        {
            self.latest[n] = Some((*link, bytes.clone().freeze()));
        }
        let peer = &mut self.peers[n];
        let mut all_wanted = std::mem::take(&mut self.wanted);
        let step = if self.counting { counted_step } else { step };
        step(peer, self.now, arriving, &mut all_wanted);
        for wanted in all_wanted.drain(..) {
            match wanted {
                Wanted::Dial { dial, address } => self.dial(n, dial, address),
                Wanted::Bytes { link, encoded } => {
                    self.sent[n] += u64::from(!encoded.tail.is_empty());
                    let Some(&(other, link)) = self.ends.get(&(n, link)) else { continue };
                    let mut bytes = BytesMut::from(&encoded.head[..]);
                    bytes.extend_from_slice(&encoded.tail);
                    self.later(other, Arriving::Bytes { link, bytes });
                }
                Wanted::Close { link } => {
                    let Some((other, theirs)) = self.ends.remove(&(n, link)) else { continue };
                    self.ends.remove(&(other, theirs));
                    let down = Input::LinkDown { link: theirs, cause: LinkDown::Closed };
                    self.later(other, Arriving::Input(down));
                }
                Wanted::Delivered { messages } => self.delivered += messages,
                Wanted::Answered { request, result } => {
                    self.answers.insert(request, result);
                }
            }
        }
        self.wanted = all_wanted;
    }

    fn dial(&mut self, n: usize, dial: DialId, to: SocketAddr) {
        let Some(other) = (0..self.peers.len()).find(|other| address(*other) == to) else {
            let failed = Input::DialFailed { dial, cause: DialFailure::Refused };
            return self.later(n, Arriving::Input(failed));
        };
        self.serial += 1;
        let link = LinkId(self.serial);
        self.ends.insert((n, link), (other, link));
        self.ends.insert((other, link), (n, link));
        let node = |n: usize| -> NodeId { self.signers[n].node() };
        let (here, there) = (node(n), node(other));
        let up =
            |node, remote, dialed| Arriving::Input(Input::LinkUp { link, node, remote, dialed });
        self.later(n, up(there, to, Some(dial)));
        self.later(other, up(here, address(n), None));
    }

    fn later(&mut self, n: usize, arriving: Arriving) {
        self.serial += 1;
        self.queue.push(Reverse((self.now + LATENCY, self.serial)));
        self.arriving.insert(self.serial, (n, arriving));
    }
}

/// The kind of a batch frame stands after its length.
fn is_batch(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&255)
}
