//! What to run: the options of `bench run`, with the defaults of each scenario.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tidings::{Config, ConfigError, Overrides};

use crate::payload::HEADER_BYTES;

/// Topics that a peer takes part in by default (`limits.topics`), less that of the overlay.
pub(crate) const TOPICS_MAX: usize = 9_999;

/// What is done to the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// 50 messages a second in all, each from a random peer
    S1,
    /// One publisher, as fast as publishing allows
    S2,
    /// One publisher with at most 128 messages that are not yet everywhere
    S2w,
    /// Every peer publishes 20 messages a second
    S3,
    /// From the first bind to the first message that has reached all
    S5,
}

/// Where the log of the benchmarked peers goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Log {
    /// Nowhere
    Off,
    /// Warnings go to a file
    Warn,
    /// Everything a peer logs by default, one line per message received, goes to a file
    Info,
}

/// Which batches of others a peer checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verify {
    /// All: the default of a peer
    Every,
    /// One in twenty of those that neighbours push
    Links,
    /// The first of each stream only. They are signed nevertheless
    None,
}

/// Options of a cluster of peers.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct ClusterOptions {
    /// Seeds, in the benchmark's process
    #[arg(long, value_name = "K", default_value_t = 3)]
    pub(crate) seeds: usize,
    /// Threads of the tokio runtime
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: usize,
    /// What the peers log
    #[arg(long, value_enum, default_value = "off")]
    pub(crate) log: Log,
    /// A configuration file for the peers; addresses, seeds, data and log are set over it
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<PathBuf>,
    /// Longest wait for a complete overlay, in seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub(crate) ready: f64,
}

/// Options of `bench run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,
    /// Peers
    #[arg(long, default_value_t = 16)]
    pub(crate) n: usize,
    /// Size of a message, at least 32 [default: 1024; s1 100; s3 256]
    #[arg(long, value_name = "BYTES")]
    pub(crate) payload: Option<usize>,
    /// Messages a second: of all (s1), of each peer (s3) [default: s1 50; s3 20]
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Measured time, in seconds [default: 20; s2 and s2w 15]
    #[arg(long, value_name = "S")]
    pub(crate) secs: Option<f64>,
    /// Time of warm-up before it, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub(crate) warmup: f64,
    /// Time over which the idle overlay is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    pub(crate) settle: f64,
    /// Longest wait for stragglers, in seconds
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub(crate) drain: f64,
    /// Topics in all: each beyond the one that is measured has a host and one other subscriber, and
    /// nothing to carry
    #[arg(long, value_name = "T", default_value_t = 1)]
    pub(crate) topics: usize,
    /// s2w: messages that are not yet everywhere
    #[arg(long, default_value_t = 128)]
    pub(crate) window: u64,
    /// Links without encryption, to measure what it costs: keys are proven, then frames go as they
    /// are. Nothing but this program starts such nodes
    #[arg(long, conflicts_with = "processes")]
    pub(crate) no_tls: bool,
    /// Whose signatures the peers check [default: every, or what --config says]
    #[arg(long, value_enum)]
    pub(crate) verify: Option<Verify>,
    /// What a peer retains of each topic, as in 65536 or 64MiB: `retention.bytes_max` of the peers
    /// [default: 64MiB, or what --config says]
    #[arg(long, value_name = "BYTES", value_parser = retention)]
    pub(crate) retention: Option<usize>,
    /// One OS process per peer, driven over its control port
    #[arg(long)]
    pub(crate) processes: bool,
    /// The program `peer` for --processes [default: beside this program]
    #[arg(long, value_name = "FILE", requires = "processes")]
    pub(crate) peer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    /// Who publishes, and what
    #[arg(long, value_name = "X", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Number of this repetition, for the record
    #[arg(long, default_value_t = 0)]
    pub(crate) rep: u32,
    /// A name for a variant, which gets a row of its own in tables
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Append the result there too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A run, complete. Serialized it is the first part of the result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) system: String,
    pub(crate) scenario: Scenario,
    pub(crate) n: usize,
    pub(crate) payload: usize,
    pub(crate) topics: usize,
    pub(crate) rate: f64,
    pub(crate) secs: f64,
    pub(crate) window: u64,
    pub(crate) seed: u64,
    pub(crate) rep: u32,
    /// Whether links are encrypted.
    pub(crate) tls: bool,
    /// Whose signatures are checked; absent when a configuration file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Verify>,
    /// What a peer retains of each topic, when that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention_bytes: Option<usize>,
    pub(crate) opts: Opts,
    #[serde(skip)]
    pub(crate) warmup: Duration,
    #[serde(skip)]
    pub(crate) settle: Duration,
    #[serde(skip)]
    pub(crate) drain: Duration,
    #[serde(skip)]
    pub(crate) ready: Duration,
    /// The program of peer processes.
    #[serde(skip)]
    pub(crate) program: Option<PathBuf>,
}

