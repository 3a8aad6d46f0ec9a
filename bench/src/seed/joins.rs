//! Joins that are on disk: a `seed run` process on a directory of its own, and peers that connect,
//! prove their keys and register, from this process. An answer comes when the record is synced.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use hdrhistogram::Histogram;
use serde::Serialize;
use tidings_proto::id::Incarnation;
use tidings_proto::wire::codec::{self, Decoded, FRAME_BYTES_MAX};
use tidings_proto::wire::frame::{Frame, Hello, PROTOCOL_VERSION, Purpose, Register, Role};
use tidings_proto::wire::record::{PeerRecord, Record, SignedRecord};
use tidings_runtime::NodeKey;
use tidings_runtime::tls::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Quantiles, SeedArgs, quantiles};
use crate::ending::{Folder, Guard};
use crate::system::process::{serving, spawn_program};
use crate::usage::{self, Usage};

/// What a peer waits for, whatever the machine does meanwhile.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
/// Writes that are synced one by one, to know the disk.
const SYNCS: u64 = 50;
/// A seed has this many links by default (`limits.links`), less a few.
const JOINS_MAX: usize = 16_000;

/// What was measured, a line of JSON.
#[derive(Debug, Serialize)]
struct Outcome {
    scenario: &'static str,
    joins: usize,
    clients: usize,
    /// Of the directory of the seed.
    file_system: String,
    /// How long a write of 4 KiB and its sync take there.
    sync_us: Quantiles,
    /// Peers that connect, prove their key and register.
    join: Phase,
    /// Peers that have a connection and register a newer record.
    register: Phase,
    foreign_cpu_pct: f64,
}

/// How one kind of work went.
#[derive(Debug, Serialize)]
struct Phase {
    acknowledged: u64,
    per_s: f64,
    /// Of the seed alone: what it would do in a second with one core of its own.
    per_core_s: f64,
    seed_cpu_us_each: f64,
    bench_cpu_us_each: f64,
    #[serde(rename = "us")]
    took: Quantiles,
}

/// A peer, as far as its seed can tell.
struct Joining {
    key: NodeKey,
    tls: Tls,
    address: SocketAddr,
    version: u64,
}

/// `bench seed --joins`.
pub(super) fn main(args: &SeedArgs, joins: usize) -> anyhow::Result<ExitCode> {
    ensure!((1..=JOINS_MAX).contains(&joins), "--joins is 1 to {JOINS_MAX}");
    ensure!((1..=joins).contains(&args.clients), "--clients is 1 to {joins}");
    let program = args.seed.clone().map_or_else(|| crate::plan::beside("seed"), Ok)?;
    // The seed inherits it, and holds a connection of each peer.
    usage::raise_file_limit();
    let folder = Folder::new(args.dir.as_deref())?;
    let sync_us = syncs(folder.path())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let measured = runtime.block_on(measure(&program, folder.path(), joins, args.clients));
    runtime.shutdown_background();
    let (join, register, foreign_cpu_pct) = measured?;
    let outcome = Outcome {
        scenario: "seed-joins",
        joins,
        clients: args.clients,
        file_system: file_system(&std::fs::read_to_string("/proc/mounts")?, folder.path()),
        sync_us,
        join,
        register,
        foreign_cpu_pct,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    program: &Path,
    folder: &Path,
    joins: usize,
    clients: usize,
) -> anyhow::Result<(Phase, Phase, f64)> {
    let (seed, address) = start(program, folder).await?;
    let before = Usage::read(&[seed.pid()]);
    // Keys are made before anything is measured.
    let peers = (0..joins).map(Joining::new).collect::<anyhow::Result<Vec<_>>>()?;
    let share = joins.div_ceil(clients);
    let mut shares = Vec::new();
    let mut peers = peers.into_iter().peekable();
    while peers.peek().is_some() {
        shares.push(peers.by_ref().take(share).collect::<Vec<_>>());
    }
    let (join, joined) = phase(&seed, shares, |peers: Vec<Joining>| async move {
        let (mut times, mut joined) = (histogram()?, Vec::with_capacity(peers.len()));
        for peer in peers {
            let begun = Instant::now();
            let link = tokio::time::timeout(PATIENCE, peer.join(address)).await??;
            times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
            joined.push((peer, link));
        }
        Ok((times, joined))
    })
    .await?;
    let (register, _) = phase(&seed, joined, |mut joined: Vec<(Joining, _)>| async move {
        let mut times = histogram()?;
        for (peer, link) in &mut joined {
            let begun = Instant::now();
            peer.version += 1;
            tokio::time::timeout(PATIENCE, link.register(peer)).await??;
            times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        }
        Ok((times, joined))
    })
    .await?;
    let foreign = Usage::read(&[seed.pid()]).foreign_pct_since(&before);
    Ok((join, register, foreign))
}

/// All shares at once. Returns what became of them.
async fn phase<T, U, F>(
    seed: &Guard,
    shares: Vec<T>,
    work: impl Fn(T) -> F,
) -> anyhow::Result<(Phase, Vec<U>)>
where
    F: Future<Output = anyhow::Result<(Histogram<u64>, U)>> + Send + 'static,
    U: Send + 'static,
{
    let (before, begun) = (Usage::read(&[seed.pid()]), Instant::now());
    let mut working = JoinSet::new();
    for share in shares {
        working.spawn(work(share));
    }
    let (mut times, mut done) = (histogram()?, Vec::new());
    while let Some(one) = working.join_next().await {
        let (part, rest) = one??;
        times.add(part)?;
        done.push(rest);
    }
    let took = begun.elapsed().as_secs_f64();
    let after = Usage::read(&[seed.pid()]);
    let count = times.len();
    let each = |seconds: f64| seconds * 1e6 / count.max(1) as f64;
    let seed_us = each(after.others_since(&before));
    let phase = Phase {
        acknowledged: count,
        per_s: count as f64 / took,
        per_core_s: 1e6 / seed_us.max(1e-3),
        seed_cpu_us_each: seed_us,
        bench_cpu_us_each: each((after.own - before.own).total()),
        took: quantiles(&times),
    };
    Ok((phase, done))
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new(3)?)
}

