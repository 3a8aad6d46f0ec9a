//! The commands of the control port: how long one takes, and how many a cluster does a second.
//!
//! Each peer is a process of its own and serves its control port; the clients are in this
//! process, each with a connection and one request at a time on its way. So are the seeds.

pub(crate) mod cluster;
mod rows;
mod steps;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use tidings_runtime::progress::{Progress, Steps};
use tidings_runtime::table::print_json;

use crate::api::cluster::ApiCluster;
use crate::api::rows::Row;
use crate::api::steps::Step;
use crate::plan::{ClusterOptions, TOPICS_MAX, beside};
use crate::plot;
use crate::usage::{self, Usage};

/// Options of `bench api`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApiArgs {
    /// Numbers of peers, each a cluster of its own
    #[arg(long, value_delimiter = ',', default_value = "1,4,16")]
    peers: Vec<usize>,
    /// Connections to each peer
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Topics to create, over all peers; as many as they host, when that is less: 9,999 at each
    #[arg(long, default_value_t = 1_000)]
    topics: usize,
    /// Requests of each other command, over all clients
    #[arg(long, default_value_t = 1_000)]
    ops: usize,
    /// Numbers of idle sessions of which the memory is measured, at the first peer; 0 for none
    #[arg(long, value_delimiter = ',', default_value = "100,1000,4000")]
    sessions: Vec<usize>,
    /// Size of a published message
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,
    /// The program `peer` [default: beside this program]
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Write the result there too, as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Draw it to this SVG file too: latencies and rates over the number of peers
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print the result as JSON, one object a line, instead of as a table
    #[arg(long)]
    json: bool,
}

/// How a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Latencies in nanoseconds.
    latencies: Histogram<u64>,
    errors: u64,
    /// The first error.
    error: Option<String>,
    took: Duration,
}

/// What a peer allows by default (`limits.control_connections`), less a few.
const CONNECTIONS_MAX: usize = 4_090;

/// `bench api`: prints a table.
pub(crate) fn main(mut args: ApiArgs) -> anyhow::Result<ExitCode> {
    check(&mut args)?;
    let program = args.peer.clone().map_or_else(|| beside("peer"), Ok)?;
    usage::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.cluster.workers)
        .enable_all()
        .build()?;
    let requests = args.peers.iter().map(|&peers| args.requests(peers)).sum();
    let progress = Progress::new("measuring", Steps::Count(requests), !args.json);
    progress.beat();
    let mut rows = Vec::new();
    for &peers in &args.peers {
        let measured = runtime.block_on(measure(&args, &program, peers, &progress, &mut rows));
        measured.with_context(|| format!("against {peers} peers"))?;
    }
    drop(progress);
    runtime.shutdown_background();
    write(&args, &rows)?;
    let failed = rows.iter().any(|row| row.errors > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl ApiArgs {
    /// Topics of a cluster of so many peers.
    fn topics(&self, peers: usize) -> usize {
        self.topics.min(peers * TOPICS_MAX)
    }

    /// Requests to so many peers.
    fn requests(&self, peers: usize) -> u64 {
        let topics = self.topics(peers);
        Step::ALL.iter().map(|step| step.count(topics, self.ops) as u64).sum()
    }
}

fn check(args: &mut ApiArgs) -> anyhow::Result<()> {
    ensure!(args.peers.iter().all(|peers| (1..=4_096).contains(peers)), "--peers is 1 to 4096");
    ensure!(args.clients > 0 && args.topics > 0 && args.ops > 0, "a count is at least 1");
    ensure!((1..=700_000).contains(&args.payload), "--payload is 1 to 700000: a line has 1 MiB");
    ensure!(args.cluster.config.is_none(), "--config is for peers in this process only");
    let clients = args.peers.iter().max().map_or(0, |peers| peers * args.clients);
    ensure!(clients <= args.topics, "--topics is at least {clients}, one for each client");
    args.sessions.retain(|count| *count > 0);
    args.sessions.sort_unstable();
    let sessions = args.sessions.last().copied().unwrap_or(0);
    let connections = sessions + args.clients;
    let most = CONNECTIONS_MAX;
    ensure!(connections <= most, "--sessions and --clients are at most {most} together");
    Ok(())
}

fn write(args: &ApiArgs, rows: &[Row]) -> anyhow::Result<()> {
    let to = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    if let Some(path) = &args.csv {
        let lines: Vec<_> = rows.iter().map(|row| row.csv() + "\n").collect();
        to(path, format!("{}\n{}", rows::HEAD, lines.concat()))?;
    }
    if let Some(path) = &args.plot {
        to(path, plot::svg(&rows::charts(rows)))?;
    }
    match args.json {
        true => rows.iter().try_for_each(print_json)?,
        false => rows::print(rows)?,
    }
    Ok(())
}

/// All commands against so many peers.
async fn measure(
    args: &ApiArgs,
    program: &Path,
    peers: usize,
    progress: &Progress,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let ApiArgs { clients, ops, payload, .. } = *args;
    let topics = args.topics(peers);
    let mut cluster = ApiCluster::start(program, &args.cluster, peers, clients, topics).await?;
    let commands = rows.iter().filter(|row| row.kib_each.is_none());
    let mut done = commands.map(|row| row.ops + row.errors).sum::<u64>();
    let each = cluster.idle_sessions(&args.sessions).await?;
    for (&count, kib) in args.sessions.iter().zip(each) {
        let (ops, kib_each) = (count as u64, Some(kib));
        rows.push(Row { op: "idle_session", peers, clients, ops, kib_each, ..Row::default() });
    }
    for step in Step::ALL {
        let before = Usage::read(&cluster.pids());
        let count = step.count(topics, ops);
        let outcome = cluster.run(step, count, payload, |more| progress.set(done + more)).await?;
        let foreign = Usage::read(&cluster.pids()).foreign_pct_since(&before);
        if let Some(error) = &outcome.error {
            let step = step.name();
            progress.note(&format!("{step}, {peers} peers: {} errors: {error}", outcome.errors));
        }
        let row = row(step, &outcome);
        rows.push(Row { peers, clients, topics, foreign_cpu_pct: foreign, ..row });
        done += count as u64;
    }
    cluster.stop().await;
    Ok(())
}

/// The figures of a command, without where it was done.
fn row(step: Step, outcome: &Outcome) -> Row {
    let latencies = &outcome.latencies;
    let us = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
    let ops = latencies.len();
    Row {
        op: step.name(),
        ops,
        errors: outcome.errors,
        ops_per_s: ops as f64 / outcome.took.as_secs_f64().max(1e-9),
        p50_us: us(0.5),
        p90_us: us(0.9),
        p99_us: us(0.99),
        p999_us: us(0.999),
        max_us: latencies.max() as f64 / 1e3,
        mean_us: latencies.mean() / 1e3,
        ..Row::default()
    }
}
