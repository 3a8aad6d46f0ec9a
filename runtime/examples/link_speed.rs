//! How fast one link is: two nodes in this process, batches of one size from one to the other.
//!
//! `cargo run --release -p tidings-runtime --example link_speed`

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use bytes::Bytes;
use tidings_proto::crypto::Signer;
use tidings_proto::wire::batch::{Batch, BatchHeader, Message};
use tidings_proto::wire::frame::{BatchFrame, Cause, Frame};
use tidings_proto::{
    Class, DialId, Incarnation, Input, Instant, LinkId, Machine, Origin, Output, Topic,
};
use tidings_runtime::listen::bind;
use tidings_runtime::tls::Encryption;
use tidings_runtime::{Clock, Host, Kept, LinkLimits, Node, NodeKey, NodeOptions, node};

/// Sends what it is told to, and counts what comes.
#[derive(Default)]
struct Pipe {
    outputs: VecDeque<Output<(), ()>>,
    link: Option<LinkId>,
    received: Arc<AtomicU64>,
}

enum Command {
    Dial(SocketAddr),
    Send(BatchFrame),
}

impl Machine for Pipe {
    type Command = Command;
    type Event = ();
    type Durable = ();

    fn handle(&mut self, _now: Instant, input: Input<Command>) {
        match input {
            Input::LinkUp { link, .. } => {
                self.link = Some(link);
                // The first frame is small.
                let frame = Frame::Ping(0);
                self.outputs.push_back(Output::Send { link, class: Class::Control, frame });
            }
            Input::Received { frame: Frame::Batch(frame), .. } => {
                self.received.fetch_add(frame.batch.bytes().len() as u64, Ordering::Relaxed);
            }
            Input::Command(Command::Dial(address)) => {
                let dial = DialId(1);
                self.outputs.push_back(Output::Dial { dial, address, timeout_ms: 1_000 });
            }
            Input::Command(Command::Send(frame)) => {
                let Some(link) = self.link else { return };
                let frame = Frame::Batch(frame);
                self.outputs.push_back(Output::Send { link, class: Class::Own, frame });
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output<(), ()>> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }
}

struct Nobody;

impl Host<Pipe> for Nobody {
    fn event(&mut self, _now: Instant, (): ()) {}

    fn persist(&mut self, _token: u64, (): ()) -> Kept {
        Kept::Now
    }

    fn makes_traffic(command: &Command) -> bool {
        matches!(command, Command::Send(_))
    }

    fn traffic_bytes(command: &Command) -> usize {
        match command {
            Command::Send(frame) => frame.batch.bytes().len(),
            Command::Dial(_) => 0,
        }
    }
}

/// A node, where it listens, and how many bytes it received.
type Started = (Node<Pipe>, SocketAddr, Arc<AtomicU64>);

fn start() -> Result<Started, Box<dyn Error>> {
    let listener = bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    let received = Arc::new(AtomicU64::new(0));
    let machine = Pipe { received: received.clone(), ..Pipe::default() };
    let (clock, limits) = (Clock::start(), LinkLimits::default());
    let key = Arc::new(NodeKey::generate()?);
    let options = NodeOptions { key, listener, clock, limits, encryption: Encryption::Always };
    let running = node::spawn(machine, Nobody, options);
    Ok((running, address, received))
}

fn batch(bytes: usize) -> Result<BatchFrame, Box<dyn Error>> {
    let signer = Signer::ed25519(&[1; 32]);
    let header = BatchHeader {
        topic: Topic::new("speed")?,
        origin: Origin { node: signer.node(), incarnation: Incarnation(1) },
        address: "127.0.0.1:1".parse()?,
        generation: 1,
        first_seq: 1,
        published_at_us: 0,
        count: 1,
    };
    let batch = Batch::sign(header, &[Message::new(Bytes::from(vec![0; bytes]))], &signer);
    Ok(BatchFrame { cause: Cause::Push, hop: 0, tree: 0, age_ms: 0, batch })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (from, ..) = start()?;
    let (to, address, received) = start()?;
    from.handle.command(Command::Dial(address)).await?;
    while !to.handle.inspect(|pipe, _| pipe.link.is_some()).await? {
        tokio::task::yield_now().await;
    }
    for size in [1 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let frame = batch(size)?;
        let before = received.load(Ordering::Relaxed);
        let begun = StdInstant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            for _ in 0..64 {
                from.handle.command(Command::Send(frame.clone())).await?;
            }
        }
        let bytes = received.load(Ordering::Relaxed) - before;
        let rate = bytes as f64 / begun.elapsed().as_secs_f64();
        let frames = rate / frame.batch.bytes().len() as f64;
        println!("batches of {size:>7} B: {:>7.0} MB/s, {frames:>8.0} batches/s", rate / 1e6);
    }
    let shed: u64 = from.handle.links().await?.iter().flat_map(|link| link.shed).sum();
    println!("{shed} frames shed");
    Ok(())
}
