//! A seed that has nothing to do does nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidings_proto::wire::frame::Purpose;
use tidings_tests::cluster::Setup;
use tidings_tests::node::Node;
use tidings_tests::stranger::Stranger;
use tidings_tests::wait;

const WATCHED: Duration = Duration::from_secs(8);
/// Of one core. A release build uses a third of it.
const SHARE_MAX: f64 = 0.01;

/// The processor time of each seed in a while, as a share of one core.
#[track_caller]
fn is_idle(seeds: &[Node], what: &str) {
    let before: Vec<_> = seeds.iter().map(Node::cpu_time).collect();
    let start = Instant::now();
    wait::pause(WATCHED);
    for (seed, before) in seeds.iter().zip(before) {
        let used = seed.cpu_time().saturating_sub(before);
        let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
        assert!(share < SHARE_MAX, "{} uses {share:.4} of a core {what}", seed.spec.name);
    }
}

#[test]
fn a_seed_of_thirty_idle_peers_is_idle() {
    let cluster = Setup::new(3, 30).alone().start();
    cluster.wait_all_listed();
    is_idle(&cluster.seeds, "with 30 idle peers");
}

#[test]
fn abandoned_connections_cost_nothing() {
    let cluster = Setup::new(1, 2).alone().start();
    let seed = &cluster.seeds[0];
    let address = seed.listen();
    for _ in 0..50 {
        drop(TcpStream::connect(address).unwrap());
    }
    for number in 0..50 {
        let stranger = Stranger::introduced(address, [number + 1; 32], Purpose::Session).unwrap();
        drop(stranger);
    }
    let _silent: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    is_idle(&cluster.seeds, "after 100 connections were abandoned and with 50 silent ones");
    cluster.wait_all_listed();
}
