//! Peers as processes of their own, driven over their control ports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::Value;
use tidings::Config;
use tidings::control::{
    Client, Code, EventView, Incoming, Keep, Publish, Receiver, Request, Sender, StatusView,
    Subscribe, TopicView,
};
use tidings_proto::config::Verify;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::ending::Guard;
use crate::plan::{ClusterOptions, Log};
use crate::system::{Fate, Published, TOPIC, idle_topic, log_folder};
use crate::tally::Sink;

/// A loaded machine starts a hundred processes within this.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a ports file or a status.
const LOOK_GAP: Duration = Duration::from_millis(5);

/// Running peers.
#[derive(Debug)]
pub(crate) struct Processes {
    running: Vec<Process>,
    published: Arc<Published>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Process {
    child: Guard,
    /// For questions.
    client: Client,
    publisher: Publisher,
}

/// Publishes as one peer.
#[derive(Clone, Debug)]
pub(crate) struct Publisher(Arc<Mutex<Sender>>);

impl Publisher {
    /// Until the line is written; the answer is read elsewhere.
    pub(crate) async fn publish(&self, body: &Bytes) -> anyhow::Result<()> {
        let request = Request::Publish(Publish::new(TOPIC, body.clone()));
        let mut sender = self.0.lock().await;
        sender.queue(&request)?;
        sender.flush().await?;
        Ok(())
    }
}

impl Processes {
    /// Starts a peer per sink; the first one hosts the topic, all subscribe.
    pub(crate) async fn start(
        program: &Path,
        config: &Path,
        folder: &Path,
        sinks: Vec<Sink>,
    ) -> anyhow::Result<Self> {
        let spawned = (0..sinks.len()).map(|number| spawn(program, config, folder, number));
        let spawned: Vec<_> = spawned.collect::<anyhow::Result<_>>()?;
        let mut this = Self {
            running: Vec::with_capacity(sinks.len()),
            published: Arc::default(),
            tasks: JoinSet::new(),
        };
        for (number, ((child, ports), sink)) in spawned.into_iter().zip(sinks).enumerate() {
            let control = control_address(&ports).await?;
            let mut client = Client::connect(&control).await?;
            joined(&mut client).await?;
            if number == 0 {
                let topic = TOPIC.to_owned();
                let request =
                    Request::CreateTopic { topic, exist_ok: true, policy: Keep::default() };
                client.call::<TopicView>(&request).await.context("the topic is not created")?;
            }
            let mut stream = Client::connect(&control).await?;
            let request = Request::Subscribe(Subscribe::new(TOPIC).streamed());
            stream.call::<Value>(&request).await.context("a peer does not subscribe")?;
            this.tasks.spawn(receive(stream, sink));
            let (sender, answers) = Client::connect(&control).await?.split();
            this.tasks.spawn(read_answers(answers, Arc::clone(&this.published)));
            let publisher = Publisher(Arc::new(Mutex::new(sender)));
            this.running.push(Process { child, client, publisher });
        }
        Ok(this)
    }

    /// So many further topics, each with a host and another subscriber.
    pub(crate) async fn idle_topics(&mut self, count: usize) -> anyhow::Result<()> {
        let all = self.running.len();
        for number in 0..count {
            let topic = idle_topic(number);
            let subscribe = Request::Subscribe(Subscribe::new(&topic));
            let create = Request::CreateTopic { topic, exist_ok: true, policy: Keep::default() };
            let host = &mut self.running[number % all].client;
            host.call::<TopicView>(&create).await.context("a topic is not created")?;
            let other = &mut self.running[(number + 1) % all].client;
            other.call::<Value>(&subscribe).await.context("a peer does not subscribe")?;
        }
        Ok(())
    }

    pub(crate) fn publishers(&self) -> impl Iterator<Item = Publisher> {
        self.running.iter().map(|process| process.publisher.clone())
    }

    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|process| process.child.pid()).collect()
    }

    /// The counters of all peers, summed.
    pub(crate) async fn counters(&mut self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for process in &mut self.running {
            // A peer that is gone counts no more.
            let Ok(status) = process.client.call::<StatusView>(&Request::Status).await else {
                continue;
            };
            for (name, value) in status.counters {
                *sums.entry(name).or_default() += value as f64;
            }
            *sums.entry("links".to_owned()).or_default() += status.neighbors.len() as f64;
        }
        sums
    }

    /// Ends them.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Writes the configuration of the peers: the seeds of `config` and the wanted log.