/// What makes this run another system than one with other options.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Opts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(flatten)]
    pub(crate) cluster: ClusterOptions,
}

impl Plan {
    /// Completes the options.
    pub(crate) fn new(args: RunArgs) -> anyhow::Result<Self> {
        let scenario = args.scenario;
        let payload = args.payload.unwrap_or(match scenario {
            Scenario::S1 => 100,
            Scenario::S3 => 256,
            Scenario::S2 | Scenario::S2w | Scenario::S5 => 1_024,
        });
        let rate = args.rate.unwrap_or(if scenario == Scenario::S3 { 20.0 } else { 50.0 });
        let burst = matches!(scenario, Scenario::S2 | Scenario::S2w);
        let secs = args.secs.unwrap_or(if burst { 15.0 } else { 20.0 });
        ensure!((2..=4_096).contains(&args.n), "--n is 2 to 4096");
        ensure!(payload >= HEADER_BYTES, "--payload is at least {HEADER_BYTES}");
        ensure!(payload <= 1 << 20, "--payload is at most 1 MiB");
        let most = args.n.saturating_mul(TOPICS_MAX);
        ensure!((1..=most).contains(&args.topics), "--topics is 1 to {most} for {} peers", args.n);
        ensure!(args.window > 0, "--window is at least 1");
        ensure!(rate > 0.0 && rate <= 1e6, "--rate is above 0, up to a million");
        ensure!(args.cluster.seeds > 0, "--seeds is at least 1: peers meet through seeds");
        ensure!(args.cluster.workers > 0, "--workers is at least 1");
        let configured = args.cluster.config.is_some() && args.processes;
        ensure!(!configured, "--config cannot be combined with --processes");
        let program =
            args.processes.then(|| args.peer.map_or_else(|| beside("peer"), Ok)).transpose()?;
        let by_default = args.cluster.config.is_none().then_some(Verify::Every);
        let verify = args.verify.or(by_default);
        Ok(Self {
            system: system(args.processes, args.no_tls, verify, args.retention),
            scenario,
            n: args.n,
            payload,
            topics: args.topics,
            rate,
            secs: seconds(secs)?.as_secs_f64(),
            window: args.window,
            seed: args.seed,
            rep: args.rep,
            tls: !args.no_tls,
            verify,
            retention_bytes: args.retention,
            warmup: seconds(args.warmup)?,
            settle: seconds(args.settle)?,
            drain: seconds(args.drain)?,
            ready: seconds(args.cluster.ready)?,
            opts: Opts { tag: args.tag, cluster: args.cluster },
            program,
        })
    }

    /// How long the measured part takes.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.secs)
    }

    /// The one publisher of s2 and s2w.
    pub(crate) fn single(&self) -> Option<usize> {
        matches!(self.scenario, Scenario::S2 | Scenario::S2w).then_some(self.n / 2)
    }

    /// No run takes longer.
    pub(crate) fn limit(&self) -> Duration {
        // Settling before the idle part takes up to 8 s, ending up to 10 s.
        let slack = Duration::from_secs(40);
        self.ready + self.settle + self.warmup + self.measured() + self.drain + slack
    }
}

