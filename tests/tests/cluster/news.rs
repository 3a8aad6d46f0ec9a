//! News of topics reach who is cut off from the seeds, or from all other peers.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Setup, topic_neighbors};
use tidings_tests::node::Node;
use tidings_tests::proxy::Proxy;
use tidings_tests::wait::{self, SOON};

/// News take two seconds at most (they are printed); a busy machine gets longer.
const NEWS: Duration = Duration::from_secs(20);

fn command(command: &str, topic: &str) -> Value {
    json!({"command": command, "topic": topic, "message": "text"})
}

#[test]
fn a_peer_whose_links_to_others_are_cut_hears_of_a_deletion_from_the_seeds() {
    let cluster = Setup::new(3, 4).proxied().start();
    let mut controls = cluster.topic("news");
    let mut streaming = cluster.peers[3].control();
    streaming.ok(&json!({"command": "subscribe", "topic": "news", "stream": true}));
    controls[0].publish("news", "before");
    assert_eq!(streaming.event().unwrap()["message"], "before");

    cluster.cut_links(true);
    let begun = Instant::now();
    controls[0].ok(&command("delete_topic", "news"));
    let event = streaming.event().unwrap();
    println!("a peer without links heard of it after {:?}", begun.elapsed());
    assert_eq!(event["event"], "topic_deleted");
    let (code, _) = controls[3].refused(&command("publish", "news"));
    assert_eq!(code, "topic_not_found");
}

#[test]
fn a_peer_without_seeds_hears_of_topics_that_come_and_go_from_its_neighbours() {
    let mut cluster = Cluster::start(3, 3);
    let mut text = cluster.config_text("local", "");
    let proxies: Vec<Proxy> = cluster.seed_addresses().into_iter().map(Proxy::start).collect();
    for (address, proxy) in cluster.seed_addresses().iter().zip(&proxies) {
        text = text.replace(&address.to_string(), &proxy.address().to_string());
    }
    let mut spec = cluster.peer_spec();
    spec.config = cluster.folder().join("proxied-seeds.toml");
    fs::write(&spec.config, text).unwrap();
    cluster.peers.push(Node::start(spec));
    cluster.wait_whole();
    let mut controls = cluster.controls();
    controls[0].create("a/old");
    let mut streaming = cluster.peers[3].control();
    streaming.ok(&json!({"command": "subscribe", "filter": "a/#", "stream": true}));
    proxies.iter().for_each(|proxy| proxy.block(true));
    wait::holds("it has lost its seeds", SOON, || {
        controls[3].ok(&json!({"command": "seeds"}))["joined"] == 0
    });

    let begun = Instant::now();
    controls[1].create("a/new");
    wait::holds("the new topic is known", NEWS, || {
        !cluster.peers[3].events("topic_appeared").is_empty()
    });
    println!("a peer without seeds heard of a new topic after {:?}", begun.elapsed());
    wait::holds("it is linked for the new topic", NEWS, || {
        controls[1].subscribe("a/new");
        topic_neighbors(&mut controls[1], "a/new") > 0
    });
    controls[1].publish("a/new", "hello");
    let event = streaming.event().unwrap();
    assert_eq!((&event["topic"], &event["message"]), (&json!("a/new"), &json!("hello")));

    for topic in ["a/new", "a/old"] {
        let begun = Instant::now();
        controls[usize::from(topic == "a/new")].ok(&command("delete_topic", topic));
        let event = streaming.event().unwrap();
        println!("a peer without seeds heard of a deletion after {:?}", begun.elapsed());
        assert_eq!((&event["event"], &event["topic"]), (&json!("topic_deleted"), &json!(topic)));
    }
    // The seeds are back, and say the same.
    proxies.iter().for_each(|proxy| proxy.block(false));
    wait::holds("it has its seeds again", NEWS, || {
        controls[3].ok(&json!({"command": "seeds"}))["joined"] == 2
    });
    assert_eq!(controls[3].refused(&command("subscribe", "a/new")).0, "topic_not_found");
}
