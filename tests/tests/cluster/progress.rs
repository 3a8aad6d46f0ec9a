//! Long work says how far it is, on a terminal and nowhere else.

use std::process::Command;
use std::time::Duration;

use tidings_tests::binaries;
use tidings_tests::cli::{self, Ended, run_for};
use tidings_tests::cluster::Cluster;
use tidings_tests::node::Node;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// Long enough to be shown: five times what is not worth a line.
const LONG: [&str; 7] = ["pub", "Sports", "tick", "--count", "100", "--sleep", "10ms"];
/// Runs a program at a terminal of its own. What it prints and notes comes out as one.
const TERMINAL: &str = "import os, pty, sys\n\
                        sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// A command at a terminal.
#[track_caller]
fn at_a_terminal(node: &Node, arguments: &[&str]) -> Ended {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL]).arg(binaries::folder().join("peer")).args(arguments);
    command.env("TIDINGS_CONTROL", node.control_address().to_string());
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    run_for(&mut command, b"", LIMIT).expect_code(0)
}

#[test]
fn publishing_many_shows_how_far_it_is_on_a_terminal_only() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    peer.control().create("Sports");
    let shown = at_a_terminal(peer, &LONG).text();
    assert!(shown.contains("publishing [") && shown.contains(" of 100,"), "{shown:?}");
    assert!(shown.contains("published 100 messages"), "{shown:?}");
    let coloured = (30..50).any(|colour| shown.contains(&format!("\x1b[{colour}m")));
    assert!(!coloured, "{shown:?}");

    let json: Vec<_> = LONG.into_iter().chain(["--json"]).collect();
    let shown = at_a_terminal(peer, &json).text();
    assert!(!shown.contains("publishing"), "{shown:?}");

    let piped = cli::peer(peer, &LONG).expect_code(0);
    assert!(!piped.stderr.contains("publishing"), "{}", piped.stderr);
    assert!(piped.stderr.contains("published 100 messages"), "{}", piped.stderr);
}
