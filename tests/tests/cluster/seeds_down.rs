//! Seeds may be down: a minority, all at the start, all later.

use std::time::Duration;

use tidings_tests::cluster::{REJOIN, Setup, joined};
use tidings_tests::control::Control;
use tidings_tests::http;
use tidings_tests::log::LogLine;
use tidings_tests::node::Node;
use tidings_tests::wait::{self, SOON};

#[test]
fn a_minority_of_the_seeds_may_be_down() {
    let cluster = Setup::new(5, 4).seeds_down(2).start();
    cluster.wait_all_listed();
    let mut controls = cluster.topic("Sports");
    controls[0].publish("Sports", "three of five");
    controls[3].pull_all("Sports", 1, SOON);
}

#[test]
fn peers_join_when_seeds_appear() {
    let mut cluster = Setup::new(3, 3).seeds_down(3).launch();
    let mut controls = cluster.controls();
    wait::stays("nobody has joined", Duration::from_secs(2), || {
        controls.iter_mut().all(|control| !joined(control))
    });
    let request = serde_json::json!({"command": "create_topic", "topic": "Sports"});
    let (code, _) = controls[0].refused(&request);
    assert_eq!(code, "no_quorum", "what needs the seeds is refused, not lost");

    for number in 0..3 {
        let spec = cluster.seed_spec(number);
        cluster.seeds.push(Node::start(spec));
    }
    wait::holds("every peer has joined", REJOIN, || controls.iter_mut().all(joined));
    cluster.wait_whole();
    cluster.wait_all_listed();
}

#[test]
fn gossip_goes_on_without_seeds() {
    let mut cluster = Setup::new(3, 6).start();
    let mut controls = cluster.topic("Sports");
    for seed in &mut cluster.seeds {
        seed.kill();
    }
    wait::holds("the peers notice", SOON, || controls.iter_mut().all(|c| !joined(c)));
    for publisher in 0..6 {
        controls[publisher].publish("Sports", "no seed is needed");
        for control in &mut controls {
            control.pull_all("Sports", 1, SOON);
        }
    }
    for seed in &mut cluster.seeds {
        seed.restart();
    }
    wait::holds("every peer has joined again", REJOIN, || controls.iter_mut().all(joined));
    cluster.wait_all_listed();
    controls[0].publish("Sports", "and on");
    controls[5].pull_all("Sports", 1, SOON);
}

#[test]
fn without_seeds_the_logs_tell_each_change_once() {
    let mut cluster = Setup::new(3, 3).start();
    let controls = &mut cluster.controls();
    cluster.seeds[1..].iter_mut().for_each(Node::kill);
    wait::holds("the peers notice", SOON, || controls.iter_mut().all(|c| !joined(c)));
    wait::holds("the seed that is left notices", SOON, || ready(&cluster.seeds[0]) == 503);
    let lost = |line: &LogLine| line.field("up") == Some("false");
    let links = |seed: &Node| seed.events("seed_link").iter().filter(|line| lost(line)).count();
    wait::holds("it says so", SOON, || links(&cluster.seeds[0]) == 2);
    // Both ends dial with growing waits all the time.
    wait::stays("the seed that is left logs nothing more of the others", TIME, || {
        links(&cluster.seeds[0]) == 2
    });
    cluster.seeds[0].kill();
    wait::holds("the peers notice", SOON, || {
        controls.iter_mut().all(|control| joined_seeds(control) == 0)
    });
    wait::pause(TIME);
    for peer in &cluster.peers {
        assert_eq!(ready(peer), 503, "what asks for readiness sees it");
        assert_eq!(peer.events("quorum_lost").len(), 1, "{}", peer.log());
        let lost = peer.events("seed_lost");
        for seed in cluster.seed_addresses() {
            let of = lost.iter().filter(|line| line.field("seed") == Some(&seed.to_string()));
            assert_eq!(of.count(), 1, "{}", peer.log());
        }
    }
    cluster.seeds.iter_mut().for_each(Node::restart);
    wait::holds("every peer has joined again", REJOIN, || controls.iter_mut().all(joined));
    for peer in &cluster.peers {
        wait::holds("it is ready", SOON, || ready(peer) == 200);
        wait::holds("its log says so", SOON, || peer.events("joined").len() >= 2);
        assert_eq!(peer.events("joined").len(), 2, "{}", peer.log());
    }
}

/// Long enough for a dozen dials of each seed.
const TIME: Duration = Duration::from_secs(15);

/// The status of the page that says whether a node is ready.
fn ready(node: &Node) -> u16 {
    http::get(node.http_address(), "/readyz").map_or(0, |(status, _)| status)
}

fn joined_seeds(control: &mut Control) -> u64 {
    control.ok(&serde_json::json!({"command": "seeds"}))["joined"].as_u64().unwrap()
}

#[test]
fn a_peer_replaces_a_lost_seed_by_another() {
    let mut cluster = Setup::new(5, 3).start();
    cluster.seeds[0].kill();
    cluster.seeds[1].kill();
    // Three of five are left: each peer must find exactly those.
    let mut controls = cluster.controls();
    let left: Vec<_> = cluster.seeds[2..].iter().map(Node::listen).collect();
    wait::holds("every peer has joined the three that are left", REJOIN, || {
        controls.iter_mut().all(|control| {
            let seeds = control.ok(&serde_json::json!({"command": "seeds"}));
            let listed = seeds["seeds"].as_array().unwrap();
            left.iter().all(|address| {
                let is = |s: &&serde_json::Value| s["addr"] == address.to_string();
                listed.iter().find(is).is_some_and(|seed| seed["state"] == "joined")
            })
        })
    });
}
