//! The tables of a seed at scale: what a record takes, and what a seed of many peers does in how
//! long. The shipped machine alone, without sockets and disk; with `--joins`, a real process with
//! both.

mod joins;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant as Clock};

use anyhow::ensure;
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tidings_proto::config::{Identity, SeedConfig};
use tidings_proto::crypto::{Scheme, Signer};
use tidings_proto::id::{Incarnation, LinkId, NodeId, RequestId, Topic};
use tidings_proto::machine::{Input, LinkDown, Machine as _, Output};
use tidings_proto::seed::Seed;
use tidings_proto::seed::memory::Memory;
use tidings_proto::time::Instant;
use tidings_proto::wire::codec;
use tidings_proto::wire::frame::{
    Frame, Goodbye, Hello, Kind, List, PROTOCOL_VERSION, Purpose, Reason, Register, Renew, Role,
    SampleRequest,
};
use tidings_proto::wire::record::{PeerRecord, Record, SignedRecord};

use crate::usage;

/// Questions of each kind that are timed.
const QUESTIONS: u64 = 10_000;

/// Options of `bench seed`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SeedArgs {
    /// Peers to register
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Start a `seed run` process instead and have so many peers register, each over a connection
    /// of its own and acknowledged when it is on disk
    #[arg(long, value_name = "COUNT", conflicts_with = "records")]
    joins: Option<usize>,
    /// Peers that join at the same time
    #[arg(long, default_value_t = 64, requires = "joins")]
    clients: usize,
    /// Where the seed keeps its data meanwhile [default: the directory for temporary files]
    #[arg(long, value_name = "DIR", requires = "joins")]
    dir: Option<PathBuf>,
    /// The program `seed` [default: beside this program]
    #[arg(long, value_name = "FILE", requires = "joins")]
    seed: Option<PathBuf>,
}

/// What was measured, a line of JSON.
#[derive(Debug, Serialize)]
struct Result {
    scenario: &'static str,
    records: u64,
    /// The growth of the process, by record.
    bytes_per_record: f64,
    joins_per_s: f64,
    /// The largest answer to a registration.
    join_answer_bytes_max: usize,
    renewals_per_s: f64,
    sample_us: Quantiles,
    list_us: Quantiles,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p99: f64,
    max: f64,
}

/// A seed and the time that passes for it.
struct Stage {
    seed: Seed,
    now: Instant,
    answers: usize,
}

/// `bench seed`.
pub(crate) fn main(args: &SeedArgs) -> anyhow::Result<ExitCode> {
    if let Some(joins) = args.joins {
        return joins::main(args, joins);
    }
    ensure!(args.records > 0, "--records must be at least 1");
    let mut stage = Stage::new(usize::try_from(args.records)?);
    let (before, _) = usage::memory_kib(&[]);
    let begun = Clock::now();
    let mut answer_max = 0;
    for n in 0..args.records {
        answer_max = answer_max.max(stage.join(n));
        if n % 100_000 == 99_999 {
            eprintln!("{} of {} peers", n + 1, args.records);
        }
    }
    let joins_per_s = args.records as f64 / begun.elapsed().as_secs_f64();
    let (after, _) = usage::memory_kib(&[]);
    ensure!(stage.seed.status().peers as u64 == args.records, "not all were registered");
    let link = stage.link(0);
    let begun = Clock::now();
    for _ in 0..QUESTIONS {
        let renew = Renew { incarnation: Incarnation(1), neighbors: Vec::new() };
        stage.receive(link, Frame::Renew(renew));
    }
    let renewals_per_s = QUESTIONS as f64 / begun.elapsed().as_secs_f64();
    let sample = |n: u64| {
        Frame::SampleRequest(SampleRequest { request: RequestId(n), topic: Topic::overlay() })
    };
    let list = |n: u64| {
        let offset = u32::try_from(n * 97 % args.records).unwrap_or(0);
        let (kind, filter) = (Kind::Peers, String::new());
        Frame::List(List { request: RequestId(n), kind, filter, offset, limit: 100 })
    };
    let result = Result {
        scenario: "seed",
        records: args.records,
        bytes_per_record: (after.saturating_sub(before) * 1_024) as f64 / args.records as f64,
        joins_per_s,
        join_answer_bytes_max: answer_max,
        renewals_per_s,
        sample_us: stage.time(link, QUESTIONS, sample)?,
        list_us: stage.time(link, QUESTIONS / 100, list)?,
    };
    println!("{}", serde_json::to_string(&result)?);
    Ok(ExitCode::SUCCESS)
}

