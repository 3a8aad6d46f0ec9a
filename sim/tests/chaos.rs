//! Random faults for minutes, then calm: nothing may be lost, doubled or out of order.

use tidings_sim::report::Report;
use tidings_sim::scenario::Scenario;
use tidings_sim::sweep::sweep;

/// Enough to meet every kind of fault; the long sweeps are run by `scripts/soak.sh`.
const SEEDS: (u64, u64) = (0, 100);

/// Numbers that found something once, and what it was. Those below [`SEEDS`] run in the sweep.
const FOUND: [(u64, &str); 3] = [
    (8, "a vote counted though its caster had heard the accused again"),
    (75, "seeds repeated votes that their casters had withdrawn"),
    (329, "a withdrawal was slower than a verdict"),
];

#[test]
fn what_was_found_once_stays_mended() {
    let scenario = Scenario::load("chaos").expect("legal");
    for (seed, story) in FOUND.into_iter().filter(|(seed, _)| *seed >= SEEDS.1) {
        let sum = sweep(&scenario, (seed, seed + 1), 1, true, |_| {});
        let failed: Vec<String> = sum.failed.iter().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{story}: {failed:?}");
    }
}

#[test]
fn a_short_sweep_finds_nothing_and_the_chaos_happened() {
    let scenario = Scenario::load("chaos").expect("legal");
    let sum = sweep(&scenario, SEEDS, 2, true, |_| {});
    let failed: Vec<String> = sum.failed.iter().map(ToString::to_string).collect();
    let replay = |report: &Report| format!("target/release/sim replay {}", report.seed);
    let replay: Vec<String> = sum.failed.iter().map(replay).collect();
    let text = [failed, replay].concat().join("\n");
    assert!(sum.failed.is_empty(), "{} failed:\n{text}", sum.failed.len());
    assert_eq!(sum.runs, SEEDS.1 - SEEDS.0);
    assert_eq!(sum.missing_faults(&scenario), Vec::<&str>::new());
    assert!(sum.deliveries > 1_000);
}
