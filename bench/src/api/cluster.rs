//! Peers with control ports, and clients of these.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tidings::control::{Client, Options, Server};
use tidings::{Config, Peer};
use tidings_runtime::listen::bind;
use tokio::task::JoinSet;

use crate::api::Outcome;
use crate::api::steps::{Step, Work};
use crate::plan::ClusterOptions;
use crate::system::library::peer_config;
use crate::system::seeds::{Seeds, loopback};
use crate::system::{base_config, start_log};
use crate::usage::memory_kib;

/// Peers that are ready to be asked.
#[derive(Debug)]
pub(crate) struct ApiCluster {
    seeds: Seeds,
    peers: Vec<(Peer, Server)>,
    /// Clients of peer 0, then of peer 1, and so on.
    clients: Vec<Client>,
    clients_per_peer: usize,
    topics: usize,
    folder: tempfile::TempDir,
    _log: Option<tidings_runtime::logging::LogGuard>,
}

impl ApiCluster {
    /// Starts so many peers with so many clients each, for so many topics.
    pub(crate) async fn start(
        options: &ClusterOptions,
        peers: usize,
        clients: usize,
        topics: usize,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidings-bench-").tempdir()?;
        let mut config = base_config(options)?;
        // Every peer hosts its share; the default is made for applications, not for this.
        config.limits.topics = config.limits.topics.max(2 * topics);
        config.limits.records_per_peer = config.limits.records_per_peer.max(2 * topics);
        config.limits.subscriptions = config.limits.subscriptions.max(topics);
        let log = start_log(options, false)?;
        let seeds = Seeds::start(&mut config, options.seeds)?;
        let mut starting = JoinSet::new();
        for number in 0..peers {
            let config = peer_config(&config, folder.path(), number);
            starting.spawn(start(config));
        }
        let ready = Duration::from_secs_f64(options.ready);
        let started = tokio::time::timeout(ready, starting.join_all()).await;
        let started = started.context("the peers do not join in time")?;
        let peers: Vec<_> = started.into_iter().collect::<anyhow::Result<_>>()?;
        let mut this = Self {
            seeds,
            peers,
            clients: Vec::new(),
            clients_per_peer: clients,
            topics,
            folder,
            _log: log,
        };
        for (_, server) in &this.peers {
            let address = server.address().to_string();
            for _ in 0..clients {
                this.clients.push(Client::connect(&address).await?);
            }
        }
        Ok(this)
    }

    /// Does a step `count` times, shared between all clients.
    pub(crate) async fn run(
        &mut self,
        step: Step,
        count: usize,
        payload: usize,
    ) -> anyhow::Result<Outcome> {
        let clients = std::mem::take(&mut self.clients);
        let everybody = clients.len();
        let mut working = JoinSet::new();
        let begin = Instant::now();
        for (number, client) in clients.into_iter().enumerate() {
            let work = Work {
                step,
                peer: number / self.clients_per_peer,
                first: number,
                stride: everybody,
                count,
                topics: self.topics,
                payload,
            };
            working.spawn(async move { (number, work.run(client).await) });
        }
        let mut done = working.join_all().await;
        let took = begin.elapsed();
        done.sort_by_key(|(number, _)| *number);
        let mut outcome = Outcome { latencies: histogram()?, errors: 0, error: None, took };
        for (_, part) in done {
            let (client, part) = part?;
            self.clients.push(client);
            outcome.latencies.add(&part.latencies)?;
            outcome.errors += part.errors;
            outcome.error = outcome.error.or(part.error);
        }
        Ok(outcome)
    }

    /// Opens sessions with one subscription each at the first peer, until they were open for a
    /// moment. Returns by how much each has raised the memory of this process, in KiB.
    pub(crate) async fn idle_sessions(&self, sessions: usize) -> anyhow::Result<f64> {
        const TOPIC: &str = "bench/sessions";
        let (peer, _) = &self.peers[0];
        peer.ensure_topic(TOPIC).await?;
        // What the first one brings along is not counted for all.
        let (first, _) = peer.connect("bench-first")?;
        first.subscribe(TOPIC, tidings::From::New).await?;
        let before = memory_kib(&[]).0;
        let mut open = Vec::with_capacity(sessions);
        for number in 0..sessions {
            let (session, _) = peer.connect(&format!("bench-{number}"))?;
            session.subscribe(TOPIC, tidings::From::New).await?;
            open.push(session);
        }
        let after = memory_kib(&[]).0;
        open.into_iter().chain([first]).for_each(tidings::Session::disconnect);
        peer.delete_topic(TOPIC).await?;
        Ok(after.saturating_sub(before) as f64 / sessions as f64)
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        for (_, server) in self.peers {
            server.stop().await;
        }
        self.seeds.stop().await;
        drop(self.folder);
    }
}

/// For latencies from 1 us to 300 s, in nanoseconds, with three digits.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 300_000_000_000, 3)?)
}

async fn start(config: Config) -> anyhow::Result<(Peer, Server)> {
    let options = Options { subscriptions_max: config.limits.subscriptions, ..Options::default() };
    let peer = Peer::join(config).await?;
    peer.joined().await?;
    let server = Server::start(peer.clone(), bind(loopback())?, options)?;
    Ok((peer, server))
}
