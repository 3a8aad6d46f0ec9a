//! Worlds that are broken on purpose: each judge that looks at a whole cluster speaks.

use tidings_sim::check::{
    bystanders, converge, evicted, happened, kept, linear, owners, refused, verdict,
};
use tidings_sim::cluster::{Options, run_beside};
use tidings_sim::report::Report;
use tidings_sim::scenario::Scenario;

const BASE: &str = "
name = 'broken'
about = 'A promise is broken on purpose.'
seeds = 3
peers = 12
join_ms = 1_000
end_ms = 40_000
";

fn play(rest: &str) -> Report {
    play_as(rest, 1)
}

fn play_as(rest: &str, seed: u64) -> Report {
    let (top, tables) = rest.split_once("---").unwrap_or(("", rest));
    let scenario = Scenario::parse(&format!("{BASE}{top}{tables}")).expect("legal");
    run_beside(&scenario, seed, Options::default())
}

fn broke(report: &Report, rule: &str) -> bool {
    report.first_violations.iter().any(|violation| violation.rule == rule)
}

/// All seeds lose their memory at once, which the judges are told is a minority.
const WIPED: &str = "
[[crash]]
at_ms = 15_000
ppm = 1_000_000
seeds = true
disk_lost = true
back_after_ms = 1_200
[expect]
complete = false
answered_within_ms = 40_000
";

#[test]
fn what_was_acknowledged_and_is_gone_is_missed() {
    let report = play(&format!("{WIPED} seeds_lost_max = 3"));
    assert!(broke(&report, kept::RULE), "{report}");
    let report = play(WIPED);
    assert_eq!(report.violations, 0, "nothing is promised when all are lost: {report}");
    assert!(report.judged.topics_kept > 10, "{report}");
}

/// All seeds lose their power at once, and come back with their disks.
const POWER_CUT: &str = "
[[crash]]
at_ms = 15_000
ppm = 1_000_000
seeds = true
back_after_ms = 1_200
[expect]
complete = false
answered_within_ms = 40_000
";

#[test]
fn what_was_acknowledged_and_never_written_is_missed_after_a_loss_of_power() {
    let report = play(POWER_CUT);
    assert!(report.violations == 0 && report.judged.topics_kept > 10, "{report}");
    let report = play(&format!("disks_lie = true\n---\n{POWER_CUT}"));
    assert!(broke(&report, kept::RULE), "{report}");
}

#[test]
fn a_topic_that_is_not_found_any_more_is_a_read_that_goes_back() {
    let claim = "
[[claim]]
names = 6
contenders = 1
every_ms = 10
from_ms = 5_000
until_ms = 25_000
";
    // The peers that remember end too.
    let forgotten = "
[[crash]]
at_ms = 15_000
ppm = 1_000_000
back_after_ms = 1_200
";
    let report = play(&format!("{claim} {forgotten} {WIPED} seeds_lost_max = 3"));
    assert!(broke(&report, owners::READ_RULE), "{report}");
    let report = play(claim);
    assert!(report.violations == 0 && report.judged.claims > 500, "{report}");
}

#[test]
fn what_was_seen_of_contested_topics_and_has_no_order_is_noticed() {
    let contest = "
[[contest]]
names = 3
contenders = 3
every_ms = 100
from_ms = 5_000
until_ms = 35_000
";
    let forgotten = "
[[crash]]
at_ms = 15_000
ppm = 1_000_000
back_after_ms = 1_200
";
    let report = play(&format!("{contest} {forgotten} {WIPED} seeds_lost_max = 3"));
    assert!(broke(&report, linear::RULE) && report.judged.linear == 0, "{report}");
    let report = play(&format!("{contest} {forgotten} {WIPED}"));
    assert!(report.violations == 0, "nothing is promised when all are lost: {report}");
    let report = play(contest);
    assert!(report.violations == 0 && report.judged.linear > 700, "{report}");
}

