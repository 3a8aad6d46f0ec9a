//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::scenario::Overrides;

/// Thousands of the shipped machines on virtual time, with faults and judges.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario once and print what it showed.
    Run {
        /// A built-in scenario or the path of a TOML file.
        #[arg(default_value = "smoke")]
        scenario: String,
        /// The number that decides everything that is random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Flags of single runs.
        #[command(flatten)]
        common: Common,
    },
    /// Run a scenario with the seed number that a sweep reported.
    Replay {
        /// The number.
        seed: u64,
        /// A built-in scenario or the path of a TOML file.
        #[arg(long, default_value = "chaos")]
        scenario: String,
        /// Flags of single runs.
        #[command(flatten)]
        common: Common,
    },
    /// Run a scenario with many seed numbers; stop at the first that breaks an invariant.
    Sweep {
        /// From the first number to the one after the last: 0..100.
        #[arg(value_parser = range)]
        numbers: (u64, u64),
        /// A built-in scenario or the path of a TOML file.
        #[arg(long, default_value = "chaos")]
        scenario: String,
        /// Runs at the same time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Go on after a violation.
        #[arg(long)]
        keep_going: bool,
        /// Sizes.
        #[command(flatten)]
        sizes: Sizes,
    },
    /// Compare two reports.
    Compare {
        /// The report of the run before.
        before: PathBuf,
        /// The report of the run after.
        after: PathBuf,
    },
    /// List the built-in scenarios.
    Scenarios,
}

/// Flags of single runs.
#[derive(Debug, Args)]
pub struct Common {
    /// Sizes.
    #[command(flatten)]
    pub sizes: Sizes,
    /// Sign with Ed25519 instead of checksums: real, and a hundred times slower.
    #[arg(long)]
    pub ed25519: bool,
    /// Send batches on all links instead of trees.
    #[arg(long)]
    pub flood: bool,
    /// Write the report to this file; - for standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw latency over time and the overlay to this SVG file.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Write each input and output to this file. Large.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// Flags that change the sizes of a scenario.
#[derive(Clone, Copy, Debug, Args)]
pub struct Sizes {
    /// Peers.
    #[arg(long)]
    pub peers: Option<u32>,
    /// Seeds.
    #[arg(long)]
    pub seeds: Option<u32>,
    /// Messages of each pattern of publications.
    #[arg(long)]
    pub messages: Option<u64>,
}

impl From<Sizes> for Overrides {
    fn from(sizes: Sizes) -> Self {
        Self { peers: sizes.peers, seeds: sizes.seeds, messages: sizes.messages }
    }
}

impl Sizes {
    /// The flags as they were typed, to repeat a run.
    pub fn flags(&self) -> String {
        let flag = |name: &str, value: Option<u64>| {
            value.map(|value| format!(" --{name} {value}")).unwrap_or_default()
        };
        flag("peers", self.peers.map(u64::from))
            + &flag("seeds", self.seeds.map(u64::from))
            + &flag("messages", self.messages)
    }
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("expected A..B, for example 0..100")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok((from, to)) } else { Err("A must be below B".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert_eq!(range("3..7"), Ok((3, 7)));
        assert!(range("7..3").is_err() && range("7").is_err() && range("a..b").is_err());
        let sizes = Sizes { peers: Some(5), seeds: None, messages: Some(7) };
        assert_eq!(sizes.flags(), " --peers 5 --messages 7");
    }
}
