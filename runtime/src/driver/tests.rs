//! Two drivers, or a driver and a raw connection, over real sockets.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::frame::{BatchFrame, Cause, Frame, Goodbye, Reason};
use tidings_proto::wire::kind::FrameKind;
use tidings_proto::{
    Class, DialFailure, DialId, Incarnation, Input, Instant, LinkDown, LinkId, Machine, NodeId,
    Origin, Output, Topic,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::clock::Clock;
use crate::key::NodeKey;
use crate::listen::bind;
use crate::node::{Handle, Host, Kept, LinkLimits, Node, NodeOptions, spawn};
use crate::tls::{Encryption, Established, HandshakeError, Tls};
use crate::traffic::ShedReason;

/// A machine that does what it is told, tells what it sees, and answers pings.
#[derive(Default)]
struct Echo {
    outputs: VecDeque<Output<Seen, u64>>,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Tell {
    Do(Output<Seen, u64>),
    /// The same, as a command that makes traffic.
    Traffic(Output<Seen, u64>),
    Wake(Instant),
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Up { link: LinkId, node: NodeId, dialed: Option<DialId> },
    Down(LinkDown),
    DialFailed(DialFailure),
    Frame(Frame),
    Shed(Class, u32),
    Persisted(u64),
    Tick,
    Did(u64),
}

impl Machine for Echo {
    type Command = Tell;
    type Event = Seen;
    type Durable = u64;

    fn handle(&mut self, _now: Instant, input: Input<Tell>) {
        let seen = match input {
            Input::LinkUp { link, node, dialed, .. } => Seen::Up { link, node, dialed },
            Input::LinkDown { cause, .. } => Seen::Down(cause),
            Input::DialFailed { cause, .. } => Seen::DialFailed(cause),
            Input::Received { link, frame } => {
                if let Frame::Ping(nonce) = frame {
                    let frame = Frame::Pong(nonce);
                    self.outputs.push_back(Output::Send { link, class: Class::Control, frame });
                }
                Seen::Frame(frame)
            }
            Input::Shed { class, frames, .. } => Seen::Shed(class, frames),
            Input::Persisted(token) => Seen::Persisted(token),
            Input::Tick => {
                self.deadline = None;
                Seen::Tick
            }
            Input::Command(Tell::Do(output) | Tell::Traffic(output)) => {
                self.outputs.push_back(output);
                return;
            }
            Input::Command(Tell::Wake(at)) => {
                self.deadline = Some(at);
                return;
            }
        };
        self.outputs.push_back(Output::Event(seen));
    }

    fn poll_output(&mut self) -> Option<Output<Seen, u64>> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// A record that is on disk only when the test says so.
const LATER: u64 = 77;

struct Watch(Sender<Seen>, Receiver<u64>);

impl Host<Echo> for Watch {
    fn event(&mut self, _now: Instant, event: Seen) {
        let _ = self.0.try_send(event);
    }

    fn persist(&mut self, _token: u64, record: u64) -> Kept {
        let _ = self.0.try_send(Seen::Did(record));
        if record == LATER { Kept::Later } else { Kept::Now }
    }

    fn poll_persisted(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        match self.1.poll_recv(context) {
            Poll::Ready(Some(token)) => Poll::Ready(token),
            _ => Poll::Pending,
        }
    }

    fn makes_traffic(command: &Tell) -> bool {
        matches!(command, Tell::Traffic(_))
    }
}

struct Rig {
    node: Node<Echo>,
    seen: Receiver<Seen>,
    synced: Sender<u64>,
    address: SocketAddr,
    id: NodeId,
    clock: Clock,
}

impl Rig {
    fn start() -> Self {
        Self::limited(LinkLimits::default())
    }

    fn limited(limits: LinkLimits) -> Self {
        Self::with(limits, Encryption::Always)
    }

    fn with(limits: LinkLimits, encryption: Encryption) -> Self {
        let key = Arc::new(NodeKey::generate().unwrap());
        let id = key.node_id();
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Clock::start();
        let (events, seen) = channel(EVENTS_MAX);
        let options = NodeOptions { key, listener, clock, limits, encryption };
        let (synced, syncs) = channel(EVENTS_MAX);
        let node = spawn(Echo::default(), Watch(events, syncs), options);
        Self { node, seen, synced, address, id, clock }
    }

    fn handle(&self) -> &Handle<Echo> {
        &self.node.handle
    }

    async fn tell(&self, output: Output<Seen, u64>) {
        self.handle().command(Tell::Do(output)).await.unwrap();
    }

    async fn send(&self, link: LinkId, class: Class, frame: Frame) {
        self.tell(Output::Send { link, class, frame }).await;
    }

    async fn dial(&self, address: SocketAddr) {
        self.tell(Output::Dial { dial: DialId(7), address, timeout_ms: 5_000 }).await;
    }

    async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(Duration::from_secs(10), self.seen.recv());
        next.await.expect("an event within 10 s").expect("a running driver")
    }

    /// The next event that is a link, and its number.
    async fn up(&mut self) -> (LinkId, NodeId, Option<DialId>) {
        loop {
            if let Seen::Up { link, node, dialed } = self.next().await {
                return (link, node, dialed);
            }
        }
    }
}

/// A link between two fresh nodes, and its number at both ends.
async fn linked() -> (Rig, LinkId, Rig, LinkId) {
    linked_with(Encryption::Always).await
}

async fn linked_with(encryption: Encryption) -> (Rig, LinkId, Rig, LinkId) {
    let start = || Rig::with(LinkLimits::default(), encryption);
    let (mut a, mut b) = (start(), start());
    a.dial(b.address).await;
    let (at_a, node, dialed) = a.up().await;
    assert_eq!((node, dialed), (b.id, Some(DialId(7))));
    let (at_b, node, dialed) = b.up().await;
    assert_eq!((node, dialed), (a.id, None));
    (a, at_a, b, at_b)
}

/// A raw connection that has shaken hands and does nothing more.
async fn connect(rig: &Rig, alpn: &[&[u8]]) -> Result<Established, HandshakeError> {
    let key = NodeKey::generate().unwrap();
    let alpn = alpn.iter().map(|name| name.to_vec()).collect();
    let tls = Tls::with_alpn(&key, alpn).unwrap();
    let tcp = TcpStream::connect(rig.address).await.unwrap();
    tls.connect(tcp, rig.address).await
}

fn batch(bytes: usize) -> Frame {
    let signer = Signer::ed25519(&[1; 32]);
    let header = BatchHeader {
        topic: Topic::new("t").unwrap(),
        origin: Origin { node: signer.node(), incarnation: Incarnation(1) },
        address: "127.0.0.1:1".parse().unwrap(),
        generation: 1,
        first_seq: 1,
        published_at_us: 0,
        count: 1,
    };
    let batch = Batch::sign(header, &[Message::new(Bytes::from(vec![b'x'; bytes]))], &signer);
    Frame::Batch(BatchFrame { cause: Cause::Push, hop: 0, tree: 0, age_ms: 0, batch })
}

#[tokio::test]
async fn two_nodes_prove_their_keys_and_talk() {
    let (mut a, at_a, mut b, at_b) = linked().await;
    a.send(at_a, Class::Control, Frame::Ping(42)).await;
    assert_eq!(b.next().await, Seen::Frame(Frame::Ping(42)));
    assert_eq!(a.next().await, Seen::Frame(Frame::Pong(42)));
    for size in [1, 40 << 10, 1 << 20, 3] {
        b.send(at_b, Class::Own, batch(size)).await;
        assert_eq!(a.next().await, Seen::Frame(batch(size)));
    }
    let views = (a.handle().links().await.unwrap(), b.handle().links().await.unwrap());
    let ([to_b], [to_a]) = (views.0.as_slice(), views.1.as_slice()) else { panic!("{views:?}") };
    assert!(to_b.outbound && !to_a.outbound);
    assert_eq!((to_b.node, to_b.remote, to_a.node), (b.id, b.address, a.id));
    assert!(to_b.bytes_in > 1 << 20 && to_b.bytes_in == to_a.bytes_out, "{views:?}");
    assert_eq!(to_b.queued_bytes, 0);
    let (of_a, of_b) = (a.handle().network().await.unwrap(), b.handle().network().await.unwrap());
    let (of_a, of_b) = (of_a.traffic, of_b.traffic);
    assert_eq!((of_b.sent(FrameKind::Push).frames, of_a.sent(FrameKind::Liveness).frames), (4, 1));
    for kind in FrameKind::ALL {
        assert_eq!(of_b.sent(kind), of_a.received(kind), "{kind:?}");
        assert_eq!(of_a.sent(kind), of_b.received(kind), "{kind:?}");
    }
    let all: u64 = FrameKind::ALL.iter().map(|kind| of_a.received(*kind).bytes).sum();
    assert_eq!(all, to_b.bytes_in, "every byte is counted");
}

#[tokio::test]
async fn failed_dials_say_why() {
    let mut a = Rig::start();
    let free = bind("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
    a.dial(free).await;
    assert_eq!(a.next().await, Seen::DialFailed(DialFailure::Refused));
    // The kernel takes the connection, and nobody answers.
    let silent = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = silent.local_addr().unwrap();
    a.tell(Output::Dial { dial: DialId(8), address, timeout_ms: 50 }).await;
    assert_eq!(a.next().await, Seen::DialFailed(DialFailure::Timeout));
    a.dial(address).await;
    drop(silent.accept().await.unwrap());
    drop(silent.accept().await.unwrap());
    assert_eq!(a.next().await, Seen::DialFailed(DialFailure::Handshake));
}

#[tokio::test]
async fn strangers_are_turned_away_and_harm_nobody() {
    let limits =
        LinkLimits { handshake_timeout: Duration::from_millis(100), ..LinkLimits::default() };
    let mut rig = Rig::limited(limits);
    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        // A client may learn of the refusal only with its first read.
        if let Ok(mut other) = connect(&rig, alpn).await {
            assert_closed(&mut other.tcp).await;
        }
    }
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 255, 255, 1, 2, 3], &[0; 70_000]] {
        let mut tcp = TcpStream::connect(rig.address).await.unwrap();
        // The other end may close before all is written.
        let _ = tcp.write_all(noise).await;
        assert_closed(&mut tcp).await;
    }
    let mut silent = TcpStream::connect(rig.address).await.unwrap();
    assert_closed(&mut silent).await;
    assert!(rig.seen.try_recv().is_err(), "no link came of it");
    connect(&rig, &[b"tidings/1"]).await.unwrap();
    rig.up().await;
}

