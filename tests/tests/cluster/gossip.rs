//! A publication reaches every subscriber once, in order, and stands in its log.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tidings_tests::cluster::Cluster;
use tidings_tests::control::texts;
use tidings_tests::wait::{self, SOON};

#[test]
fn each_peer_logs_each_message_of_the_others_once() {
    const EACH: u64 = 5;
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("Sports");
    for number in 0..EACH {
        for (i, control) in controls.iter_mut().enumerate() {
            control.publish("Sports", &format!("message {number} of peer {i}"));
        }
    }
    controls.iter_mut().for_each(|c| drop(c.pull_all("Sports", 3 * EACH as usize, SOON)));

    let addresses: Vec<_> = cluster.peers.iter().map(|peer| peer.listen().to_string()).collect();
    for (i, peer) in cluster.peers.iter().enumerate() {
        let logged = || {
            let mut counts = BTreeMap::new();
            for line in peer.events("gossip") {
                let gossip = line.gossip();
                assert_eq!(line.field("topic"), Some("Sports"));
                let late_us = line.time_us - gossip.published_us;
                assert!((0..60_000_000).contains(&late_us), "{line:?}");
                *counts.entry((gossip.origin, gossip.seq)).or_insert(0) += 1;
            }
            counts
        };
        let others: Vec<_> = (0..3).filter(|&other| other != i).collect();
        wait::holds("the messages of both others are logged", SOON, || {
            others.iter().all(|&other| {
                (1..=EACH).all(|seq| logged().contains_key(&(addresses[other].clone(), seq)))
            })
        });
        let counts = logged();
        let of_others = counts.iter().filter(|((origin, _), _)| *origin != addresses[i]);
        assert!(of_others.clone().all(|(_, &count)| count == 1), "{counts:?}");
        assert_eq!(of_others.count() as u64, 2 * EACH, "{counts:?}");
    }
}

#[test]
fn subscribers_receive_at_once_whoever_publishes() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("Sports");
    controls[1].subscribe("Sports");
    controls[2].subscribe("Sports");

    let answer = controls[0].publish("Sports", "from the host");
    assert_eq!(answer["seq"], 1, "{answer}");
    for control in &mut controls[1..] {
        let messages = control.pull_all("Sports", 1, SOON);
        assert_eq!(texts(&messages), ["from the host"]);
        assert_eq!(messages[0]["origin"], cluster.peers[0].id());
        assert_eq!((&messages[0]["topic"], &messages[0]["seq"]), (&json!("Sports"), &json!(1)));
        let published = messages[0]["published_at"].as_str().unwrap();
        assert!(published.len() == 27 && published.ends_with('Z'), "{published}");
    }

    controls[2].publish("Sports", "from a subscriber");
    for control in &mut controls[1..] {
        let messages = control.pull_all("Sports", 1, SOON);
        assert_eq!(texts(&messages), ["from a subscriber"], "its own publications included");
        assert_eq!(messages[0]["origin"], cluster.peers[2].id());
    }
}

#[test]
fn a_peer_that_did_not_subscribe_receives_nothing() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    controls[0].create("Sports");
    controls[1].subscribe("Sports");
    controls[0].publish("Sports", "news");
    controls[1].pull_all("Sports", 1, SOON);
    assert!(cluster.peers[2].events("gossip").is_empty());
}

#[test]
fn equal_texts_are_different_messages() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.topic("ticks");
    for _ in 0..5 {
        controls[0].publish("ticks", "tick");
    }
    let messages = controls[1].pull_all("ticks", 5, SOON);
    let numbers: Vec<_> = messages.iter().map(|m| m["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn messages_of_one_publisher_arrive_in_order() {
    const COUNT: usize = 500;
    let cluster = Cluster::start(3, 6);
    let mut controls = cluster.topic("numbers");
    for number in 0..COUNT {
        let publisher = number % 2;
        controls[publisher].publish("numbers", &number.to_string());
    }
    for control in &mut controls {
        let messages = control.pull_all("numbers", COUNT, SOON);
        for publisher in &cluster.peers[..2] {
            let of = messages.iter().filter(|m| m["origin"] == publisher.id());
            let numbers: Vec<_> = of.map(|m| m["seq"].as_u64().unwrap() as usize).collect();
            assert_eq!(numbers, (1..=COUNT / 2).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_stream_of_events_shows_what_is_published() {
    let cluster = Cluster::start(1, 2);
    let mut controls = cluster.controls();
    controls[0].create("Sports");
    controls[1].ok(&json!({"command": "subscribe", "topic": "Sports", "stream": true, "id": 7}));
    for number in 0..3 {
        controls[0].publish("Sports", &format!("goal {number}"));
    }
    for number in 0..3 {
        let event = controls[1].event().unwrap();
        assert_eq!(event["event"], "message");
        assert_eq!(event["message"], format!("goal {number}"));
        assert_eq!(event["origin"], cluster.peers[0].id());
        assert_eq!(event["seq"], number + 1);
    }
}

#[test]
fn a_stopped_subscriber_delays_nobody_else() {
    let cluster = Cluster::start(3, 10);
    let mut controls = cluster.topic("Sports");
    cluster.peers[9].signal("STOP");
    let start = std::time::Instant::now();
    controls[0].publish("Sports", "all but one");
    for control in &mut controls[1..9] {
        control.pull_all("Sports", 1, SOON);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
    cluster.peers[9].signal("CONT");
    controls[9].pull_all("Sports", 1, SOON);
}
