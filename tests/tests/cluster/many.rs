//! Sixty-four peers: little is sent twice, and what dies with a third of them is repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidings_tests::cluster::Cluster;
use tidings_tests::control::Control;
use tidings_tests::latency::steadily;
use tidings_tests::log::{self, LogLine};
use tidings_tests::node::Node;
use tidings_tests::status::Status;
use tidings_tests::wait;

const PEERS: usize = 64;
const PUBLISHERS: usize = 20;
/// A message each of this, from the publishers in turn: what 64 debug builds carry on two busy
/// cores without falling behind.
const STEP: Duration = Duration::from_millis(40);
/// Messages of each publisher until its trees are warm, then those that are counted.
const WARM: u64 = 10;
const COUNTED: u64 = 15;
/// And those during which peers die.
const DURING: u64 = 15;
/// Payload receipts for each delivery beyond the first.
const REDUNDANCY_MAX: f64 = 0.05;
/// Killed without warning, publishers among them.
const KILLED: std::ops::Range<usize> = 15..35;
/// Longer than suspicion, repair and the comparison of heads take on two busy cores.
const REPAIR_LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "Sports";

#[test]
fn sixty_four_peers_send_little_twice_and_repair_what_twenty_take_with_them() {
    let mut cluster = Cluster::start(3, PEERS);
    let mut controls = cluster.topic(TOPIC);
    let ids: Vec<String> = cluster.peers.iter().map(|peer| peer.id().to_owned()).collect();

    publish(&mut controls, PUBLISHERS, WARM);
    let everywhere = |to| ids[..PUBLISHERS].iter().map(move |id| (id.as_str(), to)).collect();
    wait_complete(&mut controls, &everywhere(WARM));
    let before = receipts(&mut controls);
    publish(&mut controls, PUBLISHERS, COUNTED);
    wait_complete(&mut controls, &everywhere(WARM + COUNTED));
    let after = receipts(&mut controls);
    let (first, again) = (after.0 - before.0, after.1 - before.1);
    let others = PEERS as u64 - 1;
    assert!(first >= PUBLISHERS as u64 * COUNTED * others, "{first} batches came");
    let redundancy = again as f64 / first as f64;
    eprintln!("redundancy {redundancy:.4}: {again} of {first} came again");
    assert!(redundancy <= REDUNDANCY_MAX, "{again} batches came again, {first} for the first time");

    let died = kill_during_stream(&mut cluster, &mut controls);
    let alive = controls.into_iter().enumerate().filter(|(i, _)| !died.contains(i));
    let mut survivors: Vec<Control> = alive.map(|(_, control)| control).collect();
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for (i, id) in ids[..PUBLISHERS].iter().enumerate() {
        // Of a dead publisher, what any survivor has.
        let last = |c: &mut Control| Status::of(c).stream(TOPIC, id).map_or(0, |(seq, _)| seq);
        let to = match died.contains(&i) {
            true => survivors.iter_mut().map(last).max().unwrap_or(0),
            false => WARM + COUNTED + DURING,
        };
        expected.insert(id, to);
    }
    wait_complete(&mut survivors, &expected);
    let by_address = |i: usize| (own(&cluster.peers[i]), expected[ids[i].as_str()]);
    let by_address: Vec<_> = (0..PUBLISHERS).map(by_address).collect();
    let alive = cluster.peers.iter().enumerate().filter(|(i, _)| !died.contains(i));
    let holes: usize = alive.map(|(i, peer)| expect_all_repaired(i, peer, &by_address)).sum();
    eprintln!("{holes} holes were repaired");
    assert!(holes > 0, "twenty peers of 64 died, and nobody missed anything");
}

/// Each of the first `publishers` publishes `count` messages.
fn publish(controls: &mut [Control], publishers: usize, count: u64) {
    let mut work = steadily(STEP, |number| {
        let number = number as usize % publishers;
        controls[number].publish(TOPIC, "a message of some length, as messages are");
    });
    (0..count * publishers as u64).for_each(|_| work());
}

/// Waits until each peer has each stream up to its end.
#[track_caller]
fn wait_complete(controls: &mut [Control], expected: &BTreeMap<&str, u64>) {
    wait::passes("every peer has every message", REPAIR_LIMIT, || {
        for (i, control) in controls.iter_mut().enumerate() {
            let status = Status::of(control);
            for (origin, to) in expected {
                let found = status.stream(TOPIC, origin);
                if found != Some((*to, 0)) && (found, *to) != (None, 0) {
                    return Err(format!("peer {i} has {found:?} of {origin}, not {to}"));
                }
            }
        }
        Ok(())
    });
}

/// Batches that were received for the first time, and again, by all peers together.
fn receipts(controls: &mut [Control]) -> (u64, u64) {
    controls.iter_mut().map(Status::of).fold((0, 0), |(first, again), status| {
        let counter = |name| status.counter(name);
        (first + counter("batches_received"), again + counter("batches_duplicate"))
    })
}

/// All publish on, and in the middle of it a third of all peers is killed.
fn kill_during_stream(cluster: &mut Cluster, controls: &mut [Control]) -> BTreeSet<usize> {
    let all = DURING * PUBLISHERS as u64;
    let mut work = steadily(STEP, |number| {
        let publisher = number as usize % PUBLISHERS;
        if number == all / 3 {
            cluster.peers[KILLED].iter_mut().for_each(Node::kill);
        }
        if number < all / 3 || !KILLED.contains(&publisher) {
            controls[publisher].publish(TOPIC, "a message of some length, as messages are");
        }
    });
    (0..all).for_each(|_| work());
    drop(work);
    KILLED.collect()
}

/// Checks in a survivor's log that it received every message once, and that each hole that it
/// told of was repaired. Returns how many holes that were.
fn expect_all_repaired(at: usize, peer: &Node, expected: &[(String, u64)]) -> usize {
    let text = peer.log();
    let mut received: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in log::events(&text, "gossip") {
        let gossip = line.gossip();
        let news = received.entry(gossip.origin.clone()).or_default().insert(gossip.seq);
        assert!(news, "peer {at} received {gossip:?} twice");
    }
    for (address, to) in expected.iter().filter(|(address, _)| *address != own(peer)) {
        let all: BTreeSet<u64> = (1..=*to).collect();
        assert_eq!(received.remove(address).unwrap_or_default(), all, "peer {at} of {address}");
    }
    let repaired: BTreeSet<_> = log::events(&text, "repaired").iter().flat_map(messages).collect();
    let holes = log::events(&text, "hole");
    for line in &holes {
        // Of a stream of which nothing is here yet, the log knows no name.
        let named = line.field("origin") != Some("unknown");
        let open = messages(line).find(|message| named && !repaired.contains(message));
        assert_eq!(open, None, "peer {at}: the log shows no repair of {line:?}");
    }
    assert!(log::events(&text, "gap").is_empty(), "peer {at} gave something up");
    holes.len()
}

fn own(peer: &Node) -> String {
    peer.listen().to_string()
}

/// The messages that a line names: origin and number.
fn messages(line: &LogLine) -> impl Iterator<Item = (String, u64)> + use<> {
    let number = |key| line.field(key).and_then(|n| n.parse::<u64>().ok());
    let (from, to) = number("from").zip(number("to")).expect("a range");
    let origin = line.field("origin").expect("an origin").to_owned();
    (from..=to).map(move |seq| (origin.clone(), seq))
}
