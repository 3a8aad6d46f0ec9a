//! The scripts that people start with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tidings_tests::cli::{Ended, run_for};
use tidings_tests::{binaries, node, turn};

const LIMIT: Duration = Duration::from_secs(90);
/// Beside whatever was launched with the usual ports.
const OFFSET: &str = "13000";

/// A launched cluster, ended when dropped.
struct Launched {
    run: PathBuf,
}

impl Launched {
    fn script(&self, name: &str, arguments: &[&str]) -> Ended {
        let mut command = node::clean(Path::new("bash"));
        command.arg(binaries::workspace().join("scripts").join(name)).args(arguments);
        command.args(["--run", self.run.to_str().unwrap()]);
        command.env("TIDINGS_BIN", binaries::folder());
        run_for(&mut command, b"", LIMIT)
    }

    fn pids(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.run).unwrap().flatten().map(|entry| entry.path());
        let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "pid"));
        files.map(|path| std::fs::read_to_string(path).unwrap().trim().to_owned()).collect()
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        self.script("stop.sh", &[]);
    }
}

/// Whether a process runs. One that has ended and whose parent has not asked for that yet, as in
/// a container without an init, does not.
fn running(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('Z'))
}

#[test]
fn launch_status_stop() {
    let _turn = turn::alone();
    let folder = tempfile::tempdir().unwrap();
    let launched = Launched { run: folder.path().join("run") };
    let launch = ["--seeds", "3", "--peers", "5", "--offset", OFFSET];
    let first = launched.script("launch.sh", &launch).expect_code(0);
    let shown = first.text() + &first.stderr;
    assert!(shown.contains("Received by 4 of 4 other peers"), "{shown}");
    let pids = launched.pids();
    assert_eq!(pids.len(), 8, "{shown}");
    assert!(pids.iter().all(|pid| running(pid)));

    let again = launched.script("launch.sh", &launch).expect_code(1);
    assert!(again.stderr.contains("already running"), "{}", again.stderr);
    assert!(pids.iter().all(|pid| running(pid)), "the second launch touches nothing");

    let elsewhere = Launched { run: folder.path().join("other") };
    let taken = elsewhere.script("launch.sh", &launch).expect_code(1);
    assert!(taken.stderr.contains("is in use"), "{}", taken.stderr);

    let status = launched.script("status.sh", &[]).expect_code(0).text();
    for word in ["seed-1", "seed-3", "peer-0", "peer-4", "Sports"] {
        assert!(status.contains(word), "{word} is shown: {status}");
    }

    launched.script("stop.sh", &[]).expect_code(0);
    assert!(!pids.iter().any(|pid| running(pid)), "all ended");
    assert_eq!(launched.pids(), [""; 0]);
    launched.script("stop.sh", &[]).expect_code(0);

    // What was launched before is still there: the keys, and the topic.
    let later = launched.script("launch.sh", &launch).expect_code(0).text();
    assert!(later.contains("Received by 4 of 4 other peers"), "{later}");
    launched.script("stop.sh", &[]).expect_code(0);
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let launched = Launched { run: folder.path().join("run") };
    for arguments in [&["--peers", "many"][..], &["--seeds", "0"], &["--peers"], &["--fly"]] {
        let ended = launched.script("launch.sh", arguments).expect_code(2);
        assert!(ended.stderr.contains("launch.sh"), "{}", ended.stderr);
    }
    let help = launched.script("launch.sh", &["--help"]).expect_code(0);
    assert!(help.text().contains("--peers"));
}
