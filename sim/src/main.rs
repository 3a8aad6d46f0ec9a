//! The command line of the simulator.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use tidings_sim::cli::{Cli, Command, Common, Sizes};
use tidings_sim::cluster::{self, Options};
use tidings_sim::report::Report;
use tidings_sim::scenario::{BUILT_IN, Scenario};
use tidings_sim::sweep;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { scenario, seed, common } | Command::Replay { seed, scenario, common } => {
            run(&scenario, seed, &common)
        }
        Command::Sweep { numbers, scenario, jobs, keep_going, sizes } => {
            sweep(&scenario, numbers, jobs, keep_going, sizes)
        }
        Command::Compare { before, after } => compare(&before, &after),
        Command::Scenarios => {
            BUILT_IN.iter().for_each(|(name, _)| println!("{name}"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

fn run(name: &str, seed: u64, common: &Common) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(name)?.with(common.sizes.into())?;
    let trace = match &common.trace {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("creating {path:?}"))?;
            Some(Box::new(BufWriter::new(file)) as Box<dyn Write>)
        }
        None => None,
    };
    let begun = wall();
    let mut report = cluster::run_beside(
        &scenario,
        seed,
        Options {
            ed25519: common.ed25519,
            flood: common.flood,
            plot: common.plot.is_some(),
            trace,
            ..Options::default()
        },
    );
    report.wall_s = begun.elapsed().as_secs_f64();
    if let (Some(path), Some(plot)) = (&common.plot, &report.plot) {
        std::fs::write(path, plot.svg()).with_context(|| format!("writing {path:?}"))?;
    }
    let to_stdout = common.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &common.json {
        let json = serde_json::to_string_pretty(&report)?;
        if to_stdout {
            println!("{json}");
        } else {
            std::fs::write(path, json + "\n").with_context(|| format!("writing {path:?}"))?;
        }
    }
    if to_stdout {
        eprint!("{report}");
    } else {
        print!("{report}");
    }
    if report.violations > 0 {
        let flood = if common.flood { " --flood" } else { "" };
        let flags = common.sizes.flags();
        eprintln!("  replay: sim replay {seed} --scenario {name}{flags}{flood}");
    }
    Ok(verdict(report.violations == 0))
}

fn sweep(
    name: &str,
    seeds: (u64, u64),
    jobs: usize,
    keep_going: bool,
    sizes: Sizes,
) -> anyhow::Result<ExitCode> {
    let scenario = Scenario::load(name)?.with(sizes.into())?;
    let begun = wall();
    // On a terminal only, and on standard error.
    let bar = ProgressBar::new(seeds.1 - seeds.0);
    let template = "running [{bar:30}] {pos} of {len}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("a constant that is legal");
    bar.set_style(style.progress_chars("=> "));
    let sum = sweep::sweep(&scenario, seeds, jobs, keep_going, |report| {
        bar.inc(1);
        if report.violations > 0 {
            bar.suspend(|| eprintln!("seed {} FAILED", report.seed));
        }
    });
    bar.finish_and_clear();
    for report in &sum.failed {
        print!("{report}");
        println!("  replay: sim replay {} --scenario {name}{}", report.seed, sizes.flags());
    }
    let faults: Vec<String> =
        sum.faults.list().iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!(
        "{} runs of {name}, {} failed, {} deliveries, {:.1} s; {}",
        sum.runs,
        sum.failed.len(),
        sum.deliveries,
        begun.elapsed().as_secs_f64(),
        faults.join(", ")
    );
    let missing = sum.missing_faults(&scenario);
    if !missing.is_empty() {
        println!("the chaos did not happen: no {}", missing.join(", no "));
    }
    Ok(verdict(sum.failed.is_empty() && missing.is_empty()))
}

fn compare(before: &Path, after: &Path) -> anyhow::Result<ExitCode> {
    let read = |path: &Path| -> anyhow::Result<Report> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
        serde_json::from_str(&text).with_context(|| format!("{path:?} is no report"))
    };
    print!("{}", read(before)?.compare(&read(after)?));
    Ok(ExitCode::SUCCESS)
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Real time, for people: nothing in a run depends on it.
#[expect(clippy::disallowed_methods, reason = "measures the program, not the protocol")]
fn wall() -> Instant {
    Instant::now()
}
