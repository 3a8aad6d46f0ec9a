//! The log of a durable topic outlives everybody.

use serde_json::json;
use tidings_tests::cluster::{Cluster, joined};
use tidings_tests::control::texts;
use tidings_tests::wait::{self, SOON};

#[test]
fn a_durable_topic_has_its_history_after_everybody_was_killed() {
    let mut cluster = Cluster::start(3, 3);
    let mut host = cluster.peers[0].control();
    host.ok(&json!({"command": "create_topic", "topic": "ledger", "durable": true}));
    let mut keeper = cluster.peers[1].control();
    keeper.ok(&json!({"command": "subscribe", "topic": "ledger", "durable": true}));
    let mut writer = cluster.peers[2].control();
    let entries: Vec<_> = (0..50).map(|n| format!("entry {n}")).collect();
    entries.iter().for_each(|entry| drop(writer.publish("ledger", entry)));
    keeper.pull_all("ledger", 50, SOON);
    wait::holds("the host has all of it", SOON, || {
        let status = host.ok(&json!({"command": "status"}));
        let streams = status["streams"].as_array().unwrap().iter();
        streams.filter(|s| s["topic"] == "ledger").any(|s| s["seq"] == 50 || s["high"] == 50)
    });
    wait::pause(std::time::Duration::from_millis(100));

    cluster.peers.iter_mut().chain(&mut cluster.seeds).for_each(|node| node.kill());
    cluster.seeds.iter_mut().for_each(|seed| seed.restart());
    // The writer stays away: what it wrote is in the logs of the others.
    for peer in [0, 1] {
        cluster.peers[peer].restart();
    }
    cluster.peers.remove(2);
    let newcomer = cluster.add_peer();
    wait::holds("the newcomer has joined", SOON, || joined(&mut cluster.peers[newcomer].control()));
    let mut reader = cluster.peers[newcomer].control();
    let request = json!({"command": "subscribe", "topic": "ledger", "from": "all"});
    wait::holds("the host has told the seeds of the topic again", SOON, || {
        reader.ask(&request)["status"] == "ok"
    });
    assert_eq!(texts(&reader.pull_all("ledger", 50, SOON)), entries);
    let mut keeper = cluster.peers[1].control();
    assert_eq!(keeper.pull("ledger", 3_000).len(), 0, "it had read all of it");

    let mut host = cluster.peers[0].control();
    host.publish("ledger", "entry 50");
    assert_eq!(texts(&keeper.pull_all("ledger", 1, SOON)), ["entry 50"]);
    assert_eq!(texts(&reader.pull_all("ledger", 1, SOON)), ["entry 50"]);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let cluster = Cluster::start(1, 1);
    let mut control = cluster.peers[0].control();
    control.create("gossip");
    let request = json!({"command": "subscribe", "topic": "gossip", "durable": true});
    let (code, message) = control.refused(&request);
    assert_eq!(code, "bad_request");
    assert!(message.contains("not durable"), "{message}");
    let request = json!({"command": "create_topic", "topic": "x", "retention": {"bytes": 0}});
    assert_eq!(control.refused(&request).0, "bad_request");
}
