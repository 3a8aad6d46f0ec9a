//! Requests and replies between processes, and readers that outlive their peer.

use std::collections::BTreeSet;

use serde_json::json;
use tidings_tests::cli::{self, Background};
use tidings_tests::cluster::Cluster;
use tidings_tests::wait::{self, SOON};

#[test]
fn a_request_is_answered_by_the_peers_that_reply() {
    let cluster = Cluster::start(3, 4);
    let (asks, one, other) = (&cluster.peers[0], &cluster.peers[1], &cluster.peers[2]);
    cluster.controls()[3].create("who");
    let reply = ["reply", "who", "--command", "read x; echo \"$x from $TIDINGS_SEQ\""];
    let first = Background::peer(one, &reply, cluster.folder(), "first");
    let second = Background::peer(other, &["reply", "who", "me"], cluster.folder(), "second");
    first.wait_noted("subscribed to 'who'");
    second.wait_noted("subscribed to 'who'");
    let ask = ["request", "who", "hello", "--replies", "2", "--timeout", "10s", "--json"];
    let answer = cli::peer(asks, &ask).expect_code(0).json();
    let replies = answer["replies"].as_array().unwrap();
    let texts: BTreeSet<_> =
        replies.iter().map(|reply| reply["message"].as_str().unwrap()).collect();
    assert_eq!(texts, BTreeSet::from(["hello from 1\n", "me"]), "{answer}");
    let origins: BTreeSet<_> =
        replies.iter().map(|reply| reply["origin"].as_str().unwrap()).collect();
    assert_eq!(origins, BTreeSet::from([one.id(), other.id()]));

    // Nobody else sees replies, or a topic for them.
    let listed = cli::peer(&cluster.peers[3], &["topic", "list"]).expect_code(0).text();
    assert!(!listed.contains("$reply"), "{listed}");
    let topics = cluster.controls()[3].ok(&json!({"command": "list_topics", "filter": "#"}));
    let names: Vec<_> = topics["topics"].as_array().unwrap().iter().map(|t| &t["topic"]).collect();
    assert_eq!(names, [&json!("who")]);

    // The topic for the replies is there by now: a reply takes one way over one link.
    for _ in 0..5 {
        cli::peer(asks, &["request", "who", "again", "--raw"]).expect_code(0);
    }
}

#[test]
fn requests_end_with_the_exit_code_of_what_happened() {
    let cluster = Cluster::start(1, 2);
    cluster.controls()[1].create("quiet");
    let peer = &cluster.peers[0];
    cli::peer(peer, &["request", "quiet", "x", "--timeout", "300ms"]).expect_code(27);
    cli::peer(peer, &["request", "nowhere", "x"]).expect_code(3);
    cli::peer(peer, &["request", "quiet"]).expect_code(27);
    cli::program("peer", &["request", "quiet", "x", "--control", "127.0.0.1:1"]).expect_code(4);
}

#[test]
fn a_requester_that_was_killed_asks_again() {
    let mut cluster = Cluster::start(3, 3);
    cluster.controls()[2].create("who");
    let reply = ["reply", "who", "me"];
    let server = Background::peer(&cluster.peers[1], &reply, cluster.folder(), "server");
    server.wait_noted("subscribed to 'who'");
    cli::peer(&cluster.peers[0], &["request", "who", "x", "--raw"]).expect_code(0);
    cluster.peers[0].kill();
    cluster.peers[0].restart();
    cluster.wait_whole();
    let asked = cli::peer(&cluster.peers[0], &["request", "who", "x", "--raw"]).expect_code(0);
    assert_eq!(asked.text(), "me\n");
}

#[test]
fn a_reader_outlives_its_peer_and_shows_nothing_twice() {
    let mut cluster = Cluster::start(3, 4);
    let mut controls = cluster.topic("Sports");
    for publisher in [1, 3] {
        controls[publisher].publish("Sports", "before anybody read");
    }
    controls[0].pull_all("Sports", 2, SOON);
    let arguments = ["sub", "Sports", "--raw", "--count", "20"];
    let mut reader = Background::peer(&cluster.peers[0], &arguments, cluster.folder(), "reader");
    reader.wait_noted("subscribed to 'Sports'");
    for number in 0..10 {
        controls[1].publish("Sports", &format!("{number}"));
    }
    wait::holds("the first ten are read", SOON, || reader.stdout().ends_with(b"\n9\n"));
    cluster.peers[0].kill();
    cluster.peers[0].restart();
    reader.wait_noted("connected again");
    for number in 10..20 {
        controls[1].publish("Sports", &format!("{number}"));
    }
    assert_eq!(reader.end(SOON), Some(0), "{}", reader.stderr());
    let text = String::from_utf8(reader.stdout()).unwrap();
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    let all: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!((numbers.len(), all), (20, (0..20).collect()), "each once: {numbers:?}");
}
