//! A subscription may begin in the past, and goes over to what is live without a hole.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::Cluster;
use tidings_tests::control::{Control, texts};
use tidings_tests::wait::{self, SOON};

/// More than the step of the clock that messages are stamped with.
const SHORTLY: Duration = Duration::from_millis(100);

/// The texts of all messages from some beginning on, in a session of its own.
fn from(cluster: &Cluster, peer: usize, start: &Value, count: usize) -> Vec<String> {
    let mut control = cluster.peers[peer].control();
    control.ok(&json!({"command": "connect", "name": format!("from {start}")}));
    control.ok(&json!({"command": "subscribe", "topic": "diary", "from": start}));
    let messages = control.pull_all("diary", count, SOON);
    assert_eq!(control.pull("diary", 300).len(), 0, "no more than that");
    control.ok(&json!({"command": "disconnect"}));
    texts(&messages).into_iter().map(str::to_owned).collect()
}

fn days(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|day| format!("day {day}")).collect()
}

#[test]
fn a_subscription_begins_where_it_is_told_to() {
    let mut cluster = Cluster::start(3, 3);
    let mut writer = cluster.peers[0].control();
    writer.create("diary");
    let mut reader = cluster.peers[1].control();
    reader.subscribe("diary");
    days(0..5).iter().for_each(|day| drop(writer.publish("diary", day)));
    let half = reader.pull_all("diary", 5, SOON);
    // A time after the fifth and before the sixth: the nodes of one machine share its clock.
    let between = shortly_after(half[4]["published_at"].as_str().unwrap());
    wait::holds("that time is over", SOON, || chrono::Utc::now() > between + SHORTLY);
    days(5..10).iter().for_each(|day| drop(writer.publish("diary", day)));
    reader.pull_all("diary", 5, SOON);
    // At a peer that receives the topic already, and at one that does not.
    let late = cluster.add_peer();
    cluster.wait_whole();
    for peer in [1, 2, late] {
        assert_eq!(from(&cluster, peer, &json!("new"), 0), days(0..0));
        assert_eq!(from(&cluster, peer, &json!("all"), 10), days(0..10), "peer {peer}");
        assert_eq!(from(&cluster, peer, &json!("last:3"), 3), days(7..10));
        assert_eq!(from(&cluster, peer, &json!("last:0"), 0), days(0..0));
        let hour = json!({"since": "1h"});
        assert_eq!(from(&cluster, peer, &hour, 10), days(0..10));
        let origin = json!({"origin": cluster.peers[0].id(), "seq": 9});
        assert_eq!(from(&cluster, peer, &origin, 2), days(8..10));
    }
    let since = json!({"since": between.to_rfc3339()});
    assert_eq!(from(&cluster, 2, &since, 5), days(5..10));
    let mut control = cluster.peers[1].control();
    let wrong = json!({"command": "subscribe", "topic": "diary", "from": {"since": "yesterday"}});
    let (code, message) = control.refused(&wrong);
    assert_eq!(code, "bad_request");
    assert!(message.contains("last:N"), "{message}");
}

/// The time so long after one in RFC 3339.
fn shortly_after(time: &str) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::parse_from_rfc3339(time).unwrap().to_utc() + SHORTLY
}

#[test]
fn history_and_live_meet_without_hole_or_duplicate() {
    let cluster = Cluster::start(3, 4);
    let mut writer = cluster.peers[0].control();
    writer.create("diary");
    let mut reader = cluster.peers[1].control();
    reader.subscribe("diary");
    days(0..200).iter().for_each(|day| drop(writer.publish("diary", day)));
    let writing = std::thread::spawn(move || {
        days(200..1_200).iter().for_each(|day| drop(writer.publish("diary", day)));
    });
    let mut joined: Vec<Control> = Vec::new();
    for round in 0..8 {
        let mut control = cluster.peers[1 + round % 3].control();
        control.ok(&json!({"command": "connect", "name": format!("round {round}")}));
        let stream = round % 2 == 0;
        let request = json!({
            "command": "subscribe", "topic": "diary", "from": "all", "stream": stream
        });
        control.ok(&request);
        joined.push(control);
    }
    writing.join().unwrap();
    for (round, control) in joined.iter_mut().enumerate() {
        let messages = match round % 2 {
            0 => (0..1_200).map(|_| control.event().unwrap()).collect(),
            _ => control.pull_all("diary", 1_200, SOON),
        };
        assert_eq!(texts(&messages), days(0..1_200), "round {round}");
    }
}
