//! Peers in processes of their own, and clients of their control ports in this one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde_json::Value;
use tidings::control::{Client, Keep, Request, Subscribe, TopicView};
use tidings_runtime::tls::Encryption;
use tokio::task::JoinSet;

use crate::api::Outcome;
use crate::api::steps::{Step, Work};
use crate::ending::{Folder, Guard};
use crate::plan::ClusterOptions;
use crate::system::process::{config_file, control_address, joined, spawn};
use crate::system::seeds::Seeds;
use crate::system::{base_config, start_log};
use crate::usage::memory_kib;

/// Between two looks at how far a step is.
const LOOK_GAP: Duration = Duration::from_millis(200);

/// Peers that are ready to be asked.
#[derive(Debug)]
pub(crate) struct ApiCluster {
    seeds: Seeds,
    peers: Vec<(Guard, String)>,
    /// Clients of peer 0, then of peer 1, and so on.
    clients: Vec<Client>,
    clients_per_peer: usize,
    topics: usize,
    folder: Folder,
    _log: Option<tidings_runtime::logging::LogGuard>,
}

impl ApiCluster {
    /// Starts so many peers of `program` with so many clients each, for so many topics.
    pub(crate) async fn start(
        program: &Path,
        options: &ClusterOptions,
        peers: usize,
        clients: usize,
        topics: usize,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new(None)?;
        let mut config = base_config(options)?;
        // Every peer hosts its share, and subscribes to some.
        let records = &mut config.limits.records_per_peer;
        *records = (*records).max(2 * topics.div_ceil(peers) + 1_000);
        let log = start_log(options, true)?;
        let seeds = Seeds::start(&mut config, options.seeds, Encryption::Always)?;
        let file = config_file(options, &config, folder.path())?;
        let spawned = (0..peers).map(|number| spawn(program, &file, folder.path(), number));
        let spawned: Vec<_> = spawned.collect::<anyhow::Result<_>>()?;
        let mut this = Self {
            seeds,
            peers: Vec::with_capacity(peers),
            clients: Vec::new(),
            clients_per_peer: clients,
            topics,
            folder,
            _log: log,
        };
        let ready = Duration::from_secs_f64(options.ready);
        let connecting = this.connect(spawned);
        tokio::time::timeout(ready, connecting)
            .await
            .context("the peers do not join in time")??;
        Ok(this)
    }

    async fn connect(&mut self, spawned: Vec<(Guard, std::path::PathBuf)>) -> anyhow::Result<()> {
        for (peer, ports) in spawned {
            let address = control_address(&ports).await?;
            joined(&mut Client::connect(&address).await?).await?;
            for _ in 0..self.clients_per_peer {
                self.clients.push(Client::connect(&address).await?);
            }
            self.peers.push((peer, address));
        }
        Ok(())
    }

    /// Does a step `count` times, shared between all clients. Tells `answered` from time to time
    /// how often it was.
    pub(crate) async fn run(
        &mut self,
        step: Step,
        count: usize,
        payload: usize,
        answered: impl Fn(u64),
    ) -> anyhow::Result<Outcome> {
        let clients = std::mem::take(&mut self.clients);
        let everybody = clients.len();
        let counter = Arc::new(AtomicU64::new(0));
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
            let counter = Arc::clone(&counter);
            working.spawn(async move { (number, work.run(client, &counter).await) });
        }
        let mut done = Vec::with_capacity(everybody);
        let mut looks = tokio::time::interval(LOOK_GAP);
        while done.len() < everybody {
            tokio::select! {
                Some(one) = working.join_next() => done.push(one?),
                _ = looks.tick() => answered(counter.load(Ordering::Relaxed)),
            }
        }
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

    /// Opens sessions at the first peer, each with a connection and a subscription. Returns for
    /// each of the numbers, which rise, by how much each session has raised the memory of the
    /// peer, in KiB, when so many are open.
    pub(crate) async fn idle_sessions(&self, counts: &[usize]) -> anyhow::Result<Vec<f64>> {
        const TOPIC: &str = "bench/sessions";
        let (peer, address) = &self.peers[0];
        let mut host = Client::connect(address).await?;
        let topic = TOPIC.to_owned();
        let create = Request::CreateTopic { topic, exist_ok: true, policy: Keep::default() };
        host.call::<TopicView>(&create).await?;
        let subscribed = async |name: String| -> anyhow::Result<Client> {
            let mut client = Client::connect(address).await?;
            let connect = Request::Connect { name, received: Default::default() };
            client.call::<Value>(&connect).await?;
            client.call::<Value>(&Request::Subscribe(Subscribe::new(TOPIC))).await?;
            Ok(client)
        };
        // What the first one brings along is not counted for all.
        let mut open = vec![subscribed("bench-first".to_owned()).await?];
        // This process is counted too, and holds nothing that matters.
        let memory = || memory_kib(&[peer.pid()]).0.saturating_sub(memory_kib(&[]).0);
        let (before, mut each) = (memory(), Vec::new());
        for &count in counts {
            for number in open.len()..=count {
                open.push(subscribed(format!("bench-{number}")).await?);
            }
            each.push(memory().saturating_sub(before) as f64 / count as f64);
        }
        for client in &mut open {
            client.call::<Value>(&Request::Disconnect).await?;
        }
        drop(open);
        host.call::<Value>(&Request::DeleteTopic { topic: TOPIC.to_owned() }).await?;
        Ok(each)
    }

    /// The control addresses of the peers.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.peers.iter().map(|(_, address)| address.clone()).collect()
    }

    /// The processes of the peers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.peers.iter().map(|(peer, _)| peer.pid()).collect()
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        drop(self.clients);
        drop(self.peers);
        self.seeds.stop().await;
        drop(self.folder);
    }
}

/// For latencies from 1 us to 300 s, in nanoseconds, with three digits.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 300_000_000_000, 3)?)
}