/// A name of its own for everything whose figures must not be mixed with those of others.
fn system(
    processes: bool,
    no_tls: bool,
    verify: Option<Verify>,
    retention: Option<usize>,
) -> String {
    let mut name = "tidings".to_owned();
    if processes {
        name.push_str("-processes");
    }
    if no_tls {
        name.push_str("-notls");
    }
    name.push_str(match verify {
        None | Some(Verify::Every) => "",
        Some(Verify::Links) => "-links",
        Some(Verify::None) => "-unchecked",
    });
    if let Some(bytes) = retention {
        let unit = |(shift, _): &(u32, _)| bytes % (1 << shift) == 0;
        let (shift, letter) =
            [(30, "g"), (20, "m"), (10, "k")].into_iter().find(unit).unwrap_or((0, ""));
        name.push_str(&format!("-ret{}{letter}", bytes >> shift));
    }
    name
}

/// Bytes as the configuration takes them, within its limits.
fn retention(text: &str) -> Result<usize, ConfigError> {
    let mut flag = Overrides::new();
    flag.set("--retention", "retention.bytes_max", Some(text));
    Ok(Config::from_parts(None, std::iter::empty(), &flag)?.retention.bytes_max)
}

/// Options in seconds are sane.
fn seconds(value: f64) -> anyhow::Result<Duration> {
    ensure!((0.0..=86_400.0).contains(&value), "{value} s is not a time from 0 to 86400 s");
    Ok(Duration::from_secs_f64(value))
}

/// `peer` or `seed`, where this program is.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    let package = if name == "peer" { "tidings" } else { "tidings-seed" };
    let advice = format!("build it in the same profile: cargo build --release -p {package}");
    ensure!(program.is_file(), "{} is not there; {advice}", program.display());
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn result(options: &[&str]) -> serde_json::Value {
        let line = Line::try_parse_from(["bench", "s2"].iter().chain(options)).expect("legal");
        serde_json::to_value(Plan::new(line.run).expect("a plan")).expect("JSON")
    }

    #[test]
    fn what_is_switched_off_is_marked() {
        let usual = result(&[]);
        assert_eq!((&usual["system"], &usual["verify"]), (&"tidings".into(), &"every".into()));
        assert_eq!(usual["tls"], true);
        let off = result(&["--no-tls", "--verify", "none"]);
        assert_eq!(off["system"], "tidings-notls-unchecked");
        assert_eq!((&off["tls"], &off["verify"]), (&false.into(), &"none".into()));
        assert_eq!(result(&["--verify", "links"])["system"], "tidings-links");
        let configured = result(&["--config", "some.toml"]);
        assert_eq!(configured["verify"], serde_json::Value::Null);
        assert_eq!(usual["retention_bytes"], serde_json::Value::Null);
        let little = result(&["--retention", "2MiB", "--verify", "links"]);
        assert_eq!(little["system"], "tidings-links-ret2m");
        assert_eq!(little["retention_bytes"], 2 << 20);
        assert_eq!(result(&["--retention", "3000000"])["system"], "tidings-ret3000000");
    }

    #[test]
    fn retention_has_the_limits_of_the_configuration() {
        let line = Line::try_parse_from(["bench", "s2", "--retention", "1MiB"]);
        let error = line.expect_err("refused").to_string();
        assert!(error.contains("--retention") && error.contains("2MiB"), "{error}");
    }

    #[test]
    fn peer_processes_always_encrypt() {
        let line = Line::try_parse_from(["bench", "s2", "--no-tls", "--processes"]);
        let error = line.expect_err("refused").to_string();
        assert!(error.contains("--no-tls") && error.contains("--processes"), "{error}");
    }
}
