//! The program as it is typed: what it prints, writes and returns.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn sim(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output();
    output.expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file of this test run only.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path in UTF-8")
}

#[test]
fn a_report_has_all_that_programs_look_for() {
    let (json, svg) = (file("report.json"), file("report.svg"));
    let small = ["run", "smoke", "--seed", "7", "--peers", "10", "--messages", "40"];
    let files = ["--json", path(&json), "--plot", path(&svg)];
    let output = sim(&[&small[..], &files[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written = std::fs::read_to_string(&json).expect("the report");
    let report: Value = serde_json::from_str(&written).expect("a report");
    let keys = [
        "scenario",
        "seed",
        "peers",
        "redundancy",
        "hops_max",
        "last_receiver_ms",
        "missed",
        "duplicates",
        "violations",
        "flood",
        "wall_s",
        "trace_hash",
        "bytes",
        "grafts",
        "prunes",
        "repairs",
        "faults",
        "judged",
    ];
    for key in keys {
        assert!(report.get(key).is_some(), "{key} in {written}");
    }
    for quantile in ["p50", "p99", "p999"] {
        assert!(report["latency_ms"][quantile].as_f64().is_some_and(|ms| ms > 0.0), "{quantile}");
    }
    assert_eq!(report["seed"], 7);
    let picture = std::fs::read_to_string(&svg).expect("the picture");
    assert!(picture.contains("<circle") && picture.contains("overlay at the end: "));

    let replayed =
        sim(&["replay", "7", "--scenario", "smoke", "--peers", "10", "--messages", "40"]);
    let hash = report["trace_hash"].as_str().expect("a hash");
    assert!(text(&replayed.stdout).contains(hash), "a replay does the same");
    let compared = sim(&["compare", path(&json), path(&json)]);
    assert!(text(&compared.stdout).contains("the traces are the same"));
}

#[test]
fn a_failure_says_how_it_is_replayed() {
    let broken = file("broken.toml");
    // Nobody can know all within the same instant.
    let scenario = "name = 'broken'\nabout = 'It must fail.'\nseeds = 1\npeers = 4\njoin_ms = 1\n\
                    end_ms = 9_000\n[expect]\nwhole_within_ms = 0\n\
                    [[crash]]\nat_ms = 5_000\nppm = 500_000\nsilent = true\n\
                    [[publish]]\norigins = 4\nevery_ms = 1\nfrom_ms = 8_000\nuntil_ms = 9_000\n";
    std::fs::write(&broken, scenario).expect("written");
    let output = sim(&["run", path(&broken), "--seed", "3", "--peers", "5"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let replay = format!("replay: sim replay 3 --scenario {} --peers 5", path(&broken));
    assert!(text(&output.stderr).contains(&replay), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("  ! "), "{}", text(&output.stdout));

    let swept = sim(&["sweep", "3..5", "--scenario", path(&broken), "--jobs", "2", "--keep-going"]);
    assert_eq!(swept.status.code(), Some(1));
    let printed = text(&swept.stdout);
    for seed in [3, 4] {
        let replay = format!("replay: sim replay {seed} --scenario {}", path(&broken));
        assert!(printed.contains(&replay), "{printed}");
    }
}

#[test]
fn what_cannot_be_run_is_said() {
    let output = sim(&["run", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("neither a file nor one of smoke, "));
    let listed = text(&sim(&["scenarios"]).stdout);
    let names = "warm-1k warm-10k oneshot-1k crash-30 crash-50 crash-80 delay-5 partition no-seeds \
                 scale-100k";
    for name in names.split(' ') {
        assert!(listed.lines().any(|line| line == name), "{name}");
    }
}
