//! Seeds fail again and again while applications work: no call fails, nothing is lost. What
//! `scripts/chaos.sh` does for minutes, in short.

use std::process::Command;
use std::time::Duration;

use tidings_tests::chaos::{self, Fault, Plan};
use tidings_tests::{binaries, cli};

/// A cluster of its own, half a minute of faults, and waiting for the turn.
const LIMIT: Duration = Duration::from_secs(600);

fn plan(seeds: usize, faults: &[Fault]) -> Plan {
    Plan {
        seeds,
        peers: 10,
        time: Duration::from_secs(25),
        faults: faults.to_owned(),
        // Not so many calls that the machine itself becomes the fault.
        pause: Duration::from_millis(100),
        number: 1,
    }
}

#[track_caller]
fn run(plan: &Plan) {
    let verdict = chaos::run(plan, |line| eprintln!("{line}"));
    eprintln!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
    assert!(verdict.happened.len() >= plan.faults.len(), "every kind of fault happened");
}

#[test]
fn a_minority_of_three_seeds_fails_and_nobody_notices() {
    run(&plan(3, &[Fault::Kill, Fault::Wipe, Fault::Stop]));
}

#[test]
fn a_minority_of_five_seeds_fails_and_nobody_notices() {
    run(&plan(5, &[Fault::Stop, Fault::Kill, Fault::Wipe]));
}

#[test]
fn disks_of_a_minority_are_full_and_nobody_notices() {
    run(&plan(3, &[Fault::Full]));
}

/// In a process of its own, which may have a network of its own.
#[test]
fn a_minority_is_cut_off_and_nobody_notices() {
    let mut chaos = Command::new(binaries::folder().join("chaos"));
    chaos.args(["--minutes", "0.3", "--seeds", "3", "--peers", "10", "--pause-ms", "100"]);
    let ended = cli::run_for(chaos.args(["--faults", "partition"]), b"", LIMIT);
    if ended.code == Some(2) && ended.stderr.contains("network namespaces") {
        eprintln!("not shown here: {}", ended.stderr);
        return;
    }
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.text(), ended.stderr);
    assert!(ended.text().contains("Partition"), "{}", ended.text());
}
