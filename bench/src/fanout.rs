//! A publisher and many subscribers, all at control ports: what a broker's user sees.
//!
//! Three parts, each with a topic and subscribers of its own. *Paced*: messages at a rate, and how
//! long each takes to each subscriber. *In turn*: the next message when the last one is answered.
//! *Burst*: many on their way at once. A part is over when every subscriber has every message.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use tidings::control::{Client, EventView, Keep, Publish, Request, Subscribe, TopicView};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::api::cluster::{ApiCluster, histogram};
use crate::payload::now_ns;
use crate::plan::{ClusterOptions, beside};
use crate::usage::{self, Usage};

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Messages at the beginning and at the end of the part in turn that are compared.
const COMPARED: usize = 1_000;
/// A message begins with its number in so many digits, which is also the shortest.
const DIGITS: usize = 10;

/// Options of `bench fanout`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Peers, a process each; the publisher is at the last one, subscribers at all in turn
    #[arg(long, default_value_t = 4)]
    peers: usize,
    /// Subscribers, a connection each
    #[arg(long, default_value_t = 30)]
    subscribers: usize,
    /// Messages a second of the paced part
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Messages of the paced part
    #[arg(long, default_value_t = 2_000)]
    paced: usize,
    /// Messages of the part in turn
    #[arg(long, default_value_t = 5_000)]
    in_turn: usize,
    /// Messages of the burst
    #[arg(long, default_value_t = 40_000)]
    burst: usize,
    /// Messages of the burst that are not answered yet
    #[arg(long, default_value_t = 512)]
    window: usize,
    /// Size of a message
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,
    /// The program `peer` [default: beside this program]
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// What was measured, a line of JSON.
#[derive(Debug, Serialize)]
struct Outcome {
    scenario: &'static str,
    peers: usize,
    subscribers: usize,
    payload: usize,
    paced: Paced,
    in_turn: InTurn,
    burst: Burst,
    foreign_cpu_pct: f64,
}

#[derive(Debug, Serialize)]
struct Paced {
    rate: f64,
    messages: usize,
    delivered: u64,
    /// From just before a publication is written until a subscriber has read it.
    lat_us: Quantiles,
}

#[derive(Debug, Serialize)]
struct InTurn {
    messages: usize,
    publish_per_s: f64,
    answer_us: Quantiles,
    /// The rate of the last thousand messages over that of the first.
    last_to_first: f64,
}

#[derive(Debug, Serialize)]
struct Burst {
    messages: usize,
    /// Until the last one is answered.
    publish_per_s: f64,
    /// Until every subscriber has all.
    deliveries_per_s: f64,
}

#[derive(Debug, Serialize)]
struct Quantiles {
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

/// `bench fanout`: prints a line of JSON.
pub(crate) fn main(args: &FanoutArgs) -> anyhow::Result<ExitCode> {
    ensure!((1..=4_096).contains(&args.peers), "--peers is 1 to 4096");
    ensure!((1..=1_000).contains(&args.subscribers), "--subscribers is 1 to 1000");
    ensure!(args.rate > 0.0 && args.rate <= 1e5, "--rate is above 0, up to 100000");
    ensure!(args.paced > 0 && args.burst > 0 && args.window > 0, "a count is at least 1");
    ensure!(args.in_turn >= 2 * COMPARED, "--in-turn is at least {}", 2 * COMPARED);
    let sizes = DIGITS..=700_000;
    ensure!(sizes.contains(&args.payload), "--payload is {DIGITS} to 700000");
    ensure!(args.cluster.config.is_none(), "--config is for peers in this process only");
    usage::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.cluster.workers)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(measure(args))?;
    runtime.shutdown_background();
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &FanoutArgs) -> anyhow::Result<Outcome> {
    let program = args.peer.clone().map_or_else(|| beside("peer"), Ok)?;
    let cluster = ApiCluster::start(&program, &args.cluster, args.peers, 0, 3).await?;
    let pids = cluster.pids();
    let before = Usage::read(&pids);
    let stage = Stage { args, addresses: cluster.addresses() };
    let paced = tokio::time::timeout(PATIENCE, stage.paced()).await.context("the paced part")??;
    let in_turn = stage.in_turn();
    let in_turn = tokio::time::timeout(PATIENCE, in_turn).await.context("the part in turn")??;
    let burst = tokio::time::timeout(PATIENCE, stage.burst()).await.context("the burst")??;
    let foreign_cpu_pct = Usage::read(&pids).foreign_pct_since(&before);
    cluster.stop().await;
    Ok(Outcome {
        scenario: "fanout",
        peers: args.peers,
        subscribers: args.subscribers,
        payload: args.payload,
        paced,
        in_turn,
        burst,
        foreign_cpu_pct,
    })
}