#[test]
fn a_peer_that_a_majority_of_the_seeds_lies_about_is_evicted() {
    let lies = |seeds: u32| {
        format!(
            "
[liars]
seeds = {seeds}
from_ms = 5_000
until_ms = 35_000
every_ms = 500
[expect]
evicted_max = 0
complete = false
gaps = true
one_overlay = false
answered_within_ms = 40_000
"
        )
    };
    let report = play(&lies(2));
    assert!(broke(&report, evicted::EVICTED), "{report}");
    let report = play(&lies(1));
    assert!(report.violations == 0 && report.faults.lies > 100, "{report}");
}

#[test]
fn calls_that_find_no_majority_are_counted() {
    let trouble = |seeds: u32| {
        format!(
            "
[[claim]]
names = 6
contenders = 1
every_ms = 50
from_ms = 5_000
until_ms = 35_000
[[trouble]]
from_ms = 6_000
until_ms = 35_000
away_ms = 4_000
stopped_ms = 8_000
rest_ms = 3_000
seeds_max = {seeds}
[expect]
no_quorum_max = 0
complete = false
answered_within_ms = 40_000
"
        )
    };
    let report = play(&trouble(2));
    assert!(broke(&report, refused::RULE) && report.judged.no_quorum > 0, "{report}");
    let report = play(&trouble(1));
    assert!(report.violations == 0 && report.judged.claims > 200, "{report}");
}

#[test]
fn seeds_that_do_not_wait_for_an_answer_declare_the_living_dead() {
    // An answer takes 20 ms at least. Paths that are cut make peers suspect; whether one of them
    // is heard by others at that moment is luck, which some of the numbers have.
    let hasty = "tune = { probe_timeout_ms = 15 }
---
[chaos]
from_ms = 5_000
until_ms = 30_000
step_ms = 500
longest_ms = 6_000
cut_ppm = 800_000
[expect]
complete = false
gaps = true
one_overlay = false
answered_within_ms = 40_000
";
    let mut reports = (1..=10).map(|seed| play_as(hasty, seed));
    assert!(reports.any(|report| broke(&report, verdict::RULE)));
}

#[test]
fn a_seed_that_nobody_tells_anything_differs() {
    let cuts: String = [1, 2]
        .iter()
        .map(|other| {
            format!(
                "[[cut]]\nat_ms = 100\nfrom = 0\nto = {other}\n\
                 [[cut]]\nat_ms = 100\nfrom = {other}\nto = 0\n"
            )
        })
        .collect();
    let expect = "[expect]\ntables_equal_within_ms = 20_000\n";
    let report = play(&format!("{cuts}{expect}"));
    assert!(broke(&report, converge::RULE), "{report}");
    let report = play(expect);
    assert!(report.violations == 0 && report.judged.tables_equal > 20, "{report}");
}

#[test]
fn slow_peers_that_others_depend_on_are_noticed_by_them() {
    let slow = |ppm: u32| {
        format!(
            "beside = ['unslowed']
---
[[publish]]
origins = 4
every_ms = 100
from_ms = 5_000
until_ms = 20_000
[[slow]]
at_ms = 4_000
for_ms = 20_000
ppm = {ppm}
input_us = 80_000
[expect]
complete = false
one_overlay = false
bystanders_more_ppm = 100_000
answered_within_ms = 40_000
"
        )
    };
    let report = play(&slow(700_000));
    assert!(broke(&report, bystanders::RULE), "{report}");
    assert!(report.unslowed.is_some() && report.faults.slowed == 8, "{report}");
}

#[test]
fn chaos_that_hits_nobody_is_no_chaos() {
    // All peers have vanished before the first cut, so that there is nothing to cut.
    let report = play(
        "
[[crash]]
at_ms = 5_000
ppm = 1_000_000
[[crash]]
at_ms = 5_000
ppm = 1_000_000
seeds = true
[chaos]
from_ms = 20_000
until_ms = 30_000
step_ms = 100
longest_ms = 1_000
cut_ppm = 200_000
[expect]
complete = false
one_overlay = false
",
    );
    assert!(broke(&report, happened::RULE), "{report}");
}
