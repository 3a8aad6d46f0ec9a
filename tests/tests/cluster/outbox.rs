//! What a peer accepted while no seed could be told of it is kept by the peer.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, joined, listing};
use tidings_tests::control::{Control, texts};
use tidings_tests::node::Node;
use tidings_tests::wait;

/// Peers notice that seeds are gone or back, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Whether a seed lists the peer, with exactly these topics.
fn listed_with(seed: &Node, peer: &str, topics: &[&str]) -> bool {
    listing(seed, peer).is_some_and(|item| {
        let found = item["topics"].as_array().expect("a list of topics");
        let mut found: Vec<_> = found.iter().filter_map(Value::as_str).collect();
        found.retain(|topic| !topic.starts_with('$'));
        found.sort_unstable();
        found == topics
    })
}

fn subscribe(control: &mut Control, key: &str, name: &str) {
    control.ok(&json!({"command": "subscribe", key: name}));
}

#[test]
fn what_was_accepted_without_seeds_outlives_the_peer_and_reaches_them() {
    let mut cluster = Cluster::start(3, 2);
    let mut host = cluster.peers[0].control();
    ["news", "old", "rain/north"].iter().for_each(|topic| host.create(topic));
    let mut control = cluster.peers[1].control();
    for topic in ["news", "rain/north"] {
        control.ok(&json!({"command": "topic_info", "topic": topic}));
    }
    control.subscribe("old");
    let id = cluster.peers[1].id().to_owned();
    wait::holds("every seed knows that subscription", LIMIT, || {
        cluster.seeds.iter().all(|seed| listed_with(seed, &id, &["old"]))
    });

    cluster.seeds.iter_mut().for_each(Node::kill);
    wait::holds("the peers notice", LIMIT, || !joined(&mut control) && !joined(&mut host));
    subscribe(&mut control, "topic", "news");
    subscribe(&mut control, "filter", "rain/#");
    control.ok(&json!({"command": "unsubscribe", "topic": "old"}));
    let refused = json!({"command": "create_topic", "topic": "refused"});
    assert_eq!(control.refused(&refused).0, "no_quorum", "that is not kept for later");

    cluster.peers[1].kill();
    cluster.peers[1].restart();
    let mut control = cluster.peers[1].control();
    cluster.seeds.iter_mut().for_each(Node::restart);
    wait::holds("every seed knows what was wanted", LIMIT, || {
        cluster.seeds.iter().all(|seed| listed_with(seed, &id, &["news", "rain/north"]))
    });
    wait::holds("the host has joined again", LIMIT, || joined(&mut host));
    for topic in ["news", "rain/north"] {
        host.publish(topic, "to who is subscribed");
        assert_eq!(texts(&control.pull_all(topic, 1, LIMIT)), ["to who is subscribed"]);
    }
    let info = json!({"command": "topic_info", "topic": "refused"});
    assert_eq!(control.refused(&info).0, "topic_not_found");
}
