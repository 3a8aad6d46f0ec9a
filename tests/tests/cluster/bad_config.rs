//! A config file that is wrong is refused with the file, the line, the key and what is allowed.

use std::fs;

use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, Setup};

/// What is wrong, and words that the error must contain.
const BAD: [(&str, &[&str]); 16] = [
    ("[cluster]\nnmae = \"x\"\n", &["nmae", "name", ":2"]),
    ("[peers]\nlisten = \"127.0.0.1:0\"\n", &["peers", ":1"]),
    ("[peer]\nlisten = \"nowhere\"\n", &["listen", ":2"]),
    ("[peer]\nlisten = \"127.0.0.1:70000\"\n", &["listen", ":2"]),
    ("[peer]\nlisten = 7200\n", &["listen", ":2"]),
    ("[liveness]\n\ninterval = \"soon\"\n", &["interval", ":3"]),
    ("[liveness]\ninterval = \"0s\"\n", &["interval", ":2"]),
    ("[liveness]\ninterval = \"-1s\"\n", &["interval", ":2"]),
    ("[liveness]\nmisses = 0\n", &["misses", ":2"]),
    ("[liveness]\nmisses = \"three\"\n", &["misses", ":2"]),
    ("[log]\nformat = \"xml\"\n", &["format", "text", "json", ":2"]),
    ("[log]\nlevel = \"loud\"\n", &["level", "info", ":2"]),
    ("[cluster]\nname = \"\"\n", &["name", ":2"]),
    ("[[seeds]]\nhttp = \"127.0.0.1:1\"\n", &["addr", ":1"]),
    (
        "[[seeds]]\naddr = \"127.0.0.1:1\"\n[[seeds]]\naddr = \"127.0.0.1:1\"\n",
        &["addr", "127.0.0.1:1"],
    ),
    ("[cluster\n", &[":1"]),
];

#[test]
fn a_wrong_config_is_refused_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    for (text, words) in BAD {
        fs::write(&path, text).unwrap();
        let file = path.display().to_string();
        for arguments in [["run", "--config", &file], ["config", "--config", &file]] {
            let ended = cli::program("peer", &arguments);
            let stderr = &ended.stderr;
            assert!(matches!(ended.code, Some(1 | 2)), "{text:?}: {:?} {stderr}", ended.code);
            assert!(stderr.contains("wrong.toml"), "{text:?} does not name the file: {stderr}");
            for word in words {
                assert!(stderr.contains(word), "{text:?} does not say {word:?}: {stderr}");
            }
            assert!(!stderr.contains("panicked"), "{stderr}");
        }
    }
}

#[test]
fn a_missing_config_file_is_named() {
    let ended = cli::program("peer", &["run", "--config", "/nowhere/at/all.toml"]);
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
    assert!(ended.stderr.contains("/nowhere/at/all.toml"), "{}", ended.stderr);
}

#[test]
fn the_config_file_of_the_project_is_legal_and_states_the_defaults() {
    let path = tidings_tests::binaries::workspace().join("config.toml");
    let path = path.display().to_string();
    for program in ["seed", "peer"] {
        let in_force = cli::program(program, &["config", "--config", &path]).expect_code(0).text();
        assert!(in_force.contains("127.0.0.1:7101"), "{in_force}");
        assert!(in_force.contains("127.0.0.1:7200"), "{in_force}");
        // What is printed is a config file again.
        let folder = tempfile::tempdir().unwrap();
        let printed = folder.path().join("printed.toml");
        fs::write(&printed, &in_force).unwrap();
        let printed = printed.display().to_string();
        let again = cli::program(program, &["config", "--config", &printed]).expect_code(0).text();
        assert_eq!(again, in_force);
    }
}

#[test]
fn environment_and_flags_override_the_file() {
    let cluster = Setup::new(1, 0).launch();
    let path = cluster.config().display().to_string();
    let mut command = tidings_tests::node::clean(&tidings_tests::binaries::folder().join("peer"));
    command.args(["config", "--config", &path]).env("TIDINGS_LIVENESS_INTERVAL", "7s");
    let text = cli::run(&mut command, b"").expect_code(0).text();
    assert!(text.contains("interval = \"7s\""), "{text}");
    command.env("TIDINGS_LIVENESS_INTERVAL", "never");
    let ended = cli::run(&mut command, b"");
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
    assert!(ended.stderr.contains("TIDINGS_LIVENESS_INTERVAL"), "{}", ended.stderr);
}

#[test]
fn a_name_of_300_bytes_is_refused() {
    let mut cluster = Cluster::start(1, 1);
    let mut spec = cluster.peer_spec();
    spec.name = "n".repeat(300);
    let ended = cli::run(&mut spec.command(), b"");
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
    assert!(ended.stderr.contains("name") && ended.stderr.contains("64"), "{}", ended.stderr);
}
