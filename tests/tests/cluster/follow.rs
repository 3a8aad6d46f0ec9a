//! `peer sub` outlives its peer and its connection: everything comes once, and what nobody
//! retains is named.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cli::{self, Background};
use tidings_tests::cluster::Cluster;
use tidings_tests::control::Control;
use tidings_tests::proxy::Proxy;
use tidings_tests::wait::{self, SOON};

/// A peer that is started again on a busy machine has joined and caught up within this.
const BACK: Duration = Duration::from_secs(60);

fn printed(reader: &Background) -> Vec<Value> {
    let text = String::from_utf8(reader.stdout()).unwrap();
    let whole = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    whole.collect()
}

fn wait_printed(reader: &Background, count: usize) {
    wait::passes(&format!("{count} messages are printed"), BACK, || {
        let printed = printed(reader).iter().filter(|event| event["event"] == "message").count();
        if printed >= count { Ok(()) } else { Err(format!("{printed}; {}", reader.stderr())) }
    });
}

/// The numbers of each publisher, those of gaps as negative ones.
fn numbers(events: &[Value]) -> BTreeMap<String, Vec<i64>> {
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in events {
        let of = numbers.entry(event["origin"].as_str().unwrap().to_owned()).or_default();
        match event["event"].as_str() {
            Some("message") => of.push(event["seq"].as_i64().unwrap()),
            Some("gap") => {
                let (from, to) = (event["from"].as_i64().unwrap(), event["to"].as_i64().unwrap());
                of.extend((from..=to).map(|number| -number));
            }
            other => panic!("{other:?}: {event}"),
        }
    }
    numbers
}

fn publish(publishers: &mut [Control], count: usize) {
    for number in 0..count {
        for publisher in publishers.iter_mut() {
            publisher.publish("Sports", &number.to_string());
        }
    }
}

#[test]
fn sub_goes_on_where_it_was_when_its_peer_was_killed() {
    let mut cluster = Cluster::start(3, 4);
    let mut controls = cluster.topic("Sports");
    let reader = Background::peer(
        &cluster.peers[3],
        &["sub", "Sports", "--json"],
        cluster.folder(),
        "reader",
    );
    reader.wait_noted("subscribed to 'Sports'");
    publish(&mut controls[..2], 20);
    wait_printed(&reader, 40);

    cluster.peers[3].kill();
    // The third publishes for the first time.
    publish(&mut controls[..3], 20);
    cluster.peers[3].restart();
    wait_printed(&reader, 100);
    publish(&mut controls[..3], 5);
    wait_printed(&reader, 115);
    let numbers = numbers(&printed(&reader));
    let expected = |count: i64| (1..=count).collect::<Vec<_>>();
    for (peer, count) in [(0, 45), (1, 45), (2, 25)] {
        assert_eq!(numbers[cluster.peers[peer].id()], expected(count), "of peer {peer}");
    }
    assert!(reader.stderr().contains("connected again"), "{}", reader.stderr());
}

#[test]
fn sub_goes_on_where_it_was_when_its_connection_was_lost() {
    let cluster = Cluster::start(3, 3);
    let mut controls = cluster.topic("Sports");
    let proxy = Proxy::start(cluster.peers[2].control_address());
    let address = proxy.address().to_string();
    let arguments = ["sub", "Sports", "--json", "--control", &address];
    let reader = Background::peer(&cluster.peers[2], &arguments, cluster.folder(), "reader");
    reader.wait_noted("subscribed to 'Sports'");
    publish(&mut controls[..2], 10);
    wait_printed(&reader, 20);
    for round in 1..=3 {
        proxy.block(true);
        publish(&mut controls[..2], 10);
        proxy.block(false);
        wait_printed(&reader, 20 + 20 * round);
    }
    for (_, numbers) in numbers(&printed(&reader)) {
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    }
}

