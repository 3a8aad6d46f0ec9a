//! Many runs of one scenario, on several threads, each with its own seed number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::cluster::{self, FaultCounts, Options};
use crate::report::Report;
use crate::scenario::Scenario;

/// What the runs of a sweep showed together.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Runs.
    pub runs: u64,
    /// Faults in all of them.
    pub faults: FaultCounts,
    /// Deliveries in all of them.
    pub deliveries: u64,
    /// Reports of the runs that broke an invariant, in the order of their seed numbers.
    pub failed: Vec<Report>,
}

/// Runs `scenario` with each seed number from `from` to before `to`, `jobs` at a time; no new
/// runs begin after a failed one, unless told to keep going. `done` is told of each run.
pub fn sweep(
    scenario: &Scenario,
    (from, to): (u64, u64),
    jobs: usize,
    keep_going: bool,
    done: impl Fn(&Report) + Sync,
) -> Sweep {
    let next = AtomicU64::new(from);
    let sum = Mutex::new(Sweep::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                break;
            }
            let report = cluster::run(scenario, seed, Options::default());
            done(&report);
            let mut sum = sum.lock().expect("no run panics: panics are caught in each");
            sum.runs += 1;
            sum.faults.add(&report.faults);
            sum.deliveries += report.deliveries;
            if report.violations > 0 {
                sum.failed.push(report);
                if !keep_going {
                    next.fetch_max(to, Ordering::Relaxed);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(work);
        }
    });
    let mut sum = sum.into_inner().expect("no run panics: panics are caught in each");
    sum.failed.sort_by_key(|report| report.seed);
    sum
}

impl Sweep {
    /// Kinds of faults that the scenario asks for and that never happened: a sweep that does
    /// not hurt proves nothing.
    pub fn missing_faults(&self, scenario: &Scenario) -> Vec<&'static str> {
        let Some(chaos) = &scenario.chaos else { return Vec::new() };
        let asked = |name: &str| match name {
            "peer_crashes" => chaos.crash_peer_ppm,
            "seed_crashes" => chaos.crash_seed_ppm,
            "disks_lost" => chaos.crash_seed_ppm.min(chaos.disk_lost_ppm),
            "disks_damaged" => chaos.crash_seed_ppm.min(chaos.disk_damaged_ppm),
            // A write takes milliseconds: only where seeds write all the time do crashes meet one.
            "writes_lost" if !scenario.contest.is_empty() => chaos.crash_seed_ppm,
            "leaves" => chaos.leave_ppm,
            "restarts" => chaos.crash_peer_ppm,
            "pauses" => chaos.pause_ppm,
            "cuts" => chaos.cut_ppm,
            "partitions" => chaos.partition_ppm,
            "resets" => chaos.reset_ppm,
            "slowed" => chaos.slow_ppm.max(chaos.throttle_ppm),
            "duplicated_frames" => scenario.network.duplicate_ppm,
            "stalls" => chaos.partition_ppm.max(chaos.cut_ppm),
            "late_frames" => chaos.loss_ppm,
            "damaged_frames" => chaos.damage_ppm,
            _ => 0,
        };
        let missing = |(name, count): &(&'static str, u64)| *count == 0 && asked(name) > 0;
        self.faults.list().iter().filter(|fault| missing(fault)).map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chaos_that_never_happened_is_noticed() {
        let scenario = Scenario::load("chaos").expect("legal");
        let mut sweep = Sweep::default();
        assert!(sweep.missing_faults(&scenario).contains(&"partitions"));
        sweep.faults.partitions = 1;
        assert!(!sweep.missing_faults(&scenario).contains(&"partitions"));
        assert!(!sweep.missing_faults(&scenario).contains(&"damaged_frames"), "not asked for");
    }
}