pub(crate) fn config_file(
    options: &ClusterOptions,
    config: &Config,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    let level = match options.log {
        Log::Off => "off",
        Log::Warn => "warn",
        Log::Info => "info",
    };
    let mut text = format!("[cluster]\nname = \"{}\"\n", config.cluster.name);
    for seed in &config.seeds {
        write!(text, "[[seeds]]\naddr = \"{}\"\n", seed.addr)?;
    }
    let verify = match config.gossip.verify {
        Verify::Every => "every",
        Verify::Links => "links",
    };
    let share = config.gossip.verify_share;
    write!(text, "[gossip]\nverify = \"{verify}\"\nverify_share = {share}\n")?;
    write!(text, "[retention]\nbytes_max = {}\n", config.retention.bytes_max)?;
    write!(text, "[log]\nlevel = \"{level}\"\ndir = {:?}\nstderr = false\n", log_folder())?;
    let path = folder.join("config.toml");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Starts a peer. Returns it and where it will write its addresses.
pub(crate) fn spawn(
    program: &Path,
    config: &Path,
    folder: &Path,
    number: usize,
) -> anyhow::Result<(Guard, PathBuf)> {
    let name = format!("peer-{number}");
    let ports = folder.join(format!("{name}.json"));
    let mut command = Command::new(program);
    command.args(["run", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
    command.arg("--config").arg(config).arg("--data").arg(folder.join(&name));
    command.arg("--name").arg(name).arg("--ports-file").arg(&ports);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    Ok((spawn_program(command)?, ports))
}

/// Starts a node.
pub(crate) fn spawn_program(mut command: Command) -> anyhow::Result<Guard> {
    // The environment overrides the file: a benchmark must not depend on it.
    let ours = std::env::vars_os().map(|(key, _)| key);
    for key in ours.filter(|key| key.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(key);
    }
    Guard::spawn(&mut command).with_context(|| format!("{:?}", command.get_program()))
}

/// Waits until a peer serves.
pub(crate) async fn control_address(ports: &Path) -> anyhow::Result<String> {
    serving(ports, "control").await
}

/// Waits until a node serves; the address is that field of its ports file.
pub(crate) async fn serving(ports: &Path, field: &str) -> anyhow::Result<String> {
    let start = Instant::now();
    loop {
        let text = tokio::fs::read(ports).await.unwrap_or_default();
        let written = serde_json::from_slice::<Value>(&text).ok();
        if let Some(address) = written.as_ref().and_then(|ports| ports[field].as_str()) {
            return Ok(address.to_owned());
        }
        ensure!(start.elapsed() < START_TIMEOUT, "a node does not serve; see its stderr above");
        tokio::time::sleep(LOOK_GAP).await;
    }
}

/// Waits until a peer has joined its seeds.
pub(crate) async fn joined(client: &mut Client) -> anyhow::Result<()> {
    let start = Instant::now();
    while !client.call::<StatusView>(&Request::Status).await?.joined {
        ensure!(start.elapsed() < START_TIMEOUT, "a peer does not join its seeds");
        tokio::time::sleep(LOOK_GAP).await;
    }
    Ok(())
}

async fn receive(mut stream: Client, mut sink: Sink) {
    // The other end closes the connection when its process ends.
    while let Ok(event) = stream.event().await {
        match event {
            EventView::Message(message) => {
                sink.take(&message.body().unwrap_or_default());
                // What is held back would be late: the next event may be long in coming.
                sink.flush();
            }
            EventView::Gap(gap) => sink.gap(gap.count),
            EventView::TopicDeleted { .. } => return,
        }
    }
}

async fn read_answers(mut answers: Receiver, published: Arc<Published>) {
    while let Ok(incoming) = answers.next().await {
        if let Incoming::Answer(answer) = incoming {
            published.count(match answer {
                Ok(_) => Fate::Accepted,
                Err(problem) if problem.code == Code::Busy => Fate::Busy,
                Err(_) => Fate::Failed,
            });
        }
    }
}
