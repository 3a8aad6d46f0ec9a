//! Who is asked to end leaves cleanly, and soon.

use std::time::Duration;

use tidings_tests::cluster::{Cluster, Setup};
use tidings_tests::node::Node;
use tidings_tests::wait::{self, SOON};

const LIMIT: Duration = Duration::from_secs(2);

#[track_caller]
fn ends_cleanly(node: &mut Node, signal: &str) {
    node.signal(signal);
    let (status, time) = node.wait_for_end();
    assert!(status.success(), "{} ended with {status} on {signal}", node.spec.name);
    assert!(time < LIMIT, "{} took {time:?}", node.spec.name);
}

#[test]
fn a_peer_that_leaves_is_not_reported_dead() {
    let mut cluster = Setup::new(3, 6).alone().start();
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    ends_cleanly(&mut cluster.peers[5], "TERM");
    ends_cleanly(&mut cluster.peers[4], "INT");

    let left: Vec<_> = cluster.peers[..4].iter().collect();
    cluster.wait_listed(&left, Duration::from_secs(3));
    controls[0].publish("Sports", "goodbye");
    for control in &mut controls[..4] {
        control.pull_all("Sports", 1, SOON);
    }
    // A suspicion would ripen within 4 s.
    wait::stays("nobody is reported dead", Duration::from_secs(5), || {
        cluster.peer_events("dead_node").is_empty()
    });
}

#[test]
fn a_seed_leaves_cleanly_and_its_peers_stay() {
    let mut cluster = Setup::new(3, 4).alone().start();
    cluster.wait_all_listed();
    ends_cleanly(&mut cluster.seeds[2], "TERM");
    cluster.seeds.pop();
    wait::stays("nobody is reported dead", Duration::from_secs(3), || {
        cluster.peer_events("dead_node").is_empty()
    });
    cluster.wait_whole();
    cluster.wait_all_listed();
}

#[test]
fn a_whole_cluster_ends_at_once() {
    let mut cluster = Setup::new(3, 8).alone().start();
    let start = std::time::Instant::now();
    let nodes = || cluster.peers.iter().chain(&cluster.seeds);
    nodes().for_each(|node| node.signal("TERM"));
    for node in cluster.peers.iter_mut().chain(&mut cluster.seeds) {
        let (status, _) = node.wait_for_end();
        assert!(status.success(), "{} ended with {status}", node.spec.name);
    }
    assert!(start.elapsed() < 2 * LIMIT, "took {:?}", start.elapsed());
    assert_eq!(cluster.peer_events("dead_node"), []);
}

#[test]
fn a_peer_ends_in_time_while_an_application_does_not_read() {
    let mut cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    control.create("flood");
    control.ok(&serde_json::json!({"command": "subscribe", "topic": "flood", "stream": true}));
    let mut publisher = cluster.peers[0].control();
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        publisher.publish("flood", &text);
    }
    ends_cleanly(&mut cluster.peers[0], "TERM");
}
