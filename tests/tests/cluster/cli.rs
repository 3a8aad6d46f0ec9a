//! The programs in a shell: output, exit codes, help.

use tidings_tests::cli::{self, Background};
use tidings_tests::cluster::Cluster;
use tidings_tests::control::texts;
use tidings_tests::wait::{self, SOON};

#[test]
fn a_session_in_the_shell() {
    let cluster = Cluster::start(3, 2);
    let (ada, bob) = (&cluster.peers[0], &cluster.peers[1]);
    cli::peer(ada, &["topic", "create", "Sports"]).expect_code(0);

    let arguments = ["sub", "Sports", "--count", "4", "--json"];
    let mut reader = Background::peer(bob, &arguments, cluster.folder(), "reader");
    reader.wait_noted("subscribed to 'Sports'");
    cli::peer(ada, &["pub", "Sports", "an argument"]).expect_code(0);
    cli::peer_with_input(ada, &["pub", "Sports"], b"a line\nanother\n").expect_code(0);
    cli::peer(ada, &["pub", "Sports", "again", "--count", "1"]).expect_code(0);
    assert_eq!(reader.end(SOON), Some(0), "{}", reader.stderr());
    let lines: Vec<serde_json::Value> = String::from_utf8(reader.stdout())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(texts(&lines), ["an argument", "a line", "another", "again"]);
    assert!(lines.iter().all(|line| line["origin"] == ada.id()), "{lines:?}");
}

#[test]
fn json_on_everything_that_prints() {
    let cluster = Cluster::start(3, 2);
    let peer = &cluster.peers[0];
    cli::peer(peer, &["topic", "create", "Sports", "--json"]).expect_code(0).json_lines();
    for arguments in
        [&["status"][..], &["peers"], &["seeds"], &["topic", "list"], &["topic", "info", "Sports"]]
    {
        let people = cli::peer(peer, arguments).expect_code(0);
        assert!(!people.stdout.is_empty(), "{arguments:?} prints something");
        assert!(!people.text().contains('\u{1b}'), "no colour without a terminal");
        let programs = cli::peer(peer, &[arguments, &["--json"]].concat()).expect_code(0);
        assert!(!programs.json_lines().is_empty(), "{arguments:?} prints JSON");
    }
    let seeds = cli::peer(peer, &["seeds", "--json"]).json();
    assert!(seeds.to_string().contains(&cluster.seed_addresses()[0].to_string()), "{seeds}");

    let http = cluster.seeds[0].http_address().to_string();
    let status = cli::program("seed", &["status", "--http", &http, "--json"]).expect_code(0);
    assert!(status.json().to_string().contains(cluster.seeds[0].id()));
}

#[test]
fn exit_codes_say_what_happened() {
    let cluster = Cluster::start(1, 1);
    let peer = &cluster.peers[0];
    cli::peer(peer, &["topic", "create", "Sports"]).expect_code(0);
    cli::peer(peer, &["--no-such-flag"]).expect_code(2);
    cli::peer(peer, &["pub"]).expect_code(2);
    cli::peer(peer, &["pub", "Nowhere", "x"]).expect_code(3);
    cli::peer(peer, &["topic", "create", "Sports"]).expect_code(3);
    cli::peer(peer, &["topic", "delete", "Nowhere"]).expect_code(3);
    cli::peer(peer, &["sub", "Nowhere", "--count", "1"]).expect_code(3);
    cli::peer(peer, &["sub", "Sports", "--count", "1", "--wait", "300ms"]).expect_code(27);
    cli::program("peer", &["status", "--control", "127.0.0.1:1"]).expect_code(4);
    cli::program("seed", &["status", "--http", "127.0.0.1:1"]).expect_code(4);
    cli::program("seed", &["fly"]).expect_code(2);
}

#[test]
fn without_a_majority_of_the_seeds_the_exit_code_says_so() {
    let mut cluster = Cluster::start(3, 1);
    cluster.seeds[0].kill();
    cluster.seeds[1].kill();
    let create = || cli::peer(&cluster.peers[0], &["topic", "create", "Sports"]).code;
    wait::holds("the peer notices", SOON, || create() == Some(4));
}

#[test]
fn errors_go_to_stderr_and_name_the_topic() {
    let cluster = Cluster::start(1, 1);
    let ended = cli::peer(&cluster.peers[0], &["pub", "Nowhere", "x"]).expect_code(3);
    assert_eq!(ended.text(), "");
    assert!(ended.stderr.contains("Topic 'Nowhere' not found"), "{}", ended.stderr);
}

#[test]
fn pull_prints_what_was_kept() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("Sports");
    for number in 0..3 {
        controls[0].publish("Sports", &format!("goal {number}"));
    }
    let pull = || cli::peer(&cluster.peers[1], &["pull", "Sports", "--raw"]).expect_code(0).text();
    let mut all = String::new();
    wait::holds("all were pulled", SOON, || {
        all += &pull();
        all == "goal 0\ngoal 1\ngoal 2\n"
    });
}

#[test]
fn bytes_that_are_no_text_pass_unchanged() {
    let cluster = Cluster::start(1, 2);
    let (ada, bob) = (&cluster.peers[0], &cluster.peers[1]);
    cli::peer(ada, &["topic", "create", "bytes"]).expect_code(0);
    let arguments = ["sub", "bytes", "--count", "2", "--raw"];
    let mut reader = Background::peer(bob, &arguments, cluster.folder(), "reader");
    reader.wait_noted("subscribed to 'bytes'");
    let input = b"caf\xe9 \xff\xfe\0\x01\r\n\x80\n";
    cli::peer_with_input(ada, &["pub", "bytes"], input).expect_code(0);
    assert_eq!(reader.end(SOON), Some(0), "{}", reader.stderr());
    assert_eq!(reader.stdout(), input);
}

#[test]
fn help_is_complete() {
    for (program, commands) in [
        ("peer", &["run", "pub", "sub", "pull", "topic", "peers", "seeds", "status", "config"][..]),
        ("seed", &["run", "status", "config"]),
    ] {
        let help = cli::program(program, &["--help"]).expect_code(0).text();
        for command in commands {
            assert!(help.contains(command), "{program} --help names {command}: {help}");
            let help = cli::program(program, &[command, "--help"]).expect_code(0).text();
            assert!(help.contains("Usage"), "{program} {command} --help: {help}");
        }
        let version = cli::program(program, &["--version"]).expect_code(0).text();
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
}
