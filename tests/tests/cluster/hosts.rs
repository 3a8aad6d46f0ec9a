//! Who a topic belongs to, and that nobody is told otherwise: races, deletions under load, hosts
//! that go away.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, REJOIN, joined};
use tidings_tests::wait::{self, SOON};

/// What each publisher has published at least before the topic goes.
const PUBLISHED_MIN: usize = 20;

/// Twenty publishers and as many subscribers share the processors of this machine.
const BUSY: Duration = Duration::from_secs(30);

/// No cache is stale for longer than this.
const STALE_MAX: Duration = Duration::from_secs(2);

fn command(command: &str, topic: &str) -> Value {
    json!({"command": command, "topic": topic, "message": "text"})
}

#[test]
fn of_peers_that_create_a_topic_at_once_one_wins_and_the_others_learn_who() {
    let cluster = Cluster::start(5, 6);
    for round in 0..10 {
        let topic = format!("race/{round}");
        let answers = cluster.all_at_once(&command("create_topic", &topic));
        let won = |answer: &&Value| answer["status"] == "ok";
        assert_eq!(answers.iter().filter(won).count(), 1, "{answers:?}");
        let winner = answers.iter().position(|answer| won(&answer)).unwrap();
        let host = cluster.peers[winner].id();
        for answer in answers.iter().filter(|answer| !won(answer)) {
            assert_eq!(answer["code"], "topic_exists", "{answer}");
            assert!(answer["message"].as_str().unwrap().contains(host), "{answer}");
        }
        for control in &mut cluster.controls() {
            assert_eq!(control.ok(&command("topic_info", &topic))["host"], host);
        }
    }
}

#[test]
fn a_topic_is_deleted_while_twenty_peers_publish_to_it() {
    let cluster = Cluster::start(3, 21);
    let mut controls = cluster.topic("busy");
    let mut streaming = cluster.peers[20].control();
    streaming.ok(&json!({"command": "subscribe", "topic": "busy", "stream": true}));
    let stop = AtomicBool::new(false);
    let published_enough = AtomicUsize::new(0);
    // A check that fails leaves nobody behind who publishes for ever.
    let end = Instant::now() + 2 * BUSY;
    let deleted = thread::scope(|scope| {
        let publishers: Vec<_> = cluster.peers[1..]
            .iter()
            .map(|peer| {
                let (stop, published_enough) = (&stop, &published_enough);
                scope.spawn(move || {
                    let mut control = peer.control();
                    let mut refused_since = None;
                    let mut accepted = Vec::new();
                    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
                        // An answer may be long in coming where all are busy.
                        let asked = Instant::now();
                        let answer = control.ask(&command("publish", "busy"));
                        if answer["status"] == "ok" {
                            accepted.push(asked);
                            if accepted.len() == PUBLISHED_MIN {
                                published_enough.fetch_add(1, Ordering::Relaxed);
                            }
                            refused_since = None;
                        } else {
                            assert_eq!(answer["code"], "topic_not_found", "{answer}");
                            refused_since.get_or_insert_with(Instant::now);
                        }
                        wait::pause(Duration::from_millis(5));
                    }
                    (accepted, refused_since)
                })
            })
            .collect();
        wait::holds("all publish", BUSY, || {
            published_enough.load(Ordering::Relaxed) == publishers.len()
        });
        controls[0].ok(&command("delete_topic", "busy"));
        let deleted = Instant::now();
        wait::pause(STALE_MAX + Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        for publisher in publishers {
            let (accepted, refused_since) = publisher.join().unwrap();
            let last = accepted.iter().max().unwrap();
            assert!(last.saturating_duration_since(deleted) < STALE_MAX, "stale for too long");
            assert!(refused_since.is_some(), "every publication is refused in the end");
        }
        deleted
    });
    // Thousands may come before it: reading waits for the next, and for no longer than it may.
    let mut last = streaming.event().unwrap();
    while last["event"] == "message" {
        last = streaming.event().unwrap();
    }
    assert_eq!(last["event"], "topic_deleted");
    // Nothing is delivered after that: the next line is the answer to a ping.
    streaming.send(b"{\"command\":\"ping\"}\n").unwrap();
    let next = streaming.line().unwrap().unwrap();
    assert_eq!(next["pong"], true, "{next}");
    assert!(deleted.elapsed() < Duration::from_secs(60));
    for control in &mut controls {
        assert_eq!(control.refused(&command("subscribe", "busy")).0, "topic_not_found");
    }
}

#[test]
fn a_topic_says_where_its_host_is_and_keeps_it_over_a_restart() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("news");
    controls[0].publish("news", "one");
    controls[1].pull_all("news", 1, SOON);
    let info = controls[1].ok(&command("topic_info", "news"));
    let address = cluster.peers[0].listen().to_string();
    assert_eq!((&info["state"], &info["host_addr"]), (&json!("hosted"), &json!(address)));
    assert_eq!((&info["retained_messages"], &info["subscribed"]), (&json!(1), &json!(true)));
    cluster.peers[0].kill();
    wait::holds("the host is away", Duration::from_secs(20), || {
        controls[1].ok(&command("topic_info", "news"))["state"] == "host_away"
    });
    // Gossip goes on, and nobody takes it over so soon.
    controls[1].publish("news", "two");
    controls[2].pull_all("news", 2, SOON);
    let (code, _) = controls[2].refused(&command("create_topic", "news"));
    assert_eq!(code, "topic_exists");
    cluster.peers[0].restart();
    let mut host = cluster.peers[0].control();
    wait::holds("the host has joined again", REJOIN, || joined(&mut host));
    wait::holds("the host is back", Duration::from_secs(20), || {
        controls[1].ok(&command("topic_info", "news"))["state"] == "hosted"
    });
    host.ok(&command("delete_topic", "news"));
    wait::holds("it is gone", STALE_MAX, || {
        controls[2].ask(&command("publish", "news"))["code"] == "topic_not_found"
    });
}
