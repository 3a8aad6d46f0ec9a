//! Links are two-way, bounded, and refused with alternatives.

use std::time::Duration;

use tidings_proto::Topic;
use tidings_proto::wire::frame::{Frame, Interest, Mode, Purpose};
use tidings_tests::cluster::{Cluster, is_mutual};
use tidings_tests::stranger::Stranger;
use tidings_tests::wait::{self, SOON};

/// A peer takes no more neighbours than this for one topic (design §3.3).
const DEGREE_MAX: usize = 12;
/// And as many more from peers that have no neighbour at all.
const URGENT_RESERVE: usize = 8;

#[test]
fn every_peer_has_neighbours_and_every_link_is_two_way() {
    let cluster = Cluster::start(3, 30);
    wait::holds("each neighbour is one in return", SOON, || is_mutual(&cluster.neighbors()));
    for (peer, neighbors) in cluster.neighbors() {
        let degree = neighbors.len();
        let bounds = 2..=DEGREE_MAX + URGENT_RESERVE;
        assert!(bounds.contains(&degree), "{peer} has {degree} neighbours");
    }
}

#[test]
fn a_full_peer_refuses_with_alternatives_and_keeps_its_neighbours() {
    let cluster = Cluster::start(3, 6);
    let healthy = cluster.neighbors()[cluster.peers[0].id()].clone();
    let address = cluster.peers[0].listen();
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 1..=20 {
        let mut stranger = Stranger::introduced(address, [number; 32], Purpose::Neighbor).unwrap();
        let verdict = stranger.receive_until(Duration::from_secs(3), |frame| match frame {
            Frame::Accept => Some(None),
            Frame::Refuse(alternatives) => Some(Some(alternatives)),
            _ => None,
        });
        match verdict.unwrap() {
            None => {
                stranger.send(&Frame::Accept).unwrap();
                let overlay = Interest { topic: Topic::overlay(), mode: Mode::Subscribes };
                stranger.send(&Frame::Interests(vec![overlay])).unwrap();
                accepted.push(stranger);
            }
            Some(alternatives) => {
                assert!((1..=3).contains(&alternatives.len()), "{alternatives:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "all of {} strangers were accepted", accepted.len());
    assert!(accepted.len() <= DEGREE_MAX);
    let now = cluster.neighbors()[cluster.peers[0].id()].clone();
    assert!(now.is_superset(&healthy), "no healthy link is given up: {healthy:?}, {now:?}");
}