struct Stage<'a> {
    args: &'a FanoutArgs,
    addresses: Vec<String>,
}

impl Stage<'_> {
    /// The connection of the publisher, at whose peer the topic is.
    async fn publisher(&self, topic: &str) -> anyhow::Result<Client> {
        let address = self.addresses.last().context("there is a peer")?;
        let mut client = Client::connect(address).await?;
        let topic = topic.to_owned();
        let create = Request::CreateTopic { topic, exist_ok: false, policy: Keep::default() };
        client.call::<TopicView>(&create).await?;
        Ok(client)
    }

    /// The address for each subscriber.
    fn readers(&self) -> impl Iterator<Item = &String> {
        self.addresses.iter().cycle().take(self.args.subscribers)
    }

    fn message(&self, topic: &str, number: usize) -> Request {
        let mut text = format!("{number:0DIGITS$}").into_bytes();
        text.resize(self.args.payload, b'x');
        Request::Publish(Publish::new(topic, text))
    }

    async fn paced(&self) -> anyhow::Result<Paced> {
        const TOPIC: &str = "bench/paced";
        let mut publisher = self.publisher(TOPIC).await?;
        let messages = self.args.paced;
        let sent: Arc<[AtomicU64]> = (0..messages).map(|_| AtomicU64::new(0)).collect();
        let mut readers = JoinSet::new();
        for address in self.readers() {
            let mut client = Client::connect(address).await?;
            client.call::<Value>(&Request::Subscribe(Subscribe::new(TOPIC).streamed())).await?;
            readers.spawn(latencies(client, Arc::clone(&sent)));
        }
        let begun = Instant::now();
        for number in 0..messages {
            let due = begun + Duration::from_secs_f64(number as f64 / self.args.rate);
            // The pace is what is asked for: publications at given times.
            tokio::time::sleep_until(due.into()).await;
            let request = self.message(TOPIC, number);
            sent[number].store(now_ns(), Ordering::Release);
            publisher.call::<Value>(&request).await?;
        }
        let mut all = histogram()?;
        while let Some(reader) = readers.join_next().await {
            all.add(reader??)?;
        }
        Ok(Paced {
            rate: self.args.rate,
            messages,
            delivered: all.len(),
            lat_us: Quantiles::of(&all),
        })
    }

    async fn in_turn(&self) -> anyhow::Result<InTurn> {
        const TOPIC: &str = "bench/in-turn";
        let mut publisher = self.publisher(TOPIC).await?;
        let messages = self.args.in_turn;
        let mut readers = self.counters(TOPIC, messages).await?;
        let (mut answers, mut ends) = (histogram()?, Vec::with_capacity(messages));
        let begun = Instant::now();
        for number in 0..messages {
            let request = self.message(TOPIC, number);
            let asked = Instant::now();
            publisher.call::<Value>(&request).await?;
            answers.saturating_record(u64::try_from(asked.elapsed().as_nanos())?);
            ends.push(begun.elapsed().as_secs_f64());
        }
        while let Some(reader) = readers.join_next().await {
            reader??;
        }
        let last = ends[messages - 1] - ends[messages - 1 - COMPARED];
        Ok(InTurn {
            messages,
            publish_per_s: messages as f64 / ends[messages - 1],
            answer_us: Quantiles::of(&answers),
            last_to_first: ends[COMPARED - 1] / last.max(1e-9),
        })
    }

    async fn burst(&self) -> anyhow::Result<Burst> {
        const TOPIC: &str = "bench/burst";
        let publisher = self.publisher(TOPIC).await?;
        let messages = self.args.burst;
        let mut readers = self.counters(TOPIC, messages).await?;
        let (mut sender, mut answers) = publisher.split();
        let begun = Instant::now();
        let (mut asked, mut answered) = (0, 0);
        while answered < messages {
            while asked < messages && asked - answered < self.args.window {
                sender.queue(&self.message(TOPIC, asked))?;
                asked += 1;
            }
            sender.flush().await?;
            // Half of the window, so that many go out together again.
            let until = (answered + self.args.window.div_ceil(2)).min(asked);
            while answered < until {
                if let tidings::control::Incoming::Answer(answer) = answers.next().await? {
                    answer.map_err(|problem| anyhow::anyhow!("refused: {}", problem.message))?;
                    answered += 1;
                }
            }
        }
        let published = begun.elapsed().as_secs_f64();
        while let Some(reader) = readers.join_next().await {
            reader??;
        }
        let deliveries = (messages * self.args.subscribers) as f64;
        Ok(Burst {
            messages,
            publish_per_s: messages as f64 / published,
            deliveries_per_s: deliveries / begun.elapsed().as_secs_f64(),
        })
    }

    /// Subscribers that count lines and look at the last one only, as reading JSON in this process
    /// would take more than what is measured.
    async fn counters(
        &self,
        topic: &str,
        messages: usize,
    ) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let mut readers = JoinSet::new();
        for address in self.readers() {
            let mut stream = TcpStream::connect(address).await?;
            let request = Request::Subscribe(Subscribe::new(topic).streamed());
            let line = serde_json::to_string(&request)? + "\n";
            stream.write_all(line.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\n") {
                answer.push(stream.read_u8().await?);
            }
            let answer: Value = serde_json::from_slice(&answer)?;
            ensure!(answer["status"] == "ok", "a subscription is refused: {answer}");
            readers.spawn(count_lines(stream, messages));
        }
        Ok(readers)
    }
}