async fn assert_closed(tcp: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), tcp.read_to_end(&mut rest));
    // A reset is an end as good as any.
    let _ = read.await.expect("the other end closes within 10 s");
}

#[tokio::test]
async fn a_first_frame_over_its_limit_is_answered_with_a_reason() {
    let (mut a, at_a, mut b, _) = linked().await;
    a.send(at_a, Class::Own, batch(5_000)).await;
    assert_eq!(b.next().await, Seen::Down(LinkDown::Malformed("frame: too large")));
    let Seen::Frame(Frame::Goodbye(goodbye)) = a.next().await else { panic!("no goodbye") };
    assert_eq!(goodbye.reason, Reason::Violation);
    assert_eq!(a.next().await, Seen::Down(LinkDown::Closed));
    assert!(b.handle().links().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_encryption_keys_are_proven_and_frames_arrive_in_order() {
    // Its own assertions say that each end knows who the other one is.
    let (mut a, at_a, mut b, at_b) = linked_with(Encryption::HandshakeOnly).await;
    // A small frame comes first, as between nodes.
    a.send(at_a, Class::Own, Frame::Pong(7)).await;
    assert_eq!(b.next().await, Seen::Frame(Frame::Pong(7)));
    // More than a socket takes at once, and less than a queue.
    for number in 0..8 {
        a.send(at_a, Class::Own, batch(256 << 10)).await;
        a.send(at_a, Class::Own, Frame::Pong(number)).await;
    }
    a.send(at_a, Class::Own, Frame::Ping(8)).await;
    for number in 0..8 {
        assert_eq!(b.next().await, Seen::Frame(batch(256 << 10)));
        assert_eq!(b.next().await, Seen::Frame(Frame::Pong(number)));
    }
    assert_eq!(b.next().await, Seen::Frame(Frame::Ping(8)));
    let goodbye = Goodbye { reason: Reason::Leaving, text: "so long".into() };
    assert_eq!(a.next().await, Seen::Frame(Frame::Pong(8)));
    b.tell(Output::Close { link: at_b, goodbye: Some(goodbye.clone()) }).await;
    assert_eq!(a.next().await, Seen::Frame(Frame::Goodbye(goodbye)));
    assert_eq!(a.next().await, Seen::Down(LinkDown::Closed));
}

#[tokio::test]
async fn an_end_that_encrypts_and_one_that_does_not_refuse_each_other() {
    let plain = || Rig::with(LinkLimits::default(), Encryption::HandshakeOnly);
    for (mut dialer, listener) in [(Rig::start(), plain()), (plain(), Rig::start())] {
        dialer.dial(listener.address).await;
        assert_eq!(dialer.next().await, Seen::DialFailed(DialFailure::Handshake));
        assert!(listener.handle().links().await.unwrap().is_empty());
    }
    let error = connect(&plain(), &[b"tidings/1"]).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Protocol), "{error}");
}

