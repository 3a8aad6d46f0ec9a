//! Seeds forget the oldest marks of deleted topics, each its own.

use std::time::Duration;

use serde_json::json;
use tidings_tests::cluster::{Setup, joined};
use tidings_tests::control::Control;
use tidings_tests::http;
use tidings_tests::node::Node;
use tidings_tests::wait;

/// Seeds that were apart meet again, or a peer joins, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Seeds compare their tables every 5 s: twice, and some more.
const COMPARED_TWICE: Duration = Duration::from_secs(12);

fn lists(seed: &Node, topic: &str) -> Option<bool> {
    let page = http::json(seed.http_address(), &format!("/v1/topics?filter={topic}")).ok()?;
    Some(!page["items"].as_array()?.is_empty())
}

fn delete(host: &mut Control, topic: &str) {
    host.ok(&json!({"command": "delete_topic", "topic": topic}));
}

#[test]
fn a_seed_that_was_away_buries_no_topic_that_was_created_again() {
    // A tenth of a table of marks is kept: two.
    let limits = "\n[limits]\nrecords = 20\nrecords_per_peer = 20\n";
    let mut cluster = Setup::new(3, 1).config(limits).start();
    let mut host = cluster.peers[0].control();
    for _ in 0..3 {
        host.create("news");
        wait::holds("every seed lists it", LIMIT, || {
            cluster.seeds.iter().all(|seed| lists(seed, "news") == Some(true))
        });
        delete(&mut host, "news");
        wait::holds("every seed has its mark", LIMIT, || {
            cluster.seeds.iter().all(|seed| lists(seed, "news") == Some(false))
        });
    }
    cluster.seeds[2].kill();
    // Two more marks, and the others have forgotten the first one.
    for topic in ["a", "b"] {
        host.create(topic);
        delete(&mut host, topic);
    }
    // Who never heard of the deletion creates the topic.
    let newcomer = cluster.add_peer();
    let mut newcomer = cluster.peers[newcomer].control();
    wait::holds("the newcomer has joined", LIMIT, || joined(&mut newcomer));
    newcomer.create("news");
    cluster.seeds[2].restart();
    let everywhere = || cluster.seeds.iter().all(|seed| lists(seed, "news") == Some(true));
    wait::holds("every seed lists it", LIMIT, everywhere);
    wait::stays("no seed's old mark buries it", COMPARED_TWICE, || {
        cluster.seeds.iter().all(|seed| lists(seed, "news") != Some(false))
    });
    assert!(everywhere());
}