fn address(n: u64) -> SocketAddr {
    let [.., a, b, c, d] = (n + 1).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10 + a, b, c, d), 7_200))
}

/// Keys are spread evenly, as those of real nodes are.
fn key(n: u64) -> NodeId {
    let mut key = [0; 32];
    for (place, bytes) in (0u64..).zip(key.chunks_exact_mut(8)) {
        let word = (n + 1 + (place << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.copy_from_slice(&(word ^ word >> 29).to_le_bytes());
    }
    NodeId(key)
}

impl Stage {
    fn new(records: usize) -> Self {
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, 7_101));
        let identity = Identity {
            cluster: "local".into(),
            name: "seed".into(),
            address: own,
            incarnation: Incarnation(1),
            scheme: Scheme::Checksum,
            wall_origin_us: 0,
            rng_seed: [7; 32],
        };
        let mut config = SeedConfig::new(identity, vec![own]);
        config.records_max = config.records_max.max(records);
        let signer = Signer::Checksum(NodeId([255; 32]));
        let now = Instant::from_millis(1_000);
        let seed = Seed::new(config, signer, Memory::default(), now);
        let mut stage = Self { seed, now, answers: 0 };
        stage.handle(Input::Tick);
        stage
    }

    /// Hands an input in and returns the bytes of the largest frame that goes out.
    fn handle(&mut self, input: Input<tidings_proto::seed::event::Command>) -> usize {
        self.now = self.now + Duration::from_micros(1);
        let mut inputs = vec![input];
        let mut largest = 0;
        while let Some(input) = inputs.pop() {
            self.seed.handle(self.now, input);
            while let Some(output) = self.seed.poll_output() {
                match output {
                    Output::Persist { token, .. } => inputs.push(Input::Persisted(token)),
                    Output::Send { frame, .. } => {
                        self.answers += 1;
                        largest = largest.max(codec::encode(&frame).len());
                    }
                    _ => {}
                }
            }
        }
        largest
    }

    fn receive(&mut self, link: LinkId, frame: Frame) -> usize {
        self.handle(Input::Received { link, frame })
    }

    /// A connection of a peer that has said who it is.
    fn link(&mut self, n: u64) -> LinkId {
        let link = LinkId(self.now.as_micros());
        let (node, remote) = (key(n), address(n));
        self.handle(Input::LinkUp { link, node, remote, dialed: None });
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: "local".into(),
            role: Role::Peer,
            purpose: Purpose::Session,
            incarnation: Incarnation(1),
            address: remote,
            name: String::new(),
            wanted: Vec::new(),
            urgent: false,
        };
        self.receive(link, Frame::Hello(Box::new(hello)));
        link
    }

    /// A peer registers and closes its connection. Returns the bytes of the answer.
    fn join(&mut self, n: u64) -> usize {
        let link = self.link(n);
        let record = PeerRecord {
            node: key(n),
            incarnation: Incarnation(1),
            version: 1,
            addresses: vec![address(n)],
            name: format!("peer-{n}"),
            left: false,
        };
        let record = SignedRecord::sign(Record::Peer(record), &Signer::Checksum(key(n)));
        let answer = self.receive(link, Frame::Register(Box::new(Register { record })));
        let goodbye = Goodbye { reason: Reason::NotNeeded, text: String::new() };
        self.receive(link, Frame::Goodbye(goodbye));
        self.handle(Input::LinkDown { link, cause: LinkDown::Closed });
        answer
    }

    fn time(
        &mut self,
        link: LinkId,
        count: u64,
        frame: impl Fn(u64) -> Frame,
    ) -> anyhow::Result<Quantiles> {
        let mut times = Histogram::<u64>::new(3)?;
        for n in 0..count {
            let (frame, before) = (frame(n), self.answers);
            let begun = Clock::now();
            self.receive(link, frame);
            times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
            ensure!(self.answers == before + 1, "a question was not answered");
        }
        Ok(quantiles(&times))
    }
}

/// Of nanoseconds, in microseconds.
fn quantiles(times: &Histogram<u64>) -> Quantiles {
    let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1_000.0;
    Quantiles { p50: at(0.5), p99: at(0.99), max: times.max() as f64 / 1_000.0 }
}
