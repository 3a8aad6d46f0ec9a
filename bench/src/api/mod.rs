//! The commands of the control port: how long one takes, and how many a cluster does a second.
//!
//! Peers and seeds are in this process, each peer serves its control port, and each of its
//! clients has a connection and one request at a time on its way.

mod cluster;
mod steps;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use hdrhistogram::Histogram;

use crate::api::cluster::ApiCluster;
use crate::api::steps::Step;
use crate::plan::ClusterOptions;
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
    /// Topics to create, over all peers; all are deleted at the end
    #[arg(long, default_value_t = 1_000)]
    topics: usize,
    /// Requests of each other command, over all clients
    #[arg(long, default_value_t = 1_000)]
    ops: usize,
    /// Idle sessions of which the memory is measured, at the first peer; 0 for none
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// Size of a published message
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    payload: usize,
    #[command(flatten)]
    cluster: ClusterOptions,
    /// Write the result there instead of to stdout
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
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

const HEAD: &str = "op,peers,clients,topics,ops,errors,ops_per_s,p50_us,p90_us,p99_us,p999_us,\
                    max_us,mean_us,foreign_cpu_pct";

/// `bench api`: prints CSV.
pub(crate) fn main(args: ApiArgs) -> anyhow::Result<ExitCode> {
    ensure!(args.peers.iter().all(|peers| (1..=4_096).contains(peers)), "--peers is 1 to 4096");
    ensure!(args.clients > 0 && args.topics > 0 && args.ops > 0, "a count is at least 1");
    ensure!((1..=700_000).contains(&args.payload), "--payload is 1 to 700000: a line has 1 MiB");
    let clients = args.peers.iter().max().map_or(0, |peers| peers * args.clients);
    ensure!(clients <= args.topics, "--topics is at least {clients}, one for each client");
    usage::raise_file_limit();
    let mut out: Box<dyn Write> = match &args.csv {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(std::io::stdout()),
    };
    writeln!(out, "{HEAD}")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.cluster.workers)
        .enable_all()
        .build()?;
    let mut failed = false;
    for peers in args.peers.clone() {
        let args = args.clone();
        let rows = runtime.block_on(async { tokio::spawn(measure(args, peers)).await })??;
        for (row, clean) in rows {
            writeln!(out, "{row}")?;
            failed |= !clean;
        }
        out.flush()?;
    }
    runtime.shutdown_background();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All commands against so many peers: a row each, and whether it had no errors.
async fn measure(args: ApiArgs, peers: usize) -> anyhow::Result<Vec<(String, bool)>> {
    let mut cluster = ApiCluster::start(&args.cluster, peers, args.clients, args.topics).await?;
    let mut rows = Vec::new();
    if args.sessions > 0 {
        let kib = cluster.idle_sessions(args.sessions).await?;
        eprintln!("{peers} peers: {} idle sessions, {kib:.1} KiB each", args.sessions);
    }
    for step in Step::ALL {
        let count = step.count(args.topics, args.ops);
        let before = Usage::read(&[]);
        let outcome = cluster.run(step, count, args.payload).await?;
        let foreign = Usage::read(&[]).foreign_pct_since(&before);
        if let Some(error) = &outcome.error {
            eprintln!("{}, {peers} peers: {} errors: {error}", step.name(), outcome.errors);
        }
        rows.push((row(&args, step, peers, &outcome, foreign), outcome.errors == 0));
    }
    cluster.stop().await;
    Ok(rows)
}

fn row(args: &ApiArgs, step: Step, peers: usize, outcome: &Outcome, foreign: f64) -> String {
    let latencies = &outcome.latencies;
    let us = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
    let done = latencies.len();
    let fields = [
        step.name().to_owned(),
        peers.to_string(),
        args.clients.to_string(),
        args.topics.to_string(),
        done.to_string(),
        outcome.errors.to_string(),
        format!("{:.1}", done as f64 / outcome.took.as_secs_f64().max(1e-9)),
        us(latencies.value_at_quantile(0.5)),
        us(latencies.value_at_quantile(0.9)),
        us(latencies.value_at_quantile(0.99)),
        us(latencies.value_at_quantile(0.999)),
        us(latencies.max()),
        format!("{:.1}", latencies.mean() / 1e3),
        format!("{foreign:.1}"),
    ];
    fields.join(",")
}
