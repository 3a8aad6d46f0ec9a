//! What is measured: seeds in this process, and peers in this process or in one each.
//!
//! [`System::start`] brings all of them up, with everybody subscribed to one topic. What peers
//! receive they count in a [`Sink`] of their own; a [`Publisher`] is the other end.

pub(crate) mod library;
pub(crate) mod process;
pub(crate) mod seeds;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings::Config;
use tidings_proto::config::{self, GossipConfig};
use tidings_runtime::logging::{self, LogConfig, LogFormat, LogGuard, LogLevel};
use tidings_runtime::tls::Encryption;

use crate::ending::Folder;
use crate::plan::{ClusterOptions, Log, Plan, Verify};
use crate::system::library::Library;
use crate::system::process::Processes;
use crate::system::seeds::Seeds;
use crate::tally::{Sink, Tally};

/// The topic that is measured.
pub(crate) const TOPIC: &str = "bench";

/// A topic beside it that carries nothing.
fn idle_topic(number: usize) -> String {
    format!("bench/idle/{number}")
}
/// Stopping is not measured, and not waited for any longer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct System {
    peers: Peers,
    seeds: Seeds,
    folder: Folder,
    _log: Option<LogGuard>,
}

#[derive(Debug)]
enum Peers {
    Library(Library),
    Processes(Processes),
}

/// What became of publications, over all peers.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// On their way.
    pub(crate) accepted: AtomicU64,
    /// Refused as too many.
    pub(crate) busy: AtomicU64,
    /// Refused for another reason, and not published.
    pub(crate) errors: AtomicU64,
}

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    Busy,
    Failed,
}

impl Published {
    /// Takes note of it.
    pub(crate) fn count(&self, fate: Fate) {
        let counter = match fate {
            Fate::Accepted => &self.accepted,
            Fate::Busy => &self.busy,
            Fate::Failed => &self.errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes as one peer. Clones do so as the same one.
#[derive(Clone, Debug)]
pub(crate) enum Publisher {
    Library(library::Publisher),
    Process(process::Publisher),
}

impl Publisher {
    /// Publishes `body`, and waits for what a client waits for before it publishes the next one:
    /// in this process until it is on its way, at a control port until the line is written.
    pub(crate) async fn publish(&self, body: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Library(publisher) => publisher.publish(body).await,
            Self::Process(publisher) => publisher.publish(&body).await,
        }
    }

    /// Hands `body` over as fast as the system takes it.
    pub(crate) async fn enqueue(&self, body: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Library(publisher) => publisher.enqueue(body).await,
            Self::Process(publisher) => publisher.publish(&body).await,
        }
    }
}

impl System {
    /// Starts everything; ready when all have subscribed.
    pub(crate) async fn start(plan: &Plan, tally: &Arc<Tally>) -> anyhow::Result<Self> {
        let options = &plan.opts.cluster;
        let folder = Folder::new(None)?;
        let mut config = base_config(options)?;
        let log = start_log(options, plan.program.is_some())?;
        if let Some(verify) = plan.verify {
            config.gossip = gossip(verify);
        }
        if let Some(bytes) = plan.retention_bytes {
            config.retention.bytes_max = bytes;
        }
        let encryption = if plan.tls { Encryption::Always } else { Encryption::HandshakeOnly };
        let seeds = Seeds::start(&mut config, options.seeds, encryption)?;
        let sinks: Vec<_> = (0..plan.n).map(|node| Sink::new(tally, node)).collect();
        let peers = match &plan.program {
            None => {
                let mut peers = Library::start(&config, folder.path(), sinks, encryption).await?;
                peers.idle_topics(plan.topics - 1).await?;
                Peers::Library(peers)
            }
            Some(program) => {
                let file = process::config_file(options, &config, folder.path())?;
                let started = Processes::start(program, &file, folder.path(), sinks).await;
                let mut peers = started?;
                peers.idle_topics(plan.topics - 1).await?;
                Peers::Processes(peers)
            }
        };
        Ok(Self { peers, seeds, folder, _log: log })
    }

    /// One per peer.
    pub(crate) fn publishers(&self) -> Vec<Publisher> {
        match &self.peers {
            Peers::Library(peers) => peers.publishers().map(Publisher::Library).collect(),
            Peers::Processes(peers) => peers.publishers().map(Publisher::Process).collect(),
        }
    }

    /// Publications so far: accepted, refused as too many, and refused otherwise.
    pub(crate) fn published(&self) -> [u64; 3] {
        let published = match &self.peers {
            Peers::Library(peers) => peers.published(),
            Peers::Processes(peers) => peers.published(),
        };
        [&published.accepted, &published.busy, &published.errors]
            .map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Processes that belong to the system.
    pub(crate) fn pids(&self) -> Vec<u32> {
        match &self.peers {
            Peers::Library(_) => Vec::new(),
            Peers::Processes(peers) => peers.pids(),
        }
    }

    /// The peers' own counters, summed, and the bytes of frames on their links.
    pub(crate) async fn counters(&mut self) -> BTreeMap<String, f64> {
        match &mut self.peers {
            Peers::Library(peers) => peers.counters().await,
            Peers::Processes(peers) => peers.counters().await,
        }
    }

    /// Ends everything. Nobody says goodbye: that takes time and tells nothing.
    pub(crate) async fn stop(self) {
        let stopping = async {
            match self.peers {
                Peers::Library(peers) => peers.stop(),
                Peers::Processes(peers) => peers.stop().await,
            }
            self.seeds.stop().await;
        };
        // What still runs ends with this process.
        let _ = tokio::time::timeout(STOP_TIMEOUT, stopping).await;
        drop(self.folder);
    }
}

fn gossip(verify: Verify) -> GossipConfig {
    let usual = GossipConfig::default();
    match verify {
        Verify::Every => usual,
        Verify::Links => GossipConfig { verify: config::Verify::Links, ..usual },
        Verify::None => GossipConfig { verify: config::Verify::Links, verify_share: 0 },
    }
}

/// What all nodes are told, before anybody has an address.
pub(crate) fn base_config(options: &ClusterOptions) -> anyhow::Result<Config> {
    let mut config = match &options.config {
        Some(path) => Config::load(Some(path), &tidings::Overrides::new())?,
        None => Config::default(),
    };
    config.cluster.name = "bench".to_owned();
    config.seeds.clear();
    Ok(config)
}

/// The log of this process, in a folder that stays: who asks for a log wants to read it.
pub(crate) fn start_log(
    options: &ClusterOptions,
    processes: bool,
) -> anyhow::Result<Option<LogGuard>> {
    let level = match options.log {
        Log::Off => return Ok(None),
        Log::Warn => LogLevel::Warn,
        Log::Info => LogLevel::Info,
    };
    let dir = log_folder();
    eprintln!("log: {}", dir.display());
    // Seeds of peer processes would write into the same files only if they had the same name.
    let stem = if processes { "bench-seeds" } else { "bench" };
    let format = LogFormat::Text;
    let config = LogConfig { dir, format, level, stderr: false, ..LogConfig::default() };
    Ok(Some(logging::init(&config, stem)?))
}

/// Where benchmarked nodes log.
fn log_folder() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("tidings-bench-log-{}", std::process::id()))
}
