//! The message that a topic retains: whoever subscribes gets it first, until it is taken away.

use serde_json::{Value, json};
use tidings_tests::cli;
use tidings_tests::cluster::{Cluster, joined};
use tidings_tests::control::{Control, texts};
use tidings_tests::wait::{self, SOON};

fn retain(control: &mut Control, topic: &str, message: &str) {
    let request = json!({"command": "publish", "topic": topic, "message": message, "retain": true});
    control.ok(&request);
}

/// Waits until a peer has the message that the topic retains.
fn wait_retains(control: &mut Control, topic: &str) {
    wait::holds("it has what the topic retains", SOON, || {
        let status = control.ok(&json!({"command": "status"}));
        let topics = status["topics"].as_array().unwrap();
        topics.iter().any(|local| local["topic"] == topic && local["retains"] == true)
    });
}

fn marks(messages: &[Value]) -> Vec<bool> {
    messages.iter().map(|message| message["retained"] == true).collect()
}

#[test]
fn who_subscribes_late_gets_what_the_topic_retains_though_its_publisher_is_gone() {
    let mut cluster = Cluster::start(3, 4);
    let mut controls = cluster.controls();
    controls[0].create("state");
    retain(&mut controls[1], "state", "off");
    retain(&mut controls[1], "state", "on");
    controls[1].publish("state", "noise");
    // Nobody subscribes: the host keeps it.
    wait_retains(&mut controls[0], "state");
    cluster.peers[1].kill();

    controls[2].subscribe("state");
    let first = controls[2].pull_all("state", 1, SOON);
    assert_eq!((texts(&first), marks(&first)), (vec!["on"], vec![true]));
    controls[0].publish("state", "live");
    let next = controls[2].pull_all("state", 1, SOON);
    assert_eq!((texts(&next), marks(&next)), (vec!["live"], vec![false]));
    // The same session again: it has got it.
    controls[2].subscribe("state");
    assert_eq!(texts(&controls[2].pull("state", 500)), [""; 0]);
    // Another session of the same peer, and a filter.
    let mut other = cluster.peers[2].control();
    other.ok(&json!({"command": "connect", "name": "other"}));
    other.ok(&json!({"command": "subscribe", "filter": "#"}));
    let first = other.pull_all("#", 1, SOON);
    assert_eq!((texts(&first), marks(&first)), (vec!["on"], vec![true]));

    // A newer one takes its place, an empty one takes it away.
    retain(&mut controls[3], "state", "off again");
    assert_eq!(texts(&controls[2].pull_all("state", 1, SOON)), ["off again"]);
    let ended = cli::peer(&cluster.peers[3], &["sub", "state", "--count", "1", "--json"]);
    let printed = ended.expect_code(0).json_lines();
    assert_eq!((texts(&printed), marks(&printed)), (vec!["off again"], vec![true]));
    cli::peer(&cluster.peers[3], &["pub", "state", "", "--retain"]).expect_code(0);
    assert_eq!(texts(&controls[2].pull_all("state", 1, SOON)), [""]);
    let mut late = cluster.peers[0].control();
    late.ok(&json!({"command": "connect", "name": "late"}));
    late.subscribe("state");
    assert_eq!(texts(&late.pull("state", 1_000)), [""; 0]);
}

#[test]
fn who_got_it_live_does_not_get_it_again() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("state");
    let mut streaming = cluster.peers[1].control();
    streaming.ok(&json!({"command": "subscribe", "topic": "state", "stream": true}));
    retain(&mut controls[0], "state", "on");
    let event = streaming.event().unwrap();
    assert_eq!((&event["message"], event.get("retained")), (&json!("on"), None));
    // While others subscribe to the same topic of the same peer.
    for _ in 0..3 {
        let mut late = cluster.peers[1].control();
        late.ok(&json!({"command": "subscribe", "topic": "state", "stream": true}));
        assert_eq!(late.event().unwrap()["retained"], true);
    }
    controls[0].publish("state", "next");
    assert_eq!(streaming.event().unwrap()["message"], "next");
    assert_eq!(texts(&controls[1].pull_all("state", 2, SOON)), ["on", "next"]);
    // With its history it comes as a part of that, once.
    let mut late = cluster.peers[2].control();
    let request = json!({"command": "subscribe", "topic": "state", "stream": true, "from": "all"});
    late.ok(&request);
    let events: Vec<Value> = (0..2).map(|_| late.event().unwrap()).collect();
    assert_eq!(texts(&events), ["on", "next"]);
}

#[test]
fn a_durable_topic_retains_its_message_after_everybody_was_killed() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    let retention = json!({"bytes": 2_000});
    let create = json!({
        "command": "create_topic", "topic": "state", "durable": true, "retention": retention
    });
    controls[0].ok(&create);
    retain(&mut controls[1], "state", "on");
    for number in 0..30 {
        controls[1].publish("state", &format!("noise {number}"));
    }
    wait::holds("the host has all of it", SOON, || {
        let status = controls[0].ok(&json!({"command": "status"}));
        let streams = status["streams"].as_array().unwrap().iter();
        streams.filter(|s| s["topic"] == "state").any(|s| s["seq"] == 31 || s["high"] == 31)
    });
    wait::pause(std::time::Duration::from_millis(100));
    cluster.peers.iter_mut().chain(&mut cluster.seeds).for_each(|node| node.kill());
    cluster.seeds.iter_mut().for_each(|seed| seed.restart());
    cluster.peers[0].restart();
    cluster.peers[2].restart();
    wait::holds("the reader has joined", SOON, || joined(&mut cluster.peers[2].control()));
    let mut reader = cluster.peers[2].control();
    wait::holds("the host has told the seeds of the topic again", SOON, || {
        reader.ask(&json!({"command": "subscribe", "topic": "state"}))["status"] == "ok"
    });
    let first = reader.pull_all("state", 1, SOON);
    assert_eq!((texts(&first), marks(&first)), (vec!["on"], vec![true]));
    assert_eq!(texts(&reader.pull("state", 1_000)), [""; 0]);
}
