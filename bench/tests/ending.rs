//! Whoever ends a measurement finds no process and no folder of it afterwards.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A node that says who it is and never serves.
const NODE: &str = "#!/bin/sh\necho node >&2\nexec sleep 600\n";

/// What a process and its children print to standard error. It ends when the last of them does.
fn lines(stderr: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(64);
    thread::spawn(move || {
        // A test that has failed reads no more.
        BufReader::new(stderr).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
    });
    lines
}

/// Ends `bench` by a signal once so many nodes run, and looks at what it leaves.
fn ended(arguments: &[&str], node: &Path, nodes: usize, signal: Signal) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments).arg(node).env("TMPDIR", folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut bench = command.spawn().expect("bench starts");
    let lines = lines(bench.stderr.take().expect("a pipe"));
    for _ in 0..nodes {
        assert_eq!(lines.recv_timeout(PATIENCE).as_deref(), Ok("node"), "{arguments:?}");
    }
    let made = || fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(made(), 1, "{arguments:?} has no folder for its nodes");

    kill_process(Pid::from_child(&bench), signal).expect("bench runs");
    let rest = lines.recv_timeout(PATIENCE);
    assert_eq!(rest, Err(RecvTimeoutError::Disconnected), "{arguments:?} leaves processes");
    let status = bench.wait().expect("bench has ended");
    assert_eq!(status.code(), Some(128 + signal.as_raw()), "{arguments:?}: {status}");
    assert_eq!(made(), 0, "{arguments:?} leaves a folder");
}

#[test]
fn a_signal_leaves_no_process_and_no_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = folder.path().join("node");
    fs::write(&node, NODE).expect("a script");
    fs::set_permissions(&node, fs::Permissions::from_mode(0o755)).expect("executable");
    let run: &[_] = &["run", "s1", "--n", "2", "--processes", "--peer"];
    let api: &[_] = &["api", "--peers", "2", "--peer"];
    let fanout: &[_] = &["fanout", "--peers", "2", "--peer"];
    let seed: &[_] = &["seed", "--joins", "1", "--clients", "1", "--seed"];
    for (arguments, nodes) in [(run, 2), (api, 2), (fanout, 2), (seed, 1)] {
        ended(arguments, &node, nodes, Signal::TERM);
        ended(arguments, &node, nodes, Signal::INT);
    }
}
