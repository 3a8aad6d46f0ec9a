//! What was killed comes back on the same port at once.

use std::time::Duration;

use tidings_tests::cluster::{Cluster, listing};
use tidings_tests::wait::{self, SOON};

/// From the start of the process to its place in every seed's list.
const BACK: Duration = Duration::from_secs(5);

#[test]
fn a_killed_peer_is_back_on_its_port_at_once() {
    let mut cluster = Cluster::start(3, 6);
    let mut controls = cluster.topic("Sports");
    cluster.wait_all_listed();
    let (id, address) = (cluster.peers[3].id().to_owned(), cluster.peers[3].listen());
    let former = listing(&cluster.seeds[0], &id).unwrap()["incarnation"].as_u64().unwrap();

    cluster.peers[3].kill();
    cluster.peers[3].restart();
    assert_eq!((cluster.peers[3].id(), cluster.peers[3].listen()), (id.as_str(), address));
    let newer = |item: &serde_json::Value| {
        item["state"] == "alive" && item["incarnation"].as_u64().unwrap() > former
    };
    wait::holds("every seed lists its new life", BACK, || {
        cluster.seeds.iter().all(|seed| listing(seed, &id).is_some_and(|item| newer(&item)))
    });

    cluster.wait_whole();
    controls[3] = cluster.peers[3].control();
    controls[3].subscribe("Sports");
    controls[0].publish("Sports", "welcome back");
    assert_eq!(controls[3].pull_all("Sports", 1, SOON)[0]["message"], "welcome back");
    // Votes on its former life may still be under way; they must not touch the new one.
    wait::stays("it is listed", Duration::from_secs(6), || {
        cluster.seeds.iter().all(|seed| listing(seed, &id).is_some_and(|item| newer(&item)))
    });
}

#[test]
fn a_killed_seed_is_back_on_its_port_and_knows_everybody() {
    let mut cluster = Cluster::start(3, 4);
    cluster.wait_all_listed();
    cluster.seeds[1].kill();
    cluster.seeds[1].restart();
    cluster.wait_all_listed();
    cluster.wait_whole();
}