async fn start(program: &Path, folder: &Path) -> anyhow::Result<(Guard, SocketAddr)> {
    let config = folder.join("config.toml");
    let log = folder.join("log");
    // It must find itself in the set of seeds, so its port is chosen before it starts.
    let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let text = format!(
        "[cluster]\nname = \"bench\"\n[[seeds]]\naddr = \"{free}\"\nhttp = \"\"\n\
         [log]\nlevel = \"warn\"\ndir = {log:?}\nstderr = false\n"
    );
    std::fs::write(&config, text)?;
    let ports = folder.join("seed.json");
    let mut command = Command::new(program);
    command.args(["run", "--listen", &free.to_string()]).arg("--config").arg(&config);
    command.arg("--data").arg(folder.join("seed")).arg("--ports-file").arg(&ports);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    let seed = spawn_program(command)?;
    let address = serving(&ports, "listen").await?;
    Ok((seed, address.parse()?))
}

impl Joining {
    fn new(number: usize) -> anyhow::Result<Self> {
        let key = NodeKey::generate()?;
        let tls = Tls::new(&key)?;
        let address = (Ipv4Addr::LOCALHOST, u16::try_from(20_000 + number)?).into();
        Ok(Self { key, tls, address, version: 1 })
    }

    async fn join(&self, seed: SocketAddr) -> anyhow::Result<Link<impl Stream + use<>>> {
        let tcp = TcpStream::connect(seed).await?;
        tcp.set_nodelay(true)?;
        let stream = self.tls.stream(tcp, seed, None).await?;
        let mut link = Link { stream, received: BytesMut::new() };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            cluster: "bench".to_owned(),
            role: Role::Peer,
            purpose: Purpose::Session,
            incarnation: Incarnation(1),
            address: self.address,
            name: String::new(),
            wanted: Vec::new(),
            urgent: false,
        };
        link.send(&Frame::Hello(Box::new(hello))).await?;
        link.register(self).await?;
        Ok(link)
    }

    fn record(&self) -> SignedRecord {
        let record = PeerRecord {
            node: self.key.node_id(),
            incarnation: Incarnation(1),
            version: self.version,
            addresses: vec![self.address],
            name: format!("peer-{}", self.address.port()),
            left: false,
        };
        SignedRecord::sign(Record::Peer(record), &self.key.signer())
    }
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A connection to the seed.
struct Link<S> {
    stream: S,
    received: BytesMut,
}

impl<S: Stream> Link<S> {
    /// Until the seed says that the record is kept.
    async fn register(&mut self, peer: &Joining) -> anyhow::Result<()> {
        let register = Register { record: peer.record() };
        self.send(&Frame::Register(Box::new(register))).await?;
        loop {
            match self.receive().await? {
                Frame::Registered(_) => return Ok(()),
                Frame::Ping(nonce) => self.send(&Frame::Pong(nonce)).await?,
                Frame::Goodbye(goodbye) => bail!("the seed closed: {}", goodbye.text),
                Frame::RegisterRefused(_) => bail!("the seed refused a registration"),
                _ => {}
            }
        }
    }

    async fn send(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let encoded = codec::encode(frame);
        self.stream.write_all(&encoded.head).await?;
        self.stream.write_all(&encoded.tail).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> anyhow::Result<Frame> {
        loop {
            match codec::decode(&mut self.received, FRAME_BYTES_MAX)? {
                Decoded::Frame(frame) => return Ok(frame),
                Decoded::Unknown(_) => {}
                Decoded::Incomplete(_) => {
                    let read = self.stream.read_buf(&mut self.received).await?;
                    ensure!(read > 0, "the seed closed a connection");
                }
            }
        }
    }
}

/// How long the disk takes.
fn syncs(folder: &Path) -> anyhow::Result<Quantiles> {
    let mut file = std::fs::File::create(folder.join("sync")).context("a file to sync")?;
    let mut times = histogram()?;
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[1; 4_096])?;
        file.sync_data()?;
        times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
    }
    Ok(quantiles(&times))
}

/// The kind of file system of a path: that of the deepest mount it is below.
fn file_system(mounts: &str, path: &Path) -> String {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(fields.next()?), fields.next()?))
    });
    let below = mounts.filter(|(mount, _)| path.starts_with(mount));
    // The latest of two mounts at the same place hides the other; `max_by_key` takes the last.
    let deepest = below.max_by_key(|(mount, _)| mount.components().count());
    deepest.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "a / ext4 rw 0 0\nb /tmp tmpfs rw 0 0\nc /tmp xfs rw 0 0\nd /tm ext3 rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x/y")), "xfs");
        assert_eq!(file_system(mounts, Path::new("/home")), "ext4");
        assert_eq!(file_system("", Path::new("/home")), "unknown");
    }

    #[test]
    fn a_newer_record_is_signed_anew() {
        let mut peer = Joining::new(3).expect("a key");
        let first = peer.record();
        peer.version += 1;
        let second = peer.record();
        assert_ne!(first.signature, second.signature);
        assert_eq!(first.record.owner(), second.record.owner());
    }
}