/// Until there are so many lines, the last of which has the last number.
async fn count_lines(mut stream: TcpStream, messages: usize) -> anyhow::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let (mut lines, mut last) = (0, Vec::new());
    while lines < messages {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "a peer closed a connection after {lines} lines");
        let part = &buffer[..read];
        lines += part.iter().filter(|byte| **byte == b'\n').count();
        // The end of what came, from the last line that was complete before.
        last.extend_from_slice(part);
        let mut ends = last.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let (_, before) = (ends.next(), ends.next().map(|(at, _)| at));
        last.drain(..before.map_or(0, |at| at + 1));
    }
    let text = String::from_utf8_lossy(&last);
    let number = format!("{:0DIGITS$}", messages - 1);
    ensure!(text.contains(&number), "the last line is not message {number}: {text}");
    Ok(())
}

/// Of every message, in order.
async fn latencies(mut client: Client, sent: Arc<[AtomicU64]>) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram()?;
    for (number, sent) in sent.iter().enumerate() {
        let EventView::Message(message) = client.event().await? else {
            anyhow::bail!("something else came instead of message {number}");
        };
        let now = now_ns();
        let body = message.body().context("a message has a body")?;
        let found = std::str::from_utf8(body.get(..DIGITS).unwrap_or_default())?.parse::<usize>();
        ensure!(found == Ok(number), "not message {number} came but {found:?}");
        times.saturating_record(now.saturating_sub(sent.load(Ordering::Acquire)));
    }
    Ok(times)
}

impl Quantiles {
    fn of(times: &Histogram<u64>) -> Self {
        let at = |quantile: f64| times.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: times.max() as f64 / 1e3 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn counted(parts: &'static [&'static str], messages: usize) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let reader = TcpStream::connect(listener.local_addr()?).await?;
        let (mut writer, _) = listener.accept().await?;
        let writing = tokio::spawn(async move {
            for part in parts {
                writer.write_all(part.as_bytes()).await.expect("written");
                tokio::task::yield_now().await;
            }
        });
        let counted = count_lines(reader, messages).await;
        writing.await?;
        counted
    }

    #[tokio::test]
    async fn the_last_line_is_looked_at() {
        counted(&["a\n", "b 00000", "00001\n"], 2).await.expect("complete");
        counted(&["x 0000000000\ny 0000000001\n"], 2).await.expect("complete");
        let error = counted(&["y 0000000001\nx 0000000000\n"], 2).await.expect_err("disorder");
        assert!(error.to_string().contains("x 0000000000"), "{error}");
        let error = counted(&["a\nb\n"], 3).await.expect_err("too few");
        assert!(error.to_string().contains("after 2 lines"), "{error}");
    }
}