#[test]
fn sub_names_what_nobody_retains_any_more() {
    let mut cluster = Cluster::start(3, 3);
    let mut controls = cluster.controls();
    let retention = json!({"bytes": 3_000});
    let request = json!({"command": "create_topic", "topic": "Sports", "retention": retention});
    controls[0].ok(&request);
    controls.iter_mut().take(2).for_each(|control| control.subscribe("Sports"));
    let reader = Background::peer(
        &cluster.peers[2],
        &["sub", "Sports", "--json"],
        cluster.folder(),
        "reader",
    );
    reader.wait_noted("subscribed to 'Sports'");
    publish(&mut controls[..1], 10);
    wait_printed(&reader, 10);
    cluster.peers[2].kill();
    publish(&mut controls[..1], 50);
    cluster.peers[2].restart();
    reader.wait_noted("connected again");
    publish(&mut controls[..1], 1);
    wait::holds("the last message is printed", BACK, || {
        printed(&reader).iter().any(|event| event["seq"] == 61)
    });
    let numbers = numbers(&printed(&reader));
    let of = &numbers[cluster.peers[0].id()];
    let all: Vec<_> = of.iter().map(|number| number.abs()).collect();
    assert_eq!(all, (1..=61).collect::<Vec<_>>(), "each comes once or is missing: {of:?}");
    let missing = of.iter().filter(|number| **number < 0).count();
    assert!((1..50).contains(&missing), "some are retained, not all: {of:?}");
    assert!(reader.stderr().contains("are missing"), "{}", reader.stderr());
}

#[test]
fn a_session_waits_for_the_next_sub() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.topic("Sports");
    let arguments = ["sub", "Sports", "--session", "desk", "--raw", "--count", "3"];
    let mut first = Background::peer(&cluster.peers[1], &arguments, cluster.folder(), "first");
    first.wait_noted("subscribed to 'Sports'");
    for text in ["a", "b", "c", "d", "e"] {
        controls[0].publish("Sports", text);
    }
    assert_eq!(first.end(SOON), Some(0), "{}", first.stderr());
    controls[0].publish("Sports", "f");
    let second = cli::peer(&cluster.peers[1], &arguments).expect_code(0);
    assert_eq!((first.stdout(), second.text()), (b"a\nb\nc\n".to_vec(), "d\ne\nf\n".to_owned()));
}

#[test]
fn a_session_keeps_only_the_newest_when_it_is_told_to() {
    let cluster = Cluster::start(3, 2);
    let mut controls = cluster.topic("Sports");
    let arguments = [
        "sub",
        "Sports",
        "--session",
        "desk",
        "--json",
        "--wait",
        "1s",
        "--policy",
        "drop-oldest",
        "--buffer",
        "3",
    ];
    cli::peer(&cluster.peers[1], &arguments).expect_code(27);
    for number in 1..=10 {
        controls[0].publish("Sports", &number.to_string());
    }
    controls[1].pull_all("Sports", 10, SOON);
    let second = cli::peer(&cluster.peers[1], &arguments).expect_code(27);
    let events = second.json_lines();
    let of = &numbers(&events)[cluster.peers[0].id()];
    assert_eq!(*of, [-1, -2, -3, -4, -5, -6, -7, 8, 9, 10]);
    assert_eq!(events[0]["reason"], "slow_consumer", "{}", events[0]);
    assert!(second.stderr.contains("7 messages are missing"), "{}", second.stderr);
}

#[test]
fn sub_keeps_the_log_of_a_durable_topic_and_of_what_a_filter_selects() {
    let mut cluster = Cluster::start(3, 2);
    let mut host = cluster.peers[0].control();
    for topic in ["ledger/a", "ledger/b"] {
        host.ok(&json!({"command": "create_topic", "topic": topic, "durable": true}));
    }
    host.create("ledger/live");
    host.create("gossip");
    let arguments = ["sub", "ledger/a", "ledger/#", "--durable", "--json", "--count", "6"];
    let mut keeper = Background::peer(&cluster.peers[1], &arguments, cluster.folder(), "keeper");
    keeper.wait_noted("subscribed to 'ledger/#'");
    for text in ["one", "two"] {
        for topic in ["ledger/a", "ledger/b", "ledger/live"] {
            host.publish(topic, text);
        }
    }
    assert_eq!(keeper.end(BACK), Some(0), "{}", keeper.stderr());
    let refused = cli::peer(&cluster.peers[1], &["sub", "gossip", "--durable"]).expect_code(2);
    assert!(refused.stderr.contains("not durable"), "{}", refused.stderr);

    // The host and its log are gone; what the other peer kept is there after its restart.
    cluster.peers.iter_mut().for_each(|peer| peer.kill());
    cluster.peers.remove(0);
    cluster.peers[0].restart();
    for topic in ["ledger/a", "ledger/b"] {
        let kept = wait::until("the topic is found", BACK, || {
            let arguments = ["sub", topic, "--all", "--raw", "--count", "2"];
            let ended = cli::peer(&cluster.peers[0], &arguments);
            (ended.code == Some(0)).then(|| ended.text())
        });
        assert_eq!(kept, "one\ntwo\n", "{topic}");
    }
}
