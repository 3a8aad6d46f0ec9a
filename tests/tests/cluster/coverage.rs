//! Every message reaches every peer, whatever their number.

use std::time::Duration;

use tidings_tests::cluster::{Cluster, neighbors};

/// All links of a peer (design §9).
const LINKS_MAX: usize = 48;

#[test]
fn thirty_peers_all_receive_everything() {
    let late = everybody_receives(30, 3, 10);
    assert!(late < Duration::from_secs(1), "the 99th of 100 receipts came after {late:?}");
}

#[test]
fn a_hundred_peers_all_receive_everything() {
    everybody_receives(100, 4, 5);
}

/// The time from publication to first receipt that 99 of 100 receipts kept.
fn everybody_receives(peers: usize, publishers: usize, each: usize) -> Duration {
    let cluster = Cluster::start(4, peers);
    let mut controls = cluster.topic("news");
    for number in 0..each {
        for control in &mut controls[..publishers] {
            control.publish("news", &format!("bulletin {number}"));
        }
    }
    let total = publishers * each;
    for control in &mut controls {
        let messages = control.pull_all("news", total, Duration::from_secs(20));
        for publisher in &cluster.peers[..publishers] {
            let of = messages.iter().filter(|message| message["origin"] == publisher.id());
            let numbers: Vec<_> = of.map(|m| m["seq"].as_u64().unwrap() as usize).collect();
            assert_eq!(numbers, (1..=each).collect::<Vec<_>>());
        }
        let degree = neighbors(control).len();
        assert!((1..=LINKS_MAX).contains(&degree), "{degree} neighbours");
    }
    let mut late: Vec<_> = cluster
        .peer_events("gossip")
        .iter()
        .map(|(_, line)| line.time_us - line.gossip().published_us)
        .collect();
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100].max(0);
    Duration::from_micros(p99.unsigned_abs())
}
