//! What seeds promise, while a minority of them is always crashed or wiped.

use tidings_sim::scenario::Scenario;
use tidings_sim::sweep::sweep;

/// A second each.
const SEEDS: (u64, u64) = (0, 20);

#[test]
fn seeds_keep_what_they_acknowledged_and_agree_in_the_end() {
    let scenario = Scenario::load("seeds").expect("legal");
    let judged = std::sync::Mutex::new([0; 6]);
    let sum = sweep(&scenario, SEEDS, 2, true, |report| {
        let found = &report.judged;
        let counts = [
            found.topics_kept,
            found.verdicts_of_death,
            found.claims,
            found.tables_equal,
            found.linear,
            found.forgotten.min(found.not_forgotten),
        ];
        let mut judged = judged.lock().expect("nobody panics");
        judged.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    });
    let failed: Vec<String> = sum.failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}\nreplay: sim replay SEED --scenario seeds", failed.join("\n"));
    assert_eq!(sum.missing_faults(&scenario), Vec::<&str>::new());
    let judged = judged.into_inner().expect("nobody panics");
    // Whoever is to be forgotten is drawn: few are dead just then.
    let enough =
        judged.iter().zip([100, 100, 100, 100, 20_000, 10]).all(|(count, least)| *count > least);
    assert!(enough, "little was judged: {judged:?}");
}

/// Numbers of `minority` that found something once, and what it was.
const FOUND: [(u64, &str); 2] = [
    (49, "seeds that were only slow used up the sessions that could be replaced"),
    (57, "a seed that hung was not replaced, and the question ended before its link did"),
];

#[test]
fn no_call_is_refused_whichever_minority_of_the_seeds_fails() {
    let scenario = Scenario::load("minority").expect("legal");
    let mut failed = Vec::new();
    let found = FOUND.into_iter().map(|(seed, _)| (seed, seed + 1));
    for seeds in std::iter::once((0, 20)).chain(found) {
        let sum = sweep(&scenario, seeds, 2, true, |report| {
            assert!(report.judged.claims > 3_000 && report.judged.linear > 4_000, "{report}");
        });
        let faults = sum.faults;
        assert!(faults.seed_crashes + faults.pauses + faults.partitions > 10, "{faults:?}");
        failed.extend(sum.failed.iter().map(ToString::to_string));
    }
    assert!(
        failed.is_empty(),
        "{}\nreplay: sim replay SEED --scenario minority",
        failed.join("\n")
    );
}

#[test]
fn a_minority_of_the_seeds_and_all_neighbours_cannot_evict_a_peer_that_answers() {
    let scenario = Scenario::load("liars").expect("legal");
    let sum = sweep(&scenario, (0, 20), 2, true, |report| {
        assert!(report.faults.lies > 5_000, "{report}");
    });
    let failed: Vec<String> = sum.failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}\nreplay: sim replay SEED --scenario liars", failed.join("\n"));
}

#[test]
fn only_the_dead_are_declared_dead_and_soon() {
    let dead = Scenario::load("deaths").expect("legal");
    let sum = sweep(&dead, (1, 3), 2, true, |report| {
        assert!(report.judged.verdicts_of_death > 100, "{report}");
        assert!(report.judged.death_p99_ms > 5_000.0, "no probe takes less: {report}");
    });
    let paused = Scenario::load("pauses").expect("legal");
    let calm = sweep(&paused, (0, 2), 2, true, |report| {
        assert!(report.faults.pauses > 1_000, "{report}");
    });
    let failed: Vec<String> =
        sum.failed.iter().chain(&calm.failed).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_set_of_seeds_changes_and_nothing_is_lost() {
    let scenario = Scenario::load("changes").expect("legal");
    let judged = std::sync::Mutex::new([0; 2]);
    let sum = sweep(&scenario, (0, 20), 2, true, |report| {
        let counts = [report.judged.topics_kept, report.judged.claims];
        let mut judged = judged.lock().expect("nobody panics");
        judged.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    });
    let failed: Vec<String> = sum.failed.iter().map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{}\nreplay: sim replay SEED --scenario changes", failed.join("\n"));
    assert_eq!(sum.missing_faults(&scenario), Vec::<&str>::new());
    let judged = judged.into_inner().expect("nobody panics");
    assert!(judged.iter().all(|count| *count > 100), "little was judged: {judged:?}");
}

#[test]
fn a_change_that_never_gets_over_is_noticed() {
    let mut scenario = Scenario::load("changes").expect("legal");
    // Nobody asks for the last change before the run ends.
    scenario.change.last_mut().expect("changes").at_ms = scenario.end_ms + 1;
    let sum = sweep(&scenario, (0, 2), 2, true, |_| {});
    assert_eq!(sum.failed.len(), 2, "the judge of the set is asleep");
}
