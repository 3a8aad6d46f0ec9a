//! Random faults for minutes, then calm: nothing may be lost, doubled or out of order.

use tidings_sim::report::Report;
use tidings_sim::scenario::Scenario;
use tidings_sim::sweep::sweep;

/// Enough to meet every kind of fault; the long sweeps are run by `scripts/soak.sh`.
const SEEDS: (u64, u64) = (0, 100);

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
