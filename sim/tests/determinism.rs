//! One number decides a run.

use tidings_sim::cluster::{Options, run};
use tidings_sim::scenario::{Overrides, Scenario};

fn hash(scenario: &str, seed: u64, peers: u32) -> (String, u64) {
    let overrides = Overrides { peers: Some(peers), ..Overrides::default() };
    let scenario = Scenario::load(scenario).and_then(|s| s.with(overrides)).expect("legal");
    let report = run(&scenario, seed, Options::default());
    assert!(report.deliveries > 0, "{report}");
    (report.trace_hash, report.inputs)
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    for scenario in ["smoke", "chaos", "babble"] {
        let first = hash(scenario, 7, 8);
        assert_eq!(first, hash(scenario, 7, 8), "{scenario}");
        assert_ne!(first, hash(scenario, 8, 8), "{scenario}");
    }
}

#[test]
fn encoding_frames_as_bytes_changes_nothing_that_machines_see() {
    let mut scenario = Scenario::load("smoke").expect("legal");
    let typed = run(&scenario, 3, Options::default());
    scenario.network.encode = true;
    let encoded = run(&scenario, 3, Options::default());
    assert_eq!(typed.trace_hash, encoded.trace_hash);
}
