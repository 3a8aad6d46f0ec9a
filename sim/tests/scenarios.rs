//! Built-in scenarios at small sizes: what they promise holds.

use tidings_sim::cluster::{Options, run, run_beside};
use tidings_sim::latency::Latency;
use tidings_sim::report::Report;
use tidings_sim::scenario::{Crashes, Overrides, Scenario};

fn play(name: &str, seed: u64, overrides: Overrides, options: Options) -> Report {
    let scenario = Scenario::load(name).and_then(|s| s.with(overrides)).expect("legal");
    let report = run(&scenario, seed, options);
    assert_eq!(report.violations, 0, "{report}");
    assert!(report.deliveries > 0 && report.inputs > 0, "{report}");
    report
}

#[test]
fn smoke_delivers_everything_in_spite_of_crashes() {
    for seed in 1..=3 {
        let report = play("smoke", seed, Overrides::default(), Options::default());
        assert_eq!((report.missed, report.gaps, report.duplicates), (0, 0, 0), "{report}");
        assert_eq!((report.refused, report.parts), (0, 1), "{report}");
        assert_eq!(report.faults.peer_crashes, 4, "{report}");
        assert!(report.dead_nodes > 0 && report.declared_dead > 0, "{report}");
        assert!(report.hops_max >= 2 && report.latency_ms.p50 >= 10.0, "{report}");
    }
}

#[test]
fn smoke_delivers_everything_where_peers_trust_each_other() {
    let mut scenario = Scenario::load("smoke").expect("legal");
    scenario.tune.verify_share = Some(5);
    let report = run(&scenario, 4, Options::default());
    assert_eq!((report.violations, report.missed, report.gaps), (0, 0, 0), "{report}");
    assert_eq!((report.duplicates, report.refused), (0, 0), "{report}");
    assert!(report.deliveries > 0, "{report}");
}

#[test]
fn smoke_runs_with_real_signatures_and_real_bytes() {
    let mut scenario = Scenario::load("smoke")
        .and_then(|s| s.with(Overrides { peers: Some(8), messages: Some(40), seeds: Some(1) }))
        .expect("legal");
    scenario.network.encode = true;
    let report = run(&scenario, 5, Options { ed25519: true, ..Options::default() });
    assert_eq!((report.violations, report.missed), (0, 0), "{report}");
    assert!(report.deliveries >= 7 * 40, "{report}");
}

#[test]
fn noise_on_the_links_makes_nobody_fall_over_or_lie() {
    for seed in 1..=4 {
        let report = play("babble", seed, Overrides::default(), Options::default());
        assert!(report.faults.damaged_frames > 0, "{report}");
    }
}

/// Numbers 1 and 2 took 17 s and redundancy was 1.5 while publishers knew nothing of those behind
/// their neighbours.
#[test]
fn a_publisher_does_not_outrun_the_overlay() {
    for seed in 1..=2 {
        let report = play("overrun", seed, Overrides::default(), Options::default());
        assert_eq!((report.missed, report.gaps), (0, 0), "{report}");
        assert!(report.held_back > 300 && report.deliveries > 16 * 300, "{report}");
        assert!(report.redundancy < 0.3 && report.latency_ms.p99 < 2_000.0, "{report}");
    }
}

/// 240 messages of 60 kB were published in 9 s with a window that did not grow with the distance.
#[test]
fn windows_are_as_wide_as_the_way_is_long() {
    let mut scenario = Scenario::load("overrun").expect("legal");
    scenario.network.latency = Latency::Wan;
    scenario.publish[0].every_ms = 2;
    scenario.slow[0].bytes_per_s = Some(60_000_000);
    let report = run(&scenario, 1, Options::default());
    assert_eq!((report.violations, report.missed, report.gaps), (0, 0, 0), "{report}");
    assert!(report.published > 1_500, "{report}");
}

