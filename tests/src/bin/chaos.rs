//! Does to a cluster of its own what no operator wants to see, and says what came of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidings_tests::chaos::{self, Fault, Plan};
use tidings_tests::{binaries, net};

/// Kill, wipe, stop, cut off a minority of the seeds again and again while applications work, and
/// fill their disks.
///
/// Exit codes: 0 nothing failed and nothing was lost, 1 something was, 2 usage, or partitions
/// where network namespaces are not allowed.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// For how long, in minutes
    #[arg(long, default_value_t = 5.0, value_parser = minutes)]
    minutes: f64,
    /// Seeds, 3 to 9
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..=9))]
    seeds: u16,
    /// Peers, each with one application, 2 to 100
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=100))]
    peers: u16,
    /// What is done, in this order again and again [default: all but kill-all, and partition only
    /// where network namespaces are allowed]
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Kind>,
    /// Milliseconds between two calls of an application, 1 to 10,000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pause_ms: u16,
    /// Chooses the victims; the same number chooses the same ones
    #[arg(long, default_value_t = 1)]
    number: u64,
    /// The folder of the programs `seed` and `peer` [default: that of this one]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// What is done when nothing is said.
const USUAL: [Kind; 5] = [Kind::Kill, Kind::Wipe, Kind::Stop, Kind::Partition, Kind::Full];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// kill -9 of a minority, started again with its data
    Kill,
    /// kill -9 of a minority, started again without data
    Wipe,
    /// A minority stands still for 5 s
    Stop,
    /// A minority is cut off for 5 s: what it sends and is sent vanishes (in network namespaces)
    Partition,
    /// The disks of a minority are full: it ends by itself, and is started again with room
    Full,
    /// kill -9 of all seeds at once, started again with their data
    KillAll,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let legal = (0.1..=10_000.0).contains(&minutes);
    legal.then_some(minutes).ok_or_else(|| "0.1 to 10,000 minutes".to_owned())
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    let usual = args.faults.is_empty();
    if usual {
        args.faults = USUAL.to_vec();
    }
    // Beyond this line the process may be another one.
    if args.faults.contains(&Kind::Partition)
        && let Err(error) = net::enter()
    {
        eprintln!("no partitions: {error:#}");
        if !usual {
            return ExitCode::from(2);
        }
        args.faults.retain(|fault| *fault != Kind::Partition);
    }
    if let Some(programs) = &args.programs {
        binaries::use_folder(programs);
    }
    let fault = |kind: &Kind| match kind {
        Kind::Kill => Fault::Kill,
        Kind::Wipe => Fault::Wipe,
        Kind::Stop => Fault::Stop,
        Kind::Partition => Fault::Partition,
        Kind::Full => Fault::Full,
        Kind::KillAll => Fault::KillAll,
    };
    let plan = Plan {
        seeds: args.seeds.into(),
        peers: args.peers.into(),
        time: Duration::from_secs_f64(args.minutes * 60.0),
        faults: args.faults.iter().map(fault).collect(),
        pause: Duration::from_millis(args.pause_ms.into()),
        number: args.number,
    };
    let verdict = chaos::run(&plan, |line| eprintln!("{line}"));
    println!("{verdict}");
    if verdict.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