#[tokio::test]
async fn a_goodbye_arrives_after_what_was_said_before() {
    let (a, at_a, mut b, _) = linked().await;
    let goodbye = Goodbye { reason: Reason::Leaving, text: "so long".into() };
    a.send(at_a, Class::Control, Frame::Ping(1)).await;
    a.tell(Output::Close { link: at_a, goodbye: Some(goodbye.clone()) }).await;
    a.send(at_a, Class::Control, Frame::Ping(2)).await;
    assert_eq!(b.next().await, Seen::Frame(Frame::Ping(1)));
    assert_eq!(b.next().await, Seen::Frame(Frame::Goodbye(goodbye)));
    assert_eq!(b.next().await, Seen::Down(LinkDown::Closed));
    assert!(a.handle().links().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stopped_node_sends_its_goodbyes() {
    let (a, at_a, mut b, _) = linked().await;
    let goodbye = Goodbye { reason: Reason::Leaving, text: String::new() };
    a.tell(Output::Close { link: at_a, goodbye: Some(goodbye.clone()) }).await;
    let handle = a.handle().clone();
    let begun = std::time::Instant::now();
    // All that was told before is done before: the queue of commands is in order.
    handle.inspect(|_, _| ()).await.unwrap();
    a.node.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(b.next().await, Seen::Frame(Frame::Goodbye(goodbye)));
    assert_eq!(b.next().await, Seen::Down(LinkDown::Closed));
    assert!(handle.is_stopped() && handle.links().await.is_err());
}

#[tokio::test]
async fn a_reader_that_stops_is_bounded_then_cut_off() {
    let limits = LinkLimits { queue_bytes: 4 << 20, ..LinkLimits::default() };
    let mut rig = Rig::limited(limits);
    let slow = connect(&rig, &[b"tidings/1"]).await.unwrap();
    let (link, ..) = rig.up().await;
    let frame = batch(256 << 10);
    // More than the kernel's buffers on both sides and the queue can take.
    for _ in 0..200 {
        rig.send(link, Class::Forward, frame.clone()).await;
    }
    let Seen::Shed(Class::Forward, _) = rig.next().await else { panic!("nothing was shed") };
    let [ref view] = rig.handle().links().await.unwrap()[..] else { panic!("the link is gone") };
    assert!(view.queued_bytes > 5 << 19 && view.queued_bytes <= 3 << 20, "{view:?}");
    assert_eq!(view.queued[Class::Forward as usize].bytes, view.queued_bytes as u64);
    assert!(view.shed[Class::Forward as usize] > 0, "{view:?}");

    let hello = Frame::Refuse(Vec::new());
    // Control frames push out all others, and then there is no room for them either.
    let goodbye = Goodbye { reason: Reason::Leaving, text: "x".repeat(255) };
    for _ in 0..30_000 {
        rig.send(link, Class::Control, Frame::Goodbye(goodbye.clone())).await;
    }
    rig.send(link, Class::Control, hello).await;
    while rig.next().await != Seen::Down(LinkDown::Closed) {}
    let network = rig.handle().network().await.unwrap();
    assert!(network.links.is_empty());
    let shed = |reason, class| network.traffic.shed(reason, class).frames;
    assert!(shed(ShedReason::ClassFull, Class::Forward) > 0, "{network:?}");
    assert!(shed(ShedReason::QueueFull, Class::Forward) > 0, "{network:?}");
    assert_eq!(network.traffic.links_overflowed, 1);
    drop(slow);
}

#[tokio::test]
async fn publications_wait_while_most_links_are_congested() {
    let mut rig = Rig::start();
    let slow = connect(&rig, &[b"tidings/1"]).await.unwrap();
    let (link, ..) = rig.up().await;
    let frame = batch(256 << 10);
    let publish = || Tell::Traffic(Output::Send { link, class: Class::Own, frame: frame.clone() });
    let mut sent = 0;
    loop {
        match rig.handle().try_command(publish()) {
            Ok(()) => sent += 1,
            Err(_) => {
                let [ref view] = rig.handle().links().await.unwrap()[..] else { panic!("no link") };
                if view.queued_bytes > 1 << 20 {
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
    assert!(sent > 1_024, "the queue is full behind a congested link, after {sent}");
    // Other commands pass.
    rig.tell(Output::Event(Seen::Did(5))).await;
    while rig.next().await != Seen::Did(5) {}
    drop(slow);
    // And with the link gone, publications do as well.
    rig.handle().command(Tell::Traffic(Output::Event(Seen::Did(6)))).await.unwrap();
    while rig.next().await != Seen::Did(6) {}
}

#[tokio::test]
async fn records_are_answered_and_time_is_told() {
    let mut rig = Rig::start();
    rig.tell(Output::Persist { token: 3, record: 99 }).await;
    assert_eq!(rig.next().await, Seen::Did(99));
    assert_eq!(rig.next().await, Seen::Persisted(3));
    rig.tell(Output::Persist { token: 4, record: LATER }).await;
    rig.tell(Output::Event(Seen::Did(98))).await;
    assert_eq!([rig.next().await, rig.next().await], [Seen::Did(LATER), Seen::Did(98)]);
    rig.synced.try_send(4).unwrap();
    assert_eq!(rig.next().await, Seen::Persisted(4));
    let at = rig.clock.now() + Duration::from_millis(20);
    rig.handle().command(Tell::Wake(at)).await.unwrap();
    assert_eq!(rig.next().await, Seen::Tick);
    assert!(rig.clock.now() >= at);
    // A time that has passed long ago is told too, a little later.
    rig.handle().command(Tell::Wake(Instant::ZERO)).await.unwrap();
    assert_eq!(rig.next().await, Seen::Tick);
    assert_eq!(rig.handle().inspect(|echo, _| echo.outputs.len()).await, Ok(0));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_and_a_killed_nodes_port_is_free() {
    let (a, _, b, _) = linked().await;
    let error = bind(b.address).unwrap_err().to_string();
    assert!(error.starts_with(&format!("address {} is in use", b.address)), "{error}");
    let address = b.address;
    b.node.stop().await;
    // Connections of the old owner may still linger in the kernel.
    bind(address).unwrap();
    drop(a);
}

/// More than any test lets happen.
const EVENTS_MAX: usize = 100_000;