/// A publisher stood still for a second: it waited to be told of what everybody had.
#[test]
fn nobody_waits_for_who_has_no_say_any_more() {
    let mut overrun = Scenario::load("overrun").expect("legal");
    overrun.publish[0].every_ms = 1;
    // Neighbours crash.
    let mut crashes = overrun.clone();
    crashes.publish[0].until_ms = 11_000;
    crashes.slow[0].bytes_per_s = Some(20_000_000);
    crashes.crash = [10_300, 10_500, 10_700].map(crash).to_vec();
    // Busy machines, where batches overtake each other on several links.
    let sizes = Overrides { peers: Some(64), ..Overrides::default() };
    let mut busy = overrun.with(sizes).expect("legal");
    busy.network.latency = Latency::Lan;
    busy.publish[0].until_ms = 10_800;
    busy.slow[0].bytes_per_s = Some(30_000_000);
    busy.slow[0].input_us = 2_000;
    let seeds = [25, 41, 45, 468].map(|seed| (&crashes, seed));
    for (scenario, seed) in seeds.into_iter().chain([(&busy, 12)]) {
        let report = run(scenario, seed, Options::default());
        assert_eq!((report.violations, report.missed), (0, 0), "{report}");
        assert!(report.counters["windows_full"] > 0, "{report}");
        assert_eq!(report.counters["windows_stuck"], 0, "seed {seed}: {report}");
    }
}

/// A tenth of the peers crashes.
fn crash(at_ms: u64) -> Crashes {
    Crashes {
        at_ms,
        ppm: 100_000,
        seeds: false,
        silent: false,
        disk_lost: false,
        disk_damaged: false,
        back_after_ms: None,
    }
}

/// With windows that were full peers were sent 1 MiB again and again of what they had to throw
/// away: a redundancy of 45 with one publisher that did not wait.
#[test]
fn what_links_could_not_carry_is_fetched_without_a_storm() {
    let mut scenario = Scenario::load("overrun").expect("legal");
    scenario.publish[0].origins = 16;
    scenario.publish[0].every_ms = 3;
    // Twice as much as is retained, which is too much for whoever is furthest behind.
    scenario.expect.complete = false;
    scenario.expect.gaps = true;
    let report = run(&scenario, 1, Options::default());
    assert_eq!((report.violations, report.missed), (0, 0), "{report}");
    assert!(report.gaps < 10, "{report}");
    assert!(report.redundancy > 0.2 && report.redundancy < 2.0, "{report}");
}

#[test]
fn slow_peers_are_nobody_elses_trouble() {
    let sizes = Overrides { peers: Some(50), messages: Some(600), ..Overrides::default() };
    let scenario = Scenario::load("slow").and_then(|s| s.with(sizes)).expect("legal");
    let report = run_beside(&scenario, 1, Options::default());
    // All of it, or an explicit gap, also for the slow.
    assert_eq!((report.violations, report.missed, report.faults.slowed), (0, 0, 2), "{report}");
    assert!(report.latency_ms.p99 > 10.0 * report.bystanders_ms.p99, "somebody was slow: {report}");
    let unslowed = report.unslowed.expect("run beside");
    assert!(unslowed.bystanders_ms.p99 > 0.0 && unslowed.latency_ms.p99 < 200.0, "{report}");
}

#[test]
fn distances_are_those_of_the_model() {
    // One way, of the nearest and of the farthest two nodes, in milliseconds.
    let models =
        [(Latency::Lan, 0.2, 1.0), (Latency::Uniform, 10.0, 50.0), (Latency::Wan, 0.2, 165.0)];
    let mut medians = Vec::new();
    for (latency, near, far) in models {
        let mut scenario = Scenario::load("smoke").expect("legal");
        scenario.network.latency = latency;
        let report = run(&scenario, 2, Options::default());
        assert_eq!((report.violations, report.missed), (0, 0), "{report}");
        let most = far * f64::from(report.hops_max);
        assert!((near..=most).contains(&report.latency_ms.p50), "{latency:?}: {report}");
        medians.push(report.latency_ms.p50);
    }
    assert!(medians.is_sorted(), "a continent is wider than a room: {medians:?}");
}
