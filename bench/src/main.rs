//! Measures Tidings on this machine: real sockets, real TLS, real signatures.
//!
//! Reading order: [`plan`] says what can be run; [`system`] starts it; [`run`] is one run from
//! the first bind to the result; [`payload`], [`window`] and [`tally`] are how deliveries are
//! counted, [`usage`] is what they cost. [`api`] measures the control port, [`fanout`] a publisher
//! with many subscribers there, [`seed`] a seed's tables and its disk, [`report`] reads results,
//! [`plot`] draws them. [`ending`] is what happens at the end, whenever that is. `bench/README.md`
//! says how to run it and what the figures mean.

mod api;
mod ending;
mod fanout;
mod payload;
mod plan;
mod plot;
mod report;
mod run;
mod seed;
mod system;
mod tally;
mod usage;
mod window;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  bench run s2 --n 16 --payload 1024 --json out.jsonl
  bench run s1 --n 64 --processes
  bench table out.jsonl
  bench plot out.jsonl --out out.svg
  bench compare before.jsonl after.jsonl
  bench api --peers 1,4,16 --csv api.csv --plot api.svg
  bench fanout --peers 4 --subscribers 30
  bench seed --records 1000000
  bench seed --joins 5000 --dir /var/tmp

Exit codes: 0 done, 1 failed, 2 usage, 3 ended by the watchdog,
128 and the number of a signal that ended it.";

/// Measure Tidings: latency, throughput, processor time, memory and bytes on the wire.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario and print its result as a line of JSON
    Run(plan::RunArgs),
    /// Measure the commands of the control port
    Api(api::ApiArgs),
    /// Measure a publisher with many subscribers, at control ports
    Fanout(fanout::FanoutArgs),
    /// Measure the tables of a seed at scale, or joins that are on its disk
    Seed(seed::SeedArgs),
    /// Print results as Markdown tables, medians over repetitions
    Table(report::TableArgs),
    /// Draw results: latencies, and growth with peers, sizes and topics
    Plot(report::PlotArgs),
    /// Print the ratios of two sets of results
    Compare(report::CompareArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let done = ending::at_signals().and_then(|()| execute(command));
    ending::clear();
    done.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::main(args),
        Command::Api(args) => api::main(args),
        Command::Fanout(args) => fanout::main(&args),
        Command::Seed(args) => seed::main(&args),
        Command::Table(args) => report::table(&args),
        Command::Plot(args) => report::plot(&args),
        Command::Compare(args) => report::compare(&args),
    }
}
