//! A peer joins a majority of the seeds, and every seed knows every peer.

use std::collections::BTreeSet;

use serde_json::json;
use tidings_tests::cluster::{Cluster, Setup, listing};
use tidings_tests::wait::{self, SOON};

#[test]
fn a_peer_joins_a_majority_of_four_seeds() {
    let mut cluster = Cluster::start(4, 1);
    let first = &cluster.peers[0];
    let seeds = first.control().ok(&json!({"command": "seeds"}));
    assert_eq!((&seeds["quorum"], &seeds["total"]), (&json!(3), &json!(4)));
    assert!(seeds["joined"].as_u64().unwrap() >= 3, "{seeds}");
    assert_eq!(seeds["seeds"].as_array().unwrap().len(), 4);

    let address = first.listen().to_string();
    wait::holds("three seeds log the connection", SOON, || {
        let logged = cluster.seeds.iter().filter(|seed| {
            let connections = seed.events("connection");
            connections.iter().any(|line| {
                line.field("address") == Some(&address) && line.field("role") == Some("peer")
            })
        });
        logged.count() >= 3
    });

    let second = cluster.add_peer();
    cluster.wait_whole();
    let lists = || cluster.peers[second].events("peer_list");
    wait::holds("the list of each joined seed is logged", SOON, || lists().len() >= 3);
    let lists = lists();
    let from: BTreeSet<_> = lists.iter().map(|line| line.field("seed").unwrap()).collect();
    let configured: BTreeSet<_> =
        cluster.seed_addresses().iter().map(ToString::to_string).collect();
    assert!(from.len() >= 3 && from.iter().all(|&seed| configured.contains(seed)), "{lists:?}");
    let named = |line: &tidings_tests::log::LogLine| {
        line.field("peers").unwrap().split(',').any(|peer| peer == address)
    };
    assert!(lists.iter().any(named), "no list names {address}: {lists:?}");
}

#[test]
fn every_seed_lists_every_peer() {
    let cluster = Cluster::start(3, 6);
    cluster.wait_all_listed();
    for seed in &cluster.seeds {
        for peer in &cluster.peers {
            let item = listing(seed, peer.id()).unwrap();
            assert_eq!(item["addr"], peer.listen().to_string());
            assert_eq!(item["name"], peer.spec.name);
            assert!(item["incarnation"].as_u64().unwrap() > 0);
        }
    }
    let peers = cluster.peers[0].control().ok(&json!({"command": "peers"}));
    let listed = peers["peers"].as_array().unwrap();
    for other in &cluster.peers[1..] {
        assert!(listed.iter().any(|item| item["node"] == other.id()), "{peers}");
    }
}

#[test]
fn a_config_file_may_have_comments_and_no_final_newline() {
    let cluster = Setup::new(3, 2).config("\n# a comment without a newline").start();
    cluster.wait_all_listed();
}

#[test]
fn one_seed_is_a_majority_of_one() {
    let cluster = Cluster::start(1, 2);
    let seeds = cluster.peers[1].control().ok(&json!({"command": "seeds"}));
    assert_eq!((&seeds["quorum"], &seeds["joined"]), (&json!(1), &json!(1)));
}
